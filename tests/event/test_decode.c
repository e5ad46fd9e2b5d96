/* One CloudEvent in JSON format: its fields, its faults by name and position, its limits. */
#include "event/support.h"

#define MIN "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""
#define EVENT(members) "{" MIN members "}"
#define BYTES(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    } /* with the NULs inside */

/* ---- fields --------------------------------------------------------------------------------- */

static void decode__all_members__land_in_their_fields(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(
        d, RF_STR(" {\"specversion\":\"1.0\",\"type\":\"shop.order.placed\",\"source\":\"/shop\","
                  "\"id\":\"o-1\",\"subject\":\"order 1\",\"time\":\"2026-01-31T10:00:00.5+01:00\","
                  "\"datacontenttype\":\"application/json\",\"dataschema\":\"urn:x\","
                  "\"correlationid\":\"c\",\"causationid\":\"k\",\"traceparent\":\"00-1-2-01\","
                  "\"zed\":\"last\",\"flag\":true,\"count\":-7,\"absent\":null,"
                  "\"data\" : {\"a\": [1, 2]} } "));
    assert_str(e.id, "o-1");
    assert_str(e.source, "/shop");
    assert_str(e.type, "shop.order.placed");
    assert_str(e.subject, "order 1");
    assert_str(e.time_text, "2026-01-31T10:00:00.5+01:00");
    assert_int_equal(e.time_us, INT64_C(1769850000500000));
    assert_str(e.datacontenttype, "application/json");
    assert_str(e.dataschema, "urn:x");
    assert_str(e.correlationid, "c");
    assert_str(e.causationid, "k");
    assert_str(e.traceparent, "00-1-2-01");
    assert_str(e.extensions, "\"count\":-7,\"flag\":true,\"zed\":\"last\"");
    assert_int_equal(e.data_kind, RF_DATA_JSON);
    assert_str(e.data, "{\"a\": [1, 2]}");
    rf_decoder_free(&d);
    assert_null(d);
    rf_decoder_free(&d);
}

static void decode__required_only__rest_is_absent(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(d, RF_STR(EVENT("")));
    assert_int_equal(e.subject.n + e.time_text.n + e.datacontenttype.n + e.dataschema.n +
                         e.correlationid.n + e.causationid.n + e.traceparent.n + e.extensions.n +
                         e.data.n,
                     0);
    assert_int_equal(e.time_us, RF_TIME_NONE);
    assert_int_equal(e.data_kind, RF_DATA_NONE);
    rf_decoder_free(&d);
}

static void decode__data_of_every_kind__is_the_exact_slice(void **state)
{
    (void)state;
    static const char *const VALUES[] = {
        "null",
        "true",
        "-0.0",
        "1e400000000000000000000", /* refused; see below */
        "123456789012345678901234567890",
        "\"\"",
        "\"a\\\"b\\\\\"",
        "[]",
        "{}",
        "[ 1 ,\n\t2 ]",
        "{ \"id\" : \"not the event's\" , \"data\" : { } }",
        "\"}\"",
        "\"\\\\\"",
        "[\"]\",\"\\\"]\"]",
    };
    rf_decoder *d = decoder_new();
    for (size_t i = 0; i < RF_ARRAY_LEN(VALUES); i++) {
        /* Last, first, and in the middle; tight and with white space. */
        static const char *const SHAPES[] = {
            EVENT(",\"data\":%s"),
            EVENT(",\"data\" \n:\t %s \r\n"),
            "{\"data\":%s," MIN "}",
            "{ \"data\" : %s , " MIN "}\n",
            "{\"specversion\":\"1.0\",\"data\":%s,\"id\":\"1\" , \"source\":\"/s\",\"type\":\"t\"}",
            "{\"specversion\":\"1.0\",\"data\":%s,\"\\u0069d\":\"1\",\"source\":\"/"
            "s\",\"type\":\"t\"}",
            "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/"
            "s\",\"type\":\"t\",\"dat\\u0061\":%s}",
        };
        for (size_t k = 0; k < RF_ARRAY_LEN(SHAPES); k++) {
            rf_buf text;
            rf_buf_init(&text, 1000);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            rf_buf_addf(&text, SHAPES[k], VALUES[i]);
#pragma GCC diagnostic pop
            if (i == 3) {
                rf_event e;
                rf_event_fault fault;
                assert_int_equal(rf_event_decode(d, rf_buf_str(&text), &e, NULL, &fault),
                                 RF_EINVAL);
                assert_string_equal(fault.rule, "number-range");
                assert_string_equal(fault.path, "/data");
                assert_memory_equal(text.p + fault.position, "1e4", 3);
            } else {
                rf_event e = must_decode(d, rf_buf_str(&text));
                assert_int_equal(e.data_kind, RF_DATA_JSON);
                assert_str(e.data, VALUES[i]);
                assert_true(e.data.p > text.p && e.data.p < text.p + text.n); /* borrowed */
                assert_str(e.id, "1");
            }
            rf_buf_clear(&text);
        }
    }
    rf_decoder_free(&d);
}

