/*
 * One connection: bytes in, requests out to dispatch.c, one at a time.
 *
 *   IDLE --first byte--> HEAD --head complete--> BODY --message complete--> WAIT --reply--> IDLE
 *   any of them --refused, or the last reply--> LINGER --output out, client closed--> CLOSED
 *
 * A reply may come before the body is complete (a refusal): the rest of a small body is then read
 * and thrown away, a large one costs the connection.
 *
 * What is read while nobody may parse it (a pipelined request, a paused body) waits in the inbox,
 * at most RFI_INBOX_MAX bytes; then reading stops and the kernel's window holds the client back.
 */
#include "server/conn_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INBOX_KEPT 4096

static void resume(rfi_conn *c);
static void update_reading(rfi_conn *c);

static uint64_t now_ms(const rfi_conn *c)
{
    return uv_now(&c->loop->base.uv);
}

static void enter(rfi_conn *c, rfi_conn_state state)
{
    c->state = state;
    c->since_ms = now_ms(c);
}

static size_t inbox_bytes(const rfi_conn *c)
{
    return c->inbox.n - c->inbox_at;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    rfi_conn *c = handle->data;

    (void)suggested;
    *buf = uv_buf_init(c->loop->read_buf, RFI_READ_BYTES);
}

static bool may_parse(const rfi_conn *c)
{
    switch (c->state) {
    case RFI_CONN_IDLE:
    case RFI_CONN_HEAD:
        return !c->close_after && c->queued < RFI_OUT_HIGH;
    case RFI_CONN_BODY:
        return !c->paused || c->discard;
    case RFI_CONN_WAIT:
    case RFI_CONN_LINGER:
    case RFI_CONN_CLOSED:
    default:
        return false;
    }
}

static bool begin_request(rfi_conn *c)
{
    c->req = rfi_req_new(c->loop, c);
    if (c->req == NULL) {
        rfi_conn_close(c);
        return false;
    }
    rfi_parser_begin(c->parser, &c->req->head);
    return true;
}

/* The connection is done with its request. */
static void release_request(rfi_conn *c)
{
    rfi_req *r = c->req;

    c->req = NULL;
    r->conn = NULL;
    rfi_req_unref(r);
    c->discard = c->paused = c->wants_drain = false;
}

/* No further request is taken; ends when the output is out and the client has closed. */
static void linger(rfi_conn *c)
{
    enter(c, RFI_CONN_LINGER);
    rf_buf_clear(&c->inbox);
    c->inbox_at = 0;
    c->close_after = true;
    if (c->queued == 0)
        rfi_conn_shutdown(c);
    update_reading(c);
}

static void on_head(rfi_conn *c, bool all_taken)
{
    rfi_req *r = c->req;

    enter(c, RFI_CONN_BODY);
    c->window_bytes = 0;
    c->discarded = 0;
    r->began_us = rf_mono_us();
    rfi_dispatch_head(r);
    /* Only when the body is not already here, and wanted. */
    if (c->state == RFI_CONN_BODY && c->req == r && !r->started && r->head.expect_continue &&
        all_taken) {
        static const rf_str go_on = {"HTTP/1.1 100 Continue\r\n\r\n", 25};

        rfi_conn_send(c, &go_on, 1, NULL);
    }
}

static void on_end(rfi_conn *c)
{
    rfi_req *r = c->req;

    r->body_complete = true;
    enter(c, RFI_CONN_WAIT);
    if (r->finished) { /* it was answered before */
        release_request(c);
        enter(c, RFI_CONN_IDLE);
        return;
    }
    rfi_dispatch_end(r);
}

/* Ends the request's handler, if one is at work, without an answer of its own. */
static void tell_gone(rfi_req *r)
{
    void (*on_gone)(rfi_req *) = r->on_gone;

    r->on_gone = NULL;
    r->on_body = NULL;
    r->on_end = NULL;
    r->on_drain = NULL;
    if (on_gone != NULL)
        on_gone(r);
}

/* Answers a request that cannot be understood, or came too slowly, and ends the connection. */
static void refuse(rfi_conn *c, int status, const char *rule, const char *detail)
{
    rfi_req *r = c->req;

    if (r == NULL || r->started) { /* too late for words */
        if (r != NULL && r->finished)
            linger(c);
        else
            rfi_conn_close(c);
        return;
    }
    rfi_req_ref(r);
    r->keep_alive = false;
    tell_gone(r);
    rfi_problem(r, status, rule, "%s", detail);
    rfi_req_unref(r);
}

