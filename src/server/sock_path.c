/*
 * Addresses of Unix sockets. sun_path holds 107 bytes and data directories may lie deeper; then the
 * directory is opened and the path goes through /proc/self/fd.
 */
#include "server/http_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == sizeof(((rfi_sock_path *)0)->path),
              "what fits here fits there");

rf_status rfi_sock_path_open(rfi_sock_path *p, const char *run_dir, const char *name, rf_err *err)
{
    int n = snprintf(p->path, sizeof p->path, "%s/%s", run_dir, name);

    p->dir_fd = -1;
    if (n > 0 && (size_t)n < sizeof p->path)
        return RF_OK;
    p->dir_fd = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (p->dir_fd < 0)
        return rf_err_set_errno(err, errno, "opening %s", run_dir);
    n = snprintf(p->path, sizeof p->path, "/proc/self/fd/%d", p->dir_fd);
    if (access(p->path, F_OK) != 0) {
        rfi_sock_path_close(p);
        return rf_err_set(
            err, RF_EINVAL,
            "%s/%s is too long for a socket's name (107 bytes), and there is no /proc "
            "to go around it; choose a shorter --data",
            run_dir, name);
    }
    snprintf(p->path + n, sizeof p->path - (size_t)n, "/%s", name);
    return RF_OK;
}

void rfi_sock_path_close(rfi_sock_path *p)
{
    if (p->dir_fd >= 0)
        close(p->dir_fd);
    p->dir_fd = -1;
}
