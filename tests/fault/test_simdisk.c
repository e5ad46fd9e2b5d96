/*
 * The log on a simulated disk: every operation is a crash point, and of each crash many states of
 * the disk are tried: recovery must open it, hold all that was acknowledged (P1, P3), nothing that
 * was not sent (P2), each id once (P4), groups whole (P6), and settle a retry of everything (P5).
 * Some recoveries are crashed again. Then the same with planted bugs, each of which must be
 * noticed.
 *
 *   test_simdisk [seconds [seed]]     the long form; the short one runs in make test
 *
 * PROVES: P1 P2 P3 P4 P5 P6
 */
#include "log/bugs_int.h"
#include "log/log.h"
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DIR "log"
#define APPENDS 28
#define EVENTS_MAX 6

typedef struct sent {
    rf_event events[EVENTS_MAX];
    rf_receipt receipts[EVENTS_MAX];
    rf_append append;
    bool acked_ever; /* stored when the workload ran without a crash */
} sent;

typedef struct run {
    uint64_t seed;
    simdisk *disk;
    rf_arena *arena;
    sent sent[APPENDS];
    const rf_event **order; /* by offset */
    const sent **group_of;  /* by offset */
    uint64_t *revisions;
    uint64_t count;
    /* the check of one state */
    uint64_t acked_next; /* all below was acknowledged */
    uint64_t read;
    const char *violation;
    char detail[256];
    uint64_t states, violations;
} run;

static void violated(run *r, const char *what, const char *detail)
{
    r->violations++;
    if (r->violation == NULL) {
        r->violation = what;
        snprintf(r->detail, sizeof r->detail, "%.200s", detail);
    }
}

/* ---- the workload
 * -------------------------------------------------------------------------------------- */

static void acked(rf_append *a)
{
    run *r = a->arg;
    size_t n = (size_t)((sent *)((char *)a - offsetof(sent, append)) - r->sent);
    if (a->status == RF_OK)
        simdisk_mark(r->disk, n);
}

static rf_str noise(rf_arena *a, kit_rng *rng, size_t n)
{
    char *p = rf_arena_alloc(a, n);
    p[0] = p[n - 1] = '"';
    for (size_t i = 1; i + 1 < n; i++)
        p[i] = (char)('a' + kit_below(rng, 26));
    return (rf_str){p, n};
}

static void make_appends(run *r, kit_rng *rng)
{
    uint64_t id = 0;
    for (size_t i = 0; i < APPENDS; i++) {
        sent *s = &r->sent[i];
        uint32_t count = 1 + (uint32_t)kit_below(rng, EVENTS_MAX);
        for (uint32_t k = 0; k < count; k++) {
            bool again = id > 4 && kit_below(rng, 8) == 0;
            s->events[k] = kit_event(r->arena, again ? kit_below(rng, id) : id++, 3);
            if (!again && kit_below(rng, 3) == 0)
                s->events[k].extensions = noise(r->arena, rng, 200 + (size_t)kit_below(rng, 9000));
        }
        s->append = (rf_append){.events = s->events,
                                .count = count,
                                .atomic = kit_below(rng, 2) == 0,
                                .receipts = s->receipts,
                                .done = acked,
                                .arg = r};
    }
}

/* One life of the log: some appends, waited for or not, and an end with or without sealing. */
static bool live(run *r, kit_rng *rng, size_t from, size_t to)
{
    rf_log_options o = {.io = simdisk_io(r->disk),
                        .segment_bytes_max = 1 << 16,
                        .block_bytes_target = 2048,
                        .seal_on_close = kit_below(rng, 2) == 0};
    rf_log *log = NULL;
    rf_err err = {0};
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK ||
        rf_log_domain(log, RF_STR("d"), 1, &err) != RF_OK) {
        rf_log_close(&log);
        return false;
    }
    for (size_t i = from; i < to; i++) {
        rf_log_submit(kit_part(log), &r->sent[i].append);
        while (kit_below(rng, 2) == 0 && rf_log_pending_bytes(log) > 0)
            ; /* let some commits be small */
    }
    rf_log_close(&log);
    return true;
}

