/*
 * From a SELECT to a plan, in steps:
 *
 *   parse    the engine's own tree of the text
 *   check    what cannot be kept is refused by its shape       plan_check.c
 *   bind     the engine checks names and types, and says what the result's columns are called
 *   resolve  one form for equal expressions                    plan_names.c
 *   lift     results as expressions over keys and aggregates   plan_text.c
 *   texts    partial, merge, view                              plan_text.c
 */
#include "projection/plan_int.h"

#include <stdarg.h>

#define TEXT_MAX (16u << 20)

void rfi_plan_refuse(rfi_planning *p, rf_status status, yyjson_mut_val *node, const char *fmt, ...)
{
    char text[RF_ERR_TEXT_MAX];
    yyjson_mut_val *at;
    va_list args;

    if (p->status != RF_OK)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    p->status = rf_err_set(p->err, status, "%s", text);
    at = node != NULL ? yyjson_mut_obj_get(node, "query_location") : NULL;
    if (p->where != NULL && at != NULL && yyjson_mut_get_uint(at) < p->request->sql.n) {
        rf_str sql = p->request->sql;
        size_t end = yyjson_mut_get_uint(at);

        *p->where = (rf_sql_where){.line = 1, .column = 1};
        for (size_t i = 0; i < end; i++) {
            if (sql.p[i] == '\n')
                *p->where = (rf_sql_where){.line = p->where->line + 1, .column = 1};
            else
                p->where->column += ((unsigned char)sql.p[i] & 0xC0) != 0x80;
        }
    }
}

static rf_status parse(rfi_planning *p)
{
    rf_buf tree;
    yyjson_doc *doc = NULL;
    rf_status st;

    for (size_t i = 0; i < p->request->sql.n; i++) {
        unsigned char c = (unsigned char)p->request->sql.p[i];

        if (c < 32 && c != '\n' && c != '\t' && c != '\r')
            return rf_err_set(p->err, RF_EINVAL, "the statement has a control character (%u) in it",
                              c);
    }
    rf_buf_init(&tree, TEXT_MAX);
    st = rf_sql_parse(p->request->conn, p->request->sql, &tree, p->where, p->err);
    if (st == RF_OK)
        doc = yyjson_read(tree.p, tree.n, 0);
    if (st == RF_OK && doc == NULL)
        st = rf_err_set(p->err, RF_EINTERNAL, "the SQL engine's tree is no JSON");
    if (st == RF_OK) {
        p->doc = yyjson_doc_mut_copy(doc, NULL);
        p->root = yyjson_mut_doc_get_root(p->doc);
        p->select = yyjson_mut_obj_get(
            yyjson_mut_arr_get_first(yyjson_mut_obj_get(p->root, "statements")), "node");
        p->item_count = yyjson_mut_arr_size(yyjson_mut_obj_get(p->select, "select_list"));
    }
    yyjson_doc_free(doc);
    rf_buf_clear(&tree);
    return st;
}

/* What the engine says against the rewritten text, said of the user's own text: with its lines. */
static rf_status binding_error(rfi_planning *p)
{
    rf_stmt *stmt = NULL;
    rf_err own = {0};
    rf_sql_where where = {0};

    if (p->err->status == RF_EINVAL &&
        rf_conn_prepare(p->request->conn, p->request->sql, &stmt, &where, &own) == RF_EINVAL) {
        *p->err = own;
        if (p->where != NULL)
            *p->where = where;
    }
    rf_stmt_free(&stmt);
    return p->err->status;
}

static rf_status column_take(rfi_planning *p, rf_stmt *stmt, size_t i)
{
    rf_buf name;

    rf_buf_init(&name, 4096);
    rf_stmt_column_name(stmt, i, &name);
    p->names[i] = rf_xstrndup(rf_buf_str(&name));
    p->types[i] = rf_xstrdup(rf_stmt_column_type(stmt, i));
    rf_buf_clear(&name);
    for (size_t k = 0; k < i; k++) {
        if (strcasecmp(p->names[k], p->names[i]) == 0)
            return rf_err_set(
                p->err, RF_EINVAL,
                "two columns of the result are called %s: give one another name with AS",
                p->names[i]);
    }
    return RF_OK;
}

static rf_status bind(rfi_planning *p)
{
    rf_stmt *stmt = NULL;
    rf_buf text;
    rf_status st;

    rf_buf_init(&text, TEXT_MAX);
    st = rfi_plan_text(p, p->select, "", &text);
    if (st == RF_OK)
        st = rf_conn_prepare(p->request->conn, rf_buf_str(&text), &stmt, NULL, p->err);
    if (st != RF_OK) {
        st = binding_error(p);
    } else if (rf_stmt_column_count(stmt) != p->item_count) {
        st = rf_err_set(p->err, RF_EUNSUPPORTED,
                        "an item of the SELECT list stands for several columns: name each");
    } else {
        p->names = rf_xcalloc(p->item_count, sizeof(*p->names));
        p->types = rf_xcalloc(p->item_count, sizeof(*p->types));
        for (size_t i = 0; i < p->item_count && st == RF_OK; i++)
            st = column_take(p, stmt, i);
    }
    rf_stmt_free(&stmt);
    rf_buf_clear(&text);
    return st;
}

static rf_status plan(rfi_planning *p, rfi_plan *out)
{
    rf_status st = parse(p);

    if (st != RF_OK)
        return st;
    rfi_plan_check(p);
    if (p->status != RF_OK)
        return p->status;
    st = bind(p);
    if (st != RF_OK)
        return st;
    rfi_plan_resolve(p);
    if (p->status != RF_OK)
        return p->status;
    return rfi_plan_texts(p, out);
}

static void planning_clear(rfi_planning *p)
{
    for (size_t i = 0; i < p->item_count; i++) {
        if (p->names != NULL)
            free(p->names[i]);
        if (p->types != NULL)
            free(p->types[i]);
    }
    free(p->names);
    free(p->types);
    free(p->items);
    free(p->keys);
    free(p->calls);
    yyjson_mut_doc_free(p->doc);
}

rf_status rfi_plan_make(const rfi_plan_request *request, rfi_plan **out, rf_sql_where *where,
                        rf_err *err)
{
    rfi_planning p = {.request = request, .where = where, .err = err};
    rfi_plan *made = rf_xcalloc(1, sizeof(*made));
    rf_status st;

    if (where != NULL)
        *where = (rf_sql_where){0};
    st = plan(&p, made);
    if (st != RF_OK)
        rfi_plan_free(&made);
    *out = made;
    planning_clear(&p);
    return st;
}

void rfi_plan_free(rfi_plan **plan_at)
{
    rfi_plan *made = *plan_at;

    if (made == NULL)
        return;
    free(made->type);
    free(made->partial);
    free(made->merge);
    free(made->view);
    free(made);
    *plan_at = NULL;
}

char *rfi_plan_sql(const char *template, const char *table)
{
    size_t n = strlen(template), table_n = strlen(table), count = 0, at = 0;
    char *sql;

    for (size_t i = 0; i < n; i++)
        count += template[i] == RFI_PLAN_TABLE[0];
    sql = rf_xmalloc(n + count * table_n + 1);
    for (size_t i = 0; i < n; i++) {
        if (template[i] != RFI_PLAN_TABLE[0]) {
            sql[at++] = template[i];
            continue;
        }
        memcpy(sql + at, table, table_n);
        at += table_n;
    }
    sql[at] = '\0';
    return sql;
}
