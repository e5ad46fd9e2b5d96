/*
 * Log-linear histogram: values below 32 have a bucket each; every power of two above is cut into 32
 * buckets. The last bucket also takes what is too large (2^36 us: 19 hours).
 */
#include "base/base.h"

#include <stdatomic.h>

#define SUB_BITS 5
#define SUB (1u << SUB_BITS)

static size_t bucket_of(uint64_t us)
{
    if (us < SUB)
        return (size_t)us;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(us);
    size_t i =
        (size_t)(exponent - SUB_BITS + 1) * SUB + ((us >> (exponent - SUB_BITS)) & (SUB - 1));
    return RF_MIN(i, RF_HIST_BUCKETS - 1);
}

/* The largest value that falls into bucket i. */
static uint64_t bucket_top(size_t i)
{
    if (i < SUB)
        return i;
    unsigned shift = (unsigned)(i / SUB) - 1;
    return ((uint64_t)(SUB + i % SUB + 1) << shift) - 1;
}

void rf_hist_record(rf_hist *h, uint64_t us)
{
    /* Relaxed: the counters order nothing else. */
    atomic_fetch_add_explicit(&h->bucket[bucket_of(us)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
}

uint64_t rf_hist_quantile(const rf_hist *h, double q)
{
    /* Not h->count: while others record it may run ahead of the buckets or behind them. */
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < RF_HIST_BUCKETS; i++)
        total += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
    if (total == 0)
        return 0;
    q = q < 0 ? 0 : q > 1 ? 1 : q;
    uint64_t rank = (uint64_t)(q * (double)total);
    if ((double)rank < q * (double)total || rank == 0)
        rank++;
    rank = RF_MIN(rank, total);
    for (size_t i = 0; i < RF_HIST_BUCKETS; i++) {
        seen += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        if (seen >= rank)
            return bucket_top(i);
    }
    return bucket_top(RF_HIST_BUCKETS - 1);
}

uint64_t rf_hist_count_le(const rf_hist *h, uint64_t us)
{
    uint64_t n = 0;
    for (size_t i = 0, last = bucket_of(us); i <= last; i++)
        n += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
    return n;
}
