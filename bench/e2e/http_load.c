/*
 * Load on a running server, and how it answers: keep-alive connections over plain sockets, one
 * request at a time on each (a closed loop, as clients that wait for their acknowledgement are).
 *
 *   bench_http_load append HOST:PORT --clients N [--per-request K] [--seconds S] [--bytes B]
 * [--json] N clients, each sends K events (a JSON batch when K > 1) and waits. One line of JSON:
 * events/s and the quantiles of the wait. bench_http_load ndjson HOST:PORT [--events N] one
 * connection, one NDJSON request of N flights; beside it what yyjson and rf_event_decode alone do
 * with the same bytes on one core. bench_http_load freshness HOST:PORT [--events N] one event at a
 * time: from its acknowledgement until a projection shows it, asked with `after`, and by polling.
 * Needs the projection `bench_fresh` (see bench/run).
 *
 * Ids are new in every run, so nothing is a duplicate.
 */
#include "base/base.h"
#include "event/event.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <yyjson.h>

#define ANSWER_MAX (8u << 20)
#define WARMUP_US 500000

typedef struct options {
    const char *where;
    unsigned clients, per_request, bytes;
    uint64_t events;
    double seconds;
} options;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_http_load: %s: %s\n", what, why);
    exit(1);
}

static char run_id[RF_UUID_TEXT + 1];

/* ---- connections -------------------------------------------------------------------------------
 */

typedef struct conn {
    int fd;
    rf_buf out; /* the request */
    size_t out_at;
    rf_buf in; /* the answer so far */
    int64_t sent_us;
    uint64_t seq;
    unsigned number;
    bool blocked; /* waits until the socket takes more */
} conn;

static void conn_open(conn *c, const char *where)
{
    char host[256];
    const char *colon = strrchr(where, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int on = 1;

    if (colon == NULL || (size_t)(colon - where) >= sizeof host)
        die(where, "is not HOST:PORT");
    snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
    if (getaddrinfo(host, colon + 1, &hints, &list) != 0)
        die(where, "no such address");
    c->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, list->ai_addr, list->ai_addrlen) != 0)
        die(where, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    freeaddrinfo(list);
    rf_buf_init(&c->out, UINT32_MAX);
    rf_buf_init(&c->in, ANSWER_MAX);
}

static void conn_close(conn *c)
{
    close(c->fd);
    rf_buf_clear(&c->out);
    rf_buf_clear(&c->in);
}

/* Bytes of the whole answer once it is complete, else 0. *status and *body when complete. */
static size_t answer_complete(const rf_buf *in, int *status, rf_str *body)
{
    static const char length[] = "\r\ncontent-length:";
    const char *end = in->n == 0 ? NULL : memmem(in->p, in->n, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - in->p) + 4, size = 0;
    bool known = false;

    for (const char *p = in->p; p + sizeof length - 1 < end + 2; p++) {
        if (*p == '\r' && strncasecmp(p, length, sizeof length - 1) == 0) {
            size = strtoull(p + sizeof length - 1, NULL, 10);
            known = true;
            break;
        }
    }
    if (!known)
        die("the answer has no Content-Length", in->p);
    if (in->n < head + size)
        return 0;
    *status = (int)strtol(in->p + sizeof "HTTP/1.1 " - 1, NULL, 10);
    *body = (rf_str){in->p + head, size};
    return head + size;
}

/* One request and its answer, on a blocking socket. The body is valid until the next. */
static int conn_call(conn *c, rf_str *body)
{
    int status = 0;

    for (size_t at = 0; at < c->out.n;) {
        ssize_t n = send(c->fd, c->out.p + at, c->out.n - at, MSG_NOSIGNAL);

        if (n <= 0)
            die("sending", strerror(errno));
        at += (size_t)n;
    }
    rf_buf_reset(&c->in);
    while (answer_complete(&c->in, &status, body) == 0) {
        rf_buf_reserve(&c->in, 65536);
        ssize_t n = recv(c->fd, c->in.p + c->in.n, 65536, 0);

        if (n <= 0)
            die("receiving", n == 0 ? "the server closed the connection" : strerror(errno));
        c->in.n += (size_t)n;
    }
    return status;
}

