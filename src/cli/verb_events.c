/* refold events: read events back, by stream, by id, or in log order. */
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"

typedef struct events_flags {
    const char *url, *stream, *domain, *type, *from, *to, *after, *limit, *revision, *source, *id;
    bool json, backward;
} events_flags;

static void add_query(rf_buf *path, const char *name, const char *value)
{
    if (value == NULL)
        return;
    rf_buf_add_char(path, memchr(path->p, '?', path->n) == NULL ? '?' : '&');
    rf_buf_addf(path, "%s=", name);
    rf_url_encode(path, rf_str_from(value));
}

static void build_path(const events_flags *f, uint64_t limit, rf_buf *path)
{
    char number[24];

    snprintf(number, sizeof number, "%llu", (unsigned long long)limit);
    if (f->id != NULL) {
        rf_buf_add_cstr(path, "/v1/events/");
        rf_url_encode(path, rf_str_from(f->source));
        rf_buf_add_char(path, '/');
        rf_url_encode(path, rf_str_from(f->id));
        return;
    }
    if (f->stream != NULL) {
        rf_buf_add_cstr(path, "/v1/streams/");
        rf_url_encode(path, rf_str_from(f->domain == NULL ? "default" : f->domain));
        rf_buf_add_char(path, '/');
        rf_url_encode(path, rf_str_from(f->stream));
        add_query(path, "from", f->revision);
        add_query(path, "direction", f->backward ? "backward" : NULL);
    } else {
        rf_buf_add_cstr(path, "/v1/events");
        add_query(path, "type", f->type);
        add_query(path, "domain", f->domain);
        add_query(path, "from", f->from);
        add_query(path, "to", f->to);
        add_query(path, "after", f->after);
    }
    add_query(path, "limit", number);
}

/* Numbers are kept as they were written, so that what is shown is what was sent. */
static unsigned long long number_of(yyjson_val *object, const char *name)
{
    yyjson_val *v = yyjson_obj_get(object, name);
    uint64_t n = 0;

    if (yyjson_is_raw(v))
        (void)rf_str_to_u64((rf_str){yyjson_get_raw(v), yyjson_get_len(v)}, &n);
    return n;
}

/* At most max bytes, and never half a character. */
static size_t cut(const char *text, size_t n, size_t max)
{
    if (n <= max)
        return n;
    while (max > 0 && ((unsigned char)text[max] & 0xC0) == 0x80)
        max--;
    return max;
}

static rf_str text_of(yyjson_val *object, const char *name)
{
    yyjson_val *v = yyjson_obj_get(object, name);

    return (rf_str){yyjson_get_str(v), yyjson_get_len(v)};
}

/* domain/partition offset, revision, time, type, subject, data: a line each. */
static void add_row(rf_table *t, yyjson_val *placed)
{
    yyjson_val *event = yyjson_obj_get(placed, "event");
    char place[128], revision[24];
    rf_str domain = text_of(placed, "domain");

    snprintf(place, sizeof place, "%.*s/%llu:%llu", RF_STR_ARG(domain),
             number_of(placed, "partition"), number_of(placed, "offset"));
    snprintf(revision, sizeof revision, "%llu", number_of(placed, "revision"));
    rf_table_cell(t, rf_str_from(place));
    rf_table_cell(t, rf_str_from(revision));
    rf_table_cell(t, text_of(event, "time"));
    rf_table_cell(t, text_of(event, "type"));
    rf_table_cell(t, text_of(event, "subject"));
    size_t n = 0;
    char *data = yyjson_val_write(yyjson_obj_get(event, "data"), 0, &n);

    rf_table_cell(t, data == NULL ? RF_STR("") : (rf_str){data, cut(data, n, 120)});
    free(data);
}

/* Where the next page begins (allocated): a token, or the revision of a stream; NULL at the end. */
static char *next_page(yyjson_val *root, size_t got)
{
    yyjson_val *next = yyjson_obj_get(root, "next");
    yyjson_val *more = yyjson_obj_get(root, "more");

    if (got == 0 || (yyjson_is_bool(more) && !yyjson_get_bool(more)))
        return NULL;
    if (yyjson_is_str(next))
        return rf_xstrdup(yyjson_get_str(next));
    if (yyjson_is_raw(next))
        return rf_xstrndup((rf_str){yyjson_get_raw(next), yyjson_get_len(next)});
    return NULL;
}

/* Prints a page, or adds it to `table`; returns how many events it has. */
static size_t take_page(rf_str json, rf_table *table, char **next)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *events = yyjson_obj_get(root, "events");
    size_t count = yyjson_arr_size(events), i, n;
    yyjson_val *e;

    yyjson_arr_foreach(events, i, n, e)
    {
        if (table != NULL) {
            add_row(table, e);
            continue;
        }
        char *line = yyjson_val_write(e, 0, NULL);

        printf("%s\n", line == NULL ? "" : line);
        free(line);
    }
    *next = next_page(root, count);
    yyjson_doc_free(doc);
    return count;
}

