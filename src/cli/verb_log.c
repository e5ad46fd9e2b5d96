/* refold log: the end of the chain of hashes, proofs of inclusion, and all events as lines. */
#include <stdlib.h>
#include <string.h>

#include "cli/data_int.h"

#define BLOCKS_AT_ONCE 65536u /* events whose blocks are listed at a time */

typedef struct log_flags {
    const char *data, *domain, *source, *id;
    bool json, plain;
    rf_buf dir;
} log_flags;

/* ---- head
 * ---------------------------------------------------------------------------------------------- */

typedef struct heads {
    rf_buf json;
    rf_table *table;
    size_t count;
} heads;

static void add_head_json(rf_buf *out, const rf_log_head *h)
{
    char hex[2 * RF_SHA256_BYTES + 1];

    rf_hex(h->hash, sizeof h->hash, hex);
    rf_buf_addf(out,
                "{\"domain\":\"%s\",\"partition\":%u,\"next\":%llu,\"sequence\":%llu,\"hash\":"
                "\"%s\"}",
                h->domain, h->partition, (unsigned long long)h->next,
                (unsigned long long)h->sequence, hex);
}

static void take_head(void *arg, const rf_log_head *h)
{
    heads *all = arg;
    char cell[160], hex[2 * RF_SHA256_BYTES + 1], number[32];

    if (all->count++ > 0)
        rf_buf_add_cstr(&all->json, ",\n");
    add_head_json(&all->json, h);
    snprintf(cell, sizeof cell, "%s/%u", h->domain, h->partition);
    rf_table_cell(all->table, rf_str_from(cell));
    rf_table_cell(all->table, rf_str_from(rf_format_count(h->next, number)));
    rf_table_cell(all->table, rf_str_from(rf_format_count(h->sequence, number)));
    size_t n = rf_time_format(h->recorded_us, cell);

    rf_table_cell(all->table, (rf_str){cell, n});
    rf_hex(h->hash, sizeof h->hash, hex);
    rf_table_cell(all->table, rf_str_from(hex));
}

static rf_table *new_table(void)
{
    static const char *const names[] = {"partition", "events", "block", "recorded", "head"};
    rf_table *t = rf_table_new(RF_ARRAY_LEN(names));

    for (size_t i = 0; i < RF_ARRAY_LEN(names); i++)
        rf_table_head(t, rf_str_from(names[i]), i == 1 || i == 2);
    return t;
}

static rf_status show_heads(const log_flags *f, rf_log_view *view, rf_err *err)
{
    heads all = {.table = new_table()};

    rf_buf_init(&all.json, SIZE_MAX);
    rf_status st = rf_log_heads(view, rf_str_from(f->domain), take_head, &all, err);

    if (st == RF_OK && f->json)
        printf("{\"heads\":[%.*s]}\n", RF_STR_ARG(rf_buf_str(&all.json)));
    else if (st == RF_OK)
        rf_table_print(all.table, stdout);
    rf_table_free(&all.table);
    rf_buf_clear(&all.json);
    return st;
}

/* ---- prove
 * --------------------------------------------------------------------------------------------- */

static void add_base64(rf_buf *out, const void *p, size_t n)
{
    rf_buf_add_char(out, '"');
    rf_buf_add_base64(out, p, n);
    rf_buf_add_char(out, '"');
}

/* One form for each content, so that a checker can refuse any other. */
static void encode_proof(const rf_log_proof *p, rf_buf *out)
{
    rf_buf_addf(out, "{\"format\":\"refold-proof-1\",\"domain\":\"%s\",\"partition\":%u,",
                p->head.domain, p->head.partition);
    rf_buf_addf(out, "\"offset\":%llu,\"index\":%u,\"source\":", (unsigned long long)p->offset,
                p->index);
    rf_buf_add_json_str(out, rf_str_from(p->source));
    rf_buf_add_cstr(out, ",\"id\":");
    rf_buf_add_json_str(out, rf_str_from(p->id));
    rf_buf_add_cstr(out, ",\"frame\":");
    add_base64(out, p->frame.p, p->frame.n);
    rf_buf_add_cstr(out, ",\"block\":");
    add_base64(out, p->block.p, p->block.n);
    rf_buf_add_cstr(out, ",\"headers\":[");
    for (size_t at = 0; at < p->headers.n; at += RF_BLOCK_HEADER_BYTES) {
        if (at > 0)
            rf_buf_add_char(out, ',');
        add_base64(out, p->headers.p + at, RF_BLOCK_HEADER_BYTES);
    }
    rf_buf_add_cstr(out, "],\"head\":");
    add_head_json(out, &p->head);
    rf_buf_add_cstr(out, "}\n");
}

