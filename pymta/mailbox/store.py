"""store: the mailboxes of one user: a Maildir and its Maildir++ siblings."""
from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Iterable

from pymta.mailbox.folder import Folder

SPECIAL_USE = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Junk": "\\Junk", "Trash": "\\Trash", "Archive": "\\Archive"}


class NoSuchMailbox(LookupError):
    """The mailbox does not exist.  IMAP: NO [NONEXISTENT], or [TRYCREATE]."""


class NameRefused(ValueError):
    """A name that cannot be a mailbox, with the reason.  IMAP: NO [CANNOT]."""


class MailboxExists(ValueError):
    """The mailbox exists.  IMAP: NO [ALREADYEXISTS]."""


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


class MailStore:
    """maildir: path of the Maildir (made if it is not there; what it lacks is healed).  Cheap to make; may be shared.

    Mailbox names are str in Unicode with the separator "."; INBOX in any case is INBOX.
    """

    separator = "."

    def __init__(self, maildir: str) -> None:
        self.maildir = maildir

    def list(self) -> list[str]:
        """All mailboxes, INBOX first, the others in order of their names.  Parents that are not there are not listed."""
        raise NotImplementedError

    def exists(self, name: str) -> bool:
        raise NotImplementedError

    def create(self, name: str) -> None:
        """Raises MailboxExists, NameRefused.  Parents need not exist and are not made."""
        raise NotImplementedError

    def delete(self, name: str) -> None:
        """Raises NoSuchMailbox, NameRefused (INBOX).  Children stay."""
        raise NotImplementedError

    def rename(self, old: str, new: str) -> None:
        """With its children.  INBOX: its messages go to a new mailbox.  Raises NoSuchMailbox, MailboxExists, NameRefused."""
        raise NotImplementedError

    def subscribe(self, name: str) -> None:
        """The mailbox need not exist."""
        raise NotImplementedError

    def unsubscribe(self, name: str) -> None:
        raise NotImplementedError

    def subscriptions(self) -> list[str]:
        """In the file's order; may name mailboxes that do not exist."""
        raise NotImplementedError

    def special_use(self, name: str) -> str | None:
        """The special-use attribute (RFC 6154) of a mailbox, or None."""
        return SPECIAL_USE.get(name)

    def open(self, name: str) -> Folder:
        """The shared Folder, synced.  Each open wants one close.  Raises NoSuchMailbox, OSError."""
        raise NotImplementedError

    def close(self, folder: Folder) -> None:
        """Give back what open returned.  The last one ends the watch; the Folder is kept a while for the next open."""
        raise NotImplementedError

    def status(self, name: str, *, size: bool = False) -> Status:
        """Counts without selecting; never moves new/.  A few stats when nothing changed since the last time.  Raises NoSuchMailbox."""
        raise NotImplementedError


def make(maildir: str, folders: Iterable[str] = ("Drafts", "Sent", "Junk", "Trash", "Archive")) -> None:
    """Make a Maildir (tmp new cur, 0700) with these folders, subscribed.  What is there already is left alone."""
    raise NotImplementedError


def attach(loop: asyncio.AbstractEventLoop) -> None:
    """Let loop notice what others do to open folders and tell the listeners, and look at each every minute besides."""
    raise NotImplementedError
