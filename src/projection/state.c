/*
 * What the database holds, all in schema rf:
 *
 *   rf.projections  a row for each build: its projection, version, definition, status
 *   rf.checkpoints  (build, domain, partition, next), append-only: the largest `next` counts
 *   rf.state_<id>   a build's state: keys k1.., partial aggregates s1..; append-only between folds
 *
 * and a view in main for each projection that is live. All of it can be made again from the log.
 *
 * No table has a key or an index: they would make each batch dearer as the state grows.
 */
#include "projection/projection_int.h"

#define JSON_ROWS_MAX (64u << 20)

static const char schema_sql[] =
    "CREATE SCHEMA IF NOT EXISTS rf;"
    "CREATE TABLE IF NOT EXISTS rf.projections(name VARCHAR, version UBIGINT, build UBIGINT, "
    "status "
    "VARCHAR, shape UBIGINT, sql VARCHAR, reason VARCHAR, rebuild_events UBIGINT, rebuild_seconds "
    "DOUBLE);"
    "CREATE TABLE IF NOT EXISTS rf.checkpoints(build UBIGINT, domain VARCHAR, partition UINTEGER, "
    "next UBIGINT);";

rf_status rfi_state_open(rf_projections *p, rf_conn *conn, rf_err *err)
{
    rf_rows *rows = NULL;
    rf_status st;

    st = rf_conn_exec(conn, schema_sql, err);
    if (st == RF_OK)
        st = rf_conn_query(conn,
                           "SELECT greatest((SELECT coalesce(max(build), 0) FROM rf.projections), "
                           "(SELECT coalesce(max(build), 0) FROM rf.checkpoints))::BIGINT",
                           &rows, err);
    if (st == RF_OK && rf_rows_next(rows, err))
        p->next_build = (uint64_t)rf_rows_i64(rows, 0) + 1;
    rf_rows_free(&rows);
    return st;
}

/* ---- reading what is stored ------------------------------------------------------------------ */

static char *text_of(const rf_rows *rows, size_t column)
{
    return rf_xstrndup(rf_rows_str(rows, column));
}

static rf_status positions_load(rf_conn *conn, rfi_stored *stored, size_t count, rf_err *err)
{
    rf_rows *rows = NULL;
    rf_status st;

    st = rf_conn_query(conn,
                       "SELECT build::BIGINT, domain, partition, max(next)::BIGINT FROM "
                       "rf.checkpoints GROUP BY ALL",
                       &rows, err);
    if (st != RF_OK)
        return st;
    while (rf_rows_next(rows, err)) {
        for (size_t i = 0; i < count; i++) {
            if (stored[i].id == (uint64_t)rf_rows_i64(rows, 0))
                rf_position_raise(&stored[i].position, rf_rows_str(rows, 1),
                                  (uint32_t)rf_rows_i64(rows, 2), (uint64_t)rf_rows_i64(rows, 3));
        }
    }
    rf_rows_free(&rows);
    return err->status;
}

/* How many rows each state table has; a row without a table loses its status. */
static rf_status tables_count(rf_conn *conn, rfi_stored *stored, size_t count, rf_err *err)
{
    for (size_t i = 0; i < count; i++) {
        char sql[96];
        rf_rows *rows = NULL;
        rf_status st;

        snprintf(sql, sizeof(sql), "SELECT count(*) FROM rf.state_%llu",
                 (unsigned long long)stored[i].id);
        st = rf_conn_query(conn, sql, &rows, err);
        if (st == RF_OK && rf_rows_next(rows, err)) {
            stored[i].rows = (uint64_t)rf_rows_i64(rows, 0);
        } else {
            free(stored[i].status);
            stored[i].status = rf_xstrdup("");
            *err = (rf_err){0};
        }
        rf_rows_free(&rows);
    }
    return RF_OK;
}

