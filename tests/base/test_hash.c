/* Hashes against published vectors; the histogram, from several threads too. */
#include "base/base.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void crc32c__vectors_of_rfc_3720__match(void **state)
{
    (void)state;
    unsigned char p[32];
    assert_int_equal(rf_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(rf_crc32c(0, NULL, 0), 0);
    memset(p, 0, sizeof p);
    assert_int_equal(rf_crc32c(0, p, sizeof p), 0x8a9136aa);
    memset(p, 0xff, sizeof p);
    assert_int_equal(rf_crc32c(0, p, sizeof p), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof p; i++)
        p[i] = (unsigned char)i;
    assert_int_equal(rf_crc32c(0, p, sizeof p), 0x46dd794e);
}

static void crc32c__in_pieces__is_the_same(void **state)
{
    (void)state;
    unsigned char p[1000];
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = (unsigned char)(i * 31);
    uint32_t whole = rf_crc32c(0, p, sizeof p);
    for (size_t cut = 0; cut <= sizeof p; cut += 13)
        assert_int_equal(rf_crc32c(rf_crc32c(0, p, cut), p + cut, sizeof p - cut), whole);
}

static void hash_keyed__reference_vectors__match(void **state)
{
    (void)state;
    /* vectors_sip128 of the reference implementation: key 00..0f, input 00..n-1. */
    static const struct {
        size_t n;
        const char *hex;
    } CASES[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},
        {1, "da87c1d86b99af44347659119b22fc45"},
        {2, "8177228da4a45dc7fca38bdef60affe4"},
        {63, "5150d1772f50834a503e069a973fbd7c"},
    };
    uint8_t key[RF_KEY_BYTES], in[64];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    memcpy(key, in, sizeof key);
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_hash128 h = rf_hash_keyed(key, CASES[i].n == 0 ? NULL : in, CASES[i].n);
        uint8_t bytes[16];
        char hex[33];
        rf_put_le64(bytes, h.lo);
        rf_put_le64(bytes + 8, h.hi);
        rf_hex(bytes, 16, hex);
        assert_string_equal(hex, CASES[i].hex);
    }
}

static void hash_keyed__other_key__other_hash(void **state)
{
    (void)state;
    uint8_t a[RF_KEY_BYTES] = {0}, b[RF_KEY_BYTES] = {1};
    assert_false(rf_hash_eq(rf_hash_keyed(a, "x", 1), rf_hash_keyed(b, "x", 1)));
    assert_true(rf_hash_eq(rf_hash_keyed(a, "x", 1), rf_hash_keyed(a, "x", 1)));
}

static void hash_fast__seed_and_bytes__matter(void **state)
{
    (void)state;
    /* XXH3_128bits of the empty input, seed 0. */
    rf_hash128 empty = rf_hash_fast(NULL, 0, 0);
    assert_int_equal(empty.hi, UINT64_C(0x99aa06d3014798d8));
    assert_int_equal(empty.lo, UINT64_C(0x6001c324468d497f));
    assert_false(rf_hash_eq(rf_hash_fast("a", 1, 0), rf_hash_fast("a", 1, 1)));
    assert_false(rf_hash_eq(rf_hash_fast("a", 1, 0), rf_hash_fast("b", 1, 0)));
    char long_text[5000] = {0};
    assert_false(rf_hash_eq(rf_hash_fast(long_text, 5000, 7), rf_hash_fast(long_text, 4999, 7)));
}

static void hash_cmp__order__by_hi_then_lo(void **state)
{
    (void)state;
    rf_hash128 a = {.lo = 9, .hi = 1}, b = {.lo = 1, .hi = 2}, c = {.lo = 2, .hi = 2};
    assert_true(rf_hash_cmp(a, b) < 0 && rf_hash_cmp(b, a) > 0);
    assert_true(rf_hash_cmp(b, c) < 0 && rf_hash_cmp(c, b) > 0);
    assert_int_equal(rf_hash_cmp(c, c), 0);
}

