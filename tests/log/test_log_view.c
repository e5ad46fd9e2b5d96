/* Views that follow a writer, point reads beside it, and what a block tells of its events. */
#include "log/log.h"
#include "support/log_kit.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STREAMS 7

static const rf_log_options SMALL = {.segment_bytes_max = 1 << 16,
                                     .block_bytes_target = 4096,
                                     .publish_tail = true,
                                     .seal_on_close = true};

static void append_group(rf_log *log, uint64_t from, uint32_t count)
{
    rf_arena *a = rf_arena_new(1 << 16);
    rf_event *e = calloc(count, sizeof *e);
    rf_receipt *r = calloc(count, sizeof *r);
    for (uint32_t i = 0; i < count; i++)
        e[i] = kit_event(a, from + i, STREAMS);
    RF_ASSERT(kit_append(kit_part(log), e, NULL, count, false, r) == RF_OK);
    free(e);
    free(r);
    rf_arena_free(&a);
}

static rf_log_view *follow(const char *dir)
{
    rf_log_view *view = NULL;
    rf_err err = {0};
    rf_log_view_options o = {.follow = true};
    if (rf_log_view_open(dir, &o, &view, &err) != RF_OK)
        fail_msg("%s", err.text);
    return view;
}

static void view__without_a_writer__follow_is_busy(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    rf_log_view *view = NULL;
    rf_err err = {0};
    rf_log_view_options o = {.follow = true};
    assert_int_equal(rf_log_view_open(dir, &o, &view, &err), RF_EBUSY);
    kit_dir_remove(&dir);
}

static void view__range__is_covered_by_the_fewest_blocks(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    rf_log *log = kit_open(dir, NULL, &SMALL);
    rf_log_view *view = follow(dir);
    for (uint64_t n = 0; n < 5000; n += 10)
        append_group(log, n, 10);
    assert_int_equal(rf_log_view_end(view, RF_STR("d"), 0), 5000);
    assert_int_equal(rf_log_view_end(view, RF_STR("d"), 1), 0);
    assert_true(rf_log_view_recorded_us(view, RF_STR("d"), 0) > 0);
    const uint64_t ranges[][2] = {{0, 1}, {0, 5000}, {9, 11}, {4990, 9999}, {17, 17}, {2345, 3456}};
    for (size_t i = 0; i < RF_ARRAY_LEN(ranges); i++) {
        rf_block_ref *refs = NULL;
        size_t count = 0;
        rf_err err = {0};
        uint64_t from = ranges[i][0], to = RF_MIN(ranges[i][1], UINT64_C(5000));
        assert_int_equal(
            rf_log_view_blocks(view, RF_STR("d"), 0, from, ranges[i][1], &refs, &count, &err),
            RF_OK);
        uint64_t blocks = from == to ? 0 : (to - 1) / 10 - from / 10 + 1;
        assert_int_equal(count, blocks);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(refs[k].base_offset, (from / 10 + k) * 10);
            assert_int_equal(refs[k].count, 10);
        }
        free(refs);
    }
    rf_position p;
    rf_log_view_position(view, &p);
    assert_int_equal(rf_position_get(&p, RF_STR("d"), 0), 5000);
    rf_position_clear(&p);
    rf_log_view_close(&view);
    rf_log_close(&log);
    kit_dir_remove(&dir);
}

static void block__cheap_and_full_reads__agree(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    rf_log *log = kit_open(dir, NULL, NULL);
    append_group(log, 0, 100);
    rf_log_close(&log);
    rf_log_view *view = NULL;
    rf_err err = {0};
    rf_block_ref *refs = NULL;
    size_t count = 0;
    assert_int_equal(rf_log_view_open(dir, NULL, &view, &err), RF_OK);
    uint32_t seen = 0;
    assert_false(rf_log_view_wait(view, &seen, 1));
    assert_int_equal(rf_log_view_blocks(view, RF_STR("d"), 0, 0, 100, &refs, &count, &err), RF_OK);
    assert_int_equal(count, 1);
    rf_block *b = rf_block_new();
    assert_int_equal(rf_block_load(view, RF_STR("d"), 0, refs, b, &err), RF_OK);
    uint32_t placed = rf_block_type_ref(b, RF_STR("shop.order.placed"));
    assert_int_not_equal(placed, UINT32_MAX);
    assert_int_equal(rf_block_type_ref(b, RF_STR("shop.order.lost")), UINT32_MAX);
    uint32_t cursor = 0, n = 0;
    rf_block_event e;
    rf_arena *a = rf_arena_new(1 << 16);
    while (rf_block_next(b, &cursor, &e)) {
        rf_event full, sent = kit_event(a, n, STREAMS);
        rf_block_event_full(b, cursor, &full);
        assert_int_equal(e.offset, n);
        assert_int_equal(e.revision, n / STREAMS);
        assert_int_equal(e.time_us, sent.time_us);
        assert_true(rf_str_eq(e.data, sent.data));
        assert_int_equal(e.type_ref == placed, n % 3 == 0);
        assert_true(rf_str_eq(rf_block_string(b, e.type_ref), sent.type));
        assert_true(kit_event_equal(&full, &sent));
        n++;
    }
    assert_int_equal(n, 100);
    refs->bytes -= 8;
    assert_int_equal(rf_block_load(view, RF_STR("d"), 0, refs, b, &err), RF_ECORRUPT);
    cursor = 0;
    assert_false(rf_block_next(b, &cursor, &e));
    rf_arena_free(&a);
    rf_block_free(&b);
    free(refs);
    rf_log_view_close(&view);
    kit_dir_remove(&dir);
}