static void begin_post(rf_buf *b, const char *path, const char *type, size_t length)
{
    rf_buf_reset(b);
    rf_buf_addf(
        b, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
        path, type, length);
}

/* ---- events
 * -------------------------------------------------------------------------------------- */

/* An expense claim: a few fields, and padding to the size that was asked for. */
static void add_event(rf_buf *b, const char *type, unsigned client, uint64_t seq, unsigned bytes)
{
    size_t start = b->n;

    rf_buf_addf(b,
                "{\"specversion\":\"1.0\",\"type\":\"%s\",\"source\":\"/bench/%u\",\"id\":\"%s-%u-"
                "%llu\",\"subject\":\"claim-%llu\",\"time\":\"2026-01-01T00:00:00Z\",\"data\":{"
                "\"amount\":%llu.5,\"currency\":\"EUR\",\"trip\":%llu,\"note\":\"",
                type, client % 8, run_id, client, (unsigned long long)seq,
                (unsigned long long)(seq % 5000), (unsigned long long)(seq % 900),
                (unsigned long long)(seq % 7000));
    while (b->n - start + 3 < bytes)
        rf_buf_add_char(b, (char)('a' + (b->n * 7 + seq) % 26));
    rf_buf_add_cstr(b, "\"}}");
}

static void add_flight(rf_buf *b, uint64_t i)
{
    static const char *const airports[] = {"JFK", "LAX", "SFO", "ORD", "DEN", "ATL", "SEA", "BOS"};
    uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    const char *from = airports[x >> 61], *to = airports[x >> 58 & 7];

    rf_buf_addf(
        b,
        "{\"specversion\":\"1.0\",\"type\":\"bench.flight\",\"source\":\"/bench\",\"id\":"
        "\"%s-%llu\",\"subject\":\"%s-%s\",\"time\":\"2001-01-%02dT%02d:%02d:00Z\",\"data\":{"
        "\"delay\":%d,\"distance\":%d,\"origin\":\"%s\",\"destination\":\"%s\"}}\n",
        run_id, (unsigned long long)i, from, to, (int)(1 + (x >> 8) % 28), (int)((x >> 16) % 24),
        (int)((x >> 24) % 60), (int)(x >> 32 & 127) - 20, (int)(x >> 40 & 2047), from, to);
}

/* ---- append
 * --------------------------------------------------------------------------------------- */

static void next_request(conn *c, const options *o, rf_buf *body)
{
    rf_buf_reset(body);
    if (o->per_request > 1)
        rf_buf_add_char(body, '[');
    for (unsigned i = 0; i < o->per_request; i++) {
        if (i > 0)
            rf_buf_add_char(body, ',');
        add_event(body, "bench.claimed", c->number, c->seq++, o->bytes);
    }
    if (o->per_request > 1)
        rf_buf_add_char(body, ']');
    begin_post(&c->out, "/v1/events",
               o->per_request > 1 ? "application/cloudevents-batch+json"
                                  : "application/cloudevents+json",
               body->n);
    rf_buf_add_str(&c->out, rf_buf_str(body));
    c->out_at = 0;
    c->sent_us = rf_mono_us();
}

/* Sends what is left; the socket is not blocking. */
static void push(conn *c, int epoll)
{
    while (c->out_at < c->out.n) {
        ssize_t n =
            send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN)
            die("sending", strerror(errno));
        if (n < 0)
            break;
        c->out_at += (size_t)n;
    }
    bool blocked = c->out_at < c->out.n;

    if (blocked == c->blocked)
        return;
    struct epoll_event e = {.events = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};

    c->blocked = blocked;
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e) != 0)
        die("epoll", strerror(errno));
}

