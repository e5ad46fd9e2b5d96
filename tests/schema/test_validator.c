/*
 * The validator against the official JSON Schema test suite (2020-12, everything that is required),
 * which scripts/setup gets; and what the suite does not test: messages, limits, threads' memory.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>
#include <cmocka.h>

#include "schema/schema.h"

#define SUITE RF_SOURCE_DIR "/.deps/schema-suite"
#define LOOKUPS_MAX 4096

/* Texts handed out by lookup live until the end of the program's case. */
static rf_buf texts[LOOKUPS_MAX];
static size_t text_count;

static bool lookup(void *arg, rf_str uri, rf_str *text)
{
    static const char remote[] = "http://localhost:1234/";
    static const char meta[] = "https://json-schema.org/draft/2020-12/";
    char path[2048];
    rf_err err = {0};

    (void)arg;
    if (rf_str_starts(uri, rf_str_from(remote)))
        snprintf(path, sizeof path, SUITE "/remotes/%.*s", (int)(uri.n - sizeof remote + 1),
                 uri.p + sizeof remote - 1);
    else if (rf_str_starts(uri, rf_str_from(meta)))
        snprintf(path, sizeof path, SUITE "/metaschema/%.*s.json", (int)(uri.n - sizeof meta + 1),
                 uri.p + sizeof meta - 1);
    else
        return false;
    assert_true(text_count < LOOKUPS_MAX);
    rf_buf_init(&texts[text_count], 1u << 20);
    if (rf_io_read_file(rf_io_posix(), path, 1u << 20, &texts[text_count], &err) != RF_OK)
        return false;
    *text = rf_buf_str(&texts[text_count++]);
    return true;
}

static void free_texts(void)
{
    while (text_count > 0)
        rf_buf_clear(&texts[--text_count]);
}

static unsigned run_group(const char *file, yyjson_val *group, rf_validation *work, unsigned *ran)
{
    rf_validator *v = NULL;
    rf_err err = {0};
    yyjson_val *test;
    size_t n, i, count;
    unsigned wrong = 0;
    char *schema = yyjson_val_write(yyjson_obj_get(group, "schema"), 0, &n);
    rf_status st = rf_validator_new(RF_STR(""), (rf_str){schema, n}, lookup, NULL, &v, &err);

    yyjson_arr_foreach(yyjson_obj_get(group, "tests"), i, count, test)
    {
        char *data = yyjson_val_write(yyjson_obj_get(test, "data"), 0, &n);
        yyjson_doc *doc = yyjson_read(data, n, YYJSON_READ_BIGNUM_AS_RAW);
        rf_violation violation = {0};
        bool valid =
            st == RF_OK && rf_validator_check(v, work, yyjson_doc_get_root(doc), &violation);

        (*ran)++;
        if (st != RF_OK || valid != yyjson_get_bool(yyjson_obj_get(test, "valid"))) {
            wrong++;
            print_error("%s: %s: %s: %s\n", file,
                        yyjson_get_str(yyjson_obj_get(group, "description")),
                        yyjson_get_str(yyjson_obj_get(test, "description")),
                        st != RF_OK ? err.text : violation.detail);
        }
        if (st == RF_OK)
            assert_int_equal(valid, violation.rule[0] == '\0'); /* a no has a reason, a yes none */
        yyjson_doc_free(doc);
        free(data);
    }
    rf_validator_free(&v);
    free(schema);
    free_texts();
    return wrong;
}

static void suite__every_required_case__as_the_suite_says(void **state)
{
    struct dirent **entries = NULL;
    int files = scandir(SUITE "/tests", &entries, NULL, alphasort);
    rf_validation *work = rf_validation_new();
    unsigned ran = 0, wrong = 0;

    (void)state;
    assert_true(files > 0); /* scripts/setup gets it */
    for (int f = 0; f < files; f++) {
        char path[2048];
        const char *name = entries[f]->d_name;

        snprintf(path, sizeof path, SUITE "/tests/%s", name);
        yyjson_doc *doc =
            strstr(name, ".json") == NULL ? NULL : yyjson_read_file(path, 0, NULL, NULL);
        yyjson_val *group;
        size_t i, n;

        yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, group) wrong +=
            run_group(name, group, work, &ran);
        yyjson_doc_free(doc);
        free(entries[f]);
    }
    free(entries);
    rf_validation_free(&work);
    print_message("%u cases\n", ran);
    assert_true(ran >= 1100);
    assert_int_equal(wrong, 0);
}

/* ---- ours ---------------------------------------------------------------------------------------
 */

typedef struct check {
    const char *name, *schema, *value, *rule, *path, *detail;
} check;

