/* The program's own log lines: one write each, always one line, valid JSON when asked for. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char said[1 << 20];

/* Runs fn with stderr going into a file; leaves what it wrote in said[]. */
static size_t capture(void (*fn)(void))
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int keep = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    fn();
    dup2(keep, STDERR_FILENO);
    close(keep);
    ssize_t n = pread(fileno(file), said, sizeof said - 1, 0);
    assert_true(n >= 0);
    said[n] = '\0';
    fclose(file);
    return (size_t)n;
}

static void say_levels(void)
{
    rf_diag_init(RF_DIAG_WARN, false, "write");
    rf_diag(RF_DIAG_DEBUG, "no");
    rf_diag(RF_DIAG_INFO, "no");
    errno = 77;
    rf_diag(RF_DIAG_WARN, "yes %d", 1);
    assert_int_equal(errno, 77);
    rf_diag(RF_DIAG_ERROR, "yes %s", "2");
}

static void diag__text__has_time_level_who_and_message(void **state)
{
    (void)state;
    int64_t us;
    capture(say_levels);
    char *space = strchr(said, ' ');
    assert_non_null(space);
    assert_true(rf_time_parse((rf_str){said, (size_t)(space - said)}, &us));
    assert_non_null(strstr(said, " warn  write: yes 1\n"));
    assert_non_null(strstr(said, " error write: yes 2\n"));
    assert_null(strstr(said, "no"));
}

static void say_hostile_text(void)
{
    rf_diag_init(RF_DIAG_INFO, false, "read");
    rf_diag(RF_DIAG_INFO, "a\nb\rc\x1b[31m\xff\xc3\xa4");
}

static void diag__hostile_bytes_as_text__stay_one_line(void **state)
{
    (void)state;
    size_t n = capture(say_hostile_text);
    assert_non_null(strstr(said, "read: a b c [31m?\xc3\xa4\n"));
    assert_ptr_equal(strchr(said, '\n'), said + n - 1);
}

static void say_hostile_json(void)
{
    rf_diag_init(RF_DIAG_INFO, true, "read");
    rf_diag(RF_DIAG_INFO, "a\n\"b\"\\\xff\x01");
}

static void diag__json__escapes(void **state)
{
    (void)state;
    capture(say_hostile_json);
    assert_true(rf_str_starts(rf_str_from(said), RF_STR("{\"time\":\"")));
    assert_non_null(strstr(said, "\"level\":\"info\",\"who\":\"read\","
                                 "\"message\":\"a\\u000a\\\"b\\\"\\\\?\\u0001\"}\n"));
}

static void say_long(void)
{
    char text[5000];
    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    rf_diag_init(RF_DIAG_INFO, true, "cli");
    rf_diag(RF_DIAG_INFO, "%s", text);
    memset(text, 1, sizeof text - 1);
    rf_diag(RF_DIAG_INFO, "%s", text);
}

static void diag__too_long__is_cut_and_still_closed(void **state)
{
    (void)state;
    capture(say_long);
    char *first_end = strchr(said, '\n');
    assert_non_null(first_end);
    assert_memory_equal(first_end - 5, "...\"}", 5);
    assert_int_equal(said[strlen(said) - 1], '\n');
    assert_memory_equal(said + strlen(said) - 3, "\"}\n", 3);
}

enum { THREADS = 4, LINES = 500 };

static void *say_many(void *arg)
{
    for (int i = 0; i < LINES; i++)
        rf_diag(RF_DIAG_INFO, "thread-%s-%0100d-end", (const char *)arg, i);
    return NULL;
}

static void say_from_threads(void)
{
    static char names[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    rf_diag_init(RF_DIAG_INFO, false, "write");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, say_many, names[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void diag__from_threads__lines_never_mix(void **state)
{
    (void)state;
    capture(say_from_threads);
    size_t lines = 0;
    for (char *line = said, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        char *message = strstr(line, " info  write: thread-");
        assert_non_null(message);
        assert_null(strstr(message + 1, " info  write: "));
        assert_string_equal(end - 4, "-end");
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
}

static void diag_level_parse__names__and_nothing_else(void **state)
{
    (void)state;
    rf_diag_level level = RF_DIAG_ERROR;
    assert_true(rf_diag_level_parse(RF_STR("debug"), &level));
    assert_int_equal(level, RF_DIAG_DEBUG);
    assert_true(rf_diag_level_parse(RF_STR("warn"), &level));
    assert_int_equal(level, RF_DIAG_WARN);
    assert_false(rf_diag_level_parse(RF_STR("WARN"), &level));
    assert_false(rf_diag_level_parse(RF_STR(""), &level));
    assert_false(rf_diag_level_parse(RF_STR("warning"), &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diag__text__has_time_level_who_and_message),
        cmocka_unit_test(diag__hostile_bytes_as_text__stay_one_line),
        cmocka_unit_test(diag__json__escapes),
        cmocka_unit_test(diag__too_long__is_cut_and_still_closed),
        cmocka_unit_test(diag__from_threads__lines_never_mix),
        cmocka_unit_test(diag_level_parse__names__and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
