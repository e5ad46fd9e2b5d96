/* Queries from request to answer: formats, caps, parameters, deadlines, turns, read-your-writes. */
#include "query/fake_projections.h"
#include "query/gate_fixture.h"

#include <pthread.h>
#include <yyjson.h>

/* Minutes of work that looks at interrupts. */
#define ENDLESS                                                                                    \
    "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 3"

typedef struct fixture {
    gate_fixture gate;
    rf_projections projections;
    rf_queries *queries;
    _Atomic int overdue;
    _Atomic bool stop_writing;
} fixture;

static void on_overdue(void *arg, const char *sql)
{
    fixture *f = arg;

    assert_non_null(sql);
    atomic_fetch_add(&f->overdue, 1);
}

static int setup(void **state)
{
    fixture *f = rf_xcalloc(1, sizeof(*f));
    rf_queries_options o = {.projections = &f->projections,
                            .sessions_max = 2,
                            .bytes_max = 1u << 20,
                            .rows_max_default = 1000,
                            .rows_max = 5000,
                            .overdue = on_overdue,
                            .overdue_arg = f};
    rf_err err = {0};

    gate_fixture_init(&f->gate);
    f->projections.items[0].name = "delays";
    f->projections.items[1].name = "routes";
    f->projections.items[2] = (fake_projection){.name = "slowly", .building = true};
    f->projections.types[0] = "flight.landed";
    f->projections.types[1] = "booked";
    o.engine = f->gate.engine;
    o.view = f->gate.log.view;
    if (rf_queries_open(&o, &f->queries, &err) != RF_OK)
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    rf_queries_close(&f->queries);
    gate_fixture_clear(&f->gate);
    free(f);
    return 0;
}

typedef struct result {
    rf_status status;
    rf_query_answer answer;
    rf_buf out;
    rf_err err;
} result;

static void run(fixture *f, const rf_query_request *request, rf_query_handle *handle, result *r)
{
    memset(r, 0, sizeof(*r));
    rf_buf_init(&r->out, 16u << 20);
    rf_buf_add_cstr(&r->out, "<");
    r->status = rf_query_run(f->queries, request, handle, &r->out, &r->answer, &r->err);
    assert_int_equal(r->status, r->status == RF_OK ? RF_OK : (int)r->err.status);
    if (r->status != RF_OK && !rf_str_eq(rf_buf_str(&r->out), RF_STR("<")))
        fail_msg("a failed query left something: %.*s", (int)r->out.n, r->out.p);
    assert_false(r->out.failed);
}

static void run_sql(fixture *f, const char *sql, rf_query_format format, result *r)
{
    rf_query_request request = {.sql = rf_str_from(sql), .format = format};

    run(f, &request, NULL, r);
}

static void assert_text(result *r, const char *expected)
{
    if (r->status != RF_OK)
        fail_msg("%s: %s", rf_status_name(r->status), r->err.text);
    assert_string_equal(rf_buf_cstr(&r->out) + 1, expected);
    rf_buf_clear(&r->out);
}

static void assert_failed(result *r, rf_status expected, const char *names)
{
    if (r->status != expected || (names != NULL && strstr(r->err.text, names) == NULL))
        fail_msg("%s: %s", rf_status_name(r->status), r->err.text);
    rf_buf_clear(&r->out);
}

/* The answer as JSON; the caller frees the document. */
static yyjson_doc *document(result *r)
{
    yyjson_doc *doc;

    if (r->status != RF_OK)
        fail_msg("%s: %s", rf_status_name(r->status), r->err.text);
    doc = yyjson_read(r->out.p + 1, r->out.n - 1, 0);
    if (doc == NULL)
        fail_msg("no JSON: %.*s", (int)r->out.n, r->out.p);
    rf_buf_clear(&r->out);
    return doc;
}

/* ---- formats --------------------------------------------------------------------------------- */

