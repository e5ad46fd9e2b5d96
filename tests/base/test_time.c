/* RFC 3339 to microseconds and back; clocks. */
#include "base/base.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void time_parse__table__valid(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } CASES[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.000001Z", 1},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"2017-01-09T09:49:50.000+01:00", INT64_C(1483951790000000)},
        {"2017-01-09t08:49:50z", INT64_C(1483951790000000)},
        {"2017-01-09 08:49:50Z", INT64_C(1483951790000000)},
        {"2017-01-09T08:49:50-00:00", INT64_C(1483951790000000)},
        {"2017-01-08T23:19:50-09:30", INT64_C(1483951790000000)},
        {"2000-02-29T12:00:00Z", INT64_C(951825600000000)},
        {"2024-02-29T00:00:00Z", INT64_C(1709164800000000)},
        {"1985-04-12T23:20:50.52Z", INT64_C(482196050520000)},
        {"2026-01-01T00:00:00.1234567890123456789Z", INT64_C(1767225600123456)},
        {"2026-01-01T00:00:00.9999999Z", INT64_C(1767225600999999)},
        {"1990-12-31T23:59:60Z", INT64_C(662687999999999)},
        {"1990-12-31T15:59:60.5-08:00", INT64_C(662687999999999)},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800000000)},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
        {"9999-12-31T23:59:59+23:59", INT64_C(253402300799000000) - INT64_C(86340000000)},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        int64_t us = 0;
        if (!rf_time_parse(rf_str_from(CASES[i].text), &us))
            fail_msg("refused %s", CASES[i].text);
        if (us != CASES[i].us)
            fail_msg("%s read as %" PRId64, CASES[i].text, us);
    }
}

static void time_parse__table__invalid(void **state)
{
    (void)state;
    static const char *const CASES[] = {
        "",
        "2017",
        "2017-01-09",
        "2017-01-09T09:49:50",
        "2017-01-09T09:49Z",
        "2017-01-09T09:49:50.Z",
        "2017-01-09T09:49:50,5Z",
        "2017-01-09T09:49:50+0100",
        "2017-01-09T09:49:50+01",
        "2017-01-09T09:49:50+24:00",
        "2017-01-09T09:49:50+01:60",
        "2017-01-09T09:49:50Zx",
        "2017-01-09T09:49:50Z ",
        " 2017-01-09T09:49:50Z",
        "2017-1-09T09:49:50Z",
        "2017-13-09T09:49:50Z",
        "2017-00-09T09:49:50Z",
        "2017-01-00T09:49:50Z",
        "2017-01-32T09:49:50Z",
        "2017-02-29T09:49:50Z",
        "1900-02-29T09:49:50Z",
        "2017-04-31T09:49:50Z",
        "2017-01-09T24:00:00Z",
        "2017-01-09T09:60:50Z",
        "2017-01-09T09:49:61Z",
        "0000-01-01T00:00:00Z",
        "-001-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2017-01-09_09:49:50Z",
        "2017/01/09T09:49:50Z",
        "2017-01-09T09.49.50Z",
        "0001-01-01T00:00:00+00:01", /* before year 1 */
        "9999-12-31T23:59:59-00:01", /* after year 9999 */
        "2017-01-09T09:49:50\0Z",
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        int64_t us;
        if (rf_time_parse(rf_str_from(CASES[i]), &us))
            fail_msg("accepted %s", CASES[i]);
    }
}

static void time_parse__every_prefix__reads_within_bounds(void **state)
{
    (void)state;
    rf_str whole = RF_STR("2017-01-09T09:49:50.123456+01:00");
    for (size_t n = 0; n < whole.n; n++) {
        char copy[64]; /* exact bytes behind the slice are poison for a reader past its end */
        int64_t us;
        memset(copy, '0', sizeof copy);
        memcpy(copy, whole.p, n);
        assert_false(rf_time_parse((rf_str){copy, n}, &us));
    }
}

static void time_format__table__shortest_form(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } CASES[] = {
        {0, "1970-01-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {500000, "1970-01-01T00:00:00.5Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {INT64_C(1483951790120000), "2017-01-09T08:49:50.12Z"},
        {INT64_C(-62135596800000000), "0001-01-01T00:00:00Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        char text[RF_TIME_TEXT_MAX];
        assert_int_equal(rf_time_format(CASES[i].us, text), strlen(CASES[i].text));
        assert_string_equal(text, CASES[i].text);
    }
}

static void time_format__extremes__fit(void **state)
{
    (void)state;
    char text[RF_TIME_TEXT_MAX];
    size_t n = rf_time_format(INT64_MIN, text);
    assert_int_equal(n, strlen(text));
    n = rf_time_format(INT64_MAX, text);
    assert_int_equal(n, strlen(text));
    assert_string_equal(text, "294247-01-10T04:00:54.775807Z");
}

static void time__random_moments__round_trip_and_agree_with_gmtime(void **state)
{
    (void)state;
    uint64_t rng = 20260131;
    for (int i = 0; i < 200000; i++) {
        rng = rng * UINT64_C(6364136223846793005) + 1;
        int64_t us = INT64_C(-62135596800000000) +
                     (int64_t)((rng >> 1) % UINT64_C(315537897600000000)),
                back;
        char text[RF_TIME_TEXT_MAX], expected[64];
        rf_time_format(us, text);
        assert_true(rf_time_parse(rf_str_from(text), &back));
        assert_int_equal(back, us);

        time_t seconds = (time_t)(us >= 0 ? us / 1000000 : -((-us + 999999) / 1000000));
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        assert_true(rf_str_starts(rf_str_from(text), rf_str_from(expected)));
    }
}

static void clocks__now__are_plausible(void **state)
{
    (void)state;
    assert_true(rf_wall_us() > INT64_C(1700000000000000));
    int64_t before = rf_mono_us();
    struct timespec nap = {0, 2000000};
    nanosleep(&nap, NULL);
    int64_t slept = rf_mono_us() - before;
    assert_true(slept >= 2000 && slept < 60000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_parse__table__valid),
        cmocka_unit_test(time_parse__table__invalid),
        cmocka_unit_test(time_parse__every_prefix__reads_within_bounds),
        cmocka_unit_test(time_format__table__shortest_form),
        cmocka_unit_test(time_format__extremes__fit),
        cmocka_unit_test(time__random_moments__round_trip_and_agree_with_gmtime),
        cmocka_unit_test(clocks__now__are_plausible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
