/*
 * Index files: immutable, mapped, rebuildable from the segments. Two kinds (README.md):
 *   <base>.idx        blocks, types and end of one sealed segment
 *   <base>-<end>.key  ids and streams of the events [base, end) of one or more sealed segments
 * Both are a header page, sections, and a CRC32C for each page, checked when the page is first
 * used: a flipped bit can make a probe fail loudly, never make it say "not here".
 */
#ifndef RFI_LOG_INDEX_H
#define RFI_LOG_INDEX_H

#include "log/mem_int.h"

typedef enum rfi_index_kind { RFI_INDEX_SEGMENT = 1, RFI_INDEX_KEYS = 2 } rfi_index_kind;

/* Sections, in the order of the file. */
enum {
    RFI_KEYS_ID_FILTER = 0,
    RFI_KEYS_STREAM_FILTER,
    RFI_KEYS_IDS,
    RFI_KEYS_STREAMS,
    RFI_KEYS_STREAM_EVENTS,
    RFI_SEGMENT_BLOCKS = 0,
    RFI_SEGMENT_TYPES,
    RFI_SECTIONS_MAX = 8
};

#define RFI_ID_ENTRY_BYTES 22u
#define RFI_STREAM_ENTRY_BYTES 32u
#define RFI_BLOCK_ENTRY_BYTES 48u

typedef struct rfi_index_header {
    rfi_index_kind kind;
    uint32_t partition;
    char domain[RF_DOMAIN_MAX + 1];
    uint64_t base_offset, end_offset;
    uint64_t key_check; /* tells which secret the keys were made with */
    /* of the segment kind */
    uint64_t segment_id, segment_bytes, next_sequence;
    int64_t recorded_us; /* of its last block */
    uint8_t last_hash[RF_SHA256_BYTES];
    /* set by the writer of the file */
    uint64_t section_at[RFI_SECTIONS_MAX], section_bytes[RFI_SECTIONS_MAX];
} rfi_index_header;

/* ---- writing ---- */

typedef struct rfi_index_out rfi_index_out;
/* Writes to path.tmp, which becomes path at finish (synced, renamed; the caller syncs the
 * directory). */
RF_CHECKED rf_status rfi_index_out_open(rf_io *io, const char *path, rfi_index_out **out,
                                        rf_err *err);
void rfi_index_out_section(rfi_index_out *o, int section); /* ends the one before */
void rfi_index_out_add(rfi_index_out *o, const void *p, size_t n);
/* Closes in any case; *h gets its sections. */
RF_CHECKED rf_status rfi_index_out_finish(rfi_index_out **o, rfi_index_header *h, rf_err *err);
/* Syncs what was written so far, so that the sync at the end has little left to do. */
void rfi_index_out_sync(rfi_index_out *o);
void rfi_index_out_abort(rfi_index_out **o);

/* A filter on its way into a section: keys come in ascending order, so that one block is enough. */
#define RFI_FILTER_BLOCK_BYTES 32u
typedef struct rfi_filter_out {
    rfi_index_out *o;
    uint64_t blocks, at; /* all, and the one that is being filled */
    uint8_t block[RFI_FILTER_BLOCK_BYTES];
} rfi_filter_out;
void rfi_filter_begin(rfi_filter_out *f, rfi_index_out *o, int section, uint64_t keys);
void rfi_filter_add(rfi_filter_out *f, uint64_t hash);
void rfi_filter_end(rfi_filter_out *f);

/* ---- reading (any thread) ---- */

typedef struct rfi_index rfi_index;
/* RF_ENOTFOUND, RF_ECORRUPT (header, sizes), RF_EUNSUPPORTED. The pages are checked later. */
RF_CHECKED rf_status rfi_index_open(rf_io *io, const char *path, rfi_index_kind kind,
                                    rfi_index **out, rf_err *err);
void rfi_index_retain(rfi_index *x);
void rfi_index_release(rfi_index **x); /* unmaps with the last */
/* Nobody but the caller holds it. Stays true when nobody can get at it any more. */
bool rfi_index_is_last(const rfi_index *x);
const rfi_index_header *rfi_index_head(const rfi_index *x);
uint64_t rfi_index_bytes(const rfi_index *x);
const char *rfi_index_path(const rfi_index *x);
/* Bytes [from, from+n) of a section, their pages checked; NULL when one is damaged. */
const uint8_t *rfi_index_at(rfi_index *x, int section, uint64_t from, uint64_t n);
/* All pages: true when whole. */
bool rfi_index_check_all(rfi_index *x);

/* ---- keys ---- */

typedef enum rfi_found { RFI_ABSENT, RFI_FOUND, RFI_DAMAGED } rfi_found;

rfi_found rfi_keys_find_id(rfi_index *x, rfi_id_key key, rfi_id_hit *out);

typedef struct rfi_keys_stream {
    rf_hash128 key;
    uint64_t first_revision;
    uint32_t first, count; /* in RFI_KEYS_STREAM_EVENTS */
} rfi_keys_stream;
rfi_found rfi_keys_find_stream(rfi_index *x, rf_hash128 key, rfi_keys_stream *out);
/* Offset of the n-th event of the stream here. */
rfi_found rfi_keys_stream_event(rfi_index *x, const rfi_keys_stream *s, uint32_t n,
                                uint64_t *offset);
/* Revision of the event at `offset`, which is of the stream. */
rfi_found rfi_keys_revision(rfi_index *x, rf_hash128 stream, uint64_t offset, uint64_t *out);

uint64_t rfi_key_check(const uint8_t secret[static RF_KEY_BYTES]);

/* ---- blocks of a sealed segment ---- */

uint32_t rfi_blocks_count(const rfi_index *x);
bool rfi_blocks_get(rfi_index *x, uint32_t i, rfi_block_entry *out); /* false: damaged */
/* The last block that begins at or before `offset`; false: damaged. */
bool rfi_blocks_find(rfi_index *x, uint64_t offset, uint32_t *out);

/* ---- making them from memory ---- */

RF_CHECKED rf_status rfi_keys_write(rf_io *io, const char *path, const rfi_mem *m,
                                    rfi_index_header *h, rf_err *err);
RF_CHECKED rf_status rfi_segment_index_write(rf_io *io, const char *path, const rfi_mem *m,
                                             rfi_index_header *h, rf_err *err);

#endif
