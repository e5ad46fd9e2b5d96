#!/usr/bin/env python3
"""Two processes and their life: start, readiness, the read half killed, stops, what is taken.
PROVES: P1 P12"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from refold import BINARY, SLOW, Server, check, event, finish  # noqa: E402


def reader(s):
    return s.get("/v1/status").json["reader"]


def wait_reader(s, but=0, seconds=10 * SLOW):
    """Seconds until a read half that is not process `but` answers."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        r = reader(s)
        if r["state"] == "up" and r["pid"] != but and s.get("/v1/projections").status == 200:
            return time.monotonic() - began
        time.sleep(0.01)
    return 1e9


def both(s):
    r = s.get("/v1/projections")
    check("first_request__while_the_reader_starts__waits_for_it", r.status == 200, r)
    check("readyz__both_up__is_200", s.wait_ready() < 15 * SLOW and
          s.get("/readyz").json["parts"]["reader"]["ready"], s.get("/readyz"))
    check("healthz__is_200", s.get("/healthz").status == 200)
    s.send(event("a"))
    r = s.query("SELECT count(*)::BIGINT AS n FROM \"test.thing\"", after=s.send(event("b")).json["position"])
    check("query__with_after__reads_its_own_writes", r.status == 200 and r.json["rows"] == [[2]], r)
    maps = open(f"/proc/{s.process.pid}/maps").read()
    check("write_half__does_not_map_the_engine", "libduckdb" not in maps)
    r = s.call("PUT", "/v1/projections/things", "SELECT subject, count(*) AS n FROM \"test.thing\" GROUP BY ALL",
               {"Content-Type": "application/sql"})
    check("projection__put__is_201_with_location", r.status == 201 and r.json["result"] == "created" and
          r.headers["location"] == "/v1/projections/things", r)
    r = s.call("PUT", "/v1/projections/things", "SELECT subject, count(*) AS n FROM \"test.thing\" GROUP BY ALL")
    check("projection__put_again__is_200_unchanged", r.status == 200 and r.json["result"] == "unchanged", r)
    r = s.call("PUT", "/v1/projections/BAD", "SELECT 1")
    check("projection__bad_name__is_400", r.status == 400 and r.problem() == "bad-name", r)
    r = s.call("PUT", "/v1/projections/bad", "SELEC 1")
    check("projection__bad_sql__is_400", r.status == 400 and r.problem() == "bad-query", r)
    r = s.call("PUT", "/v1/projections/bad", "SELECT subject, median(data.n::INT) FROM \"test.thing\" GROUP BY ALL")
    check("projection__not_incremental__is_422_and_says_why", r.status == 422 and
          r.problem() == "not-incremental", r)
    r = s.get("/v1/projections/things")
    check("projection__get", r.status == 200 and r.json["name"] == "things", r)
    r = s.call("POST", "/v1/projections/things/rebuild")
    check("projection__rebuild__is_202", r.status == 202, r)
    check("projection__unknown__is_404", s.get("/v1/projections/none").status == 404 and
          s.call("DELETE", "/v1/projections/none").status == 404 and
          s.call("POST", "/v1/projections/none/rebuild").status == 404)


