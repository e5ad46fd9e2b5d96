/*
 * log: the immutable event log. Domains hold partitions, partitions are append-only segments with
 * one writer thread each. Formats: src/log/README.md. Knows nothing of schemas, HTTP or SQL.
 *
 * Two doors:
 *   rf_log       the write half's: exactly one process per directory; appends and point reads.
 *   rf_log_view  everybody's: read-only, any process, by offset; sees only what is durable.
 *
 * What an acknowledgement means (docs/guarantees.md P1..P6): the event was fdatasync'ed, at one
 * offset and revision, once for its (source, id) over the whole history of its partition.
 */
#ifndef RF_LOG_H
#define RF_LOG_H

#include "base/base.h"
#include "event/event.h"

/* ---- opening -------------------------------------------------------------------------------- */

typedef struct rf_log rf_log;
typedef struct rf_log_part rf_log_part; /* one partition; lives as long as its rf_log */

typedef struct rf_log_options {
    rf_io *io;                   /* NULL: rf_io_posix() */
    uint64_t segment_bytes_max;  /* roll at this size; default 64 MiB; 64 KiB..4 GiB */
    uint32_t block_bytes_target; /* raw bytes a block gathers before the next one begins; 64 KiB */
    bool publish_tail;           /* keep the shared tail page that rf_log_view_wait needs */
    bool seal_on_close;          /* seal the open segments at close (graceful stop) */
    /* What recovery did, a line each, for the program's diagnostics; may be NULL. */
    void (*notice)(void *arg, const char *line);
    void *notice_arg;
} rf_log_options;

/*
 * Opens (creates when missing) the log in `dir`: takes the directory lock, raises the writer epoch,
 * recovers every partition (cuts torn tails, checks the last segment, loads indexes) and starts a
 * writer thread for each.
 * Errors  RF_EBUSY      another process has it (text names the lock file)
 *         RF_ECORRUPT   damage at or before the durable point: text names segment and offset; such
 * a partition can be read around by a view, but is not opened for writing RF_EUNSUPPORTED a newer
 * format, RF_EIO/RF_EFULL as they come
 */
RF_CHECKED rf_status rf_log_open(const char *dir, const rf_log_options *options, rf_log **out,
                                 rf_err *err);
/* Completes what was submitted, syncs, seals when asked, joins the writers. */
void rf_log_close(rf_log **log);

/* Secret of the directory for rf_decoder_new's content hash; made at the first open. */
uint64_t rf_log_content_seed(const rf_log *log);

/*
 * Makes sure a domain exists with at least one partition; `partitions` counts only at its creation.
 * Any thread; blocks for a few syncs when it creates. RF_EINVAL for a bad name.
 */
RF_CHECKED rf_status rf_log_domain(rf_log *log, rf_str domain, uint32_t partitions, rf_err *err);
/* The partition of a stream, by hash; NULL when the domain does not exist. Any thread, no lock held
 * for long. */
rf_log_part *rf_log_route(rf_log *log, rf_str domain, rf_str stream);
rf_str rf_log_part_domain(const rf_log_part *part);
uint32_t rf_log_part_number(const rf_log_part *part);

/* ---- appending ---------------------------------------------------------------------------------
 */

typedef struct rf_receipt {
    rf_status status; /* RF_OK (stored or duplicate), RF_ECONFLICT, RF_ECANCELED (atomic group
                         failed because of another event), or the group's failure */
    bool duplicate;   /* stored earlier; offset and revision are those of the first time */
    bool conflict_id; /* with RF_ECONFLICT: same (source, id), other content (offset says where);
                         false: the expected revision does not match (`revision` is the actual last
                         one, RF_REVISION_NONE for a stream that does not exist) */
    uint64_t offset;
    uint64_t revision;
} rf_receipt;

#define RF_REVISION_NONE UINT64_MAX
#define RF_APPEND_EVENTS_MAX 65536u
#define RF_APPEND_BYTES_MAX (64u << 20)

/*
 * A group of events for one partition, in order. The caller owns it and everything it points to
 * until `done` was called, once, on the partition's writer thread (be quick, do not submit and
 * wait). By then `receipts` are filled and what they say is on stable storage.
 */
