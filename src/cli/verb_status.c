/* refold status: one look at a running server. */
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"

static const char *text_of(yyjson_val *object, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(object, name));

    return text == NULL ? "" : text;
}

static void cell_text(rf_table *t, const char *text)
{
    rf_table_cell(t, rf_str_from(text));
}

static void cell_count(rf_table *t, yyjson_val *v)
{
    char buf[32];

    cell_text(t, yyjson_is_num(v) ? rf_format_count((uint64_t)yyjson_get_num(v), buf) : "");
}

static void cell_bytes(rf_table *t, yyjson_val *v)
{
    char buf[32];

    cell_text(t, yyjson_is_num(v) ? rf_format_bytes((uint64_t)yyjson_get_num(v), buf) : "");
}

/* Heads that begin with '>' are columns of numbers. */
static rf_table *table_of(const char *const *heads, size_t count)
{
    rf_table *t = rf_table_new(count);

    for (size_t i = 0; i < count; i++) {
        bool right = heads[i][0] == '>';

        rf_table_head(t, rf_str_from(heads[i] + right), right);
    }
    return t;
}

static void print_section(rf_table *t, yyjson_val *list)
{
    if (yyjson_arr_size(list) > 0) {
        printf("\n");
        rf_table_print(t, stdout);
    }
    rf_table_free(&t);
}

