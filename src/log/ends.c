/* Where views learn how far a partition is durable: the writer's shared page, or a scan. */
#include "log/index_int.h"
#include "log/recover_int.h"
#include "log/scan_int.h"
#include "log/view_int.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- following a writer
 * ------------------------------------------------------------------------------ */

/* Pages of earlier writers stay mapped: somebody may be waiting on one. */
typedef struct follow {
    char *dir;
    pthread_mutex_t mutex; /* guards pages */
    rfi_tail **pages;      /* the last is the current one */
    size_t count;
} follow;

static rfi_tail *current_page(follow *f)
{
    pthread_mutex_lock(&f->mutex);
    rfi_tail *t = f->pages[f->count - 1], *newer = NULL;
    rf_err ignored = {0};
    if (rfi_tail_is_old(t) && rfi_tail_attach(f->dir, &newer, &ignored) == RF_OK) {
        f->pages = rf_xrealloc(f->pages, (f->count + 1) * sizeof(rfi_tail *));
        f->pages[f->count++] = t = newer;
    }
    pthread_mutex_unlock(&f->mutex);
    return t;
}

static void follow_each(void *arg,
                        void (*found)(void *to, rf_str domain, uint32_t partition, uint64_t next,
                                      int64_t recorded_us),
                        void *to)
{
    const rfi_tail *t = current_page(arg);
    for (uint32_t i = 0; i < rfi_tail_count(t); i++) {
        rf_str domain;
        uint32_t partition = 0;
        uint64_t next = 0;
        int64_t recorded_us = RF_TIME_NONE;
        rfi_tail_get(t, i, &domain, &partition, &next, &recorded_us);
        found(to, domain, partition, next, recorded_us);
    }
}

static bool follow_wait(void *arg, uint32_t *seen, uint32_t timeout_ms)
{
    return rfi_tail_wait(current_page(arg), seen, timeout_ms);
}

static void follow_free(void *arg)
{
    follow *f = arg;
    for (size_t i = 0; i < f->count; i++)
        rfi_tail_close(&f->pages[i]);
    pthread_mutex_destroy(&f->mutex);
    free(f->pages);
    free(f->dir);
    free(f);
}

rf_status rfi_ends_follow(const char *dir, rfi_ends *out, rf_err *err)
{
    rfi_tail *page = NULL;
    rf_status st = rfi_tail_attach(dir, &page, err);
    if (st != RF_OK)
        return st;
    follow *f = rf_xcalloc(1, sizeof *f);
    f->dir = rf_xstrdup(dir);
    f->pages = rf_xcalloc(1, sizeof(rfi_tail *));
    f->pages[f->count++] = page;
    pthread_mutex_init(&f->mutex, NULL);
    *out = (rfi_ends){.arg = f, .each = follow_each, .wait = follow_wait, .free = follow_free};
    return RF_OK;
}

/* ---- without a writer
 * ---------------------------------------------------------------------------------- */

typedef struct offline_end {
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t partition;
    uint64_t next;
    int64_t recorded_us;
} offline_end;

typedef struct offline {
    rf_io *io;
    const char *dir;
    offline_end *ends;
    size_t count;
} offline;

static void offline_each(void *arg,
                         void (*found)(void *to, rf_str domain, uint32_t partition, uint64_t next,
                                       int64_t recorded_us),
                         void *to)
{
    const offline *o = arg;
    for (size_t i = 0; i < o->count; i++)
        found(to, rf_str_from(o->ends[i].domain), o->ends[i].partition, o->ends[i].next,
              o->ends[i].recorded_us);
}

static void offline_free(void *arg)
{
    offline *o = arg;
    free(o->ends);
    free(o);
}

/* The end of the last segment by its index. */
static bool end_by_index(rf_io *io, const char *dir, uint64_t base, offline_end *end)
{
    rfi_index *x = NULL;
    rf_err ignored = {0};
    char *path = rfi_segment_path(dir, base, "idx");
    bool found = rfi_index_open(io, path, RFI_INDEX_SEGMENT, &x, &ignored) == RF_OK &&
                 rfi_index_head(x)->base_offset == base;
    if (found) {
        end->next = rfi_index_head(x)->end_offset;
        end->recorded_us = rfi_index_head(x)->recorded_us;
    }
    rfi_index_release(&x);
    free(path);
    return found;
}

/* Or by reading it, up to whatever is wrong with it: a view reads around damage. */
static rf_status end_by_scan(rf_io *io, const char *dir, uint64_t base, offline_end *end,
                             rf_err *err)
{
    rf_file *file = NULL;
    rfi_scan s;
    rfi_block_header h;
    const uint8_t *block = NULL;
    char *path = rfi_segment_path(dir, base, "seg");
    end->next = base;
    rf_status st = io->open(io, path, RF_IO_READ, &file, err);
    free(path);
    if (st != RF_OK)
        return st;
    st = rfi_scan_open(&s, io, file, err);
    if (st == RF_OK) {
        rfi_step step;
        while ((step = rfi_scan_next(&s, &h, &block, err)) == RFI_SCAN_BLOCK)
            ;
        st = step == RFI_SCAN_ERROR ? err->status : RF_OK;
        end->next = s.next_offset;
        end->recorded_us = s.recorded_us;
        rfi_scan_clear(&s);
    } else if (st == RF_ECORRUPT) {
        st = RF_OK; /* its events cannot be reached; verify says so */
    }
    io->close(io, &file);
    return st;
}

static rf_status find_end(offline *o, const char *domain, uint32_t partition, rf_err *err)
{
    offline_end *end = &o->ends[o->count];
    rfi_files files;
    char *dir = NULL;
    int n = asprintf(&dir, "%s/%s/%u", o->dir, domain, partition);
    RF_ASSERT(n > 0);
    *end = (offline_end){.partition = partition, .recorded_us = RF_TIME_NONE};
    snprintf(end->domain, sizeof end->domain, "%s", domain);
    rf_status st = rfi_files_list(o->io, dir, &files, err);
    if (st == RF_OK) {
        uint64_t last = files.segments_count > 0 ? files.segments[files.segments_count - 1] : 0;
        if (files.segments_count > 0 && !end_by_index(o->io, dir, last, end))
            st = end_by_scan(o->io, dir, last, end, err);
        rfi_files_clear(&files);
    }
    free(dir);
    o->count++;
    return st == RF_ENOTFOUND ? RF_OK : st;
}

static rf_status find_ends(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                           rf_err *err)
{
    (void)bad;
    offline *o = arg;
    rf_status st = RF_OK;
    o->ends = rf_xrealloc(o->ends, (o->count + partitions) * sizeof *o->ends);
    for (uint32_t i = 0; st == RF_OK && i < partitions; i++)
        st = find_end(o, domain, i, err);
    return st;
}

rf_status rfi_ends_offline(rf_io *io, const char *dir, rfi_ends *out, rf_err *err)
{
    offline *o = rf_xcalloc(1, sizeof *o);
    o->io = io;
    o->dir = dir; /* until the return */
    rf_status st = rfi_domains_list(io, dir, find_ends, o, err);
    if (st != RF_OK)
        offline_free(o);
    else
        *out = (rfi_ends){.arg = o, .each = offline_each, .free = offline_free};
    return st;
}
