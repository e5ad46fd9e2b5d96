/*
 * The allow-list over a statement's tree. Every object of the tree must be one that the tables
 * below know, with no member that they do not list: what a new version of the engine brings is
 * refused by its name until somebody has looked at it here.
 *
 *   class and type   an expression           expressions[]
 *   type alone       a query, a relation,    shapes[]
 *                    a modifier
 *   neither          the glue between them   glue[], by the member that holds it
 *
 * What names mean (relations, functions, types, parameters) is checked on the way (walk_names.c).
 */
#include "query/walk_int.h"

#include <string.h>

#define WALK_DEPTH_MAX 1000 /* nested objects and arrays; a level of SQL makes two to four */

typedef rf_status (*check_fn)(rfi_walker *w, yyjson_val *node);

typedef struct expression {
    const char *class;
    const char *types;   /* words */
    const char *members; /* words, beside class, type, alias, query_location */
    check_fn check;      /* before its members; NULL: nothing to check */
} expression;

static const expression expressions[] = {
    {"BETWEEN", "COMPARE_BETWEEN COMPARE_NOT_BETWEEN", "input lower upper", NULL},
    {"CASE", "CASE_EXPR", "case_checks else_expr", NULL},
    {"CAST", "OPERATOR_CAST", "child cast_type try_cast", rfi_check_cast},
    {"COLLATE", "COLLATE", "child collation", NULL},
    {"COLUMN_REF", "COLUMN_REF", "column_names", rfi_check_column},
    {"COMPARISON",
     "COMPARE_EQUAL COMPARE_NOTEQUAL COMPARE_LESSTHAN COMPARE_GREATERTHAN "
     "COMPARE_LESSTHANOREQUALTO "
     "COMPARE_GREATERTHANOREQUALTO COMPARE_DISTINCT_FROM COMPARE_NOT_DISTINCT_FROM",
     "left right", NULL},
    {"CONJUNCTION", "CONJUNCTION_AND CONJUNCTION_OR", "children", NULL},
    {"CONSTANT", "VALUE_CONSTANT", "value", NULL},
    {"FUNCTION", "FUNCTION",
     "function_name schema catalog children filter order_bys distinct is_operator export_state",
     rfi_check_function},
    {"LAMBDA", "LAMBDA", "lhs expr", NULL},
    {"OPERATOR",
     "ARRAY_CONSTRUCTOR ARRAY_EXTRACT ARRAY_SLICE STRUCT_EXTRACT COMPARE_IN COMPARE_NOT_IN "
     "GROUPING_FUNCTION OPERATOR_COALESCE OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL OPERATOR_NOT "
     "OPERATOR_NULLIF OPERATOR_TRY OPERATOR_UNPACK",
     "children", NULL},
    {"PARAMETER", "VALUE_PARAMETER", "identifier", rfi_check_parameter},
    {"POSITIONAL_REFERENCE", "POSITIONAL_REFERENCE", "index", NULL},
    {"STAR", "STAR",
     "relation_name exclude_list replace_list columns expr qualified_exclude_list rename_list",
     NULL},
    {"SUBQUERY", "SUBQUERY", "subquery_type subquery child comparison_type", NULL},
    {"WINDOW",
     "WINDOW_AGGREGATE WINDOW_ROW_NUMBER WINDOW_RANK WINDOW_RANK_DENSE WINDOW_PERCENT_RANK "
     "WINDOW_CUME_DIST WINDOW_NTILE WINDOW_LAG WINDOW_LEAD WINDOW_FIRST_VALUE WINDOW_LAST_VALUE "
     "WINDOW_NTH_VALUE WINDOW_FILL",
     "function_name schema catalog children partitions orders start end start_expr end_expr "
     "offset_expr default_expr ignore_nulls filter_expr exclude_clause distinct arg_orders",
     rfi_check_window},
};

typedef struct shape {
    const char *type;
    const char *members; /* words, beside type */
    check_fn check;
} shape;

#define RELATION "alias sample query_location " /* members of every relation */

