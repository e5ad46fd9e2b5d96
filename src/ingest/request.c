/*
 * The life of a request. Bytes come by rf_ingest_feed on the owner's thread; they go through the
 * content coding into the form's chunks until too much is in flight, and wait in the backlog then.
 *
 *   feed/end/result -> advance -> harvest, pump, finish, seal -> conclude when nothing is in flight
 *
 * Who wakes the owner: `wanted` is set, under the mutex, whenever the owner is told to wait;
 * `sealed` when nothing further will be submitted. A chunk that lands looks at both (submit.c).
 * When nothing is in flight there is nobody to wait for: the owner goes on by itself and, at the
 * end, wakes itself.
 */
#include "ingest/ingest_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPAND_FREE_BYTES (1u << 20) /* what a body may expand to, whatever its size */

/* ---- failing
 * ------------------------------------------------------------------------------------- */

void rfi_ingest_request_fail_fault(rf_ingest_request *r, rf_status status,
                                   const rf_event_fault *fault)
{
    if (r->failed)
        return;
    r->failed = true;
    r->outcome.status = rf_err_set(&r->outcome.err, status, "%s", fault->detail);
    /* NDJSON: the first line of which nothing was taken. */
    r->fault.index = r->options.form == RF_FORM_NDJSON ? r->line + 1 : 0;
    r->fault.status = status;
    r->fault.fault = *fault;
    rfi_ingest_rules_count(&r->ingest->rules, fault->rule, 1);
}

void rfi_ingest_request_fail(rf_ingest_request *r, rf_status status, const char *rule,
                             const char *fmt, ...)
{
    char text[RF_ERR_TEXT_MAX];
    rf_event_fault fault;
    va_list args;

    if (r->failed)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (rule != NULL) {
        rfi_ingest_fault(&fault, rule, "", "%s", text);
        rfi_ingest_request_fail_fault(r, status, &fault);
        return;
    }
    r->failed = true;
    r->outcome.status = rf_err_set(&r->outcome.err, status, "%s", text);
}

void rfi_ingest_request_fail_nomem(rf_ingest_request *r)
{
    rfi_ingest_request_fail(r, RF_ENOMEM, NULL,
                            "the node has no memory for this request; try again later");
}

/* ---- beginning and ending
 * -------------------------------------------------------------------------- */

static rfi_size first_size(rf_ingest_form form)
{
    return form == RF_FORM_BATCH ? RFI_MEDIUM : RFI_SMALL;
}

static const rfi_form *form_of(rf_ingest_form form)
{
    static const rfi_form *const forms[] = {
        [RF_FORM_EVENT] = &rfi_ingest_form_event,
        [RF_FORM_BATCH] = &rfi_ingest_form_batch,
        [RF_FORM_NDJSON] = &rfi_ingest_form_lines,
        [RF_FORM_BINARY] = &rfi_ingest_form_binary,
    };
    return forms[form];
}

static bool keep_content_type(rf_ingest_request *r, rf_str content_type)
{
    if (!rfi_ingest_chunk_grow(r->gather, content_type.n + 1))
        return false;
    if (content_type.n > 0)
        memcpy(r->gather->bytes, content_type.p, content_type.n);
    r->gather->n = r->body_at = r->content_type_n = content_type.n;
    return true;
}

static bool request_prepare(rf_ingest_request *r, const rf_ingest_request_options *options)
{
    r->options = *options;
    r->options.content_type = (rf_str){NULL, 0};
    if (options->form != RF_FORM_NDJSON)
        r->options.want_results = true;
    r->form = form_of(options->form);
    rf_buf_init(&r->backlog, SIZE_MAX); /* holds one call's bytes at most: the caller bounds it */
    rf_buf_init(&r->outcome.results, RFI_RESULTS_BYTES_MAX);
    if (options->coding != RF_CODING_IDENTITY) {
        r->coding = rfi_ingest_coding_new(options->coding);
        if (r->coding == NULL)
            return false;
    }
    if (options->form == RF_FORM_NDJSON)
        return true; /* takes its chunk when it knows how much comes */
    r->gather = rfi_ingest_chunk_take(&r->ingest->pool, first_size(options->form));
    if (r->gather == NULL)
        return false;
    return options->form != RF_FORM_BINARY || keep_content_type(r, options->content_type);
}

static void count_owner(rf_ingest *ingest, int owned, int live)
{
    pthread_mutex_lock(&ingest->mutex);
    ingest->owned = (uint64_t)((int64_t)ingest->owned + owned);
    ingest->live = (uint64_t)((int64_t)ingest->live + live);
    if (ingest->live == 0)
        pthread_cond_signal(&ingest->quiet);
    pthread_mutex_unlock(&ingest->mutex);
}

static void request_destroy(rf_ingest_request *r)
{
    rf_ingest *ingest = r->ingest;

    pthread_cond_destroy(&r->quiet);
    pthread_mutex_destroy(&r->mutex);
    free(r);
    count_owner(ingest, 0, -1);
}

void rfi_ingest_request_unref(rf_ingest_request *r)
{
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1)
        request_destroy(r);
}

