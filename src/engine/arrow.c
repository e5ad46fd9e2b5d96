/*
 * The Apache Arrow IPC stream format: a schema message, a message for each chunk of rows, an end
 * marker. The engine hands its chunks over in Arrow's memory layout; here they are framed (Arrow
 * columnar format 1.x, metadata V5).
 */
#include "engine/engine_int.h"
#include "engine/flatbuffer_int.h"

/* ---- Arrow's C data interface, whose layout is fixed for ever ----------------------------------
 */

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

enum { FLAG_NULLABLE = 2, FLAG_MAP_KEYS_SORTED = 4 };

/* Of Schema.fbs and Message.fbs. */
enum {
    TYPE_NULL = 1,
    TYPE_INT,
    TYPE_FLOAT,
    TYPE_BINARY,
    TYPE_UTF8,
    TYPE_BOOL,
    TYPE_DECIMAL,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_TIMESTAMP,
    TYPE_INTERVAL,
    TYPE_LIST,
    TYPE_STRUCT,
    TYPE_UNION,
    TYPE_FIXED_BINARY,
    TYPE_FIXED_LIST,
    TYPE_MAP,
    TYPE_DURATION,
    TYPE_LARGE_BINARY,
    TYPE_LARGE_UTF8,
    TYPE_LARGE_LIST
};
enum { METADATA_V5 = 4, HEADER_SCHEMA = 1, HEADER_BATCH = 3 };

/* ---- types ----------------------------------------------------------------------------------- */

/* What a column's buffers hold, and so how long they are. */
typedef enum layout {
    LAYOUT_NONE,    /* no buffers */
    LAYOUT_BITS,    /* validity, bits */
    LAYOUT_FIXED,   /* validity, `width` bytes each */
    LAYOUT_BYTES32, /* validity, 32-bit offsets, bytes */
    LAYOUT_BYTES64,
    LAYOUT_LIST32, /* validity, 32-bit offsets */
    LAYOUT_LIST64,
    LAYOUT_VALIDITY /* validity alone: struct, fixed-size list */
} layout;

typedef struct arrow_type {
    layout layout;
    size_t width;
    uint8_t id; /* TYPE_… */
    uint32_t table;
} arrow_type;

static const struct {
    const char *format;
    int id;
    layout layout;
    int width;
    bool is_signed; /* of numbers */
    int8_t unit;    /* of times and floats */
} simple_types[] = {
    {"n", TYPE_NULL, LAYOUT_NONE, 0, false, 0},
    {"b", TYPE_BOOL, LAYOUT_BITS, 0, false, 0},
    {"c", TYPE_INT, LAYOUT_FIXED, 1, true, 0},
    {"C", TYPE_INT, LAYOUT_FIXED, 1, false, 0},
    {"s", TYPE_INT, LAYOUT_FIXED, 2, true, 0},
    {"S", TYPE_INT, LAYOUT_FIXED, 2, false, 0},
    {"i", TYPE_INT, LAYOUT_FIXED, 4, true, 0},
    {"I", TYPE_INT, LAYOUT_FIXED, 4, false, 0},
    {"l", TYPE_INT, LAYOUT_FIXED, 8, true, 0},
    {"L", TYPE_INT, LAYOUT_FIXED, 8, false, 0},
    {"f", TYPE_FLOAT, LAYOUT_FIXED, 4, false, 1},
    {"g", TYPE_FLOAT, LAYOUT_FIXED, 8, false, 2},
    {"z", TYPE_BINARY, LAYOUT_BYTES32, 0, false, 0},
    {"Z", TYPE_LARGE_BINARY, LAYOUT_BYTES64, 0, false, 0},
    {"u", TYPE_UTF8, LAYOUT_BYTES32, 0, false, 0},
    {"U", TYPE_LARGE_UTF8, LAYOUT_BYTES64, 0, false, 0},
    {"tdD", TYPE_DATE, LAYOUT_FIXED, 4, false, 0},
    {"tts", TYPE_TIME, LAYOUT_FIXED, 4, false, 0},
    {"ttm", TYPE_TIME, LAYOUT_FIXED, 4, false, 1},
    {"ttu", TYPE_TIME, LAYOUT_FIXED, 8, false, 2},
    {"ttn", TYPE_TIME, LAYOUT_FIXED, 8, false, 3},
    {"tin", TYPE_INTERVAL, LAYOUT_FIXED, 16, false, 2},
    {"+l", TYPE_LIST, LAYOUT_LIST32, 0, false, 0},
    {"+L", TYPE_LARGE_LIST, LAYOUT_LIST64, 0, false, 0},
    {"+s", TYPE_STRUCT, LAYOUT_VALIDITY, 0, false, 0},
    {"+m", TYPE_MAP, LAYOUT_LIST32, 0, false, 0},
};

