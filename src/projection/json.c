/* Projections as they are shown. */
#include "projection/projection_int.h"

#define COUNT_ROWS_MAX 500000 /* of a state table; larger ones are not counted for a look */

uint64_t rfi_lag_events(rf_projections *p, const rfi_build *b)
{
    rf_position end = {0};
    uint64_t events;

    rf_log_view_position(p->view, &end);
    events = rfi_position_events(&b->position, &end);
    rf_position_clear(&end);
    return events;
}

double rfi_lag_seconds(const rfi_build *b, uint64_t events)
{
    if (events == 0 || b->fresh_mono_us == 0)
        return 0;
    return (double)(rf_mono_us() - b->fresh_mono_us) / 1e6;
}

const char *rfi_projection_state(const rfi_projection *of)
{
    if (of->live != NULL)
        return of->live->status == RFI_HALTED ? "halted" : "live";
    if (of->refused || (of->shadow != NULL && of->shadow->status == RFI_HALTED))
        return "halted";
    return "building";
}

/* Not under the lock: counts the rows of the view, when that is cheap and they may have changed. */
static void rows_count(rf_projections *p, rf_str name)
{
    char view[160] = "", sql[200];
    uint64_t id = 0, applied = 0;
    rfi_projection *of;
    rf_rows *rows = NULL;
    rf_err err = {0};

    pthread_mutex_lock(&p->lock);
    of = rfi_projection_find(p, name);
    if (of != NULL && of->live != NULL && of->live->rows <= COUNT_ROWS_MAX &&
        of->live->view_rows_applied != of->live->applied + 1) {
        rfi_state_view_name(of, view);
        id = of->live->id;
        applied = of->live->applied;
    }
    pthread_mutex_unlock(&p->lock);
    if (view[0] == '\0')
        return;
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", view);
    pthread_mutex_lock(&p->ask_lock);
    if (rf_conn_query(p->ask, sql, &rows, &err) == RF_OK && rf_rows_next(rows, &err)) {
        pthread_mutex_lock(&p->lock);
        of = rfi_projection_find(p, name);
        if (of != NULL && of->live != NULL && of->live->id == id) {
            of->live->view_rows = (uint64_t)rf_rows_i64(rows, 0);
            of->live->view_rows_applied = applied + 1;
        }
        pthread_mutex_unlock(&p->lock);
    }
    rf_rows_free(&rows);
    pthread_mutex_unlock(&p->ask_lock);
}

static uint64_t rows_of(const rfi_build *b)
{
    return b->view_rows_applied > 0 ? b->view_rows : b->rows_merged;
}

static void progress_add(const rfi_build *b, rf_buf *out)
{
    uint64_t done = 0, total = 0;
    double seconds;

    rf_buf_add_cstr(out, ",\"progress\":");
    if (b == NULL || b->status == RFI_HALTED) {
        rf_buf_add_cstr(out, "null");
        return;
    }
    rf_scope_progress(b->scope, &done, &total);
    if (b->status == RFI_QUEUED)
        done = total = 0;
    seconds = b->status == RFI_BUILDING ? (double)(rf_mono_us() - b->started_mono_us) / 1e6 : 0;
    rf_buf_addf(out, "{\"done\":%llu,\"total\":%llu,\"eventsPerSecond\":%.0f}",
                (unsigned long long)done, (unsigned long long)total,
                seconds > 0 ? (double)done / seconds : 0.0);
}

static void rebuild_add(const rfi_build *b, rf_buf *out)
{
    rf_buf_add_cstr(out, ",\"lastRebuild\":");
    if (b == NULL || b->rebuild_seconds <= 0)
        rf_buf_add_cstr(out, "null");
    else
        rf_buf_addf(out, "{\"events\":%llu,\"seconds\":%.6f,\"eventsPerSecond\":%.0f}",
                    (unsigned long long)b->rebuild_events, b->rebuild_seconds,
                    (double)b->rebuild_events / b->rebuild_seconds);
}

static const char *reason_of(const rfi_projection *of)
{
    if (of->refused)
        return of->reason;
    if (of->live != NULL && of->live->reason[0] != '\0')
        return of->live->reason;
    return of->shadow != NULL ? of->shadow->reason : "";
}