static void json__of_rows__has_columns_rows_and_position(void **state)
{
    fixture *f = *state;
    result r;
    yyjson_doc *doc;
    yyjson_val *root, *column;
    rf_position position = {0};
    rf_err err = {0};

    run_sql(f, "SELECT day AS \"a \"\"day\"\"\", n, n / 2 AS half FROM delays ORDER BY 1",
            RF_FMT_JSON, &r);
    assert_int_equal(r.answer.row_count, 3);
    assert_true(r.answer.elapsed_us > 0);
    doc = document(&r);
    root = yyjson_doc_get_root(doc);
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(root, "rowCount")), 3);
    assert_true(yyjson_get_num(yyjson_obj_get(root, "elapsedMs")) > 0);
    assert_null(yyjson_obj_get(root, "warnings"));
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(root, "columns")), 3);
    column = yyjson_arr_get(yyjson_obj_get(root, "columns"), 0);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(column, "name")), "a \"day\"");
    assert_string_equal(yyjson_get_str(yyjson_obj_get(column, "type")), "INTEGER");
    assert_int_equal(
        yyjson_get_int(yyjson_arr_get(yyjson_arr_get(yyjson_obj_get(root, "rows"), 1), 1)), 5);
    assert_int_equal(
        rf_position_decode(rf_str_from(yyjson_get_str(yyjson_obj_get(root, "position"))), &position,
                           &err),
        RF_OK);
    rf_position_clear(&position);
    yyjson_doc_free(doc);
}

static void ndjson__of_equal_names__makes_them_different(void **state)
{
    fixture *f = *state;
    result r;

    run_sql(
        f,
        "SELECT 1 AS a, 2 AS a, 3 AS a_1, 'x' AS \"q\"\"\", NULL AS z UNION ALL SELECT 4,5,6,'y',7",
        RF_FMT_NDJSON, &r);
    assert_text(&r, "{\"a\":1,\"a_1\":2,\"a_1_1\":3,\"q\\\"\":\"x\",\"z\":null}\n"
                    "{\"a\":4,\"a_1\":5,\"a_1_1\":6,\"q\\\"\":\"y\",\"z\":7}\n");
    run_sql(f, "SELECT 1 AS a WHERE false", RF_FMT_NDJSON, &r);
    assert_text(&r, "");
}

static void csv__of_awkward_values__follows_rfc_4180(void **state)
{
    fixture *f = *state;
    result r;

    run_sql(
        f,
        "SELECT 'a,b' AS \"x,y\", 'say \"hi\"' AS q, E'1\\n2' AS nl, '' AS empty, NULL AS none, "
        "1.50::DECIMAL(4,2) AS d, 'plain' AS p",
        RF_FMT_CSV, &r);
    assert_text(&r, "\"x,y\",q,nl,empty,none,d,p\r\n"
                    "\"a,b\",\"say \"\"hi\"\"\",\"1\n2\",\"\",,1.50,plain\r\n");
    run_sql(f, "SELECT '\"' AS a, '\"\"' AS b, ',' AS c", RF_FMT_CSV, &r);
    assert_text(&r, "a,b,c\r\n\"\"\"\",\"\"\"\"\"\",\",\"\r\n");
    run_sql(f, "SELECT 1 AS a WHERE false", RF_FMT_CSV, &r);
    assert_text(&r, "a\r\n");
}

static void arrow__of_rows__is_a_stream_within_the_caps(void **state)
{
    fixture *f = *state;
    rf_query_request request = {.sql = RF_STR("SELECT range AS i FROM range(1000)"),
                                .format = RF_FMT_ARROW};
    result r;

    run(f, &request, NULL, &r);
    if (r.status != RF_OK)
        fail_msg("%s", r.err.text);
    assert_int_equal(r.answer.row_count, 1000);
    assert_true(r.out.n > 8000);
    assert_memory_equal(r.out.p + 1, "\xff\xff\xff\xff", 4); /* a message begins */
    assert_memory_equal(r.out.p + r.out.n - 8, "\xff\xff\xff\xff\0\0\0\0", 8); /* the end */
    rf_buf_clear(&r.out);
    request.rows_max = 999;
    run(f, &request, NULL, &r);
    assert_failed(&r, RF_ETOOBIG, "999");
    request = (rf_query_request){.sql = RF_STR("SELECT repeat('x', 2000) FROM range(1000)"),
                                 .format = RF_FMT_ARROW};
    run(f, &request, NULL, &r);
    assert_failed(&r, RF_ETOOBIG, "bytes");
}

