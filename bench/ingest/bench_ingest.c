/*
 * Where the time of ingest goes, stage by stage, over generated flights (about 250 bytes a line).
 *
 *   bench_ingest [--events N] [--dir DIR]     one JSON object a line; DIR (default .) gets a log of
 *                                             its own, which is removed in the end
 *
 * of_parse: the rate as a share of what the JSON parser alone did in this run
 *
 * stages  split       find the lines (memchr)
 *         parse       yyjson alone: the limit that a JSON log cannot beat
 *         decode      rf_event_decode
 *         feed        the owner's thread of one NDJSON request: copy, split, decode, route, submit,
 *                     settle; in CPU time, so without the writer and the disk
 *         ingest      the same request by the clock, acknowledged by a real log
 *         process     CPU time of the whole process in it: feed + writer
 *         again       the same lines once more: all duplicates
 *         single      one event a request, so many requests open at a time, by the clock
 */
#include "base/base.h"
#include "event/event.h"
#include "ingest/ingest.h"
#include "log/log.h"

#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <yyjson.h>

#define FEED_BYTES 65536u /* as a server reads from a socket */

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of the JSON parser alone, for the ratios. */
static double parse_rate;

static void report(const char *stage, uint64_t events, uint64_t bytes, double took)
{
    double rate = (double)events / took;

    if (strcmp(stage, "parse") == 0)
        parse_rate = rate;
    printf("{\"bench\":\"ingest\",\"stage\":\"%s\",\"events\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"seconds\":%.4f,\"events_per_s\":%.0f,\"mb_per_s\":%.1f,\"ns_per_event\":%.1f,"
           "\"of_parse\":%.3f}\n",
           stage, events, bytes, took, rate, (double)bytes / took / 1e6,
           took / (double)events * 1e9, parse_rate > 0 ? rate / parse_rate : 0);
    fflush(stdout);
}

/* ---- input
 * --------------------------------------------------------------------------------------- */

static void add_flight(rf_buf *b, uint64_t i)
{
    static const char *const airports[] = {"JFK", "LAX", "SFO", "ORD", "DEN", "ATL", "SEA", "BOS"};
    uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    const char *from = airports[x >> 61], *to = airports[x >> 58 & 7];

    rf_buf_addf(b,
                "{\"specversion\":\"1.0\",\"id\":\"2001-%08" PRIu64 "\",\"source\":\"/us/flights\","
                "\"type\":\"flight.landed\",\"subject\":\"%s-%s\","
                "\"time\":\"2001-01-%02dT%02d:%02d:00Z\",\"data\":{\"delay\":%d,\"distance\":%d,"
                "\"origin\":\"%s\",\"destination\":\"%s\"}}\n",
                i, from, to, 1 + (int)(x >> 40) % 28, (int)(x >> 33 & 0xff) % 24,
                (int)(x >> 20 & 0xff) % 60, (int)(x >> 10 & 0x7f) - 40, (int)(x & 2047), from, to);
}

typedef struct input {
    rf_buf text;
    uint64_t events;
} input;

static void make_input(input *in, uint64_t events)
{
    rf_buf_init(&in->text, SIZE_MAX / 2);
    for (uint64_t i = 0; i < events; i++)
        add_flight(&in->text, i);
    RF_ASSERT(!in->text.failed);
    in->events = events;
}

/* ---- stages without a log
 * ------------------------------------------------------------------------ */

static void each_line(const input *in, void (*line)(void *arg, rf_str text), void *arg)
{
    const char *p = in->text.p, *end = p + in->text.n;

    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));

        line(arg, (rf_str){p, (size_t)(newline - p)});
        p = newline + 1;
    }
}

static void count_line(void *arg, rf_str text)
{
    *(uint64_t *)arg += text.n;
}

typedef struct parser {
    char pool[64 << 10];
    uint64_t values;
} parser;

