/* Slices, UTF-8, numbers, edit distance, little-endian access. */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void str__eq_starts_cmp__agree_with_bytes(void **state)
{
    (void)state;
    static const struct {
        rf_str a, b;
        int order;   /* sign */
        bool starts; /* a begins with b */
    } CASES[] = {
        {{NULL, 0}, {NULL, 0}, 0, true},    {{NULL, 0}, {"", 0}, 0, true},
        {{"a", 1}, {NULL, 0}, 1, true},     {{NULL, 0}, {"a", 1}, -1, false},
        {{"abc", 3}, {"abc", 3}, 0, true},  {{"abc", 3}, {"ab", 2}, 1, true},
        {{"ab", 2}, {"abc", 3}, -1, false}, {{"abd", 3}, {"abc", 3}, 1, false},
        {{"\xff", 1}, {"a", 1}, 1, false},  {{"a\0b", 3}, {"a\0c", 3}, -1, false},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        int order = rf_str_cmp(CASES[i].a, CASES[i].b);
        assert_int_equal((order > 0) - (order < 0), CASES[i].order);
        assert_int_equal(rf_str_eq(CASES[i].a, CASES[i].b), CASES[i].order == 0);
        assert_int_equal(rf_str_starts(CASES[i].a, CASES[i].b), CASES[i].starts);
    }
    assert_true(rf_str_eq(rf_str_from("abc"), RF_STR("abc")));
    assert_int_equal(rf_str_from(NULL).n, 0);
}

static void str_to_u64__table__whole_decimal_that_fits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool fine;
        uint64_t value;
    } CASES[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"+1", false, 0},
        {"-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1a", false, 0},
        {"0x1", false, 0},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        uint64_t v = 0;
        assert_int_equal(rf_str_to_u64(rf_str_from(CASES[i].text), &v), CASES[i].fine);
        if (CASES[i].fine)
            assert_int_equal(v, CASES[i].value);
    }
}

/* ---- UTF-8 ---------------------------------------------------------------------------------- */

static void utf8__table__valid_or_first_bad_byte(void **state)
{
    (void)state;
    static const struct {
        rf_str text;
        long bad_at; /* -1: valid */
    } CASES[] = {
        {{NULL, 0}, -1},
        {{"plain ASCII, longer than eight bytes", 36}, -1},
        {{"\0", 1}, -1},
        {{"\xc2\x80\xdf\xbf", 4}, -1},
        {{"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", 12}, -1},
        {{"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8}, -1},
        {{"\x80", 1}, 0},
        {{"\xc0\x80", 2}, 0},         /* overlong NUL */
        {{"\xc1\xbf", 2}, 0},         /* overlong */
        {{"\xe0\x9f\xbf", 3}, 0},     /* overlong */
        {{"\xf0\x8f\xbf\xbf", 4}, 0}, /* overlong */
        {{"\xed\xa0\x80", 3}, 0},     /* surrogate */
        {{"\xed\xbf\xbf", 3}, 0},     /* surrogate */
        {{"\xf4\x90\x80\x80", 4}, 0}, /* above U+10FFFF */
        {{"\xf5\x80\x80\x80", 4}, 0},
        {{"\xff", 1}, 0},
        {{"ab\xc3", 3}, 2},
        {{"ab\xe2\x82", 4}, 2},
        {{"ab\xf0\x9f\x98", 5}, 2},
        {{"12345678\xc3(", 10}, 8},
        {{"\xc3\xa4"
          "1234567\xff",
          10},
         9},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        size_t bad = 12345;
        bool valid = rf_utf8_valid(CASES[i].text.p, CASES[i].text.n, &bad);
        assert_int_equal(valid, CASES[i].bad_at < 0);
        if (!valid)
            assert_int_equal(bad, CASES[i].bad_at);
        assert_int_equal(rf_utf8_valid(CASES[i].text.p, CASES[i].text.n, NULL), valid);
    }
}

/* The definition, written from the code point's side: decode, then look at the value. */
static bool valid_by_definition(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t more = p[i] < 0x80       ? 0
                      : p[i] >> 5 == 6  ? 1
                      : p[i] >> 4 == 14 ? 2
                      : p[i] >> 3 == 30 ? 3
                                        : 9;
        if (more == 9 || more >= n - i)
            return false;
        uint32_t point = more == 0 ? p[i] : p[i] & (0x3fu >> more);
        for (size_t k = 1; k <= more; k++) {
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
            point = point << 6 | (p[i + k] & 0x3f);
        }
        static const uint32_t LEAST[] = {0, 0x80, 0x800, 0x10000};
        if (point < LEAST[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return false;
        i += more + 1;
    }
    return true;
}

static void utf8__all_of_three_bytes__agrees_with_the_definition(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        unsigned char p[3] = {(unsigned char)(v >> 16), (unsigned char)(v >> 8), (unsigned char)v};
        if (rf_utf8_valid((char *)p, 3, NULL) != valid_by_definition(p, 3))
            fail_msg("%02x %02x %02x", p[0], p[1], p[2]);
    }
}

static void utf8__four_byte_leads__agree_with_the_definition(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1u << 21; v++) {
        /* Lead F0..F7, second byte any, the others from a few classes. */
        static const unsigned char CLASSES[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff, 0x90, 0xa0};
        unsigned char p[4] = {(unsigned char)(0xf0 | (v & 7)), (unsigned char)(v >> 3),
                              CLASSES[v >> 11 & 7], CLASSES[v >> 14 & 7]};
        if (rf_utf8_valid((char *)p, 4, NULL) != valid_by_definition(p, 4))
            fail_msg("%02x %02x %02x %02x", p[0], p[1], p[2], p[3]);
    }
}

static void utf8_scrub__bad_bytes__become_question_marks(void **state)
{
    (void)state;
    char text[] = "a\xff\xc3\xa4\xe2\x82z\x80";
    rf_utf8_scrub(text, sizeof text - 1);
    assert_string_equal(text, "a?\xc3\xa4??z?");
    rf_utf8_scrub(NULL, 0);
}

/* ---- edit distance -------------------------------------------------------------------------- */

static void edit_distance__table__capped_levenshtein(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t max, distance;
    } CASES[] = {
        {"", "", 5, 0},
        {"kitten", "sitting", 10, 3},
        {"sitting", "kitten", 10, 3},
        {"kitten", "sitting", 3, 3},
        {"kitten", "sitting", 2, 2},
        {"listen", "listne", 5, 2},
        {"port", "prot", 5, 2},
        {"abc", "", 5, 3},
        {"", "abc", 5, 3},
        {"abc", "", 2, 2},
        {"same", "same", 1, 0},
        {"same", "same", 0, 0},
        {"same", "tame", 1, 1},
        {"flight.landed", "flight.landet", 3, 1},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++)
        assert_int_equal(
            rf_edit_distance(rf_str_from(CASES[i].a), rf_str_from(CASES[i].b), CASES[i].max),
            CASES[i].distance);
}

