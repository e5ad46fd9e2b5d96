/* Queries over real projections that are kept from a real log while it is written. */
#include "query/query.h"
#include "support/log_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include <yyjson.h>

typedef struct fixture {
    log_fixture log;
    rf_engine *engine;
    rf_projections *projections;
    rf_queries *queries;
} fixture;

static rf_status append_control(void *arg, rf_str type, rf_str subject, rf_str data,
                                rf_position *position, rf_err *err)
{
    static _Atomic uint64_t number;
    fixture *f = arg;
    char id[40];
    rf_event e = {.source = RF_STR("/control"),
                  .type = type,
                  .subject = subject,
                  .data = data,
                  .data_kind = RF_DATA_JSON,
                  .time_us = RF_TIME_NONE};

    (void)err;
    snprintf(id, sizeof(id), "control-%llu", (unsigned long long)atomic_fetch_add(&number, 1));
    e.id = rf_str_from(id);
    e.content = rf_hash_fast(id, strlen(id), 1);
    rf_position_raise(position, RF_STR("refold"), 0,
                      log_fixture_append(&f->log, "refold", &e, 1) + 1);
    return RF_OK;
}

static int setup(void **state)
{
    fixture *f = rf_xcalloc(1, sizeof(*f));
    rf_engine_options engine = {.threads = 2, .memory_bytes = 512u << 20};
    rf_projections_options projections = {.append = append_control, .append_arg = f};
    rf_queries_options queries = {.sessions_max = 2};
    rf_err err = {0};

    log_fixture_init(&f->log);
    engine.path = f->log.database;
    engine.view = projections.view = queries.view = f->log.view;
    if (rf_engine_open(&engine, &f->engine, &err) != RF_OK)
        fail_msg("%s", err.text);
    projections.engine = queries.engine = f->engine;
    if (rf_projections_open(&projections, &f->projections, &err) != RF_OK)
        fail_msg("%s", err.text);
    queries.projections = f->projections;
    if (rf_queries_open(&queries, &f->queries, &err) != RF_OK)
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    rf_queries_close(&f->queries);
    rf_projections_close(&f->projections);
    rf_engine_close(&f->engine);
    log_fixture_clear(&f->log);
    free(f);
    return 0;
}

static void put(fixture *f, const char *name, const char *sql)
{
    rf_projection_put result;
    rf_sql_where where;
    rf_buf warnings;
    rf_err err = {0};

    rf_buf_init(&warnings, 1u << 20);
    if (rf_projections_put(f->projections, rf_str_from(name), rf_str_from(sql), 20000, &result,
                           &where, &warnings, &err) != RF_OK)
        fail_msg("%s", err.text);
    rf_buf_clear(&warnings);
}

static rf_status run(fixture *f, const char *sql, const rf_position *after, rf_buf *out,
                     rf_err *err)
{
    rf_query_request request = {
        .sql = rf_str_from(sql), .format = RF_FMT_NDJSON, .timeout_ms = 20000};
    rf_query_answer answer;
    rf_buf token;
    rf_status st;

    rf_buf_init(&token, 1u << 20);
    if (after != NULL) {
        rf_position_encode(after, &token);
        request.after = rf_buf_str(&token);
    }
    rf_buf_init(out, 1u << 20);
    st = rf_query_run(f->queries, &request, NULL, out, &answer, err);
    rf_buf_clear(&token);
    return st;
}

static void assert_rows(fixture *f, const char *sql, const rf_position *after, const char *expected)
{
    rf_buf out;
    rf_err err = {0};

    if (run(f, sql, after, &out, &err) != RF_OK)
        fail_msg("%s: %s", sql, err.text);
    rf_buf_add_char(&out, '\0');
    if (strcmp(out.p, expected) != 0)
        fail_msg("%s gave %s, want %s", sql, out.p, expected);
    rf_buf_clear(&out);
}

/* Appends one and raises the position as an ack does. */
static void land(fixture *f, int i, rf_position *position)
{
    char id[24], subject[16], data[64];
    rf_event e;
    rf_log_part *part;
    uint64_t offset;

    snprintf(subject, sizeof(subject), "S%d", i % 7);
    snprintf(data, sizeof(data), "{\"origin\":\"%s\",\"delay\":%d}", i % 2 == 0 ? "OSL" : "BGO", i);
    e = log_fixture_event(&f->log, id, "flight.landed", subject, i, data);
    part = rf_log_route(f->log.log, RF_STR("default"), e.subject);
    offset = log_fixture_append(&f->log, "default", &e, 1);
    rf_position_raise(position, RF_STR("default"), rf_log_part_number(part), offset + 1);
}

