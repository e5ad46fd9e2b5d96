/* Connections, statements, rows, rendering, errors and trees, against the real engine. */
#include "engine/engine.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct fixture {
    rf_engine *engine;
    rf_conn *conn;
} fixture;

static int setup(void **state)
{
    fixture *f = rf_xcalloc(1, sizeof(*f));
    rf_engine_options options = {.threads = 2, .memory_bytes = 512u << 20};
    rf_err err = {0};

    if (rf_engine_open(&options, &f->engine, &err) != RF_OK ||
        rf_conn_open(f->engine, &f->conn, &err) != RF_OK)
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    rf_conn_close(&f->conn);
    rf_engine_close(&f->engine);
    free(f);
    return 0;
}

/* The first column of the first row, rendered. */
static void render(rf_conn *conn, const char *sql, bool json, char *out, size_t out_bytes)
{
    rf_rows *rows = NULL;
    rf_err err = {0};
    rf_buf text;

    rf_buf_init(&text, 1u << 20);
    if (rf_conn_query(conn, sql, &rows, &err) != RF_OK || !rf_rows_next(rows, &err))
        fail_msg("%s: %s", sql, err.text);
    if (json)
        rf_rows_json(rows, 0, &text);
    else
        rf_rows_text(rows, 0, &text);
    snprintf(out, out_bytes, "%.*s", (int)text.n, text.n > 0 ? text.p : "");
    rf_rows_free(&rows);
    rf_buf_clear(&text);
}

static void json__of_each_type__is_its_value(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *expr, *json, *text;
    } cases[] = {
        {"NULL", "null", ""},
        {"true", "true", "true"},
        {"(-128)::TINYINT", "-128", "-128"},
        {"9223372036854775807", "9223372036854775807", "9223372036854775807"},
        {"18446744073709551615::UBIGINT", "18446744073709551615", "18446744073709551615"},
        {"170141183460469231731687303715884105727::HUGEINT",
         "170141183460469231731687303715884105727", "170141183460469231731687303715884105727"},
        {"(-170141183460469231731687303715884105728)::HUGEINT",
         "-170141183460469231731687303715884105728", "-170141183460469231731687303715884105728"},
        {"1.50::DECIMAL(18,2)", "1.50", "1.50"},
        {"(-0.05)::DECIMAL(4,2)", "-0.05", "-0.05"},
        {"0::DECIMAL(4,2)", "0.00", "0.00"},
        {"123456789012345678901234567890.12::DECIMAL(38,2)", "123456789012345678901234567890.12",
         "123456789012345678901234567890.12"},
        {"0.1::DOUBLE", "0.1", "0.1"},
        {"0.1::FLOAT", "0.1", "0.1"},
        {"3::DOUBLE", "3.0", "3.0"},
        {"1e300::DOUBLE", "1e+300", "1e+300"},
        {"0.1::DOUBLE + 0.2::DOUBLE", "0.30000000000000004", "0.30000000000000004"},
        {"'nan'::DOUBLE", "\"NaN\"", "NaN"},
        {"'-inf'::DOUBLE", "\"-Infinity\"", "-Infinity"},
        {"'q\"uo' || chr(10)", "\"q\\\"uo\\n\"", "q\"uo\n"},
        {"'{\"k\": [1]}'::JSON", "{\"k\": [1]}", "{\"k\": [1]}"},
        {"DATE '2024-02-29'", "\"2024-02-29\"", "2024-02-29"},
        {"DATE '0001-01-01'", "\"0001-01-01\"", "0001-01-01"},
        {"TIME '01:02:03.5'", "\"01:02:03.5\"", "01:02:03.5"},
        {"TIMESTAMP '2024-01-02 03:04:05.678901'", "\"2024-01-02T03:04:05.678901Z\"",
         "2024-01-02 03:04:05.678901"},
        {"TIMESTAMP '1969-12-31 23:59:59.5'", "\"1969-12-31T23:59:59.5Z\"",
         "1969-12-31 23:59:59.5"},
        {"TIMESTAMPTZ '2024-01-02 03:04:05+02'", "\"2024-01-02T01:04:05Z\"",
         "2024-01-02T01:04:05Z"},
        {"INTERVAL '1 month 2 days 3 hours'", "\"1 months 2 days 03:00:00\"",
         "1 months 2 days 03:00:00"},
        {"'00000000-0000-4000-8000-0123456789ab'::UUID", "\"00000000-0000-4000-8000-0123456789ab\"",
         "00000000-0000-4000-8000-0123456789ab"},
        {"'\\x00ab'::BLOB", "\"\\\\x00ab\"", "\\x00ab"},
        {"'101'::BIT", "\"101\"", "101"},
        {"'b'::ENUM('a','b')", "\"b\"", "b"},
        {"[1,NULL,3]", "[1,null,3]", "[1,null,3]"},
        {"[1,2]::INT[2]", "[1,2]", "[1,2]"},
        {"{'a':1,'b':{'c':'x'}}", "{\"a\":1,\"b\":{\"c\":\"x\"}}", "{\"a\":1,\"b\":{\"c\":\"x\"}}"},
        {"MAP{'k':1}", "{\"k\":1}", "{\"k\":1}"},
        {"MAP{1:[2]}", "{\"1\":[2]}", "{\"1\":[2]}"},
        {"union_value(k := 1)", "1", "1"},
        {"[]", "[]", "[]"},
    };
    char sql[256], got[256];

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        snprintf(sql, sizeof(sql), "SELECT %s", cases[i].expr);
        render(f->conn, sql, true, got, sizeof(got));
        if (strcmp(got, cases[i].json) != 0)
            fail_msg("%s: JSON %s, not %s", cases[i].expr, got, cases[i].json);
        render(f->conn, sql, false, got, sizeof(got));
        if (strcmp(got, cases[i].text) != 0)
            fail_msg("%s: text %s, not %s", cases[i].expr, got, cases[i].text);
    }
}