static void decode__attribute_with_escapes__is_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *json, *value;
    } CASES[] = {
        {"a\\\"b", "a\"b"},
        {"\\\"", "\""},
        {"a\\\"", "a\""}, /* a quote in the text just where the unescaped value ends */
        {"\\\\", "\\"},
        {"\\\\\\\"", "\\\""},
        {"\\\\\\\\", "\\\\"},
        {"x\\/y", "x/y"},
        {"\\u00e9", "\xc3\xa9"},
        {"\\u0041\\u0042\\u0022", "AB\""},
        {"\\ud83d\\ude00!", "\xf0\x9f\x98\x80!"},
        {"plain", "plain"},
        {"\xc3\xa9", "\xc3\xa9"},
    };
    rf_decoder *d = decoder_new();
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        char text[500];
        snprintf(text, sizeof text,
                 "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/s\",\"type\":\"t\","
                 "\"ext\":\"%s\",\"subject\":\"%s\"}",
                 CASES[i].json, CASES[i].json, CASES[i].json);
        rf_event e = must_decode(d, rf_str_from(text));
        rf_event other = must_decode(d, RF_STR(EVENT(",\"subject\":\"over\\\"written\"")));
        assert_str(e.id, CASES[i].value); /* the next decode leaves it alone */
        assert_str(e.subject, CASES[i].value);
        assert_str(other.subject, "over\"written");
    }
    rf_decoder_free(&d);
}

static void decode__base64__is_binary(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(d, RF_STR(EVENT(",\"data_base64\":\"AAH\\/\",\"data_base64x\":null")));
    assert_int_equal(e.data_kind, RF_DATA_BINARY);
    assert_int_equal(e.data.n, 3);
    assert_memory_equal(e.data.p, "\x00\x01\xff", 3);
    e = must_decode(d, RF_STR(EVENT(",\"data_base64\":\"\"")));
    assert_int_equal(e.data_kind, RF_DATA_BINARY);
    assert_int_equal(e.data.n, 0);
    e = must_decode(d, RF_STR(EVENT(",\"data_base64\":null,\"data\":1")));
    assert_int_equal(e.data_kind, RF_DATA_JSON);
    rf_decoder_free(&d);
}

static void decode__extensions__sorted_by_name_with_their_types(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(
        d, RF_STR(EVENT(
               ",\"b\":\"q\\\"\\u00e9\",\"a\":\"\",\"ab\":false,\"a1\" :\t9223372036854775807 "
               ",\"tracestate\":\"k=v\",\"zz\":-9223372036854775808")));
    assert_str(e.extensions, "\"a\":\"\",\"a1\":9223372036854775807,\"ab\":false,"
                             "\"b\":\"q\\\"\xc3\xa9\",\"tracestate\":\"k=v\","
                             "\"zz\":-9223372036854775808");
    rf_decoder_free(&d);
}

