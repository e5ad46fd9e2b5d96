/* The write half, inside: what its handlers share. */
#ifndef RFI_SERVER_WRITE_H
#define RFI_SERVER_WRITE_H

#include "log/log.h"
#include "server/http_int.h"
#include "server/server.h"
#include "server/supervise_int.h"
#include "server/work_int.h"

typedef struct rfi_write {
    const rf_server_config *config;
    char *log_dir, *run_dir;
    rf_log *log;
    rf_log_view *view; /* for scans */
    rf_ingest *ingest;
    rfi_http *http;
    rfi_workers *workers;
    rfi_supervisor *reader; /* NULL: nobody is supervised */
    int64_t started_us;
    rf_hist ack_us; /* head of a POST /v1/events complete, to its answer */
} rfi_write;

static inline rfi_write *rfi_write_of(const rfi_req *r)
{
    return r->app;
}

/* events_post.c */
void rfi_events_post(rfi_req *r);
/* outcome.c: what ingest said, as HTTP. */
typedef struct rfi_outcome_options {
    rf_ingest_form form;
    bool want_results;
} rfi_outcome_options;
void rfi_outcome_reply(rfi_req *r, const rf_ingest_outcome *o, const rfi_outcome_options *options);

/* events_get.c */
void rfi_event_get(rfi_req *r);
void rfi_stream_get(rfi_req *r);
void rfi_events_get(rfi_req *r);

/* proxy.c: hands a request to the read half. */
void rfi_proxy(rfi_req *r);
void rfi_proxy_loop_stop(rfi_loop *l);

/* operate.c */
void rfi_write_ready(rfi_req *r);
void rfi_write_metrics(rfi_req *r);
void rfi_write_status(rfi_req *r);

/* operate_both.c */
void rfi_health(rfi_req *r);
void rfi_openapi_get(rfi_req *r);
void rfi_index(rfi_req *r);

#endif
