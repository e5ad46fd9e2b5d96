/*
 * Decoded blocks. All checking happens when a block is loaded; iterating over it cannot fail and
 * allocates nothing.
 */
#include "log/block_int.h"

#include <stdlib.h>

#include <lz4.h>

rf_block *rf_block_new(void)
{
    rf_block *b = rf_xcalloc(1, sizeof *b);
    rf_buf_init(&b->disk, (size_t)RFI_BLOCK_RAW_MAX + RFI_PAGE_BYTES);
    rf_buf_init(&b->raw, (size_t)RFI_BLOCK_RAW_MAX + RFI_PAGE_BYTES);
    return b;
}

void rf_block_free(rf_block **block)
{
    rf_block *b = *block;
    if (b == NULL)
        return;
    rf_buf_clear(&b->disk);
    rf_buf_clear(&b->raw);
    free(b->frames);
    free(b->text);
    free(b);
    *block = NULL;
}

static const char *room_for(rf_block *b, uint32_t count)
{
    if (count > b->frames_cap) {
        uint32_t *more = realloc(b->frames, count * sizeof *more);
        if (more == NULL)
            return "out of memory";
        b->frames = more;
        b->frames_cap = count;
    }
    size_t text = (size_t)count * RFI_EVENT_TEXT_BYTES;
    if (text > b->text_cap) { /* nothing in it is worth copying */
        free(b->text);
        b->text = malloc(text);
        b->text_cap = b->text == NULL ? 0 : text;
        if (b->text == NULL)
            return "out of memory";
    }
    return NULL;
}

static const char *frames_check(rf_block *b)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < b->head.count; i++) {
        rfi_frame f;
        const char *why = rfi_frame_read(&b->payload, at, &f);
        if (why != NULL)
            return why;
        b->frames[i] = at;
        at += f.bytes;
    }
    return at == b->payload.frames_bytes ? NULL : "payload has more frames than the header says";
}

const char *rfi_block_decode(rf_block *b, const rfi_block_header *h, const uint8_t *stored)
{
    const char *why = NULL;
    const uint8_t *raw = stored;
    b->head = *h;
    b->head.count = 0; /* until all is checked */
    if (h->count == 0)
        return NULL;
    if (h->count > h->raw_bytes / RFI_FRAME_FIXED_BYTES)
        return "payload is too short for its events";
    if (h->codec == RFI_CODEC_LZ4) {
        rf_buf_reset(&b->raw);
        if (!rf_buf_reserve(&b->raw, h->raw_bytes))
            return "out of memory";
        int n = LZ4_decompress_safe((const char *)stored, b->raw.p, (int)h->stored_bytes,
                                    (int)h->raw_bytes);
        if (n < 0 || (uint32_t)n != h->raw_bytes)
            return "payload cannot be decompressed";
        b->raw.n = h->raw_bytes;
        raw = (const uint8_t *)b->raw.p;
    }
    why = rfi_payload_open(raw, h->raw_bytes, &b->payload);
    if (why == NULL)
        why = room_for(b, h->count);
    if (why != NULL)
        return why;
    b->head.count = h->count;
    why = frames_check(b);
    if (why != NULL)
        b->head.count = 0;
    return why;
}

void rfi_block_frame(const rf_block *b, uint32_t i, rfi_frame *out)
{
    RF_ASSERT(i < b->head.count);
    const char *why = rfi_frame_read(&b->payload, b->frames[i], out);
    RF_ASSERT(why == NULL);
}

static rf_str string_or_none(const rfi_payload *p, uint32_t ref)
{
    return ref == RFI_REF_NONE ? (rf_str){NULL, 0} : rfi_payload_string(p, ref);
}

void rfi_block_event(const rf_block *b, uint32_t i, rf_event *out)
{
    rfi_frame f;
    rfi_block_frame(b, i, &f);
    char *text = b->text + (size_t)i * RFI_EVENT_TEXT_BYTES;
    *out = (rf_event){
        .id = f.id,
        .source = rfi_payload_string(&b->payload, f.source_ref),
        .type = rfi_payload_string(&b->payload, f.type_ref),
        .subject = f.subject,
        .datacontenttype = string_or_none(&b->payload, f.content_type_ref),
        .dataschema = string_or_none(&b->payload, f.schema_ref),
        .time_text = f.time_text,
        .time_us = f.time_us,
        .correlationid = f.correlationid,
        .causationid = f.causationid,
        .traceparent = f.traceparent,
        .extensions = f.extensions,
        .data_kind = f.data_kind,
        .data = f.data,
        .content = f.content,
    };
    if (f.id_is_uuid) {
        rfi_uuid_write((const uint8_t *)f.id.p, text);
        out->id = (rf_str){text, RF_UUID_TEXT};
    }
    if (f.time_text.n == 0 && f.time_us != RF_TIME_NONE) {
        char formatted[RF_TIME_TEXT_MAX];
        size_t n = rf_time_format(f.time_us, formatted);
        memcpy(text + RF_UUID_TEXT, formatted, n);
        out->time_text = (rf_str){text + RF_UUID_TEXT, n};
    }
}

/* ---- the public side
 * -------------------------------------------------------------------------------- */

uint32_t rf_block_type_ref(const rf_block *block, rf_str type)
{
    if (block->head.count == 0)
        return UINT32_MAX;
    for (uint32_t i = 0; i < block->payload.strings; i++) {
        if (rf_str_eq(rfi_payload_string(&block->payload, i), type))
            return i;
    }
    return UINT32_MAX;
}

rf_str rf_block_string(const rf_block *block, uint32_t ref)
{
    RF_ASSERT(block->head.count > 0 && ref < block->payload.strings);
    return rfi_payload_string(&block->payload, ref);
}

bool rf_block_next(const rf_block *block, uint32_t *cursor, rf_block_event *out)
{
    if (*cursor >= block->head.count)
        return false;
    const uint8_t *frame = block->payload.raw + block->frames[*cursor];
    uint32_t type = rfi_get32(frame + 8), data_bytes = rfi_get32(frame + 4);
    *out = (rf_block_event){
        .offset = block->head.base_offset + *cursor,
        .revision = rfi_get64(frame + 12),
        .recorded_us = block->head.recorded_us,
        .time_us = (int64_t)rfi_get64(frame + 20),
        .type_ref = type >> 2,
        .data_kind = type & 3u,
        .data = {(const char *)frame + RFI_FRAME_FIXED_BYTES, data_bytes},
    };
    ++*cursor;
    return true;
}

void rf_block_event_full(const rf_block *block, uint32_t cursor, rf_event *out)
{
    RF_ASSERT(cursor > 0);
    rfi_block_event(block, cursor - 1, out);
}