static void parse_line(void *arg, rf_str text)
{
    parser *p = arg;
    yyjson_alc alc;
    yyjson_doc *doc;

    yyjson_alc_pool_init(&alc, p->pool, sizeof(p->pool));
    doc = yyjson_read_opts((char *)(uintptr_t)text.p, text.n, 0, &alc, NULL);
    RF_ASSERT(doc != NULL);
    p->values += yyjson_doc_get_val_count(doc);
}

typedef struct decoding {
    rf_decoder *decoder;
    uint64_t count;
} decoding;

static void decode_line(void *arg, rf_str text)
{
    decoding *d = arg;
    rf_event event;
    rf_expect expect;
    rf_event_fault fault;

    RF_ASSERT(rf_event_decode(d->decoder, text, &event, &expect, &fault) == RF_OK);
    if (++d->count % 1000 == 0)
        rf_decoder_reset(d->decoder);
}

static void run_stages(const input *in)
{
    static parser p;
    decoding d = {.decoder = rf_decoder_new(&RF_EVENT_LIMITS_DEFAULT, 7)};
    uint64_t bytes = 0;
    double from = seconds(CLOCK_THREAD_CPUTIME_ID);

    each_line(in, count_line, &bytes);
    report("split", in->events, in->text.n, seconds(CLOCK_THREAD_CPUTIME_ID) - from);
    from = seconds(CLOCK_THREAD_CPUTIME_ID);
    each_line(in, parse_line, &p);
    report("parse", in->events, in->text.n, seconds(CLOCK_THREAD_CPUTIME_ID) - from);
    from = seconds(CLOCK_THREAD_CPUTIME_ID);
    each_line(in, decode_line, &d);
    report("decode", in->events, in->text.n, seconds(CLOCK_THREAD_CPUTIME_ID) - from);
    rf_decoder_free(&d.decoder);
}

/* ---- stages with one
 * ------------------------------------------------------------------------------- */

/* Counts wakes for a number of requests, and lets their owner wait for one. */
typedef struct waker {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    uint64_t wakes;
} waker;

