/*
 * Merging of key files in a log: it ends with few of them, beside appends, reads and verifications;
 * damage, a crash or a failing disk at any step leaves what was merged or what came of it, and
 * every id and revision is answered as before.
 *
 *   test_log_runs [seed]
 *
 * PROVES: P4
 */
#include "log/bugs_int.h"
#include "log/merge_int.h"
#include "support/faulty.h"
#include "support/log_kit.h"
#include "support/simdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t first_seed = 1;

/* ---- a log
 * ------------------------------------------------------------------------------------------ */

#define EVENTS 260u
#define STREAMS 7u
static const rf_log_options SMALL = {
    .segment_bytes_max = 1 << 16, .seal_on_close = true, .block_bytes_target = 4096};

/* Event n with so much noise that few fill a segment. */
static rf_event big_event(rf_arena *a, uint64_t n, size_t noise)
{
    rf_event e = kit_event(a, n, STREAMS);
    kit_rng rng = {n};
    char *p = rf_arena_alloc(a, noise);
    p[0] = p[noise - 1] = '"';
    for (size_t i = 1; i + 1 < noise; i++)
        p[i] = (char)('a' + kit_below(&rng, 26));
    e.extensions = (rf_str){p, noise};
    return e;
}

static void send(rf_log *log, uint64_t from, uint64_t to, uint32_t group, bool duplicates)
{
    rf_arena *a = rf_arena_new(1 << 20);
    rf_event *e = rf_xcalloc(group, sizeof *e);
    rf_receipt *r = rf_xcalloc(group, sizeof *r);
    while (from < to) {
        uint32_t n = (uint32_t)RF_MIN((uint64_t)group, to - from);
        for (uint32_t i = 0; i < n; i++)
            e[i] = big_event(a, from + i, 1500);
        assert_int_equal(kit_append(kit_part(log), e, NULL, n, false, r), RF_OK);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(r[i].offset, from + i);
            assert_int_equal(r[i].revision, (from + i) / STREAMS);
            assert_int_equal(r[i].duplicate, duplicates);
        }
        from += n;
        rf_arena_reset(a);
    }
    rf_arena_free(&a);
    free(e);
    free(r);
}

/* A log of several sealed segments, none merged. */
static void make_log(const char *dir, rf_io *io)
{
    rfi_merge_events_min = UINT64_MAX;
    rf_log *log = kit_open(dir, io, &SMALL);
    send(log, 0, EVENTS, 20, false);
    rf_log_close(&log);
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
}

static uint32_t runs_of(rf_log *log)
{
    rfi_set *s = rfi_part_set(kit_part(log));
    uint32_t n = s->keys_count;
    rfi_set_release(&s);
    return n;
}

static bool retired(rf_log *log)
{
    rf_log_part *p = kit_part(log);
    pthread_mutex_lock(&p->mutex);
    bool some = p->retired_count > 0;
    pthread_mutex_unlock(&p->mutex);
    return some;
}

static bool is_settled(rf_log *log)
{
    uint64_t events[256];
    uint32_t from = 0;
    rfi_set *s = rfi_part_set(kit_part(log));
    uint32_t n = s->keys_count;
    assert_true(n < RF_ARRAY_LEN(events));
    for (uint32_t i = 0; i < n; i++) {
        const rfi_index_header *h = rfi_index_head(s->keys[n - 1 - i]);
        events[i] = h->end_offset - h->base_offset;
    }
    bool settled = s->mems_count == 0 && rfi_merge_choose(events, n, &from) == 0;
    rfi_set_release(&s);
    return settled && !retired(log);
}

/* Until nothing is left to merge or to remove, or a failure was told. */
static bool wait_until_settled(rf_log *log, const atomic_uint *failures, unsigned ms_max)
{
    for (unsigned ms = 0; ms < ms_max && (failures == NULL || *failures == 0); ms++) {
        if (is_settled(log))
            return true;
        usleep(1000);
    }
    return is_settled(log);
}

static void fail_on(void *arg, const char *line)
{
    (void)arg;
    print_error("%s\n", line);
}

