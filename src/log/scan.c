/*
 * Scanning a segment. What may stand at its end after a crash, and what it means (S1..S4 in
 * README.md): every block carries D, the offsets that were durable before it was written. Say the
 * first bad block would begin at offset N. If any valid block header of this segment, before or
 * behind the bad place, has D > N, then N had been synced and acknowledged: damage. Otherwise
 * nobody was ever told that N is stored: a torn tail. This holds for commits of several blocks of
 * which a later one reached the disk and an earlier one did not: all of them carry the same D <= N.
 */
#include "log/bugs_int.h"
#include "log/scan_int.h"

#include <inttypes.h>
#include <stdlib.h>

#define READ_BYTES ((size_t)1 << 20)

/* Makes [at, at+n) of the file the start of what *out points to; less at the end of the file. */
static rf_status fetch(rfi_scan *s, uint64_t at, size_t n, const uint8_t **out, size_t *got,
                       rf_err *err)
{
    if (at < s->buffer_at || at + n > s->buffer_at + s->buffer_n) {
        size_t want = RF_MAX(n, READ_BYTES);
        if (want > s->buffer_cap) {
            uint8_t *bigger = realloc(s->buffer, want);
            if (bigger == NULL)
                return rf_err_set(err, RF_ENOMEM, "no memory to read a segment");
            s->buffer = bigger;
            s->buffer_cap = want;
        }
        s->buffer_at = at;
        s->buffer_n = 0;
        rf_status st = s->io->pread(s->io, s->file, s->buffer, want, at, &s->buffer_n, err);
        if (st != RF_OK)
            return st;
    }
    *out = s->buffer + (at - s->buffer_at);
    *got = RF_MIN(n, s->buffer_n - (size_t)(at - s->buffer_at));
    return RF_OK;
}

rf_status rfi_scan_open(rfi_scan *s, rf_io *io, rf_file *file, rf_err *err)
{
    const uint8_t *page = NULL;
    size_t got = 0;
    *s = (rfi_scan){.io = io, .file = file, .recorded_us = RF_TIME_NONE};
    rf_status st = io->size(io, file, &s->file_bytes, err);
    if (st == RF_OK)
        st = fetch(s, 0, RFI_PAGE_BYTES, &page, &got, err);
    if (st == RF_OK && got < RFI_PAGE_BYTES)
        st = rf_err_set(err, RF_ECORRUPT, "segment header: the file has only %zu bytes", got);
    if (st == RF_OK)
        st = rfi_segment_header_decode(page, &s->head, err);
    if (st != RF_OK) {
        rfi_scan_clear(s);
        return st;
    }
    s->at = RFI_PAGE_BYTES;
    s->next_offset = s->durable = s->head.base_offset;
    s->next_sequence = s->head.base_sequence;
    s->epoch = s->head.epoch;
    memcpy(s->prev_hash, s->head.prev_hash, sizeof s->prev_hash);
    return RF_OK;
}

void rfi_scan_clear(rfi_scan *s)
{
    free(s->buffer);
    s->buffer = NULL;
    s->buffer_cap = s->buffer_n = 0;
}

/* Does a block with this header belong here? NULL when it does. */
static const char *misfit(const rfi_scan *s, const rfi_block_header *h)
{
    if (h->segment_id != s->head.segment_id)
        return "block belongs to another segment";
    if (h->position != s->at)
        return "block belongs to another place of the segment";
    if (h->sequence != s->next_sequence || h->base_offset != s->next_offset)
        return "block is out of sequence";
    if (memcmp(h->prev_hash, s->prev_hash, sizeof s->prev_hash) != 0)
        return "hash of the block before differs";
    if (h->epoch < s->epoch || h->durable > h->base_offset)
        return "block contradicts the ones before it";
    return NULL;
}

rfi_step rfi_scan_next(rfi_scan *s, rfi_block_header *h, const uint8_t **block, rf_err *err)
{
    size_t got = 0;
    if (fetch(s, s->at, RFI_BLOCK_HEADER_BYTES, block, &got, err) != RF_OK)
        return RFI_SCAN_ERROR;
    s->why = got < RFI_BLOCK_HEADER_BYTES ? "the file ends" : rfi_block_header_decode(*block, h);
    if (s->why == NULL)
        s->why = misfit(s, h);
    if (s->why == NULL && h->total_bytes > s->file_bytes - s->at)
        s->why = "the file ends within the block";
    if (s->why != NULL)
        return RFI_SCAN_STOP;
    if (fetch(s, s->at, h->total_bytes, block, &got, err) != RF_OK)
        return RFI_SCAN_ERROR;
    if (got < h->total_bytes)
        s->why = "the file ends within the block";
    else if (h->payload_crc !=
             rf_crc32c(0, *block + RFI_BLOCK_HEADER_BYTES, h->total_bytes - RFI_BLOCK_HEADER_BYTES))
        s->why = "payload checksum differs";
    if (s->why != NULL)
        return RFI_SCAN_STOP;
    rfi_block_hash(*block, s->prev_hash);
    s->at += h->total_bytes;
    s->next_offset += h->count;
    s->next_sequence++;
    s->durable = RF_MAX(s->durable, h->durable);
    s->epoch = h->epoch;
    s->recorded_us = h->recorded_us;
    return RFI_SCAN_BLOCK;
}

/* D of a valid header of this segment at byte `at`; 0 when there is none. */
static uint64_t durable_claim(const rfi_scan *s, const uint8_t *p, size_t n, uint64_t at)
{
    rfi_block_header h;
    if (n < RFI_BLOCK_HEADER_BYTES || p[0] != 'R' || rfi_block_header_decode(p, &h) != NULL ||
        h.segment_id != s->head.segment_id || h.position != at)
        return 0;
    return h.durable;
}

rf_status rfi_scan_judge(rfi_scan *s, rfi_tail_kind *tail, rf_err *err)
{
    uint64_t last_nonzero = s->at, claimed = s->durable;
    for (uint64_t at = s->at; at < s->file_bytes;) {
        const uint8_t *p = NULL;
        size_t got = 0;
        /* Windows overlap by a header, so that none is missed at a border. */
        rf_status st = fetch(s, at, READ_BYTES, &p, &got, err);
        if (st != RF_OK)
            return st;
        for (size_t i = 0; i + 8 <= got; i += 8) {
            if (rfi_get64(p + i) == 0)
                continue;
            last_nonzero = at + i + 8;
            claimed = RF_MAX(claimed, durable_claim(s, p + i, got - i, at + i));
        }
        for (size_t i = got & ~(size_t)7; i < got; i++)
            last_nonzero = p[i] != 0 ? at + i + 1 : last_nonzero;
        if (at + got >= s->file_bytes || got <= RFI_BLOCK_HEADER_BYTES)
            break;
        at += got - RFI_BLOCK_HEADER_BYTES;
    }
    *tail = (rfi_tail_kind){.torn = last_nonzero > s->at, .bytes = last_nonzero - s->at};
    if (claimed <= s->next_offset || RFI_BUG(RFI_BUG_CUT_ANY_BAD_BLOCK))
        return RF_OK;
    return rf_err_set(err, RF_ECORRUPT,
                      "block at byte %" PRIu64 " (offset %" PRIu64
                      "): %s, but offsets up to %" PRIu64 " were durable",
                      s->at, s->next_offset, s->why != NULL ? s->why : "it is missing",
                      claimed - 1);
}