static void wake(void *arg)
{
    waker *w = arg;

    pthread_mutex_lock(&w->mutex);
    w->wakes++;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

static void wait_for_wake(waker *w)
{
    pthread_mutex_lock(&w->mutex);
    while (w->wakes == 0)
        pthread_cond_wait(&w->cond, &w->mutex);
    w->wakes = 0;
    pthread_mutex_unlock(&w->mutex);
}

static rf_ingest_request *begin(rf_ingest *ingest, rf_ingest_form form, waker *w)
{
    rf_ingest_request_options o = {.form = form, .wake = wake, .arg = w};
    rf_ingest_request *r;
    rf_err err = {0};

    if (rf_ingest_begin(ingest, &o, &r, &err) != RF_OK) {
        fprintf(stderr, "bench_ingest: %s\n", err.text);
        exit(1);
    }
    return r;
}

static void check(const rf_ingest_outcome *o, uint64_t accepted, uint64_t duplicates)
{
    if (o->status != RF_OK || o->accepted != accepted || o->duplicates != duplicates) {
        fprintf(stderr, "bench_ingest: %s, %" PRIu64 " accepted, %" PRIu64 " duplicates\n",
                o->status == RF_OK ? "wrong counts" : o->err.text, o->accepted, o->duplicates);
        exit(1);
    }
}

static void run_lines(rf_ingest *ingest, const input *in, bool again)
{
    waker w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    double clock = seconds(CLOCK_MONOTONIC), own = seconds(CLOCK_THREAD_CPUTIME_ID);
    double all = seconds(CLOCK_PROCESS_CPUTIME_ID);
    rf_ingest_request *r = begin(ingest, RF_FORM_NDJSON, &w);
    const rf_ingest_outcome *o;

    for (size_t at = 0; at < in->text.n; at += FEED_BYTES) {
        if (!rf_ingest_feed(r, in->text.p + at, RF_MIN(FEED_BYTES, in->text.n - at)))
            wait_for_wake(&w);
    }
    rf_ingest_end(r);
    while ((o = rf_ingest_result(r)) == NULL)
        wait_for_wake(&w);
    check(o, again ? 0 : in->events, again ? in->events : 0);
    clock = seconds(CLOCK_MONOTONIC) - clock;
    own = seconds(CLOCK_THREAD_CPUTIME_ID) - own;
    all = seconds(CLOCK_PROCESS_CPUTIME_ID) - all;
    if (!again)
        report("feed", in->events, in->text.n, own);
    report(again ? "again" : "ingest", in->events, in->text.n, clock);
    if (!again)
        report("process", in->events, in->text.n, all);
    rf_ingest_free(&r);
}

/* One event a request, `open` of them under way from one thread. */
static void run_single(rf_ingest *ingest, unsigned open, uint64_t first, uint64_t count)
{
    waker w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    rf_ingest_request **r = rf_xcalloc(open, sizeof(*r));
    uint64_t sent = 0, done = 0, bytes = 0;
    double clock = seconds(CLOCK_MONOTONIC), own = seconds(CLOCK_THREAD_CPUTIME_ID);
    char stage[32];
    rf_buf event;

    rf_buf_init(&event, 4096);
    while (done < count) {
        bool moved = false;

        for (unsigned i = 0; i < open; i++) {
            const rf_ingest_outcome *o = r[i] != NULL ? rf_ingest_result(r[i]) : NULL;

            if (o != NULL) {
                check(o, 1, 0);
                rf_ingest_free(&r[i]);
                done++;
                moved = true;
            }
            if (r[i] == NULL && sent < count) {
                rf_buf_reset(&event);
                add_flight(&event, first + sent++);
                bytes += event.n;
                r[i] = begin(ingest, RF_FORM_EVENT, &w);
                rf_ingest_feed(r[i], event.p, event.n);
                rf_ingest_end(r[i]);
                moved = true;
            }
        }
        if (!moved && done < count)
            wait_for_wake(&w);
    }
    clock = seconds(CLOCK_MONOTONIC) - clock;
    own = seconds(CLOCK_THREAD_CPUTIME_ID) - own;
    snprintf(stage, sizeof(stage), "single-%u", open);
    report(stage, count, bytes, clock);
    snprintf(stage, sizeof(stage), "single-%u-feed", open);
    report(stage, count, bytes, own);
    rf_buf_clear(&event);
    free(r);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int run_with_log(const input *in, const char *parent)
{
    rf_log_options log_options = {0};
    rf_ingest_options options = {0};
    rf_ingest *ingest = NULL;
    rf_err err = {0};
    char dir[4096];

    snprintf(dir, sizeof(dir), "%s/bench-ingest-XXXXXX", parent);
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    if (rf_log_open(dir, &log_options, &options.log, &err) != RF_OK ||
        rf_ingest_open(&options, &ingest, &err) != RF_OK) {
        fprintf(stderr, "bench_ingest: %s\n", err.text);
        return 1;
    }
    run_lines(ingest, in, false);
    run_lines(ingest, in, true);
    run_single(ingest, 1, in->events, 2000);
    run_single(ingest, 16, in->events + 10000, 20000);
    run_single(ingest, 64, in->events + 100000, 50000);
    rf_ingest_close(&ingest);
    rf_log_close(&options.log);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t events = 1000000;
    const char *dir = ".";
    input in;
    int rc;

    for (int i = 1; i < argc; i += 2) {
        rf_str name = rf_str_from(argv[i]);

        if (i + 1 < argc && rf_str_eq(name, RF_STR("--dir"))) {
            dir = argv[i + 1];
        } else if (i + 1 >= argc || !rf_str_eq(name, RF_STR("--events")) ||
                   !rf_str_to_u64(rf_str_from(argv[i + 1]), &events) || events == 0) {
            fprintf(stderr, "usage: bench_ingest [--events N] [--dir DIR]\n");
            return 2;
        }
    }
    make_input(&in, events);
    run_stages(&in);
    rc = run_with_log(&in, dir);
    rf_buf_clear(&in.text);
    return rc;
}
