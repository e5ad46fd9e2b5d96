/*
 * Rewriting a statement's tree: base tables that are event types become calls of rf_events over a
 * scope. Works on the engine's tree as JSON (json_serialize_sql), node by node, and touches only
 * what it replaces.
 *
 * Pass 1 looks what of `data` the statement reads; pass 2 replaces. Where the first is not sure (a
 * star, `data` as a whole, a whole row), relations get all their columns.
 */
#include "engine/events_int.h"

#include <strings.h>

#include <yyjson.h>

#define TREE_DEPTH_MAX 2000 /* our own recursion; the engine's statements are far flatter */

typedef struct names {
    const char **items; /* borrowed from the tree */
    size_t count, cap;
} names;

typedef struct rewrite {
    rf_engine *engine;
    yyjson_mut_doc *doc;
    const char *scope;
    bool (*known)(void *arg, rf_str name);
    void (*each)(void *arg, rf_str type);
    void *arg;
    names ctes;      /* in sight */
    names relations; /* names and aliases of all base tables */
    names fields;    /* of `data` that are read */
    bool whole;      /* all of `data` is needed */
    bool star;       /* the order of columns shows */
    rf_err *err;
} rewrite;

static void names_add(names *n, const char *name)
{
    if (n->count == n->cap) {
        n->cap = n->cap > 0 ? n->cap * 2 : 16;
        n->items = rf_xrealloc(n->items, n->cap * sizeof(*n->items));
    }
    n->items[n->count++] = name;
}

static bool names_have(const names *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++) {
        if (strcasecmp(n->items[i], name) == 0)
            return true;
    }
    return false;
}

static const char *member(yyjson_mut_val *node, const char *key)
{
    const char *text = yyjson_mut_get_str(yyjson_mut_obj_get(node, key));

    return text != NULL ? text : "";
}

static bool member_is(yyjson_mut_val *node, const char *key, const char *text)
{
    return strcmp(member(node, key), text) == 0;
}

/* ---- pass 1: what is read -------------------------------------------------------------------- */

static void column_ref_look(rewrite *r, yyjson_mut_val *node)
{
    yyjson_mut_val *path = yyjson_mut_obj_get(node, "column_names");
    size_t count = yyjson_mut_arr_size(path);

    for (size_t i = 0; i < count && i < 4; i++) {
        const char *name = yyjson_mut_get_str(yyjson_mut_arr_get(path, i));

        if (name == NULL || strcasecmp(name, "data") != 0)
            continue;
        if (i + 1 < count)
            names_add(&r->fields, yyjson_mut_get_str(yyjson_mut_arr_get(path, i + 1)));
        else
            r->whole = true;
    }
    if (count == 1 && names_have(&r->relations, yyjson_mut_get_str(yyjson_mut_arr_get(path, 0))))
        r->whole = r->star = true; /* the row as a value */
}

static void relations_look(rewrite *r, yyjson_mut_val *node, size_t depth)
{
    yyjson_mut_obj_iter members;
    yyjson_mut_arr_iter items;
    yyjson_mut_val *key, *item;

    if (depth > TREE_DEPTH_MAX)
        return;
    if (yyjson_mut_is_arr(node)) {
        yyjson_mut_arr_iter_init(node, &items);
        while ((item = yyjson_mut_arr_iter_next(&items)) != NULL)
            relations_look(r, item, depth + 1);
        return;
    }
    if (!yyjson_mut_is_obj(node))
        return;
    if (member_is(node, "type", "BASE_TABLE")) {
        names_add(&r->relations, member(node, "table_name"));
        names_add(&r->relations, member(node, "alias"));
        if (yyjson_mut_arr_size(yyjson_mut_obj_get(node, "column_name_alias")) > 0)
            r->whole = r->star = true; /* columns are renamed by their place */
    }
    yyjson_mut_obj_iter_init(node, &members);
    while ((key = yyjson_mut_obj_iter_next(&members)) != NULL)
        relations_look(r, yyjson_mut_obj_iter_get_val(key), depth + 1);
}

