/* What the names in a statement mean, and whether a person may use them. */
#include "query/walk_int.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PARAMS_MAX 10000

static bool names_equal(rf_str a, rf_str b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

bool rfi_names_have(const rfi_names *names, rf_str name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (names_equal(names->items[i], name))
            return true;
    }
    return false;
}

void rfi_names_add(rfi_names *names, rf_str name)
{
    if (names->count == names->cap) {
        names->cap = names->cap > 0 ? names->cap * 2 : 16;
        names->items = rf_xrealloc(names->items, names->cap * sizeof(*names->items));
    }
    names->items[names->count++] = name;
}

/* Into the arena, which has no realloc: the old array stays until the plan goes. */
static void use_add(rfi_walker *w, rfi_names *names, rf_str name)
{
    if (rfi_names_have(names, name))
        return;
    if (names->count == names->cap) {
        size_t cap = names->cap > 0 ? names->cap * 2 : 8;
        rf_str *items = rf_arena_alloc(w->arena, cap * sizeof(*items));

        RF_ASSERT(items != NULL);
        if (names->count > 0)
            memcpy(items, names->items, names->count * sizeof(*items));
        names->items = items;
        names->cap = cap;
    }
    names->items[names->count++] = rf_arena_dup(w->arena, name);
}

static bool is_text(yyjson_val *node, const char *key)
{
    return rfi_member(node, key).n > 0;
}

/* ---- relations ------------------------------------------------------------------------------- */

static bool ends_with(rf_str name, const char *ending)
{
    size_t n = strlen(ending);

    return name.n > n && strncasecmp(name.p + name.n - n, ending, n) == 0;
}

/* The engine reads a table's name as a path when there is no such table. */
bool rfi_looks_like_file(rf_str name)
{
    static const char *const endings[] = {".csv",    ".tsv",     ".txt",    ".json", ".jsonl",
                                          ".ndjson", ".parquet", ".gz",     ".zst",  ".db",
                                          ".duckdb", ".xlsx",    ".sqlite", ".arrow"};

    if (memchr(name.p, '/', name.n) != NULL || memchr(name.p, '\\', name.n) != NULL ||
        memchr(name.p, '*', name.n) != NULL)
        return true;
    for (size_t i = 0; i < RF_ARRAY_LEN(endings); i++) {
        if (ends_with(name, endings[i]))
            return true;
    }
    return false;
}

static bool looks_like_catalog(rf_str name)
{
    static const char *const beginnings[] = {"sqlite_", "duckdb_", "pg_", "pragma_",
                                             "information_schema"};

    for (size_t i = 0; i < RF_ARRAY_LEN(beginnings); i++) {
        size_t n = strlen(beginnings[i]);

        if (name.n >= n && strncasecmp(name.p, beginnings[i], n) == 0)
            return true;
    }
    return false;
}

static rf_status qualified(rfi_walker *w, yyjson_val *node)
{
    static const char *const ours[] = {
        "main",   "information_schema", "pg_catalog", "temp", "system", "rf", "refold",
        "memory", "recurring"};
    rf_str catalog = rfi_member(node, "catalog_name"), schema = rfi_member(node, "schema_name");
    rf_str name = rfi_member(node, "table_name");

    for (size_t i = 0; i < RF_ARRAY_LEN(ours); i++) {
        if (names_equal(schema, rf_str_from(ours[i])) || names_equal(catalog, rf_str_from(ours[i])))
            return rfi_refuse(w, node, "relation",
                              "schema %.*s is not readable: queries read projections and event "
                              "types, by their bare names",
                              RF_STR_ARG(schema));
    }
    rfi_place(w, node);
    return rf_err_set(
        w->err, RF_EINVAL,
        "Catalog Error: there is no schema \"%.*s\"; if an event type is meant, write "
        "it in double quotes: \"%.*s%s%.*s.%.*s\"",
        RF_STR_ARG(schema), RF_STR_ARG(catalog), catalog.n > 0 ? "." : "", RF_STR_ARG(schema),
        RF_STR_ARG(name));
}

