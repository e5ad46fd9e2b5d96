/*
 * The project folder at start: schemas/TYPE.vN.json, then projections/NAME.sql, in order of name.
 * What is already so is left alone. A file that is refused is said loudly and does not stop the
 * others.
 */
#include "server/read_int.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/schema.h"

#define FILE_MAX (1u << 20)

static void note(rfi_read *h, const char *what, const char *file, const char *result,
                 const rf_err *err)
{
    rfi_project *p = &h->project;

    pthread_mutex_lock(&p->mutex);
    if (err == NULL) {
        p->applied++;
    } else {
        p->failed++;
        snprintf(p->last_error, sizeof p->last_error, "%s: %.200s", file, err->text);
    }
    pthread_mutex_unlock(&p->mutex);
    if (err == NULL)
        rf_diag(RF_DIAG_INFO, "%s %s: %s", what, file, result);
    else
        rf_diag(RF_DIAG_ERROR, "%s %s was refused: %s", what, file, err->text);
}

static const char *result_name(rf_projection_put result)
{
    return result == RF_PUT_CREATED   ? "created"
           : result == RF_PUT_CHANGED ? "changed"
                                      : "unchanged";
}

static rf_status apply_schema(rfi_read *h, const char *entry, rf_str text,
                              rf_projection_put *result, rf_err *err)
{
    rf_str type;
    uint32_t version;
    rf_status st = rf_schema_file_name(rf_str_from(entry), &type, &version, err);

    if (st == RF_OK)
        st = rf_projections_put_schema(h->projections, type, version, text, result, err);
    return st;
}

static rf_status apply_projection(rfi_read *h, const char *entry, rf_str text,
                                  rf_projection_put *result, rf_err *err)
{
    rf_str name = {entry, strlen(entry) - 4};
    rf_sql_where where = {0};
    rf_buf warnings;
    rf_status st;

    if (!rf_projection_name_valid(name))
        return rf_err_set(err, RF_EINVAL, "'%.*s' cannot name a projection", RF_STR_ARG(name));
    rf_buf_init(&warnings, 1u << 20);
    st = rf_projections_put(h->projections, name, text, 0, result, &where, &warnings, err);
    if (warnings.n > 0)
        rf_diag(RF_DIAG_WARN, "projection %s: %.*s", entry, (int)RF_MIN(warnings.n, (size_t)500),
                warnings.p);
    if (st != RF_OK && where.line > 0)
        rf_err_note(err, "line %u, column %u", where.line, where.column);
    rf_buf_clear(&warnings);
    return st;
}

typedef rf_status (*apply_fn)(rfi_read *h, const char *entry, rf_str text,
                              rf_projection_put *result, rf_err *err);

static void apply_file(rfi_read *h, const char *what, const char *dir, const char *entry,
                       apply_fn apply)
{
    rf_projection_put result = RF_PUT_SAME;
    rf_err err = {0};
    rf_buf text;
    size_t n = strlen(dir) + strlen(entry) + 2;
    char *path = rf_xmalloc(n);

    snprintf(path, n, "%s/%s", dir, entry);
    rf_buf_init(&text, FILE_MAX);
    rf_status st = rf_io_read_file(rf_io_posix(), path, FILE_MAX, &text, &err);

    if (st == RF_OK)
        st = apply(h, entry, rf_buf_str(&text), &result, &err);
    note(h, what, path, result_name(result), st == RF_OK ? NULL : &err);
    rf_buf_clear(&text);
    free(path);
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);

    return n > k && strcmp(s + n - k, tail) == 0;
}

static void apply_folder(rfi_read *h, const char *what, const char *folder, const char *tail,
                         apply_fn apply)
{
    struct dirent **entries = NULL;
    size_t size = strlen(h->config->project_dir) + strlen(folder) + 2;
    char *dir = rf_xmalloc(size);

    snprintf(dir, size, "%s/%s", h->config->project_dir, folder);
    int n = scandir(dir, &entries, NULL, alphasort);

    if (n < 0 && errno != ENOENT)
        rf_diag(RF_DIAG_ERROR, "reading %s: %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!atomic_load(&h->project.stop) && entries[i]->d_name[0] != '.' &&
            ends_with(entries[i]->d_name, tail))
            apply_file(h, what, dir, entries[i]->d_name, apply);
        free(entries[i]);
    }
    free(entries);
    free(dir);
}

static void *run(void *arg)
{
    rfi_read *h = arg;
    rfi_project *p = &h->project;

    apply_folder(h, "schema", "schemas", ".json", apply_schema);
    apply_folder(h, "projection", "projections", ".sql", apply_projection);
    pthread_mutex_lock(&p->mutex);
    p->done = true;
    bool nothing = p->applied + p->failed == 0;

    pthread_mutex_unlock(&p->mutex);
    if (nothing && !atomic_load(&p->stop))
        rf_diag(RF_DIAG_WARN, "%s holds neither schemas/*.json nor projections/*.sql",
                h->config->project_dir);
    return NULL;
}

void rfi_project_start(rfi_read *h)
{
    sigset_t all, before;

    if (h->config->project_dir == NULL) {
        pthread_mutex_lock(&h->project.mutex);
        h->project.done = true;
        pthread_mutex_unlock(&h->project.mutex);
        return;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    h->project.started = pthread_create(&h->project.thread, NULL, run, h) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!h->project.started)
        rf_diag(RF_DIAG_ERROR, "no thread to apply %s with", h->config->project_dir);
}

void rfi_project_stop(rfi_read *h)
{
    atomic_store(&h->project.stop, true);
    if (h->project.started)
        pthread_join(h->project.thread, NULL);
    h->project.started = false;
}