static const check checks[] = {
    {"missing", "{\"required\":[\"a\",\"b\"]}", "{\"a\":1}", "required", "", "\"b\""},
    {"nested path", "{\"properties\":{\"a\":{\"items\":{\"maximum\":3}}}}", "{\"a\":[1,9]}",
     "maximum", "/a/1", "at most 3"},
    {"escaped path", "{\"properties\":{\"a/b~\":{\"type\":\"string\"}}}", "{\"a/b~\":1}", "type",
     "/a~1b~0", ""},
    {"additional", "{\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"x\":1}",
     "additionalProperties", "", "\"x\""},
    {"pattern", "{\"pattern\":\"^[a-z]+$\"}", "\"A\"", "pattern", "", "^[a-z]+$"},
    {"code points", "{\"maxLength\":2}", "\"\xC3\xA4\xC3\xB6\xC3\xBC\"", "maxLength", "",
     "3 characters"},
    {"the branch's failure is not the answer",
     "{\"anyOf\":[{\"type\":\"string\"},{\"minimum\":5}]}", "3", "anyOf", "", "2 alternatives"},
    {"big numbers by value", "{\"maximum\":18446744073709551615}", "18446744073709551616",
     "maximum", "", ""},
    {"exponential pattern", "{\"pattern\":\"^(a+)+$\"}",
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"", "too-complex", "", "pattern"},
    {"schema that is itself", "{\"$ref\":\"#\"}", "1", "too-complex", "", "refers to itself"},
};

static void check__one_rule_broken__is_named_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(checks); i++) {
        const check *c = &checks[i];
        rf_validator *v = NULL;
        rf_err err = {0};
        rf_violation violation;
        rf_validation *work = rf_validation_new();
        yyjson_doc *doc = yyjson_read(c->value, strlen(c->value), YYJSON_READ_BIGNUM_AS_RAW);

        print_message("  %s\n", c->name);
        assert_int_equal(rf_validator_new(RF_STR(""), rf_str_from(c->schema), NULL, NULL, &v, &err),
                         RF_OK);
        assert_false(rf_validator_check(v, work, yyjson_doc_get_root(doc), &violation));
        assert_string_equal(violation.rule, c->rule);
        assert_string_equal(violation.path, c->path);
        assert_non_null(strstr(violation.detail, c->detail));
        /* The same working memory serves the next value. */
        assert_false(rf_validator_check(v, work, yyjson_doc_get_root(doc), NULL));
        yyjson_doc_free(doc);
        rf_validation_free(&work);
        rf_validator_free(&v);
    }
}

static void compile__bad_schemas__are_refused_by_name(void **state)
{
    static const struct {
        const char *schema, *word;
    } bad[] = {
        {"{\"type\":\"strin\"}", "strin"},
        {"{\"minimum\":\"1\"}", "minimum"},
        {"{\"minLength\":-1}", "minLength"},
        {"{\"multipleOf\":0}", "multipleOf"},
        {"{\"pattern\":\"(\"}", "pattern"},
        {"{\"properties\":{\"a\":{\"items\":3}}}", "items"},
        {"{\"$ref\":\"#/$defs/none\"}", "leads nowhere"},
        {"{\"$ref\":\"https://example.com/x\"}", "not registered"},
        {"{\"allOf\":[]}", "allOf"},
        {"{\"required\":[1]}", "required"},
        {"[]", "object"},
        {"{", "not JSON"},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(bad); i++) {
        rf_validator *v = NULL;
        rf_err err = {0};

        assert_int_equal(
            rf_validator_new(RF_STR(""), rf_str_from(bad[i].schema), NULL, NULL, &v, &err),
            RF_EINVAL);
        assert_null(v);
        if (strstr(err.text, bad[i].word) == NULL)
            fail_msg("%s: \"%s\" does not name %s", bad[i].schema, err.text, bad[i].word);
    }
}

static void check__large_unique_array__takes_no_square_of_time(void **state)
{
    rf_validator *v = NULL;
    rf_err err = {0};
    rf_violation violation;
    rf_validation *work = rf_validation_new();
    rf_buf text;

    (void)state;
    rf_buf_init(&text, 16u << 20);
    rf_buf_add_char(&text, '[');
    for (unsigned i = 0; i < 200000; i++)
        rf_buf_addf(&text, "%u,", i);
    rf_buf_add_cstr(&text, "7]");
    assert_int_equal(
        rf_validator_new(RF_STR(""), RF_STR("{\"uniqueItems\":true}"), NULL, NULL, &v, &err),
        RF_OK);
    yyjson_doc *doc = yyjson_read(text.p, text.n, 0);

    assert_false(rf_validator_check(v, work, yyjson_doc_get_root(doc), &violation));
    assert_string_equal(violation.rule, "uniqueItems");
    yyjson_doc_free(doc);
    rf_buf_clear(&text);
    rf_validator_free(&v);
    rf_validation_free(&work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suite__every_required_case__as_the_suite_says),
        cmocka_unit_test(check__one_rule_broken__is_named_with_its_place),
        cmocka_unit_test(compile__bad_schemas__are_refused_by_name),
        cmocka_unit_test(check__large_unique_array__takes_no_square_of_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
