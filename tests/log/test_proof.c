/* Heads of the chain, and proofs that an event is before one: checked here from the bytes alone. */
#include "log/format_int.h"
#include "log/log.h"
#include "support/log_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EVENTS 900
#define STREAMS 5

typedef struct fixture {
    char *dir;
    rf_arena *arena;
    rf_log *log;
} fixture;

/* Several segments, several starts of the writer: markers stand between the blocks. */
static void fill(fixture *f)
{
    rf_log_options o = {
        .segment_bytes_max = 64 << 10, .block_bytes_target = 2048, .publish_tail = true};
    for (uint64_t n = 0; n < EVENTS;) {
        f->log = kit_open(f->dir, NULL, &o);
        for (uint64_t to = n + EVENTS / 3; n < to; n += 3) {
            rf_event e[3];
            rf_receipt r[3];
            for (uint64_t i = 0; i < 3; i++) {
                e[i] = kit_event(f->arena, n + i, STREAMS);
                char *noise = rf_arena_alloc(f->arena, 120);
                kit_rng rng = {n + i};
                for (size_t k = 0; k < 120; k++)
                    noise[k] = (char)('!' + 2 + kit_below(&rng, 50));
                e[i].causationid = (rf_str){noise, 120};
                kit_content(&e[i]);
            }
            assert_int_equal(kit_append(kit_part(f->log), e, NULL, 3, n % 2 == 0, r), RF_OK);
            rf_arena_reset(f->arena);
        }
        if (n < EVENTS)
            rf_log_close(&f->log);
    }
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->dir = kit_dir_make();
    f->arena = rf_arena_new(1 << 16);
    fill(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    rf_log_close(&f->log);
    rf_arena_free(&f->arena);
    kit_dir_remove(&f->dir);
    free(f);
    return 0;
}

typedef struct heads {
    rf_log_head of[8];
    size_t count;
} heads;

static void take_head(void *arg, const rf_log_head *h)
{
    heads *all = arg;
    assert_true(all->count < 8);
    all->of[all->count++] = *h;
}

static heads heads_of(const char *dir)
{
    heads all = {.count = 0};
    rf_log_view *view = NULL;
    rf_err err = {0};
    assert_int_equal(rf_log_view_open_beside(NULL, dir, &view, &err), RF_OK);
    if (rf_log_heads(view, (rf_str){NULL, 0}, take_head, &all, &err) != RF_OK)
        fail_msg("%s", err.text);
    rf_log_view_close(&view);
    return all;
}

/* Follows the proof from the frame to the head; NULL: it holds. */
static const char *check(const rf_log_proof *p, uint64_t *markers)
{
    rfi_block_header h, later;
    uint8_t hash[RF_SHA256_BYTES];
    const uint8_t *block = (const uint8_t *)p->block.p;
    if (rfi_block_header_decode(block, &h) != NULL || p->block.n != h.total_bytes)
        return "block";
    rf_str payload = {p->block.p + RFI_BLOCK_HEADER_BYTES, p->block.n - RFI_BLOCK_HEADER_BYTES};
    rf_sha256(&payload, 1, hash);
    if (memcmp(hash, h.payload_hash, sizeof hash) != 0)
        return "payload";
    if (p->offset != h.base_offset + p->index || p->index >= h.count)
        return "place";
    if (h.codec == RFI_CODEC_NONE && memmem(payload.p, payload.n, p->frame.p, p->frame.n) == NULL)
        return "frame";
    rfi_block_hash(block, hash);
    for (size_t at = 0; at < p->headers.n; at += RF_BLOCK_HEADER_BYTES, h = later) {
        const uint8_t *bytes = (const uint8_t *)p->headers.p + at;
        if (rfi_block_header_decode(bytes, &later) != NULL)
            return "header";
        if (memcmp(later.prev_hash, hash, sizeof hash) != 0 || later.sequence != h.sequence + 1 ||
            later.base_offset != h.base_offset + h.count)
            return "chain";
        rfi_block_hash(bytes, hash);
        *markers += later.count == 0;
    }
    return memcmp(hash, p->head.hash, sizeof hash) == 0 && h.sequence == p->head.sequence ? NULL
                                                                                          : "head";
}

static void prove_all(fixture *f)
{
    heads all = heads_of(f->dir);
    uint64_t markers = 0;
    assert_int_equal(all.count, 1);
    assert_int_equal(all.of[0].next, EVENTS);
    for (uint64_t n = 0; n < EVENTS; n += 7) {
        rf_log_proof p;
        rf_err err = {0};
        rf_event e = kit_event(f->arena, n, STREAMS);
        rf_status st = rf_log_prove(NULL, f->dir, RF_STR("d"), e.source, e.id, &p, &err);
        if (st != RF_OK)
            fail_msg("event %llu: %s", (unsigned long long)n, err.text);
        assert_int_equal(p.offset, n);
        const char *why = check(&p, &markers);
        if (why != NULL)
            fail_msg("event %llu: %s", (unsigned long long)n, why);
        assert_memory_equal(p.head.hash, all.of[0].hash, RF_SHA256_BYTES);
        assert_int_equal(p.head.sequence, all.of[0].sequence);
        assert_int_equal(p.head.next, EVENTS);
        rf_log_proof_clear(&p);
        rf_arena_reset(f->arena);
    }
    assert_true(markers > 0);
}

static void prove__every_event__leads_to_the_head(void **state)
{
    fixture *f = *state;
    prove_all(f); /* beside the writer */
    heads before = heads_of(f->dir);
    rf_log_close(&f->log);
    prove_all(f); /* and without it: closing adds a marker, but no other head */
    heads after = heads_of(f->dir);
    assert_memory_equal(before.of[0].hash, after.of[0].hash, RF_SHA256_BYTES);
}

/* Key files are a short cut and nothing more. */
static void prove__without_key_files__finds_the_same(void **state)
{
    fixture *f = *state;
    rf_log_close(&f->log);
    char *command = NULL;
    int n = asprintf(&command, "%s/d/0", f->dir);
    assert_true(n > 0);
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    for (uint64_t base = 0, gone = 0; base < EVENTS; base++) {
        for (uint64_t end = base; end <= EVENTS; end++) {
            char path[512];
            snprintf(path, sizeof path, "%s/%020llu-%020llu.key", command, (unsigned long long)base,
                     (unsigned long long)end);
            if (access(path, F_OK) != 0)
                continue;
            if (gone++ % 2 == 0) {
                assert_int_equal(io->unlink(io, path, &err), RF_OK);
            } else { /* or one that lies */
                assert_int_equal(rf_io_write_file(io, path, RF_STR("nonsense"), &err), RF_OK);
            }
        }
    }
    free(command);
    prove_all(f);
}

static void prove__unknown_event__is_not_found(void **state)
{
    fixture *f = *state;
    rf_log_proof p;
    rf_err err = {0};
    assert_int_equal(
        rf_log_prove(NULL, f->dir, (rf_str){NULL, 0}, RF_STR("/test"), RF_STR("nosuch"), &p, &err),
        RF_ENOTFOUND);
    assert_non_null(strstr(err.text, "nosuch"));
    rf_log_proof_clear(&p);
    assert_int_equal(
        rf_log_prove(NULL, f->dir, RF_STR("other"), RF_STR("/test"), RF_STR("e0"), &p, &err),
        RF_ENOTFOUND);
    rf_log_proof_clear(&p);
}

/* PROVES: P8 */
static void prove__broken_chain_behind_the_event__is_refused(void **state)
{
    fixture *f = *state;
    rf_log_proof p;
    rf_err err = {0};
    rf_log_view *view = NULL;
    rf_block_ref *refs = NULL;
    size_t count = 0;
    rf_log_close(&f->log);
    assert_int_equal(rf_log_view_open_beside(NULL, f->dir, &view, &err), RF_OK);
    assert_int_equal(rf_log_view_blocks(view, RF_STR("d"), 0, 0, 60, &refs, &count, &err), RF_OK);
    assert_true(count > 3);
    rf_log_view_close(&view);
    char path[512];
    snprintf(path, sizeof path, "%s/d/0/%020d.seg", f->dir, 0);
    rf_io *io = rf_io_posix();
    rf_file *file = NULL;
    assert_int_equal(io->open(io, path, RF_IO_READ | RF_IO_WRITE, &file, &err), RF_OK);
    assert_int_equal(io->pwrite(io, file, "\xff", 1, refs[2].at + 100, &err), RF_OK);
    io->close(io, &file);
    free(refs);
    assert_int_equal(
        rf_log_prove(NULL, f->dir, RF_STR("d"), RF_STR("/test"), RF_STR("e0"), &p, &err),
        RF_ECORRUPT);
    rf_log_proof_clear(&p);
}

static void heads__several_partitions__one_each_and_only_with_events(void **state)
{
    fixture *f = *state;
    rf_err err = {0};
    assert_int_equal(rf_log_domain(f->log, RF_STR("wide"), 4, &err), RF_OK);
    rf_event e = kit_event(f->arena, 1, 1);
    rf_log_part *p = rf_log_route(f->log, RF_STR("wide"), e.subject);
    kit_append_one(p, &e);
    heads all = heads_of(f->dir);
    assert_int_equal(all.count, 2);
    assert_string_equal(all.of[0].domain, "d");
    assert_string_equal(all.of[1].domain, "wide");
    assert_int_equal(all.of[1].partition, rf_log_part_number(p));
    assert_int_equal(all.of[1].next, 1);
    assert_int_equal(all.of[1].sequence, 1);
}

static void view_open_beside__with_and_without_a_writer__sees_the_same_end(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        rf_log_view *view = NULL;
        rf_err err = {0};
        assert_int_equal(rf_log_view_open_beside(NULL, f->dir, &view, &err), RF_OK);
        assert_int_equal(rf_log_view_end(view, RF_STR("d"), 0), EVENTS);
        rf_log_view_close(&view);
        rf_log_close(&f->log); /* the lock is free again, both times */
    }
    f->log = kit_open(f->dir, NULL, NULL);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(prove__every_event__leads_to_the_head),
        CASE(prove__without_key_files__finds_the_same),
        CASE(prove__unknown_event__is_not_found),
        CASE(prove__broken_chain_behind_the_event__is_refused),
        CASE(heads__several_partitions__one_each_and_only_with_events),
        CASE(view_open_beside__with_and_without_a_writer__sees_the_same_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
