"""etcfiles: the files of ETC that programs change (users, passwords, what an import adds): read whole, replaced at one stroke."""
from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pymta import durable


def read(path: str) -> bytes:
    """A file's octets; none where there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


@contextmanager
def alone(etc: str) -> Iterator[None]:
    """Two who write at a time would lose one's change: the directory is locked, which leaves nothing behind."""
    fd = os.open(etc, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def replace(path: str, data: bytes, mode: int, group: str = "") -> None:
    """Put data at path at one stroke, with the mode, owner and group the file has.  A new file gets mode, and group where we
    are root and there is such a group."""
    owner, owning_group = -1, -1
    try:
        facts = os.stat(path)
        mode, owner, owning_group = facts.st_mode & 0o7777, facts.st_uid, facts.st_gid
    except FileNotFoundError:
        if group and os.geteuid() == 0:
            import grp
            try:
                owning_group = grp.getgrnam(group).gr_gid
            except KeyError:
                pass
    temporary = f"{path}.tmp{os.getpid()}"
    durable.unlink_if_there(temporary)
    durable.create(temporary, data, 0o600, exact=True)
    try:
        if (owner, owning_group) not in ((-1, -1), (os.geteuid(), os.getegid())):
            os.chown(temporary, owner, owning_group)
        os.chmod(temporary, mode)
        durable.rename(temporary, path)
    except BaseException:
        durable.unlink_if_there(temporary)
        raise
    durable.sync_dir(os.path.dirname(path))
