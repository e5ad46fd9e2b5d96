/* A small application behind the HTTP core, for tests of it: routes that answer at once, late, in
 * pieces, or never. */
#ifndef RF_TESTS_HTTP_APP_H
#define RF_TESTS_HTTP_APP_H

#include "server/http_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/http_kit.h"

#define H "Host: x\r\n"
#define GET "GET /hello HTTP/1.1\r\n"
#define POST "POST /echo HTTP/1.1\r\n"

static _Atomic int gone_count;
static _Atomic uint64_t streamed; /* bytes that /stream took */
static _Atomic bool hold_stream;  /* /stream pauses at its first byte */
static rfi_req *_Atomic held;

static void hello(rfi_req *r)
{
    rfi_reply(r, 200, "text/plain", RF_STR("hello\n"));
}

static void echo(rfi_req *r)
{
    rfi_reply_take(r, 200, "application/octet-stream", &r->body);
}

static void names(rfi_req *r)
{
    rf_buf b;
    rf_str q = {NULL, 0};

    rf_buf_init(&b, 1u << 20);
    rfi_req_query(r, "q", &q);
    rf_buf_addf(&b, "%.*s|%.*s|%.*s", RF_STR_ARG(r->params[0]), RF_STR_ARG(r->params[1]),
                RF_STR_ARG(q));
    rfi_reply_take(r, 200, "text/plain", &b);
}

static void on_stream_gone(rfi_req *r)
{
    (void)r;
    atomic_fetch_add(&gone_count, 1);
}

static void on_stream_body(rfi_req *r, const char *p, size_t n)
{
    (void)p;
    atomic_fetch_add(&streamed, n);
    if (atomic_load(&hold_stream)) {
        rfi_req_pause(r);
        if (atomic_load(&held) == NULL)
            atomic_store(&held, rfi_req_ref(r));
    }
}

static void on_stream_end(rfi_req *r)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)atomic_load(&streamed));

    rfi_reply(r, 200, "text/plain", (rf_str){text, (size_t)n});
}

static void stream(rfi_req *r)
{
    atomic_store(&streamed, 0);
    r->on_body = on_stream_body;
    r->on_end = on_stream_end;
    r->on_gone = on_stream_gone;
}

/* Streams ?n= bytes of 'x', 10,000 at a time. */
static void pour(rfi_req *r)
{
    static char xs[10000];
    uintptr_t left = (uintptr_t)r->ctx;
    bool go_on = true;

    memset(xs, 'x', sizeof xs);
    while (left > 0 && go_on) {
        size_t n = RF_MIN(left, sizeof xs);

        go_on = rfi_reply_more(r, xs, n);
        left -= n;
    }
    r->ctx = (void *)left;
    if (left == 0)
        rfi_reply_end(r);
}

static void big(rfi_req *r)
{
    uint64_t n = 0;

    if (!rfi_req_query_u64(r, "n", 0, 1u << 30, &n))
        return;
    r->ctx = (void *)(uintptr_t)n;
    r->on_drain = pour;
    r->on_gone = on_stream_gone;
    rfi_reply_begin(r, 200, "text/plain", RFI_LENGTH_UNKNOWN);
    pour(r);
}

static void whole(rfi_req *r)
{
    uint64_t n = 0;
    rf_buf b;

    if (!rfi_req_query_u64(r, "n", 0, 1u << 30, &n))
        return;
    rf_buf_init(&b, 1u << 30);
    rf_buf_reserve(&b, n);
    memset(b.p, 'y', n);
    b.n = n;
    rfi_reply_take(r, 200, "text/plain", &b);
}

static void never(rfi_req *r)
{
    r->on_gone = on_stream_gone;
}

/* Answered by another thread, by way of a post. */
typedef struct later_job {
    rfi_post post;
    rfi_req *r;
    pthread_t thread;
} later_job;

static void on_later(rfi_post *post)
{
    later_job *j = (later_job *)post;

    pthread_join(j->thread, NULL);
    rfi_reply(j->r, 200, "text/plain", RF_STR("later\n"));
    rfi_req_unref(j->r);
    free(j);
}

static void *later_thread(void *arg)
{
    later_job *j = arg;

    usleep(20000);
    rfi_loop_post(j->r->loop, &j->post);
    return NULL;
}

static void later(rfi_req *r)
{
    later_job *j = rf_xcalloc(1, sizeof *j);

    j->r = rfi_req_ref(r);
    j->post.run = on_later;
    pthread_create(&j->thread, NULL, later_thread, j);
}

static const rfi_route ROUTES[] = {
    {.method = "GET", .pattern = "/hello", .handle = {hello}},
    {.method = "POST",
     .pattern = "/echo",
     .body = RFI_BODY_WHOLE,
     .body_max = 1u << 20,
     .handle = {echo}},
    {.method = "POST",
     .pattern = "/small",
     .body = RFI_BODY_WHOLE,
     .body_max = 10,
     .handle = {echo}},
    {.method = "POST", .pattern = "/stream", .body = RFI_BODY_STREAM, .handle = {stream}},
    {.method = "GET", .pattern = "/names/{a}/{b}", .query = "q,z", .handle = {names}},
    {.method = "GET", .pattern = "/big", .query = "n", .handle = {big}},
    {.method = "GET", .pattern = "/whole", .query = "n", .handle = {whole}},
    {.method = "GET", .pattern = "/later", .handle = {later}},
    {.method = "GET", .pattern = "/never", .cancel_on_eof = true, .handle = {never}},
    {.method = "GET", .pattern = "/read-only", .half = "read", .handle = {NULL, hello}},
};

typedef struct fixture {
    rfi_http *http;
    uint16_t port;
} fixture;

static inline fixture start_with(uint32_t threads, uint32_t connections)
{
    fixture f = {0};
    rf_err err = {0};
    rfi_http_options o = {.threads = threads,
                          .connections_max = connections,
                          .head_timeout_ms = 400,
                          .idle_timeout_ms = 900,
                          .body_rate_min = 1000,
                          .body_window_ms = 400,
                          .routes = ROUTES,
                          .route_count = RF_ARRAY_LEN(ROUTES),
                          .half = RFI_WRITE};

    atomic_store(&gone_count, 0);
    assert_int_equal(rfi_http_open(&o, &f.http, &err), RF_OK);
    assert_int_equal(rfi_http_listen_tcp(f.http, "127.0.0.1", 0, &f.port, &err), RF_OK);
    assert_int_equal(rfi_http_start(f.http, &err), RF_OK);
    return f;
}

static inline fixture start(void)
{
    return start_with(1, 100);
}

static inline void stop(fixture *f)
{
    rfi_http_close(&f->http);
}

static inline bool wait_for(bool (*condition)(void))
{
    for (int i = 0; i < 300; i++) {
        if (condition())
            return true;
        usleep(10000);
    }
    return false;
}

#endif
