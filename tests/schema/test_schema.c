/* From JSON Schema to typed columns, and from file names to types. */
#include "schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One property named "p" with this schema. */
static rf_status parse_property(const char *schema, rf_columns **out, rf_err *err)
{
    char text[1024];

    snprintf(text, sizeof(text), "{\"type\":\"object\",\"properties\":{\"p\":%s}}", schema);
    return rf_columns_parse(RF_STR("t"), 1, rf_str_from(text), out, err);
}

static void property__of_each_kind__gets_its_column(void **state)
{
    static const struct {
        const char *schema;
        rf_column_type type;
        int precision, scale;
    } cases[] = {
        {"{\"type\":\"string\"}", RF_COL_TEXT, 0, 0},
        {"{\"type\":\"integer\"}", RF_COL_BIGINT, 0, 0},
        {"{\"type\":\"number\"}", RF_COL_DOUBLE, 0, 0},
        {"{\"type\":\"boolean\"}", RF_COL_BOOLEAN, 0, 0},
        {"{\"type\":\"object\"}", RF_COL_JSON, 0, 0},
        {"{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", RF_COL_JSON, 0, 0},
        {"{\"type\":\"null\"}", RF_COL_JSON, 0, 0},
        {"{}", RF_COL_JSON, 0, 0},
        {"true", RF_COL_JSON, 0, 0},
        {"{\"enum\":[1,2]}", RF_COL_JSON, 0, 0},
        {"{\"type\":[\"string\",\"null\"]}", RF_COL_TEXT, 0, 0},
        {"{\"type\":[\"null\",\"integer\"]}", RF_COL_BIGINT, 0, 0},
        {"{\"type\":[\"string\",\"integer\"]}", RF_COL_JSON, 0, 0},
        {"{\"type\":[\"integer\",\"number\"]}", RF_COL_DOUBLE, 0, 0},
        {"{\"type\":\"string\",\"format\":\"date-time\"}", RF_COL_TIMESTAMP, 0, 0},
        {"{\"type\":[\"string\",\"null\"],\"format\":\"date\"}", RF_COL_DATE, 0, 0},
        {"{\"type\":\"string\",\"format\":\"email\"}", RF_COL_TEXT, 0, 0},
        {"{\"type\":\"integer\",\"format\":\"date\"}", RF_COL_BIGINT, 0, 0},
        {"{\"type\":\"string\",\"format\":7}", RF_COL_TEXT, 0, 0},
        {"{\"type\":\"number\",\"x-type\":\"decimal(18,2)\"}", RF_COL_DECIMAL, 18, 2},
        {"{\"type\":\"string\",\"x-type\":\"decimal( 9 , 0 )\"}", RF_COL_DECIMAL, 9, 0},
        {"{\"type\":[\"number\",\"string\"],\"x-type\":\"decimal(4,4)\"}", RF_COL_DECIMAL, 4, 4},
        {"{\"type\":\"number\",\"x-type\":\"bigint\"}", RF_COL_BIGINT, 0, 0},
        {"{\"type\":\"integer\",\"x-type\":\"double\"}", RF_COL_DOUBLE, 0, 0},
        {"{\"type\":\"string\",\"format\":\"date\",\"x-type\":\"text\"}", RF_COL_TEXT, 0, 0},
        {"{\"type\":\"string\",\"x-type\":\"timestamp\"}", RF_COL_TIMESTAMP, 0, 0},
        {"{\"type\":\"string\",\"x-type\":\"date\"}", RF_COL_DATE, 0, 0},
        {"{\"x-type\":\"boolean\"}", RF_COL_BOOLEAN, 0, 0},
        {"{\"type\":\"string\",\"x-type\":\"json\"}", RF_COL_JSON, 0, 0},
        {"{\"$ref\":\"other.json\"}", RF_COL_JSON, 0, 0},
        {"{\"$ref\":\"#/properties/p\"}", RF_COL_JSON, 0, 0}, /* a circle */
        {"{\"$ref\":\"#nowhere\"}", RF_COL_JSON, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_columns *c;
        rf_err err = {0};

        if (parse_property(cases[i].schema, &c, &err) != RF_OK)
            fail_msg("%s: %s", cases[i].schema, err.text);
        assert_int_equal(c->count, 1);
        if (c->columns[0].type != cases[i].type)
            fail_msg("%s gave type %d", cases[i].schema, c->columns[0].type);
        assert_int_equal(c->columns[0].precision, cases[i].precision);
        assert_int_equal(c->columns[0].scale, cases[i].scale);
        assert_false(c->columns[0].required);
        rf_columns_free(&c);
        assert_null(c);
    }
}

static void schema__that_is_wrong__is_refused_by_pointer(void **state)
{
    static const struct {
        const char *schema, *says;
    } cases[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"{} x", "not JSON"},
        {"[]", "must be a JSON object"},
        {"true", "must be a JSON object"},
        {"{\"type\":\"string\"}", "/type: only \"object\""},
        {"{\"type\":\"objekt\"}", "/type: found \"objekt\""},
        {"{\"type\":7}", "/type: found a JSON value of type"},
        {"{\"type\":[]}", "/type: an empty list"},
        {"{\"type\":[\"object\",\"object\"]}", "/type: names \"object\" twice"},
        {"{\"properties\":[]}", "/properties: must be an object"},
        {"{\"properties\":{\"a\":1}}", "/properties/a: a property's schema"},
        {"{\"properties\":{\"a\":null}}", "/properties/a: a property's schema"},
        {"{\"properties\":{\"a/b~c\":{\"type\":\"int\"}}}", "/properties/a~1b~0c/type: found"},
        {"{\"properties\":{\"a\":{\"type\":\"string\",\"type\":\"integer\"}}}",
         "/properties/a/type: is there twice"},
        {"{\"properties\":{\"a\":{}},\"properties\":{}}", "/properties: is there twice"},
        {"{\"properties\":{\"a\":{},\"b\":{},\"a\":{}}}", "\"a\" is there twice"},
        {"{\"properties\":{\"a\":{},\"\\u0061\":{}}}", "\"a\" is there twice"},
        {"{\"properties\":{\"id\":{},\"x\":{},\"ID\":{}}}", "differ only in case"},
        {"{\"properties\":{\"a\\u0000b\":{}}}", "property 1 contains U+0000"},
        {"{\"properties\":{\"a\":{\"x-type\":\"int\"}}}",
         "/properties/a/x-type: \"int\" is unknown"},
        {"{\"properties\":{\"a\":{\"x-type\":7}}}", "/properties/a/x-type"},
        {"{\"properties\":{\"a\":{\"x-type\":\"text(3)\"}}}", "is unknown"},
        {"{\"properties\":{\"a\":{\"x-type\":\"decimal\"}}}", "should be decimal(p,s)"},
        {"{\"properties\":{\"a\":{\"x-type\":\"decimal()\"}}}", "should be decimal(p,s)"},
        {"{\"properties\":{\"a\":{\"x-type\":\"decimal(19,2)\"}}}", "should be decimal(p,s)"},
        {"{\"properties\":{\"a\":{\"x-type\":\"decimal(0,0)\"}}}", "should be decimal(p,s)"},
        {"{\"properties\":{\"a\":{\"x-type\":\"decimal(2,3)\"}}}", "should be decimal(p,s)"},
        {"{\"properties\":{\"a\":{\"x-type\":\"decimal(2,1,0)\"}}}", "should be decimal(p,s)"},
        {"{\"properties\":{\"a\":{\"x-type\":\"decimal(2,-1)\"}}}", "should be decimal(p,s)"},
        {"{\"properties\":{\"a\":{\"type\":\"boolean\",\"x-type\":\"bigint\"}}}", "does not fit"},
        {"{\"properties\":{\"a\":{\"type\":[\"number\",\"array\"],\"x-type\":\"decimal(3,1)\"}}}",
         "does not fit"},
        {"{\"required\":\"a\"}", "/required: must be a list"},
        {"{\"required\":[\"a\",7]}", "/required/1: must be a property name"},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_columns *c;
        rf_err err = {0};
        rf_status st = rf_columns_parse(RF_STR("t"), 1, rf_str_from(cases[i].schema), &c, &err);

        if (st != RF_EINVAL || strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: status %s, \"%s\"", cases[i].schema, rf_status_name(st), err.text);
        assert_null(c);
    }
}

