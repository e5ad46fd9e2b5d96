/* Clocks and RFC 3339: see base.h. */
#include "base/base.h"

#include <stdio.h>
#include <time.h>

#define US_PER_S INT64_C(1000000)
#define S_PER_DAY INT64_C(86400)

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    int rc = clock_gettime(clock, &now);
    RF_ASSERT(rc == 0);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

int64_t rf_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t rf_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

/*
 * Days since 1970-01-01 of a proleptic Gregorian date, and back (Howard Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms"): years begin in March, so that the leap day is the last of its year.
 */
static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static void date_of_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned doe = (unsigned)(days - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned shifted = (5 * doy + 2) / 153;
    *day = doy - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = (int64_t)yoe + era * 400 + (*month <= 2);
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return DAYS[month - 1] + (month == 2 && leap);
}

/* `count` digits at s.p[at]; UINT32_MAX when they are not digits or not there. */
static uint32_t digits_at(rf_str s, size_t at, size_t count)
{
    uint32_t v = 0;
    if (at > s.n || count > s.n - at)
        return UINT32_MAX;
    for (size_t i = at; i < at + count; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';
        if (digit > 9)
            return UINT32_MAX;
        v = v * 10 + digit;
    }
    return v;
}

static bool char_at(rf_str s, size_t at, char c)
{
    return at < s.n && s.p[at] == c;
}

/* Reads ".ddd…" at *at into microseconds; digits after the sixth are cut. No fraction is fine. */
static bool parse_fraction(rf_str s, size_t *at, int64_t *us)
{
    *us = 0;
    if (!char_at(s, *at, '.'))
        return true;
    size_t i = *at + 1, first = i;
    int64_t unit = US_PER_S / 10;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        *us += (s.p[i] - '0') * unit;
        unit /= 10;
    }
    *at = i;
    return i > first;
}

/* Reads 'Z' or ±HH:MM, which must end the text. */
static bool parse_offset(rf_str s, size_t at, int64_t *seconds)
{
    *seconds = 0;
    if (at + 1 == s.n && (s.p[at] == 'Z' || s.p[at] == 'z'))
        return true;
    if (at + 6 != s.n || (s.p[at] != '+' && s.p[at] != '-') || !char_at(s, at + 3, ':'))
        return false;
    uint32_t hours = digits_at(s, at + 1, 2), minutes = digits_at(s, at + 4, 2);
    if (hours > 23 || minutes > 59)
        return false;
    *seconds = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    if (s.p[at] == '-')
        *seconds = -*seconds;
    return true;
}

bool rf_time_parse(rf_str text, int64_t *out_us)
{
    uint32_t year = digits_at(text, 0, 4), month = digits_at(text, 5, 2);
    uint32_t day = digits_at(text, 8, 2), hour = digits_at(text, 11, 2);
    uint32_t minute = digits_at(text, 14, 2), second = digits_at(text, 17, 2);
    int64_t fraction_us, offset_s;
    size_t at = 19;

    if (!char_at(text, 4, '-') || !char_at(text, 7, '-') || !char_at(text, 13, ':') ||
        !char_at(text, 16, ':'))
        return false;
    if (!char_at(text, 10, 'T') && !char_at(text, 10, 't') && !char_at(text, 10, ' '))
        return false;
    if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60)
        return false;
    if (!parse_fraction(text, &at, &fraction_us) || !parse_offset(text, at, &offset_s))
        return false;
    if (second == 60) {
        second = 59;
        fraction_us = US_PER_S - 1;
    }
    int64_t seconds = days_of_date(year, month, day) * S_PER_DAY + (int64_t)hour * 3600 +
                      (int64_t)minute * 60 + second - offset_s;
    /* An offset can carry the last day of year 9999 or the first of year 1 over the edge; what
     * rf_time_format writes must be readable again. */
    if (seconds < days_of_date(1, 1, 1) * S_PER_DAY ||
        seconds >= days_of_date(10000, 1, 1) * S_PER_DAY)
        return false;
    *out_us = seconds * US_PER_S + fraction_us;
    return true;
}

char *rf_put_digits(char *to, uint64_t v, unsigned width)
{
    for (unsigned i = width; i > 0; i--) {
        to[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    return to + width;
}

size_t rf_time_format(int64_t us, char out[static RF_TIME_TEXT_MAX])
{
    int64_t seconds = us / US_PER_S, fraction = us % US_PER_S;
    if (fraction < 0) {
        fraction += US_PER_S;
        seconds--;
    }
    int64_t days = seconds / S_PER_DAY, rest = seconds % S_PER_DAY;
    if (rest < 0) {
        rest += S_PER_DAY;
        days--;
    }
    int64_t year;
    unsigned month, day, of_day = (unsigned)rest;
    date_of_days(days, &year, &month, &day);
    char *at = out;
    if (year < 0 || year > 9999) { /* not of RFC 3339; shown all the same */
        at += snprintf(out, RF_TIME_TEXT_MAX, "%04lld", (long long)year);
    } else {
        at = rf_put_digits(at, (uint64_t)year, 4);
    }
    *at++ = '-';
    at = rf_put_digits(at, month, 2);
    *at++ = '-';
    at = rf_put_digits(at, day, 2);
    *at++ = 'T';
    at = rf_put_digits(at, of_day / 3600, 2);
    *at++ = ':';
    at = rf_put_digits(at, of_day / 60 % 60, 2);
    *at++ = ':';
    at = rf_put_digits(at, of_day % 60, 2);
    if (fraction != 0) {
        *at++ = '.';
        at = rf_put_digits(at, (uint64_t)fraction, 6);
        while (at[-1] == '0')
            at--;
    }
    *at++ = 'Z';
    *at = '\0';
    return (size_t)(at - out);
}
