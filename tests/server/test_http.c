/* The HTTP core over real sockets: pipelining, flow, time limits, ends. */
#include "server/http_app.h"

/* ---- ordinary traffic
 * ----------------------------------------------------------------------------- */

static void pipelining__many_requests_in_one_write__answered_in_order(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    rf_buf b;
    kit_reply r;

    (void)state;
    rf_buf_init(&b, 1u << 20);
    kit_reply_init(&r);
    for (int i = 0; i < 200; i++) {
        rf_buf_addf(&b, "GET /names/%d/b HTTP/1.1\r\n" H "\r\n", i);
        if (i % 3 == 0)
            rf_buf_addf(&b, POST H "Content-Length: 3\r\n\r\n%03d", i);
        if (i % 5 == 0)
            rf_buf_addf(
                &b, POST H
                "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n2;a=b\r\nyz\r\n0\r\nT: v\r\n\r\n");
        if (i % 7 == 0)
            rf_buf_addf(&b, "GET /later HTTP/1.1\r\n" H "\r\n");
    }
    assert_true(kit_send(fd, b.p, b.n));
    for (int i = 0; i < 200; i++) {
        char want[32];

        snprintf(want, sizeof want, "%d|b|", i);
        assert_true(kit_read(fd, &r, false, 3000));
        assert_true(rf_str_eq(r.body, rf_str_from(want)));
        if (i % 3 == 0) {
            snprintf(want, sizeof want, "%03d", i);
            assert_true(kit_read(fd, &r, false, 3000));
            assert_true(rf_str_eq(r.body, rf_str_from(want)));
        }
        if (i % 5 == 0) {
            assert_true(kit_read(fd, &r, false, 3000));
            assert_true(rf_str_eq(r.body, RF_STR("xyz")));
        }
        if (i % 7 == 0) {
            assert_true(kit_read(fd, &r, false, 3000));
            assert_true(rf_str_eq(r.body, RF_STR("later\n")));
        }
    }
    assert_int_equal(r.end, r.raw.n);
    close(fd);
    rf_buf_clear(&b);
    kit_reply_clear(&r);
    stop(&f);
}

static void params__encoded__are_decoded_once(void **state)
{
    fixture f = start();
    kit_reply r;
    static const char request[] =
        "GET /names/%2Ftue%2Fdeclaration/a+b%2520c?z=1&q=%C3%A9+%26 HTTP/1.1\r\n" H "\r\n";

    (void)state;
    kit_reply_init(&r);
    assert_int_equal(kit_once(f.port, request, sizeof request - 1, &r), 200);
    assert_true(rf_str_eq(r.body, RF_STR("/tue/declaration|a+b%20c|\xc3\xa9 &")));
    kit_reply_clear(&r);
    stop(&f);
}

static void head_and_options__are_answered_by_the_core(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, "HEAD /hello HTTP/1.1\r\n" H "\r\n");
    assert_true(kit_read(fd, &r, true, 2000));
    assert_int_equal(r.status, 200);
    assert_true(rf_str_eq(kit_header(&r, "Content-Length"), RF_STR("6")));
    kit_say(fd, "OPTIONS /echo HTTP/1.1\r\n" H "\r\n");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 204);
    assert_true(rf_str_eq(kit_header(&r, "Allow"), RF_STR("POST, OPTIONS")));
    kit_say(fd, "OPTIONS * HTTP/1.1\r\n" H "\r\n");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 204);
    kit_say(fd, "PUT /hello HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nab");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 405);
    assert_true(rf_str_eq(kit_header(&r, "Allow"), RF_STR("GET, HEAD, OPTIONS")));
    kit_say(fd, GET H "\r\n"); /* the small body was thrown away, the connection lives */
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 200);
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static void keep_alive__of_each_version__is_as_asked(void **state)
{
    static const struct {
        const char *request;
        bool closed;
    } cases[] = {
        {GET H "\r\n", false},
        {GET H "Connection: close\r\n\r\n", true},
        {"GET /hello HTTP/1.0\r\n\r\n", true},
        {"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
    };
    fixture f = start();

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(cases); i++) {
        int fd = kit_connect(f.port);
        kit_reply r;

        kit_reply_init(&r);
        kit_say(fd, cases[i].request);
        assert_true(kit_read(fd, &r, false, 2000));
        assert_int_equal(r.status, 200);
        assert_int_equal(kit_closed(fd, cases[i].closed ? 2000 : 100), cases[i].closed);
        close(fd);
        kit_reply_clear(&r);
    }
    stop(&f);
}

