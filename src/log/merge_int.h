/*
 * Merging key files, so that however long history is, a new id is looked for in a few of them.
 * merge.c: several runs into one file. runs.c: which runs, and taking the new one for the old ones.
 */
#ifndef RFI_LOG_MERGE_H
#define RFI_LOG_MERGE_H

#include "log/part_int.h"

#define RFI_MERGE_RUNS 4u      /* that many of about one size become one */
#define RFI_MERGE_RUNS_MAX 32u /* at once; they are open at the same time */
#define RFI_MERGE_EVENTS_MIN 4096u

/* Fewer events than this are not worth the syncs of a merge. Tests change it. */
extern _Atomic uint64_t rfi_merge_events_min;

/* What a merge asks now and then; false: give up. */
typedef struct rfi_merge_watch {
    bool (*go_on)(void *arg);
    void *arg;
} rfi_merge_watch;

/*
 * Writes path: a key file of all that the runs have. They are neighbours, oldest first, 2 to
 * RFI_MERGE_RUNS_MAX. Memory: some pages a run, and 4 bytes for each page written.
 * Errors  RF_ECORRUPT   *damaged (borrowed) contradicts itself or a checksum
 *         RF_ECANCELED  go_on said so
 */
RF_CHECKED rf_status rfi_keys_merge(rf_io *io, const char *path, rfi_index *const *runs,
                                    uint32_t count, const rfi_merge_watch *watch,
                                    rfi_index **damaged, rf_err *err);

/* Which of the runs (events of each, oldest first) to merge next: *from and how many; 0: none. */
uint32_t rfi_merge_choose(const uint64_t *events, uint32_t count, uint32_t *from);

/* One merge in one partition, if there is one to do. RF_ENOTFOUND: there is none. Sealer thread. */
RF_CHECKED rf_status rfi_part_merge(rf_log_part *p, const rfi_merge_watch *watch, rf_err *err);
/* Removes files that were taken out of the set and that nobody reads any more. False: some are
 * left. Sealer thread. */
bool rfi_part_bury(rf_log_part *p);

#endif