static rf_status get_page(events_flags *f, uint64_t limit, rf_reply *reply, rf_err *err)
{
    rf_buf path;

    rf_buf_init(&path, 1u << 16);
    build_path(f, limit, &path);
    rf_status st =
        rf_cli_call(f->url, "GET", rf_buf_cstr(&path), NULL, (rf_str){NULL, 0}, reply, err);

    rf_buf_clear(&path);
    return st;
}

static rf_status read_pages(events_flags *f, uint64_t limit, rf_table *table, rf_err *err)
{
    const uint64_t page_max = 1000;
    rf_reply reply = {0};
    rf_status st = RF_OK;
    char *next = NULL;

    while (limit > 0 && st == RF_OK) {
        char *before = next;

        st = get_page(f, RF_MIN(limit, page_max), &reply, err);
        if (st != RF_OK)
            break;
        uint64_t got = take_page(rf_buf_str(&reply.body), table, &next);

        limit -= RF_MIN(limit, got);
        free(before);
        if (next == NULL)
            break;
        *(f->stream != NULL ? &f->revision : &f->after) = next;
    }
    free(next);
    rf_buf_clear(&reply.body);
    return st;
}

static rf_table *new_table(void)
{
    static const char *const heads[] = {"place", "revision", "time", "type", "subject", "data"};
    rf_table *t = rf_table_new(RF_ARRAY_LEN(heads));

    for (size_t i = 0; i < RF_ARRAY_LEN(heads); i++)
        rf_table_head(t, rf_str_from(heads[i]), i == 1);
    return t;
}

static rf_status show_one(events_flags *f, rf_err *err)
{
    rf_reply reply = {0};
    rf_status st = get_page(f, 1, &reply, err);

    if (st == RF_OK)
        printf("%.*s\n", RF_STR_ARG(rf_buf_str(&reply.body)));
    rf_buf_clear(&reply.body);
    return st;
}

static rf_status show_list(events_flags *f, uint64_t limit, rf_err *err)
{
    rf_table *table = f->json ? NULL : new_table();
    rf_status st = read_pages(f, limit, table, err);

    if (table != NULL && st == RF_OK)
        rf_table_print(table, stdout);
    rf_table_free(&table);
    return st;
}

static int run(int argc, char **argv)
{
    events_flags f = {0};
    const char *positional[2] = {NULL, NULL};
    const rf_flag flags[] = {
        {"url", &f.url, NULL},     {"stream", &f.stream, NULL},     {"domain", &f.domain, NULL},
        {"type", &f.type, NULL},   {"from", &f.from, NULL},         {"to", &f.to, NULL},
        {"after", &f.after, NULL}, {"limit", &f.limit, NULL},       {"revision", &f.revision, NULL},
        {"json", NULL, &f.json},   {"backward", NULL, &f.backward}, {NULL, NULL, NULL}};
    size_t count = 0;
    uint64_t limit = 20;
    rf_err err = {0};
    int code = rf_cli_flags(&rf_verb_events, argc, argv, flags, positional, 2, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (count == 1)
        return rf_cli_usage(&rf_verb_events, "one event is named by two things: SOURCE ID");
    f.source = positional[0];
    f.id = positional[1];
    if (!rf_cli_number(&rf_verb_events, "limit", f.limit, 1, UINT64_MAX, &limit))
        return RF_EXIT_USAGE;
    if ((f.id != NULL ? show_one(&f, &err) : show_list(&f, limit, &err)) != RF_OK)
        return rf_cli_failed(&rf_verb_events, &err);
    return RF_EXIT_OK;
}

const rf_verb rf_verb_events = {
    .name = "events",
    .summary = "read events back from the log",
    .help =
        "usage: refold events [--type T] [--domain D] [--from TIME] [--to TIME] [--after "
        "POSITION]\n"
        "                     [--limit N] [--json]\n"
        "       refold events --stream SUBJECT [--domain D] [--revision N] [--backward] [--limit "
        "N]\n"
        "       refold events SOURCE ID\n"
        "\n"
        "In the order of the log; --from and --to are about the event's own time. --limit is 20 "
        "unless\n"
        "given. --json prints one event a line with its place.\n"
        "\n"
        "Examples\n"
        "  refold events --type order.placed --limit 5\n"
        "  refold events --stream o-1 --backward --limit 1        # the last thing that happened\n"
        "  refold events /shop 3f0c2a --json\n",
    .run = run,
};
