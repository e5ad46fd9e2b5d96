/* Helpers for the engine's statement trees. Nodes come from the statement's document and live with
 * it. */
#include "projection/tree_int.h"

#include <strings.h>

const char *rfi_tree_text(yyjson_mut_val *node, const char *key)
{
    const char *text = yyjson_mut_get_str(yyjson_mut_obj_get(node, key));

    return text != NULL ? text : "";
}

bool rfi_tree_is(yyjson_mut_val *node, const char *key, const char *text)
{
    return strcmp(rfi_tree_text(node, key), text) == 0;
}

bool rfi_tree_has(yyjson_mut_val *node, const char *key)
{
    yyjson_mut_val *value = yyjson_mut_obj_get(node, key);

    return value != NULL && !yyjson_mut_is_null(value);
}

void rfi_tree_set(yyjson_mut_doc *doc, yyjson_mut_val *node, const char *key, yyjson_mut_val *value)
{
    yyjson_mut_obj_put(node, yyjson_mut_str(doc, key), value);
}

static bool ignored(const char *key)
{
    return strcmp(key, "alias") == 0 || strcmp(key, "query_location") == 0;
}

static bool text_is_name(const char *key)
{
    return strcmp(key, "function_name") == 0;
}

static bool equal(yyjson_mut_val *a, yyjson_mut_val *b, const char *key, size_t depth);

static bool objects_equal(yyjson_mut_val *a, yyjson_mut_val *b, size_t depth)
{
    yyjson_mut_obj_iter members;
    yyjson_mut_val *key;

    if (yyjson_mut_obj_size(a) != yyjson_mut_obj_size(b))
        return false;
    yyjson_mut_obj_iter_init(a, &members);
    while ((key = yyjson_mut_obj_iter_next(&members)) != NULL) {
        const char *name = yyjson_mut_get_str(key);

        if (!ignored(name) &&
            !equal(yyjson_mut_obj_iter_get_val(key), yyjson_mut_obj_get(b, name), name, depth + 1))
            return false;
    }
    return true;
}

static bool arrays_equal(yyjson_mut_val *a, yyjson_mut_val *b, size_t depth)
{
    yyjson_mut_arr_iter left, right;
    yyjson_mut_val *x, *y;

    if (yyjson_mut_arr_size(a) != yyjson_mut_arr_size(b))
        return false;
    yyjson_mut_arr_iter_init(a, &left);
    yyjson_mut_arr_iter_init(b, &right);
    while ((x = yyjson_mut_arr_iter_next(&left)) != NULL) {
        y = yyjson_mut_arr_iter_next(&right);
        if (!equal(x, y, "", depth + 1))
            return false;
    }
    return true;
}

static bool equal(yyjson_mut_val *a, yyjson_mut_val *b, const char *key, size_t depth)
{
    if (a == NULL || b == NULL || depth > RFI_TREE_DEPTH_MAX)
        return false;
    if (yyjson_mut_is_obj(a) && yyjson_mut_is_obj(b))
        return objects_equal(a, b, depth);
    if (yyjson_mut_is_arr(a) && yyjson_mut_is_arr(b))
        return arrays_equal(a, b, depth);
    if (yyjson_mut_is_str(a) && yyjson_mut_is_str(b) && text_is_name(key))
        return strcasecmp(yyjson_mut_get_str(a), yyjson_mut_get_str(b)) == 0;
    return yyjson_mut_equals(a, b);
}

bool rfi_tree_equal(yyjson_mut_val *a, yyjson_mut_val *b)
{
    return equal(a, b, "", 0);
}

static bool walk(yyjson_mut_val *node, bool (*each)(void *arg, yyjson_mut_val *node), void *arg,
                 size_t depth)
{
    yyjson_mut_obj_iter members;
    yyjson_mut_arr_iter items;
    yyjson_mut_val *key, *item;

    if (depth > RFI_TREE_DEPTH_MAX)
        return true;
    if (yyjson_mut_is_arr(node)) {
        yyjson_mut_arr_iter_init(node, &items);
        while ((item = yyjson_mut_arr_iter_next(&items)) != NULL) {
            if (!walk(item, each, arg, depth + 1))
                return false;
        }
        return true;
    }
    if (!yyjson_mut_is_obj(node))
        return true;
    if (rfi_tree_text(node, "class")[0] != '\0' && !each(arg, node))
        return false;
    yyjson_mut_obj_iter_init(node, &members);
    while ((key = yyjson_mut_obj_iter_next(&members)) != NULL) {
        if (!walk(yyjson_mut_obj_iter_get_val(key), each, arg, depth + 1))
            return false;
    }
    return true;
}

bool rfi_tree_walk(yyjson_mut_val *node, bool (*each)(void *arg, yyjson_mut_val *node), void *arg)
{
    return walk(node, each, arg, 0);
}

