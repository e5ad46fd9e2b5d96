/*
 * The container of index files: header page, sections at page starts, a table of page checksums.
 * I1  A file under its final name is whole: it was synced before the rename.
 * I2  No byte of a section is believed before the checksum of its page was compared once by this
 *     process; `checked` has a bit a page.
 */
#include "log/bugs_int.h"
#include "log/index_int.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static const char MAGIC[8] = "RFLOGIDX";
#define OUT_BUFFER_BYTES (1u << 20)
_Static_assert(OUT_BUFFER_BYTES % RFI_PAGE_BYTES == 0, "pages never straddle a flush");

enum {
    H_VERSION = 8,
    H_FEATURES = 12,
    H_KIND = 16,
    H_PARTITION = 20,
    H_BASE = 24,
    H_END = 32,
    H_KEY_CHECK = 40,
    H_SEGMENT_ID = 48,
    H_SEGMENT_BYTES = 56,
    H_NEXT_SEQUENCE = 64,
    H_RECORDED = 72,
    H_PAGES = 80,     /* of the file but the checksum table */
    H_TABLE_CRC = 88, /* of the checksum table */
    H_DOMAIN = 96,
    H_LAST_HASH = 160,
    H_SECTIONS = 192, /* RFI_SECTIONS_MAX times: at, bytes */
    H_CRC = RFI_PAGE_BYTES - 4
};

/* ---- writing
 * -------------------------------------------------------------------------------------- */

struct rfi_index_out {
    rf_io *io;
    rf_file *file;
    char *path, *temporary;
    uint8_t *buffer;
    size_t used;
    uint64_t at; /* in the file, of the buffer's first byte */
    int section; /* -1: none yet */
    uint64_t section_at[RFI_SECTIONS_MAX], section_bytes[RFI_SECTIONS_MAX];
    rf_buf crcs; /* a u32 a page from page 1 on */
    rf_status status;
    rf_err err;
};

void rfi_index_out_abort(rfi_index_out **out)
{
    rfi_index_out *o = *out;
    if (o == NULL)
        return;
    if (o->file != NULL) {
        rf_err ignored = {0};
        o->io->close(o->io, &o->file);
        (void)o->io->unlink(o->io, o->temporary, &ignored);
    }
    rf_buf_clear(&o->crcs);
    free(o->path);
    free(o->temporary);
    free(o->buffer);
    free(o);
    *out = NULL;
}

rf_status rfi_index_out_open(rf_io *io, const char *path, rfi_index_out **out, rf_err *err)
{
    rfi_index_out *o = calloc(1, sizeof *o);
    *out = NULL;
    if (o == NULL)
        return rf_err_set(err, RF_ENOMEM, "writing %s: out of memory", path);
    o->io = io;
    o->section = -1;
    o->at = RFI_PAGE_BYTES;
    rf_buf_init(&o->crcs, SIZE_MAX);
    o->buffer = malloc(OUT_BUFFER_BYTES);
    o->path = strdup(path);
    if (o->buffer == NULL || o->path == NULL || asprintf(&o->temporary, "%s.tmp", path) < 0) {
        o->temporary = NULL;
        rfi_index_out_abort(&o);
        return rf_err_set(err, RF_ENOMEM, "writing %s: out of memory", path);
    }
    rf_status st =
        io->open(io, o->temporary, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &o->file, err);
    if (st == RF_OK)
        st = io->truncate(io, o->file, 0, err);
    if (st != RF_OK)
        rfi_index_out_abort(&o);
    *out = o;
    return st;
}

static void flush_pages(rfi_index_out *o)
{
    for (size_t page = 0; page < o->used && o->status == RF_OK; page += RFI_PAGE_BYTES) {
        uint8_t crc[4];
        rfi_put32(crc, rf_crc32c(0, o->buffer + page, RFI_PAGE_BYTES));
        rf_buf_add(&o->crcs, crc, sizeof crc);
    }
    if (o->status == RF_OK && o->used > 0)
        o->status = o->io->pwrite(o->io, o->file, o->buffer, o->used, o->at, &o->err);
    o->at += o->used;
    o->used = 0;
}

