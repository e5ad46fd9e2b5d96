/* The three statements of a plan, as text. */
#include "projection/plan_int.h"

#include <strings.h>

#define TEXT_MAX (16u << 20)
#define FORMAT "1" /* of stored states: another one makes all of them be built anew */

/* ---- trees to text --------------------------------------------------------------------------- */

static bool known_none(void *arg, rf_str name)
{
    (void)arg;
    (void)name;
    return false; /* projections were refused before */
}

static void each_ignored(void *arg, rf_str type)
{
    (void)arg;
    (void)type;
}

/* The whole statement's tree with this SELECT_NODE in it. */
static char *tree_of(rfi_planning *p, yyjson_mut_val *select, size_t *n)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_val_mut_copy(doc, p->root);
    yyjson_mut_val *statement = yyjson_mut_arr_get_first(yyjson_mut_obj_get(root, "statements"));
    char *text;

    rfi_tree_set(doc, statement, "node", yyjson_mut_val_mut_copy(doc, select));
    yyjson_mut_doc_set_root(doc, root);
    text = yyjson_mut_write(doc, 0, n);
    yyjson_mut_doc_free(doc);
    return text;
}

rf_status rfi_plan_text(rfi_planning *p, yyjson_mut_val *select, const char *scope, rf_buf *out)
{
    size_t n = 0;
    char *tree = tree_of(p, select, &n);
    rf_buf bound;
    rf_status st;

    if (tree == NULL)
        return rf_err_set(p->err, RF_ENOMEM, "no memory for a statement's tree");
    rf_buf_init(&bound, TEXT_MAX);
    st = rf_sql_bind_events(p->request->engine, (rf_str){tree, n}, scope, known_none, each_ignored,
                            NULL, &bound, p->err);
    if (st == RF_OK)
        st = rf_sql_text(p->request->conn, rf_buf_str(&bound), out, p->err);
    if (st == RF_OK && rf_buf_cstr(out) == NULL)
        st = rf_err_set(p->err, RF_ETOOBIG, "the statement is too long");
    rf_buf_clear(&bound);
    free(tree);
    return st;
}

yyjson_mut_val *rfi_plan_select(rfi_planning *p, yyjson_mut_val *items)
{
    yyjson_mut_val *select = yyjson_mut_val_mut_copy(p->doc, p->select);

    rfi_tree_set(p->doc, select, "select_list", items);
    rfi_tree_set(p->doc, select, "modifiers", yyjson_mut_arr(p->doc));
    rfi_tree_set(p->doc, select, "where_clause", yyjson_mut_null(p->doc));
    rfi_tree_set(p->doc, select, "group_expressions", yyjson_mut_arr(p->doc));
    rfi_tree_set(p->doc, select, "group_sets", yyjson_mut_arr(p->doc));
    rfi_tree_set(p->doc, select, "aggregate_handling", yyjson_mut_str(p->doc, "STANDARD_HANDLING"));
    rfi_tree_set(p->doc, select, "having", yyjson_mut_null(p->doc));
    return select;
}

static yyjson_mut_val *named(rfi_planning *p, yyjson_mut_val *node, const char *name)
{
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(p->doc, node);

    rfi_tree_set(p->doc, copy, "alias", yyjson_mut_strcpy(p->doc, name));
    return copy;
}

/* ---- how each aggregate is kept -------------------------------------------------------------- */

static yyjson_mut_val *argument_of(const rfi_call *call)
{
    return yyjson_mut_arr_get_first(yyjson_mut_obj_get(call->node, "children"));
}

/* Asks the engine for the types of all arguments at once. */
static rf_status arguments_type(rfi_planning *p, rf_stmt **out)
{
    yyjson_mut_val *items = yyjson_mut_arr(p->doc);
    rf_buf text;
    rf_status st;

    for (size_t i = 0; i < p->call_count; i++) {
        yyjson_mut_val *argument = argument_of(&p->calls[i]);

        yyjson_mut_arr_append(items, argument != NULL ? yyjson_mut_val_mut_copy(p->doc, argument)
                                                      : rfi_tree_integer(p->doc, 1));
    }
    rf_buf_init(&text, TEXT_MAX);
    st = rfi_plan_text(p, rfi_plan_select(p, items), "", &text);
    if (st == RF_OK)
        st = rf_conn_prepare(p->request->conn, rf_buf_str(&text), out, NULL, p->err);
    rf_buf_clear(&text);
    return st;
}

