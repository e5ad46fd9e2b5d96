/*
 * Merging of key files: which ones, and that the merged one answers as the old ones did, whatever
 * is asked. In a log: test_log_runs.c.
 *
 *   test_log_merge [seed]
 */
#include "log/merge_int.h"
#include "support/log_kit.h"
#include "support/simdisk.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t first_seed = 1;

/* ---- which
 * ------------------------------------------------------------------------------------------ */

static void choose__table(void **state)
{
    (void)state;
    const struct {
        const char *name;
        uint64_t events[12];
        uint32_t count, from, n;
    } cases[] = {
        {"nothing", {0}, 0, 0, 0},
        {"three of a size", {9, 9, 9}, 3, 0, 0},
        {"four of a size", {9, 9, 9, 9}, 4, 0, 4},
        {"four that are nearly alike", {9, 7, 11, 8}, 4, 0, 4},
        {"the newest tier is taken", {64, 64, 64, 64, 16, 16, 16, 16, 4}, 9, 4, 4},
        {"an old tier alone", {64, 64, 64, 64, 16, 16, 16}, 7, 0, 4},
        {"three in each tier", {64, 64, 64, 16, 16, 16, 4, 4, 4}, 9, 0, 0},
        {"small ones between large ones go along", {64, 1, 64, 1, 64, 1, 1}, 7, 0, 5},
        {"a small old one goes along", {1, 64, 64, 64}, 4, 0, 4},
        {"more than can be numbered stay apart", {3u << 30, 3u << 30, 3u << 30, 3u << 30}, 4, 0, 0},
    };
    rfi_merge_events_min = 0;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        uint32_t from = 0;
        uint32_t n = rfi_merge_choose(cases[i].events, cases[i].count, &from);
        if (n != cases[i].n || (n > 0 && from != cases[i].from))
            fail_msg("%s: %u from %u", cases[i].name, n, from);
    }
    rfi_merge_events_min = 37;
    uint32_t from = 0;
    assert_int_equal(rfi_merge_choose(cases[2].events, 4, &from), 0);
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
}

/* However segments come, there are few runs for each fourfold of history. */
static void choose__any_history__keeps_few_runs(void **state)
{
    (void)state;
    rfi_merge_events_min = 0;
    for (uint64_t seed = first_seed; seed < first_seed + 20; seed++) {
        kit_rng rng = {seed};
        uint64_t runs[256], written = 0, total = 0, most = 0;
        uint32_t count = 0, from = 0, n;
        uint64_t spread = 1 + kit_below(&rng, 8);
        for (int i = 0; i < 5000; i++) {
            uint64_t size = 1000 * (1 + kit_below(&rng, spread));
            runs[count++] = size;
            total += size;
            while ((n = rfi_merge_choose(runs, count, &from)) > 0) {
                for (uint32_t k = 1; k < n; k++)
                    runs[from] += runs[from + k];
                written += runs[from];
                memmove(&runs[from + 1], &runs[from + n], (count - from - n) * sizeof *runs);
                count -= n - 1;
            }
            most = RF_MAX(most, (uint64_t)count);
            assert_true(count < 200);
        }
        if (most > 24 || written > 12 * total)
            fail_msg("seed %" PRIu64 ": %" PRIu64 " runs, written %.1f times", seed, most,
                     (double)written / (double)total);
    }
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
}

/* ---- files
 * ------------------------------------------------------------------------------------------ */

#define RUNS_MAX 9
#define EVENTS_MAX 4000

typedef struct known {
    rfi_keys keys;
    uint64_t content48, revision;
} known;

/* A history cut into runs, and all of it once more as one. */
typedef struct history {
    simdisk *disk;
    known *events;
    uint64_t base, count;
    uint32_t runs_count;
    rfi_index *runs[RUNS_MAX]; /* oldest first */
    rfi_index *whole;          /* as if it had been one segment */
} history;

static rf_hash128 some_stream(kit_rng *rng, uint64_t streams, bool collide)
{
    kit_rng of = {kit_below(rng, streams) * 977 + 5};
    rf_hash128 h;
    h.hi = kit_next(&of);
    h.lo = kit_next(&of);
    if (collide && h.lo % 4 == 0)
        h.hi = h.lo % 64; /* several streams that begin alike */
    return h;
}

