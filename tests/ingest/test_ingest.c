/* Every form of request against a log that answers at once: what is stored, what is refused and how
 * it is told; and that none of it depends on how the bytes were cut. */
#include "fake_log.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define EVENT(id)                                                                                  \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"shop.order\"}"
#define EVENT_OF(id, type, subject, more)                                                          \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"" type                \
    "\",\"subject\":\"" subject "\"" more "}"

typedef struct world {
    rf_log *log;
    rf_ingest *ingest;
} world;

static world world_open(rf_ingest_options o)
{
    world w = {.log = fake_log_new()};
    rf_err err = {0};

    o.log = w.log;
    if (rf_ingest_open(&o, &w.ingest, &err) != RF_OK)
        fail_msg("open: %s", err.text);
    return w;
}

static void world_close(world *w)
{
    rf_ingest_close(&w->ingest);
    fake_log_free(w->log);
}

static const cutter whole = {0};

static size_t stored(const world *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->log->part_count; i++)
        n += w->log->parts[i].count;
    return n;
}

/* Sends and compares with the outcome's text, without the position. */
static void check_text(world *w, rf_ingest_request_options o, rf_str body, const char *want)
{
    run *it = run_all(w->ingest, o, body, whole);
    rf_buf text;

    rf_buf_init(&text, 1 << 20);
    rf_buf_addf(&text, "%s acc=%" PRIu64 " dup=%" PRIu64 " rej=%" PRIu64,
                rf_status_name(it->o->status), it->o->accepted, it->o->duplicates, it->o->rejected);
    for (size_t i = 0; i < it->o->error_count; i++) {
        const rf_ingest_error *e = &it->o->errors[i];
        rf_buf_addf(&text, " %" PRIu64 ":%s:%s", e->index, e->fault.rule,
                    rf_status_name(e->status));
    }
    if (strcmp(rf_buf_cstr(&text), want) != 0)
        fail_msg("got  %s\nwant %s\nerr  %s", rf_buf_cstr(&text), want, it->o->err.text);
    rf_buf_clear(&text);
    run_free(it);
}

/* ---- one event ---------------------------------------------------------------------------------
 */

static void event__good__is_stored_with_its_place(void **state)
{
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_EVENT};
    run *it;

    (void)state;
    it = run_all(w.ingest, o, RF_STR(EVENT_OF("1", "shop.order", "a\\\"b", "")), whole);
    assert_int_equal(it->o->status, RF_OK);
    assert_int_equal(it->o->accepted, 1);
    assert_int_equal(it->o->error_count, 0);
    assert_string_equal(rf_buf_cstr((rf_buf *)(uintptr_t)&it->o->results),
                        "{\"id\":\"1\",\"domain\":\"default\",\"partition\":0,\"offset\":0,"
                        "\"stream\":\"a\\\"b\",\"revision\":0,\"duplicate\":false}");
    assert_int_equal(rf_position_get(&it->o->position, RF_STR("default"), 0), 1);
    assert_int_equal(waker_count(&it->waker), 1);
    run_free(it);

    it = run_all(w.ingest, o, RF_STR(EVENT_OF("1", "shop.order", "a\\\"b", "")), whole);
    assert_int_equal(it->o->duplicates, 1);
    assert_int_equal(it->o->accepted, 0);
    assert_non_null(
        strstr(rf_buf_cstr((rf_buf *)(uintptr_t)&it->o->results), "\"duplicate\":true"));
    run_free(it);
    world_close(&w);
}

static void event__that_is_bad__is_refused_by_its_rule(void **state)
{
    static const struct {
        rf_str body;
        const char *want;
    } cases[] = {
        {{"", 0}, "invalid acc=0 dup=0 rej=1 0:json-syntax:invalid"},
        {{"{", 1}, "invalid acc=0 dup=0 rej=1 0:json-syntax:invalid"},
        {{"[]", 2}, "invalid acc=0 dup=0 rej=1 0:not-an-object:invalid"},
        {{"\xEF\xBB\xBF{}", 5}, "invalid acc=0 dup=0 rej=1 0:json-syntax:invalid"},
        {{"{}", 2}, "invalid acc=0 dup=0 rej=1 0:missing-attribute:invalid"},
        {{EVENT_OF("1", "refold.x", "", ""), sizeof(EVENT_OF("1", "refold.x", "", "")) - 1}, NULL},
    };
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_EVENT};
    run *it;

    (void)state;
    for (size_t i = 0; i + 1 < RF_ARRAY_LEN(cases); i++)
        check_text(&w, o, cases[i].body, cases[i].want);
    it = run_all(w.ingest, o, RF_STR("\xEF\xBB\xBF" EVENT("1")), whole);
    assert_non_null(strstr(it->o->err.text, "byte order mark"));
    run_free(it);
    assert_int_equal(stored(&w), 0);
    world_close(&w);
}

