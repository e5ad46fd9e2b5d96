/* Events back into JSON: what was sent comes back. */
#include "event/support.h"

#include <yyjson.h>

#define MIN "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""

static void assert_encodes(const char *text, const char *expected, bool line)
{
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(d, rf_str_from(text));
    rf_buf out;
    rf_buf_init(&out, 10000);
    if (line)
        rf_event_encode_line(&e, &out);
    else
        rf_event_encode(&e, &out);
    assert_str(rf_buf_str(&out), expected);
    rf_buf_clear(&out);
    rf_decoder_free(&d);
}

static void encode__all_members__fixed_order_and_data_as_sent(void **state)
{
    (void)state;
    assert_encodes(
        "{\"zz\":1,\"data\":{\"b\" : 1.50,\n\"a\":\"\\u0041\"} "
        ",\"traceparent\":\"00\",\"causationid\":\"k\","
        "\"correlationid\":\"c\",\"dataschema\":\"urn:x\",\"datacontenttype\":\"application/json\","
        "\"time\":\"2026-01-31T10:00:00.500+01:00\",\"subject\":\"a\\\"\\u00e9\",\"type\":\"t\","
        "\"source\":\"\\/s\",\"id\":\"1\",\"specversion\":\"1.0\",\"a\":true}",
        "{" MIN ",\"subject\":\"a\\\"\xc3\xa9\",\"time\":\"2026-01-31T10:00:00.500+01:00\","
        "\"datacontenttype\":\"application/json\",\"dataschema\":\"urn:x\",\"correlationid\":\"c\","
        "\"causationid\":\"k\",\"traceparent\":\"00\",\"a\":true,\"zz\":1,"
        "\"data\":{\"b\" : 1.50,\n\"a\":\"\\u0041\"}}",
        false);
}

static void encode__kinds_of_data__each_by_its_member(void **state)
{
    (void)state;
    assert_encodes("{" MIN "}", "{" MIN "}", false);
    assert_encodes("{" MIN ",\"data\":null}", "{" MIN ",\"data\":null}", false);
    assert_encodes("{" MIN ",\"data_base64\":\"AAH/\"}", "{" MIN ",\"data_base64\":\"AAH/\"}",
                   false);
    assert_encodes("{" MIN ",\"data_base64\":\"\"}", "{" MIN ",\"data_base64\":\"\"}", false);
}

static void encode_line__line_breaks_between_tokens__become_spaces(void **state)
{
    (void)state;
    assert_encodes("{" MIN ",\"data\":{\r\n\t\"a\":\n[1,\r2],\"s\":\"\\n\\r\"}}",
                   "{" MIN ",\"data\":{  \t\"a\": [1, 2],\"s\":\"\\n\\r\"}}", true);
    assert_encodes("{" MIN ",\"data_base64\":\"Cg0=\"}", "{" MIN ",\"data_base64\":\"Cg0=\"}",
                   true);
}

static void encode_line__what_was_in_the_buffer__is_left_alone(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(d, RF_STR("{" MIN ",\"data\":[\n]}"));
    rf_buf out;
    rf_buf_init(&out, 10000);
    rf_buf_add_cstr(&out, "a\nb\r");
    rf_event_encode_line(&e, &out);
    assert_str(rf_buf_str(&out), "a\nb\r{" MIN ",\"data\":[ ]}");
    rf_buf_clear(&out);
    rf_decoder_free(&d);
}

static void encode__buffer_too_small__fails_at_every_size(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(d, RF_STR("{" MIN ",\"x\":1,\"subject\":\"\\\"\",\"data\":[\n]}"));
    rf_event_place place = {.domain = RF_STR("d"), .recorded_us = 0};
    rf_buf whole;
    rf_buf_init(&whole, 10000);
    rf_event_encode_placed(&e, &place, &whole);
    for (size_t max = 0; max < whole.n; max++) {
        rf_buf out;
        rf_buf_init(&out, max);
        rf_event_encode_placed(&e, &place, &out);
        assert_true(out.failed);
        rf_buf_clear(&out);
    }
    rf_buf_clear(&whole);
    rf_decoder_free(&d);
}

