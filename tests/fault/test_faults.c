/*
 * Every call to the disk fails in turn: the k-th of each kind, for k = 0, 1, .. until none is left,
 * with each errno, once and for ever, writes also halfway. No acknowledgement may be wrong, "not
 * stored" must mean that (P9), nothing may crash, and with the disk well again everything goes on.
 *
 * PROVES: P9 P1 P5
 */
#include "log/bugs_int.h"
#include "log/log.h"
#include "log/merge_int.h"
#include "support/faulty.h"
#include "support/log_kit.h"
#include "support/simdisk.h"

#include <errno.h>
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
#define GROUPS 14
#define GROUP 3

typedef enum fate { FATE_UNSENT, FATE_ACKED, FATE_REFUSED, FATE_UNKNOWN } fate;

typedef struct trial {
    rf_arena *arena;
    rf_event events[GROUPS * GROUP];
    fate fates[GROUPS * GROUP];
    rf_receipt receipts[GROUPS * GROUP];
    bool seen[GROUPS * GROUP];
    const char *violation;
    uint64_t violations;
} trial;

static void violated(trial *t, const char *what)
{
    t->violations++;
    t->violation = what;
}

static void make_events(trial *t)
{
    t->arena = rf_arena_new(1 << 16);
    kit_rng rng = {7};
    for (uint64_t i = 0; i < GROUPS * GROUP; i++) {
        t->events[i] = kit_event(t->arena, i, 3);
        size_t n = 9000; /* three groups and a half a segment */
        char *p = rf_arena_alloc(t->arena, n);
        for (size_t k = 0; k < n; k++)
            p[k] = (char)('a' + kit_below(&rng, 26));
        t->events[i].extensions = (rf_str){p, n};
    }
}

static fate fate_of(rf_status st)
{
    switch (st) {
    case RF_OK:
        return FATE_ACKED;
    case RF_EFULL:
    case RF_ENOMEM:
        return FATE_REFUSED;
    default:
        return FATE_UNKNOWN;
    }
}

/* Opens, appends what has no answer yet, closes. */
static void live(trial *t, rf_io *io, size_t from, size_t to)
{
    rf_log_options o = {
        .io = io, .segment_bytes_max = 1 << 16, .block_bytes_target = 4096, .seal_on_close = true};
    rf_log *log = NULL;
    rf_err err = {0};
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK)
        return;
    if (rf_log_domain(log, RF_STR("d"), 1, &err) == RF_OK) {
        for (size_t g = from; g < to; g++) {
            rf_receipt *r = &t->receipts[g * GROUP];
            rf_status st = kit_append(kit_part(log), &t->events[g * GROUP], NULL, GROUP, true, r);
            for (size_t i = g * GROUP; i < (g + 1) * GROUP; i++) {
                if (t->fates[i] != FATE_ACKED)
                    t->fates[i] = fate_of(st);
            }
        }
    }
    rf_log_close(&log);
}

static void see(void *arg, uint64_t offset, uint64_t revision, const rf_event *e)
{
    trial *t = arg;
    (void)revision;
    for (size_t i = 0; i < GROUPS * GROUP; i++) {
        if (!rf_str_eq(e->id, t->events[i].id))
            continue;
        if (t->seen[i])
            violated(t, "an event is stored twice");
        t->seen[i] = true;
        if (!kit_event_equal(e, &t->events[i]))
            violated(t, "an event differs from what was sent");
        if (t->fates[i] == FATE_ACKED && t->receipts[i].offset != offset)
            violated(t, "an event is not where its receipt says");
        return;
    }
    violated(t, "an event was never sent");
}

static void check_fates(trial *t, rf_io *io)
{
    rf_err err = {0};
    uint64_t end = 0;
    memset(t->seen, 0, sizeof t->seen);
    rf_status st = kit_read_all(DIR, io, see, t, &end, &err);
    if (st != RF_OK && st != RF_ENOTFOUND)
        violated(t, "reading failed");
    for (size_t i = 0; i < GROUPS * GROUP; i++) {
        if (t->fates[i] == FATE_ACKED && !t->seen[i])
            violated(t, "an acknowledged event is gone");
        if (t->fates[i] == FATE_REFUSED && t->seen[i])
            violated(t, "an event was stored that was said not to be");
    }
}

