"""binary: BINARY[...], BINARY.PEEK[...] and BINARY.SIZE[...] of one message.                        RFC 3516 §4

Parts are sent with their Content-Transfer-Encoding undone: of leaves.  A composite part, and the message as a whole (BINARY[]),
are sent as they stand, for their own headers say how what is within is encoded.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from pymta.message import mime, transfer
from pymta.proto.imap.fetchitem import FetchItem

if TYPE_CHECKING:
    from pymta.proto.imap.fetch import Source


def octets(source: Source, item: FetchItem) -> bytes:
    """BINARY[...]: a literal8 where there is a NUL in it.  Raises UnknownEncoding."""
    found = _decoded(source, item.path)
    if found is None:
        return item.label + b" NIL"
    if item.partial:
        found = found[item.partial[0]:item.partial[0] + item.partial[1]]
    return b"%b %b{%d}\r\n%b" % (item.label, b"~" if b"\0" in found else b"", len(found), found)


def size(source: Source, item: FetchItem) -> bytes:
    """BINARY.SIZE[...]: 0 of a part that is not there, for the grammar has no NIL here.  Raises UnknownEncoding."""
    return b"%b %d" % (item.label, len(_decoded(source, item.path) or b""))


def _decoded(source: Source, path: tuple[int, ...]) -> bytes | None:
    """Kept for the next question, since clients fetch big parts in ranges."""
    if source.decoded is None or source.decoded[0] != path:
        source.decoded = (path, _decode(source, path))
    return source.decoded[1]


def _decode(source: Source, path: tuple[int, ...]) -> bytes | None:
    part = mime.find(source.root, path)
    if part is None:
        return None
    begin, name = part.body if path else part.start, transfer.encoding(part) if path else b""
    if name in transfer.PLAIN and b"\x80" in source.data[begin:part.end]:
        return source.with_nul[begin:part.end]          # it may have been a NUL: here it can be said
    return b"".join(transfer.pieces(source.data, begin, part.end, name))
