/* Defaults of everything `refold serve` can be told. */
#include "server/server.h"

void rf_server_config_defaults(rf_server_config *c)
{
    *c = (rf_server_config){
        .data_dir = "./refold-data",
        .listen_host = "127.0.0.1",
        .listen_port = 7070,
        .io_threads = 1,
        .worker_threads = 4,
        .connections_max = 4096,
        .head_timeout_ms = 10000,
        .idle_timeout_ms = 60000,
        .body_rate_min = 1024,
        .drain_ms = 10000,
        .event_limits = RF_EVENT_LIMITS_DEFAULT,
        .partitions_default = 1,
        .body_bytes_max = 16u << 20,
        .batch_events_max = 10000,
        .pending_bytes_max = 256u << 20,
        .segment_bytes_max = 64u << 20,
        .query_timeout_ms = 30000,
        .query_rows_max = 100000,
        .query_bytes_max = 256u << 20,
        .query_sessions = 4,
        .log_level = RF_DIAG_INFO,
    };
}
