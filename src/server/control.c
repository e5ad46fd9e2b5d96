/*
 * Control events: what the read half decides for good becomes an event in the system domain, sent
 * to the write half like any other. The id is made once, so that sending again cannot decide twice.
 */
#include "server/read_int.h"

#include <unistd.h>

#include <yyjson.h>

#include "server/client_int.h"

#define TIMEOUT_MS 10000
#define TRIES 5
#define TRY_AGAIN_US 200000

static void build(rf_buf *b, rf_str type, rf_str subject, rf_str data_json)
{
    char id[RF_UUID_TEXT + 1], time[RF_TIME_TEXT_MAX];

    rf_uuid7(id);
    rf_time_format(rf_wall_us(), time);
    rf_buf_addf(
        b, "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/refold/read\",\"time\":\"%s\"", id,
        time);
    rf_buf_add_cstr(b, ",\"type\":");
    rf_buf_add_json_str(b, type);
    rf_buf_add_cstr(b, ",\"subject\":");
    rf_buf_add_json_str(b, subject);
    rf_buf_add_cstr(b, ",\"data\":");
    rf_buf_add_str(b, data_json);
    rf_buf_add_char(b, '}');
}

/* Raises *position to the one in the answer. */
static rf_status read_position(rf_str answer, rf_position *position, rf_err *err)
{
    yyjson_doc *doc = yyjson_read(answer.p, answer.n, 0);
    yyjson_val *token = yyjson_obj_get(yyjson_doc_get_root(doc), "position");
    rf_position got = {0};
    rf_status st;

    if (!yyjson_is_str(token))
        st = rf_err_set(err, RF_EINTERNAL, "the write half answered without a position");
    else
        st = rf_position_decode((rf_str){yyjson_get_str(token), yyjson_get_len(token)}, &got, err);
    for (size_t i = 0; st == RF_OK && i < got.count; i++)
        rf_position_raise(position, rf_str_from(got.parts[i].domain), got.parts[i].partition,
                          got.parts[i].next);
    rf_position_clear(&got);
    yyjson_doc_free(doc);
    return st;
}

/* The write half refused: its own words. */
static rf_status refused(int status, rf_str answer, rf_err *err)
{
    yyjson_doc *doc = yyjson_read(answer.p, answer.n, 0);
    const char *detail = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "detail"));
    rf_status st = status == 507                    ? RF_EFULL
                   : status == 503 || status == 429 ? RF_EBUSY
                   : status == 413                  ? RF_ETOOBIG
                                                    : RF_EINTERNAL;

    rf_err_set(err, st, "the write half refused a control event (%d): %s", status,
               detail == NULL ? "" : detail);
    yyjson_doc_free(doc);
    return st;
}

rf_status rfi_send_control(void *arg, rf_str type, rf_str subject, rf_str data_json,
                           rf_position *position, rf_err *err)
{
    rfi_read *h = arg;
    rf_buf event, answer;
    rf_status st = RF_EBUSY;
    int status = 0;

    rf_buf_init(&event, 16u << 20);
    rf_buf_init(&answer, 1u << 20);
    build(&event, type, subject, data_json);
    rfi_call_options o = {.run_dir = h->run_dir,
                          .socket = "write.sock",
                          .method = "POST",
                          .path = "/v1/events",
                          .content_type = "application/cloudevents+json",
                          .body = rf_buf_str(&event),
                          .timeout_ms = TIMEOUT_MS};

    for (int i = 0; i < TRIES; i++) {
        st = rfi_call(&o, &status, &answer, err);
        if (st == RF_OK && (status == 200 || status == 201))
            st = read_position(rf_buf_str(&answer), position, err);
        else if (st == RF_OK)
            st = refused(status, rf_buf_str(&answer), err);
        if (st != RF_EBUSY && st != RF_EIO)
            break;
        usleep(TRY_AGAIN_US);
    }
    rf_buf_clear(&event);
    rf_buf_clear(&answer);
    if (st != RF_OK)
        rf_err_note(err, "deciding %.*s of %.*s", RF_STR_ARG(type), RF_STR_ARG(subject));
    return st;
}
