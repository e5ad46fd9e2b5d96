/*
 * Reading events back, on a worker: by source and id, by stream, in log order. Answers are pages of
 * at most `limit` events and PAGE_BYTES, and say how to go on.
 */
#include "server/write_int.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 10000
#define PAGE_BYTES (16u << 20)
#define SLICE 64 /* events of a stream read in one go: bounds what a page of the log holds */

static const char JSON[] = "application/json";
static const char NDJSON[] = "application/x-ndjson";

/* ?format= counts, else Accept. */
static bool wants_lines(rfi_req *r, rfi_answer *a, bool *lines)
{
    rf_str format, accept = rfi_head_find(&r->head, "accept");

    *lines = rfi_list_has(accept, NDJSON);
    if (!rfi_req_query(r, "format", &format))
        return true;
    *lines = rf_str_eq(format, RF_STR("ndjson"));
    if (*lines || rf_str_eq(format, RF_STR("json")))
        return true;
    rfi_answer_problem(a, 400, "bad-parameter", "The parameter format is json or ndjson.");
    return false;
}

static bool number_of(rfi_req *r, rfi_answer *a, const char *name, uint64_t min, uint64_t max,
                      uint64_t *value)
{
    rf_str text;

    if (!rfi_req_query(r, name, &text))
        return true;
    if (rf_str_to_u64(text, value) && *value >= min && *value <= max)
        return true;
    rfi_answer_problem(a, 400, "bad-parameter",
                       "The parameter %s must be a whole number from %llu to %llu.", name,
                       (unsigned long long)min, (unsigned long long)max);
    return false;
}

/* ---- one event --------------------------------------------------------------------------------
 */

static void find_event(rfi_req *r, rfi_answer *a)
{
    rfi_write *w = rfi_write_of(r);
    rf_log_page *page = rf_log_page_new();
    rf_placed_event found;
    rf_str domain = {NULL, 0};
    rf_err err = {0};
    char time[RF_TIME_TEXT_MAX];

    rfi_req_query(r, "domain", &domain);
    rf_status st = rf_log_find(w->log, domain, r->params[0], r->params[1], page, &found, &err);

    if (st == RF_ENOTFOUND) {
        rfi_answer_problem(a, 404, "no-such-event",
                           "There is no event with source '%.*s' and id '%.*s'.",
                           (int)RF_MIN(r->params[0].n, (size_t)200), r->params[0].p,
                           (int)RF_MIN(r->params[1].n, (size_t)200), r->params[1].p);
    } else if (st != RF_OK) {
        rfi_answer_err(a, r, &err);
    } else {
        a->status = 200;
        a->content_type = "application/cloudevents+json";
        rf_event_encode(&found.event, &a->body);
        rfi_answer_header(a, "Refold-Domain", "%.*s", RF_STR_ARG(found.place.domain));
        rfi_answer_header(a, "Refold-Partition", "%u", found.place.partition);
        rfi_answer_header(a, "Refold-Offset", "%llu", (unsigned long long)found.place.offset);
        rfi_answer_header(a, "Refold-Revision", "%llu", (unsigned long long)found.place.revision);
        rf_time_format(found.place.recorded_us, time);
        rfi_answer_header(a, "Refold-Recorded-Time", "%s", time);
    }
    rf_log_page_free(&page);
}

void rfi_event_get(rfi_req *r)
{
    rfi_offload(rfi_write_of(r)->workers, r, find_event);
}

/* ---- a list -----------------------------------------------------------------------------------
 */

/* Puts placed events into a body, as a JSON array or a line each. */
typedef struct list {
    rf_buf *out;
    bool lines;
    uint64_t count, limit;
} list;

static void list_add(list *l, const rf_event *e, const rf_event_place *place)
{
    if (!l->lines && l->count > 0)
        rf_buf_add_char(l->out, ',');
    rf_event_encode_placed(e, place, l->out);
    if (l->lines)
        rf_buf_add_char(l->out, '\n');
    l->count++;
}

