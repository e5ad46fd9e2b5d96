/* Rows of files as events, and SQL over files: with the real engine. */
#include "cli/file_int.h"
#include "cli/import_int.h"

#include "support.h"

#define CSV                                                                                        \
    "when;who;n;note\n"                                                                            \
    "2001-01-01 00:01:00;ann;1;\"say \"\"hi\"\"\"\n"                                               \
    "2001-01-02 12:00:00.5;bob;2;\n"                                                               \
    "2001-01-03 00:00:00;\"z\303\274\";3;x\n"
#define MAP                                                                                        \
    "type: t.x\nsource: /s\nid: \"= 'k' || row\"\nsubject: who\ntime: when\n"                      \
    "data: {n: n, twice: \"= n * 2\", note: note}\n"

typedef struct opened {
    rfi_import_map map;
    rfi_import_rows *rows;
    rf_buf out;
} opened;

static void open_rows(opened *o, void **state, const char *name, const char *text, const char *map,
                      uint64_t skip, uint64_t limit)
{
    rf_err err = {0};
    char file[PATH_MAX];

    snprintf(file, sizeof file, "%s", temp_file(state, name, text));
    if (rfi_import_map_read(temp_file(state, "m.yaml", map), &o->map, &err) != RF_OK)
        fail_msg("%s", err.text);
    if (rfi_import_rows_open(file, &o->map, skip, limit, &o->rows, &err) != RF_OK)
        fail_msg("%s", err.text);
    rf_buf_init(&o->out, 1u << 20);
}

static void close_rows(opened *o)
{
    rfi_import_rows_close(&o->rows);
    rfi_import_map_clear(&o->map);
    rf_buf_clear(&o->out);
}

/* All rows, a line each. */
static const char *read_all(opened *o)
{
    rf_err err = {0};

    rf_buf_reset(&o->out);
    while (rfi_import_rows_next(o->rows, &o->out, &err))
        continue;
    if (err.status != RF_OK)
        fail_msg("%s", err.text);
    return o->out.n == 0 ? "" : rf_buf_cstr(&o->out);
}

static void rows__csv__become_cloudevents(void **state)
{
    opened o;

    open_rows(&o, state, "a.csv", CSV, MAP "options: \"delim = ';'\"\n", 0, UINT64_MAX);
    assert_string_equal(
        read_all(&o),
        "{\"specversion\":\"1.0\",\"type\":\"t.x\",\"source\":\"/s\",\"id\":\"k1\",\"subject\":"
        "\"ann\",\"time\":\"2001-01-01T00:01:00Z\",\"data\":{\"n\":1,\"twice\":2,\"note\":"
        "\"say \\\"hi\\\"\"}}\n"
        "{\"specversion\":\"1.0\",\"type\":\"t.x\",\"source\":\"/s\",\"id\":\"k2\",\"subject\":"
        "\"bob\",\"time\":\"2001-01-02T12:00:00.5Z\",\"data\":{\"n\":2,\"twice\":4,\"note\":null}}"
        "\n"
        "{\"specversion\":\"1.0\",\"type\":\"t.x\",\"source\":\"/s\",\"id\":\"k3\",\"subject\":"
        "\"z\303\274\",\"time\":\"2001-01-03T00:00:00Z\",\"data\":{\"n\":3,\"twice\":6,\"note\":"
        "\"x\"}}\n");
    close_rows(&o);
}

/* A resumed import must give the rows their first ids again. */
static void rows__skip_and_limit__keep_the_row_numbers(void **state)
{
    opened o;

    open_rows(&o, state, "a.csv", CSV, MAP "options: \"delim = ';'\"\n", 1, 1);
    const char *text = read_all(&o);

    assert_has(text, "\"id\":\"k2\"");
    assert_null(strstr(text, "k1"));
    assert_null(strstr(text, "k3"));
    close_rows(&o);
    open_rows(&o, state, "a.csv", CSV, MAP "options: \"delim = ';'\"\n", 3, UINT64_MAX);
    assert_string_equal(read_all(&o), "");
    close_rows(&o);
}

