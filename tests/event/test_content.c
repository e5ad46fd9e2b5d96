/* The content hash: what makes two sendings the same event, and what does not. */
#include "event/support.h"

#include <yyjson.h>

/* ---- data by value ----------------------------------------------------------------------------
 */

static const struct {
    const char *a, *b;
} EQUAL[] = {
    {"1", "1.0"},
    {"1", "1e0"},
    {"1", "10e-1"},
    {"100", "1E+2"},
    {"0", "-0"},
    {"0", "-0.0"},
    {"0", "0e5"},
    {"0.1", "0.10"},
    {"0.1", "1e-1"},
    {"-5", "-5.0"},
    {"-9223372036854775808", "-9223372036854775808.0"},
    {"9007199254740992", "9007199254740992.0"},
    {"18446744073709551616", "1.8446744073709551616e19"},
    {"123456789012345678901234567890", "1.2345678901234568e29"},
    {"1.00000000000000000000001", "1"}, /* the nearest double */
    {"1e-400", "0"},
    {"[1,2]", " [ 1.0 ,\n2 ] "},
    {"{}", "{ }"},
    {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}"},
    {"{\"a\":{\"x\":[1],\"y\":null},\"b\":2}", "{ \"b\":2, \"a\":{\"y\":null,\"x\":[1.0]}}"},
    {"\"\\u0041\"", "\"A\""},
    {"\"\\/\"", "\"/\""},
    {"\"\\n\"", "\"\\u000a\""},
    {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
    {"{\"\\u006b\":1}", "{\"k\":1}"},
};

static const struct {
    const char *a, *b;
} DIFFERENT[] = {
    {"1", "2"},
    {"1", "-1"},
    {"1", "\"1\""},
    {"1", "true"},
    {"0", "false"},
    {"0", "null"},
    {"null", "false"},
    {"true", "false"},
    {"\"\"", "null"},
    {"\"\"", "[]"},
    {"[]", "{}"},
    {"[]", "[[]]"},
    {"[]", "[null]"},
    {"[null]", "[null,null]"},
    {"1", "[1]"},
    {"[1]", "[[1]]"},
    {"[1,2]", "[2,1]"},
    {"[[1],2]", "[1,[2]]"},
    {"[[1,2]]", "[[1],[2]]"},
    {"[[],[[]]]", "[[[]],[]]"},
    {"{\"a\":1}", "{\"a\":2}"},
    {"{\"a\":1}", "{\"b\":1}"},
    {"{\"a\":1}", "{\"a\":1,\"b\":null}"},
    {"{\"a\":null}", "{}"},
    {"{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":1}"},
    {"{\"a\":\"b\"}", "{\"b\":\"a\"}"},
    {"{\"a\":{\"b\":1}}", "{\"b\":{\"a\":1}}"},
    {"{\"a\":{},\"b\":[]}", "{\"a\":[],\"b\":{}}"},
    {"[{\"a\":1},{\"b\":2}]", "[{\"a\":1,\"b\":2}]"},
    {"\"a\"", "\"aa\""},
    {"\"aa\"", "\"aaa\""},
    {"\"aaaa\"", "\"aaaaa\""},
    {"\"aaaaaaaa\"", "\"aaaaaaaaa\""},
    {"\"a\"", "\"A\""},
    {"\"a\"", "\"a \""},
    {"\"\xc3\xa9\"", "\"e\xcc\x81\""}, /* no Unicode normalisation */
    {"0.1", "0.2"},
    {"0.1", "0.1000000000000001"},
    {"9007199254740992", "9007199254740993"}, /* integers are exact */
    {"18446744073709551615", "18446744073709551614"},
    {"18446744073709551615", "18446744073709551616"},
    {"-9223372036854775808", "9223372036854775808"},
    {"1e300", "1e301"},
};

static void json_content__equal_pairs__have_one_hash(void **state)
{
    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(EQUAL); i++) {
        rf_hash128 a = rf_json_content(rf_str_from(EQUAL[i].a), SEED);
        rf_hash128 b = rf_json_content(rf_str_from(EQUAL[i].b), SEED);
        if (!rf_hash_eq(a, b))
            fail_msg("%s and %s differ", EQUAL[i].a, EQUAL[i].b);
        assert_false(a.lo == 0 && a.hi == 0);
    }
}

