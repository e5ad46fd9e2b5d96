/*
 * Requests' memory, and replies: whole ones in one write, streamed ones in chunks.
 */
#include "server/conn_int.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_INLINE_MAX                                                                            \
    4096 /* a reply this small is copied behind its head: one part, one write                      \
          */

/* ---- requests ---------------------------------------------------------------------------------
 */

rfi_req *rfi_req_new(rfi_http_loop *l, rfi_conn *c)
{
    rfi_req *r = l->pool;

    if (r != NULL) {
        l->pool = r->next;
        l->pool_count--;
    } else {
        r = calloc(1, sizeof *r);
        if (r == NULL)
            return NULL;
        rfi_head_init(&r->head);
        rf_buf_init(&r->headers_out, RFI_HEADERS_OUT_MAX);
    }
    l->req_count++;
    r->next = NULL;
    r->refs = 1;
    r->conn = c;
    r->http = l->http;
    r->app = l->http->options.app;
    r->loop = &l->base;
    r->local = c->local;
    return r;
}

rfi_req *rfi_req_ref(rfi_req *r)
{
    RF_ASSERT(r->refs > 0);
    r->refs++;
    return r;
}

/* Back to what calloc made of it, but for the buffers that are worth keeping. */
static void recycle(rfi_req *r)
{
    rfi_head_reset(&r->head);
    rf_buf_clear(&r->body);
    rf_buf_reset(&r->headers_out);
    free(r->decoded);
    r->decoded = NULL;
    r->decoded_n = 0;
    r->route = NULL;
    memset(r->params, 0, sizeof r->params);
    r->ctx = NULL;
    r->on_body = NULL;
    r->on_end = r->on_drain = r->on_gone = NULL;
    r->status = 0;
    r->started = r->finished = r->streaming = r->chunked_out = false;
    r->keep_alive = r->body_complete = r->head_only = false;
    r->began_us = 0;
    atomic_store(&r->gone, false);
}

void rfi_req_unref(rfi_req *r)
{
    rfi_http_loop *l = (rfi_http_loop *)r->loop;

    RF_ASSERT(r->refs > 0);
    if (--r->refs > 0)
        return;
    RF_ASSERT(r->conn == NULL);
    recycle(r);
    if (l->pool_count < RFI_POOL_MAX) {
        r->next = l->pool;
        l->pool = r;
        l->pool_count++;
    } else {
        rfi_head_clear(&r->head);
        rf_buf_clear(&r->headers_out);
        free(r);
    }
    l->req_count--;
    rfi_http_req_gone(l);
}

void rfi_req_pause(rfi_req *r)
{
    if (r->conn != NULL)
        rfi_conn_pause(r->conn, true);
}

void rfi_req_resume(rfi_req *r)
{
    if (r->conn != NULL)
        rfi_conn_pause(r->conn, false);
}

/* ---- heads ------------------------------------------------------------------------------------
 */

static const struct {
    int status;
    const char *reason;
} REASONS[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *rfi_reason(int status)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(REASONS); i++) {
        if (REASONS[i].status == status)
            return REASONS[i].reason;
    }
    return "Status";
}

static_assert(RF_ARRAY_LEN(REASONS) < RFI_STATUS_SLOTS, "one slot each, and one for the others");

static size_t status_slot(int status)
{
    size_t i = 0;

    while (i < RF_ARRAY_LEN(REASONS) && REASONS[i].status != status)
        i++;
    return i;
}

/* The row of a route in the counters; requests without one have the last. */
static size_t count_row(const rfi_http *h, const rfi_route *route)
{
    return route == NULL ? h->options.route_count : (size_t)(route - h->options.routes);
}

void rfi_http_count(rfi_http *h, const rfi_route *route, int status)
{
    atomic_fetch_add_explicit(
        &h->counts[count_row(h, route) * RFI_STATUS_SLOTS + status_slot(status)], 1,
        memory_order_relaxed);
}

