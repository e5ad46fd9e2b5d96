/*
 * refold doctor: the data directory and the disk under it. Everything refold promises rests on what
 * the disk does when it is told to flush, so this measures it.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/doctor_int.h"

#define FLUSH_WRITES 300
#define FLUSH_BYTES 4096
/* A flush that reaches the medium of a drive without a protected cache takes longer than this; even
 * drives with one rarely answer faster. */
#define FLUSH_DOUBT_US 25
#define FLUSH_SLOW_US 20000

/* The directory itself, or the nearest one above it that exists. Allocated. */
static char *nearest_directory(const char *path)
{
    char *p = rf_xstrdup(path);
    struct stat about;

    while (stat(p, &about) != 0 || !S_ISDIR(about.st_mode)) {
        char *slash = strrchr(p, '/');

        if (slash == NULL) {
            free(p);
            return rf_xstrdup(".");
        }
        slash[slash == p ? 1 : 0] = '\0';
        if (slash == p)
            break;
    }
    return p;
}

/* Is a write half at work on it? Looks without making anything. */
static bool in_use(const char *data)
{
    char path[PATH_MAX];
    rf_io *io = rf_io_posix();
    rf_file *file = NULL;
    rf_err err = {0};

    if ((size_t)snprintf(path, sizeof path, "%s/log/LOCK", data) >= sizeof path ||
        io->open(io, path, RF_IO_READ, &file, &err) != RF_OK)
        return false;
    bool busy = io->lock(io, file, &err) == RF_EBUSY;

    io->close(io, &file);
    return busy;
}

void rfi_check_directory(rfi_doctor *d)
{
    const char *data = d->config->server.data_dir;
    struct stat about;

    d->place = nearest_directory(data);
    if (stat(data, &about) == 0 && !S_ISDIR(about.st_mode))
        rfi_finding(d, RFI_FAIL, "directory", "name another one with --data", "%s is a file", data);
    else if (access(d->place, W_OK | X_OK) != 0)
        rfi_finding(d, RFI_FAIL, "directory",
                    "give it to the user that runs refold (chown), or name another with --data",
                    "%s: %s", d->place, strerror(errno));
    else if (strcmp(d->place, data) != 0)
        rfi_finding(d, RFI_OK, "directory", NULL, "%s does not exist; it can be made in %s", data,
                    d->place);
    else
        rfi_finding(d, RFI_OK, "directory", NULL, "%s%s", data,
                    in_use(data) ? ", a server is at work on it" : "");
}

static void check_kind(rfi_doctor *d)
{
    static const struct {
        unsigned long magic;
        const char *name, *advice;
    } kinds[] = {
        {0x01021994, "tmpfs", "this is memory: everything is gone after a reboot"},
        {0x858458f6, "ramfs", "this is memory: everything is gone after a reboot"},
        {0x6969, "NFS", "use a local disk: locks and flushes over a network are not to be trusted"},
        {0xff534d42, "CIFS",
         "use a local disk: locks and flushes over a network are not to be "
         "trusted"},
        {0xfe534d42, "SMB2",
         "use a local disk: locks and flushes over a network are not to be "
         "trusted"},
        {0x65735546, "FUSE", "make sure that the file system behind it honours fsync"},
        {0x794c7630, "overlayfs",
         "in a container: put the data on a volume, or it goes with the "
         "container"},
    };
    struct statfs fs;

    if (statfs(d->place, &fs) != 0)
        return;
    for (size_t i = 0; i < RF_ARRAY_LEN(kinds); i++) {
        if ((unsigned long)fs.f_type == kinds[i].magic)
            rfi_finding(d, RFI_WARN, "file system", kinds[i].advice, "%s", kinds[i].name);
    }
}

void rfi_check_space(rfi_doctor *d)
{
    struct statvfs fs;
    char free_text[32], all_text[32];

    check_kind(d);
    if (statvfs(d->place, &fs) != 0) {
        rfi_finding(d, RFI_FAIL, "space", "is the disk mounted?", "%s: %s", d->place,
                    strerror(errno));
        return;
    }
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t all_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    uint64_t segment = d->config->server.segment_bytes_max;

    rfi_finding(d,
                free_bytes < 4 * segment                                          ? RFI_FAIL
                : free_bytes < ((uint64_t)4 << 30) || free_bytes < all_bytes / 20 ? RFI_WARN
                                                                                  : RFI_OK,
                "space", "make room: a full disk refuses writes (nothing is lost)", "%s free of %s",
                rf_format_bytes(free_bytes, free_text), rf_format_bytes(all_bytes, all_text));
    if (fs.f_files > 0 && fs.f_favail < 1000)
        rfi_finding(d, RFI_FAIL, "inodes", "remove files", "%llu left",
                    (unsigned long long)fs.f_favail);
}

static rf_status measure(const char *path, rf_hist *hist, rf_err *err)
{
    rf_io *io = rf_io_posix();
    rf_file *file = NULL;
    char block[FLUSH_BYTES];
    rf_status st = io->open(io, path, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &file, err);

    if (st != RF_OK)
        return st;
    st = io->allocate(io, file, (uint64_t)FLUSH_WRITES * FLUSH_BYTES, err);
    if (st == RF_OK)
        st = io->sync(io, file, err);
    for (uint64_t i = 0; st == RF_OK && i < FLUSH_WRITES; i++) {
        memset(block, 'a' + (int)(i % 26), sizeof block);
        int64_t started = rf_mono_us();

        st = io->pwrite(io, file, block, sizeof block, i * FLUSH_BYTES, err);
        if (st == RF_OK)
            st = io->sync(io, file, err);
        rf_hist_record(hist, (uint64_t)(rf_mono_us() - started));
    }
    io->close(io, &file);
    return st;
}

void rfi_check_flush(rfi_doctor *d)
{
    char path[PATH_MAX];
    rf_hist *hist = rf_xcalloc(1, sizeof *hist);
    rf_err err = {0}, ignored = {0};

    snprintf(path, sizeof path, "%s/.refold-doctor-%d", d->place, (int)getpid());
    rf_status st = measure(path, hist, &err);

    if (rf_io_posix()->unlink(rf_io_posix(), path, &ignored) != RF_OK && st == RF_OK)
        rf_diag(RF_DIAG_WARN, "%s", ignored.text);
    uint64_t p50 = rf_hist_quantile(hist, 0.5), p99 = rf_hist_quantile(hist, 0.99);

    if (st != RF_OK)
        rfi_finding(d, RFI_FAIL, "flush", "refold cannot run where files cannot be synced", "%s",
                    err.text);
    else if (p50 < FLUSH_DOUBT_US)
        rfi_finding(
            d, RFI_WARN, "flush",
            "few disks are that fast: unless this one has a cache with a battery, it may say "
            "\"flushed\" before it is, and a power cut would lose acknowledged events (look "
            "for cache=unsafe, eatmydata, libeatmydata, nobarrier)",
            "4 KiB and fdatasync take %llu us (p99 %llu us)", (unsigned long long)p50,
            (unsigned long long)p99);
    else
        rfi_finding(
            d, p50 > FLUSH_SLOW_US ? RFI_WARN : RFI_OK, "flush",
            "every acknowledgement waits that long; batches share one flush",
            "4 KiB and fdatasync take %llu us (p99 %llu us): some %llu acknowledgements/s to "
            "one client that waits for each",
            (unsigned long long)p50, (unsigned long long)p99,
            (unsigned long long)(1000000 / RF_MAX(p50, (uint64_t)1)));
    free(hist);
}
