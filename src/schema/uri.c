/* URI references (RFC 3986 §5.2), as far as schemas need them: resolve against a base, split off
 * the fragment. Percent-encoding is left as it is, except in fragments that are JSON Pointers. */
#include <string.h>

#include "schema/validator_int.h"

typedef struct parts {
    rf_str scheme, authority, path, query;
    bool has_authority, has_query;
} parts;

static parts split(rf_str u)
{
    parts p = {0};
    size_t i = 0;

    while (i < u.n && ((u.p[i] >= 'a' && u.p[i] <= 'z') || (u.p[i] >= 'A' && u.p[i] <= 'Z') ||
                       (i > 0 && ((u.p[i] >= '0' && u.p[i] <= '9') || u.p[i] == '+' ||
                                  u.p[i] == '-' || u.p[i] == '.'))))
        i++;
    if (i > 0 && i < u.n && u.p[i] == ':') {
        p.scheme = (rf_str){u.p, i};
        u = (rf_str){u.p + i + 1, u.n - i - 1};
    }
    if (u.n >= 2 && u.p[0] == '/' && u.p[1] == '/') {
        size_t end = 2;

        while (end < u.n && u.p[end] != '/' && u.p[end] != '?')
            end++;
        p.has_authority = true;
        p.authority = (rf_str){u.p + 2, end - 2};
        u = (rf_str){u.p + end, u.n - end};
    }
    const char *q = u.n == 0 ? NULL : memchr(u.p, '?', u.n);

    if (q != NULL) {
        p.has_query = true;
        p.query = (rf_str){q + 1, u.n - (size_t)(q - u.p) - 1};
        u.n = (size_t)(q - u.p);
    }
    p.path = u;
    return p;
}

/* Removes "." and ".." segments, in place at the end of `out` that begins at `from`. */
static void add_path(rf_buf *out, rf_str path)
{
    size_t from = out->n;

    while (path.n > 0) {
        const char *slash = path.n > 1 ? memchr(path.p + 1, '/', path.n - 1) : NULL;
        size_t n = slash == NULL ? path.n : (size_t)(slash - path.p);
        rf_str seg = {path.p, n};
        bool last = slash == NULL;
        rf_str name = seg.p[0] == '/' ? (rf_str){seg.p + 1, n - 1} : seg;

        if (rf_str_eq(name, RF_STR(".")) || rf_str_eq(name, RF_STR(".."))) {
            if (name.n == 2) {
                while (out->n > from && out->p[out->n - 1] != '/')
                    out->n--;
                if (out->n > from)
                    out->n--;
            }
            if (last)
                rf_buf_add_char(out, '/');
        } else {
            rf_buf_add_str(out, seg);
        }
        path = (rf_str){path.p + n, path.n - n};
    }
}

void rfi_uri_split_fragment(rf_str uri, rf_str *without, rf_str *fragment)
{
    const char *hash = uri.n == 0 ? NULL : memchr(uri.p, '#', uri.n);

    *without = hash == NULL ? uri : (rf_str){uri.p, (size_t)(hash - uri.p)};
    *fragment =
        hash == NULL ? (rf_str){NULL, 0} : (rf_str){hash + 1, uri.n - (size_t)(hash - uri.p) - 1};
}

void rfi_uri_resolve(rf_str base_uri, rf_str reference, rf_buf *out)
{
    parts b = split(base_uri), r = split(reference);

    rf_buf_reset(out);
    if (reference.n == 0) {
        rf_buf_add_str(out, base_uri);
        return;
    }
    rf_str scheme = r.scheme.n > 0 ? r.scheme : b.scheme;
    bool own = r.scheme.n > 0 || r.has_authority;
    bool has_authority = own ? r.has_authority : b.has_authority;
    rf_str authority = own ? r.authority : b.authority;

    if (scheme.n > 0) {
        rf_buf_add_str(out, scheme);
        rf_buf_add_char(out, ':');
    }
    if (has_authority) {
        rf_buf_add_cstr(out, "//");
        rf_buf_add_str(out, authority);
    }
    if (own || (r.path.n > 0 && r.path.p[0] == '/')) {
        if (r.scheme.n > 0 && !r.has_authority && (r.path.n == 0 || r.path.p[0] != '/'))
            rf_buf_add_str(out, r.path); /* "urn:x:y" has no segments */
        else
            add_path(out, r.path);
    } else if (r.path.n == 0) {
        rf_buf_add_str(out, b.path);
        if (!r.has_query)
            r.query = b.query, r.has_query = b.has_query;
    } else {
        rf_buf joined;
        size_t keep = b.path.n;

        while (keep > 0 && b.path.p[keep - 1] != '/')
            keep--;
        rf_buf_init(&joined, 1u << 16);
        if (keep == 0 && b.has_authority)
            rf_buf_add_char(&joined, '/');
        rf_buf_add(&joined, b.path.p, keep);
        rf_buf_add_str(&joined, r.path);
        add_path(out, rf_buf_str(&joined));
        rf_buf_clear(&joined);
    }
    if (r.has_query) {
        rf_buf_add_char(out, '?');
        rf_buf_add_str(out, r.query);
    }
}
