"""notify: what one client wants to hear, and what it has heard already.                         RFC 5465

Listeners only note that something is to be looked at (`stirred`, `tree_stirred`); on_notify looks and tells, between commands.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pymta.proto.imap.listing import SEPARATOR, parents, with_parents
from pymta.proto.imap.notifyargs import EXPUNGE, FLAGS, MESSAGE_EVENTS, NEW, NOTES, SERVER_NOTES, Group
from pymta.proto.imap.view import Wanted


@dataclass(slots=True)
class Box:
    """A mailbox that is watched.  events: those wanted; told: its numbers as the client knows them, None if it knows nothing."""

    watch: Any
    events: frozenset[str]
    identity: object
    told: tuple[int, ...] | None = None


@dataclass(slots=True)
class Noted:
    """Annotations that are watched, of a mailbox or (name "") of the server.  entries: as the client was told, entry -> what its
    value is known by."""

    watch: Any
    identity: object
    entries: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Notify:
    """groups: of the last NOTIFY SET, none after NONE; wake: to be called when there is something to look at; is_own: whether a name is of
    one of the user's own mailboxes."""

    groups: tuple[Group, ...]
    wake: Callable[[], None]
    is_own: Callable[[str], bool] = lambda name: True
    boxes: dict[str, Box] = field(default_factory=dict)
    tree: Any = None                                    # as the client knows it
    tree_watch: Any = None
    tree_stirred: bool = False
    stirred: dict[str, None] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)          # names that this client has just done something to
    noted: dict[str, Noted] = field(default_factory=dict)
    notes_stirred: dict[str, None] = field(default_factory=dict)
    own_notes: set[tuple[str, str]] = field(default_factory=set)

    @property
    def selected(self) -> Wanted:
        """What is wanted of the mailbox that is selected, whichever that is."""
        for group in self.groups:
            if group.filter.is_selected:
                return Wanted(NEW in group.events, EXPUNGE in group.events, FLAGS in group.events,
                              group.filter.kind == b"SELECTED-DELAYED", group.items)
        return Wanted()

    @property
    def looks_elsewhere(self) -> bool:
        return any(not group.filter.is_selected and group.events for group in self.groups)

    def may_reach(self, prefixes: Iterable[str]) -> bool:
        """Whether mailboxes below one of these prefixes may be wanted."""
        return any(group.events and group.filter.may_reach(prefixes) for group in self.groups)

    def wanted_notes(self, tree: Any) -> dict[str, object]:
        """Mailboxes whose annotations are of interest, "" for the server, with their identities."""
        out = {name: identity for name, identity in tree.mailboxes.items() if NOTES in self.events(name, tree.subscribed)}
        return out | ({"": None} if any(SERVER_NOTES in group.events for group in self.groups) else {})

    def wanted(self, tree: Any) -> dict[str, frozenset[str]]:
        """Mailboxes whose messages are of interest, with the events that are."""
        out = {}
        for name in tree.mailboxes:
            events = self.events(name, tree.subscribed) & MESSAGE_EVENTS
            if events:
                out[name] = events
        return out

    def events(self, name: str, subscribed: Iterable[str]) -> frozenset[str]:
        """All events that are wanted of a mailbox."""
        is_own = self.is_own(name)
        return frozenset().union(*(group.events for group in self.groups if group.filter.takes(name, subscribed, is_own)))

    def stir(self, name: str) -> None:
        """Something may have happened in a mailbox.  In any thread."""
        self.stirred[name] = None
        self.wake()

    def stir_tree(self) -> None:
        self.tree_stirred = True
        self.wake()

    def stir_notes(self, name: str) -> None:
        self.notes_stirred[name] = None
        self.wake()

    def did(self, names: Iterable[str]) -> None:
        """The client has done something to mailboxes or subscriptions of these names."""
        if self.tree is not None:
            self.own.update(names)
            self.stir_tree()

    def noted_by_itself(self, name: str, entries: Iterable[str]) -> None:
        """The client has set annotations itself."""
        if name in self.noted:
            self.own_notes.update((name, entry) for entry in entries)
            self.stir_notes(name)

    def stop(self) -> None:
        for watch in [box.watch for box in self.boxes.values()] + [noted.watch for noted in self.noted.values()]:
            watch.stop()
        self.boxes.clear()
        self.noted.clear()
        if self.tree_watch is not None:
            self.tree_watch.stop()
            self.tree_watch = None


def renamed(before: Any, now: Any) -> dict[str, str]:
    """New name -> old name, of mailboxes that were renamed with all that was below them, to names that were not there, leaving none below.

    What else is the same mailbox under another name (one folder was moved by hand, two were swapped) has gone and come: a client
    that hears of a rename renames what is below, too."""
    gone = {identity: name for name, identity in before.mailboxes.items() if now.mailboxes.get(name) != identity}
    pairs = {name: gone[identity] for name, identity in now.mailboxes.items() if name not in before.mailboxes and identity in gone}
    below: dict[str, list[str]] = {}
    for name in before.mailboxes:
        for parent in parents(name):
            below.setdefault(parent, []).append(name)
    have_children = with_parents(now.mailboxes)
    return {new: old for new, old in pairs.items()
            if old not in have_children and all(pairs.get(new + name[len(old):]) == name for name in below.get(old, ()))}


def affected(before: Any, now: Any, moved: dict[str, str]) -> list[tuple[str, str | None]]:
    """What is to be told of names, renames first: (name, its old name, "" where it came or went or has got or lost a child, None
    where only its subscription is another).  Of those that moved with what is above them nothing is told.  RFC 5465 §5.4, §5.5"""
    out: dict[str, str | None] = {new: old for new, old in moved.items() if not any(_with(new, old, above, moved) for above in parents(new))}
    came = [name for name, identity in now.mailboxes.items() if before.mailboxes.get(name) != identity and name not in moved]
    went = [name for name in before.mailboxes if name not in now.mailboxes and name not in moved.values()]
    for name in went + came:
        for one in (name, name.rpartition(SEPARATOR)[0]):
            if one:
                out.setdefault(one, "")
    for name in sorted(before.subscribed ^ now.subscribed):
        out.setdefault(name, None)
    return list(out.items())


def _with(new: str, old: str, above: str, moved: dict[str, str]) -> bool:
    """Whether a mailbox moved with one above it."""
    return above in moved and old == moved[above] + new[len(above):]