static void columns__come_in_order__with_required_and_refs(void **state)
{
    static const char text[] =
        "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"x\","
        "\"$defs\":{\"money\":{\"type\":\"number\",\"x-type\":\"decimal(12,2)\"},"
        "\"again\":{\"$ref\":\"#/$defs/money\"}},"
        "\"properties\":{\"z\":{\"type\":\"string\"},\"amount\":{\"$ref\":\"#/$defs/again\"},"
        "\"never\":false,\"\":{\"type\":\"integer\"},"
        "\"\xC3\xA9t\xC3\xA9 \xF0\x9F\x8C\x9E\":{\"type\":\"boolean\"},"
        "\"over\":{\"$ref\":\"#/$defs/money\",\"type\":\"string\"}},"
        "\"required\":[\"amount\",\"unknown\",\"\xC3\xA9t\xC3\xA9 \xF0\x9F\x8C\x9E\"]}";
    rf_columns *c;
    rf_err err = {0};

    (void)state;
    assert_int_equal(
        rf_columns_parse(RF_STR("shop.order placed/2"), 7, rf_str_from(text), &c, &err), RF_OK);
    assert_string_equal(c->type, "shop.order placed/2");
    assert_int_equal(c->version, 7);
    assert_int_equal(c->count, 5);
    assert_string_equal(c->columns[0].name, "z");
    assert_string_equal(c->columns[1].name, "amount");
    assert_int_equal(c->columns[1].type, RF_COL_DECIMAL);
    assert_int_equal(c->columns[1].precision, 12);
    assert_true(c->columns[1].required);
    assert_string_equal(c->columns[2].name, "");
    assert_int_equal(c->columns[2].type, RF_COL_BIGINT);
    assert_false(c->columns[2].required);
    assert_true(c->columns[3].required);
    assert_int_equal(c->columns[4].type, RF_COL_TEXT);
    for (size_t i = 0; i < c->count; i++)
        assert_int_equal(rf_columns_find(c, rf_str_from(c->columns[i].name)), i);
    assert_true(rf_columns_find(c, RF_STR("Z")) == SIZE_MAX);
    assert_true(rf_columns_find(c, RF_STR("amoun")) == SIZE_MAX);
    assert_true(rf_columns_find(c, RF_STR("amount\0x")) == SIZE_MAX);
    rf_columns_free(&c);
}

