/* Filling vectors: strings, NULLs, and the fields of `data`. */
#include "engine/events_int.h"

#include <yyjson.h>

#define HINTS_MAX 32
#define HINT_KEY_MAX 28
#define SCRATCH_MAX (64u << 20)

/* Events of one type mostly have their members in one order: so each is told with one comparison,
 * wanted or not. */
typedef struct rfi_hint {
    char key[HINT_KEY_MAX];
    uint16_t n;    /* 0: nothing known */
    int16_t field; /* -1: not wanted */
} rfi_hint;

void rfi_out_begin(rfi_out *o, duckdb_vector vector)
{
    o->vector = vector;
    o->data = rfi_db.vector_get_data(vector);
    o->validity = NULL;
}

void rfi_out_null(rfi_out *o, size_t row)
{
    if (o->validity == NULL) {
        rfi_db.vector_ensure_validity_writable(o->vector);
        o->validity = rfi_db.vector_get_validity(o->vector);
    }
    o->validity[row / 64] &= ~(UINT64_C(1) << (row % 64));
}

void rfi_out_str(rfi_out *o, size_t row, rf_str s)
{
    duckdb_string_t *cell = &((duckdb_string_t *)o->data)[row];

    if (s.n > sizeof(cell->value.inlined.inlined)) {
        rfi_db.vector_assign_string_element_len(o->vector, row, s.p, s.n);
        return;
    }
    memset(cell, 0, sizeof(*cell)); /* the engine compares the unused bytes too */
    cell->value.inlined.length = (uint32_t)s.n;
    if (s.n > 0)
        memcpy(cell->value.inlined.inlined, s.p, s.n);
}

void rfi_reader_init(rfi_reader *r, const rfi_fields *fields)
{
    *r = (rfi_reader){.fields = fields};
    r->outs = rf_xcalloc(RF_MAX(fields->count, 1), sizeof(*r->outs));
    r->seen = rf_xcalloc(RF_MAX(fields->count, 1), sizeof(*r->seen));
    r->hints = rf_xcalloc(HINTS_MAX, sizeof(*r->hints));
    rf_buf_init(&r->scratch, SCRATCH_MAX);
}

void rfi_reader_clear(rfi_reader *r)
{
    free(r->outs);
    free(r->seen);
    free(r->hints);
    rf_buf_clear(&r->scratch);
    *r = (rfi_reader){0};
}

void rfi_reader_begin(rfi_reader *r, duckdb_vector vector)
{
    rfi_out_begin(&r->whole, vector);
    if (r->fields->count == 0)
        return;
    for (size_t i = 0; i < r->fields->count; i++)
        rfi_out_begin(&r->outs[i], rfi_db.struct_vector_get_child(vector, i));
}

/* A JSON string (with quotes) without its escapes, in the reader's scratch. */
static bool unescape(rfi_reader *r, rf_str quoted, rf_str *out)
{
    yyjson_doc *doc = yyjson_read(quoted.p, quoted.n, 0);
    yyjson_val *value = yyjson_doc_get_root(doc);
    bool ok = yyjson_is_str(value);

    if (ok) {
        rf_buf_reset(&r->scratch);
        rf_buf_add(&r->scratch, yyjson_get_str(value), yyjson_get_len(value));
        *out = rf_buf_str(&r->scratch);
        ok = !r->scratch.failed;
    }
    yyjson_doc_free(doc);
    return ok;
}

/* What is between the quotes, escapes resolved. */
static bool text_of(rfi_reader *r, const rfi_member *m, rf_str *out)
{
    if (m->kind != RFI_JSON_STRING || m->value.n < 2)
        return false;
    if (m->value_escaped)
        return unescape(r, m->value, out);
    *out = (rf_str){m->value.p + 1, m->value.n - 2};
    return true;
}

static bool decimal_store(rfi_reader *r, const rf_column *c, rfi_out *o, size_t row,
                          const rfi_member *m)
{
    rf_str text = m->value;
    int64_t v;

    if (m->kind != RFI_JSON_NUMBER && !text_of(r, m, &text))
        return false;
    if (!rfi_parse_decimal(text, c->precision, c->scale, &v))
        return false;
    if (c->precision <= 4)
        ((int16_t *)o->data)[row] = (int16_t)v;
    else if (c->precision <= 9)
        ((int32_t *)o->data)[row] = (int32_t)v;
    else
        ((int64_t *)o->data)[row] = v;
    return true;
}

