/*
 * Views. What is durable never changes and never moves, so a view needs no agreement with the
 * writer but the durable end, which is asked anew at each call. Sealed segments are found through
 * their index files; of the open one the block headers are walked once and kept.
 */
#include "log/block_int.h"
#include "log/index_int.h"
#include "log/recover_int.h"
#include "log/view_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FILES_OPEN_MAX 64u
#define WALK_BYTES ((size_t)16 << 10)

typedef struct view_segment {
    uint64_t base;
    rf_file *file; /* NULL: closed to spare descriptors */
    uint32_t users;
    uint64_t used; /* when, by view->clock */
    bool head_known;
    rfi_segment_header head;
    rfi_index *index; /* once it is sealed */
    /* What was walked, when there is no index. */
    rf_block_ref *refs;
    size_t refs_count, refs_cap;
    uint64_t walk_at, walk_offset, walk_sequence;
} view_segment;

typedef struct view_part {
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t partition;
    char *dir;
    view_segment **segments; /* by base */
    size_t count;
} view_part;

struct rf_log_view {
    rf_io *io;
    char *dir;
    rfi_ends ends;
    pthread_mutex_t mutex; /* guards the rest */
    view_part **parts;
    size_t parts_count;
    uint64_t clock;
    uint32_t files_open;
};

/* ---- opening
 * -------------------------------------------------------------------------------------------- */

rf_status rfi_view_open(rf_io *io, const char *dir, rfi_ends ends, rf_log_view **out, rf_err *err)
{
    (void)err;
    rf_log_view *v = rf_xcalloc(1, sizeof *v);
    v->io = io;
    v->dir = rf_xstrdup(dir);
    v->ends = ends;
    pthread_mutex_init(&v->mutex, NULL);
    *out = v;
    return RF_OK;
}

rf_status rf_log_view_open(const char *dir, const rf_log_view_options *options, rf_log_view **out,
                           rf_err *err)
{
    rf_io *io = options != NULL && options->io != NULL ? options->io : rf_io_posix();
    rfi_ends ends = {0};
    *out = NULL;
    rf_status st = options != NULL && options->follow ? rfi_ends_follow(dir, &ends, err)
                                                      : rfi_ends_offline(io, dir, &ends, err);
    return st != RF_OK ? st : rfi_view_open(io, dir, ends, out, err);
}

static void free_segment(rf_log_view *v, view_segment *s)
{
    RF_ASSERT(s->users == 0);
    v->io->close(v->io, &s->file);
    rfi_index_release(&s->index);
    free(s->refs);
    free(s);
}

void rf_log_view_close(rf_log_view **view)
{
    rf_log_view *v = *view;
    *view = NULL;
    if (v == NULL)
        return;
    for (size_t i = 0; i < v->parts_count; i++) {
        for (size_t n = 0; n < v->parts[i]->count; n++)
            free_segment(v, v->parts[i]->segments[n]);
        free(v->parts[i]->segments);
        free(v->parts[i]->dir);
        free(v->parts[i]);
    }
    free(v->parts);
    if (v->ends.free != NULL)
        v->ends.free(v->ends.arg);
    pthread_mutex_destroy(&v->mutex);
    free(v->dir);
    free(v);
}

/* ---- ends
 * -------------------------------------------------------------------------------------------------
 */

typedef struct wanted {
    rf_str domain;
    uint32_t partition;
    rf_position *position;
    uint64_t next;
    int64_t recorded_us;
} wanted;

static void to_position(void *to, rf_str domain, uint32_t partition, uint64_t next,
                        int64_t recorded_us)
{
    wanted *w = to;
    (void)recorded_us;
    if (w->domain.n == 0 || rf_str_eq(w->domain, domain))
        rf_position_raise(w->position, domain, partition, next);
}

