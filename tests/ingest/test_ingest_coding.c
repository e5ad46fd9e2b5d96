/* gzip and zstd bodies: whole, cut anywhere, of several parts, broken, cut short, and bombs. */
#include "fake_log.h"
#include "support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <zlib.h>
#include <zstd.h>
#include <cmocka.h>

#define EVENT(id) "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"t\"}"

static void gzip(rf_str in, rf_buf *out)
{
    z_stream z = {0};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_true(rf_buf_reserve(out, deflateBound(&z, in.n)));
    z.next_in = (Bytef *)(uintptr_t)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)out->p + out->n;
    z.avail_out = (uInt)(out->cap - out->n);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n += z.total_out;
    deflateEnd(&z);
}

static void zstd_with(rf_str in, int window_log, rf_buf *out)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t n;

    if (window_log != 0) {
        ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
        ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
    }
    assert_true(rf_buf_reserve(out, ZSTD_compressBound(in.n)));
    if (window_log != 0) { /* as a stream, so that the window is written down as asked */
        ZSTD_inBuffer ib = {in.p, in.n, 0};
        ZSTD_outBuffer ob = {out->p + out->n, out->cap - out->n, 0};
        assert_int_equal(ZSTD_compressStream2(c, &ob, &ib, ZSTD_e_flush), 0);
        assert_int_equal(ZSTD_compressStream2(c, &ob, &ib, ZSTD_e_end), 0);
        n = ob.pos;
    } else {
        n = ZSTD_compress2(c, out->p + out->n, out->cap - out->n, in.p, in.n);
    }
    assert_false(ZSTD_isError(n));
    out->n += n;
    ZSTD_freeCCtx(c);
}

static void encode(rf_ingest_coding coding, rf_str in, rf_buf *out)
{
    if (coding == RF_CODING_GZIP)
        gzip(in, out);
    else
        zstd_with(in, 0, out);
}

/* What a fresh world says to this body. */
static void send_to_fresh(rf_ingest_request_options o, rf_str body, cutter cut, rf_buf *out)
{
    rf_ingest_options options = {.log = fake_log_new()};
    rf_ingest *ingest;
    rf_err err = {0};
    run *it;

    assert_int_equal(rf_ingest_open(&options, &ingest, &err), RF_OK);
    it = run_all(ingest, o, body, cut);
    rf_buf_reset(out);
    describe(it->o, out);
    run_free(it);
    rf_ingest_close(&ingest);
    fake_log_free(options.log);
}

static void expect_in_text(rf_ingest_request_options o, rf_str body, const char *want)
{
    rf_buf text;

    rf_buf_init(&text, 1 << 20);
    send_to_fresh(o, body, (cutter){0}, &text);
    if (strstr(rf_buf_cstr(&text), want) == NULL)
        fail_msg("no \"%s\" in\n%s", want, rf_buf_cstr(&text));
    rf_buf_clear(&text);
}

static const rf_ingest_coding codings[] = {RF_CODING_GZIP, RF_CODING_ZSTD};

static void body__of_several_parts_cut_anywhere__is_as_if_plain(void **state)
{
    static const char lines[] = EVENT("1") "\n" EVENT("2") "\r\n{}\n" EVENT("3") "\n";
    rf_buf body, want, got;

    (void)state;
    rf_buf_init(&body, 1 << 20);
    rf_buf_init(&want, 1 << 20);
    rf_buf_init(&got, 1 << 20);
    for (size_t i = 0; i < RF_ARRAY_LEN(codings); i++) {
        rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .want_results = true};

        send_to_fresh(o, rf_str_from(lines), (cutter){0}, &want);
        o.coding = codings[i];
        rf_buf_reset(&body);
        encode(codings[i], (rf_str){lines, 90}, &body);
        encode(codings[i], (rf_str){"", 0}, &body);
        encode(codings[i], (rf_str){lines + 90, sizeof(lines) - 91}, &body);
        for (size_t at = 0; at < body.n; at++) {
            send_to_fresh(o, rf_buf_str(&body), (cutter){.at = at}, &got);
            if (!rf_str_eq(rf_buf_str(&want), rf_buf_str(&got)))
                fail_msg("cut at %zu:\n%s\nplain:\n%s", at, rf_buf_cstr(&got), rf_buf_cstr(&want));
        }
        send_to_fresh(o, rf_buf_str(&body), (cutter){.piece = 1}, &got);
        assert_true(rf_str_eq(rf_buf_str(&want), rf_buf_str(&got)));
        /* Any form. */
        rf_buf_reset(&body);
        encode(codings[i], RF_STR(EVENT("7")), &body);
        o.form = RF_FORM_EVENT;
        expect_in_text(o, rf_buf_str(&body), "ok acc=1");
        rf_buf_reset(&body);
        encode(codings[i], RF_STR("[" EVENT("7") "," EVENT("8") "]"), &body);
        o.form = RF_FORM_BATCH;
        expect_in_text(o, rf_buf_str(&body), "ok acc=2");
    }
    rf_buf_clear(&body);
    rf_buf_clear(&want);
    rf_buf_clear(&got);
}

