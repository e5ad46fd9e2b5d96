/* Appending, dedup, revisions, atomic groups, reopening, point reads. */
#include "log/log.h"
#include "support/log_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    char *dir;
    rf_arena *arena;
    rf_log *log;
    rf_log_part *part;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->dir = kit_dir_make();
    f->arena = rf_arena_new(1 << 16);
    f->log = kit_open(f->dir, NULL, NULL);
    f->part = kit_part(f->log);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    rf_log_close(&f->log);
    rf_arena_free(&f->arena);
    kit_dir_remove(&f->dir);
    free(f);
    return 0;
}

static void reopen(fixture *f, const rf_log_options *o)
{
    rf_log_close(&f->log);
    f->log = kit_open(f->dir, NULL, o);
    f->part = kit_part(f->log);
}

/* PROVES: P4 */
static void append__same_event_again__is_duplicate_with_first_receipt(void **state)
{
    fixture *f = *state;
    rf_event e0 = kit_event(f->arena, 0, 1), e1 = kit_event(f->arena, 1, 1);
    kit_append_one(f->part, &e0);
    rf_receipt first = kit_append_one(f->part, &e1);
    assert_int_equal(first.offset, 1);
    assert_int_equal(first.revision, 1);
    assert_false(first.duplicate);
    for (int round = 0; round < 2; round++) {
        rf_receipt again = kit_append_one(f->part, &e1);
        assert_true(again.duplicate);
        assert_int_equal(again.offset, 1);
        assert_int_equal(again.revision, 1);
        reopen(f, NULL); /* the second time from disk */
    }
}

/* PROVES: P4 */
static void append__known_id_other_content__is_conflict(void **state)
{
    fixture *f = *state;
    rf_event e = kit_event(f->arena, 7, 1), changed = kit_event_changed(f->arena, 7, 1);
    rf_receipt r;
    kit_append_one(f->part, &e);
    assert_int_equal(kit_append(f->part, &changed, NULL, 1, false, &r), RF_OK);
    assert_int_equal(r.status, RF_ECONFLICT);
    assert_true(r.conflict_id);
    assert_int_equal(r.offset, 0);
    assert_int_equal(kit_append(f->part, &changed, NULL, 1, true, &r), RF_ECONFLICT);
}

static void append__duplicate_inside_one_group__is_stored_once(void **state)
{
    fixture *f = *state;
    rf_event e[3] = {kit_event(f->arena, 1, 1), kit_event(f->arena, 2, 1),
                     kit_event(f->arena, 1, 1)};
    rf_receipt r[3];
    assert_int_equal(kit_append(f->part, e, NULL, 3, false, r), RF_OK);
    assert_true(r[2].duplicate);
    assert_int_equal(r[2].offset, r[0].offset);
    assert_int_equal(r[1].offset, 1);
}

static void append__expected_revision__table(void **state)
{
    fixture *f = *state;
    const struct {
        const char *name;
        bool stream_exists;
        rf_expect expect;
        bool holds;
    } cases[] = {
        {"any, none", false, {RF_EXPECT_ANY, 0}, true},
        {"any, there", true, {RF_EXPECT_ANY, 0}, true},
        {"no-stream, none", false, {RF_EXPECT_NO_STREAM, 0}, true},
        {"no-stream, there", true, {RF_EXPECT_NO_STREAM, 0}, false},
        {"stream-exists, none", false, {RF_EXPECT_STREAM_EXISTS, 0}, false},
        {"stream-exists, there", true, {RF_EXPECT_STREAM_EXISTS, 0}, true},
        {"exact, none", false, {RF_EXPECT_EXACT, 0}, false},
        {"exact, right", true, {RF_EXPECT_EXACT, 1}, true},
        {"exact, low", true, {RF_EXPECT_EXACT, 0}, false},
        {"exact, high", true, {RF_EXPECT_EXACT, 2}, false},
        {"exact, none as number", false, {RF_EXPECT_EXACT, RF_REVISION_NONE}, false},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        char subject[32], id[3][32];
        rf_event e[3];
        int n = snprintf(subject, sizeof subject, "case%zu", i);
        for (int k = 0; k < 3; k++) {
            e[k] = kit_event(f->arena, (uint64_t)k, 1);
            e[k].subject = (rf_str){subject, (size_t)n};
            e[k].id = (rf_str){id[k], (size_t)snprintf(id[k], 32, "x%zu-%d", i, k)};
        }
        if (cases[i].stream_exists) {
            kit_append_one(f->part, &e[0]);
            kit_append_one(f->part, &e[1]);
        }
        rf_receipt r;
        rf_status st = kit_append(f->part, &e[2], &cases[i].expect, 1, false, &r);
        if (st != RF_OK || (r.status == RF_OK) != cases[i].holds)
            fail_msg("%s: %s", cases[i].name, rf_status_name(r.status));
        if (!cases[i].holds) {
            assert_false(r.conflict_id);
            assert_true(r.revision == (cases[i].stream_exists ? 1 : RF_REVISION_NONE));
        }
    }
}

