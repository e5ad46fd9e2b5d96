/*
 * The forms whose body is taken as a whole: one event, a JSON batch, and binary mode. The body is
 * gathered in one chunk and decoded when it is complete.
 *
 * Binary mode puts what comes before the body into the same chunk, since the event will borrow from
 * it: the content type, then the attributes, each as two lengths (uint32_t), name and value.
 */
#include "ingest/ingest_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static size_t body_bytes_max(const rf_ingest_request *r)
{
    const rf_ingest_options *o = &r->ingest->options;

    if (r->options.form == RF_FORM_BATCH)
        return o->body_bytes_max;
    return RF_MIN((size_t)o->limits.event_bytes_max, (size_t)o->body_bytes_max);
}

static char *whole_room(rf_ingest_request *r, size_t *n)
{
    rfi_chunk *c = r->gather;
    /* One more than allowed, so that too many are seen to be. */
    size_t most = r->body_at + body_bytes_max(r) + 1;
    size_t want = RF_MIN(RF_MAX(2 * c->cap, c->n + r->feeding), most);

    if (c->n == c->cap && !rfi_ingest_chunk_grow(c, want)) {
        rfi_ingest_request_fail_nomem(r);
        return NULL;
    }
    *n = c->cap - c->n;
    return c->bytes + c->n;
}

static void whole_took(rf_ingest_request *r, size_t n)
{
    r->gather->n += n;
    if (r->gather->n - r->body_at > body_bytes_max(r)) {
        rfi_ingest_request_fail(
            r, RF_ETOOBIG, "size", "The body is longer than %zu bytes, the limit for %s.",
            body_bytes_max(r), r->options.form == RF_FORM_BATCH ? "a batch" : "an event");
    }
}

static rf_str body_of(const rf_ingest_request *r)
{
    return (rf_str){r->gather->bytes + r->body_at, r->gather->n - r->body_at};
}

/* ---- one event ---------------------------------------------------------------------------------
 */

static void submit_gathered(rf_ingest_request *r, bool atomic)
{
    rfi_chunk *c = r->gather;

    r->gather = NULL;
    rfi_ingest_submit(r, c, atomic);
}

static void event_finish(rf_ingest_request *r)
{
    rf_event_fault fault;

    if (rfi_ingest_has_bom(body_of(r), &fault))
        rfi_ingest_admit_decoded(r, r->gather, RF_EINVAL, 0, &fault);
    else
        rfi_ingest_admit(r, r->gather, body_of(r), 0);
    if (!r->failed)
        submit_gathered(r, false);
}

/* ---- binary mode
 * --------------------------------------------------------------------------------- */

void rf_ingest_attr(rf_ingest_request *r, rf_str name, rf_str value)
{
    rfi_chunk *c = r->gather;
    uint32_t lengths[2] = {(uint32_t)name.n, (uint32_t)value.n};
    size_t need = sizeof(lengths) + name.n + value.n;

    RF_ASSERT(r->options.form == RF_FORM_BINARY && r->body_at == c->n && r->outcome.bytes == 0);
    if (r->failed)
        return;
    if (need > RFI_HEAD_BYTES_MAX || c->n + need > RFI_HEAD_BYTES_MAX) {
        rfi_ingest_request_fail(r, RF_ETOOBIG, "size",
                                "The attributes are longer than %u bytes together.",
                                RFI_HEAD_BYTES_MAX);
        return;
    }
    if (c->n + need > c->cap && !rfi_ingest_chunk_grow(c, RF_MAX(2 * c->cap, c->n + need))) {
        rfi_ingest_request_fail_nomem(r);
        return;
    }
    memcpy(c->bytes + c->n, lengths, sizeof(lengths));
    if (name.n > 0)
        memcpy(c->bytes + c->n + sizeof(lengths), name.p, name.n);
    if (value.n > 0)
        memcpy(c->bytes + c->n + sizeof(lengths) + name.n, value.p, value.n);
    c->n += need;
    r->body_at = c->n;
}

