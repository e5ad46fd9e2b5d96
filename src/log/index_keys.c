/*
 * Ids and streams of sealed segments. Entries are sorted by their hash, which is uniform, so that
 * interpolation finds one in two or three steps; a split-block Bloom filter (Parquet's layout) in
 * front keeps absent keys from touching them at all. The filter only says "look" or "not here"; it
 * never decides that something is here.
 */
#include "log/index_int.h"

#include <stdlib.h>

#define FILTER_BITS_PER_KEY 10u

uint64_t rfi_key_check(const uint8_t secret[static RF_KEY_BYTES])
{
    return rf_hash_keyed(secret, "key check", 9).lo;
}

/* ---- filter
 * ------------------------------------------------------------------------------------------ */

static const uint32_t SALT[8] = {0x47b6137bU, 0x44974d91U, 0x8824ad5bU, 0xa2b7289dU,
                                 0x705495c7U, 0x2df1424bU, 0x9efc4947U, 0x5c6bfb31U};

static uint64_t filter_block(uint64_t hash, uint64_t blocks)
{
    return (hash >> 32) * blocks >> 32;
}

static uint64_t filter_blocks_for(uint64_t keys)
{
    uint64_t blocks = (keys * FILTER_BITS_PER_KEY + 8 * RFI_FILTER_BLOCK_BYTES - 1) /
                      (8 * RFI_FILTER_BLOCK_BYTES);
    return blocks == 0 ? 1 : blocks;
}

void rfi_filter_begin(rfi_filter_out *f, rfi_index_out *o, int section, uint64_t keys)
{
    *f = (rfi_filter_out){.o = o, .blocks = filter_blocks_for(keys)};
    rfi_index_out_section(o, section);
}

static void filter_go_to(rfi_filter_out *f, uint64_t at)
{
    for (; f->at < at; f->at++) {
        rfi_index_out_add(f->o, f->block, sizeof f->block);
        memset(f->block, 0, sizeof f->block);
    }
}

void rfi_filter_add(rfi_filter_out *f, uint64_t hash)
{
    uint64_t at = filter_block(hash, f->blocks);
    RF_ASSERT(at >= f->at);
    filter_go_to(f, at);
    for (unsigned i = 0; i < 8; i++) {
        uint32_t word = rfi_get32(f->block + 4 * i);
        rfi_put32(f->block + 4 * i, word | 1u << ((uint32_t)hash * SALT[i] >> 27));
    }
}

void rfi_filter_end(rfi_filter_out *f)
{
    filter_go_to(f, f->blocks);
}

static rfi_found filter_probe(rfi_index *x, int section, uint64_t hash)
{
    uint64_t blocks = rfi_index_head(x)->section_bytes[section] / RFI_FILTER_BLOCK_BYTES;
    if (blocks == 0)
        return RFI_FOUND;
    const uint8_t *block = rfi_index_at(
        x, section, filter_block(hash, blocks) * RFI_FILTER_BLOCK_BYTES, RFI_FILTER_BLOCK_BYTES);
    if (block == NULL)
        return RFI_DAMAGED;
    uint32_t missing = 0;
    for (unsigned i = 0; i < 8; i++) {
        uint32_t bit = 1u << ((uint32_t)hash * SALT[i] >> 27);
        missing |= ~rfi_get32(block + 4 * i) & bit;
    }
    return missing == 0 ? RFI_FOUND : RFI_ABSENT;
}

/* ---- searching
 * ------------------------------------------------------------------------------------------ */

/*
 * Number of the first entry whose leading u64 is >= hash. Entries are `size` bytes. Interpolates at
 * first, and halves when the hashes turn out not to be uniform.
 */
static rfi_found lower_bound(rfi_index *x, int section, uint32_t size, uint64_t hash, uint64_t *out)
{
    uint64_t lo = 0, hi = rfi_index_head(x)->section_bytes[section] / size;
    uint64_t lo_hash = 0, hi_hash = UINT64_MAX;
    for (int step = 0; lo < hi; step++) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (step < 6 && hi_hash > lo_hash) {
            double share = (double)(hash - lo_hash) / (double)(hi_hash - lo_hash);
            mid = lo + (uint64_t)(share * (double)(hi - lo));
            mid = RF_MIN(mid, hi - 1);
        }
        const uint8_t *entry = rfi_index_at(x, section, mid * size, size);
        if (entry == NULL)
            return RFI_DAMAGED;
        uint64_t at = rfi_get64(entry);
        if (at < hash) {
            lo = mid + 1;
            lo_hash = at;
        } else {
            hi = mid;
            hi_hash = at;
        }
        if (lo_hash > hash || hi_hash < hash)
            return RFI_DAMAGED; /* cannot be in a sorted file */
    }
    *out = lo;
    return RFI_FOUND;
}

