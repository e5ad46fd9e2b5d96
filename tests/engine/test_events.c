/* The log as relations: rf_events, scopes, and the rewriting of statements. */
#include "engine/engine.h"
#include "support/log_fixture.h"

typedef struct fixture {
    log_fixture log;
    rf_engine *engine;
    rf_conn *conn;
    rf_scope *scope;
} fixture;

static int setup(void **state)
{
    fixture *f = rf_xcalloc(1, sizeof(*f));
    rf_engine_options options = {.threads = 2, .memory_bytes = 512u << 20};
    rf_err err = {0};

    log_fixture_init(&f->log);
    options.view = f->log.view;
    if (rf_engine_open(&options, &f->engine, &err) != RF_OK ||
        rf_conn_open(f->engine, &f->conn, &err) != RF_OK ||
        rf_scope_new(f->engine, "s", &f->scope, &err) != RF_OK)
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    rf_conn_close(&f->conn);
    rf_scope_free(&f->scope);
    rf_engine_close(&f->engine);
    log_fixture_clear(&f->log);
    free(f);
    return 0;
}

static void scope_all(fixture *f)
{
    rf_position from = {0}, to = {0};

    rf_log_view_position(f->log.view, &to);
    rf_scope_set(f->scope, &from, &to);
    rf_position_clear(&to);
}

static bool known_none(void *arg, rf_str name)
{
    (void)arg;
    return rf_str_eq(name, RF_STR("view_of_ours"));
}

static void each_type(void *arg, rf_str type)
{
    rf_buf *seen = arg;

    rf_buf_addf(seen, "[%.*s]", RF_STR_ARG(type));
}

static rf_status rewrite(fixture *f, const char *sql, rf_buf *text, rf_buf *types, rf_err *err)
{
    rf_buf tree, bound;
    rf_status st;

    rf_buf_init(&tree, 1u << 20);
    rf_buf_init(&bound, 1u << 20);
    st = rf_sql_parse(f->conn, rf_str_from(sql), &tree, NULL, err);
    if (st == RF_OK)
        st = rf_sql_bind_events(f->engine, rf_buf_str(&tree), "s", known_none, each_type, types,
                                &bound, err);
    if (st == RF_OK)
        st = rf_sql_text(f->conn, rf_buf_str(&bound), text, err);
    rf_buf_clear(&tree);
    rf_buf_clear(&bound);
    return st;
}

/* Rewrites, runs, and renders all rows: columns by '|', rows by '\n'. */
static void run(fixture *f, const char *sql, rf_buf *out)
{
    rf_buf text, types;
    rf_rows *rows = NULL;
    rf_err err = {0};

    rf_buf_reset(out);
    rf_buf_init(&text, 1u << 20);
    rf_buf_init(&types, 1u << 20);
    if (rewrite(f, sql, &text, &types, &err) != RF_OK ||
        rf_conn_query(f->conn, rf_buf_cstr(&text), &rows, &err) != RF_OK)
        fail_msg("%s: %s", sql, err.text);
    while (rf_rows_next(rows, &err)) {
        for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
            if (i > 0)
                rf_buf_add_char(out, '|');
            rf_rows_json(rows, i, out);
        }
        rf_buf_add_char(out, '\n');
    }
    if (err.status != RF_OK)
        fail_msg("%s: %s", sql, err.text);
    rf_rows_free(&rows);
    rf_buf_clear(&text);
    rf_buf_clear(&types);
    rf_buf_cstr(out);
}

static void expect(fixture *f, const char *sql, const char *want)
{
    rf_buf got;

    rf_buf_init(&got, 1u << 20);
    run(f, sql, &got);
    if (strcmp(got.p, want) != 0)
        fail_msg("%s\n gives\n%s not\n%s", sql, got.p, want);
    rf_buf_clear(&got);
}

