/*
 * Positions and their tokens. A token is base64url of "1", then for each part
 * ";domain/partition:next" in order. The 1 is the format. Reading is strict: one position has one
 * token, so tokens can be compared as text, and nothing that a client makes up costs more than its
 * own length.
 */
#include "event/event.h"

#include <stdlib.h>
#include <string.h>

/* Domains times partitions of a large system, with room. */
#define PARTS_MAX 65536
#define TOKEN_BYTES_MAX ((size_t)PARTS_MAX * 32)
#define PART_BYTES_MIN 6 /* ";a/0:1" */

void rf_position_clear(rf_position *p)
{
    free(p->parts);
    *p = (rf_position){NULL, 0};
}

static int part_cmp(const rf_position_part *part, rf_str domain, uint32_t partition)
{
    int order = rf_str_cmp(rf_str_from(part->domain), domain);
    if (order != 0)
        return order;
    return (part->partition > partition) - (part->partition < partition);
}

/* The first part that is not before (domain, partition). */
static size_t lower_bound(const rf_position *p, rf_str domain, uint32_t partition)
{
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (part_cmp(&p->parts[middle], domain, partition) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool found_at(const rf_position *p, size_t at, rf_str domain, uint32_t partition)
{
    return at < p->count && part_cmp(&p->parts[at], domain, partition) == 0;
}

static void set_part(rf_position_part *part, rf_str domain, uint32_t partition, uint64_t next)
{
    memset(part, 0, sizeof *part);
    memcpy(part->domain, domain.p, domain.n);
    part->partition = partition;
    part->next = next;
}

void rf_position_raise(rf_position *p, rf_str domain, uint32_t partition, uint64_t next)
{
    RF_ASSERT(domain.n > 0 && domain.n <= RF_DOMAIN_MAX);
    size_t at = lower_bound(p, domain, partition);
    if (found_at(p, at, domain, partition)) {
        p->parts[at].next = RF_MAX(p->parts[at].next, next);
        return;
    }
    if (next == 0)
        return; /* what is not listed counts as 0 */
    p->parts = rf_xrealloc(p->parts, (p->count + 1) * sizeof *p->parts);
    memmove(p->parts + at + 1, p->parts + at, (p->count - at) * sizeof *p->parts);
    p->count++;
    set_part(&p->parts[at], domain, partition, next);
}

uint64_t rf_position_get(const rf_position *p, rf_str domain, uint32_t partition)
{
    size_t at = lower_bound(p, domain, partition);
    return found_at(p, at, domain, partition) ? p->parts[at].next : 0;
}

bool rf_position_reached(const rf_position *have, const rf_position *need)
{
    for (size_t i = 0; i < need->count; i++) {
        const rf_position_part *part = &need->parts[i];
        if (rf_position_get(have, rf_str_from(part->domain), part->partition) < part->next)
            return false;
    }
    return true;
}

void rf_position_copy(rf_position *to, const rf_position *from)
{
    if (to == from)
        return;
    rf_position_clear(to);
    for (size_t i = 0; i < from->count; i++)
        rf_position_raise(to, rf_str_from(from->parts[i].domain), from->parts[i].partition,
                          from->parts[i].next);
}

void rf_position_encode(const rf_position *p, rf_buf *out)
{
    rf_buf text;
    rf_buf_init(&text, SIZE_MAX);
    rf_buf_add_char(&text, '1');
    for (size_t i = 0; i < p->count; i++) {
        rf_buf_add_char(&text, ';');
        rf_buf_add_cstr(&text, p->parts[i].domain);
        rf_buf_add_char(&text, '/');
        rf_buf_add_u64(&text, p->parts[i].partition);
        rf_buf_add_char(&text, ':');
        rf_buf_add_u64(&text, p->parts[i].next);
    }
    if (text.failed)
        out->failed = true;
    else
        rf_buf_add_base64url(out, text.p, text.n);
    rf_buf_clear(&text);
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* Takes the bytes before `end` off the front of *rest, and `end` too. */
static bool take_until(rf_str *rest, char end, rf_str *out)
{
    const char *at = rest->n == 0 ? NULL : memchr(rest->p, end, rest->n);
    if (at == NULL)
        return false;
    *out = (rf_str){rest->p, (size_t)(at - rest->p)};
    rest->p += out->n + 1;
    rest->n -= out->n + 1;
    return true;
}

/* A number as rf_buf_add_u64 writes it. */
static bool plain_u64(rf_str s, uint64_t *out)
{
    return rf_str_to_u64(s, out) && (s.n == 1 || s.p[0] != '0');
}

/* Appends one part; p->parts has room. */
static bool read_part(rf_str text, rf_position *p)
{
    rf_str domain, number;
    uint64_t partition, next;
    if (!take_until(&text, '/', &domain) || !rf_domain_valid(domain) ||
        !take_until(&text, ':', &number) || !plain_u64(number, &partition) ||
        partition > UINT32_MAX || !plain_u64(text, &next) || next == 0)
        return false;
    if (p->count > 0 && part_cmp(&p->parts[p->count - 1], domain, (uint32_t)partition) >= 0)
        return false;
    set_part(&p->parts[p->count++], domain, (uint32_t)partition, next);
    return true;
}

static bool read_text(rf_str text, rf_position *p)
{
    size_t count = 0;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == ';';
    if (text.n == 0 || text.p[0] != '1' || count > PARTS_MAX || count > text.n / PART_BYTES_MIN)
        return false;
    if (count == 0)
        return text.n == 1;
    p->parts = rf_xmalloc(count * sizeof *p->parts);
    text = (rf_str){text.p + 1, text.n - 1};
    while (text.n > 0) {
        if (text.p[0] != ';')
            return false;
        text = (rf_str){text.p + 1, text.n - 1};
        const char *end = memchr(text.p, ';', text.n);
        rf_str part = {text.p, end == NULL ? text.n : (size_t)(end - text.p)};
        if (!read_part(part, p))
            return false;
        text = (rf_str){text.p + part.n, text.n - part.n};
    }
    return true;
}

rf_status rf_position_decode(rf_str token, rf_position *out, rf_err *err)
{
    rf_buf text;
    rf_position read = {NULL, 0};
    *out = read;
    rf_buf_init(&text, TOKEN_BYTES_MAX);
    bool fine = token.n <= TOKEN_BYTES_MAX && rf_base64url_decode(token, &text) &&
                read_text(rf_buf_str(&text), &read);
    rf_buf_clear(&text);
    if (!fine) {
        rf_position_clear(&read);
        return rf_err_set(
            err, RF_EINVAL,
            "the position is not one that this program gave out; pass it on unchanged");
    }
    *out = read;
    return RF_OK;
}
