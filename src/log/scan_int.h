/*
 * Reading a segment from its start, block by block, believing nothing; and telling a torn tail from
 * damage. One thread. Used by recovery, verification and offline views.
 */
#ifndef RFI_LOG_SCAN_H
#define RFI_LOG_SCAN_H

#include "log/format_int.h"

typedef struct rfi_scan {
    rf_io *io;
    rf_file *file;
    rfi_segment_header head;
    uint64_t file_bytes;
    /* What the next block must be. */
    uint64_t at, next_offset, next_sequence;
    uint8_t prev_hash[RF_SHA256_BYTES];
    uint64_t durable; /* highest D seen; at least the segment's base */
    uint64_t epoch;
    int64_t recorded_us; /* RF_TIME_NONE before the first block */
    const char *why;     /* after RFI_SCAN_STOP: what was wrong with the next block */
    uint8_t *buffer;
    size_t buffer_cap, buffer_n;
    uint64_t buffer_at;
} rfi_scan;

typedef enum rfi_step { RFI_SCAN_BLOCK, RFI_SCAN_STOP, RFI_SCAN_ERROR } rfi_step;

/* Borrows the file. Reads and checks the header: RF_ECORRUPT, RF_EUNSUPPORTED, RF_EIO. */
RF_CHECKED rf_status rfi_scan_open(rfi_scan *s, rf_io *io, rf_file *file, rf_err *err);
void rfi_scan_clear(rfi_scan *s);
/* The next block, header and all, valid until the next call. STOP: no valid block comes next. */
rfi_step rfi_scan_next(rfi_scan *s, rfi_block_header *h, const uint8_t **block, rf_err *err);

typedef struct rfi_tail_kind {
    bool torn;      /* bytes after the last good block are not all zeros */
    uint64_t bytes; /* how many, up to the last that is not zero */
} rfi_tail_kind;

/*
 * After STOP: reads the rest of the file. RF_OK: nothing that was ever synced is missing, so what
 * is there may be cut. RF_ECORRUPT: some block, before or behind the gap, says that offsets beyond
 * it were durable.
 */
RF_CHECKED rf_status rfi_scan_judge(rfi_scan *s, rfi_tail_kind *tail, rf_err *err);

#endif
