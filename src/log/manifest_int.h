/*
 * The list of a backup: which files of target/log belong to it, how much of each, and its SHA-256.
 * Only the first `bytes` of a file count, so a list stays true while the next backup makes the
 * files it names longer (segments only ever grow).
 */
#ifndef RFI_LOG_MANIFEST_H
#define RFI_LOG_MANIFEST_H

#include "base/base.h"
#include "event/event.h"

typedef struct rfi_manifest_file {
    char *path; /* below target/log */
    uint64_t bytes;
    uint8_t sha256[RF_SHA256_BYTES];
    bool kept; /* it was there already; not written to disk */
} rfi_manifest_file;

typedef struct rfi_manifest {
    int64_t created_us;
    rf_position ends;         /* number of events of each partition */
    rfi_manifest_file *files; /* by path, once sorted */
    size_t count, cap;
} rfi_manifest;

void rfi_manifest_clear(rfi_manifest *m);
/* Copies the path. */
rfi_manifest_file *rfi_manifest_add(rfi_manifest *m, const char *path);
void rfi_manifest_sort(rfi_manifest *m);
/* NULL: not listed. The manifest must be sorted. */
const rfi_manifest_file *rfi_manifest_find(const rfi_manifest *m, const char *path);

RF_CHECKED rf_status rfi_manifest_write(rf_io *io, const char *path, const rfi_manifest *m,
                                        rf_err *err);
/* RF_ENOTFOUND; RF_ECORRUPT: not a manifest, or it names what no log has; RF_EUNSUPPORTED. */
RF_CHECKED rf_status rfi_manifest_read(rf_io *io, const char *path, rfi_manifest *out, rf_err *err);

/* SHA-256 of the first `bytes` of a file; RF_ECORRUPT when it is shorter. */
RF_CHECKED rf_status rfi_file_sha256(rf_io *io, const char *path, uint64_t bytes,
                                     uint8_t out[static RF_SHA256_BYTES], rf_err *err);

#endif
