/* Codecs of README.md's tables. Every decoder checks before it believes. */
#include "log/format_int.h"

static const char SEGMENT_MAGIC[8] = "RFLOGSEG";
static const char BLOCK_MAGIC[4] = "RFB1";

/* ---- segment header ----------------------------------------------------------------------------
 */

enum {
    SEG_VERSION = 8,
    SEG_FEATURES = 12,
    SEG_ID = 16,
    SEG_EPOCH = 24,
    SEG_BASE = 32,
    SEG_SEQUENCE = 40,
    SEG_CREATED = 48,
    SEG_PARTITION = 56,
    SEG_DOMAIN = 64,
    SEG_PREV_HASH = 128,
    SEG_ZEROS = 160,
    SEG_CRC = RFI_PAGE_BYTES - 4
};

void rfi_segment_header_encode(const rfi_segment_header *h, uint8_t out[static RFI_PAGE_BYTES])
{
    memset(out, 0, RFI_PAGE_BYTES);
    memcpy(out, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC);
    rfi_put32(out + SEG_VERSION, RFI_FORMAT_VERSION);
    rfi_put64(out + SEG_ID, h->segment_id);
    rfi_put64(out + SEG_EPOCH, h->epoch);
    rfi_put64(out + SEG_BASE, h->base_offset);
    rfi_put64(out + SEG_SEQUENCE, h->base_sequence);
    rfi_put64(out + SEG_CREATED, (uint64_t)h->created_us);
    rfi_put32(out + SEG_PARTITION, h->partition);
    memcpy(out + SEG_DOMAIN, h->domain, strnlen(h->domain, RF_DOMAIN_MAX));
    memcpy(out + SEG_PREV_HASH, h->prev_hash, RF_SHA256_BYTES);
    rfi_put32(out + SEG_CRC, rf_crc32c(0, out, SEG_CRC));
}

rf_status rfi_segment_header_decode(const uint8_t in[static RFI_PAGE_BYTES],
                                    rfi_segment_header *out, rf_err *err)
{
    if (memcmp(in, SEGMENT_MAGIC, sizeof SEGMENT_MAGIC) != 0)
        return rf_err_set(err, RF_ECORRUPT, "segment header: not a segment (magic)");
    if (rfi_get32(in + SEG_CRC) != rf_crc32c(0, in, SEG_CRC))
        return rf_err_set(err, RF_ECORRUPT, "segment header: checksum differs");
    uint32_t version = rfi_get32(in + SEG_VERSION), features = rfi_get32(in + SEG_FEATURES);
    if (version != RFI_FORMAT_VERSION)
        return rf_err_set(err, RF_EUNSUPPORTED,
                          "segment header: format version %u; this refold reads %u", version,
                          RFI_FORMAT_VERSION);
    if (features != 0)
        return rf_err_set(err, RF_EUNSUPPORTED,
                          "segment header: needs features 0x%x that this refold does not know",
                          features);
    *out = (rfi_segment_header){
        .segment_id = rfi_get64(in + SEG_ID),
        .epoch = rfi_get64(in + SEG_EPOCH),
        .base_offset = rfi_get64(in + SEG_BASE),
        .base_sequence = rfi_get64(in + SEG_SEQUENCE),
        .created_us = (int64_t)rfi_get64(in + SEG_CREATED),
        .partition = rfi_get32(in + SEG_PARTITION),
    };
    memcpy(out->domain, in + SEG_DOMAIN, RF_DOMAIN_MAX);
    memcpy(out->prev_hash, in + SEG_PREV_HASH, RF_SHA256_BYTES);
    return RF_OK;
}

/* ---- block header
 * --------------------------------------------------------------------------------- */

