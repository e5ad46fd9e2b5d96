/* event, inside: what the files of this folder share. Nobody else includes it. */
#ifndef RF_EVENT_INT_H
#define RF_EVENT_INT_H

#include "event/event.h"

#include <string.h>

#include <yyjson.h>

/* ---- faults ---------------------------------------------------------------------------------- */

/* Kept out of the hot functions, which would carry its stack frame and canary. */
#define RFI_COLD __attribute__((cold, noinline))

/* Fills *fault but its path, which is emptied; returns status. */
rf_status rfi_fault(rf_event_fault *fault, rf_status status, const char *rule, uint64_t position,
                    const char *fmt, ...) RF_PRINTF(5, 6);
/* Adds one segment to the JSON Pointer. False when it does not fit: nothing is added then, and the
 * caller stops, so that the path names the nearest ancestor that has room. */
bool rfi_fault_path(rf_event_fault *fault, rf_str segment);
/* rfi_fault without memory: the one refusal that is not the event's own. */
rf_status rfi_fault_no_memory(rf_event_fault *fault);

/* ---- scanning text (scan.c) ------------------------------------------------------------------ */

size_t rfi_skip_space(rf_str text, size_t at);
/* `at` is behind an opening quote: returns the index of the closing one, or text.n. */
size_t rfi_string_end(rf_str text, size_t at);
rf_str rfi_trim(rf_str text); /* JSON white space at both ends */
/* Byte of the first bracket that opens level `depth_max` + 1, or text.n when there is none. */
size_t rfi_too_deep_at(rf_str text, uint32_t depth_max);

/* ---- parsed JSON (json.c) -------------------------------------------------------------------- */

/* A key of an object that is being walked, for the duplicate check. */
typedef struct rfi_key {
    uint64_t hash;
    yyjson_val *key;
} rfi_key;

/* A container that is being walked. */
typedef struct rfi_frame {
    yyjson_val *key;     /* of the member at hand; objects only */
    rf_hash128 key_hash; /* of that key */
    rf_hash128 sum;      /* of the members done so far */
    size_t count;        /* members */
    size_t left;         /* those to come, the one at hand included */
    size_t key_base;     /* where this object's keys begin in `keys` */
    bool object;
} rfi_frame;

#define RFI_SHORT_BYTES 16

/*
 * One JSON text, parsed into memory that is used again for the next. Invariants:
 *   J1  the pool begins with yyjson's copy of the text, in which it unescapes strings in place. So
 * a string (and a raw number) lies as far into the pool as it began in the text: the one way to
 *       positions, which yyjson does not keep.
 *   J2  walking needs no C stack: depth is bounded by `frames`.
 */
typedef struct rfi_json {
    char *pool;
    size_t pool_cap, pool_used, pool_last; /* last: where the newest allocation begins */
    rfi_key *keys;
    size_t key_count, key_cap;
    uint32_t *slots; /* hash table of the duplicate check in large objects */
    size_t slot_cap;
    uint64_t seed;
    uint64_t mix[4];                         /* all from the seed: */
    uint64_t length[RFI_SHORT_BYTES + 1][4]; /* secrets for a short string of each length */
    rfi_frame frames[RF_EVENT_DEPTH_CAP];
} rfi_json;

void rfi_json_init(rfi_json *j, uint64_t seed);
void rfi_json_clear(rfi_json *j);
/* Gives back what one large text made it hold. */
void rfi_json_trim(rfi_json *j);

/* Values live until the next parse. */
rf_status rfi_json_parse(rfi_json *j, rf_str text, yyjson_val **root, rf_event_fault *fault);
/* Where in the text a string's first byte stands. */
size_t rfi_json_at(const rfi_json *j, const yyjson_val *string);

/*
 * Walks a value: no deeper than depth_max, no duplicate keys, every number a double; gives its
 * content hash. `text` and `prefix` (the member that holds the value) only serve the fault.
 */
rf_status rfi_json_walk(rfi_json *j, yyjson_val *value, uint32_t depth_max, rf_str text,
                        rf_str prefix, rf_hash128 *content, rf_event_fault *fault);

/* Keys by hand, for the event's own members: push all, then look for two that are equal. */
bool rfi_json_grow_keys(rfi_json *j);

static inline bool rfi_json_push_key(rfi_json *j, yyjson_val *key, uint64_t hash)
{
    if (j->key_count == j->key_cap && !rfi_json_grow_keys(j))
        return false;
    j->keys[j->key_count++] = (rfi_key){hash, key};
    return true;
}

/* The later key of a pair of equal ones among keys[base..key_count), or NULL. False: no memory. */
bool rfi_json_find_duplicate(rfi_json *j, size_t base, yyjson_val **duplicate);