static void decode__expectedrevision__is_told_and_not_kept(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int kind;
        uint64_t revision;
    } CASES[] = {
        {"7", RF_EXPECT_EXACT, 7},
        {"\"7\"", RF_EXPECT_EXACT, 7},
        {"0", RF_EXPECT_EXACT, 0},
        {"\"no-stream\"", RF_EXPECT_NO_STREAM, 0},
        {"\"stream-exists\"", RF_EXPECT_STREAM_EXISTS, 0},
        {"\"any\"", RF_EXPECT_ANY, 0},
        {"null", RF_EXPECT_ANY, 0},
    };
    rf_decoder *d = decoder_new();
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        char text[200];
        rf_event e;
        rf_event_fault fault;
        rf_expect expect = {.kind = RF_EXPECT_EXACT, .revision = 99};
        snprintf(text, sizeof text, EVENT(",\"expectedrevision\":%s"), CASES[i].value);
        assert_int_equal(rf_event_decode(d, rf_str_from(text), &e, &expect, &fault), RF_OK);
        assert_int_equal(expect.kind, CASES[i].kind);
        assert_int_equal(expect.revision, CASES[i].revision);
        assert_int_equal(e.extensions.n, 0);
    }
    rf_decoder_free(&d);
}

/* ---- faults --------------------------------------------------------------------------------- */