static rf_status kinds_choose(rfi_planning *p)
{
    rf_stmt *stmt = NULL;
    rf_status st;

    if (p->call_count == 0)
        return RF_OK;
    st = arguments_type(p, &stmt);
    for (size_t i = 0; i < p->call_count && st == RF_OK; i++) {
        rfi_call *call = &p->calls[i];
        const char *name = rfi_tree_text(call->node, "function_name");
        const char *type = rf_stmt_column_type(stmt, i);

        call->kind = rfi_aggregate_find(name, type);
        call->first_column = p->column_count;
        if (call->kind == NULL) {
            rfi_plan_refuse(p, RF_EUNSUPPORTED, call->node,
                            "%s() of %s cannot be kept: cast the argument to a number", name, type);
            st = p->status;
        } else {
            p->column_count += call->kind->merge[1] != NULL ? 2 : 1;
        }
    }
    rf_stmt_free(&stmt);
    return st;
}

/* The aggregate that makes one state column. */
static yyjson_mut_val *state_call(rfi_planning *p, const rfi_call *call, size_t which)
{
    const rfi_aggregate_kind *kind = call->kind;
    yyjson_mut_val *node = yyjson_mut_val_mut_copy(p->doc, call->node), *argument, *arguments;

    rfi_tree_set(p->doc, node, "distinct", yyjson_mut_bool(p->doc, false));
    if (kind->partial[0] == NULL)
        return node;
    rfi_tree_set(p->doc, node, "function_name", yyjson_mut_str(p->doc, kind->partial[which]));
    argument = yyjson_mut_val_mut_copy(p->doc, argument_of(call));
    if (kind->cast != NULL && which == 0)
        argument = rfi_tree_cast(p->doc, argument, kind->cast);
    arguments = yyjson_mut_arr(p->doc);
    yyjson_mut_arr_append(arguments, argument);
    rfi_tree_set(p->doc, node, "children", arguments);
    return node;
}

/* ---- partial --------------------------------------------------------------------------------- */

static void group_by_ordinals(rfi_planning *p, yyjson_mut_val *select)
{
    yyjson_mut_val *groups = yyjson_mut_arr(p->doc), *sets = yyjson_mut_arr(p->doc);
    yyjson_mut_val *set = yyjson_mut_arr(p->doc);

    for (size_t i = 0; i < p->key_count; i++) {
        yyjson_mut_arr_append(groups, rfi_tree_integer(p->doc, (int64_t)i + 1));
        yyjson_mut_arr_add_uint(p->doc, set, i);
    }
    yyjson_mut_arr_append(sets, set);
    rfi_tree_set(p->doc, select, "group_expressions", groups);
    rfi_tree_set(p->doc, select, "group_sets", sets);
}

static yyjson_mut_val *partial_select(rfi_planning *p)
{
    yyjson_mut_val *items = yyjson_mut_arr(p->doc), *select;
    char name[32];

    for (size_t i = 0; i < p->key_count; i++) {
        snprintf(name, sizeof(name), "k%zu", i + 1);
        yyjson_mut_arr_append(items, named(p, p->keys[i], name));
    }
    for (size_t i = 0; i < p->call_count; i++) {
        for (size_t c = 0; c < 2 && p->calls[i].kind->merge[c] != NULL; c++) {
            snprintf(name, sizeof(name), "s%zu", p->calls[i].first_column + c + 1);
            yyjson_mut_arr_append(items, named(p, state_call(p, &p->calls[i], c), name));
        }
    }
    select = rfi_plan_select(p, items);
    rfi_tree_set(p->doc, select, "where_clause",
                 yyjson_mut_val_mut_copy(p->doc, yyjson_mut_obj_get(p->select, "where_clause")));
    if (p->key_count > 0)
        group_by_ordinals(p, select);
    else /* a batch without an event that counts adds no row */
        rfi_tree_set(p->doc, select, "having",
                     rfi_tree_greater(p->doc, rfi_tree_call(p->doc, "count_star"),
                                      rfi_tree_integer(p->doc, 0)));
    return select;
}

/* ---- merge and view -------------------------------------------------------------------------- */

static void keys_list(const rfi_planning *p, rf_buf *out)
{
    for (size_t i = 0; i < p->key_count; i++)
        rf_buf_addf(out, "%sk%zu", i > 0 ? ", " : "", i + 1);
}

static void from_state(const rfi_planning *p, rf_buf *out)
{
    rf_buf_add_cstr(out, " FROM " RFI_PLAN_TABLE);
    if (p->key_count == 0)
        return;
    rf_buf_add_cstr(out, " GROUP BY ");
    keys_list(p, out);
}

