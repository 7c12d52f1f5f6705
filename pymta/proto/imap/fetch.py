"""fetch: what FETCH says of one message.                                                      RFC 3501 §7.4.2"""
from __future__ import annotations

from typing import Any, Callable

from pymta.message import mime, preview, structure
from pymta.proto.imap import binary, objectid
from pymta.proto.imap.asciiform import ascii_form
from pymta.proto.imap.fetchitem import FetchItem
from pymta.proto.imap.response import date_time


class Source:
    """One message as it is looked at: its bytes as clients see them, its header and its structure, read when first needed.
    Reading raises what the folder raises: LookupError for a message that has gone, OSError."""

    __slots__ = ("folder", "message", "entry", "decoded", "_data", "_root", "_header")

    def __init__(self, folder: Any, message: Any, entry: Any = None) -> None:
        self.folder = folder
        self.message = message
        self.entry = entry                              # what the index knows of it, None where nobody has asked
        self.decoded: tuple[tuple[int, ...], bytes | None] | None = None       # the part last decoded, see binary
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

    @property
    def with_nul(self) -> bytes:
        """data with every NUL in its place, which only a literal8 may carry."""
        return mime.wire(self.folder.read(self.message.uid), keep_nul=True)

    def prepare(self, items: tuple[FetchItem, ...]) -> None:
        """Read the message and look at its structure, so that what follows takes no time.  One that has gone is left for later."""
        try:
            if self.root:
                binary.prepare(self, items)
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


def plan(items: tuple[FetchItem, ...], *, uid: bool, flags: bool, modseq: bool = False, utf8: bool = False) -> list[Say]:
    """What to say, in order.  uid, flags, modseq: whether to say these even if not asked; utf8: whether header fields go as they stand."""
    out: list[Say] = []
    kinds = {item.kind for item in items}
    if uid and "UID" not in kinds:
        out.append(_SIMPLE["UID"])
    if flags and "FLAGS" not in kinds:
        out.append(_SIMPLE["FLAGS"])
    if modseq and "MODSEQ" not in kinds:
        out.append(_SIMPLE["MODSEQ"])
    for item in dict.fromkeys(items):
        say = _SIMPLE.get(item.kind) or _OF_ITEM[item.kind](item)
        out.append(_in_ascii(say) if item.kind in ("ENVELOPE", "BODY", "BODYSTRUCTURE") and not utf8 else say)
    return out


def reads_all(items: tuple[FetchItem, ...]) -> bool:
    """Whether more than the header of the message is needed."""
    return any(item.kind in ("BODY", "BINARY", "BINARY.SIZE") or item.kind == "SECTION" and bool(item.path or item.what in (b"", b"TEXT"))
               for item in items)


Row = Callable[[int, Any, bytes, Any], bytes]            # (number, message, its flags as bytes, its entry) -> the whole reply
_DESCRIBED = {"ENVELOPE", "BODYSTRUCTURE"}
_ASKS_INDEX = _DESCRIBED | {"THREADID", "PREVIEW"}


def row_plan(items: tuple[FetchItem, ...], *, uid: bool, word: bytes = b"FETCH") -> Row:
    """How to say items for which no message needs to be read: see is_row.  word: of the reply."""
    kinds = {item.kind for item in items} | ({"UID"} if uid else set())
    parts = [say for kind, say in (_OF_ENTRY if kinds & _ASKS_INDEX else _LIGHT).items() if kind in kinds]
    return lambda number, message, flags, entry: b"* %d %b (%b)\r\n" % (
        number, word, b" ".join([part(message, flags, entry) for part in parts]))


_LIGHT: dict[str, Callable[[Any, bytes, Any], bytes]] = {
    "UID": lambda message, flags, entry: b"UID %d" % message.uid,
    "FLAGS": lambda message, flags, entry: b"FLAGS (%b)" % flags,
    "INTERNALDATE": lambda message, flags, entry: b"INTERNALDATE " + date_time(message.internaldate),
    "RFC822.SIZE": lambda message, flags, entry: b"RFC822.SIZE %d" % message.vsize,
    "MODSEQ": lambda message, flags, entry: b"MODSEQ (%d)" % message.folder.modseq_of(message),
    "SAVEDATE": lambda message, flags, entry: b"SAVEDATE " + date_time(message.savedate),
    "EMAILID": lambda message, flags, entry: b"EMAILID (%b)" % message.emailid,
}
_OF_ENTRY: dict[str, Callable[[Any, bytes, Any], bytes]] = {
    **_LIGHT,
    "INTERNALDATE": lambda message, flags, entry: b"INTERNALDATE " + date_time(entry.internaldate),
    "RFC822.SIZE": lambda message, flags, entry: b"RFC822.SIZE %d" % entry.vsize,
    "ENVELOPE": lambda message, flags, entry: b"ENVELOPE " + entry.envelope,
    "BODYSTRUCTURE": lambda message, flags, entry: b"BODYSTRUCTURE " + entry.bodystructure,
    "THREADID": lambda message, flags, entry: b"THREADID (%b)" % objectid.thread(entry.keys, message.emailid),
    "PREVIEW": lambda message, flags, entry: b"PREVIEW " + entry.preview,
}


