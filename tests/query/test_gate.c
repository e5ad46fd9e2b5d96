/*
 * The gate: what people may run, and what is refused before it runs. Files are readable by this
 * test's engine, so nothing but the gate keeps the canary file unread; inotify is the witness.
 */
#include "query/gate_fixture.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <unistd.h>

static int setup(void **state)
{
    gate_fixture *f = rf_xcalloc(1, sizeof(*f));

    gate_fixture_init(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    gate_fixture *f = *state;

    gate_fixture_clear(f);
    free(f);
    return 0;
}

/* ---- statements that must be refused --------------------------------------------------------- */

/* `@` is the canary's path. REFUSED: by the gate, as forbidden. WRONG: a plain error of the person
 * (RF_EINVAL), also before anything runs. */
enum { REFUSED = RF_EFORBIDDEN, WRONG = RF_EINVAL };

static const struct {
    int expected;
    const char *names; /* what the text must name, or NULL */
    const char *sql;
} hostile[] = {
#include "query/hostile.inc"
};

static char *with_path(const char *sql, const char *path)
{
    rf_buf text;
    char *copy;

    rf_buf_init(&text, 1u << 20);
    for (; *sql != '\0'; sql++) {
        if (*sql == '@')
            rf_buf_add_cstr(&text, path);
        else
            rf_buf_add_char(&text, *sql);
    }
    copy = rf_xstrndup(rf_buf_str(&text));
    rf_buf_clear(&text);
    return copy;
}

static size_t files_count(const char *dir)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* Says what is wrong, so that one run shows all of it. */
static bool hostile_try(gate_fixture *f, size_t i)
{
    char *sql = with_path(hostile[i].sql, f->canary);
    const char *wrong = NULL;
    rfi_plan plan;
    rf_err err = {0};
    rf_status st;

    rfi_plan_init(&plan);
    st = rfi_gate(f->engine, f->conn, &f->catalog, "query:0", rf_str_from(sql), &plan, &err);
    if (st != (rf_status)hostile[i].expected)
        wrong = "another status is due";
    else if (st == RF_EFORBIDDEN && plan.refused == NULL)
        wrong = "`refused` is not set";
    else if (hostile[i].names != NULL && strcasestr(err.text, hostile[i].names) == NULL)
        wrong = "the text does not name it";
    if (wrong != NULL)
        print_error("%s\n  %s: %s (%s)\n", sql, rf_status_name(st), err.text, wrong);
    rfi_plan_clear(&plan);
    free(sql);
    return wrong == NULL;
}

static void hostile_statement__any__is_refused_and_the_canary_unread(void **state)
{
    gate_fixture *f = *state;
    int watch = inotify_init1(IN_NONBLOCK);
    size_t files = files_count(f->log.dir), wrong = 0;
    char event[4096];

    assert_true(watch >= 0);
    assert_true(inotify_add_watch(watch, f->canary, IN_OPEN | IN_ACCESS | IN_MODIFY) >= 0);
    assert_true(RF_ARRAY_LEN(hostile) >= 200);
    for (size_t i = 0; i < RF_ARRAY_LEN(hostile); i++)
        wrong += !hostile_try(f, i);
    assert_int_equal(wrong, 0);
    if (read(watch, event, sizeof(event)) > 0)
        fail_msg("a statement opened the canary file");
    close(watch);
    assert_int_equal(files_count(f->log.dir), files);
}

/* The witness can speak: without the gate the same engine reads the file. */
static void canary__read_without_the_gate__is_noticed(void **state)
{
    gate_fixture *f = *state;
    int watch = inotify_init1(IN_NONBLOCK);
    char *sql = with_path("SELECT word FROM '@'", f->canary);
    char event[4096];
    rf_rows *rows = NULL;
    rf_err err = {0};

    assert_true(inotify_add_watch(watch, f->canary, IN_OPEN | IN_ACCESS | IN_MODIFY) >= 0);
    if (rf_conn_query(f->conn, sql, &rows, &err) != RF_OK)
        fail_msg("%s", err.text);
    assert_true(rf_rows_next(rows, &err));
    assert_true(rf_str_eq(rf_rows_str(rows, 0), RF_STR(CANARY)));
    rf_rows_free(&rows);
    assert_true(read(watch, event, sizeof(event)) > 0);
    close(watch);
    free(sql);
}

/* ---- statements that must run ---------------------------------------------------------------- */

static const struct {
    const char *sql, *params, *rows;
} good[] = {
#include "query/good.inc"
};

static void good_statement__any__gives_its_answer(void **state)
{
    gate_fixture *f = *state;
    size_t wrong = 0;

    assert_true(RF_ARRAY_LEN(good) >= 60);
    for (size_t i = 0; i < RF_ARRAY_LEN(good); i++) {
        rfi_plan plan;
        rf_buf rows;
        rf_err err = {0};
        rf_status st;

        rfi_plan_init(&plan);
        rf_buf_init(&rows, 1u << 20);
        st = gate_run(f, rf_str_from(good[i].sql), good[i].params != NULL ? good[i].params : "",
                      &plan, &rows, &err);
        if (st != RF_OK ||
            (good[i].rows != NULL && !rf_str_eq(rf_buf_str(&rows), rf_str_from(good[i].rows)))) {
            print_error("%s\n  %s: %s\n  rows %.*s\n  run as %.*s\n", good[i].sql,
                        rf_status_name(st), err.text, (int)rows.n, rows.p, (int)plan.sql.n,
                        plan.sql.p);
            wrong++;
        }
        rf_buf_clear(&rows);
        rfi_plan_clear(&plan);
    }
    assert_int_equal(wrong, 0);
}

/* ---- what a plan says ------------------------------------------------------------------------ */

static void plan__of_mixed_statement__names_what_it_uses(void **state)
{
    gate_fixture *f = *state;
    rfi_plan plan;
    rf_err err = {0};

    rfi_plan_init(&plan);
    assert_int_equal(
        rfi_gate(
            f->engine, f->conn, &f->catalog, "query:0",
            RF_STR("WITH routes AS (SELECT 1) SELECT * FROM Delays, routes, \"flight.landed\" x, "
                   "events, \"flight.landed\" y WHERE $2 = $1"),
            &plan, &err),
        RF_OK);
    assert_int_equal(plan.uses.projections.count, 1);
    assert_true(rf_str_eq(plan.uses.projections.items[0], RF_STR("Delays")));
    assert_int_equal(plan.uses.types.count, 2);
    assert_true(rfi_names_have(&plan.uses.types, RF_STR("flight.landed")));
    assert_true(rfi_names_have(&plan.uses.types, RF_STR("")));
    assert_int_equal(plan.uses.params, 2);
    rfi_plan_clear(&plan);
}

static void explain__of_select__shows_a_plan_and_runs_nothing(void **state)
{
    static const char *const texts[] = {
        "EXPLAIN SELECT * FROM delays",
        "explain SELECT count(*) FROM \"flight.landed\"",
        "/* why */ ExPlAiN -- slow?\n SELECT n FROM delays WHERE day = 1",
        "EXPLAIN/**/SELECT 1",
    };
    gate_fixture *f = *state;

    for (size_t i = 0; i < RF_ARRAY_LEN(texts); i++) {
        rfi_plan plan;
        rf_buf rows;
        rf_err err = {0};

        rfi_plan_init(&plan);
        rf_buf_init(&rows, 1u << 20);
        if (gate_run(f, rf_str_from(texts[i]), "", &plan, &rows, &err) != RF_OK)
            fail_msg("%s: %s", texts[i], err.text);
        assert_true(plan.text.explain);
        assert_non_null(rf_buf_cstr(&rows));
        assert_non_null(strstr(rows.p, "physical_plan"));
        rf_buf_clear(&rows);
        rfi_plan_clear(&plan);
    }
}

static void error__in_any_statement__has_its_place(void **state)
{
    static const struct {
        const char *sql;
        uint32_t line, column;
        bool gate; /* found by the gate, else when it is prepared */
    } cases[] = {
        {"SELECT 1 +", 1, 11, true},
        {"SELECT a b c", 1, 12, true},
        {"-- first\nSELECT 'ü', x y z", 2, 17, true},
        {"SELECT 1,\n  nosuch(2)", 2, 3, true},
        {"SELECT 1,\n  read_text('x')", 2, 3, true},
        {"SELECT *\nFROM dalays", 2, 6, true},
        {"SELECT *\nFROM flight.landed", 2, 6, true},
        {"SELECT day,\n  /* ü */ wrong FROM delays", 2, 11, false},
        {"SELECT origin\nFROM \"flight.landed\"", 1, 8, false},
        {"SELECT count(*) AS a_rather_long_name_that_fills_the_line, sum(data.delay) AS "
         "also_a_long "
         "one, data.nosuchfield FROM \"flight.landed\" GROUP BY 1",
         1, 91, true},
        {"SELECT count(*) AS a_rather_long_name_that_fills_the_line, sum(data.delay) AS also_long_"
         "one,\n\n   data.destination, data.nosuchfield FROM \"flight.landed\" WHERE data.delay > "
         "1",
         3, 22, false},
        {"EXPLAIN SELECT wrong FROM \"flight.landed\"", 1, 16, false},
    };
    gate_fixture *f = *state;

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rfi_plan plan;
        rf_sql_where where;
        rf_err err = {0};
        rf_status st;

        rfi_plan_init(&plan);
        st = rfi_gate(f->engine, f->conn, &f->catalog, "query:0", rf_str_from(cases[i].sql), &plan,
                      &err);
        if ((st != RF_OK) != cases[i].gate)
            fail_msg("%s\n  at the gate gave %s: %s", cases[i].sql, rf_status_name(st), err.text);
        where = cases[i].gate ? plan.where : rfi_place_find(f->conn, &plan);
        if (where.line != cases[i].line || where.column != cases[i].column)
            fail_msg("%s\n  place %u:%u, want %u:%u (%s)", cases[i].sql, where.line, where.column,
                     cases[i].line, cases[i].column, err.text);
        rfi_plan_clear(&plan);
    }
}

