/*
 * A request as handlers see it, and how they answer. Knows nothing of sockets.
 *
 * Life: the connection makes the request when its first byte comes and holds one reference until
 * the reply is complete or the client is gone. A handler that answers later takes a reference of
 * its own (rfi_req_ref) and gives it back (rfi_req_unref); in between the client may vanish: then
 * on_gone is called, once, and every reply function does nothing.
 *
 * Thread: the loop's. Other threads may only read head, params and body of a request they hold a
 * reference for, and `gone`.
 */
#ifndef RFI_SERVER_REQUEST_H
#define RFI_SERVER_REQUEST_H

#include <stdatomic.h>

#include "base/base.h"
#include "server/parse_int.h"

#define RFI_PARAMS_MAX 2
#define RFI_HEADERS_OUT_MAX 32768 /* bytes a handler may add to the reply's head */

typedef struct rfi_req rfi_req;
typedef struct rfi_conn rfi_conn;
typedef struct rfi_http rfi_http;
typedef struct rfi_route rfi_route;
typedef struct rfi_loop rfi_loop;

struct rfi_req {
    rfi_head head;
    const rfi_route *route;
    rf_str params[RFI_PARAMS_MAX]; /* of the path, percent-decoded */
    char *decoded;                 /* their memory, and that of query values */
    size_t decoded_n;
    rf_buf body; /* RFI_BODY_WHOLE */
    rfi_http *http;
    void *app; /* the half this is a request to */
    rfi_loop *loop;
    bool local;       /* came over the Unix socket: from this machine, by its owner */
    int64_t began_us; /* rf_mono_us when the head was complete */

    /* The handler's, set when it is called; all on the loop's thread. */
    void *ctx;
    void (*on_body)(rfi_req *r, const char *p, size_t n); /* RFI_BODY_STREAM */
    void (*on_end)(rfi_req *r);
    void (*on_drain)(rfi_req *r); /* a streamed reply may go on */
    void (*on_gone)(rfi_req *r);  /* the client is gone, or the reply could not be finished */

    /* The core's. */
    rfi_conn *conn; /* NULL: answered, or gone */
    rfi_req *next;  /* in the pool */
    uint32_t refs;
    rf_buf headers_out;
    int status; /* of the reply; 0: not begun */
    bool started, finished;
    bool streaming, chunked_out;
    bool keep_alive;    /* as far as the reply is concerned */
    bool body_complete; /* all of the request is here */
    bool head_only;     /* HEAD */
    _Atomic bool gone;
};

rfi_req *rfi_req_ref(rfi_req *r);
void rfi_req_unref(rfi_req *r);

/* The value of a query parameter, percent-decoded ('+' is a space); false when it is not there. */
bool rfi_req_query(rfi_req *r, const char *name, rf_str *value);
/* A whole number in it: false when it is there and none within [min, max] (a problem was sent).
 * *value is left alone when the parameter is not there. */
bool rfi_req_query_u64(rfi_req *r, const char *name, uint64_t min, uint64_t max, uint64_t *value);

/* Back-pressure: no more on_body until resume (what was read already may still come). */
void rfi_req_pause(rfi_req *r);
void rfi_req_resume(rfi_req *r);

/* ---- replies
 * ------------------------------------------------------------------------------------- */

/* Before the reply is begun. The value is cut at the first control character. */
void rfi_reply_header(rfi_req *r, const char *name, const char *fmt, ...) RF_PRINTF(3, 4);
/* Complete replies. content_type NULL: no body. */
void rfi_reply(rfi_req *r, int status, const char *content_type, rf_str body);
/* Takes the buffer's memory and leaves it empty. A failed buffer becomes a 500 problem. */
void rfi_reply_take(rfi_req *r, int status, const char *content_type, rf_buf *body);

#define RFI_LENGTH_UNKNOWN UINT64_MAX
/* A reply in pieces. */
void rfi_reply_begin(rfi_req *r, int status, const char *content_type, uint64_t length);
/* Copies. false: stop until on_drain (or on_gone). */
bool rfi_reply_more(rfi_req *r, const char *p, size_t n);
void rfi_reply_end(rfi_req *r);
/* Cannot be finished: the connection is cut so that the client sees it. */
void rfi_reply_abort(rfi_req *r);

/* ---- problems (RFC 9457)
 * --------------------------------------------------------------------------- */

/* type "urn:refold:problem:<rule>", title by status, detail. */
void rfi_problem(rfi_req *r, int status, const char *rule, const char *fmt, ...) RF_PRINTF(4, 5);
/* The same with more members: `,"name":value…` as JSON. */
void rfi_problem_with(rfi_req *r, int status, const char *rule, rf_str detail, rf_str members);
/* An error of a module: its usual status, its name as the rule. Adds Retry-After where it helps. */
void rfi_problem_err(rfi_req *r, const rf_err *err);
/* Says in the log what is our own trouble. */
void rfi_problem_log(const rfi_req *r, int status, const rf_err *err);
int rfi_status_of(rf_status status);
const char *rfi_reason(int status);
/* The document alone. */
void rfi_problem_body(rf_buf *out, int status, const char *rule, rf_str detail, rf_str members);

#endif
