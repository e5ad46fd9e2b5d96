/*
 * One micro-batch: for every build that lags, its partial statement over its next events is
 * appended to its state table. All of them and their checkpoints are one transaction, because a
 * commit costs more than the statements do.
 *
 * When that fails, each build gets a transaction of its own, so that one that cannot go on does not
 * hold the others. If the data is at fault, the first event that makes the statement fail is found
 * by halving, everything before it is applied, and the build is halted there.
 */
#include "projection/projection_int.h"

#define RETRY_FIRST_US 100000
#define RETRY_MAX_US 10000000
#define ROWS_JSON_MAX (64u << 20)

/* What one build does in a batch. */
typedef struct job {
    rfi_build *build;
    rf_position from, to;
    uint64_t events, rows;
} job;

static bool is_system(const rf_position_part *part)
{
    return strcmp(part->domain, RFI_SYSTEM_DOMAIN) == 0;
}

uint64_t rfi_position_events(const rf_position *from, const rf_position *to)
{
    uint64_t events = 0;

    for (size_t i = 0; i < to->count; i++) {
        uint64_t at =
            rf_position_get(from, rf_str_from(to->parts[i].domain), to->parts[i].partition);

        if (!is_system(&to->parts[i]) && to->parts[i].next > at)
            events += to->parts[i].next - at;
    }
    return events;
}

/* The position `budget` events further, towards `target`, partition by partition. */
static void step(const rf_position *from, const rf_position *target, uint64_t budget,
                 rf_position *to)
{
    rf_position_copy(to, from);
    for (size_t i = 0; i < target->count; i++) {
        const rf_position_part *part = &target->parts[i];
        uint64_t at = rf_position_get(from, rf_str_from(part->domain), part->partition);
        uint64_t take = part->next > at ? part->next - at : 0;

        if (!is_system(part)) {
            take = RF_MIN(take, budget);
            budget -= take;
        }
        if (take > 0)
            rf_position_raise(to, rf_str_from(part->domain), part->partition, at + take);
    }
}

static rf_status insert_prepare(rf_projections *p, rfi_build *b, rf_conn *conn, rf_stmt **out,
                                rf_err *err)
{
    char *sql = NULL;
    rf_status st;

    (void)p;
    if (asprintf(&sql, "INSERT INTO %s %s", b->table, b->plan->partial) < 0)
        return rf_err_set(err, RF_ENOMEM, "no memory for a statement");
    st = rf_conn_prepare(conn, rf_str_from(sql), out, NULL, err);
    free(sql);
    return st;
}

/* After a DDL of anybody the engine binds a statement anew at each run: preparing it is cheaper. */
static rf_status insert_ready(rf_projections *p, rfi_build *b, rf_err *err)
{
    uint64_t epoch = atomic_load(&p->ddl_epoch);
    rf_status st = RF_OK;

    if (b->insert != NULL && b->insert_epoch == epoch)
        return RF_OK;
    rf_stmt_free(&b->insert);
    st = insert_prepare(p, b, p->worker_conn, &b->insert, err);
    b->insert_epoch = epoch;
    return st;
}

static rf_status job_run(rf_projections *p, job *j, rf_err *err)
{
    rf_rows *rows = NULL;
    rf_status st = insert_ready(p, j->build, err);

    if (st != RF_OK)
        return st;
    rf_scope_set(j->build->scope, &j->from, &j->to);
    st = rf_stmt_run(j->build->insert, false, &rows, err);
    if (st == RF_OK && rf_rows_next(rows, err))
        j->rows = (uint64_t)rf_rows_i64(rows, 0);
    rf_rows_free(&rows);
    return st;
}

static void rollback(rf_projections *p)
{
    rf_err ignored = {0};
    rf_status st = rf_conn_exec(p->worker_conn, "ROLLBACK", &ignored);

    (void)st; /* a failed COMMIT has rolled back itself */
}

