/*
 * The worker: follows the log. Each round it folds new definitions, applies one micro-batch,
 * switches builds that have caught up, and waits for more. When it is idle the wait ends with the
 * first new event; when much comes in, batches are spaced out so that the commits do not take the
 * disk from the log.
 */
#include "projection/projection_int.h"

#define IDLE_MS 100
#define BUSY_MS 20         /* while a build or a drop is under way */
#define SPACED_EVENTS 2000 /* a batch of as many means that there is a stream of them */
#define SPACED_US 50000

/* ---- retiring -------------------------------------------------------------------------------- */

/* Under the lock. The build is no longer anybody's; it is freed when nobody works on it. */
static void retire(rf_projections *p, rfi_build **at)
{
    rfi_build *b = *at;

    if (b == NULL)
        return;
    *at = NULL;
    b->cancel = true;
    b->next_retired = p->retired;
    p->retired = b;
}

static void retired_free(rf_projections *p)
{
    rfi_build **at = &p->retired;

    while (*at != NULL) {
        rfi_build *b = *at;
        rf_err err = {0};
        bool busy;

        pthread_mutex_lock(&p->lock);
        busy = b->busy;
        if (busy)
            rf_conn_interrupt(b->status == RFI_BUILDING ? p->builder_conn : p->janitor_conn);
        pthread_mutex_unlock(&p->lock);
        if (!busy && rfi_state_drop(p, p->worker_conn, b->of, b->id, false, &err) == RF_OK) {
            *at = b->next_retired;
            rfi_build_free(&b);
        } else {
            at = &b->next_retired; /* next round */
        }
    }
}

/* ---- definitions to builds ------------------------------------------------------------------- */

