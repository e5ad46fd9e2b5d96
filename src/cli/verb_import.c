/*
 * refold import: files into events, in requests of some ten thousand events each. Progress is kept
 * in a small state file after each acknowledged request, so that a stopped import goes on where it
 * was; since ids come from the rows themselves, sending a part twice stores nothing twice.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <yyjson.h>

#include "cli/file_int.h"
#include "cli/import_int.h"

#define REQUEST_EVENTS_DEFAULT 200000
#define LINE_MAX_BYTES (32u << 20)

typedef struct totals {
    uint64_t rows, accepted, duplicates, rejected, shown_errors;
} totals;

typedef struct job {
    const char *file, *map_path, *url;
    bool json, restart, quiet;
    uint64_t limit, request_events;
    char state_path[PATH_MAX];
    rfi_import_map map;
    rfi_import_rows *rows; /* with a mapping */
    gzFile lines;          /* without: the file holds CloudEvents, plain or gzip */
    rf_buf line;           /* bytes not yet handed to the request */
    size_t line_at;
    uint64_t skip;       /* done in an earlier run */
    uint64_t in_request; /* rows put into the current request */
    bool ended;
    rf_err read_err;
    totals t;
    rf_progress bar;
} job;

/* ---- where we were ------------------------------------------------------------------------------
 */

static void state_init(job *j)
{
    const char *home = getenv("XDG_STATE_HOME");
    char dir[PATH_MAX], full[PATH_MAX], real_file[PATH_MAX];
    struct stat st = {0};
    rf_err err = {0};
    uint8_t digest[RF_SHA256_BYTES];
    char hex[2 * RF_SHA256_BYTES + 1];

    if (home != NULL && home[0] == '/')
        snprintf(dir, sizeof dir, "%s/refold/imports", home);
    else
        snprintf(dir, sizeof dir, "%s/.local/state/refold/imports",
                 getenv("HOME") == NULL ? "/tmp" : getenv("HOME"));
    if (realpath(j->file, real_file) == NULL || stat(j->file, &st) != 0 ||
        rf_io_mkdirs(rf_io_posix(), dir, &err) != RF_OK)
        return; /* no state: the import still works, it only cannot be resumed */
    /* The same file, as it is now, by the same mapping, to the same server. */
    rf_buf key;

    rf_buf_init(&key, 1u << 20);
    rf_buf_addf(&key, "%s\n%lld\n%lld\n%s\n", real_file, (long long)st.st_size,
                (long long)st.st_mtime, rf_cli_url(j->url));
    if (j->map_path != NULL) {
        rf_buf map;

        rf_buf_init(&map, 1u << 20);
        if (rf_io_read_file(rf_io_posix(), j->map_path, 1u << 19, &map, &err) == RF_OK)
            rf_buf_add_str(&key, rf_buf_str(&map));
        rf_buf_clear(&map);
    }
    rf_str piece = rf_buf_str(&key);

    rf_sha256(&piece, 1, digest);
    rf_buf_clear(&key);
    rf_hex(digest, 16, hex);
    int n = snprintf(full, sizeof full, "%s/%s", dir, hex);

    if (n > 0 && (size_t)n < sizeof j->state_path)
        memcpy(j->state_path, full, (size_t)n + 1);
}

static void state_load(job *j)
{
    rf_buf text;
    rf_err err = {0};
    uint64_t rows = 0;

    if (j->state_path[0] == '\0' || j->restart)
        return;
    rf_buf_init(&text, 64);
    if (rf_io_read_file(rf_io_posix(), j->state_path, 32, &text, &err) == RF_OK &&
        rf_str_to_u64(rf_buf_str(&text), &rows))
        j->skip = rows;
    rf_buf_clear(&text);
}

static void state_save(const job *j, uint64_t rows)
{
    char text[24];
    rf_err err = {0};

    if (j->state_path[0] == '\0')
        return;
    snprintf(text, sizeof text, "%llu", (unsigned long long)rows);
    if (rf_io_write_file(rf_io_posix(), j->state_path, rf_str_from(text), &err) != RF_OK)
        rf_diag(RF_DIAG_WARN, "this import could not be resumed: %s", err.text);
}