static void to_one(void *to, rf_str domain, uint32_t partition, uint64_t next, int64_t recorded_us)
{
    wanted *w = to;
    if (partition != w->partition || !rf_str_eq(w->domain, domain))
        return;
    w->next = next;
    w->recorded_us = recorded_us;
}

static wanted ask(rf_log_view *v, rf_str domain, uint32_t partition)
{
    wanted w = {.domain = domain, .partition = partition, .recorded_us = RF_TIME_NONE};
    v->ends.each(v->ends.arg, to_one, &w);
    return w;
}

void rf_log_view_position(rf_log_view *view, rf_position *out)
{
    *out = (rf_position){0};
    wanted w = {.position = out};
    view->ends.each(view->ends.arg, to_position, &w);
}

uint64_t rf_log_view_end(rf_log_view *view, rf_str domain, uint32_t partition)
{
    return ask(view, domain, partition).next;
}

int64_t rf_log_view_recorded_us(rf_log_view *view, rf_str domain, uint32_t partition)
{
    return ask(view, domain, partition).recorded_us;
}

bool rf_log_view_wait(rf_log_view *view, uint32_t *seen, uint32_t timeout_ms)
{
    return view->ends.wait != NULL && view->ends.wait(view->ends.arg, seen, timeout_ms);
}

/* ---- segments (all under the mutex)
 * --------------------------------------------------------------------------- */

static view_part *part_of(rf_log_view *v, rf_str domain, uint32_t partition)
{
    for (size_t i = 0; i < v->parts_count; i++) {
        view_part *p = v->parts[i];
        if (p->partition == partition && rf_str_eq(rf_str_from(p->domain), domain))
            return p;
    }
    RF_ASSERT(domain.n <= RF_DOMAIN_MAX);
    view_part *p = rf_xcalloc(1, sizeof *p);
    memcpy(p->domain, domain.p, domain.n);
    p->partition = partition;
    int n = asprintf(&p->dir, "%s/%s/%u", v->dir, p->domain, partition);
    RF_ASSERT(n > 0);
    v->parts = rf_xrealloc(v->parts, (v->parts_count + 1) * sizeof(view_part *));
    v->parts[v->parts_count++] = p;
    return p;
}

/* Takes up segments that came to be since the last look. */
static rf_status refresh(rf_log_view *v, view_part *p, rf_err *err)
{
    rfi_files files;
    rf_status st = rfi_files_list(v->io, p->dir, &files, err);
    if (st != RF_OK)
        return st;
    size_t known = 0, count = 0;
    view_segment **all = rf_xcalloc(p->count + files.segments_count + 1, sizeof(view_segment *));
    for (size_t i = 0; i < files.segments_count; i++) {
        while (known < p->count && p->segments[known]->base < files.segments[i])
            all[count++] = p->segments[known++];
        if (known < p->count && p->segments[known]->base == files.segments[i])
            continue;
        all[count] = rf_xcalloc(1, sizeof(view_segment));
        all[count++]->base = files.segments[i];
    }
    while (known < p->count)
        all[count++] = p->segments[known++];
    free(p->segments);
    p->segments = all;
    p->count = count;
    rfi_files_clear(&files);
    return RF_OK;
}

