/* The write half's own state: /readyz, /metrics, /v1/status. */
#include "server/client_int.h"
#include "server/metrics_int.h"
#include "server/write_int.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define READER_TIMEOUT_MS 500 /* a reader that hangs must not hang the metrics */

/* ---- the read half ----------------------------------------------------------------------------
 */

/* GET of the read half; RF_OK only for a 200. */
static rf_status ask_reader(rfi_write *w, const char *path, rf_buf *body, rf_err *err)
{
    rfi_call_options o = {.run_dir = w->run_dir,
                          .socket = "read.sock",
                          .method = "GET",
                          .path = path,
                          .timeout_ms = READER_TIMEOUT_MS};
    int status = 0;
    rf_status st = rfi_call(&o, &status, body, err);

    if (st == RF_OK && status != 200)
        st = rf_err_set(err, RF_EBUSY, "the read half says %d", status);
    return st;
}

/* ---- readiness --------------------------------------------------------------------------------
 */

typedef struct log_state {
    bool ready;
    char reason[256];
} log_state;

static void look_at_part(void *arg, const rf_log_part_stats *s)
{
    log_state *l = arg;

    if (strcmp(s->state, "open") == 0 || !l->ready)
        return;
    l->ready = false;
    snprintf(l->reason, sizeof l->reason, "%s/%u is %s", s->domain, s->partition, s->state);
}

static void add_part(rf_buf *b, const char *name, bool ready, const char *reason)
{
    rf_buf_addf(b, "%s\"%s\":{\"ready\":%s", b->p[b->n - 1] == '{' ? "" : ",", name,
                ready ? "true" : "false");
    if (reason[0] != '\0') {
        rf_buf_add_cstr(b, ",\"reason\":");
        rf_buf_add_json_str(b, rf_str_from(reason));
    }
    rf_buf_add_char(b, '}');
}

static void answer_ready(rfi_req *r, rfi_answer *a)
{
    rfi_write *w = rfi_write_of(r);
    log_state log = {.ready = true};
    bool reader = true, ready;
    rf_buf body;
    rf_err err = {0};

    rf_buf_init(&body, 1u << 16);
    rf_log_stats(w->log, look_at_part, &log);
    if (w->reader != NULL)
        reader = ask_reader(w, "/readyz", &body, &err) == RF_OK;
    ready = log.ready && reader && !rfi_http_draining(w->http);
    rf_buf_addf(&a->body, "{\"ready\":%s,\"parts\":{", ready ? "true" : "false");
    add_part(&a->body, "log", log.ready, log.reason);
    if (w->reader != NULL)
        add_part(&a->body, "reader", reader, err.text);
    if (rfi_http_draining(w->http))
        add_part(&a->body, "server", false, "stopping");
    rf_buf_add_cstr(&a->body, "}}\n");
    a->status = ready ? 200 : 503;
    a->content_type = "application/json";
    if (!ready)
        rfi_answer_header(a, "Retry-After", "1");
    rf_buf_clear(&body);
}

void rfi_write_ready(rfi_req *r)
{
    rfi_offload(rfi_write_of(r)->workers, r, answer_ready);
}

/* ---- metrics ----------------------------------------------------------------------------------
 */

/* One family over all partitions: each sample of a name must stand together. */
typedef struct part_family {
    rf_buf *out;
    const char *name;
    uint64_t (*value)(const rf_log_part_stats *s);
} part_family;

static void add_part_sample(void *arg, const rf_log_part_stats *s)
{
    part_family *f = arg;
    char number[16];

    snprintf(number, sizeof number, "%u", s->partition);
    rfi_metric_u64(f->out, f->name, f->value(s), "domain", s->domain, "partition", number, NULL);
}

static uint64_t part_events(const rf_log_part_stats *s)
{
    return s->next;
}

static uint64_t part_bytes(const rf_log_part_stats *s)
{
    return s->bytes_disk;
}

static uint64_t part_index_bytes(const rf_log_part_stats *s)
{
    return s->bytes_index;
}

static uint64_t part_segments(const rf_log_part_stats *s)
{
    return s->segments;
}

static uint64_t part_blocks(const rf_log_part_stats *s)
{
    return s->blocks;
}

static uint64_t part_up(const rf_log_part_stats *s)
{
    return strcmp(s->state, "open") == 0;
}

