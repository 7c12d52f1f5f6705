"""store: the mailboxes of one user: a Maildir and its Maildir++ siblings."""
from __future__ import annotations

import asyncio
import builtins
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from lockfile import LockTimeout

from pymta import clock, durable, log, watch
from pymta.formats import maildir, maildirsize, subscriptions
from pymta.formats.uidlist import NAME as UIDLIST
from pymta.locks import DotLock
from pymta.mailbox.folder import Folder, heal
from pymta.mailbox.message import Changes, NoSuchMailbox
from pymta.mailbox.scanner import Vanished

SPECIAL_USE = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Junk": "\\Junk", "Trash": "\\Trash", "Archive": "\\Archive"}
SLOW_LOOK_S = 60.0
_KEPT_FOLDERS = 64                                      # closed folders a process remembers
_KEPT_MESSAGES = 400_000
_DIRTY_S = 1.0
_ASIDE = b"..pymta-"                                    # directories that are being made or removed
_ASIDE_S = 3600.0                                       # what is older was left by a crash


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


_lock = threading.RLock()
_folders: dict[bytes, Folder] = {}                      # by directory; those without users are oldest first
_statuses: dict[bytes, tuple[object, Status]] = {}


class MailStore:
    """maildir: path of the Maildir (made if it is not there; what it lacks is healed).  Cheap to make; may be shared.

    Mailbox names are str in Unicode with the separator "."; INBOX in any case is INBOX.  A folder whose name is not proper
    modified UTF-7 has characters U+DC00 to U+DCFF in its name: formats.maildir.encode_utf7 makes them the bytes they are.
    """

    separator = "."

    def __init__(self, path: str | bytes) -> None:
        self.root = os.path.realpath(os.fsencode(path))
        self.maildir = os.fsdecode(self.root)
        if not os.path.isdir(self.root):
            make(self.maildir, ())

    # ---- mailboxes --------------------------------------------------------------------------------------------------------
    def list(self) -> builtins.list[str]:
        """All mailboxes, INBOX first, the others in order of their names.  Parents that are not there are not listed."""
        names, left = [], []
        with os.scandir(self.root) as entries:
            for entry in entries:
                if entry.name.startswith(_ASIDE) and entry.stat().st_ctime < clock.now() - _ASIDE_S:
                    left.append(entry.path)
                elif entry.name[:1] == b"." and (name := maildir.mailbox_of(entry.name)) and _is_folder(entry.path):
                    names.append(name)
        for path in left:
            _remove_tree(path)
        return ["INBOX", *sorted(names)]

    def _directory(self, name: str) -> bytes:
        folder = maildir.folder_of(name)
        if b"/" in folder or b"\0" in folder or folder in (b".", b".."):
            raise NameRefused(f"{name!r}: the name holds a character that mailbox names cannot have")
        return os.path.join(self.root, folder) if folder else self.root

    def exists(self, name: str) -> bool:
        try:
            named = maildir.mailbox_of(maildir.folder_of(name)) is not None
            return maildir.is_inbox(name) or named and _is_folder(self._directory(name))
        except NameRefused:
            return False

    def create(self, name: str) -> None:
        """Raises MailboxExists, NameRefused.  Parents need not exist and are not made."""
        self._make_folder(name)
        durable.sync_dir(self.root)
        self.close(self.open(name))                     # gives it its UIDVALIDITY

    def _make_folder(self, name: str) -> None:
        """Not durable yet."""
        if why := maildir.refuse(name):
            raise NameRefused(f"{name!r}: {why}")
        if self.exists(name):
            raise MailboxExists(name)
        directory = self._directory(name)
        # made aside and renamed, so that nobody ever sees half a folder
        aside = os.path.join(self.root, _ASIDE + b"new.%d.%d" % (os.getpid(), threading.get_ident()))
        _remove_tree(aside)
        durable.mkdir(aside, 0o700)
        for sub in maildir.SUBDIRS:
            durable.mkdir(os.path.join(aside, sub), 0o700)
        durable.create(os.path.join(aside, b"maildirfolder"), b"", 0o600, sync=False)
        durable.sync_dir(aside)
        try:
            durable.rename(aside, directory)
        except OSError:
            _remove_tree(aside)
            if self.exists(name):
                raise MailboxExists(name) from None
            raise

    def delete(self, name: str) -> None:
        """Raises NoSuchMailbox, NameRefused (INBOX).  Children stay."""
        if maildir.is_inbox(name):
            raise NameRefused("INBOX cannot be deleted")
        if not self.exists(name):
            raise NoSuchMailbox(name)
        directory = self._directory(name)
        aside = os.path.join(self.root, _ASIDE + b"gone.%d.%d" % (os.getpid(), int(clock.now() * 1e6)))
        with _lock:
            try:
                durable.rename(directory, aside)
            except FileNotFoundError:
                raise NoSuchMailbox(name) from None
            self._let_go(directory)
        maildirsize.forget(self.root)
        durable.sync_dir(self.root)
        _remove_tree(aside)

    def rename(self, old: str, new: str) -> None:
        """With its children.  INBOX: its messages go to a new mailbox.  Raises NoSuchMailbox, MailboxExists, NameRefused."""
        if why := maildir.refuse(new):
            raise NameRefused(f"{new!r}: {why}")
        if self.exists(new):
            raise MailboxExists(new)
        if maildir.is_inbox(old):
            return self._rename_inbox(new)
        children = [name for name in self.list() if name.startswith(old + ".")]
        if not self.exists(old) and not children:
            raise NoSuchMailbox(old)
        if (new + ".").startswith(old + "."):
            raise NameRefused(f"{new!r}: a mailbox cannot be put below itself")
        pairs = [(name, new + name[len(old):]) for name in [old, *children] if self.exists(name)]
        for _, name in pairs:
            if why := maildir.refuse(name):
                raise NameRefused(f"{name!r}: {why}")
            if self.exists(name):
                raise MailboxExists(name)
        with _lock:
            done: list[tuple[bytes, bytes]] = []
            try:
                for name, renamed in pairs:
                    durable.rename(self._directory(name), self._directory(renamed))
                    done.append((self._directory(name), self._directory(renamed)))
            except OSError:
                for directory, elsewhere in reversed(done):
                    durable.rename(elsewhere, directory)
                raise
            for name, _ in pairs:
                self._let_go(self._directory(name))
        durable.sync_dir(self.root)

    def _rename_inbox(self, new: str) -> None:
        self.create(new)
        inbox, target = self.open("INBOX"), None
        try:
            target = self.open(new)
            inbox.move([message.uid for message in inbox.messages], target)
        finally:
            self.close(inbox)
            if target:
                self.close(target)

    def _let_go(self, directory: bytes) -> None:
        folder = _folders.pop(directory, None)
        _statuses.pop(directory, None)
        if folder:
            folder.vanished = True
            folder.tell(Changes())
            folder.forget()

    def special_use(self, name: str) -> str | None:
        """The special-use attribute (RFC 6154) of a mailbox, or None."""
        return SPECIAL_USE.get(name)

    # ---- subscriptions ------------------------------------------------------------------------------------------------------
    def subscriptions(self) -> builtins.list[str]:
        """In the file's order; may name mailboxes that do not exist."""
        try:
            with open(os.path.join(self.root, subscriptions.NAME), "rb") as file:
                return subscriptions.decode(file.read())
        except FileNotFoundError:
            return []

    def subscribe(self, name: str) -> None:
        """The mailbox need not exist.  Raises NameRefused, TimeoutError."""
        if why := maildir.refuse(name):
            raise NameRefused(f"{name!r}: {why}")
        self._edit_subscriptions([name], [])

    def unsubscribe(self, name: str) -> None:
        self._edit_subscriptions([], [name])

    def _edit_subscriptions(self, more: builtins.list[str], less: builtins.list[str]) -> None:
        names = ["INBOX" if maildir.is_inbox(name) else name for name in more]
        before = self.subscriptions()
        if all(name in before for name in names) and not any(name in before for name in less):
            return
        path = os.path.join(self.root, subscriptions.NAME)
        lock = DotLock(os.fsdecode(path))
        try:
            lock.acquire(10)
        except LockTimeout as error:
            raise TimeoutError(str(error)) from None
        try:
            now = [name for name in self.subscriptions() if name not in less and not (maildir.is_inbox(name) and "INBOX" in less)]
            now += [name for name in names if name not in now]
            durable.replace(path, subscriptions.encode(now), 0o600)
        finally:
            lock.release()

    # ---- folders ----------------------------------------------------------------------------------------------------------
    def open(self, name: str) -> Folder:
        """The shared Folder, synced.  Each open wants one close.  Raises NoSuchMailbox, OSError."""
        name = "INBOX" if maildir.is_inbox(name) else name
        if not self.exists(name):
            raise NoSuchMailbox(name)
        directory = self._directory(name)
        for _ in range(3):
            with _lock:
                folder = _folders.pop(directory, None)
                if folder is None or folder.vanished:
                    folder = Folder(self.root, name)
                folder.opening += 1
                _folders[directory] = folder
            try:
                folder.open()
                return folder
            except Vanished:                            # what we knew is another one now, or nothing
                with _lock:
                    if _folders.get(directory) is folder:
                        self._let_go(directory)
            finally:
                with _lock:
                    folder.opening -= 1
        raise NoSuchMailbox(name)

    def close(self, folder: Folder) -> None:
        """Give back what open returned.  The last one ends the watch; the Folder is kept a while for the next open."""
        folder.close()
        with _lock:
            if folder.users == 0 and _folders.get(folder.directory) is folder:
                _folders[folder.directory] = _folders.pop(folder.directory)
                if folder.vanished:
                    self._let_go(folder.directory)
            _forget_old()

    def status(self, name: str, *, size: bool = False) -> Status:
        """Counts without selecting; never moves new/.  A few stats when nothing changed since.  Raises NoSuchMailbox."""
        name = "INBOX" if maildir.is_inbox(name) else name
        directory = self._directory(name)
        stamp = _stamp(directory)
        if stamp is not None and directory in _statuses:
            known, status = _statuses[directory]
            if known == stamp and (not size or status.size is not None):
                return status if size else replace(status, size=None)
        folder = self.open(name)
        try:
            stamp = _stamp(directory)
            status = _status(folder, size)
        finally:
            self.close(folder)
        if stamp is not None and stamp == _stamp(directory):
            _statuses[directory] = (stamp, status)
        return status if size else replace(status, size=None)


