/* Tables, bars and numbers as people see them. */
#include <math.h>

#include "support.h"

static void format_count__table(void **state)
{
    char buf[32];

    (void)state;
    assert_string_equal(rf_format_count(0, buf), "0");
    assert_string_equal(rf_format_count(999, buf), "999");
    assert_string_equal(rf_format_count(1000, buf), "1,000");
    assert_string_equal(rf_format_count(1234567, buf), "1,234,567");
    assert_string_equal(rf_format_count(UINT64_MAX, buf), "18,446,744,073,709,551,615");
}

static void format_bytes__table(void **state)
{
    char buf[32];

    (void)state;
    assert_string_equal(rf_format_bytes(0, buf), "0 B");
    assert_string_equal(rf_format_bytes(1023, buf), "1023 B");
    assert_string_equal(rf_format_bytes(1024, buf), "1.0 KiB");
    assert_string_equal(rf_format_bytes(1536, buf), "1.5 KiB");
    assert_string_equal(rf_format_bytes((uint64_t)3 << 30, buf), "3.0 GiB");
    assert_string_equal(rf_format_bytes(UINT64_MAX, buf), "16384.0 PiB");
}

static void table__columns__are_aligned_by_code_points(void **state)
{
    rf_table *t = rf_table_new(2);
    char *text = NULL;

    (void)state;
    rf_table_head(t, RF_STR("name"), false);
    rf_table_head(t, RF_STR("n"), true);
    rf_table_cell(t, RF_STR("Zürich"));
    rf_table_cell(t, RF_STR("5"));
    rf_table_cell(t, RF_STR("Rom"));
    rf_table_cell(t, RF_STR("1234"));
    PRINTED(text, out, rf_table_print(t, out));
    assert_string_equal(text, " name       n\n"
                              " ──────  ────\n"
                              " Zürich     5\n"
                              " Rom     1234\n");
    free(text);
    rf_table_free(&t);
    assert_null(t);
    rf_table_free(&t);
}

static void table__control_characters__do_not_reach_the_terminal(void **state)
{
    rf_table *t = rf_table_new(1);
    char *text = NULL;

    (void)state;
    rf_table_head(t, RF_STR("x"), false);
    rf_table_cell(t, RF_STR("a\033[31mb\nc\x7f"));
    PRINTED(text, out, rf_table_print(t, out));
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, 0x7f));
    assert_has(text, "a [31mb c");
    free(text);
    rf_table_free(&t);
}

static void answer__as_table__keeps_every_digit(void **state)
{
    rf_err err = {0};
    char *text = NULL;
    rf_status st = RF_OK;
    static const char json[] = "{\"columns\":[{\"name\":\"who\",\"type\":\"VARCHAR\"},{\"name\":"
                               "\"n\",\"type\":\"HUGEINT\"},"
                               "{\"name\":\"l\",\"type\":\"INTEGER[]\"}],"
                               "\"rows\":[[\"ann\",123456789012345678901234567890,[1,2]],[null,1."
                               "50,null]],\"rowCount\":2}";

    (void)state;
    PRINTED(text, out, st = rf_table_print_answer(rf_str_from(json), out, &err));
    assert_int_equal(st, RF_OK);
    assert_has(text, "123456789012345678901234567890  [1,2]");
    assert_has(text, "1.50");
    free(text);
}

static void answer__that_is_none__is_refused(void **state)
{
    rf_err err = {0};

    (void)state;
    assert_int_equal(rf_table_print_answer(RF_STR("{}"), stdout, &err), RF_EINVAL);
    assert_int_equal(rf_table_print_answer(RF_STR("no json"), stdout, &err), RF_EINVAL);
    assert_int_equal(
        rf_chart_print_answer(RF_STR("{\"columns\":[{}],\"rows\":[[1]]}"), stdout, &err),
        RF_EINVAL);
}

static void chart__bars__are_scaled_to_the_longest(void **state)
{
    static const char *const labels[] = {"a", "bb", "c", "d"};
    static const double values[] = {10, 5, 0, 0.625};
    char *text = NULL;

    (void)state;
    PRINTED(text, out, rf_chart_bars(out, labels, values, 4, 8));
    assert_string_equal(text, " a   ████████ 10\n"
                              " bb  ████ 5\n"
                              " c    0\n"
                              " d   ▌ 0.62\n");
    free(text);
}

static void chart__below_zero__goes_left_of_the_axis(void **state)
{
    static const char *const labels[] = {"up", "down", "none"};
    static const double values[] = {2, -2, NAN};
    char *text = NULL;

    (void)state;
    PRINTED(text, out, rf_chart_bars(out, labels, values, 3, 8));
    assert_string_equal(text, " up        ████ 2\n"
                              " down  ████ -2\n"
                              " none   \n");
    free(text);
}

static void chart__nothing_but_zero__draws_no_bar(void **state)
{
    static const char *const labels[] = {"x"};
    static const double values[] = {0};
    char *text = NULL;

    (void)state;
    PRINTED(text, out, rf_chart_bars(out, labels, values, 1, 8));
    assert_string_equal(text, " x   0\n");
    free(text);
    text = NULL;
    PRINTED(text, out, rf_chart_bars(out, labels, values, 0, 8));
    assert_string_equal(text, "");
    free(text);
}

static void chart__of_an_answer__takes_the_first_number_after_the_label(void **state)
{
    rf_err err = {0};
    char *text = NULL;
    rf_status st = RF_OK;
    static const char json[] =
        "{\"columns\":[{\"name\":\"day\"},{\"name\":\"who\"},{\"name\":\"n\"}],\"rows\":"
        "[[\"2001-01-01T00:00:00Z\",\"x\",null],[\"2001-01-02T00:00:00Z\",\"y\",3000000]]}";

    (void)state;
    PRINTED(text, out, st = rf_chart_print_answer(rf_str_from(json), out, &err));
    assert_int_equal(st, RF_OK);
    assert_has(text, " 2001-01-01  "); /* midnights are days */
    assert_has(text, "█ 3,000,000\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(format_count__table),
        cmocka_unit_test(format_bytes__table),
        cmocka_unit_test(table__columns__are_aligned_by_code_points),
        cmocka_unit_test(table__control_characters__do_not_reach_the_terminal),
        cmocka_unit_test(answer__as_table__keeps_every_digit),
        cmocka_unit_test(answer__that_is_none__is_refused),
        cmocka_unit_test(chart__bars__are_scaled_to_the_longest),
        cmocka_unit_test(chart__below_zero__goes_left_of_the_axis),
        cmocka_unit_test(chart__nothing_but_zero__draws_no_bar),
        cmocka_unit_test(chart__of_an_answer__takes_the_first_number_after_the_label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