/* Place of the last segment that begins at or before `offset`; SIZE_MAX: none. */
static size_t segment_at(const view_part *p, uint64_t offset)
{
    size_t lo = 0, hi = p->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->segments[mid]->base <= offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

static void close_least_used(rf_log_view *v)
{
    view_segment *least = NULL;
    for (size_t i = 0; i < v->parts_count; i++) {
        for (size_t n = 0; n < v->parts[i]->count; n++) {
            view_segment *s = v->parts[i]->segments[n];
            if (s->file != NULL && s->users == 0 && (least == NULL || s->used < least->used))
                least = s;
        }
    }
    if (least == NULL)
        return;
    v->io->close(v->io, &least->file);
    v->files_open--;
}

static rf_status open_file(rf_log_view *v, const view_part *p, view_segment *s, rf_err *err)
{
    s->used = ++v->clock;
    if (s->file != NULL)
        return RF_OK;
    if (v->files_open >= FILES_OPEN_MAX)
        close_least_used(v);
    char *path = rfi_segment_path(p->dir, s->base, "seg");
    rf_status st = v->io->open(v->io, path, RF_IO_READ, &s->file, err);
    if (st == RF_OK)
        v->files_open++;
    if (st == RF_OK && !s->head_known) {
        uint8_t page[RFI_PAGE_BYTES];
        size_t got = 0;
        st = v->io->pread(v->io, s->file, page, sizeof page, 0, &got, err);
        if (st == RF_OK && got < sizeof page)
            st = rf_err_set(err, RF_ECORRUPT, "segment header is cut off");
        if (st == RF_OK)
            st = rfi_segment_header_decode(page, &s->head, err);
        if (st == RF_OK && s->head.base_offset != s->base)
            st = rf_err_set(err, RF_ECORRUPT, "segment header is of another segment");
        if (st == RF_OK) {
            s->head_known = true;
            s->walk_at = RFI_PAGE_BYTES;
            s->walk_offset = s->base;
            s->walk_sequence = s->head.base_sequence;
        }
    }
    if (st != RF_OK)
        rf_err_note(err, "%s", path);
    free(path);
    return st;
}

static void look_for_index(rf_log_view *v, const view_part *p, view_segment *s)
{
    rf_err ignored = {0};
    char *path = rfi_segment_path(p->dir, s->base, "idx");
    if (s->index == NULL &&
        rfi_index_open(v->io, path, RFI_INDEX_SEGMENT, &s->index, &ignored) == RF_OK &&
        (rfi_index_head(s->index)->segment_id != s->head.segment_id ||
         rfi_index_head(s->index)->base_offset != s->base))
        rfi_index_release(&s->index);
    free(path);
    if (s->index != NULL) { /* what was walked is not needed any more */
        free(s->refs);
        s->refs = NULL;
        s->refs_count = s->refs_cap = 0;
        s->walk_at = RFI_PAGE_BYTES;
        s->walk_offset = s->base;
        s->walk_sequence = s->head.base_sequence;
    }
}

static void keep_ref(view_segment *s, const rfi_block_header *h)
{
    if (s->refs_count == s->refs_cap) {
        s->refs_cap = s->refs_cap == 0 ? 64 : s->refs_cap * 2;
        s->refs = rf_xrealloc(s->refs, s->refs_cap * sizeof *s->refs);
    }
    s->refs[s->refs_count++] = (rf_block_ref){
        .segment_base = s->base,
        .at = h->position,
        .base_offset = h->base_offset,
        .count = h->count,
        .bytes = h->total_bytes,
    };
}

/* Walks headers until offset `to` is covered or no block follows. */
static rf_status walk(rf_log_view *v, view_segment *s, uint64_t to, rf_err *err)
{
    uint8_t buffer[WALK_BYTES];
    uint64_t buffer_at = 0;
    size_t got = 0;
    while (s->walk_offset < to) {
        if (s->walk_at < buffer_at || s->walk_at + RFI_BLOCK_HEADER_BYTES > buffer_at + got) {
            buffer_at = s->walk_at;
            rf_status st =
                v->io->pread(v->io, s->file, buffer, sizeof buffer, buffer_at, &got, err);
            if (st != RF_OK)
                return st;
            if (got < RFI_BLOCK_HEADER_BYTES)
                return RF_OK;
        }
        rfi_block_header h;
        if (rfi_block_header_decode(buffer + (s->walk_at - buffer_at), &h) != NULL ||
            h.segment_id != s->head.segment_id || h.position != s->walk_at ||
            h.base_offset != s->walk_offset || h.sequence != s->walk_sequence)
            return RF_OK;
        if (h.count > 0)
            keep_ref(s, &h);
        s->walk_at += h.total_bytes;
        s->walk_offset += h.count;
        s->walk_sequence++;
    }
    return RF_OK;
}

/* ---- blocks
 * -------------------------------------------------------------------------------------------------------
 */

typedef struct ref_list {
    rf_block_ref *refs;
    size_t count, cap;
    uint64_t cursor; /* offset that is wanted next */
} ref_list;

static void take_ref(ref_list *l, const rf_block_ref *ref)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->refs = rf_xrealloc(l->refs, l->cap * sizeof *l->refs);
    }
    l->refs[l->count++] = *ref;
    l->cursor = ref->base_offset + ref->count;
}

