/*
 * GET /openapi.json: made once from the table of routes and the texts below, so a route without a
 * description, or a description without a route, cannot be (RF_ASSERT;
 * tests/server/test_openapi.c).
 *
 * JSON is written here with ' for " (add_json); so no text may hold an apostrophe.
 */
#include "server/route_int.h"
#include "server/server.h"

#include <pthread.h>
#include <string.h>

typedef struct operation {
    const char *id, *tag, *summary;
    const char *request;   /* content of the body; NULL: none */
    const char *responses; /* beside `default`, which is a problem everywhere */
} operation;

#define REF(name) "{'$ref':'#/components/schemas/" name "'}"
#define JSON_OF(name) "'content':{'application/json':{'schema':" REF(name) "}}"
#define OK_JSON(status, text, name) "'" status "':{'description':'" text "'," JSON_OF(name) "}"
#define PROBLEM(status, text)                                                                      \
    "'" status "':{'description':'" text                                                           \
    "','content':{'application/problem+json':{'schema':" REF("Problem") "}}}"
#define AWAY PROBLEM("503", "The read half is away or starting: again after Retry-After seconds.")
#define EVENTS_JSON                                                                                \
    "'content':{'application/json':{'schema':" REF(                                                \
        "EventPage") "},"                                                                          \
                     "'application/x-ndjson':{'schema':" REF("PlacedEvent") "}}"

