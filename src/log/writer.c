/*
 * The writer of one partition: one thread, one commit after the other. While a commit is being
 * synced the next one gathers in the queue, so the size of commits adapts to the disk by itself.
 *
 * What it guarantees
 *   W1  done() is called only after the sync that covers what the receipt says (P1).
 *   W2  One sync a commit, never tried again: a failed one fences the partition for good (the
 * kernel may have dropped the pages and a second sync would lie). W3  A commit whose write failed
 * leaves nothing: not in memory, and not in the file, where its first header is overwritten and
 * synced before anybody is told "not stored" (else a crash right after could find the block whole).
 *   W4  An atomic group lies in one block, so recovery keeps or cuts all of it (P6).
 *   W5  Events get their offsets here, one after the other: no gaps, and nothing becomes visible
 * before what came before it.
 *
 * States        OPEN --no space--> FULL --a commit succeeds--> OPEN          commit_failed, commit
 *               OPEN, FULL --a sync fails, a write fails otherwise--> FENCED   fence
 */
#include "log/bugs_int.h"
#include "log/part_int.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#define COMMIT_EVENTS_MAX (1u << 17)
#define COMMIT_BYTES_MAX (32u << 20)
#define WRITE_BYTES ((size_t)1 << 20) /* finished blocks gather to this before a write */
#define ALLOCATE_BYTES_MIN ((uint64_t)1 << 20)
#define ALLOCATE_BYTES_MAX ((uint64_t)16 << 20)
/* Small commits go into space that was written with zeros before: their sync then changes no
 * metadata, which takes a third to a half off it (measured on ext4: 82 us against 151 us for 16
 * KB). For large ones writing twice costs more than it saves. */
#define ZERO_AHEAD_BYTES ((uint64_t)256 << 10)
#define ZERO_COMMIT_BYTES_MAX ((uint64_t)64 << 10)

/* ---- the queue
 * --------------------------------------------------------------------------------------- */

static uint64_t event_bytes(const rf_event *e)
{
    return e->id.n + e->source.n + e->type.n + e->subject.n + e->datacontenttype.n +
           e->dataschema.n + e->time_text.n + e->correlationid.n + e->causationid.n +
           e->traceparent.n + e->extensions.n + e->data.n;
}

void rf_log_submit(rf_log_part *part, rf_append *a)
{
    RF_ASSERT(a->count > 0 && a->count <= RF_APPEND_EVENTS_MAX && a->done != NULL);
    a->next = NULL;
    a->status = RF_OK;
    a->err = (rf_err){0};
    a->bytes = 0;
    a->submitted_us = rf_mono_us();
    rfi_keys *keys = malloc(a->count * sizeof *keys);
    for (uint32_t i = 0; i < a->count; i++) {
        a->bytes += event_bytes(&a->events[i]);
        if (keys != NULL)
            rfi_keys_of(part->log->meta.secret, &a->events[i], &keys[i]);
    }
    a->keys = keys;
    atomic_fetch_add(&part->log->pending_bytes, a->bytes);

    pthread_mutex_lock(&part->queue_mutex);
    RF_ASSERT(!part->stop);
    bool was_empty = part->queue == NULL;
    *part->queue_end = a;
    part->queue_end = &a->next;
    if (was_empty)
        pthread_cond_signal(&part->queue_moved);
    pthread_mutex_unlock(&part->queue_mutex);
}

/* Waits for appends and takes all; NULL when the partition stops and none is left. */
static rf_append *take_all(rf_log_part *p)
{
    pthread_mutex_lock(&p->queue_mutex);
    while (p->queue == NULL && !p->stop)
        pthread_cond_wait(&p->queue_moved, &p->queue_mutex);
    rf_append *list = p->queue;
    p->queue = NULL;
    p->queue_end = &p->queue;
    pthread_mutex_unlock(&p->queue_mutex);
    return list;
}

static void finish(rf_log_part *p, rf_append *a)
{
    free(a->keys);
    a->keys = NULL;
    a->next = NULL;
    rf_hist_record(&p->commit_us, (uint64_t)(rf_mono_us() - a->submitted_us));
    atomic_fetch_sub(&p->log->pending_bytes, a->bytes);
    a->done(a); /* the caller's again */
}

static void finish_all(rf_log_part *p, rf_append *list)
{
    while (list != NULL) {
        rf_append *next = list->next;
        finish(p, list);
        list = next;
    }
}

