/* Projections as they live: with a real engine over a real log, whose system domain the test's own
 * append writes to. */
#include "projection/projection_int.h"
#include "support/log_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000

typedef struct fixture {
    log_fixture log;
    rf_engine *engine;
    rf_projections *p;
    rf_conn *conn;
    bool deaf; /* append refuses */
} fixture;

/* ---- fixture --------------------------------------------------------------------------------- */

static rf_status append_control(void *arg, rf_str type, rf_str subject, rf_str data,
                                rf_position *position, rf_err *err)
{
    fixture *f = arg;
    char id[24], type_text[64], subject_text[80];
    char *data_text = rf_xstrndup(data);
    rf_event e;
    uint64_t offset;

    if (f->deaf) {
        free(data_text);
        return rf_err_set(err, RF_EBUSY, "the write half is away");
    }
    snprintf(type_text, sizeof(type_text), "%.*s", RF_STR_ARG(type));
    snprintf(subject_text, sizeof(subject_text), "%.*s", RF_STR_ARG(subject));
    static _Atomic uint64_t number;
    e = (rf_event){.source = RF_STR("/control"), .time_us = RF_TIME_NONE};
    snprintf(id, sizeof(id), "c%d-%llu", (int)getpid(), (unsigned long long)number++);
    e.id = rf_str_from(id);
    e.type = rf_str_from(type_text);
    e.subject = rf_str_from(subject_text);
    e.data = rf_str_from(data_text);
    e.data_kind = RF_DATA_JSON;
    e.content = rf_hash_fast(id, strlen(id), 1);
    offset = log_fixture_append(&f->log, "refold", &e, 1);
    rf_position_raise(position, RF_STR("refold"), 0, offset + 1);
    free(data_text);
    return RF_OK;
}

static void read_open(fixture *f)
{
    rf_engine_options options = {
        .path = f->log.database, .threads = 2, .memory_bytes = 512u << 20, .view = f->log.view};
    rf_projections_options projections = {.append = append_control, .append_arg = f};
    rf_err err = {0};

    projections.view = f->log.view;
    if (rf_engine_open(&options, &f->engine, &err) != RF_OK)
        fail_msg("%s", err.text);
    projections.engine = f->engine;
    if (rf_projections_open(&projections, &f->p, &err) != RF_OK ||
        rf_conn_open(f->engine, &f->conn, &err) != RF_OK)
        fail_msg("%s", err.text);
}

static void read_close(fixture *f)
{
    rf_conn_close(&f->conn);
    rf_projections_close(&f->p);
    rf_engine_close(&f->engine);
}

static void read_reopen(fixture *f)
{
    read_close(f);
    read_open(f);
}

static int setup(void **state)
{
    fixture *f = rf_xcalloc(1, sizeof(*f));

    log_fixture_init(&f->log);
    read_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    read_close(f);
    log_fixture_clear(&f->log);
    free(f);
    return 0;
}

/* ---- helpers --------------------------------------------------------------------------------- */

static rf_status put_status(fixture *f, const char *name, const char *sql, uint32_t wait_ms,
                            rf_projection_put *result, rf_buf *warnings, rf_err *err)
{
    rf_sql_where where;

    return rf_projections_put(f->p, rf_str_from(name), rf_str_from(sql), wait_ms, result, &where,
                              warnings, err);
}

static rf_projection_put put(fixture *f, const char *name, const char *sql)
{
    rf_projection_put result;
    rf_err err = {0};

    if (put_status(f, name, sql, WAIT_MS, &result, NULL, &err) != RF_OK)
        fail_msg("%s: %s", name, err.text);
    return result;
}

/* Waits until the projection has everything that is in the log. */
static rf_status settle_status(fixture *f, const char *name, rf_err *err)
{
    rf_position end = {0};
    rf_str names = rf_str_from(name);
    rf_status st;

    rf_log_view_position(f->log.view, &end);
    st = rf_projections_wait(f->p, &names, 1, &end, rf_mono_us() + WAIT_MS * 1000, err);
    rf_position_clear(&end);
    return st;
}

static void settle(fixture *f, const char *name)
{
    rf_err err = {0};

    if (settle_status(f, name, &err) != RF_OK)
        fail_msg("%s: %s", name, err.text);
}

/* Rows as "a|b;c|d;" in the order of the statement. */
static void query(fixture *f, const char *sql, char *out, size_t out_bytes)
{
    rf_rows *rows = NULL;
    rf_err err = {0};
    rf_buf text;

    rf_buf_init(&text, 1u << 20);
    if (rf_conn_query(f->conn, sql, &rows, &err) != RF_OK)
        fail_msg("%s: %s", sql, err.text);
    while (rf_rows_next(rows, &err)) {
        for (size_t i = 0; i < rf_rows_column_count(rows); i++) {
            if (i > 0)
                rf_buf_add_char(&text, '|');
            rf_rows_text(rows, i, &text);
        }
        rf_buf_add_char(&text, ';');
    }
    if (err.status != RF_OK)
        fail_msg("%s: %s", sql, err.text);
    rf_rows_free(&rows);
    snprintf(out, out_bytes, "%.*s", (int)text.n, text.n > 0 ? text.p : "");
    rf_buf_clear(&text);
}