void rfi_index_out_add(rfi_index_out *o, const void *p, size_t n)
{
    const uint8_t *in = p;
    while (n > 0) {
        size_t step = RF_MIN(n, OUT_BUFFER_BYTES - o->used);
        memcpy(o->buffer + o->used, in, step);
        o->used += step;
        o->section_bytes[o->section] += step;
        in += step;
        n -= step;
        if (o->used == OUT_BUFFER_BYTES)
            flush_pages(o);
    }
}

void rfi_index_out_sync(rfi_index_out *o)
{
    if (o->status == RF_OK)
        o->status = o->io->sync(o->io, o->file, &o->err);
}

static void pad_page(rfi_index_out *o)
{
    size_t to = (size_t)rfi_round_up(o->used, RFI_PAGE_BYTES);
    memset(o->buffer + o->used, 0, to - o->used);
    o->used = to;
    if (o->used == OUT_BUFFER_BYTES)
        flush_pages(o);
}

void rfi_index_out_section(rfi_index_out *o, int section)
{
    RF_ASSERT(section > o->section && section < RFI_SECTIONS_MAX);
    pad_page(o);
    o->section = section;
    o->section_at[section] = o->at + o->used;
}

static void header_encode(const rfi_index_header *h, uint64_t pages, uint32_t table_crc,
                          uint8_t out[static RFI_PAGE_BYTES])
{
    memset(out, 0, RFI_PAGE_BYTES);
    memcpy(out, MAGIC, sizeof MAGIC);
    rfi_put32(out + H_VERSION, RFI_FORMAT_VERSION);
    rfi_put32(out + H_KIND, (uint32_t)h->kind);
    rfi_put32(out + H_PARTITION, h->partition);
    rfi_put64(out + H_BASE, h->base_offset);
    rfi_put64(out + H_END, h->end_offset);
    rfi_put64(out + H_KEY_CHECK, h->key_check);
    rfi_put64(out + H_SEGMENT_ID, h->segment_id);
    rfi_put64(out + H_SEGMENT_BYTES, h->segment_bytes);
    rfi_put64(out + H_NEXT_SEQUENCE, h->next_sequence);
    rfi_put64(out + H_RECORDED, (uint64_t)h->recorded_us);
    rfi_put64(out + H_PAGES, pages);
    rfi_put32(out + H_TABLE_CRC, table_crc);
    memcpy(out + H_DOMAIN, h->domain, strnlen(h->domain, RF_DOMAIN_MAX));
    memcpy(out + H_LAST_HASH, h->last_hash, RF_SHA256_BYTES);
    for (int i = 0; i < RFI_SECTIONS_MAX; i++) {
        rfi_put64(out + H_SECTIONS + 16 * i, h->section_at[i]);
        rfi_put64(out + H_SECTIONS + 16 * i + 8, h->section_bytes[i]);
    }
    rfi_put32(out + H_CRC, rf_crc32c(0, out, H_CRC));
}

rf_status rfi_index_out_finish(rfi_index_out **out, rfi_index_header *h, rf_err *err)
{
    rfi_index_out *o = *out;
    uint8_t header[RFI_PAGE_BYTES];
    pad_page(o);
    flush_pages(o);
    if (o->status == RF_OK && o->crcs.failed)
        o->status = rf_err_set(&o->err, RF_ENOMEM, "out of memory");
    memcpy(h->section_at, o->section_at, sizeof h->section_at);
    memcpy(h->section_bytes, o->section_bytes, sizeof h->section_bytes);
    header_encode(h, o->at / RFI_PAGE_BYTES, rf_crc32c(0, o->crcs.p, o->crcs.n), header);
    if (o->status == RF_OK && o->crcs.n > 0)
        o->status = o->io->pwrite(o->io, o->file, o->crcs.p, o->crcs.n, o->at, &o->err);
    if (o->status == RF_OK)
        o->status = o->io->pwrite(o->io, o->file, header, sizeof header, 0, &o->err);
    if (o->status == RF_OK)
        o->status = o->io->sync(o->io, o->file, &o->err);
    if (o->status == RF_OK)
        o->status = o->io->rename(o->io, o->temporary, o->path, &o->err);
    rf_status st = o->status;
    if (st == RF_OK) {
        o->io->close(o->io, &o->file); /* so that abort does not unlink */
    } else {
        *err = o->err;
        rf_err_note(err, "writing index %s", o->path);
    }
    rfi_index_out_abort(out);
    return st;
}

