/* Approximate distinct counts (hll.c). */
#ifndef RF_HLL_INT_H
#define RF_HLL_INT_H

#include "base/base.h"

/*
 * HyperLogLog with 2^12 registers: standard error 1.6 %. Its bytes depend on the set of values
 * alone, not on order or pieces: sparse (register << 8 | rank as little-endian u32, in order) up to
 * 256 registers, else one byte a register.
 */
#define RFI_HLL_BITS 12
#define RFI_HLL_REGISTERS (1u << RFI_HLL_BITS)
#define RFI_HLL_SPARSE_MAX 256

typedef struct rfi_hll {
    uint32_t *sparse; /* may hold a register more than once, until it is worked off */
    uint8_t *dense;   /* NULL: sparse */
    uint32_t count, cap, sorted;
} rfi_hll;

/* Zeroed memory is an empty one. May be moved bytewise. */
void rfi_hll_clear(rfi_hll *h);
void rfi_hll_add(rfi_hll *h, uint64_t hash);
void rfi_hll_merge(rfi_hll *h, const rfi_hll *other);
bool rfi_hll_merge_bytes(rfi_hll *h, rf_str bytes); /* false: no sketch */
/* The canonical bytes; they belong to the sketch. */
rf_str rfi_hll_bytes(rfi_hll *h);
bool rfi_hll_estimate(rf_str bytes, double *out);

#endif
