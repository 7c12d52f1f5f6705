"""looking: what is on the disk, brought into a folder's contents.

The rules that keep every process's answers the same:

- A UID is on disk (fdatasync) before anybody is told it.
- After reading new entries from the uidlist the directories are looked at again: whoever wrote them had seen the files, so
  now we see them too, and messages come to all processes in the order of their UIDs.
- A UID at or below one that was spoken of never comes (back): such a file gets a new one.
- New files get their UIDs under the lock of Dovecot, in the order of their names' times.
"""
from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pymta import log
from pymta.formats import maildir, uidlist
from pymta.formats.uidvalidity import next_uidvalidity
from pymta.mailbox.message import Changes
from pymta.mailbox.scanner import Vanished

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder


def look(folder: Folder, changes: Changes) -> None:
    """Files and uidlist as they are now; files without a UID are in contents.unknown afterwards."""
    if folder.contents.built:
        return _look_on(folder, changes)
    with _no_collecting():
        _look_on(folder, changes)


def _look_on(folder: Folder, changes: Changes) -> None:
    touched = folder.scanner.look()
    state = folder.uidlist.refresh()
    if state != "same":
        touched |= folder.scanner.look()                # who wrote the entries had seen the files
        if folder.uidlist.list and not folder.lock.held and folder.lock.taken:
            folder.uidlist.sync()                       # whoever writes may not have come to that yet, and we are going to tell
    if folder.letters.refresh():
        folder.contents.keywords_changed(changes)
    if state == "other":
        _check_identity(folder)
        if folder.vanished:
            return
        folder.contents.check_uids(changes)
    if not folder.contents.built:
        folder.contents.build()
    else:
        folder.contents.apply(touched, changes)
    if state != "same" and folder.contents.unknown:
        folder.contents.take_known(changes)


def _check_identity(folder: Folder) -> None:
    assert folder.uidlist.list is not None
    if folder.uidvalidity and folder.uidlist.list.uidvalidity != folder.uidvalidity:
        folder.vanished = True
    folder.uidvalidity = folder.uidvalidity or folder.uidlist.list.uidvalidity
    for number, reason in folder.uidlist.list.complaints[:5]:
        log.event("trouble", file=folder.uidlist.path, line=number, why=reason)


def settle(folder: Folder, changes: Changes) -> None:
    folder.contents.take_known(changes)
    if not folder.contents.unknown and folder.uidlist.list:
        return
    try:
        with folder.lock, _no_collecting():
            look(folder, changes)
            settle_locked(folder, changes)
    except Vanished:
        raise
    except OSError as error:
        if folder.uidlist.list is None:
            raise
        log.event("trouble", mailbox=folder.directory, why=f"cannot give UIDs to {len(folder.contents.unknown)} messages: {error}")


def settle_locked(folder: Folder, changes: Changes, ours: Sequence[bytes] = (), keys: dict[bytes, bytes] | None = None) -> None:
    """Under the lock, after look: UIDs for what has none, in the order of time, then for ours (then the caller syncs)."""
    if folder.uidlist.list is None:
        _make_uidlist(folder)
    folder.contents.take_known(changes)
    bases = maildir.in_order([base for base in folder.contents.unknown.difference(ours) if b"\n" not in base])   # a uidlist cannot hold that
    if bases or ours:
        given = folder.uidlist.append([*bases, *ours], keys, sync=not ours)
        folder.contents.arrive([(uid, base) for base, uid in given.items()], changes)


def _make_uidlist(folder: Folder) -> None:
    why = folder.uidlist.why_unreadable()
    if why:
        log.event("trouble", file=folder.uidlist.path, why=why, remedy="a new UIDVALIDITY; clients fetch again")
    made = None if why else folder.uidlist.adopt_courier()
    folder.uidlist.list = made or uidlist.Uidlist(next_uidvalidity(folder.root))
    folder.uidlist.list.more += folder.changelog.first_ceiling()
    folder.uidlist.rewrite()
    _check_identity(folder)


@contextmanager
def _no_collecting() -> Iterator[None]:
    """While a folder is read: nothing of it is garbage, and looking for it takes half as long again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