static void column__of_each_type__has_its_sql_name(void **state)
{
    fixture *f = *state;
    static const char *const types[] = {
        "BIGINT",
        "DECIMAL(18,2)",
        "VARCHAR",
        "JSON",
        "TIMESTAMP",
        "TIMESTAMP WITH TIME ZONE",
        "INTEGER[]",
        "STRUCT(\"a b\" INTEGER, \"c\" VARCHAR)",
        "MAP(VARCHAR, DOUBLE)",
        "ENUM('a', 'b''c')",
        "INTEGER[3]",
        "BLOB",
        "UUID",
    };
    char sql[256];

    for (size_t i = 0; i < RF_ARRAY_LEN(types); i++) {
        rf_err err = {0};
        rf_stmt *stmt = NULL;
        rf_rows *rows = NULL;
        rf_buf name;

        snprintf(sql, sizeof(sql), "SELECT NULL::%s AS \"the name\"", types[i]);
        assert_int_equal(rf_conn_prepare(f->conn, rf_str_from(sql), &stmt, NULL, &err), RF_OK);
        assert_int_equal(rf_stmt_column_count(stmt), 1);
        assert_string_equal(rf_stmt_column_type(stmt, 0), types[i]);
        rf_buf_init(&name, 100);
        rf_stmt_column_name(stmt, 0, &name);
        assert_string_equal(rf_buf_cstr(&name), "the name");
        rf_buf_clear(&name);
        assert_int_equal(rf_stmt_run(stmt, false, &rows, &err), RF_OK);
        assert_string_equal(rf_rows_column_type(rows, 0), types[i]);
        assert_string_equal(rf_rows_column_name(rows, 0), "the name");
        rf_rows_free(&rows);
        rf_stmt_free(&stmt);
    }
}

static void prepare__of_wrong_sql__names_the_place(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *sql, *text;
        uint32_t line, column;
    } cases[] = {
        {"SELEC 1", "Parser Error", 1, 1},
        {"SELECT\n  foo\nFROM range(3) t(i)", "Binder Error", 2, 3},
        {"SELECT * FROM nosuch", "Catalog Error", 1, 15},
        {"SELECT 1; SELECT 2", "2 statements", 0, 0},
        {"", "no statement", 0, 0},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_err err = {0};
        rf_sql_where where = {0};
        rf_stmt *stmt = NULL;
        rf_status st = rf_conn_prepare(f->conn, rf_str_from(cases[i].sql), &stmt, &where, &err);

        assert_int_equal(st, RF_EINVAL);
        assert_null(stmt);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_null(strchr(err.text, '\n'));
        if (where.line != cases[i].line || where.column != cases[i].column)
            fail_msg("%s: %u:%u", cases[i].sql, where.line, where.column);
    }
}

