"""response: replies as bytes.                                                                 RFC 3501 §7"""
from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import Iterable

from pymta.message.structure import string
from pymta.proto.imap import utf7

SYSTEM_ORDER = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


_CONTROL = re.compile(rb"[\x00-\x1f\x7f]").search
_KEYWORD = re.compile(r"[^\x00-\x20(){%*\"\\\]\x7f-\U0010ffff]+").fullmatch


def flag_list(flags: frozenset[str]) -> bytes:
    """Flags with blanks between them: the system's first, then keywords by name.  A keyword that IMAP cannot say, because
    somebody wrote it into dovecot-keywords by hand, is passed over."""
    known = [flag for flag in SYSTEM_ORDER if flag in flags]
    return " ".join(known + sorted(filter(_KEYWORD, flags.difference(known)))).encode("ascii")


def flags_and_permanent(keywords: Iterable[str], read_only: bool, rights: frozenset[str]) -> bytes:
    """The two untagged replies that say which flags there are and which can be changed.  rights: RFC 4314 §5.2"""
    names = " ".join([*SYSTEM_ORDER, *filter(_KEYWORD, keywords)]).encode("ascii")
    permanent = b"" if read_only else names + b" \\*"
    if not read_only and not rights >= {"s", "w", "t"}:
        some = [name for name in [*names.split(), b"\\*"] if {b"\\Seen": "s", b"\\Deleted": "t"}.get(name, "w") in rights]
        permanent = b" ".join(some)
    return b"* FLAGS (%b)\r\n* OK [PERMANENTFLAGS (%b)] Flags that last\r\n" % (names, permanent)


def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name as a string; utf8: whether the client takes it as it is."""
    if not utf8 or name.isascii():
        return string(name.encode("ascii") if utf8 else utf7.encode(name))
    octets = utf7.encode_utf8(name)
    if _CONTROL(octets):
        return string(octets)
    return b'"%b"' % octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def date_time(seconds: float) -> bytes:
    """Seconds since 1970 as date-time, in UTC."""
    days, second = divmod(max(0, int(seconds)), 86400)
    return b'"%b %02d:%02d:%02d +0000"' % (_day(days), second // 3600, second // 60 % 60, second % 60)


@lru_cache(4096)
def _day(days: int) -> bytes:
    at = datetime.date(1970, 1, 1) + datetime.timedelta(min(days, 2_900_000))
    return b"%2d-%b-%04d" % (at.day, _MONTHS[at.month - 1], at.year)


def uid_set(uids: Iterable[int]) -> bytes:
    """UIDs in the order given, runs as ranges: 4,6:9"""
    out: list[bytes] = []
    first = last = -1
    for uid in uids:
        if uid == last + 1 and first >= 0:
            last = uid
            continue
        if first >= 0:
            out.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
        first = last = uid
    if first >= 0:
        out.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
    return b",".join(out)
