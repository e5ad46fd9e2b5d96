/* HyperLogLog; the estimator is O. Ertl's improved one (2017), good from 0 on without tables. */
#include "engine/hll_int.h"

#include <assert.h>
#include <math.h>

static_assert(RFI_HLL_SPARSE_MAX * 4 < RFI_HLL_REGISTERS, "the length tells the form");

void rfi_hll_clear(rfi_hll *h)
{
    free(h->sparse);
    free(h->dense);
    *h = (rfi_hll){0};
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void dense_put(rfi_hll *h, uint32_t entry)
{
    uint8_t rank = (uint8_t)entry;

    if (h->dense[entry >> 8] < rank)
        h->dense[entry >> 8] = rank;
}

static void dense_make(rfi_hll *h)
{
    h->dense = rf_xcalloc(1, RFI_HLL_REGISTERS);
    for (uint32_t i = 0; i < h->count; i++)
        dense_put(h, h->sparse[i]);
    free(h->sparse);
    h->sparse = NULL;
    h->count = h->cap = h->sorted = 0;
}

/* Sorts, keeps the highest rank of each register, and becomes dense when there are too many. */
static void settle(rfi_hll *h)
{
    uint32_t kept = 0;

    if (h->dense != NULL || h->sorted == h->count)
        return;
    qsort(h->sparse, h->count, sizeof(*h->sparse), by_value);
    for (uint32_t i = 0; i < h->count; i++) {
        if (kept > 0 && h->sparse[kept - 1] >> 8 == h->sparse[i] >> 8)
            kept--;
        h->sparse[kept++] = h->sparse[i];
    }
    h->count = h->sorted = kept;
    if (kept > RFI_HLL_SPARSE_MAX)
        dense_make(h);
}

static void put(rfi_hll *h, uint32_t entry)
{
    if (h->dense == NULL && h->count == h->cap) {
        settle(h);
        if (h->dense == NULL && h->count * 4 >= h->cap * 3) {
            h->cap = h->cap > 0 ? h->cap * 2 : 4;
            h->sparse = rf_xrealloc(h->sparse, h->cap * sizeof(*h->sparse));
        }
    }
    if (h->dense != NULL)
        dense_put(h, entry);
    else
        h->sparse[h->count++] = entry;
}

void rfi_hll_add(rfi_hll *h, uint64_t hash)
{
    uint32_t at = (uint32_t)(hash >> (64 - RFI_HLL_BITS));
    uint64_t rest = hash << RFI_HLL_BITS;
    uint32_t rank = rest != 0 ? (uint32_t)__builtin_clzll(rest) + 1 : 64 - RFI_HLL_BITS + 1;

    put(h, at << 8 | rank);
}

void rfi_hll_merge(rfi_hll *h, const rfi_hll *other)
{
    if (other->dense == NULL) {
        for (uint32_t i = 0; i < other->count; i++)
            put(h, other->sparse[i]);
        return;
    }
    if (h->dense == NULL)
        dense_make(h);
    for (uint32_t i = 0; i < RFI_HLL_REGISTERS; i++)
        h->dense[i] = RF_MAX(h->dense[i], other->dense[i]);
}

bool rfi_hll_merge_bytes(rfi_hll *h, rf_str bytes)
{
    rfi_hll other = {0};

    if (bytes.n == RFI_HLL_REGISTERS) {
        other.dense = (uint8_t *)(uintptr_t)bytes.p;
        rfi_hll_merge(h, &other);
        return true;
    }
    if (bytes.n % 4 != 0 || bytes.n > 4 * (size_t)RFI_HLL_SPARSE_MAX)
        return false;
    for (size_t i = 0; i < bytes.n; i += 4) {
        uint32_t entry = rf_le32(bytes.p + i);

        if (entry >> 8 >= RFI_HLL_REGISTERS)
            return false;
        put(h, entry);
    }
    return true;
}

rf_str rfi_hll_bytes(rfi_hll *h)
{
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the sparse form is memory as it is");
    settle(h);
    if (h->dense != NULL)
        return (rf_str){(const char *)h->dense, RFI_HLL_REGISTERS};
    return (rf_str){(const char *)h->sparse, h->count * sizeof(*h->sparse)};
}

#define RANK_MAX (64 - RFI_HLL_BITS + 1)

static double sigma(double x)
{
    double y = 1, z = x, before;

    if (x == 1)
        return INFINITY;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    double y = 1, z = 1 - x, before;

    if (x == 0 || x == 1)
        return 0;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (z != before);
    return z / 3;
}

bool rfi_hll_estimate(rf_str bytes, double *out)
{
    const double m = RFI_HLL_REGISTERS;
    const uint8_t *p = (const uint8_t *)bytes.p;
    uint32_t ranks[RANK_MAX + 1] = {0};
    bool sparse = bytes.n != RFI_HLL_REGISTERS;
    double z;

    if (sparse && (bytes.n % 4 != 0 || bytes.n > 4 * (size_t)RFI_HLL_SPARSE_MAX))
        return false;
    if (sparse)
        ranks[0] = RFI_HLL_REGISTERS - (uint32_t)(bytes.n / 4);
    for (size_t i = 0; i < bytes.n; i += sparse ? 4 : 1)
        ranks[RF_MIN(p[i], RANK_MAX)]++;
    z = m * tau(1 - ranks[RANK_MAX] / m);
    for (int k = RANK_MAX - 1; k >= 1; k--)
        z = 0.5 * (z + ranks[k]);
    z += m * sigma(ranks[0] / m);
    *out = isinf(z) ? 0 : m * m / (2 * M_LN2) / z;
    return true;
}
