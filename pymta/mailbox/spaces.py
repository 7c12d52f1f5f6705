"""spaces: all mailboxes that one user can reach: the own ones, those of others who share, and those that belong to all.   RFC 2342

    "INBOX", "Sent"                             the user's own
    "Other Users.ann", "Other Users.ann.Work"   INBOX and Work of ann, as far as she has given rights
    "Shared.News"                               News below imap.shared

Every command comes by here, and what belongs to somebody else is looked at in one place, `_need`: whoever has no right to see
a mailbox (l) gets the answer that a mailbox gets that does not exist.  A user in another domain stands there with the whole address;
dots of addresses are written "^", for "." separates levels.
"""
from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pymta.formats import acl, maildir
from pymta.formats.acl import Entry
from pymta.mailbox import rights
from pymta.mailbox.counts import Status
from pymta.mailbox.guarded import GuardedFolder, GuardedWatch
from pymta.mailbox.message import NoSuchMailbox
from pymta.mailbox.monitor import Told, Tree, Watch, Watches
from pymta.mailbox.rights import ALL, NONE, NoRight
from pymta.mailbox.sharing import Sharing
from pymta.mailbox.store import MailStore, NameRefused

OTHERS, SHARED = "Other Users", "Shared"


@dataclass(frozen=True, slots=True)
class Place:
    """store: where a mailbox lies, under the name inner; prefix: what stands before inner; owner: an address, "" for all."""

    store: MailStore
    inner: str
    prefix: str = ""
    owner: str = ""


