/* Positions and their tokens; domains, expected revisions, streams, UUIDs. */
#include "event/support.h"

static rf_position position_of(const char *const *parts)
{
    rf_position p = {NULL, 0};
    for (; *parts != NULL; parts++) {
        char domain[64];
        unsigned partition;
        unsigned long long next;
        assert_int_equal(sscanf(*parts, "%63[^/]/%u:%llu", domain, &partition, &next), 3);
        rf_position_raise(&p, rf_str_from(domain), partition, next);
    }
    return p;
}

static void raise__in_any_order__sorted_and_never_lowered(void **state)
{
    (void)state;
    rf_position p = {NULL, 0};
    rf_position_raise(&p, RF_STR("b"), 1, 5);
    rf_position_raise(&p, RF_STR("a"), 7, 1);
    rf_position_raise(&p, RF_STR("b"), 0, UINT64_MAX);
    rf_position_raise(&p, RF_STR("ab"), UINT32_MAX, 2);
    rf_position_raise(&p, RF_STR("b"), 1, 4); /* not back */
    rf_position_raise(&p, RF_STR("b"), 1, 6);
    rf_position_raise(&p, RF_STR("zero"), 0, 0); /* as if not listed */
    assert_int_equal(p.count, 4);
    static const char *const NAMES[] = {"a", "ab", "b", "b"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(p.parts[i].domain, NAMES[i]);
    assert_int_equal(p.parts[2].partition, 0);
    assert_int_equal(rf_position_get(&p, RF_STR("b"), 1), 6);
    assert_int_equal(rf_position_get(&p, RF_STR("b"), 0), UINT64_MAX);
    assert_int_equal(rf_position_get(&p, RF_STR("b"), 2), 0);
    assert_int_equal(rf_position_get(&p, RF_STR("c"), 0), 0);
    rf_position_clear(&p);
    assert_int_equal(rf_position_get(&p, RF_STR("b"), 1), 0);
    rf_position_clear(&p);
}

static void raise__longest_domain__fits(void **state)
{
    (void)state;
    rf_position p = {NULL, 0};
    char name[RF_DOMAIN_MAX + 1];
    memset(name, 'd', RF_DOMAIN_MAX);
    rf_position_raise(&p, (rf_str){name, RF_DOMAIN_MAX}, 0, 1);
    assert_int_equal(strlen(p.parts[0].domain), RF_DOMAIN_MAX);
    assert_int_equal(rf_position_get(&p, (rf_str){name, RF_DOMAIN_MAX}, 0), 1);
    rf_position_clear(&p);
}

static void reached__every_component__must_be(void **state)
{
    (void)state;
    rf_position none = {NULL, 0};
    rf_position a = position_of((const char *const[]){"x/0:5", "y/0:2", NULL});
    rf_position b = position_of((const char *const[]){"x/0:5", NULL});
    rf_position c = position_of((const char *const[]){"x/0:6", "y/0:1", "z/0:1", NULL});
    assert_true(rf_position_reached(&a, &a));
    assert_true(rf_position_reached(&a, &none));
    assert_true(rf_position_reached(&none, &none));
    assert_false(rf_position_reached(&none, &b));
    assert_true(rf_position_reached(&a, &b));
    assert_false(rf_position_reached(&b, &a));
    assert_false(rf_position_reached(&c, &a));
    assert_false(rf_position_reached(&a, &c));
    assert_true(rf_position_reached(&c, &b));
    rf_position_clear(&a);
    rf_position_clear(&b);
    rf_position_clear(&c);
}

static void copy__position__has_its_own_memory(void **state)
{
    (void)state;
    rf_position a = position_of((const char *const[]){"x/0:5", "y/3:2", NULL});
    rf_position b = position_of((const char *const[]){"old/0:1", NULL});
    rf_position_copy(&b, &a);
    rf_position_copy(&b, &b);
    rf_position_clear(&a);
    assert_int_equal(b.count, 2);
    assert_int_equal(rf_position_get(&b, RF_STR("y"), 3), 2);
    assert_int_equal(rf_position_get(&b, RF_STR("old"), 0), 0);
    rf_position_clear(&b);
}

/* ---- tokens -----------------------------------------------------------------------------------
 */

static void assert_round_trips(const rf_position *p)
{
    rf_buf token, again;
    rf_position back;
    rf_err err = {0};
    rf_buf_init(&token, 1 << 20);
    rf_buf_init(&again, 1 << 20);
    rf_position_encode(p, &token);
    assert_true(token.n > 0 && !token.failed);
    for (size_t i = 0; i < token.n; i++)
        assert_non_null(
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", token.p[i]));
    assert_int_equal(rf_position_decode(rf_buf_str(&token), &back, &err), RF_OK);
    assert_int_equal(back.count, p->count);
    assert_true(rf_position_reached(&back, p) && rf_position_reached(p, &back));
    rf_position_encode(&back, &again);
    assert_true(rf_str_eq(rf_buf_str(&token), rf_buf_str(&again)));
    rf_position_clear(&back);
    rf_buf_clear(&token);
    rf_buf_clear(&again);
}

static void token__positions__round_trip(void **state)
{
    (void)state;
    rf_position p = {NULL, 0};
    assert_round_trips(&p);
    rng r = rng_start(__func__);
    for (int i = 0; i < 300; i++) {
        char domain[RF_DOMAIN_MAX + 1];
        snprintf(domain, sizeof domain, "d%zu_x-y", rng_below(&r, 50));
        rf_position_raise(&p, rf_str_from(domain), (uint32_t)(rng_next(&r) >> rng_below(&r, 32)),
                          rng_next(&r) >> rng_below(&r, 64));
        assert_round_trips(&p);
    }
    rf_position_clear(&p);
}

static rf_status decode_text(rf_str text, rf_err *err)
{
    rf_buf token;
    rf_position p;
    memset(&p, 0xee, sizeof p); /* need not be initialised */
    rf_buf_init(&token, SIZE_MAX);
    rf_buf_add_base64url(&token, text.p, text.n);
    rf_status st = rf_position_decode(rf_buf_str(&token), &p, err);
    if (st != RF_OK)
        assert_true(p.parts == NULL && p.count == 0);
    rf_position_clear(&p);
    rf_buf_clear(&token);
    return st;
}

static void token__made_up_texts__only_the_exact_form_passes(void **state)
{
    (void)state;
    static const char *const GOOD[] = {
        "1",
        "1;a/0:1",
        "1;a/0:1;a/1:1;b/0:9",
        "1;0/4294967295:18446744073709551615",
    };
    static const char *const BAD[] = {
        "",
        "2",
        "2;a/0:1",
        "1;",
        "1;a",
        "1;a/0",
        "1;a/0:",
        "1;a/:1",
        "1;/0:1",
        "1a/0:1",
        "11",
        "1;a/0:1;",
        "1;;a/0:1",
        "1;a/0:0",
        "1;a/0:01",
        "1;a/00:1",
        "1;a/0:1;a/0:1",
        "1;b/0:1;a/0:1",
        "1;a/1:1;a/0:1",
        "1;a/0:-1",
        "1;a/0:+1",
        "1;a/0: 1",
        "1;a/0:1 ",
        "1;a/4294967296:1",
        "1;a/0:18446744073709551616",
        "1;A/0:1",
        "1;-a/0:1",
        "1;a b/0:1",
        "1;../0:1",
        "1;a/0/0:1",
        "1;a/0:1:1",
        "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/0:1", /* 64 */
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(GOOD); i++) {
        rf_err err = {0};
        if (decode_text(rf_str_from(GOOD[i]), &err) != RF_OK)
            fail_msg("refused %s", GOOD[i]);
    }
    for (size_t i = 0; i < RF_ARRAY_LEN(BAD); i++) {
        rf_err err = {0};
        if (decode_text(rf_str_from(BAD[i]), &err) != RF_EINVAL)
            fail_msg("accepted %s", BAD[i]);
        assert_true(err.text[0] != '\0');
    }
    rf_err err = {0};
    assert_int_equal(decode_text((rf_str){"1;a\0/0:1", 8}, &err), RF_EINVAL);
    assert_int_equal(decode_text((rf_str){"1;a/0:1\0", 8}, &err), RF_EINVAL);
}

static void token__not_base64url__is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",    "=",    "MQ==",     "M",     "MR",
                                      "MQ ", "M+==", "\xff\xff", "%4D%51"};
    for (size_t i = 0; i < RF_ARRAY_LEN(BAD); i++) {
        rf_position p;
        rf_err err = {0};
        if (rf_position_decode(rf_str_from(BAD[i]), &p, &err) != RF_EINVAL)
            fail_msg("accepted %s", BAD[i]);
        rf_position_clear(&p);
    }
}

