/*
 * POST /v1/events: bytes to ingest as they come, and its outcome back.
 *
 * A job lives from the head of the request until its answer, or until the client is gone. Ingest
 * wakes it from writer threads; the wake is a post, which may still be queued when the job is over:
 * then the job waits for it (dead), holding its request.
 */
#include "server/write_int.h"

#include <stdlib.h>
#include <string.h>

typedef struct events_job {
    rfi_post post;
    rfi_req *req;
    rf_ingest_request *ingest;
    rfi_outcome_options options;
    bool dead;
} events_job;

/* ---- what the request is ----------------------------------------------------------------------
 */

/* "Application/X; charset=utf-8": the type without its parameters. */
static rf_str media_type(rf_str header)
{
    const char *semicolon = header.n == 0 ? NULL : memchr(header.p, ';', header.n);
    size_t n = semicolon == NULL ? header.n : (size_t)(semicolon - header.p);

    while (n > 0 && (header.p[n - 1] == ' ' || header.p[n - 1] == '\t'))
        n--;
    return (rf_str){header.p, n};
}

/* Is there a charset, and not the one JSON has? */
static bool other_charset(rf_str header)
{
    for (size_t i = 0; i + 8 < header.n; i++) {
        if (!rfi_eq_nocase((rf_str){header.p + i, 8}, "charset="))
            continue;
        rf_str value = {header.p + i + 8, header.n - i - 8};
        const char *end = memchr(value.p, ';', value.n);

        if (end != NULL)
            value.n = (size_t)(end - value.p);
        while (value.n > 0 && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '"'))
            value.n--;
        while (value.n > 0 && value.p[0] == '"')
            value = (rf_str){value.p + 1, value.n - 1};
        return !rfi_eq_nocase(value, "utf-8") && !rfi_eq_nocase(value, "utf8") &&
               !rfi_eq_nocase(value, "us-ascii");
    }
    return false;
}

static bool form_of(rfi_req *r, rf_str content_type, rf_ingest_form *form)
{
    static const struct {
        const char *type;
        rf_ingest_form form;
    } forms[] = {
        {"application/cloudevents+json", RF_FORM_EVENT},
        {"application/cloudevents-batch+json", RF_FORM_BATCH},
        {"application/x-ndjson", RF_FORM_NDJSON},
        {"application/ndjson", RF_FORM_NDJSON},
        {"application/jsonl", RF_FORM_NDJSON},
    };
    rf_str type = media_type(content_type);

    for (size_t i = 0; i < RF_ARRAY_LEN(forms); i++) {
        if (!rfi_eq_nocase(type, forms[i].type))
            continue;
        if (other_charset(content_type)) {
            rfi_problem(r, 415, "charset", "JSON is UTF-8; this body says it is not.");
            return false;
        }
        *form = forms[i].form;
        return true;
    }
    if (rfi_head_find(&r->head, "ce-specversion").p != NULL) {
        *form = RF_FORM_BINARY;
        return true;
    }
    rfi_reply_header(r, "Accept",
                     "application/cloudevents+json, application/cloudevents-batch+json, "
                     "application/x-ndjson");
    rfi_problem(r, 415, "content-type",
                "The Content-Type '%.*s' is none of events. Send one CloudEvent as "
                "application/cloudevents+json, an array of them as "
                "application/cloudevents-batch+json, one a line as application/x-ndjson, or any "
                "data with its attributes in ce- headers (ce-specversion: 1.0, ce-id, ce-source, "
                "ce-type).",
                (int)RF_MIN(type.n, (size_t)100), type.n == 0 ? "" : type.p);
    return false;
}

