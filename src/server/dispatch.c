/* From a complete head to its handler: routes, methods, parameters, limits. */
#include "server/conn_int.h"

#include <stdlib.h>
#include <string.h>

/* ---- routes -----------------------------------------------------------------------------------
 */

/* The next segment of a path (after its '/'); false at the end. */
static bool next_segment(const char **p, const char *end, rf_str *segment)
{
    if (*p >= end || **p != '/')
        return false;
    const char *from = *p + 1;
    const char *slash = memchr(from, '/', (size_t)(end - from));
    const char *to = slash == NULL ? end : slash;

    *segment = (rf_str){from, (size_t)(to - from)};
    *p = to;
    return true;
}

/* Segments are compared as they were sent: an encoded slash is part of a parameter. */
static bool match_path(const char *pattern, rf_str path, rf_str params[RFI_PARAMS_MAX])
{
    const char *a = pattern, *a_end = pattern + strlen(pattern);
    const char *b = path.p, *b_end = path.p + path.n;
    rf_str want, have;
    size_t n = 0;

    for (;;) {
        bool more = next_segment(&a, a_end, &want);

        if (more != next_segment(&b, b_end, &have))
            return false;
        if (!more)
            return true;
        if (want.n > 0 && want.p[0] == '{') {
            if (have.n == 0)
                return false;
            RF_ASSERT(n < RFI_PARAMS_MAX);
            params[n++] = have;
        } else if (!rf_str_eq(want, have)) {
            return false;
        }
    }
}

static void add_method(char *allow, size_t size, const char *method)
{
    size_t n = strlen(allow);

    if (strstr(allow, method) == NULL)
        snprintf(allow + n, size - n, "%s%s", n == 0 ? "" : ", ", method);
}

void rfi_route_match(const rfi_route *routes, size_t count, rf_str method, rf_str path,
                     rfi_match *out)
{
    bool head = rf_str_eq(method, RF_STR("HEAD"));

    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        rf_str params[RFI_PARAMS_MAX] = {{NULL, 0}};

        if (!match_path(routes[i].pattern, path, params))
            continue;
        if (rf_str_eq(method, rf_str_from(routes[i].method)) ||
            (head && strcmp(routes[i].method, "GET") == 0)) {
            out->route = &routes[i];
            out->allow[0] = '\0';
            memcpy(out->params, params, sizeof params);
            return;
        }
        add_method(out->allow, sizeof out->allow, routes[i].method);
        if (strcmp(routes[i].method, "GET") == 0)
            add_method(out->allow, sizeof out->allow, "HEAD");
    }
    if (out->allow[0] != '\0')
        add_method(out->allow, sizeof out->allow, "OPTIONS");
}

bool rfi_route_has_query(const rfi_route *route, rf_str name)
{
    const char *p = route->query;

    while (p != NULL && *p != '\0') {
        size_t n = strcspn(p, ",");

        if (rf_str_eq(name, (rf_str){p, n}))
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

/* ---- parameters -------------------------------------------------------------------------------
 */

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

rf_str rfi_percent_decode(rf_str s, bool plus, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '%' && i + 2 < s.n) { /* G6: well-formed */
            out[n++] = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
            i += 2;
        } else {
            out[n++] = plus && s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    return (rf_str){out, n};
}

/* The same for text that nobody has checked: what is no escape stays as it is. */
rf_str rfi_percent_decode_lax(rf_str s, char *out)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        bool escape = s.p[i] == '%' && i + 2 < s.n && memchr(digits, s.p[i + 1], 22) != NULL &&
                      memchr(digits, s.p[i + 2], 22) != NULL;

        out[n++] = escape ? (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2])) : s.p[i];
        i += escape ? 2 : 0;
    }
    return (rf_str){out, n};
}

/* Decoded slices live as long as the request; together they are no longer than the target. */
static rf_str decode(rfi_req *r, rf_str s, bool plus)
{
    size_t room = 2 * (size_t)RFI_TARGET_MAX; /* a handler may ask for the same one twice */

    if (r->decoded == NULL) {
        r->decoded = rf_xmalloc(room);
        r->decoded_n = 0;
    }
    RF_ASSERT(r->decoded_n + s.n <= room);
    rf_str out = rfi_percent_decode(s, plus, r->decoded + r->decoded_n);

    r->decoded_n += out.n;
    return out;
}

/* The next name=value of a query. */
static bool next_pair(rf_str *query, rf_str *name, rf_str *value)
{
    while (query->n > 0 && query->p[0] == '&')
        *query = (rf_str){query->p + 1, query->n - 1};
    if (query->n == 0)
        return false;
    const char *and = memchr(query->p, '&', query->n);
    size_t n = and == NULL ? query->n : (size_t)(and-query->p);
    const char *equals = memchr(query->p, '=', n);

    *name = (rf_str){query->p, equals == NULL ? n : (size_t)(equals - query->p)};
    *value = equals == NULL ? (rf_str){query->p + n, 0} : (rf_str){equals + 1, n - name->n - 1};
    *query = (rf_str){query->p + n, query->n - n};
    return true;
}

