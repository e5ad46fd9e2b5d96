/*
 * Documents, and what in them has a name. A document is walked once through the keywords that hold
 * schemas; each $id begins a resource, each $anchor and $dynamicAnchor names a schema in its
 * resource. A JSON Pointer may lead elsewhere (into an unknown keyword): the way there is walked
 * again, to know the resource it ends in.
 */
#include <stdlib.h>
#include <string.h>

#include "schema/validator_int.h"

#define DOCUMENTS_MAX 4096u
#define DEPTH_MAX 512u

static const char dialect_2020[] = "https://json-schema.org/draft/2020-12/schema";
static const char validation_vocabulary[] =
    "https://json-schema.org/draft/2020-12/vocab/validation";

/* Where schemas stand in a schema. */
static const char *const in_schema[] = {"additionalProperties",
                                        "contains",
                                        "contentSchema",
                                        "else",
                                        "if",
                                        "items",
                                        "not",
                                        "propertyNames",
                                        "then",
                                        "unevaluatedItems",
                                        "unevaluatedProperties"};
static const char *const in_list[] = {"allOf", "anyOf", "oneOf", "prefixItems"};
static const char *const in_map[] = {"$defs", "definitions", "dependentSchemas",
                                     "patternProperties", "properties"};

static rf_str str_of(yyjson_val *v)
{
    return (rf_str){yyjson_get_str(v), yyjson_get_len(v)};
}

static rfi_resource *find_resource(rf_validator *v, rf_str uri)
{
    for (rfi_resource *r = v->resources; r != NULL; r = r->next) {
        if (rf_str_eq(rf_str_from(r->uri), uri))
            return r;
    }
    return NULL;
}

static rf_status add_resource(rf_validator *v, rf_str uri, yyjson_val *root, bool no_validation,
                              rfi_resource **out, rf_err *err)
{
    rfi_resource *r = rf_arena_alloc(v->arena, sizeof *r);
    rf_str kept = rf_arena_dup(v->arena, uri);

    if (r == NULL || kept.p == NULL)
        return rf_err_set(err, RF_ENOMEM, "out of memory");
    *r = (rfi_resource){(char *)(uintptr_t)kept.p, root, no_validation, NULL, v->resources};
    v->resources = r;
    *out = r;
    return RF_OK;
}

/* Does the dialect that "$schema" names switch the validation vocabulary off? */
static rf_status read_dialect(rf_validator *v, yyjson_val *schema, bool *no_validation, rf_err *err)
{
    yyjson_val *dialect = yyjson_obj_get(schema, "$schema");
    rf_str text;

    *no_validation = false;
    if (!yyjson_is_str(dialect) || rf_str_eq(str_of(dialect), rf_str_from(dialect_2020)) ||
        v->lookup == NULL || !v->lookup(v->lookup_arg, str_of(dialect), &text))
        return RF_OK;
    yyjson_doc *doc = yyjson_read(text.p, text.n, 0);
    yyjson_val *vocabulary = yyjson_obj_get(yyjson_doc_get_root(doc), "$vocabulary");

    if (yyjson_is_obj(vocabulary))
        *no_validation = yyjson_obj_get(vocabulary, validation_vocabulary) == NULL;
    yyjson_doc_free(doc);
    (void)err;
    return RF_OK;
}

static rf_status add_anchor(rf_validator *v, const rfi_resource *in, yyjson_val *name,
                            yyjson_val *schema, bool dynamic, rf_err *err)
{
    rfi_anchor *a;

    if (!yyjson_is_str(name))
        return rf_err_set(err, RF_EINVAL, "%s must be a string",
                          dynamic ? "$dynamicAnchor" : "$anchor");
    a = rf_arena_alloc(v->arena, sizeof *a);
    if (a == NULL)
        return rf_err_set(err, RF_ENOMEM, "out of memory");
    *a = (rfi_anchor){in, str_of(name), schema, dynamic, NULL, v->anchors};
    v->anchors = a;
    return RF_OK;
}

/* The resource that `schema` is in, when it is reached from `outer`: a new one when it has $id. */
static rf_status enter(rf_validator *v, yyjson_val *schema, const rfi_resource *outer,
                       const rfi_resource **in, rf_err *err)
{
    yyjson_val *id = yyjson_obj_get(schema, "$id");
    rf_buf uri;
    rf_str without, fragment;
    rf_status st = RF_OK;

    *in = outer;
    if (id == NULL || !yyjson_is_str(id))
        return RF_OK;
    rf_buf_init(&uri, 1u << 16);
    rfi_uri_resolve(rf_str_from(outer->uri), str_of(id), &uri);
    rfi_uri_split_fragment(rf_buf_str(&uri), &without, &fragment);
    rfi_resource *known = find_resource(v, without);

    if (known == NULL) {
        bool off = outer->no_validation;

        if (yyjson_obj_get(schema, "$schema") != NULL)
            st = read_dialect(v, schema, &off, err);
        if (st == RF_OK)
            st = add_resource(v, without, schema, off, &known, err);
    }
    *in = known;
    rf_buf_clear(&uri);
    return st;
}

