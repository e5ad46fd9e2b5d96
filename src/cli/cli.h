/*
 * cli: one file per subcommand (verb), and what they share: options, the HTTP client, tables,
 * progress. Talks to servers over HTTP; only `serve`, `verify`, `doctor` and `import` touch files.
 *
 * Exit codes of every verb: 0 done, 1 it failed (stderr says why), 2 wrong usage.
 */
#ifndef RF_CLI_H
#define RF_CLI_H

#include <stdio.h>

#include "base/base.h"

enum { RF_EXIT_OK = 0, RF_EXIT_FAILED = 1, RF_EXIT_USAGE = 2 };

typedef struct rf_verb {
    const char *name;
    const char *summary; /* one line */
    const char *help;    /* what `refold VERB --help` prints: usage, text, options, examples */
    /* argv[0] is the verb's name. Returns an exit code. */
    int (*run)(int argc, char **argv);
    void (*more_help)(FILE *out); /* printed after `help`; may be NULL */
} rf_verb;

extern const rf_verb rf_verb_serve, rf_verb_send, rf_verb_import, rf_verb_events, rf_verb_sql,
    rf_verb_apply, rf_verb_projections, rf_verb_rebuild, rf_verb_status, rf_verb_verify,
    rf_verb_doctor, rf_verb_backup, rf_verb_restore, rf_verb_log, rf_verb_repair,
    rf_verb_completion, rf_verb_version;

/* All verbs in the order of the help, ended by NULL. */
extern const rf_verb *const rf_verbs[];
/* NULL when there is none; *nearest gets the closest name then (may be NULL). */
const rf_verb *rf_verb_find(const char *name, const char **nearest);

/* The program: dispatches to a verb. */
int rf_cli_main(int argc, char **argv);

/* ---- HTTP client (libcurl); one thread a client
 * ---------------------------------------------------- */

typedef struct rf_client rf_client;

typedef struct rf_reply {
    long status;
    rf_buf body;
    char content_type[96];
} rf_reply;

/* url: http://HOST:PORT or unix:PATH. Connects at the first request. */
rf_client *rf_client_new(const char *url);
void rf_client_free(rf_client **c);
/* At most so long for a whole request; 0, as made: as long as it takes. */
void rf_client_set_timeout(rf_client *c, uint32_t timeout_ms);
/*
 * One request. `headers` is NULL or a NULL-ended list of "Name: value". The reply is reset first
 * and belongs to the caller (rf_buf_clear(&reply->body)). RF_OK whatever the HTTP status; RF_EBUSY
 * "no server at URL…" when nothing answers, RF_ETIMEOUT, RF_EIO.
 */
RF_CHECKED rf_status rf_client_send(rf_client *c, const char *method, const char *path,
                                    const char *const *headers, rf_str body, rf_reply *reply,
                                    rf_err *err);
/* The same with a body that is produced while it is sent (chunked): read(arg, buf, n) returns how
 * many bytes it put there, 0 at the end, -1 to give up. */
RF_CHECKED rf_status rf_client_stream(rf_client *c, const char *method, const char *path,
                                      const char *const *headers,
                                      long (*read)(void *arg, char *buf, size_t n), void *arg,
                                      rf_reply *reply, rf_err *err);
/* 2xx: RF_OK. Else turns the problem document into *err ("422 bad-time: …", first errors[] too). */
RF_CHECKED rf_status rf_reply_check(const rf_reply *reply, rf_err *err);
/* Appends s percent-encoded as one path segment or query value. */
void rf_url_encode(rf_buf *out, rf_str s);

/* ---- options ------------------------------------------------------------------------------------
 */

/* One "--name" of a verb: with a value (text) or without (on). The last has name NULL. */
typedef struct rf_flag {
    const char *name;
    const char **text;
    bool *on;
} rf_flag;

/*
 * Reads "--name value", "--name=value" and "--name"; the rest are positional (everything after
 * "--"). Returns RF_EXIT_OK, or RF_EXIT_USAGE after it has said what was wrong.
 */
int rf_cli_flags(const rf_verb *verb, int argc, char **argv, const rf_flag *flags,
                 const char **positional, size_t positional_max, size_t *positional_count);
/* A whole number of a flag; false after it has said what was wrong. NULL text leaves *out alone. */
bool rf_cli_number(const rf_verb *verb, const char *flag, const char *text, uint64_t min,
                   uint64_t max, uint64_t *out);
/* Reads a file, or standard input for "-", whole (at most max bytes). */
RF_CHECKED rf_status rf_cli_read_input(const char *path, uint64_t max, rf_buf *out, rf_err *err);
/* One request that answers JSON: sends, checks the status, leaves the body in *reply. */
RF_CHECKED rf_status rf_cli_call(const char *url, const char *method, const char *path,
                                 const char *content_type, rf_str body, rf_reply *reply,
                                 rf_err *err);

/* Prints "refold VERB: text" and a pointer to --help on stderr; returns RF_EXIT_USAGE. */
int rf_cli_usage(const rf_verb *verb, const char *fmt, ...) RF_PRINTF(2, 3);
/* Prints "refold VERB: text" on stderr; returns RF_EXIT_FAILED. */
int rf_cli_failed(const rf_verb *verb, const rf_err *err);
/* The server's URL: `flag` when not NULL, else REFOLD_URL, else http://127.0.0.1:7070. */
const char *rf_cli_url(const char *flag);
bool rf_cli_color(FILE *out);  /* a terminal, and NO_COLOR is not set */
unsigned rf_cli_columns(void); /* width of the terminal on stderr; 80 when unknown */

/* ---- showing things
 * ---------------------------------------------------------------------------------- */

typedef struct rf_table rf_table;
rf_table *rf_table_new(size_t columns);
void rf_table_free(rf_table **t);
/* `right`: align to the right. Call once per column, in order. */
void rf_table_head(rf_table *t, rf_str name, bool right);
void rf_table_cell(rf_table *t, rf_str text); /* row by row */
void rf_table_print(const rf_table *t, FILE *out);
/* Prints a JSON query answer ({"columns","rows"}) as a table; RF_EINVAL when it is none. */
RF_CHECKED rf_status rf_table_print_answer(rf_str json, FILE *out, rf_err *err);
/* The same answer as bars: label from the first column, length from the first number after it. */
RF_CHECKED rf_status rf_chart_print_answer(rf_str json, FILE *out, rf_err *err);
/* Horizontal bars: label, bar, value. The longest takes `width` cells; below zero they go left. */
void rf_chart_bars(FILE *out, const char *const *labels, const double *values, size_t count,
                   unsigned width);

/* Progress on stderr: a bar on a terminal, nothing elsewhere (or a plain line every 10 s with
 * `verbose`). total 0: unknown. */
typedef struct rf_progress {
    const char *what, *unit;
    uint64_t total, done;
    int64_t started_us, shown_us;
    bool on, shown;
} rf_progress;
void rf_progress_begin(rf_progress *p, const char *what, const char *unit, uint64_t total,
                       bool off);
void rf_progress_update(rf_progress *p, uint64_t done);
/* Clears the bar, so that a line can be printed; the next update draws it again. */
void rf_progress_pause(rf_progress *p);
void rf_progress_end(rf_progress *p);

/* "1234567" -> "1,234,567"; into buf, returns buf. */
const char *rf_format_count(uint64_t v, char buf[static 32]);
/* "12.3 MiB". */
const char *rf_format_bytes(uint64_t v, char buf[static 32]);

#endif