static rf_status decode_binary(rf_ingest_request *r, rfi_chunk *c, rf_event_fault *fault)
{
    rf_event *event = &c->events[c->count];
    rf_expect *expect = &c->expects[c->count];
    rf_status st = RF_OK;

    *expect = (rf_expect){.kind = RF_EXPECT_ANY};
    rf_event_binary_begin(c->decoder, event);
    for (size_t at = r->content_type_n; st == RF_OK && at < r->body_at;) {
        uint32_t lengths[2];
        rf_str name, value;

        memcpy(lengths, c->bytes + at, sizeof(lengths));
        name = (rf_str){c->bytes + at + sizeof(lengths), lengths[0]};
        value = (rf_str){name.p + name.n, lengths[1]};
        at += sizeof(lengths) + name.n + value.n;
        st = rf_event_binary_attr(c->decoder, event, expect, name, value, fault);
    }
    if (st != RF_OK)
        return st;
    return rf_event_binary_finish(c->decoder, event, (rf_str){c->bytes, r->content_type_n},
                                  body_of(r), fault);
}

static void binary_finish(rf_ingest_request *r)
{
    rfi_chunk *c = r->gather;
    rf_event_fault fault;
    rf_status st;

    if (!rfi_ingest_chunk_room(c)) {
        rfi_ingest_request_fail_nomem(r);
        return;
    }
    st = decode_binary(r, c, &fault);
    rfi_ingest_admit_decoded(r, c, st, 0, &fault);
    if (!r->failed)
        submit_gathered(r, false);
}

/* ---- a batch
 * ----------------------------------------------------------------------------------------- */

static bool take_element(void *arg, uint64_t index, rf_str element)
{
    rf_ingest_request *r = arg;

    rfi_ingest_admit(r, r->gather, element, index);
    return !r->failed;
}

static void refuse_span(rf_ingest_request *r)
{
    const rfi_chunk *c = r->gather;
    char text[128];
    rf_buf list;

    rf_buf_init(&list, sizeof(text));
    for (uint32_t s = 0; s < c->share_count && s < 4; s++) {
        rf_buf_addf(&list, "%s%.*s/%" PRIu32, s == 0 ? "" : ", ",
                    RF_STR_ARG(rfi_ingest_shorten(rf_log_part_domain(c->shares[s].part), 16)),
                    rf_log_part_number(c->shares[s].part));
    }
    snprintf(text, sizeof(text), "%.*s%s", RF_STR_ARG(rf_buf_str(&list)),
             c->share_count > 4 ? ", ..." : "");
    rf_buf_clear(&list);
    rfi_ingest_request_fail(
        r, RF_EINVAL, "batch-spans-partitions",
        "A batch is stored as a whole only within one partition, and these events "
        "belong to %" PRIu32 " (%s); split it, or send it with on-error=report.",
        c->share_count, text);
}

static void batch_finish(rf_ingest_request *r)
{
    rfi_chunk *c = r->gather;
    rf_event_fault fault;
    rf_status st = RF_EINVAL;

    if (!rfi_ingest_has_bom(body_of(r), &fault))
        st = rf_event_split_batch(body_of(r), r->ingest->options.batch_events_max, take_element, r,
                                  &fault);
    if (r->failed)
        return;
    if (st == RF_ENOMEM) {
        rfi_ingest_request_fail_nomem(r);
    } else if (st != RF_OK) {
        rfi_ingest_request_fail_fault(r, st, &fault);
    } else if (!r->options.report_errors && c->rejected > 0) {
        c->count = 0; /* all or nothing */
        submit_gathered(r, false);
    } else if (!r->options.report_errors && c->share_count > 1) {
        refuse_span(r);
    } else {
        submit_gathered(r, !r->options.report_errors);
    }
}

const rfi_form rfi_ingest_form_event = {whole_room, whole_took, event_finish};
const rfi_form rfi_ingest_form_binary = {whole_room, whole_took, binary_finish};
const rfi_form rfi_ingest_form_batch = {whole_room, whole_took, batch_finish};