def queries(s):
    r = s.query("SELEC 1")
    check("query__bad_sql__is_400_with_place", r.status == 400 and r.problem() == "bad-query" and
          r.json.get("line") == 1, r)
    r = s.query("SELECT * FROM read_csv('/etc/passwd')")
    check("query__refused__is_403", r.status == 403 and r.problem() == "sql-refused", r)
    r = s.query("SELECT i FROM range(1000) t(i)", maxRows=10)
    check("query__too_many_rows__is_413", r.status == 413 and r.problem() == "too-large", r)
    r = s.call("POST", "/v1/query?format=csv", "SELECT 1 AS a, 'x,y' AS b", {"Content-Type": "application/sql"})
    check("query__bare_sql_as_csv", r.status == 200 and r.headers["content-type"].startswith("text/csv") and
          b'"x,y"' in r.body, r)
    r = s.call("POST", "/v1/query", "SELECT 1 AS a", {"Content-Type": "text/plain; charset=utf-8",
                                                      "Accept": "application/x-ndjson"})
    check("query__accept_ndjson", r.status == 200 and json.loads(r.body) == {"a": 1}, r)
    for body, what in [(b"{", "json-syntax"), (b"[]", "bad-query"), (b"{}", "bad-query"),
                       (b'{"sql":"SELECT 1","colour":1}', "bad-query"),
                       (b'{"sql":"SELECT 1","timeoutMs":-1}', "bad-query"),
                       (b'{"sql":"SELECT 1","format":"xml"}', "bad-parameter"),
                       (b'{"sql":"SELECT 1","params":{}}', "bad-query")]:
        r = s.call("POST", "/v1/query", body, {"Content-Type": "application/json"})
        check(f"query__body_{body.decode()}__is_400", r.status == 400 and r.problem() == what, r)
    r = s.query("SELECT $1::INT + $2::INT AS x", params=[40, 2])
    check("query__params", r.status == 200 and r.json["rows"] == [[42]], r)
    r = s.query("SELECT 'x' || i AS t FROM range(300000) t(i)", maxRows=400000)
    check("query__answer_of_megabytes__comes_whole_through_the_proxy", r.status == 200 and
          len(r.json["rows"]) == 300000, (r.status, len(r.body)))


def deadline(s):
    before = reader(s)["pid"]
    began = time.monotonic()
    r = s.query("SELECT count(*) FROM range(100000000) a(i), range(100000000) b(j) WHERE a.i + b.j < 0",
                timeoutMs=300)
    took = time.monotonic() - began
    check("deadline__interrupted__is_408", r.status == 408 and r.problem() == "deadline", r)
    check("deadline__is_kept", took < 3 * SLOW, took)
    began = time.monotonic()
    # One call of a scalar function over a list is not interrupted: the process must end.
    r = s.query("SELECT list_reduce(range(200000000), (a, b) -> a + b)", timeoutMs=300)
    took = time.monotonic() - began
    check("deadline__of_what_cannot_be_interrupted__is_an_answer_in_time",
          r.status == 408 and took < 3 * SLOW, (r, took))
    check("deadline__of_what_cannot_be_interrupted__replaces_the_reader",
          wait_reader(s, but=before) < 5 * SLOW)


def cancel(s):
    c = s.connect()
    c.request("POST", "/v1/query", json.dumps({
        "sql": "SELECT count(*) FROM range(100000000) a(i), range(100000000) b(j) WHERE a.i + b.j < 0",
        "timeoutMs": 60000}), {"Content-Type": "application/json"})
    deadline_at = time.monotonic() + 5 * SLOW
    running = 0
    while running == 0 and time.monotonic() < deadline_at:
        running = metric(s, "refold_queries_running")
        time.sleep(0.02)
    c.close()
    while running > 0 and time.monotonic() < deadline_at:
        running = metric(s, "refold_queries_running")
        time.sleep(0.02)
    check("query__of_a_client_that_left__is_stopped", running == 0, running)


def metric(s, name):
    for line in s.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return -1


def kills(s):
    """kill -9 of the read half under a running writer."""
    stop, refused = threading.Event(), []

    def write():
        n = 0
        while not stop.is_set():
            r = s.send(event(f"k{n}", type_="kill.tick"))
            if r.status != 201:
                refused.append(r)
            n += 1

    thread = threading.Thread(target=write)
    thread.start()
    slowest = 0
    for _ in range(5):
        wait_reader(s)
        time.sleep(1.1 * SLOW)  # so long it must be up for the pause to stay short
        pid = reader(s)["pid"]
        os.kill(pid, signal.SIGKILL)
        slowest = max(slowest, wait_reader(s, but=pid))
    stop.set()
    thread.join()
    check("reader__killed_5_times__is_back_within_2_s", slowest < 2 * SLOW, slowest)
    check("reader__killed__writes_never_notice", refused == [], refused[:1])
    check("reader__restarts_are_counted", metric(s, "refold_reader_restarts_total") >= 5)
    check("reader__last_exit_is_told", "signal 9" in reader(s)["lastExit"], reader(s))
    pid = reader(s)["pid"]
    os.kill(pid, signal.SIGSTOP)  # alive, and silent: the front must not hang on its health
    began = time.monotonic()
    status = s.get("/v1/status").status
    body = s.get("/metrics").body
    took = time.monotonic() - began
    os.kill(pid, signal.SIGCONT)
    check("reader__stopped__does_not_hang_status_and_metrics", status == 200 and b"refold_events_total" in body
          and took < 3 * SLOW, took)


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_gone(pid, seconds=5 * SLOW):
    end = time.monotonic() + seconds
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return gone(pid)


