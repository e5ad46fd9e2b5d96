/*
 * Values as text and as JSON. JSON: numbers exactly by their digits, NaN and infinities as strings
 * (JSON has none), moments as RFC 3339, JSON columns as they are. Whole numbers above 2^53 stay
 * numbers: readers that cannot hold them should ask for text.
 */
#include "engine/engine_int.h"

#include <math.h>

/* A place in a vector. */
typedef struct cell {
    const rfi_type *type;
    duckdb_vector vector;
    const void *data;
    const uint64_t *validity;
    size_t row;
} cell;

static void json_add(const cell *c, rf_buf *out);

static cell cell_in(const rfi_type *type, duckdb_vector vector, size_t row)
{
    return (cell){.type = type,
                  .vector = vector,
                  .data = rfi_db.vector_get_data(vector),
                  .validity = rfi_db.vector_get_validity(vector),
                  .row = row};
}

void rfi_render_int128(__int128 v, uint8_t scale, rf_buf *out)
{
    char digits[64];
    size_t n = 0;
    unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;

    do {
        digits[n++] = (char)('0' + (int)(u % 10));
        u /= 10;
    } while (u != 0 || n <= scale);
    if (v < 0)
        rf_buf_add_char(out, '-');
    while (n > 0) {
        if (n == scale)
            rf_buf_add_char(out, '.');
        rf_buf_add_char(out, digits[--n]);
    }
}

static void double_add(double d, bool single, bool json, rf_buf *out)
{
    char text[40];

    if (!isfinite(d)) {
        rf_buf_addf(out, json ? "\"%s\"" : "%s",
                    isnan(d) ? "NaN"
                    : d > 0  ? "Infinity"
                             : "-Infinity");
        return;
    }
    /* The shortest of the usual lengths that reads back as the same number. */
    for (int precision = single ? 6 : 15; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, d);
        if (single ? strtof(text, NULL) == (float)d : strtod(text, NULL) == d)
            break;
    }
    rf_buf_add_cstr(out, text);
    if (strpbrk(text, ".e") == NULL)
        rf_buf_add_cstr(out, ".0");
}

/* Days since 1970-01-01 to a civil date (Hinnant's algorithm), any year. */
static void date_add(int64_t days, rf_buf *out)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    uint32_t doe = (uint32_t)(z - era * 146097);
    uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint32_t mp = (5 * doy + 2) / 153;
    uint32_t day = doy - (153 * mp + 2) / 5 + 1;
    uint32_t month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = (int64_t)yoe + era * 400 + (month <= 2);

    char text[10], *at;

    if (year < 0 || year > 9999) {
        rf_buf_addf(out, "%04lld-%02u-%02u", (long long)year, month, day);
        return;
    }
    at = rf_put_digits(text, (uint64_t)year, 4);
    *at++ = '-';
    at = rf_put_digits(at, month, 2);
    *at++ = '-';
    rf_put_digits(at, day, 2);
    rf_buf_add(out, text, sizeof(text));
}

static void time_add(int64_t us, rf_buf *out)
{
    char text[16], *at;

    at = rf_put_digits(text, (uint64_t)us / 3600000000u, 2);
    *at++ = ':';
    at = rf_put_digits(at, (uint64_t)us / 60000000 % 60, 2);
    *at++ = ':';
    at = rf_put_digits(at, (uint64_t)us / 1000000 % 60, 2);
    if (us % 1000000 != 0) {
        *at++ = '.';
        at = rf_put_digits(at, (uint64_t)us % 1000000, 6);
        while (at[-1] == '0')
            at--;
    }
    rf_buf_add(out, text, (size_t)(at - text));
}

#define DAY_US INT64_C(86400000000)

static void timestamp_add(int64_t us, bool rfc3339, rf_buf *out)
{
    int64_t days = us / DAY_US - (us % DAY_US < 0);

    if (us == INT64_MAX || us == -INT64_MAX) {
        rf_buf_add_cstr(out, us > 0 ? "infinity" : "-infinity");
        return;
    }
    date_add(days, out);
    rf_buf_add_char(out, rfc3339 ? 'T' : ' ');
    time_add(us - days * DAY_US, out);
    if (rfc3339)
        rf_buf_add_char(out, 'Z');
}