static const operation OPERATIONS[] = {
    {"appendEvents", "events", "Store events; answered when they are on stable storage.",
     "{'application/cloudevents+json':{'schema':" REF(
         "CloudEvent") "},"
                       "'application/"
                       "cloudevents-batch+json':{'schema':{'type':'array','items':" REF(
                           "CloudEvent") "}},"
                                         "'application/x-ndjson':{'schema':" REF(
                                             "CloudEvent") "},"
                                                           "'*/*':{'schema':{'description':'Binary "
                                                           "mode: the data alone; its attributes "
                                                           "are ce- headers.'}}}",
     OK_JSON("201", "One event was stored.", "Outcome") "," OK_JSON("200", "Stored, or stored before (duplicate).", "Outcome") "," PROBLEM(
         "409",
         "An id is taken by another event, or the stream is at another "
         "revision.") "," PROBLEM("413",
                                  "Over a limit.") "," PROBLEM("415",
                                                               "None of the "
                                                               "forms of "
                                                               "events.") "," PROBLEM("422",
                                                                                      "Events were "
                                                                                      "refused; "
                                                                                      "see "
                                                                                      "errors.") "," PROBLEM("503",
                                                                                                             "Too much is pending: again after Retry-After seconds.") "," PROBLEM("507",
                                                                                                                                                                                  "The disk is full; nothing was stored.")},
    {"listEvents", "events", "Events in the order of the log, in pages.", NULL,
     "'200':{'description':'A page; pass its next as after.'," EVENTS_JSON "}"},
    {"getEvent", "events", "One event, as it was sent; its place is in Refold- headers.", NULL,
     "'200':{'description':'The event.','content':{'application/cloudevents+json':{'schema':" REF(
         "CloudEvent") "}}}," PROBLEM("404", "There is no such event.")},
    {"readStream", "events", "The events of one stream, by revision.", NULL,
     "'200':{'description':'A page; pass its next as from.'," EVENTS_JSON
     "}," PROBLEM("404", "There is no such stream.")},
    {"query", "queries", "Run one SELECT over projections and events.",
     "{'application/json':{'schema':" REF(
         "Query") "},"
                  "'application/sql':{'schema':{'type':'string'}},'text/"
                  "plain':{'schema':{'type':'string'}}}",
     "'200':{'description':'The answer.','content':{'application/json':{'schema':" REF(
         "QueryAnswer") "},'application/x-ndjson':{},'text/csv':{},'application/"
                        "vnd.apache.arrow.stream':{}}}," PROBLEM(
                            "400",
                            "The SQL is wrong: see line and "
                            "column.") "," PROBLEM("403",
                                                   "The SQL "
                                                   "is not "
                                                   "allowed.") "," PROBLEM("408",
                                                                           "The deadline has "
                                                                           "passed.") "," PROBLEM("413",
                                                                                                  "More rows or bytes than the cap.") "," AWAY},
    {"listProjections", "projections", "All projections.", NULL,
     OK_JSON("200", "The projections.", "Projections") "," AWAY},
    {"getProjection", "projections", "One projection.", NULL,
     OK_JSON("200", "The projection.", "Projection") "," PROBLEM("404", "There is none.") "," AWAY},
    {"putProjection", "projections", "Define or change a projection; the body is its SQL.",
     "{'application/sql':{'schema':{'type':'string'}},'text/plain':{'schema':{'type':'string'}}}",
     OK_JSON("201", "Created.", "Projection") "," OK_JSON(
         "200", "Changed, or the same.",
         "Projection") "," PROBLEM("400", "The SQL is wrong.") "," PROBLEM("422",
                                                                           "It cannot be kept "
                                                                           "incrementally; detail "
                                                                           "says why.") "," AWAY},
    {"deleteProjection", "projections", "Remove a projection; it can be made again from the log.",
     NULL, "'204':{'description':'It is gone.'}," PROBLEM("404", "There is none.") "," AWAY},
    {"rebuildProjection", "projections", "Compute it anew beside the live one, then switch.", NULL,
     OK_JSON("202", "Under way; see progress.", "Projection") "," PROBLEM(
         "409", "One is under way already.") "," PROBLEM("404", "There is none.") "," AWAY},
    {"listSchemas", "schemas", "Registered schemas.", NULL,
     OK_JSON("200", "The schemas.", "Schemas") "," AWAY},
    {"putSchema", "schemas", "Give the data of a type typed columns; the body is a JSON Schema.",
     "{'application/schema+json':{'schema':{'type':'object'}},"
     "'application/json':{'schema':{'type':'object'}}}",
     OK_JSON("201", "Registered.",
             "SchemaPut") "," OK_JSON("200", "Changed, or the same.",
                                      "SchemaPut") "," PROBLEM("400", "It is no schema.") "," AWAY},
    {"listTypes", "schemas", "Event types that were seen.", NULL,
     OK_JSON("200", "The types.", "Types") "," AWAY},
    {"getStatus", "operations", "Version, partitions, read half.", NULL,
     OK_JSON("200", "The state.", "Status")},
    {"getHealth", "operations", "The process lives.", NULL,
     "'200':{'description':'It does.','content':{'application/json':{}}}"},
    {"getReadiness", "operations", "It takes events and answers queries.", NULL,
     "'200':{'description':'It does.','content':{'application/json':{}}},"
     "'503':{'description':'Some part does not; the body says which and why.',"
     "'content':{'application/json':{}}}"},
    {"getMetrics", "operations", "Prometheus text format.", NULL,
     "'200':{'description':'The metrics.','content':{'text/plain':{}}}"},
    {"getOpenapi", "operations", "This document.", NULL,
     "'200':{'description':'OpenAPI 3.1.','content':{'application/json':{}}}"},
    {"getIndex", "operations", "What there is, for people.", NULL,
     "'200':{'description':'The dashboard for a browser, else a list of routes and two commands to "
     "try.','content':{'text/html':{},'text/plain':{}}}"},
};