/* "3 d 4 h", "4 h 12 min", "12 min 5 s", "5 s". */
static const char *format_seconds(double seconds, char buf[static 48])
{
    unsigned long long s = seconds > 0 ? (unsigned long long)seconds : 0;

    if (s >= 86400)
        snprintf(buf, 48, "%llu d %llu h", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        snprintf(buf, 48, "%llu h %llu min", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        snprintf(buf, 48, "%llu min %llu s", s / 60, s % 60);
    else
        snprintf(buf, 48, "%llu s", s);
    return buf;
}

static void print_head(const char *url, yyjson_val *root)
{
    yyjson_val *reader = yyjson_obj_get(root, "reader");
    char uptime[48];

    printf("refold %s at %s, up for %s", text_of(root, "version"), url,
           format_seconds(yyjson_get_num(yyjson_obj_get(root, "uptimeSeconds")), uptime));
    if (yyjson_is_obj(reader))
        printf("; read half %s", text_of(reader, "state"));
    printf("\n");
}

static void print_partitions(yyjson_val *root)
{
    static const char *const heads[] = {"domain",    ">partition", ">events",
                                        ">segments", ">on disk",   "state"};
    yyjson_val *list = yyjson_obj_get(root, "partitions"), *p;
    rf_table *t = table_of(heads, RF_ARRAY_LEN(heads));
    size_t i, n;

    yyjson_arr_foreach(list, i, n, p)
    {
        cell_text(t, text_of(p, "domain"));
        cell_count(t, yyjson_obj_get(p, "partition"));
        cell_count(t, yyjson_obj_get(p, "events"));
        cell_count(t, yyjson_obj_get(p, "segments"));
        cell_bytes(t, yyjson_obj_get(p, "bytes"));
        cell_text(t, text_of(p, "state"));
    }
    print_section(t, list);
}

static void print_projections(yyjson_val *list)
{
    static const char *const heads[] = {"projection", ">version",    "state",
                                        ">rows",      ">lag events", ">lag seconds"};
    rf_table *t = table_of(heads, RF_ARRAY_LEN(heads));
    yyjson_val *p;
    size_t i, n;

    yyjson_arr_foreach(list, i, n, p)
    {
        yyjson_val *lag = yyjson_obj_get(p, "lag");
        yyjson_val *seconds = yyjson_obj_get(lag, "seconds");
        char text[32] = "";

        if (yyjson_is_num(seconds))
            snprintf(text, sizeof text, "%.1f", yyjson_get_num(seconds));
        cell_text(t, text_of(p, "name"));
        cell_count(t, yyjson_obj_get(p, "version"));
        cell_text(t, text_of(p, "state"));
        cell_count(t, yyjson_obj_get(p, "rows"));
        cell_count(t, yyjson_obj_get(lag, "events"));
        cell_text(t, text);
    }
    print_section(t, list);
}

static void print_types(yyjson_val *list)
{
    static const char *const heads[] = {"type", ">events", "first", "last"};
    rf_table *t = table_of(heads, RF_ARRAY_LEN(heads));
    yyjson_val *type;
    size_t i, n;

    yyjson_arr_foreach(list, i, n, type)
    {
        cell_text(t, text_of(type, "type"));
        cell_count(t, yyjson_obj_get(type, "events"));
        cell_text(t, text_of(type, "firstTime"));
        cell_text(t, text_of(type, "lastTime"));
    }
    print_section(t, list);
}

/* What the read half knows; without it the rest is shown all the same. NULL: it did not answer. */
static yyjson_doc *get(const char *url, const char *path, rf_err *err)
{
    rf_reply reply = {0};
    yyjson_doc *doc = NULL;

    if (rf_cli_call(url, "GET", path, NULL, (rf_str){NULL, 0}, &reply, err) == RF_OK)
        doc = yyjson_read(reply.body.p, reply.body.n, 0);
    rf_buf_clear(&reply.body);
    return doc;
}

/* The list itself, or the member of that name. */
static yyjson_val *list_of(yyjson_doc *doc, const char *name)
{
    yyjson_val *root = yyjson_doc_get_root(doc);

    return yyjson_is_arr(root) ? root : yyjson_obj_get(root, name);
}

static void print_json(yyjson_doc *status, yyjson_doc *projections, yyjson_doc *types)
{
    yyjson_mut_doc *all = yyjson_doc_mut_copy(status, NULL);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(all);

    if (projections != NULL && yyjson_mut_obj_get(root, "projections") == NULL)
        yyjson_mut_obj_add_val(all, root, "projections",
                               yyjson_val_mut_copy(all, list_of(projections, "projections")));
    if (types != NULL && yyjson_mut_obj_get(root, "types") == NULL)
        yyjson_mut_obj_add_val(all, root, "types",
                               yyjson_val_mut_copy(all, list_of(types, "types")));
    char *text = yyjson_mut_write(all, 0, NULL);

    printf("%s\n", text == NULL ? "{}" : text);
    free(text);
    yyjson_mut_doc_free(all);
}

static int run(int argc, char **argv)
{
    const char *url = NULL;
    bool json = false;
    const rf_flag flags[] = {{"url", &url, NULL}, {"json", NULL, &json}, {NULL, NULL, NULL}};
    size_t count = 0;
    rf_err err = {0}, reader_err = {0};
    int code = rf_cli_flags(&rf_verb_status, argc, argv, flags, NULL, 0, &count);

    if (code != RF_EXIT_OK)
        return code;
    yyjson_doc *status = get(url, "/v1/status", &err);

    if (status == NULL) {
        if (err.status == RF_OK)
            rf_err_set(&err, RF_EINVAL, "%s does not answer like a refold server", rf_cli_url(url));
        return rf_cli_failed(&rf_verb_status, &err);
    }
    yyjson_doc *projections = get(url, "/v1/projections", &reader_err);
    yyjson_doc *types = projections == NULL ? NULL : get(url, "/v1/types", &reader_err);

    if (json) {
        print_json(status, projections, types);
    } else {
        print_head(rf_cli_url(url), yyjson_doc_get_root(status));
        print_partitions(yyjson_doc_get_root(status));
        print_projections(list_of(projections, "projections"));
        print_types(list_of(types, "types"));
        if (projections == NULL)
            printf("\nno word from the read half: %s\n", reader_err.text);
    }
    yyjson_doc_free(types);
    yyjson_doc_free(projections);
    yyjson_doc_free(status);
    return RF_EXIT_OK;
}

const rf_verb rf_verb_status = {
    .name = "status",
    .summary = "what a server holds and how far its read models are",
    .help =
        "usage: refold status [--json] [--url URL]\n"
        "\n"
        "Version and uptime; each partition of the log with its events and bytes; each projection\n"
        "with its state and how far behind it is; each event type that was seen.\n"
        "\n"
        "Example\n"
        "  refold status --json | jq '.projections[] | select(.lag.seconds > 5) | .name'\n",
    .run = run,
};
