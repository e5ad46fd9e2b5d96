/*
 * What the log said of a chunk becomes part of the outcome: counts, position, errors in the order
 * of input, and, when asked for, a line for each event.
 */
#include "ingest/ingest_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_BYTES 60 /* of an id or a source, in a detail */

rfi_tally rfi_ingest_tally_chunk(rf_ingest *ingest, const rfi_chunk *c)
{
    rfi_tally t = {0};
    uint32_t shares = c->count > 0 ? c->share_count : 0;

    for (uint32_t s = 0; s < shares; s++) {
        const rf_append *a = &c->appends[s];

        if (a->status != RF_OK && a->status != RF_ECONFLICT && t.failed == NULL)
            t.failed = a;
        for (uint32_t i = 0; i < a->count; i++) {
            const rf_receipt *receipt = &a->receipts[i];

            if (receipt->status == RF_OK)
                *(receipt->duplicate ? &t.duplicates : &t.accepted) += 1;
            else if (receipt->status == RF_ECONFLICT)
                *(receipt->conflict_id ? &t.conflict_ids : &t.conflict_revisions) += 1;
        }
    }
    atomic_fetch_add_explicit(&ingest->events, t.accepted, memory_order_relaxed);
    atomic_fetch_add_explicit(&ingest->duplicates, t.duplicates, memory_order_relaxed);
    rfi_ingest_rules_count(&ingest->rules, "conflict-id", t.conflict_ids);
    rfi_ingest_rules_count(&ingest->rules, "conflict-revision", t.conflict_revisions);
    return t;
}

/* ---- errors
 * -------------------------------------------------------------------------------------- */

static void add_error(rf_ingest_outcome *o, const rf_ingest_error *error)
{
    if (o->error_count >= RF_INGEST_ERRORS_MAX)
        return;
    if ((o->error_count & (o->error_count - 1)) == 0) { /* 0, 1, 2, 4 ...: full */
        size_t cap = RF_MAX(2 * o->error_count, (size_t)1);
        rf_ingest_error *more = realloc(o->errors, cap * sizeof(*more));

        if (more == NULL)
            return; /* the count still tells */
        o->errors = more;
    }
    o->errors[o->error_count++] = *error;
}

static void describe_id_conflict(const rf_event *e, const rfi_share *share,
                                 const rf_receipt *receipt, rf_event_fault *fault)
{
    rfi_ingest_fault(
        fault, "conflict-id", "/id",
        "Another event with id \"%.*s\" and source \"%.*s\" but other content is stored at "
        "offset %" PRIu64 " of %.*s/%" PRIu32 ".",
        RF_STR_ARG(rfi_ingest_shorten(e->id, SHOWN_BYTES)),
        RF_STR_ARG(rfi_ingest_shorten(e->source, SHOWN_BYTES)), receipt->offset,
        RF_STR_ARG(rf_log_part_domain(share->part)), rf_log_part_number(share->part));
}

static void revision_text(uint64_t revision, char out[static 32])
{
    if (revision == RF_REVISION_NONE)
        snprintf(out, 32, "no stream");
    else
        snprintf(out, 32, "%" PRIu64, revision);
}

static void describe_revision_conflict(const rf_event *e, const rf_expect *expect,
                                       const rf_receipt *receipt, rf_event_fault *fault)
{
    char expected[32], actual[32];

    revision_text(receipt->revision, actual);
    if (expect->kind == RF_EXPECT_EXACT)
        revision_text(expect->revision, expected);
    else
        snprintf(expected, sizeof(expected), "%s",
                 expect->kind == RF_EXPECT_NO_STREAM ? "no stream" : "an existing stream");
    rfi_ingest_fault(
        fault, "conflict-revision", "/expectedrevision", "Stream \"%.*s\": expected %s, actual %s.",
        RF_STR_ARG(rfi_ingest_shorten(rf_event_stream(e), SHOWN_BYTES)), expected, actual);
}

static void add_conflict(rf_ingest_request *r, const rfi_chunk *c, uint32_t i,
                         const rf_receipt *receipt)
{
    rf_ingest_error error = {.index = c->index[i], .status = RF_ECONFLICT};

    if (r->outcome.error_count >= RF_INGEST_ERRORS_MAX)
        return;
    if (receipt->conflict_id)
        describe_id_conflict(&c->events[i], &c->shares[c->share_of[i]], receipt, &error.fault);
    else
        describe_revision_conflict(&c->events[i], &c->expects[i], receipt, &error.fault);
    add_error(&r->outcome, &error);
}

/* ---- results
 * --------------------------------------------------------------------------------------- */

static void add_result(rf_buf *out, const rf_event *e, const rfi_share *share,
                       const rf_receipt *receipt)
{
    if (out->n > 0)
        rf_buf_add_char(out, ',');
    rf_buf_add_cstr(out, "{\"id\":");
    rf_buf_add_json_str(out, e->id);
    rf_buf_add_cstr(out, ",\"domain\":");
    rf_buf_add_json_str(out, rf_log_part_domain(share->part));
    rf_buf_add_cstr(out, ",\"partition\":");
    rf_buf_add_u64(out, rf_log_part_number(share->part));
    rf_buf_add_cstr(out, ",\"offset\":");
    rf_buf_add_u64(out, receipt->offset);
    rf_buf_add_cstr(out, ",\"stream\":");
    rf_buf_add_json_str(out, rf_event_stream(e));
    rf_buf_add_cstr(out, ",\"revision\":");
    rf_buf_add_u64(out, receipt->revision);
    rf_buf_add_cstr(out, receipt->duplicate ? ",\"duplicate\":true}" : ",\"duplicate\":false}");
}

