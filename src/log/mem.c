/*
 * The in-memory index of an unsealed segment. Open addressing with linear probing; slots are only
 * filled, and emptied in the reverse order, so probing chains never break and there are no
 * tombstones.
 */
#include "log/mem_int.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SLOTS_FIRST 1024u

/* ---- keys
 * ------------------------------------------------------------------------------------------ */

rfi_id_key rfi_id_key_of(const uint8_t secret[static RF_KEY_BYTES], rf_str source, rf_str id)
{
    /* The length in front keeps ("ab","c") and ("a","bc") apart. Attributes are at most
     * RF_ATTR_MAX, but what a caller asks for may be longer; cutting it could only find what then
     * is compared. */
    char stack[4 + 2 * RF_ATTR_MAX];
    size_t source_n = RF_MIN(source.n, (size_t)RF_ATTR_MAX),
           id_n = RF_MIN(id.n, (size_t)RF_ATTR_MAX);
    rfi_put32(stack, (uint32_t)source_n);
    memcpy(stack + 4, source.p, source_n);
    if (id_n > 0)
        memcpy(stack + 4 + source_n, id.p, id_n);
    rf_hash128 h = rf_hash_keyed(secret, stack, 4 + source_n + id_n);
    return (rfi_id_key){.a = h.hi, .b = (uint32_t)h.lo};
}

rf_hash128 rfi_stream_key_of(const uint8_t secret[static RF_KEY_BYTES], rf_str stream)
{
    return rf_hash_keyed(secret, stream.p, stream.n);
}

void rfi_keys_of(const uint8_t secret[static RF_KEY_BYTES], const rf_event *e, rfi_keys *out)
{
    out->id = rfi_id_key_of(secret, e->source, e->id);
    out->stream = rfi_stream_key_of(secret, rf_event_stream(e));
}

/* ---- life
 * --------------------------------------------------------------------------------------------- */

rfi_mem *rfi_mem_new(uint64_t base_offset)
{
    rfi_mem *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->refs = 1;
    m->base_offset = base_offset;
    m->ids = calloc(SLOTS_FIRST, sizeof *m->ids);
    m->stream_slots = calloc(SLOTS_FIRST, sizeof *m->stream_slots);
    m->ids_mask = m->stream_mask = SLOTS_FIRST - 1;
    if (m->ids == NULL || m->stream_slots == NULL)
        rfi_mem_release(&m);
    return m;
}

void rfi_mem_retain(rfi_mem *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

void rfi_mem_release(rfi_mem **m)
{
    rfi_mem *gone = *m;
    *m = NULL;
    if (gone == NULL || atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) != 1)
        return;
    rfi_types_clear(&gone->types);
    free(gone->ids);
    free(gone->streams);
    free(gone->stream_slots);
    free(gone->stream_of);
    free(gone->prev);
    free(gone->nth);
    free(gone->undo_slots);
    free(gone->blocks);
    free(gone);
}

/* ---- growing
 * ------------------------------------------------------------------------------------------- */

static bool grow(void **p, size_t count, size_t size)
{
    void *more = realloc(*p, count * size);
    if (more == NULL)
        return false;
    *p = more;
    return true;
}

static uint32_t id_slot(const rfi_mem *m, rfi_id_key key)
{
    uint32_t at = (uint32_t)key.a & m->ids_mask;
    while (m->ids[at].number != 0 && (m->ids[at].a != key.a || m->ids[at].b != key.b))
        at = (at + 1) & m->ids_mask;
    return at;
}

static bool ids_grow(rfi_mem *m, uint64_t slots)
{
    rfi_id_slot *old = m->ids;
    uint32_t old_mask = m->ids_mask;
    rfi_id_slot *bigger = calloc(slots, sizeof *bigger);
    if (bigger == NULL)
        return false;
    m->ids = bigger;
    m->ids_mask = (uint32_t)(slots - 1);
    for (uint32_t i = 0; i <= old_mask; i++) {
        if (old[i].number != 0)
            m->ids[id_slot(m, (rfi_id_key){old[i].a, old[i].b})] = old[i];
    }
    free(old);
    return true;
}

