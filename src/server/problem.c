/* Problem details, RFC 9457: every error of the API is one. */
#include "server/conn_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROBLEM_TYPE "application/problem+json"
#define PROBLEM_MAX (1u << 20)

/* Of rules whose status does not say it. */
static const struct {
    const char *rule, *title;
} TITLES[] = {
    {"bad-event", "The event was refused"},
    {"bad-events", "Events were refused"},
    {"conflict", "It conflicts with what is stored"},
    {"conflict-id", "The id is taken by another event"},
    {"conflict-revision", "The stream is at another revision"},
    {"sql-error", "The SQL is wrong"},
    {"sql-refused", "The SQL is not allowed"},
    {"not-incremental", "The SQL cannot be kept incrementally"},
    {"deadline", "The deadline has passed"},
    {"reader-away", "The read half is away"},
    {"full", "The disk is full"},
    {"fenced", "The partition takes no writes"},
    {"busy", "Too much at once"},
};

static const char *title_of(const char *rule, int status)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(TITLES); i++) {
        if (strcmp(TITLES[i].rule, rule) == 0)
            return TITLES[i].title;
    }
    return rfi_reason(status);
}

void rfi_problem_body(rf_buf *out, int status, const char *rule, rf_str detail, rf_str members)
{
    rf_buf_add_cstr(out, "{\"type\":\"urn:refold:problem:");
    rf_buf_add_cstr(out, rule);
    rf_buf_add_cstr(out, "\",\"title\":");
    rf_buf_add_json_str(out, rf_str_from(title_of(rule, status)));
    rf_buf_add_cstr(out, ",\"status\":");
    rf_buf_add_u64(out, (uint64_t)status);
    rf_buf_add_cstr(out, ",\"detail\":");
    rf_buf_add_json_str(out, detail);
    rf_buf_add_str(out, members);
    rf_buf_add_cstr(out, "}\n");
}

void rfi_problem_with(rfi_req *r, int status, const char *rule, rf_str detail, rf_str members)
{
    rf_buf body;

    if (r->conn == NULL || r->started)
        return;
    rf_buf_init(&body, PROBLEM_MAX);
    rfi_problem_body(&body, status, rule, detail, members);
    rfi_reply(r, status, PROBLEM_TYPE, rf_buf_str(&body));
    rf_buf_clear(&body);
}

/* Texts quote what clients sent, which may be cut in the middle of a character. */
static size_t valid_part(const char *text, size_t n)
{
    size_t bad = n;

    return rf_utf8_valid(text, n, &bad) ? n : bad;
}

void rfi_problem(rfi_req *r, int status, const char *rule, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : RF_MIN((size_t)n, sizeof text - 1);

    rfi_problem_with(r, status, rule, (rf_str){text, valid_part(text, len)}, (rf_str){NULL, 0});
}

int rfi_status_of(rf_status status)
{
    static const int codes[RF_STATUS_COUNT] = {
        [RF_OK] = 200,           [RF_EINVAL] = 400,   [RF_ENOTFOUND] = 404, [RF_ECONFLICT] = 409,
        [RF_EFORBIDDEN] = 403,   [RF_ETOOBIG] = 413,  [RF_EFULL] = 507,     [RF_EBUSY] = 503,
        [RF_EFENCED] = 503,      [RF_ETIMEOUT] = 408, [RF_ECANCELED] = 503, [RF_ECORRUPT] = 500,
        [RF_EUNSUPPORTED] = 422, [RF_EIO] = 500,      [RF_ENOMEM] = 503,    [RF_EINTERNAL] = 500,
    };

    return status < RF_STATUS_COUNT ? codes[status] : 500;
}

void rfi_problem_log(const rfi_req *r, int status, const rf_err *err)
{
    if (status >= 500 && status != 503)
        rf_diag(RF_DIAG_ERROR, "%s %s: %s", r->route == NULL ? "?" : r->route->method,
                r->route == NULL ? "?" : r->route->pattern, err->text);
}

void rfi_problem_err(rfi_req *r, const rf_err *err)
{
    int status = rfi_status_of(err->status);

    if (status == 503 || status == 507)
        rfi_reply_header(r, "Retry-After", "%d", status == 507 ? 5 : 1);
    rfi_problem_log(r, status, err);
    rfi_problem(r, status, rf_status_name(err->status), "%s", err->text);
}
