/*
 * From a backup to a log. Order: the domains' files, all else, and `meta` last and durably: until
 * it is there the directory is refused as a log that lost its meta, so that nothing half restored
 * is ever written to.
 */
#include "log/backup_int.h"
#include "log/format_int.h"
#include "log/small_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As log.c writes it. */
static const char META_MAGIC[8] = "RFLOGMET";
enum { META_EPOCH = 0, META_BYTES = 32 };
/* The upper half of an epoch counts restores. */
#define EPOCH_STEP ((uint64_t)1 << 32)

typedef struct restore {
    rf_io *io;
    const char *backup, *dir;
    char *log; /* backup/log */
    const rf_log_watch *watch;
    rf_backup_report *report;
    rfi_manifest manifest;
    uint64_t bytes_done, bytes_total;
} restore;

static void any_name(void *arg, const char *name)
{
    (void)name;
    *(bool *)arg = true;
}

static rf_status must_be_empty(restore *r, rf_err *err)
{
    bool used = false;
    rf_err why = {0};
    rf_status st = r->io->list(r->io, r->dir, any_name, &used, &why);
    if (st == RF_ENOTFOUND)
        return RF_OK;
    if (st != RF_OK) {
        *err = why;
        return st;
    }
    return used ? rf_err_set(err, RF_ECONFLICT, "%s is not empty", r->dir) : RF_OK;
}

static rf_status check_hash(restore *r, const rfi_manifest_file *f, const char *from, rf_err *err)
{
    uint8_t hash[RF_SHA256_BYTES];
    rf_status st = rfi_file_sha256(r->io, from, f->bytes, hash, err);
    if (st == RF_OK && memcmp(hash, f->sha256, sizeof hash) == 0)
        return RF_OK;
    if (st == RF_OK)
        return rf_err_set(err, RF_ECORRUPT, "%s is not what the manifest says (SHA-256 differs)",
                          from);
    if (st == RF_ENOTFOUND)
        return rf_err_set(err, RF_ECORRUPT, "%s is missing from the backup", from);
    return st;
}

static void told(restore *r, const rfi_manifest_file *f)
{
    r->report->files++;
    r->report->files_copied++;
    r->report->bytes += f->bytes;
    r->report->bytes_copied += f->bytes;
    r->bytes_done += f->bytes;
    if (r->watch->progress != NULL)
        r->watch->progress(r->watch->arg, "restoring", r->bytes_done, r->bytes_total);
}

/* Neither events nor what they need: it can be made anew, and must not keep them from coming back.
 */
static bool is_index(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".seg") != 0 && strchr(path, '.') != NULL;
}

static void leave_out(restore *r, rf_err *why)
{
    rf_err_note(why, "left out, it is made anew when the log is opened");
    if (r->watch->problem != NULL)
        r->watch->problem(r->watch->arg, why->text);
    *why = (rf_err){0};
}

/* A file below a directory, which is made when it is not there. */
static rf_status bring(restore *r, const rfi_manifest_file *f, rf_err *err)
{
    char *from = rfi_path(r->log, f->path), *to = rfi_path(r->dir, f->path);
    char *parent = rf_xstrndup((rf_str){to, (size_t)(strrchr(to, '/') - to)});
    rf_status st = rf_io_mkdirs(r->io, parent, err);
    if (st == RF_OK)
        st = check_hash(r, f, from, err);
    bool skip = st == RF_ECORRUPT && is_index(f->path);
    if (skip) {
        leave_out(r, err);
        st = RF_OK;
    }
    if (st == RF_OK && !skip)
        st = rfi_copy_file(r->io, from, to, f->bytes, err);
    if (st == RF_OK)
        st = r->io->sync_dir(r->io, parent, err);
    if (st == RF_OK && !skip)
        told(r, f);
    free(parent);
    free(from);
    free(to);
    return st;
}

static bool is_domain_file(const char *path)
{
    const char *slash = strchr(path, '/');
    return slash != NULL && strcmp(slash, "/domain") == 0;
}

static rf_status bring_all(restore *r, bool domain_files, rf_err *err)
{
    rf_status st = RF_OK;
    for (size_t i = 0; st == RF_OK && i < r->manifest.count; i++) {
        const rfi_manifest_file *f = &r->manifest.files[i];
        if (strcmp(f->path, "meta") != 0 && is_domain_file(f->path) == domain_files)
            st = bring(r, f, err);
    }
    return st;
}