/* ---- texts that are slow to read ------------------------------------------------------------- */

static rf_status gate_of_repeated(gate_fixture *f, const char *before, const char *piece,
                                  size_t times, const char *after, rf_err *err)
{
    rf_buf sql;
    rfi_plan plan;
    rf_status st;

    rf_buf_init(&sql, 4u << 20);
    rf_buf_add_cstr(&sql, before);
    for (size_t i = 0; i < times; i++)
        rf_buf_add_cstr(&sql, piece);
    rf_buf_add_cstr(&sql, after);
    rfi_plan_init(&plan);
    st = rfi_gate(f->engine, f->conn, &f->catalog, "query:0", rf_buf_str(&sql), &plan, err);
    rfi_plan_clear(&plan);
    rf_buf_clear(&sql);
    return st;
}

/* Of the whole process, so that a busy machine does not count. */
static int64_t cpu_us(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Some of these took the engine's parser seconds to minutes, or a stack. */
static void long_text__of_any_kind__is_decided_soon(void **state)
{
    static const struct {
        const char *before, *piece, *after;
        size_t times;
        int expected; /* 0: whatever, but soon */
    } cases[] = {
        {"", "/**/", "SELECT 1", 60000, -1},
        {"SELECT 1 ", "/*", "", 120000, RF_EINVAL},
        {"SELECT 1 ", "*/", "", 120000, RF_EINVAL},
        {"SELECT 1 ", "+", "1", 240000, RF_EINVAL},
        {"SELECT 1 ", "+ ", "1", 120000, RF_ETOOBIG},
        {"SELECT true", " AND true", "", 26000, RF_ETOOBIG},
        {"SELECT true", " AND true", "", 16000, 0},
        {"SELECT ", "(", "1", 30000, RF_EINVAL},
        {"SELECT ", "[", "1", 30000, RF_EINVAL},
        {"SELECT * FROM ", "(SELECT * FROM ", "delays", 5000, RF_EINVAL},
        {"SELECT 1", " UNION SELECT 1", "", 10000, 0},
        {"SELECT 1 IN (1", ",1", ")", 16000, -1},
        {"SELECT '", "''", "'", 100000, -1},
        {"SELECT E'", "\\'", "'", 100000, -1},
        {"", "\n", "SELECT 1", 200000, -1},
        {"SELECT 1", ";", "", 30000, -1},
        {"SELECT ", "-", "1", 200000, RF_EINVAL}, /* a comment to the end */
        {"SELECT x", ".x", "", 16000, 0},
        {"SELECT 1", "::INT", "", 10000, 0},
    };
    gate_fixture *f = *state;

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        int64_t start = cpu_us(), took;
        rf_err err = {0};
        rf_status st = gate_of_repeated(f, cases[i].before, cases[i].piece, cases[i].times,
                                        cases[i].after, &err);
        int expected = cases[i].expected == -1 ? RF_OK : cases[i].expected;

        took = cpu_us() - start;
        if (cases[i].expected != 0 && st != (rf_status)expected)
            fail_msg("%zu x \"%s\" gave %s: %s", cases[i].times, cases[i].piece, rf_status_name(st),
                     err.text);
        if (took > 10000000) /* with sanitizers */
            fail_msg("%zu x \"%s\" took %lld ms", cases[i].times, cases[i].piece,
                     (long long)took / 1000);
    }
}

