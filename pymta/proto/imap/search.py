"""search: which messages are what SEARCH asks for.                                            RFC 3501 §6.4.4, RFC 6203

    sieve = Sieve(key, view, now)                       # key: what searchkey made of the search program
    positions = yield from sieve.sift(progress)         # in a command
    sieve.relevancy(uid)

A key is asked about all messages that are left at once, what is cheap first.  Texts are collated (i;unicode-casemap, RFC 5255 §4.4)
and looked for by the folder, which keeps them; dates are compared without regard to time and zone.
"""
from __future__ import annotations

import datetime
from collections.abc import Generator
from operator import attrgetter
from typing import Any, Callable

from pymta.proto.imap import objectid
from pymta.proto.imap.args import SAVED
from pymta.proto.imap.fetch import Source
from pymta.proto.imap.progress import Progress
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import Job

Test = Callable[[int, Any], bool]                       # (position, message)
Sifting = Generator[Any, Any, list[int]]                # positions, ascending
_GROUPS = ("AND", "OR", "NOT")
_TEXTS = frozenset(("HEADER", "BODY", "TEXT", "SENTBEFORE", "SENTON", "SENTSINCE"))
_DEAR = {"BODY": 5, "TEXT": 5, "FUZZY": 6, "HEADER": 4, "THREADID": 3, "SENTBEFORE": 3, "SENTON": 3, "SENTSINCE": 3, "LARGER": 2, "SMALLER": 2}
_ROWS_A_TURN = 10_000                                   # messages looked at before others get a turn
_READS_A_TURN = 20


