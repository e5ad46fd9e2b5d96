/*
 * refold.yaml -> keys. libyaml gives events; this walks them with the path of the mapping it is in.
 * Two levels of mappings and the `domains` mapping are all the file may hold: anything else is an
 * error at its line. Aliases are refused (COMPONENTS: they make small files large).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "cli/config_int.h"

#define SEEN_MAX 512

typedef struct reader {
    rfi_config *config;
    const char *path;
    char *base; /* directory of the file */
    yaml_parser_t yaml;
    yaml_event_t event;
    bool has_event;
    const char *seen[SEEN_MAX];
    size_t seen_count;
} reader;

static rf_status fail(const reader *r, size_t line, rf_err *err, const char *what)
{
    return rf_err_set(err, RF_EINVAL, "%s:%zu: %s", r->path, line + 1, what);
}

static rf_status next(reader *r, rf_err *err)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
    if (!yaml_parser_parse(&r->yaml, &r->event))
        return rf_err_set(err, RF_EINVAL, "%s:%zu: not valid YAML: %s", r->path,
                          r->yaml.problem_mark.line + 1,
                          r->yaml.problem == NULL ? "unreadable" : r->yaml.problem);
    r->has_event = true;
    if (r->event.type == YAML_ALIAS_EVENT)
        return fail(r, r->event.start_mark.line, err, "aliases (*name) are not supported here");
    return RF_OK;
}

