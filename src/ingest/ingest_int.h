/*
 * ingest, inside: chunks of events, and what a request is made of.
 *
 *   request.c   the life of a request: feed, end, free; who wakes whom
 *   coding.c    gzip and zstd, as streams
 *   lines.c     NDJSON: bytes to chunks of whole lines
 *   whole.c     one event, a batch, or binary mode: the body is one chunk
 *   admit.c     one event into a chunk, or its fault: decode, expectation, route
 *   submit.c    a chunk to the log, by partition, and back
 *   settle.c    what the log said becomes the outcome
 *   chunk.c     memory of chunks, and its reuse
 *   route.c     type -> domain
 *   rules.c     faults and their counters
 *
 * Threads: a request is driven by one owner thread. A chunk belongs to the owner until it is
 * submitted, then to the log until all its appends are done, then to the owner again (or, when the
 * owner gave the request up, to the last writer thread, which recycles it).
 */
#ifndef RF_INGEST_INT_H
#define RF_INGEST_INT_H

#include "ingest/ingest.h"

#include <pthread.h>
#include <stdatomic.h>

#define RFI_IN_FLIGHT_MAX 4               /* chunks of one request at the log */
#define RFI_RESULTS_BYTES_MAX (64u << 20) /* of one outcome */
#define RFI_HEAD_BYTES_MAX (256u << 10)   /* attributes of a binary event */

/* ---- chunks ------------------------------------------------------------------------------------
 */

/* How big a chunk starts; decides which free list it returns to. */
typedef enum rfi_size {
    RFI_SMALL,  /* one event */
    RFI_MEDIUM, /* a batch, or the beginning of a stream of lines */
    RFI_LARGE,  /* the rest of a long stream */
    RFI_SIZES
} rfi_size;

/* The events of a chunk that go to one partition. */
typedef struct rfi_share {
    rf_log_part *part;
    uint32_t count;
    uint32_t start; /* of its events in the order they are submitted in */
} rfi_share;

/* Bytes, the events decoded from them, and what came of those. */
typedef struct rfi_chunk rfi_chunk;
struct rfi_chunk {
    rfi_chunk *next; /* in a free list, or in the request's queue */
    rf_ingest_request *request;
    rfi_size size;

    char *bytes; /* events borrow from here: never moved once one was decoded */
    size_t n, cap;
    rf_decoder *decoder;

    /* The good events, in order of input. */
    rf_event *events;
    rf_expect *expects;
    uint64_t *index;    /* number of the event in the batch, or of its line */
    uint16_t *share_of; /* index into shares */
    rf_receipt *receipts;
    uint32_t count, events_cap;
    bool expects_any; /* one of them expects a revision */

    rfi_share *shares;
    uint32_t share_count, shares_cap;

    /* Only when there is more than one share: events in order of shares; slot[i] is where event i
     * went (else it stays where it is). */
    rf_event *sorted;
    rf_expect *sorted_expects;
    uint32_t *slot;
    uint32_t sorted_cap;

    rf_append *appends; /* one a share */
    uint32_t appends_cap;
    _Atomic uint32_t pending; /* appends not yet done */
    bool done;                /* guarded by the request's mutex while in flight */

    /* The bad ones: the first RF_INGEST_ERRORS_MAX in order, and how many. */
    rf_ingest_error *errors;
    uint32_t error_count, errors_cap;
    uint64_t rejected;
};

typedef struct rfi_pool {
    pthread_mutex_t mutex;
    rfi_chunk *free[RFI_SIZES]; /* guarded by mutex */
    uint32_t count[RFI_SIZES];
    rf_event_limits limits;
    uint64_t content_seed;
} rfi_pool;

