/* Binary mode: attributes by headers, data by the body. And cutting JSON batches. */
#include "event/support.h"

typedef struct header {
    const char *name, *value;
} header;

#define REQUIRED                                                                                   \
    {"specversion", "1.0"}, {"id", "1"}, {"source", "/s"},                                         \
    {                                                                                              \
        "type", "t"                                                                                \
    }

/* Decodes headers (up to a NULL name) and body; the first fault ends it. */
static rf_status decode(rf_decoder *d, const header *headers, const char *type, rf_str body,
                        rf_event *e, rf_expect *expect, rf_event_fault *fault)
{
    *expect = (rf_expect){.kind = RF_EXPECT_ANY};
    rf_event_binary_begin(d, e);
    for (; headers->name != NULL; headers++) {
        /* In memory that is gone when the event is used. */
        char *name = rf_xstrdup(headers->name), *value = rf_xstrdup(headers->value);
        rf_status st =
            rf_event_binary_attr(d, e, expect, rf_str_from(name), rf_str_from(value), fault);
        memset(name, 'x', strlen(name));
        memset(value, 'x', strlen(value));
        free(name);
        free(value);
        if (st != RF_OK)
            return st;
    }
    char *kept = rf_xstrdup(type);
    rf_status st = rf_event_binary_finish(d, e, rf_str_from(kept), body, fault);
    memset(kept, 'x', strlen(kept));
    free(kept);
    return st;
}

static rf_event must(rf_decoder *d, const header *headers, const char *type, rf_str body)
{
    rf_event e;
    rf_expect expect;
    rf_event_fault fault;
    if (decode(d, headers, type, body, &e, &expect, &fault) != RF_OK)
        fail_msg("%s %s: %s", fault.rule, fault.path, fault.detail);
    return e;
}

static void binary__all_headers__land_in_their_fields(void **state)
{
    (void)state;
    static const header HEADERS[] = {
        {"SpecVersion", "1.0"},
        {"ID", "o-1"},
        {"source", "/shop"},
        {"type", "order.placed"},
        {"subject", "caf\xc3\xa9"},
        {"time", "2026-01-31T10:00:00Z"},
        {"dataschema", "urn:x"},
        {"correlationid", "c"},
        {"causationid", "k"},
        {"traceparent", "00"},
        {"zed", "1"},
        {"alpha", ""},
        {"expectedrevision", "4"},
        {NULL, NULL},
    };
    rf_decoder *d = decoder_new();
    rf_event e;
    rf_expect expect;
    rf_event_fault fault;
    rf_str body = RF_STR(" {\"a\":[1]}\r\n");
    assert_int_equal(
        decode(d, HEADERS, "application/json; charset=utf-8", body, &e, &expect, &fault), RF_OK);
    assert_str(e.id, "o-1");
    assert_str(e.source, "/shop");
    assert_str(e.type, "order.placed");
    assert_str(e.subject, "caf\xc3\xa9");
    assert_int_equal(e.time_us, INT64_C(1769853600000000));
    assert_str(e.dataschema, "urn:x");
    assert_str(e.correlationid, "c");
    assert_str(e.causationid, "k");
    assert_str(e.traceparent, "00");
    assert_str(e.datacontenttype, "application/json; charset=utf-8");
    assert_str(e.extensions, "\"alpha\":\"\",\"zed\":\"1\"");
    assert_int_equal(e.data_kind, RF_DATA_JSON);
    assert_str(e.data, "{\"a\":[1]}");
    assert_true(e.data.p > body.p && e.data.p < body.p + body.n);
    assert_int_equal(expect.kind, RF_EXPECT_EXACT);
    assert_int_equal(expect.revision, 4);
    rf_decoder_free(&d);
}