/* The same answer for every event of every group. */
static void refuse_all(rf_log_part *p, rf_append *list, const rf_err *err)
{
    for (rf_append *a = list; a != NULL; a = a->next) {
        a->status = err->status;
        a->err = *err;
        for (uint32_t i = 0; i < a->count; i++)
            a->receipts[i] = (rf_receipt){.status = err->status};
    }
    finish_all(p, list);
}

/* ---- blocks
 * -------------------------------------------------------------------------------------------- */

static rf_status zero_ahead(rf_log_part *p, uint64_t from, rf_err *err)
{
    static const uint8_t ZEROS[ZERO_AHEAD_BYTES];
    rfi_open_segment *s = &p->w.seg;
    if (p->w.commit_bytes_mean > ZERO_COMMIT_BYTES_MAX || from <= s->zeroed)
        return RF_OK;
    uint64_t to = RF_MIN(rfi_round_up(from, RFI_PAGE_BYTES) + ZERO_AHEAD_BYTES, s->allocated);
    if (to <= from)
        return RF_OK;
    rf_io *io = p->log->io;
    uint64_t page = rfi_round_up(from, RFI_PAGE_BYTES);
    rf_status st = io->pwrite(io, s->file, ZEROS, (size_t)(RF_MIN(page, to) - from), from, err);
    if (st == RF_OK && to > page)
        st = io->pwrite(io, s->file, ZEROS, (size_t)(to - page), page, err);
    s->zeroed = to;
    return st;
}

static rf_status allocate_to(rf_log_part *p, uint64_t end, rf_err *err)
{
    rfi_open_segment *s = &p->w.seg;
    rf_io *io = p->log->io;
    if (end <= s->allocated)
        return RF_OK;
    uint64_t most = p->log->options.segment_bytes_max;
    uint64_t step = RF_MAX(RF_MIN(s->at, ALLOCATE_BYTES_MAX), ALLOCATE_BYTES_MIN);
    uint64_t want = rfi_round_up(RF_MAX(end, RF_MIN(end + step, most)), RFI_PAGE_BYTES);
    rf_status st = io->allocate(io, s->file, want, err);
    if (st == RF_EFULL && want > rfi_round_up(end, RFI_PAGE_BYTES)) { /* is there just enough? */
        want = rfi_round_up(end, RFI_PAGE_BYTES);
        st = io->allocate(io, s->file, want, err);
    }
    if (st == RF_OK)
        s->allocated = want;
    return st;
}

static rf_status write_out(rf_log_part *p, rf_err *err)
{
    rfi_writer *w = &p->w;
    if (w->out.n == 0)
        return RF_OK;
    rf_status st = allocate_to(p, w->seg.at + w->out.n, err);
    if (st == RF_OK)
        st = p->log->io->pwrite(p->log->io, w->seg.file, w->out.p, w->out.n, w->seg.at, err);
    if (st != RF_OK)
        return st;
    w->seg.at += w->out.n;
    w->commit_bytes += w->out.n;
    rf_buf_reset(&w->out);
    return zero_ahead(p, w->seg.at, err);
}

static void count_type(void *types, rf_str type, uint32_t events)
{
    rfi_types_add(types, type, events);
}

static rfi_block_header header_of(const rf_log_part *p, uint64_t base_offset)
{
    const rfi_open_segment *s = &p->w.seg;
    rfi_block_header h = {
        .sequence = s->sequence,
        .base_offset = base_offset,
        .durable = atomic_load(&p->durable),
        .segment_id = s->head.segment_id,
        .position = s->at + p->w.out.n,
        .epoch = p->log->meta.epoch,
        .recorded_us = p->w.recorded_us,
    };
    memcpy(h.prev_hash, s->prev_hash, sizeof h.prev_hash);
    return h;
}

static void block_made(rf_log_part *p, const rfi_block_header *h)
{
    rfi_open_segment *s = &p->w.seg;
    const uint8_t *block = (const uint8_t *)p->w.out.p + p->w.out.n - h->total_bytes;
    rfi_block_hash(block, s->prev_hash);
    s->sequence++;
    s->durable_written = h->durable;
}

