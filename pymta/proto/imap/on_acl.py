"""on_acl: who may do what with a mailbox: SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS.        RFC 4314, RFC 8440

The letters c and d of RFC 2086 are heard as kx and te, and told besides where one of these is (RFC 4314 §2.1.1).
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymta.message.structure import string
from pymta.proto.imap.aclargs import OLD, RIGHTS
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.response import mailbox
from pymta.proto.imap.wants import Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session


def get(session: Session, command: Command) -> Running:
    name, = command.args
    entries = yield Job(lambda: session.store.acl(name))
    yield b"* ACL %b%b\r\n" % (mailbox(name, session.utf8), b"".join(
        [b" %b %b" % (_text(identifier_of(entry)), _letters(entry.rights)) for entry in entries]))
    return b"OK Done"


def set_(session: Session, command: Command) -> Running:
    name, who, sign, letters = command.args
    yield Job(lambda: session.store.set_acl(name, _who(who), sign, letters))
    return b"OK Done"


def list_(session: Session, command: Command) -> Running:
    """What is always there, then each right by itself: none is tied to another."""
    name, who = command.args
    always = yield Job(lambda: session.store.has_always(name, _who(who).removeprefix("-")))
    others = b"".join([b" " + letter.encode() for letter in RIGHTS if letter not in always])
    yield b"* LISTRIGHTS %b %b %b%b\r\n" % (mailbox(name, session.utf8), _text(who), string(always.encode()), others)
    return b"OK Done"


def my(session: Session, command: Command) -> Running:
    name, = command.args
    yield (yield from my_line(session, name))
    return b"OK Done"


def my_line(session: Session, name: str) -> Running:
    mine = yield Job(lambda: session.store.my_rights(name))
    return b"* MYRIGHTS %b %b\r\n" % (mailbox(name, session.utf8), _letters(mine))


def identifier_of(entry: Any) -> str:
    """As clients know it: a user by the bare name."""
    kind, _, who = entry.identifier.partition("=")
    name = {"user": who, "group": "$" + who, "group-override": "!$" + who}.get(kind, entry.identifier)
    return "-" + name if entry.negative else name


def _who(who: str) -> str:
    return who.lower() if who.lower().removeprefix("-") in ("anyone", "authenticated", "owner") else who


def _letters(rights: str) -> bytes:
    old = "".join(letter for letter, stands_for in OLD.items() if set(rights) & set(stands_for))
    return string((rights + old).encode("ascii"))


def _text(text: str) -> bytes:
    return string(text.encode("utf-8", "surrogateescape"))