enum {
    BLK_VERSION = 4,
    BLK_CODEC = 6,
    BLK_ZERO = 7,
    BLK_TOTAL = 8,
    BLK_STORED = 12,
    BLK_RAW = 16,
    BLK_COUNT = 20,
    BLK_SEQUENCE = 24,
    BLK_BASE = 32,
    BLK_DURABLE = 40,
    BLK_SEGMENT = 48,
    BLK_POSITION = 56,
    BLK_EPOCH = 64,
    BLK_RECORDED = 72,
    BLK_TIME_MIN = 80,
    BLK_TIME_MAX = 88,
    BLK_PREV_HASH = 96,
    BLK_PAYLOAD_HASH = 128,
    BLK_PAYLOAD_CRC = 160,
    BLK_HEADER_CRC = 164
};
_Static_assert(BLK_HEADER_CRC + 4 == RFI_BLOCK_HEADER_BYTES, "README.md says 168");

void rfi_block_header_encode(const rfi_block_header *h, uint8_t out[static RFI_BLOCK_HEADER_BYTES])
{
    memcpy(out, BLOCK_MAGIC, sizeof BLOCK_MAGIC);
    out[BLK_VERSION] = RFI_FORMAT_VERSION;
    out[BLK_VERSION + 1] = 0;
    out[BLK_CODEC] = (uint8_t)h->codec;
    out[BLK_ZERO] = 0;
    rfi_put32(out + BLK_TOTAL, h->total_bytes);
    rfi_put32(out + BLK_STORED, h->stored_bytes);
    rfi_put32(out + BLK_RAW, h->raw_bytes);
    rfi_put32(out + BLK_COUNT, h->count);
    rfi_put64(out + BLK_SEQUENCE, h->sequence);
    rfi_put64(out + BLK_BASE, h->base_offset);
    rfi_put64(out + BLK_DURABLE, h->durable);
    rfi_put64(out + BLK_SEGMENT, h->segment_id);
    rfi_put64(out + BLK_POSITION, h->position);
    rfi_put64(out + BLK_EPOCH, h->epoch);
    rfi_put64(out + BLK_RECORDED, (uint64_t)h->recorded_us);
    rfi_put64(out + BLK_TIME_MIN, (uint64_t)h->time_min_us);
    rfi_put64(out + BLK_TIME_MAX, (uint64_t)h->time_max_us);
    memcpy(out + BLK_PREV_HASH, h->prev_hash, RF_SHA256_BYTES);
    memcpy(out + BLK_PAYLOAD_HASH, h->payload_hash, RF_SHA256_BYTES);
    rfi_put32(out + BLK_PAYLOAD_CRC, h->payload_crc);
    rfi_put32(out + BLK_HEADER_CRC, rf_crc32c(0, out, BLK_HEADER_CRC));
}

const char *rfi_block_header_decode(const uint8_t in[static RFI_BLOCK_HEADER_BYTES],
                                    rfi_block_header *out)
{
    if (memcmp(in, BLOCK_MAGIC, sizeof BLOCK_MAGIC) != 0)
        return "no block begins here";
    if (rfi_get32(in + BLK_HEADER_CRC) != rf_crc32c(0, in, BLK_HEADER_CRC))
        return "header checksum differs";
    if (in[BLK_VERSION] != RFI_FORMAT_VERSION || in[BLK_VERSION + 1] != 0)
        return "block version is newer than this refold reads";
    *out = (rfi_block_header){
        .codec = in[BLK_CODEC],
        .total_bytes = rfi_get32(in + BLK_TOTAL),
        .stored_bytes = rfi_get32(in + BLK_STORED),
        .raw_bytes = rfi_get32(in + BLK_RAW),
        .count = rfi_get32(in + BLK_COUNT),
        .sequence = rfi_get64(in + BLK_SEQUENCE),
        .base_offset = rfi_get64(in + BLK_BASE),
        .durable = rfi_get64(in + BLK_DURABLE),
        .segment_id = rfi_get64(in + BLK_SEGMENT),
        .position = rfi_get64(in + BLK_POSITION),
        .epoch = rfi_get64(in + BLK_EPOCH),
        .recorded_us = (int64_t)rfi_get64(in + BLK_RECORDED),
        .time_min_us = (int64_t)rfi_get64(in + BLK_TIME_MIN),
        .time_max_us = (int64_t)rfi_get64(in + BLK_TIME_MAX),
        .payload_crc = rfi_get32(in + BLK_PAYLOAD_CRC),
    };
    memcpy(out->prev_hash, in + BLK_PREV_HASH, RF_SHA256_BYTES);
    memcpy(out->payload_hash, in + BLK_PAYLOAD_HASH, RF_SHA256_BYTES);
    if (in[BLK_CODEC] > RFI_CODEC_LZ4)
        return "unknown codec";
    if (out->raw_bytes > RFI_BLOCK_RAW_MAX || out->stored_bytes > RFI_BLOCK_RAW_MAX ||
        out->total_bytes != rfi_round_up(RFI_BLOCK_HEADER_BYTES + (uint64_t)out->stored_bytes, 8) ||
        (out->codec == RFI_CODEC_NONE && out->raw_bytes != out->stored_bytes) ||
        (out->count == 0) != (out->raw_bytes == 0))
        return "lengths contradict each other";
    return NULL;
}