static void columns_look(rewrite *r, yyjson_mut_val *node, size_t depth)
{
    yyjson_mut_obj_iter members;
    yyjson_mut_arr_iter items;
    yyjson_mut_val *key, *item;

    if (depth > TREE_DEPTH_MAX)
        return;
    if (yyjson_mut_is_arr(node)) {
        yyjson_mut_arr_iter_init(node, &items);
        while ((item = yyjson_mut_arr_iter_next(&items)) != NULL)
            columns_look(r, item, depth + 1);
        return;
    }
    if (!yyjson_mut_is_obj(node))
        return;
    if (member_is(node, "class", "COLUMN_REF"))
        column_ref_look(r, node);
    else if (member_is(node, "class", "STAR") || member_is(node, "class", "POSITIONAL_REFERENCE") ||
             member_is(node, "join_type", "NATURAL") || member_is(node, "ref_type", "NATURAL") ||
             member_is(node, "type", "PIVOT") || member_is(node, "type", "SHOW_REF"))
        r->whole = r->star = true;
    yyjson_mut_obj_iter_init(node, &members);
    while ((key = yyjson_mut_obj_iter_next(&members)) != NULL)
        columns_look(r, yyjson_mut_obj_iter_get_val(key), depth + 1);
}

/* ---- pass 2: replacing ----------------------------------------------------------------------- */

static yyjson_mut_val *node_new(rewrite *r, const char *class, const char *type, const char *alias)
{
    yyjson_mut_val *node = yyjson_mut_obj(r->doc);

    yyjson_mut_obj_add_str(r->doc, node, "class", class);
    yyjson_mut_obj_add_str(r->doc, node, "type", type);
    yyjson_mut_obj_add_str(r->doc, node, "alias", alias);
    yyjson_mut_obj_add_uint(r->doc, node, "query_location", UINT64_MAX);
    return node;
}

static yyjson_mut_val *constant_new(rewrite *r, const char *alias, const char *type_id,
                                    yyjson_mut_val *value)
{
    yyjson_mut_val *node = node_new(r, "CONSTANT", "VALUE_CONSTANT", alias);
    yyjson_mut_val *outer = yyjson_mut_obj(r->doc), *type = yyjson_mut_obj(r->doc);

    yyjson_mut_obj_add_str(r->doc, type, "id", type_id);
    yyjson_mut_obj_add_null(r->doc, type, "type_info");
    yyjson_mut_obj_add_val(r->doc, outer, "type", type);
    yyjson_mut_obj_add_bool(r->doc, outer, "is_null", false);
    yyjson_mut_obj_add_val(r->doc, outer, "value", value);
    yyjson_mut_obj_add_val(r->doc, node, "value", outer);
    return node;
}

static yyjson_mut_val *text_new(rewrite *r, const char *text)
{
    return constant_new(r, "", "VARCHAR", yyjson_mut_strcpy(r->doc, text));
}

static yyjson_mut_val *function_new(rewrite *r, const char *name, const char *schema,
                                    const char *alias, yyjson_mut_val *children)
{
    yyjson_mut_val *node = node_new(r, "FUNCTION", "FUNCTION", alias);
    yyjson_mut_val *order = yyjson_mut_obj(r->doc);

    yyjson_mut_obj_add_str(r->doc, node, "function_name", name);
    yyjson_mut_obj_add_str(r->doc, node, "schema", schema);
    yyjson_mut_obj_add_val(r->doc, node, "children", children);
    yyjson_mut_obj_add_null(r->doc, node, "filter");
    yyjson_mut_obj_add_str(r->doc, order, "type", "ORDER_MODIFIER");
    yyjson_mut_obj_add_val(r->doc, order, "orders", yyjson_mut_arr(r->doc));
    yyjson_mut_obj_add_val(r->doc, node, "order_bys", order);
    yyjson_mut_obj_add_bool(r->doc, node, "distinct", false);
    yyjson_mut_obj_add_bool(r->doc, node, "is_operator", false);
    yyjson_mut_obj_add_bool(r->doc, node, "export_state", false);
    yyjson_mut_obj_add_str(r->doc, node, "catalog", "");
    return node;
}

/* The call that stands for an event type; `fields` only when the type has columns and not all of
 * them are read. */
