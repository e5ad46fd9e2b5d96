/*
 * The engine's error texts, which look like
 *
 *   Binder Error: Referenced column "foo" not found in FROM clause!
 *   Candidate bindings: "i"
 *
 *   LINE 2:   foo
 *             ^
 *
 * become one line, a status by their first word, and a place.
 */
#include "engine/engine_int.h"

#define CARRY_OPEN "refold["
#define CARRY_CLOSE "]: "

static const struct {
    const char *kind;
    rf_status status;
} kinds[] = {
    {"INTERRUPT Error", RF_ECANCELED},
    {"Out of Memory Error", RF_ENOMEM},
    {"IO Error", RF_EIO},
    {"Permission Error", RF_EFORBIDDEN},
    {"TransactionContext Error", RF_EBUSY},
    {"INTERNAL Error", RF_EINTERNAL},
    {"FATAL Error", RF_EINTERNAL},
    {"Serialization Error", RF_EINTERNAL},
};

void rfi_sql_error_carry(const rf_err *err, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, CARRY_OPEN "%d" CARRY_CLOSE "%s", (int)err->status, err->text);
}

/* An error of ours that went through the engine: its status, and where its text begins. */
static bool carried(const char *message, rf_status *status, const char **text)
{
    const char *open = strstr(message, CARRY_OPEN);
    const char *p;
    int number = 0;

    if (open == NULL)
        return false;
    p = open + sizeof(CARRY_OPEN) - 1;
    while (*p >= '0' && *p <= '9' && number < RF_STATUS_COUNT)
        number = number * 10 + (*p++ - '0');
    if (strncmp(p, CARRY_CLOSE, sizeof(CARRY_CLOSE) - 1) != 0 || number <= RF_OK ||
        number >= RF_STATUS_COUNT)
        return false;
    *status = (rf_status)number;
    *text = p + sizeof(CARRY_CLOSE) - 1;
    return true;
}

static size_t utf8_count(const char *p, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)p[i] & 0xC0) != 0x80;
    return count;
}

rf_sql_where rfi_sql_place(rf_str sql, size_t byte)
{
    rf_sql_where where = {.line = 1, .column = 1};
    size_t line_start = 0;

    if (byte > sql.n)
        byte = sql.n;
    for (size_t i = 0; i < byte; i++) {
        if (sql.p[i] == '\n') {
            where.line++;
            line_start = i + 1;
        }
    }
    where.column = (uint32_t)utf8_count(sql.p + line_start, byte - line_start) + 1;
    return where;
}

/* "LINE 2:   foo\n          ^": the caret stands below the place. A long line is cut in front with
 * "...": then only the line is known. */
static void place_find(const char *block, rf_sql_where *where)
{
    const char *p = block + sizeof("LINE ") - 1;
    const char *text, *newline, *caret;
    uint32_t line = 0;
    size_t prefix, caret_column;

    while (*p >= '0' && *p <= '9')
        line = line * 10 + (uint32_t)(*p++ - '0');
    if (line == 0 || strncmp(p, ": ", 2) != 0)
        return;
    text = p + 2;
    prefix = (size_t)(text - block);
    newline = strchr(text, '\n');
    if (newline == NULL)
        return;
    caret = strchr(newline, '^');
    where->line = line;
    if (caret == NULL || strncmp(text, "...", 3) == 0)
        return;
    caret_column = (size_t)(caret - newline - 1);
    if (caret_column < prefix)
        return;
    /* The caret is placed by display width; for what it stands below, characters are near enough.
     */
    where->column = (uint32_t)(caret_column - prefix) + 1;
}

rf_status rfi_sql_error(rf_err *err, rf_sql_where *where, const char *message)
{
    rf_status status = RF_EINVAL;
    const char *text, *end, *line;
    char flat[RF_ERR_TEXT_MAX];
    size_t n = 0;

    if (message == NULL)
        message = "the SQL engine gave no reason";
    text = message;
    if (!carried(message, &status, &text)) {
        for (size_t i = 0; i < RF_ARRAY_LEN(kinds); i++) {
            if (strncmp(message, kinds[i].kind, strlen(kinds[i].kind)) == 0)
                status = kinds[i].status;
        }
    }
    line = strstr(text, "\nLINE ");
    end = line != NULL ? line : text + strlen(text);
    for (const char *p = text; p < end && n + 1 < sizeof(flat); p++) {
        bool space = *p == '\n' || *p == '\r' || *p == '\t';

        if (space && (n == 0 || flat[n - 1] == ' '))
            continue;
        flat[n++] = space ? ' ' : *p;
    }
    while (n > 0 && flat[n - 1] == ' ')
        n--;
    flat[n] = '\0';
    if (where != NULL) {
        *where = (rf_sql_where){0};
        if (line != NULL)
            place_find(line + 1, where);
    }
    return rf_err_set(err, status, "%s", flat);
}
