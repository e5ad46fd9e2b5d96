/*
 * One table names every key, its type, range and place in rf_server_config; file, environment,
 * flags, --print-config and the help all read that table, so they cannot disagree.
 */
#include "cli/config_int.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum value_type {
    V_TEXT,   /* const char * */
    V_PATH,   /* const char *, relative to the file that names it */
    V_LISTEN, /* HOST:PORT into listen_host and listen_port */
    V_U32,
    V_BYTES,     /* uint64_t; "64MiB", "1GB", plain bytes */
    V_BYTES_U32, /* uint32_t */
    V_MS,        /* uint32_t; "30s", "500ms", "2m" */
    V_ROLE,
    V_LOG_LEVEL,
    V_LOG_FORMAT
} value_type;

typedef struct key {
    const char *name;
    value_type type;
    size_t at; /* offset in rfi_config */
    uint64_t min, max;
    const char *help;
} key;

#define AT(member) offsetof(rfi_config, server.member)
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

static const key keys[] = {
    {"data", V_PATH, AT(data_dir), 0, 0, "directory of the log and the read models"},
    {"listen", V_LISTEN, 0, 0, 0, "HOST:PORT of the HTTP server; port 0: any free one"},
    {"project", V_PATH, AT(project_dir), 0, 0, "folder with schemas/ and projections/ to apply"},
    {"role", V_ROLE, offsetof(rfi_config, role), 0, 0, "all, write or read"},
    {"logs.level", V_LOG_LEVEL, AT(log_level), 0, 0, "debug, info, warn or error"},
    {"logs.format", V_LOG_FORMAT, AT(json_logs), 0, 0, "text or json"},
    {"http.threads", V_U32, AT(io_threads), 1, 64, "event loops"},
    {"http.workers", V_U32, AT(worker_threads), 1, 256, "threads for reads that wait for the disk"},
    {"http.max-connections", V_U32, AT(connections_max), 8, 1000000, "open connections"},
    {"http.head-timeout", V_MS, AT(head_timeout_ms), 100, 600000, "for a whole request head"},
    {"http.idle-timeout", V_MS, AT(idle_timeout_ms), 100, 86400000, "between requests"},
    {"http.min-body-rate", V_BYTES_U32, AT(body_rate_min), 0, MIB(1), "bytes per second"},
    {"http.drain", V_MS, AT(drain_ms), 0, 600000, "for running requests at a graceful stop"},
    {"ingest.max-event-bytes", V_BYTES_U32, AT(event_limits.event_bytes_max), 256,
     RF_EVENT_BYTES_CAP, "of one event's JSON"},
    {"ingest.max-depth", V_U32, AT(event_limits.depth_max), 4, RF_EVENT_DEPTH_CAP,
     "nested arrays and objects in an event"},
    {"ingest.max-body-bytes", V_BYTES, AT(body_bytes_max), KIB(1), GIB(1),
     "of a single event or JSON batch, decompressed"},
    {"ingest.max-batch-events", V_U32, AT(batch_events_max), 1, RF_APPEND_EVENTS_MAX,
     "in a JSON batch"},
    {"ingest.max-pending-bytes", V_BYTES, AT(pending_bytes_max), MIB(1), GIB(64),
     "submitted and not yet durable; beyond it requests get 503"},
    {"ingest.partitions", V_U32, AT(partitions_default), 1, 1024, "of a domain that does not say"},
    {"log.segment-bytes", V_BYTES, AT(segment_bytes_max), KIB(64), GIB(4), "size to roll at"},
    {"read.memory", V_BYTES, AT(engine_memory_bytes), 0, GIB(4096),
     "of the SQL engine; 0: a quarter of the machine"},
    {"read.threads", V_U32, AT(engine_threads), 0, 1024, "of the SQL engine; 0: all cores"},
    {"query.timeout", V_MS, AT(query_timeout_ms), 1, 600000, "of a query that does not say"},
    {"query.max-rows", V_BYTES, AT(query_rows_max), 1, 10000000, "of a query that does not say"},
    {"query.max-bytes", V_BYTES, AT(query_bytes_max), KIB(1), GIB(4), "of one answer"},
    {"query.sessions", V_U32, AT(query_sessions), 1, 256, "queries at once"},
};