static yyjson_mut_val *map(yyjson_mut_doc *doc, yyjson_mut_val *node,
                           yyjson_mut_val *(*replace)(void *arg, yyjson_mut_val *node), void *arg,
                           size_t depth)
{
    yyjson_mut_val *out, *key, *item;
    yyjson_mut_obj_iter members;
    yyjson_mut_arr_iter items;

    if (depth > RFI_TREE_DEPTH_MAX)
        return yyjson_mut_val_mut_copy(doc, node);
    if (yyjson_mut_is_arr(node)) {
        out = yyjson_mut_arr(doc);
        yyjson_mut_arr_iter_init(node, &items);
        while ((item = yyjson_mut_arr_iter_next(&items)) != NULL)
            yyjson_mut_arr_append(out, map(doc, item, replace, arg, depth + 1));
        return out;
    }
    if (!yyjson_mut_is_obj(node))
        return yyjson_mut_val_mut_copy(doc, node);
    if (rfi_tree_text(node, "class")[0] != '\0') {
        out = replace(arg, node);
        if (out != NULL)
            return out;
    }
    out = yyjson_mut_obj(doc);
    yyjson_mut_obj_iter_init(node, &members);
    while ((key = yyjson_mut_obj_iter_next(&members)) != NULL)
        yyjson_mut_obj_add(out, yyjson_mut_val_mut_copy(doc, key),
                           map(doc, yyjson_mut_obj_iter_get_val(key), replace, arg, depth + 1));
    return out;
}

yyjson_mut_val *rfi_tree_map(yyjson_mut_doc *doc, yyjson_mut_val *node,
                             yyjson_mut_val *(*replace)(void *arg, yyjson_mut_val *node), void *arg)
{
    return map(doc, node, replace, arg, 0);
}

static yyjson_mut_val *node_new(yyjson_mut_doc *doc, const char *class, const char *type)
{
    yyjson_mut_val *node = yyjson_mut_obj(doc);

    yyjson_mut_obj_add_str(doc, node, "class", class);
    yyjson_mut_obj_add_str(doc, node, "type", type);
    yyjson_mut_obj_add_str(doc, node, "alias", "");
    yyjson_mut_obj_add_uint(doc, node, "query_location", UINT64_MAX);
    return node;
}

yyjson_mut_val *rfi_tree_column(yyjson_mut_doc *doc, const char *name)
{
    yyjson_mut_val *node = node_new(doc, "COLUMN_REF", "COLUMN_REF");
    yyjson_mut_val *path = yyjson_mut_arr(doc);

    yyjson_mut_arr_add_strcpy(doc, path, name);
    yyjson_mut_obj_add_val(doc, node, "column_names", path);
    return node;
}

static yyjson_mut_val *type_new(yyjson_mut_doc *doc, const char *id)
{
    yyjson_mut_val *type = yyjson_mut_obj(doc);

    yyjson_mut_obj_add_str(doc, type, "id", id);
    yyjson_mut_obj_add_null(doc, type, "type_info");
    return type;
}

yyjson_mut_val *rfi_tree_integer(yyjson_mut_doc *doc, int64_t v)
{
    yyjson_mut_val *node = node_new(doc, "CONSTANT", "VALUE_CONSTANT");
    yyjson_mut_val *value = yyjson_mut_obj(doc);

    yyjson_mut_obj_add_val(doc, value, "type", type_new(doc, "INTEGER"));
    yyjson_mut_obj_add_bool(doc, value, "is_null", false);
    yyjson_mut_obj_add_int(doc, value, "value", v);
    yyjson_mut_obj_add_val(doc, node, "value", value);
    return node;
}

yyjson_mut_val *rfi_tree_cast(yyjson_mut_doc *doc, yyjson_mut_val *child, const char *type_id)
{
    yyjson_mut_val *node = node_new(doc, "CAST", "OPERATOR_CAST");

    yyjson_mut_obj_add_val(doc, node, "child", child);
    yyjson_mut_obj_add_val(doc, node, "cast_type", type_new(doc, type_id));
    yyjson_mut_obj_add_bool(doc, node, "try_cast", false);
    return node;
}

yyjson_mut_val *rfi_tree_greater(yyjson_mut_doc *doc, yyjson_mut_val *left, yyjson_mut_val *right)
{
    yyjson_mut_val *node = node_new(doc, "COMPARISON", "COMPARE_GREATERTHAN");

    yyjson_mut_obj_add_val(doc, node, "left", left);
    yyjson_mut_obj_add_val(doc, node, "right", right);
    return node;
}

yyjson_mut_val *rfi_tree_call(yyjson_mut_doc *doc, const char *name)
{
    yyjson_mut_val *node = node_new(doc, "FUNCTION", "FUNCTION");
    yyjson_mut_val *order = yyjson_mut_obj(doc);

    yyjson_mut_obj_add_str(doc, node, "function_name", name);
    yyjson_mut_obj_add_str(doc, node, "schema", "");
    yyjson_mut_obj_add_val(doc, node, "children", yyjson_mut_arr(doc));
    yyjson_mut_obj_add_null(doc, node, "filter");
    yyjson_mut_obj_add_str(doc, order, "type", "ORDER_MODIFIER");
    yyjson_mut_obj_add_val(doc, order, "orders", yyjson_mut_arr(doc));
    yyjson_mut_obj_add_val(doc, node, "order_bys", order);
    yyjson_mut_obj_add_bool(doc, node, "distinct", false);
    yyjson_mut_obj_add_bool(doc, node, "is_operator", false);
    yyjson_mut_obj_add_bool(doc, node, "export_state", false);
    yyjson_mut_obj_add_str(doc, node, "catalog", "");
    return node;
}
