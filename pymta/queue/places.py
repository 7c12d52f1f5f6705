"""places: where in the spool a queue file may stand.  For the start after a crash only: it lists directories."""
from __future__ import annotations

import os
from collections.abc import Iterator

from pymta import clock

# What works on a file first: a file that moves on while we look is then met on its way, not missed.
_FLAT = ("todo/local", "todo/remote", "in/smtpd/new", "in/qrun/new", "split", "hold")
_DEEP = ("later", "parked")
_SETTLED_NS = 100_000_000           # a directory changed less than this ago may change again without a new time


def names(directory: str) -> list[str]:
    """Names in a directory in order of age; those that begin with a dot are nobody's.  Empty if there is no such directory."""
    try:
        return sorted(name for name in os.listdir(directory) if name[0] != ".")
    except FileNotFoundError:
        return []


class Looker:
    """names() for directories that are looked at again and again: one that was found empty is read again when it has changed."""

    def __init__(self) -> None:
        self._empty: dict[str, int] = {}                # directory -> its time of change when it was found empty

    def names(self, directory: str) -> list[str]:
        try:
            changed_ns = os.stat(directory).st_mtime_ns
        except FileNotFoundError:
            return []
        if self._empty.get(directory) == changed_ns:
            return []
        found = names(directory)
        self._empty[directory] = changed_ns if not found and clock.now() * 1e9 - changed_ns > _SETTLED_NS else -1
        return found


def files() -> Iterator[str]:
    """The path of every queue file that is ours, below the spool (the working directory)."""
    for place in _FLAT:
        for name in names(place):
            yield f"{place}/{name}"
    for place in _DEEP:
        for directory in names(place):
            for name in names(f"{place}/{directory}"):
                yield f"{place}/{directory}/{name}"
    for place in _FLAT[:2]:
        for name in names(place):
            yield f"{place}/{name}"


def being_written() -> list[str]:
    """The paths of the runner's own copies that are not published yet."""
    return [f"in/qrun/tmp/{shard}/{name}" for shard in names("in/qrun/tmp") for name in names(f"in/qrun/tmp/{shard}")]


def find(id: str) -> str | None:
    """The path of the queue file with this id, wherever it stands; None if it has left the queue."""
    return next((path for path in files() if os.path.basename(path).partition(".")[0] == id), None)


def ids() -> set[str]:
    """The ids of all queue files."""
    return {os.path.basename(path).partition(".")[0] for path in files()}
