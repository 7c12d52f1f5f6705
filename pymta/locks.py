"""locks: dot locks as Dovecot and others take them, and one instance of a daemon.

DotLock stands on lockfile's LinkLockFile and cures what is wrong with it: two objects of one thread both acquired (they shared
one unique name), a lock whose owner had died held for ever, and the lock file was empty, so that nobody could see whose it is.
It holds `pid:host`, as Dovecot's do, so each side can tell that the other's owner is dead.  A lock of Dovecot's is made
by O_EXCL and ours by link(2): both fail where the name exists, so they exclude each other.

A daemon holds an flock for its life (single_instance): that is the truth, the number in the file only tells a reader whom to ask.
"""
from __future__ import annotations

import errno
import fcntl
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from lockfile import AlreadyLocked, LockTimeout, NotLocked, NotMyLock
from lockfile.linklockfile import LinkLockFile

from pymta import durable

STALE_AFTER_S = 120.0                                   # Dovecot's figure for dovecot-uidlist.lock
REFRESH_AFTER_S = 30.0

_counter = itertools.count()
_host = socket.gethostname()


class DotLock(LinkLockFile):
    """A lock file `path`.lock.  path: str.  stale_after_s: a lock nobody touched for so long is broken.

    acquire(timeout): seconds to try; None for ever, 0 or less once.  Raises LockTimeout, AlreadyLocked, OSError.
    """

    def __init__(self, path: str, *, stale_after_s: float = STALE_AFTER_S) -> None:
        super().__init__(path)
        self.stale_after_s = stale_after_s
        self.unique_name = ""
        self._owner: tuple[int, int] | None = None      # identity of the lock file while we hold it
        self._touched = 0.0

    def acquire(self, timeout: float | None = None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        wait_s = 0.001
        while not self._try():
            if end is not None and time.monotonic() >= end:
                if timeout is not None and timeout > 0:
                    raise LockTimeout(f"{self.lock_file} is held by {self.holder()}; waited {timeout:g} s")
                raise AlreadyLocked(f"{self.lock_file} is held by {self.holder()}")
            time.sleep(wait_s if end is None else max(0.0, min(wait_s, end - time.monotonic())))
            wait_s = min(wait_s * 1.5, 0.05)

    def _try(self) -> bool:
        if self._owner is not None:
            return False                                # held by this very object
        if os.path.lexists(self.lock_file) and not self._break_if_stale():
            return False
        self.unique_name = f"{self.lock_file}.{_host.replace('/', '_')}.{os.getpid()}.{next(_counter)}"
        try:
            durable.create(self.unique_name, f"{os.getpid()}:{_host}".encode(), sync=False)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            durable.create(self.unique_name, b"", sync=False)   # on a full disk an empty file may still go, and mail must be removable
        try:
            durable.link(self.unique_name, self.lock_file)
            self._owner = _identity(os.stat(self.unique_name))
            self._touched = time.monotonic()
            return True
        except FileExistsError:
            return False
        finally:
            durable.unlink(self.unique_name)

    def holder(self) -> str:
        """Who holds the lock, as written in it: "pid:host", or "nobody", or "somebody"."""
        try:
            with open(self.lock_file, "rb") as file:
                return file.read(256).decode("utf-8", "replace").strip() or "somebody"
        except FileNotFoundError:
            return "nobody"
        except OSError:
            return "somebody"

    def is_abandoned(self) -> bool:
        """Whether its holder is a process of this host that is dead."""
        pid, _, host = self.holder().partition(":")
        return host == _host and pid.isdecimal() and not _alive(int(pid))

    def _break_if_stale(self) -> bool:
        """Whether the lock that stood there was of a dead process, or long untouched, and is gone now."""
        try:
            fd = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return True
        try:                                            # open, so that its inode number cannot come back under another lock
            return self._break_if_stale_file(os.fstat(fd))
        finally:
            os.close(fd)

    def _break_if_stale_file(self, status: os.stat_result) -> bool:
        if not self.is_abandoned() and time.time() - max(status.st_mtime, status.st_ctime) < self.stale_after_s:
            return False
        # Two breakers: the second must not remove the lock that the first has just made.  So rename, then look at what it was.
        aside = f"{self.lock_file}.{_host.replace('/', '_')}.{os.getpid()}.{next(_counter)}"
        try:
            durable.rename(self.lock_file, aside)
        except FileNotFoundError:
            return True
        if _identity(os.lstat(aside)) != _identity(status):
            try:
                durable.link(aside, self.lock_file)
            except FileExistsError:
                pass
        durable.unlink(aside)
        return not os.path.lexists(self.lock_file)

    def refresh(self) -> None:
        """Say that the lock is still in use; call it now and then during long work (cheap)."""
        if time.monotonic() - self._touched > REFRESH_AFTER_S and self.i_am_locking():
            self._touched = time.monotonic()
            try:
                os.utime(self.lock_file)
                self._owner = _identity(os.lstat(self.lock_file))
            except OSError:
                pass

    def release(self) -> None:
        """Raises NotLocked, and NotMyLock when somebody broke our lock meanwhile (it is theirs now and left alone)."""
        if self._owner is None:
            raise NotLocked(f"{self.path} is not locked")
        owner, self._owner = self._owner, None
        try:
            if _identity(os.lstat(self.lock_file)) != owner:
                raise NotMyLock(f"{self.lock_file} was broken by {self.holder()}")
            durable.unlink(self.lock_file)
        except FileNotFoundError:
            raise NotMyLock(f"{self.lock_file} was taken away") from None

    def is_locked(self) -> bool:
        return os.path.lexists(self.lock_file)

    def i_am_locking(self) -> bool:
        try:
            return self._owner is not None and _identity(os.lstat(self.lock_file)) == self._owner
        except FileNotFoundError:
            return False

    def break_lock(self) -> None:
        """Take the lock away, whoever holds it."""
        durable.unlink_if_there(self.lock_file)


@contextmanager
def held(path: str | bytes, timeout_s: float = 10.0) -> Iterator[None]:
    """Hold path.lock for a while, as Dovecot does for its files.  Raises TimeoutError, OSError."""
    lock = DotLock(os.fsdecode(path))
    try:
        lock.acquire(timeout_s)
    except LockTimeout as error:
        raise TimeoutError(str(error)) from None
    try:
        yield
    finally:
        lock.release()


class FolderLock:
    """`dovecot-uidlist.lock` of one Maildir directory: a context manager that may be entered again by who holds it, in one
    thread at a time.  Raises TimeoutError after timeout_s."""

    def __init__(self, directory: bytes, timeout_s: float = 10.0) -> None:
        self._dot = DotLock(os.fsdecode(os.path.join(directory, b"dovecot-uidlist")))
        self._timeout_s = timeout_s
        self._threads = threading.RLock()
        self._depth = 0

    def __enter__(self) -> Self:
        self._threads.acquire()
        try:
            if self._depth == 0:
                self._dot.acquire(self._timeout_s)
            self._depth += 1
        except LockTimeout as error:
            self._threads.release()
            raise TimeoutError(str(error)) from None
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        try:
            if self._depth == 0:
                self._dot.release()
        except (NotMyLock, NotLocked):
            pass                                        # broken by somebody who thought us dead; nothing to give back
        finally:
            self._threads.release()

    def moved(self, directory: bytes) -> None:
        """The directory has been renamed while we hold the lock: it is given back there."""
        self._dot.lock_file = os.fsdecode(os.path.join(directory, b"dovecot-uidlist")) + ".lock"

    @property
    def held(self) -> bool:
        return self._depth > 0

    @property
    def taken(self) -> bool:
        """Whether anybody holds it."""
        return self._dot.is_locked()

    def refresh(self) -> None:
        self._dot.refresh()


class AlreadyRunning(OSError):
    """Another process holds the instance lock; the text names it."""


class Instance:
    """The lock of a running daemon: keep it as long as the daemon runs."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    def close(self) -> None:
        """Let go (the death of the process does so too).  The file stays: removing it would race with the next one's lock."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def single_instance(path: str) -> Instance:
    """Hold the lock file at path (made if needed) with our pid in it.  Raises AlreadyRunning, OSError.

    The lock goes with the descriptor: a child that outlives its parent should close instance.fd after the fork, or it holds it on.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(fd, path):
                durable.truncate(path, 0)
                durable.append(path, b"%d\n" % os.getpid(), sync=False)
                return Instance(path, fd)
        except BlockingIOError:
            pid = os.pread(fd, 64, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise AlreadyRunning(f"{path}: already running with pid {pid}") from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)                                    # somebody removed the file between open and flock


def _identity(status: os.stat_result) -> tuple[int, int]:
    """An inode number alone is given again to the next file."""
    return status.st_ino, status.st_mtime_ns


def _same(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
