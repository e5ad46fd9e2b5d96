/*
 * The disk by POSIX calls. Guarantees: every descriptor is close-on-exec; short transfers and EINTR
 * are finished here; a failed sync is reported once and never tried again (FAULTS: after a failed
 * fsync the kernel may have dropped the dirty pages and a second one would say all is well).
 */
#include "base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0640
#define DIR_MODE 0750
/* Linux moves at most 2 GiB - 4 KiB in one call; a rounder number keeps transfers aligned. */
#define TRANSFER_MAX ((size_t)1 << 30)

struct rf_file {
    int fd;
    char path[]; /* for messages */
};

static rf_status posix_open(rf_io *io, const char *path, int flags, rf_file **out, rf_err *err)
{
    (void)io;
    *out = NULL;
    RF_ASSERT((flags & (RF_IO_READ | RF_IO_WRITE)) != 0);
    RF_ASSERT((flags & RF_IO_EXCL) == 0 || (flags & RF_IO_CREATE) != 0);

    int mode = (flags & RF_IO_WRITE) == 0 ? O_RDONLY : (flags & RF_IO_READ) ? O_RDWR : O_WRONLY;
    if (flags & RF_IO_CREATE)
        mode |= O_CREAT;
    if (flags & RF_IO_EXCL)
        mode |= O_EXCL;
    size_t n = strlen(path);
    rf_file *f = malloc(sizeof *f + n + 1);
    if (f == NULL)
        return rf_err_set(err, RF_ENOMEM, "opening %s: out of memory", path);
    memcpy(f->path, path, n + 1);
    do {
        f->fd = open(path, mode | O_CLOEXEC | O_NOCTTY, FILE_MODE);
    } while (f->fd < 0 && errno == EINTR);
    if (f->fd < 0) {
        int why = errno;
        free(f);
        rf_status st = rf_err_set_errno(err, why, "opening %s", path);
        if (why == EEXIST)
            st = err->status = RF_ECONFLICT;
        return st;
    }
    *out = f;
    return RF_OK;
}

static void posix_close(rf_io *io, rf_file **file)
{
    (void)io;
    if (*file == NULL)
        return;
    close((*file)->fd); /* never retried: on Linux the descriptor is gone even after EINTR */
    free(*file);
    *file = NULL;
}

static rf_status posix_pread(rf_io *io, rf_file *f, void *buf, size_t n, uint64_t at, size_t *got,
                             rf_err *err)
{
    (void)io;
    *got = 0;
    while (*got < n) {
        size_t step = RF_MIN(n - *got, TRANSFER_MAX);
        ssize_t done = pread(f->fd, (char *)buf + *got, step, (off_t)(at + *got));
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return rf_err_set_errno(err, errno, "reading %s at %llu", f->path,
                                    (unsigned long long)(at + *got));
        if (done == 0)
            break;
        *got += (size_t)done;
    }
    return RF_OK;
}

static rf_status posix_pwrite(rf_io *io, rf_file *f, const void *buf, size_t n, uint64_t at,
                              rf_err *err)
{
    (void)io;
    size_t put = 0;
    while (put < n) {
        size_t step = RF_MIN(n - put, TRANSFER_MAX);
        ssize_t done = pwrite(f->fd, (const char *)buf + put, step, (off_t)(at + put));
        if (done < 0 && errno == EINTR)
            continue;
        /* A short write means the next one will say why; 0 for n > 0 must not loop for ever. */
        if (done <= 0)
            return rf_err_set_errno(err, done < 0 ? errno : ENOSPC, "writing %s at %llu", f->path,
                                    (unsigned long long)(at + put));
        put += (size_t)done;
    }
    return RF_OK;
}

static rf_status posix_sync(rf_io *io, rf_file *f, rf_err *err)
{
    (void)io;
    if (fdatasync(f->fd) != 0)
        return rf_err_set_errno(err, errno, "syncing %s", f->path);
    return RF_OK;
}

static rf_status posix_size(rf_io *io, rf_file *f, uint64_t *bytes, rf_err *err)
{
    (void)io;
    struct stat about;
    if (fstat(f->fd, &about) != 0)
        return rf_err_set_errno(err, errno, "asking the size of %s", f->path);
    *bytes = (uint64_t)about.st_size;
    return RF_OK;
}

