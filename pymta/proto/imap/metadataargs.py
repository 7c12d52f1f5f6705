"""metadataargs: the arguments of GETMETADATA and SETMETADATA.                                    RFC 5464 §5"""
from __future__ import annotations

from pymta.proto.imap.args import Args, Bad

NAME_MAX_OCTETS = 255


def get(args: Args) -> tuple:
    """[SP "(" options ")"] SP mailbox [SP "(" options ")"] SP entries  ->  (name, entries, biggest value or None, depth)

    The grammar has the options before the mailbox, the examples of §4.2.1 behind it; both are taken.  depth: 0, 1, or -1 for infinity.
    """
    args.space()
    options: tuple[int | None, int] = (None, 0)
    if args.peek() == 40:
        options = _options(args)
        args.space()
    name = args.mailbox()
    args.space()
    if args.peek() == 40 and args.raw[args.at + 1:args.at + 2] not in (b"/", b'"', b"{"):
        options = _options(args)
        args.space()
    return name, entries(args), *options


def _options(args: Args) -> tuple[int | None, int]:
    biggest: list[int | None] = [None]
    depth = [0]

    def one() -> None:
        word = args.atom().upper()
        args.space()
        if word == b"MAXSIZE":
            biggest[0] = args.number()
        elif word == b"DEPTH":
            text = args.atom().upper()
            if text not in _DEPTHS:
                raise Bad("0, 1 or infinity expected")
            depth[0] = _DEPTHS[text]
        else:
            raise Bad("no such option")
    args.list(one)
    return biggest[0], depth[0]


_DEPTHS = {b"0": 0, b"1": 1, b"INFINITY": -1}


def entries(args: Args) -> tuple[str, ...]:
    """entry / "(" entry *(SP entry) ")"  ->  as they were written"""
    found = args.list(lambda: _entry(args)) if args.peek() == 40 else [_entry(args)]
    if not found:
        raise Bad("an entry expected")
    return tuple(found)


def set_(args: Args) -> tuple:
    """SP mailbox SP "(" entry SP value *(SP entry SP value) ")"  ->  (name, {entry: value or None to remove it})"""
    args.space()
    name = args.mailbox()
    args.space()
    found: dict[str, bytes | None] = {}

    def one() -> None:
        entry = _entry(args).lower()
        args.space()
        args.mark(b"~")                                 # a literal8: RFC 5464 §5
        found[entry] = args.nstring()
    args.list(one)
    if not found:
        raise Bad("an entry expected")
    return name, found


def _entry(args: Args) -> str:
    """A name of §3.2: slashes part its levels, none is empty, and there are no wildcards."""
    text = args.astring()
    if len(text) > NAME_MAX_OCTETS or not text.isascii():
        raise Bad("no such entry")
    name = text.decode("ascii")
    if not name.startswith("/") or name.endswith("/") or "//" in name or not name.isprintable() or set("*%\\") & set(name):
        raise Bad("no such entry")
    if name.lower().split("/")[1] not in ("private", "shared"):
        raise Bad("an entry begins with /private or /shared")
    return name