static uint32_t stream_slot(const rfi_mem *m, rf_hash128 key)
{
    uint32_t at = (uint32_t)key.lo & m->stream_mask;
    while (m->stream_slots[at] != 0 && !rf_hash_eq(m->streams[m->stream_slots[at] - 1].key, key))
        at = (at + 1) & m->stream_mask;
    return at;
}

static bool stream_slots_grow(rfi_mem *m, uint64_t slots)
{
    uint32_t *bigger = calloc(slots, sizeof *bigger);
    if (bigger == NULL)
        return false;
    free(m->stream_slots);
    m->stream_slots = bigger;
    m->stream_mask = (uint32_t)(slots - 1);
    for (uint32_t i = 0; i < m->streams_count; i++)
        m->stream_slots[stream_slot(m, m->streams[i].key)] = i + 1;
    return true;
}

static uint64_t slots_for(uint64_t entries, uint64_t slots)
{
    while (slots < 2 * entries)
        slots *= 2;
    return slots;
}

bool rfi_mem_reserve(rfi_mem *m, uint32_t events)
{
    uint64_t total = (uint64_t)m->events + events, streams = (uint64_t)m->streams_count + events;
    if (total > m->events_cap) {
        uint64_t cap = RF_MAX(total, (uint64_t)m->events_cap * 2);
        if (!grow((void **)&m->stream_of, cap, sizeof *m->stream_of) ||
            !grow((void **)&m->prev, cap, sizeof *m->prev) ||
            !grow((void **)&m->nth, cap, sizeof *m->nth))
            return false;
        m->events_cap = (uint32_t)cap;
    }
    if (streams > m->streams_cap) {
        uint64_t cap = RF_MAX(streams, (uint64_t)m->streams_cap * 2);
        if (!grow((void **)&m->streams, cap, sizeof *m->streams))
            return false;
        m->streams_cap = (uint32_t)cap;
    }
    if (events > m->undo_cap) {
        if (!grow((void **)&m->undo_slots, events, sizeof *m->undo_slots))
            return false;
        m->undo_cap = events;
    }
    uint64_t slots = slots_for(total, (uint64_t)m->ids_mask + 1);
    if (slots > m->ids_mask + UINT64_C(1) && !ids_grow(m, slots))
        return false;
    slots = slots_for(streams, (uint64_t)m->stream_mask + 1);
    if (slots > m->stream_mask + UINT64_C(1) && !stream_slots_grow(m, slots))
        return false;
    m->undo_from = m->events;
    return true;
}

/* ---- adding and taking back
 * -------------------------------------------------------------------------------- */

void rfi_mem_add(rfi_mem *m, const rfi_keys *keys, uint64_t content48, uint64_t revision)
{
    RF_ASSERT(m->events < m->events_cap && m->events - m->undo_from < m->undo_cap);
    uint32_t number = m->events++;
    uint32_t at = id_slot(m, keys->id);
    RF_ASSERT(m->ids[at].number == 0);
    m->ids[at] = (rfi_id_slot){
        .a = keys->id.a, .b = keys->id.b, .number = number + 1, .content48 = content48};
    m->undo_slots[number - m->undo_from] = at;

    at = stream_slot(m, keys->stream);
    if (m->stream_slots[at] == 0) {
        RF_ASSERT(m->streams_count < m->streams_cap);
        m->streams[m->streams_count] =
            (rfi_mem_stream){.key = keys->stream, .first_revision = revision, .last = UINT32_MAX};
        m->stream_slots[at] = ++m->streams_count;
    }
    uint32_t stream = m->stream_slots[at] - 1;
    rfi_mem_stream *s = &m->streams[stream];
    RF_ASSERT(revision == s->first_revision + s->count);
    m->stream_of[number] = stream;
    m->prev[number] = s->last;
    m->nth[number] = s->count++;
    s->last = number;
}

void rfi_mem_undo(rfi_mem *m, uint32_t events)
{
    RF_ASSERT(events >= m->undo_from && events <= m->events);
    while (m->events > events) {
        uint32_t number = --m->events;
        m->ids[m->undo_slots[number - m->undo_from]] = (rfi_id_slot){0};
        rfi_mem_stream *s = &m->streams[m->stream_of[number]];
        s->last = m->prev[number];
        if (--s->count > 0)
            continue;
        /* Its first event created it, and it was the latest to be created. */
        RF_ASSERT(m->stream_of[number] == m->streams_count - 1);
        m->stream_slots[stream_slot(m, s->key)] = 0;
        m->streams_count--;
    }
}