static void show(void *arg, const char *line)
{
    (void)arg;
    print_error("%s\n", line);
}

/* With the disk well again: a recovery, a retry of everything, and all is there once. */
static void check_healed(trial *t, rf_io *io)
{
    rf_log_options o = {.io = io, .segment_bytes_max = 1 << 16, .block_bytes_target = 4096};
    rf_log *log = NULL;
    rf_err err = {0};
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK) {
        print_error("%s\n", err.text);
        violated(t, "the healed log was not opened");
        return;
    }
    rf_log_close(&log);
    check_fates(t, io);
    live(t, io, 0, GROUPS);
    for (size_t i = 0; i < GROUPS * GROUP; i++) {
        if (t->fates[i] != FATE_ACKED)
            violated(t, "the healed log refused an event");
    }
    check_fates(t, io);
    rf_verify_report report;
    if (rf_log_verify(io, DIR, rfi_bugs == 0 ? show : NULL, NULL, NULL, &report, &err) != RF_OK ||
        report.problems > 0)
        violated(t, "verify found damage");
}

typedef struct plan {
    fault_kind kind;
    int os_errno;
    bool forever;
    int part;
} plan;

/* False when the k-th call does not exist. */
static bool try_fault(trial *t, const plan *p, uint64_t k)
{
    simdisk *disk = simdisk_new();
    faulty *f = faulty_new(simdisk_io(disk));
    memset(t->fates, 0, sizeof t->fates);
    t->violation = NULL;
    faulty_arm(f, p->kind, k, p->os_errno, p->forever, p->part);
    live(t, faulty_io(f), 0, GROUPS / 2);
    live(t, faulty_io(f), GROUPS / 2, GROUPS);
    bool fired = faulty_fired(f);
    faulty_disarm(f);
    check_healed(t, faulty_io(f));
    if (t->violation != NULL && rfi_bugs == 0)
        print_error("%s %d call %" PRIu64 "%s part %d: %s\n", faulty_kind_name(p->kind),
                    p->os_errno, k, p->forever ? " and later" : "", p->part, t->violation);
    faulty_free(&f);
    simdisk_free(&disk);
    return fired;
}

static uint64_t try_all(trial *t, bool stop_at_first)
{
    static const int ERRNOS[] = {EIO, ENOSPC, EMFILE};
    uint64_t tries = 0;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        for (size_t e = 0; e < RF_ARRAY_LEN(ERRNOS); e++) {
            for (int forever = 0; forever < 2; forever++) {
                for (int part = 0; part < (kind == FAULT_PWRITE ? 3 : 1); part++) {
                    plan p = {(fault_kind)kind, ERRNOS[e], forever, part};
                    uint64_t k = 0;
                    while (try_fault(t, &p, k++)) {
                        tries++;
                        if (t->violations > 0 && stop_at_first)
                            return tries;
                    }
                }
            }
        }
    }
    return tries;
}

static void faults__every_call__no_wrong_answer(void **state)
{
    (void)state;
    trial t = {0};
    make_events(&t);
    uint64_t tries = try_all(&t, false);
    printf("RESULT name=faults seed=0 states=%" PRIu64 " violations=%" PRIu64 "\n", tries,
           t.violations);
    rf_arena_free(&t.arena);
    assert_int_equal(t.violations, 0);
    assert_true(tries > 500);
}

