#!/usr/bin/env python3
"""refold verify: sound logs are sound, and no damaged byte goes unseen."""
import json
import random
import shutil

from cli_kit import Server, case, directory, main, refold

SEED = 20240601
shared = {}


def segments(data):
    return sorted((data / "log").rglob("*.seg"), key=lambda p: p.stat().st_size)


def copy():
    target = shared["dir"] / "copy"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(shared["data"], target)
    return target


@case
def verify__sound_log__exits_0_and_counts():
    ran = refold("verify", "--data", shared["data"])
    assert ran.code == 0 and "every event is as it was written" in ran.out, ran
    state = json.loads(refold("verify", "--data", shared["data"], "--json").out)
    assert state["events"] >= 3000 and state["damaged"] == 0 and state["problems"] == [], state


@case
def verify__beside_a_running_server__is_fine():
    data = copy()
    with Server(data) as s:
        s.good("send", "--type", "t")
        ran = refold("verify", "--data", data)
        assert ran.code == 0, ran


@case
def verify__any_damaged_byte__exits_1_and_names_the_segment():
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for _ in range(12):
        data = copy()
        segment = segments(data)[-1]
        raw = bytearray(segment.read_bytes())
        used = len(bytes(raw).rstrip(b"\0"))
        at = rng.randrange(used)
        raw[at] ^= 1 << rng.randrange(8)
        segment.write_bytes(raw)
        ran = refold("verify", "--data", data)
        assert ran.code == 1, (segment, at, ran)
        assert segment.name in ran.out and "DAMAGED" in ran.out, (at, ran)
        state = refold("verify", "--data", data, "--json")
        assert state.code == 1 and json.loads(state.out)["damaged"] >= 1, state


@case
def verify__missing_segment__exits_1():
    data = copy()
    inner = sorted((data / "log" / "default").rglob("*.seg"))
    assert len(inner) >= 3, inner
    inner[1].unlink()
    ran = refold("verify", "--data", data)
    assert ran.code == 1 and (inner[0].name in ran.out or inner[2].name in ran.out), ran


@case
def verify__no_log__exits_1_and_says_where_it_looked():
    ran = refold("verify", "--data", shared["dir"] / "nosuch")
    assert ran.code == 1 and "nosuch" in ran.err, ran


def run():
    rng = random.Random(SEED)
    with directory() as d:
        data = d / "data"
        with Server(data, "--log.segment-bytes", "64KiB") as s:
            for part in range(6):
                lines = "".join(json.dumps({"specversion": "1.0", "id": str(i), "source": "/v", "type": "v",
                                            "subject": f"s{i % 20}",
                                            "data": {"n": i, "x": "%x" % rng.getrandbits(400)}}) + "\n"
                                for i in range(500 * part, 500 * part + 500))
                s.good("send", "-", input=lines.encode())
        shared.update(dir=d, data=data)
        main()


if __name__ == "__main__":
    run()
