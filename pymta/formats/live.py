"""live: a small file the admin edits, as it stands now.

Asked before each use, so that an edit counts at once, without a command or a restart.  One stat(2) per question; the file is
read and decoded only when it has changed (mtime, size, inode: an editor may write in place or put a new file there).

What editors do, and what is made of it:
    the file is gone, or empty, for a moment     the old one holds for PATIENCE_S; then it counts as empty
    two writes within one tick of the clock      a file that had just been written when it was read is read once more
    it cannot be read (permission, I/O error)    the old one holds and `trouble` is logged once; without an old one, OSError
"""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar
from zlib import crc32

from pymta import clock, log

Tell = Callable[[str, str], None]

PATIENCE_S = 0.5
SIZE_MAX_OCTETS = 64 << 20
_SETTLED_NS = 100_000_000

Table = TypeVar("Table")
Version = tuple[int, int, int]
_NOTHING: Version = (0, -1, 0)                              # the version of a file that is not there


def tell(where: str, why: str) -> None:
    """Log what is wrong at where (file:line).  Those who only look give something else in its place."""
    log.event("config", where=where, why=why)


def quiet(where: str, why: str) -> None:
    """Log nothing: the caller finds it out by itself."""


class Live(Generic[Table]):
    """path: the file; decode: bytes -> what get() gives.  changed(table), if given, is called once for each new content.
    check(stat), if given, is called before the file is read and refuses it by OSError; such a file must be there, and what was read before does not stand in for it."""

    def __init__(self, path: str, decode: Callable[[bytes], Table], changed: Callable[[Table], None] | None = None,
                 check: Callable[[os.stat_result], None] | None = None) -> None:
        self.path = path
        self._check = check
        self.version: Version | None = None                 # of what get() last gave; None before the first time
        self._decode = decode
        self._changed = changed
        self._unsettled = False
        self._crc = 0                                       # of what was decoded last
        self._missing_since: float | None = None
        self._table: Table
        self._trouble = ""

    def get(self) -> Table:
        """The table as the file says now.  Raises OSError only if it has never been read."""
        try:
            stat = os.stat(self.path)
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if version == self.version and not self._unsettled:
                self._missing_since = None
                return self._table
            if self._check:
                self._check(stat)
            if stat.st_size:
                self._missing_since = None
                return self._read()
        except FileNotFoundError as error:
            if self._check and not self._gone_for_a_moment():
                return self._refused(error)
            version = _NOTHING
        except OSError as error:
            return self._refused(error)
        if version == self.version or self._gone_for_a_moment():
            self._unsettled = False
            return self._table
        return self._take(version, b"")

    def _gone_for_a_moment(self) -> bool:
        """Whether the file, missing or empty now, has not been so for long and had something in it before."""
        if self.version is None or self.version[1] <= 0:
            return False
        now = clock.tick()
        if self._missing_since is None:
            self._missing_since = now
        return now - self._missing_since < PATIENCE_S

    def _read(self) -> Table:
        # O_NONBLOCK: a FIFO in the place of the file must not stop the mail
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            stat = os.fstat(fd)
            if self._check:
                self._check(stat)
            if stat.st_size > SIZE_MAX_OCTETS:
                raise OSError(f"longer than {SIZE_MAX_OCTETS} octets")
            parts = []
            while part := os.read(fd, SIZE_MAX_OCTETS):
                parts.append(part)
        finally:
            os.close(fd)
        self._unsettled = abs(int(clock.now() * 1e9) - stat.st_mtime_ns) < _SETTLED_NS
        return self._take((stat.st_mtime_ns, stat.st_size, stat.st_ino), b"".join(parts))

    def _take(self, version: Version, data: bytes) -> Table:
        crc = crc32(data)
        self._trouble = ""
        if self.version is None or crc != self._crc or len(data) != max(self.version[1], 0):
            self._table = self._decode(data)
            if self._changed:
                self._changed(self._table)
        self.version, self._crc = version, crc
        return self._table

    def _refused(self, error: OSError) -> Table:
        if self._check:
            self.version = None
            raise error
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.event("trouble", what=f"cannot read {self.path}", why=error.strerror or str(error))
        if self.version is None:
            raise error
        return self._table
