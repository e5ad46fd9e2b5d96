/* Opening and closing, changing definitions, and waiting. */
#include "projection/projection_int.h"

#define BATCH_EVENTS_DEFAULT 262144
#define FOLD_WAIT_US 10000000

/* ---- opening --------------------------------------------------------------------------------- */

static void own_define(rf_projections *p)
{
    rfi_projection *of = rfi_projection_add(p, RF_STR(RFI_TYPES));

    of->internal = of->defined = true;
    of->version = 1;
    of->sql = rf_xstrdup(RFI_TYPES_SQL);
    of->mode = rf_xstrdup("async");
    of->owner = rf_xstrdup("");
}

static rf_status threads_start(rf_projections *p, rf_err *err)
{
    const struct {
        pthread_t *thread;
        bool *up;
        void *(*run)(void *arg);
    } all[] = {{&p->worker, &p->worker_up, rfi_worker_run},
               {&p->builder, &p->builder_up, rfi_builder_run},
               {&p->janitor, &p->janitor_up, rfi_janitor_run}};

    for (size_t i = 0; i < RF_ARRAY_LEN(all); i++) {
        int rc = pthread_create(all[i].thread, NULL, all[i].run, p);

        if (rc != 0)
            return rf_err_set_errno(err, rc, "starting a thread");
        *all[i].up = true;
    }
    return RF_OK;
}

static void lock_init(rf_projections *p)
{
    pthread_condattr_t clock;

    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->put_lock, NULL);
    pthread_mutex_init(&p->ask_lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &clock);
    pthread_condattr_destroy(&clock);
}

static rf_status open_inside(rf_projections *p, rf_err *err)
{
    rf_conn **conns[] = {&p->worker_conn, &p->builder_conn, &p->janitor_conn, &p->ask};
    bool changed;
    rf_status st = RF_OK;

    for (size_t i = 0; i < RF_ARRAY_LEN(conns) && st == RF_OK; i++)
        st = rf_conn_open(p->engine, conns[i], err);
    if (st == RF_OK)
        st = rfi_state_open(p, p->worker_conn, err);
    if (st == RF_OK)
        st = rfi_control_fold(p, &changed, err);
    if (st == RF_OK)
        st = rfi_worker_reconcile_stored(p, err);
    if (st == RF_OK)
        st = threads_start(p, err);
    return st;
}

rf_status rf_projections_open(const rf_projections_options *options, rf_projections **out,
                              rf_err *err)
{
    rf_projections *p = rf_xcalloc(1, sizeof(*p));
    rf_status st;

    *out = NULL;
    p->options = *options;
    if (p->options.batch_events_max == 0)
        p->options.batch_events_max = BATCH_EVENTS_DEFAULT;
    p->engine = options->engine;
    p->view = options->view;
    lock_init(p);
    own_define(p);
    st = open_inside(p, err);
    if (st != RF_OK) {
        rf_err_note(err, "opening the projections");
        rf_projections_close(&p);
    }
    *out = p;
    return st;
}

static void threads_stop(rf_projections *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (p->worker_up)
        pthread_join(p->worker, NULL);
    /* A statement of theirs may run for long; an interrupt between two statements is lost. */
    while (p->builder_up || p->janitor_up) {
        struct timespec soon;

        rf_conn_interrupt(p->builder_conn);
        rf_conn_interrupt(p->janitor_conn);
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 20000000;
        if (soon.tv_nsec >= 1000000000) {
            soon.tv_sec++;
            soon.tv_nsec -= 1000000000;
        }
        if (p->builder_up && pthread_timedjoin_np(p->builder, NULL, &soon) == 0)
            p->builder_up = false;
        if (p->janitor_up && pthread_timedjoin_np(p->janitor, NULL, &soon) == 0)
            p->janitor_up = false;
    }
}

static void lists_free(rf_projections *p)
{
    while (p->retired != NULL) {
        rfi_build *b = p->retired;

        p->retired = b->next_retired;
        rfi_build_free(&b);
    }
    for (size_t i = 0; i < p->count; i++) {
        rfi_build_free(&p->items[i]->live);
        rfi_build_free(&p->items[i]->shadow);
        rfi_projection_free(p->items[i]);
    }
    for (size_t i = 0; i < p->schema_count; i++) {
        free(p->schemas[i].type);
        free(p->schemas[i].json);
    }
    for (size_t i = 0; i < p->type_count; i++)
        free(p->types[i]);
    free(p->items);
    free(p->schemas);
    free(p->types);
    rf_position_clear(&p->control);
}