class Sieve:
    """A search over one view.  now: seconds since 1970."""

    def __init__(self, key: tuple, view: View, now: float) -> None:
        """Raises ValueError for a sequence number that is not there."""
        self._view = view
        self._now = now
        self._gone: set[int] = set()                    # positions
        self._relevancies: list[dict[int, int]] = []    # of each FUZZY key: UID -> 1 to 100
        self._key = self._compile(key)

    def sift(self, progress: Progress) -> Sifting:
        """Positions of the messages that fit.  One that has gone fits nothing."""
        found = yield from self._sift(self._key, list(range(len(self._view.messages))), progress)
        return [position for position in found if position not in self._gone] if self._gone else found

    def relevancy(self, uid: int) -> int:
        """The mean over the FUZZY keys that it fits; 100 where it was none of these that found it."""
        scores = [scores[uid] for scores in self._relevancies if uid in scores]
        return sum(scores) // len(scores) if scores else 100

    def _sift(self, key: tuple, positions: list[int], progress: Progress) -> Sifting:
        match key:
            case ("AND", *keys):
                for one in keys:
                    positions = (yield from self._sift(one, positions, progress)) if positions else []
                return positions
            case ("OR", one, other):
                first = set((yield from self._sift(one, positions, progress)))
                rest = [position for position in positions if position not in first]
                return sorted(first.union((yield from self._sift(other, rest, progress))))
            case ("NOT", one):
                wrong = set((yield from self._sift(one, positions, progress)))
                return [position for position in positions if position not in wrong]
            case ("TEST", test, turn):
                return (yield from self._test(test, turn, positions))
            case ("LOOK", text):
                return (yield from self._look(text, positions, progress))
        raise AssertionError(key)

    def _test(self, test: Test, turn: int, positions: list[int]) -> Sifting:
        messages, found = self._view.messages, []
        for at, position in enumerate(positions, 1):
            try:
                if test(position, messages[position]):
                    found.append(position)
            except LookupError:
                self._gone.add(position)
            if at % turn == 0:
                yield None
        return found

    def _look(self, key: tuple, positions: list[int], progress: Progress) -> Sifting:
        """A key about text, over what is kept and what must be read for it."""
        view = self._view
        messages = [view.messages[position] for position in positions]
        searching = yield Job(lambda: view.folder.searching(messages, key))
        progress.begin()
        try:
            while (counts := (yield Job(searching.step))) is not None:
                if said := progress.at(*counts):
                    yield said
        finally:
            searching.close()
        found = searching.found
        if key[0] == "FUZZY":
            self._relevancies.append(found)
        self._gone.update(position for position, message in zip(positions, messages) if message.uid in searching.gone)
        return [position for position, message in zip(positions, messages) if message.uid in found]

    def _compile(self, key: tuple) -> tuple:
        """The same key, cheap parts first, with a test or a look at each end."""
        match key:
            case ("AND" | "OR" as kind, *keys):
                return kind, *(self._compile(one) for one in sorted(keys, key=_cost))
            case ("NOT", one):
                return "NOT", self._compile(one)
            case ("FUZZY", (kind, *_) as one):
                return ("LOOK", key) if kind in ("HEADER", "BODY", "TEXT") else self._compile(one)
            case (kind, *_) if kind in _TEXTS:
                return "LOOK", key
        return "TEST", self._leaf(key), _READS_A_TURN if key[0] == "THREADID" else _ROWS_A_TURN

    def _leaf(self, key: tuple) -> Test:
        match key:
            case ("ALL",):
                return lambda position, message: True
            case ("FLAG", flag, wanted):
                return self._flag(flag, wanted)
            case ("RECENT", wanted):
                recent = self._view.recent
                return lambda position, message: (message.uid in recent) is wanted
            case ("SEQ" | "UID", pairs):
                chosen = set(self._view.indexes(pairs, key[0] == "UID"))
                return lambda position, message: position in chosen
            case ("MODSEQ", modseq):
                folder = self._view.folder
                return lambda position, message: folder.modseq_of(message) >= modseq
            case ("LARGER", octets):
                return lambda position, message: message.vsize > octets
            case ("SMALLER", octets):
                return lambda position, message: message.vsize < octets
            case ("YOUNGER", seconds):
                return lambda position, message: message.internaldate >= self._now - seconds
            case ("OLDER", seconds):
                return lambda position, message: message.internaldate <= self._now - seconds
            case ("EMAILID", id):
                return lambda position, message: message.emailid == id
            case ("THREADID", id):
                folder = self._view.folder
                return lambda position, message: objectid.thread_of(Source(folder, message)) == id
            case (kind, date):
                return _dates(kind, date)
        raise AssertionError(key)

    @staticmethod
    def _flag(flag: str, wanted: bool) -> Test:
        if flag.startswith("\\"):
            return lambda position, message: (flag in message.flags) is wanted
        lower = flag.lower()                            # keywords are the same in any case
        known: dict[frozenset[str], bool] = {}

        def test(position: int, message: Any) -> bool:
            flags = message.flags
            if flags not in known:
                known[flags] = any(one.lower() == lower for one in flags)
            return known[flags] is wanted
        return test


def _cost(key: tuple) -> int:
    return max((_cost(one) for one in key[1:]), default=0) if key[0] in _GROUPS else _DEAR.get(key[0], 1)


def asks_modseq(key: tuple) -> bool:
    """Whether a key is about mod-sequences: then the reply tells them."""
    return key[0] == "MODSEQ" or key[0] in ("FUZZY", *_GROUPS) and any(asks_modseq(one) for one in key[1:])


def asks_numbers(key: tuple) -> bool:
    """Whether a key names messages by number."""
    return key[0] == "SEQ" and any(pair != SAVED for pair in key[1]) or key[0] in ("FUZZY", *_GROUPS) and any(asks_numbers(one) for one in key[1:])


def looks(key: tuple) -> int:
    """How many keys in it are about text."""
    return sum(looks(one) for one in key[1:]) if key[0] in _GROUPS else key[0] in _TEXTS or key[0] == "FUZZY"


def _dates(kind: str, date: datetime.date) -> Test:
    begin = datetime.datetime(date.year, date.month, date.day, tzinfo=datetime.timezone.utc).timestamp()
    end = begin + 86400
    of = attrgetter("savedate" if kind.startswith("SAVED") else "internaldate")
    match kind.removeprefix("SAVED"):
        case "BEFORE":
            return lambda position, message: of(message) < begin
        case "SINCE":
            return lambda position, message: of(message) >= begin
        case "ON":
            return lambda position, message: begin <= of(message) < end
    raise AssertionError(kind)
