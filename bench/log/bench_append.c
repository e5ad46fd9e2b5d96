/*
 * Appends with sync against the raw limit of the same disk in the same run: a program that hands
 * the same bytes from the same clients to one thread, which writes what has gathered and syncs
 * once, into a preallocated file. One JSON line a point; "ratio" is what counts.
 *
 *   bench_append [dir [seconds-per-point [event-bytes]]]
 */
#include "log/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS_MAX 64

static double seconds = 2;
static size_t event_bytes = 900;

/* ---- raw
 * ---------------------------------------------------------------------------------------------- */

typedef struct raw_request {
    const char *p;
    size_t n;
    bool done;
    struct raw_request *next;
} raw_request;

typedef struct raw {
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    raw_request *first, **end;
    bool stop;
    int fd;
    uint64_t at, allocated;
    char *buffer;
} raw;

static void *raw_writer(void *arg)
{
    raw *r = arg;
    pthread_mutex_lock(&r->mutex);
    for (;;) {
        while (r->first == NULL && !r->stop)
            pthread_cond_wait(&r->work, &r->mutex);
        raw_request *list = r->first;
        if (list == NULL)
            break;
        r->first = NULL;
        r->end = &r->first;
        pthread_mutex_unlock(&r->mutex);
        size_t n = 0;
        for (raw_request *q = list; q != NULL; q = q->next) {
            memcpy(r->buffer + n, q->p, q->n);
            n += q->n;
        }
        if (r->at + n > r->allocated) {
            r->allocated = r->at + n + (64u << 20);
            if (fallocate(r->fd, 0, 0, (off_t)r->allocated) != 0)
                abort();
        }
        if (pwrite(r->fd, r->buffer, n, (off_t)r->at) != (ssize_t)n || fdatasync(r->fd) != 0)
            abort();
        r->at += n;
        pthread_mutex_lock(&r->mutex);
        while (list != NULL) {
            raw_request *next = list->next;
            list->done = true;
            list = next;
        }
        pthread_cond_broadcast(&r->done);
    }
    pthread_mutex_unlock(&r->mutex);
    return NULL;
}

/* ---- clients
 * -------------------------------------------------------------------------------------------- */

typedef struct client {
    pthread_t thread;
    unsigned number;
    uint32_t group;
    int64_t until_us;
    raw *raw;
    rf_log_part *part;
    uint64_t events;
    rf_hist *latency;
} client;

/* ~900 bytes that compress about as well as real events do. */
static void make_event(char *text, size_t n, unsigned who, uint64_t i)
{
    static const char *const WORDS[] = {"permit",   "declaration", "travel",     "submitted",
                                        "employee", "approved",    "supervisor", "payment",
                                        "rejected", "budget"};
    uint64_t s = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) + who;
    size_t at = (size_t)snprintf(text, n, "{\"case\":%u,\"n\":%" PRIu64, who, i);
    while (at + 64 < n) {
        s = (s ^ (s >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
        at += (size_t)snprintf(text + at, n - at, ",\"%s\":\"%s %" PRIu64 "\"", WORDS[s % 10],
                               WORDS[s / 10 % 10], s >> 40);
    }
    memset(text + at, ' ', n - at - 1);
    text[n - 1] = '}';
}

static void raw_client(client *c)
{
    char *bytes = malloc(event_bytes * c->group);
    for (uint32_t k = 0; k < c->group; k++)
        make_event(bytes + k * event_bytes, event_bytes, c->number, k);
    while (rf_mono_us() < c->until_us) {
        raw_request q = {bytes, event_bytes * c->group, false, NULL};
        int64_t start = rf_mono_us();
        pthread_mutex_lock(&c->raw->mutex);
        *c->raw->end = &q;
        c->raw->end = &q.next;
        pthread_cond_signal(&c->raw->work);
        while (!q.done)
            pthread_cond_wait(&c->raw->done, &c->raw->mutex);
        pthread_mutex_unlock(&c->raw->mutex);
        rf_hist_record(c->latency, (uint64_t)(rf_mono_us() - start));
        c->events += c->group;
    }
    free(bytes);
}

static void log_client(client *c)
{
    rf_event *e = calloc(c->group, sizeof *e);
    rf_receipt *r = calloc(c->group, sizeof *r);
    char *data = malloc(event_bytes * c->group);
    char(*id)[48] = calloc(c->group, sizeof *id),
    (*subject)[32] = calloc(c->group, sizeof *subject);
    for (uint32_t k = 0; k < c->group; k++) {
        make_event(data + k * event_bytes, event_bytes, c->number, k);
        e[k] = (rf_event){.source = RF_STR("/bench/source"),
                          .type = RF_STR("bench.permit.submitted"),
                          .time_us = RF_TIME_NONE,
                          .data_kind = RF_DATA_JSON,
                          .data = {data + k * event_bytes, event_bytes - 100}};
    }
    for (uint64_t n = 0; rf_mono_us() < c->until_us; n++) {
        for (uint32_t k = 0; k < c->group; k++) {
            e[k].id.p = id[k];
            e[k].id.n = (size_t)snprintf(id[k], sizeof id[k], "permit-%u-%" PRIu64, c->number,
                                         n * c->group + k);
            e[k].subject.p = subject[k];
            e[k].subject.n = (size_t)snprintf(subject[k], sizeof subject[k], "case %u-%" PRIu64,
                                              c->number, (n * c->group + k) / 8);
            e[k].content.lo = n * c->group + k;
        }
        rf_append a = {.events = e, .count = c->group, .receipts = r};
        rf_err err = {0};
        int64_t start = rf_mono_us();
        if (rf_log_append(c->part, &a, &err) != RF_OK || r[0].duplicate) {
            fprintf(stderr, "%s\n", err.text);
            abort();
        }
        rf_hist_record(c->latency, (uint64_t)(rf_mono_us() - start));
        c->events += c->group;
    }
    free(e);
    free(r);
    free(data);
    free(id);
    free(subject);
}

static void *client_main(void *arg)
{
    client *c = arg;
    if (c->raw != NULL)
        raw_client(c);
    else
        log_client(c);
    return NULL;
}

static double run_clients(unsigned clients, uint32_t group, raw *r, rf_log_part *part,
                          rf_hist *latency)
{
    static client c[CLIENTS_MAX];
    int64_t start = rf_mono_us();
    uint64_t events = 0;
    for (unsigned i = 0; i < clients; i++) {
        c[i] = (client){.number = i,
                        .group = group,
                        .raw = r,
                        .part = part,
                        .latency = latency,
                        .until_us = start + (int64_t)(seconds * 1e6)};
        pthread_create(&c[i].thread, NULL, client_main, &c[i]);
    }
    for (unsigned i = 0; i < clients; i++) {
        pthread_join(c[i].thread, NULL);
        events += c[i].events;
    }
    return (double)events * 1e6 / (double)(rf_mono_us() - start);
}

static double bench_raw(const char *dir, unsigned clients, uint32_t group, rf_hist *latency)
{
    char path[512];
    raw r = {.end = &r.first, .buffer = malloc((size_t)clients * group * event_bytes + 1)};
    pthread_t writer;
    snprintf(path, sizeof path, "%s/raw", dir);
    r.fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    pthread_mutex_init(&r.mutex, NULL);
    pthread_cond_init(&r.work, NULL);
    pthread_cond_init(&r.done, NULL);
    pthread_create(&writer, NULL, raw_writer, &r);
    double rate = run_clients(clients, group, &r, NULL, latency);
    pthread_mutex_lock(&r.mutex);
    r.stop = true;
    pthread_cond_signal(&r.work);
    pthread_mutex_unlock(&r.mutex);
    pthread_join(writer, NULL);
    close(r.fd);
    unlink(path);
    free(r.buffer);
    return rate;
}

static void remove_log(const char *dir)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s/log'", dir);
    if (system(command) != 0)
        abort();
}