static rf_status walk(rf_validator *v, yyjson_val *schema, const rfi_resource *outer,
                      unsigned depth, rf_err *err);

static rf_status walk_children(rf_validator *v, yyjson_val *schema, const rfi_resource *in,
                               unsigned depth, rf_err *err)
{
    rf_status st = RF_OK;
    size_t i, n;
    yyjson_val *key, *child;

    for (size_t k = 0; st == RF_OK && k < RF_ARRAY_LEN(in_schema); k++)
        st = walk(v, yyjson_obj_get(schema, in_schema[k]), in, depth, err);
    for (size_t k = 0; st == RF_OK && k < RF_ARRAY_LEN(in_list); k++) {
        yyjson_arr_foreach(yyjson_obj_get(schema, in_list[k]), i, n, child)
        {
            if (st == RF_OK)
                st = walk(v, child, in, depth, err);
        }
    }
    for (size_t k = 0; st == RF_OK && k < RF_ARRAY_LEN(in_map); k++) {
        RFI_OBJECT_EACH(yyjson_obj_get(schema, in_map[k]), i, n, key, child)
        {
            if (st == RF_OK)
                st = walk(v, child, in, depth, err);
        }
    }
    return st;
}

static rf_status walk(rf_validator *v, yyjson_val *schema, const rfi_resource *outer,
                      unsigned depth, rf_err *err)
{
    const rfi_resource *in = outer;
    rf_status st;

    if (!yyjson_is_obj(schema))
        return RF_OK;
    if (depth > DEPTH_MAX)
        return rf_err_set(err, RF_EINVAL, "a schema nested deeper than %u", DEPTH_MAX);
    st = enter(v, schema, outer, &in, err);
    yyjson_val *anchor = yyjson_obj_get(schema, "$anchor");
    yyjson_val *dynamic = yyjson_obj_get(schema, "$dynamicAnchor");

    if (st == RF_OK && anchor != NULL)
        st = add_anchor(v, in, anchor, schema, false, err);
    if (st == RF_OK && dynamic != NULL)
        st = add_anchor(v, in, dynamic, schema, true, err);
    return st != RF_OK ? st : walk_children(v, schema, in, depth + 1, err);
}

rf_status rfi_validator_load(rf_validator *v, rf_str uri, rf_str text, rfi_resource **out,
                             rf_err *err)
{
    yyjson_read_err why;
    yyjson_doc *doc;
    rf_str without, fragment;
    bool off = false;
    rf_status st;

    if (text.n > RFI_SCHEMA_BYTES_MAX)
        return rf_err_set(err, RF_ETOOBIG, "a schema of %zu bytes is over the limit of %u", text.n,
                          RFI_SCHEMA_BYTES_MAX);
    if (v->document_count == DOCUMENTS_MAX)
        return rf_err_set(err, RF_EINVAL, "more than %u schemas refer to each other",
                          DOCUMENTS_MAX);
    doc =
        yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_BIGNUM_AS_RAW, NULL, &why);
    if (doc == NULL)
        return rf_err_set(err, RF_EINVAL, "schema %.*s is not JSON: %s at byte %zu",
                          RF_STR_ARG(uri), why.msg, why.pos);
    v->documents = rf_xrealloc(v->documents, (v->document_count + 1) * sizeof *v->documents);
    v->documents[v->document_count++] = doc;
    yyjson_val *root = yyjson_doc_get_root(doc);

    if (!yyjson_is_obj(root) && !yyjson_is_bool(root))
        return rf_err_set(err, RF_EINVAL, "a schema is an object, true or false");
    rfi_uri_split_fragment(uri, &without, &fragment);
    st = read_dialect(v, root, &off, err);
    if (st == RF_OK)
        st = add_resource(v, without, root, off, out, err);
    if (st == RF_OK)
        st = walk(v, root, *out, 0, err);
    if (st == RF_OK && yyjson_is_obj(root)) {
        const rfi_resource *own = *out;

        st = enter(v, root, *out, &own, err);
        (*out)->own = own == *out ? NULL : own;
    }
    return st;
}