static void event__of_the_system__needs_a_system_request(void **state)
{
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_EVENT};
    rf_str body = RF_STR("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\","
                         "\"type\":\"refold.projection.defined\"}");

    (void)state;
    check_text(&w, o, body, "forbidden acc=0 dup=0 rej=1 0:system-domain:forbidden");
    o.system = true;
    check_text(&w, o, body, "ok acc=1 dup=0 rej=0");
    assert_string_equal(w.log->parts[1].domain, "refold");
    assert_int_equal(w.log->parts[1].count, 1);
    world_close(&w);
}

static void event__over_the_limit__is_refused_before_it_ends(void **state)
{
    world w = world_open((rf_ingest_options){.limits = {.event_bytes_max = 100}});
    rf_ingest_request_options o = {.form = RF_FORM_EVENT};
    char big[101];
    run *it = run_begin(w.ingest, o);

    (void)state;
    memset(big, ' ', sizeof(big));
    assert_true(feed_copy(it->r, big, 100));
    assert_false(rf_ingest_failed(it->r));
    feed_copy(it->r, big, 1);
    assert_true(rf_ingest_failed(it->r));
    assert_int_equal(waker_count(&it->waker), 1);
    it->o = rf_ingest_result(it->r);
    assert_non_null(it->o);
    assert_int_equal(it->o->status, RF_ETOOBIG);
    assert_int_equal(it->o->error_count, 1);
    assert_string_equal(it->o->errors[0].fault.rule, "size");
    assert_true(feed_copy(it->r, big, 1)); /* ignored */
    rf_ingest_end(it->r);
    assert_ptr_equal(rf_ingest_result(it->r), it->o);
    assert_int_equal(waker_count(&it->waker), 1);
    run_free(it);
    world_close(&w);
}

static void event__with_expectations__is_checked_against_the_stream(void **state)
{
    static const struct {
        const char *body;
        rf_expect asked;
        const char *want, *detail;
    } cases[] = {
        {EVENT_OF("1", "t", "s", ",\"expectedrevision\":\"stream-exists\""),
         {0},
         "conflict acc=0 dup=0 rej=1 0:conflict-revision:conflict",
         "expected an existing stream, actual no stream"},
        {EVENT_OF("1", "t", "s", ""), {RF_EXPECT_NO_STREAM, 0}, "ok acc=1 dup=0 rej=0", ""},
        {EVENT_OF("2", "t", "s", ""),
         {RF_EXPECT_EXACT, 5},
         "conflict acc=0 dup=0 rej=1 0:conflict-revision:conflict",
         "expected 5, actual 0"},
        {EVENT_OF("2", "t", "s", ""),
         {RF_EXPECT_NO_STREAM, 0},
         "conflict acc=0 dup=0 rej=1 0:conflict-revision:conflict",
         "expected no stream, actual 0"},
        {EVENT_OF("2", "t", "s", ",\"expectedrevision\":\"0\""),
         {RF_EXPECT_EXACT, 0},
         "ok acc=1 dup=0 rej=0",
         ""},
        {EVENT_OF("3", "t", "s", ",\"expectedrevision\":\"0\""),
         {RF_EXPECT_EXACT, 1},
         "invalid acc=0 dup=0 rej=1 0:bad-expectedrevision:invalid",
         "expects revision 1, the event's expectedrevision says 0"},
        {EVENT_OF("1", "t", "other", ""),
         {0},
         "conflict acc=0 dup=0 rej=1 0:conflict-id:conflict",
         "id \"1\" and source \"/s\" but other content is stored at offset 0 of default/0"},
    };
    world w = world_open((rf_ingest_options){0});

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_ingest_request_options o = {.form = RF_FORM_EVENT, .expect = cases[i].asked};
        rf_str body = rf_str_from(cases[i].body);
        run *it;

        check_text(&w, o, body, cases[i].want);
        if (cases[i].detail[0] == 0)
            continue;
        it = run_all(w.ingest, o, body, whole);
        if (strstr(it->o->errors[0].fault.detail, cases[i].detail) == NULL)
            fail_msg("case %zu: %s", i, it->o->errors[0].fault.detail);
        run_free(it);
    }
    world_close(&w);
}

/* ---- binary mode -------------------------------------------------------------------------------
 */

static run *run_binary(world *w, const char *content_type, const char *const attrs[], rf_str body,
                       cutter cut)
{
    rf_ingest_request_options o = {.form = RF_FORM_BINARY,
                                   .content_type = rf_str_from(content_type)};
    run *it = run_begin(w->ingest, o);

    for (size_t i = 0; attrs[i] != NULL; i += 2)
        rf_ingest_attr(it->r, rf_str_from(attrs[i]), rf_str_from(attrs[i + 1]));
    run_body(it, body, cut);
    return it;
}

