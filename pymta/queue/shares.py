"""shares: what one local user may take of the runner's time and room, so that nobody's flood of drops is everybody's.

    take    at most queue.drops_per_uid drops of a uid within a minute, those of all users in turn; the others stay where they are
    keep    at most GARBAGE_MAX files of a uid in corrupt/: garbage cannot have been acknowledged, and beyond that is of use to nobody

The owner of a file, as the kernel has it, says whose it is.  Nothing here is on disk; a new start begins anew.
"""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from pymta import clock, durable, log

GARBAGE_MAX = 1000
_MINUTE_S = 55.0                    # less than the time between two looks, so that each look finds a new one
_CORRUPT = "corrupt"


class Shares:
    """most: of queue.drops_per_uid; directory: where drops stand, below the working directory."""

    def __init__(self, directory: str, most: int) -> None:
        self.directory = directory
        self.most = most
        self._taken: Counter[int] = Counter()           # uid -> drops in this minute
        self._waiting: Counter[int] = Counter()         # uid -> those that were left
        self._removed: Counter[int] = Counter()         # uid -> garbage
        self._garbage: Counter[int] | None = None       # uid -> files in corrupt/, counted when that is asked for
        self._until = 0.0

    def take(self, names: Iterable[str]) -> list[str]:
        """Those drops that may be taken now: the first of every user, then the second of every one, and so on."""
        self._turn()
        begun, ranked = self._taken.copy(), []
        for name in names:
            try:
                uid = os.lstat(f"{self.directory}/{name}").st_uid
            except OSError:
                continue                                # gone
            if self._taken[uid] < self.most:
                self._taken[uid] += 1
                ranked.append((self._taken[uid] - begun[uid], name))
            else:
                self._waiting[uid] += 1
        ranked.sort(key=lambda each: each[0])
        return [name for _, name in ranked]

    def removed(self, path: str) -> bool:
        """Remove garbage where corrupt/ has enough of its owner's.  False where it is to be kept, or cannot be removed."""
        self._turn()
        if self._garbage is None:
            self._garbage = Counter(owner for name in os.listdir(_CORRUPT) if (owner := _owner(f"{_CORRUPT}/{name}")) is not None)
        uid = _owner(path)
        if uid is None:
            return True
        if self._garbage[uid] < GARBAGE_MAX:
            self._garbage[uid] += 1
            return False
        try:
            durable.unlink_if_there(path)
        except OSError:
            return False                                # a directory
        self._removed[uid] += 1
        return True

    def _turn(self) -> None:
        """When a minute is over, say what was left and removed in it, and begin a new one."""
        if clock.tick() < self._until:
            return
        self._until = clock.tick() + _MINUTE_S
        for uid, count in self._waiting.items():
            log.event("trouble", what=f"uid {uid} has left more than {self.most} messages within a minute", waiting=count,
                      remedy="they are taken later; see queue.drops_per_uid")
        for uid, count in self._removed.items():
            log.event("trouble", what=f"uid {uid} leaves garbage in {self.directory}", removed=count,
                      remedy=f"look at those in {_CORRUPT}, and ask the user")
        self._garbage = None
        for counter in (self._taken, self._waiting, self._removed):
            counter.clear()


def _owner(path: str) -> int | None:
    """Its owner's uid; None if it is not there."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None