static void expect(fixture *f, const char *sql, const char *want)
{
    char got[4096];

    query(f, sql, got, sizeof(got));
    if (strcmp(got, want) != 0)
        fail_msg("%s\ngives %s\nnot   %s", sql, got, want);
}

/* A member of the projection's JSON, as text. */
static void shown(fixture *f, const char *name, const char *pointer, char *out, size_t out_bytes)
{
    rf_err err = {0};
    yyjson_doc *doc;
    yyjson_val *value;
    rf_buf json;

    rf_buf_init(&json, 1u << 20);
    if (rf_projections_json(f->p, rf_str_from(name), &json, &err) != RF_OK)
        fail_msg("%s", err.text);
    doc = yyjson_read(json.p, json.n, 0);
    if (doc == NULL)
        fail_msg("no JSON: %s", rf_buf_cstr(&json));
    value = yyjson_doc_ptr_get(doc, pointer);
    if (yyjson_is_str(value))
        snprintf(out, out_bytes, "%s", yyjson_get_str(value));
    else if (yyjson_is_null(value))
        snprintf(out, out_bytes, "null");
    else if (yyjson_is_num(value))
        snprintf(out, out_bytes, "%.0f", yyjson_get_num(value));
    else
        snprintf(out, out_bytes, "%s", value == NULL ? "absent" : "object");
    yyjson_doc_free(doc);
    rf_buf_clear(&json);
}

static void expect_shown(fixture *f, const char *name, const char *pointer, const char *want)
{
    char got[RF_ERR_TEXT_MAX];

    shown(f, name, pointer, got, sizeof(got));
    if (strcmp(got, want) != 0)
        fail_msg("%s of %s is %s, not %s", pointer, name, got, want);
}

static void await_version(fixture *f, const char *name, const char *version)
{
    char got[64] = "";

    for (int i = 0; i < WAIT_MS / 10 && strcmp(got, version) != 0; i++) {
        shown(f, name, "/version", got, sizeof(got));
        usleep(10000);
    }
    assert_string_equal(got, version);
}

static void event(fixture *f, const char *type, const char *data)
{
    log_fixture_put(&f->log, type, "s", INT64_C(1700000000000000), data);
}

#define BY_K "SELECT data->>'k' AS k, count(*) AS n FROM \"a.b\" GROUP BY 1 ORDER BY 1"

/* ---- the life of a projection ---------------------------------------------------------------- */

static void projection__over_old_and_new_events__has_them_all(void **state)
{
    fixture *f = *state;

    event(f, "a.b", "{\"k\":\"x\"}");
    event(f, "a.c", "{\"k\":\"x\"}");
    assert_int_equal(put(f, "by_k", BY_K), RF_PUT_CREATED);
    expect(f, "FROM by_k", "x|1;");
    event(f, "a.b", "{\"k\":\"y\"}");
    event(f, "a.b", "{\"k\":\"x\"}");
    event(f, "a.b", "{}");
    settle(f, "by_k");
    expect(f, "FROM by_k ORDER BY k NULLS LAST", "x|2;y|1;|1;");
    expect_shown(f, "by_k", "/state", "live");
    expect_shown(f, "by_k", "/rows", "3");
    expect_shown(f, "by_k", "/lag/events", "0");
    expect_shown(f, "by_k", "/mode", "async");
    expect_shown(f, "by_k", "/owner", "null");
    expect_shown(f, "by_k", "/progress", "null");
    assert_true(rf_projections_is_relation(f->p, RF_STR("by_k")));
    assert_false(rf_projections_is_relation(f->p, RF_STR("nosuch")));
}

static void projection__of_a_type_not_seen_yet__warns_and_is_empty(void **state)
{
    fixture *f = *state;
    rf_projection_put result;
    rf_buf warnings;
    rf_err err = {0};

    rf_buf_init(&warnings, 65536);
    event(f, "shop.order.placed", "{}");
    event(f, "other", "{}");
    assert_int_equal(put_status(f, "late", "SELECT count(*) AS n FROM \"shop.order.place\"",
                                WAIT_MS, &result, &warnings, &err),
                     RF_OK);
    rf_buf_cstr(&warnings);
    assert_non_null(strstr(warnings.p, "no event of type"));
    assert_non_null(strstr(warnings.p, "shop.order.placed"));
    expect(f, "FROM late", "0;");
    event(f, "shop.order.place", "{}");
    settle(f, "late");
    expect(f, "FROM late", "1;");
    rf_buf_reset(&warnings);
    assert_int_equal(put_status(f, "now_known", "SELECT count(*) AS n FROM \"shop.order.place\"",
                                WAIT_MS, &result, &warnings, &err),
                     RF_OK);
    assert_int_equal(warnings.n, 0);
    assert_int_equal(put_status(f, "no_dot", "SELECT count(*) AS n FROM other", WAIT_MS, &result,
                                &warnings, &err),
                     RF_OK);
    expect(f, "FROM no_dot", "1;");
    rf_buf_clear(&warnings);
}

