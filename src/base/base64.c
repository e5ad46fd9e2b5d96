/*
 * base64 with padding and base64url without (RFC 4648 §4 and §5). Decoding is strict: no white
 * space, no missing or superfluous padding, no bits left over, so that one byte string has exactly
 * one text.
 */
#include "base/base.h"

#include <string.h>

static const char STANDARD[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char URL[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void add_encoded(rf_buf *b, const uint8_t *p, size_t n, const char *alphabet, bool pad)
{
    if (n == 0)
        return;
    if (n > SIZE_MAX / 2 || !rf_buf_reserve(b, n / 3 * 4 + (n % 3 == 0 ? 0
                                                            : pad      ? 4
                                                                       : n % 3 + 1))) {
        b->failed = true;
        return;
    }
    char *out = b->p + b->n;
    size_t i = 0;
    for (; n - i >= 3; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = alphabet[v >> 6 & 63];
        *out++ = alphabet[v & 63];
    }
    if (n - i > 0) {
        uint32_t v = (uint32_t)p[i] << 16 | (n - i == 2 ? (uint32_t)p[i + 1] << 8 : 0);
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        if (n - i == 2)
            *out++ = alphabet[v >> 6 & 63];
        for (size_t k = n - i; pad && k < 3; k++)
            *out++ = '=';
    }
    b->n = (size_t)(out - b->p);
}

void rf_buf_add_base64url(rf_buf *b, const void *p, size_t n)
{
    add_encoded(b, p, n, URL, false);
}

void rf_buf_add_base64(rf_buf *b, const void *p, size_t n)
{
    add_encoded(b, p, n, STANDARD, true);
}

/* Value of a digit, or 64. */
static unsigned digit_value(unsigned char c, char c62, char c63)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26u;
    if (c >= '0' && c <= '9')
        return c - '0' + 52u;
    return c == (unsigned char)c62 ? 62 : c == (unsigned char)c63 ? 63 : 64;
}

/* Text without padding. */
static bool decode(rf_str text, char c62, char c63, rf_buf *out)
{
    size_t tail = text.n % 4;
    if (text.n == 0)
        return !out->failed;
    if (tail == 1 || !rf_buf_reserve(out, text.n / 4 * 3 + (tail == 0 ? 0 : tail - 1)))
        return false;
    uint8_t *to = (uint8_t *)out->p + out->n, *start = to;
    for (size_t i = 0; i < text.n; i += 4) {
        size_t digits = RF_MIN(text.n - i, 4);
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            unsigned d = k < digits ? digit_value((unsigned char)text.p[i + k], c62, c63) : 0;
            if (d > 63)
                return false;
            v = v << 6 | d;
        }
        size_t bytes = digits - 1;
        if ((v & ((1u << (24 - 8 * bytes)) - 1)) != 0)
            return false; /* bits that no byte holds: a second spelling of the same bytes */
        for (size_t k = 0; k < bytes; k++)
            *to++ = (uint8_t)(v >> (16 - 8 * k));
    }
    out->n += (size_t)(to - start);
    return true;
}

bool rf_base64url_decode(rf_str text, rf_buf *out)
{
    return decode(text, '-', '_', out);
}

bool rf_base64_decode(rf_str text, rf_buf *out)
{
    if (text.n % 4 != 0)
        return false;
    if (text.n > 0 && text.p[text.n - 1] == '=')
        text.n -= text.p[text.n - 2] == '=' ? 2 : 1;
    return decode(text, '+', '/', out);
}
