/* From types to domains; options that are refused; counters. */
#include "fake_log.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void domain__of_a_type__is_the_longest_prefix_of_whole_segments(void **state)
{
    static const rf_domain_rule rules[] = {
        {.domain = {"shop", 4}, .prefix = {"", 0}},
        {.domain = {"orders", 6}, .prefix = {"shop.order", 10}, .partitions = 3},
        {.domain = {"billing", 7}, .prefix = {"com.example.", 12}},
        {.domain = {"billing", 7}, .prefix = {"invoice", 7}},
        {.domain = {"default", 7}, .prefix = {"shop.misc", 9}},
    };
    static const struct {
        const char *type, *domain;
    } cases[] = {
        {"shop.cart", "shop"},        {"shop", "default"}, /* "shop." asks for more */
        {"shopping.cart", "default"}, {"shop.order", "orders"},    {"shop.order.placed", "orders"},
        {"shop.orders", "shop"},      {"shop.misc", "default"},    {"shop.misc.x", "default"},
        {"com.example.a", "billing"}, {"com.example", "default"},  {"com.example.", "default"},
        {"invoice", "billing"},       {"invoice.paid", "billing"}, {"invoic", "default"},
        {"refold.x", "refold"},       {"refold", "default"},       {"refoldx.y", "default"},
        {"Shop.cart", "default"},
    };
    rf_ingest_options o = {.log = fake_log_new(),
                           .rules = rules,
                           .rule_count = RF_ARRAY_LEN(rules),
                           .partitions_default = 2};
    rf_ingest *ingest;
    rf_err err = {0};

    (void)state;
    assert_int_equal(rf_ingest_open(&o, &ingest, &err), RF_OK);
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_str domain = rf_ingest_domain_of(ingest, rf_str_from(cases[i].type));
        if (!rf_str_eq(domain, rf_str_from(cases[i].domain)))
            fail_msg("%s: %.*s", cases[i].type, RF_STR_ARG(domain));
    }
    /* default 2, refold 1, shop 2, orders 3, billing 2 */
    assert_int_equal(o.log->part_count, 10);
    rf_ingest_close(&ingest);
    rf_ingest_close(&ingest);
    fake_log_free(o.log);
}

static void rules__that_are_wrong__are_refused(void **state)
{
    static const struct {
        rf_domain_rule rules[2];
        const char *says;
    } cases[] = {
        {{{.domain = {"Shop", 4}}}, "a name has"},
        {{{.domain = {"", 0}, .prefix = {"a", 1}}}, "a name has"},
        {{{.domain = {"refold", 6}, .prefix = {"a", 1}}}, "belong to the program"},
        {{{.domain = {"x", 1}, .prefix = {"refold", 6}}}, "belong to the program"},
        {{{.domain = {"x", 1}, .prefix = {"refold.a", 8}}}, "belong to the program"},
        {{{.domain = {"x", 1}, .prefix = {".a", 2}}}, "beginning of a type"},
        {{{.domain = {"x", 1}, .prefix = {"a", 1}}, {.domain = {"y", 1}, .prefix = {"a.", 2}}},
         "\"a\" is given to two domains: x and y"},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_ingest_options o = {.log = fake_log_new(), .rules = cases[i].rules};
        rf_ingest *ingest;
        rf_err err = {0};

        o.rule_count = cases[i].rules[1].domain.n > 0 ? 2 : 1;
        if (rf_ingest_open(&o, &ingest, &err) != RF_EINVAL ||
            strstr(err.text, cases[i].says) == NULL)
            fail_msg("case %zu: %s", i, err.text);
        assert_null(ingest);
        fake_log_free(o.log);
    }
}

static void options__beyond_what_the_log_takes__are_refused(void **state)
{
    static const rf_ingest_options cases[] = {
        {.limits = {.event_bytes_max = RF_EVENT_BYTES_CAP + 1}},
        {.limits = {.depth_max = RF_EVENT_DEPTH_CAP + 1}},
        {.body_bytes_max = RF_APPEND_BYTES_MAX + 1ull},
        {.batch_events_max = RF_APPEND_EVENTS_MAX + 1},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_ingest_options o = cases[i];
        rf_ingest *ingest;
        rf_err err = {0};

        o.log = fake_log_new();
        assert_int_equal(rf_ingest_open(&o, &ingest, &err), RF_EINVAL);
        fake_log_free(o.log);
    }
}

static void note_rejection(void *arg, const char *rule, uint64_t n)
{
    rf_buf_addf(arg, "%s=%" PRIu64 " ", rule, n);
}

static void rejections__of_each_rule__are_counted(void **state)
{
    static const char event[] =
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"%s}";
    rf_ingest_options o = {.log = fake_log_new()};
    rf_ingest_request_options lines = {.form = RF_FORM_NDJSON};
    rf_ingest *ingest;
    rf_ingest_stats stats;
    rf_err err = {0};
    rf_buf text, body;

    (void)state;
    rf_buf_init(&text, 1 << 20);
    rf_buf_init(&body, 1 << 20);
    assert_int_equal(rf_ingest_open(&o, &ingest, &err), RF_OK);
    rf_buf_addf(&body, "{}\n{}\nx\n");
    for (int i = 0; i < 3; i++) {
        rf_buf_addf(&body, event, i == 2 ? ",\"a\":\"b\"" : "");
        rf_buf_add_char(&body, '\n');
    }
    run_free(run_all(ingest, lines, rf_buf_str(&body), (cutter){0}));
    lines.coding = RF_CODING_GZIP;
    run_free(run_all(ingest, lines, RF_STR("x"), (cutter){0}));
    rf_ingest_each_rejection(ingest, note_rejection, &text);
    assert_string_equal(rf_buf_cstr(&text),
                        "json-syntax=1 missing-attribute=2 conflict-id=1 bad-encoding=1 ");
    rf_ingest_get_stats(ingest, &stats);
    assert_int_equal(stats.requests, 2);
    assert_int_equal(stats.events, 1);
    assert_int_equal(stats.duplicates, 1);
    assert_int_equal(stats.bytes, body.n);
    rf_buf_clear(&text);
    rf_buf_clear(&body);
    rf_ingest_close(&ingest);
    fake_log_free(o.log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(domain__of_a_type__is_the_longest_prefix_of_whole_segments),
        cmocka_unit_test(rules__that_are_wrong__are_refused),
        cmocka_unit_test(options__beyond_what_the_log_takes__are_refused),
        cmocka_unit_test(rejections__of_each_rule__are_counted),
    };
    return cmocka_run_group_tests_name("ingest routing", tests, NULL, NULL);
}
