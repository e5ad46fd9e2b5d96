/* Parameters: a JSON array of scalars, bound by their types. */
#include "query/query_int.h"

#include <yyjson.h>

/* Numbers that no int64 holds go as text: the engine casts them to what stands beside them. */
static rf_status param_bind(rf_stmt *stmt, size_t at, yyjson_val *value, rf_err *err)
{
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_NULL:
        rf_stmt_bind_null(stmt, at);
        return RF_OK;
    case YYJSON_TYPE_BOOL:
        rf_stmt_bind_bool(stmt, at, yyjson_get_bool(value));
        return RF_OK;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_sint(value) ||
            (yyjson_is_uint(value) && yyjson_get_uint(value) <= INT64_MAX)) {
            rf_stmt_bind_i64(stmt, at, yyjson_get_sint(value));
        } else if (yyjson_is_uint(value)) {
            rf_buf digits;

            rf_buf_init(&digits, 32);
            rf_buf_add_u64(&digits, yyjson_get_uint(value));
            rf_stmt_bind_str(stmt, at, rf_buf_str(&digits));
            rf_buf_clear(&digits);
        } else {
            rf_stmt_bind_f64(stmt, at, yyjson_get_real(value));
        }
        return RF_OK;
    case YYJSON_TYPE_RAW: /* an integer longer than 64 bits */
        rf_stmt_bind_str(stmt, at, (rf_str){yyjson_get_raw(value), yyjson_get_len(value)});
        return RF_OK;
    case YYJSON_TYPE_STR:
        rf_stmt_bind_str(stmt, at, (rf_str){yyjson_get_str(value), yyjson_get_len(value)});
        return RF_OK;
    default:
        return rf_err_set(err, RF_EINVAL,
                          "parameter %zu is %s: parameters are strings, numbers, booleans and null",
                          at, yyjson_is_arr(value) ? "an array" : "an object");
    }
}

rf_status rfi_params_bind(rf_stmt *stmt, rf_str params_json, rf_err *err)
{
    size_t wanted = rf_stmt_param_count(stmt), at = 0;
    yyjson_read_err why;
    yyjson_doc *doc = NULL;
    yyjson_arr_iter items;
    yyjson_val *item;
    rf_status st = RF_OK;

    if (params_json.n > 0) {
        doc = yyjson_read_opts((char *)(uintptr_t)params_json.p, params_json.n,
                               YYJSON_READ_BIGNUM_AS_RAW, NULL, &why);
        if (doc == NULL)
            return rf_err_set(err, RF_EINVAL, "params is no JSON: %s at byte %zu", why.msg,
                              why.pos);
        if (!yyjson_is_arr(yyjson_doc_get_root(doc)))
            st = rf_err_set(err, RF_EINVAL, "params is no JSON array");
    }
    if (st == RF_OK && yyjson_arr_size(yyjson_doc_get_root(doc)) != wanted)
        st = rf_err_set(err, RF_EINVAL, "the statement has %zu parameters, and %zu came", wanted,
                        yyjson_arr_size(yyjson_doc_get_root(doc)));
    yyjson_arr_iter_init(yyjson_doc_get_root(doc), &items);
    while (st == RF_OK && (item = yyjson_arr_iter_next(&items)) != NULL)
        st = param_bind(stmt, ++at, item, err);
    yyjson_doc_free(doc);
    return st;
}
