"""view: what a server says of a Maildir to its clients, and where two servers differ."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pymta.drop import open_drop
from pymta.mailbox import MailStore
from pymta.upkeep.finding import FAULT, NOTE, WARNING, printable

_SHOWN = 5


class Mail(NamedTuple):
    """size: octets with CRLF; date: the internal date in seconds since 1970."""

    flags: frozenset[str]
    size: int
    date: int


@dataclass
class Box:
    """mails: by UID.  modseq: HIGHESTMODSEQ, 0 where the server has none."""

    uidvalidity: int
    uidnext: int
    messages: int
    unseen: int
    mails: dict[int, Mail] = field(default_factory=dict)
    modseq: int = 0


@dataclass
class View:
    """boxes: by name, without the prefix a server may put before it; drop: (UIDL, size) of what POP3 shows, None if it was not asked."""

    boxes: dict[str, Box] = field(default_factory=dict)
    subscribed: list[str] = field(default_factory=list)
    drop: list[tuple[bytes, int]] | None = None


class Difference(NamedTuple):
    grade: str
    where: str
    why: str

    def __str__(self) -> str:
        return f"{printable(self.where)}: " + ("" if self.grade == FAULT else f"{self.grade}: ") + printable(self.why)


def ours(maildir: str) -> View:
    """What we say.  Raises OSError, TimeoutError."""
    store, view = MailStore(maildir), View()
    for name in store.list():
        folder = store.open(name)
        try:
            mails = {message.uid: Mail(message.flags, message.vsize, int(message.internaldate)) for message in folder.messages}
            status = store.status(name)
            view.boxes[name] = Box(folder.uidvalidity, folder.uidnext, status.messages, status.unseen, mails, folder.highestmodseq)
        finally:
            store.close(folder)
    view.subscribed = store.subscriptions()
    drop = open_drop(maildir)
    try:
        view.drop = list(zip(drop.uids, drop.sizes))
    finally:
        drop.close()
    return view


def differences(before: View, after: View) -> Iterator[Difference]:
    """What clients would notice who go from one server to the other, the worst first in each mailbox."""
    for name in before.boxes.keys() - after.boxes.keys():
        yield Difference(FAULT, name, "is not there any more")
    for name in after.boxes.keys() - before.boxes.keys():
        yield Difference(WARNING, name, "was not there before")
    for name in sorted(before.boxes.keys() & after.boxes.keys()):
        yield from (Difference(grade, name, why) for grade, why in _box(before.boxes[name], after.boxes[name]))
    for name in sorted(set(before.subscribed) - set(after.subscribed)):
        yield Difference(FAULT, name, "is not subscribed any more")
    for name in sorted(set(after.subscribed) - set(before.subscribed)):
        yield Difference(WARNING, name, "was not subscribed before")
    if before.drop is not None and after.drop is not None:
        yield from (Difference(grade, "POP3", why) for grade, why in _drop(before.drop, after.drop))


def _box(before: Box, after: Box) -> Iterator[tuple[str, str]]:
    if before.uidvalidity != after.uidvalidity:
        yield FAULT, f"UIDVALIDITY was {before.uidvalidity} and is {after.uidvalidity}: every message is fetched again"
        return
    if after.uidnext < before.uidnext:
        yield FAULT, f"UIDNEXT falls from {before.uidnext} to {after.uidnext}: a UID could be given twice"
    for what, fewer, more in (("not there any more", before, after), ("new", after, before)):
        if uids := sorted(fewer.mails.keys() - more.mails.keys()):
            yield FAULT, f"{_uids(uids)} {what}"
    both = sorted(before.mails.keys() & after.mails.keys())
    for what, grade, of in (("another date", FAULT, _date), ("other flags", FAULT, _flags), ("another size", WARNING, _size)):
        if uids := [uid for uid in both if of(before.mails[uid]) != of(after.mails[uid])]:
            one = uids[0]
            yield grade, f"{what}: {_uids(uids)}; {one}: {_said(of(before.mails[one]))}, then {_said(of(after.mails[one]))}"
    for what, was, now in (("messages", before.messages, after.messages), ("unseen", before.unseen, after.unseen)):
        if was != now:
            yield FAULT, f"STATUS: {was} {what}, then {now}"
    if before.modseq > after.modseq > 0:
        yield FAULT, f"HIGHESTMODSEQ falls from {before.modseq} to {after.modseq}: changes of flags could be missed"
    elif before.modseq and not after.modseq:
        yield NOTE, "no CONDSTORE: clients compare all flags at each visit"


def _date(mail: Mail) -> int:
    return mail.date


def _flags(mail: Mail) -> frozenset[str]:
    """Keywords have no case."""
    return frozenset(flag.lower() for flag in mail.flags)


def _size(mail: Mail) -> int:
    return mail.size


def _said(value: object) -> str:
    return "(" + " ".join(sorted(value)) + ")" if isinstance(value, frozenset) else str(value)


def _uids(uids: list[int]) -> str:
    return "UID " + ", ".join(map(str, uids[:_SHOWN])) + (f" and {len(uids) - _SHOWN} more" if len(uids) > _SHOWN else "")


def _drop(before: list[tuple[bytes, int]], after: list[tuple[bytes, int]]) -> Iterator[tuple[str, str]]:
    was, now = dict(before), dict(after)
    gone = [uidl for uidl, _ in before if uidl not in now]
    if gone:
        which = ", ".join(uidl.decode("latin-1") for uidl in gone[:_SHOWN])
        yield FAULT, f"{len(gone)} of {len(before)} UIDLs are others: these messages are fetched again ({which}{', ...' if gone[_SHOWN:] else ''})"
    elif len(after) != len(before):
        yield FAULT, f"{len(before)} messages, then {len(after)}"
    elif [uidl for uidl, _ in before] != [uidl for uidl, _ in after]:
        yield WARNING, "the messages stand in another order"
    if sizes := [uidl for uidl, size in before if now.get(uidl, size) != was[uidl]]:
        one = sizes[0]
        yield WARNING, f"another size: {len(sizes)} messages; {one.decode('latin-1')}: {was[one]}, then {now[one]}"
