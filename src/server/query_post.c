/*
 * POST /v1/query on a worker. A client that goes away cancels its query; one whose deadline passed
 * and that does not stop ends the process (FAULTS: an interrupt is no deadline), after whoever is
 * late was told.
 */
#include "server/read_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#define LAST_WORDS_US 100000 /* for the answers of a process that ends itself */
#define OUT_MAX_EXTRA (1u << 20)

struct rfi_query_job {
    rfi_job job;
    rfi_post late; /* the deadline is over and the query is not */
    rfi_req *req;
    rfi_read *half;
    yyjson_doc *doc;
    char *params; /* JSON text */
    rf_query_request request;
    rf_query_handle handle;
    int64_t deadline_us;
    rf_buf out;
    rf_query_answer answer;
    rf_status status;
    rf_err err;
    rfi_query_job *prev, *next; /* in half->running */
};

static const char *const CONTENT_TYPES[] = {
    [RF_FMT_JSON] = "application/json",
    [RF_FMT_NDJSON] = "application/x-ndjson",
    [RF_FMT_CSV] = "text/csv; charset=utf-8; header=present",
    [RF_FMT_ARROW] = "application/vnd.apache.arrow.stream",
};

/* ---- reading the request ----------------------------------------------------------------------
 */

static bool set_format(rfi_query_job *q, rf_str text)
{
    if (rf_query_format_parse(text, &q->request.format))
        return true;
    rfi_problem(q->req, 400, "bad-parameter",
                "The format '%.*s' is none of json, ndjson, csv, arrow.",
                (int)RF_MIN(text.n, (size_t)40), text.p);
    return false;
}

static void format_of_accept(rfi_query_job *q)
{
    rf_str accept = rfi_head_find(&q->req->head, "accept");

    if (rfi_list_has(accept, "application/x-ndjson"))
        q->request.format = RF_FMT_NDJSON;
    else if (rfi_list_has(accept, "text/csv"))
        q->request.format = RF_FMT_CSV;
    else if (rfi_list_has(accept, "application/vnd.apache.arrow.stream"))
        q->request.format = RF_FMT_ARROW;
}

static bool bad_member(rfi_query_job *q, const char *name, const char *what)
{
    rfi_problem(q->req, 400, "bad-query", "The member %s must be %s.", name, what);
    return false;
}

static rf_str str_of(yyjson_val *v)
{
    return (rf_str){yyjson_get_str(v), yyjson_get_len(v)};
}

static bool number_member(rfi_query_job *q, const char *name, yyjson_val *v, uint64_t max,
                          uint64_t *out)
{
    if (!yyjson_is_uint(v) || yyjson_get_uint(v) == 0 || yyjson_get_uint(v) > max)
        return bad_member(q, name, "a whole number above 0 within the server's limits");
    *out = yyjson_get_uint(v);
    return true;
}

static bool read_member(rfi_query_job *q, const char *name, yyjson_val *v)
{
    rf_query_request *o = &q->request;
    uint64_t n = 0;
    size_t len = 0;

    if (yyjson_is_null(v))
        return true;
    if (strcmp(name, "sql") == 0) {
        o->sql = str_of(v);
        return yyjson_is_str(v) || bad_member(q, name, "a string");
    }
    if (strcmp(name, "after") == 0) {
        o->after = str_of(v);
        return yyjson_is_str(v) || bad_member(q, name, "the position of an answer");
    }
    if (strcmp(name, "format") == 0)
        return yyjson_is_str(v) ? set_format(q, str_of(v)) : bad_member(q, name, "a string");
    if (strcmp(name, "params") == 0) {
        q->params = yyjson_val_write(v, 0, &len);
        o->params_json = (rf_str){q->params, len};
        return yyjson_is_arr(v) || bad_member(q, name, "an array");
    }
    if (strcmp(name, "timeoutMs") == 0) {
        bool ok = number_member(q, name, v, UINT32_MAX, &n);

        o->timeout_ms = (uint32_t)n;
        return ok;
    }
    if (strcmp(name, "maxRows") == 0)
        return number_member(q, name, v, UINT64_MAX, &o->rows_max);
    rfi_problem(q->req, 400, "bad-query",
                "There is no member '%.40s' in a query; there are sql, params, after, format, "
                "timeoutMs, maxRows.",
                name);
    return false;
}

