#!/usr/bin/env python3
"""Reads a refold log without refold: proof that docs/log-format.md is enough.

    read_log.py DIR/log              every event as a line of JSON, a CloudEvent with its place
    read_log.py DIR/log --check      checks everything a reader can check, prints one line

Checks each block's CRC32C and SHA-256, the chain of hashes from the first block to the last, offsets
without gaps and revisions of every stream without gaps. Uses nothing but the standard library; LZ4's
block format and CRC32C are written out below, which makes it slow and easy to carry over into another
language. Reading beside a running server is fine: it stops at the first block that is not whole.
"""
import base64, datetime, hashlib, json, os, struct, sys

PAGE = 4096
HEADER = struct.Struct("<4sHBBIIIIQQQQQQqqq32s32sII")
assert HEADER.size == 168
NONE = -(1 << 63)

CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
    CRC_TABLE.append(n)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for b in data:
        crc = CRC_TABLE[(crc ^ b) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def lz4_block(data, size):
    """LZ4 block format: literals, then a copy from what was already written, again and again."""
    out, i = bytearray(), 0

    def length(n, i):
        if n == 15:
            while True:
                n += data[i]
                i += 1
                if data[i - 1] != 255:
                    break
        return n, i

    while i < len(data):
        token = data[i]
        i += 1
        n, i = length(token >> 4, i)
        out += data[i:i + n]
        i += n
        if i >= len(data):
            break
        back = data[i] | data[i + 1] << 8
        i += 2
        n, i = length(token & 15, i)
        start = len(out) - back
        if back == 0 or start < 0:
            raise ValueError("LZ4: a copy from before the beginning")
        for k in range(n + 4):
            out.append(out[start + k])
    if len(out) != size:
        raise ValueError("LZ4: wrong length")
    return bytes(out)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def time_text(us):
    t = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=us)
    fraction = f".{t.microsecond:06d}".rstrip("0") if t.microsecond else ""
    return f"{t.year:04d}-{t.month:02d}-{t.day:02d}T{t.hour:02d}:{t.minute:02d}:{t.second:02d}{fraction}Z"


def uuid_text(raw):
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def frames(raw):
    """The frames of a payload, as (revision, CloudEvent)."""
    strings, text_bytes = struct.unpack_from("<II", raw, len(raw) - 8)
    ends_at = len(raw) - 8 - text_bytes - 4 * strings
    text = raw[len(raw) - 8 - text_bytes:len(raw) - 8]
    table, start = [], 0
    for end in struct.unpack_from(f"<{strings}I", raw, ends_at):
        table.append(text[start:end].decode())
        start = end
    at = 0
    while at < ends_at:
        size, data_bytes, kind, revision, time_us = struct.unpack_from("<IIIQq", raw, at)
        data = raw[at + 44:at + 44 + data_bytes]
        p, lengths = at + 44 + data_bytes, []
        for _ in range(10):
            value, p = varint(raw, p)
            lengths.append(value)
        source, schema, content_type, id_form, *rest = lengths
        fields = []
        for n in [16 if id_form == 1 else id_form // 2, *rest]:
            fields.append(raw[p:p + n])
            p += n
        if p != at + size:
            raise ValueError("a frame's lengths do not add up")
        ident, subject, time, correlation, causation, trace, extensions = fields
        event = {"specversion": "1.0", "id": uuid_text(ident) if id_form == 1 else ident.decode(),
                 "source": table[source], "type": table[kind >> 2]}
        for name, value in (("subject", subject), ("correlationid", correlation),
                            ("causationid", causation), ("traceparent", trace)):
            if value:
                event[name] = value.decode()
        if time or time_us != NONE:
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
        yield revision, event
        at += size


class Damage(Exception):
    pass


def blocks(path, previous, sequence):
    """The blocks of a segment, as (header fields, payload), checked; and the hash to go on with."""
    with open(path, "rb") as f:
        page = f.read(PAGE)
        if len(page) < PAGE or page[:8] != b"RFLOGSEG":
            raise Damage(f"{path}: not a segment")
        if struct.unpack_from("<I", page, PAGE - 4)[0] != crc32c(page[:PAGE - 4]):
            raise Damage(f"{path}: header checksum")
        version, features, segment_id = struct.unpack_from("<IIQ", page, 8)
        if version != 1 or features != 0:
            raise Damage(f"{path}: version {version}, features {features}: not known here")
        if page[128:160] != previous:
            raise Damage(f"{path}: the chain of hashes is broken at its beginning")
        position = PAGE
        while True:
            head = f.read(HEADER.size)
            if len(head) < HEADER.size or head[:4] == b"\0\0\0\0":
                break
            h = HEADER.unpack(head)
            if h[0] != b"RFB1" or h[20] != crc32c(head[:164]):
                print(f"{path}: byte {position}: not a whole block: the end, or damage", file=sys.stderr)
                break
            codec, total, stored, raw_bytes = h[2], h[4], h[5], h[6]
            payload = f.read(total - HEADER.size)
            if (len(payload) != total - HEADER.size or h[19] != crc32c(payload)
                    or h[18] != hashlib.sha256(payload).digest()):
                raise Damage(f"{path}: byte {position}: payload checksum")
            if h[11] != segment_id or h[12] != position:
                raise Damage(f"{path}: byte {position}: a block from elsewhere")
            if h[17] != previous:
                raise Damage(f"{path}: byte {position}: the chain of hashes is broken")
            previous = hashlib.sha256(head).digest()
            body = payload[:stored]
            yield h, lz4_block(body, raw_bytes) if codec == 1 else body, previous
            position += total


def partition(directory, domain, number):
    previous, offset, revisions = bytes(32), 0, {}
    names = sorted(n for n in os.listdir(directory) if n.endswith(".seg"))
    for name in names:
        for h, raw, previous in blocks(os.path.join(directory, name), previous, 0):
            if h[7] == 0:
                continue
            if h[9] != offset:
                raise Damage(f"{directory}: offset {h[9]} follows {offset - 1}")
            for revision, event in frames(raw):
                stream = event.get("subject") or event["source"]
                if revision != revisions.get(stream, 0):
                    raise Damage(f"{directory}: stream {stream}: revision {revision} is out of order")
                revisions[stream] = revision + 1
                yield {"domain": domain, "partition": number, "offset": offset, "stream": stream,
                       "revision": revision, "recordedtime": time_text(h[14]), "event": event}
                offset += 1


def main():
    check = "--check" in sys.argv
    places = [a for a in sys.argv[1:] if not a.startswith("--")]
    if len(places) != 1:
        sys.exit(__doc__)
    log, events = places[0], 0
    try:
        for domain in sorted(d for d in os.listdir(log) if os.path.isdir(os.path.join(log, d))):
            for number in sorted(n for n in os.listdir(os.path.join(log, domain)) if n.isdigit()):
                for placed in partition(os.path.join(log, domain, number), domain, int(number)):
                    events += 1
                    if not check:
                        print(json.dumps(placed, ensure_ascii=False, separators=(",", ":")))
    except (Damage, ValueError, IndexError, struct.error) as e:
        sys.exit(f"read_log: {e}")
    if check:
        print(f"{events} events, chain whole")


if __name__ == "__main__":
    main()
