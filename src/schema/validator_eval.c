/*
 * Nodes over a value. Recursion follows the schema; its depth and the number of steps have limits,
 * so that no schema and no value together take for ever. When some schema says unevaluated*, each
 * applicator to the same value tells its caller which members or items it has looked at, as bits on
 * a stack that lives in the thread's working memory.
 */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "schema/validator_int.h"

#define STEPS_MAX 20000000u
#define DEPTH_MAX 2000u
#define SCOPE_MAX 2000u
#define PATH_MAX_SEGMENTS 1024u
#define MATCH_STEPS_MAX 200000u

typedef struct segment {
    yyjson_val *key; /* NULL: index */
    size_t index;
} segment;

struct rf_validation {
    uint64_t *bits; /* stack of bit sets */
    size_t bits_used, bits_cap;
    const rfi_resource **scope; /* dynamic scope, outermost first */
    size_t scope_count;
    segment *path;
    size_t path_count;
    void *sort; /* for uniqueItems */
    size_t sort_cap;
    pcre2_match_data *match;
    pcre2_match_context *match_context;
};

typedef struct run {
    const rf_validator *v;
    rf_validation *w;
    rf_violation *violation;
    unsigned quiet; /* inside anyOf, not, if, …: failures are not the answer */
    unsigned depth;
    uint32_t steps;
    bool stopped; /* a limit was reached: the answer is no */
} run;

/* Which members or items were looked at: `words` 64-bit words at `at` of the stack; words 0: nobody
 * asks. */
typedef struct seen {
    size_t at, words;
} seen;

rf_validation *rf_validation_new(void)
{
    rf_validation *w = rf_xcalloc(1, sizeof *w);

    w->bits_cap = 4096;
    w->bits = rf_xcalloc(w->bits_cap, sizeof *w->bits);
    w->scope = rf_xcalloc(SCOPE_MAX, sizeof *w->scope);
    w->path = rf_xcalloc(PATH_MAX_SEGMENTS, sizeof *w->path);
    w->match = pcre2_match_data_create(1, NULL);
    w->match_context = pcre2_match_context_create(NULL);
    RF_ASSERT(w->match != NULL && w->match_context != NULL);
    pcre2_set_match_limit(w->match_context, MATCH_STEPS_MAX);
    return w;
}

void rf_validation_free(rf_validation **work)
{
    rf_validation *w = *work;

    if (w == NULL)
        return;
    pcre2_match_data_free(w->match);
    pcre2_match_context_free(w->match_context);
    free(w->bits);
    free(w->scope);
    free(w->path);
    free(w->sort);
    free(w);
    *work = NULL;
}

/* ---- saying no
 * ------------------------------------------------------------------------------------ */

static void write_path(const rf_validation *w, char out[static 256])
{
    rf_buf b;
    char index[24];

    rf_buf_init(&b, 1u << 16);
    for (size_t i = 0; i < w->path_count && i < PATH_MAX_SEGMENTS; i++) {
        yyjson_val *key = w->path[i].key;

        snprintf(index, sizeof index, "%zu", w->path[i].index);
        rfi_schema_pointer_add(&b, key == NULL
                                       ? rf_str_from(index)
                                       : (rf_str){yyjson_get_str(key), yyjson_get_len(key)});
    }
    rf_str text = rfi_schema_shorten(rf_buf_str(&b), 255);

    memcpy(out, text.p == NULL ? "" : text.p, text.n);
    out[text.n] = '\0';
    rf_buf_clear(&b);
}

static bool no(run *r, const char *rule, const char *fmt, ...) RF_PRINTF(3, 4);

static bool no(run *r, const char *rule, const char *fmt, ...)
{
    va_list ap;

    if (r->quiet > 0 || r->violation == NULL || r->violation->rule[0] != '\0')
        return false;
    snprintf(r->violation->rule, sizeof r->violation->rule, "%s", rule);
    va_start(ap, fmt);
    vsnprintf(r->violation->detail, sizeof r->violation->detail, fmt, ap);
    va_end(ap);
    write_path(r->w, r->violation->path);
    return false;
}

static bool stop(run *r, const char *what)
{
    r->stopped = true;
    r->quiet = 0;
    return no(r, "too-complex", "the check was ended: %s", what);
}

/* ---- what was looked at
 * ------------------------------------------------------------------------------ */