static void format__by_name__is_known(void **state)
{
    rf_query_format format;

    (void)state;
    assert_true(rf_query_format_parse(RF_STR("json"), &format) && format == RF_FMT_JSON);
    assert_true(rf_query_format_parse(RF_STR("ndjson"), &format) && format == RF_FMT_NDJSON);
    assert_true(rf_query_format_parse(RF_STR("csv"), &format) && format == RF_FMT_CSV);
    assert_true(rf_query_format_parse(RF_STR("arrow"), &format) && format == RF_FMT_ARROW);
    assert_false(rf_query_format_parse(RF_STR("xml"), &format));
    assert_false(rf_query_format_parse(RF_STR(""), &format));
}

/* ---- caps ------------------------------------------------------------------------------------ */

static void rows__over_the_cap__are_refused_with_a_way_out(void **state)
{
    static const struct {
        uint64_t rows, cap, limit;
        bool fits;
    } cases[] = {{1000, 0, 1000, true},   {1001, 0, 1000, false},   {10, 10, 10, true},
                 {11, 10, 10, false},     {5000, 9999, 5000, true}, {5001, 9999, 5000, false},
                 {100000000, 5, 5, false}};
    fixture *f = *state;

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        char sql[80], cap[40];
        rf_query_request request = {.format = (rf_query_format)(i % 3), .rows_max = cases[i].cap};
        int64_t start = rf_mono_us();
        result r;

        snprintf(sql, sizeof(sql), "SELECT range AS i FROM range(%llu)",
                 (unsigned long long)cases[i].rows);
        snprintf(cap, sizeof(cap), "more than %llu rows", (unsigned long long)cases[i].limit);
        request.sql = rf_str_from(sql);
        run(f, &request, NULL, &r);
        if (cases[i].fits) {
            assert_int_equal(r.status, RF_OK);
            assert_int_equal(r.answer.row_count, cases[i].rows);
            rf_buf_clear(&r.out);
        } else {
            assert_failed(&r, RF_ETOOBIG, cap);
        }
        assert_true(rf_mono_us() - start < 5000000); /* the rest is not computed */
    }
}

static void bytes__over_the_cap__are_refused(void **state)
{
    fixture *f = *state;

    for (int format = RF_FMT_JSON; format <= RF_FMT_CSV; format++) {
        result r;

        run_sql(f, "SELECT repeat('x', 2000) FROM range(1000)", (rf_query_format)format, &r);
        assert_failed(&r, RF_ETOOBIG, "bytes");
        run_sql(f, "SELECT repeat('x', 1000) FROM range(1000)", (rf_query_format)format, &r);
        assert_int_equal(r.status, RF_OK);
        rf_buf_clear(&r.out);
    }
}

/* ---- parameters ------------------------------------------------------------------------------ */

static void params__that_do_not_fit__are_refused(void **state)
{
    static const struct {
        const char *sql, *params, *names;
    } cases[] = {
        {"SELECT ?, ?", "[1]", "2 parameters, and 1 came"},
        {"SELECT ?", "", "1 parameters, and 0 came"},
        {"SELECT 1", "[1]", "0 parameters, and 1 came"},
        {"SELECT ?", "{\"a\":1}", "array"},
        {"SELECT ?", "[[1]]", "parameter 1 is an array"},
        {"SELECT ?, ?", "[1, {}]", "parameter 2 is an object"},
        {"SELECT ?", "[1", "JSON"},
        {"SELECT $a", "[1]", "name"},
        {"SELECT ?::INT", "[\"x\"]", "Could not convert"},
    };
    fixture *f = *state;

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_query_request request = {.sql = rf_str_from(cases[i].sql),
                                    .params_json = rf_str_from(cases[i].params)};
        result r;

        run(f, &request, NULL, &r);
        assert_failed(&r, RF_EINVAL, cases[i].names);
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void sql_error__at_any_step__has_status_and_place(void **state)
{
    static const struct {
        const char *sql;
        rf_status status;
        uint32_t line, column;
        const char *names;
    } cases[] = {
        {"SELECT 1 FROM", RF_EINVAL, 1, 14, "syntax error"},
        {"SELECT\n nosuch FROM \"flight.landed\"", RF_EINVAL, 2, 2, "nosuch"},
        {"SELECT * FROM dalays", RF_EINVAL, 1, 15, "\"delays\""},
        {"SELECT cuont(*) FROM delays", RF_EINVAL, 1, 8, "\"count\""},
        {"SELECT * FROM read_text('x')", RF_EFORBIDDEN, 1, 15, "read_text"},
        {"SELECT 1; SELECT 2", RF_EFORBIDDEN, 0, 0, "one statement"},
        {"SELECT * FROM slowly", RF_EBUSY, 0, 0, "10 %"},
        {"SELECT CAST(\"route\" AS INT) FROM routes", RF_EINVAL, 0, 0, "OSL-BGO"},
    };
    fixture *f = *state;

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        result r;

        run_sql(f, cases[i].sql, RF_FMT_JSON, &r);
        if (r.answer.where.line != cases[i].line || r.answer.where.column != cases[i].column)
            fail_msg("%s: place %u:%u (%s)", cases[i].sql, r.answer.where.line,
                     r.answer.where.column, r.err.text);
        assert_int_equal(r.answer.refused != NULL, cases[i].status == RF_EFORBIDDEN);
        assert_failed(&r, cases[i].status, cases[i].names);
    }
}

