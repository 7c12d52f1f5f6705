"""opened: the folders of this process, one for all of its sessions; a closed one is remembered a while."""
from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from pymta import clock, log, watch
from pymta.locks import FolderLock
from pymta.mailbox import monitor
from pymta.mailbox.counts import Status
from pymta.mailbox.folder import Folder
from pymta.mailbox.message import Changes, NoSuchMailbox
from pymta.mailbox.scanner import Vanished

SLOW_LOOK_S = 60.0
_KEPT_FOLDERS = 64                                      # closed folders a process remembers
_KEPT_MESSAGES = 400_000
_KEPT_S = 3600.0                                        # and no longer: a message that is known costs about 600 octets
_WATCHED_CLOSED = 16                                    # of these, how many are watched on: whoever comes back soon finds only what is new
_WATCHED_ON_S = 120.0                                   # for at least half as long
_WATCHED_EVENTS = 2000                                  # so many changes are cheaper to list

lock = threading.RLock()                                # around every use of folders
folders: dict[bytes, Folder] = {}                       # by directory; those without users are oldest first
statuses: dict[bytes, tuple[object, Status]] = {}       # by directory: (the stamp it had, what STATUS said)
_attached = False                                       # whether somebody called attach


def open_folder(root: bytes, directory: bytes, name: str) -> Folder:
    """The shared Folder, synced.  Each wants one close_folder.  Raises NoSuchMailbox, OSError."""
    for _ in range(3):
        with lock:
            folder = folders.pop(directory, None)
            if folder is None or folder.vanished:
                folder = Folder(root, name)
            folder.opening += 1
            folders[directory] = folder
        try:
            folder.open()
            return folder
        except (Vanished, FileNotFoundError) as error:  # what we knew is another one now, or nothing
            if not isinstance(error, Vanished) and os.path.isdir(directory):
                raise
            with lock:
                if folders.get(directory) is folder:
                    let_go(directory)
        finally:
            with lock:
                folder.opening -= 1
    raise NoSuchMailbox(name)


def close_folder(folder: Folder) -> None:
    """Give it back.  The last one ends the watch; where a loop looks after such folders, not at once."""
    folder.close(stays_watched=_attached and not folder.vanished)
    with lock:
        if folder.users == 0 and folders.get(folder.directory) is folder:
            folders[folder.directory] = folders.pop(folder.directory)
            if folder.vanished:
                let_go(folder.directory)
    _look_at_closed()


def _look_at_closed() -> None:
    """Forget what nobody will miss."""
    with lock:
        tired = _forget_old()
    for one in tired:
        one.rest()


@contextmanager
def held(directories: Iterable[bytes]) -> Iterator[dict[bytes, FolderLock]]:
    """Nobody is at work in these directories, so that they can be renamed: a lock that is held goes with its directory, and would
    stand there for ever.  Whoever renames one tells its lock.  Raises FileNotFoundError, TimeoutError."""
    with ExitStack() as stack:
        locks = {}
        with lock:
            known = {directory: folders.get(directory) for directory in sorted(directories)}
        for folder in known.values():
            if folder:
                stack.enter_context(folder.mutex)
        for directory, folder in known.items():
            locks[directory] = stack.enter_context(folder.lock if folder else FolderLock(directory))
        yield locks


def let_go(directory: bytes) -> None:
    """What lies in this directory from now on is another mailbox, or none.  Wants lock."""
    folder = folders.pop(directory, None)
    statuses.pop(directory, None)
    if folder:
        folder.vanished = True
        folder.tell(Changes())
        folder.forget()


def forget_all() -> None:
    """Know as little as a process that has just begun (for tests)."""
    global _attached
    _attached = False
    folders.clear()
    statuses.clear()


def _forget_old() -> list[Folder]:
    """Forget those that were closed long ago; of the others, those that need not be watched on.  Wants lock, and must not wait for a
    folder's mutex: who has that may wait for lock."""
    idle = [folder for folder in folders.values() if not folder.users and not folder.opening]
    tired = [folder for folder in idle[:-_WATCHED_CLOSED] if folder.scanner.watched]
    count, messages = len(idle), sum(len(folder.messages) for folder in idle)
    for folder in idle:
        if count <= _KEPT_FOLDERS and messages <= _KEPT_MESSAGES and abs(clock.now() - folder.closed_at) < _KEPT_S:
            break
        count, messages = count - 1, messages - len(folder.messages)
        del folders[folder.directory]
        folder.forget()
    return tired


# ---- what others do ---------------------------------------------------------------------------------------------------
def attach(loop: asyncio.AbstractEventLoop) -> None:
    """Let loop notice what others do to open folders, and look at each every minute besides.

    The looking is done in a thread of its own, and the listeners are told from there: a folder may be busy for a while."""
    global _attached
    _attached = True
    looker = ThreadPoolExecutor(1, thread_name_prefix="look")
    try:
        watcher = watch.shared()
    except OSError as error:
        log.event("trouble", why=f"no inotify, looking every {SLOW_LOOK_S:.0f} s instead: {error}")
    else:
        loop.add_reader(watcher.fileno(), _heard, watcher, looker)
    loop.call_later(SLOW_LOOK_S, _slow_look, loop, looker)


def _heard(watcher: watch.Watcher, looker: ThreadPoolExecutor) -> None:
    watcher.drain()
    for folder in list(folders.values()):
        if not folder.users:
            if folder.scanner.pending > _WATCHED_EVENTS:
                looker.submit(folder.rest)
        elif folder.scanner.pending and not folder.look_is_due:
            folder.look_is_due = True
            looker.submit(_sync, folder)


def _slow_look(loop: asyncio.AbstractEventLoop, looker: ThreadPoolExecutor) -> None:
    loop.call_later(SLOW_LOOK_S, _slow_look, loop, looker)
    for folder in list(folders.values()):
        if folder.users:
            looker.submit(_sync, folder)
        elif folder.scanner.watched and clock.now() - folder.closed_at > _WATCHED_ON_S / 2:
            looker.submit(folder.rest)
    looker.submit(_look_at_closed)
    looker.submit(monitor.look_again)


def _sync(folder: Folder) -> None:
    folder.look_is_due = False
    try:
        folder.sync()
    except OSError as error:
        log.event("trouble", mailbox=folder.directory, why=str(error))
    except Exception as error:
        log.bug(f"sync of {folder.name}", error)
