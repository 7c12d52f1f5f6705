"""monitor: what happens in mailboxes that nobody has open, and which mailboxes there are.          RFC 5465

Any number of sessions of a process may watch one mailbox; it has one pair of watches, and its numbers are looked up once for all of
them after each change.  Nothing is kept of a mailbox but these numbers.  A listener is called in any thread, perhaps with locks held:
it only notes that there is something to look at.
"""
from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pymta import log, watch
from pymta.formats import subscriptions
from pymta.mailbox.counts import Status

Told = Callable[[], object]
Look = Callable[[bool], tuple[Status, int]]
_PARTS = (b"new", b"cur")


@dataclass(frozen=True)
class Tree:
    """mailboxes: name -> what stays the same under a rename; subscribed: names, of mailboxes or not."""

    mailboxes: Mapping[str, object]
    subscribed: frozenset[str]


class _Place:
    """A Maildir that somebody watches, or (parts: "" alone) the directory that holds them all."""

    def __init__(self, directory: bytes, parts: tuple[bytes, ...]) -> None:
        self.listeners: list[Told] = []
        self.stirred = 0                                # how often something has happened
        self.mutex = threading.Lock()
        self.known: tuple[object, tuple[Status, int]] | None = None
        self._is_tree = parts == (b"",)
        self._handles: list[int] = []
        try:
            for part in parts:
                self._handles.append(watch.shared().add(os.path.join(directory, part), self._heard))
        except FileNotFoundError:
            self.close()
            raise
        except OSError as error:                        # then it is looked at now and then: see look_again
            log.event("trouble", mailbox=directory, why=f"cannot be watched: {error}")

    def _heard(self, event: watch.Event) -> None:
        if not self._is_tree or _matters(event):
            self.stir()

    def stir(self) -> None:
        self.stirred += 1
        for told in list(self.listeners):
            told()

    def close(self) -> None:
        for handle in self._handles:
            watch.shared().remove(handle)


def _matters(event: watch.Event) -> bool:
    """Of the names in a Maildir those of folders, and the subscriptions; not what is only on its way to a name (..x)."""
    _, mask, _, name = event
    return bool(mask & (watch.OVERFLOW | watch.IGNORED)) or name[:1] == b"." and name[:2] != b".." or name == subscriptions.NAME


_lock = threading.Lock()
_places: dict[tuple[bytes, tuple[bytes, ...]], _Place] = {}


class Watch:
    """One session's interest in one place; to be stopped.  told: see above; look: whether with mod-sequence -> (Status, HIGHESTMODSEQ or 0).
    Raises FileNotFoundError where there is no such mailbox."""

    def __init__(self, directory: bytes, told: Told, look: Look, parts: tuple[bytes, ...] = _PARTS) -> None:
        self._key = directory, parts
        self._told = told
        self._look = look
        with _lock:
            place = _places.get(self._key)
            if place is None:
                place = _places[self._key] = _Place(directory, parts)
            place.listeners.append(told)
        self._place = place

    def status(self, *, with_modseq: bool = False) -> tuple[Status, int]:
        """What look gives, or gave since the last change to anybody who asked for as much.  Raises NoSuchMailbox, OSError."""
        place = self._place
        with place.mutex:
            now = place.stirred
            if place.known is None or place.known[0] != (now, with_modseq):
                place.known = (now, with_modseq), self._look(with_modseq)
            return place.known[1]

    def stop(self) -> None:
        with _lock:
            self._place.listeners.remove(self._told)
            if not self._place.listeners and _places.get(self._key) is self._place:
                del _places[self._key]
                self._place.close()


def watch_tree(root: bytes, told: Told) -> Watch:
    """Folders that come and go below a Maildir, and its subscriptions."""
    return Watch(root, told, _nothing, (b"",))


def _nothing(with_modseq: bool) -> tuple[Status, int]:
    raise NotImplementedError("a tree has no numbers")


def look_again() -> None:
    """Nobody knows whether something has happened: let everybody look."""
    for place in list(_places.values()):
        place.stir()


def watched() -> int:
    """How many places are watched (for tests)."""
    return len(_places)
