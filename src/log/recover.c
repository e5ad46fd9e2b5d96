/*
 * Recovery of a partition: bounded by the segments that were not sealed.
 *   R1  A segment with a successor is whole (segment.c I2): anything bad in it is damage, never
 * cut. R2  The last segment without an index file is scanned; its tail is cut where scan.c says
 * that nothing behind was ever acknowledged, and the cut is synced before anything is appended. R3
 * Blocks above D are written again before they are counted as durable: after a failed sync the page
 * cache may show bytes that the disk does not have, and a sync of clean pages does nothing. R4
 * Index files are never believed for what they lack: each is rebuilt from its segment when it is
 *       missing, damaged or made with another key.
 *   R5  Of key files that cover the same events the longest whole one is taken; the others, which a
 *       merge left, are removed when its name is durable.
 */
#include "log/bugs_int.h"
#include "log/load_int.h"
#include "log/recover_int.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct recovery {
    rf_log_part *p;
    rfi_files files;
    uint64_t *ends; /* of each sealed segment, by its place in files.segments */
    size_t sealed;
} recovery;

/* ---- sealed segments
 * --------------------------------------------------------------------------------- */

static rf_status open_segment(rf_log_part *p, uint64_t base, int flags, rf_file **file, rfi_scan *s,
                              rf_err *err)
{
    rf_io *io = p->log->io;
    char *path = rfi_segment_path(p->dir, base, "seg");
    rf_status st = io->open(io, path, flags, file, err);
    if (st == RF_OK) {
        st = rfi_scan_open(s, io, *file, err);
        if (st == RF_OK && (s->head.base_offset != base || s->head.partition != p->number ||
                            strcmp(s->head.domain, p->domain) != 0)) {
            rfi_scan_clear(s);
            st = rf_err_set(err, RF_ECORRUPT, "segment header: made for %s/%u at offset %" PRIu64,
                            s->head.domain, s->head.partition, s->head.base_offset);
        }
        if (st != RF_OK)
            io->close(io, file);
    }
    if (st != RF_OK)
        rf_err_note(err, "%s", path);
    free(path);
    return st;
}

static rfi_index_header end_of_scan(const rf_log_part *p, const rfi_scan *s)
{
    rfi_index_header h = {
        .partition = p->number,
        .base_offset = s->head.base_offset,
        .end_offset = s->next_offset,
        .key_check = rfi_key_check(p->log->meta.secret),
        .segment_id = s->head.segment_id,
        .segment_bytes = s->at,
        .next_sequence = s->next_sequence,
        .recorded_us = s->recorded_us,
    };
    memcpy(h.domain, p->domain, sizeof h.domain);
    memcpy(h.last_hash, s->prev_hash, sizeof h.last_hash);
    return h;
}

rf_status rfi_load_sealed(rf_log_part *p, uint64_t base, uint64_t end, rfi_mem *m,
                          rfi_index_header *head, rf_err *err)
{
    rf_file *file = NULL;
    rfi_scan s;
    rf_status st = open_segment(p, base, RF_IO_READ, &file, &s, err);
    if (st != RF_OK)
        return st;
    st = rfi_load(&s, p->log->meta.secret, m, err);
    if (st == RF_OK && s.next_offset != end)
        st = rf_err_set(err, RF_ECORRUPT,
                        "block at byte %" PRIu64 " (offsets %" PRIu64 "..%" PRIu64 "): %s", s.at,
                        s.next_offset, end - 1, s.why);
    if (st == RF_OK)
        *head = end_of_scan(p, &s);
    else
        rf_err_note(err, "%s/%020" PRIu64 ".seg", p->dir, base);
    rfi_scan_clear(&s);
    p->log->io->close(p->log->io, &file);
    return st;
}

/* The segment's own index, when it is there and is of this very segment. */
static rf_status index_of(rf_log_part *p, const rfi_segment_header *head, rfi_index **out,
                          rf_err *err)
{
    char *path = rfi_segment_path(p->dir, head->base_offset, "idx");
    rf_status st = rfi_index_open(p->log->io, path, RFI_INDEX_SEGMENT, out, err);
    if (st == RF_OK && (rfi_index_head(*out)->segment_id != head->segment_id ||
                        rfi_index_head(*out)->base_offset != head->base_offset)) {
        rfi_index_release(out);
        st = rf_err_set(err, RF_ECORRUPT, "%s belongs to another segment", path);
    }
    free(path);
    return st;
}