/* ---- hashing, inline because every value goes through it ------------------------------------- */

/* The two halves of the 128-bit product, folded: the mixer of wyhash. */
static inline uint64_t rfi_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Two hashes into one; the order counts. Fit for untrusted input while the seed is secret. */
static inline rf_hash128 rfi_mix(const rfi_json *j, rf_hash128 a, rf_hash128 b)
{
    const uint64_t *m = j->mix;
    return (rf_hash128){
        .lo = rfi_fold(a.lo ^ m[0], b.lo ^ m[1]) + rfi_fold(a.hi ^ m[2], b.hi ^ m[3]),
        .hi = rfi_fold(a.lo ^ m[2], b.hi ^ m[1]) ^ rfi_fold(a.hi ^ m[3], b.lo ^ m[0]),
    };
}

/* Keys and values are mostly short, and a call of a general hash is dear for them: up to 16 bytes
 * are two overlapping words, under secrets of their own for each length. */
static inline rf_hash128 rfi_hash(const rfi_json *j, rf_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    uint64_t a = 0, b = 0;
    if (s.n > RFI_SHORT_BYTES)
        return rf_hash_fast(s.p, s.n, j->seed);
    if (s.n >= 8) {
        memcpy(&a, p, 8);
        memcpy(&b, p + s.n - 8, 8);
    } else if (s.n >= 4) {
        uint32_t head, tail;
        memcpy(&head, p, 4);
        memcpy(&tail, p + s.n - 4, 4);
        a = head;
        b = tail;
    } else if (s.n > 0) {
        a = p[0] | (uint64_t)p[s.n / 2] << 8 | (uint64_t)p[s.n - 1] << 16;
    }
    const uint64_t *m = j->length[s.n];
    return (rf_hash128){rfi_fold(a ^ m[0], b ^ m[1]), rfi_fold(a ^ m[2], b ^ m[3])};
}

static inline rf_str rfi_val_str(const yyjson_val *v)
{
    return (rf_str){v->uni.str, (size_t)(v->tag >> YYJSON_TAG_BIT)};
}

/* ---- attributes (attr.c) --------------------------------------------------------------------- */

typedef enum rfi_attr {
    RFI_ID,
    RFI_SOURCE,
    RFI_TYPE,
    RFI_SUBJECT,
    RFI_TIME,
    RFI_DATACONTENTTYPE,
    RFI_DATASCHEMA,
    RFI_CORRELATIONID,
    RFI_CAUSATIONID,
    RFI_TRACEPARENT,
    RFI_SPECVERSION,
    RFI_EXPECTEDREVISION,
    RFI_TRACESTATE, /* kept as an extension, but not part of the content */
    RFI_DATA,
    RFI_DATA_BASE64,
    RFI_EXTENSION, /* any other name */
    RFI_ATTR_COUNT
} rfi_attr;

typedef enum rfi_value_kind { RFI_STRING, RFI_BOOLEAN, RFI_INTEGER } rfi_value_kind;

typedef struct rfi_extension {
    rf_str name, value; /* value: the string's bytes, or the literal */
    rfi_value_kind kind;
} rfi_extension;

/* Where an attribute stands, for its fault: its name, and the byte at which its value begins. */
typedef struct rfi_place {
    rf_str name;
    uint64_t position;
} rfi_place;

struct rf_decoder {
    rf_event_limits limits;
    rf_arena *arena;
    rf_buf scratch; /* the extensions' text */
    rfi_extension *extensions;
    size_t extension_count, extension_cap;
    uint32_t seen;  /* bit per rfi_attr */
    rf_hash128 sum; /* of the attributes so far; becomes the content */
    rf_hash128 names[RFI_ATTR_COUNT];
    rfi_json json;
};

rfi_attr rfi_attr_of(rf_str name);
/* Forgets the event before. */
void rfi_attrs_begin(rf_decoder *d, rf_event *out, rf_expect *expect);
/* Checks one attribute (not data) and stores it; `value` must live as long as the event, `name`
 * until rfi_attrs_end. */
rf_status rfi_attrs_set(rf_decoder *d, rf_event *out, rf_expect *expect, rfi_attr attr,
                        const rfi_place *place, rfi_value_kind kind, rf_str value,
                        rf_event_fault *fault);
/* JSON data: its content hash. Binary data: its bytes. */
void rfi_attrs_data_json(rf_decoder *d, rf_event *out, rf_str text, rf_hash128 content);
void rfi_attrs_data_binary(rf_decoder *d, rf_event *out, rf_str bytes);
/* Nothing required is missing; extensions into their text; the content hash. */
rf_status rfi_attrs_end(rf_decoder *d, rf_event *out, rf_event_fault *fault);

#endif
