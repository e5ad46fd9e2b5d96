/*
 * Attributes of an event, one by one, however they came: as members of a JSON object or as HTTP
 * headers. Checks, stores, and adds each to the content hash by its name and its string form, so
 * that the same event sent in either mode has the same content.
 */
#include "event/event_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64
#define EXTENSIONS_FIRST 8

/* Longest prefix of a value that a fault quotes. */
#define QUOTE_MAX 60

static const struct {
    rf_str name;
    size_t offset; /* of its rf_str in rf_event; SIZE_MAX: not kept as one */
} ATTRS[RFI_ATTR_COUNT] = {
    [RFI_ID] = {{"id", 2}, offsetof(rf_event, id)},
    [RFI_SOURCE] = {{"source", 6}, offsetof(rf_event, source)},
    [RFI_TYPE] = {{"type", 4}, offsetof(rf_event, type)},
    [RFI_SUBJECT] = {{"subject", 7}, offsetof(rf_event, subject)},
    [RFI_TIME] = {{"time", 4}, offsetof(rf_event, time_text)},
    [RFI_DATACONTENTTYPE] = {{"datacontenttype", 15}, offsetof(rf_event, datacontenttype)},
    [RFI_DATASCHEMA] = {{"dataschema", 10}, offsetof(rf_event, dataschema)},
    [RFI_CORRELATIONID] = {{"correlationid", 13}, offsetof(rf_event, correlationid)},
    [RFI_CAUSATIONID] = {{"causationid", 11}, offsetof(rf_event, causationid)},
    [RFI_TRACEPARENT] = {{"traceparent", 11}, offsetof(rf_event, traceparent)},
    [RFI_SPECVERSION] = {{"specversion", 11}, SIZE_MAX},
    [RFI_EXPECTEDREVISION] = {{"expectedrevision", 16}, SIZE_MAX},
    [RFI_TRACESTATE] = {{"tracestate", 10}, SIZE_MAX},
    [RFI_DATA] = {{"data", 4}, SIZE_MAX},
    [RFI_DATA_BASE64] = {{"data_base64", 11}, SIZE_MAX},
    [RFI_EXTENSION] = {{"", 0}, SIZE_MAX},
};

static inline rfi_attr one_of(rf_str name, rfi_attr attr)
{
    return memcmp(name.p, ATTRS[attr].name.p, name.n) == 0 ? attr : RFI_EXTENSION;
}

/* By length first: decoding asks this for every member. test_decode checks it against ATTRS. */
rfi_attr rfi_attr_of(rf_str name)
{
    switch (name.n) {
    case 2:
        return one_of(name, RFI_ID);
    case 4:
        return name.p[0] == 'd'   ? one_of(name, RFI_DATA)
               : name.p[1] == 'i' ? one_of(name, RFI_TIME)
                                  : one_of(name, RFI_TYPE);
    case 6:
        return one_of(name, RFI_SOURCE);
    case 7:
        return one_of(name, RFI_SUBJECT);
    case 10:
        return name.p[0] == 'd' ? one_of(name, RFI_DATASCHEMA) : one_of(name, RFI_TRACESTATE);
    case 11:
        return name.p[0] == 's'   ? one_of(name, RFI_SPECVERSION)
               : name.p[0] == 'c' ? one_of(name, RFI_CAUSATIONID)
               : name.p[0] == 't' ? one_of(name, RFI_TRACEPARENT)
                                  : one_of(name, RFI_DATA_BASE64);
    case 13:
        return one_of(name, RFI_CORRELATIONID);
    case 15:
        return one_of(name, RFI_DATACONTENTTYPE);
    case 16:
        return one_of(name, RFI_EXPECTEDREVISION);
    default:
        return RFI_EXTENSION;
    }
}

/* ---- the decoder ----------------------------------------------------------------------------- */