def _status(folder: Folder, size: bool) -> Status:
    known = folder.counted
    if known and known[0] == folder.version and (not size or known[1].size is not None):
        return replace(known[1], recent=len(folder.in_new), uidnext=folder.uidnext)
    status = _count(folder, size)
    folder.counted = folder.version, status
    return status


def _count(folder: Folder, size: bool) -> Status:
    messages = folder.messages
    unseen, deleted = folder.count_flags(messages)
    return Status(len(messages), len(folder.in_new), unseen, deleted, folder.uidnext, folder.uidvalidity, folder.guid,
                  sum(message.vsize for message in messages) if size else None)


def _stamp(directory: bytes) -> object:
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


def _forget_old() -> None:
    idle = [folder for folder in _folders.values() if not folder.users and not folder.opening]
    count, messages = len(idle), sum(len(folder.messages) for folder in idle)
    for folder in idle:
        if count <= _KEPT_FOLDERS and messages <= _KEPT_MESSAGES:
            break
        count, messages = count - 1, messages - len(folder.messages)
        del _folders[folder.directory]
        folder.forget()


def _is_folder(path: bytes) -> bool:
    """A directory that is, or was meant to be, a Maildir: it has one of its parts."""
    return any(os.path.exists(os.path.join(path, part)) for part in (b"cur", b"maildirfolder", b"new"))


