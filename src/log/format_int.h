/*
 * The bytes of segments and blocks: what README.md says, as structs and their codecs. Nothing here
 * touches a file. Decoders take any bytes.
 */
#ifndef RFI_LOG_FORMAT_H
#define RFI_LOG_FORMAT_H

#include "base/base.h"
#include "event/event.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the hot paths read in place");

#define RFI_FORMAT_VERSION 1u
#define RFI_PAGE_BYTES 4096u /* header of a segment, unit of an index file's checksums */
#define RFI_BLOCK_HEADER_BYTES 168u
#define RFI_BLOCK_RAW_MAX (192u << 20) /* RF_APPEND_BYTES_MAX and what frames add */
#define RFI_FRAME_FIXED_BYTES 44u
#define RFI_SEQUENCE_FIRST 1u

/* In place of rf_le32 and rf_le64 where a call an event shows in the profile. */
static inline uint32_t rfi_get32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t rfi_get64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void rfi_put32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void rfi_put64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline uint64_t rfi_round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- segment header (one page) --------------------------------------------------------------- */

typedef struct rfi_segment_header {
    uint64_t segment_id; /* random: tells a block that strayed from another file */
    uint64_t epoch;      /* of the writer that made it */
    uint64_t base_offset;
    uint64_t base_sequence; /* of its first block */
    int64_t created_us;
    uint32_t partition;
    char domain[RF_DOMAIN_MAX + 1];
    uint8_t prev_hash[RF_SHA256_BYTES]; /* of the last block before it; zeros: the first segment */
} rfi_segment_header;

void rfi_segment_header_encode(const rfi_segment_header *h, uint8_t out[static RFI_PAGE_BYTES]);
/* RF_ECORRUPT, or RF_EUNSUPPORTED for a newer version or an unknown must-understand feature. */
RF_CHECKED rf_status rfi_segment_header_decode(const uint8_t in[static RFI_PAGE_BYTES],
                                               rfi_segment_header *out, rf_err *err);

/* ---- block header ------------------------------------------------------------------------------
 */

typedef enum rfi_codec { RFI_CODEC_NONE = 0, RFI_CODEC_LZ4 = 1 } rfi_codec;

typedef struct rfi_block_header {
    rfi_codec codec;
    uint32_t total_bytes;  /* header, stored payload, padding to 8 */
    uint32_t stored_bytes; /* payload as it is on disk */
    uint32_t raw_bytes;    /* payload decompressed */
    uint32_t count;        /* events; 0: a marker that only carries `durable` */
    uint64_t sequence;     /* 1 more than the block before */
    uint64_t base_offset;
    uint64_t durable; /* D: offsets below it were synced before this block was written */
    uint64_t segment_id, position, epoch;
    int64_t recorded_us;
    int64_t time_min_us, time_max_us; /* of events that have a time; else RF_TIME_NONE */
    uint8_t prev_hash[RF_SHA256_BYTES];
    uint8_t payload_hash[RF_SHA256_BYTES];
    uint32_t payload_crc;
} rfi_block_header;

void rfi_block_header_encode(const rfi_block_header *h, uint8_t out[static RFI_BLOCK_HEADER_BYTES]);
/* NULL when fine; else why not, static text. Checks the header alone: CRC, version, sizes. */
const char *rfi_block_header_decode(const uint8_t in[static RFI_BLOCK_HEADER_BYTES],
                                    rfi_block_header *out);
/* What the next block must say in prev_hash: SHA-256 of these header bytes, which cover the rest.
 */
void rfi_block_hash(const uint8_t header[static RFI_BLOCK_HEADER_BYTES],
                    uint8_t out[static RF_SHA256_BYTES]);

/* ---- payload
 * -------------------------------------------------------------------------------------- */

/*
 * A checked payload: frames, the ends of the interned strings, their bytes, then two lengths.
 * Borrows the bytes it was made from.
 */
typedef struct rfi_payload {
    const uint8_t *raw;
    uint32_t raw_bytes, frames_bytes;
    uint32_t strings;    /* how many */
    const uint8_t *ends; /* u32 each: where the string ends in `text` */
    const char *text;
} rfi_payload;

/* Finds the parts; NULL when fine, else why not. Frames are checked by rfi_frame_read. */
const char *rfi_payload_open(const uint8_t *raw, uint32_t raw_bytes, rfi_payload *out);

static inline rf_str rfi_payload_string(const rfi_payload *p, uint32_t ref)
{
    uint32_t from = ref == 0 ? 0 : rfi_get32(p->ends + 4 * (size_t)(ref - 1));
    return (rf_str){p->text + from, rfi_get32(p->ends + 4 * (size_t)ref) - from};
}

#define RFI_REF_NONE UINT32_MAX
#define RFI_UUID_BYTES 16u

/* A frame with its lengths read. Slices borrow from the payload. */
typedef struct rfi_frame {
    uint32_t bytes;
    uint32_t type_ref, source_ref, schema_ref, content_type_ref; /* the latter two may be NONE */
    rf_data_kind data_kind;
    uint64_t revision;
    int64_t time_us;
    rf_hash128 content;
    bool id_is_uuid; /* id holds 16 bytes */
    rf_str data, id, subject, time_text, correlationid, causationid, traceparent, extensions;
} rfi_frame;

/* Reads and checks the frame at `at`; NULL when fine, else why not. */
const char *rfi_frame_read(const rfi_payload *p, uint32_t at, rfi_frame *out);

void rfi_uuid_write(const uint8_t in[static RFI_UUID_BYTES], char out[static RF_UUID_TEXT]);
/* True only for the 36 lower-case characters that rfi_uuid_write gives back. */
bool rfi_uuid_read(rf_str text, uint8_t out[static RFI_UUID_BYTES]);

#endif