static void put__of_the_same_text__changes_nothing(void **state)
{
    fixture *f = *state;

    assert_int_equal(put(f, "by_k", BY_K), RF_PUT_CREATED);
    assert_int_equal(put(f, "by_k", BY_K), RF_PUT_SAME);
    expect_shown(f, "by_k", "/version", "1");
    assert_int_equal(put(f, "by_k", "SELECT count(*) AS all_of_them FROM \"a.b\""), RF_PUT_CHANGED);
    expect_shown(f, "by_k", "/version", "2");
    expect(f, "SELECT all_of_them FROM by_k", "0;");
}

static void header__of_a_statement__is_read(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *sql, *reason;
        rf_status status;
    } refused[] = {
        {"-- refold: colour = red\nSELECT count(*) FROM \"a.b\"", "colour", RF_EINVAL},
        {"-- refold: mode = sync\nSELECT count(*) FROM \"a.b\"", "not there yet", RF_EUNSUPPORTED},
        {"-- refold: mode = quick\nSELECT count(*) FROM \"a.b\"", "quick", RF_EINVAL},
        {"-- refold: owner\nSELECT count(*) FROM \"a.b\"", "key = value", RF_EINVAL},
    };
    rf_projection_put result;
    rf_err err = {0};

    put(f, "owned",
        "-- days\n-- refold: mode = async, owner = finance\nSELECT count(*) n FROM \"a.b\"");
    expect_shown(f, "owned", "/owner", "finance");
    for (size_t i = 0; i < RF_ARRAY_LEN(refused); i++) {
        assert_int_equal(put_status(f, "x", refused[i].sql, 0, &result, NULL, &err),
                         refused[i].status);
        assert_non_null(strstr(err.text, refused[i].reason));
    }
}

static void name__that_is_not_allowed__is_refused(void **state)
{
    fixture *f = *state;
    static const char *const names[] = {"",         "1a",  "A",  "a-b", "events",
                                        "refold_x", "a.b", "_a", "é"};
    rf_projection_put result;
    rf_err err = {0};

    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++)
        assert_int_equal(put_status(f, names[i], BY_K, 0, &result, NULL, &err), RF_EINVAL);
    assert_true(rf_projection_name_valid(RF_STR("a1_b")));
}

