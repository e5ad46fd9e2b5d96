/* Prepared statements. */
#include "engine/engine_int.h"

static rf_stmt_kind kind_of(duckdb_statement_type type)
{
    switch (type) {
    case DUCKDB_STATEMENT_TYPE_SELECT:
        return RF_STMT_SELECT;
    case DUCKDB_STATEMENT_TYPE_EXPLAIN:
        return RF_STMT_EXPLAIN;
    default:
        return RF_STMT_OTHER;
    }
}

/* Counts first: the engine would run two statements in one text one after the other. */
static rf_status extract_one(rf_conn *conn, const char *sql, duckdb_extracted_statements *out,
                             rf_sql_where *where, rf_err *err)
{
    idx_t count = rfi_db.extract_statements(conn->con, sql, out);
    const char *message;

    if (count == 1)
        return RF_OK;
    message = count == 0 ? rfi_db.extract_statements_error(*out) : NULL;
    if (message != NULL)
        return rfi_sql_error(err, where, message);
    if (count == 0)
        return rf_err_set(err, RF_EINVAL, "there is no statement in the text");
    return rf_err_set(err, RF_EINVAL, "there are %llu statements in the text: send one",
                      (unsigned long long)count);
}

rf_status rf_conn_prepare(rf_conn *conn, rf_str sql, rf_stmt **out, rf_sql_where *where,
                          rf_err *err)
{
    duckdb_extracted_statements extracted = NULL;
    duckdb_prepared_statement prepared = NULL;
    char *text = rf_xstrndup(sql);
    rf_stmt *stmt;
    rf_status st;

    *out = NULL;
    if (where != NULL)
        *where = (rf_sql_where){0};
    if (memchr(sql.p, 0, sql.n) != NULL) {
        st = rf_err_set(err, RF_EINVAL, "the statement has a NUL in it");
        goto out;
    }
    st = extract_one(conn, text, &extracted, where, err);
    if (st != RF_OK)
        goto out;
    if (rfi_db.prepare_extracted_statement(conn->con, extracted, 0, &prepared) != DuckDBSuccess) {
        st = rfi_sql_error(err, where, rfi_db.prepare_error(prepared));
        goto out;
    }
    stmt = rf_xcalloc(1, sizeof(*stmt));
    stmt->conn = conn;
    stmt->prepared = prepared;
    stmt->kind = kind_of(rfi_db.prepared_statement_type(prepared));
    stmt->param_count = rfi_db.nparams(prepared);
    stmt->column_count = rfi_db.prepared_statement_column_count(prepared);
    prepared = NULL;
    *out = stmt;
out:
    if (prepared != NULL)
        rfi_db.destroy_prepare(&prepared);
    if (extracted != NULL)
        rfi_db.destroy_extracted(&extracted);
    free(text);
    return st;
}

void rf_stmt_free(rf_stmt **stmt_at)
{
    rf_stmt *stmt = *stmt_at;

    if (stmt == NULL)
        return;
    for (size_t i = 0; stmt->column_types != NULL && i < stmt->column_count; i++)
        free(stmt->column_types[i]);
    free(stmt->column_types);
    rfi_db.destroy_prepare(&stmt->prepared);
    free(stmt);
    *stmt_at = NULL;
}

rf_stmt_kind rf_stmt_get_kind(const rf_stmt *stmt)
{
    return stmt->kind;
}

size_t rf_stmt_param_count(const rf_stmt *stmt)
{
    return stmt->param_count;
}

size_t rf_stmt_column_count(const rf_stmt *stmt)
{
    return stmt->column_count;
}

void rf_stmt_column_name(const rf_stmt *stmt, size_t column, rf_buf *out)
{
    const char *name;

    RF_ASSERT(column < stmt->column_count);
    name = rfi_db.prepared_statement_column_name(stmt->prepared, column);
    rf_buf_add_cstr(out, name != NULL ? name : "");
    rfi_db.free((void *)(uintptr_t)name);
}

