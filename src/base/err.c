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

/* The text is one line of UTF-8: paths and other people's words may hold anything. A sequence that
 * was cut at the end of the buffer goes altogether. */
static void tidy(char *text)
{
    size_t n = strlen(text), lead = n;
    if (n + 1 == RF_ERR_TEXT_MAX) {
        while (lead > 0 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
            lead--;
        if (lead > 0 && (unsigned char)text[lead - 1] >= 0xC0 &&
            !rf_utf8_valid(text + lead - 1, n - lead + 1, NULL))
            n = lead - 1;
    }
    text[n] = '\0';
    rf_utf8_scrub(text, n);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
    }
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
    tidy(text);
}

RF_PRINTF(3, 0)
static void err_vset(rf_err *err, rf_status status, const char *fmt, va_list args)
{
    RF_ASSERT(err != NULL && status != RF_OK && status < RF_STATUS_COUNT);
    char text[RF_ERR_TEXT_MAX]; /* the arguments may point into err->text */
    vsnprintf(text, sizeof text, fmt, args);
    tidy(text);
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
    tidy(text);
    append_phrase(text, err->text);
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
