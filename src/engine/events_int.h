/* The log as relations: what scope.c, events*.c and members.c share. */
#ifndef RF_EVENTS_INT_H
#define RF_EVENTS_INT_H

#include "engine/engine_int.h"

#define RFI_SYSTEM_DOMAIN "refold"

/* ---- scopes (scope.c) ------------------------------------------------------------------------ */

bool rfi_scope_exists(rf_engine *engine, const char *name, uint64_t *total);
/* Calls each() for every range that is not empty, until it returns false. NULL: no such scope. The
 * scope may be used until the statement ends. */
rf_scope *rfi_scope_ranges(rf_engine *engine, const char *name,
                           bool (*each)(void *arg, const rf_position_part *to, uint64_t from),
                           void *arg);
_Atomic uint64_t *rfi_scope_done(rf_scope *scope);
uint32_t rfi_scope_threads(const rf_scope *scope); /* that are worth it for its ranges */

/* ---- members of a JSON object (members.c) ---------------------------------------------------- */

/*
 * Walks the members of one object without building a tree: what is not wanted is only skipped. The
 * text was checked when the event came in, so this does not judge it again; it only never reads
 * beyond it.
 */
typedef struct rfi_members {
    const char *p, *end;
} rfi_members;

typedef enum rfi_json_kind {
    RFI_JSON_NULL,
    RFI_JSON_FALSE,
    RFI_JSON_TRUE,
    RFI_JSON_NUMBER,
    RFI_JSON_STRING,
    RFI_JSON_ARRAY,
    RFI_JSON_OBJECT
} rfi_json_kind;

typedef struct rfi_member {
    rf_str key;   /* between its quotes */
    rf_str value; /* as written; a string with its quotes */
    rfi_json_kind kind;
    bool key_escaped, value_escaped; /* has a backslash; for strings */
} rfi_member;

/* False: no object. */
bool rfi_members_begin(rfi_members *m, rf_str json);
/* False: no more. */
bool rfi_members_next(rfi_members *m, rfi_member *out);

/* ---- values of columns (values.c) ------------------------------------------------------------ */

bool rfi_parse_i64(rf_str number, int64_t *out);
bool rfi_parse_f64(rf_str number, double *out);
/* A decimal number as its unscaled integer; too many digits behind the point are rounded half away
 * from zero, too many before it are no value. */
bool rfi_parse_decimal(rf_str number, uint8_t precision, uint8_t scale, int64_t *out);
bool rfi_parse_date(rf_str text, int32_t *days); /* "2024-02-29" */

/* ---- filling (fill.c) ------------------------------------------------------------------------ */

/* A vector that is being filled. */
typedef struct rfi_out {
    duckdb_vector vector;
    void *data;
    uint64_t *validity; /* NULL until the first NULL */
} rfi_out;

void rfi_out_begin(rfi_out *o, duckdb_vector vector);
void rfi_out_null(rfi_out *o, size_t row);
void rfi_out_str(rfi_out *o, size_t row, rf_str s);

/* The fields of `data` that a relation has. */
typedef struct rfi_fields {
    rf_column *columns; /* their names are borrowed */
    rf_str *names;
    size_t count; /* 0: `data` is JSON */
} rfi_fields;

/* Reads `data` of many events into the vectors of the fields. */
typedef struct rfi_reader {
    const rfi_fields *fields;
    rfi_out whole, *outs;
    bool *seen;
    struct rfi_hint *hints; /* by the member's number in the object: what it was last time */
    rf_buf scratch;
    uint64_t mismatches;
} rfi_reader;

void rfi_reader_init(rfi_reader *r, const rfi_fields *fields);
void rfi_reader_clear(rfi_reader *r);
void rfi_reader_begin(rfi_reader *r, duckdb_vector vector);
void rfi_reader_row(rfi_reader *r, size_t row, rf_data_kind kind, rf_str data);

#endif
