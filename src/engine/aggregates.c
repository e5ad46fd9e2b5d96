/*
 * Aggregates whose states can be stored and merged, and whose results do not depend on the order or
 * the grouping of what came in:
 *
 *   rf_hll(VARCHAR), rf_hll_merge(BLOB) -> BLOB          rf_hll_estimate(BLOB) -> BIGINT
 *   rf_sum(DOUBLE), rf_sum_merge(BLOB) -> BLOB           rf_sum_value(BLOB) -> DOUBLE
 *   rf_moments(DOUBLE), rf_moments_merge(BLOB) -> BLOB   rf_var_samp, rf_var_pop(BLOB) -> DOUBLE
 *
 * States hold pointers, but none into themselves: the engine moves them bytewise.
 */
#include "engine/engine_int.h"
#include "engine/exact_int.h"
#include "engine/hll_int.h"

#include <math.h>

/* ---- what they share ------------------------------------------------------------------------- */

static bool valid(duckdb_vector vector, idx_t row)
{
    return rfi_cell_valid(rfi_db.vector_get_validity(vector), row);
}

static rf_str bytes_at(duckdb_vector vector, idx_t row)
{
    duckdb_string_t *s = &((duckdb_string_t *)rfi_db.vector_get_data(vector))[row];

    return (rf_str){rfi_db.string_t_data(s), rfi_db.string_t_length(*s)};
}

static void null_set(duckdb_vector vector, idx_t row)
{
    rfi_db.vector_ensure_validity_writable(vector);
    rfi_db.validity_set_row_invalid(rfi_db.vector_get_validity(vector), row);
}

typedef struct aggregate {
    const char *name;
    duckdb_type in;
    duckdb_aggregate_state_size size;
    duckdb_aggregate_init_t init;
    duckdb_aggregate_update_t update;
    duckdb_aggregate_combine_t combine;
    duckdb_aggregate_finalize_t finalize;
    duckdb_aggregate_destroy_t destroy;
} aggregate;

/* ---- distinct counts ------------------------------------------------------------------------- */

static idx_t hll_size(duckdb_function_info info)
{
    (void)info;
    return sizeof(rfi_hll);
}

static void hll_init(duckdb_function_info info, duckdb_aggregate_state state)
{
    (void)info;
    memset(state, 0, sizeof(rfi_hll));
}

static void hll_update(duckdb_function_info info, duckdb_data_chunk in,
                       duckdb_aggregate_state *states)
{
    duckdb_vector values = rfi_db.data_chunk_get_vector(in, 0);
    idx_t count = rfi_db.data_chunk_get_size(in);

    (void)info;
    for (idx_t i = 0; i < count; i++) {
        rf_str text;

        if (!valid(values, i))
            continue;
        text = bytes_at(values, i);
        rfi_hll_add((rfi_hll *)states[i], rf_hash_fast(text.p, text.n, 0).lo);
    }
}

static void hll_update_bytes(duckdb_function_info info, duckdb_data_chunk in,
                             duckdb_aggregate_state *states)
{
    duckdb_vector values = rfi_db.data_chunk_get_vector(in, 0);
    idx_t count = rfi_db.data_chunk_get_size(in);

    for (idx_t i = 0; i < count; i++) {
        if (valid(values, i) && !rfi_hll_merge_bytes((rfi_hll *)states[i], bytes_at(values, i))) {
            rfi_db.aggregate_function_set_error(info, "rf_hll_merge: this is no sketch");
            return;
        }
    }
}

static void hll_combine(duckdb_function_info info, duckdb_aggregate_state *from,
                        duckdb_aggregate_state *to, idx_t count)
{
    (void)info;
    for (idx_t i = 0; i < count; i++)
        rfi_hll_merge((rfi_hll *)to[i], (const rfi_hll *)from[i]);
}

static void hll_finalize(duckdb_function_info info, duckdb_aggregate_state *states,
                         duckdb_vector out, idx_t count, idx_t offset)
{
    (void)info;
    for (idx_t i = 0; i < count; i++) {
        rf_str bytes = rfi_hll_bytes((rfi_hll *)states[i]);

        rfi_db.vector_assign_string_element_len(out, offset + i, bytes.n > 0 ? bytes.p : "",
                                                bytes.n);
    }
}