static seen seen_open(run *r, size_t count)
{
    rf_validation *w = r->w;
    seen s = {w->bits_used, (count + 63) / 64};

    if (s.words == 0)
        s.words = 1;
    if (w->bits_used + s.words > w->bits_cap) {
        while (w->bits_used + s.words > w->bits_cap)
            w->bits_cap *= 2;
        w->bits = rf_xrealloc(w->bits, w->bits_cap * sizeof *w->bits);
    }
    memset(w->bits + s.at, 0, s.words * sizeof *w->bits);
    w->bits_used += s.words;
    return s;
}

static void seen_mark(run *r, seen s, size_t i)
{
    if (s.words > 0)
        r->w->bits[s.at + i / 64] |= (uint64_t)1 << (i % 64);
}

static bool seen_has(const run *r, seen s, size_t i)
{
    return (r->w->bits[s.at + i / 64] >> (i % 64)) & 1;
}

static void seen_merge(run *r, seen to, seen from)
{
    for (size_t i = 0; i < to.words; i++)
        r->w->bits[to.at + i] |= r->w->bits[from.at + i];
}

static bool eval(run *r, const rfi_node *n, yyjson_val *value, seen mine);

/* Evaluates a schema on the same value; what it saw counts only when it says yes. */
static bool eval_same(run *r, const rfi_node *n, yyjson_val *value, seen mine)
{
    if (mine.words == 0)
        return eval(r, n, value, mine);
    seen inner = seen_open(r, mine.words * 64);
    bool yes = eval(r, n, value, inner);

    if (yes)
        seen_merge(r, mine, inner);
    r->w->bits_used = inner.at;
    return yes;
}

static bool eval_quiet(run *r, const rfi_node *n, yyjson_val *value, seen mine)
{
    r->quiet++;
    bool yes = eval_same(r, n, value, mine);

    if (!r->stopped)
        r->quiet--;
    return yes;
}

/* A schema on a member or item. */
static bool eval_child(run *r, const rfi_node *n, yyjson_val *value, yyjson_val *key, size_t index)
{
    rf_validation *w = r->w;
    seen none = {0, 0};

    if (w->path_count < PATH_MAX_SEGMENTS)
        w->path[w->path_count] = (segment){key, index};
    w->path_count++;
    bool yes = eval(r, n, value, none);

    w->path_count--;
    return yes;
}

/* ---- strings, numbers
 * ------------------------------------------------------------------------------------ */

static size_t code_points(const char *p, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)p[i] & 0xC0) != 0x80;
    return count;
}

/* 1: matches, 0: does not, -1: took too many steps. */
static int matches(run *r, const pcre2_code *code, yyjson_val *text)
{
    int rc = pcre2_match(code, (PCRE2_SPTR)yyjson_get_str(text), yyjson_get_len(text), 0,
                         PCRE2_NO_UTF_CHECK, r->w->match, r->w->match_context);

    if (rc >= 0)
        return 1;
    return rc == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

static bool eval_string(run *r, const rfi_node *n, yyjson_val *v)
{
    if (n->min_length > 0 || n->max_length != UINT64_MAX) {
        size_t length = code_points(yyjson_get_str(v), yyjson_get_len(v));

        if (length < n->min_length)
            return no(r, "minLength", "%zu characters, at least %llu are needed", length,
                      (unsigned long long)n->min_length);
        if (length > n->max_length)
            return no(r, "maxLength", "%zu characters, at most %llu are allowed", length,
                      (unsigned long long)n->max_length);
    }
    if (n->pattern != NULL) {
        int m = matches(r, n->pattern, v);

        if (m < 0)
            return stop(r, "a pattern took too many steps");
        if (m == 0)
            return no(r, "pattern", "the string does not match %.*s",
                      RF_STR_ARG(rfi_schema_shorten(n->pattern_source, 180)));
    }
    return true;
}

static bool bound(run *r, const char *rule, yyjson_val *limit, const char *words)
{
    double d = 0;

    rfi_json_number(limit, &d);
    return no(r, rule, "the number must be %s %.17g", words, d);
}

static bool eval_number(run *r, const rfi_node *n, yyjson_val *v)
{
    if ((n->flags & RFI_HAS_MINIMUM) && rfi_json_compare_numbers(v, n->minimum) < 0)
        return bound(r, "minimum", n->minimum, "at least");
    if ((n->flags & RFI_HAS_MAXIMUM) && rfi_json_compare_numbers(v, n->maximum) > 0)
        return bound(r, "maximum", n->maximum, "at most");
    if ((n->flags & RFI_HAS_EXCLUSIVE_MINIMUM) &&
        rfi_json_compare_numbers(v, n->exclusive_minimum) <= 0)
        return bound(r, "exclusiveMinimum", n->exclusive_minimum, "more than");
    if ((n->flags & RFI_HAS_EXCLUSIVE_MAXIMUM) &&
        rfi_json_compare_numbers(v, n->exclusive_maximum) >= 0)
        return bound(r, "exclusiveMaximum", n->exclusive_maximum, "less than");
    if ((n->flags & RFI_HAS_MULTIPLE_OF) && !rfi_json_multiple_of(v, n->multiple_of))
        return bound(r, "multipleOf", n->multiple_of, "a multiple of");
    return true;
}

/* ---- arrays
 * -------------------------------------------------------------------------------------------------
 */

typedef struct hashed {
    uint64_t hash;
    yyjson_val *value;
} hashed;

static int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const hashed *)a)->hash, y = ((const hashed *)b)->hash;

    return (x > y) - (x < y);
}

