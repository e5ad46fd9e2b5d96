/* Buffers with a maximum, base64 into and out of them, arenas. */
#include "base/base.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_holds(const rf_buf *b, const char *text)
{
    assert_false(b->failed);
    assert_int_equal(b->n, strlen(text));
    if (b->n > 0)
        assert_memory_equal(b->p, text, b->n);
}

static void buf__adds_of_each_kind__append(void **state)
{
    (void)state;
    rf_buf b;
    rf_buf_init(&b, 1000);
    assert_null(b.p);
    rf_buf_add(&b, "ab", 2);
    rf_buf_add(&b, NULL, 0);
    rf_buf_add_str(&b, RF_STR("cd"));
    rf_buf_add_cstr(&b, "ef");
    rf_buf_add_char(&b, 'g');
    rf_buf_add_u64(&b, UINT64_MAX);
    rf_buf_add_char(&b, ' ');
    rf_buf_add_u64(&b, 0);
    rf_buf_add_i64(&b, INT64_MIN);
    rf_buf_add_i64(&b, -7);
    rf_buf_add_i64(&b, 7);
    rf_buf_addf(&b, "<%d %s>", 3, "x");
    assert_holds(&b, "abcdefg18446744073709551615 0-9223372036854775808-77<3 x>");
    assert_int_equal(strlen(rf_buf_cstr(&b)), b.n);
    assert_int_equal(rf_buf_str(&b).n, b.n);
    rf_buf_reset(&b);
    assert_holds(&b, "");
    assert_non_null(b.p);
    rf_buf_clear(&b);
    assert_null(b.p);
    rf_buf_add_cstr(&b, "again");
    assert_holds(&b, "again");
    rf_buf_clear(&b);
}

static void buf__past_its_max__fails_for_good_and_keeps_what_it_had(void **state)
{
    (void)state;
    rf_buf b;
    rf_buf_init(&b, 5);
    rf_buf_add_cstr(&b, "abcde");
    assert_holds(&b, "abcde");
    rf_buf_add_char(&b, 'f');
    assert_true(b.failed);
    assert_int_equal(b.n, 5);
    rf_buf_add(&b, "", 0);
    rf_buf_add_u64(&b, 1);
    assert_int_equal(b.n, 5);
    assert_false(rf_buf_reserve(&b, 0));
    assert_null(rf_buf_cstr(&b));
    rf_buf_reset(&b);
    rf_buf_add_cstr(&b, "xy");
    assert_holds(&b, "xy");
    rf_buf_clear(&b);
}

static void buf_reserve__every_size_near_max__is_exact(void **state)
{
    (void)state;
    for (size_t max = 0; max < 700; max += 7) {
        for (size_t first = 0; first <= max; first += 50) {
            rf_buf b;
            rf_buf_init(&b, max);
            assert_true(rf_buf_reserve(&b, first));
            b.n = first;
            assert_true(rf_buf_reserve(&b, max - first));
            assert_true(b.cap <= max);
            assert_false(rf_buf_reserve(&b, max - first + 1));
            rf_buf_clear(&b);
        }
    }
    rf_buf b;
    rf_buf_init(&b, SIZE_MAX);
    rf_buf_add_char(&b, 'x');
    assert_false(rf_buf_reserve(&b, SIZE_MAX)); /* would wrap around */
    rf_buf_clear(&b);
}

static void buf_addf__longer_than_its_own_space__whole(void **state)
{
    (void)state;
    char x[600];
    rf_buf b;
    memset(x, 'x', sizeof x - 1);
    x[sizeof x - 1] = '\0';
    for (size_t n = 250; n < 260; n++) {
        rf_buf_init(&b, n);
        rf_buf_addf(&b, "%.*s", (int)n, x);
        assert_false(b.failed);
        assert_int_equal(b.n, n);
        rf_buf_addf(&b, "%s", "y");
        assert_true(b.failed);
        rf_buf_clear(&b);
    }
    rf_buf_init(&b, 1000);
    rf_buf_addf(&b, "a%sb", x);
    assert_int_equal(b.n, 601);
    assert_int_equal(b.p[600], 'b');
    rf_buf_clear(&b);
}

