/* What lies in a partition's directory. */
#include "log/recover_int.h"

#include <stdlib.h>

enum { DIGITS = 20, SEG_NAME = DIGITS + 4, KEY_NAME = 2 * DIGITS + 5 };

static bool number_read(const char *p, uint64_t *out)
{
    return rf_str_to_u64((rf_str){p, DIGITS}, out);
}

static void *room(void *list, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return list;
    *cap = *cap == 0 ? 16 : *cap * 2;
    return rf_xrealloc(list, *cap * size);
}

static void each_name(void *arg, const char *name)
{
    rfi_files *f = arg;
    rf_str s = rf_str_from(name);
    uint64_t base = 0, end = 0;
    if (s.n > 4 && memcmp(name + s.n - 4, ".tmp", 4) == 0) {
        f->leftovers = room(f->leftovers, f->leftovers_count, &f->leftovers_cap, sizeof(char *));
        f->leftovers[f->leftovers_count++] = rf_xstrdup(name);
    } else if (s.n == SEG_NAME && memcmp(name + DIGITS, ".seg", 4) == 0 &&
               number_read(name, &base)) {
        f->segments = room(f->segments, f->segments_count, &f->segments_cap, sizeof *f->segments);
        f->segments[f->segments_count++] = base;
    } else if (s.n == KEY_NAME && name[DIGITS] == '-' &&
               memcmp(name + KEY_NAME - 4, ".key", 4) == 0 && number_read(name, &base) &&
               number_read(name + DIGITS + 1, &end)) {
        f->keys = room(f->keys, f->keys_count, &f->keys_cap, sizeof *f->keys);
        f->keys[f->keys_count++] = (struct rfi_key_file){base, end};
    }
}

static int by_base(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int by_base_longer_first(const void *a, const void *b)
{
    const struct rfi_key_file *x = a, *y = b;
    if (x->base != y->base)
        return x->base < y->base ? -1 : 1;
    return (x->end < y->end) - (x->end > y->end);
}

rf_status rfi_files_list(rf_io *io, const char *dir, rfi_files *out, rf_err *err)
{
    *out = (rfi_files){0};
    rf_status st = io->list(io, dir, each_name, out, err);
    if (st != RF_OK) {
        rfi_files_clear(out);
        return st;
    }
    if (out->segments_count > 0)
        qsort(out->segments, out->segments_count, sizeof *out->segments, by_base);
    if (out->keys_count > 0)
        qsort(out->keys, out->keys_count, sizeof *out->keys, by_base_longer_first);
    return RF_OK;
}

void rfi_files_clear(rfi_files *f)
{
    for (size_t i = 0; i < f->leftovers_count; i++)
        free(f->leftovers[i]);
    free(f->leftovers);
    free(f->segments);
    free(f->keys);
    *f = (rfi_files){0};
}
