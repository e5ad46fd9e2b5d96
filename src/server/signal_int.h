/* Signals of a half, taken by its main thread; every other thread has them blocked. */
#ifndef RFI_SERVER_SIGNAL_H
#define RFI_SERVER_SIGNAL_H

#include "base/base.h"

typedef struct rfi_signals {
    int fd;
} rfi_signals;

/* Call before any thread is started. ignore_int: Ctrl-C in a terminal goes to the whole group, and
 * a supervised half is ended by the one that watches over it. */
RF_CHECKED rf_status rfi_signals_open(rfi_signals *s, bool ignore_int, rf_err *err);
void rfi_signals_close(rfi_signals *s);
/* Waits for SIGTERM or SIGINT: its number, or 0 when the time is over. timeout_ms < 0: for ever. */
int rfi_signals_wait(rfi_signals *s, int timeout_ms);

#endif