static rf_status relation_missing(rfi_walker *w, yyjson_val *node, rf_str name)
{
    const rfi_catalog *catalog = w->options->catalog;
    rf_buf near;

    if (rfi_looks_like_file(name))
        return rfi_refuse(w, node, "relation",
                          "\"%.*s\" looks like a file, and files are not readable: queries read "
                          "projections and event types",
                          (int)RF_MIN(name.n, (size_t)100), name.p);
    if (looks_like_catalog(name))
        return rfi_refuse(w, node, "relation",
                          "the engine's catalog (%.*s) is not readable: GET /v1/projections and "
                          "GET /v1/schemas list what there is",
                          (int)RF_MIN(name.n, (size_t)100), name.p);
    rf_buf_init(&near, 4096);
    if (catalog->nearest != NULL)
        catalog->nearest(catalog->arg, name, &near);
    rfi_place(w, node);
    rf_err_set(w->err, RF_EINVAL,
               "Catalog Error: there is no projection or event type called \"%.*s\"%s%.*s",
               (int)RF_MIN(name.n, (size_t)100), name.p, near.n > 0 ? "; near it: " : "",
               (int)near.n, near.p);
    rf_buf_clear(&near);
    return RF_EINVAL;
}

rf_status rfi_check_table(rfi_walker *w, yyjson_val *node)
{
    const rfi_catalog *catalog = w->options->catalog;
    rf_str name = rfi_member(node, "table_name");

    if (!yyjson_is_null(yyjson_obj_get(node, "at_clause")))
        return rfi_refuse(w, node, "clause", "AT is not possible here: filter events by time");
    if (is_text(node, "schema_name") || is_text(node, "catalog_name"))
        return qualified(w, node);
    if (rfi_names_have(&w->ctes, name))
        return RF_OK;
    switch (catalog->find(catalog->arg, name)) {
    case RFI_REL_PROJECTION:
        use_add(w, &w->uses->projections, name);
        return RF_OK;
    case RFI_REL_TYPE:
        if (w->options->scope != NULL) /* it was to be replaced */
            return rfi_refuse(w, node, "relation",
                              "event type \"%.*s\" is not readable in this place",
                              (int)RF_MIN(name.n, (size_t)100), name.p);
        use_add(w, &w->uses->types, names_equal(name, RF_STR("events")) ? RF_STR("") : name);
        return RF_OK;
    case RFI_REL_NONE:
        break;
    }
    return relation_missing(w, node, name);
}

/* The recursive part sees the name; the first part sees what lies outside. */
rf_status rfi_check_recursion(rfi_walker *w, yyjson_val *node)
{
    rf_status st;

    if (yyjson_arr_size(yyjson_obj_get(node, "key_targets")) > 0)
        return rfi_refuse(w, node, "clause", "USING KEY is not possible here");
    st = rfi_value_walk(w, yyjson_obj_get(node, "left"), "left");
    rfi_names_add(&w->ctes, rfi_member(node, "cte_name"));
    if (st == RF_OK)
        st = rfi_value_walk(w, yyjson_obj_get(node, "right"), "right");
    if (st == RF_OK)
        st = rfi_value_walk(w, yyjson_obj_get(node, "modifiers"), "modifiers");
    w->done = true;
    return st;
}

rf_status rfi_check_values(rfi_walker *w, yyjson_val *node)
{
    if (yyjson_arr_size(yyjson_obj_get(node, "expected_types")) > 0)
        return rfi_refuse(w, node, "clause", "VALUES of this form is not known to refold");
    return RF_OK;
}

/* DESCRIBE and SUMMARIZE of a query are queries; SHOW lists the engine's catalog. */
rf_status rfi_check_show(rfi_walker *w, yyjson_val *node)
{
    rf_str type = rfi_member(node, "show_type");

    if (!yyjson_is_obj(yyjson_obj_get(node, "query")) || is_text(node, "table_name") ||
        !rfi_word_in("DESCRIBE SUMMARY", type))
        return rfi_refuse(w, node, "statement",
                          "SHOW is not possible here: GET /v1/projections and GET /v1/schemas list "
                          "what there is; DESCRIBE \"name\" shows a relation's columns");
    return RF_OK;
}