void rfi_http_each_count(const rfi_http *h,
                         void (*each)(void *arg, const char *route, const char *method, int status,
                                      uint64_t count),
                         void *arg)
{
    for (size_t i = 0; i <= h->options.route_count; i++) {
        bool none = i == h->options.route_count;

        for (size_t s = 0; s <= RF_ARRAY_LEN(REASONS); s++) {
            uint64_t n =
                atomic_load_explicit(&h->counts[i * RFI_STATUS_SLOTS + s], memory_order_relaxed);

            if (n > 0)
                each(arg, none ? "none" : h->options.routes[i].pattern,
                     none ? "none" : h->options.routes[i].method,
                     s == RF_ARRAY_LEN(REASONS) ? 0 : REASONS[s].status, n);
        }
    }
}

void rfi_reply_header(rfi_req *r, const char *name, const char *fmt, ...)
{
    char value[1024];
    va_list args;

    if (r->conn == NULL || r->started)
        return;
    va_start(args, fmt);
    vsnprintf(value, sizeof value, fmt, args);
    va_end(args);
    for (char *p = value; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '\0'; /* what comes from outside must not end the line */
        if (*p == '\0')
            break;
    }
    rf_buf_add_cstr(&r->headers_out, name);
    rf_buf_add_cstr(&r->headers_out, ": ");
    rf_buf_add_cstr(&r->headers_out, value);
    rf_buf_add_cstr(&r->headers_out, "\r\n");
    RF_ASSERT(!r->headers_out.failed); /* handlers add a handful */
}

/* A body that is still to come must not cost more than a new connection would. */
static bool can_keep(const rfi_req *r)
{
    const rfi_head *h = &r->head;

    if (!r->keep_alive || rfi_http_draining(r->http))
        return false;
    if (r->body_complete || !h->has_body)
        return true;
    return !h->chunked && !h->expect_continue && h->content_length <= RFI_DISCARD_MAX;
}

static bool bodiless(int status)
{
    return status == 204 || status == 304 || status < 200;
}

static void add_date(rfi_http_loop *l, rf_buf *b)
{
    rf_buf_add_cstr(b, "\r\nDate: ");
    rf_buf_add_cstr(b, rfi_http_date(l));
    rf_buf_add_cstr(b, "\r\n");
}

/* Begins the reply: its head is in the loop's scratch buffer. */
static rf_buf *begin(rfi_req *r, int status, const char *content_type, uint64_t length)
{
    rfi_http_loop *l = (rfi_http_loop *)r->loop;
    rf_buf *b = &l->scratch;

    RF_ASSERT(!r->started);
    r->started = true;
    r->status = status;
    r->keep_alive = can_keep(r);
    rfi_http_count(r->http, r->route, status);
    rf_buf_reset(b);
    rf_buf_add_cstr(b, "HTTP/1.1 ");
    rf_buf_add_u64(b, (uint64_t)status);
    rf_buf_add_char(b, ' ');
    rf_buf_add_cstr(b, rfi_reason(status));
    add_date(l, b);
    if (content_type != NULL) {
        rf_buf_add_cstr(b, "Content-Type: ");
        rf_buf_add_cstr(b, content_type);
        rf_buf_add_cstr(b, "\r\n");
    }
    if (length != RFI_LENGTH_UNKNOWN && !bodiless(status)) {
        rf_buf_add_cstr(b, "Content-Length: ");
        rf_buf_add_u64(b, length);
        rf_buf_add_cstr(b, "\r\n");
    } else if (!bodiless(status) && !r->head.http10) {
        r->chunked_out = true;
        rf_buf_add_cstr(b, "Transfer-Encoding: chunked\r\n");
    } else if (!bodiless(status)) {
        r->keep_alive = false; /* HTTP/1.0: the end of the connection is the end of the body */
    }
    rf_buf_add_str(b, rf_buf_str(&r->headers_out));
    if (!r->keep_alive)
        rf_buf_add_cstr(b, "Connection: close\r\n");
    else if (r->head.http10)
        rf_buf_add_cstr(b, "Connection: keep-alive\r\n");
    rf_buf_add_cstr(b, "\r\n");
    return b;
}

