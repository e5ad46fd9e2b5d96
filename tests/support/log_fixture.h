/* A log in a temporary directory. For tests of engine/ and what follows. */
#ifndef RF_TESTS_LOG_FIXTURE_H
#define RF_TESTS_LOG_FIXTURE_H

#include "log/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct log_fixture {
    char dir[64], log_dir[80], database[80];
    rf_log *log;
    rf_log_view *view;
    uint64_t ids; /* next id */
} log_fixture;

static inline void log_fixture_open(log_fixture *f)
{
    rf_log_options options = {.publish_tail = true};
    rf_log_view_options view = {.follow = true};
    rf_err err = {0};

    if (rf_log_open(f->log_dir, &options, &f->log, &err) != RF_OK ||
        rf_log_domain(f->log, RF_STR("refold"), 1, &err) != RF_OK ||
        rf_log_domain(f->log, RF_STR("default"), 2, &err) != RF_OK ||
        rf_log_view_open(f->log_dir, &view, &f->view, &err) != RF_OK)
        fail_msg("%s", err.text);
}

static inline void log_fixture_init(log_fixture *f)
{
    *f = (log_fixture){0};
    snprintf(f->dir, sizeof(f->dir), "/tmp/rf-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->log_dir, sizeof(f->log_dir), "%s/log", f->dir);
    snprintf(f->database, sizeof(f->database), "%s/read.duckdb", f->dir);
    log_fixture_open(f);
}

static inline void log_fixture_clear(log_fixture *f)
{
    char command[96];

    rf_log_view_close(&f->view);
    rf_log_close(&f->log);
    snprintf(command, sizeof(command), "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

/* Appends `count` events in one group to the partition of events[0]'s stream. */
static inline uint64_t log_fixture_append(log_fixture *f, const char *domain,
                                          const rf_event *events, uint32_t count)
{
    rf_receipt *receipts = rf_xcalloc(count, sizeof(*receipts));
    rf_append append = {.events = events, .count = count, .receipts = receipts};
    rf_err err = {0};
    uint64_t offset;
    rf_log_part *part = rf_log_route(f->log, rf_str_from(domain), rf_event_stream(&events[0]));

    assert_non_null(part);
    if (rf_log_append(part, &append, &err) != RF_OK)
        fail_msg("%s", err.text);
    offset = receipts[count - 1].offset;
    free(receipts);
    return offset;
}

/* One event; `id` gets its text. */
static inline rf_event log_fixture_event(log_fixture *f, char id[static 24], const char *type,
                                         const char *subject, int64_t time_us, const char *data)
{
    rf_event e = {.source = RF_STR("/test"), .time_us = time_us};

    snprintf(id, 24, "id-%llu", (unsigned long long)f->ids++);
    e.id = rf_str_from(id);
    e.type = rf_str_from(type);
    e.subject = rf_str_from(subject);
    if (time_us != RF_TIME_NONE)
        e.time_text = RF_STR("2001-01-01T00:00:00Z"); /* what readers see is time_us */
    e.data = rf_str_from(data);
    e.data_kind = data != NULL ? RF_DATA_JSON : RF_DATA_NONE;
    e.content = rf_hash_fast(id, strlen(id), 1);
    return e;
}

static inline uint64_t log_fixture_put(log_fixture *f, const char *type, const char *subject,
                                       int64_t time_us, const char *data)
{
    char id[24];
    rf_event e = log_fixture_event(f, id, type, subject, time_us, data);

    return log_fixture_append(f, "default", &e, 1);
}

/* `count` equal events in groups, each group one block. */
static inline void log_fixture_put_many(log_fixture *f, const char *type, const char *subject,
                                        const char *data, uint32_t count, uint32_t group)
{
    char(*ids)[24] = rf_xcalloc(group, sizeof(*ids));
    rf_event *events = rf_xcalloc(group, sizeof(*events));

    for (uint32_t done = 0; done < count;) {
        uint32_t n = count - done < group ? count - done : group;

        for (uint32_t i = 0; i < n; i++)
            events[i] = log_fixture_event(f, ids[i], type, subject, done + i, data);
        log_fixture_append(f, "default", events, n);
        done += n;
    }
    free(events);
    free(ids);
}

#endif
