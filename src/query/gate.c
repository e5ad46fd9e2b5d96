/*
 * The gate: from a person's text to text that may run, or a refusal that names what is wrong.
 *
 *   text    size, UTF-8, no NUL; comments blanked; EXPLAIN taken off            text.c
 *   tree    exactly one SELECT, by the engine's own parser                      rf_sql_parse
 *   walk    every node, relation and function is on a list                      walk.c
 *   bind    event types become rf_events(type, scope)                           rf_sql_bind_events
 *   text    written out from the tree, read again, and walked again
 *
 * A statement without event types runs as the very text whose tree was walked. One with them runs
 * as text that the engine wrote, and that text's own tree is walked, more strictly: no table is
 * left but projections and WITH names, no rf_events but over this scope. So a fault in the engine's
 * writer (a quote lost in a name) cannot carry anything past the gate.
 */
#include "query/query_int.h"

#include <string.h>

#define TREE_BYTES_MAX (64u << 20)
#define EXPLAIN "EXPLAIN "

void rfi_plan_init(rfi_plan *plan)
{
    memset(plan, 0, sizeof(*plan));
    plan->arena = rf_arena_new(16384);
    RF_ASSERT(plan->arena != NULL);
    rf_buf_init(&plan->tree, TREE_BYTES_MAX);
    rf_buf_init(&plan->sql, TREE_BYTES_MAX);
}

void rfi_plan_clear(rfi_plan *plan)
{
    rf_arena_free(&plan->arena);
    rf_buf_clear(&plan->tree);
    rf_buf_clear(&plan->sql);
}

/* What the parser says of other statements is true, but it does not say that it is a rule here. */
static rf_status parse(rf_conn *conn, rfi_plan *plan, rf_err *err)
{
    rf_str text = {plan->text.p, plan->text.n};
    rf_status st = rf_sql_parse(conn, text, &plan->tree, &plan->where, err);

    if (st != RF_EINVAL)
        return st;
    if (plan->where.line > 0) { /* a character in a comment may have become several blanks */
        size_t byte = rfi_text_byte(text, plan->where);

        plan->where = rfi_text_place(plan->text.original, byte);
    }
    if (strncmp(err->text, "only SELECT", 11) == 0) {
        plan->refused = "statement";
        return rf_err_set(err, RF_EFORBIDDEN,
                          "only SELECT is allowed in queries (FROM, VALUES, WITH, DESCRIBE, "
                          "SUMMARIZE and EXPLAIN of one too), one statement at a time");
    }
    if (strncmp(err->text, "there are several", 17) == 0) {
        plan->refused = "statement";
        return rf_err_set(err, RF_EFORBIDDEN, "one statement at a time: send them one by one");
    }
    return st;
}

static bool is_projection(void *arg, rf_str name)
{
    const rfi_catalog *catalog = arg;

    return catalog->find(catalog->arg, name) == RFI_REL_PROJECTION;
}

static void type_bound(void *arg, rf_str type)
{
    (void)arg;
    (void)type;
}

/* Writes the tree out with event types bound. Room for EXPLAIN is in front. */
static rf_status write_out(rf_engine *engine, rf_conn *conn, const rfi_catalog *catalog,
                           const char *scope, rfi_plan *plan, rf_err *err)
{
    rf_buf bound;
    rf_status st;

    rf_buf_init(&bound, TREE_BYTES_MAX);
    st = rf_sql_bind_events(engine, rf_buf_str(&plan->tree), scope, is_projection, type_bound,
                            (void *)(uintptr_t)catalog, &bound, err);
    if (st == RF_OK) {
        rf_buf_add(&plan->sql, "        ", sizeof(EXPLAIN) - 1);
        st = rf_sql_text(conn, rf_buf_str(&bound), &plan->sql, err);
    }
    rf_buf_clear(&bound);
    return st;
}

/* Reads what was written out, and walks it as the last wall. */
static rf_status check_again(rf_conn *conn, const rfi_walk_options *options, rfi_plan *plan,
                             rf_err *err)
{
    rf_sql_where nowhere = {0};
    rfi_uses uses = {0};
    rf_buf tree;
    rf_status st;

    rf_buf_init(&tree, TREE_BYTES_MAX);
    st = rf_sql_parse(conn, rf_buf_str(&plan->sql), &tree, &nowhere, err);
    if (st == RF_OK)
        st =
            rfi_walk(rf_buf_str(&tree), options, plan->arena, &uses, &plan->refused, &nowhere, err);
    rf_buf_clear(&tree);
    return st;
}

static rf_status explain_back(rfi_plan *plan, size_t at, rf_err *err)
{
    if (plan->text.explain)
        memcpy(plan->sql.p + at, EXPLAIN, sizeof(EXPLAIN) - 2);
    return rf_buf_cstr(&plan->sql) != NULL
               ? RF_OK
               : rf_err_set(err, RF_ENOMEM, "no memory for a statement");
}

rf_status rfi_gate(rf_engine *engine, rf_conn *conn, const rfi_catalog *catalog, const char *scope,
                   rf_str sql, rfi_plan *plan, rf_err *err)
{
    rfi_walk_options options = {.catalog = catalog, .engine = engine};
    rf_status st;

    st = rfi_text_read(sql, plan->arena, &plan->text, &plan->where, err);
    if (st == RF_EFORBIDDEN)
        plan->refused = "statement";
    if (st == RF_OK)
        st = parse(conn, plan, err);
    if (st != RF_OK)
        return st;
    options.text = plan->text.original;
    st = rfi_walk(rf_buf_str(&plan->tree), &options, plan->arena, &plan->uses, &plan->refused,
                  &plan->where, err);
    if (st != RF_OK)
        return st;
    if (plan->uses.types.count == 0) {
        rf_buf_add(&plan->sql, plan->text.p, plan->text.n);
        return explain_back(plan, plan->text.explain_at, err);
    }
    st = write_out(engine, conn, catalog, scope, plan, err);
    if (st == RF_OK) {
        options.scope = scope;
        options.text = (rf_str){0};
        st = check_again(conn, &options, plan, err);
    }
    return st == RF_OK ? explain_back(plan, 0, err) : st;
}
