/* Worker threads, and requests that they answer. */
#include "server/work_int.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX (512u << 20)

struct rfi_workers {
    pthread_mutex_t mutex;
    pthread_cond_t some;
    rfi_job *head, *tail; /* guarded by mutex */
    uint32_t queued, queue_max;
    bool closing;
    uint32_t thread_count;
    pthread_t *threads;
};

static void *run(void *arg)
{
    rfi_workers *w = arg;

    pthread_setname_np(pthread_self(), "refold-worker");
    pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (w->head == NULL && !w->closing)
            pthread_cond_wait(&w->some, &w->mutex);
        if (w->head == NULL)
            break;
        rfi_job *job = w->head;

        w->head = job->next;
        if (w->head == NULL)
            w->tail = NULL;
        w->queued--;
        pthread_mutex_unlock(&w->mutex);
        job->work(job);
        rfi_loop_post(job->loop, &job->post);
        pthread_mutex_lock(&w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

rf_status rfi_workers_open(uint32_t threads, uint32_t queue_max, rfi_workers **out, rf_err *err)
{
    rfi_workers *w = rf_xcalloc(1, sizeof *w);
    sigset_t all, before;
    int e = 0;

    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->some, NULL);
    w->queue_max = queue_max;
    w->threads = rf_xcalloc(threads, sizeof *w->threads);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (w->thread_count < threads && e == 0) {
        e = pthread_create(&w->threads[w->thread_count], NULL, run, w);
        w->thread_count += e == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *out = w;
    if (e == 0)
        return RF_OK;
    rfi_workers_close(out);
    return rf_err_set_errno(err, e, "starting a worker thread");
}

void rfi_workers_close(rfi_workers **workers)
{
    rfi_workers *w = *workers;

    if (w == NULL)
        return;
    pthread_mutex_lock(&w->mutex);
    w->closing = true;
    pthread_cond_broadcast(&w->some);
    pthread_mutex_unlock(&w->mutex);
    for (uint32_t i = 0; i < w->thread_count; i++)
        pthread_join(w->threads[i], NULL);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->some);
    free(w->threads);
    free(w);
    *workers = NULL;
}

bool rfi_workers_submit(rfi_workers *w, rfi_job *job)
{
    bool room;

    job->next = NULL;
    pthread_mutex_lock(&w->mutex);
    room = w->queued < w->queue_max && !w->closing;
    if (room) {
        if (w->tail != NULL)
            w->tail->next = job;
        else
            w->head = job;
        w->tail = job;
        w->queued++;
        pthread_cond_signal(&w->some);
    }
    pthread_mutex_unlock(&w->mutex);
    return room;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

void rfi_answer_header(rfi_answer *a, const char *name, const char *fmt, ...)
{
    char value[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(value, sizeof value, fmt, args);
    va_end(args);
    rf_buf_add_cstr(&a->headers, name);
    rf_buf_add_cstr(&a->headers, ": ");
    for (const char *p = value; *p != '\0' && (unsigned char)*p >= 0x20 && *p != 0x7f; p++)
        rf_buf_add_char(&a->headers, *p);
    rf_buf_add_cstr(&a->headers, "\r\n");
}

void rfi_answer_problem_with(rfi_answer *a, int status, const char *rule, rf_str detail,
                             rf_str members)
{
    a->status = status;
    a->content_type = "application/problem+json";
    rf_buf_reset(&a->body);
    rfi_problem_body(&a->body, status, rule, detail, members);
}

void rfi_answer_problem(rfi_answer *a, int status, const char *rule, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    size_t bad = 0;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);

    va_end(args);
    size_t len = n < 0 ? 0 : RF_MIN((size_t)n, sizeof text - 1);

    if (!rf_utf8_valid(text, len, &bad))
        len = bad; /* cut in the middle of a character */
    rfi_answer_problem_with(a, status, rule, (rf_str){text, len}, (rf_str){NULL, 0});
}

void rfi_answer_err(rfi_answer *a, const rfi_req *r, const rf_err *err)
{
    int status = rfi_status_of(err->status);

    if (status == 503 || status == 507)
        rfi_answer_header(a, "Retry-After", "%d", status == 507 ? 5 : 1);
    rfi_problem_log(r, status, err);
    rfi_answer_problem(a, status, rf_status_name(err->status), "%s", err->text);
}

typedef struct offload {
    rfi_job job;
    rfi_req *req;
    void (*work)(rfi_req *r, rfi_answer *a);
    rfi_answer answer;
} offload;

static void work_offload(rfi_job *job)
{
    offload *o = (offload *)job;

    if (!atomic_load(&o->req->gone)) /* else nobody listens */
        o->work(o->req, &o->answer);
}

static void end_offload(rfi_post *post)
{
    offload *o = (offload *)post;
    rfi_req *r = o->req;
    rfi_answer *a = &o->answer;

    RF_ASSERT(a->status != 0 || atomic_load(&r->gone));
    if (r->conn != NULL && !r->started) {
        rf_buf_add_str(&r->headers_out, rf_buf_str(&a->headers));
        rfi_reply_take(r, a->status, a->content_type, &a->body);
    }
    rf_buf_clear(&a->body);
    rf_buf_clear(&a->headers);
    rfi_req_unref(r);
    free(o);
}

void rfi_offload(rfi_workers *w, rfi_req *r, void (*work)(rfi_req *r, rfi_answer *a))
{
    offload *o = rf_xcalloc(1, sizeof *o);

    o->job.loop = r->loop;
    o->job.work = work_offload;
    o->job.post.run = end_offload;
    o->req = r;
    o->work = work;
    rf_buf_init(&o->answer.body, ANSWER_MAX);
    rf_buf_init(&o->answer.headers, RFI_HEADERS_OUT_MAX / 2);
    rfi_req_ref(r);
    if (rfi_workers_submit(w, &o->job))
        return;
    free(o);
    rfi_reply_header(r, "Retry-After", "1");
    rfi_problem(r, 503, "busy", "Too many requests wait for a worker; try again.");
    rfi_req_unref(r);
}
