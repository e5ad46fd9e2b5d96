/* Opening and closing: options checked, domains made, counters read. */
#include "ingest/ingest_int.h"

#include <inttypes.h>
#include <stdlib.h>

#define DEFAULT(value, otherwise) ((value) != 0 ? (value) : (otherwise))

static void fill_defaults(rf_ingest_options *o)
{
    static const rf_event_limits limits = RF_EVENT_LIMITS_DEFAULT;

    o->limits.event_bytes_max = DEFAULT(o->limits.event_bytes_max, limits.event_bytes_max);
    o->limits.depth_max = DEFAULT(o->limits.depth_max, limits.depth_max);
    o->partitions_default = DEFAULT(o->partitions_default, 1);
    o->body_bytes_max = DEFAULT(o->body_bytes_max, 16u << 20);
    o->batch_events_max = DEFAULT(o->batch_events_max, 10000);
    o->pending_bytes_max = DEFAULT(o->pending_bytes_max, 256u << 20);
    o->expand_ratio_max = DEFAULT(o->expand_ratio_max, 200);
}

static rf_status check_options(const rf_ingest_options *o, rf_err *err)
{
    if (o->limits.event_bytes_max > RF_EVENT_BYTES_CAP) {
        return rf_err_set(err, RF_EINVAL, "an event may have at most %u bytes, not %" PRIu32,
                          RF_EVENT_BYTES_CAP, o->limits.event_bytes_max);
    }
    if (o->limits.depth_max > RF_EVENT_DEPTH_CAP) {
        return rf_err_set(err, RF_EINVAL, "events may nest %d levels at most, not %" PRIu32,
                          RF_EVENT_DEPTH_CAP, o->limits.depth_max);
    }
    if (o->body_bytes_max > RF_APPEND_BYTES_MAX) {
        return rf_err_set(err, RF_EINVAL, "a body may have at most %u bytes, not %" PRIu64,
                          RF_APPEND_BYTES_MAX, o->body_bytes_max);
    }
    if (o->batch_events_max > RF_APPEND_EVENTS_MAX) {
        return rf_err_set(err, RF_EINVAL, "a batch may have at most %u events, not %" PRIu32,
                          RF_APPEND_EVENTS_MAX, o->batch_events_max);
    }
    return RF_OK;
}

static rf_status make_domains(const rf_ingest_options *o, rf_err *err)
{
    rf_status st = rf_log_domain(o->log, RF_STR(RF_DEFAULT_DOMAIN), o->partitions_default, err);

    if (st == RF_OK)
        st = rf_log_domain(o->log, RF_STR(RF_SYSTEM_DOMAIN), 1, err);
    for (size_t i = 0; i < o->rule_count && st == RF_OK; i++) {
        st = rf_log_domain(o->log, o->rules[i].domain,
                           DEFAULT(o->rules[i].partitions, o->partitions_default), err);
    }
    return st;
}

rf_status rf_ingest_open(const rf_ingest_options *options, rf_ingest **out, rf_err *err)
{
    rf_ingest_options o = *options;
    rfi_routes *routes = NULL;
    rf_ingest *ingest;
    rf_status st;

    *out = NULL;
    fill_defaults(&o);
    st = check_options(&o, err);
    if (st == RF_OK)
        st = rfi_ingest_routes_new(o.rules, o.rule_count, &routes, err);
    if (st == RF_OK)
        st = make_domains(&o, err);
    if (st != RF_OK) {
        rfi_ingest_routes_free(&routes);
        return st;
    }
    ingest = rf_xcalloc(1, sizeof(*ingest));
    ingest->log = o.log;
    ingest->routes = routes;
    ingest->options = o;
    ingest->options.rules = NULL;
    ingest->options.rule_count = 0;
    pthread_mutex_init(&ingest->mutex, NULL);
    pthread_cond_init(&ingest->quiet, NULL);
    rfi_ingest_pool_init(&ingest->pool, &o.limits, rf_log_content_seed(o.log));
    *out = ingest;
    return RF_OK;
}

void rf_ingest_close(rf_ingest **ingest)
{
    rf_ingest *i = *ingest;

    if (i == NULL)
        return;
    pthread_mutex_lock(&i->mutex);
    RF_ASSERT(i->owned == 0);
    while (i->live > 0) /* given up by their owners, not yet by the log */
        pthread_cond_wait(&i->quiet, &i->mutex);
    pthread_mutex_unlock(&i->mutex);
    rfi_ingest_pool_clear(&i->pool);
    rfi_ingest_routes_free(&i->routes);
    pthread_cond_destroy(&i->quiet);
    pthread_mutex_destroy(&i->mutex);
    free(i);
    *ingest = NULL;
}

rf_str rf_ingest_domain_of(const rf_ingest *ingest, rf_str type)
{
    return rfi_ingest_routes_domain(ingest->routes, type);
}

void rf_ingest_get_stats(const rf_ingest *ingest, rf_ingest_stats *out)
{
    *out = (rf_ingest_stats){
        .events = atomic_load_explicit(&ingest->events, memory_order_relaxed),
        .duplicates = atomic_load_explicit(&ingest->duplicates, memory_order_relaxed),
        .bytes = atomic_load_explicit(&ingest->bytes, memory_order_relaxed),
        .requests = atomic_load_explicit(&ingest->requests, memory_order_relaxed),
        .busy = atomic_load_explicit(&ingest->busy, memory_order_relaxed),
    };
}

void rf_ingest_each_rejection(const rf_ingest *ingest,
                              void (*each)(void *arg, const char *rule, uint64_t count), void *arg)
{
    rfi_ingest_rules_each(&ingest->rules, each, arg);
}
