#!/usr/bin/env python3
"""Reading events back: by id, by stream, in log order; pages, filters, NDJSON. PROVES: P2"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from refold import Server, check, event, finish, quote  # noqa: E402


def by_id(s):
    sent = ('{"specversion":"1.0","id":"weird/id é","source":"urn:a/b?c","type":"read.one","time":'
            '"2026-01-31T23:59:59.123456789+02:00","data":{"big":123456789012345678901234567890,"n":1.50,'
            '  "u":"\\u00e9"},"extra":"x","flag":true}')
    r = s.call("POST", "/v1/events", sent.encode(), {"Content-Type": "application/cloudevents+json"})
    check("event__with_odd_names__is_stored", r.status == 201, r)
    r = s.get(f"/v1/events/{quote('urn:a/b?c')}/{quote('weird/id é')}")
    ok = r.status == 200 and r.json == json.loads(sent)
    check("event__by_source_and_id__comes_back_equal", ok, r)
    check("event__data__comes_back_byte_for_byte", b'{"big":123456789012345678901234567890,"n":1.50,'
          b'  "u":"\\u00e9"}' in r.body, r)
    check("event__place__is_in_headers", r.headers.get("refold-domain") == "default" and
          r.headers.get("refold-revision") == "0" and "refold-recorded-time" in r.headers, r.headers)
    r = s.get("/v1/events/%2Fnowhere/x")
    check("event__unknown__is_404", r.status == 404 and r.problem() == "no-such-event", r)
    r = s.call("HEAD", f"/v1/events/{quote('urn:a/b?c')}/{quote('weird/id é')}")
    check("event__head__has_no_body", r.status == 200 and r.body == b"" and
          int(r.headers["content-length"]) > 100, r)


def streams(s):
    s.batch([event(f"s{i}", type_="read.stream", subject="a/b c", data={"i": i}) for i in range(500)])
    path = "/v1/streams/default/" + quote("a/b c")

    def data(query):
        r = s.get(path + query)
        return [e["event"]["data"]["i"] for e in r.json["events"]], r.json["next"]

    check("stream__default__is_the_first_100", data("") == (list(range(100)), 100), data(""))
    check("stream__from_and_limit", data("?from=250&limit=5") == ([250, 251, 252, 253, 254], 255))
    check("stream__backward__begins_at_the_end", data("?direction=backward&limit=3") == ([499, 498, 497], 496))
    check("stream__backward_from", data("?direction=backward&from=2&limit=9") == ([2, 1, 0], None))
    check("stream__past_the_end__is_empty", data("?from=500") == ([], 500))
    seen, at = [], 0
    while True:
        page, at = data(f"?from={at}&limit=77")
        if not page:
            break
        seen += page
    check("stream__in_pages__is_whole", seen == list(range(500)))
    r = s.get(path + "?limit=3", {"Accept": "application/x-ndjson"})
    rows = [json.loads(x) for x in r.body.splitlines()]
    check("stream__as_ndjson__is_one_a_line", r.headers["content-type"] == "application/x-ndjson" and
          [x["revision"] for x in rows] == [0, 1, 2] and r.headers["refold-next"] == "3", r)
    for query in ("?limit=0", "?limit=x", "?from=-1", "?direction=sideways", "?format=xml"):
        r = s.get(path + query)
        check(f"stream__{query[1:]}__is_400", r.status == 400 and r.problem() == "bad-parameter", r)
    r = s.get("/v1/streams/default/none")
    check("stream__unknown__is_404", r.status == 404 and r.problem() == "no-such-stream", r)


def scan(s, **query):
    """All pages: events, and how many pages it took."""
    out, token, pages = [], None, 0
    while True:
        text = "&".join(f"{k.rstrip('_')}={quote(str(v))}" for k, v in query.items())
        r = s.get("/v1/events?" + text + (f"&after={token}" if token else ""))
        if r.status != 200:
            return r, pages
        page = r.json
        out += page["events"]
        token = page["next"]
        pages += 1
        if not page["more"]:
            return out, pages


def log(s):
    s.ndjson([event(f"l{i}", type_=f"log.{'even' if i % 2 == 0 else 'odd'}", subject=f"l{i % 7}",
                    time=f"2026-03-{1 + i // 100:02d}T00:00:00Z", data={"i": i}) for i in range(1000)])
    everything, pages = scan(s, limit=300)
    offsets = [e["offset"] for e in everything]
    check("log__in_pages__is_whole_and_in_order", offsets == list(range(len(offsets))) and
          len(offsets) >= 1500 and pages >= 5, (len(offsets), pages))
    odd, _ = scan(s, type="log.odd", limit=64)
    check("log__by_type__is_that_type_alone", len(odd) == 500 and
          all(e["event"]["type"] == "log.odd" for e in odd), len(odd))
    some, _ = scan(s, type="log.even", from_="2026-03-02T00:00:00Z", to="2026-03-04T00:00:00Z")
    check("log__from_and_to__are_about_the_events_time", [e["event"]["data"]["i"] for e in some] ==
          list(range(100, 300, 2)), len(some))
    none, pages = scan(s, type="log.none")
    check("log__unknown_type__is_empty", none == [] and pages == 1)
    none, _ = scan(s, domain="no-such")
    check("log__unknown_domain__is_empty", none == [])
    r = s.get("/v1/events?after=garbage!")
    check("log__bad_position__is_400", r.status == 400 and r.problem() == "bad-position", r)
    r = s.get("/v1/events?from=yesterday")
    check("log__bad_time__is_400", r.status == 400 and r.problem() == "bad-time", r)
    r = s.get("/v1/events?limit=10&format=ndjson")
    check("log__as_ndjson", len(r.body.splitlines()) == 10 and r.headers["refold-more"] == "true" and
          r.headers["refold-next"] != "", r.headers)
    end = s.get("/v1/events?limit=10000").json["next"]
    s.send(event("fresh", type_="log.fresh"))
    r = s.get(f"/v1/events?after={end}").json
    check("log__after_the_end__shows_what_came_since", [e["event"]["id"] for e in r["events"]] == ["fresh"] and
          r["more"] is False, r)
    ack = s.send(event("fresh2")).json["position"]
    check("log__position_of_an_ack__is_a_place_to_go_on", s.get(f"/v1/events?domain=default&after={ack}").json
          ["events"] == [])


with Server(role="write") as server:
    by_id(server)
    streams(server)
    log(server)
    check("server__stops__with_0", server.stop() == 0)
finish()
