/*
 * The mapping file of `refold import`. A value is a column's name, or SQL after "= ", or (for type
 * and source) plain text:
 *
 *   type: flight.landed
 *   source: /bts/2001
 *   id: "= 'F' || row"                 # row: number of the row in the file, from 1
 *   subject: "= origin || '-' || destination"
 *   time: date
 *   data: [delay, distance, origin]    # or a mapping  name: column | "= sql"; absent: all columns
 *   where: "delay IS NOT NULL"
 *   options: "delim = ';'"             # for the engine's reader of the file
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "cli/import_int.h"

typedef struct reader {
    rfi_import_map *map;
    const char *path;
    yaml_document_t doc;
} reader;

static rf_status fail(const reader *r, const yaml_node_t *at, rf_err *err, const char *fmt, ...)
    RF_PRINTF(4, 5);

static rf_status fail(const reader *r, const yaml_node_t *at, rf_err *err, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return rf_err_set(err, RF_EINVAL, "%s:%zu: %s", r->path, at->start_mark.line + 1, text);
}

static const char *scalar(const reader *r, const yaml_node_t *node)
{
    return rf_arena_dup(r->map->texts,
                        (rf_str){(const char *)node->data.scalar.value, node->data.scalar.length})
        .p;
}

/* "name" -> "\"name\"" with quotes doubled. */
static const char *quote_name(rf_arena *texts, const char *name)
{
    rf_buf b;

    rf_buf_init(&b, 1u << 16);
    rf_buf_add_char(&b, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            rf_buf_add_char(&b, '"');
        rf_buf_add_char(&b, *name);
    }
    rf_buf_add_char(&b, '"');
    const char *quoted = rf_arena_dup(texts, rf_buf_str(&b)).p;

    rf_buf_clear(&b);
    return quoted;
}

static const char *as_sql(const reader *r, const char *text)
{
    if (text[0] != '=')
        return quote_name(r->map->texts, text);
    text++;
    while (*text == ' ')
        text++;
    return text;
}

/* libyaml lets duplicate keys pass; the later would silently win. */
static rf_status check_new(reader *r, const yaml_node_pair_t *first, const yaml_node_pair_t *pair,
                           rf_err *err)
{
    yaml_node_t *name = yaml_document_get_node(&r->doc, pair->key);

    for (const yaml_node_pair_t *p = first; p < pair; p++) {
        yaml_node_t *other = yaml_document_get_node(&r->doc, p->key);

        if (other->type == YAML_SCALAR_NODE && strcmp((const char *)other->data.scalar.value,
                                                      (const char *)name->data.scalar.value) == 0)
            return fail(r, name, err, "'%s' is given twice", (const char *)name->data.scalar.value);
    }
    return RF_OK;
}

static rf_status read_field(reader *r, const char *name, const yaml_node_t *value, rf_err *err)
{
    if (r->map->field_count == RFI_IMPORT_FIELDS_MAX)
        return fail(r, value, err, "more than %d fields in data", RFI_IMPORT_FIELDS_MAX);
    if (value->type != YAML_SCALAR_NODE)
        return fail(r, value, err, "a field of data is a column's name or \"= SQL\"");
    r->map->fields[r->map->field_count++] = (rfi_import_field){name, as_sql(r, scalar(r, value))};
    return RF_OK;
}

static rf_status read_data(reader *r, yaml_node_t *node, rf_err *err)
{
    rf_status st = RF_OK;

    if (node->type == YAML_SEQUENCE_NODE) {
        yaml_node_item_t *item = node->data.sequence.items.start;

        for (; st == RF_OK && item < node->data.sequence.items.top; item++) {
            yaml_node_t *value = yaml_document_get_node(&r->doc, *item);

            if (value->type != YAML_SCALAR_NODE || value->data.scalar.value[0] == '=')
                return fail(r, value, err,
                            "a list under data holds columns' names; for SQL write "
                            "a mapping: name: \"= sql\"");
            st = read_field(r, scalar(r, value), value, err);
        }
        return st;
    }
    if (node->type != YAML_MAPPING_NODE)
        return fail(r, node, err, "data is a list of columns or a mapping of names to columns");
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;

    for (; st == RF_OK && pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *name = yaml_document_get_node(&r->doc, pair->key);

        if (name->type != YAML_SCALAR_NODE)
            return fail(r, name, err, "a name under data must be plain text");
        if ((st = check_new(r, node->data.mapping.pairs.start, pair, err)) == RF_OK)
            st = read_field(r, scalar(r, name), yaml_document_get_node(&r->doc, pair->value), err);
    }
    return st;
}