static void continue__is_said_when_the_body_is_wanted(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, POST H "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 100);
    kit_say(fd, "abc");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 200);
    assert_true(rf_str_eq(r.body, RF_STR("abc")));
    kit_say(fd, "POST /small HTTP/1.1\r\n" H "Content-Length: 30\r\nExpect: 100-continue\r\n\r\n");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 413); /* and the body is not asked for */
    assert_true(kit_closed(fd, 2000));
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static void body__over_the_limit_in_chunks__is_refused_on_the_way(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, "POST /small HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n");
    usleep(30000);
    kit_say(fd, "6\r\nabcdef\r\n");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 413);
    assert_true(kit_closed(fd, 4000));
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

/* A client that sends on and on after it was refused still gets to read why. */
static void refusal__while_the_client_sends__can_be_read(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    char *junk = rf_xcalloc(1, 1u << 20);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, POST H "Content-Length: 900000000\r\n\r\n");
    for (int i = 0; i < 20 && kit_send(fd, junk, 1u << 20); i++) {
    }
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 413);
    close(fd);
    free(junk);
    kit_reply_clear(&r);
    stop(&f);
}

static void chunks__of_next_to_nothing_but_framing__are_refused(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;
    rf_buf b;

    (void)state;
    kit_reply_init(&r);
    rf_buf_init(&b, 8u << 20);
    for (int i = 0; i < 100; i++) {
        rf_buf_add_cstr(&b, "1;");
        for (int k = 0; k < 10000; k++)
            rf_buf_add_char(&b, 'e');
        rf_buf_add_cstr(&b, "\r\nx\r\n");
    }
    kit_say(fd, POST H "Transfer-Encoding: chunked\r\n\r\n");
    kit_send(fd, b.p, b.n);
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 400);
    close(fd);
    rf_buf_clear(&b);
    kit_reply_clear(&r);
    stop(&f);
}

/* ---- flow
 * ------------------------------------------------------------------------------------------- */

static bool is_held(void)
{
    return atomic_load(&held) != NULL;
}

static void on_resume(rfi_post *post)
{
    rfi_req *r = atomic_exchange(&held, NULL);

    (void)post;
    atomic_store(&hold_stream, false);
    rfi_req_resume(r);
    rfi_req_unref(r);
}

static void *sender(void *arg)
{
    int fd = *(int *)arg;
    char *block = rf_xcalloc(1, 1u << 20);

    for (int i = 0; i < 64; i++) {
        if (!kit_send(fd, block, 1u << 20))
            break;
    }
    free(block);
    return NULL;
}