typedef struct rf_append rf_append;
struct rf_append {
    const rf_event *events;
    const rf_expect *expects; /* one an event, or NULL: any */
    uint32_t count;           /* 1..RF_APPEND_EVENTS_MAX, RF_APPEND_BYTES_MAX in all */
    bool atomic;              /* all or none; else every event for itself */
    rf_receipt *receipts;     /* room for count */
    void (*done)(rf_append *a);
    void *arg;
    /* Results for the group, set before done: RF_OK when every receipt is RF_OK or (not atomic) was
     * decided for itself; RF_ECONFLICT for an atomic group that failed; RF_EFULL: no space, nothing
     * stored; RF_EFENCED: the sync failed, outcome unknown, the same ids settle it after a restart.
     */
    rf_status status;
    rf_err err;
    /* Owned by the log while submitted. */
    rf_append *next;
    int64_t submitted_us;
    uint64_t bytes;
    void *keys;
};

/* Queues the group. Any thread. Never blocks for the disk. Order of submission by one thread to one
 * partition is the order in the log. */
void rf_log_submit(rf_log_part *part, rf_append *append);
/* Bytes submitted and not yet done, over all partitions: admission control looks here. */
uint64_t rf_log_pending_bytes(const rf_log *log);
/* Submit and wait. Any thread but a writer. Returns append->status. */
RF_CHECKED rf_status rf_log_append(rf_log_part *part, rf_append *append, rf_err *err);

/* The durable end of every partition (every domain). */
void rf_log_position(rf_log *log, rf_position *out);

/* ---- point reads (any thread; block on the disk; the event borrows from the page)
 * ----------------- */

/* Owner of events that were read: decoded blocks and decoded slices. */
typedef struct rf_log_page rf_log_page;
rf_log_page *rf_log_page_new(void);
void rf_log_page_free(rf_log_page **page);

typedef struct rf_placed_event {
    rf_event event;
    rf_event_place place;
} rf_placed_event;

/* The event with this source and id, looked up in every partition of every domain (or of the one
 * given; empty: all). RF_ENOTFOUND. */
RF_CHECKED rf_status rf_log_find(rf_log *log, rf_str domain, rf_str source, rf_str id,
                                 rf_log_page *page, rf_placed_event *out, rf_err *err);

/*
 * Up to `limit` events of a stream, beginning with revision `from` and going forward, or backward
 * (from == RF_REVISION_NONE: the last one). `*count` may be 0. RF_ENOTFOUND: no such stream.
 * The page is reset first; `out` has room for limit.
 */
RF_CHECKED rf_status rf_log_read_stream(rf_log *log, rf_str domain, rf_str stream, uint64_t from,
                                        bool backward, size_t limit, rf_log_page *page,
                                        rf_placed_event *out, size_t *count, rf_err *err);

/* ---- statistics
 * -------------------------------------------------------------------------------------- */

typedef struct rf_log_part_stats {
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t partition;
    uint64_t next;        /* durable end: number of events */
    uint64_t bytes_disk;  /* of segments */
    uint64_t bytes_index; /* of index files */
    uint64_t segments;
    uint64_t blocks;     /* written since open */
    uint64_t appended;   /* events stored since open */
    uint64_t duplicates; /* answered since open */
    uint64_t conflicts;
    const char *state;        /* "open", "full", "fenced", "readonly" */
    const rf_hist *sync_us;   /* one fdatasync */
    const rf_hist *commit_us; /* submit to done */
} rf_log_part_stats;

/* Calls each() for every partition; the histograms live as long as the log. */
void rf_log_stats(rf_log *log, void (*each)(void *arg, const rf_log_part_stats *s), void *arg);

/* ---- views
 * ---------------------------------------------------------------------------------------------- */

typedef struct rf_log_view rf_log_view;

typedef struct rf_log_view_options {
    rf_io *io; /* NULL: rf_io_posix() */
    /* true: follow the shared tail page of a running writer. false: there is no writer (offline
     * tools); the end is found by scanning the last segment. */
    bool follow;
} rf_log_view_options;

/* Opens a view. With follow, the page must exist (RF_EBUSY "writer not up yet" when not). */
RF_CHECKED rf_status rf_log_view_open(const char *dir, const rf_log_view_options *options,
                                      rf_log_view **out, rf_err *err);
void rf_log_view_close(rf_log_view **view);

/* The durable end now, of all domains or one (empty: all). Any thread. */
void rf_log_view_position(rf_log_view *view, rf_position *out);
uint64_t rf_log_view_end(rf_log_view *view, rf_str domain, uint32_t partition);
/* When the last durable event of the partition was recorded; RF_TIME_NONE when there is none. */
int64_t rf_log_view_recorded_us(rf_log_view *view, rf_str domain, uint32_t partition);