/* "tsu:UTC": the unit's letter and the zone. */
static bool timestamp_read(const char *format, int64_t *unit, const char **zone)
{
    static const char units[] = "smun";
    const char *found;

    if (strncmp(format, "ts", 2) != 0 || format[2] == '\0' || format[3] != ':')
        return false;
    found = strchr(units, format[2]);
    if (found == NULL)
        return false;
    *unit = found - units;
    *zone = format + 4;
    return true;
}

/* What the format text says, without writing anything. */
static bool type_read(const char *format, arrow_type *out)
{
    unsigned precision, scale;
    const char *zone;
    int64_t unit;

    *out = (arrow_type){0};
    for (size_t i = 0; i < RF_ARRAY_LEN(simple_types); i++) {
        if (strcmp(simple_types[i].format, format) == 0) {
            *out = (arrow_type){.layout = simple_types[i].layout,
                                .width = (size_t)simple_types[i].width,
                                .id = (uint8_t)simple_types[i].id};
            return true;
        }
    }
    if (timestamp_read(format, &unit, &zone)) {
        *out = (arrow_type){.layout = LAYOUT_FIXED, .width = 8, .id = TYPE_TIMESTAMP};
        return true;
    }
    if (sscanf(format, "d:%u,%u", &precision, &scale) == 2 && strchr(format + 2, ':') == NULL) {
        const char *bits = strchr(strchr(format, ',') + 1, ',');

        *out = (arrow_type){.layout = LAYOUT_FIXED, .width = 16, .id = TYPE_DECIMAL};
        return bits == NULL || strcmp(bits, ",128") == 0;
    }
    if (sscanf(format, "w:%u", &precision) == 1) {
        *out = (arrow_type){.layout = LAYOUT_FIXED, .width = precision, .id = TYPE_FIXED_BINARY};
        return true;
    }
    if (sscanf(format, "+w:%u", &precision) == 1) {
        *out = (arrow_type){.layout = LAYOUT_VALIDITY, .width = precision, .id = TYPE_FIXED_LIST};
        return true;
    }
    return false;
}

static uint32_t one_number(rfi_fb *fb, int64_t v, size_t bytes)
{
    rfi_fb_start(fb, 1);
    rfi_fb_number(fb, 0, v, bytes);
    return rfi_fb_end(fb);
}