/* Parses as much as may be; returns how many bytes were taken. */
static size_t parse(rfi_conn *c, const char *p, size_t n)
{
    size_t at = 0;

    RF_ASSERT(!c->parsing);
    c->parsing = true;
    while (may_parse(c) && (at < n || c->parse_more)) {
        size_t used = 0;

        c->parse_more = false;
        if (c->req == NULL && !begin_request(c))
            break;
        rfi_req *r = rfi_req_ref(c->req); /* whatever a handler does to the connection */
        rfi_parsed parsed = rfi_parser_run(c->parser, p + at, n - at, &used);

        at += used;
        if (c->state == RFI_CONN_CLOSED) {
            /* a handler's doing */
        } else if (parsed == RFI_PARSED_BAD) {
            const rfi_refusal *why = rfi_parser_refusal(c->parser);

            refuse(c, why->status, why->rule, why->detail);
        } else if (parsed == RFI_PARSED_HEAD) {
            c->parse_more = true;
            on_head(c, at == n);
        } else if (parsed == RFI_PARSED_END) {
            on_end(c);
        } else if (c->state == RFI_CONN_IDLE && rfi_parser_in_head(c->parser)) {
            enter(c, RFI_CONN_HEAD);
        }
        rfi_req_unref(r);
    }
    c->parsing = false;
    return at;
}

static void on_body(void *arg, const char *p, size_t n)
{
    rfi_conn *c = arg;

    c->window_bytes += n;
    if (c->discard || c->state != RFI_CONN_BODY) {
        c->discarded += n;
        return;
    }
    rfi_dispatch_body(c->req, p, n);
}

static void keep(rfi_conn *c, const char *p, size_t n)
{
    if (n == 0 || c->state == RFI_CONN_LINGER || c->state == RFI_CONN_CLOSED)
        return;
    if (inbox_bytes(c) == 0) {
        rf_buf_reset(&c->inbox);
        c->inbox_at = 0;
    }
    rf_buf_add(&c->inbox, p, n);
    if (c->inbox.failed)
        rfi_conn_close(c);
}

