/* Results as an Arrow IPC stream, read back by a reader written from the format alone. (pyarrow
 * reads it too; this test needs nothing but the format.) */
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct fixture {
    rf_engine *engine;
    rf_conn *conn;
} fixture;

static int setup(void **state)
{
    fixture *f = rf_xcalloc(1, sizeof(*f));
    rf_engine_options options = {.threads = 2, .memory_bytes = 256u << 20};
    rf_err err = {0};

    if (rf_engine_open(&options, &f->engine, &err) != RF_OK ||
        rf_conn_open(f->engine, &f->conn, &err) != RF_OK)
        fail_msg("%s", err.text);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    rf_conn_close(&f->conn);
    rf_engine_close(&f->engine);
    free(f);
    return 0;
}

static rf_status ipc(fixture *f, const char *sql, uint64_t rows_max, rf_buf *out, uint64_t *count,
                     rf_err *err)
{
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;
    rf_status st;

    rf_buf_init(out, 1u << 28);
    st = rf_conn_prepare(f->conn, rf_str_from(sql), &stmt, NULL, err);
    if (st == RF_OK)
        st = rf_stmt_run(stmt, true, &rows, err);
    if (st == RF_OK)
        st = rf_rows_arrow_ipc(rows, rows_max, out, count, err);
    rf_rows_free(&rows);
    rf_stmt_free(&stmt);
    return st;
}

/* ---- a reader of FlatBuffers ------------------------------------------------------------------
 */

static const uint8_t *follow(const uint8_t *ref)
{
    return ref + rf_le32(ref);
}

/* A member of a table, or NULL. */
static const uint8_t *member(const uint8_t *table, unsigned slot)
{
    const uint8_t *vtable = table - (int32_t)rf_le32(table);
    uint16_t at;

    if (4 + 2 * slot >= rf_le16(vtable))
        return NULL;
    at = rf_le16(vtable + 4 + 2 * slot);
    return at != 0 ? table + at : NULL;
}

typedef struct message {
    const uint8_t *header; /* table */
    const uint8_t *body;
    uint8_t type;
    int64_t body_bytes;
} message;

/* False at the end marker. */
static bool message_read(const uint8_t *start, size_t *at, size_t end, message *out)
{
    const uint8_t *p = start + *at, *table;
    uint32_t n;

    assert_true(*at + 8 <= end);
    assert_int_equal(rf_le32(p), UINT32_MAX);
    n = rf_le32(p + 4);
    if (n == 0) {
        assert_int_equal(*at + 8, end);
        return false;
    }
    assert_int_equal((8 + n) % 8, 0);
    table = follow(p + 8);
    assert_int_equal(rf_le16(member(table, 0)), 4); /* V5 */
    out->type = *member(table, 1);
    out->header = follow(member(table, 2));
    out->body_bytes = member(table, 3) != NULL ? (int64_t)rf_le64(member(table, 3)) : 0;
    out->body = p + 8 + n;
    *at += 8 + n + (size_t)out->body_bytes;
    assert_true(*at <= end);
    return true;
}

static void result__of_two_columns__is_read_back(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    message m;
    rf_buf out;
    uint64_t count = 0, seen = 0;
    size_t at = 0;
    const uint8_t *fields, *field, *start;

    assert_int_equal(
        ipc(f, "SELECT i, CASE WHEN i % 3 > 0 THEN 'v' || i END AS s FROM range(5000) t(i)", 10000,
            &out, &count, &err),
        RF_OK);
    assert_int_equal(count, 5000);
    start = rf_xmalloc(out.n); /* aligned, as readers have it */
    memcpy((uint8_t *)(uintptr_t)start, out.p, out.n);
    assert_true(message_read(start, &at, out.n, &m));
    assert_int_equal(m.type, 1);
    fields = follow(member(m.header, 1));
    assert_int_equal(rf_le32(fields), 2);
    field = follow(fields + 4);
    assert_string_equal((const char *)follow(member(field, 0)) + 4, "i");
    assert_int_equal(*member(field, 2), 2); /* Int */
    assert_int_equal(rf_le32(member(follow(member(field, 3)), 0)), 64);
    field = follow(fields + 8);
    assert_string_equal((const char *)follow(member(field, 0)) + 4, "s");
    assert_int_equal(*member(field, 2), 5); /* Utf8 */
    while (message_read(start, &at, out.n, &m)) {
        int64_t rows = (int64_t)rf_le64(member(m.header, 0));
        const uint8_t *nodes = follow(member(m.header, 1)), *buffers = follow(member(m.header, 2));
        const uint8_t *numbers, *offsets, *bytes, *validity;

        assert_int_equal(m.type, 3);
        assert_int_equal(rf_le32(nodes), 2);
        assert_int_equal(rf_le32(buffers), 5);
        assert_int_equal((uintptr_t)(nodes + 4) % 8, (uintptr_t)start % 8);
        numbers = m.body + rf_le64(buffers + 4 + 16);
        validity = m.body + rf_le64(buffers + 4 + 32);
        offsets = m.body + rf_le64(buffers + 4 + 48);
        bytes = m.body + rf_le64(buffers + 4 + 64);
        for (int64_t i = 0; i < rows; i++, seen++) {
            char want[24];
            uint32_t from = rf_le32(offsets + 4 * i), to = rf_le32(offsets + 4 * i + 4);
            int n = snprintf(want, sizeof(want), "v%d", (int)seen);

            assert_int_equal(rf_le64(numbers + 8 * i), seen);
            assert_int_equal(validity[i / 8] >> (i % 8) & 1, seen % 3 > 0);
            if (seen % 3 > 0) {
                assert_int_equal(to - from, n);
                assert_memory_equal(bytes + from, want, (size_t)n);
            }
        }
    }
    assert_int_equal(seen, 5000);
    free((uint8_t *)(uintptr_t)start);
    rf_buf_clear(&out);
}

static void result__without_rows__has_a_schema_and_an_end(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    uint64_t count;
    size_t at = 0;
    message m;
    rf_buf out;

    assert_int_equal(ipc(f, "SELECT 1 AS a WHERE false", 10, &out, &count, &err), RF_OK);
    assert_int_equal(count, 0);
    assert_true(message_read((const uint8_t *)out.p, &at, out.n, &m));
    assert_int_equal(m.type, 1);
    assert_false(message_read((const uint8_t *)out.p, &at, out.n, &m));
    rf_buf_clear(&out);
}

static void result__over_the_cap_or_of_an_odd_type__is_refused(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    uint64_t count;
    rf_buf out;

    assert_int_equal(ipc(f, "SELECT i FROM range(5000) t(i)", 4999, &out, &count, &err),
                     RF_ETOOBIG);
    rf_buf_clear(&out);
    assert_int_equal(ipc(f, "SELECT 'a'::ENUM('a') AS e", 10, &out, &count, &err), RF_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "column e"));
    rf_buf_clear(&out);
    assert_int_equal(ipc(f, "SELECT [{'a': MAP{1: [TIME '01:00']}}] AS n, 1::HUGEINT, now()", 10,
                         &out, &count, &err),
                     RF_OK);
    rf_buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(result__of_two_columns__is_read_back),
        cmocka_unit_test(result__without_rows__has_a_schema_and_an_end),
        cmocka_unit_test(result__over_the_cap_or_of_an_odd_type__is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
