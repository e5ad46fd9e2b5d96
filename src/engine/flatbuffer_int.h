/* Writing FlatBuffers (flatbuffer.c): as much of them as Arrow's messages need. */
#ifndef RF_FLATBUFFER_INT_H
#define RF_FLATBUFFER_INT_H

#include "base/base.h"

/*
 * Bytes are put in front of those that are there, so everything that is referred to is written
 * before what refers to it, and is named by its distance from the end. Format: the binary part of
 * the FlatBuffers "Internals" page.
 */
#define RFI_FB_SLOTS 8

typedef struct rfi_fb {
    uint8_t *p;
    size_t cap, size; /* used bytes: the last `size` of p */
    size_t table_start;
    uint32_t slots[RFI_FB_SLOTS];
    size_t slot_count;
} rfi_fb;

void rfi_fb_clear(rfi_fb *fb);
uint32_t rfi_fb_string(rfi_fb *fb, const char *text);
uint32_t rfi_fb_offsets(rfi_fb *fb, const uint32_t *offsets, size_t count);
/* Structs of 64-bit numbers, `words` each. */
uint32_t rfi_fb_words(rfi_fb *fb, const int64_t *numbers, size_t count, size_t words);
/* A table: start, its members in any order, end. Members that have their default may be left out.
 */
void rfi_fb_start(rfi_fb *fb, size_t slots);
void rfi_fb_number(rfi_fb *fb, size_t slot, int64_t v, size_t bytes);
void rfi_fb_ref(rfi_fb *fb, size_t slot, uint32_t to);
uint32_t rfi_fb_end(rfi_fb *fb);
/* Ends the buffer; its bytes are the last fb->size of fb->p, aligned to 8 among themselves. */
void rfi_fb_finish(rfi_fb *fb, uint32_t root);
const uint8_t *rfi_fb_bytes(const rfi_fb *fb);

#endif
