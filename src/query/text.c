/*
 * The text before the engine sees it. The engine's own scanner takes minutes for some short texts
 * (comments in a row, nested comments, long runs of operators: quadratic), and a scanner cannot be
 * interrupted. So comments are blanked here, runs are capped and tokens are counted.
 *
 * This scanner decides nothing else: what it takes for a string or a comment only matters for time.
 * What may run is decided on the engine's tree of the text that comes out. Where the engine might
 * read a token otherwise than this scanner does, the text is refused.
 */
#include "query/query_int.h"

#include <string.h>
#include <strings.h>

typedef struct scanner {
    char *p;
    size_t n, at;
    rf_sql_where *where;
    rf_err *err;
} scanner;

rf_sql_where rfi_text_place(rf_str text, size_t byte)
{
    rf_sql_where where = {.line = 1, .column = 1};

    for (size_t i = 0; i < RF_MIN(byte, text.n); i++) {
        if (text.p[i] == '\n') {
            where.line++;
            where.column = 1;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            where.column++;
        }
    }
    return where;
}

size_t rfi_text_byte(rf_str text, rf_sql_where where)
{
    uint32_t line = 1, column = 1;

    for (size_t i = 0; i < text.n; i++) {
        if (((unsigned char)text.p[i] & 0xc0) == 0x80)
            continue;
        if (line == where.line && column == where.column)
            return i;
        if (text.p[i] == '\n') {
            line++;
            column = 1;
        } else {
            column++;
        }
    }
    return SIZE_MAX;
}

static rf_status refuse(scanner *s, size_t at, const char *what)
{
    *s->where = rfi_text_place((rf_str){s->p, s->n}, at);
    return rf_err_set(s->err, RF_EINVAL, "%s", what);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of characters beyond ASCII count as letters, as in the engine. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_operator(char c)
{
    return c != '\0' && strchr("~!@#^&|`?+-*/%<>=", c) != NULL;
}

static char peek(const scanner *s, size_t ahead)
{
    return s->at + ahead < s->n ? s->p[s->at + ahead] : '\0';
}

static void blank(scanner *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (s->p[i] != '\n' && s->p[i] != '\r')
            s->p[i] = ' ';
    }
}

static rf_status block_comment(scanner *s)
{
    size_t start = s->at, depth = 0;

    while (s->at < s->n) {
        if (peek(s, 0) == '/' && peek(s, 1) == '*') {
            depth++;
            s->at += 2;
        } else if (peek(s, 0) == '*' && peek(s, 1) == '/') {
            depth--;
            s->at += 2;
            if (depth == 0) {
                blank(s, start, s->at);
                return RF_OK;
            }
        } else {
            s->at++;
        }
    }
    return refuse(s, start, "Parser Error: unterminated /* comment");
}

/* White space and comments; comments become white space. */
static rf_status space_skip(scanner *s)
{
    while (s->at < s->n) {
        if (is_space(peek(s, 0))) {
            s->at++;
        } else if (peek(s, 0) == '-' && peek(s, 1) == '-') {
            size_t start = s->at;

            while (s->at < s->n && peek(s, 0) != '\n' && peek(s, 0) != '\r')
                s->at++;
            blank(s, start, s->at);
        } else if (peek(s, 0) == '/' && peek(s, 1) == '*') {
            rf_status st = block_comment(s);

            if (st != RF_OK)
                return st;
        } else {
            break;
        }
    }
    return RF_OK;
}

/* The scanner stands on the quote. A doubled quote is one; a missing end is the engine's to name.
 */
static void quoted_skip(scanner *s, char quote)
{
    for (s->at++; s->at < s->n; s->at++) {
        if (peek(s, 0) != quote)
            continue;
        if (peek(s, 1) != quote) {
            s->at++;
            return;
        }
        s->at++;
    }
}

/* E'...' with backslashes. */
static rf_status escaped_skip(scanner *s)
{
    size_t start = s->at;
    rf_status st;

    for (s->at++; s->at < s->n; s->at++) {
        bool pair = peek(s, 0) == '\\' || (peek(s, 0) == '\'' && peek(s, 1) == '\'');

        if (pair)
            s->at++;
        else if (peek(s, 0) == '\'')
            break;
    }
    s->at = RF_MIN(s->at + 1, s->n);
    st = space_skip(s);
    if (st == RF_OK && peek(s, 0) == '\'')
        st = refuse(s, start, "an E'...' string goes on after a line break: write it in one piece");
    return st;
}

/* 'text', or the string behind a prefix that was scanned as a name. */
static rf_status string_skip(scanner *s)
{
    char prefix = s->at > 0 ? s->p[s->at - 1] : ' ';
    char before = s->at > 1 ? s->p[s->at - 2] : ' ';

    if (prefix != 'e' && prefix != 'E') {
        quoted_skip(s, '\'');
        return RF_OK;
    }
    if (is_digit(before) || before == '$' || (unsigned char)before >= 0x80)
        return refuse(s, s->at, "a string begins within a word: put a space before it");
    if (is_letter(before)) {
        quoted_skip(s, '\'');
        return RF_OK;
    }
    return escaped_skip(s);
}

