/*
 * The HTTP server: loops, listeners, connections. What a half opens, and nothing of what it serves.
 */
#ifndef RFI_SERVER_HTTP_H
#define RFI_SERVER_HTTP_H

#include "server/loop_int.h"
#include "server/route_int.h"

#define RFI_STATUS_SLOTS 32 /* different statuses that are counted */

typedef struct rfi_http_options {
    uint32_t threads;
    uint32_t connections_max;
    uint32_t head_timeout_ms, idle_timeout_ms;
    uint32_t body_rate_min;  /* bytes/s over each window */
    uint32_t body_window_ms; /* 10,000 */
    const rfi_route *routes;
    size_t route_count;
    rfi_half half;
    void *app; /* rfi_req.app */
    void (*loop_stop)(
        rfi_loop *l); /* on each loop, when it ends: close your handles; may be NULL */
} rfi_http_options;

RF_CHECKED rf_status rfi_http_open(const rfi_http_options *options, rfi_http **out, rf_err *err);

/* Before start. Port 0: any; *bound gets the one taken. RF_EBUSY: the port is taken. */
RF_CHECKED rf_status rfi_http_listen_tcp(rfi_http *h, const char *host, uint16_t port,
                                         uint16_t *bound, rf_err *err);
/* DIR/run/NAME; replaces a stale one. Requests over it are `local`. */
RF_CHECKED rf_status rfi_http_listen_unix(rfi_http *h, const char *run_dir, const char *name,
                                          rf_err *err);
RF_CHECKED rf_status rfi_http_start(rfi_http *h, rf_err *err);

/* Stops accepting; connections end after the request they are in. Any thread but a loop's. */
void rfi_http_drain(rfi_http *h);
/* Waits until no connection is left, at most so long. */
bool rfi_http_wait_drained(rfi_http *h, uint32_t timeout_ms);
/* Cuts what is left, waits for every reference to a request, ends the loops. */
void rfi_http_close(rfi_http **h);

/* Loop number i, for work that is no request's. */
rfi_loop *rfi_http_get_loop(rfi_http *h, size_t i);
uint32_t rfi_http_loop_count(const rfi_http *h);
bool rfi_http_draining(const rfi_http *h);

/* ---- counters
 * ------------------------------------------------------------------------------------ */

uint64_t rfi_http_connections(const rfi_http *h);
void rfi_http_each_count(const rfi_http *h,
                         void (*each)(void *arg, const char *route, const char *method, int status,
                                      uint64_t count),
                         void *arg);

/* Room for an address; see rfi_sock_path. */
typedef struct rfi_sock_path {
    int dir_fd;     /* keeps a path under /proc/self/fd good; -1: not needed */
    char path[108]; /* fits sun_path whatever the length of the directory */
} rfi_sock_path;

RF_CHECKED rf_status rfi_sock_path_open(rfi_sock_path *p, const char *run_dir, const char *name,
                                        rf_err *err);
void rfi_sock_path_close(rfi_sock_path *p);

#endif
