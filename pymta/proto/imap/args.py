"""args: a cursor over the bytes of a command, and the rules that many commands share.          RFC 3501 §9

Every method of Args reads one thing and stands behind it, or raises Bad, whose text is for the client.  Nesting is bounded
by DEPTH_MAX, search keys by KEYS_MAX, everything else by the size of the command.
"""
from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import Any, Callable

from pymta.proto.imap import utf7

DEPTH_MAX = 40
FLAG_MAX = 200
KEYS_MAX = 2000                                         # of one search: each is asked about all messages
STAR = 1 << 62                                          # "*" in a sequence set: above every number
SAVED = (0, 0)                                          # "$" in a sequence set: what SEARCH RETURN (SAVE) kept
_NUMBER_MAX = (1 << 32) - 1

Pairs = tuple[tuple[int, int], ...]                     # a sequence set: (first, last) as written, STAR for "*"

_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]+").match
_ASTRING = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff]+").match
_LIST_MAILBOX = re.compile(rb"[^\x00-\x20(){\"\\\x7f-\xff]+").match
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\[^\r\n\x00])*)"').match
_ESCAPED = re.compile(rb"\\(.)").sub
_LITERAL = re.compile(rb"\{(\d+)\+?\}\r?\n").match
_SET = re.compile(rb"(?:\$|(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?)(?:,(?:\$|(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?))*(?=[ \r\n)]|\Z)").match
_NUMBER = re.compile(rb"\d{1,19}").match
_FLAG = re.compile(rb"\\?[^\x00-\x20(){%*\"\\\]\x7f-\xff]+").match
_DATE = re.compile(rb'"?( ?\d{1,2})-([A-Za-z]{3})-(\d{4})"?').match
_DATE_TIME = re.compile(rb'"( \d|\d\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"').match
_MONTHS = {name: number for number, name in enumerate(
    (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1)}

SYSTEM_FLAGS = {flag.lower(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}


class Bad(Exception):
    """Not what the grammar asks for."""


class Args:
    """A cursor over a command's bytes.  Every method reads one thing and stands behind it, or raises."""

    __slots__ = ("raw", "at", "depth", "keys", "utf8", "utf8_only")

    def __init__(self, raw: bytes | bytearray, at: int, *, utf8: bool = False, utf8_only: bool = False) -> None:
        """utf8: mailbox names come in UTF-8; utf8_only: so does everything else (UTF8=ACCEPT)."""
        self.utf8 = utf8
        self.utf8_only = utf8_only
        self.raw = raw
        self.at = at
        self.depth = self.keys = 0

    def peek(self) -> int:
        """The next octet, 0 at the end."""
        return self.raw[self.at] if self.at < len(self.raw) else 0

    def space(self) -> None:
        if self.peek() != 32:
            raise Bad("missing argument")
        self.at += 1
        while self.peek() == 32:                        # some clients say two
            self.at += 1

    def more(self) -> bool:
        """Whether a blank and another argument follow; blanks at the end are none."""
        raw, at = self.raw, self.at
        while at < len(raw) and raw[at] == 32:
            at += 1
        return self.at < at < len(raw) and raw[at] not in (10, 13)

    def end(self) -> None:
        if self.raw[self.at:].strip():
            raise Bad("too many arguments, or a strange one")

    def take(self, match: Callable[..., re.Match[bytes] | None], what: str) -> re.Match[bytes]:
        found = match(self.raw, self.at)
        if found is None:
            raise Bad(f"{what} expected")
        self.at = found.end()
        return found

    def mark(self, octet: bytes) -> bool:
        """Whether this octet comes next; then stand behind it."""
        if self.peek() == octet[0]:
            self.at += 1
            return True
        return False

    def need(self, octet: bytes) -> None:
        if not self.mark(octet):
            raise Bad(f'"{octet.decode()}" expected')

    def atom(self) -> bytes:
        return bytes(self.take(_ATOM, "a word")[0])

    def string(self) -> bytes | None:
        """A quoted string or a literal, None if neither comes next."""
        next = self.peek()
        if next == 34:
            found = self.take(_QUOTED, "a quoted string")
            text = bytes(found[1])
            return _ESCAPED(rb"\1", text) if b"\\" in text else text
        if next == 123:
            found = self.take(_LITERAL, "a literal")
            begin, self.at = self.at, self.at + int(found[1])
            if self.at > len(self.raw):
                raise Bad("a literal is cut short")
            return bytes(self.raw[begin:self.at])
        return None

    def astring(self) -> bytes:
        text = self.string()
        return bytes(self.take(_ASTRING, "a string")[0]) if text is None else text

    def nstring(self) -> bytes | None:
        text = self.string()
        if text is None and self.atom().upper() != b"NIL":
            raise Bad("a string or NIL expected")
        return text

    def mailbox(self) -> str:
        return canonical(_name(self.astring(), self.utf8))

    def number(self) -> int:
        value = int(self.take(_NUMBER, "a number")[0])
        if value > _NUMBER_MAX:
            raise Bad("number too big")
        return value

    def number64(self) -> int:
        """number64 of RFC 9051 §9, and mod-sequence-valzer of RFC 7162 §7"""
        value = int(self.take(_NUMBER, "a number")[0])
        if value >= 1 << 63:
            raise Bad("number too big")
        return value

    def set(self) -> Pairs:
        """sequence-set, also of UIDs; "$" is the pair SAVED."""
        return _pairs(bytes(self.take(_SET, "a sequence set")[0]))

    def list(self, one: Callable[[], Any]) -> list[Any]:
        """ "(" [one *(SP one)] ")" """
        self.need(b"(")
        self.deeper()
        out: list[Any] = []
        while not self.mark(b")"):
            if out:
                self.space()
                if self.mark(b")"):                     # a blank before the parenthesis
                    break
            out.append(one())
        self.depth -= 1
        return out

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise Bad("nested too deep")

    def another_key(self) -> None:
        """A search key begins."""
        self.keys += 1
        if self.keys > KEYS_MAX:
            raise Bad("too many search keys")

    def flag(self) -> str:
        found = bytes(self.take(_FLAG, "a flag")[0]).decode("ascii")
        if len(found) > FLAG_MAX:
            raise Bad("flag too long")
        if found[0] != "\\":
            return found
        return SYSTEM_FLAGS.get(found.lower()) or _recent(found)

    def date(self) -> datetime.date:
        """ [DQUOTE] 1*2DIGIT "-" month "-" 4DIGIT [DQUOTE] """
        found = self.take(_DATE, "a date")
        try:
            return datetime.date(int(found[3]), _MONTHS[bytes(found[2]).lower()], int(found[1]))
        except (KeyError, ValueError):
            raise Bad("no such date") from None

    def date_time(self) -> float:
        """ DQUOTE date-day-fixed "-" month "-" 4DIGIT SP time SP zone DQUOTE, as seconds since 1970 """
        found = self.take(_DATE_TIME, "a date and time")
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
        try:
            zone_s = (int(zone_hours) * 3600 + int(zone_minutes) * 60) * (-1 if sign == b"-" else 1)
            at = datetime.datetime(int(year), _MONTHS[bytes(month).lower()], int(day), int(hour), int(minute), min(int(second), 59),
                                   tzinfo=datetime.timezone.utc)
            return at.timestamp() - zone_s
        except (KeyError, ValueError, OverflowError):
            raise Bad("no such date") from None

    def pattern(self) -> str:
        """list-mailbox"""
        text = self.string()
        return _name(bytes(self.take(_LIST_MAILBOX, "a mailbox pattern")[0]) if text is None else text, self.utf8)


def canonical(name: str) -> str:
    """INBOX in any case is INBOX, also as a parent: some clients write Inbox.Sent."""
    return "INBOX" + name[5:] if name[:5].upper() == "INBOX" and name[5:6] in ("", ".") else name


def _recent(flag: str) -> str:
    if flag.lower() == "\\recent":
        return "\\Recent"                               # only the server sets it: whoever stores it is not heard
    raise Bad("no such system flag")


@lru_cache(512)
def _pairs(text: bytes) -> Pairs:
    """sequence-set = (seq-number / seq-range / "$") *("," sequence-set)      RFC 5182 §4"""
    out = []
    for item in text.split(b","):
        if item == b"$":
            out.append(SAVED)
            continue
        first, colon, last = item.partition(b":")
        a = STAR if first == b"*" else int(first)
        b = a if not colon else STAR if last == b"*" else int(last)
        if not a or not b or (a > _NUMBER_MAX and a != STAR) or (b > _NUMBER_MAX and b != STAR):
            raise Bad("a number from 1 expected")
        out.append((a, b))
    return tuple(out)


def _name(octets: bytes, utf8: bool) -> str:
    try:
        return utf7.decode_utf8(octets) if utf8 else utf7.decode(octets)
    except ValueError:
        raise Bad("the mailbox name is not UTF-8" if utf8 else "the mailbox name is not modified UTF-7") from None
