/* Requests while the log takes its time: back-pressure, order, failures, owners that leave,
 * threads. */
#include "fake_log.h"
#include "support.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define EVENT(id) "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"t\"}"

typedef struct world {
    rf_log *log;
    rf_ingest *ingest;
} world;

static world world_open(rf_ingest_options o, bool hold)
{
    world w = {.log = fake_log_new()};
    rf_err err = {0};

    w.log->hold = hold;
    o.log = w.log;
    if (rf_ingest_open(&o, &w.ingest, &err) != RF_OK)
        fail_msg("open: %s", err.text);
    return w;
}

static void world_close(world *w)
{
    fake_release(w->log, SIZE_MAX);
    rf_ingest_close(&w->ingest);
    fake_log_free(w->log);
}

/* n different events, a line each, about 1.6 MB for 20,000; a bad one in every `bad_every` lines.
 */
static void fill_lines(rf_buf *body, int n, int bad_every)
{
    rf_buf_init(body, 64 << 20);
    for (int i = 0; i < n; i++) {
        if (bad_every > 0 && i % bad_every == bad_every - 1)
            rf_buf_add_cstr(body, "{}\n");
        else
            rf_buf_addf(body, EVENT("%d") "\n", i);
    }
}

/* Feeds in pieces until the request asks to wait; returns what is left. */
static rf_str feed_until_busy(run *it, rf_str body, size_t piece)
{
    while (body.n > 0) {
        size_t n = RF_MIN(piece, body.n);
        bool more = feed_copy(it->r, body.p, n);

        body = (rf_str){body.p + n, body.n - n};
        if (!more)
            break;
    }
    return body;
}

static void feed__with_four_chunks_in_flight__waits_for_one(void **state)
{
    world w = world_open((rf_ingest_options){0}, true);
    run *it = run_begin(w.ingest, (rf_ingest_request_options){.form = RF_FORM_NDJSON});
    rf_buf body;
    rf_str left;

    (void)state;
    fill_lines(&body, 40000, 0);
    left = feed_until_busy(it, rf_buf_str(&body), 50000);
    assert_true(left.n > 1 << 20);
    assert_int_equal(w.log->submitted, 4);
    /* What comes although it was told to wait is kept, not decoded. */
    assert_false(feed_copy(it->r, left.p, 600000));
    left = (rf_str){left.p + 600000, left.n - 600000};
    assert_int_equal(w.log->submitted, 4);
    assert_int_equal(waker_count(&it->waker), 0);
    fake_release(w.log, 1);
    assert_int_equal(waker_count(&it->waker), 1);
    fake_release(w.log, 1);
    assert_int_equal(waker_count(&it->waker), 1); /* told once is enough */
    assert_null(rf_ingest_result(it->r));         /* goes on with what was kept */
    assert_int_equal(w.log->submitted, 6);
    assert_false(feed_copy(it->r, left.p, left.n));
    rf_ingest_end(it->r);
    assert_null(rf_ingest_result(it->r));
    while (rf_ingest_result(it->r) == NULL)
        assert_int_equal(fake_release(w.log, 1), 1);
    assert_int_equal(rf_ingest_result(it->r)->accepted, 40000);
    rf_buf_clear(&body);
    run_free(it);
    world_close(&w);
}

static void end__while_chunks_are_in_flight__wakes_when_the_last_lands(void **state)
{
    world w = world_open((rf_ingest_options){0}, true);
    run *it = run_begin(w.ingest, (rf_ingest_request_options){.form = RF_FORM_NDJSON});
    rf_buf body;

    (void)state;
    fill_lines(&body, 10000, 0);
    assert_true(feed_copy(it->r, body.p, body.n));
    rf_ingest_end(it->r);
    assert_null(rf_ingest_result(it->r));
    assert_int_equal(w.log->submitted, 3);
    fake_release(w.log, 2);
    assert_int_equal(waker_count(&it->waker), 0);
    assert_null(rf_ingest_result(it->r));
    fake_release(w.log, 1);
    assert_int_equal(waker_count(&it->waker), 1);
    assert_int_equal(rf_ingest_result(it->r)->accepted, 10000);
    rf_buf_clear(&body);
    run_free(it);
    world_close(&w);
}

static void feed__over_the_limit_of_the_node__waits_for_its_own_chunks_only(void **state)
{
    world w = world_open((rf_ingest_options){.pending_bytes_max = 1000}, true);
    run *it = run_begin(w.ingest, (rf_ingest_request_options){.form = RF_FORM_NDJSON});
    rf_ingest_request *other = NULL;
    rf_ingest_request_options o = {.form = RF_FORM_EVENT, .wake = waker_wake, .arg = &it->waker};
    rf_ingest_stats stats;
    rf_err err = {0};
    rf_buf body;
    rf_str left;

    (void)state;
    fill_lines(&body, 10000, 0);
    w.log->pending_bytes = 1001;
    assert_int_equal(rf_ingest_begin(w.ingest, &o, &other, &err), RF_EBUSY);
    assert_null(other);
    left = feed_until_busy(it, rf_buf_str(&body), 50000);
    assert_int_equal(w.log->submitted, 1);
    fake_release(w.log, 1);
    assert_int_equal(waker_count(&it->waker), 1);
    (void)feed_until_busy(it, left, 50000);
    assert_int_equal(w.log->submitted, 2);
    w.log->pending_bytes = 1000;
    assert_int_equal(rf_ingest_begin(w.ingest, &o, &other, &err), RF_OK);
    rf_ingest_free(&other);
    rf_ingest_get_stats(w.ingest, &stats);
    assert_int_equal(stats.busy, 1);
    assert_int_equal(stats.requests, 2);
    rf_buf_clear(&body);
    run_free(it);
    world_close(&w);
}