static void append__retry_with_old_expected_revision__is_duplicate(void **state)
{
    fixture *f = *state;
    rf_event e = kit_event(f->arena, 0, 1), later = kit_event(f->arena, 1, 1);
    rf_expect none = {RF_EXPECT_NO_STREAM, 0};
    rf_receipt r;
    assert_int_equal(kit_append(f->part, &e, &none, 1, false, &r), RF_OK);
    kit_append_one(f->part, &later);
    assert_int_equal(kit_append(f->part, &e, &none, 1, false, &r), RF_OK);
    assert_int_equal(r.status, RF_OK);
    assert_true(r.duplicate);
    assert_int_equal(r.revision, 0);
}

/* PROVES: P6 */
static void append__atomic_group_with_a_conflict__stores_nothing(void **state)
{
    fixture *f = *state;
    rf_event known = kit_event(f->arena, 5, 1);
    kit_append_one(f->part, &known);
    rf_event e[4] = {kit_event(f->arena, 1, 1), kit_event(f->arena, 2, 2),
                     kit_event_changed(f->arena, 5, 1), kit_event(f->arena, 3, 1)};
    rf_receipt r[4];
    assert_int_equal(kit_append(f->part, e, NULL, 4, true, r), RF_ECONFLICT);
    assert_int_equal(r[0].status, RF_ECANCELED);
    assert_int_equal(r[2].status, RF_ECONFLICT);
    assert_int_equal(r[3].status, RF_ECANCELED);
    rf_receipt after = kit_append_one(f->part, &e[0]);
    assert_false(after.duplicate);
    assert_int_equal(after.offset, 1);
    assert_int_equal(after.revision, 1);
    e[2] = known;
    assert_int_equal(kit_append(f->part, e, NULL, 4, true, r), RF_OK);
    assert_true(r[0].duplicate);
    assert_true(r[2].duplicate);
    assert_int_equal(r[1].offset, 2);
    assert_int_equal(r[3].offset, 3);
}

/* ---- reading back
 * ----------------------------------------------------------------------------------- */

typedef struct expected {
    rf_arena *arena;
    uint64_t streams, next;
} expected;

static void check_event(void *arg, uint64_t offset, uint64_t revision, const rf_event *e)
{
    expected *x = arg;
    rf_event sent = kit_event(x->arena, offset, x->streams);
    assert_int_equal(offset, x->next++);
    assert_int_equal(revision, offset / x->streams);
    assert_true(kit_event_equal(&sent, e));
    rf_arena_reset(x->arena);
}

static void append_many(fixture *f, uint64_t from, uint64_t count, uint64_t streams, uint32_t group)
{
    rf_event *e = calloc(group, sizeof *e);
    rf_receipt *r = calloc(group, sizeof *r);
    for (uint64_t n = from; n < from + count; n += group) {
        uint32_t k = (uint32_t)RF_MIN((uint64_t)group, from + count - n);
        for (uint32_t i = 0; i < k; i++)
            e[i] = kit_event(f->arena, n + i, streams);
        assert_int_equal(kit_append(f->part, e, NULL, k, false, r), RF_OK);
        for (uint32_t i = 0; i < k; i++) {
            assert_int_equal(r[i].status, RF_OK);
            assert_int_equal(r[i].offset, n + i);
            assert_int_equal(r[i].revision, (n + i) / streams);
        }
        rf_arena_reset(f->arena);
    }
    free(e);
    free(r);
}

static void assert_whole(fixture *f, uint64_t events, uint64_t streams)
{
    rf_err err = {0};
    uint64_t end = 0;
    expected x = {f->arena, streams, 0};
    if (kit_read_all(f->dir, NULL, check_event, &x, &end, &err) != RF_OK)
        fail_msg("%s", err.text);
    assert_int_equal(end, events);
    assert_int_equal(x.next, events);
}

