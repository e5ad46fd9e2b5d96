/* Numbers and dates of JSON text as columns hold them. */
#include "engine/events_int.h"

#include <math.h>

#include <yyjson.h>

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Any JSON number, correctly rounded; slower than the paths above it. */
static bool number_read(rf_str number, yyjson_val *out)
{
    char text[512];
    yyjson_read_err ignored;

    if (number.n == 0 || number.n >= sizeof(text))
        return false;
    memcpy(text, number.p, number.n);
    text[number.n] = '\0';
    return yyjson_read_number(text, out, 0, NULL, &ignored) == text + number.n;
}

bool rfi_parse_i64(rf_str number, int64_t *out)
{
    size_t i = number.n > 0 && number.p[0] == '-';
    yyjson_val value;
    int64_t v = 0;
    double d;

    if (number.n - i <= 18 && number.n > i) {
        for (; i < number.n && digit(number.p[i]); i++)
            v = v * 10 + (number.p[i] - '0');
        if (i == number.n) {
            *out = number.p[0] == '-' ? -v : v;
            return true;
        }
    }
    if (!number_read(number, &value))
        return false;
    if (yyjson_is_sint(&value)) {
        *out = yyjson_get_sint(&value);
        return true;
    }
    if (yyjson_is_uint(&value)) {
        *out = (int64_t)yyjson_get_uint(&value);
        return yyjson_get_uint(&value) <= INT64_MAX;
    }
    d = yyjson_get_real(&value); /* 1.0 and 1e3 are whole numbers too */
    if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0) || d != floor(d))
        return false;
    *out = (int64_t)d;
    return true;
}

bool rfi_parse_f64(rf_str number, double *out)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t i = number.n > 0 && number.p[0] == '-', fraction = 0;
    int64_t v = 0;
    yyjson_val value;

    if (number.n - i <= 16 && number.n > i) {
        /* At most 15 digits and a point: both integers are exact, so one division rounds once. */
        for (; i < number.n && digit(number.p[i]); i++)
            v = v * 10 + (number.p[i] - '0');
        if (i < number.n && number.p[i] == '.') {
            size_t point = i++;

            for (; i < number.n && digit(number.p[i]); i++)
                v = v * 10 + (number.p[i] - '0');
            fraction = i - point - 1;
        }
        if (i == number.n && v < INT64_C(1000000000000000)) {
            double d = (double)v / powers[fraction];

            *out = number.p[0] == '-' ? -d : d;
            return true;
        }
    }
    if (!number_read(number, &value))
        return false;
    *out = yyjson_get_num(&value);
    return true;
}

static const int64_t powers_of_ten[] = {1,
                                        10,
                                        100,
                                        1000,
                                        10000,
                                        100000,
                                        1000000,
                                        10000000,
                                        100000000,
                                        1000000000,
                                        10000000000,
                                        100000000000,
                                        1000000000000,
                                        10000000000000,
                                        100000000000000,
                                        1000000000000000,
                                        10000000000000000,
                                        100000000000000000,
                                        1000000000000000000};

/* A number taken apart: digits with the point left out, and where the point was. */
typedef struct digits {
    char digit[64];
    size_t count;
    int64_t point; /* digits before the point; may be negative or beyond count */
    bool negative;
} digits;

static bool digits_read(rf_str number, digits *d)
{
    size_t i = 0;
    bool point = false, any = false;
    int64_t exponent = 0;
    bool exponent_negative = false;

    *d = (digits){0};
    if (i < number.n && (number.p[i] == '-' || number.p[i] == '+'))
        d->negative = number.p[i++] == '-';
    for (; i < number.n && (digit(number.p[i]) || (number.p[i] == '.' && !point)); i++) {
        if (number.p[i] == '.') {
            point = true;
            continue;
        }
        any = true;
        if (number.p[i] == '0' && d->count == 0) {
            d->point -= point; /* a leading zero */
            continue;
        }
        if (d->count == sizeof(d->digit))
            return false;
        d->digit[d->count++] = number.p[i];
        d->point += !point;
    }
    if (!any)
        return false;
    if (i < number.n && (number.p[i] == 'e' || number.p[i] == 'E')) {
        i++;
        if (i < number.n && (number.p[i] == '-' || number.p[i] == '+'))
            exponent_negative = number.p[i++] == '-';
        if (i == number.n)
            return false;
        for (; i < number.n && digit(number.p[i]); i++)
            exponent = RF_MIN(exponent * 10 + (number.p[i] - '0'), 100000);
        d->point += exponent_negative ? -exponent : exponent;
    }
    return i == number.n;
}

bool rfi_parse_decimal(rf_str number, uint8_t precision, uint8_t scale, int64_t *out)
{
    digits d;
    int64_t v = 0, keep;

    if (!digits_read(number, &d))
        return false;
    if (d.count == 0) {
        *out = 0;
        return true;
    }
    keep = d.point + scale; /* digits of the unscaled integer */
    if (keep > precision)
        return false;
    for (int64_t i = 0; i < keep; i++)
        v = v * 10 + (i < (int64_t)d.count ? d.digit[i] - '0' : 0);
    if (keep >= 0 && keep < (int64_t)d.count && d.digit[keep] >= '5')
        v++;
    if (v >= powers_of_ten[precision])
        return false;
    *out = d.negative ? -v : v;
    return true;
}

static bool two_digits(const char *p, unsigned *out)
{
    if (!digit(p[0]) || !digit(p[1]))
        return false;
    *out = (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
    return true;
}

bool rfi_parse_date(rf_str text, int32_t *days)
{
    static const unsigned month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned century, year, month, day, last;
    int64_t y, era, doe;

    if (text.n != 10 || text.p[4] != '-' || text.p[7] != '-' || !two_digits(text.p, &century) ||
        !two_digits(text.p + 2, &year) || !two_digits(text.p + 5, &month) ||
        !two_digits(text.p + 8, &day))
        return false;
    year += century * 100;
    if (year == 0 || month < 1 || month > 12)
        return false;
    last = month_days[month - 1] +
           (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    if (day < 1 || day > last)
        return false;
    y = (int64_t)year - (month <= 2);
    era = y / 400;
    doe = (y - era * 400) * 365 + (y - era * 400) / 4 - (y - era * 400) / 100 +
          (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    *days = (int32_t)(era * 146097 + doe - 719468);
    return true;
}
