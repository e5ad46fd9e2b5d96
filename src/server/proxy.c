/*
 * Requests that belong to the read half, over DIR/run/read.sock and back: the body whole (it is
 * small, and can be sent again when an idle connection turns out to be dead), the answer in pieces,
 * as fast as the client takes them.
 *
 * States of a job: WAITING (the reader starts for the first time) -> SENT (no answer yet) ->
 * ANSWERING (its head is out) -> done. A client that goes away takes the upstream connection with
 * it, by which the read half knows to stop the query.
 */
#include "server/write_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <llhttp.h>
#include <yyjson.h>

#define IDLE_MAX 8            /* connections kept, a loop */
#define START_WAIT_US 5000000 /* for a reader that starts for the first time */
#define START_POLL_MS 25
#define READ_BYTES (64u << 10)
#define HEADERS_MAX 6000 /* of an answer, handed on */

typedef struct upstream upstream;
typedef struct proxy_job proxy_job;

/* A connection to the read half. */
struct upstream {
    uv_pipe_t pipe;
    uv_write_t write;
    llhttp_t parser;
    rfi_loop *loop;
    proxy_job *job; /* NULL: idle, or closing */
    upstream *next; /* idle */
    bool used;      /* it has answered before: may have died in its sleep */
    bool reading;
    bool closing;
    bool complete; /* the answer was parsed to its end */
    bool writing;  /* the request is not out, or on_sent not called */
    char buf[READ_BYTES];
};

struct proxy_job {
    rfi_req *req;
    rfi_write *half;
    upstream *up;
    uv_timer_t timer;
    bool timer_open;
    rf_buf request; /* kept for a second try */
    bool answering;
    /* of the answer's head */
    char field[64];
    size_t field_n;
    rf_buf value;
    rf_buf headers;
    char content_type[128];
    bool value_next;
};

typedef struct idle_list {
    upstream *first;
    uint32_t count;
} idle_list;

static void try_connect(proxy_job *job);
static void upstream_failed(upstream *up);

/* ---- ends -------------------------------------------------------------------------------------
 */

static void on_upstream_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_upstream(upstream *up)
{
    if (up->closing)
        return;
    up->closing = true;
    up->job = NULL;
    uv_close((uv_handle_t *)&up->pipe, on_upstream_closed);
}

static void free_job(proxy_job *job)
{
    rf_buf_clear(&job->request);
    rf_buf_clear(&job->value);
    rf_buf_clear(&job->headers);
    free(job);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free_job(handle->data);
}

/* The job is over; its upstream was given back or closed. */
static void end_job(proxy_job *job)
{
    rfi_req *r = job->req;

    r->ctx = NULL;
    r->on_gone = r->on_drain = NULL;
    if (job->up != NULL)
        close_upstream(job->up);
    job->up = NULL;
    job->req = NULL;
    if (job->timer_open)
        uv_close((uv_handle_t *)&job->timer, on_timer_closed);
    else
        free_job(job);
    rfi_req_unref(r);
}

static void keep_upstream(upstream *up)
{
    idle_list *idle = up->loop->proxy;

    up->job->up = NULL;
    up->job = NULL;
    if (idle == NULL) {
        idle = rf_xcalloc(1, sizeof *idle);
        up->loop->proxy = idle;
    }
    if (idle->count >= IDLE_MAX) {
        close_upstream(up);
        return;
    }
    up->used = true;
    up->next = idle->first;
    idle->first = up;
    idle->count++;
}

static upstream *take_idle(rfi_loop *l)
{
    idle_list *idle = l->proxy;
    upstream *up = idle == NULL ? NULL : idle->first;

    if (up == NULL)
        return NULL;
    idle->first = up->next;
    idle->count--;
    return up;
}

/* An idle connection was closed by the other side. */
static void drop_idle(upstream *up)
{
    idle_list *idle = up->loop->proxy;
    upstream **at = idle == NULL ? NULL : &idle->first;

    while (at != NULL && *at != NULL && *at != up)
        at = &(*at)->next;
    if (at != NULL && *at == up) {
        *at = up->next;
        idle->count--;
    }
    close_upstream(up);
}