bool rfi_req_query(rfi_req *r, const char *name, rf_str *value)
{
    rf_str query = r->head.query, key, raw;

    while (next_pair(&query, &key, &raw)) {
        if (rf_str_eq(key, rf_str_from(name))) {
            *value = decode(r, raw, true);
            return true;
        }
    }
    return false;
}

bool rfi_req_query_u64(rfi_req *r, const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
    rf_str text;
    uint64_t v;

    if (!rfi_req_query(r, name, &text))
        return true;
    if (!rf_str_to_u64(text, &v) || v < min || v > max) {
        rfi_problem(r, 400, "bad-parameter",
                    "The parameter %s must be a whole number from %llu to %llu.", name,
                    (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *value = v;
    return true;
}

/* A parameter that is ignored is a filter that does not filter: refused by name. */
static bool check_query(rfi_req *r)
{
    rf_str query = r->head.query, name, value;

    while (next_pair(&query, &name, &value)) {
        if (rfi_route_has_query(r->route, name))
            continue;
        rfi_problem(r, 400, "unknown-parameter", "There is no parameter '%.*s' here; there %s: %s.",
                    (int)RF_MIN(name.n, (size_t)64), name.p,
                    r->route->query == NULL ? "are none" : "are",
                    r->route->query == NULL ? "see /openapi.json" : r->route->query);
        return false;
    }
    return true;
}

static bool decode_params(rfi_req *r, const rfi_match *m)
{
    for (size_t i = 0; i < RFI_PARAMS_MAX && m->params[i].p != NULL; i++) {
        size_t bad;

        r->params[i] = decode(r, m->params[i], false);
        if (!rf_utf8_valid(r->params[i].p, r->params[i].n, &bad)) {
            rfi_problem(r, 400, "utf8", "Segment %zu of the path's parameters is not UTF-8.",
                        i + 1);
            return false;
        }
    }
    return true;
}

/* ---- dispatch ---------------------------------------------------------------------------------
 */

static void answer_no_route(rfi_req *r, const rfi_match *m)
{
    rf_str method = r->head.method;

    if (rf_str_eq(method, RF_STR("OPTIONS")) &&
        (m->allow[0] != '\0' || rf_str_eq(r->head.path, RF_STR("*")))) {
        rfi_reply_header(r, "Allow", "%s",
                         m->allow[0] != '\0' ? m->allow : "GET, HEAD, POST, PUT, DELETE, OPTIONS");
        rfi_reply(r, 204, NULL, (rf_str){NULL, 0});
    } else if (m->allow[0] != '\0') {
        rfi_reply_header(r, "Allow", "%s", m->allow);
        rfi_problem(r, 405, "method-not-allowed", "%.*s is not allowed here; allowed: %s.",
                    (int)RF_MIN(method.n, (size_t)32), method.p, m->allow);
    } else {
        rfi_problem(r, 404, "no-such-route",
                    "There is nothing at %.*s; GET / lists what there is, and slashes inside names "
                    "are written %%2F.",
                    (int)RF_MIN(r->head.path.n, (size_t)200), r->head.path.p);
    }
}

static bool body_too_big(rfi_req *r, uint64_t bytes)
{
    if (r->route->body != RFI_BODY_WHOLE || bytes <= r->route->body_max)
        return false;
    rfi_problem(r, 413, "size", "The body may have %u bytes here.", r->route->body_max);
    return true;
}

void rfi_dispatch_head(rfi_req *r)
{
    const rfi_http_options *o = &r->http->options;
    rfi_match m;

    r->keep_alive = r->head.keep_alive;
    r->head_only = rf_str_eq(r->head.method, RF_STR("HEAD"));
    rfi_route_match(o->routes, o->route_count, r->head.method, r->head.path, &m);
    r->route = m.route;
    if (m.route == NULL) {
        answer_no_route(r, &m);
        return;
    }
    if (m.route->handle[o->half] == NULL) {
        rfi_problem(r, 404, "wrong-half", "%s %s is served by the %s half; this is the other one.",
                    m.route->method, m.route->pattern, m.route->half);
        return;
    }
    if (!decode_params(r, &m) || !check_query(r) || body_too_big(r, r->head.content_length))
        return;
    if (m.route->body == RFI_BODY_STREAM)
        m.route->handle[o->half](r);
    else
        rf_buf_init(&r->body, m.route->body_max);
}

void rfi_dispatch_body(rfi_req *r, const char *p, size_t n)
{
    if (r->started)
        return;
    if (r->route->body == RFI_BODY_STREAM) {
        if (r->on_body != NULL)
            r->on_body(r, p, n);
    } else if (r->route->body == RFI_BODY_WHOLE) {
        if (body_too_big(r, r->body.n + n))
            return;
        rf_buf_add(&r->body, p, n);
        if (r->body.failed)
            rfi_problem(r, 503, "no-memory", "There is no memory for this body now.");
    }
}

void rfi_dispatch_end(rfi_req *r)
{
    if (r->started)
        return;
    if (r->route->body == RFI_BODY_STREAM) {
        if (r->on_end != NULL)
            r->on_end(r);
    } else {
        r->route->handle[r->http->options.half](r);
    }
}
