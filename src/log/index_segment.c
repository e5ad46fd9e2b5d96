/* Blocks and types of one sealed segment: where an offset is, without reading the segment. */
#include "log/index_int.h"

#include <stdlib.h>

uint32_t rfi_blocks_count(const rfi_index *x)
{
    return (uint32_t)(rfi_index_head(x)->section_bytes[RFI_SEGMENT_BLOCKS] / RFI_BLOCK_ENTRY_BYTES);
}

bool rfi_blocks_get(rfi_index *x, uint32_t i, rfi_block_entry *out)
{
    const uint8_t *e = rfi_index_at(x, RFI_SEGMENT_BLOCKS, (uint64_t)i * RFI_BLOCK_ENTRY_BYTES,
                                    RFI_BLOCK_ENTRY_BYTES);
    if (e == NULL)
        return false;
    *out = (rfi_block_entry){
        .at = rfi_get64(e),
        .base_offset = rfi_get64(e + 8),
        .count = rfi_get32(e + 16),
        .bytes = rfi_get32(e + 20),
        .recorded_us = (int64_t)rfi_get64(e + 24),
        .time_min_us = (int64_t)rfi_get64(e + 32),
        .time_max_us = (int64_t)rfi_get64(e + 40),
    };
    return true;
}

bool rfi_blocks_find(rfi_index *x, uint64_t offset, uint32_t *out)
{
    uint32_t lo = 0, hi = rfi_blocks_count(x); /* the first block after offset lies in [lo, hi] */
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        rfi_block_entry e;
        if (!rfi_blocks_get(x, mid, &e))
            return false;
        if (e.base_offset <= offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    *out = lo == 0 ? 0 : lo - 1;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const rfi_type_count *x = a, *y = b;
    return rf_str_cmp((rf_str){x->name, x->name_bytes}, (rf_str){y->name, y->name_bytes});
}

/* u64 events, u32 length of the name, the name; in order of name. The rest has an empty name. */
static bool types_write(rfi_index_out *o, const rfi_mem *m)
{
    rfi_type_count *types = malloc((m->types.count + (size_t)1) * sizeof *types);
    if (types == NULL)
        return false;
    if (m->types.count > 0)
        memcpy(types, m->types.of, m->types.count * sizeof *types);
    qsort(types, m->types.count, sizeof *types, by_name);
    uint32_t n = m->types.count;
    if (m->types.other > 0)
        types[n++] = (rfi_type_count){.name = NULL, .events = m->types.other};
    rfi_index_out_section(o, RFI_SEGMENT_TYPES);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t e[12];
        rfi_put64(e, types[i].events);
        rfi_put32(e + 8, types[i].name_bytes);
        rfi_index_out_add(o, e, sizeof e);
        rfi_index_out_add(o, types[i].name, types[i].name_bytes);
    }
    free(types);
    return true;
}

rf_status rfi_segment_index_write(rf_io *io, const char *path, const rfi_mem *m,
                                  rfi_index_header *h, rf_err *err)
{
    rfi_index_out *o = NULL;
    rf_status st = rfi_index_out_open(io, path, &o, err);
    if (st != RF_OK)
        return st;
    h->kind = RFI_INDEX_SEGMENT;
    rfi_index_out_section(o, RFI_SEGMENT_BLOCKS);
    for (uint32_t i = 0; i < m->blocks_count; i++) {
        const rfi_block_entry *b = &m->blocks[i];
        uint8_t e[RFI_BLOCK_ENTRY_BYTES];
        rfi_put64(e, b->at);
        rfi_put64(e + 8, b->base_offset);
        rfi_put32(e + 16, b->count);
        rfi_put32(e + 20, b->bytes);
        rfi_put64(e + 24, (uint64_t)b->recorded_us);
        rfi_put64(e + 32, (uint64_t)b->time_min_us);
        rfi_put64(e + 40, (uint64_t)b->time_max_us);
        rfi_index_out_add(o, e, sizeof e);
    }
    if (!types_write(o, m)) {
        rfi_index_out_abort(&o);
        return rf_err_set(err, RF_ENOMEM, "writing segment index");
    }
    return rfi_index_out_finish(&o, h, err);
}