static void interval_add(const duckdb_interval *v, rf_buf *out)
{
    size_t start = out->n;
    int64_t us = v->micros;

    if (v->months / 12 != 0)
        rf_buf_addf(out, "%d years ", v->months / 12);
    if (v->months % 12 != 0)
        rf_buf_addf(out, "%d months ", v->months % 12);
    if (v->days != 0)
        rf_buf_addf(out, "%d days ", v->days);
    if (us != 0 || out->n == start) {
        if (us < 0)
            rf_buf_add_char(out, '-');
        time_add(us < 0 ? (us == INT64_MIN ? INT64_MAX : -us) : us, out);
    } else if (out->n > start && !out->failed) {
        out->n--; /* the last space */
    }
}

static void blob_add(const uint8_t *p, size_t n, rf_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] >= 32 && p[i] < 127 && p[i] != '\\' && p[i] != '\'' && p[i] != '"')
            rf_buf_add_char(out, (char)p[i]);
        else
            rf_buf_addf(out, "\\x%02X", p[i]);
    }
}

/* First byte: how many bits of the second are padding. */
static void bit_add(const uint8_t *p, size_t n, rf_buf *out)
{
    size_t padding = n > 0 ? p[0] : 0;

    for (size_t i = 8 + padding; i < n * 8; i++)
        rf_buf_add_char(out, p[i / 8] >> (7 - i % 8) & 1 ? '1' : '0');
}

static void uuid_add(const duckdb_hugeint *v, rf_buf *out)
{
    uint64_t hi = (uint64_t)v->upper ^ (UINT64_C(1) << 63), lo = v->lower;

    rf_buf_addf(out, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(hi >> 32),
                (unsigned)(hi >> 16 & 0xFFFF), (unsigned)(hi & 0xFFFF), (unsigned)(lo >> 48),
                (unsigned long long)(lo & 0xFFFFFFFFFFFF));
}

static rf_str string_of(const cell *c)
{
    duckdb_string_t *s = &((duckdb_string_t *)(uintptr_t)c->data)[c->row];

    return (rf_str){rfi_db.string_t_data(s), rfi_db.string_t_length(*s)};
}

