/* Requests that nobody should send: each gets its status, and the connection ends. */
#include "server/http_app.h"

/* ---- hostile requests ---------------------------------------------------------------------------
 */

typedef struct raw_case {
    const char *name, *request;
    size_t n; /* 0: strlen */
    int status;
    const char *rule; /* NULL: not looked at */
} raw_case;

static const raw_case RAW[] = {
    {"a plain request", GET H "\r\n", 0, 200, NULL},
    {"HTTP/1.0 without Host", "GET /hello HTTP/1.0\r\n\r\n", 0, 200, NULL},
    {"empty lines before the request", "\r\n\r\n" GET H "\r\n", 0, 200, NULL},
    {"absolute form", "GET http://example.org/hello HTTP/1.1\r\n" H "\r\n", 0, 200, NULL},
    {"an upgrade is ignored", GET H "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 0, 200, NULL},
    {"no Host", GET "\r\n", 0, 400, "bad-host"},
    {"two Hosts", GET H H "\r\n", 0, 400, "bad-host"},
    {"two Hosts in 1.0", "GET /hello HTTP/1.0\r\n" H H "\r\n", 0, 400, "bad-host"},
    {"folded header", GET H "X: a\r\n b\r\n\r\n", 0, 400, "folded-header"},
    {"folded by a tab", GET H "X: a\r\n\tb\r\n\r\n", 0, 400, "folded-header"},
    {"blank before the first header", GET " Host: x\r\n\r\n", 0, 400, "folded-header"},
    {"empty header name", GET H ": a\r\n\r\n", 0, 400, "bad-header"},
    {"blank before the colon", GET "Host : x\r\n\r\n", 0, 400, NULL},
    {"header without colon", GET H "Nonsense\r\n\r\n", 0, 400, NULL},
    {"header name with a slash", GET H "X/Y: a\r\n\r\n", 0, 400, NULL},
    {"header name not ASCII", GET H "X\xc3\xa9: a\r\n\r\n", 0, 400, NULL},
    {"NUL in a value", GET H "X: a\0b\r\n\r\n", sizeof(GET H "X: a\0b\r\n\r\n") - 1, 400,
     "control-character"},
    {"NUL in the target", "GET /hel\0lo HTTP/1.1\r\n" H "\r\n",
     sizeof("GET /hel\0lo HTTP/1.1\r\n" H "\r\n") - 1, 400, "control-character"},
    {"BEL in a value", GET H "X: a\007\r\n\r\n", 0, 400, "control-character"},
    {"DEL in a value", GET H "X: a\177\r\n\r\n", 0, 400, "control-character"},
    {"bare LF", "GET /hello HTTP/1.1\nHost: x\n\n", 0, 400, "bad-line-end"},
    {"bare LF after a header", GET "Host: x\nX: y\r\n\r\n", 0, 400, "bad-line-end"},
    {"bare CR in a value", GET H "X: a\rb\r\n\r\n", 0, 400, "bad-line-end"},
    {"CR CR LF", GET H "X: a\r\r\n\r\n", 0, 400, "bad-line-end"},
    {"tab in the request line", "GET\t/hello\tHTTP/1.1\r\n" H "\r\n", 0, 400, NULL},
    {"two blanks in the request line", "GET  /hello HTTP/1.1\r\n" H "\r\n", 0, 400, NULL},
    {"no version", "GET /hello\r\n" H "\r\n", 0, 505, "bad-version"},
    {"HTTP/2.0", "GET /hello HTTP/2.0\r\n" H "\r\n", 0, 505, "bad-version"},
    {"HTTP/1.2", "GET /hello HTTP/1.2\r\n" H "\r\n", 0, 505, "bad-version"},
    {"HTTP/0.9 by number", "GET /hello HTTP/0.9\r\n" H "\r\n", 0, 505, "bad-version"},
    {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, 505, "bad-version"},
    {"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15, 400, NULL},
    {"unknown method", "BREW /hello HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-method"},
    {"lower-case method", "get /hello HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-method"},
    {"CONNECT", "CONNECT example.org:443 HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-target"},
    {"TRACE", "TRACE /hello HTTP/1.1\r\n" H "\r\n", 0, 405, "method-not-allowed"},
    {"target without slash", "GET hello HTTP/1.1\r\n" H "\r\n", 0, 400, NULL},
    {"target with a fragment", "GET /hello#x HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-target"},
    {"star for GET", "GET * HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-target"},
    {"bad percent escape", "GET /hello%zz HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-target"},
    {"cut percent escape", "GET /hello%4 HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-target"},
    {"%00", "GET /hello%00 HTTP/1.1\r\n" H "\r\n", 0, 400, "bad-target"},
    {"bad percent escape in the query", "GET /hello?a=%g0 HTTP/1.1\r\n" H "\r\n", 0, 400,
     "bad-target"},
    {"path that climbs", "GET /../../etc/passwd HTTP/1.1\r\n" H "\r\n", 0, 404, "no-such-route"},
    {"parameter that is not UTF-8", "GET /names/%ff/b HTTP/1.1\r\n" H "\r\n", 0, 400, "utf8"},
    {"unknown parameter", "GET /names/a/b?x=1 HTTP/1.1\r\n" H "\r\n", 0, 400, "unknown-parameter"},
    {"CL and TE", POST H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400,
     NULL},
    {"TE and CL", POST H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 0, 400,
     NULL},
    {"two different CL", POST H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 0, 400, NULL},
    {"two equal CL", POST H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 0, 400, NULL},
    {"CL list", POST H "Content-Length: 3, 3\r\n\r\nabc", 0, 400, NULL},
    {"CL negative", POST H "Content-Length: -3\r\n\r\nabc", 0, 400, NULL},
    {"CL with plus", POST H "Content-Length: +3\r\n\r\nabc", 0, 400, NULL},
    {"CL hexadecimal", POST H "Content-Length: 0x3\r\n\r\nabc", 0, 400, NULL},
    {"CL of 2^64 + 3", POST H "Content-Length: 18446744073709551619\r\n\r\nabc", 0, 400, NULL},
    {"CL over the limit", POST H "Content-Length: 9999999\r\n\r\nabc", 0, 413, "size"},
    {"CL empty", POST H "Content-Length:\r\n\r\n", 0, 400, NULL},
    {"TE in 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400,
     "bad-transfer-encoding"},
    {"TE identity", POST H "Transfer-Encoding: identity\r\n\r\n", 0, 501, NULL},
    {"TE gzip, chunked", POST H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, 501,
     "bad-transfer-encoding"},
    {"TE chunked twice",
     POST H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 400,
     "bad-transfer-encoding"},
    {"TE chunked, gzip", POST H "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 0, 400, NULL},
    {"TE xchunked", POST H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 0, 501, NULL},
    {"TE with a vertical tab", POST H "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 0, 400,
     "control-character"},
    {"chunk size not hexadecimal",
     POST H "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n", 0, 400, NULL},
    {"chunk size negative", POST H "Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n", 0,
     400, NULL},
    {"chunk size too long", POST H "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nabc\r\n",
     0, 400, NULL},
    {"chunk size empty", POST H "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", 0, 400,
     NULL},
    {"chunk without CRLF after it", POST H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX0\r\n\r\n",
     0, 400, NULL},
    {"chunk longer than it says", POST H "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
     0, 400, NULL},
    {"chunk line ends in LF", POST H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 0,
     400, NULL},
    {"expectation nobody knows", POST H "Expect: 200-maybe\r\nContent-Length: 3\r\n\r\nabc", 0, 417,
     "bad-expect"},
    {"route of the other half", "GET /read-only HTTP/1.1\r\n" H "\r\n", 0, 404, "wrong-half"},
    {"no such route", "GET /nothing HTTP/1.1\r\n" H "\r\n", 0, 404, "no-such-route"},
    {"method not allowed", "DELETE /hello HTTP/1.1\r\n" H "\r\n", 0, 405, "method-not-allowed"},
};

static void hostile__each_of_the_table__gets_its_status(void **state)
{
    fixture f = start();
    int bad = 0;

    (void)state;
    assert_true(RF_ARRAY_LEN(RAW) >= 47);
    for (size_t i = 0; i < RF_ARRAY_LEN(RAW); i++) {
        kit_reply r;
        char want[64];

        kit_reply_init(&r);
        int status =
            kit_once(f.port, RAW[i].request, RAW[i].n > 0 ? RAW[i].n : strlen(RAW[i].request), &r);

        snprintf(want, sizeof want, "\"urn:refold:problem:%s\"",
                 RAW[i].rule == NULL ? "" : RAW[i].rule);
        if (status != RAW[i].status) {
            print_error("%s: %d, expected %d: %.*s\n", RAW[i].name, status, RAW[i].status,
                        RF_STR_ARG(r.body));
            bad++;
        } else if (RAW[i].rule != NULL && memmem(r.body.p, r.body.n, want, strlen(want)) == NULL) {
            print_error("%s: not %s but %.*s\n", RAW[i].name, RAW[i].rule, RF_STR_ARG(r.body));
            bad++;
        } else if (status >= 400 &&
                   !rf_str_eq(kit_header(&r, "Content-Type"), RF_STR("application/problem+json"))) {
            print_error("%s: not a problem document\n", RAW[i].name);
            bad++;
        }
        kit_reply_clear(&r);
    }
    assert_int_equal(bad, 0);
    stop(&f);
}

/* The same bytes one by one must give the same answers: no decision may hang on how reads fall. */
static void hostile__byte_by_byte__gets_the_same_status(void **state)
{
    fixture f = start();
    int bad = 0;

    (void)state;
    for (size_t i = 0; i < RF_ARRAY_LEN(RAW); i++) {
        size_t n = RAW[i].n > 0 ? RAW[i].n : strlen(RAW[i].request);
        int fd = kit_connect(f.port), yes = 1;
        kit_reply r;

        setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &yes, sizeof yes);
        kit_reply_init(&r);
        for (size_t at = 0; at < n && kit_send(fd, RAW[i].request + at, 1); at++)
            usleep(at % 16 == 0 ? 1 : 0);
        kit_read(fd, &r, false, 3000);
        if (r.status != RAW[i].status) {
            print_error("%s: %d, expected %d\n", RAW[i].name, r.status, RAW[i].status);
            bad++;
        }
        close(fd);
        kit_reply_clear(&r);
    }
    assert_int_equal(bad, 0);
    stop(&f);
}

static void hostile__after_a_refusal__connection_is_closed(void **state)
{
    fixture f = start();
    int fd = kit_connect(f.port);
    kit_reply r;

    (void)state;
    kit_reply_init(&r);
    kit_say(fd, GET H H "\r\n" GET H "\r\n"); /* the second is never looked at */
    assert_true(kit_read(fd, &r, false, 2000));
    assert_int_equal(r.status, 400);
    assert_true(rf_str_eq(kit_header(&r, "Connection"), RF_STR("close")));
    assert_true(kit_closed(fd, 2000));
    close(fd);
    kit_reply_clear(&r);
    stop(&f);
}

static int with_head(uint16_t port, const char *line, const char *name, size_t value_n, int count)
{
    rf_buf b;
    kit_reply r;

    rf_buf_init(&b, 64u << 20);
    rf_buf_add_cstr(&b, line);
    rf_buf_add_cstr(&b, H);
    for (int i = 0; i < count; i++) {
        rf_buf_addf(&b, "%s%d: ", name, i);
        for (size_t k = 0; k < value_n; k++)
            rf_buf_add_char(&b, 'v');
        rf_buf_add_cstr(&b, "\r\n");
    }
    rf_buf_add_cstr(&b, "\r\n");
    kit_reply_init(&r);
    int status = kit_once(port, b.p, b.n, &r);

    kit_reply_clear(&r);
    rf_buf_clear(&b);
    return status;
}

static void limits__of_the_head__at_and_over(void **state)
{
    fixture f = start();
    char line[20000];

    (void)state;
    assert_int_equal(with_head(f.port, GET, "x", 10, 99), 200); /* and Host: 100 */
    assert_int_equal(with_head(f.port, GET, "x", 10, 100), 431);
    assert_int_equal(with_head(f.port, GET, "x", 10, 1000), 431);
    assert_int_equal(with_head(f.port, GET, "x", 3000, 10), 200);
    assert_int_equal(with_head(f.port, GET, "x", 3300, 10), 431);
    assert_int_equal(with_head(f.port, GET, "x", 70000, 1), 431);
    assert_int_equal(with_head(f.port, GET, "x", 5000000, 1), 431);
    for (int n = 8192; n <= 8193; n++) {
        memset(line, 'a', sizeof line);
        memcpy(line, "GET /", 5);
        memcpy(line + 4 + n, " HTTP/1.1\r\n", 12);
        assert_int_equal(with_head(f.port, line, "x", 1, 1), n == 8192 ? 404 : 414);
    }
    char *endless = rf_xmalloc(100001);

    memset(endless, 'a', 100000);
    memcpy(endless, "GET /", 5);
    endless[100000] = '\0';
    assert_int_equal(with_head(f.port, endless, "x", 1, 1), 414);
    free(endless);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile__each_of_the_table__gets_its_status),
        cmocka_unit_test(hostile__byte_by_byte__gets_the_same_status),
        cmocka_unit_test(hostile__after_a_refusal__connection_is_closed),
        cmocka_unit_test(limits__of_the_head__at_and_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
