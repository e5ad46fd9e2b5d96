/*
 * The gate (parse_int.h G1..G6) and llhttp behind it.
 *
 * A head is gathered until our own scan has found its end (CRLF CRLF), so llhttp sees it whole and
 * every name and value is a slice of one buffer. llhttp then parses it, and the body as it comes.
 * llhttp runs strict; what it still lets pass is refused here, before anybody looks at the request.
 *
 * States: BEFORE (skips empty lines) -> HEAD (scan) -> BODY (llhttp) -> BEFORE; BAD is final.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <llhttp.h>

#include "server/parse_int.h"

#define KEPT_HEAD_BYTES 4096 /* of a head's buffer, between requests */
#define EMPTY_LINES_MAX 8    /* bytes of CRLF before a request line (RFC 9112 2.2 wants one line) */

static_assert(RFI_HEAD_MAX <= UINT16_MAX, "offsets into a head are uint16_t");
static_assert(RFI_TARGET_MAX < RFI_HEAD_MAX, "a long target gets its own answer");
static_assert(LLHTTP_STRICT_MODE == 1, "loose llhttp lets a chunk without CRLF pass");

struct rfi_parser {
    llhttp_t llhttp;
    enum { BEFORE, HEAD, BODY, BAD } state;
    rfi_head *head;
    void (*body)(void *arg, const char *p, size_t n);
    void *arg;
    /* scan */
    uint32_t blank;  /* bytes of empty lines before the request */
    uint32_t lines;  /* complete lines of this head */
    bool line_start; /* the next byte begins a line */
    bool after_cr;
    /* llhttp's callbacks */
    bool in_value;
    bool too_many;
    bool head_done; /* what comes now as headers are trailers: not ours */
    uint64_t body_bytes, overhead_bytes;
    rfi_refusal refusal;
};

/* ---- heads ------------------------------------------------------------------------------------
 */

void rfi_head_init(rfi_head *h)
{
    memset(h, 0, offsetof(rfi_head, headers));
    rf_buf_init(&h->bytes, RFI_HEAD_MAX);
    rfi_head_reset(h);
}

void rfi_head_reset(rfi_head *h)
{
    if (h->bytes.cap > KEPT_HEAD_BYTES)
        rf_buf_clear(&h->bytes);
    rf_buf_reset(&h->bytes);
    h->method = h->target = h->path = h->query = (rf_str){NULL, 0};
    h->header_count = 0;
    h->http10 = h->keep_alive = h->has_body = h->chunked = h->expect_continue = false;
    h->content_length = 0;
}

void rfi_head_clear(rfi_head *h)
{
    rf_buf_clear(&h->bytes);
    h->header_count = 0;
}

rf_str rfi_head_name(const rfi_head *h, size_t i)
{
    RF_ASSERT(i < h->header_count);
    return (rf_str){h->bytes.p + h->headers[i].name_at, h->headers[i].name_n};
}

rf_str rfi_head_value(const rfi_head *h, size_t i)
{
    RF_ASSERT(i < h->header_count);
    return (rf_str){h->bytes.p + h->headers[i].value_at, h->headers[i].value_n};
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool rfi_eq_nocase(rf_str a, const char *name)
{
    for (size_t i = 0; i < a.n; i++) {
        if (name[i] == '\0' || lower(a.p[i]) != name[i])
            return false;
    }
    return name[a.n] == '\0';
}

bool rfi_list_has(rf_str list, const char *name)
{
    const char *p = list.p, *end = list.p + list.n;

    while (p < end) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma == NULL ? end : comma;
        rf_str item = {p, (size_t)(stop - p)};

        while (item.n > 0 && (item.p[0] == ' ' || item.p[0] == '\t'))
            item = (rf_str){item.p + 1, item.n - 1};
        while (item.n > 0 && (item.p[item.n - 1] == ' ' || item.p[item.n - 1] == '\t'))
            item.n--;
        if (rfi_eq_nocase(item, name))
            return true;
        p = stop + 1;
    }
    return false;
}

rf_str rfi_head_find(const rfi_head *h, const char *name)
{
    for (size_t i = 0; i < h->header_count; i++) {
        if (rfi_eq_nocase(rfi_head_name(h, i), name))
            return rfi_head_value(h, i);
    }
    return (rf_str){NULL, 0};
}

size_t rfi_head_count(const rfi_head *h, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < h->header_count; i++)
        count += rfi_eq_nocase(rfi_head_name(h, i), name);
    return count;
}

/* ---- refusals ---------------------------------------------------------------------------------
 */

