/*
 * Which key files to merge, and taking the new one for the old ones.
 *
 * Runs are of sizes that shrink from old to new; those of about one size are a tier. A tier of
 * RFI_MERGE_RUNS becomes one run of the next, so that there are a few for each fourfold of history,
 * and every key is written again once for each.
 *
 * M1  The new file is synced, has its name and its directory is synced before it enters the set;
 * the old ones lose theirs after that. A crash leaves the old ones, or the new one, or both, and
 * the next open takes the longest whole one (recover.c). M2  Nothing is locked while a merge reads
 * and writes. At its end repair_mutex is held, so that no run is repaired while it is exchanged;
 * one that was repaired meanwhile makes the merge void. M3  A file is removed when only the list of
 * retired ones holds it, and never when another one has its name by now.
 */
#include "log/bugs_int.h"
#include "log/merge_int.h"

#include <stdatomic.h>
#include <stdlib.h>

_Atomic uint64_t rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;

/* ---- which
 * ------------------------------------------------------------------------------------------ */

/* Of one size with the largest: at least a third of it. Segments are not all alike. */
static uint32_t tier_end(const uint64_t *events, uint32_t from, uint32_t count)
{
    uint64_t largest = 1;
    uint32_t end = from + 1;
    for (uint32_t i = from; i < count; i++)
        largest = RF_MAX(largest, events[i]);
    for (uint32_t i = from; i < count; i++) {
        if (events[i] >= (largest + 2) / 3)
            end = i + 1; /* with whatever smaller ones lie between */
    }
    return end;
}

uint32_t rfi_merge_choose(const uint64_t *events, uint32_t count, uint32_t *from)
{
    uint32_t chosen = 0;
    for (uint32_t start = 0, end; start < count; start = end) {
        uint64_t sum = 0;
        uint32_t n = 0;
        end = tier_end(events, start, count);
        while (start + n < end && n < RFI_MERGE_RUNS_MAX && sum + events[start + n] <= UINT32_MAX)
            sum += events[start + n++];
        if (n >= RFI_MERGE_RUNS && sum >= rfi_merge_events_min) {
            chosen = n; /* of several tiers the newest: it is the cheapest */
            *from = start;
        }
    }
    return chosen;
}

typedef struct choice {
    rfi_index *runs[RFI_MERGE_RUNS_MAX]; /* retained, oldest first */
    uint32_t count;
} choice;

static void release_runs(choice *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        rfi_index_release(&c->runs[i]);
}

static rf_status choose_runs(rf_log_part *p, choice *out, rf_err *err)
{
    rfi_set *set = rfi_part_set(p);
    uint32_t n = set->keys_count, from = 0;
    uint64_t *events = calloc(n + (size_t)1, sizeof *events);
    bool whole = true;
    out->count = 0;
    for (uint32_t i = 0; events != NULL && i < n; i++) {
        const rfi_index_header *h = rfi_index_head(set->keys[n - 1 - i]);
        whole &= i == 0 || rfi_index_head(set->keys[n - i])->end_offset == h->base_offset;
        events[i] = h->end_offset - h->base_offset;
    }
    if (events != NULL && whole)
        out->count = rfi_merge_choose(events, n, &from);
    for (uint32_t i = 0; i < out->count; i++) {
        out->runs[i] = set->keys[n - 1 - from - i];
        rfi_index_retain(out->runs[i]);
    }
    rf_status st = RF_OK;
    if (events == NULL)
        st = rf_err_set(err, RF_ENOMEM, "no memory to merge indexes");
    else if (out->count == 0)
        st = rf_err_set(err, RF_ENOTFOUND, "nothing to merge");
    free(events);
    rfi_set_release(&set); /* frozen memory must not wait for a merge */
    return st;
}

/* ---- the exchange
 * ---------------------------------------------------------------------------------------- */

static bool all_in_use(rf_log_part *p, const choice *c)
{
    bool all = true;
    for (uint32_t i = 0; i < c->count; i++)
        all &= rfi_part_uses(p, c->runs[i]);
    return all;
}

