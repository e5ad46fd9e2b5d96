#!/usr/bin/env python3
"""Checks, without refold, that an event is in a log whose head is known.

    verify_proof.py PROOF HEAD        prints the event, or says what is wrong and exits 1

PROOF is what `refold log prove` printed. HEAD is what you kept of the log: the output of
`refold log head --json` (a file), or one hash in hex. The head may be older than the proof, as long as
the event lies before it. With a bare hash, domain and partition are only what the proof claims: a hash
says nothing of where it was taken.

What is checked, in this order:
  1. the proof is written in the one form there is for its content, so no byte of it is idle
  2. the block's header covers the block's payload by SHA-256 (and both checksums are right)
  3. the event stands in the payload at the place that the proof names, with that source and id
  4. every later header has the SHA-256 of the one before it, and counts on without a gap
  5. the hash of one of these headers is the head

Who cannot find a second text for a SHA-256 cannot make a proof of an event that was not stored. Uses the
standard library alone; the format is in docs/log-format.md.
"""
import base64, binascii, hashlib, json, struct, sys

HEADER = struct.Struct("<4sHBBIIIIQQQQQQqqq32s32sII")
assert HEADER.size == 168
(MAGIC, VERSION, CODEC, ZERO, TOTAL, STORED, RAW, COUNT, SEQUENCE, BASE, DURABLE, SEGMENT, POSITION,
 EPOCH, RECORDED, TIME_MIN, TIME_MAX, PREVIOUS, PAYLOAD_HASH, PAYLOAD_CRC, HEADER_CRC) = range(21)
NO_TIME = -(1 << 63)

CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
    CRC_TABLE.append(n)


class Refused(Exception):
    pass