static void planted_bugs__each__is_noticed(void **state)
{
    (void)state;
    const struct {
        unsigned bug;
        const char *name;
    } bugs[] = {
        {RFI_BUG_NO_UNDO, "ids-of-a-failed-write-stay"},
        {RFI_BUG_NO_NEUTRALISE, "blocks-of-a-failed-write-stay"},
    };
    unsigned caught = 0;
    for (size_t i = 0; i < RF_ARRAY_LEN(bugs); i++) {
        bool noticed = false;
        fflush(NULL);
        pid_t child = fork(); /* an assertion of the log's own may be what notices it */
        assert_true(child >= 0);
        if (child == 0) {
            trial t = {0};
            make_events(&t);
            rfi_bugs = bugs[i].bug;
            try_all(&t, true);
            _exit(t.violations > 0 ? 1 : 0);
        }
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        noticed = !(WIFEXITED(how) && WEXITSTATUS(how) == 0);
        printf("RESULT name=faults-planted bug=%s caught=%s\n", bugs[i].name,
               !noticed         ? "NO"
               : WIFEXITED(how) ? "by the oracle"
                                : "by an assertion");
        caught += noticed;
    }
    assert_int_equal(caught, RF_ARRAY_LEN(bugs));
}

/* ---- a failed sync, then a power cut
 * ---------------------------------------------------------------------- */

/*
 * The sync of a commit fails; what was written is still in the page cache, but clean. Whatever the
 * log says after that and after a restart must survive a power cut.
 */
static const char *failed_sync_then_cut(unsigned skip, bool *fired)
{
    trial t = {0};
    make_events(&t);
    simdisk *disk = simdisk_new();
    live(&t, simdisk_io(disk), 0, 2);
    simdisk_fail_syncs(disk, skip, 1);
    live(&t, simdisk_io(disk), 2, 6);
    *fired = false;
    for (size_t i = 0; i < 6 * GROUP; i++)
        *fired |= t.fates[i] == FATE_UNKNOWN;
    simdisk_fail_syncs(disk, 0, 0);
    live(&t, simdisk_io(disk), 0, 6); /* the retry settles it */
    simcrash *c = simcrash_new(disk);
    while (simcrash_step(c))
        ;
    kit_rng rng = {1};
    simdisk *after = simcrash_state(c, 0, &rng);
    simcrash_free(&c);
    rf_log_options o = {.io = simdisk_io(after), .segment_bytes_max = 1 << 16};
    rf_log *log = NULL;
    rf_err err = {0};
    if (rf_log_open(DIR, &o, &log, &err) != RF_OK)
        violated(&t, "the log was not opened after the power cut");
    rf_log_close(&log);
    if (t.violation == NULL)
        check_fates(&t, simdisk_io(after));
    simdisk_free(&after);
    simdisk_free(&disk);
    rf_arena_free(&t.arena);
    return t.violation;
}

static const char *failed_syncs(unsigned *fired)
{
    const char *violation = NULL;
    *fired = 0;
    for (unsigned skip = 0; skip < 24 && violation == NULL; skip++) {
        bool one = false;
        violation = failed_sync_then_cut(skip, &one);
        *fired += one;
    }
    return violation;
}

static void failed_sync__then_power_cut__keeps_what_was_acked_later(void **state)
{
    (void)state;
    unsigned fired = 0;
    const char *violation = failed_syncs(&fired);
    printf("RESULT name=failed-sync seed=0 states=%u violations=%d\n", fired, violation != NULL);
    if (violation != NULL)
        fail_msg("%s", violation);
    assert_true(fired > 0);
    const unsigned bugs[] = {RFI_BUG_RETRY_SYNC, RFI_BUG_NO_REWRITE};
    for (size_t i = 0; i < RF_ARRAY_LEN(bugs); i++) {
        rfi_bugs = bugs[i];
        violation = failed_syncs(&fired);
        rfi_bugs = 0;
        printf("RESULT name=failed-sync-planted bug=%s caught=%s\n",
               bugs[i] == RFI_BUG_RETRY_SYNC ? "sync-retried" : "page-cache-believed",
               violation != NULL ? violation : "NO");
        assert_non_null(violation);
    }
}

int main(void)
{
    rfi_merge_events_min = 0; /* faults meet merges, too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults__every_call__no_wrong_answer),
        cmocka_unit_test(planted_bugs__each__is_noticed),
        cmocka_unit_test(failed_sync__then_power_cut__keeps_what_was_acked_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
