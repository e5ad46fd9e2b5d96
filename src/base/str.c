/* Slices, UTF-8, decimal numbers, edit distance and little-endian access: see base.h. */
#include "base/base.h"

#include <string.h>

rf_str rf_str_from(const char *cstr)
{
    return (rf_str){cstr, cstr == NULL ? 0 : strlen(cstr)};
}

bool rf_str_eq(rf_str a, rf_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool rf_str_starts(rf_str s, rf_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

int rf_str_cmp(rf_str a, rf_str b)
{
    size_t common = RF_MIN(a.n, b.n);
    int order = common == 0 ? 0 : memcmp(a.p, b.p, common);
    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

bool rf_str_to_u64(rf_str s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* ---- UTF-8 ---------------------------------------------------------------------------------- */

/*
 * Length of the well-formed sequence at p (n > 0 bytes left), 0 when there is none. Table 3-7 of
 * the Unicode standard: the second byte's range depends on the first, which shuts out overlong
 * forms, surrogates and everything above U+10FFFF.
 */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t len;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    if (p[0] < 0xE0) {
        len = 2;
    } else if (p[0] < 0xF0) {
        len = 3;
        if (p[0] == 0xE0)
            low = 0xA0;
        else if (p[0] == 0xED)
            high = 0x9F;
    } else {
        len = 4;
        if (p[0] == 0xF0)
            low = 0x90;
        else if (p[0] == 0xF4)
            high = 0x8F;
    }
    if (n < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

bool rf_utf8_valid(const char *p, size_t n, size_t *bad_at)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t i = 0;
    while (i < n) {
        if (u[i] < 0x80) {
            /* Text is mostly ASCII: eight bytes at a time. */
            while (n - i >= 8 && (rf_le64(u + i) & UINT64_C(0x8080808080808080)) == 0)
                i += 8;
            while (i < n && u[i] < 0x80)
                i++;
            continue;
        }
        size_t len = utf8_sequence(u + i, n - i);
        if (len == 0) {
            if (bad_at != NULL)
                *bad_at = i;
            return false;
        }
        i += len;
    }
    return true;
}

void rf_utf8_scrub(char *p, size_t n)
{
    size_t bad;
    while (!rf_utf8_valid(p, n, &bad)) {
        p[bad] = '?';
        p += bad + 1;
        n -= bad + 1;
    }
}

/* ---- edit distance -------------------------------------------------------------------------- */

#define DISTANCE_MAX_LEN 128

size_t rf_edit_distance(rf_str a, rf_str b, size_t max)
{
    size_t row[DISTANCE_MAX_LEN + 1];
    size_t apart = a.n > b.n ? a.n - b.n : b.n - a.n;
    /* The lengths' difference is a lower bound; what is longer than the row is no typing slip. */
    if (apart >= max || b.n > DISTANCE_MAX_LEN)
        return rf_str_eq(a, b) ? 0 : max;

    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0], least = i;
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t replaced = diagonal + (a.p[i - 1] != b.p[j - 1]);
            size_t best = RF_MIN(replaced, RF_MIN(row[j], row[j - 1]) + 1);
            diagonal = row[j];
            row[j] = best;
            least = RF_MIN(least, best);
        }
        if (least >= max)
            return max;
    }
    return RF_MIN(row[b.n], max);
}

/* ---- little-endian -------------------------------------------------------------------------- */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the formats are read by memcpy");

uint16_t rf_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint32_t rf_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

uint64_t rf_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

void rf_put_le16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

void rf_put_le32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}

void rf_put_le64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}
