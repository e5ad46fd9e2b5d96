/*
 * A log and its partitions, as the files of the write half share them.
 *
 * Locks, in the order in which they may be taken:
 *   rf_log.create_mutex > rf_log.domains_lock > rf_log_part.repair_mutex > rf_log_part.mutex
 *   rf_log_part.queue_mutex and the sealer's mutex stand alone: nothing is taken while they are
 * held.
 */
#ifndef RFI_LOG_PART_H
#define RFI_LOG_PART_H

#include "log/builder_int.h"
#include "log/log.h"
#include "log/set_int.h"
#include "log/tail_int.h"

#include <pthread.h>

typedef enum rfi_state { RFI_STATE_OPEN, RFI_STATE_FULL, RFI_STATE_FENCED } rfi_state;

/* The segment that is being written. The writer thread's own. */
typedef struct rfi_open_segment {
    rf_file *file; /* NULL: the next append makes one */
    rfi_segment_header head;
    uint64_t at;              /* where the next block goes */
    uint64_t allocated;       /* bytes of the file that have space */
    uint64_t zeroed;          /* bytes of it that hold written zeros */
    uint64_t sequence;        /* of the next block */
    uint64_t durable_written; /* the highest D in a block */
    uint8_t prev_hash[RF_SHA256_BYTES];
} rfi_open_segment;

typedef struct rfi_probe {
    rfi_id_hit hit;
    uint64_t last_revision; /* of the stream in sealed history, or RF_REVISION_NONE */
    bool found;
} rfi_probe;

/* The writer thread's own. */
typedef struct rfi_writer {
    rfi_open_segment seg;
    rfi_builder *builder;
    rf_buf out;        /* finished blocks not yet written */
    rfi_types types;   /* of this commit */
    rfi_probe *probes; /* by event of this commit */
    uint32_t probes_cap;
    uint64_t next;              /* offset of the next event */
    uint64_t commit_bytes;      /* of this commit */
    uint64_t commit_bytes_mean; /* slowly moving */
    int64_t recorded_us;
    rf_err fence_err;
} rfi_writer;

struct rf_log_part {
    rf_log *log;
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t number;
    char *dir;
    uint32_t tail_slot;

    pthread_mutex_t queue_mutex; /* guards the four below */
    pthread_cond_t queue_moved;
    rf_append *queue;
    rf_append **queue_end;
    bool stop;
    pthread_t thread;
    bool started;

    pthread_mutex_t mutex; /* guards mem (its content too), set and the retired */
    rfi_mem *mem;
    rfi_set *set;
    rfi_index **retired; /* key files that left the set; removed when nobody reads them any more */
    uint32_t retired_count, retired_cap;
    pthread_mutex_t repair_mutex; /* one repair at a time, and no exchange meanwhile */

    rfi_writer w;

    _Atomic uint64_t durable; /* events on stable storage */
    _Atomic int64_t recorded_us;
    _Atomic int state;
    _Atomic uint64_t blocks, appended, duplicates, conflicts;
    _Atomic uint64_t segments, bytes_sealed, bytes_open, bytes_index;
    rf_hist sync_us, commit_us;
};

typedef struct rfi_domain {
    char name[RF_DOMAIN_MAX + 1];
    uint32_t partitions;
    rf_log_part **parts;
} rfi_domain;

typedef struct rfi_meta {
    uint64_t epoch;
    uint64_t content_seed;
    uint8_t secret[RF_KEY_BYTES];
} rfi_meta;

typedef struct rfi_sealer rfi_sealer;

struct rf_log {
    rf_io *io;
    char *dir;
    rf_file *lock;
    rfi_meta meta;
    rf_log_options options;
    pthread_mutex_t create_mutex;
    pthread_rwlock_t domains_lock; /* guards the list; domains and parts never go away */
    rfi_domain **domains;
    size_t domains_count;
    rfi_tail *tail;
    rfi_sealer *sealer;
    rf_log_view *view; /* for point reads */
    _Atomic uint64_t pending_bytes;
};

void rfi_notice(const rf_log *log, const char *fmt, ...) RF_PRINTF(2, 3);

/* ---- part.c: life and recovery ---- */

RF_CHECKED rf_status rfi_part_open(rf_log *log, rf_str domain, uint32_t number, rf_log_part **out,
                                   rf_err *err);
RF_CHECKED rf_status rfi_part_start(rf_log_part *p, rf_err *err); /* the writer thread */
void rfi_part_stop(rf_log_part *p);                               /* joins it */
void rfi_part_free(rf_log_part **p);
/* Current sealed history, retained. */
rfi_set *rfi_part_set(rf_log_part *p);
/* Changes of it; false without memory, and nothing has changed. They retain what they take in. */
bool rfi_part_freeze(rf_log_part *p, rfi_mem *fresh); /* mem joins it, fresh takes mem's place */
typedef struct rfi_exchange {
    rfi_mem *mem_out;
    rfi_index *const *out, *const *in; /* out: all of them are in the set */
    uint32_t out_count, in_count;
} rfi_exchange;
bool rfi_part_exchange(rf_log_part *p, const rfi_exchange *e);
bool rfi_part_uses(rf_log_part *p, const rfi_index *x); /* is it in the set? */

/* ---- writer.c ---- */

void *rfi_writer_main(void *part);
void rfi_part_publish(rf_log_part *p);

/* ---- decide.c ---- */

/*
 * Decides every event of the appends (ids, expected revisions, offsets, revisions), enters the new
 * ones into the partition's memory and fills the receipts. RF_ENOMEM, RF_ECORRUPT (an index that
 * cannot be repaired): nothing was entered.
 */
RF_CHECKED rf_status rfi_decide(rf_log_part *p, rf_append *list, uint32_t events, rf_err *err);
static inline bool rfi_is_new(const rf_receipt *r)
{
    return r->status == RF_OK && !r->duplicate;
}

/* ---- segment.c ---- */

char *rfi_segment_path(const char *dir, uint64_t base, const char *suffix); /* free() */
char *rfi_keys_path(const char *dir, uint64_t base, uint64_t end);          /* free() */
RF_CHECKED rf_status rfi_segment_create(rf_log_part *p, uint64_t base, rf_err *err);
/* Ends the open segment: its memory is frozen and handed to the sealer. */
RF_CHECKED rf_status rfi_segment_end(rf_log_part *p, rf_err *err);
/* What the index file of the open segment will say of its end. */
rfi_index_header rfi_segment_end_header(const rf_log_part *p);

/* ---- seal.c ---- */

typedef struct rfi_seal_job {
    rf_log_part *part;
    rfi_mem *mem; /* the set's, retained by the sealer */
    rfi_index_header end;
    struct rfi_seal_job *next;
} rfi_seal_job;

rfi_sealer *rfi_sealer_start(rf_log *log);
void rfi_sealer_stop(rfi_sealer **s); /* finishes what is queued */
void rfi_sealer_add(rfi_sealer *s, rfi_seal_job *job);
/* Writes <base>.idx and, when keys_out is not NULL, the .key file, and enters them durably. */
RF_CHECKED rf_status rfi_seal_files(rf_log_part *p, const rfi_mem *m, const rfi_index_header *end,
                                    rfi_index **keys_out, rf_err *err);
/* Makes a damaged key file anew from its segments: one file for each, in its place; any thread. */
RF_CHECKED rf_status rfi_part_repair(rf_log_part *p, rfi_index *damaged, rf_err *err);

#endif
