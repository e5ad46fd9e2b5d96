/* The settings of serve: file < environment < flags, and what is refused. */
#include "cli/config_int.h"

#include "support.h"

typedef struct fixture {
    char *dir;
    rfi_config *c;
} fixture;

static int setup(void **state)
{
    fixture *f = rf_xcalloc(1, sizeof *f);
    void *dir = NULL;

    if (temp_setup(&dir) != 0)
        return -1;
    f->dir = dir;
    f->c = rf_xcalloc(1, sizeof *f->c);
    rfi_config_init(f->c);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    void *dir = f->dir;

    rfi_config_clear(f->c);
    free(f->c);
    temp_teardown(&dir);
    free(f);
    return 0;
}

static const char *write_config(fixture *f, const char *text)
{
    void *dir = f->dir;

    return temp_file(&dir, "refold.yaml", text);
}

static void config__nothing_given__has_the_documented_defaults(void **state)
{
    fixture *f = *state;

    assert_string_equal(f->c->server.data_dir, "./refold-data");
    assert_string_equal(f->c->server.listen_host, "127.0.0.1");
    assert_int_equal(f->c->server.listen_port, 7070);
    assert_string_equal(f->c->role, "all");
    assert_int_equal(f->c->server.domain_count, 0);
}

static void config__file_env_flag__the_later_wins(void **state)
{
    fixture *f = *state;
    rf_err err = {0};

    assert_int_equal(rfi_config_file(f->c,
                                     write_config(f, "query:\n  timeout: 5s\n  sessions: 2\n"
                                                     "http: {threads: 3}\n"),
                                     &err),
                     RF_OK);
    assert_int_equal(f->c->server.query_timeout_ms, 5000);
    setenv("REFOLD_QUERY_TIMEOUT", "7s", 1);
    setenv("REFOLD_QUERY_SESSIONS", "9", 1);
    rf_status st = rfi_config_env(f->c, &err);

    unsetenv("REFOLD_QUERY_TIMEOUT");
    unsetenv("REFOLD_QUERY_SESSIONS");
    assert_int_equal(st, RF_OK);
    assert_int_equal(rfi_config_set(f->c, "query.timeout", "250ms", "--query.timeout", &err),
                     RF_OK);
    assert_int_equal(f->c->server.query_timeout_ms, 250);
    assert_int_equal(f->c->server.query_sessions, 9);
    assert_int_equal(f->c->server.io_threads, 3);
}

static void config__dashes_in_a_key__are_underscores_in_the_environment(void **state)
{
    fixture *f = *state;
    rf_err err = {0};

    setenv("REFOLD_INGEST_MAX_EVENT_BYTES", "2MiB", 1);
    rf_status st = rfi_config_env(f->c, &err);

    unsetenv("REFOLD_INGEST_MAX_EVENT_BYTES");
    assert_int_equal(st, RF_OK);
    assert_int_equal(f->c->server.event_limits.event_bytes_max, 2u << 20);
}

