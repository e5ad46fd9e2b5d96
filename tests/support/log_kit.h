/* What tests of the log share: directories, events, appends. */
#ifndef RF_TESTS_LOG_KIT_H
#define RF_TESTS_LOG_KIT_H

#include "log/log.h"

/* A fresh directory under $TMPDIR; kit_dir_remove deletes it with all in it. */
char *kit_dir_make(void);
void kit_dir_remove(char **dir);

/* Deterministic random numbers. */
typedef struct kit_rng {
    uint64_t s;
} kit_rng;
uint64_t kit_next(kit_rng *r);
uint64_t kit_below(kit_rng *r, uint64_t n);

/* Event number n: id "e<n>", stream "s<n % streams>", data that n decides. Memory is the arena's.
 */
rf_event kit_event(rf_arena *a, uint64_t n, uint64_t streams);
/* The same with other data (so another content hash). */
rf_event kit_event_changed(rf_arena *a, uint64_t n, uint64_t streams);
bool kit_event_equal(const rf_event *a, const rf_event *b);
/* content = hash of all that matters; kit_event calls it. */
void kit_content(rf_event *e);

/* One event, waited for; asserts that the append ended with RF_OK (cmocka). */
rf_receipt kit_append_one(rf_log_part *p, const rf_event *e);
/* count events as one group; returns the group's status, receipts filled. */
rf_status kit_append(rf_log_part *p, const rf_event *events, const rf_expect *expects,
                     uint32_t count, bool atomic, rf_receipt *receipts);

/* Opens with a domain "d" of one partition; asserts success. */
rf_log *kit_open(const char *dir, rf_io *io, const rf_log_options *options);
rf_log_part *kit_part(rf_log *log);

/* Reads [0, end) of d/0 through an offline view; calls each() in order. RF_OK or what went wrong.
 */
rf_status kit_read_all(const char *dir, rf_io *io,
                       void (*each)(void *arg, uint64_t offset, uint64_t revision,
                                    const rf_event *e),
                       void *arg, uint64_t *end, rf_err *err);

#endif