static void hll_destroy(duckdb_aggregate_state *states, idx_t count)
{
    for (idx_t i = 0; i < count; i++)
        rfi_hll_clear((rfi_hll *)states[i]);
}

static void hll_estimate(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    duckdb_vector values = rfi_db.data_chunk_get_vector(in, 0);
    idx_t count = rfi_db.data_chunk_get_size(in);
    int64_t *results = rfi_db.vector_get_data(out);
    double estimate;

    for (idx_t i = 0; i < count; i++) {
        if (!valid(values, i)) {
            null_set(out, i);
        } else if (rfi_hll_estimate(bytes_at(values, i), &estimate)) {
            results[i] = llround(estimate);
        } else {
            rfi_db.scalar_function_set_error(info, "rf_hll_estimate: this is no sketch");
            return;
        }
    }
}

/* ---- sums and moments of doubles ------------------------------------------------------------- */

/* rf_sum uses the first two members, rf_moments all. */
typedef struct moments {
    uint64_t count;
    rfi_exact sum, squares;
} moments;

static idx_t moments_size(duckdb_function_info info)
{
    (void)info;
    return sizeof(moments);
}

static void moments_init(duckdb_function_info info, duckdb_aggregate_state state)
{
    (void)info;
    memset(state, 0, sizeof(moments));
}

static void doubles_update(duckdb_data_chunk in, duckdb_aggregate_state *states, bool squares)
{
    duckdb_vector values = rfi_db.data_chunk_get_vector(in, 0);
    const uint64_t *validity = rfi_db.vector_get_validity(values);
    const double *v = rfi_db.vector_get_data(values);
    idx_t count = rfi_db.data_chunk_get_size(in);

    for (idx_t i = 0; i < count; i++) {
        moments *m = (moments *)states[i];

        if (!rfi_cell_valid(validity, i))
            continue;
        m->count++;
        rfi_exact_add(&m->sum, v[i]);
        if (squares && isfinite(v[i]))
            rfi_exact_add_square(&m->squares, v[i]);
    }
}

static void sum_update(duckdb_function_info info, duckdb_data_chunk in,
                       duckdb_aggregate_state *states)
{
    (void)info;
    doubles_update(in, states, false);
}

static void moments_update(duckdb_function_info info, duckdb_data_chunk in,
                           duckdb_aggregate_state *states)
{
    (void)info;
    doubles_update(in, states, true);
}

/* Stored: count (8 bytes), sum, and for moments squares. */
static bool moments_read(rf_str bytes, bool squares, uint64_t *count, rfi_whole *sum,
                         rfi_whole *square_sum)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    size_t taken, at = 8;

    if (bytes.n < 8)
        return false;
    *count = rf_le64(p);
    taken = rfi_whole_read(p + at, bytes.n - at, sum);
    at += taken;
    if (taken == 0)
        return false;
    if (squares) {
        taken = rfi_whole_read(p + at, bytes.n - at, square_sum);
        at += taken;
        if (taken == 0)
            return false;
    }
    return at == bytes.n;
}

static bool bytes_update(duckdb_data_chunk in, duckdb_aggregate_state *states, bool squares)
{
    duckdb_vector values = rfi_db.data_chunk_get_vector(in, 0);
    idx_t rows = rfi_db.data_chunk_get_size(in);
    rfi_whole sum, square_sum;
    uint64_t count;

    for (idx_t i = 0; i < rows; i++) {
        moments *m = (moments *)states[i];

        if (!valid(values, i))
            continue;
        if (!moments_read(bytes_at(values, i), squares, &count, &sum, &square_sum))
            return false;
        m->count += count;
        rfi_exact_add_whole(&m->sum, &sum);
        if (squares)
            rfi_exact_add_whole(&m->squares, &square_sum);
    }
    return true;
}

static void sum_update_bytes(duckdb_function_info info, duckdb_data_chunk in,
                             duckdb_aggregate_state *states)
{
    if (!bytes_update(in, states, false))
        rfi_db.aggregate_function_set_error(info, "rf_sum_merge: this is no sum");
}

static void moments_update_bytes(duckdb_function_info info, duckdb_data_chunk in,
                                 duckdb_aggregate_state *states)
{
    if (!bytes_update(in, states, true))
        rfi_db.aggregate_function_set_error(info, "rf_moments_merge: these are no moments");
}