static bool list_full(const list *l)
{
    return l->count >= l->limit || l->out->n >= PAGE_BYTES || l->out->failed;
}

/* ---- a stream ---------------------------------------------------------------------------------
 */

typedef struct stream_query {
    uint64_t from;
    bool backward;
    list list;
} stream_query;

static bool read_stream_query(rfi_req *r, rfi_answer *a, stream_query *q)
{
    rf_str direction;

    q->list.out = &a->body;
    q->list.limit = LIMIT_DEFAULT;
    if (rfi_req_query(r, "direction", &direction)) {
        q->backward = rf_str_eq(direction, RF_STR("backward"));
        if (!q->backward && !rf_str_eq(direction, RF_STR("forward"))) {
            rfi_answer_problem(a, 400, "bad-parameter",
                               "The parameter direction is forward or backward.");
            return false;
        }
    }
    q->from = q->backward ? RF_REVISION_NONE : 0;
    return number_of(r, a, "from", 0, RF_REVISION_NONE - 1, &q->from) &&
           number_of(r, a, "limit", 1, LIMIT_MAX, &q->list.limit) &&
           wants_lines(r, a, &q->list.lines);
}

/* Reads slices until the page is full or the stream ends; *next is where to go on, NONE: nowhere.
 */
static rf_status read_slices(rfi_req *r, stream_query *q, uint64_t *next, rf_err *err)
{
    rfi_write *w = rfi_write_of(r);
    rf_log_page *page = rf_log_page_new();
    rf_placed_event events[SLICE];
    rf_status st = RF_OK;
    bool more = true;

    *next = q->from;
    while (st == RF_OK && more && !list_full(&q->list) && !atomic_load(&r->gone)) {
        size_t want = RF_MIN((uint64_t)SLICE, q->list.limit - q->list.count), got = 0;

        st = rf_log_read_stream(w->log, r->params[0], r->params[1], *next, q->backward, want, page,
                                events, &got, err);
        for (size_t i = 0; st == RF_OK && i < got && !list_full(&q->list); i++) {
            uint64_t revision = events[i].place.revision;

            list_add(&q->list, &events[i].event, &events[i].place);
            more = !q->backward || revision > 0;
            *next = q->backward ? revision - 1 : revision + 1;
        }
        more = more && got == want;
    }
    /* Forward, the place after the last event is where news will be. Backward ends at 0. */
    if (q->backward && !more)
        *next = RF_REVISION_NONE;
    rf_log_page_free(&page);
    return st;
}

static void read_stream(rfi_req *r, rfi_answer *a)
{
    stream_query q = {0};
    uint64_t next = 0;
    rf_err err = {0};
    rf_status st;

    if (!read_stream_query(r, a, &q))
        return;
    if (!q.list.lines) {
        rf_buf_add_cstr(&a->body, "{\"domain\":");
        rf_buf_add_json_str(&a->body, r->params[0]);
        rf_buf_add_cstr(&a->body, ",\"stream\":");
        rf_buf_add_json_str(&a->body, r->params[1]);
        rf_buf_add_cstr(&a->body, ",\"events\":[");
    }
    st = read_slices(r, &q, &next, &err);
    if (st == RF_ENOTFOUND) {
        rfi_answer_problem(a, 404, "no-such-stream",
                           "There is no stream '%.*s' in the domain '%.*s'.",
                           (int)RF_MIN(r->params[1].n, (size_t)200), r->params[1].p,
                           (int)RF_MIN(r->params[0].n, (size_t)64), r->params[0].p);
        return;
    }
    if (st != RF_OK) {
        rfi_answer_err(a, r, &err);
        return;
    }
    if (!q.list.lines) {
        rf_buf_add_cstr(&a->body, "],\"next\":");
        if (next == RF_REVISION_NONE)
            rf_buf_add_cstr(&a->body, "null");
        else
            rf_buf_add_u64(&a->body, next);
        rf_buf_add_cstr(&a->body, "}\n");
    } else if (next != RF_REVISION_NONE) {
        rfi_answer_header(a, "Refold-Next", "%llu", (unsigned long long)next);
    }
    a->status = 200;
    a->content_type = q.list.lines ? NDJSON : JSON;
}

