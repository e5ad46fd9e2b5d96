/*
 * The table function rf_events: the log as relations.
 *
 *   bind   (prepare)    which columns, from the type's columns and the wanted fields
 *   init   (execution)  which blocks, from the scope's ranges at this moment
 *   local  (a thread)   a block being read
 *   scan   (a chunk)    up to 2048 rows, out of as many blocks as it takes
 *
 * Threads take blocks from one list by an atomic number. A block is self-contained, so they share
 * nothing else.
 */
#include "engine/events_int.h"

#include <strings.h>

#include <yyjson.h>

typedef enum column {
    COL_ID,
    COL_SOURCE,
    COL_TYPE,
    COL_SUBJECT,
    COL_TIME,
    COL_RECORDEDTIME,
    COL_DOMAIN,
    COL_PARTITION,
    COL_OFFSET,
    COL_REVISION,
    COL_CORRELATIONID,
    COL_CAUSATIONID,
    COL_DATASCHEMA,
    COL_DATA,
    COL_COUNT
} column;

static const struct {
    const char *name;
    duckdb_type type;
    bool envelope; /* not in what a scan hands over cheaply */
} columns[COL_COUNT] = {
    [COL_ID] = {"id", DUCKDB_TYPE_VARCHAR, true},
    [COL_SOURCE] = {"source", DUCKDB_TYPE_VARCHAR, true},
    [COL_TYPE] = {"type", DUCKDB_TYPE_VARCHAR, false},
    [COL_SUBJECT] = {"subject", DUCKDB_TYPE_VARCHAR, true},
    [COL_TIME] = {"time", DUCKDB_TYPE_TIMESTAMP, false},
    [COL_RECORDEDTIME] = {"recordedtime", DUCKDB_TYPE_TIMESTAMP, false},
    [COL_DOMAIN] = {"domain", DUCKDB_TYPE_VARCHAR, false},
    [COL_PARTITION] = {"partition", DUCKDB_TYPE_UINTEGER, false},
    [COL_OFFSET] = {"offset", DUCKDB_TYPE_UBIGINT, false},
    [COL_REVISION] = {"revision", DUCKDB_TYPE_UBIGINT, false},
    [COL_CORRELATIONID] = {"correlationid", DUCKDB_TYPE_VARCHAR, true},
    [COL_CAUSATIONID] = {"causationid", DUCKDB_TYPE_VARCHAR, true},
    [COL_DATASCHEMA] = {"dataschema", DUCKDB_TYPE_VARCHAR, true},
    [COL_DATA] = {"data", DUCKDB_TYPE_VARCHAR, false},
};

/* ---- bind ------------------------------------------------------------------------------------ */

typedef struct bound {
    rf_engine *engine;
    char *type;  /* empty: all types */
    char *scope; /* empty: bound for its columns only */
    bool lean;   /* the relation's first column is the cheapest: count(*) reads the first */
    rfi_fields fields;
} bound;

static void bound_free(void *p)
{
    bound *b = p;

    free(b->type);
    free(b->scope);
    free(b->fields.columns);
    free(b->fields.names);
    free(b);
}

/* A parameter's text; NULL and absent give the empty string. */
static char *text_param(duckdb_value value)
{
    char *text, *copy;

    if (value == NULL || rfi_db.is_null_value(value))
        return rf_xstrdup("");
    text = rfi_db.get_varchar(value);
    copy = rf_xstrdup(text != NULL ? text : "");
    rfi_db.free(text);
    return copy;
}

static bool wanted_has(duckdb_value wanted, const char *name)
{
    idx_t count = rfi_db.get_list_size(wanted);
    bool has = false;

    for (idx_t i = 0; i < count && !has; i++) {
        duckdb_value item = rfi_db.get_list_child(wanted, i);
        char *text = text_param(item);

        has = strcasecmp(text, name) == 0;
        free(text);
        rfi_db.destroy_value(&item);
    }
    return has;
}