/* ---- reading
 * ---------------------------------------------------------------------------------------- */

struct rfi_index {
    _Atomic uint32_t refs;
    rf_io *io;
    rfi_index_header head;
    char *path;
    const uint8_t *map;
    uint64_t bytes, pages;
    _Atomic uint64_t *checked; /* a bit a page; page 0 is checked at open */
};

static rf_status header_decode(const uint8_t *in, rfi_index_header *h, uint64_t *pages,
                               uint32_t *table_crc, rf_err *err)
{
    if (memcmp(in, MAGIC, sizeof MAGIC) != 0 || rfi_get32(in + H_CRC) != rf_crc32c(0, in, H_CRC))
        return rf_err_set(err, RF_ECORRUPT, "index header is damaged");
    if (rfi_get32(in + H_VERSION) != RFI_FORMAT_VERSION || rfi_get32(in + H_FEATURES) != 0)
        return rf_err_set(err, RF_EUNSUPPORTED, "index of version %u; this refold reads %u",
                          rfi_get32(in + H_VERSION), RFI_FORMAT_VERSION);
    *h = (rfi_index_header){
        .kind = rfi_get32(in + H_KIND),
        .partition = rfi_get32(in + H_PARTITION),
        .base_offset = rfi_get64(in + H_BASE),
        .end_offset = rfi_get64(in + H_END),
        .key_check = rfi_get64(in + H_KEY_CHECK),
        .segment_id = rfi_get64(in + H_SEGMENT_ID),
        .segment_bytes = rfi_get64(in + H_SEGMENT_BYTES),
        .next_sequence = rfi_get64(in + H_NEXT_SEQUENCE),
        .recorded_us = (int64_t)rfi_get64(in + H_RECORDED),
    };
    memcpy(h->domain, in + H_DOMAIN, RF_DOMAIN_MAX);
    memcpy(h->last_hash, in + H_LAST_HASH, RF_SHA256_BYTES);
    *pages = rfi_get64(in + H_PAGES);
    *table_crc = rfi_get32(in + H_TABLE_CRC);
    for (int i = 0; i < RFI_SECTIONS_MAX; i++) {
        h->section_at[i] = rfi_get64(in + H_SECTIONS + 16 * i);
        h->section_bytes[i] = rfi_get64(in + H_SECTIONS + 16 * i + 8);
    }
    return RF_OK;
}

static bool layout_is_sound(const rfi_index *x)
{
    uint64_t end = x->pages * RFI_PAGE_BYTES;
    if (x->pages == 0 || x->pages > x->bytes / RFI_PAGE_BYTES ||
        x->bytes != end + 4 * (x->pages - 1) || x->head.end_offset < x->head.base_offset)
        return false;
    for (int i = 0; i < RFI_SECTIONS_MAX; i++) {
        uint64_t at = x->head.section_at[i], n = x->head.section_bytes[i];
        if (n > 0 && (at % RFI_PAGE_BYTES != 0 || at < RFI_PAGE_BYTES || at > end || n > end - at))
            return false;
    }
    return true;
}

