/* Events back into JSON. Attributes in a fixed order, data byte for byte. */
#include "event/event.h"

#include <string.h>

/* `,"name":"value"`; nothing when the value is absent. */
static void add_attr(rf_buf *out, const char *name, rf_str value)
{
    if (value.n == 0)
        return;
    rf_buf_add(out, ",\"", 2);
    rf_buf_add_cstr(out, name);
    rf_buf_add(out, "\":", 2);
    rf_buf_add_json_str(out, value);
}

static void add_data(const rf_event *e, rf_buf *out)
{
    switch (e->data_kind) {
    case RF_DATA_NONE:
        break;
    case RF_DATA_JSON:
        rf_buf_add_cstr(out, ",\"data\":");
        rf_buf_add_str(out, e->data);
        break;
    case RF_DATA_BINARY:
        rf_buf_add_cstr(out, ",\"data_base64\":\"");
        rf_buf_add_base64(out, e->data.p, e->data.n);
        rf_buf_add_char(out, '"');
        break;
    }
}

void rf_event_encode(const rf_event *e, rf_buf *out)
{
    rf_buf_add_cstr(out, "{\"specversion\":\"1.0\"");
    add_attr(out, "id", e->id);
    add_attr(out, "source", e->source);
    add_attr(out, "type", e->type);
    add_attr(out, "subject", e->subject);
    add_attr(out, "time", e->time_text);
    add_attr(out, "datacontenttype", e->datacontenttype);
    add_attr(out, "dataschema", e->dataschema);
    add_attr(out, "correlationid", e->correlationid);
    add_attr(out, "causationid", e->causationid);
    add_attr(out, "traceparent", e->traceparent);
    if (e->extensions.n > 0) {
        rf_buf_add_char(out, ',');
        rf_buf_add_str(out, e->extensions);
    }
    add_data(e, out);
    rf_buf_add_char(out, '}');
}

/* JSON strings hold no raw line breaks, so one that is there stands between tokens. */
static void flatten(char *p, size_t n, char line_break)
{
    for (char *end = p + n; p < end && (p = memchr(p, line_break, (size_t)(end - p))) != NULL; p++)
        *p = ' ';
}

void rf_event_encode_line(const rf_event *e, rf_buf *out)
{
    size_t from = out->n;
    rf_event_encode(e, out);
    if (out->failed || e->data_kind != RF_DATA_JSON)
        return;
    flatten(out->p + from, out->n - from, '\n');
    flatten(out->p + from, out->n - from, '\r');
}

void rf_event_encode_placed(const rf_event *e, const rf_event_place *place, rf_buf *out)
{
    char recorded[RF_TIME_TEXT_MAX];
    size_t n = rf_time_format(place->recorded_us, recorded);
    rf_buf_add_cstr(out, "{\"domain\":");
    rf_buf_add_json_str(out, place->domain);
    rf_buf_add_cstr(out, ",\"partition\":");
    rf_buf_add_u64(out, place->partition);
    rf_buf_add_cstr(out, ",\"offset\":");
    rf_buf_add_u64(out, place->offset);
    rf_buf_add_cstr(out, ",\"stream\":");
    rf_buf_add_json_str(out, rf_event_stream(e));
    rf_buf_add_cstr(out, ",\"revision\":");
    rf_buf_add_u64(out, place->revision);
    rf_buf_add_cstr(out, ",\"recordedtime\":\"");
    rf_buf_add(out, recorded, n);
    rf_buf_add_cstr(out, "\",\"event\":");
    rf_event_encode_line(e, out);
    rf_buf_add_char(out, '}');
}
