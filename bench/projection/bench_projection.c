/*
 * Projections over a log of flight-like events, in one process, without HTTP. A JSON line each:
 *
 *   rebuild    each of the demo's three projections by one statement over the log
 *   scan       the same relation with nothing but count(*), and count by origin: what reading costs
 *   catch-up   events applied in micro-batches by the live worker
 *   freshness  one event at a time, append to visible
 *   batch      a micro-batch of 1,000 events into a state of 10^3 and of 10^6 groups
 *
 *   bench_projection [events [dir]]     3000000, in a new folder under /tmp
 */
#include "projection/projection.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GROUP 1000u

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"date\":{\"type\":\"string\",\"format\":\"date-time\"},"
    "\"delay\":{\"type\":\"integer\"},\"distance\":{\"type\":\"integer\"},\"origin\":{\"type\":"
    "\"string\"},\"destination\":{\"type\":\"string\"}}}";

static const struct {
    const char *name, *sql;
} projections[] = {
    {"airports",
     "SELECT data.origin AS airport, count(*) AS flights, avg(data.delay) AS mean_delay, "
     "stddev(data.delay) AS stddev_delay, count(*) FILTER (WHERE data.delay > 15) / count(*) "
     "AS share_late, approx_count_distinct(data.destination) AS routes FROM "
     "\"flight.landed\" GROUP BY ALL"},
    {"by_route",
     "SELECT data.origin AS origin, data.destination AS destination, count(*) AS flights, "
     "sum(data.delay) AS delay, avg(data.delay) AS mean_delay, min(data.delay) AS best, "
     "max(data.delay) AS worst, max(data.distance) AS miles FROM \"flight.landed\" GROUP BY "
     "ALL"},
    {"delays_by_day",
     "SELECT time::DATE AS day, count(*) AS flights, avg(data.delay) AS mean_delay, "
     "max(data.delay) AS worst_delay, sum(data.distance) AS miles FROM "
     "\"flight.landed\" GROUP BY ALL"},
};

typedef struct bench {
    char log_dir[256], database[256];
    rf_log *log;
    rf_log_view *view;
    rf_engine *engine;
    rf_projections *p;
    rf_conn *conn;
    uint64_t appended;
    uint64_t random;
    char (*ids)[32], (*subjects)[16], (*datas)[160];
    rf_event *events;
} bench;

static void must(rf_status st, const rf_err *err)
{
    if (st == RF_OK)
        return;
    fprintf(stderr, "bench_projection: %s\n", err->text);
    exit(1);
}

/* Of all threads: on a machine with other work, this tells more than the clock on the wall. */
static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t next(bench *b, uint32_t n)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(b->random >> 33) % n;
}

static rf_status append_control(void *arg, rf_str type, rf_str subject, rf_str data,
                                rf_position *position, rf_err *err)
{
    bench *b = arg;
    char id[32];
    rf_event e = {.source = RF_STR("/bench"),
                  .type = type,
                  .subject = subject,
                  .data = data,
                  .data_kind = RF_DATA_JSON,
                  .time_us = RF_TIME_NONE};
    rf_receipt receipt = {0};
    rf_append append = {.events = &e, .count = 1, .receipts = &receipt};
    static _Atomic uint64_t number;
    rf_status st;

    snprintf(id, sizeof(id), "c%" PRIu64, (uint64_t)number++);
    e.id = rf_str_from(id);
    e.content = rf_hash_fast(id, strlen(id), 1);
    st = rf_log_append(rf_log_route(b->log, RF_STR("refold"), subject), &append, err);
    if (st == RF_OK)
        rf_position_raise(position, RF_STR("refold"), 0, receipt.offset + 1);
    return st;
}

