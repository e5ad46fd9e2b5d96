/* Reading a result, row by row over the engine's chunks. */
#include "engine/engine_int.h"

#include <math.h>

rf_rows *rfi_rows_new(rf_conn *conn, duckdb_result *result, bool streaming)
{
    rf_rows *rows = rf_xcalloc(1, sizeof(*rows));

    rows->conn = conn;
    rows->result = *result;
    rows->streaming = streaming;
    rows->column_count = rfi_db.column_count(result);
    rows->types = rf_xcalloc(RF_MAX(rows->column_count, 1), sizeof(*rows->types));
    rows->type_names = rf_xcalloc(RF_MAX(rows->column_count, 1), sizeof(*rows->type_names));
    rows->cells = rf_xcalloc(RF_MAX(rows->column_count, 1), sizeof(*rows->cells));
    for (size_t i = 0; i < rows->column_count; i++) {
        duckdb_logical_type type = rfi_db.column_logical_type(&rows->result, i);
        rf_buf text;

        rfi_type_init(&rows->types[i], type);
        rfi_db.destroy_logical_type(&type);
        rf_buf_init(&text, 1u << 20);
        rfi_type_text(&rows->types[i], &text);
        rows->type_names[i] = rf_xstrndup(rf_buf_str(&text));
        rf_buf_clear(&text);
    }
    return rows;
}

void rf_rows_free(rf_rows **rows_at)
{
    rf_rows *rows = *rows_at;
    bool unfinished;

    if (rows == NULL)
        return;
    unfinished = rows->streaming && !rows->ended;
    if (rows->chunk != NULL)
        rfi_db.destroy_data_chunk(&rows->chunk);
    rfi_db.destroy_result(&rows->result);
    if (unfinished) {
        /* The stream's transaction stays open until the next statement begins. */
        rf_err err = {0};
        rf_status st = rf_conn_exec(rows->conn, "SELECT 1", &err);

        (void)st; /* a transaction that cannot end shows in the next statement's own error */
    }
    for (size_t i = 0; i < rows->column_count; i++) {
        rfi_type_clear(&rows->types[i]);
        free(rows->type_names[i]);
    }
    free(rows->types);
    free(rows->type_names);
    free(rows->cells);
    free(rows);
    *rows_at = NULL;
}

size_t rf_rows_column_count(const rf_rows *rows)
{
    return rows->column_count;
}

const char *rf_rows_column_name(const rf_rows *rows, size_t column)
{
    RF_ASSERT(column < rows->column_count);
    return rfi_db.column_name((duckdb_result *)(uintptr_t)&rows->result, column);
}

const char *rf_rows_column_type(const rf_rows *rows, size_t column)
{
    RF_ASSERT(column < rows->column_count);
    return rows->type_names[column];
}

bool rfi_rows_chunk(rf_rows *rows, rf_err *err)
{
    const char *message;

    if (rows->ended)
        return false;
    do {
        if (rows->chunk != NULL)
            rfi_db.destroy_data_chunk(&rows->chunk);
        rows->chunk = rfi_db.fetch_chunk(rows->result);
        if (rows->chunk == NULL) {
            rows->ended = true;
            message = rfi_db.result_error(&rows->result);
            if (message != NULL && message[0] != '\0')
                rfi_sql_error(err, NULL, message);
            return false;
        }
        rows->chunk_rows = rfi_db.data_chunk_get_size(rows->chunk);
    } while (rows->chunk_rows == 0);
    for (size_t i = 0; i < rows->column_count; i++) {
        rfi_cells *c = &rows->cells[i];

        c->vector = rfi_db.data_chunk_get_vector(rows->chunk, i);
        c->data = rfi_db.vector_get_data(c->vector);
        c->validity = rfi_db.vector_get_validity(c->vector);
    }
    rows->row = 0;
    return true;
}

bool rf_rows_next(rf_rows *rows, rf_err *err)
{
    if (rows->chunk != NULL && rows->row + 1 < rows->chunk_rows) {
        rows->row++;
        return true;
    }
    return rfi_rows_chunk(rows, err);
}

bool rfi_cell_valid(const uint64_t *validity, size_t row)
{
    return validity == NULL || (validity[row / 64] >> (row % 64) & 1) != 0;
}

bool rf_rows_is_null(const rf_rows *rows, size_t column)
{
    RF_ASSERT(column < rows->column_count && rows->chunk != NULL);
    return !rfi_cell_valid(rows->cells[column].validity, rows->row);
}

