#include "support/simdisk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef enum op_kind {
    OP_WRITE,
    OP_RESIZE, /* truncate, or allocate when it grows */
    OP_SYNC,
    OP_LINK, /* a name comes to be: create */
    OP_UNLINK,
    OP_RENAME,
    OP_SYNC_DIR,
    OP_MARK
} op_kind;

typedef struct op {
    op_kind kind;
    uint32_t inode;
    uint64_t at; /* WRITE: where; RESIZE: new size; MARK: value */
    size_t n;
    uint8_t *bytes;
    char *path, *to;
    bool lost; /* WRITE/RESIZE: a failed sync dropped it: it can never become durable by a sync */
} op;

typedef struct inode {
    uint8_t *p;
    size_t n, cap;
    bool is_dir, locked;
} inode;

typedef struct entry {
    char *path;
    uint32_t inode;
} entry;

/* Files and names at one moment. */
typedef struct image {
    inode *inodes;
    uint32_t inodes_count;
    entry *entries;
    size_t entries_count;
} image;

struct rf_file {
    uint32_t inode;
    bool locks;
};

struct simdisk {
    rf_io io;
    pthread_mutex_t mutex;
    image start, now;
    op *ops;
    size_t ops_count, ops_cap;
    unsigned fail_skip, fail_times;
};

/* ---- images
 * ---------------------------------------------------------------------------------------- */

static void inode_resize(inode *i, size_t n)
{
    if (n > i->cap) {
        i->cap = n * 2;
        i->p = rf_xrealloc(i->p, i->cap);
    }
    if (n > i->n)
        memset(i->p + i->n, 0, n - i->n);
    i->n = n;
}

static uint32_t image_add_inode(image *m, bool is_dir)
{
    m->inodes = rf_xrealloc(m->inodes, (m->inodes_count + 1) * sizeof *m->inodes);
    m->inodes[m->inodes_count] = (inode){.is_dir = is_dir};
    return m->inodes_count++;
}

static entry *image_find(image *m, const char *path)
{
    for (size_t i = 0; i < m->entries_count; i++) {
        if (strcmp(m->entries[i].path, path) == 0)
            return &m->entries[i];
    }
    return NULL;
}

static void image_link(image *m, const char *path, uint32_t inode_number)
{
    entry *e = image_find(m, path);
    if (e != NULL) {
        e->inode = inode_number;
        return;
    }
    m->entries = rf_xrealloc(m->entries, (m->entries_count + 1) * sizeof *m->entries);
    m->entries[m->entries_count++] = (entry){rf_xstrdup(path), inode_number};
}

static void image_unlink(image *m, const char *path)
{
    entry *e = image_find(m, path);
    if (e == NULL)
        return;
    free(e->path);
    *e = m->entries[--m->entries_count];
}

static image image_copy(const image *from)
{
    image m = {0};
    m.inodes = rf_xcalloc(from->inodes_count + 1, sizeof *m.inodes);
    m.inodes_count = from->inodes_count;
    for (uint32_t i = 0; i < from->inodes_count; i++) {
        m.inodes[i].is_dir = from->inodes[i].is_dir;
        inode_resize(&m.inodes[i], from->inodes[i].n);
        if (from->inodes[i].n > 0)
            memcpy(m.inodes[i].p, from->inodes[i].p, from->inodes[i].n);
    }
    m.entries = rf_xcalloc(from->entries_count + 1, sizeof *m.entries);
    m.entries_count = from->entries_count;
    for (size_t i = 0; i < from->entries_count; i++)
        m.entries[i] = (entry){rf_xstrdup(from->entries[i].path), from->entries[i].inode};
    return m;
}

static void image_clear(image *m)
{
    for (uint32_t i = 0; i < m->inodes_count; i++)
        free(m->inodes[i].p);
    for (size_t i = 0; i < m->entries_count; i++)
        free(m->entries[i].path);
    free(m->inodes);
    free(m->entries);
    *m = (image){0};
}

