/*
 * The typed shape of an event type: properties of the schema's root object become columns, in the
 * schema's order.
 *
 * I1  No two columns have the same name, not even without regard to ASCII case: SQL names do not
 *     tell `Id` from `id`.
 * I2  `by_name` holds every column once, in bytewise order of names: look-ups are binary.
 */
#include "schema/schema_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ATTR_BYTES_MAX 4096 /* of an event's type, as event/ has it */
#define POINTER_BYTES_MAX 160

/* What rf_columns really is: the public part comes first. */
typedef struct shape {
    rf_columns columns;
    uint32_t *by_name;
} shape;

static int name_cmp(const void *a, const void *b, void *columns)
{
    const rf_column *c = columns;

    return strcmp(c[*(const uint32_t *)a].name, c[*(const uint32_t *)b].name);
}

static int name_case_cmp(const void *a, const void *b, void *columns)
{
    const rf_column *c = columns;

    return strcasecmp(c[*(const uint32_t *)a].name, c[*(const uint32_t *)b].name);
}

void rf_columns_free(rf_columns **c)
{
    shape *s;

    if (c == NULL || *c == NULL)
        return;
    s = (shape *)*c;
    for (size_t i = 0; i < s->columns.count; i++)
        free(s->columns.columns[i].name);
    free(s->columns.columns);
    free(s->columns.type);
    free(s->by_name);
    free(s);
    *c = NULL;
}