static void run__with_parameters__binds_them(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;

    assert_int_equal(rf_conn_prepare(f->conn,
                                     RF_STR("SELECT $1::BIGINT + 1, $2 || 'x', $3, $4, $5"), &stmt,
                                     NULL, &err),
                     RF_OK);
    assert_int_equal(rf_stmt_param_count(stmt), 5);
    assert_int_equal(rf_stmt_get_kind(stmt), RF_STMT_SELECT);
    for (int round = 0; round < 2; round++) {
        rf_stmt_bind_i64(stmt, 1, 41 + round);
        rf_stmt_bind_str(stmt, 2, RF_STR("b"));
        rf_stmt_bind_f64(stmt, 3, 0.5);
        rf_stmt_bind_bool(stmt, 4, true);
        rf_stmt_bind_null(stmt, 5);
        assert_int_equal(rf_stmt_run(stmt, round == 1, &rows, &err), RF_OK);
        assert_true(rf_rows_next(rows, &err));
        assert_int_equal(rf_rows_i64(rows, 0), 42 + round);
        assert_true(rf_str_eq(rf_rows_str(rows, 1), RF_STR("bx")));
        assert_true(rf_rows_f64(rows, 2) == 0.5);
        assert_int_equal(rf_rows_i64(rows, 3), 1);
        assert_true(rf_rows_is_null(rows, 4));
        assert_false(rf_rows_next(rows, &err));
        assert_int_equal(err.status, RF_OK);
        rf_rows_free(&rows);
    }
    rf_stmt_free(&stmt);
}

static void stream__left_early__frees_the_connection(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;
    int64_t sum = 0;

    assert_int_equal(
        rf_conn_prepare(f->conn, RF_STR("SELECT i FROM range(5000000) t(i)"), &stmt, NULL, &err),
        RF_OK);
    assert_int_equal(rf_stmt_run(stmt, true, &rows, &err), RF_OK);
    for (int i = 0; i < 5000; i++) {
        assert_true(rf_rows_next(rows, &err));
        sum += rf_rows_i64(rows, 0);
    }
    assert_int_equal(sum, 4999 * 5000 / 2);
    rf_rows_free(&rows);
    rf_stmt_free(&stmt);
    assert_int_equal(rf_conn_exec(f->conn, "BEGIN", &err), RF_OK);
    assert_int_equal(rf_conn_exec(f->conn, "ROLLBACK", &err), RF_OK);
}

static void stream__that_fails_in_the_middle__says_so(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;
    rf_status st;

    assert_int_equal(
        rf_conn_prepare(f->conn,
                        RF_STR("SELECT CASE WHEN i > 900000 THEN error('late')::BIGINT ELSE i END "
                               "FROM range(1000000) t(i)"),
                        &stmt, NULL, &err),
        RF_OK);
    st = rf_stmt_run(stmt, true, &rows, &err);
    if (st == RF_OK) {
        while (rf_rows_next(rows, &err))
            ;
    }
    assert_int_equal(err.status, RF_EINVAL);
    assert_non_null(strstr(err.text, "late"));
    rf_rows_free(&rows);
    rf_stmt_free(&stmt);
}

static void parse__and_text__go_round(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    rf_buf tree, text;

    rf_buf_init(&tree, 1u << 20);
    rf_buf_init(&text, 1u << 20);
    assert_int_equal(rf_sql_parse(f->conn, RF_STR("SELECT a + 1 AS b FROM \"x.y\" WHERE c > 'é'"),
                                  &tree, NULL, &err),
                     RF_OK);
    assert_int_equal(rf_sql_text(f->conn, rf_buf_str(&tree), &text, &err), RF_OK);
    assert_non_null(strstr(rf_buf_cstr(&text), "\"x.y\""));
    rf_buf_clear(&tree);
    rf_buf_clear(&text);
}

static void parse__of_what_is_no_select__is_refused_with_the_place(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *sql, *text;
        uint32_t line, column;
    } cases[] = {
        {"SELECT 'é'\n FROM a b c", "syntax error", 2, 11},
        {"DROP TABLE x", "only SELECT", 0, 0},
        {"SELECT 1; SELECT 2", "several", 0, 0},
        {"", "no statement", 0, 0},
        {"-- nothing", "no statement", 0, 0},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_err err = {0};
        rf_sql_where where = {0};
        rf_buf tree;

        rf_buf_init(&tree, 1u << 20);
        assert_int_equal(rf_sql_parse(f->conn, rf_str_from(cases[i].sql), &tree, &where, &err),
                         RF_EINVAL);
        assert_non_null(strstr(err.text, cases[i].text));
        if (where.line != cases[i].line || where.column != cases[i].column)
            fail_msg("%s: %u:%u", cases[i].sql, where.line, where.column);
        assert_int_equal(tree.n, 0);
        rf_buf_clear(&tree);
    }
}