static rfi_parsed refuse(rfi_parser *p, int status, const char *rule, const char *detail)
{
    p->state = BAD;
    p->refusal = (rfi_refusal){status, rule, detail};
    return RFI_PARSED_BAD;
}

const rfi_refusal *rfi_parser_refusal(const rfi_parser *p)
{
    RF_ASSERT(p->state == BAD);
    return &p->refusal;
}

/* ---- llhttp -----------------------------------------------------------------------------------
 */

static int on_url(llhttp_t *l, const char *at, size_t n)
{
    rfi_head *h = ((rfi_parser *)l->data)->head;

    if (h->target.p == NULL)
        h->target = (rf_str){at, 0};
    h->target.n = (size_t)(at + n - h->target.p);
    return 0;
}

static int on_field(llhttp_t *l, const char *at, size_t n)
{
    rfi_parser *p = l->data;
    rfi_head *h = p->head;

    if (p->head_done)
        return 0;
    size_t offset = (size_t)(at - h->bytes.p);

    if (h->header_count == 0 || p->in_value) {
        if (h->header_count == RFI_HEADERS_MAX) {
            p->too_many = true;
            return -1;
        }
        h->headers[h->header_count++] =
            (rfi_header){(uint16_t)offset, 0, (uint16_t)(offset + n), 0};
        p->in_value = false;
    }
    rfi_header *header = &h->headers[h->header_count - 1];

    header->name_n = (uint16_t)(offset + n - header->name_at);
    return 0;
}

static int on_value(llhttp_t *l, const char *at, size_t n)
{
    rfi_parser *p = l->data;

    if (p->head_done)
        return 0;
    rfi_header *header = &p->head->headers[p->head->header_count - 1];
    size_t offset = (size_t)(at - p->head->bytes.p);

    if (!p->in_value)
        header->value_at = (uint16_t)offset;
    p->in_value = true;
    header->value_n = (uint16_t)(offset + n - header->value_at);
    return 0;
}

/* An empty value brings no on_value. */
static int on_value_complete(llhttp_t *l)
{
    ((rfi_parser *)l->data)->in_value = true;
    return 0;
}

static int on_headers_complete(llhttp_t *l)
{
    rfi_parser *p = l->data;
    rfi_head *h = p->head;

    p->head_done = true;
    h->http10 = l->http_major == 1 && l->http_minor == 0;
    h->keep_alive = llhttp_should_keep_alive(l) != 0;
    h->chunked = (l->flags & F_CHUNKED) != 0;
    h->content_length = l->content_length;
    h->has_body = h->chunked || l->content_length > 0;
    l->upgrade = 0; /* no protocol but this one is spoken here; asking for another is ignored */
    return HPE_PAUSED;
}

static int on_body(llhttp_t *l, const char *at, size_t n)
{
    rfi_parser *p = l->data;

    p->body_bytes += n;
    p->body(p->arg, at, n);
    return 0;
}

static int on_message_complete(llhttp_t *l)
{
    (void)l;
    return HPE_PAUSED;
}

static const llhttp_settings_t SETTINGS = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* What llhttp refused, in our words. */
static rfi_parsed refuse_syntax(rfi_parser *p)
{
    static const rf_str preface = {"PRI ", 4}; /* of HTTP/2 */

    if (!p->head_done && rf_str_starts(rf_buf_str(&p->head->bytes), preface))
        return refuse(p, 505, "bad-version",
                      "HTTP/2 is not spoken here; put a proxy in front, or use HTTP/1.1.");
    switch (llhttp_get_errno(&p->llhttp)) {
    case HPE_INVALID_METHOD:
        return refuse(p, 400, "bad-method",
                      "The request line does not begin with a method of HTTP.");
    case HPE_INVALID_URL:
        return refuse(p, 400, "bad-target", "The request target is not a well-formed URL path.");
    case HPE_INVALID_VERSION:
        return refuse(p, 505, "bad-version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return refuse(p, 400, "bad-content-length",
                      "Content-Length is not one decimal number, or stands beside another length.");
    case HPE_INVALID_TRANSFER_ENCODING:
        return refuse(p, 400, "bad-transfer-encoding",
                      "Transfer-Encoding does not end in chunked.");
    case HPE_INVALID_CHUNK_SIZE:
    case HPE_STRICT:
        return refuse(p, 400, p->head_done ? "bad-chunk" : "bad-request",
                      p->head_done ? "A chunk's size or its line end is malformed."
                                   : "The request's head is malformed.");
    case HPE_INVALID_HEADER_TOKEN:
        return refuse(p, 400, "bad-header",
                      "A header's name or value holds a forbidden character.");
    default:
        return refuse(p, 400, p->head_done ? "bad-body" : "bad-request",
                      p->head_done ? "The body's framing is malformed."
                                   : "The request's head is malformed.");
    }
}