static rf_status read_pair(reader *r, const char *name, yaml_node_t *value, rf_err *err)
{
    rfi_import_map *m = r->map;
    const struct {
        const char *name;
        rfi_value *to;
        bool constant; /* plain text is the value itself, not a column */
    } values[] = {{"id", &m->id, false},
                  {"type", &m->type, true},
                  {"source", &m->source, true},
                  {"subject", &m->subject, false},
                  {"time", &m->time, false},
                  {"correlationid", &m->correlationid, false},
                  {"causationid", &m->causationid, false}};

    if (strcmp(name, "data") == 0)
        return read_data(r, value, err);
    if (value->type != YAML_SCALAR_NODE)
        return fail(r, value, err, "'%s' takes a plain value", name);
    const char *text = scalar(r, value);

    if (strcmp(name, "options") == 0) {
        m->options = text;
        return RF_OK;
    }
    if (strcmp(name, "where") == 0) {
        m->where = text;
        return RF_OK;
    }
    for (size_t i = 0; i < RF_ARRAY_LEN(values); i++) {
        if (strcmp(values[i].name, name) != 0)
            continue;
        if (values[i].constant && text[0] != '=')
            values[i].to->text = text;
        else
            values[i].to->sql = as_sql(r, text);
        return RF_OK;
    }
    return fail(r, value, err,
                "unknown key '%s'; known: id, type, source, subject, time, "
                "correlationid, causationid, data, where, options",
                name);
}

static rf_status read_root(reader *r, rf_err *err)
{
    yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    rf_status st = RF_OK;

    if (root == NULL || root->type != YAML_MAPPING_NODE)
        return rf_err_set(err, RF_EINVAL, "%s: a mapping file holds keys and values", r->path);
    yaml_node_pair_t *pair = root->data.mapping.pairs.start;

    for (; st == RF_OK && pair < root->data.mapping.pairs.top; pair++) {
        yaml_node_t *name = yaml_document_get_node(&r->doc, pair->key);

        if (name->type != YAML_SCALAR_NODE)
            return fail(r, name, err, "a key must be plain text");
        if ((st = check_new(r, root->data.mapping.pairs.start, pair, err)) == RF_OK)
            st = read_pair(r, (const char *)name->data.scalar.value,
                           yaml_document_get_node(&r->doc, pair->value), err);
    }
    if (st != RF_OK)
        return st;
    const struct {
        const char *name;
        const rfi_value *value;
    } needed[] = {{"id", &r->map->id}, {"type", &r->map->type}, {"source", &r->map->source}};

    for (size_t i = 0; i < RF_ARRAY_LEN(needed); i++) {
        if (needed[i].value->text == NULL && needed[i].value->sql == NULL)
            return rf_err_set(err, RF_EINVAL,
                              "%s: '%s' is missing: every event has an id, a type and a source",
                              r->path, needed[i].name);
    }
    return RF_OK;
}

rf_status rfi_import_map_read(const char *path, rfi_import_map *map, rf_err *err)
{
    reader r = {.map = map, .path = path};
    yaml_parser_t parser;
    FILE *file = fopen(path, "re");
    rf_status st;

    memset(map, 0, sizeof *map);
    if (file == NULL)
        return rf_err_set_errno(err, errno, "reading the mapping %s", path);
    map->texts = rf_arena_new(4096);
    RF_ASSERT(map->texts != NULL && yaml_parser_initialize(&parser));
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &r.doc)) {
        st = rf_err_set(err, RF_EINVAL, "%s:%zu: not valid YAML: %s", path,
                        parser.problem_mark.line + 1,
                        parser.problem == NULL ? "unreadable" : parser.problem);
    } else {
        st = read_root(&r, err);
        yaml_document_delete(&r.doc);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return st;
}

void rfi_import_map_clear(rfi_import_map *map)
{
    rf_arena_free(&map->texts);
    memset(map, 0, sizeof *map);
}
