/* Exact sums of doubles, after the idea of R. M. Neal's small superaccumulator (2015). */
#include "engine/exact_int.h"

#include <math.h>

#define ADDS_MAX                                                                                   \
    (1u << 29) /* each adds less than 2^32 to a limb of 63 bits; merges may double it */
#define LIMB_MASK INT64_C(0xFFFFFFFF)

static int64_t *limbs_of(rfi_exact *e)
{
    return e->cap > 0 ? e->outside : e->inside;
}

void rfi_exact_clear(rfi_exact *e)
{
    free(e->outside);
    *e = (rfi_exact){0};
}

/* Makes limbs [from, to) exist. */
static int64_t *window(rfi_exact *e, unsigned from, unsigned to)
{
    unsigned low = e->count > 0 ? RF_MIN(e->low, from) : from;
    unsigned high = e->count > 0 ? RF_MAX((unsigned)e->low + e->count, to) : to;
    int64_t moved[RFI_EXACT_LIMBS_MAX] = {0};
    int64_t *limbs = limbs_of(e);

    if (e->count > 0 && low == e->low && high == (unsigned)e->low + e->count)
        return limbs;
    RF_ASSERT(high <= RFI_EXACT_LIMBS_MAX);
    if (e->count > 0)
        memcpy(moved + (e->low - low), limbs, e->count * sizeof(*limbs));
    if (high - low > RFI_EXACT_INLINE && high - low > e->cap) {
        e->cap = (uint16_t)(high - low + 2);
        e->outside = rf_xrealloc(e->outside, e->cap * sizeof(*limbs));
    }
    e->low = (uint16_t)low;
    e->count = (uint16_t)(high - low);
    limbs = limbs_of(e);
    memcpy(limbs, moved, e->count * sizeof(*limbs));
    return limbs;
}

/* Leaves each limb but the highest in 0..2^32-1. */
static void carry(rfi_exact *e)
{
    int64_t *limbs = limbs_of(e), over = 0;

    for (unsigned i = 0; i < e->count; i++) {
        limbs[i] += over;
        over = limbs[i] >> 32;
        if (i + 1 < e->count || (over != 0 && over != -1))
            limbs[i] &= LIMB_MASK;
        else
            over = 0; /* the highest keeps its sign */
    }
    if (over != 0) {
        unsigned top = (unsigned)e->low + e->count;

        limbs = window(e, e->low, top + 1);
        limbs[top - e->low] = over;
    }
    e->adds = 0;
}

/* Adds a magnitude of up to 138 bits that begins at `bit`. */
static void add_bits(rfi_exact *e, unsigned __int128 magnitude, unsigned bit, bool negative)
{
    unsigned first = bit / 32, shift = bit % 32, pieces = 0;
    uint32_t piece[5];
    int64_t *limbs;
    uint64_t over = 0;

    if (e->adds >= ADDS_MAX)
        carry(e);
    e->adds++;
    while (magnitude != 0 || over != 0) {
        uint64_t part = ((uint64_t)(uint32_t)magnitude << shift) | over;

        piece[pieces++] = (uint32_t)part;
        over = part >> 32;
        magnitude >>= 32;
    }
    limbs = window(e, first, first + pieces) + (first - e->low);
    for (unsigned i = 0; i < pieces; i++)
        limbs[i] += negative ? -(int64_t)piece[i] : (int64_t)piece[i];
}

/* v == ±mantissa * 2^(bit - 1074) */
static bool take_apart(double v, uint64_t *mantissa, unsigned *bit)
{
    uint64_t bits;
    unsigned exponent;

    memcpy(&bits, &v, sizeof(bits));
    exponent = (unsigned)(bits >> 52) & 0x7FF;
    *mantissa = bits & ((UINT64_C(1) << 52) - 1);
    if (exponent > 0)
        *mantissa |= UINT64_C(1) << 52;
    *bit = exponent > 0 ? exponent - 1 : 0;
    return *mantissa != 0;
}

void rfi_exact_add(rfi_exact *e, double v)
{
    uint64_t mantissa;
    unsigned bit;

    if (!isfinite(v))
        e->special |= isnan(v) ? RFI_EXACT_NAN : v > 0 ? RFI_EXACT_INF : RFI_EXACT_MINUS_INF;
    else if (take_apart(v, &mantissa, &bit))
        add_bits(e, mantissa, bit, signbit(v));
}

