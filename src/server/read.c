/*
 * The read half's life: the log's view (as soon as the writer has published its tail), the engine,
 * the projections, the queries, then the sockets. Crash-only: what closing does is good manners,
 * and nothing depends on it.
 */
#include "server/read_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/signal_int.h"

#define BODY_WINDOW_MS 10000
#define WORKERS 16
#define WORK_QUEUE_MAX 256
#define WAIT_STEP_MS 50
#define WRITER_WAIT_US (30 * 1000000LL)
#define LOCK_WAIT_US (3 * 1000000LL) /* for a reader before us that is just ending */
#define DRAIN_MS 1000

static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = rf_xmalloc(n);

    snprintf(path, n, "%s/%s", dir, name);
    return path;
}

/* Tries again while it is busy; a signal ends the waiting. */
static rf_status retry(rfi_read *h, rfi_signals *signals, int64_t patience_us,
                       rf_status (*attempt)(rfi_read *h, rf_err *err), rf_err *err)
{
    int64_t until = rf_mono_us() + patience_us;
    rf_status st;

    while ((st = attempt(h, err)) == RF_EBUSY && rf_mono_us() < until) {
        if (rfi_signals_wait(signals, WAIT_STEP_MS) != 0)
            return rf_err_set(err, RF_ECANCELED, "stopped while it was starting");
    }
    return st;
}

static rf_status take_lock(rfi_read *h, rf_err *err)
{
    rf_io *io = rf_io_posix();
    char *path = join(h->read_dir, "LOCK");
    rf_status st = RF_OK;

    if (h->lock == NULL)
        st = io->open(io, path, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &h->lock, err);
    if (st == RF_OK)
        st = io->lock(io, h->lock, err);
    if (st == RF_EBUSY)
        rf_err_set(err, RF_EBUSY, "%s is in use by another read half (%s)", h->read_dir, path);
    free(path);
    return st;
}

static rf_status open_view(rfi_read *h, rf_err *err)
{
    rf_log_view_options o = {.follow = true};
    rf_status st = rf_log_view_open(h->log_dir, &o, &h->view, err);

    /* No directory, no page: the writer is not up yet. */
    return st == RF_ENOTFOUND ? rf_err_set(err, RF_EBUSY,
                                           "no write half is up at %s; start one with "
                                           "refold serve --data %s",
                                           h->log_dir, h->config->data_dir)
                              : st;
}

/* ---- engine and projections -------------------------------------------------------------------
 */

static rf_status open_engine(rfi_read *h, rf_err *err)
{
    char *path = join(h->read_dir, "read.duckdb");
    rf_engine_options o = {.path = path,
                           .memory_bytes = h->config->engine_memory_bytes,
                           .threads = h->config->engine_threads,
                           .view = h->view};
    rf_status st = rf_engine_open(&o, &h->engine, err);

    free(path);
    return st;
}

static rf_status open_models(rfi_read *h, rf_err *err)
{
    rf_status st = open_engine(h, err);

    if (st != RF_OK)
        return st;
    rf_projections_options o = {
        .engine = h->engine, .view = h->view, .append = rfi_send_control, .append_arg = h};

    st = rf_projections_open(&o, &h->projections, err);
    if (st != RF_OK)
        rf_engine_close(&h->engine);
    return st;
}

/* Would a new directory help? What was computed can be computed again. */
static bool is_damage(rf_status st)
{
    return st == RF_ECORRUPT || st == RF_EINVAL || st == RF_EINTERNAL || st == RF_EIO;
}

/* DIR/read -> DIR/read.bad-<time>, and a new DIR/read with our lock in it. */
static rf_status move_aside(rfi_read *h, rf_err *err)
{
    rf_io *io = rf_io_posix();
    char stamp[32], aside[64];
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    snprintf(aside, sizeof aside, "read.bad-%s", stamp);
    char *to = join(h->config->data_dir, aside);

    rf_diag(RF_DIAG_ERROR,
            "%s cannot be opened (%s); moved to %s, and everything in it is computed "
            "again from the log",
            h->read_dir, err->text, to);
    io->close(io, &h->lock);
    rf_status st = io->rename(io, h->read_dir, to, err);

    free(to);
    if (st == RF_OK)
        st = rf_io_mkdirs(io, h->read_dir, err);
    return st == RF_OK ? take_lock(h, err) : st;
}

static rf_status open_or_renew_models(rfi_read *h, rf_err *err)
{
    rf_status st = open_models(h, err);

    if (!is_damage(st))
        return st;
    st = move_aside(h, err);
    return st == RF_OK ? open_models(h, err) : st;
}

