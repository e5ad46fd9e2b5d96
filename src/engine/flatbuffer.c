/* Writing FlatBuffers, from the end to the front. */
#include "engine/flatbuffer_int.h"

void rfi_fb_clear(rfi_fb *fb)
{
    free(fb->p);
    *fb = (rfi_fb){0};
}

const uint8_t *rfi_fb_bytes(const rfi_fb *fb)
{
    return fb->p + fb->cap - fb->size;
}

static void front(rfi_fb *fb, const void *bytes, size_t n)
{
    if (fb->size + n > fb->cap) {
        size_t cap = RF_MAX(fb->cap * 2, fb->size + n + 1024);
        uint8_t *p = rf_xmalloc(cap);

        if (fb->size > 0)
            memcpy(p + cap - fb->size, rfi_fb_bytes(fb), fb->size);
        free(fb->p);
        fb->p = p;
        fb->cap = cap;
    }
    fb->size += n;
    if (n > 0) /* nothing may have been allocated yet */
        memcpy(fb->p + fb->cap - fb->size, bytes, n);
}

/* Pads so that after `extra` more bytes the size is a multiple of `align`. */
static void pad(rfi_fb *fb, size_t align, size_t extra)
{
    static const uint8_t zeros[8];

    front(fb, zeros, (align - (fb->size + extra) % align) % align);
}

static void front_le(rfi_fb *fb, uint64_t v, size_t bytes)
{
    uint8_t le[8];

    rf_put_le64(le, v);
    front(fb, le, bytes);
}

static void front_ref(rfi_fb *fb, uint32_t to)
{
    pad(fb, 4, 0);
    front_le(fb, fb->size + 4 - to, 4);
}

uint32_t rfi_fb_string(rfi_fb *fb, const char *text)
{
    size_t n = strlen(text);

    pad(fb, 4, n + 1);
    front(fb, text, n + 1);
    front_le(fb, n, 4);
    return (uint32_t)fb->size;
}

uint32_t rfi_fb_offsets(rfi_fb *fb, const uint32_t *offsets, size_t count)
{
    pad(fb, 4, 4 * count);
    for (size_t i = count; i-- > 0;)
        front_ref(fb, offsets[i]);
    front_le(fb, count, 4);
    return (uint32_t)fb->size;
}

uint32_t rfi_fb_words(rfi_fb *fb, const int64_t *numbers, size_t count, size_t words)
{
    pad(fb, 8, 8 * words * count);
    for (size_t i = words * count; i-- > 0;)
        front_le(fb, (uint64_t)numbers[i], 8);
    front_le(fb, count, 4);
    return (uint32_t)fb->size;
}

void rfi_fb_start(rfi_fb *fb, size_t slots)
{
    RF_ASSERT(slots <= RFI_FB_SLOTS);
    memset(fb->slots, 0, sizeof(fb->slots));
    fb->slot_count = slots;
    fb->table_start = fb->size;
}

void rfi_fb_number(rfi_fb *fb, size_t slot, int64_t v, size_t bytes)
{
    pad(fb, bytes, 0);
    front_le(fb, (uint64_t)v, bytes);
    fb->slots[slot] = (uint32_t)fb->size;
}

void rfi_fb_ref(rfi_fb *fb, size_t slot, uint32_t to)
{
    front_ref(fb, to);
    fb->slots[slot] = (uint32_t)fb->size;
}

uint32_t rfi_fb_end(rfi_fb *fb)
{
    uint32_t table;
    uint8_t le[4];

    pad(fb, 4, 0);
    front_le(fb, 0, 4); /* distance to the vtable, below */
    table = (uint32_t)fb->size;
    for (size_t i = fb->slot_count; i-- > 0;)
        front_le(fb, fb->slots[i] != 0 ? table - fb->slots[i] : 0, 2);
    front_le(fb, table - fb->table_start, 2);
    front_le(fb, 2 * (fb->slot_count + 2), 2);
    rf_put_le32(le, (uint32_t)(fb->size - table));
    memcpy(fb->p + fb->cap - table, le, sizeof(le));
    return table;
}

void rfi_fb_finish(rfi_fb *fb, uint32_t root)
{
    pad(fb, 8, 4);
    front_ref(fb, root);
}
