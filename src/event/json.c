/*
 * Parsed JSON: one parse by yyjson, then one linear walk that bounds the depth, finds duplicate
 * keys and computes the content hash. Invariants J1 and J2 stand in event_int.h.
 *
 * The content hash is by value: scalars hash by kind and value, arrays chain their elements in
 * order, objects add up their members' hashes, so that order does not matter. All sums are of 128
 * bits under a secret seed. Equal values give equal hashes; that different values do not is a
 * matter of 128 random bits.
 */
#include "event/event_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kept between events; more than this is given back (a text of 80 KB). */
#define POOL_KEEP_BYTES ((size_t)1 << 20)
#define POOL_ALIGN 16
#define POOL_SLACK ((size_t)128) /* what aligning its two allocations may cost */
#define KEYS_KEEP 4096
#define KEYS_FIRST 64

/* ---- memory ---------------------------------------------------------------------------------- */

/* yyjson's allocator: a stack. yyjson takes the copy of the text, then the values, and only ever
 * grows the newest, so growing needs no copy. */
static void *pool_malloc(void *ctx, size_t bytes)
{
    rfi_json *j = ctx;
    size_t at = (j->pool_used + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
    if (at > j->pool_cap || bytes > j->pool_cap - at)
        return NULL;
    j->pool_last = at;
    j->pool_used = at + bytes;
    return j->pool + at;
}

static void *pool_realloc(void *ctx, void *p, size_t old_bytes, size_t bytes)
{
    rfi_json *j = ctx;
    if (p == j->pool + j->pool_last) {
        if (bytes > j->pool_cap - j->pool_last)
            return NULL;
        j->pool_used = j->pool_last + bytes;
        return p;
    }
    void *q = pool_malloc(ctx, bytes);
    if (q != NULL)
        memcpy(q, p, RF_MIN(old_bytes, bytes));
    return q;
}

static void pool_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p; /* the next parse begins at the bottom */
}

/* Never zero: a product with zero forgets the other factor. */
static uint64_t secret(uint64_t seed, uint64_t number)
{
    return rf_hash_fast(&number, sizeof number, seed).lo | 1;
}

void rfi_json_init(rfi_json *j, uint64_t seed)
{
    j->pool = NULL;
    j->pool_cap = j->pool_used = j->pool_last = 0;
    j->keys = NULL;
    j->key_count = j->key_cap = 0;
    j->slots = NULL;
    j->slot_cap = 0;
    j->seed = seed;
    for (size_t i = 0; i < RF_ARRAY_LEN(j->mix); i++)
        j->mix[i] = secret(seed, i);
    for (size_t n = 0; n < RF_ARRAY_LEN(j->length); n++) {
        for (size_t i = 0; i < RF_ARRAY_LEN(j->length[n]); i++)
            j->length[n][i] = secret(seed, (n + 1) * 16 + i);
    }
}

void rfi_json_clear(rfi_json *j)
{
    free(j->pool);
    free(j->keys);
    free(j->slots);
    j->pool = NULL;
    j->keys = NULL;
    j->slots = NULL;
    j->pool_cap = j->key_cap = j->slot_cap = 0;
}

void rfi_json_trim(rfi_json *j)
{
    if (j->pool_cap > POOL_KEEP_BYTES || j->key_cap > KEYS_KEEP)
        rfi_json_clear(j);
}

static bool pool_fit(rfi_json *j, size_t text_bytes)
{
    size_t need = yyjson_read_max_memory_usage(text_bytes, YYJSON_READ_NOFLAG) + POOL_SLACK;
    if (need <= j->pool_cap)
        return true;
    /* Its content is worthless by now: not realloc, which would copy it. */
    free(j->pool);
    size_t cap = need > POOL_KEEP_BYTES ? need : RF_MAX(need + need / 2, (size_t)16 * 1024);
    j->pool = malloc(cap);
    j->pool_cap = j->pool == NULL ? 0 : cap;
    return j->pool != NULL;
}

/* ---- parsing --------------------------------------------------------------------------------- */

static rf_status syntax_fault(rf_str text, const yyjson_read_err *why, rf_event_fault *fault)
{
    size_t bad = 0;
    if (!rf_utf8_valid(text.p, text.n, &bad))
        return rfi_fault(fault, RF_EINVAL, "utf8", bad, "Byte %zu is not valid UTF-8.", bad);
    /* Valid JSON never needs more memory than the pool has: this was nesting without end. */
    if (why->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
        size_t at = rfi_too_deep_at(text, RF_EVENT_DEPTH_CAP);
        return rfi_fault(fault, RF_EINVAL, "depth", at == text.n ? 0 : at,
                         "Arrays and objects are nested more than %d levels deep.",
                         RF_EVENT_DEPTH_CAP);
    }
    return rfi_fault(fault, RF_EINVAL, "json-syntax", why->pos, "Not valid JSON at byte %zu: %s.",
                     why->pos, why->msg);
}

