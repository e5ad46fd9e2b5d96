/*
 * What becomes of each event of a commit. Sealed history is looked through first, without a lock
 * and with the memory accesses of neighbours overlapping; then, under the partition's mutex, the
 * open segment decides and takes the new ones in, one after the other, so that events of one commit
 * see each other.
 */
#include "log/bugs_int.h"
#include "log/part_int.h"

#include <stdatomic.h>
#include <stdlib.h>

#define AHEAD 8u

/* ---- sealed history
 * -------------------------------------------------------------------------------- */

static rfi_found probe_one(const rf_log_part *p, const rfi_set *set, const rf_event *e,
                           const rfi_keys *k, rfi_probe *out, rfi_index **damaged)
{
    rfi_id_hit hit;
    rfi_stream_part part;
    out->found = false;
    out->last_revision = RF_REVISION_NONE;
    if (!rfi_mem_find_id(p->mem, k->id, &hit)) {
        rfi_found found = rfi_set_find_id(set, k->id, &out->hit, damaged);
        out->found = found == RFI_FOUND;
        if (out->found && out->hit.content48 == rfi_content48(e->content))
            return rfi_set_revision(set, k->stream, out->hit.offset, &out->last_revision, damaged);
        if (found != RFI_ABSENT)
            return found;
    }
    if (rfi_mem_find_stream(p->mem, k->stream) != UINT32_MAX)
        return RFI_ABSENT;
    rfi_found found = rfi_set_stream_part(set, k->stream, &part, damaged);
    if (found == RFI_FOUND)
        out->last_revision = part.first_revision + part.count - 1;
    return found;
}

/* Reads p->mem without the mutex: only this thread changes it. */
static rf_status probe_all(rf_log_part *p, rf_append *list, rfi_set *set, rf_err *err)
{
    rfi_index *damaged = NULL;
    size_t at = 0;
    for (rf_append *a = list; a != NULL; a = a->next) {
        const rfi_keys *keys = a->keys;
        for (uint32_t i = 0; i < a->count; i++, at++) {
            if (i + AHEAD < a->count)
                rfi_mem_prefetch(p->mem, &keys[i + AHEAD]);
            if (probe_one(p, set, &a->events[i], &keys[i], &p->w.probes[at], &damaged) !=
                RFI_DAMAGED)
                continue;
            rf_status st = rfi_part_repair(p, damaged, err);
            return st == RF_OK ? RF_EBUSY : st;
        }
    }
    return RF_OK;
}

static rf_status probes_ready(rf_log_part *p, rf_append *list, uint32_t events, rf_err *err)
{
    rfi_writer *w = &p->w;
    if (events > w->probes_cap) {
        rfi_probe *more = realloc(w->probes, events * sizeof *more);
        if (more == NULL)
            return rf_err_set(err, RF_ENOMEM, "no memory to look up %u ids", events);
        w->probes = more;
        w->probes_cap = events;
    }
    rf_status st = RF_EBUSY;
    while (st == RF_EBUSY) { /* again with a repaired index */
        rfi_set *set = rfi_part_set(p);
        if ((set->mems_count == 0 && set->keys_count == 0) || RFI_BUG(RFI_BUG_FORGET_SEALED)) {
            for (uint32_t i = 0; i < events; i++)
                w->probes[i] = (rfi_probe){.last_revision = RF_REVISION_NONE};
            st = RF_OK;
        } else {
            st = probe_all(p, list, set, err);
        }
        rfi_set_release(&set);
    }
    return st;
}

/* ---- deciding
 * ------------------------------------------------------------------------------------------ */

static bool expectation_holds(const rf_expect *x, uint64_t last)
{
    if (x == NULL)
        return true;
    switch (x->kind) {
    case RF_EXPECT_ANY:
        return true;
    case RF_EXPECT_EXACT:
        return last == x->revision && last != RF_REVISION_NONE;
    case RF_EXPECT_NO_STREAM:
        return last == RF_REVISION_NONE;
    case RF_EXPECT_STREAM_EXISTS:
        return last != RF_REVISION_NONE;
    }
    return false;
}