static void append_events(bench *b, uint64_t count, const char *type, uint32_t keys)
{
    rf_log_part *part = rf_log_route(b->log, RF_STR("default"), RF_STR("x"));
    rf_receipt *receipts = calloc(GROUP, sizeof(*receipts));
    rf_err err = {0};

    for (uint64_t done = 0; done < count;) {
        uint32_t n = (uint32_t)RF_MIN(count - done, GROUP);
        rf_append append = {.events = b->events, .count = n, .receipts = receipts};

        for (uint32_t i = 0; i < n; i++) {
            uint64_t number = b->appended++;
            uint32_t from = next(b, 300), to = next(b, 300);
            rf_event *e = &b->events[i];

            snprintf(b->ids[i], sizeof(b->ids[i]), "flight-%" PRIu64, number);
            snprintf(b->subjects[i], sizeof(b->subjects[i]), "A%02X-B%02X", from, to);
            if (keys > 0)
                snprintf(b->datas[i], sizeof(b->datas[i]), "{\"key\":%u}",
                         (uint32_t)(number % keys));
            else
                snprintf(b->datas[i], sizeof(b->datas[i]),
                         "{\"date\":\"2001-%02u-%02uT%02u:%02u:00Z\",\"delay\":%d,\"distance\":%u,"
                         "\"origin\":\"A%02X\",\"destination\":\"B%02X\"}",
                         next(b, 12) + 1, next(b, 28) + 1, next(b, 24), next(b, 60),
                         (int)next(b, 120) - 20, next(b, 2500), from, to);
            *e = (rf_event){.source = RF_STR("/flights/2001"), .type = rf_str_from(type)};
            e->id = rf_str_from(b->ids[i]);
            e->subject = rf_str_from(b->subjects[i]);
            e->time_text = RF_STR("2001-01-01T00:00:00Z");
            e->time_us = INT64_C(978307200000000) + (int64_t)(number % 31536000) * 1000000;
            e->datacontenttype = RF_STR("application/json");
            e->data_kind = RF_DATA_JSON;
            e->data = rf_str_from(b->datas[i]);
            e->content = rf_hash_fast(b->ids[i], e->id.n, 1);
        }
        must(rf_log_append(part, &append, &err), &err);
        done += n;
    }
    free(receipts);
}

static void read_open(bench *b)
{
    rf_engine_options engine = {.path = b->database, .view = b->view};
    rf_projections_options options = {.append = append_control, .append_arg = b, .view = b->view};
    rf_err err = {0};

    must(rf_engine_open(&engine, &b->engine, &err), &err);
    options.engine = b->engine;
    must(rf_projections_open(&options, &b->p, &err), &err);
    must(rf_conn_open(b->engine, &b->conn, &err), &err);
}

static void read_close(bench *b)
{
    rf_conn_close(&b->conn);
    rf_projections_close(&b->p);
    rf_engine_close(&b->engine);
}

static void wait_all(bench *b, const char *name)
{
    rf_position end = {0};
    rf_str names = rf_str_from(name);
    rf_err err = {0};

    rf_log_view_position(b->view, &end);
    must(rf_projections_wait(b->p, &names, 1, &end, rf_mono_us() + INT64_C(600000000), &err), &err);
    rf_position_clear(&end);
}

static void put(bench *b, const char *name, const char *sql)
{
    rf_projection_put result;
    rf_err err = {0};

    must(rf_projections_put(b->p, rf_str_from(name), rf_str_from(sql), 600000, &result, NULL, NULL,
                            &err),
         &err);
}

static void rebuild_show(bench *b, const char *name, double cpu)
{
    const char *from, *to;
    rf_err err = {0};
    rf_buf json;

    rf_buf_init(&json, 1u << 20);
    must(rf_projections_json(b->p, rf_str_from(name), &json, &err), &err);
    rf_buf_cstr(&json);
    from = strstr(json.p, "\"lastRebuild\":");
    to = from != NULL ? strchr(from, '}') : NULL;
    if (to != NULL)
        printf("{\"bench\":\"rebuild\",\"projection\":\"%s\",%.*s,\"cpuSeconds\":%.3f}\n", name,
               (int)(to + 1 - from), from, cpu);
    rf_buf_clear(&json);
}

static void scan_show(bench *b, const char *what, const char *sql)
{
    rf_position zero = {0}, end = {0};
    rf_scope *scope = NULL;
    rf_err err = {0};
    double best = 1e9, cpu = cpu_seconds();

    must(rf_scope_new(b->engine, "bench", &scope, &err), &err);
    rf_log_view_position(b->view, &end);
    rf_scope_set(scope, &zero, &end);
    for (int i = 0; i < 3; i++) {
        int64_t started = rf_mono_us();

        must(rf_conn_exec(b->conn, sql, &err), &err);
        best = RF_MIN(best, (double)(rf_mono_us() - started) / 1e6);
    }
    printf("{\"bench\":\"scan\",\"what\":\"%s\",\"events\":%" PRIu64
           ",\"seconds\":%.3f,\"eventsPerSecond\":%.0f,\"cpuSeconds\":%.3f}\n",
           what, b->appended, best, (double)b->appended / best, (cpu_seconds() - cpu) / 3);
    rf_position_clear(&end);
    rf_scope_free(&scope);
}

static void catch_up_show(bench *b, uint64_t events)
{
    int64_t started;
    double seconds, cpu;

    read_close(b);
    append_events(b, events, "flight.landed", 0);
    started = rf_mono_us();
    cpu = cpu_seconds();
    read_open(b);
    for (size_t i = 0; i < RF_ARRAY_LEN(projections); i++)
        wait_all(b, projections[i].name);
    seconds = (double)(rf_mono_us() - started) / 1e6;
    printf("{\"bench\":\"catch-up\",\"projections\":%zu,\"events\":%" PRIu64
           ",\"seconds\":%.3f,\"eventsPerSecond\":%.0f,\"cpuSeconds\":%.3f}\n",
           RF_ARRAY_LEN(projections), events, seconds, (double)events / seconds,
           cpu_seconds() - cpu);
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    return a < b ? -1 : a > b;
}