static void type__not_seen_yet__gives_a_warning(void **state)
{
    fixture *f = *state;
    yyjson_doc *doc;
    yyjson_val *warnings;
    result r;

    run_sql(f, "SELECT count(*) FROM \"flight.landde\", \"flight.landed\", events", RF_FMT_JSON,
            &r);
    doc = document(&r);
    warnings = yyjson_obj_get(yyjson_doc_get_root(doc), "warnings");
    assert_int_equal(yyjson_arr_size(warnings), 1);
    assert_string_equal(
        yyjson_get_str(yyjson_arr_get(warnings, 0)),
        "no event of type \"flight.landde\" has been seen yet; near it: \"flight.landed\"");
    yyjson_doc_free(doc);
}

/* ---- deadlines and canceling ----------------------------------------------------------------- */

static void query__at_its_deadline__is_stopped_and_the_session_lives(void **state)
{
    fixture *f = *state;

    for (int i = 0; i < 4; i++) { /* more often than there are sessions */
        rf_query_request request = {.sql = RF_STR(ENDLESS), .timeout_ms = 150};
        int64_t start = rf_mono_us();
        result r;

        run(f, &request, NULL, &r);
        assert_failed(&r, RF_ETIMEOUT, "150 ms");
        assert_true(rf_mono_us() - start < 5000000);
        run_sql(f, "SELECT 1 AS a", RF_FMT_NDJSON, &r);
        assert_text(&r, "{\"a\":1}\n");
    }
}

typedef struct background {
    fixture *f;
    rf_query_request request;
    rf_query_handle handle;
    result r;
    pthread_t thread;
} background;

static void *background_main(void *arg)
{
    background *b = arg;

    run(b->f, &b->request, &b->handle, &b->r);
    return NULL;
}

static void background_run(background *b, fixture *f, const rf_query_request *request)
{
    memset(b, 0, sizeof(*b));
    b->f = f;
    b->request = *request;
    assert_int_equal(pthread_create(&b->thread, NULL, background_main, b), 0);
}

static void background_start(background *b, fixture *f, const char *sql, uint32_t timeout_ms)
{
    rf_query_request request = {.sql = rf_str_from(sql), .timeout_ms = timeout_ms};

    background_run(b, f, &request);
}

static void wait_running(fixture *f, uint64_t running)
{
    rf_query_stats stats;

    for (int i = 0; i < 5000; i++) {
        rf_queries_get_stats(f->queries, &stats);
        if (stats.running == running)
            return;
        usleep(1000);
    }
    fail_msg("not %d queries running", (int)running);
}

static void query__canceled_while_it_runs__stops(void **state)
{
    fixture *f = *state;
    background b;
    int64_t start;

    background_start(&b, f, ENDLESS, 60000);
    wait_running(f, 1);
    usleep(100000);
    start = rf_mono_us();
    rf_query_cancel(&b.handle);
    pthread_join(b.thread, NULL);
    assert_true(rf_mono_us() - start < 5000000);
    assert_failed(&b.r, RF_ECANCELED, NULL);
}

