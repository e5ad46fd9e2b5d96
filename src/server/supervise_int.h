/*
 * Watches over the read half: starts it, starts it again when it ends, ends it when we end.
 * A thread of its own; it alone forks and waits.
 */
#ifndef RFI_SERVER_SUPERVISE_H
#define RFI_SERVER_SUPERVISE_H

#include "base/base.h"

typedef struct rfi_supervisor rfi_supervisor;

typedef enum rfi_reader_state {
    RFI_READER_STARTING, /* for the first time */
    RFI_READER_UP,
    RFI_READER_AWAY /* ended, or not yet up again */
} rfi_reader_state;

typedef struct rfi_reader_info {
    rfi_reader_state state;
    int pid; /* 0: none now */
    uint64_t restarts;
    int64_t since_us;   /* rf_mono_us of the last change of state */
    char last_exit[96]; /* "" or "killed by signal 9", ... */
} rfi_reader_info;

/* argv and run_dir are kept. Before the loops start, since they look at it. */
RF_CHECKED rf_status rfi_supervisor_open(char *const *argv, const char *run_dir,
                                         rfi_supervisor **out, rf_err *err);
/* When the write half's own socket is open: the read half will want it. */
RF_CHECKED rf_status rfi_supervisor_start(rfi_supervisor *s, rf_err *err);
/* SIGTERM, and SIGKILL after 3 s; then closes. */
void rfi_supervisor_stop(rfi_supervisor **s);
/* Any thread. */
void rfi_supervisor_get(rfi_supervisor *s, rfi_reader_info *out);
const char *rfi_reader_state_name(rfi_reader_state state);
/* How long to wait before the next start, after one that was up for so long. Exposed for tests. */
uint32_t rfi_backoff_ms(uint32_t before_ms, int64_t up_us);

#endif