/* ---- beside a writer
 * ------------------------------------------------------------------------------------- */

#define TOTAL 12000u

typedef struct reader {
    pthread_t thread;
    const char *dir;
    rf_log *log;
    _Atomic bool *stop;
    uint64_t read;
    const char *wrong;
} reader;

/* Reads new blocks as they come, and checks every event. */
static void *follower_main(void *arg)
{
    reader *r = arg;
    rf_log_view *view = NULL;
    rf_err err = {0};
    rf_log_view_options o = {.follow = true};
    rf_arena *a = rf_arena_new(1 << 16);
    rf_block *block = rf_block_new();
    uint32_t seen = 0;
    if (rf_log_view_open(r->dir, &o, &view, &err) != RF_OK)
        r->wrong = "the view did not open";
    while (r->wrong == NULL && r->read < TOTAL && !atomic_load(r->stop)) {
        rf_block_ref *refs = NULL;
        size_t count = 0;
        rf_log_view_wait(view, &seen, 100);
        if (rf_log_view_blocks(view, RF_STR("d"), 0, r->read, UINT64_MAX, &refs, &count, &err) !=
            RF_OK)
            r->wrong = "blocks";
        for (size_t i = 0; i < count && r->wrong == NULL; i++) {
            uint32_t cursor = 0;
            rf_block_event e;
            if (rf_block_load(view, RF_STR("d"), 0, &refs[i], block, &err) != RF_OK)
                r->wrong = "load";
            while (rf_block_next(block, &cursor, &e)) {
                rf_event full, sent = kit_event(a, e.offset, STREAMS);
                rf_block_event_full(block, cursor, &full);
                if (e.offset != r->read++ || !kit_event_equal(&full, &sent))
                    r->wrong = "event";
                rf_arena_reset(a);
            }
        }
        free(refs);
    }
    if (r->wrong != NULL)
        print_error("%s: %s\n", r->wrong, err.text);
    rf_block_free(&block);
    rf_arena_free(&a);
    rf_log_view_close(&view);
    return NULL;
}

static void check_stream(reader *r, rf_log_page *page, rf_arena *a, kit_rng *rng)
{
    rf_placed_event out[20];
    rf_err err = {0};
    size_t count = 0;
    rf_str stream = rf_str_from(rf_arena_printf(a, "s%u", (unsigned)kit_below(rng, STREAMS)));
    rf_status st = rf_log_read_stream(r->log, RF_STR("d"), stream, RF_REVISION_NONE, true, 20, page,
                                      out, &count, &err);
    if (st != RF_OK && st != RF_ENOTFOUND)
        r->wrong = "read_stream failed";
    for (size_t i = 0; st == RF_OK && i < count; i++) {
        if (out[i].place.revision != out[0].place.revision - i ||
            !rf_str_eq(out[i].event.subject, stream))
            r->wrong = "read_stream gave another event";
    }
}

/* Asks for ids and streams, known and unknown. */
static void *finder_main(void *arg)
{
    reader *r = arg;
    rf_log_page *page = rf_log_page_new();
    rf_arena *a = rf_arena_new(1 << 16);
    kit_rng rng = {99};
    while (r->wrong == NULL && !atomic_load(r->stop)) {
        rf_placed_event got;
        rf_err err = {0};
        rf_event sent = kit_event(a, kit_below(&rng, TOTAL), STREAMS);
        rf_status st = rf_log_find(r->log, RF_STR("d"), sent.source, sent.id, page, &got, &err);
        if (st == RF_OK && !kit_event_equal(&got.event, &sent))
            r->wrong = "find gave another event";
        if (st != RF_OK && st != RF_ENOTFOUND)
            r->wrong = "find failed";
        r->read += st == RF_OK;
        if (r->wrong == NULL)
            check_stream(r, page, a, &rng);
        rf_arena_reset(a);
    }
    rf_arena_free(&a);
    rf_log_page_free(&page);
    return NULL;
}