rfi_found rfi_keys_find_id(rfi_index *x, rfi_id_key key, rfi_id_hit *out)
{
    uint64_t i = 0, n = rfi_index_head(x)->section_bytes[RFI_KEYS_IDS] / RFI_ID_ENTRY_BYTES;
    rfi_found found = filter_probe(x, RFI_KEYS_ID_FILTER, key.a);
    if (found == RFI_FOUND)
        found = lower_bound(x, RFI_KEYS_IDS, RFI_ID_ENTRY_BYTES, key.a, &i);
    if (found != RFI_FOUND)
        return found;
    for (; i < n; i++) {
        const uint8_t *e =
            rfi_index_at(x, RFI_KEYS_IDS, i * RFI_ID_ENTRY_BYTES, RFI_ID_ENTRY_BYTES);
        if (e == NULL)
            return RFI_DAMAGED;
        if (rfi_get64(e) != key.a)
            break;
        if (rfi_get32(e + 8) != key.b)
            continue;
        uint64_t content = 0;
        memcpy(&content, e + 16, 6);
        *out = (rfi_id_hit){rfi_index_head(x)->base_offset + rfi_get32(e + 12), content};
        return RFI_FOUND;
    }
    return RFI_ABSENT;
}

rfi_found rfi_keys_find_stream(rfi_index *x, rf_hash128 key, rfi_keys_stream *out)
{
    uint64_t i = 0, n = rfi_index_head(x)->section_bytes[RFI_KEYS_STREAMS] / RFI_STREAM_ENTRY_BYTES;
    rfi_found found = filter_probe(x, RFI_KEYS_STREAM_FILTER, key.hi);
    if (found == RFI_FOUND)
        found = lower_bound(x, RFI_KEYS_STREAMS, RFI_STREAM_ENTRY_BYTES, key.hi, &i);
    if (found != RFI_FOUND)
        return found;
    for (; i < n; i++) {
        const uint8_t *e =
            rfi_index_at(x, RFI_KEYS_STREAMS, i * RFI_STREAM_ENTRY_BYTES, RFI_STREAM_ENTRY_BYTES);
        if (e == NULL)
            return RFI_DAMAGED;
        if (rfi_get64(e) != key.hi)
            break;
        if (rfi_get64(e + 8) != key.lo)
            continue;
        *out = (rfi_keys_stream){
            .key = key,
            .first_revision = rfi_get64(e + 16),
            .first = rfi_get32(e + 24),
            .count = rfi_get32(e + 28),
        };
        uint64_t events = rfi_index_head(x)->section_bytes[RFI_KEYS_STREAM_EVENTS] / 4;
        return (uint64_t)out->first + out->count <= events && out->count > 0 ? RFI_FOUND
                                                                             : RFI_DAMAGED;
    }
    return RFI_ABSENT;
}

rfi_found rfi_keys_stream_event(rfi_index *x, const rfi_keys_stream *s, uint32_t n,
                                uint64_t *offset)
{
    RF_ASSERT(n < s->count);
    const uint8_t *e = rfi_index_at(x, RFI_KEYS_STREAM_EVENTS, 4 * ((uint64_t)s->first + n), 4);
    if (e == NULL)
        return RFI_DAMAGED;
    *offset = rfi_index_head(x)->base_offset + rfi_get32(e);
    return RFI_FOUND;
}