static void columns_set(fixture *f, const char *type, const char *properties)
{
    char text[2048];
    rf_columns *columns = NULL;
    rf_err err = {0};

    snprintf(text, sizeof(text), "{\"type\":\"object\",\"properties\":{%s}}", properties);
    if (rf_columns_parse(rf_str_from(type), 1, rf_str_from(text), &columns, &err) != RF_OK)
        fail_msg("%s", err.text);
    rf_engine_set_columns(f->engine, columns);
}

#define ALL_KINDS                                                                                  \
    "\"t\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},\"n\":{\"type\":\"number\"},"        \
    "\"b\":{\"type\":\"boolean\"},\"ts\":{\"type\":\"string\",\"format\":\"date-time\"},"          \
    "\"d\":{\"type\":\"string\",\"format\":\"date\"},"                                             \
    "\"m\":{\"type\":\"number\",\"x-type\":\"decimal(9,2)\"},\"j\":{}"

static void envelope__of_an_event__has_its_columns(void **state)
{
    fixture *f = *state;

    log_fixture_put(&f->log, "a.b", "s1", 1000000, "{\"x\":1}");
    scope_all(f);
    expect(f,
           "SELECT id, source, type, subject, time, domain, \"offset\", revision, correlationid, "
           "causationid, dataschema, data FROM \"a.b\"",
           "\"id-0\"|\"/test\"|\"a.b\"|\"s1\"|\"1970-01-01T00:00:01Z\"|\"default\"|0|0|null|null|"
           "null|{\"x\":1}\n");
    expect(f, "SELECT count(recordedtime), count(partition) FROM events", "1|1\n");
}

static void time__that_is_absent__is_null(void **state)
{
    fixture *f = *state;

    log_fixture_put(&f->log, "a.b", "s1", RF_TIME_NONE, NULL);
    scope_all(f);
    expect(f, "SELECT time, data FROM \"a.b\"", "null|null\n");
}

static void relation__of_a_type__has_only_its_events(void **state)
{
    fixture *f = *state;

    for (int i = 0; i < 10; i++)
        log_fixture_put(&f->log, i % 3 == 0 ? "a.b" : "a.c", i % 2 ? "s1" : "s2", i, "{}");
    scope_all(f);
    expect(f, "SELECT count(*) FROM \"a.b\"", "4\n");
    expect(f, "SELECT count(*) FROM \"a.c\"", "6\n");
    expect(f, "SELECT count(*) FROM \"a.never\"", "0\n");
    expect(f, "SELECT type, count(*) FROM events GROUP BY ALL ORDER BY 1",
           "\"a.b\"|4\n\"a.c\"|6\n");
}

static void scope__with_ranges__reads_just_them(void **state)
{
    fixture *f = *state;
    rf_position from = {0}, to = {0};
    uint64_t done, total;
    uint32_t partition;

    log_fixture_put_many(&f->log, "a.b", "one", "{}", 7000, 900);
    rf_log_view_position(f->log.view, &to);
    partition = rf_position_get(&to, RF_STR("default"), 0) == 7000 ? 0 : 1;
    rf_position_clear(&to);
    rf_position_raise(&from, RF_STR("default"), partition, 100);
    rf_position_raise(&to, RF_STR("default"), partition, 6500);
    rf_scope_set(f->scope, &from, &to);
    expect(f, "SELECT count(*), min(\"offset\"), max(\"offset\") FROM \"a.b\"", "6400|100|6499\n");
    rf_scope_progress(f->scope, &done, &total);
    assert_int_equal(total, 6400);
    assert_int_equal(done, 6400);
    rf_position_clear(&from);
    rf_position_clear(&to);
}

