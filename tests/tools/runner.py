#!/usr/bin/env python3
"""scripts/test calls a program red for each way it can be red: a runner that cannot fail is void."""
import importlib.machinery
import importlib.util
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("runner", str(ROOT / "scripts" / "test"))
runner = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
loader.exec_module(runner)
runner.UNIT_TIMEOUT_S = 1

RUN = "echo '[ RUN      ] a'"
OK = "echo '[       OK ] a'"
BAD = "echo '[  FAILED  ] a' >&2"
SKIP = "echo '[  SKIPPED ] a'"

# name, a shell script in place of a cmocka program, (passed, failed, skipped)
CMOCKA = [
    ("all_ok__is_green", f"{RUN}; {OK}; {RUN}; {OK}", (2, 0, 0)),
    ("one_fails__counts_both", f"{RUN}; {OK}; {RUN}; {BAD}; {BAD}; exit 1", (1, 1, 0)),
    ("skipped__is_neither", f"{RUN}; {OK}; {RUN}; {SKIP}; {SKIP}", (1, 0, 1)),
    ("crash_in_a_case__is_red", f"{RUN}; {OK}; {RUN}; kill -SEGV $$", (1, 1, 0)),
    ("no_case_at_all__is_red", "exit 0", (0, 1, 0)),
    ("exit_code_alone__is_red", f"{RUN}; {OK}; exit 23", (1, 1, 0)),
    ("sanitizer_report_alone__is_red",
     f"{RUN}; echo '==1==ERROR: AddressSanitizer: heap-use-after-free' >&2; {OK}", (1, 1, 0)),
    ("race_report_alone__is_red",
     f"{RUN}; echo 'WARNING: ThreadSanitizer: data race' >&2; {OK}", (1, 1, 0)),
    ("undefined_behaviour__is_red", f"{RUN}; echo 'a.c:1:2: runtime error: shift'; {OK}", (1, 1, 0)),
    ("hang__is_red", f"{RUN}; sleep 60", (0, 1, 0)),
    ("leftover_process__is_red", f"{RUN}; {OK}; sleep 60 >/dev/null 2>&1 &", (1, 1, 0)),
]
TAP = [
    ("all_ok__is_green", "echo 'ok a'; echo 'ok 2 - b'", (2, 0, 0)),
    ("one_not_ok__counts_both", "echo 'ok a'; echo 'not ok b - why'; exit 1", (1, 1, 0)),
    ("not_ok_but_exit_0__is_red", "echo 'not ok b - why'", (0, 1, 0)),
    ("skip__is_neither", "echo 'ok a'; echo 'ok b # SKIP no psql'", (1, 0, 1)),
    ("silent__is_red", "exit 0", (0, 1, 0)),
    ("dies_after_ok__is_red", "echo 'ok a'; kill -KILL $$", (1, 1, 0)),
]


def main():
    red = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, cases in (("cmocka", CMOCKA), ("tap", TAP)):
            for name, script, want in cases:
                program = pathlib.Path(folder) / name
                program.write_text(f"#!/bin/sh\n{script}\n")
                program.chmod(0o755)
                result = getattr(runner, f"run_{kind}")(program, {})
                got = (result.passed, result.failed, result.skipped)
                red += got != want
                # As one line: a sanitizer's words must not reach the runner that runs this.
                print(f"ok runner__{kind}_{name}" if got == want else
                      f"not ok runner__{kind}_{name} - got {got}, wanted {want}")
    sys.exit(1 if red else 0)


main()