void rf_projections_close(rf_projections **projections)
{
    rf_projections *p = *projections;

    if (p == NULL)
        return;
    threads_stop(p);
    rf_stmt_free(&p->checkpoint);
    lists_free(p);
    rf_conn_close(&p->worker_conn);
    rf_conn_close(&p->builder_conn);
    rf_conn_close(&p->janitor_conn);
    rf_conn_close(&p->ask);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->put_lock);
    pthread_mutex_destroy(&p->ask_lock);
    free(p);
    *projections = NULL;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* The worker has folded the system domain up to here. */
static rf_status folded_wait(rf_projections *p, const rf_position *position, rf_err *err)
{
    int64_t deadline = rf_mono_us() + FOLD_WAIT_US;
    bool reached;

    pthread_mutex_lock(&p->lock);
    while (!(reached = rf_position_reached(&p->control, position)) && !p->stopping) {
        if (!rfi_changed_wait(p, deadline))
            break;
    }
    pthread_mutex_unlock(&p->lock);
    if (!reached)
        return rf_err_set(err, RF_EBUSY,
                          "the change is in the log, but the read side has not seen it yet");
    return RF_OK;
}

/* Under the lock: is there nothing more to wait for? */
static bool version_settled(const rfi_projection *of, uint64_t version)
{
    if (of->version != version || !of->defined || of->refused)
        return true;
    if (of->live != NULL && of->live->version == version)
        return true;
    return of->shadow != NULL && of->shadow->version == version && of->shadow->status == RFI_HALTED;
}

static void version_wait(rf_projections *p, rf_str name, uint64_t version, uint32_t wait_ms)
{
    int64_t deadline = rf_mono_us() + (int64_t)wait_ms * 1000;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        const rfi_projection *of = rfi_projection_find(p, name);

        if (of == NULL || version_settled(of, version) || p->stopping ||
            !rfi_changed_wait(p, deadline))
            break;
    }
    pthread_mutex_unlock(&p->lock);
}

/* Under the lock; sets *err when there is nothing to wait for. */
static bool applied(rf_projections *p, rf_str name, const rf_position *position, rf_err *err)
{
    const rfi_projection *of = rfi_projection_find(p, name);

    if (of == NULL || !of->defined) {
        rf_err_set(err, RF_ENOTFOUND, "there is no projection '%.*s'", RF_STR_ARG(name));
        return true;
    }
    if (of->live != NULL && rf_position_reached(&of->live->position, position))
        return true;
    if (strcmp(rfi_projection_state(of), "halted") == 0) {
        rf_err_set(err, RF_ECANCELED, "projection %s is halted: %s", of->name,
                   of->refused        ? of->reason
                   : of->live != NULL ? of->live->reason
                                      : of->shadow->reason);
        return true;
    }
    return false;
}