bool rfi_mem_note_stream(rfi_mem *m, rf_hash128 key, uint64_t next)
{
    if (m->streams_count == m->streams_cap && !rfi_mem_reserve(m, m->streams_count + SLOTS_FIRST))
        return false;
    uint32_t at = stream_slot(m, key);
    if (m->stream_slots[at] == 0) {
        m->streams[m->streams_count] = (rfi_mem_stream){.key = key, .last = UINT32_MAX};
        m->stream_slots[at] = ++m->streams_count;
    }
    m->streams[m->stream_slots[at] - 1].first_revision = next;
    return true;
}

bool rfi_mem_add_block(rfi_mem *m, const rfi_block_entry *e)
{
    if (m->blocks_count == m->blocks_cap) {
        uint32_t cap = m->blocks_cap == 0 ? 64 : m->blocks_cap * 2;
        if (!grow((void **)&m->blocks, cap, sizeof *m->blocks))
            return false;
        m->blocks_cap = cap;
    }
    m->blocks[m->blocks_count++] = *e;
    return true;
}

void rfi_mem_undo_blocks(rfi_mem *m, uint32_t count)
{
    RF_ASSERT(count <= m->blocks_count);
    m->blocks_count = count;
}

/* ---- types
 * -------------------------------------------------------------------------------------------- */

static bool type_append(rfi_types *t, rf_str type, uint64_t events)
{
    if (t->count == t->cap) {
        uint32_t cap = t->cap == 0 ? 8 : t->cap * 2;
        if (cap > RFI_TYPES_MAX || !grow((void **)&t->of, cap, sizeof *t->of))
            return false;
        t->cap = cap;
    }
    char *name = malloc(type.n + 1);
    if (name == NULL)
        return false;
    memcpy(name, type.p, type.n);
    t->of[t->count++] =
        (rfi_type_count){.name = name, .name_bytes = (uint32_t)type.n, .events = events};
    return true;
}

void rfi_types_add(rfi_types *t, rf_str type, uint64_t events)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (rf_str_eq((rf_str){t->of[i].name, t->of[i].name_bytes}, type)) {
            t->of[i].events += events;
            return;
        }
    }
    if (!type_append(t, type, events))
        t->other += events;
}

void rfi_types_clear(rfi_types *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        free(t->of[i].name);
    free(t->of);
    *t = (rfi_types){0};
}

/* ---- looking up
 * ------------------------------------------------------------------------------------------------
 */

bool rfi_mem_find_id(const rfi_mem *m, rfi_id_key key, rfi_id_hit *out)
{
    const rfi_id_slot *s = &m->ids[id_slot(m, key)];
    if (s->number == 0)
        return false;
    *out = (rfi_id_hit){.offset = m->base_offset + s->number - 1, .content48 = s->content48};
    return true;
}

uint32_t rfi_mem_find_stream(const rfi_mem *m, rf_hash128 key)
{
    return m->stream_slots[stream_slot(m, key)] - 1; /* 0 wraps to none */
}

bool rfi_mem_stream_part(const rfi_mem *m, rf_hash128 key, rfi_stream_part *out)
{
    uint32_t stream = rfi_mem_find_stream(m, key);
    if (stream == UINT32_MAX)
        return false;
    *out = (rfi_stream_part){m->streams[stream].first_revision, m->streams[stream].count};
    return true;
}

bool rfi_mem_revision(const rfi_mem *m, rf_hash128 key, uint64_t offset, uint64_t *out)
{
    uint32_t stream = rfi_mem_find_stream(m, key);
    if (stream == UINT32_MAX || offset < m->base_offset || offset - m->base_offset >= m->events)
        return false;
    uint32_t number = (uint32_t)(offset - m->base_offset);
    if (m->stream_of[number] != stream)
        return false;
    *out = m->streams[stream].first_revision + m->nth[number];
    return true;
}
