"""What the tests of the command line share: the program, servers of it, and cases.

A case is a function that asserts; its name is printed as `ok NAME` or `not ok NAME - why`.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFOLD = os.environ.get("REFOLD") or str(ROOT / "build" / "dev" / "refold")
SLOW = 5 if os.environ.get("RF_TEST_PRESET") in ("asan", "tsan") else 1

CASES = []


def case(function):
    CASES.append(function)
    return function


def main():
    failed = 0
    for function in CASES:
        try:
            function()
            print(f"ok {function.__name__}", flush=True)
        except Exception as e:  # noqa: the next cases run all the same
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print(f"not ok {function.__name__} - {type(e).__name__}: {str(e).splitlines()[:1]}",
                  flush=True)
    sys.exit(1 if failed else 0)


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit code {self.code}\nout: {self.out[-2000:]}\nerr: {self.err[-2000:]}"


def environment(url=None, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("REFOLD_")}
    env["XDG_STATE_HOME"] = str(STATE)
    env.pop("NO_COLOR", None)
    if url:
        env["REFOLD_URL"] = url
    env.update(more)
    return env


STATE = pathlib.Path(tempfile.mkdtemp(prefix="refold-state-"))


def refold(*args, url=None, input=None, cwd=None, timeout=60, env=None):
    """Runs the program to its end."""
    done = subprocess.run([REFOLD, *map(str, args)], input=input, capture_output=True, cwd=cwd,
                          timeout=timeout * SLOW, env=environment(url, **(env or {})),
                          stdin=subprocess.DEVNULL if input is None else None)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def good(*args, **how):
    ran = refold(*args, **how)
    assert ran.code == 0, ran
    return ran


@contextlib.contextmanager
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="refold-e2e-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`refold serve` on a free port. with Server(data) as s: s.url"""

    def __init__(self, data, *args, env=None, cwd=None):
        self.args = [REFOLD, "serve", "--data", str(data), *map(str, args)]
        if not any(str(a).startswith("--listen") for a in args):
            self.args += ["--listen", "127.0.0.1:0"]
        self.env, self.cwd = env or {}, cwd
        self.errors = tempfile.TemporaryFile()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE, stderr=self.errors,
                                        stdin=subprocess.DEVNULL, cwd=self.cwd,
                                        env=environment(**self.env))
        line = self.process.stdout.readline().decode()
        assert "ready on http://" in line, f"did not start: {line!r} {self.said()}"
        self.url = line.split()[-1].rstrip("/")
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=30 * SLOW)
        self.process.stdout.close()
        return code

    def __enter__(self):
        return self.start()

    def __exit__(self, *how):
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def run(self, *args, **how):
        return refold(*args, url=self.url, **how)

    def good(self, *args, **how):
        return good(*args, url=self.url, **how)


def until(what, seconds=20):
    """Calls what() until it is true; returns its value."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds * SLOW} s"
        time.sleep(0.05)


def rows(text):
    """The rows of a CSV answer, without its head."""
    import csv
    import io
    return list(csv.reader(io.StringIO(text)))[1:]
