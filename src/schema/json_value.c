/* JSON values by value: 1, 1.0 and 1e0 are the same number, members have no order. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "schema/validator_int.h"

bool rfi_json_number(yyjson_val *v, double *out)
{
    if (yyjson_is_raw(v)) { /* a number too large for 64 bits, kept as text */
        *out = strtod(yyjson_get_raw(v), NULL);
        return true;
    }
    if (!yyjson_is_num(v))
        return false;
    *out = yyjson_get_num(v);
    return true;
}

bool rfi_json_is_integer(yyjson_val *v)
{
    double d = 0;

    if (yyjson_is_int(v))
        return true;
    return rfi_json_number(v, &d) && isfinite(d) && d == trunc(d);
}

static bool as_i128(yyjson_val *v, __int128 *out)
{
    double d = 0;

    if (yyjson_is_uint(v))
        *out = yyjson_get_uint(v);
    else if (yyjson_is_sint(v))
        *out = yyjson_get_sint(v);
    else if (rfi_json_number(v, &d) && d == trunc(d) && fabs(d) < 1e30)
        *out = (__int128)d;
    else
        return false;
    return true;
}

int rfi_json_compare_numbers(yyjson_val *a, yyjson_val *b)
{
    __int128 x, y;
    double p = 0, q = 0;

    if (as_i128(a, &x) && as_i128(b, &y))
        return (x > y) - (x < y);
    rfi_json_number(a, &p);
    rfi_json_number(b, &q);
    return (p > q) - (p < q);
}

bool rfi_json_multiple_of(yyjson_val *v, yyjson_val *of)
{
    __int128 x, y;
    double p = 0, q = 0;

    if (as_i128(v, &x) && as_i128(of, &y) && y != 0)
        return x % y == 0;
    rfi_json_number(v, &p);
    rfi_json_number(of, &q);
    double times = p / q;

    if (!isfinite(times)) /* too large to divide: the remainder still tells */
        return fmod(p, q) == 0;
    /* Decimal fractions are not exact in binary: 0.0075 / 0.0001 is 75 up to rounding. */
    return fabs(times - round(times)) <= fabs(times) * 4e-16 * 4;
}

static bool is_number(yyjson_val *v)
{
    return yyjson_is_num(v) || yyjson_is_raw(v);
}

static bool objects_equal(yyjson_val *a, yyjson_val *b)
{
    size_t i, n;
    yyjson_val *key, *value;

    if (yyjson_obj_size(a) != yyjson_obj_size(b))
        return false;
    RFI_OBJECT_EACH(a, i, n, key, value)
    {
        yyjson_val *other = yyjson_obj_getn(b, yyjson_get_str(key), yyjson_get_len(key));

        if (other == NULL || !rfi_json_equal(value, other))
            return false;
    }
    return true;
}

bool rfi_json_equal(yyjson_val *a, yyjson_val *b)
{
    if (is_number(a) || is_number(b))
        return is_number(a) && is_number(b) && rfi_json_compare_numbers(a, b) == 0;
    if (yyjson_get_type(a) != yyjson_get_type(b))
        return false;
    if (yyjson_is_str(a))
        return yyjson_get_len(a) == yyjson_get_len(b) &&
               memcmp(yyjson_get_str(a), yyjson_get_str(b), yyjson_get_len(a)) == 0;
    if (yyjson_is_bool(a))
        return yyjson_get_bool(a) == yyjson_get_bool(b);
    if (yyjson_is_obj(a))
        return objects_equal(a, b);
    if (yyjson_is_arr(a)) {
        yyjson_arr_iter i, j;
        yyjson_val *x;

        if (yyjson_arr_size(a) != yyjson_arr_size(b))
            return false;
        yyjson_arr_iter_init(a, &i);
        yyjson_arr_iter_init(b, &j);
        while ((x = yyjson_arr_iter_next(&i)) != NULL) {
            if (!rfi_json_equal(x, yyjson_arr_iter_next(&j)))
                return false;
        }
    }
    return true;
}

uint64_t rfi_json_hash(yyjson_val *v)
{
    size_t i, n;
    yyjson_val *key, *value;
    uint64_t h;
    double d = 0;

    if (rfi_json_number(v, &d)) {
        d = d == 0 ? 0 : d; /* -0 is 0 */
        return XXH3_64bits(&d, sizeof d);
    }
    if (yyjson_is_str(v))
        return XXH3_64bits_withSeed(yyjson_get_str(v), yyjson_get_len(v), 1);
    if (yyjson_is_obj(v)) {
        h = 2;
        RFI_OBJECT_EACH(v, i, n, key, value)
        {
            uint64_t pair[2] = {rfi_json_hash(key), rfi_json_hash(value)};

            h += XXH3_64bits(pair, sizeof pair);
        }
        return h;
    }
    if (yyjson_is_arr(v)) {
        h = 3;
        yyjson_arr_foreach(v, i, n, value)
        {
            uint64_t pair[2] = {h, rfi_json_hash(value)};

            h = XXH3_64bits(pair, sizeof pair);
        }
        return h;
    }
    return yyjson_is_true(v) ? 4 : yyjson_is_false(v) ? 5 : 6;
}
