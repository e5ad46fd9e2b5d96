/* What making a backup and restoring one share. */
#ifndef RFI_LOG_BACKUP_H
#define RFI_LOG_BACKUP_H

#include "log/log.h"
#include "log/manifest_int.h"

/* In the backup's directory, beside log/. */
#define RFI_MANIFEST_NAME "manifest.json"
#define RFI_META_SAVED_NAME "meta.before"
#define RFI_INCOMPLETE_NAME "incomplete"

char *rfi_path(const char *dir, const char *name); /* free() */
/* The first `bytes` of a file under another name: temporary, sync, rename. The caller syncs the
 * directory. */
RF_CHECKED rf_status rfi_copy_file(rf_io *io, const char *from, const char *to, uint64_t bytes,
                                   rf_err *err);
/* rf_log_verify of what was copied; RF_ECORRUPT and report->problems when it is not sound. */
RF_CHECKED rf_status rfi_verify_copy(rf_io *io, const char *log, const rf_log_watch *watch,
                                     rf_backup_report *report, rf_err *err);

#endif