static void columns__of_an_empty_schema__are_none(void **state)
{
    rf_columns *c;
    rf_err err = {0};

    (void)state;
    assert_int_equal(rf_columns_parse(RF_STR("t"), 1, RF_STR("{}"), &c, &err), RF_OK);
    assert_int_equal(c->count, 0);
    assert_true(rf_columns_find(c, RF_STR("")) == SIZE_MAX);
    rf_columns_free(&c);
    rf_columns_free(&c);
}

static void columns__in_great_number__are_found_or_refused(void **state)
{
    rf_buf text;
    rf_columns *c;
    rf_err err = {0};

    (void)state;
    rf_buf_init(&text, 1 << 20);
    for (int round = 0; round < 2; round++) {
        rf_buf_reset(&text);
        rf_buf_add_cstr(&text, "{\"properties\":{");
        for (int i = 0; i < 4096 + round; i++)
            rf_buf_addf(&text, "%s\"c%d\":{\"type\":\"integer\"}", i ? "," : "", i);
        rf_buf_add_cstr(&text, "}}");
        assert_false(text.failed);
        if (round == 0) {
            assert_int_equal(rf_columns_parse(RF_STR("t"), 1, rf_buf_str(&text), &c, &err), RF_OK);
            assert_int_equal(rf_columns_find(c, RF_STR("c4095")), 4095);
            rf_columns_free(&c);
        } else {
            assert_int_equal(rf_columns_parse(RF_STR("t"), 1, rf_buf_str(&text), &c, &err),
                             RF_EINVAL);
        }
    }
    rf_buf_clear(&text);
}

