/* Projections, schemas and types of the read half, on workers: they wait for acks and builds. */
#include "server/read_int.h"

#include <string.h>

#define WAIT_MS_DEFAULT 2000
#define WAIT_MS_MAX 60000

static const char JSON[] = "application/json";

static void answer_json(rfi_answer *a, int status)
{
    rf_buf_add_char(&a->body, '\n');
    a->status = status;
    a->content_type = JSON;
}

static const char *result_name(rf_projection_put result)
{
    return result == RF_PUT_CREATED   ? "created"
           : result == RF_PUT_CHANGED ? "changed"
                                      : "unchanged";
}

/* ---- projections ------------------------------------------------------------------------------
 */

static void no_such_projection(rfi_answer *a, rf_str name)
{
    rfi_answer_problem(a, 404, "no-such-projection",
                       "There is no projection '%.*s'; GET /v1/projections lists them.",
                       (int)RF_MIN(name.n, (size_t)100), name.p);
}

static void refuse_put(rfi_req *r, rfi_answer *a, const rf_err *err, const rf_sql_where *where)
{
    char members[64] = "";

    if (where->line > 0)
        snprintf(members, sizeof members, ",\"line\":%u,\"column\":%u", where->line, where->column);
    if (err->status == RF_EINVAL)
        rfi_answer_problem_with(a, 400, "bad-query", rf_str_from(err->text), rf_str_from(members));
    else if (err->status == RF_EUNSUPPORTED)
        rfi_answer_problem_with(a, 422, "not-incremental", rf_str_from(err->text),
                                rf_str_from(members));
    else
        rfi_answer_err(a, r, err);
}

/* {"result":…,"warnings":[…], and what GET shows of it. */
static void answer_put(rfi_read *h, rf_str name, rfi_answer *a, rf_projection_put result,
                       const rf_buf *warnings)
{
    rf_buf json;
    rf_err err = {0};

    rf_buf_init(&json, 4u << 20);
    rf_buf_addf(&a->body, "{\"result\":\"%s\",\"warnings\":[", result_name(result));
    rf_buf_add_str(&a->body, rf_buf_str(warnings));
    rf_buf_add_char(&a->body, ']');
    if (rf_projections_json(h->projections, name, &json, &err) == RF_OK && json.n > 2) {
        rf_buf_add_char(&a->body, ',');
        rf_buf_add(&a->body, json.p + 1, json.n - 1);
    } else {
        rf_buf_add_char(&a->body, '}');
    }
    rf_buf_clear(&json);
    if (result == RF_PUT_CREATED)
        rfi_answer_header(a, "Location", "/v1/projections/%.*s", RF_STR_ARG(name));
    answer_json(a, result == RF_PUT_CREATED ? 201 : 200);
}

static void put_projection(rfi_req *r, rfi_answer *a)
{
    rfi_read *h = rfi_read_of(r);
    rf_str name = r->params[0], text;
    uint64_t wait_ms = WAIT_MS_DEFAULT;
    rf_projection_put result = RF_PUT_SAME;
    rf_sql_where where = {0};
    rf_err err = {0};
    rf_buf warnings;
    size_t bad;

    if (rfi_req_query(r, "waitMs", &text) &&
        (!rf_str_to_u64(text, &wait_ms) || wait_ms > WAIT_MS_MAX)) {
        rfi_answer_problem(a, 400, "bad-parameter", "The parameter waitMs is a number up to %d.",
                           WAIT_MS_MAX);
        return;
    }
    if (!rf_projection_name_valid(name)) {
        rfi_answer_problem(
            a, 400, "bad-name",
            "'%.*s' cannot name a projection: 1 to 63 of a-z, 0-9 and _, beginning with a "
            "letter; not events, not refold.",
            (int)RF_MIN(name.n, (size_t)100), name.p);
        return;
    }
    if (!rf_utf8_valid(r->body.p, r->body.n, &bad)) {
        rfi_answer_problem(a, 400, "utf8", "The SQL is not UTF-8 from byte %zu on.", bad);
        return;
    }
    rf_buf_init(&warnings, 1u << 20);
    if (rf_projections_put(h->projections, name, rf_buf_str(&r->body), (uint32_t)wait_ms, &result,
                           &where, &warnings, &err) == RF_OK)
        answer_put(h, name, a, result, &warnings);
    else
        refuse_put(r, a, &err, &where);
    rf_buf_clear(&warnings);
}

