"""drop: the INBOX of one user as POP3 sees it: a snapshot with exact sizes and lasting ids, for one session at a time.

The unique id of a message, the first of these that is 1 to 70 octets of 0x21-0x7E (RFC 1939 §7) and not yet taken:

    key P of its line in dovecot-uidlist        what an earlier server showed; Dovecot honours and keeps it too
    the format in key P of the uidlist's head   "%08Xu%08Xv" and the like, as in Dovecot's pop3_uidl_format
    its file name without flags                 the rule; as qmail-pop3d, and Dovecot's %f
    a digest of that                            where the name is longer, or has other octets

Key O, where lines have it, gives the order.  Which messages are shown at all is said by the caller: all, unseen, or those of
the last days (`30d`).  A message's id does not depend on that.  While a Drop is open it holds an flock on pymta-pop3.lock in the Maildir, which
ends with the process; IMAP sessions and deliveries take no notice of it.  Nothing is removed but by `remove`.

Every function here may wait for the disk: call `open_drop`, `remove` and `close` from a thread.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import re
from dataclasses import dataclass, field

from pymta import clock
from pymta.formats import uidlist
from pymta.mailbox import Folder, Gone, MailStore, Message, make

__all__ = ["Drop", "Gone", "InUse", "open_drop"]

LOCK = "pymta-pop3.lock"
_GRAPHIC = re.compile(rb"[!-~]{1,70}")
_FORMAT = re.compile(r"%(0?)(\d*)([LUXxo]?)([uvgf])")


class InUse(Exception):
    """Another POP3 session has the drop."""


@dataclass
class Drop:
    """sizes: octets with CR LF line ends; uids: unique ids; both by index, which never changes while the drop is open;
    by: who removes (Changes.by)."""

    store: MailStore
    folder: Folder
    lock: int
    messages: list[Message] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    uids: list[bytes] = field(default_factory=list)
    by: object = None

    def open_file(self, index: int) -> int:
        """A descriptor to read message index from, for the caller to close.  Raises Gone, OSError."""
        message = self.messages[index]
        if message.expunged:
            raise Gone(message.uid)
        return self.folder.open_file(message.uid)

    def remove(self, indices: tuple[int, ...]) -> int:
        """Remove messages, durably; how many are still there.  What somebody else has removed counts as removed.
        Raises OSError where the disk refuses: some may be gone, none is for certain."""
        wanted = [self.messages[index].uid for index in indices]
        self.folder.expunge(wanted, self.by)
        return sum(self.folder.get(uid) is not None for uid in wanted)

    def close(self) -> None:
        """Let the next session in."""
        if self.lock >= 0:
            lock, self.lock = self.lock, -1
            os.close(lock)
            self.store.close(self.folder)


def open_drop(maildir: str, folders: tuple[str, ...] = (), shows: str = "all") -> Drop:
    """Lock a user's INBOX and take the snapshot.  A Maildir that is not there yet is made, with these folders.
    shows: "all", "unseen" or a number of days ("30d").
    Raises InUse, OSError, TimeoutError (somebody holds the uidlist)."""
    if not os.path.isdir(os.path.join(maildir, "cur")):
        make(maildir, folders)
    store = MailStore(maildir)
    folder = store.open("INBOX")
    try:
        lock = _lock(os.path.join(maildir, LOCK))
        try:
            drop = Drop(store, folder, lock)
            _fill(drop, os.path.join(os.fsencode(maildir), uidlist.NAME), shows)
            return drop
        except BaseException:
            os.close(lock)
            raise
    except BaseException:
        store.close(folder)
        raise


def _lock(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise InUse(path) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _fill(drop: Drop, list_path: bytes, shows: str) -> None:
    messages = list(drop.folder.messages)
    form, keys = _uidlist_keys(list_path)
    if any(b"O" in key for key in keys.values()):
        messages.sort(key=lambda message: (_order(keys.get(message.uid, b"")), message.uid))
    since = clock.now() - int(shows[:-1]) * 86400 if shows.endswith("d") else 0.0
    taken: set[bytes] = set()
    for message in messages:
        try:
            hidden = shows == "unseen" and "\\Seen" in message.flags or since and message.internaldate < since
            size = 0 if hidden else message.vsize
        except (Gone, OSError):
            continue                                    # it has just gone, or cannot be read: it is not in this drop
        uid = unique_id(message.base, message.uid, drop.folder.uidvalidity, _key(keys.get(message.uid, b""), b"P"), form)
        if uid in taken:
            uid = digest(message.base)
        taken.add(uid)
        if hidden:
            continue
        drop.messages.append(message)
        drop.sizes.append(size)
        drop.uids.append(uid)


def unique_id(base: bytes, uid: int, uidvalidity: int, saved: bytes = b"", form: str = "") -> bytes:
    """The unique id of one message.  saved: its own key P; form: the header's."""
    if _GRAPHIC.fullmatch(saved):
        return saved
    if form:
        formatted = formatted_id(form, base, uid, uidvalidity)
        if _GRAPHIC.fullmatch(formatted):
            return formatted
    return base if _GRAPHIC.fullmatch(base) else digest(base)


def digest(base: bytes) -> bytes:
    """An id of 32 letters that depends on the file's name only."""
    return hashlib.blake2b(base, digest_size=16).hexdigest().encode("ascii")


def formatted_id(form: str, base: bytes, uid: int, uidvalidity: int) -> bytes:
    """What a pop3_uidl_format of Dovecot's makes: %u UID, %v UIDVALIDITY, %f and %g the name; width, 0 and X as there."""
    values = {"u": uid, "v": uidvalidity, "f": base.decode("latin-1"), "g": base.decode("latin-1")}

    def one(found: re.Match[str]) -> str:
        zero, width, change, what = found.groups()
        value = values[what]
        if change in ("X", "x"):
            text = f"{value:x}" if isinstance(value, int) else ""       # Dovecot's X gives small letters
        else:
            text = str(value).upper() if change == "U" else str(value)
        return text.rjust(min(int(width), 70), "0") if zero and width else text[:int(width)] if width else text
    return _FORMAT.sub(one, form).encode("latin-1", "replace")


def _uidlist_keys(path: bytes) -> tuple[str, dict[int, bytes]]:
    """(format of unique ids or "", {uid: keys}); nothing where the file has no such keys, which costs one read."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return "", {}
    if b" P" not in data and b" O" not in data:
        return "", {}
    try:
        found = uidlist.decode(data)
    except uidlist.Damaged:
        return "", {}
    form = next((word[1:] for word in found.more if word.startswith(b"P")), b"")
    return form.decode("latin-1"), found.keys


def _key(keys: bytes, letter: bytes) -> bytes:
    return next((word[1:] for word in keys.split(b" ") if word.startswith(letter)), b"")


def _order(keys: bytes) -> float:
    digits = _key(keys, b"O")
    return int(digits) if digits.isdigit() and len(digits) < 12 else float("inf")
