/*
 * The HTTP server: opens loops, takes connections on the first, hands them round, and ends them.
 *
 * One thread accepts (the first loop's) and gives each new connection to the next loop in turn: one
 * listening socket, so that "the port is taken" is seen, which SO_REUSEPORT would hide.
 *
 * End: drain (listeners closed, connections end after the request they are in), then close: what is
 * left is cut, and a loop ends when no connection and no reference to a request is left.
 */
#include "server/conn_int.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 1024
#define ACCEPT_PAUSE_MS 100 /* after EMFILE and its kin: else the loop would spin */
#define ACCEPTS_MAX 64      /* in one go, so that nobody else on the loop starves */

typedef struct rfi_listener rfi_listener;
struct rfi_listener {
    rfi_listener *next;
    rfi_http *http;
    uv_poll_t poll;
    uv_timer_t pause;
    int fd;
    bool local;
    bool closing;
    int handles; /* open ones */
    rfi_sock_path path;
    char *unlink_at; /* of a Unix socket */
};

/* A connection on its way to another loop. */
struct rfi_handover {
    struct rfi_handover *next;
    int fd;
    bool local;
};

/* ---- loops ------------------------------------------------------------------------------------
 */

static void maybe_stop(rfi_http_loop *l)
{
    if (!l->closing || l->conn_count > 0 || l->req_count > 0)
        return;
    if (!uv_is_closing((uv_handle_t *)&l->sweep))
        uv_close((uv_handle_t *)&l->sweep, NULL);
    rfi_loop_stop(&l->base);
}

void rfi_http_conn_gone(rfi_http_loop *l)
{
    rfi_http *h = l->http;

    if (l->conn_count > 0)
        l->conn_count--;
    pthread_mutex_lock(&h->mutex);
    if (atomic_fetch_sub(&h->conn_count, 1) == 1)
        pthread_cond_broadcast(&h->drained);
    pthread_mutex_unlock(&h->mutex);
    maybe_stop(l);
}

void rfi_http_req_gone(rfi_http_loop *l)
{
    maybe_stop(l);
}

