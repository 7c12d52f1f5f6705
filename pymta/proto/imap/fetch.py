"""fetch: what FETCH says of one message.                                                      RFC 3501 §7.4.2"""
from __future__ import annotations

from typing import Any, Callable

from pymta.message import mime, structure
from pymta.proto.imap.fetchitem import FetchItem
from pymta.proto.imap.response import date_time


class Source:
    """One message as it is looked at: its bytes as clients see them and its structure, read when first needed.
    Reading raises what the folder raises: LookupError for a message that has gone, OSError."""

    __slots__ = ("folder", "message", "_data", "_root")

    def __init__(self, folder: Any, message: Any) -> None:
        self.folder = folder
        self.message = message
        self._data: bytes | None = None
        self._root: mime.Part | None = None

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


Say = Callable[[Source, bytes], bytes]                  # (message, its flags as bytes) -> what the reply says


def plan(items: tuple[FetchItem, ...], *, uid: bool, flags: bool) -> list[Say]:
    """What to say, in order.  uid, flags: whether to say these even if not asked."""
    out: list[Say] = []
    kinds = {item.kind for item in items}
    if uid and "UID" not in kinds:
        out.append(_uid)
    if flags and "FLAGS" not in kinds:
        out.append(_flags)
    for item in dict.fromkeys(items):
        out.append(_SIMPLE[item.kind] if item.kind != "SECTION" else _Section(item))
    return out


def is_light(items: tuple[FetchItem, ...]) -> bool:
    """Whether nothing of the message itself needs to be read."""
    return all(item.kind in ("FLAGS", "UID", "INTERNALDATE", "RFC822.SIZE") for item in items)


def _uid(source: Source, flags: bytes) -> bytes:
    return b"UID %d" % source.message.uid


def _flags(source: Source, flags: bytes) -> bytes:
    return b"FLAGS (%b)" % flags


def _date(source: Source, flags: bytes) -> bytes:
    return b"INTERNALDATE " + date_time(source.message.internaldate)


def _size(source: Source, flags: bytes) -> bytes:
    return b"RFC822.SIZE %d" % source.message.vsize


def _envelope(source: Source, flags: bytes) -> bytes:
    return b"ENVELOPE " + structure.envelope(source.root)


def _body(source: Source, flags: bytes) -> bytes:
    return b"BODY " + structure.body(source.root, extended=False)


def _bodystructure(source: Source, flags: bytes) -> bytes:
    return b"BODYSTRUCTURE " + structure.body(source.root, extended=True)


_SIMPLE: dict[str, Say] = {"UID": _uid, "FLAGS": _flags, "INTERNALDATE": _date, "RFC822.SIZE": _size, "ENVELOPE": _envelope,
                           "BODY": _body, "BODYSTRUCTURE": _bodystructure}


class _Section:
    def __init__(self, item: FetchItem) -> None:
        self.item = item

    def __call__(self, source: Source, flags: bytes) -> bytes:
        item = self.item
        data = source.data
        if item.path or item.what not in (b"", b"HEADER"):
            found = mime.section(data, source.root, item.path, item.what, item.names)
        elif item.what:
            found = data[:mime.header_end(data)]        # no need to know the parts
        else:
            found = data
        if found is None:
            return item.label + b" NIL"
        if item.partial:
            found = found[item.partial[0]:item.partial[0] + item.partial[1]]
        return b"%b {%d}\r\n%b" % (item.label, len(found), found)