static void readers__beside_a_writer_that_rolls__see_every_event(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    _Atomic bool stop = false;
    rf_log *log = kit_open(dir, NULL, &SMALL);
    reader r[3] = {{.dir = dir, .stop = &stop},
                   {.dir = dir, .stop = &stop},
                   {.dir = dir, .log = log, .stop = &stop}};
    pthread_create(&r[0].thread, NULL, follower_main, &r[0]);
    pthread_create(&r[1].thread, NULL, follower_main, &r[1]);
    pthread_create(&r[2].thread, NULL, finder_main, &r[2]);
    for (uint64_t n = 0; n < TOTAL; n += 100)
        append_group(log, n, 100);
    pthread_join(r[0].thread, NULL);
    pthread_join(r[1].thread, NULL);
    atomic_store(&stop, true);
    pthread_join(r[2].thread, NULL);
    rf_log_close(&log);
    for (int i = 0; i < 3; i++)
        assert_null(r[i].wrong);
    assert_int_equal(r[0].read, TOTAL);
    assert_int_equal(r[1].read, TOTAL);
    assert_true(r[2].read > 0);
    kit_dir_remove(&dir);
}

static void view__writer_restarts__goes_on(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    _Atomic bool stop = false;
    rf_log *log = kit_open(dir, NULL, &SMALL);
    reader r = {.dir = dir, .stop = &stop};
    pthread_create(&r.thread, NULL, follower_main, &r);
    for (uint64_t n = 0; n < TOTAL; n += 100) {
        if (n % 2000 == 1900) {
            rf_log_close(&log);
            log = kit_open(dir, NULL, &SMALL);
        }
        append_group(log, n, 100);
    }
    pthread_join(r.thread, NULL);
    assert_null(r.wrong);
    assert_int_equal(r.read, TOTAL);
    rf_log_close(&log);
    kit_dir_remove(&dir);
}

/* ---- many submitters
 * ---------------------------------------------------------------------------------------- */

typedef struct submitter {
    pthread_t thread;
    rf_log *log;
    unsigned won;
} submitter;

#define RIVALS 8
#define ROUNDS 50

/* All try to write the same revision of one stream. */
static void *rival_main(void *arg)
{
    submitter *s = arg;
    rf_arena *a = rf_arena_new(1 << 14);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        rf_event e = kit_event(a, 0, 1);
        rf_expect x = {round == 0 ? RF_EXPECT_NO_STREAM : RF_EXPECT_EXACT, round - 1};
        e.id = rf_str_from(rf_arena_printf(a, "%p-%u", (void *)s, (unsigned)round));
        kit_content(&e);
        rf_receipt r = {0};
        for (;;) { /* wait for the round: the stream is one behind */
            RF_ASSERT(kit_append(kit_part(s->log), &e, &x, 1, false, &r) == RF_OK);
            if (r.status == RF_OK || (r.revision != RF_REVISION_NONE && r.revision >= round))
                break;
        }
        s->won += r.status == RF_OK;
    }
    rf_arena_free(&a);
    return NULL;
}

static void expected_revision__rivals__one_wins_each_round(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    rf_log *log = kit_open(dir, NULL, NULL);
    submitter s[RIVALS] = {{0}};
    unsigned won = 0;
    for (int i = 0; i < RIVALS; i++) {
        s[i].log = log;
        pthread_create(&s[i].thread, NULL, rival_main, &s[i]);
    }
    for (int i = 0; i < RIVALS; i++) {
        pthread_join(s[i].thread, NULL);
        won += s[i].won;
    }
    assert_int_equal(won, ROUNDS);
    rf_log_close(&log);
    kit_dir_remove(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(view__without_a_writer__follow_is_busy),
        cmocka_unit_test(view__range__is_covered_by_the_fewest_blocks),
        cmocka_unit_test(block__cheap_and_full_reads__agree),
        cmocka_unit_test(readers__beside_a_writer_that_rolls__see_every_event),
        cmocka_unit_test(view__writer_restarts__goes_on),
        cmocka_unit_test(expected_revision__rivals__one_wins_each_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