static yyjson_mut_val *call_new(rewrite *r, const char *type)
{
    yyjson_mut_val *args = yyjson_mut_arr(r->doc), *fields;

    yyjson_mut_arr_append(args, text_new(r, type));
    yyjson_mut_arr_append(args, text_new(r, r->scope));
    if (!r->whole && r->fields.count > 0 &&
        rf_engine_columns(r->engine, rf_str_from(type)) != NULL) {
        fields = yyjson_mut_arr(r->doc);
        for (size_t i = 0; i < r->fields.count; i++)
            yyjson_mut_arr_append(fields, text_new(r, r->fields.items[i]));
        yyjson_mut_arr_append(args, function_new(r, "list_value", "main", "fields", fields));
    }
    if (!r->star)
        yyjson_mut_arr_append(args,
                              constant_new(r, "lean", "BOOLEAN", yyjson_mut_bool(r->doc, true)));
    return function_new(r, "rf_events", "", "", args);
}

/* Turns the BASE_TABLE node into a TABLE_FUNCTION node in place. Its name stays as the alias, so
 * that "flight.landed".id still means it. */
static void node_replace(rewrite *r, yyjson_mut_val *node, const char *name, bool all)
{
    yyjson_mut_val *alias = yyjson_mut_obj_get(node, "alias");
    yyjson_mut_val *sample = yyjson_mut_obj_get(node, "sample");
    yyjson_mut_val *columns = yyjson_mut_obj_get(node, "column_name_alias");
    yyjson_mut_val *function = call_new(r, all ? "" : name);

    if (yyjson_mut_get_len(alias) == 0)
        alias = yyjson_mut_strcpy(r->doc, name);
    yyjson_mut_obj_clear(node);
    yyjson_mut_obj_add_str(r->doc, node, "type", "TABLE_FUNCTION");
    yyjson_mut_obj_add_val(r->doc, node, "alias", alias);
    yyjson_mut_obj_add_val(r->doc, node, "sample",
                           sample != NULL ? sample : yyjson_mut_null(r->doc));
    yyjson_mut_obj_add_uint(r->doc, node, "query_location", UINT64_MAX);
    yyjson_mut_obj_add_val(r->doc, node, "function", function);
    yyjson_mut_obj_add_val(r->doc, node, "column_name_alias",
                           columns != NULL ? columns : yyjson_mut_arr(r->doc));
    yyjson_mut_obj_add_str(r->doc, node, "with_ordinality", "WITHOUT_ORDINALITY");
}

/* flight.landed without quotes reads as table `landed` of schema `flight`. */
static rf_status qualified_check(rewrite *r, yyjson_mut_val *node)
{
    static const char *const schemas[] = {"main",  "information_schema", "pg_catalog", "rf", "temp",
                                          "system"};
    const char *catalog = member(node, "catalog_name"), *schema = member(node, "schema_name");
    char type[512];

    for (size_t i = 0; i < RF_ARRAY_LEN(schemas); i++) {
        if (strcasecmp(schema, schemas[i]) == 0)
            return RF_OK;
    }
    snprintf(type, sizeof(type), "%s%s%s.%s", catalog, catalog[0] != '\0' ? "." : "", schema,
             member(node, "table_name"));
    return rf_err_set(
        r->err, RF_EINVAL,
        "Catalog Error: there is no schema \"%s\"; if an event type is meant, write it "
        "in double quotes: \"%s\"",
        schema, type);
}

static rf_status base_table(rewrite *r, yyjson_mut_val *node)
{
    const char *name = member(node, "table_name");
    bool all = strcasecmp(name, "events") == 0;
    rf_str text = rf_str_from(name);
    yyjson_mut_val *at = yyjson_mut_obj_get(node, "at_clause");
    char copy[RF_ATTR_MAX + 1];

    if (member(node, "schema_name")[0] != '\0')
        return qualified_check(r, node);
    if (names_have(&r->ctes, name) || r->known(r->arg, text) || text.n >= sizeof(copy))
        return RF_OK;
    if (!all && strchr(name, '.') == NULL && !rf_engine_has_type(r->engine, text))
        return RF_OK; /* the engine says that there is no such table, and what comes near */
    if (at != NULL && !yyjson_mut_is_null(at))
        return rf_err_set(r->err, RF_EUNSUPPORTED, "AT is not possible for events: filter by time");
    memcpy(copy, text.p, text.n + 1); /* the node that holds it is emptied */
    node_replace(r, node, copy, all);
    r->each(r->arg, all ? RF_STR("") : text);
    return RF_OK;
}

