/*
 * Keywords to nodes. A node is made once per schema and entered into the table before its keywords
 * are read, so that schemas which refer to themselves compile to cycles and not for ever.
 */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "schema/validator_int.h"

#define DEPTH_MAX 1000u

typedef struct compiler {
    rf_validator *v;
    yyjson_val *schema;
    const rfi_resource *in;
    rfi_node *node;
    rf_err *err;
    rf_status st;
} compiler;

static rf_str str_of(yyjson_val *v)
{
    return (rf_str){yyjson_get_str(v), yyjson_get_len(v)};
}

static void fail(compiler *c, const char *keyword, const char *what)
{
    if (c->st == RF_OK)
        c->st = rf_err_set(c->err, RF_EINVAL, "%s: %s", keyword, what);
}

static void *take(compiler *c, size_t bytes)
{
    void *p = rf_arena_alloc(c->v->arena, bytes);

    if (p == NULL) {
        if (c->st == RF_OK)
            c->st = rf_err_set(c->err, RF_ENOMEM, "out of memory while compiling a schema");
        return NULL;
    }
    memset(p, 0, bytes);
    return p;
}

/* The value of a keyword that must be of some kind; NULL when absent or wrong. */
static yyjson_val *keyword(compiler *c, const char *name, bool (*is)(yyjson_val *),
                           const char *kind)
{
    yyjson_val *value = yyjson_obj_get(c->schema, name);

    if (value == NULL || is(value))
        return value;
    fail(c, name, kind);
    return NULL;
}

static bool is_number(yyjson_val *v)
{
    return yyjson_is_num(v) || yyjson_is_raw(v);
}

static bool is_object(yyjson_val *v)
{
    return yyjson_is_obj(v);
}

static bool is_array(yyjson_val *v)
{
    return yyjson_is_arr(v);
}

static bool is_string(yyjson_val *v)
{
    return yyjson_is_str(v);
}

static uint64_t count_keyword(compiler *c, const char *name, uint64_t absent, uint32_t flag)
{
    yyjson_val *value = keyword(c, name, is_number, "must be a number");
    double d = 0;

    if (value == NULL)
        return absent;
    rfi_json_number(value, &d);
    if (d < 0 || !rfi_json_is_integer(value)) {
        fail(c, name, "must be a whole number, 0 or more");
        return absent;
    }
    c->node->flags |= flag;
    return d > 1e18 ? (uint64_t)1e18 : (uint64_t)d;
}

static void child(compiler *c, yyjson_val *schema, const char *name, rfi_node **out)
{
    if (c->st != RF_OK || schema == NULL)
        return;
    c->st = rfi_validator_compile(c->v, schema, c->in, out, c->err);
    if (c->st != RF_OK)
        rf_err_note(c->err, "%s", name);
}

static void keyword_child(compiler *c, const char *name, rfi_node **out)
{
    child(c, yyjson_obj_get(c->schema, name), name, out);
}

static void keyword_list(compiler *c, const char *name, rfi_list *out)
{
    yyjson_val *list = keyword(c, name, is_array, "must be an array of schemas");
    yyjson_val *item;
    size_t i, n;

    if (list == NULL || c->st != RF_OK)
        return;
    if (yyjson_arr_size(list) == 0) {
        fail(c, name, "must not be empty");
        return;
    }
    out->nodes = take(c, yyjson_arr_size(list) * sizeof *out->nodes);
    yyjson_arr_foreach(list, i, n, item)
    {
        if (c->st == RF_OK)
            child(c, item, name, &out->nodes[out->count++]);
    }
}

/* ---- patterns -----------------------------------------------------------------------------------
 */

