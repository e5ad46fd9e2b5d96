/* What both halves answer alike: /healthz, /openapi.json, and / for people: the dashboard in a
 * browser, a list of routes elsewhere. */
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

/* web/index.html, put into the program as it is (COMPONENTS: .incbin is the fast and read-only
 * way). */
__asm__(".pushsection .rodata\n"
        ".balign 8\n"
        "rfi_dashboard_begin:\n"
        ".incbin \"" RF_WEB_DIR "/index.html\"\n"
        "rfi_dashboard_end:\n"
        ".popsection\n");
extern const char rfi_dashboard_begin[], rfi_dashboard_end[];

static bool wants_html(const rfi_req *r)
{
    rf_str accept = rfi_head_find(&r->head, "accept");

    return accept.n > 0 && memmem(accept.p, accept.n, "text/html", 9) != NULL;
}

static void dashboard(rfi_req *r)
{
    rfi_reply_header(r, "Content-Security-Policy", "%s",
                     "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                     "connect-src 'self'; frame-ancestors 'none'");
    rfi_reply(r, 200, "text/html; charset=utf-8",
              (rf_str){rfi_dashboard_begin, (size_t)(rfi_dashboard_end - rfi_dashboard_begin)});
}

void rfi_index(rfi_req *r)
{
    if (wants_html(r)) {
        dashboard(r);
        return;
    }
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
