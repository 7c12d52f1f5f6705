"""watch: which names come and go in a directory, by inotify(7).

pyinotify's WatchManager makes the instance and the watches; the descriptor is read here, because pyinotify's own dispatch is
slow, drops a whole batch at a file name that is not UTF-8, and needs asyncore.  What its watch manager cannot take (a
path that is not UTF-8) is named to it through /proc/self/fd.

An event is (tag, mask, cookie, name): tag is what the caller gave to `add`, name is bytes without the directory.  A watch says
that something happened; what is true is on the disk.  Two events say so themselves: OVERFLOW (the kernel dropped events:
look at everything again) and IGNORED (the directory has gone, or the watch was taken away).

    asyncio:   loop.add_reader(watcher, ready)          ready: watcher.drain(), then act on what `told` was given
    blocking:  while watcher.wait(30): watcher.drain()
"""
from __future__ import annotations

import errno
import functools
import itertools
import operator
import os
import select
import struct
import threading
import warnings
from collections.abc import Callable, Hashable
from typing import NamedTuple

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)     # asyncore, which it imports and we do not use
    import pyinotify

pyinotify.log.disabled = True                           # what matters is raised, and said by whoever asked

CREATE, DELETE = pyinotify.IN_CREATE, pyinotify.IN_DELETE
MOVED_FROM, MOVED_TO = pyinotify.IN_MOVED_FROM, pyinotify.IN_MOVED_TO
CLOSE_WRITE, MODIFY, DELETE_SELF = pyinotify.IN_CLOSE_WRITE, pyinotify.IN_MODIFY, pyinotify.IN_DELETE_SELF
OVERFLOW, IGNORED = pyinotify.IN_Q_OVERFLOW, pyinotify.IN_IGNORED
NAMES = CREATE | DELETE | MOVED_FROM | MOVED_TO          # every way a name comes and goes
GONE = DELETE | MOVED_FROM
CAME = CREATE | MOVED_TO

Event = tuple[Hashable, int, int, bytes]
Told = Callable[[Event], object]

_HEAD = struct.Struct("iIII")
_READ_OCTETS = 1 << 18


class _Watch(NamedTuple):
    path: bytes
    mask: int
    told: Told
    tag: Hashable


class Watcher:
    """One inotify instance (a user has 128 by default, so a process wants one: see shared()).  Raises OSError if there is none
    to be had.  All methods may be called from any thread."""

    def __init__(self) -> None:
        try:
            self._manager = pyinotify.WatchManager()
        except pyinotify.InotifyBindingNotFoundError as error:
            raise OSError(errno.ENOSYS, f"no inotify: {error}") from error
        self._fd = self._manager.get_fd()
        os.set_blocking(self._fd, False)
        os.set_inheritable(self._fd, False)
        self._watches: dict[int, dict[int, _Watch]] = {}  # kernel's number -> ours -> what was asked
        self._handles = itertools.count(1)
        self._lock = threading.RLock()
        self.overflows = 0

    def fileno(self) -> int:
        return self._fd

    def add(self, path: str | bytes, told: Told, tag: Hashable = None, mask: int = NAMES) -> int:
        """Watch a directory; told is called from drain() with each event.  Returns a number for remove().  Raises OSError.

        Several may watch one directory (the kernel knows it by its inode); each hears what any of them asked for."""
        name = os.fsencode(path)
        with self._lock:
            handle = next(self._handles)
            self._enter(handle, _Watch(name, mask, told, tag))
        return handle

    def _enter(self, handle: int, asked: _Watch) -> None:
        wd = self._add(asked.path, asked.mask)
        others = self._watches.setdefault(wd, {})
        if any(other.mask & ~asked.mask for other in others.values()):
            self._add(asked.path, functools.reduce(operator.or_, (other.mask for other in others.values()), asked.mask))
        others[handle] = asked

    def _add(self, path: bytes, mask: int) -> int:
        mask |= pyinotify.IN_ONLYDIR
        try:
            text = path.decode("utf-8")
        except UnicodeDecodeError:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                return self._ask(f"/proc/self/fd/{fd}", mask)
            finally:
                os.close(fd)
        return self._ask(text, mask)

    def _ask(self, path: str, mask: int) -> int:
        try:
            (wd,) = self._manager.add_watch(path, mask, quiet=False).values()
        except pyinotify.WatchManagerError as error:
            number = errno.ENOENT if not os.path.isdir(path) else errno.ENOSPC
            raise OSError(number, str(error), path) from error
        return wd

    def remove(self, handle: int) -> None:
        """Stop watching.  Events that were queued before are dropped."""
        with self._lock:
            for wd, asked in self._watches.items():
                if asked.pop(handle, None):
                    if not asked:
                        del self._watches[wd]
                        if self._manager.get_watch(wd):
                            self._manager.rm_watch(wd, quiet=True)
                    return

    def drain(self) -> int:
        """Read all that is queued and call those who asked.  Returns how many events there were.  Never blocks."""
        count = 0
        with self._lock:
            while data := self._read():
                count += self._dispatch(data)
        return count

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, _READ_OCTETS)
        except BlockingIOError:
            return b""

    def _dispatch(self, data: bytes) -> int:
        at, count, watches, unpack, head = 0, 0, self._watches, _HEAD.unpack_from, _HEAD.size
        while at < len(data):
            wd, mask, cookie, length = unpack(data, at)
            at += head + length
            count += 1
            if mask & OVERFLOW:
                self._overflowed()
            elif wd in watches:
                name = data[at - length:at].rstrip(b"\0")
                for asked in list(watches[wd].values()):
                    asked.told((asked.tag, mask, cookie, name))
            if mask & IGNORED:
                watches.pop(wd, None)
                if self._manager.get_watch(wd):
                    self._manager.del_watch(wd)
        return count

    def _overflowed(self) -> None:
        """Events were dropped, IN_IGNORED perhaps among them: set every watch again, then tell everybody."""
        self.overflows += 1
        before = [(wd, handle, asked) for wd, all_asked in self._watches.items() for handle, asked in all_asked.items()]
        self._watches.clear()
        gone = []
        for wd, handle, asked in before:
            try:
                self._enter(handle, asked)
            except OSError:
                gone.append(asked)
            else:
                if handle not in self._watches.get(wd, ()):     # another directory stands there now: its old number is of no use
                    gone.append(asked)
        for _, _, asked in before:
            asked.told((asked.tag, OVERFLOW, 0, b""))
        for asked in gone:
            asked.told((asked.tag, IGNORED, 0, b""))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until something is queued (True), or timeout_s seconds have passed (False)."""
        return bool(select.select([self._fd], [], [], timeout_s)[0])

    def close(self) -> None:
        with self._lock:
            self._watches.clear()
            if self._fd >= 0:
                self._fd = -1
                self._manager.close()


_shared: tuple[int, Watcher] | None = None
_shared_lock = threading.Lock()


def shared() -> Watcher:
    """The instance of this process, made when first asked for; a fork makes its own.  Raises OSError."""
    global _shared
    with _shared_lock:
        if _shared is None or _shared[0] != os.getpid():
            _shared = (os.getpid(), Watcher())
        return _shared[1]
