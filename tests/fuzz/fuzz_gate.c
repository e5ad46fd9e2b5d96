/*
 * Any text at the gate, over an engine that may read files: no crash, and what passes touches
 * nothing but what it may. An input is the text itself, or (first byte odd) a recipe that cuts and
 * splices the statements of the gate's own tests, which gets deeper than bytes do. What passes is
 * run for a moment. Witnesses: inotify on a canary file, and the engine's own catalog and settings,
 * looked at from time to time.
 */
#include "query/query_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/inotify.h>
#include <unistd.h>

#define RUN_US 100000
#define ROWS_MAX 200
#define LOOK_EVERY 256

enum { REFUSED, WRONG }; /* as the table of hostile statements has them */

static const struct {
    int expected;
    const char *names, *sql;
} hostile[] = {
#include "../query/hostile.inc"
};

static const struct {
    const char *sql, *params, *rows;
} good[] = {
#include "../query/good.inc"
};

static struct {
    char dir[64], canary[80];
    rf_log *log;
    rf_log_view *view;
    rf_engine *engine;
    rf_conn *conn, *witness;
    rfi_watch *watch;
    int canary_watch;
    uint64_t runs;
    char state[256]; /* of catalog and settings at the start */
} f;

/* The engine keeps objects that only its own heap points to, which the leak checker does not read.
 * Leaks of ours show in the gate's unit tests. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* The engine is a C++ library that keeps caches until exit, and its frames end in operator new:
 * leaks of ours are looked for by the unit tests of query/, under the same sanitizer. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static rfi_relation find(void *arg, rf_str name)
{
    (void)arg;
    if ((name.n == 6 && strncasecmp(name.p, "delays", 6) == 0) ||
        (name.n == 6 && strncasecmp(name.p, "routes", 6) == 0))
        return RFI_REL_PROJECTION;
    if ((name.n == 6 && strncasecmp(name.p, "events", 6) == 0) ||
        rf_engine_has_type(f.engine, name))
        return RFI_REL_TYPE;
    return memchr(name.p, '.', name.n) != NULL && !rfi_looks_like_file(name) ? RFI_REL_TYPE
                                                                             : RFI_REL_NONE;
}

static void state_read(char out[static 256])
{
    static const char sql[] =
        "SELECT (SELECT string_agg(table_name || estimated_size, ' ' ORDER BY table_name) FROM "
        "duckdb_tables()) || (SELECT count(*) FROM duckdb_views()) || ' ' || (SELECT "
        "hash(list(name || "
        "value ORDER BY name)) FROM duckdb_settings()) || (SELECT word FROM secrets) || (SELECT "
        "count(*) FROM duckdb_functions()) || ' ' || (SELECT count(*) FROM duckdb_databases())";
    rf_rows *rows = NULL;
    rf_err err = {0};

    RF_ASSERT(rf_conn_query(f.witness, sql, &rows, &err) == RF_OK);
    RF_ASSERT(rf_rows_next(rows, &err));
    snprintf(out, 256, "%.*s", RF_STR_ARG(rf_rows_str(rows, 0)));
    rf_rows_free(&rows);
}

static void clean_up(void)
{
    char command[96];

    rfi_watch_stop(&f.watch);
    rf_conn_close(&f.witness);
    rf_conn_close(&f.conn);
    rf_engine_close(&f.engine);
    rf_log_view_close(&f.view);
    rf_log_close(&f.log);
    snprintf(command, sizeof(command), "rm -r %s", f.dir);
    RF_ASSERT(system(command) == 0);
}

static void log_open(rf_err *err)
{
    rf_log_options options = {.publish_tail = true};
    rf_log_view_options view = {.follow = true};
    rf_event event = {.id = RF_STR("1"),
                      .source = RF_STR("/f"),
                      .type = RF_STR("flight.landed"),
                      .subject = RF_STR("A"),
                      .time_us = 1,
                      .time_text = RF_STR("1970-01-01T00:00:00Z"),
                      .data_kind = RF_DATA_JSON,
                      .data = RF_STR("{\"origin\":\"OSL\",\"delay\":5}")};
    rf_receipt receipt;
    rf_append append = {.events = &event, .count = 1, .receipts = &receipt};
    char path[80];

    snprintf(path, sizeof(path), "%s/log", f.dir);
    RF_ASSERT(rf_log_open(path, &options, &f.log, err) == RF_OK);
    RF_ASSERT(rf_log_domain(f.log, RF_STR("default"), 1, err) == RF_OK);
    RF_ASSERT(rf_log_append(rf_log_route(f.log, RF_STR("default"), RF_STR("A")), &append, err) ==
              RF_OK);
    RF_ASSERT(rf_log_view_open(path, &view, &f.view, err) == RF_OK);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char sql[] =
        "CREATE SCHEMA rf; CREATE TABLE rf.state_delays AS SELECT 1 AS day, 2 AS n;"
        "CREATE VIEW delays AS SELECT * FROM rf.state_delays;"
        "CREATE VIEW routes AS SELECT 'OSL-BGO' AS route, 2 AS n;"
        "CREATE TABLE secrets AS SELECT 'CANARY' AS word;";
    rf_engine_options options = {.threads = 1, .memory_bytes = 128u << 20, .external_access = true};
    rf_err err = {0};
    FILE *canary;

    (void)argc;
    (void)argv;
    snprintf(f.dir, sizeof(f.dir), "/tmp/rf-fuzz-XXXXXX");
    RF_ASSERT(mkdtemp(f.dir) != NULL);
    log_open(&err);
    options.view = f.view;
    RF_ASSERT(rf_engine_open(&options, &f.engine, &err) == RF_OK);
    RF_ASSERT(rf_conn_open(f.engine, &f.conn, &err) == RF_OK);
    RF_ASSERT(rf_conn_open(f.engine, &f.witness, &err) == RF_OK);
    RF_ASSERT(rf_conn_exec(f.conn, sql, &err) == RF_OK);
    rf_engine_add_type(f.engine, RF_STR("booked"));
    snprintf(f.canary, sizeof(f.canary), "%s/canary.csv", f.dir);
    canary = fopen(f.canary, "w");
    RF_ASSERT(canary != NULL && fputs("word\nCANARY\n", canary) >= 0 && fclose(canary) == 0);
    f.canary_watch = inotify_init1(IN_NONBLOCK);
    RF_ASSERT(inotify_add_watch(f.canary_watch, f.canary, IN_OPEN | IN_ACCESS | IN_MODIFY) >= 0);
    f.watch = rfi_watch_start(NULL, NULL);
    state_read(f.state);
    atexit(clean_up);
    return 0;
}

static void run(const rfi_plan *plan)
{
    rfi_session session = {.conn = f.conn};
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;
    rf_err err = {0};
    rf_status st;

    rfi_watch_begin(f.watch, &session, rf_mono_us() + RUN_US, NULL, plan->text.p);
    st = rf_conn_prepare(f.conn, rf_buf_str(&plan->sql), &stmt, NULL, &err);
    if (st == RF_OK) {
        rf_stmt_kind kind = rf_stmt_get_kind(stmt);

        RF_ASSERT(kind == RF_STMT_SELECT || (plan->text.explain && kind == RF_STMT_EXPLAIN));
        for (size_t i = 1; i <= rf_stmt_param_count(stmt); i++)
            rf_stmt_bind_i64(stmt, i, 1);
        st = rf_stmt_run(stmt, true, &rows, &err);
    } else if (st == RF_EINVAL) {
        (void)rfi_place_find(f.conn, plan);
    }
    for (int i = 0; st == RF_OK && i < ROWS_MAX && rf_rows_next(rows, &err); i++) {
        rf_buf text;

        rf_buf_init(&text, 1u << 20);
        for (size_t c = 0; c < rf_rows_column_count(rows); c++)
            rf_rows_json(rows, c, &text);
        rf_buf_clear(&text);
    }
    rf_rows_free(&rows);
    rf_stmt_free(&stmt);
    rfi_watch_end(f.watch, &session);
}

static void add_statement(rf_buf *sql, unsigned which, size_t from, size_t n)
{
    which %= RF_ARRAY_LEN(hostile) + RF_ARRAY_LEN(good);
    const char *text = which < RF_ARRAY_LEN(hostile) ? hostile[which].sql
                                                     : good[which - RF_ARRAY_LEN(hostile)].sql;
    size_t length = strlen(text);

    from = from == 255 ? length : RF_MIN(from, length);
    for (size_t i = from; i < length && i < from + n; i++) {
        if (text[i] == '@')
            rf_buf_add_cstr(sql, f.canary);
        else
            rf_buf_add_char(sql, text[i]);
    }
}

/* Four bytes: a statement, where to begin, how much of it. */
static void cook(const uint8_t *recipe, size_t n, rf_buf *sql)
{
    for (; n >= 4; recipe += 4, n -= 4)
        add_statement(sql, recipe[0] | (unsigned)(recipe[1] & 3) << 8, recipe[2],
                      recipe[3] == 255 ? SIZE_MAX : recipe[3]);
    rf_buf_add(sql, recipe, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    rfi_catalog catalog = {.find = find};
    char event[4096], state[256];
    rf_err err = {0};
    rf_position from = {0}, to = {0};
    rf_scope *scope = NULL;
    rfi_plan plan;
    rf_buf sql;
    rf_status st;

    rf_buf_init(&sql, 1u << 20);
    if (n > 0 && (data[0] & 1) != 0)
        cook(data + 1, n - 1, &sql);
    else if (n > 0)
        rf_buf_add(&sql, data + 1, n - 1);
    rfi_plan_init(&plan);
    RF_ASSERT(rf_scope_new(f.engine, "query:0", &scope, &err) == RF_OK);
    rf_log_view_position(f.view, &to);
    rf_scope_set(scope, &from, &to);
    rf_position_clear(&to);
    st = rfi_gate(f.engine, f.conn, &catalog, "query:0", rf_buf_str(&sql), &plan, &err);
    if (st == RF_OK)
        run(&plan);
    else
        RF_ASSERT(err.text[0] != '\0' && rf_utf8_valid(err.text, strlen(err.text), &(size_t){0}));
    RF_ASSERT(st != RF_EFORBIDDEN || plan.refused != NULL);
    RF_ASSERT(st != RF_EINTERNAL);
    rf_scope_free(&scope);
    rfi_plan_clear(&plan);
    rf_buf_clear(&sql);
    RF_ASSERT(read(f.canary_watch, event, sizeof(event)) <= 0);
    if (++f.runs % LOOK_EVERY == 0) {
        state_read(state);
        RF_ASSERT(strcmp(state, f.state) == 0);
    }
    return 0;
}
