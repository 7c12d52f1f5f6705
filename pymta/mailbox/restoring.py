"""restoring: what was expunged comes back from limbo, as new messages.

A client that saw a UID vanish must never see it again, so a message comes back under a name of its own and gets the next UID.  Its
flags (\\Deleted aside), keywords, internal date and EMAILID are the old ones.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pymta import durable
from pymta.formats import maildir, maildirsize, uidlist
from pymta.mailbox.acting import locked, path_of
from pymta.mailbox.looking import settle_locked
from pymta.mailbox.message import LIMBO, Changes
from pymta.mailbox.scanner import CUR, NEW, Place

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder


class Expunged(NamedTuple):
    """name: in limbo; when: it was expunged (or the message was moved on), seconds since 1970; size: octets on disk."""

    name: bytes
    when: float
    size: int
    inode: tuple[int, int]
    links: int


def expunged(directory: bytes) -> Iterator[Expunged]:
    """What waits in the limbo of a mailbox directory."""
    try:
        with os.scandir(os.path.join(directory, LIMBO)) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry.is_file(follow_symlinks=False):
                    yield Expunged(entry.name, status.st_ctime, status.st_size, (status.st_dev, status.st_ino), status.st_nlink)
    except FileNotFoundError:
        pass


def restore(folder: Folder, names: Iterable[bytes], by: object = None) -> list[tuple[bytes, int]]:
    """Bring back what has these names in limbo, in this order: [(name, new UID)]; what is not there any more is passed over.  Durable on
    return; at every moment a message is in limbo or back."""
    with locked(folder):
        listed, changes = folder.uidlist.list, Changes(by=by)
        assert listed is not None
        limbo = os.path.join(folder.directory, LIMBO)
        made: list[tuple[bytes, bytes, Place]] = []
        keys: dict[bytes, bytes] = {}
        octets = 0
        for name in names:
            old = maildir.base_of(name)
            words = listed.keys.get(listed.uids.get(old, 0), b"")
            try:
                size = os.stat(os.path.join(limbo, name)).st_size
                base = maildir.new_base(size, maildir.vsize_of(old), maildir.emailid_of(old))
                letters = maildir.sorted_letters(set(maildir.letters_of(name)) - {ord("T")})
                place = (CUR, b":2,%s" % letters) if letters else (NEW, b"")
                durable.rename(os.path.join(limbo, name), path_of(folder, base, place))
            except FileNotFoundError:
                continue
            if overflow := uidlist.key_of(words, b"K"):
                keys[base] = uidlist.with_key(b"", b"K", overflow)
            made.append((name, base, place))
            octets += size
        if not made:
            return []
        for _, base, place in made:
            folder.scanner.added(base, place)
        settle_locked(folder, changes, [base for _, base, _ in made], keys)
        folder.uidlist.sync()
        durable.sync_dirs([*folder.scanner.paths.values(), limbo])
        if maildirsize.is_kept(folder.root):
            maildirsize.add(folder.root, octets, len(made))
        folder.finish(changes)
        uids = {message.base: message.uid for message in changes.arrived}
        return [(name, uids[base]) for name, base, _ in made]
