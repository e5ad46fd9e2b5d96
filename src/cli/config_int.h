/* The configuration of `refold serve`: one table of keys, read from file < environment < flags. */
#ifndef RFI_CLI_CONFIG_H
#define RFI_CLI_CONFIG_H

#include "cli/cli.h"
#include "server/server.h"

typedef struct rfi_config {
    rf_server_config server;
    char role[8]; /* all, write, read */
    rf_domain_rule domains[RF_SERVER_DOMAINS_MAX];
    rf_arena *texts; /* owns every string above */
    char *file;      /* the file that was read; NULL: none */
} rfi_config;

void rfi_config_init(rfi_config *c); /* defaults */
void rfi_config_clear(rfi_config *c);

/* Reads a YAML file. Unknown keys, wrong types and values out of range are RF_EINVAL with
 * "file:line: key: …" and, for a key, the nearest known one. Relative paths in a file are relative
 * to that file. */
RF_CHECKED rf_status rfi_config_file(rfi_config *c, const char *path, rf_err *err);
/* REFOLD_<KEY> with dots and dashes as underscores, e.g. REFOLD_QUERY_TIMEOUT=10s. */
RF_CHECKED rf_status rfi_config_env(rfi_config *c, rf_err *err);
/* One key by its full name ("query.timeout"); where: "--query.timeout" for the message. */
RF_CHECKED rf_status rfi_config_set(rfi_config *c, const char *key, const char *value,
                                    const char *where, rf_err *err);
/* The same for a value in a file: relative paths are relative to the directory `base`. */
RF_CHECKED rf_status rfi_config_set_from(rfi_config *c, const char *key, const char *value,
                                         const char *base, const char *where, rf_err *err);
bool rfi_config_is_key(const char *key);
/* The whole configuration as a YAML file that says the same. */
void rfi_config_print(const rfi_config *c, FILE *out);
/* Every key as "--key=value" (allocated), at most max; returns how many. */
size_t rfi_config_flags(const rfi_config *c, char **args, size_t max);
/* All keys with defaults and meaning, for the help. */
void rfi_config_help(FILE *out);

#endif
