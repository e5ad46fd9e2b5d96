/*
 * Any bytes as an event, a batch, the body of a binary event, and a position. Whatever is accepted
 * must be what plain yyjson reads in it, must stay within the limits, and must survive encoding.
 */
#include "event/event.h"

#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define DEPTH_MAX 8
#define SEED 7

static rf_decoder *decoder;

/* ---- what an accepted event must be
 * -------------------------------------------------------------- */

static size_t depth_of(yyjson_val *v)
{
    size_t i, n, most = 0;
    yyjson_val *key, *item;
    if (!yyjson_is_ctn(v))
        return 0;
    yyjson_arr_foreach(v, i, n, item)
    {
        most = RF_MAX(most, depth_of(item));
    }
    yyjson_obj_foreach(v, i, n, key, item)
    {
        most = RF_MAX(most, depth_of(item));
    }
    return most + 1;
}

static rf_str member_str(yyjson_val *root, const char *name)
{
    yyjson_val *v = yyjson_obj_get(root, name);
    return v == NULL ? (rf_str){NULL, 0} : (rf_str){yyjson_get_str(v), yyjson_get_len(v)};
}

/* yyjson with its own rules: another reader of the same bytes. */
static void check_against_yyjson(rf_str text, const rf_event *e)
{
    yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
    RF_ASSERT(doc != NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    RF_ASSERT(yyjson_is_obj(root));
    RF_ASSERT(depth_of(root) <= DEPTH_MAX);
    RF_ASSERT(rf_str_eq(e->id, member_str(root, "id")));
    RF_ASSERT(rf_str_eq(e->source, member_str(root, "source")));
    RF_ASSERT(rf_str_eq(e->type, member_str(root, "type")));
    RF_ASSERT(rf_str_eq(e->subject, member_str(root, "subject")));
    RF_ASSERT(rf_str_eq(e->time_text, member_str(root, "time")));
    RF_ASSERT(rf_str_eq(e->datacontenttype, member_str(root, "datacontenttype")));
    RF_ASSERT(rf_str_eq(e->dataschema, member_str(root, "dataschema")));
    RF_ASSERT(rf_str_eq(e->correlationid, member_str(root, "correlationid")));
    RF_ASSERT(rf_str_eq(e->causationid, member_str(root, "causationid")));
    RF_ASSERT(rf_str_eq(e->traceparent, member_str(root, "traceparent")));
    yyjson_val *value = yyjson_obj_get(root, "data");
    RF_ASSERT((value != NULL) == (e->data_kind == RF_DATA_JSON));
    if (value != NULL) {
        yyjson_doc *slice = yyjson_read(e->data.p, e->data.n, 0);
        RF_ASSERT(slice != NULL && yyjson_equals(yyjson_doc_get_root(slice), value));
        RF_ASSERT(e->data.n > 0 && strchr(" \t\r\n", e->data.p[0]) == NULL);
        RF_ASSERT(strchr(" \t\r\n", e->data.p[e->data.n - 1]) == NULL);
        yyjson_doc_free(slice);
    }
    yyjson_doc_free(doc);
}

static void check_limits(const rf_event *e)
{
    const rf_str required[] = {e->id, e->source, e->type};
    for (size_t i = 0; i < RF_ARRAY_LEN(required); i++)
        RF_ASSERT(required[i].n >= 1 && required[i].n <= RF_ATTR_MAX);
    RF_ASSERT(rf_event_stream(e).n >= 1);
    RF_ASSERT((e->time_us == RF_TIME_NONE) == (e->time_text.n == 0));
}

static void check_same(const rf_event *a, const rf_event *b)
{
    RF_ASSERT(rf_hash_eq(a->content, b->content));
    RF_ASSERT(rf_str_eq(a->id, b->id) && rf_str_eq(a->source, b->source));
    RF_ASSERT(rf_str_eq(a->type, b->type) && rf_str_eq(a->subject, b->subject));
    RF_ASSERT(rf_str_eq(a->time_text, b->time_text) && a->time_us == b->time_us);
    RF_ASSERT(rf_str_eq(a->datacontenttype, b->datacontenttype));
    RF_ASSERT(rf_str_eq(a->dataschema, b->dataschema));
    RF_ASSERT(rf_str_eq(a->correlationid, b->correlationid));
    RF_ASSERT(rf_str_eq(a->causationid, b->causationid));
    RF_ASSERT(rf_str_eq(a->traceparent, b->traceparent));
    RF_ASSERT(rf_str_eq(a->extensions, b->extensions));
    RF_ASSERT(a->data_kind == b->data_kind);
}

static void check_round_trip(const rf_event *e)
{
    rf_event again;
    rf_event_fault fault;
    rf_buf whole, line;
    rf_buf_init(&whole, (size_t)1 << 24);
    rf_buf_init(&line, (size_t)1 << 24);
    rf_event_encode(e, &whole);
    rf_event_encode_line(e, &line);
    RF_ASSERT(!whole.failed && !line.failed && whole.n == line.n);
    RF_ASSERT(memchr(line.p, '\n', line.n) == NULL && memchr(line.p, '\r', line.n) == NULL);
    /* Encoding may be longer than what was sent (escapes), so not under the same limit of size. */
    rf_status st = rf_event_decode(decoder, rf_buf_str(&whole), &again, NULL, &fault);
    RF_ASSERT(st == RF_OK);
    check_same(e, &again);
    RF_ASSERT(rf_str_eq(e->data, again.data));
    st = rf_event_decode(decoder, rf_buf_str(&line), &again, NULL, &fault);
    RF_ASSERT(st == RF_OK);
    check_same(e, &again);
    rf_buf_clear(&whole);
    rf_buf_clear(&line);
}

static void check_fault(const rf_event_fault *fault, size_t text_bytes)
{
    RF_ASSERT(fault->rule != NULL && fault->rule[0] != '\0' && fault->detail[0] != '\0');
    RF_ASSERT(fault->position <= text_bytes);
    RF_ASSERT(rf_utf8_valid(fault->path, strlen(fault->path), NULL));
    RF_ASSERT(rf_utf8_valid(fault->detail, strlen(fault->detail), NULL));
}

/* ---- the four readers
 * ------------------------------------------------------------------------------ */

static bool try_event(void *arg, uint64_t index, rf_str text)
{
    rf_event e;
    rf_expect expect;
    rf_event_fault fault = {0};
    (void)arg;
    (void)index;
    if (rf_event_decode(decoder, text, &e, &expect, &fault) != RF_OK) {
        check_fault(&fault, text.n);
        return true;
    }
    check_limits(&e);
    check_against_yyjson(text, &e);
    check_round_trip(&e);
    return true;
}

static void try_body(rf_str body)
{
    static const char *const ATTRS[][2] = {
        {"specversion", "1.0"}, {"id", "1"}, {"source", "/s"}, {"type", "t"}};
    rf_event e;
    rf_expect expect;
    rf_event_fault fault = {0};
    rf_event_binary_begin(decoder, &e);
    for (size_t i = 0; i < RF_ARRAY_LEN(ATTRS); i++) {
        rf_status st = rf_event_binary_attr(decoder, &e, &expect, rf_str_from(ATTRS[i][0]),
                                            rf_str_from(ATTRS[i][1]), &fault);
        RF_ASSERT(st == RF_OK);
    }
    /* The bytes again as a header: name up to the first ':', value behind it. */
    const char *colon = body.n == 0 ? NULL : memchr(body.p, ':', body.n);
    if (colon != NULL) {
        rf_str name = {body.p, (size_t)(colon - body.p)};
        rf_str value = {colon + 1, body.n - name.n - 1};
        if (rf_event_binary_attr(decoder, &e, &expect, name, value, &fault) != RF_OK)
            check_fault(&fault, 0);
    }
    if (rf_event_binary_finish(decoder, &e, RF_STR("application/json"), body, &fault) != RF_OK) {
        check_fault(&fault, body.n);
        return;
    }
    check_limits(&e);
    check_round_trip(&e);
    if (e.data_kind == RF_DATA_JSON) {
        yyjson_doc *doc = yyjson_read(body.p, body.n, 0);
        RF_ASSERT(doc != NULL);
        yyjson_doc_free(doc);
    }
}

static void try_position(rf_str token)
{
    rf_position p;
    rf_err err = {0};
    rf_buf again;
    if (rf_position_decode(token, &p, &err) != RF_OK)
        return;
    rf_buf_init(&again, (size_t)1 << 24);
    rf_position_encode(&p, &again);
    RF_ASSERT(rf_str_eq(rf_buf_str(&again), token)); /* one position, one token */
    rf_buf_clear(&again);
    rf_position_clear(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    /* A copy of exactly n bytes, so that reading past the end is seen; never NULL. */
    char *bytes = malloc(n + (n == 0));
    rf_str text = {bytes, n};
    rf_event_fault fault = {0};
    if (bytes == NULL)
        return 0;
    if (n > 0)
        memcpy(bytes, data, n);
    if (decoder == NULL) {
        rf_event_limits limits = {.event_bytes_max = 1u << 20, .depth_max = DEPTH_MAX};
        decoder = rf_decoder_new(&limits, SEED);
    }
    try_event(NULL, 0, text);
    if (rf_event_split_batch(text, 100, try_event, NULL, &fault) != RF_OK)
        check_fault(&fault, n);
    try_body(text);
    try_position(text);
    rf_decoder_reset(decoder);
    free(bytes);
    return 0;
}
