/*
 * Backups beside a running writer.
 *   B1  What is copied is durable: the ends are asked first, of open segments whole blocks below
 *       them are taken, and a segment with an index file is whole and never changes again.
 *   B2  A file gets its name in the target only when its bytes are synced.
 *   B3  Until the new manifest takes the old one's place, whatever the old one lists stays as it
 *       is: segments become longer but keep their beginning, index files are removed afterwards,
 *       and of meta (which changes with each start of the writer) the earlier one is kept beside.
 *   B4  The manifest is written only when the copy verifies.
 * Steps: segments and indexes, meta, what is not wanted, verification, manifest, what is not wanted
 * any more.
 */
#include "log/backup_int.h"
#include "log/part_int.h"
#include "log/recover_int.h"
#include "log/scan_int.h"
#include "log/view_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES ((size_t)1 << 20)
#define SMALL_FILE_BYTES_MAX ((uint64_t)64 << 10)
enum { DIGITS = 20 };

typedef struct backup {
    rf_io *io;
    const char *dir, *target;
    char *log; /* target/log */
    const rf_log_watch *watch;
    rf_backup_report *report;
    rf_position ends; /* durable when we began */
    rfi_manifest before, now;
    uint64_t bytes_done, bytes_total;
} backup;

/* One partition at work. */
typedef struct part {
    backup *b;
    char *name; /* domain/number */
    char *from, *to;
    uint64_t end;    /* durable when we began */
    uint64_t taken;  /* events in the backup */
    uint64_t sealed; /* events in its sealed segments */
} part;

char *rfi_path(const char *dir, const char *name)
{
    char *path = NULL;
    int n = asprintf(&path, "%s/%s", dir, name);
    RF_ASSERT(n > 0);
    return path;
}

static void progress(backup *b, uint64_t more)
{
    b->bytes_done += more;
    if (b->watch->progress != NULL)
        b->watch->progress(b->watch->arg, "copying", b->bytes_done, b->bytes_total);
}

/* ---- files
 * ---------------------------------------------------------------------------------------------- */

static rf_status copy_range(rf_io *io, rf_file *from, rf_file *to, uint64_t bytes, uint8_t *buffer,
                            rf_err *err)
{
    for (uint64_t at = 0; at < bytes;) {
        size_t step = (size_t)RF_MIN(bytes - at, (uint64_t)COPY_BYTES), got = 0;
        rf_status st = io->pread(io, from, buffer, step, at, &got, err);
        if (st == RF_OK && got < step)
            st = rf_err_set(err, RF_ECORRUPT, "the file became shorter while it was copied");
        if (st == RF_OK)
            st = io->pwrite(io, to, buffer, step, at, err);
        if (st != RF_OK)
            return st;
        at += step;
    }
    return RF_OK;
}

rf_status rfi_copy_file(rf_io *io, const char *from, const char *to, uint64_t bytes, rf_err *err)
{
    rf_file *in = NULL, *out = NULL;
    uint8_t *buffer = rf_xmalloc(COPY_BYTES);
    char *temporary = NULL;
    int n = asprintf(&temporary, "%s.tmp", to);
    RF_ASSERT(n > 0);
    rf_status st = io->open(io, from, RF_IO_READ, &in, err);
    if (st == RF_OK)
        st = io->open(io, temporary, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &out, err);
    if (st == RF_OK)
        st = io->truncate(io, out, 0, err);
    if (st == RF_OK)
        st = copy_range(io, in, out, bytes, buffer, err);
    if (st == RF_OK)
        st = io->sync(io, out, err);
    bool made = out != NULL;
    io->close(io, &in);
    io->close(io, &out);
    if (st == RF_OK)
        st = io->rename(io, temporary, to, err);
    if (st != RF_OK && made) {
        rf_err ignored = {0};
        (void)io->unlink(io, temporary, &ignored);
    }
    if (st != RF_OK)
        rf_err_note(err, "copying %s", from);
    free(temporary);
    free(buffer);
    return st;
}

