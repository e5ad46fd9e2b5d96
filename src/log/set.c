/* Looking through sealed history, newest first: what is asked for is mostly recent. */
#include "log/set_int.h"

#include <stdatomic.h>
#include <stdlib.h>

rfi_set *rfi_set_new(rfi_mem *const *mems, uint32_t mems_count, rfi_index *const *keys,
                     uint32_t keys_count)
{
    rfi_set *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->refs = 1;
    s->mems = calloc(mems_count + (size_t)1, sizeof(rfi_mem *));
    s->keys = calloc(keys_count + (size_t)1, sizeof(rfi_index *));
    if (s->mems == NULL || s->keys == NULL) {
        rfi_set_release(&s);
        return NULL;
    }
    for (; s->mems_count < mems_count; s->mems_count++) {
        s->mems[s->mems_count] = mems[s->mems_count];
        rfi_mem_retain(mems[s->mems_count]);
    }
    for (; s->keys_count < keys_count; s->keys_count++) {
        s->keys[s->keys_count] = keys[s->keys_count];
        rfi_index_retain(keys[s->keys_count]);
    }
    return s;
}

rfi_set *rfi_set_retain(rfi_set *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void rfi_set_release(rfi_set **s)
{
    rfi_set *gone = *s;
    *s = NULL;
    if (gone == NULL || atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < gone->mems_count; i++)
        rfi_mem_release(&gone->mems[i]);
    for (uint32_t i = 0; i < gone->keys_count; i++)
        rfi_index_release(&gone->keys[i]);
    free(gone->mems);
    free(gone->keys);
    free(gone);
}

rfi_found rfi_set_find_id(const rfi_set *s, rfi_id_key key, rfi_id_hit *out, rfi_index **damaged)
{
    for (uint32_t i = 0; i < s->mems_count; i++) {
        if (rfi_mem_find_id(s->mems[i], key, out))
            return RFI_FOUND;
    }
    for (uint32_t i = 0; i < s->keys_count; i++) {
        rfi_found found = rfi_keys_find_id(s->keys[i], key, out);
        *damaged = s->keys[i];
        if (found != RFI_ABSENT)
            return found;
    }
    return RFI_ABSENT;
}

rfi_found rfi_set_stream_part(const rfi_set *s, rf_hash128 key, rfi_stream_part *out,
                              rfi_index **damaged)
{
    for (uint32_t i = 0; i < s->mems_count; i++) {
        if (rfi_mem_stream_part(s->mems[i], key, out))
            return RFI_FOUND;
    }
    for (uint32_t i = 0; i < s->keys_count; i++) {
        rfi_keys_stream stream;
        rfi_found found = rfi_keys_find_stream(s->keys[i], key, &stream);
        *damaged = s->keys[i];
        if (found == RFI_FOUND)
            *out = (rfi_stream_part){stream.first_revision, stream.count};
        if (found != RFI_ABSENT)
            return found;
    }
    return RFI_ABSENT;
}

rfi_found rfi_set_revision(const rfi_set *s, rf_hash128 stream, uint64_t offset, uint64_t *out,
                           rfi_index **damaged)
{
    for (uint32_t i = 0; i < s->mems_count; i++) {
        if (rfi_mem_revision(s->mems[i], stream, offset, out))
            return RFI_FOUND;
    }
    for (uint32_t i = 0; i < s->keys_count; i++) {
        const rfi_index_header *h = rfi_index_head(s->keys[i]);
        *damaged = s->keys[i];
        if (offset >= h->base_offset && offset < h->end_offset)
            return rfi_keys_revision(s->keys[i], stream, offset, out);
    }
    return RFI_ABSENT;
}