static rfi_index *write_run(history *h, const char *name, uint64_t from, uint64_t to)
{
    rf_err err = {0};
    rfi_index *x = NULL;
    rfi_mem *m = rfi_mem_new(h->base + from);
    rfi_index_header head = {
        .domain = "d", .base_offset = h->base + from, .end_offset = h->base + to, .key_check = 7};
    assert_true(rfi_mem_reserve(m, (uint32_t)(to - from)));
    for (uint64_t i = from; i < to; i++)
        rfi_mem_add(m, &h->events[i].keys, h->events[i].content48, h->events[i].revision);
    rf_io *io = simdisk_io(h->disk);
    if (rfi_keys_write(io, name, m, &head, &err) != RF_OK ||
        rfi_index_open(io, name, RFI_INDEX_KEYS, &x, &err) != RF_OK)
        fail_msg("%s", err.text);
    rfi_mem_release(&m);
    return x;
}

static void make_history(history *h, uint64_t seed, bool collide)
{
    kit_rng rng = {seed};
    *h = (history){.disk = simdisk_new(), .base = kit_below(&rng, 2) * 1000000007};
    h->runs_count = 2 + (uint32_t)kit_below(&rng, RUNS_MAX - 1);
    uint64_t streams = 1 + kit_below(&rng, 600), cuts[RUNS_MAX + 1] = {0};
    for (uint32_t i = 1; i <= h->runs_count; i++)
        cuts[i] = cuts[i - 1] + 1 + kit_below(&rng, EVENTS_MAX / RUNS_MAX);
    h->count = cuts[h->runs_count];
    h->events = rf_xcalloc(h->count, sizeof *h->events);
    for (uint64_t i = 0; i < h->count; i++) {
        known *k = &h->events[i];
        k->keys.id = (rfi_id_key){kit_next(&rng), (uint32_t)kit_next(&rng)};
        if (collide && i % 7 == 0)
            k->keys.id.a = i % 3;
        k->keys.stream = some_stream(&rng, streams, collide);
        k->content48 = kit_next(&rng) & RFI_CONTENT_MASK;
        for (uint64_t j = i; j > 0 && k->revision == 0; j--) {
            if (rf_hash_eq(h->events[j - 1].keys.stream, k->keys.stream))
                k->revision = h->events[j - 1].revision + 1;
        }
    }
    for (uint32_t i = 0; i < h->runs_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "run%u", i);
        h->runs[i] = write_run(h, name, cuts[i], cuts[i + 1]);
    }
    h->whole = write_run(h, "whole", 0, h->count);
}

