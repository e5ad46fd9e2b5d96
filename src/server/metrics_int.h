/* Prometheus text format 0.0.4. */
#ifndef RFI_SERVER_METRICS_H
#define RFI_SERVER_METRICS_H

#include "base/base.h"
#include "server/http_int.h"

#define RFI_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* HELP and TYPE lines; samples of that name follow, before the next family. */
void rfi_metric_family(rf_buf *out, const char *name, const char *type, const char *help);
/* One sample. Labels are pairs of name and value, ended by NULL. */
void rfi_metric_u64(rf_buf *out, const char *name, uint64_t value, ...) __attribute__((sentinel));
void rfi_metric_f64(rf_buf *out, const char *name, double value, ...) __attribute__((sentinel));
/* Buckets, sum and count in seconds, of a histogram of microseconds. */
void rfi_metric_hist(rf_buf *out, const char *name, const rf_hist *h, ...)
    __attribute__((sentinel));

/* What both halves have: requests and connections. */
void rfi_metrics_http(rf_buf *out, const rfi_http *h);
/* Resident bytes of a process; 0 when it is gone. pid 0: this one. */
uint64_t rfi_process_rss(int pid);

#endif