rf_status rf_projections_wait(rf_projections *p, const rf_str *names, size_t count,
                              const rf_position *position, int64_t deadline_mono_us, rf_err *err)
{
    rf_err why = {0};

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < count && why.status == RF_OK; i++) {
        while (!applied(p, names[i], position, &why)) {
            if (p->stopping)
                rf_err_set(&why, RF_ECANCELED, "the read side is stopping");
            else if (!rfi_changed_wait(p, deadline_mono_us))
                rf_err_set(&why, RF_ETIMEOUT,
                           "projection %.*s has not applied that position in time",
                           RF_STR_ARG(names[i]));
            if (why.status != RF_OK)
                break;
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (why.status != RF_OK)
        *err = why;
    return why.status;
}

void rf_projections_position(rf_projections *p, rf_str name, rf_position *out)
{
    const rfi_projection *of;

    rf_position_clear(out);
    pthread_mutex_lock(&p->lock);
    of = rfi_projection_find(p, name);
    if (of != NULL && of->live != NULL)
        rf_position_copy(out, &of->live->position);
    pthread_mutex_unlock(&p->lock);
}

bool rf_projections_is_relation(rf_projections *p, rf_str name)
{
    const rfi_projection *of;
    bool is;

    pthread_mutex_lock(&p->lock);
    of = rfi_projection_find(p, name);
    is = of != NULL && of->live != NULL && !of->internal;
    pthread_mutex_unlock(&p->lock);
    return is;
}

rf_status rf_projections_ready(rf_projections *p, rf_str name, rf_err *err)
{
    const rfi_projection *of;
    uint64_t done = 0, total = 0;
    rf_err why = {0};

    pthread_mutex_lock(&p->lock);
    of = rfi_projection_find(p, name);
    if (of != NULL && of->defined && !of->internal && of->live == NULL) {
        if (strcmp(rfi_projection_state(of), "halted") == 0) {
            rf_err_set(&why, RF_EBUSY, "projection %s is halted: %s", of->name,
                       of->refused ? of->reason : of->shadow->reason);
        } else {
            if (of->shadow != NULL && of->shadow->status != RFI_QUEUED)
                rf_scope_progress(of->shadow->scope, &done, &total);
            rf_err_set(&why, RF_EBUSY, "projection %s is being built: %llu of %llu events",
                       of->name, (unsigned long long)done, (unsigned long long)total);
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (why.status != RF_OK)
        *err = why;
    return why.status;
}

/* ---- changing -------------------------------------------------------------------------------- */

/* Plans the text without keeping anything; *type gets the event type that it reads. */
static rf_status definition_check(rf_projections *p, rf_str name, rf_str sql, char **type,
                                  rf_sql_where *where, rf_err *err)
{
    rfi_plan_request request = {.engine = p->engine,
                                .conn = p->ask,
                                .sql = sql,
                                .scope = "",
                                .projection = rfi_projection_name_taken,
                                .arg = p};
    rfi_plan *plan = NULL;
    rf_status st;

    if (!rf_projection_name_valid(name))
        return rf_err_set(
            err, RF_EINVAL,
            "'%.*s' is no name for a projection: 1..63 of a-z, 0-9 and _, beginning with "
            "a letter; not events, not refold..",
            RF_STR_ARG(name));
    pthread_mutex_lock(&p->ask_lock);
    st = rfi_plan_make(&request, &plan, where, err);
    pthread_mutex_unlock(&p->ask_lock);
    if (st == RF_OK)
        *type = rf_xstrdup(plan->type);
    rfi_plan_free(&plan);
    return st;
}

static void type_warn(rf_projections *p, const char *type, rf_buf *warnings)
{
    rf_buf near, text;

    if (type == NULL || type[0] == '\0' || warnings == NULL)
        return;
    rf_buf_init(&near, 65536);
    rf_buf_init(&text, 65536);
    if (!rf_projections_type_known(p, rf_str_from(type), &near)) {
        rf_buf_addf(&text, "no event of type \"%s\" has been seen yet", type);
        if (near.n > 0)
            rf_buf_addf(&text, "; known types near it: %.*s", (int)near.n, near.p);
        if (warnings->n > 0)
            rf_buf_add_char(warnings, ',');
        rf_buf_add_json_str(warnings, rf_buf_str(&text));
    }
    rf_buf_clear(&near);
    rf_buf_clear(&text);
}

/* Under the put lock: what would change, and the version it would get. */
static rf_projection_put compare(rf_projections *p, rf_str name, rf_str sql, uint64_t *version)
{
    const rfi_projection *of;
    rf_projection_put result = RF_PUT_CREATED;

    pthread_mutex_lock(&p->lock);
    of = rfi_projection_find(p, name);
    *version = of != NULL ? of->version + 1 : 1;
    if (of != NULL && of->defined) {
        result = rf_str_eq(rf_str_from(of->sql), sql) ? RF_PUT_SAME : RF_PUT_CHANGED;
        if (result == RF_PUT_SAME)
            *version = of->version;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

static rf_status define(rf_projections *p, rf_str name, rf_str sql, const rfi_header *header,
                        rf_projection_put *result, uint64_t *version, rf_err *err)
{
    rf_position position = {0};
    rf_status st = RF_OK;
    rf_buf data;

    rf_buf_init(&data, 64u << 20);
    pthread_mutex_lock(&p->put_lock);
    *result = compare(p, name, sql, version);
    if (*result != RF_PUT_SAME) {
        rf_buf_addf(&data, "{\"version\":%llu,\"sql\":", (unsigned long long)*version);
        rf_buf_add_json_str(&data, sql);
        rf_buf_add_cstr(&data, ",\"mode\":");
        rf_buf_add_json_str(&data, rf_str_from(header->mode != NULL ? header->mode : "async"));
        if (header->owner != NULL) {
            rf_buf_add_cstr(&data, ",\"owner\":");
            rf_buf_add_json_str(&data, rf_str_from(header->owner));
        }
        rf_buf_add_char(&data, '}');
        st = rfi_control_append(p, "refold.projection.defined", name, &data, &position, err);
        if (st == RF_OK)
            st = folded_wait(p, &position, err);
    }
    pthread_mutex_unlock(&p->put_lock);
    rf_position_clear(&position);
    rf_buf_clear(&data);
    return st;
}

rf_status rf_projections_put(rf_projections *p, rf_str name, rf_str sql, uint32_t wait_ms,
                             rf_projection_put *result, rf_sql_where *where, rf_buf *warnings,
                             rf_err *err)
{
    rfi_header header = {0};
    char *type = NULL;
    uint64_t version;
    rf_status st;

    if (where != NULL)
        *where = (rf_sql_where){0};
    st = rfi_header_read(sql, &header, where, err);
    if (st == RF_OK)
        st = definition_check(p, name, sql, &type, where, err);
    if (st == RF_OK)
        st = define(p, name, sql, &header, result, &version, err);
    if (st == RF_OK) {
        type_warn(p, type, warnings);
        version_wait(p, name, version, wait_ms);
    }
    rfi_header_clear(&header);
    free(type);
    return st;
}

/* Appends an event about a defined projection and waits until it is folded. */
static rf_status tell(rf_projections *p, const char *type, rf_str name, uint64_t version,
                      rf_err *err)
{
    rf_position position = {0};
    rf_buf data;
    rf_status st;

    rf_buf_init(&data, 256);
    rf_buf_addf(&data, "{\"version\":%llu}", (unsigned long long)version);
    st = rfi_control_append(p, type, name, &data, &position, err);
    if (st == RF_OK)
        st = folded_wait(p, &position, err);
    rf_position_clear(&position);
    rf_buf_clear(&data);
    return st;
}

/* Under the put lock. */
static rf_status state_of(rf_projections *p, rf_str name, uint64_t *version, bool *building,
                          rf_err *err)
{
    const rfi_projection *of;
    bool there;

    pthread_mutex_lock(&p->lock);
    of = rfi_projection_find(p, name);
    there = of != NULL && of->defined && !of->internal;
    if (there) {
        *version = of->version;
        *building = !of->refused && !version_settled(of, of->version);
    }
    pthread_mutex_unlock(&p->lock);
    if (!there)
        return rf_err_set(err, RF_ENOTFOUND, "there is no projection '%.*s'", RF_STR_ARG(name));
    return RF_OK;
}

static void gone_wait(rf_projections *p, rf_str name)
{
    int64_t deadline = rf_mono_us() + FOLD_WAIT_US;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        const rfi_projection *of = rfi_projection_find(p, name);

        if (of == NULL || of->defined || (of->live == NULL && of->shadow == NULL) || p->stopping ||
            !rfi_changed_wait(p, deadline))
            break;
    }
    pthread_mutex_unlock(&p->lock);
}

rf_status rf_projections_drop(rf_projections *p, rf_str name, rf_err *err)
{
    uint64_t version = 0;
    bool building;
    rf_status st;

    pthread_mutex_lock(&p->put_lock);
    st = state_of(p, name, &version, &building, err);
    if (st == RF_OK)
        st = tell(p, "refold.projection.dropped", name, version, err);
    if (st == RF_OK)
        gone_wait(p, name);
    pthread_mutex_unlock(&p->put_lock);
    return st;
}

rf_status rf_projections_rebuild(rf_projections *p, rf_str name, rf_err *err)
{
    uint64_t version = 0;
    bool building = false;
    rf_status st;

    pthread_mutex_lock(&p->put_lock);
    st = state_of(p, name, &version, &building, err);
    if (st == RF_OK && building)
        st = rf_err_set(err, RF_EBUSY, "projection %.*s is being built already", RF_STR_ARG(name));
    if (st == RF_OK)
        st = tell(p, "refold.projection.rebuild", name, version + 1, err);
    pthread_mutex_unlock(&p->put_lock);
    return st;
}