/* The type's columns, or those of them that are wanted. A struct has at least one member: when none
 * of the wanted ones exists, all stay, so that the engine's own error can list them. */
static void fields_choose(bound *b, const rf_columns *all, duckdb_value wanted)
{
    b->fields.columns = rf_xcalloc(RF_MAX(all->count, 1), sizeof(*b->fields.columns));
    b->fields.names = rf_xcalloc(RF_MAX(all->count, 1), sizeof(*b->fields.names));
    for (int pass = 0; pass < 2 && b->fields.count == 0; pass++) {
        for (size_t i = 0; i < all->count; i++) {
            if (pass == 0 && wanted != NULL && !wanted_has(wanted, all->columns[i].name))
                continue;
            b->fields.names[b->fields.count] = rf_str_from(all->columns[i].name);
            b->fields.columns[b->fields.count++] = all->columns[i];
        }
    }
}

static duckdb_logical_type json_type(void)
{
    duckdb_logical_type type = rfi_db.create_logical_type(DUCKDB_TYPE_VARCHAR);

    rfi_db.logical_type_set_alias(type, "JSON");
    return type;
}

static duckdb_logical_type field_type(const rf_column *c)
{
    switch (c->type) {
    case RF_COL_TEXT:
        return rfi_db.create_logical_type(DUCKDB_TYPE_VARCHAR);
    case RF_COL_BIGINT:
        return rfi_db.create_logical_type(DUCKDB_TYPE_BIGINT);
    case RF_COL_DOUBLE:
        return rfi_db.create_logical_type(DUCKDB_TYPE_DOUBLE);
    case RF_COL_BOOLEAN:
        return rfi_db.create_logical_type(DUCKDB_TYPE_BOOLEAN);
    case RF_COL_TIMESTAMP:
        return rfi_db.create_logical_type(DUCKDB_TYPE_TIMESTAMP);
    case RF_COL_DATE:
        return rfi_db.create_logical_type(DUCKDB_TYPE_DATE);
    case RF_COL_DECIMAL:
        return rfi_db.create_decimal_type(c->precision, c->scale);
    case RF_COL_JSON:
        break;
    }
    return json_type();
}

static duckdb_logical_type data_type(const rfi_fields *fields)
{
    duckdb_logical_type *types, result;
    const char **names;

    if (fields->count == 0)
        return json_type();
    types = rf_xcalloc(fields->count, sizeof(duckdb_logical_type));
    names = rf_xcalloc(fields->count, sizeof(*names));
    for (size_t i = 0; i < fields->count; i++) {
        types[i] = field_type(&fields->columns[i]);
        names[i] = fields->columns[i].name;
    }
    result = rfi_db.create_struct_type(types, names, fields->count);
    for (size_t i = 0; i < fields->count; i++)
        rfi_db.destroy_logical_type(&types[i]);
    free(types);
    free(names);
    return result;
}

/* Which column is at this place of the relation. */
static column column_at(const bound *b, size_t at)
{
    if (!b->lean)
        return (column)at;
    if (at == 0)
        return COL_PARTITION;
    return (column)(at <= COL_PARTITION ? at - 1 : at);
}

static void columns_declare(duckdb_bind_info info, const bound *b)
{
    for (size_t at = 0; at < COL_COUNT; at++) {
        column c = column_at(b, at);
        duckdb_logical_type type =
            c == COL_DATA ? data_type(&b->fields) : rfi_db.create_logical_type(columns[c].type);

        rfi_db.bind_add_result_column(info, columns[c].name, type);
        rfi_db.destroy_logical_type(&type);
    }
}

