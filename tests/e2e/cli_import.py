#!/usr/bin/env python3
"""refold import: rows become events, once each, however often it is stopped and started."""
import gzip
import json
import signal
import subprocess
import time

from cli_kit import REFOLD, Server, case, directory, environment, good, main, refold, rows, until

MAP = "type: row.read\nsource: /file\nid: \"= 'r' || row\"\nsubject: who\ndata: [who, n]\n"
shared = {}


def s():
    return shared["server"]


def files(name, count, bad=()):
    """A CSV of `count` rows (those in `bad` without an id's column value) and its mapping."""
    folder = shared["dir"] / name
    folder.mkdir()
    (folder / "a.csv").write_text("who,n\n" + "".join(
        f"w{i % 7},{i}\n" for i in range(1, count + 1)))
    (folder / "map.yaml").write_text(MAP.replace("/file", f"/{name}"))
    return folder / "a.csv", folder / "map.yaml"


def counted(source):
    out = s().good("sql", "--csv", f"SELECT count(*), count(DISTINCT id), coalesce(sum(data.n::BIGINT), 0) "
                   f"FROM \"row.read\" WHERE source = '/{source}'").out
    return [int(v) for v in rows(out)[0]]


def settled(source, want):
    until(lambda: counted(source) == want)


@case
def import__csv__every_row_once():
    csv, map = files("plain", 1000)
    result = json.loads(s().good("import", csv, "--map", map, "--json").out)
    assert result["rows"] == result["accepted"] == 1000 and result["rejected"] == 0, result
    settled("plain", [1000, 1000, 500500])


@case
def import__again__all_are_duplicates():
    folder = shared["dir"] / "plain"
    result = json.loads(s().good("import", folder / "a.csv", "--map", folder / "map.yaml", "--json").out)
    assert result["duplicates"] == 1000 and result["accepted"] == 0, result
    settled("plain", [1000, 1000, 500500])


@case
def import__limit__takes_the_first_rows():
    csv, map = files("limit", 100)
    out = s().good("import", csv, "--map", map, "--limit", "30").out
    assert out.startswith("30 rows: 30 accepted"), out
    settled("limit", [30, 30, 465])


@case
def import__server_dies_in_between__goes_on_where_it_was():
    csv, map = files("resume", 400000)
    with directory() as d:
        server = Server(d / "data").start()
        args = [REFOLD, "import", str(csv), "--map", str(map), "--request-events", "20000", "--json"]
        client = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=environment(server.url))
        until(lambda: int(json.loads(server.good("status", "--json").out)["partitions"][0]["events"] or 0)
              >= 40000 or client.poll() is not None)
        port = server.port
        server.stop(signal.SIGKILL)
        out, err = client.communicate(timeout=60)
        assert client.returncode == 1, (out, err)
        assert b"run it again" in err or b"no server answers" in err, err
        with Server(d / "data", "--listen", f"127.0.0.1:{port}") as again:
            ran = again.good("import", csv, "--map", map, "--request-events", "20000", "--json")
            result = json.loads(ran.out)
            assert result["resumedAt"] > 0 and "resuming after row" in ran.err, (result, ran)
            assert result["resumedAt"] + result["rows"] == 400000, result
            until(lambda: rows(again.run("sql", "--csv", 'SELECT count(*), count(DISTINCT id), '
                                         'sum(data.n::BIGINT) FROM "row.read"').out or "x\n") ==
                  [["400000", "400000", "80000200000"]])
            ran = again.good("import", csv, "--map", map, "--json")  # done: it begins anew
            assert json.loads(ran.out)["resumedAt"] == 0, ran


@case
def import__rejected_rows__are_named_and_exit_1_and_the_good_ones_are_stored():
    csv, map = files("reject", 50)
    map.write_text(map.read_text().replace("id: \"= 'r' || row\"",
                                           "id: \"= CASE WHEN n % 10 = 0 THEN NULL ELSE 'r' || row END\""))
    ran = s().run("import", csv, "--map", map, "--json")
    result = json.loads(ran.out)
    assert ran.code == 1 and result["rejected"] == 5 and result["accepted"] == 45, ran
    assert "row 10: missing-attribute" in ran.err, ran


@case
def import__cloudevents__need_no_mapping_and_may_be_packed():
    file = shared["dir"] / "events.ndjson.gz"
    with gzip.open(file, "wt") as out:
        for i in range(500):
            out.write(json.dumps({"specversion": "1.0", "id": str(i), "source": "/gz", "type": "gz",
                                  "data": {"text": "ü" * i}}) + "\n")
    result = json.loads(s().good("import", file, "--json").out)
    assert result["accepted"] == 500, result
    got = s().good("events", "/gz", "499").out
    assert json.loads(got)["data"]["text"] == "ü" * 499


@case
def import__last_line_without_a_newline__counts():
    file = shared["dir"] / "last.ndjson"
    file.write_text('{"specversion":"1.0","id":"1","source":"/last","type":"t"}\n\n'
                    '{"specversion":"1.0","id":"2","source":"/last","type":"t"}')
    assert json.loads(s().good("import", file, "--json").out)["accepted"] == 2


@case
def import__mistakes__exit_1_with_the_reason():
    csv, map = files("wrong", 3)
    (shared["dir"] / "bad.yaml").write_text("type: t\nsource: /s\nid: nosuch\n")
    for args, says in [(["/nonexistent.csv", "--map", map], "/nonexistent.csv"),
                       ([csv], "--map"),
                       ([csv, "--map", "/nonexistent.yaml"], "/nonexistent.yaml"),
                       ([csv, "--map", shared["dir"] / "bad.yaml"], "nosuch")]:
        ran = s().run("import", *args)
        assert ran.code == 1 and says in ran.err, (args, ran)
    assert refold("import").code == 2


@case
def import__nobody_there__exits_1():
    csv, map = files("nobody", 3)
    ran = refold("import", csv, "--map", map, url="http://127.0.0.1:1")
    assert ran.code == 1 and "no server answers" in ran.err, ran


@case
def sql_file__asks_without_a_server():
    csv, _ = files("local", 10)
    out = good("sql", "--file", csv, "--csv", "SELECT sum(n) AS s FROM file").out
    assert rows(out) == [["55"]], out


def run():
    with directory() as d, Server(d / "data") as server:
        shared.update(dir=d, server=server)
        main()


if __name__ == "__main__":
    run()
