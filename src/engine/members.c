/* The members of a JSON object, one after the other, without a tree. */
#include "engine/events_int.h"

static const char *space_skip(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* `p` is behind the opening quote. Returns the closing quote, or end. */
static const char *string_end(const char *p, const char *end, bool *escaped)
{
    for (; p < end && *p != '"'; p++) {
        if (*p == '\\') {
            *escaped = true;
            if (++p == end)
                break;
        }
    }
    return p;
}

/* `p` is at an opening bracket. Returns what is behind the closing one, or end. */
static const char *nested_end(const char *p, const char *end)
{
    size_t depth = 0;
    bool escaped;

    for (; p < end; p++) {
        switch (*p) {
        case '"':
            p = string_end(p + 1, end, &escaped);
            if (p == end)
                return end;
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (--depth == 0)
                return p + 1;
            break;
        default:
            break;
        }
    }
    return end;
}

static const char *scalar_end(const char *p, const char *end)
{
    while (p < end && *p != ',' && *p != '}' && *p != ' ' && *p != '\n' && *p != '\r' &&
           *p != '\t' && *p != ']')
        p++;
    return p;
}

static const char *value_end(const char *p, const char *end, rfi_member *out)
{
    const char *quote;

    switch (*p) {
    case '"':
        out->kind = RFI_JSON_STRING;
        quote = string_end(p + 1, end, &out->value_escaped);
        return quote < end ? quote + 1 : end;
    case '{':
        out->kind = RFI_JSON_OBJECT;
        return nested_end(p, end);
    case '[':
        out->kind = RFI_JSON_ARRAY;
        return nested_end(p, end);
    case 't':
        out->kind = RFI_JSON_TRUE;
        return scalar_end(p, end);
    case 'f':
        out->kind = RFI_JSON_FALSE;
        return scalar_end(p, end);
    case 'n':
        out->kind = RFI_JSON_NULL;
        return scalar_end(p, end);
    default:
        out->kind = RFI_JSON_NUMBER;
        return scalar_end(p, end);
    }
}

bool rfi_members_begin(rfi_members *m, rf_str json)
{
    const char *end = json.p + json.n;
    const char *p = space_skip(json.p, end);

    if (p == end || *p != '{')
        return false;
    *m = (rfi_members){.p = p + 1, .end = end};
    return true;
}

bool rfi_members_next(rfi_members *m, rfi_member *out)
{
    const char *p = space_skip(m->p, m->end), *key, *value;

    if (p < m->end && *p == ',')
        p = space_skip(p + 1, m->end);
    if (p == m->end || *p != '"')
        return false;
    out->key_escaped = out->value_escaped = false;
    key = p + 1;
    p = string_end(key, m->end, &out->key_escaped);
    out->key = (rf_str){key, (size_t)(p - key)};
    if (p < m->end)
        p = space_skip(p + 1, m->end);
    if (p == m->end || *p != ':')
        return false;
    value = space_skip(p + 1, m->end);
    if (value == m->end)
        return false;
    m->p = value_end(value, m->end, out);
    out->value = (rf_str){value, (size_t)(m->p - value)};
    return true;
}