void rfi_block_hash(const uint8_t header[static RFI_BLOCK_HEADER_BYTES],
                    uint8_t out[static RF_SHA256_BYTES])
{
    rf_str piece = {(const char *)header, RFI_BLOCK_HEADER_BYTES};
    rf_sha256(&piece, 1, out);
}

/* ---- payload
 * ----------------------------------------------------------------------------------------- */

const char *rfi_payload_open(const uint8_t *raw, uint32_t raw_bytes, rfi_payload *out)
{
    if (raw_bytes < 8)
        return "payload is too short";
    uint64_t strings = rfi_get32(raw + raw_bytes - 8), text = rfi_get32(raw + raw_bytes - 4);
    uint64_t tail = 8 + 4 * strings + text;
    if (tail > raw_bytes)
        return "string table is longer than the payload";
    *out = (rfi_payload){
        .raw = raw,
        .raw_bytes = raw_bytes,
        .frames_bytes = (uint32_t)(raw_bytes - tail),
        .strings = (uint32_t)strings,
        .ends = raw + (raw_bytes - tail),
        .text = (const char *)raw + (raw_bytes - 8 - text),
    };
    uint32_t before = 0;
    for (uint32_t i = 0; i < out->strings; i++) {
        uint32_t end = rfi_get32(out->ends + 4 * (size_t)i);
        if (end < before || end > text)
            return "string table is out of order";
        before = end;
    }
    return before == text ? NULL : "string table leaves bytes over";
}

/* LEB128, at most 5 bytes; false when it runs over `end` or 32 bits. */
static inline bool varint_read(const uint8_t **at, const uint8_t *end, uint32_t *out)
{
    const uint8_t *p = *at;
    if (p < end && *p < 0x80) { /* nearly always */
        *out = *p;
        *at = p + 1;
        return true;
    }
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 35 && p < end; shift += 7) {
        v |= (uint64_t)(*p & 0x7f) << shift;
        if ((*p++ & 0x80) == 0) {
            *out = (uint32_t)v;
            *at = p;
            return v <= UINT32_MAX;
        }
    }
    return false;
}

static bool slice_read(const uint8_t **at, const uint8_t *end, uint32_t n, rf_str *out)
{
    if ((size_t)(end - *at) < n)
        return false;
    *out = (rf_str){n == 0 ? NULL : (const char *)*at, n};
    *at += n;
    return true;
}