rf_status rfi_json_parse(rfi_json *j, rf_str text, yyjson_val **root, rf_event_fault *fault)
{
    yyjson_read_err why;
    yyjson_alc alc = {pool_malloc, pool_realloc, pool_free, j};
    j->key_count = 0;
    j->pool_used = j->pool_last = 0;
    if (text.n == 0)
        return rfi_fault(fault, RF_EINVAL, "json-syntax", 0, "The text is empty.");
    RF_ASSERT(text.n <= RF_EVENT_BYTES_CAP);
    if (!pool_fit(j, text.n))
        return rfi_fault_no_memory(fault);
    /* The cast only drops const: without INSITU yyjson does not write there. */
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_BIGNUM_AS_RAW, &alc, &why);
    if (doc == NULL)
        return syntax_fault(text, &why, fault);
    *root = yyjson_doc_get_root(doc);
    RF_ASSERT(*root != NULL);
    return RF_OK;
}

size_t rfi_json_at(const rfi_json *j, const yyjson_val *string)
{
    return (size_t)(string->uni.str - j->pool);
}

/* ---- hashing --------------------------------------------------------------------------------- */

enum { TAG_NULL = 1, TAG_FALSE, TAG_TRUE, TAG_INT, TAG_NEGATIVE, TAG_REAL, TAG_ARRAY, TAG_OBJECT };

static inline rf_hash128 scalar(const rfi_json *j, uint64_t tag, uint64_t payload)
{
    const uint64_t *m = j->mix;
    return (rf_hash128){rfi_fold(payload ^ m[0], tag ^ m[1]), rfi_fold(payload ^ m[2], tag ^ m[3])};
}

static rf_hash128 integer(const rfi_json *j, bool negative, uint64_t magnitude)
{
    return scalar(j, negative ? TAG_NEGATIVE : TAG_INT, magnitude);
}

/* A double with an integral value in range hashes as that integer: 1.0 is 1, and -0.0 is 0. */
static rf_hash128 real(const rfi_json *j, double v)
{
    if (v >= 0 && v < 0x1p64 && v == (double)(uint64_t)v)
        return integer(j, false, (uint64_t)v);
    if (v < 0 && v >= -0x1p63 && v == (double)(int64_t)v)
        return integer(j, true, 0 - (uint64_t)(int64_t)v);
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return scalar(j, TAG_REAL, bits);
}

/* A number beyond 64 bits or beyond double, kept by yyjson as its text. False: beyond double. */
RFI_COLD static bool big_number(const rfi_json *j, const yyjson_val *v, rf_hash128 *out)
{
    /* Terminated by yyjson, which put a NUL into its copy of the text. */
    yyjson_val number;
    if (yyjson_read_number(v->uni.str, &number, YYJSON_READ_NOFLAG, NULL, NULL) == NULL)
        return false;
    RF_ASSERT(yyjson_is_real(&number));
    *out = real(j, yyjson_get_real(&number));
    return true;
}

/* ---- duplicate keys -------------------------------------------------------------------------- */

bool rfi_json_grow_keys(rfi_json *j)
{
    size_t cap = RF_MAX(j->key_cap * 2, KEYS_FIRST);
    rfi_key *keys = realloc(j->keys, cap * sizeof *keys);
    if (keys == NULL)
        return false;
    j->keys = keys;
    j->key_cap = cap;
    return true;
}

static bool same_key(const rfi_key *a, const rfi_key *b)
{
    return a->hash == b->hash && rf_str_eq(rfi_val_str(a->key), rfi_val_str(b->key));
}

static yyjson_val *find_pair(const rfi_key *keys, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (keys[k].hash == keys[i].hash && same_key(&keys[k], &keys[i]))
                return keys[i].key;
        }
    }
    return NULL;
}

/* A few dozen keys: a filter of 1,024 bits says "new" for nearly all, else every earlier one is
 * looked at. */
static yyjson_val *find_among_few(const rfi_key *keys, size_t n)
{
    uint64_t filter[16] = {0};
    for (size_t i = 0; i < n; i++) {
        uint64_t *word = &filter[keys[i].hash >> 60];
        uint64_t bit = UINT64_C(1) << (keys[i].hash & 63);
        if (*word & bit) {
            for (size_t k = 0; k < i; k++) {
                if (same_key(&keys[k], &keys[i]))
                    return keys[i].key;
            }
        }
        *word |= bit;
    }
    return NULL;
}

