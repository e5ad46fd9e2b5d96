/*
 * All index files anew from the segments, by the very functions that sealing uses, so that the
 * result is what sealing made. Each file replaces the old one by rename, and only then what nobody
 * asks for is removed: a crash in the middle leaves a log that opens.
 */
#include "log/part_int.h"
#include "log/recover_int.h"
#include "log/view_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct repair {
    rf_log log; /* as much of one as sealing looks at: io, directory, secret */
    const rf_log_watch *watch;
    rf_repair_report *report;
    uint64_t bytes_done, bytes_total;
    bool damaged;
} repair;

/* Names of a partition's files that are not segments, before and after. */
typedef struct name_list {
    char **of;
    size_t count;
} name_list;

enum { DIGITS = 20 };

static bool is_index_name(const char *name)
{
    uint64_t base = 0;
    size_t n = strlen(name);
    return n >= DIGITS + 4 && rf_str_to_u64((rf_str){name, DIGITS}, &base) &&
           strcmp(name + n - 4, ".seg") != 0;
}

static void add_name(void *arg, const char *name)
{
    name_list *l = arg;
    if (!is_index_name(name))
        return;
    l->of = rf_xrealloc(l->of, (l->count + 1) * sizeof(char *));
    l->of[l->count++] = rf_xstrdup(name);
}

static void clear_names(name_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->of[i]);
    free(l->of);
    *l = (name_list){0};
}

/* ---- the last segment
 * -------------------------------------------------------------------------------------------- */

/* Sealed or not is said by its index alone. True: *end is where it ends. */
static bool last_is_sealed(const rf_log_part *p, uint64_t base, uint64_t *end)
{
    rfi_index *x = NULL;
    rf_err ignored = {0};
    char *path = rfi_segment_path(p->dir, base, "idx");
    bool sealed = rfi_index_open(p->log->io, path, RFI_INDEX_SEGMENT, &x, &ignored) == RF_OK &&
                  rfi_index_head(x)->base_offset == base;
    if (sealed)
        *end = rfi_index_head(x)->end_offset;
    rfi_index_release(&x);
    free(path);
    return sealed;
}

/* ---- one segment, one partition
 * ------------------------------------------------------------------------------------------ */