static bool unique(run *r, yyjson_val *array)
{
    size_t count = yyjson_arr_size(array), i, n;
    yyjson_val *item;
    hashed *all;

    if (count < 2)
        return true;
    if (r->w->sort_cap < count) {
        r->w->sort_cap = count;
        r->w->sort = rf_xrealloc(r->w->sort, count * sizeof(hashed));
    }
    all = r->w->sort;
    yyjson_arr_foreach(array, i, n, item) all[i] = (hashed){rfi_json_hash(item), item};
    qsort(all, count, sizeof *all, by_hash);
    for (i = 1; i < count; i++) {
        for (size_t j = i; j-- > 0 && all[j].hash == all[i].hash;) {
            if (rfi_json_equal(all[i].value, all[j].value))
                return false;
        }
    }
    return true;
}

static bool eval_contains(run *r, const rfi_node *n, yyjson_val *array, seen mine)
{
    uint64_t found = 0;
    size_t i, count;
    yyjson_val *item;

    yyjson_arr_foreach(array, i, count, item)
    {
        r->quiet++;
        bool yes = eval_child(r, n->contains, item, NULL, i);

        if (r->stopped)
            return false;
        r->quiet--;
        if (yes) {
            found++;
            seen_mark(r, mine, i);
        }
    }
    if (found < n->min_contains)
        return no(r, n->min_contains == 1 ? "contains" : "minContains",
                  "%llu items match what the array must contain, at least %llu are needed",
                  (unsigned long long)found, (unsigned long long)n->min_contains);
    if (found > n->max_contains)
        return no(r, "maxContains", "%llu items match, at most %llu may", (unsigned long long)found,
                  (unsigned long long)n->max_contains);
    return true;
}

static bool eval_array(run *r, const rfi_node *n, yyjson_val *array, seen mine)
{
    size_t count = yyjson_arr_size(array), i, m;
    yyjson_val *item;

    if (count < n->min_items)
        return no(r, "minItems", "%zu items, at least %llu are needed", count,
                  (unsigned long long)n->min_items);
    if (count > n->max_items)
        return no(r, "maxItems", "%zu items, at most %llu are allowed", count,
                  (unsigned long long)n->max_items);
    if ((n->flags & RFI_UNIQUE_ITEMS) && !unique(r, array))
        return no(r, "uniqueItems", "two items are equal");
    if (n->prefix_items.count > 0 || n->items != NULL) {
        yyjson_arr_foreach(array, i, m, item)
        {
            const rfi_node *sub = i < n->prefix_items.count ? n->prefix_items.nodes[i] : n->items;

            if (sub == NULL)
                break;
            if (!eval_child(r, sub, item, NULL, i))
                return false;
            seen_mark(r, mine, i);
        }
    }
    return n->contains == NULL || eval_contains(r, n, array, mine);
}

/* ---- objects
 * ---------------------------------------------------------------------------------------------------
 */

