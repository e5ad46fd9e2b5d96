/*
 * The aggregates that can be kept, and how. For those that cannot, what to use instead.
 *
 * sum and the moments of doubles are kept exactly (rf_sum, rf_moments: see engine/), because the
 * last digits of a sum of doubles depend on the order of adding, and a rebuild adds in another
 * order.
 */
#include "projection/plan_int.h"

#include <strings.h>

#define SAMPLE "rf_var_samp(@1)"
#define POPULATION "rf_var_pop(@1)"
#define MOMENTS .partial = {"rf_moments"}, .cast = "DOUBLE", .merge = {"rf_moments_merge"}

static const rfi_aggregate_kind kinds[] = {
    {.name = "count_star", .merge = {"sum"}, .finish = "coalesce(@1, 0)::BIGINT"},
    {.name = "count", .merge = {"sum"}, .finish = "coalesce(@1, 0)::BIGINT"},
    {.name = "count_if", .merge = {"sum"}, .finish = "coalesce(@1, 0)"},
    {.name = "countif", .merge = {"sum"}, .finish = "coalesce(@1, 0)"},
    {.name = "sum", .merge = {"sum"}, .finish = "@1"},
    {.name = "sum",
     .partial = {"rf_sum"},
     .cast = "DOUBLE",
     .merge = {"rf_sum_merge"},
     .finish = "rf_sum_value(@1)",
     .on_double = true},
    {.name = "avg",
     .partial = {"sum", "count"},
     .merge = {"sum", "sum"},
     .finish = "@1::DOUBLE / @2"},
    {.name = "avg",
     .partial = {"rf_sum", "count"},
     .cast = "DOUBLE",
     .merge = {"rf_sum_merge", "sum"},
     .finish = "rf_sum_value(@1) / @2",
     .on_double = true},
    {.name = "mean",
     .partial = {"sum", "count"},
     .merge = {"sum", "sum"},
     .finish = "@1::DOUBLE / @2"},
    {.name = "mean",
     .partial = {"rf_sum", "count"},
     .cast = "DOUBLE",
     .merge = {"rf_sum_merge", "sum"},
     .finish = "rf_sum_value(@1) / @2",
     .on_double = true},
    {.name = "min", .merge = {"min"}, .finish = "@1", .distinct_is_same = true},
    {.name = "max", .merge = {"max"}, .finish = "@1", .distinct_is_same = true},
    {.name = "bool_and", .merge = {"bool_and"}, .finish = "@1", .distinct_is_same = true},
    {.name = "bool_or", .merge = {"bool_or"}, .finish = "@1", .distinct_is_same = true},
    {.name = "bit_and", .merge = {"bit_and"}, .finish = "@1", .distinct_is_same = true},
    {.name = "bit_or", .merge = {"bit_or"}, .finish = "@1", .distinct_is_same = true},
    {.name = "bit_xor", .merge = {"bit_xor"}, .finish = "@1"},
    {.name = "approx_count_distinct",
     .partial = {"rf_hll"},
     .cast = "VARCHAR",
     .merge = {"rf_hll_merge"},
     .finish = "coalesce(rf_hll_estimate(@1), 0)",
     .distinct_is_same = true},
    {.name = "stddev", MOMENTS, .finish = "sqrt(" SAMPLE ")"},
    {.name = "stddev_samp", MOMENTS, .finish = "sqrt(" SAMPLE ")"},
    {.name = "stddev_pop", MOMENTS, .finish = "sqrt(" POPULATION ")"},
    {.name = "variance", MOMENTS, .finish = SAMPLE},
    {.name = "var_samp", MOMENTS, .finish = SAMPLE},
    {.name = "var_pop", MOMENTS, .finish = POPULATION},
};

static const struct {
    const char *name, *instead;
} advices[] = {
    {"median", "avg, min and max, or a query over the events"},
    {"quantile", "avg, min and max, or a query over the events"},
    {"quantile_cont", "avg, min and max, or a query over the events"},
    {"quantile_disc", "avg, min and max, or a query over the events"},
    {"approx_quantile", "avg, min and max, or a query over the events"},
    {"mode", "GROUP BY the value with count(*)"},
    {"histogram", "GROUP BY the value with count(*)"},
    {"approx_top_k", "GROUP BY the value with count(*)"},
    {"list", "GROUP BY the value, or a query over the events"},
    {"array_agg", "GROUP BY the value, or a query over the events"},
    {"string_agg", "GROUP BY the value, or a query over the events"},
    {"group_concat", "GROUP BY the value, or a query over the events"},
    {"first", "min or max"},
    {"last", "min or max"},
    {"any_value", "min or max"},
    {"arbitrary", "min or max"},
    {"arg_max", "max, or a query over the events"},
    {"arg_min", "min, or a query over the events"},
    {"max_by", "max, or a query over the events"},
    {"min_by", "min, or a query over the events"},
    {"fsum", "sum, which is exact"},
    {"kahan_sum", "sum, which is exact"},
    {"sumkahan", "sum, which is exact"},
    {"favg", "avg, which is exact"},
};

/* Numbers that the engine adds up without rounding. */
static bool exact_number(const char *type)
{
    static const char *const types[] = {"TINYINT",  "SMALLINT",  "INTEGER",  "BIGINT",  "HUGEINT",
                                        "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "BOOLEAN"};

    for (size_t i = 0; i < RF_ARRAY_LEN(types); i++) {
        if (strcmp(type, types[i]) == 0)
            return true;
    }
    return strncmp(type, "DECIMAL", 7) == 0;
}

static bool rounded_number(const char *type)
{
    return strcmp(type, "DOUBLE") == 0 || strcmp(type, "FLOAT") == 0 ||
           strcmp(type, "UHUGEINT") == 0;
}

const rfi_aggregate_kind *rfi_aggregate_find(const char *name, const char *argument_type)
{
    bool by_type = strcasecmp(name, "sum") == 0 || strcasecmp(name, "avg") == 0 ||
                   strcasecmp(name, "mean") == 0;

    if (by_type && !exact_number(argument_type) && !rounded_number(argument_type))
        return NULL;
    for (size_t i = 0; i < RF_ARRAY_LEN(kinds); i++) {
        if (strcasecmp(kinds[i].name, name) == 0 &&
            (!by_type || kinds[i].on_double == rounded_number(argument_type)))
            return &kinds[i];
    }
    return NULL;
}

const char *rfi_aggregate_advice(const char *name)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(advices); i++) {
        if (strcasecmp(advices[i].name, name) == 0)
            return advices[i].instead;
    }
    return "count, sum, min, max, avg, stddev, variance, bool_and, bool_or, bit_and, bit_or, "
           "bit_xor "
           "or approx_count_distinct";
}
