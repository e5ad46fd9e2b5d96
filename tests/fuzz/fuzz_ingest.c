/*
 * Any bytes as the body of any request. The first two choose the form, the coding and the cuts.
 * What the request says must not depend on how the body was cut; its texts are UTF-8; nothing
 * leaks.
 */
#include "ingest/ingest.h"

#include "../ingest/fake_log.h"
#include "../ingest/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_outcome(const rf_ingest_outcome *o, rf_ingest_form form)
{
    size_t bad;

    RF_ASSERT(o->status != RF_EINTERNAL && (o->status == RF_OK || o->err.text[0] != 0));
    RF_ASSERT(rf_utf8_valid(o->err.text, strlen(o->err.text), &bad));
    RF_ASSERT(o->error_count <= RF_INGEST_ERRORS_MAX);
    RF_ASSERT(rf_utf8_valid(o->results.p, o->results.n, &bad));
    for (size_t i = 0; i < o->error_count; i++) {
        const rf_event_fault *f = &o->errors[i].fault;

        RF_ASSERT(f->rule != NULL && f->detail[0] != 0);
        RF_ASSERT(rf_utf8_valid(f->detail, strlen(f->detail), &bad));
        RF_ASSERT(i == 0 || o->errors[i - 1].index <= o->errors[i].index || o->status != RF_OK);
    }
    if (form == RF_FORM_EVENT || form == RF_FORM_BINARY)
        RF_ASSERT(o->accepted + o->duplicates + o->rejected <= 1);
}

/* True when the body was broken as such: then what is stored before may depend on the cuts. */
static bool is_broken(const rf_ingest_outcome *o)
{
    for (size_t i = 0; i < o->error_count; i++) {
        if (strcmp(o->errors[i].fault.rule, "bad-encoding") == 0 ||
            strcmp(o->errors[i].fault.rule, "expansion-limit") == 0)
            return true;
    }
    return false;
}

static bool send_body(uint8_t choice, rf_str body, cutter cut, rf_buf *out)
{
    rf_ingest_options options = {.log = fake_log_new(),
                                 .limits = {.event_bytes_max = 300, .depth_max = 16},
                                 .partitions_default = choice & 32 ? 3 : 1,
                                 .body_bytes_max = 100000,
                                 .batch_events_max = 50};
    rf_ingest_request_options o = {.form = (rf_ingest_form)(choice & 3),
                                   .coding = (rf_ingest_coding)((choice >> 2 & 3) % 3),
                                   .report_errors = choice & 16,
                                   .want_results = true,
                                   .system = choice & 64,
                                   .content_type = RF_STR("text/json")};
    rf_ingest *ingest = NULL;
    rf_err err = {0};
    bool broken;
    run *it;

    if (choice & 128)
        o.expect.kind = RF_EXPECT_NO_STREAM;
    RF_ASSERT(rf_ingest_open(&options, &ingest, &err) == RF_OK);
    it = run_begin(ingest, o);
    if (o.form == RF_FORM_BINARY) {
        rf_ingest_attr(it->r, RF_STR("specversion"), RF_STR("1.0"));
        rf_ingest_attr(it->r, RF_STR("id"), RF_STR("1"));
        rf_ingest_attr(it->r, RF_STR("source"), RF_STR("/s"));
        if (body.n > 40) /* else the type is missing */
            rf_ingest_attr(it->r, RF_STR("type"), (rf_str){body.p, 20});
    }
    run_body(it, body, cut);
    check_outcome(it->o, o.form);
    broken = is_broken(it->o);
    rf_buf_reset(out);
    describe(it->o, out);
    run_free(it);
    rf_ingest_close(&ingest);
    fake_log_free(options.log);
    return broken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    rf_buf whole, pieces;
    rf_str body;

    if (n < 2)
        return 0;
    body = (rf_str){(const char *)data + 2, n - 2};
    rf_buf_init(&whole, 64 << 20);
    rf_buf_init(&pieces, 64 << 20);
    if (!send_body(data[0], body, (cutter){0}, &whole)) {
        cutter cut = {.piece = 1 + data[1] % 64u, .seed = data[1] & 64 ? 1 + data[1] : 0};

        (void)send_body(data[0], body, cut, &pieces);
        RF_ASSERT(rf_str_eq(rf_buf_str(&whole), rf_buf_str(&pieces)));
    }
    rf_buf_clear(&whole);
    rf_buf_clear(&pieces);
    return 0;
}