/* ---- producing
 * ------------------------------------------------------------------------------------ */

/* One line of a file that holds CloudEvents already. */
static bool next_line(job *j, rf_buf *out, rf_err *err)
{
    char chunk[1 << 16];
    size_t start = out->n;

    while (gzgets(j->lines, chunk, sizeof chunk) != NULL) {
        rf_buf_add_cstr(out, chunk);
        if (out->failed || out->n - start > LINE_MAX_BYTES) {
            rf_err_set(err, RF_ETOOBIG, "%s: a line of over %u bytes", j->file, LINE_MAX_BYTES);
            return false;
        }
        if (out->p[out->n - 1] == '\n')
            return true;
    }
    int code = 0;
    const char *why = gzerror(j->lines, &code);

    if (code != Z_OK && code != Z_STREAM_END) {
        rf_err_set(err, RF_EIO, "reading %s: %s", j->file, code == Z_ERRNO ? strerror(errno) : why);
        return false;
    }
    if (out->n == start)
        return false;
    rf_buf_add_char(out, '\n'); /* the last line need not end with one */
    return true;
}

static bool next_event(job *j, rf_buf *out, rf_err *err)
{
    return j->rows != NULL ? rfi_import_rows_next(j->rows, out, err) : next_line(j, out, err);
}

/* libcurl asks for bytes; gives whole lines as far as they fit, the rest next time. */
static long fill(void *arg, char *buf, size_t n)
{
    job *j = arg;

    /* What is left of the last time moves to the front, or the buffer would grow with the request.
     */
    if (j->line_at > 0) {
        j->line.n -= j->line_at;
        memmove(j->line.p, j->line.p + j->line_at, j->line.n);
        j->line_at = 0;
    }
    while (j->line.n < n && !j->ended && j->in_request < j->request_events &&
           j->skip + j->t.rows + j->in_request < j->limit) {
        if (!next_event(j, &j->line, &j->read_err)) {
            j->ended = true;
            if (j->read_err.status != RF_OK)
                return -1;
            break;
        }
        if (j->line.failed) {
            rf_err_set(&j->read_err, RF_ETOOBIG, "%s: row %llu is too large", j->file,
                       (unsigned long long)(j->skip + j->t.rows + j->in_request + 1));
            return -1;
        }
        j->in_request++;
        if ((j->in_request & 1023) == 0)
            rf_progress_update(&j->bar, j->skip + j->t.rows + j->in_request);
    }
    size_t take = RF_MIN(n, j->line.n);

    if (take > 0)
        memcpy(buf, j->line.p, take);
    j->line_at = take;
    return (long)take;
}

/* ---- sending
 * ---------------------------------------------------------------------------------------- */

static void show_errors(job *j, yyjson_val *errors)
{
    yyjson_val *e;
    size_t i, n;

    yyjson_arr_foreach(errors, i, n, e)
    {
        const char *rule = yyjson_get_str(yyjson_obj_get(e, "rule"));
        const char *path = yyjson_get_str(yyjson_obj_get(e, "path"));
        const char *detail = yyjson_get_str(yyjson_obj_get(e, "detail"));

        if (j->t.shown_errors++ >= 10)
            return;
        fprintf(
            stderr, "row %llu: %s %s: %s\n",
            (unsigned long long)(j->skip + j->t.rows + yyjson_get_uint(yyjson_obj_get(e, "line"))),
            rule == NULL ? "" : rule, path == NULL ? "" : path, detail == NULL ? "" : detail);
    }
}

