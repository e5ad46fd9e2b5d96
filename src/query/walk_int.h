/* What walk.c and walk_names.c share. */
#ifndef RF_QUERY_WALK_INT_H
#define RF_QUERY_WALK_INT_H

#include "query/query_int.h"

#include <yyjson.h>

typedef struct rfi_walker {
    const rfi_walk_options *options;
    rf_arena *arena; /* of the names in `uses` */
    rfi_uses *uses;
    rfi_names ctes; /* in sight, the latest last; borrowed from the tree, on the heap */
    size_t depth;
    bool done; /* a check has walked its node's members itself */
    const char **refused;
    rf_sql_where *where;
    rf_err *err;
} rfi_walker;

rf_str rfi_member(yyjson_val *node, const char *key); /* empty when it is no string */
void rfi_place(rfi_walker *w, yyjson_val *node);
rf_status rfi_refuse(rfi_walker *w, yyjson_val *node, const char *what, const char *fmt, ...)
    RF_PRINTF(4, 5);
rf_status rfi_value_walk(rfi_walker *w, yyjson_val *value, const char *held_by);
/* Every member must be in one of the two lists; then they are walked. */
rf_status rfi_members_walk(rfi_walker *w, yyjson_val *node, const char *what, const char *common,
                           const char *members);
void rfi_names_add(rfi_names *names, rf_str name); /* on the heap */

/* Of expressions. */
rf_status rfi_check_cast(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_column(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_function(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_parameter(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_window(rfi_walker *w, yyjson_val *node);
/* Of shapes. */
rf_status rfi_check_recursion(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_table(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_values(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_show(rfi_walker *w, yyjson_val *node);
rf_status rfi_check_table_function(rfi_walker *w, yyjson_val *node);

#endif