/* The order in the log, from the receipts. */
static void make_order(run *r)
{
    r->order = rf_xcalloc(APPENDS * EVENTS_MAX, sizeof *r->order);
    r->group_of = rf_xcalloc(APPENDS * EVENTS_MAX, sizeof *r->group_of);
    r->revisions = rf_xcalloc(APPENDS * EVENTS_MAX, sizeof *r->revisions);
    for (size_t i = 0; i < APPENDS; i++) {
        sent *s = &r->sent[i];
        for (uint32_t k = 0; s->append.status == RF_OK && k < s->append.count; k++) {
            const rf_receipt *t = &s->receipts[k];
            if (t->status != RF_OK || t->duplicate || t->offset >= APPENDS * EVENTS_MAX)
                continue;
            r->order[t->offset] = &s->events[k];
            r->group_of[t->offset] = s;
            r->revisions[t->offset] = t->revision;
            r->count = RF_MAX(r->count, t->offset + 1);
        }
    }
}

static bool run_workload(run *r, uint64_t seed)
{
    kit_rng rng = {seed};
    *r = (run){.seed = seed, .disk = simdisk_new(), .arena = rf_arena_new(1 << 16)};
    make_appends(r, &rng);
    size_t half = 8 + (size_t)kit_below(&rng, 12);
    bool fine = live(r, &rng, 0, half) && live(r, &rng, half, APPENDS);
    make_order(r);
    return fine;
}

static void run_clear(run *r)
{
    simdisk_free(&r->disk);
    rf_arena_free(&r->arena);
    free(r->order);
    free(r->group_of);
    free(r->revisions);
}

/* ---- the oracle
 * ------------------------------------------------------------------------------------------ */

static void note_ack(void *arg, uint64_t n)
{
    run *r = arg;
    const sent *s = &r->sent[n];
    for (uint32_t k = 0; k < s->append.count; k++) {
        if (s->receipts[k].status == RF_OK)
            r->acked_next = RF_MAX(r->acked_next, s->receipts[k].offset + 1);
    }
}

static void check_event(void *arg, uint64_t offset, uint64_t revision, const rf_event *e)
{
    run *r = arg;
    if (offset != r->read++)
        violated(r, "offsets have a gap", "");
    else if (offset >= r->count || r->order[offset] == NULL ||
             !kit_event_equal(e, r->order[offset]))
        violated(r, "an event was never sent so", "");
    else if (revision != r->revisions[offset])
        violated(r, "a revision differs", "");
}

/* Everything again: what is there is a duplicate at its place, the rest goes on from there. */
static void check_retry(run *r, rf_log *log, uint64_t end)
{
    for (size_t i = 0; i < APPENDS && r->violation == NULL; i++) {
        const sent *s = &r->sent[i];
        rf_receipt t[EVENTS_MAX];
        if (s->append.status != RF_OK)
            continue;
        if (kit_append(kit_part(log), s->events, NULL, s->append.count, s->append.atomic, t) !=
            RF_OK) {
            violated(r, "a retry was refused", "");
            return;
        }
        for (uint32_t k = 0; k < s->append.count; k++) {
            if (t[k].status != RF_OK || t[k].offset != s->receipts[k].offset ||
                t[k].revision != s->receipts[k].revision || (t[k].offset < end) > t[k].duplicate)
                violated(r, "a retry got another receipt", "");
        }
    }
}

static void check_read(run *r, simdisk *disk, uint64_t at_least)
{
    rf_err err = {0};
    uint64_t end = 0;
    r->read = 0;
    if (kit_read_all(DIR, simdisk_io(disk), check_event, r, &end, &err) != RF_OK)
        violated(r, "reading failed", err.text);
    else if (r->read < at_least) {
        char text[100];
        snprintf(text, sizeof text, "%" PRIu64 " events of %" PRIu64, r->read, at_least);
        violated(r, "an acknowledged event is gone", text);
    } else if (r->read < r->count && r->read > 0 && r->group_of[r->read] != NULL &&
               r->group_of[r->read]->append.atomic &&
               r->group_of[r->read] == r->group_of[r->read - 1])
        violated(r, "an atomic group was torn", "");
}

static void keep_problem(void *arg, const char *line)
{
    violated(arg, "verify found damage", line);
}