static void image_apply(image *m, const op *o)
{
    while (o->kind <= OP_RENAME && m->inodes_count <= o->inode)
        image_add_inode(m, false);
    inode *i = &m->inodes[o->inode];
    switch (o->kind) {
    case OP_WRITE:
        if (o->at + o->n > i->n)
            inode_resize(i, (size_t)(o->at + o->n));
        if (o->n > 0)
            memcpy(i->p + o->at, o->bytes, o->n);
        break;
    case OP_RESIZE:
        inode_resize(i, (size_t)o->at);
        break;
    case OP_LINK:
        i->is_dir = o->at != 0;
        image_link(m, o->path, o->inode);
        break;
    case OP_UNLINK:
        image_unlink(m, o->path);
        break;
    case OP_RENAME:
        image_unlink(m, o->path);
        image_link(m, o->to, o->inode);
        break;
    case OP_SYNC:
    case OP_SYNC_DIR:
    case OP_MARK:
        break;
    }
}

static bool in_dir(const char *path, const char *dir)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && (size_t)(slash - path) == strlen(dir) &&
           memcmp(path, dir, strlen(dir)) == 0;
}

/* ---- the io
 * ------------------------------------------------------------------------------------------- */

static op *record(simdisk *d, op_kind kind, uint32_t inode_number)
{
    if (d->ops_count == d->ops_cap) {
        d->ops_cap = d->ops_cap == 0 ? 256 : d->ops_cap * 2;
        d->ops = rf_xrealloc(d->ops, d->ops_cap * sizeof *d->ops);
    }
    op *o = &d->ops[d->ops_count++];
    *o = (op){.kind = kind, .inode = inode_number};
    return o;
}

static simdisk *lock(rf_io *io)
{
    simdisk *d = io->self;
    pthread_mutex_lock(&d->mutex);
    return d;
}

static rf_status unlock(simdisk *d, rf_status st)
{
    pthread_mutex_unlock(&d->mutex);
    return st;
}

static rf_status sim_open(rf_io *io, const char *path, int flags, rf_file **out, rf_err *err)
{
    simdisk *d = lock(io);
    entry *e = image_find(&d->now, path);
    *out = NULL;
    if (e == NULL && (flags & RF_IO_CREATE) == 0)
        return unlock(d, rf_err_set_errno(err, ENOENT, "opening %s", path));
    if (e != NULL && (flags & RF_IO_EXCL) != 0)
        return unlock(d, rf_err_set(err, RF_ECONFLICT, "opening %s: exists", path));
    uint32_t number = e != NULL ? e->inode : image_add_inode(&d->now, false);
    if (e == NULL) {
        op *o = record(d, OP_LINK, number);
        o->path = rf_xstrdup(path);
        image_apply(&d->now, o);
    }
    *out = rf_xcalloc(1, sizeof **out);
    (*out)->inode = number;
    return unlock(d, RF_OK);
}

static void sim_close(rf_io *io, rf_file **file)
{
    if (*file == NULL)
        return;
    simdisk *d = lock(io);
    if ((*file)->locks)
        d->now.inodes[(*file)->inode].locked = false;
    unlock(d, RF_OK);
    free(*file);
    *file = NULL;
}

static rf_status sim_pread(rf_io *io, rf_file *f, void *buf, size_t n, uint64_t at, size_t *got,
                           rf_err *err)
{
    (void)err;
    simdisk *d = lock(io);
    const inode *i = &d->now.inodes[f->inode];
    *got = at >= i->n ? 0 : RF_MIN(n, i->n - (size_t)at);
    if (*got > 0)
        memcpy(buf, i->p + at, *got);
    return unlock(d, RF_OK);
}

static rf_status sim_pwrite(rf_io *io, rf_file *f, const void *buf, size_t n, uint64_t at,
                            rf_err *err)
{
    (void)err;
    simdisk *d = lock(io);
    op *o = record(d, OP_WRITE, f->inode);
    o->at = at;
    o->n = n;
    o->bytes = rf_xmalloc(n + 1);
    memcpy(o->bytes, buf, n);
    image_apply(&d->now, o);
    return unlock(d, RF_OK);
}

static rf_status sim_sync(rf_io *io, rf_file *f, rf_err *err)
{
    simdisk *d = lock(io);
    if (d->fail_times > 0 && d->fail_skip == 0) {
        d->fail_times--;
        for (size_t i = d->ops_count; i > 0; i--) {
            op *o = &d->ops[i - 1];
            if (o->kind == OP_SYNC && o->inode == f->inode)
                break;
            if (o->kind <= OP_RESIZE && o->inode == f->inode)
                o->lost = true;
        }
        return unlock(d, rf_err_set_errno(err, EIO, "syncing"));
    }
    if (d->fail_skip > 0)
        d->fail_skip--;
    record(d, OP_SYNC, f->inode);
    return unlock(d, RF_OK);
}