static void binary__good_and_bad__as_an_event(void **state)
{
    static const char *const attrs[] = {"specversion", "1.0",   "id",      "b1", "source", "/b",
                                        "type",        "t.bin", "subject", "x",  NULL};
    static const char *const no_id[] = {"specversion", "1.0", "source", "/b", "type", "t", NULL};
    static const char *const bad[] = {"specversion", "1.0", "id", "1", "ti me", "x", NULL};
    world w = world_open((rf_ingest_options){0});
    run *it;

    (void)state;
    for (size_t piece = 0; piece < 3; piece++) {
        it = run_binary(&w, "application/json", attrs, RF_STR("{\"a\":1}"),
                        (cutter){.piece = piece});
        assert_int_equal(it->o->status, RF_OK);
        assert_int_equal(it->o->accepted, piece == 0);
        assert_int_equal(it->o->duplicates, piece != 0);
        run_free(it);
    }
    it = run_binary(&w, "application/json", attrs, RF_STR("{\"a\":1"), whole);
    assert_int_equal(it->o->status, RF_EINVAL);
    assert_string_equal(it->o->errors[0].fault.rule, "json-syntax");
    run_free(it);
    it = run_binary(&w, "image/png", attrs, RF_STR("\x89PNG\0\xff"), whole);
    assert_int_equal(it->o->status, RF_ECONFLICT); /* same id, other data */
    run_free(it);
    it = run_binary(&w, "image/png", no_id, RF_STR("x"), whole);
    assert_string_equal(it->o->errors[0].fault.rule, "missing-attribute");
    run_free(it);
    it = run_binary(&w, "", bad, RF_STR(""), whole);
    assert_string_equal(it->o->errors[0].fault.rule, "bad-attribute-name");
    run_free(it);
    world_close(&w);
}

static void binary__with_huge_attributes__is_refused(void **state)
{
    world w = world_open((rf_ingest_options){0});
    char *value = malloc(300 << 10);
    rf_ingest_request_options o = {.form = RF_FORM_BINARY};
    run *it = run_begin(w.ingest, o);

    (void)state;
    memset(value, 'a', 300 << 10);
    rf_ingest_attr(it->r, RF_STR("id"), (rf_str){value, 200 << 10});
    assert_false(rf_ingest_failed(it->r));
    rf_ingest_attr(it->r, RF_STR("x"), (rf_str){value, 300 << 10});
    assert_true(rf_ingest_failed(it->r));
    run_body(it, RF_STR(""), whole);
    assert_int_equal(it->o->status, RF_ETOOBIG);
    run_free(it);
    free(value);
    world_close(&w);
}

/* ---- batches
 * -------------------------------------------------------------------------------------- */

static void batch__all_or_nothing__is_one_or_the_other(void **state)
{
    static const struct {
        const char *body, *want;
    } cases[] = {
        {"[]", "ok acc=0 dup=0 rej=0"},
        {"[" EVENT("1") "," EVENT("2") "]", "ok acc=2 dup=0 rej=0"},
        {" [ " EVENT("1") " ,\n" EVENT("3") "," EVENT("3") " ] ", "ok acc=1 dup=2 rej=0"},
        {"[" EVENT("4") ",{}," EVENT("5") ",7]",
         "invalid acc=0 dup=0 rej=2 1:missing-attribute:invalid 3:not-an-object:invalid"},
        {"[" EVENT("4") "," EVENT_OF("1", "t", "x", "") "]",
         "conflict acc=0 dup=0 rej=1 1:conflict-id:conflict"},
        {"[" EVENT_OF("6", "refold.x", "s", "") "]",
         "forbidden acc=0 dup=0 rej=1 0:system-domain:forbidden"},
        {"[{}," EVENT_OF("6", "refold.x", "s", "") "]",
         "invalid acc=0 dup=0 rej=2 0:missing-attribute:invalid 1:system-domain:forbidden"},
        {"{}", NULL},
        {"[" EVENT("4"), NULL},
        {"\xEF\xBB\xBF[]", NULL},
    };
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_BATCH};

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        run *it;

        if (cases[i].want != NULL) {
            check_text(&w, o, rf_str_from(cases[i].body), cases[i].want);
            continue;
        }
        it = run_all(w.ingest, o, rf_str_from(cases[i].body), whole);
        assert_int_equal(it->o->status, RF_EINVAL);
        assert_int_equal(it->o->error_count, 1);
        assert_int_equal(it->o->accepted, 0);
        run_free(it);
    }
    assert_int_equal(stored(&w), 3);
    world_close(&w);
}

