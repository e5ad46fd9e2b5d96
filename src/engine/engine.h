/*
 * engine: the only code that calls DuckDB. Loads the library at run time (only the read half and
 * `refold import` ever do), opens one locked-down database, runs SQL, and offers the log to it as
 * relations. Knows nothing of projections.
 */
#ifndef RF_ENGINE_H
#define RF_ENGINE_H

#include "base/base.h"
#include "event/event.h"
#include "log/log.h"
#include "schema/schema.h"

/* ---- the database ---------------------------------------------------------------------------- */

typedef struct rf_engine rf_engine;

typedef struct rf_engine_options {
    const char *path;         /* database file; NULL: in memory */
    const char *library_path; /* libduckdb.so; NULL: beside the program (../lib/refold), then the
                                 build tree's; environment REFOLD_DUCKDB overrides */
    uint64_t memory_bytes;    /* memory_limit; 0: a quarter of the machine's */
    uint32_t threads;         /* 0: all cores */
    bool external_access;     /* files readable by SQL: only `refold import` says true */
    rf_log_view *view; /* kept; the log that event relations read; NULL: no event relations */
} rf_engine_options;

/* RF_EBUSY: another process has the database, and kept it for two seconds. RF_EUNSUPPORTED: library
 * missing or of another version, text says what was tried. */
RF_CHECKED rf_status rf_engine_open(const rf_engine_options *options, rf_engine **out, rf_err *err);
void rf_engine_close(rf_engine **engine); /* after its connections */
const char *rf_engine_version(const rf_engine *engine);

/*
 * The typed shape of an event type's `data`, from now on and for new statements. Keeps `columns`
 * (takes ownership). Older shapes stay alive until close, since statements may use them. Any
 * thread.
 */
void rf_engine_set_columns(rf_engine *engine, rf_columns *columns);
/* The shape in force, or NULL: `data` is JSON. Lives as long as the engine. Any thread. */
const rf_columns *rf_engine_columns(rf_engine *engine, rf_str type);
/* Events of this type have been seen: its name is a relation even when it has no dot. Any thread.
 */
void rf_engine_add_type(rf_engine *engine, rf_str type);
bool rf_engine_has_type(rf_engine *engine, rf_str type); /* has columns or was added */

/* ---- connections and statements -------------------------------------------------------------- */

typedef struct rf_conn rf_conn; /* one thread at a time, but interrupt */
typedef struct rf_stmt rf_stmt;
typedef struct rf_rows rf_rows; /* a result being read */

RF_CHECKED rf_status rf_conn_open(rf_engine *engine, rf_conn **out, rf_err *err);
void rf_conn_close(rf_conn **conn);
/* Makes the running statement fail with RF_ECANCELED soon (not a deadline: FAULTS §4). Any thread.
 */
void rf_conn_interrupt(rf_conn *conn);
/* 0..1 of the running statement, or -1 when unknown. Any thread. */
double rf_conn_progress(rf_conn *conn);

/* SQL errors come as RF_EINVAL with DuckDB's message; when it tells the place, `line` and `column`
 * (1-based) are set in *where (may be NULL), else 0. */
typedef struct rf_sql_where {
    uint32_t line, column;
} rf_sql_where;

/* Runs statements without results. */
RF_CHECKED rf_status rf_conn_exec(rf_conn *conn, const char *sql, rf_err *err);
RF_CHECKED rf_status rf_conn_execf(rf_conn *conn, rf_err *err, const char *fmt, ...)
    RF_PRINTF(3, 4);

typedef enum rf_stmt_kind { RF_STMT_SELECT, RF_STMT_EXPLAIN, RF_STMT_OTHER } rf_stmt_kind;

/* Prepares exactly one statement (RF_EINVAL when there are none or several). */
RF_CHECKED rf_status rf_conn_prepare(rf_conn *conn, rf_str sql, rf_stmt **out, rf_sql_where *where,
                                     rf_err *err);
void rf_stmt_free(rf_stmt **stmt);
rf_stmt_kind rf_stmt_get_kind(const rf_stmt *stmt);
size_t rf_stmt_param_count(const rf_stmt *stmt);
/* Of the result, known without running it. */
size_t rf_stmt_column_count(const rf_stmt *stmt);
void rf_stmt_column_name(const rf_stmt *stmt, size_t column, rf_buf *out);
const char *rf_stmt_column_type(rf_stmt *stmt, size_t column); /* as rf_rows_column_type */
/* Parameters are 1-based. */
void rf_stmt_bind_null(rf_stmt *stmt, size_t at);
void rf_stmt_bind_bool(rf_stmt *stmt, size_t at, bool v);
void rf_stmt_bind_i64(rf_stmt *stmt, size_t at, int64_t v);
void rf_stmt_bind_f64(rf_stmt *stmt, size_t at, double v);
void rf_stmt_bind_str(rf_stmt *stmt, size_t at, rf_str v);
/* Runs it. With `out` NULL the result is thrown away. `streaming`: rows are produced as they are
 * read (the connection is busy until rf_rows_free, which drains). */
RF_CHECKED rf_status rf_stmt_run(rf_stmt *stmt, bool streaming, rf_rows **out, rf_err *err);
/* prepare + run, for our own SQL. */
RF_CHECKED rf_status rf_conn_query(rf_conn *conn, const char *sql, rf_rows **out, rf_err *err);