void rfi_stream_get(rfi_req *r)
{
    rfi_offload(rfi_write_of(r)->workers, r, read_stream);
}

/* ---- the log ----------------------------------------------------------------------------------
 */

typedef struct scan {
    rfi_req *req;
    rf_log_view *view;
    rf_str type, domain;
    int64_t from_us, to_us; /* [from, to) of the event's time; RF_TIME_NONE: open */
    rf_position at;         /* what lies before it is done */
    rf_block *block;
    list list;
} scan;

static bool time_of(rfi_req *r, rfi_answer *a, const char *name, int64_t *out)
{
    rf_str text;

    *out = RF_TIME_NONE;
    if (!rfi_req_query(r, name, &text) || rf_time_parse(text, out))
        return true;
    rfi_answer_problem(a, 400, "bad-time",
                       "The parameter %s is no RFC 3339 time, such as 2026-01-31T12:00:00Z.", name);
    return false;
}

static bool read_scan_query(rfi_req *r, rfi_answer *a, scan *s)
{
    rf_str after;
    rf_err err = {0};

    s->list.out = &a->body;
    s->list.limit = LIMIT_DEFAULT;
    rfi_req_query(r, "type", &s->type);
    rfi_req_query(r, "domain", &s->domain);
    if (!time_of(r, a, "from", &s->from_us) || !time_of(r, a, "to", &s->to_us) ||
        !number_of(r, a, "limit", 1, LIMIT_MAX, &s->list.limit) ||
        !wants_lines(r, a, &s->list.lines))
        return false;
    if (s->domain.n > 0 && !rf_domain_valid(s->domain)) {
        rfi_answer_problem(a, 400, "bad-parameter", "The parameter domain is no name of a domain.");
        return false;
    }
    if (rfi_req_query(r, "after", &after) && rf_position_decode(after, &s->at, &err) != RF_OK) {
        rfi_answer_problem(a, 400, "bad-position", "The parameter after is no position: %s",
                           err.text);
        return false;
    }
    return true;
}

static bool in_time(const scan *s, const rf_block_event *e)
{
    int64_t us = e->time_us == RF_TIME_NONE ? e->recorded_us : e->time_us;

    return (s->from_us == RF_TIME_NONE || us >= s->from_us) &&
           (s->to_us == RF_TIME_NONE || us < s->to_us);
}

/* Events of one loaded block from offset `from` to `to`; *next is the first not looked at. */
static void scan_block(scan *s, rf_str domain, uint32_t partition, uint64_t from, uint64_t to,
                       uint64_t *next)
{
    uint32_t want = s->type.n > 0 ? rf_block_type_ref(s->block, s->type) : UINT32_MAX;
    uint32_t cursor = 0;
    rf_block_event e;

    if (s->type.n > 0 && want == UINT32_MAX)
        return; /* none of this type in the whole block */
    while (!list_full(&s->list) && rf_block_next(s->block, &cursor, &e)) {
        if (e.offset < from || e.offset >= to)
            continue;
        *next = e.offset + 1;
        if ((s->type.n > 0 && e.type_ref != want) || !in_time(s, &e))
            continue;
        rf_event full;
        rf_event_place place = {domain, partition, e.offset, e.revision, e.recorded_us};

        rf_block_event_full(s->block, cursor, &full);
        list_add(&s->list, &full, &place);
    }
}