static bool read_json(rfi_query_job *q)
{
    yyjson_read_err e;
    yyjson_obj_iter iter;
    yyjson_val *key;

    q->doc = yyjson_read_opts(q->req->body.p, q->req->body.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, &e);
    if (q->doc == NULL) {
        rfi_problem(q->req, 400, "json-syntax", "The body is not JSON: %s at byte %zu.", e.msg,
                    e.pos);
        return false;
    }
    if (!yyjson_is_obj(yyjson_doc_get_root(q->doc))) {
        rfi_problem(
            q->req, 400, "bad-query",
            "The body must be an object such as {\"sql\": \"SELECT count(*) FROM events\"}.");
        return false;
    }
    yyjson_obj_iter_init(yyjson_doc_get_root(q->doc), &iter);
    while ((key = yyjson_obj_iter_next(&iter)) != NULL) {
        if (!read_member(q, yyjson_get_str(key), yyjson_obj_iter_get_val(key)))
            return false;
    }
    return true;
}

/* What goes with SQL that is the whole body. */
static bool read_parameters(rfi_query_job *q)
{
    uint64_t timeout = 0, rows = 0;
    rf_str text;

    rfi_req_query(q->req, "after", &q->request.after);
    if (!rfi_req_query_u64(q->req, "timeoutMs", 1, UINT32_MAX, &timeout) ||
        !rfi_req_query_u64(q->req, "maxRows", 1, UINT64_MAX, &rows))
        return false;
    q->request.timeout_ms = (uint32_t)timeout;
    q->request.rows_max = rows;
    return !rfi_req_query(q->req, "format", &text) || set_format(q, text);
}

static bool is_sql(rf_str content_type)
{
    const char *end = content_type.n == 0 ? NULL : memchr(content_type.p, ';', content_type.n);
    size_t n = end == NULL ? content_type.n : (size_t)(end - content_type.p);

    while (n > 0 && content_type.p[n - 1] == ' ')
        n--;
    return rfi_eq_nocase((rf_str){content_type.p, n}, "application/sql") ||
           rfi_eq_nocase((rf_str){content_type.p, n}, "text/plain");
}

static bool read_request(rfi_query_job *q)
{
    size_t bad;

    format_of_accept(q);
    if (!read_parameters(q))
        return false;
    if (is_sql(rfi_head_find(&q->req->head, "content-type")))
        q->request.sql = rf_buf_str(&q->req->body);
    else if (!read_json(q))
        return false;
    if (q->request.sql.n == 0) {
        rfi_problem(q->req, 400, "bad-query", "There is no SQL in this query.");
        return false;
    }
    if (!rf_utf8_valid(q->request.sql.p, q->request.sql.n, &bad)) {
        rfi_problem(q->req, 400, "utf8", "The SQL is not UTF-8 from byte %zu on.", bad);
        return false;
    }
    return true;
}

/* ---- running ----------------------------------------------------------------------------------
 */

static void link_running(rfi_query_job *q, bool yes)
{
    rfi_read *h = q->half;

    pthread_mutex_lock(&h->mutex);
    if (yes) {
        q->next = h->running;
        if (h->running != NULL)
            h->running->prev = q;
        h->running = q;
    } else {
        if (q->prev != NULL)
            q->prev->next = q->next;
        else
            h->running = q->next;
        if (q->next != NULL)
            q->next->prev = q->prev;
    }
    pthread_mutex_unlock(&h->mutex);
}

static void work(rfi_job *job)
{
    rfi_query_job *q = (rfi_query_job *)job;

    if (atomic_load(&q->req->gone))
        q->status = rf_err_set(&q->err, RF_ECANCELED, "the client has gone");
    else
        q->status =
            rf_query_run(q->half->queries, &q->request, &q->handle, &q->out, &q->answer, &q->err);
    /* From here on it cannot be late: the answer is on its way. */
    link_running(q, false);
}

static void free_query(rfi_query_job *q)
{
    yyjson_doc_free(q->doc);
    free(q->params);
    rf_buf_clear(&q->out);
    free(q);
}

