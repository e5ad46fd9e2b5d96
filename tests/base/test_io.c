/*
 * rf_io_posix on a real directory, and the recipes of io.c on a recording rf_io that can fail at
 * any call.
 */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[256];

static const char *in_dir(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/refold-io-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static rf_file *must_open(const char *name, int flags)
{
    rf_err err = {0};
    rf_file *f = NULL;
    rf_io *io = rf_io_posix();
    if (io->open(io, in_dir(name), flags, &f, &err) != RF_OK)
        fail_msg("%s", err.text);
    return f;
}

/* ---- rf_io_posix ---------------------------------------------------------------------------- */

static void open__flags__create_exclude_and_miss(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    rf_file *f = (rf_file *)1;
    assert_int_equal(io->open(io, in_dir("none"), RF_IO_READ, &f, &err), RF_ENOTFOUND);
    assert_null(f);
    assert_non_null(strstr(err.text, "none"));
    f = must_open("new", RF_IO_WRITE | RF_IO_CREATE | RF_IO_EXCL);
    io->close(io, &f);
    assert_null(f);
    io->close(io, &f);
    assert_int_equal(io->open(io, in_dir("new"), RF_IO_WRITE | RF_IO_CREATE | RF_IO_EXCL, &f, &err),
                     RF_ECONFLICT);
    assert_int_equal(err.status, RF_ECONFLICT);
    f = must_open("new", RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE);
    io->close(io, &f);
}

static void open__any__is_closed_on_exec(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_file *f = must_open("exec", RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE);
    int checked = 0;
    for (int fd = 3; fd < 64; fd++) {
        char link[64], target[512];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (strstr(target, "/exec") == NULL)
            continue;
        assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        checked++;
    }
    assert_int_equal(checked, 1);
    io->close(io, &f);
}

static void pwrite_pread__at_offsets__holes_and_the_end(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    char back[32];
    size_t got = 0;
    uint64_t size = 0;
    rf_file *f = must_open("rw", RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE);
    assert_int_equal(io->pwrite(io, f, "hello", 5, 10, &err), RF_OK);
    assert_int_equal(io->pwrite(io, f, "", 0, 100, &err), RF_OK);
    assert_int_equal(io->sync(io, f, &err), RF_OK);
    assert_int_equal(io->size(io, f, &size, &err), RF_OK);
    assert_int_equal(size, 15);
    assert_int_equal(io->pread(io, f, back, sizeof back, 8, &got, &err), RF_OK);
    assert_int_equal(got, 7);
    assert_memory_equal(back, "\0\0hello", 7);
    assert_int_equal(io->pread(io, f, back, sizeof back, 15, &got, &err), RF_OK);
    assert_int_equal(got, 0);
    assert_int_equal(io->truncate(io, f, 12, &err), RF_OK);
    assert_int_equal(io->size(io, f, &size, &err), RF_OK);
    assert_int_equal(size, 12);
    io->close(io, &f);
}

static void pwrite__read_only_file__says_which(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    rf_file *f = must_open("ro", RF_IO_WRITE | RF_IO_CREATE);
    io->close(io, &f);
    f = must_open("ro", RF_IO_READ);
    assert_int_equal(io->pwrite(io, f, "x", 1, 0, &err), RF_EIO);
    assert_int_equal(err.os_errno, EBADF);
    assert_non_null(strstr(err.text, "/ro"));
    io->close(io, &f);
}

/* In a child: the limit on file size would else hold for all tests after. */
static int write_over_the_limit(void)
{
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    struct rlimit limit = {8192, 8192};
    char block[5000];
    memset(block, 'x', sizeof block);
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 10;
    rf_file *f = NULL;
    if (io->open(io, in_dir("limit"), RF_IO_WRITE | RF_IO_CREATE, &f, &err) != RF_OK)
        return 11;
    if (io->pwrite(io, f, block, sizeof block, 0, &err) != RF_OK)
        return 12;
    /* The second one is cut short by the kernel first, then fails. */
    if (io->pwrite(io, f, block, sizeof block, sizeof block, &err) != RF_EFULL)
        return 13;
    if (err.os_errno != EFBIG)
        return 14;
    if (io->allocate(io, f, 100000, &err) != RF_EFULL)
        return 15;
    io->close(io, &f);
    return 0;
}

static void pwrite__no_space__is_full_after_a_short_write(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(write_over_the_limit());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct stat about;
    assert_int_equal(stat(in_dir("limit"), &about), 0);
    assert_int_equal(about.st_size, 8192);
}

static void allocate__space__reads_as_zeros_and_keeps_what_is_there(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    uint64_t size = 0;
    size_t got = 0;
    static char back[200000];
    rf_file *f = must_open("alloc", RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE);
    assert_int_equal(io->pwrite(io, f, "keep", 4, 0, &err), RF_OK);
    assert_int_equal(io->allocate(io, f, sizeof back, &err), RF_OK);
    assert_int_equal(io->size(io, f, &size, &err), RF_OK);
    assert_int_equal(size, sizeof back);
    assert_int_equal(io->pread(io, f, back, sizeof back, 0, &got, &err), RF_OK);
    assert_int_equal(got, sizeof back);
    assert_memory_equal(back, "keep", 4);
    for (size_t i = 4; i < sizeof back; i++)
        assert_int_equal(back[i], 0);
    assert_int_equal(io->allocate(io, f, 10, &err), RF_OK); /* never shrinks */
    assert_int_equal(io->allocate(io, f, 0, &err), RF_OK);
    assert_int_equal(io->size(io, f, &size, &err), RF_OK);
    assert_int_equal(size, sizeof back);
    io->close(io, &f);
}

static void map__bytes__are_the_files_and_follow_writes(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    const void *view = NULL, *empty = NULL;
    rf_file *f = must_open("map", RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE);
    assert_int_equal(io->pwrite(io, f, "0123456789", 10, 0, &err), RF_OK);
    assert_int_equal(io->map(io, f, 10, &view, &err), RF_OK);
    assert_memory_equal(view, "0123456789", 10);
    assert_int_equal(io->pwrite(io, f, "ab", 2, 4, &err), RF_OK);
    assert_memory_equal(view, "0123ab6789", 10);
    io->close(io, &f); /* the view outlives the file */
    assert_memory_equal(view, "0123ab6789", 10);
    io->unmap(io, view, 10);

    f = must_open("map", RF_IO_READ);
    assert_int_equal(io->map(io, f, 0, &empty, &err), RF_OK);
    assert_non_null(empty);
    io->unmap(io, empty, 0);
    assert_int_equal(io->map(io, f, 11, &view, &err), RF_ECORRUPT);
    assert_null(view);
    io->unmap(io, NULL, 11);
    io->close(io, &f);
}

static void lock__second_open__is_busy_until_the_first_closes(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    rf_file *a = must_open("LOCK", RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE);
    rf_file *b = must_open("LOCK", RF_IO_READ | RF_IO_WRITE);
    assert_int_equal(io->lock(io, a, &err), RF_OK);
    assert_int_equal(io->lock(io, b, &err), RF_EBUSY);
    assert_non_null(strstr(err.text, "LOCK"));
    io->close(io, &a);
    assert_int_equal(io->lock(io, b, &err), RF_OK);
    io->close(io, &b);
}

static void count_name(void *arg, const char *name)
{
    assert_string_not_equal(name, ".");
    assert_string_not_equal(name, "..");
    if (rf_str_starts(rf_str_from(name), RF_STR("entry-")))
        ++*(int *)arg;
}

static void list__directory__every_entry_once(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    int count = 0;
    assert_int_equal(io->mkdir(io, in_dir("list"), &err), RF_OK);
    for (int i = 0; i < 300; i++) {
        char name[64];
        snprintf(name, sizeof name, "list/entry-%d", i);
        rf_file *f = must_open(name, RF_IO_WRITE | RF_IO_CREATE);
        io->close(io, &f);
    }
    assert_int_equal(io->list(io, in_dir("list"), count_name, &count, &err), RF_OK);
    assert_int_equal(count, 300);
    assert_int_equal(io->list(io, in_dir("no-such"), count_name, &count, &err), RF_ENOTFOUND);
}

static void mkdir__existing__is_fine_only_for_a_directory(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    assert_int_equal(io->mkdir(io, in_dir("d"), &err), RF_OK);
    assert_int_equal(io->mkdir(io, in_dir("d"), &err), RF_OK);
    assert_int_equal(io->mkdir(io, in_dir("x/y"), &err), RF_ENOTFOUND);
    rf_file *f = must_open("file", RF_IO_WRITE | RF_IO_CREATE);
    io->close(io, &f);
    assert_int_equal(io->mkdir(io, in_dir("file"), &err), RF_EIO);
    assert_int_equal(err.os_errno, ENOTDIR);
    assert_int_equal(io->sync_dir(io, in_dir("d"), &err), RF_OK);
    assert_int_equal(io->sync_dir(io, in_dir("nope"), &err), RF_ENOTFOUND);
    assert_int_equal(io->sync_dir(io, in_dir("file"), &err), RF_EIO);
}

static void rename_unlink__files__move_and_go(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    rf_file *f = must_open("from", RF_IO_WRITE | RF_IO_CREATE);
    io->close(io, &f);
    assert_int_equal(io->rename(io, in_dir("from"), in_dir("to"), &err), RF_OK);
    assert_int_equal(io->rename(io, in_dir("from"), in_dir("to"), &err), RF_ENOTFOUND);
    assert_int_equal(io->unlink(io, in_dir("to"), &err), RF_OK);
    assert_int_equal(io->unlink(io, in_dir("to"), &err), RF_ENOTFOUND);
}

/* ---- whole files ---------------------------------------------------------------------------- */

static void write_then_read_file__sizes__round_trip(void **state)
{
    (void)state;
    static char bytes[300000];
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    rf_buf back;
    static const size_t SIZES[] = {300000, 0, 1, 65535, 65536, 65537};
    rf_buf_init(&back, (size_t)1 << 20);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    for (size_t i = 0; i < RF_ARRAY_LEN(SIZES); i++) {
        rf_str in = {bytes, SIZES[i]};
        assert_int_equal(rf_io_write_file(io, in_dir("whole"), in, &err), RF_OK);
        assert_int_equal(rf_io_read_file(io, in_dir("whole"), SIZES[i], &back, &err), RF_OK);
        assert_true(rf_str_eq(rf_buf_str(&back), in));
        if (SIZES[i] > 0) {
            assert_int_equal(rf_io_read_file(io, in_dir("whole"), SIZES[i] - 1, &back, &err),
                             RF_ETOOBIG);
            assert_non_null(strstr(err.text, "whole"));
        }
    }
    struct stat about;
    assert_int_not_equal(stat(in_dir("whole.tmp"), &about), 0);
    rf_buf_clear(&back);
}

static void read_file__errors__are_told_apart(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    rf_buf back;
    rf_buf_init(&back, 10);
    assert_int_equal(rf_io_read_file(io, in_dir("none"), 100, &back, &err), RF_ENOTFOUND);
    assert_int_equal(rf_io_write_file(io, in_dir("f"), RF_STR("more than ten bytes"), &err), RF_OK);
    assert_int_equal(rf_io_read_file(io, in_dir("f"), 100, &back, &err), RF_ENOMEM);
    rf_buf_clear(&back);
    /* A file whose size says 0. */
    rf_buf_init(&back, 100000);
    assert_int_equal(rf_io_read_file(io, "/proc/self/status", 100000, &back, &err), RF_OK);
    assert_true(back.n > 100);
    assert_int_equal(rf_io_read_file(io, dir, 100000, &back, &err), RF_EIO);
    assert_int_equal(err.os_errno, EISDIR);
    rf_buf_clear(&back);
}

static void write_file__path_too_long__is_refused(void **state)
{
    (void)state;
    char path[5000];
    rf_err err = {0};
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(rf_io_write_file(rf_io_posix(), path, RF_STR("x"), &err), RF_EINVAL);
    assert_int_equal(rf_io_mkdirs(rf_io_posix(), path, &err), RF_EINVAL);
    assert_int_equal(rf_io_mkdirs(rf_io_posix(), "", &err), RF_EINVAL);
}

static void mkdirs__depth__makes_every_level(void **state)
{
    (void)state;
    rf_err err = {0};
    struct stat about;
    assert_int_equal(rf_io_mkdirs(rf_io_posix(), in_dir("p//q/r/"), &err), RF_OK);
    assert_int_equal(stat(in_dir("p/q/r"), &about), 0);
    assert_int_equal(rf_io_mkdirs(rf_io_posix(), in_dir("p/q/r/s"), &err), RF_OK);
    assert_int_equal(stat(in_dir("p/q/r/s"), &about), 0);
    assert_int_equal(rf_io_mkdirs(rf_io_posix(), "/", &err), RF_OK);
    rf_file *f = must_open("p/file", RF_IO_WRITE | RF_IO_CREATE);
    rf_io_posix()->close(rf_io_posix(), &f);
    assert_int_equal(rf_io_mkdirs(rf_io_posix(), in_dir("p/file/x"), &err), RF_EIO);
}

/* ---- the recipe, call by call --------------------------------------------------------------- */

/* Passes on to rf_io_posix, notes each call in `log`, fails call number fail_at (from 1). */
static struct {
    rf_buf log;
    int calls, fail_at;
} spy;

static bool spy_fails(const char *what)
{
    rf_buf_addf(&spy.log, "%s ", what);
    return ++spy.calls == spy.fail_at;
}

#define SPY(what, ...)                                                                             \
    (spy_fails(what) ? rf_err_set_errno(err, EIO, "injected") : rf_io_posix()->__VA_ARGS__)

static rf_status spy_open(rf_io *io, const char *path, int flags, rf_file **out, rf_err *err)
{
    (void)io;
    return SPY("open", open(rf_io_posix(), path, flags, out, err));
}
static void spy_close(rf_io *io, rf_file **f)
{
    (void)io;
    rf_io_posix()->close(rf_io_posix(), f);
}
static rf_status spy_pwrite(rf_io *io, rf_file *f, const void *p, size_t n, uint64_t at,
                            rf_err *err)
{
    (void)io;
    return SPY("pwrite", pwrite(rf_io_posix(), f, p, n, at, err));
}
static rf_status spy_sync(rf_io *io, rf_file *f, rf_err *err)
{
    (void)io;
    return SPY("sync", sync(rf_io_posix(), f, err));
}
static rf_status spy_truncate(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    (void)io;
    return SPY("truncate", truncate(rf_io_posix(), f, bytes, err));
}
static rf_status spy_rename(rf_io *io, const char *from, const char *to, rf_err *err)
{
    (void)io;
    return SPY("rename", rename(rf_io_posix(), from, to, err));
}
static rf_status spy_unlink(rf_io *io, const char *path, rf_err *err)
{
    (void)io;
    return SPY("unlink", unlink(rf_io_posix(), path, err));
}
static rf_status spy_mkdir(rf_io *io, const char *path, rf_err *err)
{
    (void)io;
    return SPY("mkdir", mkdir(rf_io_posix(), path, err));
}
static rf_status spy_sync_dir(rf_io *io, const char *path, rf_err *err)
{
    (void)io;
    return SPY("sync_dir", sync_dir(rf_io_posix(), path, err));
}

static rf_io spy_io = {
    .open = spy_open,
    .close = spy_close,
    .pwrite = spy_pwrite,
    .sync = spy_sync,
    .truncate = spy_truncate,
    .rename = spy_rename,
    .unlink = spy_unlink,
    .mkdir = spy_mkdir,
    .sync_dir = spy_sync_dir,
};

static void spy_begin(int fail_at)
{
    rf_buf_clear(&spy.log);
    rf_buf_init(&spy.log, 10000);
    spy.calls = 0;
    spy.fail_at = fail_at;
}

static void write_file__calls__are_the_recipe_in_order(void **state)
{
    (void)state;
    rf_err err = {0};
    spy_begin(0);
    assert_int_equal(rf_io_write_file(&spy_io, in_dir("recipe"), RF_STR("x"), &err), RF_OK);
    assert_string_equal(rf_buf_cstr(&spy.log), "open truncate pwrite sync rename sync_dir ");
    rf_buf_clear(&spy.log);
}

static void write_file__any_call_fails__old_content_or_new_and_an_error(void **state)
{
    (void)state;
    rf_io *io = rf_io_posix();
    rf_buf back;
    rf_buf_init(&back, 1000);
    for (int k = 1;; k++) {
        rf_err err = {0};
        assert_int_equal(rf_io_write_file(io, in_dir("atomic"), RF_STR("old"), &err), RF_OK);
        spy_begin(k);
        rf_status st = rf_io_write_file(&spy_io, in_dir("atomic"), RF_STR("new"), &err);
        bool fired = spy.calls >= k;
        assert_int_equal(st == RF_OK, !fired);
        if (fired)
            assert_non_null(strstr(err.text, "injected"));
        /* A failed sync is not followed by another one of the same file. */
        const char *log = rf_buf_cstr(&spy.log);
        const char *sync = strstr(log, "sync ");
        assert_true(sync == NULL || strstr(sync + 1, "sync ") == NULL);
        assert_int_equal(rf_io_read_file(io, in_dir("atomic"), 100, &back, &err), RF_OK);
        bool renamed = strstr(log, "rename sync_dir") != NULL;
        assert_true(rf_str_eq(rf_buf_str(&back), renamed ? RF_STR("new") : RF_STR("old")));
        if (!fired)
            break;
    }
    rf_buf_clear(&spy.log);
    rf_buf_clear(&back);
}

static void mkdirs__calls__sync_every_parent(void **state)
{
    (void)state;
    rf_err err = {0};
    spy_begin(0);
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(rf_io_mkdirs(&spy_io, "m/n", &err), RF_OK);
    assert_string_equal(rf_buf_cstr(&spy.log), "mkdir sync_dir mkdir sync_dir ");
    for (int k = 1; k <= 4; k++) {
        spy_begin(k);
        assert_int_equal(rf_io_mkdirs(&spy_io, "m/n", &err), RF_EIO);
    }
    assert_int_equal(chdir(here), 0);
    rf_buf_clear(&spy.log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open__flags__create_exclude_and_miss),
        cmocka_unit_test(open__any__is_closed_on_exec),
        cmocka_unit_test(pwrite_pread__at_offsets__holes_and_the_end),
        cmocka_unit_test(pwrite__read_only_file__says_which),
        cmocka_unit_test(pwrite__no_space__is_full_after_a_short_write),
        cmocka_unit_test(allocate__space__reads_as_zeros_and_keeps_what_is_there),
        cmocka_unit_test(map__bytes__are_the_files_and_follow_writes),
        cmocka_unit_test(lock__second_open__is_busy_until_the_first_closes),
        cmocka_unit_test(list__directory__every_entry_once),
        cmocka_unit_test(mkdir__existing__is_fine_only_for_a_directory),
        cmocka_unit_test(rename_unlink__files__move_and_go),
        cmocka_unit_test(write_then_read_file__sizes__round_trip),
        cmocka_unit_test(read_file__errors__are_told_apart),
        cmocka_unit_test(write_file__path_too_long__is_refused),
        cmocka_unit_test(mkdirs__depth__makes_every_level),
        cmocka_unit_test(write_file__calls__are_the_recipe_in_order),
        cmocka_unit_test(write_file__any_call_fails__old_content_or_new_and_an_error),
        cmocka_unit_test(mkdirs__calls__sync_every_parent),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