size_t rf_columns_find(const rf_columns *c, rf_str name)
{
    const shape *s = (const shape *)c;
    size_t low = 0, high = c->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *here = c->columns[s->by_name[middle]].name;
        int order = rf_str_cmp(rf_str_from(here), name);

        if (order == 0)
            return s->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

/* ---- reading --------------------------------------------------------------------------------- */

static rf_status add_column(shape *s, yyjson_val *root, rf_str name, yyjson_val *schema,
                            rf_err *err)
{
    rf_column *column = &s->columns.columns[s->columns.count];
    rf_buf pointer;
    rf_status st;

    if (memchr(name.p, 0, name.n) != NULL) {
        return rf_err_set(err, RF_EINVAL, "/properties: the name of property %zu contains U+0000",
                          s->columns.count + 1);
    }
    if (yyjson_is_false(schema))
        return RF_OK; /* may never be present: there is nothing to read */
    rf_buf_init(&pointer, RFI_SCHEMA_BYTES_MAX * 2 + 64);
    rf_buf_add_cstr(&pointer, "/properties");
    rfi_schema_pointer_add(&pointer, name);
    st = rfi_schema_column_type(
        root, schema, rfi_schema_shorten(rf_buf_str(&pointer), POINTER_BYTES_MAX), column, err);
    rf_buf_clear(&pointer);
    if (st != RF_OK)
        return st;
    column->name = rf_xstrndup(name);
    s->columns.count++;
    return RF_OK;
}

/* Builds by_name and proves I1. */
static rf_status index_names(shape *s, rf_err *err)
{
    rf_column *columns = s->columns.columns;
    size_t n = s->columns.count;

    for (uint32_t i = 0; i < n; i++)
        s->by_name[i] = i;
    qsort_r(s->by_name, n, sizeof(*s->by_name), name_case_cmp, columns);
    for (size_t i = 1; i < n; i++) {
        rf_str a = rf_str_from(columns[s->by_name[i - 1]].name);
        rf_str b = rf_str_from(columns[s->by_name[i]].name);

        if (strcasecmp(a.p, b.p) != 0)
            continue;
        a = rfi_schema_shorten(a, POINTER_BYTES_MAX);
        b = rfi_schema_shorten(b, POINTER_BYTES_MAX);
        if (rf_str_eq(a, b)) {
            return rf_err_set(err, RF_EINVAL, "/properties: \"%.*s\" is there twice",
                              RF_STR_ARG(a));
        }
        return rf_err_set(err, RF_EINVAL,
                          "/properties: \"%.*s\" and \"%.*s\" differ only in case, which column "
                          "names do not tell apart; leave one out of the schema",
                          RF_STR_ARG(a), RF_STR_ARG(b));
    }
    qsort_r(s->by_name, n, sizeof(*s->by_name), name_cmp, columns);
    return RF_OK;
}

static rf_status read_properties(shape *s, yyjson_val *root, rf_err *err)
{
    yyjson_val *properties = yyjson_obj_get(root, "properties");
    yyjson_obj_iter it;
    yyjson_val *key;

    if (properties == NULL)
        return RF_OK;
    if (!yyjson_is_obj(properties))
        return rf_err_set(err, RF_EINVAL, "/properties: must be an object");
    if (yyjson_obj_size(properties) > RFI_COLUMNS_MAX) {
        return rf_err_set(err, RF_EINVAL, "/properties: has %zu members, at most %u are allowed",
                          yyjson_obj_size(properties), RFI_COLUMNS_MAX);
    }
    s->columns.columns = rf_xcalloc(yyjson_obj_size(properties) + 1, sizeof(rf_column));
    s->by_name = rf_xcalloc(yyjson_obj_size(properties) + 1, sizeof(*s->by_name));
    yyjson_obj_iter_init(properties, &it);
    while ((key = yyjson_obj_iter_next(&it)) != NULL) {
        rf_str name = {yyjson_get_str(key), yyjson_get_len(key)};
        rf_status st = add_column(s, root, name, yyjson_obj_iter_get_val(key), err);
        if (st != RF_OK)
            return st;
    }
    return index_names(s, err);
}

static rf_status read_required(shape *s, yyjson_val *root, rf_err *err)
{
    yyjson_val *required = yyjson_obj_get(root, "required");
    yyjson_arr_iter it;
    yyjson_val *v;
    size_t at = 0;

    if (required == NULL)
        return RF_OK;
    if (!yyjson_is_arr(required))
        return rf_err_set(err, RF_EINVAL, "/required: must be a list of property names");
    yyjson_arr_iter_init(required, &it);
    while ((v = yyjson_arr_iter_next(&it)) != NULL) {
        size_t found;

        if (!yyjson_is_str(v))
            return rf_err_set(err, RF_EINVAL, "/required/%zu: must be a property name", at);
        /* A name without a property is legal JSON Schema: it makes no column. */
        found = rf_columns_find(&s->columns, (rf_str){yyjson_get_str(v), yyjson_get_len(v)});
        if (found != SIZE_MAX)
            s->columns.columns[found].required = true;
        at++;
    }
    return RF_OK;
}

static rf_status read_root(shape *s, yyjson_val *root, rf_err *err)
{
    unsigned declared;
    rf_status st;

    if (!yyjson_is_obj(root))
        return rf_err_set(err, RF_EINVAL, "a schema must be a JSON object");
    st = rfi_schema_check_keywords(root, RF_STR(""), err);
    if (st == RF_OK)
        st = rfi_schema_json_types(root, RF_STR(""), &declared, err);
    if (st != RF_OK)
        return st;
    if (declared != 0 && (declared & RFI_JSON_OBJECT) == 0) {
        return rf_err_set(err, RF_EINVAL,
                          "/type: only \"object\" has columns; leave the schema out and the "
                          "data is read as JSON");
    }
    st = read_properties(s, root, err);
    if (st == RF_OK)
        st = read_required(s, root, err);
    return st;
}

static rf_status check_type_name(rf_str type, rf_err *err)
{
    if (type.n == 0 || type.n > ATTR_BYTES_MAX) {
        return rf_err_set(err, RF_EINVAL, "an event type has 1 to %d bytes, this one has %zu",
                          ATTR_BYTES_MAX, type.n);
    }
    if (!rf_utf8_valid(type.p, type.n, &(size_t){0}) || memchr(type.p, 0, type.n) != NULL)
        return rf_err_set(err, RF_EINVAL, "the event type is not UTF-8 without U+0000");
    return RF_OK;
}

rf_status rf_columns_parse(rf_str type, uint32_t version, rf_str json, rf_columns **out,
                           rf_err *err)
{
    yyjson_read_err bad;
    yyjson_doc *doc;
    shape *s;
    rf_columns *made;
    rf_status st;

    *out = NULL;
    st = check_type_name(type, err);
    if (st != RF_OK)
        return st;
    if (json.n > RFI_SCHEMA_BYTES_MAX) {
        return rf_err_set(err, RF_ETOOBIG, "the schema has %zu bytes, at most %u are allowed",
                          json.n, RFI_SCHEMA_BYTES_MAX);
    }
    doc = yyjson_read_opts((char *)(uintptr_t)json.p, json.n, 0, NULL, &bad); /* does not write */
    if (doc == NULL) {
        return rf_err_set(err, RF_EINVAL, "the schema is not JSON: %s at byte %zu", bad.msg,
                          bad.pos);
    }
    s = rf_xcalloc(1, sizeof(*s));
    s->columns.type = rf_xstrndup(type);
    s->columns.version = version;
    st = read_root(s, yyjson_doc_get_root(doc), err);
    yyjson_doc_free(doc);
    made = &s->columns;
    if (st == RF_OK)
        *out = made;
    else
        rf_columns_free(&made);
    return st;
}
