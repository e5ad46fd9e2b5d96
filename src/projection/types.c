/* Event types and schemas. The types that were seen come from a projection of our own: the same
 * machinery as everybody's, hidden from the list. */
#include "projection/projection_int.h"

#define NEAREST_MAX 3
#define WAIT_US 200000

/* `applied` + 1 of the build that serves the types; 0: there is none. Under the lock. */
static uint64_t types_stamp(rf_projections *p)
{
    rfi_projection *of = rfi_projection_find(p, RF_STR(RFI_TYPES));

    return of != NULL && of->live != NULL ? (of->live->id << 32) + of->live->applied + 1 : 0;
}

void rfi_types_refresh(rf_projections *p, rf_conn *conn)
{
    char **names = NULL;
    size_t count = 0;
    rf_rows *rows = NULL;
    rf_err err = {0};
    uint64_t stamp;
    bool same;

    pthread_mutex_lock(&p->lock);
    stamp = types_stamp(p);
    same = stamp == 0 || stamp == p->types_applied;
    pthread_mutex_unlock(&p->lock);
    if (same ||
        rf_conn_query(conn, "SELECT type FROM rf.types ORDER BY type", &rows, &err) != RF_OK)
        return; /* switching at this moment: next time */
    while (rf_rows_next(rows, &err)) {
        names = rf_xrealloc(names, (count + 1) * sizeof(*names));
        names[count++] = rf_xstrndup(rf_rows_str(rows, 0));
        rf_engine_add_type(p->engine, rf_rows_str(rows, 0));
    }
    rf_rows_free(&rows);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->type_count; i++)
        free(p->types[i]);
    free(p->types);
    p->types = names;
    p->type_count = count;
    p->types_applied = stamp;
    pthread_mutex_unlock(&p->lock);
}

static bool known_now(rf_projections *p, rf_str type)
{
    bool known = false;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->type_count && !known; i++)
        known = rf_str_eq(rf_str_from(p->types[i]), type);
    pthread_mutex_unlock(&p->lock);
    return known;
}

/* Up to three names by edit distance, of those that are near at all. */
static void nearest_add(rf_projections *p, rf_str type, rf_buf *out)
{
    size_t limit = RF_MAX(type.n / 2, 3);
    bool *taken;

    pthread_mutex_lock(&p->lock);
    taken = rf_xcalloc(p->type_count + 1, sizeof(*taken));
    for (int n = 0; n < NEAREST_MAX; n++) {
        size_t best = SIZE_MAX, best_distance = limit + 1;

        for (size_t i = 0; i < p->type_count; i++) {
            size_t distance = rf_edit_distance(rf_str_from(p->types[i]), type, limit + 1);

            if (!taken[i] && distance < best_distance) {
                best = i;
                best_distance = distance;
            }
        }
        if (best == SIZE_MAX)
            break;
        taken[best] = true;
        if (n > 0)
            rf_buf_add_char(out, ',');
        rf_buf_add_json_str(out, rf_str_from(p->types[best]));
    }
    free(taken);
    pthread_mutex_unlock(&p->lock);
}

bool rf_projections_type_known(rf_projections *p, rf_str type, rf_buf *nearest)
{
    rf_position end = {0};
    rf_str own = RF_STR(RFI_TYPES);
    rf_err err = {0};

    if (known_now(p, type))
        return true;
    /* Its first event may be on its way. */
    rf_log_view_position(p->view, &end);
    if (rf_projections_wait(p, &own, 1, &end, rf_mono_us() + WAIT_US, &err) == RF_OK) {
        pthread_mutex_lock(&p->ask_lock);
        rfi_types_refresh(p, p->ask);
        pthread_mutex_unlock(&p->ask_lock);
    }
    rf_position_clear(&end);
    if (known_now(p, type))
        return true;
    if (nearest != NULL)
        nearest_add(p, type, nearest);
    return false;
}

