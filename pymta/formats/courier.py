"""courier: the files in which Courier keeps what is not in a message's name.                       pymta-maildir(8)

    courierimapuiddb            "1" SP UIDVALIDITY SP next LF *(uid SP base LF)             ; version 1 of uidlist, which reads it
    courierimapkeywords/:list   *(keyword LF) LF *(base ":" number *(SP number) LF)         ; numbers of the keywords, from 0
    courierimapkeywords/base    *(keyword LF)           ; newer than :list, all keywords of this message
    courierimapkeywords/.N.base *(keyword LF)           ; the same, older than that without N, the newer the higher N
    courierimapsubscribed       *("INBOX" ["." name] LF)
    courierpop3dsizelist        "/3" SP next SP uidv LF *(name SP size SP uid ":" uidv ":" utf8 LF)
                                "/2" SP next SP uidv LF *(name SP size SP uid ":" uidv LF)
                                *(name SP size LF)                                          ; before: the UIDL was the base

    /3 9 1795451104
    1795451102.M1P2.mail:2,S 1880 7:1795451104:0

Names in courierpop3dsizelist carry flags, which count for nothing, but their colon must be there.  The UIDL is UID<uid>-<uidv>, UID<uid>
where uidv is 0, and where both are 0 the base, with "+XX" for what is not graphic.  Since version 5 folders are named in UTF-8 on disk
and in courierimapsubscribed; before, in modified UTF-7, as everybody else's.
Writers: Courier, which replaces files whole, and pymta-maildir leave.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from pymta.formats.maildir import base_of, decode_utf7, encode_utf7, is_inbox
from pymta.formats.uidlist import Uidlist

UIDDB, KEYWORDS, KEYWORDS_LIST = b"courierimapuiddb", b"courierimapkeywords", b":list"
SUBSCRIBED, SIZELIST = b"courierimapsubscribed", b"courierpop3dsizelist"

_OLDER = re.compile(rb"\.(\d+)\.(.+)", re.S)
_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b"'\"+")


# ---- UIDs -------------------------------------------------------------------------------------------------------------
def encode_uiddb(listed: Uidlist) -> bytes:
    return b"1 %d %d\n" % (listed.uidvalidity, listed.next) + b"".join([b"%d %s\n" % (uid, base) for base, uid in listed.uids.items()])


# ---- keywords ---------------------------------------------------------------------------------------------------------
def decode_keywords(files: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[str]]:
    """base -> keywords, of the (name, contents) of all that lies in courierimapkeywords; total."""
    found: dict[bytes, list[str]] = {}
    newer: list[tuple[float, bytes, bytes]] = []
    for name, data in files:
        older = _OLDER.fullmatch(name)
        if name == KEYWORDS_LIST:
            found = _decode_list(data)
        elif older and len(older[1]) < 19:
            newer.append((float(older[1]), older[2], data))
        elif name[:1] not in (b".", b":"):
            newer.append((float("inf"), name, data))
    for _, base, data in sorted(newer):
        found[base] = [_text(word) for word in data.split(b"\n") if word]
    return {base: words for base, words in found.items() if words}


def _decode_list(data: bytes) -> dict[bytes, list[str]]:
    head, _, rest = data.partition(b"\n\n") if not data.startswith(b"\n") else (b"", b"", data[1:])
    words = [_text(word) for word in head.split(b"\n")]
    found = {}
    for line in rest.split(b"\n"):
        base, colon, numbers = line.rpartition(b":")
        if colon:
            found[base] = [words[int(one)] for one in numbers.split() if one.isdigit() and len(one) < 7 and int(one) < len(words) and words[int(one)]]
    return found


def encode_keywords(found: dict[bytes, list[str]]) -> bytes:
    """A :list."""
    words = sorted({word for some in found.values() for word in some})
    number = {word: place for place, word in enumerate(words)}
    head = b"".join([_bytes(word) + b"\n" for word in words])
    return head + b"\n" + b"".join([b"%s:%s\n" % (base, b" ".join([b"%d" % number[word] for word in some]))
                                    for base, some in sorted(found.items()) if some])


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")


# ---- folders ----------------------------------------------------------------------------------------------------------
def name_of(folder: bytes) -> str:
    """The mailbox that a name on Courier's disk means: modified UTF-7 where it can be that, else UTF-8."""
    name = decode_utf7(folder)
    if not any(0xDC00 <= ord(char) <= 0xDCFF for char in name):
        return name
    try:
        return folder.decode()
    except UnicodeDecodeError:
        return name


