"""describe: all that the index keeps of one message, from its octets."""
from __future__ import annotations

import struct

from pymta.formats.index import Entry
from pymta.message import mime, preview, sortkey, structure

_NODE = struct.Struct("<IIIHH")
_KINDS = {b"multipart": 1, b"message": 2}


def describe(uid: int, data: bytes, internaldate: float) -> Entry:
    """data: the message as it is on disk."""
    wire = mime.wire(data)
    root = mime.scan(wire)
    sent = sortkey.sent(root.fields.get(b"date", b""))
    return Entry(uid, structure.envelope(root), structure.body(root, extended=True), len(wire), internaldate, root.body,
                 sent=int(internaldate) if sent is None else sent, parts=pack_parts(root) if len(wire) < 1 << 32 else b"",
                 keys=sortkey.pack(sortkey.keys(root.fields)), preview=preview.of(wire, root).encode("utf-8", "replace"))


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
