/*
 * Inclusion proofs. The event is looked for without a lock, as any reader must: in the key files,
 * and in the blocks that no key file covers. From its block on, the headers of all blocks are
 * collected; each is compared with the one before it, so that what is handed out does verify.
 */
#include "log/block_int.h"
#include "log/index_int.h"
#include "log/recover_int.h"
#include "log/view_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(RF_BLOCK_HEADER_BYTES == RFI_BLOCK_HEADER_BYTES, "log.h and README.md agree");

#define WINDOW_BYTES ((size_t)64 << 10)

typedef struct search {
    rf_io *io;
    rf_log_view *view;
    char *dir; /* of the partition */
    rf_str domain;
    uint32_t partition;
    uint64_t end;
    rf_str source, id;
    rfi_id_key key;
    uint64_t key_check;
    rf_block *block; /* of the event, once found */
    rf_block_ref ref;
    uint32_t index;
} search;

/* ---- finding the event
 * ------------------------------------------------------------------------------------------ */

static bool is_it(search *s, uint32_t i)
{
    rf_event e;
    rfi_block_event(s->block, i, &e);
    return rf_str_eq(e.id, s->id) && rf_str_eq(e.source, s->source);
}

/* RF_ENOTFOUND: another event stands there, which a key of 96 bits does not rule out. */
static rf_status load_at(search *s, uint64_t offset, rf_err *err)
{
    rf_block_ref *refs = NULL;
    size_t count = 0;
    rf_status st = rf_log_view_blocks(s->view, s->domain, s->partition, offset, offset + 1, &refs,
                                      &count, err);
    if (st == RF_OK)
        st = rf_block_load(s->view, s->domain, s->partition, &refs[0], s->block, err);
    if (st == RF_OK) {
        s->ref = refs[0];
        s->index = (uint32_t)(offset - refs[0].base_offset);
        st = is_it(s, s->index) ? RF_OK : RF_ENOTFOUND;
    }
    free(refs);
    return st;
}

/* All blocks of [from, to). */
static rf_status look_through(search *s, uint64_t from, uint64_t to, rf_err *err)
{
    rf_block_ref *refs = NULL;
    size_t count = 0;
    rf_status st =
        rf_log_view_blocks(s->view, s->domain, s->partition, from, to, &refs, &count, err);
    bool found = false;
    for (size_t i = 0; st == RF_OK && !found && i < count; i++) {
        st = rf_block_load(s->view, s->domain, s->partition, &refs[i], s->block, err);
        for (uint32_t k = 0; st == RF_OK && !found && k < refs[i].count; k++) {
            found = is_it(s, k);
            s->ref = refs[i];
            s->index = k;
        }
    }
    free(refs);
    return st == RF_OK && !found ? RF_ENOTFOUND : st;
}

/* RF_OK, RF_ENOTFOUND (it is not there), or RF_ECORRUPT: the file is not to be believed. */
static rf_status ask_keys(search *s, const struct rfi_key_file *f, rf_err *err)
{
    rf_err ignored = {0};
    rfi_index *x = NULL;
    rfi_id_hit hit;
    char *path = rfi_keys_path(s->dir, f->base, f->end);
    rfi_found found = RFI_DAMAGED;
    if (rfi_index_open(s->io, path, RFI_INDEX_KEYS, &x, &ignored) == RF_OK &&
        rfi_index_head(x)->key_check == s->key_check && rfi_index_head(x)->base_offset == f->base &&
        rfi_index_head(x)->end_offset == f->end)
        found = rfi_keys_find_id(x, s->key, &hit);
    rfi_index_release(&x);
    free(path);
    if (found == RFI_DAMAGED)
        return RF_ECORRUPT;
    if (found == RFI_ABSENT || hit.offset >= s->end)
        return RF_ENOTFOUND;
    return load_at(s, hit.offset, err);
}

static rf_status look_in_partition(search *s, rf_err *err)
{
    rfi_files files;
    rf_status st = rfi_files_list(s->io, s->dir, &files, err);
    if (st != RF_OK)
        return st;
    uint64_t covered = 0;
    st = RF_ENOTFOUND;
    for (size_t i = 0; st == RF_ENOTFOUND && i < files.keys_count; i++) {
        const struct rfi_key_file *f = &files.keys[i];
        if (f->end <= covered || f->base > s->end)
            continue;
        if (f->base > covered)
            st = look_through(s, covered, f->base, err);
        covered = RF_MAX(covered, f->base);
        rf_status asked = st == RF_ENOTFOUND ? ask_keys(s, f, err) : st;
        if (asked == RF_ECORRUPT && err->status == RF_OK)
            continue; /* the blocks themselves answer */
        st = asked;
        covered = f->end;
    }
    if (st == RF_ENOTFOUND && covered < s->end)
        st = look_through(s, covered, s->end, err);
    rfi_files_clear(&files);
    return st;
}

