/*
 * The same events into other stores: PostgreSQL (libpq), Redis Streams and NATS JetStream (their
 * own wire protocols over plain sockets), so that refold's figures have something to stand beside.
 *
 *   peers postgres|redis|nats HOST:PORT|CONNINFO CLIENTS EVENTS_PER_REQUEST EVENTS SECONDS_MAX
 *
 * Every client is a thread with one connection that sends a request, waits until the server says
 * the events are stored (once per id), and sends the next. Prints one line of JSON.
 */
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENT_MAX 1400
#define REQUEST_EVENTS_MAX 1000

typedef struct client {
    int number, fd;
    PGconn *pg;
    char *out; /* request being built */
    size_t out_n;
    char in[1 << 16];
    size_t in_n, in_at;
    double *latency_ms;
    size_t requests;
    uint64_t events;
} client;

static const char *kind, *where;
static int per_request;
static uint64_t events_max;
static double seconds_max;
static atomic_uint_fast64_t next_event;
static struct timespec began;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "peers: %s: %s\n", what, why);
    exit(1);
}

static double since(const struct timespec *t)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) + (double)(now.tv_nsec - t->tv_nsec) / 1e9;
}

/* About 900 bytes that look like an expense claim's step; nothing in it compresses to nothing. */
static size_t make_event(char out[static EVENT_MAX], uint64_t n, char id[static 40])
{
    uint64_t r = n * 0x9E3779B97F4A7C15u ^ 0x5bd1e995u;

    snprintf(id, 40, "evt-%016" PRIx64 "-%010" PRIu64, r, n);
    int used = snprintf(
        out, EVENT_MAX,
        "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/university/declaration\",\"type\":"
        "\"declaration.submitted\",\"subject\":\"declaration %" PRIu64
        "\",\"time\":\"2017-%02u-%02uT"
        "10:%02u:%02uZ\",\"data\":{\"org:resource\":\"STAFF MEMBER\",\"org:role\":\"EMPLOYEE\","
        "\"case:Permit travel permit number\":\"travel permit number %" PRIu64 "\","
        "\"case:DeclarationNumber\":\"declaration number %" PRIu64 "\",\"case:Amount\":%u.%02u,"
        "\"case:RequestedAmount\":%u.%02u,\"case:OriginalAmount\":%u.%02u,"
        "\"case:Permit TaskNumber\":\"UNKNOWN\",\"case:Permit BudgetNumber\":\"budget %" PRIu64
        "\","
        "\"case:Permit OrganizationalEntity\":\"organizational unit %" PRIu64 "\","
        "\"case:Permit ProjectNumber\":\"project %" PRIu64 "\",\"case:Permit ActivityNumber\":"
        "\"UNKNOWN\",\"case:BudgetNumber\":\"budget %" PRIu64 "\",\"case:Adjusted\":%u.%02u,"
        "\"concept:name\":\"Declaration SUBMITTED by EMPLOYEE\",\"note\":\"%016" PRIx64
        "%016" PRIx64 "\"}}",
        id, n % 70000, (unsigned)(r % 12) + 1, (unsigned)(r % 28) + 1, (unsigned)(r >> 8) % 60,
        (unsigned)(r >> 16) % 60, r % 80000, r % 90000, (unsigned)(r >> 20) % 900,
        (unsigned)(r % 100), (unsigned)(r >> 20) % 900, (unsigned)(r % 100),
        (unsigned)(r >> 20) % 900, (unsigned)(r % 100), r % 150000, 65000 + r % 50, r % 3000,
        r % 150000, (unsigned)(r >> 20) % 900, (unsigned)(r % 100), r, ~r);

    return (size_t)used;
}

/* ---- sockets ----------------------------------------------------------------------------------
 */

