/* An rf_io in front of another that fails chosen calls. */
#ifndef RF_TESTS_FAULTY_H
#define RF_TESTS_FAULTY_H

#include "base/base.h"

typedef enum fault_kind {
    FAULT_OPEN,
    FAULT_PREAD,
    FAULT_PWRITE,
    FAULT_SYNC,
    FAULT_SIZE,
    FAULT_TRUNCATE,
    FAULT_ALLOCATE,
    FAULT_MAP,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_MKDIR,
    FAULT_SYNC_DIR,
    FAULT_LIST,
    FAULT_KINDS
} fault_kind;

typedef struct faulty faulty;

faulty *faulty_new(rf_io *behind);
void faulty_free(faulty **f);
rf_io *faulty_io(faulty *f);
/*
 * From now on the `at`-th call of the kind (0 the next), and with `forever` every later one, fails
 * with os_errno. A failing write first writes `part` of its bytes: 0 none, 1 half, 2 all.
 */
void faulty_arm(faulty *f, fault_kind kind, uint64_t at, int os_errno, bool forever, int part);
void faulty_disarm(faulty *f);
bool faulty_fired(const faulty *f);
const char *faulty_kind_name(fault_kind kind);

#endif
