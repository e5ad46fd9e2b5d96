/* The aggregates whose states are stored: order and grouping must not show in the bytes. */
#include "engine/engine.h"
#include "engine/exact_int.h"
#include "engine/hll_int.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed_state;

static uint64_t next(void)
{
    seed_state += 0x9E3779B97F4A7C15u;
    uint64_t z = seed_state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 1..most, at most `left` */
static size_t next_piece(size_t most, size_t left)
{
    size_t n = next() % most + 1;

    return n < left ? n : left;
}

/* Any finite double, or one of a nice kind. */
static double next_double(void)
{
    for (;;) {
        uint64_t bits = next();
        double v;

        switch (next() % 4) {
        case 0:
            memcpy(&v, &bits, sizeof(v));
            break;
        case 1:
            v = (double)(int64_t)(bits % 2000001) / 100 - 10000;
            break;
        case 2:
            v = ldexp((double)(bits >> 11), (int)(bits % 40) - 60);
            break;
        default:
            v = bits % 2 ? 1e16 : -1e16;
            break;
        }
        if (isfinite(v))
            return v;
    }
}

static void exact_bytes(rfi_exact *e, uint8_t *out, size_t *n)
{
    rfi_whole whole;

    rfi_exact_rest(e, &whole);
    *n = rfi_whole_write(&whole, out);
}

static double exact_double(rfi_exact *e)
{
    rfi_whole whole;

    rfi_exact_rest(e, &whole);
    return rfi_whole_double(&whole);
}

static void sum__of_known_values__is_the_nearest_double(void **state)
{
    static const struct {
        double v[6];
        size_t count;
        double want;
    } cases[] = {
        {{0}, 0, 0},
        {{0.1, 0.2}, 2, 0.30000000000000004},
        {{0.1, 0.2, -0.3}, 3, 2.7755575615628914e-17},
        {{1e308, 1e308, -1e308, -1e308, 5e-324}, 5, 5e-324},
        {{1e308, 1e308}, 2, INFINITY},
        {{-1e308, -1e308}, 2, -INFINITY},
        {{9007199254740992, 1}, 2, 9007199254740992}, /* half to even */
        {{9007199254740992, 1, 5e-324}, 3, 9007199254740994},
        {{9007199254740994, 1}, 2, 9007199254740996},
        {{5e-324, -5e-324}, 2, 0},
        {{2.2250738585072014e-308, -5e-324}, 2, 2.225073858507201e-308},
        {{1, INFINITY}, 2, INFINITY},
        {{1, INFINITY, -INFINITY}, 3, NAN},
        {{NAN, 1}, 2, NAN},
        {{-1, -2, -3.5}, 3, -6.5},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rfi_exact e = {0};
        double got;

        for (size_t k = 0; k < cases[i].count; k++)
            rfi_exact_add(&e, cases[i].v[k]);
        got = exact_double(&e);
        if (!(got == cases[i].want || (isnan(got) && isnan(cases[i].want))))
            fail_msg("case %zu: %.17g not %.17g", i, got, cases[i].want);
        rfi_exact_clear(&e);
    }
}

static void sum__in_any_order_and_grouping__has_the_same_bytes(void **state)
{
    uint8_t want[RFI_WHOLE_BYTES_MAX], got[RFI_WHOLE_BYTES_MAX];
    size_t want_n, got_n;

    (void)state;
    seed_state = 1;
    for (int round = 0; round < 300; round++) {
        size_t count = next() % 200;
        double *v = rf_xcalloc(count + 1, sizeof(*v));
        rfi_exact all = {0}, total = {0}, merged = {0};

        for (size_t i = 0; i < count; i++) {
            v[i] = next_double();
            rfi_exact_add(&all, v[i]);
        }
        exact_bytes(&all, want, &want_n);
        for (size_t i = count; i > 0;) { /* backwards, in pieces, some through bytes */
            rfi_exact piece = {0};
            size_t n = next_piece(10, i);
            rfi_whole whole, back;
            uint8_t bytes[RFI_WHOLE_BYTES_MAX];
            size_t bytes_n;

            while (n-- > 0)
                rfi_exact_add(&piece, v[--i]);
            rfi_exact_rest(&piece, &whole);
            bytes_n = rfi_whole_write(&whole, bytes);
            assert_int_equal(rfi_whole_read(bytes, bytes_n, &back), bytes_n);
            rfi_exact_add_whole(&total, &back);
            rfi_exact_merge(&merged, &piece);
            rfi_exact_clear(&piece);
        }
        exact_bytes(&total, got, &got_n);
        if (got_n != want_n || memcmp(got, want, got_n) != 0)
            fail_msg("round %d: pieces give other bytes", round);
        exact_bytes(&merged, got, &got_n);
        if (got_n != want_n || memcmp(got, want, got_n) != 0)
            fail_msg("round %d: merged states give other bytes", round);
        exact_bytes(&merged, got, &got_n); /* asking changes nothing */
        assert_int_equal(got_n, want_n);
        rfi_exact_clear(&all);
        rfi_exact_clear(&total);
        rfi_exact_clear(&merged);
        free(v);
    }
}

static void sum__of_many_small_values__carries(void **state)
{
    rfi_exact e = {0};

    (void)state;
    e.adds = (1u << 29) - 1000; /* close before the carries are worked off */
    for (int i = 0; i < 5000; i++)
        rfi_exact_add(&e, -0.1);
    assert_true(fabs(exact_double(&e) + 500) < 1e-10);
    rfi_exact_clear(&e);
}

/* Welford in long double. */
static double variance_plain(const double *v, size_t count)
{
    long double mean = 0, m2 = 0;

    for (size_t i = 0; i < count; i++) {
        long double delta = v[i] - mean;

        mean += delta / (long double)(i + 1);
        m2 += delta * (v[i] - mean);
    }
    return (double)(m2 / (long double)(count - 1));
}

static void spread__of_random_values__is_the_variance(void **state)
{
    (void)state;
    seed_state = 2;
    for (int round = 0; round < 200; round++) {
        size_t count = 2 + next() % 100;
        double v[102], want, got;
        double offset = round % 2 ? 1e9 : 0;
        rfi_exact sum = {0}, squares = {0};
        rfi_whole s, q, spread;
        int exponent;

        for (size_t i = 0; i < count; i++) {
            v[i] = offset + (double)(next() % 100000) / 1000;
            rfi_exact_add(&sum, v[i]);
            rfi_exact_add_square(&squares, v[i]);
        }
        rfi_exact_rest(&sum, &s);
        rfi_exact_rest(&squares, &q);
        assert_true(rfi_whole_spread(&s, &q, count, &spread));
        got = rfi_whole_frexp(&spread, &exponent);
        got = ldexp(got / ((double)count * (double)(count - 1)), exponent - 2148);
        want = variance_plain(v, count);
        if (fabs(got - want) > 1e-9 * (fabs(want) + 1e-9))
            fail_msg("round %d: %.17g not %.17g", round, got, want);
        rfi_exact_clear(&sum);
        rfi_exact_clear(&squares);
    }
}

static void sketch__in_any_order_and_grouping__has_the_same_bytes(void **state)
{
    static const size_t counts[] = {0, 1, 2, 5, 200, 255, 256, 257, 300, 1000, 50000};

    (void)state;
    seed_state = 3;
    for (size_t c = 0; c < RF_ARRAY_LEN(counts); c++) {
        uint64_t *v = rf_xcalloc(counts[c] + 1, sizeof(*v));
        rfi_hll all = {0}, total = {0}, merged = {0};
        rf_str want, got;
        double estimate;

        for (size_t i = 0; i < counts[c]; i++) {
            v[i] = next();
            rfi_hll_add(&all, v[i]);
            rfi_hll_add(&all, v[i]);
        }
        want = rfi_hll_bytes(&all);
        for (size_t i = counts[c]; i > 0;) {
            rfi_hll piece = {0};
            size_t n = next_piece(700, i);

            while (n-- > 0)
                rfi_hll_add(&piece, v[--i]);
            rfi_hll_merge(&merged, &piece);
            assert_true(rfi_hll_merge_bytes(&total, rfi_hll_bytes(&piece)));
            rfi_hll_clear(&piece);
        }
        got = rfi_hll_bytes(&total);
        assert_int_equal(got.n, want.n);
        assert_true(rf_str_eq(got, want));
        assert_true(rf_str_eq(rfi_hll_bytes(&merged), want));
        assert_true(rfi_hll_estimate(want, &estimate));
        if (fabs(estimate - (double)counts[c]) > 0.06 * (double)counts[c])
            fail_msg("%zu distinct values: about %.1f", counts[c], estimate);
        rfi_hll_clear(&all);
        rfi_hll_clear(&total);
        rfi_hll_clear(&merged);
        free(v);
    }
}

static void bytes__that_are_no_state__are_refused(void **state)
{
    rfi_hll h = {0};
    rfi_whole w;
    double estimate;
    const uint8_t long_count[] = {0, 1, 2, 0, 0, 0, 0}, flags[] = {16, 0, 0}, high[] = {0, 140, 9};

    (void)state;
    assert_false(rfi_hll_merge_bytes(&h, RF_STR("abc")));
    assert_false(rfi_hll_merge_bytes(&h, RF_STR("\x01\xff\xff\xff")));
    assert_false(rfi_hll_estimate(RF_STR("abc"), &estimate));
    assert_int_equal(rfi_whole_read(long_count, sizeof(long_count), &w), 0);
    assert_int_equal(rfi_whole_read(flags, sizeof(flags), &w), 0);
    assert_int_equal(rfi_whole_read(high, sizeof(high), &w), 0);
    rfi_hll_clear(&h);
}

/* ---- inside the engine ----------------------------------------------------------------------- */

static int64_t query_one(rf_conn *conn, const char *sql)
{
    rf_rows *rows = NULL;
    rf_err err = {0};
    int64_t v;

    if (rf_conn_query(conn, sql, &rows, &err) != RF_OK || !rf_rows_next(rows, &err))
        fail_msg("%s: %s", sql, err.text);
    v = rf_rows_i64(rows, 0);
    rf_rows_free(&rows);
    return v;
}

static void engine__with_threads__gives_the_same_bytes(void **state)
{
    rf_engine *engine = NULL;
    rf_conn *conn = NULL;
    rf_engine_options options = {.threads = 2, .memory_bytes = 1u << 30};
    rf_err err = {0};

    (void)state;
    if (rf_engine_open(&options, &engine, &err) != RF_OK ||
        rf_conn_open(engine, &conn, &err) != RF_OK ||
        rf_conn_exec(conn,
                     "CREATE TABLE t AS SELECT i, i % 97 AS g, CASE WHEN i % 7 > 0 THEN "
                     "sin(i) * pow(10, i % 20) END AS v, (i % 5000)::VARCHAR AS s "
                     "FROM range(200000) r(i)",
                     &err) != RF_OK ||
        rf_conn_exec(conn,
                     "CREATE TABLE a AS SELECT g, rf_sum(v) x, rf_moments(v) m, rf_hll(s) h FROM t "
                     "GROUP BY g",
                     &err) != RF_OK ||
        rf_conn_exec(conn,
                     "CREATE TABLE p AS SELECT g, i % 13 AS part, rf_sum(v) x, rf_moments(v) m, "
                     "rf_hll(s) h FROM t GROUP BY ALL",
                     &err) != RF_OK ||
        rf_conn_exec(conn,
                     "CREATE TABLE b AS SELECT g, rf_sum_merge(x) x, rf_moments_merge(m) m, "
                     "rf_hll_merge(h) h FROM p GROUP BY g",
                     &err) != RF_OK)
        fail_msg("%s", err.text);
    assert_int_equal(query_one(conn, "SELECT count(*) FROM a JOIN b USING (g, x, m, h)"), 97);
    assert_int_equal(
        query_one(conn,
                  "SELECT count(*) FROM a JOIN (SELECT g, sum(v) v, var_samp(v) s, var_pop(v) "
                  "q, approx_count_distinct(s) d FROM t GROUP BY g) w USING (g) WHERE "
                  "abs(rf_sum_value(x) - w.v) <= 1e-9 * abs(w.v) AND "
                  "abs(rf_var_samp(m) - w.s) <= 1e-9 * w.s AND "
                  "abs(rf_var_pop(m) - w.q) <= 1e-9 * w.q"),
        97);
    assert_int_equal(query_one(conn, "SELECT rf_sum(v) IS NULL AND rf_moments(v) IS NULL AND "
                                     "rf_hll_estimate(rf_hll(s)) = 0 FROM t WHERE i < 0"),
                     1);
    assert_int_equal(query_one(conn, "SELECT rf_var_samp(rf_moments(v)) IS NULL AND "
                                     "rf_var_pop(rf_moments(v)) = 0 FROM t WHERE i = 1"),
                     1);
    assert_int_equal(
        query_one(conn, "SELECT rf_hll_estimate(rf_hll(s) FILTER (WHERE i < 3)) FROM t"), 3);
    assert_int_equal(rf_conn_exec(conn, "SELECT rf_sum_merge('x'::BLOB)", &err), RF_EINVAL);
    assert_int_equal(rf_conn_exec(conn, "SELECT rf_var_pop('x'::BLOB)", &err), RF_EINVAL);
    rf_conn_close(&conn);
    rf_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum__of_known_values__is_the_nearest_double),
        cmocka_unit_test(sum__in_any_order_and_grouping__has_the_same_bytes),
        cmocka_unit_test(sum__of_many_small_values__carries),
        cmocka_unit_test(spread__of_random_values__is_the_variance),
        cmocka_unit_test(sketch__in_any_order_and_grouping__has_the_same_bytes),
        cmocka_unit_test(bytes__that_are_no_state__are_refused),
        cmocka_unit_test(engine__with_threads__gives_the_same_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
