/* What the tests of cli share: files in a directory of their own, and what was printed. */
#ifndef RF_TESTS_CLI_SUPPORT_H
#define RF_TESTS_CLI_SUPPORT_H

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#include <cmocka.h>

/* A fresh directory; *state is its path. */
static inline int temp_setup(void **state)
{
    char *dir = rf_xstrdup("/tmp/refold-cli-XXXXXX");

    if (mkdtemp(dir) == NULL)
        return -1;
    *state = dir;
    return 0;
}

static inline int temp_remove(const char *path, const struct stat *about, int kind, struct FTW *ftw)
{
    (void)about;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline int temp_teardown(void **state)
{
    nftw(*state, temp_remove, 8, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

/* Writes DIR/NAME and returns its path, in a static buffer. */
static inline const char *temp_file(void **state, const char *name, const char *text)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", (char *)*state, name);
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    return path;
}

/* Everything that goes to standard output or error between begin and end. */
typedef struct capture {
    int saved, fd;
    FILE *file;
    char text[1 << 16];
} capture;

static inline void capture_begin(capture *c, FILE *file)
{
    char path[] = "/tmp/refold-capture-XXXXXX";

    fflush(file);
    c->file = file;
    c->saved = dup(fileno(file));
    c->fd = mkstemp(path);
    assert_true(c->saved >= 0 && c->fd >= 0);
    unlink(path);
    dup2(c->fd, fileno(file));
}

static inline const char *capture_end(capture *c)
{
    fflush(c->file);
    dup2(c->saved, fileno(c->file));
    close(c->saved);
    ssize_t n = pread(c->fd, c->text, sizeof c->text - 1, 0);

    c->text[n < 0 ? 0 : n] = '\0';
    close(c->fd);
    return c->text;
}

/* What a function prints into a FILE, allocated. */
#define PRINTED(text, out, call)                                                                   \
    do {                                                                                           \
        size_t printed_bytes = 0;                                                                  \
        FILE *out = open_memstream(&(text), &printed_bytes);                                       \
        call;                                                                                      \
        fclose(out);                                                                               \
    } while (0)

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            fail_msg("\"%s\" is not in \"%s\"", (part), (text));                                   \
    } while (0)

#endif
