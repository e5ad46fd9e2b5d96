/*
 * HTTP/1.1 requests as bytes: our own gate in front of llhttp. Knows nothing of sockets.
 *
 * What the gate guarantees for a head that passed (each refusal has a rule, see parse.c):
 *   G1  lines end in CRLF and nothing else; no control character and no NUL anywhere
 *   G2  at most RFI_HEAD_MAX bytes, RFI_HEADERS_MAX headers, a target of RFI_TARGET_MAX bytes
 *   G3  no folded line, no empty header name; exactly one Host in HTTP/1.1, at most one in 1.0
 *   G4  the body's length is told once: not by two Content-Length, nor by both it and
 *       Transfer-Encoding; the latter is "chunked" and the version is 1.1
 *   G5  our own scan and llhttp agree about the byte at which the head ends
 *   G6  the target is "*" (OPTIONS) or a path with well-formed percent escapes
 */
#ifndef RFI_SERVER_PARSE_H
#define RFI_SERVER_PARSE_H

#include "base/base.h"

#define RFI_HEAD_MAX (32u << 10)
#define RFI_TARGET_MAX (8u << 10)
#define RFI_HEADERS_MAX 100
/* Bytes of chunk sizes, extensions and trailers: so many, and so many for each byte of body. */
#define RFI_CHUNK_OVERHEAD_BASE (64u << 10)
#define RFI_CHUNK_OVERHEAD_RATIO 16

typedef struct rfi_header {
    uint16_t name_at, name_n, value_at, value_n; /* into the head's bytes; value without blanks */
} rfi_header;

/* A parsed head. Owns a copy of its bytes: slices live until rfi_head_reset. */
typedef struct rfi_head {
    rf_buf bytes;
    rf_str method;
    rf_str target; /* path and query as sent */
    rf_str path;   /* still encoded */
    rf_str query;  /* without the '?'; n == 0: none */
    rfi_header headers[RFI_HEADERS_MAX];
    uint32_t header_count;
    bool http10;
    bool keep_alive; /* what the client asked for */
    bool has_body;   /* Content-Length > 0 or chunked */
    bool chunked;
    bool expect_continue; /* Expect: 100-continue */
    uint64_t content_length;
} rfi_head;

void rfi_head_init(rfi_head *h);
void rfi_head_reset(rfi_head *h); /* keeps little memory */
void rfi_head_clear(rfi_head *h);
rf_str rfi_head_name(const rfi_head *h, size_t i);
rf_str rfi_head_value(const rfi_head *h, size_t i);
/* The first header of that name (compared without case; `name` is lower-case), or an empty slice
 * with p NULL. */
rf_str rfi_head_find(const rfi_head *h, const char *name);
size_t rfi_head_count(const rfi_head *h, const char *name);

bool rfi_eq_nocase(rf_str a, const char *lower);
/* One element of a comma separated list, compared without case. */
bool rfi_list_has(rf_str list, const char *lower);

/* Why a request was refused. */
typedef struct rfi_refusal {
    int status;       /* 400, 413, 414, 417, 431, 501, 505 */
    const char *rule; /* static */
    const char *detail;
} rfi_refusal;

typedef enum rfi_parsed {
    RFI_PARSED_MORE, /* all bytes were taken, more are needed */
    RFI_PARSED_HEAD, /* the head is complete; run again (n may be 0) for the body */
    RFI_PARSED_END,  /* the message is complete; the next call begins another */
    RFI_PARSED_BAD   /* see rfi_parser_refusal; the connection is of no use any more */
} rfi_parsed;

typedef struct rfi_parser rfi_parser;

/* body(): pieces of the body as they come, during rfi_parser_run. */
rfi_parser *rfi_parser_new(void (*body)(void *arg, const char *p, size_t n), void *arg);
void rfi_parser_free(rfi_parser **p);
/* Where the next head goes; keeps the pointer until that message's end. */
void rfi_parser_begin(rfi_parser *p, rfi_head *head);
/* Some byte of the head has arrived, and it is not complete. */
bool rfi_parser_in_head(const rfi_parser *p);
/* Takes bytes up to the next thing to tell; *used says how many. */
rfi_parsed rfi_parser_run(rfi_parser *p, const char *bytes, size_t n, size_t *used);
const rfi_refusal *rfi_parser_refusal(const rfi_parser *p);

#endif