static void merge_text(const rfi_planning *p, rf_buf *out)
{
    rf_buf_add_cstr(out, "SELECT ");
    keys_list(p, out);
    for (size_t i = 0; i < p->call_count; i++) {
        const rfi_call *call = &p->calls[i];

        for (size_t c = 0; c < 2 && call->kind->merge[c] != NULL; c++) {
            size_t column = call->first_column + c + 1;

            rf_buf_addf(out, "%s%s(s%zu) AS s%zu", column + p->key_count > 1 ? ", " : "",
                        call->kind->merge[c], column, column);
        }
    }
    from_state(p, out);
    if (p->key_count == 0)
        rf_buf_add_cstr(out, " HAVING count(*) > 0");
}

/* @1 and @2 of the form become the merges of the call's state columns. */
static void finish_text(const rfi_call *call, rf_buf *out)
{
    for (const char *f = call->kind->finish; *f != '\0'; f++) {
        if (*f == '@') {
            size_t c = (size_t)(*++f - '1');

            rf_buf_addf(out, "%s(s%zu)", call->kind->merge[c], call->first_column + c + 1);
        } else {
            rf_buf_add_char(out, *f);
        }
    }
}

static void finished_text(const rfi_planning *p, rf_buf *out)
{
    rf_buf_add_cstr(out, "SELECT ");
    keys_list(p, out);
    for (size_t i = 0; i < p->call_count; i++) {
        rf_buf_add_cstr(out, i + p->key_count > 0 ? ", " : "");
        finish_text(&p->calls[i], out);
        rf_buf_addf(out, " AS a%zu", i + 1);
    }
    from_state(p, out);
}

/* ORDER BY 2, and ORDER BY a name of the result, mean the view's own columns. */
static bool order_stays(const rfi_planning *p, yyjson_mut_val *node)
{
    yyjson_mut_val *path = yyjson_mut_obj_get(node, "column_names");

    if (rfi_tree_is(node, "class", "CONSTANT"))
        return true;
    if (!rfi_tree_is(node, "class", "COLUMN_REF") || yyjson_mut_arr_size(path) != 1)
        return false;
    for (size_t i = 0; i < p->item_count; i++) {
        if (strcasecmp(p->names[i], yyjson_mut_get_str(yyjson_mut_arr_get_first(path))) == 0)
            return true;
    }
    return false;
}

static yyjson_mut_val *orders_lift(rfi_planning *p)
{
    yyjson_mut_val *modifiers =
        yyjson_mut_val_mut_copy(p->doc, yyjson_mut_obj_get(p->select, "modifiers"));
    yyjson_mut_arr_iter outer, inner;
    yyjson_mut_val *modifier, *order;

    yyjson_mut_arr_iter_init(modifiers, &outer);
    while ((modifier = yyjson_mut_arr_iter_next(&outer)) != NULL) {
        yyjson_mut_arr_iter_init(yyjson_mut_obj_get(modifier, "orders"), &inner);
        while ((order = yyjson_mut_arr_iter_next(&inner)) != NULL) {
            yyjson_mut_val *expression = yyjson_mut_obj_get(order, "expression");

            if (!order_stays(p, expression))
                rfi_tree_set(p->doc, order, "expression",
                             rfi_plan_lift(p, rfi_plan_resolve_one(p, expression)));
        }
    }
    return modifiers;
}

/* The user's SELECT over relation `rfm`, which has k1.. and a1... Fills the calls. */
static yyjson_mut_val *outer_select(rfi_planning *p)
{
    yyjson_mut_val *items = yyjson_mut_arr(p->doc), *select, *from;
    yyjson_mut_val *having = yyjson_mut_obj_get(p->select, "having");

    for (size_t i = 0; i < p->item_count; i++)
        yyjson_mut_arr_append(items, named(p, rfi_plan_lift(p, p->items[i]), p->names[i]));
    select = rfi_plan_select(p, items);
    if (having != NULL && !yyjson_mut_is_null(having))
        rfi_tree_set(p->doc, select, "where_clause",
                     rfi_plan_lift(p, rfi_plan_resolve_one(p, having)));
    rfi_tree_set(p->doc, select, "modifiers", orders_lift(p));
    from = yyjson_mut_val_mut_copy(p->doc, yyjson_mut_obj_get(p->select, "from_table"));
    rfi_tree_set(p->doc, from, "table_name", yyjson_mut_str(p->doc, "rfm"));
    rfi_tree_set(p->doc, from, "alias", yyjson_mut_str(p->doc, ""));
    rfi_tree_set(p->doc, select, "from_table", from);
    return select;
}

static void sql_name(rf_buf *out, const char *name)
{
    rf_buf_add_char(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            rf_buf_add_char(out, '"');
        rf_buf_add_char(out, *name);
    }
    rf_buf_add_char(out, '"');
}

