/*
 * Looking at JSON text without parsing it: to find slices of text that yyjson has validated, to cut
 * a batch into its events before they are validated, and to name the byte where nesting went too
 * deep.
 */
#include "event/event_int.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

size_t rfi_skip_space(rf_str text, size_t at)
{
    while (at < text.n && is_space(text.p[at]))
        at++;
    return at;
}

rf_str rfi_trim(rf_str text)
{
    size_t from = rfi_skip_space(text, 0);
    while (text.n > from && is_space(text.p[text.n - 1]))
        text.n--;
    return (rf_str){text.p + from, text.n - from};
}

size_t rfi_string_end(rf_str text, size_t at)
{
    while (at < text.n) {
        const char *quote = memchr(text.p + at, '"', text.n - at);
        if (quote == NULL)
            return text.n;
        /* Escaped when an odd number of backslashes stands before it. */
        size_t end = (size_t)(quote - text.p), slashes = 0;
        while (end - slashes > at && text.p[end - slashes - 1] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            return end;
        at = end + 1;
    }
    return text.n;
}

size_t rfi_too_deep_at(rf_str text, uint32_t depth_max)
{
    uint32_t depth = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '"') {
            i = rfi_string_end(text, i + 1);
        } else if (c == '{' || c == '[') {
            if (depth == depth_max)
                return i;
            depth++;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return text.n;
}

/* ---- batches --------------------------------------------------------------------------------- */

/* The end of the element that begins at `at`: a comma or the array's bracket, or text.n. Brackets
 * are counted and not matched by kind: a mismatch stays inside one element, where decoding sees it.
 */
static size_t element_end(rf_str text, size_t at)
{
    size_t depth = 0;
    for (; at < text.n; at++) {
        switch (text.p[at]) {
        case '"':
            at = rfi_string_end(text, at + 1);
            break;
        case '{':
        case '[':
            depth++;
            break;
        case ',':
            if (depth == 0)
                return at;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return at;
            depth--;
            break;
        default:
            break;
        }
    }
    return text.n;
}

static rf_status bad_batch(rf_event_fault *fault, size_t at, const char *why)
{
    return rfi_fault(fault, RF_EINVAL, "json-syntax", at,
                     "The batch is not valid JSON at byte %zu: %s.", at, why);
}

rf_status rf_event_split_batch(rf_str text, uint64_t count_max,
                               bool (*each)(void *arg, uint64_t index, rf_str element), void *arg,
                               rf_event_fault *fault)
{
    size_t at = rfi_skip_space(text, 0);
    if (at == text.n || text.p[at] != '[')
        return bad_batch(fault, at, "it must be an array of events, and begin with '['");
    at = rfi_skip_space(text, at + 1);
    bool more = !(at < text.n && text.p[at] == ']');
    for (uint64_t index = 0; more; index++) {
        size_t end = element_end(text, at);
        rf_str element = rfi_trim((rf_str){text.p + at, RF_MIN(end, text.n) - at});
        if (end >= text.n)
            return bad_batch(fault, text.n, "it ends inside the array");
        if (text.p[end] == '}')
            return bad_batch(fault, end, "'}' closes nothing");
        if (element.n == 0)
            return bad_batch(fault, end, "an event is missing here");
        if (index == count_max)
            return rfi_fault(fault, RF_ETOOBIG, "size", at,
                             "The batch has more than %llu events; send it in parts, or as NDJSON.",
                             (unsigned long long)count_max);
        more = text.p[end] == ',';
        if (!each(arg, index, element))
            return RF_OK;
        at = more ? rfi_skip_space(text, end + 1) : end;
    }
    at = rfi_skip_space(text, at + 1);
    if (at != text.n)
        return bad_batch(fault, at, "something follows the array");
    return RF_OK;
}