static void rows__where__leaves_out_but_numbers_stay_those_of_the_file(void **state)
{
    opened o;

    open_rows(&o, state, "a.csv", CSV, MAP "options: \"delim = ';'\"\nwhere: n > 2\n", 0,
              UINT64_MAX);
    const char *text = read_all(&o);

    assert_has(text, "\"id\":\"k3\"");
    assert_null(strstr(text, "k1"));
    close_rows(&o);
}

static void rows__json_without_data_in_the_map__take_all_columns(void **state)
{
    opened o;

    open_rows(&o, state, "a.ndjson",
              "{\"k\":\"a\",\"n\":1.5,\"deep\":{\"x\":[1,2]}}\n{\"k\":\"b\"}\n",
              "type: \"= 'is.' || k\"\nsource: /s\nid: k\n", 0, UINT64_MAX);
    const char *text = read_all(&o);

    assert_has(text, "\"type\":\"is.a\"");
    assert_has(text, "\"data\":{\"k\":\"a\",\"n\":1.5,\"deep\":{\"x\":[1,2]}}}");
    assert_has(text, "\"data\":{\"k\":\"b\",\"n\":null,\"deep\":null}}");
    close_rows(&o);
    open_rows(&o, state, "b.json", "[{\"k\":1},{\"k\":2}]", "type: t\nsource: /s\nid: k\n", 0,
              UINT64_MAX);
    text = read_all(&o);
    assert_has(text, "\"id\":\"1\"");
    assert_has(text, "\"id\":\"2\"");
    close_rows(&o);
}

/* A Parquet file made by the engine itself. */
static void make_parquet(const char *path, const char *select)
{
    rf_engine_options options = {.path = NULL, .threads = 1, .external_access = true};
    rf_engine *engine = NULL;
    rf_conn *conn = NULL;
    rf_err err = {0};

    if (rf_engine_open(&options, &engine, &err) != RF_OK ||
        rf_conn_open(engine, &conn, &err) != RF_OK ||
        rf_conn_execf(conn, &err, "COPY (%s) TO '%s' (FORMAT parquet)", select, path) != RF_OK)
        fail_msg("%s", err.text);
    rf_conn_close(&conn);
    rf_engine_close(&engine);
}

static void rows__parquet__know_their_number_and_keep_their_order(void **state)
{
    opened o = {0};
    rf_err err = {0};
    char path[PATH_MAX];
    unsigned long lines = 0, last = 0;

    snprintf(path, sizeof path, "%s/p.parquet", (char *)*state);
    make_parquet(path, "SELECT i AS n FROM range(200000) t(i)");
    assert_int_equal(
        rfi_import_map_read(
            temp_file(state, "m.yaml", "type: t\nsource: /s\nid: \"= row\"\ndata: [n]\n"), &o.map,
            &err),
        RF_OK);
    if (rfi_import_rows_open(path, &o.map, 0, UINT64_MAX, &o.rows, &err) != RF_OK)
        fail_msg("%s", err.text);
    assert_int_equal(rfi_import_rows_total(o.rows), 200000);
    rf_buf_init(&o.out, 1u << 16);
    for (; rfi_import_rows_next(o.rows, &o.out, &err); lines++) {
        unsigned long id = 0, n = 0;

        if (sscanf(rf_buf_cstr(&o.out),
                   "{\"specversion\":\"1.0\",\"type\":\"t\",\"source\":\"/s\",\"id\":\"%lu\","
                   "\"data\":{\"n\":%lu}}",
                   &id, &n) != 2 ||
            id != n + 1 || id != last + 1)
            fail_msg("after %lu: %s", last, rf_buf_cstr(&o.out));
        last = id;
        rf_buf_reset(&o.out);
    }
    assert_int_equal(err.status, RF_OK);
    assert_int_equal(lines, 200000);
    close_rows(&o);
}

