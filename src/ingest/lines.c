/*
 * NDJSON: a body of any length becomes chunks of whole lines. Bytes are copied once, from what was
 * fed (or from the decompressor's window) into a chunk; only the unfinished line at a chunk's end
 * moves on to the next one. A chunk is decoded when it is full, or when the body ends.
 *
 * A line longer than a chunk makes it grow, up to the limit of one event; beyond that the line is
 * rejected and skipped to its newline, through the chunk's memory but without keeping any of it.
 *
 * What is rejected must not depend on how the bytes were cut when they were fed: so length is
 * judged here, with the same words for a whole line and for one that was not kept.
 */
#include "ingest/ingest_int.h"

#include <string.h>

/* Read at once into a chunk that grew: bounds what follows the long line in the same chunk. */
#define GROWN_STEP_BYTES (64u << 10)

static size_t line_bytes_max(const rf_ingest_request *r)
{
    return r->ingest->options.limits.event_bytes_max;
}

/* The chunk to fill. The first of a request is small, since most bodies are. */
static rfi_chunk *gathering(rf_ingest_request *r)
{
    if (r->gather == NULL) {
        bool little = r->line == 0 && r->feeding < rfi_ingest_size_bytes(RFI_MEDIUM);

        r->gather = rfi_ingest_chunk_take(&r->ingest->pool, little ? RFI_MEDIUM : RFI_LARGE);
        r->scanned = 0;
        if (r->gather == NULL)
            rfi_ingest_request_fail_nomem(r);
    }
    return r->gather;
}

static char *lines_room(rf_ingest_request *r, size_t *n)
{
    rfi_chunk *c = gathering(r);
    size_t full;

    if (c == NULL)
        return NULL;
    RF_ASSERT(c->n < c->cap);
    full = rfi_ingest_size_bytes(c->size);
    *n = c->n < full ? full - c->n : RF_MIN(c->cap - c->n, GROWN_STEP_BYTES);
    return c->bytes + c->n;
}

/* ---- a chunk of whole lines --------------------------------------------------------------------
 */

static void reject_long_line(rf_ingest_request *r, rfi_chunk *c)
{
    rf_event_fault fault;

    rfi_ingest_fault(&fault, "size", "",
                     "The line is longer than %zu bytes, the limit for an event.",
                     line_bytes_max(r));
    rfi_ingest_admit_decoded(r, c, RF_ETOOBIG, r->line, &fault);
}

static bool is_blank(rf_str line)
{
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\r')
            return false;
    }
    return true;
}

static void take_line(rf_ingest_request *r, rfi_chunk *c, rf_str line)
{
    rf_event_fault fault;

    r->line++;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n > line_bytes_max(r))
        reject_long_line(r, c);
    else if (r->line == 1 && rfi_ingest_has_bom(line, &fault))
        rfi_ingest_admit_decoded(r, c, RF_EINVAL, r->line, &fault);
    else if (line.n > 0 && !(line.p[0] != '{' && is_blank(line)))
        rfi_ingest_admit(r, c, line, r->line);
}

/* Decodes bytes[0..n) of the chunk, which end with a line, and submits it. */
static void flush(rf_ingest_request *r, rfi_chunk *c, size_t n)
{
    const char *p = c->bytes, *end = c->bytes + n;

    r->last_type = (rf_str){NULL, 0};
    while (p < end && !r->failed) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));

        take_line(r, c, (rf_str){p, (size_t)((newline != NULL ? newline : end) - p)});
        p = newline != NULL ? newline + 1 : end;
    }
    r->last_type = (rf_str){NULL, 0};
    if (r->failed)
        rfi_ingest_chunk_give(&r->ingest->pool, c);
    else
        rfi_ingest_submit(r, c, false);
}

/* ---- cutting the body --------------------------------------------------------------------------
 */

/* The chunk is full and ends inside a line that began at `tail`: what is before goes to the log. */
static void cut(rf_ingest_request *r, rfi_chunk *c, size_t tail)
{
    size_t left = c->n - tail;
    rfi_chunk *next = rfi_ingest_chunk_take(&r->ingest->pool, RFI_LARGE);

    if (next == NULL) {
        rfi_ingest_request_fail_nomem(r);
        return;
    }
    RF_ASSERT(left < next->cap);
    memcpy(next->bytes, c->bytes + tail, left);
    next->n = left;
    r->gather = next;
    r->scanned = left;
    flush(r, c, tail);
}

/* The chunk is full of one line that has not ended. */
static void grow_or_skip(rf_ingest_request *r, rfi_chunk *c)
{
    size_t max = line_bytes_max(r);

    if (c->n > max + 1) { /* 1: it may yet be the CR of a line that just fits */
        r->line++;
        reject_long_line(r, c);
        r->skipping = true;
        c->n = 0;
        r->scanned = 0;
    } else if (!rfi_ingest_chunk_grow(
                   c, RF_MIN(2 * c->cap, RF_MAX(max + 2, rfi_ingest_size_bytes(RFI_LARGE))))) {
        rfi_ingest_request_fail_nomem(r);
    }
}

/* Inside a line that is too long: only its newline matters. */
static void skip(rf_ingest_request *r, rfi_chunk *c)
{
    const char *newline = memchr(c->bytes, '\n', c->n);

    if (newline == NULL) {
        c->n = 0;
        return;
    }
    c->n -= (size_t)(newline + 1 - c->bytes);
    memmove(c->bytes, newline + 1, c->n);
    r->skipping = false;
}

static void lines_took(rf_ingest_request *r, size_t n)
{
    rfi_chunk *c = r->gather;
    const char *newline;

    c->n += n;
    if (r->skipping)
        skip(r, c);
    if (c->n < rfi_ingest_size_bytes(c->size))
        return;
    newline = memrchr(c->bytes + r->scanned, '\n', c->n - r->scanned);
    if (newline != NULL) {
        cut(r, c, (size_t)(newline + 1 - c->bytes));
        return;
    }
    r->scanned = c->n;
    if (c->n == c->cap)
        grow_or_skip(r, c);
}

static void lines_finish(rf_ingest_request *r)
{
    rfi_chunk *c = r->gather;

    r->gather = NULL;
    if (c != NULL)
        flush(r, c, c->n); /* the last line needs no newline */
}

const rfi_form rfi_ingest_form_lines = {lines_room, lines_took, lines_finish};
