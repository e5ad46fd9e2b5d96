/* A small blocking HTTP client for the sockets between the two halves. Any thread but a loop's. */
#ifndef RFI_SERVER_CLIENT_H
#define RFI_SERVER_CLIENT_H

#include "base/base.h"

typedef struct rfi_call_options {
    const char *run_dir, *socket; /* DIR/run, "read.sock" */
    const char *method, *path;
    const char *content_type; /* NULL: no body */
    rf_str body;
    uint32_t timeout_ms; /* for all of it */
} rfi_call_options;

/* RF_OK whatever the HTTP status. `body` is reset first, and gets the answer's. RF_EBUSY: nobody
 * listens there; RF_ETIMEOUT; RF_EIO: the connection broke. */
RF_CHECKED rf_status rfi_call(const rfi_call_options *o, int *status, rf_buf *body, rf_err *err);

#endif
