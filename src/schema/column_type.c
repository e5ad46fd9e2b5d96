/*
 * From one property's schema to its column type: `type`, `format`, `x-type`, and `$ref` within the
 * same document. What the mapping cannot express as a scalar stays JSON, so no value is ever lost.
 */
#include "schema/schema_int.h"

#include <string.h>

#define DECIMAL_DIGITS_MAX 18 /* fits int64 */
#define SHOWN_BYTES 60        /* of a wrong value, in an error's text */

static rf_str str_of(yyjson_val *v)
{
    return (rf_str){yyjson_get_str(v), yyjson_get_len(v)};
}

rf_str rfi_schema_shorten(rf_str s, size_t max)
{
    if (s.n <= max)
        return s;
    while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
        max--;
    return (rf_str){s.p, max};
}

void rfi_schema_pointer_add(rf_buf *pointer, rf_str name)
{
    rf_buf_add_char(pointer, '/');
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '~')
            rf_buf_add_cstr(pointer, "~0");
        else if (name.p[i] == '/')
            rf_buf_add_cstr(pointer, "~1");
        else
            rf_buf_add_char(pointer, name.p[i]);
    }
}

rf_status rfi_schema_check_keywords(yyjson_val *schema, rf_str at, rf_err *err)
{
    static const char *const single[] = {"type",   "properties", "required",
                                         "format", "x-type",     "$ref"};
    yyjson_obj_iter it;
    yyjson_val *key;

    yyjson_obj_iter_init(schema, &it);
    while ((key = yyjson_obj_iter_next(&it)) != NULL) {
        for (size_t i = 0; i < RF_ARRAY_LEN(single); i++) {
            if (yyjson_equals_str(key, single[i]) &&
                yyjson_obj_get(schema, single[i]) != yyjson_obj_iter_get_val(key)) {
                return rf_err_set(err, RF_EINVAL, "%.*s/%s: is there twice", RF_STR_ARG(at),
                                  single[i]);
            }
        }
    }
    return RF_OK;
}

/* ---- the `type` keyword -------------------------------------------------------------------- */

static const struct {
    const char *name;
    unsigned bit;
} json_type_names[] = {
    {"null", RFI_JSON_NULL},     {"boolean", RFI_JSON_BOOLEAN}, {"integer", RFI_JSON_INTEGER},
    {"number", RFI_JSON_NUMBER}, {"string", RFI_JSON_STRING},   {"array", RFI_JSON_ARRAY},
    {"object", RFI_JSON_OBJECT},
};

static unsigned json_type_bit(rf_str name)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(json_type_names); i++) {
        if (rf_str_eq(name, rf_str_from(json_type_names[i].name)))
            return json_type_names[i].bit;
    }
    return 0;
}

static rf_status add_json_type(yyjson_val *v, rf_str at, unsigned *set, rf_err *err)
{
    unsigned bit = 0;

    if (yyjson_is_str(v))
        bit = json_type_bit(str_of(v));
    if (bit == 0) {
        rf_str found = yyjson_is_str(v) ? rfi_schema_shorten(str_of(v), SHOWN_BYTES)
                                        : rf_str_from(yyjson_get_type_desc(v));
        return rf_err_set(
            err, RF_EINVAL,
            "%.*s/type: found %s\"%.*s\"; use null, boolean, integer, number, string, "
            "array or object",
            RF_STR_ARG(at), yyjson_is_str(v) ? "" : "a JSON value of type ", RF_STR_ARG(found));
    }
    if (*set & bit) {
        return rf_err_set(err, RF_EINVAL, "%.*s/type: names \"%.*s\" twice", RF_STR_ARG(at),
                          RF_STR_ARG(str_of(v)));
    }
    *set |= bit;
    return RF_OK;
}

rf_status rfi_schema_json_types(yyjson_val *schema, rf_str at, unsigned *set, rf_err *err)
{
    yyjson_val *type = yyjson_obj_get(schema, "type");
    yyjson_arr_iter it;
    yyjson_val *v;

    *set = 0;
    if (type == NULL)
        return RF_OK;
    if (!yyjson_is_arr(type))
        return add_json_type(type, at, set, err);
    if (yyjson_arr_size(type) == 0)
        return rf_err_set(err, RF_EINVAL, "%.*s/type: an empty list", RF_STR_ARG(at));
    yyjson_arr_iter_init(type, &it);
    while ((v = yyjson_arr_iter_next(&it)) != NULL) {
        rf_status st = add_json_type(v, at, set, err);
        if (st != RF_OK)
            return st;
    }
    return RF_OK;
}

/* ---- x-type --------------------------------------------------------------------------------- */

/* The types a value may be declared as for this override to make sense. */
static const struct {
    const char *name;
    rf_column_type column;
    unsigned fits;
} x_types[] = {
    {"json", RF_COL_JSON, ~0u},
    {"text", RF_COL_TEXT, RFI_JSON_STRING},
    {"bigint", RF_COL_BIGINT, RFI_JSON_INTEGER | RFI_JSON_NUMBER},
    {"double", RF_COL_DOUBLE, RFI_JSON_INTEGER | RFI_JSON_NUMBER},
    {"boolean", RF_COL_BOOLEAN, RFI_JSON_BOOLEAN},
    {"timestamp", RF_COL_TIMESTAMP, RFI_JSON_STRING},
    {"date", RF_COL_DATE, RFI_JSON_STRING},
    {"decimal", RF_COL_DECIMAL, RFI_JSON_INTEGER | RFI_JSON_NUMBER | RFI_JSON_STRING},
};

