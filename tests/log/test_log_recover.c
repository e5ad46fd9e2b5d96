/* What lies on disk when the log is opened: torn tails, damage, foreign and newer files, lost
 * indexes. */
#include "log/bugs_int.h"
#include "log/log.h"
#include "support/log_kit.h"
#include "support/simdisk.h"

#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SEGMENT "d/0/00000000000000000000.seg"

/* ---- files
 * ------------------------------------------------------------------------------------------ */

static char *path_of(const char *dir, const char *name)
{
    char *path = NULL;
    int n = asprintf(&path, "%s/%s", dir, name);
    RF_ASSERT(n > 0);
    return path;
}

static rf_buf read_file(const char *dir, const char *name)
{
    rf_err err = {0};
    rf_buf b;
    char *path = path_of(dir, name);
    rf_buf_init(&b, SIZE_MAX);
    assert_int_equal(rf_io_read_file(rf_io_posix(), path, 1u << 30, &b, &err), RF_OK);
    free(path);
    return b;
}

static void write_file(const char *dir, const char *name, const void *p, size_t n)
{
    char *path = path_of(dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
    free(path);
}

static void flip(const char *dir, const char *name, uint64_t at)
{
    rf_buf b = read_file(dir, name);
    assert_true(at < b.n);
    b.p[at] ^= 1;
    write_file(dir, name, b.p, b.n);
    rf_buf_clear(&b);
}

/* Files of the partition that end so, removed or damaged; returns how many. */
static size_t each_file(const char *dir, const char *suffix, void (*what)(const char *path))
{
    glob_t g;
    char pattern[512];
    snprintf(pattern, sizeof pattern, "%s/d/0/*%s", dir, suffix);
    size_t n = 0;
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (n = 0; n < g.gl_pathc; n++)
            what(g.gl_pathv[n]);
        globfree(&g);
    }
    return n;
}