/* Goes through good and bad events together, in the order they came in. */
static void settle_each(rf_ingest_request *r, const rfi_chunk *c)
{
    uint32_t bad = 0;

    for (uint32_t i = 0; i < c->count; i++) {
        const rf_receipt *receipt = &c->receipts[c->share_count > 1 ? c->slot[i] : i];

        for (; bad < c->error_count && c->errors[bad].index < c->index[i]; bad++)
            add_error(&r->outcome, &c->errors[bad]);
        if (receipt->status == RF_ECONFLICT)
            add_conflict(r, c, i, receipt);
        else if (receipt->status == RF_OK && r->options.want_results)
            add_result(&r->outcome.results, &c->events[i], &c->shares[c->share_of[i]], receipt);
    }
    for (; bad < c->error_count; bad++)
        add_error(&r->outcome, &c->errors[bad]);
}

static void raise_position(rf_position *position, const rfi_chunk *c)
{
    for (uint32_t s = 0; s < c->share_count; s++) {
        const rf_append *a = &c->appends[s];
        uint64_t next = 0;

        for (uint32_t i = 0; i < a->count; i++) {
            if (a->receipts[i].status == RF_OK)
                next = RF_MAX(next, a->receipts[i].offset + 1);
        }
        if (next > 0) {
            rf_position_raise(position, rf_log_part_domain(c->shares[s].part),
                              rf_log_part_number(c->shares[s].part), next);
        }
    }
}

void rfi_ingest_settle(rf_ingest_request *r, const rfi_chunk *c)
{
    rfi_tally t = rfi_ingest_tally_chunk(r->ingest, c);
    rf_ingest_outcome *o = &r->outcome;
    uint64_t conflicts = t.conflict_ids + t.conflict_revisions;

    o->accepted += t.accepted;
    o->duplicates += t.duplicates;
    o->rejected += c->rejected + conflicts;
    if (t.accepted + t.duplicates > 0)
        raise_position(&o->position, c);
    if (c->rejected > 0 || conflicts > 0 || r->options.want_results)
        settle_each(r, c);
    if (t.failed != NULL)
        rfi_ingest_request_fail(r, t.failed->status, NULL, "%s", t.failed->err.text);
}

/* ---- the end
 * ----------------------------------------------------------------------------------------- */

/* All of one kind: the request fails for that reason; else its events are simply wrong. An event
 * that is too big does not make the request too big. */
static rf_status common_status(const rf_ingest_request *r)
{
    const rf_ingest_outcome *o = &r->outcome;
    rf_status st;

    if (o->error_count == 0)
        return RF_EINVAL;
    st = o->errors[0].status;
    if (r->options.form == RF_FORM_EVENT || r->options.form == RF_FORM_BINARY)
        return st;
    if (r->options.form == RF_FORM_NDJSON || r->options.report_errors || st == RF_ETOOBIG)
        return RF_EINVAL;
    for (size_t i = 1; i < o->error_count; i++) {
        if (o->errors[i].status != st)
            return RF_EINVAL;
    }
    return st;
}

static void refuse(rf_ingest_request *r)
{
    rf_ingest_outcome *o = &r->outcome;
    const char *detail = o->error_count > 0 ? o->errors[0].fault.detail : "";

    if (r->options.form == RF_FORM_EVENT || r->options.form == RF_FORM_BINARY)
        rf_err_set(&o->err, common_status(r), "%s", detail);
    else
        rf_err_set(
            &o->err, common_status(r), "%s: %" PRIu64 " refused, the first is %s %" PRIu64 ": %s",
            r->options.form == RF_FORM_NDJSON || r->options.report_errors ? "no event was good"
                                                                          : "nothing was stored",
            o->rejected, r->options.form == RF_FORM_NDJSON ? "line" : "event",
            o->error_count > 0 ? o->errors[0].index : 0, detail);
    o->status = o->err.status;
}

void rfi_ingest_conclude(rf_ingest_request *r)
{
    rf_ingest_outcome *o = &r->outcome;
    bool whole = r->options.form == RF_FORM_BATCH && !r->options.report_errors;

    RF_ASSERT(!r->concluded && r->head == NULL);
    r->concluded = true;
    if (r->failed) { /* status and err say why, since rfi_ingest_request_fail */
        if (r->fault.fault.rule != NULL) {
            if (o->error_count == RF_INGEST_ERRORS_MAX)
                o->error_count--; /* the reason of the whole matters more than the last of its parts
                                   */
            add_error(o, &r->fault);
        }
    } else if (o->rejected > 0 && (whole || o->accepted + o->duplicates == 0)) {
        refuse(r);
    }
}