static void batch__with_report__stores_the_good_ones(void **state)
{
    world w = world_open((rf_ingest_options){.partitions_default = 4});
    rf_ingest_request_options o = {.form = RF_FORM_BATCH, .report_errors = true};

    (void)state;
    check_text(&w, o, RF_STR("[{}," EVENT("1") ",7," EVENT("2") "]"),
               "ok acc=2 dup=0 rej=2 0:missing-attribute:invalid 2:not-an-object:invalid");
    check_text(
        &w, o,
        RF_STR("[" EVENT_OF("1", "t", "x", "") "," EVENT_OF("9", "t", "b", "") ",{}," EVENT_OF(
            "a", "t", "c", "") "," EVENT_OF("b", "t", "d", "") "]"),
        "ok acc=4 dup=0 rej=1 2:missing-attribute:invalid");
    check_text(&w, o, RF_STR("[{}]"), "invalid acc=0 dup=0 rej=1 0:missing-attribute:invalid");
    world_close(&w);
}

static void batch__over_several_partitions__is_refused_with_the_way_out(void **state)
{
    world w = world_open((rf_ingest_options){.partitions_default = 8});
    rf_ingest_request_options o = {.form = RF_FORM_BATCH};
    rf_buf body;
    run *it;

    (void)state;
    rf_buf_init(&body, 1 << 20);
    for (int i = 0; i < 50; i++)
        rf_buf_addf(&body, "%c" EVENT_OF("%d", "t", "s%d", ""), i == 0 ? '[' : ',', i, i);
    rf_buf_add_char(&body, ']');
    it = run_all(w.ingest, o, rf_buf_str(&body), whole);
    assert_int_equal(it->o->status, RF_EINVAL);
    assert_string_equal(it->o->errors[0].fault.rule, "batch-spans-partitions");
    assert_non_null(strstr(it->o->err.text, "belong to 8 (default/"));
    assert_non_null(strstr(it->o->err.text, "on-error=report"));
    assert_int_equal(stored(&w), 0);
    run_free(it);
    o.report_errors = true;
    it = run_all(w.ingest, o, rf_buf_str(&body), whole);
    assert_int_equal(it->o->accepted, 50);
    /* Results keep the order of input although the events went to eight partitions. */
    const char *at = rf_buf_cstr((rf_buf *)(uintptr_t)&it->o->results);
    for (int i = 0; i < 50; i++) {
        char want[32];
        snprintf(want, sizeof(want), "{\"id\":\"%d\",", i);
        at = strstr(at, want);
        if (at == NULL)
            fail_msg("%s is not in its place", want);
    }
    run_free(it);
    rf_buf_clear(&body);
    world_close(&w);
}

static void batch__over_its_limits__is_refused(void **state)
{
    world w = world_open((rf_ingest_options){.batch_events_max = 2, .body_bytes_max = 400});
    rf_ingest_request_options o = {.form = RF_FORM_BATCH};
    char *big = malloc(1 << 20);
    run *it;

    (void)state;
    it = run_all(w.ingest, o, RF_STR("[" EVENT("1") "," EVENT("2") "," EVENT("3") "]"), whole);
    assert_true(it->o->status == RF_ETOOBIG || it->o->status == RF_EINVAL);
    assert_int_equal(it->o->accepted, 0);
    assert_int_equal(it->o->error_count, 1);
    run_free(it);
    memset(big, ' ', 1 << 20);
    check_text(&w, o, (rf_str){big, 1 << 20}, "too-big acc=0 dup=0 rej=0 0:size:too-big");
    big[0] = '[';
    big[399] = ']';
    check_text(&w, o, (rf_str){big, 400}, "ok acc=0 dup=0 rej=0");
    free(big);
    assert_int_equal(stored(&w), 0);
    world_close(&w);
}

static void batch__of_many_events__grows_and_is_stored(void **state)
{
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_BATCH};
    rf_buf body;
    run *it;

    (void)state;
    rf_buf_init(&body, 4 << 20);
    for (int i = 0; i < 3000; i++)
        rf_buf_addf(&body, "%c" EVENT("%d"), i == 0 ? '[' : ',', i);
    rf_buf_add_char(&body, ']');
    it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){.piece = 1000});
    assert_int_equal(it->o->accepted, 3000);
    assert_int_equal(w.log->submitted, 1);
    run_free(it);
    rf_buf_clear(&body);
    world_close(&w);
}

/* ---- lines
 * -------------------------------------------------------------------------------------------- */