void rfi_proxy_loop_stop(rfi_loop *l)
{
    for (upstream *up; (up = take_idle(l)) != NULL;)
        close_upstream(up);
    free(l->proxy);
    l->proxy = NULL;
}

/* ---- the answer -------------------------------------------------------------------------------
 */

static bool hop_by_hop(rf_str name)
{
    static const char *const names[] = {"connection",
                                        "keep-alive",
                                        "transfer-encoding",
                                        "content-length",
                                        "date",
                                        "te",
                                        "trailer",
                                        "upgrade",
                                        "proxy-connection",
                                        "content-type",
                                        "host",
                                        "expect",
                                        "proxy-authorization"};

    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++) {
        if (rfi_eq_nocase(name, names[i]))
            return true;
    }
    return false;
}

static int on_field(llhttp_t *l, const char *p, size_t n)
{
    proxy_job *job = ((upstream *)l->data)->job;

    if (job->value_next)
        job->field_n = 0;
    job->value_next = false;
    n = RF_MIN(n, sizeof job->field - job->field_n);
    memcpy(job->field + job->field_n, p, n);
    job->field_n += n;
    return 0;
}

static int on_value(llhttp_t *l, const char *p, size_t n)
{
    proxy_job *job = ((upstream *)l->data)->job;

    if (!job->value_next)
        rf_buf_reset(&job->value);
    job->value_next = true;
    rf_buf_add(&job->value, p, n);
    return 0;
}

static int on_value_complete(llhttp_t *l)
{
    proxy_job *job = ((upstream *)l->data)->job;
    rf_str name = {job->field, job->field_n}, value = rf_buf_str(&job->value);

    job->value_next = true;
    if (rfi_eq_nocase(name, "content-type")) {
        size_t k = RF_MIN(value.n, sizeof job->content_type - 1);

        memcpy(job->content_type, value.p, k);
        job->content_type[k] = '\0';
    } else if (!hop_by_hop(name) && job->headers.n + name.n + value.n + 4 < HEADERS_MAX) {
        rf_buf_add_str(&job->headers, name);
        rf_buf_add_cstr(&job->headers, ": ");
        rf_buf_add_str(&job->headers, value);
        rf_buf_add_cstr(&job->headers, "\r\n");
    }
    rf_buf_reset(&job->value);
    return 0;
}

static int on_headers_complete(llhttp_t *l)
{
    upstream *up = l->data;
    proxy_job *job = up->job;
    rfi_req *r = job->req;
    uint64_t length = l->flags & F_CONTENT_LENGTH ? l->content_length : RFI_LENGTH_UNKNOWN;

    bool head_only = r->head_only;

    job->answering = true;
    if (r->conn != NULL)
        rf_buf_add_str(&r->headers_out, rf_buf_str(&job->headers));
    if (l->status_code == 204)
        length = 0;
    rfi_reply_begin(r, l->status_code, job->content_type[0] == '\0' ? NULL : job->content_type,
                    length);
    if (up->job == NULL)
        return -1;            /* the client left */
    return head_only ? 1 : 0; /* 1: no body follows, whatever Content-Length says */
}

static int on_body(llhttp_t *l, const char *p, size_t n)
{
    upstream *up = l->data;

    if (up->job == NULL)
        return -1; /* the client left in the middle of it */
    if (!rfi_reply_more(up->job->req, p, n) && up->job != NULL && up->reading) {
        uv_read_stop((uv_stream_t *)&up->pipe); /* the rest of this read still comes */
        up->reading = false;
    }
    return up->job == NULL ? -1 : 0;
}

static int on_complete(llhttp_t *l)
{
    upstream *up = l->data;

    if (l->status_code < 200)
        return 0;
    up->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t SETTINGS = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    upstream *up = handle->data;

    (void)suggested;
    *buf = uv_buf_init(up->buf, sizeof up->buf);
}

