/* What both halves answer alike: /healthz, /openapi.json, /. */
#include "server/server.h"
#include "server/write_int.h"

#include <string.h>

void rfi_health(rfi_req *r)
{
    rfi_reply(r, 200, "application/json", RF_STR("{\"alive\":true}\n"));
}

void rfi_openapi_get(rfi_req *r)
{
    rfi_reply(r, 200, "application/json", rf_server_openapi());
}

void rfi_index(rfi_req *r)
{
    rf_str host = rfi_head_find(&r->head, "host");
    rf_buf b;

    rf_buf_init(&b, 1u << 16);
    rf_buf_addf(&b, "refold %s: an event store whose read models are SQL\n\n", rf_version());
    for (size_t i = 0; i < rfi_route_count; i++)
        rf_buf_addf(&b, "  %-7s %s\n", rfi_routes[i].method, rfi_routes[i].pattern);
    if (host.n == 0 || host.n > 200)
        host = RF_STR("127.0.0.1:7070");
    rf_buf_addf(
        &b,
        "\nSend an event, and ask:\n\n"
        "  curl http://%.*s/v1/events -H 'Content-Type: application/cloudevents+json' -d '\n"
        "    {\"specversion\": \"1.0\", \"id\": \"1\", \"source\": \"/shop\", \"type\": "
        "\"order.placed\",\n"
        "     \"subject\": \"o-1\", \"data\": {\"amount\": 12.5}}'\n"
        "  curl http://%.*s/v1/query -H 'Content-Type: application/sql' -d '\n"
        "    SELECT type, count(*) FROM events GROUP BY ALL'\n\n"
        "GET /openapi.json says the rest.\n",
        RF_STR_ARG(host), RF_STR_ARG(host));
    rfi_reply_take(r, 200, "text/plain; charset=utf-8", &b);
}