static rf_status enter(rf_log_part *p, const choice *c, rfi_index *fresh, rf_err *err)
{
    rf_status st = RF_OK;
    pthread_mutex_lock(&p->repair_mutex);
    if (!all_in_use(p, c))
        st = rf_err_set(err, RF_ECANCELED, "a run was repaired while it was merged");
    else if (!rfi_part_exchange(
                 p, &(rfi_exchange){
                        .out = c->runs, .out_count = c->count, .in = &fresh, .in_count = 1}))
        st = rf_err_set(err, RF_ENOMEM, "no memory to enter an index");
    pthread_mutex_unlock(&p->repair_mutex);
    return st;
}

static rf_status merge_runs(rf_log_part *p, const choice *c, const rfi_merge_watch *watch,
                            rfi_index **damaged, rf_err *err)
{
    rf_io *io = p->log->io;
    rfi_index *fresh = NULL;
    char *path = rfi_keys_path(p->dir, rfi_index_head(c->runs[0])->base_offset,
                               rfi_index_head(c->runs[c->count - 1])->end_offset);
    rf_status st = rfi_keys_merge(io, path, c->runs, c->count, watch, damaged, err);
    bool named = st == RF_OK;
    if (st == RF_OK && !RFI_BUG(RFI_BUG_MERGE_NO_DIR_SYNC))
        st = io->sync_dir(io, p->dir, err);
    if (st == RF_OK)
        st = rfi_index_open(io, path, RFI_INDEX_KEYS, &fresh, err);
    if (st == RF_OK)
        st = enter(p, c, fresh, err);
    if (st != RF_OK && named) {
        rf_err ignored = {0};
        (void)io->unlink(io, path, &ignored);
    }
    if (st != RF_OK)
        rf_err_note(err, "merging %u index files of %s", c->count, p->dir);
    rfi_index_release(&fresh);
    free(path);
    return st;
}

rf_status rfi_part_merge(rf_log_part *p, const rfi_merge_watch *watch, rf_err *err)
{
    choice c;
    rfi_index *damaged = NULL;
    rf_status st = choose_runs(p, &c, err);
    if (st != RF_OK)
        return st;
    st = merge_runs(p, &c, watch, &damaged, err);
    if (damaged != NULL) {
        rf_err why = {0};
        if (rfi_part_repair(p, damaged, &why) != RF_OK)
            *err = why;
    }
    release_runs(&c);
    return st;
}

/* ---- what is no longer used
 * ------------------------------------------------------------------------------------------ */

/* One that nobody else holds, out of the list; *left: some are still held. */
static rfi_index *next_unused(rf_log_part *p, bool *named_again, bool *left)
{
    rfi_index *x = NULL;
    pthread_mutex_lock(&p->mutex);
    *left = false;
    for (uint32_t i = 0; i < p->retired_count && x == NULL; i++) {
        if (rfi_index_is_last(p->retired[i])) {
            x = p->retired[i];
            p->retired[i] = p->retired[--p->retired_count];
        } else {
            *left = true;
        }
    }
    *named_again = false;
    for (uint32_t i = 0; x != NULL && i < p->set->keys_count; i++)
        *named_again |= strcmp(rfi_index_path(p->set->keys[i]), rfi_index_path(x)) == 0;
    pthread_mutex_unlock(&p->mutex);
    return x;
}

bool rfi_part_bury(rf_log_part *p)
{
    bool named_again = false, left = false;
    if (pthread_mutex_trylock(&p->repair_mutex) != 0)
        return false; /* a repair may be about to give one of the names again */
    for (rfi_index *x; (x = next_unused(p, &named_again, &left)) != NULL;) {
        rf_err ignored = {0}; /* the next open removes it */
        if (!named_again)
            (void)p->log->io->unlink(p->log->io, rfi_index_path(x), &ignored);
        rfi_index_release(&x);
    }
    pthread_mutex_unlock(&p->repair_mutex);
    return !left;
}
