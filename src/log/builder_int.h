/* The block being filled: events in, header and payload out. One thread. */
#ifndef RFI_LOG_BUILDER_H
#define RFI_LOG_BUILDER_H

#include "log/format_int.h"

typedef struct rfi_builder rfi_builder;

rfi_builder *rfi_builder_new(void); /* NULL without memory */
void rfi_builder_free(rfi_builder **b);
void rfi_builder_reset(rfi_builder *b);

/* Appends one event; false without memory: the block is then unusable until reset. */
bool rfi_builder_add(rfi_builder *b, const rf_event *e, uint64_t revision);
uint32_t rfi_builder_count(const rfi_builder *b);
size_t rfi_builder_raw_bytes(const rfi_builder *b);

/*
 * Ends the block: fills what the content decides in *h (codec, lengths, count, times, hashes; the
 * caller has set the rest), and appends header and payload to `out`. false without memory.
 */
bool rfi_builder_finish(rfi_builder *b, rfi_block_header *h, rf_buf *out);
/* A marker: a block without events. */
bool rfi_builder_marker(rfi_block_header *h, rf_buf *out);

/* Calls each(type, events of it) for the block that rfi_builder_finish just ended. */
void rfi_builder_types(const rfi_builder *b, void (*each)(void *arg, rf_str type, uint32_t events),
                       void *arg);

#endif
