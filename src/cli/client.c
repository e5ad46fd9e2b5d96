/*
 * The HTTP client of the verbs: libcurl, one easy handle, connection kept between requests. Proxies
 * from the environment are not used: the server is named by its URL alone.
 */
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <yyjson.h>

#include "cli/cli.h"

#define REPLY_BYTES_MAX (512u << 20)

struct rf_client {
    CURL *curl;
    char *base;          /* "http://host:port" without a slash at the end */
    char *unix_path;     /* NULL: TCP */
    uint32_t timeout_ms; /* 0: none */
    rf_buf url;
    char error[CURL_ERROR_SIZE];
};

rf_client *rf_client_new(const char *url)
{
    static bool initialised;
    rf_client *c = rf_xcalloc(1, sizeof *c);

    if (!initialised) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        initialised = true;
    }
    if (strncmp(url, "unix:", 5) == 0) {
        c->unix_path = rf_xstrdup(url + 5);
        c->base = rf_xstrdup("http://localhost");
    } else {
        size_t n = strlen(url);

        while (n > 0 && url[n - 1] == '/')
            n--;
        c->base = rf_xstrndup((rf_str){url, n});
    }
    rf_buf_init(&c->url, 1u << 20);
    c->curl = curl_easy_init();
    RF_ASSERT(c->curl != NULL);
    return c;
}

void rf_client_free(rf_client **c)
{
    if (*c == NULL)
        return;
    curl_easy_cleanup((*c)->curl);
    rf_buf_clear(&(*c)->url);
    free((*c)->base);
    free((*c)->unix_path);
    free(*c);
    *c = NULL;
}

void rf_client_set_timeout(rf_client *c, uint32_t timeout_ms)
{
    c->timeout_ms = timeout_ms;
}

void rf_url_encode(rf_buf *out, rf_str s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char b = (unsigned char)s.p[i];
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                     b == '-' || b == '.' || b == '_' || b == '~';

        if (plain) {
            rf_buf_add_char(out, (char)b);
        } else {
            rf_buf_add_char(out, '%');
            rf_buf_add_char(out, hex[b >> 4]);
            rf_buf_add_char(out, hex[b & 15]);
        }
    }
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    rf_buf *body = arg;

    rf_buf_add(body, p, size * n);
    return body->failed ? 0 : size * n;
}

typedef struct source {
    long (*read)(void *arg, char *buf, size_t n);
    void *arg;
} source;

static size_t on_read(char *buf, size_t size, size_t n, void *arg)
{
    source *s = arg;
    long got = s->read(s->arg, buf, size * n);

    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static rf_status perform(rf_client *c, rf_reply *reply, rf_err *err)
{
    CURLcode code = curl_easy_perform(c->curl);
    const char *type = NULL;

    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return rf_err_set(err, RF_EBUSY, "no server answers at %s; start one with: refold serve",
                          c->unix_path != NULL ? c->unix_path : c->base);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return rf_err_set(err, RF_ETIMEOUT, "%s did not answer in time", c->base);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return rf_err_set(err, RF_ECANCELED, "the request was given up");
    /* A server that refuses early may close before the body was taken: its answer counts. */
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &reply->status);
    if (code != CURLE_OK && !(code == CURLE_SEND_ERROR && reply->status >= 400))
        return rf_err_set(err, RF_EIO, "talking to %s: %s", c->base,
                          c->error[0] != '\0' ? c->error : curl_easy_strerror(code));
    curl_easy_getinfo(c->curl, CURLINFO_CONTENT_TYPE, &type);
    snprintf(reply->content_type, sizeof reply->content_type, "%s", type == NULL ? "" : type);
    return RF_OK;
}

