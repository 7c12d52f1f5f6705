"""A store of mailboxes in memory, for tests of what stands on pymta.mailbox: the same methods, the same exceptions, no disk."""
from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable, Iterable

from pymta.formats.changes import ranges_of
from pymta.formats.index import Entry
from pymta.index.describe import describe
from pymta.formats import maildir, metadata
from pymta.formats.acl import RIGHTS, in_order
from pymta.formats.acl import Entry as Acl
from tests.searched import by_reading
from pymta.mailbox import Changes, Gone, MailboxExists, NameRefused, NoSuchMailbox, OverQuota, Quota, Status, TooBig, annotating
from pymta.mailbox.monitor import Tree

SPECIAL_USE = {name: "\\" + name for name in ("Drafts", "Sent", "Junk", "Trash", "Archive")}
_uidvalidity = itertools.count(1000)
_emailid = itertools.count(1)


class Message:
    def __init__(self, uid: int, data: bytes, flags: Iterable[str], internaldate: float) -> None:
        self.uid = uid
        self.data = data
        self.flags = frozenset(flags)
        self.internaldate = internaldate
        self.new = True
        self.modseq = 0
        self.folder: Folder
        self.expunged = False
        self.savedate = 1_600_000_000.0
        self.emailid = b"M%d" % next(_emailid)
        self.size = len(data)
        self.vsize = len(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


class Folder:
    rights = frozenset(RIGHTS)

    def __init__(self, name: str) -> None:
        self.acl: dict[tuple[str, bool], Acl] = {}
        self.name = name
        self.uidvalidity = next(_uidvalidity)
        self.guid = b"%032x" % self.uidvalidity
        self.uidnext = 1
        self.vanished = False
        self.modseqs = 1000
        self.gone: list[tuple[int, int]] = []
        self.messages: list[Message] = []
        self.keywords: list[str] = []
        self.limbo: dict[int, Message] = {}
        self.listeners: list[Callable[[Changes], None]] = []
        self.watchers: list[Callable[[], object]] = []
        self.delivered: list[tuple[bytes, tuple[str, ...]]] = []
        self.open = 0

    # what another program does, noticed at the next sync
    def deliver(self, data: bytes, *flags: str) -> None:
        self.delivered.append((data, flags))

    def sync(self) -> Changes:
        arrived = [self._add(data, flags, 86400.0) for data, flags in self.delivered]
        self.delivered.clear()
        return self._tell(Changes(arrived=arrived))                      # type: ignore[arg-type]

    def _add(self, data: bytes, flags: Iterable[str], internaldate: float) -> Message:
        message = Message(self.uidnext, data, flags, internaldate)
        message.folder = self
        self.uidnext += 1
        self.messages.append(message)
        self._learn(flags)
        return message

    def _learn(self, flags: Iterable[str]) -> None:
        for flag in flags:
            if not flag.startswith("\\") and flag not in self.keywords:
                self.keywords.append(flag)

    def _tell(self, changes: Changes) -> Changes:
        if changes:
            self.modseqs += 1
            for message in (*changes.arrived, *changes.flags):
                message.modseq = self.modseqs
            self.gone += [(self.modseqs, uid) for uid in changes.expunged]
            for told in list(self.listeners):
                told(changes)
            for stirred in list(self.watchers):
                stirred()
        return changes

    def get(self, uid: int) -> Message | None:
        return next((message for message in self.messages if message.uid == uid), None)

    def claim_recent(self, by: object = None) -> list[int]:
        new = [message for message in self.messages if message.new]
        for message in new:
            message.new = False
        return [message.uid for message in new]

    def set_flags(self, uids: Iterable[int], mode: str, flags: Iterable[str], by: object = None) -> list[Message]:
        wanted = frozenset(flags)
        self._learn(wanted)
        changed = []
        for message in map(self.get, uids):
            if message is None:
                continue
            new = {"add": message.flags | wanted, "remove": message.flags - wanted, "replace": wanted}[mode]
            if new != message.flags:
                message.flags = frozenset(new)
                changed.append(message)
        self._tell(Changes(flags=changed, by=by))                        # type: ignore[arg-type]
        return changed

    def append(self, data: bytes, flags: Iterable[str] = (), internaldate: float | None = None, by: object = None) -> int:
        message = self._add(data, flags, 86400.0 if internaldate is None else internaldate)
        self._tell(Changes(arrived=[message], by=by))                    # type: ignore[list-item]
        return message.uid

    def append_all(self, messages: Iterable[tuple[bytes, Iterable[str], float | None]], by: object = None) -> list[int]:
        return [self.append(*message, by) for message in messages]

    def replace(self, uid: int, target: Folder, message: tuple[bytes, Iterable[str], float | None], by: object = None) -> int:
        if self.get(uid) is None:
            raise Gone(uid)
        new = target.append(*message, by)
        self.expunge([uid], by)
        return new

    def copy(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        found = [message for message in map(self.get, sorted(uids)) if message is not None]
        pairs = [(message.uid, target.append(message.data, message.flags, message.internaldate, by)) for message in found]
        for message, (_, uid) in zip(found, pairs):
            target.get(uid).emailid = message.emailid                    # type: ignore[union-attr]
        return pairs

    def move(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        pairs = self.copy(uids, target, by)
        self.expunge([uid for uid, _ in pairs], by)
        return pairs

    def expunge(self, uids: Iterable[int], by: object = None) -> list[int]:
        gone = []
        for uid in sorted(uids):
            message = self.get(uid)
            if message is not None:
                message.expunged = True
                self.messages.remove(message)
                self.limbo[uid] = message
                gone.append(uid)
        self._tell(Changes(expunged=gone, by=by))
        return gone

    def read(self, uid: int, octets: int | None = None) -> bytes:
        message = self.get(uid) or self.limbo.get(uid)
        if message is None:
            raise Gone(uid)
        return message.data[:octets]

    @property
    def highestmodseq(self) -> int:
        return self.modseqs

    def first_unseen(self, messages: list[Message]) -> int:
        return next((at for at, message in enumerate(messages) if "\\Seen" not in message.flags), -1)

    def flags_of_all(self, messages: Iterable[Message]) -> list[frozenset[str]]:
        return [message.flags for message in messages]

    def count_flags(self, messages: Iterable[Message]) -> tuple[int, int]:
        flags = [message.flags for message in messages]
        return sum("\\Seen" not in one for one in flags), sum("\\Deleted" in one for one in flags)

    def modseq_of(self, message: Message) -> int:
        return message.modseq

    def changed_since(self, modseq: int) -> list[Message]:
        return [message for message in self.messages if message.modseq > modseq]

    def vanished_since(self, modseq: int) -> tuple[tuple[int, int], ...]:
        return ranges_of(sorted(uid for number, uid in self.gone if number > modseq))

    def set_flags_unchanged(self, uids: Iterable[int], mode: str, flags: Iterable[str], since: int, by: object = None) -> list[int]:
        messages = [message for message in map(self.get, uids) if message is not None]
        changed = [message.uid for message in messages if message.modseq > since]
        self.set_flags([message.uid for message in messages if message.uid not in changed], mode, flags, by)
        return changed

    def known(self, message: Message) -> Entry | None:
        return self.describing([message]).some([message])[0]

    def describing(self, messages: list[Message], *, whole: bool = True) -> Describing:
        return Describing(self)

    def searching(self, messages: list[Message], key: tuple) -> Searching:
        return Searching(self, messages, key)

    def add_listener(self, told: Callable[[Changes], None]) -> None:
        self.listeners.append(told)

    def remove_listener(self, told: Callable[[Changes], None]) -> None:
        self.listeners.remove(told)


class Describing:
    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def some(self, messages: list[Message]) -> list[Entry | None]:
        return [None if message.expunged and message.uid not in self.folder.limbo else describe(message.uid, message.data, message.internaldate)
                for message in messages]

    def texts(self, messages: list[Message], which: str) -> list[bytes | None]:
        return [entry and getattr(entry, which) for entry in self.some(messages)]

    def sent(self, messages: list[Message]) -> list[int | None]:
        return [entry and entry.sent for entry in self.some(messages)]

    def close(self) -> None:
        pass


class Searching:
    def __init__(self, folder: Folder, messages: list[Message], key: tuple) -> None:
        there = [message for message in messages if folder.get(message.uid) or message.uid in folder.limbo]
        self.gone = {message.uid for message in messages if message not in there}
        self.found = by_reading([(message.uid, message.data) for message in there], key)
        self.steps = iter([(0, len(messages))] * 2)

    def step(self) -> tuple[int, int] | None:
        return next(self.steps, None)

    def close(self) -> None:
        pass


class Watch:
    is_over = False

    def __init__(self, among: list[Callable[[], object]], told: Callable[[], object], look: Callable[[bool], object]) -> None:
        among.append(told)
        self.among, self.told, self.look = among, told, look

    def status(self, *, with_modseq: bool = False) -> object:
        return self.look(with_modseq)

    def stop(self) -> None:
        self.among.remove(self.told)


class Store:
    separator = "."
    prefixes = ("Other Users.", "")

    def __init__(self) -> None:
        self.folders = {name: Folder(name) for name in ("INBOX", *SPECIAL_USE)}
        self.quota_octets = 0
        self.notes: dict[Folder | None, dict[str, bytes]] = {}
        self.subscribed = list(SPECIAL_USE)
        self.tree_told: list[Callable[[], object]] = []
        self.notes_told: dict[str, list[Callable[[], object]]] = {}

    def list(self) -> list[str]:
        return sorted(self.folders, key=lambda name: (name != "INBOX", name))

    def _find(self, name: str) -> Folder:
        try:
            return self.folders["INBOX" if name.upper() == "INBOX" else name]
        except KeyError:
            raise NoSuchMailbox(name) from None

    def create(self, name: str, use: bytes = b"") -> None:
        roles = annotating.roles_of(use)
        if name in self.folders or name.upper() == "INBOX":
            raise MailboxExists(name)
        if why := maildir.refuse(name):
            raise NameRefused(why)
        self.folders[name] = Folder(name)
        if roles:
            self.annotate(name, {annotating.ROLE: roles.encode()})
        self._stir()

    def delete(self, name: str) -> None:
        if name.upper() == "INBOX":
            raise NameRefused("INBOX cannot be deleted")
        self._find(name).vanished = True
        del self.folders[name]
        self._stir()

    def rename(self, old: str, new: str) -> None:
        self._find(old)
        if new in self.folders:
            raise MailboxExists(new)
        folder = self.folders[new] = self.folders.pop(old)
        folder.name = new
        self._stir()

    def quota(self, name: str) -> Quota | None:
        held = [message.size for folder in self.folders.values() for message in folder.messages]
        return Quota(sum(held), len(held), self.quota_octets) if self.quota_octets else None

    def need_room(self, name: str, octets: int, *, freed: int = 0, of: str = "") -> None:
        quota, octets = self.quota(name), octets - freed
        if octets <= 0:
            return
        if quota and quota.octets + octets > quota.limit_octets:
            raise OverQuota

    def subscribe(self, name: str) -> None:
        if name not in self.subscribed:
            self.subscribed.append(name)
            self._stir()

    def unsubscribe(self, name: str) -> None:
        if name in self.subscribed:
            self.subscribed.remove(name)
            self._stir()

    def subscriptions(self) -> list[str]:
        return list(self.subscribed)

    def special_uses(self, names: Iterable[str]) -> dict[str, str]:
        return annotating.uses((name, self.notes.get(self.folders[name], {}).get(annotating.ROLE)) for name in names)

    def annotations(self, name: str) -> dict[str, bytes]:
        out = dict(self.notes.get(self._find(name) if name else None, {}))
        if name and (role := self.special_uses(self.list()).get(self._find(name).name)):
            out[annotating.ROLE] = role.encode()
        return out

    def annotate(self, name: str, changes: dict[str, bytes | None]) -> None:
        if not all(map(metadata.is_name, changes)):
            raise NameRefused("there can be no such entry")
        if role := changes.get(annotating.ROLE):
            changes = {**changes, annotating.ROLE: annotating.roles_of(role).encode()}
        if any(value and len(value) > annotating.VALUE_MAX_OCTETS for value in changes.values()):
            raise TooBig
        where = self._find(name) if name else None
        self.notes[where] = annotating.changed(self.notes.get(where, {}), changes)
        for told in list(self.notes_told.get(name, ())):
            told()

    def watch_notes(self, name: str, told: Callable[[], object]) -> Watch:
        return Watch(self.notes_told.setdefault(name, []), told, lambda with_modseq: None)

    def noted(self, name: str) -> dict[str, int]:
        return {entry: hash(value) for entry, value in self.notes.get(self._find(name) if name else None, {}).items()}

    def my_rights(self, name: str) -> str:
        self._find(name)
        return RIGHTS

    def acl(self, name: str) -> builtins.list[Acl]:
        return [Acl("user=alice@example.test", False, RIGHTS), *self._find(name).acl.values()]

    def has_always(self, name: str, who: str) -> str:
        self._find(name)
        return RIGHTS if who in ("alice@example.test", "owner") else ""

    def set_acl(self, name: str, who: str, sign: str, letters: str | None) -> None:
        entries, negative = self._find(name).acl, who.startswith("-")
        who = who.removeprefix("-")
        if self.has_always(name, who):
            raise NameRefused("the owner has all rights, always")
        before = entries.pop((who, negative), None)
        now = before.rights if before else ""
        if letters is not None and (before or sign != "-"):
            after = in_order(letters if not sign else now + letters if sign == "+" else "".join(set(now) - set(letters)))
            entries[who, negative] = Acl(who if who == "anyone" else f"user={who}", negative, after)

    def open(self, name: str, right: str = "r") -> Folder:
        folder = self._find(name)
        folder.open += 1
        folder.sync()
        return folder

    def close(self, folder: Folder) -> None:
        folder.open -= 1

    def is_own(self, name: str) -> bool:
        return True

    def tree(self, others: bool = False) -> Tree:
        return Tree({name: id(folder) for name, folder in self.folders.items()}, frozenset(self.subscribed))

    def watch_tree(self, told: Callable[[], object], *, others: bool = False, most: int = 0) -> Watch:
        return Watch(self.tree_told, told, lambda with_modseq: None)

    def watch(self, name: str, told: Callable[[], object]) -> Watch:
        folder = self._find(name)
        return Watch(folder.watchers, told, lambda with_modseq: (self.status(name), folder.modseqs * with_modseq))

    def _stir(self) -> None:
        for told in list(self.tree_told):
            told()

    def status(self, name: str, *, size: bool = False) -> Status:
        folder = self._find(name)
        folder.sync()
        messages = folder.messages
        return Status(len(messages), sum(one.new for one in messages), sum("\\Seen" not in one.flags for one in messages),
                      sum("\\Deleted" in one.flags for one in messages), folder.uidnext, folder.uidvalidity, folder.guid,
                      sum(one.vsize for one in messages), sum(one.vsize for one in messages if "\\Deleted" in one.flags))
