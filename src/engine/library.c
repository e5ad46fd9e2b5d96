/*
 * Loads libduckdb.so at run time, so that a process which runs no SQL never maps it (70 MB), and
 * fills the table of its functions. Process-wide, once: it is never unloaded.
 */
#include "engine/engine_int.h"

#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>

/* C structures are compatible within it; the tree of json_serialize_sql and the aggregates' states
 * are tried with it. */
#define VERSION_PREFIX "v1.5."

rfi_duckdb rfi_db;

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static bool loaded; /* under load_lock */

static rf_status symbols_fill(void *handle, const char *path, rf_err *err)
{
    rfi_duckdb table;

/* POSIX lets dlsym's object pointer hold a function; C has no cast for it. */
#define RFI_FIND(name)                                                                             \
    {                                                                                              \
        void *symbol = dlsym(handle, "duckdb_" #name);                                             \
        if (symbol == NULL)                                                                        \
            return rf_err_set(err, RF_EUNSUPPORTED, "%s has no function duckdb_" #name, path);     \
        memcpy(&table.name, &symbol, sizeof(symbol));                                              \
    }
    RFI_DUCKDB_SYMBOLS(RFI_FIND)
#undef RFI_FIND
    rfi_db = table;
    return RF_OK;
}

static bool library_try(const char *path, rf_err *err)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *version;

    if (handle == NULL) {
        rf_err_set(err, RF_EUNSUPPORTED, "%s", dlerror());
        return false;
    }
    if (symbols_fill(handle, path, err) != RF_OK)
        return false; /* stays mapped: a C++ library that ran its constructors is not unloaded */
    version = rfi_db.library_version();
    if (strncmp(version, VERSION_PREFIX, sizeof(VERSION_PREFIX) - 1) != 0) {
        rf_err_set(err, RF_EUNSUPPORTED,
                   "%s is DuckDB %s, but this refold needs " VERSION_PREFIX "x", path, version);
        return false;
    }
    return true;
}

/* <dir of the program>/../lib/refold/libduckdb.so */
static bool beside_program(char *out, size_t out_bytes)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char *slash;

    if (n <= 0)
        return false;
    program[n] = '\0';
    slash = strrchr(program, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    n = snprintf(out, out_bytes, "%s/../lib/refold/libduckdb.so", program);
    return n > 0 && (size_t)n < out_bytes;
}

/* A named library must be it; the usual places may each be missing. */
static rf_status library_find(const char *path, rf_err *err)
{
    const char *named = getenv("REFOLD_DUCKDB");
    char beside[PATH_MAX + 64];

    if (named == NULL || named[0] == '\0')
        named = path;
    if (named != NULL) {
        if (library_try(named, err))
            return RF_OK;
        rf_err_note(err, "loading the SQL engine");
        return err->status;
    }
    if (beside_program(beside, sizeof(beside)) && access(beside, F_OK) == 0) {
        if (library_try(beside, err))
            return RF_OK;
        rf_err_note(err, "loading the SQL engine");
        return err->status;
    }
    if (library_try(RF_DUCKDB_DEFAULT_PATH, err))
        return RF_OK;
    return rf_err_set(err, RF_EUNSUPPORTED,
                      "the SQL engine libduckdb.so was not found: neither ../lib/refold beside the "
                      "program nor " RF_DUCKDB_DEFAULT_PATH
                      " has it; set REFOLD_DUCKDB to its path");
}

rf_status rfi_library_load(const char *path, rf_err *err)
{
    rf_status st = RF_OK;

    pthread_mutex_lock(&load_lock);
    if (!loaded) {
        st = library_find(path, err);
        loaded = st == RF_OK;
    }
    pthread_mutex_unlock(&load_lock);
    return st;
}