/* ---- functions ------------------------------------------------------------------------------- */

static rf_status function_forbidden(rfi_walker *w, yyjson_val *node, rf_str name,
                                    rfi_function_use use)
{
    int n = (int)RF_MIN(name.n, (size_t)60);
    rf_buf near;

    if (use == RFI_FN_TABLE)
        return rfi_refuse(w, node, "table function",
                          "table function %.*s is not allowed in queries: allowed are range, "
                          "generate_series, unnest, repeat, json_each and json_tree",
                          n, name.p);
    if (w->options->engine == NULL || rf_engine_function(w->options->engine, name).exists)
        return rfi_refuse(w, node, "function",
                          "function %.*s is not allowed in queries: allowed are functions that "
                          "look at nothing but their arguments and the time",
                          n, name.p);
    rf_buf_init(&near, 4096);
    rfi_functions_nearest(name, &near);
    rfi_place(w, node);
    rf_err_set(w->err, RF_EINVAL, "Catalog Error: there is no function called %.*s%s%.*s", n,
               name.p, near.n > 0 ? "; near it: " : "", (int)near.n, near.p);
    rf_buf_clear(&near);
    return RF_EINVAL;
}

static rf_status function_name_check(rfi_walker *w, yyjson_val *node, rfi_function_use use)
{
    rf_str schema = rfi_member(node, "schema"), name = rfi_member(node, "function_name");

    if (is_text(node, "catalog") || (schema.n > 0 && !names_equal(schema, RF_STR("main"))))
        return rfi_refuse(
            w, node, "function",
            "%.*s.%.*s: a function is called without a schema, and not as a method of "
            "a column: %.*s(...)",
            (int)RF_MIN(schema.n, (size_t)60), schema.p, (int)RF_MIN(name.n, (size_t)60), name.p,
            (int)RF_MIN(name.n, (size_t)60), name.p);
    return rfi_function_allowed(name, use) ? RF_OK : function_forbidden(w, node, name, use);
}

/* The constant in this place, or NULL. */
static yyjson_val *literal(yyjson_val *node, size_t child)
{
    yyjson_val *item = yyjson_arr_get(yyjson_obj_get(node, "children"), child);

    if (!rf_str_eq(rfi_member(item, "class"), RF_STR("CONSTANT")))
        return NULL;
    return yyjson_obj_get(yyjson_obj_get(item, "value"), "value");
}

/* A format can ask for a billion blanks; widths have at most four digits. */
static bool format_fits(yyjson_val *text)
{
    const char *p = yyjson_get_str(text);
    size_t digits = 0, braces = 0;

    for (; p != NULL && *p != '\0'; p++) {
        digits = *p >= '0' && *p <= '9' ? digits + 1 : 0;
        braces = *p == '{' ? braces + 1 : *p == '}' ? 0 : braces;
        if (digits > 4 || braces > 1 || *p == '*')
            return false;
    }
    return p != NULL;
}

/* The engine's reader of structures is recursive. */
static bool structure_fits(yyjson_val *text)
{
    const char *p = yyjson_get_str(text);
    size_t depth = 0;

    for (; p != NULL && *p != '\0'; p++) {
        if (*p == '[' || *p == '{')
            depth++;
        if (depth > 64)
            return false;
    }
    return p != NULL;
}

