"""on_append: APPEND and REPLACE.                              RFC 3501 §6.3.11, RFC 3502, RFC 3516 §4.4, RFC 4315 §3, RFC 4469, RFC 8508"""
from __future__ import annotations

from typing import TYPE_CHECKING

from pymta.message import transfer
from pymta.proto.imap import catenate
from pymta.proto.imap.appendargs import NewMessage
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.on_messages import chosen, removed, writable
from pymta.proto.imap.response import uid_set
from pymta.proto.imap.wants import Job, Refusal, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

ToStore = tuple[bytes, tuple[str, ...], float | None]   # what Folder.append_all takes


def append(session: Session, command: Command) -> Running:
    """One message or several: all of them, or none."""
    name, messages = command.args

    def append() -> tuple[int, list[int]]:
        found: list[ToStore] = []
        room = session.setting.limits.append_octets     # for all of them: they are held until all are there
        for message in messages:
            found.append(to_store(session, message, room))
            room -= len(found[-1][0])
        folder = session.store.open(name, "i")
        try:
            session.store.need_room(name, sum(len(text) for text, _, _ in found))
            return folder.uidvalidity, folder.append_all(found, session)
        finally:
            session.store.close(folder)
    try:
        uidvalidity, uids = yield Job(append)
    except LookupError:
        return b"NO [TRYCREATE] No such mailbox"
    return b"OK [APPENDUID %d %b] Stored" % (uidvalidity, uid_set(uids))


def replace(session: Session, command: Command) -> Running:
    """The new message is told of before the old one goes: its EXISTS stands before the EXPUNGE."""
    view = writable(session)
    _, name, message = command.args
    uids = [view.messages[position].uid for position in chosen(session, view, command)]
    if not uids:
        return b"NO No such message"

    def replace() -> tuple[int, int]:
        found = to_store(session, message, session.setting.limits.append_octets)
        try:
            target = session.store.open(name, "i")
        except LookupError:
            raise Refusal(b"NO [TRYCREATE] No such mailbox") from None
        try:
            old = view.folder.get(uids[0])
            session.store.need_room(name, len(found[0]), freed=old.size if old else 0, of=view.name)
            return target.uidvalidity, view.folder.replace(uids[0], target, found, session)
        finally:
            session.store.close(target)
    uidvalidity, uid = yield Job(replace)
    session.setting.expunged(view.name, 1)
    yield b"* OK [APPENDUID %d %d] Stored\r\n" % (uidvalidity, uid)
    yield view.announce(expunge=False)
    return (yield from removed(session, view, b"Replaced"))


def to_store(session: Session, message: NewMessage, room: int) -> ToStore:
    """A message as the store takes it, with LF.  room: octets it may have.  Raises Refusal, and what stores raise."""
    text = catenate.text(session, message.pieces, room)
    if not text:
        raise Refusal(b"NO An empty message is not stored, nor what came with it")
    if message.is_binary:
        try:
            text = transfer.without_binary(text)
        except transfer.UnknownEncoding:
            raise Refusal(b"NO [UNKNOWN-CTE] There is a NUL outside of the parts that are binary") from None
    return text.replace(b"\r\n", b"\n"), message.flags, message.when
