/* The table of routes, the OpenAPI document made of it, percent escapes, Prometheus text, back-off.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>
#include <cmocka.h>

#include "server/metrics_int.h"
#include "server/route_int.h"
#include "server/server.h"
#include "server/supervise_int.h"

/* ---- routing
 * -------------------------------------------------------------------------------------- */

static void match__of_each_kind_of_path(void **state)
{
    static const struct {
        const char *method, *path, *operation, *allow, *a, *b;
    } cases[] = {
        {"GET", "/", "getIndex", "", NULL, NULL},
        {"HEAD", "/", "getIndex", "", NULL, NULL},
        {"GET", "/healthz", "getHealth", "", NULL, NULL},
        {"GET", "/healthz/", NULL, "", NULL, NULL},
        {"GET", "//healthz", NULL, "", NULL, NULL},
        {"POST", "/healthz", NULL, "GET, HEAD, OPTIONS", NULL, NULL},
        {"POST", "/v1/events", "appendEvents", "", NULL, NULL},
        {"GET", "/v1/events", "listEvents", "", NULL, NULL},
        {"DELETE", "/v1/events", NULL, "POST, GET, HEAD, OPTIONS", NULL, NULL},
        {"GET", "/v1/events/%2Fa%2Fb/1", "getEvent", "", "%2Fa%2Fb", "1"},
        {"GET", "/v1/events//1", NULL, "", NULL, NULL},
        {"GET", "/v1/events/a/1/2", NULL, "", NULL, NULL},
        {"GET", "/v1/streams/default/o-1", "readStream", "", "default", "o-1"},
        {"POST", "/v1/projections/x/rebuild", "rebuildProjection", "", "x", NULL},
        {"PUT", "/v1/projections/x", "putProjection", "", "x", NULL},
        {"PATCH", "/v1/projections/x", NULL, "GET, HEAD, PUT, DELETE, OPTIONS", NULL, NULL},
        {"PUT", "/v1/schemas/a.b/versions/3", "putSchema", "", "a.b", "3"},
        {"GET", "/v1/Events", NULL, "", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rfi_match m;

        rfi_route_match(rfi_routes, rfi_route_count, rf_str_from(cases[i].method),
                        rf_str_from(cases[i].path), &m);
        if (cases[i].operation == NULL) {
            assert_null(m.route);
        } else {
            assert_non_null(m.route);
            assert_string_equal(m.route->operation_id, cases[i].operation);
        }
        assert_string_equal(m.allow, cases[i].allow);
        assert_true(rf_str_eq(m.params[0], rf_str_from(cases[i].a)));
        assert_true(rf_str_eq(m.params[1], rf_str_from(cases[i].b)));
    }
}

static void has_query__knows_whole_names_only(void **state)
{
    rfi_route r = {.query = "from,to,limit"}, none = {.query = NULL};

    (void)state;
    assert_true(rfi_route_has_query(&r, RF_STR("from")));
    assert_true(rfi_route_has_query(&r, RF_STR("limit")));
    assert_false(rfi_route_has_query(&r, RF_STR("fro")));
    assert_false(rfi_route_has_query(&r, RF_STR("from,to")));
    assert_false(rfi_route_has_query(&r, RF_STR("")));
    assert_false(rfi_route_has_query(&none, RF_STR("from")));
}

static void percent__escapes__are_decoded_once(void **state)
{
    static const struct {
        const char *in, *strict, *plus, *lax;
    } cases[] = {
        {"a%2Fb", "a/b", "a/b", "a/b"},
        {"%252F", "%2F", "%2F", "%2F"},
        {"a+b", "a+b", "a b", "a+b"},
        {"%c3%A9", "\xc3\xa9", "\xc3\xa9", "\xc3\xa9"},
        {"", "", "", ""},
    };
    static const char *const lax[][2] = {{"100%", "100%"}, {"%zz%41", "%zzA"}, {"%4", "%4"}};
    char out[64];

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_str in = rf_str_from(cases[i].in);

        assert_true(rf_str_eq(rfi_percent_decode(in, false, out), rf_str_from(cases[i].strict)));
        assert_true(rf_str_eq(rfi_percent_decode(in, true, out), rf_str_from(cases[i].plus)));
        assert_true(rf_str_eq(rfi_percent_decode_lax(in, out), rf_str_from(cases[i].lax)));
    }
    for (size_t i = 0; i < RF_ARRAY_LEN(lax); i++)
        assert_true(
            rf_str_eq(rfi_percent_decode_lax(rf_str_from(lax[i][0]), out), rf_str_from(lax[i][1])));
}

/* ---- OpenAPI
 * --------------------------------------------------------------------------------------- */

typedef struct routes_seen {
    yyjson_val *paths;
    size_t count;
} routes_seen;

static void look_up(void *arg, const char *method, const char *path, const char *operation_id)
{
    routes_seen *seen = arg;
    char lower[16] = "";

    for (size_t i = 0; method[i] != '\0'; i++)
        lower[i] = (char)(method[i] | 0x20);
    yyjson_val *op = yyjson_obj_get(yyjson_obj_get(seen->paths, path), lower);

    assert_non_null(op);
    assert_string_equal(yyjson_get_str(yyjson_obj_get(op, "operationId")), operation_id);
    assert_non_null(yyjson_obj_get(yyjson_obj_get(op, "responses"), "default"));
    seen->count++;
}