rf_status rfi_state_load(rf_conn *conn, rfi_stored **out, size_t *count, rf_err *err)
{
    rf_rows *rows = NULL;
    rf_status st;

    *out = NULL;
    *count = 0;
    st = rf_conn_query(conn,
                       "SELECT name, version::BIGINT, build::BIGINT, status, shape, sql, "
                       "coalesce(reason, ''), coalesce(rebuild_events, 0)::BIGINT, "
                       "coalesce(rebuild_seconds, 0) FROM rf.projections ORDER BY build",
                       &rows, err);
    if (st != RF_OK)
        return st;
    while (rf_rows_next(rows, err)) {
        rfi_stored *s;
        rf_buf shape;

        *out = rf_xrealloc(*out, (*count + 1) * sizeof(**out));
        s = &(*out)[(*count)++];
        *s = (rfi_stored){.name = text_of(rows, 0),
                          .version = (uint64_t)rf_rows_i64(rows, 1),
                          .id = (uint64_t)rf_rows_i64(rows, 2),
                          .status = text_of(rows, 3),
                          .sql = text_of(rows, 5),
                          .reason = text_of(rows, 6),
                          .rebuild_events = (uint64_t)rf_rows_i64(rows, 7),
                          .rebuild_seconds = rf_rows_f64(rows, 8)};
        rf_buf_init(&shape, 64); /* all 64 bits of it */
        rf_rows_text(rows, 4, &shape);
        if (!rf_str_to_u64(rf_buf_str(&shape), &s->shape))
            s->shape = 0;
        rf_buf_clear(&shape);
    }
    rf_rows_free(&rows);
    st = err->status;
    if (st == RF_OK)
        st = positions_load(conn, *out, *count, err);
    if (st == RF_OK)
        st = tables_count(conn, *out, *count, err);
    if (st != RF_OK) {
        rfi_state_free(*out, *count);
        *out = NULL;
        *count = 0;
    }
    return st;
}

void rfi_state_free(rfi_stored *stored, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(stored[i].name);
        free(stored[i].sql);
        free(stored[i].status);
        free(stored[i].reason);
        rf_position_clear(&stored[i].position);
    }
    free(stored);
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

void rfi_state_checkpoint_rows(const rfi_build *b, const rf_position *from, const rf_position *to,
                               rf_buf *rows_json)
{
    for (size_t i = 0; i < to->count; i++) {
        const rf_position_part *part = &to->parts[i];

        if (part->next == rf_position_get(from, rf_str_from(part->domain), part->partition))
            continue;
        rf_buf_addf(rows_json,
                    "%s{\"build\":%llu,\"domain\":\"%s\",\"partition\":%u,\"next\":%llu}",
                    rows_json->n > 1 ? "," : "", (unsigned long long)b->id, part->domain,
                    part->partition, (unsigned long long)part->next);
    }
}

static rf_status checkpoint_prepare(rf_conn *conn, rf_stmt **out, rf_err *err)
{
    return rf_conn_prepare(
        conn,
        RF_STR("INSERT INTO rf.checkpoints SELECT unnest(from_json($1, "
               "'[{\"build\":\"UBIGINT\",\"domain\":\"VARCHAR\",\"partition\":\"UINTEGER\","
               "\"next\":\"UBIGINT\"}]'), recursive := true)"),
        out, NULL, err);
}

rf_status rfi_state_checkpoint(rf_projections *p, rf_buf *rows_json, rf_err *err)
{
    uint64_t epoch = atomic_load(&p->ddl_epoch);
    rf_status st;

    if (p->checkpoint == NULL || p->checkpoint_epoch != epoch) {
        rf_stmt_free(&p->checkpoint);
        st = checkpoint_prepare(p->worker_conn, &p->checkpoint, err);
        if (st != RF_OK)
            return st;
        p->checkpoint_epoch = epoch;
    }
    rf_stmt_bind_str(p->checkpoint, 1, rf_buf_str(rows_json));
    return rf_stmt_run(p->checkpoint, false, NULL, err);
}

/* ---- small statements with texts ------------------------------------------------------------- */

/* Runs `sql` with strings for $1, $2. */
static rf_status run_with(rf_conn *conn, const char *sql, const char *first, const char *second,
                          rf_err *err)
{
    rf_stmt *stmt = NULL;
    rf_status st = rf_conn_prepare(conn, rf_str_from(sql), &stmt, NULL, err);

    if (st == RF_OK && first != NULL)
        rf_stmt_bind_str(stmt, 1, rf_str_from(first));
    if (st == RF_OK && second != NULL)
        rf_stmt_bind_str(stmt, 2, rf_str_from(second));
    if (st == RF_OK)
        st = rf_stmt_run(stmt, false, NULL, err);
    rf_stmt_free(&stmt);
    return st;
}

static rf_status transaction_end(rf_conn *conn, rf_status st, rf_err *err)
{
    rf_err ignored = {0};
    rf_status rolled;

    if (st == RF_OK)
        st = rf_conn_exec(conn, "COMMIT", err);
    if (st != RF_OK) {
        rolled = rf_conn_exec(conn, "ROLLBACK", &ignored);
        (void)rolled; /* a failed COMMIT has rolled back itself */
    }
    return st;
}

