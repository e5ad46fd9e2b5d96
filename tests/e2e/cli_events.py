#!/usr/bin/env python3
"""refold send and refold events: what goes in comes back."""
import json

from cli_kit import Server, case, directory, main

with_server = {}


def server():
    return with_server["s"]


def read(*args):
    return [json.loads(line) for line in server().good("events", "--json", *args).out.splitlines()]


@case
def send__one__is_stored_and_said_where():
    ran = server().good("send", "--type", "order.placed", "--subject", "o-1", "--id", "1",
                        "--source", "/shop", "--data", '{"amount": 12.50}')
    assert "stored at default/0 offset" in ran.out and "stream o-1 revision 0" in ran.out, ran


@case
def send__again__is_already_stored_at_the_same_place():
    same = ("send", "--type", "t", "--subject", "again", "--id", "2", "--source", "/s", "--json")
    first, second = (json.loads(server().good(*same).out) for _ in range(2))
    assert first["accepted"] == 1 and second["duplicates"] == 1, (first, second)
    assert first["results"][0]["offset"] == second["results"][0]["offset"], (first, second)
    assert "already stored" in server().good(*same[:-1]).out


@case
def send__same_id_other_content__is_a_conflict():
    args = ("send", "--type", "t", "--id", "3", "--source", "/s", "--data")
    server().good(*args, "1")
    ran = server().run(*args, "2")
    assert ran.code == 1 and "409" in ran.err and "conflict-id" in ran.err, ran


@case
def send__expected_revision__only_one_of_two_wins():
    s = server()
    s.good("send", "--type", "t", "--subject", "rev", "--expected-revision", "no-stream")
    s.good("send", "--type", "t", "--subject", "rev", "--expected-revision", "0")
    ran = s.run("send", "--type", "t", "--subject", "rev", "--expected-revision", "0")
    assert ran.code == 1 and "conflict-revision" in ran.err, ran


@case
def send__bad_time__is_refused_by_name_and_nothing_is_stored():
    ran = server().run("send", "--type", "bad.time", "--time", "yesterday")
    assert ran.code == 1 and "bad-time" in ran.err and "/time" in ran.err, ran
    assert read("--type", "bad.time") == []


@case
def send__ndjson__stores_the_good_and_names_the_bad_lines():
    lines = [json.dumps({"specversion": "1.0", "id": str(i), "source": "/nd", "type": "nd"})
             for i in range(3)]
    lines.insert(1, '{"specversion":"1.0","id":"x"}')
    ran = server().run("send", "-", input="\n".join(lines).encode())
    assert ran.code == 1, ran
    assert "accepted 3" in ran.out and "rejected 1" in ran.out, ran
    assert "line 2" in ran.err and "missing-attribute" in ran.err, ran


@case
def send__file_that_is_not_there__exits_1():
    ran = server().run("send", "/nonexistent.ndjson")
    assert ran.code == 1 and "/nonexistent.ndjson" in ran.err, ran


@case
def events__by_source_and_id__as_it_was_sent():
    body = ('{"specversion":"1.0","id":"a/b c","source":"/way/out?x","type":"t",'
            '"data":{"n":1.50,"big":123456789012345678901234567890,"s":"\\u00e9"}}')
    server().good("send", "-", input=body.encode())
    out = server().good("events", "/way/out?x", "a/b c").out
    assert '"n":1.50' in out and "123456789012345678901234567890" in out and "\\u00e9" in out, out
    ran = server().run("events", "/way/out?x", "nosuch")
    assert ran.code == 1 and "404" in ran.err, ran


@case
def events__list__keeps_numbers_as_sent():
    body = ('{"specversion":"1.0","id":"n","source":"/n","type":"num.bers",'
            '"data":{"a":1.50,"b":123456789012345678901234567890,"c":1e2}}')
    server().good("send", "-", input=body.encode())
    out = server().good("events", "--type", "num.bers", "--json").out
    assert '"a":1.50' in out and "123456789012345678901234567890" in out and "1e2" in out, out


@case
def events__stream__forward_backward_and_from_a_revision():
    for i in range(5):
        server().good("send", "--type", "t", "--subject", "walk", "--data", str(i))
    def data(*args): return [e["event"]["data"] for e in read("--stream", "walk", *args)]
    assert data() == [0, 1, 2, 3, 4]
    assert data("--backward", "--limit", "2") == [4, 3]
    assert data("--revision", "3") == [3, 4]
    assert data("--revision", "3", "--backward") == [3, 2, 1, 0]
    ran = server().run("events", "--stream", "nosuch")
    assert ran.code == 1 and "404" in ran.err, ran


@case
def events__more_than_a_page__all_of_them_in_order():
    lines = "".join(json.dumps({"specversion": "1.0", "id": str(i), "source": "/page",
                                "type": "page.d", "data": i}) + "\n" for i in range(2500))
    server().good("send", "-", input=lines.encode())
    got = [e["event"]["data"] for e in read("--type", "page.d", "--limit", "1000000")]
    assert got == list(range(2500)), len(got)
    assert len(read("--type", "page.d", "--limit", "1001")) == 1001
    assert len(read("--type", "page.d")) == 20


@case
def events__long_stream__all_of_it():
    lines = "".join(json.dumps({"specversion": "1.0", "id": str(i), "source": "/long", "type": "t",
                                "subject": "long", "data": i}) + "\n" for i in range(2500))
    server().good("send", "-", input=lines.encode())
    got = [e["event"]["data"] for e in read("--stream", "long", "--limit", "1000000")]
    assert got == list(range(2500)), len(got)
    got = [e["event"]["data"] for e in read("--stream", "long", "--limit", "2200", "--backward")]
    assert got == list(range(2499, 299, -1)), len(got)


@case
def events__time_window__is_about_the_events_own_time():
    for day in (1, 2, 3):
        server().good("send", "--type", "when", "--time", f"2001-01-0{day}T00:00:00Z", "--data", str(day))
    got = [e["event"]["data"] for e in read("--type", "when", "--from", "2001-01-02T00:00:00Z",
                                            "--to", "2001-01-03T00:00:00Z")]
    assert got in ([2], [2, 3]), got


@case
def events__table__shows_place_type_and_data():
    out = server().good("events", "--type", "order.placed").out
    assert "place" in out and "order.placed" in out and "o-1" in out and "12.50" in out, out


def run():
    with directory() as d, Server(d / "data") as s:
        with_server["s"] = s
        main()


if __name__ == "__main__":
    run()