static rf_status continues(const rf_log_part *p, const rfi_segment_header *head, bool first,
                           rf_err *err)
{
    const rfi_writer *w = &p->w;
    if (first && head->base_offset == 0 && head->base_sequence == RFI_SEQUENCE_FIRST)
        return RF_OK;
    if (!first && head->base_offset == w->next && head->base_sequence == w->seg.sequence &&
        memcmp(head->prev_hash, w->seg.prev_hash, sizeof head->prev_hash) == 0)
        return RF_OK;
    return rf_err_set(err, RF_ECORRUPT,
                      "%s/%020" PRIu64
                      ".seg does not continue what lies before it: offsets %" PRIu64 "..%" PRIu64
                      " are missing or were replaced",
                      p->dir, head->base_offset, w->next, head->base_offset - 1);
}

static void go_on_after(rf_log_part *p, const rfi_index_header *end)
{
    p->w.next = end->end_offset;
    p->w.seg.sequence = end->next_sequence;
    p->w.recorded_us = RF_MAX(p->w.recorded_us, end->recorded_us);
    memcpy(p->w.seg.prev_hash, end->last_hash, sizeof end->last_hash);
}

static rf_status rebuild_segment_index(recovery *r, size_t i, rf_err *err)
{
    rf_log_part *p = r->p;
    uint64_t base = r->files.segments[i], end = r->files.segments[i + 1];
    rfi_index_header head;
    rfi_mem *m = rfi_mem_new(base);
    if (m == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory for an index");
    rfi_notice(p->log, "%s/%020" PRIu64 ".idx: rebuilding from its segment", p->dir, base);
    rf_status st = rfi_load_sealed(p, base, end, m, &head, err);
    if (st == RF_OK)
        st = rfi_seal_files(p, m, &head, NULL, err);
    rfi_mem_release(&m);
    if (st == RF_OK)
        go_on_after(p, &head);
    return st;
}

/* Everything but the open segment. Only headers and index headers are read. */
static rf_status recover_sealed(recovery *r, rf_err *err)
{
    rf_log_part *p = r->p;
    for (size_t i = 0; i < r->files.segments_count; i++) {
        bool last = i + 1 == r->files.segments_count;
        rf_file *file = NULL;
        rfi_scan s;
        rfi_index *x = NULL;
        rf_status st = open_segment(p, r->files.segments[i], RF_IO_READ, &file, &s, err);
        if (st != RF_OK)
            return st;
        rfi_segment_header head = s.head;
        uint64_t bytes = s.file_bytes;
        rfi_scan_clear(&s);
        p->log->io->close(p->log->io, &file);
        st = continues(p, &head, i == 0, err);
        if (st != RF_OK)
            return st;
        rf_err why = {0};
        st = index_of(p, &head, &x, &why);
        if (st == RF_OK && rfi_index_head(x)->segment_bytes <= bytes) {
            go_on_after(p, rfi_index_head(x));
            atomic_fetch_add(&p->bytes_sealed, rfi_index_head(x)->segment_bytes);
            atomic_fetch_add(&p->bytes_index, rfi_index_bytes(x));
            rfi_index_release(&x);
        } else {
            rfi_index_release(&x);
            if (st == RF_EUNSUPPORTED) {
                *err = why;
                return st;
            }
            if (last)
                return RF_OK; /* not sealed: the caller scans it */
            st = rebuild_segment_index(r, i, err);
            if (st != RF_OK)
                return st;
            atomic_fetch_add(&p->bytes_sealed, bytes);
        }
        r->ends[r->sealed++] = p->w.next;
        atomic_fetch_add(&p->segments, 1);
    }
    return RF_OK;
}

/* ---- key files
 * ---------------------------------------------------------------------------------------- */

/* Is `end` the end of a sealed segment? Then its place is in *at. */
static bool ends_segment(const recovery *r, size_t from, uint64_t end, size_t *at)
{
    for (size_t i = from; i < r->sealed; i++) {
        if (r->ends[i] == end) {
            *at = i;
            return true;
        }
    }
    return false;
}

/* The longest good key file that begins with segment `from`; *to is the last segment it covers,
 * or `from` when there is none. */
static rfi_index *keys_from(recovery *r, size_t from, size_t *to)
{
    rf_log_part *p = r->p;
    *to = from;
    for (size_t k = 0; k < r->files.keys_count; k++) {
        const struct rfi_key_file *f = &r->files.keys[k];
        size_t last = from;
        if (f->base != r->files.segments[from] || !ends_segment(r, from, f->end, &last))
            continue;
        rf_err err = {0};
        rfi_index *x = NULL;
        char *path = rfi_keys_path(p->dir, f->base, f->end);
        if (rfi_index_open(p->log->io, path, RFI_INDEX_KEYS, &x, &err) != RF_OK) {
            rfi_notice(p->log, "%s", err.text);
        } else if (rfi_index_head(x)->key_check != rfi_key_check(p->log->meta.secret) ||
                   rfi_index_head(x)->base_offset != f->base ||
                   rfi_index_head(x)->end_offset != f->end) {
            rfi_notice(p->log, "%s was made for another log", path);
            rfi_index_release(&x);
        }
        free(path);
        if (x != NULL) {
            *to = last;
            return x;
        }
    }
    return NULL;
}

static rf_status rebuild_keys(recovery *r, size_t i, rfi_index **out, rf_err *err)
{
    rf_log_part *p = r->p;
    uint64_t base = r->files.segments[i];
    rfi_index_header head;
    rfi_mem *m = rfi_mem_new(base);
    if (m == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory for an index");
    rfi_notice(p->log, "%s/%020" PRIu64 "-%020" PRIu64 ".key: rebuilding from its segment", p->dir,
               base, r->ends[i]);
    rf_status st = rfi_load_sealed(p, base, r->ends[i], m, &head, err);
    if (st == RF_OK)
        st = rfi_seal_files(p, m, &head, out, err);
    rfi_mem_release(&m);
    return st;
}

static rf_status recover_keys(recovery *r, rf_err *err)
{
    rf_log_part *p = r->p;
    for (size_t i = 0; i < r->sealed; i++) {
        size_t to = i;
        rf_status st = RF_OK;
        rfi_index *x = keys_from(r, i, &to);
        if (x == NULL && RFI_BUG(RFI_BUG_NO_INDEX_REBUILD))
            continue;
        if (x == NULL)
            st = rebuild_keys(r, i, &x, err);
        if (st != RF_OK)
            return st;
        bool fine = rfi_part_exchange(p, &(rfi_exchange){.in = &x, .in_count = 1});
        rfi_index_release(&x);
        if (!fine)
            return rf_err_set(err, RF_ENOMEM, "no memory for an index");
        i = to;
    }
    return RF_OK;
}

static bool is_in_set(const rfi_set *set, const struct rfi_key_file *f)
{
    for (uint32_t i = 0; i < set->keys_count; i++) {
        const rfi_index_header *h = rfi_index_head(set->keys[i]);
        if (h->base_offset == f->base && h->end_offset == f->end)
            return true;
    }
    return false;
}

/* R5. They are in nobody's way: what fails here is tried at the next open. */
static void remove_superseded(recovery *r)
{
    rf_log_part *p = r->p;
    rf_io *io = p->log->io;
    rf_err ignored = {0};
    uint64_t sealed_end = r->sealed == 0 ? 0 : r->ends[r->sealed - 1];
    bool synced = false;
    for (size_t i = 0; i < r->files.keys_count; i++) {
        const struct rfi_key_file *f = &r->files.keys[i];
        if (f->end > sealed_end || is_in_set(p->set, f))
            continue;
        synced = synced || RFI_BUG(RFI_BUG_TIDY_NO_DIR_SYNC) ||
                 io->sync_dir(io, p->dir, &ignored) == RF_OK;
        if (!synced)
            return;
        char *path = rfi_keys_path(p->dir, f->base, f->end);
        (void)io->unlink(io, path, &ignored);
        free(path);
    }
}

/* ---- the open segment
 * ------------------------------------------------------------------------------------ */

/* R3: the blocks above D once more, so that the sync after it means something. */
static rf_status rewrite_above(rf_log_part *p, rfi_scan *s, rf_file *file, rf_err *err)
{
    rf_io *io = p->log->io;
    uint64_t from = s->at;
    if (RFI_BUG(RFI_BUG_NO_REWRITE))
        return RF_OK;
    for (uint32_t i = p->mem->blocks_count; i > 0; i--) {
        const rfi_block_entry *b = &p->mem->blocks[i - 1];
        if (b->base_offset + b->count <= s->durable)
            break;
        from = b->at;
    }
    uint8_t *copy = s->buffer; /* the scan is over */
    while (from < s->at) {
        size_t n = (size_t)RF_MIN(s->at - from, (uint64_t)s->buffer_cap), got = 0;
        rf_status st = io->pread(io, file, copy, n, from, &got, err);
        if (st == RF_OK && got < n)
            st = rf_err_set(err, RF_EIO, "the file became shorter while it was read");
        if (st == RF_OK)
            st = io->pwrite(io, file, copy, n, from, err);
        if (st != RF_OK)
            return st;
        from += n;
    }
    return RF_OK;
}

static rf_status cut_tail(rf_log_part *p, rfi_scan *s, rf_file *file, rf_err *err)
{
    rf_io *io = p->log->io;
    rfi_tail_kind tail;
    rf_status st = rfi_scan_judge(s, &tail, err);
    if (st != RF_OK || !tail.torn)
        return st;
    rfi_notice(p->log,
               "%s/%020" PRIu64 ".seg: cut a torn tail of %" PRIu64 " bytes at byte %" PRIu64
               " (offset %" PRIu64 "): %s; it was never acknowledged",
               p->dir, s->head.base_offset, tail.bytes, s->at, s->next_offset, s->why);
    st = io->truncate(io, file, s->at, err);
    s->file_bytes = s->at;
    return st;
}

static rf_status recover_open(recovery *r, rf_err *err)
{
    rf_log_part *p = r->p;
    rf_io *io = p->log->io;
    rfi_open_segment *seg = &p->w.seg;
    rf_file *file = NULL;
    rfi_scan s;
    uint64_t base = r->files.segments[r->sealed];
    rf_status st = open_segment(p, base, RF_IO_READ | RF_IO_WRITE, &file, &s, err);
    if (st != RF_OK)
        return st;
    st = rfi_load(&s, p->log->meta.secret, p->mem, err);
    if (st == RF_OK)
        st = cut_tail(p, &s, file, err);
    if (st == RF_OK)
        st = rewrite_above(p, &s, file, err);
    if (st == RF_OK && !RFI_BUG(RFI_BUG_NO_CUT_SYNC))
        st = io->sync(io, file, err);
    if (st == RF_OK)
        st = io->sync_dir(io, p->dir, err);
    if (st == RF_OK) {
        rfi_index_header end = end_of_scan(p, &s);
        go_on_after(p, &end);
        seg->file = file;
        seg->head = s.head;
        seg->at = seg->zeroed = s.at;
        seg->allocated = s.file_bytes;
        seg->durable_written = s.durable;
        atomic_fetch_add(&p->segments, 1);
    } else {
        rf_err_note(err, "%s/%020" PRIu64 ".seg", p->dir, base);
        io->close(io, &file);
    }
    rfi_scan_clear(&s);
    return st;
}

/* ---- all of it
 * ---------------------------------------------------------------------------------------------- */

static void remove_leftovers(recovery *r)
{
    for (size_t i = 0; i < r->files.leftovers_count; i++) {
        char *path = NULL;
        rf_err ignored = {0}; /* it is in nobody's way */
        if (asprintf(&path, "%s/%s", r->p->dir, r->files.leftovers[i]) > 0)
            (void)r->p->log->io->unlink(r->p->log->io, path, &ignored);
        free(path);
    }
}

rf_status rfi_recover(rf_log_part *p, rf_err *err)
{
    recovery r = {.p = p};
    rf_status st = rfi_files_list(p->log->io, p->dir, &r.files, err);
    if (st != RF_OK)
        return st;
    r.ends = rf_xcalloc(r.files.segments_count + 1, sizeof *r.ends);
    remove_leftovers(&r);
    st = recover_sealed(&r, err);
    if (st == RF_OK)
        st = recover_keys(&r, err);
    if (st == RF_OK)
        remove_superseded(&r);
    if (st == RF_OK && (p->mem = rfi_mem_new(p->w.next)) == NULL)
        st = rf_err_set(err, RF_ENOMEM, "no memory for an index");
    if (st == RF_OK && r.sealed < r.files.segments_count)
        st = recover_open(&r, err);
    free(r.ends);
    rfi_files_clear(&r.files);
    return st;
}
