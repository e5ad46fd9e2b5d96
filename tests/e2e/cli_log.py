#!/usr/bin/env python3
"""refold backup, restore, log head, log prove, log export, repair: on a log that a server wrote."""
import base64
import json
import random
import shutil
import subprocess
import sys

from cli_kit import ROOT, Server, case, directory, good, main, refold

sys.path.insert(0, str(ROOT / "examples" / "verify-proof"))
VERIFIER = ROOT / "examples" / "verify-proof" / "verify_proof.py"
SEED = 20260211
EVENTS = 1500
shared = {}


def verify(proof, head):
    path = shared["dir"] / "proof.json"
    path.write_bytes(proof)
    return subprocess.run([sys.executable, str(VERIFIER), str(path), str(head)], capture_output=True, timeout=60)


def export(data, *args):
    return good("log", "export", "--data", data, *args).out


def prove(n, data=None):
    ran = good("log", "prove", "--data", data or shared["data"], "--source", "/p", "--id", f"e{n}")
    return ran.out.encode()


def heads(data=None):
    return json.loads(good("log", "head", "--json", "--data", data or shared["data"]).out)


# ---- head and proof ----

@case
def head__text_and_json__say_the_same():
    head = heads()["heads"]
    text = good("log", "head", "--data", shared["data"]).out
    assert [h["domain"] for h in head] == ["default"] and head[0]["next"] == EVENTS, head
    assert head[0]["hash"] in text and f"{EVENTS:,}" in text, text
    one = json.loads(good("log", "head", "--domain", "default", "--json", "--data", shared["data"]).out)
    assert one["heads"] == head
    none = json.loads(good("log", "head", "--domain", "other", "--json", "--data", shared["data"]).out)
    assert none["heads"] == []


@case
def proof__any_event__is_accepted_with_heads_or_a_bare_hash():
    kept = shared["dir"] / "heads.json"
    kept.write_text(json.dumps(heads()))
    for n in (0, 1, 700, EVENTS - 1):
        for head in (kept, heads()["heads"][0]["hash"]):
            ran = verify(prove(n), head)
            assert ran.returncode == 0, ran
            placed = json.loads(ran.stdout)
            assert placed["event"]["id"] == f"e{n}" and placed["event"]["data"]["n"] == n, placed
    exported = {json.loads(line)["event"]["id"]: json.loads(line) for line in export(shared["data"]).splitlines()}
    assert json.loads(verify(prove(700), kept).stdout) | {"recordedtime": 0} == exported["e700"] | {"recordedtime": 0}


@case
def proof__head_kept_earlier__still_serves_for_what_was_before_it():
    data = shared["dir"] / "grown"
    shutil.copytree(shared["data"], data)
    old = heads(data)["heads"][0]["hash"]
    with Server(data) as s:
        s.good("send", "--type", "t", "--source", "/p", "--id", "new")
        proof = prove(5, data)  # beside the server
        new = good("log", "prove", "--data", data, "--source", "/p", "--id", "new").out.encode()
    assert verify(proof, old).returncode == 0
    ran = verify(new, old)
    assert ran.returncode == 1 and b"not in this chain" in ran.stderr, ran
    assert heads(data)["heads"][0]["hash"] != old


@case
def proof__any_flipped_bit__is_refused():
    import verify_proof
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    kept = heads()
    raw = prove(EVENTS - 60)
    assert verify_proof.check(raw.decode(), kept)["event"]["id"] == f"e{EVENTS - 60}"
    envelope = raw.index(b'"frame"'), raw.index(b'"head":')  # every bit of what is not base64
    spots = [i for i in range(len(raw)) if i < envelope[0] + 9 or i >= envelope[1]]
    spots += rng.sample(range(envelope[0], envelope[1]), min(500, envelope[1] - envelope[0]))
    for at in spots:
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            try:
                text = bytes(changed).decode()
                verify_proof.check(text, kept)
            except (verify_proof.Refused, ValueError, IndexError, KeyError, TypeError, AttributeError,
                    OverflowError, verify_proof.struct.error):
                continue
            raise AssertionError(f"byte {at}, bit {bit}: {raw[at:at + 1]} as {changed[at:at + 1]} was accepted")


@case
def proof__made_for_a_changed_event__is_refused_even_with_all_checksums_right():
    import hashlib
    import verify_proof
    kept, proof = heads(), json.loads(prove(3))
    block = bytearray(base64.b64decode(proof["block"]))
    frame = bytearray(base64.b64decode(proof["frame"]))
    head, body = verify_proof.payload_of(bytes(block))
    at = body.index(bytes(frame)) + frame.index(b'"n"')
    forged = bytearray(body)
    forged[at + 1:at + 2] = b"m"
    frame[frame.index(b'"n"') + 1] = ord("m")
    rest = bytes(forged) + bytes(-len(forged) % 8)
    fields = list(head)
    fields[verify_proof.CODEC], fields[verify_proof.STORED] = 0, len(forged)
    fields[verify_proof.TOTAL] = 168 + len(rest)
    fields[verify_proof.PAYLOAD_HASH] = hashlib.sha256(rest).digest()
    fields[verify_proof.PAYLOAD_CRC] = verify_proof.crc32c(rest)
    first = verify_proof.HEADER.pack(*fields)[:164]
    first += verify_proof.crc32c(first).to_bytes(4, "little")
    proof["block"], proof["frame"] = (base64.b64encode(x).decode() for x in (first + rest, bytes(frame)))
    text = json.dumps(proof, ensure_ascii=False, separators=(",", ":")) + "\n"
    ran = verify(text.encode(), kept["heads"][0]["hash"])
    assert ran.returncode == 1 and b"chain" in ran.stderr, ran