void rfi_ingest_pool_init(rfi_pool *pool, const rf_event_limits *limits, uint64_t content_seed);
void rfi_ingest_pool_clear(rfi_pool *pool);
size_t rfi_ingest_size_bytes(rfi_size size);
/* An empty chunk; NULL without memory. Any thread. */
rfi_chunk *rfi_ingest_chunk_take(rfi_pool *pool, rfi_size size);
void rfi_ingest_chunk_give(rfi_pool *pool, rfi_chunk *chunk);
/* Room for `cap` bytes in all; only while no event borrows from the chunk. */
RF_CHECKED bool rfi_ingest_chunk_grow(rfi_chunk *chunk, size_t cap);
/* Room for one more event. */
RF_CHECKED bool rfi_ingest_chunk_room(rfi_chunk *chunk);
/* Room for one more share. */
RF_CHECKED bool rfi_ingest_chunk_share_room(rfi_chunk *chunk);
/* Room for what submitting needs: appends, and the sorted copy. */
RF_CHECKED bool rfi_ingest_chunk_submit_room(rfi_chunk *chunk);
/* Keeps the fault when there is room for it; counts it anyway. */
void rfi_ingest_chunk_reject(rfi_chunk *chunk, const rf_ingest_error *error);

/* ---- routing
 * ------------------------------------------------------------------------------------- */

typedef struct rfi_routes rfi_routes;

/* Copies and checks the rules. */
RF_CHECKED rf_status rfi_ingest_routes_new(const rf_domain_rule *rules, size_t count,
                                           rfi_routes **out, rf_err *err);
void rfi_ingest_routes_free(rfi_routes **routes);
rf_str rfi_ingest_routes_domain(const rfi_routes *routes, rf_str type);
bool rfi_ingest_type_is_system(rf_str type);

/* ---- faults and counters
 * ------------------------------------------------------------------------- */

enum { RFI_RULES = 32 };

typedef struct rfi_rules {
    _Atomic uint64_t count[RFI_RULES];
} rfi_rules;

void rfi_ingest_rules_count(rfi_rules *rules, const char *rule, uint64_t n);
void rfi_ingest_rules_each(const rfi_rules *rules,
                           void (*each)(void *arg, const char *rule, uint64_t n), void *arg);
/* Fills a fault; a detail that is too long is cut between characters. */
void rfi_ingest_fault(rf_event_fault *fault, const char *rule, const char *path, const char *fmt,
                      ...) RF_PRINTF(4, 5);
/* At most max bytes of s, cut between characters: for texts. */
rf_str rfi_ingest_shorten(rf_str s, size_t max);

/* ---- content codings
 * ------------------------------------------------------------------------------- */

typedef struct rfi_coding rfi_coding;

typedef struct rfi_coding_step {
    const char *in;
    size_t in_n; /* both advance by what was taken */
    char *out;
    size_t out_n; /* both advance by what was given */
    bool more;    /* out became full: there may be more to give without more input */
} rfi_coding_step;

rfi_coding *rfi_ingest_coding_new(rf_ingest_coding kind); /* NULL without memory */
void rfi_ingest_coding_free(rfi_coding **coding);
/* RF_OK, RF_ENOMEM, or RF_EINVAL with why the stream is broken (static). */
RF_CHECKED rf_status rfi_ingest_coding_run(rfi_coding *coding, rfi_coding_step *step,
                                           const char **why);
/* There is no more input: RF_EINVAL with why it cannot be the end. */
RF_CHECKED rf_status rfi_ingest_coding_end(const rfi_coding *coding, const char **why);

/* ---- the ingest, and a request
 * ----------------------------------------------------------------------- */

struct rf_ingest {
    rf_log *log;
    rf_ingest_options options; /* checked, defaults filled in; without the rules */
    rfi_routes *routes;
    rfi_pool pool;
    rfi_rules rules;
    _Atomic uint64_t events, duplicates, bytes, requests, busy;

    pthread_mutex_t mutex;
    pthread_cond_t quiet;
    uint64_t owned; /* guarded by mutex: requests between begin and free */
    uint64_t live;  /* and those whose memory exists */
};

/* How a form takes the body. */
typedef struct rfi_form {
    /* Where the next bytes may go, at least one; NULL when the request failed. */
    char *(*room)(rf_ingest_request *r, size_t *n);
    /* n bytes were put there. */
    void (*took)(rf_ingest_request *r, size_t n);
    /* There are no more. */
    void (*finish)(rf_ingest_request *r);
} rfi_form;

