"""undelete: what was expunged within the last hours, and the way back."""
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from pymta.formats import changes, maildir
from pymta.mailbox import Doer, MailStore
from pymta.mailbox.message import LIMBO
from pymta.mailbox.restoring import Expunged, expunged, restore
from pymta.message import decode, header
from pymta.upkeep.looked import entries, mailboxes

_HEADER_OCTETS = 1 << 16


class Lost(NamedTuple):
    """One message that can be brought back."""

    mailbox: str
    directory: bytes
    expunged: Expunged

    def header(self, name: bytes) -> str:
        """A field of its header, decoded; "" where it has none or is gone."""
        try:
            with open(os.path.join(self.directory, LIMBO, self.expunged.name), "rb") as file:
                value = header.get(header.split(file.read(_HEADER_OCTETS))[0], name)
                return decode.header(value or b"")
        except OSError:
            return ""


def find(root: bytes, mailbox: str | None, since: float) -> list[Lost]:
    """What was expunged since then, oldest first, in one mailbox or all.  Raises OSError.

    What was moved lies in limbo too, as a second name of a file that stands in another mailbox: it is not lost."""
    boxes = [(name, path) for name, path in mailboxes(root) if mailbox is None or name == mailbox]
    lost = [Lost(name, path, one) for name, path in boxes for one in expunged(path) if one.when >= since]
    if any(one.expunged.links > 1 for one in lost):
        standing = set(_standing(root))
        lost = [one for one in lost if one.expunged.inode not in standing]
        # a message that was moved and then expunged has a name in two limbos: the younger name is where it was last
        last = {one.expunged.inode: one for one in sorted(lost, key=lambda one: maildir.order_of(one.expunged.name))}
        lost = list(last.values())
    return sorted(lost, key=lambda one: (one.expunged.when, one.expunged.name))


def _standing(root: bytes) -> Iterator[tuple[int, int]]:
    for _, directory in mailboxes(root):
        for place in (b"new", b"cur"):
            for _, _, status in entries(os.path.join(directory, place)):
                if status.st_nlink > 1:
                    yield status.st_dev, status.st_ino


def bring_back(root: bytes, lost: list[Lost]) -> list[tuple[Lost, int]]:
    """[(message, new UID)] of all that was still there.  Raises OSError, TimeoutError."""
    store, done = MailStore(root), []
    for mailbox in dict.fromkeys(one.mailbox for one in lost):
        theirs = {one.expunged.name: one for one in lost if one.mailbox == mailbox}
        folder = store.open(mailbox)
        try:
            done += [(theirs[name], uid) for name, uid in restore(folder, theirs, Doer(changes.who("pymta-maildir")))]
        finally:
            store.close(folder)
    return done