static rf_status projection_insert(rf_conn *conn, const rfi_build *b, const char *status,
                                   rf_err *err)
{
    char sql[512];

    snprintf(sql, sizeof(sql),
             "INSERT INTO rf.projections VALUES ($1, %llu, %llu, '%s', %llu, $2, NULL, %llu, %.9g)",
             (unsigned long long)b->version, (unsigned long long)b->id, status,
             (unsigned long long)b->plan->shape, (unsigned long long)b->rebuild_events,
             b->rebuild_seconds);
    return run_with(conn, sql, b->of->name, b->sql, err);
}

/* ---- building -------------------------------------------------------------------------------- */

static rf_status table_make(rf_conn *conn, rfi_build *b, uint64_t *rows, rf_err *err)
{
    rf_rows *result = NULL;
    rf_stmt *stmt = NULL;
    char *sql = NULL;
    rf_status st;

    *rows = 0;
    if (asprintf(&sql, "CREATE TABLE %s AS %s", b->table, b->plan->partial) < 0)
        return rf_err_set(err, RF_ENOMEM, "no memory for a statement");
    st = rf_conn_prepare(conn, rf_str_from(sql), &stmt, NULL, err);
    if (st == RF_OK)
        st = rf_stmt_run(stmt, false, &result, err);
    if (st == RF_OK && rf_rows_next(result, err))
        *rows = (uint64_t)rf_rows_i64(result, 0);
    rf_rows_free(&result);
    rf_stmt_free(&stmt);
    free(sql);
    return st;
}

rf_status rfi_state_build(rf_projections *p, rf_conn *conn, rfi_build *b, const rf_position *to,
                          uint64_t *rows, rf_err *err)
{
    rf_position zero = {0};
    int64_t started = rf_mono_us();
    rf_stmt *stmt = NULL;
    rf_buf json;
    rf_status st;

    rf_scope_set(b->scope, &zero, to);
    rf_scope_limit_threads(b->scope, p->options.rebuild_threads);
    st = rf_conn_exec(conn, "BEGIN", err);
    if (st != RF_OK)
        return st;
    st = table_make(conn, b, rows, err);
    rfi_point("build: table made");
    rf_buf_init(&json, JSON_ROWS_MAX);
    rf_buf_add_char(&json, '[');
    rfi_state_checkpoint_rows(b, &zero, to, &json);
    rf_buf_add_char(&json, ']');
    if (st == RF_OK)
        st = checkpoint_prepare(conn, &stmt, err);
    if (st == RF_OK) {
        rf_stmt_bind_str(stmt, 1, rf_buf_str(&json));
        st = rf_stmt_run(stmt, false, NULL, err);
    }
    b->rebuild_events = rfi_position_events(&zero, to);
    b->rebuild_seconds = (double)(rf_mono_us() - started) / 1e6;
    if (st == RF_OK)
        st = projection_insert(conn, b, "ready", err);
    rfi_point("build: before commit");
    rf_stmt_free(&stmt);
    st = transaction_end(conn, st, err);
    atomic_fetch_add(&p->ddl_epoch, 1);
    rfi_point("build: after commit");
    rf_buf_clear(&json);
    return st;
}

rf_status rfi_state_halt(rf_conn *conn, const rfi_build *b, const char *reason, rf_err *err)
{
    char sql[128];

    snprintf(
        sql, sizeof(sql),
        "UPDATE rf.projections SET status = status || ' halted', reason = $1 WHERE build = %llu",
        (unsigned long long)b->id);
    return run_with(conn, sql, reason, NULL, err);
}

/* ---- views ----------------------------------------------------------------------------------- */

void rfi_state_view_name(const rfi_projection *of, char out[static 160])
{
    if (of->internal)
        snprintf(out, 160, "rf.types");
    else
        snprintf(out, 160, "main.\"%s\"", of->name); /* names have no quotes */
}

static rf_status build_forget(rf_conn *conn, uint64_t id, rf_err *err)
{
    rf_status st;

    st = rf_conn_execf(conn, err, "DROP TABLE IF EXISTS rf.state_%llu", (unsigned long long)id);
    if (st == RF_OK)
        st = rf_conn_execf(conn, err, "DELETE FROM rf.projections WHERE build = %llu",
                           (unsigned long long)id);
    if (st == RF_OK)
        st = rf_conn_execf(conn, err, "DELETE FROM rf.checkpoints WHERE build = %llu",
                           (unsigned long long)id);
    return st;
}

