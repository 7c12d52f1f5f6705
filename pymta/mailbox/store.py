"""store: the mailboxes of one user: a Maildir and its Maildir++ siblings."""
from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pymta import durable
from pymta.formats import maildir, maildirsize, metadata, subscriptions
from pymta.locks import held
from pymta.mailbox import annotating, monitor, opened, room
from pymta.mailbox.counts import Status, stamp, status_of
from pymta.mailbox.folder import Folder
from pymta.mailbox.making import is_folder, make_folder, make_root, put_aside, remove_tree, was_left
from pymta.mailbox.message import NoSuchMailbox


class NameRefused(ValueError):
    """A name that cannot be a mailbox, with the reason.  IMAP: NO [CANNOT]."""


class MailboxExists(ValueError):
    """The mailbox exists.  IMAP: NO [ALREADYEXISTS]."""


class MailStore:
    """path: of the Maildir (made if it is not there; what it lacks is healed); quota_octets: what it may hold, 0 for any amount.
    Cheap to make; may be shared.

    Mailbox names are str in Unicode with the separator "."; INBOX in any case is INBOX.  A folder whose name is not proper
    modified UTF-7 has characters U+DC00 to U+DCFF in its name: formats.maildir.encode_utf7 makes them the bytes they are.
    """

    separator = "."

    @property
    def prefixes(self) -> tuple[str, str]:
        """Of other users' mailboxes, and of shared ones; "" where there are none: see Spaces."""
        return "", ""

    def __init__(self, path: str | bytes, quota_octets: int = 0) -> None:
        self.quota_octets = quota_octets
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
                if was_left(entry):
                    left.append(entry.path)
                elif entry.name[:1] == b"." and (name := maildir.mailbox_of(entry.name)) and is_folder(entry.path):
                    names.append(name)
        for path in left:
            remove_tree(path)
        return ["INBOX", *sorted(names)]

    def directory(self, name: str) -> bytes:
        """Where a mailbox lies, or would.  Raises NameRefused."""
        folder = maildir.folder_of(name)
        if b"/" in folder or b"\0" in folder or folder in (b".", b".."):
            raise NameRefused(f"{name!r}: the name holds a character that mailbox names cannot have")
        return os.path.join(self.root, folder) if folder else self.root

    def exists(self, name: str) -> bool:
        try:
            named = maildir.mailbox_of(maildir.folder_of(name)) is not None
            return maildir.is_inbox(name) or named and is_folder(self.directory(name))
        except NameRefused:
            return False

    def create(self, name: str, use: bytes = b"") -> None:
        """use: special-use attributes (RFC 6154), with blanks between.  Parents need not exist and are not made.
        Raises MailboxExists, NameRefused, NoSuchUse."""
        self._make_folder(name, {metadata.NAME: metadata.encode({annotating.ROLE: annotating.roles_of(use).encode()})} if use else {})
        durable.sync_dir(self.root)
        try:
            self.close(self.open(name))                 # gives it its UIDVALIDITY
        except NoSuchMailbox:
            pass                                        # it was there, and somebody has removed it

    def _make_folder(self, name: str, files: Mapping[bytes, bytes] = MappingProxyType({})) -> None:
        """Not durable yet."""
        if why := maildir.refuse(name):
            raise NameRefused(f"{name!r}: {why}")
        if self.exists(name):
            raise MailboxExists(name)
        try:
            make_folder(self.root, self.directory(name), files)
        except OSError:
            if self.exists(name):
                raise MailboxExists(name) from None
            raise

    def delete(self, name: str) -> None:
        """Raises NoSuchMailbox, NameRefused (INBOX).  Children stay."""
        if maildir.is_inbox(name):
            raise NameRefused("INBOX cannot be deleted")
        if not self.exists(name):
            raise NoSuchMailbox(name)
        directory = self.directory(name)
        try:
            with opened.held([directory]) as locks, opened.lock:
                aside = put_aside(self.root, directory)
                locks[directory].moved(aside)
                opened.let_go(directory)
        except FileNotFoundError:
            raise NoSuchMailbox(name) from None
        maildirsize.forget(self.root)
        durable.sync_dir(self.root)
        remove_tree(aside)

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
        try:
            self._rename_all([(self.directory(name), self.directory(renamed)) for name, renamed in pairs])
        except FileNotFoundError:
            raise NoSuchMailbox(old) from None          # somebody was faster
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise MailboxExists(new) from None
            raise
        durable.sync_dir(self.root)

    def _rename_all(self, pairs: builtins.list[tuple[bytes, bytes]]) -> None:
        """Rename directories: all of them, or none."""
        with opened.held([directory for directory, _ in pairs]) as locks, opened.lock:
            done: builtins.list[tuple[bytes, bytes]] = []
            try:
                for directory, elsewhere in pairs:
                    durable.rename(directory, elsewhere)
                    locks[directory].moved(elsewhere)
                    done.append((directory, elsewhere))
            except OSError:
                for directory, elsewhere in reversed(done):
                    durable.rename(elsewhere, directory)
                    locks[directory].moved(directory)
                raise
            for directory, _ in pairs:
                opened.let_go(directory)

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

    def special_use(self, name: str) -> str | None:
        """The special-use attributes (RFC 6154) of a mailbox, with blanks between, or None.  The others are looked at only where it
        matters what they say: a LIST may ask for the annotations of each of ten thousand."""
        given = annotating.role(os.path.join(self.directory(name), metadata.NAME))
        if given is None and name in annotating.BY_NAME:
            return self.special_uses(self.list()).get(name)
        return annotating.uses([(name, given)]).get(name)

    def special_uses(self, names: Iterable[str]) -> dict[str, str]:
        """The same of all mailboxes, which are names."""
        return annotating.uses((name, annotating.role(os.path.join(self.directory(name), metadata.NAME)))
                               for name in names)

    # ---- annotations ----------------------------------------------------------------------------------------------------------
    def annotations(self, name: str) -> dict[str, bytes]:
        """What clients have written down about a mailbox, "" for the server: entry in lower case -> value.  Raises NoSuchMailbox, OSError."""
        out = annotating.read(self._annotations(name))
        if name and (role := self.special_use("INBOX" if maildir.is_inbox(name) else name)):
            out[annotating.ROLE] = role.encode()
        return out

    def annotate(self, name: str, changes: Mapping[str, bytes | None]) -> None:
        """Set entries, in lower case; None removes one.  All or nothing, and durable.
        Raises NoSuchMailbox, NameRefused (an entry that cannot be), NoSuchUse, TooMany, TooBig, TimeoutError, OSError."""
        path = self._annotations(name)
        if not all(map(metadata.is_name, changes)) or not name and annotating.ROLE in changes:
            raise NameRefused("there can be no such entry")
        role = changes.get(annotating.ROLE)
        if role is not None:
            changes = {**changes, annotating.ROLE: annotating.roles_of(role).encode()}
        try:
            annotating.change(path, changes)
        except FileNotFoundError:                       # deleted or renamed meanwhile
            raise NoSuchMailbox(name) from None

    def _annotations(self, name: str) -> bytes:
        if not name:
            return os.path.join(self.root, metadata.SERVER_NAME)
        if not self.exists(name):
            raise NoSuchMailbox(name)
        return os.path.join(self.directory("INBOX" if maildir.is_inbox(name) else name), metadata.NAME)

    def quota(self, name: str) -> room.Quota | None:
        """What this mailbox, which need not exist, and all that share its quota hold; None where it has none.  Raises OSError."""
        return room.quota(self.maildir, self.quota_octets)

    def need_room(self, name: str, octets: int, *, freed: int = 0, of: str = "") -> None:
        """Raises OverQuota where octets do not fit into this mailbox, OSError.  freed: octets that go from the mailbox of for it."""
        if octets > freed:
            room.need_room(self.maildir, self.quota_octets, octets - freed)

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
        with held(path):
            now = [name for name in self.subscriptions() if name not in less and not (maildir.is_inbox(name) and "INBOX" in less)]
            now += [name for name in names if name not in now]
            durable.replace(path, subscriptions.encode(now), 0o600)

    # ---- folders ----------------------------------------------------------------------------------------------------------
    def open(self, name: str, right: str = "r") -> Folder:
        """The shared Folder, synced.  Each open wants one close.  Raises NoSuchMailbox, OSError.

        right: what for, by the letters of RFC 4314: to a Spaces that matters."""
        name = "INBOX" if maildir.is_inbox(name) else name
        if not self.exists(name):
            raise NoSuchMailbox(name)
        return opened.open_folder(self.root, self.directory(name), name)

    def close(self, folder: Folder) -> None:
        """Give back what open returned.  The last one ends the watch; the Folder is kept a while for the next open."""
        opened.close_folder(folder)

    def status(self, name: str, *, size: bool = False) -> Status:
        """Counts without selecting; never moves new/.  A few stats when nothing changed since.  Raises NoSuchMailbox."""
        name = "INBOX" if maildir.is_inbox(name) else name
        directory = self.directory(name)
        now = stamp(directory)
        if now is not None and directory in opened.statuses:
            known, status = opened.statuses[directory]
            if known == now and (not size or status.size is not None):
                return status if size else replace(status, size=None)
        folder = self.open(name)
        try:
            now = stamp(directory)
            status = status_of(folder, size)
        finally:
            self.close(folder)
        if now is not None and now == stamp(directory):
            opened.statuses[directory] = now, status
        return status if size else replace(status, size=None)


    # ---- watching: RFC 5465 -----------------------------------------------------------------------------------------------
    def is_own(self, name: str) -> bool:
        """Whether a mailbox of this name is, or would be, one of the user's own: see Spaces."""
        return True

    def tree(self, others: bool = False) -> monitor.Tree:
        """The mailboxes there are, each with what a rename does not change, and the subscriptions.  others: also of others, see Spaces."""
        mailboxes: dict[str, object] = {}
        with opened.lock:                               # a rename with its children is one step
            for name in filter(self.is_own, MailStore.list(self)):
                try:
                    mailboxes[name] = os.stat(self.directory(name)).st_ino
                except FileNotFoundError:
                    pass                                # gone just now
        return monitor.Tree(mailboxes, frozenset(self.subscriptions()))

    def watch_tree(self, told: monitor.Told, *, others: bool = False, most: int = 0) -> monitor.Watch | monitor.Watches:
        """told is called, in any thread, when tree() may be another.  The Watch wants a stop().  most: mailboxes of others to watch."""
        return monitor.Watch(self.root, told, "tree")

    def watch(self, name: str, told: monitor.Told) -> monitor.Watch:
        """told is called, in any thread, when something may have happened in a mailbox, which is not opened for it; Watch.status()
        says what is true.  Raises NoSuchMailbox, NameRefused."""
        try:
            return monitor.Watch(self.directory(name), told, "mail", lambda with_modseq: self._numbers(name, with_modseq))
        except FileNotFoundError:
            raise NoSuchMailbox(name) from None

    def watch_notes(self, name: str, told: monitor.Told) -> monitor.Watch:
        """The same for the annotations of a mailbox, "" for the server: see noted()."""
        return monitor.Watch(os.path.dirname(self._annotations(name)), told, "notes" if name else "server notes")

    def noted(self, name: str) -> dict[str, int]:
        """What tells whether the annotations of a mailbox, "" for the server, have changed: entry -> a number made of its value."""
        return {entry: hash(value) for entry, value in annotating.read(self._annotations(name)).items()}

    def _numbers(self, name: str, with_modseq: bool) -> tuple[Status, int]:
        if not with_modseq:
            return self.status(name), 0
        folder = self.open(name)
        try:
            return status_of(folder, False), folder.highestmodseq
        finally:
            self.close(folder)


def make(path: str, folders: Iterable[str] = ("Drafts", "Sent", "Junk", "Trash", "Archive")) -> None:
    """Make a Maildir (tmp new cur, 0700) with these folders, subscribed, and the home it lies in.  What is there already is left alone."""
    root = os.fsencode(path)
    make_root(root)
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
