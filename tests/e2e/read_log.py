#!/usr/bin/env python3
"""examples/read-log: a reader written from docs/log-format.md alone reads what the real writer wrote.

The log has every kind of event, several domains, partitions and segments, and starts of the writer in
between. Every event that was acknowledged must come back from the reader as it was sent, and the reader
must agree with the program's own export in every word.
"""
import json
import math
import random
import re
import shutil
import subprocess
import sys

from cli_kit import ROOT, Server, case, directory, main, refold

READER = ROOT / "examples" / "read-log" / "read_log.py"
SEED = 20260131
CONFIG = """
domains:
  shop: {prefix: shop, partitions: 3}
  sensors: {prefix: sensor, partitions: 1}
"""
shared = {}


def read(*args):
    return subprocess.run([sys.executable, str(READER), *map(str, args)], capture_output=True, timeout=600)


def lines(raw):
    return [json.loads(line) for line in raw.decode().splitlines()]


def ident(n):
    return f"{n:032x}"[:8] + "-" + "0000-7000-8000-" + f"{n:012x}"


def kinds(rng):
    """One of everything that an event can be."""
    yield {"type": "bare", "id": "1"}
    yield {"type": "uuid", "id": "0190163d-8694-739b-aea5-966c26f8ad91"}
    yield {"type": "uuid", "id": "0190163D-8694-739B-AEA5-966C26F8AD92"}  # not the form that is packed
    yield {"type": "uuid", "id": "0190163d8694739baea5966c26f8ad93"}
    yield {"type": "unicode", "id": "ключ-⚷-𝄞", "subject": "straße/日本", "data": {"ключ": "𝄞 \" \\ \n \u007f"}}
    for time in ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09.5Z", "2024-05-06T07:08:09.123456Z",
                 "2024-05-06T07:08:09.1234567Z", "2024-05-06t07:08:09z", "2024-05-06T09:08:09.250+02:00",
                 "1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z",
                 "2016-12-31T23:59:60Z"):
        yield {"type": "time", "id": f"t-{time}", "time": time}
    for n, data in enumerate((None, True, False, 0, -1, 1.5, 1e300, -0.0, 2**53 + 1, "", "text", [], {}, [[], {}],
                              {"a": {"b": {"c": [1, 2, {"d": None}]}}}, [1.0, 10, "10"])):
        yield {"type": "json", "id": f"j{n}", "data": data}
    for n, raw in enumerate((b"", b"\0", bytes(range(256)), rng.randbytes(3000))):
        yield {"type": "binary", "id": f"b{n}", "datacontenttype": "application/octet-stream", "raw": raw}
    yield {"type": "typed", "id": "x1", "datacontenttype": "application/json; charset=utf-8",
           "dataschema": "https://example.org/schema/1", "data": {"x": 1}}
    yield {"type": "extended", "id": "x2", "correlationid": "c-1", "causationid": "x1",
           "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
           "tenant": "a", "flag": True, "off": False, "count": -2147483648, "quote": "a\"b\\c"}
    yield {"type": "big", "id": "z1", "data": {"same": "a" * 200000}}  # compresses
    yield {"type": "big", "id": "z2", "data": {"noise": rng.randbytes(150000).hex()}}
    yield {"type": "odd." + "t" * 3000, "id": "i" * 4000, "source": "urn:" + "s" * 4000, "subject": "j" * 4000}


def some(rng, n):
    return {"type": rng.choice(["shop.order.placed", "shop.order.paid", "sensor.reading", "other"]),
            "id": ident(n) if n % 3 == 0 else f"e{n}", "subject": f"s{rng.randrange(40)}",
            "time": f"2025-{1 + n % 12:02d}-03T04:05:{n % 60:02d}{'.25' if n % 2 else ''}Z",
            "data": {"n": n, "amount": rng.random() * 1000, "text": rng.randbytes(rng.randrange(300)).hex()}}


def envelope(event):
    import base64
    whole = {"specversion": "1.0", "source": "/reader", **event}
    raw = whole.pop("raw", None)
    if raw is not None:
        whole["data_base64"] = base64.b64encode(raw).decode()
    return whole


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def send(server, events):
    for at in range(0, len(events), 200):
        body = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in events[at:at + 200])
        server.good("send", "-", input=body.encode())


