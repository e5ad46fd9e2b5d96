/* Exact sums of doubles (exact.c). */
#ifndef RF_EXACT_INT_H
#define RF_EXACT_INT_H

#include "base/base.h"

/*
 * A sum as one wide integer in units of a fixed power of two, so that no bit of any addend is lost
 * and the order of adding cannot matter: adding piece by piece and all at once give the same bytes.
 *
 * The integer is kept in limbs of 32 bits held in 64, so that carries wait; only the limbs from
 * `low` on that were ever touched exist. Most data needs four or five, which have room inside.
 */
#define RFI_EXACT_INLINE 6
#define RFI_EXACT_LIMBS_MAX 144 /* squares reach from 2^-2148 to 2^2048, and 64 bits more */

typedef struct rfi_exact {
    uint16_t low, count, cap; /* cap 0: in `inside` */
    uint8_t special;          /* RFI_EXACT_NAN | … */
    uint32_t adds;            /* since the carries were last worked off */
    int64_t *outside;
    int64_t inside[RFI_EXACT_INLINE];
} rfi_exact;

enum { RFI_EXACT_NEGATIVE = 1, RFI_EXACT_NAN = 2, RFI_EXACT_INF = 4, RFI_EXACT_MINUS_INF = 8 };

/* Zeroed memory is an empty sum. May be moved bytewise. */
void rfi_exact_clear(rfi_exact *e);
void rfi_exact_add(rfi_exact *e, double v);        /* in units of 2^-1074 */
void rfi_exact_add_square(rfi_exact *e, double v); /* in units of 2^-2148; v is finite */
void rfi_exact_merge(rfi_exact *e, rfi_exact *other);

/* A sum at rest: sign and magnitude, without zero limbs at either end. One sum, one form. */
typedef struct rfi_whole {
    bool negative;
    uint8_t special;
    uint16_t low, count;
    uint32_t limbs[RFI_EXACT_LIMBS_MAX * 2 + 2]; /* room for products */
} rfi_whole;

void rfi_exact_rest(rfi_exact *e, rfi_whole *out);
void rfi_exact_add_whole(rfi_exact *e, const rfi_whole *w);
/* Bytes: flags, low, count, then count limbs, little-endian. */
#define RFI_WHOLE_BYTES_MAX (3 + 4 * RFI_EXACT_LIMBS_MAX)
size_t rfi_whole_write(const rfi_whole *w, uint8_t *out);
/* Bytes taken, or 0 when they are no sum. */
size_t rfi_whole_read(const uint8_t *p, size_t n, rfi_whole *out);
/* The nearest double of a sum in units of 2^-1074. */
double rfi_whole_double(const rfi_whole *w);
/* Mantissa in [0.5, 1) or 0, and binary exponent relative to the unit. */
double rfi_whole_frexp(const rfi_whole *w, int *exponent);

/* n * squares - sum * sum, exactly: n^2 times the population's variance, in units of 2^-2148.
 * False: they are not of the same values. */
bool rfi_whole_spread(const rfi_whole *sum, const rfi_whole *squares, uint64_t n, rfi_whole *out);

#endif