const char *rfi_http_date(rfi_http_loop *l)
{
    time_t now = time(NULL);
    struct tm tm;

    if (now != l->date_at) {
        l->date_at = now;
        gmtime_r(&now, &tm);
        strftime(l->date, sizeof l->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return l->date;
}

static void on_sweep(uv_timer_t *timer)
{
    rfi_http_loop *l = timer->data;
    uint64_t now = uv_now(&l->base.uv);

    for (rfi_conn *c = l->conns, *next; c != NULL; c = next) {
        next = c->next;
        rfi_conn_sweep(c, now);
    }
}

static void adopt(rfi_http_loop *l, int fd, bool local)
{
    rfi_conn_open(l, fd, local);
}

static void on_accepted(rfi_post *post)
{
    rfi_http_loop *l = (rfi_http_loop *)((char *)post - offsetof(rfi_http_loop, accepted));
    struct rfi_handover *list;

    pthread_mutex_lock(&l->mutex);
    list = l->handovers;
    l->handovers = NULL;
    pthread_mutex_unlock(&l->mutex);
    while (list != NULL) {
        struct rfi_handover *one = list;

        list = one->next;
        adopt(l, one->fd, one->local);
        free(one);
    }
}

static void close_listeners(rfi_http *h);

static void on_drain_post(rfi_post *post)
{
    rfi_http_loop *l = (rfi_http_loop *)((char *)post - offsetof(rfi_http_loop, drain));

    if (l == &l->http->loops[0])
        close_listeners(l->http);
    for (rfi_conn *c = l->conns, *next; c != NULL; c = next) {
        next = c->next;
        rfi_conn_drain(c);
    }
}

static void on_stop_post(rfi_post *post)
{
    rfi_http_loop *l = (rfi_http_loop *)((char *)post - offsetof(rfi_http_loop, stop));

    l->closing = true;
    if (l == &l->http->loops[0])
        close_listeners(l->http);
    while (l->conns != NULL)
        rfi_conn_close(l->conns);
    if (l->http->options.loop_stop != NULL)
        l->http->options.loop_stop(&l->base);
    maybe_stop(l);
}

/* Often enough that a deadline is late by a quarter at most; seldom enough to cost nothing. */
static uint64_t sweep_ms(const rfi_http_options *o)
{
    uint64_t least = RF_MIN(RF_MIN(o->head_timeout_ms, o->idle_timeout_ms), o->body_window_ms);

    return RF_MAX((uint64_t)10, RF_MIN(least / 4, (uint64_t)500));
}

static rf_status open_loop(rfi_http *h, rfi_http_loop *l, rf_err *err)
{
    rf_status st = rfi_loop_open(&l->base, err);

    if (st != RF_OK)
        return st;
    l->http = h;
    rf_buf_init(&l->scratch, 64u << 10);
    rf_buf_reserve(&l->scratch, 8u << 10);
    l->read_buf = rf_xmalloc(RFI_READ_BYTES);
    pthread_mutex_init(&l->mutex, NULL);
    l->accepted.run = on_accepted;
    l->drain.run = on_drain_post;
    l->stop.run = on_stop_post;
    uv_timer_init(&l->base.uv, &l->sweep);
    l->sweep.data = l;
    uint64_t every = sweep_ms(&h->options);

    uv_timer_start(&l->sweep, on_sweep, every, every);
    return RF_OK;
}

static void close_loop(rfi_http_loop *l)
{
    if (!uv_is_closing((uv_handle_t *)&l->sweep))
        uv_close((uv_handle_t *)&l->sweep, NULL);
    rfi_loop_close(&l->base);
    RF_ASSERT(l->conns == NULL && l->req_count == 0);
    while (l->pool != NULL) {
        rfi_req *r = l->pool;

        l->pool = r->next;
        rfi_head_clear(&r->head);
        rf_buf_clear(&r->headers_out);
        free(r);
    }
    while (l->handovers != NULL) {
        struct rfi_handover *one = l->handovers;

        l->handovers = one->next;
        close(one->fd);
        free(one);
    }
    rf_buf_clear(&l->scratch);
    free(l->read_buf);
    pthread_mutex_destroy(&l->mutex);
}

/* ---- accepting --------------------------------------------------------------------------------
 */

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    rfi_listener *l = timer->data;

    if (!l->closing)
        uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static void give(rfi_http *h, int fd, bool local)
{
    rfi_http_loop *l = &h->loops[h->next_loop++ % h->loop_count];

    if (l == &h->loops[0]) {
        adopt(l, fd, local);
        return;
    }
    struct rfi_handover *one = rf_xmalloc(sizeof *one);

    *one = (struct rfi_handover){NULL, fd, local};
    pthread_mutex_lock(&l->mutex);
    one->next = l->handovers;
    l->handovers = one;
    pthread_mutex_unlock(&l->mutex);
    rfi_loop_post(&l->base, &l->accepted);
}

/* Over the cap: a word, and out. What does not fit into the socket's buffer is not worth waiting.
 */
static void turn_away(int fd)
{
    static const char body[] =
        "{\"type\":\"urn:refold:problem:connections\",\"title\":\"Service Unavailable\","
        "\"status\":503,\"detail\":\"Too many connections are open; keep fewer, and reuse "
        "them.\"}\n";
    char answer[512];
    int n =
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                 "Content-Length: %zu\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%s",
                 sizeof body - 1, body);

    RF_ASSERT(n > 0 && (size_t)n < sizeof answer);
    if (send(fd, answer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        shutdown(fd, SHUT_WR);
    close(fd);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    rfi_listener *l = poll->data;
    rfi_http *h = l->http;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_MAX && !l->closing; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                rf_diag(RF_DIAG_WARN, "accepting a connection: %s", strerror(errno));
                uv_poll_stop(poll);
                uv_timer_start(&l->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
            }
            return;
        }
        /* The local socket is for our own other half: it is never turned away. */
        if (!l->local && atomic_load(&h->conn_count) >= h->options.connections_max) {
            turn_away(fd);
            continue;
        }
        atomic_fetch_add(&h->conn_count, 1);
        give(h, fd, l->local);
    }
}

/* ---- listeners --------------------------------------------------------------------------------
 */

static void on_listener_closed(uv_handle_t *handle)
{
    rfi_listener *l = handle->data;

    if (--l->handles > 0)
        return;
    close(l->fd);
    l->fd = -1;
}

/* The loop's thread. */
static void close_listeners(rfi_http *h)
{
    for (rfi_listener *l = h->listeners; l != NULL; l = l->next) {
        if (l->closing)
            continue;
        l->closing = true;
        if (l->unlink_at != NULL)
            unlink(l->path.path);
        uv_close((uv_handle_t *)&l->poll, on_listener_closed);
        uv_close((uv_handle_t *)&l->pause, on_listener_closed);
    }
}

/* Takes the fd; and the path's when there is one. */
static void add_listener(rfi_http *h, int fd, const rfi_sock_path *path)
{
    rfi_listener *l = rf_xcalloc(1, sizeof *l);

    l->http = h;
    l->fd = fd;
    l->local = path != NULL;
    l->path.dir_fd = -1;
    if (path != NULL) {
        l->path = *path;
        l->unlink_at = l->path.path;
    }
    int e = uv_poll_init(&h->loops[0].base.uv, &l->poll, fd);

    RF_ASSERT(e == 0);
    uv_timer_init(&h->loops[0].base.uv, &l->pause);
    l->poll.data = l->pause.data = l;
    l->handles = 2;
    uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
    l->next = h->listeners;
    h->listeners = l;
}

static rf_status bind_tcp(const struct addrinfo *a, const char *host, uint16_t port, int *out,
                          rf_err *err)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    int yes = 1, e;

    if (fd < 0)
        return rf_err_set_errno(err, errno, "making a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        *out = fd;
        return RF_OK;
    }
    e = errno;
    close(fd);
    if (e == EADDRINUSE)
        return rf_err_set(err, RF_EBUSY,
                          "%s:%u is taken by another program; choose another address with "
                          "--listen HOST:PORT (port 0 takes any free one)",
                          host, port);
    if (e == EACCES)
        return rf_err_set(err, RF_EFORBIDDEN,
                          "listening on %s:%u is not allowed; ports below 1024 need a privilege, "
                          "others do not: --listen HOST:PORT",
                          host, port);
    return rf_err_set_errno(err, e, "listening on %s:%u", host, port);
}