/* Query parameters; `operation` NULL: wherever the name occurs. */
static const struct {
    const char *operation, *name, *schema, *text;
} PARAMETERS[] = {
    {NULL, "on-error", "{'enum':['refuse','report']}",
     "report: store the good events of a JSON batch."},
    {NULL, "results", "{'type':'boolean'}", "true: list results for NDJSON, too."},
    {NULL, "type", "{'type':'string'}", "Only events of this type."},
    {NULL, "domain", "{'type':'string'}", "Only this domain."},
    {"listEvents", "from", "{'type':'string','format':'date-time'}",
     "Not before this time of the event."},
    {NULL, "to", "{'type':'string','format':'date-time'}", "Before this time of the event."},
    {NULL, "after", "{'type':'string'}",
     "A position: the page after it, or an answer that includes it."},
    {NULL, "limit", "{'type':'integer','minimum':1,'maximum':10000}", "Events in a page."},
    {NULL, "format", "{'type':'string'}",
     "Instead of Accept: json, ndjson, and for queries csv, arrow."},
    {"readStream", "from", "{'type':'integer','minimum':0}", "The first revision."},
    {NULL, "direction", "{'enum':['forward','backward']}", "backward: newest first."},
    {NULL, "timeoutMs", "{'type':'integer','minimum':1}", "Deadline."},
    {NULL, "maxRows", "{'type':'integer','minimum':1}", "Cap of rows."},
    {NULL, "waitMs", "{'type':'integer','minimum':0}", "Wait so long for it to be live."},
    {NULL, "only", "{'enum':['read']}", "For the other half."},
};

static const char INFO[] = "'openapi':'3.1.0','info':{'title':'refold','summary':'An event store "
                           "whose read models are SQL.',"
                           "'license':{'name':'Apache-2.0','identifier':'Apache-2.0'},'version':'";