static void back_pressure__a_handler_that_pauses__stops_the_reading(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    static rfi_post post = {.run = on_resume};
    pthread_t thread;
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    atomic_store(&hold_stream, true);
    kit_say(fd, "POST /stream HTTP/1.1\r\n" H "Content-Length: 67108864\r\n\r\n");
    pthread_create(&thread, NULL, sender, &fd);
    assert_true(wait_for(is_held));
    usleep(1000000); /* longer than the body's window: a held body is not a slow one */
    assert_true(atomic_load(&streamed) <= 128u << 10);
    rfi_loop_post(rfi_http_get_loop(f.http, 0), &post);
    assert_true(kit_read(fd, &r, false, 10000));
    assert_int_equal(r.status, 200);
    assert_true(rf_str_eq(r.body, RF_STR("67108864")));
    pthread_join(thread, NULL);
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static void streamed_reply__to_a_slow_reader__is_whole(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port), small = 65536;
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    kit_say(fd, "GET /big?n=20000000 HTTP/1.1\r\n" H "\r\n" GET H "\r\n");
    usleep(200000);
    assert_true(kit_read(fd, &r, false, 20000));
    assert_int_equal(r.status, 200);
    assert_int_equal(r.body.n, 20000000);
    assert_true(kit_read(fd, &r, false, 2000));
    assert_true(rf_str_eq(r.body, RF_STR("hello\n")));
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static void whole_reply__larger_than_the_socket__is_whole(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, "GET /whole?n=30000000 HTTP/1.1\r\n" H "\r\n" GET H "\r\n");
    usleep(100000);
    assert_true(kit_read(fd, &r, false, 20000));
    assert_int_equal(r.body.n, 30000000);
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 200);
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static void stream__to_http10__ends_with_the_connection(void **state)
{
    fixture f = start();
    kit_reply r;
    static const char request[] = "GET /big?n=50000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

    (void)state;
    kit_reply_init(&r);
    assert_int_equal(kit_once(f.port, request, sizeof request - 1, &r), 200);
    assert_int_equal(r.body.n, 50000);
    assert_null(kit_header(&r, "Transfer-Encoding").p);
    kit_reply_clear(&r);
    stop(&f);
}

static bool one_gone(void)
{
    return atomic_load(&gone_count) == 1;
}

static void client__that_goes_away__is_told_to_the_handler(void **state)
{
    static const char *const requests[] = {
        "GET /never HTTP/1.1\r\n" H "\r\n",                              /* while it waits */
        "POST /stream HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\nabc", /* while it sends */
        "GET /big?n=100000000 HTTP/1.1\r\n" H "\r\n",                    /* while it reads */
    };
    fixture f = start();

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(requests); i++) {
        int fd = kit_connect(f.port);

        atomic_store(&gone_count, 0);
        kit_say(fd, requests[i]);
        usleep(50000);
        assert_int_equal(atomic_load(&gone_count), 0);
        close(fd);
        assert_true(wait_for(one_gone));
    }
    stop(&f);
}

/* A client may close its sending half and still read. */
static void half_closed__client__gets_its_answer(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, GET H "\r\nGET /later HTTP/1.1\r\n" H "\r\n");
    shutdown(fd, SHUT_WR);
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 200);
    assert_true(kit_read(fd, &r, false, 2000));
    assert_true(rf_str_eq(r.body, RF_STR("later\n")));
    assert_true(kit_closed(fd, 2000));
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

/* ---- time
 * ---------------------------------------------------------------------------------------------- */

static void head__that_comes_a_byte_at_a_time__runs_out(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    for (int i = 0; i < 40; i++) { /* each byte resets an inactivity timer, but not a deadline */
        if (!kit_say(fd, i == 0 ? "G" : i == 1 ? "ET /" : "a"))
            break;
        usleep(20000);
    }
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 408);
    assert_true(kit_closed(fd, 3000));
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static void body__below_the_rate__runs_out_and_the_handler_learns(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, "POST /stream HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
    for (int i = 0; i < 50 && kit_say(fd, "x"); i++)
        usleep(20000);
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 408);
    assert_int_equal(atomic_load(&gone_count), 1);
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static void idle__connection__is_closed(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    int64_t began = rf_mono_us();

    (void)state;
    assert_true(kit_closed(fd, 5000));
    assert_true(rf_mono_us() - began > 700000);
    close(fd);
    stop(&f);
}

/* ---- many
 * ---------------------------------------------------------------------------------------------- */