static void function__of_a_name__is_known(void **state)
{
    fixture *f = *state;
    rf_sql_function sum = rf_engine_function(f->engine, RF_STR("Sum"));
    rf_sql_function now = rf_engine_function(f->engine, RF_STR("now"));
    rf_sql_function plus = rf_engine_function(f->engine, RF_STR("+"));
    rf_sql_function read = rf_engine_function(f->engine, RF_STR("read_text"));
    rf_sql_function trunc = rf_engine_function(f->engine, RF_STR("date_trunc"));

    assert_true(sum.exists && sum.aggregate && !sum.scalar && sum.pure);
    assert_true(now.exists && now.scalar && !now.pure);
    assert_true(plus.exists && plus.scalar && plus.pure);
    assert_true(read.exists && read.table && !read.pure);
    assert_true(trunc.scalar && trunc.pure);
    assert_false(rf_engine_function(f->engine, RF_STR("nosuch")).exists);
    assert_false(rf_engine_function(f->engine, RF_STR("random")).pure);
    assert_false(rf_engine_function(f->engine, RF_STR("age")).pure);
    assert_false(rf_engine_function(f->engine, RF_STR("current_setting")).pure);
    assert_false(rf_engine_function(f->engine, RF_STR("pg_sleep")).pure);
    assert_true(rf_engine_function(f->engine, RF_STR("split_part")).pure);
}

static void files__and_settings__are_out_of_reach(void **state)
{
    fixture *f = *state;
    static const char *const refused[] = {
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/refold-must-not-be'",
        "ATTACH '/tmp/refold-must-not-be.db' AS x",
        "SET threads = 1",
        "SET memory_limit = '9GB'",
        "SET TimeZone = 'Europe/Oslo'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(refused); i++) {
        rf_err err = {0};

        if (rf_conn_exec(f->conn, refused[i], &err) == RF_OK)
            fail_msg("went through: %s", refused[i]);
    }
}

static void time__of_a_session__is_utc(void **state)
{
    fixture *f = *state;
    char got[64];

    render(f->conn, "SELECT (TIMESTAMPTZ '2024-01-02 03:04:05+02')::VARCHAR", false, got,
           sizeof(got));
    assert_string_equal(got, "2024-01-02 01:04:05+00");
}

static void open__of_a_database_that_is_open__is_busy(void **state)
{
    char dir[] = "/tmp/rf-engine-XXXXXX", path[64], command[96];
    rf_engine *first = NULL, *second = NULL;
    rf_engine_options options = {.path = path, .threads = 1, .memory_bytes = 64u << 20};
    rf_err err = {0};
    int ends[2];
    pid_t child;
    char byte = 0;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.duckdb", dir);
    assert_int_equal(pipe(ends), 0);
    child = fork(); /* locks are between processes */
    if (child == 0) {
        if (rf_engine_open(&options, &first, &err) != RF_OK)
            _exit(1);
        byte = 1;
        if (write(ends[1], &byte, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(rf_engine_open(&options, &second, &err), RF_EBUSY);
    assert_null(second);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(rf_engine_open(&options, &second, &err), RF_OK);
    rf_engine_close(&second);
    close(ends[0]);
    close(ends[1]);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void open__without_the_library__says_what_was_tried(void **state)
{
    pid_t child = fork(); /* the library is loaded once a process */
    int status = 0;

    (void)state;
    if (child == 0) {
        rf_engine *engine = NULL;
        rf_engine_options options = {.library_path = "/nonexistent/libduckdb.so"};
        rf_err err = {0};

        unsetenv("REFOLD_DUCKDB");
        if (rf_engine_open(&options, &engine, &err) != RF_EUNSUPPORTED)
            _exit(1);
        _exit(strstr(err.text, "/nonexistent/libduckdb.so") != NULL ? 0 : 2);
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest first[] = {
        cmocka_unit_test(open__without_the_library__says_what_was_tried),
        cmocka_unit_test(open__of_a_database_that_is_open__is_busy),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json__of_each_type__is_its_value),
        cmocka_unit_test(column__of_each_type__has_its_sql_name),
        cmocka_unit_test(prepare__of_wrong_sql__names_the_place),
        cmocka_unit_test(run__with_parameters__binds_them),
        cmocka_unit_test(stream__left_early__frees_the_connection),
        cmocka_unit_test(stream__that_fails_in_the_middle__says_so),
        cmocka_unit_test(parse__and_text__go_round),
        cmocka_unit_test(parse__of_what_is_no_select__is_refused_with_the_place),
        cmocka_unit_test(function__of_a_name__is_known),
        cmocka_unit_test(files__and_settings__are_out_of_reach),
        cmocka_unit_test(time__of_a_session__is_utc),
    };
    int failed = cmocka_run_group_tests_name("opening", first, NULL, NULL);

    return failed + cmocka_run_group_tests(tests, setup, teardown);
}