static void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void damage_middle(const char *path)
{
    struct stat about;
    char c = 0;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    fstat(fd, &about);
    off_t at = 4096 + 40; /* the first section */
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c = (char)(c ^ 0x55);
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

/* ---- logs
 * --------------------------------------------------------------------------------------------- */

static void fill(const char *dir, uint64_t from, uint64_t to, uint32_t group,
                 const rf_log_options *o)
{
    rf_arena *a = rf_arena_new(1 << 16);
    rf_log *log = kit_open(dir, NULL, o);
    rf_event *e = calloc(group, sizeof *e);
    rf_receipt *r = calloc(group, sizeof *r);
    while (from < to) {
        uint32_t n = (uint32_t)RF_MIN((uint64_t)group, to - from);
        for (uint32_t i = 0; i < n; i++)
            e[i] = kit_event(a, from + i, 5);
        assert_int_equal(kit_append(kit_part(log), e, NULL, n, false, r), RF_OK);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(r[i].offset, from + i);
        from += n;
        rf_arena_reset(a);
    }
    rf_log_close(&log);
    rf_arena_free(&a);
    free(e);
    free(r);
}

typedef struct notices {
    unsigned count;
    char last[1024];
} notices;

static void note(void *arg, const char *line)
{
    notices *n = arg;
    n->count++;
    snprintf(n->last, sizeof n->last, "%s", line);
}

static rf_status try_open(const char *dir, rf_err *err, notices *n)
{
    rf_log *log = NULL;
    rf_log_options o = {.notice = n == NULL ? NULL : note, .notice_arg = n};
    rf_status st = rf_log_open(dir, &o, &log, err);
    rf_log_close(&log);
    return st;
}

static uint64_t events_in(const char *dir)
{
    rf_err err = {0};
    uint64_t end = 0;
    assert_int_equal(kit_read_all(dir, NULL, NULL, NULL, &end, &err), RF_OK);
    return end;
}

/* Everything sent again is a duplicate at its place. */
static void assert_resend(const char *dir, uint64_t events, const rf_log_options *o)
{
    rf_arena *a = rf_arena_new(1 << 16);
    rf_log *log = kit_open(dir, NULL, o);
    for (uint64_t n = 0; n < events; n++) {
        rf_event e = kit_event(a, n, 5);
        rf_receipt r = kit_append_one(kit_part(log), &e);
        assert_true(r.duplicate);
        assert_int_equal(r.offset, n);
        assert_int_equal(r.revision, n / 5);
    }
    rf_log_close(&log);
    rf_arena_free(&a);
}

/* The bytes of the last block with events; the marker after it is cut off. */
static void last_block(const rf_buf *seg, size_t *from, size_t *to)
{
    size_t at = 4096;
    *from = *to = at;
    while (at + 168 <= seg->n && memcmp(seg->p + at, "RFB1", 4) == 0) {
        uint32_t bytes = rf_le32(seg->p + at + 8), count = rf_le32(seg->p + at + 20);
        if (count > 0) {
            *from = at;
            *to = at + bytes;
        }
        at += bytes;
    }
}

/* ---- tests
 * -----------------------------------------------------------------------------------------------
 */

/* PROVES: P3 P6 */
static void recovery__every_torn_length__cuts_the_last_block_only(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    fill(dir, 0, 20, 5, NULL);
    rf_buf seg = read_file(dir, SEGMENT);
    size_t from = 0, to = 0;
    last_block(&seg, &from, &to);
    assert_true(to > from);
    for (size_t n = from; n < to; n++) {
        rf_err err = {0};
        notices told = {0};
        char *torn = calloc(1, seg.n);
        memcpy(torn, seg.p, n);
        bool same = memcmp(torn, seg.p, to) == 0; /* only zeros were torn off */
        /* With the preallocated zeros behind, and with the file cut there. */
        for (int cut = 0; cut < 2; cut++) {
            write_file(dir, SEGMENT, torn, cut ? n : seg.n);
            if (try_open(dir, &err, &told) != RF_OK)
                fail_msg("torn at %zu: %s", n, err.text);
            assert_int_equal(events_in(dir), same && !cut ? 20 : 15);
        }
        assert_true(n == from || same || told.count > 0);
        free(torn);
    }
    rf_verify_report report;
    rf_err err = {0};
    assert_int_equal(rf_log_verify(NULL, dir, NULL, NULL, NULL, &report, &err), RF_OK);
    assert_int_equal(report.problems, 0);
    rf_buf_clear(&seg);
    kit_dir_remove(&dir);
}

/* PROVES: P8 */
static void recovery__bad_block_below_the_durable_point__is_refused_by_name(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    fill(dir, 0, 20, 5, NULL);
    rf_buf seg = read_file(dir, SEGMENT);
    size_t from = 0, to = 0;
    last_block(&seg, &from, &to);
    const size_t places[] = {4096, 4096 + 30, 4096 + 200, from - 1, from + 5, to - 9};
    for (size_t i = 0; i < RF_ARRAY_LEN(places); i++) {
        rf_err err = {0};
        write_file(dir, SEGMENT, seg.p, seg.n);
        flip(dir, SEGMENT, places[i]);
        /* The marker that closing wrote makes even the last block durable. */
        if (try_open(dir, &err, NULL) != RF_ECORRUPT)
            fail_msg("flip at %zu: %s", places[i], err.text);
        assert_non_null(strstr(err.text, "00000000000000000000.seg"));
        assert_non_null(strstr(err.text, "block at byte"));
        rf_buf now = read_file(dir, SEGMENT); /* nothing was repaired away */
        assert_int_equal(now.n, seg.n);
        rf_buf_clear(&now);
        rfi_bugs = RFI_BUG_CUT_ANY_BAD_BLOCK; /* planted: the test would notice */
        assert_int_equal(try_open(dir, &err, NULL), RF_OK);
        rfi_bugs = 0;
    }
    rf_buf_clear(&seg);
    kit_dir_remove(&dir);
}

static void recovery__damaged_header__is_corrupt_and_newer__is_unsupported(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    rf_err err = {0};
    fill(dir, 0, 5, 5, NULL);
    rf_buf seg = read_file(dir, SEGMENT);
    flip(dir, SEGMENT, 40);
    assert_int_equal(try_open(dir, &err, NULL), RF_ECORRUPT);
    const uint32_t at[] = {8, 12}; /* version; features */
    for (size_t i = 0; i < RF_ARRAY_LEN(at); i++) {
        uint8_t page[4096];
        memcpy(page, seg.p, sizeof page);
        rf_put_le32(page + at[i], 2);
        rf_put_le32(page + 4092, rf_crc32c(0, page, 4092));
        rf_buf newer = read_file(dir, SEGMENT);
        memcpy(newer.p, page, sizeof page);
        write_file(dir, SEGMENT, newer.p, newer.n);
        assert_int_equal(try_open(dir, &err, NULL), RF_EUNSUPPORTED);
        rf_buf_clear(&newer);
    }
    write_file(dir, SEGMENT, seg.p, seg.n);
    assert_int_equal(try_open(dir, &err, NULL), RF_OK);
    rf_buf_clear(&seg);
    kit_dir_remove(&dir);
}

static void recovery__foreign_files__are_left_alone(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    rf_err err = {0};
    fill(dir, 0, 5, 5, NULL);
    write_file(dir, "README", "hello", 5);
    write_file(dir, "notes", "hello", 5); /* a valid domain name, but a file */
    write_file(dir, "d/0/notes.txt", "hello", 5);
    write_file(dir, "d/0/00000000000000000009.tmp", "unfinished", 10);
    char *folder = path_of(dir, "empty");
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(try_open(dir, &err, NULL), RF_OK);
    assert_int_equal(events_in(dir), 5);
    rf_buf b = read_file(dir, "d/0/notes.txt");
    assert_int_equal(b.n, 5);
    rf_buf_clear(&b);
    char *leftover = path_of(dir, "d/0/00000000000000000009.tmp");
    assert_int_equal(access(leftover, F_OK), -1);
    free(leftover);
    free(folder);
    kit_dir_remove(&dir);
}

static void recovery__lost_small_files__are_refused_and_one_bad_copy__is_repaired(void **state)
{
    (void)state;
    const char *const names[] = {"meta", "d/domain"};
    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++) {
        char *dir = kit_dir_make();
        rf_err err = {0};
        fill(dir, 0, 5, 5, NULL);
        rf_buf whole = read_file(dir, names[i]);
        for (size_t copy = 0; copy < 2; copy++) {
            rf_verify_report report;
            flip(dir, names[i], copy * 4096 + 20);
            assert_int_equal(rf_log_verify(NULL, dir, NULL, NULL, NULL, &report, &err), RF_OK);
            assert_int_equal(report.problems, 1);
            assert_int_equal(try_open(dir, &err, NULL), RF_OK);
            assert_int_equal(rf_log_verify(NULL, dir, NULL, NULL, NULL, &report, &err), RF_OK);
            assert_int_equal(report.problems, 0);
        }
        flip(dir, names[i], 20);
        flip(dir, names[i], 4096 + 20);
        assert_int_equal(try_open(dir, &err, NULL), RF_ECORRUPT);
        char *path = path_of(dir, names[i]);
        unlink(path);
        free(path);
        assert_int_equal(try_open(dir, &err, NULL), RF_ECORRUPT);
        rf_buf_clear(&whole);
        kit_dir_remove(&dir);
    }
}

