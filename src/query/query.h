/*
 * query: people's SQL. Gate, limits, read-your-writes, and results as JSON, NDJSON, CSV or Arrow.
 * Knows nothing of HTTP.
 */
#ifndef RF_QUERY_H
#define RF_QUERY_H

#include "base/base.h"
#include "engine/engine.h"
#include "event/event.h"
#include "projection/projection.h"

typedef struct rf_queries rf_queries;

typedef struct rf_queries_options {
    rf_engine *engine;           /* kept */
    rf_projections *projections; /* kept */
    rf_log_view *view;           /* kept */
    uint32_t sessions_max;       /* queries at once; further ones wait their turn; 4 */
    uint32_t timeout_ms_default; /* 30,000 */
    uint32_t timeout_ms_max;     /* 600,000 */
    uint64_t rows_max_default;   /* 100,000 */
    uint64_t rows_max;           /* 10,000,000 */
    uint64_t bytes_max;          /* of one answer; 256 MiB */
    /* Called when a query did not stop within 250 ms after its interrupt at the deadline. The read
     * half's answer is to end the process (crash-only). NULL: only wait. */
    void (*overdue)(void *arg, const char *sql);
    void *overdue_arg;
} rf_queries_options;

RF_CHECKED rf_status rf_queries_open(const rf_queries_options *options, rf_queries **out,
                                     rf_err *err);
void rf_queries_close(rf_queries **q);

typedef enum rf_query_format {
    RF_FMT_JSON,
    RF_FMT_NDJSON,
    RF_FMT_CSV,
    RF_FMT_ARROW
} rf_query_format;
bool rf_query_format_parse(rf_str text, rf_query_format *out);

typedef struct rf_query_request {
    rf_str sql;
    rf_str params_json; /* array of scalars; empty: none */
    rf_str after;       /* position token; empty: none */
    rf_query_format format;
    uint32_t timeout_ms; /* 0: default */
    uint64_t rows_max;   /* 0: default. JSON formats: RF_ETOOBIG when there are more */
} rf_query_request;

typedef struct rf_query_answer {
    rf_sql_where where;  /* of SQL errors */
    const char *refused; /* RF_EFORBIDDEN: what the gate refuses, static or in the err text */
    uint64_t row_count;
    int64_t elapsed_us;
} rf_query_answer;

/* A handle to cancel by: `rf_query_handle handle = {0};` */
typedef struct rf_query_handle {
    _Atomic int canceled;
    _Atomic(void *) session; /* query's own */
} rf_query_handle;

/*
 * Runs one query and appends the complete answer to `out` in the format asked for (JSON: the object
 * {"columns","rows","rowCount","position","elapsedMs"[,"warnings"]}). Blocks; any thread.
 * Errors  RF_EINVAL      SQL error (where), bad parameter, bad token
 *         RF_EFORBIDDEN  the gate: text names what it refuses and what is allowed
 *         RF_ETIMEOUT    the deadline, waiting for `after` included
 *         RF_ETOOBIG     rows or bytes over the cap
 *         RF_EBUSY       too many queries, or a projection used is still being built
 *         RF_ECANCELED   by rf_query_cancel
 */
RF_CHECKED rf_status rf_query_run(rf_queries *q, const rf_query_request *request,
                                  rf_query_handle *handle, rf_buf *out, rf_query_answer *answer,
                                  rf_err *err);
void rf_query_cancel(rf_query_handle *handle);

typedef struct rf_query_stats {
    uint64_t queries, errors, refused, timeouts, running;
    const rf_hist *latency_us;
} rf_query_stats;
void rf_queries_get_stats(rf_queries *q, rf_query_stats *out);

#endif
