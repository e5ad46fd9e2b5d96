/*
 * How fast events are decoded, against the JSON parser alone on the same bytes. Generated events:
 * flights (about 250 bytes) and travel expenses (about 940, 18 fields).
 *
 *   bench_decode [ROUNDS]     prints one RESULT line for each shape
 */
#include "base/base.h"
#include "event/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <yyjson.h>

#define EVENTS 20000

typedef struct corpus {
    rf_buf text;
    size_t from[EVENTS + 1];
} corpus;

static uint64_t rng = 42;

static uint64_t next_random(uint64_t below)
{
    rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (rng >> 33) % below;
}

static void add_flight(rf_buf *b, size_t i)
{
    static const char *const AIRPORTS[] = {"JFK", "LAX", "SFO", "ORD", "DEN", "ATL", "SEA", "BOS"};
    const char *from = AIRPORTS[next_random(8)], *to = AIRPORTS[next_random(8)];
    rf_buf_addf(b,
                "{\"specversion\":\"1.0\",\"id\":\"flights-2001/%07zu\",\"source\":\"/us/flights\","
                "\"type\":\"flight.landed\",\"subject\":\"%s-%s\","
                "\"time\":\"2001-01-%02dT%02d:%02d:00Z\",\"data\":{\"delay\":%d,\"distance\":%d,"
                "\"origin\":\"%s\",\"destination\":\"%s\"}}",
                i, from, to, 1 + (int)next_random(28), (int)next_random(24), (int)next_random(60),
                (int)next_random(200) - 40, (int)next_random(3000), from, to);
}

static void add_travel(rf_buf *b, size_t i)
{
    int n = (int)next_random(90000);
    rf_buf_addf(b,
                "{\"specversion\":\"1.0\",\"id\":\"InternationalDeclarations/declaration%d/%zu\","
                "\"source\":\"/tue/declaration\",\"type\":\"declaration.start.trip\","
                "\"subject\":\"declaration%d\",\"time\":\"2017-01-09T00:00:00.000+01:00\","
                "\"correlationid\":\"declaration%d\",\"datacontenttype\":\"application/json\",",
                n, i, n, n);
    rf_buf_addf(b,
                "\"data\":{\"activity\":\"Start trip\",\"resource\":\"STAFF MEMBER\","
                "\"variant\":\"Variant %d\",\"variant_index\":\"%d\",\"amount\":%.12f,"
                "\"budget_number\":\"budget %d\",\"declaration_number\":\"declaration number %d\","
                "\"permit_activity_number\":null,\"permit_budget_number\":\"budget %d\","
                "\"permit_id\":\"travel permit %d\",",
                n % 999, n % 999, n / 7.0, n, n, n / 3, n);
    rf_buf_addf(b,
                "\"permit_organizational_entity\":\"organizational unit %d\","
                "\"permit_project_number\":null,\"permit_requested_budget\":%.13f,"
                "\"permit_task_number\":null,\"permit_id2\":\"travel permit %d\","
                "\"permit_travel_permit_number\":\"travel permit number %d\","
                "\"travel_permit_number\":\"travel permit number %d\",\"role\":\"EMPLOYEE\"}}",
                n, n / 3.0, n, n, n);
}

static void fill(corpus *c, void (*add)(rf_buf *b, size_t i))
{
    rf_buf_init(&c->text, (size_t)1 << 30);
    for (size_t i = 0; i < EVENTS; i++) {
        c->from[i] = c->text.n;
        add(&c->text, i);
    }
    c->from[EVENTS] = c->text.n;
    RF_ASSERT(!c->text.failed);
}

static rf_str event_text(const corpus *c, size_t i)
{
    return (rf_str){c->text.p + c->from[i], c->from[i + 1] - c->from[i]};
}