static rf_status repair_segment(repair *r, rf_log_part *p, uint64_t base, uint64_t end, rf_err *err)
{
    rfi_index_header head;
    rfi_index *keys = NULL;
    rfi_mem *m = rfi_mem_new(base);
    if (m == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory for an index");
    rf_status st = rfi_load_sealed(p, base, end, m, &head, err);
    if (st == RF_OK)
        st = rfi_seal_files(p, m, &head, &keys, err);
    if (st == RF_OK) {
        r->report->segments++;
        r->report->events += m->events;
        r->bytes_done += head.segment_bytes;
    } else if (st == RF_ECORRUPT) { /* the others are done all the same */
        r->damaged = true;
        if (r->watch->problem != NULL)
            r->watch->problem(r->watch->arg, err->text);
        st = RF_OK;
    }
    if (r->watch->progress != NULL)
        r->watch->progress(r->watch->arg, "rebuilding", r->bytes_done, r->bytes_total);
    rfi_index_release(&keys);
    rfi_mem_release(&m);
    return st;
}

static rf_status file_size(rf_io *io, const char *path, uint64_t *bytes, rf_err *err)
{
    rf_file *file = NULL;
    rf_status st = io->open(io, path, RF_IO_READ, &file, err);
    if (st == RF_OK)
        st = io->size(io, file, bytes, err);
    io->close(io, &file);
    return st;
}

/* Which of the files that are there did sealing just write? Those of [base, end). */
static bool was_written(const rfi_files *files, size_t sealed, uint64_t end_of_last,
                        const char *name)
{
    uint64_t base = 0, end = 0;
    bool range = name[DIGITS] == '-' && strlen(name) > 2 * DIGITS;
    bool fine = rf_str_to_u64((rf_str){name, DIGITS}, &base) &&
                strcmp(name + strlen(name) - 4, ".tmp") != 0;
    if (range)
        fine &= rf_str_to_u64((rf_str){name + DIGITS + 1, DIGITS}, &end);
    for (size_t i = 0; fine && i < sealed; i++) {
        uint64_t ends = i + 1 < files->segments_count ? files->segments[i + 1] : end_of_last;
        if (files->segments[i] == base)
            return !range || end == ends;
    }
    return false;
}

static rf_status tidy(repair *r, rf_log_part *p, const rfi_files *files, size_t sealed,
                      uint64_t end_of_last, rf_err *err)
{
    rf_io *io = r->log.io;
    name_list names = {0};
    rf_status st = io->list(io, p->dir, add_name, &names, err);
    for (size_t i = 0; st == RF_OK && i < names.count; i++) {
        char *path = NULL;
        uint64_t bytes = 0;
        int n = asprintf(&path, "%s/%s", p->dir, names.of[i]);
        RF_ASSERT(n > 0);
        if (was_written(files, sealed, end_of_last, names.of[i])) {
            st = file_size(io, path, &bytes, err);
            r->report->files_written++;
            r->report->bytes_written += bytes;
        } else {
            st = io->unlink(io, path, err);
            r->report->files_removed++;
        }
        free(path);
    }
    if (st == RF_OK)
        st = io->sync_dir(io, p->dir, err);
    clear_names(&names);
    return st;
}

static rf_status repair_partition(repair *r, rf_log_part *p, rf_err *err)
{
    rfi_files files;
    rf_status st = rfi_files_list(r->log.io, p->dir, &files, err);
    if (st != RF_OK)
        return st;
    size_t sealed = files.segments_count;
    uint64_t end = 0;
    bool was_damaged = r->damaged;
    r->damaged = false;
    if (sealed > 0 && !last_is_sealed(p, files.segments[sealed - 1], &end)) {
        sealed--;
        r->report->segments_open++;
    }
    for (size_t i = 0; st == RF_OK && i < sealed; i++)
        st = repair_segment(r, p, files.segments[i],
                            i + 1 < files.segments_count ? files.segments[i + 1] : end, err);
    /* Files of a damaged segment may be all that still tells of its events. */
    if (st == RF_OK && !r->damaged)
        st = tidy(r, p, &files, sealed, end, err);
    r->damaged |= was_damaged;
    r->report->partitions++;
    rfi_files_clear(&files);
    return st;
}

static rf_status each_domain(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                             rf_err *err)
{
    repair *r = arg;
    rf_status st = RF_OK;
    (void)bad;
    for (uint32_t i = 0; st == RF_OK && i < partitions; i++) {
        rf_log_part p = {.log = &r->log, .number = i};
        snprintf(p.domain, sizeof p.domain, "%s", domain);
        int n = asprintf(&p.dir, "%s/%s/%u", r->log.dir, domain, i);
        RF_ASSERT(n > 0);
        st = repair_partition(r, &p, err);
        free(p.dir);
    }
    return st;
}

static rf_status add_bytes(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                           rf_err *err)
{
    repair *r = arg;
    (void)bad;
    for (uint32_t i = 0; i < partitions; i++) {
        rfi_files files;
        char *dir = NULL;
        int n = asprintf(&dir, "%s/%s/%u", r->log.dir, domain, i);
        RF_ASSERT(n > 0);
        rf_status st = rfi_files_list(r->log.io, dir, &files, err);
        for (size_t k = 0; st == RF_OK && k < files.segments_count; k++) {
            uint64_t bytes = 0;
            char *path = rfi_segment_path(dir, files.segments[k], "seg");
            st = file_size(r->log.io, path, &bytes, err);
            r->bytes_total += bytes;
            free(path);
        }
        free(dir);
        if (st != RF_OK)
            return st;
        rfi_files_clear(&files);
    }
    return RF_OK;
}

/* ---- the public side
 * -------------------------------------------------------------------------------------------- */

static rf_status take_lock(rf_log *log, rf_err *err)
{
    char *path = NULL;
    int n = asprintf(&path, "%s/LOCK", log->dir);
    RF_ASSERT(n > 0);
    rf_status st =
        log->io->open(log->io, path, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &log->lock, err);
    if (st == RF_OK)
        st = log->io->lock(log->io, log->lock, err);
    if (st == RF_EBUSY)
        rf_err_set(err, RF_EBUSY, "%s: another refold has this log open: stop it first", path);
    free(path);
    return st;
}

rf_status rf_log_repair_indexes(rf_io *io, const char *dir, const rf_log_watch *watch,
                                rf_repair_report *report, rf_err *err)
{
    static const rf_log_watch nobody;
    unsigned bad = 0;
    repair *r = rf_xcalloc(1, sizeof *r);
    r->log.io = io != NULL ? io : rf_io_posix();
    r->log.dir = rf_xstrdup(dir);
    r->watch = watch != NULL ? watch : &nobody;
    r->report = report;
    *report = (rf_repair_report){0};
    rf_status st = rfi_meta_secret(r->log.io, dir, r->log.meta.secret, &bad, err);
    if (st == RF_OK)
        st = take_lock(&r->log, err);
    if (st == RF_OK)
        st = rfi_domains_list(r->log.io, dir, add_bytes, r, err);
    if (st == RF_OK)
        st = rfi_domains_list(r->log.io, dir, each_domain, r, err);
    if (st == RF_OK && r->damaged)
        st = rf_err_set(err, RF_ECORRUPT,
                        "segments are damaged: the index files of their partitions were kept "
                        "where they could not be made anew");
    r->log.io->close(r->log.io, &r->log.lock);
    free(r->log.dir);
    free(r);
    return st;
}