static void config__values__are_read_with_their_units(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *key, *value;
        bool fine;
        uint64_t want; /* of log.segment-bytes or query.timeout */
    } cases[] = {
        {"log.segment-bytes", "65536", true, 65536},
        {"log.segment-bytes", "64KiB", true, 65536},
        {"log.segment-bytes", "1M", true, 1u << 20},
        {"log.segment-bytes", "1 MiB", true, 1u << 20},
        {"log.segment-bytes", "1MB", true, 1000000},
        {"log.segment-bytes", "0.5GiB", true, 512u << 20},
        {"log.segment-bytes", "64KiB ", false, 0},
        {"log.segment-bytes", "1", false, 0},    /* under the least */
        {"log.segment-bytes", "5GiB", false, 0}, /* over the most */
        {"log.segment-bytes", "-1MiB", false, 0},
        {"log.segment-bytes", "1Mib", false, 0},
        {"log.segment-bytes", "inf", false, 0},
        {"log.segment-bytes", "nan", false, 0},
        {"log.segment-bytes", "1e999", false, 0},
        {"log.segment-bytes", "", false, 0},
        {"query.timeout", "1500ms", true, 1500},
        {"query.timeout", "1.5s", true, 1500},
        {"query.timeout", "2m", true, 120000},
        {"query.timeout", "30", false, 0}, /* of what? */
        {"query.timeout", "30 sec", false, 0},
        {"query.timeout", "1h", false, 0}, /* over the most */
        {"query.timeout", "s", false, 0},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_err err = {0};
        rf_status st = rfi_config_set(f->c, cases[i].key, cases[i].value, "--x", &err);

        if ((st == RF_OK) != cases[i].fine)
            fail_msg("%s = '%s': %s", cases[i].key, cases[i].value,
                     st == RF_OK ? "accepted" : err.text);
        if (!cases[i].fine) {
            assert_int_equal(st, RF_EINVAL);
            assert_has(err.text, cases[i].key);
            continue;
        }
        uint64_t got = strncmp(cases[i].key, "log", 3) == 0 ? f->c->server.segment_bytes_max
                                                            : f->c->server.query_timeout_ms;
        assert_int_equal(got, cases[i].want);
    }
}

static void config__listen__table(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *text, *host; /* host NULL: refused */
        uint16_t port;
    } cases[] = {
        {"0.0.0.0:80", "0.0.0.0", 80},
        {"localhost:0", "localhost", 0},
        {":8080", "127.0.0.1", 8080},
        {"[::1]:7070", "::1", 7070},
        {"7070", NULL, 0},
        {"host:", NULL, 0},
        {"host:70700", NULL, 0},
        {"host:-1", NULL, 0},
        {"host:7x", NULL, 0},
        {"", NULL, 0},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_err err = {0};
        rf_status st = rfi_config_set(f->c, "listen", cases[i].text, "--listen", &err);

        if ((st == RF_OK) != (cases[i].host != NULL))
            fail_msg("'%s': %s", cases[i].text, st == RF_OK ? "accepted" : err.text);
        if (st != RF_OK)
            continue;
        assert_string_equal(f->c->server.listen_host, cases[i].host);
        assert_int_equal(f->c->server.listen_port, cases[i].port);
    }
}

static void config__choices__only_known_words(void **state)
{
    fixture *f = *state;
    rf_err err = {0};

    assert_int_equal(rfi_config_set(f->c, "role", "read", "--role", &err), RF_OK);
    assert_string_equal(f->c->role, "read");
    assert_int_equal(rfi_config_set(f->c, "role", "reader", "--role", &err), RF_EINVAL);
    assert_has(err.text, "all, write or read");
    assert_int_equal(rfi_config_set(f->c, "logs.format", "json", "--x", &err), RF_OK);
    assert_true(f->c->server.json_logs);
    assert_int_equal(rfi_config_set(f->c, "logs.format", "xml", "--x", &err), RF_EINVAL);
    assert_int_equal(rfi_config_set(f->c, "logs.level", "debug", "--x", &err), RF_OK);
    assert_int_equal(f->c->server.log_level, RF_DIAG_DEBUG);
    assert_int_equal(rfi_config_set(f->c, "logs.level", "loud", "--x", &err), RF_EINVAL);
}