__int128 rfi_decimal_cell(const rfi_type *t, const void *data, size_t row)
{
    duckdb_hugeint h;

    switch (t->internal) {
    case DUCKDB_TYPE_SMALLINT:
        return ((const int16_t *)data)[row];
    case DUCKDB_TYPE_INTEGER:
        return ((const int32_t *)data)[row];
    case DUCKDB_TYPE_BIGINT:
        return ((const int64_t *)data)[row];
    default:
        h = ((const duckdb_hugeint *)data)[row];
        return (__int128)(((unsigned __int128)(uint64_t)h.upper << 64) | h.lower);
    }
}

uint64_t rfi_enum_cell(const rfi_type *t, const void *data, size_t row)
{
    switch (t->internal) {
    case DUCKDB_TYPE_UTINYINT:
        return ((const uint8_t *)data)[row];
    case DUCKDB_TYPE_USMALLINT:
        return ((const uint16_t *)data)[row];
    default:
        return ((const uint32_t *)data)[row];
    }
}

/* Whole numbers of any width; *whole is false for other types. */
static __int128 int_cell(const rfi_type *t, const void *data, size_t row, bool *whole)
{
    duckdb_hugeint h;
    duckdb_uhugeint u;

    *whole = true;
    switch (t->id) {
    case DUCKDB_TYPE_BOOLEAN:
        return ((const bool *)data)[row];
    case DUCKDB_TYPE_TINYINT:
        return ((const int8_t *)data)[row];
    case DUCKDB_TYPE_SMALLINT:
        return ((const int16_t *)data)[row];
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_DATE:
        return ((const int32_t *)data)[row];
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
    case DUCKDB_TYPE_TIME:
        return ((const int64_t *)data)[row];
    case DUCKDB_TYPE_UTINYINT:
        return ((const uint8_t *)data)[row];
    case DUCKDB_TYPE_USMALLINT:
        return ((const uint16_t *)data)[row];
    case DUCKDB_TYPE_UINTEGER:
        return ((const uint32_t *)data)[row];
    case DUCKDB_TYPE_UBIGINT:
        return ((const uint64_t *)data)[row];
    case DUCKDB_TYPE_HUGEINT:
        h = ((const duckdb_hugeint *)data)[row];
        return (__int128)(((unsigned __int128)(uint64_t)h.upper << 64) | h.lower);
    case DUCKDB_TYPE_UHUGEINT:
        u = ((const duckdb_uhugeint *)data)[row];
        return u.upper > INT64_MAX ? ((__int128)INT64_MAX << 64)
                                   : (__int128)(((unsigned __int128)u.upper << 64) | u.lower);
    default:
        *whole = false;
        return 0;
    }
}

double rf_rows_f64(const rf_rows *rows, size_t column)
{
    const rfi_type *t = &rows->types[column];
    const void *data = rows->cells[column].data;
    bool whole;
    __int128 v;

    if (rf_rows_is_null(rows, column))
        return 0;
    if (t->id == DUCKDB_TYPE_DOUBLE)
        return ((const double *)data)[rows->row];
    if (t->id == DUCKDB_TYPE_FLOAT)
        return ((const float *)data)[rows->row];
    if (t->id == DUCKDB_TYPE_DECIMAL)
        return (double)rfi_decimal_cell(t, data, rows->row) / pow(10, t->scale);
    v = int_cell(t, data, rows->row, &whole);
    RF_ASSERT(whole);
    return (double)v;
}

int64_t rf_rows_i64(const rf_rows *rows, size_t column)
{
    const rfi_type *t = &rows->types[column];
    bool whole;
    __int128 v;

    if (rf_rows_is_null(rows, column))
        return 0;
    v = int_cell(t, rows->cells[column].data, rows->row, &whole);
    if (!whole) {
        double d = rf_rows_f64(rows, column);

        if (!(d > -9.2e18))
            return isnan(d) ? 0 : INT64_MIN;
        return d < 9.2e18 ? (int64_t)d : INT64_MAX;
    }
    if (v > INT64_MAX)
        return INT64_MAX;
    return v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

rf_str rf_rows_str(const rf_rows *rows, size_t column)
{
    const rfi_type *t = &rows->types[column];
    duckdb_string_t *cell;

    if (rf_rows_is_null(rows, column))
        return (rf_str){NULL, 0};
    RF_ASSERT(t->id == DUCKDB_TYPE_VARCHAR || t->id == DUCKDB_TYPE_BLOB);
    cell = &((duckdb_string_t *)(uintptr_t)rows->cells[column].data)[rows->row];
    return (rf_str){rfi_db.string_t_data(cell), rfi_db.string_t_length(*cell)};
}
