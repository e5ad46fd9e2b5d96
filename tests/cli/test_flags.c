/* The program's edge: verbs, options, exit codes, and what goes into a URL. */
#include "support.h"

typedef struct parsed {
    const char *name, *words[2];
    bool on;
    size_t count;
} parsed;

/* Returns the exit code; what was said is in said->text. */
static int parse(parsed *p, capture *said, char **argv, int argc)
{
    const rf_flag flags[] = {{"name", &p->name, NULL}, {"on", NULL, &p->on}, {NULL, NULL, NULL}};

    *p = (parsed){0};
    capture_begin(said, stderr);
    int code = rf_cli_flags(&rf_verb_sql, argc, argv, flags, p->words, 2, &p->count);

    capture_end(said);
    return code;
}

#define PARSE(p, said, ...)                                                                        \
    parse((p), (said), (char *[]){(char[]){"sql"}, __VA_ARGS__, NULL},                             \
          (int)RF_ARRAY_LEN(((char *[]){NULL, __VA_ARGS__})))
#define W(text) ((char[]){text})

static void flags__all_forms__are_understood(void **state)
{
    static capture said;
    parsed p;

    (void)state;
    assert_int_equal(PARSE(&p, &said, W("--name"), W("x"), W("--on"), W("word")), RF_EXIT_OK);
    assert_string_equal(p.name, "x");
    assert_true(p.on);
    assert_int_equal(p.count, 1);
    assert_string_equal(p.words[0], "word");
    assert_int_equal(PARSE(&p, &said, W("--name=a=b"), W("-")), RF_EXIT_OK);
    assert_string_equal(p.name, "a=b");
    assert_string_equal(p.words[0], "-");
    assert_int_equal(PARSE(&p, &said, W("--name=")), RF_EXIT_OK);
    assert_string_equal(p.name, "");
    assert_int_equal(PARSE(&p, &said, W("--name"), W("--on")), RF_EXIT_OK);
    assert_string_equal(p.name, "--on"); /* a value may look like an option */
    assert_int_equal(PARSE(&p, &said, W("--"), W("--on"), W("-x")), RF_EXIT_OK);
    assert_int_equal(p.count, 2);
    assert_false(p.on);
}

static void flags__wrong_ones__are_usage_errors_that_say_so(void **state)
{
    static capture said;
    parsed p;

    (void)state;
    assert_int_equal(PARSE(&p, &said, W("--nam"), W("x")), RF_EXIT_USAGE);
    assert_has(said.text, "unknown option '--nam'");
    assert_has(said.text, "refold sql --help");
    assert_int_equal(PARSE(&p, &said, W("--name")), RF_EXIT_USAGE);
    assert_has(said.text, "--name needs a value");
    assert_int_equal(PARSE(&p, &said, W("--on=1")), RF_EXIT_USAGE);
    assert_has(said.text, "--on takes no value");
    assert_int_equal(PARSE(&p, &said, W("a"), W("b"), W("c")), RF_EXIT_USAGE);
    assert_has(said.text, "unexpected argument 'c'");
    assert_int_equal(PARSE(&p, &said, W("-n")), RF_EXIT_USAGE);
    assert_has(said.text, "unknown option '-n'");
}

static void number__table(void **state)
{
    static capture said;
    static const struct {
        const char *text;
        bool fine;
    } cases[] = {{"1", true},   {"10", true},   {"0", false},   {"11", false}, {"", false},
                 {"-1", false}, {"1.5", false}, {"0x1", false}, {"1 ", false}};
    uint64_t v = 7;

    (void)state;
    assert_true(rf_cli_number(&rf_verb_sql, "n", NULL, 1, 10, &v));
    assert_int_equal(v, 7); /* not given: left alone */
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        capture_begin(&said, stderr);
        bool fine = rf_cli_number(&rf_verb_sql, "n", cases[i].text, 1, 10, &v);

        capture_end(&said);
        if (fine != cases[i].fine)
            fail_msg("'%s'", cases[i].text);
        if (!fine)
            assert_has(said.text, "between 1 and 10");
    }
}

static int run_program(capture *out, FILE *stream, char **argv, int argc)
{
    capture_begin(out, stream);
    int code = rf_cli_main(argc, argv);

    capture_end(out);
    return code;
}

#define RUN(out, stream, ...)                                                                      \
    run_program((out), (stream), (char *[]){(char[]){"refold"}, __VA_ARGS__, NULL},                \
                (int)RF_ARRAY_LEN(((char *[]){NULL, __VA_ARGS__})))