static void query__canceled_before_it_begins__does_not_run(void **state)
{
    fixture *f = *state;
    rf_query_request request = {.sql = RF_STR("SELECT 1")};
    rf_query_handle handle = {0};
    result r;

    rf_query_cancel(&handle);
    run(f, &request, &handle, &r);
    assert_failed(&r, RF_ECANCELED, NULL);
}

static void session__all_taken__waits_its_turn_or_gives_up(void **state)
{
    fixture *f = *state;
    background busy[2], later, canceled;
    rf_query_request request = {.sql = RF_STR("SELECT 1"), .timeout_ms = 100};
    result r;

    for (int i = 0; i < 2; i++)
        background_start(&busy[i], f, ENDLESS, 60000);
    wait_running(f, 2);
    usleep(300000); /* both hold their session for good */
    run(f, &request, NULL, &r);
    assert_failed(&r, RF_EBUSY, "2 query sessions");
    background_start(&later, f, "SELECT 1", 60000);
    background_start(&canceled, f, "SELECT 1", 60000);
    wait_running(f, 4);
    rf_query_cancel(&canceled.handle);
    pthread_join(canceled.thread, NULL);
    assert_failed(&canceled.r, RF_ECANCELED, NULL);
    rf_query_cancel(&busy[0].handle);
    pthread_join(later.thread, NULL);
    assert_int_equal(later.r.status, RF_OK);
    rf_buf_clear(&later.r.out);
    rf_query_cancel(&busy[1].handle);
    for (int i = 0; i < 2; i++) {
        pthread_join(busy[i].thread, NULL);
        assert_failed(&busy[i].r, RF_ECANCELED, NULL);
    }
}

/* One call that takes seconds and looks at nothing: the process would have to end. */
static void query__that_does_not_stop__is_reported_once(void **state)
{
    fixture *f = *state;
    rf_query_request request = {
        .sql =
            RF_STR("SELECT levenshtein(repeat('a', 9000), repeat('b', 9000 + n::INT)) FROM routes"),
        .timeout_ms = 50};
    result r;

    atomic_store(&f->overdue, 0);
    run(f, &request, NULL, &r);
    assert_int_equal(atomic_load(&f->overdue), 1);
    rf_buf_clear(&r.out);
}

/* Canceling one query must never hit the next of its session. */
static void cancel__after_the_end__harms_nobody(void **state)
{
    fixture *f = *state;

    for (int i = 0; i < 200; i++) {
        background b;
        result r;

        background_start(&b, f, "SELECT sum(range) FROM range(1000)", 60000);
        usleep((useconds_t)(i % 20) * 100);
        rf_query_cancel(&b.handle);
        run_sql(f, "SELECT 1 AS a", RF_FMT_NDJSON, &r);
        assert_text(&r, "{\"a\":1}\n");
        pthread_join(b.thread, NULL);
        rf_buf_clear(&b.r.out);
    }
}

/* ---- read your writes ------------------------------------------------------------------------ */

static void token_of(uint64_t next, rf_buf *out)
{
    rf_position p = {0};

    rf_position_raise(&p, RF_STR("default"), 0, next);
    rf_position_encode(&p, out);
    rf_position_clear(&p);
}

static void after__of_events__waits_for_the_log(void **state)
{
    fixture *f = *state;
    rf_position end = {0};
    rf_buf token;
    result r;
    rf_query_request request = {.sql = RF_STR("SELECT count(*) AS n FROM \"later.on\""),
                                .format = RF_FMT_NDJSON,
                                .timeout_ms = 150};
    background b;

    rf_buf_init(&token, 4096);
    rf_log_view_position(f->gate.log.view, &end);
    rf_position_raise(&end, RF_STR("default"), 0, rf_position_get(&end, RF_STR("default"), 0) + 1);
    rf_position_raise(&end, RF_STR("default"), 1, rf_position_get(&end, RF_STR("default"), 1) + 1);
    rf_position_encode(&end, &token);
    rf_position_clear(&end);
    request.after = rf_buf_str(&token);
    run(f, &request, NULL, &r);
    assert_failed(&r, RF_ETIMEOUT, "after");
    request.timeout_ms = 20000;
    background_run(&b, f, &request);
    usleep(100000);
    for (int i = 0; i < 64; i++) { /* some in each partition */
        char subject[16];

        snprintf(subject, sizeof(subject), "s%d", i);
        gate_put(&f->gate, "later.on", subject, 1, "{}");
        if (i == 0)
            usleep(20000);
    }
    pthread_join(b.thread, NULL);
    assert_int_equal(b.r.status, RF_OK);
    assert_true(b.r.out.n > 1 && strstr(rf_buf_cstr(&b.r.out), "\"n\":0") == NULL);
    rf_buf_clear(&b.r.out);
    rf_buf_clear(&token);
}

