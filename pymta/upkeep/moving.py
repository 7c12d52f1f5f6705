"""moving: from one server to another, first on copies: what both would say is compared before anything is done to the Maildir itself."""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pymta.upkeep import adopt, leave, servers
from pymta.upkeep.copying import copied
from pymta.upkeep.view import Difference, View, differences, ours


@dataclass(frozen=True)
class Compared:
    """server: who was asked, "" where it is not installed; differences: what clients would notice; before: what was said first."""

    server: str
    differences: list[Difference]
    boxes: int = 0
    messages: int = 0
    drop: int = 0


def compare_adopt(root: bytes, server: servers.Dovecot | servers.Courier | None, other: str, uidl_format: str) -> tuple[Compared, View | None]:
    """What the other server says, and what we would say having taken over.  Raises OSError."""
    theirs = None
    if server is not None:
        with copied(root, "theirs") as copy:
            theirs = server.view(copy)
    with copied(root, "ours") as copy:
        for _ in taking(os.fsencode(copy), other, uidl_format, theirs):
            pass
        after = ours(copy)
    return _compared(server, theirs, after), theirs


def taking(root: bytes, other: str, uidl_format: str, theirs: View | None) -> Iterator[str]:
    return adopt.from_courier(root) if other == "courier" else adopt.from_dovecot(root, uidl_format, theirs)


def compare_leave(root: bytes, server: servers.Dovecot | servers.Courier | None, other: str, utf7: bool) -> Compared:
    """What we say, and what the other server would say after us.  Raises OSError."""
    with copied(root, "ours") as copy:
        before = ours(copy)
    with copied(root, "theirs") as copy:
        for _ in giving(copy, other, server, utf7):
            pass
        after = server.view(copy) if server is not None else None
    if after is not None and server is not None and server.name == "Dovecot":
        for name, box in after.boxes.items():           # that is what the line about doveadm is for
            box.modseq = max(box.modseq, before.boxes[name].modseq if name in before.boxes else 0)
    return _compared(server, before if after else None, after or before)


def giving(maildir: str, other: str, server: servers.Dovecot | servers.Courier | None, utf7: bool) -> Iterator[str]:
    if other == "courier":
        return leave.to_courier(maildir, utf7=utf7)
    return leave.to_dovecot(maildir, server if isinstance(server, servers.Dovecot) else None)


def _compared(server: servers.Dovecot | servers.Courier | None, before: View | None, after: View) -> Compared:
    if server is None or before is None:
        return Compared("", [])
    return Compared(server.name, list(differences(before, after)), len(before.boxes), sum(len(box.mails) for box in before.boxes.values()),
                    len(before.drop or ()))
