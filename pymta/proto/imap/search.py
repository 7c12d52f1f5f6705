"""search: whether a message is what SEARCH asks for.                                          RFC 3501 §6.4.4

    test = compile(key, numbers)                        # key: what grammar made of the search program
    test(position, source) -> bool

Texts are compared as decoded text without regard to case; dates without regard to time and zone.  What is cheap is asked first.
"""
from __future__ import annotations

import datetime
import re
from operator import attrgetter
from typing import Any, Callable

from pymta.message import decode, mime
from pymta.proto.imap import objectid
from pymta.proto.imap.args import SAVED
from pymta.proto.imap.fetch import Source

Test = Callable[[int, Source], bool]
_DATE = re.compile(rb"(\d{1,2})\s+([A-Za-z]{3})[a-z]*\s+(\d{2,4})").search
_MONTHS = {name: number for number, name in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)}
_DEAR = {"BODY": 4, "TEXT": 4, "HEADER": 3, "THREADID": 3, "SENTBEFORE": 3, "SENTON": 3, "SENTSINCE": 3, "LARGER": 2, "SMALLER": 2}


class Program:
    """A search over one view.  recent: UIDs; positions: of a (pairs, uid) set; now: seconds since 1970."""

    def __init__(self, key: tuple, *, recent: set[int], positions: Callable[[Any, bool], list[int]], now: float) -> None:
        """Raises ValueError for a sequence number that is not there."""
        self._recent = recent
        self._positions = positions
        self._now = now
        self.reads = _cost(key) > 2
        self.test = self._compile(key)

    def _compile(self, key: tuple) -> Test:
        match key:
            case ("ALL",):
                return lambda position, source: True
            case ("AND", *keys):
                tests = [self._compile(one) for one in sorted(keys, key=_cost)]
                return lambda position, source: all(test(position, source) for test in tests)
            case ("OR", one, other):
                first, second = (self._compile(key) for key in sorted((one, other), key=_cost))
                return lambda position, source: first(position, source) or second(position, source)
            case ("NOT", one):
                inner = self._compile(one)
                return lambda position, source: not inner(position, source)
            case ("FLAG", flag, wanted):
                return self._flag(flag, wanted)
            case ("RECENT", wanted):
                recent = self._recent
                return lambda position, source: (source.message.uid in recent) is wanted
            case ("SEQ" | "UID", pairs):
                chosen = set(self._positions(pairs, key[0] == "UID"))
                return lambda position, source: position in chosen
            case ("MODSEQ", modseq):
                return lambda position, source: source.folder.modseq_of(source.message) >= modseq
            case ("LARGER", octets):
                return lambda position, source: source.message.vsize > octets
            case ("SMALLER", octets):
                return lambda position, source: source.message.vsize < octets
            case ("YOUNGER", seconds):
                return lambda position, source: source.message.internaldate >= self._now - seconds
            case ("OLDER", seconds):
                return lambda position, source: source.message.internaldate <= self._now - seconds
            case ("EMAILID", id):
                return lambda position, source: source.message.emailid == id
            case ("THREADID", id):
                return lambda position, source: objectid.thread_of(source) == id
            case ("HEADER", name, text):
                wanted = text.casefold()
                return lambda position, source: any(wanted in value for value in _header(source, name))
            case ("BODY", text):
                wanted = text.casefold()
                return lambda position, source: any(wanted in one.casefold() for one in decode.texts(source.data, source.root))
            case ("TEXT", text):
                return _text(text.casefold())
            case (kind, date):
                return _dates(kind, date)
        raise AssertionError(key)

    @staticmethod
    def _flag(flag: str, wanted: bool) -> Test:
        if flag.startswith("\\"):
            return lambda position, source: (flag in source.message.flags) is wanted
        lower = flag.lower()                            # keywords are the same in any case
        known: dict[frozenset[str], bool] = {}

        def test(position: int, source: Source) -> bool:
            flags = source.message.flags
            if flags not in known:
                known[flags] = any(one.lower() == lower for one in flags)
            return known[flags] is wanted
        return test


def _cost(key: tuple) -> int:
    return max((_cost(one) for one in key[1:]), default=0) if key[0] in ("AND", "OR", "NOT") else _DEAR.get(key[0], 1)


def asks_modseq(key: tuple) -> bool:
    """Whether a key is about mod-sequences: then the reply tells them."""
    return key[0] == "MODSEQ" or key[0] in ("AND", "OR", "NOT") and any(asks_modseq(one) for one in key[1:])


def asks_numbers(key: tuple) -> bool:
    """Whether a key names messages by number."""
    return key[0] == "SEQ" and any(pair != SAVED for pair in key[1]) or key[0] in ("AND", "OR", "NOT") and any(asks_numbers(one) for one in key[1:])


def _header(source: Source, name: bytes) -> list[str]:
    return [decode.header(value).casefold() for value in mime.values(source.header, 0, len(source.header), name)]


def _text(wanted: str) -> Test:
    def test(position: int, source: Source) -> bool:
        if wanted in decode.header(mime.unfold(source.header)).casefold():
            return True
        return any(wanted in one.casefold() for one in decode.texts(source.data, source.root))
    return test


def _dates(kind: str, date: datetime.date) -> Test:
    if kind.startswith("SENT"):
        compare = _COMPARE[kind[4:]]

        def sent(position: int, source: Source) -> bool:
            found = sent_date(source)
            return found is not None and compare(found, date)
        return sent
    begin = datetime.datetime(date.year, date.month, date.day, tzinfo=datetime.timezone.utc).timestamp()
    end = begin + 86400
    of = attrgetter("savedate" if kind.startswith("SAVED") else "internaldate")
    match kind.removeprefix("SAVED"):
        case "BEFORE":
            return lambda position, source: of(source.message) < begin
        case "SINCE":
            return lambda position, source: of(source.message) >= begin
        case "ON":
            return lambda position, source: begin <= of(source.message) < end
    raise AssertionError(kind)


_COMPARE: dict[str, Callable[[datetime.date, datetime.date], bool]] = {
    "BEFORE": lambda a, b: a < b, "ON": lambda a, b: a == b, "SINCE": lambda a, b: a >= b}


def sent_date(source: Source) -> datetime.date | None:
    """The day in the Date field, in whatever zone it names; None where it cannot be read."""
    for value in mime.values(source.header, 0, len(source.header), b"date")[:1]:
        found = _DATE(value)
        if found:
            year = int(found[3])
            if len(found[3]) < 4:                       # RFC 5322 §4.3
                year += 2000 if len(found[3]) == 2 and year < 50 else 1900
            try:
                return datetime.date(year, _MONTHS[found[2].lower()], int(found[1]))
            except (KeyError, ValueError):
                return None
    return None
