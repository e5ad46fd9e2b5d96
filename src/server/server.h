/*
 * server: the two halves as processes. HTTP routes, problem details, metrics, supervision. Knows
 * nothing of how things are stored.
 *
 * The write half (rf_server_write_run) owns DIR/log, listens on TCP and on DIR/run/write.sock, and,
 * when asked, starts and supervises the read half: this same program with --role read. It forwards
 * the routes that belong to the read half over DIR/run/read.sock and never loads the SQL engine.
 * The read half (rf_server_read_run) owns DIR/read, follows the log as files, is crash-only, and
 * writes control events through DIR/run/write.sock.
 */
#ifndef RF_SERVER_H
#define RF_SERVER_H

#include "base/base.h"
#include "event/event.h"
#include "ingest/ingest.h"

#define RF_SERVER_DOMAINS_MAX 256

/* Everything `refold serve` can be told. Strings are borrowed for the life of the run. cli/ fills
 * it from file < environment < flags. */
typedef struct rf_server_config {
    const char *data_dir;     /* ./refold-data */
    const char *listen_host;  /* 127.0.0.1 */
    uint16_t listen_port;     /* 7070; 0: any free one, printed when ready */
    const char *project_dir;  /* schemas/ and projections/ applied at start; NULL: none */
    uint32_t io_threads;      /* HTTP loops; 1 */
    uint32_t worker_threads;  /* for reads that block; 4 */
    uint32_t connections_max; /* 4096 */
    uint32_t head_timeout_ms; /* whole request head: 10,000 */
    uint32_t idle_timeout_ms; /* between requests: 60,000 */
    uint32_t body_rate_min;   /* bytes/s a body must arrive with, over 10 s: 1024 */
    uint32_t drain_ms;        /* graceful stop: at most this long for running requests: 10,000 */
    /* ingest */
    rf_event_limits event_limits;
    const rf_domain_rule *domains;
    size_t domain_count;
    uint32_t partitions_default;
    uint64_t body_bytes_max;
    uint32_t batch_events_max;
    uint64_t pending_bytes_max;
    /* log */
    uint64_t segment_bytes_max;
    /* read half */
    uint64_t engine_memory_bytes; /* 0: a quarter of the machine */
    uint32_t engine_threads;      /* 0: all cores */
    uint32_t query_timeout_ms;
    uint64_t query_rows_max;
    uint64_t query_bytes_max;
    uint32_t query_sessions;
    bool supervise_reader; /* role all: start and watch over the read half */
    bool supervised;       /* read half started by a write half: no TCP listener of its own */
    bool json_logs;
    rf_diag_level log_level;
    /* argv of the read half (program first, NULL last), used when supervise_reader. */
    char *const *reader_argv;
} rf_server_config;

/* Defaults for every member. */
void rf_server_config_defaults(rf_server_config *c);

/*
 * Runs until SIGTERM or SIGINT, then drains: no new connections, running requests finish, what was
 * submitted becomes durable, segments are sealed, the read half is ended. Prints one line "refold
 * is ready on http://HOST:PORT" to stdout when it takes requests. Call on the main thread, once.
 * Errors  RF_EBUSY  port or directory taken (text says which, by whom if known, and what to do)
 *         RF_ECORRUPT, RF_EUNSUPPORTED, RF_EIO, RF_EFULL from the log
 */
RF_CHECKED rf_status rf_server_write_run(const rf_server_config *config, rf_err *err);

/* The read half, until SIGTERM. RF_EBUSY when another read half has DIR/read. */
RF_CHECKED rf_status rf_server_read_run(const rf_server_config *config, rf_err *err);

/* The OpenAPI 3.1 document (JSON) as served; static. */
rf_str rf_server_openapi(void);

/* One line per route, "METHOD /path operationId half"; for tests and `--help`. */
void rf_server_each_route(void (*each)(void *arg, const char *method, const char *path,
                                       const char *operation_id),
                          void *arg);

#endif