static void connections__over_the_cap__are_turned_away_with_a_word(void **state)
{
    fixture f = start_with(1, 3);
    int fds[4];
    kit_reply r;

    (void)state;
    for (int i = 0; i < 3; i++) {
        fds[i] = kit_connect(f.port);
        kit_reply_init(&r);
        kit_say(fds[i], GET H "\r\n");
        assert_true(kit_read(fds[i], &r, false, 2000));
        assert_int_equal(r.status, 200);
        kit_reply_clear(&r);
    }
    fds[3] = kit_connect(f.port);
    kit_reply_init(&r);
    assert_true(kit_read(fds[3], &r, false, 2000));
    assert_int_equal(r.status, 503);
    assert_int_equal(r.end, r.raw.n); /* its Content-Length is right */
    kit_reply_clear(&r);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    stop(&f);
}

typedef struct hammer {
    uint16_t port;
    int bad;
} hammer;

static void *hammer_thread(void *arg)
{
    hammer *h = arg;

    for (int round = 0; round < 20; round++) {
        int fd = kit_connect(h->port);
        kit_reply r;

        kit_reply_init(&r);
        for (int i = 0; i < 20; i++) {
            kit_say(fd, i % 4 == 0 ? "GET /later HTTP/1.1\r\n" H "\r\n" : GET H "\r\n");
            if (round % 5 == 4 && i == 8)
                break; /* and away, with an answer on its way */
            if (!kit_read(fd, &r, false, 5000) || r.status != 200)
                h->bad++;
        }
        close(fd);
        kit_reply_clear(&r);
    }
    return NULL;
}

static void threads__several_loops_and_clients__all_are_answered(void **state)
{
    fixture f = start_with(3, 100);
    pthread_t threads[8];
    hammer h[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        h[i] = (hammer){f.port, 0};
        pthread_create(&threads[i], NULL, hammer_thread, &h[i]);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(h[i].bad, 0);
    }
    stop(&f);
}

static void drain__finishes_what_runs_and_takes_nothing_new(void **state)
{
    fixture f = start();
    int busy = kit_connect(f.port), idle = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(busy, "GET /later HTTP/1.1\r\n" H "\r\n");
    usleep(10000);
    rfi_http_drain(f.http);
    assert_true(kit_closed(idle, 1000));
    assert_true(kit_read(busy, &r, false, 2000));
    assert_int_equal(r.status, 200);
    assert_true(kit_closed(busy, 1000));
    close(busy);
    close(idle);
    assert_true(rfi_http_wait_drained(f.http, 3000));
    assert_int_equal(kit_connect(f.port), -1);
    kit_reply_clear(&r);
    stop(&f);
}

static void close__with_requests_at_work__cuts_and_ends(void **state)
{
    fixture f = start();
    int a = kit_connect(f.port), b = kit_connect(f.port);

    (void)state;
    kit_say(a, "GET /later HTTP/1.1\r\n" H "\r\n");
    kit_say(b, "GET /never HTTP/1.1\r\n" H "\r\n");
    usleep(10000);
    stop(&f); /* returns only when the late answer has come home */
    assert_int_equal(atomic_load(&gone_count), 1);
    close(a);
    close(b);
}

static void listen__on_a_taken_port__says_what_to_do(void **state)
{
    fixture f = start();
    rfi_http *other = NULL;
    rf_err err = {0};
    uint16_t bound;
    char want[64];
    rfi_http_options o = {.threads = 1,
                          .connections_max = 1,
                          .head_timeout_ms = 1000,
                          .idle_timeout_ms = 1000,
                          .body_window_ms = 1000,
                          .routes = ROUTES,
                          .route_count = RF_ARRAY_LEN(ROUTES)};

    (void)state;
    assert_int_equal(rfi_http_open(&o, &other, &err), RF_OK);
    assert_int_equal(rfi_http_listen_tcp(other, "127.0.0.1", f.port, &bound, &err), RF_EBUSY);
    snprintf(want, sizeof want, "127.0.0.1:%u is taken", f.port);
    assert_non_null(strstr(err.text, want));
    assert_non_null(strstr(err.text, "--listen"));
    assert_int_equal(rfi_http_listen_tcp(other, "no.such.host.invalid", 1, &bound, &err),
                     RF_EINVAL);
    rfi_http_close(&other);
    stop(&f);
}