static void lines__of_each_kind__are_taken_or_told(void **state)
{
    static const struct {
        const char *body, *want;
    } cases[] = {
        {"", "ok acc=0 dup=0 rej=0"},
        {"\n\n \t\n\r\n", "ok acc=0 dup=0 rej=0"},
        {EVENT("1"), "ok acc=1 dup=0 rej=0"},
        {EVENT("1") "\n" EVENT("2") "\r\n" EVENT("3") "\n", "ok acc=2 dup=1 rej=0"},
        {"\n{}\n" EVENT("4") "\n\nx\n" EVENT("1") "\r\n7",
         "ok acc=1 dup=1 rej=3 2:missing-attribute:invalid 5:json-syntax:invalid "
         "7:not-an-object:invalid"},
        {"{}\n", "invalid acc=0 dup=0 rej=1 1:missing-attribute:invalid"},
        {EVENT_OF("1", "t", "x", ""), "invalid acc=0 dup=0 rej=1 1:conflict-id:conflict"},
        {"{}\n" EVENT_OF("1", "t", "x", "") "\n{}\n" EVENT("5") "\n",
         "ok acc=1 dup=0 rej=3 1:missing-attribute:invalid 2:conflict-id:conflict "
         "3:missing-attribute:invalid"},
        {"\xEF\xBB\xBF" EVENT("6") "\n" EVENT("7"), "ok acc=1 dup=0 rej=1 1:json-syntax:invalid"},
        {EVENT("1") "\n\xEF\xBB\xBF" EVENT("6"), "ok acc=0 dup=1 rej=1 2:json-syntax:invalid"},
    };
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++)
        check_text(&w, o, rf_str_from(cases[i].body), cases[i].want);
    world_close(&w);
}

static void lines__with_a_first_expectation__check_only_the_first(void **state)
{
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .expect = {RF_EXPECT_NO_STREAM, 0}};

    (void)state;
    check_text(&w, o, RF_STR("\n" EVENT("1") "\n" EVENT("2")), "ok acc=2 dup=0 rej=0");
    check_text(&w, o, RF_STR(EVENT("3") "\n" EVENT("4")),
               "ok acc=1 dup=0 rej=1 1:conflict-revision:conflict");
    check_text(&w, o, RF_STR("{}\n" EVENT("5")),
               "ok acc=1 dup=0 rej=1 1:missing-attribute:invalid");
    world_close(&w);
}

static void lines__longer_than_allowed__are_skipped(void **state)
{
    static const size_t lengths[] = {90, 99, 100, 101, 102, 103, 5000, 300 << 10, 1 << 20};
    world w = world_open((rf_ingest_options){.limits = {.event_bytes_max = 100}});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(lengths); i++) {
        for (int crlf = 0; crlf < 2; crlf++) {
            rf_buf body;
            bool fits = lengths[i] <= 100;
            char want[128];

            rf_buf_init(&body, 4 << 20);
            rf_buf_addf(&body, EVENT("%zu%d"), i, crlf);
            while (body.n < lengths[i])
                rf_buf_add_char(&body, ' ');
            rf_buf_addf(&body, "%s\n" EVENT("x%zu%d"), crlf ? "\r" : "", i, crlf);
            snprintf(want, sizeof(want), "ok acc=%d dup=0 rej=%d%s", 1 + fits, !fits,
                     fits ? "" : " 1:size:too-big");
            check_text(&w, o, rf_buf_str(&body), want);
            rf_buf_clear(&body);
        }
    }
    world_close(&w);
}

static void lines__longer_than_a_chunk__make_it_grow(void **state)
{
    static const size_t sizes[] = {40 << 10, 250 << 10, 257 << 10, 600 << 10, 1023 << 10};
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};
    rf_buf body;

    (void)state;
    rf_buf_init(&body, 64 << 20);
    for (size_t i = 0; i < RF_ARRAY_LEN(sizes); i++) {
        rf_buf_addf(&body, EVENT("s%zu") "\n", i);
        rf_buf_addf(&body, EVENT_OF("l%zu", "t", "s", ",\"data\":\""), i);
        body.n--; /* the brace */
        for (size_t n = 0; n < sizes[i]; n++)
            rf_buf_add_char(&body, 'x');
        rf_buf_add_cstr(&body, "\"}\n");
    }
    for (int i = 0; i < 5000; i++)
        rf_buf_addf(&body, EVENT("e%d") "\n", i);
    check_text(&w, o, rf_buf_str(&body), "ok acc=5010 dup=0 rej=0");
    for (size_t piece = 1000; piece < 1000000; piece *= 7) {
        run *it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){.piece = piece});
        assert_int_equal(it->o->duplicates, 5010);
        run_free(it);
    }
    rf_buf_clear(&body);
    world_close(&w);
}

