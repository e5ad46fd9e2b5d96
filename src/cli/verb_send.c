/* refold send: one event from the command line, or NDJSON from a file. */
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "cli/cli.h"
#include "event/event.h"

#define INPUT_MAX (256u << 20)

typedef struct send_flags {
    const char *url, *type, *source, *subject, *id, *time, *data, *expect, *correlation, *causation;
    const char *file;
    bool json;
} send_flags;

static void add_attribute(rf_buf *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    rf_buf_addf(out, ",\"%s\":", name);
    rf_buf_add_json_str(out, rf_str_from(value));
}

/* One value, so that nothing of it can become another member of the envelope. */
static bool is_json(const char *text)
{
    yyjson_doc *doc = yyjson_read(text, strlen(text), YYJSON_READ_BIGNUM_AS_RAW);
    bool is = doc != NULL;

    yyjson_doc_free(doc);
    return is;
}

static void build_event(const send_flags *f, rf_buf *out)
{
    char id[RF_UUID_TEXT + 1];

    rf_buf_add_cstr(out, "{\"specversion\":\"1.0\"");
    rf_uuid7(id);
    add_attribute(out, "id", f->id != NULL ? f->id : id);
    add_attribute(out, "source", f->source != NULL ? f->source : "/refold/cli");
    add_attribute(out, "type", f->type);
    add_attribute(out, "subject", f->subject);
    add_attribute(out, "time", f->time);
    add_attribute(out, "correlationid", f->correlation);
    add_attribute(out, "causationid", f->causation);
    add_attribute(out, "expectedrevision", f->expect);
    if (f->data != NULL) {
        rf_buf_add_cstr(out, ",\"data\":");
        rf_buf_add_cstr(out, f->data);
    }
    rf_buf_add_char(out, '}');
}

static void print_receipt(rf_str json)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *one = yyjson_arr_get_first(yyjson_obj_get(root, "results"));

    if (one != NULL) {
        const char *domain = yyjson_get_str(yyjson_obj_get(one, "domain"));
        const char *stream = yyjson_get_str(yyjson_obj_get(one, "stream"));

        printf("%s at %s/%llu offset %llu, stream %s revision %llu\n",
               yyjson_get_bool(yyjson_obj_get(one, "duplicate")) ? "already stored" : "stored",
               domain == NULL ? "?" : domain,
               (unsigned long long)yyjson_get_uint(yyjson_obj_get(one, "partition")),
               (unsigned long long)yyjson_get_uint(yyjson_obj_get(one, "offset")),
               stream == NULL ? "?" : stream,
               (unsigned long long)yyjson_get_uint(yyjson_obj_get(one, "revision")));
    } else {
        printf("accepted %llu, duplicates %llu, rejected %llu\n",
               (unsigned long long)yyjson_get_uint(yyjson_obj_get(root, "accepted")),
               (unsigned long long)yyjson_get_uint(yyjson_obj_get(root, "duplicates")),
               (unsigned long long)yyjson_get_uint(yyjson_obj_get(root, "rejected")));
    }
    yyjson_doc_free(doc);
}

/* Some lines were refused although others were stored: that is a failure for a script. */
static int check_rejected(rf_str json)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    yyjson_val *errors = yyjson_obj_get(yyjson_doc_get_root(doc), "errors");
    yyjson_val *e;
    size_t i, n;

    yyjson_arr_foreach(errors, i, n, e)
    {
        const char *detail = yyjson_get_str(yyjson_obj_get(e, "detail"));
        const char *rule = yyjson_get_str(yyjson_obj_get(e, "rule"));

        fprintf(stderr, "refold send: line %llu: %s: %s\n",
                (unsigned long long)yyjson_get_uint(yyjson_obj_get(e, "line")),
                rule == NULL ? "" : rule, detail == NULL ? "" : detail);
    }
    bool any = yyjson_arr_size(errors) > 0;

    yyjson_doc_free(doc);
    return any ? RF_EXIT_FAILED : RF_EXIT_OK;
}

static int run(int argc, char **argv)
{
    send_flags f = {0};
    const rf_flag flags[] = {{"url", &f.url, NULL},
                             {"type", &f.type, NULL},
                             {"source", &f.source, NULL},
                             {"subject", &f.subject, NULL},
                             {"id", &f.id, NULL},
                             {"time", &f.time, NULL},
                             {"data", &f.data, NULL},
                             {"expected-revision", &f.expect, NULL},
                             {"correlation", &f.correlation, NULL},
                             {"causation", &f.causation, NULL},
                             {"json", NULL, &f.json},
                             {NULL, NULL, NULL}};
    size_t positional = 0;
    rf_err err = {0};
    rf_reply reply = {0};
    rf_buf body;
    int code = rf_cli_flags(&rf_verb_send, argc, argv, flags, &f.file, 1, &positional);
    rf_status st = RF_OK;

    if (code != RF_EXIT_OK)
        return code;
    if ((f.file == NULL) == (f.type == NULL))
        return rf_cli_usage(&rf_verb_send, "give --type for one event, or a FILE of NDJSON");
    if (f.data != NULL && !is_json(f.data))
        return rf_cli_usage(&rf_verb_send,
                            "--data is not JSON; text needs quotes of its own: --data '\"text\"'");
    rf_buf_init(&body, INPUT_MAX);
    if (f.type != NULL)
        build_event(&f, &body);
    else
        st = rf_cli_read_input(f.file, INPUT_MAX, &body, &err);
    if (st == RF_OK)
        st = rf_cli_call(f.url, "POST", "/v1/events",
                         f.type != NULL ? "application/cloudevents+json" : "application/x-ndjson",
                         rf_buf_str(&body), &reply, &err);
    if (st != RF_OK) {
        code = rf_cli_failed(&rf_verb_send, &err);
    } else {
        if (f.json)
            printf("%.*s\n", RF_STR_ARG(rf_buf_str(&reply.body)));
        else
            print_receipt(rf_buf_str(&reply.body));
        code = check_rejected(rf_buf_str(&reply.body));
    }
    rf_buf_clear(&body);
    rf_buf_clear(&reply.body);
    return code;
}

const rf_verb rf_verb_send = {
    .name = "send",
    .summary = "send one event, or a file of them",
    .help =
        "usage: refold send --type TYPE [--subject S] [--data JSON] [--source URI] [--id ID]\n"
        "                   [--time T] [--correlation ID] [--causation ID]\n"
        "                   [--expected-revision N|no-stream|stream-exists] [--json] [--url URL]\n"
        "       refold send FILE|- [--json] [--url URL]      NDJSON, one CloudEvent a line\n"
        "\n"
        "Returns when the events are on stable storage. Sending the same (source, id) again is\n"
        "harmless: the answer is the first one, marked as already stored. Without --id a new\n"
        "UUIDv7 is made.\n"
        "\n"
        "Examples\n"
        "  refold send --type order.placed --subject o-1 --data '{\"amount\": 12}'\n"
        "  refold send --type order.paid --subject o-1 --expected-revision 0\n"
        "  zcat events.ndjson.gz | refold send -\n",
    .run = run,
};