/* True when the answer is complete; then it was checked and its time recorded. */
static bool pull(conn *c, bool record, rf_hist *waits)
{
    int status = 0;
    rf_str body;

    rf_buf_reserve(&c->in, 65536);
    ssize_t n = recv(c->fd, c->in.p + c->in.n, 65536, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        die("receiving", n == 0 ? "the server closed the connection" : strerror(errno));
    c->in.n += (size_t)n;
    if (answer_complete(&c->in, &status, &body) == 0)
        return false;
    if (status != 200 && status != 201) {
        fprintf(stderr, "%.*s\n", RF_STR_ARG(body));
        die("the server refused", "see above");
    }
    if (record)
        rf_hist_record(waits, (uint64_t)(rf_mono_us() - c->sent_us));
    rf_buf_reset(&c->in);
    return true;
}

static void report_append(const options *o, uint64_t answers, double seconds, const rf_hist *waits)
{
    printf("{\"bench\":\"http_append\",\"clients\":%u,\"per_request\":%u,\"event_bytes\":%u,"
           "\"events\":%llu,\"seconds\":%.3f,\"events_per_s\":%.0f,\"ack_p50_us\":%llu,"
           "\"ack_p99_us\":%llu,\"ack_max_us\":%llu}\n",
           o->clients, o->per_request, o->bytes, (unsigned long long)(answers * o->per_request),
           seconds, (double)(answers * o->per_request) / seconds,
           (unsigned long long)rf_hist_quantile(waits, 0.5),
           (unsigned long long)rf_hist_quantile(waits, 0.99),
           (unsigned long long)rf_hist_quantile(waits, 1));
}

static void append(const options *o)
{
    conn *conns = rf_xcalloc(o->clients, sizeof *conns);
    rf_hist *waits = rf_xcalloc(1, sizeof *waits);
    struct epoll_event ready[64];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t answers = 0;
    rf_buf body;

    rf_buf_init(&body, UINT32_MAX);
    for (unsigned i = 0; i < o->clients; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &conns[i]};

        conns[i].number = i;
        conn_open(&conns[i], o->where);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &e) != 0)
            die("epoll", strerror(errno));
        next_request(&conns[i], o, &body);
        push(&conns[i], epoll);
    }
    int64_t counted_from = rf_mono_us() + WARMUP_US;
    int64_t until = counted_from + (int64_t)(o->seconds * 1e6), now = 0;

    while ((now = rf_mono_us()) < until) {
        int n = epoll_wait(epoll, ready, RF_ARRAY_LEN(ready), 100);

        for (int i = 0; i < n; i++) {
            conn *c = ready[i].data.ptr;
            bool counts = c->sent_us >= counted_from;

            if ((ready[i].events & EPOLLOUT) != 0)
                push(c, epoll);
            if ((ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || !pull(c, counts, waits))
                continue;
            answers += rf_mono_us() >= counted_from;
            next_request(c, o, &body);
            push(c, epoll);
        }
    }
    report_append(o, answers, (double)(now - counted_from) / 1e6, waits);
    for (unsigned i = 0; i < o->clients; i++)
        conn_close(&conns[i]);
    rf_buf_clear(&body);
    close(epoll);
    free(waits);
    free(conns);
}

/* ---- ndjson
 * ---------------------------------------------------------------------------------------- */

static double parse_alone(rf_str text)
{
    int64_t began = rf_mono_us();
    size_t pool_bytes = yyjson_read_max_memory_usage(4096, 0);
    void *pool = rf_xmalloc(pool_bytes);
    yyjson_alc alc;

    for (size_t at = 0; at < text.n;) {
        const char *line = text.p + at;
        size_t n = (size_t)((const char *)memchr(line, '\n', text.n - at) - line);

        yyjson_alc_pool_init(&alc, pool, pool_bytes);
        if (yyjson_read_opts((char *)(uintptr_t)line, n, 0, &alc, NULL) == NULL)
            die("yyjson", "does not parse a line");
        at += n + 1;
    }
    free(pool);
    return (double)(rf_mono_us() - began) / 1e6;
}

