/* Errors: status, text, notes; assertions abort. */
#include "base/base.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void err_set__values__returns_status_and_text(void **state)
{
    (void)state;
    rf_err err = {.os_errno = 5};
    assert_int_equal(rf_err_set(&err, RF_ECONFLICT, "id %s at %d", "a", 7), RF_ECONFLICT);
    assert_int_equal(err.status, RF_ECONFLICT);
    assert_int_equal(err.os_errno, 0);
    assert_string_equal(err.text, "id a at 7");
}

static void err_set__own_text_as_argument__is_not_lost(void **state)
{
    (void)state;
    rf_err err = {0};
    rf_err_set(&err, RF_EIO, "inner");
    rf_err_set(&err, RF_EINVAL, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
}

static void err_set__control_and_bad_bytes__one_line_of_utf8(void **state)
{
    (void)state;
    rf_err err = {0};
    rf_err_set(&err, RF_EINVAL,
               "a\nb\x7f"
               "c\xff\xc3\xa4");
    assert_string_equal(err.text, "a b c?\xc3\xa4");
}

static void err_set__text_too_long__is_cut_between_characters(void **state)
{
    (void)state;
    /* A three-byte character at every distance from the end of the buffer. */
    for (size_t before = RF_ERR_TEXT_MAX - 6; before < RF_ERR_TEXT_MAX; before++) {
        char long_text[RF_ERR_TEXT_MAX + 16];
        rf_err err = {0};
        memset(long_text, 'x', sizeof long_text);
        memcpy(long_text + before, "\xe2\x82\xac", 3);
        long_text[before + 3] = '\0';
        rf_err_set(&err, RF_EINVAL, "%s", long_text);
        size_t n = strlen(err.text);
        assert_true(rf_utf8_valid(err.text, n, NULL));
        assert_null(strchr(err.text, '?'));
        assert_int_equal(n, before + 3 < RF_ERR_TEXT_MAX ? before + 3 : before);
    }
}

static void err_set_errno__each_cause__picks_the_status(void **state)
{
    (void)state;
    static const struct {
        int os_errno;
        rf_status status;
    } CASES[] = {
        {ENOSPC, RF_EFULL},  {EDQUOT, RF_EFULL}, {EFBIG, RF_EFULL}, {ENOENT, RF_ENOTFOUND},
        {ENOMEM, RF_ENOMEM}, {EIO, RF_EIO},      {EACCES, RF_EIO},  {EMFILE, RF_EIO},
    };
    for (size_t i = 0; i < RF_ARRAY_LEN(CASES); i++) {
        rf_err err = {0};
        assert_int_equal(rf_err_set_errno(&err, CASES[i].os_errno, "opening %s", "f"),
                         CASES[i].status);
        assert_int_equal(err.status, CASES[i].status);
        assert_int_equal(err.os_errno, CASES[i].os_errno);
        assert_true(rf_str_starts(rf_str_from(err.text), RF_STR("opening f: ")));
        assert_true(strlen(err.text) > strlen("opening f: "));
    }
}

static void err_note__two_levels__read_from_the_outside_in(void **state)
{
    (void)state;
    rf_err err = {0};
    rf_err_set_errno(&err, EIO, "reading a");
    rf_err_note(&err, "segment %d", 3);
    rf_err_note(&err, "opening log");
    assert_string_equal(err.text, "opening log: segment 3: reading a: Input/output error");
    assert_int_equal(err.status, RF_EIO);
    assert_int_equal(err.os_errno, EIO);
}

static void err_note__more_than_fits__keeps_the_front(void **state)
{
    (void)state;
    rf_err err = {0};
    rf_err_set(&err, RF_EIO, "the cause");
    for (int i = 0; i < 100; i++)
        rf_err_note(&err, "level %d", i);
    assert_int_equal(strlen(err.text), RF_ERR_TEXT_MAX - 1);
    assert_true(rf_str_starts(rf_str_from(err.text), RF_STR("level 99: level 98: ")));
}

static void status_name__all__are_distinct_and_lower_case(void **state)
{
    (void)state;
    for (int a = 0; a < RF_STATUS_COUNT; a++) {
        const char *name = rf_status_name((rf_status)a);
        assert_true(strlen(name) > 0);
        for (const char *p = name; *p != '\0'; p++)
            assert_true((*p >= 'a' && *p <= 'z') || *p == '-');
        for (int b = 0; b < a; b++)
            assert_string_not_equal(name, rf_status_name((rf_status)b));
    }
    assert_string_equal(rf_status_name(RF_ECONFLICT), "conflict");
    assert_string_equal(rf_status_name((rf_status)99), "unknown");
    assert_string_equal(rf_status_name((rf_status)-1), "unknown");
}

/* Runs in a child; returns what it wrote to stderr. */
static rf_str run_failing_assert(char *out, size_t cap, int *status)
{
    int fds[2];
    size_t n = 0;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        RF_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(fds[1]);
    for (ssize_t got; n < cap && (got = read(fds[0], out + n, cap - n)) > 0;)
        n += (size_t)got;
    close(fds[0]);
    assert_int_equal(waitpid(child, status, 0), child);
    return (rf_str){out, n};
}

static void assert__false__aborts_and_names_expression_and_line(void **state)
{
    (void)state;
    char text[4096];
    int status = 0;
    rf_str said = run_failing_assert(text, sizeof text - 1, &status);
    text[said.n] = '\0';
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "1 + 1 == 3"));
    assert_non_null(strstr(text, "test_err.c:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_set__values__returns_status_and_text),
        cmocka_unit_test(err_set__own_text_as_argument__is_not_lost),
        cmocka_unit_test(err_set__control_and_bad_bytes__one_line_of_utf8),
        cmocka_unit_test(err_set__text_too_long__is_cut_between_characters),
        cmocka_unit_test(err_set_errno__each_cause__picks_the_status),
        cmocka_unit_test(err_note__two_levels__read_from_the_outside_in),
        cmocka_unit_test(err_note__more_than_fits__keeps_the_front),
        cmocka_unit_test(status_name__all__are_distinct_and_lower_case),
        cmocka_unit_test(assert__false__aborts_and_names_expression_and_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