static void events_bind(duckdb_bind_info info)
{
    bound *b = rf_xcalloc(1, sizeof(*b));
    duckdb_value type = rfi_db.bind_get_parameter(info, 0);
    duckdb_value scope = rfi_db.bind_get_parameter(info, 1);
    duckdb_value fields = rfi_db.bind_get_named_parameter(info, "fields");
    duckdb_value lean = rfi_db.bind_get_named_parameter(info, "lean");
    const rf_columns *all;
    uint64_t total = 0;
    char message[RF_ERR_TEXT_MAX];

    b->engine = rfi_db.bind_get_extra_info(info);
    b->type = text_param(type);
    b->scope = text_param(scope);
    b->lean = lean != NULL && rfi_db.get_bool(lean);
    if (b->scope[0] != '\0' && !rfi_scope_exists(b->engine, b->scope, &total)) {
        snprintf(message, sizeof(message), "rf_events: there is no scope '%s'", b->scope);
        rfi_db.bind_set_error(info, message);
        bound_free(b);
    } else {
        all = b->type[0] != '\0' ? rf_engine_columns(b->engine, rf_str_from(b->type)) : NULL;
        if (all != NULL)
            fields_choose(b, all, fields);
        columns_declare(info, b);
        rfi_db.bind_set_cardinality(info, total, false);
        rfi_db.bind_set_bind_data(info, b, bound_free);
    }
    rfi_db.destroy_value(&type);
    rfi_db.destroy_value(&scope);
    if (fields != NULL)
        rfi_db.destroy_value(&fields);
    if (lean != NULL)
        rfi_db.destroy_value(&lean);
}

/* ---- init ------------------------------------------------------------------------------------ */

/* A range of one partition, and its blocks. */
typedef struct range {
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t partition;
    uint64_t from, to;
    rf_block_ref *refs;
    size_t count;
} range;

typedef struct scan {
    rf_engine *engine;
    const bound *bound;
    rf_scope *scope;
    range *ranges;
    size_t range_count;
    uint64_t blocks;
    _Atomic uint64_t next; /* number of the next block, over all ranges */
    column *wanted;
    size_t wanted_count;
    bool envelope; /* a wanted column needs the whole event */
} scan;

static void scan_free(void *p)
{
    scan *s = p;

    for (size_t i = 0; i < s->range_count; i++)
        free(s->ranges[i].refs);
    free(s->ranges);
    free(s->wanted);
    free(s);
}

static bool range_add(void *arg, const rf_position_part *to, uint64_t from)
{
    scan *s = arg;
    range *r;

    s->ranges = rf_xrealloc(s->ranges, (s->range_count + 1) * sizeof(*s->ranges));
    r = &s->ranges[s->range_count++];
    *r = (range){.partition = to->partition, .from = from, .to = to->next};
    memcpy(r->domain, to->domain, sizeof(r->domain));
    return true;
}

static rf_status ranges_resolve(scan *s, rf_err *err)
{
    for (size_t i = 0; i < s->range_count; i++) {
        range *r = &s->ranges[i];
        rf_status st = rf_log_view_blocks(s->engine->view, rf_str_from(r->domain), r->partition,
                                          r->from, r->to, &r->refs, &r->count, err);

        if (st != RF_OK) {
            rf_err_note(err, "reading events %llu..%llu of %s/%u", (unsigned long long)r->from,
                        (unsigned long long)r->to - 1, r->domain, r->partition);
            return st;
        }
        s->blocks += r->count;
    }
    return RF_OK;
}

static void init_fail(duckdb_init_info info, const rf_err *err)
{
    char message[RF_ERR_TEXT_MAX + 32];

    rfi_sql_error_carry(err, message, sizeof(message));
    rfi_db.init_set_error(info, message);
}

static void columns_want(duckdb_init_info info, scan *s)
{
    s->wanted_count = rfi_db.init_get_column_count(info);
    s->wanted = rf_xcalloc(RF_MAX(s->wanted_count, 1), sizeof(*s->wanted));
    for (size_t i = 0; i < s->wanted_count; i++) {
        idx_t at = rfi_db.init_get_column_index(info, i);

        RF_ASSERT(at < COL_COUNT);
        s->wanted[i] = column_at(s->bound, at);
        s->envelope |= columns[s->wanted[i]].envelope;
    }
}

