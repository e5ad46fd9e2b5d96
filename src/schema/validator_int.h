/*
 * The validator, inside.
 *
 *   validator_load.c     documents, resources ($id), anchors; finding what a reference means
 *   validator_compile.c  a schema's keywords -> a node
 *   validator_eval.c     nodes over a value
 *   json_value.c         equality and hash of values
 *   uri.c                resolving references
 *
 * Specification: JSON Schema 2020-12, core and validation.
 */
#ifndef RFI_SCHEMA_VALIDATOR_INT_H
#define RFI_SCHEMA_VALIDATOR_INT_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <yyjson.h>

#include "schema/schema.h"
#include "schema/schema_int.h"

typedef struct rfi_node rfi_node;

/* What has an absolute URI of its own: a document's root, or a subschema with $id. */
typedef struct rfi_resource {
    char *uri;
    yyjson_val *root;
    bool no_validation; /* its dialect leaves the validation vocabulary out */
    /* The document's root has an $id of its own: what it is called by that. Else NULL. */
    const struct rfi_resource *own;
    struct rfi_resource *next;
} rfi_resource;

typedef struct rfi_anchor {
    const rfi_resource *resource;
    rf_str name;
    yyjson_val *schema;
    bool dynamic;
    rfi_node *node; /* of a dynamic one: compiled when first needed by the compiler */
    struct rfi_anchor *next;
} rfi_anchor;

typedef struct rfi_property {
    rf_str name;
    uint64_t hash;
    rfi_node *node;   /* NULL: only required */
    int required_bit; /* -1, or its bit in the mask of required properties (first 64) */
} rfi_property;

typedef struct rfi_pattern {
    pcre2_code *code;
    rf_str source;
    rfi_node *node;
} rfi_pattern;

typedef struct rfi_list {
    rfi_node **nodes;
    uint32_t count;
} rfi_list;

typedef struct rfi_dependency {
    rf_str name;
    yyjson_val *required; /* array of names, or NULL */
    rfi_node *node;       /* or NULL */
} rfi_dependency;

enum {
    RFI_HAS_CONST = 1u << 0,
    RFI_HAS_MINIMUM = 1u << 1,
    RFI_HAS_MAXIMUM = 1u << 2,
    RFI_HAS_EXCLUSIVE_MINIMUM = 1u << 3,
    RFI_HAS_EXCLUSIVE_MAXIMUM = 1u << 4,
    RFI_HAS_MULTIPLE_OF = 1u << 5,
    RFI_UNIQUE_ITEMS = 1u << 6,
    RFI_HAS_STRING_RULES = 1u << 7,
    RFI_HAS_OBJECT_RULES = 1u << 8,
    RFI_HAS_ARRAY_RULES = 1u << 9,
    RFI_FALSE = 1u << 10,    /* the schema `false` */
    RFI_IN_PLACE = 1u << 11, /* has applicators to the same value */
};

/* One schema, compiled. Rules that are absent have the value that always passes. */
struct rfi_node {
    const rfi_resource *resource;
    uint32_t flags;
    unsigned types; /* set of RFI_JSON_*; 0: any */
    yyjson_val *enumeration, *constant;
    yyjson_val *minimum, *maximum, *exclusive_minimum, *exclusive_maximum, *multiple_of;
    uint64_t min_length, max_length, min_items, max_items, min_properties, max_properties;
    pcre2_code *pattern;
    rf_str pattern_source;
    /* objects */
    rfi_property
        *properties; /* open addressing, `property_slots` a power of two; name.p NULL: free */
    uint32_t property_slots;
    uint64_t required_mask;
    yyjson_val *required_rest; /* the whole list when there are more than 64 */
    rfi_pattern *patterns;
    uint32_t pattern_count;
    rfi_node *additional_properties, *property_names;
    rfi_dependency *dependencies;
    uint32_t dependency_count;
    /* arrays */
    rfi_list prefix_items;
    rfi_node *items, *contains;
    uint64_t min_contains, max_contains;
    /* the same value */
    rfi_node *reference;
    rfi_anchor *dynamic_anchor; /* of $dynamicRef whose first target is a dynamic anchor */
    rfi_node *dynamic_reference;
    rfi_list all_of, any_of, one_of;
    rfi_node *not_schema, *if_schema, *then_schema, *else_schema;
    rfi_node *unevaluated_properties, *unevaluated_items;
};

typedef struct rfi_compiled {
    yyjson_val *schema;
    rfi_node *node;
} rfi_compiled;

struct rf_validator {
    yyjson_doc **documents;
    size_t document_count;
    rfi_resource *resources;
    rfi_anchor *anchors;
    rf_arena *arena;        /* nodes, lists, texts */
    rfi_compiled *compiled; /* open addressing by the schema's address */
    size_t compiled_count, compiled_slots;
    pcre2_code **patterns;
    size_t pattern_count;
    rfi_node *root;
    bool tracks; /* some schema has unevaluated*: annotations are kept */
    /* while compiling */
    bool (*lookup)(void *arg, rf_str uri, rf_str *text);
    void *lookup_arg;
    unsigned depth;
};

/* uri.c. `out` is reset first. */
void rfi_uri_resolve(rf_str base_uri, rf_str reference, rf_buf *out);
void rfi_uri_split_fragment(rf_str uri, rf_str *without, rf_str *fragment);

/* json_value.c: numbers by value, objects without order. */
bool rfi_json_equal(yyjson_val *a, yyjson_val *b);
uint64_t rfi_json_hash(yyjson_val *v);
bool rfi_json_number(yyjson_val *v, double *out); /* false: not a number */
bool rfi_json_is_integer(yyjson_val *v);
/* <0, 0, >0; exact for integers. */
int rfi_json_compare_numbers(yyjson_val *a, yyjson_val *b);
bool rfi_json_multiple_of(yyjson_val *v, yyjson_val *of);

/* validator_load.c. Adds a document and everything in it that has a name. */
RF_CHECKED rf_status rfi_validator_load(rf_validator *v, rf_str uri, rf_str text,
                                        rfi_resource **out, rf_err *err);
/* What `reference` means inside `resource`: the schema, its resource, and, when it was named by a
 * dynamic anchor, that anchor. Loads other documents by lookup. */
RF_CHECKED rf_status rfi_validator_find(rf_validator *v, const rfi_resource *resource,
                                        rf_str reference, yyjson_val **schema,
                                        const rfi_resource **in, rfi_anchor **dynamic, rf_err *err);

/* validator_compile.c. The same schema gives the same node, also while it is being compiled. */
RF_CHECKED rf_status rfi_validator_compile(rf_validator *v, yyjson_val *schema,
                                           const rfi_resource *resource, rfi_node **out,
                                           rf_err *err);

#endif
