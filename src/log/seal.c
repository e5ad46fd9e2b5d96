/*
 * Sealing: a full segment loses its spare space and gets its index files, on a thread of its own,
 * so that acknowledgements never wait for it. Until the files are there the frozen memory answers.
 * What fails (no space) is tried again; what a crash interrupts is done at the next open.
 *
 * When nothing is to be sealed the thread merges key files (runs.c). A merge may take long: it
 * stops for what is to be sealed meanwhile, and is given up when the log closes.
 */
#include "log/merge_int.h"
#include "log/part_int.h"
#include "log/recover_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define RETRY_US 1000000
#define READ_US 50000   /* a reader may hold files that can go */
#define IDLE_US 5000000 /* then it looks again: a repair may have left runs to merge */

struct rfi_sealer {
    rf_log *log;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the rest */
    pthread_cond_t moved;
    rfi_seal_job *first, **end;
    bool stop;
    /* The thread's own. */
    bool told;          /* a failure, since the last success */
    bool merging_fails; /* until something was sealed */
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
    if (!rfi_part_exchange(p, &(rfi_exchange){.mem_out = job->mem, .in = &keys, .in_count = 1}))
        st = rf_err_set(err, RF_ENOMEM, "no memory to enter an index");
    rfi_index_release(&keys);
    return st;
}

static void free_job(rfi_seal_job *job)
{
    rfi_mem_release(&job->mem);
    free(job);
}

/* Takes the mutex off meanwhile. The job stays first in the queue until it is done. */
static bool do_first_job(rfi_sealer *s)
{
    rfi_seal_job *job = s->first;
    rf_err err = {0};
    pthread_mutex_unlock(&s->mutex);
    rf_status st = seal(job, &err);
    if (st != RF_OK && !s->told)
        rfi_notice(s->log, "%s; will be tried again", err.text);
    s->told = st != RF_OK;
    pthread_mutex_lock(&s->mutex);
    if (st == RF_OK || s->stop) { /* at the end once is enough: opening does the rest */
        s->first = job->next;
        if (s->first == NULL)
            s->end = &s->first;
        free_job(job);
    }
    return st == RF_OK;
}

/* Called by a merge. Without space for what is to be sealed there is none for merging. */
static bool merge_may_go_on(void *arg)
{
    rfi_sealer *s = arg;
    bool fine = true;
    pthread_mutex_lock(&s->mutex);
    while (fine && s->first != NULL && !s->stop)
        fine = do_first_job(s);
    fine = fine && !s->stop;
    pthread_mutex_unlock(&s->mutex);
    return fine;
}

/* Partitions and domains only ever become more. */
static rf_log_part *nth_part(rf_log *log, uint32_t n)
{
    rf_log_part *p = NULL;
    pthread_rwlock_rdlock(&log->domains_lock);
    for (size_t i = 0; p == NULL && i < log->domains_count; i++) {
        const rfi_domain *d = log->domains[i];
        if (n < d->partitions)
            p = d->parts[n];
        else
            n -= d->partitions;
    }
    pthread_rwlock_unlock(&log->domains_lock);
    return p;
}

/* One merge, if there is any to do: true when there was. */
static bool merge_one(rfi_sealer *s)
{
    const rfi_merge_watch watch = {merge_may_go_on, s};
    bool merged = false;
    rf_log_part *p;
    for (uint32_t i = 0; !merged && !s->merging_fails && (p = nth_part(s->log, i)) != NULL; i++) {
        rf_err err = {0};
        rf_status st = rfi_part_merge(p, &watch, &err);
        merged = st == RF_OK;
        if (st != RF_OK && st != RF_ENOTFOUND && st != RF_ECANCELED) {
            s->merging_fails = true;
            rfi_notice(s->log, "%s; will be tried again", err.text);
        }
    }
    return merged;
}

/* False: some are still read, and wait for the next round. */
static bool bury_all(rfi_sealer *s)
{
    bool all = true;
    rf_log_part *p;
    for (uint32_t i = 0; (p = nth_part(s->log, i)) != NULL; i++)
        all &= rfi_part_bury(p);
    return all;
}