/*
 * Waits until anything became durable after the moment `*seen` was returned (begin with 0), or the
 * timeout passes. Updates *seen. true: something new. Any thread.
 */
bool rf_log_view_wait(rf_log_view *view, uint32_t *seen, uint32_t timeout_ms);

/* One block of a partition, enough to load it. Plain value. */
typedef struct rf_block_ref {
    uint64_t segment_base; /* names the segment */
    uint64_t at;           /* byte in its file */
    uint64_t base_offset;
    uint32_t count; /* events */
    uint32_t bytes; /* of the whole block on disk */
} rf_block_ref;

/*
 * The blocks that hold offsets [from, to) of a partition, in order (the first and last may reach
 * beyond). The caller frees *refs by free(). Any thread. RF_ECORRUPT with segment and offset when
 * the chain of blocks is broken there (what lies before it is still returned in *refs).
 */
RF_CHECKED rf_status rf_log_view_blocks(rf_log_view *view, rf_str domain, uint32_t partition,
                                        uint64_t from, uint64_t to, rf_block_ref **refs,
                                        size_t *count, rf_err *err);

/* A loaded block; reusable; one thread at a time. Events borrow from it until the next load. */
typedef struct rf_block rf_block;
rf_block *rf_block_new(void);
void rf_block_free(rf_block **block);
/* Reads, checks CRC, decompresses. RF_ECORRUPT names segment and byte. */
RF_CHECKED rf_status rf_block_load(rf_log_view *view, rf_str domain, uint32_t partition,
                                   const rf_block_ref *ref, rf_block *block, rf_err *err);

/* What a scan usually needs of an event before it decides to look closer. */
typedef struct rf_block_event {
    uint64_t offset, revision;
    int64_t recorded_us, time_us;
    uint32_t type_ref; /* index into the block's own strings: equal refs, equal types */
    rf_data_kind data_kind;
    rf_str data;
} rf_block_event;

/* Number of the type's string in this block, or UINT32_MAX when no event of it has this type. */
uint32_t rf_block_type_ref(const rf_block *block, rf_str type);
rf_str rf_block_string(const rf_block *block, uint32_t ref);
/* Iterates the block's events in order: start with *cursor = 0; false at the end. Very cheap. */
bool rf_block_next(const rf_block *block, uint32_t *cursor, rf_block_event *out);
/* The whole event at the position that the last rf_block_next returned (pass its cursor). */
void rf_block_event_full(const rf_block *block, uint32_t cursor, rf_event *out);

/* ---- verification
 * ------------------------------------------------------------------------------------------ */

typedef struct rf_verify_report {
    uint64_t partitions, segments, blocks, events, bytes;
    uint64_t problems; /* damage found */
    uint64_t torn;     /* torn tails after the durable point (not damage) */
} rf_verify_report;

/*
 * Reads the whole log offline or beside a running writer and checks headers, CRCs, hash chain,
 * continuity of offsets and revisions, and the index files against the log. Calls problem() with
 * one line for each damage ("default/0 00000000000000000000.seg: block at byte 4096
 * (offsets 10..19): checksum …") and progress() about ten times a second; either may be NULL.
 * RF_OK: it could be read through (see report->problems); RF_ECORRUPT is not returned.
 */
RF_CHECKED rf_status rf_log_verify(rf_io *io, const char *dir,
                                   void (*problem)(void *arg, const char *line),
                                   void (*progress)(void *arg, uint64_t bytes_done,
                                                    uint64_t bytes_total),
                                   void *arg, rf_verify_report *report, rf_err *err);

/* ---- beside a writer or without one ------------------------------------------------------------
 */

/* A view whether a writer is up or not: follows the one that has the directory, else scans. */
RF_CHECKED rf_status rf_log_view_open_beside(rf_io *io, const char *dir, rf_log_view **out,
                                             rf_err *err);

/* ---- the chain: heads and proofs ---------------------------------------------------------------
 */

/*
 * The end of a partition's chain of hashes. Kept somewhere else, `hash` pins all that lies before:
 * no event up to `next` can be changed, removed or put in without another hash coming out.
 */
typedef struct rf_log_head {
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t partition;
    uint64_t next;                 /* events before the head */
    uint64_t sequence;             /* of the last block with events */
    uint8_t hash[RF_SHA256_BYTES]; /* SHA-256 of that block's header */
    int64_t recorded_us;           /* of that block */
} rf_log_head;

/* Calls each() for every partition of the domain (empty: of all) that has events, in order. */
RF_CHECKED rf_status rf_log_heads(rf_log_view *view, rf_str domain,
                                  void (*each)(void *arg, const rf_log_head *head), void *arg,
                                  rf_err *err);

