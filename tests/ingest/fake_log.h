/*
 * A log in memory in place of src/log, for tests that must decide when an append is done and how it
 * ends. Include it in one test program: it defines the functions of log.h that ingest calls, so the
 * linker takes none of the real ones.
 */
#ifndef RF_TESTS_FAKE_LOG_H
#define RF_TESTS_FAKE_LOG_H

#include "log/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_PARTS_MAX 32

typedef struct fake_event {
    rf_hash128 key, stream, content;
    uint64_t revision;
} fake_event;

struct rf_log_part {
    rf_log *log;
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t number;
    fake_event *events;
    size_t count, cap;
    uint32_t *slots; /* hash table of events by key: index + 1; cap * 2 of them */
};

struct rf_log {
    rf_log_part parts[FAKE_PARTS_MAX];
    size_t part_count;
    uint64_t pending_bytes; /* what rf_log_pending_bytes says */
    bool hold;              /* appends wait for fake_release */
    rf_status fail;         /* groups end with this; RF_OK: as they deserve */
    size_t submitted;       /* groups, ever */
    rf_append *head, *tail; /* held, with their parts in submitted_us */
    pthread_mutex_t mutex;
};

static rf_hash128 fake_key(rf_str a, rf_str b)
{
    rf_hash128 x = rf_hash_fast(a.p, a.n, 1), y = rf_hash_fast(b.p, b.n, 2);
    return (rf_hash128){x.lo ^ y.hi, x.hi ^ y.lo};
}

static rf_log *fake_log_new(void)
{
    rf_log *log = rf_xcalloc(1, sizeof(*log));
    pthread_mutex_init(&log->mutex, NULL);
    return log;
}

static void fake_log_free(rf_log *log)
{
    RF_ASSERT(log->head == NULL);
    for (size_t i = 0; i < log->part_count; i++) {
        free(log->parts[i].events);
        free(log->parts[i].slots);
    }
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

/* The slot of the key, or the free one where it belongs. */
static uint32_t *fake_slot(const rf_log_part *p, rf_hash128 key)
{
    size_t at = key.lo % (2 * p->cap);

    while (p->slots[at] != 0 && !rf_hash_eq(p->events[p->slots[at] - 1].key, key))
        at = (at + 1) % (2 * p->cap);
    return &p->slots[at];
}

static void fake_index(rf_log_part *p)
{
    memset(p->slots, 0, 2 * p->cap * sizeof(*p->slots));
    for (size_t i = 0; i < p->count; i++)
        *fake_slot(p, p->events[i].key) = (uint32_t)i + 1;
}

static void fake_grow(rf_log_part *p)
{
    if (p->count < p->cap)
        return;
    p->cap = p->cap == 0 ? 64 : 2 * p->cap;
    p->events = rf_xrealloc(p->events, p->cap * sizeof(*p->events));
    p->slots = rf_xrealloc(p->slots, 2 * p->cap * sizeof(*p->slots));
    fake_index(p);
}

static uint64_t fake_next_revision(const rf_log_part *p, rf_hash128 stream)
{
    for (size_t i = p->count; i > 0; i--) {
        if (rf_hash_eq(p->events[i - 1].stream, stream))
            return p->events[i - 1].revision + 1;
    }
    return 0;
}

static bool fake_expected(const rf_expect *x, uint64_t next)
{
    switch (x->kind) {
    case RF_EXPECT_EXACT:
        return next > 0 && x->revision == next - 1;
    case RF_EXPECT_NO_STREAM:
        return next == 0;
    case RF_EXPECT_STREAM_EXISTS:
        return next > 0;
    case RF_EXPECT_ANY:
        break;
    }
    return true;
}

static rf_receipt fake_append_one(rf_log_part *p, const rf_event *e, const rf_expect *expect)
{
    fake_event new = {.key = fake_key(e->source, e->id), .content = e->content};
    rf_str stream = rf_event_stream(e);
    uint32_t *slot;

    new.stream = rf_hash_fast(stream.p, stream.n, 3);
    new.revision = fake_next_revision(p, new.stream);
    fake_grow(p);
    slot = fake_slot(p, new.key);
    if (*slot != 0) {
        const fake_event *old = &p->events[*slot - 1];
        if (rf_hash_eq(old->content, new.content))
            return (rf_receipt){.duplicate = true, .offset = *slot - 1, .revision = old->revision};
        return (rf_receipt){.status = RF_ECONFLICT, .conflict_id = true, .offset = *slot - 1};
    }
    if (expect != NULL && !fake_expected(expect, new.revision))
        return (rf_receipt){.status = RF_ECONFLICT, .revision = new.revision - 1};
    p->events[p->count++] = new;
    *slot = (uint32_t)p->count;
    return (rf_receipt){.offset = p->count - 1, .revision = new.revision};
}

/* Call with the mutex held. */
static void fake_decide(rf_log_part *p, rf_append *a)
{
    size_t before = p->count;
    bool conflict = false;

    a->status = p->log->fail;
    if (a->status != RF_OK)
        rf_err_set(&a->err, a->status, "the fake log was told to fail");
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->status != RF_OK) {
            a->receipts[i] = (rf_receipt){.status = a->status};
            continue;
        }
        a->receipts[i] = fake_append_one(p, &a->events[i], a->expects ? &a->expects[i] : NULL);
        conflict = conflict || a->receipts[i].status != RF_OK;
    }
    if (!a->atomic || !conflict)
        return;
    p->count = before;
    fake_index(p);
    a->status = rf_err_set(&a->err, RF_ECONFLICT, "an event of the group conflicts");
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->receipts[i].status == RF_OK)
            a->receipts[i] = (rf_receipt){.status = RF_ECANCELED};
    }
}