static void prepared__over_the_next_range__reads_it(void **state)
{
    fixture *f = *state;
    rf_position from = {0}, to = {0};
    rf_stmt *stmt = NULL;
    rf_err err = {0};
    int64_t seen = 0;

    assert_int_equal(rf_conn_prepare(f->conn, RF_STR("SELECT count(*) FROM rf_events('a.b', 's')"),
                                     &stmt, NULL, &err),
                     RF_OK);
    for (int round = 0; round < 5; round++) {
        rf_rows *rows = NULL;

        log_fixture_put(&f->log, "a.b", "one", 1, "{}");
        log_fixture_put(&f->log, "a.b", "two", 1, "{}");
        rf_log_view_position(f->log.view, &to);
        rf_scope_set(f->scope, &from, &to);
        assert_int_equal(rf_stmt_run(stmt, false, &rows, &err), RF_OK);
        assert_true(rf_rows_next(rows, &err));
        assert_int_equal(rf_rows_i64(rows, 0), 2);
        seen += rf_rows_i64(rows, 0);
        rf_rows_free(&rows);
        rf_position_clear(&from);
        rf_position_copy(&from, &to);
        rf_position_clear(&to);
    }
    assert_int_equal(seen, 10);
    rf_position_clear(&from);
    rf_stmt_free(&stmt);
}

static void system_domain__is_left_out_unless_asked_for(void **state)
{
    fixture *f = *state;
    char id[24];
    rf_event e = log_fixture_event(&f->log, id, "refold.x", "p", 1, "{}");

    log_fixture_append(&f->log, "refold", &e, 1);
    log_fixture_put(&f->log, "a.b", "s1", 1, "{}");
    scope_all(f);
    expect(f, "SELECT count(*) FROM events", "1\n");
    rf_scope_include_system(f->scope, true);
    expect(f, "SELECT count(*) FROM events", "2\n");
}

static void data__of_a_registered_type__is_typed(void **state)
{
    fixture *f = *state;

    columns_set(f, "a.b", ALL_KINDS);
    log_fixture_put(
        &f->log, "a.b", "s1", 1,
        " { \"t\" : \"caf\\u00e9 \\\"x\\\" and more\", \"i\":-42,\"n\":1.5e3,\"b\":true,"
        "\"zzz\":[{\"t\":\"no\"}],\"ts\":\"2024-01-02T03:04:05.5+01:00\","
        "\"d\":\"2024-02-29\",\"m\":\"12.345\",\"j\":{\"k\":[1,\"]\"]}}");
    scope_all(f);
    expect(f,
           "SELECT data.t, data.i, data.n, data.b, data.ts, data.d, data.m, data.j, typeof(data.j) "
           "FROM \"a.b\"",
           "\"café \\\"x\\\" and more\"|-42|1500.0|true|\"2024-01-02T02:04:05.5Z\"|\"2024-02-29\"|"
           "12.35|{\"k\":[1,\"]\"]}|\"JSON\"\n");
    expect(f, "SELECT data FROM \"a.b\"",
           "{\"t\":\"café \\\"x\\\" and more\",\"i\":-42,\"n\":1500.0,\"b\":true,"
           "\"ts\":\"2024-01-02T02:04:05.5Z\",\"d\":\"2024-02-29\",\"m\":12.35,"
           "\"j\":{\"k\":[1,\"]\"]}}\n");
    expect(f, "SELECT e.data.I FROM \"a.b\" e", "-42\n");
    expect(f, "SELECT data.j.k FROM events", "[1,\"]\"]\n");
}

