/* A log directory as a whole: lock, meta, domains. README.md has the files. */
#include "log/log.h"
#include "log/part_int.h"
#include "log/small_int.h"
#include "log/view_int.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SEGMENT_BYTES_DEFAULT ((uint64_t)64 << 20)
#define SEGMENT_BYTES_MIN ((uint64_t)64 << 10)
#define SEGMENT_BYTES_MAX ((uint64_t)4 << 30)
#define BLOCK_BYTES_DEFAULT (64u << 10)
#define PARTITIONS_MAX RFI_TAIL_SLOTS_MAX
#define NOTICE_BYTES 1024

static const char META_MAGIC[8] = "RFLOGMET";
static const char DOMAIN_MAGIC[8] = "RFLOGDOM";
enum { META_EPOCH = 0, META_SEED = 8, META_SECRET = 16, META_BYTES = 32 };

void rfi_notice(const rf_log *log, const char *fmt, ...)
{
    char line[NOTICE_BYTES];
    va_list args;
    if (log->options.notice == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    log->options.notice(log->options.notice_arg, line);
}

static char *path_in(const char *dir, const char *name)
{
    char *path = NULL;
    int n = asprintf(&path, "%s/%s", dir, name);
    RF_ASSERT(n > 0);
    return path;
}

/* ---- lock and meta
 * ------------------------------------------------------------------------------------ */

static rf_status take_lock(rf_log *log, rf_err *err)
{
    char *path = path_in(log->dir, "LOCK");
    rf_status st =
        log->io->open(log->io, path, RF_IO_READ | RF_IO_WRITE | RF_IO_CREATE, &log->lock, err);
    if (st == RF_OK)
        st = log->io->lock(log->io, log->lock, err);
    if (st == RF_EBUSY)
        rf_err_set(err, RF_EBUSY, "%s: another refold has this log open", path);
    free(path);
    return st;
}

static rf_status any_domain(void *arg, const char *domain, uint32_t partitions, unsigned bad,
                            rf_err *err)
{
    (void)domain;
    (void)partitions;
    (void)bad;
    (void)err;
    *(bool *)arg = true;
    return RF_OK;
}

/* A log without its meta has lost the keys of its ids: making new ones would forget every id. */
static rf_status first_meta(rf_log *log, rf_err *err)
{
    bool used = false;
    rf_status st = rfi_domains_list(log->io, log->dir, any_domain, &used, err);
    if (st != RF_OK)
        return st;
    if (used)
        return rf_err_set(err, RF_ECORRUPT,
                          "%s/meta is missing, but the log has domains: bring it "
                          "back from a backup",
                          log->dir);
    rf_random(&log->meta.content_seed, sizeof log->meta.content_seed);
    rf_random(log->meta.secret, sizeof log->meta.secret);
    return RF_OK;
}

static rf_status raise_epoch(rf_log *log, rf_err *err)
{
    uint8_t bytes[META_BYTES];
    unsigned bad = 0;
    char *path = path_in(log->dir, "meta");
    rf_err why = {0};
    rf_status st = rfi_small_read(log->io, path, META_MAGIC, bytes, META_BYTES, &bad, &why);
    if (st == RF_OK) {
        log->meta.epoch = rfi_get64(bytes + META_EPOCH);
        log->meta.content_seed = rfi_get64(bytes + META_SEED);
        memcpy(log->meta.secret, bytes + META_SECRET, RF_KEY_BYTES);
        if (bad > 0)
            rfi_notice(log, "%s: one of two copies was damaged: repaired", path);
    } else if (st == RF_ENOTFOUND) {
        st = first_meta(log, err);
    } else {
        *err = why;
    }
    if (st == RF_OK) {
        log->meta.epoch++;
        rfi_put64(bytes + META_EPOCH, log->meta.epoch);
        rfi_put64(bytes + META_SEED, log->meta.content_seed);
        memcpy(bytes + META_SECRET, log->meta.secret, RF_KEY_BYTES);
        st = rfi_small_write(log->io, path, META_MAGIC, bytes, META_BYTES, err);
    }
    free(path);
    return st;
}

rf_status rfi_meta_secret(rf_io *io, const char *dir, uint8_t secret[static RF_KEY_BYTES],
                          unsigned *copies_bad, rf_err *err)
{
    uint8_t bytes[META_BYTES];
    char *path = path_in(dir, "meta");
    rf_status st = rfi_small_read(io, path, META_MAGIC, bytes, META_BYTES, copies_bad, err);
    if (st == RF_OK)
        memcpy(secret, bytes + META_SECRET, RF_KEY_BYTES);
    free(path);
    return st;
}

uint64_t rf_log_content_seed(const rf_log *log)
{
    return log->meta.content_seed;
}

/* ---- domains
 * ---------------------------------------------------------------------------------------------- */

typedef struct name_list {
    char **names;
    size_t count, cap;
} name_list;

static void add_name(void *arg, const char *name)
{
    name_list *l = arg;
    if (!rf_domain_valid(rf_str_from(name)))
        return;
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->names = rf_xrealloc(l->names, l->cap * sizeof(char *));
    }
    l->names[l->count++] = rf_xstrdup(name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_reserved(const char *name)
{
    return strcmp(name, "meta") == 0 || strcmp(name, "tail") == 0;
}

static void any_segment(void *arg, const char *name)
{
    rf_str s = rf_str_from(name);
    *(bool *)arg |= s.n > 4 && memcmp(s.p + s.n - 4, ".seg", 4) == 0;
}

/* A folder without the file was not finished, or is not ours; but not when it has segments. */
static rf_status without_file(rf_io *io, const char *folder, rf_err *err)
{
    bool segments = false;
    rf_err ignored = {0};
    char *first = path_in(folder, "0");
    (void)io->list(io, first, any_segment, &segments, &ignored);
    free(first);
    if (!segments)
        return RF_OK;
    return rf_err_set(err, RF_ECORRUPT,
                      "%s/domain is missing, but there are segments: bring it back from a backup",
                      folder);
}

static rf_status list_one(rf_io *io, const char *dir, const char *name, rfi_domain_found found,
                          void *arg, rf_err *err)
{
    uint8_t bytes[4];
    unsigned bad = 0;
    rf_err why = {0};
    char *folder = path_in(dir, name), *path = path_in(folder, "domain");
    rf_status st = rfi_small_read(io, path, DOMAIN_MAGIC, bytes, 4, &bad, &why);
    if (st == RF_OK)
        st = found(arg, name, rfi_get32(bytes), bad, err);
    else if (st == RF_ENOTFOUND || why.os_errno == ENOTDIR)
        st = without_file(io, folder, err);
    else
        *err = why;
    free(folder);
    free(path);
    return st;
}

rf_status rfi_domains_list(rf_io *io, const char *dir, rfi_domain_found found, void *arg,
                           rf_err *err)
{
    name_list l = {0};
    rf_status st = io->list(io, dir, add_name, &l, err);
    if (l.count > 0)
        qsort(l.names, l.count, sizeof(char *), by_text);
    for (size_t i = 0; i < l.count; i++) {
        if (st == RF_OK && !is_reserved(l.names[i]))
            st = list_one(io, dir, l.names[i], found, arg, err);
        free(l.names[i]);
    }
    free(l.names);
    return st;
}

static void free_domain(rfi_domain *d)
{
    for (uint32_t i = 0; i < d->partitions; i++)
        rfi_part_free(&d->parts[i]);
    free(d->parts);
    free(d);
}

static void enter_domain(rf_log *log, rfi_domain *d)
{
    pthread_rwlock_wrlock(&log->domains_lock);
    log->domains = rf_xrealloc(log->domains, (log->domains_count + 1) * sizeof(rfi_domain *));
    log->domains[log->domains_count++] = d;
    pthread_rwlock_unlock(&log->domains_lock);
}

/* Opens the partitions, without starting their writers. */
static rf_status open_domain(rf_log *log, const char *name, uint32_t partitions, rfi_domain **out,
                             rf_err *err)
{
    *out = NULL;
    if (partitions == 0 || partitions > PARTITIONS_MAX)
        return rf_err_set(err, RF_ECORRUPT, "domain %s: %u partitions", name, partitions);
    rfi_domain *d = rf_xcalloc(1, sizeof *d);
    rf_status st = RF_OK;
    snprintf(d->name, sizeof d->name, "%s", name);
    d->parts = rf_xcalloc(partitions, sizeof(rf_log_part *));
    while (st == RF_OK && d->partitions < partitions) {
        st = rfi_part_open(log, rf_str_from(name), d->partitions, &d->parts[d->partitions], err);
        if (st == RF_OK)
            d->partitions++;
    }
    if (st != RF_OK) {
        free_domain(d);
        return st;
    }
    *out = d;
    return RF_OK;
}

static rf_status write_domain_file(rf_log *log, const char *name, uint32_t partitions, rf_err *err)
{
    uint8_t bytes[4];
    char *folder = path_in(log->dir, name), *file = path_in(folder, "domain");
    rfi_put32(bytes, partitions);
    rf_status st = rfi_small_write(log->io, file, DOMAIN_MAGIC, bytes, sizeof bytes, err);
    free(folder);
    free(file);
    return st;
}

static rf_status open_and_enter(void *arg, const char *name, uint32_t partitions, unsigned bad,
                                rf_err *err)
{
    rfi_domain *d = NULL;
    rf_status st = bad > 0 ? write_domain_file(arg, name, partitions, err) : RF_OK;
    if (st == RF_OK)
        st = open_domain(arg, name, partitions, &d, err);
    if (st == RF_OK)
        enter_domain(arg, d);
    return st;
}

static rf_status start_domain(rf_log *log, rfi_domain *d, rf_err *err)
{
    rf_status st = RF_OK;
    for (uint32_t i = 0; st == RF_OK && i < d->partitions; i++) {
        rf_log_part *p = d->parts[i];
        if (log->tail != NULL)
            st = rfi_tail_add(log->tail, rf_str_from(d->name), i, p->w.next, p->w.recorded_us,
                              &p->tail_slot, err);
        if (st == RF_OK)
            st = rfi_part_start(p, err);
    }
    return st;
}

static rfi_domain *find_domain(rf_log *log, rf_str name)
{
    rfi_domain *found = NULL;
    pthread_rwlock_rdlock(&log->domains_lock);
    for (size_t i = 0; i < log->domains_count && found == NULL; i++) {
        if (rf_str_eq(rf_str_from(log->domains[i]->name), name))
            found = log->domains[i];
    }
    pthread_rwlock_unlock(&log->domains_lock);
    return found;
}

/* The file `domain` is written last: without it there is no domain yet. */
static rf_status make_domain_files(rf_log *log, const char *name, uint32_t partitions, rf_err *err)
{
    char *folder = path_in(log->dir, name);
    rf_status st = RF_OK;
    for (uint32_t i = 0; st == RF_OK && i < partitions; i++) {
        char number[16];
        snprintf(number, sizeof number, "%u", i);
        char *part = path_in(folder, number);
        st = rf_io_mkdirs(log->io, part, err);
        free(part);
    }
    if (st == RF_OK)
        st = write_domain_file(log, name, partitions, err);
    if (st == RF_OK)
        st = log->io->sync_dir(log->io, log->dir, err);
    free(folder);
    return st;
}

rf_status rf_log_domain(rf_log *log, rf_str domain, uint32_t partitions, rf_err *err)
{
    char name[RF_DOMAIN_MAX + 1] = {0};
    if (find_domain(log, domain) != NULL)
        return RF_OK;
    if (!rf_domain_valid(domain))
        return rf_err_set(err, RF_EINVAL, "'%.*s' is no domain name: 1 to 63 of a-z 0-9 _ -",
                          RF_STR_ARG(domain));
    memcpy(name, domain.p, domain.n);
    if (is_reserved(name))
        return rf_err_set(err, RF_EINVAL, "'%s' is a reserved name", name);
    if (partitions == 0 || partitions > PARTITIONS_MAX)
        return rf_err_set(err, RF_EINVAL, "a domain has 1 to %u partitions", PARTITIONS_MAX);
    pthread_mutex_lock(&log->create_mutex);
    rf_status st = RF_OK;
    rfi_domain *d = NULL;
    if (find_domain(log, domain) == NULL) {
        st = make_domain_files(log, name, partitions, err);
        if (st == RF_OK)
            st = open_domain(log, name, partitions, &d, err);
        if (st == RF_OK) {
            st = start_domain(log, d, err);
            enter_domain(log, d); /* even half started: closing ends it */
        }
    }
    pthread_mutex_unlock(&log->create_mutex);
    if (st != RF_OK)
        rf_err_note(err, "domain %s", name);
    return st;
}

rf_log_part *rf_log_route(rf_log *log, rf_str domain, rf_str stream)
{
    rfi_domain *d = find_domain(log, domain);
    if (d == NULL)
        return NULL;
    if (d->partitions == 1)
        return d->parts[0];
    return d->parts[rf_hash_fast(stream.p, stream.n, 0).lo % d->partitions];
}

uint64_t rf_log_pending_bytes(const rf_log *log)
{
    return atomic_load_explicit(&log->pending_bytes, memory_order_relaxed);
}

/* ---- ends, statistics
 * ---------------------------------------------------------------------------------------- */

static void each_end(void *arg,
                     void (*found)(void *to, rf_str domain, uint32_t partition, uint64_t next,
                                   int64_t recorded_us),
                     void *to)
{
    rf_log *log = arg;
    pthread_rwlock_rdlock(&log->domains_lock);
    for (size_t i = 0; i < log->domains_count; i++) {
        for (uint32_t n = 0; n < log->domains[i]->partitions; n++) {
            rf_log_part *p = log->domains[i]->parts[n];
            uint64_t next = atomic_load_explicit(&p->durable, memory_order_acquire);
            found(to, rf_str_from(p->domain), p->number, next, atomic_load(&p->recorded_us));
        }
    }
    pthread_rwlock_unlock(&log->domains_lock);
}

static void raise(void *to, rf_str domain, uint32_t partition, uint64_t next, int64_t recorded_us)
{
    (void)recorded_us;
    rf_position_raise(to, domain, partition, next);
}

void rf_log_position(rf_log *log, rf_position *out)
{
    *out = (rf_position){0};
    each_end(log, raise, out);
}

static const char *state_name(rfi_state state)
{
    switch (state) {
    case RFI_STATE_OPEN:
        return "open";
    case RFI_STATE_FULL:
        return "full";
    case RFI_STATE_FENCED:
        return "fenced";
    }
    return "open";
}

void rf_log_stats(rf_log *log, void (*each)(void *arg, const rf_log_part_stats *s), void *arg)
{
    pthread_rwlock_rdlock(&log->domains_lock);
    for (size_t i = 0; i < log->domains_count; i++) {
        for (uint32_t n = 0; n < log->domains[i]->partitions; n++) {
            rf_log_part *p = log->domains[i]->parts[n];
            rf_log_part_stats s = {
                .partition = p->number,
                .next = atomic_load(&p->durable),
                .bytes_disk = atomic_load(&p->bytes_sealed) + atomic_load(&p->bytes_open),
                .bytes_index = atomic_load(&p->bytes_index),
                .segments = atomic_load(&p->segments),
                .blocks = atomic_load(&p->blocks),
                .appended = atomic_load(&p->appended),
                .duplicates = atomic_load(&p->duplicates),
                .conflicts = atomic_load(&p->conflicts),
                .state = state_name(atomic_load(&p->state)),
                .sync_us = &p->sync_us,
                .commit_us = &p->commit_us,
            };
            memcpy(s.domain, p->domain, sizeof s.domain);
            each(arg, &s);
        }
    }
    pthread_rwlock_unlock(&log->domains_lock);
}

/* ---- opening and closing
 * ---------------------------------------------------------------------------------------- */

static rf_log *new_log(const char *dir, const rf_log_options *options)
{
    rf_log *log = rf_xcalloc(1, sizeof *log);
    log->dir = rf_xstrdup(dir);
    if (options != NULL)
        log->options = *options;
    log->io = log->options.io != NULL ? log->options.io : rf_io_posix();
    uint64_t *segment = &log->options.segment_bytes_max;
    *segment = *segment == 0 ? SEGMENT_BYTES_DEFAULT : *segment;
    *segment = RF_MAX(RF_MIN(*segment, SEGMENT_BYTES_MAX), SEGMENT_BYTES_MIN);
    uint32_t *block = &log->options.block_bytes_target;
    *block = *block == 0 ? BLOCK_BYTES_DEFAULT : *block;
    pthread_mutex_init(&log->create_mutex, NULL);
    pthread_rwlock_init(&log->domains_lock, NULL);
    return log;
}

static rf_status start_all(rf_log *log, rf_err *err)
{
    rf_status st = RF_OK;
    if (log->options.publish_tail)
        st = rfi_tail_create(log->dir, &log->tail, err);
    for (size_t i = 0; st == RF_OK && i < log->domains_count; i++)
        st = start_domain(log, log->domains[i], err);
    if (st == RF_OK && log->options.publish_tail)
        st = rfi_tail_publish(log->dir, err);
    return st;
}

rf_status rf_log_open(const char *dir, const rf_log_options *options, rf_log **out, rf_err *err)
{
    *out = NULL;
    rf_log *log = new_log(dir, options);
    rf_status st = rf_io_mkdirs(log->io, dir, err);
    if (st == RF_OK)
        st = take_lock(log, err);
    if (st == RF_OK)
        st = raise_epoch(log, err);
    if (st == RF_OK)
        st = rfi_domains_list(log->io, dir, open_and_enter, log, err);
    if (st == RF_OK)
        st = rfi_view_open(log->io, dir, (rfi_ends){.arg = log, .each = each_end}, &log->view, err);
    if (st == RF_OK && (log->sealer = rfi_sealer_start(log)) == NULL)
        st = rf_err_set(err, RF_ENOMEM, "starting the sealer");
    if (st == RF_OK)
        st = start_all(log, err);
    if (st != RF_OK) {
        rf_err_note(err, "opening the log in %s", dir);
        log->options.seal_on_close = false;
        rf_log_close(&log);
    }
    *out = log;
    return st;
}

/* A small segment is not worth sealing: the next open reads it faster than it would open two files.
 */
static void seal_open_segment(rf_log *log, rf_log_part *p)
{
    rf_err err = {0};
    if (p->w.seg.file == NULL || atomic_load(&p->state) == RFI_STATE_FENCED ||
        p->w.seg.at < log->options.segment_bytes_max / 8)
        return;
    if (rfi_segment_end(p, &err) != RF_OK)
        rfi_notice(log, "%s", err.text);
}

void rf_log_close(rf_log **out)
{
    rf_log *log = *out;
    *out = NULL;
    if (log == NULL)
        return;
    for (size_t i = 0; i < log->domains_count; i++) {
        for (uint32_t n = 0; n < log->domains[i]->partitions; n++) {
            rfi_part_stop(log->domains[i]->parts[n]);
            if (log->options.seal_on_close)
                seal_open_segment(log, log->domains[i]->parts[n]);
        }
    }
    rfi_sealer_stop(&log->sealer);
    rf_log_view_close(&log->view);
    for (size_t i = 0; i < log->domains_count; i++)
        free_domain(log->domains[i]);
    free(log->domains);
    rfi_tail_close(&log->tail);
    log->io->close(log->io, &log->lock);
    pthread_mutex_destroy(&log->create_mutex);
    pthread_rwlock_destroy(&log->domains_lock);
    free(log->dir);
    free(log);
}
