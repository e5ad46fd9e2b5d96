#!/usr/bin/env python3
"""refold apply, sql, projections, rebuild."""
import csv
import io
import json

from cli_kit import Server, case, directory, main, rows, until

shared = {}
COUNTS = '''SELECT data->>'who' AS who, count(*) AS n, sum(data.amount::INT) AS total
FROM "order.placed" GROUP BY ALL'''


def s():
    return shared["server"]


def project(name, files):
    folder = shared["dir"] / name
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def order(who, amount):
    """Sends one; returns the position of its acknowledgement."""
    ran = s().good("send", "--type", "order.placed", "--subject", who, "--json", "--data",
                   json.dumps({"who": who, "amount": amount}))
    return json.loads(ran.out)["position"]


def totals(position):
    out = s().good("sql", "--csv", "--after", position, "SELECT who, n, total FROM counts ORDER BY who").out
    return rows(out)


@case
def apply__projection__is_created_then_unchanged():
    folder = project("shop", {"projections/counts.sql": COUNTS})
    assert "projection counts: created" in s().good("apply", folder).out
    out = s().good("apply", folder).out
    assert "projection counts: " in out and "created" not in out, out


@case
def sql__after__reads_ones_own_writes():
    for i in range(20):
        position = order("ann", 10)
        assert totals(position) == [["ann", str(i + 1), str(10 * (i + 1))]]


@case
def sql__formats__say_the_same():
    position = order("bob", 5)
    sql = "SELECT who, n FROM counts ORDER BY who"
    table = s().good("sql", "--after", position, sql)
    assert "ann" in table.out and "2 rows" in table.err, table
    answer = json.loads(s().good("sql", "--json", sql).out)
    assert [c["name"] for c in answer["columns"]] == ["who", "n"], answer
    assert answer["rows"] == [["ann", 20], ["bob", 1]] and answer["rowCount"] == 2, answer
    assert [json.loads(l) for l in s().good("sql", "--ndjson", sql).out.splitlines()] == [
        {"who": "ann", "n": 20}, {"who": "bob", "n": 1}]
    assert list(csv.reader(io.StringIO(s().good("sql", "--csv", sql).out))) == [
        ["who", "n"], ["ann", "20"], ["bob", "1"]]
    chart = s().good("sql", "--chart", sql).out
    assert "ann" in chart and "█" in chart and "20" in chart, chart
    assert s().good("sql", "-", "--csv", input=sql.encode()).out.startswith("who,n")
    assert s().good("sql", "--csv", input=sql.encode()).out.startswith("who,n")


@case
def sql__mistakes__exit_1_with_the_engines_words():
    for sql, says in [("SELECT nosuch FROM counts", "nosuch"), ("SELEC 1", "400"),
                      ("SELECT 1; SELECT 2", "4"), ("DROP VIEW counts", "40"),
                      ("SELECT * FROM read_csv('/etc/passwd')", "403")]:
        ran = s().run("sql", sql)
        assert ran.code == 1 and says in ran.err, (sql, ran)
        assert ran.out == "", ran


@case
def sql__unknown_type__is_empty_with_a_warning_that_names_the_nearest():
    ran = s().good("sql", 'SELECT count(*) FROM "order.placd"')
    assert "order.placed" in ran.err, ran


@case
def projections__list_and_show__say_state_and_lag():
    out = s().good("projections").out
    assert "counts" in out and "live" in out, out
    one = json.loads(s().good("projections", "show", "counts").out)
    assert one["name"] == "counts" and "count(*)" in one["sql"], one
    ran = s().run("projections", "show", "nosuch")
    assert ran.code == 1 and "404" in ran.err, ran


@case
def rebuild__projection__gives_the_same_answer_and_tells_its_speed():
    before = totals(order("ann", 1))
    out = json.loads(s().good("rebuild", "counts", "--json").out)
    assert out["events"] >= 22 and out["eventsPerSecond"] > 0, out
    assert totals(order("zoe", 1)) == before + [["zoe", "1", "1"]]
    assert "rebuilt counts" in s().good("rebuild", "counts").out
    ran = s().run("rebuild", "nosuch")
    assert ran.code == 1 and "404" in ran.err, ran


@case
def apply__changed_projection__takes_the_place_of_the_old():
    changed = COUNTS.replace("sum(data.amount::INT) AS total", "max(data.amount::INT) AS top")
    s().good("apply", project("shop", {"projections/counts.sql": changed}))

    def top():
        ran = s().run("sql", "--csv", "SELECT top FROM counts WHERE who = 'ann'")
        return ran.code == 0 and rows(ran.out) == [["10"]]
    until(top)


@case
def apply__refused_ones__exit_1_with_the_reason_and_the_others_are_applied():
    folder = project("bad", {"projections/a_bad.sql": 'SELECT median(data.x::INT) FROM "t" GROUP BY ALL',
                             "projections/b_worse.sql": "SELEC",
                             "projections/c_good.sql": 'SELECT count(*) AS n FROM "order.placed"'})
    ran = s().run("apply", folder)
    assert ran.code == 1, ran
    assert "a_bad" in ran.err and "median" in ran.err and "b_worse" in ran.err, ran
    assert "projection c_good: created" in ran.out, ran
    ran = s().run("apply", folder, "--json")
    assert ran.code == 1 and len(json.loads(ran.out)) == 3, ran
    assert "a_bad" not in s().good("projections").out


@case
def apply__schema__gives_data_types():
    folder = project("typed", {"schemas/typed.thing.v1.json": json.dumps(
        {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}})})
    s().good("apply", folder)
    ran = s().good("send", "--type", "typed.thing", "--data", '{"n": 41, "s": "x"}', "--json")
    out = s().good("sql", "--csv", "--after", json.loads(ran.out)["position"],
                   'SELECT data.n + 1, data.s FROM "typed.thing"').out
    assert rows(out) == [["42", "x"]], out


@case
def apply__nothing_there__is_an_error():
    (shared["dir"] / "empty").mkdir()
    ran = s().run("apply", shared["dir"] / "empty")
    assert ran.code == 1 and "nothing to apply" in ran.err, ran


@case
def projections__drop__removes_it_and_loses_nothing():
    assert "dropped c_good" in s().good("projections", "drop", "c_good").out
    assert s().run("sql", "SELECT * FROM c_good").code == 1
    assert s().run("projections", "drop", "c_good").code == 1
    s().good("apply", project("again", {"projections/c_good.sql": 'SELECT count(*) AS n FROM "order.placed"'}))
    position = order("ann", 1)
    assert int(rows(s().good("sql", "--csv", "--after", position, "SELECT n FROM c_good").out)[0][0]) == 24


def run():
    with directory() as d, Server(d / "data") as server:
        shared.update(dir=d, server=server)
        main()


if __name__ == "__main__":
    run()
