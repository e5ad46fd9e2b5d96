/* Tables, bars, progress: what people look at before they read. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

bool rf_cli_color(FILE *out)
{
    const char *no_color = getenv("NO_COLOR");

    return isatty(fileno(out)) && (no_color == NULL || no_color[0] == '\0');
}

unsigned rf_cli_columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20)
        return size.ws_col;
    return 80;
}

const char *rf_format_count(uint64_t v, char buf[static 32])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    size_t to = 0;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            buf[to++] = ',';
        buf[to++] = digits[i];
    }
    buf[to] = '\0';
    return buf;
}

const char *rf_format_bytes(uint64_t v, char buf[static 32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double scaled = (double)v;
    size_t unit = 0;

    while (scaled >= 1024 && unit + 1 < RF_ARRAY_LEN(units)) {
        scaled /= 1024;
        unit++;
    }
    snprintf(buf, 32, unit == 0 ? "%.0f %s" : "%.1f %s", scaled, units[unit]);
    return buf;
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct rf_table {
    size_t columns, heads;
    bool *right;
    size_t *width; /* in code points */
    char **cells;  /* heads first, then row by row */
    size_t count, cap;
};

static size_t code_points(const char *s)
{
    size_t n = 0;

    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

rf_table *rf_table_new(size_t columns)
{
    rf_table *t = rf_xcalloc(1, sizeof *t);

    t->columns = columns;
    t->right = rf_xcalloc(columns + 1, sizeof *t->right);
    t->width = rf_xcalloc(columns + 1, sizeof *t->width);
    return t;
}

void rf_table_free(rf_table **t)
{
    if (*t == NULL)
        return;
    for (size_t i = 0; i < (*t)->count; i++)
        free((*t)->cells[i]);
    free((*t)->cells);
    free((*t)->right);
    free((*t)->width);
    free(*t);
    *t = NULL;
}

void rf_table_cell(rf_table *t, rf_str text)
{
    if (t->count == t->cap) {
        t->cap = t->cap == 0 ? 64 : t->cap * 2;
        t->cells = rf_xrealloc(t->cells, t->cap * sizeof *t->cells);
    }
    char *cell = rf_xstrndup(text);

    for (char *c = cell; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' '; /* a terminal must not be steered by data */
    }
    size_t column = t->count % t->columns;

    t->width[column] = RF_MAX(t->width[column], code_points(cell));
    t->cells[t->count++] = cell;
}

void rf_table_head(rf_table *t, rf_str name, bool right)
{
    RF_ASSERT(t->heads < t->columns);
    t->right[t->heads++] = right;
    rf_table_cell(t, name);
}

static void print_padded(const char *text, size_t width, bool right, bool last, FILE *out)
{
    size_t used = code_points(text);
    int pad = used < width ? (int)(width - used) : 0;

    if (right)
        fprintf(out, "%*s%s", pad, "", text);
    else
        fprintf(out, "%s%*s", text, last ? 0 : pad, "");
}

void rf_table_print(const rf_table *t, FILE *out)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->columns;

        fputs(column == 0 ? " " : "  ", out);
        print_padded(t->cells[i], t->width[column], t->right[column], column + 1 == t->columns,
                     out);
        if (column + 1 < t->columns)
            continue;
        fputc('\n', out);
        if (i + 1 == t->columns) { /* under the head */
            for (size_t c = 0; c < t->columns; c++) {
                fputs(c == 0 ? " " : "  ", out);
                for (size_t w = 0; w < t->width[c]; w++)
                    fputs("\u2500", out);
            }
            fputc('\n', out);
        }
    }
}

/* 1,234,567 or 12.345; never 1.23e+06. */
static void format_value(double v, char out[static 48])
{
    char digits[32];

    if (fabs(v) < 1e15 && v == trunc(v)) {
        snprintf(out, 48, "%s%s", v < 0 ? "-" : "", rf_format_count((uint64_t)fabs(v), digits));
        return;
    }
    snprintf(out, 48,
             fabs(v) >= 1e15 || fabs(v) < 1e-4 ? "%.4g"
             : fabs(v) >= 1000                 ? "%.0f"
                                               : "%.2f",
             v);
}

