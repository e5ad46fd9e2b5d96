/* refold repair: what can be made anew from the segments, is. */
#include <stdlib.h>

#include "cli/data_int.h"

static void print_json(const rfi_cli_watch *w, const rf_repair_report *r, double seconds)
{
    printf("{\"partitions\":%llu,\"segments\":%llu,\"openSegments\":%llu,\"events\":%llu,"
           "\"written\":%llu,\"writtenBytes\":%llu,\"removed\":%llu,\"problems\":[%.*s],"
           "\"seconds\":%.3f}\n",
           (unsigned long long)r->partitions, (unsigned long long)r->segments,
           (unsigned long long)r->segments_open, (unsigned long long)r->events,
           (unsigned long long)r->files_written, (unsigned long long)r->bytes_written,
           (unsigned long long)r->files_removed, RF_STR_ARG(rf_buf_str(&w->problems)), seconds);
}

static void print_text(const rf_repair_report *r, double seconds)
{
    char events[32], files[32], bytes[32];

    printf("%s index files (%s) made anew from %s events in %llu sealed segment%s of %llu "
           "partition%s, %llu removed, in %.1f s\n",
           rf_format_count(r->files_written, files), rf_format_bytes(r->bytes_written, bytes),
           rf_format_count(r->events, events), (unsigned long long)r->segments,
           r->segments == 1 ? "" : "s", (unsigned long long)r->partitions,
           r->partitions == 1 ? "" : "s", (unsigned long long)r->files_removed, seconds);
    if (r->segments_open > 0)
        printf("%llu open segment%s: no index files, read at the next start\n",
               (unsigned long long)r->segments_open, r->segments_open == 1 ? "" : "s");
}

static int repair(const char *data, bool json)
{
    rf_repair_report report = {0};
    rfi_cli_watch w;
    rf_err err = {0};
    rf_buf dir;
    int64_t started = rf_mono_us();

    rf_buf_init(&dir, 8192);
    rfi_cli_watch_init(&w, json);
    rf_status st = rfi_cli_find_log(data, &dir, &err);

    if (st == RF_OK)
        st = rf_log_repair_indexes(NULL, rf_buf_cstr(&dir), &w.watch, &report, &err);
    double seconds = (double)(rf_mono_us() - started) / 1e6;

    rf_progress_pause(&w.bar);
    if (json && (st == RF_OK || w.problems.n > 0))
        print_json(&w, &report, seconds);
    else if (st == RF_OK)
        print_text(&report, seconds);
    int code = st == RF_OK ? RF_EXIT_OK : rf_cli_failed(&rf_verb_repair, &err);

    rfi_cli_watch_clear(&w);
    rf_buf_clear(&dir);
    return code;
}

static int run(int argc, char **argv)
{
    const char *data = getenv("REFOLD_DATA");
    bool indexes = false, json = false;
    const rf_flag flags[] = {{"data", &data, NULL},
                             {"indexes", NULL, &indexes},
                             {"json", NULL, &json},
                             {NULL, NULL, NULL}};
    size_t count = 0;
    int code = rf_cli_flags(&rf_verb_repair, argc, argv, flags, NULL, 0, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (!indexes)
        return rf_cli_usage(&rf_verb_repair, "say what to repair: --indexes");
    return repair(data != NULL && data[0] != '\0' ? data : "refold-data", json);
}

const rf_verb rf_verb_repair = {
    .name = "repair",
    .summary = "make the log's index files anew from its segments",
    .help = "usage: refold repair --indexes [--data DIR] [--json]\n"
            "\n"
            "Index files hold nothing that the segments do not: this makes all of them anew, bit\n"
            "for bit as they were written when the segments were sealed, and removes those that\n"
            "belong to no segment. No server may be running on DIR. A damaged index is also found\n"
            "and made anew by a running server; this is for when `refold verify` names one, or\n"
            "when they were deleted.\n"
            "\n"
            "A damaged segment is named, and its index files are left as they are. Segments are\n"
            "never changed: bring a damaged one back from a backup.\n"
            "\n"
            "Example\n"
            "  refold repair --indexes --data /srv/refold\n",
    .run = run,
};