/* `at` is the text at which the fault's position must point; NULL: position 0. */
static const struct {
    const char *text, *rule, *path, *at;
} FAULTS[] = {
    {"", "json-syntax", "", NULL},
    {"   ", "json-syntax", "", NULL},
    {"{", "json-syntax", "", ""},
    {EVENT("") "x", "json-syntax", "", "x"},
    {EVENT("") " {}", "json-syntax", "", "{}"},
    {EVENT(","), "json-syntax", "", ",}"},
    {EVENT(",\"a\":'x'"), "json-syntax", "", "'x'"},
    {EVENT(",\"a\":01"), "json-syntax", "", NULL},
    {EVENT(",\"a\":NaN"), "json-syntax", "", "NaN"},
    {EVENT(",/**/\"a\":1"), "json-syntax", "", "/**/"},
    {EVENT(",\"data\":\"\\ud800\""), "json-syntax", "", NULL},
    {EVENT(",\"data\":\"\\x\""), "json-syntax", "", NULL},
    {EVENT(",\"data\":\"\n\""), "json-syntax", "", NULL},
    {"\xef\xbb\xbf" EVENT(""), "json-syntax", "", NULL},
    {EVENT(",\"data\":\"\xff\""), "utf8", "", "\xff"},
    {EVENT(",\"data\":\"\xed\xa0\x80\""), "utf8", "", "\xed"},
    {EVENT(",\"data\":\"\xc0\xaf\""), "utf8", "", "\xc0"},
    {EVENT(",\"\xfe\":1,"), "utf8", "", "\xfe"},
    {"[]", "not-an-object", "", NULL},
    {" 7", "not-an-object", "", "7"},
    {"null", "not-an-object", "", NULL},
    {"\"x\"", "not-an-object", "", NULL},

    {EVENT(",\"id\":\"2\""), "duplicate-key", "/id", "\"id\":\"2\""},
    {EVENT(",\"\\u0069d\":\"2\""), "duplicate-key", "/id", "\"\\u0069d\""},
    {EVENT(",\"x\":1,\"y\":2,\"x\":3"), "duplicate-key", "/x", "\"x\":3"},
    {EVENT(",\"data\":1,\"data\":1"), "duplicate-key", "/data", "\"data\":1}"},
    {EVENT(",\"data\":{\"a\":1,\"b\":2,\"a\":3}"), "duplicate-key", "/data/a", "\"a\":3"},
    {EVENT(",\"data\":[0,{\"a/b\":{\"~\":1,\"\\u007e\":2}}]"), "duplicate-key", "/data/1/a~1b/~0",
     "\"\\u007e\""},
    {EVENT(",\"data\":{\"\":1,\"\":2}"), "duplicate-key", "/data/", "\"\":2"},
    {EVENT(",\"x\":{\"k\":1,\"k\":1}"), "duplicate-key", "/x/k", "\"k\":1}"},
    {EVENT(",\"data\":{\"n\":[1,-1e999]}"), "number-range", "/data/n/1", "-1e999"},

    {"{}", "missing-attribute", "/specversion", NULL},
    {"{\"specversion\":\"1.0\"}", "missing-attribute", "/id", NULL},
    {"{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\"}", "missing-attribute", "/source", NULL},
    {"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\"}", "missing-attribute", "/type", NULL},
    {"{\"specversion\":\"1.0\",\"id\":null,\"source\":\"s\",\"type\":\"t\"}", "missing-attribute",
     "/id", NULL},
    {"{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"s\",\"type\":\"t\"}", "empty-attribute",
     "/id", "\"\""},
    {"{\"specversion\":\"1.0\",\"id\":7,\"source\":\"s\",\"type\":\"t\"}", "bad-attribute-type",
     "/id", "7"},
    {"{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}", "bad-specversion",
     "/specversion", "\"0.3\""},
    {"{\"specversion\":1.0,\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}", "bad-attribute-type",
     "/specversion", "1.0"},
    {EVENT(",\"subject\":\"\""), "empty-attribute", "/subject", "\"\""},
    {EVENT(",\"subject\":true"), "bad-attribute-type", "/subject", "true"},
    {EVENT(",\"correlationid\":5"), "bad-attribute-type", "/correlationid", "5"},
    {EVENT(",\"ext\":1.5"), "bad-attribute-type", "/ext", "1.5"},
    {EVENT(",\"ext\" : 9223372036854775808"), "bad-attribute-type", "/ext", "9223372036854775808"},
    {EVENT(",\"ext\":123456789012345678901234567890"), "bad-attribute-type", "/ext", "12345678901"},
    {EVENT(",\"ext\":{}"), "bad-attribute-type", "/ext", "{}"},
    {EVENT(",\"ext\": [1]"), "bad-attribute-type", "/ext", "[1]"},
    {EVENT(",\"Ext\":1"), "bad-attribute-name", "/Ext", "1}"},
    {EVENT(",\"my_ext\":\"v\""), "bad-attribute-name", "/my_ext", "\"v\""},
    {EVENT(",\"\":1"), "bad-attribute-name", "/", "1}"},
    {EVENT(",\"\xc3\xa4\":\"v\""), "bad-attribute-name", "/\xc3\xa4", "\"v\""},
    {EVENT(",\"n\\u0000\":\"v\""), "bad-attribute-name", "/n?", "\"v\""},
    {EVENT(",\"a2345678901234567890123456789012345678901234567890123456789012345\":1"),
     "bad-attribute-name", "/a2345678901234567890123456789012345678901234567890123456789012345",
     "1}"},
    {EVENT(",\"time\":\"yesterday\""), "bad-time", "/time", "\"yesterday\""},
    {EVENT(",\"time\":\"2026-02-30T00:00:00Z\""), "bad-time", "/time", "\"2026-02-30T"},
    {EVENT(",\"subject\":\"a\\nb\""), "control-character", "/subject", "\"a\\nb\""},
    {EVENT(",\"subject\":\"a\\u0000b\""), "control-character", "/subject", "\"a\\u0000b\""},
    {EVENT(",\"subject\":\"123456789\x7f\""), "control-character", "/subject", "\"123456789"},
    {EVENT(",\"data\":{\"a\":[1,\"x\\u0000\"]}"), "control-character", "/data/a/1", "\"x\\u0000\""},
    {EVENT(",\"ext\":\"\\u001f\""), "control-character", "/ext", "\"\\u001f\""},
    {EVENT(",\"dataschema\":\"a b\""), "bad-uri", "/dataschema", "\"a b\""},
    {EVENT(",\"data_base64\":\"x\""), "bad-base64", "/data_base64", "\"x\""},
    {EVENT(",\"data_base64\":\"AA=\""), "bad-base64", "/data_base64", "\"AA=\""},
    {EVENT(",\"data_base64\":7"), "bad-base64", "/data_base64", "7"},
    {EVENT(",\"data_base64\":{}"), "bad-base64", "/data_base64", "{}"},
    {EVENT(",\"data\":null,\"data_base64\":\"AA==\""), "data-and-data-base64", "/data_base64",
     NULL},
    {EVENT(",\"expectedrevision\":-1"), "bad-expectedrevision", "/expectedrevision", "-1"},
    {EVENT(",\"expectedrevision\":\"none\""), "bad-expectedrevision", "/expectedrevision",
     "\"none\""},
    {EVENT(",\"expectedrevision\":true"), "bad-attribute-type", "/expectedrevision", "true"},

    /* Order: shape before attributes, syntax before shape. */
    {"{\"id\":1,\"data\":{\"a\":1,\"a\":2}}", "duplicate-key", "/data/a", "\"a\":2"},
    {"{\"id\":\"1\",\"id\":\"2\",", "json-syntax", "", ""},
};