static rf_status scan_partition(scan *s, rf_str domain, uint32_t partition, uint64_t end,
                                rf_err *err)
{
    uint64_t from = rf_position_get(&s->at, domain, partition);
    rf_block_ref *refs = NULL;
    size_t count = 0;

    if (from >= end)
        return RF_OK;
    rf_status st = rf_log_view_blocks(s->view, domain, partition, from, end, &refs, &count, err);

    for (size_t i = 0; st == RF_OK && i < count && !list_full(&s->list); i++) {
        uint64_t block_end = RF_MIN(end, refs[i].base_offset + refs[i].count), next = from;

        if (atomic_load(&s->req->gone))
            break;
        st = rf_block_load(s->view, domain, partition, &refs[i], s->block, err);
        if (st != RF_OK)
            break;
        scan_block(s, domain, partition, from, end, &next);
        if (!list_full(&s->list))
            next = block_end; /* the rest of it does not match */
        from = next;
    }
    free(refs);
    if (from > 0)
        rf_position_raise(&s->at, domain, partition, from);
    return st;
}

/* Is there anything the page did not reach? */
static bool more_to_come(const scan *s, const rf_position *end)
{
    for (size_t i = 0; i < end->count; i++) {
        rf_str domain = rf_str_from(end->parts[i].domain);

        if (s->domain.n > 0 ? rf_str_eq(domain, s->domain)
                            : !rf_str_eq(domain, RF_STR(RF_SYSTEM_DOMAIN))) {
            if (rf_position_get(&s->at, domain, end->parts[i].partition) < end->parts[i].next)
                return true;
        }
    }
    return false;
}

static rf_status scan_log(scan *s, const rf_position *end, rf_err *err)
{
    rf_status st = RF_OK;

    for (size_t i = 0; i < end->count && st == RF_OK && !list_full(&s->list); i++) {
        rf_str domain = rf_str_from(end->parts[i].domain);

        /* The system's own events only for who asks for them by name. */
        if (s->domain.n > 0 ? !rf_str_eq(domain, s->domain)
                            : rf_str_eq(domain, RF_STR(RF_SYSTEM_DOMAIN)))
            continue;
        st = scan_partition(s, domain, end->parts[i].partition, end->parts[i].next, err);
    }
    return st;
}

static void read_log(rfi_req *r, rfi_answer *a)
{
    scan s = {.req = r, .view = rfi_write_of(r)->view};
    rf_position end = {0};
    rf_buf token;
    rf_err err = {0};

    rf_buf_init(&token, RFI_HEADERS_OUT_MAX / 4);
    if (!read_scan_query(r, a, &s))
        goto out;
    rf_log_view_position(s.view, &end);
    s.block = rf_block_new();
    if (!s.list.lines)
        rf_buf_add_cstr(&a->body, "{\"events\":[");
    rf_status st = scan_log(&s, &end, &err);

    /* Damage: what lies before it is answered first; the next page says what is wrong. */
    if (st != RF_OK && (st != RF_ECORRUPT || s.list.count == 0)) {
        rfi_answer_err(a, r, &err);
        goto out;
    }
    bool more = more_to_come(&s, &end);

    rf_position_encode(&s.at, &token);
    if (!s.list.lines) {
        rf_buf_add_cstr(&a->body, "],\"next\":\"");
        rf_buf_add_str(&a->body, rf_buf_str(&token));
        rf_buf_add_cstr(&a->body, more ? "\",\"more\":true}\n" : "\",\"more\":false}\n");
    }
    rf_buf_add_cstr(&a->headers, "Refold-Next: "); /* as long as there are partitions */
    rf_buf_add_str(&a->headers, rf_buf_str(&token));
    rf_buf_add_cstr(&a->headers, "\r\n");
    rfi_answer_header(a, "Refold-More", "%s", more ? "true" : "false");
    a->status = 200;
    a->content_type = s.list.lines ? NDJSON : JSON;
out:
    rf_block_free(&s.block);
    rf_position_clear(&s.at);
    rf_position_clear(&end);
    rf_buf_clear(&token);
}

void rfi_events_get(rfi_req *r)
{
    rfi_offload(rfi_write_of(r)->workers, r, read_log);
}
