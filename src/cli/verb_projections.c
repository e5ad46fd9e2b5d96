/* refold projections, refold rebuild: look at read models, remove them, make them anew. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/cli.h"

static const char *text_of(yyjson_val *object, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(object, name));

    return text == NULL ? "" : text;
}

static void add_count(rf_table *t, yyjson_val *v)
{
    char buf[32];

    rf_table_cell(t, rf_str_from(rf_format_count(yyjson_get_uint(v), buf)));
}

static void add_row(rf_table *t, yyjson_val *p)
{
    yyjson_val *lag = yyjson_obj_get(p, "lag");
    yyjson_val *last = yyjson_obj_get(p, "lastRebuild");
    yyjson_val *progress = yyjson_obj_get(p, "progress");
    char note[160] = "";

    rf_table_cell(t, rf_str_from(text_of(p, "name")));
    add_count(t, yyjson_obj_get(p, "version"));
    rf_table_cell(t, rf_str_from(text_of(p, "state")));
    add_count(t, yyjson_obj_get(p, "rows"));
    add_count(t, yyjson_obj_get(lag, "events"));
    if (text_of(p, "reason")[0] != '\0') {
        snprintf(note, sizeof note, "%s", text_of(p, "reason"));
    } else if (yyjson_is_obj(progress)) {
        double total = yyjson_get_num(yyjson_obj_get(progress, "total"));

        snprintf(note, sizeof note, "building: %.0f %%",
                 total > 0 ? 100 * yyjson_get_num(yyjson_obj_get(progress, "done")) / total : 0);
    } else if (yyjson_get_num(yyjson_obj_get(last, "events")) > 0) {
        char rate[32];

        rf_format_count((uint64_t)yyjson_get_num(yyjson_obj_get(last, "eventsPerSecond")), rate);
        snprintf(note, sizeof note, "built at %s events/s", rate);
    }
    rf_table_cell(t, rf_str_from(note));
}

static void print_list(rf_str json)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *list = yyjson_is_obj(root) ? yyjson_obj_get(root, "projections") : root;
    yyjson_val *p;
    size_t i, n;
    static const char *const heads[] = {"name", "version", "state", "rows", "lag", "note"};
    rf_table *t = rf_table_new(RF_ARRAY_LEN(heads));

    for (size_t h = 0; h < RF_ARRAY_LEN(heads); h++)
        rf_table_head(t, rf_str_from(heads[h]), h == 1 || h == 3 || h == 4);
    yyjson_arr_foreach(list, i, n, p) add_row(t, p);
    rf_table_print(t, stdout);
    rf_table_free(&t);
    yyjson_doc_free(doc);
}

static void path_of(const char *name, const char *tail, rf_buf *path)
{
    rf_buf_init(path, 4096);
    rf_buf_add_cstr(path, "/v1/projections");
    if (name != NULL) {
        rf_buf_add_char(path, '/');
        rf_url_encode(path, rf_str_from(name));
    }
    rf_buf_add_cstr(path, tail);
}

static rf_status call(const char *url, const char *method, const char *name, const char *tail,
                      rf_reply *reply, rf_err *err)
{
    rf_buf path;
    rf_status st;

    path_of(name, tail, &path);
    st = rf_cli_call(url, method, rf_buf_cstr(&path), NULL, (rf_str){NULL, 0}, reply, err);
    rf_buf_clear(&path);
    return st;
}

static void print_one(rf_str json)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    char *pretty = yyjson_val_write(yyjson_doc_get_root(doc), YYJSON_WRITE_PRETTY, NULL);

    printf("%s\n", pretty == NULL ? "" : pretty);
    free(pretty);
    yyjson_doc_free(doc);
}

static int run_projections(int argc, char **argv)
{
    const char *url = NULL, *words[2] = {NULL, NULL};
    bool json = false;
    const rf_flag flags[] = {{"url", &url, NULL}, {"json", NULL, &json}, {NULL, NULL, NULL}};
    size_t count = 0;
    rf_err err = {0};
    rf_reply reply = {0};
    int code = rf_cli_flags(&rf_verb_projections, argc, argv, flags, words, 2, &count);

    if (code != RF_EXIT_OK)
        return code;
    bool drop = count == 2 && strcmp(words[0], "drop") == 0;
    bool show = count == 2 && strcmp(words[0], "show") == 0;
    bool list = count == 0 || (count == 1 && strcmp(words[0], "list") == 0);

    if (!drop && !show && !list)
        return rf_cli_usage(&rf_verb_projections, "say list, show NAME or drop NAME");
    if (call(url, drop ? "DELETE" : "GET", list ? NULL : words[1], "", &reply, &err) != RF_OK)
        code = rf_cli_failed(&rf_verb_projections, &err);
    else if (json && !drop)
        printf("%.*s\n", RF_STR_ARG(rf_buf_str(&reply.body)));
    else if (list)
        print_list(rf_buf_str(&reply.body));
    else if (show)
        print_one(rf_buf_str(&reply.body));
    else
        printf("dropped %s\n", words[1]);
    rf_buf_clear(&reply.body);
    return code;
}

const rf_verb rf_verb_projections = {
    .name = "projections",
    .summary = "list, show or drop read models",
    .help = "usage: refold projections [list] [--json] [--url URL]\n"
            "       refold projections show NAME [--json]\n"
            "       refold projections drop NAME\n"
            "\n"
            "Dropping a projection loses nothing: it is computed from the log and can be again.\n",
    .run = run_projections,
};

/* ---- rebuild ------------------------------------------------------------------------------------
 */

