/*
 * refold sql --file: one SELECT over a file, by the same engine that answers in a server, run in
 * this process. The answer has the server's forms, so that what prints one prints the other.
 */
#include <string.h>

#include "cli/file_int.h"
#include "engine/engine.h"

#define SQL_MAX (2u << 20)

static void add_json_head(rf_rows *rows, rf_buf *out)
{
    rf_buf_add_cstr(out, "{\"columns\":[");
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        rf_buf_add_cstr(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        rf_buf_add_json_str(out, rf_str_from(rf_rows_column_name(rows, i)));
        rf_buf_add_cstr(out, ",\"type\":");
        rf_buf_add_json_str(out, rf_str_from(rf_rows_column_type(rows, i)));
        rf_buf_add_char(out, '}');
    }
    rf_buf_add_cstr(out, "],\"rows\":[");
}

static void add_json_row(rf_rows *rows, bool names, rf_buf *out)
{
    rf_buf_add_char(out, names ? '{' : '[');
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        if (i > 0)
            rf_buf_add_char(out, ',');
        if (names) {
            rf_buf_add_json_str(out, rf_str_from(rf_rows_column_name(rows, i)));
            rf_buf_add_char(out, ':');
        }
        rf_rows_json(rows, i, out);
    }
    rf_buf_add_char(out, names ? '}' : ']');
}

static void add_csv_text(rf_str text, rf_buf *out)
{
    bool quote = false;

    for (size_t i = 0; i < text.n && !quote; i++)
        quote = strchr(",\"\r\n", text.p[i]) != NULL;
    if (!quote) {
        rf_buf_add_str(out, text);
        return;
    }
    rf_buf_add_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"')
            rf_buf_add_char(out, '"');
        rf_buf_add_char(out, text.p[i]);
    }
    rf_buf_add_char(out, '"');
}

/* head: the columns' names instead of the row's values. */
static void add_csv_row(rf_rows *rows, bool head, rf_buf *out)
{
    rf_buf value;

    rf_buf_init(&value, SQL_MAX);
    for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
        rf_buf_reset(&value);
        if (head)
            rf_buf_add_cstr(&value, rf_rows_column_name(rows, i));
        else
            rf_rows_text(rows, i, &value);
        if (i > 0)
            rf_buf_add_char(out, ',');
        add_csv_text(rf_buf_str(&value), out);
    }
    rf_buf_add_cstr(out, "\r\n");
    rf_buf_clear(&value);
}

static rf_status add_answer(rf_rows *rows, const char *format, int64_t started_us, rf_buf *out,
                            rf_err *err)
{
    bool json = strcmp(format, "json") == 0, csv = strcmp(format, "csv") == 0;
    uint64_t count = 0;

    if (strcmp(format, "arrow") == 0)
        return rf_rows_arrow_ipc(rows, UINT64_MAX, out, &count, err);
    if (json)
        add_json_head(rows, out);
    else if (csv)
        add_csv_row(rows, true, out);
    for (; rf_rows_next(rows, err); count++) {
        if (csv) {
            add_csv_row(rows, false, out);
        } else {
            if (json && count > 0)
                rf_buf_add_char(out, ',');
            add_json_row(rows, !json, out);
            if (!json)
                rf_buf_add_char(out, '\n');
        }
    }
    if (json)
        rf_buf_addf(out, "],\"rowCount\":%llu,\"elapsedMs\":%.3f}", (unsigned long long)count,
                    (double)(rf_mono_us() - started_us) / 1e3);
    if (err->status == RF_OK && out->failed)
        return rf_err_set(err, RF_ETOOBIG, "the answer is too large");
    return err->status;
}

static rf_status make_view(rf_conn *conn, const char *file, rf_err *err)
{
    rf_buf sql;

    rf_buf_init(&sql, SQL_MAX);
    rf_buf_add_cstr(&sql, "CREATE VIEW file AS SELECT * FROM ");
    rf_status st = rfi_file_reader(file, NULL, &sql, err);

    if (st == RF_OK)
        st = rf_conn_exec(conn, rf_buf_cstr(&sql), err);
    rf_buf_clear(&sql);
    return st;
}

static rf_status ask(rf_conn *conn, const char *sql, const char *format, rf_buf *out, rf_err *err)
{
    int64_t started_us = rf_mono_us();
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;
    rf_sql_where where = {0};
    rf_status st = rf_conn_prepare(conn, rf_str_from(sql), &stmt, &where, err);

    if (st == RF_OK && rf_stmt_get_kind(stmt) == RF_STMT_OTHER)
        st = rf_err_set(err, RF_EFORBIDDEN, "only SELECT is possible over a file");
    if (st == RF_OK)
        st = rf_stmt_run(stmt, true, &rows, err);
    if (st == RF_OK)
        st = add_answer(rows, format, started_us, out, err);
    rf_rows_free(&rows);
    rf_stmt_free(&stmt);
    return st;
}

rf_status rfi_file_query(const char *file, const char *sql, const char *format, rf_buf *out,
                         rf_err *err)
{
    rf_engine_options options = {.path = NULL, .external_access = true};
    rf_engine *engine = NULL;
    rf_conn *conn = NULL;
    rf_status st = rf_engine_open(&options, &engine, err);

    if (st == RF_OK)
        st = rf_conn_open(engine, &conn, err);
    if (st == RF_OK)
        st = make_view(conn, file, err);
    if (st == RF_OK)
        st = ask(conn, sql, format, out, err);
    rf_conn_close(&conn);
    rf_engine_close(&engine);
    return st;
}