/* All jobs and their checkpoints in one transaction; `also` may do more in it. */
static rf_status jobs_commit(rf_projections *p, job *jobs, size_t count,
                             rf_status (*also)(rf_projections *p, void *arg, rf_err *err),
                             void *arg, rf_err *err)
{
    rf_buf rows;
    rf_status st = rf_conn_exec(p->worker_conn, "BEGIN", err);

    if (st != RF_OK)
        return st;
    rf_buf_init(&rows, ROWS_JSON_MAX);
    rf_buf_add_char(&rows, '[');
    for (size_t i = 0; i < count && st == RF_OK; i++) {
        if (jobs[i].events > 0)
            st = job_run(p, &jobs[i], err);
        rfi_state_checkpoint_rows(jobs[i].build, &jobs[i].from, &jobs[i].to, &rows);
    }
    rf_buf_add_char(&rows, ']');
    rfi_point("batch: rows written");
    if (st == RF_OK && rows.n > 2)
        st = rfi_state_checkpoint(p, &rows, err);
    if (st == RF_OK && also != NULL)
        st = also(p, arg, err);
    rfi_point("batch: before commit");
    if (st == RF_OK)
        st = rf_conn_exec(p->worker_conn, "COMMIT", err);
    if (st != RF_OK)
        rollback(p);
    rfi_point("batch: after commit");
    rf_buf_clear(&rows);
    return st;
}

