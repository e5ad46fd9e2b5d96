/* Projections that are as the test says, in place of the real ones: the linker takes these. */
#ifndef RF_TESTS_FAKE_PROJECTIONS_H
#define RF_TESTS_FAKE_PROJECTIONS_H

#include "projection/projection.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

typedef struct fake_projection {
    const char *name;
    bool building;
    _Atomic uint64_t next; /* applied so far, of default/0 */
    bool halted;
} fake_projection;

struct rf_projections {
    fake_projection items[3];
    const char *types[3];
};

static inline fake_projection *fake_find(rf_projections *p, rf_str name)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(p->items); i++) {
        const char *have = p->items[i].name;

        if (have != NULL && rf_str_eq(rf_str_from(have), name))
            return &p->items[i];
    }
    return NULL;
}

bool rf_projections_is_relation(rf_projections *p, rf_str name)
{
    fake_projection *f = fake_find(p, name);

    return f != NULL && !f->building;
}

rf_status rf_projections_ready(rf_projections *p, rf_str name, rf_err *err)
{
    fake_projection *f = fake_find(p, name);

    if (f == NULL)
        return rf_err_set(err, RF_ENOTFOUND, "no projection");
    return f->building ? rf_err_set(err, RF_EBUSY, "projection %s is being built: 10 %%", f->name)
                       : RF_OK;
}

void rf_projections_position(rf_projections *p, rf_str name, rf_position *out)
{
    rf_position_raise(out, RF_STR("default"), 0, atomic_load(&fake_find(p, name)->next));
    rf_position_raise(out, RF_STR("default"), 1, 1000000);
}

rf_status rf_projections_wait(rf_projections *p, const rf_str *names, size_t count,
                              const rf_position *position, int64_t deadline_mono_us, rf_err *err)
{
    for (size_t i = 0; i < count;) {
        fake_projection *f = fake_find(p, names[i]);

        if (atomic_load(&f->next) >= rf_position_get(position, RF_STR("default"), 0)) {
            i++;
            continue;
        }
        if (f->halted)
            return rf_err_set(err, RF_ECANCELED, "projection %s is halted", f->name);
        if (rf_mono_us() >= deadline_mono_us)
            return rf_err_set(err, RF_ETIMEOUT, "not there yet");
        usleep(1000);
    }
    return RF_OK;
}

bool rf_projections_type_known(rf_projections *p, rf_str type, rf_buf *nearest)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(p->types); i++) {
        if (p->types[i] != NULL && rf_str_eq(type, rf_str_from(p->types[i])))
            return true;
    }
    if (nearest != NULL)
        rf_buf_add_cstr(nearest, "\"flight.landed\"");
    return false;
}

void rf_projections_each(rf_projections *p, void (*each)(void *arg, const rf_projection_stats *s),
                         void *arg)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(p->items); i++) {
        rf_projection_stats s = {.name = p->items[i].name};

        if (s.name != NULL)
            each(arg, &s);
    }
}

#endif
