"""on_metadata: GETMETADATA and SETMETADATA, and the METADATA of LIST.                          RFC 5464, RFC 9590, RFC 6154 §4

The empty name stands for the server: what is kept there belongs to the user all the same.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generator

from pymta.message.structure import string
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.response import mailbox
from pymta.proto.imap.wants import Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session


def get(session: Session, command: Command) -> Running:
    name, wanted, biggest, depth = command.args
    found = yield from values(session, name, wanted, depth)
    too_big = [len(value) for value in found.values() if value is not None and biggest is not None and len(value) > biggest]
    shown = {entry: value for entry, value in found.items() if biggest is None or value is None or len(value) <= biggest}
    if shown:
        yield line(name, shown, session.utf8)
    return b"OK [METADATA LONGENTRIES %d] Done" % max(too_big) if too_big else b"OK Done"


def values(session: Session, name: str, wanted: tuple[str, ...], depth: int) -> Generator[Any, Any, dict[str, bytes | None]]:
    """What the entries that were asked for say, under the names by which they were asked for; None where there is nothing."""
    there = yield Job(lambda: session.store.annotations(name))
    out: dict[str, bytes | None] = {}
    for asked in wanted:
        lower = asked.lower()
        if lower in there or not depth:
            out[asked] = there.get(lower)
        for entry in sorted(there) if depth else ():
            below = entry.startswith(lower + "/") and (depth < 0 or "/" not in entry[len(lower) + 1:])
            if below and entry not in out:
                out[entry] = there[entry]
    return out


def line(name: str, found: dict[str, bytes | None], utf8: bool) -> bytes:
    pairs = b" ".join([string(entry.encode("ascii")) + b" " + _value(value) for entry, value in found.items()])
    return b"* METADATA %b (%b)\r\n" % (mailbox(name, utf8), pairs)


def _value(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    return b"~{%d}\r\n%b" % (len(value), value) if b"\0" in value else string(value)


def set_(session: Session, command: Command) -> Running:
    name, changes = command.args
    yield Job(lambda: session.store.annotate(name, changes))
    return b"OK Done"
