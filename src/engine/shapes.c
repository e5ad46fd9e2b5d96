/*
 * Event types the engine knows: those with columns, and those seen. Replaced columns stay alive
 * until close, because statements that were prepared with them may still run.
 */
#include "engine/engine_int.h"

typedef struct shape {
    char *type;
    rf_columns *columns; /* in force; NULL: seen, but `data` is JSON */
} shape;

struct rfi_shapes {
    pthread_mutex_t lock;
    shape *items; /* sorted by type */
    size_t count, cap;
    rf_columns **retired;
    size_t retired_count;
};

rfi_shapes *rfi_shapes_new(void)
{
    rfi_shapes *s = rf_xcalloc(1, sizeof(*s));

    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void rfi_shapes_free(rfi_shapes **shapes)
{
    rfi_shapes *s = *shapes;

    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        free(s->items[i].type);
        rf_columns_free(&s->items[i].columns);
    }
    for (size_t i = 0; i < s->retired_count; i++)
        rf_columns_free(&s->retired[i]);
    free(s->items);
    free(s->retired);
    pthread_mutex_destroy(&s->lock);
    free(s);
    *shapes = NULL;
}

/* Index of the type, or where it would be. */
static size_t find(const rfi_shapes *s, rf_str type, bool *found)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = rf_str_cmp(rf_str_from(s->items[middle].type), type);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static shape *find_or_add(rfi_shapes *s, rf_str type)
{
    bool found;
    size_t at = find(s, type, &found);

    if (found)
        return &s->items[at];
    if (s->count == s->cap) {
        s->cap = s->cap > 0 ? s->cap * 2 : 16;
        s->items = rf_xrealloc(s->items, s->cap * sizeof(*s->items));
    }
    memmove(&s->items[at + 1], &s->items[at], (s->count - at) * sizeof(*s->items));
    s->items[at] = (shape){.type = rf_xstrndup(type)};
    s->count++;
    return &s->items[at];
}

void rf_engine_set_columns(rf_engine *engine, rf_columns *columns)
{
    rfi_shapes *s = engine->shapes;
    shape *item;

    pthread_mutex_lock(&s->lock);
    item = find_or_add(s, rf_str_from(columns->type));
    if (item->columns != NULL) {
        s->retired = rf_xrealloc(s->retired, (s->retired_count + 1) * sizeof(rf_columns *));
        s->retired[s->retired_count++] = item->columns;
    }
    item->columns = columns;
    pthread_mutex_unlock(&s->lock);
}

const rf_columns *rf_engine_columns(rf_engine *engine, rf_str type)
{
    rfi_shapes *s = engine->shapes;
    const rf_columns *columns = NULL;
    bool found;
    size_t at;

    pthread_mutex_lock(&s->lock);
    at = find(s, type, &found);
    if (found)
        columns = s->items[at].columns;
    pthread_mutex_unlock(&s->lock);
    return columns;
}

void rf_engine_add_type(rf_engine *engine, rf_str type)
{
    pthread_mutex_lock(&engine->shapes->lock);
    find_or_add(engine->shapes, type);
    pthread_mutex_unlock(&engine->shapes->lock);
}

bool rf_engine_has_type(rf_engine *engine, rf_str type)
{
    bool found;

    pthread_mutex_lock(&engine->shapes->lock);
    find(engine->shapes, type, &found);
    pthread_mutex_unlock(&engine->shapes->lock);
    return found;
}