static rf_status request(rf_client *c, const char *method, const char *path,
                         const char *const *headers, rf_str body, source *stream, rf_reply *reply,
                         rf_err *err)
{
    struct curl_slist *list = NULL;
    rf_status st;

    if (reply->body.max == 0)
        rf_buf_init(&reply->body, REPLY_BYTES_MAX);
    rf_buf_reset(&reply->body);
    reply->status = 0;
    rf_buf_reset(&c->url);
    rf_buf_add_cstr(&c->url, c->base);
    rf_buf_add_cstr(&c->url, path);
    curl_easy_reset(c->curl);
    curl_easy_setopt(c->curl, CURLOPT_URL, rf_buf_cstr(&c->url));
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    if (c->unix_path != NULL)
        curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->unix_path);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &reply->body);
    for (size_t i = 0; headers != NULL && headers[i] != NULL; i++)
        list = curl_slist_append(list, headers[i]);
    list = curl_slist_append(list, "Expect:"); /* no round trip before the body */
    if (stream != NULL) {
        curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(c->curl, CURLOPT_READFUNCTION, on_read);
        curl_easy_setopt(c->curl, CURLOPT_READDATA, stream);
        curl_easy_setopt(c->curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
        list = curl_slist_append(list, "Transfer-Encoding: chunked");
    } else if (body.n > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body.p == NULL ? "" : body.p);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    }
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, list);
    st = perform(c, reply, err);
    curl_slist_free_all(list);
    return st;
}

rf_status rf_client_send(rf_client *c, const char *method, const char *path,
                         const char *const *headers, rf_str body, rf_reply *reply, rf_err *err)
{
    return request(c, method, path, headers, body, NULL, reply, err);
}

rf_status rf_client_stream(rf_client *c, const char *method, const char *path,
                           const char *const *headers, long (*read)(void *arg, char *buf, size_t n),
                           void *arg, rf_reply *reply, rf_err *err)
{
    source s = {read, arg};

    return request(c, method, path, headers, (rf_str){NULL, 0}, &s, reply, err);
}

static rf_status status_of(long http)
{
    switch (http) {
    case 403:
        return RF_EFORBIDDEN;
    case 404:
        return RF_ENOTFOUND;
    case 408:
        return RF_ETIMEOUT;
    case 409:
        return RF_ECONFLICT;
    case 413:
        return RF_ETOOBIG;
    case 429:
    case 503:
        return RF_EBUSY;
    case 507:
        return RF_EFULL;
    default:
        return http >= 500 ? RF_EINTERNAL : RF_EINVAL;
    }
}

static const char *member(yyjson_val *object, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(object, name));

    return text == NULL ? "" : text;
}

rf_status rf_reply_check(const rf_reply *reply, rf_err *err)
{
    if (reply->status >= 200 && reply->status < 300)
        return RF_OK;
    yyjson_doc *doc = yyjson_read(reply->body.p, reply->body.n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *errors = yyjson_obj_get(root, "errors");
    yyjson_val *first = yyjson_arr_get_first(errors);
    rf_status st = status_of(reply->status);

    if (first != NULL) {
        yyjson_val *at = yyjson_obj_get(first, "line");

        if (at == NULL)
            at = yyjson_obj_get(first, "index");
        rf_err_set(err, st, "%ld %s: event %lld: %s%s%s: %s%s", reply->status,
                   member(root, "title"), (long long)yyjson_get_sint(at), member(first, "rule"),
                   member(first, "path")[0] != '\0' ? " at " : "", member(first, "path"),
                   member(first, "detail"), yyjson_arr_size(errors) > 1 ? " (and more)" : "");
    } else if (yyjson_is_obj(root)) {
        rf_err_set(err, st, "%ld %s: %s", reply->status, member(root, "title"),
                   member(root, "detail"));
    } else {
        rf_err_set(err, st, "the server answered %ld: %.*s", reply->status,
                   (int)RF_MIN(reply->body.n, (size_t)200),
                   reply->body.p == NULL ? "" : reply->body.p);
    }
    yyjson_doc_free(doc);
    return st;
}