static void program__help__teaches(void **state)
{
    static capture out;

    (void)state;
    assert_int_equal(RUN(&out, stdout, W("--help")), RF_EXIT_OK);
    for (size_t i = 0; rf_verbs[i] != NULL; i++)
        assert_has(out.text, rf_verbs[i]->name);
    assert_int_equal(RUN(&out, stdout, W("help"), W("sql")), RF_EXIT_OK);
    assert_has(out.text, "usage: refold sql");
    assert_int_equal(RUN(&out, stdout, W("serve"), W("--help")), RF_EXIT_OK);
    assert_has(out.text, "ingest.max-event-bytes");
}

static void program__every_verb__has_help_with_usage(void **state)
{
    (void)state;
    for (size_t i = 0; rf_verbs[i] != NULL; i++) {
        char usage[64];

        snprintf(usage, sizeof usage, "usage: refold %s", rf_verbs[i]->name);
        assert_int_equal(strncmp(rf_verbs[i]->help, usage, strlen(usage)), 0);
        assert_int_equal(rf_verbs[i]->help[strlen(rf_verbs[i]->help) - 1], '\n');
        for (const char *line = rf_verbs[i]->help; *line != '\0';) {
            size_t n = strcspn(line, "\n");

            if (n > 100)
                fail_msg("a line of %s --help is %zu wide: %.*s", rf_verbs[i]->name, n, (int)n,
                         line);
            line += n + 1;
        }
    }
}

static void program__unknown_verb__names_the_nearest(void **state)
{
    static capture out;

    (void)state;
    assert_int_equal(RUN(&out, stderr, W("projection")), RF_EXIT_USAGE);
    assert_has(out.text, "did you mean 'projections'");
    assert_int_equal(RUN(&out, stderr, W("help"), W("statu")), RF_EXIT_USAGE);
    assert_has(out.text, "did you mean 'status'");
    assert_int_equal(RUN(&out, stderr, W("xyzzyplugh")), RF_EXIT_USAGE);
    assert_null(strstr(out.text, "did you mean"));
    assert_int_equal(run_program(&out, stderr, (char *[]){W("refold"), NULL}, 1), RF_EXIT_USAGE);
}

static void program__wrong_usage__is_exit_code_2(void **state)
{
    static capture out;

    (void)state;
    assert_int_equal(RUN(&out, stderr, W("import")), RF_EXIT_USAGE);
    assert_int_equal(RUN(&out, stderr, W("rebuild")), RF_EXIT_USAGE);
    assert_int_equal(RUN(&out, stderr, W("send")), RF_EXIT_USAGE);
    assert_int_equal(RUN(&out, stderr, W("send"), W("--type"), W("a"), W("--data"), W("oops")),
                     RF_EXIT_USAGE);
    assert_has(out.text, "not JSON");
    assert_int_equal(
        RUN(&out, stderr, W("send"), W("--type"), W("a"), W("--data"), W("1},\"id\":{\"x\":2")),
        RF_EXIT_USAGE); /* nothing of it may reach the envelope */
    assert_int_equal(RUN(&out, stderr, W("events"), W("source-only")), RF_EXIT_USAGE);
    assert_int_equal(RUN(&out, stderr, W("events"), W("--limit"), W("none")), RF_EXIT_USAGE);
    assert_int_equal(RUN(&out, stderr, W("projections"), W("drop")), RF_EXIT_USAGE);
    assert_int_equal(RUN(&out, stderr, W("sql"), W("--format"), W("xml"), W("SELECT 1")),
                     RF_EXIT_USAGE);
    assert_int_equal(RUN(&out, stderr, W("serve"), W("--rolle"), W("all")), RF_EXIT_USAGE);
    assert_has(out.text, "did you mean 'role'");
    assert_int_equal(RUN(&out, stderr, W("completion"), W("tcsh")), RF_EXIT_USAGE);
}

static void program__nobody_at_the_url__says_how_to_start_one(void **state)
{
    static capture out;

    (void)state;
    assert_int_equal(RUN(&out, stderr, W("status"), W("--url"), W("http://127.0.0.1:1")),
                     RF_EXIT_FAILED);
    assert_has(out.text, "no server answers at http://127.0.0.1:1");
    assert_has(out.text, "refold serve");
    assert_int_equal(
        RUN(&out, stderr, W("sql"), W("--url"), W("unix:/nonexistent.sock"), W("SELECT 1")),
        RF_EXIT_FAILED);
    assert_has(out.text, "/nonexistent.sock");
}