static rf_status flush_block(rf_log_part *p, uint64_t end_offset, rf_err *err)
{
    rfi_writer *w = &p->w;
    if (rfi_builder_count(w->builder) == 0)
        return RF_OK;
    rfi_block_header h = header_of(p, end_offset - rfi_builder_count(w->builder));
    if (!rfi_builder_finish(w->builder, &h, &w->out))
        return rf_err_set(err, RF_ENOMEM, "no memory for a block");
    block_made(p, &h);
    rfi_builder_types(w->builder, count_type, &w->types);
    rfi_builder_reset(w->builder);
    rfi_block_entry entry = {
        .at = h.position,
        .base_offset = h.base_offset,
        .count = h.count,
        .bytes = h.total_bytes,
        .recorded_us = h.recorded_us,
        .time_min_us = h.time_min_us,
        .time_max_us = h.time_max_us,
    };
    if (!rfi_mem_add_block(p->mem, &entry))
        return rf_err_set(err, RF_ENOMEM, "no memory for the index of blocks");
    return w->out.n >= WRITE_BYTES ? write_out(p, err) : RF_OK;
}

/* Encodes what is new in the group. */
static rf_status encode_append(rf_log_part *p, const rf_append *a, uint64_t *offset, rf_err *err)
{
    rfi_builder *b = p->w.builder;
    size_t target = p->log->options.block_bytes_target;
    bool whole = a->atomic && !RFI_BUG(RFI_BUG_SPLIT_ATOMIC);
    rf_status st = RF_OK;
    if (whole && rfi_builder_raw_bytes(b) + a->bytes > target)
        st = flush_block(p, *offset, err);
    for (uint32_t i = 0; st == RF_OK && i < a->count; i++) {
        const rf_receipt *r = &a->receipts[i];
        if (!rfi_is_new(r))
            continue;
        RF_ASSERT(r->offset == *offset);
        if (!rfi_builder_add(b, &a->events[i], r->revision))
            return rf_err_set(err, RF_ENOMEM, "no memory for a block");
        ++*offset;
        if (!whole && rfi_builder_raw_bytes(b) >= target)
            st = flush_block(p, *offset, err);
    }
    if (st == RF_OK && rfi_builder_raw_bytes(b) >= target)
        st = flush_block(p, *offset, err);
    return st;
}

static rf_status write_commit(rf_log_part *p, const rf_append *list, uint64_t offset, rf_err *err)
{
    rf_status st = RF_OK;
    for (const rf_append *a = list; st == RF_OK && a != NULL; a = a->next)
        st = encode_append(p, a, &offset, err);
    if (st == RF_OK)
        st = flush_block(p, offset, err);
    if (st == RF_OK)
        st = write_out(p, err);
    RF_ASSERT(st != RF_OK || offset == p->w.next);
    return st;
}

static rf_status sync_commit(rf_log_part *p, rf_err *err)
{
    rf_io *io = p->log->io;
    if (RFI_BUG(RFI_BUG_NO_SYNC))
        return RF_OK;
    int64_t start_us = rf_mono_us();
    rf_status st = io->sync(io, p->w.seg.file, err);
    if (st != RF_OK && RFI_BUG(RFI_BUG_RETRY_SYNC))
        st = io->sync(io, p->w.seg.file, err);
    rf_hist_record(&p->sync_us, (uint64_t)(rf_mono_us() - start_us));
    return st;
}

/* ---- a commit
 * -------------------------------------------------------------------------------------------- */

/* The state before the commit, to go back to. */
typedef struct savepoint {
    rfi_open_segment seg;
    uint64_t next;
    uint32_t mem_events, mem_blocks;
} savepoint;

static void fence(rf_log_part *p, const rf_err *why)
{
    p->w.fence_err = *why;
    p->w.fence_err.status = RF_EFENCED;
    rf_err_note(&p->w.fence_err, "%s/%u takes no more writes until refold starts again", p->domain,
                p->number);
    atomic_store(&p->state, RFI_STATE_FENCED);
    rfi_notice(p->log, "%s", p->w.fence_err.text);
}

/* W3: makes what the failed commit may have left in the file unreadable, durably. */
static rf_status neutralise(rf_log_part *p, uint64_t at, rf_err *err)
{
    static const uint8_t ZEROS[RFI_BLOCK_HEADER_BYTES];
    rf_io *io = p->log->io;
    if (RFI_BUG(RFI_BUG_NO_NEUTRALISE))
        return RF_OK;
    uint64_t size = 0;
    rf_status st = io->size(io, p->w.seg.file, &size, err);
    if (st != RF_OK || size <= at)
        return st;
    st = io->pwrite(io, p->w.seg.file, ZEROS, (size_t)RF_MIN(sizeof ZEROS, size - at), at, err);
    if (st == RF_OK)
        st = io->sync(io, p->w.seg.file, err);
    return st;
}

