/* Faults: how they are worded, and how often each rule refused something. */
#include "ingest/ingest_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* All names a fault may have. The last one takes what is missing here. */
static const char *const rule_names[] = {
    "json-syntax",
    "utf8",
    "depth",
    "size",
    "duplicate-key",
    "not-an-object",
    "missing-attribute",
    "empty-attribute",
    "bad-attribute-name",
    "bad-attribute-type",
    "attribute-too-long",
    "bad-time",
    "bad-specversion",
    "bad-base64",
    "data-and-data-base64",
    "bad-expectedrevision",
    "control-character",
    "conflict-id",
    "conflict-revision",
    "system-domain",
    "batch-spans-partitions",
    "bad-encoding",
    "expansion-limit",
    "other",
};
static_assert(RF_ARRAY_LEN(rule_names) <= RFI_RULES, "a counter for every rule");

void rfi_ingest_rules_count(rfi_rules *rules, const char *rule, uint64_t n)
{
    size_t i = 0;

    if (n == 0)
        return;
    while (i + 1 < RF_ARRAY_LEN(rule_names) && strcmp(rule_names[i], rule) != 0)
        i++;
    atomic_fetch_add_explicit(&rules->count[i], n, memory_order_relaxed);
}

void rfi_ingest_rules_each(const rfi_rules *rules,
                           void (*each)(void *arg, const char *rule, uint64_t n), void *arg)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(rule_names); i++) {
        uint64_t n = atomic_load_explicit(&rules->count[i], memory_order_relaxed);
        if (n > 0)
            each(arg, rule_names[i], n);
    }
}

rf_str rfi_ingest_shorten(rf_str s, size_t max)
{
    if (s.n <= max)
        return s;
    while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
        max--;
    return (rf_str){s.p, max};
}

void rfi_ingest_fault(rf_event_fault *fault, const char *rule, const char *path, const char *fmt,
                      ...)
{
    char text[2 * sizeof(fault->detail)];
    rf_str detail;
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    detail = rfi_ingest_shorten(rf_str_from(text), sizeof(fault->detail) - 1);
    memset(fault, 0, sizeof(*fault));
    fault->rule = rule;
    snprintf(fault->path, sizeof(fault->path), "%s", path);
    memcpy(fault->detail, detail.p, detail.n);
}
