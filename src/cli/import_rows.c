/*
 * Rows to events. The engine reads the file and computes the mapping's expressions; this writes
 * each row as one line of NDJSON. The engine runs in this process, never in the server's.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/file_int.h"
#include "cli/import_int.h"

#define SQL_MAX (1u << 20)

struct rfi_import_rows {
    const rfi_import_map *map;
    rf_engine *engine;
    rf_conn *conn;
    rf_stmt *stmt;
    rf_rows *rows;
    uint64_t total;
    /* The line's fixed text: `{"specversion":"1.0","type":"…","source":"…"`. */
    rf_buf head;
    /* Columns of the result: first the attributes that are SQL, in this order, then data. */
    const char *attribute[8];
    size_t attribute_count;
    size_t column_count;
    rf_str *keys; /* what is written before each column's value: `,"id":`, `,"data":{"n":` */
};

static void add_attribute(rfi_import_rows *r, const char *name, const rfi_value *v, rf_buf *sql)
{
    if (v->text != NULL) {
        rf_buf_addf(&r->head, ",\"%s\":", name);
        rf_buf_add_json_str(&r->head, rf_str_from(v->text));
    } else if (v->sql != NULL) {
        bool text = strcmp(name, "time") != 0; /* a time column becomes RFC 3339 by itself */

        rf_buf_addf(sql, text ? "%sCAST((%s) AS VARCHAR) AS a%zu" : "%s(%s) AS a%zu",
                    r->attribute_count > 0 ? ", " : "", v->sql, r->attribute_count);
        r->attribute[r->attribute_count++] = name;
    }
}

static rf_status build_sql(rfi_import_rows *r, const char *file, uint64_t skip, uint64_t limit,
                           rf_buf *sql, rf_err *err)
{
    const rfi_import_map *m = r->map;

    rf_buf_add_cstr(&r->head, "{\"specversion\":\"1.0\"");
    rf_buf_add_cstr(sql, "SELECT ");
    add_attribute(r, "type", &m->type, sql);
    add_attribute(r, "source", &m->source, sql);
    add_attribute(r, "id", &m->id, sql);
    add_attribute(r, "subject", &m->subject, sql);
    add_attribute(r, "time", &m->time, sql);
    add_attribute(r, "correlationid", &m->correlationid, sql);
    add_attribute(r, "causationid", &m->causationid, sql);
    for (size_t i = 0; i < m->field_count; i++)
        rf_buf_addf(sql, "%s(%s)", i + r->attribute_count > 0 ? ", " : "", m->fields[i].sql);
    if (m->field_count == 0)
        rf_buf_addf(sql, "%s* EXCLUDE (\"row\")", r->attribute_count > 0 ? ", " : "");
    rf_buf_add_cstr(sql, " FROM (SELECT *, row_number() OVER () AS \"row\" FROM ");
    rf_status st = rfi_file_reader(file, m->options, sql, err);

    rf_buf_add_char(sql, ')');
    if (m->where != NULL)
        rf_buf_addf(sql, " WHERE (%s)", m->where);
    if (limit != UINT64_MAX)
        rf_buf_addf(sql, " LIMIT %llu", (unsigned long long)limit);
    if (skip > 0)
        rf_buf_addf(sql, " OFFSET %llu", (unsigned long long)skip);
    return st;
}

/* Made once: they are written for every row. */
static void make_keys(rfi_import_rows *r)
{
    r->keys = rf_xcalloc(r->column_count, sizeof *r->keys);
    for (size_t i = 0; i < r->column_count; i++) {
        size_t field = i - r->attribute_count;
        const char *name = i < r->attribute_count    ? r->attribute[i]
                           : r->map->field_count > 0 ? r->map->fields[field].name
                                                     : rf_rows_column_name(r->rows, i);
        rf_buf key;

        rf_buf_init(&key, 1u << 16);
        rf_buf_add_cstr(&key, i == r->attribute_count ? ",\"data\":{" : ",");
        rf_buf_add_json_str(&key, rf_str_from(name));
        rf_buf_add_char(&key, ':');
        r->keys[i] = (rf_str){rf_xstrndup(rf_buf_str(&key)), key.n};
        rf_buf_clear(&key);
    }
}

static void count_rows(rfi_import_rows *r, const char *file)
{
    rf_buf sql;
    rf_rows *rows = NULL;
    rf_err err = {0};

    if (!rfi_file_is(file, ".parquet") || r->map->where != NULL)
        return;
    rf_buf_init(&sql, SQL_MAX);
    rf_buf_add_cstr(&sql, "SELECT sum(num_rows) FROM parquet_file_metadata(");
    rfi_add_sql_text(&sql, file);
    rf_buf_add_char(&sql, ')');
    if (rf_conn_query(r->conn, rf_buf_cstr(&sql), &rows, &err) == RF_OK && rf_rows_next(rows, &err))
        r->total = (uint64_t)rf_rows_i64(rows, 0);
    rf_rows_free(&rows);
    rf_buf_clear(&sql);
}

rf_status rfi_import_rows_open(const char *file, const rfi_import_map *map, uint64_t skip,
                               uint64_t limit, rfi_import_rows **out, rf_err *err)
{
    rf_engine_options options = {.path = NULL, .threads = 1, .external_access = true};
    rfi_import_rows *r = rf_xcalloc(1, sizeof *r);
    rf_sql_where where = {0};
    rf_buf sql;

    r->map = map;
    rf_buf_init(&sql, SQL_MAX);
    rf_buf_init(&r->head, SQL_MAX);
    rf_status st = rf_engine_open(&options, &r->engine, err);

    if (st == RF_OK)
        st = rf_conn_open(r->engine, &r->conn, err);
    if (st == RF_OK)
        st = build_sql(r, file, skip, limit, &sql, err);
    if (st == RF_OK) {
        count_rows(r, file);
        st = rf_conn_prepare(r->conn, rf_buf_str(&sql), &r->stmt, &where, err);
    }
    if (st == RF_OK)
        st = rf_stmt_run(r->stmt, true, &r->rows, err);
    if (st == RF_OK) {
        r->column_count = rf_rows_column_count(r->rows);
        make_keys(r);
        *out = r;
    } else {
        rf_err_note(err, "%s", file);
        rfi_import_rows_close(&r);
    }
    rf_buf_clear(&sql);
    return st;
}

void rfi_import_rows_close(rfi_import_rows **rows)
{
    rfi_import_rows *r = *rows;

    if (r == NULL)
        return;
    rf_rows_free(&r->rows);
    rf_stmt_free(&r->stmt);
    rf_conn_close(&r->conn);
    rf_engine_close(&r->engine);
    for (size_t i = 0; r->keys != NULL && i < r->column_count; i++)
        free((char *)(uintptr_t)r->keys[i].p);
    free(r->keys);
    rf_buf_clear(&r->head);
    free(r);
    *rows = NULL;
}

uint64_t rfi_import_rows_total(const rfi_import_rows *rows)
{
    return rows->total;
}

bool rfi_import_rows_next(rfi_import_rows *r, rf_buf *out, rf_err *err)
{
    if (!rf_rows_next(r->rows, err))
        return false;
    rf_buf_add_str(out, rf_buf_str(&r->head));
    for (size_t i = 0; i < r->column_count; i++) {
        if (i < r->attribute_count && rf_rows_is_null(r->rows, i))
            continue; /* the server names what is missing */
        rf_buf_add_str(out, r->keys[i]);
        rf_rows_json(r->rows, i, out);
    }
    rf_buf_add_cstr(out, r->column_count > r->attribute_count ? "}}\n" : "}\n");
    return true;
}