static rf_status open_queries(rfi_read *h, rf_err *err)
{
    const rf_server_config *c = h->config;
    rf_queries_options o = {.engine = h->engine,
                            .projections = h->projections,
                            .view = h->view,
                            .sessions_max = c->query_sessions,
                            .timeout_ms_default = c->query_timeout_ms,
                            .timeout_ms_max = RF_MAX(c->query_timeout_ms, 600000u),
                            .rows_max_default = c->query_rows_max,
                            .rows_max = RF_MAX(c->query_rows_max, (uint64_t)10000000),
                            .bytes_max = c->query_bytes_max,
                            .overdue = rfi_query_overdue,
                            .overdue_arg = h};

    return rf_queries_open(&o, &h->queries, err);
}

/* ---- http -------------------------------------------------------------------------------------
 */

static rf_status open_http(rfi_read *h, uint16_t *port, rf_err *err)
{
    const rf_server_config *c = h->config;
    rfi_http_options o = {.threads = 1,
                          .connections_max = c->connections_max,
                          .head_timeout_ms = c->head_timeout_ms,
                          /* the write half keeps connections for longer than people do */
                          .idle_timeout_ms = RF_MAX(c->idle_timeout_ms, 60000u),
                          .body_rate_min = c->body_rate_min,
                          .body_window_ms = BODY_WINDOW_MS,
                          .routes = rfi_routes,
                          .route_count = rfi_route_count,
                          .half = RFI_READ,
                          .app = h};
    rf_status st = rfi_workers_open(WORKERS, WORK_QUEUE_MAX, &h->workers, err);

    if (st == RF_OK)
        st = rfi_http_open(&o, &h->http, err);
    if (st == RF_OK && !c->supervised)
        st = rfi_http_listen_tcp(h->http, c->listen_host, c->listen_port, port, err);
    if (st == RF_OK)
        st = rfi_http_listen_unix(h->http, h->run_dir, "read.sock", err);
    if (st == RF_OK)
        st = rfi_http_start(h->http, err);
    return st;
}

static rf_status open_half(rfi_read *h, rfi_signals *signals, uint16_t *port, rf_err *err)
{
    rf_status st = rf_io_mkdirs(rf_io_posix(), h->read_dir, err);

    if (st == RF_OK)
        st = rf_io_mkdirs(rf_io_posix(), h->run_dir, err);
    if (st == RF_OK)
        st = retry(h, signals, LOCK_WAIT_US, take_lock, err);
    if (st == RF_OK)
        st = retry(h, signals, WRITER_WAIT_US, open_view, err);
    if (st == RF_OK)
        st = retry(h, signals, LOCK_WAIT_US, open_or_renew_models, err);
    if (st == RF_OK)
        st = open_queries(h, err);
    if (st == RF_OK)
        st = open_http(h, port, err);
    return st;
}

static void close_half(rfi_read *h)
{
    rf_io *io = rf_io_posix();

    rfi_project_stop(h);
    rfi_http_close(&h->http);
    rfi_workers_close(&h->workers);
    rf_queries_close(&h->queries);
    rf_projections_close(&h->projections);
    rf_engine_close(&h->engine);
    rf_log_view_close(&h->view);
    if (h->lock != NULL)
        io->close(io, &h->lock);
    pthread_mutex_destroy(&h->project.mutex);
    pthread_mutex_destroy(&h->mutex);
    free(h->log_dir);
    free(h->run_dir);
    free(h->read_dir);
    free(h);
}

static void say_ready(const rf_server_config *c, uint16_t port)
{
    bool v6 = strchr(c->listen_host, ':') != NULL;

    if (c->supervised)
        return; /* the write half speaks for both */
    printf("refold is ready on http://%s%s%s:%u\n", v6 ? "[" : "", c->listen_host, v6 ? "]" : "",
           port);
    fflush(stdout);
}

rf_status rf_server_read_run(const rf_server_config *config, rf_err *err)
{
    rfi_read *h = rf_xcalloc(1, sizeof *h);
    rfi_signals signals;
    uint16_t port = 0;
    rf_status st = rfi_signals_open(&signals, config->supervised, err);

    h->config = config;
    h->log_dir = join(config->data_dir, "log");
    h->run_dir = join(config->data_dir, "run");
    h->read_dir = join(config->data_dir, "read");
    h->started_us = rf_mono_us();
    pthread_mutex_init(&h->project.mutex, NULL);
    pthread_mutex_init(&h->mutex, NULL);
    if (st == RF_OK)
        st = open_half(h, &signals, &port, err);
    if (st == RF_OK) {
        rfi_project_start(h);
        say_ready(config, port);
        rfi_signals_wait(&signals, -1);
        rfi_http_drain(h->http);
        rfi_http_wait_drained(h->http, DRAIN_MS);
    }
    close_half(h);
    rfi_signals_close(&signals);
    return st;
}