static void edit_distance__long_strings__are_max_unless_equal(void **state)
{
    (void)state;
    char a[1000], b[1000];
    memset(a, 'x', sizeof a);
    memset(b, 'x', sizeof b);
    assert_int_equal(rf_edit_distance((rf_str){a, 1000}, (rf_str){b, 1000}, 3), 0);
    b[500] = 'y';
    assert_int_equal(rf_edit_distance((rf_str){a, 1000}, (rf_str){b, 1000}, 3), 3);
}

/* ---- little-endian -------------------------------------------------------------------------- */

static void le__unaligned__round_trips_least_byte_first(void **state)
{
    (void)state;
    unsigned char p[9] = {0};
    rf_put_le64(p + 1, UINT64_C(0x0807060504030201));
    for (unsigned i = 1; i <= 8; i++)
        assert_int_equal(p[i], i);
    assert_int_equal(rf_le64(p + 1), UINT64_C(0x0807060504030201));
    assert_int_equal(rf_le32(p + 1), 0x04030201);
    assert_int_equal(rf_le16(p + 1), 0x0201);
    rf_put_le32(p + 3, 0xaabbccdd);
    rf_put_le16(p + 7, 0xeeff);
    assert_int_equal(rf_le64(p + 1), UINT64_C(0xeeffaabbccdd0201));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(str__eq_starts_cmp__agree_with_bytes),
        cmocka_unit_test(str_to_u64__table__whole_decimal_that_fits),
        cmocka_unit_test(utf8__table__valid_or_first_bad_byte),
        cmocka_unit_test(utf8__all_of_three_bytes__agrees_with_the_definition),
        cmocka_unit_test(utf8__four_byte_leads__agree_with_the_definition),
        cmocka_unit_test(utf8_scrub__bad_bytes__become_question_marks),
        cmocka_unit_test(edit_distance__table__capped_levenshtein),
        cmocka_unit_test(edit_distance__long_strings__are_max_unless_equal),
        cmocka_unit_test(le__unaligned__round_trips_least_byte_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
