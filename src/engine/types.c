/* The engine's types as trees of our own: asked for once a result, not once a value. */
#include "engine/engine_int.h"

static void child_add(rfi_type *t, size_t at, duckdb_logical_type child)
{
    rfi_type_init(&t->children[at], child);
    rfi_db.destroy_logical_type(&child);
}

static void name_add(rfi_type *t, char *name)
{
    t->names[t->name_count++] = rf_xstrdup(name);
    rfi_db.free(name);
}

static void children_alloc(rfi_type *t, size_t count, bool named)
{
    t->child_count = count;
    t->children = rf_xcalloc(RF_MAX(count, 1), sizeof(*t->children));
    if (named)
        t->names = rf_xcalloc(RF_MAX(count, 1), sizeof(*t->names));
}

static void varchar_init(rfi_type *t, duckdb_logical_type type)
{
    char *alias = rfi_db.logical_type_get_alias(type);

    if (alias == NULL)
        return;
    t->json = strcmp(alias, "JSON") == 0;
    rfi_db.free(alias);
}

static void enum_init(rfi_type *t, duckdb_logical_type type)
{
    size_t count = rfi_db.enum_dictionary_size(type);

    t->internal = rfi_db.enum_internal_type(type);
    t->names = rf_xcalloc(RF_MAX(count, 1), sizeof(*t->names));
    for (size_t i = 0; i < count; i++)
        name_add(t, rfi_db.enum_dictionary_value(type, i));
}

void rfi_type_init(rfi_type *t, duckdb_logical_type type)
{
    size_t count;

    *t = (rfi_type){.id = rfi_db.get_type_id(type)};
    switch (t->id) {
    case DUCKDB_TYPE_VARCHAR:
        varchar_init(t, type);
        break;
    case DUCKDB_TYPE_DECIMAL:
        t->width = rfi_db.decimal_width(type);
        t->scale = rfi_db.decimal_scale(type);
        t->internal = rfi_db.decimal_internal_type(type);
        break;
    case DUCKDB_TYPE_ENUM:
        enum_init(t, type);
        break;
    case DUCKDB_TYPE_LIST:
        children_alloc(t, 1, false);
        child_add(t, 0, rfi_db.list_type_child_type(type));
        break;
    case DUCKDB_TYPE_ARRAY:
        t->array_size = rfi_db.array_type_array_size(type);
        children_alloc(t, 1, false);
        child_add(t, 0, rfi_db.array_type_child_type(type));
        break;
    case DUCKDB_TYPE_MAP:
        children_alloc(t, 2, false);
        child_add(t, 0, rfi_db.map_type_key_type(type));
        child_add(t, 1, rfi_db.map_type_value_type(type));
        break;
    case DUCKDB_TYPE_STRUCT:
        count = rfi_db.struct_type_child_count(type);
        children_alloc(t, count, true);
        for (size_t i = 0; i < count; i++) {
            name_add(t, rfi_db.struct_type_child_name(type, i));
            child_add(t, i, rfi_db.struct_type_child_type(type, i));
        }
        break;
    case DUCKDB_TYPE_UNION:
        count = rfi_db.union_type_member_count(type);
        children_alloc(t, count, true);
        for (size_t i = 0; i < count; i++) {
            name_add(t, rfi_db.union_type_member_name(type, i));
            child_add(t, i, rfi_db.union_type_member_type(type, i));
        }
        break;
    default:
        break;
    }
}

void rfi_type_clear(rfi_type *t)
{
    for (size_t i = 0; i < t->child_count; i++)
        rfi_type_clear(&t->children[i]);
    for (size_t i = 0; i < t->name_count; i++)
        free(t->names[i]);
    free(t->children);
    free(t->names);
    *t = (rfi_type){0};
}