static void print_problem(void *arg, const char *line)
{
    (void)arg;
    print_message("%s\n", line);
}

static void assert_verified(const char *dir, uint64_t events)
{
    rf_verify_report report;
    rf_err err = {0};
    assert_int_equal(rf_log_verify(NULL, dir, print_problem, NULL, NULL, &report, &err), RF_OK);
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.events, events);
    assert_int_equal(report.torn, 0);
}

/* PROVES: P2 */
static void events__read_back__are_what_was_sent(void **state)
{
    fixture *f = *state;
    append_many(f, 0, 2000, 7, 100);
    rf_log_close(&f->log);
    assert_whole(f, 2000, 7);
    assert_verified(f->dir, 2000);
}

static void roll__many_segments__history_is_whole_after_reopen(void **state)
{
    fixture *f = *state;
    rf_log_options o = {.segment_bytes_max = 1 << 16, .seal_on_close = true};
    for (uint64_t round = 0; round < 4; round++) {
        reopen(f, &o);
        append_many(f, round * 10000, 10000, 1000, 500);
        /* Everything again: duplicates out of open, frozen and sealed segments. */
        for (uint64_t n = 0; n < (round + 1) * 10000; n += 997) {
            rf_event e = kit_event(f->arena, n, 1000), c = kit_event_changed(f->arena, n, 1000);
            rf_receipt r = kit_append_one(f->part, &e);
            assert_true(r.duplicate);
            assert_int_equal(r.offset, n);
            assert_int_equal(r.revision, n / 1000);
            r = kit_append_one(f->part, &c);
            assert_int_equal(r.status, RF_ECONFLICT);
            assert_int_equal(r.offset, n);
        }
    }
    rf_log_close(&f->log);
    assert_whole(f, 40000, 1000);
    assert_verified(f->dir, 40000);
}

static void find__by_id__gives_event_and_place(void **state)
{
    fixture *f = *state;
    rf_log_options o = {.segment_bytes_max = 1 << 16};
    reopen(f, &o);
    append_many(f, 0, 9000, 10, 300);
    rf_log_page *page = rf_log_page_new();
    rf_err err = {0};
    for (uint64_t n = 0; n < 9000; n += 331) {
        rf_event sent = kit_event(f->arena, n, 10);
        rf_placed_event got;
        assert_int_equal(rf_log_find(f->log, RF_STR(""), sent.source, sent.id, page, &got, &err),
                         RF_OK);
        assert_true(kit_event_equal(&sent, &got.event));
        assert_int_equal(got.place.offset, n);
        assert_int_equal(got.place.revision, n / 10);
        assert_int_equal(rf_log_find(f->log, RF_STR(""), sent.id, sent.source, page, &got, &err),
                         RF_ENOTFOUND);
    }
    rf_log_page_free(&page);
}

static void assert_stream(fixture *f, rf_log_page *page, uint64_t from, bool backward, size_t limit,
                          uint64_t first, size_t count)
{
    rf_placed_event *out = calloc(limit + 1, sizeof *out);
    rf_err err = {0};
    size_t got = 0;
    assert_int_equal(rf_log_read_stream(f->log, RF_STR("d"), RF_STR("s3"), from, backward, limit,
                                        page, out, &got, &err),
                     RF_OK);
    assert_int_equal(got, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t revision = backward ? first - i : first + i;
        rf_event sent = kit_event(f->arena, revision * 10 + 3, 10);
        assert_int_equal(out[i].place.revision, revision);
        assert_int_equal(out[i].place.offset, revision * 10 + 3);
        assert_true(kit_event_equal(&sent, &out[i].event));
    }
    free(out);
}