static bool coding_of(rfi_req *r, rf_ingest_coding *coding)
{
    rf_str value = rfi_head_find(&r->head, "content-encoding");

    if (value.p == NULL || rfi_eq_nocase(value, "identity")) {
        *coding = RF_CODING_IDENTITY;
    } else if (rfi_eq_nocase(value, "gzip") || rfi_eq_nocase(value, "x-gzip")) {
        *coding = RF_CODING_GZIP;
    } else if (rfi_eq_nocase(value, "zstd")) {
        *coding = RF_CODING_ZSTD;
    } else {
        rfi_reply_header(r, "Accept-Encoding", "gzip, zstd, identity");
        rfi_problem(r, 415, "content-encoding",
                    "The Content-Encoding '%.*s' is not understood; gzip and zstd are.",
                    (int)RF_MIN(value.n, (size_t)60), value.p);
        return false;
    }
    return true;
}

/* If-Match: "3" or *; If-None-Match: *. */
static bool expectation_of(rfi_req *r, rf_expect *expect)
{
    rf_str match = rfi_head_find(&r->head, "if-match");
    rf_str none = rfi_head_find(&r->head, "if-none-match");

    *expect = (rf_expect){.kind = RF_EXPECT_ANY};
    if (match.p != NULL && none.p != NULL) {
        rfi_problem(r, 400, "bad-expectedrevision",
                    "If-Match and If-None-Match exclude each other.");
        return false;
    }
    if (none.p != NULL && rf_str_eq(none, RF_STR("*"))) {
        expect->kind = RF_EXPECT_NO_STREAM;
        return true;
    }
    if (match.p != NULL && rf_str_eq(match, RF_STR("*"))) {
        expect->kind = RF_EXPECT_STREAM_EXISTS;
        return true;
    }
    if (none.p == NULL && match.p == NULL)
        return true;
    if (match.p != NULL && match.n >= 2 && match.p[0] == '"' && match.p[match.n - 1] == '"')
        match = (rf_str){match.p + 1, match.n - 2};
    if (none.p == NULL && rf_str_to_u64(match, &expect->revision)) {
        expect->kind = RF_EXPECT_EXACT;
        return true;
    }
    rfi_problem(
        r, 400, "bad-expectedrevision",
        "Say If-Match: \"3\" (the stream's last revision), If-Match: * (the stream exists) or "
        "If-None-Match: * (it does not).");
    return false;
}

/* What may be said once. */
static bool no_doubles(rfi_req *r)
{
    static const char *const names[] = {"content-type", "content-encoding", "if-match",
                                        "if-none-match"};

    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++) {
        if (rfi_head_count(&r->head, names[i]) <= 1)
            continue;
        rfi_problem(r, 400, "duplicate-header", "The header %s is given more than once.", names[i]);
        return false;
    }
    return true;
}

static bool flag_of(rfi_req *r, const char *name, const char *on, const char *off, bool *value)
{
    rf_str text;

    *value = false;
    if (!rfi_req_query(r, name, &text))
        return true;
    *value = rf_str_eq(text, rf_str_from(on));
    if (*value || rf_str_eq(text, rf_str_from(off)))
        return true;
    rfi_problem(r, 400, "bad-parameter", "The parameter %s is %s or %s.", name, on, off);
    return false;
}

/* ---- binary mode ------------------------------------------------------------------------------
 */

/* CloudEvents HTTP binding 3.1.3.2: a value may be quoted, and is percent-encoded. Returns the
 * length in out, which has room for value.n. */
static size_t decode_value(rf_str value, char *out)
{
    size_t n = 0;

    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
        for (size_t i = 1; i + 1 < value.n; i++) {
            if (value.p[i] == '\\' && i + 2 < value.n)
                i++;
            out[n++] = value.p[i];
        }
        value = (rf_str){out, n};
    }
    /* In place is fine: what is written never overtakes what is read. */
    return rfi_percent_decode_lax(value, out).n;
}

static void add_attributes(events_job *job)
{
    const rfi_head *h = &job->req->head;
    char *value = rf_xmalloc(RFI_HEAD_MAX), name[256];

    for (size_t i = 0; i < h->header_count; i++) {
        rf_str header = rfi_head_name(h, i);

        if (header.n <= 3 || !rfi_eq_nocase((rf_str){header.p, 3}, "ce-") ||
            header.n - 3 > sizeof name)
            continue;
        for (size_t k = 3; k < header.n; k++) {
            char c = header.p[k];

            name[k - 3] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        }
        size_t n = decode_value(rfi_head_value(h, i), value);

        rf_ingest_attr(job->ingest, (rf_str){name, header.n - 3}, (rf_str){value, n});
    }
    free(value);
}