/* rf_io has no links: with the real disk the call is made directly, with another all is copied. */
static bool link_file(rf_io *io, const char *from, const char *to)
{
    char *temporary = NULL;
    if (io != rf_io_posix())
        return false;
    int n = asprintf(&temporary, "%s.tmp", to);
    RF_ASSERT(n > 0);
    unlink(temporary);
    bool linked = link(from, temporary) == 0 && rename(temporary, to) == 0;
    unlink(temporary); /* it stays when both names were links to one file already */
    free(temporary);
    return linked;
}

/* Size and first page, which identifies a segment (by its random id) and an index file (by the
 * checksum of its checksums). False: there is no such file. */
static bool look_at(rf_io *io, const char *path, uint64_t *bytes, uint8_t page[RFI_PAGE_BYTES])
{
    rf_file *file = NULL;
    rf_err ignored = {0};
    size_t got = 0;
    memset(page, 0, RFI_PAGE_BYTES);
    bool there = io->open(io, path, RF_IO_READ, &file, &ignored) == RF_OK &&
                 io->size(io, file, bytes, &ignored) == RF_OK &&
                 io->pread(io, file, page, RFI_PAGE_BYTES, 0, &got, &ignored) == RF_OK;
    io->close(io, &file);
    return there;
}

/* Is in the target already what the first `bytes` of `from` are? */
static bool is_there(backup *b, const char *from, const char *to, uint64_t bytes)
{
    uint8_t mine[RFI_PAGE_BYTES], theirs[RFI_PAGE_BYTES];
    uint64_t from_bytes = 0, to_bytes = 0;
    return look_at(b->io, from, &from_bytes, mine) && look_at(b->io, to, &to_bytes, theirs) &&
           to_bytes == bytes && memcmp(mine, theirs, sizeof mine) == 0;
}

static rf_status enter(backup *b, const char *path, const char *to, uint64_t bytes, bool kept,
                       rf_err *err)
{
    /* Of a segment so many bytes are always the same; another file may have changed its content and
     * not its length. */
    bool grows = kept && strcmp(path + strlen(path) - 4, ".seg") == 0;
    const rfi_manifest_file *old = grows ? rfi_manifest_find(&b->before, path) : NULL;
    rfi_manifest_file *f = rfi_manifest_add(&b->now, path);
    f->bytes = bytes;
    f->kept = kept;
    b->report->files++;
    b->report->bytes += bytes;
    b->report->files_kept += kept;
    if (old != NULL && old->bytes == bytes) {
        memcpy(f->sha256, old->sha256, sizeof f->sha256);
        return RF_OK;
    }
    return rfi_file_sha256(b->io, to, bytes, f->sha256, err);
}

/* Brings the first `bytes` of from/name to to/name; whole files may become links. */
static rf_status place(const part *p, const char *name, uint64_t bytes, bool whole, rf_err *err)
{
    backup *b = p->b;
    char *from = rfi_path(p->from, name), *to = rfi_path(p->to, name);
    char *path = rfi_path(p->name, name);
    rf_status st = RF_OK;
    bool kept = is_there(b, from, to, bytes);
    if (!kept && whole && link_file(b->io, from, to)) {
        b->report->files_linked++;
    } else if (!kept) {
        st = rfi_copy_file(b->io, from, to, bytes, err);
        b->report->files_copied += st == RF_OK;
        b->report->bytes_copied += st == RF_OK ? bytes : 0;
    }
    if (st == RF_OK)
        st = enter(b, path, to, bytes, kept, err);
    free(path);
    free(to);
    free(from);
    return st;
}

/* ---- segments
 * -------------------------------------------------------------------------------------------- */

/* The segment's index, when there is one of it and the segment is as long as it says. */
static bool is_sealed(const part *p, uint64_t base, uint64_t *bytes, uint64_t *end)
{
    uint8_t page[RFI_PAGE_BYTES];
    rfi_segment_header head;
    rfi_index *x = NULL;
    rf_err ignored = {0};
    char *seg = rfi_segment_path(p->from, base, "seg"),
         *idx = rfi_segment_path(p->from, base, "idx");
    bool sealed = rfi_index_open(p->b->io, idx, RFI_INDEX_SEGMENT, &x, &ignored) == RF_OK &&
                  look_at(p->b->io, seg, bytes, page) &&
                  rfi_segment_header_decode(page, &head, &ignored) == RF_OK &&
                  rfi_index_head(x)->segment_id == head.segment_id &&
                  rfi_index_head(x)->segment_bytes == *bytes;
    if (sealed)
        *end = rfi_index_head(x)->end_offset;
    rfi_index_release(&x);
    free(idx);
    free(seg);
    return sealed;
}

