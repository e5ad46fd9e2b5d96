/* The table of verbs, help, and dispatch in the manner of git. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

const rf_verb *const rf_verbs[] = {
    &rf_verb_serve,       &rf_verb_send,    &rf_verb_import,
    &rf_verb_events,      &rf_verb_sql,     &rf_verb_apply,
    &rf_verb_projections, &rf_verb_rebuild, &rf_verb_status,
    &rf_verb_verify,      &rf_verb_doctor,  &rf_verb_backup,
    &rf_verb_restore,     &rf_verb_log,     &rf_verb_repair,
    &rf_verb_completion,  &rf_verb_version, NULL,
};

const rf_verb *rf_verb_find(const char *name, const char **nearest)
{
    size_t best = 4; /* farther than this is no help */

    if (nearest != NULL)
        *nearest = NULL;
    for (size_t i = 0; rf_verbs[i] != NULL; i++) {
        if (strcmp(rf_verbs[i]->name, name) == 0)
            return rf_verbs[i];
        size_t far = rf_edit_distance(rf_str_from(name), rf_str_from(rf_verbs[i]->name), best);

        if (far < best && nearest != NULL) {
            best = far;
            *nearest = rf_verbs[i]->name;
        }
    }
    return NULL;
}

static void print_help(FILE *out)
{
    fprintf(out, "refold: an event store whose SQL read models are always right, and rebuilt in "
                 "seconds\n\n"
                 "usage: refold VERB [options]\n\n");
    for (size_t i = 0; rf_verbs[i] != NULL; i++)
        fprintf(out, "  %-12s %s\n", rf_verbs[i]->name, rf_verbs[i]->summary);
    fprintf(out, "\n"
                 "First steps:\n"
                 "  refold serve                                  # a server on 127.0.0.1:7070\n"
                 "  refold send --type order.placed --subject o-1 --data '{\"amount\": 12}'\n"
                 "  refold sql 'SELECT type, count(*) FROM events GROUP BY ALL'\n"
                 "\n"
                 "`refold VERB --help` explains a verb with examples. REFOLD_URL names the server "
                 "that the\nverbs talk to (http://127.0.0.1:7070 when not set).\n"
                 "Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
}

int rf_cli_usage(const rf_verb *verb, const char *fmt, ...)
{
    va_list ap;

    fflush(stdout); /* what was printed before stays before */
    fprintf(stderr, "refold %s: ", verb->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nSee: refold %s --help\n", verb->name);
    return RF_EXIT_USAGE;
}

int rf_cli_failed(const rf_verb *verb, const rf_err *err)
{
    fflush(stdout);
    fprintf(stderr, "refold %s: %s\n", verb->name, err->text);
    return RF_EXIT_FAILED;
}

const char *rf_cli_url(const char *flag)
{
    const char *env = getenv("REFOLD_URL");

    if (flag != NULL)
        return flag;
    return env != NULL && env[0] != '\0' ? env : "http://127.0.0.1:7070";
}

static int print_verb_help(const rf_verb *verb)
{
    fputs(verb->help, stdout);
    if (verb->more_help != NULL)
        verb->more_help(stdout);
    return RF_EXIT_OK;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

int rf_cli_main(int argc, char **argv)
{
    const char *nearest = NULL;
    const rf_verb *verb;

    if (argc < 2) {
        print_help(stderr);
        return RF_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return rf_verb_version.run(1, argv + 1);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_help(stdout);
        return RF_EXIT_OK;
    }
    if (strcmp(argv[1], "help") == 0) {
        verb = rf_verb_find(argv[2], &nearest);
        if (verb != NULL)
            return print_verb_help(verb);
        argv[1] = argv[2];
    } else {
        verb = rf_verb_find(argv[1], &nearest);
    }
    if (verb == NULL) {
        fprintf(stderr, "refold: there is no verb '%s'", argv[1]);
        if (nearest != NULL)
            fprintf(stderr, "; did you mean '%s'?", nearest);
        fprintf(stderr, "\nSee: refold --help\n");
        return RF_EXIT_USAGE;
    }
    if (wants_help(argc - 1, argv + 1))
        return print_verb_help(verb);
    return verb->run(argc - 1, argv + 1);
}
