/* The pool of connections: who waits longest is served first. */
#include "query/query_int.h"

#include <stdlib.h>

#define CANCEL_LOOK_US 20000 /* how often one who waits looks whether it is canceled */

typedef struct waiter {
    struct waiter *next;
} waiter;

struct rfi_pool {
    pthread_mutex_t lock;
    pthread_cond_t given;
    rfi_session *sessions;
    uint32_t count;
    waiter *first, **last; /* in order of arrival, on their own stacks */
};

rf_status rfi_pool_open(rf_engine *engine, uint32_t sessions_max, rfi_pool **out, rf_err *err)
{
    rfi_pool *p = rf_xcalloc(1, sizeof(*p));
    rf_status st = RF_OK;

    RF_ASSERT(sessions_max > 0);
    pthread_mutex_init(&p->lock, NULL);
    rfi_cond_init(&p->given);
    p->last = &p->first;
    p->sessions = rf_xcalloc(sessions_max, sizeof(*p->sessions));
    for (; st == RF_OK && p->count < sessions_max; p->count++)
        st = rf_conn_open(engine, &p->sessions[p->count].conn, err);
    if (st != RF_OK)
        rfi_pool_close(&p);
    *out = p;
    return st;
}

void rfi_pool_close(rfi_pool **pool)
{
    rfi_pool *p = *pool;

    if (p == NULL)
        return;
    RF_ASSERT(p->first == NULL);
    for (uint32_t i = 0; i < p->count; i++) {
        RF_ASSERT(!p->sessions[i].taken);
        rf_conn_close(&p->sessions[i].conn);
    }
    pthread_cond_destroy(&p->given);
    pthread_mutex_destroy(&p->lock);
    free(p->sessions);
    free(p);
    *pool = NULL;
}

static rfi_session *free_one(rfi_pool *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (!p->sessions[i].taken)
            return &p->sessions[i];
    }
    return NULL;
}

static void waiter_remove(rfi_pool *p, waiter *w)
{
    waiter **at = &p->first;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (p->last == &w->next)
        p->last = at;
}

rf_status rfi_pool_take(rfi_pool *p, int64_t deadline_us, rf_query_handle *handle,
                        rfi_session **out, rf_err *err)
{
    waiter self = {NULL};
    rf_status st = RF_OK;

    *out = NULL;
    pthread_mutex_lock(&p->lock);
    *p->last = &self;
    p->last = &self.next;
    for (;;) {
        int64_t now = rf_mono_us();
        rfi_session *s = p->first == &self ? free_one(p) : NULL;

        if (rfi_canceled(handle)) {
            st = rf_err_set(err, RF_ECANCELED, "the query was canceled");
        } else if (s != NULL) {
            s->taken = true;
            *out = s;
        } else if (now >= deadline_us) {
            st = rf_err_set(err, RF_EBUSY, "all %u query sessions are busy: try again later",
                            p->count);
        } else {
            rfi_cond_wait_until(&p->given, &p->lock, RF_MIN(deadline_us, now + CANCEL_LOOK_US));
            continue;
        }
        break;
    }
    waiter_remove(p, &self);
    pthread_cond_broadcast(&p->given); /* the next in line may look */
    pthread_mutex_unlock(&p->lock);
    return st;
}

void rfi_pool_give(rfi_pool *p, rfi_session **session)
{
    if (*session == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    RF_ASSERT((*session)->taken && (*session)->watch == NULL);
    (*session)->taken = false;
    pthread_cond_broadcast(&p->given);
    pthread_mutex_unlock(&p->lock);
    *session = NULL;
}
