/* Opening what an earlier writer left. */
#ifndef RFI_LOG_RECOVER_H
#define RFI_LOG_RECOVER_H

#include "log/part_int.h"

/* Files of a partition's directory, sorted; also for views and verification. */
typedef struct rfi_files {
    uint64_t *segments;
    size_t segments_count, segments_cap;
    struct rfi_key_file {
        uint64_t base, end;
    } * keys; /* by base, then the longer first */
    size_t keys_count, keys_cap;
    char **leftovers; /* names of unfinished files */
    size_t leftovers_count, leftovers_cap;
} rfi_files;

RF_CHECKED rf_status rfi_files_list(rf_io *io, const char *dir, rfi_files *out, rf_err *err);
void rfi_files_clear(rfi_files *f);

/* Fills mem, set, writer and counts of a partition that was just made. */
RF_CHECKED rf_status rfi_recover(rf_log_part *p, rf_err *err);

/* Opens a segment, loads it whole, and compares with what must be there; for index rebuilding. */
RF_CHECKED rf_status rfi_load_sealed(rf_log_part *p, uint64_t base, uint64_t end, rfi_mem *m,
                                     rfi_index_header *head, rf_err *err);

#endif
