/*
 * Where an error is, in the person's own text. The engine tells places in the text it was given:
 * for a statement with event types that is one refold had written out, and of a long line it tells
 * only the piece that it shows. So the person's text, which passed the gate, is prepared once more
 * with each token on a line of its own: the number of the line is then exact. Some errors have no
 * place at all but name a column: the first use of that name is as good.
 */
#include "query/query_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <yyjson.h>

#define DEPTH_MAX 2000

/* The first "quoted" word of the message. */
static rf_str name_of(const char *message)
{
    const char *open = strchr(message, '"');
    const char *close = open != NULL ? strchr(open + 1, '"') : NULL;

    return close != NULL ? (rf_str){open + 1, (size_t)(close - open - 1)} : (rf_str){NULL, 0};
}

static bool names_it(yyjson_val *node, rf_str name)
{
    yyjson_arr_iter parts;
    yyjson_val *part;

    yyjson_arr_iter_init(yyjson_obj_get(node, "column_names"), &parts);
    while ((part = yyjson_arr_iter_next(&parts)) != NULL) {
        if (yyjson_get_len(part) == name.n &&
            strncasecmp(yyjson_get_str(part), name.p, name.n) == 0)
            return true;
    }
    return false;
}

/* The lowest place of a reference to the column. */
static void use_find(yyjson_val *node, rf_str name, size_t depth, uint64_t *found)
{
    yyjson_val *at = yyjson_obj_get(node, "query_location"), *key, *item;
    yyjson_obj_iter members;
    yyjson_arr_iter items;

    if (depth > DEPTH_MAX)
        return;
    if (yyjson_is_uint(at) && names_it(node, name))
        *found = RF_MIN(*found, yyjson_get_uint(at));
    if (yyjson_is_obj(node)) {
        yyjson_obj_iter_init(node, &members);
        while ((key = yyjson_obj_iter_next(&members)) != NULL)
            use_find(yyjson_obj_iter_get_val(key), name, depth + 1, found);
    } else if (yyjson_is_arr(node)) {
        yyjson_arr_iter_init(node, &items);
        while ((item = yyjson_arr_iter_next(&items)) != NULL)
            use_find(item, name, depth + 1, found);
    }
}

static rf_sql_where place_of_name(const rfi_plan *plan, rf_str name)
{
    rf_sql_where none = {0};
    yyjson_doc *doc;
    uint64_t found = UINT64_MAX;

    if (name.n == 0)
        return none;
    doc = yyjson_read(plan->tree.p, plan->tree.n, 0);
    use_find(yyjson_doc_get_root(doc), name, 0, &found);
    yyjson_doc_free(doc);
    return found < plan->text.n ? rfi_text_place(plan->text.original, found) : none;
}

rf_sql_where rfi_place_find(rf_conn *conn, const rfi_plan *plan)
{
    rf_str text = {plan->text.p, plan->text.n};
    char *broken = rf_xstrndup(text);
    rf_sql_where where = {0}, place = {0};
    rf_stmt *stmt = NULL;
    rf_err err = {0};
    size_t byte = SIZE_MAX;
    rf_status st;

    rfi_text_break(broken, text.n);
    st = rf_conn_prepare(conn, (rf_str){broken, text.n}, &stmt, &where, &err);
    if (st != RF_OK && where.line > 0) {
        where.column = RF_MAX(where.column, 1);
        byte = rfi_text_byte((rf_str){broken, text.n}, where);
    }
    if (byte != SIZE_MAX)
        place = rfi_text_place(plan->text.original, byte);
    else if (st != RF_OK)
        place = place_of_name(plan, name_of(err.text));
    rf_stmt_free(&stmt);
    free(broken);
    return place;
}