static void events_init(duckdb_init_info info)
{
    scan *s = rf_xcalloc(1, sizeof(*s));
    rf_err err = {0};
    rf_status st;

    s->engine = rfi_db.init_get_extra_info(info);
    s->bound = rfi_db.init_get_bind_data(info);
    columns_want(info, s);
    s->scope = rfi_scope_ranges(s->engine, s->bound->scope, range_add, s);
    if (s->scope == NULL)
        st =
            rf_err_set(&err, RF_EINTERNAL, "rf_events: scope '%s' does not exist", s->bound->scope);
    else
        st = ranges_resolve(s, &err);
    if (st != RF_OK) {
        init_fail(info, &err);
        scan_free(s);
        return;
    }
    rfi_db.init_set_max_threads(info, RF_MAX(1, RF_MIN(s->blocks, rfi_scope_threads(s->scope))));
    rfi_db.init_set_init_data(info, s, scan_free);
}

/* ---- a thread's part ------------------------------------------------------------------------- */

typedef struct reading {
    rf_engine *engine;
    rf_block *block;
    const range *range; /* of the block at hand; NULL: none */
    uint32_t cursor, type_ref;
    uint64_t block_events; /* of it that are in the range: progress when it is done */
    rfi_reader reader;
    rf_block_event *events; /* of a chunk */
    uint32_t *cursors;
} reading;

static void reading_free(void *p)
{
    reading *l = p;

    atomic_fetch_add_explicit(&l->engine->mismatches, l->reader.mismatches, memory_order_relaxed);
    rf_block_free(&l->block);
    rfi_reader_clear(&l->reader);
    free(l->events);
    free(l->cursors);
    free(l);
}

static void events_local_init(duckdb_init_info info)
{
    reading *l = rf_xcalloc(1, sizeof(*l));
    const bound *b = rfi_db.init_get_bind_data(info);
    size_t rows = rfi_db.vector_size();

    l->engine = rfi_db.init_get_extra_info(info);
    l->block = rf_block_new();
    l->events = rf_xcalloc(rows, sizeof(*l->events));
    l->cursors = rf_xcalloc(rows, sizeof(*l->cursors));
    rfi_reader_init(&l->reader, &b->fields);
    rfi_db.init_set_init_data(info, l, reading_free);
}

/* Takes and loads the next block that has events of the type; RF_ENOTFOUND: there is none. */
static rf_status block_next(scan *s, reading *l, rf_err *err)
{
    for (;;) {
        uint64_t number = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
        const rf_block_ref *ref;
        size_t i = 0;
        rf_status st;

        if (number >= s->blocks)
            return RF_ENOTFOUND;
        while (number >= s->ranges[i].count)
            number -= s->ranges[i++].count;
        l->range = &s->ranges[i];
        ref = &l->range->refs[number];
        st = rf_block_load(s->engine->view, rf_str_from(l->range->domain), l->range->partition, ref,
                           l->block, err);
        if (st != RF_OK)
            return st;
        l->cursor = 0;
        l->block_events = RF_MIN(ref->base_offset + ref->count, l->range->to) -
                          RF_MAX(ref->base_offset, l->range->from);
        if (s->bound->type[0] == '\0')
            return RF_OK;
        l->type_ref = rf_block_type_ref(l->block, rf_str_from(s->bound->type));
        if (l->type_ref != UINT32_MAX)
            return RF_OK;
        atomic_fetch_add_explicit(rfi_scope_done(s->scope), l->block_events, memory_order_release);
    }
}

