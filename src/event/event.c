/* Small rules about events: the stream they belong to, expected revisions, names of domains. */
#include "event/event.h"

rf_str rf_event_stream(const rf_event *e)
{
    return e->subject.n > 0 ? e->subject : e->source;
}

bool rf_expect_parse(rf_str text, rf_expect *out)
{
    uint64_t revision = 0;
    if (rf_str_eq(text, RF_STR("any")))
        *out = (rf_expect){.kind = RF_EXPECT_ANY};
    else if (rf_str_eq(text, RF_STR("no-stream")))
        *out = (rf_expect){.kind = RF_EXPECT_NO_STREAM};
    else if (rf_str_eq(text, RF_STR("stream-exists")))
        *out = (rf_expect){.kind = RF_EXPECT_STREAM_EXISTS};
    else if (rf_str_to_u64(text, &revision))
        *out = (rf_expect){.kind = RF_EXPECT_EXACT, .revision = revision};
    else
        return false;
    return true;
}

bool rf_domain_valid(rf_str name)
{
    if (name.n < 1 || name.n > RF_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && !(i > 0 && (c == '_' || c == '-')))
            return false;
    }
    return true;
}
