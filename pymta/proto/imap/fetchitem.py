"""fetchitem: what a client may ask of a message.                                              RFC 3501 §6.4.5"""
from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pymta.message.structure import string
from pymta.proto.imap.args import Args, Bad
from pymta.proto.imap.results import Partial, partial

_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]+").fullmatch
_WORD = re.compile(rb"[A-Za-z0-9.]+").match
_SECTION = re.compile(rb"\[(?:([1-9]\d{0,5}(?:\.[1-9]\d{0,5}){0,49})(?:\.(?=[A-Za-z]))?)?([A-Za-z.]*)").match
_PART = re.compile(rb"\[((?:[1-9]\d{0,5}(?:\.[1-9]\d{0,5}){0,49})?)\]").match
_LAZY = re.compile(rb" \(LAZY(?: LAZY)*\)", re.IGNORECASE).match       # RFC 8970 §6
_PARTIAL = re.compile(rb"<(\d{1,10})\.(\d{1,10})>").match


@dataclass(frozen=True, slots=True)
class FetchItem:
    """kind: a name in SIMPLE, LAZY PREVIEW, SECTION (then path, what, names in lower case, partial), BINARY (path, partial) or BINARY.SIZE
    (path).  label: how the reply names it.  seen: fetching it sets \\Seen."""

    kind: str
    label: bytes
    path: tuple[int, ...] = ()
    what: bytes = b""
    names: frozenset[bytes] = frozenset()
    partial: tuple[int, int] | None = None
    seen: bool = False


def section(path: tuple[int, ...], what: bytes, names: tuple[bytes, ...], partial: tuple[int, int] | None, *, peek: bool) -> FetchItem:
    """BODY[path.what (names)]<partial>"""
    text = b".".join([b"%d" % number for number in path] + ([what] if what else []))
    if names:
        text += b" (%b)" % b" ".join(name if _ATOM(name) else string(name) for name in names)
    label = b"BODY[%b]" % text + (b"<%d>" % partial[0] if partial else b"")
    return FetchItem("SECTION", label, path, what, frozenset(name.lower() for name in names), partial, not peek)


SIMPLE: dict[bytes, FetchItem] = {name: FetchItem(name.decode(), name) for name in (
    b"FLAGS", b"UID", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY", b"BODYSTRUCTURE", b"MODSEQ", b"SAVEDATE", b"EMAILID",
    b"THREADID", b"PREVIEW")}
LAZY_PREVIEW = FetchItem("LAZY PREVIEW", b"PREVIEW")
SIMPLE |= {
    b"RFC822": FetchItem("SECTION", b"RFC822", seen=True),
    b"RFC822.HEADER": FetchItem("SECTION", b"RFC822.HEADER", what=b"HEADER"),
    b"RFC822.TEXT": FetchItem("SECTION", b"RFC822.TEXT", what=b"TEXT", seen=True),
    b"RFC822.PEEK": FetchItem("SECTION", b"RFC822"),                    # RFC 1730 §6.4.5; Outlook asks so to this day
    b"RFC822.TEXT.PEEK": FetchItem("SECTION", b"RFC822.TEXT", what=b"TEXT"),
}
_FAST = (SIMPLE[b"FLAGS"], SIMPLE[b"INTERNALDATE"], SIMPLE[b"RFC822.SIZE"])
MACROS: dict[bytes, tuple[FetchItem, ...]] = {
    b"FAST": _FAST, b"ALL": (*_FAST, SIMPLE[b"ENVELOPE"]), b"FULL": (*_FAST, SIMPLE[b"ENVELOPE"], SIMPLE[b"BODY"])}


Asked = tuple[tuple[FetchItem, ...], int | None, bool, Partial | None]


def read(args: Args) -> Asked:
    """("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")") [SP "(" modifier *(SP modifier) ")"]
    ->  (items, changed since, whether to tell what vanished, which part of the set)      RFC 7162, RFC 9394 §3.3"""
    rest = bytes(args.raw[args.at:])
    if b"{" in rest or b"CHANGEDSINCE" in rest.upper() or len(rest) > 1000:
        return _asked(args)
    args.at = len(args.raw)
    return _cached_items(rest)


@lru_cache(256)
def _cached_items(rest: bytes) -> Asked:
    """Clients ask the same thing again and again."""
    args = Args(rest, 0)
    asked = _asked(args)
    args.end()
    return asked