static void text__that_is_no_text__is_refused(void **state)
{
    static const struct {
        rf_str sql;
        rf_status expected;
    } cases[] = {
        {{"", 0}, RF_EINVAL},
        {RF_STR("  \n -- nothing\n"), RF_EINVAL},
        {RF_STR(";"), RF_EINVAL},
        {RF_STR("SELECT '\xff'"), RF_EINVAL},
        {RF_STR("SELECT '\xed\xa0\x80'"), RF_EINVAL},
        {RF_STR("SELECT 1\0; DROP TABLE x"), RF_EINVAL},
        {RF_STR("SELECT /* open"), RF_EINVAL},
        {RF_STR("SELECT 'open"), RF_EINVAL},
        {RF_STR("SELECT \"open"), RF_EINVAL},
        {RF_STR("SELECT $a$ open"), RF_EINVAL},
    };
    gate_fixture *f = *state;
    char *big = rf_xmalloc(RFI_SQL_BYTES_MAX + 1);

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rfi_plan plan;
        rf_err err = {0};
        rf_status st;

        rfi_plan_init(&plan);
        st = rfi_gate(f->engine, f->conn, &f->catalog, "query:0", cases[i].sql, &plan, &err);
        if (st != cases[i].expected)
            fail_msg("case %zu gave %s: %s", i, rf_status_name(st), err.text);
        rfi_plan_clear(&plan);
    }
    memset(big, ' ', RFI_SQL_BYTES_MAX + 1);
    for (size_t extra = 0; extra < 2; extra++) {
        rfi_plan plan;
        rf_err err = {0};

        memcpy(big, "SELECT 1", 8);
        rfi_plan_init(&plan);
        assert_int_equal(rfi_gate(f->engine, f->conn, &f->catalog, "query:0",
                                  (rf_str){big, RFI_SQL_BYTES_MAX + extra}, &plan, &err),
                         extra == 0 ? RF_OK : RF_ETOOBIG);
        rfi_plan_clear(&plan);
    }
    free(big);
}

