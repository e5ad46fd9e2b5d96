/*
 * The write half's life.
 *
 *   start  log (its lock says that the directory is ours) -> ingest -> sockets -> loops -> reader
 *   run    the main thread waits for a signal
 *   end    no new connections -> running requests finish, at most drain_ms -> the reader ends ->
 *          what is left is cut -> ingest -> the log syncs, seals and closes
 *
 * A second signal while it drains ends the waiting, not the closing: what was taken becomes
 * durable.
 */
#include "server/write_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/signal_int.h"

#define BODY_WINDOW_MS 10000
#define WORK_QUEUE_MAX 256
#define DRAIN_POLL_MS 20

static void on_log_notice(void *arg, const char *line)
{
    (void)arg;
    rf_diag(RF_DIAG_INFO, "log: %s", line);
}

static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = rf_xmalloc(n);

    snprintf(path, n, "%s/%s", dir, name);
    return path;
}

static rf_status open_log(rfi_write *w, rf_err *err)
{
    const rf_server_config *c = w->config;
    rf_log_options o = {.segment_bytes_max = c->segment_bytes_max,
                        .publish_tail = true,
                        .seal_on_close = true,
                        .notice = on_log_notice};
    rf_log_view_options view = {.follow = true};
    rf_status st = rf_io_mkdirs(rf_io_posix(), w->log_dir, err);

    if (st == RF_OK)
        st = rf_io_mkdirs(rf_io_posix(), w->run_dir, err);
    if (st == RF_OK &&
        chmod(w->run_dir, 0700) != 0) /* its sockets may write to the system domain */
        st = rf_err_set_errno(err, errno, "setting the mode of %s", w->run_dir);
    if (st == RF_OK)
        st = rf_log_open(w->log_dir, &o, &w->log, err);
    if (st == RF_OK)
        st = rf_log_view_open(w->log_dir, &view, &w->view, err);
    return st;
}

static rf_status open_ingest(rfi_write *w, rf_err *err)
{
    const rf_server_config *c = w->config;
    rf_ingest_options o = {.log = w->log,
                           .limits = c->event_limits,
                           .rules = c->domains,
                           .rule_count = c->domain_count,
                           .partitions_default = c->partitions_default,
                           .body_bytes_max = c->body_bytes_max,
                           .batch_events_max = c->batch_events_max,
                           .pending_bytes_max = c->pending_bytes_max};

    return rf_ingest_open(&o, &w->ingest, err);
}

static rf_status open_http(rfi_write *w, uint16_t *port, rf_err *err)
{
    const rf_server_config *c = w->config;
    rfi_http_options o = {.threads = RF_MAX(c->io_threads, 1u),
                          .connections_max = c->connections_max,
                          .head_timeout_ms = c->head_timeout_ms,
                          .idle_timeout_ms = c->idle_timeout_ms,
                          .body_rate_min = c->body_rate_min,
                          .body_window_ms = BODY_WINDOW_MS,
                          .routes = rfi_routes,
                          .route_count = rfi_route_count,
                          .half = RFI_WRITE,
                          .app = w,
                          .loop_stop = rfi_proxy_loop_stop};
    rf_status st =
        rfi_workers_open(RF_MAX(c->worker_threads, 1u), WORK_QUEUE_MAX, &w->workers, err);

    if (st == RF_OK)
        st = rfi_http_open(&o, &w->http, err);
    if (st == RF_OK)
        st = rfi_http_listen_tcp(w->http, c->listen_host, c->listen_port, port, err);
    if (st == RF_OK)
        st = rfi_http_listen_unix(w->http, w->run_dir, "write.sock", err);
    if (st == RF_OK)
        st = rfi_http_start(w->http, err);
    return st;
}

static rf_status open_half(rfi_write *w, uint16_t *port, rf_err *err)
{
    rf_status st = open_log(w, err);

    if (st == RF_OK)
        st = open_ingest(w, err);
    if (st == RF_OK && w->config->supervise_reader)
        st = rfi_supervisor_open(w->config->reader_argv, w->run_dir, &w->reader, err);
    if (st == RF_OK)
        st = open_http(w, port, err);
    if (st == RF_OK && w->reader != NULL)
        st = rfi_supervisor_start(w->reader, err);
    return st;
}

static void say_ready(const rf_server_config *c, uint16_t port)
{
    bool v6 = strchr(c->listen_host, ':') != NULL;

    printf("refold is ready on http://%s%s%s:%u\n", v6 ? "[" : "", c->listen_host, v6 ? "]" : "",
           port);
    fflush(stdout);
}

/* Waits for what runs; false when there was no more patience. */
static bool drain(rfi_http *http, rfi_signals *signals, uint32_t drain_ms)
{
    int64_t until = rf_mono_us() + (int64_t)drain_ms * 1000;

    rfi_http_drain(http);
    while (!rfi_http_wait_drained(http, DRAIN_POLL_MS)) {
        if (rf_mono_us() >= until || rfi_signals_wait(signals, 0) != 0)
            return false;
    }
    return true;
}

static void close_half(rfi_write *w)
{
    rfi_supervisor_stop(&w->reader);
    rfi_http_close(&w->http);
    rfi_workers_close(&w->workers);
    rf_ingest_close(&w->ingest);
    rf_log_view_close(&w->view);
    rf_log_close(&w->log);
    free(w->log_dir);
    free(w->run_dir);
    free(w);
}

rf_status rf_server_write_run(const rf_server_config *config, rf_err *err)
{
    rfi_write *w = rf_xcalloc(1, sizeof *w);
    rfi_signals signals;
    uint16_t port = 0;
    rf_status st = rfi_signals_open(&signals, false, err);

    w->config = config;
    w->log_dir = join(config->data_dir, "log");
    w->run_dir = join(config->data_dir, "run");
    w->started_us = rf_mono_us();
    if (st == RF_OK)
        st = open_half(w, &port, err);
    if (st == RF_OK) {
        say_ready(config, port);
        int number = rfi_signals_wait(&signals, -1);

        rf_diag(RF_DIAG_INFO, "stopping (%s)", strsignal(number));
        if (!drain(w->http, &signals, config->drain_ms))
            rf_diag(RF_DIAG_WARN, "stopping with %" PRIu64 " connections still at work",
                    rfi_http_connections(w->http));
    }
    close_half(w);
    rfi_signals_close(&signals);
    if (st == RF_OK)
        rf_diag(RF_DIAG_INFO, "stopped");
    return st;
}
