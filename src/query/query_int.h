/* query, inside: what the files of this folder share. Nobody else includes it. */
#ifndef RF_QUERY_INT_H
#define RF_QUERY_INT_H

#include "query/query.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- the text (text.c) ----------------------------------------------------------------------- */

#define RFI_SQL_BYTES_MAX (256u << 10)
#define RFI_TOKENS_MAX 32768u /* the engine's parser is slower than linear in long chains */
#define RFI_OPERATOR_BYTES_MAX 64u

/* A statement's text, byte for byte where it was, but comments are spaces and EXPLAIN is cut out.
 */
typedef struct rfi_text {
    char *p; /* NUL-terminated, in the arena */
    size_t n;
    rf_str original; /* borrowed: as it was sent, to tell places in */
    bool explain;
    size_t explain_at; /* where the word stood: there is room for it in `p` */
} rfi_text;

/*
 * Checks size, UTF-8 and NUL, blanks comments, takes EXPLAIN off. RF_EINVAL with place; RF_ETOOBIG;
 * RF_EFORBIDDEN for EXPLAIN ANALYZE.
 */
RF_CHECKED rf_status rfi_text_read(rf_str sql, rf_arena *arena, rfi_text *out, rf_sql_where *where,
                                   rf_err *err);
/* Line and column (1-based, in characters) of a byte. */
rf_sql_where rfi_text_place(rf_str text, size_t byte);
/* The byte of a line and column; SIZE_MAX when the text has no such place. */
size_t rfi_text_byte(rf_str text, rf_sql_where where);
/* Turns spaces between tokens into line breaks, so that a line number tells the token. */
void rfi_text_break(char *p, size_t n);

/* ---- names (functions.c) --------------------------------------------------------------------- */

/* Where a statement may use a name. */
typedef enum rfi_function_use {
    RFI_FN_VALUE, /* scalar, aggregate, macro: in an expression */
    RFI_FN_TABLE  /* in FROM */
} rfi_function_use;

/* Is the word one of the words with blanks between? */
bool rfi_word_in(const char *words, rf_str word);
bool rfi_function_allowed(rf_str name, rfi_function_use use);
/* Calls each() for every name that may be used; for tests and the help of an editor. */
void rfi_functions_each(rfi_function_use use, void (*each)(void *arg, rf_str name), void *arg);
/* Up to three allowed names near this one, as `"a", "b"`. */
void rfi_functions_nearest(rf_str name, rf_buf *out);

typedef struct rfi_names {
    rf_str *items;
    size_t count, cap;
} rfi_names;

/* Would the engine, left to itself, read a table of this name from a file? */
bool rfi_looks_like_file(rf_str name);

bool rfi_names_have(const rfi_names *names, rf_str name); /* without regard to case */

/* What a relation's name means now. */
typedef enum rfi_relation {
    RFI_REL_NONE = 0,
    RFI_REL_PROJECTION, /* its view exists */
    RFI_REL_TYPE        /* an event type, or `events` */
} rfi_relation;

/* The relations there are: how the gate asks without knowing of projections. */
typedef struct rfi_catalog {
    rfi_relation (*find)(void *arg, rf_str name);
    /* Appends names near this one, as JSON strings with commas between. */
    void (*nearest)(void *arg, rf_str name, rf_buf *out);
    void *arg;
} rfi_catalog;

/* ---- the gate (walk.c, gate.c) --------------------------------------------------------------- */

/* What a statement uses, in the arena; each name once. */
typedef struct rfi_uses {
    rfi_names projections, types; /* of types, "" is `events` */
    uint32_t params;              /* the highest number of a parameter */
} rfi_uses;

typedef struct rfi_walk_options {
    const rfi_catalog *catalog;
    /* NULL: the statement as a person wrote it. Else what is about to run: event types are calls of
     * rf_events over this very scope, and no longer tables. */
    const char *scope;
    rf_engine *engine; /* to tell an unknown function from a forbidden one; may be NULL */
    rf_str text;       /* that the tree was made from: for places */
} rfi_walk_options;

/*
 * Walks a tree (json_serialize_sql) against the tables of what is allowed. RF_EFORBIDDEN names what
 * it refuses, RF_EINVAL what does not exist; `refused` gets a static word for the first.
 */
