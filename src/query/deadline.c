/*
 * The watchdog. One thread looks at all running statements: at the deadline it interrupts, and
 * again every 50 ms, since an interrupt that falls between two statements of a query is forgotten.
 * What has not stopped 250 ms after the deadline is reported: a single call of the engine may run
 * for minutes without looking, and only the process's end stops that.
 *
 * Owner of a session's watch members: the lock of the watch. Whoever cancels holds it too, so no
 * interrupt reaches the session's next query.
 */
#include "query/query_int.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct rfi_watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rfi_session *first; /* sessions that run */
    bool stop;
    void (*overdue)(void *arg, const char *sql);
    void *overdue_arg;
};

void rfi_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

void rfi_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us)
{
    struct timespec at = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    int failed = pthread_cond_timedwait(cond, lock, &at);

    RF_ASSERT(failed == 0 || failed == ETIMEDOUT);
}

bool rfi_canceled(rf_query_handle *handle)
{
    return handle != NULL && atomic_load(&handle->canceled) != 0;
}

/* Under the lock. When to look at this session again. */
static int64_t session_look(rfi_watch *w, rfi_session *s, int64_t now)
{
    int64_t again = s->interrupted_us + RFI_INTERRUPT_AGAIN_US;

    if (now >= s->deadline_us)
        s->timed_out = true;
    if (!s->timed_out && !rfi_canceled(s->handle))
        return s->deadline_us;
    if (now >= again) {
        rf_conn_interrupt(s->conn);
        s->interrupted_us = now;
        again = now + RFI_INTERRUPT_AGAIN_US;
    }
    if (s->timed_out && !s->reported && now >= s->deadline_us + RFI_OVERDUE_US) {
        s->reported = true;
        if (w->overdue != NULL)
            w->overdue(w->overdue_arg, s->sql);
    }
    return again;
}

static void *watch_main(void *arg)
{
    rfi_watch *w = arg;

    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        int64_t now = rf_mono_us(), next = now + 3600 * INT64_C(1000000);

        for (rfi_session *s = w->first; s != NULL; s = s->next)
            next = RF_MIN(next, session_look(w, s, now));
        rfi_cond_wait_until(&w->changed, &w->lock, next);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

rfi_watch *rfi_watch_start(void (*overdue)(void *arg, const char *sql), void *arg)
{
    rfi_watch *w = rf_xcalloc(1, sizeof(*w));

    w->overdue = overdue;
    w->overdue_arg = arg;
    pthread_mutex_init(&w->lock, NULL);
    rfi_cond_init(&w->changed);
    RF_ASSERT(pthread_create(&w->thread, NULL, watch_main, w) == 0);
    return w;
}

void rfi_watch_stop(rfi_watch **watch)
{
    rfi_watch *w = *watch;

    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    RF_ASSERT(w->first == NULL);
    w->stop = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
    *watch = NULL;
}

void rfi_watch_begin(rfi_watch *watch, rfi_session *session, int64_t deadline_us,
                     rf_query_handle *handle, const char *sql)
{
    pthread_mutex_lock(&watch->lock);
    RF_ASSERT(session->watch == NULL);
    session->watch = watch;
    session->handle = handle;
    session->sql = sql;
    session->deadline_us = deadline_us;
    session->interrupted_us = INT64_MIN / 2;
    session->timed_out = session->reported = false;
    session->next = watch->first;
    watch->first = session;
    if (handle != NULL)
        atomic_store(&handle->session, watch);
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

bool rfi_watch_end(rfi_watch *watch, rfi_session *session)
{
    bool timed_out;

    pthread_mutex_lock(&watch->lock);
    RF_ASSERT(session->watch == watch);
    for (rfi_session **at = &watch->first; *at != NULL; at = &(*at)->next) {
        if (*at == session) {
            *at = session->next;
            break;
        }
    }
    if (session->handle != NULL)
        atomic_store(&session->handle->session, NULL);
    session->handle = NULL;
    session->sql = NULL;
    timed_out = session->timed_out;
    session->watch = NULL;
    pthread_mutex_unlock(&watch->lock);
    return timed_out;
}

void rf_query_cancel(rf_query_handle *handle)
{
    rfi_watch *watch;

    atomic_store(&handle->canceled, 1);
    watch = atomic_load(&handle->session);
    if (watch == NULL)
        return; /* it has not begun and looks before it does, or it has ended */
    pthread_mutex_lock(&watch->lock);
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}