static void openapi__and_routes__agree_both_ways(void **state)
{
    rf_str text = rf_server_openapi();
    yyjson_read_err e;
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.p, text.n, 0, NULL, &e);
    size_t described = 0, i, n;
    yyjson_val *key, *path;

    (void)state;
    assert_non_null(doc);
    yyjson_val *root = yyjson_doc_get_root(doc);
    routes_seen seen = {yyjson_obj_get(root, "paths"), 0};

    assert_string_equal(yyjson_get_str(yyjson_obj_get(root, "openapi")), "3.1.0");
    rf_server_each_route(look_up, &seen);
    yyjson_obj_foreach(seen.paths, i, n, key, path) described += yyjson_obj_size(path);
    assert_int_equal(seen.count, described);
    assert_int_equal(seen.count, rfi_route_count);
    yyjson_doc_free(doc);
}

static void routes__of_the_read_half__are_forwarded_by_the_front(void **state)
{
    (void)state;
    for (size_t i = 0; i < rfi_route_count; i++) {
        const rfi_route *r = &rfi_routes[i];

        assert_non_null(r->handle[RFI_WRITE]); /* the front serves everything */
        assert_true((r->handle[RFI_READ] == NULL) == (strcmp(r->half, "write") == 0));
    }
}

/* ---- metrics
 * ----------------------------------------------------------------------------------------- */

static void metrics__labels_and_numbers__are_as_prometheus_reads_them(void **state)
{
    rf_buf b;

    (void)state;
    rf_buf_init(&b, 1u << 16);
    rfi_metric_family(&b, "x_total", "counter", "Of x.");
    rfi_metric_u64(&b, "x_total", UINT64_MAX, NULL);
    rfi_metric_u64(&b, "x_total", 1, "a", "q\"b\\c\nd", "e", "", NULL);
    rfi_metric_f64(&b, "y", 0.25, "a", "b", NULL);
    assert_string_equal(rf_buf_cstr(&b), "# HELP x_total Of x.\n# TYPE x_total counter\n"
                                         "x_total 18446744073709551615\n"
                                         "x_total{a=\"q\\\"b\\\\c\\nd\",e=\"\"} 1\n"
                                         "y{a=\"b\"} 0.25\n");
    rf_buf_clear(&b);
}

static void metrics__histogram__is_cumulative_and_in_seconds(void **state)
{
    rf_hist *h = calloc(1, sizeof *h);
    rf_buf b;

    (void)state;
    rf_hist_record(h, 10);
    rf_hist_record(h, 300);
    rf_hist_record(h, 20000000);
    rf_buf_init(&b, 1u << 16);
    rfi_metric_hist(&b, "t", h, "k", "v", NULL);
    const char *text = rf_buf_cstr(&b);

    assert_non_null(strstr(text, "t_bucket{k=\"v\",le=\"0.0001\"} 1\n"));
    assert_non_null(strstr(text, "t_bucket{k=\"v\",le=\"0.0005\"} 2\n"));
    assert_non_null(strstr(text, "t_bucket{k=\"v\",le=\"10\"} 2\n"));
    assert_non_null(strstr(text, "t_bucket{k=\"v\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text, "t_sum{k=\"v\"} 20.00031\n"));
    assert_non_null(strstr(text, "t_count{k=\"v\"} 3\n"));
    rf_buf_reset(&b);
    rfi_metric_hist(&b, "t", h, NULL);
    assert_non_null(
        strstr(rf_buf_cstr(&b), "t_bucket{le=\"+Inf\"} 3\nt_sum 20.00031\nt_count 3\n"));
    rf_buf_clear(&b);
    free(h);
}

static void rss__of_this_process__is_told(void **state)
{
    (void)state;
    assert_true(rfi_process_rss(0) > 1u << 20);
    assert_int_equal(rfi_process_rss(0x3fffffff), 0);
}

/* ---- supervision
 * ---------------------------------------------------------------------------------------- */

static void backoff__doubles_and_is_forgotten_after_health(void **state)
{
    uint32_t ms = 0;
    static const uint32_t expected[] = {50, 100, 200, 400, 800, 1600, 2000, 2000};

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(expected); i++) {
        ms = rfi_backoff_ms(ms, 0);
        assert_int_equal(ms, expected[i]);
    }
    assert_int_equal(rfi_backoff_ms(ms, 5000000), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(match__of_each_kind_of_path),
        cmocka_unit_test(has_query__knows_whole_names_only),
        cmocka_unit_test(percent__escapes__are_decoded_once),
        cmocka_unit_test(openapi__and_routes__agree_both_ways),
        cmocka_unit_test(routes__of_the_read_half__are_forwarded_by_the_front),
        cmocka_unit_test(metrics__labels_and_numbers__are_as_prometheus_reads_them),
        cmocka_unit_test(metrics__histogram__is_cumulative_and_in_seconds),
        cmocka_unit_test(rss__of_this_process__is_told),
        cmocka_unit_test(backoff__doubles_and_is_forgotten_after_health),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
