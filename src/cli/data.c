/* Finding the log of a data directory, and showing how far work on it is. */
#include <string.h>
#include <sys/stat.h>

#include "cli/data_int.h"

rf_status rfi_cli_find_log(const char *data, rf_buf *dir, rf_err *err)
{
    rf_buf meta;
    struct stat about;
    bool found = false;

    rf_buf_init(&meta, 8192);
    for (int place = 0; place < 2 && !found; place++) {
        rf_buf_reset(dir);
        rf_buf_reset(&meta);
        rf_buf_add_cstr(dir, data);
        if (place == 0)
            rf_buf_add_cstr(dir, "/log");
        rf_buf_addf(&meta, "%s/meta", rf_buf_cstr(dir));
        found = !meta.failed && stat(rf_buf_cstr(&meta), &about) == 0;
    }
    rf_buf_clear(&meta);
    if (!found || rf_buf_cstr(dir) == NULL)
        return rf_err_set(err, RF_ENOTFOUND, "there is no log in %s (--data names the directory)",
                          data);
    return RF_OK;
}

static void on_problem(void *arg, const char *line)
{
    rfi_cli_watch *w = arg;

    if (w->json) {
        if (w->problems.n > 0)
            rf_buf_add_char(&w->problems, ',');
        rf_buf_add_json_str(&w->problems, rf_str_from(line));
        return;
    }
    rf_progress_pause(&w->bar);
    printf("%s\n", line);
}

static void on_progress(void *arg, const char *phase, uint64_t done, uint64_t total)
{
    rfi_cli_watch *w = arg;

    if (w->phase == NULL || strcmp(w->phase, phase) != 0) {
        if (w->phase != NULL)
            rf_progress_end(&w->bar);
        rf_progress_begin(&w->bar, phase, "bytes", total, w->json);
        w->phase = phase;
    }
    w->bar.total = total;
    rf_progress_update(&w->bar, done);
}

void rfi_cli_watch_init(rfi_cli_watch *w, bool json)
{
    *w = (rfi_cli_watch){.json = json};
    w->watch = (rf_log_watch){.problem = on_problem, .progress = on_progress, .arg = w};
    rf_buf_init(&w->problems, 64u << 20);
}

void rfi_cli_watch_clear(rfi_cli_watch *w)
{
    if (w->phase != NULL)
        rf_progress_end(&w->bar);
    w->phase = NULL;
    rf_buf_clear(&w->problems);
}