static void completion__bash__is_valid_and_knows_options(void **state)
{
    static capture out;

    (void)state;
    assert_int_equal(RUN(&out, stdout, W("completion"), W("bash")), RF_EXIT_OK);
    assert_has(out.text, "import) options=\"");
    assert_has(out.text, "--request-events ");
    assert_has(out.text, "--expected-revision ");
    FILE *bash = popen("bash -n", "w");

    assert_non_null(bash);
    fputs(out.text, bash);
    assert_int_equal(pclose(bash), 0);
}

static void url__flag_env_default__in_this_order(void **state)
{
    (void)state;
    unsetenv("REFOLD_URL");
    assert_string_equal(rf_cli_url(NULL), "http://127.0.0.1:7070");
    setenv("REFOLD_URL", "http://there:1", 1);
    assert_string_equal(rf_cli_url(NULL), "http://there:1");
    assert_string_equal(rf_cli_url("http://here:2"), "http://here:2");
    setenv("REFOLD_URL", "", 1);
    assert_string_equal(rf_cli_url(NULL), "http://127.0.0.1:7070");
    unsetenv("REFOLD_URL");
}

static void url_encode__table(void **state)
{
    static const struct {
        rf_str raw;
        const char *encoded;
    } cases[] = {
        {{"plain-._~09AZaz", 15}, "plain-._~09AZaz"},
        {{"/a b?c#d&e=f", 12}, "%2Fa%20b%3Fc%23d%26e%3Df"},
        {{"%", 1}, "%25"},
        {{"\xc3\xa9\x00\x7f", 4}, "%C3%A9%00%7F"},
        {{NULL, 0}, ""},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_buf b;

        rf_buf_init(&b, 1024);
        rf_url_encode(&b, cases[i].raw);
        assert_string_equal(rf_buf_cstr(&b), cases[i].encoded);
        rf_buf_clear(&b);
    }
}

static void reply_check__problems__become_one_line(void **state)
{
    static const struct {
        long status;
        const char *body;
        rf_status want;
        const char *says;
    } cases[] = {
        {200, "{}", RF_OK, ""},
        {404, "{\"title\":\"Not found\",\"detail\":\"no projection x\"}", RF_ENOTFOUND,
         "404 Not found: no projection x"},
        {422,
         "{\"title\":\"Refused\",\"errors\":[{\"index\":3,\"rule\":\"bad-time\",\"path\":\"/time\","
         "\"detail\":\"no time\"},{\"index\":4}]}",
         RF_EINVAL, "event 3: bad-time at /time: no time (and more)"},
        {409, "{\"title\":\"Conflict\",\"errors\":[{\"line\":9,\"rule\":\"conflict-id\"}]}",
         RF_ECONFLICT, "event 9: conflict-id"},
        {502, "<html>proxy</html>", RF_EINTERNAL, "answered 502: <html>"},
        {503, "", RF_EBUSY, "answered 503"},
        {507, "{\"detail\":\"full\"}", RF_EFULL, "full"},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_reply reply = {.status = cases[i].status};
        rf_err err = {0};

        rf_buf_init(&reply.body, 4096);
        rf_buf_add_cstr(&reply.body, cases[i].body);
        assert_int_equal(rf_reply_check(&reply, &err), cases[i].want);
        if (cases[i].want != RF_OK)
            assert_has(err.text, cases[i].says);
        rf_buf_clear(&reply.body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags__all_forms__are_understood),
        cmocka_unit_test(flags__wrong_ones__are_usage_errors_that_say_so),
        cmocka_unit_test(number__table),
        cmocka_unit_test(program__help__teaches),
        cmocka_unit_test(program__every_verb__has_help_with_usage),
        cmocka_unit_test(program__unknown_verb__names_the_nearest),
        cmocka_unit_test(program__wrong_usage__is_exit_code_2),
        cmocka_unit_test(program__nobody_at_the_url__says_how_to_start_one),
        cmocka_unit_test(completion__bash__is_valid_and_knows_options),
        cmocka_unit_test(url__flag_env_default__in_this_order),
        cmocka_unit_test(url_encode__table),
        cmocka_unit_test(reply_check__problems__become_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