static void change__of_a_definition__serves_the_old_one_until_the_switch(void **state)
{
    fixture *f = *state;
    char got[256];

    for (int i = 0; i < 20; i++)
        event(f, "a.b", "{\"k\":\"x\"}");
    put(f, "p", "SELECT count(*) AS n FROM \"a.b\"");
    expect(f, "SELECT n FROM p", "20;");
    for (int round = 0; round < 5; round++) {
        char sql[128];
        rf_projection_put result;
        rf_err err = {0};

        snprintf(sql, sizeof(sql), "SELECT count(*) AS n, %d AS round FROM \"a.b\"", round);
        assert_int_equal(put_status(f, "p", sql, 0, &result, NULL, &err), RF_OK);
        for (int i = 0; i < 50; i++) { /* queries go on, whatever serves */
            query(f, "SELECT n FROM p", got, sizeof(got));
            assert_string_equal(got, "20;");
        }
        snprintf(sql, sizeof(sql), "%d", round + 2);
        await_version(f, "p", sql);
    }
    expect(f, "FROM p", "20|4;");
    expect(f, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'state_%'", "2;");
}

static void rebuild__of_a_projection__gives_the_same_again(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    char seconds[64];

    for (int i = 0; i < 30; i++)
        event(f, "a.b", i % 3 ? "{\"k\":\"x\"}" : "{\"k\":\"y\"}");
    put(f, "by_k", BY_K);
    event(f, "a.b", "{\"k\":\"z\"}");
    settle(f, "by_k");
    expect(f, "FROM by_k", "x|20;y|10;z|1;");
    assert_int_equal(rf_projections_rebuild(f->p, RF_STR("by_k"), &err), RF_OK);
    await_version(f, "by_k", "2");
    expect(f, "FROM by_k", "x|20;y|10;z|1;");
    expect_shown(f, "by_k", "/lastRebuild/events", "31");
    shown(f, "by_k", "/lastRebuild/seconds", seconds, sizeof(seconds));
    assert_string_not_equal(seconds, "absent");
    event(f, "a.b", "{\"k\":\"z\"}");
    settle(f, "by_k");
    expect(f, "FROM by_k", "x|20;y|10;z|2;");
    assert_int_equal(rf_projections_rebuild(f->p, RF_STR("nosuch"), &err), RF_ENOTFOUND);
}

static void drop__and_create_again__begins_anew(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    rf_buf json;

    event(f, "a.b", "{\"k\":\"x\"}");
    put(f, "by_k", BY_K);
    assert_int_equal(rf_projections_drop(f->p, RF_STR("by_k"), &err), RF_OK);
    assert_false(rf_projections_is_relation(f->p, RF_STR("by_k")));
    assert_int_equal(rf_conn_exec(f->conn, "SELECT * FROM by_k", &err), RF_EINVAL);
    assert_int_equal(rf_projections_drop(f->p, RF_STR("by_k"), &err), RF_ENOTFOUND);
    rf_buf_init(&json, 65536);
    assert_int_equal(rf_projections_json(f->p, RF_STR("by_k"), &json, &err), RF_ENOTFOUND);
    rf_projections_json_all(f->p, &json);
    assert_string_equal(rf_buf_cstr(&json), "[]");
    rf_buf_clear(&json);
    assert_int_equal(put(f, "by_k", BY_K), RF_PUT_CREATED);
    expect(f, "FROM by_k", "x|1;");
    expect_shown(f, "by_k", "/version", "2");
    read_reopen(f);
    settle(f, "by_k");
    expect(f, "FROM by_k", "x|1;");
}

static void restart__goes_on_from_the_checkpoint(void **state)
{
    fixture *f = *state;
    char before[64], after[64];

    put(f, "by_k", BY_K);
    event(f, "a.b", "{\"k\":\"x\"}");
    settle(f, "by_k");
    shown(f, "by_k", "/position", before, sizeof(before));
    expect(f, "SELECT build FROM rf.projections WHERE name = 'by_k'", "2;");
    read_reopen(f);
    settle(f, "by_k");
    shown(f, "by_k", "/position", after, sizeof(after));
    expect(f, "FROM by_k", "x|1;");
    expect(f, "SELECT build FROM rf.projections WHERE name = 'by_k'", "2;"); /* not built anew */
    read_close(f);
    event(f, "a.b", "{\"k\":\"x\"}");
    read_open(f);
    settle(f, "by_k");
    expect(f, "FROM by_k", "x|2;");
}

static void database__that_was_deleted__is_built_again(void **state)
{
    fixture *f = *state;

    event(f, "a.b", "{\"k\":\"x\"}");
    put(f, "by_k", BY_K);
    put(f, "dropped", BY_K);
    read_close(f);
    assert_int_equal(unlink(f->log.database), 0);
    read_open(f);
    settle(f, "by_k");
    settle(f, "dropped");
    expect(f, "FROM by_k", "x|1;");
}

static void log__that_was_set_back__makes_states_anew(void **state)
{
    fixture *f = *state;
    char command[200];

    for (int i = 0; i < 10; i++)
        event(f, "a.b", "{\"k\":\"x\"}");
    put(f, "by_k", BY_K);
    settle(f, "by_k");
    read_close(f);
    rf_log_view_close(&f->log.view);
    rf_log_close(&f->log.log);
    snprintf(command, sizeof(command), "rm -r %s", f->log.log_dir);
    assert_int_equal(system(command), 0);
    log_fixture_open(&f->log); /* another log, with the same definition and fewer events */
    event(f, "a.b", "{\"k\":\"y\"}");
    {
        rf_position position = {0};
        rf_err err = {0};

        assert_int_equal(
            append_control(f, RF_STR("refold.projection.defined"), RF_STR("by_k"),
                           RF_STR("{\"version\":1,\"mode\":\"async\",\"sql\":\"SELECT "
                                  "data->>'k' AS k, count(*) AS n FROM \\\"a.b\\\" GROUP "
                                  "BY 1 ORDER BY 1\"}"),
                           &position, &err),
            RF_OK);
        rf_position_clear(&position);
    }
    read_open(f);
    settle(f, "by_k");
    expect(f, "FROM by_k", "y|1;");
}

/* ---- halting --------------------------------------------------------------------------------- */

#define FRAGILE "SELECT sum((data->>'n')::INT) AS s, count(*) AS c FROM \"a.b\""

static void event__that_cannot_be_read__halts_only_its_projection(void **state)
{
    fixture *f = *state;
    char reason[RF_ERR_TEXT_MAX];
    rf_err err = {0};

    put(f, "fragile", FRAGILE);
    put(f, "by_k", BY_K);
    event(f, "a.b", "{\"n\":1,\"k\":\"x\"}");
    settle(f, "fragile");
    {
        const char *datas[] = {"{\"n\":2,\"k\":\"x\"}", "{\"n\":\"two\",\"k\":\"x\"}",
                               "{\"n\":4,\"k\":\"x\"}"};
        char ids[3][24];
        rf_event events[3];

        for (int i = 0; i < 3; i++)
            events[i] = log_fixture_event(&f->log, ids[i], "a.b", "s", 1, datas[i]);
        log_fixture_append(&f->log, "default", events, 3); /* one batch */
    }
    settle(f, "by_k");
    expect(f, "FROM by_k", "x|4;");
    assert_int_equal(settle_status(f, "fragile", &err), RF_ECANCELED);
    assert_non_null(strstr(err.text, "two"));
    expect_shown(f, "fragile", "/state", "halted");
    shown(f, "fragile", "/reason", reason, sizeof(reason));
    assert_non_null(strstr(reason, "offset 2"));
    assert_non_null(strstr(reason, "two"));
    expect(f, "FROM fragile", "3|2;"); /* what came before it is in */
    event(f, "a.b", "{\"n\":8,\"k\":\"x\"}");
    settle(f, "by_k");
    read_reopen(f);
    expect_shown(f, "fragile", "/state", "halted");
    shown(f, "fragile", "/reason", reason, sizeof(reason));
    assert_non_null(strstr(reason, "offset 2"));
    expect(f, "FROM fragile", "3|2;");
    settle(f, "by_k");
    expect(f, "FROM by_k", "x|5;");
    put(f, "fragile", "SELECT sum(TRY_CAST(data->>'n' AS INT)) AS s, count(*) AS c FROM \"a.b\"");
    settle(f, "fragile");
    expect_shown(f, "fragile", "/state", "live");
    expect_shown(f, "fragile", "/reason", "absent");
    expect(f, "FROM fragile", "15|5;");
}

static void rebuild__that_meets_the_event__halts_and_leaves_the_live_one(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    char reason[RF_ERR_TEXT_MAX] = "";

    for (int i = 0; i < 9; i++)
        event(f, "a.b", i == 5 ? "{\"n\":\"five\"}" : "{\"n\":1}");
    put(f, "p", "SELECT count(*) AS c FROM \"a.b\"");
    put(f, "p", FRAGILE); /* halts while it is built */
    expect(f, "FROM p", "9;");
    expect_shown(f, "p", "/state", "live");
    shown(f, "p", "/reason", reason, sizeof(reason));
    assert_non_null(strstr(reason, "offset 5"));
    put(f, "q", FRAGILE); /* has no live one */
    expect_shown(f, "q", "/state", "halted");
    assert_int_equal(rf_projections_ready(f->p, RF_STR("q"), &err), RF_EBUSY);
    assert_int_equal(settle_status(f, "q", &err), RF_ECANCELED);
    read_reopen(f);
    expect_shown(f, "q", "/state", "halted");
    expect_shown(f, "p", "/state", "live");
    put(f, "q", "SELECT count(*) AS c FROM \"a.b\"");
    expect(f, "FROM q", "9;");
}

/* ---- schemas and types ----------------------------------------------------------------------- */

static void schema__that_is_registered__types_the_data(void **state)
{
    fixture *f = *state;
    rf_projection_put result;
    rf_err err = {0};
    rf_buf json;

    event(f, "a.b", "{\"k\":\"x\",\"n\":2}");
    put(f, "before", "SELECT data.n AS n, count(*) AS c FROM \"a.b\" GROUP BY 1");
    expect(f, "SELECT typeof(n), n, c FROM before", "JSON|2|1;");
    assert_int_equal(
        rf_projections_put_schema(f->p, RF_STR("a.b"), 1,
                                  RF_STR("{\"properties\": {\"n\": {\"type\": "
                                         "\"integer\"}, \"k\":{\"type\":\"string\"}}}"),
                                  &result, &err),
        RF_OK);
    assert_int_equal(result, RF_PUT_CREATED);
    put(f, "after", "SELECT data.k AS k, sum(data.n) AS s FROM \"a.b\" GROUP BY 1");
    expect(f, "FROM after", "x|2;");
    for (int i = 0; i < 200; i++) { /* the one from before is built anew by itself */
        char got[64];

        query(f, "SELECT typeof(n), n, c FROM before", got, sizeof(got));
        if (strcmp(got, "BIGINT|2|1;") == 0)
            break;
        usleep(20000);
    }
    expect(f, "SELECT typeof(n), n, c FROM before", "BIGINT|2|1;");
    assert_int_equal(
        rf_projections_put_schema(f->p, RF_STR("a.b"), 1,
                                  RF_STR("{\"properties\":{\"n\":{\"type\":\"integer\"},"
                                         "\"k\":{\"type\":\"string\"}}}"),
                                  &result, &err),
        RF_OK);
    assert_int_equal(result, RF_PUT_SAME);
    assert_int_equal(rf_projections_put_schema(f->p, RF_STR("a.b"), 2, RF_STR("{\"properties\":3}"),
                                               &result, &err),
                     RF_EINVAL);
    rf_buf_init(&json, 65536);
    rf_projections_schemas_json(f->p, &json);
    assert_string_equal(
        rf_buf_cstr(&json),
        "[{\"type\":\"a.b\",\"version\":1,\"schema\":{\"properties\":{\"n\":{\"type\":"
        "\"integer\"},\"k\":{\"type\":\"string\"}}}}]");
    rf_buf_clear(&json);
    read_reopen(f);
    settle(f, "after");
    event(f, "a.b", "{\"k\":\"x\",\"n\":40}");
    settle(f, "after");
    settle(f, "before");
    expect(f, "FROM after", "x|42;");
}

static void types__that_were_seen__are_counted(void **state)
{
    fixture *f = *state;
    rf_buf json, nearest;

    event(f, "flight.landed", "{}");
    event(f, "flight.landed", "{}");
    event(f, "flight.departed", "{}");
    rf_buf_init(&json, 65536);
    rf_buf_init(&nearest, 65536);
    assert_true(rf_projections_type_known(f->p, RF_STR("flight.landed"), NULL));
    assert_false(rf_projections_type_known(f->p, RF_STR("flight.lnded"), &nearest));
    assert_string_equal(rf_buf_cstr(&nearest), "\"flight.landed\",\"flight.departed\"");
    rf_projections_types_json(f->p, &json);
    assert_string_equal(rf_buf_cstr(&json),
                        "[{\"type\":\"flight.departed\",\"events\":1,\"firstTime\":"
                        "\"2023-11-14T22:13:20Z\",\"lastTime\":\"2023-11-14T22:13:20Z\"},"
                        "{\"type\":\"flight.landed\",\"events\":2,\"firstTime\":"
                        "\"2023-11-14T22:13:20Z\",\"lastTime\":\"2023-11-14T22:13:20Z\"}]");
    rf_buf_clear(&json);
    rf_buf_clear(&nearest);
}

/* ---- the write half away --------------------------------------------------------------------- */

static void put__without_the_write_half__fails_and_changes_nothing(void **state)
{
    fixture *f = *state;
    rf_projection_put result;
    rf_err err = {0};

    f->deaf = true;
    assert_int_equal(put_status(f, "p", BY_K, 0, &result, NULL, &err), RF_EBUSY);
    assert_int_equal(rf_projections_json(f->p, RF_STR("p"), &(rf_buf){.max = 100}, &err),
                     RF_ENOTFOUND);
    f->deaf = false;
    put(f, "p", BY_K);
}

/* ---- many, at random ------------------------------------------------------------------------- */

static uint64_t seed_state;

static uint32_t next(uint32_t n)
{
    seed_state = seed_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed_state >> 33) % n;
}

