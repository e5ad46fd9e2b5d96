/* A file of rows as a relation of the SQL engine, in this process. */
#ifndef RFI_CLI_FILE_H
#define RFI_CLI_FILE_H

#include "cli/cli.h"

/*
 * Appends the table function that reads `file`, by its name: read_parquet('…'), read_csv('…',
 * options). options: SQL arguments for that reader; NULL: none. RF_EINVAL for a name that ends in
 * no known kind.
 */
RF_CHECKED rf_status rfi_file_reader(const char *file, const char *options, rf_buf *sql,
                                     rf_err *err);
/* Is the file's name one of `tail` (".csv"), perhaps with .gz or .zst after it? */
bool rfi_file_is(const char *file, const char *tail);
/* 'text' with quotes doubled. */
void rfi_add_sql_text(rf_buf *sql, const char *text);

/* One SELECT over the relation `file`. `format` is json (the object that /v1/query answers),
 * ndjson, csv or arrow; the answer is appended to out. */
RF_CHECKED rf_status rfi_file_query(const char *file, const char *sql, const char *format,
                                    rf_buf *out, rf_err *err);

#endif