static void lines__with_many_bad_ones__keep_the_first_hundred(void **state)
{
    world w = world_open((rf_ingest_options){.partitions_default = 3});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};
    rf_buf body;
    run *it;

    (void)state;
    rf_buf_init(&body, 64 << 20);
    for (int i = 0; i < 40000; i++) {
        if (i % 100 == 7)
            rf_buf_addf(&body, EVENT_OF("e%d", "t", "s%d", "") "\n", i, i);
        else if (i % 100 == 8) /* the same id as the line before */
            rf_buf_addf(&body, EVENT_OF("e%d", "t", "s%d", ",\"x\":\"y\"") "\n", i - 1, i - 1);
        else
            rf_buf_add_cstr(&body, "{\"specversion\":\"1.0\",\"id\":\"1\"}\n");
    }
    it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){.piece = 60000});
    assert_int_equal(it->o->status, RF_OK);
    assert_int_equal(it->o->accepted, 400);
    assert_int_equal(it->o->rejected, 39600);
    assert_int_equal(it->o->error_count, RF_INGEST_ERRORS_MAX);
    for (size_t i = 0; i < it->o->error_count; i++) {
        assert_int_equal(it->o->errors[i].index, i < 7 ? i + 1 : i + 2);
        assert_string_equal(it->o->errors[i].fault.rule,
                            i == 7 ? "conflict-id" : "missing-attribute");
    }
    run_free(it);
    rf_buf_clear(&body);
    world_close(&w);
}

static void lines__with_results__list_each_in_order(void **state)
{
    world w = world_open((rf_ingest_options){.partitions_default = 3});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .want_results = true};
    rf_buf body;
    run *it;

    (void)state;
    rf_buf_init(&body, 64 << 20);
    for (int i = 0; i < 5000; i++)
        rf_buf_addf(&body, EVENT_OF("%d", "t", "s%d", "") "\n", i, i % 100);
    it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){.piece = 60000});
    assert_int_equal(it->o->accepted, 5000);
    const char *at = rf_buf_cstr((rf_buf *)(uintptr_t)&it->o->results);
    for (int i = 0; i < 5000; i++) {
        char id[32], revision[32];
        snprintf(id, sizeof(id), "{\"id\":\"%d\",", i);
        snprintf(revision, sizeof(revision), "\"revision\":%d,", i / 100);
        if (strncmp(at, id, strlen(id)) != 0 || strstr(at, revision) != strstr(at, "\"revision\""))
            fail_msg("event %d: %.120s", i, at);
        at = strchr(at, '}') + 1;
        at += *at == ',';
    }
    run_free(it);
    o.want_results = false;
    it = run_all(w.ingest, o, rf_buf_str(&body), whole);
    assert_int_equal(it->o->duplicates, 5000);
    assert_int_equal(it->o->results.n, 0);
    run_free(it);
    rf_buf_clear(&body);
    world_close(&w);
}

static void lines__that_end_where_a_chunk_does__stay_lines(void **state)
{
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};
    rf_buf body;

    (void)state;
    rf_buf_init(&body, 64 << 20);
    /* The line before a much too long one ends around byte 262,144, where a chunk is full. */
    for (int shift = -3; shift <= 3; shift++) {
        world w = world_open((rf_ingest_options){.limits = {.event_bytes_max = 1000}});
        size_t end = (size_t)((256 << 10) + shift);
        uint64_t n = 0;

        rf_buf_reset(&body);
        while (body.n + 200 < end)
            rf_buf_addf(&body, EVENT("%" PRIu64) "\n", n++);
        rf_buf_addf(&body, EVENT("%" PRIu64), n++);
        while (body.n < end)
            rf_buf_add_char(&body, ' ');
        rf_buf_add_char(&body, '\n');
        for (int i = 0; i < 600 << 10; i++)
            rf_buf_add_char(&body, 'x');
        rf_buf_addf(&body, "\n" EVENT("%" PRIu64), n++);
        for (size_t piece = 0; piece < 200000; piece = 2 * piece + 999) {
            run *it = run_all(w.ingest, o, rf_buf_str(&body), (cutter){.piece = piece});

            assert_int_equal(it->o->accepted + it->o->duplicates, n);
            assert_int_equal(it->o->rejected, 1);
            assert_int_equal(it->o->errors[0].index, n);
            run_free(it);
        }
        world_close(&w);
    }
    rf_buf_clear(&body);
}

static void line__of_just_the_limit_and_a_chunk__is_taken_with_crlf(void **state)
{
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};
    rf_buf body;

    (void)state;
    rf_buf_init(&body, 64 << 20);
    for (int over = 0; over < 2; over++) {
        world w = world_open((rf_ingest_options){.limits = {.event_bytes_max = (256 << 10) - 1}});

        rf_buf_reset(&body);
        rf_buf_addf(&body, EVENT("1"));
        while (body.n < (size_t)(256 << 10) - 1 + (size_t)over)
            rf_buf_add_char(&body, ' ');
        rf_buf_add_cstr(&body, "\r\n" EVENT("2"));
        check_text(&w, o, rf_buf_str(&body),
                   over ? "ok acc=1 dup=0 rej=1 1:size:too-big" : "ok acc=2 dup=0 rej=0");
        world_close(&w);
    }
    rf_buf_clear(&body);
}