static const shape shapes[] = {
    /* queries; cte_map is walked before the rest */
    {"SELECT_NODE",
     "modifiers cte_map select_list from_table where_clause group_expressions group_sets "
     "aggregate_handling having sample qualify",
     NULL},
    {"SET_OPERATION_NODE", "modifiers cte_map setop_type left right setop_all", NULL},
    {"RECURSIVE_CTE_NODE", "modifiers cte_map cte_name union_all left right aliases key_targets",
     rfi_check_recursion},
    /* relations */
    {"BASE_TABLE", RELATION "schema_name table_name column_name_alias catalog_name at_clause",
     rfi_check_table},
    {"EMPTY", RELATION, NULL},
    {"EXPRESSION_LIST", RELATION "expected_names expected_types values", rfi_check_values},
    {"JOIN",
     RELATION "left right condition join_type ref_type using_columns delim_flipped "
              "duplicate_eliminated_columns",
     NULL},
    {"PIVOT",
     RELATION "source aggregates unpivot_names pivots groups column_name_alias include_nulls",
     NULL},
    {"SHOW_REF", RELATION "table_name query show_type catalog_name schema_name", rfi_check_show},
    {"SUBQUERY", RELATION "subquery column_name_alias", NULL},
    {"TABLE_FUNCTION", RELATION "function column_name_alias with_ordinality",
     rfi_check_table_function},
    /* modifiers and what they hold */
    {"ORDER_MODIFIER", "orders", NULL},
    {"LIMIT_MODIFIER", "limit offset", NULL},
    {"LIMIT_PERCENT_MODIFIER", "limit offset", NULL},
    {"DISTINCT_MODIFIER", "distinct_on_targets", NULL},
    {"ORDER_DEFAULT", "null_order expression", NULL},
    {"ASCENDING", "null_order expression", NULL},
    {"DESCENDING", "null_order expression", NULL},
};

static const struct {
    const char *held_by; /* the member whose value it is, or whose list it is in */
    const char *members;
} glue[] = {
    {"statements", "node named_param_map"},
    {"subquery", "node named_param_map"},
    {"query", "node named_param_map"},
    {"cte", "aliases query materialized key_targets"},
    {"case_checks", "when_expr then_expr"},
    {"replace_list", "key value"},
    {"rename_list", "key value"},
    {"key", "catalog schema table column"},
    {"qualified_exclude_list", "catalog schema table column"},
    {"pivots", "pivot_expressions unpivot_names entries pivot_enum"},
    {"entries", "values star_expr alias"},
};

rf_str rfi_member(yyjson_val *node, const char *key)
{
    yyjson_val *value = yyjson_obj_get(node, key);

    return yyjson_is_str(value) ? (rf_str){yyjson_get_str(value), yyjson_get_len(value)}
                                : (rf_str){"", 0};
}

void rfi_place(rfi_walker *w, yyjson_val *node)
{
    yyjson_val *location = yyjson_obj_get(node, "query_location");

    if (yyjson_is_uint(location) && yyjson_get_uint(location) < w->options->text.n)
        *w->where = rfi_text_place(w->options->text, yyjson_get_uint(location));
}

