"""copying: a Maildir to try something on: messages as further names of the same files, which nobody changes, all else copied."""
from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from pymta import durable
from pymta.mailbox.making import ASIDE, remove_tree
from pymta.mailbox.message import LIMBO

_MESSAGES = (b"new", b"cur")
_LEFT_OUT = (LIMBO, b"pymta-index", b"pymta-index-text", b"pymta-search-headers", b"pymta-search-texts", b"tmp")


@contextmanager
def copied(root: bytes, what: str) -> Iterator[str]:
    """The path of a copy, which goes away afterwards.  It lies within the Maildir (so on the same file system and out of everybody's sight)
    under a name that is tidied away should we be killed.  Raises OSError."""
    aside = os.path.join(root, ASIDE + b"try-%s.%d" % (what.encode(), os.getpid()))
    remove_tree(aside)
    durable.mkdir(aside, 0o700)
    try:
        _copy(root, os.path.join(aside, b"Maildir"), messages=False)
        yield os.fsdecode(os.path.join(aside, b"Maildir"))
    finally:
        remove_tree(aside)


def _copy(source: bytes, target: bytes, *, messages: bool) -> None:
    durable.mkdir(target, 0o700)
    with os.scandir(source) as found:
        entries = list(found)
    for entry in entries:
        if entry.name in _LEFT_OUT or entry.name.startswith(ASIDE):
            if entry.name == b"tmp":
                durable.mkdir(os.path.join(target, b"tmp"), 0o700)
            continue
        there = os.path.join(target, entry.name)
        try:
            if entry.is_dir(follow_symlinks=False):
                _copy(entry.path, there, messages=entry.name in _MESSAGES)
            elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                _copy_file(entry.path, there, link=messages)
        except FileNotFoundError:
            continue                                    # renamed or removed this moment


def _copy_file(source: bytes, target: bytes, *, link: bool) -> None:
    if link:
        try:
            durable.link(source, target)
            return
        except PermissionError:                         # fs.protected_hardlinks: not ours
            pass
    with open(source, "rb") as file:
        data, times = file.read(), os.fstat(file.fileno())
    durable.create(target, data, 0o600, sync=False)
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
