/* What cannot be kept current is refused here, with the reason and the nearest form that can. */
#include "projection/plan_int.h"

#include <strings.h>

#define KEEP "a projection is kept current by merging what each new event adds"

/* Names without brackets that the engine reads as functions of the moment or the session. */
static bool moment_name(const char *name)
{
    static const char *const names[] = {"current_date",   "current_time",   "current_timestamp",
                                        "localtime",      "localtimestamp", "current_user",
                                        "session_user",   "user",           "current_role",
                                        "current_schema", "current_catalog"};

    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++) {
        if (strcasecmp(names[i], name) == 0)
            return true;
    }
    return false;
}

bool rfi_plan_is_aggregate(rfi_planning *p, yyjson_mut_val *node)
{
    return rfi_tree_is(node, "class", "FUNCTION") &&
           rf_engine_function(p->request->engine, rf_str_from(rfi_tree_text(node, "function_name")))
               .aggregate;
}

typedef struct aggregate_search {
    rfi_planning *p;
    bool found;
} aggregate_search;

static bool aggregate_look(void *arg, yyjson_mut_val *node)
{
    aggregate_search *s = arg;

    s->found |= rfi_plan_is_aggregate(s->p, node);
    return !s->found;
}

bool rfi_plan_has_aggregate(rfi_planning *p, yyjson_mut_val *node)
{
    aggregate_search s = {.p = p};

    rfi_tree_walk(node, aggregate_look, &s);
    return s.found;
}

static void aggregate_check(rfi_planning *p, yyjson_mut_val *node, const char *name)
{
    yyjson_mut_val *arguments = yyjson_mut_obj_get(node, "children");
    const rfi_aggregate_kind *kind = rfi_aggregate_find(name, "BIGINT");
    bool distinct = yyjson_mut_get_bool(yyjson_mut_obj_get(node, "distinct"));

    if (kind == NULL)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node, "%s() cannot be kept from event to event: use %s",
                        name, rfi_aggregate_advice(name));
    else if (distinct && strcasecmp(name, "count") == 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "count(DISTINCT x) would have to keep every value: use "
                        "approx_count_distinct(x), which is within 2 %% or so");
    else if (distinct && !kind->distinct_is_same)
        rfi_plan_refuse(
            p, RF_EUNSUPPORTED, node,
            "%s(DISTINCT x) would have to keep every value: leave DISTINCT out, or GROUP "
            "BY the value",
            name);
    else if (yyjson_mut_arr_size(
                 yyjson_mut_obj_get(yyjson_mut_obj_get(node, "order_bys"), "orders")) > 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "%s() does not depend on an order: leave its ORDER BY out", name);
    else if (yyjson_mut_arr_size(arguments) > 1)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "%s() of several arguments cannot be kept: use one", name);
}

static void function_check(rfi_planning *p, yyjson_mut_val *node)
{
    const char *name = rfi_tree_text(node, "function_name");
    const char *schema = rfi_tree_text(node, "schema");
    rf_sql_function f = rf_engine_function(p->request->engine, rf_str_from(name));

    if (strncasecmp(name, "rf_", 3) == 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node, "%s() is refold's own: it is not for statements",
                        name);
    else if (schema[0] != '\0' && strcasecmp(schema, "main") != 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node, "a function of schema %s is not possible here",
                        schema);
    else if (!f.exists)
        return; /* the engine says so, with what comes near */
    else if (f.aggregate)
        aggregate_check(p, node, name);
    else if (!f.pure)
        rfi_plan_refuse(
            p, RF_EUNSUPPORTED, node,
            "%s() does not give the same answer each time, so a rebuild would differ: use "
            "the event's own time or data",
            name);
}

static bool expression_check(void *arg, yyjson_mut_val *node)
{
    rfi_planning *p = arg;
    const char *class = rfi_tree_text(node, "class");
    yyjson_mut_val *path;

    if (strcmp(class, "FUNCTION") == 0) {
        function_check(p, node);
    } else if (strcmp(class, "WINDOW") == 0) {
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "window functions (OVER) need all rows at once: query the projection with "
                        "them instead");
    } else if (strcmp(class, "SUBQUERY") == 0) {
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "a subquery cannot be kept, because " KEEP
                        ": make two projections and join them in the query");
        return false;
    } else if (strcmp(class, "PARAMETER") == 0) {
        rfi_plan_refuse(p, RF_EINVAL, node, "a projection has no parameters: write the value");
    } else if (strcmp(class, "STAR") == 0) {
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "* is not possible here: name the columns to group by, and the aggregates");
    } else if (strcmp(class, "POSITIONAL_REFERENCE") == 0) {
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node, "#1 is not possible here: name the column");
    } else if (strcmp(class, "COLUMN_REF") == 0) {
        path = yyjson_mut_obj_get(node, "column_names");
        if (yyjson_mut_arr_size(path) == 1 &&
            moment_name(yyjson_mut_get_str(yyjson_mut_arr_get_first(path))))
            rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                            "%s depends on when it is asked, so a rebuild would differ: use the "
                            "event's own time or data",
                            yyjson_mut_get_str(yyjson_mut_arr_get_first(path)));
    }
    return p->status == RF_OK;
}

