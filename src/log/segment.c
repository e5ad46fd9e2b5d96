/*
 * Segments as files: names, making one, ending one.
 * I1  <base>.seg appears under its name only when its header is synced, and is used only when the
 *     directory is synced: a bad header is always damage.
 * I2  A segment is ended only when all of it is synced: whatever has a successor is whole.
 * I3  <base>.idx is written only for an ended segment: what has one is never appended to.
 */
#include "log/bugs_int.h"
#include "log/part_int.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

char *rfi_segment_path(const char *dir, uint64_t base, const char *suffix)
{
    char *path = NULL;
    int n = asprintf(&path, "%s/%020" PRIu64 ".%s", dir, base, suffix);
    RF_ASSERT(n > 0); /* a path: when there is no memory for that, nothing goes on */
    return path;
}

char *rfi_keys_path(const char *dir, uint64_t base, uint64_t end)
{
    char *path = NULL;
    int n = asprintf(&path, "%s/%020" PRIu64 "-%020" PRIu64 ".key", dir, base, end);
    RF_ASSERT(n > 0);
    return path;
}

static rf_status make_file(rf_log_part *p, const rfi_segment_header *head, rf_file **file,
                           rf_err *err)
{
    rf_io *io = p->log->io;
    uint8_t page[RFI_PAGE_BYTES];
    char *temporary = rfi_segment_path(p->dir, head->base_offset, "tmp");
    char *path = rfi_segment_path(p->dir, head->base_offset, "seg");
    bool late_sync = RFI_BUG(RFI_BUG_RENAME_BEFORE_SYNC);

    rfi_segment_header_encode(head, page);
    rf_status st = io->open(io, temporary, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, file, err);
    if (st == RF_OK)
        st = io->truncate(io, *file, 0, err);
    if (st == RF_OK)
        st = io->pwrite(io, *file, page, sizeof page, 0, err);
    if (st == RF_OK && !late_sync)
        st = io->sync(io, *file, err);
    if (st == RF_OK)
        st = io->rename(io, temporary, path, err);
    if (st == RF_OK && !RFI_BUG(RFI_BUG_NO_DIR_SYNC))
        st = io->sync_dir(io, p->dir, err);
    if (st != RF_OK) {
        rf_err ignored = {0};
        io->close(io, file);
        (void)io->unlink(io, temporary, &ignored);
        rf_err_note(err, "making %s", path);
    }
    free(temporary);
    free(path);
    return st;
}

rf_status rfi_segment_create(rf_log_part *p, uint64_t base, rf_err *err)
{
    rfi_open_segment *s = &p->w.seg;
    RF_ASSERT(s->file == NULL);
    rfi_segment_header head = {
        .epoch = p->log->meta.epoch,
        .base_offset = base,
        .base_sequence = s->sequence,
        .created_us = rf_wall_us(),
        .partition = p->number,
    };
    rf_random(&head.segment_id, sizeof head.segment_id);
    memcpy(head.domain, p->domain, sizeof head.domain);
    memcpy(head.prev_hash, s->prev_hash, sizeof head.prev_hash);
    rf_status st = make_file(p, &head, &s->file, err);
    if (st != RF_OK)
        return st;
    s->head = head;
    s->at = s->allocated = s->zeroed = RFI_PAGE_BYTES;
    s->durable_written = base;
    atomic_fetch_add(&p->segments, 1);
    return RF_OK;
}

rf_status rfi_segment_end(rf_log_part *p, rf_err *err)
{
    rfi_open_segment *s = &p->w.seg;
    RF_ASSERT(s->file != NULL && p->mem->base_offset + p->mem->events == p->w.next);
    rfi_seal_job *job = calloc(1, sizeof *job);
    rfi_mem *full = p->mem, *fresh = rfi_mem_new(p->w.next);
    if (job == NULL || fresh == NULL || !rfi_part_freeze(p, fresh)) {
        free(job);
        rfi_mem_release(&fresh);
        return rf_err_set(err, RF_ENOMEM, "no memory to end a segment");
    }
    *job = (rfi_seal_job){
        .part = p,
        .mem = full,
        .end = rfi_segment_end_header(p),
    };
    p->log->io->close(p->log->io, &s->file);
    atomic_store(&p->bytes_open, 0);
    atomic_fetch_add(&p->bytes_sealed, s->at);
    rfi_sealer_add(p->log->sealer, job);
    return RF_OK;
}

rfi_index_header rfi_segment_end_header(const rf_log_part *p)
{
    const rfi_open_segment *s = &p->w.seg;
    rfi_index_header h = {
        .partition = p->number,
        .base_offset = s->head.base_offset,
        .end_offset = p->w.next,
        .key_check = rfi_key_check(p->log->meta.secret),
        .segment_id = s->head.segment_id,
        .segment_bytes = s->at,
        .next_sequence = s->sequence,
        .recorded_us = p->w.recorded_us,
    };
    memcpy(h.domain, p->domain, sizeof h.domain);
    memcpy(h.last_hash, s->prev_hash, sizeof h.last_hash);
    return h;
}