/* The client sends no more, and all it sent was looked at. */
static void end_of_input(rfi_conn *c)
{
    switch (c->state) {
    case RFI_CONN_WAIT:
        if (c->req->route != NULL && c->req->route->cancel_on_eof)
            rfi_conn_close(c);
        else
            c->req->keep_alive = false; /* it may have closed its half only */
        break;
    case RFI_CONN_IDLE:
        if (c->queued > 0) {
            linger(c);
            break;
        }
        rfi_conn_close(c);
        break;
    case RFI_CONN_LINGER:
        if (c->queued > 0)
            break; /* it may still read */
        rfi_conn_close(c);
        break;
    case RFI_CONN_HEAD:
    case RFI_CONN_BODY:
        if (c->state == RFI_CONN_BODY && c->paused)
            break;
        rfi_conn_close(c);
        break;
    case RFI_CONN_CLOSED:
        break;
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void update_reading(rfi_conn *c)
{
    if (c->state == RFI_CONN_CLOSED)
        return;
    bool full = c->state != RFI_CONN_LINGER && inbox_bytes(c) >= RFI_INBOX_MAX;
    bool held = c->state == RFI_CONN_BODY && c->paused && !c->discard;
    bool want = !c->eof && !full && !held;

    if (want && !c->reading)
        uv_read_start(&c->uv.stream, on_alloc, on_read);
    else if (!want && c->reading)
        uv_read_stop(&c->uv.stream);
    c->reading = want;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    rfi_conn *c = stream->data;

    if (n == 0 || c->state == RFI_CONN_CLOSED)
        return;
    if (n == UV_EOF) {
        c->eof = true;
        c->reading = false;
        if (inbox_bytes(c) == 0 || c->state == RFI_CONN_WAIT)
            end_of_input(c);
        return;
    }
    if (n < 0) {
        rfi_conn_close(c);
        return;
    }
    if (c->state == RFI_CONN_LINGER)
        return; /* thrown away */
    size_t used = inbox_bytes(c) == 0 ? parse(c, buf->base, (size_t)n) : 0;

    keep(c, buf->base + used, (size_t)n - used);
    update_reading(c);
}

/* Something that held the parser back has changed. */
static void resume(rfi_conn *c)
{
    if (c->parsing)
        return; /* the loop in parse() sees for itself */
    if (inbox_bytes(c) > 0 || c->parse_more)
        c->inbox_at += parse(c, c->inbox.p + c->inbox_at, inbox_bytes(c));
    if (c->state == RFI_CONN_CLOSED || c->state == RFI_CONN_LINGER)
        return;
    if (inbox_bytes(c) == 0) {
        c->inbox_at = 0;
        if (c->inbox.cap > INBOX_KEPT)
            rf_buf_clear(&c->inbox);
        rf_buf_reset(&c->inbox);
        if (c->eof)
            end_of_input(c);
    }
    update_reading(c);
}

/* ---- from replies -----------------------------------------------------------------------------
 */

void rfi_conn_reply_done(rfi_conn *c)
{
    rfi_req *r = c->req;

    RF_ASSERT(r != NULL && r->finished);
    if (!r->keep_alive) {
        release_request(c);
        linger(c);
        return;
    }
    if (!r->body_complete) { /* stay until its end */
        c->discard = true;
        resume(c);
        return;
    }
    release_request(c);
    enter(c, RFI_CONN_IDLE);
    if (rfi_http_draining(c->loop->http) && inbox_bytes(c) == 0)
        linger(c);
    else
        resume(c);
}

void rfi_conn_pause(rfi_conn *c, bool yes)
{
    if (c->paused == yes)
        return;
    c->paused = yes;
    if (yes)
        return;              /* reading stops when what was read is parsed */
    c->since_ms = now_ms(c); /* the window of the body's rate begins anew */
    c->window_bytes = 0;
    resume(c);
}

void rfi_conn_output_ready(rfi_conn *c)
{
    resume(c);
}

void rfi_conn_drain(rfi_conn *c)
{
    if (c->state == RFI_CONN_IDLE && inbox_bytes(c) == 0)
        linger(c);
}

/* ---- deadlines --------------------------------------------------------------------------------
 */

void rfi_conn_sweep(rfi_conn *c, uint64_t now)
{
    const rfi_http_options *o = &c->loop->http->options;
    uint64_t age = now - c->since_ms;

    uint64_t written = c->queued_ever - uv_stream_get_write_queue_size(&c->uv.stream);

    if (written != c->written_seen || c->queued == 0)
        c->progress_ms = now;
    c->written_seen = written;
    if (c->queued > 0 && now - c->progress_ms > o->idle_timeout_ms) {
        rfi_conn_close(c); /* reads nothing of what it asked for */
        return;
    }
    switch (c->state) {
    case RFI_CONN_IDLE:
        if (age > o->idle_timeout_ms)
            rfi_conn_close(c);
        else if (rfi_http_draining(c->loop->http))
            rfi_conn_drain(c);
        break;
    case RFI_CONN_HEAD:
        if (age > o->head_timeout_ms)
            refuse(c, 408, "head-timeout", "The request's head did not arrive in time.");
        break;
    case RFI_CONN_BODY:
        if (c->paused && !c->discard) {
            c->since_ms = now;
            c->window_bytes = 0;
        } else if (age >= o->body_window_ms) {
            if (c->window_bytes * 1000 < (uint64_t)o->body_rate_min * age) {
                refuse(c, 408, "body-too-slow", "The request's body arrives too slowly.");
                break;
            }
            c->since_ms = now;
            c->window_bytes = 0;
        }
        break;
    case RFI_CONN_LINGER:
        if (c->queued == 0 && age > RFI_LINGER_MS)
            rfi_conn_close(c);
        break;
    case RFI_CONN_WAIT:
    case RFI_CONN_CLOSED:
        break;
    }
}

/* ---- beginning and end ------------------------------------------------------------------------
 */

static void on_closed(uv_handle_t *handle)
{
    rfi_conn *c = handle->data;
    rfi_http_loop *l = c->loop;

    rfi_parser_free(&c->parser);
    rf_buf_clear(&c->inbox);
    free(c);
    rfi_http_conn_gone(l);
}

void rfi_conn_close(rfi_conn *c)
{
    rfi_http_loop *l = c->loop;

    if (c->state == RFI_CONN_CLOSED)
        return;
    enter(c, RFI_CONN_CLOSED);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        l->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    if (c->req != NULL) {
        rfi_req *r = c->req;

        c->req = NULL;
        r->conn = NULL;
        atomic_store(&r->gone, true);
        if (!r->finished)
            tell_gone(r);
        rfi_req_unref(r);
    }
    uv_close(&c->uv.handle, on_closed);
}

void rfi_conn_open(rfi_http_loop *l, int fd, bool local)
{
    rfi_conn *c = calloc(1, sizeof *c);
    int e;

    if (c == NULL) {
        close(fd);
        rfi_http_conn_gone(l);
        return;
    }
    c->loop = l;
    c->local = local;
    rf_buf_init(&c->inbox, RFI_INBOX_MAX + RFI_READ_BYTES);
    c->parser = rfi_parser_new(on_body, c);
    e = local ? uv_pipe_init(&l->base.uv, &c->uv.pipe, 0) : uv_tcp_init(&l->base.uv, &c->uv.tcp);
    RF_ASSERT(e == 0); /* they allocate nothing */
    c->uv.handle.data = c;
    c->next = l->conns;
    if (l->conns != NULL)
        l->conns->prev = c;
    l->conns = c;
    l->conn_count++;
    enter(c, RFI_CONN_IDLE);
    c->progress_ms = c->since_ms;
    e = local ? uv_pipe_open(&c->uv.pipe, fd) : uv_tcp_open(&c->uv.tcp, fd);
    if (e != 0) {
        close(fd);
        rfi_conn_close(c);
        return;
    }
    if (!local)
        uv_tcp_nodelay(&c->uv.tcp, 1);
    if (c->parser == NULL) {
        rfi_conn_close(c);
        return;
    }
    update_reading(c);
    if (l->closing || rfi_http_draining(l->http))
        rfi_conn_close(c);
}
