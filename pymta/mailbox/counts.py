"""counts: what STATUS says of a folder."""
from __future__ import annotations

import os
from dataclasses import dataclass

from pymta import clock
from pymta.formats.uidlist import NAME as UIDLIST
from pymta.mailbox.folder import Folder

_DIRTY_S = 1.0


@dataclass(frozen=True)
class Status:
    """RFC 9051 §6.3.11.  size: octets of all messages with CRLF line ends (None unless asked for)."""

    messages: int
    recent: int
    unseen: int
    deleted: int
    uidnext: int
    uidvalidity: int
    guid: bytes
    size: int | None = None
    deleted_octets: int = 0                             # counted with size


def status_of(folder: Folder, size: bool) -> Status:
    contents = folder.contents
    return Status(len(contents.messages), len(contents.in_new), *contents.unseen_and_deleted(), folder.uidnext, folder.uidvalidity, folder.guid,
                  contents.octets() if size else None,
                  contents.deleted_octets() if size else 0)


def stamp(directory: bytes) -> object:
    """What changes when a folder's counts do; None while a change could hide within the clock's grain."""
    stamps = []
    for name in (b"new", b"cur", UIDLIST):
        try:
            status = os.stat(os.path.join(directory, name))
        except FileNotFoundError:
            return None
        if clock.now() - status.st_mtime < _DIRTY_S:
            return None
        stamps.append((status.st_ino, status.st_mtime_ns, status.st_size if name == UIDLIST else 0))
    return tuple(stamps)
