/* The engine's statement trees (json_serialize_sql) as mutable JSON. */
#ifndef RF_TREE_INT_H
#define RF_TREE_INT_H

#include "base/base.h"

#include <yyjson.h>

#define RFI_TREE_DEPTH_MAX 1500

const char *rfi_tree_text(yyjson_mut_val *node, const char *key); /* "" when there is none */
bool rfi_tree_is(yyjson_mut_val *node, const char *key, const char *text);
/* Not null and there. */
bool rfi_tree_has(yyjson_mut_val *node, const char *key);
/* Sets or replaces a member. */
void rfi_tree_set(yyjson_mut_doc *doc, yyjson_mut_val *node, const char *key,
                  yyjson_mut_val *value);
/* Same expression: alias and place in the text do not count. */
bool rfi_tree_equal(yyjson_mut_val *a, yyjson_mut_val *b);

/* Calls each(arg, node) for every expression node (with a class) below and at `node`, parents
 * first, until it returns false: *done is false then. each() may not change the tree. */
bool rfi_tree_walk(yyjson_mut_val *node, bool (*each)(void *arg, yyjson_mut_val *node), void *arg);
/* The same, but replace(arg, node) may return another node to put in its place; what it returns is
 * not entered, and NULL means: enter. */
yyjson_mut_val *rfi_tree_map(yyjson_mut_doc *doc, yyjson_mut_val *node,
                             yyjson_mut_val *(*replace)(void *arg, yyjson_mut_val *node),
                             void *arg);

yyjson_mut_val *rfi_tree_column(yyjson_mut_doc *doc, const char *name);
yyjson_mut_val *rfi_tree_integer(yyjson_mut_doc *doc, int64_t v);
yyjson_mut_val *rfi_tree_cast(yyjson_mut_doc *doc, yyjson_mut_val *child, const char *type_id);
yyjson_mut_val *rfi_tree_greater(yyjson_mut_doc *doc, yyjson_mut_val *left, yyjson_mut_val *right);
/* A call without arguments; the caller sets "children" and "filter". */
yyjson_mut_val *rfi_tree_call(yyjson_mut_doc *doc, const char *name);

#endif
