/*
 * Answers as text. JSON is one object; NDJSON one object a row (column names made different, since
 * members of an object must be); CSV as RFC 4180 has it: a header, CRLF, quotes where needed, NULL
 * as nothing and the empty string as "". Arrow is the engine's.
 */
#include "query/query_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static rf_status too_many_rows(const rfi_encoding *e, rf_err *err)
{
    return rf_err_set(err, RF_ETOOBIG,
                      "the answer has more than %" PRIu64 " rows: aggregate, add LIMIT, or ask for "
                      "more by maxRows (up to %" PRIu64 ")",
                      e->rows_max, e->rows_limit);
}

static rf_status too_many_bytes(const rfi_encoding *e, rf_err *err)
{
    return rf_err_set(err, RF_ETOOBIG,
                      "the answer has more than %" PRIu64 " bytes: select fewer columns or rows, "
                      "aggregate, or add LIMIT",
                      e->bytes_max);
}

static rf_str column_name(const rf_rows *rows, size_t i)
{
    return rf_str_from(rf_rows_column_name(rows, i));
}

/* ---- NDJSON ---------------------------------------------------------------------------------- */

static bool name_taken(const rf_buf *keys, size_t count, rf_str key)
{
    for (size_t i = 0; i < count; i++) {
        if (rf_str_eq(rf_buf_str(&keys[i]), key))
            return true;
    }
    return false;
}

/* `"name":` for each column, and `"name_1":` for the second of that name. */
static rf_buf *keys_new(const rf_rows *rows)
{
    size_t count = rf_rows_column_count(rows);
    rf_buf *keys = rf_xcalloc(RF_MAX(count, 1), sizeof(*keys)), name;

    rf_buf_init(&name, 1u << 20);
    for (size_t i = 0; i < count; i++) {
        unsigned number = 0;

        rf_buf_init(&keys[i], 8u << 20);
        do {
            rf_buf_reset(&name);
            rf_buf_reset(&keys[i]);
            rf_buf_add_str(&name, column_name(rows, i));
            if (number > 0)
                rf_buf_addf(&name, "_%u", number);
            rf_buf_add_json_str(&keys[i], rf_buf_str(&name));
            rf_buf_add_char(&keys[i], ':');
            number++;
        } while (name_taken(keys, i, rf_buf_str(&keys[i])));
    }
    rf_buf_clear(&name);
    return keys;
}

static void keys_free(const rf_rows *rows, rf_buf *keys)
{
    for (size_t i = 0; keys != NULL && i < rf_rows_column_count(rows); i++)
        rf_buf_clear(&keys[i]);
    free(keys);
}

static void ndjson_row(const rf_rows *rows, const rf_buf *keys, rf_buf *out)
{
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        rf_buf_add_char(out, i == 0 ? '{' : ',');
        rf_buf_add(out, keys[i].p, keys[i].n);
        rf_rows_json(rows, i, out);
    }
    rf_buf_add_cstr(out, "}\n");
}

/* ---- CSV ------------------------------------------------------------------------------------- */

/* What was appended from `start` on is one field. */
static void csv_quote(rf_buf *out, size_t start)
{
    size_t n = out->n - start, quotes = 0;
    bool special = n == 0;

    for (size_t i = start; i < out->n; i++) {
        char c = out->p[i];

        quotes += c == '"';
        special = special || c == '"' || c == ',' || c == '\n' || c == '\r';
    }
    if (!special || !rf_buf_reserve(out, quotes + 2))
        return;
    /* From the end, so that each byte moves once. */
    out->n += quotes + 2;
    out->p[out->n - 1] = '"';
    for (size_t from = start + n, to = out->n - 1; from > start; from--) {
        out->p[--to] = out->p[from - 1];
        if (out->p[from - 1] == '"')
            out->p[--to] = '"';
    }
    out->p[start] = '"';
}

static void csv_header(const rf_rows *rows, rf_buf *out)
{
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        size_t start;

        if (i > 0)
            rf_buf_add_char(out, ',');
        start = out->n;
        rf_buf_add_str(out, column_name(rows, i));
        csv_quote(out, start);
    }
    rf_buf_add_cstr(out, "\r\n");
}