RF_CHECKED rf_status rfi_walk(rf_str tree_json, const rfi_walk_options *options, rf_arena *arena,
                              rfi_uses *uses, const char **refused, rf_sql_where *where,
                              rf_err *err);

/* A statement that passed. */
typedef struct rfi_plan {
    rf_arena *arena;
    rfi_text text; /* as sent */
    rf_buf tree;   /* of what was sent */
    rf_buf sql;    /* what runs, NUL-terminated */
    rfi_uses uses;
    const char *refused;
    rf_sql_where where;
} rfi_plan;

void rfi_plan_init(rfi_plan *plan);
void rfi_plan_clear(rfi_plan *plan);

/*
 * The whole way from a person's text to one that may run. What runs is text whose own tree was
 * walked, so nothing hangs on the engine writing a tree out faithfully.
 */
RF_CHECKED rf_status rfi_gate(rf_engine *engine, rf_conn *conn, const rfi_catalog *catalog,
                              const char *scope, rf_str sql, rfi_plan *plan, rf_err *err);

/* Where in the person's text the engine finds fault when it prepares it; 0:0 when it cannot be
 * told, or finds none. Takes as long as preparing does (place.c). */
rf_sql_where rfi_place_find(rf_conn *conn, const rfi_plan *plan);

/* ---- parameters and answers (params.c, encode.c) --------------------------------------------- */

/* Binds a JSON array of scalars. RF_EINVAL names the parameter. */
RF_CHECKED rf_status rfi_params_bind(rf_stmt *stmt, rf_str params_json, rf_err *err);

typedef struct rfi_encoding {
    rf_query_format format;
    uint64_t rows_max, bytes_max;
    uint64_t rows_limit; /* what rows_max could be raised to: for the text */
    rf_str position;     /* token */
    rf_str warnings;     /* JSON strings with commas between */
    int64_t started_us;  /* monotonic */
} rfi_encoding;

/* Appends the whole answer; on failure `out` is as it was. */
RF_CHECKED rf_status rfi_encode(rf_rows *rows, const rfi_encoding *encoding, rf_buf *out,
                                uint64_t *row_count, rf_err *err);

/* ---- sessions and deadlines (session.c, deadline.c) ------------------------------------------ */

typedef struct rfi_watch rfi_watch;

/* One connection, of one query at a time. */
typedef struct rfi_session {
    rf_conn *conn;
    bool taken; /* under the pool's lock */
    /* The rest is the watch's and under its lock: set while a statement runs. */
    rfi_watch *watch;
    struct rfi_session *next;
    rf_query_handle *handle; /* may be NULL */
    const char *sql;         /* for the report */
    int64_t deadline_us, interrupted_us;
    bool timed_out, reported;
} rfi_session;

#define RFI_INTERRUPT_AGAIN_US 50000
#define RFI_OVERDUE_US 250000

/* The watchdog: a thread that interrupts at the deadline and when a handle is canceled. */
rfi_watch *rfi_watch_start(void (*overdue)(void *arg, const char *sql), void *arg);
void rfi_watch_stop(rfi_watch **watch);
void rfi_watch_begin(rfi_watch *watch, rfi_session *session, int64_t deadline_us,
                     rf_query_handle *handle, const char *sql);
/* From now on the session is interrupted no more. Was it, by the deadline? */
bool rfi_watch_end(rfi_watch *watch, rfi_session *session);

typedef struct rfi_pool rfi_pool;
RF_CHECKED rf_status rfi_pool_open(rf_engine *engine, uint32_t sessions_max, rfi_pool **out,
                                   rf_err *err);
void rfi_pool_close(rfi_pool **pool);
/* Waits for its turn, first come, first served. RF_EBUSY at the deadline, RF_ECANCELED. */
RF_CHECKED rf_status rfi_pool_take(rfi_pool *pool, int64_t deadline_us, rf_query_handle *handle,
                                   rfi_session **out, rf_err *err);
void rfi_pool_give(rfi_pool *pool, rfi_session **session);

bool rfi_canceled(rf_query_handle *handle); /* of NULL: no */
/* Waits on `cond` (of the monotonic clock) until then at the latest. */
void rfi_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us);
void rfi_cond_init(pthread_cond_t *cond);

/* ---- positions (position.c) ------------------------------------------------------------------ */

/* Lowers each part of `p` to what `other` has reached. */
void rfi_position_lower(rf_position *p, const rf_position *other);

#endif
