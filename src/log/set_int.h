/*
 * What is known of the events before the open segment: frozen in-memory indexes (being sealed) and
 * key files, newest first. Immutable and counted: a reader retains the partition's current one
 * under its mutex and then looks things up without a lock.
 */
#ifndef RFI_LOG_SET_H
#define RFI_LOG_SET_H

#include "log/index_int.h"

typedef struct rfi_set {
    _Atomic uint32_t refs;
    uint32_t mems_count, keys_count;
    rfi_mem **mems;   /* newest first; all newer than any of keys */
    rfi_index **keys; /* newest first */
} rfi_set;

/* Retains what it is given. NULL without memory. */
rfi_set *rfi_set_new(rfi_mem *const *mems, uint32_t mems_count, rfi_index *const *keys,
                     uint32_t keys_count);
rfi_set *rfi_set_retain(rfi_set *s);
void rfi_set_release(rfi_set **s);

/* Each sets *damaged when it returns RFI_DAMAGED. */
rfi_found rfi_set_find_id(const rfi_set *s, rfi_id_key key, rfi_id_hit *out, rfi_index **damaged);
/* The newest part of the stream. */
rfi_found rfi_set_stream_part(const rfi_set *s, rf_hash128 key, rfi_stream_part *out,
                              rfi_index **damaged);
rfi_found rfi_set_revision(const rfi_set *s, rf_hash128 stream, uint64_t offset, uint64_t *out,
                           rfi_index **damaged);

#endif
