/* A raw HTTP client over a socket, for tests of the server. Everything has a time limit. */
#ifndef RF_TESTS_HTTP_KIT_H
#define RF_TESTS_HTTP_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

static inline int kit_connect(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* False when the server closed before it took all. */
static inline bool kit_send(int fd, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0) {
        ssize_t done = send(fd, at, n, MSG_NOSIGNAL);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static inline bool kit_say(int fd, const char *text)
{
    return kit_send(fd, text, strlen(text));
}

/* Appends what comes within the time; false at the end of the stream, or when nothing came. */
static inline bool kit_recv(int fd, rf_buf *to, int timeout_ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    char buf[65536];

    if (poll(&p, 1, timeout_ms) <= 0)
        return false;
    ssize_t n = recv(fd, buf, sizeof buf, 0);

    if (n > 0)
        rf_buf_add(to, buf, (size_t)n);
    return n > 0;
}

/* Has the server closed (orderly or not)? */
static inline bool kit_closed(int fd, int timeout_ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    char c;

    return poll(&p, 1, timeout_ms) > 0 && recv(fd, &c, 1, MSG_PEEK) <= 0;
}

typedef struct kit_reply {
    int status;
    rf_buf raw;  /* all that was read; may hold the next reply too */
    rf_str head; /* with the empty line */
    rf_str body; /* chunks put together are in `joined` */
    rf_buf joined;
    size_t end; /* of this reply in raw */
    size_t chunks_of, chunk_at;
} kit_reply;

static inline void kit_reply_init(kit_reply *r)
{
    memset(r, 0, sizeof *r);
    rf_buf_init(&r->raw, 512u << 20);
    rf_buf_init(&r->joined, 512u << 20);
}

static inline void kit_reply_clear(kit_reply *r)
{
    rf_buf_clear(&r->raw);
    rf_buf_clear(&r->joined);
}

static inline rf_str kit_header(const kit_reply *r, const char *name)
{
    const char *p = r->head.p, *end = r->head.p + r->head.n;
    size_t n = strlen(name);

    while (p < end) {
        const char *eol = memmem(p, (size_t)(end - p), "\r\n", 2);

        if (eol == NULL)
            break;
        if ((size_t)(eol - p) > n && strncasecmp(p, name, n) == 0 && p[n] == ':') {
            p += n + 1;
            while (*p == ' ')
                p++;
            return (rf_str){p, (size_t)(eol - p)};
        }
        p = eol + 2;
    }
    return (rf_str){NULL, 0};
}

/* The number at p, before end. (The sanitizers' strtol looks at all that follows.) */
static inline size_t kit_number(const char *p, const char *end, size_t base)
{
    size_t v = 0;

    for (; p < end; p++) {
        const char *digits = "0123456789abcdef", *d = memchr(digits, *p | 0x20, base);

        if (d == NULL)
            break;
        v = v * base + (size_t)(d - digits);
    }
    return v;
}

/* Joins the chunks from `at`; SIZE_MAX while they are not complete. Goes on where it stopped. */
static inline size_t kit_chunks(kit_reply *r, size_t at)
{
    if (r->chunks_of != at) {
        r->chunks_of = r->chunk_at = at;
        rf_buf_reset(&r->joined);
    }
    for (;;) {
        size_t left = r->raw.n - r->chunk_at;
        const char *p = r->raw.p + r->chunk_at;
        const char *eol = memmem(p, RF_MIN(left, (size_t)20), "\r\n", 2);

        if (eol == NULL)
            return SIZE_MAX;
        size_t n = kit_number(p, eol, 16), head = (size_t)(eol - p) + 2;

        if (left < head + n + 2)
            return SIZE_MAX;
        rf_buf_add(&r->joined, p + head, n);
        r->chunk_at += head + n + 2;
        if (n == 0)
            return r->chunk_at;
    }
}

/* Is there a whole reply from byte `from` of raw? (headers_only: the answer to HEAD.) */
static inline bool kit_parse(kit_reply *r, size_t from, bool headers_only, bool eof)
{
    if (r->raw.p == NULL)
        return false;
    char *p = r->raw.p + from;
    size_t n = r->raw.n - from;
    char *end = n == 0 ? NULL : memmem(p, RF_MIN(n, (size_t)16384), "\r\n\r\n", 4);

    if (end == NULL)
        return false;
    r->head = (rf_str){p, (size_t)(end - p) + 4};
    r->status = (int)kit_number(p + 9, end, 10);
    size_t body_at = from + r->head.n;
    rf_str length = kit_header(r, "Content-Length");
    uint64_t want = 0;

    if (headers_only || r->status == 204 || r->status < 200) {
        r->end = body_at;
        r->body = (rf_str){NULL, 0};
        return true;
    }
    if (length.p != NULL) {
        if (!rf_str_to_u64(length, &want) || r->raw.n - body_at < want)
            return false;
        r->body = (rf_str){r->raw.p + body_at, want};
        r->end = body_at + want;
        return true;
    }
    if (kit_header(r, "Transfer-Encoding").p != NULL) {
        size_t at = kit_chunks(r, body_at);

        if (at == SIZE_MAX)
            return false;
        r->body = rf_buf_str(&r->joined);
        r->end = at;
        return true;
    }
    r->body = (rf_str){r->raw.p + body_at, r->raw.n - body_at};
    r->end = r->raw.n;
    return eof;
}

/* Reads one reply; what was read before (pipelined) counts. False: none came. */
static inline bool kit_read(int fd, kit_reply *r, bool headers_only, int timeout_ms)
{
    int64_t until = rf_mono_us() + (int64_t)timeout_ms * 1000;
    size_t from = r->end;

    r->status = 0;
    for (;;) {
        if (kit_parse(r, from, headers_only, false))
            return true;
        int64_t left = until - rf_mono_us();

        if (left <= 0 || !kit_recv(fd, &r->raw, (int)(left / 1000) + 1))
            return kit_parse(r, from, headers_only, true);
    }
}

/* One request on a connection of its own: returns the status, 0 when there was no answer. */
static inline int kit_once(uint16_t port, const char *request, size_t n, kit_reply *r)
{
    int fd = kit_connect(port);

    if (fd < 0)
        return 0;
    kit_send(fd, request, n);
    bool ok = kit_read(fd, r, false, 5000);

    close(fd);
    return ok ? r->status : 0;
}

#endif