static void encode_placed__event__with_its_place_on_one_line(void **state)
{
    (void)state;
    rf_decoder *d = decoder_new();
    rf_event e = must_decode(d, RF_STR("{" MIN ",\"data\":[\n1]}"));
    rf_event_place place = {.domain = RF_STR("shop"),
                            .partition = 3,
                            .offset = UINT64_MAX,
                            .revision = 7,
                            .recorded_us = INT64_C(1769850000500000)};
    rf_buf out;
    rf_buf_init(&out, 10000);
    rf_event_encode_placed(&e, &place, &out);
    assert_str(
        rf_buf_str(&out),
        "{\"domain\":\"shop\",\"partition\":3,\"offset\":18446744073709551615,\"stream\":\"/s\","
        "\"revision\":7,\"recordedtime\":\"2026-01-31T09:00:00.5Z\",\"event\":{" MIN
        ",\"data\":[ 1]}}");
    rf_buf_clear(&out);
    rf_decoder_free(&d);
}

/* ---- random events --------------------------------------------------------------------------- */

static void assert_same_attributes(const rf_event *a, const rf_event *b)
{
    assert_true(
        rf_str_eq(a->id, b->id) && rf_str_eq(a->source, b->source) && rf_str_eq(a->type, b->type) &&
        rf_str_eq(a->subject, b->subject) && rf_str_eq(a->datacontenttype, b->datacontenttype) &&
        rf_str_eq(a->dataschema, b->dataschema) && rf_str_eq(a->time_text, b->time_text) &&
        rf_str_eq(a->correlationid, b->correlationid) &&
        rf_str_eq(a->causationid, b->causationid) && rf_str_eq(a->traceparent, b->traceparent) &&
        rf_str_eq(a->extensions, b->extensions));
    assert_int_equal(a->time_us, b->time_us);
    assert_int_equal(a->data_kind, b->data_kind);
    assert_true(rf_hash_eq(a->content, b->content));
}

/* Every member of `sent` that is not null is in `back` with the same value, and nothing else is. */
static void assert_same_json(rf_str sent, rf_str back)
{
    yyjson_doc *a =
        yyjson_read_opts((char *)(uintptr_t)sent.p, sent.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, NULL);
    yyjson_doc *b =
        yyjson_read_opts((char *)(uintptr_t)back.p, back.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, NULL);
    size_t i, n, members = 0;
    yyjson_val *key, *value;
    assert_non_null(a);
    assert_non_null(b);
    yyjson_obj_foreach(yyjson_doc_get_root(a), i, n, key, value)
    {
        yyjson_val *other =
            yyjson_obj_getn(yyjson_doc_get_root(b), yyjson_get_str(key), yyjson_get_len(key));
        if (yyjson_is_null(value) && !yyjson_equals_str(key, "data")) {
            assert_null(other);
            continue;
        }
        members++;
        if (!yyjson_equals(value, other))
            fail_msg("member %s\n%.*s\n%.*s", yyjson_get_str(key), RF_STR_ARG(sent),
                     RF_STR_ARG(back));
    }
    assert_int_equal(yyjson_obj_size(yyjson_doc_get_root(b)), members);
    yyjson_doc_free(a);
    yyjson_doc_free(b);
}