static void clear_history(history *h)
{
    for (uint32_t i = 0; i < h->runs_count; i++)
        rfi_index_release(&h->runs[i]);
    rfi_index_release(&h->whole);
    free(h->events);
    simdisk_free(&h->disk);
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static rfi_index *merged(history *h, const char *name, rfi_index *const *runs, uint32_t count)
{
    const rfi_merge_watch watch = {.go_on = always};
    rf_io *io = simdisk_io(h->disk);
    rfi_index *damaged = NULL, *x = NULL;
    rf_err err = {0};
    if (rfi_keys_merge(io, name, runs, count, &watch, &damaged, &err) != RF_OK ||
        rfi_index_open(io, name, RFI_INDEX_KEYS, &x, &err) != RF_OK)
        fail_msg("%s", err.text);
    assert_null(damaged);
    return x;
}

static rfi_set *set_of(rfi_index *const *runs, uint32_t count)
{
    rfi_index *newest_first[RUNS_MAX];
    for (uint32_t i = 0; i < count; i++)
        newest_first[i] = runs[count - 1 - i];
    return rfi_set_new(NULL, 0, newest_first, count);
}

/* Where the revision of the stream is, by whichever run has it. */
static uint64_t offset_of(const rfi_set *s, rf_hash128 stream, uint64_t revision)
{
    for (uint32_t i = 0; i < s->keys_count; i++) {
        rfi_keys_stream found;
        uint64_t offset = 0;
        if (rfi_keys_find_stream(s->keys[i], stream, &found) == RFI_FOUND &&
            revision >= found.first_revision && revision - found.first_revision < found.count) {
            assert_int_equal(rfi_keys_stream_event(s->keys[i], &found,
                                                   (uint32_t)(revision - found.first_revision),
                                                   &offset),
                             RFI_FOUND);
            return offset;
        }
    }
    return UINT64_MAX;
}

static void assert_answers(const history *h, const rfi_set *old, const rfi_set *now)
{
    rfi_index *damaged = NULL;
    for (uint64_t i = 0; i < h->count; i++) {
        const known *k = &h->events[i];
        rfi_id_hit a = {0}, b = {0};
        uint64_t revision = 0;
        rfi_stream_part was, is;
        assert_int_equal(rfi_set_find_id(now, k->keys.id, &b, &damaged), RFI_FOUND);
        assert_int_equal(rfi_set_find_id(old, k->keys.id, &a, &damaged), RFI_FOUND);
        assert_int_equal(b.offset, h->base + i);
        assert_int_equal(b.content48, k->content48);
        assert_memory_equal(&a, &b, sizeof a);
        assert_int_equal(rfi_set_revision(now, k->keys.stream, b.offset, &revision, &damaged),
                         RFI_FOUND);
        assert_int_equal(revision, k->revision);
        assert_int_equal(offset_of(now, k->keys.stream, k->revision), b.offset);
        assert_int_equal(rfi_set_stream_part(old, k->keys.stream, &was, &damaged), RFI_FOUND);
        assert_int_equal(rfi_set_stream_part(now, k->keys.stream, &is, &damaged), RFI_FOUND);
        assert_int_equal(was.first_revision + was.count, is.first_revision + is.count);
        assert_true(is.first_revision <= was.first_revision);
    }
}

static void assert_absent(const rfi_set *now, kit_rng *rng)
{
    rfi_index *damaged = NULL;
    for (int i = 0; i < 2000; i++) {
        rfi_id_hit hit;
        rfi_stream_part part;
        rfi_id_key id = {kit_next(rng), 1};
        rf_hash128 stream = {.hi = kit_next(rng), .lo = 1};
        if (i % 10 == 0)
            id.a = stream.hi = kit_below(rng, 3); /* like some that are there */
        assert_int_equal(rfi_set_find_id(now, id, &hit, &damaged), RFI_ABSENT);
        assert_int_equal(rfi_set_stream_part(now, stream, &part, &damaged), RFI_ABSENT);
    }
}

static void assert_same_file(history *h, const char *a, const char *b)
{
    rf_buf x, y;
    rf_err err = {0};
    rf_buf_init(&x, SIZE_MAX);
    rf_buf_init(&y, SIZE_MAX);
    assert_int_equal(rf_io_read_file(simdisk_io(h->disk), a, 1u << 30, &x, &err), RF_OK);
    assert_int_equal(rf_io_read_file(simdisk_io(h->disk), b, 1u << 30, &y, &err), RF_OK);
    assert_true(rf_str_eq(rf_buf_str(&x), rf_buf_str(&y)));
    rf_buf_clear(&x);
    rf_buf_clear(&y);
}

static void merge__random_runs__answers_as_before(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + 40; seed++) {
        history h;
        kit_rng rng = {seed + 1000};
        bool collide = seed % 2 == 0;
        make_history(&h, seed, collide);
        print_message("seed %" PRIu64 ": %u runs, %" PRIu64 " events\n", seed, h.runs_count,
                      h.count);
        rfi_index *one = merged(&h, "merged", h.runs, h.runs_count);
        assert_true(rfi_index_check_all(one));
        assert_int_equal(rfi_index_head(one)->base_offset, h.base);
        assert_int_equal(rfi_index_head(one)->end_offset, h.base + h.count);
        rfi_set *old = set_of(h.runs, h.runs_count), *now = set_of(&one, 1);
        assert_answers(&h, old, now);
        assert_absent(now, &rng);
        if (!collide) /* keys that begin alike may stand in another order */
            assert_same_file(&h, "merged", "whole");
        rfi_set_release(&old);
        rfi_set_release(&now);
        rfi_index_release(&one);
        clear_history(&h);
    }
}

static void merge__of_merged_ones__is_the_merge_of_all(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + 20; seed++) {
        history h;
        make_history(&h, seed, false);
        if (h.runs_count >= 4) {
            uint32_t half = h.runs_count / 2;
            rfi_index *two[2] = {merged(&h, "a", h.runs, half),
                                 merged(&h, "b", h.runs + half, h.runs_count - half)};
            rfi_index *one = merged(&h, "merged", two, 2);
            assert_same_file(&h, "merged", "whole");
            rfi_index_release(&one);
            rfi_index_release(&two[0]);
            rfi_index_release(&two[1]);
        }
        clear_history(&h);
    }
}

static void count_name(void *arg, const char *name)
{
    *(unsigned *)arg += strstr(name, "merged") != NULL;
}

static void assert_no_file(history *h)
{
    unsigned found = 0;
    rf_err err = {0};
    rf_status st = simdisk_io(h->disk)->list(simdisk_io(h->disk), ".", count_name, &found, &err);
    assert_true(st == RF_OK || st == RF_ENOTFOUND);
    assert_int_equal(found, 0);
    rf_file *file = NULL;
    const char *names[] = {"merged", "merged.tmp"};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(
            simdisk_io(h->disk)->open(simdisk_io(h->disk), names[i], RF_IO_READ, &file, &err),
            RF_ENOTFOUND);
}