/* False: the value does not fit the column's type. */
static bool store(rfi_reader *r, const rf_column *c, rfi_out *o, size_t row, const rfi_member *m)
{
    rf_str text;

    switch (c->type) {
    case RF_COL_JSON:
        rfi_out_str(o, row, m->value);
        return true;
    case RF_COL_TEXT:
        if (!text_of(r, m, &text))
            return false;
        rfi_out_str(o, row, text);
        return true;
    case RF_COL_BIGINT:
        return m->kind == RFI_JSON_NUMBER && rfi_parse_i64(m->value, &((int64_t *)o->data)[row]);
    case RF_COL_DOUBLE:
        return m->kind == RFI_JSON_NUMBER && rfi_parse_f64(m->value, &((double *)o->data)[row]);
    case RF_COL_BOOLEAN:
        if (m->kind != RFI_JSON_TRUE && m->kind != RFI_JSON_FALSE)
            return false;
        ((bool *)o->data)[row] = m->kind == RFI_JSON_TRUE;
        return true;
    case RF_COL_TIMESTAMP:
        return text_of(r, m, &text) && rf_time_parse(text, &((int64_t *)o->data)[row]);
    case RF_COL_DATE:
        return text_of(r, m, &text) && rfi_parse_date(text, &((int32_t *)o->data)[row]);
    case RF_COL_DECIMAL:
        return decimal_store(r, c, o, row, m);
    }
    return false;
}

static int32_t field_find(rfi_reader *r, rf_str key)
{
    for (size_t i = 0; i < r->fields->count; i++) {
        if (rf_str_eq(r->fields->names[i], key))
            return (int32_t)i;
    }
    return -1;
}

/* The field that a member is, or -1. */
static int32_t field_of(rfi_reader *r, const rfi_member *m, size_t number)
{
    rfi_hint *hint = &r->hints[number < HINTS_MAX ? number : 0];
    rf_str key = m->key;

    if (m->key_escaped) {
        rf_str quoted = {key.p - 1, key.n + 2};

        return unescape(r, quoted, &key) ? field_find(r, key) : -1;
    }
    if (number >= HINTS_MAX || key.n > HINT_KEY_MAX || key.n == 0 || r->fields->count > INT16_MAX)
        return field_find(r, key);
    if (hint->n != key.n || memcmp(hint->key, key.p, key.n) != 0) {
        hint->n = (uint16_t)key.n;
        memcpy(hint->key, key.p, key.n);
        hint->field = (int16_t)field_find(r, key);
    }
    return hint->field;
}

static void row_null(rfi_reader *r, size_t row)
{
    rfi_out_null(&r->whole, row);
    for (size_t i = 0; i < r->fields->count; i++)
        rfi_out_null(&r->outs[i], row);
}

/* The row of a relation without columns: the value's own bytes. */
static void row_json(rfi_reader *r, size_t row, rf_data_kind kind, rf_str data)
{
    if (kind == RF_DATA_NONE) {
        rfi_out_null(&r->whole, row);
    } else if (kind == RF_DATA_JSON) {
        rfi_out_str(&r->whole, row, data);
    } else {
        rf_buf_reset(&r->scratch);
        rf_buf_add_char(&r->scratch, '"');
        rf_buf_add_base64(&r->scratch, data.p, data.n);
        rf_buf_add_char(&r->scratch, '"');
        if (r->scratch.failed)
            rfi_out_null(&r->whole, row);
        else
            rfi_out_str(&r->whole, row, rf_buf_str(&r->scratch));
    }
}

void rfi_reader_row(rfi_reader *r, size_t row, rf_data_kind kind, rf_str data)
{
    size_t found = 0;
    rfi_members members;
    rfi_member m;

    if (r->fields->count == 0) {
        row_json(r, row, kind, data);
        return;
    }
    if (kind != RF_DATA_JSON || !rfi_members_begin(&members, data)) {
        r->mismatches += kind != RF_DATA_NONE;
        row_null(r, row);
        return;
    }
    memset(r->seen, 0, r->fields->count * sizeof(*r->seen));
    for (size_t number = 0; found < r->fields->count && rfi_members_next(&members, &m); number++) {
        int32_t at = field_of(r, &m, number);

        if (at < 0 || r->seen[at])
            continue;
        r->seen[at] = true;
        found++;
        if (m.kind == RFI_JSON_NULL) {
            rfi_out_null(&r->outs[at], row);
        } else if (!store(r, &r->fields->columns[at], &r->outs[at], row, &m)) {
            r->mismatches++;
            rfi_out_null(&r->outs[at], row);
        }
    }
    for (size_t i = 0; found < r->fields->count && i < r->fields->count; i++) {
        if (!r->seen[i])
            rfi_out_null(&r->outs[i], row);
    }
}