const char *rf_stmt_column_type(rf_stmt *stmt, size_t column)
{
    duckdb_logical_type logical;
    rfi_type type;
    rf_buf text;

    RF_ASSERT(column < stmt->column_count);
    if (stmt->column_types == NULL)
        stmt->column_types = rf_xcalloc(stmt->column_count, sizeof(*stmt->column_types));
    if (stmt->column_types[column] != NULL)
        return stmt->column_types[column];
    logical = rfi_db.prepared_statement_column_logical_type(stmt->prepared, column);
    rf_buf_init(&text, 1u << 20);
    if (logical != NULL) {
        rfi_type_init(&type, logical);
        rfi_type_text(&type, &text);
        rfi_type_clear(&type);
        rfi_db.destroy_logical_type(&logical);
    }
    stmt->column_types[column] = rf_xstrndup(rf_buf_str(&text));
    rf_buf_clear(&text);
    return stmt->column_types[column];
}

/* Binding fails only for a parameter that is not there, which is the caller's bug. */

void rf_stmt_bind_null(rf_stmt *stmt, size_t at)
{
    RF_ASSERT(rfi_db.bind_null(stmt->prepared, at) == DuckDBSuccess);
}

void rf_stmt_bind_bool(rf_stmt *stmt, size_t at, bool v)
{
    RF_ASSERT(rfi_db.bind_boolean(stmt->prepared, at, v) == DuckDBSuccess);
}

void rf_stmt_bind_i64(rf_stmt *stmt, size_t at, int64_t v)
{
    RF_ASSERT(rfi_db.bind_int64(stmt->prepared, at, v) == DuckDBSuccess);
}

void rf_stmt_bind_f64(rf_stmt *stmt, size_t at, double v)
{
    RF_ASSERT(rfi_db.bind_double(stmt->prepared, at, v) == DuckDBSuccess);
}

void rf_stmt_bind_str(rf_stmt *stmt, size_t at, rf_str v)
{
    RF_ASSERT(rfi_db.bind_varchar_length(stmt->prepared, at, v.n > 0 ? v.p : "", v.n) ==
              DuckDBSuccess);
}

/* Runs tasks of the statement until it is done or fails. The engine's own loop spins while its
 * other threads work; this one sleeps, a little longer each time. */
static void tasks_run(duckdb_pending_result pending)
{
    struct timespec rest = {.tv_nsec = 20000};
    duckdb_pending_state state;

    for (;;) {
        state = rfi_db.pending_execute_task(pending);
        if (state == DUCKDB_PENDING_ERROR || rfi_db.pending_execution_is_finished(state))
            return;
        if (state != DUCKDB_PENDING_NO_TASKS_AVAILABLE) {
            rest.tv_nsec = 20000;
            continue;
        }
        nanosleep(&rest, NULL);
        rest.tv_nsec = RF_MIN(rest.tv_nsec * 2, 500000);
    }
}

rf_status rf_stmt_run(rf_stmt *stmt, bool streaming, rf_rows **out, rf_err *err)
{
    duckdb_pending_result pending = NULL;
    duckdb_result result;
    duckdb_state state;
    rf_status st = RF_OK;

    if (out != NULL)
        *out = NULL;
    state = streaming ? rfi_db.pending_prepared_streaming(stmt->prepared, &pending)
                      : rfi_db.pending_prepared(stmt->prepared, &pending);
    if (state != DuckDBSuccess) {
        st = rfi_sql_error(err, NULL, rfi_db.pending_error(pending));
        goto out;
    }
    tasks_run(pending);
    if (rfi_db.pending_error(pending) != NULL && rfi_db.pending_error(pending)[0] != '\0') {
        st = rfi_sql_error(err, NULL, rfi_db.pending_error(pending));
        goto out;
    }
    memset(&result, 0, sizeof(result));
    if (rfi_db.execute_pending(pending, &result) != DuckDBSuccess) {
        st = rfi_sql_error(err, NULL, rfi_db.result_error(&result));
        rfi_db.destroy_result(&result);
        goto out;
    }
    if (out == NULL)
        rfi_db.destroy_result(&result);
    else
        *out = rfi_rows_new(stmt->conn, &result, streaming);
out:
    if (pending != NULL)
        rfi_db.destroy_pending(&pending);
    return st;
}