/* The view has the types that the statement itself would have. */
static rf_status view_types(rfi_planning *p, rfi_plan *plan)
{
    char *relation = NULL, *sql = NULL;
    rf_stmt *stmt = NULL;
    bool same = true;
    rf_buf text;
    rf_status st;

    rf_buf_init(&text, TEXT_MAX);
    if (asprintf(&relation, "(%s) AS rfs", plan->partial) < 0)
        return rf_err_set(p->err, RF_ENOMEM, "no memory for a statement");
    sql = rfi_plan_sql(plan->view, relation);
    st = rf_conn_prepare(p->request->conn, rf_str_from(sql), &stmt, NULL, p->err);
    if (st != RF_OK) {
        rf_err_note(p->err, "the view of the plan");
        goto out;
    }
    rf_buf_add_cstr(&text, "SELECT ");
    for (size_t i = 0; i < p->item_count; i++) {
        same &= strcmp(rf_stmt_column_type(stmt, i), p->types[i]) == 0;
        rf_buf_add_cstr(&text, i > 0 ? ", CAST(" : "CAST(");
        sql_name(&text, p->names[i]);
        rf_buf_addf(&text, " AS %s) AS ", p->types[i]);
        sql_name(&text, p->names[i]);
    }
    rf_buf_addf(&text, " FROM (%s) AS rfv", plan->view);
    if (!same) {
        free(plan->view);
        plan->view = rf_xstrndup(rf_buf_str(&text));
    }
out:
    rf_stmt_free(&stmt);
    rf_buf_clear(&text);
    free(relation);
    free(sql);
    return st;
}

static rf_status shape_of(rfi_planning *p, rfi_plan *plan)
{
    rf_stmt *stmt = NULL;
    rf_buf text;
    rf_status st;

    st = rf_conn_prepare(p->request->conn, rf_str_from(plan->partial), &stmt, NULL, p->err);
    if (st != RF_OK)
        return st;
    rf_buf_init(&text, TEXT_MAX);
    rf_buf_addf(&text, FORMAT "\n%s\n%s\n%s\n", rf_engine_version(p->request->engine),
                plan->partial, plan->view);
    for (size_t i = 0; i < rf_stmt_column_count(stmt); i++)
        rf_buf_addf(&text, "%s\n", rf_stmt_column_type(stmt, i));
    plan->shape = rf_hash_fast(text.p, text.n, 0).lo;
    rf_buf_clear(&text);
    rf_stmt_free(&stmt);
    return RF_OK;
}

static rf_status view_text(rfi_planning *p, yyjson_mut_val *outer, rf_buf *out)
{
    size_t n = 0;
    char *tree = tree_of(p, outer, &n);
    rf_status st;

    if (tree == NULL)
        return rf_err_set(p->err, RF_ENOMEM, "no memory for a statement's tree");
    rf_buf_add_cstr(out, "WITH rfm AS NOT MATERIALIZED (");
    finished_text(p, out);
    rf_buf_add_cstr(out, ") ");
    st = rf_sql_text(p->request->conn, (rf_str){tree, n}, out, p->err);
    free(tree);
    return st;
}

rf_status rfi_plan_texts(rfi_planning *p, rfi_plan *plan)
{
    yyjson_mut_val *outer, *partial;
    rf_buf text;
    rf_status st;

    outer = outer_select(p);
    if (p->status != RF_OK)
        return p->status;
    if (p->call_count == 0 && p->key_count == 0)
        return rf_err_set(
            p->err, RF_EUNSUPPORTED,
            "there is neither an aggregate nor GROUP BY: a projection sums up; to read "
            "single events, query \"%s\" itself",
            p->relation);
    st = kinds_choose(p);
    if (st != RF_OK)
        return st;
    rf_buf_init(&text, TEXT_MAX);
    plan->type = rf_xstrdup(strcasecmp(p->relation, "events") == 0 ? "" : p->relation);
    partial = partial_select(p);
    st = rfi_plan_text(p, partial, "", &text);
    if (st != RF_OK)
        goto out;
    plan->partial = rf_xstrndup(rf_buf_str(&text));
    rf_buf_reset(&text);
    merge_text(p, &text);
    plan->merge = rf_xstrndup(rf_buf_str(&text));
    rf_buf_reset(&text);
    st = view_text(p, outer, &text);
    if (st != RF_OK)
        goto out;
    plan->view = rf_xstrndup(rf_buf_str(&text));
    st = view_types(p, plan);
    if (st == RF_OK)
        st = shape_of(p, plan);
    if (st == RF_OK && p->request->scope[0] != '\0') {
        rf_buf_reset(&text);
        st = rfi_plan_text(p, partial, p->request->scope, &text);
        free(plan->partial);
        plan->partial = rf_xstrndup(rf_buf_str(&text));
    }
out:
    rf_buf_clear(&text);
    return st;
}
