/* refold backup: a verified copy of the log, beside a running server. */
#include <stdlib.h>

#include "cli/data_int.h"

static void print_json(const rfi_cli_watch *w, const rf_backup_report *r, double seconds)
{
    printf("{\"events\":%llu,\"files\":%llu,\"bytes\":%llu,\"kept\":%llu,\"linked\":%llu,"
           "\"copied\":%llu,\"copiedBytes\":%llu,\"removed\":%llu,\"damaged\":%llu,"
           "\"problems\":[%.*s],\"seconds\":%.3f}\n",
           (unsigned long long)r->events, (unsigned long long)r->files,
           (unsigned long long)r->bytes, (unsigned long long)r->files_kept,
           (unsigned long long)r->files_linked, (unsigned long long)r->files_copied,
           (unsigned long long)r->bytes_copied, (unsigned long long)r->files_removed,
           (unsigned long long)r->problems, RF_STR_ARG(rf_buf_str(&w->problems)), seconds);
}

static void print_text(const char *target, const rf_backup_report *r, double seconds)
{
    char events[32], files[32], bytes[32], copied[32];

    printf("%s: %s events in %s files, %s; verified\n", target, rf_format_count(r->events, events),
           rf_format_count(r->files, files), rf_format_bytes(r->bytes, bytes));
    printf("this run: %llu files were there already, %llu linked, %llu copied (%s), %llu removed, "
           "in %.1f s\n",
           (unsigned long long)r->files_kept, (unsigned long long)r->files_linked,
           (unsigned long long)r->files_copied, rf_format_bytes(r->bytes_copied, copied),
           (unsigned long long)r->files_removed, seconds);
    if (r->files_linked > 0)
        printf("linked files share the disk with the log: keep another copy on another disk\n");
}

static int back_up(const char *data, const char *target, bool json)
{
    rf_backup_report report = {0};
    rfi_cli_watch w;
    rf_err err = {0};
    rf_buf dir;
    int64_t started = rf_mono_us();

    rf_buf_init(&dir, 8192);
    rfi_cli_watch_init(&w, json);
    rf_status st = rfi_cli_find_log(data, &dir, &err);

    if (st == RF_OK)
        st = rf_log_backup(NULL, rf_buf_cstr(&dir), target, &w.watch, &report, &err);
    double seconds = (double)(rf_mono_us() - started) / 1e6;

    rf_progress_pause(&w.bar);
    if (json && (st == RF_OK || report.problems > 0))
        print_json(&w, &report, seconds);
    else if (st == RF_OK)
        print_text(target, &report, seconds);
    int code = st == RF_OK ? RF_EXIT_OK : rf_cli_failed(&rf_verb_backup, &err);

    rfi_cli_watch_clear(&w);
    rf_buf_clear(&dir);
    return code;
}

static int run(int argc, char **argv)
{
    const char *data = getenv("REFOLD_DATA"), *target = NULL;
    bool json = false;
    const rf_flag flags[] = {{"data", &data, NULL}, {"json", NULL, &json}, {NULL, NULL, NULL}};
    size_t count = 0;
    int code = rf_cli_flags(&rf_verb_backup, argc, argv, flags, &target, 1, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (count == 0)
        return rf_cli_usage(&rf_verb_backup, "name the directory that the backup goes to");
    return back_up(data != NULL && data[0] != '\0' ? data : "refold-data", target, json);
}

const rf_verb rf_verb_backup = {
    .name = "backup",
    .summary = "copy the log, also while a server runs, and verify the copy",
    .help =
        "usage: refold backup [--data DIR] TARGET [--json]\n"
        "\n"
        "Makes TARGET a backup of the log in DIR (refold-data when not given), or brings an\n"
        "earlier one up to date. It holds, for each partition, a prefix of the log with all that\n"
        "was acknowledged when the backup began. A server may go on writing meanwhile.\n"
        "\n"
        "Sealed segments never change: they become hard links where TARGET is on the same file\n"
        "system, and are copied once otherwise. A second run takes only what is new. TARGET/log "
        "is\n"
        "a log that `refold verify --data TARGET` reads; TARGET/manifest.json has the size and "
        "the\n"
        "SHA-256 of each file. It is written last, after the copy was verified: without it, or\n"
        "with a file TARGET/incomplete, run the backup again.\n"
        "\n"
        "A hard link is a second name and not a second copy: it protects from deleting and not\n"
        "from losing the disk. Put TARGET on another disk, or copy it there (rsync).\n"
        "\n"
        "Examples\n"
        "  refold backup --data /srv/refold /mnt/backup/refold\n"
        "  refold restore /mnt/backup/refold --data /srv/refold-again\n",
    .run = run,
};
