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
import os
import select
import struct
import threading
import warnings
from collections.abc import Callable, Hashable

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)     # asyncore, which it imports and we do not use
    import pyinotify

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
        self._watches: dict[int, tuple[bytes, int, Told, Hashable]] = {}
        self._lock = threading.RLock()
        self.overflows = 0

    def fileno(self) -> int:
        return self._fd

    def add(self, path: str | bytes, told: Told, tag: Hashable = None, mask: int = NAMES) -> int:
        """Watch a directory; told is called from drain() with each event.  Returns a number for remove().  Raises OSError.

        A directory is watched once an instance: a second add of the same one takes the first one's place."""
        name = os.fsencode(path)
        with self._lock:
            wd = self._add(name, mask)
            self._watches[wd] = (name, mask, told, tag)
        return wd

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

    def remove(self, wd: int) -> None:
        """Stop watching.  Events that were queued before are dropped."""
        with self._lock:
            if self._watches.pop(wd, None) and self._manager.get_watch(wd):
                self._manager.rm_watch(wd, quiet=True)

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
                _, _, told, tag = watches[wd]
                told((tag, mask, cookie, data[at - length:at].rstrip(b"\0")))
            if mask & IGNORED:
                watches.pop(wd, None)
                if self._manager.get_watch(wd):
                    self._manager.del_watch(wd)
        return count

    def _overflowed(self) -> None:
        """Events were dropped, IN_IGNORED perhaps among them: set every watch again, then tell everybody."""
        self.overflows += 1
        before, told_all = dict(self._watches), []
        self._watches.clear()
        for wd, (path, mask, told, tag) in before.items():
            told_all.append((told, (tag, OVERFLOW, 0, b"")))
            try:
                now = self._add(path, mask)
            except OSError:
                told_all.append((told, (tag, IGNORED, 0, b"")))
                continue
            self._watches[now] = (path, mask, told, tag)
            if now != wd:                               # another directory stands there now: its old number is of no use
                told_all.append((told, (tag, IGNORED, 0, b"")))
        for told, event in told_all:
            told(event)

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