/* ---- the job ----------------------------------------------------------------------------------
 */

static void end_job(events_job *job)
{
    rfi_req *r = job->req;

    r->ctx = NULL;
    r->on_body = NULL;
    r->on_end = r->on_gone = NULL;
    rf_ingest_free(&job->ingest); /* nothing is posted from here on... */
    if (atomic_load(&job->post.queued)) {
        job->dead = true; /* ...but something was */
        return;
    }
    free(job);
    rfi_req_unref(r);
}

/* Answers when there is something to say. */
static bool try_answer(events_job *job)
{
    rfi_req *r = job->req;
    const rf_ingest_outcome *o = rf_ingest_result(job->ingest);

    if (o == NULL)
        return false;
    rf_hist_record(&rfi_write_of(r)->ack_us, (uint64_t)(rf_mono_us() - r->began_us));
    rfi_req_ref(r);
    r->on_gone = NULL; /* the job ends here, whatever becomes of the answer */
    rfi_outcome_reply(r, o, &job->options);
    end_job(job);
    rfi_req_unref(r);
    return true;
}

static void on_wake(rfi_post *post)
{
    events_job *job = (events_job *)post;
    rfi_req *r = job->req;

    if (job->dead) {
        free(job);
        rfi_req_unref(r);
        return;
    }
    if (!try_answer(job))
        rfi_req_resume(r);
}

/* From any thread. */
static void wake(void *arg)
{
    events_job *job = arg;

    rfi_loop_post(job->req->loop, &job->post);
}

static void on_body(rfi_req *r, const char *p, size_t n)
{
    events_job *job = r->ctx;

    if (!rf_ingest_feed(job->ingest, p, n))
        rfi_req_pause(r);
    if (rf_ingest_failed(job->ingest))
        try_answer(job);
}

static void on_end(rfi_req *r)
{
    events_job *job = r->ctx;

    rf_ingest_end(job->ingest);
    try_answer(job);
}

static void on_gone(rfi_req *r)
{
    end_job(r->ctx);
}

void rfi_events_post(rfi_req *r)
{
    rfi_write *w = rfi_write_of(r);
    rf_str content_type = rfi_head_find(&r->head, "content-type");
    rf_ingest_request_options o = {.content_type = content_type, .system = r->local, .wake = wake};
    rf_err err = {0};
    bool want_results;

    if (!no_doubles(r) || !form_of(r, content_type, &o.form) || !coding_of(r, &o.coding) ||
        !expectation_of(r, &o.expect) ||
        !flag_of(r, "on-error", "report", "refuse", &o.report_errors) ||
        !flag_of(r, "results", "true", "false", &want_results))
        return;
    if (o.form != RF_FORM_NDJSON && o.coding == RF_CODING_IDENTITY &&
        r->head.content_length > w->config->body_bytes_max) {
        rfi_problem(
            r, 413, "size",
            "A body of %llu bytes is over the limit of %llu; send many events as NDJSON, which "
            "has none.",
            (unsigned long long)r->head.content_length,
            (unsigned long long)w->config->body_bytes_max);
        return;
    }
    events_job *job = rf_xcalloc(1, sizeof *job);

    job->post.run = on_wake;
    job->options.form = o.form;
    job->options.want_results = want_results || o.form != RF_FORM_NDJSON;
    o.want_results = job->options.want_results;
    o.arg = job;
    job->req = r;
    if (rf_ingest_begin(w->ingest, &o, &job->ingest, &err) != RF_OK) {
        free(job);
        rfi_problem_err(r, &err);
        return;
    }
    rfi_req_ref(r);
    r->ctx = job;
    r->on_body = on_body;
    r->on_end = on_end;
    r->on_gone = on_gone;
    if (o.form == RF_FORM_BINARY)
        add_attributes(job);
}