/* Over columns that a plain table has too. */
static const char *const random_sql[] = {
    "SELECT data->>'k' AS k, count(*) AS n, sum((data->>'n')::BIGINT) AS s FROM \"a.b\" GROUP BY 1",
    "SELECT count(*) AS n, min(data->>'k') AS a, max(data->>'k') AS z FROM \"a.b\"",
    "SELECT (data->>'n')::INT % 7 AS m, count(*) AS n, avg((data->>'n')::INT) AS a FROM \"a.b\" "
    "GROUP "
    "BY m HAVING count(*) > 3",
    "SELECT date_trunc('minute', time) AS t, count(*) AS n FROM \"a.b\" GROUP BY t",
    "SELECT type, count(*) AS n FROM events GROUP BY type",
    "SELECT subject, max((data->>'d')::DOUBLE) AS d, sum((data->>'d')::DOUBLE) AS s FROM \"a.b\" "
    "GROUP BY "
    "1",
    "SELECT stddev((data->>'d')::DOUBLE) AS d, approx_count_distinct(data->>'k') AS k FROM \"a.b\"",
    "SELECT data->>'k' AS k FROM \"a.b\" WHERE (data->>'n')::INT > 50 GROUP BY 1",
    "SELECT bool_and((data->>'n')::INT > 0) AS b, count(*) FILTER (WHERE data->>'k' = 'k1') AS f "
    "FROM "
    "\"a.c\"",
    "SELECT data->>'k' AS k, 100.0 * count(*) FILTER (WHERE (data->>'n')::INT > 50) / count(*) AS "
    "share "
    "FROM \"a.b\" GROUP BY ALL",
};

