/*
 * Point reads: one event by its id, a stream by revision. The indexes give offsets, the log's own
 * view gives the blocks. Events that are not durable yet are not there for a reader (PROVES: P7's
 * log side).
 */
#include "log/block_int.h"
#include "log/part_int.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PAGE_ARENA_BYTES ((size_t)64 << 10)

struct rf_log_page {
    rf_arena *arena;
    rf_block *block; /* the one loaded last; kept over resets: blocks never change */
    const rf_log_part *block_part;
    uint64_t block_from, block_to; /* offsets in it; empty: none is loaded */
};

rf_log_page *rf_log_page_new(void)
{
    rf_log_page *page = rf_xcalloc(1, sizeof *page);
    page->arena = rf_arena_new(PAGE_ARENA_BYTES);
    page->block = rf_block_new();
    RF_ASSERT(page->arena != NULL);
    return page;
}

void rf_log_page_free(rf_log_page **page)
{
    if (*page == NULL)
        return;
    rf_arena_free(&(*page)->arena);
    rf_block_free(&(*page)->block);
    free(*page);
    *page = NULL;
}

/* ---- one event by offset
 * -------------------------------------------------------------------------------- */

static rf_status load_at(rf_log_part *p, uint64_t offset, rf_log_page *page, rf_err *err)
{
    if (page->block_part == p && offset >= page->block_from && offset < page->block_to)
        return RF_OK;
    rf_block_ref *refs = NULL;
    size_t count = 0;
    rf_str domain = rf_str_from(p->domain);
    page->block_to = page->block_from = 0;
    rf_status st =
        rf_log_view_blocks(p->log->view, domain, p->number, offset, offset + 1, &refs, &count, err);
    if (st == RF_OK && count == 0)
        st = rf_err_set(err, RF_EINTERNAL, "%s/%u: offset %" PRIu64 " is not readable yet",
                        p->domain, p->number, offset);
    if (st == RF_OK)
        st = rf_block_load(p->log->view, domain, p->number, &refs[0], page->block, err);
    if (st == RF_OK) {
        page->block_part = p;
        page->block_from = refs[0].base_offset;
        page->block_to = refs[0].base_offset + refs[0].count;
    }
    free(refs);
    return st;
}

static bool keep(rf_arena *a, rf_str *s)
{
    if (s->n == 0)
        return true;
    *s = rf_arena_dup(a, *s);
    return s->p != NULL;
}

/* Copied, since the next event may lie in another block. */
static rf_status event_at(rf_log_part *p, uint64_t offset, rf_log_page *page, rf_placed_event *out,
                          rf_err *err)
{
    rfi_frame f;
    rf_status st = load_at(p, offset, page, err);
    if (st != RF_OK)
        return st;
    uint32_t i = (uint32_t)(offset - page->block_from);
    rfi_block_frame(page->block, i, &f);
    rfi_block_event(page->block, i, &out->event);
    rf_event *e = &out->event;
    rf_str *all[] = {&e->id,          &e->source,      &e->type,
                     &e->subject,     &e->dataschema,  &e->datacontenttype,
                     &e->time_text,   &e->data,        &e->correlationid,
                     &e->causationid, &e->traceparent, &e->extensions};
    for (size_t k = 0; k < RF_ARRAY_LEN(all); k++) {
        if (!keep(page->arena, all[k]))
            return rf_err_set(err, RF_ENOMEM, "no memory for an event");
    }
    out->place = (rf_event_place){
        .domain = rf_str_from(p->domain),
        .partition = p->number,
        .offset = offset,
        .revision = f.revision,
        .recorded_us = page->block->head.recorded_us,
    };
    return RF_OK;
}

/* ---- by id
 * --------------------------------------------------------------------------------------------------
 */

static rf_status find_offset(rf_log_part *p, rfi_id_key key, rfi_id_hit *hit, rf_err *err)
{
    for (;;) {
        rfi_index *damaged = NULL;
        pthread_mutex_lock(&p->mutex);
        rfi_set *set = rfi_set_retain(p->set);
        bool here = rfi_mem_find_id(p->mem, key, hit);
        pthread_mutex_unlock(&p->mutex);
        rfi_found found = here ? RFI_FOUND : rfi_set_find_id(set, key, hit, &damaged);
        rf_status st = RF_OK;
        if (found == RFI_DAMAGED)
            st = rfi_part_repair(p, damaged, err);
        rfi_set_release(&set);
        if (st != RF_OK)
            return st;
        if (found == RFI_DAMAGED)
            continue;
        if (found == RFI_ABSENT ||
            hit->offset >= atomic_load_explicit(&p->durable, memory_order_acquire))
            return RF_ENOTFOUND;
        return RF_OK;
    }
}

