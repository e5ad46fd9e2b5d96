/* The shared page of durable ends. Layout: README.md, "tail". Plain mmap and not rf_io: it holds
 * nothing that must survive. */
#include "log/tail_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char MAGIC[8] = "RFTAIL1";

typedef struct tail_slot {
    char domain[RF_DOMAIN_MAX + 1];
    uint32_t partition, unused;
    _Atomic uint64_t next;
    _Atomic int64_t recorded_us;
    uint8_t pad[40];
} tail_slot;
_Static_assert(sizeof(tail_slot) == 128, "two cache lines: writers of two partitions do not meet");

typedef struct tail_page {
    char magic[8];
    _Atomic uint32_t moved; /* the futex word: counts publications */
    _Atomic uint32_t count; /* of slots in use */
    _Atomic uint32_t old;   /* a later writer made another page */
    uint8_t pad[108];
    tail_slot slot[RFI_TAIL_SLOTS_MAX];
} tail_page;
_Static_assert(ATOMIC_LONG_LOCK_FREE == 2, "atomics must work between processes");

struct rfi_tail {
    tail_page *page;
};

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, (uint32_t *)word, op, value, timeout, NULL, 0);
}

static rf_status map_page(const char *path, int flags, int protection, tail_page **out, rf_err *err)
{
    struct stat about;
    *out = NULL;
    int fd = open(path, flags | O_CLOEXEC, 0640);
    if (fd < 0)
        return rf_err_set_errno(err, errno, "opening %s", path);
    bool sized = (flags & O_CREAT) == 0 || ftruncate(fd, sizeof(tail_page)) == 0;
    if (!sized || fstat(fd, &about) != 0 || about.st_size != (off_t)sizeof(tail_page)) {
        rf_err_set(err, RF_EBUSY, "%s is not a tail page of this version", path);
    } else {
        void *p = mmap(NULL, sizeof(tail_page), protection, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            rf_err_set_errno(err, errno, "mapping %s", path);
        else
            *out = p;
    }
    close(fd);
    return *out != NULL ? RF_OK : err->status;
}

static rfi_tail *wrap(tail_page *page)
{
    rfi_tail *t = rf_xcalloc(1, sizeof *t);
    t->page = page;
    return t;
}

/* Tells those who look at the page of an earlier writer to look again. */
static void retire(tail_page *page)
{
    atomic_store(&page->old, 1);
    atomic_fetch_add(&page->moved, 1);
    futex(&page->moved, FUTEX_WAKE, INT_MAX, NULL);
    munmap(page, sizeof *page);
}

rf_status rfi_tail_create(const char *dir, rfi_tail **out, rf_err *err)
{
    char temporary[PATH_MAX];
    tail_page *page = NULL;
    *out = NULL;
    snprintf(temporary, sizeof temporary, "%s/tail.tmp", dir);
    unlink(temporary);
    rf_status st =
        map_page(temporary, O_RDWR | O_CREAT | O_EXCL, PROT_READ | PROT_WRITE, &page, err);
    if (st != RF_OK)
        return st;
    memcpy(page->magic, MAGIC, sizeof MAGIC);
    *out = wrap(page);
    return RF_OK;
}

rf_status rfi_tail_publish(const char *dir, rf_err *err)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    snprintf(path, sizeof path, "%s/tail", dir);
    snprintf(temporary, sizeof temporary, "%s/tail.tmp", dir);
    /* Renamed before the old one is retired: who looks again then finds the new one. */
    tail_page *old = NULL;
    rf_err ignored = {0};
    (void)map_page(path, O_RDWR, PROT_READ | PROT_WRITE, &old, &ignored);
    if (rename(temporary, path) != 0) {
        rf_err_set_errno(err, errno, "renaming %s", temporary);
        if (old != NULL)
            munmap(old, sizeof *old);
        return err->status;
    }
    if (old != NULL)
        retire(old);
    return RF_OK;
}