/* $tag$...$tag$, or $1, or a dollar sign. */
static rf_status dollar_skip(scanner *s)
{
    size_t start = s->at, tag = s->at + 1;
    const char *end;

    if (start > 0 && (unsigned char)s->p[start - 1] >= 0x80)
        return refuse(s, start, "a dollar sign behind a letter: put a space before it");
    while (tag < s->n && (is_letter(s->p[tag]) || (tag > start + 1 && is_digit(s->p[tag]))))
        tag++;
    if (tag == s->n || s->p[tag] != '$') {
        s->at++;
        return RF_OK;
    }
    tag++;
    end = memmem(s->p + tag, s->n - tag, s->p + start, tag - start);
    s->at = end != NULL ? (size_t)(end - s->p) + (tag - start) : s->n;
    return RF_OK;
}

static rf_status operators_skip(scanner *s)
{
    size_t start = s->at;

    while (is_operator(peek(s, 0))) {
        if (s->at > start &&
            ((peek(s, 0) == '-' && peek(s, 1) == '-') || (peek(s, 0) == '/' && peek(s, 1) == '*')))
            break; /* a comment begins */
        s->at++;
    }
    if (s->at - start > RFI_OPERATOR_BYTES_MAX)
        return refuse(s, start, "Parser Error: an operator of more than 64 characters");
    return RF_OK;
}

/* The scanner stands on a token's first byte. */
static rf_status token_skip(scanner *s)
{
    char c = peek(s, 0);

    if (c == '\'')
        return string_skip(s);
    if (c == '$')
        return dollar_skip(s);
    if (is_operator(c))
        return operators_skip(s);
    if (c == '"')
        quoted_skip(s, '"');
    else if (is_letter(c))
        while (is_letter(peek(s, 0)) || is_digit(peek(s, 0)) || peek(s, 0) == '$')
            s->at++;
    else if (is_digit(c))
        while (is_digit(peek(s, 0)))
            s->at++;
    else
        s->at++;
    return RF_OK;
}

static bool word_is(const scanner *s, size_t from, const char *word)
{
    return s->at - from == strlen(word) && strncasecmp(s->p + from, word, s->at - from) == 0;
}

/* EXPLAIN at the front. With ANALYZE the engine would run the statement, and what it counts there
 * is not a result that the caps below can hold. */
static rf_status explain_take(scanner *s, rfi_text *text, size_t from)
{
    size_t next;
    rf_status st;

    if (!word_is(s, from, "explain"))
        return RF_OK;
    text->explain = true;
    text->explain_at = from;
    blank(s, from, s->at);
    st = space_skip(s);
    if (st != RF_OK)
        return st;
    next = s->at;
    st = token_skip(s);
    if (st == RF_OK &&
        (word_is(s, next, "analyze") || word_is(s, next, "analyse") || word_is(s, next, "("))) {
        *s->where = rfi_text_place((rf_str){s->p, s->n}, next);
        st =
            rf_err_set(s->err, RF_EFORBIDDEN,
                       "EXPLAIN takes no options here, ANALYZE included: write EXPLAIN SELECT ...");
    }
    return st;
}

static rf_status scan(scanner *s, rfi_text *text)
{
    size_t tokens = 0, from;
    rf_status st;

    for (;;) {
        st = space_skip(s);
        if (st != RF_OK || s->at == s->n)
            break;
        from = s->at;
        st = token_skip(s);
        if (st == RF_OK && tokens == 0)
            st = explain_take(s, text, from);
        if (st != RF_OK)
            break;
        if (++tokens > RFI_TOKENS_MAX)
            return rf_err_set(s->err, RF_ETOOBIG,
                              "the statement has more than %u words: send long lists as "
                              "parameters, or join a relation",
                              RFI_TOKENS_MAX);
    }
    return st;
}

rf_status rfi_text_read(rf_str sql, rf_arena *arena, rfi_text *out, rf_sql_where *where,
                        rf_err *err)
{
    scanner s = {.n = sql.n, .where = where, .err = err};
    size_t bad;

    memset(out, 0, sizeof(*out));
    if (sql.n > RFI_SQL_BYTES_MAX)
        return rf_err_set(err, RF_ETOOBIG, "the statement has %zu bytes; at most %u are possible",
                          sql.n, RFI_SQL_BYTES_MAX);
    if (!rf_utf8_valid(sql.p, sql.n, &bad))
        return rf_err_set(err, RF_EINVAL, "the statement is not UTF-8 (byte %zu)", bad);
    if (sql.n > 0 && memchr(sql.p, 0, sql.n) != NULL)
        return rf_err_set(err, RF_EINVAL, "the statement has a NUL in it");
    s.p = (char *)(uintptr_t)rf_arena_dup(arena, sql).p;
    if (s.p == NULL)
        return rf_err_set(err, RF_ENOMEM, "no memory for the statement");
    out->p = s.p;
    out->n = s.n;
    out->original = sql;
    return scan(&s, out);
}

void rfi_text_break(char *p, size_t n)
{
    rf_sql_where nowhere;
    rf_err err = {0};
    scanner s = {.p = p, .n = n, .where = &nowhere, .err = &err};

    while (s.at < n) {
        if (p[s.at] == ' ')
            p[s.at++] = '\n';
        else if (token_skip(&s) != RF_OK)
            return; /* only comfort is lost */
    }
}