typedef struct state {
    bool building, halted, live;
    uint64_t version, done, total;
    double events, seconds, rate;
    char reason[256];
} state;

static rf_status get_state(const char *url, const char *name, state *s, rf_err *err)
{
    rf_reply reply = {0};
    rf_status st = call(url, "GET", name, "", &reply, err);

    *s = (state){0};
    if (st == RF_OK) {
        yyjson_doc *doc = yyjson_read(reply.body.p, reply.body.n, 0);
        yyjson_val *root = yyjson_doc_get_root(doc);
        yyjson_val *progress = yyjson_obj_get(root, "progress");
        yyjson_val *last = yyjson_obj_get(root, "lastRebuild");

        s->building = yyjson_is_obj(progress) || strcmp(text_of(root, "state"), "building") == 0;
        s->halted = strcmp(text_of(root, "state"), "halted") == 0;
        s->version = yyjson_get_uint(yyjson_obj_get(root, "version"));
        s->done = yyjson_get_uint(yyjson_obj_get(progress, "done"));
        s->total = yyjson_get_uint(yyjson_obj_get(progress, "total"));
        s->events = yyjson_get_num(yyjson_obj_get(last, "events"));
        s->seconds = yyjson_get_num(yyjson_obj_get(last, "seconds"));
        s->rate = yyjson_get_num(yyjson_obj_get(last, "eventsPerSecond"));
        snprintf(s->reason, sizeof s->reason, "%s", text_of(root, "reason"));
        yyjson_doc_free(doc);
    }
    rf_buf_clear(&reply.body);
    return st;
}

/* Follows a build until it ends. */
static rf_status follow(const char *url, const char *name, bool quiet, state *s, rf_err *err)
{
    rf_progress bar;
    rf_status st = RF_OK;

    rf_progress_begin(&bar, name, "events", 0, quiet);
    do {
        usleep(50000);
        st = get_state(url, name, s, err);
        bar.total = s->total;
        if (s->building)
            rf_progress_update(&bar, s->done);
    } while (st == RF_OK && s->building && !s->halted);
    if (st == RF_OK) {
        bar.total = 0;
        bar.done = (uint64_t)s->events;
    }
    rf_progress_end(&bar);
    if (st == RF_OK && s->halted)
        st = rf_err_set(err, RF_EINVAL, "%s halted: %s", name, s->reason);
    return st;
}

static int run_rebuild(int argc, char **argv)
{
    const char *url = NULL, *name = NULL;
    bool json = false, detach = false;
    const rf_flag flags[] = {
        {"url", &url, NULL}, {"json", NULL, &json}, {"detach", NULL, &detach}, {NULL, NULL, NULL}};
    size_t count = 0;
    rf_err err = {0};
    rf_reply reply = {0};
    state s = {0};
    int code = rf_cli_flags(&rf_verb_rebuild, argc, argv, flags, &name, 1, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (count != 1)
        return rf_cli_usage(&rf_verb_rebuild, "name the projection");
    rf_status st = call(url, "POST", name, "/rebuild", &reply, &err);

    rf_buf_clear(&reply.body);
    if (st == RF_OK && !detach)
        st = follow(url, name, json, &s, &err);
    if (st != RF_OK)
        return rf_cli_failed(&rf_verb_rebuild, &err);
    char events[32], rate[32];

    if (detach)
        printf("rebuild of %s started\n", name);
    else if (json)
        printf("{\"name\":\"%s\",\"version\":%llu,\"events\":%.0f,\"seconds\":%.6f,"
               "\"eventsPerSecond\":%.0f}\n",
               name, (unsigned long long)s.version, s.events, s.seconds, s.rate);
    else
        printf("rebuilt %s (version %llu): %s events in %.2f s, %s events/s\n", name,
               (unsigned long long)s.version, rf_format_count((uint64_t)s.events, events),
               s.seconds, rf_format_count((uint64_t)s.rate, rate));
    return RF_EXIT_OK;
}

const rf_verb rf_verb_rebuild = {
    .name = "rebuild",
    .summary = "compute a read model anew from the log, beside the live one",
    .help = "usage: refold rebuild NAME [--detach] [--json] [--url URL]\n"
            "\n"
            "The live version serves until the new one has caught up; then they switch in one\n"
            "transaction. --detach returns at once.\n"
            "\n"
            "Example\n"
            "  refold rebuild delays_by_day\n",
    .run = run_rebuild,
};