static int dial(const char *host_port)
{
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    const char *colon = strrchr(host_port, ':');
    int one = 1;

    snprintf(host, sizeof host, "%.*s", (int)(colon - host_port), host_port);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        die("resolving", host_port);
    int fd = socket(found->ai_family, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0)
        die(host_port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    freeaddrinfo(found);
    return fd;
}

static void put(client *c, const void *p, size_t n)
{
    memcpy(c->out + c->out_n, p, n);
    c->out_n += n;
}

static void flush_out(client *c)
{
    for (size_t at = 0; at < c->out_n;) {
        ssize_t n = write(c->fd, c->out + at, c->out_n - at);

        if (n <= 0)
            die("write", strerror(errno));
        at += (size_t)n;
    }
    c->out_n = 0;
}

static char next_char(client *c)
{
    if (c->in_at == c->in_n) {
        ssize_t n = read(c->fd, c->in, sizeof c->in);

        if (n <= 0)
            die("read", n == 0 ? "the server closed" : strerror(errno));
        c->in_n = (size_t)n;
        c->in_at = 0;
    }
    return c->in[c->in_at++];
}

static void read_line(client *c, char *line, size_t size)
{
    size_t n = 0;
    char ch;

    while ((ch = next_char(c)) != '\n') {
        if (ch != '\r' && n + 1 < size)
            line[n++] = ch;
    }
    line[n] = '\0';
}

static void skip(client *c, size_t n)
{
    while (n-- > 0)
        next_char(c);
}

/* ---- PostgreSQL ---------------------------------------------------------------------------------
 */

static const char pg_table[] =
    "CREATE TABLE IF NOT EXISTS events (n bigserial, source text NOT NULL, id text NOT NULL, "
    "body text NOT NULL, UNIQUE (source, id))";
static const char pg_insert[] =
    "INSERT INTO events (source, id, body) SELECT '/university/declaration', i, b FROM "
    "unnest($1::text[], $2::text[]) AS t(i, b) ON CONFLICT DO NOTHING";

static void pg_open(client *c)
{
    c->pg = PQconnectdb(where);
    if (PQstatus(c->pg) != CONNECTION_OK)
        die("postgres", PQerrorMessage(c->pg));
    PGresult *r = PQprepare(c->pg, "put", pg_insert, 2, NULL);

    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        die("postgres", PQerrorMessage(c->pg));
    PQclear(r);
}

static size_t add_quoted(char *to, const char *text)
{
    size_t n = 0;

    to[n++] = '"';
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            to[n++] = '\\';
        to[n++] = *text;
    }
    to[n++] = '"';
    return n;
}

static void pg_request(client *c, uint64_t first, int count)
{
    static _Thread_local char *ids, *bodies;
    char event[EVENT_MAX], id[40];
    size_t at_id = 0, at_body = 0;

    if (ids == NULL) {
        ids = malloc(REQUEST_EVENTS_MAX * 48 + 8);
        bodies = malloc(REQUEST_EVENTS_MAX * (EVENT_MAX * 2) + 8);
    }
    ids[at_id++] = '{';
    bodies[at_body++] = '{';
    for (int i = 0; i < count; i++) {
        make_event(event, first + (uint64_t)i, id);
        if (i > 0) {
            ids[at_id++] = ',';
            bodies[at_body++] = ',';
        }
        at_id += add_quoted(ids + at_id, id);
        at_body += add_quoted(bodies + at_body, event);
    }
    memcpy(ids + at_id, "}", 2);
    memcpy(bodies + at_body, "}", 2);
    const char *values[2] = {ids, bodies};
    PGresult *r = PQexecPrepared(c->pg, "put", 2, values, NULL, NULL, 0);

    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        die("postgres", PQerrorMessage(c->pg));
    PQclear(r);
}

/* ---- Redis
 * ---------------------------------------------------------------------------------------- */

static char redis_sha[64];
static const char redis_script[] =
    "local n=0 for i=1,#ARGV,2 do if redis.call('SADD','ids',ARGV[i])==1 then "
    "redis.call('XADD','events','*','e',ARGV[i+1]) n=n+1 end end return n";