/* The jobs are on disk: show it. */
static void jobs_publish(rf_projections *p, job *jobs, size_t count)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < count; i++) {
        rfi_build *b = jobs[i].build;

        rf_position_clear(&b->position);
        rf_position_copy(&b->position, &jobs[i].to);
        b->applied += jobs[i].events;
        b->batches += jobs[i].events > 0;
        b->rows += jobs[i].rows;
        b->retries = 0;
        b->retry_mono_us = 0;
        if (b->status != RFI_HALTED)
            b->reason[0] = '\0';
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* ---- failures -------------------------------------------------------------------------------- */

bool rfi_batch_fault_of_data(const rf_err *err)
{
    return err->status == RF_EINVAL || err->status == RF_ETOOBIG ||
           err->status == RF_EUNSUPPORTED || err->status == RF_ECORRUPT;
}

/* Runs the build's SELECT over a range and throws the result away. */
static rf_status try_range(rf_conn *conn, rfi_build *b, rf_stmt *stmt, const rf_position *from,
                           const rf_position *target, uint64_t events, rf_err *err)
{
    rf_position to = {0};
    rf_status st;

    (void)conn;
    step(from, target, events, &to);
    rf_scope_set(b->scope, from, &to);
    st = rf_stmt_run(stmt, false, NULL, err);
    rf_position_clear(&to);
    return st;
}

/* Where event number `nth` (0-based) between two positions is, in the order of step(). */
static void place_of(const rf_position *from, const rf_position *target, uint64_t nth, char *out,
                     size_t out_bytes)
{
    for (size_t i = 0; i < target->count; i++) {
        const rf_position_part *part = &target->parts[i];
        uint64_t at = rf_position_get(from, rf_str_from(part->domain), part->partition);
        uint64_t count = part->next > at ? part->next - at : 0;

        if (is_system(part))
            continue;
        if (nth < count) {
            snprintf(out, out_bytes, "%s/%u offset %llu", part->domain, part->partition,
                     (unsigned long long)(at + nth));
            return;
        }
        nth -= count;
    }
    snprintf(out, out_bytes, "the end");
}

rf_status rfi_batch_first_bad(rf_projections *p, rf_conn *conn, rfi_build *b,
                              const rf_position *from, const rf_position *to, rf_position *before,
                              char *place, size_t place_bytes, rf_err *why)
{
    uint64_t good = 0, bad = rfi_position_events(from, to);
    rf_stmt *stmt = NULL;
    rf_err err = {0};
    rf_status st;

    (void)p;
    st = rf_conn_prepare(conn, rf_str_from(b->plan->partial), &stmt, NULL, why);
    if (st != RF_OK)
        return st;
    if (bad == 0 || try_range(conn, b, stmt, from, to, bad, why) == RF_OK) {
        rf_stmt_free(&stmt);
        return rf_err_set(why, RF_ENOTFOUND, "no event makes it fail");
    }
    while (bad - good > 1 && st == RF_OK) {
        uint64_t middle = good + (bad - good) / 2;

        err = (rf_err){0};
        if (try_range(conn, b, stmt, from, to, middle, &err) == RF_OK) {
            good = middle;
        } else if (rfi_batch_fault_of_data(&err)) {
            bad = middle;
            *why = err;
        } else {
            *why = err; /* interrupted, or no memory: no verdict */
            st = err.status;
        }
    }
    rf_stmt_free(&stmt);
    if (st != RF_OK)
        return st;
    step(from, to, good, before);
    place_of(from, to, good, place, place_bytes);
    return RF_OK;
}

typedef struct halt {
    const rfi_build *build;
    const char *reason;
} halt;

static rf_status halt_store(rf_projections *p, void *arg, rf_err *err)
{
    halt *h = arg;

    return rfi_state_halt(p->worker_conn, h->build, h->reason, err);
}

/* Applies what comes before the bad event, and stops there. */
static rf_status job_halt(rf_projections *p, job *j, rf_err *why)
{
    char place[128] = "", reason[RF_ERR_TEXT_MAX + 192];
    halt h = {.build = j->build, .reason = reason};
    rf_position before = {0};
    rf_err err = {0};
    rf_status st;

    st = rfi_batch_first_bad(p, p->worker_conn, j->build, &j->from, &j->to, &before, place,
                             sizeof(place), why);
    if (st != RF_OK) {
        rf_position_clear(&before);
        return st;
    }
    snprintf(reason, sizeof(reason), "halted at %s: %s", place, why->text);
    rf_position_clear(&j->to);
    j->to = before;
    j->events = rfi_position_events(&j->from, &j->to);
    st = jobs_commit(p, j, 1, halt_store, &h, &err);
    if (st != RF_OK) {
        *why = err;
        return st;
    }
    rf_diag(RF_DIAG_ERROR, "projection %s version %llu %s", j->build->of->name,
            (unsigned long long)j->build->version, reason);
    pthread_mutex_lock(&p->lock);
    j->build->status = RFI_HALTED;
    snprintf(j->build->reason, sizeof(j->build->reason), "%.*s", RF_ERR_TEXT_MAX - 1, reason);
    pthread_mutex_unlock(&p->lock);
    jobs_publish(p, j, 1);
    return RF_OK;
}

static void job_retry_later(rf_projections *p, job *j, const rf_err *err)
{
    rfi_build *b = j->build;
    int64_t wait = RETRY_FIRST_US << RF_MIN(b->retries, 7);

    if (b->retries == 0)
        rf_diag(RF_DIAG_WARN, "projection %s version %llu: %s; trying again", b->of->name,
                (unsigned long long)b->version, err->text);
    pthread_mutex_lock(&p->lock);
    b->retries++;
    b->retry_mono_us = rf_mono_us() + RF_MIN(wait, RETRY_MAX_US);
    snprintf(b->reason, sizeof(b->reason), "%s", err->text);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void job_alone(rf_projections *p, job *j)
{
    rf_err err = {0};
    rf_status st = jobs_commit(p, j, 1, NULL, NULL, &err);

    if (st == RF_OK) {
        jobs_publish(p, j, 1);
        return;
    }
    if (rfi_batch_fault_of_data(&err) && job_halt(p, j, &err) == RF_OK)
        return;
    job_retry_later(p, j, &err);
}

/* ---- a batch --------------------------------------------------------------------------------- */

static bool wants(const rf_projections *p, rfi_build *b, const rf_position *target, int64_t now)
{
    (void)p;
    return b != NULL && (b->status == RFI_LIVE || b->status == RFI_CATCHUP) && !b->stale &&
           b->retry_mono_us <= now && !rf_position_reached(&b->position, target);
}

static void job_add(job **jobs, size_t *count, rfi_build *b, const rf_position *target,
                    uint64_t batch_max)
{
    job *j;

    *jobs = rf_xrealloc(*jobs, (*count + 1) * sizeof(**jobs));
    j = &(*jobs)[(*count)++];
    *j = (job){.build = b};
    rf_position_copy(&j->from, &b->position);
    step(&j->from, target, batch_max, &j->to);
    j->events = rfi_position_events(&j->from, &j->to);
}

void rfi_batch_apply(rf_projections *p, const rf_position *target, uint64_t *events)
{
    uint64_t batch_max = p->options.batch_events_max;
    int64_t now = rf_mono_us();
    job *jobs = NULL;
    size_t count = 0, busy = 0;
    rf_err err = {0};

    *events = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        rfi_projection *of = p->items[i];

        if (wants(p, of->live, target, now))
            job_add(&jobs, &count, of->live, target, batch_max);
        if (wants(p, of->shadow, target, now))
            job_add(&jobs, &count, of->shadow, target, batch_max);
    }
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < count; i++) {
        busy += jobs[i].events > 0;
        *events = RF_MAX(*events, jobs[i].events);
    }
    /* A step over system events alone needs no commit: after a crash it is taken again. */
    if (busy == 0 || jobs_commit(p, jobs, count, NULL, NULL, &err) == RF_OK)
        jobs_publish(p, jobs, count);
    else
        for (size_t i = 0; i < count; i++)
            job_alone(p, &jobs[i]);
    for (size_t i = 0; i < count; i++) {
        rf_position_clear(&jobs[i].from);
        rf_position_clear(&jobs[i].to);
    }
    free(jobs);
}
