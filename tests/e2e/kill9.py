#!/usr/bin/env python3
"""kill -9 under load, with a witness.

Writers send events over HTTP and note each acknowledgement (the witness). The server is killed with
SIGKILL at a random moment, started again on the same directory, and what was in doubt is sent again.
In the end the whole log is read back:

  witness is in the log   every acknowledged event, at the acknowledged offset and revision, as sent
  log was sent            no phantom: nothing that no writer sent
  ids are unique          in-doubt events that were sent again are stored once
  no hole                 offsets 0..n-1; revisions of every stream 0..m-1
  projection agrees       a read model that was live through all of it counts what the log holds

PROVES: P1 P2 P3 P4 P5 P6 P7

Then the same with a twin of the program that acknowledges what it has not written yet
(tests/planted/lying_disk.c, built beside the program): violations must be found, or this test is void.

usage: kill9.py [--kills N] [--seed N] [--planted BINARY] [--no-projection]
REFOLD names the binary. 200 kills unless told (KILL9_KILLS); the long form: --kills 2000.
"""
import argparse, http.client, json, os, random, shutil, signal, socket, subprocess, sys, tempfile
import threading, time

WRITERS = 6
STREAMS = 12


class Server:
    def __init__(self, binary, data, project):
        self.args = [binary, "serve", "--data", data, "--listen", "127.0.0.1:0", "--logs.level", "error"]
        self.args += ["--project", project] if project else ["--role", "write"]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline().decode()
        if "http://" not in line:
            raise SystemExit("server did not start: " + line + self.process.stderr.read().decode())
        self.port = int(line.rsplit(":", 1)[1].split()[0].rstrip("/"))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


def call(port, method, path, body=None, headers=None, timeout=30):
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        conn.request(method, path, body, headers or {})
        reply = conn.getresponse()
        return reply.status, reply.read()
    finally:
        conn.close()


class Writer(threading.Thread):
    """Sends single events, batches and NDJSON; keeps what was sent and what was acknowledged."""

    def __init__(self, number, port, seed, book):
        super().__init__(daemon=True)
        self.number, self.port, self.random, self.book = number, port, random.Random(seed), book
        self.stopping = False

    def event(self):
        n = self.book["next"]
        self.book["next"] += 1
        e = {"specversion": "1.0", "id": f"w{self.number}-{n}", "source": f"/kill9/{self.number}",
             "type": "kill9.tick", "subject": f"s{self.random.randrange(STREAMS)}",
             "data": {"n": n, "writer": self.number, "pad": "x" * self.random.randrange(300)}}
        self.book["sent"][e["id"]] = e
        return e

    def send(self, conn, events, form):
        if form == "single":
            body, kind = json.dumps(events[0]), "application/cloudevents+json"
        elif form == "batch":
            body, kind = json.dumps(events), "application/cloudevents-batch+json"
        else:
            body, kind = "".join(json.dumps(e) + "\n" for e in events), "application/x-ndjson"
        path = "/v1/events?results=true"
        conn.request("POST", path, body, {"Content-Type": kind})
        reply = conn.getresponse()
        answer = json.loads(reply.read())
        if reply.status not in (200, 201):
            raise RuntimeError(f"status {reply.status}: {answer}")
        if answer["accepted"] + answer["duplicates"] != len(events):
            raise RuntimeError(f"not all were taken: {answer}")
        for result in answer["results"]:
            self.book["acked"][result["id"]] = (result["offset"], result["revision"])
            self.book["doubt"].pop(result["id"], None)

    def run(self):
        try:
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            doubt = list(self.book["doubt"].values())
            if doubt:  # settle what the last crash left open, before anything new
                self.send(conn, doubt, "ndjson")
            while not self.stopping:
                form = self.random.choice(["single", "single", "single", "batch", "ndjson"])
                count = 1 if form == "single" else self.random.randrange(1, 40)
                events = [self.event() for _ in range(count)]
                for e in events:
                    self.book["doubt"][e["id"]] = e
                self.send(conn, events, form)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            pass  # the server died: what was under way is in doubt
        except RuntimeError as e:
            self.book["errors"].append(str(e))


def read_log(port):
    """All events of the domain, in log order."""
    token, events = None, []
    while True:
        path = "/v1/events?domain=default&limit=1000" + (f"&after={token}" if token else "")
        status, body = call(port, "GET", path)
        if status != 200:
            raise SystemExit(f"reading the log back: {status} {body[:300]}")
        page = json.loads(body)
        events += page["events"]
        token = page.get("next")
        if len(page["events"]) == 0 or not token:
            return events