static void add_sync_hist(void *arg, const rf_log_part_stats *s)
{
    char number[16];

    snprintf(number, sizeof number, "%u", s->partition);
    if (s->sync_us != NULL)
        rfi_metric_hist(arg, "refold_fsync_seconds", s->sync_us, "domain", s->domain, "partition",
                        number, NULL);
}

static void add_log_metrics(rf_buf *out, rfi_write *w)
{
    static const struct {
        const char *name, *type, *help;
        uint64_t (*value)(const rf_log_part_stats *s);
    } families[] = {
        {"refold_log_events", "gauge", "Events in the log.", part_events},
        {"refold_log_bytes", "gauge", "Bytes of segments on disk.", part_bytes},
        {"refold_log_index_bytes", "gauge", "Bytes of index files on disk.", part_index_bytes},
        {"refold_log_segments", "gauge", "Segments, sealed and open.", part_segments},
        {"refold_log_blocks_total", "counter", "Blocks written since start.", part_blocks},
        {"refold_log_writable", "gauge", "1 when the partition takes writes.", part_up},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(families); i++) {
        part_family f = {out, families[i].name, families[i].value};

        rfi_metric_family(out, families[i].name, families[i].type, families[i].help);
        rf_log_stats(w->log, add_part_sample, &f);
    }
    rfi_metric_family(out, "refold_fsync_seconds", "histogram", "Time of one fdatasync.");
    rf_log_stats(w->log, add_sync_hist, out);
    rfi_metric_family(out, "refold_pending_bytes", "gauge", "Bytes taken and not yet durable.");
    rfi_metric_u64(out, "refold_pending_bytes", rf_log_pending_bytes(w->log), NULL);
}

static void add_rejection(void *arg, const char *rule, uint64_t count)
{
    rfi_metric_u64(arg, "refold_rejections_total", count, "rule", rule, NULL);
}

static void add_ingest_metrics(rf_buf *out, rfi_write *w)
{
    rf_ingest_stats s;

    rf_ingest_get_stats(w->ingest, &s);
    rfi_metric_family(out, "refold_events_total", "counter", "Events stored since start.");
    rfi_metric_u64(out, "refold_events_total", s.events, NULL);
    rfi_metric_family(out, "refold_event_bytes_total", "counter",
                      "Bytes of events received, decompressed.");
    rfi_metric_u64(out, "refold_event_bytes_total", s.bytes, NULL);
    rfi_metric_family(out, "refold_duplicates_total", "counter",
                      "Events answered as stored before.");
    rfi_metric_u64(out, "refold_duplicates_total", s.duplicates, NULL);
    rfi_metric_family(out, "refold_busy_total", "counter",
                      "Requests turned away because too much was pending.");
    rfi_metric_u64(out, "refold_busy_total", s.busy, NULL);
    rfi_metric_family(out, "refold_rejections_total", "counter", "Events refused, by rule.");
    rf_ingest_each_rejection(w->ingest, add_rejection, out);
    rfi_metric_family(out, "refold_ack_seconds", "histogram",
                      "From the head of POST /v1/events to its answer.");
    rfi_metric_hist(out, "refold_ack_seconds", &w->ack_us, NULL);
}

static void add_process_metrics(rf_buf *out, rfi_write *w)
{
    rfi_reader_info info = {.state = RFI_READER_AWAY};

    if (w->reader != NULL)
        rfi_supervisor_get(w->reader, &info);
    rfi_metric_family(out, "refold_process_resident_bytes", "gauge", "Resident memory.");
    rfi_metric_u64(out, "refold_process_resident_bytes", rfi_process_rss(0), "half", "write", NULL);
    if (info.pid != 0)
        rfi_metric_u64(out, "refold_process_resident_bytes", rfi_process_rss(info.pid), "half",
                       "read", NULL);
    rfi_metric_family(out, "refold_reader_restarts_total", "counter",
                      "Times the read half was started again.");
    rfi_metric_u64(out, "refold_reader_restarts_total", info.restarts, NULL);
    rfi_metric_family(out, "refold_reader_up", "gauge", "1 when the read half answers.");
    rfi_metric_u64(out, "refold_reader_up", info.state == RFI_READER_UP, NULL);
    rfi_metric_family(out, "refold_uptime_seconds", "gauge", "Since the write half started.");
    rfi_metric_f64(out, "refold_uptime_seconds", (double)(rf_mono_us() - w->started_us) / 1e6,
                   NULL);
    rfi_metric_family(out, "refold_build_info", "gauge", "Version and commit.");
    rfi_metric_u64(out, "refold_build_info", 1, "version", rf_version(), "commit", rf_commit(),
                   NULL);
}

