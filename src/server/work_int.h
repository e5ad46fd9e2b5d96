/*
 * Work that blocks (disk, engine, the other half's socket) runs here and not on a loop: a few
 * threads behind a queue of bounded length.
 */
#ifndef RFI_SERVER_WORK_H
#define RFI_SERVER_WORK_H

#include "server/loop_int.h"
#include "server/request_int.h"

typedef struct rfi_workers rfi_workers;

/* Embedded in what it is about; belongs to the workers from submit until `post` runs on the loop.
 */
typedef struct rfi_job rfi_job;
struct rfi_job {
    rfi_post post; /* post.run: back on the loop */
    rfi_loop *loop;
    void (*work)(rfi_job *job); /* on a worker */
    rfi_job *next;
};

RF_CHECKED rf_status rfi_workers_open(uint32_t threads, uint32_t queue_max, rfi_workers **out,
                                      rf_err *err);
/* Finishes what was submitted. */
void rfi_workers_close(rfi_workers **w);
/* false: the queue is full. Any thread. */
RF_CHECKED bool rfi_workers_submit(rfi_workers *w, rfi_job *job);

/* ---- requests answered by a worker
 * ----------------------------------------------------------------- */

/* What a worker says; the loop sends it. */
typedef struct rfi_answer {
    int status;
    const char *content_type;
    rf_buf body;
    rf_buf headers; /* lines "Name: value\r\n" */
} rfi_answer;

void rfi_answer_header(rfi_answer *a, const char *name, const char *fmt, ...) RF_PRINTF(3, 4);
void rfi_answer_problem(rfi_answer *a, int status, const char *rule, const char *fmt, ...)
    RF_PRINTF(4, 5);
void rfi_answer_problem_with(rfi_answer *a, int status, const char *rule, rf_str detail,
                             rf_str members);
/* As rfi_problem_err. */
void rfi_answer_err(rfi_answer *a, const rfi_req *r, const rf_err *err);

/* Runs work(r, answer) on a worker and sends the answer, or a 503 problem when the queue is full.
 * The worker may read the request's head, params, query and body. */
void rfi_offload(rfi_workers *w, rfi_req *r, void (*work)(rfi_req *r, rfi_answer *a));

#endif
