/*
 * One CloudEvent in JSON format. Two passes over the event's own members: the first checks the
 * shape of everything (depth, duplicate keys), the second the attributes, so that which rule a bad
 * event breaks first does not hang on the order of its members.
 */
#include "event/event_int.h"

/* What the second pass needs of the first. */
typedef struct members {
    rf_str text;
    size_t count; /* keys[0..count) of the decoder's json are the event's own */
    rf_hash128 data_content;
} members;

/* In place of a hash the key of a known attribute carries its number; hashes of others have the
 * highest bit set. */
#define OTHER_KEY (UINT64_C(1) << 63)

static yyjson_val *member_key(const rf_decoder *d, size_t i)
{
    return d->json.keys[i].key;
}

static rfi_attr member_attr(const rf_decoder *d, size_t i)
{
    uint64_t hash = d->json.keys[i].hash;
    return hash < OTHER_KEY ? (rfi_attr)hash : RFI_EXTENSION;
}

/* ---- first pass ------------------------------------------------------------------------------ */

static rf_status push_own_keys(rf_decoder *d, yyjson_val *root, members *m, rf_event_fault *fault)
{
    yyjson_val *key = unsafe_yyjson_get_first(root), *duplicate = NULL;
    uint32_t known = 0;
    size_t others = 0;
    m->count = unsafe_yyjson_get_len(root);
    for (size_t i = 0; i < m->count; i++) {
        rf_str name = rfi_val_str(key);
        rfi_attr attr = rfi_attr_of(name);
        uint64_t hash = attr;
        if (attr == RFI_EXTENSION) {
            hash = rfi_hash(&d->json, name).lo | OTHER_KEY;
            others++;
        } else if (known & 1u << attr) {
            duplicate = key;
            break;
        }
        known |= 1u << attr;
        if (!rfi_json_push_key(&d->json, key, hash))
            return rfi_fault_no_memory(fault);
        key = unsafe_yyjson_get_next(key + 1);
    }
    if (duplicate == NULL && others > 1 && !rfi_json_find_duplicate(&d->json, 0, &duplicate))
        return rfi_fault_no_memory(fault);
    if (duplicate == NULL)
        return RF_OK;
    rf_str name = rfi_val_str(duplicate);
    rfi_fault(fault, RF_EINVAL, "duplicate-key", rfi_json_at(&d->json, duplicate) - 1,
              "The member \"%.*s\" stands twice in the event.", (int)RF_MIN(name.n, 100), name.p);
    (void)rfi_fault_path(fault, name);
    return RF_EINVAL;
}

static rf_status check_shape(rf_decoder *d, yyjson_val *root, members *m, rf_event_fault *fault)
{
    rf_status st = push_own_keys(d, root, m, fault);
    for (size_t i = 0; i < m->count && st == RF_OK; i++) {
        yyjson_val *key = member_key(d, i), *value = key + 1;
        rf_str name = rfi_val_str(key);
        bool data = member_attr(d, i) == RFI_DATA;
        rf_hash128 unused;
        if (data || unsafe_yyjson_is_ctn(value))
            st = rfi_json_walk(&d->json, value, d->limits.depth_max - 1, m->text, name,
                               data ? &m->data_content : &unused, fault);
    }
    return st;
}

/* ---- second pass ----------------------------------------------------------------------------- */

/* A string has the same bytes in the text: it ends there where it ends unescaped. With an escape it
 * is longer in the text, and a quote at that place would be an escaped one. */
static inline bool is_plain(rf_str text, size_t at, size_t n)
{
    return text.p[at + n] == '"' && (n == 0 || text.p[at + n - 1] != '\\');
}

/* Where the value of the i-th member begins. The text is valid JSON here. */
static size_t value_at(const rf_decoder *d, const members *m, size_t i)
{
    yyjson_val *key = member_key(d, i);
    size_t at = rfi_json_at(&d->json, key), n = rfi_val_str(key).n;
    size_t end = is_plain(m->text, at, n) ? at + n : rfi_string_end(m->text, at);
    at = rfi_skip_space(m->text, end + 1);
    return rfi_skip_space(m->text, at + 1); /* behind the colon */
}

/* The exact slice of the i-th member's value: up to the comma before the next member's key, or to
 * the event's closing brace. So a long value is not gone through again. */
static rf_str value_slice(const rf_decoder *d, const members *m, size_t i)
{
    size_t from = value_at(d, m, i);
    rf_str rest = {m->text.p, m->text.n};
    if (i + 1 < m->count)
        rest.n = rfi_json_at(&d->json, member_key(d, i + 1)) - 1;
    rest = rfi_trim((rf_str){rest.p + from, rest.n - from});
    return rfi_trim((rf_str){rest.p, rest.n - 1}); /* without the comma or the brace */
}

/* The bytes of a string, which outlive the parser's copy: borrowed from the text, or the arena's.
 */
static rf_str string_bytes(rf_decoder *d, const members *m, const yyjson_val *v)
{
    rf_str s = rfi_val_str(v);
    size_t at = rfi_json_at(&d->json, v);
    if (is_plain(m->text, at, s.n))
        return (rf_str){m->text.p + at, s.n};
    return rf_arena_dup(d->arena, s);
}