/* Opens what the crash left, and puts it to the question. Returns the disk's record for a second
 * crash. */
static void check_state(run *r, simdisk *disk)
{
    rf_log_options o = {
        .io = simdisk_io(disk), .segment_bytes_max = 1 << 16, .block_bytes_target = 2048};
    rf_log *log = NULL;
    rf_err err = {0};
    r->states++;
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK) {
        violated(r, "a legal state was not opened", err.text);
        return;
    }
    rf_log_close(&log);
    check_read(r, disk, r->acked_next);
    uint64_t end = r->read;
    if (r->violation != NULL)
        return;
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK ||
        rf_log_domain(log, RF_STR("d"), 1, &err) != RF_OK) {
        violated(r, "a recovered log was not opened again", err.text);
    } else {
        check_retry(r, log, end);
    }
    rf_log_close(&log);
    rf_verify_report report;
    if (r->violation == NULL)
        check_read(r, disk, r->count);
    if (r->violation == NULL &&
        rf_log_verify(simdisk_io(disk), DIR, keep_problem, NULL, r, &report, &err) != RF_OK)
        violated(r, "verify failed", err.text);
}

/* Whatever was answered after the recovery must survive a second power cut: nothing may have been
 * taken for durable only because it could be read. */
static void check_second_cut(run *r, simdisk *disk)
{
    rf_log_options o = {.io = simdisk_io(disk), .segment_bytes_max = 1 << 16};
    rf_log *log = NULL;
    rf_err err = {0};
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK ||
        rf_log_domain(log, RF_STR("d"), 1, &err) != RF_OK) {
        rf_log_close(&log);
        return; /* check_state says so */
    }
    rf_position p;
    rf_log_position(log, &p);
    uint64_t told = rf_position_get(&p, RF_STR("d"), 0), before = r->acked_next;
    rf_position_clear(&p);
    kit_rng rng = {1};
    simcrash *c = simcrash_new(disk);
    while (simcrash_step(c))
        ;
    simdisk *after = simcrash_state(c, 0, &rng); /* all that is not synced is lost */
    simcrash_free(&c);
    rf_log_close(&log);
    r->acked_next = RF_MAX(before, told);
    check_state(r, after);
    r->acked_next = before;
    simdisk_free(&after);
}

/* A crash inside the recovery of a crash. */
static void check_recrash(run *r, simdisk *disk, kit_rng *rng)
{
    rf_log_options o = {.io = simdisk_io(disk), .segment_bytes_max = 1 << 16};
    rf_log *log = NULL;
    rf_err err = {0};
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK)
        return; /* check_state says so */
    rf_log_close(&log);
    simcrash *c = simcrash_new(disk);
    size_t stop = (size_t)kit_below(rng, simdisk_ops(disk) + 1);
    while (simcrash_at(c) < stop && simcrash_step(c))
        ;
    simdisk *again = simcrash_state(c, kit_next(rng), rng);
    simcrash_free(&c);
    check_state(r, again);
    simdisk_free(&again);
}

static void crash_everywhere(run *r, kit_rng *rng, unsigned per_point, int64_t until_us,
                             bool stop_at_first)
{
    simcrash *c = simcrash_new(r->disk);
    do {
        uint64_t variants = simcrash_variants(c);
        r->acked_next = 0;
        simdisk_marks(r->disk, simcrash_at(c), note_ack, r);
        for (unsigned i = 0; i < per_point; i++) {
            /* Named ones and random ones in turn. */
            uint64_t variant = i == 0 ? 0 : i % 2 == 0 ? kit_below(rng, variants) : variants;
            simdisk *disk = simcrash_state(c, variant, rng);
            simdisk *twin = kit_below(rng, 16) == 0 ? simcrash_state(c, variant, rng) : NULL;
            simdisk *killed = kit_below(rng, 16) == 0 ? simcrash_killed(c) : NULL;
            check_state(r, disk);
            if (twin != NULL && r->violation == NULL)
                check_recrash(r, twin, rng);
            if (killed != NULL && r->violation == NULL)
                check_second_cut(r, killed);
            simdisk_free(&killed);
            simdisk_free(&disk);
            simdisk_free(&twin);
            if (r->violation != NULL && stop_at_first) {
                simcrash_free(&c);
                return;
            }
            if (r->violation != NULL) {
                print_error("seed %" PRIu64 " crash at op %zu variant %" PRIu64 ": %s %s\n",
                            r->seed, simcrash_at(c), variant, r->violation, r->detail);
                r->violation = NULL;
            }
        }
    } while (rf_mono_us() < until_us && simcrash_step(c));
    simcrash_free(&c);
}

