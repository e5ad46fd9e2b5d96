/* What the tests of ingest share: a request driven from begin to outcome, and its outcome as text.
 */
#ifndef RF_TESTS_INGEST_SUPPORT_H
#define RF_TESTS_INGEST_SUPPORT_H

#include "ingest/ingest.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counts wakes, and lets the owner wait for the next. */
typedef struct waker {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned wakes; /* guarded by mutex */
} waker;

#define WAKER_INIT                                                                                 \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                     \
    }

static inline void waker_wake(void *arg)
{
    waker *w = arg;

    pthread_mutex_lock(&w->mutex);
    w->wakes++;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

static inline unsigned waker_count(waker *w)
{
    unsigned n;

    pthread_mutex_lock(&w->mutex);
    n = w->wakes;
    pthread_mutex_unlock(&w->mutex);
    return n;
}

/* Takes one wake, waiting for it. */
static inline void waker_wait(waker *w)
{
    pthread_mutex_lock(&w->mutex);
    while (w->wakes == 0)
        pthread_cond_wait(&w->cond, &w->mutex);
    w->wakes--;
    pthread_mutex_unlock(&w->mutex);
}

/* The next of a number of pieces a body is fed in. */
typedef struct cutter {
    size_t at;     /* first piece, when not 0 */
    size_t piece;  /* later ones; 0: all the rest */
    uint64_t seed; /* not 0: random pieces of 1..piece bytes */
} cutter;

static inline uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static inline size_t cut_next(cutter *c, size_t left)
{
    size_t n = c->piece == 0 ? left : c->piece;

    if (c->at > 0) {
        n = c->at;
        c->at = 0;
    } else if (c->seed != 0) {
        n = 1 + next_random(&c->seed) % c->piece;
    }
    return RF_MIN(n, left);
}

/* A request and who waits for it: the waker must live until the request is freed. */
typedef struct run {
    waker waker;
    rf_ingest_request *r;
    const rf_ingest_outcome *o;
} run;

static inline run *run_begin(rf_ingest *ingest, rf_ingest_request_options o)
{
    run *it = calloc(1, sizeof(*it));
    rf_err err = {0};
    rf_status st;

    it->waker = (waker)WAKER_INIT;
    o.wake = waker_wake;
    o.arg = &it->waker;
    st = rf_ingest_begin(ingest, &o, &it->r, &err);
    RF_ASSERT(st == RF_OK);
    return it;
}

static inline void run_free(run *it)
{
    rf_ingest_free(&it->r);
    free(it);
}

/* Feeds n bytes from memory of just that size, so that the sanitizer sees who reads beyond or
 * later. */
static inline bool feed_copy(rf_ingest_request *r, const char *p, size_t n)
{
    char *piece = malloc(n);
    bool more;

    memcpy(piece, p, n);
    more = rf_ingest_feed(r, piece, n);
    free(piece);
    return more;
}

/* Feeds a body as the cutter says, waiting when told to, ends it and waits for the outcome. */
static inline void run_body(run *it, rf_str body, cutter cut)
{
    while (body.n > 0 && !rf_ingest_failed(it->r)) {
        size_t n = cut_next(&cut, body.n);

        if (!feed_copy(it->r, body.p, n))
            waker_wait(&it->waker);
        body = (rf_str){body.p + n, body.n - n};
    }
    rf_ingest_end(it->r);
    while ((it->o = rf_ingest_result(it->r)) == NULL)
        waker_wait(&it->waker);
}

static inline run *run_all(rf_ingest *ingest, rf_ingest_request_options o, rf_str body, cutter cut)
{
    run *it = run_begin(ingest, o);

    run_body(it, body, cut);
    return it;
}

/* All that an outcome says, as text to compare. Of a body that is too big it does not matter how
 * much was taken until that was seen. */
static inline void describe(const rf_ingest_outcome *o, rf_buf *out)
{
    rf_buf_addf(out, "%s acc=%" PRIu64 " dup=%" PRIu64 " rej=%" PRIu64 " bytes=%" PRIu64 "\n",
                rf_status_name(o->status), o->accepted, o->duplicates, o->rejected,
                o->status == RF_ETOOBIG ? 0 : o->bytes);
    rf_buf_addf(out, "err: %s\n", o->status == RF_OK ? "" : o->err.text);
    rf_buf_add_cstr(out, "position: ");
    rf_position_encode(&o->position, out);
    for (size_t i = 0; i < o->error_count; i++) {
        const rf_ingest_error *e = &o->errors[i];
        rf_buf_addf(out, "\n%" PRIu64 " %s %s %s @%" PRIu64 " %s", e->index,
                    rf_status_name(e->status), e->fault.rule, e->fault.path, e->fault.position,
                    e->fault.detail);
    }
    rf_buf_add_cstr(out, "\nresults: ");
    rf_buf_add_str(out, rf_buf_str(&o->results));
}

#endif