/* A partition without events has no file in the manifest, but must have its directory. */
static rf_status make_partitions(restore *r, rf_err *err)
{
    rf_status st = RF_OK;
    for (size_t i = 0; st == RF_OK && i < r->manifest.count; i++) {
        uint8_t bytes[4];
        unsigned bad = 0;
        if (!is_domain_file(r->manifest.files[i].path))
            continue;
        char *path = rfi_path(r->dir, r->manifest.files[i].path);
        st = rfi_small_read(r->io, path, "RFLOGDOM", bytes, sizeof bytes, &bad, err);
        *strrchr(path, '/') = '\0';
        for (uint32_t k = 0; st == RF_OK && k < rfi_get32(bytes); k++) {
            char *part = NULL;
            int n = asprintf(&part, "%s/%u", path, k);
            RF_ASSERT(n > 0);
            st = rf_io_mkdirs(r->io, part, err);
            free(part);
        }
        free(path);
    }
    return st;
}

/* log/meta, or the one that an interrupted later run put beside it. */
static rf_status find_meta(restore *r, uint8_t bytes[static META_BYTES], rf_err *err)
{
    const rfi_manifest_file *f = rfi_manifest_find(&r->manifest, "meta");
    char *path = rfi_path(r->log, "meta"), *saved = rfi_path(r->backup, RFI_META_SAVED_NAME);
    unsigned bad = 0;
    rf_err why = {0};
    RF_ASSERT(f != NULL);
    rf_status st = check_hash(r, f, path, err);
    if (st == RF_OK)
        st = rfi_small_read(r->io, path, META_MAGIC, bytes, META_BYTES, &bad, err);
    else if (check_hash(r, f, saved, &why) == RF_OK)
        st = rfi_small_read(r->io, saved, META_MAGIC, bytes, META_BYTES, &bad, err);
    if (st == RF_OK)
        told(r, f);
    free(path);
    free(saved);
    return st;
}

static rf_status write_meta(restore *r, uint8_t bytes[static META_BYTES], rf_err *err)
{
    char *path = rfi_path(r->dir, "meta");
    rfi_put64(bytes + META_EPOCH, rfi_get64(bytes + META_EPOCH) + EPOCH_STEP);
    rf_status st = rfi_small_write(r->io, path, META_MAGIC, bytes, META_BYTES, err);
    free(path);
    return st;
}

static rf_status read_manifest(restore *r, rf_err *err)
{
    char *path = rfi_path(r->backup, RFI_MANIFEST_NAME);
    rf_status st = rfi_manifest_read(r->io, path, &r->manifest, err);
    if (st == RF_ENOTFOUND)
        rf_err_set(err, RF_ENOTFOUND,
                   "there is no finished backup in %s (no " RFI_MANIFEST_NAME
                   "): run `refold backup` again",
                   r->backup);
    for (size_t i = 0; st == RF_OK && i < r->manifest.count; i++)
        r->bytes_total += r->manifest.files[i].bytes;
    for (size_t i = 0; st == RF_OK && i < r->manifest.ends.count; i++)
        r->report->events += r->manifest.ends.parts[i].next;
    free(path);
    return st;
}

static rf_status restore_all(restore *r, rf_err *err)
{
    uint8_t meta[META_BYTES];
    rf_status st = read_manifest(r, err);
    if (st == RF_OK)
        st = must_be_empty(r, err);
    if (st == RF_OK)
        st = rf_io_mkdirs(r->io, r->dir, err);
    if (st == RF_OK)
        st = find_meta(r, meta, err); /* damage is better found at once */
    if (st == RF_OK)
        st = bring_all(r, true, err);
    if (st == RF_OK)
        st = make_partitions(r, err);
    if (st == RF_OK)
        st = bring_all(r, false, err);
    if (st == RF_OK)
        st = r->io->sync_dir(r->io, r->dir, err);
    if (st == RF_OK)
        st = write_meta(r, meta, err);
    return st == RF_OK ? rfi_verify_copy(r->io, r->dir, r->watch, r->report, err) : st;
}

rf_status rf_log_restore(rf_io *io, const char *backup, const char *dir, const rf_log_watch *watch,
                         rf_backup_report *report, rf_err *err)
{
    static const rf_log_watch nobody;
    restore r = {.io = io != NULL ? io : rf_io_posix(),
                 .backup = backup,
                 .dir = dir,
                 .watch = watch != NULL ? watch : &nobody,
                 .report = report};
    *report = (rf_backup_report){0};
    r.log = rfi_path(backup, "log");
    rf_status st = restore_all(&r, err);
    if (st != RF_OK)
        rf_err_note(err, "restoring %s into %s", backup, dir);
    rfi_manifest_clear(&r.manifest);
    free(r.log);
    return st;
}