def _asked(args: Args) -> Asked:
    items = _items(args)
    if not args.more():
        return items, None, False, None
    args.space()
    since, vanished, part = _modifiers(args)
    if since is not None and SIMPLE[b"MODSEQ"] not in items:
        items += (SIMPLE[b"MODSEQ"],)
    return items, since, vanished, part


def _modifiers(args: Args) -> tuple[int | None, bool, Partial | None]:
    """fetch-modifier = "CHANGEDSINCE" SP modseq / "VANISHED" / "PARTIAL" SP partial-range, each once, in any order"""
    found: dict[bytes, Any] = {}

    def one() -> None:
        word = args.atom().upper()
        if word not in (b"CHANGEDSINCE", b"VANISHED", b"PARTIAL") or word in found:
            raise Bad("no such modifier")
        if word != b"VANISHED":
            args.space()
        found[word] = True if word == b"VANISHED" else partial(args) if word == b"PARTIAL" else args.number64()
    if not args.list(one) or b"VANISHED" in found and b"CHANGEDSINCE" not in found:
        raise Bad("no such modifier")
    return found.get(b"CHANGEDSINCE"), b"VANISHED" in found, found.get(b"PARTIAL")


def atts(args: Args) -> tuple[FetchItem, ...]:
    """ "(" fetch-att *(SP fetch-att) ")" """
    items = tuple(args.list(lambda: item(args)))
    if not items:
        raise Bad("an item expected")
    return items


def _items(args: Args) -> tuple[FetchItem, ...]:
    if args.peek() == 40:
        return atts(args)
    word = _WORD(args.raw, args.at)
    if word and bytes(word[0]).upper() in MACROS:
        args.at = word.end()
        return MACROS[bytes(word[0]).upper()]
    return (item(args),)


def item(args: Args) -> FetchItem:
    """fetch-att = "ENVELOPE" / ... / "BODY" ["STRUCTURE"] / "BODY" [".PEEK"] section ["<" number "." nz-number ">"]"""
    word = bytes(args.take(_WORD, "an item")[0]).upper()
    if args.peek() != 91:
        if word not in SIMPLE:
            raise Bad(f"no such item as {word.decode()[:40]}")
        if word == b"PREVIEW" and (lazy := _LAZY(args.raw, args.at)):
            args.at = lazy.end()
            return LAZY_PREVIEW
        return SIMPLE[word]
    if word in (b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE"):
        return _binary(args, word)
    if word not in (b"BODY", b"BODY.PEEK"):
        raise Bad("no such section")
    found = args.take(_SECTION, "a section")
    path = tuple(map(int, found[1].split(b"."))) if found[1] else ()
    what = bytes(found[2]).upper()
    names: tuple[bytes, ...] = ()
    if what in (b"HEADER.FIELDS", b"HEADER.FIELDS.NOT"):
        args.space()
        names = tuple(args.list(args.astring))
        if not names:
            raise Bad("a field name expected")
    elif what not in (b"", b"HEADER", b"TEXT", b"MIME") or (what == b"MIME" and not path) or (what and found[0].endswith(b".")):
        raise Bad("no such section")
    if found[1] and what and bytes(args.raw[found.end(1):found.end(1) + 1]) != b".":
        raise Bad("no such section")
    args.need(b"]")
    return section(path, what, names, _partial(args), peek=word == b"BODY.PEEK")


def _partial(args: Args) -> tuple[int, int] | None:
    if args.peek() != 60:
        return None
    octets = args.take(_PARTIAL, "an octet range")
    if not int(octets[2]):
        raise Bad("a number from 1 expected")
    return int(octets[1]), int(octets[2])


def _binary(args: Args, word: bytes) -> FetchItem:
    """"BINARY" [".PEEK"] "[" [section-part] "]" ["<" number "." nz-number ">"] / "BINARY.SIZE" "[" [section-part] "]"     RFC 3516 §7"""
    numbers = bytes(args.take(_PART, "a part")[1])
    path = tuple(map(int, numbers.split(b"."))) if numbers else ()
    if word == b"BINARY.SIZE":
        return FetchItem("BINARY.SIZE", b"BINARY.SIZE[%b]" % numbers, path)
    partial = _partial(args)
    label = b"BINARY[%b]" % numbers + (b"<%d>" % partial[0] if partial else b"")
    return FetchItem("BINARY", label, path, partial=partial, seen=word == b"BINARY")
