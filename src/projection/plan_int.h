/* Planning a projection's statement (plan*.c). */
#ifndef RF_PLAN_INT_H
#define RF_PLAN_INT_H

#include "engine/engine.h"
#include "projection/tree_int.h"

/*
 * How a SELECT is kept current:
 *
 *   partial   SELECT keys AS k1.., partial aggregates AS s1.. FROM rf_events(..) WHERE .. GROUP BY
 * .. run over each batch of events; its rows are appended to the state table merge     SELECT k1..,
 * merged s1.. FROM <state> GROUP BY k1.. folds the state table into one row a key; the same columns
 * again view      what the user sees: merges, finishes the aggregates, and puts the user's
 * expressions, names, types, HAVING and ORDER BY around them
 *
 * Every aggregate is kept in a form whose merging is exact and free of order, so that applying
 * event by event, batch by batch, and rebuilding in one statement give the same state to the last
 * bit.
 */
typedef struct rfi_plan {
    char *type;     /* event type; empty: relation `events` */
    char *partial;  /* over the scope that was asked for */
    char *merge;    /* with RFI_PLAN_TABLE where the state table stands */
    char *view;     /* the same */
    uint64_t shape; /* hash of all that a stored state depends on: same shape, same table */
} rfi_plan;

typedef struct rfi_plan_request {
    rf_engine *engine;
    rf_conn *conn;
    rf_str sql;
    const char *scope; /* an existing one, or "": only to check */
    /* Is this the name of another projection? */
    bool (*projection)(void *arg, rf_str name);
    void *arg;
} rfi_plan_request;

/* RF_EINVAL: the SQL is wrong (*where may be NULL). RF_EUNSUPPORTED: it cannot be kept. */
RF_CHECKED rf_status rfi_plan_make(const rfi_plan_request *request, rfi_plan **out,
                                   rf_sql_where *where, rf_err *err);
void rfi_plan_free(rfi_plan **plan);
/* One of the templates with the table's name put in; the caller frees. */
#define RFI_PLAN_TABLE "\x01" /* no statement has it: the check refuses control characters */
char *rfi_plan_sql(const char *template, const char *table);

/* ---- between plan*.c ------------------------------------------------------------------------- */

/* How one aggregate is kept. */
typedef struct rfi_aggregate_kind {
    const char *name;
    const char
        *partial[2];  /* functions over the argument that make the state columns; NULL: itself */
    const char *cast; /* of the argument, or NULL */
    const char *merge[2];  /* function that merges each state column */
    const char *finish;    /* from merged columns: @1 and @2 stand for the merges */
    bool distinct_is_same; /* DISTINCT changes nothing */
    bool on_double;        /* the form for DOUBLE and FLOAT arguments, of the same name */
} rfi_aggregate_kind;

/* The way to keep `name` over an argument of this SQL type; NULL: there is none. */
const rfi_aggregate_kind *rfi_aggregate_find(const char *name, const char *argument_type);
/* What to use in place of an aggregate that cannot be kept; never NULL. */
const char *rfi_aggregate_advice(const char *name);

/* An aggregate call of the statement. */
typedef struct rfi_call {
    yyjson_mut_val *node; /* resolved */
    const rfi_aggregate_kind *kind;
    size_t first_column; /* of its state columns: s<first + 1> */
} rfi_call;

typedef struct rfi_planning {
    const rfi_plan_request *request;
    rf_err *err;
    rf_sql_where *where;
    rf_status status; /* the first refusal; RF_OK so far */
    yyjson_mut_doc *doc;
    yyjson_mut_val *root, *select; /* the statement and its SELECT_NODE */
    const char *relation;          /* name and alias of the one relation */
    const char *alias;
    size_t item_count;      /* of the select list */
    yyjson_mut_val **items; /* resolved */
    char **names, **types;  /* of the result, as the engine gives them to the statement itself */
    yyjson_mut_val **keys;  /* resolved */
    size_t key_count;
    rfi_call *calls;
    size_t call_count, column_count;
    size_t resolving; /* depth of alias expansion */
} rfi_planning;

/* Notes a refusal (the first one stays) at a node's place (NULL: none). */
void rfi_plan_refuse(rfi_planning *p, rf_status status, yyjson_mut_val *node, const char *fmt, ...)
    RF_PRINTF(4, 5);
/* plan_check.c: everything that can be refused by looking at the tree. */
void rfi_plan_check(rfi_planning *p);
/* plan_names.c: aliases and qualifiers resolved; fills items and keys; WHERE in place. */
void rfi_plan_resolve(rfi_planning *p);
yyjson_mut_val *rfi_plan_resolve_one(rfi_planning *p, yyjson_mut_val *node);
/* Is this call one of an aggregate function? */
bool rfi_plan_is_aggregate(rfi_planning *p, yyjson_mut_val *node);
bool rfi_plan_has_aggregate(rfi_planning *p, yyjson_mut_val *node);
/* plan_calls.c: the select list over keys and aggregates only: k1.. and a1..; fills calls. */
yyjson_mut_val *rfi_plan_lift(rfi_planning *p, yyjson_mut_val *node);
/* plan_text.c: partial, merge and view out of what the others found. */
rf_status rfi_plan_texts(rfi_planning *p, rfi_plan *plan);
/* A SELECT of these items over the statement's relation, and nothing else; as text over `scope`. */
yyjson_mut_val *rfi_plan_select(rfi_planning *p, yyjson_mut_val *items);
rf_status rfi_plan_text(rfi_planning *p, yyjson_mut_val *select, const char *scope, rf_buf *out);

#endif
