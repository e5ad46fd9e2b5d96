/*
 * STARTING --healthy--> UP --ended--> AWAY --pause, start, healthy--> UP
 *
 * The child dies with us: PR_SET_PDEATHSIG is set between fork and exec, and is about the thread
 * that forked, which is the supervisor's own and lives as long as the write half.
 *
 * A reader that does not answer /healthz for UNHEALTHY_MAX calls in a row is killed: it is
 * crash-only, and one that hangs is worse than none.
 */
#include "server/supervise_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/client_int.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define HEALTHY_US 1000000 /* was up for so long: the next pause is short again */
#define STARTING_POLL_MS 20
#define HEALTH_EVERY_MS 2000
#define HEALTH_TIMEOUT_MS 3000
#define UNHEALTHY_MAX 4
#define TERM_MS 3000

struct rfi_supervisor {
    char *const *argv;
    const char *run_dir;
    pthread_t thread;
    bool started;
    int wake; /* eventfd: stop */
    pthread_mutex_t mutex;
    rfi_reader_info info; /* guarded by mutex */
    bool stopping;        /* guarded by mutex */
    /* the thread's own */
    int pidfd;                 /* -1: this kernel has none; then we look every 20 ms */
    int64_t started_us, up_us; /* up_us: when it was first healthy; 0: not yet */
    uint32_t unhealthy;
};

const char *rfi_reader_state_name(rfi_reader_state state)
{
    static const char *const names[] = {
        [RFI_READER_STARTING] = "starting", [RFI_READER_UP] = "up", [RFI_READER_AWAY] = "away"};

    return names[state];
}

uint32_t rfi_backoff_ms(uint32_t before_ms, int64_t up_us)
{
    if (before_ms == 0 || up_us >= HEALTHY_US)
        return BACKOFF_MIN_MS;
    return RF_MIN(before_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

static void set_state(rfi_supervisor *s, rfi_reader_state state, int pid)
{
    pthread_mutex_lock(&s->mutex);
    s->info.state = state;
    s->info.pid = pid;
    s->info.since_us = rf_mono_us();
    pthread_mutex_unlock(&s->mutex);
}

static bool stopping(rfi_supervisor *s)
{
    pthread_mutex_lock(&s->mutex);
    bool yes = s->stopping;

    pthread_mutex_unlock(&s->mutex);
    return yes;
}

/* ---- the child --------------------------------------------------------------------------------
 */

/* Between fork and exec only what is async-signal-safe may be called. */
static _Noreturn void become_reader(char *const *argv, pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0); /* it died before we could ask to die with it */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDONLY);

    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is the write half's */
    syscall(SYS_close_range, 3, ~0u, 0);
    execv(argv[0], argv);
    _exit(127);
}

static int start_reader(rfi_supervisor *s)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0)
        become_reader(s->argv, parent);
    if (pid < 0) {
        rf_diag(RF_DIAG_ERROR, "starting the read half: %s", strerror(errno));
        return 0;
    }
    s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    s->started_us = rf_mono_us();
    s->up_us = 0;
    s->unhealthy = 0;
    return (int)pid;
}

