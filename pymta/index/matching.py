"""matching: which messages of a block hold what a search key asks for.  Works on octets that message/searchable has made equal.

    matcher = of(key)                                   # ("TEXT", text) ("BODY", text) ("HEADER", name, text) ("FUZZY", one of these)
                                                        # ("SENTBEFORE", date) ("SENTON", date) ("SENTSINCE", date)
    matcher.wanted                                      # which texts it looks through: "h", "t" or both (index/textwork)
    matcher.find(which, block, text)                    # [(UID, relevancy from 1 to 100)]
"""
from __future__ import annotations

import datetime
import re
from bisect import bisect_right
from collections.abc import Callable
from operator import eq, ge, lt
from typing import Protocol

from pymta.formats.searchtext import Block
from pymta.message import searchable

Found = list[tuple[int, int]]
EXACT = 100


class Matcher(Protocol):
    wanted: str

    def find(self, which: str, block: Block, text: bytes) -> Found: ...


def of(key: tuple) -> Matcher:
    match key:
        case ("FUZZY", ("TEXT" | "BODY" as kind, text)):
            return Fuzzy(text, wanted="ht" if kind == "TEXT" else "t")
        case ("FUZZY", ("HEADER", name, text)):
            return Fuzzy(text, wanted="h", name=name)
        case ("TEXT" | "BODY" as kind, text):
            return Exact(searchable.needle(text), kind == "BODY")
        case ("HEADER", name, text):
            return Field(name, searchable.needle(text))
        case ("SENTBEFORE" | "SENTON" | "SENTSINCE", datetime.date() as date):
            return Sent(key[0], date)
    raise AssertionError(key)


class Exact:
    """The octets anywhere in a message; below: only in what its texts say."""

    def __init__(self, needle: bytes, below: bool) -> None:
        self.wanted = "t" if below else "ht"
        self._needle = needle
        self._below = below

    def find(self, which: str, block: Block, text: bytes) -> Found:
        needle, find = self._needle, text.find
        at = find(needle)
        if at < 0:
            return []
        out = []
        starts, uids = block.starts(), block.uids
        while 0 <= at < len(text):
            row = bisect_right(starts, at) - 1
            if self._below and at < (begin := starts[row] + block.firsts[row]):
                at = find(needle, begin)
                continue
            out.append((uids[row], EXACT))
            at = find(needle, starts[row + 1])
        return out


class Field:
    """The octets in the value of a field of the message's own header."""

    wanted = "h"

    def __init__(self, name: bytes, needle: bytes) -> None:
        self._name = name.upper()
        self._needle = needle

    def find(self, which: str, block: Block, text: bytes) -> Found:
        needle, name, find = self._needle, self._name, text.find
        at = find(needle)
        if at < 0:
            return []
        out = []
        starts, uids = block.starts(), block.uids
        while 0 <= at < len(text):
            row = bisect_right(starts, at) - 1
            line = text.rfind(b"\n", starts[row], at) + 1 or starts[row]
            end = find(b"\n", at, starts[row + 1]) + 1 or starts[row + 1]
            if text.startswith(name, line) and (value := _value(text[line:end], name)) is not None and needle in value:
                out.append((uids[row], EXACT))
                end = starts[row + 1]
            at = find(needle, end)
        return out


def _value(line: bytes, name: bytes) -> bytes | None:
    """Of a line that begins with these octets: the field's value, None where its name is longer."""
    head, colon, value = line.partition(b":")
    return value.strip(b" \t\n\xff") if colon and head.rstrip(b" \t") == name else None


_DATE_FIELD = re.compile(rb"(?:^|[\n\xff])DATE[ \t]*:([^\n\xff]*)").finditer
_DATE = re.compile(rb"(\d{1,2})\s+([A-Z]{3})[A-Z]*\s+(\d{2,4})").search
_MONTHS = {name: number for number, name in enumerate(
    (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"), 1)}
_COMPARE: dict[str, Callable[[datetime.date, datetime.date], bool]] = {"SENTBEFORE": lt, "SENTON": eq, "SENTSINCE": ge}


class Sent:
    """The day in the first Date field, in whatever zone it names.  What cannot be read fits nothing."""

    wanted = "h"

    def __init__(self, kind: str, date: datetime.date) -> None:
        self._compare = _COMPARE[kind]
        self._date = date

    def find(self, which: str, block: Block, text: bytes) -> Found:
        starts = block.starts()
        out: Found = []
        last = -1
        for found in _DATE_FIELD(text):
            row = bisect_right(starts, found.start(1)) - 1
            if row != last and (date := _day(found[1])) is not None and self._compare(date, self._date):
                out.append((block.uids[row], EXACT))
            last = row
        return out


def _day(value: bytes) -> datetime.date | None:
    found = _DATE(value)
    if found is None:
        return None
    year = int(found[3])
    if len(found[3]) < 4:                               # RFC 5322 §4.3
        year += 2000 if len(found[3]) == 2 and year < 50 else 1900
    try:
        return datetime.date(year, _MONTHS[found[2]], int(found[1]))
    except (KeyError, ValueError):
        return None


_WORDS = re.compile(r"\w+").findall
_MARKS = re.compile(rb"\xcc[\x80-\xbf]|\xcd[\x80-\xaf]").sub         # U+0300 to U+036F
_UNPARTED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\U0010ffff]").match     # scripts that put no blanks between words
WORDS_MAX = 20


class Fuzzy:
    """Every word of the text, whole or as the beginning of another, in any order, with or without accents.           RFC 6203

    Relevancy: 10, 50 times the share of the words that stand there whole, and 40 where all stand together as asked."""

    def __init__(self, text: str, *, wanted: str, name: bytes = b"") -> None:
        self.wanted = wanted
        self._name = name.upper()
        self._below = wanted == "t"
        words = _WORDS(_MARKS(b"", searchable.needle(text)).decode())[:WORDS_MAX]
        self._phrase = " ".join(words)
        words = list(dict.fromkeys(words))
        self._words = [word.encode() for word in words]
        begins = [("" if _UNPARTED(word) else r"(?<!\w)") + re.escape(word) for word in words]
        self._begins = [re.compile(begin).search for begin in begins]
        self._wholes = [re.compile(begin + r"(?!\w)").search for begin in begins]

    def find(self, which: str, block: Block, text: bytes) -> Found:
        out = []
        sections = _MARKS(b"", text).split(b"\xff")
        for uid, first, second in zip(block.uids, sections[::2], sections[1::2]):
            said = self._said(first, second)
            if all([word in said for word in self._words]) and (score := self._score(said.decode("utf-8", "replace"))):
                out.append((uid, score))
        return out

    def _said(self, first: bytes, second: bytes) -> bytes:
        if self._name:
            lines = [line for line in first.split(b"\n") if line.startswith(self._name)]
            return b"\n".join([value for line in lines if (value := _value(line, self._name)) is not None])
        return second if self._below else first + b"\n" + second

    def _score(self, text: str) -> int:
        """0 where a word is missing."""
        if not all([begins(text) for begins in self._begins]):
            return 0
        if not self._begins:                            # nothing was asked
            return EXACT
        wholes = sum([whole(text) is not None for whole in self._wholes])
        together = wholes == len(self._wholes) and self._phrase in " ".join(_WORDS(text))
        return 10 + 50 * wholes // len(self._wholes) + 40 * together
