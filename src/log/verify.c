/*
 * Reading everything and believing nothing. Segment by segment: headers, checksums, the chain of
 * hashes (of headers, and of payloads), offsets; each segment is replayed into memory and its index
 * files are compared with that, entry by entry. Streams are checked across segments through the
 * older key files.
 */
#include "log/block_int.h"
#include "log/load_int.h"
#include "log/recover_int.h"
#include "log/small_int.h"
#include "log/view_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PROGRESS_US 100000
#define LISTS_MAX 4 /* of a directory whose files are being merged */

typedef struct verifier {
    rf_io *io;
    const char *dir;
    void (*problem)(void *arg, const char *line);
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
    rf_verify_report *report;
    uint8_t secret[RF_KEY_BYTES];
    uint64_t bytes_total;
    int64_t told_us;
} verifier;

static void say(verifier *v, const char *fmt, ...) RF_PRINTF(2, 3);
static void say(verifier *v, const char *fmt, ...)
{
    char line[RF_ERR_TEXT_MAX + 200];
    va_list args;
    v->report->problems++;
    if (v->problem == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    v->problem(v->arg, line);
}

static void tell_progress(verifier *v, bool last)
{
    int64_t now = rf_mono_us();
    if (v->progress == NULL || (!last && now - v->told_us < PROGRESS_US))
        return;
    v->told_us = now;
    v->progress(v->arg, v->report->bytes, v->bytes_total);
}

/* ---- a partition
 * ------------------------------------------------------------------------------------------ */

/* What is carried from segment to segment. */
typedef struct chain {
    verifier *v;
    const char *domain;
    uint32_t partition;
    char *dir;
    rfi_files files;
    uint64_t next_offset, next_sequence;
    uint8_t prev_hash[RF_SHA256_BYTES];
    bool broken;       /* after damage the next segment cannot be compared with this one */
    rfi_index **older; /* key files of what was checked, to find ids that are stored twice */
    size_t older_count;
    rfi_mem *last_revisions; /* a stream's events so far, without their ids: NULL with no memory */
} chain;

static void check_segment_index(chain *c, const rfi_scan *s, const rfi_mem *m)
{
    rf_err err = {0};
    rfi_index *x = NULL;
    char *path = rfi_segment_path(c->dir, s->head.base_offset, "idx");
    rf_status st = rfi_index_open(c->v->io, path, RFI_INDEX_SEGMENT, &x, &err);
    if (st == RF_OK) {
        const rfi_index_header *h = rfi_index_head(x);
        bool same = rfi_index_check_all(x) && h->segment_id == s->head.segment_id &&
                    h->end_offset == s->next_offset && h->segment_bytes == s->at &&
                    memcmp(h->last_hash, s->prev_hash, sizeof h->last_hash) == 0 &&
                    rfi_blocks_count(x) == m->blocks_count;
        for (uint32_t i = 0; same && i < m->blocks_count; i++) {
            rfi_block_entry e = {0};
            const rfi_block_entry *b = &m->blocks[i];
            same = rfi_blocks_get(x, i, &e) && e.at == b->at && e.base_offset == b->base_offset &&
                   e.count == b->count && e.bytes == b->bytes && e.recorded_us == b->recorded_us &&
                   e.time_min_us == b->time_min_us && e.time_max_us == b->time_max_us;
        }
        if (!same)
            say(c->v, "%s does not agree with its segment", path);
    } else if (st != RF_ENOTFOUND) { /* missing ones are made at the next open */
        say(c->v, "%s", err.text);
    }
    rfi_index_release(&x);
    free(path);
}

/* Every id and stream of the segment is in the key file that covers it, with the same offset. */
static bool keys_agree(rfi_index *x, const rfi_mem *m)
{
    for (uint32_t slot = 0; slot <= m->ids_mask; slot++) {
        const rfi_id_slot *s = &m->ids[slot];
        rfi_id_hit hit;
        if (s->number == 0)
            continue;
        if (rfi_keys_find_id(x, (rfi_id_key){s->a, s->b}, &hit) != RFI_FOUND ||
            hit.offset != m->base_offset + s->number - 1 || hit.content48 != s->content48)
            return false;
    }
    for (uint32_t n = 0; n < m->events; n++) {
        const rfi_mem_stream *s = &m->streams[m->stream_of[n]];
        uint64_t revision = 0;
        if (rfi_keys_revision(x, s->key, m->base_offset + n, &revision) != RFI_FOUND ||
            revision != s->first_revision + m->nth[n])
            return false;
    }
    return true;
}

static rfi_index *known(const chain *c, const char *path)
{
    for (size_t i = 0; i < c->older_count; i++) {
        if (strcmp(rfi_index_path(c->older[i]), path) == 0)
            return c->older[i];
    }
    return NULL;
}

static void keep_older(chain *c, rfi_index *x)
{
    if (known(c, rfi_index_path(x)) != NULL)
        return;
    rfi_index_retain(x);
    c->older = rf_xrealloc(c->older, (c->older_count + 1) * sizeof *c->older);
    c->older[c->older_count++] = x;
}

static void check_ids_once(chain *c, const rfi_mem *m)
{
    for (uint32_t slot = 0; slot <= m->ids_mask; slot++) {
        const rfi_id_slot *s = &m->ids[slot];
        rfi_id_hit hit;
        for (size_t i = 0; s->number != 0 && i < c->older_count; i++) {
            if (rfi_keys_find_id(c->older[i], (rfi_id_key){s->a, s->b}, &hit) == RFI_FOUND &&
                hit.offset < m->base_offset)
                say(c->v, "%s/%u: the id at offset %" PRIu64 " is stored again at offset %" PRIu64,
                    c->domain, c->partition, hit.offset, m->base_offset + s->number - 1);
        }
    }
}

/* Its pages are checked once, however many segments it covers. */
static rf_status open_keys(chain *c, const char *path, rfi_index **out, rf_err *err)
{
    *out = known(c, path);
    if (*out != NULL) {
        rfi_index_retain(*out);
        return RF_OK;
    }
    rf_status st = rfi_index_open(c->v->io, path, RFI_INDEX_KEYS, out, err);
    if (st == RF_OK && !rfi_index_check_all(*out)) {
        rfi_index_release(out);
        st = rf_err_set(err, RF_ECORRUPT, "%s: page checksum differs", path);
    }
    return st;
}

/* False: the file is gone; a running writer has merged it into another. */
static bool check_key_file(chain *c, const struct rfi_key_file *f, const rfi_mem *m)
{
    rf_err err = {0};
    rfi_index *x = NULL;
    char *path = rfi_keys_path(c->dir, f->base, f->end);
    rf_status st = open_keys(c, path, &x, &err);
    if (st != RF_OK && st != RF_ENOTFOUND)
        say(c->v, "%s", err.text);
    else if (st == RF_OK && (rfi_index_head(x)->key_check != rfi_key_check(c->v->secret) ||
                             rfi_index_head(x)->section_bytes[RFI_KEYS_IDS] !=
                                 (f->end - f->base) * RFI_ID_ENTRY_BYTES ||
                             !keys_agree(x, m)))
        say(c->v, "%s does not agree with the segment at offset %" PRIu64, path, m->base_offset);
    else if (st == RF_OK)
        keep_older(c, x);
    rfi_index_release(&x);
    free(path);
    return st != RF_ENOTFOUND;
}

/* Which key files are there now? */
static void list_keys_again(chain *c)
{
    rfi_files now;
    rf_err ignored = {0}; /* then the old list has to do */
    if (rfi_files_list(c->v->io, c->dir, &now, &ignored) != RF_OK)
        return;
    struct rfi_key_file *stale = c->files.keys;
    c->files.keys = now.keys;
    c->files.keys_count = now.keys_count;
    c->files.keys_cap = now.keys_cap;
    now.keys = stale;
    rfi_files_clear(&now);
}

static void check_keys(chain *c, const rfi_mem *m, uint64_t end)
{
    unsigned lists = 1;
    for (size_t i = 0; m->events > 0 && i < c->files.keys_count; i++) {
        const struct rfi_key_file *f = &c->files.keys[i];
        if (f->base > m->base_offset || f->end < end || check_key_file(c, f, m))
            continue;
        if (lists++ == LISTS_MAX)
            return;
        list_keys_again(c);
        i = SIZE_MAX; /* from the first */
    }
}

static void check_revisions(chain *c, const rfi_mem *m)
{
    rfi_mem *seen = c->last_revisions;
    for (uint32_t i = 0; seen != NULL && i < m->streams_count; i++) {
        const rfi_mem_stream *s = &m->streams[i];
        uint32_t known = rfi_mem_find_stream(seen, s->key);
        uint64_t expected = known == UINT32_MAX ? 0 : seen->streams[known].first_revision;
        if (s->first_revision != expected)
            say(c->v,
                "%s/%u %020" PRIu64 ".seg: a stream goes on with revision %" PRIu64
                " where %" PRIu64 " is next",
                c->domain, c->partition, m->base_offset, s->first_revision, expected);
        if (!rfi_mem_note_stream(seen, s->key, s->first_revision + s->count))
            c->last_revisions = NULL;
    }
}

/* Replays the segment; also compares payload hashes, which recovery leaves out. */
static rf_status replay(chain *c, rfi_scan *s, rfi_mem *m, rf_err *err)
{
    rf_status st = rfi_load(s, c->v->secret, m, err);
    if (st == RF_ECORRUPT) {
        say(c->v, "%s/%u %020" PRIu64 ".seg: %s", c->domain, c->partition, s->head.base_offset,
            err->text);
        c->broken = true;
        st = RF_OK;
    }
    return st;
}

static void check_payload_hashes(chain *c, rf_file *file, const rfi_mem *m)
{
    rf_buf block;
    rf_buf_init(&block, SIZE_MAX);
    for (uint32_t i = 0; i < m->blocks_count; i++) {
        const rfi_block_entry *b = &m->blocks[i];
        rfi_block_header h;
        rf_err err = {0};
        size_t got = 0;
        uint8_t hash[RF_SHA256_BYTES];
        rf_buf_reset(&block);
        if (!rf_buf_reserve(&block, b->bytes) ||
            c->v->io->pread(c->v->io, file, block.p, b->bytes, b->at, &got, &err) != RF_OK ||
            got < b->bytes || rfi_block_header_decode((const uint8_t *)block.p, &h) != NULL) {
            say(c->v, "%s/%u %020" PRIu64 ".seg: block at byte %" PRIu64 " cannot be read again",
                c->domain, c->partition, m->base_offset, b->at);
            continue;
        }
        rf_str payload = {block.p + RFI_BLOCK_HEADER_BYTES, b->bytes - RFI_BLOCK_HEADER_BYTES};
        rf_sha256(&payload, 1, hash);
        if (memcmp(hash, h.payload_hash, sizeof hash) != 0)
            say(c->v,
                "%s/%u %020" PRIu64 ".seg: block at byte %" PRIu64 " (offsets %" PRIu64 "..%" PRIu64
                "): payload hash differs",
                c->domain, c->partition, m->base_offset, b->at, b->base_offset,
                b->base_offset + b->count - 1);
        tell_progress(c->v, false);
    }
    rf_buf_clear(&block);
}

static void check_end(chain *c, rfi_scan *s, size_t i)
{
    rf_err err = {0};
    rfi_tail_kind tail = {0};
    if (c->broken)
        return;
    if (i + 1 < c->files.segments_count) {
        if (s->next_offset != c->files.segments[i + 1])
            say(c->v,
                "%s/%u %020" PRIu64 ".seg: block at byte %" PRIu64 " (offsets %" PRIu64 "..%" PRIu64
                "): %s",
                c->domain, c->partition, s->head.base_offset, s->at, s->next_offset,
                c->files.segments[i + 1] - 1, s->why);
        c->broken = s->next_offset != c->files.segments[i + 1];
        return;
    }
    if (rfi_scan_judge(s, &tail, &err) != RF_OK)
        say(c->v, "%s/%u %020" PRIu64 ".seg: %s", c->domain, c->partition, s->head.base_offset,
            err.text);
    c->v->report->torn += tail.torn;
}

static rf_status check_opened(chain *c, rfi_scan *s, rf_file *file, size_t i, rf_err *err)
{
    const rfi_segment_header *h = &s->head;
    if (h->base_offset != c->files.segments[i] || h->partition != c->partition ||
        strcmp(h->domain, c->domain) != 0)
        say(c->v, "%s/%u %020" PRIu64 ".seg: header is of %s/%u at offset %" PRIu64, c->domain,
            c->partition, c->files.segments[i], h->domain, h->partition, h->base_offset);
    else if (!c->broken &&
             (h->base_offset != c->next_offset || h->base_sequence != c->next_sequence ||
              memcmp(h->prev_hash, c->prev_hash, sizeof c->prev_hash) != 0))
        say(c->v, "%s/%u %020" PRIu64 ".seg does not continue what lies before it", c->domain,
            c->partition, h->base_offset);
    c->broken = false;
    rfi_mem *m = rfi_mem_new(h->base_offset);
    if (m == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory to replay a segment");
    rf_status st = replay(c, s, m, err);
    if (st == RF_OK) {
        check_end(c, s, i);
        check_payload_hashes(c, file, m);
        check_revisions(c, m);
        check_segment_index(c, s, m);
        check_ids_once(c, m);
        if (!c->broken && i + 1 < c->files.segments_count)
            check_keys(c, m, c->files.segments[i + 1]);
        else if (!c->broken)
            check_keys(c, m, s->next_offset);
        c->v->report->blocks += m->blocks_count;
        c->v->report->events += m->events;
        c->next_offset = s->next_offset;
        c->next_sequence = s->next_sequence;
        memcpy(c->prev_hash, s->prev_hash, sizeof c->prev_hash);
    }
    rfi_mem_release(&m);
    return st;
}

static rf_status check_segment(chain *c, size_t i, rf_err *err)
{
    rf_io *io = c->v->io;
    rf_file *file = NULL;
    rfi_scan s;
    char *path = rfi_segment_path(c->dir, c->files.segments[i], "seg");
    rf_status st = io->open(io, path, RF_IO_READ, &file, err);
    free(path);
    if (st != RF_OK)
        return st;
    st = rfi_scan_open(&s, io, file, err);
    if (st == RF_OK) {
        c->v->report->bytes += s.file_bytes;
        st = check_opened(c, &s, file, i, err);
        rfi_scan_clear(&s);
    } else if (st == RF_ECORRUPT || st == RF_EUNSUPPORTED) {
        say(c->v, "%s/%u %020" PRIu64 ".seg: %s", c->domain, c->partition, c->files.segments[i],
            err->text);
        c->broken = true;
        st = RF_OK;
    }
    c->v->report->segments++;
    io->close(io, &file);
    tell_progress(c->v, false);
    return st;
}

static rf_status check_partition(verifier *v, const char *domain, uint32_t partition, rf_err *err)
{
    chain c = {
        .v = v, .domain = domain, .partition = partition, .next_sequence = RFI_SEQUENCE_FIRST};
    int n = asprintf(&c.dir, "%s/%s/%u", v->dir, domain, partition);
    RF_ASSERT(n > 0);
    rfi_mem *revisions = c.last_revisions = rfi_mem_new(0);
    rf_status st = rfi_files_list(v->io, c.dir, &c.files, err);
    if (st == RF_ENOTFOUND) {
        say(v, "%s is missing", c.dir);
        st = RF_OK;
    }
    for (size_t i = 0; st == RF_OK && i < c.files.segments_count; i++)
        st = check_segment(&c, i, err);
    v->report->partitions++;
    rfi_files_clear(&c.files);
    rfi_mem_release(&revisions);
    for (size_t i = 0; i < c.older_count; i++)
        rfi_index_release(&c.older[i]);
    free(c.older);
    free(c.dir);
    return st;
}

/* ---- all of it
 * --------------------------------------------------------------------------------------------------
 */

static rf_status check_domain(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                              rf_err *err)
{
    rf_status st = RF_OK;
    if (bad > 0)
        say(arg, "%s/domain: one of its two copies is damaged", domain);
    for (uint32_t i = 0; st == RF_OK && i < partitions; i++)
        st = check_partition(arg, domain, i, err);
    return st;
}

static rf_status count_bytes(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                             rf_err *err)
{
    verifier *v = arg;
    for (uint32_t i = 0; i < partitions; i++) {
        rfi_files files;
        rf_err ignored = {0};
        char *dir = NULL;
        int n = asprintf(&dir, "%s/%s/%u", v->dir, domain, i);
        RF_ASSERT(n > 0);
        if (rfi_files_list(v->io, dir, &files, &ignored) == RF_OK) {
            for (size_t k = 0; k < files.segments_count; k++) {
                rf_file *file = NULL;
                uint64_t size = 0;
                char *path = rfi_segment_path(dir, files.segments[k], "seg");
                if (v->io->open(v->io, path, RF_IO_READ, &file, &ignored) == RF_OK &&
                    v->io->size(v->io, file, &size, &ignored) == RF_OK)
                    v->bytes_total += size;
                v->io->close(v->io, &file);
                free(path);
            }
            rfi_files_clear(&files);
        }
        free(dir);
    }
    (void)bad;
    (void)err;
    return RF_OK;
}

rf_status rf_log_verify(rf_io *io, const char *dir, void (*problem)(void *arg, const char *line),
                        void (*progress)(void *arg, uint64_t bytes_done, uint64_t bytes_total),
                        void *arg, rf_verify_report *report, rf_err *err)
{
    verifier v = {.io = io != NULL ? io : rf_io_posix(),
                  .dir = dir,
                  .problem = problem,
                  .progress = progress,
                  .arg = arg,
                  .report = report};
    *report = (rf_verify_report){0};
    unsigned bad = 0;
    rf_status st = rfi_meta_secret(v.io, dir, v.secret, &bad, err);
    if (st == RF_ECORRUPT || st == RF_ENOTFOUND || st == RF_EUNSUPPORTED) {
        say(&v, "%s", err->text);
        return RF_OK; /* without the secret nothing can be compared */
    }
    if (st == RF_OK && bad > 0)
        say(&v, "%s/meta: one of its two copies is damaged", dir);
    if (st == RF_OK)
        st = rfi_domains_list(v.io, dir, count_bytes, &v, err);
    if (st == RF_OK)
        st = rfi_domains_list(v.io, dir, check_domain, &v, err);
    if (st == RF_ECORRUPT || st == RF_EUNSUPPORTED) { /* a domain file */
        say(&v, "%s", err->text);
        st = RF_OK;
    }
    tell_progress(&v, true);
    return st;
}
