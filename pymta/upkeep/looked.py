"""looked: one mailbox directory as it lies on disk, read without a lock and without changing anything."""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pymta.formats import maildir
from pymta.mailbox.message import LIMBO


@dataclass(frozen=True, slots=True)
class File:
    """One name in new/ or cur/."""

    path: bytes
    name: bytes
    in_new: bool
    status: os.stat_result

    @property
    def base(self) -> bytes:
        return maildir.base_of(self.name)


@dataclass
class Looked:
    """root: the Maildir; directory: of this mailbox; mailbox: its name.  files: base -> its names, one as a rule."""

    root: bytes
    directory: bytes
    mailbox: str
    files: dict[bytes, list[File]] = field(default_factory=dict)
    strange: list[File] = field(default_factory=list)   # directories, links, devices

    def path(self, name: bytes) -> bytes:
        return os.path.join(self.directory, name)

    def read(self, name: bytes) -> bytes | None:
        """A file beside new/ and cur/; None if there is none.  Raises OSError."""
        try:
            with open(self.path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None


def look(root: bytes, directory: bytes, mailbox: str) -> Looked:
    looked = Looked(root, directory, mailbox)
    for place in (b"cur", b"new"):
        for path, name, status in entries(looked.path(place)):
            if name[:1] in b".:":
                continue
            file = File(path, name, place == b"new", status)
            if os.path.isfile(path) and not os.path.islink(path):
                looked.files.setdefault(file.base, []).append(file)
            else:
                looked.strange.append(file)
    return looked


def entries(directory: bytes) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """(path, name, status) of what lies there; nothing where there is no such directory."""
    try:
        with os.scandir(directory) as found:
            for entry in found:
                try:
                    yield entry.path, entry.name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    pass                                # renamed this moment
    except (FileNotFoundError, NotADirectoryError):
        pass


def mailboxes(root: bytes) -> list[tuple[str, bytes]]:
    """(name, directory) of every mailbox, INBOX first."""
    found = []
    for path, name, _ in entries(root):
        mailbox = maildir.mailbox_of(name)
        if mailbox is not None and any(os.path.lexists(os.path.join(path, part)) for part in (b"cur", b"new", b"maildirfolder")):
            found.append((mailbox, path))
    return [("INBOX", root), *sorted(found)]


def limbo(looked: Looked) -> list[tuple[bytes, bytes, os.stat_result]]:
    return list(entries(looked.path(LIMBO)))