static rf_status prove(log_flags *f, rf_err *err)
{
    rf_log_proof proof;
    rf_buf out;

    rf_buf_init(&out, SIZE_MAX);
    rf_status st = rf_log_prove(NULL, rf_buf_cstr(&f->dir), rf_str_from(f->domain),
                                rf_str_from(f->source), rf_str_from(f->id), &proof, err);

    if (st == RF_OK) {
        encode_proof(&proof, &out);
        if (out.failed)
            st = rf_err_set(err, RF_ENOMEM, "no memory for the proof");
    }
    if (st == RF_OK && fwrite(out.p, 1, out.n, stdout) != out.n)
        st = rf_err_set(err, RF_EIO, "the proof could not be written");
    rf_log_proof_clear(&proof);
    rf_buf_clear(&out);
    return st;
}

/* ---- export
 * -------------------------------------------------------------------------------------------- */

typedef struct exporting {
    const log_flags *flags;
    rf_log_view *view;
    rf_str domain;
    uint32_t partition;
    rf_block *block;
    rf_buf line;
} exporting;

static rf_status export_block(exporting *x, const rf_block_ref *ref, rf_err *err)
{
    rf_block_event be;
    uint32_t cursor = 0;
    rf_status st = rf_block_load(x->view, x->domain, x->partition, ref, x->block, err);

    while (st == RF_OK && rf_block_next(x->block, &cursor, &be)) {
        rf_event e;

        rf_block_event_full(x->block, cursor, &e);
        rf_buf_reset(&x->line);
        if (x->flags->plain) {
            rf_event_encode_line(&e, &x->line);
        } else {
            const rf_event_place place = {.domain = x->domain,
                                          .partition = x->partition,
                                          .offset = be.offset,
                                          .revision = be.revision,
                                          .recorded_us = be.recorded_us};

            rf_event_encode_placed(&e, &place, &x->line);
        }
        rf_buf_add_char(&x->line, '\n');
        if (x->line.failed)
            st = rf_err_set(err, RF_ENOMEM, "no memory for an event");
        else if (fwrite(x->line.p, 1, x->line.n, stdout) != x->line.n)
            st = rf_err_set(err, RF_EIO, "the events could not be written");
    }
    return st;
}

static rf_status export_partition(exporting *x, uint64_t end, rf_err *err)
{
    rf_status st = RF_OK;

    for (uint64_t from = 0; st == RF_OK && from < end;) {
        rf_block_ref *refs = NULL;
        size_t count = 0;

        st = rf_log_view_blocks(x->view, x->domain, x->partition, from,
                                RF_MIN(end, from + BLOCKS_AT_ONCE), &refs, &count, err);
        for (size_t i = 0; st == RF_OK && i < count; i++) {
            st = export_block(x, &refs[i], err);
            from = refs[i].base_offset + refs[i].count;
        }
        free(refs);
    }
    return st;
}

static rf_status export_all(const log_flags *f, rf_log_view *view, rf_err *err)
{
    exporting x = {.flags = f, .view = view, .block = rf_block_new()};
    rf_position ends = {0};
    rf_status st = RF_OK;

    rf_buf_init(&x.line, SIZE_MAX);
    rf_log_view_position(view, &ends);
    for (size_t i = 0; st == RF_OK && i < ends.count; i++) {
        x.domain = rf_str_from(ends.parts[i].domain);
        x.partition = ends.parts[i].partition;
        if (f->domain == NULL || rf_str_eq(x.domain, rf_str_from(f->domain)))
            st = export_partition(&x, ends.parts[i].next, err);
    }
    rf_position_clear(&ends);
    rf_block_free(&x.block);
    rf_buf_clear(&x.line);
    return st;
}

/* ---- the verb
 * ------------------------------------------------------------------------------------------ */

