/* Connections: one thread at a time, but for the interrupt and the progress. */
#include "engine/engine_int.h"

rf_status rf_conn_open(rf_engine *engine, rf_conn **out, rf_err *err)
{
    rf_conn *conn = rf_xcalloc(1, sizeof(*conn));

    *out = NULL;
    conn->engine = engine;
    if (rfi_db.connect(engine->db, &conn->con) != DuckDBSuccess) {
        free(conn);
        return rf_err_set(err, RF_EINTERNAL, "the SQL engine gives no connection");
    }
    *out = conn;
    return RF_OK;
}

void rf_conn_close(rf_conn **conn_at)
{
    rf_conn *conn = *conn_at;

    if (conn == NULL)
        return;
    rf_stmt_free(&conn->parse);
    rf_stmt_free(&conn->text);
    rfi_db.disconnect(&conn->con);
    free(conn);
    *conn_at = NULL;
}

void rf_conn_interrupt(rf_conn *conn)
{
    rfi_db.interrupt(conn->con);
}

double rf_conn_progress(rf_conn *conn)
{
    double percentage = rfi_db.query_progress(conn->con).percentage;

    return percentage < 0 ? -1 : RF_MIN(percentage / 100, 1.0);
}

rf_status rf_conn_exec(rf_conn *conn, const char *sql, rf_err *err)
{
    duckdb_result result;
    rf_status st = RF_OK;

    if (rfi_db.query(conn->con, sql, &result) != DuckDBSuccess)
        st = rfi_sql_error(err, NULL, rfi_db.result_error(&result));
    rfi_db.destroy_result(&result);
    return st;
}

rf_status rf_conn_execf(rf_conn *conn, rf_err *err, const char *fmt, ...)
{
    va_list args;
    char *sql = NULL;
    int n;
    rf_status st;

    va_start(args, fmt);
    n = vasprintf(&sql, fmt, args);
    va_end(args);
    if (n < 0)
        return rf_err_set(err, RF_ENOMEM, "no memory for a statement");
    st = rf_conn_exec(conn, sql, err);
    free(sql);
    return st;
}

rf_status rf_conn_query(rf_conn *conn, const char *sql, rf_rows **out, rf_err *err)
{
    rf_stmt *stmt = NULL;
    rf_status st;

    *out = NULL;
    st = rf_conn_prepare(conn, rf_str_from(sql), &stmt, NULL, err);
    if (st == RF_OK)
        st = rf_stmt_run(stmt, false, out, err);
    rf_stmt_free(&stmt);
    return st;
}