static rf_status find_in_part(rf_log_part *p, rf_str source, rf_str id, rf_log_page *page,
                              rf_placed_event *out, rf_err *err)
{
    rfi_id_hit hit;
    rf_status st = find_offset(p, rfi_id_key_of(p->log->meta.secret, source, id), &hit, err);
    if (st == RF_OK)
        st = event_at(p, hit.offset, page, out, err);
    if (st == RF_OK && (!rf_str_eq(out->event.source, source) || !rf_str_eq(out->event.id, id)))
        st = RF_ENOTFOUND; /* two ids with one hash: never seen, but not impossible */
    return st;
}

rf_status rf_log_find(rf_log *log, rf_str domain, rf_str source, rf_str id, rf_log_page *page,
                      rf_placed_event *out, rf_err *err)
{
    rf_status st = RF_ENOTFOUND;
    rf_arena_reset(page->arena);
    pthread_rwlock_rdlock(&log->domains_lock);
    size_t domains = log->domains_count;
    rfi_domain **list = rf_xcalloc(domains + 1, sizeof(rfi_domain *)); /* no lock during reads */
    if (domains > 0)
        memcpy(list, log->domains, domains * sizeof(rfi_domain *));
    pthread_rwlock_unlock(&log->domains_lock);
    for (size_t i = 0; st == RF_ENOTFOUND && i < domains; i++) {
        if (domain.n > 0 && !rf_str_eq(domain, rf_str_from(list[i]->name)))
            continue;
        for (uint32_t n = 0; st == RF_ENOTFOUND && n < list[i]->partitions; n++)
            st = find_in_part(list[i]->parts[n], source, id, page, out, err);
    }
    free(list);
    if (st == RF_ENOTFOUND)
        rf_err_set(err, RF_ENOTFOUND, "no event with id '%.*s' and source '%.*s'",
                   (int)RF_MIN(id.n, (size_t)100), id.p, (int)RF_MIN(source.n, (size_t)100),
                   source.p);
    return st;
}

/* ---- a stream
 * --------------------------------------------------------------------------------------------------
 */

/* Revisions [lo, hi] of a stream and where they are. */
typedef struct stream_range {
    rf_hash128 key;
    uint64_t lo, hi;
    uint64_t *offsets; /* UINT64_MAX: not found */
} stream_range;

static void fill_from_mem(const rfi_mem *m, stream_range *r)
{
    uint32_t stream = rfi_mem_find_stream(m, r->key);
    if (stream == UINT32_MAX)
        return;
    const rfi_mem_stream *s = &m->streams[stream];
    for (uint32_t at = s->last; at != UINT32_MAX; at = m->prev[at]) {
        uint64_t revision = s->first_revision + m->nth[at];
        if (revision < r->lo)
            break;
        if (revision <= r->hi)
            r->offsets[revision - r->lo] = m->base_offset + at;
    }
}

static rfi_found fill_from_keys(rfi_index *x, stream_range *r)
{
    rfi_keys_stream s;
    rfi_found found = rfi_keys_find_stream(x, r->key, &s);
    if (found != RFI_FOUND)
        return found;
    uint64_t lo = RF_MAX(r->lo, s.first_revision);
    uint64_t hi = RF_MIN(r->hi, s.first_revision + s.count - 1);
    for (uint64_t revision = lo; revision <= hi && hi >= lo; revision++) {
        if (rfi_keys_stream_event(x, &s, (uint32_t)(revision - s.first_revision),
                                  &r->offsets[revision - r->lo]) != RFI_FOUND)
            return RFI_DAMAGED;
    }
    return RFI_FOUND;
}

/* The last durable revision in memory; the stream's newest events may not be synced yet. */
static bool last_in_mem(const rfi_mem *m, rf_hash128 key, uint64_t durable, uint64_t *last)
{
    uint32_t stream = rfi_mem_find_stream(m, key);
    if (stream == UINT32_MAX)
        return false;
    uint32_t at = m->streams[stream].last;
    while (at != UINT32_MAX && m->base_offset + at >= durable)
        at = m->prev[at];
    if (at == UINT32_MAX)
        return false;
    *last = m->streams[stream].first_revision + m->nth[at];
    return true;
}