/* Microseconds of the quickest of `rounds`: the machine may be shared. */
static int64_t time_decode(const corpus *c, int rounds, uint64_t *sink)
{
    rf_decoder *d = rf_decoder_new(&RF_EVENT_LIMITS_DEFAULT, 7);
    int64_t best = INT64_MAX;
    for (int round = 0; round < rounds; round++) {
        int64_t start = rf_mono_us();
        for (size_t i = 0; i < EVENTS; i++) {
            rf_event event;
            rf_event_fault fault;
            if (rf_event_decode(d, event_text(c, i), &event, NULL, &fault) != RF_OK) {
                fprintf(stderr, "refused: %s %s\n", fault.rule, fault.detail);
                exit(1);
            }
            *sink += event.content.lo;
            if (i % 1000 == 0)
                rf_decoder_reset(d);
        }
        best = RF_MIN(best, rf_mono_us() - start);
    }
    rf_decoder_free(&d);
    return best;
}

static int64_t time_parser(const corpus *c, int rounds, uint64_t *sink)
{
    size_t pool_bytes = yyjson_read_max_memory_usage(4096, 0);
    char *pool = rf_xmalloc(pool_bytes);
    int64_t best = INT64_MAX;
    for (int round = 0; round < rounds; round++) {
        int64_t start = rf_mono_us();
        for (size_t i = 0; i < EVENTS; i++) {
            yyjson_alc alc;
            rf_str text = event_text(c, i);
            yyjson_alc_pool_init(&alc, pool, pool_bytes);
            yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.p, text.n, 0, &alc, NULL);
            *sink += yyjson_doc_get_val_count(doc);
            yyjson_doc_free(doc);
        }
        best = RF_MIN(best, rf_mono_us() - start);
    }
    free(pool);
    return best;
}

static int64_t time_encode(const corpus *c, int rounds, uint64_t *sink)
{
    rf_decoder *d = rf_decoder_new(&RF_EVENT_LIMITS_DEFAULT, 7);
    rf_event *events = rf_xcalloc(EVENTS, sizeof *events);
    rf_event_fault fault;
    rf_buf out;
    int64_t best = INT64_MAX;
    rf_buf_init(&out, (size_t)1 << 30);
    for (size_t i = 0; i < EVENTS; i++) {
        rf_status st = rf_event_decode(d, event_text(c, i), &events[i], NULL, &fault);
        RF_ASSERT(st == RF_OK);
    }
    for (int round = 0; round < rounds; round++) {
        int64_t start = rf_mono_us();
        rf_buf_reset(&out);
        for (size_t i = 0; i < EVENTS; i++)
            rf_event_encode_line(&events[i], &out);
        *sink += out.n;
        best = RF_MIN(best, rf_mono_us() - start);
    }
    rf_buf_clear(&out);
    free(events);
    rf_decoder_free(&d);
    return best;
}

static void report(const char *what, const char *shape, const corpus *c, int64_t us, int64_t limit)
{
    double bytes = (double)c->text.n;
    printf("RESULT name=%s shape=%s bytes_per_event=%.0f events_per_s=%.0f mb_per_s=%.0f "
           "of_parser=%.2f\n",
           what, shape, bytes / EVENTS, EVENTS * 1e6 / (double)us, bytes / (double)us,
           (double)limit / (double)us);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*add)(rf_buf *b, size_t i);
    } SHAPES[] = {{"flight", add_flight}, {"travel", add_travel}};
    static corpus c;
    uint64_t rounds = 20, sink = 0;
    if (argc > 1 &&
        (!rf_str_to_u64(rf_str_from(argv[1]), &rounds) || rounds < 1 || rounds > 10000)) {
        fprintf(stderr, "usage: bench_decode [ROUNDS]\n");
        return 2;
    }
    for (size_t i = 0; i < RF_ARRAY_LEN(SHAPES); i++) {
        fill(&c, SHAPES[i].add);
        int64_t parser_us = time_parser(&c, (int)rounds, &sink);
        report("json-parser", SHAPES[i].name, &c, parser_us, parser_us);
        report("event-decode", SHAPES[i].name, &c, time_decode(&c, (int)rounds, &sink), parser_us);
        report("event-encode", SHAPES[i].name, &c, time_encode(&c, (int)rounds, &sink), parser_us);
        rf_buf_clear(&c.text);
    }
    return sink == 0; /* never: keeps the work from being optimised away */
}
