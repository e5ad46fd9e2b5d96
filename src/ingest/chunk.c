/*
 * Memory of chunks. A chunk costs several allocations and a decoder, so ended ones are kept: up to
 * a number a size, and only while they have not grown far beyond it (one huge event must not make
 * the process big for ever).
 */
#include "ingest/ingest_int.h"

#include <stdlib.h>
#include <string.h>

#define EVENTS_MIN 8u

static const struct {
    size_t bytes;  /* to begin with */
    uint32_t keep; /* free ones kept */
} sizes[RFI_SIZES] = {
    [RFI_SMALL] = {.bytes = 2u << 10, .keep = 128},
    [RFI_MEDIUM] = {.bytes = 32u << 10, .keep = 32},
    [RFI_LARGE] = {.bytes = 256u << 10, .keep = 16},
};

size_t rfi_ingest_size_bytes(rfi_size size)
{
    return sizes[size].bytes;
}

static void chunk_free(rfi_chunk *c)
{
    if (c == NULL)
        return;
    rf_decoder_free(&c->decoder);
    free(c->bytes);
    free(c->events);
    free(c->expects);
    free(c->index);
    free(c->share_of);
    free(c->receipts);
    free(c->shares);
    free(c->sorted);
    free(c->sorted_expects);
    free(c->slot);
    free(c->appends);
    free(c->errors);
    free(c);
}

static rfi_chunk *chunk_new(const rfi_pool *pool, rfi_size size)
{
    rfi_chunk *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->size = size;
    c->decoder = rf_decoder_new(&pool->limits, pool->content_seed);
    if (c->decoder == NULL || !rfi_ingest_chunk_grow(c, sizes[size].bytes)) {
        chunk_free(c);
        return NULL;
    }
    return c;
}

/* ---- the pool -------------------------------------------------------------------------------- */

void rfi_ingest_pool_init(rfi_pool *pool, const rf_event_limits *limits, uint64_t content_seed)
{
    memset(pool, 0, sizeof(*pool));
    pthread_mutex_init(&pool->mutex, NULL);
    pool->limits = *limits;
    pool->content_seed = content_seed;
}

void rfi_ingest_pool_clear(rfi_pool *pool)
{
    for (int size = 0; size < RFI_SIZES; size++) {
        while (pool->free[size] != NULL) {
            rfi_chunk *c = pool->free[size];
            pool->free[size] = c->next;
            chunk_free(c);
        }
    }
    pthread_mutex_destroy(&pool->mutex);
}

rfi_chunk *rfi_ingest_chunk_take(rfi_pool *pool, rfi_size size)
{
    rfi_chunk *c;

    pthread_mutex_lock(&pool->mutex);
    c = pool->free[size];
    if (c != NULL) {
        pool->free[size] = c->next;
        pool->count[size]--;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (c == NULL)
        return chunk_new(pool, size);
    c->next = NULL;
    return c;
}

static void chunk_reset(rfi_chunk *c)
{
    rf_decoder_reset(c->decoder);
    c->request = NULL;
    c->n = 0;
    c->count = 0;
    c->expects_any = false;
    c->share_count = 0;
    c->done = false;
    c->error_count = 0;
    c->rejected = 0;
}

void rfi_ingest_chunk_give(rfi_pool *pool, rfi_chunk *c)
{
    bool keep = c->cap <= 2 * sizes[c->size].bytes && c->events_cap <= sizes[c->size].bytes / 64;

    if (keep) {
        chunk_reset(c);
        pthread_mutex_lock(&pool->mutex);
        keep = pool->count[c->size] < sizes[c->size].keep;
        if (keep) {
            c->next = pool->free[c->size];
            pool->free[c->size] = c;
            pool->count[c->size]++;
        }
        pthread_mutex_unlock(&pool->mutex);
    }
    if (!keep)
        chunk_free(c);
}

/* ---- growing -----------------------------------------------------------------------------------
 */

/* Makes *array hold `cap` elements; what is in it stays. */
static bool grow(void *array, size_t cap, size_t element_bytes)
{
    void **at = array;
    void *more = realloc(*at, cap * element_bytes);

    if (more == NULL)
        return false;
    *at = more;
    return true;
}

bool rfi_ingest_chunk_grow(rfi_chunk *c, size_t cap)
{
    RF_ASSERT(c->count == 0); /* else events would point to where the bytes were */
    if (cap <= c->cap)
        return true;
    if (!grow(&c->bytes, cap, 1))
        return false;
    c->cap = cap;
    return true;
}

bool rfi_ingest_chunk_room(rfi_chunk *c)
{
    uint32_t cap = RF_MAX(2 * c->events_cap, EVENTS_MIN);

    if (c->count < c->events_cap)
        return true;
    if (c->size == RFI_SMALL && c->events_cap == 0)
        cap = 1;
    if (!grow(&c->events, cap, sizeof(*c->events)) ||
        !grow(&c->expects, cap, sizeof(*c->expects)) || !grow(&c->index, cap, sizeof(*c->index)) ||
        !grow(&c->share_of, cap, sizeof(*c->share_of)) ||
        !grow(&c->receipts, cap, sizeof(*c->receipts)))
        return false;
    c->events_cap = cap;
    return true;
}

bool rfi_ingest_chunk_share_room(rfi_chunk *c)
{
    uint32_t cap = c->shares_cap == 0 ? 1 : 4 * c->shares_cap;

    if (c->share_count < c->shares_cap)
        return true;
    if (c->share_count == UINT16_MAX || !grow(&c->shares, cap, sizeof(*c->shares)))
        return false;
    c->shares_cap = cap;
    return true;
}

bool rfi_ingest_chunk_submit_room(rfi_chunk *c)
{
    if (c->appends_cap < c->share_count) {
        if (!grow(&c->appends, c->share_count, sizeof(*c->appends)))
            return false;
        c->appends_cap = c->share_count;
    }
    if (c->share_count > 1 && c->sorted_cap < c->count) {
        uint32_t cap = c->events_cap;
        if (!grow(&c->sorted, cap, sizeof(*c->sorted)) ||
            !grow(&c->sorted_expects, cap, sizeof(*c->sorted_expects)) ||
            !grow(&c->slot, cap, sizeof(*c->slot)))
            return false;
        c->sorted_cap = cap;
    }
    return true;
}

void rfi_ingest_chunk_reject(rfi_chunk *c, const rf_ingest_error *error)
{
    c->rejected++;
    if (c->error_count == c->errors_cap) {
        uint32_t cap = RF_MIN(RF_MAX(4 * c->errors_cap, 1u), RF_INGEST_ERRORS_MAX);

        /* Without memory the count still tells. */
        if (c->errors_cap >= RF_INGEST_ERRORS_MAX || !grow(&c->errors, cap, sizeof(*c->errors)))
            return;
        c->errors_cap = cap;
    }
    c->errors[c->error_count++] = *error;
}