/* How many bytes of a segment hold its whole blocks below offset `end`. With `markers` also those
 * without events behind them: the next segment continues the chain from the last block of all. */
static rf_status blocks_below(const part *p, uint64_t base, uint64_t end, bool markers,
                              uint64_t *bytes, uint64_t *reached, rf_err *err)
{
    rf_io *io = p->b->io;
    rf_file *file = NULL;
    rfi_scan s = {0};
    rfi_block_header h;
    const uint8_t *block = NULL;
    rfi_step step = RFI_SCAN_BLOCK;
    char *path = rfi_segment_path(p->from, base, "seg");
    rf_status st = io->open(io, path, RF_IO_READ, &file, err);
    if (st == RF_OK)
        st = rfi_scan_open(&s, io, file, err);
    if (st == RF_OK) {
        while ((s.next_offset < end || markers) && step == RFI_SCAN_BLOCK)
            step = rfi_scan_next(&s, &h, &block, err);
        *bytes = s.at;
        *reached = s.next_offset;
        if (step == RFI_SCAN_ERROR)
            st = err->status;
        else if (s.next_offset < end)
            st = rf_err_set(err, RF_ECORRUPT, "block at byte %" PRIu64 " (offset %" PRIu64 "): %s",
                            s.at, s.next_offset, s.why);
        rfi_scan_clear(&s);
    }
    io->close(io, &file);
    if (st != RF_OK)
        rf_err_note(err, "%s", path);
    free(path);
    return st;
}

static rf_status take_segment(part *p, uint64_t base, uint64_t next_base, rf_err *err)
{
    char name[DIGITS + 5];
    uint64_t bytes = 0, end = 0;
    snprintf(name, sizeof name, "%020" PRIu64 ".seg", base);
    if (is_sealed(p, base, &bytes, &end)) {
        rf_status st = place(p, name, bytes, true, err);
        p->taken = end;
        if (p->sealed == base)
            p->sealed = end;
        progress(p->b, bytes);
        return st;
    }
    rf_status st =
        blocks_below(p, base, RF_MIN(p->end, next_base), next_base <= p->end, &bytes, &end, err);
    if (st == RF_OK)
        st = place(p, name, bytes, false, err);
    p->taken = end;
    progress(p->b, bytes);
    return st;
}

static rf_status take_segments(part *p, const rfi_files *files, rf_err *err)
{
    rf_status st = RF_OK;
    size_t n = files->segments_count;
    for (size_t i = 0; st == RF_OK && i < n && files->segments[i] < p->end; i++)
        st = take_segment(p, files->segments[i], i + 1 < n ? files->segments[i + 1] : UINT64_MAX,
                          err);
    if (st == RF_OK && p->taken < p->end)
        st = rf_err_set(err, RF_ECORRUPT,
                        "%s: offsets %" PRIu64 "..%" PRIu64 " are durable, but not in its segments",
                        p->from, p->taken, p->end - 1);
    return st;
}

/* ---- index files
 * ------------------------------------------------------------------------------------------ */

typedef struct name_list {
    char **of;
    size_t count;
} name_list;

