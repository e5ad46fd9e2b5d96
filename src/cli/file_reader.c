/* Which of the engine's readers a file is for. */
#include <string.h>

#include "cli/file_int.h"

static bool has_tail(const char *file, const char *tail)
{
    size_t n = strlen(file), t = strlen(tail);

    return n >= t && strcmp(file + n - t, tail) == 0;
}

bool rfi_file_is(const char *file, const char *tail)
{
    static const char *const packed[] = {"", ".gz", ".zst"};
    char with[32];

    for (size_t i = 0; i < RF_ARRAY_LEN(packed); i++) {
        snprintf(with, sizeof with, "%s%s", tail, packed[i]);
        if (has_tail(file, with))
            return true;
    }
    return false;
}

void rfi_add_sql_text(rf_buf *sql, const char *text)
{
    rf_buf_add_char(sql, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            rf_buf_add_char(sql, '\'');
        rf_buf_add_char(sql, *text);
    }
    rf_buf_add_char(sql, '\'');
}

rf_status rfi_file_reader(const char *file, const char *options, rf_buf *sql, rf_err *err)
{
    static const struct {
        const char *tail, *function, *extra;
    } kinds[] = {
        {".parquet", "read_parquet", ""},
        {".csv", "read_csv", ""},
        {".tsv", "read_csv", ""},
        {".ndjson", "read_json", ", format = 'newline_delimited'"},
        {".jsonl", "read_json", ", format = 'newline_delimited'"},
        {".json", "read_json", ""},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(kinds); i++) {
        if (!rfi_file_is(file, kinds[i].tail))
            continue;
        rf_buf_addf(sql, "%s(", kinds[i].function);
        rfi_add_sql_text(sql, file);
        rf_buf_add_cstr(sql, kinds[i].extra);
        if (options != NULL)
            rf_buf_addf(sql, ", %s", options);
        rf_buf_add_char(sql, ')');
        return RF_OK;
    }
    return rf_err_set(
        err, RF_EINVAL,
        "%s: unknown kind of file; known: .parquet .csv .tsv .json .ndjson .jsonl, and "
        ".gz or .zst of the text kinds",
        file);
}