static void rows__mistakes__are_named(void **state)
{
    static const struct {
        const char *name, *map, *says;
    } cases[] = {
        {"a.csv", "type: t\nsource: /s\nid: nosuch\n", "nosuch"},
        {"a.csv", "type: t\nsource: /s\nid: \"= (who\"\n", "syntax error"},
        {"a.csv", "type: t\nsource: /s\nid: who\noptions: \"nosuch = 1\"\n", "nosuch"},
        {"a.xlsx", "type: t\nsource: /s\nid: who\n", "unknown kind of file"},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rfi_import_map m;
        rfi_import_rows *rows = NULL;
        rf_err err = {0};
        char file[PATH_MAX];

        snprintf(file, sizeof file, "%s", temp_file(state, cases[i].name, CSV));
        assert_int_equal(rfi_import_map_read(temp_file(state, "m.yaml", cases[i].map), &m, &err),
                         RF_OK);
        if (rfi_import_rows_open(file, &m, 0, UINT64_MAX, &rows, &err) == RF_OK)
            fail_msg("accepted: %s", cases[i].map);
        assert_has(err.text, cases[i].says);
        assert_null(rows);
        rfi_import_map_clear(&m);
    }
}

static void file_is__packed_names_count_too(void **state)
{
    (void)state;
    assert_true(rfi_file_is("x/a.csv", ".csv"));
    assert_true(rfi_file_is("a.csv.gz", ".csv"));
    assert_true(rfi_file_is("a.ndjson.zst", ".ndjson"));
    assert_false(rfi_file_is("a.csvx", ".csv"));
    assert_false(rfi_file_is("csv", ".csv"));
}

static void file_query__formats__agree(void **state)
{
    static const struct {
        const char *format, *want;
    } cases[] = {
        {"csv", "who,n\r\nann,1\r\n\"b,\"\"c\",2\r\n"},
        {"ndjson", "{\"who\":\"ann\",\"n\":1}\n{\"who\":\"b,\\\"c\",\"n\":2}\n"},
        {"json",
         "{\"columns\":[{\"name\":\"who\",\"type\":\"VARCHAR\"},{\"name\":\"n\",\"type\":"
         "\"BIGINT\"}],\"rows\":[[\"ann\",1],[\"b,\\\"c\",2]],\"rowCount\":2,\"elapsedMs\":"},
    };
    const char *file = temp_file(state, "it's.csv", "who,n\nann,1\n\"b,\"\"c\",2\n");

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_buf out;
        rf_err err = {0};

        rf_buf_init(&out, 1u << 20);
        if (rfi_file_query(file, "SELECT who, n FROM file ORDER BY n", cases[i].format, &out,
                           &err) != RF_OK)
            fail_msg("%s", err.text);
        assert_int_equal(strncmp(rf_buf_cstr(&out), cases[i].want, strlen(cases[i].want)), 0);
        rf_buf_clear(&out);
    }
}

static void file_query__anything_but_select__is_refused(void **state)
{
    const char *file = temp_file(state, "a.csv", "n\n1\n");
    static const char *const wrong[] = {"CREATE TABLE x(a INT)", "SELECT 1; SELECT 2", "SELEC 1",
                                        "COPY (SELECT 1) TO '/tmp/refold-never'", ""};

    for (size_t i = 0; i < RF_ARRAY_LEN(wrong); i++) {
        rf_buf out;
        rf_err err = {0};

        rf_buf_init(&out, 1u << 20);
        if (rfi_file_query(file, wrong[i], "json", &out, &err) == RF_OK)
            fail_msg("accepted: %s", wrong[i]);
        rf_buf_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, temp_setup, temp_teardown)
        T(rows__csv__become_cloudevents),
        T(rows__skip_and_limit__keep_the_row_numbers),
        T(rows__where__leaves_out_but_numbers_stay_those_of_the_file),
        T(rows__json_without_data_in_the_map__take_all_columns),
        T(rows__parquet__know_their_number_and_keep_their_order),
        T(rows__mistakes__are_named),
        T(file_is__packed_names_count_too),
        T(file_query__formats__agree),
        T(file_query__anything_but_select__is_refused),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
