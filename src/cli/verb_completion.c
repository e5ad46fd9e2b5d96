/* refold completion bash: the verbs, their options (read from their help), and file names. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* Appends every "--word" of a help text once. */
static void add_options(const char *help, rf_buf *out)
{
    for (const char *p = strstr(help, "--"); p != NULL; p = strstr(p, "--")) {
        size_t n = 2;

        while (islower((unsigned char)p[n]) || p[n] == '-' || p[n] == '.')
            n++;
        while (n > 2 && (p[n - 1] == '.' || p[n - 1] == '-'))
            n--;
        rf_str have = rf_buf_str(out);

        if (n > 2 && (p == help || strchr(" [|(", p[-1]) != NULL) &&
            memmem(have.p == NULL ? "" : have.p, have.n, p, n) == NULL) {
            rf_buf_add(out, p, n);
            rf_buf_add_char(out, ' ');
        }
        p += n;
    }
}

static void print_bash(void)
{
    printf("# bash completion of refold; load with: source <(refold completion bash)\n"
           "_refold() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} options=\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; rf_verbs[i] != NULL; i++)
        printf("%s ", rf_verbs[i]->name);
    printf("help\" -- \"$cur\"))\n"
           "        return\n"
           "    fi\n"
           "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; rf_verbs[i] != NULL; i++) {
        rf_buf options;

        rf_buf_init(&options, 1u << 16);
        add_options(rf_verbs[i]->help, &options);
        printf("    %s) options=\"%.*s\" ;;\n", rf_verbs[i]->name,
               RF_STR_ARG(rf_buf_str(&options)));
        rf_buf_clear(&options);
    }
    printf("    esac\n"
           "    case $cur in\n"
           "    -*) COMPREPLY=($(compgen -W \"$options --help\" -- \"$cur\")) ;;\n"
           "    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
           "    esac\n"
           "}\n"
           "complete -o filenames -F _refold refold\n");
}

static int run(int argc, char **argv)
{
    const char *shell = NULL;
    const rf_flag flags[] = {{NULL, NULL, NULL}};
    size_t count = 0;
    int code = rf_cli_flags(&rf_verb_completion, argc, argv, flags, &shell, 1, &count);

    if (code != RF_EXIT_OK)
        return code;
    if (count != 1 || strcmp(shell, "bash") != 0)
        return rf_cli_usage(&rf_verb_completion, "say for which shell: bash");
    print_bash();
    return RF_EXIT_OK;
}

const rf_verb rf_verb_completion = {
    .name = "completion",
    .summary = "print the completion script of a shell",
    .help = "usage: refold completion bash\n"
            "\n"
            "Example\n"
            "  source <(refold completion bash)     # put it into ~/.bashrc to have it always\n",
    .run = run,
};