static rf_status take_attribute(rf_decoder *d, members *m, size_t i, rf_event *out,
                                rf_expect *expect, rfi_attr attr, rf_event_fault *fault)
{
    const yyjson_val *value = member_key(d, i) + 1;
    rfi_place place = {rfi_val_str(member_key(d, i)), 0};
    rfi_value_kind kind;
    rf_str text;
    switch ((uint8_t)value->tag & (YYJSON_TYPE_MASK | YYJSON_SUBTYPE_MASK)) {
    case YYJSON_TYPE_NULL: /* JSON format: the same as absent */
        return RF_OK;
    case YYJSON_TYPE_STR:
    case YYJSON_TYPE_STR | YYJSON_SUBTYPE_NOESC:
        kind = RFI_STRING;
        place.position = rfi_json_at(&d->json, value) - 1;
        text = string_bytes(d, m, value);
        if (text.p == NULL)
            return rfi_fault_no_memory(fault);
        break;
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_FALSE:
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_TRUE:
        kind = RFI_BOOLEAN;
        place.position = value_at(d, m, i);
        text = value_slice(d, m, i);
        break;
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_UINT:
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_SINT:
        kind = RFI_INTEGER;
        place.position = value_at(d, m, i);
        text = value_slice(d, m, i);
        if (unsafe_yyjson_is_uint((void *)(uintptr_t)value) && value->uni.u64 <= INT64_MAX)
            break;
        if ((int8_t)unsafe_yyjson_get_subtype((void *)(uintptr_t)value) == YYJSON_SUBTYPE_SINT)
            break;
        /* fallthrough */
    default:
        rfi_fault(fault, RF_EINVAL, "bad-attribute-type", value_at(d, m, i),
                  "The attribute %.*s must be a string, a boolean or a 64-bit integer; what has "
                  "structure belongs into data.",
                  (int)RF_MIN(place.name.n, 64), place.name.p);
        (void)rfi_fault_path(fault, place.name);
        return RF_EINVAL;
    }
    return rfi_attrs_set(d, out, expect, attr, &place, kind, text, fault);
}

static rf_status take_base64(rf_decoder *d, members *m, size_t i, rf_event *out,
                             rf_event_fault *fault)
{
    const yyjson_val *value = member_key(d, i) + 1;
    if (unsafe_yyjson_is_null((void *)(uintptr_t)value))
        return RF_OK;
    rf_str text = {"", 0};
    rf_buf into; /* over the arena's memory, with room for the result: never grown, never freed */
    rf_buf_init(&into, SIZE_MAX);
    bool fine = unsafe_yyjson_is_str((void *)(uintptr_t)value);
    if (fine) {
        text = rfi_val_str(value);
        into.cap = text.n + 1;
        into.p = rf_arena_alloc(d->arena, into.cap);
        if (into.p == NULL)
            return rfi_fault_no_memory(fault);
        fine = rf_base64_decode(text, &into);
    }
    if (!fine) {
        rfi_fault(fault, RF_EINVAL, "bad-base64", value_at(d, m, i),
                  "data_base64 must be a string of base64 with padding and without line breaks "
                  "(RFC 4648 section 4).");
        (void)rfi_fault_path(fault, RF_STR("data_base64"));
        return RF_EINVAL;
    }
    rfi_attrs_data_binary(d, out, rf_buf_str(&into));
    return RF_OK;
}

static rf_status take_members(rf_decoder *d, members *m, rf_event *out, rf_expect *expect,
                              rf_event_fault *fault)
{
    rf_status st = RF_OK;
    for (size_t i = 0; i < m->count && st == RF_OK; i++) {
        rfi_attr attr = member_attr(d, i);
        if (attr == RFI_DATA)
            rfi_attrs_data_json(d, out, value_slice(d, m, i), m->data_content);
        else if (attr == RFI_DATA_BASE64)
            st = take_base64(d, m, i, out, fault);
        else
            st = take_attribute(d, m, i, out, expect, attr, fault);
    }
    uint32_t both = 1u << RFI_DATA | 1u << RFI_DATA_BASE64;
    if (st == RF_OK && (d->seen & both) == both) {
        st = rfi_fault(fault, RF_EINVAL, "data-and-data-base64", 0,
                       "The event has data and data_base64; send one of them.");
        (void)rfi_fault_path(fault, RF_STR("data_base64"));
    }
    return st;
}

rf_status rf_event_decode(rf_decoder *d, rf_str text, rf_event *out, rf_expect *expect,
                          rf_event_fault *fault)
{
    yyjson_val *root;
    members m = {.text = text};
    rfi_attrs_begin(d, out, expect);
    if (text.n > d->limits.event_bytes_max)
        return rfi_fault(fault, RF_ETOOBIG, "size", 0,
                         "The event has %zu bytes; at most %u are allowed.", text.n,
                         d->limits.event_bytes_max);
    rf_status st = rfi_json_parse(&d->json, text, &root, fault);
    if (st != RF_OK)
        return st;
    if (!unsafe_yyjson_is_obj(root))
        return rfi_fault(fault, RF_EINVAL, "not-an-object", rfi_skip_space(text, 0),
                         "An event is a JSON object, such as {\"specversion\":\"1.0\", ...}.");
    st = check_shape(d, root, &m, fault);
    if (st == RF_OK)
        st = take_members(d, &m, out, expect, fault);
    if (st == RF_OK)
        st = rfi_attrs_end(d, out, fault);
    return st;
}