static void merge__stopped__leaves_nothing(void **state)
{
    (void)state;
    history h;
    rf_err err = {0};
    rfi_index *damaged = NULL;
    const rfi_merge_watch watch = {.go_on = never};
    h = (history){.disk = simdisk_new(), .count = 80000, .runs_count = 2};
    h.events = rf_xcalloc(h.count, sizeof *h.events);
    kit_rng rng = {1};
    for (uint64_t i = 0; i < h.count; i++)
        h.events[i] = (known){.keys = {.id = {kit_next(&rng), 1}, .stream = {.hi = 1, .lo = 1}},
                              .revision = i};
    h.runs[0] = write_run(&h, "run0", 0, 50000);
    h.runs[1] = write_run(&h, "run1", 50000, h.count);
    assert_int_equal(
        rfi_keys_merge(simdisk_io(h.disk), "merged", h.runs, 2, &watch, &damaged, &err),
        RF_ECANCELED);
    assert_null(damaged);
    assert_no_file(&h);
    clear_history(&h);
}

static void merge__any_damaged_page__is_found_and_not_passed_on(void **state)
{
    (void)state;
    const rfi_merge_watch watch = {.go_on = always};
    history h;
    unsigned tried = 0;
    make_history(&h, first_seed, false);
    rf_io *io = simdisk_io(h.disk);
    for (int section = RFI_KEYS_IDS; section <= RFI_KEYS_STREAM_EVENTS; section++) {
        for (uint32_t run = 0; run < h.runs_count; run++) {
            rf_err err = {0};
            rf_file *file = NULL;
            rfi_index *damaged = NULL, *bad = NULL, *runs[RUNS_MAX];
            char name[16];
            uint8_t byte = 0;
            size_t got = 0;
            snprintf(name, sizeof name, "run%u", run);
            uint64_t at = rfi_index_head(h.runs[run])->section_at[section] + 3;
            assert_int_equal(io->open(io, name, RF_IO_READ | RF_IO_WRITE, &file, &err), RF_OK);
            assert_int_equal(io->pread(io, file, &byte, 1, at, &got, &err), RF_OK);
            byte ^= 64;
            assert_int_equal(io->pwrite(io, file, &byte, 1, at, &err), RF_OK);
            assert_int_equal(rfi_index_open(io, name, RFI_INDEX_KEYS, &bad, &err), RF_OK);
            memcpy(runs, h.runs, sizeof runs);
            runs[run] = bad;
            assert_int_equal(
                rfi_keys_merge(io, "merged", runs, h.runs_count, &watch, &damaged, &err),
                RF_ECORRUPT);
            assert_ptr_equal(damaged, bad);
            assert_no_file(&h);
            byte ^= 64;
            assert_int_equal(io->pwrite(io, file, &byte, 1, at, &err), RF_OK);
            io->close(io, &file);
            rfi_index_release(&bad);
            tried++;
        }
    }
    assert_true(tried >= 6);
    clear_history(&h);
}

/* A run that is whole by its checksums but says something that cannot be. */
static void merge__stream_with_a_gap__is_refused(void **state)
{
    (void)state;
    const rfi_merge_watch watch = {.go_on = always};
    rf_err err = {0};
    rfi_index *damaged = NULL;
    history h = {.disk = simdisk_new(), .count = 4, .runs_count = 2};
    h.events = rf_xcalloc(h.count, sizeof *h.events);
    for (uint64_t i = 0; i < h.count; i++)
        h.events[i] = (known){.keys = {.id = {i, 1}, .stream = {.hi = 1, .lo = 1}},
                              .revision = i < 2 ? i : i + 1};
    h.runs[0] = write_run(&h, "run0", 0, 2);
    h.runs[1] = write_run(&h, "run1", 2, 4);
    assert_int_equal(
        rfi_keys_merge(simdisk_io(h.disk), "merged", h.runs, 2, &watch, &damaged, &err),
        RF_ECORRUPT);
    assert_ptr_equal(damaged, h.runs[1]);
    assert_no_file(&h);
    clear_history(&h);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choose__table),
        cmocka_unit_test(choose__any_history__keeps_few_runs),
        cmocka_unit_test(merge__random_runs__answers_as_before),
        cmocka_unit_test(merge__of_merged_ones__is_the_merge_of_all),
        cmocka_unit_test(merge__stopped__leaves_nothing),
        cmocka_unit_test(merge__any_damaged_page__is_found_and_not_passed_on),
        cmocka_unit_test(merge__stream_with_a_gap__is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