static double decode_alone(rf_str text)
{
    rf_event_limits limits = RF_EVENT_LIMITS_DEFAULT;
    rf_decoder *decoder = rf_decoder_new(&limits, 1);
    int64_t began = rf_mono_us();

    for (size_t at = 0; at < text.n;) {
        const char *line = text.p + at;
        size_t n = (size_t)((const char *)memchr(line, '\n', text.n - at) - line);
        rf_event event;
        rf_event_fault fault;

        if (rf_event_decode(decoder, (rf_str){line, n}, &event, NULL, &fault) != RF_OK)
            die("rf_event_decode", fault.detail);
        rf_decoder_reset(decoder);
        at += n + 1;
    }
    double seconds = (double)(rf_mono_us() - began) / 1e6;

    rf_decoder_free(&decoder);
    return seconds;
}

static void ndjson(const options *o)
{
    conn c = {0};
    rf_str answer;
    rf_buf body;

    rf_buf_init(&body, UINT32_MAX);
    for (uint64_t i = 0; i < o->events; i++)
        add_flight(&body, i);
    if (body.failed)
        die("--events", "too many");
    double parse_s = parse_alone(rf_buf_str(&body)), decode_s = decode_alone(rf_buf_str(&body));

    conn_open(&c, o->where);
    begin_post(&c.out, "/v1/events", "application/x-ndjson", body.n);
    rf_buf_add_str(&c.out, rf_buf_str(&body));
    int64_t began = rf_mono_us();
    int status = conn_call(&c, &answer);
    double seconds = (double)(rf_mono_us() - began) / 1e6, mb = (double)body.n / 1e6;
    yyjson_doc *doc = yyjson_read(answer.p, answer.n, 0);
    uint64_t accepted = yyjson_get_uint(yyjson_obj_get(yyjson_doc_get_root(doc), "accepted"));

    if (status != 200 || accepted != o->events) {
        fprintf(stderr, "%.*s\n", RF_STR_ARG(answer));
        die("the server did not take all", "see above");
    }
    printf(
        "{\"bench\":\"http_ndjson\",\"events\":%llu,\"bytes\":%zu,\"seconds\":%.3f,"
        "\"events_per_s\":%.0f,\"mb_per_s\":%.1f,\"parse_mb_per_s\":%.1f,\"decode_mb_per_s\":%.1f,"
        "\"ratio_to_parse\":%.3f}\n",
        (unsigned long long)o->events, body.n, seconds, (double)o->events / seconds, mb / seconds,
        mb / parse_s, mb / decode_s, parse_s / seconds);
    yyjson_doc_free(doc);
    conn_close(&c);
    rf_buf_clear(&body);
}

/* ---- freshness
 * -------------------------------------------------------------------------------------- */

/* The number that the projection shows. after: a position token, or NULL. */
static uint64_t ask(conn *c, const char *after, rf_buf *body)
{
    rf_str answer;

    rf_buf_reset(body);
    rf_buf_add_cstr(body, "{\"sql\":\"SELECT n FROM bench_fresh\"");
    if (after != NULL)
        rf_buf_addf(body, ",\"after\":\"%s\"", after);
    rf_buf_add_char(body, '}');
    begin_post(&c->out, "/v1/query", "application/json", body->n);
    rf_buf_add_str(&c->out, rf_buf_str(body));
    int status = conn_call(c, &answer);
    yyjson_doc *doc = yyjson_read(answer.p, answer.n, 0);
    yyjson_val *rows = yyjson_obj_get(yyjson_doc_get_root(doc), "rows");
    uint64_t n = yyjson_get_uint(yyjson_arr_get_first(yyjson_arr_get_first(rows)));

    if (status != 200) {
        fprintf(stderr, "%.*s\n", RF_STR_ARG(answer));
        die("the query failed", "see above");
    }
    yyjson_doc_free(doc);
    return n;
}

