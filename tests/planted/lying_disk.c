/*
 * refold with a planted bug, the twin that kill9.py must catch: writes and syncs return at once and
 * are carried out up to 30 ms later, so that an acknowledged event lives in this process's memory
 * only. Nothing of the product knows of it: the seam to the disk is patched before main begins.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define DELAY_US 30000

typedef struct late_write {
    rf_file *file;
    uint64_t at;
    size_t n;
    struct late_write *next;
    char bytes[];
} late_write;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static late_write *queue, **queue_end = &queue;
static rf_io real;

static void flush_locked(void)
{
    while (queue != NULL) {
        late_write *w = queue;
        rf_err err = {0};

        queue = w->next;
        if (real.pwrite(&real, w->file, w->bytes, w->n, w->at, &err) != RF_OK)
            abort();
        free(w);
    }
    queue_end = &queue;
}

static void flush(void)
{
    pthread_mutex_lock(&mutex);
    flush_locked();
    pthread_mutex_unlock(&mutex);
}

_Noreturn static void *flusher(void *arg)
{
    (void)arg;
    for (;;) {
        usleep(DELAY_US);
        flush();
    }
}

static rf_status late_pwrite(rf_io *io, rf_file *f, const void *buf, size_t n, uint64_t at,
                             rf_err *err)
{
    late_write *w = malloc(sizeof *w + n);

    (void)io;
    (void)err;
    RF_ASSERT(w != NULL);
    *w = (late_write){.file = f, .at = at, .n = n};
    memcpy(w->bytes, buf, n);
    pthread_mutex_lock(&mutex);
    *queue_end = w;
    queue_end = &w->next;
    pthread_mutex_unlock(&mutex);
    return RF_OK;
}

static rf_status no_sync(rf_io *io, rf_file *f, rf_err *err)
{
    (void)io;
    (void)f;
    (void)err;
    return RF_OK;
}

/* Everything that looks at a file or ends one must find what was written. */
static rf_status flushed_pread(rf_io *io, rf_file *f, void *buf, size_t n, uint64_t at, size_t *got,
                               rf_err *err)
{
    flush();
    return real.pread(io, f, buf, n, at, got, err);
}

static void flushed_close(rf_io *io, rf_file **file)
{
    flush();
    real.close(io, file);
}

static rf_status flushed_rename(rf_io *io, const char *from, const char *to, rf_err *err)
{
    flush();
    return real.rename(io, from, to, err);
}

static rf_status flushed_map(rf_io *io, rf_file *f, uint64_t bytes, const void **out, rf_err *err)
{
    flush();
    return real.map(io, f, bytes, out, err);
}

int main(int argc, char **argv)
{
    rf_io *io = rf_io_posix();
    pthread_t thread;

    real = *io;
    io->pwrite = late_pwrite;
    io->sync = no_sync;
    io->pread = flushed_pread;
    io->close = flushed_close;
    io->rename = flushed_rename;
    io->map = flushed_map;
    if (pthread_create(&thread, NULL, flusher, NULL) != 0)
        return 1;
    return rf_cli_main(argc, argv);
}
