/* UUIDs (RFC 9562): version 7 by time, version 8 by content. */
#include "event/event.h"

#include <string.h>

static void write_text(uint8_t bytes[static 16], unsigned version,
                       char out[static RF_UUID_TEXT + 1])
{
    /* Bytes of the five groups: 4, 2, 2, 2, 6. */
    static const size_t GROUPS[] = {4, 2, 2, 2, 6};
    bytes[6] = (uint8_t)(version << 4 | (bytes[6] & 0x0f));
    bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
    size_t from = 0;
    for (size_t i = 0; i < RF_ARRAY_LEN(GROUPS); i++) {
        rf_hex(bytes + from, GROUPS[i], out);
        out += 2 * GROUPS[i];
        from += GROUPS[i];
        *out++ = i + 1 < RF_ARRAY_LEN(GROUPS) ? '-' : '\0';
    }
}

void rf_uuid7(char out[static RF_UUID_TEXT + 1])
{
    uint8_t bytes[16];
    uint64_t now_us = (uint64_t)rf_wall_us();
    uint64_t ms = now_us / 1000;
    /* The 12 bits behind the version: the fraction of the millisecond (RFC 9562 section 6.2, method
     * 3), so that ids made one after the other mostly sort so. */
    uint64_t fraction = now_us % 1000 * 4096 / 1000;
    rf_random(bytes, sizeof bytes);
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    bytes[6] = (uint8_t)(fraction >> 8);
    bytes[7] = (uint8_t)fraction;
    write_text(bytes, 7, out);
}

void rf_uuid8_of(const void *p, size_t n, char out[static RF_UUID_TEXT + 1])
{
    uint8_t digest[RF_SHA256_BYTES];
    rf_sha256(&(rf_str){p, n}, 1, digest);
    write_text(digest, 8, out);
}
