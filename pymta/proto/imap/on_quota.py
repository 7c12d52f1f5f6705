"""on_quota: GETQUOTA, GETQUOTAROOT and SETQUOTA.                                               RFC 9208

There is one quota root, named "", for all mailboxes of a user who has a quota, and none for one who has not.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymta.proto.imap.grammar import Command
from pymta.proto.imap.response import mailbox
from pymta.proto.imap.wants import Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

UNIT_OCTETS = 1024                                      # of STORAGE: RFC 9208 §5.1
_MINE = "INBOX"                                         # in whose quota root the user's own mailboxes are


def get(session: Session, command: Command) -> Running:
    quota = None if command.args[0] else (yield Job(lambda: session.store.quota(_MINE)))
    if quota is None:
        return b"NO [NONEXISTENT] There is no such quota root"
    yield _line(quota)
    return b"OK Done"


def get_root(session: Session, command: Command) -> Running:
    """The mailbox need not exist: RFC 9208 §4.1.2"""
    name = command.args[0]
    quota = yield Job(lambda: session.store.quota(name))
    yield b"* QUOTAROOT %b%b\r\n" % (mailbox(name, session.utf8), b' ""' if quota else b"")
    if quota:
        yield _line(quota)
    return b"OK Done"


def refuse(session: Session, command: Command) -> Running:
    yield b""
    return b"NO [NOPERM] The administrator sets quotas"


def _line(quota: Any) -> bytes:
    """What is held is rounded up: where it is all that may be, nothing more fits."""
    return b'* QUOTA "" (STORAGE %d %d)\r\n' % (-(-quota.octets // UNIT_OCTETS), quota.limit_octets // UNIT_OCTETS)
