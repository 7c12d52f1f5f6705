"""binary: BINARY[...], BINARY.PEEK[...] and BINARY.SIZE[...] of one message.                        RFC 3516 §4

Parts are sent with their Content-Transfer-Encoding undone: of leaves.  A composite part, and the message as a whole (BINARY[]),
are sent as they stand, for their own headers say how what is within is encoded.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    if source.decoded is not None and source.decoded[0] == item.path:
        return b"%b %d" % (item.label, len(source.decoded[1] or b""))
    part = mime.find(source.root, item.path)
    return b"%b %d" % (item.label, 0 if part is None else sum(len(piece) for piece in _pieces(source, part, item.path)))


def prepare(source: Source, items: Iterable[FetchItem]) -> None:
    """Decode the part that will be asked for, so that saying it takes no time."""
    paths = {item.path for item in items if item.kind == "BINARY"}
    if len(paths) == 1:                                 # only the last one is kept
        try:
            _decoded(source, *paths)
        except transfer.UnknownEncoding:
            pass


def _decoded(source: Source, path: tuple[int, ...]) -> bytes | None:
    """Kept for the next question, since clients fetch big parts in ranges."""
    if source.decoded is None or source.decoded[0] != path:
        source.decoded = (path, _decode(source, path))
    return source.decoded[1]


def _decode(source: Source, path: tuple[int, ...]) -> bytes | None:
    part = mime.find(source.root, path)
    return None if part is None else b"".join(_pieces(source, part, path))


def _pieces(source: Source, part: mime.Part, path: tuple[int, ...]) -> Iterator[bytes]:
    begin, name = part.body if path else part.start, transfer.encoding(part) if path else b""
    data = source.data
    if name in transfer.PLAIN and data.find(b"\x80", begin, part.end) >= 0:
        data = source.with_nul                          # it may have been a NUL: here it can be said
    return transfer.pieces(data, begin, part.end, name)
