/*
 * One event into a chunk: decoded, checked for what the request may do, and given its partition. Or
 * its fault, and then nothing of it stays.
 */
#include "ingest/ingest_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EXPECT_TEXT_MAX 32

static const char *expect_text(const rf_expect *e, char out[static EXPECT_TEXT_MAX])
{
    switch (e->kind) {
    case RF_EXPECT_NO_STREAM:
        return "no-stream";
    case RF_EXPECT_STREAM_EXISTS:
        return "stream-exists";
    case RF_EXPECT_EXACT:
        snprintf(out, EXPECT_TEXT_MAX, "%" PRIu64, e->revision);
        return out;
    case RF_EXPECT_ANY:
        break;
    }
    return "any";
}

/* The request's own expectation (If-Match) is for its first event. */
static bool apply_expectation(rf_ingest_request *r, rf_expect *expect, rf_event_fault *fault)
{
    const rf_expect *asked = &r->options.expect;
    char a[EXPECT_TEXT_MAX], b[EXPECT_TEXT_MAX];

    if (r->first_seen || asked->kind == RF_EXPECT_ANY)
        return true;
    if (expect->kind != RF_EXPECT_ANY &&
        (expect->kind != asked->kind || expect->revision != asked->revision)) {
        rfi_ingest_fault(
            fault, "bad-expectedrevision", "/expectedrevision",
            "The request expects revision %s, the event's expectedrevision says %s; send one "
            "of them.",
            expect_text(asked, a), expect_text(expect, b));
        return false;
    }
    *expect = *asked;
    return true;
}

static rf_status check(rf_ingest_request *r, const rf_event *event, rf_expect *expect,
                       rf_event_fault *fault)
{
    if (!apply_expectation(r, expect, fault))
        return RF_EINVAL;
    if (rfi_ingest_type_is_system(event->type) && !r->options.system) {
        rfi_ingest_fault(fault, "system-domain", "/type",
                         "Types that begin with \"" RF_SYSTEM_DOMAIN
                         ".\" are written by the program itself; choose another prefix.");
        return RF_EFORBIDDEN;
    }
    return RF_OK;
}

/* Events of one type come in rows: the domain of the one before usually holds. */
static rf_str domain_of(rf_ingest_request *r, rf_str type)
{
    if (r->last_type.n == 0 || !rf_str_eq(r->last_type, type)) {
        r->last_type = type;
        r->last_domain = rfi_ingest_routes_domain(r->ingest->routes, type);
    }
    return r->last_domain;
}

/* Finds the partition's share of the chunk, or begins one. */
static rfi_share *share_for(rfi_chunk *c, rf_log_part *part)
{
    for (uint32_t i = 0; i < c->share_count; i++) {
        if (c->shares[i].part == part)
            return &c->shares[i];
    }
    if (!rfi_ingest_chunk_share_room(c))
        return NULL;
    c->shares[c->share_count] = (rfi_share){.part = part};
    return &c->shares[c->share_count++];
}

static bool route(rf_ingest_request *r, rfi_chunk *c, const rf_event *event)
{
    rf_str domain = domain_of(r, event->type);
    rf_log_part *part = rf_log_route(r->ingest->log, domain, rf_event_stream(event));
    rfi_share *share;

    if (part == NULL) {
        rfi_ingest_request_fail(r, RF_EFENCED, NULL,
                                "domain %.*s takes no writes: see refold verify",
                                RF_STR_ARG(domain));
        return false;
    }
    share = share_for(c, part);
    if (share == NULL) {
        rfi_ingest_request_fail_nomem(r);
        return false;
    }
    share->count++;
    c->share_of[c->count] = (uint16_t)(share - c->shares);
    return true;
}

void rfi_ingest_admit_decoded(rf_ingest_request *r, rfi_chunk *c, rf_status st, uint64_t index,
                              const rf_event_fault *fault)
{
    rf_ingest_error error;

    if (st == RF_OK) {
        st = check(r, &c->events[c->count], &c->expects[c->count], &error.fault);
        fault = &error.fault;
    }
    r->first_seen = true;
    if (st == RF_ENOMEM) {
        rfi_ingest_request_fail_nomem(r);
        return;
    }
    if (st != RF_OK) {
        error.index = index;
        error.status = st;
        if (fault != &error.fault)
            error.fault = *fault;
        rfi_ingest_chunk_reject(c, &error);
        rfi_ingest_rules_count(&r->ingest->rules, error.fault.rule, 1);
        return;
    }
    if (!route(r, c, &c->events[c->count]))
        return;
    c->index[c->count] = index;
    c->expects_any = c->expects_any || c->expects[c->count].kind != RF_EXPECT_ANY;
    c->count++;
}

void rfi_ingest_admit(rf_ingest_request *r, rfi_chunk *c, rf_str text, uint64_t index)
{
    rf_event_fault fault;
    rf_status st;

    if (!rfi_ingest_chunk_room(c)) {
        rfi_ingest_request_fail_nomem(r);
        return;
    }
    st = rf_event_decode(c->decoder, text, &c->events[c->count], &c->expects[c->count], &fault);
    rfi_ingest_admit_decoded(r, c, st, index, &fault);
}

bool rfi_ingest_has_bom(rf_str text, rf_event_fault *fault)
{
    if (!rf_str_starts(text, RF_STR("\xEF\xBB\xBF")))
        return false;
    rfi_ingest_fault(
        fault, "json-syntax", "",
        "The text begins with a byte order mark (EF BB BF), which JSON does not allow; send "
        "UTF-8 without one.");
    return true;
}
