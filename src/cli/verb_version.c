/* refold version */
#include <string.h>

#include "cli/cli.h"

static int run(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--json") != 0))
        return rf_cli_usage(&rf_verb_version, "takes no arguments but --json");
    if (argc == 2)
        printf("{\"version\":\"%s\",\"commit\":\"%s\",\"compiler\":\"%s\"}\n", rf_version(),
               rf_commit(), __VERSION__);
    else
        printf("refold %s (%s)\n", rf_version(), rf_commit());
    return RF_EXIT_OK;
}

const rf_verb rf_verb_version = {
    .name = "version",
    .summary = "print the version",
    .help = "usage: refold version [--json]\n",
    .run = run,
};