def ends():
    with Server() as s:
        s.wait_ready()
        pid = reader(s)["pid"]
        s.process.kill()
        s.process.wait()
        check("front__killed__takes_the_reader_with_it", wait_gone(pid))
        s.stop()
        s.start()
        check("front__after_kill__starts_again", s.wait_ready() < 15 * SLOW)
        pid = reader(s)["pid"]
        began = time.monotonic()
        code = s.stop()
        check("sigterm__is_exit_code_0", code == 0, code)
        check("sigterm__leaves_no_reader", wait_gone(pid))
        check("sigterm__is_quick_when_nothing_runs", time.monotonic() - began < 5 * SLOW)
        s.start()
        check("sigint__is_exit_code_0", s.stop(signal.SIGINT) == 0)


def drain():
    """A request that is under way when the signal comes is finished; a new one is not taken."""
    with Server(role="write") as s:
        slow = socket.create_connection(("127.0.0.1", s.port))
        body = json.dumps(event("slow")).encode()
        slow.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body[:20])
        time.sleep(0.2)
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        try:
            socket.create_connection(("127.0.0.1", s.port), 1).close()
            taken = True
        except OSError:
            taken = False
        check("drain__takes_no_new_connection", not taken)
        slow.sendall(body[20:])
        answer = slow.recv(65536)
        check("drain__finishes_what_is_under_way", answer.startswith(b"HTTP/1.1 201"), answer)
        check("drain__says_connection_close", b"Connection: close" in answer, answer)
        slow.close()
        check("drain__then_exits_with_0", s.stop() == 0)
        s.start()
        check("drain__what_was_answered_is_there", s.get("/v1/events/%2Ftest/slow").status == 200)


def taken():
    with Server(role="write") as s:
        done = subprocess.run([BINARY, "serve", "--data", tempfile.gettempdir() + "/refold-never",
                               "--listen", f"127.0.0.1:{s.port}", "--role", "write"], capture_output=True,
                              text=True, timeout=30 * SLOW)
        check("port__taken__is_an_error_with_advice", done.returncode == 1 and
              f"127.0.0.1:{s.port}" in done.stderr and "--listen" in done.stderr, done)
        subprocess.run(["rm", "-rf", tempfile.gettempdir() + "/refold-never"], check=True)
        done = subprocess.run([BINARY, "serve", "--data", s.data, "--listen", "127.0.0.1:0", "--role",
                               "write"], capture_output=True, text=True, timeout=30 * SLOW)
        check("directory__taken__is_an_error_that_names_it", done.returncode == 1 and s.data in done.stderr,
              done)
        check("directory__taken__leaves_the_first_alone", s.send(event("still")).status == 201)


def damaged():
    with Server() as s:
        s.wait_ready()
        s.call("PUT", "/v1/projections/things", "SELECT subject, count(*) AS n FROM \"test.thing\" GROUP BY ALL")
        position = s.send(event("d")).json["position"]
        s.stop()
        with open(os.path.join(s.data, "read", "read.duckdb"), "r+b") as f:
            f.write(os.urandom(8192))
        wal = os.path.join(s.data, "read", "read.duckdb.wal")
        if os.path.exists(wal):
            os.unlink(wal)
        s.start()
        s.wait_ready()
        for _ in range(100):  # 503 while it is being built
            r = s.query("SELECT sum(n)::BIGINT AS n FROM things", after=position)
            if r.status != 503:
                break
            time.sleep(0.05 * SLOW)
        check("read_model__damaged_on_disk__is_computed_anew", r.status == 200 and r.json["rows"] == [[1]], r)
        check("read_model__damaged__is_moved_aside", any(n.startswith("read.bad-")
                                                          for n in os.listdir(s.data)), os.listdir(s.data))