static const key *find_key(const char *name)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(keys); i++) {
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

bool rfi_config_is_key(const char *name)
{
    return find_key(name) != NULL;
}

static const char *nearest_key(const char *name)
{
    const char *best = NULL;
    size_t far = 6;

    for (size_t i = 0; i < RF_ARRAY_LEN(keys); i++) {
        size_t d = rf_edit_distance(rf_str_from(name), rf_str_from(keys[i].name), far);

        if (d < far) {
            far = d;
            best = keys[i].name;
        }
    }
    return best;
}

void rfi_config_init(rfi_config *c)
{
    memset(c, 0, sizeof *c);
    rf_server_config_defaults(&c->server);
    c->server.domains = c->domains;
    c->texts = rf_arena_new(4096);
    RF_ASSERT(c->texts != NULL);
    snprintf(c->role, sizeof c->role, "all");
}

void rfi_config_clear(rfi_config *c)
{
    rf_arena_free(&c->texts);
    free(c->file);
    memset(c, 0, sizeof *c);
}

/* ---- values ---------------------------------------------------------------------------------- */

typedef struct unit {
    const char *name;
    double factor;
} unit;

static const unit byte_units[] = {
    {"", 1},     {"B", 1},          {"K", 1024},         {"KiB", 1024},
    {"kB", 1e3}, {"KB", 1e3},       {"M", 1048576},      {"MiB", 1048576},
    {"MB", 1e6}, {"G", 1073741824}, {"GiB", 1073741824}, {"GB", 1e9},
    {NULL, 0}};
static const unit ms_units[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {NULL, 0}};

static bool parse_scaled(const char *text, const unit *units, double *out)
{
    char *end = NULL;

    if (*text < '0' || *text > '9') /* no sign, no "inf", no hexadecimal by accident */
        return false;
    errno = 0;
    double v = strtod(text, &end);

    if (errno != 0 || end == text || !isfinite(v))
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; units[i].name != NULL; i++) {
        if (strcmp(end, units[i].name) == 0) {
            *out = v * units[i].factor;
            return true;
        }
    }
    return false;
}

static rf_status set_number(void *to, size_t size, const key *k, double v, const char *text,
                            const char *where, rf_err *err)
{
    if (v < (double)k->min || v > (double)k->max)
        return rf_err_set(err, RF_EINVAL, "%s: %s: %s is not between %llu and %llu", where, k->name,
                          text, (unsigned long long)k->min, (unsigned long long)k->max);
    if (size == sizeof(uint64_t)) {
        uint64_t u = (uint64_t)v;
        memcpy(to, &u, sizeof u);
    } else {
        uint32_t u = (uint32_t)v;
        memcpy(to, &u, sizeof u);
    }
    return RF_OK;
}

static rf_status set_listen(rfi_config *c, const char *text, const char *where, rf_err *err)
{
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;

    if (colon == NULL || !rf_str_to_u64(rf_str_from(colon + 1), &port) || port > 65535)
        return rf_err_set(err, RF_EINVAL,
                          "%s: listen: '%s' is not HOST:PORT (for example 127.0.0.1:7070)", where,
                          text);
    rf_str host = {text, (size_t)(colon - text)};

    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (rf_str){host.p + 1, host.n - 2};
    c->server.listen_host = host.n == 0 ? "127.0.0.1" : rf_arena_dup(c->texts, host).p;
    c->server.listen_port = (uint16_t)port;
    return RF_OK;
}

static rf_status bad_value(const key *k, const char *text, const char *where, const char *wanted,
                           rf_err *err)
{
    return rf_err_set(err, RF_EINVAL, "%s: %s: '%s' is not %s", where, k->name, text, wanted);
}

