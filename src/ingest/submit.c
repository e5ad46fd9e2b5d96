/*
 * A chunk goes to the log, one append for each partition it touches, and comes back.
 *
 *   owner    rfi_ingest_submit -> rf_log_submit ...        chunk in the request's queue, not done
 *   writers  append_done, the last one -> landed    done, or recycled when the owner is gone
 *   owner    rfi_ingest_harvest -> rfi_ingest_settle              in the order of input, whatever
 * finished first
 *
 * I1  A chunk in flight holds a reference to its request: its memory outlives the owner's interest.
 * I2  `options.wake` is never called with a lock held, nor after rf_ingest_free returned: free
 * waits for the calls that run (`waking`) and forbids further ones (`detached`).
 */
#include "ingest/ingest_int.h"

#include <string.h>

/* Puts the events of each share side by side; within a share they keep their order. */
static void sort_by_share(rfi_chunk *c)
{
    uint32_t start = 0;

    for (uint32_t s = 0; s < c->share_count; s++) {
        c->shares[s].start = start;
        start += c->shares[s].count;
        c->shares[s].count = 0;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        rfi_share *share = &c->shares[c->share_of[i]];
        uint32_t to = share->start + share->count++;

        c->slot[i] = to;
        c->sorted[to] = c->events[i];
        c->sorted_expects[to] = c->expects[i];
    }
}

static void wake(rf_ingest_request *r)
{
    r->options.wake(r->options.arg);
    pthread_mutex_lock(&r->mutex);
    r->waking--;
    if (r->detached)
        pthread_cond_signal(&r->quiet);
    pthread_mutex_unlock(&r->mutex);
}

/* On a writer thread: every append of the chunk is done. */
static void landed(rfi_chunk *c)
{
    rf_ingest_request *r = c->request;
    bool gone, due = false;

    pthread_mutex_lock(&r->mutex);
    gone = r->detached;
    c->done = true;
    r->in_flight--;
    if (!gone && r->sealed && !r->woken && r->in_flight == 0)
        due = r->woken = true;
    else if (!gone && r->wanted && r->in_flight < RFI_IN_FLIGHT_MAX)
        due = true;
    if (due) {
        r->wanted = false;
        r->waking++;
    }
    pthread_mutex_unlock(&r->mutex);

    /* Not gone: from here on the chunk is the owner's. */
    if (gone) {
        (void)rfi_ingest_tally_chunk(r->ingest, c);
        rfi_ingest_chunk_give(&r->ingest->pool, c);
    }
    if (due)
        wake(r);
    rfi_ingest_request_unref(r);
}

static void append_done(rf_append *a)
{
    rfi_chunk *c = a->arg;

    if (atomic_fetch_sub_explicit(&c->pending, 1, memory_order_acq_rel) == 1)
        landed(c);
}

static void prepare(rfi_chunk *c, bool atomic)
{
    bool sorted = c->share_count > 1;

    if (sorted)
        sort_by_share(c);
    else
        c->shares[0].start = 0;
    for (uint32_t s = 0; s < c->share_count; s++) {
        uint32_t start = c->shares[s].start;
        const rf_expect *expects = (sorted ? c->sorted_expects : c->expects) + start;

        c->appends[s] = (rf_append){
            .events = (sorted ? c->sorted : c->events) + start,
            .expects = c->expects_any ? expects : NULL,
            .count = c->shares[s].count,
            .atomic = atomic,
            .receipts = c->receipts + start,
            .done = append_done,
            .arg = c,
        };
    }
}

static void enqueue(rf_ingest_request *r, rfi_chunk *c)
{
    c->next = NULL;
    if (r->tail == NULL)
        r->head = c;
    else
        r->tail->next = c;
    r->tail = c;
}

void rfi_ingest_submit(rf_ingest_request *r, rfi_chunk *c, bool atomic)
{
    uint32_t shares = c->share_count;

    if (c->count > 0 && !rfi_ingest_chunk_submit_room(c)) {
        rfi_ingest_chunk_give(&r->ingest->pool, c);
        rfi_ingest_request_fail_nomem(r);
        return;
    }
    enqueue(r, c);
    if (c->count == 0) { /* only faults: they still wait for their turn */
        c->done = true;
        rfi_ingest_harvest(r);
        return;
    }
    RF_ASSERT(!atomic || shares == 1);
    prepare(c, atomic);
    c->request = r;
    c->done = false;
    atomic_store_explicit(&c->pending, shares, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    pthread_mutex_lock(&r->mutex);
    r->in_flight++;
    pthread_mutex_unlock(&r->mutex);
    /* The chunk stays ours until the last of its appends is submitted, not a moment longer. */
    for (uint32_t s = 0; s < shares; s++)
        rf_log_submit(c->shares[s].part, &c->appends[s]);
    rfi_ingest_harvest(r);
}

void rfi_ingest_harvest(rf_ingest_request *r)
{
    while (r->head != NULL) {
        rfi_chunk *c = r->head;
        bool done;

        pthread_mutex_lock(&r->mutex);
        done = c->done;
        pthread_mutex_unlock(&r->mutex);
        if (!done)
            break;
        r->head = c->next;
        if (r->head == NULL)
            r->tail = NULL;
        rfi_ingest_settle(r, c);
        rfi_ingest_chunk_give(&r->ingest->pool, c);
    }
}
