/* refold restore: a new data directory from a backup. */
#include <stdlib.h>

#include "cli/data_int.h"

static void any_name(void *arg, const char *name)
{
    (void)name;
    *(bool *)arg = true;
}

/* Read models beside the log belong to another history: the whole directory must be empty. */
static rf_status must_be_empty(const char *data, rf_err *err)
{
    rf_io *io = rf_io_posix();
    rf_err why = {0};
    bool used = false;
    rf_status st = io->list(io, data, any_name, &used, &why);

    if (st == RF_ENOTFOUND)
        return RF_OK;
    if (st != RF_OK) {
        *err = why;
        return st;
    }
    return used ? rf_err_set(err, RF_ECONFLICT,
                             "%s is not empty: restore into a new directory, then put it in place",
                             data)
                : RF_OK;
}

static void print_result(const char *data, const rf_backup_report *r, double seconds, bool json)
{
    char events[32], bytes[32];

    if (json)
        printf("{\"events\":%llu,\"files\":%llu,\"bytes\":%llu,\"seconds\":%.3f}\n",
               (unsigned long long)r->events, (unsigned long long)r->files,
               (unsigned long long)r->bytes, seconds);
    else
        printf("%s: %s events restored, %s in %.1f s; verified\n", data,
               rf_format_count(r->events, events), rf_format_bytes(r->bytes, bytes), seconds);
}

static int restore(const char *backup, const char *data, bool json)
{
    rf_backup_report report = {0};
    rfi_cli_watch w;
    rf_err err = {0};
    rf_buf dir;
    int64_t started = rf_mono_us();

    rf_buf_init(&dir, 8192);
    rf_buf_addf(&dir, "%s/log", data);
    rfi_cli_watch_init(&w, json);
    rf_status st = must_be_empty(data, &err);

    if (st == RF_OK)
        st = rf_log_restore(NULL, backup, rf_buf_cstr(&dir), &w.watch, &report, &err);
    rf_progress_pause(&w.bar);
    if (st == RF_OK)
        print_result(data, &report, (double)(rf_mono_us() - started) / 1e6, json);
    int code = st == RF_OK ? RF_EXIT_OK : rf_cli_failed(&rf_verb_restore, &err);

    rfi_cli_watch_clear(&w);
    rf_buf_clear(&dir);
    return code;
}

static int run(int argc, char **argv)
{
    const char *data = NULL, *backup = NULL;
    bool json = false;
    const rf_flag flags[] = {{"data", &data, NULL}, {"json", NULL, &json}, {NULL, NULL, NULL}};
    size_t count = 0;
    int code = rf_cli_flags(&rf_verb_restore, argc, argv, flags, &backup, 1, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (count == 0 || data == NULL || data[0] == '\0')
        return rf_cli_usage(&rf_verb_restore, "name the backup, and the new directory with --data");
    return restore(backup, data, json);
}

const rf_verb rf_verb_restore = {
    .name = "restore",
    .summary = "make a data directory from a backup",
    .help = "usage: refold restore BACKUP --data DIR [--json]\n"
            "\n"
            "Copies the log of a backup into DIR, which must be missing or empty, compares each\n"
            "file with the backup's manifest, and verifies the result. Read models are not in a\n"
            "backup: they are computed again from the log at the first `refold serve`.\n"
            "\n"
            "The restored log gets a writer's epoch of its own, so that events which the original\n"
            "goes on to write are never taken for its own.\n"
            "\n"
            "Example\n"
            "  refold restore /mnt/backup/refold --data /srv/refold-again\n"
            "  refold serve --data /srv/refold-again\n",
    .run = run,
};