static rf_status set_choice(rfi_config *c, const key *k, const char *text, const char *where,
                            rf_err *err)
{
    void *to = (char *)c + k->at;

    if (k->type == V_ROLE) {
        if (strcmp(text, "all") != 0 && strcmp(text, "write") != 0 && strcmp(text, "read") != 0)
            return bad_value(k, text, where, "all, write or read", err);
        snprintf(c->role, sizeof c->role, "%s", text);
        return RF_OK;
    }
    if (k->type == V_LOG_LEVEL) {
        if (!rf_diag_level_parse(rf_str_from(text), to))
            return bad_value(k, text, where, "debug, info, warn or error", err);
        return RF_OK;
    }
    if (strcmp(text, "text") != 0 && strcmp(text, "json") != 0)
        return bad_value(k, text, where, "text or json", err);
    *(bool *)to = strcmp(text, "json") == 0;
    return RF_OK;
}

/* base: directory that a relative path is relative to, "" for the current one. */
static rf_status set_key(rfi_config *c, const key *k, const char *text, const char *base,
                         const char *where, rf_err *err)
{
    void *to = (char *)c + k->at;
    double v = 0;

    switch (k->type) {
    case V_TEXT:
    case V_PATH: {
        if (text[0] == '\0')
            return bad_value(k, text, where, "a path", err);
        const char *dup = k->type == V_PATH && text[0] != '/' && base[0] != '\0'
                              ? rf_arena_printf(c->texts, "%s/%s", base, text)
                              : rf_arena_dup(c->texts, rf_str_from(text)).p;
        *(const char **)to = dup;
        return RF_OK;
    }
    case V_LISTEN:
        return set_listen(c, text, where, err);
    case V_U32: {
        uint64_t u = 0;
        if (!rf_str_to_u64(rf_str_from(text), &u))
            return bad_value(k, text, where, "a whole number", err);
        return set_number(to, sizeof(uint32_t), k, (double)u, text, where, err);
    }
    case V_BYTES:
    case V_BYTES_U32:
        if (!parse_scaled(text, byte_units, &v))
            return bad_value(k, text, where, "a size such as 64MiB", err);
        return set_number(to, k->type == V_BYTES ? sizeof(uint64_t) : sizeof(uint32_t), k, v, text,
                          where, err);
    case V_MS:
        if (!parse_scaled(text, ms_units, &v))
            return bad_value(k, text, where, "a time such as 500ms, 30s or 2m", err);
        return set_number(to, sizeof(uint32_t), k, v, text, where, err);
    case V_ROLE:
    case V_LOG_LEVEL:
    case V_LOG_FORMAT:
        return set_choice(c, k, text, where, err);
    }
    return RF_OK;
}

rf_status rfi_config_set(rfi_config *c, const char *name, const char *value, const char *where,
                         rf_err *err)
{
    return rfi_config_set_from(c, name, value, "", where, err);
}

rf_status rfi_config_set_from(rfi_config *c, const char *name, const char *value, const char *base,
                              const char *where, rf_err *err)
{
    const key *k = find_key(name);

    if (k != NULL)
        return set_key(c, k, value, base, where, err);
    const char *near = nearest_key(name);

    if (near != NULL)
        return rf_err_set(err, RF_EINVAL, "%s: unknown key '%s'; did you mean '%s'?", where, name,
                          near);
    return rf_err_set(err, RF_EINVAL, "%s: unknown key '%s'; see: refold serve --help", where,
                      name);
}

rf_status rfi_config_env(rfi_config *c, rf_err *err)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(keys); i++) {
        char name[64] = "REFOLD_";
        size_t n = strlen(name);

        for (const char *p = keys[i].name; *p != '\0'; p++)
            name[n++] =
                *p == '.' || *p == '-' ? '_' : (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        name[n] = '\0';
        const char *value = getenv(name);

        if (value == NULL || value[0] == '\0')
            continue;
        rf_status st = set_key(c, &keys[i], value, "", name, err);

        if (st != RF_OK)
            return st;
    }
    return RF_OK;
}

/* ---- printing
 * ------------------------------------------------------------------------------------ */

/* As YAML text: plain when that is surely read back as the same, else in double quotes. */
static void print_yaml(const char *text, FILE *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./_-:";
    size_t n = strlen(text);
    rf_buf quoted;

    if (n > 0 && strspn(text, plain) == n && text[0] != '-' && text[0] != ':' &&
        text[n - 1] != ':') {
        fputs(text, out);
        return;
    }
    rf_buf_init(&quoted, 1u << 20);
    rf_buf_add_json_str(&quoted, rf_str_from(text)); /* JSON strings are YAML strings */
    fputs(rf_buf_cstr(&quoted), out);
    rf_buf_clear(&quoted);
}