static void binary__content_type__decides_json_or_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *type, *body;
        rf_data_kind kind;
    } CASES[] = {
        {"application/json", "1", RF_DATA_JSON},
        {"APPLICATION/JSON;x=y", "1", RF_DATA_JSON},
        {"text/json", "1", RF_DATA_JSON},
        {"application/vnd.shop+json", "1", RF_DATA_JSON},
        {"application/vnd.shop+JSON ; v=1", "1", RF_DATA_JSON},
        {"", "1", RF_DATA_JSON},
        {";charset=x", "1", RF_DATA_JSON},
        {"+json", "1", RF_DATA_BINARY},
        {"application/jsonp", "1", RF_DATA_BINARY},
        {"text/plain", "1", RF_DATA_BINARY},
        {"application/octet-stream", "\xff\xfe", RF_DATA_BINARY},
        {"application/json", "", RF_DATA_NONE},
        {"text/plain", "", RF_DATA_NONE},
    };
    static const header HEADERS[] = {REQUIRED, {NULL, NULL}};
    rf_decoder *d = decoder_new();
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_event e = must(d, HEADERS, CASES[i].type, rf_str_from(CASES[i].body));
        if (e.data_kind != CASES[i].kind)
            fail_msg("%s is of kind %d", CASES[i].type, e.data_kind);
        assert_str(e.data, CASES[i].body);
        assert_str(e.datacontenttype, CASES[i].type);
    }
    rf_decoder_free(&d);
}

static void binary__same_event_as_structured__has_the_same_content(void **state)
{
    (void)state;
    static const header HEADERS[] = {{"type", "t"},    {"ext", "true"}, {"n", "5"},
                                     {"source", "/s"}, {"id", "1"},     {"specversion", "1.0"},
                                     {"subject", "x"}, {NULL, NULL}};
    rf_decoder *d = decoder_new();
    rf_event a = must(d, HEADERS, "application/json", RF_STR("{\"b\":2,\"a\":1.0}"));
    rf_event b =
        must_decode(d, RF_STR("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":"
                              "\"t\",\"subject\":\"x\",\"ext\":true,\"n\":5,\"datacontenttype\":"
                              "\"application/json\",\"data\":{\"a\":1,\"b\":2}}"));
    assert_true(rf_hash_eq(a.content, b.content));
    a = must(d, HEADERS, "image/png", (rf_str){"\x00\x01\xff", 3});
    b = must_decode(d,
                    RF_STR("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\","
                           "\"subject\":\"x\",\"ext\":true,\"n\":5,\"datacontenttype\":"
                           "\"image/png\",\"data_base64\":\"AAH/\"}"));
    assert_true(rf_hash_eq(a.content, b.content));
    rf_decoder_free(&d);
}

static void binary__fault_table__rule_and_path(void **state)
{
    (void)state;
    static const struct {
        header headers[8];
        const char *type, *body, *rule, *path;
    } CASES[] = {
        {{{"id", "1"}, {"source", "/s"}, {"type", "t"}},
         "",
         "",
         "missing-attribute",
         "/specversion"},
        {{{"specversion", "1.0"}, {"id", "1"}, {"type", "t"}},
         "",
         "",
         "missing-attribute",
         "/source"},
        {{{"specversion", "0.3"}}, "", "", "bad-specversion", "/specversion"},
        {{REQUIRED, {"id", "2"}}, "", "", "duplicate-key", "/id"},
        {{REQUIRED, {"x", "2"}, {"X", "2"}}, "", "", "duplicate-key", "/x"},
        {{REQUIRED, {"tracestate", "2"}, {"tracestate", "2"}},
         "",
         "",
         "duplicate-key",
         "/tracestate"},
        {{{"id", ""}}, "", "", "empty-attribute", "/id"},
        {{{"my-ext", "1"}}, "", "", "bad-attribute-name", "/my-ext"},
        {{{"", "1"}}, "", "", "bad-attribute-name", "/"},
        {{{"data", "1"}}, "", "", "bad-attribute-name", "/data"},
        {{{"data_base64", "1"}}, "", "", "bad-attribute-name", "/data_base64"},
        {{{"datacontenttype", "1"}}, "", "", "bad-attribute-name", "/datacontenttype"},
        {{{"subject", "\xff"}}, "", "", "utf8", "/subject"},
        {{{"\xff", "1"}}, "", "", "utf8", "/"},
        {{{"subject", "a\tb"}}, "", "", "control-character", "/subject"},
        {{{"source", "a b"}}, "", "", "bad-uri", "/source"},
        {{{"time", "now"}}, "", "", "bad-time", "/time"},
        {{{"expectedrevision", "x"}}, "", "", "bad-expectedrevision", "/expectedrevision"},
        {{REQUIRED}, "application/json", "{", "json-syntax", "/data"},
        {{REQUIRED}, "", "hello", "json-syntax", "/data"},
        {{REQUIRED}, "", "\"\xff\"", "utf8", "/data"},
        {{REQUIRED}, "", "{\"a\":{\"b\":1,\"b\":2}}", "duplicate-key", "/data/a/b"},
        {{REQUIRED}, "", "[[[[1]]]]", "depth", "/data/0/0/0"},
        {{REQUIRED}, "", "[1e999]", "number-range", "/data/0"},
        {{REQUIRED}, "a\x01", "1", "control-character", "/datacontenttype"},
        {{REQUIRED}, "a\xff", "1", "utf8", "/datacontenttype"},
    };
    rf_event_limits limits = RF_EVENT_LIMITS_DEFAULT;
    limits.depth_max = 4;
    rf_decoder *d = rf_decoder_new(&limits, SEED);
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_event e;
        rf_expect expect;
        rf_event_fault fault = {0};
        rf_status st = decode(d, CASES[i].headers, CASES[i].type, rf_str_from(CASES[i].body), &e,
                              &expect, &fault);
        if (st != RF_EINVAL || strcmp(fault.rule, CASES[i].rule) != 0 ||
            strcmp(fault.path, CASES[i].path) != 0)
            fail_msg("case %zu: %s %s %s: %s", i, rf_status_name(st), st ? fault.rule : "-",
                     fault.path, fault.detail);
    }
    rf_decoder_free(&d);
}

