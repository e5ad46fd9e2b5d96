/*
 * ingest: from bytes to the log. Decodes, checks, routes to a domain and partition, submits, and
 * gathers the answer. Knows nothing of HTTP or SQL: server/ feeds it bytes and renders the outcome.
 */
#ifndef RF_INGEST_H
#define RF_INGEST_H

#include "base/base.h"
#include "event/event.h"
#include "log/log.h"

/* ---- routing -----------------------------------------------------------------------------------
 */

/* Types that begin with `prefix` (whole segments: "shop" covers "shop.order" but not "shopping")
 * belong to `domain`. The longest prefix wins; no rule: "default". */
typedef struct rf_domain_rule {
    rf_str domain;
    rf_str prefix;       /* empty: the domain's own name followed by a dot */
    uint32_t partitions; /* at the domain's creation; 0: the default */
} rf_domain_rule;

typedef struct rf_ingest rf_ingest;

typedef struct rf_ingest_options {
    rf_log *log;
    rf_event_limits limits;
    const rf_domain_rule *rules; /* copied */
    size_t rule_count;
    uint64_t body_bytes_max;     /* of a single event or a JSON batch, decompressed; 16 MiB */
    uint64_t pending_bytes_max;  /* submitted and not yet durable, over all requests; 256 MiB */
    uint32_t batch_events_max;   /* in a JSON batch; 10,000 */
    uint32_t partitions_default; /* 1 */
    /* Bomb limit: a compressed body may not expand to more than ratio times its size once it is
     * over 1 MiB. 200. */
    uint32_t expand_ratio_max;
} rf_ingest_options;

/* Makes the default, system and configured domains in the log. */
RF_CHECKED rf_status rf_ingest_open(const rf_ingest_options *options, rf_ingest **out, rf_err *err);
void rf_ingest_close(rf_ingest **ingest); /* after every request ended */

/* Types beginning "refold." go there, and only from `system` requests. */
#define RF_SYSTEM_DOMAIN "refold"
#define RF_DEFAULT_DOMAIN "default"

/* The domain of a type. Borrowed for the life of the ingest. Any thread. */
rf_str rf_ingest_domain_of(const rf_ingest *ingest, rf_str type);

/* ---- one request
 * ---------------------------------------------------------------------------------- */

typedef enum rf_ingest_form {
    RF_FORM_EVENT,  /* one structured CloudEvent */
    RF_FORM_BATCH,  /* JSON array of them */
    RF_FORM_NDJSON, /* one a line, any length of body; empty lines are skipped */
    RF_FORM_BINARY  /* attributes by rf_ingest_attr, body is data */
} rf_ingest_form;

typedef enum rf_ingest_coding {
    RF_CODING_IDENTITY,
    RF_CODING_GZIP,
    RF_CODING_ZSTD
} rf_ingest_coding;

typedef struct rf_ingest_request_options {
    rf_ingest_form form;
    rf_ingest_coding coding;
    rf_str content_type; /* BINARY: of the data; copied */
    bool report_errors;  /* BATCH: store the good ones (on-error=report); NDJSON always does */
    bool want_results;   /* fill results for each event (EVENT and BATCH: always) */
    bool system;         /* may write to the system domain */
    rf_expect expect;    /* of the request's first event (If-Match); ANY: none */
    /* Called from any thread, perhaps before feed/end return, when (a) a request that answered
     * "busy" may be fed again, or (b) the outcome is ready. Must be quick. */
    void (*wake)(void *arg);
    void *arg;
} rf_ingest_request_options;

typedef struct rf_ingest_request rf_ingest_request;

/* RF_EBUSY when the node is over pending_bytes_max: refuse before work is done. One owner thread
 * drives a request; wake comes from others. */
RF_CHECKED rf_status rf_ingest_begin(rf_ingest *ingest, const rf_ingest_request_options *options,
                                     rf_ingest_request **out, rf_err *err);
/* BINARY only, before the first feed: a ce- attribute, percent-decoded by the caller. */
void rf_ingest_attr(rf_ingest_request *r, rf_str name, rf_str value);

/* Takes all the bytes (copied). Returns true when more may be fed at once; false: stop reading from
 * the client until wake. Errors are kept for the outcome; after one that ends the request
 * (rf_ingest_failed) further bytes are ignored. */
bool rf_ingest_feed(rf_ingest_request *r, const void *p, size_t n);
/* The request cannot become a success any more; the server may answer and close as soon as there is
 * a result, without rf_ingest_end. */
bool rf_ingest_failed(const rf_ingest_request *r);
/* The body is complete. The outcome comes with wake. */
void rf_ingest_end(rf_ingest_request *r);
/* The outcome, once ready (the body ended, or the request failed, and nothing of it is under way);
 * NULL before. Owned by the request. Ask at every wake: what was fed while too much was in flight
 * is decoded in this call, too. A wake that was on its way may still come after the result was
 * seen. */
typedef struct rf_ingest_outcome rf_ingest_outcome;
const rf_ingest_outcome *rf_ingest_result(rf_ingest_request *r);
/* Gives the request up at any time (client gone): what was submitted completes by itself, nothing
 * is called back after this returns. Frees it. */
void rf_ingest_free(rf_ingest_request **r);

/* ---- the outcome
 * -------------------------------------------------------------------------------------- */

#define RF_INGEST_ERRORS_MAX 100 /* kept; the count goes on */

typedef struct rf_ingest_error {
    uint64_t index;       /* of the event in the batch, 0-based; NDJSON: line, 1-based */
    rf_status status;     /* RF_EINVAL, RF_ETOOBIG, RF_ECONFLICT, RF_EFORBIDDEN */
    rf_event_fault fault; /* rule also: conflict-id, conflict-revision, system-domain, and of the
                             whole request: batch-spans-partitions, bad-encoding, expansion-limit,
                             size. Then `index` is where it stopped: 0, or the first line of which
                             nothing was taken. */
} rf_ingest_error;

struct rf_ingest_outcome {
    /* RF_OK: see counts. RF_EINVAL/RF_ECONFLICT/RF_ETOOBIG: refused (all of it for EVENT, BINARY
     * and an all-or-nothing BATCH; NDJSON: no event was good). RF_EFULL, RF_EFENCED, RF_EBUSY: try
     * later; for NDJSON some events may be stored: accepted says how many. */
    rf_status status;
    rf_err err;
    uint64_t accepted;   /* newly stored */
    uint64_t duplicates; /* stored earlier */
    uint64_t rejected;
    uint64_t bytes;       /* decompressed */
    rf_position position; /* covers every event stored or found as duplicate */
    rf_ingest_error *errors;
    size_t error_count; /* <= RF_INGEST_ERRORS_MAX */
    /* Elements of a JSON array, comma separated, in order of input (rejected ones are absent):
     * {"id":…,"domain":…,"partition":…,"offset":…,"stream":…,"revision":…,"duplicate":…}
     * results.failed: more than 64 MiB of them; the list is cut, all else holds. */
    rf_buf results;
};

/* ---- counters
 * ------------------------------------------------------------------------------------------- */

typedef struct rf_ingest_stats {
    uint64_t events, duplicates, bytes, requests, busy;
} rf_ingest_stats;

void rf_ingest_get_stats(const rf_ingest *ingest, rf_ingest_stats *out);
/* Rejections by rule. */
void rf_ingest_each_rejection(const rf_ingest *ingest,
                              void (*each)(void *arg, const char *rule, uint64_t count), void *arg);

#endif