static void json_content__different_pairs__differ_in_both_halves(void **state)
{
    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(DIFFERENT); i++) {
        rf_hash128 a = rf_json_content(rf_str_from(DIFFERENT[i].a), SEED);
        rf_hash128 b = rf_json_content(rf_str_from(DIFFERENT[i].b), SEED);
        if (a.lo == b.lo || a.hi == b.hi)
            fail_msg("%s and %s are the same", DIFFERENT[i].a, DIFFERENT[i].b);
    }
}

static void json_content__all_different_values__no_two_alike(void **state)
{
    (void)state;
    enum { N = RF_ARRAY_LEN(DIFFERENT) * 2 };
    static rf_hash128 h[N];
    const char *text[N];
    for (size_t i = 0; i < N; i++) {
        text[i] = i % 2 ? DIFFERENT[i / 2].b : DIFFERENT[i / 2].a;
        h[i] = rf_json_content(rf_str_from(text[i]), SEED);
        for (size_t k = 0; k < i; k++)
            assert_int_equal(rf_hash_eq(h[i], h[k]), strcmp(text[i], text[k]) == 0);
    }
}

static void json_content__seed__changes_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(DIFFERENT); i++) {
        rf_str a = rf_str_from(DIFFERENT[i].a);
        assert_false(rf_hash_eq(rf_json_content(a, 1), rf_json_content(a, 2)));
    }
}

static void json_content__not_json__is_zero(void **state)
{
    (void)state;
    static const char *const CASES[] = {"", "{", "[1,]", "1 2", "{\"a\":1,\"a\":2}", "1e999"};
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_hash128 h = rf_json_content(rf_str_from(CASES[i]), SEED);
        assert_true(h.lo == 0 && h.hi == 0);
    }
}

/* Strings of every length, of one letter and with one byte changed: a million pairs, all apart. */
static int by_hash(const void *a, const void *b)
{
    return rf_hash_cmp(*(const rf_hash128 *)a, *(const rf_hash128 *)b);
}

static void json_content__strings_that_are_nearly_alike__never_collide(void **state)
{
    (void)state;
    enum { LENGTH = 40, CAP = LENGTH * LENGTH * 3 + LENGTH * 2 };
    static rf_hash128 h[CAP];
    size_t n = 0;
    for (size_t length = 0; length <= LENGTH; length++) {
        char text[LENGTH + 3];
        text[0] = text[length + 1] = '"';
        memset(text + 1, 'a', length);
        h[n++] = rf_json_content((rf_str){text, length + 2}, SEED);
        for (size_t at = 0; at < length; at++) {
            static const char OTHER[] = {'b', 'A', '\x7f'};
            for (size_t k = 0; k < sizeof OTHER; k++) {
                text[1 + at] = OTHER[k];
                h[n++] = rf_json_content((rf_str){text, length + 2}, SEED);
                text[1 + at] = 'a';
            }
        }
        assert_true(n <= CAP - 3 * LENGTH - 1 || length == LENGTH);
    }
    qsort(h, n, sizeof h[0], by_hash);
    for (size_t i = 1; i < n; i++) {
        assert_int_not_equal(rf_hash_cmp(h[i - 1], h[i]), 0);
        assert_true(h[i - 1].hi != h[i].hi); /* nor half of it */
    }
}

static void json_content__integers__never_collide(void **state)
{
    (void)state;
    enum { N = 20000 };
    static rf_hash128 h[2 * N];
    size_t n = 0;
    for (int i = -N / 2; i < N / 2; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d", i);
        h[n++] = rf_json_content(rf_str_from(text), SEED);
        snprintf(text, sizeof text, "%d.5", i);
        h[n++] = rf_json_content(rf_str_from(text), SEED);
    }
    qsort(h, n, sizeof h[0], by_hash);
    for (size_t i = 1; i < n; i++)
        assert_int_not_equal(rf_hash_cmp(h[i - 1], h[i]), 0);
}

