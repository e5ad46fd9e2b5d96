/*
 * A disk in memory behind rf_io that remembers what was asked of it, and can say what may be left
 * of it after a power cut at any moment.
 *
 * What a crash may do (docs: FAULTS): of the operations on a file since its last sync any subset
 * survives, in order; a write survives whole, not at all, torn at any byte, torn by sectors, or as
 * a grown size with zeros or garbage. Of the changes of a directory since its last sync any subset
 * survives. What was synced survives. A failed sync makes nothing durable, and what it should have
 * written counts as clean: a later sync of the file does not write it either.
 */
#ifndef RF_TESTS_SIMDISK_H
#define RF_TESTS_SIMDISK_H

#include "base/base.h"
#include "support/log_kit.h"

typedef struct simdisk simdisk;

simdisk *simdisk_new(void);
void simdisk_free(simdisk **d);
rf_io *simdisk_io(simdisk *d);

/* Notes a moment in the record, such as an acknowledgement. Any thread. */
void simdisk_mark(simdisk *d, uint64_t value);
size_t simdisk_ops(simdisk *d); /* length of the record */
/* Calls each(value) for every mark among the first `ops` operations. */
void simdisk_marks(simdisk *d, size_t ops, void (*each)(void *arg, uint64_t value), void *arg);

/* Fails the next `times` syncs with EIO, after skipping `skip`. */
void simdisk_fail_syncs(simdisk *d, unsigned skip, unsigned times);

/* Walks the record: states of a crash after 0, 1, 2, .. operations. */
typedef struct simcrash simcrash;
simcrash *simcrash_new(const simdisk *d);
void simcrash_free(simcrash **c);
bool simcrash_step(simcrash *c);            /* one operation further; false at the end */
size_t simcrash_at(const simcrash *c);      /* operations so far */
size_t simcrash_pending(const simcrash *c); /* operations that may be lost now */
/*
 * A disk as it may be found. variant 0: all that is pending is lost; 1: all survives; then singles,
 * prefixes; then random choices by the rng. `variants` tells how many are not random.
 */
simdisk *simcrash_state(const simcrash *c, uint64_t variant, kit_rng *rng);
uint64_t simcrash_variants(const simcrash *c);
/* The disk after the process alone was killed here: all can be read, what was not synced is still
 * not on the disk, and a later power cut takes it. */
simdisk *simcrash_killed(const simcrash *c);

#endif
