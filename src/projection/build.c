/* Projections and builds as objects. */
#include "projection/projection_int.h"

void (*rfi_projection_point)(const char *name);

void rfi_point(const char *name)
{
    if (rfi_projection_point != NULL)
        rfi_projection_point(name);
}

bool rfi_changed_wait(rf_projections *p, int64_t deadline_mono_us)
{
    struct timespec until = {.tv_sec = deadline_mono_us / 1000000,
                             .tv_nsec = deadline_mono_us % 1000000 * 1000};

    if (rf_mono_us() >= deadline_mono_us)
        return false;
    pthread_cond_timedwait(&p->changed, &p->lock, &until);
    return true;
}

/* Index of the name, or where it would be. */
static size_t find(const rf_projections *p, rf_str name, bool *found)
{
    size_t low = 0, high = p->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = rf_str_cmp(rf_str_from(p->items[middle]->name), name);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

rfi_projection *rfi_projection_find(rf_projections *p, rf_str name)
{
    bool found;
    size_t at = find(p, name, &found);

    return found ? p->items[at] : NULL;
}

rfi_projection *rfi_projection_add(rf_projections *p, rf_str name)
{
    bool found;
    size_t at = find(p, name, &found);

    if (found)
        return p->items[at];
    p->items = rf_xrealloc(p->items, (p->count + 1) * sizeof(rfi_projection *));
    memmove(&p->items[at + 1], &p->items[at], (p->count - at) * sizeof(rfi_projection *));
    p->items[at] = rf_xcalloc(1, sizeof(rfi_projection));
    p->items[at]->name = rf_xstrndup(name);
    p->count++;
    return p->items[at];
}

void rfi_projection_free(rfi_projection *projection)
{
    free(projection->name);
    free(projection->sql);
    free(projection->mode);
    free(projection->owner);
    free(projection);
}

bool rfi_projection_name_taken(void *arg, rf_str name)
{
    rf_projections *p = arg;
    rfi_projection *found;
    bool taken;

    pthread_mutex_lock(&p->lock);
    found = rfi_projection_find(p, name);
    taken = found != NULL && found->defined && !found->internal;
    pthread_mutex_unlock(&p->lock);
    return taken;
}

rf_status rfi_build_new(rf_projections *p, rfi_projection *of, uint64_t id, uint64_t version,
                        const char *sql, rf_conn *conn, rfi_build **out, rf_err *err)
{
    rfi_build *b = rf_xcalloc(1, sizeof(*b));
    rfi_plan_request request = {.engine = p->engine,
                                .conn = conn,
                                .sql = rf_str_from(sql),
                                .projection = rfi_projection_name_taken,
                                .arg = p};
    rf_status st;

    *out = NULL;
    b->of = of;
    b->id = id;
    b->version = version;
    b->sql = rf_xstrdup(sql);
    snprintf(b->table, sizeof(b->table), "rf.state_%llu", (unsigned long long)id);
    snprintf(b->scope_name, sizeof(b->scope_name), "build.%llu", (unsigned long long)id);
    request.scope = b->scope_name;
    st = rf_scope_new(p->engine, b->scope_name, &b->scope, err);
    if (st == RF_OK)
        st = rfi_plan_make(&request, &b->plan, NULL, err);
    if (st != RF_OK)
        rfi_build_free(&b);
    *out = b;
    return st;
}

void rfi_build_free(rfi_build **build)
{
    rfi_build *b = *build;

    if (b == NULL)
        return;
    rf_stmt_free(&b->insert);
    rf_scope_free(&b->scope);
    rfi_plan_free(&b->plan);
    rf_position_clear(&b->position);
    free(b->sql);
    free(b);
    *build = NULL;
}