static void events_random(fixture *f, uint32_t count)
{
    char(*ids)[24] = rf_xcalloc(count, sizeof(*ids));
    char(*texts)[128] = rf_xcalloc(count, sizeof(*texts));
    rf_event *events = rf_xcalloc(count, sizeof(*events));
    const char *subject = next(2) ? "s1" : "s2";

    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof(texts[i]), "{\"k\":\"k%u\",\"n\":%u,\"d\":%u.%03u}", next(9),
                 next(100), next(1000), next(1000));
        events[i] =
            log_fixture_event(&f->log, ids[i], next(4) ? "a.b" : "a.c", subject,
                              INT64_C(1700000000000000) + (int64_t)next(600) * 1000000, texts[i]);
    }
    log_fixture_append(&f->log, "default", events, count);
    free(events);
    free(texts);
    free(ids);
}

/* The statement over all events at once, by a scope of the test's own. */
static void reference(fixture *f, const char *sql, char *out, size_t out_bytes)
{
    rfi_plan_request request = {.engine = f->engine,
                                .conn = f->conn,
                                .sql = rf_str_from(sql),
                                .scope = "test",
                                .projection = rfi_projection_name_taken,
                                .arg = f->p};
    rf_position zero = {0}, end = {0};
    rfi_plan *plan = NULL;
    rf_scope *scope = NULL;
    rf_err err = {0};
    char *table = NULL, *view, *ordered = NULL;

    if (rf_scope_new(f->engine, "test", &scope, &err) != RF_OK ||
        rfi_plan_make(&request, &plan, NULL, &err) != RF_OK)
        fail_msg("%s", err.text);
    rf_log_view_position(f->log.view, &end);
    rf_scope_set(scope, &zero, &end);
    assert_true(asprintf(&table, "CREATE OR REPLACE TEMP TABLE reference AS %s", plan->partial) >
                0);
    if (rf_conn_exec(f->conn, table, &err) != RF_OK)
        fail_msg("%s", err.text);
    view = rfi_plan_sql(plan->view, "reference");
    assert_true(asprintf(&ordered, "SELECT * FROM (%s) ORDER BY ALL", view) > 0);
    query(f, ordered, out, out_bytes);
    free(view);
    free(ordered);
    free(table);
    rf_position_clear(&end);
    rf_scope_free(&scope);
    rfi_plan_free(&plan);
}