const char *rfi_frame_read(const rfi_payload *p, uint32_t at, rfi_frame *f)
{
    if (at > p->frames_bytes || p->frames_bytes - at < RFI_FRAME_FIXED_BYTES)
        return "frame runs over the payload";
    const uint8_t *in = p->raw + at;
    f->bytes = rfi_get32(in);
    if (f->bytes < RFI_FRAME_FIXED_BYTES || f->bytes > p->frames_bytes - at)
        return "frame's length is impossible";
    const uint8_t *end = in + f->bytes;
    uint32_t data_bytes = rfi_get32(in + 4), type = rfi_get32(in + 8);
    f->type_ref = type >> 2;
    f->data_kind = type & 3u;
    f->revision = rfi_get64(in + 12);
    f->time_us = (int64_t)rfi_get64(in + 20);
    f->content = (rf_hash128){.lo = rfi_get64(in + 28), .hi = rfi_get64(in + 36)};
    const uint8_t *next = in + RFI_FRAME_FIXED_BYTES;
    if (!slice_read(&next, end, data_bytes, &f->data))
        return "frame's data run over it";

    enum {
        SOURCE,
        SCHEMA,
        CONTENT_TYPE,
        ID,
        SUBJECT,
        TIME,
        CORRELATION,
        CAUSATION,
        TRACE,
        EXTENSIONS,
        LENGTHS
    };
    uint32_t v[LENGTHS];
    for (int i = 0; i < LENGTHS; i++) {
        if (!varint_read(&next, end, &v[i]))
            return "frame's lengths run over it";
    }
    f->source_ref = v[SOURCE];
    f->schema_ref = v[SCHEMA] - 1u; /* 0 wraps to RFI_REF_NONE */
    f->content_type_ref = v[CONTENT_TYPE] - 1u;
    f->id_is_uuid = v[ID] == 1;
    if ((v[ID] & 1) != 0 && !f->id_is_uuid)
        return "frame's id has an unknown form";
    uint32_t id_bytes = f->id_is_uuid ? RFI_UUID_BYTES : v[ID] / 2;
    if (!slice_read(&next, end, id_bytes, &f->id) ||
        !slice_read(&next, end, v[SUBJECT], &f->subject) ||
        !slice_read(&next, end, v[TIME], &f->time_text) ||
        !slice_read(&next, end, v[CORRELATION], &f->correlationid) ||
        !slice_read(&next, end, v[CAUSATION], &f->causationid) ||
        !slice_read(&next, end, v[TRACE], &f->traceparent) ||
        !slice_read(&next, end, v[EXTENSIONS], &f->extensions))
        return "frame's attributes run over it";
    if (next != end)
        return "frame leaves bytes over";
    if (f->type_ref >= p->strings || f->source_ref >= p->strings ||
        (f->schema_ref != RFI_REF_NONE && f->schema_ref >= p->strings) ||
        (f->content_type_ref != RFI_REF_NONE && f->content_type_ref >= p->strings))
        return "frame names a string that is not there";
    if (f->data_kind > RF_DATA_BINARY)
        return "frame's data kind is unknown";
    return NULL;
}

/* ---- UUIDs as 16 bytes
 * ---------------------------------------------------------------------------------- */

static bool uuid_dash_at(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

void rfi_uuid_write(const uint8_t in[static RFI_UUID_BYTES], char out[static RF_UUID_TEXT])
{
    static const char HEX[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < RFI_UUID_BYTES; i++) {
        if (uuid_dash_at(at))
            out[at++] = '-';
        out[at++] = HEX[in[i] >> 4];
        out[at++] = HEX[in[i] & 15];
    }
}

static int hex_lower(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool rfi_uuid_read(rf_str text, uint8_t out[static RFI_UUID_BYTES])
{
    if (text.n != RF_UUID_TEXT || text.p[8] != '-')
        return false;
    size_t at = 0;
    for (size_t i = 0; i < RFI_UUID_BYTES; i++) {
        if (uuid_dash_at(at) && text.p[at++] != '-')
            return false;
        int hi = hex_lower(text.p[at]), lo = hex_lower(text.p[at + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
        at += 2;
    }
    return true;
}