static uint32_t type_write(rfi_fb *fb, const struct ArrowSchema *s, const arrow_type *type)
{
    unsigned precision = 0, scale = 0;
    const char *zone = "";
    uint32_t zone_at = 0;
    int64_t unit = 0;
    size_t i = 0;

    while (i < RF_ARRAY_LEN(simple_types) && strcmp(simple_types[i].format, s->format) != 0)
        i++;
    switch (type->id) {
    case TYPE_INT:
        rfi_fb_start(fb, 2);
        rfi_fb_number(fb, 0, (int64_t)type->width * 8, 4);
        rfi_fb_number(fb, 1, simple_types[i].is_signed, 1);
        return rfi_fb_end(fb);
    case TYPE_FLOAT:
    case TYPE_DATE:
    case TYPE_INTERVAL:
        return one_number(fb, simple_types[i].unit, 2);
    case TYPE_TIME:
        rfi_fb_start(fb, 2);
        rfi_fb_number(fb, 1, (int64_t)type->width * 8, 4);
        rfi_fb_number(fb, 0, simple_types[i].unit, 2);
        return rfi_fb_end(fb);
    case TYPE_TIMESTAMP:
        if (timestamp_read(s->format, &unit, &zone) && zone[0] != '\0')
            zone_at = rfi_fb_string(fb, zone);
        rfi_fb_start(fb, 2);
        if (zone_at != 0)
            rfi_fb_ref(fb, 1, zone_at);
        rfi_fb_number(fb, 0, unit, 2);
        return rfi_fb_end(fb);
    case TYPE_DECIMAL:
        sscanf(s->format, "d:%u,%u", &precision, &scale);
        rfi_fb_start(fb, 3);
        rfi_fb_number(fb, 0, precision, 4);
        rfi_fb_number(fb, 1, scale, 4);
        rfi_fb_number(fb, 2, 128, 4);
        return rfi_fb_end(fb);
    case TYPE_FIXED_BINARY:
    case TYPE_FIXED_LIST:
        return one_number(fb, (int64_t)type->width, 4);
    case TYPE_MAP:
        return one_number(fb, (s->flags & FLAG_MAP_KEYS_SORTED) != 0, 1);
    default:
        rfi_fb_start(fb, 0);
        return rfi_fb_end(fb);
    }
}