static void answer_metrics(rfi_req *r, rfi_answer *a)
{
    rfi_write *w = rfi_write_of(r);
    rf_buf reader;
    rf_err err = {0};

    add_ingest_metrics(&a->body, w);
    add_log_metrics(&a->body, w);
    add_process_metrics(&a->body, w);
    rfi_metrics_http(&a->body, w->http);
    rf_buf_init(&reader, 16u << 20);
    /* only=read: the families that are not above; a name may be described once. */
    if (ask_reader(w, "/metrics?only=read", &reader, &err) == RF_OK)
        rf_buf_add_str(&a->body, rf_buf_str(&reader));
    rf_buf_clear(&reader);
    a->status = 200;
    a->content_type = RFI_METRICS_TYPE;
}

void rfi_write_metrics(rfi_req *r)
{
    rfi_offload(rfi_write_of(r)->workers, r, answer_metrics);
}

/* ---- status -----------------------------------------------------------------------------------
 */

static void add_partition(void *arg, const rf_log_part_stats *s)
{
    rf_buf *b = arg;

    rf_buf_add_cstr(b, b->p[b->n - 1] == '[' ? "{\"domain\":" : ",{\"domain\":");
    rf_buf_add_json_str(b, rf_str_from(s->domain));
    rf_buf_addf(b, ",\"partition\":%u,\"events\":%llu,\"bytes\":%llu,\"indexBytes\":%llu,",
                s->partition, (unsigned long long)s->next, (unsigned long long)s->bytes_disk,
                (unsigned long long)s->bytes_index);
    rf_buf_addf(b, "\"segments\":%llu,\"state\":", (unsigned long long)s->segments);
    rf_buf_add_json_str(b, rf_str_from(s->state));
    rf_buf_add_char(b, '}');
}

static void add_reader(rf_buf *b, rfi_write *w)
{
    rfi_reader_info info;

    rf_buf_add_cstr(b, ",\"reader\":");
    if (w->reader == NULL) {
        rf_buf_add_cstr(b, "null");
        return;
    }
    rfi_supervisor_get(w->reader, &info);
    rf_buf_addf(b, "{\"state\":\"%s\",\"pid\":%d,\"restarts\":%llu,\"rssBytes\":%llu,\"lastExit\":",
                rfi_reader_state_name(info.state), info.pid, (unsigned long long)info.restarts,
                (unsigned long long)(info.pid == 0 ? 0 : rfi_process_rss(info.pid)));
    rf_buf_add_json_str(b, rf_str_from(info.last_exit));
    rf_buf_add_char(b, '}');
}

static void answer_status(rfi_req *r, rfi_answer *a)
{
    rfi_write *w = rfi_write_of(r);
    rf_buf *b = &a->body;
    rf_ingest_stats s;
    rf_position position = {0};

    rf_ingest_get_stats(w->ingest, &s);
    rf_log_position(w->log, &position);
    rf_buf_addf(b, "{\"version\":\"%s\",\"commit\":\"%s\",\"role\":\"%s\",\"pid\":%d,",
                rf_version(), rf_commit(), w->config->supervise_reader ? "all" : "write",
                (int)getpid());
    rf_buf_addf(b, "\"uptimeSeconds\":%.3f,\"rssBytes\":%llu,\"connections\":%llu,",
                (double)(rf_mono_us() - w->started_us) / 1e6,
                (unsigned long long)rfi_process_rss(0),
                (unsigned long long)rfi_http_connections(w->http));
    rf_buf_addf(b, "\"events\":%llu,\"duplicates\":%llu,\"pendingBytes\":%llu,\"data\":",
                (unsigned long long)s.events, (unsigned long long)s.duplicates,
                (unsigned long long)rf_log_pending_bytes(w->log));
    rf_buf_add_json_str(b, rf_str_from(w->config->data_dir));
    rf_buf_add_cstr(b, ",\"position\":\"");
    rf_position_encode(&position, b);
    rf_buf_add_cstr(b, "\",\"partitions\":[");
    rf_log_stats(w->log, add_partition, b);
    rf_buf_add_char(b, ']');
    add_reader(b, w);
    rf_buf_add_cstr(b, "}\n");
    rf_position_clear(&position);
    a->status = 200;
    a->content_type = "application/json";
}

void rfi_write_status(rfi_req *r)
{
    rfi_offload(rfi_write_of(r)->workers, r, answer_status);
}
