/* refold sql: one query against a server. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/file_int.h"

#define SQL_MAX (1u << 20)
#define FILE_ANSWER_MAX (512u << 20)

static void build_request(const char *sql, const char *format, const char *after,
                          const char *timeout, const char *max_rows, rf_buf *out)
{
    rf_buf_add_cstr(out, "{\"sql\":");
    rf_buf_add_json_str(out, rf_str_from(sql));
    rf_buf_add_cstr(out, ",\"format\":");
    rf_buf_add_json_str(out, rf_str_from(format));
    if (after != NULL) {
        rf_buf_add_cstr(out, ",\"after\":");
        rf_buf_add_json_str(out, rf_str_from(after));
    }
    if (timeout != NULL)
        rf_buf_addf(out, ",\"timeoutMs\":%s", timeout);
    if (max_rows != NULL)
        rf_buf_addf(out, ",\"maxRows\":%s", max_rows);
    rf_buf_add_char(out, '}');
}

static void print_notes(rf_str json)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *warning;
    size_t i, n;

    fprintf(stderr, "%llu row%s, %.1f ms\n",
            (unsigned long long)yyjson_get_uint(yyjson_obj_get(root, "rowCount")),
            yyjson_get_uint(yyjson_obj_get(root, "rowCount")) == 1 ? "" : "s",
            yyjson_get_num(yyjson_obj_get(root, "elapsedMs")));
    yyjson_arr_foreach(yyjson_obj_get(root, "warnings"), i, n, warning)
        fprintf(stderr, "warning: %s\n", yyjson_get_str(warning));
    yyjson_doc_free(doc);
}

typedef struct sql_flags {
    const char *sql, *file, *url, *format, *after, *timeout, *max_rows;
    bool json, csv, ndjson, chart;
} sql_flags;

/* What is asked for: one of the server's formats, or "table" or "chart", which are made of JSON. */
static const char *format_of(const sql_flags *f)
{
    if (f->chart)
        return "chart";
    if (f->json || f->csv || f->ndjson)
        return f->json ? "json" : f->csv ? "csv" : "ndjson";
    return f->format == NULL ? "table" : f->format;
}

static bool is_shown(const char *format)
{
    return strcmp(format, "table") == 0 || strcmp(format, "chart") == 0;
}

static rf_status ask(const sql_flags *f, const char *format, rf_reply *reply, rf_err *err)
{
    rf_buf body;

    if (is_shown(format))
        format = "json";
    if (f->file != NULL) {
        rf_buf_init(&reply->body, FILE_ANSWER_MAX);
        return rfi_file_query(f->file, f->sql, format, &reply->body, err);
    }
    rf_buf_init(&body, 2 * SQL_MAX);
    build_request(f->sql, format, f->after, f->timeout, f->max_rows, &body);
    rf_status st =
        rf_cli_call(f->url, "POST", "/v1/query", "application/json", rf_buf_str(&body), reply, err);

    rf_buf_clear(&body);
    return st;
}

static rf_status show(const char *format, rf_str answer, rf_err *err)
{
    if (!is_shown(format)) {
        fwrite(answer.p, 1, answer.n, stdout);
        if (strcmp(format, "json") == 0 && (answer.n == 0 || answer.p[answer.n - 1] != '\n'))
            fputc('\n', stdout);
        return RF_OK;
    }
    rf_status st = strcmp(format, "chart") == 0 ? rf_chart_print_answer(answer, stdout, err)
                                                : rf_table_print_answer(answer, stdout, err);

    if (st == RF_OK) {
        fflush(stdout);
        print_notes(answer);
    }
    return st;
}

static int run(int argc, char **argv)
{
    sql_flags f = {0};
    const rf_flag flags[] = {{"url", &f.url, NULL},
                             {"file", &f.file, NULL},
                             {"format", &f.format, NULL},
                             {"after", &f.after, NULL},
                             {"timeout-ms", &f.timeout, NULL},
                             {"max-rows", &f.max_rows, NULL},
                             {"json", NULL, &f.json},
                             {"csv", NULL, &f.csv},
                             {"ndjson", NULL, &f.ndjson},
                             {"chart", NULL, &f.chart},
                             {NULL, NULL, NULL}};
    size_t positional = 0;
    uint64_t number = 0;
    rf_err err = {0};
    rf_reply reply = {0};
    rf_buf input;
    rf_status st = RF_OK;
    int code = rf_cli_flags(&rf_verb_sql, argc, argv, flags, &f.sql, 1, &positional);

    if (code != RF_EXIT_OK)
        return code;
    if (!rf_cli_number(&rf_verb_sql, "timeout-ms", f.timeout, 1, 600000, &number) ||
        !rf_cli_number(&rf_verb_sql, "max-rows", f.max_rows, 1, 10000000, &number))
        return RF_EXIT_USAGE;
    const char *format = format_of(&f);

    if (!is_shown(format) && strcmp(format, "json") != 0 && strcmp(format, "csv") != 0 &&
        strcmp(format, "ndjson") != 0 && strcmp(format, "arrow") != 0)
        return rf_cli_usage(&rf_verb_sql,
                            "--format: '%s' is not table, chart, json, csv, ndjson or "
                            "arrow",
                            format);
    if (f.sql == NULL && isatty(STDIN_FILENO))
        return rf_cli_usage(&rf_verb_sql, "give a statement, or - to read it from input");
    rf_buf_init(&input, SQL_MAX);
    if (f.sql == NULL || strcmp(f.sql, "-") == 0) {
        st = rf_cli_read_input("-", SQL_MAX - 1, &input, &err);
        f.sql = rf_buf_cstr(&input);
    }
    if (st == RF_OK)
        st = ask(&f, format, &reply, &err);
    if (st == RF_OK)
        st = show(format, rf_buf_str(&reply.body), &err);
    if (st != RF_OK)
        code = rf_cli_failed(&rf_verb_sql, &err);
    rf_buf_clear(&input);
    rf_buf_clear(&reply.body);
    return code;
}

const rf_verb rf_verb_sql = {
    .name = "sql",
    .summary = "ask projections and events with SQL",
    .help =
        "usage: refold sql [SQL|-] [--chart|--json|--csv|--ndjson|--format arrow]\n"
        "                  [--after POSITION] [--timeout-ms N] [--max-rows N] [--url URL]\n"
        "       refold sql --file FILE [SQL|-] [--chart|--json|--csv|--ndjson|--format arrow]\n"
        "\n"
        "Relations: every projection by its name, every event type by its quoted name, and\n"
        "`events` for all of them. Columns of events: id, source, type, subject, time,\n"
        "recordedtime, domain, partition, \"offset\", revision, correlationid, causationid,\n"
        "dataschema, data. --after takes the position of an acknowledgement and waits until the\n"
        "answer includes it: you read your own writes.\n"
        "\n"
        "--chart draws a bar for each row: the first column is the label, the first number after "
        "it\n"
        "the length.\n"
        "\n"
        "--file asks a Parquet, CSV, JSON or NDJSON file instead of a server, with the same engine "
        "in\n"
        "this process; the relation is called `file`. Good for a look before an import, and for a\n"
        "count after it.\n"
        "\n"
        "Examples\n"
        "  refold sql 'SELECT * FROM delays_by_day ORDER BY day LIMIT 10'\n"
        "  refold sql 'SELECT data.origin, count(*) FROM \"flight.landed\" GROUP BY ALL'\n"
        "  refold sql --csv 'SELECT type, count(*) AS n FROM events GROUP BY ALL' > types.csv\n"
        "  refold sql --file flights.parquet 'DESCRIBE file'\n",
    .run = run,
};
