/*
 * One query, from the request to the answer:
 *
 *   gate      on a session, given back at once: nobody waits for others' waiting
 *   after     until what the statement reads has reached the position asked for
 *   position  what the answer will be able to say of itself (position.c)
 *   run       on a session again, under the watchdog: prepare, bind, stream, encode
 *
 * Event types are read to the end of the log as it was when `position` was taken, through a scope
 * of the query's own. Projections are read as they are when the statement begins, which is at or
 * behind the position taken for them before.
 */
#include "query/query_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_SLICE_US 50000 /* how often a wait looks whether it is canceled */
#define WARNINGS_BYTES_MAX (1u << 20)
#define PROJECTION_NAME_MAX 63

struct rf_queries {
    rf_queries_options options;
    rfi_pool *pool;
    rfi_watch *watch;
    _Atomic uint64_t scopes; /* numbers their names */
    _Atomic uint64_t queries, errors, refused, timeouts, running;
    rf_hist latency_us;
};

/* One query under way. */
typedef struct query {
    rf_queries *q;
    const rf_query_request *request;
    rf_query_handle *handle;
    rf_query_answer *answer;
    rf_buf *out;
    rf_err *err;
    int64_t started_us, deadline_us;
    uint32_t timeout_ms;
    uint64_t rows_max;
    rfi_plan plan;
    char scope_name[32];
    rf_scope *scope;
    rf_position position; /* of the answer */
    rf_buf token, warnings;
    rf_err building; /* a projection that is still being built */
} query;

rf_status rf_queries_open(const rf_queries_options *options, rf_queries **out, rf_err *err)
{
    rf_queries *q = rf_xcalloc(1, sizeof(*q));
    rf_queries_options *o = &q->options;
    rf_status st;

    *o = *options;
    if (o->sessions_max == 0)
        o->sessions_max = 4;
    if (o->timeout_ms_default == 0)
        o->timeout_ms_default = 30000;
    if (o->timeout_ms_max == 0)
        o->timeout_ms_max = 600000;
    if (o->rows_max_default == 0)
        o->rows_max_default = 100000;
    if (o->rows_max == 0)
        o->rows_max = 10000000;
    if (o->bytes_max == 0)
        o->bytes_max = 256u << 20;
    o->timeout_ms_default = RF_MIN(o->timeout_ms_default, o->timeout_ms_max);
    o->rows_max_default = RF_MIN(o->rows_max_default, o->rows_max);
    st = rfi_pool_open(o->engine, o->sessions_max, &q->pool, err);
    if (st == RF_OK) {
        q->watch = rfi_watch_start(o->overdue, o->overdue_arg);
        *out = q;
    } else {
        free(q);
        *out = NULL;
    }
    return st;
}

void rf_queries_close(rf_queries **queries)
{
    rf_queries *q = *queries;

    if (q == NULL)
        return;
    RF_ASSERT(atomic_load(&q->running) == 0);
    rfi_watch_stop(&q->watch);
    rfi_pool_close(&q->pool);
    free(q);
    *queries = NULL;
}

void rf_queries_get_stats(rf_queries *q, rf_query_stats *out)
{
    *out = (rf_query_stats){.queries = atomic_load(&q->queries),
                            .errors = atomic_load(&q->errors),
                            .refused = atomic_load(&q->refused),
                            .timeouts = atomic_load(&q->timeouts),
                            .running = atomic_load(&q->running),
                            .latency_us = &q->latency_us};
}

static rf_status timeout(query *x, const char *doing)
{
    return rf_err_set(
        x->err, RF_ETIMEOUT,
        "%s took more than %u ms: read less, aggregate earlier, keep a projection, or "
        "ask for more time by timeoutMs (up to %u)",
        doing, x->timeout_ms, x->q->options.timeout_ms_max);
}

static rf_status canceled(query *x)
{
    return rf_err_set(x->err, RF_ECANCELED, "the query was canceled");
}

/* ---- the gate -------------------------------------------------------------------------------- */

