/* Errors and assertions: see base.h. Nothing here allocates. */
#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const STATUS_NAMES[] = {
    [RF_OK] = "ok",
    [RF_EINVAL] = "invalid",
    [RF_ENOTFOUND] = "not-found",
    [RF_ECONFLICT] = "conflict",
    [RF_EFORBIDDEN] = "forbidden",
    [RF_ETOOBIG] = "too-big",
    [RF_EFULL] = "full",
    [RF_EBUSY] = "busy",
    [RF_EFENCED] = "fenced",
    [RF_ETIMEOUT] = "timeout",
    [RF_ECANCELED] = "canceled",
    [RF_ECORRUPT] = "corrupt",
    [RF_EUNSUPPORTED] = "unsupported",
    [RF_EIO] = "io",
    [RF_ENOMEM] = "no-memory",
    [RF_EINTERNAL] = "internal",
};
_Static_assert(RF_ARRAY_LEN(STATUS_NAMES) == RF_STATUS_COUNT, "every status has a name");

/* rf_err.text is "one line, fit to print": paths and other people's words may hold anything. */
static void make_one_line(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
    }
}

/* When text was cut at `cap`, drops the UTF-8 sequence that lost its tail. */
static void trim_cut_utf8(char *text, size_t cap)
{
    size_t n = strlen(text);
    if (n + 1 < cap)
        return;
    size_t start = n;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (n - (start - 1) < want)
        text[start - 1] = '\0';
}

/* Adds ": <more>" to a text of RF_ERR_TEXT_MAX bytes, as much as fits. */
static void append_phrase(char *text, const char *more)
{
    size_t n = strlen(text);
    if (n + 2 >= RF_ERR_TEXT_MAX)
        return;
    memcpy(text + n, ": ", 2);
    size_t add = RF_MIN(strlen(more), RF_ERR_TEXT_MAX - 1 - n - 2);
    memcpy(text + n + 2, more, add);
    text[n + 2 + add] = '\0';
    trim_cut_utf8(text, RF_ERR_TEXT_MAX);
}

RF_PRINTF(3, 0)
static void err_vset(rf_err *err, rf_status status, const char *fmt, va_list args)
{
    RF_ASSERT(err != NULL && status != RF_OK && status < RF_STATUS_COUNT);
    char text[RF_ERR_TEXT_MAX]; /* the arguments may point into err->text */
    vsnprintf(text, sizeof text, fmt, args);
    trim_cut_utf8(text, sizeof text);
    make_one_line(text);
    memcpy(err->text, text, strlen(text) + 1);
    err->status = status;
    err->os_errno = 0;
}

rf_status rf_err_set(rf_err *err, rf_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    err_vset(err, status, fmt, args);
    va_end(args);
    return status;
}

static rf_status status_of_errno(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return RF_EFULL;
    case ENOENT:
        return RF_ENOTFOUND;
    case ENOMEM:
        return RF_ENOMEM;
    default:
        return RF_EIO;
    }
}

rf_status rf_err_set_errno(rf_err *err, int os_errno, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    err_vset(err, status_of_errno(os_errno), fmt, args);
    va_end(args);
    err->os_errno = os_errno;

    char why[128];
    const char *said = strerror_r(os_errno, why, sizeof why); /* GNU: may return a constant */
    append_phrase(err->text, said);
    return err->status;
}

void rf_err_note(rf_err *err, const char *fmt, ...)
{
    char text[RF_ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    trim_cut_utf8(text, sizeof text);
    append_phrase(text, err->text);
    make_one_line(text);
    memcpy(err->text, text, strlen(text) + 1);
}

const char *rf_status_name(rf_status status)
{
    if ((unsigned)status >= RF_STATUS_COUNT)
        return "unknown";
    return STATUS_NAMES[status];
}

_Noreturn void rf_assert_failed(const char *expr, const char *file, int line)
{
    char text[512];
    int n = snprintf(text, sizeof text, "refold: assertion failed: %s (%s:%d)\n", expr, file, line);
    if (n > 0) {
        size_t len = RF_MIN((size_t)n, sizeof text - 1);
        /* Not stdio: its lock may be held by the thread that broke. */
        ssize_t ignored = write(STDERR_FILENO, text, len);
        (void)ignored;
    }
    abort();
}