void rf_projections_types_json(rf_projections *p, rf_buf *out)
{
    static const char *const names[] = {
        "{\"type\":", ",\"events\":", ",\"firstTime\":", ",\"lastTime\":"};
    rf_rows *rows = NULL;
    rf_err err = {0};
    bool first = true;

    rf_buf_add_char(out, '[');
    pthread_mutex_lock(&p->ask_lock);
    if (rf_conn_query(p->ask, "SELECT type, events, first, last FROM rf.types ORDER BY type", &rows,
                      &err) == RF_OK) {
        while (rf_rows_next(rows, &err)) {
            if (!first)
                rf_buf_add_char(out, ',');
            first = false;
            for (size_t i = 0; i < RF_ARRAY_LEN(names); i++) {
                rf_buf_add_cstr(out, names[i]);
                rf_rows_json(rows, i, out);
            }
            rf_buf_add_char(out, '}');
        }
    }
    rf_rows_free(&rows);
    pthread_mutex_unlock(&p->ask_lock);
    rf_buf_add_char(out, ']');
}

/* ---- schemas --------------------------------------------------------------------------------- */

/* Under the lock. */
static const rfi_schema *schema_find(const rf_projections *p, rf_str type, uint32_t version)
{
    for (size_t i = p->schema_count; i-- > 0;) {
        if (p->schemas[i].version == version && rf_str_eq(rf_str_from(p->schemas[i].type), type))
            return &p->schemas[i];
    }
    return NULL;
}

void rf_projections_schemas_json(rf_projections *p, rf_buf *out)
{
    bool first = true;

    rf_buf_add_char(out, '[');
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->schema_count; i++) {
        const rfi_schema *s = &p->schemas[i];

        if (schema_find(p, rf_str_from(s->type), s->version) != s)
            continue; /* registered again later */
        rf_buf_add_cstr(out, first ? "{\"type\":" : ",{\"type\":");
        first = false;
        rf_buf_add_json_str(out, rf_str_from(s->type));
        rf_buf_addf(out, ",\"version\":%u,\"schema\":%s}", s->version, s->json);
    }
    pthread_mutex_unlock(&p->lock);
    rf_buf_add_char(out, ']');
}

/* The same JSON without white space, as it comes back from the log. */
static char *compact(rf_str json, size_t *n)
{
    yyjson_doc *doc = yyjson_read(json.p, json.n, 0);
    char *text = doc != NULL ? yyjson_write(doc, 0, n) : NULL;

    yyjson_doc_free(doc);
    return text;
}

static bool schema_wait(rf_projections *p, const rf_position *position)
{
    int64_t deadline = rf_mono_us() + 10000000;
    bool reached;

    pthread_mutex_lock(&p->lock);
    while (!(reached = rf_position_reached(&p->control, position)) && !p->stopping) {
        if (!rfi_changed_wait(p, deadline))
            break;
    }
    pthread_mutex_unlock(&p->lock);
    return reached;
}

rf_status rf_projections_put_schema(rf_projections *p, rf_str type, uint32_t version, rf_str json,
                                    rf_projection_put *result, rf_err *err)
{
    rf_columns *columns = NULL;
    rf_position position = {0};
    const rfi_schema *before;
    size_t n = 0;
    char *text = NULL;
    rf_buf data;
    rf_status st;

    st = rf_columns_parse(type, version, json, &columns, err);
    if (st != RF_OK)
        return st;
    rf_columns_free(&columns);
    text = compact(json, &n);
    if (text == NULL)
        return rf_err_set(err, RF_EINVAL, "the schema is no JSON");
    rf_buf_init(&data, 64u << 20);
    pthread_mutex_lock(&p->put_lock);
    pthread_mutex_lock(&p->lock);
    before = schema_find(p, type, version);
    *result = before == NULL                                            ? RF_PUT_CREATED
              : rf_str_eq(rf_str_from(before->json), (rf_str){text, n}) ? RF_PUT_SAME
                                                                        : RF_PUT_CHANGED;
    pthread_mutex_unlock(&p->lock);
    if (*result != RF_PUT_SAME) {
        rf_buf_addf(&data, "{\"version\":%u,\"schema\":", version);
        rf_buf_add(&data, text, n);
        rf_buf_add_char(&data, '}');
        st = rfi_control_append(p, "refold.schema.registered", type, &data, &position, err);
        if (st == RF_OK && !schema_wait(p, &position))
            st = rf_err_set(err, RF_EBUSY,
                            "the schema is in the log, but the read side has not seen it yet");
    }
    pthread_mutex_unlock(&p->put_lock);
    rf_position_clear(&position);
    rf_buf_clear(&data);
    free(text);
    return st;
}