static void decode__fault_table__rule_path_and_position(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    for (size_t i = 0; i < RF_ARRAY_LEN(FAULTS); i++) {
        rf_event e;
        rf_event_fault fault;
        memset(&fault, 'x', sizeof fault);
        rf_status st = rf_event_decode(d, rf_str_from(FAULTS[i].text), &e, NULL, &fault);
        if (st != RF_EINVAL)
            fail_msg("status %s for %s", rf_status_name(st), FAULTS[i].text);
        if (strcmp(fault.rule, FAULTS[i].rule) != 0 || strcmp(fault.path, FAULTS[i].path) != 0)
            fail_msg("%s %s (%s) for %s", fault.rule, fault.path, fault.detail, FAULTS[i].text);
        size_t n = strlen(fault.detail);
        assert_true(n > 10 && rf_utf8_valid(fault.detail, n, NULL));
        assert_true(fault.position <= strlen(FAULTS[i].text));
        if (FAULTS[i].at != NULL) {
            rf_str rest = rf_str_from(FAULTS[i].text + fault.position);
            if (!rf_str_starts(rest, rf_str_from(FAULTS[i].at)) ||
                (FAULTS[i].at[0] == '\0' && rest.n > 0))
                fail_msg("position %" PRIu64 " for %s", fault.position, FAULTS[i].text);
        }
    }
    rf_decoder_free(&d);
}

static void decode__raw_nul__is_refused(void **state)
{
    (void)state;
    static const rf_str CASES[] = {
        BYTES(EVENT("") "\0"),
        BYTES(EVENT(",\"subject\":\"a\0b\"")),
        BYTES("\0"),
        BYTES("{\0}"),
    };
    rf_decoder *d = decoder_new();
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_event e;
        rf_event_fault fault;
        assert_int_equal(rf_event_decode(d, CASES[i], &e, NULL, &fault), RF_EINVAL);
        assert_string_equal(fault.rule, "json-syntax");
    }
    rf_decoder_free(&d);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void nested(rf_buf *b, const char *open, const char *close, size_t levels)
{
    rf_buf_reset(b);
    rf_buf_add_cstr(b, "{" MIN ",\"data\":");
    for (size_t i = 0; i < levels; i++)
        rf_buf_add_cstr(b, open);
    rf_buf_add_cstr(b, "0");
    for (size_t i = 0; i < levels; i++)
        rf_buf_add_cstr(b, close);
    rf_buf_add_char(b, '}');
}