/* A known id: the first receipt again, or a conflict. False: its revision is not to be found. */
static bool decide_known(const rf_log_part *p, const rf_event *e, const rfi_keys *k,
                         const rfi_id_hit *hit, uint64_t revision, rf_receipt *r)
{
    *r = (rf_receipt){.offset = hit->offset, .revision = revision};
    if (hit->content48 != rfi_content48(e->content)) {
        r->status = RF_ECONFLICT;
        r->conflict_id = true;
        return true;
    }
    r->duplicate = true;
    if (hit->offset >= p->mem->base_offset)
        return rfi_mem_revision(p->mem, k->stream, hit->offset, &r->revision);
    return revision != RF_REVISION_NONE;
}

static bool decide_event(rf_log_part *p, const rf_append *a, uint32_t i, const rfi_probe *probe)
{
    const rf_event *e = &a->events[i];
    const rfi_keys *k = &((const rfi_keys *)a->keys)[i];
    rf_receipt *r = &a->receipts[i];
    rfi_id_hit hit = probe->hit;
    if (probe->found)
        return decide_known(p, e, k, &hit, probe->last_revision, r);
    if (rfi_mem_find_id(p->mem, k->id, &hit))
        return decide_known(p, e, k, &hit, RF_REVISION_NONE, r);

    rfi_stream_part part;
    uint64_t last = probe->last_revision;
    if (rfi_mem_stream_part(p->mem, k->stream, &part))
        last = part.first_revision + part.count - 1;
    if (!expectation_holds(a->expects == NULL ? NULL : &a->expects[i], last)) {
        *r = (rf_receipt){.status = RF_ECONFLICT, .revision = last};
        return true;
    }
    *r = (rf_receipt){.offset = p->w.next, .revision = last + 1}; /* NONE + 1 is 0 */
    rfi_mem_add(p->mem, k, rfi_content48(e->content), r->revision);
    p->w.next++;
    return true;
}

/* All that the group did is taken back; the guilty event keeps its receipt. */
static void cancel_group(rf_log_part *p, rf_append *a, uint32_t guilty, uint32_t mem_events,
                         uint64_t next)
{
    rfi_mem_undo(p->mem, mem_events);
    p->w.next = next;
    for (uint32_t i = 0; i < a->count; i++) {
        if (i != guilty)
            a->receipts[i] = (rf_receipt){.status = RF_ECANCELED};
    }
    a->status = RF_ECONFLICT;
    rf_err_set(&a->err, RF_ECONFLICT, "event %u of the group: %s", guilty,
               a->receipts[guilty].conflict_id ? "its id is stored with other content"
                                               : "the stream is not at the expected revision");
}

static bool decide_append(rf_log_part *p, rf_append *a, const rfi_probe *probes)
{
    uint32_t mem_events = p->mem->events;
    uint64_t next = p->w.next;
    a->status = RF_OK;
    for (uint32_t i = 0; i < a->count; i++) {
        if (i + AHEAD < a->count)
            rfi_mem_prefetch(p->mem, &((const rfi_keys *)a->keys)[i + AHEAD]);
        if (!decide_event(p, a, i, &probes[i]))
            return false;
        if (a->atomic && a->receipts[i].status != RF_OK) {
            cancel_group(p, a, i, mem_events, next);
            return true;
        }
    }
    return true;
}

rf_status rfi_decide(rf_log_part *p, rf_append *list, uint32_t events, rf_err *err)
{
    rf_status st = probes_ready(p, list, events, err);
    if (st != RF_OK)
        return st;
    pthread_mutex_lock(&p->mutex);
    uint32_t mem_events = p->mem->events;
    uint64_t next = p->w.next;
    if (!rfi_mem_reserve(p->mem, events))
        st = rf_err_set(err, RF_ENOMEM, "no memory for the index of %u events", events);
    const rfi_probe *probes = p->w.probes;
    for (rf_append *a = list; st == RF_OK && a != NULL; a = a->next) {
        if (!decide_append(p, a, probes)) {
            rfi_mem_undo(p->mem, mem_events);
            p->w.next = next;
            st = rf_err_set(
                err, RF_ECORRUPT,
                "the indexes of %s/%u contradict each other: stop, delete its .key files "
                "and start again",
                p->domain, p->number);
        }
        probes += a->count;
    }
    pthread_mutex_unlock(&p->mutex);
    return st;
}
