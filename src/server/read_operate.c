/* The read half's own state: /readyz and /metrics. */
#include "server/metrics_int.h"
#include "server/read_int.h"

#include <string.h>

void rfi_read_ready(rfi_req *r)
{
    rfi_read *h = rfi_read_of(r);
    rfi_project *p = &h->project;
    bool ready = !rfi_http_draining(h->http);
    rf_buf b;

    /* It listens only when engine and projections are open; the project may still be under way. */
    rf_buf_init(&b, 1u << 16);
    pthread_mutex_lock(&p->mutex);
    ready = ready && p->done;
    rf_buf_addf(&b, "{\"ready\":%s,\"parts\":{\"engine\":{\"ready\":true,\"version\":",
                ready ? "true" : "false");
    rf_buf_add_json_str(&b, rf_str_from(rf_engine_version(h->engine)));
    rf_buf_addf(&b, "},\"project\":{\"ready\":%s,\"applied\":%u,\"failed\":%u",
                p->done ? "true" : "false", p->applied, p->failed);
    if (p->last_error[0] != '\0') {
        rf_buf_add_cstr(&b, ",\"reason\":");
        rf_buf_add_json_str(&b, rf_str_from(p->last_error));
    }
    pthread_mutex_unlock(&p->mutex);
    rf_buf_add_cstr(&b, "}}}\n");
    rfi_reply_take(r, ready ? 200 : 503, "application/json", &b);
}

/* ---- metrics ----------------------------------------------------------------------------------
 */

/* One family over all projections: each sample of a name must stand together. */
typedef struct family {
    rf_buf *out;
    const char *name;
    double (*value)(const rf_projection_stats *s);
} family;

static void add_sample(void *arg, const rf_projection_stats *s)
{
    family *f = arg;

    rfi_metric_f64(f->out, f->name, f->value(s), "projection", s->name, NULL);
}

static double lag_events(const rf_projection_stats *s)
{
    return (double)s->lag_events;
}

static double lag_seconds(const rf_projection_stats *s)
{
    return s->lag_seconds;
}

static double rows(const rf_projection_stats *s)
{
    return (double)s->rows;
}

static double applied(const rf_projection_stats *s)
{
    return (double)s->applied_events;
}

static double batches(const rf_projection_stats *s)
{
    return (double)s->batches;
}

static double version(const rf_projection_stats *s)
{
    return (double)s->version;
}

static double live(const rf_projection_stats *s)
{
    return strcmp(s->state, "live") == 0;
}

static double halted(const rf_projection_stats *s)
{
    return strcmp(s->state, "halted") == 0;
}

static double done(const rf_projection_stats *s)
{
    return (double)s->rebuild_done;
}

static double total(const rf_projection_stats *s)
{
    return (double)s->rebuild_total;
}

static void add_projections(rf_buf *out, rfi_read *h)
{
    static const struct {
        const char *name, *type, *help;
        double (*value)(const rf_projection_stats *s);
    } families[] = {
        {"refold_projection_lag_events", "gauge", "Events the projection has not applied.",
         lag_events},
        {"refold_projection_lag_seconds", "gauge", "Age of the oldest event not applied.",
         lag_seconds},
        {"refold_projection_rows", "gauge", "Rows of the state table.", rows},
        {"refold_projection_applied_events_total", "counter", "Events applied.", applied},
        {"refold_projection_batches_total", "counter", "Micro-batches committed.", batches},
        {"refold_projection_version", "gauge", "Version that serves.", version},
        {"refold_projection_live", "gauge", "1 when it is live.", live},
        {"refold_projection_halted", "gauge", "1 when an event stopped it.", halted},
        {"refold_rebuild_done_events", "gauge", "Events the running build has read.", done},
        {"refold_rebuild_total_events", "gauge", "Events the running build has to read.", total},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(families); i++) {
        family f = {out, families[i].name, families[i].value};

        rfi_metric_family(out, families[i].name, families[i].type, families[i].help);
        rf_projections_each(h->projections, add_sample, &f);
    }
}

static void add_queries(rf_buf *out, rfi_read *h)
{
    rf_query_stats s = {0};
    uint64_t bad;

    rf_queries_get_stats(h->queries, &s);
    bad = s.errors + s.refused + s.timeouts;
    rfi_metric_family(out, "refold_queries_total", "counter", "Queries by result.");
    rfi_metric_u64(out, "refold_queries_total", s.queries > bad ? s.queries - bad : 0, "result",
                   "ok", NULL);
    rfi_metric_u64(out, "refold_queries_total", s.errors, "result", "error", NULL);
    rfi_metric_u64(out, "refold_queries_total", s.refused, "result", "refused", NULL);
    rfi_metric_u64(out, "refold_queries_total", s.timeouts, "result", "timeout", NULL);
    rfi_metric_family(out, "refold_queries_running", "gauge", "Queries at work.");
    rfi_metric_u64(out, "refold_queries_running", s.running, NULL);
    rfi_metric_family(out, "refold_query_seconds", "histogram", "Time of a query.");
    if (s.latency_us != NULL)
        rfi_metric_hist(out, "refold_query_seconds", s.latency_us, NULL);
    rfi_metric_family(out, "refold_column_mismatches_total", "counter",
                      "Values that did not fit their column's type and were read as NULL.");
    rfi_metric_u64(out, "refold_column_mismatches_total", rf_engine_mismatches(h->engine), NULL);
}

static void answer_metrics(rfi_req *r, rfi_answer *a)
{
    rfi_read *h = rfi_read_of(r);
    rf_str only;

    add_projections(&a->body, h);
    add_queries(&a->body, h);
    /* The write half puts its own before ours; a family may be described once. */
    if (!rfi_req_query(r, "only", &only)) {
        rfi_metric_family(&a->body, "refold_process_resident_bytes", "gauge", "Resident memory.");
        rfi_metric_u64(&a->body, "refold_process_resident_bytes", rfi_process_rss(0), "half",
                       "read", NULL);
        rfi_metrics_http(&a->body, h->http);
    }
    a->status = 200;
    a->content_type = RFI_METRICS_TYPE;
}

void rfi_read_metrics(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, answer_metrics);
}