static rf_status posix_truncate(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    (void)io;
    int rc;
    do {
        rc = ftruncate(f->fd, (off_t)bytes);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return rf_err_set_errno(err, errno, "cutting %s to %llu bytes", f->path,
                                (unsigned long long)bytes);
    return RF_OK;
}

/* For file systems without fallocate. Never touches bytes that are there. */
static rf_status allocate_by_writing(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    static const char ZEROS[64 * 1024];
    uint64_t at = 0;
    rf_status st = posix_size(io, f, &at, err);
    while (st == RF_OK && at < bytes) {
        size_t step = (size_t)RF_MIN(bytes - at, (uint64_t)sizeof ZEROS);
        st = posix_pwrite(io, f, ZEROS, step, at, err);
        at += step;
    }
    return st;
}

static rf_status posix_allocate(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    int rc;
    if (bytes == 0)
        return RF_OK;
    do {
        rc = fallocate(f->fd, 0, 0, (off_t)bytes);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return RF_OK;
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
        rf_status st = allocate_by_writing(io, f, bytes, err);
        if (st != RF_OK)
            rf_err_note(err, "reserving %llu bytes", (unsigned long long)bytes);
        return st;
    }
    return rf_err_set_errno(err, errno, "reserving %llu bytes in %s", (unsigned long long)bytes,
                            f->path);
}

/* What an empty view points to: mmap has none, and NULL would read as a failure. */
static const char EMPTY_VIEW[1];

static rf_status posix_map(rf_io *io, rf_file *f, uint64_t bytes, const void **out, rf_err *err)
{
    uint64_t size = 0;
    *out = NULL;
    rf_status st = posix_size(io, f, &size, err);
    if (st != RF_OK)
        return st;
    /* A view over the end of the file would end the process by SIGBUS when it is read. */
    if (bytes > size)
        return rf_err_set(err, RF_ECORRUPT, "mapping %s: %llu bytes wanted, the file has %llu",
                          f->path, (unsigned long long)bytes, (unsigned long long)size);
    if (bytes == 0) {
        *out = EMPTY_VIEW;
        return RF_OK;
    }
    void *p = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, f->fd, 0);
    if (p == MAP_FAILED)
        return rf_err_set_errno(err, errno, "mapping %s", f->path);
    *out = p;
    return RF_OK;
}

static void posix_unmap(rf_io *io, const void *p, uint64_t bytes)
{
    (void)io;
    if (p == NULL || bytes == 0)
        return;
    int rc = munmap((void *)(uintptr_t)p, (size_t)bytes);
    RF_ASSERT(rc == 0);
}

static rf_status posix_rename(rf_io *io, const char *from, const char *to, rf_err *err)
{
    (void)io;
    if (rename(from, to) != 0)
        return rf_err_set_errno(err, errno, "renaming %s to %s", from, to);
    return RF_OK;
}

static rf_status posix_unlink(rf_io *io, const char *path, rf_err *err)
{
    (void)io;
    if (unlink(path) != 0)
        return rf_err_set_errno(err, errno, "removing %s", path);
    return RF_OK;
}

static rf_status posix_mkdir(rf_io *io, const char *path, rf_err *err)
{
    (void)io;
    if (mkdir(path, DIR_MODE) == 0)
        return RF_OK;
    int why = errno;
    struct stat about;
    if (why == EEXIST && stat(path, &about) == 0) {
        if (S_ISDIR(about.st_mode))
            return RF_OK;
        why = ENOTDIR;
    }
    return rf_err_set_errno(err, why, "making directory %s", path);
}

static rf_status posix_sync_dir(rf_io *io, const char *path, rf_err *err)
{
    (void)io;
    int fd;
    do {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return rf_err_set_errno(err, errno, "opening directory %s", path);
    rf_status st = RF_OK;
    if (fsync(fd) != 0)
        st = rf_err_set_errno(err, errno, "syncing directory %s", path);
    close(fd);
    return st;
}

static rf_status posix_list(rf_io *io, const char *path, void (*each)(void *arg, const char *name),
                            void *arg, rf_err *err)
{
    (void)io;
    DIR *dir = opendir(path); /* close-on-exec by itself */
    if (dir == NULL)
        return rf_err_set_errno(err, errno, "listing %s", path);
    rf_status st = RF_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0)
                st = rf_err_set_errno(err, errno, "listing %s", path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
    }
    closedir(dir);
    return st;
}

static rf_status posix_lock(rf_io *io, rf_file *f, rf_err *err)
{
    (void)io;
    int rc;
    do {
        rc = flock(f->fd, LOCK_EX | LOCK_NB);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return RF_OK;
    if (errno == EWOULDBLOCK)
        return rf_err_set(err, RF_EBUSY, "%s is locked by another process", f->path);
    return rf_err_set_errno(err, errno, "locking %s", f->path);
}

rf_io *rf_io_posix(void)
{
    static rf_io io = {
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .sync = posix_sync,
        .size = posix_size,
        .truncate = posix_truncate,
        .allocate = posix_allocate,
        .map = posix_map,
        .unmap = posix_unmap,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
        .lock = posix_lock,
    };
    return &io;
}
