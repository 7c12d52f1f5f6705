"""sharing: the users whose mailboxes can be opened from here, and which of them share something.

A process can only open what belongs to its own uid: that is whom it knows here, and a user of another uid is nobody.
"""
from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress

from pymta import clock, durable, log
from pymta.accounts import Accounts, Mailbox, Trouble
from pymta.formats import shares
from pymta.formats.acl import Entry
from pymta.locks import held
from pymta.mailbox import rights
from pymta.settings import Settings

_AGAIN_S = 60.0                                         # before everybody is looked at again, where the list cannot be written
_MAKING_S = 60.0                                        # how long one process waits for another that makes it
_WAIT_S = 1.0                                           # how long a LIST waits for the list to be made


class Sharing:
    """users: whether users may share; shared: the directory of what belongs to all, "" for none.  One for a process."""

    def __init__(self, settings: Settings, accounts: Accounts | None = None) -> None:
        self._accounts = accounts or Accounts(settings)
        self._path = os.path.join(settings["local.virtual_home"], shares.NAME)
        self._lock = threading.Lock()
        self._stamp: object = None                      # of the list that was read last,
        self._known: shares.Shares = {}                 # what it says,
        self._whole = False                             # and whether everybody is in it
        self._found: shares.Shares = {}                 # what is known besides
        self._making: threading.Thread | None = None
        self._wait_until = self._not_before = 0.0       # clock.tick()
        self.users: bool = settings["imap.share_users"] and self._is_virtual()
        self.shared = self._usable(settings["imap.shared"])

    def _is_virtual(self) -> bool:
        try:
            return self._accounts.virtual_owner()[0] == os.geteuid()
        except Trouble:
            return False

    @staticmethod
    def _usable(directory: str) -> str:
        if not directory:
            return ""
        try:
            status = os.stat(directory)
        except OSError as error:
            log.event("trouble", file=directory, why=error.strerror or str(error), remedy="make it, or unset imap.shared")
            return ""
        if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
            return ""                                   # of a uid that is not ours: there is nothing that we could open
        return directory

    def find(self, name: str) -> Mailbox | None:
        """The mailbox of a user by address, or by name in the first domain; None if it cannot be opened from here."""
        try:
            box = self._accounts.login(name) if self.users else None
        except (Trouble, OSError):
            return None
        return box if box and box.uid == os.geteuid() else None

    # ---- who shares with whom -------------------------------------------------------------------------------------------
    @property
    def directory(self) -> bytes:
        """Where the list lies."""
        return os.fsencode(os.path.dirname(self._path))

    def owners(self, address: str) -> list[str]:
        """Addresses of those who may share something with this user.  Where the list is being made, those found so far."""
        if not self.users:
            return []
        if not self._read():
            self._make_soon()
        identifiers = ("anyone", "authenticated", f"user={address}")
        found = {owner for by in (self._known, self._found) for identifier in identifiers for owner in list(by.get(identifier, ()))}
        return sorted(found - {address})

    def note(self, owner: str, identifier: str) -> None:
        """This owner is about to share something with this identifier."""
        if not self.users or self._read() and owner in self._known.get(identifier, ()):
            return
        shares.add(self._found, owner, identifier)
        try:
            self._merge({identifier: [owner]}, whole=False)
        except OSError as error:
            self._trouble(error)

    def _read(self) -> bool:
        """Take in the list as it is now; whether everybody is in it."""
        with self._lock:
            try:
                status = os.stat(self._path)
                stamp = status.st_ino, status.st_mtime_ns, status.st_size
                if stamp != self._stamp:
                    with open(self._path, "rb") as file:
                        self._whole, self._known = shares.decode(file.read())
                    self._stamp = stamp
            except FileNotFoundError:
                self._whole, self._stamp = False, None
            except OSError as error:
                self._trouble(error)
            return self._whole

    def _merge(self, more: shares.Shares, *, whole: bool) -> None:
        """Add to the list; whole: now everybody is in it.  Raises OSError, TimeoutError."""
        with held(self._path):
            try:
                with open(self._path, "rb") as file:
                    was_whole, now = shares.decode(file.read())
            except FileNotFoundError:
                was_whole, now = False, {}
            for identifier, owners in more.items():
                for owner in owners:
                    shares.add(now, owner, identifier)
            durable.replace(self._path, shares.encode(now, whole=whole or was_whole), 0o600)

    def _make_soon(self) -> None:
        """Have everybody looked at, in a thread of its own; whoever comes in its first second waits until that is over."""
        with self._lock:
            if self._making is None and clock.tick() >= self._not_before:
                self._making, self._wait_until = threading.Thread(target=self._make, name="shares", daemon=True), clock.tick() + _WAIT_S
                self._making.start()
            making = self._making
        if making:
            making.join(max(0.0, self._wait_until - clock.tick()))
            self._read()

    def _make(self) -> None:
        try:
            with held(self._path + ".making", _MAKING_S):      # one process looks, the others wait for it
                if not self._read():
                    self._merge({}, whole=False)        # who gives rights from here on finds a list to add to
                    self._look_at_all()
                    self._merge({identifier: list(owners) for identifier, owners in list(self._found.items())}, whole=True)
        except OSError as error:                        # what can be found is known all the same
            self._trouble(error)
            self._not_before = clock.tick() + _AGAIN_S
            with suppress(OSError):
                self._look_at_all()
        except Exception as error:
            self._not_before = clock.tick() + _AGAIN_S
            log.bug("the list of who shares", error)
        finally:
            self._making = None

    def _look_at_all(self) -> None:
        for box in self._accounts.users():
            if box.uid == os.geteuid():
                for entry in _entries(box.maildir):
                    if entry.rights and not entry.negative:
                        shares.add(self._found, box.address, entry.identifier)

    def _trouble(self, error: OSError) -> None:
        log.event("trouble", file=self._path, why=error.strerror or str(error))



def _entries(directory: str) -> Iterator[Entry]:
    """Those of all mailboxes of a Maildir."""
    root = os.fsencode(directory)
    try:
        names = os.listdir(root)
    except OSError:
        return
    for name in (b"", *(name for name in names if name[:1] == b"." and name[:2] != b"..")):
        yield from rights.read(os.path.join(root, name)) or ()
