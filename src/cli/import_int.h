/* refold import, in three rooms: the mapping file, rows to events, sending. */
#ifndef RFI_CLI_IMPORT_H
#define RFI_CLI_IMPORT_H

#include "cli/cli.h"
#include "engine/engine.h"

#define RFI_IMPORT_FIELDS_MAX 256

/* A value of an event: text for every row, or SQL over the row's columns. */
typedef struct rfi_value {
    const char *text; /* constant; NULL when sql is set */
    const char *sql;
} rfi_value;

typedef struct rfi_import_field {
    const char *name;
    const char *sql;
} rfi_import_field;

/* What the mapping file says. Strings live in `texts`. */
typedef struct rfi_import_map {
    rf_arena *texts;
    rfi_value id, type, source, subject, time, correlationid, causationid;
    rfi_import_field fields[RFI_IMPORT_FIELDS_MAX]; /* of data */
    size_t field_count;                             /* 0: all columns */
    const char *options; /* for the reader of the file, e.g. "delim = ';'"; or NULL */
    const char *where;   /* SQL condition; or NULL */
} rfi_import_map;

/* RF_EINVAL names file, line and what is expected. */
RF_CHECKED rf_status rfi_import_map_read(const char *path, rfi_import_map *map, rf_err *err);
void rfi_import_map_clear(rfi_import_map *map);

/* Rows of a file as CloudEvents, a line of NDJSON each. */
typedef struct rfi_import_rows rfi_import_rows;

/* skip: rows to leave out at the start (resume); limit: at most so many, UINT64_MAX: all. */
RF_CHECKED rf_status rfi_import_rows_open(const char *file, const rfi_import_map *map,
                                          uint64_t skip, uint64_t limit, rfi_import_rows **out,
                                          rf_err *err);
/* How many rows the file has in all, when that is cheap to know (Parquet); else 0. */
uint64_t rfi_import_rows_total(const rfi_import_rows *rows);
/* Appends one event's line to out; false at the end or on error (err->status). */
bool rfi_import_rows_next(rfi_import_rows *rows, rf_buf *out, rf_err *err);
void rfi_import_rows_close(rfi_import_rows **rows);

#endif
