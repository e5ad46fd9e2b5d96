/* Output of a connection: one writev at once, and what the kernel did not take later. */
#include "server/conn_int.h"

#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 8

/* What is left of one send. */
typedef struct out {
    uv_write_t write;
    size_t bytes;
    rf_buf owned;
    char copy[];
} out;

static void after_output(rfi_conn *c)
{
    if (c->queued == 0 && c->close_after) {
        rfi_conn_shutdown(c);
        return;
    }
    if (c->wants_drain && c->queued <= RFI_OUT_LOW && c->req != NULL) {
        c->wants_drain = false;
        if (c->req->on_drain != NULL) {
            rfi_req *r = rfi_req_ref(c->req);

            r->on_drain(r);
            rfi_req_unref(r);
        }
    }
    if (c->state == RFI_CONN_IDLE || c->state == RFI_CONN_HEAD)
        rfi_conn_output_ready(c);
}

static void on_written(uv_write_t *write, int status)
{
    out *o = write->data;
    rfi_conn *c = write->handle->data;

    c->queued -= o->bytes;
    rf_buf_clear(&o->owned);
    free(o);
    if (c->state == RFI_CONN_CLOSED)
        return;
    if (status < 0)
        rfi_conn_close(c);
    else
        after_output(c);
}

/* Queues all but the first `done` bytes of parts and take. */
static void queue_rest(rfi_conn *c, const rf_str *parts, size_t count, rf_buf *take, size_t done)
{
    size_t copied = 0, skip = done;
    uv_buf_t bufs[2];
    unsigned n = 0;

    for (size_t i = 0; i < count; i++)
        copied += parts[i].n;
    copied = copied > done ? copied - done : 0;
    out *o = malloc(sizeof *o + copied);

    if (o == NULL) {
        rfi_conn_close(c);
        return;
    }
    rf_buf_init(&o->owned, 0);
    o->write.data = o;
    o->bytes = copied;
    char *to = o->copy;

    for (size_t i = 0; i < count; i++) {
        size_t gone = RF_MIN(skip, parts[i].n);

        if (parts[i].n > gone)
            memcpy(to, parts[i].p + gone, parts[i].n - gone);
        to += parts[i].n - gone;
        skip -= gone;
    }
    if (copied > 0)
        bufs[n++] = uv_buf_init(o->copy, (unsigned)copied);
    if (take != NULL && take->n > skip) {
        o->owned = *take;
        rf_buf_init(take, take->max);
        bufs[n++] = uv_buf_init(o->owned.p + skip, 0);
        bufs[n - 1].len = o->owned.n - skip;
        o->bytes += o->owned.n - skip;
    }
    c->queued += o->bytes;
    c->queued_ever += o->bytes;
    int e = uv_write(&o->write, &c->uv.stream, bufs, n, on_written);

    if (e != 0) {
        c->queued -= o->bytes;
        rf_buf_clear(&o->owned);
        free(o);
        rfi_conn_close(c);
    }
}

void rfi_conn_send(rfi_conn *c, const rf_str *parts, size_t count, rf_buf *take)
{
    uv_buf_t bufs[PARTS_MAX + 1];
    unsigned n = 0;
    size_t total = 0, done = 0;

    RF_ASSERT(count <= PARTS_MAX);
    if (c->state == RFI_CONN_CLOSED)
        return;
    for (size_t i = 0; i < count; i++) {
        bufs[n] = uv_buf_init((char *)(uintptr_t)parts[i].p, 0);
        bufs[n++].len = parts[i].n;
        total += parts[i].n;
    }
    if (take != NULL && take->n > 0) {
        bufs[n] = uv_buf_init(take->p, 0);
        bufs[n++].len = take->n;
        total += take->n;
    }
    if (c->queued == 0) {
        int wrote = uv_try_write(&c->uv.stream, bufs, n);

        if (wrote < 0 && wrote != UV_EAGAIN) {
            rfi_conn_close(c);
            return;
        }
        done = wrote < 0 ? 0 : (size_t)wrote;
    }
    if (done < total)
        queue_rest(c, parts, count, take, done);
    else if (take != NULL)
        rf_buf_clear(take);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    rfi_conn *c = shutdown->data;

    if (c->state == RFI_CONN_CLOSED)
        return;
    if (status < 0 || c->eof)
        rfi_conn_close(c);
}

void rfi_conn_shutdown(rfi_conn *c)
{
    if (c->state == RFI_CONN_CLOSED || c->shut)
        return;
    c->shut = true;
    c->since_ms = uv_now(&c->loop->base.uv); /* from here on the client has RFI_LINGER_MS */
    c->shutdown.data = c;
    if (uv_shutdown(&c->shutdown, &c->uv.stream, on_shut) != 0)
        rfi_conn_close(c);
}