static rf_status open_mapped(rfi_index *x, rf_file *file, rfi_index_kind kind, rf_err *err)
{
    uint32_t table_crc = 0;
    const void *map = NULL;
    rf_status st = x->io->size(x->io, file, &x->bytes, err);
    if (st == RF_OK && x->bytes < RFI_PAGE_BYTES)
        return rf_err_set(err, RF_ECORRUPT, "index is shorter than its header");
    if (st == RF_OK)
        st = x->io->map(x->io, file, x->bytes, &map, err);
    if (st != RF_OK)
        return st;
    x->map = map;
    st = header_decode(x->map, &x->head, &x->pages, &table_crc, err);
    if (st != RF_OK)
        return st;
    if (x->head.kind != kind || !layout_is_sound(x) ||
        table_crc != rf_crc32c(0, x->map + x->pages * RFI_PAGE_BYTES, 4 * (x->pages - 1)))
        return rf_err_set(err, RF_ECORRUPT, "index layout is damaged");
    x->checked = calloc(x->pages / 64 + 1, sizeof *x->checked);
    return x->checked != NULL ? RF_OK : rf_err_set(err, RF_ENOMEM, "out of memory");
}

rf_status rfi_index_open(rf_io *io, const char *path, rfi_index_kind kind, rfi_index **out,
                         rf_err *err)
{
    rf_file *file = NULL;
    *out = NULL;
    rf_status st = io->open(io, path, RF_IO_READ, &file, err);
    if (st != RF_OK)
        return st;
    rfi_index *x = calloc(1, sizeof *x);
    if (x == NULL || (x->path = strdup(path)) == NULL) {
        free(x);
        io->close(io, &file);
        return rf_err_set(err, RF_ENOMEM, "opening %s: out of memory", path);
    }
    x->refs = 1;
    x->io = io;
    st = open_mapped(x, file, kind, err);
    io->close(io, &file);
    if (st != RF_OK) {
        rf_err_note(err, "%s", path);
        rfi_index_release(&x);
    }
    *out = x;
    return st;
}

void rfi_index_retain(rfi_index *x)
{
    atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
}

void rfi_index_release(rfi_index **x)
{
    rfi_index *gone = *x;
    *x = NULL;
    if (gone == NULL || atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (gone->map != NULL)
        gone->io->unmap(gone->io, gone->map, gone->bytes);
    free(gone->checked);
    free(gone->path);
    free(gone);
}

bool rfi_index_is_last(const rfi_index *x)
{
    return atomic_load_explicit(&x->refs, memory_order_acquire) == 1;
}

const rfi_index_header *rfi_index_head(const rfi_index *x)
{
    return &x->head;
}

uint64_t rfi_index_bytes(const rfi_index *x)
{
    return x->bytes;
}

const char *rfi_index_path(const rfi_index *x)
{
    return x->path;
}

static bool page_check(rfi_index *x, uint64_t page)
{
    const uint8_t *table = x->map + x->pages * RFI_PAGE_BYTES;
    if (rf_crc32c(0, x->map + page * RFI_PAGE_BYTES, RFI_PAGE_BYTES) !=
            rfi_get32(table + 4 * (page - 1)) &&
        !RFI_BUG(RFI_BUG_NO_PAGE_CHECK))
        return false;
    atomic_fetch_or_explicit(&x->checked[page / 64], UINT64_C(1) << page % 64,
                             memory_order_relaxed);
    return true;
}

const uint8_t *rfi_index_at(rfi_index *x, int section, uint64_t from, uint64_t n)
{
    uint64_t bytes = x->head.section_bytes[section];
    RF_ASSERT(from <= bytes && n <= bytes - from);
    uint64_t at = x->head.section_at[section] + from;
    for (uint64_t page = at / RFI_PAGE_BYTES; page * RFI_PAGE_BYTES < at + n; page++) {
        uint64_t word = atomic_load_explicit(&x->checked[page / 64], memory_order_relaxed);
        if ((word >> page % 64 & 1) == 0 && !page_check(x, page))
            return NULL;
    }
    return x->map + at;
}

bool rfi_index_check_all(rfi_index *x)
{
    for (uint64_t page = 1; page < x->pages; page++) {
        if (!page_check(x, page))
            return false;
    }
    return true;
}