/* ---- random values against yyjson's own comparison ---------------------------------------------
 */

/* The same value in another spelling: members of objects turned round, new white space. */
static void respell(rng *r, yyjson_val *v, rf_buf *out)
{
    random_space(r, out);
    if (yyjson_is_arr(v)) {
        size_t i, n;
        yyjson_val *item;
        rf_buf_add_char(out, '[');
        yyjson_arr_foreach(v, i, n, item)
        {
            if (i > 0)
                rf_buf_add_char(out, ',');
            respell(r, item, out);
        }
        rf_buf_add_char(out, ']');
    } else if (yyjson_is_obj(v)) {
        size_t n = yyjson_obj_size(v), from = n > 0 ? rng_below(r, n) : 0, done = 0;
        rf_buf_add_char(out, '{');
        for (int lap = 0; lap < 2; lap++) {
            size_t i, count;
            yyjson_val *key, *item;
            yyjson_obj_foreach(v, i, count, key, item)
            {
                if ((i >= from) != (lap == 0))
                    continue;
                if (done++ > 0)
                    rf_buf_add_char(out, ',');
                respell(r, key, out);
                rf_buf_add_char(out, ':');
                respell(r, item, out);
            }
        }
        rf_buf_add_char(out, '}');
    } else if (yyjson_is_raw(v)) {
        rf_buf_add(out, yyjson_get_raw(v), yyjson_get_len(v));
    } else {
        size_t n;
        char *text = yyjson_val_write(v, rng_below(r, 2) ? YYJSON_WRITE_ESCAPE_UNICODE : 0, &n);
        assert_non_null(text);
        rf_buf_add(out, text, n);
        free(text);
    }
    random_space(r, out);
}

static void json_content__random_value_respelled__is_the_same(void **state)
{
    (void)state;
    rng r = rng_start(__func__);
    for (int i = 0; i < 3000; i++) {
        rf_buf a, b;
        rf_buf_init(&a, 10000000);
        rf_buf_init(&b, 10000000);
        random_json(&r, &a, 5);
        yyjson_doc *doc = yyjson_read_opts(a.p, a.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, NULL);
        assert_non_null(doc);
        respell(&r, yyjson_doc_get_root(doc), &b);
        rf_hash128 ha = rf_json_content(rf_buf_str(&a), SEED);
        rf_hash128 hb = rf_json_content(rf_buf_str(&b), SEED);
        if (!rf_hash_eq(ha, hb))
            fail_msg("%.*s\n%.*s", (int)a.n, a.p, (int)b.n, b.p);
        yyjson_doc_free(doc);
        rf_buf_clear(&a);
        rf_buf_clear(&b);
    }
}

static bool has_number(yyjson_val *v)
{
    size_t i, n;
    yyjson_val *key, *item;
    yyjson_arr_foreach(v, i, n, item)
    {
        if (has_number(item))
            return true;
    }
    yyjson_obj_foreach(v, i, n, key, item)
    {
        if (has_number(item))
            return true;
    }
    return yyjson_is_num(v);
}