static rf_str trim(rf_str s)
{
    while (s.n > 0 && s.p[0] == ' ')
        s = (rf_str){s.p + 1, s.n - 1};
    while (s.n > 0 && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

/* "(18, 2)" */
static bool parse_decimal(rf_str s, rf_column *column)
{
    const char *comma;
    uint64_t precision, scale;

    if (s.n < 5 || s.p[0] != '(' || s.p[s.n - 1] != ')')
        return false;
    s = (rf_str){s.p + 1, s.n - 2};
    comma = memchr(s.p, ',', s.n);
    if (comma == NULL)
        return false;
    if (!rf_str_to_u64(trim((rf_str){s.p, (size_t)(comma - s.p)}), &precision) ||
        !rf_str_to_u64(trim((rf_str){comma + 1, (size_t)(s.p + s.n - comma - 1)}), &scale))
        return false;
    if (precision < 1 || precision > DECIMAL_DIGITS_MAX || scale > precision)
        return false;
    column->precision = (uint8_t)precision;
    column->scale = (uint8_t)scale;
    return true;
}

static rf_status apply_x_type(yyjson_val *v, unsigned declared, rf_str at, rf_column *column,
                              rf_err *err)
{
    rf_str text = yyjson_is_str(v) ? str_of(v) : RF_STR("");
    const char *paren = text.n > 0 ? memchr(text.p, '(', text.n) : NULL;
    rf_str name = paren != NULL ? (rf_str){text.p, (size_t)(paren - text.p)} : text;

    for (size_t i = 0; i < RF_ARRAY_LEN(x_types); i++) {
        bool decimal = x_types[i].column == RF_COL_DECIMAL;

        if (!rf_str_eq(name, rf_str_from(x_types[i].name)) || (paren != NULL && !decimal))
            continue;
        if (decimal && !parse_decimal((rf_str){text.p + name.n, text.n - name.n}, column)) {
            return rf_err_set(err, RF_EINVAL,
                              "%.*s/x-type: \"%.*s\" should be decimal(p,s) with 1 <= p <= %d and "
                              "s <= p",
                              RF_STR_ARG(at), RF_STR_ARG(rfi_schema_shorten(text, SHOWN_BYTES)),
                              DECIMAL_DIGITS_MAX);
        }
        if ((declared & ~(unsigned)RFI_JSON_NULL & ~x_types[i].fits) != 0) {
            return rf_err_set(err, RF_EINVAL, "%.*s/x-type: %s does not fit the declared \"type\"",
                              RF_STR_ARG(at), x_types[i].name);
        }
        column->type = x_types[i].column;
        return RF_OK;
    }
    return rf_err_set(err, RF_EINVAL,
                      "%.*s/x-type: \"%.*s\" is unknown; use text, bigint, double, boolean, "
                      "timestamp, date, json or decimal(p,s)",
                      RF_STR_ARG(at), RF_STR_ARG(rfi_schema_shorten(text, SHOWN_BYTES)));
}

/* ---- a property ------------------------------------------------------------------------------ */

/* Follows `$ref` within the document. A reference elsewhere, or a circle, leaves the type open. */
static yyjson_val *resolve(yyjson_val *root, yyjson_val *schema)
{
    for (int hops = 0; hops < RFI_REF_HOPS_MAX; hops++) {
        yyjson_val *ref = yyjson_obj_get(schema, "$ref");
        rf_str text;

        if (ref == NULL || !yyjson_is_str(ref))
            return schema;
        if (yyjson_obj_get(schema, "type") != NULL || yyjson_obj_get(schema, "x-type") != NULL)
            return schema; /* keywords beside $ref: the nearer word is the more exact one */
        text = str_of(ref);
        if (text.n == 0 || text.p[0] != '#')
            return NULL;
        schema = yyjson_ptr_getn(root, text.p + 1, text.n - 1);
        if (!yyjson_is_obj(schema))
            return NULL;
    }
    return NULL;
}

static rf_column_type string_column(yyjson_val *schema)
{
    yyjson_val *format = yyjson_obj_get(schema, "format");

    if (yyjson_equals_str(format, "date-time"))
        return RF_COL_TIMESTAMP;
    if (yyjson_equals_str(format, "date"))
        return RF_COL_DATE;
    return RF_COL_TEXT;
}

rf_status rfi_schema_column_type(yyjson_val *root, yyjson_val *schema, rf_str at, rf_column *column,
                                 rf_err *err)
{
    unsigned declared;
    rf_status st;
    yyjson_val *x_type;

    column->type = RF_COL_JSON;
    if (yyjson_is_bool(schema))
        return RF_OK; /* `true`: anything */
    if (!yyjson_is_obj(schema)) {
        return rf_err_set(err, RF_EINVAL, "%.*s: a property's schema is an object or a boolean",
                          RF_STR_ARG(at));
    }
    schema = resolve(root, schema);
    if (schema == NULL)
        return RF_OK;
    st = rfi_schema_check_keywords(schema, at, err);
    if (st == RF_OK)
        st = rfi_schema_json_types(schema, at, &declared, err);
    if (st != RF_OK)
        return st;
    x_type = yyjson_obj_get(schema, "x-type");
    if (x_type != NULL)
        return apply_x_type(x_type, declared, at, column, err);

    switch (declared & ~(unsigned)RFI_JSON_NULL) {
    case RFI_JSON_STRING:
        column->type = string_column(schema);
        break;
    case RFI_JSON_INTEGER:
        column->type = RF_COL_BIGINT;
        break;
    case RFI_JSON_NUMBER:
    case RFI_JSON_NUMBER | RFI_JSON_INTEGER: /* every integer is a number */
        column->type = RF_COL_DOUBLE;
        break;
    case RFI_JSON_BOOLEAN:
        column->type = RF_COL_BOOLEAN;
        break;
    default:
        break;
    }
    return RF_OK;
}
