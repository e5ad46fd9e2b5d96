/* Binary mode of the HTTP binding: attributes by headers, data by the body. */
#include "event/event_int.h"

#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* A copy in the arena, in lower case: names of headers have no case. */
static rf_str lower_dup(rf_decoder *d, rf_str s)
{
    rf_str copy = rf_arena_dup(d->arena, s);
    char *p = (char *)(uintptr_t)copy.p;
    for (size_t i = 0; i < copy.n; i++)
        p[i] = lower(p[i]);
    return copy;
}

void rf_event_binary_begin(rf_decoder *d, rf_event *out)
{
    rfi_attrs_begin(d, out, NULL);
}

static rf_status refuse(rf_event_fault *fault, const char *rule, rf_str name, const char *detail)
{
    rfi_fault(fault, RF_EINVAL, rule, 0, "%s", detail);
    (void)rfi_fault_path(fault, name);
    return RF_EINVAL;
}

/* Attributes that are given twice: the known ones have a bit, the rest are few. */
static bool seen_before(const rf_decoder *d, rfi_attr attr, rf_str name)
{
    if (attr != RFI_EXTENSION)
        return (d->seen & 1u << attr) != 0;
    for (size_t i = 0; i < d->extension_count; i++) {
        if (rf_str_eq(d->extensions[i].name, name))
            return true;
    }
    return false;
}

rf_status rf_event_binary_attr(rf_decoder *d, rf_event *out, rf_expect *expect, rf_str name,
                               rf_str value, rf_event_fault *fault)
{
    name = lower_dup(d, name);
    value = rf_arena_dup(d->arena, value);
    if (name.p == NULL || value.p == NULL)
        return rfi_fault_no_memory(fault);
    if (!rf_utf8_valid(name.p, name.n, NULL))
        return refuse(fault, "utf8", RF_STR(""), "The name of a ce- header is not valid UTF-8.");
    if (!rf_utf8_valid(value.p, value.n, NULL))
        return refuse(fault, "utf8", name, "The header's value is not valid UTF-8.");
    rfi_attr attr = rfi_attr_of(name);
    if (attr == RFI_DATA || attr == RFI_DATA_BASE64)
        return refuse(fault, "bad-attribute-name", name,
                      "In binary mode the data is the body, not a header.");
    if (attr == RFI_DATACONTENTTYPE)
        return refuse(fault, "bad-attribute-name", name,
                      "In binary mode the type of the data is the header Content-Type.");
    if (seen_before(d, attr, name))
        return refuse(fault, "duplicate-key", name, "The header is there twice.");
    return rfi_attrs_set(d, out, expect, attr, &(rfi_place){name, 0}, RFI_STRING, value, fault);
}

/* The media type without parameters, compared without case. */
static bool is_json_type(rf_str type)
{
    static const char *const WHOLE[] = {"application/json", "text/json"};
    const char *semicolon = type.n == 0 ? NULL : memchr(type.p, ';', type.n);
    if (semicolon != NULL)
        type.n = (size_t)(semicolon - type.p);
    type = rfi_trim(type);
    char text[128];
    if (type.n == 0)
        return true;
    if (type.n > sizeof text)
        return false;
    for (size_t i = 0; i < type.n; i++)
        text[i] = lower(type.p[i]);
    rf_str lowered = {text, type.n};
    for (size_t i = 0; i < RF_ARRAY_LEN(WHOLE); i++) {
        if (rf_str_eq(lowered, rf_str_from(WHOLE[i])))
            return true;
    }
    rf_str suffix = RF_STR("+json");
    return lowered.n > suffix.n &&
           memcmp(lowered.p + lowered.n - suffix.n, suffix.p, suffix.n) == 0;
}

static rf_status take_json_body(rf_decoder *d, rf_event *out, rf_str body, rf_event_fault *fault)
{
    yyjson_val *root;
    rf_hash128 content;
    rf_status st = rfi_json_parse(&d->json, body, &root, fault);
    if (st == RF_OK)
        st = rfi_json_walk(&d->json, root, d->limits.depth_max - 1, body, RF_STR("data"), &content,
                           fault);
    else
        (void)rfi_fault_path(fault, RF_STR("data"));
    if (st == RF_OK)
        rfi_attrs_data_json(d, out, rfi_trim(body), content);
    return st;
}

rf_status rf_event_binary_finish(rf_decoder *d, rf_event *out, rf_str content_type, rf_str body,
                                 rf_event_fault *fault)
{
    rf_status st = RF_OK;
    if (body.n > d->limits.event_bytes_max)
        return rfi_fault(fault, RF_ETOOBIG, "size", 0,
                         "The body has %zu bytes; at most %u are allowed.", body.n,
                         d->limits.event_bytes_max);
    if (content_type.n > 0) {
        if (!rf_utf8_valid(content_type.p, content_type.n, NULL))
            return refuse(fault, "utf8", RF_STR("datacontenttype"),
                          "The header Content-Type is not valid UTF-8.");
        rf_str kept = rf_arena_dup(d->arena, content_type);
        if (kept.p == NULL)
            return rfi_fault_no_memory(fault);
        st = rfi_attrs_set(d, out, NULL, RFI_DATACONTENTTYPE,
                           &(rfi_place){RF_STR("datacontenttype"), 0}, RFI_STRING, kept, fault);
    }
    if (st == RF_OK && body.n > 0) {
        if (is_json_type(content_type))
            st = take_json_body(d, out, body, fault);
        else
            rfi_attrs_data_binary(d, out, body);
    }
    if (st == RF_OK)
        st = rfi_attrs_end(d, out, fault);
    return st;
}