/* Finishes up to n held groups on the calling thread; `last_first` turns their order around (groups
 * of one partition keep theirs as long as they are one chunk each). Returns how many. */
static inline size_t fake_release(rf_log *log, size_t n)
{
    size_t done = 0;

    for (; done < n; done++) {
        rf_append *a;

        pthread_mutex_lock(&log->mutex);
        a = log->head;
        if (a != NULL) {
            log->head = a->next;
            if (log->head == NULL)
                log->tail = NULL;
            fake_decide((rf_log_part *)(uintptr_t)a->submitted_us, a);
        }
        pthread_mutex_unlock(&log->mutex);
        if (a == NULL)
            break;
        a->done(a);
    }
    return done;
}

/* Finishes the group that was submitted last. */
static inline bool fake_release_last(rf_log *log)
{
    rf_append *a, **at = &log->head, *before = NULL;

    pthread_mutex_lock(&log->mutex);
    while (*at != NULL && (*at)->next != NULL) {
        before = *at;
        at = &(*at)->next;
    }
    a = *at;
    if (a != NULL) {
        *at = NULL;
        log->tail = before;
        fake_decide((rf_log_part *)(uintptr_t)a->submitted_us, a);
    }
    pthread_mutex_unlock(&log->mutex);
    if (a != NULL)
        a->done(a);
    return a != NULL;
}

/* ---- log.h -------------------------------------------------------------------------------------
 */

uint64_t rf_log_content_seed(const rf_log *log)
{
    (void)log;
    return 4711;
}

rf_status rf_log_domain(rf_log *log, rf_str domain, uint32_t partitions, rf_err *err)
{
    (void)err;
    for (size_t i = 0; i < log->part_count; i++) {
        if (rf_str_eq(domain, rf_str_from(log->parts[i].domain)))
            return RF_OK;
    }
    for (uint32_t i = 0; i < partitions; i++) {
        rf_log_part *p = &log->parts[log->part_count++];
        RF_ASSERT(log->part_count <= FAKE_PARTS_MAX && domain.n <= RF_DOMAIN_MAX);
        memcpy(p->domain, domain.p, domain.n);
        p->number = i;
        p->log = log;
    }
    return RF_OK;
}

rf_log_part *rf_log_route(rf_log *log, rf_str domain, rf_str stream)
{
    size_t first = 0, n = 0;

    while (first < log->part_count && !rf_str_eq(domain, rf_str_from(log->parts[first].domain)))
        first++;
    while (first + n < log->part_count &&
           rf_str_eq(domain, rf_str_from(log->parts[first + n].domain)))
        n++;
    return n == 0 ? NULL : &log->parts[first + rf_hash_fast(stream.p, stream.n, 9).lo % n];
}

rf_str rf_log_part_domain(const rf_log_part *part)
{
    return rf_str_from(part->domain);
}

uint32_t rf_log_part_number(const rf_log_part *part)
{
    return part->number;
}

void rf_log_submit(rf_log_part *part, rf_append *a)
{
    rf_log *log = part->log;
    bool hold;

    pthread_mutex_lock(&log->mutex);
    log->submitted++;
    hold = log->hold;
    if (hold) {
        a->next = NULL;
        a->submitted_us = (int64_t)(uintptr_t)part;
        if (log->tail == NULL)
            log->head = a;
        else
            log->tail->next = a;
        log->tail = a;
    } else {
        fake_decide(part, a);
    }
    pthread_mutex_unlock(&log->mutex);
    if (!hold)
        a->done(a);
}

uint64_t rf_log_pending_bytes(const rf_log *log)
{
    return log->pending_bytes;
}

#endif
