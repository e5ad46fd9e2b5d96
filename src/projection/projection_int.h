/*
 * projection, inside: what the files of this folder share. Nobody else includes it.
 *
 * A *projection* is a name with a definition (folded from the log's system domain). A *build* is
 * one attempt to have the state of one version of it: a table, and the position up to which the log
 * is in it. A projection has a live build, which serves, and a shadow, which is to replace it.
 *
 *   QUEUED -> BUILDING -> CATCHUP -> LIVE        rebuild.c   rebuild.c   worker.c (switch)
 *                |           |         |
 *                +-----------+---------+-> HALTED              batch.c, rebuild.c
 *
 * Threads: the *worker* applies events to builds in CATCHUP and LIVE, follows the definitions, and
 * alone frees builds. The *builder* takes builds from QUEUED to CATCHUP, one at a time. The
 * *janitor* folds state tables and checkpoints the database. Everybody else only reads, under the
 * lock.
 *
 * I1  A build's state table and its checkpoint change in one transaction.
 * I2  A state is a function of the events before its position alone: not of batches, threads,
 * order. I3  Only the worker writes a build in CATCHUP or LIVE; only the builder one in BUILDING.
 * The janitor replaces rows by their merge, which changes nothing that can be seen. I4  The view of
 * a projection changes in the transaction that drops the old build's table.
 */
#ifndef RF_PROJECTION_INT_H
#define RF_PROJECTION_INT_H

#include "projection/plan_int.h"
#include "projection/projection.h"

#include <pthread.h>
#include <stdatomic.h>

#define RFI_SYSTEM_DOMAIN "refold"
#define RFI_TYPES "rf$types" /* the projection that knows the event types; no valid name */

typedef enum rfi_status { RFI_QUEUED, RFI_BUILDING, RFI_CATCHUP, RFI_LIVE, RFI_HALTED } rfi_status;

typedef struct rfi_projection rfi_projection;

typedef struct rfi_build {
    rfi_projection *of;
    uint64_t version, id; /* id: in its table's name */
    char *sql;
    char table[32], scope_name[32];
    rfi_plan *plan;
    rf_scope *scope;

    /* under the lock */
    rfi_status status;
    rf_position position;
    uint64_t applied, batches;  /* events and micro-batches since it was loaded */
    uint64_t rows, rows_merged; /* of the state table now, and after it was last folded */
    uint64_t view_rows;         /* rows of the projection, as last counted */
    uint64_t view_rows_applied; /* value of `applied` then, + 1; 0: never counted */
    int64_t fresh_mono_us;      /* when it last had everything */
    int64_t started_mono_us;    /* of BUILDING */
    uint64_t rebuild_events;
    double rebuild_seconds;
    char reason[RF_ERR_TEXT_MAX]; /* of HALTED, or of a failure that is tried again */
    bool busy;                    /* the builder or the janitor works on it */
    bool cancel;                  /* to be retired: whoever is busy with it stops */
    bool stale;    /* serves, but takes no more events: its stored shape is not the plan's */
    bool announce; /* the switch is still to be told to the log */

    /* the worker's */
    rf_stmt *insert;
    uint64_t insert_epoch;
    int64_t retry_mono_us;
    uint32_t retries;
    struct rfi_build *next_retired;
} rfi_build;

struct rfi_projection {
    char *name;
    bool internal;
    /* The definition in force; `defined` false: dropped, kept for its version number. */
    bool defined;
    uint64_t version;
    char *sql, *mode, *owner;
    rfi_build *live, *shadow;
    bool refused; /* the version in force cannot be planned any more (reason) */
    char reason[RF_ERR_TEXT_MAX];
};

/* A schema that was registered, oldest first. */
typedef struct rfi_schema {
    char *type, *json;
    uint32_t version;
} rfi_schema;

struct rf_projections {
    rf_projections_options options;
    rf_engine *engine;
    rf_log_view *view;

    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t changed; /* monotonic clock */
    rfi_projection **items; /* in order of name */
    size_t count;
    rf_position control; /* how far the definitions are folded */
    rfi_schema *schemas;
    size_t schema_count;
    char **types; /* seen, in order */
    size_t type_count;
    uint64_t types_applied; /* of the types' build when `types` was read, + 1 */
    uint64_t next_build;
    bool stopping;

    _Atomic uint64_t ddl_epoch; /* raised after each DDL: statements are prepared anew */
    pthread_mutex_t put_lock;   /* one change of definitions at a time; before `lock` */
    pthread_mutex_t ask_lock;   /* of `ask`; before `lock` */
    rf_conn *ask;

    pthread_t worker, builder, janitor;
    bool worker_up, builder_up, janitor_up;
    rf_conn *worker_conn, *builder_conn, *janitor_conn;
    rf_stmt *checkpoint; /* the worker's */
    uint64_t checkpoint_epoch;
    rfi_build *retired; /* the worker's: to be freed when nobody is busy with them */
};

/* Tests end the process at a point: "the transaction is written but not committed", and so on. */
extern void (*rfi_projection_point)(const char *name);
void rfi_point(const char *name);

/* ---- names and texts (definition.c) ---------------------------------------------------------- */

typedef struct rfi_header {
    char *mode, *owner; /* NULL: not given */
} rfi_header;

/* Reads the comment lines in front of a statement. */
RF_CHECKED rf_status rfi_header_read(rf_str sql, rfi_header *out, rf_sql_where *where, rf_err *err);
void rfi_header_clear(rfi_header *h);