def wants_entry(items: tuple[FetchItem, ...]) -> bool:
    """Whether the index is to be asked."""
    return any(item.kind in _ASKS_INDEX for item in items)


def is_of_headers(items: tuple[FetchItem, ...]) -> bool:
    """Whether the index need not know more of a message than its header says."""
    return is_row(items) and not any(item.kind in ("BODYSTRUCTURE", "PREVIEW") for item in items)


def is_row(items: tuple[FetchItem, ...]) -> bool:
    """Whether nothing of the message itself needs to be read, but for what the index holds."""
    return all(item.kind in _OF_ENTRY for item in items)


def _light(kind: str) -> Say:
    say = _LIGHT[kind]
    return lambda source, flags: say(source.message, flags, None)


def _envelope(source: Source, flags: bytes) -> bytes:
    if source.entry is not None:
        return b"ENVELOPE " + source.entry.envelope
    header = source.header
    return b"ENVELOPE " + structure.envelope(mime.Part(0, len(header), len(header), mime.fields(header, 0, len(header))))


def _body(source: Source, flags: bytes) -> bytes:
    return b"BODY " + structure.body(source.root, extended=False)


def _bodystructure(source: Source, flags: bytes) -> bytes:
    if source.entry is not None:
        return b"BODYSTRUCTURE " + source.entry.bodystructure
    return b"BODYSTRUCTURE " + structure.body(source.root, extended=True)


def _in_ascii(say: Say) -> Say:
    return lambda source, flags: ascii_form(say(source, flags))


def _threadid(source: Source, flags: bytes) -> bytes:
    return b"THREADID (%b)" % objectid.thread_of(source)


def _preview(source: Source, flags: bytes) -> bytes:
    entry = source.entry
    if entry is not None:
        return b"PREVIEW " + entry.preview
    return b"PREVIEW " + structure.string(preview.of(source.data, source.root).encode("utf-8", "replace"))


def _lazy_preview(source: Source, flags: bytes) -> bytes:
    """RFC 8970 §4.1: NIL where it would have to be made first."""
    entry = source.entry or source.folder.known(source.message)
    return b"PREVIEW " + (entry.preview if entry else b"NIL")


_SIMPLE: dict[str, Say] = {**{kind: _light(kind) for kind in _LIGHT}, "ENVELOPE": _envelope, "BODY": _body, "BODYSTRUCTURE": _bodystructure,
                          "THREADID": _threadid, "PREVIEW": _preview, "LAZY PREVIEW": _lazy_preview}


class _Section:
    def __init__(self, item: FetchItem) -> None:
        self.item = item

    def __call__(self, source: Source, flags: bytes) -> bytes:
        found = section_of(source, self.item)
        return self.item.label + b" NIL" if found is None else b"%b {%d}\r\n%b" % (self.item.label, len(found), found)


def section_of(source: Source, item: FetchItem) -> bytes | None:
    """The octets of BODY[...]; None of a part that is not there."""
    found: bytes | None
    if item.path or item.what == b"TEXT":
        found = mime.section(source.data, source.root, item.path, item.what, item.names)
    elif item.what == b"HEADER":
        found = source.header
    elif item.what:
        found = mime.header_fields(source.header, 0, len(source.header), item.names, without=item.what == b"HEADER.FIELDS.NOT")
    else:
        found = source.data
    if found is not None and item.partial:
        found = found[item.partial[0]:item.partial[0] + item.partial[1]]
    return found


def _binary(item: FetchItem) -> Say:
    return lambda source, flags: binary.octets(source, item)


def _binary_size(item: FetchItem) -> Say:
    return lambda source, flags: binary.size(source, item)


_OF_ITEM: dict[str, Callable[[FetchItem], Say]] = {"SECTION": _Section, "BINARY": _binary, "BINARY.SIZE": _binary_size}
