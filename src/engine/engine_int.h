/* engine, inside: what the files of this folder share. Nobody else includes it. */
#ifndef RF_ENGINE_INT_H
#define RF_ENGINE_INT_H

#include "engine/duckdb_symbols_int.h"
#include "engine/engine.h"

#include <pthread.h>
#include <stdatomic.h>

#include <duckdb.h>

/* ---- the library (library.c) ----------------------------------------------------------------- */

typedef struct rfi_duckdb {
#define RFI_MEMBER(name) __typeof__ (&duckdb_##name)(name);
    RFI_DUCKDB_SYMBOLS(RFI_MEMBER)
#undef RFI_MEMBER
} rfi_duckdb;

/* Filled by the first rfi_library_load that succeeds and constant from then on. */
extern rfi_duckdb rfi_db;

/* Finds and loads libduckdb.so, once a process. Any thread. RF_EUNSUPPORTED names what was tried.
 */
RF_CHECKED rf_status rfi_library_load(const char *path, rf_err *err);

/* ---- the database (engine.c, shapes.c) ------------------------------------------------------- */

typedef struct rfi_functions rfi_functions;
typedef struct rfi_shapes rfi_shapes;
typedef struct rfi_scopes rfi_scopes;

struct rf_engine {
    duckdb_database db;
    rf_conn *system; /* its own: registration, function names; under `system_lock` */
    pthread_mutex_t system_lock;
    rf_log_view *view;        /* NULL: no event relations */
    rfi_shapes *shapes;       /* types and their columns */
    rfi_scopes *scopes;       /* by name */
    rfi_functions *functions; /* filled at the first question */
    char *version;
    uint32_t threads;
    _Atomic uint64_t mismatches;
};

rfi_shapes *rfi_shapes_new(void);
void rfi_shapes_free(rfi_shapes **shapes);

/* ---- SQL errors (sql_error.c) ---------------------------------------------------------------- */

/* Fills *err from the engine's message and *where (may be NULL) from the place it tells. */
rf_status rfi_sql_error(rf_err *err, rf_sql_where *where, const char *message);
/* Text for an error raised inside a function of ours, such that rfi_sql_error finds its status. */
void rfi_sql_error_carry(const rf_err *err, char *out, size_t out_bytes);
/* Line and column (1-based, in characters) of a byte of the text. */
rf_sql_where rfi_sql_place(rf_str sql, size_t byte);

/* ---- types (types.c) ------------------------------------------------------------------------- */

/* A column's type with all below it; what reading a vector needs to know. */
typedef struct rfi_type rfi_type;
struct rfi_type {
    duckdb_type id;
    duckdb_type internal; /* of DECIMAL and ENUM: how values are stored */
    uint8_t width, scale; /* DECIMAL */
    bool json;            /* VARCHAR that is JSON */
    uint64_t array_size;  /* ARRAY */
    char **names;         /* of STRUCT and UNION members, of ENUM values */
    size_t name_count;
    rfi_type *children; /* LIST, ARRAY: 1; MAP: key, value; STRUCT and UNION: members */
    size_t child_count;
};

void rfi_type_init(rfi_type *t, duckdb_logical_type type);
void rfi_type_clear(rfi_type *t);
void rfi_type_text(const rfi_type *t, rf_buf *out); /* "DECIMAL(18,2)" */

/* ---- connections and results (conn.c, stmt.c, rows.c, render.c) ------------------------------ */

struct rf_conn {
    rf_engine *engine;
    duckdb_connection con;
    rf_stmt *parse, *text; /* of rf_sql_parse and rf_sql_text, made at the first use */
};

struct rf_stmt {
    rf_conn *conn;
    duckdb_prepared_statement prepared;
    rf_stmt_kind kind;
    size_t param_count;
    size_t column_count;
    char **column_types; /* made when asked for */
};

/* A column of the chunk at hand. */
typedef struct rfi_cells {
    duckdb_vector vector;
    const void *data;
    uint64_t *validity; /* NULL: all valid */
} rfi_cells;

struct rf_rows {
    rf_conn *conn;
    duckdb_result result;
    bool streaming, ended;
    size_t column_count;
    rfi_type *types;
    char **type_names;
    rfi_cells *cells;
    duckdb_data_chunk chunk; /* NULL before the first row and after the last */
    size_t row, chunk_rows;
};

/* Takes over `result`. */
rf_rows *rfi_rows_new(rf_conn *conn, duckdb_result *result, bool streaming);
/* Gets the next chunk; false at the end or on error, as rf_rows_next. */
bool rfi_rows_chunk(rf_rows *rows, rf_err *err);
/* 128-bit integer as decimal digits with `scale` of them behind the point. */
void rfi_render_int128(__int128 v, uint8_t scale, rf_buf *out);
/* A DECIMAL cell as its unscaled integer. */
__int128 rfi_decimal_cell(const rfi_type *t, const void *data, size_t row);
uint64_t rfi_enum_cell(const rfi_type *t, const void *data, size_t row);
bool rfi_cell_valid(const uint64_t *validity, size_t row);

/* ---- function names (functions.c) ------------------------------------------------------------ */

void rfi_functions_free(rfi_functions **functions);

/* ---- the log as relations (scope.c, events.c) ------------------------------------------------ */

rfi_scopes *rfi_scopes_new(void);
void rfi_scopes_free(rfi_scopes **scopes);
/* Registers rf_events and the replacement scan. */
RF_CHECKED rf_status rfi_events_register(rf_engine *engine, rf_err *err);
/* Registers the aggregates of ours. */
RF_CHECKED rf_status rfi_aggregates_register(rf_engine *engine, rf_err *err);

#endif