/* ---- walking to the head
 * ---------------------------------------------------------------------------------------- */

typedef struct walk {
    search *s;
    rf_file *file;
    uint64_t segment_id, epoch;
    uint64_t at, offset, sequence; /* of the next block */
    uint8_t prev[RF_SHA256_BYTES];
    uint8_t window[WINDOW_BYTES];
    uint64_t window_at;
    size_t window_n;
} walk;

static rf_status open_segment(walk *w, uint64_t base, rf_err *err)
{
    rf_io *io = w->s->io;
    rfi_segment_header head;
    uint8_t page[RFI_PAGE_BYTES];
    size_t got = 0;
    char *path = rfi_segment_path(w->s->dir, base, "seg");
    io->close(io, &w->file);
    w->window_n = 0;
    rf_status st = io->open(io, path, RF_IO_READ, &w->file, err);
    if (st == RF_OK)
        st = io->pread(io, w->file, page, sizeof page, 0, &got, err);
    if (st == RF_OK && got < sizeof page)
        st = rf_err_set(err, RF_ECORRUPT, "segment header is cut off");
    if (st == RF_OK)
        st = rfi_segment_header_decode(page, &head, err);
    if (st != RF_OK)
        rf_err_note(err, "%s", path);
    else
        w->segment_id = head.segment_id;
    free(path);
    return st;
}

/* The 168 bytes at w->at; NULL at the end of the file. */
static rf_status header_bytes(walk *w, const uint8_t **out, rf_err *err)
{
    *out = NULL;
    if (w->at < w->window_at || w->at + RFI_BLOCK_HEADER_BYTES > w->window_at + w->window_n) {
        w->window_at = w->at;
        rf_status st =
            w->s->io->pread(w->s->io, w->file, w->window, WINDOW_BYTES, w->at, &w->window_n, err);
        if (st != RF_OK)
            return st;
    }
    if (w->at + RFI_BLOCK_HEADER_BYTES <= w->window_at + w->window_n)
        *out = w->window + (w->at - w->window_at);
    return RF_OK;
}

static bool fits(const walk *w, const uint8_t *bytes, rfi_block_header *h)
{
    return bytes != NULL && rfi_block_header_decode(bytes, h) == NULL &&
           h->segment_id == w->segment_id && h->position == w->at && h->base_offset == w->offset &&
           h->sequence == w->sequence && memcmp(h->prev_hash, w->prev, sizeof w->prev) == 0;
}

static void step_over(walk *w, const uint8_t *bytes, const rfi_block_header *h)
{
    rfi_block_hash(bytes, w->prev);
    w->at += h->total_bytes;
    w->offset += h->count;
    w->sequence++;
}

/* Collects the headers behind the event's block until the head. */
static rf_status collect(walk *w, rf_log_proof *out, rf_err *err)
{
    bool fresh = false; /* the segment was just opened */
    while (w->offset < w->s->end) {
        const uint8_t *bytes = NULL;
        rfi_block_header h;
        rf_status st = header_bytes(w, &bytes, err);
        if (st != RF_OK)
            return st;
        if (fits(w, bytes, &h)) {
            rf_buf_add(&out->headers, bytes, RFI_BLOCK_HEADER_BYTES);
            if (out->headers.failed)
                return rf_err_set(err, RF_ENOMEM, "no memory for a proof of %zu bytes",
                                  out->headers.n);
            step_over(w, bytes, &h);
            fresh = false;
            continue;
        }
        if (fresh)
            return rf_err_set(err, RF_ECORRUPT,
                              "%s/%020" PRIu64 ".seg does not continue the chain of hashes",
                              w->s->dir, w->offset);
        st = open_segment(w, w->offset, err); /* the next one is named by where this one ends */
        if (st != RF_OK)
            return err->status == RF_ENOTFOUND
                       ? rf_err_set(err, RF_ECORRUPT,
                                    "%s: the chain of hashes ends at offset %" PRIu64
                                    ", but offsets up to %" PRIu64 " are durable",
                                    w->s->dir, w->offset, w->s->end - 1)
                       : st;
        w->at = RFI_PAGE_BYTES;
        fresh = true;
    }
    return RF_OK;
}