void rfi_exact_add_square(rfi_exact *e, double v)
{
    uint64_t mantissa;
    unsigned bit;

    if (take_apart(v, &mantissa, &bit))
        add_bits(e, (unsigned __int128)mantissa * mantissa, 2 * bit, false);
}

void rfi_exact_merge(rfi_exact *e, rfi_exact *other)
{
    const int64_t *from;
    int64_t *limbs;

    e->special |= other->special;
    if (other->count == 0)
        return;
    carry(e);
    carry(other);
    limbs = window(e, other->low, (unsigned)other->low + other->count) + (other->low - e->low);
    from = limbs_of(other);
    for (unsigned i = 0; i < other->count; i++)
        limbs[i] += from[i];
    e->adds = 1;
}

void rfi_exact_rest(rfi_exact *e, rfi_whole *out)
{
    int64_t *limbs;
    unsigned first = 0, last;

    *out = (rfi_whole){.special = e->special};
    carry(e);
    limbs = limbs_of(e);
    if (e->count > 0 && limbs[e->count - 1] < 0) {
        out->negative = true;
        for (unsigned i = 0; i < e->count; i++)
            limbs[i] = -limbs[i];
        carry(e);
        limbs = limbs_of(e);
    }
    if (e->count > 0 && limbs[e->count - 1] > LIMB_MASK) {
        int64_t over = limbs[e->count - 1] >> 32;
        unsigned top = (unsigned)e->low + e->count;

        limbs[e->count - 1] &= LIMB_MASK;
        limbs = window(e, e->low, top + 1);
        limbs[top - e->low] = over;
    }
    for (last = e->count; last > 0 && limbs[last - 1] == 0; last--)
        ;
    while (first < last && limbs[first] == 0)
        first++;
    out->low = (uint16_t)(first < last ? e->low + first : 0);
    out->count = (uint16_t)(last - first);
    for (unsigned i = first; i < last; i++)
        out->limbs[i - first] = (uint32_t)limbs[i];
    if (out->negative && e->count > 0) { /* the state itself stays as it was */
        for (unsigned i = 0; i < e->count; i++)
            limbs[i] = -limbs[i];
    }
    if (out->count == 0)
        out->negative = false;
}

void rfi_exact_add_whole(rfi_exact *e, const rfi_whole *w)
{
    int64_t *limbs;

    e->special |= w->special;
    if (w->count == 0)
        return;
    if (e->adds >= ADDS_MAX)
        carry(e);
    e->adds++;
    limbs = window(e, w->low, (unsigned)w->low + w->count) + (w->low - e->low);
    for (unsigned i = 0; i < w->count; i++)
        limbs[i] += w->negative ? -(int64_t)w->limbs[i] : (int64_t)w->limbs[i];
}

size_t rfi_whole_write(const rfi_whole *w, uint8_t *out)
{
    out[0] = (uint8_t)(w->special | (w->negative ? RFI_EXACT_NEGATIVE : 0));
    out[1] = (uint8_t)w->low;
    out[2] = (uint8_t)w->count;
    for (unsigned i = 0; i < w->count; i++)
        rf_put_le32(out + 3 + 4 * (size_t)i, w->limbs[i]);
    return 3 + 4 * (size_t)w->count;
}

size_t rfi_whole_read(const uint8_t *p, size_t n, rfi_whole *out)
{
    if (n < 3 || (p[0] & ~15) != 0 || p[1] + p[2] > RFI_EXACT_LIMBS_MAX || n < 3 + 4 * (size_t)p[2])
        return 0;
    *out = (rfi_whole){.negative = p[0] & RFI_EXACT_NEGATIVE,
                       .special = (uint8_t)(p[0] & ~RFI_EXACT_NEGATIVE),
                       .low = p[1],
                       .count = p[2]};
    for (unsigned i = 0; i < out->count; i++)
        out->limbs[i] = rf_le32(p + 3 + 4 * (size_t)i);
    return 3 + 4 * (size_t)out->count;
}

static unsigned bit_length(const rfi_whole *w)
{
    return w->count == 0
               ? 0
               : 32u * (w->count - 1u) + 32u - (unsigned)__builtin_clz(w->limbs[w->count - 1]);
}