static const rfi_property *find_property(const rfi_node *n, yyjson_val *key)
{
    if (n->property_slots == 0)
        return NULL;
    rf_str name = {yyjson_get_str(key), yyjson_get_len(key)};
    uint64_t hash = XXH3_64bits(name.p, name.n);
    uint32_t mask = n->property_slots - 1;

    for (uint32_t i = (uint32_t)hash & mask; n->properties[i].name.p != NULL; i = (i + 1) & mask) {
        if (n->properties[i].hash == hash && rf_str_eq(n->properties[i].name, name))
            return &n->properties[i];
    }
    return NULL;
}

static bool missing(run *r, const rfi_node *n, uint64_t found)
{
    for (uint32_t i = 0; i < n->property_slots; i++) {
        const rfi_property *p = &n->properties[i];

        if (p->name.p != NULL && p->required_bit >= 0 && !((found >> p->required_bit) & 1))
            return no(r, "required", "the property \"%.*s\" is missing",
                      RF_STR_ARG(rfi_schema_shorten(p->name, 180)));
    }
    return false;
}

static bool eval_member(run *r, const rfi_node *n, yyjson_val *key, yyjson_val *value, size_t i,
                        const rfi_property *p, seen mine)
{
    bool matched = false;

    if (p != NULL && p->node != NULL) {
        matched = true;
        if (!eval_child(r, p->node, value, key, 0))
            return false;
    }
    for (uint32_t k = 0; k < n->pattern_count; k++) {
        int m = matches(r, n->patterns[k].code, key);

        if (m < 0)
            return stop(r, "a pattern took too many steps");
        if (m == 0)
            continue;
        matched = true;
        if (!eval_child(r, n->patterns[k].node, value, key, 0))
            return false;
    }
    if (!matched && n->additional_properties != NULL) {
        matched = true;
        if (n->additional_properties->flags & RFI_FALSE)
            return no(r, "additionalProperties", "the property \"%.*s\" is not allowed",
                      (int)RF_MIN(yyjson_get_len(key), (size_t)180), yyjson_get_str(key));
        if (!eval_child(r, n->additional_properties, value, key, 0))
            return false;
    }
    if (matched)
        seen_mark(r, mine, i);
    return true;
}

static bool eval_object(run *r, const rfi_node *n, yyjson_val *object, seen mine)
{
    size_t count = yyjson_obj_size(object), i, m;
    yyjson_val *key, *value;
    uint64_t found = 0;
    seen none = {0, 0};

    if (count < n->min_properties)
        return no(r, "minProperties", "%zu properties, at least %llu are needed", count,
                  (unsigned long long)n->min_properties);
    if (count > n->max_properties)
        return no(r, "maxProperties", "%zu properties, at most %llu are allowed", count,
                  (unsigned long long)n->max_properties);
    RFI_OBJECT_EACH(object, i, m, key, value)
    {
        const rfi_property *p = find_property(n, key);

        if (p != NULL && p->required_bit >= 0)
            found |= (uint64_t)1 << p->required_bit;
        if (n->property_names != NULL && !eval(r, n->property_names, key, none))
            return no(r, "propertyNames", "the name \"%.*s\" is not allowed",
                      (int)RF_MIN(yyjson_get_len(key), (size_t)180), yyjson_get_str(key));
        if (!eval_member(r, n, key, value, i, p, mine))
            return false;
    }
    if ((found & n->required_mask) != n->required_mask)
        return missing(r, n, found);
    yyjson_arr_foreach(n->required_rest, i, m, value)
    {
        if (yyjson_obj_getn(object, yyjson_get_str(value), yyjson_get_len(value)) == NULL)
            return no(r, "required", "the property \"%.*s\" is missing",
                      (int)RF_MIN(yyjson_get_len(value), (size_t)180), yyjson_get_str(value));
    }
    return true;
}

static bool eval_dependencies(run *r, const rfi_node *n, yyjson_val *object, seen mine)
{
    for (uint32_t k = 0; k < n->dependency_count; k++) {
        const rfi_dependency *d = &n->dependencies[k];
        yyjson_val *name;
        size_t i, m;

        if (yyjson_obj_getn(object, d->name.p, d->name.n) == NULL)
            continue;
        if (d->node != NULL && !eval_same(r, d->node, object, mine))
            return false;
        yyjson_arr_foreach(d->required, i, m, name)
        {
            if (yyjson_obj_getn(object, yyjson_get_str(name), yyjson_get_len(name)) == NULL)
                return no(r, "dependentRequired", "with \"%.*s\" the property \"%.*s\" is needed",
                          RF_STR_ARG(rfi_schema_shorten(d->name, 80)),
                          (int)RF_MIN(yyjson_get_len(name), (size_t)80), yyjson_get_str(name));
        }
    }
    return true;
}