static void unix_socket__in_a_deep_directory__works(void **state)
{
    char dir[600] = "/tmp/refold-deep-XXXXXX";
    fixture f = {0};
    rf_err err = {0};
    rfi_sock_path path;
    struct {
        sa_family_t family;
        char path[108];
    } to = {.family = AF_UNIX};
    rfi_http_options o = {.threads = 1,
                          .connections_max = 10,
                          .head_timeout_ms = 1000,
                          .idle_timeout_ms = 1000,
                          .body_window_ms = 1000,
                          .routes = ROUTES,
                          .route_count = RF_ARRAY_LEN(ROUTES)};
    char top[600];
    kit_reply r;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(top, sizeof top, "%s", dir);
    for (int i = 0; i < 10; i++)
        snprintf(dir + strlen(dir), sizeof dir - strlen(dir),
                 "/a-directory-with-a-name-of-some-length");
    assert_int_equal(rf_io_mkdirs(rf_io_posix(), dir, &err), RF_OK);
    assert_int_equal(rfi_http_open(&o, &f.http, &err), RF_OK);
    assert_int_equal(rfi_http_listen_unix(f.http, dir, "x.sock", &err), RF_OK);
    assert_int_equal(rfi_http_start(f.http, &err), RF_OK);
    assert_int_equal(rfi_sock_path_open(&path, dir, "x.sock", &err), RF_OK);
    memcpy(to.path, path.path, sizeof path.path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    kit_reply_init(&r);
    kit_say(fd, GET H "\r\n");
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 200);
    close(fd);
    rfi_sock_path_close(&path);
    kit_reply_clear(&r);
    stop(&f);
    for (char *slash = dir + strlen(dir); slash != NULL && strlen(dir) >= strlen(top);
         slash = strrchr(dir, '/')) {
        *slash = '\0';
        rmdir(dir); /* the socket was removed at the end, so this goes through */
        if (strcmp(dir, top) == 0)
            break;
    }
    assert_int_not_equal(access(top, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelining__many_requests_in_one_write__answered_in_order),
        cmocka_unit_test(params__encoded__are_decoded_once),
        cmocka_unit_test(head_and_options__are_answered_by_the_core),
        cmocka_unit_test(keep_alive__of_each_version__is_as_asked),
        cmocka_unit_test(continue__is_said_when_the_body_is_wanted),
        cmocka_unit_test(body__over_the_limit_in_chunks__is_refused_on_the_way),
        cmocka_unit_test(refusal__while_the_client_sends__can_be_read),
        cmocka_unit_test(chunks__of_next_to_nothing_but_framing__are_refused),
        cmocka_unit_test(back_pressure__a_handler_that_pauses__stops_the_reading),
        cmocka_unit_test(streamed_reply__to_a_slow_reader__is_whole),
        cmocka_unit_test(whole_reply__larger_than_the_socket__is_whole),
        cmocka_unit_test(stream__to_http10__ends_with_the_connection),
        cmocka_unit_test(client__that_goes_away__is_told_to_the_handler),
        cmocka_unit_test(half_closed__client__gets_its_answer),
        cmocka_unit_test(head__that_comes_a_byte_at_a_time__runs_out),
        cmocka_unit_test(body__below_the_rate__runs_out_and_the_handler_learns),
        cmocka_unit_test(idle__connection__is_closed),
        cmocka_unit_test(connections__over_the_cap__are_turned_away_with_a_word),
        cmocka_unit_test(threads__several_loops_and_clients__all_are_answered),
        cmocka_unit_test(drain__finishes_what_runs_and_takes_nothing_new),
        cmocka_unit_test(close__with_requests_at_work__cuts_and_ends),
        cmocka_unit_test(listen__on_a_taken_port__says_what_to_do),
        cmocka_unit_test(unix_socket__in_a_deep_directory__works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
