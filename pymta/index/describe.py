"""describe: all that the index keeps of one message, from its octets."""
from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from pymta.formats import maildir
from pymta.formats.index import Entry, Packed, encode
from pymta.index import children
from pymta.message import mime, preview, sortkey, structure

_NODE = struct.Struct("<IIIHH")
_SIZES = struct.Struct("<II")
HEADERS = "headers"
_START_OCTETS = 1 << 13                                 # enough for most headers
_KINDS = {b"multipart": 1, b"message": 2}


def describe(uid: int, data: bytes, internaldate: float) -> Entry:
    """data: the message as it is on disk."""
    wire = mime.wire(data)
    root = mime.scan(wire, -1 if b"\r" in data else len(wire) - len(data))
    sent = sortkey.sent(root.fields.get(b"date", b""))
    return Entry(uid, structure.envelope(root), structure.body(root, extended=True), len(wire), internaldate, root.body,
                 sent=int(internaldate) if sent is None else sent, parts=pack_parts(root) if len(wire) < 1 << 32 else b"",
                 keys=sortkey.pack(sortkey.keys(root.fields)), preview=structure.string(preview.of(wire, root).encode("utf-8", "replace")))


def describe_header(uid: int, start: bytes, internaldate: float, vsize: int) -> Entry | None:
    """What the header says, from the first octets of a message; None where it does not end there."""
    wire = mime.wire(start)
    end = mime.header_end(wire)
    if end == len(wire):
        return None
    root = mime.Part(0, end, end, mime.fields(wire, 0, end))
    sent = sortkey.sent(root.fields.get(b"date", b""))
    return Entry(uid, structure.envelope(root), b"", vsize, internaldate, end, sent=int(internaldate) if sent is None else sent,
                 keys=sortkey.pack(sortkey.keys(root.fields)))


def pack_parts(root: mime.Part) -> bytes:
    """The offsets of a tree of parts: start, body, end, kind, how many parts follow as its own; b"" for a message of one part."""
    if not root.parts:
        return b""
    out: list[bytes] = []
    left = [root]
    while left:
        part = left.pop()
        out.append(_NODE.pack(part.start, part.body, part.end, _KINDS.get(part.type, 0), len(part.parts)))
        left += reversed(part.parts)
    return b"".join(out)


# ---- as the work of index/children ------------------------------------------------------------------------------------
def answer(messages: Iterable[tuple[int, bytes, int]], word: str) -> bytes:
    """Entries of messages: *( size size rest text ), in their order.  word: HEADERS where nobody asks for more."""
    out = []
    for uid, base, fd in messages:
        entry, date, vsize = None, os.fstat(fd).st_mtime, maildir.vsize_of(base)
        if word == HEADERS and vsize is not None:
            entry = describe_header(uid, os.pread(fd, _START_OCTETS, 0), date, vsize)
        packed = encode(entry or describe(uid, children.read(fd), date), base)
        out += [_SIZES.pack(len(packed.rest), len(packed.text)), packed.rest, packed.text]
    return b"".join(out)


def unpack(data: bytes) -> list[Packed]:
    out, at = [], 0
    while at < len(data):
        rest, text = _SIZES.unpack_from(data, at)
        at += _SIZES.size
        out.append(Packed(data[at:at + rest], data[at + rest:at + rest + text]))
        at += rest + text
    return out
