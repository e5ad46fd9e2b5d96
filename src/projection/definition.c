/* Names of projections, and the comment lines in front of their statements. */
#include "projection/projection_int.h"

#include <ctype.h>

#define NAME_MAX_BYTES 63

bool rf_projection_name_valid(rf_str name)
{
    if (name.n == 0 || name.n > NAME_MAX_BYTES || name.p[0] < 'a' || name.p[0] > 'z')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'))
            return false;
    }
    return !rf_str_eq(name, RF_STR("events")) && !rf_str_starts(name, RF_STR("refold"));
}

static rf_str trim(rf_str s)
{
    while (s.n > 0 && isspace((unsigned char)s.p[0]))
        s = (rf_str){s.p + 1, s.n - 1};
    while (s.n > 0 && isspace((unsigned char)s.p[s.n - 1]))
        s.n--;
    return s;
}

void rfi_header_clear(rfi_header *h)
{
    free(h->mode);
    free(h->owner);
    *h = (rfi_header){0};
}

static rf_status setting(rfi_header *out, rf_str text, rf_err *err)
{
    const char *equals = text.n > 0 ? memchr(text.p, '=', text.n) : NULL;
    rf_str key, value;

    if (equals == NULL)
        return rf_err_set(err, RF_EINVAL,
                          "'%.*s' is not of the form key = value; keys are mode and owner",
                          RF_STR_ARG(text));
    key = trim((rf_str){text.p, (size_t)(equals - text.p)});
    value = trim((rf_str){equals + 1, (size_t)(text.p + text.n - equals - 1)});
    if (rf_str_eq(key, RF_STR("mode"))) {
        if (rf_str_eq(value, RF_STR("sync")) || rf_str_eq(value, RF_STR("refresh")))
            return rf_err_set(err, RF_EUNSUPPORTED,
                              "mode = %.*s is not there yet: use async, and pass the position from "
                              "the ack as `after` to read your own writes",
                              RF_STR_ARG(value));
        if (!rf_str_eq(value, RF_STR("async")))
            return rf_err_set(err, RF_EINVAL, "there is no mode '%.*s': use async",
                              RF_STR_ARG(value));
        free(out->mode);
        out->mode = rf_xstrndup(value);
        return RF_OK;
    }
    if (rf_str_eq(key, RF_STR("owner"))) {
        free(out->owner);
        out->owner = rf_xstrndup(value);
        return RF_OK;
    }
    return rf_err_set(err, RF_EINVAL, "there is no setting '%.*s': mode and owner are known",
                      RF_STR_ARG(key));
}

/* `text` is what stands behind "refold:". */
static rf_status settings(rfi_header *out, rf_str text, rf_err *err)
{
    rf_status st = RF_OK;

    while (text.n > 0 && st == RF_OK) {
        const char *comma = memchr(text.p, ',', text.n);
        size_t n = comma != NULL ? (size_t)(comma - text.p) : text.n;

        st = setting(out, trim((rf_str){text.p, n}), err);
        n = RF_MIN(n + 1, text.n);
        text = trim((rf_str){text.p + n, text.n - n});
    }
    return st;
}

rf_status rfi_header_read(rf_str sql, rfi_header *out, rf_sql_where *where, rf_err *err)
{
    uint32_t line = 0;
    rf_status st = RF_OK;

    *out = (rfi_header){0};
    while (sql.n > 0 && st == RF_OK) {
        const char *newline = memchr(sql.p, '\n', sql.n);
        size_t n = newline != NULL ? (size_t)(newline - sql.p) : sql.n;
        rf_str text = trim((rf_str){sql.p, n});

        line++;
        n = RF_MIN(n + 1, sql.n);
        sql = (rf_str){sql.p + n, sql.n - n};
        if (text.n == 0)
            continue;
        if (!rf_str_starts(text, RF_STR("--")))
            break;
        text = trim((rf_str){text.p + 2, text.n - 2});
        if (rf_str_starts(text, RF_STR("refold:")))
            st = settings(out, trim((rf_str){text.p + 7, text.n - 7}), err);
    }
    if (st != RF_OK) {
        rfi_header_clear(out);
        if (where != NULL)
            *where = (rf_sql_where){.line = line, .column = 1};
    }
    return st;
}