/* yaml: the value is for a file, where text may need quotes. */
static void print_value(const rfi_config *c, const key *k, bool yaml, FILE *out)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const void *at = (const char *)c + k->at;
    uint64_t u64 = 0;
    uint32_t u32 = 0;
    const char *text;

    switch (k->type) {
    case V_TEXT:
    case V_PATH:
        memcpy(&text, at, sizeof text);
        if (text == NULL)
            fputc('~', out);
        else if (yaml)
            print_yaml(text, out);
        else
            fputs(text, out);
        return;
    case V_LISTEN:
        if (strchr(c->server.listen_host, ':') != NULL) /* IPv6; [ would begin a YAML list */
            fprintf(out, yaml ? "\"[%s]:%u\"" : "[%s]:%u", c->server.listen_host,
                    c->server.listen_port);
        else
            fprintf(out, "%s:%u", c->server.listen_host, c->server.listen_port);
        return;
    case V_BYTES:
        memcpy(&u64, at, sizeof u64);
        fprintf(out, "%llu", (unsigned long long)u64);
        return;
    case V_U32:
    case V_BYTES_U32:
        memcpy(&u32, at, sizeof u32);
        fprintf(out, "%u", u32);
        return;
    case V_MS:
        memcpy(&u32, at, sizeof u32);
        fprintf(out, "%ums", u32);
        return;
    case V_ROLE:
        fprintf(out, "%s", c->role);
        return;
    case V_LOG_LEVEL:
        fprintf(out, "%s", levels[c->server.log_level]);
        return;
    case V_LOG_FORMAT:
        fprintf(out, "%s", c->server.json_logs ? "json" : "text");
        return;
    }
}

void rfi_config_print(const rfi_config *c, FILE *out)
{
    const char *group = "";
    size_t group_n = 0;

    if (c->file != NULL)
        fprintf(out, "# from %s, the environment and flags\n", c->file);
    for (size_t i = 0; i < RF_ARRAY_LEN(keys); i++) {
        const char *dot = strchr(keys[i].name, '.');
        size_t n = dot == NULL ? 0 : (size_t)(dot - keys[i].name);

        if (n > 0 && (n != group_n || strncmp(group, keys[i].name, n) != 0))
            fprintf(out, "%.*s:\n", (int)n, keys[i].name);
        group = keys[i].name;
        group_n = n;
        fprintf(out, "%s%s: ", n > 0 ? "  " : "", n > 0 ? dot + 1 : keys[i].name);
        print_value(c, &keys[i], true, out);
        fputc('\n', out);
    }
    if (c->server.domain_count > 0)
        fprintf(out, "domains:\n");
    for (size_t i = 0; i < c->server.domain_count; i++) {
        const rf_domain_rule *d = &c->domains[i];

        fprintf(out, "  %.*s:\n    prefix: ", RF_STR_ARG(d->domain));
        print_yaml(d->prefix.p, out); /* ends with a NUL: it came from the arena */
        fprintf(out, "\n    partitions: %u\n",
                d->partitions == 0 ? c->server.partitions_default : d->partitions);
    }
}

size_t rfi_config_flags(const rfi_config *c, char **args, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < RF_ARRAY_LEN(keys) && n < max; i++) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);

        RF_ASSERT(out != NULL);
        fprintf(out, "--%s=", keys[i].name);
        long empty = ftell(out);

        print_value(c, &keys[i], false, out);
        fclose(out);
        if (strcmp(text + empty, "~") == 0 || keys[i].type == V_ROLE)
            free(text);
        else
            args[n++] = text;
    }
    return n;
}

void rfi_config_help(FILE *out)
{
    rfi_config c;

    rfi_config_init(&c);
    for (size_t i = 0; i < RF_ARRAY_LEN(keys); i++) {
        fprintf(out, "  %-26s %s (", keys[i].name, keys[i].help);
        print_value(&c, &keys[i], false, out);
        fprintf(out, ")\n");
    }
    rfi_config_clear(&c);
}
