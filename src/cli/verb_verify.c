/* refold verify: reads a whole log and says what of it is not what was written. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "log/log.h"

typedef struct verify {
    bool json;
    rf_buf problems; /* elements of a JSON array */
    rf_progress bar;
} verify;

static void on_problem(void *arg, const char *line)
{
    verify *v = arg;

    if (v->json) {
        if (v->problems.n > 0)
            rf_buf_add_char(&v->problems, ',');
        rf_buf_add_json_str(&v->problems, rf_str_from(line));
        return;
    }
    rf_progress_pause(&v->bar);
    printf("%s\n", line);
}

static void on_progress(void *arg, uint64_t bytes_done, uint64_t bytes_total)
{
    verify *v = arg;

    v->bar.total = bytes_total;
    rf_progress_update(&v->bar, bytes_done);
}

static void print_json(const verify *v, const rf_verify_report *r, double seconds)
{
    printf("{\"partitions\":%llu,\"segments\":%llu,\"blocks\":%llu,\"events\":%llu,\"bytes\":%llu,"
           "\"tornTails\":%llu,\"damaged\":%llu,\"problems\":[%.*s],\"seconds\":%.3f}\n",
           (unsigned long long)r->partitions, (unsigned long long)r->segments,
           (unsigned long long)r->blocks, (unsigned long long)r->events,
           (unsigned long long)r->bytes, (unsigned long long)r->torn,
           (unsigned long long)r->problems, RF_STR_ARG(rf_buf_str(&v->problems)), seconds);
}

static void print_text(const rf_verify_report *r, double seconds)
{
    char events[32], bytes[32], blocks[32], segments[32], rate[32];

    printf("%s event%s in %s block%s, %s segment%s, %llu partition%s: %s read in %.1f s (%s/s)\n",
           rf_format_count(r->events, events), r->events == 1 ? "" : "s",
           rf_format_count(r->blocks, blocks), r->blocks == 1 ? "" : "s",
           rf_format_count(r->segments, segments), r->segments == 1 ? "" : "s",
           (unsigned long long)r->partitions, r->partitions == 1 ? "" : "s",
           rf_format_bytes(r->bytes, bytes), seconds,
           rf_format_bytes(seconds > 0 ? (uint64_t)((double)r->bytes / seconds) : 0, rate));
    if (r->torn > 0)
        printf("%llu torn tail%s after the last acknowledged event: harmless, cut off at the next "
               "start\n",
               (unsigned long long)r->torn, r->torn == 1 ? "" : "s");
    if (r->problems > 0)
        printf("DAMAGED: %llu problem%s\n", (unsigned long long)r->problems,
               r->problems == 1 ? "" : "s");
    else
        printf("every event is as it was written\n");
}

/* DIR is the data directory; the log's own directory does as well. */
static rf_status find_log(const char *data, rf_buf *dir, rf_err *err)
{
    struct stat about;

    rf_buf_addf(dir, "%s/log", data);
    if (stat(rf_buf_cstr(dir), &about) == 0 && S_ISDIR(about.st_mode))
        return RF_OK;
    rf_buf_reset(dir);
    rf_buf_addf(dir, "%s/meta", data);
    if (stat(rf_buf_cstr(dir), &about) != 0)
        return rf_err_set(err, RF_ENOTFOUND, "there is no log in %s (--data names the directory)",
                          data);
    rf_buf_reset(dir);
    rf_buf_add_cstr(dir, data);
    return RF_OK;
}

static int verify_log(verify *v, const char *data)
{
    rf_verify_report report = {0};
    rf_err err = {0};
    rf_buf dir;
    int64_t started = rf_mono_us();

    rf_buf_init(&dir, 8192);
    rf_buf_init(&v->problems, 64u << 20);
    rf_status st = find_log(data, &dir, &err);

    if (st == RF_OK) {
        rf_progress_begin(&v->bar, "verifying", "bytes", 0, v->json);
        st = rf_log_verify(rf_io_posix(), rf_buf_cstr(&dir), on_problem, on_progress, v, &report,
                           &err);
        rf_progress_end(&v->bar);
    }
    double seconds = (double)(rf_mono_us() - started) / 1e6;
    int code = st == RF_OK && report.problems == 0 ? RF_EXIT_OK : RF_EXIT_FAILED;

    if (st != RF_OK)
        rf_cli_failed(&rf_verb_verify, &err);
    else if (v->json)
        print_json(v, &report, seconds);
    else
        print_text(&report, seconds);
    rf_buf_clear(&dir);
    rf_buf_clear(&v->problems);
    return code;
}

static int run(int argc, char **argv)
{
    verify v = {0};
    const char *data = getenv("REFOLD_DATA");
    const rf_flag flags[] = {{"data", &data, NULL}, {"json", NULL, &v.json}, {NULL, NULL, NULL}};
    size_t count = 0;
    int code = rf_cli_flags(&rf_verb_verify, argc, argv, flags, NULL, 0, &count);

    if (code != RF_EXIT_OK)
        return code;
    return verify_log(&v, data != NULL && data[0] != '\0' ? data : "refold-data");
}

const rf_verb rf_verb_verify = {
    .name = "verify",
    .summary = "check every byte of a log against its checksums",
    .help =
        "usage: refold verify [--data DIR] [--json]\n"
        "\n"
        "Reads the log in DIR (./refold-data) and checks block headers, checksums, the chain of\n"
        "hashes, the order of offsets and revisions, and the index files. Needs no server and\n"
        "changes nothing; beside a running one it checks what is durable. Exit code 1 on any\n"
        "damage, with one line for each on standard output.\n"
        "\n"
        "Example\n"
        "  refold verify --data /srv/refold && echo sound\n",
    .run = run,
};