rf_status rfi_http_listen_tcp(rfi_http *h, const char *host, uint16_t port, uint16_t *bound,
                              rf_err *err)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct sockaddr_storage name;
    socklen_t n = sizeof name;
    char service[8];
    int fd = -1;

    snprintf(service, sizeof service, "%u", port);
    int e = getaddrinfo(host, service, &hints, &list);

    if (e != 0)
        return rf_err_set(err, RF_EINVAL, "cannot listen on host '%s': %s", host, gai_strerror(e));
    rf_status st = bind_tcp(list, host, port, &fd, err);

    freeaddrinfo(list);
    if (st != RF_OK)
        return st;
    memset(&name, 0, sizeof name);
    getsockname(fd, (struct sockaddr *)&name, &n);
    *bound = name.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&name)->sin6_port)
                                        : ntohs(((struct sockaddr_in *)&name)->sin_port);
    add_listener(h, fd, NULL);
    return RF_OK;
}

rf_status rfi_http_listen_unix(rfi_http *h, const char *run_dir, const char *name, rf_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    rfi_sock_path path;
    rf_status st = rfi_sock_path_open(&path, run_dir, name, err);

    if (st != RF_OK)
        return st;
    memcpy(address.sun_path, path.path, sizeof path.path);
    unlink(path.path); /* of a run before; the directory's lock says that it is not in use */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(path.path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        int e = errno;

        if (fd >= 0)
            close(fd);
        rfi_sock_path_close(&path);
        return rf_err_set_errno(err, e, "listening on %s/%s", run_dir, name);
    }
    add_listener(h, fd, &path);
    return RF_OK;
}