static void assert_verified(const char *dir, rf_io *io, uint64_t events)
{
    rf_verify_report report;
    rf_err err = {0};
    assert_int_equal(rf_log_verify(io, dir, fail_on, NULL, NULL, &report, &err), RF_OK);
    assert_int_equal(report.problems, 0);
    assert_int_equal(report.events, events);
}

static size_t key_files(const char *dir, glob_t *g)
{
    char pattern[300];
    snprintf(pattern, sizeof pattern, "%s/d/0/*.key", dir);
    *g = (glob_t){0};
    return glob(pattern, 0, NULL, g) == 0 ? g->gl_pathc : 0;
}

static size_t count_key_files(const char *dir)
{
    glob_t g;
    size_t n = key_files(dir, &g);
    globfree(&g);
    return n;
}

static void log__many_segments__ends_with_few_runs(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    make_log(dir, NULL);
    size_t before = count_key_files(dir);
    assert_true(before >= 5);
    rfi_merge_events_min = 0;
    rf_log *log = kit_open(dir, NULL, &SMALL);
    assert_true(wait_until_settled(log, NULL, 20000));
    uint32_t runs = runs_of(log);
    print_message("%zu runs became %u\n", before, runs);
    assert_true(runs <= 3);
    assert_int_equal(count_key_files(dir), runs); /* the old ones are gone */
    send(log, 0, EVENTS, 20, true);
    assert_verified(dir, NULL, EVENTS);
    rf_log_close(&log);
    log = kit_open(dir, NULL, &SMALL);
    assert_true(runs_of(log) <= 4);
    send(log, 0, EVENTS, 20, true);
    send(log, EVENTS, EVENTS + 200, 20, false);
    rf_log_close(&log);
    assert_verified(dir, NULL, EVENTS + 200);
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
    kit_dir_remove(&dir);
}

/* ---- beside appends and reads */

typedef struct reader {
    pthread_t thread;
    rf_log *log;
    const char *dir;
    atomic_bool stop;
    _Atomic uint64_t sent; /* all below is there */
    uint64_t reads;
} reader;

static void *read_points(void *arg)
{
    reader *r = arg;
    rf_log_page *page = rf_log_page_new();
    kit_rng rng = {3};
    while (!r->stop) {
        uint64_t sent = r->sent;
        rf_err err = {0};
        rf_placed_event out[4];
        char stream[16];
        size_t count = 0;
        if (sent == 0)
            continue;
        uint64_t n = kit_below(&rng, sent);
        snprintf(stream, sizeof stream, "s%" PRIu64, n % STREAMS);
        if (rf_log_read_stream(r->log, RF_STR("d"), rf_str_from(stream), n / STREAMS, false, 1,
                               page, out, &count, &err) != RF_OK ||
            count != 1 || out[0].place.offset != n)
            r->stop = true; /* seen by the test: reads stay few */
        else
            r->reads++;
    }
    rf_log_page_free(&page);
    return NULL;
}

static void *verify_all(void *arg)
{
    reader *r = arg;
    while (!r->stop) {
        rf_verify_report report;
        rf_err err = {0};
        if (rf_log_verify(NULL, r->dir, fail_on, NULL, NULL, &report, &err) != RF_OK ||
            report.problems > 0)
            r->stop = true;
        else
            r->reads++;
    }
    return NULL;
}

