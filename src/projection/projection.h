/*
 * projection: SQL read models kept current from the log. Plans a SELECT into a partial aggregate, a
 * merge and a view; applies micro-batches with state and checkpoint in one transaction; rebuilds a
 * version beside the live one and switches. Knows nothing of HTTP.
 *
 * The control plane is event-sourced: definitions, switches and drops are events in the domain
 * `refold`; opening folds them. State is disposable: without its database everything is rebuilt.
 */
#ifndef RF_PROJECTION_H
#define RF_PROJECTION_H

#include "base/base.h"
#include "engine/engine.h"
#include "event/event.h"
#include "log/log.h"

typedef struct rf_projections rf_projections;

typedef struct rf_projections_options {
    rf_engine *engine; /* kept */
    rf_log_view *view; /* kept */
    /* Appends one control event (system domain) and waits for its ack: type such as
     * "refold.projection.defined", subject = name, data = JSON. Called from any thread. On RF_OK
     * raises *position. */
    rf_status (*append)(void *arg, rf_str type, rf_str subject, rf_str data_json,
                        rf_position *position, rf_err *err);
    void *append_arg;
    uint32_t batch_events_max; /* of a live micro-batch; 262,144 */
    uint32_t rebuild_threads;  /* 0: the engine's */
} rf_projections_options;

/* Folds the system domain, reconciles the database with it (missing states are built, unknown ones
 * dropped), starts the worker. Returns when the definitions are known; building goes on behind. */
RF_CHECKED rf_status rf_projections_open(const rf_projections_options *options,
                                         rf_projections **out, rf_err *err);
void rf_projections_close(rf_projections **p);

/* Names: 1..63 of [a-z0-9_], beginning with a letter; not "events", not "refold…". */
bool rf_projection_name_valid(rf_str name);

typedef enum rf_projection_put { RF_PUT_CREATED, RF_PUT_CHANGED, RF_PUT_SAME } rf_projection_put;

/*
 * Defines or changes a projection. The text may begin with comment lines `-- refold: key = value,
 * …` (mode = async, owner = …; unknown keys are refused). Plans it first: RF_EINVAL (SQL error with
 * place), RF_EUNSUPPORTED (cannot be kept incrementally: text says what and why, and the nearest
 * form that can). A changed one is built beside the old, which serves until the switch. Waits up to
 * wait_ms for it to be live; not being live by then is no error. Warnings (such as an event type
 * nobody has sent yet, with the nearest known ones) are appended to `warnings` as JSON strings with
 * commas between. Any thread.
 */
RF_CHECKED rf_status rf_projections_put(rf_projections *p, rf_str name, rf_str sql,
                                        uint32_t wait_ms, rf_projection_put *result,
                                        rf_sql_where *where, rf_buf *warnings, rf_err *err);
/* RF_ENOTFOUND. Any thread. */
RF_CHECKED rf_status rf_projections_drop(rf_projections *p, rf_str name, rf_err *err);
/* Starts to build the same definition anew beside the live one; RF_EBUSY when one is under way. */
RF_CHECKED rf_status rf_projections_rebuild(rf_projections *p, rf_str name, rf_err *err);

/* One as a JSON object as the API shows it: {"name","version","state":"live|building|halted","sql",
 * "mode","owner","position","lag":{"events","seconds"},"rows","progress":null|{"done","total",
 * "eventsPerSecond"},"lastRebuild":null|{"events","seconds","eventsPerSecond"},"reason"?}.
 * RF_ENOTFOUND. Any thread. */
RF_CHECKED rf_status rf_projections_json(rf_projections *p, rf_str name, rf_buf *out, rf_err *err);
/* All, as a JSON array in order of name. */
void rf_projections_json_all(rf_projections *p, rf_buf *out);

/* Is this the name of a projection that can be queried (its view exists)? Any thread. */
bool rf_projections_is_relation(rf_projections *p, rf_str name);
/* RF_EBUSY with progress in the text when the projection exists but its first build is not done. */
RF_CHECKED rf_status rf_projections_ready(rf_projections *p, rf_str name, rf_err *err);

/* Waits until the named projections (live versions) have applied `position`: RF_ETIMEOUT,
 * RF_ECANCELED (halted: text says why). Any thread. */
RF_CHECKED rf_status rf_projections_wait(rf_projections *p, const rf_str *names, size_t count,
                                         const rf_position *position, int64_t deadline_mono_us,
                                         rf_err *err);
/* The point up to which a projection's live version has applied the log. */
void rf_projections_position(rf_projections *p, rf_str name, rf_position *out);

/* ---- schemas and types (folded from the same domain) ----------------------------------------- */

/* Registers the columns of a type; same text again is no new event. RF_EINVAL. */
RF_CHECKED rf_status rf_projections_put_schema(rf_projections *p, rf_str type, uint32_t version,
                                               rf_str json, rf_projection_put *result, rf_err *err);
void rf_projections_schemas_json(rf_projections *p,
                                 rf_buf *out); /* array of {type,version,schema} */
/* Known event types with counts: array of {"type","events","firstTime","lastTime"}. */
void rf_projections_types_json(rf_projections *p, rf_buf *out);
/* Has any event of this type been seen? When not, *nearest gets up to three known names (JSON
 * strings with commas), by edit distance. Any thread. */
bool rf_projections_type_known(rf_projections *p, rf_str type, rf_buf *nearest);

/* ---- metrics --------------------------------------------------------------------------------- */

typedef struct rf_projection_stats {
    const char *name; /* until each() returns */
    const char *state;
    uint64_t version, lag_events, rows, applied_events, batches, rebuild_done, rebuild_total;
    double lag_seconds;
} rf_projection_stats;

void rf_projections_each(rf_projections *p, void (*each)(void *arg, const rf_projection_stats *s),
                         void *arg);

#endif
