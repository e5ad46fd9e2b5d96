/*
 * The program's own log lines on stderr. A line is put together on the stack and written by one
 * write(), so lines of several threads and of the two halves never mix.
 */
#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 2048
/* Every byte of the text may become six. */
#define LINE_MAX_BYTES (TEXT_MAX * 6 + 256)

static const char *const LEVELS[] = {
    [RF_DIAG_DEBUG] = "debug",
    [RF_DIAG_INFO] = "info",
    [RF_DIAG_WARN] = "warn",
    [RF_DIAG_ERROR] = "error",
};

/* Written once before threads start, read by all. */
static struct {
    rf_diag_level level;
    bool json;
    const char *who;
} diag = {RF_DIAG_INFO, false, "refold"};

void rf_diag_init(rf_diag_level level, bool json, const char *who)
{
    RF_ASSERT(level <= RF_DIAG_ERROR && who != NULL);
    diag.level = level;
    diag.json = json;
    diag.who = who;
}

bool rf_diag_level_parse(rf_str text, rf_diag_level *out)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(LEVELS); i++) {
        if (rf_str_eq(text, rf_str_from(LEVELS[i]))) {
            *out = (rf_diag_level)i;
            return true;
        }
    }
    return false;
}

static void make_one_line(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
    }
}

/* Appends to line[*n]; the sizes above leave room for the longest. */
static void put(char *line, size_t *n, const char *p, size_t len)
{
    len = RF_MIN(len, LINE_MAX_BYTES - 1 - *n);
    memcpy(line + *n, p, len);
    *n += len;
}

static void put_json(char *line, size_t *n, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            put(line, n, escaped, 2);
        } else if (c < 0x20 || c == 0x7f) {
            put(line, n, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
        } else {
            put(line, n, text + i, 1);
        }
    }
}

static void write_whole(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(STDERR_FILENO, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return; /* nobody is left to be told */
        p += done;
        n -= (size_t)done;
    }
}

void rf_diag(rf_diag_level level, const char *fmt, ...)
{
    if (level < diag.level)
        return;
    int saved_errno = errno;
    char text[TEXT_MAX], line[LINE_MAX_BYTES], head[RF_TIME_TEXT_MAX + 128], when[RF_TIME_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t len = wanted < 0 ? 0 : RF_MIN((size_t)wanted, sizeof text - 1);
    if (wanted >= 0 && (size_t)wanted >= sizeof text)
        memcpy(text + sizeof text - 4, "...", 3);
    rf_utf8_scrub(text, len); /* a file name, a cut sequence */

    size_t n = 0;
    rf_time_format(rf_wall_us(), when);
    const char *shape = diag.json
                            ? "{\"time\":\"%s\",\"level\":\"%s\",\"who\":\"%.32s\",\"message\":\""
                            : "%s %-5s %.32s: ";
    _Static_assert(sizeof head > RF_TIME_TEXT_MAX + 32 + 64, "the head fits");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int head_len = snprintf(head, sizeof head, shape, when, LEVELS[level], diag.who);
#pragma GCC diagnostic pop
    put(line, &n, head, RF_MIN((size_t)head_len, sizeof head - 1));
    if (diag.json) {
        put_json(line, &n, text, len);
        put(line, &n, "\"}", 2);
    } else {
        make_one_line(text, len);
        put(line, &n, text, len);
    }
    line[n++] = '\n';
    write_whole(line, n);
    errno = saved_errno;
}