/* The integer without its `low` zero limbs, shifted right, and whether a one fell out. */
static uint64_t shifted(const rfi_whole *w, unsigned shift, bool *sticky)
{
    uint64_t result = 0;
    unsigned skip = shift / 32;

    *sticky = false;
    for (unsigned i = 0; i < skip; i++)
        *sticky |= w->limbs[i] != 0;
    if (skip < w->count && shift % 32 != 0)
        *sticky |= (w->limbs[skip] & ((1u << shift % 32) - 1)) != 0;
    for (unsigned i = w->count; i-- > skip;) {
        unsigned at = 32 * (i - skip);

        if (at >= shift % 32)
            result |= (uint64_t)w->limbs[i] << (at - shift % 32);
        else
            result |= w->limbs[i] >> (shift % 32 - at);
    }
    return result;
}

/* The integer rounded to `keep` bits (half to even), as integer and the bits dropped. */
static uint64_t rounded(const rfi_whole *w, unsigned drop)
{
    uint64_t top;
    bool sticky;

    if (drop == 0)
        return shifted(w, 0, &sticky);
    top = shifted(w, drop - 1, &sticky); /* one more bit: the half */
    if ((top & 1) != 0 && (sticky || (top & 2) != 0))
        top += 2;
    return top >> 1;
}

double rfi_whole_frexp(const rfi_whole *w, int *exponent)
{
    unsigned bits = bit_length(w);
    unsigned drop = bits > 53 ? bits - 53 : 0;
    double mantissa = frexp((double)rounded(w, drop), exponent);

    *exponent += (int)drop + 32 * (int)w->low;
    return w->negative ? -mantissa : mantissa;
}

double rfi_whole_double(const rfi_whole *w)
{
    double mantissa;
    int exponent;

    if ((w->special & RFI_EXACT_NAN) || (w->special & (RFI_EXACT_INF | RFI_EXACT_MINUS_INF)) ==
                                            (RFI_EXACT_INF | RFI_EXACT_MINUS_INF))
        return NAN;
    if (w->special != 0)
        return w->special & RFI_EXACT_INF ? INFINITY : -INFINITY;
    /* The unit is the smallest double there is, so rounding to 53 bits is rounding to doubles. */
    mantissa = rfi_whole_frexp(w, &exponent);
    return ldexp(mantissa, exponent - 1074);
}

/* out = a * b, magnitudes. */
static void product(const uint32_t *a, unsigned an, const uint32_t *b, unsigned bn, uint32_t *out)
{
    memset(out, 0, (an + bn) * sizeof(*out));
    for (unsigned i = 0; i < an; i++) {
        uint64_t over = 0;

        for (unsigned k = 0; k < bn; k++) {
            uint64_t v = (uint64_t)a[i] * b[k] + out[i + k] + over;

            out[i + k] = (uint32_t)v;
            over = v >> 32;
        }
        out[i + bn] = (uint32_t)over;
    }
}

#define WIDE (RFI_EXACT_LIMBS_MAX * 2 + 2)

bool rfi_whole_spread(const rfi_whole *sum, const rfi_whole *squares, uint64_t n, rfi_whole *out)
{
    uint32_t big[WIDE] = {0}, small[WIDE] = {0}, times[WIDE],
             count[2] = {(uint32_t)n, (uint32_t)(n >> 32)};
    int64_t borrow = 0;
    unsigned low = WIDE, high = 0;

    product(squares->limbs, squares->count, count, 2, times);
    memcpy(big + squares->low, times, (squares->count + 2u) * sizeof(*big));
    product(sum->limbs, sum->count, sum->limbs, sum->count, times);
    memcpy(small + 2 * (size_t)sum->low, times, 2 * (size_t)sum->count * sizeof(*small));
    *out = (rfi_whole){.special = sum->special};
    for (unsigned i = 0; i < WIDE; i++) {
        int64_t v = (int64_t)big[i] - small[i] + borrow;

        big[i] = (uint32_t)v;
        borrow = v >> 32;
        if (big[i] != 0) {
            low = RF_MIN(low, i);
            high = i + 1;
        }
    }
    if (low < high) {
        out->low = (uint16_t)low;
        out->count = (uint16_t)(high - low);
        memcpy(out->limbs, big + low, out->count * sizeof(*big));
    }
    return borrow == 0; /* Cauchy and Schwarz */
}