static bool find_among_many(rfi_json *j, const rfi_key *keys, size_t n, yyjson_val **duplicate)
{
    size_t cap = 64;
    while (cap < 2 * n)
        cap *= 2;
    if (cap > j->slot_cap) {
        free(j->slots);
        j->slots = malloc(cap * sizeof *j->slots);
        j->slot_cap = j->slots == NULL ? 0 : cap;
        if (j->slots == NULL)
            return false;
    }
    memset(j->slots, 0, cap * sizeof *j->slots); /* 0: free, else index + 1 */
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)keys[i].hash & (cap - 1);
        for (; j->slots[at] != 0; at = (at + 1) & (cap - 1)) {
            if (same_key(&keys[j->slots[at] - 1], &keys[i])) {
                *duplicate = keys[i].key;
                return true;
            }
        }
        j->slots[at] = (uint32_t)(i + 1);
    }
    return true;
}

bool rfi_json_find_duplicate(rfi_json *j, size_t base, yyjson_val **duplicate)
{
    size_t n = j->key_count - base;
    *duplicate = NULL;
    if (n < 2)
        return true;
    if (n > 48)
        return find_among_many(j, j->keys + base, n, duplicate);
    *duplicate = n > 8 ? find_among_few(j->keys + base, n) : find_pair(j->keys + base, n);
    return true;
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* What the faults need to know of a walk. */
typedef struct walk {
    rfi_json *j;
    rf_str text, prefix;
    size_t depth; /* frames in use */
    uint32_t depth_max;
    rf_event_fault *fault;
} walk;

/* The path of the member at hand: the prefix, then each frame's. */
RFI_COLD static void walk_path(const walk *w)
{
    if (w->prefix.n > 0 && !rfi_fault_path(w->fault, w->prefix))
        return;
    for (size_t i = 0; i < w->depth; i++) {
        const rfi_frame *f = &w->j->frames[i];
        char number[24];
        rf_str segment;
        if (f->object)
            segment = rfi_val_str(f->key);
        else
            segment = (rf_str){number,
                               (size_t)snprintf(number, sizeof number, "%zu", f->count - f->left)};
        if (!rfi_fault_path(w->fault, segment))
            return;
    }
}

RFI_COLD static rf_status too_deep(const walk *w)
{
    /* depth_max counts from the walked value; the event around it is one level more. */
    uint32_t levels = w->depth_max + (w->prefix.n > 0 ? 1 : 0);
    size_t at = rfi_too_deep_at(w->text, levels);
    rf_status st = rfi_fault(w->fault, RF_EINVAL, "depth", at == w->text.n ? 0 : at,
                             "Arrays and objects are nested more than %u levels deep; flatten the "
                             "data, or raise the limit.",
                             levels);
    walk_path(w);
    return st;
}

RFI_COLD static rf_status too_large(const walk *w, const yyjson_val *number)
{
    rf_status st = rfi_fault(w->fault, RF_EINVAL, "number-range", rfi_json_at(w->j, number),
                             "The number is too large for a double; send it as a string.");
    walk_path(w);
    return st;
}

RFI_COLD static rf_status holds_nul(const walk *w, const yyjson_val *string)
{
    rf_status st =
        rfi_fault(w->fault, RF_EINVAL, "control-character", rfi_json_at(w->j, string) - 1,
                  "The string holds the character U+0000 (\\u0000), which databases and "
                  "C programs cannot keep; send such bytes as base64.");
    walk_path(w);
    return st;
}

static rf_status scalar_hash(const walk *w, const yyjson_val *v, rf_hash128 *out)
{
    const rfi_json *j = w->j;
    switch ((uint8_t)v->tag & (YYJSON_TYPE_MASK | YYJSON_SUBTYPE_MASK)) {
    case YYJSON_TYPE_STR: /* it had escapes */
        if (memchr(v->uni.str, '\0', unsafe_yyjson_get_len((void *)(uintptr_t)v)) != NULL)
            return holds_nul(w, v);
        /* fallthrough */
    case YYJSON_TYPE_STR | YYJSON_SUBTYPE_NOESC:
        *out = rfi_hash(j, rfi_val_str(v));
        return RF_OK;
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_UINT:
        *out = integer(j, false, v->uni.u64);
        return RF_OK;
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_SINT:
        *out = v->uni.i64 < 0 ? integer(j, true, 0 - v->uni.u64) : integer(j, false, v->uni.u64);
        return RF_OK;
    case YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL:
        *out = real(j, v->uni.f64);
        return RF_OK;
    case YYJSON_TYPE_NULL:
        *out = scalar(j, TAG_NULL, 0);
        return RF_OK;
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_FALSE:
        *out = scalar(j, TAG_FALSE, 0);
        return RF_OK;
    case YYJSON_TYPE_BOOL | YYJSON_SUBTYPE_TRUE:
        *out = scalar(j, TAG_TRUE, 0);
        return RF_OK;
    default:
        RF_ASSERT(unsafe_yyjson_get_type((void *)(uintptr_t)v) == YYJSON_TYPE_RAW);
        return big_number(j, v, out) ? RF_OK : too_large(w, v);
    }
}

RFI_COLD static rf_status found_twice(const walk *w, yyjson_val *key)
{
    rf_str name = rfi_val_str(key);
    rf_status st =
        rfi_fault(w->fault, RF_EINVAL, "duplicate-key", rfi_json_at(w->j, key) - 1,
                  "The key \"%.*s\" stands twice in one object.", (int)RF_MIN(name.n, 100), name.p);
    w->j->frames[w->depth - 1].key = key;
    walk_path(w);
    return st;
}

/* The frame on top has no member left: its duplicate keys, its hash. */
static rf_status close_frame(walk *w, rf_hash128 *out)
{
    rfi_json *j = w->j;
    rfi_frame *f = &j->frames[w->depth - 1];
    *out = rfi_mix(j, f->sum, (rf_hash128){f->count, f->object ? TAG_OBJECT : TAG_ARRAY});
    if (f->object) {
        yyjson_val *duplicate;
        if (!rfi_json_find_duplicate(j, f->key_base, &duplicate))
            return rfi_fault_no_memory(w->fault);
        if (duplicate != NULL)
            return found_twice(w, duplicate);
        j->key_count = f->key_base;
    }
    w->depth--;
    return RF_OK;
}

static inline void add_member(const rfi_json *j, rfi_frame *f, rf_hash128 h)
{
    if (f->object) {
        rf_hash128 member = rfi_mix(j, f->key_hash, h);
        f->sum.lo += member.lo;
        f->sum.hi += member.hi;
    } else {
        f->sum = rfi_mix(j, f->sum, h);
    }
}

/* A value is done: hands its hash to the container around it, closing each that it completes. At
 * the end w->depth is 0 and *h the hash of the whole, or a member is to come. */
static rf_status hand_up(walk *w, rf_hash128 *h)
{
    while (w->depth > 0) {
        rfi_frame *f = &w->j->frames[w->depth - 1];
        add_member(w->j, f, *h);
        if (--f->left > 0)
            break;
        rf_status st = close_frame(w, h);
        if (st != RF_OK)
            return st;
    }
    return RF_OK;
}

static rf_status open_frame(walk *w, const yyjson_val *container)
{
    if (w->depth == w->depth_max)
        return too_deep(w);
    size_t count = (size_t)(container->tag >> YYJSON_TAG_BIT);
    w->j->frames[w->depth++] = (rfi_frame){
        .count = count,
        .left = count,
        .key_base = w->j->key_count,
        .object = ((uint8_t)container->tag & YYJSON_TYPE_MASK) == YYJSON_TYPE_OBJ,
    };
    return RF_OK;
}

rf_status rfi_json_walk(rfi_json *j, yyjson_val *value, uint32_t depth_max, rf_str text,
                        rf_str prefix, rf_hash128 *content, rf_event_fault *fault)
{
    walk w = {.j = j, .text = text, .prefix = prefix, .depth_max = depth_max, .fault = fault};
    RF_ASSERT(depth_max <= RF_EVENT_DEPTH_CAP);

    /* yyjson keeps values one after the other in the order of the text: the next is value + 1. */
    for (;; value++) {
        rf_hash128 h = {0, 0};
        rf_status st;
        bool done = true;
        if (unsafe_yyjson_is_ctn(value)) {
            st = open_frame(&w, value);
            done = st == RF_OK && j->frames[w.depth - 1].left == 0;
            if (done)
                st = close_frame(&w, &h);
        } else {
            st = scalar_hash(&w, value, &h);
        }
        if (st == RF_OK && done)
            st = hand_up(&w, &h);
        if (st != RF_OK)
            return st;
        if (w.depth == 0) {
            *content = h;
            return RF_OK;
        }
        rfi_frame *f = &j->frames[w.depth - 1];
        if (f->object) {
            f->key = ++value;
            f->key_hash = rfi_hash(j, rfi_val_str(value));
            if (!rfi_json_push_key(j, value, f->key_hash.lo))
                return rfi_fault_no_memory(fault);
        }
    }
}

rf_hash128 rf_json_content(rf_str json_value, uint64_t seed)
{
    rfi_json *j = rf_xmalloc(sizeof *j); /* the frames are large for a stack */
    rf_event_fault fault;
    yyjson_val *root = NULL;
    rf_hash128 content = {0, 0};
    rfi_json_init(j, seed);
    rf_status st = rfi_json_parse(j, json_value, &root, &fault);
    if (st == RF_OK) {
        RF_ASSERT(root != NULL);
        st = rfi_json_walk(j, root, RF_EVENT_DEPTH_CAP, json_value, (rf_str){NULL, 0}, &content,
                           &fault);
    }
    if (st != RF_OK)
        content = (rf_hash128){0, 0};
    rfi_json_clear(j);
    free(j);
    return content;
}