static void check_round_trip(rf_decoder *d, rf_str text)
{
    rf_buf out, line;
    rf_buf_init(&out, 10000000);
    rf_buf_init(&line, 10000000);
    rf_event e = must_decode(d, text);
    rf_event_encode(&e, &out);
    rf_event_encode_line(&e, &line);
    assert_false(out.failed || line.failed);
    assert_int_equal(out.n, line.n);
    assert_null(memchr(line.p, '\n', line.n));
    assert_null(memchr(line.p, '\r', line.n));

    rf_event again = must_decode(d, rf_buf_str(&out)), flat = must_decode(d, rf_buf_str(&line));
    assert_same_attributes(&e, &again);
    assert_same_attributes(&e, &flat);
    assert_true(rf_str_eq(e.data, again.data)); /* byte for byte */
    assert_same_json(text, rf_buf_str(&out));
    assert_same_json(text, rf_buf_str(&line));
    if (e.data_kind == RF_DATA_JSON)
        assert_true(memmem(text.p, text.n, e.data.p, e.data.n) != NULL);

    /* What was encoded is a fixed point. */
    rf_buf_reset(&line);
    rf_event_encode(&again, &line);
    assert_true(rf_str_eq(rf_buf_str(&line), rf_buf_str(&out)));
    rf_buf_clear(&out);
    rf_buf_clear(&line);
}

static void encode__random_events__decode_to_the_same(void **state)
{
    (void)state;
    rng r = rng_start(__func__);
    rf_decoder *d = decoder_new();
    rf_buf text;
    rf_buf_init(&text, 10000000);
    for (int i = 0; i < 3000; i++) {
        rf_buf_reset(&text);
        random_event(&r, &text);
        check_round_trip(d, rf_buf_str(&text));
        rf_decoder_reset(d);
    }
    rf_buf_clear(&text);
    rf_decoder_free(&d);
}

/* One byte of a valid event changed, removed or doubled: refused with a fault in order, or an event
 * that round-trips. */
static void encode__random_events_damaged__refused_or_round_trip(void **state)
{
    (void)state;
    rng r = rng_start(__func__);
    rf_decoder *d = decoder_new();
    rf_buf text;
    int refused = 0, accepted = 0;
    rf_buf_init(&text, 10000000);
    for (int i = 0; i < 20000; i++) {
        rf_buf_reset(&text);
        random_event(&r, &text);
        for (size_t hits = 1 + rng_below(&r, 3); hits > 0; hits--) {
            static const char BYTES[] = "\"\\{}[],: \n0e-.ntf\x7f\x01\xff\xc3";
            size_t at = rng_below(&r, text.n);
            if (rng_below(&r, 3) == 0 && text.n > 1) {
                memmove(text.p + at, text.p + at + 1, text.n - at - 1);
                text.n--;
            } else {
                text.p[at] = BYTES[rng_below(&r, sizeof BYTES - 1)];
            }
        }
        rf_event e;
        rf_event_fault fault;
        memset(&fault, 0, sizeof fault);
        if (rf_event_decode(d, rf_buf_str(&text), &e, NULL, &fault) == RF_OK) {
            accepted++;
            check_round_trip(d, rf_buf_str(&text));
        } else {
            refused++;
            assert_non_null(fault.rule);
            assert_true(fault.detail[0] != '\0' && fault.position <= text.n);
            assert_true(rf_utf8_valid(fault.path, strlen(fault.path), NULL));
            assert_true(rf_utf8_valid(fault.detail, strlen(fault.detail), NULL));
        }
        rf_decoder_reset(d);
    }
    assert_true(refused > 1000 && accepted > 1000);
    rf_buf_clear(&text);
    rf_decoder_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode__all_members__fixed_order_and_data_as_sent),
        cmocka_unit_test(encode__kinds_of_data__each_by_its_member),
        cmocka_unit_test(encode_line__line_breaks_between_tokens__become_spaces),
        cmocka_unit_test(encode_line__what_was_in_the_buffer__is_left_alone),
        cmocka_unit_test(encode__buffer_too_small__fails_at_every_size),
        cmocka_unit_test(encode_placed__event__with_its_place_on_one_line),
        cmocka_unit_test(encode__random_events__decode_to_the_same),
        cmocka_unit_test(encode__random_events_damaged__refused_or_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