static void value__of_another_type__is_null_and_counted(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *data, *want;
        unsigned mismatches;
    } cases[] = {
        {"{\"t\":1,\"i\":\"1\",\"n\":\"1\",\"b\":1,\"ts\":\"x\",\"d\":\"2023-02-29\",\"m\":\"x\"}",
         "null|null|null|null|null|null|null\n", 7},
        {"{\"i\":1.0,\"n\":3,\"m\":1e2}", "null|1|3.0|null|null|null|100.00\n", 0},
        {"{\"i\":1.5,\"m\":99999999.99}", "null|null|null|null|null|null|null\n", 2},
        {"{\"i\":9223372036854775807,\"m\":-9999999.994}",
         "null|9223372036854775807|null|null|null|null|-9999999.99\n", 0},
        {"{\"i\":9223372036854775808}", "null|null|null|null|null|null|null\n", 1},
        {"{\"i\":-9223372036854775808,\"n\":0.30000000000000004}",
         "null|-9223372036854775808|0.30000000000000004|null|null|null|null\n", 0},
        {"{\"t\":null,\"i\":null,\"n\":-0.0}", "null|null|-0.0|null|null|null|null\n", 0},
        {"[1]", "null|null|null|null|null|null|null\n", 1},
        {"{}", "null|null|null|null|null|null|null\n", 0},
        {"{\"\\u0069\":5}", "null|5|null|null|null|null|null\n", 0},
        {"{\"m\":0.005}", "null|null|null|null|null|null|0.01\n", 0},
        {"{\"m\":-0.004}", "null|null|null|null|null|null|0.00\n", 0},
    };

    columns_set(f, "a.b", ALL_KINDS);
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_position from = {0}, to = {0};
        uint64_t before = rf_engine_mismatches(f->engine);

        rf_log_view_position(f->log.view, &from);
        log_fixture_put(&f->log, "a.b", "s1", 1, cases[i].data);
        rf_log_view_position(f->log.view, &to);
        rf_scope_set(f->scope, &from, &to);
        expect(f, "SELECT data.t, data.i, data.n, data.b, data.ts, data.d, data.m FROM \"a.b\"",
               cases[i].want);
        if (rf_engine_mismatches(f->engine) - before != cases[i].mismatches)
            fail_msg("%s: %d mismatches", cases[i].data,
                     (int)(rf_engine_mismatches(f->engine) - before));
        rf_position_clear(&from);
        rf_position_clear(&to);
    }
}

static void data__that_is_binary__is_base64_in_json(void **state)
{
    fixture *f = *state;
    char id[24];
    rf_event e = log_fixture_event(&f->log, id, "a.b", "s1", 1, "\x01\xff");

    e.data_kind = RF_DATA_BINARY;
    log_fixture_append(&f->log, "default", &e, 1);
    scope_all(f);
    expect(f, "SELECT data FROM \"a.b\"", "\"Af8=\"\n");
}

static void columns__set_anew__hold_for_new_statements(void **state)
{
    fixture *f = *state;

    log_fixture_put(&f->log, "a.b", "s1", 1, "{\"x\":\"7\"}");
    scope_all(f);
    expect(f, "SELECT typeof(data) FROM \"a.b\"", "\"JSON\"\n");
    columns_set(f, "a.b", "\"x\":{\"type\":\"string\"}");
    expect(f, "SELECT typeof(data) FROM \"a.b\"", "\"STRUCT(x VARCHAR)\"\n");
    columns_set(f, "a.b", "\"x\":{\"type\":\"string\"},\"y\":{\"type\":\"integer\"}");
    expect(f, "SELECT typeof(data), data.y FROM \"a.b\"", "\"STRUCT(x VARCHAR, y BIGINT)\"|null\n");
}

