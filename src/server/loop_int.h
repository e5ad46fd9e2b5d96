/*
 * Event loops: threads that run libuv, and the one way into them from other threads.
 *
 * Everything that belongs to a loop (connections, requests, replies) is touched by its thread
 * alone. Other threads hand it work by rfi_loop_post.
 */
#ifndef RFI_SERVER_LOOP_H
#define RFI_SERVER_LOOP_H

#include <pthread.h>
#include <stdatomic.h>

#include <uv.h>

#include "base/base.h"

/* Work for a loop. Embedded in what it is about; belongs to the loop from post until run. */
typedef struct rfi_post rfi_post;
struct rfi_post {
    void (*run)(rfi_post *post); /* on the loop's thread */
    rfi_post *next;
    _Atomic bool queued;
};

typedef struct rfi_loop {
    uv_loop_t uv;
    uv_async_t async;
    _Atomic(rfi_post *) posts; /* newest first */
    pthread_t thread;
    bool started;
    void *proxy; /* proxy.c's: connections to the other half */
} rfi_loop;

RF_CHECKED rf_status rfi_loop_open(rfi_loop *l, rf_err *err);
/* All handles but our own must be closed or closing; runs the loop until it is empty. */
void rfi_loop_close(rfi_loop *l);
RF_CHECKED rf_status rfi_loop_start(rfi_loop *l, rf_err *err);
/* Waits for the thread, after something made uv_run return (rfi_loop_stop). */
void rfi_loop_join(rfi_loop *l);
void rfi_loop_stop(rfi_loop *l); /* on the loop's thread */

/* Any thread. false: it is queued already, and will run after this moment. */
bool rfi_loop_post(rfi_loop *l, rfi_post *post);

#endif
