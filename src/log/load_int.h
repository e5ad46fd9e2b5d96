/* From the blocks of a segment to its index in memory: recovery, and rebuilding of index files. */
#ifndef RFI_LOG_LOAD_H
#define RFI_LOG_LOAD_H

#include "log/mem_int.h"
#include "log/scan_int.h"

/*
 * Reads the whole segment that `s` was opened on into `m` (whose events must end where it begins).
 * RF_OK when the scan stopped (judge it then). RF_ECORRUPT: a block with a good checksum whose
 * content makes no sense. RF_EIO, RF_ENOMEM.
 */
RF_CHECKED rf_status rfi_load(rfi_scan *s, const uint8_t secret[static RF_KEY_BYTES], rfi_mem *m,
                              rf_err *err);

#endif
