/*
 * Scopes: named sets of offset ranges. A statement names its scope when it is prepared and reads
 * the ranges when it starts to run, so one prepared statement reads batch after batch.
 */
#include "engine/events_int.h"

#define ONE_THREAD_EVENTS 10000 /* fewer are read faster than threads are woken */

struct rf_scope {
    rf_engine *engine;
    char *name;
    pthread_mutex_t lock; /* guards the ranges */
    rf_position from, to;
    bool system;
    _Atomic uint64_t done, total;
    _Atomic uint32_t threads;
    rf_scope *next;
};

struct rfi_scopes {
    pthread_mutex_t lock;
    rf_scope *first;
};

rfi_scopes *rfi_scopes_new(void)
{
    rfi_scopes *s = rf_xcalloc(1, sizeof(*s));

    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void rfi_scopes_free(rfi_scopes **scopes)
{
    rfi_scopes *s = *scopes;

    if (s == NULL)
        return;
    RF_ASSERT(s->first == NULL); /* scopes go before their engine */
    pthread_mutex_destroy(&s->lock);
    free(s);
    *scopes = NULL;
}

/* Under the list's lock. */
static rf_scope *find(rfi_scopes *scopes, const char *name)
{
    for (rf_scope *s = scopes->first; s != NULL; s = s->next) {
        if (strcmp(s->name, name) == 0)
            return s;
    }
    return NULL;
}

rf_status rf_scope_new(rf_engine *engine, const char *name, rf_scope **out, rf_err *err)
{
    rfi_scopes *scopes = engine->scopes;
    rf_scope *s;
    bool taken;

    *out = NULL;
    RF_ASSERT(name[0] != '\0');
    if (engine->view == NULL)
        return rf_err_set(err, RF_EUNSUPPORTED, "this database has no log to read events from");
    s = rf_xcalloc(1, sizeof(*s));
    s->engine = engine;
    s->name = rf_xstrdup(name);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_lock(&scopes->lock);
    taken = find(scopes, name) != NULL;
    if (!taken) {
        s->next = scopes->first;
        scopes->first = s;
    }
    pthread_mutex_unlock(&scopes->lock);
    RF_ASSERT(!taken);
    *out = s;
    return RF_OK;
}

void rf_scope_free(rf_scope **scope)
{
    rf_scope *s = *scope;
    rfi_scopes *scopes;

    if (s == NULL)
        return;
    scopes = s->engine->scopes;
    pthread_mutex_lock(&scopes->lock);
    for (rf_scope **at = &scopes->first; *at != NULL; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    pthread_mutex_unlock(&scopes->lock);
    /* After all that the engine's threads did with it. (Its statements have ended, but how the
     * engine orders that is out of our sight, and of ThreadSanitizer's.) */
    (void)atomic_load_explicit(&s->done, memory_order_acquire);
    pthread_mutex_lock(&s->lock);
    rf_position_clear(&s->from);
    rf_position_clear(&s->to);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s);
    *scope = NULL;
}

static bool part_left_out(const rf_scope *s, const rf_position_part *part)
{
    return !s->system && strcmp(part->domain, RFI_SYSTEM_DOMAIN) == 0;
}

static uint64_t total_of(const rf_scope *s)
{
    uint64_t total = 0;

    for (size_t i = 0; i < s->to.count; i++) {
        const rf_position_part *to = &s->to.parts[i];
        uint64_t from = rf_position_get(&s->from, rf_str_from(to->domain), to->partition);

        if (!part_left_out(s, to) && from < to->next)
            total += to->next - from;
    }
    return total;
}

void rf_scope_set(rf_scope *scope, const rf_position *from, const rf_position *to)
{
    pthread_mutex_lock(&scope->lock);
    rf_position_clear(&scope->from);
    rf_position_clear(&scope->to);
    rf_position_copy(&scope->from, from);
    rf_position_copy(&scope->to, to);
    atomic_store(&scope->done, 0);
    atomic_store(&scope->total, total_of(scope));
    pthread_mutex_unlock(&scope->lock);
}

void rf_scope_include_system(rf_scope *scope, bool yes)
{
    pthread_mutex_lock(&scope->lock);
    scope->system = yes;
    atomic_store(&scope->total, total_of(scope));
    pthread_mutex_unlock(&scope->lock);
}

void rf_scope_limit_threads(rf_scope *scope, uint32_t threads)
{
    atomic_store(&scope->threads, threads);
}

uint32_t rfi_scope_threads(const rf_scope *scope)
{
    uint32_t limit = atomic_load(&scope->threads);

    if (atomic_load(&scope->total) < ONE_THREAD_EVENTS)
        return 1;
    return limit != 0 ? RF_MIN(limit, scope->engine->threads) : scope->engine->threads;
}

void rf_scope_progress(const rf_scope *scope, uint64_t *done, uint64_t *total)
{
    *total = atomic_load(&scope->total);
    *done = RF_MIN(atomic_load(&scope->done), *total);
}

_Atomic uint64_t *rfi_scope_done(rf_scope *scope)
{
    return &scope->done;
}

bool rfi_scope_exists(rf_engine *engine, const char *name, uint64_t *total)
{
    rf_scope *s;

    pthread_mutex_lock(&engine->scopes->lock);
    s = find(engine->scopes, name);
    if (s != NULL)
        *total = atomic_load(&s->total);
    pthread_mutex_unlock(&engine->scopes->lock);
    return s != NULL;
}

rf_scope *rfi_scope_ranges(rf_engine *engine, const char *name,
                           bool (*each)(void *arg, const rf_position_part *to, uint64_t from),
                           void *arg)
{
    rf_scope *s;

    pthread_mutex_lock(&engine->scopes->lock);
    s = find(engine->scopes, name);
    pthread_mutex_unlock(&engine->scopes->lock);
    if (s == NULL)
        return NULL;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->to.count; i++) {
        const rf_position_part *to = &s->to.parts[i];
        uint64_t from = rf_position_get(&s->from, rf_str_from(to->domain), to->partition);

        if (!part_left_out(s, to) && from < to->next && !each(arg, to, from))
            break;
    }
    pthread_mutex_unlock(&s->lock);
    return s;
}
