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
from pymta.formats import acl, metadata, shares, subscriptions
from pymta.mailbox.counts import Status

Told = Callable[[], object]
Look = Callable[[bool], tuple[Status, int]]
# What is watched of a directory, and which names in it matter.  ("..x" is only on its way to a name.)
_KINDS: Mapping[str, tuple[tuple[bytes, ...], Callable[[bytes], bool]]] = {
    "mail": ((b"new", b"cur"), lambda name: True),
    "tree": ((b"",), lambda name: name[:1] == b"." and name[:2] != b".." or name == subscriptions.NAME),
    "notes": ((b"",), lambda name: name == metadata.NAME),
    "server notes": ((b"",), lambda name: name == metadata.SERVER_NAME),
    "rights": ((b"",), lambda name: name == acl.NAME),
    "shares": ((b"",), lambda name: name == os.fsencode(shares.NAME)),
}


@dataclass(frozen=True)
class Tree:
    """mailboxes: name -> what stays the same under a rename; subscribed: names, of mailboxes or not."""

    mailboxes: Mapping[str, object]
    subscribed: frozenset[str]


class _Place:
    """A directory that somebody watches.  kind: of _KINDS."""

    def __init__(self, directory: bytes, kind: str) -> None:
        parts, self._matters = _KINDS[kind]
        self.listeners: list[Told] = []
        self.is_over = False                            # the directory that was watched is there no more; another may have its name
        self.stirred = 0                                # how often something has happened
        self.mutex = threading.Lock()
        self.known: tuple[object, tuple[Status, int]] | None = None
        self._handles: list[int] = []
        self._paths = [os.path.join(directory, part) for part in parts]
        self._inodes = [os.stat(path).st_ino for path in self._paths]
        self._stamp = self._times()
        try:
            for path in self._paths:
                self._handles.append(watch.shared().add(path, self._heard))
        except FileNotFoundError:
            self.close()
            raise
        except OSError as error:                        # then it is looked at now and then: see look_again
            log.event("trouble", mailbox=directory, why=f"cannot be watched: {error}")

    def _heard(self, event: watch.Event) -> None:
        _, mask, _, name = event
        self.is_over |= bool(mask & watch.IGNORED)
        if mask & (watch.OVERFLOW | watch.IGNORED) or self._matters(name):
            self.stir()

    def _times(self) -> object:
        """What moves when a name comes or goes."""
        try:
            return [(status.st_ino, status.st_mtime_ns) for status in map(os.stat, self._paths)]
        except OSError:
            return None

    @property
    def stands(self) -> bool:
        """Whether what it watches is what has the name now."""
        try:
            return not self.is_over and [os.stat(path).st_ino for path in self._paths] == self._inodes
        except OSError:
            return False

    def look_again(self) -> None:
        """Nobody may have heard what has happened: see whether something has."""
        before, self._stamp = self._stamp, self._times()
        if before != self._stamp:
            self.stir()

    def stir(self) -> None:
        self.stirred += 1
        for told in list(self.listeners):
            told()

    def close(self) -> None:
        for handle in self._handles:
            watch.shared().remove(handle)


_lock = threading.Lock()
_places: dict[tuple[bytes, str], _Place] = {}


class Watch:
    """One session's interest in one place; to be stopped.  told: see above; kind: "mail", "tree" (folders and subscriptions),
    "notes", "server notes", "rights" (dovecot-acl), "shares" (pymta-shares); look, of mail: whether with mod-sequence -> (Status, HIGHESTMODSEQ or 0).
    Raises FileNotFoundError where there is no such mailbox."""

    def __init__(self, directory: bytes, told: Told, kind: str, look: Look | None = None) -> None:
        self._key = directory, kind
        self._told = told
        self._look = look
        with _lock:
            place = _places.get(self._key)
            if place is None or not place.stands:
                place = _places[self._key] = _Place(directory, kind)
            place.listeners.append(told)
        self._place = place

    @property
    def is_over(self) -> bool:
        """Whether it watches what has been deleted; a mailbox of the same name wants another Watch."""
        return self._place.is_over

    def status(self, *, with_modseq: bool = False) -> tuple[Status, int]:
        """What look gives, or gave since the last change to anybody who asked for as much.  Raises NoSuchMailbox, OSError."""
        place = self._place
        assert self._look is not None
        with place.mutex:
            now = place.stirred
            if place.known is None or place.known[0] != (now, with_modseq):
                place.known = (now, with_modseq), self._look(with_modseq)
            return place.known[1]

    def stop(self) -> None:
        with _lock:
            self._place.listeners.remove(self._told)
            if not self._place.listeners:
                if _places.get(self._key) is self._place:
                    del _places[self._key]
                self._place.close()


class Watches(list[Watch]):
    """Several, as one."""

    def add(self, directory: bytes, told: Told, kind: str) -> None:
        try:
            self.append(Watch(directory, told, kind))
        except FileNotFoundError:
            pass                                        # gone just now: what holds it is watched as well

    def stop(self) -> None:
        for one in self:
            one.stop()


def look_again() -> None:
    """Make a lost event harmless: now and then, where something has happened since the last time, it is looked at."""
    for place in list(_places.values()):
        place.look_again()


def watched() -> int:
    """How many places are watched (for tests)."""
    return len(_places)
