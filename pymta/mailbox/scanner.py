"""scanner: which messages lie in new/ and cur/, although others rename them while we look.

A listing is not a snapshot: a file renamed while it runs may be seen twice or not at all, and 4 to 100 % of scans of a busy
folder lose one.  So both directories are watched before they are listed; afterwards the events are replayed on the listing.
For a name without events the listing is right, for any other the last event is.  The kernel queues an event before it lets go
of the directory's lock, which readdir takes too, so whatever the listing can have seen of a rename, its events are there.
A rename is two events, and a read may come between them: before a name is called missing, the directories' locks
are waited for (one readdir call), and the queue is read again.

Once listed, a look is: read the queue, replay, two stats.  Where there is no inotify (or the file system is remote, and the
directory's time moves without events) two listings must agree, and a name must be missing in two looks.

A base may stand there twice: linked, then unlinked by a delivery; flags changed by two at once; a copy from a backup.
One of its names is the base's name (cur/ before new/), the others are twins.
"""
from __future__ import annotations

import os
from collections import deque

from pymta import clock, watch
from pymta.formats.maildir import base_of
from pymta.mailbox.message import NoSuchMailbox

NEW, CUR = True, False
Place = tuple[bool, bytes]                               # whether it is in new/, and what stands behind the base in the file's name: ":2,S"
_DIRTY_S = 1.0                                          # a change within the grain of the file system's clock cannot be seen


class Vanished(NoSuchMailbox):
    """The directory is no longer there, or another one stands in its place."""


