/*
 * The janitor folds state tables that have grown (many rows a key become one), prunes checkpoints,
 * and has the database write its log into its file when there is nothing else to do.
 *
 * Folding is one transaction that deletes the rows it sees and inserts their merge. The worker's
 * appends go on: they are rows of other transactions, and stay. What a reader sees is the same
 * before and after. It is done when the rows have doubled, so its cost for each row is constant.
 */
#include "projection/projection_int.h"

#define POLL_US INT64_C(100000)
#define FOLD_ROWS_MIN 20000
#define PRUNE_BATCHES 20000
#define CHECKPOINT_IDLE_US 2000000

static uint64_t fold_at(const rfi_build *b)
{
    return RF_MAX((uint64_t)FOLD_ROWS_MIN, 2 * b->rows_merged);
}

/* Under the lock. */
static rfi_build *next_to_fold(rf_projections *p)
{
    for (size_t i = 0; i < p->count; i++) {
        rfi_build *both[] = {p->items[i]->live, p->items[i]->shadow};

        for (size_t k = 0; k < 2; k++) {
            rfi_build *b = both[k];

            if (b != NULL && (b->status == RFI_LIVE || b->status == RFI_CATCHUP) && !b->busy &&
                !b->stale && b->rows > fold_at(b))
                return b;
        }
    }
    return NULL;
}

static int64_t one_number(rf_conn *conn, const char *sql, rf_err *err)
{
    rf_rows *rows = NULL;
    int64_t n = 0;

    if (rf_conn_query(conn, sql, &rows, err) == RF_OK && rf_rows_next(rows, err))
        n = rf_rows_i64(rows, 0);
    rf_rows_free(&rows);
    return n;
}

static rf_status fold_in(rf_conn *conn, const rfi_build *b, uint64_t *before, uint64_t *after,
                         rf_err *err)
{
    char *merge = rfi_plan_sql(b->plan->merge, b->table), count[96];
    rf_status st;

    snprintf(count, sizeof(count), "SELECT count(*) FROM %s", b->table);
    *before = (uint64_t)one_number(conn, count, err);
    st = rf_conn_execf(conn, err, "CREATE OR REPLACE TEMP TABLE rf_folded AS %s", merge);
    free(merge);
    if (st == RF_OK)
        st = rf_conn_execf(conn, err, "DELETE FROM %s", b->table);
    if (st == RF_OK)
        st = rf_conn_execf(conn, err, "INSERT INTO %s SELECT * FROM rf_folded", b->table);
    if (st != RF_OK)
        return st;
    *after = (uint64_t)one_number(conn, "SELECT count(*) FROM rf_folded", err);
    return err->status;
}

static void fold(rf_projections *p, rfi_build *b)
{
    uint64_t before = 0, after = 0;
    rf_err err = {0}, ignored = {0};
    rf_status st = rf_conn_exec(p->janitor_conn, "BEGIN", &err);

    if (st == RF_OK)
        st = fold_in(p->janitor_conn, b, &before, &after, &err);
    rfi_point("fold: before commit");
    if (st == RF_OK)
        st = rf_conn_exec(p->janitor_conn, "COMMIT", &err);
    if (st != RF_OK)
        (void)(rf_conn_exec(p->janitor_conn, "ROLLBACK", &ignored) == RF_OK);
    rfi_point("fold: after commit");
    (void)(rf_conn_exec(p->janitor_conn, "DROP TABLE IF EXISTS temp.rf_folded", &ignored) == RF_OK);
    pthread_mutex_lock(&p->lock);
    if (st == RF_OK) {
        b->rows -= RF_MIN(b->rows, before);
        b->rows += after;
        b->rows_merged = after;
    } else if (!b->cancel && !p->stopping) {
        rf_diag(RF_DIAG_WARN, "folding the state of projection %s: %s", b->of->name, err.text);
        b->rows_merged = b->rows; /* not again at once */
    }
    b->busy = false;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void prune(rf_projections *p)
{
    rf_err err = {0};

    if (rf_conn_exec(p->janitor_conn,
                     "DELETE FROM rf.checkpoints AS c WHERE next < (SELECT max(d.next) FROM "
                     "rf.checkpoints AS d WHERE d.build = c.build AND d.domain = c.domain AND "
                     "d.partition = c.partition)",
                     &err) != RF_OK)
        rf_diag(RF_DIAG_DEBUG, "pruning checkpoints: %s", err.text); /* next time */
}

/* Batches of all builds since they were loaded; under the lock. */
static uint64_t batches_all(const rf_projections *p)
{
    uint64_t n = 0;

    for (size_t i = 0; i < p->count; i++) {
        n += p->items[i]->live != NULL ? p->items[i]->live->batches : 0;
        n += p->items[i]->shadow != NULL ? p->items[i]->shadow->batches : 0;
    }
    return n;
}

void *rfi_janitor_run(void *arg)
{
    rf_projections *p = arg;
    uint64_t pruned_at = 0, batches = 0, written_at = 0;
    int64_t quiet_since = rf_mono_us();

    for (;;) {
        rfi_build *b;
        uint64_t now_batches;

        pthread_mutex_lock(&p->lock);
        if (p->stopping) {
            pthread_mutex_unlock(&p->lock);
            return NULL;
        }
        b = next_to_fold(p);
        if (b != NULL)
            b->busy = true;
        else
            rfi_changed_wait(p, rf_mono_us() + POLL_US);
        now_batches = batches_all(p);
        pthread_mutex_unlock(&p->lock);
        if (b != NULL)
            fold(p, b);
        if (now_batches != batches) {
            batches = now_batches;
            quiet_since = rf_mono_us();
        }
        if (batches > pruned_at + PRUNE_BATCHES) {
            prune(p);
            pruned_at = batches;
        }
        if (batches != written_at && rf_mono_us() - quiet_since > CHECKPOINT_IDLE_US) {
            rf_err err = {0};

            if (rf_conn_exec(p->janitor_conn, "CHECKPOINT", &err) == RF_OK)
                written_at = batches;
            else
                quiet_since = rf_mono_us(); /* somebody is reading or writing: later */
        }
    }
}