rfi_found rfi_keys_revision(rfi_index *x, rf_hash128 stream, uint64_t offset, uint64_t *out)
{
    rfi_keys_stream s;
    rfi_found found = rfi_keys_find_stream(x, stream, &s);
    if (found != RFI_FOUND)
        return found;
    uint32_t lo = 0, hi = s.count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        uint64_t at = 0;
        if (rfi_keys_stream_event(x, &s, mid, &at) != RFI_FOUND)
            return RFI_DAMAGED;
        if (at == offset) {
            *out = s.first_revision + mid;
            return RFI_FOUND;
        }
        if (at < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return RFI_ABSENT;
}

/* ---- writing
 * ------------------------------------------------------------------------------------------------
 */

typedef struct sort_item {
    uint64_t hash;
    uint32_t ref;
} sort_item;

/* By hash, stable. One pass into buckets by the leading bits, then each bucket, which holds
 * about 4. */
static sort_item *sorted(sort_item *items, uint32_t n)
{
    unsigned bits = 1;
    while (bits < 31 && (UINT32_C(4) << bits) < n)
        bits++;
    uint32_t *start = calloc(((size_t)1 << bits) + 1, sizeof *start);
    sort_item *out = malloc(((size_t)n + 1) * sizeof *out);
    if (start == NULL || out == NULL) {
        free(start);
        free(out);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++)
        start[(items[i].hash >> (64 - bits)) + 1]++;
    for (uint32_t i = 0; i < UINT32_C(1) << bits; i++)
        start[i + 1] += start[i];
    for (uint32_t i = 0; i < n; i++)
        out[start[items[i].hash >> (64 - bits)]++] = items[i];
    for (uint32_t i = 1; i < n; i++) {
        sort_item item = out[i];
        uint32_t at = i;
        for (; at > 0 && out[at - 1].hash > item.hash; at--)
            out[at] = out[at - 1];
        out[at] = item;
    }
    free(start);
    return out;
}

static void filter_write(rfi_index_out *o, int section, const sort_item *items, uint32_t n)
{
    rfi_filter_out f;
    rfi_filter_begin(&f, o, section, n);
    for (uint32_t i = 0; i < n; i++)
        rfi_filter_add(&f, items[i].hash);
    rfi_filter_end(&f);
}

static sort_item *sorted_ids(const rfi_mem *m)
{
    sort_item *items = malloc(((size_t)m->events + 1) * sizeof *items), *out = NULL;
    uint32_t n = 0;
    if (items == NULL)
        return NULL;
    for (uint32_t slot = 0; slot <= m->ids_mask; slot++) {
        if (m->ids[slot].number != 0)
            items[n++] = (sort_item){m->ids[slot].a, slot};
    }
    RF_ASSERT(n == m->events);
    out = sorted(items, n);
    free(items);
    return out;
}

static sort_item *sorted_streams(const rfi_mem *m)
{
    sort_item *items = malloc(((size_t)m->streams_count + 1) * sizeof *items), *out = NULL;
    if (items == NULL)
        return NULL;
    for (uint32_t i = 0; i < m->streams_count; i++)
        items[i] = (sort_item){m->streams[i].key.hi, i};
    out = sorted(items, m->streams_count);
    free(items);
    return out;
}

static void ids_write(rfi_index_out *o, const rfi_mem *m, const sort_item *ids)
{
    rfi_index_out_section(o, RFI_KEYS_IDS);
    for (uint32_t i = 0; i < m->events; i++) {
        const rfi_id_slot *s = &m->ids[ids[i].ref];
        uint8_t e[RFI_ID_ENTRY_BYTES];
        rfi_put64(e, s->a);
        rfi_put32(e + 8, s->b);
        rfi_put32(e + 12, s->number - 1);
        memcpy(e + 16, &s->content48, 6);
        rfi_index_out_add(o, e, sizeof e);
    }
}

/* Stream entries in order of hash; then, in the same order, the events of each. */
static bool streams_write(rfi_index_out *o, const rfi_mem *m, const sort_item *streams)
{
    uint32_t *start = malloc(((size_t)m->streams_count + 1) * sizeof *start);
    uint32_t *events = malloc(((size_t)m->events + 1) * sizeof *events);
    if (start == NULL || events == NULL) {
        free(start);
        free(events);
        return false;
    }
    uint32_t next = 0;
    rfi_index_out_section(o, RFI_KEYS_STREAMS);
    for (uint32_t i = 0; i < m->streams_count; i++) {
        const rfi_mem_stream *s = &m->streams[streams[i].ref];
        uint8_t e[RFI_STREAM_ENTRY_BYTES];
        rfi_put64(e, s->key.hi);
        rfi_put64(e + 8, s->key.lo);
        rfi_put64(e + 16, s->first_revision);
        rfi_put32(e + 24, next);
        rfi_put32(e + 28, s->count);
        rfi_index_out_add(o, e, sizeof e);
        start[streams[i].ref] = next;
        next += s->count;
    }
    for (uint32_t number = 0; number < m->events; number++)
        events[start[m->stream_of[number]] + m->nth[number]] = number;
    rfi_index_out_section(o, RFI_KEYS_STREAM_EVENTS);
    rfi_index_out_add(o, events, 4 * (size_t)m->events);
    free(start);
    free(events);
    return true;
}

rf_status rfi_keys_write(rf_io *io, const char *path, const rfi_mem *m, rfi_index_header *h,
                         rf_err *err)
{
    rfi_index_out *o = NULL;
    sort_item *ids = sorted_ids(m), *streams = sorted_streams(m);
    rf_status st =
        ids != NULL && streams != NULL ? RF_OK : rf_err_set(err, RF_ENOMEM, "sorting index keys");
    h->kind = RFI_INDEX_KEYS;
    if (st == RF_OK)
        st = rfi_index_out_open(io, path, &o, err);
    if (st == RF_OK) {
        filter_write(o, RFI_KEYS_ID_FILTER, ids, m->events);
        filter_write(o, RFI_KEYS_STREAM_FILTER, streams, m->streams_count);
        ids_write(o, m, ids);
        if (streams_write(o, m, streams)) {
            st = rfi_index_out_finish(&o, h, err);
        } else {
            rfi_index_out_abort(&o);
            st = rf_err_set(err, RF_ENOMEM, "writing index keys");
        }
    }
    free(ids);
    free(streams);
    return st;
}