size_t rf_rows_column_count(const rf_rows *rows);
const char *rf_rows_column_name(const rf_rows *rows, size_t column);
const char *rf_rows_column_type(const rf_rows *rows, size_t column); /* SQL name: "BIGINT" */
/* The next row; false at the end or on error (then *err is set: check err->status). */
bool rf_rows_next(rf_rows *rows, rf_err *err);
bool rf_rows_is_null(const rf_rows *rows, size_t column);
int64_t rf_rows_i64(const rf_rows *rows, size_t column); /* integers, booleans; saturates HUGEINT */
double rf_rows_f64(const rf_rows *rows, size_t column);  /* any number */
rf_str rf_rows_str(const rf_rows *rows, size_t column);  /* VARCHAR, JSON, BLOB: until next */
/* The value as JSON: numbers as numbers (HUGEINT and DECIMAL exactly, by their digits; NaN and
 * infinities as strings), BOOLEAN, NULL, VARCHAR as string, JSON columns as the value itself,
 * TIMESTAMP as RFC 3339, DATE, LIST, STRUCT, MAP as arrays and objects, everything else as text. */
void rf_rows_json(const rf_rows *rows, size_t column, rf_buf *out);
/* The value as plain text without quotes (CSV, tables); nothing for NULL. */
void rf_rows_text(const rf_rows *rows, size_t column, rf_buf *out);
/* The whole remaining result as one Apache Arrow IPC stream (schema, record batches, end). */
RF_CHECKED rf_status rf_rows_arrow_ipc(rf_rows *rows, uint64_t rows_max, rf_buf *out,
                                       uint64_t *row_count, rf_err *err);
void rf_rows_free(rf_rows **rows);

/* ---- statements as trees --------------------------------------------------------------------- */

/* The engine's own tree of one SELECT, as JSON text (json_serialize_sql). RF_EINVAL with place for
 * a syntax error, for anything but SELECT, or for several statements. */
RF_CHECKED rf_status rf_sql_parse(rf_conn *conn, rf_str sql, rf_buf *tree_json, rf_sql_where *where,
                                  rf_err *err);
/* And back to SQL text (json_deserialize_sql). */
RF_CHECKED rf_status rf_sql_text(rf_conn *conn, rf_str tree_json, rf_buf *sql, rf_err *err);

/* What the engine says of a function name (any kind), from duckdb_functions(); cached. */
typedef struct rf_sql_function {
    bool exists, aggregate, scalar, table, macro;
    bool pure; /* same input, same answer: neither volatile nor dependent on time, session or files
                */
} rf_sql_function;
rf_sql_function rf_engine_function(rf_engine *engine, rf_str name);

/* ---- the log as relations -------------------------------------------------------------------- */

/*
 * A scope is a named set of offset ranges that event relations read. Statements name it:
 *
 *   rf_events('flight.landed', 'SCOPE' [, fields := ['origin','delay']])
 *   rf_events(NULL, 'SCOPE')            -- all types: relation `events`, data is JSON
 *
 * Named parameter `lean := true` puts the cheapest column first, for count(*). With the empty scope
 * a statement can be prepared but not run; a replacement scan gives that to event types in
 * statements that were not rewritten, so that preparing a user's own text tells errors with the
 * user's places.
 *
 * columns: id, source, type, subject VARCHAR; time, recordedtime TIMESTAMP (UTC); domain VARCHAR,
 * partition UINTEGER, offset, revision UBIGINT; correlationid, causationid, dataschema VARCHAR;
 * data STRUCT (registered type; only `fields` when given), else JSON. The system domain is left out
 * unless the scope says so. Ranges are read when the statement starts to run, not when it is
 * prepared: a prepared statement can run again over the next range.
 */
typedef struct rf_scope rf_scope;

RF_CHECKED rf_status rf_scope_new(rf_engine *engine, const char *name, rf_scope **out, rf_err *err);
void rf_scope_free(rf_scope **scope); /* no statement may be running over it */
/* Sets the ranges [from, to) per partition: `to` names the partitions, `from` may lack some (0).
 * Not while a statement runs over it. */
void rf_scope_set(rf_scope *scope, const rf_position *from, const rf_position *to);
void rf_scope_include_system(rf_scope *scope, bool yes);
/* At most so many threads read it; 0: the engine's. Counts for statements that start later. */
void rf_scope_limit_threads(rf_scope *scope, uint32_t threads);
/* Events handed over and events in all since rf_scope_set; any thread. */
void rf_scope_progress(const rf_scope *scope, uint64_t *done, uint64_t *total);
/* Values that did not fit their column's type and were read as NULL, ever; any thread. */
uint64_t rf_engine_mismatches(const rf_engine *engine);

/*
 * Rewrites a statement's tree so that its base tables that are not in `known` (names of views and
 * tables; compared without case) and look like event types, or `events`, become rf_events(…, scope)
 * with just the fields of `data` that the statement touches. Reports each event type used by
 * each(arg, type) (type empty for `events`). The names of CTEs are respected. The tree is JSON
 * text; the result too.
 */
RF_CHECKED rf_status rf_sql_bind_events(rf_engine *engine, rf_str tree_json, const char *scope,
                                        bool (*known)(void *arg, rf_str name),
                                        void (*each)(void *arg, rf_str type), void *arg,
                                        rf_buf *out_tree, rf_err *err);

#endif
