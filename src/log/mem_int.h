/*
 * What an unsealed segment needs in memory: ids, streams, blocks, types. 24 bytes an id slot, at
 * most half of them used; 12 bytes an event and about 50 a stream beside it. A segment ends after
 * RFI_SEGMENT_EVENTS_MAX events, so that this stays bounded.
 *
 * One thread changes it, under the partition's mutex; others read under that mutex. Once frozen
 * (its segment is full) it never changes, and is read without a lock.
 */
#ifndef RFI_LOG_MEM_H
#define RFI_LOG_MEM_H

#include "base/base.h"
#include "event/event.h"
#include "log/format_int.h"

#define RFI_SEGMENT_EVENTS_MAX (1u << 19)
#define RFI_TYPES_MAX 1024u /* counted by name; the rest in one sum */

/*
 * (source, id) as 96 bits of SipHash under the directory's secret key. Two ids of a billion share
 * them with a chance of 6e-12; even then both would have to agree in 48 bits of content too before
 * one were taken for a resend of the other.
 */
typedef struct rfi_id_key {
    uint64_t a;
    uint32_t b;
} rfi_id_key;

typedef struct rfi_keys {
    rfi_id_key id;
    rf_hash128 stream;
} rfi_keys;

void rfi_keys_of(const uint8_t secret[static RF_KEY_BYTES], const rf_event *e, rfi_keys *out);
rfi_id_key rfi_id_key_of(const uint8_t secret[static RF_KEY_BYTES], rf_str source, rf_str id);
rf_hash128 rfi_stream_key_of(const uint8_t secret[static RF_KEY_BYTES], rf_str stream);

#define RFI_CONTENT_MASK ((UINT64_C(1) << 48) - 1)
static inline uint64_t rfi_content48(rf_hash128 content)
{
    return content.lo & RFI_CONTENT_MASK;
}

/* What is stored of a known id. */
typedef struct rfi_id_hit {
    uint64_t offset;
    uint64_t content48;
} rfi_id_hit;

/* The part of a stream that lies in one segment or index file: revisions without a gap. */
typedef struct rfi_stream_part {
    uint64_t first_revision;
    uint32_t count;
} rfi_stream_part;

typedef struct rfi_block_entry {
    uint64_t at;
    uint64_t base_offset;
    uint32_t count, bytes;
    int64_t recorded_us, time_min_us, time_max_us;
} rfi_block_entry;

typedef struct rfi_id_slot {
    uint64_t a;
    uint32_t b;
    uint32_t number; /* event of the segment + 1; 0: free */
    uint64_t content48;
} rfi_id_slot;

typedef struct rfi_mem_stream {
    rf_hash128 key;
    uint64_t first_revision;
    uint32_t count;
    uint32_t last; /* number of its last event */
} rfi_mem_stream;

/* Events by type. A statistic: beyond RFI_TYPES_MAX names, or without memory, it is coarse. */
typedef struct rfi_type_count {
    char *name;
    uint32_t name_bytes;
    uint64_t events;
} rfi_type_count;

typedef struct rfi_types {
    rfi_type_count *of;
    uint32_t count, cap;
    uint64_t other;
} rfi_types;

void rfi_types_add(rfi_types *t, rf_str type, uint64_t events);
void rfi_types_clear(rfi_types *t);

typedef struct rfi_mem {
    _Atomic uint32_t refs;
    uint64_t base_offset;
    uint32_t events;

    rfi_id_slot *ids;
    uint32_t ids_mask;

    rfi_mem_stream *streams;
    uint32_t streams_count, streams_cap;
    uint32_t *stream_slots; /* stream + 1; 0: free */
    uint32_t stream_mask;

    uint32_t *stream_of;  /* by event */
    uint32_t *prev;       /* by event: the one before it in its stream; UINT32_MAX: none here */
    uint32_t *nth;        /* by event: its place in its stream, 0 the first here */
    uint32_t *undo_slots; /* id slot by event, from undo_from on; valid until the next reserve */
    uint32_t undo_from, undo_cap;
    uint32_t events_cap;

    rfi_block_entry *blocks;
    uint32_t blocks_count, blocks_cap;
    rfi_types types;
} rfi_mem;

rfi_mem *rfi_mem_new(uint64_t base_offset); /* NULL without memory */
void rfi_mem_retain(rfi_mem *m);
void rfi_mem_release(rfi_mem **m); /* frees with the last */

/* Makes room for `events` more, so that adds cannot fail; forgets how to undo earlier ones. */
bool rfi_mem_reserve(rfi_mem *m, uint32_t events);
void rfi_mem_add(rfi_mem *m, const rfi_keys *keys, uint64_t content48, uint64_t revision);
/* Takes back the latest adds until `events` are left; not beyond the last reserve. */
void rfi_mem_undo(rfi_mem *m, uint32_t events);

bool rfi_mem_find_id(const rfi_mem *m, rfi_id_key key, rfi_id_hit *out);
/* The stream's number, or UINT32_MAX. */
uint32_t rfi_mem_find_stream(const rfi_mem *m, rf_hash128 key);
bool rfi_mem_stream_part(const rfi_mem *m, rf_hash128 key, rfi_stream_part *out);
/* Revision of the event at `offset`, which is of that stream and here. */
bool rfi_mem_revision(const rfi_mem *m, rf_hash128 key, uint64_t offset, uint64_t *out);
static inline void rfi_mem_prefetch(const rfi_mem *m, const rfi_keys *k)
{
    __builtin_prefetch(&m->ids[k->id.a & m->ids_mask]);
    __builtin_prefetch(&m->stream_slots[k->stream.lo & m->stream_mask]);
}

/* For verification: keeps only that the stream's next revision is `next` (in first_revision). */
bool rfi_mem_note_stream(rfi_mem *m, rf_hash128 key, uint64_t next);

bool rfi_mem_add_block(rfi_mem *m, const rfi_block_entry *e);
void rfi_mem_undo_blocks(rfi_mem *m, uint32_t count);

#endif