static void config__bad_files__are_refused_with_their_line(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *text, *where, *says;
    } cases[] = {
        {"quary:\n  timeout: 3s\n", ":2:", "did you mean 'query.timeout'"},
        {"data: x\nlisten: 1:1\nrolle: all\n", ":3:", "did you mean 'role'"},
        {"zzzzzzzzzzzzzzzzz: 1\n", ":1:", "unknown key 'zzzzzzzzzzzzzzzzz'"},
        {"query:\n  timeout: soon\n", ":2:", "a time such as"},
        {"query:\n  timeout: [1, 2]\n", ":2:", "not a list"},
        {"query: 5\n", ":1:", "unknown key 'query'"},
        {"query:\n  timeout:\n    x: 1\n", ":3:", "takes a value, not a mapping"},
        {"a:\n  b:\n    c: 1\n", ":3:", "unknown key 'a.b'"},
        {"data: a\ndata: b\n", ":2:", "given twice"},
        {"query:\n  timeout: 3s\nquery:\n  timeout: 4s\n", ":3:", "given twice"},
        {"data: &x foo\nproject: *x\n", ":2:", "aliases"},
        {"- data\n", ":1:", "keys and values"},
        {"just text\n", ":1:", "keys and values"},
        {"data: \"unfinished\n", ":", "not valid YAML"},
        {"? [1]\n: x\n", ":1:", "plain text"},
        {"ingest:\n  max-depth: 1000\n", ":2:", "not between 4 and 512"},
        {"domains:\n  Upper: x\n", ":2:", "not a domain name"},
        {"domains:\n  refold: x\n", ":2:", "not a domain name"},
        {"domains:\n  shop:\n    prefixes: x\n", ":3:", "known: prefix, partitions"},
        {"domains:\n  shop:\n    partitions: 0\n", ":3:", "between 1 and 1024"},
        {"domains:\n  shop: [a]\n", ":2:", "a mapping with prefix and partitions"},
        {"domains:\n  shop: a\n  shop: b\n", ":3:", "given twice"},
        {"domains:\n  shop: {prefix: a, prefix: b}\n", ":2:", "given twice"},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rfi_config *c = rf_xcalloc(1, sizeof *c);
        rf_err err = {0};

        rfi_config_init(c);
        rf_status st = rfi_config_file(c, write_config(f, cases[i].text), &err);

        if (st != RF_EINVAL)
            fail_msg("accepted: %s", cases[i].text);
        assert_has(err.text, "refold.yaml");
        assert_has(err.text, cases[i].where);
        assert_has(err.text, cases[i].says);
        rfi_config_clear(c);
        free(c);
    }
}

static void config__file_that_is_not_there__is_named(void **state)
{
    fixture *f = *state;
    rf_err err = {0};

    assert_int_equal(rfi_config_file(f->c, "/nonexistent/refold.yaml", &err), RF_ENOTFOUND);
    assert_has(err.text, "/nonexistent/refold.yaml");
}

static void config__empty_files_and_null_values__change_nothing(void **state)
{
    fixture *f = *state;
    static const char *const texts[] = {"", "# nothing\n", "---\n", "data: ~\nproject:\n"};

    for (size_t i = 0; i < RF_ARRAY_LEN(texts); i++) {
        rf_err err = {0};

        assert_int_equal(rfi_config_file(f->c, write_config(f, texts[i]), &err), RF_OK);
        assert_string_equal(f->c->server.data_dir, "./refold-data");
        assert_null(f->c->server.project_dir);
    }
}

static void config__relative_paths_in_a_file__are_relative_to_it(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    char want[PATH_MAX];

    assert_int_equal(
        rfi_config_file(f->c, write_config(f, "data: store\nproject: /abs/shop\n"), &err), RF_OK);
    snprintf(want, sizeof want, "%s/store", f->dir);
    assert_string_equal(f->c->server.data_dir, want);
    assert_string_equal(f->c->server.project_dir, "/abs/shop");
    assert_int_equal(rfi_config_set(f->c, "data", "here", "--data", &err), RF_OK);
    assert_string_equal(f->c->server.data_dir, "here");
}

static void config__domains__three_ways_to_write_one(void **state)
{
    fixture *f = *state;
    rf_err err = {0};

    assert_int_equal(rfi_config_file(f->c,
                                     write_config(f, "domains:\n"
                                                     "  flights: {prefix: flight, "
                                                     "partitions: 4}\n"
                                                     "  shop: order\n"
                                                     "  billing:\n"),
                                     &err),
                     RF_OK);
    const rf_domain_rule *d = f->c->server.domains;

    assert_int_equal(f->c->server.domain_count, 3);
    assert_true(rf_str_eq(d[0].domain, RF_STR("flights")));
    assert_true(rf_str_eq(d[0].prefix, RF_STR("flight")));
    assert_int_equal(d[0].partitions, 4);
    assert_true(rf_str_eq(d[1].prefix, RF_STR("order")));
    assert_int_equal(d[1].partitions, 0);
    assert_true(rf_str_eq(d[2].domain, RF_STR("billing")));
    assert_true(rf_str_eq(d[2].prefix, RF_STR("billing")));
}