extern const rfi_form rfi_ingest_form_lines;
extern const rfi_form rfi_ingest_form_event;
extern const rfi_form rfi_ingest_form_batch;
extern const rfi_form rfi_ingest_form_binary;

struct rf_ingest_request {
    rf_ingest *ingest;
    rf_ingest_request_options options; /* content_type is in the chunk's bytes */
    const rfi_form *form;
    _Atomic uint32_t refs; /* the owner, and every chunk in flight */

    /* Owner thread. */
    rfi_coding *coding;     /* NULL: identity */
    bool coding_more;       /* it holds output */
    uint64_t coded;         /* bytes that went into it */
    rf_buf backlog;         /* bytes that were fed while too much was in flight... */
    size_t backlog_used;    /* ...and how many of them have been taken since */
    rfi_chunk *gather;      /* being filled */
    rfi_chunk *head, *tail; /* submitted, in order of input, and not settled */
    bool ended;             /* rf_ingest_end was called */
    bool finished;          /* and all of the body was taken */
    bool failed;
    bool concluded; /* the outcome is complete */
    bool first_seen;
    size_t feeding;                /* bytes offered by the call of rf_ingest_feed that runs */
    rf_ingest_error fault;         /* of the whole request; rule NULL: none */
    rf_str last_type, last_domain; /* of the event before, within one chunk */
    /* lines.c */
    uint64_t line;
    size_t scanned; /* bytes at the start of `gather` that are known to hold no newline */
    bool skipping;  /* inside a line that was too long */
    /* whole.c */
    size_t content_type_n, body_at;
    rf_ingest_outcome outcome;

    /* Shared with the writer threads. */
    pthread_mutex_t mutex;
    pthread_cond_t quiet;
    uint32_t in_flight; /* all guarded by mutex */
    uint32_t waking;    /* calls of options.wake that run now */
    bool wanted;        /* the owner was told to wait */
    bool sealed;        /* no further chunk will be submitted */
    bool woken;         /* the wake for the outcome was given */
    bool detached;      /* the owner is gone */
};

/* request.c */
/* The request cannot succeed any more; the first reason stays. `rule` NULL: not the input's fault.
 */
void rfi_ingest_request_fail(rf_ingest_request *r, rf_status status, const char *rule,
                             const char *fmt, ...) RF_PRINTF(4, 5);
void rfi_ingest_request_fail_fault(rf_ingest_request *r, rf_status status,
                                   const rf_event_fault *fault);
void rfi_ingest_request_fail_nomem(rf_ingest_request *r);
void rfi_ingest_request_unref(rf_ingest_request *r);

/* admit.c */
/* Decodes one event into the chunk, or notes its fault there. */
void rfi_ingest_admit(rf_ingest_request *r, rfi_chunk *chunk, rf_str text, uint64_t index);
/* The same for an event that was decoded into chunk->events[chunk->count], or (st) could not be. */
void rfi_ingest_admit_decoded(rf_ingest_request *r, rfi_chunk *chunk, rf_status st, uint64_t index,
                              const rf_event_fault *fault);
/* True, and a fault, when text begins with a byte order mark. */
bool rfi_ingest_has_bom(rf_str text, rf_event_fault *fault);

/* submit.c */
/* Hands the chunk over; it comes back through rfi_ingest_harvest. */
void rfi_ingest_submit(rf_ingest_request *r, rfi_chunk *chunk, bool atomic);
/* Settles what is done, in order of input. */
void rfi_ingest_harvest(rf_ingest_request *r);

/* settle.c */
typedef struct rfi_tally {
    uint64_t accepted, duplicates, conflict_ids, conflict_revisions;
    const rf_append
        *failed; /* a group that failed as a whole, for a reason that is not a conflict */
} rfi_tally;

/* Counts what the log said of a chunk that is done, also in the statistics. Any thread. */
rfi_tally rfi_ingest_tally_chunk(rf_ingest *ingest, const rfi_chunk *chunk);
/* Adds a done chunk to the outcome. */
void rfi_ingest_settle(rf_ingest_request *r, const rfi_chunk *chunk);
/* Everything is settled: decides the outcome. */
void rfi_ingest_conclude(rf_ingest_request *r);

#endif