static void get_projection(rfi_req *r, rfi_answer *a)
{
    rf_err err = {0};
    rf_status st = rf_projections_json(rfi_read_of(r)->projections, r->params[0], &a->body, &err);

    if (st == RF_OK)
        answer_json(a, 200);
    else if (st == RF_ENOTFOUND)
        no_such_projection(a, r->params[0]);
    else
        rfi_answer_err(a, r, &err);
}

static void list_projections(rfi_req *r, rfi_answer *a)
{
    rf_buf_add_cstr(&a->body, "{\"projections\":");
    rf_projections_json_all(rfi_read_of(r)->projections, &a->body);
    rf_buf_add_char(&a->body, '}');
    answer_json(a, 200);
}

static void delete_projection(rfi_req *r, rfi_answer *a)
{
    rf_err err = {0};
    rf_status st = rf_projections_drop(rfi_read_of(r)->projections, r->params[0], &err);

    if (st == RF_OK)
        a->status = 204;
    else if (st == RF_ENOTFOUND)
        no_such_projection(a, r->params[0]);
    else
        rfi_answer_err(a, r, &err);
}

static void rebuild_projection(rfi_req *r, rfi_answer *a)
{
    rfi_read *h = rfi_read_of(r);
    rf_err err = {0};
    rf_status st = rf_projections_rebuild(h->projections, r->params[0], &err);

    if (st == RF_ENOTFOUND) {
        no_such_projection(a, r->params[0]);
    } else if (st == RF_EBUSY) {
        rfi_answer_problem(a, 409, "rebuild-under-way", "%s", err.text);
    } else if (st != RF_OK) {
        rfi_answer_err(a, r, &err);
    } else {
        rfi_answer_header(a, "Location", "/v1/projections/%.*s", RF_STR_ARG(r->params[0]));
        if (rf_projections_json(h->projections, r->params[0], &a->body, &err) == RF_OK)
            answer_json(a, 202);
        else
            rfi_answer_err(a, r, &err);
    }
}

void rfi_projection_put(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, put_projection);
}

void rfi_projection_get(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, get_projection);
}

void rfi_projection_list(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, list_projections);
}

void rfi_projection_delete(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, delete_projection);
}

void rfi_projection_rebuild(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, rebuild_projection);
}

/* ---- schemas and types ------------------------------------------------------------------------
 */

static void put_schema(rfi_req *r, rfi_answer *a)
{
    rf_str type = r->params[0];
    rf_projection_put result = RF_PUT_SAME;
    uint64_t version = 0;
    rf_err err = {0};

    if (!rf_str_to_u64(r->params[1], &version) || version == 0 || version > UINT32_MAX) {
        rfi_answer_problem(a, 400, "bad-parameter",
                           "The version of a schema is a whole number from 1, not '%.*s'.",
                           (int)RF_MIN(r->params[1].n, (size_t)40), r->params[1].p);
        return;
    }
    rf_status st = rf_projections_put_schema(rfi_read_of(r)->projections, type, (uint32_t)version,
                                             rf_buf_str(&r->body), &result, &err);

    if (st == RF_EINVAL) {
        rfi_answer_problem(a, 400, "bad-schema", "%s", err.text);
        return;
    }
    if (st != RF_OK) {
        rfi_answer_err(a, r, &err);
        return;
    }
    rf_buf_add_cstr(&a->body, "{\"type\":");
    rf_buf_add_json_str(&a->body, type);
    rf_buf_addf(&a->body, ",\"version\":%u,\"result\":\"%s\"}", (unsigned)version,
                result_name(result));
    answer_json(a, result == RF_PUT_CREATED ? 201 : 200);
}

static void list_schemas(rfi_req *r, rfi_answer *a)
{
    rf_buf_add_cstr(&a->body, "{\"schemas\":");
    rf_projections_schemas_json(rfi_read_of(r)->projections, &a->body);
    rf_buf_add_char(&a->body, '}');
    answer_json(a, 200);
}

static void list_types(rfi_req *r, rfi_answer *a)
{
    rf_buf_add_cstr(&a->body, "{\"types\":");
    rf_projections_types_json(rfi_read_of(r)->projections, &a->body);
    rf_buf_add_char(&a->body, '}');
    answer_json(a, 200);
}

void rfi_schema_put(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, put_schema);
}

void rfi_schema_list(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, list_schemas);
}

void rfi_type_list(rfi_req *r)
{
    rfi_offload(rfi_read_of(r)->workers, r, list_types);
}