rf_status rfi_refuse(rfi_walker *w, yyjson_val *node, const char *what, const char *fmt, ...)
{
    char text[RF_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    rfi_place(w, node);
    *w->refused = what;
    return rf_err_set(w->err, RF_EFORBIDDEN, "%s", text);
}

static rf_status object_walk(rfi_walker *w, yyjson_val *node, const char *held_by);

/* A list may hold lists (VALUES, GROUPING SETS); scalars say nothing on their own. */
rf_status rfi_value_walk(rfi_walker *w, yyjson_val *value, const char *held_by)
{
    yyjson_arr_iter items;
    yyjson_val *item;
    rf_status st = RF_OK;

    if (!yyjson_is_ctn(value))
        return RF_OK;
    if (++w->depth > WALK_DEPTH_MAX)
        return rf_err_set(w->err, RF_ETOOBIG, "the statement is nested too deeply");
    if (yyjson_is_obj(value)) {
        st = object_walk(w, value, held_by);
    } else {
        yyjson_arr_iter_init(value, &items);
        while (st == RF_OK && (item = yyjson_arr_iter_next(&items)) != NULL)
            st = rfi_value_walk(w, item, held_by);
    }
    w->depth--;
    return st;
}

/* Values as data: nothing in them is looked up or called. Types in casts are checked by name. */
static bool opaque(const char *key, yyjson_val *node)
{
    if (strcmp(key, "value") == 0)
        return rf_str_eq(rfi_member(node, "class"), RF_STR("CONSTANT"));
    if (strcmp(key, "values") == 0) /* of PIVOT ... IN (...) */
        return yyjson_obj_get(node, "star_expr") != NULL;
    return strcmp(key, "named_param_map") == 0 || strcmp(key, "sample") == 0 ||
           strcmp(key, "cast_type") == 0;
}

rf_status rfi_members_walk(rfi_walker *w, yyjson_val *node, const char *what, const char *common,
                           const char *members)
{
    yyjson_obj_iter items;
    yyjson_val *key;
    rf_status st = RF_OK;

    yyjson_obj_iter_init(node, &items);
    while (st == RF_OK && (key = yyjson_obj_iter_next(&items)) != NULL) {
        const char *name = yyjson_get_str(key);
        yyjson_val *value = yyjson_obj_iter_get_val(key);

        if (!rfi_word_in(common, rf_str_from(name)) && !rfi_word_in(members, rf_str_from(name)))
            return rfi_refuse(w, node, "expression", "%s with %s is not known to refold", what,
                              name);
        if (strcmp(name, "cte_map") != 0 && !opaque(name, node))
            st = rfi_value_walk(w, value, name);
    }
    return st;
}

static rf_status expression_walk(rfi_walker *w, yyjson_val *node)
{
    rf_str class = rfi_member(node, "class"), type = rfi_member(node, "type");
    rf_status st = RF_OK;

    for (size_t i = 0; i < RF_ARRAY_LEN(expressions); i++) {
        const expression *e = &expressions[i];

        if (!rf_str_eq(class, rf_str_from(e->class)) || !rfi_word_in(e->types, type))
            continue;
        if (e->check != NULL)
            st = e->check(w, node);
        if (st == RF_OK)
            st = rfi_members_walk(w, node, e->class, "class type alias query_location", e->members);
        return st;
    }
    return rfi_refuse(w, node, "expression", "an expression of kind %.*s is not allowed in queries",
                      RF_STR_ARG(type));
}

/* A common table expression sees those before it. What it would see by its own name lies outside.
 */
static rf_status ctes_enter(rfi_walker *w, yyjson_val *node)
{
    yyjson_val *map = yyjson_obj_get(node, "cte_map"), *item;
    yyjson_arr_iter items;
    rf_status st = RF_OK;

    if (map == NULL)
        return RF_OK;
    if (yyjson_obj_size(map) != 1 || !yyjson_is_arr(yyjson_obj_get(map, "map")))
        return rfi_refuse(w, node, "expression", "a WITH of this form is not known to refold");
    yyjson_arr_iter_init(yyjson_obj_get(map, "map"), &items);
    while (st == RF_OK && (item = yyjson_arr_iter_next(&items)) != NULL) {
        if (yyjson_obj_size(item) != 2 || !yyjson_is_str(yyjson_obj_get(item, "key")))
            return rfi_refuse(w, node, "expression", "a WITH of this form is not known to refold");
        st = rfi_value_walk(w, yyjson_obj_get(item, "value"), "cte");
        rfi_names_add(&w->ctes, rfi_member(item, "key"));
    }
    return st;
}

static rf_status shape_walk(rfi_walker *w, yyjson_val *node)
{
    rf_str type = rfi_member(node, "type");
    size_t ctes = w->ctes.count;
    const shape *s = NULL;
    rf_status st;

    for (size_t i = 0; i < RF_ARRAY_LEN(shapes) && s == NULL; i++) {
        if (rf_str_eq(type, rf_str_from(shapes[i].type)))
            s = &shapes[i];
    }
    if (s == NULL)
        return rfi_refuse(w, node, "expression", "a clause of kind %.*s is not allowed in queries",
                          RF_STR_ARG(type));
    st = ctes_enter(w, node);
    if (st == RF_OK && s->check != NULL)
        st = s->check(w, node);
    if (st == RF_OK && !w->done)
        st = rfi_members_walk(w, node, s->type, "type", s->members);
    w->done = false;
    w->ctes.count = ctes;
    return st;
}

static rf_status object_walk(rfi_walker *w, yyjson_val *node, const char *held_by)
{
    if (yyjson_is_str(yyjson_obj_get(node, "class")))
        return expression_walk(w, node);
    if (yyjson_is_str(yyjson_obj_get(node, "type")))
        return shape_walk(w, node);
    for (size_t i = 0; i < RF_ARRAY_LEN(glue); i++) {
        if (strcmp(glue[i].held_by, held_by) == 0)
            return rfi_members_walk(w, node, held_by, "", glue[i].members);
    }
    return rfi_refuse(w, node, "expression", "a statement with %s is not known to refold", held_by);
}

rf_status rfi_walk(rf_str tree_json, const rfi_walk_options *options, rf_arena *arena,
                   rfi_uses *uses, const char **refused, rf_sql_where *where, rf_err *err)
{
    rfi_walker w = {.options = options,
                    .arena = arena,
                    .uses = uses,
                    .refused = refused,
                    .where = where,
                    .err = err};
    yyjson_doc *doc = yyjson_read(tree_json.p, tree_json.n, 0);
    yyjson_val *statements = yyjson_obj_get(yyjson_doc_get_root(doc), "statements");
    rf_status st;

    if (yyjson_arr_size(statements) != 1)
        st = rf_err_set(err, RF_EINVAL, "send one statement");
    else
        st = rfi_value_walk(&w, statements, "statements");
    free(w.ctes.items);
    yyjson_doc_free(doc);
    return st;
}
