"""reading: the file of a message, wherever somebody has renamed it to meanwhile; in limbo, once it was expunged."""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pymta.formats import maildir
from pymta.mailbox.message import LIMBO, Gone, Message, count_vsize

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

T = TypeVar("T")


def open_file(folder: Folder, uid: int) -> int:
    """A descriptor to read the message from, for the caller to close.  Also one that was expunged lately.  Raises Gone."""
    message = folder.contents.find(uid)
    if message is None:
        raise Gone(f"{folder.name}: no message {uid}")
    return _reach(folder, message, lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def read(folder: Folder, uid: int, octets: int | None = None) -> bytes:
    """The message as it is on disk (LF line ends as a rule: use crlf()).  Also one that was expunged lately.  Raises Gone.

    octets: no more than that many from its beginning."""
    fd = open_file(folder, uid)
    try:
        size = os.fstat(fd).st_size
        if octets is not None:
            size = min(size, octets)
        data = os.read(fd, size)
        while len(data) < size and (more := os.read(fd, size - len(data))):
            data += more                            # read(2) gives at most 2 GiB at once
        return data
    finally:
        os.close(fd)


def path(folder: Folder, uid: int) -> bytes:
    """Where the file lies just now (another program may rename it at any moment: prefer read).  Raises Gone."""
    message = folder.contents.find(uid)
    if message is None:
        raise Gone(f"{folder.name}: no message {uid}")
    return _reach(folder, message, _there)


def stat(folder: Folder, message: Message) -> os.stat_result:
    return _reach(folder, message, os.stat)


def count(folder: Folder, message: Message) -> int:
    """Read the message to learn its size with CRLF; it will be written down when the folder is closed."""
    fd = _reach(folder, message, lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    try:
        vsize = count_vsize(fd)
    finally:
        os.close(fd)
    folder.sizes_counted[message.uid] = vsize
    return vsize


def _reach(folder: Folder, message: Message, act: Callable[[bytes], T]) -> T:
    """act on the message's file, wherever somebody has renamed it to meanwhile."""
    for _ in range(10):
        try:
            return act(message.path)
        except FileNotFoundError:
            if message.expunged or folder.vanished:
                break
            folder.sync()
    return _reach_in_limbo(folder, message, act)


def _reach_in_limbo(folder: Folder, message: Message, act: Callable[[bytes], T]) -> T:
    limbo = os.path.join(folder.directory, LIMBO)
    try:
        for name in os.listdir(limbo):
            if maildir.base_of(name) == message.base:
                return act(os.path.join(limbo, name))
    except FileNotFoundError:
        pass
    raise Gone(f"{folder.name}: message {message.uid} is gone")


def _there(path: bytes) -> bytes:
    os.lstat(path)
    return path