static const char *scalar(const reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* libyaml lets duplicate keys pass; the later would silently win. */
static rf_status check_new(reader *r, const char *full, rf_err *err)
{
    for (size_t i = 0; i < r->seen_count; i++) {
        if (strcmp(r->seen[i], full) == 0)
            return rf_err_set(err, RF_EINVAL, "%s:%zu: key '%s' is given twice", r->path,
                              r->event.start_mark.line + 1, full);
    }
    if (r->seen_count == SEEN_MAX)
        return fail(r, r->event.start_mark.line, err, "too many keys");
    r->seen[r->seen_count++] = full;
    return RF_OK;
}

static rf_status set_domain_key(reader *r, rf_domain_rule *rule, const char *key, rf_err *err)
{
    size_t line = r->event.start_mark.line;

    if (r->event.type != YAML_SCALAR_EVENT)
        return fail(r, line, err, "a domain's keys are prefix and partitions, with plain values");
    if (strcmp(key, "prefix") == 0) {
        rule->prefix = rf_arena_dup(r->config->texts, rf_str_from(scalar(r)));
        return RF_OK;
    }
    if (strcmp(key, "partitions") == 0) {
        uint64_t n = 0;

        if (!rf_str_to_u64(rf_str_from(scalar(r)), &n) || n < 1 || n > 1024)
            return fail(r, line, err, "partitions must be between 1 and 1024");
        rule->partitions = (uint32_t)n;
        return RF_OK;
    }
    return rf_err_set(err, RF_EINVAL,
                      "%s:%zu: unknown key '%s' of a domain; known: prefix, "
                      "partitions",
                      r->path, line + 1, key);
}

/* name: {prefix: …, partitions: …}, or name: prefix, or name: with nothing. */
static rf_status read_domain(reader *r, const char *name, size_t line, rf_err *err)
{
    rf_server_config *s = &r->config->server;
    rf_domain_rule *rule;
    rf_status st;

    if (s->domain_count == RF_SERVER_DOMAINS_MAX)
        return fail(r, line, err, "too many domains");
    if (!rf_domain_valid(rf_str_from(name)) || strcmp(name, RF_SYSTEM_DOMAIN) == 0)
        return rf_err_set(err, RF_EINVAL,
                          "%s:%zu: '%s' is not a domain name: 1 to 63 of a-z 0-9 _ -, beginning "
                          "with a letter or digit, and not 'refold'",
                          r->path, line + 1, name);
    rule = &r->config->domains[s->domain_count++];
    rule->domain = rf_arena_dup(r->config->texts, rf_str_from(name));
    rule->prefix = rule->domain;
    if (r->event.type == YAML_SCALAR_EVENT) {
        if (scalar(r)[0] != '\0')
            rule->prefix = rf_arena_dup(r->config->texts, rf_str_from(scalar(r)));
        return RF_OK;
    }
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail(r, line, err, "a domain is a mapping with prefix and partitions");
    while ((st = next(r, err)) == RF_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail(r, r->event.start_mark.line, err, "a key must be plain text");
        const char *key = rf_arena_dup(r->config->texts, rf_str_from(scalar(r))).p;
        const char *full = rf_arena_printf(r->config->texts, "domains.%s.%s", name, key);

        if ((st = check_new(r, full, err)) != RF_OK || (st = next(r, err)) != RF_OK ||
            (st = set_domain_key(r, rule, key, err)) != RF_OK)
            return st;
    }
    return st;
}

/* The value of `full` is the current event. */
static rf_status read_value(reader *r, const char *full, rf_err *err);

static rf_status read_mapping(reader *r, const char *prefix, rf_err *err)
{
    bool domains = strcmp(prefix, "domains") == 0;
    rf_status st;

    while ((st = next(r, err)) == RF_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail(r, r->event.start_mark.line, err, "a key must be plain text");
        size_t line = r->event.start_mark.line;
        const char *name = rf_arena_dup(r->config->texts, rf_str_from(scalar(r))).p;
        const char *full =
            prefix[0] == '\0' ? name : rf_arena_printf(r->config->texts, "%s.%s", prefix, name);

        if ((st = check_new(r, full, err)) != RF_OK || (st = next(r, err)) != RF_OK)
            return st;
        st = domains ? read_domain(r, name, line, err) : read_value(r, full, err);
        if (st != RF_OK)
            return st;
    }
    return st;
}

static rf_status read_value(reader *r, const char *full, rf_err *err)
{
    char where[512];
    size_t line = r->event.start_mark.line;

    snprintf(where, sizeof where, "%s:%zu", r->path, line + 1);
    if (r->event.type == YAML_MAPPING_START_EVENT) {
        if (rfi_config_is_key(full))
            return rf_err_set(err, RF_EINVAL, "%s: '%s' takes a value, not a mapping", where, full);
        if (strchr(full, '.') != NULL)
            return rf_err_set(err, RF_EINVAL, "%s: unknown key '%s'", where, full);
        return read_mapping(r, full, err);
    }
    if (r->event.type != YAML_SCALAR_EVENT)
        return rf_err_set(err, RF_EINVAL, "%s: '%s' takes a plain value, not a list", where, full);
    if (strcmp(scalar(r), "~") == 0 || scalar(r)[0] == '\0')
        return RF_OK; /* null: as if not given */
    return rfi_config_set_from(r->config, full, scalar(r), r->base, where, err);
}

static rf_status read_document(reader *r, rf_err *err)
{
    rf_status st;

    while ((st = next(r, err)) == RF_OK) {
        switch (r->event.type) {
        case YAML_STREAM_END_EVENT:
            return RF_OK;
        case YAML_MAPPING_START_EVENT:
            if ((st = read_mapping(r, "", err)) != RF_OK)
                return st;
            break;
        case YAML_SCALAR_EVENT:
        case YAML_SEQUENCE_START_EVENT:
            if (r->event.type == YAML_SCALAR_EVENT && scalar(r)[0] == '\0')
                break; /* an empty file */
            return fail(r, r->event.start_mark.line, err, "the file must hold keys and values");
        default:
            break;
        }
    }
    return st;
}

rf_status rfi_config_file(rfi_config *c, const char *path, rf_err *err)
{
    reader *r;
    rf_status st;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return rf_err_set_errno(err, errno, "reading the configuration %s", path);
    r = rf_xcalloc(1, sizeof *r);
    r->config = c;
    r->path = path;
    const char *slash = strrchr(path, '/');

    r->base = slash == NULL ? rf_xstrdup("") : rf_xstrndup((rf_str){path, (size_t)(slash - path)});
    RF_ASSERT(yaml_parser_initialize(&r->yaml));
    yaml_parser_set_input_file(&r->yaml, file);
    st = read_document(r, err);
    if (r->has_event)
        yaml_event_delete(&r->event);
    yaml_parser_delete(&r->yaml);
    fclose(file);
    free(r->base);
    free(r);
    free(c->file);
    c->file = rf_xstrdup(path);
    return st;
}