/* Projections' names are in lower case, and SQL's names without regard to it. */
static rf_str lower(rf_str name, char out[static PROJECTION_NAME_MAX])
{
    if (name.n > PROJECTION_NAME_MAX)
        return (rf_str){NULL, 0};
    for (size_t i = 0; i < name.n; i++)
        out[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    return (rf_str){out, name.n};
}

/* Event types are names with a dot, and names of which an event has been seen. */
static rfi_relation relation_find(void *arg, rf_str name)
{
    query *x = arg;
    const rf_queries_options *o = &x->q->options;
    char text[PROJECTION_NAME_MAX];
    rf_str projection = lower(name, text);
    rf_err err = {0};

    if (rf_projections_is_relation(o->projections, projection))
        return RFI_REL_PROJECTION;
    if (rf_projections_ready(o->projections, projection, &err) == RF_EBUSY) {
        x->building = err;
        return RFI_REL_PROJECTION;
    }
    if (rf_str_eq(projection, RF_STR("events")) || rf_engine_has_type(o->engine, name))
        return RFI_REL_TYPE;
    if (memchr(name.p, '.', name.n) != NULL && !rfi_looks_like_file(name))
        return RFI_REL_TYPE;
    if (!rf_projections_type_known(o->projections, name, NULL)) /* may wait for a first event */
        return RFI_REL_NONE;
    rf_engine_add_type(o->engine, name);
    return RFI_REL_TYPE;
}

typedef struct near_names {
    rf_str name;
    rf_buf *out;
    size_t found;
} near_names;

static void projection_near(void *arg, const rf_projection_stats *s)
{
    near_names *n = arg;

    if (n->found == 3 || rf_edit_distance(n->name, rf_str_from(s->name), 3) >= 3)
        return;
    rf_buf_add_cstr(n->out, n->found++ > 0 ? "," : "");
    rf_buf_add_json_str(n->out, rf_str_from(s->name));
}

static void relation_nearest(void *arg, rf_str name, rf_buf *out)
{
    query *x = arg;
    near_names near = {.name = name, .out = out};

    rf_projections_each(x->q->options.projections, projection_near, &near);
    if (near.found == 0)
        (void)rf_projections_type_known(x->q->options.projections, name, out);
}

static rf_status gate(query *x)
{
    rfi_catalog catalog = {.find = relation_find, .nearest = relation_nearest, .arg = x};
    rf_queries *q = x->q;
    rfi_session *session = NULL;
    rf_status st = rfi_pool_take(q->pool, x->deadline_us, x->handle, &session, x->err);

    if (st != RF_OK)
        return st;
    snprintf(x->scope_name, sizeof(x->scope_name), "query:%" PRIu64,
             atomic_fetch_add(&q->scopes, 1));
    st = rfi_gate(q->options.engine, session->conn, &catalog, x->scope_name, x->request->sql,
                  &x->plan, x->err);
    rfi_pool_give(q->pool, &session);
    for (size_t i = 0; i < x->plan.uses.projections.count; i++) {
        rf_str *name = &x->plan.uses.projections.items[i];

        *name = lower(*name, (char *)(uintptr_t)name->p); /* in the plan's arena */
    }
    x->answer->where = x->plan.where;
    x->answer->refused = x->plan.refused;
    if (st == RF_OK && x->building.status != RF_OK) {
        *x->err = x->building;
        st = RF_EBUSY;
    }
    return st;
}

/* A type nobody has sent yet is no error: the query may be older than its first event. */
static void warn(query *x)
{
    const rfi_names *types = &x->plan.uses.types;

    for (size_t i = 0; i < types->count; i++) {
        rf_buf near, text;

        if (types->items[i].n == 0)
            continue;
        rf_buf_init(&near, WARNINGS_BYTES_MAX);
        rf_buf_init(&text, WARNINGS_BYTES_MAX);
        if (!rf_projections_type_known(x->q->options.projections, types->items[i], &near)) {
            rf_buf_addf(&text, "no event of type \"%.*s\" has been seen yet",
                        RF_STR_ARG(types->items[i]));
            if (near.n > 0)
                rf_buf_addf(&text, "; near it: %.*s", (int)near.n, near.p);
            rf_buf_add_cstr(&x->warnings, x->warnings.n > 0 ? "," : "");
            rf_buf_add_json_str(&x->warnings, rf_buf_str(&text));
        }
        rf_buf_clear(&near);
        rf_buf_clear(&text);
    }
}

/* ---- read your writes ------------------------------------------------------------------------ */

static rf_status wait_events(query *x, const rf_position *after)
{
    rf_log_view *view = x->q->options.view;
    uint32_t seen = 0;

    for (;;) {
        rf_position end = {0};
        int64_t now = rf_mono_us();
        bool reached;

        rf_log_view_position(view, &end);
        reached = rf_position_reached(&end, after);
        rf_position_clear(&end);
        if (reached)
            return RF_OK;
        if (rfi_canceled(x->handle))
            return canceled(x);
        if (now >= x->deadline_us)
            return timeout(x, "waiting until the log reaches the position in `after`");
        (void)rf_log_view_wait(view, &seen,
                               (uint32_t)(RF_MIN(WAIT_SLICE_US, x->deadline_us - now) / 1000) + 1);
    }
}

static rf_status wait_projections(query *x, const rf_position *after)
{
    const rfi_names *used = &x->plan.uses.projections;

    for (;;) {
        int64_t now = rf_mono_us();
        rf_err err = {0};
        rf_status st =
            rf_projections_wait(x->q->options.projections, used->items, used->count, after,
                                RF_MIN(x->deadline_us, now + WAIT_SLICE_US), &err);

        if (st != RF_OK && st != RF_ETIMEOUT)
            *x->err = err;
        if (st != RF_ETIMEOUT)
            return st;
        if (rfi_canceled(x->handle))
            return canceled(x);
        if (rf_mono_us() >= x->deadline_us)
            return timeout(x, "waiting until the projections reach the position in `after`");
    }
}

static rf_status wait_after(query *x)
{
    rf_position after = {0};
    const rfi_uses *uses = &x->plan.uses;
    rf_status st;

    if (x->request->after.n == 0)
        return RF_OK;
    st = rf_position_decode(x->request->after, &after, x->err);
    if (st != RF_OK) {
        rf_err_note(x->err, "after");
        return st;
    }
    if (uses->types.count > 0 || uses->projections.count == 0)
        st = wait_events(x, &after);
    if (st == RF_OK && uses->projections.count > 0)
        st = wait_projections(x, &after);
    rf_position_clear(&after);
    return st;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* Takes the position, and the scope with it. */
static rf_status begin(query *x)
{
    const rf_queries_options *o = &x->q->options;
    const rfi_uses *uses = &x->plan.uses;
    rf_position from = {0};
    rf_status st = RF_OK;

    rf_log_view_position(o->view, &x->position);
    if (uses->types.count > 0)
        st = rf_scope_new(o->engine, x->scope_name, &x->scope, x->err);
    if (st == RF_OK && x->scope != NULL)
        rf_scope_set(x->scope, &from, &x->position);
    for (size_t i = 0; st == RF_OK && i < uses->projections.count; i++) {
        rf_position reached = {0};

        rf_projections_position(o->projections, uses->projections.items[i], &reached);
        rfi_position_lower(&x->position, &reached);
        rf_position_clear(&reached);
    }
    rf_position_encode(&x->position, &x->token);
    return st;
}

static rf_status encode(query *x, rf_rows *rows)
{
    const rf_queries_options *o = &x->q->options;
    rfi_encoding e = {.format = x->request->format,
                      .rows_max = x->rows_max,
                      .rows_limit = o->rows_max,
                      .bytes_max = o->bytes_max,
                      .position = rf_buf_str(&x->token),
                      .warnings = rf_buf_str(&x->warnings),
                      .started_us = x->started_us};

    return rfi_encode(rows, &e, x->out, &x->answer->row_count, x->err);
}

static rf_status run_on(query *x, rfi_session *session)
{
    rf_stmt_kind wanted = x->plan.text.explain ? RF_STMT_EXPLAIN : RF_STMT_SELECT;
    rf_stmt *stmt = NULL;
    rf_rows *rows = NULL;
    rf_status st;

    st = rf_conn_prepare(session->conn, rf_buf_str(&x->plan.sql), &stmt, NULL, x->err);
    if (st == RF_EINVAL)
        x->answer->where = rfi_place_find(session->conn, &x->plan);
    if (st == RF_OK && rf_stmt_get_kind(stmt) != wanted)
        st = rf_err_set(x->err, RF_EINTERNAL, "what came out of the gate is no SELECT");
    if (st == RF_OK)
        st = rfi_params_bind(stmt, x->request->params_json, x->err);
    if (st == RF_OK)
        st = rf_stmt_run(stmt, true, &rows, x->err);
    if (st == RF_OK)
        st = encode(x, rows);
    rf_rows_free(&rows);
    rf_stmt_free(&stmt);
    return st;
}

static rf_status run(query *x)
{
    rf_queries *q = x->q;
    rfi_session *session = NULL;
    bool timed_out;
    rf_status st = rfi_pool_take(q->pool, x->deadline_us, x->handle, &session, x->err);

    if (st != RF_OK)
        return st;
    rfi_watch_begin(q->watch, session, x->deadline_us, x->handle, x->plan.text.p);
    st = run_on(x, session);
    timed_out = rfi_watch_end(q->watch, session);
    rfi_pool_give(q->pool, &session);
    if (st == RF_ECANCELED)
        st = timed_out ? timeout(x, "the query") : canceled(x);
    return st;
}

static rf_status steps(query *x)
{
    rf_status st = gate(x);

    if (st == RF_OK)
        st = wait_after(x);
    if (st == RF_OK) {
        warn(x);
        st = begin(x);
    }
    return st == RF_OK ? run(x) : st;
}

static void count(rf_queries *q, rf_status st, int64_t elapsed_us)
{
    atomic_fetch_add(&q->queries, 1);
    if (st != RF_OK)
        atomic_fetch_add(&q->errors, 1);
    if (st == RF_EFORBIDDEN)
        atomic_fetch_add(&q->refused, 1);
    if (st == RF_ETIMEOUT)
        atomic_fetch_add(&q->timeouts, 1);
    rf_hist_record(&q->latency_us, (uint64_t)elapsed_us);
}

rf_status rf_query_run(rf_queries *q, const rf_query_request *request, rf_query_handle *handle,
                       rf_buf *out, rf_query_answer *answer, rf_err *err)
{
    const rf_queries_options *o = &q->options;
    query x = {
        .q = q, .request = request, .handle = handle, .answer = answer, .out = out, .err = err};
    rf_status st;

    memset(answer, 0, sizeof(*answer));
    atomic_fetch_add(&q->running, 1);
    x.started_us = rf_mono_us();
    x.timeout_ms = request->timeout_ms > 0 ? RF_MIN(request->timeout_ms, o->timeout_ms_max)
                                           : o->timeout_ms_default;
    x.rows_max =
        request->rows_max > 0 ? RF_MIN(request->rows_max, o->rows_max) : o->rows_max_default;
    x.deadline_us = x.started_us + (int64_t)x.timeout_ms * 1000;
    rfi_plan_init(&x.plan);
    rf_buf_init(&x.token, 1u << 20);
    rf_buf_init(&x.warnings, WARNINGS_BYTES_MAX);
    st = steps(&x);
    rf_scope_free(&x.scope);
    rf_position_clear(&x.position);
    rf_buf_clear(&x.token);
    rf_buf_clear(&x.warnings);
    rfi_plan_clear(&x.plan);
    answer->elapsed_us = rf_mono_us() - x.started_us;
    count(q, st, answer->elapsed_us);
    atomic_fetch_sub(&q->running, 1);
    return st;
}