static void finish(rfi_req *r)
{
    if (r->route != NULL)
        rf_diag(RF_DIAG_DEBUG, "%s %.*s %d in %.3f ms", r->route->method,
                (int)RF_MIN(r->head.target.n, (size_t)200), r->head.target.p, r->status,
                (double)(rf_mono_us() - r->began_us) / 1e3);
    r->finished = true;
    r->on_gone = r->on_drain = r->on_end = NULL;
    r->on_body = NULL;
    if (r->conn != NULL)
        rfi_conn_reply_done(r->conn);
}

static void send_whole(rfi_req *r, int status, const char *content_type, rf_str body, rf_buf *take)
{
    rf_buf *head = begin(r, status, content_type, body.n);
    rf_str parts[2];
    size_t count = 0;

    if (r->head_only || bodiless(status))
        body.n = 0;
    if (body.n <= BODY_INLINE_MAX) {
        rf_buf_add_str(head, body);
        body.n = 0;
    }
    if (head->failed) {
        rfi_conn_close(r->conn);
        return;
    }
    parts[count++] = rf_buf_str(head);
    if (body.n > 0 && take == NULL)
        parts[count++] = body;
    rfi_req_ref(r);
    rfi_conn_send(r->conn, parts, count, body.n > 0 ? take : NULL);
    finish(r);
    rfi_req_unref(r);
}

void rfi_reply(rfi_req *r, int status, const char *content_type, rf_str body)
{
    if (r->conn != NULL)
        send_whole(r, status, content_type, body, NULL);
}

void rfi_reply_take(rfi_req *r, int status, const char *content_type, rf_buf *body)
{
    if (r->conn != NULL) {
        if (body->failed)
            rfi_problem(r, 500, "internal", "The answer did not fit into memory.");
        else
            send_whole(r, status, content_type, rf_buf_str(body), body);
    }
    rf_buf_clear(body);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

void rfi_reply_begin(rfi_req *r, int status, const char *content_type, uint64_t length)
{
    if (r->conn == NULL)
        return;
    rf_buf *head = begin(r, status, content_type, length);
    rf_str part = rf_buf_str(head);

    r->streaming = true;
    if (head->failed)
        rfi_conn_close(r->conn);
    else
        rfi_conn_send(r->conn, &part, 1, NULL);
}

bool rfi_reply_more(rfi_req *r, const char *p, size_t n)
{
    rfi_conn *c = r->conn;
    char size[24];
    rf_str parts[3];
    size_t count = 0;

    if (c == NULL)
        return false;
    RF_ASSERT(r->streaming && !r->finished);
    if (n == 0 || r->head_only)
        return true;
    if (c->queued + n > RFI_OUT_MAX) {
        rfi_conn_close(c);
        return false;
    }
    if (r->chunked_out) {
        int len = snprintf(size, sizeof size, "%zx\r\n", n);

        parts[count++] = (rf_str){size, (size_t)len};
    }
    parts[count++] = (rf_str){p, n};
    if (r->chunked_out)
        parts[count++] = RF_STR("\r\n");
    rfi_conn_send(c, parts, count, NULL);
    if (c->queued < RFI_OUT_HIGH)
        return r->conn != NULL;
    c->wants_drain = true;
    return false;
}

void rfi_reply_end(rfi_req *r)
{
    static const rf_str last = {"0\r\n\r\n", 5};

    if (r->conn == NULL)
        return;
    RF_ASSERT(r->streaming && !r->finished);
    rfi_req_ref(r);
    if (r->chunked_out && !r->head_only)
        rfi_conn_send(r->conn, &last, 1, NULL);
    finish(r);
    rfi_req_unref(r);
}

void rfi_reply_abort(rfi_req *r)
{
    if (r->conn == NULL)
        return;
    rfi_req_ref(r);
    r->on_gone = NULL; /* whoever aborts knows */
    rfi_conn_close(r->conn);
    rfi_req_unref(r);
}