static void finish(upstream *up)
{
    proxy_job *job = up->job;
    rfi_req *r = job->req;
    /* A connection whose request is not out yet still needs the job's bytes. */
    bool keep = llhttp_should_keep_alive(&up->parser) != 0 && up->reading && !up->writing;

    rfi_req_ref(r);
    if (keep)
        keep_upstream(up);
    end_job(job); /* first: the reply's end may begin the next request */
    rfi_reply_end(r);
    rfi_req_unref(r);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    upstream *up = stream->data;

    if (n == 0 || up->closing)
        return;
    if (up->job == NULL) {
        drop_idle(up);
        return;
    }
    if (n < 0) {
        upstream_failed(up);
        return;
    }
    llhttp_errno_t e = llhttp_execute(&up->parser, buf->base, (size_t)n);

    if (up->job == NULL || up->closing)
        return; /* the client went away during it */
    if (up->complete)
        finish(up);
    else if (e != HPE_OK)
        upstream_failed(up);
}

static void on_drain(rfi_req *r)
{
    proxy_job *job = r->ctx;

    if (job->up == NULL || job->up->reading)
        return;
    job->up->reading = true;
    uv_read_start((uv_stream_t *)&job->up->pipe, on_alloc, on_read);
}

static void on_gone(rfi_req *r)
{
    end_job(r->ctx);
}

/* ---- no answer --------------------------------------------------------------------------------
 */

/* The deadline of the query, from its parameters or its body, in microseconds. */
static int64_t deadline_us(const proxy_job *job)
{
    rfi_req *r = job->req;
    int64_t us = (int64_t)job->half->config->query_timeout_ms * 1000;
    rf_str text;
    uint64_t param;

    if (strcmp(r->route->operation_id, "query") != 0)
        return INT64_MAX;
    if (rfi_req_query(r, "timeoutMs", &text) && rf_str_to_u64(text, &param) && param < 1u << 30)
        return (int64_t)param * 1000;
    yyjson_doc *doc = yyjson_read(r->body.p, r->body.n, 0);
    yyjson_val *ms = yyjson_obj_get(yyjson_doc_get_root(doc), "timeoutMs");

    if (yyjson_is_uint(ms) && yyjson_get_uint(ms) > 0 && yyjson_get_uint(ms) < 1u << 30)
        us = (int64_t)yyjson_get_uint(ms) * 1000;
    yyjson_doc_free(doc);
    return us;
}

static void say_away(proxy_job *job)
{
    rfi_req *r = rfi_req_ref(job->req);
    bool late = rf_mono_us() - r->began_us >= deadline_us(job);
    const char *why = "There is no read half here; start one with refold serve --role read.";
    rfi_reader_info info;

    if (job->half->reader != NULL) {
        rfi_supervisor_get(job->half->reader, &info);
        why =
            info.state == RFI_READER_STARTING
                ? "The read half is starting; writes are taken. Try again in a second."
                : "The read half is away and is being restarted; writes are taken. Try again in a "
                  "second.";
    }
    end_job(job);
    if (late) {
        rfi_problem(
            r, 408, "deadline",
            "The query did not stop at its deadline, so the read half was ended; it is back "
            "in a moment.");
    } else {
        rfi_reply_header(r, "Retry-After", "1");
        rfi_problem(r, 503, "reader-away", "%s", why);
    }
    rfi_req_unref(r);
}

static void upstream_failed(upstream *up)
{
    proxy_job *job = up->job;
    bool again = up->used && !job->answering;

    close_upstream(up);
    job->up = NULL;
    if (again) {
        try_connect(job); /* it died in its sleep: not the request's fault */
    } else if (job->answering) {
        rfi_req *r = rfi_req_ref(job->req);

        end_job(job);
        rfi_reply_abort(r);
        rfi_req_unref(r);
    } else {
        say_away(job);
    }
}

/* ---- the request ------------------------------------------------------------------------------
 */

