/* The walker of an object's members against yyjson: never beyond the text, and the same members
 * where the text is an object. */
#include "engine/events_int.h"

#include <yyjson.h>

static bool same_kind(yyjson_val *v, rfi_json_kind kind)
{
    switch (kind) {
    case RFI_JSON_NULL:
        return yyjson_is_null(v);
    case RFI_JSON_FALSE:
        return yyjson_is_false(v);
    case RFI_JSON_TRUE:
        return yyjson_is_true(v);
    case RFI_JSON_NUMBER:
        return yyjson_is_num(v);
    case RFI_JSON_STRING:
        return yyjson_is_str(v);
    case RFI_JSON_ARRAY:
        return yyjson_is_arr(v);
    case RFI_JSON_OBJECT:
        return yyjson_is_obj(v);
    }
    return false;
}

static void compare(yyjson_val *object, rf_str text)
{
    yyjson_obj_iter iter;
    yyjson_val *key;
    rfi_members members;
    rfi_member m;

    RF_ASSERT(rfi_members_begin(&members, text));
    yyjson_obj_iter_init(object, &iter);
    while ((key = yyjson_obj_iter_next(&iter)) != NULL) {
        yyjson_doc *value;

        RF_ASSERT(rfi_members_next(&members, &m));
        if (!m.key_escaped)
            RF_ASSERT(rf_str_eq(m.key, (rf_str){yyjson_get_str(key), yyjson_get_len(key)}));
        RF_ASSERT(same_kind(yyjson_obj_iter_get_val(key), m.kind));
        value = yyjson_read(m.value.p, m.value.n, 0);
        RF_ASSERT(value != NULL);
        RF_ASSERT(yyjson_equals(yyjson_doc_get_root(value), yyjson_obj_iter_get_val(key)));
        yyjson_doc_free(value);
    }
    RF_ASSERT(!rfi_members_next(&members, &m));
}

/* Numbers: what the fast paths read is what yyjson reads. */
static void numbers(rf_str text)
{
    yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
    yyjson_val *v = yyjson_doc_get_root(doc);
    int64_t whole;
    double d;

    if (yyjson_is_num(v) && memchr(text.p, ' ', text.n) == NULL && text.n < 400 &&
        ((text.p[text.n - 1] >= '0' && text.p[text.n - 1] <= '9')) &&
        (text.p[0] == '-' || (text.p[0] >= '0' && text.p[0] <= '9'))) {
        RF_ASSERT(rfi_parse_f64(text, &d));
        RF_ASSERT(d == yyjson_get_num(v));
        if (yyjson_is_sint(v) || (yyjson_is_uint(v) && yyjson_get_uint(v) <= INT64_MAX))
            RF_ASSERT(rfi_parse_i64(text, &whole) && whole == yyjson_get_sint(v));
    }
    yyjson_doc_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1); /* its end is watched */
    rf_str text = {copy, size};
    rfi_members members;
    rfi_member m;
    yyjson_doc *doc;
    int64_t v;
    int32_t days;

    memcpy(copy, data, size);
    copy = realloc(copy, size > 0 ? size : 1);
    text.p = copy;
    if (rfi_members_begin(&members, text)) {
        while (rfi_members_next(&members, &m)) {
            (void)rfi_parse_decimal(m.value, 18, 4, &v);
            (void)rfi_parse_date(m.value, &days);
        }
    }
    doc = size > 0 ? yyjson_read(text.p, text.n, 0) : NULL;
    if (yyjson_is_obj(yyjson_doc_get_root(doc)))
        compare(yyjson_doc_get_root(doc), text);
    if (size > 0)
        numbers(text);
    yyjson_doc_free(doc);
    free(copy);
    return 0;
}
