/*
 * The control plane is in the log: events of the system domain say which projections and schemas
 * there are. Folding them from the beginning gives the definitions; there is no second source.
 *
 *   refold.projection.defined  subject: name  {"version","sql","mode","owner"}
 *   refold.projection.rebuild  subject: name  {"version"}: the same definition as a new version
 *   refold.projection.dropped  subject: name  {"version"}
 *   refold.projection.switched subject: name  {"version",…}: told afterwards, for the audit trail
 *   refold.schema.registered   subject: type  {"version","schema"}
 *
 * Unknown types and members are left alone: they belong to later versions or other modules.
 */
#include "projection/projection_int.h"

static void text_set(char **to, const char *text)
{
    free(*to);
    *to = rf_xstrdup(text != NULL ? text : "");
}

/* ---- one event; under the lock --------------------------------------------------------------- */

static void defined_fold(rf_projections *p, rf_str name, yyjson_val *data)
{
    const char *sql = yyjson_get_str(yyjson_obj_get(data, "sql"));
    rfi_projection *of;

    if (!rf_projection_name_valid(name) || sql == NULL)
        return;
    of = rfi_projection_add(p, name);
    of->defined = true;
    of->version = RF_MAX(of->version + 1, yyjson_get_uint(yyjson_obj_get(data, "version")));
    of->refused = false;
    text_set(&of->sql, sql);
    text_set(&of->mode, yyjson_get_str(yyjson_obj_get(data, "mode")));
    text_set(&of->owner, yyjson_get_str(yyjson_obj_get(data, "owner")));
}

static void rebuild_fold(rf_projections *p, rf_str name)
{
    rfi_projection *of = rfi_projection_find(p, name);

    if (of == NULL || !of->defined)
        return;
    of->version++;
    of->refused = false;
}

static void dropped_fold(rf_projections *p, rf_str name)
{
    rfi_projection *of = rfi_projection_find(p, name);

    if (of != NULL)
        of->defined = false;
}

static void schema_fold(rf_projections *p, rf_str type, yyjson_val *data)
{
    yyjson_val *schema = yyjson_obj_get(data, "schema");
    uint32_t version = (uint32_t)yyjson_get_uint(yyjson_obj_get(data, "version"));
    const rf_columns *now = rf_engine_columns(p->engine, type);
    rf_columns *columns = NULL;
    rf_err err = {0};
    size_t n = 0;
    char *json = yyjson_val_write(schema, 0, &n);

    if (json == NULL ||
        rf_columns_parse(type, version, (rf_str){json, n}, &columns, &err) != RF_OK) {
        rf_diag(RF_DIAG_WARN, "schema of %.*s version %u in the log cannot be read: %s",
                RF_STR_ARG(type), version, json == NULL ? "no schema" : err.text);
        free(json);
        return;
    }
    p->schemas = rf_xrealloc(p->schemas, (p->schema_count + 1) * sizeof(*p->schemas));
    p->schemas[p->schema_count++] = (rfi_schema){
        .type = rf_xstrndup(type), .json = rf_xstrndup((rf_str){json, n}), .version = version};
    free(json);
    if (now == NULL || now->version <= version)
        rf_engine_set_columns(p->engine, columns);
    else
        rf_columns_free(&columns);
}

static void event_fold(rf_projections *p, const rf_event *e)
{
    yyjson_doc *doc = yyjson_read(e->data.p, e->data.n, 0);
    yyjson_val *data = yyjson_doc_get_root(doc);

    if (rf_str_eq(e->type, RF_STR("refold.projection.defined")))
        defined_fold(p, e->subject, data);
    else if (rf_str_eq(e->type, RF_STR("refold.projection.rebuild")))
        rebuild_fold(p, e->subject);
    else if (rf_str_eq(e->type, RF_STR("refold.projection.dropped")))
        dropped_fold(p, e->subject);
    else if (rf_str_eq(e->type, RF_STR("refold.schema.registered")))
        schema_fold(p, e->subject, data);
    yyjson_doc_free(doc);
}

/* ---- reading the domain ---------------------------------------------------------------------- */

static rf_status partition_fold(rf_projections *p, uint32_t partition, uint64_t from, uint64_t to,
                                rf_err *err)
{
    rf_str domain = RF_STR(RFI_SYSTEM_DOMAIN);
    rf_block_ref *refs = NULL;
    rf_block *block = rf_block_new();
    size_t count = 0;
    rf_status st;

    st = rf_log_view_blocks(p->view, domain, partition, from, to, &refs, &count, err);
    for (size_t i = 0; i < count && st == RF_OK; i++) {
        rf_block_event head;
        uint32_t cursor = 0;
        rf_event event;

        st = rf_block_load(p->view, domain, partition, &refs[i], block, err);
        if (st != RF_OK)
            break;
        pthread_mutex_lock(&p->lock);
        while (rf_block_next(block, &cursor, &head)) {
            if (head.offset < from || head.offset >= to)
                continue;
            rf_block_event_full(block, cursor, &event);
            event_fold(p, &event);
        }
        pthread_mutex_unlock(&p->lock);
    }
    free(refs);
    rf_block_free(&block);
    if (st != RF_OK)
        rf_err_note(err, "reading the definitions in domain " RFI_SYSTEM_DOMAIN);
    return st;
}

rf_status rfi_control_fold(rf_projections *p, bool *changed, rf_err *err)
{
    rf_position end = {0};
    rf_status st = RF_OK;

    *changed = false;
    rf_log_view_position(p->view, &end);
    for (size_t i = 0; i < end.count && st == RF_OK; i++) {
        rf_str domain = rf_str_from(end.parts[i].domain);
        uint32_t partition = end.parts[i].partition;
        uint64_t from = rf_position_get(&p->control, domain, partition);

        if (!rf_str_eq(domain, RF_STR(RFI_SYSTEM_DOMAIN)) || from >= end.parts[i].next)
            continue;
        st = partition_fold(p, partition, from, end.parts[i].next, err);
        if (st != RF_OK)
            break;
        *changed = true;
        pthread_mutex_lock(&p->lock);
        rf_position_raise(&p->control, domain, partition, end.parts[i].next);
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
    rf_position_clear(&end);
    return st;
}

rf_status rfi_control_append(rf_projections *p, const char *type, rf_str subject, rf_buf *data,
                             rf_position *position, rf_err *err)
{
    if (data->failed)
        return rf_err_set(err, RF_ETOOBIG, "the definition is too long");
    return p->options.append(p->options.append_arg, rf_str_from(type), subject, rf_buf_str(data),
                             position, err);
}