/* False: the index is damaged; walking helps. */
static bool take_from_index(view_segment *s, uint64_t to, ref_list *l)
{
    uint32_t i = 0, n = rfi_blocks_count(s->index);
    rfi_block_entry e;
    if (!rfi_blocks_find(s->index, l->cursor, &i))
        return false;
    for (; i < n && l->cursor < to; i++) {
        if (!rfi_blocks_get(s->index, i, &e))
            return false;
        if (l->cursor < e.base_offset || l->cursor >= e.base_offset + e.count)
            return false;
        take_ref(l, &(rf_block_ref){s->base, e.at, e.base_offset, e.count, e.bytes});
    }
    return true;
}

static void take_from_walk(const view_segment *s, uint64_t to, ref_list *l)
{
    size_t lo = 0, hi = s->refs_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->refs[mid].base_offset + s->refs[mid].count <= l->cursor)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < s->refs_count && l->cursor < to; lo++)
        take_ref(l, &s->refs[lo]);
}

static rf_status take_from_segment(rf_log_view *v, const view_part *p, view_segment *s, bool newest,
                                   uint64_t to, ref_list *l, rf_err *err)
{
    rf_status st = s->head_known ? RF_OK : open_file(v, p, s, err);
    if (st != RF_OK)
        return st;
    if (s->index == NULL && (!newest || s->walk_offset <= l->cursor))
        look_for_index(v, p, s);
    if (s->index != NULL) {
        if (take_from_index(s, to, l))
            return RF_OK;
        rfi_index_release(&s->index);
    }
    if (s->walk_offset < to) {
        st = open_file(v, p, s, err);
        if (st == RF_OK)
            st = walk(v, s, to, err);
    }
    if (st == RF_OK)
        take_from_walk(s, to, l);
    return st;
}

static rf_status take_blocks(rf_log_view *v, view_part *p, uint64_t to, ref_list *l, rf_err *err)
{
    bool fresh = false;
    while (l->cursor < to) {
        size_t i = segment_at(p, l->cursor);
        uint64_t before = l->cursor;
        if (i != SIZE_MAX) {
            bool newest = i + 1 == p->count;
            uint64_t end = newest ? to : RF_MIN(to, p->segments[i + 1]->base);
            rf_status st = take_from_segment(v, p, p->segments[i], newest, end, l, err);
            if (st != RF_OK)
                return st;
        }
        if (l->cursor > before)
            continue;
        if (fresh && i == SIZE_MAX)
            return rf_err_set(err, RF_ECORRUPT, "%s: no segment holds offset %" PRIu64, p->dir,
                              l->cursor);
        if (fresh)
            return rf_err_set(err, RF_ECORRUPT,
                              "%s/%020" PRIu64 ".seg: block at byte %" PRIu64 " (offset %" PRIu64
                              "): no valid block where one is durable",
                              p->dir, p->segments[i]->base, p->segments[i]->walk_at, l->cursor);
        rf_status st = refresh(v, p, err);
        if (st != RF_OK)
            return st;
        fresh = true;
    }
    return RF_OK;
}