/* ---- the server -------------------------------------------------------------------------------
 */

rf_status rfi_http_open(const rfi_http_options *options, rfi_http **out, rf_err *err)
{
    rfi_http *h = rf_xcalloc(1, sizeof *h);
    rf_status st = RF_OK;

    *out = NULL;
    h->options = *options;
    pthread_mutex_init(&h->mutex, NULL);
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->drained, &attr);
    pthread_condattr_destroy(&attr);
    h->counts = rf_xcalloc((options->route_count + 1) * RFI_STATUS_SLOTS, sizeof *h->counts);
    h->loops = rf_xcalloc(options->threads, sizeof *h->loops);
    while (st == RF_OK && h->loop_count < options->threads) {
        st = open_loop(h, &h->loops[h->loop_count], err);
        h->loop_count += st == RF_OK;
    }
    if (st != RF_OK)
        rfi_http_close(&h);
    *out = h;
    return st;
}

rf_status rfi_http_start(rfi_http *h, rf_err *err)
{
    for (uint32_t i = 0; i < h->loop_count; i++) {
        rf_status st = rfi_loop_start(&h->loops[i].base, err);

        if (st != RF_OK)
            return st;
    }
    return RF_OK;
}

void rfi_http_drain(rfi_http *h)
{
    if (atomic_exchange(&h->draining, true))
        return;
    for (uint32_t i = 0; i < h->loop_count; i++)
        rfi_loop_post(&h->loops[i].base, &h->loops[i].drain);
}

bool rfi_http_wait_drained(rfi_http *h, uint32_t timeout_ms)
{
    struct timespec until;
    int e = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&h->mutex);
    while (atomic_load(&h->conn_count) > 0 && e == 0)
        e = pthread_cond_timedwait(&h->drained, &h->mutex, &until);
    bool drained = atomic_load(&h->conn_count) == 0;

    pthread_mutex_unlock(&h->mutex);
    return drained;
}

void rfi_http_close(rfi_http **http)
{
    rfi_http *h = *http;

    if (h == NULL)
        return;
    atomic_store(&h->draining, true);
    for (uint32_t i = 0; i < h->loop_count; i++) {
        if (h->loops[i].base.started)
            rfi_loop_post(&h->loops[i].base, &h->loops[i].stop);
    }
    for (uint32_t i = 0; i < h->loop_count; i++)
        rfi_loop_join(&h->loops[i].base);
    close_listeners(h);
    for (uint32_t i = 0; i < h->loop_count; i++)
        close_loop(&h->loops[i]);
    while (h->listeners != NULL) {
        rfi_listener *l = h->listeners;

        h->listeners = l->next;
        rfi_sock_path_close(&l->path);
        free(l);
    }
    free(h->loops);
    free(h->counts);
    pthread_mutex_destroy(&h->mutex);
    pthread_cond_destroy(&h->drained);
    free(h);
    *http = NULL;
}

rfi_loop *rfi_http_get_loop(rfi_http *h, size_t i)
{
    return &h->loops[i].base;
}

uint32_t rfi_http_loop_count(const rfi_http *h)
{
    return h->loop_count;
}

bool rfi_http_draining(const rfi_http *h)
{
    return atomic_load_explicit(&h->draining, memory_order_relaxed);
}

uint64_t rfi_http_connections(const rfi_http *h)
{
    return atomic_load(&h->conn_count);
}