static void binary__body_over_the_limit__is_too_big(void **state)
{
    (void)state;
    static const header HEADERS[] = {REQUIRED, {NULL, NULL}};
    rf_event_limits limits = {.event_bytes_max = 10, .depth_max = 4};
    rf_decoder *d = rf_decoder_new(&limits, SEED);
    rf_event e;
    rf_expect expect;
    rf_event_fault fault;
    must(d, HEADERS, "a/b", RF_STR("0123456789"));
    assert_int_equal(decode(d, HEADERS, "a/b", RF_STR("0123456789a"), &e, &expect, &fault),
                     RF_ETOOBIG);
    assert_string_equal(fault.rule, "size");
    rf_decoder_free(&d);
}

static void binary__value_too_long__is_refused(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e;
    rf_expect expect;
    rf_event_fault fault;
    static char value[RF_ATTR_MAX + 2];
    memset(value, 'x', RF_ATTR_MAX + 1);
    header headers[] = {{"subject", value}, {NULL, NULL}};
    assert_int_equal(decode(d, headers, "", RF_STR(""), &e, &expect, &fault), RF_EINVAL);
    assert_string_equal(fault.rule, "attribute-too-long");
    rf_decoder_free(&d);
}

/* ---- batches ----------------------------------------------------------------------------------
 */

typedef struct collected {
    rf_buf joined; /* elements, each followed by '|' */
    uint64_t next, stop_at;
} collected;

static bool collect(void *arg, uint64_t index, rf_str element)
{
    collected *c = arg;
    assert_int_equal(index, c->next++);
    rf_buf_add_str(&c->joined, element);
    rf_buf_add_char(&c->joined, '|');
    return c->next != c->stop_at;
}

