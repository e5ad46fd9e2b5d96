/* One connection a call: these calls are rare, and a half that was restarted leaves no stale one.
 */
#include "server/client_int.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <llhttp.h>

#include "server/http_int.h"

typedef struct call {
    rf_buf *body;
    int status;
    bool complete;
} call;

static int on_body(llhttp_t *l, const char *p, size_t n)
{
    call *c = l->data;

    rf_buf_add(c->body, p, n);
    return c->body->failed ? -1 : 0;
}

static int on_complete(llhttp_t *l)
{
    call *c = l->data;

    c->status = l->status_code;
    c->complete = l->status_code >= 200;
    return 0;
}

static const llhttp_settings_t SETTINGS = {.on_body = on_body, .on_message_complete = on_complete};

static rf_status wait_ready(int fd, short events, int64_t until, rf_err *err)
{
    for (;;) {
        struct pollfd p = {fd, events, 0};
        int64_t left = (until - rf_mono_us()) / 1000;
        int n = left <= 0 ? 0 : poll(&p, 1, (int)left);

        if (n > 0)
            return RF_OK;
        if (n == 0)
            return rf_err_set(err, RF_ETIMEOUT, "the other half did not answer in time");
        if (errno != EINTR)
            return rf_err_set_errno(err, errno, "waiting for the other half");
    }
}

static rf_status connect_to(const rfi_call_options *o, int *out, rf_err *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    rfi_sock_path path;
    rf_status st = rfi_sock_path_open(&path, o->run_dir, o->socket, err);

    if (st != RF_OK)
        return st;
    memcpy(to.sun_path, path.path, sizeof path.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int e = fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;

    rfi_sock_path_close(&path);
    if (fd < 0)
        return rf_err_set_errno(err, errno, "making a socket");
    if (e == 0) {
        *out = fd;
        return RF_OK;
    }
    close(fd);
    if (e == ENOENT || e == ECONNREFUSED || e == EAGAIN)
        return rf_err_set(err, RF_EBUSY, "nobody answers at %s/%s", o->run_dir, o->socket);
    return rf_err_set_errno(err, e, "connecting to %s/%s", o->run_dir, o->socket);
}

static rf_status send_all(int fd, rf_str bytes, int64_t until, rf_err *err)
{
    while (bytes.n > 0) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);

        if (n >= 0) {
            bytes = (rf_str){bytes.p + n, bytes.n - (size_t)n};
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            rf_status st = wait_ready(fd, POLLOUT, until, err);

            if (st != RF_OK)
                return st;
        } else if (errno != EINTR) {
            return rf_err_set_errno(err, errno, "sending to the other half");
        }
    }
    return RF_OK;
}

static rf_status receive(int fd, call *c, int64_t until, rf_err *err)
{
    char buf[16384];
    llhttp_t parser;

    llhttp_init(&parser, HTTP_RESPONSE, &SETTINGS);
    parser.data = c;
    while (!c->complete) {
        rf_status st = wait_ready(fd, POLLIN, until, err);

        if (st != RF_OK)
            return st;
        ssize_t n = recv(fd, buf, sizeof buf, 0);

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return rf_err_set_errno(err, errno, "reading from the other half");
        llhttp_errno_t e =
            n == 0 ? llhttp_finish(&parser) : llhttp_execute(&parser, buf, (size_t)n);

        if (c->body->failed)
            return rf_err_set(err, RF_ETOOBIG, "the other half's answer is too large");
        if (!c->complete && (e != HPE_OK || n == 0))
            return rf_err_set(err, RF_EIO, "the other half closed in the middle of an answer");
    }
    return RF_OK;
}

rf_status rfi_call(const rfi_call_options *o, int *status, rf_buf *body, rf_err *err)
{
    int64_t until = rf_mono_us() + (int64_t)o->timeout_ms * 1000;
    call c = {body, 0, false};
    rf_buf request;
    int fd = -1;
    rf_status st = connect_to(o, &fd, err);

    if (st != RF_OK)
        return st;
    rf_buf_reset(body);
    rf_buf_init(&request, o->body.n + 4096);
    rf_buf_addf(&request, "%s %s HTTP/1.1\r\nHost: refold\r\nConnection: close\r\n", o->method,
                o->path);
    if (o->content_type != NULL)
        rf_buf_addf(&request, "Content-Type: %s\r\nContent-Length: %zu\r\n", o->content_type,
                    o->body.n);
    rf_buf_add_cstr(&request, "\r\n");
    rf_buf_add_str(&request, o->body);
    st = request.failed ? rf_err_set(err, RF_ENOMEM, "no memory for a request to the other half")
                        : send_all(fd, rf_buf_str(&request), until, err);
    if (st == RF_OK)
        st = receive(fd, &c, until, err);
    *status = c.status;
    rf_buf_clear(&request);
    close(fd);
    return st;
}