def folder_of(mailbox: str, *, utf7: bool) -> bytes:
    """What Courier calls it on disk; utf7: before version 5."""
    if utf7:
        return encode_utf7(mailbox)
    try:
        return mailbox.encode()
    except UnicodeEncodeError:
        return encode_utf7(mailbox)


def decode_subscribed(data: bytes) -> list[str]:
    """Mailboxes as we name them."""
    names: dict[str, None] = {}
    for line in data.split(b"\n"):
        line = line.rstrip(b"\r")
        if is_inbox(line.decode("latin-1")):
            names["INBOX"] = None
        elif line[:6].upper() == b"INBOX.":
            names[name_of(line[6:])] = None
    return list(names)


def encode_subscribed(names: Iterable[str], *, utf7: bool) -> bytes:
    return b"".join([b"INBOX\n" if is_inbox(name) else b"INBOX.%s\n" % folder_of(name, utf7=utf7) for name in names])


# ---- POP3 -------------------------------------------------------------------------------------------------------------
class Row(NamedTuple):
    """size: with CRLF, and two more where the last line has no end."""

    name: bytes
    size: int
    uid: int
    uidv: int
    utf8: int = 0

    @property
    def uidl(self) -> bytes:
        if not self.uid:
            return escaped(base_of(self.name))
        return b"UID%d-%d" % (self.uid, self.uidv) if self.uidv else b"UID%d" % self.uid


class Sizelist(NamedTuple):
    next: int
    uidv: int
    rows: list[Row]


_UIDL = re.compile(rb"UID([1-9]\d{0,9})(?:-([1-9]\d{0,9}))?")


def decode_sizelist(data: bytes) -> Sizelist:
    """All three generations; lines that cannot be read count for nothing."""
    head = re.match(rb"/([23]) (\d{1,10})(?: (\d{1,10}))?\s*\n", data)
    rows = [row for line in data[head.end() if head else 0:].split(b"\n") if (row := _row(line, bool(head)))]
    return Sizelist(int(head[2]), int(head[3] or 0), rows) if head else Sizelist(1, 0, rows)


def _row(line: bytes, numbered: bool) -> Row | None:
    found = re.fullmatch(rb"(.+) (\d{1,18}) (\d{1,10}):(\d{1,10})(?::(\d{1,9}))?" if numbered else rb"(.+) (\d{1,18})()()()", line, re.S)
    return Row(found[1], *[int(number or 0) for number in found.groups()[1:]]) if found else None


def encode_sizelist(listed: Sizelist) -> bytes:
    return b"/3 %d %d\n" % (listed.next, listed.uidv) + b"".join(
        [b"%s %d %d:%d:%d\n" % (row.name if b":" in row.name else row.name + b":2,", row.size, row.uid, row.uidv, row.utf8) for row in listed.rows])


def row_of(name: bytes, size: int, uidl: bytes, utf8: bool) -> Row | None:
    """The row that makes Courier show this UIDL; None if nothing does."""
    found = _UIDL.fullmatch(uidl)
    if found:
        return Row(name, size, int(found[1]), int(found[2] or 0), utf8)
    return Row(name, size, 0, 0, utf8) if uidl == escaped(base_of(name)) else None


def escaped(base: bytes) -> bytes:
    """A base as Courier's POP3 shows it."""
    return b"".join([bytes((char,)) if char in _PLAIN else b"+%02X" % char for char in base])