/* Under the lock. */
static void projection_add(rf_projections *p, const rfi_projection *of, rf_buf *out)
{
    const rfi_build *serving = of->live != NULL ? of->live : of->shadow;
    uint64_t events;

    rf_buf_add_cstr(out, "{\"name\":");
    rf_buf_add_json_str(out, rf_str_from(of->name));
    rf_buf_addf(out, ",\"version\":%llu,\"state\":\"%s\",\"sql\":",
                (unsigned long long)(serving != NULL ? serving->version : of->version),
                rfi_projection_state(of));
    rf_buf_add_json_str(out, rf_str_from(serving != NULL ? serving->sql : of->sql));
    rf_buf_add_cstr(out, ",\"mode\":");
    rf_buf_add_json_str(out, rf_str_from(of->mode));
    rf_buf_add_cstr(out, ",\"owner\":");
    if (of->owner != NULL && of->owner[0] != '\0')
        rf_buf_add_json_str(out, rf_str_from(of->owner));
    else
        rf_buf_add_cstr(out, "null");
    rf_buf_add_cstr(out, ",\"position\":\"");
    if (of->live != NULL)
        rf_position_encode(&of->live->position, out);
    events = serving != NULL ? rfi_lag_events(p, serving) : 0;
    rf_buf_addf(out, "\",\"lag\":{\"events\":%llu,\"seconds\":%.3f},\"rows\":%llu",
                (unsigned long long)events,
                of->live != NULL ? rfi_lag_seconds(of->live, events) : 0.0,
                (unsigned long long)(of->live != NULL ? rows_of(of->live) : 0));
    progress_add(of->shadow, out);
    rebuild_add(of->live, out);
    if (reason_of(of)[0] != '\0') {
        rf_buf_add_cstr(out, ",\"reason\":");
        rf_buf_add_json_str(out, rf_str_from(reason_of(of)));
    }
    rf_buf_add_char(out, '}');
}

rf_status rf_projections_json(rf_projections *p, rf_str name, rf_buf *out, rf_err *err)
{
    rfi_projection *of;
    bool there;

    if (rf_projection_name_valid(name))
        rows_count(p, name);
    pthread_mutex_lock(&p->lock);
    of = rfi_projection_find(p, name);
    there = of != NULL && of->defined && !of->internal;
    if (there)
        projection_add(p, of, out);
    pthread_mutex_unlock(&p->lock);
    if (!there)
        return rf_err_set(err, RF_ENOTFOUND, "there is no projection '%.*s'", RF_STR_ARG(name));
    return RF_OK;
}

void rf_projections_json_all(rf_projections *p, rf_buf *out)
{
    char(*names)[64] = NULL;
    size_t count = 0;
    bool first = true;

    pthread_mutex_lock(&p->lock);
    names = rf_xcalloc(p->count + 1, sizeof(*names));
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i]->defined && !p->items[i]->internal)
            snprintf(names[count++], sizeof(*names), "%s", p->items[i]->name);
    }
    pthread_mutex_unlock(&p->lock);
    rf_buf_add_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        size_t start = out->n;
        rf_err err = {0};

        if (!first)
            rf_buf_add_char(out, ',');
        if (rf_projections_json(p, rf_str_from(names[i]), out, &err) == RF_OK)
            first = false;
        else
            out->n = start; /* dropped meanwhile */
    }
    rf_buf_add_char(out, ']');
    free(names);
}

void rf_projections_each(rf_projections *p, void (*each)(void *arg, const rf_projection_stats *s),
                         void *arg)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        const rfi_projection *of = p->items[i];
        const rfi_build *b = of->live != NULL ? of->live : of->shadow;
        rf_projection_stats s = {.name = of->name, .state = rfi_projection_state(of)};

        if (!of->defined || of->internal)
            continue;
        s.version = b != NULL ? b->version : of->version;
        if (b != NULL) {
            s.lag_events = rfi_lag_events(p, b);
            s.lag_seconds = rfi_lag_seconds(b, s.lag_events);
            s.rows = rows_of(b);
            s.applied_events = b->applied;
            s.batches = b->batches;
        }
        if (of->shadow != NULL && of->shadow->status == RFI_BUILDING)
            rf_scope_progress(of->shadow->scope, &s.rebuild_done, &s.rebuild_total);
        each(arg, &s);
    }
    pthread_mutex_unlock(&p->lock);
}
