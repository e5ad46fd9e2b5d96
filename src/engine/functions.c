/*
 * What the engine says of its functions, asked once, and what it does not say: some it calls
 * consistent depend on the time, the session or the database, and a macro is not marked at all.
 */
#include "engine/engine_int.h"

#include <strings.h>

/* Marked CONSISTENT, but they are not, or they look into the engine. */
static const char *const impure[] = {
    "age", /* of one argument: against now */
    "alias",
    "combine",
    "constant_or_null",
    "create_sort_key",
    "current_localtime",
    "current_localtimestamp",
    "current_setting",
    "finalize",
    "getvariable",
    "icu_sort_key",
    "in_search_path",
    "json_deserialize_sql",
    "json_serialize_plan",
    "json_serialize_sql",
    "parse_duckdb_log_message",
    "version",
};

/* Macros whose bodies were read: nothing but their arguments goes in. */
static const char *const pure_macros[] = {
    "array_append",
    "array_prepend",
    "array_reverse",
    "array_to_string",
    "date_add",
    "days_in_month",
    "fdiv",
    "fmod",
    "list_append",
    "list_avg",
    "list_count",
    "list_max",
    "list_min",
    "list_prepend",
    "list_reverse",
    "list_sum",
    "map_contains_entry",
    "map_contains_value",
    "md5_number_lower",
    "md5_number_upper",
    "nullif",
    "round_even",
    "roundbankers",
    "split_part",
};

/* Flags as bits; several overloads of one name add up, but `pure` must hold for each. */
enum { AGGREGATE = 1, SCALAR = 2, TABLE = 4, MACRO = 8, IMPURE = 16 };

typedef struct name_flags {
    char *name;
    unsigned flags;
} name_flags;

struct rfi_functions {
    name_flags *items; /* sorted by name, lower case */
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const name_flags *)a)->name, ((const name_flags *)b)->name);
}

static bool in_list(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, list[i]) == 0)
            return true;
    }
    return false;
}

static unsigned flags_of(const char *name, rf_str kind, rf_str stability)
{
    if (rf_str_eq(kind, RF_STR("aggregate")))
        return AGGREGATE;
    if (rf_str_eq(kind, RF_STR("table")) || rf_str_eq(kind, RF_STR("table_macro")))
        return TABLE | IMPURE;
    if (rf_str_eq(kind, RF_STR("macro")))
        return MACRO | (in_list(name, pure_macros, RF_ARRAY_LEN(pure_macros)) ? 0 : IMPURE);
    if (rf_str_eq(kind, RF_STR("scalar")))
        return SCALAR | (rf_str_eq(stability, RF_STR("CONSISTENT")) &&
                                 !in_list(name, impure, RF_ARRAY_LEN(impure)) &&
                                 strncmp(name, "__internal", 10) != 0
                             ? 0
                             : IMPURE);
    return IMPURE;
}

void rfi_functions_free(rfi_functions **functions)
{
    rfi_functions *f = *functions;

    if (f == NULL)
        return;
    for (size_t i = 0; i < f->count; i++)
        free(f->items[i].name);
    free(f->items);
    free(f);
    *functions = NULL;
}

static rfi_functions *functions_load(rf_conn *conn)
{
    rfi_functions *f = rf_xcalloc(1, sizeof(*f));
    rf_rows *rows = NULL;
    rf_err err = {0};
    size_t cap = 0;
    rf_status st;

    st = rf_conn_query(conn,
                       "SELECT lower(function_name), function_type, coalesce(stability, '') "
                       "FROM duckdb_functions() GROUP BY ALL ORDER BY 1",
                       &rows, &err);
    RF_ASSERT(st == RF_OK); /* the engine's own catalog */
    while (rf_rows_next(rows, &err)) {
        char *name = rf_xstrndup(rf_rows_str(rows, 0));
        unsigned flags = flags_of(name, rf_rows_str(rows, 1), rf_rows_str(rows, 2));

        if (f->count > 0 && strcmp(f->items[f->count - 1].name, name) == 0) {
            f->items[f->count - 1].flags |= flags;
            free(name);
            continue;
        }
        if (f->count == cap) {
            cap = cap > 0 ? cap * 2 : 1024;
            f->items = rf_xrealloc(f->items, cap * sizeof(*f->items));
        }
        f->items[f->count++] = (name_flags){.name = name, .flags = flags};
    }
    rf_rows_free(&rows);
    return f;
}

rf_sql_function rf_engine_function(rf_engine *engine, rf_str name)
{
    char lower[128];
    name_flags key = {.name = lower};
    const name_flags *found;

    if (name.n == 0 || name.n >= sizeof(lower))
        return (rf_sql_function){0};
    for (size_t i = 0; i < name.n; i++)
        lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    lower[name.n] = '\0';
    pthread_mutex_lock(&engine->system_lock);
    if (engine->functions == NULL)
        engine->functions = functions_load(engine->system);
    pthread_mutex_unlock(&engine->system_lock);
    found = bsearch(&key, engine->functions->items, engine->functions->count, sizeof(key), by_name);
    if (found == NULL)
        return (rf_sql_function){0};
    return (rf_sql_function){.exists = true,
                             .aggregate = found->flags & AGGREGATE,
                             .scalar = found->flags & SCALAR,
                             .table = found->flags & TABLE,
                             .macro = found->flags & MACRO,
                             .pure = !(found->flags & IMPURE)};
}