static const char *plain_name(duckdb_type id)
{
    switch ((int)id) {
    case DUCKDB_TYPE_BOOLEAN:
        return "BOOLEAN";
    case DUCKDB_TYPE_TINYINT:
        return "TINYINT";
    case DUCKDB_TYPE_SMALLINT:
        return "SMALLINT";
    case DUCKDB_TYPE_INTEGER:
        return "INTEGER";
    case DUCKDB_TYPE_BIGINT:
        return "BIGINT";
    case DUCKDB_TYPE_UTINYINT:
        return "UTINYINT";
    case DUCKDB_TYPE_USMALLINT:
        return "USMALLINT";
    case DUCKDB_TYPE_UINTEGER:
        return "UINTEGER";
    case DUCKDB_TYPE_UBIGINT:
        return "UBIGINT";
    case DUCKDB_TYPE_HUGEINT:
        return "HUGEINT";
    case DUCKDB_TYPE_UHUGEINT:
        return "UHUGEINT";
    case DUCKDB_TYPE_FLOAT:
        return "FLOAT";
    case DUCKDB_TYPE_DOUBLE:
        return "DOUBLE";
    case DUCKDB_TYPE_TIMESTAMP:
        return "TIMESTAMP";
    case DUCKDB_TYPE_TIMESTAMP_S:
        return "TIMESTAMP_S";
    case DUCKDB_TYPE_TIMESTAMP_MS:
        return "TIMESTAMP_MS";
    case DUCKDB_TYPE_TIMESTAMP_NS:
        return "TIMESTAMP_NS";
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        return "TIMESTAMP WITH TIME ZONE";
    case DUCKDB_TYPE_DATE:
        return "DATE";
    case DUCKDB_TYPE_TIME:
        return "TIME";
    case DUCKDB_TYPE_TIME_NS:
        return "TIME_NS";
    case DUCKDB_TYPE_TIME_TZ:
        return "TIME WITH TIME ZONE";
    case DUCKDB_TYPE_INTERVAL:
        return "INTERVAL";
    case DUCKDB_TYPE_BLOB:
        return "BLOB";
    case DUCKDB_TYPE_UUID:
        return "UUID";
    case DUCKDB_TYPE_BIT:
        return "BIT";
    case DUCKDB_TYPE_BIGNUM:
        return "BIGNUM";
    case DUCKDB_TYPE_SQLNULL:
        return "\"NULL\"";
    default:
        return "UNKNOWN";
    }
}

static void sql_name_add(rf_buf *out, const char *name)
{
    rf_buf_add_char(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            rf_buf_add_char(out, '"');
        rf_buf_add_char(out, *name);
    }
    rf_buf_add_char(out, '"');
}

static void members_text(const rfi_type *t, const char *keyword, rf_buf *out)
{
    rf_buf_addf(out, "%s(", keyword);
    for (size_t i = 0; i < t->child_count; i++) {
        if (i > 0)
            rf_buf_add_cstr(out, ", ");
        if (t->name_count > 0) {
            sql_name_add(out, t->names[i]);
            rf_buf_add_char(out, ' ');
        }
        rfi_type_text(&t->children[i], out);
    }
    rf_buf_add_char(out, ')');
}

static void enum_text(const rfi_type *t, rf_buf *out)
{
    rf_buf_add_cstr(out, "ENUM(");
    for (size_t i = 0; i < t->name_count; i++) {
        rf_buf_add_cstr(out, i > 0 ? ", '" : "'");
        for (const char *p = t->names[i]; *p != '\0'; p++) {
            if (*p == '\'')
                rf_buf_add_char(out, '\'');
            rf_buf_add_char(out, *p);
        }
        rf_buf_add_char(out, '\'');
    }
    rf_buf_add_char(out, ')');
}

void rfi_type_text(const rfi_type *t, rf_buf *out)
{
    switch (t->id) {
    case DUCKDB_TYPE_VARCHAR:
        rf_buf_add_cstr(out, t->json ? "JSON" : "VARCHAR");
        break;
    case DUCKDB_TYPE_DECIMAL:
        rf_buf_addf(out, "DECIMAL(%u,%u)", t->width, t->scale);
        break;
    case DUCKDB_TYPE_ENUM:
        enum_text(t, out);
        break;
    case DUCKDB_TYPE_LIST:
        rfi_type_text(&t->children[0], out);
        rf_buf_add_cstr(out, "[]");
        break;
    case DUCKDB_TYPE_ARRAY:
        rfi_type_text(&t->children[0], out);
        rf_buf_addf(out, "[%llu]", (unsigned long long)t->array_size);
        break;
    case DUCKDB_TYPE_MAP:
        members_text(t, "MAP", out);
        break;
    case DUCKDB_TYPE_STRUCT:
        members_text(t, "STRUCT", out);
        break;
    case DUCKDB_TYPE_UNION:
        members_text(t, "UNION", out);
        break;
    default:
        rf_buf_add_cstr(out, plain_name(t->id));
        break;
    }
}