static uint64_t sync_p99;

static void take_sync(void *arg, const rf_log_part_stats *s)
{
    (void)arg;
    sync_p99 = rf_hist_quantile(s->sync_us, 0.99);
}

static double bench_log(const char *dir, unsigned clients, uint32_t group, rf_hist *latency)
{
    char path[512];
    rf_log *log = NULL;
    rf_err err = {0};
    remove_log(dir);
    snprintf(path, sizeof path, "%s/log", dir);
    if (rf_log_open(path, NULL, &log, &err) != RF_OK ||
        rf_log_domain(log, RF_STR("d"), 1, &err) != RF_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    double rate =
        run_clients(clients, group, NULL, rf_log_route(log, RF_STR("d"), RF_STR("x")), latency);
    rf_log_stats(log, take_sync, NULL);
    rf_log_close(&log);
    remove_log(dir);
    return rate;
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : ".";
    static const unsigned CLIENTS[] = {1, 16, 64};
    static const uint32_t GROUPS[] = {1, 100, 1000};
    static rf_hist raw_latency, log_latency;
    if (argc > 2)
        seconds = strtod(argv[2], NULL);
    if (argc > 3)
        event_bytes = (size_t)strtoul(argv[3], NULL, 10);
    for (size_t g = 0; g < RF_ARRAY_LEN(GROUPS); g++) {
        for (size_t c = 0; c < RF_ARRAY_LEN(CLIENTS); c++) {
            memset(&raw_latency, 0, sizeof raw_latency);
            memset(&log_latency, 0, sizeof log_latency);
            double raw_rate = bench_raw(dir, CLIENTS[c], GROUPS[g], &raw_latency);
            double log_rate = bench_log(dir, CLIENTS[c], GROUPS[g], &log_latency);
            printf("{\"bench\":\"append\",\"clients\":%u,\"group\":%u,\"event_bytes\":%zu,"
                   "\"raw_events_s\":%.0f,\"refold_events_s\":%.0f,\"ratio\":%.2f,"
                   "\"raw_p50_us\":%" PRIu64 ",\"raw_p99_us\":%" PRIu64 ",\"p50_us\":%" PRIu64
                   ",\"p99_us\":%" PRIu64 ",\"sync_p99_us\":%" PRIu64 "}\n",
                   CLIENTS[c], GROUPS[g], event_bytes, raw_rate, log_rate, log_rate / raw_rate,
                   rf_hist_quantile(&raw_latency, 0.5), rf_hist_quantile(&raw_latency, 0.99),
                   rf_hist_quantile(&log_latency, 0.5), rf_hist_quantile(&log_latency, 0.99),
                   sync_p99);
            fflush(stdout);
        }
    }
    return 0;
}