static void sha256__vectors_of_fips_180__match_in_any_pieces(void **state)
{
    (void)state;
    static const char ABC[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    static const char EMPTY[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const rf_str pieces[] = {RF_STR("a"), {NULL, 0}, RF_STR("bc")};
    uint8_t out[RF_SHA256_BYTES];
    char hex[2 * RF_SHA256_BYTES + 1];
    rf_sha256(&RF_STR("abc"), 1, out);
    rf_hex(out, sizeof out, hex);
    assert_string_equal(hex, ABC);
    rf_sha256(pieces, 3, out);
    rf_hex(out, sizeof out, hex);
    assert_string_equal(hex, ABC);
    rf_sha256(NULL, 0, out);
    rf_hex(out, sizeof out, hex);
    assert_string_equal(hex, EMPTY);
}

static void random__bytes__differ(void **state)
{
    (void)state;
    static uint8_t a[100000], b[100000];
    size_t bits = 0;
    rf_random(a, sizeof a);
    rf_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    for (size_t i = 0; i < sizeof a; i++)
        bits += (size_t)__builtin_popcount(a[i]);
    assert_in_range(bits, 396000, 404000); /* 400,000 ± 9 standard deviations */
    rf_random(NULL, 0);
}

/* ---- histogram ------------------------------------------------------------------------------ */

static rf_hist *hist_new(void)
{
    return rf_xcalloc(1, sizeof(rf_hist));
}

static void hist__empty__is_zero(void **state)
{
    (void)state;
    rf_hist *h = hist_new();
    assert_int_equal(rf_hist_quantile(h, 0.5), 0);
    assert_int_equal(rf_hist_count_le(h, UINT64_MAX), 0);
    free(h);
}

static void hist__any_single_value__read_back_within_a_32nd(void **state)
{
    (void)state;
    rf_hist *h = hist_new();
    for (uint64_t v = 0; v < UINT64_C(1) << 36; v = v < 300 ? v + 1 : v + v / 37) {
        memset(h, 0, sizeof *h);
        rf_hist_record(h, v);
        uint64_t got = rf_hist_quantile(h, 0.5);
        assert_true(got >= v && got - v <= v / 32);
        assert_int_equal(rf_hist_count_le(h, v), 1);
        assert_int_equal(h->count, 1);
        assert_int_equal(h->sum_us, v);
        if (v > 0)
            assert_int_equal(rf_hist_count_le(h, v - v / 32 - 1), 0);
    }
    free(h);
}

static void hist__beyond_the_last_bucket__is_kept_there(void **state)
{
    (void)state;
    rf_hist *h = hist_new();
    rf_hist_record(h, UINT64_MAX);
    rf_hist_record(h, UINT64_C(1) << 40);
    assert_int_equal(rf_hist_quantile(h, 1.0), (UINT64_C(1) << 36) - 1);
    assert_int_equal(rf_hist_count_le(h, UINT64_C(1) << 50), 2);
    assert_int_equal(rf_hist_count_le(h, 1000000), 0);
    free(h);
}

static void hist_quantile__uniform__is_near(void **state)
{
    (void)state;
    rf_hist *h = hist_new();
    for (uint64_t v = 1; v <= 10000; v++)
        rf_hist_record(h, v);
    static const double QS[] = {-1, 0, 0.001, 0.25, 0.5, 0.99, 0.999, 1, 2};
    for (size_t i = 0; i < RF_ARRAY_LEN(QS); i++) {
        double q = QS[i] < 0 ? 0 : QS[i] > 1 ? 1 : QS[i];
        double exact = q * 10000 < 1 ? 1 : q * 10000;
        double got = (double)rf_hist_quantile(h, QS[i]);
        assert_true(got >= exact && got <= exact * 1.032 + 1);
    }
    free(h);
}

enum { THREADS = 4, RECORDS = 50000 };

static void *record_many(void *arg)
{
    for (uint64_t i = 0; i < RECORDS; i++)
        rf_hist_record(arg, i % 5000);
    return NULL;
}

static void hist_record__from_threads__loses_none(void **state)
{
    (void)state;
    rf_hist *h = hist_new();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, h), 0);
    uint64_t seen = 0;
    for (int i = 0; i < 100; i++) { /* a reader at the same time: never goes back */
        uint64_t now = rf_hist_count_le(h, UINT64_MAX);
        assert_true(now >= seen);
        seen = now;
        (void)rf_hist_quantile(h, 0.99);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rf_hist_count_le(h, UINT64_MAX), THREADS * RECORDS);
    assert_int_equal(h->count, THREADS * RECORDS);
    assert_int_equal(h->sum_us, (uint64_t)THREADS * (RECORDS / 5000) * (4999 * 5000 / 2));
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c__vectors_of_rfc_3720__match),
        cmocka_unit_test(crc32c__in_pieces__is_the_same),
        cmocka_unit_test(hash_keyed__reference_vectors__match),
        cmocka_unit_test(hash_keyed__other_key__other_hash),
        cmocka_unit_test(hash_fast__seed_and_bytes__matter),
        cmocka_unit_test(hash_cmp__order__by_hi_then_lo),
        cmocka_unit_test(sha256__vectors_of_fips_180__match_in_any_pieces),
        cmocka_unit_test(random__bytes__differ),
        cmocka_unit_test(hist__empty__is_zero),
        cmocka_unit_test(hist__any_single_value__read_back_within_a_32nd),
        cmocka_unit_test(hist__beyond_the_last_bucket__is_kept_there),
        cmocka_unit_test(hist_quantile__uniform__is_near),
        cmocka_unit_test(hist_record__from_threads__loses_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