def check(books, log):
    """Every way in which the log and the witness disagree."""
    wrong, by_id, revisions = [], {}, {}
    sent = {}
    for book in books:
        sent.update(book["sent"])
        wrong += book["errors"]
    for n, placed in enumerate(log):
        event, ident = placed["event"], placed["event"]["id"]
        if placed["offset"] != n:
            wrong.append(f"hole: offset {placed['offset']} follows {n - 1}")
        if ident in by_id:
            wrong.append(f"stored twice: {ident}")
        by_id[ident] = placed
        if ident not in sent:
            wrong.append(f"phantom: {ident}")
        elif {k: event[k] for k in sent[ident]} != sent[ident]:
            wrong.append(f"changed: {ident}")
        expected = revisions.get(event["subject"], 0)
        if placed["revision"] != expected:
            wrong.append(f"revision {placed['revision']} of {event['subject']}, expected {expected}")
        revisions[event["subject"]] = expected + 1
    for book in books:
        for ident, (offset, revision) in book["acked"].items():
            placed = by_id.get(ident)
            if placed is None:
                wrong.append(f"lost: {ident} was acknowledged at offset {offset}")
            elif (placed["offset"], placed["revision"]) != (offset, revision):
                wrong.append(f"moved: {ident}")
    return wrong


def projection_count(port, needed):
    """The read model's own count; waits until it has caught up."""
    deadline = time.monotonic() + 30
    body = b""
    while time.monotonic() < deadline:
        try:
            status, body = call(port, "POST", "/v1/query",
                                json.dumps({"sql": "SELECT sum(n)::BIGINT FROM ticks"}),
                                {"Content-Type": "application/json"})
            if status == 200:
                count = json.loads(body)["rows"][0][0] or 0
                if count >= needed:
                    return count
        except OSError:
            pass
        time.sleep(0.1)
    return f"not caught up: {body[:200]}"


def run(binary, kills, seed, with_projection):
    rng = random.Random(seed)
    root = tempfile.mkdtemp(prefix="refold-kill9-")
    project = None
    if with_projection:
        project = os.path.join(root, "project")
        os.makedirs(os.path.join(project, "projections"))
        with open(os.path.join(project, "projections", "ticks.sql"), "w") as f:
            f.write('SELECT subject, count(*) AS n FROM "kill9.tick" GROUP BY ALL\n')
    books = [{"next": 0, "sent": {}, "acked": {}, "doubt": {}, "errors": []} for _ in range(WRITERS)]
    server = Server(binary, os.path.join(root, "data"), project)
    started = time.monotonic()
    try:
        for round_number in range(kills):
            server.start()
            writers = [Writer(i, server.port, rng.random(), books[i]) for i in range(WRITERS)]
            for w in writers:
                w.start()
            time.sleep(rng.uniform(0.01, 0.25))
            server.kill()
            for w in writers:
                w.stopping = True
            for w in writers:
                w.join(15)
        server.start()
        writers = [Writer(i, server.port, rng.random(), books[i]) for i in range(WRITERS)]
        for w in writers:
            w.start()
        time.sleep(0.2)
        for w in writers:
            w.stopping = True
        for w in writers:
            w.join(15)
        log = read_log(server.port)
        wrong = check(books, log)
        if with_projection:
            count = projection_count(server.port, len(log))
            if count != len(log):
                wrong.append(f"the projection counts {count}, the log holds {len(log)}")
        code = server.stop()
        if code != 0:
            wrong.append(f"exit code {code} after SIGTERM")
        verify = subprocess.run([binary, "verify", "--data", os.path.join(root, "data")],
                                capture_output=True, text=True)
        if verify.returncode != 0:
            wrong.append("refold verify: " + verify.stdout[-300:] + verify.stderr[-300:])
        acked = sum(len(b["acked"]) for b in books)
        print(f"RESULT name=kill9 seed={seed} kills={kills} sent={sum(len(b['sent']) for b in books)} "
              f"acked={acked} stored={len(log)} violations={len(wrong)} "
              f"seconds={time.monotonic() - started:.1f}")
        return wrong
    finally:
        if server.process and server.process.poll() is None:
            server.kill()
        shutil.rmtree(root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILL9_KILLS", "200")))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", random.randrange(1 << 30))))
    parser.add_argument("--no-projection", action="store_true", help="the write half alone")
    parser.add_argument("--planted", default=os.path.join(
        os.path.dirname(os.environ["REFOLD"]), "tests", "planted", "planted_lying_disk"))
    args = parser.parse_args()
    failed = 0
    wrong = run(os.environ["REFOLD"], args.kills, args.seed, not args.no_projection)
    name = f"kill9__{args.kills}_kills_under_load__nothing_lost_doubled_or_invented"
    if wrong:
        failed += 1
        print(f"not ok {name} - seed {args.seed}: {len(wrong)} violations: " + "; ".join(wrong[:5]))
    else:
        print(f"ok {name}")
    if not os.path.exists(args.planted):
        failed += 1
        print(f"not ok kill9__planted_ack_before_write__is_caught - {args.planted} was not built")
    else:
        wrong = run(args.planted, 10, args.seed, False)
        if wrong:
            print(f"ok kill9__planted_ack_before_write__is_caught")
        else:
            failed += 1
            print(f"not ok kill9__planted_ack_before_write__is_caught - seed {args.seed}: no violation found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
