"""sharing: the users whose mailboxes can be opened from here, and which of them share something.

A process can only open what belongs to its own uid: that is whom it knows here, and a user of another uid is nobody.
"""
from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lockfile import LockTimeout

from pymta import clock, durable, log
from pymta.accounts import Accounts, Mailbox, Trouble
from pymta.formats import shares
from pymta.locks import DotLock
from pymta.mailbox import rights
from pymta.mailbox.store import MailStore
from pymta.settings import Settings

_AGAIN_S = 60.0                                         # before everybody is looked at again, where the file cannot be written


class Sharing:
    """users: whether users may share; shared: the directory of what belongs to all, "" for none.  One for a process."""

    def __init__(self, settings: Settings, accounts: Accounts | None = None) -> None:
        self._accounts = accounts or Accounts(settings)
        self._path = os.path.join(settings["local.virtual_home"], shares.NAME)
        self._lock = threading.Lock()
        self._failed_at = 0.0
        self._known: tuple[object, dict[str, list[str]]] = (None, {})
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
    def owners(self, address: str) -> list[str]:
        """Addresses of those who may share something with this user."""
        if not self.users:
            return []
        by = self._read()
        found = [owner for identifier in ("anyone", "authenticated", f"user={address}") for owner in by.get(identifier, ())]
        return sorted({owner for owner in found if owner != address})

    def note(self, owner: str, identifier: str) -> None:
        """This owner shares something with this identifier."""
        if not self.users or owner in self._read().get(identifier, ()):
            return
        try:
            with self._held():
                durable.append(self._path, shares.line(owner, identifier))
        except OSError as error:
            self._trouble(error)

    def _read(self) -> dict[str, list[str]]:
        with self._lock:
            for _ in range(2):
                try:
                    status = os.stat(self._path)
                    stamp = status.st_ino, status.st_mtime_ns, status.st_size
                    if stamp != self._known[0]:
                        with open(self._path, "rb") as file:
                            found = shares.decode(file.read())
                        if found is None:
                            raise FileNotFoundError
                        self._known = stamp, found
                    return self._known[1]
                except FileNotFoundError:
                    if abs(clock.now() - self._failed_at) < _AGAIN_S or not self._make():
                        break
                except OSError as error:
                    self._trouble(error)
                    break
            return self._known[1]

    def _make(self) -> bool:
        """The file anew, from every dovecot-acl there is.  False where it cannot be written: what was found is known all the same."""
        found: dict[str, list[str]] = {}
        for box in self._accounts.users():
            if box.uid != os.geteuid() or not os.path.isdir(os.path.join(box.maildir, "cur")):
                continue
            store = MailStore(box.maildir)
            for name in store.list():
                for entry in rights.read(store.directory(name)) or ():
                    if entry.rights and not entry.negative and box.address not in found.setdefault(entry.identifier, []):
                        found[entry.identifier].append(box.address)
        self._known = self._known[0], found
        try:
            with self._held():
                durable.replace(self._path, shares.HEAD + b"".join(
                    shares.line(owner, identifier) for identifier, owners in found.items() for owner in owners), 0o600)
        except OSError as error:
            self._trouble(error)
            self._failed_at = clock.now()
            return False
        return True

    @contextmanager
    def _held(self) -> Iterator[None]:
        lock = DotLock(self._path)
        try:
            lock.acquire(10)
        except LockTimeout as error:
            raise TimeoutError(str(error)) from None
        try:
            yield
        finally:
            lock.release()

    def _trouble(self, error: OSError) -> None:
        log.event("trouble", file=self._path, why=error.strerror or str(error))
