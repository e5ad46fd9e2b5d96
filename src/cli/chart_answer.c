/* A query's JSON answer as bars. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"

/* The first column after the label whose values are numbers; SIZE_MAX: there is none. */
static size_t value_column(yyjson_val *rows, size_t columns)
{
    yyjson_val *row;
    size_t i, n;

    for (size_t column = 1; column < columns; column++) {
        yyjson_arr_foreach(rows, i, n, row)
        {
            yyjson_val *v = yyjson_arr_get(row, column);

            if (yyjson_is_null(v))
                continue;
            if (yyjson_is_num(v))
                return column;
            break;
        }
    }
    return SIZE_MAX;
}

/* Control characters become spaces: a terminal must not be steered by data. */
static char *label_of(yyjson_val *v)
{
    size_t n = 0;
    char *text = yyjson_is_str(v) ? rf_xstrndup((rf_str){yyjson_get_str(v), yyjson_get_len(v)})
                                  : yyjson_val_write(v, 0, &n);

    if (text == NULL || yyjson_is_null(v)) {
        free(text);
        return rf_xstrdup("");
    }
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    return text;
}

/* Times that are all midnights are days. */
static void shorten_days(char **labels, size_t count)
{
    static const char midnight[] = "T00:00:00Z";
    const size_t tail = sizeof midnight - 1;

    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(labels[i]);

        if (n != 10 + tail || strcmp(labels[i] + 10, midnight) != 0)
            return;
    }
    for (size_t i = 0; i < count; i++)
        labels[i][10] = '\0';
}

static unsigned bar_width(char **labels, size_t count)
{
    size_t longest = 0;
    unsigned columns = rf_cli_columns();

    for (size_t i = 0; i < count; i++)
        longest = RF_MAX(longest, strlen(labels[i]));
    size_t taken = longest + 18; /* margins and the value */

    return columns > taken + 10 ? RF_MIN(columns - (unsigned)taken, 60u) : 10;
}

rf_status rf_chart_print_answer(rf_str json, FILE *out, rf_err *err)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *rows = yyjson_obj_get(root, "rows"), *row;
    size_t columns = yyjson_arr_size(yyjson_obj_get(root, "columns"));
    size_t count = yyjson_arr_size(rows), i, n;
    size_t column = value_column(rows, columns);

    if (column == SIZE_MAX) {
        yyjson_doc_free(doc);
        if (count == 0)
            return RF_OK;
        return rf_err_set(err, RF_EINVAL,
                          "a chart needs a column for the labels and one of numbers after it");
    }
    char **labels = rf_xcalloc(count + 1, sizeof *labels);
    double *values = rf_xcalloc(count + 1, sizeof *values);

    yyjson_arr_foreach(rows, i, n, row)
    {
        yyjson_val *v = yyjson_arr_get(row, column);

        labels[i] = label_of(yyjson_arr_get_first(row));
        values[i] = yyjson_is_num(v) ? yyjson_get_num(v) : NAN;
    }
    shorten_days(labels, count);
    rf_chart_bars(out, (const char *const *)labels, values, count, bar_width(labels, count));
    for (i = 0; i < count; i++)
        free(labels[i]);
    free(labels);
    free(values);
    yyjson_doc_free(doc);
    return RF_OK;
}
