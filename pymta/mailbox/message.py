"""message: one message of a folder, and what can happen to messages."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymta.formats import uidlist
from pymta.formats.maildir import emailid_of, saved_at, size_of, vsize_of

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder
    from pymta.mailbox.scanner import Place

LIMBO = b"pymta-limbo"


class NoSuchMailbox(LookupError):
    """The mailbox does not exist.  IMAP: NO [NONEXISTENT], or [TRYCREATE]."""


class Gone(LookupError):
    """A message that is no longer there, not even in limbo."""


class Message:
    """One message.  The object is shared by all sessions and lives on after an expunge (then expunged is True).

    uid: int; base: bytes, the file's name without flags; place: whether the file lies in new/, and what stands behind the base in its name;
    modseq: room for CONDSTORE.
    """

    __slots__ = ("folder", "uid", "base", "place", "expunged", "modseq", "_vsize", "_internaldate")
    modseq: int
    _vsize: int
    _internaldate: float

    def __init__(self, folder: Folder, uid: int, base: bytes, place: Place) -> None:
        self.folder = folder
        self.uid = uid
        self.base = base
        self.place = place
        self.expunged = False                           # the other slots are filled when they are asked for

    def __repr__(self) -> str:
        return f"Message({self.uid}, {self.name!r}{', expunged' if self.expunged else ''})"

    @property
    def new(self) -> bool:
        """True while the file lies in new/: no session has been told yet that it is \\Recent."""
        return self.place[0]

    @property
    def name(self) -> bytes:
        """Of its file."""
        return self.base + self.place[1]

    @property
    def flags(self) -> frozenset[str]:
        """System flags as in RFC 9051 §2.3.2 with their backslash, and keywords; never \\Recent."""
        folder = self.folder
        flags = folder.known_flags.get(self.place[1])
        return flags if flags is not None and not folder.has_keys else folder.flags_of(self)

    @property
    def path(self) -> bytes:
        """Where the file lies, as far as we know."""
        in_new, info = self.place
        where = LIMBO if self.expunged else b"new" if in_new else b"cur"
        return b"%s/%s/%s%s" % (self.folder.directory, where, self.base, info)

    @property
    def keys(self) -> bytes:
        """The keys of its entry in dovecot-uidlist."""
        return self.folder.keys_of(self.uid)

    @property
    def size(self) -> int:
        """Octets on disk.  Raises Gone."""
        size = size_of(self.base)
        if size is None and (value := uidlist.key_of(self.keys, b"S")) and value.isdigit():
            size = int(value)
        return self.folder.stat(self).st_size if size is None else size

    @property
    def vsize(self) -> int:
        """Octets with CRLF line ends: counted once where neither name nor uidlist says it.  Raises Gone."""
        try:
            return self._vsize
        except AttributeError:
            vsize = self.known_vsize
            self._vsize = self.folder.count(self) if vsize is None else vsize
            return self._vsize

    @property
    def known_vsize(self) -> int | None:
        """vsize if it needs no counting."""
        vsize = vsize_of(self.base)
        if vsize is None and (value := uidlist.key_of(self.keys, b"W")) and value.isdigit():
            vsize = int(value)
        return getattr(self, "_vsize", None) if vsize is None else vsize

    def forget_sizes(self) -> None:
        """What name or uidlist said was wrong."""
        if hasattr(self, "_vsize"):
            del self._vsize

    @property
    def internaldate(self) -> float:
        """When it came: seconds since 1970 (the file's mtime).  Raises Gone."""
        try:
            return self._internaldate
        except AttributeError:
            self._internaldate = self.folder.stat(self).st_mtime
            return self._internaldate

    @property
    def savedate(self) -> float:
        """When it came into this mailbox: seconds since 1970.  The time in its name; the internal date where a foreign name has none,
        for the file's ctime moves with each flag.  Raises Gone."""
        seconds = saved_at(self.base)
        return self.internaldate if seconds is None else seconds

    @property
    def emailid(self) -> bytes:
        """RFC 8474 §5.1"""
        return emailid_of(self.base)

    @property
    def guid(self) -> bytes:
        """Stays the same for the life of the message in this folder."""
        return uidlist.key_of(self.keys, b"G") or self.base


@dataclass(frozen=True)
class Doer:
    """Somebody who changes something and is no session."""

    who: bytes


@dataclass
class Changes:
    """What happened, as one step: UIDs that went, messages that came, messages whose flags are others now.

    by: what was handed to the method that made the change (a session, say), None for changes found on disk.  Where it has an attribute
    `who` (see formats.changes), that is written down.
    expunged and arrived are ascending; arrived lies above every UID known before.
    """

    expunged: list[int] = field(default_factory=list)
    arrived: list[Message] = field(default_factory=list)
    flags: list[Message] = field(default_factory=list)
    by: object = None

    @property
    def who(self) -> bytes:
        return getattr(self.by, "who", b"")

    def __bool__(self) -> bool:
        return bool(self.expunged or self.arrived or self.flags)


def overflow_of(keys: bytes) -> list[str]:
    """Keywords of an entry for which the folder had no letter left."""
    value = uidlist.key_of(keys, b"K")
    return [word.decode("utf-8", "surrogateescape") for word in value.split(b"\\") if word] if value else []


def count_vsize(fd: int) -> int:
    """Octets of an open file once every LF that lacks a CR has one; reads it in pieces."""
    total, at, last = 0, 0, b""
    while chunk := os.pread(fd, 1 << 20, at):
        at += len(chunk)
        total += len(chunk) + chunk.count(b"\n") - chunk.count(b"\r\n")
        if last == b"\r" and chunk[:1] == b"\n":
            total -= 1
        last = chunk[-1:]
    return total


def crlf(data: bytes) -> bytes:
    """data with every line end as CR LF; len() of it is the message's vsize."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