static void token__huge_or_random__is_refused_quickly(void **state)
{
    (void)state;
    rf_err err = {0};
    rf_buf text;
    rf_buf_init(&text, SIZE_MAX);
    rf_buf_add_char(&text, '1');
    for (unsigned i = 0; i < 70000; i++) /* one more domain than may be */
        rf_buf_addf(&text, ";a/%u:1", i);
    int64_t start = rf_mono_us();
    assert_int_equal(decode_text(rf_buf_str(&text), &err), RF_EINVAL);
    rf_buf_reset(&text);
    for (int i = 0; i < 5000000; i++)
        rf_buf_add_char(&text, 'x');
    assert_int_equal(decode_text(rf_buf_str(&text), &err), RF_EINVAL);
    assert_true(rf_mono_us() - start < 20000000);
    rf_buf_clear(&text);

    rng r = rng_start(__func__);
    for (int i = 0; i < 20000; i++) {
        char token[64];
        size_t n = rng_below(&r, sizeof token);
        rf_position p;
        for (size_t k = 0; k < n; k++)
            token[k] = (char)rng_next(&r);
        if (rf_position_decode((rf_str){token, n}, &p, &err) == RF_OK)
            assert_round_trips(&p);
        rf_position_clear(&p);
    }
}

/* ---- small rules ------------------------------------------------------------------------------
 */

