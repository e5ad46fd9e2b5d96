/*
 * Sealing: a full segment loses its spare space and gets its index files, on a thread of its own,
 * so that acknowledgements never wait for it. Until the files are there the frozen memory answers.
 * What fails (no space) is tried again; what a crash interrupts is done at the next open.
 */
#include "log/part_int.h"
#include "log/recover_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define RETRY_US 1000000

struct rfi_sealer {
    rf_log *log;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the rest */
    pthread_cond_t moved;
    rfi_seal_job *first, **end;
    bool stop;
};

/* ---- files
 * ------------------------------------------------------------------------------------------ */

static rf_status trim(rf_log_part *p, const rfi_index_header *end, rf_err *err)
{
    rf_io *io = p->log->io;
    rf_file *file = NULL;
    uint64_t size = 0;
    char *path = rfi_segment_path(p->dir, end->base_offset, "seg");
    rf_status st = io->open(io, path, RF_IO_READ | RF_IO_WRITE, &file, err);
    if (st == RF_OK)
        st = io->size(io, file, &size, err);
    if (st == RF_OK && size > end->segment_bytes) {
        st = io->truncate(io, file, end->segment_bytes, err);
        if (st == RF_OK)
            st = io->sync(io, file, err);
    }
    io->close(io, &file);
    free(path);
    return st;
}

static rf_status write_keys(rf_log_part *p, const rfi_mem *m, const rfi_index_header *end,
                            rfi_index **out, rf_err *err)
{
    rfi_index_header head = *end;
    char *path = rfi_keys_path(p->dir, end->base_offset, end->end_offset);
    rf_status st = rfi_keys_write(p->log->io, path, m, &head, err);
    if (st == RF_OK)
        st = rfi_index_open(p->log->io, path, RFI_INDEX_KEYS, out, err);
    free(path);
    return st;
}

rf_status rfi_seal_files(rf_log_part *p, const rfi_mem *m, const rfi_index_header *end,
                         rfi_index **keys_out, rf_err *err)
{
    rfi_index_header head = *end;
    RF_ASSERT(m->base_offset == end->base_offset && m->base_offset + m->events == end->end_offset);
    rf_status st = trim(p, end, err);
    if (st == RF_OK && keys_out != NULL)
        st = write_keys(p, m, end, keys_out, err);
    if (st == RF_OK) {
        char *path = rfi_segment_path(p->dir, end->base_offset, "idx");
        st = rfi_segment_index_write(p->log->io, path, m, &head, err);
        free(path);
    }
    if (st == RF_OK)
        st = p->log->io->sync_dir(p->log->io, p->dir, err);
    if (st != RF_OK && keys_out != NULL)
        rfi_index_release(keys_out);
    if (st != RF_OK)
        rf_err_note(err, "sealing %s/%020" PRIu64 ".seg", p->dir, end->base_offset);
    return st;
}

/* ---- the thread
 * ---------------------------------------------------------------------------------------- */

static rf_status seal(const rfi_seal_job *job, rf_err *err)
{
    rf_log_part *p = job->part;
    rfi_index *keys = NULL;
    rf_status st = rfi_seal_files(p, job->mem, &job->end, &keys, err);
    if (st != RF_OK)
        return st;
    atomic_fetch_add(&p->bytes_index, rfi_index_bytes(keys));
    if (!rfi_part_exchange(p, job->mem, NULL, keys))
        st = rf_err_set(err, RF_ENOMEM, "no memory to enter an index");
    rfi_index_release(&keys);
    return st;
}

static void free_job(rfi_seal_job *job)
{
    rfi_mem_release(&job->mem);
    free(job);
}

