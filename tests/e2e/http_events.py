#!/usr/bin/env python3
"""POST /v1/events in all its forms, and what is refused, by status and rule. PROVES: P4 P6"""
import gzip
import json
import pathlib
import random
import shutil
import subprocess
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from refold import Server, check, event, finish, skip  # noqa: E402

JSON = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
NDJSON = "application/x-ndjson"


def forms(s):
    r = s.send(event("f1"))
    check("single__new__is_201", r.status == 201 and r.json["accepted"] == 1 and
          r.json["results"][0] == {"id": "f1", "domain": "default", "partition": 0,
                                   "offset": r.json["results"][0]["offset"], "stream": "s-1",
                                   "revision": 0, "duplicate": False}, r)
    first = r.json["results"][0]
    r = s.send(event("f1"))
    check("single__again__is_200_duplicate_with_the_first_place",
          r.status == 200 and r.json["duplicates"] == 1 and
          r.json["results"][0] == {**first, "duplicate": True}, r)
    r = s.send(event("f1", data={"n": 2}))
    check("single__same_id_other_content__is_409", r.status == 409 and r.problem() == "conflict" and
          r.json["errors"][0]["rule"] == "conflict-id", r)
    r = s.call("POST", "/v1/events", json.dumps(event("f2")),
               {"Content-Type": "Application/CloudEvents+JSON; Charset=UTF-8"})
    check("content_type__case_and_charset__are_understood", r.status == 201, r)
    r = s.call("POST", "/v1/events", json.dumps(event("f3")), {"Content-Type": JSON + "; charset=utf-16"})
    check("content_type__other_charset__is_415", r.status == 415 and r.problem() == "charset", r)

    r = s.batch([event(f"b{i}", subject="batch") for i in range(5)])
    check("batch__all_good__is_200_in_order", r.status == 200 and r.json["accepted"] == 5 and
          [x["revision"] for x in r.json["results"]] == [0, 1, 2, 3, 4], r)
    bad = [event("b10"), {**event("b11"), "time": "yesterday"}, event("b12")]
    r = s.batch(bad)
    check("batch__one_bad__is_422_by_index", r.status == 422 and r.json["errors"][0]["index"] == 1 and
          r.json["errors"][0]["rule"] == "bad-time" and r.json["errors"][0]["path"] == "/time", r)
    check("batch__one_bad__stores_nothing", s.get("/v1/events/%2Ftest/b10").status == 404)
    r = s.batch(bad, "?on-error=report")
    check("batch__report__stores_the_good", r.status == 200 and r.json["accepted"] == 2 and
          r.json["rejected"] == 1 and s.get("/v1/events/%2Ftest/b12").status == 200, r)
    r = s.batch([])
    check("batch__empty__is_200", r.status == 200 and r.json["accepted"] == 0, r)

    lines = [event(f"n{i}") for i in range(10)]
    lines.insert(3, "{not json")
    r = s.ndjson(lines)
    check("ndjson__one_bad_line__is_200_and_reported", r.status == 200 and r.json["accepted"] == 10 and
          r.json["rejected"] == 1 and r.json["errors"][0]["line"] == 4 and "results" not in r.json, r)
    r = s.ndjson([event("n100"), event("n0")], "?results=true")
    check("ndjson__results__are_given_when_asked", r.status == 200 and
          [x["duplicate"] for x in r.json["results"]] == [False, True], r)
    r = s.ndjson(["nonsense", "[]"])
    check("ndjson__none_good__is_422", r.status == 422 and r.json["rejected"] == 2, r)
    r = s.ndjson(["nonsense"] * 250)
    check("ndjson__many_bad__keeps_100_errors", len(r.json["errors"]) == 100 and
          r.json["rejected"] == 250, r)
    r = s.call("POST", "/v1/events", b"\n\r\n" + json.dumps(event("n200")).encode(), {"Content-Type": NDJSON})
    check("ndjson__empty_lines_and_no_last_newline__are_fine", r.status == 200 and
          r.json["accepted"] == 1, r)


