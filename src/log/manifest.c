/* The list of a backup as JSON, a file a line, so that people and other tools can read it too. */
#include "log/manifest_int.h"

#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#define MANIFEST_VERSION 1
#define MANIFEST_BYTES_MAX ((uint64_t)1 << 30)

void rfi_manifest_clear(rfi_manifest *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->files[i].path);
    free(m->files);
    rf_position_clear(&m->ends);
    *m = (rfi_manifest){0};
}

rfi_manifest_file *rfi_manifest_add(rfi_manifest *m, const char *path)
{
    if (m->count == m->cap) {
        m->cap = m->cap == 0 ? 64 : m->cap * 2;
        m->files = rf_xrealloc(m->files, m->cap * sizeof *m->files);
    }
    rfi_manifest_file *f = &m->files[m->count++];
    *f = (rfi_manifest_file){.path = rf_xstrdup(path)};
    return f;
}

static int by_path(const void *a, const void *b)
{
    const rfi_manifest_file *x = a, *y = b;
    return strcmp(x->path, y->path);
}

void rfi_manifest_sort(rfi_manifest *m)
{
    if (m->count > 0)
        qsort(m->files, m->count, sizeof *m->files, by_path);
}

const rfi_manifest_file *rfi_manifest_find(const rfi_manifest *m, const char *path)
{
    rfi_manifest_file wanted = {.path = (char *)(uintptr_t)path};
    return m->count == 0 ? NULL : bsearch(&wanted, m->files, m->count, sizeof *m->files, by_path);
}

/* ---- writing
 * -------------------------------------------------------------------------------------------- */

static void add_ends(const rfi_manifest *m, rf_buf *out)
{
    rf_buf_add_cstr(out, "\"ends\":[");
    for (size_t i = 0; i < m->ends.count; i++) {
        const rf_position_part *p = &m->ends.parts[i];
        rf_buf_addf(out, "%s{\"domain\":\"%s\",\"partition\":%u,\"next\":%llu}", i == 0 ? "" : ",",
                    p->domain, p->partition, (unsigned long long)p->next);
    }
    rf_buf_add_cstr(out, "],\n");
}

static void add_file(const rfi_manifest_file *f, bool last, rf_buf *out)
{
    char hex[2 * RF_SHA256_BYTES + 1];
    rf_hex(f->sha256, sizeof f->sha256, hex);
    rf_buf_add_cstr(out, "{\"path\":");
    rf_buf_add_json_str(out, rf_str_from(f->path));
    rf_buf_addf(out, ",\"bytes\":%llu,\"sha256\":\"%s\"}%s\n", (unsigned long long)f->bytes, hex,
                last ? "" : ",");
}

rf_status rfi_manifest_write(rf_io *io, const char *path, const rfi_manifest *m, rf_err *err)
{
    char created[RF_TIME_TEXT_MAX];
    rf_buf out;
    size_t n = rf_time_format(m->created_us, created);
    rf_buf_init(&out, SIZE_MAX);
    rf_buf_addf(&out, "{\"refoldBackup\":%d,\"created\":\"%.*s\",\n", MANIFEST_VERSION, (int)n,
                created);
    add_ends(m, &out);
    rf_buf_add_cstr(&out, "\"files\":[\n");
    for (size_t i = 0; i < m->count; i++)
        add_file(&m->files[i], i + 1 == m->count, &out);
    rf_buf_add_cstr(&out, "]}\n");
    rf_status st = out.failed ? rf_err_set(err, RF_ENOMEM, "no memory for %s", path)
                              : rf_io_write_file(io, path, rf_buf_str(&out), err);
    rf_buf_clear(&out);
    return st;
}

/* ---- reading
 * -------------------------------------------------------------------------------------------- */