static pcre2_code *compile_pattern(compiler *c, const char *name, yyjson_val *source)
{
    /* ECMA-262 as near as PCRE2 comes to it; a step limit ends what backtracks too much. */
    const uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_MATCH_UNSET_BACKREF |
                             PCRE2_ALLOW_EMPTY_CLASS | PCRE2_NEVER_BACKSLASH_C | PCRE2_ALT_BSUX;
    int why = 0;
    PCRE2_SIZE at = 0;
    char text[120], message[240];
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);

    if (context == NULL) {
        c->st = rf_err_set(c->err, RF_ENOMEM, "out of memory while compiling a schema");
        return NULL;
    }
    pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)yyjson_get_str(source), yyjson_get_len(source),
                                     options, &why, &at, context);

    pcre2_compile_context_free(context);
    if (code == NULL) {
        pcre2_get_error_message(why, (PCRE2_UCHAR *)text, sizeof text);
        snprintf(message, sizeof message, "not a regular expression: %s at character %zu", text,
                 at);
        fail(c, name, message);
        return NULL;
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* where there is none the interpreter does it */
    c->v->patterns =
        rf_xrealloc(c->v->patterns, (c->v->pattern_count + 1) * sizeof *c->v->patterns);
    c->v->patterns[c->v->pattern_count++] = code;
    return code;
}

/* ---- objects
 * -------------------------------------------------------------------------------------- */

static rfi_property *slot_of(rfi_node *node, rf_str name)
{
    uint64_t hash = XXH3_64bits(name.p, name.n);
    uint32_t mask = node->property_slots - 1;

    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        rfi_property *p = &node->properties[i];

        if (p->name.p == NULL) {
            p->name = name;
            p->hash = hash;
            p->required_bit = -1;
            return p;
        }
        if (p->hash == hash && rf_str_eq(p->name, name))
            return p;
    }
}

/* properties and required share one table: a member is looked up once. */
static void compile_properties(compiler *c)
{
    yyjson_val *properties = keyword(c, "properties", is_object, "must be an object");
    yyjson_val *required =
        c->in->no_validation ? NULL : keyword(c, "required", is_array, "must be an array of names");
    size_t count = yyjson_obj_size(properties) + yyjson_arr_size(required), i, n;
    yyjson_val *key, *value;
    unsigned bits = 0;

    if (c->st != RF_OK || (properties == NULL && yyjson_arr_size(required) == 0))
        return;
    c->node->property_slots = 8;
    while (c->node->property_slots < 2 * count)
        c->node->property_slots *= 2;
    c->node->properties = take(c, c->node->property_slots * sizeof *c->node->properties);
    if (c->st != RF_OK)
        return;
    c->node->flags |= RFI_HAS_OBJECT_RULES;
    RFI_OBJECT_EACH(properties, i, n, key, value)
    {
        rfi_node *sub = NULL;

        child(c, value, "properties", &sub);
        if (c->st != RF_OK)
            return;
        slot_of(c->node, str_of(key))->node = sub;
    }
    if (yyjson_arr_size(required) > 64)
        c->node->required_rest = required;
    yyjson_arr_foreach(required, i, n, value)
    {
        if (!yyjson_is_str(value)) {
            fail(c, "required", "must be an array of names");
            return;
        }
        rfi_property *p = slot_of(c->node, str_of(value));

        if (c->node->required_rest == NULL && p->required_bit < 0) {
            p->required_bit = (int)bits;
            c->node->required_mask |= (uint64_t)1 << bits++;
        }
    }
}

static void compile_patterns(compiler *c)
{
    yyjson_val *map = keyword(c, "patternProperties", is_object, "must be an object of schemas");
    yyjson_val *key, *value;
    size_t i, n;

    if (map == NULL || c->st != RF_OK)
        return;
    c->node->patterns = take(c, (yyjson_obj_size(map) + 1) * sizeof *c->node->patterns);
    RFI_OBJECT_EACH(map, i, n, key, value)
    {
        if (c->st != RF_OK)
            return;
        rfi_pattern *p = &c->node->patterns[c->node->pattern_count++];

        p->source = str_of(key);
        p->code = compile_pattern(c, "patternProperties", key);
        child(c, value, "patternProperties", &p->node);
    }
    c->node->flags |= RFI_HAS_OBJECT_RULES;
}