static void redis_bulk(client *c, const char *p, size_t n)
{
    char head[32];
    int used = snprintf(head, sizeof head, "$%zu\r\n", n);

    put(c, head, (size_t)used);
    put(c, p, n);
    put(c, "\r\n", 2);
}

static void redis_open(client *c)
{
    char line[256];

    c->fd = dial(where);
    put(c, "*3\r\n", 4);
    redis_bulk(c, "SCRIPT", 6);
    redis_bulk(c, "LOAD", 4);
    redis_bulk(c, redis_script, sizeof redis_script - 1);
    flush_out(c);
    read_line(c, line, sizeof line);
    if (line[0] != '$')
        die("redis", line);
    read_line(c, line, sizeof line);
    memcpy(redis_sha, line, 41);
}

static void redis_request(client *c, uint64_t first, int count)
{
    char event[EVENT_MAX], id[40], line[256];
    int used = snprintf(line, sizeof line, "*%d\r\n", 3 + 2 * count);

    put(c, line, (size_t)used);
    redis_bulk(c, "EVALSHA", 7);
    redis_bulk(c, redis_sha, 40);
    redis_bulk(c, "0", 1);
    for (int i = 0; i < count; i++) {
        size_t n = make_event(event, first + (uint64_t)i, id);

        redis_bulk(c, id, strlen(id));
        redis_bulk(c, event, n);
    }
    flush_out(c);
    read_line(c, line, sizeof line);
    if (line[0] != ':' || atoi(line + 1) != count)
        die("redis", line);
}

/* ---- NATS JetStream
 * --------------------------------------------------------------------------------- */

static void nats_open(client *c)
{
    char line[4096], hello[256];

    c->fd = dial(where);
    read_line(c, line, sizeof line); /* INFO */
    int n = snprintf(hello, sizeof hello,
                     "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n"
                     "SUB inbox.%d 1\r\nPING\r\n",
                     c->number);

    put(c, hello, (size_t)n);
    flush_out(c);
    do
        read_line(c, line, sizeof line);
    while (strncmp(line, "PONG", 4) != 0);
}

/* One message on the inbox; dies when it is an error. */
static void nats_ack(client *c)
{
    char line[512], body[1024];

    for (;;) {
        read_line(c, line, sizeof line);
        if (strncmp(line, "PING", 4) == 0) {
            put(c, "PONG\r\n", 6);
            flush_out(c);
        } else if (strncmp(line, "MSG ", 4) == 0) {
            size_t n = (size_t)atoi(strrchr(line, ' ') + 1);
            size_t keep = n < sizeof body - 1 ? n : sizeof body - 1;

            for (size_t i = 0; i < keep; i++)
                body[i] = next_char(c);
            body[keep] = '\0';
            skip(c, n - keep + 2);
            if (strstr(body, "\"error\"") != NULL)
                die("nats", body);
            return;
        } else {
            die("nats", line);
        }
    }
}

static void nats_make_stream(void)
{
    client c = {.number = 999999};
    char body[512], head[128];

    c.out = malloc(4096);
    nats_open(&c);
    /* The longest window it takes here: deduplication is by time, see duplicate_window
     * (nanoseconds). */
    int n = snprintf(body, sizeof body,
                     "{\"name\":\"EVENTS\",\"subjects\":[\"ev\"],\"storage\":\"file\","
                     "\"duplicate_window\":120000000000}");
    int h = snprintf(head, sizeof head, "PUB $JS.API.STREAM.CREATE.EVENTS inbox.%d %d\r\n",
                     c.number, n);

    put(&c, head, (size_t)h);
    put(&c, body, (size_t)n);
    put(&c, "\r\n", 2);
    flush_out(&c);
    nats_ack(&c);
    close(c.fd);
    free(c.out);
}

