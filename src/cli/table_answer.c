/* A query's JSON answer as a table. */
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"

static bool is_number_type(const char *type)
{
    static const char *const names[] = {"TINYINT", "SMALLINT", "INTEGER",   "BIGINT",
                                        "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
                                        "UBIGINT", "UHUGEINT", "FLOAT",     "DOUBLE"};

    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++) {
        if (strcmp(type, names[i]) == 0)
            return true;
    }
    return strncmp(type, "DECIMAL", 7) == 0;
}

static void add_value(rf_table *t, yyjson_val *v)
{
    if (yyjson_is_null(v)) {
        rf_table_cell(t, RF_STR(""));
    } else if (yyjson_is_str(v)) {
        rf_table_cell(t, (rf_str){yyjson_get_str(v), yyjson_get_len(v)});
    } else if (yyjson_is_raw(v)) {
        rf_table_cell(t, (rf_str){yyjson_get_raw(v), yyjson_get_len(v)});
    } else {
        size_t n = 0;
        char *text = yyjson_val_write(v, 0, &n);

        rf_table_cell(t, (rf_str){text, text == NULL ? 0 : n});
        free(text);
    }
}

rf_status rf_table_print_answer(rf_str json, FILE *out, rf_err *err)
{
    /* Numbers stay as they were written: no digit is lost on the way to the screen. */
    yyjson_doc *doc = yyjson_read(json.p, json.n, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *columns = yyjson_obj_get(root, "columns");
    yyjson_val *rows = yyjson_obj_get(root, "rows");
    yyjson_val *item, *cell;
    size_t i, n, j, m;

    if (!yyjson_is_arr(columns) || !yyjson_is_arr(rows)) {
        yyjson_doc_free(doc);
        return rf_err_set(err, RF_EINVAL, "the server's answer is not a query result");
    }
    rf_table *t = rf_table_new(RF_MAX(yyjson_arr_size(columns), (size_t)1));

    yyjson_arr_foreach(columns, i, n, item)
    {
        const char *type = yyjson_get_str(yyjson_obj_get(item, "type"));

        rf_table_head(t, rf_str_from(yyjson_get_str(yyjson_obj_get(item, "name"))),
                      is_number_type(type == NULL ? "" : type));
    }
    yyjson_arr_foreach(rows, i, n, item)
    {
        yyjson_arr_foreach(item, j, m, cell) add_value(t, cell);
    }
    rf_table_print(t, out);
    rf_table_free(&t);
    yyjson_doc_free(doc);
    return RF_OK;
}