static void decode__depth__counts_the_event_and_is_exact(void **state)
{
    (void)state;
    static const uint32_t LIMITS[] = {1, 2, 3, 64, RF_EVENT_DEPTH_CAP};
    static const struct {
        const char *open, *close, *step;
    } KINDS[] = {{"[", "]", "/0"}, {"{\"k\":", "}", "/k"}, {"[7,{\"[\":", "}]", NULL}};
    rf_buf text;
    rf_buf_init(&text, 100000);
    for (size_t i = 0; i < RF_ARRAY_LEN(LIMITS); i++) {
        rf_event_limits limits = RF_EVENT_LIMITS_DEFAULT;
        limits.depth_max = LIMITS[i];
        rf_decoder *d = rf_decoder_new(&limits, SEED);
        for (size_t k = 0; k < RF_ARRAY_LEN(KINDS); k++) {
            rf_event e;
            rf_event_fault fault;
            size_t each = KINDS[k].step == NULL ? 2 : 1, fits = (LIMITS[i] - 1) / each;
            nested(&text, KINDS[k].open, KINDS[k].close, fits);
            must_decode(d, rf_buf_str(&text));
            nested(&text, KINDS[k].open, KINDS[k].close, fits + 1);
            assert_int_equal(rf_event_decode(d, rf_buf_str(&text), &e, NULL, &fault), RF_EINVAL);
            assert_string_equal(fault.rule, "depth");
            assert_true(rf_str_starts(rf_str_from(fault.path), RF_STR("/data")));
            if (KINDS[k].step != NULL) {
                size_t start = strlen("{" MIN ",\"data\":");
                assert_int_equal(fault.position, start + fits * strlen(KINDS[k].open));
                if (LIMITS[i] == 3)
                    assert_string_equal(fault.path + 5, KINDS[k].step[1] == '0' ? "/0/0" : "/k/k");
            }
        }
        rf_decoder_free(&d);
    }
    rf_buf_clear(&text);
}

static void decode__depth_in_an_extension__is_found_too(void **state)
{
    (void)state;
    rf_event_limits limits = RF_EVENT_LIMITS_DEFAULT;
    limits.depth_max = 3;
    rf_decoder *d = rf_decoder_new(&limits, SEED);
    rf_event e;
    rf_event_fault fault;
    rf_str text = RF_STR(EVENT(",\"ext\":[[[1]]]"));
    assert_int_equal(rf_event_decode(d, text, &e, NULL, &fault), RF_EINVAL);
    assert_string_equal(fault.rule, "depth");
    assert_string_equal(fault.path, "/ext/0/0");
    assert_memory_equal(text.p + fault.position, "[1]]]}", 6);
    rf_decoder_free(&d);
}

static void decode__millions_of_brackets__are_refused_without_harm(void **state)
{
    (void)state;
    enum { BYTES = 16 << 20 };
    static const char *const UNITS[] = {"[", "{\"a\":", "[{\"\":[", "[]", "{}", "[1,"};
    rf_event_limits limits = {.event_bytes_max = RF_EVENT_BYTES_CAP, .depth_max = 64};
    rf_decoder *d = rf_decoder_new(&limits, SEED);
    char *text = rf_xmalloc(BYTES);
    for (size_t i = 0; i < RF_ARRAY_LEN(UNITS); i++) {
        size_t unit = strlen(UNITS[i]), n = 0;
        rf_event e;
        rf_event_fault fault;
        for (; n + unit <= BYTES; n += unit)
            memcpy(text + n, UNITS[i], unit);
        assert_int_equal(rf_event_decode(d, (rf_str){text, n}, &e, NULL, &fault), RF_EINVAL);
        assert_true(strcmp(fault.rule, "depth") == 0 || strcmp(fault.rule, "json-syntax") == 0);
    }
    rf_decoder_reset(d);
    must_decode(d, RF_STR(EVENT("")));
    free(text);
    rf_decoder_free(&d);
}

static void decode__valid_and_very_deep__is_refused_by_depth(void **state)
{
    (void)state;
    rf_event_limits limits = {.event_bytes_max = RF_EVENT_BYTES_CAP, .depth_max = 512};
    rf_decoder *d = rf_decoder_new(&limits, SEED);
    rf_buf text;
    rf_event e;
    rf_event_fault fault;
    rf_buf_init(&text, RF_EVENT_BYTES_CAP);
    nested(&text, "[", "]", 3000000);
    assert_int_equal(rf_event_decode(d, rf_buf_str(&text), &e, NULL, &fault), RF_EINVAL);
    assert_string_equal(fault.rule, "depth");
    rf_buf_clear(&text);
    rf_decoder_free(&d);
}

