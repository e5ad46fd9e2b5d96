/* Arenas and the aborting malloc family: see base.h. */
#include "base/base.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN 16

typedef struct block {
    struct block *next; /* older */
    size_t bytes, used; /* of data[] */
    alignas(ARENA_ALIGN) char data[];
} block;

struct rf_arena {
    block *head;  /* where allocations come from */
    block *first; /* the one that reset keeps */
    size_t block_bytes;
    size_t held;
};

static block *block_new(rf_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - sizeof(block))
        return NULL;
    block *b = malloc(sizeof(block) + bytes);
    if (b == NULL)
        return NULL;
    b->next = NULL;
    b->bytes = bytes;
    b->used = 0;
    a->held += sizeof(block) + bytes;
    return b;
}

rf_arena *rf_arena_new(size_t block_bytes)
{
    rf_arena *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->block_bytes = RF_MAX(block_bytes, 64);
    a->first = a->head = block_new(a, a->block_bytes);
    if (a->first == NULL) {
        free(a);
        return NULL;
    }
    return a;
}

static void free_all_but_first(rf_arena *a)
{
    for (block *b = a->head, *next; b != a->first; b = next) {
        next = b->next;
        a->held -= sizeof(block) + b->bytes;
        free(b);
    }
    a->head = a->first;
}

void rf_arena_free(rf_arena **a)
{
    if (*a == NULL)
        return;
    free_all_but_first(*a);
    free((*a)->first);
    free(*a);
    *a = NULL;
}

void rf_arena_reset(rf_arena *a)
{
    free_all_but_first(a);
    a->first->used = 0;
}

/* A new block in front. What is bigger than a quarter of a block gets one of its own, behind the
 * head, so that the rest of the head is not wasted. `first` stays last in the list. */
static void *alloc_slow(rf_arena *a, size_t bytes)
{
    bool own = bytes > a->block_bytes / 4;
    block *b = block_new(a, own ? bytes : a->block_bytes);
    if (b == NULL)
        return NULL;
    if (own && a->head != a->first) {
        b->next = a->head->next;
        a->head->next = b;
    } else {
        b->next = a->head;
        a->head = b;
    }
    b->used = bytes;
    return b->data;
}

void *rf_arena_alloc(rf_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - ARENA_ALIGN)
        return NULL;
    block *b = a->head;
    size_t at = (b->used + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (at > b->bytes || bytes > b->bytes - at)
        return alloc_slow(a, bytes);
    b->used = at + bytes;
    return b->data + at;
}

rf_str rf_arena_dup(rf_arena *a, rf_str s)
{
    char *p = s.n == SIZE_MAX ? NULL : rf_arena_alloc(a, s.n + 1);
    if (p == NULL)
        return (rf_str){NULL, 0};
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (rf_str){p, s.n};
}

char *rf_arena_printf(rf_arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    RF_ASSERT(n >= 0);
    char *p = rf_arena_alloc(a, (size_t)n + 1);
    if (p != NULL)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

size_t rf_arena_bytes(const rf_arena *a)
{
    return a->held;
}

/* ---- malloc that aborts --------------------------------------------------------------------- */

static _Noreturn void out_of_memory(size_t bytes)
{
    fprintf(stderr, "refold: out of memory (%zu bytes wanted)\n", bytes);
    abort();
}

void *rf_xmalloc(size_t bytes)
{
    void *p = malloc(bytes > 0 ? bytes : 1);
    if (p == NULL)
        out_of_memory(bytes);
    return p;
}

void *rf_xcalloc(size_t count, size_t bytes)
{
    void *p = calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1);
    if (p == NULL)
        out_of_memory(bytes);
    return p;
}

void *rf_xrealloc(void *p, size_t bytes)
{
    void *q = realloc(p, bytes > 0 ? bytes : 1);
    if (q == NULL)
        out_of_memory(bytes);
    return q;
}

char *rf_xstrdup(const char *s)
{
    return rf_xstrndup(rf_str_from(s));
}

char *rf_xstrndup(rf_str s)
{
    char *p = rf_xmalloc(s.n + 1);
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}
