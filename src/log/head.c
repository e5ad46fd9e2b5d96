/*
 * The ends of the chains, and views that do not care whether a writer is up. The head is the last
 * block with events: markers behind it say nothing about events and may still be taken back.
 */
#include "log/block_int.h"
#include "log/view_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rf_status rf_log_view_open_beside(rf_io *io, const char *dir, rf_log_view **out, rf_err *err)
{
    rf_file *lock = NULL;
    rf_err why = {0};
    char *path = NULL;
    *out = NULL;
    io = io != NULL ? io : rf_io_posix();
    int n = asprintf(&path, "%s/LOCK", dir);
    RF_ASSERT(n > 0);
    rf_status st = io->open(io, path, RF_IO_READ, &lock, &why);
    free(path);
    if (st == RF_OK)
        st = io->lock(io, lock, &why);
    bool follow = st == RF_EBUSY;
    if (st != RF_OK && st != RF_EBUSY && st != RF_ENOTFOUND) { /* no lock: a copy of a log */
        *err = why;
    } else {
        /* The lock is held while the ends are looked for: no writer can move them meanwhile. */
        rf_log_view_options o = {.io = io, .follow = follow};
        st = rf_log_view_open(dir, &o, out, err);
    }
    io->close(io, &lock);
    return st;
}

static rf_status head_of(rf_log_view *view, const rf_position_part *part, rf_block *block,
                         rf_log_head *head, rf_err *err)
{
    rf_str domain = rf_str_from(part->domain);
    rf_block_ref *refs = NULL;
    size_t count = 0;
    *head = (rf_log_head){.partition = part->partition, .recorded_us = RF_TIME_NONE};
    memcpy(head->domain, part->domain, sizeof head->domain);
    rf_status st = rf_log_view_blocks(view, domain, part->partition, part->next - 1, part->next,
                                      &refs, &count, err);
    if (st == RF_OK)
        st = rf_block_load(view, domain, part->partition, &refs[count - 1], block, err);
    if (st == RF_OK) {
        head->next = block->head.base_offset + block->head.count;
        head->sequence = block->head.sequence;
        head->recorded_us = block->head.recorded_us;
        rfi_block_hash((const uint8_t *)block->disk.p, head->hash);
    }
    free(refs);
    return st;
}

rf_status rf_log_heads(rf_log_view *view, rf_str domain,
                       void (*each)(void *arg, const rf_log_head *head), void *arg, rf_err *err)
{
    rf_position all = {0};
    rf_log_view_position(view, &all);
    rf_block *block = rf_block_new();
    rf_status st = RF_OK;
    for (size_t i = 0; st == RF_OK && i < all.count; i++) {
        rf_log_head head;
        if (domain.n > 0 && !rf_str_eq(rf_str_from(all.parts[i].domain), domain))
            continue;
        st = head_of(view, &all.parts[i], block, &head, err);
        if (st == RF_OK)
            each(arg, &head);
    }
    rf_block_free(&block);
    rf_position_clear(&all);
    return st;
}
