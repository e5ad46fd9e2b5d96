/* Small files that must not be lost to one bad sector: the same page twice. */
#ifndef RFI_LOG_SMALL_H
#define RFI_LOG_SMALL_H

#include "base/base.h"

#define RFI_SMALL_BYTES_MAX 1024u

/* Atomically and durably (temporary, sync, rename, sync of the directory). magic has 8 bytes. */
RF_CHECKED rf_status rfi_small_write(rf_io *io, const char *path, const char magic[static 8],
                                     const void *bytes, uint32_t n, rf_err *err);
/*
 * Reads exactly n bytes back. *copies_bad counts damaged copies (0 or 1 with RF_OK).
 * RF_ENOTFOUND; RF_ECORRUPT: both are damaged; RF_EUNSUPPORTED: a newer version.
 */
RF_CHECKED rf_status rfi_small_read(rf_io *io, const char *path, const char magic[static 8],
                                    void *bytes, uint32_t n, unsigned *copies_bad, rf_err *err);

#endif