static void check_all(fixture *f)
{
    static char want[65536], got[65536];
    char name[16], sql[64];

    for (size_t i = 0; i < RF_ARRAY_LEN(random_sql); i++) {
        snprintf(name, sizeof(name), "r%zu", i);
        settle(f, name);
        snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY ALL", name);
        query(f, sql, got, sizeof(got));
        reference(f, random_sql[i], want, sizeof(want));
        if (strcmp(got, want) != 0)
            fail_msg("%s\ngives %s\nnot   %s", random_sql[i], got, want);
    }
}

static void projections__under_random_work__are_what_one_run_gives(void **state)
{
    fixture *f = *state;
    const char *given = getenv("RF_SEED");
    char name[16];

    seed_state = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)rf_wall_us();
    print_message("seed %llu\n", (unsigned long long)seed_state);
    for (size_t i = 0; i < RF_ARRAY_LEN(random_sql); i++) {
        snprintf(name, sizeof(name), "r%zu", i);
        put(f, name, random_sql[i]);
        events_random(f, next(100) + 1);
    }
    for (int round = 0; round < 60; round++) {
        rf_err err = {0};

        events_random(f, next(300) + 1);
        snprintf(name, sizeof(name), "r%u", next(RF_ARRAY_LEN(random_sql)));
        switch (next(8)) {
        case 0:
            if (rf_projections_rebuild(f->p, rf_str_from(name), &err) != RF_OK)
                assert_int_equal(err.status, RF_EBUSY);
            break;
        case 1:
            if (next(3) == 0)
                read_reopen(f);
            break;
        case 2:
            settle(f, name);
            break;
        default:
            break;
        }
    }
    check_all(f);
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* ThreadSanitizer does not follow a fork of a process with threads. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1 /* gcc's name for it */
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define NO_FORK() skip()
#else
#define NO_FORK() (void)0
#endif

static const char *crash_at;
static _Atomic int crash_countdown;

static void crash(const char *name)
{
    if (strcmp(name, crash_at) == 0 && --crash_countdown == 0)
        _exit(77);
}

