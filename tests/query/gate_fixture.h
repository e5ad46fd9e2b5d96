/* A gate over a real engine and a real log, with files readable by SQL: only the gate stands
 * between a statement and the canary. For tests of query/ and its fuzz target. */
#ifndef RF_TESTS_GATE_FIXTURE_H
#define RF_TESTS_GATE_FIXTURE_H

#include "query/query_int.h"
#include "support/log_fixture.h"

#include <strings.h>

#define CANARY "CANARY-7c1f9b"

typedef struct gate_fixture {
    log_fixture log;
    rf_engine *engine;
    rf_conn *conn;
    rf_scope *scope;
    rfi_catalog catalog;
    char canary[96]; /* path of a CSV file */
} gate_fixture;

static inline rfi_relation gate_find(void *arg, rf_str name)
{
    static const char *const projections[] = {"delays", "routes"};
    gate_fixture *f = arg;

    for (size_t i = 0; i < RF_ARRAY_LEN(projections); i++) {
        if (name.n == strlen(projections[i]) && strncasecmp(name.p, projections[i], name.n) == 0)
            return RFI_REL_PROJECTION;
    }
    if (name.n == 6 && strncasecmp(name.p, "events", 6) == 0)
        return RFI_REL_TYPE;
    if (rf_engine_has_type(f->engine, name))
        return RFI_REL_TYPE;
    return memchr(name.p, '.', name.n) != NULL && !rfi_looks_like_file(name) ? RFI_REL_TYPE
                                                                             : RFI_REL_NONE;
}

static inline void gate_nearest(void *arg, rf_str name, rf_buf *out)
{
    (void)arg;
    (void)name;
    rf_buf_add_cstr(out, "\"delays\"");
}

static inline void gate_put(gate_fixture *f, const char *type, const char *subject, int day,
                            const char *data)
{
    log_fixture_put(&f->log, type, subject, (978307200LL + day * 86400LL) * 1000000, data);
}

/* 10 flights on 5 days of January 2001, and a booking. */
static inline void gate_fill(gate_fixture *f)
{
    static const char *const data[] = {
        "{\"origin\":\"OSL\",\"destination\":\"BGO\",\"delay\":5,\"distance\":320}",
        "{\"origin\":\"OSL\",\"destination\":\"TRD\",\"delay\":-3,\"distance\":360}",
        "{\"origin\":\"BGO\",\"destination\":\"OSL\",\"delay\":20,\"distance\":320}",
        "{\"origin\":\"TRD\",\"destination\":\"OSL\",\"delay\":null,\"distance\":360}",
        "{\"origin\":\"BGO\",\"destination\":\"TRD\",\"delay\":0,\"distance\":420}"};
    static const char columns[] =
        "{\"type\":\"object\",\"properties\":{\"origin\":{\"type\":\"string\"},\"destination\":"
        "{\"type\":\"string\"},\"delay\":{\"type\":\"integer\"},\"distance\":{\"type\":\"integer\"}"
        "}}";
    rf_columns *shape;
    rf_err err = {0};

    for (int i = 0; i < 10; i++)
        gate_put(f, "flight.landed", i % 2 == 0 ? "A" : "B", i % 5, data[i % 5]);
    gate_put(f, "booked", "C", 0, "{\"price\":9.5,\"tags\":[\"x\",\"y\"]}");
    assert_int_equal(
        rf_columns_parse(RF_STR("flight.landed"), 1, rf_str_from(columns), &shape, &err), RF_OK);
    rf_engine_set_columns(f->engine, shape);
    rf_engine_add_type(f->engine, RF_STR("booked"));
}

static inline void gate_fixture_init(gate_fixture *f)
{
    rf_engine_options options = {.threads = 2, .memory_bytes = 256u << 20, .external_access = true};
    static const char sql[] = "CREATE SCHEMA rf; CREATE TABLE rf.state_delays(day INT, n BIGINT);"
                              "INSERT INTO rf.state_delays VALUES (1, 3), (2, 5), (3, 0);"
                              "CREATE VIEW delays AS SELECT day, n FROM rf.state_delays;"
                              "CREATE VIEW routes AS SELECT 'OSL-BGO' AS route, 2::BIGINT AS n;"
                              "CREATE TABLE secrets AS SELECT '" CANARY "' AS word;";
    rf_position from = {0}, to = {0};
    rf_err err = {0};
    FILE *canary;

    *f = (gate_fixture){0};
    log_fixture_init(&f->log);
    options.view = f->log.view;
    if (rf_engine_open(&options, &f->engine, &err) != RF_OK ||
        rf_conn_open(f->engine, &f->conn, &err) != RF_OK ||
        rf_conn_exec(f->conn, sql, &err) != RF_OK ||
        rf_scope_new(f->engine, "query:0", &f->scope, &err) != RF_OK)
        fail_msg("%s", err.text);
    f->catalog = (rfi_catalog){.find = gate_find, .nearest = gate_nearest, .arg = f};
    gate_fill(f);
    rf_log_view_position(f->log.view, &to);
    rf_scope_set(f->scope, &from, &to);
    rf_position_clear(&to);
    snprintf(f->canary, sizeof(f->canary), "%s/canary.csv", f->log.dir);
    canary = fopen(f->canary, "w");
    assert_non_null(canary);
    fputs("word\n" CANARY "\n", canary);
    fclose(canary);
}

static inline void gate_fixture_clear(gate_fixture *f)
{
    rf_conn_close(&f->conn);
    rf_scope_free(&f->scope);
    rf_engine_close(&f->engine);
    log_fixture_clear(&f->log);
}

/* The gate, and when it says yes, the run. Rows as JSON arrays, `[1,"a"][2,"b"]`. */
static inline rf_status gate_run(gate_fixture *f, rf_str sql, const char *params, rfi_plan *plan,
                                 rf_buf *rows_text, rf_err *err)
{
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;
    rf_status st = rfi_gate(f->engine, f->conn, &f->catalog, "query:0", sql, plan, err);

    if (st == RF_OK)
        st = rf_conn_prepare(f->conn, rf_buf_str(&plan->sql), &stmt, NULL, err);
    if (st == RF_OK)
        st = rfi_params_bind(stmt, rf_str_from(params), err);
    if (st == RF_OK)
        st = rf_stmt_run(stmt, true, &rows, err);
    while (st == RF_OK && rf_rows_next(rows, err)) {
        for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
            rf_buf_add_char(rows_text, i == 0 ? '[' : ',');
            rf_rows_json(rows, i, rows_text);
        }
        rf_buf_add_char(rows_text, ']');
    }
    if (st == RF_OK)
        st = err->status;
    rf_rows_free(&rows);
    rf_stmt_free(&stmt);
    return st;
}

#endif