/* ---- the gate ---------------------------------------------------------------------------------
 */

static bool percent_ok(rf_str s)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%')
            continue;
        if (i + 2 >= s.n || memchr(digits, s.p[i + 1], 22) == NULL ||
            memchr(digits, s.p[i + 2], 22) == NULL)
            return false;
        if (s.p[i + 1] == '0' && s.p[i + 2] == '0')
            return false; /* NUL has no business in a name */
        i += 2;
    }
    return true;
}

/* "http://host/path" (absolute form, as to a proxy) is the same as "/path". */
static void strip_authority(rfi_head *h)
{
    static const char scheme[] = "http://";
    size_t n = sizeof scheme - 1;

    if (h->target.n < n || !rfi_eq_nocase((rf_str){h->target.p, n}, scheme))
        return;
    const char *rest = h->target.p + n, *end = h->target.p + h->target.n;

    while (rest < end && *rest != '/' && *rest != '?')
        rest++;
    h->target = rest < end && *rest == '/' ? (rf_str){rest, (size_t)(end - rest)} : RF_STR("/");
}

static rfi_parsed check_target(rfi_parser *p)
{
    rfi_head *h = p->head;
    const char *after = h->target.p + h->target.n;

    /* One blank each side; bytes after the target there are, at least the empty line. */
    if (h->target.p != h->bytes.p + h->method.n + 1 || memcmp(after, " HTTP/1.", 8) != 0)
        return refuse(p, 400, "bad-request", "The request line is not METHOD TARGET HTTP/1.1.");
    if (h->target.n > RFI_TARGET_MAX)
        return refuse(p, 414, "target-too-long", "The request target is longer than 8 KiB.");
    strip_authority(h);
    bool star = rf_str_eq(h->target, RF_STR("*")) && rf_str_eq(h->method, RF_STR("OPTIONS"));

    if (!star && (h->target.n == 0 || h->target.p[0] != '/'))
        return refuse(p, 400, "bad-target",
                      "The request target must be a path that begins with '/'.");
    if (memchr(h->target.p, '#', h->target.n) != NULL || !percent_ok(h->target))
        return refuse(p, 400, "bad-target",
                      "The request target holds a fragment, a malformed percent escape, or %00.");
    const char *mark = memchr(h->target.p, '?', h->target.n);

    h->path = (rf_str){h->target.p, mark == NULL ? h->target.n : (size_t)(mark - h->target.p)};
    h->query = mark == NULL ? (rf_str){NULL, 0} : (rf_str){mark + 1, h->target.n - h->path.n - 1};
    return RFI_PARSED_HEAD;
}

/* Header values come with the blanks that were sent. */
static void trim_values(rfi_head *h)
{
    for (size_t i = 0; i < h->header_count; i++) {
        rfi_header *header = &h->headers[i];
        const char *p = h->bytes.p;

        while (header->value_n > 0 && (p[header->value_at] == ' ' || p[header->value_at] == '\t')) {
            header->value_at++;
            header->value_n--;
        }
        while (header->value_n > 0 && (p[header->value_at + header->value_n - 1] == ' ' ||
                                       p[header->value_at + header->value_n - 1] == '\t'))
            header->value_n--;
    }
}

static rfi_parsed check_framing(rfi_parser *p, size_t lengths, rf_str encoding, size_t encodings)
{
    if (lengths > 1)
        return refuse(p, 400, "bad-content-length", "Content-Length is given more than once.");
    if (encodings == 0)
        return RFI_PARSED_HEAD;
    if (lengths > 0)
        return refuse(p, 400, "bad-transfer-encoding",
                      "Content-Length and Transfer-Encoding exclude each other.");
    if (p->head->http10)
        return refuse(p, 400, "bad-transfer-encoding", "HTTP/1.0 has no Transfer-Encoding.");
    if (encodings > 1 || !rfi_eq_nocase(encoding, "chunked"))
        return refuse(p, 501, "bad-transfer-encoding",
                      "The only Transfer-Encoding understood is chunked; compress with "
                      "Content-Encoding.");
    return RFI_PARSED_HEAD;
}

