/* Views: see log.h. Where a view learns the durable ends is the caller's. */
#ifndef RFI_LOG_VIEW_H
#define RFI_LOG_VIEW_H

#include "log/log.h"
#include "log/tail_int.h"

/*
 * A source of durable ends. `each` calls back for every partition, in any order. Any thread.
 * Implementations: the shared page (follow), a scan (offline), the log itself (its own point
 * reads).
 */
typedef struct rfi_ends {
    void *arg;
    void (*each)(void *arg,
                 void (*found)(void *to, rf_str domain, uint32_t partition, uint64_t next,
                               int64_t recorded_us),
                 void *to);
    bool (*wait)(void *arg, uint32_t *seen, uint32_t timeout_ms); /* NULL: nothing to wait for */
    void (*free)(void *arg);                                      /* NULL: not ours */
} rfi_ends;

/* The shared page's, and those of a directory that nobody writes. */
RF_CHECKED rf_status rfi_ends_follow(const char *dir, rfi_ends *out, rf_err *err);
RF_CHECKED rf_status rfi_ends_offline(rf_io *io, const char *dir, rfi_ends *out, rf_err *err);

/* Takes the ends over, also when it fails. */
RF_CHECKED rf_status rfi_view_open(rf_io *io, const char *dir, rfi_ends ends, rf_log_view **out,
                                   rf_err *err);

/*
 * Calls found() for every domain that lies in dir, in order of name. copies_bad: damaged copies of
 * its file. RF_ECORRUPT for a domain whose file is lost.
 */
typedef rf_status (*rfi_domain_found)(void *arg, const char *domain, uint32_t partitions,
                                      unsigned copies_bad, rf_err *err);
RF_CHECKED rf_status rfi_domains_list(rf_io *io, const char *dir, rfi_domain_found found, void *arg,
                                      rf_err *err);
/* The secret key of a directory, read without opening it. */
RF_CHECKED rf_status rfi_meta_secret(rf_io *io, const char *dir,
                                     uint8_t secret[static RF_KEY_BYTES], unsigned *copies_bad,
                                     rf_err *err);

#endif
