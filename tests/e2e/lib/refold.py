"""A refold server for a test, requests to it, and TAP lines. Python's standard library only."""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

BINARY = os.environ["REFOLD"]
SLOW = 5 if os.environ.get("RF_TEST_PRESET") in ("asan", "tsan") else 1

failed = 0


def check(name, ok, why=""):
    """One TAP line."""
    global failed
    if ok:
        print(f"ok {name}")
    else:
        failed += 1
        print(f"not ok {name} - {str(why)[:600]}")
    sys.stdout.flush()
    return ok


def skip(name, why):
    print(f"ok {name} # skip {why}")


def finish():
    sys.exit(1 if failed else 0)


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def problem(self):
        """The rule of a problem document, or what is wrong with it."""
        if self.headers.get("content-type") != "application/problem+json":
            return "not a problem: " + str(self.headers.get("content-type"))
        p = self.json
        for member in ("type", "title", "status", "detail"):
            if member not in p:
                return "without " + member
        if p["status"] != self.status or not p["type"].startswith("urn:refold:problem:"):
            return "inconsistent: " + str(p)
        return p["type"].removeprefix("urn:refold:problem:")

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:400]}"


class Server:
    def __init__(self, *flags, data=None, role="all"):
        self.own = data is None
        self.data = data or tempfile.mkdtemp(prefix="refold-e2e-")
        self.flags = ["serve", "--data", self.data, "--listen", "127.0.0.1:0", "--role", role, *flags]
        self.process = None

    def start(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([BINARY, *self.flags], stdout=subprocess.PIPE,
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        line = self.process.stdout.readline().decode()
        if not line.startswith("refold is ready on http://"):
            raise SystemExit(f"not ok server__starts - {line!r} {self.stderr()[-2000:]}")
        self.url = line.split(" on ")[1].strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def stderr(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def stop(self, number=signal.SIGTERM, timeout=30 * SLOW):
        """The exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        self.process.stdout.close()
        self.process = None
        return code

    def close(self):
        if self.process is not None:
            self.stop(signal.SIGKILL)
        if self.own:
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def connect(self, timeout=30 * SLOW):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(self, method, path, body=None, headers=None, timeout=30 * SLOW):
        with contextlib.closing(self.connect(timeout)) as c:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return Reply(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())

    def get(self, path, headers=None):
        return self.call("GET", path, None, headers)

    def send(self, event, **headers):
        return self.call("POST", "/v1/events", json.dumps(event),
                         {"Content-Type": "application/cloudevents+json",
                          **{k.replace("_", "-"): v for k, v in headers.items()}})

    def batch(self, events, query=""):
        return self.call("POST", "/v1/events" + query, json.dumps(events),
                         {"Content-Type": "application/cloudevents-batch+json"})

    def ndjson(self, lines, query="", **headers):
        body = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
        return self.call("POST", "/v1/events" + query, body.encode(),
                         {"Content-Type": "application/x-ndjson", **headers})

    def query(self, sql, **more):
        return self.call("POST", "/v1/query", json.dumps({"sql": sql, **more}),
                         {"Content-Type": "application/json"})

    def raw(self, data, timeout=10 * SLOW):
        """Bytes in, bytes out until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as s:
            s.sendall(data)
            out = b""
            try:
                while chunk := s.recv(65536):
                    out += chunk
            except (TimeoutError, ConnectionError):
                pass
            return out

    def wait_ready(self, seconds=15 * SLOW):
        """Until /readyz says yes; the seconds it took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.get("/readyz").status == 200:
                return time.monotonic() - began
            time.sleep(0.02)
        raise SystemExit("not ok server__gets_ready - " + str(self.get("/readyz")) + self.stderr()[-2000:])


def event(ident, type_="test.thing", subject="s-1", source="/test", **more):
    return {"specversion": "1.0", "id": str(ident), "source": source, "type": type_,
            "subject": subject, "data": {"n": 1}, **more}


def quote(text):
    return urllib.parse.quote(text, safe="")