static char *printed(const rfi_config *c)
{
    char *text = NULL;

    PRINTED(text, out, rfi_config_print(c, out));
    return text;
}

static void config__printed__reads_back_as_the_same(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    rfi_config *again = rf_xcalloc(1, sizeof *again);

    assert_int_equal(rfi_config_file(f->c,
                                     write_config(f, "listen: \"[::1]:9000\"\n"
                                                     "data: \"/tmp/odd: #\\\"dir\\\"\"\n"
                                                     "log: {segment-bytes: 1MiB}\n"
                                                     "query: {timeout: 2s}\n"
                                                     "logs: {format: json, level: warn}\n"
                                                     "role: write\n"
                                                     "domains: {a: {prefix: a.b}, c: d}\n"),
                                     &err),
                     RF_OK);
    char *first = printed(f->c);

    rfi_config_init(again);
    if (rfi_config_file(again, write_config(f, first), &err) != RF_OK)
        fail_msg("%s in:\n%s", err.text, first);
    assert_string_equal(again->server.data_dir, "/tmp/odd: #\"dir\"");
    assert_string_equal(again->server.listen_host, "::1");
    assert_string_equal(again->role, "write");
    char *second = printed(again);

    assert_string_equal(first, second);
    free(first);
    free(second);
    rfi_config_clear(again);
    free(again);
}

/* The read half is started with these: it must come to the same settings. */
static void config__as_flags__gives_the_same_settings(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    rfi_config *again = rf_xcalloc(1, sizeof *again);
    char *args[64];

    assert_int_equal(rfi_config_set(f->c, "listen", "[::1]:9000", "x", &err), RF_OK);
    assert_int_equal(rfi_config_set(f->c, "data", "/tmp/with space", "x", &err), RF_OK);
    assert_int_equal(rfi_config_set(f->c, "query.max-rows", "77", "x", &err), RF_OK);
    rfi_config_init(again);
    size_t n = rfi_config_flags(f->c, args, RF_ARRAY_LEN(args));

    assert_true(n > 20);
    for (size_t i = 0; i < n; i++) {
        char *equals = strchr(args[i], '=');

        assert_non_null(equals);
        assert_int_equal(strncmp(args[i], "--", 2), 0);
        *equals = '\0';
        if (rfi_config_set(again, args[i] + 2, equals + 1, args[i], &err) != RF_OK)
            fail_msg("%s", err.text);
        free(args[i]);
    }
    char *first = printed(f->c), *second = printed(again);

    assert_string_equal(first, second);
    free(first);
    free(second);
    rfi_config_clear(again);
    free(again);
}

static void config__help__names_every_printed_key(void **state)
{
    fixture *f = *state;
    char *help = NULL, *print = printed(f->c);

    PRINTED(help, out, rfi_config_help(out));
    assert_has(help, "query.max-rows");
    assert_has(help, "log.segment-bytes");
    assert_has(help, "(127.0.0.1:7070)");
    assert_has(print, "  max-rows: ");
    free(help);
    free(print);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(config__nothing_given__has_the_documented_defaults),
        T(config__file_env_flag__the_later_wins),
        T(config__dashes_in_a_key__are_underscores_in_the_environment),
        T(config__values__are_read_with_their_units),
        T(config__listen__table),
        T(config__choices__only_known_words),
        T(config__bad_files__are_refused_with_their_line),
        T(config__file_that_is_not_there__is_named),
        T(config__empty_files_and_null_values__change_nothing),
        T(config__relative_paths_in_a_file__are_relative_to_it),
        T(config__domains__three_ways_to_write_one),
        T(config__printed__reads_back_as_the_same),
        T(config__as_flags__gives_the_same_settings),
        T(config__help__names_every_printed_key),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