static void decode__size__is_exact_and_comes_first(void **state)
{
    (void)state;
    rf_str text = RF_STR(EVENT(""));
    rf_event_limits limits = RF_EVENT_LIMITS_DEFAULT;
    rf_event e;
    rf_event_fault fault;
    limits.event_bytes_max = (uint32_t)text.n;
    rf_decoder *d = rf_decoder_new(&limits, SEED);
    must_decode(d, text);
    rf_decoder_free(&d);
    limits.event_bytes_max--;
    d = rf_decoder_new(&limits, SEED);
    assert_int_equal(rf_event_decode(d, text, &e, NULL, &fault), RF_ETOOBIG);
    assert_string_equal(fault.rule, "size");
    char junk[1000];
    memset(junk, 0xff, sizeof junk);
    assert_int_equal(rf_event_decode(d, (rf_str){junk, sizeof junk}, &e, NULL, &fault), RF_ETOOBIG);
    rf_decoder_free(&d);
}

static void decode__attribute_length__is_of_the_unescaped_bytes(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    for (size_t n = RF_ATTR_MAX; n <= RF_ATTR_MAX + 1; n++) {
        rf_buf text;
        rf_event e;
        rf_event_fault fault;
        rf_buf_init(&text, 100000);
        rf_buf_add_cstr(&text, "{" MIN ",\"subject\":\"");
        for (size_t i = 0; i < n; i++)
            rf_buf_add_cstr(&text, "\\u0078");
        rf_buf_add_cstr(&text, "\"}");
        rf_status st = rf_event_decode(d, rf_buf_str(&text), &e, NULL, &fault);
        assert_int_equal(st, n == RF_ATTR_MAX ? RF_OK : RF_EINVAL);
        if (st != RF_OK)
            assert_string_equal(fault.rule, "attribute-too-long");
        else
            assert_int_equal(e.subject.n, RF_ATTR_MAX);
        rf_buf_clear(&text);
    }
    rf_decoder_free(&d);
}

/* ---- duplicate keys in objects of every size --------------------------------------------------
 */

static void decode__duplicate_anywhere_in_an_object__is_found(void **state)
{
    (void)state;
    static const size_t SIZES[] = {2, 3, 8, 9, 47, 48, 49, 50, 100, 5000};
    rf_decoder *d = decoder_new();
    rf_buf text;
    rf_buf_init(&text, 1000000);
    for (size_t i = 0; i < RF_ARRAY_LEN(SIZES); i++) {
        size_t n = SIZES[i], step = n > 100 ? 611 : 1;
        for (size_t a = 0; a < n; a += step) {
            for (size_t b = a; b < n; b += step) { /* a == b: no duplicate */
                if (n > 10 && a != b && (a * 31 + b) % 17 != 0)
                    continue;
                rf_event e;
                rf_event_fault fault;
                rf_buf_reset(&text);
                rf_buf_add_cstr(&text, "{" MIN ",\"data\":[{");
                for (size_t k = 0; k < n; k++)
                    rf_buf_addf(&text, "%s\"key%zu\":{\"key0\":1}", k > 0 ? "," : "",
                                k == b ? a : k);
                rf_buf_add_cstr(&text, "}]}");
                rf_status st = rf_event_decode(d, rf_buf_str(&text), &e, NULL, &fault);
                assert_int_equal(st, a == b ? RF_OK : RF_EINVAL);
                if (st == RF_OK)
                    continue;
                char path[64];
                snprintf(path, sizeof path, "/data/0/key%zu", a);
                assert_string_equal(fault.rule, "duplicate-key");
                assert_string_equal(fault.path, path);
            }
        }
    }
    rf_buf_clear(&text);
    rf_decoder_free(&d);
}

