/*
 * event: the CloudEvents 1.0 envelope, its decoding from JSON and its encoding, and the canonical
 * content hash that tells a retry from a conflict. Knows nothing of where events go.
 *
 * Sources: CloudEvents 1.0.2 core, JSON format and HTTP binding; RFC 8259 (JSON); RFC 3339 (time).
 */
#ifndef RF_EVENT_H
#define RF_EVENT_H

#include "base/base.h"

/* How `data` came, and so how it goes back. */
typedef enum rf_data_kind {
    RF_DATA_NONE = 0,  /* no data member */
    RF_DATA_JSON = 1,  /* the exact bytes of a valid JSON value */
    RF_DATA_BINARY = 2 /* raw bytes; in JSON they travel as data_base64 */
} rf_data_kind;

/*
 * One event. All slices are borrowed: from the decoded bytes, from the decoder's arena, or from a
 * log block; the function that fills an event says until when. Absent attributes have n == 0.
 */
typedef struct rf_event {
    rf_str id, source, type;                        /* required, 1..RF_ATTR_MAX bytes of UTF-8 */
    rf_str subject, datacontenttype, dataschema;    /* optional */
    rf_str time_text;                               /* `time` as sent */
    int64_t time_us;                                /* its value; RF_TIME_NONE when absent */
    rf_str correlationid, causationid, traceparent; /* extensions that refold knows */
    /* Every other extension, as members of a JSON object without the braces, in order of name:
     * `"a":"x","b":true`. Values are strings, booleans or integers (CloudEvents types). */
    rf_str extensions;
    rf_data_kind data_kind;
    rf_str data;
    /* Hash of all that makes two sendings the same event, see rf_event_content(). */
    rf_hash128 content;
} rf_event;

/* Where the log put it. */
typedef struct rf_event_place {
    rf_str domain;
    uint32_t partition;
    uint64_t offset;     /* 0-based in the partition */
    uint64_t revision;   /* 0-based in the stream */
    int64_t recorded_us; /* never goes back within a partition */
} rf_event_place;

/* A stream's name within its domain: the subject, or the source of an event without one. */
rf_str rf_event_stream(const rf_event *e);

/* ---- limits -------------------------------------------------------------------------------- */

#define RF_ATTR_MAX 4096       /* bytes of one attribute */
#define RF_EVENT_DEPTH_CAP 512 /* hard cap on nesting, whatever the options say */
#define RF_EVENT_BYTES_CAP (16u << 20)

typedef struct rf_event_limits {
    uint32_t event_bytes_max; /* of one event's JSON; default 1 MiB, 1..RF_EVENT_BYTES_CAP */
    uint32_t depth_max;       /* nested arrays and objects in the whole event; default 64 */
} rf_event_limits;

#define RF_EVENT_LIMITS_DEFAULT ((rf_event_limits){.event_bytes_max = 1u << 20, .depth_max = 64})

/* ---- expected revision ------------------------------------------------------------------------
 */

/* What the producer expects of the stream before this event (extension `expectedrevision`: a
 * number, "no-stream", "stream-exists" or "any"; not stored). */
typedef struct rf_expect {
    enum { RF_EXPECT_ANY = 0, RF_EXPECT_EXACT, RF_EXPECT_NO_STREAM, RF_EXPECT_STREAM_EXISTS } kind;
    uint64_t revision; /* of the stream's last event; for EXACT */
} rf_expect;

/* Parses the attribute's text; false when it is none of the four. */
bool rf_expect_parse(rf_str text, rf_expect *out);

/* ---- decoding
 * ------------------------------------------------------------------------------------ */

/*
 * Why an event was refused. `rule` is a fixed lower-case name, part of the API:
 *   json-syntax utf8 depth size duplicate-key not-an-object missing-attribute empty-attribute
 *   bad-attribute-name bad-attribute-type attribute-too-long bad-time bad-specversion bad-base64
 *   data-and-data-base64 bad-expectedrevision control-character
 *   bad-uri (a space in source or dataschema), number-range (too large for a double), and the one
 *   that is not the event's fault: no-memory
 */
typedef struct rf_event_fault {
    const char *rule;  /* static storage */
    char path[128];    /* JSON Pointer (RFC 6901) to the member; "" is the event itself */
    uint64_t position; /* byte in the event's text, 0-based; 0 when it does not apply */
    char detail[256];  /* one sentence that names what was wrong and what to do */
} rf_event_fault;

/* Reusable decoder: holds a JSON pool and an arena. One thread at a time. */
typedef struct rf_decoder rf_decoder;

/* content_seed: secret of the data directory, see rf_event_content(). */
rf_decoder *rf_decoder_new(const rf_event_limits *limits, uint64_t content_seed);
void rf_decoder_free(rf_decoder **d);
/* Forgets what earlier decodes put into the arena: ends the life of their events' slices. */
void rf_decoder_reset(rf_decoder *d);

/*
 * Decodes one CloudEvent in JSON format. The event borrows from `text` and from the decoder's
 * arena, and is valid until rf_decoder_reset or the end of `text`, so many events can be decoded
 * before a reset. `data` is the exact slice of `text`. Checks, in this order: size, UTF-8, JSON
 * syntax, shape (depth, duplicate keys and numbers at every level), attributes. Also refuses the
 * escape \u0000 in any string value, and raw NUL anywhere. An attribute that is null is absent, but
 * `data` may be null. `expect` may be NULL. Returns RF_OK, or RF_EINVAL / RF_ETOOBIG (size only) /
 * RF_ENOMEM with *fault filled and *out undefined.
 */
