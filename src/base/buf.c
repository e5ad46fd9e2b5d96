/* Growable buffers with a maximum: see base.h. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES 256

void rf_buf_init(rf_buf *b, size_t max_bytes)
{
    *b = (rf_buf){.max = max_bytes};
}

void rf_buf_clear(rf_buf *b)
{
    free(b->p);
    *b = (rf_buf){.max = b->max};
}

void rf_buf_reset(rf_buf *b)
{
    b->n = 0;
    b->failed = false;
}

bool rf_buf_reserve(rf_buf *b, size_t extra)
{
    if (b->failed)
        return false;
    if (extra <= b->cap - b->n)
        return true;
    if (extra > b->max || b->n > b->max - extra) {
        b->failed = true;
        return false;
    }
    size_t need = b->n + extra;
    size_t cap = RF_MAX(b->cap, BUF_FIRST_BYTES);
    while (cap < need && cap <= b->max / 2)
        cap *= 2;
    cap = RF_MIN(RF_MAX(cap, need), b->max);
    char *p = realloc(b->p, cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void rf_buf_add(rf_buf *b, const void *p, size_t n)
{
    if (n == 0 || !rf_buf_reserve(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void rf_buf_add_str(rf_buf *b, rf_str s)
{
    rf_buf_add(b, s.p, s.n);
}

void rf_buf_add_cstr(rf_buf *b, const char *s)
{
    rf_buf_add(b, s, strlen(s));
}

void rf_buf_add_char(rf_buf *b, char c)
{
    if (rf_buf_reserve(b, 1))
        b->p[b->n++] = c;
}

void rf_buf_add_u64(rf_buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    rf_buf_add(b, digits + at, sizeof digits - at);
}

void rf_buf_add_i64(rf_buf *b, int64_t v)
{
    if (v < 0)
        rf_buf_add_char(b, '-');
    rf_buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void rf_buf_addf(rf_buf *b, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    RF_ASSERT(n >= 0); /* our formats hold no wide characters */
    if ((size_t)n < sizeof small) {
        rf_buf_add(b, small, (size_t)n);
    } else {
        /* One byte more for the NUL of vsnprintf; taken from the heap so that max stays exact. */
        char *big = malloc((size_t)n + 1);
        if (big == NULL) {
            b->failed = true;
        } else {
            vsnprintf(big, (size_t)n + 1, fmt, again);
            rf_buf_add(b, big, (size_t)n);
            free(big);
        }
    }
    va_end(again);
}

/* What follows the backslash; 0: the byte stands for itself; 'u': \u00XX. */
static const char JSON_ESCAPES[256] = {
    /* clang-format off */
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b', 't', 'n', 'u', 'f', 'r', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',
    /* clang-format on */
    ['"'] = '"',
    ['\\'] = '\\',
    [0x7f] = 'u',
};

static void add_json_escape(rf_buf *b, unsigned char c)
{
    static const char HEX[] = "0123456789abcdef";
    char text[6] = {'\\', JSON_ESCAPES[c], '0', '0', HEX[c >> 4], HEX[c & 15]};
    rf_buf_add(b, text, text[1] == 'u' ? 6 : 2);
}

void rf_buf_add_json_str(rf_buf *b, rf_str s)
{
    rf_buf_add_char(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (JSON_ESCAPES[(unsigned char)s.p[i]] == 0)
            continue;
        if (i > from)
            rf_buf_add(b, s.p + from, i - from);
        add_json_escape(b, (unsigned char)s.p[i]);
        from = i + 1;
    }
    if (s.n > from)
        rf_buf_add(b, s.p + from, s.n - from);
    rf_buf_add_char(b, '"');
}

const char *rf_buf_cstr(rf_buf *b)
{
    if (!rf_buf_reserve(b, 1))
        return NULL;
    b->p[b->n] = '\0';
    return b->p;
}

rf_str rf_buf_str(const rf_buf *b)
{
    return (rf_str){b->p, b->n};
}
