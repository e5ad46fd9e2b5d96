/* What ingest said, as a status and a body. The table of statuses is docs/http-api.md's. */
#include "server/write_int.h"

#include <string.h>

#define BODY_MAX ((64u << 20) + (4u << 20)) /* ingest's results and everything else */
#define RETRY_FULL_S 5
#define RETRY_BUSY_S 1

static void add_error(rf_buf *b, const rf_ingest_error *e, bool lines)
{
    rf_buf_add_cstr(b, lines ? "{\"line\":" : "{\"index\":");
    rf_buf_add_u64(b, e->index);
    rf_buf_add_cstr(b, ",\"rule\":");
    rf_buf_add_json_str(b, rf_str_from(e->fault.rule == NULL ? "" : e->fault.rule));
    rf_buf_add_cstr(b, ",\"path\":");
    rf_buf_add_json_str(b, rf_str_from(e->fault.path));
    rf_buf_add_cstr(b, ",\"position\":");
    rf_buf_add_u64(b, e->fault.position);
    rf_buf_add_cstr(b, ",\"detail\":");
    rf_buf_add_json_str(b, rf_str_from(e->fault.detail));
    rf_buf_add_char(b, '}');
}

static void add_counts(rf_buf *b, const rf_ingest_outcome *o)
{
    rf_buf_add_cstr(b, "\"accepted\":");
    rf_buf_add_u64(b, o->accepted);
    rf_buf_add_cstr(b, ",\"duplicates\":");
    rf_buf_add_u64(b, o->duplicates);
    rf_buf_add_cstr(b, ",\"rejected\":");
    rf_buf_add_u64(b, o->rejected);
    rf_buf_add_cstr(b, ",\"position\":\"");
    rf_position_encode(&o->position, b);
    rf_buf_add_char(b, '"');
}

static void add_errors(rf_buf *b, const rf_ingest_outcome *o, bool lines)
{
    rf_buf_add_cstr(b, ",\"errors\":[");
    for (size_t i = 0; i < o->error_count; i++) {
        if (i > 0)
            rf_buf_add_char(b, ',');
        add_error(b, &o->errors[i], lines);
    }
    rf_buf_add_char(b, ']');
}

static void reply_ok(rfi_req *r, const rf_ingest_outcome *o, const rfi_outcome_options *options)
{
    bool lines = options->form == RF_FORM_NDJSON;
    bool one = options->form == RF_FORM_EVENT || options->form == RF_FORM_BINARY;
    rf_buf b;

    rf_buf_init(&b, BODY_MAX);
    rf_buf_reserve(&b, 512 + o->results.n);
    rf_buf_add_char(&b, '{');
    add_counts(&b, o);
    if (options->want_results) {
        rf_buf_add_cstr(&b, ",\"results\":[");
        rf_buf_add_str(&b, rf_buf_str(&o->results));
        rf_buf_add_cstr(&b, o->results.failed ? "],\"resultsCut\":true" : "]");
    }
    add_errors(&b, o, lines);
    rf_buf_add_cstr(&b, "}\n");
    rfi_reply_take(r, one && o->accepted > 0 ? 201 : 200, "application/json", &b);
}

/* The body as a whole could not be read: its framing is wrong, not its events. */
static bool malformed_whole(const rf_ingest_outcome *o, const rfi_outcome_options *options)
{
    static const char *const rules[] = {"json-syntax", "utf8", "bad-encoding", "not-an-array",
                                        "byte-order-mark"};
    const char *rule = o->error_count == 0 ? "" : o->errors[o->error_count - 1].fault.rule;

    if (options->form == RF_FORM_NDJSON && strcmp(rule, "bad-encoding") != 0)
        return false;
    if (options->form == RF_FORM_BATCH && o->rejected > 0)
        return false;
    for (size_t i = 0; i < RF_ARRAY_LEN(rules); i++) {
        if (strcmp(rule, rules[i]) == 0)
            return true;
    }
    return false;
}

static int status_of(const rf_ingest_outcome *o, const rfi_outcome_options *options)
{
    switch (o->status) {
    case RF_EINVAL:
        return malformed_whole(o, options) ? 400 : 422;
    case RF_EFORBIDDEN:
        return 403;
    default:
        return rfi_status_of(o->status);
    }
}

/* The name of the problem: what went wrong, or that events did. */
static const char *rule_of(const rf_ingest_outcome *o, const rfi_outcome_options *options)
{
    bool one = options->form == RF_FORM_EVENT || options->form == RF_FORM_BINARY;

    switch (o->status) {
    case RF_EINVAL:
    case RF_EFORBIDDEN:
        return one ? "bad-event" : "bad-events";
    case RF_ECONFLICT:
        return "conflict";
    case RF_ETOOBIG:
        return "size";
    case RF_EFULL:
        return "full";
    default:
        return rf_status_name(o->status);
    }
}

static void reply_problem(rfi_req *r, const rf_ingest_outcome *o,
                          const rfi_outcome_options *options)
{
    int status = status_of(o, options);
    rf_buf members;
    rf_buf detail;

    rf_buf_init(&members, BODY_MAX);
    rf_buf_init(&detail, 4096);
    rf_buf_add_char(&members, ',');
    add_counts(&members, o);
    add_errors(&members, o, options->form == RF_FORM_NDJSON);
    if (o->error_count == 1 && o->errors[0].fault.rule != NULL && options->form != RF_FORM_NDJSON) {
        rf_buf_add_cstr(&detail, o->errors[0].fault.rule);
        rf_buf_add_cstr(&detail, ": ");
    }
    rf_buf_add_cstr(&detail, o->err.text);
    if (status == 503 || status == 507) {
        rfi_reply_header(r, "Retry-After", "%d", status == 507 ? RETRY_FULL_S : RETRY_BUSY_S);
        rfi_problem_log(r, status, &o->err);
    }
    rfi_problem_with(r, status, rule_of(o, options), rf_buf_str(&detail), rf_buf_str(&members));
    rf_buf_clear(&members);
    rf_buf_clear(&detail);
}

void rfi_outcome_reply(rfi_req *r, const rf_ingest_outcome *o, const rfi_outcome_options *options)
{
    if (o->status == RF_OK)
        reply_ok(r, o, options);
    else
        reply_problem(r, o, options);
}
