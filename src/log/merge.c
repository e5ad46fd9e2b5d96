/*
 * Several key files into one. Everything in them is sorted by a hash, so this is a merge of sorted
 * lists, read and written from front to back; the sections of the new file are made one after the
 * other, the lists of ids and streams are therefore walked more than once.
 * I1  The new file answers as the old ones did together: an id is in one of them only, the parts of
 *     a stream are put together without a gap.
 * I2  What is read is checked on the way, as if it came from somebody else: order, counts, bounds.
 *     What contradicts itself is not passed on under a fresh checksum.
 */
#include "log/merge_int.h"

#include <stdlib.h>

#define WINDOW 128u                    /* entries that are fetched at once */
#define SYNC_BYTES ((uint64_t)8 << 20) /* so much may wait for the disk; appends need it too */
#define ASK_EVENTS 65536u              /* between two questions whether to go on */
#define SAME_HASH_MAX (4 * RFI_MERGE_RUNS_MAX)

/* A sorted section of one run, from front to back. */
typedef struct cursor {
    rfi_index *x;
    int section;
    uint32_t size;
    uint64_t next, count; /* entries */
    const uint8_t *at;    /* the entry */
    uint32_t left;        /* in the window, this one too */
    uint64_t hash;        /* its leading u64 */
} cursor;

typedef struct part {
    uint32_t run;
    rfi_keys_stream s;
} part;

typedef struct merger {
    rfi_index *const *runs;
    uint32_t count;
    uint64_t base_offset, events;
    const rfi_merge_watch *watch;
    rfi_index_out *o;
    uint64_t work, asked; /* entries done; at the last question */
    uint64_t bytes, synced;
    cursor cursors[RFI_MERGE_RUNS_MAX];
    part same[SAME_HASH_MAX]; /* streams with one leading u64 that are not yet passed on */
    uint32_t same_count;
    rf_status status;
    rfi_index *damaged;
} merger;

static void spoilt(merger *m, rfi_index *x)
{
    if (m->status == RF_OK) {
        m->status = RF_ECORRUPT;
        m->damaged = x;
    }
}

static void add(merger *m, const void *p, size_t n)
{
    rfi_index_out_add(m->o, p, n);
    m->bytes += n;
    if (m->bytes - m->synced >= SYNC_BYTES) {
        m->synced = m->bytes;
        rfi_index_out_sync(m->o);
    }
}

static void worked(merger *m, uint64_t entries)
{
    m->work += entries;
    if (m->work - m->asked < ASK_EVENTS)
        return;
    m->asked = m->work;
    if (m->status == RF_OK && !m->watch->go_on(m->watch->arg))
        m->status = RF_ECANCELED;
}

/* ---- sorted sections
 * ------------------------------------------------------------------------------------------ */

static void cursor_next(merger *m, cursor *c)
{
    uint64_t before = c->hash;
    bool first = c->next == 0;
    if (c->left > 1) {
        c->left--;
        c->at += c->size;
    } else {
        uint64_t n = RF_MIN((uint64_t)WINDOW, c->count - c->next);
        c->left = (uint32_t)n;
        c->at = n == 0 ? NULL : rfi_index_at(c->x, c->section, c->next * c->size, n * c->size);
        c->next += n;
        if (n == 0)
            return;
        if (c->at == NULL) {
            c->left = 0;
            spoilt(m, c->x);
            return;
        }
    }
    c->hash = rfi_get64(c->at);
    if (!first && c->hash < before)
        spoilt(m, c->x);
}

static void cursors_begin(merger *m, int section, uint32_t size)
{
    for (uint32_t i = 0; i < m->count; i++) {
        cursor *c = &m->cursors[i];
        uint64_t bytes = rfi_index_head(m->runs[i])->section_bytes[section];
        *c = (cursor){.x = m->runs[i], .section = section, .size = size, .count = bytes / size};
        cursor_next(m, c);
    }
}

/* The run with the smallest hash, the oldest of several; NULL at the end. */
static cursor *cursors_min(merger *m)
{
    cursor *min = NULL;
    for (uint32_t i = 0; i < m->count; i++) {
        cursor *c = &m->cursors[i];
        if (c->left > 0 && (min == NULL || c->hash < min->hash))
            min = c;
    }
    return m->status == RF_OK ? min : NULL;
}

static uint32_t shift_of(const merger *m, uint32_t run)
{
    return (uint32_t)(rfi_index_head(m->runs[run])->base_offset - m->base_offset);
}

static uint64_t events_of(const rfi_index *x)
{
    return rfi_index_head(x)->end_offset - rfi_index_head(x)->base_offset;
}

