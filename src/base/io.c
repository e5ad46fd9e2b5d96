/* What is built on any rf_io: whole files, directories in depth. See base.h. */
#include "base/base.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define READ_STEP_BYTES ((size_t)64 * 1024)

static rf_status read_all(rf_io *io, rf_file *f, uint64_t max, rf_buf *out, rf_err *err)
{
    uint64_t size = 0;
    rf_status st = io->size(io, f, &size, err);
    if (st != RF_OK)
        return st;
    /* Until the end and not until `size`: the file may grow, and /proc says 0. */
    for (;;) {
        if (out->n > max || size > max)
            return rf_err_set(err, RF_ETOOBIG, "%llu bytes, at most %llu are allowed",
                              (unsigned long long)RF_MAX(size, (uint64_t)out->n),
                              (unsigned long long)max);
        size_t step = size >= out->n ? (size_t)(size - out->n) + 1 : READ_STEP_BYTES;
        if (!rf_buf_reserve(out, step))
            return rf_err_set(err, RF_ENOMEM, "no memory for %llu bytes", (unsigned long long)size);
        size_t got = 0;
        st = io->pread(io, f, out->p + out->n, step, out->n, &got, err);
        if (st != RF_OK)
            return st;
        out->n += got;
        if (got < step)
            break;
    }
    if (out->n > max)
        return rf_err_set(err, RF_ETOOBIG, "more than %llu bytes", (unsigned long long)max);
    return RF_OK;
}

rf_status rf_io_read_file(rf_io *io, const char *path, uint64_t max, rf_buf *out, rf_err *err)
{
    rf_file *f = NULL;
    rf_buf_reset(out);
    rf_status st = io->open(io, path, RF_IO_READ, &f, err);
    if (st != RF_OK)
        return st;
    st = read_all(io, f, max, out, err);
    io->close(io, &f);
    if (st != RF_OK)
        rf_err_note(err, "reading %s", path);
    return st;
}

/* The directory that holds path, for sync_dir: "." when path has no slash. False: too long. */
static bool parent_of(const char *path, char out[static PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        memcpy(out, ".", 2);
        return true;
    }
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    if (n >= PATH_MAX)
        return false;
    memcpy(out, path, n);
    out[n] = '\0';
    return true;
}

static rf_status write_synced(rf_io *io, const char *path, rf_str bytes, rf_err *err)
{
    rf_file *f = NULL;
    rf_status st = io->open(io, path, RF_IO_WRITE | RF_IO_CREATE, &f, err);
    if (st != RF_OK)
        return st;
    st = io->truncate(io, f, 0, err); /* what a crash left of an earlier try */
    if (st == RF_OK && bytes.n > 0)
        st = io->pwrite(io, f, bytes.p, bytes.n, 0, err);
    if (st == RF_OK)
        st = io->sync(io, f, err);
    io->close(io, &f);
    return st;
}

rf_status rf_io_write_file(rf_io *io, const char *path, rf_str bytes, rf_err *err)
{
    static const char SUFFIX[] = ".tmp";
    char temporary[PATH_MAX], parent[PATH_MAX];
    size_t n = strlen(path);
    if (n + sizeof SUFFIX > sizeof temporary || !parent_of(path, parent))
        return rf_err_set(err, RF_EINVAL, "writing %.80s...: the path is too long", path);
    memcpy(temporary, path, n);
    memcpy(temporary + n, SUFFIX, sizeof SUFFIX);

    rf_status st = write_synced(io, temporary, bytes, err);
    if (st == RF_OK)
        st = io->rename(io, temporary, path, err);
    if (st != RF_OK) {
        rf_err ignored = {0}; /* the first error is the one to tell */
        (void)io->unlink(io, temporary, &ignored);
    } else {
        st = io->sync_dir(io, parent, err);
    }
    if (st != RF_OK)
        rf_err_note(err, "writing %s", path);
    return st;
}

/*
 * Makes one level and syncs its parent. Synced even when the level was there: a process that died
 * between mkdir and sync leaves a directory that a power cut still takes away. A parent that we may
 * not open (such as a 0711 /var/lib) is the one case let pass: we cannot have made anything in it.
 */
static rf_status make_level(rf_io *io, const char *path, rf_err *err)
{
    char parent[PATH_MAX];
    rf_status st = io->mkdir(io, path, err);
    if (st != RF_OK || !parent_of(path, parent))
        return st;
    st = io->sync_dir(io, parent, err);
    if (st != RF_OK && (err->os_errno == EACCES || err->os_errno == EPERM)) {
        *err = (rf_err){0};
        st = RF_OK;
    }
    return st;
}

rf_status rf_io_mkdirs(rf_io *io, const char *path, rf_err *err)
{
    char level[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof level)
        return rf_err_set(err, RF_EINVAL, "making directory '%.80s': %s", path,
                          n == 0 ? "the path is empty" : "the path is too long");
    rf_status st = RF_OK;
    for (size_t i = 1; i <= n && st == RF_OK; i++) {
        if ((i < n && path[i] != '/') || path[i - 1] == '/')
            continue;
        memcpy(level, path, i);
        level[i] = '\0';
        st = make_level(io, level, err);
    }
    return st;
}