rf_status rfi_tail_add(rfi_tail *t, rf_str domain, uint32_t partition, uint64_t next,
                       int64_t recorded_us, uint32_t *slot, rf_err *err)
{
    uint32_t at = atomic_load(&t->page->count);
    if (at == RFI_TAIL_SLOTS_MAX)
        return rf_err_set(err, RF_ETOOBIG, "a log has at most %u partitions", RFI_TAIL_SLOTS_MAX);
    tail_slot *s = &t->page->slot[at];
    RF_ASSERT(domain.n <= RF_DOMAIN_MAX);
    memcpy(s->domain, domain.p, domain.n);
    s->partition = partition;
    atomic_store(&s->recorded_us, recorded_us);
    atomic_store(&s->next, next);
    atomic_store(&t->page->count, at + 1);
    *slot = at;
    return RF_OK;
}

void rfi_tail_set(rfi_tail *t, uint32_t slot, uint64_t next, int64_t recorded_us)
{
    tail_slot *s = &t->page->slot[slot];
    atomic_store_explicit(&s->recorded_us, recorded_us, memory_order_relaxed);
    atomic_store_explicit(&s->next, next, memory_order_release);
    atomic_fetch_add(&t->page->moved, 1);
    futex(&t->page->moved, FUTEX_WAKE, INT_MAX, NULL);
}

rf_status rfi_tail_attach(const char *dir, rfi_tail **out, rf_err *err)
{
    char path[PATH_MAX];
    tail_page *page = NULL;
    *out = NULL;
    snprintf(path, sizeof path, "%s/tail", dir);
    if (map_page(path, O_RDONLY, PROT_READ, &page, err) != RF_OK) {
        if (err->status == RF_ENOTFOUND)
            return rf_err_set(err, RF_EBUSY, "%s: the writer is not up yet", path);
        return err->status;
    }
    if (memcmp(page->magic, MAGIC, sizeof MAGIC) != 0) {
        munmap(page, sizeof *page);
        return rf_err_set(err, RF_EBUSY, "%s is not a tail page of this version", path);
    }
    *out = wrap(page);
    return RF_OK;
}

bool rfi_tail_is_old(const rfi_tail *t)
{
    return atomic_load_explicit(&t->page->old, memory_order_acquire) != 0;
}

uint32_t rfi_tail_count(const rfi_tail *t)
{
    uint32_t n = atomic_load_explicit(&t->page->count, memory_order_acquire);
    return RF_MIN(n, RFI_TAIL_SLOTS_MAX);
}

void rfi_tail_get(const rfi_tail *t, uint32_t slot, rf_str *domain, uint32_t *partition,
                  uint64_t *next, int64_t *recorded_us)
{
    const tail_slot *s = &t->page->slot[slot];
    *domain = (rf_str){s->domain, strnlen(s->domain, RF_DOMAIN_MAX)};
    *partition = s->partition;
    *next = atomic_load_explicit(&s->next, memory_order_acquire);
    *recorded_us = atomic_load_explicit(&s->recorded_us, memory_order_relaxed);
}

bool rfi_tail_wait(rfi_tail *t, uint32_t *seen, uint32_t timeout_ms)
{
    int64_t end_us = rf_mono_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        uint32_t now = atomic_load_explicit(&t->page->moved, memory_order_acquire);
        if (now != *seen) {
            *seen = now;
            return true;
        }
        int64_t left_us = end_us - rf_mono_us();
        if (left_us <= 0)
            return false;
        struct timespec timeout = {left_us / 1000000, left_us % 1000000 * 1000};
        futex(&t->page->moved, FUTEX_WAIT, now, &timeout);
    }
}

void rfi_tail_close(rfi_tail **t)
{
    if (*t == NULL)
        return;
    munmap((*t)->page, sizeof(tail_page));
    free(*t);
    *t = NULL;
}