static void after__of_projections__waits_for_them(void **state)
{
    fixture *f = *state;
    rf_buf token;
    result r;
    rf_query_request request = {.sql =
                                    RF_STR("SELECT count(*) AS n FROM delays JOIN routes ON true"),
                                .format = RF_FMT_NDJSON,
                                .timeout_ms = 120};
    background b;

    rf_buf_init(&token, 4096);
    token_of(77, &token);
    request.after = rf_buf_str(&token);
    atomic_store(&f->projections.items[0].next, 77);
    run(f, &request, NULL, &r);
    assert_failed(&r, RF_ETIMEOUT, "projections");
    request.timeout_ms = 20000;
    background_run(&b, f, &request);
    usleep(100000);
    atomic_store(&f->projections.items[1].next, 80);
    pthread_join(b.thread, NULL);
    assert_text(&b.r, "{\"n\":3}\n");
    rf_buf_reset(&token);
    token_of(1000, &token);
    request.after = rf_buf_str(&token);
    background_run(&b, f, &request);
    usleep(100000);
    rf_query_cancel(&b.handle);
    pthread_join(b.thread, NULL);
    assert_failed(&b.r, RF_ECANCELED, NULL);
    f->projections.items[1].halted = true;
    atomic_store(&f->projections.items[0].next, 1000);
    run(f, &request, NULL, &r);
    f->projections.items[1].halted = false;
    assert_failed(&r, RF_ECANCELED, "halted");
    request.after = RF_STR("no-token!");
    run(f, &request, NULL, &r);
    assert_failed(&r, RF_EINVAL, "after");
    rf_buf_clear(&token);
}

static uint64_t position_of(fixture *f, const char *sql)
{
    rf_position position = {0};
    yyjson_doc *doc;
    rf_err err = {0};
    uint64_t next;
    result r;

    run_sql(f, sql, RF_FMT_JSON, &r);
    doc = document(&r);
    assert_int_equal(rf_position_decode(rf_str_from(yyjson_get_str(
                                            yyjson_obj_get(yyjson_doc_get_root(doc), "position"))),
                                        &position, &err),
                     RF_OK);
    next = rf_position_get(&position, RF_STR("default"), 0);
    rf_position_clear(&position);
    yyjson_doc_free(doc);
    return next;
}

static void position__of_an_answer__is_the_least_of_its_inputs(void **state)
{
    fixture *f = *state;
    uint64_t end = rf_log_view_end(f->gate.log.view, RF_STR("default"), 0);

    assert_true(end > 3);
    atomic_store(&f->projections.items[0].next, 2);
    atomic_store(&f->projections.items[1].next, 3);
    assert_int_equal(position_of(f, "SELECT 1"), end);
    assert_int_equal(position_of(f, "SELECT count(*) FROM events"), end);
    assert_int_equal(position_of(f, "SELECT * FROM delays"), 2);
    assert_int_equal(position_of(f, "SELECT * FROM routes"), 3);
    assert_int_equal(position_of(f, "SELECT * FROM Routes, DELAYS"), 2);
    assert_int_equal(position_of(f, "SELECT count(*) FROM routes, events"), 3);
    atomic_store(&f->projections.items[0].next, end + 100);
    assert_int_equal(position_of(f, "SELECT * FROM delays"), end);
}

/* Not as fast as it can: each query reads all there is. */
static void *writer_main(void *arg)
{
    fixture *f = arg;

    for (int i = 0; i < 5000 && !atomic_load(&f->stop_writing); i++) {
        gate_put(&f->gate, "busy.writing", i % 2 == 0 ? "A" : "B", 1, "{}");
        usleep(1000);
    }
    return NULL;
}