static rf_status sim_size(rf_io *io, rf_file *f, uint64_t *bytes, rf_err *err)
{
    (void)err;
    simdisk *d = lock(io);
    *bytes = d->now.inodes[f->inode].n;
    return unlock(d, RF_OK);
}

static rf_status sim_truncate(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    (void)err;
    simdisk *d = lock(io);
    op *o = record(d, OP_RESIZE, f->inode);
    o->at = bytes;
    image_apply(&d->now, o);
    return unlock(d, RF_OK);
}

static rf_status sim_allocate(rf_io *io, rf_file *f, uint64_t bytes, rf_err *err)
{
    uint64_t size = 0;
    rf_status st = sim_size(io, f, &size, err);
    return st != RF_OK || size >= bytes ? st : sim_truncate(io, f, bytes, err);
}

static rf_status sim_map(rf_io *io, rf_file *f, uint64_t bytes, const void **out, rf_err *err)
{
    simdisk *d = lock(io);
    const inode *i = &d->now.inodes[f->inode];
    *out = NULL;
    if (bytes > i->n)
        return unlock(d, rf_err_set(err, RF_ECORRUPT, "mapping beyond the end"));
    void *p = rf_xmalloc((size_t)bytes + 1);
    if (bytes > 0)
        memcpy(p, i->p, (size_t)bytes);
    *out = p;
    return unlock(d, RF_OK);
}

static void sim_unmap(rf_io *io, const void *p, uint64_t bytes)
{
    (void)io;
    (void)bytes;
    free((void *)(uintptr_t)p);
}

static rf_status sim_rename(rf_io *io, const char *from, const char *to, rf_err *err)
{
    simdisk *d = lock(io);
    entry *e = image_find(&d->now, from);
    if (e == NULL)
        return unlock(d, rf_err_set_errno(err, ENOENT, "renaming %s", from));
    op *o = record(d, OP_RENAME, e->inode);
    o->path = rf_xstrdup(from);
    o->to = rf_xstrdup(to);
    image_apply(&d->now, o);
    return unlock(d, RF_OK);
}

static rf_status sim_unlink(rf_io *io, const char *path, rf_err *err)
{
    simdisk *d = lock(io);
    entry *e = image_find(&d->now, path);
    if (e == NULL)
        return unlock(d, rf_err_set_errno(err, ENOENT, "removing %s", path));
    op *o = record(d, OP_UNLINK, e->inode);
    o->path = rf_xstrdup(path);
    image_apply(&d->now, o);
    return unlock(d, RF_OK);
}

static rf_status sim_mkdir(rf_io *io, const char *path, rf_err *err)
{
    (void)err;
    simdisk *d = lock(io);
    if (image_find(&d->now, path) == NULL) {
        op *o = record(d, OP_LINK, image_add_inode(&d->now, true));
        o->path = rf_xstrdup(path);
        o->at = 1;
        image_apply(&d->now, o);
    }
    return unlock(d, RF_OK);
}

static rf_status sim_sync_dir(rf_io *io, const char *path, rf_err *err)
{
    (void)err;
    simdisk *d = lock(io);
    op *o = record(d, OP_SYNC_DIR, 0);
    o->path = rf_xstrdup(path);
    return unlock(d, RF_OK);
}

static rf_status sim_list(rf_io *io, const char *path, void (*each)(void *arg, const char *name),
                          void *arg, rf_err *err)
{
    simdisk *d = lock(io);
    size_t count = 0;
    char **names = rf_xcalloc(d->now.entries_count + 1, sizeof(char *));
    bool exists = image_find(&d->now, path) != NULL;
    for (size_t i = 0; i < d->now.entries_count; i++) {
        if (in_dir(d->now.entries[i].path, path))
            names[count++] = rf_xstrdup(strrchr(d->now.entries[i].path, '/') + 1);
    }
    unlock(d, RF_OK);
    for (size_t i = 0; i < count; i++) {
        each(arg, names[i]);
        free(names[i]);
    }
    free(names);
    return exists || count > 0 ? RF_OK : rf_err_set_errno(err, ENOENT, "listing %s", path);
}

