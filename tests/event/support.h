/* What the tests of event share: decoding that must work, and random JSON. */
#ifndef TESTS_EVENT_SUPPORT_H
#define TESTS_EVENT_SUPPORT_H

#include "event/event.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define SEED UINT64_C(0x5eed)

static inline void assert_str(rf_str got, const char *expected)
{
    if (!rf_str_eq(got, rf_str_from(expected)))
        fail_msg("got \"%.*s\", expected \"%s\"", RF_STR_ARG(got), expected);
}

static inline rf_decoder *decoder_new(void)
{
    return rf_decoder_new(&RF_EVENT_LIMITS_DEFAULT, SEED);
}

static inline rf_event must_decode(rf_decoder *d, rf_str text)
{
    rf_event event;
    rf_event_fault fault = {0};
    if (rf_event_decode(d, text, &event, NULL, &fault) != RF_OK)
        fail_msg("refused by %s at %" PRIu64 " %s: %s\n%.*s", fault.rule, fault.position,
                 fault.path, fault.detail, RF_STR_ARG(text));
    return event;
}

/* ---- random numbers and JSON ----------------------------------------------------------------- */

typedef struct rng {
    uint64_t state;
} rng;

static inline uint64_t rng_next(rng *r)
{
    /* splitmix64 */
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline size_t rng_below(rng *r, size_t n)
{
    return (size_t)(rng_next(r) % n);
}

/* From TEST_SEED, or the clock; printed, so that a failure can be replayed. */
static inline rng rng_start(const char *test)
{
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    fprintf(stderr, "%s: TEST_SEED=%" PRIu64 "\n", test, seed);
    return (rng){seed};
}

static inline void random_space(rng *r, rf_buf *b)
{
    static const char *const SPACES[] = {" ", "\n", "\r\n", "\t", "  "};
    while (rng_below(r, 6) == 0)
        rf_buf_add_cstr(b, SPACES[rng_below(r, RF_ARRAY_LEN(SPACES))]);
}

/* Characters of a string's inside, some escaped in one of several spellings. */
static inline void random_chars(rng *r, rf_buf *b, size_t max)
{
    static const char *const ODD[] = {
        "\\\"",
        "\\\\",
        "\\/",
        "\\n",
        "\\t",
        "\\b",
        "\\f",
        "\\r",
        "\\u0041",
        "\\u00e9",
        "\\u20AC",
        "\\ud83d\\ude00",
        "\\u005c",
        "\\u0022",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "/",
        "\x7f",
    };
    for (size_t n = rng_below(r, max + 1); n > 0; n--) {
        if (rng_below(r, 5) == 0)
            rf_buf_add_cstr(b, ODD[rng_below(r, RF_ARRAY_LEN(ODD))]);
        else
            rf_buf_add_char(b, (char)('a' + rng_below(r, 26)));
    }
}

static inline void random_number(rng *r, rf_buf *b)
{
    static const char *const ODD[] = {
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1e0",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "1e308",
        "5e-324",
        "123456789012345678901234567890",
        "0.1",
        "1E+2",
        "1e-400",
    };
    if (rng_below(r, 3) == 0)
        rf_buf_add_cstr(b, ODD[rng_below(r, RF_ARRAY_LEN(ODD))]);
    else if (rng_below(r, 2) == 0)
        rf_buf_add_i64(b, (int64_t)rng_next(r) >> rng_below(r, 64));
    else
        rf_buf_addf(b, "%.*g", (int)rng_below(r, 17) + 1, (double)(int64_t)rng_next(r) / 1e9);
}

/* A valid JSON value with unique keys. */
static inline void random_json(rng *r, rf_buf *b, int depth)
{
    switch (rng_below(r, depth > 0 ? 9 : 6)) {
    case 0:
        rf_buf_add_cstr(b, "null");
        break;
    case 1:
        rf_buf_add_cstr(b, rng_below(r, 2) ? "true" : "false");
        break;
    case 2:
    case 3:
        random_number(r, b);
        break;
    case 4:
    case 5:
        rf_buf_add_char(b, '"');
        random_chars(r, b, 40);
        rf_buf_add_char(b, '"');
        break;
    case 6:
        rf_buf_add_char(b, '[');
        for (size_t i = 0, n = rng_below(r, 6); i < n; i++) {
            if (i > 0)
                rf_buf_add_char(b, ',');
            random_space(r, b);
            random_json(r, b, depth - 1);
            random_space(r, b);
        }
        rf_buf_add_char(b, ']');
        break;
    default:
        rf_buf_add_char(b, '{');
        for (size_t i = 0, n = rng_below(r, rng_below(r, 10) == 0 ? 80 : 8); i < n; i++) {
            if (i > 0)
                rf_buf_add_char(b, ',');
            random_space(r, b);
            rf_buf_addf(b, "\"%zu", i); /* makes it unique */
            random_chars(r, b, 20);
            rf_buf_add_char(b, '"');
            random_space(r, b);
            rf_buf_add_char(b, ':');
            random_space(r, b);
            random_json(r, b, n > 8 ? 0 : depth - 1);
            random_space(r, b);
        }
        rf_buf_add_char(b, '}');
        break;
    }
}

/* A string attribute: `"name":"value"`, without control characters. */
static inline void random_attr(rng *r, rf_buf *b, const char *name, bool uri)
{
    static const char *const ODD[] = {
        "\\\"", "\\\\", "\\/", "\\u00e9", "\\ud83d\\ude00", "\xc3\xa9", "\xf0\x9f\x98\x80", "%20"};
    rf_buf_addf(b, "\"%s\":\"%c", name, (char)('a' + rng_below(r, 26)));
    for (size_t n = rng_below(r, 30); n > 0; n--) {
        if (rng_below(r, 8) == 0)
            rf_buf_add_cstr(b, ODD[rng_below(r, RF_ARRAY_LEN(ODD))]);
        else
            rf_buf_add_char(b, uri ? '/' : ' ');
        rf_buf_add_char(b, (char)('a' + rng_below(r, 26)));
    }
    rf_buf_add_char(b, '"');
}

/* A valid event: members in random order, with random spelling. */
static inline void random_event(rng *r, rf_buf *b)
{
    enum { REQUIRED = 4, MEMBERS = 16 };
    int order[MEMBERS];
    for (int i = 0; i < MEMBERS; i++)
        order[i] = i;
    for (size_t i = MEMBERS - 1; i > 0; i--) {
        size_t k = rng_below(r, i + 1);
        int t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    bool base64 = rng_below(r, 4) == 0, first = true;
    random_space(r, b);
    rf_buf_add_char(b, '{');
    for (size_t i = 0; i < MEMBERS; i++) {
        if (order[i] >= REQUIRED && rng_below(r, 2) == 0)
            continue;
        if (!first)
            rf_buf_add_char(b, ',');
        first = false;
        random_space(r, b);
        switch (order[i]) {
        case 0:
            rf_buf_add_cstr(b, "\"specversion\":\"1.0\"");
            break;
        case 1:
            random_attr(r, b, "id", false);
            break;
        case 2:
            random_attr(r, b, "source", true);
            break;
        case 3:
            random_attr(r, b, "type", false);
            break;
        case 4:
            random_attr(r, b, "subject", false);
            break;
        case 5:
            rf_buf_addf(b, "\"time\":\"20%02zu-0%zu-1%zuT0%zu:3%zu:59.%zuZ\"", rng_below(r, 100),
                        1 + rng_below(r, 9), rng_below(r, 10), rng_below(r, 10), rng_below(r, 10),
                        rng_below(r, 1000000));
            break;
        case 6:
            random_attr(r, b, "datacontenttype", false);
            break;
        case 7:
            random_attr(r, b, "dataschema", true);
            break;
        case 8:
            random_attr(r, b, "correlationid", false);
            break;
        case 9:
            random_attr(r, b, "causationid", false);
            break;
        case 10:
            random_attr(r, b, "traceparent", false);
            break;
        case 11:
            random_attr(r, b, "zext", false);
            break;
        case 12:
            rf_buf_addf(b, "\"next\":%" PRId64, (int64_t)rng_next(r) >> rng_below(r, 64));
            break;
        case 13:
            rf_buf_addf(b, "\"bext\" : %s", rng_below(r, 2) ? "true" : "false");
            break;
        case 14:
            rf_buf_add_cstr(b, "\"gone\":null");
            break;
        default:
            if (base64) {
                uint8_t bytes[40];
                size_t n = rng_below(r, sizeof bytes);
                for (size_t k = 0; k < n; k++)
                    bytes[k] = (uint8_t)rng_next(r);
                rf_buf_add_cstr(b, "\"data_base64\":\"");
                rf_buf_add_base64(b, bytes, n);
                rf_buf_add_char(b, '"');
            } else {
                rf_buf_add_cstr(b, "\"data\"");
                random_space(r, b);
                rf_buf_add_char(b, ':');
                random_space(r, b);
                random_json(r, b, 5);
            }
            break;
        }
        random_space(r, b);
    }
    rf_buf_add_char(b, '}');
    random_space(r, b);
}

#endif