rf_status rfi_state_switch(rf_projections *p, rf_conn *conn, const rfi_build *fresh,
                           const rfi_build *old, rf_err *err)
{
    char name[160];
    char *select = rfi_plan_sql(fresh->plan->view, fresh->table), *sql = NULL;
    rf_status st;

    rfi_state_view_name(fresh->of, name);
    if (asprintf(&sql, "CREATE OR REPLACE VIEW %s AS %s", name, select) < 0) {
        free(select);
        return rf_err_set(err, RF_ENOMEM, "no memory for a statement");
    }
    st = rf_conn_exec(conn, "BEGIN", err);
    if (st == RF_OK) {
        st = rf_conn_exec(conn, sql, err);
        if (st == RF_OK)
            st = rf_conn_execf(conn, err,
                               "UPDATE rf.projections SET status = 'live' WHERE build = %llu",
                               (unsigned long long)fresh->id);
        if (st == RF_OK && old != NULL)
            st = build_forget(conn, old->id, err);
        rfi_point("switch: before commit");
        st = transaction_end(conn, st, err);
        rfi_point("switch: after commit");
    }
    atomic_fetch_add(&p->ddl_epoch, 1);
    free(select);
    free(sql);
    return st;
}

rf_status rfi_state_drop(rf_projections *p, rf_conn *conn, const rfi_projection *of, uint64_t id,
                         bool view, rf_err *err)
{
    char name[160];
    rf_status st = rf_conn_exec(conn, "BEGIN", err);

    if (st != RF_OK)
        return st;
    if (view) {
        rfi_state_view_name(of, name);
        st = rf_conn_execf(conn, err, "DROP VIEW IF EXISTS %s", name);
    }
    if (st == RF_OK)
        st = build_forget(conn, id, err);
    st = transaction_end(conn, st, err);
    atomic_fetch_add(&p->ddl_epoch, 1);
    return st;
}

/* ---- at open: what belongs to nobody --------------------------------------------------------- */

static bool view_wanted(rf_projections *p, rf_str name)
{
    rfi_projection *of = rfi_projection_find(p, name);

    return of != NULL && of->live != NULL;
}

static bool build_wanted(rf_projections *p, uint64_t id)
{
    for (size_t i = 0; i < p->count; i++) {
        const rfi_projection *of = p->items[i];

        if ((of->live != NULL && of->live->id == id) ||
            (of->shadow != NULL && of->shadow->id == id && of->shadow->status != RFI_QUEUED))
            return true;
    }
    return false;
}

/* Statements that drop what is not wanted, gathered first: the catalog is not read while it
 * changes. */
static rf_status sweep_gather(rf_projections *p, rf_conn *conn, rf_buf *sql, rf_err *err)
{
    rf_rows *rows = NULL;
    rf_status st;
    uint64_t id;

    st = rf_conn_query(
        conn, "SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal",
        &rows, err);
    if (st != RF_OK)
        return st;
    while (rf_rows_next(rows, err)) {
        rf_str name = rf_rows_str(rows, 0);

        if (rf_projection_name_valid(name) && !view_wanted(p, name))
            rf_buf_addf(sql, "DROP VIEW main.\"%.*s\";", RF_STR_ARG(name));
    }
    rf_rows_free(&rows);
    st = rf_conn_query(
        conn,
        "SELECT substr(table_name, 7) FROM duckdb_tables() WHERE schema_name = 'rf' AND "
        "starts_with(table_name, 'state_') UNION SELECT build::VARCHAR FROM "
        "rf.projections UNION SELECT DISTINCT build::VARCHAR FROM rf.checkpoints",
        &rows, err);
    if (st != RF_OK)
        return st;
    while (rf_rows_next(rows, err)) {
        if (rf_str_to_u64(rf_rows_str(rows, 0), &id) && !build_wanted(p, id))
            rf_buf_addf(
                sql,
                "DROP TABLE IF EXISTS rf.state_%llu; DELETE FROM rf.projections WHERE build = "
                "%llu; DELETE FROM rf.checkpoints WHERE build = %llu;",
                (unsigned long long)id, (unsigned long long)id, (unsigned long long)id);
    }
    rf_rows_free(&rows);
    return err->status;
}

rf_status rfi_state_sweep(rf_projections *p, rf_conn *conn, rf_err *err)
{
    rf_buf sql;
    rf_status st;

    rf_buf_init(&sql, JSON_ROWS_MAX);
    rf_buf_add_cstr(&sql, "BEGIN;");
    st = sweep_gather(p, conn, &sql, err);
    rf_buf_add_cstr(&sql, "COMMIT");
    if (st == RF_OK)
        st = rf_conn_exec(conn, rf_buf_cstr(&sql), err);
    rf_buf_clear(&sql);
    return st;
}