rf_decoder *rf_decoder_new(const rf_event_limits *limits, uint64_t content_seed)
{
    RF_ASSERT(limits->event_bytes_max >= 1 && limits->event_bytes_max <= RF_EVENT_BYTES_CAP);
    RF_ASSERT(limits->depth_max >= 1 && limits->depth_max <= RF_EVENT_DEPTH_CAP);
    rf_decoder *d = rf_xcalloc(1, sizeof *d);
    d->limits = *limits;
    d->arena = rf_arena_new((size_t)64 * 1024);
    RF_ASSERT(d->arena != NULL);
    rf_buf_init(&d->scratch, SIZE_MAX);
    rfi_json_init(&d->json, content_seed);
    for (rfi_attr a = 0; a < RFI_ATTR_COUNT; a++)
        d->names[a] = rfi_hash(&d->json, ATTRS[a].name);
    return d;
}

void rf_decoder_free(rf_decoder **decoder)
{
    rf_decoder *d = *decoder;
    if (d == NULL)
        return;
    rf_arena_free(&d->arena);
    rf_buf_clear(&d->scratch);
    rfi_json_clear(&d->json);
    free(d->extensions);
    free(d);
    *decoder = NULL;
}

void rf_decoder_reset(rf_decoder *d)
{
    rf_arena_reset(d->arena);
    rfi_json_trim(&d->json);
}

void rfi_attrs_begin(rf_decoder *d, rf_event *out, rf_expect *expect)
{
    memset(out, 0, sizeof *out);
    out->time_us = RF_TIME_NONE;
    if (expect != NULL)
        *expect = (rf_expect){.kind = RF_EXPECT_ANY};
    d->extension_count = 0;
    d->seen = 0;
    d->sum = (rf_hash128){0, 0};
}

/* ---- checks of one value --------------------------------------------------------------------- */

RFI_COLD RF_PRINTF(5, 6) static rf_status
    attr_fault(rf_event_fault *fault, const rfi_place *place, rf_status status, const char *rule,
               const char *fmt, ...)
{
    char detail[sizeof fault->detail];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    rfi_fault(fault, status, rule, place->position, "%s", detail);
    (void)rfi_fault_path(fault, place->name);
    return status;
}