/* ---- references -------------------------------------------------------------------------------
 */

static rf_status nowhere(rf_str reference, rf_err *err)
{
    return rf_err_set(err, RF_EINVAL, "the reference \"%.*s\" leads nowhere",
                      RF_STR_ARG(rfi_schema_shorten(reference, 200)));
}

/* One token of a JSON Pointer in a URI fragment: percent-decoded, then ~1 and ~0. */
static rf_str decode_token(rf_str token, rf_buf *out)
{
    rf_buf_reset(out);
    for (size_t i = 0; i < token.n; i++) {
        char c = token.p[i];
        unsigned byte;

        if (c == '%' && i + 2 < token.n + 0 && sscanf(token.p + i + 1, "%2x", &byte) == 1) {
            c = (char)byte;
            i += 2;
        } else if (c == '~' && i + 1 < token.n) {
            c = token.p[i + 1] == '1' ? '/' : '~';
            i++;
        }
        rf_buf_add_char(out, c);
    }
    return rf_buf_str(out);
}

static yyjson_val *step(yyjson_val *at, rf_str token)
{
    uint64_t index = 0;

    if (yyjson_is_obj(at))
        return yyjson_obj_getn(at, token.p == NULL ? "" : token.p, token.n);
    if (yyjson_is_arr(at) && rf_str_to_u64(token, &index))
        return yyjson_arr_get(at, (size_t)index);
    return NULL;
}

static rf_status follow_pointer(rf_validator *v, const rfi_resource *from, rf_str pointer,
                                rf_str reference, yyjson_val **schema, const rfi_resource **in,
                                rf_err *err)
{
    yyjson_val *at = from->root;
    rf_status st = RF_OK;
    rf_buf token;

    rf_buf_init(&token, 1u << 16);
    *in = from;
    while (st == RF_OK && pointer.n > 0) {
        const char *slash = pointer.n > 1 ? memchr(pointer.p + 1, '/', pointer.n - 1) : NULL;
        size_t n = slash == NULL ? pointer.n : (size_t)(slash - pointer.p);

        at = step(at, decode_token((rf_str){pointer.p + 1, n - 1}, &token));
        pointer = (rf_str){pointer.p + n, pointer.n - n};
        if (at == NULL)
            st = nowhere(reference, err);
        else if (yyjson_is_obj(at))
            st = enter(v, at, *in, in, err);
    }
    rf_buf_clear(&token);
    *schema = at;
    return st;
}

static rfi_anchor *find_anchor(rf_validator *v, const rfi_resource *resource, rf_str name)
{
    for (rfi_anchor *a = v->anchors; a != NULL; a = a->next) {
        if (a->resource == resource && rf_str_eq(a->name, name))
            return a;
    }
    return NULL;
}

rf_status rfi_validator_find(rf_validator *v, const rfi_resource *resource, rf_str reference,
                             yyjson_val **schema, const rfi_resource **in, rfi_anchor **dynamic,
                             rf_err *err)
{
    rf_str relative, fragment, text;
    rf_buf uri;
    rf_status st = RF_OK;

    *dynamic = NULL;
    rf_buf_init(&uri, 1u << 16);
    rfi_uri_split_fragment(reference, &relative, &fragment);
    rfi_uri_resolve(rf_str_from(resource->uri), relative, &uri);
    rfi_resource *target = find_resource(v, rf_buf_str(&uri));

    if (target == NULL && v->lookup != NULL && v->lookup(v->lookup_arg, rf_buf_str(&uri), &text)) {
        st = rfi_validator_load(v, rf_buf_str(&uri), text, &target, err);
        if (st != RF_OK)
            rf_err_note(err, "schema %.*s", RF_STR_ARG(rf_buf_str(&uri)));
    }
    if (st == RF_OK && target == NULL)
        st = rf_err_set(err, RF_EINVAL,
                        "the reference \"%.*s\" leads to a schema that is not registered",
                        RF_STR_ARG(rfi_schema_shorten(reference, 200)));
    if (st == RF_OK && target->own != NULL)
        target = (rfi_resource *)(uintptr_t)target->own;
    if (st == RF_OK && (fragment.n == 0 || fragment.p[0] == '/')) {
        st = follow_pointer(v, target, fragment, reference, schema, in, err);
    } else if (st == RF_OK) {
        rfi_anchor *a = find_anchor(v, target, fragment);

        if (a == NULL) {
            st = nowhere(reference, err);
        } else {
            *schema = a->schema;
            *in = a->resource;
            *dynamic = a->dynamic ? a : NULL;
        }
    }
    rf_buf_clear(&uri);
    return st;
}