/* ---- the same value
 * ---------------------------------------------------------------------------------------------- */

/* $dynamicRef: the outermost resource of the dynamic scope that has the anchor decides. */
static const rfi_node *dynamic_target(const run *r, const rfi_node *n)
{
    const rfi_anchor *first = n->dynamic_anchor;

    if (first == NULL)
        return n->dynamic_reference;
    for (size_t i = 0; i < r->w->scope_count; i++) {
        for (const rfi_anchor *a = r->v->anchors; a != NULL; a = a->next) {
            if (a->dynamic && a->resource == r->w->scope[i] && rf_str_eq(a->name, first->name))
                return a->node;
        }
    }
    return n->dynamic_reference;
}

static bool eval_any_of(run *r, const rfi_node *n, yyjson_val *v, seen mine)
{
    bool any = false;

    for (uint32_t i = 0; i < n->any_of.count; i++) {
        any |= eval_quiet(r, n->any_of.nodes[i], v, mine);
        if (r->stopped)
            return false;
        if (any && mine.words == 0)
            return true;
    }
    return any || no(r, "anyOf", "none of the %u alternatives fits", n->any_of.count);
}

static bool eval_one_of(run *r, const rfi_node *n, yyjson_val *v, seen mine)
{
    uint32_t fits = 0;

    for (uint32_t i = 0; i < n->one_of.count; i++) {
        fits += eval_quiet(r, n->one_of.nodes[i], v, mine);
        if (r->stopped)
            return false;
    }
    if (fits == 1)
        return true;
    return no(r, "oneOf", "%u of the %u alternatives fit, exactly one must", fits, n->one_of.count);
}

static bool eval_if(run *r, const rfi_node *n, yyjson_val *v, seen mine)
{
    bool yes = eval_quiet(r, n->if_schema, v, mine);
    const rfi_node *next = yes ? n->then_schema : n->else_schema;

    if (r->stopped)
        return false;
    return next == NULL || eval_same(r, next, v, mine);
}

static bool eval_in_place(run *r, const rfi_node *n, yyjson_val *v, seen mine)
{
    if (n->reference != NULL && !eval_same(r, n->reference, v, mine))
        return false;
    if (n->dynamic_reference != NULL && !eval_same(r, dynamic_target(r, n), v, mine))
        return false;
    for (uint32_t i = 0; i < n->all_of.count; i++) {
        if (!eval_same(r, n->all_of.nodes[i], v, mine))
            return false;
    }
    if (n->any_of.count > 0 && !eval_any_of(r, n, v, mine))
        return false;
    if (n->one_of.count > 0 && !eval_one_of(r, n, v, mine))
        return false;
    if (n->not_schema != NULL) {
        seen none = {0, 0};
        /* What a schema under `not` saw never counts, but inside it unevaluated* must still work.
         */
        seen own = mine.words > 0 ? seen_open(r, mine.words * 64) : none;
        bool yes = eval_quiet(r, n->not_schema, v, own);

        if (own.words > 0)
            r->w->bits_used = own.at;
        if (r->stopped)
            return false;
        if (yes)
            return no(r, "not", "the value fits a schema that it must not fit");
    }
    if (n->if_schema != NULL && !eval_if(r, n, v, mine))
        return false;
    return !yyjson_is_obj(v) || eval_dependencies(r, n, v, mine);
}

static bool eval_unevaluated(run *r, const rfi_node *n, yyjson_val *v, seen mine)
{
    size_t i, count;
    yyjson_val *key, *value;

    if (n->unevaluated_properties != NULL && yyjson_is_obj(v)) {
        RFI_OBJECT_EACH(v, i, count, key, value)
        {
            if (seen_has(r, mine, i))
                continue;
            if (!eval_child(r, n->unevaluated_properties, value, key, 0))
                return no(r, "unevaluatedProperties", "the property \"%.*s\" is not allowed",
                          (int)RF_MIN(yyjson_get_len(key), (size_t)180), yyjson_get_str(key));
            seen_mark(r, mine, i);
        }
    }
    if (n->unevaluated_items != NULL && yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, count, value)
        {
            if (seen_has(r, mine, i))
                continue;
            if (!eval_child(r, n->unevaluated_items, value, NULL, i))
                return no(r, "unevaluatedItems", "item %zu is not allowed", i);
            seen_mark(r, mine, i);
        }
    }
    return true;
}