static void chunks__that_land_in_any_order__are_told_in_order_of_input(void **state)
{
    world w = world_open((rf_ingest_options){.partitions_default = 3}, true);
    run *it = run_begin(w.ingest,
                        (rf_ingest_request_options){.form = RF_FORM_NDJSON, .want_results = true});
    rf_buf body;
    const rf_ingest_outcome *o;
    const char *at;

    (void)state;
    rf_buf_init(&body, 64 << 20);
    for (int i = 0; i < 9000; i++) {
        rf_buf_addf(&body,
                    "{\"specversion\":\"1.0\",\"id\":\"%d\",\"source\":\"/s%d\",\"type\":\"t\"}\n",
                    i, i % 50);
        if (i % 300 == 0)
            rf_buf_add_cstr(&body, "{}\n");
    }
    feed_copy(it->r, body.p, body.n);
    rf_ingest_end(it->r);
    while (fake_release_last(w.log))
        (void)rf_ingest_result(it->r);
    o = rf_ingest_result(it->r);
    assert_non_null(o);
    assert_int_equal(o->accepted, 9000);
    assert_int_equal(o->error_count, 30);
    for (size_t i = 0; i < o->error_count; i++)
        assert_int_equal(o->errors[i].index, 301 * i + 2);
    at = rf_buf_cstr((rf_buf *)(uintptr_t)&o->results);
    for (int i = 0; i < 9000; i++) {
        char id[32];
        snprintf(id, sizeof(id), "{\"id\":\"%d\",", i);
        if (strncmp(at, id, strlen(id)) != 0)
            fail_msg("event %d: %.120s", i, at);
        at = strchr(at, '}') + 1;
        at += *at == ',';
    }
    rf_buf_clear(&body);
    run_free(it);
    world_close(&w);
}

static void log__that_is_full__fails_the_request_with_what_was_stored(void **state)
{
    world w = world_open((rf_ingest_options){0}, true);
    run *it = run_begin(w.ingest, (rf_ingest_request_options){.form = RF_FORM_NDJSON});
    const rf_ingest_outcome *o;
    rf_buf body;
    uint64_t stored;

    (void)state;
    fill_lines(&body, 40000, 0);
    assert_false(feed_copy(it->r, body.p, body.n / 2));
    fake_release(w.log, 1);
    stored = w.log->parts[0].count;
    w.log->fail = RF_EFULL;
    fake_release(w.log, SIZE_MAX);
    assert_true(feed_copy(it->r, body.p + body.n / 2, body.n - body.n / 2));
    assert_true(rf_ingest_failed(it->r));
    assert_int_equal(waker_count(&it->waker), 2); /* go on; and: it is over */
    o = rf_ingest_result(it->r);
    assert_non_null(o);
    assert_int_equal(o->status, RF_EFULL);
    assert_string_equal(o->err.text, "the fake log was told to fail");
    assert_int_equal(o->accepted, stored);
    assert_true(stored > 0);
    assert_int_equal(o->error_count, 0);
    assert_int_equal(rf_position_get(&o->position, RF_STR("default"), 0), stored);
    rf_buf_clear(&body);
    run_free(it);

    it = run_begin(w.ingest, (rf_ingest_request_options){.form = RF_FORM_EVENT});
    feed_copy(it->r, EVENT("x"), sizeof(EVENT("x")) - 1);
    rf_ingest_end(it->r);
    fake_release(w.log, SIZE_MAX);
    assert_int_equal(rf_ingest_result(it->r)->status, RF_EFULL);
    run_free(it);
    world_close(&w);
}

/* Gives a request up at every stage there is. */
static void free__at_any_time__leaves_what_was_submitted_to_the_log(void **state)
{
    rf_buf body;

    (void)state;
    fill_lines(&body, 20000, 50);
    for (int stage = 0; stage < 9; stage++) {
        world w = world_open((rf_ingest_options){.partitions_default = 2}, true);
        run *it = run_begin(w.ingest, (rf_ingest_request_options){.form = RF_FORM_NDJSON});
        rf_ingest_stats stats;
        size_t held, in_log;

        if (stage > 0)
            feed_copy(it->r, body.p, stage < 3 ? 1000 : body.n / 3);
        if (stage > 3)
            fake_release(w.log, (size_t)stage - 3);
        if (stage > 6)
            feed_copy(it->r, body.p + body.n / 3, body.n / 2);
        if (stage > 7)
            rf_ingest_end(it->r);
        held = w.log->submitted;
        run_free(it);
        fake_release(w.log, SIZE_MAX);
        assert_int_equal(w.log->submitted, held); /* nothing more came */
        rf_ingest_get_stats(w.ingest, &stats);
        in_log = w.log->parts[0].count + w.log->parts[1].count;
        assert_int_equal(stats.events, in_log);
        assert_true(stage < 3 || in_log > 0);
        world_close(&w);
    }
    rf_buf_clear(&body);
}

