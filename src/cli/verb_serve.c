/* refold serve: configuration, then one of the two halves. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/config_int.h"

#define ARGS_MAX 80

typedef struct serve_flags {
    const char *config_file;
    const char *project;
    bool print_config;
    bool supervised;
} serve_flags;

/* "--key=value" or "--key value" -> key and value; false when value is missing. */
static bool split_flag(int argc, char **argv, int *at, char *name, size_t name_size,
                       const char **value)
{
    const char *text = argv[*at] + 2;
    const char *equals = strchr(text, '=');
    size_t n = equals == NULL ? strlen(text) : (size_t)(equals - text);

    snprintf(name, name_size, "%.*s", (int)RF_MIN(n, name_size - 1), text);
    if (equals != NULL) {
        *value = equals + 1;
        return true;
    }
    if (*at + 1 >= argc)
        return false;
    *value = argv[++*at];
    return true;
}

/* First pass: only what decides which file is read. Second pass: the keys, over file and env. */
static int read_flags(int argc, char **argv, serve_flags *flags, rfi_config *c, rf_err *err)
{
    for (int i = 1; i < argc; i++) {
        char name[64], where[80];
        const char *value = NULL;

        if (strncmp(argv[i], "--", 2) != 0)
            return rf_cli_usage(&rf_verb_serve, "unexpected argument '%s'", argv[i]);
        if (strcmp(argv[i], "--print-config") == 0) {
            flags->print_config = true;
            continue;
        }
        if (strcmp(argv[i], "--supervised") == 0) { /* for the write half's own use */
            flags->supervised = true;
            continue;
        }
        if (!split_flag(argc, argv, &i, name, sizeof name, &value))
            return rf_cli_usage(&rf_verb_serve, "--%s needs a value", name);
        if (strcmp(name, "config") == 0) {
            flags->config_file = value;
            continue;
        }
        if (strcmp(name, "project") == 0)
            flags->project = value;
        if (c == NULL)
            continue;
        snprintf(where, sizeof where, "--%s", name);
        if (rfi_config_set(c, name, value, where, err) != RF_OK)
            return rf_cli_usage(&rf_verb_serve, "%s", err->text);
    }
    return RF_EXIT_OK;
}

/* The file to read: named, or ./refold.yaml, or the project's; NULL: none. */
static const char *find_file(const serve_flags *flags, rfi_config *c)
{
    const char *file = flags->config_file != NULL ? flags->config_file : getenv("REFOLD_CONFIG");

    if (file != NULL)
        return file;
    if (access("refold.yaml", F_OK) == 0)
        return "refold.yaml";
    const char *project = flags->project != NULL ? flags->project : getenv("REFOLD_PROJECT");

    if (project == NULL)
        return NULL;
    file = rf_arena_printf(c->texts, "%s/refold.yaml", project);
    return file != NULL && access(file, F_OK) == 0 ? file : NULL;
}

/* file < environment < flags. */
static int load(int argc, char **argv, serve_flags *flags, rfi_config *c, rf_err *err)
{
    const char *file;
    int code = read_flags(argc, argv, flags, NULL, err);

    if (code != RF_EXIT_OK)
        return code;
    file = flags->supervised ? NULL : find_file(flags, c);
    if ((file != NULL && rfi_config_file(c, file, err) != RF_OK) || rfi_config_env(c, err) != RF_OK)
        return rf_cli_usage(&rf_verb_serve, "%s", err->text);
    return read_flags(argc, argv, flags, c, err);
}

/* The read half gets the very same settings, as flags. */
static char **reader_args(const rfi_config *c)
{
    char **args = rf_xcalloc(ARGS_MAX, sizeof *args);
    size_t n = 0;
    char exe[PATH_MAX];
    ssize_t got = readlink("/proc/self/exe", exe, sizeof exe - 1);

    exe[got < 0 ? 0 : got] = '\0';
    args[n++] = rf_xstrdup(exe);
    args[n++] = rf_xstrdup("serve");
    args[n++] = rf_xstrdup("--supervised");
    n += rfi_config_flags(c, args + n, ARGS_MAX - 1 - n);
    args[n++] = rf_xstrdup("--role=read");
    return args;
}

static void free_args(char **args)
{
    for (size_t i = 0; args[i] != NULL; i++)
        free(args[i]);
    free(args);
}

static int run_half(rfi_config *c, serve_flags *flags)
{
    rf_err err = {0};
    rf_status st;
    bool reads = strcmp(c->role, "read") == 0;
    char **args = reader_args(c);

    c->server.supervise_reader = strcmp(c->role, "all") == 0;
    c->server.supervised = flags->supervised;
    c->server.reader_argv = args;
    rf_diag_init(c->server.log_level, c->server.json_logs, reads ? "read" : "write");
    st = reads ? rf_server_read_run(&c->server, &err) : rf_server_write_run(&c->server, &err);
    free_args(args);
    return st == RF_OK ? RF_EXIT_OK : rf_cli_failed(&rf_verb_serve, &err);
}

static int run(int argc, char **argv)
{
    serve_flags flags = {0};
    rfi_config *c = rf_xcalloc(1, sizeof *c);
    rf_err err = {0};

    rfi_config_init(c);
    int code = load(argc, argv, &flags, c, &err);

    if (code == RF_EXIT_OK && flags.print_config)
        rfi_config_print(c, stdout);
    else if (code == RF_EXIT_OK)
        code = run_half(c, &flags);
    rfi_config_clear(c);
    free(c);
    return code;
}

const rf_verb rf_verb_serve = {
    .name = "serve",
    .summary = "run a server: the log, its read models, HTTP",
    .help =
        "usage: refold serve [--data DIR] [--listen HOST:PORT] [--project DIR] [--config FILE]\n"
        "                    [--role all|write|read] [--print-config] [--KEY VALUE ...]\n"
        "\n"
        "Runs until SIGTERM or Ctrl-C, then finishes what it has taken and stops with exit code "
        "0.\n"
        "Settings come from refold.yaml (here, or --config FILE), then the environment\n"
        "(REFOLD_QUERY_TIMEOUT=10s), then flags (--query.timeout 10s); --print-config shows the\n"
        "result with every key.\n"
        "\n"
        "  --data DIR         the log and the read models (./refold-data)\n"
        "  --listen ADDR      HOST:PORT (127.0.0.1:7070); port 0 takes any free one\n"
        "  --project DIR      apply the schemas/ and projections/ of this folder at start\n"
        "  --role ROLE        all: both halves (default); write: log and ingest only; read: only\n"
        "                     projections and queries over DIR, beside a running write half\n"
        "  --print-config     print the settings and stop\n"
        "\n"
        "Examples\n"
        "  refold serve\n"
        "  refold serve --data /srv/refold --listen 0.0.0.0:7070 --project ./shop\n"
        "  refold serve --print-config > refold.yaml\n"
        "\n"
        "Every key (with its default)\n",
    .run = run,
    .more_help = rfi_config_help,
};