class Spaces(MailStore):
    """A MailStore of user (an address) that knows the mailboxes of others as well."""

    def __init__(self, path: str | bytes, quota_octets: int, user: str, sharing: Sharing) -> None:
        super().__init__(path, quota_octets)
        self.user = user
        self.sharing = sharing

    @property
    def prefixes(self) -> tuple[str, str]:
        """Of other users' mailboxes and of shared ones: "" where there are none."""
        return OTHERS + "." if self.sharing.users else "", SHARED + "." if self.sharing.shared else ""

    # ---- where a mailbox lies, and what the user may do there -----------------------------------------------------------
    def is_own(self, name: str) -> bool:
        return not any(prefix and (name + ".").startswith(prefix) for prefix in self.prefixes)

    def _place(self, name: str) -> Place | None:
        """Where a mailbox of others lies, or would; None for one of our own.  Raises NoSuchMailbox where nothing can be."""
        if self.is_own(name):
            return None
        root, _, rest = name.partition(".")
        if root == SHARED and rest and not maildir.is_inbox(rest):
            return Place(MailStore(self.sharing.shared), rest, SHARED + ".")
        level, _, inner = rest.partition(".")
        box = self.sharing.find(self._address(level)) if root == OTHERS and level else None
        if box is None or box.address == self.user or self._level(box.address) != level or maildir.is_inbox(inner) \
                or not os.path.isdir(os.path.join(box.maildir, "cur")):
            raise NoSuchMailbox(name)
        return Place(MailStore(box.maildir, box.quota), inner or "INBOX", f"{OTHERS}.{level}", box.address)

    def _level(self, address: str) -> str:
        local, _, domain = address.rpartition("@")
        return (local if domain == self.user.rpartition("@")[2] else address).replace(".", "^")

    def _address(self, level: str) -> str:
        level = level.replace("^", ".")
        return level if "@" in level else f"{level}@{self.user.rpartition('@')[2]}"

    def _rights(self, place: Place) -> frozenset[str]:
        """What the user may do with a mailbox; nothing where there is none."""
        if not place.store.exists(place.inner):
            return NONE
        entries = rights.read(place.store.directory(place.inner))
        if entries is None and not place.owner:
            entries = rights.read(place.store.root)     # what holds for all that is shared
        return rights.of(entries or (), self.user)

    def _need(self, name: str, wanted: str) -> Place | None:
        """The place of a mailbox with which the user may do all that is wanted; None for one of our own.  Raises NoRight, NoSuchMailbox."""
        place = self._place(name)
        if place is not None and not self._rights(place) >= set(wanted):
            raise NoRight(name) if "l" in self._rights(place) else NoSuchMailbox(name)
        return place

    def _need_above(self, name: str) -> tuple[Place | None, bytes | None]:
        """The place of a mailbox that is to be made, and the directory of the one above it.  Raises NoRight, also where nothing can be."""
        try:
            place = self._place(name)
        except NoSuchMailbox:
            raise NoRight(name) from None
        store, inner = (place.store, place.inner) if place else (self, name)
        above = inner
        while above:
            above = above.rpartition(".")[0]
            if above and MailStore.exists(store, above):
                break
        if place is None:
            return None, self.directory(above) if above else None
        parent = Place(place.store, above or "INBOX", place.prefix, place.owner)
        if above or place.owner:
            may = self._rights(parent)
        else:
            may = rights.of(rights.read(place.store.root) or (), self.user)
        if "k" not in may:
            raise NoRight(name)
        return place, place.store.directory(above) if above else place.store.root if place.owner else None

    # ---- mailboxes --------------------------------------------------------------------------------------------------------
    def list(self) -> builtins.list[str]:
        return [*filter(self.is_own, super().list()), *(name for name, _ in self._visible())]

    def _visible(self) -> Iterator[tuple[str, Place]]:
        """Mailboxes of others, with their names."""
        for root in self._roots():
            for inner in root.store.list():
                place = replace(root, inner=inner)
                if "l" in self._rights(place) and (root.owner or inner != "INBOX"):
                    yield root.prefix if inner == "INBOX" else root.prefix + inner if not root.owner else f"{root.prefix}.{inner}", place

    def _roots(self) -> Iterator[Place]:
        """Where mailboxes of others may lie that the user may see."""
        if self.sharing.shared:
            yield Place(MailStore(self.sharing.shared), "", SHARED + ".")
        for owner in self.sharing.owners(self.user):
            try:
                place = self._place(f"{OTHERS}.{self._level(owner)}")
            except NoSuchMailbox:
                continue
            if place:
                yield place

    def exists(self, name: str) -> bool:
        """Of our own ones."""
        return self.is_own(name) and super().exists(name)

    def create(self, name: str, use: bytes = b"") -> None:
        place, above = self._need_above(name)
        if place:
            place.store.create(place.inner)
        else:
            super().create(name, use)
        if above is not None:
            rights.inherit(above, place.store.directory(place.inner) if place else self.directory(name))

    def delete(self, name: str) -> None:
        place = self._need(name, "x")
        place.store.delete(place.inner) if place else super().delete(name)

    def rename(self, old: str, new: str) -> None:
        """Within what belongs to one owner, with all children, each of which has to be ours to rename."""
        place = self._need(old, "x")
        target, _ = self._need_above(new)
        if place is None and target is None:
            return super().rename(old, new)
        if place is None or target is None or place.store.root != target.store.root or place.inner == "INBOX":
            raise NameRefused("a mailbox cannot go to another owner; copy its messages")
        for inner in place.store.list():
            if inner.startswith(place.inner + "."):
                self._need((place.prefix if not place.owner else place.prefix + ".") + inner, "x")
        place.store.rename(place.inner, target.inner)

    def special_uses(self, names: Iterable[str]) -> dict[str, str]:
        return super().special_uses(filter(self.is_own, names))

    # ---- one mailbox ------------------------------------------------------------------------------------------------------
    def open(self, name: str, right: str = "r") -> Any:
        place = self._need(name, right)
        if place is None:
            return super().open(name)
        return GuardedFolder(place.store.open(place.inner), lambda: self._rights(place))

    def close(self, folder: Any) -> None:
        super().close(folder.inner if isinstance(folder, GuardedFolder) else folder)

    def status(self, name: str, *, size: bool = False) -> Status:
        place = self._need(name, "r")
        return place.store.status(place.inner, size=size) if place else super().status(name, size=size)

    # ---- watching -----------------------------------------------------------------------------------------------------------
    def tree(self, others: bool = False) -> Tree:
        """Mailboxes of others as far as the user may see them."""
        own = super().tree()
        if not others:
            return own
        mailboxes = dict(own.mailboxes)
        for name, place in self._visible():
            try:
                mailboxes[name] = place.store.root, os.stat(place.store.directory(place.inner)).st_ino
            except FileNotFoundError:
                pass                                    # gone just now
        return Tree(mailboxes, own.subscribed)

    def watch_tree(self, told: Told, *, others: bool = False, most: int = 0) -> Watch | Watches:
        """Of others who share, the mailboxes and what rights they give; beyond most a right that changes is found at the next look."""
        if not others:
            return super().watch_tree(told)
        watches = Watches()
        watches.add(self.root, told, "tree")
        if self.sharing.users:
            watches.add(self.sharing.directory, told, "shares")
        for root in self._roots():
            watches.add(root.store.root, told, "tree")
            for inner in root.store.list()[:max(0, most - len(watches))]:
                watches.add(root.store.directory(inner), told, "rights")
        return watches

    def watch(self, name: str, told: Told) -> Any:
        place = self._need(name, "r")
        return GuardedWatch(place.store.watch(place.inner, told), lambda: self._need(name, "r")) if place else super().watch(name, told)

    def watch_notes(self, name: str, told: Any) -> Any:
        place = self._need(name, "r")
        return place.store.watch_notes(place.inner, told) if place else super().watch_notes(name, told)

    def noted(self, name: str) -> dict[str, int]:
        place = self._need(name, "r")
        found = place.store.noted(place.inner) if place else super().noted(name)
        return {entry: number for entry, number in found.items() if place is None or entry.startswith("/shared/")}

    def annotations(self, name: str) -> dict[str, bytes]:
        """Of others' mailboxes what is /shared only."""
        place = self._need(name, "lr")
        found = place.store.annotations(place.inner) if place else super().annotations(name)
        return {entry: value for entry, value in found.items() if place is None or entry.startswith("/shared/")}

    def annotate(self, name: str, changes: Mapping[str, bytes | None]) -> None:
        place = self._need(name, "lrw")
        if place and not all(entry.startswith("/shared/") for entry in changes):
            raise NoRight(name)
        place.store.annotate(place.inner, changes) if place else super().annotate(name, changes)

    def quota(self, name: str) -> Any:
        return super().quota(name) if self.is_own(name) else None

    def need_room(self, name: str, octets: int, *, freed: int = 0, of: str = "") -> None:
        """It is the owner's room that counts."""
        place, before = self._place(name), self._place(of) if of else None
        if (place.store.root if place else self.root) != (before.store.root if before else self.root):
            freed = 0
        place.store.need_room(place.inner, octets, freed=freed) if place else super().need_room(name, octets, freed=freed)

    # ---- rights: RFC 4314 -----------------------------------------------------------------------------------------------
    def my_rights(self, name: str) -> str:
        place = self._place(name)
        mine = self._rights(place) if place else ALL if super().exists(name) else NONE
        if not mine & set("lrikxa"):
            raise NoSuchMailbox(name)
        return acl.in_order("".join(mine))

    def acl(self, name: str) -> builtins.list[Entry]:
        """The owner first."""
        place, directory = self._administered(name)
        owner = place.owner if place else self.user
        return [*([Entry(f"user={owner}", False, acl.RIGHTS)] if owner else []), *(rights.read(directory) or ())]

    def has_always(self, name: str, identifier: str) -> str:
        """What this identifier can do whatever stands in the file.  Wants the right to administer."""
        place, _ = self._administered(name)
        owner = place.owner if place else self.user
        return acl.RIGHTS if owner and self.identifier(identifier) in (f"user={owner}", "owner") else ""

    def set_acl(self, name: str, who: str, sign: str, letters: str | None) -> None:
        """sign: "+" to add, "-" to take away, "" for these and no others; who: with "-" in front for what is taken from others' rights;
        letters None: no entry."""
        place, directory = self._administered(name)
        negative, identifier = who.startswith("-"), self.identifier(who.removeprefix("-"))
        if self.has_always(name, who.removeprefix("-")):
            raise NameRefused("the owner has all rights, always")

        def changed(data: bytes) -> bytes:
            now = next((entry.rights for entry in acl.decode(data) if entry[:2] == (identifier, negative)), None)
            if letters is None or sign == "-" and now is None:
                return acl.without(data, identifier, negative)
            after = letters if not sign else (now or "") + letters if sign == "+" else "".join(set(now or "") - set(letters))
            return acl.with_entry(data, Entry(identifier, negative, acl.in_order(after)))
        if letters and sign != "-" and not negative and (place is None or place.owner):
            self.sharing.note(place.owner if place else self.user, identifier)
        try:
            rights.change(directory, changed)
        except ValueError as error:
            raise NameRefused(f"dovecot-acl: {error}") from None
        except FileNotFoundError:
            raise NoSuchMailbox(name) from None

    def _administered(self, name: str) -> tuple[Place | None, bytes]:
        place = self._need(name, "a")
        if place is None and not super().exists(name):
            raise NoSuchMailbox(name)
        return place, place.store.directory(place.inner) if place else self.directory("INBOX" if maildir.is_inbox(name) else name)

    def identifier(self, who: str) -> str:
        """How the file calls whom a client calls so.  Raises NameRefused: there is no such user here."""
        if who in ("anyone", "authenticated", "owner"):
            return who
        box = self.sharing.find(who)
        if box is None:
            raise NameRefused("nobody of that name can have rights here")
        return f"user={box.address}"