static void free__of_a_compressed_or_whole_body__leaks_nothing(void **state)
{
    static const rf_ingest_form forms[] = {RF_FORM_EVENT, RF_FORM_BATCH, RF_FORM_BINARY};
    world w = world_open((rf_ingest_options){0}, true);

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(forms); i++) {
        for (int coding = RF_CODING_IDENTITY; coding <= RF_CODING_ZSTD; coding++) {
            run *it = run_begin(w.ingest,
                                (rf_ingest_request_options){.form = forms[i],
                                                            .coding = (rf_ingest_coding)coding,
                                                            .content_type = RF_STR("text/plain")});
            feed_copy(it->r, coding == RF_CODING_GZIP ? "\x1f\x8b\x08" : "[", 1);
            run_free(it);
        }
    }
    world_close(&w);
}

/* ---- threads -----------------------------------------------------------------------------------
 */

typedef struct crew {
    world *w;
    atomic_bool stop;
    int number;
    uint64_t sent; /* events answered as stored or duplicate */
} crew;

static void *release_for_ever(void *arg)
{
    crew *c = arg;

    while (!atomic_load(&c->stop)) {
        if (fake_release(c->w->log, 3) == 0)
            sched_yield();
    }
    return NULL;
}

/* Sends requests of every form; leaves every third one in the middle. */
static void *send_some(void *arg)
{
    crew *c = arg;
    rf_buf body;

    rf_buf_init(&body, 64 << 20);
    for (int round = 0; round < 60; round++) {
        rf_ingest_form form = (rf_ingest_form)(round % 3);
        int n = form == RF_FORM_EVENT ? 1 : form == RF_FORM_BATCH ? 20 : 4000;
        run *it = run_begin(c->w->ingest,
                            (rf_ingest_request_options){.form = form, .want_results = true});

        rf_buf_reset(&body);
        for (int i = 0; i < n; i++) {
            rf_buf_add_cstr(&body, form != RF_FORM_BATCH ? "" : i == 0 ? "[" : ",");
            rf_buf_addf(&body, EVENT("%d-%d-%d"), c->number, round, i);
            rf_buf_add_cstr(&body, form == RF_FORM_NDJSON ? "\n" : "");
        }
        rf_buf_add_cstr(&body, form == RF_FORM_BATCH ? "]" : "");
        if (round % 7 == 3) {
            feed_copy(it->r, body.p, body.n);
            if (round % 2 == 0)
                rf_ingest_end(it->r);
        } else {
            run_body(it, rf_buf_str(&body), (cutter){.piece = 65536});
            RF_ASSERT(it->o->status == RF_OK && it->o->accepted == (uint64_t)n);
            c->sent += it->o->accepted;
        }
        run_free(it);
    }
    rf_buf_clear(&body);
    return NULL;
}

static void requests__on_several_threads__do_not_disturb_each_other(void **state)
{
    world w = world_open((rf_ingest_options){.partitions_default = 1}, true);
    crew writers[2] = {{.w = &w}, {.w = &w}}, senders[3] = {{0}};
    pthread_t threads[5];
    rf_ingest_stats stats;
    uint64_t sent = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, release_for_ever, &writers[i]);
    for (int i = 0; i < 3; i++) {
        senders[i] = (crew){.w = &w, .number = i};
        pthread_create(&threads[2 + i], NULL, send_some, &senders[i]);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[2 + i], NULL);
        sent += senders[i].sent;
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&writers[i].stop, true);
        pthread_join(threads[i], NULL);
    }
    fake_release(w.log, SIZE_MAX);
    rf_ingest_get_stats(w.ingest, &stats);
    assert_int_equal(stats.events, w.log->parts[0].count);
    assert_true(stats.events >= sent);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(feed__with_four_chunks_in_flight__waits_for_one),
        cmocka_unit_test(end__while_chunks_are_in_flight__wakes_when_the_last_lands),
        cmocka_unit_test(feed__over_the_limit_of_the_node__waits_for_its_own_chunks_only),
        cmocka_unit_test(chunks__that_land_in_any_order__are_told_in_order_of_input),
        cmocka_unit_test(log__that_is_full__fails_the_request_with_what_was_stored),
        cmocka_unit_test(free__at_any_time__leaves_what_was_submitted_to_the_log),
        cmocka_unit_test(free__of_a_compressed_or_whole_body__leaks_nothing),
        cmocka_unit_test(requests__on_several_threads__do_not_disturb_each_other),
    };
    return cmocka_run_group_tests_name("ingest flow", tests, NULL, NULL);
}
