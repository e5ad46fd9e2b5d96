/* Ingest over the real log in a directory of its own: what was acknowledged is there, once. */
#include "support.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#define EVENT_OF(id, subject, more)                                                                \
    "{\"specversion\":\"1.0\",\"id\":\"" id                                                        \
    "\",\"source\":\"/s\",\"type\":\"t\",\"subject\":\"" subject "\"" more "}"

typedef struct world {
    char dir[64];
    rf_log *log;
    rf_ingest *ingest;
} world;

static void world_start(world *w, uint32_t partitions)
{
    rf_log_options log_options = {.segment_bytes_max = 1 << 20, .block_bytes_target = 64 << 10};
    rf_ingest_options options = {.partitions_default = partitions};
    rf_err err = {0};

    if (rf_log_open(w->dir, &log_options, &w->log, &err) != RF_OK)
        fail_msg("log: %s", err.text);
    options.log = w->log;
    if (rf_ingest_open(&options, &w->ingest, &err) != RF_OK)
        fail_msg("ingest: %s", err.text);
}

static void world_stop(world *w)
{
    rf_ingest_close(&w->ingest);
    rf_log_close(&w->log);
}

static world world_open(uint32_t partitions)
{
    world w = {.dir = "/tmp/refold-test-ingest-XXXXXX"};

    assert_non_null(mkdtemp(w.dir));
    world_start(&w, partitions);
    return w;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void world_close(world *w)
{
    world_stop(w);
    nftw(w->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t stored(world *w)
{
    rf_position p = {0};
    uint64_t n = 0;

    rf_log_position(w->log, &p);
    for (size_t i = 0; i < p.count; i++)
        n += p.parts[i].next;
    rf_position_clear(&p);
    return n;
}

static void fill_lines(rf_buf *body, int from, int to)
{
    rf_buf_reset(body);
    for (int i = from; i < to; i++)
        rf_buf_addf(body, EVENT_OF("%d", "stream-%d", ",\"data\":{\"n\":%d}") "\n", i, i % 97, i);
}

static void lines__sent_again_and_after_a_restart__are_all_duplicates(void **state)
{
    static const uint32_t partitions[] = {1, 3};
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};
    rf_buf body;

    (void)state;
    rf_buf_init(&body, 64 << 20);
    for (size_t i = 0; i < RF_ARRAY_LEN(partitions); i++) {
        world w = world_open(partitions[i]);
        rf_position now = {0};
        run *it;

        fill_lines(&body, 0, 20000);
        it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){.piece = 65536});
        assert_int_equal(it->o->status, RF_OK);
        assert_int_equal(it->o->accepted, 20000);
        rf_log_position(w.log, &now);
        assert_true(rf_position_reached(&now, &it->o->position));
        assert_true(rf_position_reached(&it->o->position, &now));
        rf_position_clear(&now);
        run_free(it);
        for (int round = 0; round < 2; round++) {
            it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){.piece = 7777});
            assert_int_equal(it->o->duplicates, 20000);
            assert_int_equal(it->o->accepted, 0);
            run_free(it);
            world_stop(&w);
            world_start(&w, partitions[i]);
        }
        fill_lines(&body, 19990, 20010);
        it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){0});
        assert_int_equal(it->o->duplicates, 10);
        assert_int_equal(it->o->accepted, 10);
        run_free(it);
        assert_int_equal(stored(&w), 20010);
        world_close(&w);
    }
    rf_buf_clear(&body);
}

static void conflicts__name_the_stored_event_and_the_revision(void **state)
{
    static const struct {
        const char *body, *rule, *detail;
    } cases[] = {
        {EVENT_OF("a", "s", ""), NULL, NULL},
        {EVENT_OF("b", "s", ",\"expectedrevision\":\"0\""), NULL, NULL},
        {EVENT_OF("a", "other", ""), "conflict-id", "stored at offset 0 of default/0"},
        {EVENT_OF("c", "s", ",\"expectedrevision\":\"0\""), "conflict-revision",
         "expected 0, actual 1"},
        {EVENT_OF("c", "s", ",\"expectedrevision\":\"no-stream\""), "conflict-revision",
         "expected no stream, actual 1"},
        {EVENT_OF("c", "n", ",\"expectedrevision\":\"stream-exists\""), "conflict-revision",
         "expected an existing stream, actual no stream"},
        {EVENT_OF("c", "n", ",\"expectedrevision\":\"7\""), "conflict-revision",
         "expected 7, actual no stream"},
        {EVENT_OF("b", "s", ",\"expectedrevision\":\"0\""), NULL, NULL}, /* a retry */
    };
    rf_ingest_request_options o = {.form = RF_FORM_EVENT};
    world w = world_open(1);

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        run *it = run_all(w.ingest, o, rf_str_from(cases[i].body), (cutter){0});

        if (cases[i].rule == NULL) {
            if (it->o->status != RF_OK)
                fail_msg("case %zu: %s", i, it->o->err.text);
        } else if (it->o->status != RF_ECONFLICT || it->o->error_count != 1 ||
                   strcmp(it->o->errors[0].fault.rule, cases[i].rule) != 0 ||
                   strstr(it->o->errors[0].fault.detail, cases[i].detail) == NULL) {
            fail_msg("case %zu: %s", i, it->o->err.text);
        }
        run_free(it);
    }
    assert_int_equal(stored(&w), 2);
    world_close(&w);
}