/*
 * What shows somebody who has only a head that an event is before it: the event's block, whose
 * header has the hash of its payload, and the headers of all blocks after it up to the head, each
 * of which has the hash of the one before. docs/log-format.md tells how to check one.
 */
typedef struct rf_log_proof {
    rf_log_head head; /* domain and partition are the event's */
    uint64_t offset;
    uint32_t index;    /* of the event in its block */
    rf_buf frame;      /* the event as it stands in the decompressed payload */
    rf_buf block;      /* whole, as on disk */
    rf_buf headers;    /* of the blocks after it: RF_BLOCK_HEADER_BYTES each */
    char *source, *id; /* NUL-terminated */
} rf_log_proof;

#define RF_BLOCK_HEADER_BYTES 168u

/* Beside a writer or without one. RF_ENOTFOUND: no such event. *out is cleared by the caller, after
 * a failure too. An empty domain: looks in all. */
RF_CHECKED rf_status rf_log_prove(rf_io *io, const char *dir, rf_str domain, rf_str source,
                                  rf_str id, rf_log_proof *out, rf_err *err);
void rf_log_proof_clear(rf_log_proof *proof);

/* ---- backups, repair
 * ---------------------------------------------------------------------------------------- */

/* Who wants to know how long work goes on; every member may be NULL. */
typedef struct rf_log_watch {
    void (*problem)(void *arg, const char *line); /* damage, a line each */
    void (*progress)(void *arg, const char *phase, uint64_t bytes_done, uint64_t bytes_total);
    void *arg;
} rf_log_watch;

typedef struct rf_backup_report {
    uint64_t files, bytes; /* of the whole backup */
    uint64_t files_kept;   /* were there already */
    uint64_t files_linked; /* share their bytes with the log's own file */
    uint64_t files_copied, bytes_copied;
    uint64_t files_removed; /* no longer needed in the backup */
    uint64_t events;        /* in the backup */
    uint64_t problems;      /* damage found by the verification at the end */
} rf_backup_report;

/*
 * Makes `target` (a directory, created when missing) a backup of the log in `dir`, or brings an
 * earlier one up to date: target/log is a log directory that holds, for each partition, a prefix
 * with everything that was durable when the call began, and target/manifest.json says of each file
 * its size and SHA-256. Works beside a running writer. Sealed segments and indexes become hard
 * links where the file system allows, else copies. Ends by verifying target/log.
 *
 * Until the manifest is written there is a file target/incomplete; another call goes on. An
 * earlier backup in the target stays restorable until the new manifest takes its place.
 * Errors  RF_ECORRUPT   the copy does not verify (report->problems > 0): no manifest was written
 *         RF_ECONFLICT  the target has a backup of another log, or of this one with more events, or
 *                       is itself a log in use
 *         RF_EBUSY      another backup into this target is running, or the writer is still starting
 */
RF_CHECKED rf_status rf_log_backup(rf_io *io, const char *dir, const char *target,
                                   const rf_log_watch *watch, rf_backup_report *report,
                                   rf_err *err);

/*
 * Copies a backup into `dir` (the log's directory: missing or empty), comparing each file with the
 * manifest, and verifies the result. The writer's epoch is raised by 2^32, so that no block written
 * from here on can be taken for one that the original log went on to write. `meta` comes last: a
 * directory whose restoring was interrupted is not opened as a log.
 * Errors  RF_ENOTFOUND  no manifest: no backup was ever finished there
 *         RF_ECONFLICT  dir is not empty
 *         RF_ECORRUPT   a file of the backup is not what the manifest says
 */
RF_CHECKED rf_status rf_log_restore(rf_io *io, const char *backup, const char *dir,
                                    const rf_log_watch *watch, rf_backup_report *report,
                                    rf_err *err);

typedef struct rf_repair_report {
    uint64_t partitions, segments, events;
    uint64_t segments_open; /* not sealed: they have no index files */
    uint64_t files_written, files_removed, bytes_written;
} rf_repair_report;

/*
 * Makes every index file anew from its segments, as sealing made it, and removes those that no
 * segment asks for. Takes the directory's lock: RF_EBUSY when a writer is up. RF_ECORRUPT: a
 * segment is damaged; its index files stay as they were.
 */
RF_CHECKED rf_status rf_log_repair_indexes(rf_io *io, const char *dir, const rf_log_watch *watch,
                                           rf_repair_report *report, rf_err *err);

#endif
