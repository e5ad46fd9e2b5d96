#include "support/faulty.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct faulty {
    rf_io io, *behind;
    pthread_mutex_t mutex;
    bool armed, forever;
    fault_kind kind;
    uint64_t left;
    int os_errno, part;
    _Atomic bool fired;
};

static bool fails(rf_io *io, fault_kind kind, rf_err *err)
{
    faulty *f = io->self;
    pthread_mutex_lock(&f->mutex);
    bool now = f->armed && f->kind == kind && (f->left == 0);
    if (f->armed && f->kind == kind && f->left > 0)
        f->left--;
    if (now) {
        f->fired = true;
        f->armed = f->forever;
    }
    pthread_mutex_unlock(&f->mutex);
    if (now)
        rf_err_set_errno(err, f->os_errno, "injected into %s", faulty_kind_name(kind));
    return now;
}

static rf_io *behind(rf_io *io)
{
    return ((faulty *)io->self)->behind;
}

static rf_status f_open(rf_io *io, const char *path, int flags, rf_file **out, rf_err *err)
{
    *out = NULL;
    return fails(io, FAULT_OPEN, err) ? err->status
                                      : behind(io)->open(behind(io), path, flags, out, err);
}

static void f_close(rf_io *io, rf_file **file)
{
    behind(io)->close(behind(io), file);
}

static rf_status f_pread(rf_io *io, rf_file *f, void *buf, size_t n, uint64_t at, size_t *got,
                         rf_err *err)
{
    *got = 0;
    return fails(io, FAULT_PREAD, err) ? err->status
                                       : behind(io)->pread(behind(io), f, buf, n, at, got, err);
}

static rf_status f_pwrite(rf_io *io, rf_file *f, const void *buf, size_t n, uint64_t at,
                          rf_err *err)
{
    faulty *x = io->self;
    if (!fails(io, FAULT_PWRITE, err))
        return behind(io)->pwrite(behind(io), f, buf, n, at, err);
    rf_err ignored = {0};
    size_t part = x->part == 0 ? 0 : x->part == 1 ? n / 2 : n;
    if (part > 0)
        (void)behind(io)->pwrite(behind(io), f, buf, part, at, &ignored);
    return err->status;
}

static rf_status f_sync(rf_io *io, rf_file *f, rf_err *err)
{
    return fails(io, FAULT_SYNC, err) ? err->status : behind(io)->sync(behind(io), f, err);
}

static rf_status f_size(rf_io *io, rf_file *f, uint64_t *bytes, rf_err *err)
{
    return fails(io, FAULT_SIZE, err) ? err->status : behind(io)->size(behind(io), f, bytes, err);
}

static rf_status f_truncate(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    return fails(io, FAULT_TRUNCATE, err) ? err->status
                                          : behind(io)->truncate(behind(io), f, bytes, err);
}

static rf_status f_allocate(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    return fails(io, FAULT_ALLOCATE, err) ? err->status
                                          : behind(io)->allocate(behind(io), f, bytes, err);
}

static rf_status f_map(rf_io *io, rf_file *f, uint64_t bytes, const void **out, rf_err *err)
{
    *out = NULL;
    return fails(io, FAULT_MAP, err) ? err->status
                                     : behind(io)->map(behind(io), f, bytes, out, err);
}

static void f_unmap(rf_io *io, const void *p, uint64_t bytes)
{
    behind(io)->unmap(behind(io), p, bytes);
}

static rf_status f_rename(rf_io *io, const char *from, const char *to, rf_err *err)
{
    return fails(io, FAULT_RENAME, err) ? err->status
                                        : behind(io)->rename(behind(io), from, to, err);
}

static rf_status f_unlink(rf_io *io, const char *path, rf_err *err)
{
    return fails(io, FAULT_UNLINK, err) ? err->status : behind(io)->unlink(behind(io), path, err);
}

static rf_status f_mkdir(rf_io *io, const char *path, rf_err *err)
{
    return fails(io, FAULT_MKDIR, err) ? err->status : behind(io)->mkdir(behind(io), path, err);
}

static rf_status f_sync_dir(rf_io *io, const char *path, rf_err *err)
{
    return fails(io, FAULT_SYNC_DIR, err) ? err->status
                                          : behind(io)->sync_dir(behind(io), path, err);
}

static rf_status f_list(rf_io *io, const char *path, void (*each)(void *arg, const char *name),
                        void *arg, rf_err *err)
{
    return fails(io, FAULT_LIST, err) ? err->status
                                      : behind(io)->list(behind(io), path, each, arg, err);
}

static rf_status f_lock(rf_io *io, rf_file *f, rf_err *err)
{
    return behind(io)->lock(behind(io), f, err);
}

faulty *faulty_new(rf_io *io)
{
    faulty *f = rf_xcalloc(1, sizeof *f);
    f->behind = io;
    pthread_mutex_init(&f->mutex, NULL);
    f->io = (rf_io){f,        f_open,     f_close,    f_pread, f_pwrite, f_sync,
                    f_size,   f_truncate, f_allocate, f_map,   f_unmap,  f_rename,
                    f_unlink, f_mkdir,    f_sync_dir, f_list,  f_lock};
    return f;
}

void faulty_free(faulty **f)
{
    if (*f == NULL)
        return;
    pthread_mutex_destroy(&(*f)->mutex);
    free(*f);
    *f = NULL;
}

rf_io *faulty_io(faulty *f)
{
    return &f->io;
}

void faulty_arm(faulty *f, fault_kind kind, uint64_t at, int os_errno, bool forever, int part)
{
    pthread_mutex_lock(&f->mutex);
    f->armed = true;
    f->forever = forever;
    f->kind = kind;
    f->left = at;
    f->os_errno = os_errno;
    f->part = part;
    f->fired = false;
    pthread_mutex_unlock(&f->mutex);
}

void faulty_disarm(faulty *f)
{
    pthread_mutex_lock(&f->mutex);
    f->armed = false;
    pthread_mutex_unlock(&f->mutex);
}

bool faulty_fired(const faulty *f)
{
    return f->fired;
}

const char *faulty_kind_name(fault_kind kind)
{
    static const char *const NAMES[FAULT_KINDS] = {
        "open", "pread",  "pwrite", "sync",  "size",     "truncate", "allocate",
        "map",  "rename", "unlink", "mkdir", "sync_dir", "list"};
    return NAMES[kind];
}