/* ---- the pinned list ------------------------------------------------------------------------- */

/* Not marked pure by the engine, and allowed all the same: the time, chance, and macros whose text
 * was read. */
static void function_check(void *arg, rf_str name)
{
    static const char impure[] =
        "age ago arbitrary array_pop_back array_pop_front array_push_back array_push_front "
        "array_to_string_comma_default current_date current_localtime current_localtimestamp "
        "gen_random_uuid geomean geometric_mean get_current_time get_current_timestamp json "
        "json_group_array json_group_object list_any_value list_approx_count_distinct list_bit_and "
        "list_bit_or list_bit_xor list_bool_and list_bool_or list_entropy list_first "
        "list_histogram "
        "list_kurtosis list_kurtosis_pop list_last list_mad list_median list_mode list_product "
        "list_sem list_skewness list_stddev_pop list_stddev_samp list_string_agg list_var_pop "
        "list_var_samp now pg_size_pretty pg_typeof random today transaction_timestamp uuid uuidv4 "
        "uuidv7 wavg weighted_avg generate_series range repeat unnest histogram";
    gate_fixture *f = arg;
    rf_sql_function known = rf_engine_function(f->engine, name);

    if (rf_str_eq(name, RF_STR("unnest")))
        return; /* of the parser, not of the catalog */
    if (!known.exists)
        fail_msg("the engine has no function %.*s", RF_STR_ARG(name));
    if (!known.pure && !rfi_word_in(impure, name))
        fail_msg("%.*s is allowed, but not pure", RF_STR_ARG(name));
}

static void allowed_functions__all__exist_and_are_pure(void **state)
{
    rfi_functions_each(RFI_FN_VALUE, function_check, *state);
    assert_true(rfi_function_allowed(RF_STR("COUNT"), RFI_FN_VALUE));
    assert_false(rfi_function_allowed(RF_STR("read_csv"), RFI_FN_VALUE));
    assert_false(rfi_function_allowed(RF_STR("read_csv"), RFI_FN_TABLE));
    assert_false(rfi_function_allowed(RF_STR(""), RFI_FN_TABLE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_statement__any__is_refused_and_the_canary_unread),
        cmocka_unit_test(canary__read_without_the_gate__is_noticed),
        cmocka_unit_test(good_statement__any__gives_its_answer),
        cmocka_unit_test(plan__of_mixed_statement__names_what_it_uses),
        cmocka_unit_test(explain__of_select__shows_a_plan_and_runs_nothing),
        cmocka_unit_test(error__in_any_statement__has_its_place),
        cmocka_unit_test(long_text__of_any_kind__is_decided_soon),
        cmocka_unit_test(text__that_is_no_text__is_refused),
        cmocka_unit_test(allowed_functions__all__exist_and_are_pure),
    };

    return cmocka_run_group_tests_name("gate", tests, setup, teardown);
}