static void describe_exit(rfi_supervisor *s, int status)
{
    pthread_mutex_lock(&s->mutex);
    if (WIFSIGNALED(status))
        snprintf(s->info.last_exit, sizeof s->info.last_exit, "killed by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 70)
        snprintf(s->info.last_exit, sizeof s->info.last_exit,
                 "ended itself: a query did not stop at its deadline");
    else if (WEXITSTATUS(status) == 127)
        snprintf(s->info.last_exit, sizeof s->info.last_exit, "could not run %.60s", s->argv[0]);
    else
        snprintf(s->info.last_exit, sizeof s->info.last_exit, "exit code %d", WEXITSTATUS(status));
    pthread_mutex_unlock(&s->mutex);
}

/* Has it ended? */
static bool reap(rfi_supervisor *s, int pid)
{
    int status;

    if (waitpid(pid, &status, WNOHANG) != pid)
        return false;
    if (s->pidfd >= 0)
        close(s->pidfd);
    s->pidfd = -1;
    describe_exit(s, status);
    return true;
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

/* Until the child ends, we are told to stop, or the time is over. */
static void wait_for_news(rfi_supervisor *s, int pid, uint32_t timeout_ms)
{
    struct pollfd fds[2] = {{s->wake, POLLIN, 0}, {s->pidfd, POLLIN, 0}};

    if (pid != 0 && s->pidfd < 0)
        timeout_ms = RF_MIN(timeout_ms, (uint32_t)STARTING_POLL_MS);
    poll(fds, pid != 0 && s->pidfd >= 0 ? 2 : 1, (int)timeout_ms);
}

static bool healthy(rfi_supervisor *s, uint32_t timeout_ms)
{
    rfi_call_options o = {.run_dir = s->run_dir,
                          .socket = "read.sock",
                          .method = "GET",
                          .path = "/healthz",
                          .timeout_ms = timeout_ms};
    rf_err err = {0};
    rf_buf body;
    int status = 0;

    rf_buf_init(&body, 1u << 16);
    rf_status st = rfi_call(&o, &status, &body, &err);

    rf_buf_clear(&body);
    return st == RF_OK && status == 200;
}

/* One look at a child that runs. */
static void look_after(rfi_supervisor *s, int pid)
{
    rfi_reader_info now;

    rfi_supervisor_get(s, &now);
    if (now.state != RFI_READER_UP) {
        if (healthy(s, HEALTH_TIMEOUT_MS)) {
            rf_diag(RF_DIAG_INFO, "read half is up (pid %d, %.2f s)", pid,
                    (double)(rf_mono_us() - s->started_us) / 1e6);
            s->up_us = rf_mono_us();
            set_state(s, RFI_READER_UP, pid);
        } else {
            wait_for_news(s, pid, STARTING_POLL_MS);
        }
        return;
    }
    wait_for_news(s, pid, HEALTH_EVERY_MS);
    if (stopping(s) || kill(pid, 0) != 0)
        return;
    s->unhealthy = healthy(s, HEALTH_TIMEOUT_MS) ? 0 : s->unhealthy + 1;
    if (s->unhealthy >= UNHEALTHY_MAX) {
        rf_diag(RF_DIAG_ERROR, "read half (pid %d) does not answer any more: killing it", pid);
        kill(pid, SIGKILL);
    }
}

static void end_reader(rfi_supervisor *s, int pid)
{
    int64_t until = rf_mono_us() + TERM_MS * INT64_C(1000);

    kill(pid, SIGTERM);
    while (!reap(s, pid)) {
        if (rf_mono_us() >= until)
            kill(pid, SIGKILL);
        struct pollfd p = {s->pidfd, POLLIN, 0};

        poll(&p, s->pidfd >= 0 ? 1 : 0, STARTING_POLL_MS);
    }
}

static void *run(void *arg)
{
    rfi_supervisor *s = arg;
    uint32_t pause_ms = 0;
    int pid = 0;

    pthread_setname_np(pthread_self(), "refold-watch");
    while (!stopping(s)) {
        if (pid == 0) {
            pid = start_reader(s);
            if (pid == 0) {
                wait_for_news(s, 0, BACKOFF_MAX_MS);
                continue;
            }
            pthread_mutex_lock(&s->mutex);
            s->info.pid = pid;
            pthread_mutex_unlock(&s->mutex);
        }
        look_after(s, pid);
        if (!reap(s, pid))
            continue;
        pid = 0;
        if (stopping(s))
            break;
        pause_ms = rfi_backoff_ms(pause_ms, s->up_us == 0 ? 0 : rf_mono_us() - s->up_us);
        rf_diag(RF_DIAG_WARN, "read half ended (%s); restarting in %u ms", s->info.last_exit,
                pause_ms);
        set_state(s, RFI_READER_AWAY, 0);
        pthread_mutex_lock(&s->mutex);
        s->info.restarts++;
        pthread_mutex_unlock(&s->mutex);
        wait_for_news(s, 0, pause_ms);
    }
    if (pid != 0)
        end_reader(s, pid);
    set_state(s, RFI_READER_AWAY, 0);
    return NULL;
}

/* ---- from outside -----------------------------------------------------------------------------
 */

rf_status rfi_supervisor_open(char *const *argv, const char *run_dir, rfi_supervisor **out,
                              rf_err *err)
{
    rfi_supervisor *s = rf_xcalloc(1, sizeof *s);

    *out = NULL;
    s->argv = argv;
    s->run_dir = run_dir;
    s->pidfd = -1;
    s->info.state = RFI_READER_STARTING;
    s->info.since_us = rf_mono_us();
    s->wake = eventfd(0, EFD_CLOEXEC);
    if (s->wake < 0) {
        free(s);
        return rf_err_set_errno(err, errno, "preparing to watch over the read half");
    }
    pthread_mutex_init(&s->mutex, NULL);
    *out = s;
    return RF_OK;
}

rf_status rfi_supervisor_start(rfi_supervisor *s, rf_err *err)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = pthread_create(&s->thread, NULL, run, s);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->started = e == 0;
    return e == 0 ? RF_OK : rf_err_set_errno(err, e, "starting to watch over the read half");
}

void rfi_supervisor_stop(rfi_supervisor **supervisor)
{
    rfi_supervisor *s = *supervisor;
    uint64_t one = 1;

    if (s == NULL)
        return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_mutex_unlock(&s->mutex);
    if (write(s->wake, &one, sizeof one) != sizeof one) {
        /* an eventfd at 0 takes it */
    }
    if (s->started)
        pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->mutex);
    close(s->wake);
    free(s);
    *supervisor = NULL;
}

void rfi_supervisor_get(rfi_supervisor *s, rfi_reader_info *out)
{
    pthread_mutex_lock(&s->mutex);
    *out = s->info;
    pthread_mutex_unlock(&s->mutex);
}