static void add_name(void *arg, const char *name)
{
    name_list *l = arg;
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

/*
 * <base>.* of a sealed segment, <base>-<end>.* of sealed segments that were all taken. What makes
 * them and how they are called is none of our business: they can be made anew.
 */
static bool is_wanted_index(const part *p, const char *name)
{
    uint64_t base = 0, end = 0;
    size_t n = strlen(name);
    if (n < DIGITS + 4 || strcmp(name + n - 4, ".tmp") == 0 || strcmp(name + n - 4, ".seg") == 0 ||
        !rf_str_to_u64((rf_str){name, DIGITS}, &base) || base >= p->sealed)
        return false;
    if (name[DIGITS] == '.')
        return true;
    return name[DIGITS] == '-' && n > 2 * DIGITS + 1 &&
           rf_str_to_u64((rf_str){name + DIGITS + 1, DIGITS}, &end) && end <= p->sealed;
}

static rf_status take_indexes(part *p, rf_err *err)
{
    name_list names = {0};
    uint8_t page[RFI_PAGE_BYTES];
    rf_status st = p->b->io->list(p->b->io, p->from, add_name, &names, err);
    for (size_t i = 0; st == RF_OK && i < names.count; i++) {
        uint64_t bytes = 0;
        char *from = rfi_path(p->from, names.of[i]);
        if (is_wanted_index(p, names.of[i]) && look_at(p->b->io, from, &bytes, page))
            st = place(p, names.of[i], bytes, true, err);
        if (st == RF_ENOTFOUND) /* merged into another one meanwhile */
            st = RF_OK;
        free(from);
    }
    clear_names(&names);
    return st;
}

/* ---- partitions, domains, meta
 * ------------------------------------------------------------------------------------------ */

static rf_status sync_whole_path(backup *b, const char *to, rf_err *err)
{
    rf_status st = b->io->sync_dir(b->io, to, err);
    if (st == RF_OK)
        st = b->io->sync_dir(b->io, b->log, err);
    return st == RF_OK ? b->io->sync_dir(b->io, b->target, err) : st;
}

static rf_status take_partition(backup *b, const char *domain, uint32_t number, rf_err *err)
{
    part p = {.b = b, .end = rf_position_get(&b->ends, rf_str_from(domain), number)};
    rfi_files files;
    int n = asprintf(&p.name, "%s/%u", domain, number);
    RF_ASSERT(n > 0);
    p.from = rfi_path(b->dir, p.name);
    p.to = rfi_path(b->log, p.name);
    rf_status st = rf_io_mkdirs(b->io, p.to, err);
    if (st == RF_OK)
        st = rfi_files_list(b->io, p.from, &files, err);
    if (st == RF_OK) {
        st = take_segments(&p, &files, err);
        rfi_files_clear(&files);
    }
    if (st == RF_OK)
        st = take_indexes(&p, err);
    if (st == RF_OK)
        st = sync_whole_path(b, p.to, err);
    if (st == RF_OK) {
        rf_position_raise(&b->now.ends, rf_str_from(domain), number, p.taken);
        b->report->events += p.taken;
    }
    free(p.name);
    free(p.from);
    free(p.to);
    return st;
}

/* meta and domain files: replaced when they differ. `save`: where the earlier one goes. */
static rf_status take_small(backup *b, const char *path, const char *save, rf_err *err)
{
    rf_buf mine, theirs;
    rf_err ignored = {0};
    char *from = rfi_path(b->dir, path), *to = rfi_path(b->log, path);
    rf_buf_init(&mine, SIZE_MAX);
    rf_buf_init(&theirs, SIZE_MAX);
    rf_status st = rf_io_read_file(b->io, from, SMALL_FILE_BYTES_MAX, &mine, err);
    bool there = rf_io_read_file(b->io, to, SMALL_FILE_BYTES_MAX, &theirs, &ignored) == RF_OK;
    bool kept = there && rf_str_eq(rf_buf_str(&mine), rf_buf_str(&theirs));
    if (st == RF_OK && there && !kept && save != NULL)
        st = rf_io_write_file(b->io, save, rf_buf_str(&theirs), err);
    if (st == RF_OK && !kept) {
        st = rf_io_write_file(b->io, to, rf_buf_str(&mine), err);
        b->report->files_copied++;
        b->report->bytes_copied += mine.n;
    }
    if (st == RF_OK)
        st = enter(b, path, to, mine.n, kept, err);
    rf_buf_clear(&mine);
    rf_buf_clear(&theirs);
    free(from);
    free(to);
    return st;
}

/* The domain's own file goes last, as when a domain is made: without it there is none. */
static rf_status take_domain(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                             rf_err *err)
{
    backup *b = arg;
    rf_status st = RF_OK;
    (void)bad;
    for (uint32_t i = 0; st == RF_OK && i < partitions; i++)
        st = take_partition(b, domain, i, err);
    if (st == RF_OK) {
        char *path = rfi_path(domain, "domain");
        st = take_small(b, path, NULL, err);
        free(path);
    }
    return st;
}

static rf_status count_bytes(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                             rf_err *err)
{
    backup *b = arg;
    (void)bad;
    (void)err;
    for (uint32_t i = 0; i < partitions; i++) {
        rfi_files files;
        rf_err ignored = {0};
        uint8_t page[RFI_PAGE_BYTES];
        char *dir = NULL;
        int n = asprintf(&dir, "%s/%s/%u", b->dir, domain, i);
        RF_ASSERT(n > 0);
        if (rfi_files_list(b->io, dir, &files, &ignored) == RF_OK) {
            for (size_t k = 0; k < files.segments_count; k++) {
                uint64_t bytes = 0;
                char *path = rfi_segment_path(dir, files.segments[k], "seg");
                b->bytes_total += look_at(b->io, path, &bytes, page) ? bytes : 0;
                free(path);
            }
            rfi_files_clear(&files);
        }
        free(dir);
    }
    return RF_OK;
}

/* ---- removing
 * -------------------------------------------------------------------------------------------- */

static rf_status remove_unlisted(backup *b, const char *part_name, const rfi_manifest *also,
                                 rf_err *err)
{
    name_list names = {0};
    char *dir = rfi_path(b->log, part_name);
    rf_status st = b->io->list(b->io, dir, add_name, &names, err);
    for (size_t i = 0; st == RF_OK && i < names.count; i++) {
        char *path = rfi_path(part_name, names.of[i]), *full = rfi_path(b->log, path);
        if (rfi_manifest_find(&b->now, path) == NULL &&
            (also == NULL || rfi_manifest_find(also, path) == NULL)) {
            st = b->io->unlink(b->io, full, err);
            b->report->files_removed++;
        }
        free(path);
        free(full);
    }
    clear_names(&names);
    free(dir);
    return st;
}

typedef struct removal {
    backup *b;
    const rfi_manifest *also; /* what is kept too */
} removal;

static rf_status remove_in_domain(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                                  rf_err *err)
{
    removal *r = arg;
    rf_status st = RF_OK;
    (void)bad;
    for (uint32_t i = 0; st == RF_OK && i < partitions; i++) {
        char *name = NULL;
        int n = asprintf(&name, "%s/%u", domain, i);
        RF_ASSERT(n > 0);
        st = remove_unlisted(r->b, name, r->also, err);
        free(name);
    }
    return st;
}

static rf_status tidy(backup *b, const rfi_manifest *also, rf_err *err)
{
    removal r = {b, also};
    return rfi_domains_list(b->io, b->log, remove_in_domain, &r, err);
}

/* ---- verifying
 * -------------------------------------------------------------------------------------------- */

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    const rf_log_watch *w = arg;
    if (w->progress != NULL)
        w->progress(w->arg, "verifying", done, total);
}