static void body__large__is_taken_chunk_by_chunk(void **state)
{
    rf_buf lines, body, want, got;

    (void)state;
    rf_buf_init(&lines, 64 << 20);
    rf_buf_init(&body, 64 << 20);
    rf_buf_init(&want, 1 << 20);
    rf_buf_init(&got, 1 << 20);
    for (int i = 0; i < 12000; i++)
        rf_buf_addf(&lines, EVENT("%d") "\n", i);
    for (size_t i = 0; i < RF_ARRAY_LEN(codings); i++) {
        rf_ingest_request_options o = {.form = RF_FORM_NDJSON};

        send_to_fresh(o, rf_buf_str(&lines), (cutter){0}, &want);
        o.coding = codings[i];
        rf_buf_reset(&body);
        encode(codings[i], rf_buf_str(&lines), &body);
        for (size_t piece = 1000; piece < 1 << 20; piece *= 16) {
            send_to_fresh(o, rf_buf_str(&body), (cutter){.piece = piece}, &got);
            if (!rf_str_eq(rf_buf_str(&want), rf_buf_str(&got)))
                fail_msg("pieces of %zu:\n%s", piece, rf_buf_cstr(&got));
        }
        /* Ends of every kind: the coding may hold output when the input is over. */
        for (int n = 500; n < 7000; n += 97) {
            char want_text[64];

            rf_buf_reset(&lines);
            rf_buf_reset(&body);
            for (int k = 0; k < n; k++)
                rf_buf_addf(&lines, EVENT("%d") "\n", k);
            encode(codings[i], rf_buf_str(&lines), &body);
            snprintf(want_text, sizeof(want_text), "ok acc=%d dup=0 rej=0", n);
            send_to_fresh(o, rf_buf_str(&body), (cutter){.piece = 20000}, &got);
            if (!rf_str_starts(rf_buf_str(&got), rf_str_from(want_text)))
                fail_msg("%d lines: %s", n, rf_buf_cstr(&got));
        }
        rf_buf_reset(&lines);
        for (int k = 0; k < 12000; k++)
            rf_buf_addf(&lines, EVENT("%d") "\n", k);
    }
    rf_buf_clear(&lines);
    rf_buf_clear(&body);
    rf_buf_clear(&want);
    rf_buf_clear(&got);
}

static void body__cut_short_at_any_byte__is_refused(void **state)
{
    rf_buf body;

    (void)state;
    rf_buf_init(&body, 1 << 20);
    for (size_t i = 0; i < RF_ARRAY_LEN(codings); i++) {
        rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .coding = codings[i]};

        rf_buf_reset(&body);
        encode(codings[i], RF_STR(EVENT("1") "\n" EVENT("2") "\n"), &body);
        expect_in_text(o, RF_STR(""), "bad-encoding");
        for (size_t n = 1; n < body.n; n++)
            expect_in_text(o, (rf_str){body.p, n}, "invalid acc=0 dup=0 rej=0");
        /* A second part that is cut short, and bytes that are none. */
        size_t n = body.n;
        rf_buf_add(&body, body.p, n / 2);
        expect_in_text(o, rf_buf_str(&body), "bad-encoding");
        body.n = n;
        rf_buf_add_cstr(&body, "hello, this is not it");
        expect_in_text(o, rf_buf_str(&body), "bad-encoding");
    }
    rf_buf_clear(&body);
}

static void body__with_a_flipped_bit__is_refused_or_the_same(void **state)
{
    rf_buf body, text;
    uint64_t refused = 0;

    (void)state;
    rf_buf_init(&body, 1 << 20);
    rf_buf_init(&text, 1 << 20);
    gzip(RF_STR(EVENT("1") "\n" EVENT("2") "\n"), &body);
    for (size_t bit = 0; bit < body.n * 8; bit++) {
        rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .coding = RF_CODING_GZIP};

        body.p[bit / 8] ^= (char)(1 << bit % 8);
        send_to_fresh(o, rf_buf_str(&body), (cutter){0}, &text);
        body.p[bit / 8] ^= (char)(1 << bit % 8);
        if (rf_str_starts(rf_buf_str(&text), RF_STR("ok acc=2 ")))
            continue; /* a byte of the header that says nothing (time, system) */
        if (strstr(rf_buf_cstr(&text), "bad-encoding") == NULL)
            fail_msg("bit %zu: %s", bit, rf_buf_cstr(&text));
        refused++;
    }
    assert_true(refused > body.n * 6);
    rf_buf_clear(&body);
    rf_buf_clear(&text);
}