static void compile_dependencies(compiler *c)
{
    yyjson_val *names = c->in->no_validation ? NULL
                                             : keyword(c, "dependentRequired", is_object,
                                                       "must be an object of arrays of names");
    yyjson_val *schemas = keyword(c, "dependentSchemas", is_object, "must be an object of schemas");
    size_t count = yyjson_obj_size(names) + yyjson_obj_size(schemas), i, n;
    yyjson_val *key, *value;

    if (count == 0 || c->st != RF_OK)
        return;
    c->node->dependencies = take(c, count * sizeof *c->node->dependencies);
    if (c->st != RF_OK)
        return;
    RFI_OBJECT_EACH(names, i, n, key, value)
    {
        if (!yyjson_is_arr(value))
            fail(c, "dependentRequired", "must be an object of arrays of names");
        c->node->dependencies[c->node->dependency_count++] =
            (rfi_dependency){str_of(key), value, NULL};
    }
    RFI_OBJECT_EACH(schemas, i, n, key, value)
    {
        rfi_dependency *d = &c->node->dependencies[c->node->dependency_count++];

        d->name = str_of(key);
        child(c, value, "dependentSchemas", &d->node);
    }
    c->node->flags |= RFI_IN_PLACE;
}

static void compile_object(compiler *c)
{
    rfi_node *n = c->node;

    compile_properties(c);
    compile_patterns(c);
    keyword_child(c, "additionalProperties", &n->additional_properties);
    keyword_child(c, "propertyNames", &n->property_names);
    keyword_child(c, "unevaluatedProperties", &n->unevaluated_properties);
    compile_dependencies(c);
    n->min_properties = 0;
    n->max_properties = UINT64_MAX;
    if (!c->in->no_validation) {
        n->min_properties = count_keyword(c, "minProperties", 0, RFI_HAS_OBJECT_RULES);
        n->max_properties = count_keyword(c, "maxProperties", UINT64_MAX, RFI_HAS_OBJECT_RULES);
    }
    if (n->additional_properties != NULL || n->property_names != NULL ||
        n->unevaluated_properties != NULL)
        n->flags |= RFI_HAS_OBJECT_RULES;
}

/* ---- arrays, strings, numbers
 * ---------------------------------------------------------------------- */

static void compile_array(compiler *c)
{
    rfi_node *n = c->node;

    keyword_list(c, "prefixItems", &n->prefix_items);
    keyword_child(c, "items", &n->items);
    keyword_child(c, "contains", &n->contains);
    keyword_child(c, "unevaluatedItems", &n->unevaluated_items);
    n->min_contains = 1;
    n->max_contains = UINT64_MAX;
    n->max_items = UINT64_MAX;
    if (!c->in->no_validation) {
        n->min_contains = count_keyword(c, "minContains", 1, 0);
        n->max_contains = count_keyword(c, "maxContains", UINT64_MAX, 0);
        n->min_items = count_keyword(c, "minItems", 0, RFI_HAS_ARRAY_RULES);
        n->max_items = count_keyword(c, "maxItems", UINT64_MAX, RFI_HAS_ARRAY_RULES);
        if (yyjson_is_true(yyjson_obj_get(c->schema, "uniqueItems")))
            n->flags |= RFI_UNIQUE_ITEMS | RFI_HAS_ARRAY_RULES;
    }
    if (n->prefix_items.count > 0 || n->items != NULL || n->contains != NULL ||
        n->unevaluated_items != NULL)
        n->flags |= RFI_HAS_ARRAY_RULES;
}

static void compile_string(compiler *c)
{
    yyjson_val *pattern = keyword(c, "pattern", is_string, "must be a string");

    c->node->max_length = UINT64_MAX;
    if (c->in->no_validation)
        return;
    c->node->min_length = count_keyword(c, "minLength", 0, RFI_HAS_STRING_RULES);
    c->node->max_length = count_keyword(c, "maxLength", UINT64_MAX, RFI_HAS_STRING_RULES);
    if (pattern != NULL && c->st == RF_OK) {
        c->node->pattern = compile_pattern(c, "pattern", pattern);
        c->node->pattern_source = str_of(pattern);
        c->node->flags |= RFI_HAS_STRING_RULES;
    }
}