static void lines__with_expectations_over_partitions__keep_each_its_own(void **state)
{
    world w = world_open((rf_ingest_options){.partitions_default = 4});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};
    rf_buf body;

    (void)state;
    rf_buf_init(&body, 1 << 20);
    for (int i = 0; i < 200; i++) {
        if (i < 100)
            rf_buf_addf(&body,
                        EVENT_OF("%d", "t", "s%d", ",\"expectedrevision\":\"no-stream\"") "\n", i,
                        i);
        else
            rf_buf_addf(&body, EVENT_OF("%d", "t", "s%d", ",\"expectedrevision\":\"%d\"") "\n", i,
                        i - 100, i == 150 ? 7 : 0);
    }
    check_text(&w, o, rf_buf_str(&body), "ok acc=199 dup=0 rej=1 151:conflict-revision:conflict");
    rf_buf_clear(&body);
    world_close(&w);
}

static void position__of_new_and_old_events__covers_the_furthest(void **state)
{
    world w = world_open((rf_ingest_options){0});
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON};
    run *it;

    (void)state;
    run_free(run_all(w.ingest, o, RF_STR(EVENT("1") "\n" EVENT("2")), whole));
    it = run_all(w.ingest, o, RF_STR(EVENT("3") "\n" EVENT("1")), whole);
    assert_int_equal(rf_position_get(&it->o->position, RF_STR("default"), 0), 3);
    run_free(it);
    it = run_all(w.ingest, o, RF_STR(EVENT("1")), whole);
    assert_int_equal(rf_position_get(&it->o->position, RF_STR("default"), 0), 1);
    run_free(it);
    world_close(&w);
}

/* ---- cutting
 * -------------------------------------------------------------------------------------------- */

/* Sends a body to a fresh world in one way of cutting it, and describes what came of it. */
static void run_cut(rf_ingest_request_options o, rf_str body, cutter cut, rf_buf *out)
{
    world w = world_open(
        (rf_ingest_options){.limits = {.event_bytes_max = 120}, .partitions_default = 2});
    run *it = run_all(w.ingest, o, body, cut);

    rf_buf_reset(out);
    describe(it->o, out);
    run_free(it);
    world_close(&w);
}

static void check_cuts(rf_ingest_request_options o, rf_str body)
{
    rf_buf want, got;

    rf_buf_init(&want, 1 << 20);
    rf_buf_init(&got, 1 << 20);
    run_cut(o, body, whole, &want);
    for (size_t at = 1; at < body.n; at++) {
        run_cut(o, body, (cutter){.at = at}, &got);
        if (!rf_str_eq(rf_buf_str(&want), rf_buf_str(&got)))
            fail_msg("cut at %zu:\n%s\nwhole:\n%s", at, rf_buf_cstr(&got), rf_buf_cstr(&want));
    }
    for (size_t piece = 1; piece < 8; piece++) {
        run_cut(o, body, (cutter){.piece = piece}, &got);
        if (!rf_str_eq(rf_buf_str(&want), rf_buf_str(&got)))
            fail_msg("pieces of %zu:\n%s\nwhole:\n%s", piece, rf_buf_cstr(&got),
                     rf_buf_cstr(&want));
    }
    rf_buf_clear(&want);
    rf_buf_clear(&got);
}

static const char mixed_lines[] = "\xEF\xBB\xBF{}\n" EVENT("1") "\r\n\r\n  \n" EVENT_OF(
    "2", "t", "s1",
    "") "\n"
        "                                                                                     "
        "                                                                                     \n"
        "{\"specversion\":\"1.0\",\"id\":\"x\\u0000\"}\r\n" EVENT_OF("3", "t", "s2", "") "\n" EVENT_OF(
            "3", "t", "s2",
            "") "\n" EVENT_OF("3", "t", "s2",
                              ",\"a\":\"b\"") "\n\xff\n{\n" EVENT_OF("4", "refold.x", "s2",
                                                                     "") "\n" EVENT("5");

static void any_form__cut_anywhere__says_the_same(void **state)
{
    static const char batch[] =
        " [" EVENT("1") ",{\"a\":[\"]\"]}, " EVENT_OF("2", "t", "s\\\\\\\"", "") " , 7 ] ";

    (void)state;
    check_cuts((rf_ingest_request_options){.form = RF_FORM_NDJSON, .want_results = true},
               rf_str_from(mixed_lines));
    check_cuts((rf_ingest_request_options){.form = RF_FORM_BATCH, .report_errors = true},
               rf_str_from(batch));
    check_cuts((rf_ingest_request_options){.form = RF_FORM_BATCH}, rf_str_from(batch));
    check_cuts((rf_ingest_request_options){.form = RF_FORM_EVENT}, RF_STR(EVENT("1") " \n"));
    check_cuts((rf_ingest_request_options){.form = RF_FORM_EVENT}, RF_STR(EVENT("1") "}"));
}

