/*
 * The routes of both halves: one table (routes.c). Used for routing, 405, metrics' labels, the
 * OpenAPI document and rf_server_each_route.
 */
#ifndef RFI_SERVER_ROUTE_H
#define RFI_SERVER_ROUTE_H

#include "server/request_int.h"

typedef enum rfi_half { RFI_WRITE = 0, RFI_READ = 1, RFI_HALVES } rfi_half;

typedef enum rfi_body_mode {
    RFI_BODY_NONE,  /* a body is read and thrown away */
    RFI_BODY_WHOLE, /* the handler is called when all of it is in r->body */
    RFI_BODY_STREAM /* the handler is called when the head is there; then on_body, on_end */
} rfi_body_mode;

struct rfi_route {
    const char *method;
    const char *pattern; /* "/v1/streams/{domain}/{subject}" */
    const char *operation_id;
    const char *half;  /* who answers it: "write", "read", "both" */
    const char *query; /* names of parameters, comma separated; NULL: none */
    rfi_body_mode body;
    uint32_t body_max;  /* of RFI_BODY_WHOLE */
    bool cancel_on_eof; /* a client that closes its side has gone: stop working for it */
    void (*handle[RFI_HALVES])(rfi_req *r); /* NULL: that half does not serve it */
};

extern const rfi_route rfi_routes[];
extern const size_t rfi_route_count;

typedef struct rfi_match {
    const rfi_route *route;        /* NULL: see allow */
    char allow[64];                /* methods of the routes with this path; "": no such path */
    rf_str params[RFI_PARAMS_MAX]; /* encoded */
} rfi_match;

/* HEAD is served by GET. */
void rfi_route_match(const rfi_route *routes, size_t count, rf_str method, rf_str path,
                     rfi_match *out);
/* Is `name` a parameter of the route? */
bool rfi_route_has_query(const rfi_route *route, rf_str name);
/* Decodes percent escapes (and '+' when asked) into out, which has room for s.n bytes. */
rf_str rfi_percent_decode(rf_str s, bool plus, char *out);
rf_str rfi_percent_decode_lax(rf_str s, char *out);

#endif