/* Sends one event; the position of its acknowledgement goes to `token`. */
static void send_one(conn *c, uint64_t seq, rf_buf *body, char token[static 1024])
{
    rf_str answer;

    rf_buf_reset(body);
    add_event(body, "bench.fresh", 0, seq, 300);
    begin_post(&c->out, "/v1/events", "application/cloudevents+json", body->n);
    rf_buf_add_str(&c->out, rf_buf_str(body));
    int status = conn_call(c, &answer);
    yyjson_doc *doc = yyjson_read(answer.p, answer.n, 0);
    const char *position = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "position"));

    if (status != 201 || position == NULL)
        die("the event was not stored", answer.p);
    snprintf(token, 1024, "%s", position);
    yyjson_doc_free(doc);
}

static void freshness(const options *o)
{
    conn c = {0};
    rf_hist *after = rf_xcalloc(1, sizeof *after), *polled = rf_xcalloc(1, sizeof *polled);
    rf_hist *query = rf_xcalloc(1, sizeof *query);
    char token[1024];
    rf_buf body;

    rf_buf_init(&body, 1u << 20);
    conn_open(&c, o->where);
    send_one(&c, 0, &body, token);
    uint64_t n = ask(&c, token, &body);

    for (uint64_t i = 1; i <= o->events; i++) {
        bool poll = i % 2 == 0;

        send_one(&c, i, &body, token);
        int64_t acked = rf_mono_us();
        uint64_t seen = ask(&c, poll ? NULL : token, &body);

        while (poll && seen < n + 1)
            seen = ask(&c, NULL, &body);
        rf_hist_record(poll ? polled : after, (uint64_t)(rf_mono_us() - acked));
        if (seen != n + 1)
            die("the projection", "shows another number than was sent: use it alone");
        n = seen;
        int64_t began = rf_mono_us(); /* what of it is the query itself? */

        ask(&c, NULL, &body);
        rf_hist_record(query, (uint64_t)(rf_mono_us() - began));
    }
    printf("{\"bench\":\"freshness\",\"events\":%llu,\"after_p50_us\":%llu,\"after_p99_us\":%llu,"
           "\"polled_p50_us\":%llu,\"polled_p99_us\":%llu,\"query_p50_us\":%llu,\"query_p99_us\":"
           "%llu}\n",
           (unsigned long long)o->events, (unsigned long long)rf_hist_quantile(after, 0.5),
           (unsigned long long)rf_hist_quantile(after, 0.99),
           (unsigned long long)rf_hist_quantile(polled, 0.5),
           (unsigned long long)rf_hist_quantile(polled, 0.99),
           (unsigned long long)rf_hist_quantile(query, 0.5),
           (unsigned long long)rf_hist_quantile(query, 0.99));
    conn_close(&c);
    rf_buf_clear(&body);
    free(after);
    free(polled);
    free(query);
}

/* ---- main
 * ---------------------------------------------------------------------------------------------- */

static uint64_t number(int argc, char **argv, const char *name, uint64_t otherwise)
{
    uint64_t v = 0;

    for (int i = 3; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            if (!rf_str_to_u64(rf_str_from(argv[i + 1]), &v) || v == 0)
                die(name, "needs a number");
            return v;
        }
    }
    return otherwise;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        die("usage", "bench_http_load append|ndjson|freshness HOST:PORT [options]");
    options o = {.where = argv[2],
                 .clients = (unsigned)number(argc, argv, "--clients", 1),
                 .per_request = (unsigned)number(argc, argv, "--per-request", 1),
                 .bytes = (unsigned)number(argc, argv, "--bytes", 940),
                 .events = number(argc, argv, "--events", 0),
                 .seconds = (double)number(argc, argv, "--seconds", 5)};

    rf_uuid7(run_id);
    if (strcmp(argv[1], "append") == 0) {
        append(&o);
    } else if (strcmp(argv[1], "ndjson") == 0) {
        o.events = o.events == 0 ? 1000000 : o.events;
        ndjson(&o);
    } else if (strcmp(argv[1], "freshness") == 0) {
        o.events = o.events == 0 ? 1000 : o.events;
        freshness(&o);
    } else {
        die(argv[1], "is not append, ndjson or freshness");
    }
    return 0;
}