static void json_content__random_pair__equal_only_if_yyjson_says_so(void **state)
{
    (void)state;
    rng r = rng_start(__func__);
    int equal = 0;
    for (int i = 0; i < 20000; i++) {
        rf_buf a, b;
        rf_buf_init(&a, 10000000);
        rf_buf_init(&b, 10000000);
        random_json(&r, &a, 2);
        random_json(&r, &b, 2);
        yyjson_doc *da = yyjson_read(a.p, a.n, 0), *db = yyjson_read(b.p, b.n, 0);
        bool same = yyjson_equals(yyjson_doc_get_root(da), yyjson_doc_get_root(db));
        bool same_hash = rf_hash_eq(rf_json_content(rf_buf_str(&a), SEED),
                                    rf_json_content(rf_buf_str(&b), SEED));
        /* yyjson tells 1 from 1.0, so with numbers only one direction holds. */
        bool numbers = has_number(yyjson_doc_get_root(da));
        if (numbers ? same && !same_hash : same != same_hash)
            fail_msg("%.*s\n%.*s", (int)a.n, a.p, (int)b.n, b.p);
        equal += same;
        yyjson_doc_free(da);
        yyjson_doc_free(db);
        rf_buf_clear(&a);
        rf_buf_clear(&b);
    }
    assert_true(equal > 100); /* both cases were seen */
}

/* ---- whole events -------------------------------------------------------------------------------
 */

#define HEAD "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""
#define BASE HEAD ",\"subject\":\"x\",\"ext\":\"v\",\"data\":{\"a\":1,\"b\":2}}"

static void event_content__same_event__same_hash(void **state)
{
    (void)state;
    static const char *const SAME[] = {
        BASE,
        " { \"data\": {\"b\":2.0, \"a\":1e0}, \"ext\":\"\\u0076\", \"subject\":\"x\", "
        "\"type\":\"t\","
        " \"source\":\"\\/s\", \"id\":\"1\", \"specversion\":\"1.0\" } ",
        HEAD
        ",\"subject\":\"x\",\"ext\":\"v\",\"data\":{\"a\":1,\"b\":2},\"traceparent\":\"00-a\"}",
        HEAD ",\"subject\":\"x\",\"ext\":\"v\",\"data\":{\"a\":1,\"b\":2},\"tracestate\":\"k=v\"}",
        HEAD ",\"subject\":\"x\",\"ext\":\"v\",\"data\":{\"a\":1,\"b\":2},\"expectedrevision\":4}",
        HEAD ",\"subject\":\"x\",\"ext\":\"v\",\"data\":{\"a\":1,\"b\":2},\"gone\":null}",
    };
    rf_decoder *d = decoder_new();
    rf_hash128 base = must_decode(d, RF_STR(BASE)).content;
    for (size_t i = 0; i < RF_ARRAY_LEN(SAME); i++) {
        if (!rf_hash_eq(must_decode(d, rf_str_from(SAME[i])).content, base))
            fail_msg("differs: %s", SAME[i]);
    }
    rf_decoder_free(&d);
}

static void event_content__any_other_event__another_hash(void **state)
{
    (void)state;
    static const char *const OTHER[] = {
        BASE,
        HEAD "}",
        HEAD ",\"data\":null}",
        HEAD ",\"data\":\"\"}",
        HEAD ",\"data_base64\":\"\"}",
        HEAD ",\"data\":\"a\"}",
        HEAD ",\"data_base64\":\"YQ==\"}",
        HEAD ",\"subject\":\"a\"}",
        HEAD ",\"ext\":\"a\"}",
        HEAD ",\"ext\":\"\"}",
        HEAD ",\"ext\":\"1\"}",
        HEAD ",\"ext\":\"true\"}",
        HEAD ",\"correlationid\":\"a\"}",
        HEAD ",\"causationid\":\"a\"}",
        HEAD ",\"datacontenttype\":\"a\"}",
        HEAD ",\"dataschema\":\"a\"}",
        HEAD ",\"time\":\"2026-01-01T00:00:00Z\"}",
        HEAD ",\"time\":\"2026-01-01T00:00:01Z\"}",
        HEAD ",\"subject\":\"x\",\"ext\":\"v\",\"data\":{\"a\":1,\"b\":3}}",
        HEAD ",\"subject\":\"v\",\"ext\":\"x\",\"data\":{\"a\":1,\"b\":2}}",
        "{\"specversion\":\"1.0\",\"id\":\"/s\",\"source\":\"1\",\"type\":\"t\"}",
        "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/s\",\"type\":\"t\"}",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/r\",\"type\":\"t\"}",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"u\"}",
    };
    rf_decoder *d = decoder_new();
    rf_hash128 h[RF_ARRAY_LEN(OTHER)];
    for (size_t i = 0; i < RF_ARRAY_LEN(OTHER); i++) {
        h[i] = must_decode(d, rf_str_from(OTHER[i])).content;
        for (size_t k = 0; k < i; k++) {
            if (h[i].lo == h[k].lo || h[i].hi == h[k].hi)
                fail_msg("the same: %s\n%s", OTHER[i], OTHER[k]);
        }
    }
    rf_decoder_free(&d);
}