static void build_request(proxy_job *job)
{
    const rfi_req *r = job->req;
    rf_buf *b = &job->request;
    rf_str content_type = rfi_head_find(&r->head, "content-type");

    rf_buf_add_str(b, r->head.method);
    rf_buf_add_char(b, ' ');
    rf_buf_add_str(b, r->head.target);
    rf_buf_add_cstr(b, " HTTP/1.1\r\nHost: refold\r\nContent-Length: ");
    rf_buf_add_u64(b, r->body.n);
    rf_buf_add_cstr(b, "\r\n");
    if (content_type.p != NULL) {
        rf_buf_add_cstr(b, "Content-Type: ");
        rf_buf_add_str(b, content_type);
        rf_buf_add_cstr(b, "\r\n");
    }
    for (size_t i = 0; i < r->head.header_count; i++) {
        rf_str name = rfi_head_name(&r->head, i);

        if (hop_by_hop(name))
            continue;
        rf_buf_add_str(b, name);
        rf_buf_add_cstr(b, ": ");
        rf_buf_add_str(b, rfi_head_value(&r->head, i));
        rf_buf_add_cstr(b, "\r\n");
    }
    rf_buf_add_cstr(b, "\r\n");
    rf_buf_add_str(b, rf_buf_str(&r->body));
}

static void on_sent(uv_write_t *write, int status)
{
    upstream *up = write->data;

    up->writing = false;
    (void)status; /* a failure is seen by the read, too; an answer may even have come before it */
}

static void send_request(proxy_job *job, upstream *up)
{
    uv_buf_t buf = uv_buf_init(job->request.p, 0);

    buf.len = job->request.n;
    job->up = up;
    up->job = job;
    up->complete = false;
    job->value_next = true;
    llhttp_init(&up->parser, HTTP_RESPONSE, &SETTINGS);
    up->parser.data = up;
    if (!up->reading) {
        up->reading = true;
        uv_read_start((uv_stream_t *)&up->pipe, on_alloc, on_read);
    }
    up->write.data = up;
    up->writing = true;
    /* The bytes are the job's: when it ends before they are out, the pipe is closed. */
    if (uv_write(&up->write, (uv_stream_t *)&up->pipe, &buf, 1, on_sent) != 0)
        upstream_failed(up);
}

/* A new connection, or NULL and errno. */
static upstream *connect_new(rfi_loop *l, const char *run_dir)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    rfi_sock_path path;
    rf_err err = {0};

    if (rfi_sock_path_open(&path, run_dir, "read.sock", &err) != RF_OK)
        return NULL;
    memcpy(to.sun_path, path.path, sizeof path.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int e = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&to, sizeof to);

    rfi_sock_path_close(&path);
    upstream *up = e == 0 ? calloc(1, sizeof *up) : NULL;

    if (up == NULL) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    up->loop = l;
    uv_pipe_init(&l->uv, &up->pipe, 0);
    up->pipe.data = up;
    if (uv_pipe_open(&up->pipe, fd) != 0) {
        close(fd);
        close_upstream(up);
        return NULL;
    }
    return up;
}

static void on_timer(uv_timer_t *timer)
{
    try_connect(timer->data);
}

/* The reader was never up yet, and there is hope. */
static bool wait_for_start(proxy_job *job)
{
    rfi_reader_info info;

    if (job->half->reader == NULL || rf_mono_us() - job->req->began_us > START_WAIT_US)
        return false;
    rfi_supervisor_get(job->half->reader, &info);
    if (info.state != RFI_READER_STARTING)
        return false;
    if (!job->timer_open) {
        uv_timer_init(&job->req->loop->uv, &job->timer);
        job->timer.data = job;
        job->timer_open = true;
    }
    uv_timer_start(&job->timer, on_timer, START_POLL_MS, 0);
    return true;
}

static void try_connect(proxy_job *job)
{
    upstream *up = take_idle(job->req->loop);

    if (up == NULL)
        up = connect_new(job->req->loop, job->half->run_dir);
    if (up != NULL)
        send_request(job, up);
    else if (!wait_for_start(job))
        say_away(job);
}

void rfi_proxy(rfi_req *r)
{
    proxy_job *job = rf_xcalloc(1, sizeof *job);

    job->req = rfi_req_ref(r);
    job->half = rfi_write_of(r);
    rf_buf_init(&job->request, r->body.n + RFI_HEAD_MAX + 4096);
    rf_buf_init(&job->value, HEADERS_MAX);
    rf_buf_init(&job->headers, HEADERS_MAX);
    r->ctx = job;
    r->on_gone = on_gone;
    r->on_drain = on_drain;
    build_request(job);
    if (job->request.failed) {
        end_job(job);
        rfi_problem(r, 503, "no-memory", "There is no memory for this request now.");
        return;
    }
    try_connect(job);
}