@case
def reader__every_kind_of_event__comes_back_as_it_was_sent():
    ran = read(shared["log"])
    assert ran.returncode == 0, ran
    got = {(p["event"]["source"], p["event"]["id"]): p for p in lines(ran.stdout)
           if p["domain"] != "refold"}
    sent = {(e["source"], e["id"]): e for e in shared["sent"]}
    assert got.keys() == sent.keys(), (len(got), len(sent), list(got.keys() ^ sent.keys())[:3])
    for key, event in sent.items():
        assert same(got[key]["event"], event), (got[key]["event"], event)
        assert got[key]["stream"] == event.get("subject", event["source"])


@case
def reader__against_the_programs_own_export__agrees_in_every_word():
    ran = read(shared["log"])
    own = refold("log", "export", "--data", shared["data"])
    assert own.code == 0, own
    theirs, ours = lines(ran.stdout), lines(own.out.encode())
    assert len(theirs) == len(ours) >= len(shared["sent"])
    for a, b in zip(sorted(theirs, key=place), sorted(ours, key=place)):
        assert same(a, b), (a, b)


def place(placed):
    return placed["domain"], placed["partition"], placed["offset"]


@case
def reader__log_of_many_segments_and_starts__was_really_that():
    segments = list(shared["log"].rglob("*.seg"))
    domains = {p.parent.parent.name for p in segments}
    assert {"shop", "sensors", "default"} <= domains and len(segments) > 10, segments
    codecs = set()
    for segment in segments:
        raw, at = segment.read_bytes(), 4096
        while raw[at:at + 4] == b"RFB1":
            codecs.add((raw[at + 6], raw[at + 20:at + 24] == bytes(4)))
            at += int.from_bytes(raw[at + 8:at + 12], "little")
    assert codecs == {(0, False), (1, False), (0, True)}, codecs  # plain, LZ4, markers


@case
def reader__example_of_the_format_page__reads_as_the_page_says():
    raw = bytearray(4096 + 4096)
    for at, bytes_ in re.findall(r"^([0-9a-f]{8}): ((?:[0-9a-f]{2} )+)",
                                 (ROOT / "docs" / "log-format.md").read_text(), re.M):
        line = bytes.fromhex(bytes_)
        raw[int(at, 16):int(at, 16) + len(line)] = line
    folder = shared["dir"] / "example" / "default" / "0"
    folder.mkdir(parents=True)
    (folder / f"{0:020d}.seg").write_bytes(raw)
    ran = read(shared["dir"] / "example")
    assert ran.returncode == 0, ran
    first, second = (p["event"] for p in lines(ran.stdout))
    assert first == {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed", "subject": "o-1",
                     "time": "2026-01-31T12:00:00Z", "data": {"amount": 12}}, first
    assert second["id"] == "0190163d-8694-739b-aea5-966c26f8ad91" and "time" not in second, second


@case
def reader__check__counts_and_is_content():
    ran = read(shared["log"], "--check")
    assert ran.returncode == 0 and b"chain whole" in ran.stdout, ran


@case
def reader__beside_a_running_writer__reads_a_prefix():
    with Server(shared["data"], "--config", shared["config"]) as s:
        s.good("send", "--type", "other", "--source", "/late", "--id", "late", "--data", "1")
        ran = read(shared["log"])
        assert ran.returncode == 0, ran
        assert any(p["event"]["id"] == "late" for p in lines(ran.stdout))


@case
def reader__any_flipped_bit_of_a_block__is_not_read_over():
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    copy = shared["dir"] / "copy"
    segment = min(shared["log"].rglob("*.seg"), key=lambda p: p.stat().st_size)
    for _ in range(20):
        shutil.rmtree(copy, ignore_errors=True)
        (copy / "d" / "0").mkdir(parents=True)
        raw = bytearray(segment.read_bytes())
        used = len(bytes(raw).rstrip(b"\0"))
        at = rng.randrange(used)
        raw[at] ^= 1 << rng.randrange(8)
        (copy / "d" / "0" / segment.name).write_bytes(raw)
        ran = read(copy, "--check")
        assert ran.returncode != 0 or b"not a whole block" in ran.stderr, (at, ran)


def run():
    rng = random.Random(SEED)
    with directory() as d:
        data, config = d / "data", d / "refold.yaml"
        config.write_text(CONFIG)
        sent = [envelope(e) for e in kinds(rng)]
        sent += [envelope(some(rng, n)) for n in range(2400)]
        for third in range(3):  # a start of the writer each
            with Server(data, "--config", config, "--log.segment-bytes", "64KiB") as s:
                send(s, sent[third::3])
        shared.update(dir=d, data=data, log=data / "log", config=config, sent=sent)
        main()


if __name__ == "__main__":
    run()