static const char COMPONENTS[] =
    "'components':{'schemas':{"
    "'CloudEvent':{'type':'object','required':['specversion','id','source','type'],'properties':{"
    "'specversion':{'const':'1.0'},'id':{'type':'string','minLength':1},"
    "'source':{'type':'string','minLength':1},'type':{'type':'string','minLength':1},"
    "'subject':{'type':'string'},'time':{'type':'string','format':'date-time'},"
    "'datacontenttype':{'type':'string'},'dataschema':{'type':'string'},'data':{},"
    "'data_base64':{'type':'string','contentEncoding':'base64'},"
    "'correlationid':{'type':'string'},'causationid':{'type':'string'},"
    "'traceparent':{'type':'string'},'expectedrevision':{'description':'The revision the stream "
    "must be "
    "at: a number, no-stream, stream-exists or any. Not stored.','type':['integer','string']}}},"
    "'PlacedEvent':{'type':'object','properties':{'domain':{'type':'string'},"
    "'partition':{'type':'integer'},'offset':{'type':'integer'},'stream':{'type':'string'},"
    "'revision':{'type':'integer'},'recordedtime':{'type':'string','format':'date-time'},"
    "'event':{'$ref':'#/components/schemas/CloudEvent'}}},"
    "'EventPage':{'type':'object','properties':{'events':{'type':'array','items':"
    "{'$ref':'#/components/schemas/PlacedEvent'}},'next':{'type':['string','integer','null']},"
    "'more':{'type':'boolean'}}},"
    "'Outcome':{'type':'object','properties':{'accepted':{'type':'integer'},"
    "'duplicates':{'type':'integer'},'rejected':{'type':'integer'},'position':{'type':'string'},"
    "'results':{'type':'array','items':{'type':'object','properties':{'id':{'type':'string'},"
    "'domain':{'type':'string'},'partition':{'type':'integer'},'offset':{'type':'integer'},"
    "'stream':{'type':'string'},'revision':{'type':'integer'},'duplicate':{'type':'boolean'}}}},"
    "'errors':{'type':'array','items':{'$ref':'#/components/schemas/EventError'}}}},"
    "'EventError':{'type':'object','properties':{'index':{'type':'integer'},"
    "'line':{'type':'integer'},'rule':{'type':'string'},'path':{'type':'string'},"
    "'position':{'type':'integer'},'detail':{'type':'string'}}},"
    "'Problem':{'type':'object','required':['type','title','status','detail'],'properties':{"
    "'type':{'type':'string'},'title':{'type':'string'},'status':{'type':'integer'},"
    "'detail':{'type':'string'},'errors':{'type':'array','items':"
    "{'$ref':'#/components/schemas/EventError'}},'line':{'type':'integer'},"
    "'column':{'type':'integer'}}},"
    "'Query':{'type':'object','required':['sql'],'additionalProperties':false,'properties':{"
    "'sql':{'type':'string'},'params':{'type':'array'},'after':{'type':'string'},"
    "'format':{'enum':['json','ndjson','csv','arrow']},'timeoutMs':{'type':'integer','minimum':1},"
    "'maxRows':{'type':'integer','minimum':1}}},"
    "'QueryAnswer':{'type':'object','properties':{'columns':{'type':'array','items':{'type':'"
    "object',"
    "'properties':{'name':{'type':'string'},'type':{'type':'string'}}}},"
    "'rows':{'type':'array','items':{'type':'array'}},'rowCount':{'type':'integer'},"
    "'position':{'type':'string'},'elapsedMs':{'type':'number'},"
    "'warnings':{'type':'array','items':{'type':'string'}}}},"
    "'Projection':{'type':'object','properties':{'name':{'type':'string'},"
    "'version':{'type':'integer'},'state':{'enum':['live','building','halted']},"
    "'sql':{'type':'string'},'mode':{'type':'string'},'owner':{'type':['string','null']},"
    "'position':{'type':'string'},'lag':{'type':'object','properties':{'events':{'type':'integer'},"
    "'seconds':{'type':'number'}}},'rows':{'type':'integer'},'progress':{'type':['object','null']},"
    "'lastRebuild':{'type':['object','null']},'reason':{'type':'string'},"
    "'result':{'enum':['created','changed','unchanged']},"
    "'warnings':{'type':'array','items':{'type':'string'}}}},"
    "'Projections':{'type':'object','properties':{'projections':{'type':'array','items':"
    "{'$ref':'#/components/schemas/Projection'}}}},"
    "'SchemaPut':{'type':'object','properties':{'type':{'type':'string'},"
    "'version':{'type':'integer'},'result':{'enum':['created','changed','unchanged']}}},"
    "'Schemas':{'type':'object','properties':{'schemas':{'type':'array','items':{'type':'object'}}}"
    "},"
    "'Types':{'type':'object','properties':{'types':{'type':'array','items':{'type':'object',"
    "'properties':{'type':{'type':'string'},'events':{'type':'integer'},"
    "'firstTime':{'type':['string','null']},'lastTime':{'type':['string','null']}}}}}},"
    "'Status':{'type':'object','properties':{'version':{'type':'string'},'role':{'type':'string'},"
    "'uptimeSeconds':{'type':'number'},'partitions':{'type':'array','items':{'type':'object'}},"
    "'reader':{'type':['object','null']}}}}}";

static pthread_once_t once = PTHREAD_ONCE_INIT;
static rf_buf document;

static void add_json(rf_buf *b, const char *text)
{
    for (; *text != '\0'; text++)
        rf_buf_add_char(b, *text == '\'' ? '"' : *text);
}

static const operation *operation_of(const char *id)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(OPERATIONS); i++) {
        if (strcmp(OPERATIONS[i].id, id) == 0)
            return &OPERATIONS[i];
    }
    return NULL;
}

/* What stands in braces in the pattern. */
static void add_path_parameters(rf_buf *b, const char *pattern, bool *first)
{
    for (const char *p = strchr(pattern, '{'); p != NULL; p = strchr(p + 1, '{')) {
        rf_str name = {p + 1, strcspn(p + 1, "}")};

        add_json(b, *first ? "{'name':'" : ",{'name':'");
        rf_buf_add_str(b, name);
        add_json(b, "','in':'path','required':true,'schema':{'type':'string'}}");
        *first = false;
    }
}