static void columns__with_a_bad_type_name_or_size__are_refused(void **state)
{
    static char big[(1 << 20) + 2];
    rf_columns *c;
    rf_err err = {0};

    (void)state;
    memset(big, ' ', sizeof(big));
    assert_int_equal(rf_columns_parse(RF_STR(""), 1, RF_STR("{}"), &c, &err), RF_EINVAL);
    assert_int_equal(rf_columns_parse(RF_STR("a\0b"), 1, RF_STR("{}"), &c, &err), RF_EINVAL);
    assert_int_equal(rf_columns_parse(RF_STR("\xff"), 1, RF_STR("{}"), &c, &err), RF_EINVAL);
    assert_int_equal(rf_columns_parse((rf_str){big, 4097}, 1, RF_STR("{}"), &c, &err), RF_EINVAL);
    assert_int_equal(rf_columns_parse(RF_STR("t"), 1, (rf_str){big, sizeof(big)}, &c, &err),
                     RF_ETOOBIG);
    assert_null(c);
}

static void error_text__about_long_names__stays_utf8(void **state)
{
    char text[2048] = "{\"properties\":{\"x", *p = text + strlen(text);
    rf_columns *c;
    rf_err err = {0};
    size_t bad;

    (void)state;
    for (int i = 0; i < 200; i++, p += 3)
        memcpy(p, "\xE2\x82\xAC", 3);
    memcpy(p, "\":{\"type\":\"x", 12);
    p += 12;
    for (int i = 0; i < 200; i++, p += 3)
        memcpy(p, "\xE2\x82\xAC", 3);
    memcpy(p, "\"}}}", 5);
    assert_int_equal(rf_columns_parse(RF_STR("t"), 1, rf_str_from(text), &c, &err), RF_EINVAL);
    assert_true(rf_utf8_valid(err.text, strlen(err.text), &bad));
}

static void file_name__of_each_form__is_read_or_refused(void **state)
{
    static const struct {
        const char *name, *type;
        uint32_t version;
    } cases[] = {
        {"flight.landed.v1.json", "flight.landed", 1},
        {"a.v4294967295.json", "a", 4294967295u},
        {"x.v1.v2.json", "x.v1", 2},
        {"com.example:order placed.v10.json", "com.example:order placed", 10},
        {"\xC3\xA9t\xC3\xA9.v3.json", "\xC3\xA9t\xC3\xA9", 3},
        {"v1.v1.json", "v1", 1},
        {"a.b.v20.json", "a.b", 20},
        {"", NULL, 0},
        {".json", NULL, 0},
        {"v1.json", NULL, 0},
        {".v1.json", NULL, 0},
        {"flight.json", NULL, 0},
        {"flight.v.json", NULL, 0},
        {"flight.v0.json", NULL, 0},
        {"flight.v01.json", NULL, 0},
        {"flight.v-1.json", NULL, 0},
        {"flight.v4294967296.json", NULL, 0},
        {"flight.v99999999999999999999.json", NULL, 0},
        {"flight.v1.JSON", NULL, 0},
        {"flight.v1.json.bak", NULL, 0},
        {"flight1.json", NULL, 0},
        {"flight_v1.json", NULL, 0},
        {"schemas/flight.v1.json", NULL, 0},
        {"fl\tight.v1.json", NULL, 0},
        {"\xff.v1.json", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rf_str type = {0};
        uint32_t version = 0;
        rf_err err = {0};
        rf_status st = rf_schema_file_name(rf_str_from(cases[i].name), &type, &version, &err);

        if (cases[i].type == NULL) {
            if (st != RF_EINVAL || err.text[0] == 0)
                fail_msg("\"%s\" was not refused", cases[i].name);
            continue;
        }
        if (st != RF_OK || !rf_str_eq(type, rf_str_from(cases[i].type)))
            fail_msg("\"%s\": %s", cases[i].name, err.text);
        assert_int_equal(version, cases[i].version);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property__of_each_kind__gets_its_column),
        cmocka_unit_test(schema__that_is_wrong__is_refused_by_pointer),
        cmocka_unit_test(columns__come_in_order__with_required_and_refs),
        cmocka_unit_test(columns__of_an_empty_schema__are_none),
        cmocka_unit_test(columns__in_great_number__are_found_or_refused),
        cmocka_unit_test(columns__with_a_bad_type_name_or_size__are_refused),
        cmocka_unit_test(error_text__about_long_names__stays_utf8),
        cmocka_unit_test(file_name__of_each_form__is_read_or_refused),
    };
    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