/* Up to `room` events of the block at hand; fewer: it is read to its end. */
static size_t gather(const scan *s, reading *l, size_t room)
{
    bool all = s->bound->type[0] == '\0';
    rf_block_event *e = l->events;
    size_t n = 0;

    while (n < room && rf_block_next(l->block, &l->cursor, e)) {
        if (e->offset < l->range->from || e->offset >= l->range->to ||
            (!all && e->type_ref != l->type_ref))
            continue;
        l->cursors[n++] = l->cursor;
        e++;
    }
    return n;
}

/* ---- filling columns: rows [at, at + n) from l->events[0, n) --------------------------------- */

static void fill_cheap(const reading *l, column c, rfi_out *o, size_t at, size_t n)
{
    const rf_block_event *e = l->events;
    rf_str domain;

    RF_ASSERT(o->data != NULL);
    switch (c) {
    case COL_TYPE:
        for (size_t i = 0; i < n; i++)
            rfi_out_str(o, at + i, rf_block_string(l->block, e[i].type_ref));
        break;
    case COL_TIME:
        for (size_t i = 0; i < n; i++) {
            ((int64_t *)o->data)[at + i] = e[i].time_us;
            if (e[i].time_us == RF_TIME_NONE)
                rfi_out_null(o, at + i);
        }
        break;
    case COL_RECORDEDTIME:
        for (size_t i = 0; i < n; i++)
            ((int64_t *)o->data)[at + i] = e[i].recorded_us;
        break;
    case COL_DOMAIN:
        domain = rf_str_from(l->range->domain);
        for (size_t i = 0; i < n; i++)
            rfi_out_str(o, at + i, domain);
        break;
    case COL_PARTITION:
        for (size_t i = 0; i < n; i++)
            ((uint32_t *)o->data)[at + i] = l->range->partition;
        break;
    case COL_OFFSET:
        for (size_t i = 0; i < n; i++)
            ((uint64_t *)o->data)[at + i] = e[i].offset;
        break;
    case COL_REVISION:
        for (size_t i = 0; i < n; i++)
            ((uint64_t *)o->data)[at + i] = e[i].revision;
        break;
    default:
        RF_ASSERT(!"a column that needs the whole event");
    }
}

static rf_str attribute(const rf_event *e, column c)
{
    switch (c) {
    case COL_ID:
        return e->id;
    case COL_SOURCE:
        return e->source;
    case COL_SUBJECT:
        return e->subject;
    case COL_CORRELATIONID:
        return e->correlationid;
    case COL_CAUSATIONID:
        return e->causationid;
    default:
        return e->dataschema;
    }
}

static void fill_envelope(const scan *s, const reading *l, rfi_out *outs, size_t at, size_t n)
{
    rf_event event;

    for (size_t i = 0; i < n; i++) {
        rf_block_event_full(l->block, l->cursors[i], &event);
        for (size_t w = 0; w < s->wanted_count; w++) {
            rf_str value;

            if (!columns[s->wanted[w]].envelope)
                continue;
            value = attribute(&event, s->wanted[w]);
            if (value.n == 0)
                rfi_out_null(&outs[w], at + i); /* attributes are absent, never empty */
            else
                rfi_out_str(&outs[w], at + i, value);
        }
    }
}

static void fill(const scan *s, reading *l, rfi_out *outs, size_t at, size_t n)
{
    if (s->envelope)
        fill_envelope(s, l, outs, at, n);
    for (size_t w = 0; w < s->wanted_count; w++) {
        column c = s->wanted[w];

        if (c == COL_DATA) {
            for (size_t i = 0; i < n; i++)
                rfi_reader_row(&l->reader, at + i, l->events[i].data_kind, l->events[i].data);
        } else if (!columns[c].envelope) {
            fill_cheap(l, c, &outs[w], at, n);
        }
    }
}

