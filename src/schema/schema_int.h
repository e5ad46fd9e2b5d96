/* schema, inside: what the parts of the mapping share. */
#ifndef RF_SCHEMA_INT_H
#define RF_SCHEMA_INT_H

#include "schema/schema.h"

#include <yyjson.h>

#define RFI_SCHEMA_BYTES_MAX (1u << 20) /* of the schema's text */
#define RFI_COLUMNS_MAX 4096u           /* properties of one type */
#define RFI_REF_HOPS_MAX 16             /* $ref that leads to $ref: also ends cycles */

/* The JSON types a `type` keyword names, as a set. */
enum {
    RFI_JSON_NULL = 1,
    RFI_JSON_BOOLEAN = 2,
    RFI_JSON_INTEGER = 4,
    RFI_JSON_NUMBER = 8,
    RFI_JSON_STRING = 16,
    RFI_JSON_ARRAY = 32,
    RFI_JSON_OBJECT = 64
};

/* At most max bytes of s, cut between characters: for error texts, which must stay UTF-8. */
rf_str rfi_shorten(rf_str s, size_t max);

/* Appends "/" and the name, escaped as JSON Pointer wants it (RFC 6901). */
void rfi_pointer_add(rf_buf *pointer, rf_str name);

/* Reads the `type` keyword of `schema` (a JSON object) as a set; 0 when it has none. `at` is the
 * schema's own JSON Pointer. */
RF_CHECKED rf_status rfi_json_types(yyjson_val *schema, rf_str at, unsigned *set, rf_err *err);

/* A keyword that we read and that stands twice would make the schema mean two things. */
RF_CHECKED rf_status rfi_check_keywords(yyjson_val *schema, rf_str at, rf_err *err);

/* What column a property's schema asks for. */
RF_CHECKED rf_status rfi_column_type(yyjson_val *root, yyjson_val *schema, rf_str at,
                                     rf_column *column, rf_err *err);

#endif
