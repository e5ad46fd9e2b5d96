/*
 * Opening the one database of the process. Its doors are closed before the first statement of
 * anybody else runs: no files, no extensions, no changes of configuration. (That is the second
 * wall, not the first: see query/'s gate.)
 */
#include "engine/engine_int.h"

#include <unistd.h>

/* The write-ahead log grows to this before a commit folds it in; the owner of the database folds
 * it earlier, in idle time. */
#define CHECKPOINT_THRESHOLD "256MB"

#define BUSY_WAIT_MS 2000
#define BUSY_PAUSE_MS 50

static uint64_t memory_default(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    if (pages <= 0 || page <= 0)
        return 1u << 30;
    return (uint64_t)pages * (uint64_t)page / 4;
}

static uint32_t threads_default(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? (uint32_t)n : 1;
}

typedef struct setting {
    const char *name, *value;
} setting;

static rf_status config_fill(duckdb_config config, const rf_engine_options *options,
                             uint32_t threads, rf_err *err)
{
    char memory[32], thread_text[16], temp[4096];
    const setting settings[] = {
        {"memory_limit", memory},
        {"threads", thread_text},
        {"temp_directory", temp}, /* before external access goes: after it, it is refused */
        {"checkpoint_threshold", CHECKPOINT_THRESHOLD},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
        {"enable_external_access", options->external_access ? "true" : "false"},
    };

    snprintf(memory, sizeof(memory), "%lluB",
             (unsigned long long)(options->memory_bytes != 0 ? options->memory_bytes
                                                             : memory_default()));
    snprintf(thread_text, sizeof(thread_text), "%u", threads);
    snprintf(temp, sizeof(temp), "%s.tmp", options->path != NULL ? options->path : "");
    for (size_t i = 0; i < RF_ARRAY_LEN(settings); i++) {
        if (options->path == NULL && strcmp(settings[i].name, "temp_directory") == 0)
            continue;
        if (rfi_db.set_config(config, settings[i].name, settings[i].value) != DuckDBSuccess)
            return rf_err_set(err, RF_EUNSUPPORTED, "the SQL engine does not take %s = %s",
                              settings[i].name, settings[i].value);
    }
    return RF_OK;
}

static rf_status database_open(const rf_engine_options *options, rf_engine *engine, rf_err *err)
{
    duckdb_config config = NULL;
    char *message = NULL;
    rf_status st;

    if (rfi_db.create_config(&config) != DuckDBSuccess)
        return rf_err_set(err, RF_ENOMEM, "no memory for the SQL engine's configuration");
    st = config_fill(config, options, engine->threads, err);
    if (st != RF_OK)
        goto out;
    if (rfi_db.open_ext(options->path, &engine->db, config, &message) == DuckDBSuccess)
        goto out;
    st = rfi_sql_error(err, NULL, message);
    if (message != NULL && strstr(message, "Could not set lock") != NULL)
        st = rf_err_set(err, RF_EBUSY, "another process has the database %s", options->path);
    else
        rf_err_note(err, "opening the database %s",
                    options->path != NULL ? options->path : "in memory");
out:
    if (message != NULL)
        rfi_db.free(message);
    rfi_db.destroy_config(&config);
    return st;
}

/* One that dies may hold the database for a moment still. */
static rf_status database_open_patiently(const rf_engine_options *options, rf_engine *engine,
                                         rf_err *err)
{
    const struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000L};
    rf_status st = database_open(options, engine, err);

    for (int waited_ms = 0; st == RF_EBUSY && waited_ms < BUSY_WAIT_MS;
         waited_ms += BUSY_PAUSE_MS) {
        nanosleep(&pause, NULL);
        *err = (rf_err){0};
        st = database_open(options, engine, err);
    }
    return st;
}

/* Functions, time zone, and then the lock. */
static rf_status database_prepare(rf_engine *engine, bool lock, rf_err *err)
{
    rf_status st;

    st = rf_conn_open(engine, &engine->system, err);
    if (st == RF_OK)
        st = rfi_aggregates_register(engine, err);
    if (st == RF_OK)
        st = rfi_events_register(engine, err);
    if (st == RF_OK)
        st = rf_conn_exec(engine->system, "SET GLOBAL TimeZone = 'UTC'", err);
    if (st == RF_OK && lock)
        st = rf_conn_exec(engine->system, "SET GLOBAL lock_configuration = true", err);
    if (st != RF_OK)
        rf_err_note(err, "preparing the database");
    return st;
}

rf_status rf_engine_open(const rf_engine_options *options, rf_engine **out, rf_err *err)
{
    rf_engine *engine;
    rf_status st;

    *out = NULL;
    st = rfi_library_load(options->library_path, err);
    if (st != RF_OK)
        return st;
    engine = rf_xcalloc(1, sizeof(*engine));
    pthread_mutex_init(&engine->system_lock, NULL);
    engine->view = options->view;
    engine->threads = options->threads != 0 ? options->threads : threads_default();
    engine->shapes = rfi_shapes_new();
    engine->scopes = rfi_scopes_new();
    engine->version = rf_xstrdup(rfi_db.library_version());
    st = database_open_patiently(options, engine, err);
    if (st == RF_OK)
        st = database_prepare(engine, !options->external_access, err);
    if (st != RF_OK)
        rf_engine_close(&engine);
    *out = engine;
    return st;
}

void rf_engine_close(rf_engine **engine_at)
{
    rf_engine *engine = *engine_at;

    if (engine == NULL)
        return;
    rf_conn_close(&engine->system);
    if (engine->db != NULL)
        rfi_db.close(&engine->db);
    rfi_functions_free(&engine->functions);
    rfi_scopes_free(&engine->scopes);
    rfi_shapes_free(&engine->shapes);
    free(engine->version);
    pthread_mutex_destroy(&engine->system_lock);
    free(engine);
    *engine_at = NULL;
}

const char *rf_engine_version(const rf_engine *engine)
{
    return engine->version;
}

uint64_t rf_engine_mismatches(const rf_engine *engine)
{
    return atomic_load_explicit(&engine->mismatches, memory_order_relaxed);
}