/* Everything llhttp lets pass and we do not. */
static rfi_parsed check_head(rfi_parser *p)
{
    rfi_head *h = p->head;
    size_t hosts = 0, lengths = 0, encodings = 0;
    rf_str encoding = {NULL, 0}, expect = {NULL, 0};

    h->method =
        (rf_str){h->bytes.p, (size_t)((char *)memchr(h->bytes.p, ' ', h->bytes.n) - h->bytes.p)};
    trim_values(h);
    for (size_t i = 0; i < h->header_count; i++) {
        rf_str name = rfi_head_name(h, i);

        switch (name.n) { /* the length first: most headers are none of these */
        case 4:
            hosts += rfi_eq_nocase(name, "host");
            break;
        case 6:
            if (rfi_eq_nocase(name, "expect"))
                expect = rfi_head_value(h, i);
            break;
        case 14:
            lengths += rfi_eq_nocase(name, "content-length");
            break;
        case 17:
            if (rfi_eq_nocase(name, "transfer-encoding")) {
                encoding = rfi_head_value(h, i);
                encodings++;
            }
            break;
        case 0:
            return refuse(p, 400, "bad-header", "A header has no name.");
        default:
            break;
        }
    }
    if (hosts > 1 || (hosts == 0 && !h->http10))
        return refuse(p, 400, "bad-host", "HTTP/1.1 wants exactly one Host header.");
    if (check_framing(p, lengths, encoding, encodings) != RFI_PARSED_HEAD)
        return RFI_PARSED_BAD;
    if (expect.p != NULL && !rfi_eq_nocase(expect, "100-continue"))
        return refuse(p, 417, "bad-expect", "The only expectation understood is 100-continue.");
    h->expect_continue = expect.p != NULL && !h->http10 && h->has_body;
    return check_target(p);
}

/* ---- scanning ---------------------------------------------------------------------------------
 */

enum { CLASS_PLAIN = 0, CLASS_CR, CLASS_LF, CLASS_BAD };

static const unsigned char CLASS[256] = {
    [0 ... 8] = CLASS_BAD, ['\t'] = CLASS_PLAIN,    ['\n'] = CLASS_LF, [11 ... 12] = CLASS_BAD,
    ['\r'] = CLASS_CR,     [14 ... 31] = CLASS_BAD, [127] = CLASS_BAD,
};

/* The byte that begins a line (not the first). */
static rfi_parsed check_line_start(rfi_parser *p, char c)
{
    if (c == ' ' || c == '\t')
        return refuse(p, 400, "folded-header", "Header values may not be folded over lines.");
    if (c == ':')
        return refuse(p, 400, "bad-header", "A header has no name.");
    /* lines counts the request line too. */
    if (c != '\r' && p->lines > RFI_HEADERS_MAX)
        return refuse(p, 431, "too-many-headers", "There are more than 100 headers.");
    return RFI_PARSED_MORE;
}

/* Looks at bytes of a head; MORE: none of them ends it, HEAD: *used bytes end it. */
static rfi_parsed scan(rfi_parser *p, const char *bytes, size_t n, size_t *used)
{
    for (size_t i = 0; i < n; i++) {
        char c = bytes[i];
        unsigned char class = CLASS[(unsigned char)c];

        if (p->after_cr) {
            if (c != '\n')
                return refuse(p, 400, "bad-line-end", "A carriage return stands alone.");
            p->after_cr = false;
            if (p->line_start) { /* the line was empty */
                *used = i + 1;
                return RFI_PARSED_HEAD;
            }
            p->line_start = true;
            p->lines++;
            continue;
        }
        if (p->line_start && p->lines > 0 && check_line_start(p, c) == RFI_PARSED_BAD)
            return RFI_PARSED_BAD;
        if (class == CLASS_PLAIN) {
            p->line_start = false;
        } else if (class == CLASS_CR) {
            p->after_cr = true; /* line_start stays: an empty line is the end */
        } else {
            return class == CLASS_LF
                       ? refuse(p, 400, "bad-line-end", "A line ends without a carriage return.")
                       : refuse(p, 400, "control-character", "The head holds a control character.");
        }
    }
    *used = n;
    return RFI_PARSED_MORE;
}

static rfi_parsed refuse_size(rfi_parser *p)
{
    return p->lines == 0
               ? refuse(p, 414, "target-too-long", "The request line is longer than 32 KiB.")
               : refuse(p, 431, "head-too-large", "The request's head is larger than 32 KiB.");
}

