/*
 * Any bytes as HTTP requests through the gate and llhttp: no crash; what a head says lies inside
 * it; and whether they come at once or in pieces, the same is understood.
 */
#include "server/parse_int.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What was understood of a connection's bytes. */
typedef struct heard {
    uint64_t heads, ends, body_bytes, headers, digest;
    int refused;
    const char *rule;
} heard;

static void on_body(void *arg, const char *p, size_t n)
{
    heard *h = arg;

    h->body_bytes += n;
    for (size_t i = 0; i < n; i++)
        h->digest = h->digest * 1099511628211u + (unsigned char)p[i];
}

static void check_inside(const rfi_head *head, rf_str s)
{
    RF_ASSERT(s.n == 0 || (s.p >= head->bytes.p && s.p + s.n <= head->bytes.p + head->bytes.n));
}

static void on_head(heard *h, const rfi_head *head)
{
    size_t hosts = 0;

    h->heads++;
    check_inside(head, head->method);
    if (head->target.n > 1) /* "/" may be our own, for an absolute form without a path */
        check_inside(head, head->target);
    RF_ASSERT(head->method.n > 0 && head->target.n > 0 && head->target.n <= RFI_TARGET_MAX);
    RF_ASSERT(head->bytes.n <= RFI_HEAD_MAX && head->header_count <= RFI_HEADERS_MAX);
    RF_ASSERT(memchr(head->bytes.p, '\0', head->bytes.n) == NULL);
    for (size_t i = 0; i < head->header_count; i++) {
        rf_str name = rfi_head_name(head, i), value = rfi_head_value(head, i);

        check_inside(head, name);
        check_inside(head, value);
        RF_ASSERT(name.n > 0);
        RF_ASSERT(value.n == 0 || memchr(value.p, '\n', value.n) == NULL);
        hosts += rfi_eq_nocase(name, "host");
        h->headers++;
    }
    RF_ASSERT(hosts == 1 || (hosts == 0 && head->http10));
    RF_ASSERT(!(head->chunked && rfi_head_find(head, "content-length").p != NULL));
}

/* Feeds the bytes in pieces of at most `step`. */
static heard listen_to(const char *p, size_t n, size_t step)
{
    heard h = {0};
    rfi_parser *parser = rfi_parser_new(on_body, &h);
    rfi_head *head = malloc(sizeof *head);
    bool begun = false, more = false;
    size_t at = 0;

    rfi_head_init(head);
    while (h.refused == 0 && (at < n || more)) {
        size_t used = 0, piece = RF_MIN(step, n - at);

        if (!begun) {
            rfi_head_reset(head);
            rfi_parser_begin(parser, head);
            begun = true;
        }
        more = false;
        /* A copy of its own: reading past the piece is seen. */
        char *copy = malloc(piece + (piece == 0));

        memcpy(copy, p + at, piece);
        rfi_parsed parsed = rfi_parser_run(parser, copy, piece, &used);

        free(copy);
        RF_ASSERT(used <= piece);
        at += used;
        if (parsed == RFI_PARSED_HEAD) {
            on_head(&h, head);
            more = true;
        } else if (parsed == RFI_PARSED_END) {
            h.ends++;
            begun = false;
        } else if (parsed == RFI_PARSED_BAD) {
            const rfi_refusal *why = rfi_parser_refusal(parser);

            RF_ASSERT(why->status >= 400 && why->status < 600 && why->rule != NULL);
            h.refused = why->status;
            h.rule = why->rule;
        } else {
            RF_ASSERT(used == piece);
        }
    }
    rfi_head_clear(head);
    free(head);
    rfi_parser_free(&parser);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t step = n > 0 ? 1 + data[0] % 7 : 1;
    heard whole = listen_to((const char *)data, n, SIZE_MAX);
    heard pieces = listen_to((const char *)data, n, step);

    RF_ASSERT(whole.heads == pieces.heads && whole.ends == pieces.ends);
    RF_ASSERT(whole.headers == pieces.headers);
    RF_ASSERT((whole.refused == 0) == (pieces.refused == 0));
    /* After a refusal in the middle of a body, how much of it was heard before may differ. */
    if (whole.refused == 0)
        RF_ASSERT(whole.body_bytes == pieces.body_bytes && whole.digest == pieces.digest);
    return 0;
}
