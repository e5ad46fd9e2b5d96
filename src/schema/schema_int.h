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

/* Each member of an object, with its number; none when it is NULL or no object. (yyjson's own macro
 * adds to a null pointer for an empty object.) */
#define RFI_OBJECT_EACH(object, i, n, key, value)                                                  \
    for (yyjson_obj_iter rfi_it_ =                                                                 \
             ((i) = 0, (n) = yyjson_obj_size(object), (void)(n), yyjson_obj_iter_with(object));    \
         ((key) = yyjson_obj_iter_next(&rfi_it_)) != NULL &&                                       \
         ((value) = yyjson_obj_iter_get_val(key)) != NULL;                                         \
         (i)++)

/* At most max bytes of s, cut between characters: for error texts, which must stay UTF-8. */
rf_str rfi_schema_shorten(rf_str s, size_t max);

/* Appends "/" and the name, escaped as JSON Pointer wants it (RFC 6901). */
void rfi_schema_pointer_add(rf_buf *pointer, rf_str name);

/* Reads the `type` keyword of `schema` (a JSON object) as a set; 0 when it has none. `at` is the
 * schema's own JSON Pointer. */
RF_CHECKED rf_status rfi_schema_json_types(yyjson_val *schema, rf_str at, unsigned *set,
                                           rf_err *err);

/* A keyword that we read and that stands twice would make the schema mean two things. */
RF_CHECKED rf_status rfi_schema_check_keywords(yyjson_val *schema, rf_str at, rf_err *err);

/* What column a property's schema asks for. */
RF_CHECKED rf_status rfi_schema_column_type(yyjson_val *root, yyjson_val *schema, rf_str at,
                                            rf_column *column, rf_err *err);

#endif