static void csv_row(const rf_rows *rows, rf_buf *out)
{
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        size_t start;

        if (i > 0)
            rf_buf_add_char(out, ',');
        if (rf_rows_is_null(rows, i))
            continue;
        start = out->n;
        rf_rows_text(rows, i, out);
        csv_quote(out, start);
    }
    rf_buf_add_cstr(out, "\r\n");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_header(const rf_rows *rows, rf_buf *out)
{
    rf_buf_add_cstr(out, "{\"columns\":[");
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        rf_buf_add_cstr(out, i == 0 ? "{\"name\":" : ",{\"name\":");
        rf_buf_add_json_str(out, column_name(rows, i));
        rf_buf_add_cstr(out, ",\"type\":");
        rf_buf_add_json_str(out, rf_str_from(rf_rows_column_type(rows, i)));
        rf_buf_add_char(out, '}');
    }
    rf_buf_add_cstr(out, "],\"rows\":[");
}

static void json_row(const rf_rows *rows, bool first, rf_buf *out)
{
    if (!first)
        rf_buf_add_char(out, ',');
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        rf_buf_add_char(out, i == 0 ? '[' : ',');
        rf_rows_json(rows, i, out);
    }
    rf_buf_add_char(out, ']');
}

static void json_footer(const rfi_encoding *e, uint64_t row_count, rf_buf *out)
{
    int64_t elapsed_us = rf_mono_us() - e->started_us;

    rf_buf_addf(out, "],\"rowCount\":%" PRIu64 ",\"position\":", row_count);
    rf_buf_add_json_str(out, e->position);
    rf_buf_addf(out, ",\"elapsedMs\":%" PRId64 ".%03" PRId64, elapsed_us / 1000, elapsed_us % 1000);
    if (e->warnings.n > 0)
        rf_buf_addf(out, ",\"warnings\":[%.*s]", RF_STR_ARG(e->warnings));
    rf_buf_add_char(out, '}');
}

/* ---- all of them ----------------------------------------------------------------------------- */

static rf_status rows_encode(rf_rows *rows, const rfi_encoding *e, rf_buf *out, size_t start,
                             uint64_t *row_count, rf_err *err)
{
    rf_buf *keys = e->format == RF_FMT_NDJSON ? keys_new(rows) : NULL;
    rf_status st = RF_OK;

    if (e->format == RF_FMT_JSON)
        json_header(rows, out);
    else if (e->format == RF_FMT_CSV)
        csv_header(rows, out);
    while (st == RF_OK && rf_rows_next(rows, err)) {
        if (++*row_count > e->rows_max) {
            st = too_many_rows(e, err);
            break;
        }
        if (keys != NULL)
            ndjson_row(rows, keys, out);
        else if (e->format == RF_FMT_JSON)
            json_row(rows, *row_count == 1, out);
        else
            csv_row(rows, out);
        if (out->failed || out->n - start > e->bytes_max)
            st = too_many_bytes(e, err);
    }
    if (st == RF_OK)
        st = err->status;
    if (st == RF_OK && e->format == RF_FMT_JSON)
        json_footer(e, *row_count, out);
    keys_free(rows, keys);
    return st;
}

rf_status rfi_encode(rf_rows *rows, const rfi_encoding *e, rf_buf *out, uint64_t *row_count,
                     rf_err *err)
{
    size_t start = out->n;
    rf_status st;

    *row_count = 0;
    if (e->format == RF_FMT_ARROW)
        st = rf_rows_arrow_ipc(rows, e->rows_max, out, row_count, err);
    else
        st = rows_encode(rows, e, out, start, row_count, err);
    if (st == RF_OK && (out->failed || out->n - start > e->bytes_max))
        st = too_many_bytes(e, err);
    if (st != RF_OK) {
        out->n = start;
        out->failed = false;
    }
    return st;
}

bool rf_query_format_parse(rf_str text, rf_query_format *out)
{
    static const char *const names[] = {[RF_FMT_JSON] = "json",
                                        [RF_FMT_NDJSON] = "ndjson",
                                        [RF_FMT_CSV] = "csv",
                                        [RF_FMT_ARROW] = "arrow"};

    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++) {
        if (rf_str_eq(text, rf_str_from(names[i]))) {
            *out = (rf_query_format)i;
            return true;
        }
    }
    return false;
}
