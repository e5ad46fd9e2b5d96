/* SQL text to the engine's own tree and back, by its functions json_(de)serialize_sql. */
#include "engine/engine_int.h"

#include <yyjson.h>

static rf_status helper_prepare(rf_conn *conn, rf_stmt **stmt, const char *sql, rf_err *err)
{
    if (*stmt != NULL)
        return RF_OK;
    return rf_conn_prepare(conn, rf_str_from(sql), stmt, NULL, err);
}

/* Runs `stmt` over one string and appends its one string to `out`. */
static rf_status helper_run(rf_stmt *stmt, rf_str in, rf_buf *out, rf_err *err)
{
    rf_rows *rows = NULL;
    rf_status st;

    rf_stmt_bind_str(stmt, 1, in);
    st = rf_stmt_run(stmt, false, &rows, err);
    if (st != RF_OK)
        return st;
    if (!rf_rows_next(rows, err)) {
        st = err->status != RF_OK ? err->status
                                  : rf_err_set(err, RF_EINTERNAL, "the SQL engine gave no tree");
    } else {
        rf_buf_add_str(out, rf_rows_str(rows, 0));
        if (out->failed)
            st = rf_err_set(err, RF_ETOOBIG, "the statement is too long");
    }
    rf_rows_free(&rows);
    return st;
}

/* Byte of a code point, 0-based. */
static size_t byte_of(rf_str sql, uint64_t code_point)
{
    size_t at = 0;

    for (; at < sql.n; at++) {
        if (((unsigned char)sql.p[at] & 0xC0) == 0x80)
            continue;
        if (code_point-- == 0)
            break;
    }
    return at;
}

/* What the tree says when it is no tree. */
static rf_status refusal(yyjson_val *root, rf_str sql, rf_sql_where *where, rf_err *err)
{
    const char *kind = yyjson_get_str(yyjson_obj_get(root, "error_type"));
    const char *text = yyjson_get_str(yyjson_obj_get(root, "error_message"));
    const char *position = yyjson_get_str(yyjson_obj_get(root, "position"));
    uint64_t at;

    if (text == NULL)
        return rf_err_set(err, RF_EINTERNAL,
                          "the SQL engine refused the statement without a reason");
    if (where != NULL && position != NULL && rf_str_to_u64(rf_str_from(position), &at))
        *where = rfi_sql_place(sql, byte_of(sql, at));
    if (kind != NULL && strcmp(kind, "not implemented") == 0)
        return rf_err_set(err, RF_EINVAL, "only SELECT is possible here");
    if (kind != NULL && strcmp(kind, "parser") == 0)
        return rf_err_set(err, RF_EINVAL, "Parser Error: %s", text);
    return rf_err_set(err, RF_EINVAL, "%s", text);
}

rf_status rf_sql_parse(rf_conn *conn, rf_str sql, rf_buf *tree_json, rf_sql_where *where,
                       rf_err *err)
{
    size_t start = tree_json->n;
    yyjson_doc *doc = NULL;
    yyjson_val *root;
    size_t count;
    rf_status st;

    if (where != NULL)
        *where = (rf_sql_where){0};
    if (sql.n > 0 && memchr(sql.p, 0, sql.n) != NULL)
        return rf_err_set(err, RF_EINVAL, "the statement has a NUL in it");
    st = helper_prepare(conn, &conn->parse, "SELECT json_serialize_sql($1::VARCHAR)", err);
    if (st == RF_OK)
        st = helper_run(conn->parse, sql, tree_json, err);
    if (st != RF_OK)
        return st;
    doc = yyjson_read(tree_json->p + start, tree_json->n - start, 0);
    root = yyjson_doc_get_root(doc);
    count = yyjson_arr_size(yyjson_obj_get(root, "statements"));
    if (root == NULL || yyjson_get_bool(yyjson_obj_get(root, "error")))
        st = refusal(root, sql, where, err);
    else if (count != 1)
        st = rf_err_set(err, RF_EINVAL,
                        count == 0 ? "there is no statement in the text"
                                   : "there are several statements: send one");
    yyjson_doc_free(doc);
    if (st != RF_OK)
        tree_json->n = start;
    return st;
}

rf_status rf_sql_text(rf_conn *conn, rf_str tree_json, rf_buf *sql, rf_err *err)
{
    rf_status st;

    st = helper_prepare(conn, &conn->text, "SELECT json_deserialize_sql($1::JSON)", err);
    if (st == RF_OK)
        st = helper_run(conn->text, tree_json, sql, err);
    return st;
}