/* A child does random work and dies at the point; the parent opens what it left, and compares. */
static void crash__at_every_point__loses_and_doubles_nothing(void **state)
{
    fixture *f = *state;
    static const char *const points[] = {
        "batch: rows written",   "batch: before commit", "batch: after commit",
        "build: table made",     "build: before commit", "build: after commit",
        "switch: before commit", "switch: after commit",
    };

    NO_FORK();
    seed_state = 11;
    for (size_t i = 0; i < RF_ARRAY_LEN(random_sql); i++) {
        char name[16];

        snprintf(name, sizeof(name), "r%zu", i);
        put(f, name, random_sql[i]);
    }
    read_close(f);
    for (size_t i = 0; i < RF_ARRAY_LEN(points) * 2; i++) {
        pid_t child;
        int status;

        rf_log_view_close(&f->log.view); /* the log has one writer: the child is it, for a time */
        rf_log_close(&f->log.log);
        child = fork();
        if (child == 0) {
            crash_at = points[i % RF_ARRAY_LEN(points)];
            crash_countdown = (int)(1 + i / RF_ARRAY_LEN(points) * 2);
            rfi_projection_point = crash;
            log_fixture_open(&f->log);
            f->log.ids = 1000000 * (i + 1);
            read_open(f);
            for (int round = 0; round < 200; round++) {
                rf_err err = {0};

                events_random(f, next(round < 10 ? 1000 : 10) + 1);
                (void)(rf_projections_rebuild(f->p, RF_STR("r3"), &err) == RF_OK);
                usleep(20000);
            }
            _exit(0); /* the point did not come up */
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != 77)
            fail_msg("%s did not come up (%d)", points[i % RF_ARRAY_LEN(points)],
                     WEXITSTATUS(status));
        log_fixture_open(&f->log);
        read_open(f);
        check_all(f);
        read_close(f);
    }
    read_open(f);
}

/* ---- folding --------------------------------------------------------------------------------- */

#define WIDE                                                                                       \
    "SELECT \"offset\" % 8000 AS o, count(*) AS c, sum((data->>'d')::DOUBLE) AS s FROM events "    \
    "GROUP "                                                                                       \
    "BY 1"

static void wide_check(fixture *f)
{
    static char want[1 << 20], have[1 << 20];

    settle(f, "wide");
    reference(f, WIDE, want, sizeof(want));
    query(f, "SELECT * FROM wide ORDER BY ALL", have, sizeof(have));
    assert_string_equal(have, want);
}

static int64_t wide_rows(fixture *f)
{
    char got[64];

    query(f, "SELECT count(*) FROM rf.state_2", got, sizeof(got));
    return strtoll(got, NULL, 10);
}

static void state__that_has_grown__is_folded(void **state)
{
    fixture *f = *state;

    put(f, "wide", WIDE);
    seed_state = 5;
    for (int i = 0; i < 12; i++) {
        events_random(f, 4000);
        settle(f, "wide");
    }
    for (int i = 0; i < 200 && wide_rows(f) > 30000; i++)
        usleep(20000);
    assert_in_range(wide_rows(f), 8000, 30000); /* 48,000 were added */
    wide_check(f);
}

static void crash__while_a_state_is_folded__changes_nothing(void **state)
{
    fixture *f = *state;
    static const char *const points[] = {"fold: before commit", "fold: after commit"};

    NO_FORK();
    put(f, "wide", WIDE);
    seed_state = 6;
    for (int i = 0; i < 5; i++)
        events_random(f, 4000);
    settle(f, "wide");
    read_close(f);
    for (size_t i = 0; i < RF_ARRAY_LEN(points); i++) {
        pid_t child;
        int status;

        rf_log_view_close(&f->log.view);
        rf_log_close(&f->log.log);
        child = fork();
        if (child == 0) {
            crash_at = points[i];
            crash_countdown = 1;
            rfi_projection_point = crash;
            log_fixture_open(&f->log);
            f->log.ids = 1000000 * (i + 1);
            read_open(f);
            for (int round = 0; round < 50; round++) {
                events_random(f, 4000);
                settle(f, "wide");
            }
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 77);
        log_fixture_open(&f->log);
        read_open(f);
        wide_check(f);
        read_close(f);
    }
    read_open(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(projection__over_old_and_new_events__has_them_all),
        T(projection__of_a_type_not_seen_yet__warns_and_is_empty),
        T(put__of_the_same_text__changes_nothing),
        T(header__of_a_statement__is_read),
        T(name__that_is_not_allowed__is_refused),
        T(change__of_a_definition__serves_the_old_one_until_the_switch),
        T(rebuild__of_a_projection__gives_the_same_again),
        T(drop__and_create_again__begins_anew),
        T(restart__goes_on_from_the_checkpoint),
        T(database__that_was_deleted__is_built_again),
        T(log__that_was_set_back__makes_states_anew),
        T(event__that_cannot_be_read__halts_only_its_projection),
        T(rebuild__that_meets_the_event__halts_and_leaves_the_live_one),
        T(schema__that_is_registered__types_the_data),
        T(types__that_were_seen__are_counted),
        T(put__without_the_write_half__fails_and_changes_nothing),
        T(projections__under_random_work__are_what_one_run_gives),
        T(crash__at_every_point__loses_and_doubles_nothing),
        T(state__that_has_grown__is_folded),
        T(crash__while_a_state_is_folded__changes_nothing),
    };

    rf_diag_init(RF_DIAG_WARN, false, "test");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