class Scanner:
    """One Maildir directory (bytes).  names: base -> its place; twins: base -> the further places of that base.

    watched=False never uses inotify (for tests, and for file systems that lie).
    """

    def __init__(self, directory: bytes, *, watched: bool = True) -> None:
        self.directory = directory
        self.names: dict[bytes, Place] = {}
        self.twins: dict[bytes, list[Place]] = {}
        self.paths = {NEW: os.path.join(directory, b"new"), CUR: os.path.join(directory, b"cur")}
        self.listings = 0                               # how often the directories were listed, for tests and measurements
        self._queue: deque[watch.Event] = deque()
        self._wants_watch = watched
        self._watcher: watch.Watcher | None = None
        self._watches: list[int] = []
        self._inodes: tuple[int, int] | None = None     # of new/ and cur/ when first seen
        self._stamp: tuple[int, int] = (0, 0)           # their times when they were last read
        self._stamped_at = 0.0                          # when they were last compared with the directories: clock.now()
        self._must_list = True
        self._doubted: set[bytes] = set()               # missing in one look; without inotify a second must agree

    # ---- watching -----------------------------------------------------------------------------------------------------
    @property
    def watched(self) -> bool:
        return bool(self._watches)

    @property
    def pending(self) -> int:
        """How many events wait to be replayed."""
        return len(self._queue)

    def start_watching(self) -> None:
        """Watch from the next look on; without inotify nothing happens."""
        if self._watches or not self._wants_watch:
            return
        try:
            self._watcher = watch.shared()
            for tag in (NEW, CUR):
                self._watches.append(self._watcher.add(self.paths[tag], self._queue.append, tag))
        except OSError:
            self._unwatch()
        # the directories have not moved since a look that could not miss anything within the clock's grain: nothing to list
        if self._must_list or self._stamped_at - max(self._stamp) / 1e9 < _DIRTY_S or self._stat() != self._stamp:
            self._must_list = True

    def stop_watching(self) -> None:
        """Look at times instead, from now on."""
        if self._watches and not self._must_list and not self._inodes_moved():
            self._drain()
            now, stamp = clock.now(), self._stamp
            if not self._queue and self._stat() == stamp:
                self._stamped_at = now
        self._unwatch()

    def _inodes_moved(self) -> bool:
        try:
            self._stat()
        except Vanished:
            return True
        return False

    def _unwatch(self) -> None:
        if self._watcher:
            for number in self._watches:
                self._watcher.remove(number)
        self._watches.clear()
        self._queue.clear()

    def pause(self) -> None:
        """No events until resume: for thousands of renames of our own, which would only fill the queue."""
        self._unwatch()
        self._must_list = True

    # ---- looking ------------------------------------------------------------------------------------------------------
    def look(self) -> set[bytes]:
        """Bring `names` up to date; the bases whose names may have changed.  Raises Vanished, OSError."""
        if self._watches:
            return self._look_watched()
        return self._look_unwatched()

    def _stat(self) -> tuple[int, int]:
        """The times of new/ and cur/, in nanoseconds."""
        try:
            new, cur = os.stat(self.paths[NEW]), os.stat(self.paths[CUR])
        except (FileNotFoundError, NotADirectoryError):
            raise Vanished(os.fsdecode(self.directory)) from None
        inodes = (new.st_ino, cur.st_ino)
        if self._inodes is None:
            self._inodes = inodes
        elif inodes != self._inodes:
            raise Vanished(os.fsdecode(self.directory))
        return new.st_mtime_ns, cur.st_mtime_ns

    def _look_watched(self) -> set[bytes]:
        stamp = self._stat()
        touched: set[bytes] = set()
        if not self._must_list:
            heard = self._replay(touched)
            if not heard and stamp != self._stamp:
                heard = self._replay(touched)           # the time moves a moment before the event is queued
                self._must_list |= not heard
            self._stamp = stamp if not heard else self._stat()
        for _ in range(5):
            if not self._must_list:
                return touched
            self._drain()
            self._queue.clear()
            self._must_list = False
            self._stamp = self._stat()
            touched |= self._take(self._list())
            self._wait_for_renames()
            self._replay(touched)
        return touched | self._look_unwatched(force=True)   # the queue overflows again and again

    def _replay(self, touched: set[bytes]) -> bool:
        """Replay what is queued; whether there was anything.  No name is missing only because it is being renamed just now."""
        heard, lost = self._replay_queue(touched)
        for _ in range(100):                            # each time the queue may have been read in the middle of another rename
            if not lost:
                break
            self._wait_for_renames()
            lost = self._replay_queue(touched)[1]
        return heard

    def _drain(self) -> None:
        assert self._watcher is not None
        self._watcher.drain()

    def _replay_queue(self, touched: set[bytes]) -> tuple[bool, bool]:
        """Replay what is queued: (whether there was anything, whether a base has lost its name to a rename and has no other)."""
        self._drain()
        queue, names, lost, heard = self._queue, self.names, set(), bool(self._queue)
        while queue:
            tag, mask, _, name = queue.popleft()
            if mask & (watch.OVERFLOW | watch.IGNORED):
                self._must_list = True
                if mask & watch.IGNORED:
                    self._stat()                        # raises Vanished if that was the directory itself
                continue
            if name[:1] in b".:":
                continue
            base = base_of(name)
            touched.add(base)
            if mask & watch.CAME:
                self._add(base, (bool(tag), name[len(base):]))
            else:
                self._discard(base, (bool(tag), name[len(base):]))
                if mask & watch.MOVED_FROM:
                    lost.add(base)
        return heard, any(base not in names for base in lost)

    def _add(self, base: bytes, where: Place) -> None:
        had = self.names.setdefault(base, where)
        if had is where or had == where:
            return
        twins = self.twins.setdefault(base, [])
        if where in twins:
            return
        if where[0] == CUR and had[0] == NEW:
            self.names[base], where = where, had
        twins.append(where)

    def _discard(self, base: bytes, where: Place) -> None:
        twins = self.twins.get(base)
        if twins and where in twins:
            twins.remove(where)
        elif self.names.get(base) == where:
            if twins:
                twins.sort()                            # cur/ (False) before new/
                self.names[base] = twins.pop(0)
            else:
                del self.names[base]
        if twins is not None and not twins:
            del self.twins[base]

    def _list(self) -> list[tuple[bool, list[bytes]]]:
        self.listings += 1
        try:
            return [(CUR, os.listdir(self.paths[CUR])), (NEW, os.listdir(self.paths[NEW]))]
        except (FileNotFoundError, NotADirectoryError):
            raise Vanished(os.fsdecode(self.directory)) from None

    def _take(self, listing: list[tuple[bool, list[bytes]]], keep: set[bytes] = frozenset()) -> set[bytes]:  # type: ignore[assignment]
        """Put a listing in the place of `names`; the bases that differ.  keep: bases that stay although they were not listed."""
        old, self.names, self.twins = self.names, {}, {}
        names = self.names
        for tag, listed in listing:
            if listed and min(listed)[:1] <= b".":
                listed = [name for name in listed if name[:1] != b"." and name[:1] != b":"]
            fresh = _places(tag, listed)
            if len(fresh) == len(listed) and names.keys().isdisjoint(fresh):
                self.names = names = {**names, **fresh} if names else fresh
            else:
                for name in listed:
                    self._add(base := base_of(name), (tag, name[len(base):]))
        for base in keep:
            names.setdefault(base, old[base])
        names.pop(b"", None)                            # no message begins with a colon
        if not old:
            return set(names)
        touched = {base for base, where in names.items() if old.get(base) != where}
        touched.update(base for base in old if base not in names)
        return touched

    def _wait_for_renames(self) -> None:
        """Return when every rename that was going on in new/ or cur/ has queued its events."""
        for path in self.paths.values():
            try:
                with os.scandir(path) as entries:
                    next(entries, None)
            except FileNotFoundError:
                raise Vanished(os.fsdecode(self.directory)) from None

    def _look_unwatched(self, force: bool = False) -> set[bytes]:
        stamp, now = self._stat(), clock.now()
        settled = self._stamped_at - max(stamp) / 1e9 > _DIRTY_S    # a change after that look would have moved the times
        if stamp == self._stamp and settled and not force and not self._must_list and not self._doubted:
            return set()
        listing = self._list()
        bases = _bases(listing)
        seen = set(bases)
        for _ in range(5):
            again = self._stat()
            if again == stamp and now - max(stamp) / 1e9 > _DIRTY_S:
                break                                   # nothing moved meanwhile, and not within the clock's grain
            stamp, now, listing = again, clock.now(), self._list()
            before, bases = bases, _bases(listing)
            seen |= bases
            if bases == before:
                break
        missing = {base for base in self.names if base not in bases}
        doubted, self._doubted = self._doubted, missing - self._doubted
        keep = self._doubted | {base for base in missing & doubted if base in seen}
        self._stamp, self._stamped_at, self._must_list = stamp, now, False
        return self._take(listing, keep)

    # ---- what we do ourselves -------------------------------------------------------------------------------------------
    def renamed(self, base: bytes, old: Place, new: Place | None) -> None:
        """We have just renamed (or removed: new is None) a file; its events will say so again, and do no harm."""
        if self.names.get(base) == old and base not in self.twins:
            if new is None:
                del self.names[base]
            else:
                self.names[base] = new
            return
        self._discard(base, old)
        if new is not None:
            self._add(base, new)

    def added(self, base: bytes, where: Place) -> None:
        """We have just put a file there."""
        self._add(base, where)


def _places(tag: bool, names: list[bytes]) -> dict[bytes, Place]:
    """base -> place.  There are few places, and each is kept once."""
    out: dict[bytes, Place] = {}
    places: dict[bytes, Place] = {}
    bare = tag, b""
    for name in names:
        base, colon, info = name.partition(b":")
        place = places.get(info) if colon else bare
        if place is None:
            place = places[info] = tag, b":" + info
        out[base] = place
    return out


def _bases(listing: list[tuple[bool, list[bytes]]]) -> set[bytes]:
    return {base_of(name) for _, listed in listing for name in listed if name[:1] not in b".:"}
