#!/usr/bin/env python3
"""refold serve, status, doctor, version: starting, stopping, settings, and what is said when it cannot."""
import json
import os
import signal
import socket
import subprocess

from cli_kit import REFOLD, Server, case, directory, free_port, good, main, refold, until


@case
def serve__sigterm__ends_with_0_and_no_child_is_left():
    with directory() as d:
        s = Server(d / "data").start()
        children = subprocess.run(["pgrep", "-P", str(s.process.pid)], capture_output=True, text=True)
        assert s.stop() == 0, s.said()
        for pid in children.stdout.split():
            until(lambda: not os.path.exists(f"/proc/{pid}"), 5)


@case
def serve__sigint__ends_with_0_as_well():
    with directory() as d:
        s = Server(d / "data").start()
        assert s.stop(signal.SIGINT) == 0, s.said()


@case
def serve__port_taken__says_so_and_exits_1():
    with directory() as d, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = refold("serve", "--data", d / "data", "--listen", f"127.0.0.1:{port}")
        assert ran.code == 1, ran
        assert str(port) in ran.err, ran


@case
def serve__directory_taken__says_so_and_exits_1_and_the_first_goes_on():
    with directory() as d, Server(d / "data") as s:
        ran = refold("serve", "--data", d / "data", "--listen", "127.0.0.1:0")
        assert ran.code == 1, ran
        assert "in use" in ran.err or "another" in ran.err, ran
        s.good("send", "--type", "a.b")


@case
def serve__directory_that_cannot_be_made__says_so():
    with directory() as d:
        (d / "file").write_text("x")
        ran = refold("serve", "--data", d / "file", "--listen", "127.0.0.1:0")
        assert ran.code == 1 and "file" in ran.err, ran


@case
def serve__wrong_settings__are_usage_errors():
    for args, says in [(["--rolle", "all"], "did you mean 'role'"),
                       (["--query.timeout", "soon"], "a time such as"),
                       (["--listen", "7070"], "HOST:PORT"),
                       (["--data"], "needs a value"),
                       (["--config", "/nonexistent.yaml"], "/nonexistent.yaml"),
                       (["word"], "unexpected argument")]:
        ran = refold("serve", *args)
        assert ran.code == 2 and says in ran.err, (args, ran)


@case
def serve__print_config__round_trips():
    with directory() as d:
        (d / "refold.yaml").write_text(
            "data: store\nlisten: '[::1]:9999'\nquery: {timeout: 2s}\n"
            "domains: {flights: {prefix: flight, partitions: 3}, shop: order}\n")
        first = good("serve", "--print-config", cwd=d).out
        (d / "second.yaml").write_text(first)
        second = good("serve", "--config", "second.yaml", "--print-config", cwd=d).out
        strip = lambda text: [l for l in text.splitlines() if not l.startswith("#")]
        assert strip(first.replace(str(d) + "/", "")) == strip(second.replace(str(d) + "/", "")), (first, second)
        assert "timeout: 2000ms" in first and "partitions: 3" in first, first


@case
def serve__flag_over_environment_over_file():
    with directory() as d:
        (d / "refold.yaml").write_text("query: {sessions: 2, timeout: 2s, max-rows: 5}\n")
        out = good("serve", "--print-config", "--query.sessions", "9", cwd=d,
                   env={"REFOLD_QUERY_SESSIONS": "8", "REFOLD_QUERY_TIMEOUT": "7s"}).out
        assert "sessions: 9" in out and "timeout: 7000ms" in out and "max-rows: 5" in out, out


@case
def serve__role_write__takes_events_and_says_why_it_has_no_answers():
    with directory() as d, Server(d / "data", "--role", "write") as s:
        s.good("send", "--type", "a.b")
        ran = s.run("sql", "SELECT 1")
        assert ran.code == 1 and "503" in ran.err, ran


@case
def serve__project__is_applied_at_start():
    with directory() as d:
        (d / "p" / "projections").mkdir(parents=True)
        (d / "p" / "projections" / "counts.sql").write_text(
            'SELECT type, count(*) AS n FROM events GROUP BY ALL')
        with Server(d / "data", "--project", d / "p") as s:
            until(lambda: "counts" in s.run("projections").out)


@case
def status__server__is_described():
    with directory() as d, Server(d / "data") as s:
        s.good("send", "--type", "a.b", "--subject", "x")
        out = until(lambda: (lambda o: o if "a.b" in o else None)(s.good("status").out))
        assert "default" in out and "up for" in out, out
        state = json.loads(s.good("status", "--json").out)
        part = [p for p in state["partitions"] if p["domain"] == "default"][0]
        assert part["events"] == 1 and part["bytes"] > 0, state
        assert state["version"] and state["uptimeSeconds"] >= 0, state
        assert [t for t in state["types"] if t["type"] == "a.b" and t["events"] == 1], state


@case
def status__no_server__exits_1_and_says_how_to_start_one():
    ran = refold("status", "--url", f"http://127.0.0.1:{free_port()}")
    assert ran.code == 1 and "refold serve" in ran.err, ran


@case
def doctor__good_place__is_fine_and_leaves_nothing():
    with directory() as d:
        ran = refold("doctor", "--data", d / "data", "--listen", f"127.0.0.1:{free_port()}")
        assert ran.code == 0, ran
        for word in ("kernel", "open files", "SQL engine", "DuckDB", "flush", "fdatasync"):
            assert word in ran.out, (word, ran)
        assert list(d.iterdir()) == [], list(d.iterdir())


@case
def doctor__bad_place_and_taken_port__fail():
    with directory() as d, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (d / "file").write_text("x")
        ran = refold("doctor", "--data", d / "file", "--listen",
                     f"127.0.0.1:{taken.getsockname()[1]}", "--json")
        found = {c["check"]: c for c in json.loads(ran.out)["checks"]}
        assert ran.code == 1, ran
        assert found["directory"]["level"] == "fail" and found["port"]["level"] == "fail", found
        assert "advice" in found["port"], found


@case
def doctor__running_server__is_recognised():
    with directory() as d, Server(d / "data") as s:
        ran = refold("doctor", "--data", d / "data", "--listen", f"127.0.0.1:{s.port}", "--json")
        found = {c["check"]: c for c in json.loads(ran.out)["checks"]}
        assert ran.code == 0, ran
        assert found["port"]["level"] == "warn" and "refold" in found["port"]["found"], found
        assert "a server is at work" in found["directory"]["found"], found


@case
def doctor__missing_engine__fails_with_advice():
    with directory() as d:
        ran = refold("doctor", "--data", d, "--listen", "127.0.0.1:0", "--json",
                     env={"REFOLD_DUCKDB": "/nonexistent/libduckdb.so"})
        found = {c["check"]: c for c in json.loads(ran.out)["checks"]}
        assert ran.code == 1 and found["SQL engine"]["level"] == "fail", ran


@case
def version__text_and_json__agree():
    text, state = good("version").out, json.loads(good("version", "--json").out)
    assert text == f"refold {state['version']} ({state['commit']})\n", (text, state)
    assert good("--version").out == text


if __name__ == "__main__":
    assert REFOLD
    main()
