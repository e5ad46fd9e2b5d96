/* What the verbs that work on a data directory share: backup, restore, log, repair. */
#ifndef RFI_CLI_DATA_H
#define RFI_CLI_DATA_H

#include "cli/cli.h"
#include "log/log.h"

/* Appends the log's directory: data/log, or data itself when that is one. RF_ENOTFOUND. */
RF_CHECKED rf_status rfi_cli_find_log(const char *data, rf_buf *dir, rf_err *err);

/* Shows what a long work on files tells: a bar on a terminal, problems a line each. */
typedef struct rfi_cli_watch {
    rf_log_watch watch; /* its arg is this very struct */
    rf_progress bar;
    const char *phase;
    bool json;
    rf_buf problems; /* with json: elements of a JSON array */
} rfi_cli_watch;

void rfi_cli_watch_init(rfi_cli_watch *w, bool json);
void rfi_cli_watch_clear(rfi_cli_watch *w); /* ends the bar */

#endif