static void buf_json_str__table__escapes_what_json_forbids(void **state)
{
    (void)state;
    static const struct {
        rf_str in;
        const char *out;
    } CASES[] = {
        {{NULL, 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"\"", 1}, "\"\\\"\""},
        {{"a\\b", 3}, "\"a\\\\b\""},
        {{"\b\f\n\r\t", 5}, "\"\\b\\f\\n\\r\\t\""},
        {{"\0\x1f\x7f", 3}, "\"\\u0000\\u001f\\u007f\""},
        {{"\xc3\xa4/", 3}, "\"\xc3\xa4/\""},
        {{"x\ny", 3}, "\"x\\ny\""},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_buf b;
        rf_buf_init(&b, 100);
        rf_buf_add_json_str(&b, CASES[i].in);
        assert_holds(&b, CASES[i].out);
        rf_buf_clear(&b);
    }
}

/* ---- base64 --------------------------------------------------------------------------------- */

static void base64__vectors_of_rfc_4648__both_ways(void **state)
{
    (void)state;
    static const struct {
        rf_str bytes;
        const char *standard, *url;
    } CASES[] = {
        {{"", 0}, "", ""},
        {{"f", 1}, "Zg==", "Zg"},
        {{"fo", 2}, "Zm8=", "Zm8"},
        {{"foo", 3}, "Zm9v", "Zm9v"},
        {{"foob", 4}, "Zm9vYg==", "Zm9vYg"},
        {{"fooba", 5}, "Zm9vYmE=", "Zm9vYmE"},
        {{"foobar", 6}, "Zm9vYmFy", "Zm9vYmFy"},
        {{"\xff\xef\xbe\xfb", 4},
         "/+++"
         "+w==",
         "_--"
         "--w"},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_buf b;
        rf_buf_init(&b, 100);
        rf_buf_add_base64(&b, CASES[i].bytes.p, CASES[i].bytes.n);
        assert_holds(&b, CASES[i].standard);
        rf_buf_reset(&b);
        rf_buf_add_base64url(&b, CASES[i].bytes.p, CASES[i].bytes.n);
        assert_holds(&b, CASES[i].url);
        rf_buf_reset(&b);
        assert_true(rf_base64_decode(rf_str_from(CASES[i].standard), &b));
        assert_true(rf_str_eq(rf_buf_str(&b), CASES[i].bytes));
        rf_buf_reset(&b);
        assert_true(rf_base64url_decode(rf_str_from(CASES[i].url), &b));
        assert_true(rf_str_eq(rf_buf_str(&b), CASES[i].bytes));
        rf_buf_clear(&b);
    }
}

static void base64_decode__what_is_not_strict__is_refused(void **state)
{
    (void)state;
    static const char *const STANDARD[] = {
        "Zg",       "Zg=",   "Zg===",  "Z",    "Zh==", "Zm9=", "====",     "=",
        "Zg==Zg==", "Zm 9v", "Zm9v\n", "Zm9-", "Zm9_", "Z=g=", "Zm9v====", "\xff\xff\xff\xff",
        "Zm9v=",
    };
    static const char *const URL[] = {"Z", "Zg==", "Zh", "Zm9", "Zm9+", "Zm9/", "Zm9v\n", "Zm9vY"};
    rf_buf b;
    rf_buf_init(&b, 100);
    for (size_t i = 0; i < RF_ARRAY_LEN(STANDARD); i++) {
        rf_buf_reset(&b);
        if (rf_base64_decode(rf_str_from(STANDARD[i]), &b))
            fail_msg("accepted %s", STANDARD[i]);
    }
    for (size_t i = 0; i < RF_ARRAY_LEN(URL); i++) {
        rf_buf_reset(&b);
        if (rf_base64url_decode(rf_str_from(URL[i]), &b))
            fail_msg("accepted %s", URL[i]);
    }
    rf_buf_clear(&b);
}

static void base64__every_length__round_trips_and_has_one_spelling(void **state)
{
    (void)state;
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        rf_buf text, back, again;
        rf_buf_init(&text, 1000);
        rf_buf_init(&back, n); /* needs no byte more than the result */
        rf_buf_init(&again, 1000);
        rf_buf_add_base64(&text, bytes, n);
        assert_int_equal(text.n, (n + 2) / 3 * 4);
        assert_true(rf_base64_decode(rf_buf_str(&text), &back));
        assert_true(rf_str_eq(rf_buf_str(&back), (rf_str){(char *)bytes, n}));
        for (size_t at = 0; at < text.n; at++) {
            /* Another last digit either is refused or means other bytes. */
            char was = text.p[at];
            text.p[at] = was == 'A' ? 'B' : 'A';
            rf_buf_reset(&again);
            if (rf_base64_decode(rf_buf_str(&text), &again))
                assert_false(rf_str_eq(rf_buf_str(&again), rf_buf_str(&back)));
            text.p[at] = was;
        }
        rf_buf_clear(&text);
        rf_buf_clear(&back);
        rf_buf_clear(&again);
    }
}