/* ---- a schema
 * ----------------------------------------------------------------------------------------------------
 */

static unsigned types_of(yyjson_val *v)
{
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_NULL:
        return RFI_JSON_NULL;
    case YYJSON_TYPE_BOOL:
        return RFI_JSON_BOOLEAN;
    case YYJSON_TYPE_STR:
        return RFI_JSON_STRING;
    case YYJSON_TYPE_ARR:
        return RFI_JSON_ARRAY;
    case YYJSON_TYPE_OBJ:
        return RFI_JSON_OBJECT;
    default:
        return rfi_json_is_integer(v) ? RFI_JSON_INTEGER | RFI_JSON_NUMBER : RFI_JSON_NUMBER;
    }
}

static bool eval_any(run *r, const rfi_node *n, yyjson_val *v, unsigned types)
{
    yyjson_val *one;
    size_t i, m;

    if (n->types != 0 && (n->types & types) == 0)
        return no(r, "type", "the value is of another type than the schema says");
    if ((n->flags & RFI_HAS_CONST) && !rfi_json_equal(v, n->constant))
        return no(r, "const", "the value is not the one that it must be");
    if (n->enumeration == NULL)
        return true;
    yyjson_arr_foreach(n->enumeration, i, m, one)
    {
        if (rfi_json_equal(v, one))
            return true;
    }
    return no(r, "enum", "the value is none of the %zu allowed ones",
              yyjson_arr_size(n->enumeration));
}

static bool eval_rules(run *r, const rfi_node *n, yyjson_val *v, seen mine)
{
    unsigned types = types_of(v);

    if (!eval_any(r, n, v, types))
        return false;
    if ((types & RFI_JSON_NUMBER) && !eval_number(r, n, v))
        return false;
    if ((types & RFI_JSON_STRING) && (n->flags & RFI_HAS_STRING_RULES) && !eval_string(r, n, v))
        return false;
    if ((types & RFI_JSON_ARRAY) && (n->flags & RFI_HAS_ARRAY_RULES) && !eval_array(r, n, v, mine))
        return false;
    if ((types & RFI_JSON_OBJECT) && (n->flags & RFI_HAS_OBJECT_RULES) &&
        !eval_object(r, n, v, mine))
        return false;
    if ((n->flags & RFI_IN_PLACE) && !eval_in_place(r, n, v, mine))
        return false;
    if (n->unevaluated_properties == NULL && n->unevaluated_items == NULL)
        return true;
    return eval_unevaluated(r, n, v, mine);
}

static bool eval(run *r, const rfi_node *n, yyjson_val *v, seen mine)
{
    rf_validation *w = r->w;
    size_t scope = w->scope_count, bits = w->bits_used;
    bool yes;

    if (n->flags & RFI_FALSE)
        return no(r, "false", "nothing is allowed here");
    if (++r->steps > STEPS_MAX)
        return stop(r, "too many steps");
    if (++r->depth > DEPTH_MAX || scope == SCOPE_MAX)
        return stop(r, "the schema refers to itself too often");
    if (scope == 0 || w->scope[scope - 1] != n->resource)
        w->scope[w->scope_count++] = n->resource;
    /* A schema that asks what is unevaluated needs the bits even when its caller does not. */
    if (r->v->tracks && mine.words == 0 &&
        (n->unevaluated_properties != NULL || n->unevaluated_items != NULL))
        mine = seen_open(r, yyjson_is_obj(v)   ? yyjson_obj_size(v)
                            : yyjson_is_arr(v) ? yyjson_arr_size(v)
                                               : 0);
    yes = eval_rules(r, n, v, mine);
    w->scope_count = scope;
    w->bits_used = bits;
    r->depth--;
    return yes;
}

bool rf_validator_check(const rf_validator *v, rf_validation *work, yyjson_val *value,
                        rf_violation *violation)
{
    run r = {.v = v, .w = work, .violation = violation};
    seen none = {0, 0};

    work->bits_used = 0;
    work->scope_count = 0;
    work->path_count = 0;
    if (violation != NULL)
        *violation = (rf_violation){0};
    return eval(&r, v->root, value, none);
}
