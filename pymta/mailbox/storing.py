"""storing: new messages into a folder, those of several sessions with the syncs of one.

Each session writes its files into tmp/ and makes them durable, side by side with the others.  Then whoever gets the folder's mutex
takes in what all have ready by then: names, UIDs, one sync of each; who comes to the mutex later finds it done, and only then
answers its client.  A lone message waits for nobody.  When it fails, what was made is taken away again and every one of them has
the error; no UID of it was told.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pymta import durable, log
from pymta.formats import maildir, maildirsize, uidlist
from pymta.mailbox.acting import locked, path_of, vanishing
from pymta.mailbox.flags import letters_for, overflow_value
from pymta.mailbox.looking import settle_locked
from pymta.mailbox.message import Changes
from pymta.mailbox.scanner import CUR, NEW, Place
from pymta.mailbox.tidying import make_room

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

T = TypeVar("T")
New = tuple[bytes, Iterable[str], float | None]         # data with LF, flags, internal date or None for now


class Draft:
    """What one call stores, all or none.  uids: once it is done; error: what was in the way."""

    def __init__(self, messages: Sequence[New], by: object) -> None:
        self.messages = messages
        self.by = by
        self.written: list[tuple[bytes, bytes]] = []    # (base, path in tmp)
        self.uids: list[int] | None = None
        self.error: BaseException | None = None

    def write(self, folder: Folder) -> None:
        """The files in tmp/, durable."""
        try:
            for data, _, internaldate in self.messages:
                base = maildir.new_base(len(data), maildir.vsize_of_data(data))
                path = b"%s/tmp/%s" % (folder.directory, base)
                self.written.append((base, path))
                write(path, data, internaldate)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        undo(path for _, path in self.written)


def append_all(folder: Folder, messages: Sequence[New], by: object = None) -> list[int]:
    """The UIDs of messages that are stored now."""
    with vanishing(folder):
        return with_room(lambda: _append_all(folder, messages, by), folder) if messages else []


def _append_all(folder: Folder, messages: Sequence[New], by: object) -> list[int]:
    draft = Draft(messages, by)
    draft.write(folder)
    folder.drafts.append(draft)
    with folder.mutex:
        if draft.uids is None and draft.error is None:
            drafts = folder.drafts[:]
            del folder.drafts[:len(drafts)]             # others add to this list just now
            take_in(folder, drafts)
    if draft.error:
        raise draft.error
    assert draft.uids is not None
    return draft.uids


def take_in(folder: Folder, drafts: Sequence[Draft]) -> None:
    """Put what they have written in place and give it its UIDs, in this order: durable on return.  Each has its uids or its error then."""
    made: list[tuple[bytes, Place]] = []
    try:
        with locked(folder):
            keys: dict[bytes, bytes] = {}
            try:
                for draft in drafts:
                    made += _placed(folder, draft, keys)
            except BaseException:
                undo(path_of(folder, base, place) for base, place in made)
                raise
            uids = publish(folder, made, keys, Changes(by=drafts[0].by if len(drafts) == 1 else None))
            if maildirsize.is_kept(folder.root):
                maildirsize.add(folder.root, sum([len(data) for draft in drafts for data, _, _ in draft.messages]), len(made))
    except BaseException as error:
        for draft in drafts:
            draft.error = error
            draft.discard()
        return
    for draft in drafts:
        draft.uids, uids = uids[:len(draft.messages)], uids[len(draft.messages):]


def _placed(folder: Folder, draft: Draft, keys: dict[bytes, bytes]) -> list[tuple[bytes, Place]]:
    """The files of a draft out of tmp/; what has no letter goes into keys."""
    made: list[tuple[bytes, Place]] = []
    try:
        for (base, path), (_, flags, _) in zip(draft.written, draft.messages):
            letters, overflow = letters_for(folder, flags, make=True)
            if overflow:
                keys[base] = uidlist.with_key(b"", b"K", overflow_value(overflow))
            place = place_for(letters)
            durable.rename(path, path_of(folder, base, place))
            made.append((base, place))
    except BaseException:
        undo(path_of(folder, base, place) for base, place in made)
        raise
    return made


def with_room(act: Callable[[], T], *folders: Folder) -> T:
    """act; when the disk is full, once more after what waits in limbo has been removed."""
    try:
        return act()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not any([make_room(folder) for folder in folders]):
            raise
        log.event("tidy", mailbox=folders[0].directory, why="the disk is full: limbo was emptied")
        return act()


def publish(folder: Folder, made: list[tuple[bytes, Place]], keys: dict[bytes, bytes],
             changes: Changes) -> list[int]:
    """UIDs for files that have just been put in place: names durable, UIDs durable.  On an error nothing of it stays.

    Both syncs come after both writes: most file systems put them on disk as one then."""
    try:
        for base, place in made:
            folder.scanner.added(base, place)
        settle_locked(folder, changes, [base for base, _ in made], keys)
        folder.uidlist.sync()
        durable.sync_dirs(os.path.dirname(path_of(folder, base, place)) for base, place in made)
    except BaseException:
        folder.contents.drop([message for message in changes.arrived if message.base in {base for base, _ in made}], Changes())
        for base, place in made:
            folder.scanner.renamed(base, place, None)
        undo(path_of(folder, base, place) for base, place in made)
        raise
    folder.finish(changes)
    uids = {message.base: message.uid for message in changes.arrived}
    return [uids[base] for base, _ in made]


def place_for(letters: set[int]) -> Place:
    """Where a new message goes: one without flags to new/ (it is \\Recent to somebody then), as Dovecot does."""
    return (CUR, b":2,%s" % maildir.sorted_letters(letters)) if letters else (NEW, b"")


def write(path: bytes, data: bytes, internaldate: float | None) -> None:
    """A file in tmp/, data and mtime durable."""
    try:
        file = durable.File(path)
    except FileNotFoundError:                           # somebody removed tmp/
        durable.mkdir(os.path.dirname(path))
        file = durable.File(path)
    try:
        file.write(data)
        if internaldate is not None:
            os.utime(file.fd, (internaldate, internaldate))
        file.sync()
    except BaseException:
        file.discard()
        raise
    file.close()


def undo(paths: Iterable[bytes]) -> None:
    for path in paths:
        try:
            durable.unlink_if_there(path)
        except OSError:
            pass