def need(condition, why):
    if not condition:
        raise Refused(why)


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = CRC_TABLE[(crc ^ b) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def lz4_block(data, size):
    out, i = bytearray(), 0

    def length(n, i):
        while n >= 15:
            n += data[i]
            i += 1
            if data[i - 1] != 255:
                break
        return n, i

    while i < len(data):
        token, i = data[i], i + 1
        n, i = length(token >> 4, i)
        out += data[i:i + n]
        i += n
        if i >= len(data):
            break
        back, i = data[i] | data[i + 1] << 8, i + 2
        n, i = length(token & 15, i)
        start = len(out) - back
        need(back > 0 and start >= 0 and len(out) + n + 4 <= size, "the payload cannot be decompressed")
        for k in range(n + 4):
            out.append(out[start + k])
    need(len(out) == size, "the payload cannot be decompressed")
    return bytes(out)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def header(raw):
    need(len(raw) == HEADER.size, "a header has 168 bytes")
    h = HEADER.unpack(raw)
    need(h[MAGIC] == b"RFB1" and h[VERSION] == 1 and h[ZERO] == 0 and h[CODEC] in (0, 1),
         "a header is not one of a block of version 1")
    need(h[HEADER_CRC] == crc32c(raw[:164]), "a header's checksum differs")
    return h


def payload_of(block):
    """The header and the decompressed payload of a whole block."""
    h, rest = header(block[:HEADER.size]), block[HEADER.size:]
    need(len(block) == h[TOTAL] == -(-(HEADER.size + h[STORED]) // 8) * 8, "the block's length is wrong")
    need(h[PAYLOAD_HASH] == hashlib.sha256(rest).digest(), "the payload is not the one that the header covers")
    need(h[PAYLOAD_CRC] == crc32c(rest), "the payload's checksum differs")
    body = rest[:h[STORED]]
    raw = lz4_block(body, h[RAW]) if h[CODEC] == 1 else body
    need(len(raw) == h[RAW], "the payload's length is wrong")
    return h, raw


def strings_of(raw):
    count, text_bytes = struct.unpack_from("<II", raw, len(raw) - 8)
    ends_at = len(raw) - 8 - text_bytes - 4 * count
    need(ends_at >= 0, "the table of strings is longer than the payload")
    text, table, start = raw[len(raw) - 8 - text_bytes:len(raw) - 8], [], 0
    for end in struct.unpack_from(f"<{count}I", raw, ends_at):
        table.append(text[start:end].decode())
        start = end
    return table, ends_at


def frame_at(raw, index, frames_end):
    """The bytes of frame number `index`: frames lie one behind the other."""
    at = 0
    for _ in range(index):
        at += struct.unpack_from("<I", raw, at)[0]
    size = struct.unpack_from("<I", raw, at)[0]
    need(44 <= size and at + size <= frames_end, "the event's place is not in the payload")
    return raw[at:at + size]


def event_of(frame, table):
    size, data_bytes, kind, revision, time_us = struct.unpack_from("<IIIQq", frame, 0)
    data, p, lengths = frame[44:44 + data_bytes], 44 + data_bytes, []
    for _ in range(10):
        value, p = varint(frame, p)
        lengths.append(value)
    source, schema, content_type, id_form, *rest = lengths
    fields = []
    for n in [16 if id_form == 1 else id_form // 2, *rest]:
        fields.append(frame[p:p + n])
        p += n
    need(p == size, "the event's lengths do not add up")
    ident, subject, time, correlation, causation, trace, extensions = fields
    h = ident.hex()
    event = {"specversion": "1.0",
             "id": f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" if id_form == 1 else ident.decode(),
             "source": table[source], "type": table[kind >> 2]}
    for name, value in (("subject", subject), ("correlationid", correlation), ("causationid", causation),
                        ("traceparent", trace)):
        if value:
            event[name] = value.decode()
    if time or time_us != NO_TIME:
        event["time"] = time.decode() if time else time_text(time_us)
    if schema:
        event["dataschema"] = table[schema - 1]
    if content_type:
        event["datacontenttype"] = table[content_type - 1]
    event.update(json.loads(b"{" + extensions + b"}"))
    if kind & 3 == 1:
        event["data"] = json.loads(data)
    elif kind & 3 == 2:
        event["data_base64"] = base64.b64encode(data).decode()
    return revision, event


def time_text(us):
    import datetime
    t = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=us)
    fraction = f".{t.microsecond:06d}".rstrip("0") if t.microsecond else ""
    return f"{t.year:04d}-{t.month:02d}-{t.day:02d}T{t.hour:02d}:{t.minute:02d}:{t.second:02d}{fraction}Z"


def unbase64(text):
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 that is not in its one form")
    return raw


FIELDS = ["format", "domain", "partition", "offset", "index", "source", "id", "frame", "block", "headers", "head"]


def parse(text):
    proof = json.loads(text)
    need(list(proof) == FIELDS and proof["format"] == "refold-proof-1", "not a proof of this version")
    need(json.dumps(proof, ensure_ascii=False, separators=(",", ":")) + "\n" == text,
         "the proof is not in its one form")
    need(list(proof["head"]) == ["domain", "partition", "next", "sequence", "hash"], "not a head")
    return proof


def check(text, kept):
    """The proven event with its place. `kept`: a hash, or the parsed output of `refold log head --json`."""
    proof = parse(text)
    h, raw = payload_of(unbase64(proof["block"]))
    index = proof["index"]
    need(isinstance(index, int) and 0 <= index < h[COUNT] and proof["offset"] == h[BASE] + index,
         "the event's number is not of this block")
    table, frames_end = strings_of(raw)
    frame = frame_at(raw, index, frames_end)
    need(unbase64(proof["frame"]) == frame, "another event stands at that place")
    revision, event = event_of(frame, table)
    need(event["source"] == proof["source"] and event["id"] == proof["id"], "the event has another source or id")

    digest = hashlib.sha256(unbase64(proof["block"])[:HEADER.size]).hexdigest()
    chain = {digest: (h[BASE] + h[COUNT], h[SEQUENCE])}
    recorded = h[RECORDED]
    for encoded in proof["headers"]:
        header_raw = unbase64(encoded)
        later = header(header_raw)
        need(later[PREVIOUS].hex() == digest, "the chain of hashes is broken")
        need(later[SEQUENCE] == h[SEQUENCE] + 1 and later[BASE] == h[BASE] + h[COUNT],
             "the blocks do not follow each other")
        digest, h = hashlib.sha256(header_raw).hexdigest(), later
        chain[digest] = (h[BASE] + h[COUNT], h[SEQUENCE])
    claimed = {"domain": proof["domain"], "partition": proof["partition"], "next": chain[digest][0],
               "sequence": chain[digest][1], "hash": digest}
    need(proof["head"] == claimed, "the proof's own head is not where its chain ends")

    if isinstance(kept, str):
        need(kept in chain, "the head that you kept is not in this chain")
    else:
        mine = [k for k in kept["heads"] if (k["domain"], k["partition"]) == (proof["domain"], proof["partition"])]
        need(len(mine) == 1, "of this domain and partition you kept no head")
        need(chain.get(mine[0]["hash"]) == (mine[0]["next"], mine[0]["sequence"]),
             "the head that you kept is not in this chain")
    return {"domain": proof["domain"], "partition": proof["partition"], "offset": proof["offset"],
            "stream": event.get("subject") or event["source"], "revision": revision,
            "recordedtime": time_text(recorded), "event": event}


def read_head(text):
    if len(text) == 64 and all(c in "0123456789abcdef" for c in text):
        return text
    with open(text, encoding="utf-8") as f:
        return json.load(f)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        with open(sys.argv[1], encoding="utf-8", newline="") as f:
            placed = check(f.read(), read_head(sys.argv[2]))
    except OSError as e:
        sys.exit(f"verify_proof: {e}")
    except (Refused, ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error,
            binascii.Error, RecursionError, OverflowError) as e:
        sys.exit(f"verify_proof: NOT proven: {e}")
    print(json.dumps(placed, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
