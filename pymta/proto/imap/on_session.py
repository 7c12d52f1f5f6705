"""on_session: the commands that are about the session itself.                                 RFC 3501 §6.1, RFC 2177, RFC 2342, RFC 2971"""
from __future__ import annotations

from typing import TYPE_CHECKING

from pymta.message.structure import string
from pymta.proto.imap import capability as table
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.wants import Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

def capabilities(session: Session) -> bytes:
    """All that is announced to this user and this client."""
    return table.announced(session.off, append_octets=session.setting.limits.append_octets)


def capability(session: Session, command: Command) -> Running:
    yield b"* CAPABILITY %b\r\n" % capabilities(session)
    return b"OK Done"


def noop(session: Session, command: Command) -> Running:
    """NOOP and CHECK: look at the disk, then everything new is told with the reply."""
    if session.view is not None:
        yield Job(session.view.folder.sync)
    return b"OK Done"


def logout(session: Session, command: Command) -> Running:
    session.leave()
    yield b"* BYE Goodbye\r\n"
    session.end()
    return b"OK Done"


def id_(session: Session, command: Command) -> Running:
    session.identify(command.args[0])
    yield b'* ID ("name" "pymta")\r\n'
    return b"OK Done"


def enable(session: Session, command: Command) -> Running:
    """RFC 5161, RFC 7162 §3.2.3: QRESYNC is CONDSTORE and more."""
    enabled = table.enabled(command.args[0], session.off)
    yield b"* ENABLED%b\r\n" % b"".join([b" " + name for name in enabled])
    if b"UIDONLY" in enabled:
        session.enable_uid_only()
    if b"IMAP4rev2" in enabled:
        session.enable_rev2()
    if b"UTF8=ACCEPT" in enabled:
        session.enable_utf8()
    if b"CONDSTORE" in enabled or b"QRESYNC" in enabled:
        first = not session.condstore
        session.enable_condstore(qresync=b"QRESYNC" in enabled)
        view = session.view
        if first and view is not None:
            highest = yield Job(lambda: view.folder.highestmodseq)
            yield b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % highest
    return b"OK Done"


def compress(session: Session, command: Command) -> Running:
    """RFC 4978: what follows the reply is compressed, both ways; the session sees to that."""
    if session.is_compressed:
        return b"NO [COMPRESSIONACTIVE] We do already"
    yield b""
    return b"OK Compressing"


def namespace(session: Session, command: Command) -> Running:
    others, shared = [b'((%b "."))' % string(prefix.encode()) if prefix else b"NIL" for prefix in session.store.prefixes]
    yield b'* NAMESPACE (("" ".")) %b %b\r\n' % (others, shared)
    return b"OK Done"


def idle(session: Session, command: Command) -> Running:
    if session.view is not None:
        yield Job(session.view.folder.sync)
    yield b"+ idling\r\n"
    session.idle(command.tag)
    session.poke()
    return b""