static void compile_number(compiler *c)
{
    const struct {
        const char *name;
        yyjson_val **to;
        uint32_t flag;
    } bounds[] = {{"minimum", &c->node->minimum, RFI_HAS_MINIMUM},
                  {"maximum", &c->node->maximum, RFI_HAS_MAXIMUM},
                  {"exclusiveMinimum", &c->node->exclusive_minimum, RFI_HAS_EXCLUSIVE_MINIMUM},
                  {"exclusiveMaximum", &c->node->exclusive_maximum, RFI_HAS_EXCLUSIVE_MAXIMUM},
                  {"multipleOf", &c->node->multiple_of, RFI_HAS_MULTIPLE_OF}};
    double d = 0;

    if (c->in->no_validation)
        return;
    for (size_t i = 0; i < RF_ARRAY_LEN(bounds); i++) {
        *bounds[i].to = keyword(c, bounds[i].name, is_number, "must be a number");
        if (*bounds[i].to != NULL)
            c->node->flags |= bounds[i].flag;
    }
    if (c->node->multiple_of != NULL && rfi_json_number(c->node->multiple_of, &d) && !(d > 0))
        fail(c, "multipleOf", "must be greater than 0");
}

static void compile_any(compiler *c)
{
    rf_err err = {0};

    if (c->in->no_validation)
        return;
    if (c->st == RF_OK &&
        rfi_schema_json_types(c->schema, RF_STR(""), &c->node->types, &err) != RF_OK)
        fail(c, "type", err.text);
    c->node->enumeration = keyword(c, "enum", is_array, "must be an array");
    c->node->constant = yyjson_obj_get(c->schema, "const");
    if (c->node->constant != NULL)
        c->node->flags |= RFI_HAS_CONST;
}

/* ---- the same value
 * ----------------------------------------------------------------------------------- */

static void compile_reference(compiler *c, const char *name, rfi_node **out)
{
    yyjson_val *reference = keyword(c, name, is_string, "must be a string");
    yyjson_val *schema = NULL;
    const rfi_resource *in = NULL;
    rfi_anchor *dynamic = NULL;

    if (reference == NULL || c->st != RF_OK)
        return;
    c->st = rfi_validator_find(c->v, c->in, str_of(reference), &schema, &in, &dynamic, c->err);
    if (c->st == RF_OK)
        c->st = rfi_validator_compile(c->v, schema, in, out, c->err);
    if (c->st == RF_OK && dynamic != NULL && strcmp(name, "$dynamicRef") == 0)
        c->node->dynamic_anchor = dynamic;
}

static void compile_in_place(compiler *c)
{
    rfi_node *n = c->node;

    compile_reference(c, "$ref", &n->reference);
    compile_reference(c, "$dynamicRef", &n->dynamic_reference);
    keyword_list(c, "allOf", &n->all_of);
    keyword_list(c, "anyOf", &n->any_of);
    keyword_list(c, "oneOf", &n->one_of);
    keyword_child(c, "not", &n->not_schema);
    keyword_child(c, "if", &n->if_schema);
    if (n->if_schema != NULL) {
        keyword_child(c, "then", &n->then_schema);
        keyword_child(c, "else", &n->else_schema);
    }
    if (n->reference != NULL || n->dynamic_reference != NULL || n->all_of.count > 0 ||
        n->any_of.count > 0 || n->one_of.count > 0 || n->not_schema != NULL || n->if_schema != NULL)
        n->flags |= RFI_IN_PLACE;
    if (n->unevaluated_properties != NULL || n->unevaluated_items != NULL)
        c->v->tracks = true;
}

/* ---- the table of nodes
 * ---------------------------------------------------------------------------------- */

static size_t slot_for(const rf_validator *v, yyjson_val *schema)
{
    size_t mask = v->compiled_slots - 1;
    size_t i = (size_t)(((uintptr_t)schema >> 4) * 0x9E3779B97F4A7C15u >> 20) & mask;

    while (v->compiled[i].schema != NULL && v->compiled[i].schema != schema)
        i = (i + 1) & mask;
    return i;
}

static void grow(rf_validator *v)
{
    rfi_compiled *old = v->compiled;
    size_t slots = v->compiled_slots;

    v->compiled_slots = slots == 0 ? 64 : slots * 2;
    v->compiled = rf_xcalloc(v->compiled_slots, sizeof *v->compiled);
    for (size_t i = 0; i < slots; i++) {
        if (old[i].schema != NULL)
            v->compiled[slot_for(v, old[i].schema)] = old[i];
    }
    free(old);
}