/* ---- ids
 * -------------------------------------------------------------------------------------------- */

static void id_filter(merger *m)
{
    rfi_filter_out f;
    cursors_begin(m, RFI_KEYS_IDS, RFI_ID_ENTRY_BYTES);
    rfi_filter_begin(&f, m->o, RFI_KEYS_ID_FILTER, m->events);
    for (cursor *c; (c = cursors_min(m)) != NULL; worked(m, 1)) {
        rfi_filter_add(&f, c->hash);
        cursor_next(m, c);
    }
    rfi_filter_end(&f);
}

static void ids(merger *m)
{
    cursors_begin(m, RFI_KEYS_IDS, RFI_ID_ENTRY_BYTES);
    rfi_index_out_section(m->o, RFI_KEYS_IDS);
    for (cursor *c; (c = cursors_min(m)) != NULL; worked(m, 1)) {
        uint8_t e[RFI_ID_ENTRY_BYTES];
        uint32_t run = (uint32_t)(c - m->cursors), event = rfi_get32(c->at + 12);
        if (event >= events_of(c->x))
            spoilt(m, c->x);
        memcpy(e, c->at, sizeof e);
        rfi_put32(e + 12, event + shift_of(m, run));
        add(m, e, sizeof e);
        cursor_next(m, c);
    }
}

/* ---- streams
 * ---------------------------------------------------------------------------------------------- */

/* One stream of the new file: its parts, oldest first. */
typedef struct stream {
    rf_hash128 key;
    uint64_t first_revision, count;
    uint32_t parts_count;
    part parts[RFI_MERGE_RUNS_MAX];
} stream;

static void take_entry(merger *m, cursor *c)
{
    rfi_keys_stream s = {
        .key = {.hi = c->hash, .lo = rfi_get64(c->at + 8)},
        .first_revision = rfi_get64(c->at + 16),
        .first = rfi_get32(c->at + 24),
        .count = rfi_get32(c->at + 28),
    };
    if (s.count == 0 || (uint64_t)s.first + s.count > events_of(c->x))
        spoilt(m, c->x);
    else if (m->same_count == SAME_HASH_MAX)
        m->status =
            m->status == RF_OK ? RF_EUNSUPPORTED : m->status; /* they can stay as they are */
    else
        m->same[m->same_count++] = (part){(uint32_t)(c - m->cursors), s};
    cursor_next(m, c);
}

/* All streams that begin with the next hash: nearly always one. They stand in order of runs. */
static void gather(merger *m)
{
    cursor *c = cursors_min(m);
    if (c == NULL)
        return;
    uint64_t hash = c->hash;
    while (c != NULL && c->hash == hash) {
        take_entry(m, c);
        c = cursors_min(m);
    }
}

/* The next stream; false at the end. */
static bool next_stream(merger *m, stream *out)
{
    if (m->same_count == 0)
        gather(m);
    if (m->same_count == 0 || m->status != RF_OK)
        return false;
    uint32_t kept = 0;
    out->key = m->same[0].s.key;
    out->first_revision = m->same[0].s.first_revision;
    out->count = out->parts_count = 0;
    for (uint32_t i = 0; i < m->same_count; i++) {
        const part *p = &m->same[i];
        if (!rf_hash_eq(p->s.key, out->key)) {
            m->same[kept++] = *p;
            continue;
        }
        if (p->s.first_revision != out->first_revision + out->count ||
            (out->parts_count > 0 && out->parts[out->parts_count - 1].run == p->run)) {
            spoilt(m, m->runs[p->run]);
            return false;
        }
        out->parts[out->parts_count++] = *p;
        out->count += p->s.count;
    }
    m->same_count = kept;
    worked(m, out->parts_count);
    return true;
}

static void streams_begin(merger *m)
{
    m->same_count = 0;
    cursors_begin(m, RFI_KEYS_STREAMS, RFI_STREAM_ENTRY_BYTES);
}

static void stream_filter(merger *m)
{
    rfi_filter_out f;
    stream s;
    uint64_t streams = 0;
    streams_begin(m);
    while (next_stream(m, &s))
        streams++;
    rfi_filter_begin(&f, m->o, RFI_KEYS_STREAM_FILTER, streams);
    streams_begin(m);
    while (next_stream(m, &s))
        rfi_filter_add(&f, s.key.hi);
    rfi_filter_end(&f);
}