static void repeat(const char *what, unsigned count, FILE *out)
{
    while (count-- > 0)
        fputs(what, out);
}

/* left: cells for what is below zero. */
static void print_bar(double value, double scale, unsigned left, FILE *out)
{
    static const char *const eighths[] = {"",       "\u258f", "\u258e", "\u258d",
                                          "\u258c", "\u258b", "\u258a", "\u2589"};
    unsigned n = (unsigned)lround(fabs(value) * scale * 8), cells = n / 8;

    if (value < 0) {
        cells = RF_MIN((n + 4) / 8, left); /* there is no eighth that hangs to the right */
        fprintf(out, "%*s", (int)(left - cells), "");
        repeat("\u2588", cells, out);
        return;
    }
    fprintf(out, "%*s", (int)left, "");
    repeat("\u2588", cells, out);
    fputs(eighths[n % 8], out);
}

void rf_chart_bars(FILE *out, const char *const *labels, const double *values, size_t count,
                   unsigned width)
{
    double top = 0, bottom = 0;
    size_t label_width = 0;
    bool color = rf_cli_color(out);

    for (size_t i = 0; i < count; i++) {
        if (isfinite(values[i])) {
            top = fmax(top, values[i]);
            bottom = fmin(bottom, values[i]);
        }
        label_width = RF_MAX(label_width, code_points(labels[i]));
    }
    double scale = top > bottom ? width / (top - bottom) : 0;
    unsigned left = (unsigned)ceil(-bottom * scale);

    for (size_t i = 0; i < count; i++) {
        char text[48] = "";

        if (!isnan(values[i]))
            format_value(values[i], text);
        fputs(" ", out);
        print_padded(labels[i], label_width, false, false, out);
        fputs(color ? "  \033[36m" : "  ", out);
        if (isfinite(values[i]))
            print_bar(values[i], scale, left, out);
        fprintf(out, "%s %s\n", color ? "\033[0m" : "", text);
    }
}

/* ---- progress ----------------------------------------------------------------------------------
 */

void rf_progress_begin(rf_progress *p, const char *what, const char *unit, uint64_t total, bool off)
{
    *p = (rf_progress){.what = what,
                       .unit = unit,
                       .total = total,
                       .started_us = rf_mono_us(),
                       .on = !off && isatty(STDERR_FILENO)};
}

static const char *progress_number(const rf_progress *p, uint64_t v, char buf[static 32])
{
    return strcmp(p->unit, "bytes") == 0 ? rf_format_bytes(v, buf) : rf_format_count(v, buf);
}

static void progress_draw(rf_progress *p, int64_t now)
{
    char done[32], total[32], rate[32];
    double seconds = (double)(now - p->started_us) / 1e6;
    const char *unit = strcmp(p->unit, "bytes") == 0 ? "" : p->unit; /* "MiB" says it */
    const unsigned bar = 24;

    progress_number(p, p->done, done);
    progress_number(p, seconds > 0 ? (uint64_t)((double)p->done / seconds) : 0, rate);
    fprintf(stderr, "\r\033[K%s ", p->what);
    if (p->total > 0) {
        double share = RF_MIN(1.0, (double)p->done / (double)p->total);
        unsigned full = (unsigned)(share * bar);

        for (unsigned i = 0; i < bar; i++)
            fputs(i < full ? "\u2588" : "\u2591", stderr);
        fprintf(stderr, " %3.0f%%  %s of %s %s", share * 100, done,
                progress_number(p, p->total, total), unit);
    } else {
        fprintf(stderr, "%s %s", done, unit);
    }
    fprintf(stderr, "  %s/s", rate);
    fflush(stderr);
    p->shown = true;
    p->shown_us = now;
}

void rf_progress_update(rf_progress *p, uint64_t done)
{
    int64_t now = rf_mono_us();

    p->done = done;
    if (p->on && now - p->shown_us >= 100000)
        progress_draw(p, now);
}

void rf_progress_pause(rf_progress *p)
{
    if (p->on && p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}

void rf_progress_end(rf_progress *p)
{
    if (!p->on)
        return;
    progress_draw(p, rf_mono_us());
    fputc('\n', stderr);
    p->on = false;
}