/* Constants that make one call run for minutes or end the process, where they can be seen. */
static rf_status arguments_check(rfi_walker *w, yyjson_val *node, rf_str name)
{
    static const struct {
        const char *names;
        size_t child;
    } counts[] = {{"repeat lpad rpad bitstring list_resize array_resize", 1}};
    char lower[64];
    rf_str word = {lower, RF_MIN(name.n, sizeof(lower))};

    for (size_t i = 0; i < word.n; i++)
        lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    for (size_t i = 0; i < RF_ARRAY_LEN(counts); i++) {
        yyjson_val *count = literal(node, counts[i].child);

        if (rfi_word_in(counts[i].names, word) && yyjson_is_num(count) &&
            yyjson_get_num(count) > 1e6)
            return rfi_refuse(w, node, "function", "%.*s over 1,000,000 is not allowed in queries",
                              RF_STR_ARG(word));
    }
    if (rfi_word_in("list_aggr list_aggregate array_aggr array_aggregate aggregate", word)) {
        yyjson_val *called = literal(node, 1);
        rf_str inner = {yyjson_get_str(called), yyjson_get_len(called)};

        if (!yyjson_is_str(called))
            return rfi_refuse(w, node, "function",
                              "%.*s needs the name of its aggregate as a constant",
                              RF_STR_ARG(word));
        if (!rfi_function_allowed(inner, RFI_FN_VALUE))
            return function_forbidden(w, node, inner, RFI_FN_VALUE);
    }
    if (rfi_word_in("format printf", word) && !format_fits(literal(node, 0)))
        return rfi_refuse(w, node, "function",
                          "%.*s needs a constant format with widths below 10,000",
                          RF_STR_ARG(word));
    if (rfi_word_in("from_json from_json_strict json_transform json_transform_strict", word) &&
        !structure_fits(literal(node, 1)))
        return rfi_refuse(w, node, "function",
                          "%.*s needs a constant structure with at most 64 brackets",
                          RF_STR_ARG(word));
    return RF_OK;
}

rf_status rfi_check_function(rfi_walker *w, yyjson_val *node)
{
    rf_status st = function_name_check(w, node, RFI_FN_VALUE);

    if (st != RF_OK)
        return st;
    if (yyjson_get_bool(yyjson_obj_get(node, "export_state")))
        return rfi_refuse(w, node, "clause", "EXPORT_STATE is not possible here");
    return arguments_check(w, node, rfi_member(node, "function_name"));
}

rf_status rfi_check_window(rfi_walker *w, yyjson_val *node)
{
    static const char windows[] =
        "row_number rank dense_rank rank_dense percent_rank cume_dist ntile "
        "lag lead first_value last_value nth_value fill";

    if (!rf_str_eq(rfi_member(node, "type"), RF_STR("WINDOW_AGGREGATE")) &&
        rfi_word_in(windows, rfi_member(node, "function_name")) && !is_text(node, "schema") &&
        !is_text(node, "catalog"))
        return RF_OK;
    return function_name_check(w, node, RFI_FN_VALUE);
}

/* Is it rf_events('type', 'our scope', ...)? Only our own rewriting writes that. */
static bool is_events_call(const rfi_walker *w, yyjson_val *call)
{
    yyjson_val *type = literal(call, 0), *scope = literal(call, 1);

    return w->options->scope != NULL &&
           rf_str_eq(rfi_member(call, "function_name"), RF_STR("rf_events")) &&
           rfi_member(call, "schema").n == 0 && rfi_member(call, "catalog").n == 0 &&
           yyjson_is_str(type) && yyjson_is_str(scope) &&
           strcmp(yyjson_get_str(scope), w->options->scope) == 0;
}

/* The call is a FUNCTION like others, but its name is a table function's. */
rf_status rfi_check_table_function(rfi_walker *w, yyjson_val *node)
{
    yyjson_val *call = yyjson_obj_get(node, "function");
    rf_status st = RF_OK;

    if (!rf_str_eq(rfi_member(call, "class"), RF_STR("FUNCTION")))
        return rfi_refuse(w, node, "table function", "a call of this form is not known to refold");
    if (!is_events_call(w, call))
        st = function_name_check(w, call, RFI_FN_TABLE);
    if (st == RF_OK)
        st = rfi_members_walk(w, call, "a table function",
                              "class type alias query_location function_name schema catalog",
                              "children filter order_bys distinct is_operator export_state");
    w->done = true;
    return st;
}

/* ---- columns, types, parameters -------------------------------------------------------------- */