static const rf_log_options SMALL = {
    .segment_bytes_max = 1 << 16, .seal_on_close = true, .block_bytes_target = 4096};

/* PROVES: P4 */
static void indexes__deleted_or_damaged__are_rebuilt(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    fill(dir, 0, 3000, 50, &SMALL);
    fill(dir, 3000, 6000, 50, &SMALL);
    assert_true(each_file(dir, ".key", remove_file) >= 2);
    assert_resend(dir, 6000, &SMALL);
    assert_true(each_file(dir, ".idx", remove_file) >= 2);
    assert_resend(dir, 6000, &SMALL);
    assert_true(each_file(dir, ".key", damage_middle) >= 2); /* found while it is used */
    assert_resend(dir, 6000, &SMALL);
    assert_true(each_file(dir, ".idx", damage_middle) >= 2);
    rf_verify_report report;
    rf_err err = {0};
    assert_int_equal(rf_log_verify(NULL, dir, NULL, NULL, NULL, &report, &err), RF_OK);
    assert_true(report.problems > 0);
    assert_int_equal(events_in(dir), 6000); /* a view walks instead */
    kit_dir_remove(&dir);
}

static void indexes__damage_unnoticed__is_what_the_page_check_is_for(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    fill(dir, 0, 3000, 50, &SMALL);
    each_file(dir, ".key", damage_middle);
    rfi_bugs = RFI_BUG_NO_PAGE_CHECK;
    rf_arena *a = rf_arena_new(1 << 16);
    rf_log *log = kit_open(dir, NULL, &SMALL);
    unsigned forgotten = 0;
    for (uint64_t n = 0; n < 3000; n++) {
        rf_event e = kit_event(a, n, 5);
        rf_receipt r = {0};
        if (kit_append(kit_part(log), &e, NULL, 1, false, &r) == RF_OK)
            forgotten += !r.duplicate;
    }
    rf_log_close(&log);
    rfi_bugs = 0;
    rf_arena_free(&a);
    kit_dir_remove(&dir);
    assert_true(forgotten > 0); /* one flipped byte in a filter forgets ids */
}

static void segments__one_missing_in_the_middle__is_corrupt(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    rf_err err = {0};
    fill(dir, 0, 6000, 50, &SMALL);
    glob_t g;
    char pattern[512];
    snprintf(pattern, sizeof pattern, "%s/d/0/*.seg", dir);
    assert_int_equal(glob(pattern, 0, NULL, &g), 0);
    assert_true(g.gl_pathc >= 3);
    unlink(g.gl_pathv[1]);
    globfree(&g);
    assert_int_equal(try_open(dir, &err, NULL), RF_ECORRUPT);
    assert_non_null(strstr(err.text, "missing"));
    rf_verify_report report;
    assert_int_equal(rf_log_verify(NULL, dir, NULL, NULL, NULL, &report, &err), RF_OK);
    assert_true(report.problems > 0);
    kit_dir_remove(&dir);
}