static rf_status count_reply(job *j, const rf_reply *reply, rf_err *err)
{
    yyjson_doc *doc = yyjson_read(reply->body.p, reply->body.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool counted = yyjson_is_uint(yyjson_obj_get(root, "rejected"));
    /* 422 with counts: no row of this request was good; the import goes on and reports them. */
    rf_status st = reply->status == 422 && counted ? RF_OK : rf_reply_check(reply, err);

    if (st == RF_OK) {
        show_errors(j, yyjson_obj_get(root, "errors"));
        j->t.accepted += yyjson_get_uint(yyjson_obj_get(root, "accepted"));
        j->t.duplicates += yyjson_get_uint(yyjson_obj_get(root, "duplicates"));
        j->t.rejected += yyjson_get_uint(yyjson_obj_get(root, "rejected"));
        j->t.rows += j->in_request;
    }
    yyjson_doc_free(doc);
    return st;
}

static rf_status send_all(job *j, rf_err *err)
{
    rf_client *client = rf_client_new(rf_cli_url(j->url));
    static const char *const headers[] = {"Content-Type: application/x-ndjson", NULL};
    rf_reply reply = {0};
    rf_status st = RF_OK;

    while (st == RF_OK && !j->ended && j->skip + j->t.rows < j->limit) {
        j->in_request = 0;
        st = rf_client_stream(client, "POST", "/v1/events", headers, fill, j, &reply, err);
        if (j->read_err.status != RF_OK) {
            *err = j->read_err;
            st = err->status;
        } else if (st == RF_OK && j->in_request > 0) {
            st = count_reply(j, &reply, err);
            if (st == RF_OK)
                state_save(j, j->skip + j->t.rows);
        }
    }
    rf_buf_clear(&reply.body);
    rf_client_free(&client);
    return st;
}

static rf_status open_input(job *j, rf_err *err)
{
    rf_status st;

    if (access(j->file, R_OK) != 0)
        return rf_err_set_errno(err, errno, "reading %s", j->file);
    if (j->map_path != NULL) {
        st = rfi_import_map_read(j->map_path, &j->map, err);
        if (st == RF_OK)
            st = rfi_import_rows_open(j->file, &j->map, j->skip,
                                      j->limit == UINT64_MAX ? UINT64_MAX
                                                             : j->limit - RF_MIN(j->limit, j->skip),
                                      &j->rows, err);
        return st;
    }
    if (rfi_file_is(j->file, ".parquet") || rfi_file_is(j->file, ".csv") ||
        rfi_file_is(j->file, ".tsv"))
        return rf_err_set(err, RF_EINVAL,
                          "%s: its rows are no events yet: --map FILE says how they become some",
                          j->file);
    j->lines = gzopen(j->file, "rb"); /* reads plain files as well */
    if (j->lines == NULL)
        return rf_err_set_errno(err, errno, "reading %s", j->file);
    gzbuffer(j->lines, 1u << 18);
    for (uint64_t i = 0; i < j->skip; i++) {
        rf_buf_reset(&j->line);
        if (!next_line(j, &j->line, err))
            break;
    }
    rf_buf_reset(&j->line);
    return err->status;
}

static void print_result(const job *j, double seconds)
{
    char rows[32], accepted[32], duplicates[32], rejected[32], rate[32];
    uint64_t per_second = seconds > 0 ? (uint64_t)((double)j->t.rows / seconds) : 0;

    if (j->json) {
        printf("{\"rows\":%llu,\"accepted\":%llu,\"duplicates\":%llu,\"rejected\":%llu,"
               "\"resumedAt\":%llu,\"seconds\":%.3f,\"eventsPerSecond\":%llu}\n",
               (unsigned long long)j->t.rows, (unsigned long long)j->t.accepted,
               (unsigned long long)j->t.duplicates, (unsigned long long)j->t.rejected,
               (unsigned long long)j->skip, seconds, (unsigned long long)per_second);
        return;
    }
    printf("%s rows: %s accepted, %s duplicates, %s rejected in %.1f s (%s events/s)\n",
           rf_format_count(j->t.rows, rows), rf_format_count(j->t.accepted, accepted),
           rf_format_count(j->t.duplicates, duplicates), rf_format_count(j->t.rejected, rejected),
           seconds, rf_format_count(per_second, rate));
}

static int import(job *j)
{
    rf_err err = {0};
    rf_status st;
    int64_t started = rf_mono_us();

    rf_buf_init(&j->line, 2 * LINE_MAX_BYTES);
    state_init(j);
    state_load(j);
    if (j->skip > 0 && !j->quiet)
        fprintf(stderr, "resuming after row %llu (--restart begins anew)\n",
                (unsigned long long)j->skip);
    st = open_input(j, &err);
    if (st == RF_OK) {
        uint64_t total = j->rows != NULL ? rfi_import_rows_total(j->rows) : 0;

        rf_progress_begin(&j->bar, "importing", "events",
                          total > 0                ? RF_MIN(total, j->limit)
                          : j->limit == UINT64_MAX ? 0
                                                   : j->limit,
                          j->quiet);
        st = send_all(j, &err);
        rf_progress_update(&j->bar, j->skip + j->t.rows);
        rf_progress_end(&j->bar);
    }
    if (st == RF_OK && j->state_path[0] != '\0')
        unlink(j->state_path);
    if (st == RF_OK)
        print_result(j, (double)(rf_mono_us() - started) / 1e6);
    rfi_import_rows_close(&j->rows);
    rfi_import_map_clear(&j->map);
    if (j->lines != NULL)
        gzclose(j->lines);
    rf_buf_clear(&j->line);
    if (st != RF_OK) {
        if (j->t.rows > 0)
            rf_err_note(&err, "after %llu rows (run it again to go on)",
                        (unsigned long long)(j->skip + j->t.rows));
        return rf_cli_failed(&rf_verb_import, &err);
    }
    return j->t.rejected > 0 ? RF_EXIT_FAILED : RF_EXIT_OK;
}

static int run(int argc, char **argv)
{
    job j = {.limit = UINT64_MAX, .request_events = REQUEST_EVENTS_DEFAULT};
    const char *limit = NULL, *request = NULL;
    const rf_flag flags[] = {{"map", &j.map_path, NULL}, {"url", &j.url, NULL},
                             {"limit", &limit, NULL},    {"request-events", &request, NULL},
                             {"json", NULL, &j.json},    {"restart", NULL, &j.restart},
                             {"quiet", NULL, &j.quiet},  {NULL, NULL, NULL}};
    size_t count = 0;
    int code = rf_cli_flags(&rf_verb_import, argc, argv, flags, &j.file, 1, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (count != 1)
        return rf_cli_usage(&rf_verb_import, "name the file");
    if (!rf_cli_number(&rf_verb_import, "limit", limit, 1, UINT64_MAX, &j.limit) ||
        !rf_cli_number(&rf_verb_import, "request-events", request, 1, 10000000, &j.request_events))
        return RF_EXIT_USAGE;
    return import(&j);
}

const rf_verb rf_verb_import = {
    .name = "import",
    .summary = "turn rows of a Parquet, CSV, JSON or NDJSON file into events",
    .help =
        "usage: refold import FILE [--map MAP.yaml] [--limit ROWS] [--restart] [--quiet] [--json]\n"
        "                     [--request-events N] [--url URL]\n"
        "\n"
        "FILE is .parquet, .csv, .tsv, .json, .ndjson or .jsonl, the text kinds also with .gz. "
        "The\n"
        "mapping says which column, or which SQL expression (after \"= \"), becomes which "
        "attribute:\n"
        "\n"
        "  type: flight.landed                      # plain text; \"= SQL\" to compute it\n"
        "  source: /bts/2001\n"
        "  id: \"= 'F' || row\"                       # row: number of the row, from 1\n"
        "  subject: \"= origin || '-' || destination\"\n"
        "  time: date                               # a column\n"
        "  data: [delay, distance, origin]          # or  name: column | \"= SQL\";  absent: all\n"
        "  where: delay IS NOT NULL\n"
        "  options: \"delim = ';', header = true\"     # for the reader of the file\n"
        "\n"
        "Without --map the file must hold CloudEvents, one a line (NDJSON, plain or gzip).\n"
        "An import that was stopped goes on where it was when run again. It never stores a row "
        "twice,\n"
        "since the same row gets the same id. Exit code 1 when any row was rejected.\n"
        "\n"
        "Examples\n"
        "  refold import flights.parquet --map examples/flights/import.yaml\n"
        "  refold import events.ndjson.gz\n",
    .run = run,
};