/* However often a query names the log, it sees one prefix of it: the one its position names. */
static void query__while_events_come__sees_one_prefix(void **state)
{
    fixture *f = *state;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, writer_main, f), 0);
    for (int i = 0; i < 30; i++) {
        static const char sql[] = "SELECT (SELECT count(*) FROM \"busy.writing\") - (SELECT "
                                  "count(*) FROM \"busy.writing\"),"
                                  " (SELECT count(*) FROM events), (SELECT max(\"offset\") + 1 "
                                  "FROM events WHERE partition = 0)";
        yyjson_doc *doc;
        yyjson_val *root, *row;
        rf_position position = {0};
        rf_err err = {0};
        result r;

        run_sql(f, sql, RF_FMT_JSON, &r);
        doc = document(&r);
        root = yyjson_doc_get_root(doc);
        row = yyjson_arr_get(yyjson_obj_get(root, "rows"), 0);
        assert_int_equal(
            rf_position_decode(rf_str_from(yyjson_get_str(yyjson_obj_get(root, "position"))),
                               &position, &err),
            RF_OK);
        assert_int_equal(yyjson_get_int(yyjson_arr_get(row, 0)), 0);
        assert_int_equal(yyjson_get_uint(yyjson_arr_get(row, 1)),
                         rf_position_get(&position, RF_STR("default"), 0) +
                             rf_position_get(&position, RF_STR("default"), 1));
        assert_int_equal(yyjson_get_uint(yyjson_arr_get(row, 2)),
                         rf_position_get(&position, RF_STR("default"), 0));
        rf_position_clear(&position);
        yyjson_doc_free(doc);
    }
    atomic_store(&f->stop_writing, true);
    pthread_join(thread, NULL);
}

static void stats__after_queries__count_them(void **state)
{
    fixture *f = *state;
    rf_query_stats before, after;
    result r;

    rf_queries_get_stats(f->queries, &before);
    run_sql(f, "SELECT 1", RF_FMT_JSON, &r);
    rf_buf_clear(&r.out);
    run_sql(f, "SELECT nosuch", RF_FMT_JSON, &r);
    rf_buf_clear(&r.out);
    run_sql(f, "DROP TABLE secrets", RF_FMT_JSON, &r);
    rf_buf_clear(&r.out);
    rf_queries_get_stats(f->queries, &after);
    assert_int_equal(after.queries - before.queries, 3);
    assert_int_equal(after.errors - before.errors, 2);
    assert_int_equal(after.refused - before.refused, 1);
    assert_int_equal(after.running, 0);
    assert_true(rf_hist_quantile(after.latency_us, 0.5) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json__of_rows__has_columns_rows_and_position),
        cmocka_unit_test(ndjson__of_equal_names__makes_them_different),
        cmocka_unit_test(csv__of_awkward_values__follows_rfc_4180),
        cmocka_unit_test(arrow__of_rows__is_a_stream_within_the_caps),
        cmocka_unit_test(format__by_name__is_known),
        cmocka_unit_test(rows__over_the_cap__are_refused_with_a_way_out),
        cmocka_unit_test(bytes__over_the_cap__are_refused),
        cmocka_unit_test(params__that_do_not_fit__are_refused),
        cmocka_unit_test(sql_error__at_any_step__has_status_and_place),
        cmocka_unit_test(type__not_seen_yet__gives_a_warning),
        cmocka_unit_test(query__at_its_deadline__is_stopped_and_the_session_lives),
        cmocka_unit_test(query__canceled_while_it_runs__stops),
        cmocka_unit_test(query__canceled_before_it_begins__does_not_run),
        cmocka_unit_test(session__all_taken__waits_its_turn_or_gives_up),
        cmocka_unit_test(query__that_does_not_stop__is_reported_once),
        cmocka_unit_test(cancel__after_the_end__harms_nobody),
        cmocka_unit_test(after__of_events__waits_for_the_log),
        cmocka_unit_test(after__of_projections__waits_for_them),
        cmocka_unit_test(position__of_an_answer__is_the_least_of_its_inputs),
        cmocka_unit_test(query__while_events_come__sees_one_prefix),
        cmocka_unit_test(stats__after_queries__count_them),
    };

    return cmocka_run_group_tests_name("query", tests, setup, teardown);
}