/* Lines of every kind and length around the sizes of chunks and limits, cut at random. */
static void random_lines(uint64_t *seed, rf_buf *body)
{
    size_t lines = next_random(seed) % 300;

    rf_buf_reset(body);
    for (size_t i = 0; i < lines; i++) {
        switch (next_random(seed) % 8) {
        case 0:
            rf_buf_add_cstr(body, "\r");
            break;
        case 1:
            rf_buf_add_cstr(body, "{\"specversion\":\"1.0\"}");
            break;
        case 2:
            for (size_t n = next_random(seed) % 400000; n > 0; n--)
                rf_buf_add_char(body, 'x');
            break;
        case 3:
            rf_buf_addf(body, EVENT("%zu"), i);
            for (size_t n = next_random(seed) % 3000; n > 0; n--)
                rf_buf_add_char(body, ' ');
            break;
        default:
            rf_buf_addf(body, EVENT_OF("%zu", "t", "s%zu", ""), i % 200, i % 7);
        }
        rf_buf_add_cstr(body, next_random(seed) % 3 == 0 ? "\r\n" : "\n");
    }
    if (lines > 0)
        body->n -= next_random(seed) % 2;
}

static void random_lines__cut_at_random__say_the_same(void **state)
{
    rf_buf body, want, got;
    uint64_t seed = 0x5eed0001;

    (void)state;
    rf_buf_init(&body, 256 << 20);
    rf_buf_init(&want, 16 << 20);
    rf_buf_init(&got, 16 << 20);
    for (int round = 0; round < 12; round++) {
        static const uint32_t limits[] = {100, 2000, 70000, 300000};
        rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .want_results = true};
        uint64_t round_seed = seed;

        random_lines(&seed, &body);
        for (int cut = 0; cut < 4; cut++) {
            static const size_t pieces[] = {0, 100, 70000, 1 << 20};
            world w = world_open((rf_ingest_options){
                .limits = {.event_bytes_max = limits[round % 4]}, .partitions_default = 3});
            run *it = run_all(w.ingest, o, rf_buf_str(&body),
                              (cutter){.piece = pieces[cut], .seed = cut ? seed + cut : 0});
            rf_buf *out = cut == 0 ? &want : &got;

            rf_buf_reset(out);
            describe(it->o, out);
            if (!rf_str_eq(rf_buf_str(&want), rf_buf_str(out)))
                fail_msg("seed %" PRIx64 " pieces %zu:\n%.600s\nwhole:\n%.600s", round_seed,
                         pieces[cut], rf_buf_cstr(out), rf_buf_cstr(&want));
            run_free(it);
            world_close(&w);
        }
    }
    rf_buf_clear(&body);
    rf_buf_clear(&want);
    rf_buf_clear(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event__good__is_stored_with_its_place),
        cmocka_unit_test(event__that_is_bad__is_refused_by_its_rule),
        cmocka_unit_test(event__of_the_system__needs_a_system_request),
        cmocka_unit_test(event__over_the_limit__is_refused_before_it_ends),
        cmocka_unit_test(event__with_expectations__is_checked_against_the_stream),
        cmocka_unit_test(binary__good_and_bad__as_an_event),
        cmocka_unit_test(binary__with_huge_attributes__is_refused),
        cmocka_unit_test(batch__all_or_nothing__is_one_or_the_other),
        cmocka_unit_test(batch__with_report__stores_the_good_ones),
        cmocka_unit_test(batch__over_several_partitions__is_refused_with_the_way_out),
        cmocka_unit_test(batch__over_its_limits__is_refused),
        cmocka_unit_test(batch__of_many_events__grows_and_is_stored),
        cmocka_unit_test(lines__of_each_kind__are_taken_or_told),
        cmocka_unit_test(lines__with_a_first_expectation__check_only_the_first),
        cmocka_unit_test(lines__longer_than_allowed__are_skipped),
        cmocka_unit_test(lines__longer_than_a_chunk__make_it_grow),
        cmocka_unit_test(lines__with_many_bad_ones__keep_the_first_hundred),
        cmocka_unit_test(lines__with_results__list_each_in_order),
        cmocka_unit_test(lines__that_end_where_a_chunk_does__stay_lines),
        cmocka_unit_test(line__of_just_the_limit_and_a_chunk__is_taken_with_crlf),
        cmocka_unit_test(lines__with_expectations_over_partitions__keep_each_its_own),
        cmocka_unit_test(position__of_new_and_old_events__covers_the_furthest),
        cmocka_unit_test(any_form__cut_anywhere__says_the_same),
        cmocka_unit_test(random_lines__cut_at_random__say_the_same),
    };
    return cmocka_run_group_tests_name("ingest", tests, NULL, NULL);
}
