"""fetch: what FETCH says of one message.                                                      RFC 3501 §7.4.2"""
from __future__ import annotations

from typing import Any, Callable

from pymta.message import mime, structure
from pymta.proto.imap.fetchitem import FetchItem
from pymta.proto.imap.response import date_time


class Source:
    """One message as it is looked at: its bytes as clients see them, its header and its structure, read when first needed.
    Reading raises what the folder raises: LookupError for a message that has gone, OSError."""

    __slots__ = ("folder", "message", "_data", "_root", "_header")

    def __init__(self, folder: Any, message: Any) -> None:
        self.folder = folder
        self.message = message
        self._data: bytes | None = None
        self._root: mime.Part | None = None
        self._header: bytes | None = None

    @property
    def data(self) -> bytes:
        if self._data is None:
            self._data = mime.wire(self.folder.read(self.message.uid))
        return self._data

    @property
    def root(self) -> mime.Part:
        if self._root is None:
            self._root = mime.scan(self.data)
        return self._root

    def prepare(self) -> None:
        """Read the message and look at its structure, so that what follows takes no time.  One that has gone is left for later."""
        try:
            self._root = mime.scan(self.data)
        except LookupError:
            pass

    @property
    def header(self) -> bytes:
        """The header and the line that ends it; the rest of a big message is not read for it."""
        if self._header is None:
            if self._data is None:
                start = mime.wire(self.folder.read(self.message.uid, _HEADER_OCTETS))
                end = mime.header_end(start)
                if end < len(start):
                    self._header = start[:end]
                    return self._header
            self._header = self.data[:mime.header_end(self.data)]
        return self._header


_HEADER_OCTETS = 1 << 13                                 # enough for most headers
Say = Callable[[Source, bytes], bytes]                  # (message, its flags as bytes) -> what the reply says


def plan(items: tuple[FetchItem, ...], *, uid: bool, flags: bool) -> list[Say]:
    """What to say, in order.  uid, flags: whether to say these even if not asked."""
    out: list[Say] = []
    kinds = {item.kind for item in items}
    if uid and "UID" not in kinds:
        out.append(_SIMPLE["UID"])
    if flags and "FLAGS" not in kinds:
        out.append(_SIMPLE["FLAGS"])
    for item in dict.fromkeys(items):
        out.append(_SIMPLE[item.kind] if item.kind != "SECTION" else _Section(item))
    return out


def reads_all(items: tuple[FetchItem, ...]) -> bool:
    """Whether more than the header of the message is needed."""
    return any(item.kind in ("BODY", "BODYSTRUCTURE") or item.kind == "SECTION" and bool(item.path or item.what in (b"", b"TEXT"))
               for item in items)


Row = Callable[[int, Any, bytes], bytes]                # (number, message, its flags as bytes) -> the whole reply


def light_plan(items: tuple[FetchItem, ...], *, uid: bool) -> Row:
    """How to say items that are light."""
    kinds = {item.kind for item in items} | ({"UID"} if uid else set())
    if kinds == {"UID", "FLAGS"}:
        return lambda number, message, flags: b"* %d FETCH (UID %d FLAGS (%b))\r\n" % (number, message.uid, flags)
    if kinds == {"FLAGS"}:
        return lambda number, message, flags: b"* %d FETCH (FLAGS (%b))\r\n" % (number, flags)
    parts = [_LIGHT[kind] for kind in ("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE") if kind in kinds]
    return lambda number, message, flags: b"* %d FETCH (%b)\r\n" % (number, b" ".join([part(message, flags) for part in parts]))


_LIGHT: dict[str, Callable[[Any, bytes], bytes]] = {
    "UID": lambda message, flags: b"UID %d" % message.uid,
    "FLAGS": lambda message, flags: b"FLAGS (%b)" % flags,
    "INTERNALDATE": lambda message, flags: b"INTERNALDATE " + date_time(message.internaldate),
    "RFC822.SIZE": lambda message, flags: b"RFC822.SIZE %d" % message.vsize,
}


def is_light(items: tuple[FetchItem, ...]) -> bool:
    """Whether nothing of the message itself needs to be read."""
    return all(item.kind in ("FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE") for item in items)


def _light(kind: str) -> Say:
    say = _LIGHT[kind]
    return lambda source, flags: say(source.message, flags)


def _envelope(source: Source, flags: bytes) -> bytes:
    header = source.header
    return b"ENVELOPE " + structure.envelope(mime.Part(0, len(header), len(header), mime.fields(header, 0, len(header))))


def _body(source: Source, flags: bytes) -> bytes:
    return b"BODY " + structure.body(source.root, extended=False)


def _bodystructure(source: Source, flags: bytes) -> bytes:
    return b"BODYSTRUCTURE " + structure.body(source.root, extended=True)


_SIMPLE: dict[str, Say] = {**{kind: _light(kind) for kind in _LIGHT}, "ENVELOPE": _envelope, "BODY": _body, "BODYSTRUCTURE": _bodystructure}


class _Section:
    def __init__(self, item: FetchItem) -> None:
        self.item = item

    def __call__(self, source: Source, flags: bytes) -> bytes:
        item = self.item
        found: bytes | None
        if item.path or item.what == b"TEXT":
            found = mime.section(source.data, source.root, item.path, item.what, item.names)
        elif item.what == b"HEADER":
            found = source.header
        elif item.what:
            found = mime.header_fields(source.header, 0, len(source.header), item.names, without=item.what == b"HEADER.FIELDS.NOT")
        else:
            found = source.data
        if found is None:
            return item.label + b" NIL"
        if item.partial:
            found = found[item.partial[0]:item.partial[0] + item.partial[1]]
        return b"%b {%d}\r\n%b" % (item.label, len(found), found)