static void on_problem(void *arg, const char *line)
{
    const rf_log_watch *w = arg;
    if (w->problem != NULL)
        w->problem(w->arg, line);
}

rf_status rfi_verify_copy(rf_io *io, const char *log, const rf_log_watch *watch,
                          rf_backup_report *report, rf_err *err)
{
    rf_verify_report r;
    rf_log_watch w = *watch;
    rf_status st = rf_log_verify(io, log, on_problem, on_progress, &w, &r, err);
    if (st == RF_OK && r.problems == 0 && r.torn > 0) {
        on_problem(&w, "the copy ends within a block");
        r.problems = r.torn;
    }
    report->problems = r.problems;
    if (st == RF_OK && r.problems > 0)
        st = rf_err_set(err, RF_ECORRUPT, "%s does not verify: %" PRIu64 " problem%s", log,
                        r.problems, r.problems == 1 ? "" : "s");
    return st;
}

/* After a bad verification: files that were only kept and are not what the log has are removed, so
 * that the next run brings them anew. */
static void drop_rotten(backup *b)
{
    for (size_t i = 0; i < b->now.count; i++) {
        const rfi_manifest_file *f = &b->now.files[i];
        uint8_t mine[RF_SHA256_BYTES], theirs[RF_SHA256_BYTES];
        rf_err err = {0};
        if (!f->kept)
            continue;
        char *from = rfi_path(b->dir, f->path), *to = rfi_path(b->log, f->path);
        if (rfi_file_sha256(b->io, from, f->bytes, mine, &err) == RF_OK &&
            (rfi_file_sha256(b->io, to, f->bytes, theirs, &err) != RF_OK ||
             memcmp(mine, theirs, sizeof mine) != 0) &&
            b->io->unlink(b->io, to, &err) == RF_OK) {
            char *line = NULL;
            int n = asprintf(&line,
                             "%s was damaged in the backup, not in the log: removed; run "
                             "the backup again",
                             to);
            RF_ASSERT(n > 0);
            on_problem((void *)(uintptr_t)b->watch, line);
            free(line);
        }
        free(from);
        free(to);
    }
}