/* A bare name that is no column may be one of SQL's functions without brackets. */
rf_status rfi_check_column(rfi_walker *w, yyjson_val *node)
{
    static const char *const session[] = {"current_user",   "session_user",    "current_role",
                                          "current_schema", "current_catalog", "current_database"};
    yyjson_val *path = yyjson_obj_get(node, "column_names"), *first = yyjson_arr_get(path, 0);
    rf_str name = {yyjson_get_str(first), yyjson_get_len(first)};

    for (size_t i = 0; i < RF_ARRAY_LEN(session) && yyjson_arr_size(path) == 1; i++) {
        if (names_equal(name, rf_str_from(session[i])))
            return rfi_refuse(w, node, "function",
                              "%s is not allowed in queries; for a column of that name write "
                              "relation.\"%s\"",
                              session[i], session[i]);
    }
    return RF_OK;
}

static rf_status type_check(rfi_walker *w, yyjson_val *node, yyjson_val *type, size_t depth)
{
    static const char ids[] =
        "BOOLEAN TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT "
        "UINTEGER UBIGINT UHUGEINT BIGNUM FLOAT DOUBLE DECIMAL VARCHAR BLOB BIT "
        "UUID DATE TIME TIMESTAMP TIMESTAMP_S TIMESTAMP_MS TIMESTAMP_NS TIME_NS "
        "INTERVAL LIST ARRAY STRUCT MAP UNION ENUM NULL";
    rf_str id = rfi_member(type, "id");
    yyjson_val *info = yyjson_obj_get(type, "type_info"), *item;
    rf_str name = rfi_member(info, "name"), alias = rfi_member(info, "alias");
    yyjson_arr_iter items;
    rf_status st = RF_OK;

    if (depth > 64)
        return rf_err_set(w->err, RF_ETOOBIG, "the type of a CAST is nested too deeply");
    if (rf_str_eq(id, RF_STR("UNBOUND"))) {
        if (is_text(info, "schema") || is_text(info, "catalog") ||
            !(names_equal(name, RF_STR("json")) || names_equal(name, RF_STR("enum")))) {
            rfi_place(w, node);
            return rf_err_set(w->err, RF_EINVAL, "Catalog Error: there is no type called \"%.*s\"",
                              (int)RF_MIN(name.n, (size_t)60), name.p);
        }
        return RF_OK;
    }
    if ((!rfi_word_in(ids, id) && !rf_str_eq(id, RF_STR("TIMESTAMP WITH TIME ZONE")) &&
         !rf_str_eq(id, RF_STR("TIME WITH TIME ZONE"))) ||
        alias.n > 0)
        return rfi_refuse(w, node, "type", "a CAST to %.*s is not allowed in queries",
                          (int)RF_MIN(alias.n > 0 ? alias.n : id.n, (size_t)60),
                          alias.n > 0 ? alias.p : id.p);
    if (yyjson_obj_get(info, "child_type") != NULL)
        st = type_check(w, node, yyjson_obj_get(info, "child_type"), depth + 1);
    yyjson_arr_iter_init(yyjson_obj_get(info, "child_types"), &items);
    while (st == RF_OK && (item = yyjson_arr_iter_next(&items)) != NULL)
        st = type_check(w, node, yyjson_obj_get(item, "second"), depth + 1);
    return st;
}

rf_status rfi_check_cast(rfi_walker *w, yyjson_val *node)
{
    return type_check(w, node, yyjson_obj_get(node, "cast_type"), 0);
}

rf_status rfi_check_parameter(rfi_walker *w, yyjson_val *node)
{
    rf_str name = rfi_member(node, "identifier");
    uint64_t number;

    rfi_place(w, node);
    if (!rf_str_to_u64(name, &number))
        return rf_err_set(w->err, RF_EINVAL,
                          "parameter $%.*s has a name: parameters come in order, as ? or $1, $2",
                          (int)RF_MIN(name.n, (size_t)60), name.p);
    if (number == 0 || number > PARAMS_MAX)
        return rf_err_set(w->err, RF_EINVAL, "parameters are numbered from 1 to %d", PARAMS_MAX);
    *w->where = (rf_sql_where){0};
    w->uses->params = (uint32_t)RF_MAX(w->uses->params, number);
    return RF_OK;
}