/* What only the owner uses. */
static void request_clear(rf_ingest_request *r)
{
    if (r->gather != NULL)
        rfi_ingest_chunk_give(&r->ingest->pool, r->gather);
    r->gather = NULL;
    rfi_ingest_coding_free(&r->coding);
    rf_buf_clear(&r->backlog);
    rf_buf_clear(&r->outcome.results);
    rf_position_clear(&r->outcome.position);
    free(r->outcome.errors);
}

rf_status rf_ingest_begin(rf_ingest *ingest, const rf_ingest_request_options *options,
                          rf_ingest_request **out, rf_err *err)
{
    rf_ingest_request *r;

    RF_ASSERT(options->wake != NULL);
    *out = NULL;
    if (rf_log_pending_bytes(ingest->log) > ingest->options.pending_bytes_max) {
        atomic_fetch_add_explicit(&ingest->busy, 1, memory_order_relaxed);
        return rf_err_set(err, RF_EBUSY,
                          "too many events are waiting for the disk; try again later");
    }
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory for a request; try again later");
    r->ingest = ingest;
    if (!request_prepare(r, options)) {
        request_clear(r);
        free(r);
        return rf_err_set(err, RF_ENOMEM, "no memory for a request; try again later");
    }
    atomic_init(&r->refs, 1);
    pthread_mutex_init(&r->mutex, NULL);
    pthread_cond_init(&r->quiet, NULL);
    count_owner(ingest, 1, 1);
    atomic_fetch_add_explicit(&ingest->requests, 1, memory_order_relaxed);
    *out = r;
    return RF_OK;
}

void rf_ingest_free(rf_ingest_request **request)
{
    rf_ingest_request *r = *request;
    rf_ingest *ingest;

    if (r == NULL)
        return;
    *request = NULL;
    ingest = r->ingest;
    pthread_mutex_lock(&r->mutex);
    r->detached = true; /* chunks that are not done by now are recycled where they land */
    while (r->head != NULL) {
        rfi_chunk *c = r->head;

        r->head = c->next;
        if (c->done) {
            (void)rfi_ingest_tally_chunk(ingest, c);
            rfi_ingest_chunk_give(&ingest->pool, c);
        }
    }
    while (r->waking > 0)
        pthread_cond_wait(&r->quiet, &r->mutex);
    pthread_mutex_unlock(&r->mutex);
    request_clear(r);
    rfi_ingest_request_unref(r);
    count_owner(ingest, -1, 0);
}

/* ---- taking bytes
 * ------------------------------------------------------------------------------------ */

/* Too much in flight, and so somebody who will wake the owner. */
static bool over_limit(const rf_ingest_request *r)
{
    const rf_ingest *ingest = r->ingest;

    return r->in_flight >= RFI_IN_FLIGHT_MAX ||
           (r->in_flight > 0 &&
            rf_log_pending_bytes(ingest->log) > ingest->options.pending_bytes_max);
}

static bool must_wait(rf_ingest_request *r)
{
    bool yes;

    pthread_mutex_lock(&r->mutex);
    yes = over_limit(r);
    pthread_mutex_unlock(&r->mutex);
    return yes;
}

static void took(rf_ingest_request *r, size_t n)
{
    r->outcome.bytes += n;
    r->form->took(r, n);
}

static void take_plain(rf_ingest_request *r, rf_str *in)
{
    while (in->n > 0 && !r->failed && !must_wait(r)) {
        size_t room;
        char *to = r->form->room(r, &room);

        if (to == NULL)
            return;
        room = RF_MIN(room, in->n);
        memcpy(to, in->p, room);
        in->p += room;
        in->n -= room;
        took(r, room);
    }
}

static void check_expansion(rf_ingest_request *r)
{
    uint64_t bytes = r->outcome.bytes;

    if (!r->failed && bytes > EXPAND_FREE_BYTES &&
        bytes / r->ingest->options.expand_ratio_max > r->coded) {
        rfi_ingest_request_fail(r, RF_ETOOBIG, "expansion-limit",
                                "The compressed body expands to more than %u times its size.",
                                r->ingest->options.expand_ratio_max);
    }
}

static void take_coded(rf_ingest_request *r, rf_str *in)
{
    while ((in->n > 0 || r->coding_more) && !r->failed && !must_wait(r)) {
        rfi_coding_step step = {.in = in->p, .in_n = in->n};
        const char *why = "";
        char *to;
        rf_status st;

        to = step.out = r->form->room(r, &step.out_n);
        if (to == NULL)
            return;
        st = rfi_ingest_coding_run(r->coding, &step, &why);
        if (st == RF_OK && step.out == to && step.in == in->p && in->n > 0) {
            st = RF_EINVAL; /* else this would go on for ever */
            why = "it cannot be decoded further";
        }
        r->coded += in->n - step.in_n;
        *in = (rf_str){step.in, step.in_n};
        r->coding_more = step.more;
        if (st == RF_ENOMEM)
            rfi_ingest_request_fail_nomem(r);
        else if (st != RF_OK)
            rfi_ingest_request_fail(r, RF_EINVAL, "bad-encoding",
                                    "The compressed body is broken: %s.", why);
        else if (step.out > to)
            took(r, (size_t)(step.out - to));
        check_expansion(r);
    }
}

