/*
 * What history costs: append N small events in groups, send all again (every one a duplicate),
 * close, open, send a sample in random order. JSON lines: rates, bytes an event on disk and in
 * memory, runs (key files that a new id is looked for in).
 *
 *   bench_history [dir [events [event-bytes [segment-bytes]]]]
 *
 * Small segments stand for a long history: they make as many runs of fewer events.
 */
#include "log/log.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP 1000u

static uint64_t events = 3000000;
static size_t event_bytes = 250;
static uint64_t segment_bytes; /* 0: as the log likes it */

typedef struct batch {
    rf_event e[GROUP];
    rf_receipt r[GROUP];
    char id[GROUP][32], subject[GROUP][32];
    char *data;
} batch;

static void fill(batch *b, const uint64_t *numbers)
{
    for (uint32_t k = 0; k < GROUP; k++) {
        uint64_t n = numbers[k];
        char *data = b->data + k * event_bytes;
        size_t bytes = (size_t)snprintf(data, event_bytes,
                                        "{\"n\":%" PRIu64 ",\"delay\":%" PRIu64
                                        ",\"origin\":\"AMS\",\"carrier\":\"KL\"",
                                        n, n * UINT64_C(2654435761) % 1000);
        memset(data + bytes, ' ', event_bytes - 100 - bytes);
        data[event_bytes - 101] = '}';
        b->e[k] = (rf_event){.source = RF_STR("/bench/flights"),
                             .type = n % 2 ? RF_STR("flight.landed") : RF_STR("flight.departed"),
                             .time_us = RF_TIME_NONE,
                             .data_kind = RF_DATA_JSON,
                             .data = {data, event_bytes - 100},
                             .content = {.lo = n, .hi = n}};
        b->e[k].id.p = b->id[k];
        b->e[k].id.n = (size_t)snprintf(b->id[k], 32, "flight-%" PRIu64, n);
        b->e[k].subject.p = b->subject[k];
        b->e[k].subject.n = (size_t)snprintf(b->subject[k], 32, "N%" PRIu64, n % 5000);
    }
}

static double send_all(rf_log_part *p, batch *b, uint64_t total, bool shuffled, bool duplicates)
{
    int64_t spent = 0;
    uint64_t s = 1;
    for (uint64_t at = 0; at < total; at += GROUP) {
        uint64_t numbers[GROUP];
        for (uint32_t k = 0; k < GROUP; k++) {
            s = s * UINT64_C(6364136223846793005) + 1442695040888963407u;
            numbers[k] = shuffled ? (s >> 20) % events : at + k;
        }
        fill(b, numbers);
        rf_append a = {.events = b->e, .count = GROUP, .receipts = b->r};
        rf_err err = {0};
        int64_t start = rf_mono_us();
        if (rf_log_append(p, &a, &err) != RF_OK) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        spent += rf_mono_us() - start;
        for (uint32_t k = 0; k < GROUP; k++) {
            if (b->r[k].status != RF_OK || b->r[k].duplicate != duplicates ||
                b->r[k].offset != numbers[k])
                abort();
        }
    }
    return (double)total * 1e6 / (double)spent;
}

static uint64_t rss_kb(void)
{
    char line[256];
    uint64_t kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "RssAnon:", 8) == 0)
            kb = strtoull(line + 8, NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return kb;
}

static void take_stats(void *arg, const rf_log_part_stats *s)
{
    *(rf_log_part_stats *)arg = *s;
}

static rf_log *open_log(const char *path)
{
    rf_log *log = NULL;
    rf_err err = {0};
    rf_log_options o = {.seal_on_close = true, .segment_bytes_max = segment_bytes};
    if (rf_log_open(path, &o, &log, &err) != RF_OK ||
        rf_log_domain(log, RF_STR("d"), 1, &err) != RF_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return log;
}

static size_t count_runs(const char *path)
{
    char pattern[600];
    glob_t g = {0};
    snprintf(pattern, sizeof pattern, "%s/d/0/*.key", path);
    size_t n = glob(pattern, 0, NULL, &g) == 0 ? g.gl_pathc : 0;
    globfree(&g);
    return n;
}

int main(int argc, char **argv)
{
    char path[512], command[600];
    if (argc > 2)
        events = strtoull(argv[2], NULL, 10) / GROUP * GROUP;
    if (argc > 3)
        event_bytes = RF_MAX((size_t)strtoul(argv[3], NULL, 10), (size_t)250);
    if (argc > 4)
        segment_bytes = strtoull(argv[4], NULL, 10);
    snprintf(path, sizeof path, "%s/log", argc > 1 ? argv[1] : ".");
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    batch *b = calloc(1, sizeof *b);
    b->data = malloc(GROUP * event_bytes);
    rf_log *log = open_log(path);
    double append = send_all(rf_log_route(log, RF_STR("d"), RF_STR("x")), b, events, false, false);
    double again = send_all(rf_log_route(log, RF_STR("d"), RF_STR("x")), b, events, false, true);
    uint64_t busy_kb = rss_kb();
    size_t runs = count_runs(path);
    int64_t start = rf_mono_us();
    rf_log_close(&log);
    int64_t closed = rf_mono_us();
    log = open_log(path);
    int64_t opened = rf_mono_us();
    uint64_t idle_kb = rss_kb();
    double random = send_all(rf_log_route(log, RF_STR("d"), RF_STR("x")), b,
                             RF_MIN(events, UINT64_C(1000000)), true, true);
    rf_log_part_stats s;
    rf_log_stats(log, take_stats, &s);
    printf("{\"bench\":\"history\",\"events\":%" PRIu64 ",\"event_bytes\":%zu,\"append_s\":%.0f,"
           "\"resend_s\":%.0f,\"resend_random_s\":%.0f,\"disk_bytes_event\":%.1f,"
           "\"index_bytes_event\":%.1f,\"close_ms\":%.1f,\"open_ms\":%.1f,\"anon_kb_busy\":%" PRIu64
           ",\"anon_kb_open\":%" PRIu64 ",\"segments\":%" PRIu64 ",\"runs\":%zu}\n",
           events, event_bytes, append, again, random, (double)s.bytes_disk / (double)events,
           (double)s.bytes_index / (double)events, (double)(closed - start) / 1e3,
           (double)(opened - closed) / 1e3, busy_kb, idle_kb, s.segments, runs);
    rf_log_close(&log);
    return system(command) == 0 ? 0 : 1;
}