static void wait_us(rfi_sealer *s, int64_t us)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += us % 1000000 * 1000;
    until.tv_sec += us / 1000000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&s->moved, &s->mutex, &until);
}

static void *sealer_main(void *arg)
{
    rfi_sealer *s = arg;
    pthread_mutex_lock(&s->mutex);
    while (s->first != NULL || !s->stop) {
        if (s->first != NULL) {
            if (do_first_job(s))
                s->merging_fails = false;
            else if (!s->stop)
                wait_us(s, RETRY_US);
            continue;
        }
        pthread_mutex_unlock(&s->mutex);
        bool again = merge_one(s);
        bool buried = bury_all(s);
        pthread_mutex_lock(&s->mutex);
        if (!again && s->first == NULL && !s->stop)
            wait_us(s, buried ? IDLE_US : READ_US);
    }
    pthread_mutex_unlock(&s->mutex);
    (void)bury_all(s); /* what is left the next open removes */
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

/* What takes the place of the damaged one. */
typedef struct fresh_runs {
    rfi_index **of;
    uint32_t count;
} fresh_runs;

static rf_status rebuild_run(rf_log_part *p, uint64_t base, uint64_t end, rfi_index **out,
                             rf_err *err)
{
    rfi_index_header head;
    rfi_mem *m = rfi_mem_new(base);
    if (m == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory to rebuild an index");
    rf_status st = rfi_load_sealed(p, base, end, m, &head, err);
    if (st == RF_OK)
        st = write_keys(p, m, &head, out, err);
    rfi_mem_release(&m);
    return st;
}

/* A file for each segment, as sealing made them: one merged from all of history would need all of
 * it in memory. They are merged again later. */
static rf_status rebuild_runs(rf_log_part *p, const rfi_index_header *head, fresh_runs *out,
                              rf_err *err)
{
    rfi_files files;
    rf_status st = rfi_files_list(p->log->io, p->dir, &files, err);
    uint64_t at = head->base_offset;
    if (st != RF_OK)
        return st;
    out->of = calloc(files.segments_count + 1, sizeof(rfi_index *));
    if (out->of == NULL)
        st = rf_err_set(err, RF_ENOMEM, "no memory to rebuild an index");
    for (size_t i = 0; st == RF_OK && i < files.segments_count; i++) {
        if (files.segments[i] != at || at >= head->end_offset)
            continue;
        uint64_t end = i + 1 < files.segments_count ? files.segments[i + 1] : head->end_offset;
        at = RF_MIN(end, head->end_offset);
        st = rebuild_run(p, files.segments[i], at, &out->of[out->count], err);
        out->count += st == RF_OK;
    }
    if (st == RF_OK && at != head->end_offset)
        st = rf_err_set(err, RF_ECORRUPT, "segments of %s are missing", p->dir);
    rfi_files_clear(&files);
    return st;
}

rf_status rfi_part_repair(rf_log_part *p, rfi_index *damaged, rf_err *err)
{
    rf_status st = RF_OK;
    fresh_runs fresh = {0};
    pthread_mutex_lock(&p->repair_mutex);
    if (rfi_part_uses(p, damaged)) { /* else another thread has just done it */
        rfi_notice(p->log, "%s is damaged: rebuilding it from its segments",
                   rfi_index_path(damaged));
        st = rebuild_runs(p, rfi_index_head(damaged), &fresh, err);
        if (st == RF_OK)
            st = p->log->io->sync_dir(p->log->io, p->dir, err);
        if (st == RF_OK && !rfi_part_exchange(p, &(rfi_exchange){.out = &damaged,
                                                                 .out_count = 1,
                                                                 .in = fresh.of,
                                                                 .in_count = fresh.count}))
            st = rf_err_set(err, RF_ENOMEM, "no memory to enter an index");
    }
    pthread_mutex_unlock(&p->repair_mutex);
    for (uint32_t i = 0; i < fresh.count; i++)
        rfi_index_release(&fresh.of[i]);
    free(fresh.of);
    return st;
}