def binary(s):
    ce = {"ce-specversion": "1.0", "ce-id": "bin%201", "ce-source": "/bin", "ce-type": "test.bin"}
    r = s.call("POST", "/v1/events", b'{"a": 1}', {**ce, "Content-Type": "application/json"})
    check("binary__json__is_201", r.status == 201 and r.json["results"][0]["id"] == "bin 1", r)
    got = s.get("/v1/events/%2Fbin/bin%201")
    check("binary__comes_back_as_it_was_sent", got.status == 200 and got.json["data"] == {"a": 1} and
          got.headers["content-type"] == JSON, got)
    r = s.call("POST", "/v1/events", b"\x00\x01\xff", {**ce, "ce-id": "bin2", "Content-Type": "image/png"})
    got = s.get("/v1/events/%2Fbin/bin2")
    check("binary__bytes__come_back_as_base64", r.status == 201 and got.json["data_base64"] == "AAH/" and
          got.json["datacontenttype"] == "image/png", got)
    r = s.call("POST", "/v1/events", b"{}", {"ce-specversion": "1.0", "ce-id": "x", "ce-source": "/bin",
                                             "Content-Type": "application/json"})
    check("binary__without_type__is_422", r.status == 422 and
          r.json["errors"][0]["rule"] == "missing-attribute", r)
    r = s.call("POST", "/v1/events", b"{broken", {**ce, "ce-id": "bin3", "Content-Type": "application/json"})
    check("binary__broken_json__is_400", r.status == 400 and r.json["errors"][0]["rule"] == "json-syntax", r)


def refusals(s):
    r = s.call("POST", "/v1/events", b"{}", {"Content-Type": "application/json"})
    check("content_type__json_alone__is_415_and_explains", r.status == 415 and
          "cloudevents+json" in r.json["detail"], r)
    r = s.call("POST", "/v1/events", b"{}")
    check("content_type__none__is_415", r.status == 415, r)
    r = s.call("POST", "/v1/events", b"x", {"Content-Type": JSON, "Content-Encoding": "br"})
    check("content_encoding__unknown__is_415", r.status == 415 and r.problem() == "content-encoding", r)
    r = s.call("POST", "/v1/events?on_error=report", b"[]", {"Content-Type": BATCH})
    check("parameter__misspelt__is_400", r.status == 400 and r.problem() == "unknown-parameter", r)
    r = s.call("POST", "/v1/events?results=maybe", b"[]", {"Content-Type": BATCH})
    check("parameter__bad_value__is_400", r.status == 400 and r.problem() == "bad-parameter", r)
    cases = [
        ("missing-attribute", {"specversion": "1.0", "id": "r", "source": "/r"}, 422),
        ("bad-specversion", event("r", specversion="2.0"), 422),
        ("bad-time", event("r", time="2026-02-30T00:00:00Z"), 422),
        ("bad-attribute-name", event("r", **{"Bad-Name": "x"}), 422),
        ("bad-attribute-type", event("r", subject=7), 422),
        ("empty-attribute", event(""), 422),
        ("depth", event("r", data=json.loads("[" * 70 + "]" * 70)), 422),
    ]
    for rule, body, status in cases:
        r = s.send(body)
        check(f"event__{rule}__is_{status}", r.status == status and r.json["errors"][0]["rule"] == rule and
              "detail" in r.json["errors"][0], r)
    raw = [
        ("utf8", b'{"specversion":"1.0","id":"\xff"}', 400),
        ("json-syntax", b'{"specversion":"1.0",}', 400),
        ("duplicate-key", b'{"specversion":"1.0","id":"r","id":"q","source":"/r","type":"t.t"}', 422),
        ("not-an-object", b"[1]", 422),
    ]
    for rule, body, status in raw:
        r = s.call("POST", "/v1/events", body, {"Content-Type": JSON})
        check(f"event__{rule}__is_{status}", r.status == status and r.json["errors"][0]["rule"] == rule, r)
    r = s.send(event("r", data="x" * (2 << 20)))
    check("event__over_the_size__is_413", r.status == 413 and r.problem() == "size", r)
    r = s.call("POST", "/v1/events", b"[" + b" " * (17 << 20) + b"]", {"Content-Type": BATCH})
    check("batch__over_the_size__is_413", r.status == 413, r)
    r = s.send(event("r", type_="refold.projection.dropped"))
    check("system_type__from_outside__is_403", r.status == 403, r)


