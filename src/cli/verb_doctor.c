/* refold doctor: trouble that can be seen before it comes. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/doctor_int.h"

typedef struct findings {
    bool json;
    rf_buf list; /* elements of a JSON array */
    unsigned warnings, failures;
} findings;

static void on_finding(void *arg, rfi_health health, const char *what, const char *found,
                       const char *advice)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    static const char *const colors[] = {"\033[32m", "\033[33m", "\033[31m"};
    findings *f = arg;
    bool color = rf_cli_color(stdout);

    f->warnings += health == RFI_WARN;
    f->failures += health == RFI_FAIL;
    if (!f->json) {
        printf("%s%-4s%s  %-11s  %s\n", color ? colors[health] : "", words[health],
               color ? "\033[0m" : "", what, found);
        if (advice != NULL)
            printf("                   -> %s\n", advice);
        fflush(stdout);
        return;
    }
    rf_buf_addf(&f->list, "%s{\"level\":\"%s\",\"check\":", f->list.n > 0 ? "," : "",
                words[health]);
    rf_buf_add_json_str(&f->list, rf_str_from(what));
    rf_buf_add_cstr(&f->list, ",\"found\":");
    rf_buf_add_json_str(&f->list, rf_str_from(found));
    if (advice != NULL) {
        rf_buf_add_cstr(&f->list, ",\"advice\":");
        rf_buf_add_json_str(&f->list, rf_str_from(advice));
    }
    rf_buf_add_char(&f->list, '}');
}

static int examine(const rfi_config *config, bool json)
{
    findings f = {.json = json};
    rfi_doctor d = {.config = config, .report = on_finding, .arg = &f};

    rf_buf_init(&f.list, 1u << 20);
    rfi_check_kernel(&d);
    rfi_check_memory(&d);
    rfi_check_limits(&d);
    rfi_check_clock(&d);
    rfi_check_engine(&d);
    rfi_check_port(&d);
    rfi_check_directory(&d);
    rfi_check_space(&d);
    rfi_check_flush(&d);
    if (json)
        printf("{\"checks\":[%.*s],\"warnings\":%u,\"failures\":%u}\n",
               RF_STR_ARG(rf_buf_str(&f.list)), f.warnings, f.failures);
    else if (f.failures + f.warnings > 0)
        printf("\n%u failed, %u to think about\n", f.failures, f.warnings);
    rf_buf_clear(&f.list);
    free(d.place);
    return f.failures > 0 ? RF_EXIT_FAILED : RF_EXIT_OK;
}

static rf_status load(rfi_config *c, const char *file, const char *data, const char *listen,
                      rf_err *err)
{
    rf_status st = RF_OK;

    if (file == NULL && access("refold.yaml", F_OK) == 0)
        file = "refold.yaml";
    if (file != NULL)
        st = rfi_config_file(c, file, err);
    if (st == RF_OK)
        st = rfi_config_env(c, err);
    if (st == RF_OK && data != NULL)
        st = rfi_config_set(c, "data", data, "--data", err);
    if (st == RF_OK && listen != NULL)
        st = rfi_config_set(c, "listen", listen, "--listen", err);
    return st;
}

static int run(int argc, char **argv)
{
    const char *file = getenv("REFOLD_CONFIG"), *data = NULL, *listen = NULL;
    bool json = false;
    const rf_flag flags[] = {{"config", &file, NULL},
                             {"data", &data, NULL},
                             {"listen", &listen, NULL},
                             {"json", NULL, &json},
                             {NULL, NULL, NULL}};
    size_t count = 0;
    rf_err err = {0};
    int code = rf_cli_flags(&rf_verb_doctor, argc, argv, flags, NULL, 0, &count);

    if (code != RF_EXIT_OK)
        return code;
    rfi_config *c = rf_xcalloc(1, sizeof *c);

    rfi_config_init(c);
    if (load(c, file, data, listen, &err) == RF_OK)
        code = examine(c, json);
    else
        code = rf_cli_usage(&rf_verb_doctor, "%s", err.text);
    rfi_config_clear(c);
    free(c);
    return code;
}

const rf_verb rf_verb_doctor = {
    .name = "doctor",
    .summary = "check the machine and the data directory before there is trouble",
    .help =
        "usage: refold doctor [--data DIR] [--listen HOST:PORT] [--config FILE] [--json]\n"
        "\n"
        "Looks at what `refold serve` with the same settings would meet: kernel, memory, limits,\n"
        "clock, SQL engine, port, directory, space; and measures how long the disk takes to "
        "flush,\n"
        "and whether it can be believed. Each line says ok, warn or fail, and what to do. Exit "
        "code\n"
        "1 when anything failed.\n"
        "\n"
        "Example\n"
        "  refold doctor --data /srv/refold --listen 0.0.0.0:7070\n",
    .run = run,
};