/* Schemas with an $id are in the resource of that $id, whoever refers to them. */
static rf_status resource_of(rf_validator *v, yyjson_val *schema, const rfi_resource **in,
                             rf_err *err)
{
    rf_str self = {"", 0};
    yyjson_val *id = yyjson_obj_get(schema, "$id");
    yyjson_val *found = NULL;
    rfi_anchor *dynamic = NULL;
    rf_str without, fragment;

    if (!yyjson_is_str(id))
        return RF_OK;
    if ((*in)->root == schema) {
        *in = (*in)->own != NULL ? (*in)->own : *in;
        return RF_OK;
    }
    self = str_of(id);
    rfi_uri_split_fragment(self, &without, &fragment);
    return rfi_validator_find(v, *in, without, &found, in, &dynamic, err);
}

rf_status rfi_validator_compile(rf_validator *v, yyjson_val *schema, const rfi_resource *resource,
                                rfi_node **out, rf_err *err)
{
    compiler c = {.v = v, .schema = schema, .in = resource, .err = err};

    if (!yyjson_is_obj(schema) && !yyjson_is_bool(schema))
        return rf_err_set(err, RF_EINVAL, "a schema must be an object, true or false");
    if (v->compiled_count * 2 >= v->compiled_slots)
        grow(v);
    size_t slot = slot_for(v, schema);

    if (v->compiled[slot].schema == schema) {
        *out = v->compiled[slot].node;
        return RF_OK;
    }
    if (v->depth > DEPTH_MAX)
        return rf_err_set(err, RF_EINVAL, "schemas nested deeper than %u", DEPTH_MAX);
    c.st = resource_of(v, schema, &c.in, err);
    c.node = c.st == RF_OK ? take(&c, sizeof *c.node) : NULL;
    if (c.st != RF_OK)
        return c.st;
    c.node->resource = c.in;
    slot = slot_for(v, schema);
    v->compiled[slot] = (rfi_compiled){schema, c.node};
    v->compiled_count++;
    *out = c.node;
    if (yyjson_is_bool(schema)) {
        c.node->flags = yyjson_get_bool(schema) ? 0 : RFI_FALSE;
        return RF_OK;
    }
    v->depth++;
    compile_any(&c);
    compile_number(&c);
    compile_string(&c);
    compile_array(&c);
    compile_object(&c);
    compile_in_place(&c);
    v->depth--;
    return c.st;
}

/* Every dynamic anchor may be the outermost one of somebody's $dynamicRef. */
static rf_status compile_anchors(rf_validator *v, rf_err *err)
{
    rf_status st = RF_OK;
    bool more = true;

    while (st == RF_OK && more) { /* compiling may load documents that bring anchors */
        more = false;
        for (rfi_anchor *a = v->anchors; st == RF_OK && a != NULL; a = a->next) {
            if (!a->dynamic || a->node != NULL)
                continue;
            more = true;
            st = rfi_validator_compile(v, a->schema, a->resource, &a->node, err);
        }
    }
    return st;
}

rf_status rf_validator_new(rf_str uri, rf_str schema,
                           bool (*lookup)(void *arg, rf_str uri, rf_str *text), void *arg,
                           rf_validator **out, rf_err *err)
{
    rf_validator *v = rf_xcalloc(1, sizeof *v);
    rfi_resource *root = NULL;
    rf_status st;

    v->arena = rf_arena_new(1u << 14);
    RF_ASSERT(v->arena != NULL);
    v->lookup = lookup;
    v->lookup_arg = arg;
    st = rfi_validator_load(v, uri, schema, &root, err);
    if (st == RF_OK)
        st = rfi_validator_compile(v, root->root, root->own != NULL ? root->own : root, &v->root,
                                   err);
    if (st == RF_OK)
        st = compile_anchors(v, err);
    v->lookup = NULL;
    if (st == RF_OK)
        *out = v;
    else
        rf_validator_free(&v);
    return st;
}

void rf_validator_free(rf_validator **validator)
{
    rf_validator *v = *validator;

    if (v == NULL)
        return;
    for (size_t i = 0; i < v->pattern_count; i++)
        pcre2_code_free(v->patterns[i]);
    for (size_t i = 0; i < v->document_count; i++)
        yyjson_doc_free(v->documents[i]);
    free(v->patterns);
    free(v->documents);
    free(v->compiled);
    rf_arena_free(&v->arena);
    free(v);
    *validator = NULL;
}
