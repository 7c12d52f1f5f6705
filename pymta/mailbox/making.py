"""making: directories of a Maildir come and go as a whole."""
from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from types import MappingProxyType

from pymta import clock, durable
from pymta.formats import maildir
from pymta.mailbox.tidying import heal

ASIDE = b"..pymta-"                                    # directories that are being made or removed
_ASIDE_S = 3600.0                                       # what is older was left by a crash


def make_root(root: bytes) -> None:
    """Make a Maildir (tmp new cur, 0700) and the home it lies in.  What is there already is left alone."""
    _make_above(os.path.dirname(root))
    if durable.mkdir(root, 0o700):
        for sub in maildir.SUBDIRS:
            durable.mkdir(os.path.join(root, sub), 0o700)
        durable.sync_dirs([os.path.dirname(root) or b".", root])
    heal(root)


def _make_above(home: bytes) -> None:
    """Make a home (0700) that is missing, and what is missing above it (0711, a domain's directory say), durably."""
    missing = []
    while home and not os.path.isdir(home):
        missing.append(home)
        home = os.path.dirname(home)
    for path in reversed(missing):
        durable.mkdir(path, 0o700 if path == missing[0] else 0o711, exact=True)
        durable.sync_dir(os.path.dirname(path) or b".")


def make_folder(root: bytes, directory: bytes, files: Mapping[bytes, bytes] = MappingProxyType({})) -> None:
    """A folder, with these files in it, made aside and renamed, so that nobody ever sees half a folder; not durable yet.  Raises OSError: if directory is there, too."""
    aside = os.path.join(root, ASIDE + b"new.%d.%d" % (os.getpid(), threading.get_ident()))
    remove_tree(aside)
    durable.mkdir(aside, 0o700)
    for sub in maildir.SUBDIRS:
        durable.mkdir(os.path.join(aside, sub), 0o700)
    durable.create(os.path.join(aside, b"maildirfolder"), b"", 0o600, sync=False)
    for name, data in files.items():
        durable.create(os.path.join(aside, name), data)
    durable.sync_dir(aside)
    try:
        durable.rename(aside, directory)
    except OSError:
        remove_tree(aside)
        raise


def put_aside(root: bytes, directory: bytes) -> bytes:
    """Take a folder out of sight, to be removed.  Its path from now on; not durable yet.  Raises FileNotFoundError."""
    aside = os.path.join(root, ASIDE + b"gone.%d.%d" % (os.getpid(), int(clock.now() * 1e6)))
    durable.rename(directory, aside)
    return aside


def was_left(entry: os.DirEntry[bytes]) -> bool:
    """Whether this directory was put aside, or half made, before a crash."""
    try:
        return entry.name.startswith(ASIDE) and entry.stat().st_ctime < clock.now() - _ASIDE_S
    except FileNotFoundError:                           # somebody is at it
        return False


def is_folder(path: bytes) -> bool:
    """A directory that is, or was meant to be, a Maildir: it has one of its parts."""
    return any(os.path.exists(os.path.join(path, part)) for part in (b"cur", b"maildirfolder", b"new"))


def remove_tree(path: bytes) -> None:
    """Remove a tree that is no mailbox any more, file by file."""
    if not os.path.lexists(path):
        return
    for where, directories, files in os.walk(path, topdown=False):
        for name in files:
            durable.unlink_if_there(os.path.join(where, name))
        for name in directories:
            inner = os.path.join(where, name)
            if os.path.islink(inner):
                durable.unlink_if_there(inner)
            else:
                durable.rmdir(inner)
    durable.rmdir(path)