/* Files of a log and nothing else: a manifest must not be able to name what lies elsewhere. */
static bool path_is_sound(const char *path)
{
    size_t slashes = 0;
    if (strcmp(path, "meta") == 0)
        return true;
    for (const char *p = path; *p != '\0'; p++) {
        bool part_begins = p == path || p[-1] == '/';
        if (part_begins && (*p == '.' || *p == '/'))
            return false;
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789_-./", *p) == NULL)
            return false;
        slashes += *p == '/';
    }
    size_t n = strlen(path);
    return slashes >= 1 && slashes <= 2 && path[n - 1] != '/';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(const char *hex, uint8_t out[static RF_SHA256_BYTES])
{
    if (hex == NULL || strlen(hex) != 2 * RF_SHA256_BYTES)
        return false;
    for (size_t i = 0; i < RF_SHA256_BYTES; i++) {
        int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static bool read_file(yyjson_val *v, rfi_manifest *m)
{
    const char *path = yyjson_get_str(yyjson_obj_get(v, "path"));
    yyjson_val *bytes = yyjson_obj_get(v, "bytes");
    if (path == NULL || !path_is_sound(path) || !yyjson_is_uint(bytes))
        return false;
    rfi_manifest_file *f = rfi_manifest_add(m, path);
    f->bytes = yyjson_get_uint(bytes);
    return read_hash(yyjson_get_str(yyjson_obj_get(v, "sha256")), f->sha256);
}

static bool read_end(yyjson_val *v, rfi_manifest *m)
{
    const char *domain = yyjson_get_str(yyjson_obj_get(v, "domain"));
    yyjson_val *partition = yyjson_obj_get(v, "partition"), *next = yyjson_obj_get(v, "next");
    if (!rf_domain_valid(rf_str_from(domain)) || !yyjson_is_uint(partition) ||
        yyjson_get_uint(partition) > UINT32_MAX || !yyjson_is_uint(next))
        return false;
    rf_position_raise(&m->ends, rf_str_from(domain), (uint32_t)yyjson_get_uint(partition),
                      yyjson_get_uint(next));
    return true;
}

static bool read_all(yyjson_val *root, rfi_manifest *m)
{
    yyjson_val *files = yyjson_obj_get(root, "files"), *ends = yyjson_obj_get(root, "ends");
    yyjson_val *v;
    size_t i, n;
    const char *created = yyjson_get_str(yyjson_obj_get(root, "created"));
    if (!yyjson_is_arr(files) || !yyjson_is_arr(ends) || created == NULL ||
        !rf_time_parse(rf_str_from(created), &m->created_us))
        return false;
    yyjson_arr_foreach(files, i, n, v)
    {
        if (!read_file(v, m))
            return false;
    }
    yyjson_arr_foreach(ends, i, n, v)
    {
        if (!read_end(v, m))
            return false;
    }
    rfi_manifest_sort(m);
    return rfi_manifest_find(m, "meta") != NULL;
}

rf_status rfi_manifest_read(rf_io *io, const char *path, rfi_manifest *out, rf_err *err)
{
    rf_buf text;
    *out = (rfi_manifest){0};
    rf_buf_init(&text, SIZE_MAX);
    rf_status st = rf_io_read_file(io, path, MANIFEST_BYTES_MAX, &text, err);
    yyjson_doc *doc = st == RF_OK ? yyjson_read(text.p, text.n, 0) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *version = yyjson_obj_get(root, "refoldBackup");
    if (st == RF_OK && yyjson_is_uint(version) && yyjson_get_uint(version) != MANIFEST_VERSION)
        st = rf_err_set(err, RF_EUNSUPPORTED, "%s: version %llu; this refold reads %d", path,
                        (unsigned long long)yyjson_get_uint(version), MANIFEST_VERSION);
    else if (st == RF_OK && (!yyjson_is_uint(version) || !read_all(root, out)))
        st = rf_err_set(err, RF_ECORRUPT, "%s is damaged or not a manifest", path);
    if (st != RF_OK)
        rfi_manifest_clear(out);
    yyjson_doc_free(doc);
    rf_buf_clear(&text);
    return st;
}

rf_status rfi_file_sha256(rf_io *io, const char *path, uint64_t bytes,
                          uint8_t out[static RF_SHA256_BYTES], rf_err *err)
{
    rf_file *file = NULL;
    const void *map = NULL;
    rf_status st = io->open(io, path, RF_IO_READ, &file, err);
    if (st == RF_OK)
        st = io->map(io, file, bytes, &map, err);
    if (st == RF_OK) {
        rf_str piece = {map, (size_t)bytes};
        rf_sha256(&piece, 1, out);
        io->unmap(io, map, bytes);
    }
    io->close(io, &file);
    return st;
}
