/* Samples, labels and histograms as Prometheus reads them. */
#include "server/metrics_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* Upper bounds in microseconds: 50 us (a good disk) to 10 s (a bad day). */
static const uint64_t BOUNDS_US[] = {50,     100,     250,     500,     1000,    2500,
                                     5000,   10000,   25000,   50000,   100000,  250000,
                                     500000, 1000000, 2500000, 5000000, 10000000};

void rfi_metric_family(rf_buf *out, const char *name, const char *type, const char *help)
{
    rf_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_value(rf_buf *out, const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            rf_buf_add_char(out, '\\');
        if (*value == '\n')
            rf_buf_add_cstr(out, "\\n");
        else
            rf_buf_add_char(out, *value);
    }
}

/* Without the braces. */
static void add_labels(rf_buf *out, va_list labels)
{
    const char *name;
    bool first = true;

    while ((name = va_arg(labels, const char *)) != NULL) {
        const char *value = va_arg(labels, const char *);

        rf_buf_addf(out, "%s%s=\"", first ? "" : ",", name);
        add_value(out, value);
        rf_buf_add_char(out, '"');
        first = false;
    }
}

/* name{labels} and a blank. */
static void add_name(rf_buf *out, const char *name, va_list labels)
{
    rf_buf_add_cstr(out, name);
    size_t at = out->n;

    rf_buf_add_char(out, '{');
    add_labels(out, labels);
    if (!out->failed && out->n == at + 1)
        out->n = at; /* there were none */
    else
        rf_buf_add_char(out, '}');
    rf_buf_add_char(out, ' ');
}

void rfi_metric_u64(rf_buf *out, const char *name, uint64_t value, ...)
{
    va_list labels;

    va_start(labels, value);
    add_name(out, name, labels);
    va_end(labels);
    rf_buf_add_u64(out, value);
    rf_buf_add_char(out, '\n');
}

void rfi_metric_f64(rf_buf *out, const char *name, double value, ...)
{
    va_list labels;

    va_start(labels, value);
    add_name(out, name, labels);
    va_end(labels);
    rf_buf_addf(out, "%.9g\n", value);
}

void rfi_metric_hist(rf_buf *out, const char *name, const rf_hist *h, ...)
{
    rf_buf labels;
    va_list args;
    uint64_t all = rf_hist_count_le(h, UINT64_MAX), n = 0;

    rf_buf_init(&labels, 4096);
    va_start(args, h);
    add_labels(&labels, args);
    va_end(args);
    const char *text = labels.n == 0 ? "" : rf_buf_cstr(&labels), *comma = labels.n == 0 ? "" : ",";

    for (size_t i = 0; i < RF_ARRAY_LEN(BOUNDS_US); i++) {
        /* Others record meanwhile: never less than the bucket before, never more than all. */
        n = RF_MIN(RF_MAX(n, rf_hist_count_le(h, BOUNDS_US[i])), all);
        rf_buf_addf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, text, comma,
                    (double)BOUNDS_US[i] / 1e6, n);
    }
    rf_buf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, text, comma, all);
    rf_buf_addf(out, "%s_sum%s%s%s %.9g\n", name, labels.n == 0 ? "" : "{", text,
                labels.n == 0 ? "" : "}", (double)h->sum_us / 1e6);
    rf_buf_addf(out, "%s_count%s%s%s %" PRIu64 "\n", name, labels.n == 0 ? "" : "{", text,
                labels.n == 0 ? "" : "}", all);
    rf_buf_clear(&labels);
}

static void add_request_count(void *arg, const char *route, const char *method, int status,
                              uint64_t count)
{
    char code[16];

    snprintf(code, sizeof code, "%d", status);
    rfi_metric_u64(arg, "refold_requests_total", count, "route", route, "method", method, "code",
                   code, NULL);
}

void rfi_metrics_http(rf_buf *out, const rfi_http *h)
{
    rfi_metric_family(out, "refold_requests_total", "counter", "HTTP requests answered.");
    rfi_http_each_count(h, add_request_count, out);
    rfi_metric_family(out, "refold_connections", "gauge", "Open HTTP connections.");
    rfi_metric_u64(out, "refold_connections", rfi_http_connections(h), NULL);
}

uint64_t rfi_process_rss(int pid)
{
    char path[64], text[128];
    unsigned long long size = 0, resident = 0;

    if (pid == 0)
        snprintf(path, sizeof path, "/proc/self/statm");
    else
        snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return 0;
    if (fgets(text, sizeof text, f) == NULL || sscanf(text, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