static void go_back(rf_log_part *p, const savepoint *to)
{
    rfi_writer *w = &p->w;
    rf_file *file = w->seg.file;
    uint64_t allocated = w->seg.allocated;
    w->seg = to->seg;
    w->seg.file = file;
    w->seg.allocated = allocated;
    w->seg.zeroed = to->seg.at; /* what lies behind may be anything now */
    w->next = to->next;
    rf_buf_reset(&w->out);
    rfi_builder_reset(w->builder);
    pthread_mutex_lock(&p->mutex);
    if (!RFI_BUG(RFI_BUG_NO_UNDO))
        rfi_mem_undo(p->mem, to->mem_events);
    rfi_mem_undo_blocks(p->mem, to->mem_blocks);
    pthread_mutex_unlock(&p->mutex);
}

/* A write failed: no space leaves the partition open for another try, anything else fences it. */
static void commit_failed(rf_log_part *p, rf_append *list, const savepoint *before, rf_err *why)
{
    rf_err err = {0};
    go_back(p, before);
    if (p->w.seg.file != NULL && neutralise(p, before->seg.at, &err) != RF_OK) {
        rf_err_note(&err, "after a failed write (%s)", rf_status_name(why->status));
        fence(p, &err);
    } else if (why->status == RF_EFULL) {
        if (atomic_exchange(&p->state, RFI_STATE_FULL) != RFI_STATE_FULL)
            rfi_notice(p->log, "%s/%u is full: %s", p->domain, p->number, why->text);
    } else if (why->status != RF_ENOMEM) {
        fence(p, why);
    }
    if (atomic_load(&p->state) == RFI_STATE_FENCED)
        refuse_all(p, list, &p->w.fence_err);
    else
        refuse_all(p, list, why);
}

void rfi_part_publish(rf_log_part *p)
{
    atomic_store(&p->recorded_us, p->w.recorded_us);
    atomic_store_explicit(&p->durable, p->w.next, memory_order_release);
    if (p->log->tail != NULL)
        rfi_tail_set(p->log->tail, p->tail_slot, p->w.next, p->w.recorded_us);
}

static void count_receipts(rf_log_part *p, const rf_append *list)
{
    uint64_t duplicates = 0, conflicts = 0;
    for (const rf_append *a = list; a != NULL; a = a->next) {
        for (uint32_t i = 0; i < a->count; i++) {
            duplicates += a->receipts[i].status == RF_OK && a->receipts[i].duplicate;
            conflicts += a->receipts[i].status == RF_ECONFLICT;
        }
    }
    atomic_fetch_add_explicit(&p->duplicates, duplicates, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->conflicts, conflicts, memory_order_relaxed);
}

static void commit_succeeded(rf_log_part *p, rf_append *list, const savepoint *before)
{
    rfi_writer *w = &p->w;
    if (w->next > before->next) {
        atomic_fetch_add_explicit(&p->blocks, w->seg.sequence - before->seg.sequence,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&p->appended, w->next - before->next, memory_order_relaxed);
        atomic_store_explicit(&p->bytes_open, w->seg.at, memory_order_relaxed);
        for (uint32_t i = 0; i < w->types.count; i++)
            rfi_types_add(&p->mem->types, (rf_str){w->types.of[i].name, w->types.of[i].name_bytes},
                          w->types.of[i].events);
        p->mem->types.other += w->types.other;
        w->commit_bytes_mean = (w->commit_bytes_mean * 7 + w->commit_bytes) / 8;
        rfi_part_publish(p);
        if (atomic_exchange(&p->state, RFI_STATE_OPEN) == RFI_STATE_FULL)
            rfi_notice(p->log, "%s/%u has space again", p->domain, p->number);
    }
    count_receipts(p, list);
    finish_all(p, list);
}