static void body__of_the_wrong_coding__is_refused(void **state)
{
    static const char *const bodies[] = {"{}", "[1]", "\x1f\x8b", "\x28\xb5\x2f\xfd",
                                         "\x1f\x8b\x09"};
    rf_buf zlib_body;

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(codings); i++) {
        rf_ingest_request_options o = {.form = RF_FORM_EVENT, .coding = codings[i]};
        for (size_t k = 0; k < RF_ARRAY_LEN(bodies); k++)
            expect_in_text(o, rf_str_from(bodies[k]), "bad-encoding");
    }
    /* zlib's own wrapping (HTTP's "deflate") is another coding. */
    rf_buf_init(&zlib_body, 1 << 20);
    rf_buf_reserve(&zlib_body, 1000);
    uLongf n = 1000;
    compress((Bytef *)zlib_body.p, &n, (const Bytef *)EVENT("1"), sizeof(EVENT("1")) - 1);
    expect_in_text((rf_ingest_request_options){.form = RF_FORM_EVENT, .coding = RF_CODING_GZIP},
                   (rf_str){zlib_body.p, n}, "bad-encoding");
    rf_buf_clear(&zlib_body);
}

static void bomb__of_any_form__is_stopped_early(void **state)
{
    char *zeros = calloc(1, 64 << 20);
    rf_buf body;

    (void)state;
    memset(zeros, '\n', 64 << 20);
    rf_buf_init(&body, 128 << 20);
    for (size_t i = 0; i < RF_ARRAY_LEN(codings); i++) {
        rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .coding = codings[i]};
        rf_ingest_options options = {.log = fake_log_new()};
        rf_ingest *ingest;
        rf_err err = {0};
        run *it;

        rf_buf_reset(&body);
        encode(codings[i], (rf_str){zeros, 64 << 20}, &body);
        assert_true(body.n * 200 < 64 << 20);
        assert_int_equal(rf_ingest_open(&options, &ingest, &err), RF_OK);
        it = run_all(ingest, o, rf_buf_str(&body), (cutter){0});
        assert_int_equal(it->o->status, RF_ETOOBIG);
        assert_string_equal(it->o->errors[0].fault.rule, "expansion-limit");
        assert_true(it->o->bytes < 4 << 20 || it->o->bytes < 210 * body.n);
        run_free(it);
        rf_ingest_close(&ingest);
        fake_log_free(options.log);
        o.form = RF_FORM_EVENT;
        expect_in_text(o, rf_buf_str(&body), "too-big");
        o.form = RF_FORM_BATCH;
        expect_in_text(o, rf_buf_str(&body), "too-big");
        /* Below a mebibyte any ratio will do. */
        rf_buf_reset(&body);
        encode(codings[i], (rf_str){zeros, 1000000}, &body);
        o.form = RF_FORM_NDJSON;
        expect_in_text(o, rf_buf_str(&body), "ok acc=0 dup=0 rej=0 bytes=1000000");
    }
    rf_buf_clear(&body);
    free(zeros);
}

static void zstd__with_a_large_window__is_refused_by_name(void **state)
{
    rf_ingest_request_options o = {.form = RF_FORM_EVENT, .coding = RF_CODING_ZSTD};
    rf_buf body;

    (void)state;
    rf_buf_init(&body, 16 << 20);
    zstd_with(RF_STR(EVENT("1")), 23, &body);
    expect_in_text(o, rf_buf_str(&body), "ok acc=1");
    rf_buf_reset(&body);
    zstd_with(RF_STR(EVENT("1")), 24, &body);
    expect_in_text(o, rf_buf_str(&body), "window of more than 8 MiB");
    rf_buf_clear(&body);
}

static void broken_body__after_stored_lines__tells_both(void **state)
{
    rf_ingest_request_options o = {.form = RF_FORM_NDJSON, .coding = RF_CODING_GZIP};
    rf_buf lines, body, text;
    uint64_t accepted;

    (void)state;
    rf_buf_init(&lines, 64 << 20);
    rf_buf_init(&body, 64 << 20);
    rf_buf_init(&text, 1 << 20);
    for (int i = 0; i < 10000; i++)
        rf_buf_addf(&lines, EVENT("%d") "\n", i);
    gzip(rf_buf_str(&lines), &body);
    body.n -= 10;
    send_to_fresh(o, rf_buf_str(&body), (cutter){.piece = 3000}, &text);
    assert_int_equal(sscanf(rf_buf_cstr(&text), "invalid acc=%" SCNu64, &accepted), 1);
    assert_true(accepted > 1000 && accepted < 10000);
    assert_non_null(strstr(rf_buf_cstr(&text), "ends in the middle"));
    rf_buf_clear(&lines);
    rf_buf_clear(&body);
    rf_buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(body__of_several_parts_cut_anywhere__is_as_if_plain),
        cmocka_unit_test(body__large__is_taken_chunk_by_chunk),
        cmocka_unit_test(body__cut_short_at_any_byte__is_refused),
        cmocka_unit_test(body__with_a_flipped_bit__is_refused_or_the_same),
        cmocka_unit_test(body__of_the_wrong_coding__is_refused),
        cmocka_unit_test(bomb__of_any_form__is_stopped_early),
        cmocka_unit_test(zstd__with_a_large_window__is_refused_by_name),
        cmocka_unit_test(broken_body__after_stored_lines__tells_both),
    };
    return cmocka_run_group_tests_name("ingest coding", tests, NULL, NULL);
}