static void events_scan(duckdb_function_info info, duckdb_data_chunk chunk)
{
    scan *s = rfi_db.function_get_init_data(info);
    reading *l = rfi_db.function_get_local_init_data(info);
    size_t room = rfi_db.vector_size(), at = 0;
    rfi_out outs[COL_COUNT] = {0};
    char message[RF_ERR_TEXT_MAX + 32];
    rf_err err = {0};
    rf_status st = RF_OK;

    RF_ASSERT(s->wanted_count <= COL_COUNT);
    for (size_t w = 0; w < s->wanted_count; w++) {
        duckdb_vector vector = rfi_db.data_chunk_get_vector(chunk, w);

        rfi_out_begin(&outs[w], vector);
        if (s->wanted[w] == COL_DATA)
            rfi_reader_begin(&l->reader, vector);
    }
    while (at < room) {
        size_t n;

        if (l->range == NULL && (st = block_next(s, l, &err)) != RF_OK)
            break;
        n = gather(s, l, room - at);
        fill(s, l, outs, at, n);
        if (n < room - at) {
            l->range = NULL;
            atomic_fetch_add_explicit(rfi_scope_done(s->scope), l->block_events,
                                      memory_order_release);
        }
        at += n;
    }
    if (st != RF_OK && st != RF_ENOTFOUND) {
        rfi_sql_error_carry(&err, message, sizeof(message));
        rfi_db.function_set_error(info, message);
        at = 0;
    }
    if (st != RF_OK)
        l->range = NULL;
    rfi_db.data_chunk_set_size(chunk, at);
}

/* ---- registration ---------------------------------------------------------------------------- */

/* Names that no view or table has, in statements that were not rewritten: so that preparing the
 * user's own text tells errors with the user's own lines. Such a statement cannot run. */
static void replace(duckdb_replacement_scan_info info, const char *name, void *arg)
{
    rf_engine *engine = arg;
    bool all = strcasecmp(name, "events") == 0;
    duckdb_value type, scope;

    if (!all && strchr(name, '.') == NULL && !rf_engine_has_type(engine, rf_str_from(name)))
        return;
    rfi_db.replacement_scan_set_function_name(info, "rf_events");
    type = rfi_db.create_varchar(all ? "" : name);
    scope = rfi_db.create_varchar("");
    rfi_db.replacement_scan_add_parameter(info, type);
    rfi_db.replacement_scan_add_parameter(info, scope);
    rfi_db.destroy_value(&type);
    rfi_db.destroy_value(&scope);
}

rf_status rfi_events_register(rf_engine *engine, rf_err *err)
{
    duckdb_table_function f;
    duckdb_logical_type text, list, boolean;
    duckdb_state state;

    if (engine->view == NULL)
        return RF_OK;
    f = rfi_db.create_table_function();
    text = rfi_db.create_logical_type(DUCKDB_TYPE_VARCHAR);
    list = rfi_db.create_list_type(text);
    boolean = rfi_db.create_logical_type(DUCKDB_TYPE_BOOLEAN);
    rfi_db.table_function_set_name(f, "rf_events");
    rfi_db.table_function_add_parameter(f, text);
    rfi_db.table_function_add_parameter(f, text);
    rfi_db.table_function_add_named_parameter(f, "fields", list);
    rfi_db.table_function_add_named_parameter(f, "lean", boolean);
    rfi_db.table_function_set_extra_info(f, engine, NULL);
    rfi_db.table_function_set_bind(f, events_bind);
    rfi_db.table_function_set_init(f, events_init);
    rfi_db.table_function_set_local_init(f, events_local_init);
    rfi_db.table_function_set_function(f, events_scan);
    rfi_db.table_function_supports_projection_pushdown(f, true);
    state = rfi_db.register_table_function(engine->system->con, f);
    rfi_db.destroy_table_function(&f);
    rfi_db.destroy_logical_type(&text);
    rfi_db.destroy_logical_type(&list);
    rfi_db.destroy_logical_type(&boolean);
    if (state != DuckDBSuccess)
        return rf_err_set(err, RF_EINTERNAL, "the SQL engine does not take rf_events");
    rfi_db.add_replacement_scan(engine->db, replace, engine, NULL);
    return RF_OK;
}
