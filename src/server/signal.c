/* A signalfd: signals become something one can wait for with a time limit. */
#include "server/signal_int.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

rf_status rfi_signals_open(rfi_signals *s, bool ignore_int, rf_err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    if (ignore_int)
        signal(SIGINT, SIG_IGN);
    else
        sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->fd >= 0 ? RF_OK : rf_err_set_errno(err, errno, "taking signals");
}

void rfi_signals_close(rfi_signals *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int rfi_signals_wait(rfi_signals *s, int timeout_ms)
{
    struct pollfd p = {s->fd, POLLIN, 0};
    struct signalfd_siginfo info;

    while (poll(&p, 1, timeout_ms) < 0 && errno == EINTR) {
    }
    if (read(s->fd, &info, sizeof info) != sizeof info)
        return 0;
    return (int)info.ssi_signo;
}
