/* What the verbs share: flags, input files, one-shot requests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const rf_flag *find_flag(const rf_flag *flags, rf_str name)
{
    for (size_t i = 0; flags[i].name != NULL; i++) {
        if (rf_str_eq(rf_str_from(flags[i].name), name))
            return &flags[i];
    }
    return NULL;
}

int rf_cli_flags(const rf_verb *verb, int argc, char **argv, const rf_flag *flags,
                 const char **positional, size_t positional_max, size_t *positional_count)
{
    bool only_positional = false;

    *positional_count = 0;
    for (int i = 1; i < argc; i++) {
        if (!only_positional && strcmp(argv[i], "--") == 0) {
            only_positional = true;
            continue;
        }
        if (!only_positional && argv[i][0] == '-' && argv[i][1] != '-' && argv[i][1] != '\0')
            return rf_cli_usage(verb, "unknown option '%s'; options begin with two dashes",
                                argv[i]);
        if (only_positional || strncmp(argv[i], "--", 2) != 0) {
            if (*positional_count == positional_max)
                return rf_cli_usage(verb, "unexpected argument '%s'", argv[i]);
            positional[(*positional_count)++] = argv[i];
            continue;
        }
        const char *equals = strchr(argv[i], '=');
        rf_str name = {argv[i] + 2,
                       equals == NULL ? strlen(argv[i]) - 2 : (size_t)(equals - argv[i]) - 2};
        const rf_flag *flag = find_flag(flags, name);

        if (flag == NULL)
            return rf_cli_usage(verb, "unknown option '--%.*s'", RF_STR_ARG(name));
        if (flag->on != NULL) {
            if (equals != NULL)
                return rf_cli_usage(verb, "--%s takes no value", flag->name);
            *flag->on = true;
            continue;
        }
        if (equals == NULL && i + 1 >= argc)
            return rf_cli_usage(verb, "--%s needs a value", flag->name);
        *flag->text = equals != NULL ? equals + 1 : argv[++i];
    }
    return RF_EXIT_OK;
}

bool rf_cli_number(const rf_verb *verb, const char *flag, const char *text, uint64_t min,
                   uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (text == NULL)
        return true;
    if (rf_str_to_u64(rf_str_from(text), &v) && v >= min && v <= max) {
        *out = v;
        return true;
    }
    rf_cli_usage(verb, "--%s: '%s' is not a whole number between %llu and %llu", flag, text,
                 (unsigned long long)min, (unsigned long long)max);
    return false;
}

rf_status rf_cli_read_input(const char *path, uint64_t max, rf_buf *out, rf_err *err)
{
    FILE *in;
    char chunk[1 << 16];
    size_t got;

    if (strcmp(path, "-") != 0)
        return rf_io_read_file(rf_io_posix(), path, max, out, err);
    in = stdin;
    rf_buf_reset(out);
    while ((got = fread(chunk, 1, sizeof chunk, in)) > 0) {
        rf_buf_add(out, chunk, got);
        if (out->failed || out->n > max)
            return rf_err_set(err, RF_ETOOBIG, "standard input is over %llu bytes",
                              (unsigned long long)max);
    }
    if (ferror(in))
        return rf_err_set_errno(err, errno, "reading standard input");
    return RF_OK;
}

rf_status rf_cli_call(const char *url, const char *method, const char *path,
                      const char *content_type, rf_str body, rf_reply *reply, rf_err *err)
{
    rf_client *client = rf_client_new(rf_cli_url(url));
    char type[160];
    const char *headers[] = {type, NULL};
    rf_status st;

    snprintf(type, sizeof type, "Content-Type: %s", content_type == NULL ? "" : content_type);
    st = rf_client_send(client, method, path, content_type == NULL ? NULL : headers, body, reply,
                        err);
    if (st == RF_OK)
        st = rf_reply_check(reply, err);
    rf_client_free(&client);
    return st;
}