static void rewriting__of_each_shape__finds_its_event_types(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *sql, *types, *has, *hasnt;
    } cases[] = {
        {"SELECT data.i FROM \"a.b\"", "[a.b]", "fields", NULL},
        {"SELECT * FROM \"a.b\"", "[a.b]", "rf_events", "lean"},
        {"SELECT * FROM \"a.b\"", "[a.b]", "rf_events", "fields"},
        {"SELECT data.i, data FROM \"a.b\"", "[a.b]", "lean", "fields"},
        {"SELECT e FROM \"a.b\" e", "[a.b]", "rf_events", "lean"},
        {"SELECT count(*) FROM \"a.b\"", "[a.b]", "lean", NULL},
        {"SELECT count(*) FROM events", "[]", "rf_events('', 's'", NULL},
        {"SELECT count(*) FROM Events", "[]", "rf_events('', 's'", NULL},
        {"WITH events AS (SELECT 1) SELECT count(*) FROM events", "", "events", "rf_events"},
        {"WITH \"a.b\" AS (SELECT * FROM \"a.b\") SELECT * FROM \"a.b\"", "[a.b]", "rf_events",
         NULL},
        {"SELECT 1 FROM \"a.b\" x JOIN \"a.c\" y ON x.id = y.id", "[a.b][a.c]", "rf_events", NULL},
        {"SELECT (SELECT count(*) FROM \"a.c\") FROM view_of_ours", "[a.c]", "view_of_ours", NULL},
        {"SELECT 1 FROM nosuch", "", "nosuch", "rf_events"},
        {"SELECT 1 FROM plain", "[plain]", "rf_events", NULL},
        {"SELECT 1 FROM \"a.b\" UNION ALL SELECT 2 FROM \"it's \"\"odd\"\".x\"",
         "[a.b][it's \"odd\".x]", "'it''s \"odd\".x'", NULL},
        {"SELECT 1 FROM main.view_of_ours", "", "view_of_ours", "rf_events"},
    };

    rf_engine_add_type(f->engine, RF_STR("plain"));
    columns_set(f, "a.b", ALL_KINDS);
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_buf text, types;
        rf_err err = {0};

        rf_buf_init(&text, 1u << 20);
        rf_buf_init(&types, 1u << 20);
        if (rewrite(f, cases[i].sql, &text, &types, &err) != RF_OK)
            fail_msg("%s: %s", cases[i].sql, err.text);
        rf_buf_cstr(&text);
        if (strcmp(types.n > 0 ? rf_buf_cstr(&types) : "", cases[i].types) != 0 ||
            strstr(text.p, cases[i].has) == NULL ||
            (cases[i].hasnt != NULL && strstr(text.p, cases[i].hasnt) != NULL))
            fail_msg("%s gives %s", cases[i].sql, text.p);
        rf_buf_clear(&text);
        rf_buf_clear(&types);
    }
}

static void type__without_its_quotes__is_refused_with_the_hint(void **state)
{
    fixture *f = *state;
    rf_buf text, types;
    rf_err err = {0};

    rf_buf_init(&text, 1u << 20);
    rf_buf_init(&types, 1u << 20);
    assert_int_equal(rewrite(f, "SELECT 1 FROM shop.order_.placed", &text, &types, &err),
                     RF_EINVAL);
    assert_non_null(strstr(err.text, "\"shop.order_.placed\""));
    rf_buf_clear(&text);
    rf_buf_clear(&types);
}

static void statement__that_was_not_rewritten__tells_the_place_but_does_not_run(void **state)
{
    fixture *f = *state;
    rf_stmt *stmt = NULL;
    rf_sql_where where;
    rf_err err = {0};

    columns_set(f, "a.b", ALL_KINDS);
    assert_int_equal(rf_conn_prepare(f->conn, RF_STR("SELECT data.i,\n  nosuch FROM \"a.b\""),
                                     &stmt, &where, &err),
                     RF_EINVAL);
    assert_int_equal(where.line, 2);
    assert_int_equal(where.column, 3);
    assert_int_equal(
        rf_conn_prepare(f->conn, RF_STR("SELECT data.i FROM \"a.b\""), &stmt, &where, &err), RF_OK);
    assert_int_equal(rf_stmt_run(stmt, false, NULL, &err), RF_EINTERNAL);
    rf_stmt_free(&stmt);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(envelope__of_an_event__has_its_columns),
        T(time__that_is_absent__is_null),
        T(relation__of_a_type__has_only_its_events),
        T(scope__with_ranges__reads_just_them),
        T(prepared__over_the_next_range__reads_it),
        T(system_domain__is_left_out_unless_asked_for),
        T(data__of_a_registered_type__is_typed),
        T(value__of_another_type__is_null_and_counted),
        T(data__that_is_binary__is_base64_in_json),
        T(columns__set_anew__hold_for_new_statements),
        T(rewriting__of_each_shape__finds_its_event_types),
        T(type__without_its_quotes__is_refused_with_the_hint),
        T(statement__that_was_not_rewritten__tells_the_place_but_does_not_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