static void split__table__elements_or_the_bad_byte(void **state)
{
    (void)state;
    static const struct {
        const char *text, *elements;
        long bad_at; /* -1: fine */
    } CASES[] = {
        {"[]", "", -1},
        {" [ \n ] ", "", -1},
        {"[{}]", "{}|", -1},
        {"[ {\"a\":1} ,\n{\"b\":[1,2]}\t]\r\n", "{\"a\":1}|{\"b\":[1,2]}|", -1},
        {"[\"a,]b\",\"\\\"]\",\"\\\\\"]", "\"a,]b\"|\"\\\"]\"|\"\\\\\"|", -1},
        {"[1,true,[[]]]", "1|true|[[]]|", -1},
        {"[{\"a\":\"}\"}]", "{\"a\":\"}\"}|", -1},
        {"[{} {}]", "{} {}|", -1}, /* the decoder sees it */
        {"[{\"a\":1]]", "{\"a\":1]|", -1},
        {"", "", 0},
        {"  ", "", 2},
        {"{}", "", 0},
        {"[", "", 1},
        {"[ ", "", 2},
        {"[{}", "", 3},
        {"[{},", "{}|", 4},
        {"[{},]", "{}|", 4},
        {"[,{}]", "", 1},
        {"[{},,{}]", "{}|", 4},
        {"[{}}", "", 3},
        {"[\"abc]", "", 6},
        {"[\"abc\\\"]", "", 8},
        {"[{}]x", "{}|", 4},
        {"[{}] []", "{}|", 5},
        {"[]]", "", 2},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        collected c = {.stop_at = UINT64_MAX};
        rf_event_fault fault = {0};
        rf_buf_init(&c.joined, 10000);
        rf_status st = rf_event_split_batch(rf_str_from(CASES[i].text), 1000, collect, &c, &fault);
        if ((st == RF_OK) != (CASES[i].bad_at < 0))
            fail_msg("%s: %s", CASES[i].text, rf_status_name(st));
        assert_str(rf_buf_str(&c.joined), CASES[i].elements);
        if (st != RF_OK) {
            assert_string_equal(fault.rule, "json-syntax");
            assert_int_equal(fault.position, CASES[i].bad_at);
        }
        rf_buf_clear(&c.joined);
    }
}

static void split__count_max__is_exact(void **state)
{
    (void)state;
    collected c = {.stop_at = UINT64_MAX};
    rf_event_fault fault = {0};
    rf_buf_init(&c.joined, 10000);
    assert_int_equal(rf_event_split_batch(RF_STR("[1,2,3]"), 3, collect, &c, &fault), RF_OK);
    rf_buf_reset(&c.joined);
    c.next = 0;
    assert_int_equal(rf_event_split_batch(RF_STR("[1,2,3]"), 2, collect, &c, &fault), RF_ETOOBIG);
    assert_string_equal(fault.rule, "size");
    assert_str(rf_buf_str(&c.joined), "1|2|");
    rf_buf_clear(&c.joined);
}

static void split__callback_says_stop__stops(void **state)
{
    (void)state;
    collected c = {.stop_at = 2};
    rf_event_fault fault = {0};
    rf_buf_init(&c.joined, 10000);
    assert_int_equal(rf_event_split_batch(RF_STR("[1,2,3,{"), 9, collect, &c, &fault), RF_OK);
    assert_str(rf_buf_str(&c.joined), "1|2|");
    rf_buf_clear(&c.joined);
}

static bool decode_each(void *arg, uint64_t index, rf_str element)
{
    rf_event e = must_decode(arg, element);
    (void)index;
    assert_true(e.id.n > 0);
    return true;
}

static void split__random_batches__every_element_decodes(void **state)
{
    (void)state;
    rng r = rng_start(__func__);
    rf_decoder *d = decoder_new();
    for (int i = 0; i < 200; i++) {
        rf_buf text;
        rf_event_fault fault;
        rf_buf_init(&text, 10000000);
        rf_buf_add_char(&text, '[');
        for (size_t n = rng_below(&r, 10), k = 0; k < n; k++) {
            if (k > 0)
                rf_buf_add_char(&text, ',');
            random_event(&r, &text);
        }
        rf_buf_add_char(&text, ']');
        assert_int_equal(rf_event_split_batch(rf_buf_str(&text), 10, decode_each, d, &fault),
                         RF_OK);
        rf_decoder_reset(d);
        rf_buf_clear(&text);
    }
    rf_decoder_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binary__all_headers__land_in_their_fields),
        cmocka_unit_test(binary__content_type__decides_json_or_bytes),
        cmocka_unit_test(binary__same_event_as_structured__has_the_same_content),
        cmocka_unit_test(binary__fault_table__rule_and_path),
        cmocka_unit_test(binary__body_over_the_limit__is_too_big),
        cmocka_unit_test(binary__value_too_long__is_refused),
        cmocka_unit_test(split__table__elements_or_the_bad_byte),
        cmocka_unit_test(split__count_max__is_exact),
        cmocka_unit_test(split__callback_says_stop__stops),
        cmocka_unit_test(split__random_batches__every_element_decodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