static void base64_decode__no_room__is_false(void **state)
{
    (void)state;
    rf_buf b;
    rf_buf_init(&b, 2);
    assert_false(rf_base64_decode(RF_STR("Zm9v"), &b));
    assert_true(b.failed);
    rf_buf_clear(&b);
}

/* ---- arenas --------------------------------------------------------------------------------- */

static void arena__many_sizes__aligned_and_apart(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static unsigned char *at[COUNT];
    static size_t size[COUNT];
    rf_arena *a = rf_arena_new(1024);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            size[i] = i * 7919 % 700 + (i % 97 == 0 ? 5000 : 0);
            at[i] = rf_arena_alloc(a, size[i]);
            assert_non_null(at[i]);
            assert_int_equal((uintptr_t)at[i] % 16, 0);
            memset(at[i], (int)(i & 0xff), size[i]);
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t k = 0; k < size[i]; k++)
                assert_int_equal(at[i][k], i & 0xff);
        }
        size_t held = rf_arena_bytes(a);
        assert_true(held > 500000);
        rf_arena_reset(a);
        assert_true(rf_arena_bytes(a) <= 2048);
    }
    rf_arena_free(&a);
    assert_null(a);
    rf_arena_free(&a);
}

static void arena__small_ones_between_large__share_blocks(void **state)
{
    (void)state;
    rf_arena *a = rf_arena_new(4096);
    for (int i = 0; i < 100; i++) {
        assert_non_null(rf_arena_alloc(a, 16));
        assert_non_null(rf_arena_alloc(a, 2000)); /* gets its own */
    }
    assert_true(rf_arena_bytes(a) < 100 * 2200 + 3 * 4200);
    rf_arena_free(&a);
}

static void arena_dup__bytes__copy_with_a_nul(void **state)
{
    (void)state;
    rf_arena *a = rf_arena_new(0);
    rf_str copy = rf_arena_dup(a, (rf_str){"a\0b", 3});
    assert_int_equal(copy.n, 3);
    assert_memory_equal(copy.p, "a\0b", 4);
    copy = rf_arena_dup(a, (rf_str){NULL, 0});
    assert_non_null(copy.p);
    assert_int_equal(copy.n, 0);
    assert_string_equal(rf_arena_printf(a, "%s-%0300d", "x", 5) + 299, "005");
    assert_null(rf_arena_alloc(a, SIZE_MAX));
    assert_null(rf_arena_alloc(a, SIZE_MAX - 20));
    rf_arena_free(&a);
}

static void xmalloc_family__usual__allocates(void **state)
{
    (void)state;
    char *p = rf_xmalloc(0);
    assert_non_null(p);
    p = rf_xrealloc(p, 10);
    memset(p, 1, 10);
    free(p);
    p = rf_xcalloc(3, 5);
    for (int i = 0; i < 15; i++)
        assert_int_equal(p[i], 0);
    free(p);
    p = rf_xstrdup("abc");
    assert_string_equal(p, "abc");
    free(p);
    p = rf_xstrndup((rf_str){"abc", 2});
    assert_string_equal(p, "ab");
    free(p);
    p = rf_xstrndup((rf_str){NULL, 0});
    assert_string_equal(p, "");
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf__adds_of_each_kind__append),
        cmocka_unit_test(buf__past_its_max__fails_for_good_and_keeps_what_it_had),
        cmocka_unit_test(buf_reserve__every_size_near_max__is_exact),
        cmocka_unit_test(buf_addf__longer_than_its_own_space__whole),
        cmocka_unit_test(buf_json_str__table__escapes_what_json_forbids),
        cmocka_unit_test(base64__vectors_of_rfc_4648__both_ways),
        cmocka_unit_test(base64_decode__what_is_not_strict__is_refused),
        cmocka_unit_test(base64__every_length__round_trips_and_has_one_spelling),
        cmocka_unit_test(base64_decode__no_room__is_false),
        cmocka_unit_test(arena__many_sizes__aligned_and_apart),
        cmocka_unit_test(arena__small_ones_between_large__share_blocks),
        cmocka_unit_test(arena_dup__bytes__copy_with_a_nul),
        cmocka_unit_test(xmalloc_family__usual__allocates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
