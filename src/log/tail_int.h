/*
 * The shared page DIR/tail: the durable end of each partition, and a futex word that moves when one
 * does. Written by the writer, mapped read-only by any number of readers. Never read back as truth:
 * it is made anew at each open.
 */
#ifndef RFI_LOG_TAIL_H
#define RFI_LOG_TAIL_H

#include "base/base.h"
#include "event/event.h"

#define RFI_TAIL_SLOTS_MAX 1024u

typedef struct rfi_tail rfi_tail;

/* The writer's: makes a new page, which publish puts in the place of the old one and turns the
 * readers of that away from it. Fill it in between, so that no reader sees a partition's end go
 * back. */
RF_CHECKED rf_status rfi_tail_create(const char *dir, rfi_tail **out, rf_err *err);
RF_CHECKED rf_status rfi_tail_publish(const char *dir, rf_err *err);
/* RF_ETOOBIG when all slots are taken. One thread at a time. */
RF_CHECKED rf_status rfi_tail_add(rfi_tail *t, rf_str domain, uint32_t partition, uint64_t next,
                                  int64_t recorded_us, uint32_t *slot, rf_err *err);
/* Publishes and wakes. Any thread, one a slot. */
void rfi_tail_set(rfi_tail *t, uint32_t slot, uint64_t next, int64_t recorded_us);

/* The readers': RF_EBUSY when there is no page. */
RF_CHECKED rf_status rfi_tail_attach(const char *dir, rfi_tail **out, rf_err *err);
bool rfi_tail_is_old(const rfi_tail *t); /* a new writer made a new page */
uint32_t rfi_tail_count(const rfi_tail *t);
void rfi_tail_get(const rfi_tail *t, uint32_t slot, rf_str *domain, uint32_t *partition,
                  uint64_t *next, int64_t *recorded_us);
bool rfi_tail_wait(rfi_tail *t, uint32_t *seen, uint32_t timeout_ms);

/* Either's. The page stays as it is: what it says stays true. */
void rfi_tail_close(rfi_tail **t);

#endif