@case
def prove__unknown_event__exits_1():
    ran = refold("log", "prove", "--data", shared["data"], "--source", "/p", "--id", "nosuch")
    assert ran.code == 1 and ran.out == "" and "nosuch" in ran.err, ran
    assert refold("log", "prove", "--data", shared["data"]).code == 2
    assert refold("log", "import", "x").code == 2 and refold("log").code == 2


# ---- export ----

@case
def export__plain__goes_into_another_log_whole():
    data, path = shared["dir"] / "second", shared["dir"] / "plain.ndjson"
    text = export(shared["data"], "--plain")
    path.write_text(text)
    assert len(text.splitlines()) == EVENTS
    with Server(data) as s:
        s.good("import", path)
        s.good("import", path)  # resent: nothing is stored twice
    assert sorted(export(data, "--plain").splitlines()) == sorted(text.splitlines())


# ---- backup, restore, repair ----

@case
def backup__beside_a_running_server__restores_to_the_same_events():
    target, back = shared["dir"] / "backup", shared["dir"] / "back"
    data = shared["dir"] / "live"
    shutil.copytree(shared["data"], data)
    with Server(data) as s:
        s.good("send", "--type", "t", "--source", "/p", "--id", "before")
        report = json.loads(good("backup", "--data", data, target, "--json").out)
        assert report["events"] == EVENTS + 1 and report["damaged"] == 0, report
        s.good("send", "--type", "t", "--source", "/p", "--id", "after")
        second = good("backup", "--data", data, target)
        assert "verified" in second.out, second
    assert good("verify", "--data", target).code == 0
    assert not (target / "incomplete").exists() and (target / "manifest.json").exists()
    good("restore", target, "--data", back)
    assert export(back) == export(data)
    with Server(back) as s:  # it goes on, and knows what it had
        again = s.good("send", "--type", "t", "--source", "/p", "--id", "after")
        assert "already stored" in again.out, again
        s.good("send", "--type", "t", "--source", "/p", "--id", "later")
    assert good("verify", "--data", back).code == 0
    ran = refold("restore", target, "--data", back)
    assert ran.code == 1 and "not empty" in ran.err, ran


@case
def backup__manifest__agrees_with_sha256sum():
    import hashlib
    target = shared["dir"] / "backup-sums"
    good("backup", "--data", shared["data"], target)
    manifest = json.loads((target / "manifest.json").read_text())
    assert manifest["ends"] == [{"domain": "default", "partition": 0, "next": EVENTS}], manifest["ends"]
    found = {str(p.relative_to(target / "log")) for p in (target / "log").rglob("*") if p.is_file()}
    assert found == {f["path"] for f in manifest["files"]}
    for f in manifest["files"]:
        raw = (target / "log" / f["path"]).read_bytes()
        assert len(raw) == f["bytes"] and hashlib.sha256(raw).hexdigest() == f["sha256"], f


@case
def backup__wrong_usage_and_places__are_refused():
    assert refold("backup", "--data", shared["data"]).code == 2
    assert refold("restore", shared["dir"] / "backup").code == 2
    ran = refold("backup", "--data", shared["data"], shared["data"])
    assert ran.code == 1 and "not a backup" in ran.err, ran
    ran = refold("restore", shared["dir"] / "nosuch", "--data", shared["dir"] / "x")
    assert ran.code == 1 and "manifest" in ran.err, ran
    ran = refold("backup", "--data", shared["dir"] / "nosuch", shared["dir"] / "y")
    assert ran.code == 1 and "no log" in ran.err, ran


@case
def repair__deleted_and_damaged_indexes__are_made_anew():
    data = shared["dir"] / "broken"
    shutil.copytree(shared["data"], data)
    indexes = sorted(p for p in (data / "log").rglob("*") if p.suffix in (".idx", ".key"))
    assert len(indexes) > 4
    before = {p: p.read_bytes() for p in indexes}
    last = max(p.name[:20] for p in indexes if p.suffix == ".idx")
    for p in indexes[::2]:
        if not p.name.startswith(last):
            p.unlink()
    raw = bytearray(before[indexes[1]])
    raw[-1] ^= 1
    indexes[1].write_bytes(raw)
    report = json.loads(good("repair", "--indexes", "--data", data, "--json").out)
    assert report["events"] > 0 and report["problems"] == [], report
    assert good("verify", "--data", data).code == 0
    assert export(data) == export(shared["data"])
    with Server(data) as s:
        ran = refold("repair", "--indexes", "--data", data)
        assert ran.code == 1 and "stop it first" in ran.err, ran
        s.good("send", "--type", "t")
    assert refold("repair", "--data", data).code == 2


def run():
    rng = random.Random(SEED)
    with directory() as d:
        data = d / "data"
        with Server(data, "--log.segment-bytes", "64KiB") as s:
            body = "".join(json.dumps({"specversion": "1.0", "id": f"e{n}", "source": "/p", "type": "p",
                                       "subject": f"s{n % 9}",
                                       "data": {"n": n, "x": rng.randbytes(n % 250).hex()}}) + "\n"
                           for n in range(EVENTS)).splitlines(keepends=True)
            for at in range(0, EVENTS, 50):
                s.good("send", "-", input="".join(body[at:at + 50]).encode())
        shared.update(dir=d, data=data)
        main()


if __name__ == "__main__":
    run()