RF_CHECKED rf_status rf_event_decode(rf_decoder *d, rf_str text, rf_event *out, rf_expect *expect,
                                     rf_event_fault *fault);

/*
 * Splits a JSON batch (application/cloudevents-batch+json: an array of events) into slices of its
 * elements, without decoding them: calls each(arg, index, text) in order until it returns false.
 * The array itself must be well-formed down to its elements' brackets and strings; what is between
 * is checked by rf_event_decode. An empty array is fine. RF_EINVAL with *fault otherwise.
 */
RF_CHECKED rf_status rf_event_split_batch(rf_str text, uint64_t count_max,
                                          bool (*each)(void *arg, uint64_t index, rf_str element),
                                          void *arg, rf_event_fault *fault);

/*
 * Binary mode (HTTP): attributes come one by one from `ce-` headers (name without the prefix, value
 * percent-decoded by the caller), the body is `data`. begin, then attributes, then finish with the
 * content type and the body. A body whose type is JSON (application/json, text/json, +json, or
 * none) is checked and stored as JSON, any other as binary; an empty one is no data. Names and
 * values are copied, the body is borrowed; the caller sets *expect to ANY before the first
 * attribute. Same faults as rf_event_decode.
 */
void rf_event_binary_begin(rf_decoder *d, rf_event *out);
RF_CHECKED rf_status rf_event_binary_attr(rf_decoder *d, rf_event *out, rf_expect *expect,
                                          rf_str name, rf_str value, rf_event_fault *fault);
RF_CHECKED rf_status rf_event_binary_finish(rf_decoder *d, rf_event *out, rf_str content_type,
                                            rf_str body, rf_event_fault *fault);

/*
 * The content hash: covers every attribute but traceparent, tracestate and expectedrevision (a
 * retry may change them), and data by value, not by spelling: order of members, white space,
 * escapes and the spelling of numbers (1, 1.0, 1e0) do not matter; numbers are compared as
 * int64/uint64 when integral and in range, else as the nearest double (a number written with
 * fraction or exponent is read as a double first). An attribute counts by its string form, so an
 * event has one content in structured and in binary mode. Computed by the decoders. Exposed for
 * tests, of data alone; all zero when the text is not JSON.
 */
rf_hash128 rf_json_content(rf_str json_value, uint64_t seed);

/* ---- encoding
 * -------------------------------------------------------------------------------------- */

/* Appends the event as one JSON object, structured mode, attributes in a fixed order, data byte for
 * byte as it was sent (line breaks inside it stay: see _line). */
void rf_event_encode(const rf_event *e, rf_buf *out);
/* The same on one line: raw CR and LF between tokens of data become spaces. */
void rf_event_encode_line(const rf_event *e, rf_buf *out);
/* `{"domain":…,"partition":…,"offset":…,"stream":…,"revision":…,"recordedtime":…,"event":{…}}` on
 * one line: how events are listed by the API. */
void rf_event_encode_placed(const rf_event *e, const rf_event_place *place, rf_buf *out);

/* ---- position
 * ---------------------------------------------------------------------------------------- */

/*
 * A point in the whole log: for each (domain, partition) the number of its events that lie before
 * the point (so: the offset of the next). Clients see an opaque token. Partitions that are not
 * listed count as 0. Plain value with its own memory.
 */
typedef struct rf_position_part {
    char domain[64]; /* NUL-terminated; RF_DOMAIN_MAX */
    uint32_t partition;
    uint64_t next;
} rf_position_part;

#define RF_DOMAIN_MAX 63

typedef struct rf_position {
    rf_position_part *parts; /* sorted by domain, then partition */
    size_t count;
} rf_position;

void rf_position_clear(rf_position *p);
/* Raises one component to at least `next`. */
void rf_position_raise(rf_position *p, rf_str domain, uint32_t partition, uint64_t next);
uint64_t rf_position_get(const rf_position *p, rf_str domain, uint32_t partition);
/* Every component of `need` is reached by `have`. */
bool rf_position_reached(const rf_position *have, const rf_position *need);
void rf_position_copy(rf_position *to, const rf_position *from);
/* The token: URL-safe, no padding; the empty position has one too. */
void rf_position_encode(const rf_position *p, rf_buf *out);
/* *out need not be initialised; it is empty after a failure. */
RF_CHECKED rf_status rf_position_decode(rf_str token, rf_position *out, rf_err *err);
/* Domain names: 1..63 of [a-z0-9_-], beginning with a letter or digit. */
bool rf_domain_valid(rf_str name);

/* ---- UUIDs
 * -----------------------------------------------------------------------------------------------
 */

#define RF_UUID_TEXT 36
/* UUIDv7 (RFC 9562): sortable by time. */
void rf_uuid7(char out[static RF_UUID_TEXT + 1]);
/* UUIDv5-like deterministic id from bytes (SHA-256 based, version nibble 8): same bytes, same id.
 */
void rf_uuid8_of(const void *p, size_t n, char out[static RF_UUID_TEXT + 1]);

#endif