static void query__after_each_write__reads_it(void **state)
{
    fixture *f = *state;
    rf_position position = {0};

    put(f, "by_origin",
        "SELECT data.origin::VARCHAR AS origin, count(*) AS n FROM \"flight.landed\" GROUP BY ALL");
    for (int i = 0; i < 60; i++) {
        char expected[80];

        land(f, i, &position);
        snprintf(expected, sizeof(expected), "{\"p\":%d,\"e\":%d}\n", i + 1, i + 1);
        assert_rows(f,
                    "SELECT (SELECT sum(n) FROM by_origin) AS p, (SELECT count(*) FROM "
                    "\"flight.landed\") AS e",
                    &position, expected);
    }
    assert_rows(f, "SELECT sum(n) AS n FROM By_Origin", &position, "{\"n\":60}\n");
    rf_position_clear(&position);
}

static void query__while_it_is_rebuilt__keeps_its_answer(void **state)
{
    fixture *f = *state;
    rf_err err = {0};

    for (int i = 0; i < 3; i++) {
        rf_status st = rf_projections_rebuild(f->projections, RF_STR("by_origin"), &err);

        if (st != RF_OK && st != RF_EBUSY)
            fail_msg("%s", err.text);
        for (int k = 0; k < 10; k++)
            assert_rows(f, "SELECT sum(n) AS n FROM by_origin", NULL, "{\"n\":60}\n");
    }
}

static void relation__that_is_not_for_people__is_refused(void **state)
{
    static const struct {
        const char *sql;
        rf_status status;
    } cases[] = {
        {"SELECT * FROM by_origni", RF_EINVAL},
        {"SELECT * FROM flight.landed", RF_EINVAL},
        {"SELECT * FROM duckdb_tables", RF_EFORBIDDEN},
        {"SELECT * FROM main.by_origin", RF_EFORBIDDEN},
        {"SELECT * FROM rf.checkpoints", RF_EFORBIDDEN},
        {"SELECT * FROM landed", RF_EINVAL},
    };
    fixture *f = *state;

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_buf out;
        rf_err err = {0};
        rf_status st = run(f, cases[i].sql, NULL, &out, &err);

        if (st != cases[i].status)
            fail_msg("%s gave %s: %s", cases[i].sql, rf_status_name(st), err.text);
        if (i == 0 && strstr(err.text, "\"by_origin\"") == NULL)
            fail_msg("no near name in: %s", err.text);
        rf_buf_clear(&out);
    }
}

/* A name without a dot is a relation from its type's first event on, at once. */
static void type__without_a_dot__is_known_from_its_first_event(void **state)
{
    fixture *f = *state;

    log_fixture_put(&f->log, "landed", "S", 1, "{\"a\":1}");
    assert_rows(f, "SELECT count(*) AS n, max(data.a::INT) AS a FROM landed", NULL,
                "{\"n\":1,\"a\":1}\n");
    assert_rows(f, "SELECT count(*) AS n FROM events WHERE type = 'landed'", NULL, "{\"n\":1}\n");
}

static void projection__dropped__is_gone_for_queries(void **state)
{
    fixture *f = *state;
    rf_buf out;
    rf_err err = {0};

    if (rf_projections_drop(f->projections, RF_STR("by_origin"), &err) != RF_OK)
        fail_msg("%s", err.text);
    assert_int_equal(run(f, "SELECT * FROM by_origin", NULL, &out, &err), RF_EINVAL);
    rf_buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query__after_each_write__reads_it),
        cmocka_unit_test(query__while_it_is_rebuilt__keeps_its_answer),
        cmocka_unit_test(relation__that_is_not_for_people__is_refused),
        cmocka_unit_test(type__without_a_dot__is_known_from_its_first_event),
        cmocka_unit_test(projection__dropped__is_gone_for_queries),
    };

    return cmocka_run_group_tests_name("query_live", tests, setup, teardown);
}