static rf_status sim_lock(rf_io *io, rf_file *f, rf_err *err)
{
    simdisk *d = lock(io);
    inode *i = &d->now.inodes[f->inode];
    if (i->locked)
        return unlock(d, rf_err_set(err, RF_EBUSY, "locked"));
    i->locked = f->locks = true;
    return unlock(d, RF_OK);
}

simdisk *simdisk_new(void)
{
    simdisk *d = rf_xcalloc(1, sizeof *d);
    pthread_mutex_init(&d->mutex, NULL);
    d->io = (rf_io){
        .self = d,
        .open = sim_open,
        .close = sim_close,
        .pread = sim_pread,
        .pwrite = sim_pwrite,
        .sync = sim_sync,
        .size = sim_size,
        .truncate = sim_truncate,
        .allocate = sim_allocate,
        .map = sim_map,
        .unmap = sim_unmap,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .mkdir = sim_mkdir,
        .sync_dir = sim_sync_dir,
        .list = sim_list,
        .lock = sim_lock,
    };
    return d;
}

void simdisk_free(simdisk **disk)
{
    simdisk *d = *disk;
    *disk = NULL;
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->ops_count; i++) {
        free(d->ops[i].bytes);
        free(d->ops[i].path);
        free(d->ops[i].to);
    }
    free(d->ops);
    image_clear(&d->start);
    image_clear(&d->now);
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

rf_io *simdisk_io(simdisk *d)
{
    return &d->io;
}

void simdisk_mark(simdisk *d, uint64_t value)
{
    pthread_mutex_lock(&d->mutex);
    record(d, OP_MARK, 0)->at = value;
    pthread_mutex_unlock(&d->mutex);
}

size_t simdisk_ops(simdisk *d)
{
    pthread_mutex_lock(&d->mutex);
    size_t n = d->ops_count;
    pthread_mutex_unlock(&d->mutex);
    return n;
}

void simdisk_marks(simdisk *d, size_t ops, void (*each)(void *arg, uint64_t value), void *arg)
{
    for (size_t i = 0; i < ops && i < d->ops_count; i++) {
        if (d->ops[i].kind == OP_MARK)
            each(arg, d->ops[i].at);
    }
}

void simdisk_fail_syncs(simdisk *d, unsigned skip, unsigned times)
{
    pthread_mutex_lock(&d->mutex);
    d->fail_skip = skip;
    d->fail_times = times;
    pthread_mutex_unlock(&d->mutex);
}

/* ---- crashes
 * ------------------------------------------------------------------------------------------------
 */

struct simcrash {
    const simdisk *d;
    size_t at;
    image durable;
    const op **pending; /* in order */
    size_t pending_count, pending_cap;
};

simcrash *simcrash_new(const simdisk *d)
{
    simcrash *c = rf_xcalloc(1, sizeof *c);
    c->d = d;
    c->durable = image_copy(&d->start);
    return c;
}

void simcrash_free(simcrash **crash)
{
    if (*crash == NULL)
        return;
    image_clear(&(*crash)->durable);
    free((*crash)->pending);
    free(*crash);
    *crash = NULL;
}

size_t simcrash_at(const simcrash *c)
{
    return c->at;
}

size_t simcrash_pending(const simcrash *c)
{
    return c->pending_count;
}

static bool made_durable(const op *pending, const op *by)
{
    if (by->kind == OP_SYNC)
        return pending->kind <= OP_RESIZE && pending->inode == by->inode && !pending->lost;
    if (by->kind != OP_SYNC_DIR || pending->kind < OP_LINK)
        return false;
    return in_dir(pending->path, by->path) ||
           (pending->kind == OP_RENAME && in_dir(pending->to, by->path));
}

bool simcrash_step(simcrash *c)
{
    if (c->at == c->d->ops_count)
        return false;
    const op *o = &c->d->ops[c->at++];
    if (o->kind == OP_SYNC || o->kind == OP_SYNC_DIR) {
        size_t kept = 0;
        for (size_t i = 0; i < c->pending_count; i++) {
            if (made_durable(c->pending[i], o))
                image_apply(&c->durable, c->pending[i]);
            else
                c->pending[kept++] = c->pending[i];
        }
        c->pending_count = kept;
    } else if (o->kind != OP_MARK) {
        if (c->pending_count == c->pending_cap) {
            c->pending_cap = c->pending_cap == 0 ? 64 : c->pending_cap * 2;
            c->pending = rf_xrealloc(c->pending, c->pending_cap * sizeof(op *));
        }
        c->pending[c->pending_count++] = o;
    }
    return true;
}