/* ---- the target
 * -------------------------------------------------------------------------------------------- */

static bool exists(rf_io *io, const char *path)
{
    rf_file *file = NULL;
    rf_err ignored = {0};
    bool there = io->open(io, path, RF_IO_READ, &file, &ignored) == RF_OK;
    io->close(io, &file);
    return there;
}

static rf_status same_log(backup *b, rf_err *err)
{
    uint8_t mine[RF_KEY_BYTES], theirs[RF_KEY_BYTES];
    unsigned bad = 0;
    rf_err why = {0};
    rf_status st = rfi_meta_secret(b->io, b->dir, mine, &bad, err);
    if (st != RF_OK)
        return st;
    st = rfi_meta_secret(b->io, b->log, theirs, &bad, &why);
    if (st == RF_OK && memcmp(mine, theirs, sizeof mine) != 0)
        return rf_err_set(err, RF_ECONFLICT, "%s holds a backup of another log", b->target);
    return RF_OK; /* a damaged meta is replaced */
}

/* What the target is now: nothing, an earlier backup of this log, or something to keep off. */
static rf_status judge_target(backup *b, const char *manifest, rf_err *err)
{
    char *lock = rfi_path(b->log, "LOCK"), *meta = rfi_path(b->target, "meta");
    rf_status st = RF_OK;
    if (exists(b->io, lock) || exists(b->io, meta))
        st = rf_err_set(err, RF_ECONFLICT,
                        "%s is a log that was opened, not a backup: choose another directory",
                        exists(b->io, meta) ? b->target : b->log);
    free(lock);
    free(meta);
    if (st == RF_OK)
        st = same_log(b, err);
    if (st != RF_OK)
        return st;
    rf_err why = {0};
    st = rfi_manifest_read(b->io, manifest, &b->before, &why);
    if (st == RF_EUNSUPPORTED) {
        *err = why;
        return st;
    }
    return RF_OK; /* a damaged one is made anew */
}

static rf_status compare_ends(const backup *b, rf_err *err)
{
    for (size_t i = 0; i < b->before.ends.count; i++) {
        const rf_position_part *p = &b->before.ends.parts[i];
        uint64_t now = rf_position_get(&b->ends, rf_str_from(p->domain), p->partition);
        if (now < p->next)
            return rf_err_set(err, RF_ECONFLICT,
                              "the backup in %s has %" PRIu64
                              " events of %s/%u, the log only %" PRIu64
                              ": choose another directory, so that nothing is lost",
                              b->target, p->next, p->domain, p->partition, now);
    }
    return RF_OK;
}

static rf_status find_ends(backup *b, rf_err *err)
{
    rf_log_view *view = NULL;
    rf_status st = rf_log_view_open_beside(b->io, b->dir, &view, err);
    if (st == RF_OK)
        rf_log_view_position(view, &b->ends);
    rf_log_view_close(&view);
    return st;
}