def _remove_tree(path: bytes) -> None:
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


def make(path: str, folders: Iterable[str] = ("Drafts", "Sent", "Junk", "Trash", "Archive")) -> None:
    """Make a Maildir (tmp new cur, 0700) with these folders, subscribed, and the home it lies in.  What is there already is left alone."""
    root = os.fsencode(path)
    _make_above(os.path.dirname(root))
    if durable.mkdir(root, 0o700):
        for sub in maildir.SUBDIRS:
            durable.mkdir(os.path.join(root, sub), 0o700)
        durable.sync_dirs([os.path.dirname(root) or b".", root])
    heal(root)
    store = MailStore(path)
    wanted = list(folders)
    new = [name for name in wanted if not store.exists(name)]
    for name in new:
        try:
            store._make_folder(name)
        except MailboxExists:
            pass                                        # made by somebody else just now
    if new:
        durable.sync_dir(root)
    if new or wanted and not os.path.exists(os.path.join(root, subscriptions.NAME)):
        store._edit_subscriptions(new or wanted, [])


def _make_above(home: bytes) -> None:
    """Make a home (0700) that is missing, and what is missing above it (0711, a domain's directory say), durably."""
    missing = []
    while home and not os.path.isdir(home):
        missing.append(home)
        home = os.path.dirname(home)
    for path in reversed(missing):
        durable.mkdir(path, 0o700 if path == missing[0] else 0o711, exact=True)
        durable.sync_dir(os.path.dirname(path) or b".")


def attach(loop: asyncio.AbstractEventLoop) -> None:
    """Let loop notice what others do to open folders, and look at each every minute besides.

    The looking is done in a thread of its own, and the listeners are told from there: a folder may be busy for a while."""
    looker = ThreadPoolExecutor(1, thread_name_prefix="look")
    try:
        watcher = watch.shared()
    except OSError as error:
        log.event("trouble", why=f"no inotify, looking every {SLOW_LOOK_S:.0f} s instead: {error}")
    else:
        loop.add_reader(watcher.fileno(), _heard, watcher, looker)
    loop.call_later(SLOW_LOOK_S, _slow_look, loop, looker)


def _heard(watcher: watch.Watcher, looker: ThreadPoolExecutor) -> None:
    watcher.drain()
    for folder in list(_folders.values()):
        if folder.scanner.pending and not folder.look_is_due:
            folder.look_is_due = True
            looker.submit(_sync, folder)


def _slow_look(loop: asyncio.AbstractEventLoop, looker: ThreadPoolExecutor) -> None:
    loop.call_later(SLOW_LOOK_S, _slow_look, loop, looker)
    for folder in list(_folders.values()):
        if folder.users:
            looker.submit(_sync, folder)


def _sync(folder: Folder) -> None:
    folder.look_is_due = False
    try:
        folder.sync()
    except OSError as error:
        log.event("trouble", mailbox=folder.directory, why=str(error))
    except Exception as error:
        log.bug(f"sync of {folder.name}", error)