static void decode__many_extensions__all_kept_and_duplicates_found(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_buf text;
    rf_event e;
    rf_event_fault fault;
    rf_buf_init(&text, 1000000);
    for (int twice = 0; twice <= 1; twice++) {
        rf_buf_reset(&text);
        rf_buf_add_cstr(&text, "{" MIN);
        for (int i = 1000; i < 3000; i++)
            rf_buf_addf(&text, ",\"x%d\":%d", i, i);
        rf_buf_addf(&text, ",\"%s\":1}", twice ? "x2024" : "x3001");
        rf_status st = rf_event_decode(d, rf_buf_str(&text), &e, NULL, &fault);
        assert_int_equal(st, twice ? RF_EINVAL : RF_OK);
    }
    assert_string_equal(fault.rule, "duplicate-key");
    assert_string_equal(fault.path, "/x2024");
    rf_buf_clear(&text);
    rf_decoder_free(&d);
}

static void decode__long_path__names_the_nearest_that_fits(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e;
    rf_event_fault fault;
    char key[201], text[1000];
    memset(key, 'k', 200);
    key[200] = '\0';
    snprintf(text, sizeof text, EVENT(",\"data\":{\"a\":{\"%s\":{\"x\":1,\"x\":2}}}"), key);
    assert_int_equal(rf_event_decode(d, rf_str_from(text), &e, NULL, &fault), RF_EINVAL);
    assert_string_equal(fault.path, "/data/a");
    rf_decoder_free(&d);
}

/* ---- life of slices ----------------------------------------------------------------------------
 */

static void decode__many_before_a_reset__all_stay_valid(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static rf_event events[COUNT];
    static char texts[COUNT][256];
    rf_decoder *d = decoder_new();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            snprintf(texts[i], sizeof texts[i],
                     "{\"specversion\":\"1.0\",\"id\":\"i\\u002d%d\",\"source\":\"/s%d\",\"type\":"
                     "\"t\",\"ext\":\"%d\",\"data_base64\":\"AAAA\"}",
                     i, i, i);
            events[i] = must_decode(d, rf_str_from(texts[i]));
        }
        for (int i = 0; i < COUNT; i++) {
            char expected[64];
            snprintf(expected, sizeof expected, "i-%d", i);
            assert_str(events[i].id, expected);
            snprintf(expected, sizeof expected, "/s%d", i);
            assert_str(events[i].source, expected);
            snprintf(expected, sizeof expected, "\"ext\":\"%d\"", i);
            assert_str(events[i].extensions, expected);
            assert_memory_equal(events[i].data.p, "\0\0\0", 3);
        }
        rf_decoder_reset(d);
    }
    rf_decoder_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode__all_members__land_in_their_fields),
        cmocka_unit_test(decode__required_only__rest_is_absent),
        cmocka_unit_test(decode__data_of_every_kind__is_the_exact_slice),
        cmocka_unit_test(decode__attribute_with_escapes__is_unescaped),
        cmocka_unit_test(decode__base64__is_binary),
        cmocka_unit_test(decode__extensions__sorted_by_name_with_their_types),
        cmocka_unit_test(decode__expectedrevision__is_told_and_not_kept),
        cmocka_unit_test(decode__fault_table__rule_path_and_position),
        cmocka_unit_test(decode__raw_nul__is_refused),
        cmocka_unit_test(decode__depth__counts_the_event_and_is_exact),
        cmocka_unit_test(decode__depth_in_an_extension__is_found_too),
        cmocka_unit_test(decode__millions_of_brackets__are_refused_without_harm),
        cmocka_unit_test(decode__valid_and_very_deep__is_refused_by_depth),
        cmocka_unit_test(decode__size__is_exact_and_comes_first),
        cmocka_unit_test(decode__attribute_length__is_of_the_unescaped_bytes),
        cmocka_unit_test(decode__duplicate_anywhere_in_an_object__is_found),
        cmocka_unit_test(decode__many_extensions__all_kept_and_duplicates_found),
        cmocka_unit_test(decode__long_path__names_the_nearest_that_fits),
        cmocka_unit_test(decode__many_before_a_reset__all_stay_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