static void streams(merger *m)
{
    stream s;
    uint64_t first = 0;
    rfi_index_out_section(m->o, RFI_KEYS_STREAMS);
    streams_begin(m);
    while (next_stream(m, &s)) {
        uint8_t e[RFI_STREAM_ENTRY_BYTES];
        rfi_put64(e, s.key.hi);
        rfi_put64(e + 8, s.key.lo);
        rfi_put64(e + 16, s.first_revision);
        rfi_put32(e + 24, (uint32_t)first);
        rfi_put32(e + 28, (uint32_t)s.count);
        add(m, e, sizeof e);
        first += s.count;
    }
    if (m->status == RF_OK && first != m->events)
        spoilt(m, m->runs[0]); /* which one is not to be seen */
}

static void copy_events(merger *m, const part *p)
{
    rfi_index *x = m->runs[p->run];
    uint32_t shift = shift_of(m, p->run);
    uint8_t out[4 * WINDOW];
    for (uint32_t done = 0, n; done < p->s.count && m->status == RF_OK; done += n) {
        n = RF_MIN(p->s.count - done, WINDOW);
        const uint8_t *in = rfi_index_at(x, RFI_KEYS_STREAM_EVENTS,
                                         4 * ((uint64_t)p->s.first + done), 4 * (uint64_t)n);
        for (uint32_t i = 0; in != NULL && i < n; i++) {
            uint32_t event = rfi_get32(in + 4 * i);
            if (event >= events_of(x))
                in = NULL;
            else
                rfi_put32(out + 4 * i, event + shift);
        }
        if (in == NULL)
            spoilt(m, x);
        else
            add(m, out, 4 * n);
        worked(m, n);
    }
}

static void stream_events(merger *m)
{
    stream s;
    rfi_index_out_section(m->o, RFI_KEYS_STREAM_EVENTS);
    streams_begin(m);
    while (next_stream(m, &s)) {
        for (uint32_t i = 0; i < s.parts_count; i++)
            copy_events(m, &s.parts[i]);
    }
}

/* ---- the file
 * ------------------------------------------------------------------------------------------ */

static void check_sizes(merger *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const rfi_index_header *h = rfi_index_head(m->runs[i]);
        uint64_t n = events_of(m->runs[i]);
        RF_ASSERT(i == 0 || h->base_offset == rfi_index_head(m->runs[i - 1])->end_offset);
        if (h->section_bytes[RFI_KEYS_IDS] != n * RFI_ID_ENTRY_BYTES ||
            h->section_bytes[RFI_KEYS_STREAM_EVENTS] != 4 * n ||
            h->section_bytes[RFI_KEYS_STREAMS] % RFI_STREAM_ENTRY_BYTES != 0)
            spoilt(m, m->runs[i]);
    }
}

static rf_status write_sections(merger *m, const char *path, rf_err *err)
{
    void (*const STEPS[])(merger *) = {id_filter, stream_filter, ids, streams, stream_events};
    check_sizes(m);
    for (size_t i = 0; i < RF_ARRAY_LEN(STEPS) && m->status == RF_OK; i++)
        STEPS[i](m);
    if (m->status == RF_ECORRUPT)
        return rf_err_set(err, RF_ECORRUPT, "%s is damaged", rfi_index_path(m->damaged));
    if (m->status != RF_OK)
        return rf_err_set(err, m->status, "merging into %s was stopped", path);
    return RF_OK;
}

rf_status rfi_keys_merge(rf_io *io, const char *path, rfi_index *const *runs, uint32_t count,
                         const rfi_merge_watch *watch, rfi_index **damaged, rf_err *err)
{
    RF_ASSERT(count >= 2 && count <= RFI_MERGE_RUNS_MAX);
    const rfi_index_header *oldest = rfi_index_head(runs[0]);
    rfi_index_header head = {
        .kind = RFI_INDEX_KEYS,
        .partition = oldest->partition,
        .base_offset = oldest->base_offset,
        .end_offset = rfi_index_head(runs[count - 1])->end_offset,
        .key_check = oldest->key_check,
    };
    memcpy(head.domain, oldest->domain, sizeof head.domain);
    RF_ASSERT(head.end_offset - head.base_offset <= UINT32_MAX); /* events are numbered by u32 */
    merger *m = calloc(1, sizeof *m);
    *damaged = NULL;
    if (m == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory to merge indexes");
    m->runs = runs;
    m->count = count;
    m->base_offset = head.base_offset;
    m->events = head.end_offset - head.base_offset;
    m->watch = watch;
    rf_status st = rfi_index_out_open(io, path, &m->o, err);
    if (st == RF_OK) {
        st = write_sections(m, path, err);
        if (st == RF_OK)
            st = rfi_index_out_finish(&m->o, &head, err);
        else
            rfi_index_out_abort(&m->o);
    }
    *damaged = m->damaged;
    free(m);
    return st;
}
