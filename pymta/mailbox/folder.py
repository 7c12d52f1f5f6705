"""folder: one Maildir directory (new, cur, tmp) as a mailbox; shared by all sessions of one process."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Iterable, Sequence


class Gone(LookupError):
    """A message that is no longer there, not even in limbo."""


class Message:
    """One message.  The object is shared by all sessions and lives on after an expunge (then expunged is True).

    uid: int; flags: frozenset of str (system flags as in RFC 9051 with backslash, then keywords; never \\Recent);
    new: True while the file lies in new/ (no session has been told that it is \\Recent yet);
    size: octets on disk; vsize: octets with CRLF line ends (counted once where the name does not say);
    internaldate: seconds since 1970; guid: bytes, stays the same for the life of the message in this folder.
    """

    uid: int
    expunged: bool
    new: bool
    flags: frozenset[str]
    size: int
    vsize: int
    internaldate: float
    guid: bytes
    path: bytes


@dataclass
class Changes:
    """What happened, as one step: UIDs that went, messages that came, messages whose flags are others now.

    by: what was handed to the method that made the change (a session, say), None for changes found on disk.
    arrived is ascending, and above every UID known before.
    """

    expunged: list[int] = field(default_factory=list)
    arrived: list[Message] = field(default_factory=list)
    flags: list[Message] = field(default_factory=list)
    by: object = None

    def __bool__(self) -> bool:
        return bool(self.expunged or self.arrived or self.flags)


class Folder:
    """A mailbox that is open.  Obtained from MailStore.open, given back by MailStore.close.

    name: mailbox name (str); uidvalidity, uidnext: int; messages: list of Message ascending by UID (do not change it; a
    session that numbers messages keeps a copy of the list); keywords: list of str, those that exist in this folder;
    guid: 32 hex digits (bytes), the same for the life of the mailbox, kept by a rename (for OBJECTID).
    OSError (disk full, permission) and TimeoutError (somebody holds dovecot-uidlist.lock) may come from every method that writes.
    """

    name: str
    uidvalidity: int
    uidnext: int
    guid: bytes
    messages: list[Message]
    keywords: list[str]

    def get(self, uid: int) -> Message | None:
        """The message with this UID, None if it is not there (any more)."""
        raise NotImplementedError

    def sync(self) -> Changes:
        """Look at the disk, give UIDs to what is new, tell the listeners (all of them) and return what changed.  Does not move new/."""
        raise NotImplementedError

    def claim_recent(self, by: object = None) -> list[int]:
        """Move what lies in new/ to cur/ and return its UIDs: they are \\Recent for the caller, and for nobody else.

        For a read-write SELECT and after each sync of such a session; EXAMINE and STATUS never call it.  Messages that are
        \\Recent for a session of EXAMINE or STATUS are those with message.new.  What cannot be moved stays in new/ and is served from there.
        """
        raise NotImplementedError

    def set_flags(self, uids: Iterable[int], mode: str, flags: Iterable[str], by: object = None) -> list[Message]:
        """mode: "add", "remove" or "replace".  Returns the messages whose flags changed; UIDs that are gone are passed over.

        Keywords are compared without regard to case and keep the case they first had.  \\Recent is ignored.
        """
        raise NotImplementedError

    def append(self, data: bytes, flags: Iterable[str] = (), internaldate: float | None = None, by: object = None) -> int:
        """Store one message (LF line ends) and return its UID; file, name and UID are durable."""
        raise NotImplementedError

    def append_all(self, messages: Sequence[tuple[bytes, Iterable[str], float | None]], by: object = None) -> list[int]:
        """Store several, all or none, with the syncs of one."""
        raise NotImplementedError

    def copy(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        """Copy to target (may be this folder), all or none, flags and internal date kept.  [(uid, new uid)] ascending."""
        raise NotImplementedError

    def move(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        """Move to target.  [(uid, new uid)] ascending; a message is at every moment in one folder or the other."""
        raise NotImplementedError

    def expunge(self, uids: Iterable[int], by: object = None) -> list[int]:
        """Take messages out of the mailbox (whatever their flags) and return the UIDs that went now.

        They lie in limbo for a while: read() goes on working for sessions that have not been told yet.
        """
        raise NotImplementedError

    def read(self, uid: int) -> bytes:
        """The message as it is on disk (LF line ends, as a rule: use crlf()).  Also one that was expunged lately.  Raises Gone."""
        raise NotImplementedError

    def open_file(self, uid: int) -> int:
        """A descriptor to read the message from, for the caller to close.  Also one that was expunged lately.  Raises Gone."""
        raise NotImplementedError

    def path(self, uid: int) -> bytes:
        """Where the file lies just now (another program may rename it at any moment: prefer read).  Raises Gone."""
        raise NotImplementedError

    def add_listener(self, told: Callable[[Changes], None]) -> None:
        """told is called with every change of this folder, in order, within the call that made or found it.

        It must not call back into the folder's writing methods.  With attach(loop) and changes by others it runs in the loop.
        """
        raise NotImplementedError

    def remove_listener(self, told: Callable[[Changes], None]) -> None:
        raise NotImplementedError


def crlf(data: bytes) -> bytes:
    """data with every line end as CR LF; len() of it is the message's vsize."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