static rf_status replace_in(rewrite *r, yyjson_mut_val *node, size_t depth);

/* A common table expression sees those before it, and itself when it is recursive. */
static rf_status ctes_enter(rewrite *r, yyjson_mut_val *map, size_t depth)
{
    yyjson_mut_arr_iter items;
    yyjson_mut_val *item;

    yyjson_mut_arr_iter_init(map, &items);
    while ((item = yyjson_mut_arr_iter_next(&items)) != NULL) {
        rf_status st = replace_in(r, yyjson_mut_obj_get(item, "value"), depth + 1);

        if (st != RF_OK)
            return st;
        names_add(&r->ctes, member(item, "key"));
    }
    return RF_OK;
}

static rf_status members_replace(rewrite *r, yyjson_mut_val *node, size_t depth)
{
    yyjson_mut_obj_iter members;
    yyjson_mut_val *key;
    rf_status st = RF_OK;

    yyjson_mut_obj_iter_init(node, &members);
    while (st == RF_OK && (key = yyjson_mut_obj_iter_next(&members)) != NULL) {
        if (strcmp(yyjson_mut_get_str(key), "cte_map") != 0)
            st = replace_in(r, yyjson_mut_obj_iter_get_val(key), depth + 1);
    }
    return st;
}

static rf_status replace_in(rewrite *r, yyjson_mut_val *node, size_t depth)
{
    size_t ctes = r->ctes.count;
    yyjson_mut_arr_iter items;
    yyjson_mut_val *item, *map;
    rf_status st = RF_OK;

    if (depth > TREE_DEPTH_MAX)
        return rf_err_set(r->err, RF_ETOOBIG, "the statement is nested too deeply");
    if (yyjson_mut_is_arr(node)) {
        yyjson_mut_arr_iter_init(node, &items);
        while (st == RF_OK && (item = yyjson_mut_arr_iter_next(&items)) != NULL)
            st = replace_in(r, item, depth + 1);
        return st;
    }
    if (!yyjson_mut_is_obj(node))
        return RF_OK;
    if (member_is(node, "type", "BASE_TABLE"))
        return base_table(r, node);
    if (member(node, "cte_name")[0] != '\0')
        names_add(&r->ctes, member(node, "cte_name"));
    map = yyjson_mut_obj_get(yyjson_mut_obj_get(node, "cte_map"), "map");
    if (map != NULL)
        st = ctes_enter(r, map, depth);
    if (st == RF_OK)
        st = members_replace(r, node, depth);
    r->ctes.count = ctes;
    return st;
}

rf_status rf_sql_bind_events(rf_engine *engine, rf_str tree_json, const char *scope,
                             bool (*known)(void *arg, rf_str name),
                             void (*each)(void *arg, rf_str type), void *arg, rf_buf *out_tree,
                             rf_err *err)
{
    yyjson_doc *read = yyjson_read(tree_json.p, tree_json.n, 0);
    rewrite r = {
        .engine = engine, .scope = scope, .known = known, .each = each, .arg = arg, .err = err};
    yyjson_mut_val *root;
    char *text = NULL;
    size_t n = 0;
    rf_status st;

    if (read == NULL)
        return rf_err_set(err, RF_EINVAL, "the statement's tree is no JSON");
    r.doc = yyjson_doc_mut_copy(read, NULL);
    yyjson_doc_free(read);
    root = yyjson_mut_doc_get_root(r.doc);
    relations_look(&r, root, 0);
    columns_look(&r, root, 0);
    st = replace_in(&r, root, 0);
    if (st == RF_OK) {
        text = yyjson_mut_write(r.doc, 0, &n);
        rf_buf_add(out_tree, text, n);
        if (text == NULL || out_tree->failed)
            st = rf_err_set(err, RF_ETOOBIG, "the statement is too long");
    }
    free(text);
    free(r.ctes.items);
    free(r.relations.items);
    free(r.fields.items);
    yyjson_mut_doc_free(r.doc);
    return st;
}
