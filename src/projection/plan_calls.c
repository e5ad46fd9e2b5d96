/*
 * Lifting: an expression of the result becomes one over the keys (k1..) and the finished aggregates
 * (a1..), which is what the view has before it. Aggregates that stand there several times are kept
 * once.
 */
#include "projection/plan_int.h"

static yyjson_mut_val *numbered(rfi_planning *p, char letter, size_t index)
{
    char name[32];

    snprintf(name, sizeof(name), "%c%zu", letter, index + 1);
    return rfi_tree_column(p->doc, name);
}

static size_t call_of(rfi_planning *p, yyjson_mut_val *node)
{
    for (size_t i = 0; i < p->call_count; i++) {
        if (rfi_tree_equal(p->calls[i].node, node))
            return i;
    }
    p->calls = rf_xrealloc(p->calls, (p->call_count + 1) * sizeof(*p->calls));
    p->calls[p->call_count] = (rfi_call){.node = node};
    return p->call_count++;
}

static yyjson_mut_val *lift(void *arg, yyjson_mut_val *node)
{
    rfi_planning *p = arg;
    yyjson_mut_val *path;

    if (rfi_tree_is(node, "class", "CONSTANT"))
        return NULL;
    for (size_t i = 0; i < p->key_count; i++) {
        if (rfi_tree_equal(p->keys[i], node))
            return numbered(p, 'k', i);
    }
    if (rfi_plan_is_aggregate(p, node))
        return numbered(p, 'a', call_of(p, node));
    if (rfi_tree_is(node, "class", "COLUMN_REF")) {
        path = yyjson_mut_obj_get(node, "column_names");
        rfi_plan_refuse(p, RF_EUNSUPPORTED, node,
                        "%s is neither grouped by nor inside an aggregate in the form it has here: "
                        "GROUP BY the same expression",
                        yyjson_mut_get_str(yyjson_mut_arr_get_last(path)));
    }
    return NULL;
}

yyjson_mut_val *rfi_plan_lift(rfi_planning *p, yyjson_mut_val *node)
{
    return rfi_tree_map(p->doc, node, lift, p);
}