static void add_query_parameter(rf_buf *b, const rfi_route *route, rf_str name, bool *first)
{
    for (size_t i = 0; i < RF_ARRAY_LEN(PARAMETERS); i++) {
        if (!rf_str_eq(name, rf_str_from(PARAMETERS[i].name)) ||
            (PARAMETERS[i].operation != NULL &&
             strcmp(PARAMETERS[i].operation, route->operation_id) != 0))
            continue;
        add_json(b, *first ? "{'name':'" : ",{'name':'");
        rf_buf_add_str(b, name);
        add_json(b, "','in':'query','schema':");
        add_json(b, PARAMETERS[i].schema);
        add_json(b, ",'description':'");
        add_json(b, PARAMETERS[i].text);
        add_json(b, "'}");
        *first = false;
        return;
    }
    RF_ASSERT(!"every query parameter is described");
}

static void add_parameters(rf_buf *b, const rfi_route *route)
{
    bool first = true;

    add_json(b, ",'parameters':[");
    add_path_parameters(b, route->pattern, &first);
    for (const char *p = route->query; p != NULL && *p != '\0';) {
        size_t n = strcspn(p, ",");

        add_query_parameter(b, route, (rf_str){p, n}, &first);
        p += n + (p[n] == ',');
    }
    add_json(b, "]");
}

static void add_operation(rf_buf *b, const rfi_route *route)
{
    const operation *o = operation_of(route->operation_id);

    RF_ASSERT(o != NULL);
    rf_buf_add_char(b, '"');
    for (const char *m = route->method; *m != '\0'; m++)
        rf_buf_add_char(b, (char)(*m | 0x20));
    add_json(b, "':{'operationId':'");
    add_json(b, o->id);
    add_json(b, "','tags':['");
    add_json(b, o->tag);
    add_json(b, "'],'summary':'");
    add_json(b, o->summary);
    add_json(b, "'");
    add_parameters(b, route);
    if (o->request != NULL) {
        add_json(b, ",'requestBody':{'required':true,'content':");
        add_json(b, o->request);
        add_json(b, "}");
    }
    add_json(b, ",'responses':{");
    add_json(b, o->responses);
    add_json(b, "," PROBLEM("default", "Any error.") "}}");
}

/* Has an earlier route this path? */
static bool is_first_of_path(size_t route)
{
    for (size_t i = 0; i < route; i++) {
        if (strcmp(rfi_routes[i].pattern, rfi_routes[route].pattern) == 0)
            return false;
    }
    return true;
}

static void add_path(rf_buf *b, size_t route)
{
    bool first = true;

    rf_buf_add_json_str(b, rf_str_from(rfi_routes[route].pattern));
    add_json(b, ":{");
    for (size_t i = route; i < rfi_route_count; i++) {
        if (strcmp(rfi_routes[i].pattern, rfi_routes[route].pattern) != 0)
            continue;
        if (!first)
            rf_buf_add_char(b, ',');
        add_operation(b, &rfi_routes[i]);
        first = false;
    }
    add_json(b, "}");
}

static void make_document(void)
{
    rf_buf *b = &document;
    bool first = true;

    RF_ASSERT(RF_ARRAY_LEN(OPERATIONS) == rfi_route_count);
    rf_buf_init(b, 1u << 20);
    add_json(b, "{");
    add_json(b, INFO);
    add_json(b, rf_version());
    add_json(b, "'},'paths':{");
    for (size_t i = 0; i < rfi_route_count; i++) {
        if (!is_first_of_path(i))
            continue;
        if (!first)
            rf_buf_add_char(b, ',');
        add_path(b, i);
        first = false;
    }
    add_json(b, "},");
    add_json(b, COMPONENTS);
    add_json(b, "}\n");
    RF_ASSERT(!b->failed);
}

rf_str rf_server_openapi(void)
{
    pthread_once(&once, make_document);
    return rf_buf_str(&document);
}