/* ---- tests
 * ---------------------------------------------------------------------------------------------------
 */

static int64_t seconds = 8;
static uint64_t first_seed = 1;

static void crashes__anywhere__keep_the_promises(void **state)
{
    (void)state;
    int64_t until = rf_mono_us() + seconds * 1000000;
    uint64_t states = 0, violations = 0, runs = 0, seed = first_seed;
    kit_rng rng = {first_seed};
    while (rf_mono_us() < until && violations == 0) {
        run r;
        assert_true(run_workload(&r, seed++));
        crash_everywhere(&r, &rng, 3, until, false);
        states += r.states;
        violations += r.violations;
        runs++;
        run_clear(&r);
    }
    printf("RESULT name=simdisk seed=%" PRIu64 " workloads=%" PRIu64 " states=%" PRIu64
           " violations=%" PRIu64 "\n",
           first_seed, runs, states, violations);
    assert_int_equal(violations, 0);
    assert_true(states > 100);
}

/* Looks for a violation with the bug in; does not return. Exit 1: found. */
static _Noreturn void hunt(unsigned bug, const char *name)
{
    const char *found = NULL;
    uint64_t states = 0;
    kit_rng rng = {first_seed};
    int64_t until = rf_mono_us() + 20 * 1000000;
    rfi_bugs = bug;
    for (uint64_t seed = first_seed; found == NULL && rf_mono_us() < until; seed++) {
        run r;
        if (!run_workload(&r, seed)) {
            found = "the workload itself failed";
        } else {
            crash_everywhere(&r, &rng, 4, until, true);
            found = r.violation;
        }
        states += r.states;
        run_clear(&r);
    }
    if (found != NULL)
        printf("RESULT name=simdisk-planted bug=%s states=%" PRIu64 " caught=%s\n", name, states,
               found);
    fflush(NULL);
    _exit(found != NULL ? 1 : 0);
}

static void planted_bugs__each__is_noticed(void **state)
{
    (void)state;
    const struct {
        unsigned bug;
        const char *name;
    } bugs[] = {
        {RFI_BUG_ACK_BEFORE_SYNC, "ack-before-sync"},
        {RFI_BUG_NO_SYNC, "no-sync"},
        {RFI_BUG_NO_DIR_SYNC, "no-directory-sync"},
        {RFI_BUG_SPLIT_ATOMIC, "atomic-group-split"},
        {RFI_BUG_FORGET_SEALED, "dedup-in-the-open-segment-only"},
        {RFI_BUG_NO_INDEX_REBUILD, "index-not-rebuilt"},
        {RFI_BUG_RENAME_BEFORE_SYNC, "segment-renamed-before-sync"},
        {RFI_BUG_NO_CUT_SYNC, "recovery-not-synced"},
    };
    unsigned caught = 0;
    for (size_t i = 0; i < RF_ARRAY_LEN(bugs); i++) {
        fflush(NULL);
        pid_t child = fork(); /* an assertion of the log's own may be what notices it */
        assert_true(child >= 0);
        if (child == 0)
            hunt(bugs[i].bug, bugs[i].name);
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        bool found = !(WIFEXITED(how) && WEXITSTATUS(how) == 0);
        if (!found || !WIFEXITED(how))
            printf("RESULT name=simdisk-planted bug=%s caught=%s\n", bugs[i].name,
                   found ? "by an assertion" : "NO");
        caught += found;
    }
    assert_int_equal(caught, RF_ARRAY_LEN(bugs));
}

int main(int argc, char **argv)
{
    rfi_merge_events_min = 0; /* crashes meet merges, too */
    if (argc > 1)
        seconds = strtol(argv[1], NULL, 10);
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crashes__anywhere__keep_the_promises),
        cmocka_unit_test(planted_bugs__each__is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