static void modifiers_check(rfi_planning *p)
{
    yyjson_mut_arr_iter items;
    yyjson_mut_val *item;

    yyjson_mut_arr_iter_init(yyjson_mut_obj_get(p->select, "modifiers"), &items);
    while ((item = yyjson_mut_arr_iter_next(&items)) != NULL) {
        const char *type = rfi_tree_text(item, "type");

        if (strcmp(type, "ORDER_MODIFIER") == 0)
            continue;
        if (strncmp(type, "LIMIT", 5) == 0)
            rfi_plan_refuse(
                p, RF_EUNSUPPORTED, NULL,
                "LIMIT cannot be kept: what is left out now may count later; put it into "
                "the query over the projection");
        else
            rfi_plan_refuse(p, RF_EUNSUPPORTED, NULL,
                            "DISTINCT cannot be kept: GROUP BY the columns instead");
    }
}

static void relation_check(rfi_planning *p)
{
    yyjson_mut_val *from = yyjson_mut_obj_get(p->select, "from_table");
    const char *type = rfi_tree_text(from, "type");
    const char *name = rfi_tree_text(from, "table_name");

    if (strcmp(type, "EMPTY") == 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, NULL,
                        "there is no FROM: name an event type (in double quotes) or events");
    else if (strcmp(type, "JOIN") == 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, from,
                        "a join cannot be kept: read one event type, or events with WHERE type IN "
                        "(..); make two projections and join them in the query");
    else if (strcmp(type, "SUBQUERY") == 0)
        rfi_plan_refuse(
            p, RF_EUNSUPPORTED, from,
            "a subquery in FROM cannot be kept: read the event type itself, and put the "
            "expressions into this SELECT");
    else if (strcmp(type, "BASE_TABLE") != 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, from, "FROM must name one event type, or events");
    else if (rfi_tree_text(from, "schema_name")[0] == '\0' &&
             p->request->projection(p->request->arg, rf_str_from(name)))
        rfi_plan_refuse(p, RF_EUNSUPPORTED, from,
                        "%s is a projection, and one cannot be built upon another: read the event "
                        "type itself",
                        name);
    else if (rfi_tree_has(from, "sample"))
        rfi_plan_refuse(p, RF_EUNSUPPORTED, from,
                        "a sample would differ at a rebuild: leave TABLESAMPLE out");
    else if (yyjson_mut_arr_size(yyjson_mut_obj_get(from, "column_name_alias")) > 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, from, "leave the column names behind the alias out");
    p->relation = name;
    p->alias = rfi_tree_text(from, "alias");
}

static void node_check(rfi_planning *p)
{
    yyjson_mut_val *sets = yyjson_mut_obj_get(p->select, "group_sets");
    yyjson_mut_val *map = yyjson_mut_obj_get(yyjson_mut_obj_get(p->select, "cte_map"), "map");

    if (yyjson_mut_arr_size(map) > 0)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, NULL,
                        "WITH cannot be kept: read the event type itself, in one SELECT");
    if (rfi_tree_has(p->select, "qualify"))
        rfi_plan_refuse(p, RF_EUNSUPPORTED, NULL,
                        "QUALIFY needs all rows at once: query the projection with it instead");
    if (rfi_tree_has(p->select, "sample"))
        rfi_plan_refuse(p, RF_EUNSUPPORTED, NULL,
                        "a sample would differ at a rebuild: leave it out");
    if (yyjson_mut_arr_size(sets) > 1)
        rfi_plan_refuse(p, RF_EUNSUPPORTED, NULL,
                        "GROUPING SETS, ROLLUP and CUBE cannot be kept in one projection: make one "
                        "for each grouping");
}

void rfi_plan_check(rfi_planning *p)
{
    static const char *const parts[] = {"select_list", "where_clause", "group_expressions",
                                        "having", "modifiers"};

    if (!rfi_tree_is(p->select, "type", "SELECT_NODE")) {
        rfi_plan_refuse(
            p, RF_EUNSUPPORTED, NULL,
            "UNION, INTERSECT and EXCEPT cannot be kept: read events with WHERE type IN "
            "(..), or make two projections");
        return;
    }
    node_check(p);
    modifiers_check(p);
    relation_check(p);
    for (size_t i = 0; i < RF_ARRAY_LEN(parts) && p->status == RF_OK; i++)
        rfi_tree_walk(yyjson_mut_obj_get(p->select, parts[i]), expression_check, p);
}
