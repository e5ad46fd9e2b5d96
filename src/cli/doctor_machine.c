/* refold doctor: kernel, memory, limits, clock, engine, port. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/doctor_int.h"
#include "engine/engine.h"

void rfi_finding(rfi_doctor *d, rfi_health health, const char *what, const char *advice,
                 const char *fmt, ...)
{
    char found[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(found, sizeof found, fmt, ap);
    va_end(ap);
    d->report(d->arg, health, what, found, health == RFI_OK ? NULL : advice);
}

void rfi_check_kernel(rfi_doctor *d)
{
    struct utsname name;
    unsigned major = 0, minor = 0;

    if (uname(&name) != 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2) {
        rfi_finding(d, RFI_WARN, "kernel", "refold is made for Linux 5.10 and later",
                    "its version could not be read");
        return;
    }
    unsigned version = major * 1000 + minor;

    rfi_finding(
        d,
        version >= 5010   ? RFI_OK
        : version >= 4018 ? RFI_WARN
                          : RFI_FAIL,
        "kernel", "use Linux 5.10 or later: older ones lose write errors that fsync should report",
        "Linux %s on %s, %ld cores", name.release, name.machine, sysconf(_SC_NPROCESSORS_ONLN));
}

void rfi_check_memory(rfi_doctor *d)
{
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t engine = d->config->server.engine_memory_bytes;
    char have[32], want[32];

    if (engine == 0)
        engine = total / 4;
    rfi_finding(d,
                engine > total                ? RFI_FAIL
                : total < ((uint64_t)1 << 30) ? RFI_WARN
                                              : RFI_OK,
                "memory",
                engine > total ? "lower read.memory: the engine may take more than there is"
                               : "1 GiB or more keeps rebuilds fast",
                "%s, of which the SQL engine may take %s", rf_format_bytes(total, have),
                rf_format_bytes(engine, want));
}

void rfi_check_limits(rfi_doctor *d)
{
    struct rlimit files = {0}, size = {0};

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        uint64_t want = d->config->server.connections_max + 512ull;
        bool none = files.rlim_cur == RLIM_INFINITY;

        rfi_finding(d,
                    none || files.rlim_cur >= want ? RFI_OK
                    : files.rlim_cur >= 256        ? RFI_WARN
                                                   : RFI_FAIL,
                    "open files",
                    "raise it (ulimit -n, LimitNOFILE= in a systemd unit) or lower "
                    "http.max-connections",
                    "limit is %llu; %llu serve all connections that are allowed",
                    (unsigned long long)files.rlim_cur, (unsigned long long)want);
    }
    if (getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur != RLIM_INFINITY)
        rfi_finding(d,
                    size.rlim_cur < 2 * d->config->server.segment_bytes_max ? RFI_FAIL : RFI_WARN,
                    "file size", "lift it: ulimit -f unlimited", "files may not exceed %llu bytes",
                    (unsigned long long)size.rlim_cur);
}

/* Does the wall clock make sense, is it kept in step, and does the other one only go forward? */
void rfi_check_clock(rfi_doctor *d)
{
    const int64_t y2025 = 1735689600, y2100 = 4102444800;
    int64_t wall = rf_wall_us(), mono = rf_mono_us();
    struct timex state = {0};
    char text[RF_TIME_TEXT_MAX];
    size_t n = rf_time_format(wall / 1000000 * 1000000, text);

    usleep(20000);
    int64_t drift = (rf_wall_us() - wall) - (rf_mono_us() - mono);
    int in_step = adjtimex(&state);

    if (wall / 1000000 < y2025 || wall / 1000000 > y2100)
        rfi_finding(d, RFI_FAIL, "clock", "set the clock: events are stamped with it",
                    "it says %.*s", (int)n, text);
    else if (drift > 10000 || drift < -10000)
        rfi_finding(d, RFI_WARN, "clock",
                    "something is setting the clock right now; nothing of refold depends on it but "
                    "recordedtime, which never goes back",
                    "it jumped by %lld ms within 20 ms", (long long)(drift / 1000));
    else if (in_step == TIME_ERROR || (in_step >= 0 && (state.status & STA_UNSYNC) != 0))
        rfi_finding(d, RFI_WARN, "clock",
                    "run chrony or systemd-timesyncd, here or on the host of this container",
                    "%.*s, not in step with a time server", (int)n, text);
    else
        rfi_finding(d, RFI_OK, "clock", NULL, "%.*s, in step with a time server", (int)n, text);
}

void rfi_check_engine(rfi_doctor *d)
{
    rf_engine_options options = {.path = NULL, .threads = 1, .memory_bytes = 256u << 20};
    rf_engine *engine = NULL;
    rf_err err = {0};

    if (rf_engine_open(&options, &engine, &err) == RF_OK)
        rfi_finding(d, RFI_OK, "SQL engine", NULL, "DuckDB %s", rf_engine_version(engine));
    else
        rfi_finding(d, RFI_FAIL, "SQL engine",
                    "put libduckdb.so into ../lib/refold beside the program, or name it in "
                    "REFOLD_DUCKDB",
                    "%s", err.text);
    rf_engine_close(&engine);
}

/* RF_OK: it can be listened on. *why gets errno. */
static bool can_listen(const char *host, uint16_t port, int *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    char service[8];
    int on = 1;

    snprintf(service, sizeof service, "%u", port);
    *why = EADDRNOTAVAIL;
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return false;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, 1) == 0;

    *why = ok ? 0 : errno;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(list);
    return ok;
}

static bool is_refold(const char *host, uint16_t port)
{
    char url[300];
    rf_reply reply = {0};
    rf_err err = {0};

    snprintf(url, sizeof url, strchr(host, ':') != NULL ? "http://[%s]:%u" : "http://%s:%u", host,
             port);
    rf_client *client = rf_client_new(url);

    rf_client_set_timeout(client, 2000); /* whoever listens there may never answer */
    bool is = rf_client_send(client, "GET", "/v1/status", NULL, (rf_str){NULL, 0}, &reply, &err) ==
                  RF_OK &&
              reply.status == 200;

    rf_client_free(&client);
    rf_buf_clear(&reply.body);
    return is;
}

void rfi_check_port(rfi_doctor *d)
{
    const char *host = d->config->server.listen_host;
    uint16_t port = d->config->server.listen_port;
    int why = 0;

    if (can_listen(host, port, &why))
        rfi_finding(d, RFI_OK, "port", NULL, "%s:%u is free", host, port);
    else if (why == EADDRINUSE && is_refold(host, port))
        rfi_finding(d, RFI_WARN, "port", "that is fine if it is yours; else listen on another port",
                    "a refold server answers at %s:%u already", host, port);
    else
        rfi_finding(d, RFI_FAIL, "port",
                    why == EADDRINUSE ? "stop the other program (ss -ltnp names it) or choose "
                                        "another port with --listen"
                    : why == EACCES   ? "ports below 1024 need CAP_NET_BIND_SERVICE; choose another"
                                      : "choose an address of this machine with --listen",
                    "%s:%u: %s", host, port, strerror(why));
}