/* ---- every bit
 * -------------------------------------------------------------------------------------------- */

typedef struct collected {
    rf_hash128 hash;
    uint64_t count;
} collected;

static void collect(void *arg, uint64_t offset, uint64_t revision, const rf_event *e)
{
    collected *c = arg;
    rf_buf b;
    rf_buf_init(&b, SIZE_MAX);
    rf_event_encode(e, &b);
    rf_buf_addf(&b, "%" PRIu64 " %" PRIu64 " %" PRIu64, offset, revision, c->hash.lo);
    c->hash = rf_hash_fast(b.p, b.n, c->hash.hi);
    c->count++;
    rf_buf_clear(&b);
}

static collected collect_all(const char *dir)
{
    collected c = {0};
    rf_err err = {0};
    uint64_t end = 0;
    (void)!kit_read_all(dir, NULL, collect, &c, &end, &err);
    return c;
}

/* Flips a byte in place without reading the whole file. */
static void flip_bit(int fd, off_t at, int bit)
{
    uint8_t c = 0;
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= (uint8_t)(1 << bit);
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
}

/* PROVES: P8. Every bit of every file: verify reports it, or what is read is the same. */
static void bitflip__every_bit__is_reported_or_harmless(void **state)
{
    (void)state;
    char *dir = kit_dir_make();
    fill(dir, 0, 700, 70, &SMALL);
    fill(dir, 700, 710, 5, NULL); /* and an open segment */
    collected truth = collect_all(dir);
    assert_int_equal(truth.count, 710);
    glob_t g;
    char pattern[512];
    uint64_t flips = 0, reported = 0, harmless = 0, violations = 0;
    kit_rng rng = {3};
    snprintf(pattern, sizeof pattern, "%s/d/0/*", dir);
    assert_int_equal(glob(pattern, 0, NULL, &g), 0);
    snprintf(pattern, sizeof pattern, "%s/meta", dir);
    glob(pattern, GLOB_APPEND, NULL, &g);
    snprintf(pattern, sizeof pattern, "%s/d/domain", dir);
    glob(pattern, GLOB_APPEND, NULL, &g);
    for (size_t f = 0; f < g.gl_pathc; f++) {
        struct stat about;
        int fd = open(g.gl_pathv[f], O_RDWR);
        assert_true(fd >= 0 && fstat(fd, &about) == 0);
        /* Every 97th byte, one of its bits; the long form is every bit. */
        off_t step = getenv("RF_BITFLIP_ALL") != NULL ? 1 : RF_MIN(about.st_size / 300 + 1, 997);
        for (off_t at = 0; at < about.st_size; at += step) {
            int bit = (int)kit_below(&rng, 8);
            rf_verify_report report;
            rf_err err = {0};
            flip_bit(fd, at, bit);
            flips++;
            assert_int_equal(rf_log_verify(NULL, dir, NULL, NULL, NULL, &report, &err), RF_OK);
            if (report.problems > 0) {
                reported++;
            } else {
                collected now = collect_all(dir);
                if (now.count == truth.count && rf_hash_eq(now.hash, truth.hash))
                    harmless++;
                else {
                    violations++;
                    print_error("%s byte %lld bit %d: %" PRIu64 " events\n", g.gl_pathv[f],
                                (long long)at, bit, now.count);
                }
            }
            flip_bit(fd, at, bit);
        }
        close(fd);
    }
    globfree(&g);
    printf("RESULT name=bitflip seed=3 states=%" PRIu64 " reported=%" PRIu64 " harmless=%" PRIu64
           " violations=%" PRIu64 "\n",
           flips, reported, harmless, violations);
    kit_dir_remove(&dir);
    assert_int_equal(violations, 0);
    assert_true(reported > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovery__every_torn_length__cuts_the_last_block_only),
        cmocka_unit_test(recovery__bad_block_below_the_durable_point__is_refused_by_name),
        cmocka_unit_test(recovery__damaged_header__is_corrupt_and_newer__is_unsupported),
        cmocka_unit_test(recovery__foreign_files__are_left_alone),
        cmocka_unit_test(recovery__lost_small_files__are_refused_and_one_bad_copy__is_repaired),
        cmocka_unit_test(indexes__deleted_or_damaged__are_rebuilt),
        cmocka_unit_test(indexes__damage_unnoticed__is_what_the_page_check_is_for),
        cmocka_unit_test(segments__one_missing_in_the_middle__is_corrupt),
        cmocka_unit_test(bitflip__every_bit__is_reported_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