static void moments_combine(duckdb_function_info info, duckdb_aggregate_state *from,
                            duckdb_aggregate_state *to, idx_t count)
{
    (void)info;
    for (idx_t i = 0; i < count; i++) {
        moments *a = (moments *)to[i], *b = (moments *)from[i];

        a->count += b->count;
        rfi_exact_merge(&a->sum, &b->sum);
        rfi_exact_merge(&a->squares, &b->squares);
    }
}

/* No value at all gives NULL, as SQL has it. */
static void finalize(duckdb_aggregate_state *states, duckdb_vector out, idx_t count, idx_t offset,
                     bool squares)
{
    uint8_t bytes[8 + 2 * RFI_WHOLE_BYTES_MAX];
    rfi_whole whole;

    for (idx_t i = 0; i < count; i++) {
        moments *m = (moments *)states[i];
        size_t n = 8;

        if (m->count == 0) {
            null_set(out, offset + i);
            continue;
        }
        rf_put_le64(bytes, m->count);
        rfi_exact_rest(&m->sum, &whole);
        n += rfi_whole_write(&whole, bytes + n);
        if (squares) {
            rfi_exact_rest(&m->squares, &whole);
            n += rfi_whole_write(&whole, bytes + n);
        }
        rfi_db.vector_assign_string_element_len(out, offset + i, (const char *)bytes, n);
    }
}

static void sum_finalize(duckdb_function_info info, duckdb_aggregate_state *states,
                         duckdb_vector out, idx_t count, idx_t offset)
{
    (void)info;
    finalize(states, out, count, offset, false);
}

static void moments_finalize(duckdb_function_info info, duckdb_aggregate_state *states,
                             duckdb_vector out, idx_t count, idx_t offset)
{
    (void)info;
    finalize(states, out, count, offset, true);
}

static void moments_destroy(duckdb_aggregate_state *states, idx_t count)
{
    for (idx_t i = 0; i < count; i++) {
        moments *m = (moments *)states[i];

        rfi_exact_clear(&m->sum);
        rfi_exact_clear(&m->squares);
    }
}

static void sum_value(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    duckdb_vector values = rfi_db.data_chunk_get_vector(in, 0);
    double *results = rfi_db.vector_get_data(out);
    idx_t rows = rfi_db.data_chunk_get_size(in);
    rfi_whole sum;
    uint64_t count;

    for (idx_t i = 0; i < rows; i++) {
        if (!valid(values, i)) {
            null_set(out, i);
        } else if (moments_read(bytes_at(values, i), false, &count, &sum, NULL)) {
            results[i] = rfi_whole_double(&sum);
        } else {
            rfi_db.scalar_function_set_error(info, "rf_sum_value: this is no sum");
            return;
        }
    }
}

/* The spread is exact; two roundings follow. RF_ENOTFOUND: there is no such variance (NULL). */
static rf_status variance(uint64_t n, const rfi_whole *sum, const rfi_whole *squares, bool sample,
                          double *out)
{
    rfi_whole spread;
    double mantissa;
    int exponent;

    if (n < (sample ? 2 : 1))
        return RF_ENOTFOUND;
    if (sum->special != 0) {
        *out = NAN;
        return RF_OK;
    }
    if (!rfi_whole_spread(sum, squares, n, &spread))
        return RF_EINVAL;
    mantissa = rfi_whole_frexp(&spread, &exponent);
    *out = ldexp(mantissa / ((double)n * (double)(sample ? n - 1 : n)), exponent - 2148);
    return RF_OK;
}

static void variances(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out,
                      bool sample)
{
    duckdb_vector values = rfi_db.data_chunk_get_vector(in, 0);
    double *results = rfi_db.vector_get_data(out);
    idx_t rows = rfi_db.data_chunk_get_size(in);
    rfi_whole sum, squares;
    uint64_t count;
    rf_status st;

    for (idx_t i = 0; i < rows; i++) {
        if (!valid(values, i)) {
            null_set(out, i);
            continue;
        }
        st = RF_EINVAL;
        if (moments_read(bytes_at(values, i), true, &count, &sum, &squares))
            st = variance(count, &sum, &squares, sample, &results[i]);
        if (st == RF_ENOTFOUND)
            null_set(out, i);
        if (st == RF_EINVAL) {
            rfi_db.scalar_function_set_error(info, "rf_var: these are no moments");
            return;
        }
    }
}

static void var_samp(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    variances(info, in, out, true);
}

