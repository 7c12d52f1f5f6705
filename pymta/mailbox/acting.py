"""acting: what every action on a folder is made of: its locks, its messages, renames that are tried again."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pymta import durable
from pymta.mailbox.message import Message
from pymta.mailbox.scanner import Place, Vanished

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

_TRIES = 50                                             # at a file that somebody renames all the time
BULK = 500                                              # renames at once that may cost more to hear of than to list the directory
_EVENTS_OF_A_LISTING = 8                                # two events of a rename cost what listing so many files does


@contextmanager
def vanishing(*folders: Folder) -> Iterator[None]:
    """A file that is not there because somebody removed or renamed the mailbox meanwhile: Vanished."""
    try:
        yield
    except FileNotFoundError:
        for folder in folders:
            folder.sync()                               # says that it has vanished, if that is why
            if folder.vanished:
                raise Vanished(folder.name) from None
        raise


@contextmanager
def locked(*folders: Folder) -> Iterator[None]:
    """Hold mutexes and locks of folders, always in the same order, everything looked at."""
    with vanishing(*folders), ExitStack() as stack:
        ordered = sorted({id(folder): folder for folder in folders}.values(), key=lambda folder: folder.directory)
        for folder in ordered:
            stack.enter_context(folder.mutex)
        for folder in ordered:
            stack.enter_context(folder.lock)
        for folder in ordered:
            folder.sync_locked()
        yield


@contextmanager
def many(folder: Folder, count: int) -> Iterator[None]:
    """Around count renames of our own in a folder: a great part of it is listed afterwards, and not followed name by name."""
    if count < BULK or count * _EVENTS_OF_A_LISTING < len(folder.messages) or not folder.scanner.watched:
        yield
        return
    folder.scanner.pause()
    try:
        yield
    finally:
        folder.scanner.start_watching()


def chosen(folder: Folder, uids: Iterable[int]) -> list[Message]:
    found = (folder.get(uid) for uid in uids)
    return sorted((message for message in found if message is not None), key=lambda message: message.uid)


def rename(folder: Folder, message: Message, place: Place | None, path: bytes) -> bool:
    """Rename the message's file to path, which is place in this folder, or (None) outside of it.  False if it is not there."""
    try:
        durable.rename(message.path, path)
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            raise
        return False
    folder.scanner.renamed(message.base, message.place, place)
    return True


def path_of(folder: Folder, base: bytes, place: Place) -> bytes:
    return b"%s/%s/%s%s" % (folder.directory, b"new" if place[0] else b"cur", base, place[1])


def each(folder: Folder, messages: Sequence[Message], act: Callable[[Message], bool], done: list[Message]) -> None:
    """act on messages; those for which it said False (renamed by somebody else just now) once more after another look.
    Those for which it said True are in done, also where an error ends it."""
    for _ in range(_TRIES):
        missed: list[Message] = []
        for number, message in enumerate(messages):
            (done if act(message) else missed).append(message)
            if not number & 1023:
                folder.lock.refresh()
        if not missed:
            break
        folder.sync_locked()
        messages = [message for message in missed if not message.expunged]