/* Milliseconds from append to applied, of groups of `group` events; sorted. */
static double *latencies(bench *b, size_t count, uint32_t group, const char *type, uint32_t keys,
                         const char *name)
{
    double *ms = calloc(count, sizeof(*ms));

    for (size_t i = 0; i < count; i++) {
        int64_t started;

        usleep(60000); /* not one of a stream */
        append_events(b, group, type, keys);
        started = rf_mono_us(); /* acknowledged: on disk */
        wait_all(b, name);
        ms[i] = (double)(rf_mono_us() - started) / 1e3;
    }
    qsort(ms, count, sizeof(*ms), by_value);
    return ms;
}

static void freshness_show(bench *b)
{
    double *ms = latencies(b, 200, 1, "flight.landed", 0, "airports");

    printf("{\"bench\":\"freshness\",\"events\":200,\"p50ms\":%.2f,\"p99ms\":%.2f}\n", ms[100],
           ms[198]);
    free(ms);
}

static void batch_show(bench *b, const char *type, uint32_t groups)
{
    char name[32], sql[256];
    double *ms;

    snprintf(name, sizeof(name), "groups_%u", groups);
    snprintf(
        sql, sizeof(sql),
        "SELECT (data->>'key')::INT AS k, count(*) AS n, sum((data->>'key')::INT) AS s FROM \"%s\" "
        "GROUP BY 1",
        type);
    append_events(b, groups, type, groups);
    put(b, name, sql);
    ms = latencies(b, 60, 1000, type, groups, name);
    printf("{\"bench\":\"batch\",\"groups\":%u,\"events\":1000,\"p50ms\":%.2f,\"p90ms\":%.2f}\n",
           groups, ms[30], ms[54]);
    free(ms);
}

static void init(bench *b, const char *dir)
{
    rf_log_options log = {.publish_tail = true};
    rf_log_view_options view = {.follow = true};
    rf_err err = {0};

    snprintf(b->log_dir, sizeof(b->log_dir), "%s/log", dir);
    snprintf(b->database, sizeof(b->database), "%s/read.duckdb", dir);
    b->random = 1;
    b->ids = calloc(GROUP, sizeof(*b->ids));
    b->subjects = calloc(GROUP, sizeof(*b->subjects));
    b->datas = calloc(GROUP, sizeof(*b->datas));
    b->events = calloc(GROUP, sizeof(*b->events));
    must(rf_log_open(b->log_dir, &log, &b->log, &err), &err);
    must(rf_log_domain(b->log, RF_STR("refold"), 1, &err), &err);
    must(rf_log_domain(b->log, RF_STR("default"), 1, &err), &err);
    must(rf_log_view_open(b->log_dir, &view, &b->view, &err), &err);
}

int main(int argc, char **argv)
{
    char made[] = "/tmp/rf-bench-projection-XXXXXX";
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000000;
    const char *dir = argc > 2 ? argv[2] : mkdtemp(made);
    rf_projection_put result;
    bench b = {0};
    char command[300];
    rf_err err = {0};

    if (dir == NULL || events == 0) {
        fprintf(stderr, "usage: bench_projection [events [dir]]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    rf_diag_init(RF_DIAG_WARN, false, "bench");
    init(&b, dir);
    append_events(&b, events, "flight.landed", 0);
    read_open(&b);
    must(rf_projections_put_schema(b.p, RF_STR("flight.landed"), 1, rf_str_from(schema), &result,
                                   &err),
         &err);
    for (size_t i = 0; i < RF_ARRAY_LEN(projections); i++) {
        double cpu = cpu_seconds();

        put(&b, projections[i].name, projections[i].sql);
        rebuild_show(&b, projections[i].name, cpu_seconds() - cpu);
    }
    scan_show(&b, "count(*)",
              "SELECT count(*) FROM rf_events('flight.landed', 'bench', lean := true)");
    scan_show(&b, "count by origin",
              "SELECT data.origin, count(*) FROM rf_events('flight.landed', 'bench', fields := "
              "['origin']) GROUP BY 1");
    catch_up_show(&b, RF_MIN(events, 1000000));
    freshness_show(&b);
    batch_show(&b, "few.groups", 1000);
    batch_show(&b, "many.groups", 1000000);
    read_close(&b);
    rf_log_view_close(&b.view);
    rf_log_close(&b.log);
    free(b.ids);
    free(b.subjects);
    free(b.datas);
    free(b.events);
    if (argc <= 2) {
        snprintf(command, sizeof(command), "rm -r %s", dir);
        return system(command) == 0 ? 0 : 1;
    }
    return 0;
}
