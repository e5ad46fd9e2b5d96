/*
 * schema: what an event type's `data` looks like. Now: the mapping from a JSON Schema (2020-12) to
 * typed columns. Knows nothing of how events are stored, of HTTP or of SQL engines.
 */
#ifndef RF_SCHEMA_H
#define RF_SCHEMA_H

#include "base/base.h"

typedef enum rf_column_type {
    RF_COL_JSON = 0,  /* the value's own bytes: objects, arrays, several types, no type */
    RF_COL_TEXT,      /* "type": "string" */
    RF_COL_BIGINT,    /* "type": "integer" */
    RF_COL_DOUBLE,    /* "type": "number" */
    RF_COL_BOOLEAN,   /* "type": "boolean" */
    RF_COL_TIMESTAMP, /* string, "format": "date-time": UTC microseconds */
    RF_COL_DATE,      /* string, "format": "date" */
    RF_COL_DECIMAL    /* "x-type": "decimal(p,s)" on a number or string; p <= 18 */
} rf_column_type;

typedef struct rf_column {
    char *name;
    rf_column_type type;
    uint8_t precision, scale; /* DECIMAL */
    bool required;
} rf_column;

/* The typed shape of one event type. Immutable after it was made; may be shared by threads. */
typedef struct rf_columns {
    char *type; /* event type */
    uint32_t version;
    rf_column *columns; /* in the schema's order of properties */
    size_t count;
} rf_columns;

/*
 * Reads a JSON Schema. Properties of the root object become columns: `type` may be a name or a list
 * of a name and "null". `x-type` overrides: text, bigint, double, boolean, timestamp, date, json,
 * decimal(p,s). RF_EINVAL names the JSON Pointer of what is wrong.
 */
RF_CHECKED rf_status rf_columns_parse(rf_str type, uint32_t version, rf_str json, rf_columns **out,
                                      rf_err *err);
void rf_columns_free(rf_columns **c);
/* Index of the column, or SIZE_MAX. */
size_t rf_columns_find(const rf_columns *c, rf_str name);

/*
 * "flight.landed.v1.json" -> type "flight.landed", version 1. RF_EINVAL with the expected form.
 */
RF_CHECKED rf_status rf_schema_file_name(rf_str file_name, rf_str *type, uint32_t *version,
                                         rf_err *err);

/* ---- validation ------------------------------------------------------------------------------ */

struct yyjson_val;

/*
 * A JSON Schema 2020-12 compiled into a program over parsed JSON. Immutable: any number of threads
 * may check with it at once. `format` and `content*` are annotations, as the specification's
 * default.
 */
typedef struct rf_validator rf_validator;

/*
 * Compiles `schema`. References leave it only through `lookup`, which gives the text of the schema
 * with that absolute URI (borrowed until rf_validator_new returns), or false when there is none:
 * nothing is ever fetched. `uri` is the schema's own base URI; may be empty. RF_EINVAL names the
 * place: a keyword of the wrong kind, a reference that leads nowhere, a bad pattern.
 */
RF_CHECKED rf_status rf_validator_new(rf_str uri, rf_str schema,
                                      bool (*lookup)(void *arg, rf_str uri, rf_str *text),
                                      void *arg, rf_validator **out, rf_err *err);
void rf_validator_free(rf_validator **v);

/* Working memory of one thread's checks; grows to what the largest value needed and stays. */
typedef struct rf_validation rf_validation;
rf_validation *rf_validation_new(void);
void rf_validation_free(rf_validation **w);

/* The first rule that a value broke. */
typedef struct rf_violation {
    char path[256]; /* JSON Pointer to the value in the instance, cut when longer */
    char rule[32]; /* keyword: "required", "maximum", …; "too-complex" when a limit ended the check
                    */
    char detail[256];
} rf_violation;

/*
 * Does the value satisfy the schema? Never allocates once `work` has grown; takes at most a fixed
 * number of steps. Numbers may be raw (YYJSON_READ_BIGNUM_AS_RAW). *violation is filled when not.
 */
bool rf_validator_check(const rf_validator *v, rf_validation *work, struct yyjson_val *value,
                        rf_violation *violation);

#endif