static void read_stream__forward_and_backward__over_segments(void **state)
{
    fixture *f = *state;
    rf_log_options o = {.segment_bytes_max = 1 << 16};
    reopen(f, &o);
    append_many(f, 0, 9000, 10, 300);
    rf_log_page *page = rf_log_page_new();
    assert_stream(f, page, 0, false, 1000, 0, 900);
    assert_stream(f, page, 0, false, 5, 0, 5);
    assert_stream(f, page, 895, false, 10, 895, 5);
    assert_stream(f, page, 900, false, 10, 0, 0);
    assert_stream(f, page, 0, false, 0, 0, 0);
    assert_stream(f, page, RF_REVISION_NONE, true, 1000, 899, 900);
    assert_stream(f, page, RF_REVISION_NONE, true, 3, 899, 3);
    assert_stream(f, page, 4, true, 10, 4, 5);
    assert_stream(f, page, 1u << 30, true, 1, 899, 1);
    rf_err err = {0};
    size_t n = 0;
    rf_placed_event one;
    assert_int_equal(rf_log_read_stream(f->log, RF_STR("d"), RF_STR("nobody"), 0, false, 1, page,
                                        &one, &n, &err),
                     RF_ENOTFOUND);
    assert_int_equal(
        rf_log_read_stream(f->log, RF_STR("e"), RF_STR("s3"), 0, false, 1, page, &one, &n, &err),
        RF_ENOTFOUND);
    rf_log_page_free(&page);
}

static void open__second_time_at_once__is_busy(void **state)
{
    fixture *f = *state;
    rf_log *second = NULL;
    rf_err err = {0};
    assert_int_equal(rf_log_open(f->dir, NULL, &second, &err), RF_EBUSY);
    assert_null(second);
    assert_non_null(strstr(err.text, "LOCK"));
}

static void domain__bad_names__are_refused(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    const char *bad[] = {"", "A", "a/b", "..", "meta", "tail", "a b"};
    for (size_t i = 0; i < RF_ARRAY_LEN(bad); i++)
        assert_int_equal(rf_log_domain(f->log, rf_str_from(bad[i]), 1, &err), RF_EINVAL);
    assert_int_equal(rf_log_domain(f->log, RF_STR("many"), 4, &err), RF_OK);
    assert_int_equal(rf_log_domain(f->log, RF_STR("many"), 7, &err), RF_OK);
    bool used[4] = {false};
    for (int i = 0; i < 64; i++) {
        rf_log_part *p = rf_log_route(f->log, RF_STR("many"), (rf_str){(char[]){(char)i}, 1});
        used[rf_log_part_number(p)] = true;
        assert_true(rf_str_eq(rf_log_part_domain(p), RF_STR("many")));
    }
    assert_true(used[0] && used[1] && used[2] && used[3]);
    assert_null(rf_log_route(f->log, RF_STR("none"), RF_STR("x")));
}

static void count_stats(void *arg, const rf_log_part_stats *s)
{
    rf_log_part_stats *sum = arg;
    sum->next += s->next;
    sum->appended += s->appended;
    sum->duplicates += s->duplicates;
    sum->conflicts += s->conflicts;
    sum->segments += s->segments;
    sum->bytes_disk += s->bytes_disk;
    assert_string_equal(s->state, "open");
}

static void stats__after_appends__count_them(void **state)
{
    fixture *f = *state;
    append_many(f, 0, 50, 5, 10);
    rf_event e = kit_event(f->arena, 1, 5), c = kit_event_changed(f->arena, 1, 5);
    kit_append_one(f->part, &e);
    kit_append_one(f->part, &c);
    rf_log_part_stats sum = {0};
    rf_log_stats(f->log, count_stats, &sum);
    assert_int_equal(sum.next, 50);
    assert_int_equal(sum.appended, 50);
    assert_int_equal(sum.duplicates, 1);
    assert_int_equal(sum.conflicts, 1);
    assert_int_equal(sum.segments, 1);
    assert_true(sum.bytes_disk > 4096);
    assert_int_equal(rf_log_pending_bytes(f->log), 0);
    rf_position p;
    rf_log_position(f->log, &p);
    assert_int_equal(rf_position_get(&p, RF_STR("d"), 0), 50);
    rf_position_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(append__same_event_again__is_duplicate_with_first_receipt),
        T(append__known_id_other_content__is_conflict),
        T(append__duplicate_inside_one_group__is_stored_once),
        T(append__expected_revision__table),
        T(append__retry_with_old_expected_revision__is_duplicate),
        T(append__atomic_group_with_a_conflict__stores_nothing),
        T(events__read_back__are_what_was_sent),
        T(roll__many_segments__history_is_whole_after_reopen),
        T(find__by_id__gives_event_and_place),
        T(read_stream__forward_and_backward__over_segments),
        T(open__second_time_at_once__is_busy),
        T(domain__bad_names__are_refused),
        T(stats__after_appends__count_them),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
