#include "support/log_kit.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

char *kit_dir_make(void)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = NULL;
    int n = asprintf(&dir, "%s/rf-log-XXXXXX", tmp != NULL ? tmp : "/tmp");
    RF_ASSERT(n > 0);
    char *made = mkdtemp(dir);
    RF_ASSERT(made != NULL);
    return dir;
}

static void remove_tree(const char *path)
{
    struct stat about;
    if (lstat(path, &about) != 0)
        return;
    if (S_ISDIR(about.st_mode)) {
        DIR *d = opendir(path);
        struct dirent *e;
        while (d != NULL && (e = readdir(d)) != NULL) {
            char *inner = NULL;
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            int n = asprintf(&inner, "%s/%s", path, e->d_name);
            RF_ASSERT(n > 0);
            remove_tree(inner);
            free(inner);
        }
        if (d != NULL)
            closedir(d);
        rmdir(path);
    } else {
        unlink(path);
    }
}

void kit_dir_remove(char **dir)
{
    if (*dir == NULL)
        return;
    remove_tree(*dir);
    free(*dir);
    *dir = NULL;
}

uint64_t kit_next(kit_rng *r)
{
    uint64_t z = (r->s += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t kit_below(kit_rng *r, uint64_t n)
{
    return kit_next(r) % n;
}

void kit_content(rf_event *e)
{
    char *p = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&p, &n);
    const rf_str parts[] = {e->id,         e->source,    e->type,          e->subject,
                            e->time_text,  e->data,      e->correlationid, e->causationid,
                            e->extensions, e->dataschema};
    for (size_t i = 0; i < RF_ARRAY_LEN(parts); i++)
        fprintf(f, "%zu:%.*s", parts[i].n, (int)parts[i].n, parts[i].n == 0 ? "" : parts[i].p);
    fclose(f);
    e->content = rf_hash_fast(p, n, 1);
    free(p);
}

static rf_str numbered(rf_arena *a, const char *name, uint64_t n)
{
    return rf_str_from(rf_arena_printf(a, "%s%llu", name, (unsigned long long)n));
}

rf_event kit_event(rf_arena *a, uint64_t n, uint64_t streams)
{
    rf_event e = {
        .source = RF_STR("/test"),
        .type = n % 3 == 0 ? RF_STR("shop.order.placed") : RF_STR("shop.order.paid"),
        .data_kind = RF_DATA_JSON,
        .time_us = RF_TIME_NONE,
    };
    e.id = numbered(a, "e", n);
    e.subject = numbered(a, "s", n % streams);
    e.data = rf_str_from(
        rf_arena_printf(a, "{\"n\":%llu,\"name\":\"customer %llu\",\"country\":\"Netherlands\"}",
                        (unsigned long long)n, (unsigned long long)n * 7919));
    if (n % 4 == 1) {
        char uuid[RF_UUID_TEXT + 1];
        rf_uuid8_of(&n, sizeof n, uuid);
        e.id = rf_arena_dup(a, (rf_str){uuid, RF_UUID_TEXT});
        e.correlationid = numbered(a, "c", n / 8);
    }
    if (n % 2 == 0) {
        e.time_text = n % 4 == 0 ? RF_STR("2024-05-06T07:08:09.25Z")
                                 : RF_STR("2024-05-06T09:08:09.250+02:00");
        bool fine = rf_time_parse(e.time_text, &e.time_us);
        RF_ASSERT(fine);
    }
    if (n % 5 == 0)
        e.extensions = RF_STR("\"tenant\":\"a\"");
    kit_content(&e);
    return e;
}

rf_event kit_event_changed(rf_arena *a, uint64_t n, uint64_t streams)
{
    rf_event e = kit_event(a, n, streams);
    e.data = RF_STR("{\"changed\":true}");
    kit_content(&e);
    return e;
}

bool kit_event_equal(const rf_event *a, const rf_event *b)
{
    return rf_str_eq(a->id, b->id) && rf_str_eq(a->source, b->source) &&
           rf_str_eq(a->type, b->type) && rf_str_eq(a->subject, b->subject) &&
           rf_str_eq(a->datacontenttype, b->datacontenttype) &&
           rf_str_eq(a->dataschema, b->dataschema) && rf_str_eq(a->time_text, b->time_text) &&
           a->time_us == b->time_us && rf_str_eq(a->correlationid, b->correlationid) &&
           rf_str_eq(a->causationid, b->causationid) && rf_str_eq(a->traceparent, b->traceparent) &&
           rf_str_eq(a->extensions, b->extensions) && a->data_kind == b->data_kind &&
           rf_str_eq(a->data, b->data) && rf_hash_eq(a->content, b->content);
}

rf_status kit_append(rf_log_part *p, const rf_event *events, const rf_expect *expects,
                     uint32_t count, bool atomic, rf_receipt *receipts)
{
    rf_err err = {0};
    rf_append a = {.events = events,
                   .expects = expects,
                   .count = count,
                   .atomic = atomic,
                   .receipts = receipts};
    return rf_log_append(p, &a, &err);
}

rf_receipt kit_append_one(rf_log_part *p, const rf_event *e)
{
    rf_receipt r = {0};
    assert_int_equal(kit_append(p, e, NULL, 1, false, &r), RF_OK);
    return r;
}

rf_log *kit_open(const char *dir, rf_io *io, const rf_log_options *options)
{
    rf_log_options o = options != NULL ? *options : (rf_log_options){0};
    rf_err err = {0};
    rf_log *log = NULL;
    o.io = io;
    if (rf_log_open(dir, &o, &log, &err) != RF_OK)
        fail_msg("open: %s", err.text);
    if (rf_log_domain(log, RF_STR("d"), 1, &err) != RF_OK)
        fail_msg("domain: %s", err.text);
    return log;
}

rf_log_part *kit_part(rf_log *log)
{
    rf_log_part *p = rf_log_route(log, RF_STR("d"), RF_STR("x"));
    RF_ASSERT(p != NULL);
    return p;
}

rf_status kit_read_all(const char *dir, rf_io *io,
                       void (*each)(void *arg, uint64_t offset, uint64_t revision,
                                    const rf_event *e),
                       void *arg, uint64_t *end, rf_err *err)
{
    rf_log_view *view = NULL;
    rf_block_ref *refs = NULL;
    size_t count = 0;
    *end = 0;
    rf_log_view_options o = {.io = io};
    rf_status st = rf_log_view_open(dir, &o, &view, err);
    if (st != RF_OK)
        return st;
    *end = rf_log_view_end(view, RF_STR("d"), 0);
    st = rf_log_view_blocks(view, RF_STR("d"), 0, 0, *end, &refs, &count, err);
    rf_block *block = rf_block_new();
    for (size_t i = 0; st == RF_OK && i < count; i++) {
        st = rf_block_load(view, RF_STR("d"), 0, &refs[i], block, err);
        uint32_t cursor = 0;
        rf_block_event be;
        while (st == RF_OK && rf_block_next(block, &cursor, &be)) {
            rf_event e;
            rf_block_event_full(block, cursor, &e);
            if (each != NULL)
                each(arg, be.offset, be.revision, &e);
        }
    }
    rf_block_free(&block);
    free(refs);
    rf_log_view_close(&view);
    return st;
}