static void domain_valid__table__letters_digits_and_inner_marks(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool valid;
    } CASES[] = {
        {"a", true},
        {"0", true},
        {"shop", true},
        {"a-b_c9", true},
        {"a-", true},
        {"", false},
        {"-a", false},
        {"_a", false},
        {"A", false},
        {"a.b", false},
        {"a/b", false},
        {"..", false},
        {"a b", false},
        {"\xc3\xa4", false},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},   /* 63 */
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}, /* 64 */
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++)
        assert_int_equal(rf_domain_valid(rf_str_from(CASES[i].name)), CASES[i].valid);
    assert_false(rf_domain_valid((rf_str){"a\0b", 3}));
}

static void expect_parse__table__four_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool fine;
        int kind;
        uint64_t revision;
    } CASES[] = {
        {"any", true, RF_EXPECT_ANY, 0},
        {"no-stream", true, RF_EXPECT_NO_STREAM, 0},
        {"stream-exists", true, RF_EXPECT_STREAM_EXISTS, 0},
        {"0", true, RF_EXPECT_EXACT, 0},
        {"18446744073709551615", true, RF_EXPECT_EXACT, UINT64_MAX},
        {"", false, 0, 0},
        {"-1", false, 0, 0},
        {"Any", false, 0, 0},
        {"1.0", false, 0, 0},
        {"18446744073709551616", false, 0, 0},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_expect expect = {.kind = RF_EXPECT_ANY};
        assert_int_equal(rf_expect_parse(rf_str_from(CASES[i].text), &expect), CASES[i].fine);
        assert_int_equal(expect.kind, CASES[i].kind);
        assert_int_equal(expect.revision, CASES[i].revision);
    }
}

static void event_stream__subject__or_else_source(void **state)
{
    (void)state;
    rf_event e = {.source = RF_STR("/s"), .subject = RF_STR("x")};
    assert_str(rf_event_stream(&e), "x");
    e.subject.n = 0;
    assert_str(rf_event_stream(&e), "/s");
}

/* ---- UUIDs -------------------------------------------------------------------------------------
 */

static void assert_uuid(const char *text, char version)
{
    assert_int_equal(strlen(text), RF_UUID_TEXT);
    for (size_t i = 0; i < RF_UUID_TEXT; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(text[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", text[i]));
    }
    assert_int_equal(text[14], version);
    assert_non_null(strchr("89ab", text[19]));
}

static void uuid7__many__distinct_in_form_and_in_order_of_time(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static char ids[COUNT][RF_UUID_TEXT + 1];
    uint64_t before_ms = (uint64_t)rf_wall_us() / 1000;
    for (int i = 0; i < COUNT; i++)
        rf_uuid7(ids[i]);
    uint64_t after_ms = (uint64_t)rf_wall_us() / 1000;
    for (int i = 0; i < COUNT; i++) {
        assert_uuid(ids[i], '7');
        char hex[13] = {0};
        memcpy(hex, ids[i], 8);
        memcpy(hex + 8, ids[i] + 9, 4);
        uint64_t ms = strtoull(hex, NULL, 16);
        assert_true(ms >= before_ms && ms <= after_ms);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
}

static void uuid8_of__bytes__deterministic(void **state)
{
    (void)state;
    char a[RF_UUID_TEXT + 1], b[RF_UUID_TEXT + 1], c[RF_UUID_TEXT + 1];
    rf_uuid8_of("abc", 3, a);
    rf_uuid8_of("abc", 3, b);
    rf_uuid8_of("abd", 3, c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_uuid(a, '8');
    /* SHA-256("abc") is ba7816bf 8f01 cfea 4141 40de5dae2223...: version and variant set. */
    assert_string_equal(a, "ba7816bf-8f01-8fea-8141-40de5dae2223");
    rf_uuid8_of(NULL, 0, a);
    assert_uuid(a, '8');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raise__in_any_order__sorted_and_never_lowered),
        cmocka_unit_test(raise__longest_domain__fits),
        cmocka_unit_test(reached__every_component__must_be),
        cmocka_unit_test(copy__position__has_its_own_memory),
        cmocka_unit_test(token__positions__round_trip),
        cmocka_unit_test(token__made_up_texts__only_the_exact_form_passes),
        cmocka_unit_test(token__not_base64url__is_refused),
        cmocka_unit_test(token__huge_or_random__is_refused_quickly),
        cmocka_unit_test(domain_valid__table__letters_digits_and_inner_marks),
        cmocka_unit_test(expect_parse__table__four_forms),
        cmocka_unit_test(event_stream__subject__or_else_source),
        cmocka_unit_test(uuid7__many__distinct_in_form_and_in_order_of_time),
        cmocka_unit_test(uuid8_of__bytes__deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