rf_status rf_log_view_blocks(rf_log_view *view, rf_str domain, uint32_t partition, uint64_t from,
                             uint64_t to, rf_block_ref **refs, size_t *count, rf_err *err)
{
    ref_list l = {.cursor = from};
    rf_status st = RF_OK;
    to = RF_MIN(to, ask(view, domain, partition).next);
    if (from < to) {
        pthread_mutex_lock(&view->mutex);
        st = take_blocks(view, part_of(view, domain, partition), to, &l, err);
        pthread_mutex_unlock(&view->mutex);
    }
    *refs = l.refs;
    *count = l.count;
    return st;
}

/* ---- loading
 * -----------------------------------------------------------------------------------------------------------
 */

static rf_status borrow(rf_log_view *v, rf_str domain, uint32_t partition, uint64_t base,
                        view_segment **out, rf_err *err)
{
    pthread_mutex_lock(&v->mutex);
    view_part *p = part_of(v, domain, partition);
    rf_status st = RF_OK;
    size_t i = segment_at(p, base);
    if (i == SIZE_MAX || p->segments[i]->base != base) {
        st = refresh(v, p, err);
        i = segment_at(p, base);
    }
    if (st == RF_OK && (i == SIZE_MAX || p->segments[i]->base != base))
        st = rf_err_set(err, RF_ENOTFOUND, "%s/%020" PRIu64 ".seg does not exist", p->dir, base);
    if (st == RF_OK)
        st = open_file(v, p, p->segments[i], err);
    if (st == RF_OK) {
        *out = p->segments[i];
        (*out)->users++;
    }
    pthread_mutex_unlock(&v->mutex);
    return st;
}

static void give_back(rf_log_view *v, view_segment *s)
{
    pthread_mutex_lock(&v->mutex);
    s->users--;
    pthread_mutex_unlock(&v->mutex);
}

static const char *check_and_decode(const view_segment *s, const rf_block_ref *ref, rf_block *block)
{
    rfi_block_header h;
    const uint8_t *bytes = (const uint8_t *)block->disk.p;
    const char *why = block->disk.n < RFI_BLOCK_HEADER_BYTES ? "the file ends"
                                                             : rfi_block_header_decode(bytes, &h);
    if (why != NULL)
        return why;
    if (h.segment_id != s->head.segment_id || h.position != ref->at ||
        h.base_offset != ref->base_offset || h.count != ref->count || h.total_bytes != ref->bytes)
        return "another block stands there";
    if (block->disk.n < h.total_bytes)
        return "the file ends within the block";
    if (h.payload_crc !=
        rf_crc32c(0, bytes + RFI_BLOCK_HEADER_BYTES, h.total_bytes - RFI_BLOCK_HEADER_BYTES))
        return "payload checksum differs";
    return rfi_block_decode(block, &h, bytes + RFI_BLOCK_HEADER_BYTES);
}

rf_status rf_block_load(rf_log_view *view, rf_str domain, uint32_t partition,
                        const rf_block_ref *ref, rf_block *block, rf_err *err)
{
    view_segment *s = NULL;
    block->head.count = 0;
    rf_buf_reset(&block->disk);
    if (!rf_buf_reserve(&block->disk, ref->bytes))
        return rf_err_set(err, RF_ENOMEM, "no memory for a block of %u bytes", ref->bytes);
    rf_status st = borrow(view, domain, partition, ref->segment_base, &s, err);
    if (st != RF_OK)
        return st;
    st =
        view->io->pread(view->io, s->file, block->disk.p, ref->bytes, ref->at, &block->disk.n, err);
    if (st == RF_OK) {
        const char *why = check_and_decode(s, ref, block);
        if (why != NULL)
            st = rf_err_set(err, RF_ECORRUPT,
                            "%.*s/%u %020" PRIu64 ".seg: block at byte %" PRIu64
                            " (offsets %" PRIu64 "..%" PRIu64 "): %s",
                            RF_STR_ARG(domain), partition, ref->segment_base, ref->at,
                            ref->base_offset, ref->base_offset + ref->count - 1, why);
    }
    give_back(view, s);
    return st;
}