/* 0: a type that is not written. */
static uint32_t field_write(rfi_fb *fb, const struct ArrowSchema *s, rf_err *err)
{
    uint32_t *children = rf_xcalloc((size_t)s->n_children + 1, sizeof(*children));
    uint32_t name, table, list, field = 0;
    arrow_type type;

    if (s->dictionary != NULL || !type_read(s->format, &type)) {
        rf_err_set(err, RF_EUNSUPPORTED,
                   "column %s has a type that is not written as Arrow (%s): cast it to VARCHAR",
                   s->name, s->dictionary != NULL ? "ENUM" : s->format);
        goto out;
    }
    for (int64_t i = 0; i < s->n_children; i++) {
        children[i] = field_write(fb, s->children[i], err);
        if (children[i] == 0)
            goto out;
    }
    list = rfi_fb_offsets(fb, children, (size_t)s->n_children);
    name = rfi_fb_string(fb, s->name != NULL ? s->name : "");
    table = type_write(fb, s, &type);
    rfi_fb_start(fb, 7);
    rfi_fb_ref(fb, 5, list);
    rfi_fb_ref(fb, 3, table);
    rfi_fb_ref(fb, 0, name);
    rfi_fb_number(fb, 2, type.id, 1);
    rfi_fb_number(fb, 1, (s->flags & FLAG_NULLABLE) != 0, 1);
    field = rfi_fb_end(fb);
out:
    free(children);
    return field;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void le32_add(rf_buf *out, uint32_t v)
{
    uint8_t le[4];

    rf_put_le32(le, v);
    rf_buf_add(out, le, sizeof(le));
}

static void message_write(rfi_fb *fb, uint32_t header, int header_type, int64_t body_bytes,
                          rf_buf *out)
{
    uint32_t message;

    rfi_fb_start(fb, 4);
    rfi_fb_number(fb, 3, body_bytes, 8);
    rfi_fb_ref(fb, 2, header);
    rfi_fb_number(fb, 0, METADATA_V5, 2);
    rfi_fb_number(fb, 1, header_type, 1);
    message = rfi_fb_end(fb);
    rfi_fb_finish(fb, message);
    le32_add(out, UINT32_MAX);
    le32_add(out, (uint32_t)fb->size);
    rf_buf_add(out, rfi_fb_bytes(fb), fb->size);
}

static rf_status schema_write(const struct ArrowSchema *s, rf_buf *out, rf_err *err)
{
    uint32_t *fields = rf_xcalloc((size_t)s->n_children + 1, sizeof(*fields)), list;
    rfi_fb fb = {0};
    rf_status st = RF_OK;

    for (int64_t i = 0; i < s->n_children && st == RF_OK; i++) {
        fields[i] = field_write(&fb, s->children[i], err);
        if (fields[i] == 0)
            st = err->status;
    }
    if (st == RF_OK) {
        list = rfi_fb_offsets(&fb, fields, (size_t)s->n_children);
        rfi_fb_start(&fb, 2);
        rfi_fb_ref(&fb, 1, list);
        message_write(&fb, rfi_fb_end(&fb), HEADER_SCHEMA, 0, out);
    }
    rfi_fb_clear(&fb);
    free(fields);
    return st;
}

/* The parts of a record batch, gathered in the order of the columns, depth first. */
typedef struct batch {
    int64_t *nodes, *buffers; /* pairs: length, nulls; offset, bytes */
    size_t node_count, buffer_count;
    const void **parts;
    int64_t body_bytes;
    bool refused;
} batch;

static void buffer_add(batch *b, const void *p, int64_t bytes)
{
    size_t n = b->buffer_count++;

    if (p == NULL)
        bytes = 0;
    b->buffers = rf_xrealloc(b->buffers, b->buffer_count * 2 * sizeof(*b->buffers));
    b->parts = rf_xrealloc(b->parts, b->buffer_count * sizeof(*b->parts));
    b->buffers[2 * n] = b->body_bytes;
    b->buffers[2 * n + 1] = bytes;
    b->parts[n] = p;
    b->body_bytes += (bytes + 7) / 8 * 8;
}

static int64_t bits(int64_t n)
{
    return (n + 7) / 8;
}

static void buffers_gather(batch *b, const arrow_type *type, const struct ArrowArray *a)
{
    const void *const *p = a->buffers;
    int64_t n = a->length;

    if (type->layout == LAYOUT_NONE)
        return;
    buffer_add(b, p[0], bits(n));
    switch (type->layout) {
    case LAYOUT_BITS:
        buffer_add(b, p[1], bits(n));
        break;
    case LAYOUT_FIXED:
        buffer_add(b, p[1], n * (int64_t)type->width);
        break;
    case LAYOUT_BYTES32:
        buffer_add(b, p[1], (n + 1) * 4);
        buffer_add(b, p[2], p[1] != NULL ? ((const int32_t *)p[1])[n] : 0);
        break;
    case LAYOUT_BYTES64:
        buffer_add(b, p[1], (n + 1) * 8);
        buffer_add(b, p[2], p[1] != NULL ? ((const int64_t *)p[1])[n] : 0);
        break;
    case LAYOUT_LIST32:
        buffer_add(b, p[1], (n + 1) * 4);
        break;
    case LAYOUT_LIST64:
        buffer_add(b, p[1], (n + 1) * 8);
        break;
    default:
        break;
    }
}

static void column_gather(batch *b, const struct ArrowSchema *s, const struct ArrowArray *a)
{
    size_t n = b->node_count++;
    arrow_type type;

    b->refused |= a->offset != 0 || !type_read(s->format, &type);
    if (b->refused)
        return;
    b->nodes = rf_xrealloc(b->nodes, b->node_count * 2 * sizeof(*b->nodes));
    b->nodes[2 * n] = a->length;
    b->nodes[2 * n + 1] = a->null_count < 0 ? 0 : a->null_count;
    buffers_gather(b, &type, a);
    for (int64_t i = 0; i < a->n_children; i++)
        column_gather(b, s->children[i], a->children[i]);
}

static rf_status batch_write(const struct ArrowSchema *s, const struct ArrowArray *a, rf_buf *out,
                             rf_err *err)
{
    static const uint8_t zeros[8];
    uint32_t nodes, buffers;
    rf_status st = RF_OK;
    batch b = {0};
    rfi_fb fb = {0};

    for (int64_t i = 0; i < a->n_children; i++)
        column_gather(&b, s->children[i], a->children[i]);
    if (b.refused) {
        st = rf_err_set(err, RF_EUNSUPPORTED, "the result cannot be written as Arrow");
    } else {
        nodes = rfi_fb_words(&fb, b.nodes, b.node_count, 2);
        buffers = rfi_fb_words(&fb, b.buffers, b.buffer_count, 2);
        rfi_fb_start(&fb, 3);
        rfi_fb_number(&fb, 0, a->length, 8);
        rfi_fb_ref(&fb, 2, buffers);
        rfi_fb_ref(&fb, 1, nodes);
        message_write(&fb, rfi_fb_end(&fb), HEADER_BATCH, b.body_bytes, out);
        for (size_t i = 0; i < b.buffer_count; i++) {
            size_t bytes = (size_t)b.buffers[2 * i + 1];

            if (bytes > 0)
                rf_buf_add(out, b.parts[i], bytes);
            rf_buf_add(out, zeros, (8 - bytes % 8) % 8);
        }
    }
    rfi_fb_clear(&fb);
    free(b.nodes);
    free(b.buffers);
    free(b.parts);
    return st;
}

/* ---- the result ------------------------------------------------------------------------------ */

static rf_status failed(duckdb_error_data *error, rf_err *err)
{
    rf_status st = RF_OK;

    if (*error != NULL && rfi_db.error_data_has_error(*error))
        st = rfi_sql_error(err, NULL, rfi_db.error_data_message(*error));
    if (*error != NULL)
        rfi_db.destroy_error_data(error);
    return st;
}

static rf_status schema_get(rf_rows *rows, duckdb_arrow_options options, struct ArrowSchema *out,
                            rf_err *err)
{
    duckdb_logical_type *types = rf_xcalloc(rows->column_count + 1, sizeof(duckdb_logical_type));
    const char **names = rf_xcalloc(rows->column_count + 1, sizeof(*names));
    duckdb_error_data error;

    for (size_t i = 0; i < rows->column_count; i++) {
        types[i] = rfi_db.column_logical_type(&rows->result, i);
        names[i] = rfi_db.column_name(&rows->result, i);
    }
    error = rfi_db.to_arrow_schema(options, types, names, rows->column_count, out);
    for (size_t i = 0; i < rows->column_count; i++)
        rfi_db.destroy_logical_type(&types[i]);
    free(types);
    free(names);
    return failed(&error, err);
}

static rf_status chunks_write(rf_rows *rows, duckdb_arrow_options options,
                              const struct ArrowSchema *schema, uint64_t rows_max, rf_buf *out,
                              uint64_t *row_count, rf_err *err)
{
    while (rfi_rows_chunk(rows, err)) {
        struct ArrowArray array = {0};
        duckdb_error_data error;
        rf_status st;

        *row_count += rows->chunk_rows;
        if (*row_count > rows_max)
            return rf_err_set(err, RF_ETOOBIG, "the result has more than %llu rows",
                              (unsigned long long)rows_max);
        error = rfi_db.data_chunk_to_arrow(options, rows->chunk, &array);
        st = failed(&error, err);
        if (st == RF_OK)
            st = batch_write(schema, &array, out, err);
        if (array.release != NULL)
            array.release(&array);
        if (st == RF_OK && out->failed)
            st = rf_err_set(err, RF_ETOOBIG, "the result is too large");
        if (st != RF_OK)
            return st;
    }
    return err->status;
}

rf_status rf_rows_arrow_ipc(rf_rows *rows, uint64_t rows_max, rf_buf *out, uint64_t *row_count,
                            rf_err *err)
{
    duckdb_arrow_options options = rfi_db.result_get_arrow_options(&rows->result);
    struct ArrowSchema schema = {0};
    rf_status st;

    *row_count = 0;
    err->status = RF_OK;
    st = schema_get(rows, options, &schema, err);
    if (st == RF_OK)
        st = schema_write(&schema, out, err);
    if (st == RF_OK)
        st = chunks_write(rows, options, &schema, rows_max, out, row_count, err);
    if (st == RF_OK) {
        le32_add(out, UINT32_MAX);
        le32_add(out, 0);
    }
    if (schema.release != NULL)
        schema.release(&schema);
    rfi_db.destroy_arrow_options(&options);
    return st;
}
