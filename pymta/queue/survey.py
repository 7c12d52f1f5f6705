"""survey: the queue as an onlooker sees it: where each message stands, and since when.

A walk over the directories of the spool, one name at a time, in bounded memory; it takes no lock and changes nothing, so a
message that moves meanwhile may be met twice or missed.  What this uid may not enter is named in `unseen`, not passed over.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pymta.formats import queuefile
from pymta.queue import schedule

STATES = ("in", "split", "todo", "later", "parked", "hold", "corrupt")
_PLAIN = {"in": ("in/smtpd/new", "in/inject/new", "in/qrun/new"), "split": ("split",), "todo": ("todo/local", "todo/remote"),
          "hold": ("hold",), "corrupt": ("corrupt",)}


@dataclass(frozen=True, slots=True)
class Found:
    """One queue file.  path: below the spool; state: the place without its last part if that says nothing ("in/smtpd",
    "todo/remote", "later", "parked", "hold", ...); due: when it is tried next, seconds since 1970, 0.0 for now, None for not by
    itself; destination: where it is parked."""

    path: str
    state: str
    due: float | None = None
    destination: str = ""

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def id(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a queue file says.  size_octets: of the message alone; owed: numbers of recipients that are still owed."""

    envelope: queuefile.Envelope
    records: list[queuefile.Record]
    size_octets: int
    owed: list[int]

    def last(self, recipient: int) -> queuefile.Record | None:
        """What was last recorded for one recipient."""
        return next((record for record in reversed(self.records) if record.recipient == recipient), None)


def walk(spool: str, unseen: list[str], states: Iterable[str] = STATES) -> Iterator[Found]:
    """Every message in these states; what could not be looked into is added to unseen (`place: reason`)."""
    for state in states:
        if state in _PLAIN:
            for place in _PLAIN[state]:
                yield from _plain(spool, place, unseen)
        else:
            yield from _nested(spool, state, unseen)


def _plain(spool: str, place: str, unseen: list[str]) -> Iterator[Found]:
    shown = place.removesuffix("/new")
    for name in _names(spool, place, unseen):
        if not (place == "corrupt" and name.endswith(".why")):
            yield Found(f"{place}/{name}", shown, None if place in ("hold", "corrupt") else 0.0)


def _nested(spool: str, state: str, unseen: list[str]) -> Iterator[Found]:
    """later/TIME/ and parked/DESTINATION/."""
    for directory in sorted(_names(spool, state, unseen)):
        due: float | None = None
        if state == "later":
            try:
                due = schedule.bucket_time(directory)
            except ValueError:
                continue
        for name in _names(spool, f"{state}/{directory}", unseen):
            yield Found(f"{state}/{directory}/{name}", state, due, directory if state == "parked" else "")


def _names(spool: str, place: str, unseen: list[str]) -> Iterator[str]:
    try:
        with os.scandir(os.path.join(spool, place)) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    yield entry.name
    except FileNotFoundError:
        if "/" not in place or place.startswith(("in/", "todo/")):
            unseen.append(f"{place}: it is not there")
    except NotADirectoryError:
        pass
    except OSError as error:
        unseen.append(f"{place}: {error.strerror}")


def find(spool: str, ids: Iterable[str], unseen: list[str]) -> dict[str, list[Found]]:
    """The files whose names begin with these ids (a message being copied may have two)."""
    wanted: dict[str, list[Found]] = {id: [] for id in ids}
    for found in walk(spool, unseen):
        if found.id in wanted:
            wanted[found.id].append(found)
    return wanted


def read(spool: str, found: Found) -> Contents:
    """Raises FileNotFoundError if it has moved on, queuefile.Damaged, OSError."""
    fd = os.open(os.path.join(spool, found.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        envelope, _ = queuefile.read_envelope(fd)
        records, _ = queuefile.read_records(fd, envelope)
    finally:
        os.close(fd)
    return Contents(envelope, records, envelope.size_octets - envelope.head_octets, queuefile.owed(envelope, records))


def born(found: Found) -> float | None:
    """When it was accepted, by its name; None for a name that is no id."""
    try:
        return queuefile.birth(found.name)
    except ValueError:
        return None
