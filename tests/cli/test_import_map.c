/* The mapping file of refold import. */
#include "cli/import_int.h"

#include "support.h"

#define HEAD "type: t\nsource: /s\nid: k\n"

static void map__full__is_understood(void **state)
{
    rfi_import_map m;
    rf_err err = {0};
    const char *path = temp_file(state, "m.yaml",
                                 "type: flight.landed\n"
                                 "source: \"= '/bts/' || year\"\n"
                                 "id: \"=  'F' || row\"\n"
                                 "subject: route\n"
                                 "time: \"odd \\\"name\\\"\"\n"
                                 "data:\n  a: x\n  b: \"= y * 2\"\n"
                                 "where: x IS NOT NULL\n"
                                 "options: \"delim = ';'\"\n");

    if (rfi_import_map_read(path, &m, &err) != RF_OK)
        fail_msg("%s", err.text);
    assert_string_equal(m.type.text, "flight.landed");
    assert_string_equal(m.source.sql, "'/bts/' || year");
    assert_string_equal(m.id.sql, "'F' || row");
    assert_string_equal(m.subject.sql, "\"route\"");
    assert_string_equal(m.time.sql, "\"odd \"\"name\"\"\"");
    assert_int_equal(m.field_count, 2);
    assert_string_equal(m.fields[0].name, "a");
    assert_string_equal(m.fields[0].sql, "\"x\"");
    assert_string_equal(m.fields[1].sql, "y * 2");
    assert_string_equal(m.where, "x IS NOT NULL");
    assert_string_equal(m.options, "delim = ';'");
    assert_null(m.correlationid.sql);
    rfi_import_map_clear(&m);
}

static void map__data_as_a_list__names_columns(void **state)
{
    rfi_import_map m;
    rf_err err = {0};

    assert_int_equal(
        rfi_import_map_read(temp_file(state, "m.yaml", HEAD "data: [a, b]\n"), &m, &err), RF_OK);
    assert_int_equal(m.field_count, 2);
    assert_string_equal(m.fields[1].name, "b");
    assert_string_equal(m.fields[1].sql, "\"b\"");
    rfi_import_map_clear(&m);
}

static void map__bad_ones__are_refused_with_their_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"type: t\nsource: /s\n", "'id' is missing"},
        {"id: k\nsource: /s\n", "'type' is missing"},
        {"id: k\ntype: t\n", "'source' is missing"},
        {HEAD "tiem: x\n", ":4: unknown key 'tiem'"},
        {HEAD "type: again\n", ":4: 'type' is given twice"},
        {HEAD "data: [a]\ndata: [b]\n", ":5: 'data' is given twice"},
        {HEAD "where: a\nwhere: b\n", ":5: 'where' is given twice"},
        {HEAD "data: {a: x, a: y}\n", ":4: 'a' is given twice"},
        {HEAD "time: [a]\n", ":4: 'time' takes a plain value"},
        {HEAD "data: x\n", ":4: data is a list"},
        {HEAD "data: [\"= 1 + 1\"]\n", ":4: a list under data"},
        {HEAD "data: {a: [x]}\n", ":4: a field of data"},
        {HEAD "data: [[a]]\n", ":4: a list under data"},
        {"- a\n", "holds keys and values"},
        {"", "holds keys and values"},
        {"type: \"t\n", "not valid YAML"},
    };

    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        rfi_import_map m;
        rf_err err = {0};

        if (rfi_import_map_read(temp_file(state, "m.yaml", cases[i].text), &m, &err) != RF_EINVAL)
            fail_msg("accepted: %s", cases[i].text);
        assert_has(err.text, cases[i].says);
        rfi_import_map_clear(&m);
    }
}

static void map__too_many_fields__are_refused(void **state)
{
    rf_buf text;
    rfi_import_map m;
    rf_err err = {0};

    rf_buf_init(&text, 1u << 20);
    rf_buf_add_cstr(&text, HEAD "data:\n");
    for (int i = 0; i <= RFI_IMPORT_FIELDS_MAX; i++)
        rf_buf_addf(&text, "  f%d: x\n", i);
    assert_int_equal(rfi_import_map_read(temp_file(state, "m.yaml", rf_buf_cstr(&text)), &m, &err),
                     RF_EINVAL);
    assert_has(err.text, "more than 256 fields");
    rfi_import_map_clear(&m);
    rf_buf_clear(&text);
}

static void map__file_that_is_not_there__is_named(void **state)
{
    rfi_import_map m;
    rf_err err = {0};

    (void)state;
    assert_int_equal(rfi_import_map_read("/nonexistent.yaml", &m, &err), RF_ENOTFOUND);
    assert_has(err.text, "/nonexistent.yaml");
    rfi_import_map_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, temp_setup, temp_teardown)
        T(map__full__is_understood),
        T(map__data_as_a_list__names_columns),
        T(map__bad_ones__are_refused_with_their_line),
        T(map__too_many_fields__are_refused),
        T(map__file_that_is_not_there__is_named),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
