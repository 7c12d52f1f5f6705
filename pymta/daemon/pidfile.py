"""pidfile: RUN/NAME.pid, the number of a daemon that runs in the background.

A file whose process has gone, or is another program's by now, is stale and taken over.
"""
from __future__ import annotations

import os

from lockfile.pidlockfile import PIDLockFile


class PidFile(PIDLockFile):
    """name: the program's.  Raises AlreadyLocked where that runs, LockFailed where the file cannot be made."""

    def __init__(self, run: str, name: str) -> None:
        super().__init__(os.path.join(os.path.abspath(run), f"{name}.pid"), timeout=-1)
        self.name = name

    def holder(self) -> int:
        """The pid of the daemon that runs; 0 if none does."""
        try:
            pid = self.read_pid()
        except UnicodeDecodeError:                      # not ours to begin with
            return 0
        return pid if pid is not None and is_program(pid, self.name) else 0

    def acquire(self, timeout: float | None = None) -> None:
        if self.is_locked() and not self.holder():
            self.break_lock()
        super().acquire(-1)


def is_program(pid: int, name: str) -> bool:
    """Whether the process is a program of that name: a number comes again after a boot."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return any(os.path.basename(os.fsdecode(word)) == name for word in file.read(4096).split(b"\0")[:4])
    except OSError:
        return False