static void reply_error(rfi_query_job *q)
{
    rfi_req *r = q->req;
    char members[128] = "";
    const char *rule = rf_status_name(q->status);
    int status = rfi_status_of(q->status);

    switch (q->status) {
    case RF_EINVAL:
        rule = "bad-query";
        if (q->answer.where.line > 0)
            snprintf(members, sizeof members, ",\"line\":%u,\"column\":%u", q->answer.where.line,
                     q->answer.where.column);
        break;
    case RF_EFORBIDDEN:
        rule = "sql-refused";
        break;
    case RF_ETIMEOUT:
        rule = "deadline";
        break;
    case RF_ETOOBIG:
        rule = "too-large";
        break;
    case RF_EUNSUPPORTED:
        status = 400;
        break;
    default:
        if (status == 503)
            rfi_reply_header(r, "Retry-After", "1");
        rfi_problem_log(r, status, &q->err);
        break;
    }
    rfi_problem_with(r, status, rule, rf_str_from(q->err.text), rf_str_from(members));
}

static void on_done(rfi_post *post)
{
    rfi_query_job *q = (rfi_query_job *)post;
    rfi_req *r = q->req;

    r->on_gone = NULL;
    if (r->conn == NULL || r->started) {
        /* nobody waits any more */
    } else if (q->status == RF_OK && q->out.failed) {
        rfi_problem(r, 413, "too-large", "The answer is over the limit of bytes.");
    } else if (q->status == RF_OK) {
        rfi_reply_header(r, "Refold-Row-Count", "%llu", (unsigned long long)q->answer.row_count);
        rfi_reply_take(r, 200, CONTENT_TYPES[q->request.format], &q->out);
    } else {
        reply_error(q);
    }
    if (atomic_load(&q->late.queued))
        return; /* the process is about to end; the post still points here */
    rfi_req_unref(r);
    free_query(q);
}

static void on_gone(rfi_req *r)
{
    rfi_query_job *q = r->ctx;

    rf_query_cancel(&q->handle);
}

static void on_late(rfi_post *post)
{
    rfi_query_job *q = (rfi_query_job *)((char *)post - offsetof(rfi_query_job, late));
    rfi_req *r = q->req;

    if (r->conn == NULL || r->started)
        return;
    r->keep_alive = false;
    rfi_problem(
        r, 408, "deadline",
        "The query did not stop at its deadline, so the read half is restarted; ask for less, "
        "or raise timeoutMs.");
}

void rfi_query_overdue(void *arg, const char *sql)
{
    rfi_read *h = arg;
    int64_t now = rf_mono_us();

    rf_diag(RF_DIAG_ERROR, "a query did not stop at its deadline; ending this process: %.300s",
            sql);
    pthread_mutex_lock(&h->mutex);
    for (rfi_query_job *q = h->running; q != NULL; q = q->next) {
        if (now >= q->deadline_us)
            rfi_loop_post(q->req->loop, &q->late);
    }
    pthread_mutex_unlock(&h->mutex);
    usleep(LAST_WORDS_US);
    _exit(70);
}

void rfi_query_post(rfi_req *r)
{
    rfi_read *h = rfi_read_of(r);
    rfi_query_job *q = rf_xcalloc(1, sizeof *q);

    q->req = r;
    q->half = h;
    if (!read_request(q)) {
        free_query(q);
        return;
    }
    uint32_t timeout_ms =
        q->request.timeout_ms > 0 ? q->request.timeout_ms : h->config->query_timeout_ms;

    q->deadline_us = r->began_us + (int64_t)timeout_ms * 1000;
    q->job.loop = r->loop;
    q->job.work = work;
    q->job.post.run = on_done;
    q->late.run = on_late;
    rf_buf_init(&q->out, h->config->query_bytes_max + OUT_MAX_EXTRA);
    rfi_req_ref(r);
    r->ctx = q;
    r->on_gone = on_gone;
    link_running(q, true);
    if (rfi_workers_submit(h->workers, &q->job))
        return;
    link_running(q, false);
    r->on_gone = NULL;
    rfi_reply_header(r, "Retry-After", "1");
    rfi_problem(r, 503, "busy", "Too many queries wait; try again.");
    rfi_req_unref(r);
    free_query(q);
}