static void log__appends_reads_and_verify__beside_merges(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    const uint64_t total = 2000;
    rfi_merge_events_min = 0;
    rf_log *log = kit_open(dir, NULL, &SMALL);
    reader points = {.log = log, .dir = dir}, verify = {.log = log, .dir = dir};
    assert_int_equal(pthread_create(&points.thread, NULL, read_points, &points), 0);
    assert_int_equal(pthread_create(&verify.thread, NULL, verify_all, &verify), 0);
    for (uint64_t n = 0; n < total; n += 20) {
        send(log, n, n + 20, 20, false);
        points.sent = n + 20;
        if (n % 500 == 0)
            send(log, 0, n + 20, 20, true);
    }
    bool settled = wait_until_settled(log, NULL, 20000);
    assert_false(points.stop);
    assert_false(verify.stop);
    points.stop = verify.stop = true;
    pthread_join(points.thread, NULL);
    pthread_join(verify.thread, NULL);
    print_message("%" PRIu64 " reads, %" PRIu64 " verifications, %u runs\n", points.reads,
                  verify.reads, runs_of(log));
    assert_true(settled);
    assert_true(points.reads > 0 && verify.reads > 0);
    assert_true(runs_of(log) <= 9);
    send(log, 0, total, 20, true);
    rf_log_close(&log);
    assert_verified(dir, NULL, total);
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
    kit_dir_remove(&dir);
}

static void hold_reader__old_files_stay_until_it_lets_go(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    make_log(dir, NULL);
    rf_log *log = kit_open(dir, NULL, &SMALL); /* too small to be merged */
    size_t before = runs_of(log);
    rfi_set *held = rfi_part_set(kit_part(log));
    rfi_merge_events_min = 0;
    for (int i = 0; i < 20000 && runs_of(log) >= before; i++) {
        if (i == 0)
            send(log, EVENTS, EVENTS + 60, 20, false); /* a seal wakes the thread */
        usleep(1000);
    }
    assert_true(runs_of(log) < before);
    for (uint32_t i = 0; i < held->keys_count; i++) {
        assert_int_equal(access(rfi_index_path(held->keys[i]), F_OK), 0);
        assert_true(rfi_index_check_all(held->keys[i]));
    }
    rfi_set_release(&held);
    assert_true(wait_until_settled(log, NULL, 20000));
    assert_int_equal(count_key_files(dir), runs_of(log));
    rf_log_close(&log);
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
    kit_dir_remove(&dir);
}

/* ---- damage */

static void damage(const char *path, uint64_t page)
{
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;
    off_t at = (off_t)(page * RFI_PAGE_BYTES + 77);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void log__damaged_merged_file__is_rebuilt_by_segment(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        char *dir = kit_dir_make();
        make_log(dir, NULL);
        rfi_merge_events_min = 0;
        rf_log *log = kit_open(dir, NULL, &SMALL);
        assert_true(wait_until_settled(log, NULL, 20000));
        rf_log_close(&log);
        rfi_merge_events_min = UINT64_MAX;
        glob_t g;
        size_t files = key_files(dir, &g);
        struct stat about;
        assert_int_equal(stat(g.gl_pathv[0], &about), 0);
        uint64_t pages = (uint64_t)about.st_size / RFI_PAGE_BYTES;
        damage(g.gl_pathv[0], where == 0 ? 0 : where == 1 ? 1 : pages - 2);
        globfree(&g);
        log = kit_open(dir, NULL, &SMALL);
        send(log, 0, EVENTS, 20, true);
        assert_true(runs_of(log) > files); /* rebuilt one by one, not merged again */
        rfi_merge_events_min = 0;
        rf_log_close(&log);
        log = kit_open(dir, NULL, &SMALL);
        assert_true(wait_until_settled(log, NULL, 20000));
        send(log, 0, EVENTS, 20, true);
        assert_int_equal(count_key_files(dir), runs_of(log));
        rf_log_close(&log);
        assert_verified(dir, NULL, EVENTS);
        rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
        kit_dir_remove(&dir);
    }
}

/* ---- crashes and failing disks
 * ------------------------------------------------------------------------------------------ */

#define DIR "log"
#define PART_DIR "log/d/0"

typedef struct listed {
    uint64_t base[64], end[64];
    unsigned keys, unfinished;
} listed;

static void list_one(void *arg, const char *name)
{
    listed *l = arg;
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".tmp") == 0)
        l->unfinished++;
    if (n > 4 && strcmp(name + n - 4, ".key") == 0 && l->keys < 64) {
        l->base[l->keys] = strtoull(name, NULL, 10);
        l->end[l->keys++] = strtoull(name + 21, NULL, 10);
    }
}