static void take(rf_ingest_request *r, rf_str *in)
{
    uint64_t before = r->outcome.bytes;

    if (r->coding == NULL)
        take_plain(r, in);
    else
        take_coded(r, in);
    atomic_fetch_add_explicit(&r->ingest->bytes, r->outcome.bytes - before, memory_order_relaxed);
}

/* ---- going on
 * ------------------------------------------------------------------------------------------ */

static bool has_backlog(const rf_ingest_request *r)
{
    return r->backlog_used < r->backlog.n || r->coding_more;
}

static rf_str rest_of_backlog(const rf_ingest_request *r)
{
    if (r->backlog.n == 0)
        return (rf_str){NULL, 0};
    return (rf_str){r->backlog.p + r->backlog_used, r->backlog.n - r->backlog_used};
}

static void drop_input(rf_ingest_request *r)
{
    r->backlog_used = 0;
    r->coding_more = false;
    rf_buf_clear(&r->backlog);
    if (r->gather != NULL)
        rfi_ingest_chunk_give(&r->ingest->pool, r->gather);
    r->gather = NULL;
}

/* Takes from the backlog and from `in` what may be taken; keeps the rest. True: all was taken.
 * False: the owner has to wait, and `wanted` makes sure that it is woken. */
static bool pump(rf_ingest_request *r, rf_str in)
{
    for (;;) {
        rf_str kept = rest_of_backlog(r);
        bool wait;

        take(r, &kept);
        r->backlog_used = r->backlog.n - kept.n;
        if (!has_backlog(r) && r->backlog.n > 0) {
            rf_buf_clear(&r->backlog);
            r->backlog_used = 0;
        }
        if (!has_backlog(r))
            take(r, &in);
        if (r->failed)
            return true;
        if (in.n == 0 && !has_backlog(r))
            break;
        pthread_mutex_lock(&r->mutex);
        wait = r->wanted = over_limit(r);
        pthread_mutex_unlock(&r->mutex);
        if (!wait)
            continue; /* something landed meanwhile */
        if (in.n > 0)
            rf_buf_add(&r->backlog, in.p, in.n);
        if (r->backlog.failed)
            rfi_ingest_request_fail_nomem(r);
        return r->failed;
    }
    return true;
}

static void finish(rf_ingest_request *r)
{
    const char *why = "";

    if (r->coding != NULL && rfi_ingest_coding_end(r->coding, &why) != RF_OK)
        rfi_ingest_request_fail(r, RF_EINVAL, "bad-encoding", "The compressed body is broken: %s.",
                                why);
    if (!r->failed)
        r->form->finish(r);
    r->finished = true;
}

/* Nothing more is submitted. True: nothing is in flight either, so the outcome can be told now; and
 * *told whether a writer already told the owner so. */
static bool seal(rf_ingest_request *r, bool *told)
{
    bool due;

    pthread_mutex_lock(&r->mutex);
    r->sealed = true;
    r->wanted = false;
    due = r->in_flight == 0;
    *told = r->woken;
    if (due)
        r->woken = true;
    pthread_mutex_unlock(&r->mutex);
    return due;
}

/* Does what can be done now. True: it made the outcome ready, and nobody told the owner yet. */
static bool advance(rf_ingest_request *r, rf_str in, bool *room)
{
    bool told;

    *room = true;
    if (r->concluded)
        return false;
    r->feeding = in.n;
    rfi_ingest_harvest(r);
    if (!r->failed && !r->finished)
        *room = pump(r, in);
    if (!r->failed && !r->finished && r->ended && *room)
        finish(r);
    if (r->failed)
        drop_input(r);
    if (!r->failed && !r->finished)
        return false;
    *room = true;
    if (!seal(r, &told))
        return false;
    rfi_ingest_harvest(r);
    rfi_ingest_conclude(r);
    return !told;
}

bool rf_ingest_feed(rf_ingest_request *r, const void *p, size_t n)
{
    bool room, wait;

    RF_ASSERT(!r->ended);
    if (advance(r, (rf_str){p, n}, &room)) {
        r->options.wake(r->options.arg);
        return true;
    }
    if (!room || r->failed)
        return room;
    pthread_mutex_lock(&r->mutex);
    wait = r->wanted = over_limit(r);
    pthread_mutex_unlock(&r->mutex);
    return !wait;
}

bool rf_ingest_failed(const rf_ingest_request *r)
{
    return r->failed;
}

void rf_ingest_end(rf_ingest_request *r)
{
    bool room;

    if (r->ended)
        return;
    r->ended = true;
    if (advance(r, (rf_str){NULL, 0}, &room))
        r->options.wake(r->options.arg);
}

const rf_ingest_outcome *rf_ingest_result(rf_ingest_request *r)
{
    bool room;

    (void)advance(r, (rf_str){NULL, 0}, &room);
    return r->concluded ? &r->outcome : NULL;
}