static void grow_with_garbage(image *m, const op *o, uint8_t mask, kit_rng *rng)
{
    while (m->inodes_count <= o->inode)
        image_add_inode(m, false);
    inode *i = &m->inodes[o->inode];
    size_t before = i->n;
    if (o->at + o->n <= before)
        return;
    inode_resize(i, (size_t)(o->at + o->n));
    for (size_t k = RF_MAX(before, (size_t)o->at); k < i->n; k++)
        i->p[k] = (uint8_t)kit_next(rng) & mask;
}

static void apply_torn(image *m, const op *o, kit_rng *rng)
{
    op part = *o;
    uint8_t *copy = rf_xmalloc(o->n + 1);
    memcpy(copy, o->bytes, o->n);
    part.bytes = copy;
    switch (kit_below(rng, 4)) {
    case 0: /* a prefix */
        part.n = (size_t)kit_below(rng, o->n + 1);
        image_apply(m, &part);
        break;
    case 1: /* some sectors of it */
        for (uint64_t from = o->at; from < o->at + o->n;) {
            uint64_t to = RF_MIN((from / 512 + 1) * 512, o->at + o->n);
            op sector = *o;
            sector.at = from;
            sector.n = (size_t)(to - from);
            sector.bytes = copy + (from - o->at);
            if (kit_below(rng, 2) == 0)
                image_apply(m, &sector);
            from = to;
        }
        break;
    case 2: /* the size it grew the file by, with zeros or a recycled block's bytes; what was there
               stays */
        grow_with_garbage(m, o, 0, rng);
        break;
    default:
        grow_with_garbage(m, o, 0xff, rng);
    }
    free(copy);
}

uint64_t simcrash_variants(const simcrash *c)
{
    return 2 + 3 * (uint64_t)c->pending_count;
}

/* variant: 0 none, 1 all, then only i, then all but i, then the first i; beyond: random. */
static bool survives(const simcrash *c, uint64_t variant, size_t i, kit_rng *rng)
{
    size_t n = c->pending_count;
    if (variant < 2)
        return variant == 1;
    variant -= 2;
    if (variant < n)
        return i == variant;
    if (variant < 2 * n)
        return i != variant - n;
    if (variant < 3 * n)
        return i < variant - 2 * n;
    return kit_below(rng, 2) == 0;
}

simdisk *simcrash_state(const simcrash *c, uint64_t variant, kit_rng *rng)
{
    simdisk *d = simdisk_new();
    bool random = variant >= simcrash_variants(c);
    /* Every other random state: written in order until the power went, in the midst of a write. */
    size_t cut = random && c->pending_count > 0 && kit_below(rng, 2) == 0
                     ? (size_t)kit_below(rng, c->pending_count)
                     : SIZE_MAX;
    d->start = image_copy(&c->durable);
    for (size_t i = 0; i < c->pending_count; i++) {
        const op *o = c->pending[i];
        if (cut == SIZE_MAX ? !survives(c, variant, i, rng) : i > cut)
            continue;
        if (o->kind == OP_WRITE && random && (cut == SIZE_MAX ? kit_below(rng, 2) == 0 : i == cut))
            apply_torn(&d->start, o, rng);
        else
            image_apply(&d->start, o);
    }
    d->now = image_copy(&d->start);
    return d;
}

simdisk *simcrash_killed(const simcrash *c)
{
    simdisk *d = simdisk_new();
    d->start = image_copy(&c->durable);
    d->now = image_copy(&c->durable);
    for (size_t i = 0; i < c->pending_count; i++) {
        op *o = record(d, c->pending[i]->kind, c->pending[i]->inode);
        *o = *c->pending[i];
        if (o->bytes != NULL) {
            o->bytes = rf_xmalloc(o->n + 1);
            memcpy(o->bytes, c->pending[i]->bytes, o->n);
        }
        o->path = o->path != NULL ? rf_xstrdup(o->path) : NULL;
        o->to = o->to != NULL ? rf_xstrdup(o->to) : NULL;
        image_apply(&d->now, o);
    }
    return d;
}
