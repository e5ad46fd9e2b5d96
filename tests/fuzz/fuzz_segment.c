/*
 * Any bytes as a segment file. Views, verification and recovery must refuse or read it, never
 * crash. The first byte chooses whether checksums are made right first, so that the fuzzer gets
 * behind them.
 */
#include "log/log.h"
#include "support/log_kit.h"
#include "support/simdisk.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char SEGMENT[] = "log/d/0/00000000000000000000.seg";

/* Header and payload checksums of the blocks as their lengths say. */
static void mend(uint8_t *p, size_t n)
{
    if (n < 4096)
        return;
    memcpy(p, "RFLOGSEG\1\0\0\0\0\0\0\0", 16);
    memset(p + 32, 0, 8);
    memset(p + 40, 0, 8);
    p[40] = 1;
    memset(p + 56, 0, 8);
    memcpy(p + 64, "d", 2);
    memset(p + 128, 0, 32);
    rf_put_le32(p + 4092, rf_crc32c(0, p, 4092));
    uint8_t hash[32] = {0};
    uint64_t sequence = 1, offset = 0;
    for (size_t at = 4096; at + 168 <= n;) {
        uint8_t *b = p + at;
        uint32_t total = rf_le32(b + 8);
        memcpy(b, "RFB1\1\0", 6);
        if (total < 168 || total > n - at || total % 8 != 0)
            total = (uint32_t)((n - at) & ~(size_t)7);
        rf_put_le32(b + 8, total);
        if (rf_le32(b + 12) > total - 168 || rf_le32(b + 12) + 175 < total)
            rf_put_le32(b + 12, total - 168);
        rf_put_le64(b + 24, sequence++);
        rf_put_le64(b + 32, offset);
        rf_put_le64(b + 40, offset);
        memcpy(b + 48, p + 16, 8);
        rf_put_le64(b + 56, at);
        memcpy(b + 64, p + 24, 8);
        memcpy(b + 96, hash, 32);
        rf_put_le32(b + 160, rf_crc32c(0, b + 168, total - 168));
        rf_put_le32(b + 164, rf_crc32c(0, b, 164));
        rf_str header = {(const char *)b, 168};
        rf_sha256(&header, 1, hash);
        offset += rf_le32(b + 20);
        at += total;
    }
}

static void put(rf_io *io, const uint8_t *p, size_t n)
{
    rf_err err = {0};
    rf_file *f = NULL;
    if (io->open(io, SEGMENT, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &f, &err) == RF_OK &&
        n > 0 && io->pwrite(io, f, p, n, 0, &err) != RF_OK)
        abort();
    io->close(io, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rf_err err = {0};
    simdisk *disk = simdisk_new();
    rf_io *io = simdisk_io(disk);
    rf_log *log = NULL;
    rf_log_options o = {.io = io};
    if (size == 0 || rf_log_open("log", &o, &log, &err) != RF_OK ||
        rf_log_domain(log, RF_STR("d"), 1, &err) != RF_OK)
        goto out;
    rf_log_close(&log);
    uint8_t *copy = malloc(size);
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        mend(copy, size - 1);
    put(io, copy, size - 1);
    free(copy);
    uint64_t end = 0;
    rf_verify_report report;
    (void)!kit_read_all("log", io, NULL, NULL, &end, &err);
    (void)!rf_log_verify(io, "log", NULL, NULL, NULL, &report, &err);
    if (rf_log_open("log", &o, &log, &err) == RF_OK &&
        kit_read_all("log", io, NULL, NULL, &end, &err) != RF_OK)
        abort(); /* what recovery takes must be readable */
out:
    rf_log_close(&log);
    simdisk_free(&disk);
    return 0;
}
