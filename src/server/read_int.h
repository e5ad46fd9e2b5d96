/* The read half, inside: what its handlers share. */
#ifndef RFI_SERVER_READ_H
#define RFI_SERVER_READ_H

#include "engine/engine.h"
#include "log/log.h"
#include "projection/projection.h"
#include "query/query.h"
#include "server/http_int.h"
#include "server/server.h"
#include "server/work_int.h"

/* What became of the project folder. */
typedef struct rfi_project {
    pthread_mutex_t mutex;
    pthread_t thread;
    bool started; /* the thread runs, or ran */
    bool done;    /* guarded by mutex, as what follows */
    uint32_t applied, failed;
    char last_error[256];
    _Atomic bool stop;
} rfi_project;

typedef struct rfi_query_job rfi_query_job;

typedef struct rfi_read {
    const rf_server_config *config;
    char *log_dir, *run_dir, *read_dir;
    rf_file *lock; /* DIR/read/LOCK */
    rf_log_view *view;
    rf_engine *engine;
    rf_projections *projections;
    rf_queries *queries;
    rfi_http *http;
    rfi_workers *workers;
    rfi_project project;
    int64_t started_us;
    pthread_mutex_t mutex;
    rfi_query_job *running; /* guarded by mutex */
} rfi_read;

static inline rfi_read *rfi_read_of(const rfi_req *r)
{
    return r->app;
}

/* query_post.c */
void rfi_query_post(rfi_req *r);
/* rf_queries_options.overdue: answers what is late, then ends the process. */
void rfi_query_overdue(void *arg, const char *sql);

/* models.c: projections, schemas, types */
void rfi_projection_put(rfi_req *r);
void rfi_projection_get(rfi_req *r);
void rfi_projection_list(rfi_req *r);
void rfi_projection_delete(rfi_req *r);
void rfi_projection_rebuild(rfi_req *r);
void rfi_schema_put(rfi_req *r);
void rfi_schema_list(rfi_req *r);
void rfi_type_list(rfi_req *r);

/* read_operate.c */
void rfi_read_ready(rfi_req *r);
void rfi_read_metrics(rfi_req *r);

/* control.c: rf_projections_options.append */
rf_status rfi_send_control(void *arg, rf_str type, rf_str subject, rf_str data_json,
                           rf_position *position, rf_err *err);

/* project.c: applies config->project_dir, on a thread of its own. */
void rfi_project_start(rfi_read *h);
void rfi_project_stop(rfi_read *h);

#endif