/* Every event is covered by one key file and no more. */
static void assert_tidy(rf_io *io)
{
    listed l = {0};
    rf_err err = {0};
    uint64_t covered = 0;
    assert_int_equal(io->list(io, PART_DIR, list_one, &l, &err), RF_OK);
    assert_int_equal(l.unfinished, 0);
    for (unsigned i = 0; i < l.keys; i++) {
        covered += l.end[i] - l.base[i];
        for (unsigned k = 0; k < i; k++)
            assert_true(l.end[i] <= l.base[k] || l.end[k] <= l.base[i]);
    }
    assert_int_equal(covered, EVENTS);
}

/* Index files that were made anew from segments: a merge alone must never make that needed. */
static atomic_uint rebuilt;

static void note_rebuilt(void *arg, const char *line)
{
    (void)arg;
    rebuilt += strstr(line, "rebuilding") != NULL;
}

/* What a crash left opens, has one file for each event, and knows every id. Without merging. */
static uint32_t assert_recovers(simdisk *disk)
{
    rf_io *io = simdisk_io(disk);
    rf_log_options o = SMALL;
    o.notice = note_rebuilt;
    rfi_merge_events_min = UINT64_MAX;
    rf_log *log = kit_open(DIR, io, &o);
    uint32_t runs = runs_of(log);
    assert_tidy(io);
    send(log, 0, EVENTS, 60, true);
    rf_log_close(&log);
    assert_verified(DIR, io, EVENTS);
    return runs;
}

static void merge_all(simdisk *disk)
{
    rfi_merge_events_min = 0;
    rf_log *log = kit_open(DIR, simdisk_io(disk), &SMALL);
    assert_true(wait_until_settled(log, NULL, 20000));
    rf_log_close(&log);
}

/* The process dies, another opens the log, then the power fails. */
static void cut_after_kill(const simcrash *c, kit_rng *rng)
{
    simdisk *killed = simcrash_killed(c);
    assert_recovers(killed);
    simcrash *later = simcrash_new(killed);
    while (simcrash_step(later)) {
        if (kit_below(rng, 6) > 0)
            continue;
        simdisk *after = simcrash_state(later, kit_below(rng, 40), rng);
        assert_recovers(after);
        simdisk_free(&after);
    }
    simcrash_free(&later);
    simdisk_free(&killed);
}

typedef struct crashes {
    uint64_t states, by_runs[64]; /* states that had so many runs */
} crashes;

static void crash_here(const simcrash *c, kit_rng *rng, crashes *out)
{
    uint64_t variants = simcrash_variants(c);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t variant = i < 2 ? i : kit_below(rng, variants + 2);
        simdisk *found = simcrash_state(c, variant, rng);
        uint32_t runs = assert_recovers(found);
        assert_true(runs < RF_ARRAY_LEN(out->by_runs));
        out->by_runs[runs]++;
        out->states++;
        if (kit_below(rng, 16) == 0) { /* it can be merged from there */
            merge_all(found);
            assert_true(assert_recovers(found) <= 3);
        }
        simdisk_free(&found);
    }
    if (kit_below(rng, 4) == 0)
        cut_after_kill(c, rng);
}

/* Every operation of a merge is a crash point. */
static crashes crash_everywhere(uint64_t seed, unsigned bug)
{
    crashes out = {0};
    kit_rng rng = {seed};
    simdisk *disk = simdisk_new();
    make_log(DIR, simdisk_io(disk));
    size_t begin = simdisk_ops(disk);
    rfi_bugs = bug;
    rebuilt = 0;
    merge_all(disk);
    simcrash *c = simcrash_new(disk);
    while (simcrash_at(c) < begin && simcrash_step(c))
        ;
    do
        crash_here(c, &rng, &out);
    while (simcrash_step(c) && (bug == 0 || rebuilt == 0));
    simcrash_free(&c);
    simdisk_free(&disk);
    rfi_bugs = 0;
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
    return out;
}