static void take_event(const search *s, rf_log_proof *out)
{
    rfi_frame f;
    rfi_block_frame(s->block, s->index, &f);
    out->offset = s->ref.base_offset + s->index;
    out->index = s->index;
    rf_buf_add(&out->frame, s->block->payload.raw + s->block->frames[s->index], f.bytes);
    rf_buf_add(&out->block, s->block->disk.p, s->block->head.total_bytes);
    out->source = rf_xstrndup(s->source);
    out->id = rf_xstrndup(s->id);
}

static rf_status build(search *s, rf_log_proof *out, rf_err *err)
{
    walk *w = rf_xcalloc(1, sizeof *w);
    rfi_block_header last = s->block->head;
    *w = (walk){.s = s, .at = s->ref.at, .offset = last.base_offset, .sequence = last.sequence};
    take_event(s, out);
    rf_status st = out->frame.failed || out->block.failed
                       ? rf_err_set(err, RF_ENOMEM, "no memory for a proof")
                       : open_segment(w, s->ref.segment_base, err);
    if (st == RF_OK) {
        step_over(w, (const uint8_t *)s->block->disk.p, &last);
        st = collect(w, out, err);
    }
    if (st == RF_OK && out->headers.n > 0) {
        const char *bytes = out->headers.p + out->headers.n - RFI_BLOCK_HEADER_BYTES;
        const char *why = rfi_block_header_decode((const uint8_t *)bytes, &last);
        RF_ASSERT(why == NULL);
    }
    if (st == RF_OK) {
        out->head = (rf_log_head){.partition = s->partition,
                                  .next = w->offset,
                                  .sequence = last.sequence,
                                  .recorded_us = last.recorded_us};
        memcpy(out->head.domain, s->domain.p, s->domain.n);
        memcpy(out->head.hash, w->prev, sizeof w->prev);
    }
    s->io->close(s->io, &w->file);
    free(w);
    return st;
}

/* ---- the public side
 * -------------------------------------------------------------------------------------------- */

static rf_status prove_in(search *s, const char *dir, const rf_position_part *part,
                          rf_log_proof *out, rf_err *err)
{
    s->domain = rf_str_from(part->domain);
    s->partition = part->partition;
    s->end = part->next;
    int n = asprintf(&s->dir, "%s/%s/%u", dir, part->domain, part->partition);
    RF_ASSERT(n > 0);
    rf_status st = look_in_partition(s, err);
    if (st == RF_OK)
        st = build(s, out, err);
    free(s->dir);
    s->dir = NULL;
    return st;
}

rf_status rf_log_prove(rf_io *io, const char *dir, rf_str domain, rf_str source, rf_str id,
                       rf_log_proof *out, rf_err *err)
{
    rf_position ends = {0};
    uint8_t secret[RF_KEY_BYTES];
    unsigned bad = 0;
    search s = {.io = io != NULL ? io : rf_io_posix(), .source = source, .id = id};
    *out = (rf_log_proof){0};
    rf_buf_init(&out->frame, SIZE_MAX);
    rf_buf_init(&out->block, SIZE_MAX);
    rf_buf_init(&out->headers, SIZE_MAX);
    rf_status st = rfi_meta_secret(s.io, dir, secret, &bad, err);
    if (st == RF_OK)
        st = rf_log_view_open_beside(s.io, dir, &s.view, err);
    if (st != RF_OK)
        return st;
    s.key = rfi_id_key_of(secret, source, id);
    s.key_check = rfi_key_check(secret);
    s.block = rf_block_new();
    rf_log_view_position(s.view, &ends);
    st = RF_ENOTFOUND;
    for (size_t i = 0; st == RF_ENOTFOUND && i < ends.count; i++) {
        if (domain.n == 0 || rf_str_eq(rf_str_from(ends.parts[i].domain), domain))
            st = prove_in(&s, dir, &ends.parts[i], out, err);
    }
    if (st == RF_ENOTFOUND)
        rf_err_set(err, RF_ENOTFOUND, "no event with source '%.*s' and id '%.*s'",
                   RF_STR_ARG(source), RF_STR_ARG(id));
    rf_position_clear(&ends);
    rf_block_free(&s.block);
    rf_log_view_close(&s.view);
    return st;
}

void rf_log_proof_clear(rf_log_proof *proof)
{
    rf_buf_clear(&proof->frame);
    rf_buf_clear(&proof->block);
    rf_buf_clear(&proof->headers);
    free(proof->source);
    free(proof->id);
    *proof = (rf_log_proof){0};
}