/* ---- projections and builds (build.c); under the lock unless said ---------------------------- */

/* Waits until something changed; false: the deadline has passed. */
bool rfi_changed_wait(rf_projections *p, int64_t deadline_mono_us);
rfi_projection *rfi_projection_find(rf_projections *p, rf_str name);
rfi_projection *rfi_projection_add(rf_projections *p, rf_str name);
void rfi_projection_free(rfi_projection *projection);
/* Not under the lock. Plans `sql` over a scope of its own. */
RF_CHECKED rf_status rfi_build_new(rf_projections *p, rfi_projection *of, uint64_t id,
                                   uint64_t version, const char *sql, rf_conn *conn,
                                   rfi_build **out, rf_err *err);
void rfi_build_free(rfi_build **build);
bool rfi_projection_name_taken(void *arg, rf_str name); /* takes the lock */

/* ---- the database (state.c) ------------------------------------------------------------------ */

/* A row of rf.projections: what the database knows of a build. */
typedef struct rfi_stored {
    char *name, *sql, *status, *reason;
    uint64_t version, id, shape, rebuild_events;
    double rebuild_seconds;
    rf_position position;
    uint64_t rows;
} rfi_stored;

RF_CHECKED rf_status rfi_state_open(rf_projections *p, rf_conn *conn, rf_err *err);
RF_CHECKED rf_status rfi_state_load(rf_conn *conn, rfi_stored **out, size_t *count, rf_err *err);
void rfi_state_free(rfi_stored *stored, size_t count);
/* Makes the table of a build, fills it from its scope, and stores its checkpoint; one transaction.
 */
RF_CHECKED rf_status rfi_state_build(rf_projections *p, rf_conn *conn, rfi_build *b,
                                     const rf_position *to, uint64_t *rows, rf_err *err);
/* Within a transaction of the worker's. */
RF_CHECKED rf_status rfi_state_checkpoint(rf_projections *p, rf_buf *rows_json, rf_err *err);
void rfi_state_checkpoint_rows(const rfi_build *b, const rf_position *from, const rf_position *to,
                               rf_buf *rows_json);
RF_CHECKED rf_status rfi_state_halt(rf_conn *conn, const rfi_build *b, const char *reason,
                                    rf_err *err);
/* Transactions of their own. `old` may be NULL. */
RF_CHECKED rf_status rfi_state_switch(rf_projections *p, rf_conn *conn, const rfi_build *fresh,
                                      const rfi_build *old, rf_err *err);
RF_CHECKED rf_status rfi_state_drop(rf_projections *p, rf_conn *conn, const rfi_projection *of,
                                    uint64_t id, bool view, rf_err *err);
/* Drops state tables and views that belong to none of the builds. */
RF_CHECKED rf_status rfi_state_sweep(rf_projections *p, rf_conn *conn, rf_err *err);
/* The name a projection's view has in SQL, quoted. */
void rfi_state_view_name(const rfi_projection *of, char out[static 160]);

/* ---- definitions (control.c): the worker's, and the opening thread's before it --------------- */

/* Folds what is new in the system domain. *changed: something was. */
RF_CHECKED rf_status rfi_control_fold(rf_projections *p, bool *changed, rf_err *err);
rf_status rfi_control_append(rf_projections *p, const char *type, rf_str subject, rf_buf *data,
                             rf_position *position, rf_err *err);

/* ---- work (batch.c, worker.c, rebuild.c, janitor.c) ------------------------------------------ */

/* Applies one micro-batch to every build that has something to do. *did: there was something. */
void rfi_batch_apply(rf_projections *p, const rf_position *target, uint64_t *events);
/* The first event in (from, to] order at which the build's statement fails, by halving. On RF_OK
 * *bad is the position before it, and place tells domain/partition/offset. RF_ENOTFOUND: none
 * fails. */
RF_CHECKED rf_status rfi_batch_first_bad(rf_projections *p, rf_conn *conn, rfi_build *b,
                                         const rf_position *from, const rf_position *to,
                                         rf_position *before, char *place, size_t place_bytes,
                                         rf_err *why);
/* Is this the data's fault (halting), and not one that passes (trying again)? */
bool rfi_batch_fault_of_data(const rf_err *err);
uint64_t rfi_position_events(const rf_position *from, const rf_position *to);

void *rfi_worker_run(void *arg);
void *rfi_builder_run(void *arg);
void *rfi_janitor_run(void *arg);
/* Decides from definitions and stored builds what there is to do; at open. */
RF_CHECKED rf_status rfi_worker_reconcile_stored(rf_projections *p, rf_err *err);
void rfi_worker_follow(rf_projections *p);

/* ---- event types (types.c) ------------------------------------------------------------------- */

#define RFI_TYPES_SQL                                                                              \
    "SELECT type, count(*) AS events, min(coalesce(time, recordedtime)) AS first, "                \
    "max(coalesce(time, recordedtime)) AS last FROM events GROUP BY type"

/* Reads the names of the event types seen, when there may be new ones. Not under the lock. */
void rfi_types_refresh(rf_projections *p, rf_conn *conn);

/* ---- showing (json.c) ------------------------------------------------------------------------ */

/* Events between a build's position and the durable end; system domain left out. */
uint64_t rfi_lag_events(rf_projections *p, const rfi_build *b);
double rfi_lag_seconds(const rfi_build *b, uint64_t events);
const char *rfi_projection_state(const rfi_projection *of);

#endif