static rfi_parsed parse_head(rfi_parser *p)
{
    rfi_head *h = p->head;
    const char *end = h->bytes.p + h->bytes.n;

    llhttp_init(&p->llhttp, HTTP_REQUEST, &SETTINGS);
    p->llhttp.data = p;
    p->in_value = p->too_many = p->head_done = false;
    p->body_bytes = p->overhead_bytes = 0;
    llhttp_errno_t e = llhttp_execute(&p->llhttp, h->bytes.p, h->bytes.n);

    if (p->too_many)
        return refuse(p, 431, "too-many-headers", "There are more than 100 headers.");
    if (e != HPE_PAUSED || !p->head_done)
        return refuse_syntax(p);
    if (llhttp_get_error_pos(&p->llhttp) != end) /* G5 */
        return refuse(p, 400, "bad-request", "The request's head is malformed.");
    if (p->llhttp.http_major != 1 || p->llhttp.http_minor > 1)
        return refuse(p, 505, "bad-version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    llhttp_resume(&p->llhttp);
    p->state = BODY;
    return check_head(p);
}

/* Empty lines before a request are skipped, a few. */
static size_t skip_blank(rfi_parser *p, const char *bytes, size_t n)
{
    size_t i = 0;

    while (i < n && (bytes[i] == '\r' || bytes[i] == '\n') && p->blank < EMPTY_LINES_MAX) {
        i++;
        p->blank++;
    }
    return i;
}

static rfi_parsed run_head(rfi_parser *p, const char *bytes, size_t n, size_t *used)
{
    rfi_head *h = p->head;
    size_t taken = 0;
    rfi_parsed parsed = scan(p, bytes, n, &taken);

    /* What is over the limit is refused for that, whatever else is wrong further on. */
    if (parsed != RFI_PARSED_BAD && taken > RFI_HEAD_MAX - h->bytes.n)
        return refuse_size(p);
    if (parsed == RFI_PARSED_BAD)
        return parsed;
    rf_buf_add(&h->bytes, bytes, taken);
    *used += taken;
    if (h->bytes.failed)
        return refuse(p, 503, "no-memory", "There is no memory for this request now.");
    return parsed == RFI_PARSED_HEAD ? parse_head(p) : RFI_PARSED_MORE;
}

static const char NOTHING[1] = "";

static rfi_parsed run_body(rfi_parser *p, const char *bytes, size_t n, size_t *used)
{
    uint64_t body_before = p->body_bytes;
    size_t taken = n;

    if (n == 0)
        bytes = NOTHING;
    llhttp_errno_t e = llhttp_execute(&p->llhttp, bytes, n);

    if (e == HPE_PAUSED)
        taken = (size_t)(llhttp_get_error_pos(&p->llhttp) - bytes);
    else if (e != HPE_OK)
        return refuse_syntax(p);
    *used += taken;
    p->overhead_bytes += taken - (p->body_bytes - body_before);
    if (p->overhead_bytes > RFI_CHUNK_OVERHEAD_BASE + RFI_CHUNK_OVERHEAD_RATIO * p->body_bytes)
        return refuse(p, 400, "bad-chunk", "The chunks hold next to nothing but framing.");
    if (e == HPE_OK)
        return RFI_PARSED_MORE;
    p->state = BEFORE;
    p->blank = 0;
    return RFI_PARSED_END;
}

/* ---- the parser -------------------------------------------------------------------------------
 */

rfi_parser *rfi_parser_new(void (*body)(void *arg, const char *p, size_t n), void *arg)
{
    rfi_parser *p = calloc(1, sizeof *p);

    if (p == NULL)
        return NULL;
    p->body = body;
    p->arg = arg;
    return p;
}

void rfi_parser_free(rfi_parser **p)
{
    free(*p);
    *p = NULL;
}

void rfi_parser_begin(rfi_parser *p, rfi_head *head)
{
    RF_ASSERT(p->state == BEFORE);
    p->head = head;
    p->lines = 0;
    p->line_start = true;
    p->after_cr = false;
}

bool rfi_parser_in_head(const rfi_parser *p)
{
    return p->state == HEAD;
}

rfi_parsed rfi_parser_run(rfi_parser *p, const char *bytes, size_t n, size_t *used)
{
    *used = 0;
    switch (p->state) {
    case BEFORE:
        *used = skip_blank(p, bytes, n);
        if (*used == n)
            return RFI_PARSED_MORE;
        p->state = HEAD;
        return run_head(p, bytes + *used, n - *used, used);
    case HEAD:
        return run_head(p, bytes, n, used);
    case BODY:
        return run_body(p, bytes, n, used);
    case BAD:
    default:
        return RFI_PARSED_BAD;
    }
}