static void commit(rf_log_part *p, rf_append *list, uint32_t events)
{
    rf_err err = {0};
    rfi_writer *w = &p->w;
    if (atomic_load(&p->state) == RFI_STATE_FENCED) {
        refuse_all(p, list, &w->fence_err);
        return;
    }
    rf_status st = RF_OK;
    if (w->seg.file != NULL && (w->seg.at >= p->log->options.segment_bytes_max ||
                                p->mem->events >= RFI_SEGMENT_EVENTS_MAX))
        st = rfi_segment_end(p, &err);
    savepoint before = {w->seg, w->next, p->mem->events, p->mem->blocks_count};
    if (st == RF_OK)
        st = rfi_decide(p, list, events, &err);
    if (st != RF_OK) { /* nothing was entered */
        refuse_all(p, list, &err);
        return;
    }
    if (w->next == before.next) { /* all of it known or refused */
        commit_succeeded(p, list, &before);
        return;
    }
    w->commit_bytes = 0;
    w->recorded_us = RF_MAX(w->recorded_us, rf_wall_us());
    rfi_types_clear(&w->types);
    if (w->seg.file == NULL) {
        st = rfi_segment_create(p, before.next, &err);
        before.seg = w->seg;
    }
    if (st == RF_OK)
        st = write_commit(p, list, before.next, &err);
    if (st != RF_OK) {
        commit_failed(p, list, &before, &err);
        return;
    }
    if (RFI_BUG(RFI_BUG_ACK_BEFORE_SYNC)) {
        finish_all(p, list);
        list = NULL; /* the callers' again */
    }
    st = sync_commit(p, &err);
    if (st != RF_OK) {
        go_back(p, &before); /* so that readers do not count on it; the file stays as it is */
        fence(p, &err);
        refuse_all(p, list, &w->fence_err);
        return;
    }
    commit_succeeded(p, list, &before);
}

/* Cuts the list into commits that are bounded in events and bytes. */
static void commit_list(rf_log_part *p, rf_append *list)
{
    static const rf_err NO_MEMORY = {.status = RF_ENOMEM, .text = "no memory for an append"};
    static const rf_err TOO_BIG = {.status = RF_ETOOBIG, .text = "an append of more than 64 MiB"};
    while (list != NULL) {
        rf_append *first = NULL, **end = &first;
        uint64_t events = 0, bytes = 0;
        while (list != NULL && (first == NULL || (events + list->count <= COMMIT_EVENTS_MAX &&
                                                  bytes + list->bytes <= COMMIT_BYTES_MAX))) {
            rf_append *a = list;
            list = a->next;
            a->next = NULL;
            if (a->keys == NULL || a->bytes > RF_APPEND_BYTES_MAX) {
                refuse_all(p, a, a->keys == NULL ? &NO_MEMORY : &TOO_BIG);
                continue;
            }
            events += a->count;
            bytes += a->bytes;
            *end = a;
            end = &a->next;
        }
        if (first != NULL)
            commit(p, first, (uint32_t)events);
    }
}

/* A last block without events, which says that all before it is durable: without it, damage to the
 * last commit would look like a torn tail. */
static void write_marker(rf_log_part *p)
{
    rfi_writer *w = &p->w;
    rf_err err = {0};
    if (w->seg.file == NULL || atomic_load(&p->state) == RFI_STATE_FENCED ||
        w->seg.durable_written == w->next)
        return;
    savepoint before = {w->seg, w->next, p->mem->events, p->mem->blocks_count};
    rfi_block_header h = header_of(p, w->next);
    if (!rfi_builder_marker(&h, &w->out))
        return;
    block_made(p, &h);
    rf_status st = write_out(p, &err);
    if (st != RF_OK) /* whole or not: sealing cuts it off, or the next open takes it as it is */
        go_back(p, &before);
    else if (sync_commit(p, &err) != RF_OK)
        fence(p, &err);
    if (err.status != RF_OK)
        rfi_notice(p->log, "%s/%u: closing without a marker: %s", p->domain, p->number, err.text);
}

void *rfi_writer_main(void *part)
{
    rf_log_part *p = part;
    rf_append *list;
    while ((list = take_all(p)) != NULL)
        commit_list(p, list);
    write_marker(p);
    return NULL;
}

/* ---- append and wait
 * --------------------------------------------------------------------------------------- */

typedef struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
} waiter;

static void wake(rf_append *a)
{
    waiter *w = a->arg;
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

rf_status rf_log_append(rf_log_part *part, rf_append *a, rf_err *err)
{
    waiter w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    a->done = wake;
    a->arg = &w;
    rf_log_submit(part, a);
    pthread_mutex_lock(&w.mutex);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.mutex);
    pthread_mutex_unlock(&w.mutex);
    if (a->status != RF_OK)
        *err = a->err;
    return a->status;
}