static void batch__that_conflicts__stores_nothing(void **state)
{
    rf_ingest_request_options o = {.form = RF_FORM_BATCH};
    world w = world_open(1);
    run *it;

    (void)state;
    it = run_all(w.ingest, o, RF_STR("[" EVENT_OF("1", "s", "") "," EVENT_OF("2", "s", "") "]"),
                 (cutter){0});
    assert_int_equal(it->o->accepted, 2);
    run_free(it);
    it = run_all(w.ingest, o,
                 RF_STR("[" EVENT_OF("3", "s", "") "," EVENT_OF("2", "x", "") "," EVENT_OF("1", "s",
                                                                                           "") "]"),
                 (cutter){0});
    assert_int_equal(it->o->status, RF_ECONFLICT);
    assert_int_equal(it->o->rejected, 1);
    assert_int_equal(it->o->errors[0].index, 1);
    assert_int_equal(it->o->accepted + it->o->duplicates, 0);
    assert_int_equal(it->o->results.n, 0);
    run_free(it);
    assert_int_equal(stored(&w), 2);
    o.report_errors = true;
    it = run_all(w.ingest, o,
                 RF_STR("[" EVENT_OF("3", "s", "") "," EVENT_OF("2", "x", "") "," EVENT_OF("1", "s",
                                                                                           "") "]"),
                 (cutter){0});
    assert_int_equal(it->o->status, RF_OK);
    assert_int_equal(it->o->accepted, 1);
    assert_int_equal(it->o->duplicates, 1);
    assert_int_equal(it->o->rejected, 1);
    run_free(it);
    world_close(&w);
}

/* ---- threads -----------------------------------------------------------------------------------
 */

typedef struct client {
    world *w;
    pthread_t thread;
    int number;
    uint64_t acked;
} client;

static void *run_client(void *arg)
{
    client *c = arg;
    rf_buf body;

    rf_buf_init(&body, 64 << 20);
    for (int round = 0; round < 30; round++) {
        rf_ingest_form form = round % 3 == 0   ? RF_FORM_NDJSON
                              : round % 3 == 1 ? RF_FORM_EVENT
                                               : RF_FORM_BATCH;
        int n = form == RF_FORM_NDJSON ? 3000 : form == RF_FORM_EVENT ? 1 : 50;
        run *it = run_begin(c->w->ingest, (rf_ingest_request_options){.form = form});

        rf_buf_reset(&body);
        for (int i = 0; i < n; i++) {
            rf_buf_add_cstr(&body, form != RF_FORM_BATCH ? "" : i == 0 ? "[" : ",");
            rf_buf_addf(&body, EVENT_OF("%d-%d-%d", "client-%d", "") "%s", c->number, round, i,
                        c->number, form == RF_FORM_NDJSON ? "\n" : "");
        }
        rf_buf_add_cstr(&body, form == RF_FORM_BATCH ? "]" : "");
        if (round % 5 == 4) { /* gone before the answer */
            feed_copy(it->r, body.p, body.n);
            rf_ingest_end(it->r);
        } else {
            run_body(it, rf_buf_str(&body), (cutter){.piece = 65536});
            RF_ASSERT(it->o->status == RF_OK && it->o->accepted == (uint64_t)n);
            c->acked += it->o->accepted;
        }
        run_free(it);
    }
    rf_buf_clear(&body);
    return NULL;
}

static void clients__on_two_threads__get_what_they_were_promised(void **state)
{
    world w = world_open(2);
    client clients[2];
    rf_ingest_stats stats;
    uint64_t acked = 0, before;

    (void)state;
    for (int i = 0; i < 2; i++) {
        clients[i] = (client){.w = &w, .number = i};
        pthread_create(&clients[i].thread, NULL, run_client, &clients[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(clients[i].thread, NULL);
        acked += clients[i].acked;
    }
    rf_ingest_close(&w.ingest); /* waits for what clients left behind */
    before = stored(&w);
    assert_true(before >= acked);
    rf_log_close(&w.log);
    world_start(&w, 2);
    assert_int_equal(stored(&w), before);
    /* The clients' whole traffic again: what was stored is a duplicate, what was not is new. */
    for (int i = 0; i < 2; i++) {
        clients[i].acked = 0;
        for (int round = 0; round < 30; round += 3) {
            run *it = run_begin(w.ingest, (rf_ingest_request_options){.form = RF_FORM_NDJSON});
            rf_buf body;

            rf_buf_init(&body, 64 << 20);
            for (int k = 0; k < 3000; k++)
                rf_buf_addf(&body, EVENT_OF("%d-%d-%d", "client-%d", "") "\n", i, round, k, i);
            run_body(it, rf_buf_str(&body), (cutter){0});
            assert_int_equal(it->o->accepted + it->o->duplicates, 3000);
            assert_true(round % 5 == 4 || it->o->duplicates == 3000);
            rf_buf_clear(&body);
            run_free(it);
        }
    }
    rf_ingest_get_stats(w.ingest, &stats);
    assert_int_equal(stored(&w), before + stats.events);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines__sent_again_and_after_a_restart__are_all_duplicates),
        cmocka_unit_test(conflicts__name_the_stored_event_and_the_revision),
        cmocka_unit_test(batch__that_conflicts__stores_nothing),
        cmocka_unit_test(clients__on_two_threads__get_what_they_were_promised),
    };
    return cmocka_run_group_tests_name("ingest and log", tests, NULL, NULL);
}
