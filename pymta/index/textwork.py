"""textwork: what SEARCH looks through of some messages, as blocks; the work of index/children."""
from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import partial

from pymta.formats.searchtext import Said, encode
from pymta.index import children
from pymta.message import mime, searchable

BLOCK_OCTETS = 1 << 20                                  # a block is closed when it has so much text
HEADER_OCTETS = 1 << 13                                 # enough for most headers
_LENGTH = struct.Struct("<II")

Read = Callable[[int | None], bytes]                    # the message, or its first octets


def answer(messages: Iterable[tuple[int, bytes, int]], wanted: str) -> bytes:
    """*( length which block ).  wanted, which: see look."""
    out = []
    for which, block in blocks(((uid, base, partial(children.read, fd)) for uid, base, fd in messages), wanted):
        out += [_LENGTH.pack(len(block), ord(which)), block]
    return b"".join(out)


def unpack(data: bytes) -> list[tuple[str, bytes]]:
    out, at = [], 0
    while at < len(data):
        length, which = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        out.append((chr(which), data[at - length:at]))
    return out


def blocks(messages: Iterable[tuple[int, bytes, Read]], wanted: str) -> Iterable[tuple[str, bytes]]:
    """("h" or "t", block) of some messages, which are looked at as the blocks are taken.  Those that have gone (LookupError) are left out."""
    waiting: dict[str, list[Said]] = {which: [] for which in wanted}
    octets = dict.fromkeys(wanted, 0)
    for uid, base, read in messages:
        try:
            found = look(read, wanted)
        except LookupError:
            continue
        for which, (first, second) in found.items():
            waiting[which].append(Said(uid, base, first, second))
            octets[which] += len(first) + len(second)
            if octets[which] >= BLOCK_OCTETS:
                yield which, encode(waiting[which])
                waiting[which], octets[which] = [], 0
    for which, some in waiting.items():
        if some:
            yield which, encode(some)


def look(read: Read, wanted: str) -> dict[str, tuple[bytes, bytes]]:
    """wanted: "h", the message's header, "t", what stands below it, or both  ->  the two sections of each (formats/searchtext)."""
    if wanted == "h":
        data = read(HEADER_OCTETS)
        end = mime.header_end(data)
        if end == len(data) >= HEADER_OCTETS:
            data = read(None)
            end = mime.header_end(data)
        return {"h": (searchable.header(data[:end]), b"")}
    data = read(None)
    root = mime.scan(data)
    out = {"t": searchable.below(data, root)}
    if "h" in wanted:
        out["h"] = searchable.header(data[:root.body]), b""
    return out
