#!/usr/bin/env python3
"""The OpenAPI document against the running server: every operation answers as it says, every answer
has a status that it names, every reference leads somewhere; /metrics is well-formed."""
import json
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from refold import Server, check, event, finish  # noqa: E402

# What to put into the braces and the body, for an answer that is no error.
VALUES = {"source": "%2Ftest", "id": "1", "domain": "default", "subject": "s-1", "name": "probe",
          "type": "test.thing", "version": "1"}
BODIES = {
    "appendEvents": (json.dumps(event("2")), "application/cloudevents+json"),
    "query": (json.dumps({"sql": "SELECT 1 AS one"}), "application/json"),
    "putProjection": ('SELECT subject, count(*) AS n FROM "test.thing" GROUP BY ALL', "application/sql"),
    "putSchema": ('{"type":"object","properties":{"n":{"type":"integer"}}}', "application/schema+json"),
}
LAST = ("rebuildProjection", "deleteProjection")


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def document(s):
    r = s.get("/openapi.json")
    doc = r.json
    check("openapi__is_3_1", r.status == 200 and doc["openapi"].startswith("3.1."))
    lost = [ref for ref in references(doc)
            if not ref.startswith("#/components/schemas/") or
            ref.rsplit("/", 1)[1] not in doc["components"]["schemas"]]
    check("openapi__references__lead_somewhere", lost == [], lost)
    ids = [o["operationId"] for p in doc["paths"].values() for o in p.values()]
    check("openapi__operation_ids__are_unique", len(ids) == len(set(ids)))
    listed = set(re.findall(r"^  ([A-Z]+) +(\S+)$", s.get("/").body.decode(), re.M))
    described = {(m.upper(), p) for p, ops in doc["paths"].items() for m in ops}
    check("openapi__and_the_index__list_the_same_routes", listed == described, listed ^ described)
    return doc


def operations(s, doc):
    todo = [(path, method, op) for path, ops in doc["paths"].items() for method, op in ops.items()]
    todo.sort(key=lambda x: LAST.index(x[2]["operationId"]) if x[2]["operationId"] in LAST else -1)
    todo.sort(key=lambda x: x[1] != "put" and x[1] != "post" and x[2]["operationId"] not in LAST)
    todo.sort(key=lambda x: x[2]["operationId"] in LAST)
    for path, method, op in todo:
        name = op["operationId"]
        braces = re.findall(r"{(\w+)}", path)
        declared = [p["name"] for p in op["parameters"] if p["in"] == "path"]
        check(f"{name}__path_parameters__are_declared", braces == declared, declared)
        url = re.sub(r"{(\w+)}", lambda m: VALUES[m.group(1)], path)
        body, kind = BODIES.get(name, (None, None))
        r = s.call(method.upper(), url, body, {"Content-Type": kind} if kind else {})
        answer = op["responses"].get(str(r.status))
        check(f"{name}__answers_as_described", answer is not None and r.status < 400, r)
        kinds = list((answer or {}).get("content", {}))
        got = r.headers.get("content-type", "").split(";")[0]
        check(f"{name}__content_type__is_described", got in kinds or (got == "" and kinds == []), (got, kinds))
        schema = ((answer or {}).get("content", {}).get(got) or {}).get("schema", {})
        if got == "application/json" and "$ref" in schema:
            known = doc["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]["properties"]
            some = [k for k in r.json if k in known]
            check(f"{name}__body__has_members_of_its_schema", len(some) > 0, r)
        for q in (p["name"] for p in op["parameters"] if p["in"] == "query"):
            bad = s.call(method.upper(), url + f"?{q}x=1", body, {"Content-Type": kind} if kind else {})
            check(f"{name}__parameter_{q}x__is_refused", bad.status == 400 and
                  bad.problem() == "unknown-parameter", bad)


LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*\})? '
                  r'(-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|\+Inf|-Inf))$')


def metrics(text):
    """What is wrong with it as Prometheus text."""
    wrong, kinds, helped, seen, last, buckets = [], {}, set(), set(), None, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            if name in kinds:
                wrong.append("described twice: " + name)
            kinds[name] = kind
            last = name
        else:
            m = LINE.match(line)
            if not m:
                wrong.append("no sample: " + line)
                continue
            name, labels, value = m.groups()
            base = re.sub(r"_(bucket|sum|count)$", "", name) if kinds.get(last) == "histogram" else name
            if base != last:
                wrong.append(f"{name} stands under {last}")
            if (name, labels) in seen:
                wrong.append("twice: " + line)
            seen.add((name, labels))
            if kinds.get(base) == "counter" and not name.endswith("_total"):
                wrong.append("a counter without _total: " + name)
            if name.endswith("_bucket"):
                key = (base, re.sub(r',?le="[^"]*"', "", labels))
                if float(value) < buckets.get(key, 0):
                    wrong.append("buckets go down: " + line)
                buckets[key] = float(value)
    wrong += ["without HELP: " + n for n in kinds if n not in helped]
    return wrong


def both_metrics(s):
    s.call("PUT", "/v1/projections/probe", BODIES["putProjection"][0])
    s.send({**event("bad"), "time": "x"})
    s.query("SELECT 1")
    r = s.get("/metrics")
    text = r.body.decode()
    check("metrics__content_type", r.headers["content-type"].startswith("text/plain; version=0.0.4"), r.headers)
    check("metrics__are_well_formed", metrics(text) == [], metrics(text)[:5])
    for name in ("refold_events_total", "refold_event_bytes_total", "refold_duplicates_total",
                 'refold_rejections_total{rule="bad-time"}', "refold_requests_total", "refold_ack_seconds_bucket",
                 "refold_fsync_seconds_bucket", "refold_log_events", "refold_log_bytes", "refold_pending_bytes",
                 "refold_reader_restarts_total", 'refold_process_resident_bytes{half="write"}',
                 'refold_process_resident_bytes{half="read"}', 'refold_projection_lag_events{projection="probe"}',
                 'refold_projection_lag_seconds{projection="probe"}', "refold_projection_rows",
                 "refold_rebuild_done_events", "refold_query_seconds_bucket", 'refold_queries_total{result="ok"}'):
        check(f"metrics__{name}__is_there", name in text)


with Server() as server:
    server.wait_ready()
    server.send(event("1"))
    time.sleep(0.1)
    operations(server, document(server))
    both_metrics(server)
    check("server__stops__with_0", server.stop() == 0)
finish()
