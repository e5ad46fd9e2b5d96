/*
 * The builder: makes a version's whole state by one statement over the log on all cores, while the
 * live version goes on. It commits the table, its checkpoint and its row together; the worker then
 * applies what came in meanwhile and switches.
 */
#include "projection/projection_int.h"

#define POLL_US INT64_C(50000)

/* Under the lock: the next build to make; the users' before our own. */
static rfi_build *next_queued(rf_projections *p)
{
    rfi_build *own = NULL;

    for (size_t i = 0; i < p->count; i++) {
        rfi_build *b = p->items[i]->shadow;

        if (b == NULL || b->status != RFI_QUEUED || b->cancel || b->retry_mono_us > rf_mono_us())
            continue;
        if (!p->items[i]->internal)
            return b;
        own = b;
    }
    return own;
}

/* The statement fails on some event: keep what comes before it, halted, so that it can be seen. */
static rf_status build_halted(rf_projections *p, rfi_build *b, const rf_position *end, rf_err *err)
{
    rf_position zero = {0}, before = {0};
    char place[128] = "", reason[RF_ERR_TEXT_MAX + 192];
    rf_err why = *err, ignored = {0};
    uint64_t rows = 0;
    rf_status st;

    st =
        rfi_batch_first_bad(p, p->builder_conn, b, &zero, end, &before, place, sizeof(place), &why);
    if (st == RF_OK) {
        st = rfi_state_build(p, p->builder_conn, b, &before, &rows, &why);
        snprintf(reason, sizeof(reason), "halted at %s: %s", place, why.text);
    }
    if (st == RF_OK)
        st = rfi_state_halt(p->builder_conn, b, reason, &ignored);
    if (st != RF_OK) {
        rf_position_clear(&before);
        *err = why;
        return st;
    }
    rf_diag(RF_DIAG_ERROR, "projection %s version %llu %s", b->of->name,
            (unsigned long long)b->version, reason);
    pthread_mutex_lock(&p->lock);
    b->status = RFI_HALTED;
    snprintf(b->reason, sizeof(b->reason), "%.*s", RF_ERR_TEXT_MAX - 1, reason);
    rf_position_clear(&b->position);
    b->position = before;
    b->rows = b->rows_merged = rows;
    pthread_mutex_unlock(&p->lock);
    return RF_OK;
}

static bool canceled(rf_projections *p, const rfi_build *b)
{
    bool cancel;

    pthread_mutex_lock(&p->lock);
    cancel = b->cancel || p->stopping;
    pthread_mutex_unlock(&p->lock);
    return cancel;
}

static void build_make(rf_projections *p, rfi_build *b)
{
    rf_position end = {0};
    uint64_t rows = 0;
    rf_err err = {0};
    rf_status st;

    rf_log_view_position(p->view, &end);
    st = rfi_state_build(p, p->builder_conn, b, &end, &rows, &err);
    if (st != RF_OK && !canceled(p, b) && rfi_batch_fault_of_data(&err))
        st = build_halted(p, b, &end, &err);
    else if (st == RF_OK) {
        pthread_mutex_lock(&p->lock);
        b->status = RFI_CATCHUP;
        rf_position_clear(&b->position);
        b->position = end;
        end = (rf_position){0};
        b->rows = b->rows_merged = rows;
        b->reason[0] = '\0';
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_lock(&p->lock);
    if (st != RF_OK) {
        if (!b->cancel && !p->stopping && b->retries++ == 0)
            rf_diag(RF_DIAG_WARN, "building projection %s version %llu: %s; trying again",
                    b->of->name, (unsigned long long)b->version, err.text);
        b->status = RFI_QUEUED;
        b->retry_mono_us = rf_mono_us() + 1000000;
        snprintf(b->reason, sizeof(b->reason), "%s", err.text);
    }
    b->busy = false;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    rf_position_clear(&end);
}

/* Tells the log of a switch. What is not told (the write half is away) is told later; the
 * definitions do not depend on it. */
static bool announce_one(rf_projections *p)
{
    char name[80] = "";
    uint64_t version = 0, events = 0, id = 0;
    double seconds = 0;
    rf_position position = {0};
    rf_err err = {0};
    rf_buf data;
    rf_status st;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count && name[0] == '\0'; i++) {
        rfi_build *b = p->items[i]->live;

        if (b == NULL || !b->announce || b->retry_mono_us > rf_mono_us())
            continue;
        b->announce = false;
        snprintf(name, sizeof(name), "%s", p->items[i]->name);
        version = b->version;
        id = b->id;
        events = b->rebuild_events;
        seconds = b->rebuild_seconds;
    }
    pthread_mutex_unlock(&p->lock);
    if (name[0] == '\0')
        return false;
    rf_buf_init(&data, 4096);
    rf_buf_addf(&data, "{\"version\":%llu,\"build\":%llu,\"events\":%llu,\"seconds\":%.6f}",
                (unsigned long long)version, (unsigned long long)id, (unsigned long long)events,
                seconds);
    st = rfi_control_append(p, "refold.projection.switched", rf_str_from(name), &data, &position,
                            &err);
    if (st != RF_OK)
        rf_diag(RF_DIAG_WARN, "the switch of projection %s to version %llu is not in the log: %s",
                name, (unsigned long long)version, err.text);
    rf_position_clear(&position);
    rf_buf_clear(&data);
    return true;
}

void *rfi_builder_run(void *arg)
{
    rf_projections *p = arg;

    for (;;) {
        rfi_build *b;

        while (announce_one(p))
            ;
        pthread_mutex_lock(&p->lock);
        b = p->stopping ? NULL : next_queued(p);
        if (b != NULL) {
            b->status = RFI_BUILDING;
            b->busy = true;
            b->started_mono_us = rf_mono_us();
        } else if (!p->stopping) {
            rfi_changed_wait(p, rf_mono_us() + POLL_US);
        }
        if (p->stopping && b == NULL) {
            pthread_mutex_unlock(&p->lock);
            return NULL;
        }
        pthread_mutex_unlock(&p->lock);
        if (b != NULL)
            build_make(p, b);
    }
}
