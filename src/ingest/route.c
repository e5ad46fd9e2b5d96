/*
 * From an event's type to its domain: the longest prefix of whole segments wins. Immutable after it
 * was made, so any thread may ask.
 */
#include "ingest/ingest_int.h"

#include <stdlib.h>
#include <string.h>

typedef struct route {
    char *domain;
    char *prefix; /* ends in a dot: the type goes on after it; else it may also be the whole type */
    size_t prefix_n;
} route;

struct rfi_routes {
    route *routes; /* longest prefix first */
    size_t count;
};

bool rfi_ingest_type_is_system(rf_str type)
{
    return rf_str_starts(type, RF_STR(RF_SYSTEM_DOMAIN "."));
}

static bool covers(const route *r, rf_str type)
{
    if (type.n < r->prefix_n || memcmp(type.p, r->prefix, r->prefix_n) != 0)
        return false;
    if (r->prefix[r->prefix_n - 1] == '.')
        return type.n > r->prefix_n;
    return type.n == r->prefix_n || type.p[r->prefix_n] == '.';
}

static int longest_first(const void *a, const void *b)
{
    const route *x = a, *y = b;

    if (x->prefix_n != y->prefix_n)
        return x->prefix_n > y->prefix_n ? -1 : 1;
    return strcmp(x->prefix, y->prefix);
}

static rf_status check_rule(const rf_domain_rule *rule, rf_err *err)
{
    rf_str shown = rfi_ingest_shorten(rule->domain, RF_DOMAIN_MAX + 1);

    if (!rf_domain_valid(rule->domain)) {
        return rf_err_set(err, RF_EINVAL,
                          "domain \"%.*s\": a name has 1 to %d of a-z 0-9 _ - and begins with a "
                          "letter or digit",
                          RF_STR_ARG(shown), RF_DOMAIN_MAX);
    }
    if (rf_str_eq(rule->domain, RF_STR(RF_SYSTEM_DOMAIN)) ||
        rf_str_eq(rule->prefix, RF_STR(RF_SYSTEM_DOMAIN)) ||
        rfi_ingest_type_is_system(rule->prefix)) {
        return rf_err_set(err, RF_EINVAL,
                          "domain \"%.*s\": the name and prefix " RF_SYSTEM_DOMAIN
                          " belong to the program itself",
                          RF_STR_ARG(shown));
    }
    if (rule->prefix.n > RF_ATTR_MAX || (rule->prefix.n > 0 && rule->prefix.p[0] == '.') ||
        (rule->prefix.n > 0 && memchr(rule->prefix.p, 0, rule->prefix.n) != NULL)) {
        return rf_err_set(
            err, RF_EINVAL,
            "domain \"%.*s\": a prefix is the beginning of a type, such as shop.order",
            RF_STR_ARG(shown));
    }
    return RF_OK;
}

static void add_route(rfi_routes *routes, const rf_domain_rule *rule)
{
    route *r = &routes->routes[routes->count++];

    r->domain = rf_xstrndup(rule->domain);
    if (rule->prefix.n > 0) {
        r->prefix = rf_xstrndup(rule->prefix);
        r->prefix_n = rule->prefix.n;
    } else {
        r->prefix_n = rule->domain.n + 1;
        r->prefix = rf_xmalloc(r->prefix_n + 1);
        memcpy(r->prefix, rule->domain.p, rule->domain.n);
        memcpy(r->prefix + rule->domain.n, ".", 2);
    }
}

/* Without its closing dot, so that "shop" and "shop." are seen to be the same rule. */
static rf_str bare_prefix(const route *r)
{
    return (rf_str){r->prefix, r->prefix_n - (r->prefix[r->prefix_n - 1] == '.')};
}

rf_status rfi_ingest_routes_new(const rf_domain_rule *rules, size_t count, rfi_routes **out,
                                rf_err *err)
{
    rfi_routes *routes;

    for (size_t i = 0; i < count; i++) {
        rf_status st = check_rule(&rules[i], err);
        if (st != RF_OK)
            return st;
    }
    routes = rf_xcalloc(1, sizeof(*routes));
    routes->routes = rf_xcalloc(count + 1, sizeof(route));
    for (size_t i = 0; i < count; i++)
        add_route(routes, &rules[i]);
    for (size_t i = 0; i < count; i++) {
        const route *a = &routes->routes[i];
        for (size_t j = 0; j < i; j++) {
            const route *b = &routes->routes[j];
            if (!rf_str_eq(bare_prefix(a), bare_prefix(b)) || strcmp(a->domain, b->domain) == 0)
                continue;
            rf_err_set(err, RF_EINVAL, "prefix \"%.*s\" is given to two domains: %s and %s",
                       RF_STR_ARG(rfi_ingest_shorten(bare_prefix(a), 200)), b->domain, a->domain);
            rfi_ingest_routes_free(&routes);
            return RF_EINVAL;
        }
    }
    qsort(routes->routes, count, sizeof(route), longest_first);
    *out = routes;
    return RF_OK;
}

void rfi_ingest_routes_free(rfi_routes **routes)
{
    if (*routes == NULL)
        return;
    for (size_t i = 0; i < (*routes)->count; i++) {
        free((*routes)->routes[i].domain);
        free((*routes)->routes[i].prefix);
    }
    free((*routes)->routes);
    free(*routes);
    *routes = NULL;
}

rf_str rfi_ingest_routes_domain(const rfi_routes *routes, rf_str type)
{
    if (rfi_ingest_type_is_system(type))
        return RF_STR(RF_SYSTEM_DOMAIN);
    for (size_t i = 0; i < routes->count; i++) {
        if (covers(&routes->routes[i], type))
            return rf_str_from(routes->routes[i].domain);
    }
    return RF_STR(RF_DEFAULT_DOMAIN);
}
