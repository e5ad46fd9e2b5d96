/*
 * Planted bugs. A fault test is believed only when it finds the bugs that are put in for it: each
 * of these takes one safeguard away. Off outside tests; all stand on cold paths.
 */
#ifndef RFI_LOG_BUGS_H
#define RFI_LOG_BUGS_H

enum {
    RFI_BUG_ACK_BEFORE_SYNC = 1 << 0,     /* done() is called, then the sync */
    RFI_BUG_NO_SYNC = 1 << 1,             /* blocks are never synced */
    RFI_BUG_NO_DIR_SYNC = 1 << 2,         /* new segments are not entered durably */
    RFI_BUG_CUT_ANY_BAD_BLOCK = 1 << 3,   /* recovery takes any damage for a torn tail */
    RFI_BUG_NO_INDEX_REBUILD = 1 << 4,    /* a missing index is taken for an empty one */
    RFI_BUG_NO_UNDO = 1 << 5,             /* a failed write leaves its ids in the index */
    RFI_BUG_NO_NEUTRALISE = 1 << 6,       /* a failed write leaves its blocks in the file */
    RFI_BUG_RETRY_SYNC = 1 << 7,          /* a failed sync is tried again */
    RFI_BUG_SPLIT_ATOMIC = 1 << 8,        /* an atomic group may straddle blocks */
    RFI_BUG_FORGET_SEALED = 1 << 9,       /* ids are looked for in the open segment only */
    RFI_BUG_NO_PAGE_CHECK = 1 << 10,      /* index pages are believed unchecked */
    RFI_BUG_NO_CUT_SYNC = 1 << 11,        /* what recovery reads counts as durable without a sync */
    RFI_BUG_RENAME_BEFORE_SYNC = 1 << 12, /* a segment gets its name before its header is synced */
    RFI_BUG_NO_REWRITE = 1 << 13,         /* after a failed sync the page cache is believed */
    RFI_BUG_MERGE_NO_DIR_SYNC = 1 << 14,  /* merged files go before the new one is there for good */
    RFI_BUG_TIDY_NO_DIR_SYNC = 1 << 15,   /* the same at recovery */
};

extern unsigned rfi_bugs;
#define RFI_BUG(bug) __builtin_expect((rfi_bugs & (unsigned)(bug)) != 0, 0)

#endif
