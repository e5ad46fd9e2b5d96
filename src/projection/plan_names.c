/*
 * Names. The engine lets a statement use aliases of its select list nearly everywhere, and lets a
 * column be called with and without its relation. Here every expression is brought into one form:
 * aliases expanded, qualifiers gone, names of columns in lower case. Then "the same expression" is
 * "the same tree".
 */
#include "projection/plan_int.h"

#include <strings.h>

static const char *const columns[] = {
    "id",        "source", "type",     "subject",       "time",        "recordedtime", "domain",
    "partition", "offset", "revision", "correlationid", "causationid", "dataschema",   "data"};

static const char *column_named(const char *name)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(columns); i++) {
        if (strcasecmp(columns[i], name) == 0)
            return columns[i];
    }
    return NULL;
}

/* The select list's item with this alias, or NULL. */
static yyjson_mut_val *item_named(rfi_planning *p, const char *name)
{
    yyjson_mut_arr_iter items;
    yyjson_mut_val *item;

    yyjson_mut_arr_iter_init(yyjson_mut_obj_get(p->select, "select_list"), &items);
    while ((item = yyjson_mut_arr_iter_next(&items)) != NULL) {
        const char *alias = rfi_tree_text(item, "alias");

        if (alias[0] != '\0' && strcasecmp(alias, name) == 0)
            return item;
    }
    return NULL;
}

static bool is_relation(const rfi_planning *p, const char *name)
{
    return strcasecmp(name, p->alias[0] != '\0' ? p->alias : p->relation) == 0;
}

/* The path from the column on, its name in lower case. */
static yyjson_mut_val *column_ref(rfi_planning *p, yyjson_mut_val *node, size_t from,
                                  const char *column)
{
    yyjson_mut_val *path = yyjson_mut_obj_get(node, "column_names");
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(p->doc, node);
    yyjson_mut_val *names = yyjson_mut_arr(p->doc);
    size_t count = yyjson_mut_arr_size(path);

    yyjson_mut_arr_add_str(p->doc, names, column);
    for (size_t i = from + 1; i < count; i++)
        yyjson_mut_arr_append(names, yyjson_mut_val_mut_copy(p->doc, yyjson_mut_arr_get(path, i)));
    rfi_tree_set(p->doc, copy, "column_names", names);
    return copy;
}

static yyjson_mut_val *alias_expand(rfi_planning *p, yyjson_mut_val *node, yyjson_mut_val *item)
{
    yyjson_mut_val *expanded;

    if (p->resolving > 32) {
        rfi_plan_refuse(p, RF_EINVAL, node, "alias %s refers to itself",
                        rfi_tree_text(item, "alias"));
        return yyjson_mut_val_mut_copy(p->doc, node);
    }
    p->resolving++;
    expanded = rfi_plan_resolve_one(p, item);
    p->resolving--;
    return expanded;
}

static yyjson_mut_val *name_resolve(void *arg, yyjson_mut_val *node)
{
    rfi_planning *p = arg;
    yyjson_mut_val *path, *item;
    const char *first, *second, *column;
    size_t count;

    if (!rfi_tree_is(node, "class", "COLUMN_REF"))
        return NULL;
    path = yyjson_mut_obj_get(node, "column_names");
    count = yyjson_mut_arr_size(path);
    first = yyjson_mut_get_str(yyjson_mut_arr_get(path, 0));
    second = count > 1 ? yyjson_mut_get_str(yyjson_mut_arr_get(path, 1)) : NULL;
    if (second != NULL && is_relation(p, first) && (column = column_named(second)) != NULL)
        return column_ref(p, node, 1, column);
    column = column_named(first);
    if (column != NULL)
        return column_ref(p, node, 0, column);
    item = item_named(p, first);
    if (item != NULL && count == 1)
        return alias_expand(p, node, item);
    if (item != NULL)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "%s.%s takes an alias apart: write the expression out", first, second);
    return NULL; /* a parameter of a lambda; anything else the engine has refused */
}

yyjson_mut_val *rfi_plan_resolve_one(rfi_planning *p, yyjson_mut_val *node)
{
    return rfi_tree_map(p->doc, node, name_resolve, p);
}

static void items_resolve(rfi_planning *p)
{
    yyjson_mut_arr_iter items;
    yyjson_mut_val *item;

    p->items = rf_xcalloc(RF_MAX(p->item_count, 1), sizeof(yyjson_mut_val *));
    yyjson_mut_arr_iter_init(yyjson_mut_obj_get(p->select, "select_list"), &items);
    for (size_t i = 0; (item = yyjson_mut_arr_iter_next(&items)) != NULL; i++)
        p->items[i] = rfi_plan_resolve_one(p, item);
}

static void key_add(rfi_planning *p, yyjson_mut_val *key)
{
    for (size_t i = 0; i < p->key_count; i++) {
        if (rfi_tree_equal(p->keys[i], key))
            return;
    }
    p->keys[p->key_count++] = key;
}

/* GROUP BY 2 means the second item. */
static yyjson_mut_val *ordinal(rfi_planning *p, yyjson_mut_val *node)
{
    yyjson_mut_val *value = yyjson_mut_obj_get(node, "value");
    yyjson_mut_val *number = yyjson_mut_obj_get(value, "value");
    const char *type = rfi_tree_text(yyjson_mut_obj_get(value, "type"), "id");

    if (!rfi_tree_is(node, "class", "CONSTANT") || strstr(type, "INT") == NULL ||
        !yyjson_mut_is_int(number))
        return NULL;
    if (yyjson_mut_get_int(number) < 1 || (size_t)yyjson_mut_get_int(number) > p->item_count)
        return NULL; /* the engine has refused it */
    return p->items[yyjson_mut_get_int(number) - 1];
}

static void keys_resolve(rfi_planning *p)
{
    yyjson_mut_val *groups = yyjson_mut_obj_get(p->select, "group_expressions");
    yyjson_mut_arr_iter items;
    yyjson_mut_val *group;
    size_t count = yyjson_mut_arr_size(groups);

    p->keys = rf_xcalloc(count + p->item_count + 1, sizeof(yyjson_mut_val *));
    if (rfi_tree_is(p->select, "aggregate_handling", "FORCE_AGGREGATES")) { /* GROUP BY ALL */
        for (size_t i = 0; i < p->item_count; i++) {
            if (!rfi_plan_has_aggregate(p, p->items[i]))
                key_add(p, p->items[i]);
        }
        return;
    }
    yyjson_mut_arr_iter_init(groups, &items);
    while ((group = yyjson_mut_arr_iter_next(&items)) != NULL) {
        yyjson_mut_val *item = ordinal(p, group);

        key_add(p, item != NULL ? item : rfi_plan_resolve_one(p, group));
    }
}

void rfi_plan_resolve(rfi_planning *p)
{
    yyjson_mut_val *where = yyjson_mut_obj_get(p->select, "where_clause");

    items_resolve(p);
    keys_resolve(p);
    if (where != NULL && !yyjson_mut_is_null(where))
        rfi_tree_set(p->doc, p->select, "where_clause", rfi_plan_resolve_one(p, where));
}