static void drop_one(rf_projections *p, rfi_projection *of)
{
    rf_err err = {0};

    if (of->live != NULL &&
        rfi_state_drop(p, p->worker_conn, of, of->live->id, true, &err) != RF_OK) {
        rf_diag(RF_DIAG_WARN, "dropping projection %s: %s; trying again", of->name, err.text);
        return;
    }
    pthread_mutex_lock(&p->lock);
    retire(p, &of->live);
    retire(p, &of->shadow);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void shadow_make(rf_projections *p, rfi_projection *of)
{
    rfi_build *b = NULL;
    rf_err err = {0};
    uint64_t id;
    rf_status st;

    pthread_mutex_lock(&p->lock);
    id = p->next_build++;
    pthread_mutex_unlock(&p->lock);
    st = rfi_build_new(p, of, id, of->version, of->sql, p->worker_conn, &b, &err);
    pthread_mutex_lock(&p->lock);
    if (st == RF_OK) {
        of->shadow = b;
    } else {
        of->refused = true;
        snprintf(of->reason, sizeof(of->reason), "%s", err.text);
        rf_diag(RF_DIAG_ERROR, "projection %s version %llu cannot be planned: %s", of->name,
                (unsigned long long)of->version, err.text);
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void follow_one(rf_projections *p, rfi_projection *of)
{
    if (!of->defined) {
        if (of->live != NULL || of->shadow != NULL)
            drop_one(p, of);
        return;
    }
    if (of->shadow != NULL && of->shadow->version != of->version) {
        pthread_mutex_lock(&p->lock);
        retire(p, &of->shadow);
        pthread_mutex_unlock(&p->lock);
    }
    if (of->shadow == NULL && !of->refused &&
        (of->live == NULL || of->live->version != of->version || of->live->stale))
        shadow_make(p, of);
}

void rfi_worker_follow(rf_projections *p)
{
    for (size_t i = 0; i < p->count; i++)
        follow_one(p, p->items[i]);
}

/* Does the build's stored state still fit what its statement would be planned to now? */
static bool shape_holds(rf_projections *p, const rfi_build *b)
{
    rfi_plan_request request = {.engine = p->engine,
                                .conn = p->worker_conn,
                                .sql = rf_str_from(b->sql),
                                .scope = "",
                                .projection = rfi_projection_name_taken,
                                .arg = p};
    rfi_plan *plan = NULL;
    rf_err err = {0};
    bool holds;

    holds = rfi_plan_make(&request, &plan, NULL, &err) == RF_OK && plan->shape == b->plan->shape;
    rfi_plan_free(&plan);
    return holds;
}

/* A schema has changed the type of `data`: states that were built with the old one are built anew.
 */
static void schemas_follow(rf_projections *p)
{
    for (size_t i = 0; i < p->count; i++) {
        rfi_projection *of = p->items[i];
        bool live = of->live != NULL && !shape_holds(p, of->live);
        bool shadow = of->shadow != NULL && !shape_holds(p, of->shadow);

        pthread_mutex_lock(&p->lock);
        if (live)
            of->live->stale = true;
        if (shadow)
            retire(p, &of->shadow);
        of->refused = false;
        pthread_mutex_unlock(&p->lock);
    }
}

/* ---- switching ------------------------------------------------------------------------------- */

static void switch_one(rf_projections *p, rfi_projection *of)
{
    rfi_build *fresh = of->shadow;
    rf_err err = {0};

    if (rfi_state_switch(p, p->worker_conn, fresh, of->live, &err) != RF_OK) {
        rf_diag(RF_DIAG_WARN, "switching projection %s to version %llu: %s; trying again", of->name,
                (unsigned long long)fresh->version, err.text);
        return;
    }
    pthread_mutex_lock(&p->lock);
    retire(p, &of->live);
    of->live = fresh;
    of->shadow = NULL;
    fresh->status = RFI_LIVE;
    fresh->announce = !of->internal;
    fresh->fresh_mono_us = rf_mono_us();
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (!of->internal)
        rf_diag(RF_DIAG_INFO, "projection %s version %llu is live: %llu events in %.3f s", of->name,
                (unsigned long long)fresh->version, (unsigned long long)fresh->rebuild_events,
                fresh->rebuild_seconds);
}

static void switches(rf_projections *p, const rf_position *target)
{
    for (size_t i = 0; i < p->count; i++) {
        rfi_build *shadow = p->items[i]->shadow;
        bool ready;

        pthread_mutex_lock(&p->lock);
        ready = shadow != NULL && shadow->status == RFI_CATCHUP &&
                rf_position_reached(&shadow->position, target);
        pthread_mutex_unlock(&p->lock);
        if (ready)
            switch_one(p, p->items[i]);
    }
}

static void freshness_note(rf_projections *p, const rf_position *target)
{
    int64_t now = rf_mono_us();

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        rfi_build *b = p->items[i]->live;

        if (b != NULL && rf_position_reached(&b->position, target))
            b->fresh_mono_us = now;
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- at open --------------------------------------------------------------------------------- */

static bool beyond_log(rf_projections *p, const rf_position *position)
{
    for (size_t i = 0; i < position->count; i++) {
        const rf_position_part *part = &position->parts[i];

        if (part->next > rf_log_view_end(p->view, rf_str_from(part->domain), part->partition))
            return true;
    }
    return false;
}

/* The stored build as an object, when it can be used. */
static rfi_build *stored_use(rf_projections *p, rfi_projection *of, const rfi_stored *s, bool live)
{
    rfi_build *b = NULL;
    rf_err err = {0};
    const char *halted = strstr(s->status, " halted");

    if (beyond_log(p, &s->position)) {
        rf_diag(
            RF_DIAG_WARN,
            "projection %s has applied more than the log holds: the log was set back; building it "
            "anew",
            of->name);
        return NULL;
    }
    if (rfi_build_new(p, of, s->id, s->version, s->sql, p->worker_conn, &b, &err) != RF_OK) {
        rf_diag(RF_DIAG_WARN, "the stored state of projection %s cannot be used: %s", of->name,
                err.text);
        return NULL;
    }
    if (b->plan->shape != s->shape && !live) {
        rfi_build_free(&b);
        return NULL;
    }
    b->stale = b->plan->shape != s->shape;
    b->status = halted != NULL ? RFI_HALTED : live ? RFI_LIVE : RFI_CATCHUP;
    if (halted != NULL)
        snprintf(b->reason, sizeof(b->reason), "%s", s->reason);
    rf_position_copy(&b->position, &s->position);
    b->rows = s->rows;
    b->rebuild_events = s->rebuild_events;
    b->rebuild_seconds = s->rebuild_seconds;
    b->fresh_mono_us = rf_mono_us();
    return b;
}

static void stored_match(rf_projections *p, rfi_projection *of, const rfi_stored *stored,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const rfi_stored *s = &stored[i];
        bool live = strncmp(s->status, "live", 4) == 0;
        bool now = s->version == of->version && strcmp(s->sql, of->sql) == 0;

        if (strcmp(s->name, of->name) != 0)
            continue;
        if (s->version > of->version || (s->version == of->version && !now))
            continue; /* of another history */
        if (live && of->live == NULL)
            of->live = stored_use(p, of, s, true);
        else if (strncmp(s->status, "ready", 5) == 0 && now && of->shadow == NULL)
            of->shadow = stored_use(p, of, s, false);
    }
}

rf_status rfi_worker_reconcile_stored(rf_projections *p, rf_err *err)
{
    rfi_stored *stored = NULL;
    size_t count = 0;
    rf_status st = rfi_state_load(p->worker_conn, &stored, &count, err);

    if (st != RF_OK)
        return st;
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i]->defined)
            stored_match(p, p->items[i], stored, count);
    }
    rfi_state_free(stored, count);
    st = rfi_state_sweep(p, p->worker_conn, err);
    if (st == RF_OK)
        rfi_worker_follow(p);
    return st;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool in_flux(rf_projections *p)
{
    bool flux = p->retired != NULL;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count && !flux; i++)
        flux = p->items[i]->shadow != NULL && p->items[i]->shadow->status != RFI_HALTED;
    pthread_mutex_unlock(&p->lock);
    return flux;
}

static void control_follow(rf_projections *p)
{
    size_t schemas = p->schema_count;
    bool changed = false;
    rf_err err = {0};

    if (rfi_control_fold(p, &changed, &err) != RF_OK)
        rf_diag(RF_DIAG_ERROR, "%s", err.text);
    if (p->schema_count != schemas)
        schemas_follow(p);
}

static bool stopping(rf_projections *p)
{
    bool stop;

    pthread_mutex_lock(&p->lock);
    stop = p->stopping;
    pthread_mutex_unlock(&p->lock);
    return stop;
}

void *rfi_worker_run(void *arg)
{
    rf_projections *p = arg;
    uint32_t seen = 0;

    while (!stopping(p)) {
        rf_position target = {0};
        int64_t started = rf_mono_us(), rest;
        uint64_t events = 0;

        control_follow(p);
        rfi_worker_follow(p);
        retired_free(p);
        rf_log_view_position(p->view, &target);
        rfi_batch_apply(p, &target, &events);
        switches(p, &target);
        freshness_note(p, &target);
        rf_position_clear(&target);
        rest = SPACED_US - (rf_mono_us() - started);
        if (events >= SPACED_EVENTS && events < p->options.batch_events_max && rest > 0) {
            struct timespec pause = {.tv_nsec = rest * 1000};

            nanosleep(&pause, NULL);
        } else if (events == 0) {
            rfi_types_refresh(p, p->worker_conn);
            rf_log_view_wait(p->view, &seen, in_flux(p) ? BUSY_MS : IDLE_MS);
        }
    }
    return NULL;
}