static void nats_request(client *c, uint64_t first, int count)
{
    char event[EVENT_MAX], id[40], headers[128], head[160];

    for (int i = 0; i < count; i++) {
        size_t n = make_event(event, first + (uint64_t)i, id);
        int h = snprintf(headers, sizeof headers, "NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n", id);
        int l =
            snprintf(head, sizeof head, "HPUB ev inbox.%d %d %zu\r\n", c->number, h, (size_t)h + n);

        put(c, head, (size_t)l);
        put(c, headers, (size_t)h);
        put(c, event, n);
        put(c, "\r\n", 2);
    }
    flush_out(c);
    for (int i = 0; i < count; i++)
        nats_ack(c);
}

/* ---- the run
 * ------------------------------------------------------------------------------------------ */

static void *work(void *arg)
{
    client *c = arg;

    for (;;) {
        uint64_t first = atomic_fetch_add(&next_event, (uint64_t)per_request);
        struct timespec t0;

        if (first >= events_max || since(&began) >= seconds_max)
            return NULL;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        if (kind[0] == 'p')
            pg_request(c, first, per_request);
        else if (kind[0] == 'r')
            redis_request(c, first, per_request);
        else
            nats_request(c, first, per_request);
        c->latency_ms[c->requests++] = since(&t0) * 1e3;
        c->events += (uint64_t)per_request;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        die("usage", "peers postgres|redis|nats WHERE CLIENTS PER_REQUEST EVENTS SECONDS_MAX");
    kind = argv[1];
    where = argv[2];
    int clients = atoi(argv[3]);

    per_request = atoi(argv[4]);
    events_max = strtoull(argv[5], NULL, 10);
    seconds_max = atof(argv[6]);
    if (per_request < 1 || per_request > REQUEST_EVENTS_MAX || clients < 1 || clients > 1024)
        die("usage", "1..1024 clients, 1..1000 events a request");
    if (kind[0] == 'p') {
        PGconn *pg = PQconnectdb(where);

        PQclear(PQexec(pg, "DROP TABLE IF EXISTS events"));
        PQclear(PQexec(pg, pg_table));
        PQfinish(pg);
    } else if (kind[0] == 'n') {
        nats_make_stream();
    }
    client *all = calloc((size_t)clients, sizeof *all);
    pthread_t *threads = calloc((size_t)clients, sizeof *threads);
    size_t requests_max = (size_t)(events_max / (uint64_t)per_request) + 2;

    for (int i = 0; i < clients; i++) {
        all[i].number = i;
        all[i].out = malloc((size_t)per_request * (EVENT_MAX + 256) + 4096);
        all[i].latency_ms = malloc(requests_max * sizeof(double));
        if (kind[0] == 'p')
            pg_open(&all[i]);
        else if (kind[0] == 'r')
            redis_open(&all[i]);
        else
            nats_open(&all[i]);
    }
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (int i = 0; i < clients; i++)
        pthread_create(&threads[i], NULL, work, &all[i]);
    uint64_t events = 0;
    size_t requests = 0;

    for (int i = 0; i < clients; i++) {
        pthread_join(threads[i], NULL);
        events += all[i].events;
        requests += all[i].requests;
    }
    double seconds = since(&began);
    double *latency = malloc((requests + 1) * sizeof(double));
    size_t n = 0;

    for (int i = 0; i < clients; i++) {
        memcpy(latency + n, all[i].latency_ms, all[i].requests * sizeof(double));
        n += all[i].requests;
    }
    qsort(latency, n, sizeof(double), by_value);
    printf("{\"store\":\"%s\",\"clients\":%d,\"perRequest\":%d,\"events\":%" PRIu64
           ",\"seconds\":%.3f,\"eventsPerSecond\":%.0f,\"p50ms\":%.3f,\"p99ms\":%.3f}\n",
           kind, clients, per_request, events, seconds, (double)events / seconds,
           n > 0 ? latency[n / 2] : 0, n > 0 ? latency[(n * 99) / 100] : 0);
    return 0;
}
