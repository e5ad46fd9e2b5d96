/* Life of a partition, and its set of sealed history. Recovery: recover.c. */
#include "log/part_int.h"
#include "log/recover_int.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

unsigned rfi_bugs; /* see bugs_int.h */

/* ---- the set
 * ---------------------------------------------------------------------------------------- */

rfi_set *rfi_part_set(rf_log_part *p)
{
    pthread_mutex_lock(&p->mutex);
    rfi_set *s = rfi_set_retain(p->set);
    pthread_mutex_unlock(&p->mutex);
    return s;
}

bool rfi_part_freeze(rf_log_part *p, rfi_mem *fresh)
{
    pthread_mutex_lock(&p->mutex);
    rfi_set *old = p->set, *set = NULL;
    rfi_mem **mems = calloc(old->mems_count + (size_t)1, sizeof(rfi_mem *));
    if (mems != NULL) {
        mems[0] = p->mem;
        for (uint32_t i = 0; i < old->mems_count; i++)
            mems[i + 1] = old->mems[i];
        set = rfi_set_new(mems, old->mems_count + 1, old->keys, old->keys_count);
    }
    if (set != NULL) {
        rfi_mem_release(&p->mem); /* the set has it now */
        p->mem = fresh;
        p->set = set;
    }
    pthread_mutex_unlock(&p->mutex);
    free(mems);
    if (set != NULL)
        rfi_set_release(&old);
    return set != NULL;
}

/* Puts x where it belongs among keys that are sorted, newest first. */
static void place(rfi_index **keys, uint32_t count, rfi_index *x)
{
    uint32_t at = count;
    uint64_t base = rfi_index_head(x)->base_offset;
    for (; at > 0 && rfi_index_head(keys[at - 1])->base_offset < base; at--)
        keys[at] = keys[at - 1];
    keys[at] = x;
}

static bool is_among(const rfi_index *x, rfi_index *const *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] == x)
            return true;
    }
    return false;
}

static rfi_set *exchanged(const rfi_set *old, const rfi_exchange *e)
{
    rfi_set *set = NULL;
    uint32_t m = 0, k = 0;
    rfi_mem **mems = calloc(old->mems_count + (size_t)1, sizeof(rfi_mem *));
    rfi_index **keys = calloc(old->keys_count + (size_t)e->in_count + 1, sizeof(rfi_index *));
    if (mems != NULL && keys != NULL) {
        for (uint32_t i = 0; i < old->mems_count; i++) {
            if (old->mems[i] != e->mem_out)
                mems[m++] = old->mems[i];
        }
        for (uint32_t i = 0; i < old->keys_count; i++) {
            if (!is_among(old->keys[i], e->out, e->out_count))
                keys[k++] = old->keys[i];
        }
        RF_ASSERT(k == old->keys_count - e->out_count);
        for (uint32_t i = 0; i < e->in_count; i++)
            place(keys, k++, e->in[i]);
        set = rfi_set_new(mems, m, keys, k);
    }
    free(mems);
    free(keys);
    return set;
}

/* Under the mutex. Without memory its file stays until the next open. */
static void retire(rf_log_part *p, rfi_index *x)
{
    if (p->retired_count == p->retired_cap) {
        uint32_t cap = p->retired_cap * 2 + 16;
        rfi_index **more = realloc(p->retired, cap * sizeof(rfi_index *));
        if (more == NULL)
            return;
        p->retired = more;
        p->retired_cap = cap;
    }
    rfi_index_retain(x);
    p->retired[p->retired_count++] = x;
}

bool rfi_part_exchange(rf_log_part *p, const rfi_exchange *e)
{
    pthread_mutex_lock(&p->mutex);
    rfi_set *old = p->set, *set = exchanged(old, e);
    if (set != NULL) {
        p->set = set;
        for (uint32_t i = 0; i < e->out_count; i++) {
            retire(p, e->out[i]);
            atomic_fetch_sub(&p->bytes_index, rfi_index_bytes(e->out[i]));
        }
        for (uint32_t i = 0; i < e->in_count; i++)
            atomic_fetch_add(&p->bytes_index, rfi_index_bytes(e->in[i]));
    }
    pthread_mutex_unlock(&p->mutex);
    if (set != NULL)
        rfi_set_release(&old);
    return set != NULL;
}

