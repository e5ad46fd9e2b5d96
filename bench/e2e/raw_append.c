/*
 * What the disk allows: the same bytes as bench_http_load sends, appended and synced by one thread
 * and nothing else. N clients that wait for their acknowledgement can have at most one request each
 * in a sync, so every round writes N requests and calls fdatasync once. No server can do better on
 * this disk without acknowledging early.
 *
 *   bench_raw_append FILE [--clients N] [--per-request K] [--bytes B] [--seconds S]
 *
 * FILE is made, grows in preallocated steps of 64 MiB, and is removed. One line of JSON.
 */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_BYTES (64u << 20)
#define FILE_BYTES_MAX ((uint64_t)4 << 30) /* then from the start again */

static void die(const rf_err *err)
{
    fprintf(stderr, "bench_raw_append: %s\n", err->text);
    exit(1);
}

static uint64_t number(int argc, char **argv, const char *name, uint64_t otherwise)
{
    uint64_t v = 0;

    for (int i = 2; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0 && rf_str_to_u64(rf_str_from(argv[i + 1]), &v) && v > 0)
            return v;
    }
    return otherwise;
}

/* One round; returns its microseconds. */
static uint64_t append(rf_file *file, const char *block, size_t n, uint64_t *at, uint64_t *reserved)
{
    rf_io *io = rf_io_posix();
    rf_err err = {0};
    int64_t began = rf_mono_us();

    if (*at + n > *reserved) {
        *reserved = *at + RF_MAX((uint64_t)STEP_BYTES, (uint64_t)n);
        if (io->allocate(io, file, *reserved, &err) != RF_OK)
            die(&err);
    }
    if (io->pwrite(io, file, block, n, *at, &err) != RF_OK || io->sync(io, file, &err) != RF_OK)
        die(&err);
    *at += n;
    return (uint64_t)(rf_mono_us() - began);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_raw_append FILE [--clients N] [--per-request K] [--bytes B] "
                        "[--seconds S]\n");
        return 2;
    }
    uint64_t clients = number(argc, argv, "--clients", 1);
    uint64_t per_request = number(argc, argv, "--per-request", 1);
    uint64_t bytes = number(argc, argv, "--bytes", 940);
    uint64_t seconds = number(argc, argv, "--seconds", 5);
    size_t n = clients * per_request * bytes;
    char *block = rf_xmalloc(n);
    rf_hist *waits = rf_xcalloc(1, sizeof *waits);
    rf_io *io = rf_io_posix();
    rf_file *file = NULL;
    rf_err err = {0};
    uint64_t at = 0, reserved = 0, rounds = 0;

    for (size_t i = 0; i < n; i++)
        block[i] = (char)('a' + i * 7 % 26);
    if (io->open(io, argv[1], RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &file, &err) != RF_OK)
        die(&err);
    int64_t began = rf_mono_us(), until = began + (int64_t)seconds * 1000000;

    for (; rf_mono_us() < until; rounds++) {
        rf_hist_record(waits, append(file, block, n, &at, &reserved));
        if (at > FILE_BYTES_MAX)
            at = 0;
    }
    double took = (double)(rf_mono_us() - began) / 1e6;

    printf("{\"bench\":\"raw_append\",\"clients\":%llu,\"per_request\":%llu,\"event_bytes\":%llu,"
           "\"events\":%llu,\"seconds\":%.3f,\"events_per_s\":%.0f,\"ack_p50_us\":%llu,"
           "\"ack_p99_us\":%llu}\n",
           (unsigned long long)clients, (unsigned long long)per_request, (unsigned long long)bytes,
           (unsigned long long)(rounds * clients * per_request), took,
           (double)(rounds * clients * per_request) / took,
           (unsigned long long)rf_hist_quantile(waits, 0.5),
           (unsigned long long)rf_hist_quantile(waits, 0.99));
    io->close(io, &file);
    unlink(argv[1]);
    free(block);
    free(waits);
    return 0;
}