/* The job stays first in the queue until it is done. */
static void *sealer_main(void *arg)
{
    rfi_sealer *s = arg;
    bool told = false;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        while (s->first == NULL && !s->stop)
            pthread_cond_wait(&s->moved, &s->mutex);
        rfi_seal_job *job = s->first;
        if (job == NULL)
            break;
        pthread_mutex_unlock(&s->mutex);
        rf_err err = {0};
        rf_status st = seal(job, &err);
        if (st != RF_OK && !told)
            rfi_notice(s->log, "%s; will be tried again", err.text);
        told = st != RF_OK;
        pthread_mutex_lock(&s->mutex);
        if (st == RF_OK || s->stop) { /* at the end once is enough: opening does the rest */
            s->first = job->next;
            if (s->first == NULL)
                s->end = &s->first;
            free_job(job);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += RETRY_US / 1000000;
        pthread_cond_timedwait(&s->moved, &s->mutex, &until);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

rfi_sealer *rfi_sealer_start(rf_log *log)
{
    rfi_sealer *s = rf_xcalloc(1, sizeof *s);
    s->log = log;
    s->end = &s->first;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->moved, NULL);
    if (pthread_create(&s->thread, NULL, sealer_main, s) != 0) {
        free(s);
        return NULL;
    }
    return s;
}

void rfi_sealer_add(rfi_sealer *s, rfi_seal_job *job)
{
    rfi_mem_retain(job->mem);
    pthread_mutex_lock(&s->mutex);
    job->next = NULL;
    *s->end = job;
    s->end = &job->next;
    pthread_cond_signal(&s->moved);
    pthread_mutex_unlock(&s->mutex);
}

void rfi_sealer_stop(rfi_sealer **sealer)
{
    rfi_sealer *s = *sealer;
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_signal(&s->moved);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->moved);
    free(s);
    *sealer = NULL;
}

/* ---- repair
 * ------------------------------------------------------------------------------------------------
 */

static rf_status reload(rf_log_part *p, const rfi_index_header *head, rfi_mem **out, rf_err *err)
{
    rfi_files files;
    rf_status st = rfi_files_list(p->log->io, p->dir, &files, err);
    if (st != RF_OK)
        return st;
    rfi_mem *m = rfi_mem_new(head->base_offset);
    if (m == NULL)
        st = rf_err_set(err, RF_ENOMEM, "no memory to rebuild an index");
    for (size_t i = 0; st == RF_OK && i < files.segments_count; i++) {
        uint64_t base = files.segments[i];
        if (base < head->base_offset || base >= head->end_offset)
            continue;
        rfi_index_header ignored;
        uint64_t end = i + 1 < files.segments_count ? files.segments[i + 1] : head->end_offset;
        st = rfi_load_sealed(p, base, RF_MIN(end, head->end_offset), m, &ignored, err);
    }
    rfi_files_clear(&files);
    if (st == RF_OK && m->base_offset + m->events != head->end_offset)
        st = rf_err_set(err, RF_ECORRUPT, "segments of %s are missing", p->dir);
    if (st != RF_OK)
        rfi_mem_release(&m);
    *out = m;
    return st;
}

static bool still_in_use(rf_log_part *p, const rfi_index *x)
{
    bool in_use = false;
    pthread_mutex_lock(&p->mutex);
    for (uint32_t i = 0; i < p->set->keys_count; i++)
        in_use |= p->set->keys[i] == x;
    pthread_mutex_unlock(&p->mutex);
    return in_use;
}

rf_status rfi_part_repair(rf_log_part *p, rfi_index *damaged, rf_err *err)
{
    rf_status st = RF_OK;
    rfi_mem *m = NULL;
    rfi_index *fresh = NULL;
    pthread_mutex_lock(&p->repair_mutex);
    if (still_in_use(p, damaged)) { /* else another thread has just done it */
        rfi_index_header head = *rfi_index_head(damaged);
        rfi_notice(p->log, "%s is damaged: rebuilding it from its segments",
                   rfi_index_path(damaged));
        st = reload(p, &head, &m, err);
        if (st == RF_OK)
            st = write_keys(p, m, &head, &fresh, err);
        if (st == RF_OK)
            st = p->log->io->sync_dir(p->log->io, p->dir, err);
        if (st == RF_OK && !rfi_part_exchange(p, NULL, damaged, fresh))
            st = rf_err_set(err, RF_ENOMEM, "no memory to enter an index");
        rfi_index_release(&fresh);
        rfi_mem_release(&m);
    }
    pthread_mutex_unlock(&p->repair_mutex);
    return st;
}
