/* A decoded block. rf_block in log.h is the public side. */
#ifndef RFI_LOG_BLOCK_H
#define RFI_LOG_BLOCK_H

#include "log/format_int.h"
#include "log/log.h"

/* Room an event needs for attributes that are stored in binary: its id, its time. */
#define RFI_EVENT_TEXT_BYTES (RF_UUID_TEXT + RF_TIME_TEXT_MAX)

struct rf_block {
    rf_buf disk, raw;
    rfi_block_header head;
    rfi_payload payload;
    uint32_t *frames; /* where each begins in the payload */
    uint32_t frames_cap;
    char *text; /* RFI_EVENT_TEXT_BYTES an event, written when an event is asked for */
    size_t text_cap;
};

/*
 * Decodes a block whose header was decoded to *h and whose payload checksum was compared. `stored`
 * must stay as long as the block's events do. NULL when fine; else why not.
 */
const char *rfi_block_decode(rf_block *b, const rfi_block_header *h, const uint8_t *stored);
/* Frame i of a decoded block. */
void rfi_block_frame(const rf_block *b, uint32_t i, rfi_frame *out);
void rfi_block_event(const rf_block *b, uint32_t i, rf_event *out);

#endif
