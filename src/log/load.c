/* Replaying a segment into memory. Checks what only all events together can show: ids once,
 * revisions without a gap. */
#include "log/block_int.h"
#include "log/load_int.h"

#include <inttypes.h>

static rf_status nonsense(const rfi_block_header *h, uint64_t offset, const char *why, rf_err *err)
{
    return rf_err_set(err, RF_ECORRUPT, "block at byte %" PRIu64 " (offset %" PRIu64 "): %s",
                      h->position, offset, why);
}

static rf_status load_events(const rf_block *b, const uint8_t secret[static RF_KEY_BYTES],
                             rfi_mem *m, rf_err *err)
{
    if (!rfi_mem_reserve(m, b->head.count))
        return rf_err_set(err, RF_ENOMEM, "no memory for the index of %u events", m->events);
    for (uint32_t i = 0; i < b->head.count; i++) {
        rf_event e;
        rfi_frame f;
        rfi_keys keys;
        rfi_id_hit hit;
        rfi_stream_part part;
        rfi_block_frame(b, i, &f);
        rfi_block_event(b, i, &e);
        rfi_keys_of(secret, &e, &keys);
        uint64_t offset = b->head.base_offset + i;
        if (rfi_mem_find_id(m, keys.id, &hit))
            return nonsense(&b->head, offset, "an id is stored twice", err);
        if (rfi_mem_stream_part(m, keys.stream, &part) &&
            f.revision != part.first_revision + part.count)
            return nonsense(&b->head, offset, "a stream's revisions have a gap", err);
        rfi_mem_add(m, &keys, rfi_content48(f.content), f.revision);
        rfi_types_add(&m->types, e.type, 1);
    }
    rfi_block_entry entry = {
        .at = b->head.position,
        .base_offset = b->head.base_offset,
        .count = b->head.count,
        .bytes = b->head.total_bytes,
        .recorded_us = b->head.recorded_us,
        .time_min_us = b->head.time_min_us,
        .time_max_us = b->head.time_max_us,
    };
    if (!rfi_mem_add_block(m, &entry))
        return rf_err_set(err, RF_ENOMEM, "no memory for the index of blocks");
    return RF_OK;
}

rf_status rfi_load(rfi_scan *s, const uint8_t secret[static RF_KEY_BYTES], rfi_mem *m, rf_err *err)
{
    RF_ASSERT(s->next_offset == m->base_offset + m->events);
    rf_block *block = rf_block_new();
    rf_status st = RF_OK;
    rfi_step step = RFI_SCAN_STOP;
    rfi_block_header h;
    const uint8_t *bytes = NULL;
    while (st == RF_OK && (step = rfi_scan_next(s, &h, &bytes, err)) == RFI_SCAN_BLOCK) {
        if (h.count == 0)
            continue;
        const char *why = rfi_block_decode(block, &h, bytes + RFI_BLOCK_HEADER_BYTES);
        if (why != NULL)
            st = nonsense(&h, h.base_offset, why, err);
        else
            st = load_events(block, secret, m, err);
    }
    if (st == RF_OK && step == RFI_SCAN_ERROR)
        st = err->status;
    rf_block_free(&block);
    return st;
}
