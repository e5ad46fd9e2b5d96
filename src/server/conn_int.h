/* Inside the HTTP core: connections and loops with their pools. Not for handlers. */
#ifndef RFI_SERVER_CONN_H
#define RFI_SERVER_CONN_H

#include "server/http_int.h"

#define RFI_READ_BYTES (64u << 10)   /* of one read; a loop has one such buffer */
#define RFI_INBOX_MAX (64u << 10)    /* read but not yet wanted: then reading stops */
#define RFI_OUT_HIGH (256u << 10)    /* queued output that stops producers... */
#define RFI_OUT_LOW (64u << 10)      /* ...until it is down to this */
#define RFI_OUT_MAX (64u << 20)      /* a producer that does not listen is cut off */
#define RFI_DISCARD_MAX (256u << 10) /* of a body nobody wants, to keep a connection */
#define RFI_LINGER_MS 2000           /* for a client that is still sending when it was refused */
#define RFI_POOL_MAX 256             /* requests kept for reuse */

typedef struct rfi_http_loop {
    rfi_loop base;
    rfi_http *http;
    uv_timer_t sweep;
    struct rfi_conn *conns; /* doubly linked */
    uint32_t conn_count;
    uint32_t req_count; /* referenced by anybody */
    rfi_req *pool;
    uint32_t pool_count;
    rf_buf scratch; /* heads of replies, and small replies whole */
    char *read_buf;
    time_t date_at;
    char date[40];
    bool closing;
    /* from the thread that accepts (the first loop's) */
    pthread_mutex_t mutex;
    rfi_post accepted;
    struct rfi_handover *handovers; /* guarded by mutex */
    rfi_post drain, stop;
} rfi_http_loop;

typedef enum rfi_conn_state {
    RFI_CONN_IDLE,   /* between requests */
    RFI_CONN_HEAD,   /* some of a head is here */
    RFI_CONN_BODY,   /* the head is complete, the body is not */
    RFI_CONN_WAIT,   /* the request is complete, the reply is not */
    RFI_CONN_LINGER, /* the last reply is on its way; what comes in is thrown away */
    RFI_CONN_CLOSED
} rfi_conn_state;

struct rfi_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    rfi_http_loop *loop;
    rfi_conn *prev, *next;
    rfi_parser *parser;
    rfi_req *req;
    rfi_conn_state state;
    bool local;
    bool reading;     /* uv_read_start is on */
    bool eof;         /* the client sends no more */
    bool paused;      /* by the handler */
    bool discard;     /* the body is not wanted any more */
    bool parsing;     /* inside parse(): do not enter again */
    bool parse_more;  /* the parser has more to say even without bytes */
    bool close_after; /* close when the output is out */
    bool shut;        /* our side was shut down */
    bool wants_drain; /* a producer was told to stop */
    rf_buf inbox;
    size_t inbox_at;
    size_t queued;         /* bytes of output not yet written */
    uint64_t since_ms;     /* in this state, for deadlines */
    uint64_t window_bytes; /* of body in this window */
    uint64_t discarded;
    uint64_t queued_ever;  /* bytes that did not go out at once, in all */
    uint64_t written_seen; /* how many of them had gone out at the last sweep... */
    uint64_t progress_ms;  /* ...and when that last became more */
    uv_shutdown_t shutdown;
};

/* conn.c */
void rfi_conn_open(rfi_http_loop *l, int fd, bool local);
void rfi_conn_close(rfi_conn *c);
/* Deadlines; called now and then. */
void rfi_conn_sweep(rfi_conn *c, uint64_t now_ms);
/* The reply of c->req is out (or queued): go on with the next request, or end. */
void rfi_conn_reply_done(rfi_conn *c);
void rfi_conn_pause(rfi_conn *c, bool yes);
/* Output went out: a request that waited for that may be parsed. */
void rfi_conn_output_ready(rfi_conn *c);
/* Draining: ends the connection when it is between requests. */
void rfi_conn_drain(rfi_conn *c);

/* output.c: sends the parts; `take` (may be NULL) is sent after them and becomes empty. */
void rfi_conn_send(rfi_conn *c, const rf_str *parts, size_t count, rf_buf *take);
void rfi_conn_shutdown(rfi_conn *c);

/* pool of requests */
rfi_req *rfi_req_new(rfi_http_loop *l, rfi_conn *c); /* NULL without memory */

/* dispatch.c: the head is complete: routes, calls the handler or answers. */
void rfi_dispatch_head(rfi_req *r);
/* The body is complete. */
void rfi_dispatch_end(rfi_req *r);
void rfi_dispatch_body(rfi_req *r, const char *p, size_t n);
void rfi_http_count(rfi_http *h, const rfi_route *route, int status);

/* A connection's memory is gone, or was never there. */
void rfi_http_conn_gone(rfi_http_loop *l);
/* The last reference to a request is gone. */
void rfi_http_req_gone(rfi_http_loop *l);

/* Date header's value. */
const char *rfi_http_date(rfi_http_loop *l);
struct rfi_http {
    rfi_http_options options;
    rfi_http_loop *loops;
    uint32_t loop_count;
    struct rfi_listener *listeners;
    _Atomic uint32_t conn_count;
    _Atomic bool draining;
    uint32_t next_loop;       /* of the accepting thread */
    _Atomic uint64_t *counts; /* [route_count + 1][RFI_STATUS_SLOTS] */
    pthread_mutex_t mutex;
    pthread_cond_t drained;
};

#endif
