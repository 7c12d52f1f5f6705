"""maildirsize: how much a mailbox holds, as Courier and Dovecot count it.                    pymta-maildir(5)

    file  = quota LF *(octets 1*SP count LF)             ; what the mailbox holds is the sum of all lines
    quota = number "S" ["," number "C"]                 ; what it may hold: octets, messages

    104857600S
    4821 2
    -1204 -1

The file stands in the Maildir and belongs to its owner.  Whoever adds a message or removes one appends a line, by one write; whoever
removes what he did not count himself removes the file.  It is counted anew when it is missing, cannot be read, was written for another
quota, has grown to REBUILD_OCTETS, or says that there is no room and is older than DOUBT_S: a client that knows nothing of it
(mutt, rm) may have made room.  All folders count, Trash too; what waits in limbo does not.  If lost: it is counted anew.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass

from pymta import clock, durable

NAME = "maildirsize"
REBUILD_OCTETS = 5120
DOUBT_S = 900.0

_QUOTA = re.compile(rb"[0-9]{1,18}S(?:,[0-9]{1,18}C)?")
_LINE = re.compile(rb" *(-?[0-9]{1,18}) +(-?[0-9]{1,18}) *")
_SIZE = re.compile(rb",S=([0-9]{1,18})(?=[,:]|$)")


@dataclass(frozen=True, slots=True)
class Held:
    """octets, count: what the mailbox holds; quota: the first line."""

    octets: int
    count: int
    quota: bytes


def decode(data: bytes) -> Held:
    """The sum of a file's lines.  Raises ValueError for what is no such file."""
    quota, *lines = data.split(b"\n")
    if not _QUOTA.fullmatch(quota) or not lines or lines.pop():
        raise ValueError("not a maildirsize file")
    octets = count = 0
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError("not a line of a maildirsize file")
        octets += int(found[1])
        count += int(found[2])
    return Held(octets, count, quota)


def encode(held: Held) -> bytes:
    return b"%s\n%d %d\n" % (held.quota, held.octets, held.count)


def quota_line(octets: int) -> bytes:
    return b"%dS" % octets


# ---- in a Maildir -----------------------------------------------------------------------------------------------------
def room(maildir: str, quota_octets: int, need_octets: int = 0) -> int:
    """How many octets may still come, less than 0 where there are too many; need_octets: more room than this is not asked for.
    Counts what has to be counted.  Raises OSError."""
    return quota_octets - held(maildir, quota_octets, need_octets).octets


def held(maildir: str, quota_octets: int, need_octets: int = 0) -> Held:
    """What the mailbox holds; the arguments are those of room."""
    path = os.path.join(maildir, NAME)
    try:
        data, age_s = _read(path)
        found = decode(data)
        if found.quota == quota_line(quota_octets) and len(data) < REBUILD_OCTETS:
            if quota_octets - found.octets >= need_octets or age_s < DOUBT_S:
                return found
    except (FileNotFoundError, ValueError):
        pass
    found = count(maildir, quota_octets)
    try:
        durable.replace(path, encode(found), 0o600)
    except FileNotFoundError:                           # no such Maildir yet
        pass
    return found


def add(maildir: str | bytes, octets: int, messages: int) -> None:
    """Note what has come (or gone, less than 0).  Where there is no file nobody counts; an error costs a later count only."""
    path = os.path.join(maildir, NAME) if isinstance(maildir, str) else os.path.join(maildir, NAME.encode())
    try:
        durable.append(path, b"%d %d\n" % (octets, messages), sync=False)
    except OSError:
        pass


def is_kept(maildir: bytes) -> bool:
    """Whether somebody counts."""
    return os.path.lexists(os.path.join(maildir, NAME.encode()))


def forget(maildir: str | bytes) -> None:
    """What the file says holds no more: it is counted anew."""
    try:
        durable.unlink_if_there(os.path.join(maildir, NAME) if isinstance(maildir, str) else os.path.join(maildir, NAME.encode()))
    except OSError:
        pass


def version(maildir: str) -> tuple[int, int]:
    """Changes when the file does; (0, 0) where there is none."""
    try:
        found = os.stat(os.path.join(maildir, NAME))
        return found.st_mtime_ns, found.st_size
    except OSError:
        return 0, 0


def count(maildir: str, quota_octets: int) -> Held:
    """What all folders hold now.  Raises OSError."""
    octets = messages = 0
    root = os.fsencode(maildir)
    for folder in _folders(root):
        for place in (b"new", b"cur"):
            try:
                names = os.listdir(os.path.join(folder, place))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for name in names:
                size = _size(os.path.join(folder, place, name), name)
                if size is not None:
                    octets += size
                    messages += 1
    return Held(octets, messages, quota_line(quota_octets))


def _folders(root: bytes) -> list[bytes]:
    try:
        return [root] + [os.path.join(root, name) for name in os.listdir(root) if name[:1] == b"." and name[1:2] not in (b"", b".")]
    except FileNotFoundError:
        return []


def _size(path: bytes, name: bytes) -> int | None:
    if name[:1] == b".":
        return None
    found = _SIZE.search(name)
    if found:
        return int(found[1])
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None


def _read(path: str) -> tuple[bytes, float]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(fd, REBUILD_OCTETS + 1), clock.now() - os.fstat(fd).st_mtime
    finally:
        os.close(fd)