def roles():
    """Both halves started by hand, over a data directory deeper than a socket's name may be long."""
    top = tempfile.mkdtemp(prefix="refold-deep-")
    deep = os.path.join(top, *["a-directory-with-a-name-of-some-length"] * 5)
    os.makedirs(deep)
    w = Server(role="write", data=deep).start()
    try:
        r = w.get("/v1/projections")
        check("write_alone__reads__are_503_with_retry_after", r.status == 503 and
              r.problem() == "reader-away" and r.headers["retry-after"] == "1", r)
        check("write_alone__is_ready", w.get("/readyz").status == 200)
        position = w.send(event("r1")).json["position"]
        reads = Server(role="read", data=deep).start()
        try:
            reads.wait_ready()
            sql = 'SELECT count(*)::BIGINT FROM "test.thing"'
            for name, s in (("its_own_port", reads), ("the_front", w)):
                r = s.query(sql, after=position)
                check(f"read_alone__over_{name}__answers", r.status == 200 and r.json["rows"] == [[1]], r)
            r = reads.send(event("r2"))
            check("read_alone__events__are_404_and_say_where", r.status == 404 and
                  r.problem() == "wrong-half", r)
            r = reads.call("PUT", "/v1/projections/things",
                           'SELECT subject, count(*) AS n FROM "test.thing" GROUP BY ALL')
            check("read_alone__defines_through_the_writer", r.status == 201, r)
            text = reads.get("/metrics").body.decode()
            check("read_alone__metrics__have_its_own_process",
                  'refold_process_resident_bytes{half="read"}' in text and "refold_requests_total" in text)
            r = w.call("HEAD", "/v1/projections")
            check("proxy__head__has_no_body_and_the_length", r.status == 200 and r.body == b"" and
                  int(r.headers["content-length"]) > 10, r)
            second = subprocess.run([BINARY, "serve", "--role", "read", "--data", deep, "--listen",
                                     "127.0.0.1:0"], capture_output=True, text=True, timeout=60 * SLOW)
            check("read_alone__second_one__is_refused", second.returncode == 1 and
                  "read half" in second.stderr, second)
            check("read_alone__stops__with_0", reads.stop() == 0)
        finally:
            reads.close()
        check("write_alone__stops__with_0", w.stop() == 0)
    finally:
        w.close()
        subprocess.run(["rm", "-rf", top], check=True)


def impatience():
    """The second signal does not wait for a request that takes its time."""
    with Server("--http.drain", "60s", role="write") as s:
        slow = socket.create_connection(("127.0.0.1", s.port))
        slow.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                     b"Content-Length: 100\r\n\r\n")
        time.sleep(0.2)
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        check("drain__waits_for_a_request", s.process.poll() is None)
        began = time.monotonic()
        code = s.stop()
        check("drain__second_signal__ends_it", code == 0 and time.monotonic() - began < 5 * SLOW, code)
        slow.close()


def overload():
    """Over the cap of pending bytes: refused before work is done, and well again at once."""
    with Server("--ingest.max-pending-bytes", str(1 << 20), role="write") as s:
        c = [s.connect() for _ in range(20)]
        statuses = []
        for _ in range(5):
            for x in c:
                x.request("POST", "/v1/events", json.dumps(event(len(statuses), data="x" * 600000)),
                          {"Content-Type": "application/cloudevents+json"})
                statuses.append(None)
            for i, x in enumerate(c):
                r = x.getresponse()
                r.read()
                statuses[-20 + i] = (r.status, r.getheader("Retry-After"))
        kinds = {x for x, _ in statuses}
        check("overload__is_201_or_503_with_retry_after", kinds <= {200, 201, 503} and
              all(a == "1" for x, a in statuses if x == 503), kinds)
        check("overload__over__takes_again", s.send(event("after")).status == 201)
        for x in c:
            x.close()


with Server() as server:
    both(server)
    queries(server)
    deadline(server)
    cancel(server)
    kills(server)
    check("server__stops__with_0", server.stop() == 0)
ends()
drain()
taken()
damaged()
roles()
impatience()
overload()
finish()