bool rfi_part_uses(rf_log_part *p, const rfi_index *x)
{
    pthread_mutex_lock(&p->mutex);
    bool uses = is_among(x, p->set->keys, p->set->keys_count);
    pthread_mutex_unlock(&p->mutex);
    return uses;
}

/* ---- life
 * --------------------------------------------------------------------------------------------- */

rf_status rfi_part_open(rf_log *log, rf_str domain, uint32_t number, rf_log_part **out, rf_err *err)
{
    rf_log_part *p = rf_xcalloc(1, sizeof *p);
    p->log = log;
    p->number = number;
    memcpy(p->domain, domain.p, domain.n);
    if (asprintf(&p->dir, "%s/%s/%u", log->dir, p->domain, number) < 0)
        p->dir = NULL;
    RF_ASSERT(p->dir != NULL);
    pthread_mutex_init(&p->queue_mutex, NULL);
    pthread_cond_init(&p->queue_moved, NULL);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_mutex_init(&p->repair_mutex, NULL);
    p->queue_end = &p->queue;
    rf_buf_init(&p->w.out, SIZE_MAX);
    p->w.builder = rfi_builder_new();
    p->w.recorded_us = RF_TIME_NONE;
    p->w.seg.sequence = RFI_SEQUENCE_FIRST;
    p->set = rfi_set_new(NULL, 0, NULL, 0);
    rf_status st = p->w.builder != NULL && p->set != NULL
                       ? RF_OK
                       : rf_err_set(err, RF_ENOMEM, "no memory for a partition");
    if (st == RF_OK)
        st = rfi_recover(p, err);
    if (st == RF_OK) {
        atomic_store(&p->recorded_us, p->w.recorded_us);
        atomic_store(&p->durable, p->w.next);
        atomic_store(&p->bytes_open, p->w.seg.file != NULL ? p->w.seg.at : 0);
    } else {
        rf_err_note(err, "%s/%u", p->domain, number);
        rfi_part_free(&p);
    }
    *out = p;
    return st;
}

rf_status rfi_part_start(rf_log_part *p, rf_err *err)
{
    int rc = pthread_create(&p->thread, NULL, rfi_writer_main, p);
    if (rc != 0)
        return rf_err_set_errno(err, rc, "starting the writer of %s/%u", p->domain, p->number);
    p->started = true;
    return RF_OK;
}

void rfi_part_stop(rf_log_part *p)
{
    if (!p->started)
        return;
    pthread_mutex_lock(&p->queue_mutex);
    p->stop = true;
    pthread_cond_signal(&p->queue_moved);
    pthread_mutex_unlock(&p->queue_mutex);
    pthread_join(p->thread, NULL);
    p->started = false;
}

void rfi_part_free(rf_log_part **part)
{
    rf_log_part *p = *part;
    *part = NULL;
    if (p == NULL)
        return;
    RF_ASSERT(!p->started && p->queue == NULL);
    p->log->io->close(p->log->io, &p->w.seg.file);
    rfi_mem_release(&p->mem);
    rfi_set_release(&p->set);
    for (uint32_t i = 0; i < p->retired_count; i++)
        rfi_index_release(&p->retired[i]);
    free(p->retired);
    rfi_builder_free(&p->w.builder);
    rfi_types_clear(&p->w.types);
    rf_buf_clear(&p->w.out);
    free(p->w.probes);
    pthread_mutex_destroy(&p->queue_mutex);
    pthread_cond_destroy(&p->queue_moved);
    pthread_mutex_destroy(&p->mutex);
    pthread_mutex_destroy(&p->repair_mutex);
    free(p->dir);
    free(p);
}

rf_str rf_log_part_domain(const rf_log_part *part)
{
    return rf_str_from(part->domain);
}

uint32_t rf_log_part_number(const rf_log_part *part)
{
    return part->number;
}