def codings(s):
    lines = "".join(json.dumps(event(f"z{i}", data={"pad": random.randbytes(250).hex()})) + "\n"
                    for i in range(2000)).encode()
    r = s.call("POST", "/v1/events", gzip.compress(lines), {"Content-Type": NDJSON, "Content-Encoding": "gzip"})
    check("gzip__ndjson__is_taken", r.status == 200 and r.json["accepted"] == 2000, r)
    if shutil.which("zstd"):
        packed = subprocess.run(["zstd", "-c"], input=lines, capture_output=True, check=True).stdout
        r = s.call("POST", "/v1/events", packed, {"Content-Type": NDJSON, "Content-Encoding": "zstd"})
        check("zstd__ndjson__is_taken", r.status == 200 and r.json["duplicates"] == 2000, r)
    else:
        skip("zstd__ndjson__is_taken", "no zstd program here")
    r = s.call("POST", "/v1/events", gzip.compress(lines)[:-500], {"Content-Type": NDJSON, "Content-Encoding": "gzip"})
    check("gzip__cut__is_an_error_that_says_so", r.status in (400, 422) and
          "bad-encoding" in json.dumps(r.json), r)
    r = s.call("POST", "/v1/events", b"not gzip", {"Content-Type": JSON, "Content-Encoding": "gzip"})
    check("gzip__not_at_all__is_400", r.status == 400 and r.json["errors"][0]["rule"] == "bad-encoding", r)
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(bomb.compress(b" " * (1 << 20)) for _ in range(1024)) + bomb.flush()
    r = s.call("POST", "/v1/events", data, {"Content-Type": JSON, "Content-Encoding": "gzip"})
    check("gzip__bomb_of_1_GiB__is_413", r.status == 413, r)
    check("gzip__bomb__does_not_stay_in_memory", s.get("/v1/status").json["rssBytes"] < 300 << 20,
          s.get("/v1/status"))


def revisions(s):
    def send(ident, **headers):
        return s.send(event(ident, subject="rev"), **headers)

    r = send("v0", If_None_Match="*")
    check("if_none_match__new_stream__is_201", r.status == 201, r)
    r = send("v1", If_None_Match="*")
    check("if_none_match__existing_stream__is_409", r.status == 409 and
          r.json["errors"][0]["rule"] == "conflict-revision", r)
    r = send("v1", If_Match='"0"')
    check("if_match__right_revision__is_201", r.status == 201 and r.json["results"][0]["revision"] == 1, r)
    r = send("v2", If_Match='"0"')
    check("if_match__stale_revision__is_409", r.status == 409 and "actual 1" in r.json["detail"], r)
    r = send("v2", If_Match="*")
    check("if_match__star__is_201", r.status == 201, r)
    r = s.send(event("v3", subject="other"), If_Match="*")
    check("if_match__star_without_stream__is_409", r.status == 409, r)
    r = send("v3", If_Match="soon")
    check("if_match__nonsense__is_400", r.status == 400 and r.problem() == "bad-expectedrevision", r)
    r = s.send(event("v4", subject="rev", expectedrevision=2))
    check("expectedrevision__as_extension__is_201", r.status == 201, r)
    r = send("v1", If_Match='"0"')
    check("if_match__retry_of_what_was_stored__is_200_duplicate", r.status == 200, r)


def streaming(s):
    """A long body in chunks: taken as it comes, and memory stays flat."""
    def chunks():
        for block in range(200):
            yield "".join(json.dumps(event(f"st{block}-{i}", data={"pad": "y" * 900})) + "\n"
                          for i in range(200)).encode()
    c = s.connect()
    c.request("POST", "/v1/events", chunks(), {"Content-Type": NDJSON}, encode_chunked=True)
    r = c.getresponse()
    body = json.loads(r.read())
    check("ndjson__40_MB_in_chunks__is_taken", r.status == 200 and body["accepted"] == 40000, body)
    c.request("GET", "/healthz")
    check("connection__after_a_long_body__lives_on", c.getresponse().status == 200)
    c.close()
    r = s.raw(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
              b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", timeout=1)
    check("expect__100_continue__is_said", r.startswith(b"HTTP/1.1 100 Continue"), r)


with Server(role="write") as server:
    forms(server)
    binary(server)
    refusals(server)
    codings(server)
    revisions(server)
    streaming(server)
    check("server__stops__with_0", server.stop() == 0)
finish()
