/*
 * Posts are a stack that any thread pushes on and the loop takes whole, so that a writer thread
 * which completes many requests at once costs the loop one wake-up.
 */
#include "server/loop_int.h"

#include <signal.h>
#include <string.h>

bool rfi_loop_post(rfi_loop *l, rfi_post *post)
{
    rfi_post *head;

    if (atomic_exchange(&post->queued, true))
        return false;
    head = atomic_load(&l->posts);
    do
        post->next = head;
    while (!atomic_compare_exchange_weak(&l->posts, &head, post));
    if (head == NULL) /* else whoever was first has woken the loop */
        uv_async_send(&l->async);
    return true;
}

static void on_async(uv_async_t *async)
{
    rfi_loop *l = async->data;
    rfi_post *newest = atomic_exchange(&l->posts, NULL), *oldest = NULL;

    while (newest != NULL) {
        rfi_post *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        rfi_post *post = oldest;

        oldest = post->next;
        atomic_store(&post->queued, false); /* may be posted anew from here on */
        post->run(post);
    }
}

rf_status rfi_loop_open(rfi_loop *l, rf_err *err)
{
    int e = uv_loop_init(&l->uv);

    if (e != 0)
        return rf_err_set_errno(err, -e, "starting an event loop");
    e = uv_async_init(&l->uv, &l->async, on_async);
    if (e != 0) {
        uv_loop_close(&l->uv);
        return rf_err_set_errno(err, -e, "starting an event loop");
    }
    l->async.data = l;
    atomic_init(&l->posts, NULL);
    l->started = false;
    return RF_OK;
}

void rfi_loop_close(rfi_loop *l)
{
    RF_ASSERT(!l->started);
    uv_close((uv_handle_t *)&l->async, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    int e = uv_loop_close(&l->uv);

    RF_ASSERT(e == 0);
}

static void *run(void *arg)
{
    rfi_loop *l = arg;

    pthread_setname_np(pthread_self(), "refold-http");
    uv_run(&l->uv, UV_RUN_DEFAULT);
    return NULL;
}

rf_status rfi_loop_start(rfi_loop *l, rf_err *err)
{
    sigset_t all, before;

    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&l->thread, NULL, run, l);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e != 0)
        return rf_err_set_errno(err, e, "starting a loop's thread");
    l->started = true;
    return RF_OK;
}

void rfi_loop_stop(rfi_loop *l)
{
    uv_stop(&l->uv);
}

void rfi_loop_join(rfi_loop *l)
{
    if (!l->started)
        return;
    pthread_join(l->thread, NULL);
    l->started = false;
}