static void var_pop(duckdb_function_info info, duckdb_data_chunk in, duckdb_vector out)
{
    variances(info, in, out, false);
}

/* ---- registration ---------------------------------------------------------------------------- */

static const aggregate aggregates[] = {
    {"rf_hll", DUCKDB_TYPE_VARCHAR, hll_size, hll_init, hll_update, hll_combine, hll_finalize,
     hll_destroy},
    {"rf_hll_merge", DUCKDB_TYPE_BLOB, hll_size, hll_init, hll_update_bytes, hll_combine,
     hll_finalize, hll_destroy},
    {"rf_sum", DUCKDB_TYPE_DOUBLE, moments_size, moments_init, sum_update, moments_combine,
     sum_finalize, moments_destroy},
    {"rf_sum_merge", DUCKDB_TYPE_BLOB, moments_size, moments_init, sum_update_bytes,
     moments_combine, sum_finalize, moments_destroy},
    {"rf_moments", DUCKDB_TYPE_DOUBLE, moments_size, moments_init, moments_update, moments_combine,
     moments_finalize, moments_destroy},
    {"rf_moments_merge", DUCKDB_TYPE_BLOB, moments_size, moments_init, moments_update_bytes,
     moments_combine, moments_finalize, moments_destroy},
};

static const struct {
    const char *name;
    duckdb_type out;
    duckdb_scalar_function_t function;
} scalars[] = {
    {"rf_hll_estimate", DUCKDB_TYPE_BIGINT, hll_estimate},
    {"rf_sum_value", DUCKDB_TYPE_DOUBLE, sum_value},
    {"rf_var_samp", DUCKDB_TYPE_DOUBLE, var_samp},
    {"rf_var_pop", DUCKDB_TYPE_DOUBLE, var_pop},
};

static bool aggregate_register(rf_conn *conn, const aggregate *a)
{
    duckdb_aggregate_function f = rfi_db.create_aggregate_function();
    duckdb_logical_type in = rfi_db.create_logical_type(a->in);
    duckdb_logical_type blob = rfi_db.create_logical_type(DUCKDB_TYPE_BLOB);
    duckdb_state state;

    rfi_db.aggregate_function_set_name(f, a->name);
    rfi_db.aggregate_function_add_parameter(f, in);
    rfi_db.aggregate_function_set_return_type(f, blob);
    rfi_db.aggregate_function_set_functions(f, a->size, a->init, a->update, a->combine,
                                            a->finalize);
    rfi_db.aggregate_function_set_destructor(f, a->destroy);
    state = rfi_db.register_aggregate_function(conn->con, f);
    rfi_db.destroy_aggregate_function(&f);
    rfi_db.destroy_logical_type(&in);
    rfi_db.destroy_logical_type(&blob);
    return state == DuckDBSuccess;
}

static bool scalar_register(rf_conn *conn, const char *name, duckdb_type out,
                            duckdb_scalar_function_t function)
{
    duckdb_scalar_function f = rfi_db.create_scalar_function();
    duckdb_logical_type blob = rfi_db.create_logical_type(DUCKDB_TYPE_BLOB);
    duckdb_logical_type result = rfi_db.create_logical_type(out);
    duckdb_state state;

    rfi_db.scalar_function_set_name(f, name);
    rfi_db.scalar_function_add_parameter(f, blob);
    rfi_db.scalar_function_set_return_type(f, result);
    rfi_db.scalar_function_set_function(f, function);
    state = rfi_db.register_scalar_function(conn->con, f);
    rfi_db.destroy_scalar_function(&f);
    rfi_db.destroy_logical_type(&blob);
    rfi_db.destroy_logical_type(&result);
    return state == DuckDBSuccess;
}

rf_status rfi_aggregates_register(rf_engine *engine, rf_err *err)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(aggregates); i++) {
        if (!aggregate_register(engine->system, &aggregates[i]))
            return rf_err_set(err, RF_EINTERNAL, "the SQL engine does not take %s",
                              aggregates[i].name);
    }
    for (size_t i = 0; i < RF_ARRAY_LEN(scalars); i++) {
        if (!scalar_register(engine->system, scalars[i].name, scalars[i].out, scalars[i].function))
            return rf_err_set(err, RF_EINTERNAL, "the SQL engine does not take %s",
                              scalars[i].name);
    }
    return RF_OK;
}
