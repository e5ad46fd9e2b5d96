/* refold apply DIR: sends a project folder's schemas and projections to a server. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"
#include "schema/schema.h"

#define FILE_MAX (1u << 20)

typedef struct apply {
    const char *dir, *url;
    bool json;
    rf_buf report; /* elements of a JSON array */
    size_t failed, done;
} apply;

static int only_files(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);

    return n > t && strcmp(name + n - t, tail) == 0;
}

static void report(apply *a, const char *what, const char *name, const char *result,
                   const rf_err *err)
{
    if (err != NULL)
        a->failed++;
    else
        a->done++;
    if (a->json) {
        rf_buf_addf(&a->report, "%s{\"kind\":\"%s\",\"name\":", a->report.n > 0 ? "," : "", what);
        rf_buf_add_json_str(&a->report, rf_str_from(name));
        rf_buf_add_cstr(&a->report, ",\"result\":");
        rf_buf_add_json_str(&a->report, rf_str_from(result));
        if (err != NULL) {
            rf_buf_add_cstr(&a->report, ",\"error\":");
            rf_buf_add_json_str(&a->report, rf_str_from(err->text));
        }
        rf_buf_add_char(&a->report, '}');
    } else if (err != NULL) {
        fprintf(stderr, "%s %s: %s\n", what, name, err->text);
    } else {
        printf("%s %s: %s\n", what, name, result);
    }
}

static void print_warnings(rf_str json)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    yyjson_val *w;
    size_t i, n;

    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "warnings"), i, n, w)
        fprintf(stderr, "  warning: %s\n", yyjson_get_str(w));
    yyjson_doc_free(doc);
}

static void put(apply *a, const char *what, const char *name, const char *file, const char *path,
                const char *content_type)
{
    rf_err err = {0};
    rf_reply reply = {0};
    rf_buf body;
    rf_status st;

    rf_buf_init(&body, FILE_MAX);
    st = rf_io_read_file(rf_io_posix(), file, FILE_MAX, &body, &err);
    if (st == RF_OK)
        st = rf_cli_call(a->url, "PUT", path, content_type, rf_buf_str(&body), &reply, &err);
    if (st == RF_OK) {
        yyjson_doc *doc = yyjson_read(reply.body.p, reply.body.n, 0);
        const char *result = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "result"));

        report(a, what, name,
               result != NULL        ? result
               : reply.status == 201 ? "created"
                                     : "unchanged",
               NULL);
        yyjson_doc_free(doc);
        if (!a->json)
            print_warnings(rf_buf_str(&reply.body));
    } else {
        rf_err_note(&err, "%s", file);
        report(a, what, name, "failed", &err);
    }
    rf_buf_clear(&body);
    rf_buf_clear(&reply.body);
}

static void put_schema(apply *a, const char *file, const char *entry)
{
    rf_str type;
    uint32_t version = 0;
    rf_err err = {0};
    rf_buf path;

    if (rf_schema_file_name(rf_str_from(entry), &type, &version, &err) != RF_OK) {
        report(a, "schema", entry, "failed", &err);
        return;
    }
    rf_buf_init(&path, 8192);
    rf_buf_add_cstr(&path, "/v1/schemas/");
    rf_url_encode(&path, type);
    rf_buf_addf(&path, "/versions/%u", version);
    put(a, "schema", entry, file, rf_buf_cstr(&path), "application/schema+json");
    rf_buf_clear(&path);
}

static void put_projection(apply *a, const char *file, const char *entry)
{
    rf_buf path;
    char *name = rf_xstrndup((rf_str){entry, strlen(entry) - 4});

    rf_buf_init(&path, 8192);
    rf_buf_add_cstr(&path, "/v1/projections/");
    rf_url_encode(&path, rf_str_from(name));
    put(a, "projection", name, file, rf_buf_cstr(&path), "application/sql");
    rf_buf_clear(&path);
    free(name);
}

/* In order of name. A folder that is not there is fine; the count tells in the end. */
static void each_file(apply *a, const char *folder, const char *tail,
                      void (*one)(apply *a, const char *file, const char *entry))
{
    char dir[4096], file[4096 + 300];
    struct dirent **entries = NULL;

    snprintf(dir, sizeof dir, "%s/%s", a->dir, folder);
    int n = scandir(dir, &entries, only_files, alphasort);

    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", dir, entries[i]->d_name);
        if (ends_with(entries[i]->d_name, tail))
            one(a, file, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

static int run(int argc, char **argv)
{
    apply a = {0};
    const rf_flag flags[] = {{"url", &a.url, NULL}, {"json", NULL, &a.json}, {NULL, NULL, NULL}};
    size_t count = 0;
    int code = rf_cli_flags(&rf_verb_apply, argc, argv, flags, &a.dir, 1, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (count != 1)
        return rf_cli_usage(&rf_verb_apply, "name the project folder");
    rf_buf_init(&a.report, 16u << 20);
    each_file(&a, "schemas", ".json", put_schema);
    each_file(&a, "projections", ".sql", put_projection);
    if (a.json)
        printf("[%.*s]\n", RF_STR_ARG(rf_buf_str(&a.report)));
    rf_buf_clear(&a.report);
    if (a.failed + a.done == 0) {
        rf_err err = {0};

        rf_err_set(&err, RF_ENOTFOUND,
                   "%s holds neither schemas/*.json nor projections/*.sql: nothing to apply",
                   a.dir);
        return rf_cli_failed(&rf_verb_apply, &err);
    }
    return a.failed > 0 ? RF_EXIT_FAILED : RF_EXIT_OK;
}

const rf_verb rf_verb_apply = {
    .name = "apply",
    .summary = "send a project folder's schemas and projections to a server",
    .help = "usage: refold apply DIR [--json] [--url URL]\n"
            "\n"
            "Applies DIR/schemas/TYPE.vN.json, then DIR/projections/NAME.sql, in order of name. "
            "What is\n"
            "already there unchanged stays as it is; a changed projection is built beside the old "
            "one,\n"
            "which serves until the new one has caught up. Exit code 1 when any of them was "
            "refused; the\n"
            "others are applied all the same.\n"
            "\n"
            "Example\n"
            "  refold apply examples/flights\n",
    .run = run,
};