static rf_status lock_target(backup *b, rf_file **lock, rf_err *err)
{
    char *path = rfi_path(b->target, "lock");
    rf_status st = rf_io_mkdirs(b->io, b->log, err);
    if (st == RF_OK)
        st = b->io->open(b->io, path, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, lock, err);
    if (st == RF_OK)
        st = b->io->lock(b->io, *lock, err);
    if (st == RF_EBUSY)
        rf_err_set(err, RF_EBUSY, "another backup into %s is running", b->target);
    free(path);
    return st;
}

static rf_status remove_if_there(rf_io *io, const char *path, rf_err *err)
{
    rf_err why = {0};
    rf_status st = io->unlink(io, path, &why);
    if (st == RF_OK || st == RF_ENOTFOUND)
        return RF_OK;
    *err = why;
    return st;
}

static rf_status finish(backup *b, const char *manifest, const char *saved, const char *incomplete,
                        rf_err *err)
{
    b->now.created_us = rf_wall_us();
    rf_status st = rfi_manifest_write(b->io, manifest, &b->now, err);
    if (st == RF_OK)
        st = tidy(b, NULL, err);
    if (st == RF_OK)
        st = remove_if_there(b->io, saved, err);
    if (st == RF_OK)
        st = remove_if_there(b->io, incomplete, err);
    return st == RF_OK ? b->io->sync_dir(b->io, b->target, err) : st;
}

static rf_status take_all(backup *b, const char *saved, rf_err *err)
{
    rf_status st = rfi_domains_list(b->io, b->dir, count_bytes, b, err);
    if (st == RF_OK)
        st = rfi_domains_list(b->io, b->dir, take_domain, b, err);
    if (st == RF_OK)
        st = take_small(b, "meta", saved, err);
    rfi_manifest_sort(&b->now);
    if (st == RF_OK)
        st = tidy(b, &b->before, err);
    if (st == RF_OK)
        st = rfi_verify_copy(b->io, b->log, b->watch, b->report, err);
    if (st == RF_ECORRUPT && b->report->problems > 0)
        drop_rotten(b);
    return st;
}

static rf_status back_up(backup *b, rf_err *err)
{
    static const char INCOMPLETE[] = "A backup into this directory is running or was interrupted. "
                                     "Run it again to finish it.\n";
    rf_file *lock = NULL;
    char *manifest = rfi_path(b->target, RFI_MANIFEST_NAME);
    char *saved = rfi_path(b->target, RFI_META_SAVED_NAME);
    char *incomplete = rfi_path(b->target, RFI_INCOMPLETE_NAME);
    rf_status st = lock_target(b, &lock, err);
    if (st == RF_OK)
        st = judge_target(b, manifest, err);
    if (st == RF_OK)
        st = find_ends(b, err);
    if (st == RF_OK)
        st = compare_ends(b, err);
    if (st == RF_OK)
        st = rf_io_write_file(b->io, incomplete, rf_str_from(INCOMPLETE), err);
    if (st == RF_OK)
        st = take_all(b, saved, err);
    if (st == RF_OK)
        st = finish(b, manifest, saved, incomplete, err);
    b->io->close(b->io, &lock);
    free(manifest);
    free(saved);
    free(incomplete);
    return st;
}

rf_status rf_log_backup(rf_io *io, const char *dir, const char *target, const rf_log_watch *watch,
                        rf_backup_report *report, rf_err *err)
{
    static const rf_log_watch nobody;
    backup b = {.io = io != NULL ? io : rf_io_posix(),
                .dir = dir,
                .target = target,
                .watch = watch != NULL ? watch : &nobody,
                .report = report};
    *report = (rf_backup_report){0};
    b.log = rfi_path(target, "log");
    rf_status st = back_up(&b, err);
    if (st != RF_OK)
        rf_err_note(err, "backing up %s into %s", dir, target);
    rfi_manifest_clear(&b.before);
    rfi_manifest_clear(&b.now);
    rf_position_clear(&b.ends);
    free(b.log);
    return st;
}