/* Narrows the range to what exists; false: nothing of it does. */
static bool narrow(stream_range *r, uint64_t last, uint64_t from, bool backward, size_t limit)
{
    if (limit == 0 || (!backward && from > last))
        return false;
    r->lo = from;
    r->hi = RF_MIN(last, from + limit - 1 < from ? UINT64_MAX : from + limit - 1);
    if (backward) {
        r->hi = RF_MIN(from, last);
        r->lo = r->hi - RF_MIN(r->hi, limit - 1);
    }
    return true;
}

typedef struct stream_query {
    uint64_t from;
    bool backward;
    size_t limit;
} stream_query;

/* RF_ENOTFOUND: no such stream. RF_EBUSY: try again (an index was repaired). r->offsets is
 * malloc'ed. */
static rf_status locate(rf_log_part *p, const stream_query *q, stream_range *r, rf_err *err)
{
    rfi_index *damaged = NULL;
    uint64_t last = 0;
    bool some = false;
    pthread_mutex_lock(&p->mutex);
    rfi_set *set = rfi_set_retain(p->set);
    uint64_t durable = atomic_load_explicit(&p->durable, memory_order_acquire);
    bool in_mem = last_in_mem(p->mem, r->key, durable, &last);
    if (!in_mem) {
        rfi_stream_part part;
        rfi_found found = rfi_set_stream_part(set, r->key, &part, &damaged);
        if (found != RFI_FOUND) {
            pthread_mutex_unlock(&p->mutex);
            rf_status st = found == RFI_ABSENT ? RF_ENOTFOUND : rfi_part_repair(p, damaged, err);
            rfi_set_release(&set);
            return st == RF_OK ? RF_EBUSY : st;
        }
        last = part.first_revision + part.count - 1;
    }
    some = narrow(r, last, q->from, q->backward, q->limit);
    if (some) {
        size_t n = (size_t)(r->hi - r->lo + 1);
        r->offsets = rf_xmalloc(n * sizeof *r->offsets);
        memset(r->offsets, 0xff, n * sizeof *r->offsets);
        fill_from_mem(p->mem, r);
    }
    pthread_mutex_unlock(&p->mutex);
    rfi_found found = RFI_FOUND;
    for (uint32_t i = 0; some && i < set->mems_count; i++)
        fill_from_mem(set->mems[i], r);
    for (uint32_t i = 0; some && found != RFI_DAMAGED && i < set->keys_count; i++) {
        if (r->offsets[0] != UINT64_MAX)
            break; /* the oldest wanted is found, so all are */
        found = fill_from_keys(set->keys[i], r);
        damaged = set->keys[i];
    }
    rf_status st = RF_OK;
    if (found == RFI_DAMAGED) {
        free(r->offsets);
        r->offsets = NULL;
        st = rfi_part_repair(p, damaged, err);
        st = st == RF_OK ? RF_EBUSY : st;
    }
    rfi_set_release(&set);
    return st;
}

rf_status rf_log_read_stream(rf_log *log, rf_str domain, rf_str stream, uint64_t from,
                             bool backward, size_t limit, rf_log_page *page, rf_placed_event *out,
                             size_t *count, rf_err *err)
{
    const stream_query q = {from, backward, limit};
    rf_log_part *p = rf_log_route(log, domain, stream);
    *count = 0;
    rf_arena_reset(page->arena);
    stream_range r = {0};
    rf_status st = p == NULL ? RF_ENOTFOUND : RF_EBUSY;
    if (p != NULL)
        r.key = rfi_stream_key_of(log->meta.secret, stream);
    while (st == RF_EBUSY)
        st = locate(p, &q, &r, err);
    if (st == RF_ENOTFOUND)
        return rf_err_set(err, RF_ENOTFOUND, "no stream '%.*s' in domain '%.*s'",
                          (int)RF_MIN(stream.n, (size_t)200), stream.p, RF_STR_ARG(domain));
    size_t n = st == RF_OK && r.offsets != NULL ? (size_t)(r.hi - r.lo + 1) : 0;
    for (size_t i = 0; st == RF_OK && i < n; i++) {
        size_t k = backward ? n - 1 - i : i;
        if (r.offsets[k] == UINT64_MAX)
            st = rf_err_set(err, RF_ECORRUPT, "revision %" PRIu64 " is not in the indexes of %s/%u",
                            r.lo + k, p->domain, p->number);
        else
            st = event_at(p, r.offsets[k], page, &out[i], err);
        *count += st == RF_OK;
    }
    free(r.offsets);
    return st;
}