static rf_status with_view(const log_flags *f, const char *dir,
                           rf_status (*what)(const log_flags *f, rf_log_view *view, rf_err *err),
                           rf_err *err)
{
    rf_log_view *view = NULL;
    rf_status st = rf_log_view_open_beside(NULL, dir, &view, err);

    if (st == RF_OK)
        st = what(f, view, err);
    rf_log_view_close(&view);
    return st;
}

static int run_on(log_flags *f, const char *what)
{
    rf_err err = {0};
    rf_status st = rfi_cli_find_log(f->data != NULL && f->data[0] != '\0' ? f->data : "refold-data",
                                    &f->dir, &err);

    if (st == RF_OK && strcmp(what, "head") == 0)
        st = with_view(f, rf_buf_cstr(&f->dir), show_heads, &err);
    else if (st == RF_OK && strcmp(what, "prove") == 0)
        st = prove(f, &err);
    else if (st == RF_OK)
        st = with_view(f, rf_buf_cstr(&f->dir), export_all, &err);
    if (st == RF_OK && fflush(stdout) != 0)
        st = rf_err_set(&err, RF_EIO, "the output could not be written");
    return st == RF_OK ? RF_EXIT_OK : rf_cli_failed(&rf_verb_log, &err);
}

static int run(int argc, char **argv)
{
    static const char *const whats[] = {"head", "prove", "export"};
    log_flags f = {.data = getenv("REFOLD_DATA")};
    const char *what = NULL;
    const rf_flag flags[] = {{"data", &f.data, NULL},     {"domain", &f.domain, NULL},
                             {"source", &f.source, NULL}, {"id", &f.id, NULL},
                             {"json", NULL, &f.json},     {"plain", NULL, &f.plain},
                             {NULL, NULL, NULL}};
    size_t count = 0;
    bool known = false;
    int code = rf_cli_flags(&rf_verb_log, argc, argv, flags, &what, 1, &count);

    if (code != RF_EXIT_OK)
        return code;
    for (size_t i = 0; i < RF_ARRAY_LEN(whats); i++)
        known |= count > 0 && strcmp(what, whats[i]) == 0;
    if (count > 0 && strcmp(what, "import") == 0)
        return rf_cli_usage(&rf_verb_log, "to bring events in, use: refold import FILE");
    if (!known)
        return rf_cli_usage(&rf_verb_log, "say what: head, prove or export");
    if (strcmp(what, "prove") == 0 && (f.source == NULL || f.id == NULL))
        return rf_cli_usage(&rf_verb_log, "an event is named by --source and --id");
    rf_buf_init(&f.dir, 8192);
    code = run_on(&f, what);
    rf_buf_clear(&f.dir);
    return code;
}

const rf_verb rf_verb_log = {
    .name = "log",
    .summary = "the log's files: head of the chain, proofs, export",
    .help =
        "usage: refold log head   [--domain D] [--data DIR] [--json]\n"
        "       refold log prove  --source S --id ID [--domain D] [--data DIR] > proof.json\n"
        "       refold log export [--domain D] [--plain] [--data DIR] > events.ndjson\n"
        "\n"
        "All three read the files of DIR (refold-data when not given), beside a running server or\n"
        "without one, and see what is durable.\n"
        "\n"
        "head    For each partition: how many events it has and the hash of its last block. "
        "Blocks\n"
        "        are chained by SHA-256, so whoever keeps a head elsewhere (in another log, a\n"
        "        mail, a notary's book) can tell later that nothing before it was changed.\n"
        "prove   Everything that shows, against a head alone, that the event was stored: its "
        "block\n"
        "        and the headers of all later blocks (168 bytes each). Checked without refold by\n"
        "        examples/verify-proof/verify_proof.py proof.json HEADS.\n"
        "export  All events, one a line, by domain and partition in the order of the log: with\n"
        "        place, revision and recorded time; with --plain the bare CloudEvents, which\n"
        "        `refold import FILE` and `refold send FILE` take. They get new places and a new\n"
        "        recorded time in the log that takes them: both say what that log did.\n"
        "\n"
        "Examples\n"
        "  refold log head --json > heads.json\n"
        "  refold log prove --source /shop --id 3f0c2a > proof.json\n"
        "  refold log export --domain shop --plain | gzip > shop.ndjson.gz\n",
    .run = run,
};