/* Writes a number; false when the type is none. */
static bool number_add(const cell *c, bool json, rf_buf *out)
{
    size_t r = c->row;
    duckdb_hugeint h;
    duckdb_uhugeint u;

    switch (c->type->id) {
    case DUCKDB_TYPE_TINYINT:
        rf_buf_add_i64(out, ((const int8_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_SMALLINT:
        rf_buf_add_i64(out, ((const int16_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_INTEGER:
        rf_buf_add_i64(out, ((const int32_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_BIGINT:
        rf_buf_add_i64(out, ((const int64_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_UTINYINT:
        rf_buf_add_u64(out, ((const uint8_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_USMALLINT:
        rf_buf_add_u64(out, ((const uint16_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_UINTEGER:
        rf_buf_add_u64(out, ((const uint32_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_UBIGINT:
        rf_buf_add_u64(out, ((const uint64_t *)c->data)[r]);
        return true;
    case DUCKDB_TYPE_HUGEINT:
        h = ((const duckdb_hugeint *)c->data)[r];
        rfi_render_int128((__int128)(((unsigned __int128)(uint64_t)h.upper << 64) | h.lower), 0,
                          out);
        return true;
    case DUCKDB_TYPE_UHUGEINT:
        u = ((const duckdb_uhugeint *)c->data)[r];
        if (u.upper > INT64_MAX) /* beyond our printer; nothing sensible counts so far */
            double_add((double)(((unsigned __int128)u.upper << 64) | u.lower), false, json, out);
        else
            rfi_render_int128((__int128)(((unsigned __int128)u.upper << 64) | u.lower), 0, out);
        return true;
    case DUCKDB_TYPE_FLOAT:
        double_add(((const float *)c->data)[r], true, json, out);
        return true;
    case DUCKDB_TYPE_DOUBLE:
        double_add(((const double *)c->data)[r], false, json, out);
        return true;
    case DUCKDB_TYPE_DECIMAL:
        rfi_render_int128(rfi_decimal_cell(c->type, c->data, r), c->type->scale, out);
        return true;
    default:
        return false;
    }
}

static int64_t i64_of(const cell *c)
{
    return ((const int64_t *)c->data)[c->row];
}

/* Everything that is neither number, boolean, nor made of parts. */
static void word_add(const cell *c, bool json, rf_buf *out)
{
    rf_str s;
    uint64_t bits;
    int64_t ns;
    int32_t offset;

    switch ((int)c->type->id) {
    case DUCKDB_TYPE_VARCHAR:
        rf_buf_add_str(out, string_of(c));
        break;
    case DUCKDB_TYPE_BLOB:
        s = string_of(c);
        blob_add((const uint8_t *)s.p, s.n, out);
        break;
    case DUCKDB_TYPE_BIT:
        s = string_of(c);
        bit_add((const uint8_t *)s.p, s.n, out);
        break;
    case DUCKDB_TYPE_TIMESTAMP:
        timestamp_add(i64_of(c), json, out);
        break;
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        timestamp_add(i64_of(c), true, out);
        break;
    case DUCKDB_TYPE_TIMESTAMP_S:
        timestamp_add(i64_of(c) * 1000000, json, out);
        break;
    case DUCKDB_TYPE_TIMESTAMP_MS:
        timestamp_add(i64_of(c) * 1000, json, out);
        break;
    case DUCKDB_TYPE_TIMESTAMP_NS:
        ns = i64_of(c);
        timestamp_add(ns / 1000 - (ns % 1000 < 0), json, out); /* microseconds, as everywhere */
        break;
    case DUCKDB_TYPE_DATE:
        date_add(((const int32_t *)c->data)[c->row], out);
        break;
    case DUCKDB_TYPE_TIME:
        time_add(i64_of(c), out);
        break;
    case DUCKDB_TYPE_TIME_NS:
        time_add(i64_of(c) / 1000, out);
        break;
    case DUCKDB_TYPE_TIME_TZ:
        bits =
            ((const uint64_t *)c->data)[c->row]; /* 40 bits of time, 24 of offset from +15:59:59 */
        offset = 57599 - (int32_t)(bits & 0xFFFFFF);
        time_add((int64_t)(bits >> 24), out);
        rf_buf_addf(out, "%c%02d:%02d", offset < 0 ? '-' : '+', abs(offset) / 3600,
                    abs(offset) / 60 % 60);
        break;
    case DUCKDB_TYPE_INTERVAL:
        interval_add(&((const duckdb_interval *)c->data)[c->row], out);
        break;
    case DUCKDB_TYPE_UUID:
        uuid_add(&((const duckdb_hugeint *)c->data)[c->row], out);
        break;
    case DUCKDB_TYPE_ENUM:
        rf_buf_add_cstr(out, c->type->names[rfi_enum_cell(c->type, c->data, c->row)]);
        break;
    default:
        rf_buf_add_cstr(out, "(a type that is not shown: cast it to VARCHAR)");
        break;
    }
}

/* word_add as a JSON string. */
static void word_json_add(const cell *c, rf_buf *out)
{
    rf_buf word;

    if (c->type->id == DUCKDB_TYPE_VARCHAR) {
        if (c->type->json)
            rf_buf_add_str(out, string_of(c));
        else
            rf_buf_add_json_str(out, string_of(c));
        return;
    }
    rf_buf_init(&word, out->max);
    word_add(c, true, &word);
    out->failed |= word.failed;
    rf_buf_add_json_str(out, rf_buf_str(&word));
    rf_buf_clear(&word);
}

static void list_add(const cell *c, rf_buf *out)
{
    duckdb_list_entry entry = ((const duckdb_list_entry *)c->data)[c->row];
    cell item = cell_in(&c->type->children[0], rfi_db.list_vector_get_child(c->vector), 0);

    rf_buf_add_char(out, '[');
    for (uint64_t i = 0; i < entry.length; i++) {
        if (i > 0)
            rf_buf_add_char(out, ',');
        item.row = entry.offset + i;
        json_add(&item, out);
    }
    rf_buf_add_char(out, ']');
}

static void array_add(const cell *c, rf_buf *out)
{
    uint64_t size = c->type->array_size;
    cell item = cell_in(&c->type->children[0], rfi_db.array_vector_get_child(c->vector), 0);

    rf_buf_add_char(out, '[');
    for (uint64_t i = 0; i < size; i++) {
        if (i > 0)
            rf_buf_add_char(out, ',');
        item.row = c->row * size + i;
        json_add(&item, out);
    }
    rf_buf_add_char(out, ']');
}

static void struct_add(const cell *c, rf_buf *out)
{
    rf_buf_add_char(out, '{');
    for (size_t i = 0; i < c->type->child_count; i++) {
        cell member =
            cell_in(&c->type->children[i], rfi_db.struct_vector_get_child(c->vector, i), c->row);

        if (i > 0)
            rf_buf_add_char(out, ',');
        rf_buf_add_json_str(out, rf_str_from(c->type->names[i]));
        rf_buf_add_char(out, ':');
        json_add(&member, out);
    }
    rf_buf_add_char(out, '}');
}

/* A list of STRUCT(key, value); keys that are no strings become such. */
static void map_add(const cell *c, rf_buf *out)
{
    duckdb_list_entry entry = ((const duckdb_list_entry *)c->data)[c->row];
    duckdb_vector pairs = rfi_db.list_vector_get_child(c->vector);
    cell key = cell_in(&c->type->children[0], rfi_db.struct_vector_get_child(pairs, 0), 0);
    cell value = cell_in(&c->type->children[1], rfi_db.struct_vector_get_child(pairs, 1), 0);

    rf_buf_add_char(out, '{');
    for (uint64_t i = 0; i < entry.length; i++) {
        rf_buf name;

        if (i > 0)
            rf_buf_add_char(out, ',');
        key.row = value.row = entry.offset + i;
        rf_buf_init(&name, out->max);
        json_add(&key, &name);
        if (name.n > 0 && name.p[0] == '"')
            rf_buf_add_str(out, rf_buf_str(&name));
        else
            rf_buf_add_json_str(out, rf_buf_str(&name));
        out->failed |= name.failed;
        rf_buf_clear(&name);
        rf_buf_add_char(out, ':');
        json_add(&value, out);
    }
    rf_buf_add_char(out, '}');
}

/* A struct whose first member is the tag. */
static void union_add(const cell *c, rf_buf *out)
{
    duckdb_vector tags = rfi_db.struct_vector_get_child(c->vector, 0);
    uint8_t tag = ((const uint8_t *)rfi_db.vector_get_data(tags))[c->row];
    cell member;

    if (tag >= c->type->child_count) {
        rf_buf_add_cstr(out, "null");
        return;
    }
    member = cell_in(&c->type->children[tag], rfi_db.struct_vector_get_child(c->vector, tag + 1),
                     c->row);
    json_add(&member, out);
}

static void json_add(const cell *c, rf_buf *out)
{
    if (!rfi_cell_valid(c->validity, c->row)) {
        rf_buf_add_cstr(out, "null");
        return;
    }
    switch ((int)c->type->id) {
    case DUCKDB_TYPE_BOOLEAN:
        rf_buf_add_cstr(out, ((const bool *)c->data)[c->row] ? "true" : "false");
        break;
    case DUCKDB_TYPE_LIST:
        list_add(c, out);
        break;
    case DUCKDB_TYPE_ARRAY:
        array_add(c, out);
        break;
    case DUCKDB_TYPE_STRUCT:
        struct_add(c, out);
        break;
    case DUCKDB_TYPE_MAP:
        map_add(c, out);
        break;
    case DUCKDB_TYPE_UNION:
        union_add(c, out);
        break;
    case DUCKDB_TYPE_SQLNULL:
        rf_buf_add_cstr(out, "null");
        break;
    default:
        if (!number_add(c, true, out))
            word_json_add(c, out);
        break;
    }
}

static cell cell_at(const rf_rows *rows, size_t column)
{
    RF_ASSERT(column < rows->column_count && rows->chunk != NULL);
    return (cell){.type = &rows->types[column],
                  .vector = rows->cells[column].vector,
                  .data = rows->cells[column].data,
                  .validity = rows->cells[column].validity,
                  .row = rows->row};
}

void rf_rows_json(const rf_rows *rows, size_t column, rf_buf *out)
{
    cell c = cell_at(rows, column);

    json_add(&c, out);
}

void rf_rows_text(const rf_rows *rows, size_t column, rf_buf *out)
{
    cell c = cell_at(rows, column);

    if (!rfi_cell_valid(c.validity, c.row))
        return;
    switch ((int)c.type->id) {
    case DUCKDB_TYPE_BOOLEAN:
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_MAP:
    case DUCKDB_TYPE_UNION:
        json_add(&c, out);
        break;
    case DUCKDB_TYPE_SQLNULL:
        break;
    default:
        if (!number_add(&c, false, out))
            word_add(&c, false, out);
        break;
    }
}