static bool name_valid(rf_str name)
{
    if (name.n < 1 || name.n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static inline uint64_t load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Not zero when one of the eight bytes is below `limit` (at most 0x80) or is DEL. */
static inline uint64_t bad_bytes(uint64_t v, unsigned char limit)
{
    uint64_t del = v ^ EACH_BYTE(0x7f);
    return (((v - EACH_BYTE(limit)) & ~v) | ((del - EACH_BYTE(1)) & ~del)) & EACH_BYTE(0x80);
}

/* Some byte is below `limit` or is DEL. Eight at a time, the last eight overlapping. */
static inline bool has_byte_below(rf_str s, unsigned char limit)
{
    uint64_t bad = 0;
    if (s.n >= 8) {
        for (size_t i = 0; i + 8 < s.n; i += 8)
            bad |= bad_bytes(load64(s.p + i), limit);
        return (bad | bad_bytes(load64(s.p + s.n - 8), limit)) != 0;
    }
    for (size_t i = 0; i < s.n; i++)
        bad |= (unsigned char)s.p[i] < limit || s.p[i] == 0x7f;
    return bad != 0;
}

static rf_status check_text(rfi_attr attr, const rfi_place *place, rf_str v, rf_event_fault *fault)
{
    if (v.n == 0 && attr != RFI_EXTENSION && attr != RFI_TRACESTATE)
        return attr_fault(fault, place, RF_EINVAL, "empty-attribute",
                          "The attribute %.*s is empty; give it a value%s.",
                          RF_STR_ARG(place->name), attr <= RFI_TYPE ? "" : " or leave it out");
    if (v.n > RF_ATTR_MAX)
        return attr_fault(fault, place, RF_EINVAL, "attribute-too-long",
                          "The attribute %.*s has %zu bytes; at most %d are allowed.",
                          RF_STR_ARG(place->name), v.n, RF_ATTR_MAX);
    bool uri = attr == RFI_SOURCE || attr == RFI_DATASCHEMA;
    if (!has_byte_below(v, uri ? 0x21 : 0x20))
        return RF_OK;
    if (has_byte_below(v, 0x20))
        return attr_fault(fault, place, RF_EINVAL, "control-character",
                          "The attribute %.*s holds a control character (below U+0020, or U+007F).",
                          RF_STR_ARG(place->name));
    return attr_fault(fault, place, RF_EINVAL, "bad-uri",
                      "The attribute %.*s is a URI and cannot hold a space; write %%20.",
                      RF_STR_ARG(place->name));
}

static rf_status keep_extension(rf_decoder *d, rf_str name, rfi_value_kind kind, rf_str value,
                                rf_event_fault *fault)
{
    if (d->extension_count == d->extension_cap) {
        size_t cap = RF_MAX(d->extension_cap * 2, EXTENSIONS_FIRST);
        rfi_extension *grown = realloc(d->extensions, cap * sizeof *grown);
        if (grown == NULL)
            return rfi_fault_no_memory(fault);
        d->extensions = grown;
        d->extension_cap = cap;
    }
    d->extensions[d->extension_count++] = (rfi_extension){name, value, kind};
    return RF_OK;
}

/* ---- the content hash ------------------------------------------------------------------------ */

static void add_to_content(rf_decoder *d, rf_hash128 name, rf_hash128 value)
{
    rf_hash128 h = rfi_mix(&d->json, name, value);
    d->sum.lo += h.lo;
    d->sum.hi += h.hi;
}

/* ---- setting --------------------------------------------------------------------------------- */

static rf_status set_special(rf_event *out, rf_expect *expect, rfi_attr attr,
                             const rfi_place *place, rf_str value, rf_event_fault *fault)
{
    int quoted = (int)RF_MIN(value.n, QUOTE_MAX);
    rf_expect parsed = {.kind = RF_EXPECT_ANY};
    switch (attr) {
    case RFI_TIME:
        if (rf_time_parse(value, &out->time_us))
            return RF_OK;
        return attr_fault(fault, place, RF_EINVAL, "bad-time",
                          "The time \"%.*s\" is not RFC 3339, such as 2026-01-31T23:59:00.25Z.",
                          quoted, value.p);
    case RFI_SPECVERSION:
        if (rf_str_eq(value, RF_STR("1.0")))
            return RF_OK;
        return attr_fault(fault, place, RF_EINVAL, "bad-specversion",
                          "The specversion is \"%.*s\"; only \"1.0\" is understood.", quoted,
                          value.p);
    case RFI_EXPECTEDREVISION:
        if (!rf_expect_parse(value, &parsed))
            return attr_fault(fault, place, RF_EINVAL, "bad-expectedrevision",
                              "The expectedrevision is \"%.*s\"; it must be a number from 0 on, "
                              "\"no-stream\", \"stream-exists\" or \"any\".",
                              quoted, value.p);
        if (expect != NULL)
            *expect = parsed;
        return RF_OK;
    default:
        return RF_OK;
    }
}

rf_status rfi_attrs_set(rf_decoder *d, rf_event *out, rf_expect *expect, rfi_attr attr,
                        const rfi_place *place, rfi_value_kind kind, rf_str value,
                        rf_event_fault *fault)
{
    RF_ASSERT(attr != RFI_DATA && attr != RFI_DATA_BASE64);
    bool extension = attr == RFI_EXTENSION || attr == RFI_TRACESTATE;
    if (attr == RFI_EXTENSION && !name_valid(place->name))
        return attr_fault(fault, place, RF_EINVAL, "bad-attribute-name",
                          "\"%.*s\" cannot be an attribute: names are 1 to %d lower-case letters "
                          "and digits.",
                          (int)RF_MIN(place->name.n, QUOTE_MAX), place->name.p, NAME_MAX_BYTES);
    bool number = kind == RFI_INTEGER && attr == RFI_EXPECTEDREVISION;
    if (kind != RFI_STRING && !extension && !number)
        return attr_fault(fault, place, RF_EINVAL, "bad-attribute-type",
                          "The attribute %.*s must be a string.", RF_STR_ARG(place->name));
    rf_status st = check_text(attr, place, value, fault);
    if (st == RF_OK)
        st = set_special(out, expect, attr, place, value, fault);
    if (st == RF_OK && extension)
        st = keep_extension(d, place->name, kind, value, fault);
    if (st != RF_OK)
        return st;

    if (ATTRS[attr].offset != SIZE_MAX)
        memcpy((char *)out + ATTRS[attr].offset, &value, sizeof value);
    d->seen |= 1u << attr;
    if (attr < RFI_TRACEPARENT)
        add_to_content(d, d->names[attr], rfi_hash(&d->json, value));
    else if (attr == RFI_EXTENSION)
        add_to_content(d, rfi_hash(&d->json, place->name), rfi_hash(&d->json, value));
    return RF_OK;
}

void rfi_attrs_data_json(rf_decoder *d, rf_event *out, rf_str text, rf_hash128 content)
{
    out->data_kind = RF_DATA_JSON;
    out->data = text;
    d->seen |= 1u << RFI_DATA;
    add_to_content(d, d->names[RFI_DATA], content);
}

void rfi_attrs_data_binary(rf_decoder *d, rf_event *out, rf_str bytes)
{
    out->data_kind = RF_DATA_BINARY;
    out->data = bytes;
    d->seen |= 1u << RFI_DATA_BASE64;
    add_to_content(d, d->names[RFI_DATA_BASE64], rfi_hash(&d->json, bytes));
}

/* ---- the end --------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return rf_str_cmp(((const rfi_extension *)a)->name, ((const rfi_extension *)b)->name);
}

static rf_status write_extensions(rf_decoder *d, rf_event *out, rf_event_fault *fault)
{
    if (d->extension_count == 0)
        return RF_OK;
    qsort(d->extensions, d->extension_count, sizeof *d->extensions, by_name);
    rf_buf_reset(&d->scratch);
    for (size_t i = 0; i < d->extension_count; i++) {
        const rfi_extension *x = &d->extensions[i];
        if (i > 0)
            rf_buf_add_char(&d->scratch, ',');
        rf_buf_add_json_str(&d->scratch, x->name);
        rf_buf_add_char(&d->scratch, ':');
        if (x->kind == RFI_STRING)
            rf_buf_add_json_str(&d->scratch, x->value);
        else
            rf_buf_add_str(&d->scratch, x->value);
    }
    if (d->scratch.failed)
        return rfi_fault_no_memory(fault);
    out->extensions = rf_arena_dup(d->arena, rf_buf_str(&d->scratch));
    return out->extensions.p == NULL ? rfi_fault_no_memory(fault) : RF_OK;
}

rf_status rfi_attrs_end(rf_decoder *d, rf_event *out, rf_event_fault *fault)
{
    static const rfi_attr REQUIRED[] = {RFI_SPECVERSION, RFI_ID, RFI_SOURCE, RFI_TYPE};
    for (size_t i = 0; i < RF_ARRAY_LEN(REQUIRED); i++) {
        rf_str name = ATTRS[REQUIRED[i]].name;
        if ((d->seen & 1u << REQUIRED[i]) == 0)
            return attr_fault(fault, &(rfi_place){name, 0}, RF_EINVAL, "missing-attribute",
                              "The attribute %.*s is missing: an event needs specversion, id, "
                              "source and type.",
                              RF_STR_ARG(name));
    }
    rf_status st = write_extensions(d, out, fault);
    if (st != RF_OK)
        return st;
    out->content = rfi_mix(&d->json, d->sum, (rf_hash128){1, 1});
    return RF_OK;
}