static void crash__at_any_step_of_a_merge__leaves_the_old_or_the_new(void **state)
{
    (void)state;
    crashes all = crash_everywhere(first_seed, 0);
    unsigned kinds = 0;
    for (size_t i = 0; i < RF_ARRAY_LEN(all.by_runs); i++)
        kinds += all.by_runs[i] > 0;
    printf("RESULT name=merge-crash seed=%" PRIu64 " states=%" PRIu64 " run_counts=%u rebuilt=%u\n",
           first_seed, all.states, kinds, rebuilt);
    assert_true(kinds >= 2); /* both the old and the new were seen */
    assert_int_equal(rebuilt, 0);
}

static void planted_bugs__each__is_noticed(void **state)
{
    (void)state;
    const unsigned bugs[] = {RFI_BUG_MERGE_NO_DIR_SYNC, RFI_BUG_TIDY_NO_DIR_SYNC};
    for (size_t i = 0; i < RF_ARRAY_LEN(bugs); i++) {
        uint64_t states = 0, seed = first_seed;
        do
            states += crash_everywhere(seed++, bugs[i]).states;
        while (rebuilt == 0 && seed < first_seed + 30);
        printf("RESULT name=merge-planted bug=%s states=%" PRIu64 " caught=%s\n",
               i == 0 ? "merge-without-directory-sync" : "tidy-without-directory-sync", states,
               rebuilt > 0 ? "an index was lost" : "NO");
        assert_true(rebuilt > 0);
    }
}

static void count_failure(void *arg, const char *line)
{
    (void)line;
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static simdisk *copy_of(simdisk *disk)
{
    kit_rng rng = {1};
    simcrash *c = simcrash_new(disk);
    while (simcrash_step(c))
        ;
    simdisk *copy = simcrash_state(c, 1, &rng);
    simcrash_free(&c);
    return copy;
}

/* False when there is no such call. */
static bool try_fault(simdisk *made, fault_kind kind, uint64_t at, int os_errno, bool forever)
{
    simdisk *disk = copy_of(made);
    faulty *f = faulty_new(simdisk_io(disk));
    atomic_uint failures = 0;
    rf_log_options o = SMALL;
    rf_log *log = NULL;
    rf_err err = {0};
    o.io = faulty_io(f);
    o.notice = count_failure;
    o.notice_arg = &failures;
    rfi_merge_events_min = 0;
    faulty_arm(f, kind, at, os_errno, forever, 1);
    if (rf_log_open(DIR, &o, &log, &err) == RF_OK)
        (void)wait_until_settled(log, &failures, 2000);
    rf_log_close(&log);
    bool fired = faulty_fired(f);
    faulty_disarm(f);
    assert_recovers(disk);
    merge_all(disk);
    assert_recovers(disk);
    faulty_free(&f);
    simdisk_free(&disk);
    return fired;
}

static void faults__every_call_of_a_merge__answers_stay(void **state)
{
    (void)state;
    uint64_t tries = 0;
    simdisk *made = simdisk_new();
    make_log(DIR, simdisk_io(made));
    const int errnos[] = {EIO, ENOSPC};
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        for (uint64_t at = 0;; at++, tries++) {
            /* One of the four ways for each call: all are met many times. */
            if (!try_fault(made, (fault_kind)kind, at, errnos[at % 2], at / 2 % 2 == 1))
                break;
        }
    }
    simdisk_free(&made);
    printf("RESULT name=merge-faults tries=%" PRIu64 "\n", tries);
    assert_true(tries > 50);
    rfi_merge_events_min = RFI_MERGE_EVENTS_MIN;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log__many_segments__ends_with_few_runs),
        cmocka_unit_test(log__appends_reads_and_verify__beside_merges),
        cmocka_unit_test(hold_reader__old_files_stay_until_it_lets_go),
        cmocka_unit_test(log__damaged_merged_file__is_rebuilt_by_segment),
        cmocka_unit_test(crash__at_any_step_of_a_merge__leaves_the_old_or_the_new),
        cmocka_unit_test(planted_bugs__each__is_noticed),
        cmocka_unit_test(faults__every_call_of_a_merge__answers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