static void event_content__integer_and_boolean_extensions__by_their_string_form(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    assert_true(rf_hash_eq(must_decode(d, RF_STR(HEAD ",\"n\":5,\"b\":true}")).content,
                           must_decode(d, RF_STR(HEAD ",\"b\":\"true\",\"n\":\"5\"}")).content));
    rf_decoder_free(&d);
}

static void event_content__decoder__hides_no_state(void **state)
{
    (void)state;
    rf_decoder *used = decoder_new(), *fresh = decoder_new();
    rf_event e;
    rf_event_fault fault;
    for (int i = 0; i < 50; i++)
        must_decode(used, RF_STR(BASE));
    assert_int_equal(rf_event_decode(used, RF_STR(HEAD ",\"ext\":\"v\",\"data\":{\"a\":[{\"x\":"),
                                     &e, NULL, &fault),
                     RF_EINVAL);
    assert_int_equal(
        rf_event_decode(used, RF_STR(HEAD ",\"ext\":\"v\",\"data\":{\"a\":[{\"x\":1,\"x\":1}]}}"),
                        &e, NULL, &fault),
        RF_EINVAL);
    assert_true(rf_hash_eq(must_decode(used, RF_STR(BASE)).content,
                           must_decode(fresh, RF_STR(BASE)).content));
    rf_decoder_free(&used);
    rf_decoder_free(&fresh);
    rf_decoder *other = rf_decoder_new(&RF_EVENT_LIMITS_DEFAULT, SEED + 1);
    fresh = decoder_new();
    assert_false(rf_hash_eq(must_decode(other, RF_STR(BASE)).content,
                            must_decode(fresh, RF_STR(BASE)).content));
    rf_decoder_free(&other);
    rf_decoder_free(&fresh);
}

/* Stored beside every event: a change of the function would make every retry a conflict. */
static void event_content__golden__has_not_changed(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_hash128 h =
        must_decode(d, RF_STR(HEAD ",\"subject\":\"a longer subject than sixteen\",\"ext\":"
                                   "\"v\",\"data\":{\"s\":\"x\",\"n\":[-1,2.5,1e30],\"t\":"
                                   "true,\"z\":null}}"))
            .content;
    rf_decoder_free(&d);
    assert_int_equal(h.hi, UINT64_C(0x50bd421254130c22));
    assert_int_equal(h.lo, UINT64_C(0x05acacb10cf7fe41));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_content__equal_pairs__have_one_hash),
        cmocka_unit_test(json_content__different_pairs__differ_in_both_halves),
        cmocka_unit_test(json_content__all_different_values__no_two_alike),
        cmocka_unit_test(json_content__seed__changes_all),
        cmocka_unit_test(json_content__not_json__is_zero),
        cmocka_unit_test(json_content__strings_that_are_nearly_alike__never_collide),
        cmocka_unit_test(json_content__integers__never_collide),
        cmocka_unit_test(json_content__random_value_respelled__is_the_same),
        cmocka_unit_test(json_content__random_pair__equal_only_if_yyjson_says_so),
        cmocka_unit_test(event_content__same_event__same_hash),
        cmocka_unit_test(event_content__any_other_event__another_hash),
        cmocka_unit_test(event_content__integer_and_boolean_extensions__by_their_string_form),
        cmocka_unit_test(event_content__decoder__hides_no_state),
        cmocka_unit_test(event_content__golden__has_not_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
