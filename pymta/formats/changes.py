"""changes: what happened to the messages of one folder, in order, and who did it (pymta-changes).        pymta-maildir(5)

    file   = head *line
    head   = "pymta-changes 1" SP UIDVALIDITY SP boot SP floor LF    ; nothing is known of before floor
    line   = modseq SP seconds SP ("=" letters / "-") SP uid-set [SP who] LF    ; "=": they stand in the file's name now; "-": it went
    who    = 1*graphic                                  ; service, client address and what it calls itself, as "imap,192.0.2.7,Mail/1.0";
                                                        ; %XX for what is not graphic.  Without it: found on the disk

    pymta-changes 1 1795451104 0f9d-3c21 1795452001
    1795452001 1795451190 =S 1:4000
    1795452002 1795451204 =FS 17,40:44
    1795452003 1795451230 - 12 imaps,192.0.2.7,Thunderbird

The first lines say how everything stood when the log began; later ones what became of it.  The same modseq may stand in several.
A log that has grown is compacted: only the last word on each message stays, and the latest expunges; floor rises to the last that was
dropped.  The log before it stays beside, as pymta-changes.old, for those who ask what happened; nobody else reads that.
Writers: whoever sees a change first, holding flock(2) on the file; who sees it later finds it told.  Appended to, or replaced whole.
Not synced: boot is the number of the boot that wrote it, and a log of another boot, or one with any line that cannot be read, is
begun anew, above every number that was ever given: the header key M of dovecot-uidlist is a ceiling that was on disk before any
number below it was told.
If lost: clients ask once for all flags again (RFC 7162), and no change is missed.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

NAME = b"pymta-changes"
OLD_NAME = b"pymta-changes.old"
_WHO_OCTETS = 200
GONE = None

Ranges = tuple[tuple[int, int], ...]


class Line(NamedTuple):
    """info: the letters in the file's name, GONE for an expunge."""

    modseq: int
    seconds: int
    info: bytes | None
    uids: Ranges
    who: bytes = b""


def head(uidvalidity: int, boot: bytes, floor: int) -> bytes:
    return b"pymta-changes 1 %d %b %d\n" % (uidvalidity, boot, floor)


def decode_head(line: bytes, uidvalidity: int, boot: bytes) -> int | None:
    """floor; None where the log is of no use."""
    words = line.split(b" ")
    if len(words) != 5 or words[:2] != [b"pymta-changes", b"1"] or not boot or words[2:4] != [b"%d" % uidvalidity, boot]:
        return None
    return int(words[4]) if words[4].isdigit() else None


def encode(line: Line) -> bytes:
    what = b"-" if line.info is None else b"=" + line.info.replace(b"%", b"%25").replace(b" ", b"%20").replace(b"\n", b"%0A")
    uids = b",".join([b"%d" % a if a == b else b"%d:%d" % (a, b) for a, b in line.uids])
    return b"%d %d %b %b%b\n" % (line.modseq, line.seconds, what, uids, b" " + line.who if line.who else b"")


def who(*words: str) -> bytes:
    """What stands in a line for these words: a service, an address, a name."""
    raw = ",".join(word.replace(",", ";") for word in words if word).encode("utf-8", "surrogateescape")[:_WHO_OCTETS]
    return quote_from_bytes(raw, safe="!\"#$&'()*+,/:;<=>?@[\\]^`{|}").encode("ascii")


def who_text(line: Line) -> str:
    return unquote_to_bytes(line.who).decode("utf-8", "replace")


def decode(data: bytes) -> list[Line]:
    """Whole lines.  Raises ValueError."""
    out = []
    for raw in data.split(b"\n")[:-1]:
        modseq, seconds, what, uids, *by = raw.split(b" ")
        if what[:1] not in (b"=", b"-") or len(by) > 1:
            raise ValueError("neither = nor -")
        info = GONE if what == b"-" else what[1:].replace(b"%20", b" ").replace(b"%0A", b"\n").replace(b"%25", b"%")
        out.append(Line(int(modseq), int(seconds), info, _ranges(uids), by[0] if by else b""))
    return out


def compacted(floor: int, lines: list[Line], *, since: float, gone_max: int) -> tuple[int, list[Line]]:
    """(floor, lines) that say the same of every message: the last word on it; and of those that went, what went since then, no more than
    gone_max lines of that."""
    last: dict[int, int] = {}
    for number, line in enumerate(lines):
        for first, end in line.uids:
            last.update(dict.fromkeys(range(first, end + 1), number))
    kept: dict[int, list[int]] = {}
    for uid, number in last.items():
        kept.setdefault(number, []).append(uid)
    recent = [number for number, line in enumerate(lines) if line.info is GONE and line.seconds >= since][-gone_max:]
    out = []
    for number, line in enumerate(lines):
        if line.info is GONE and (not recent or number < recent[0]):
            floor = max(floor, line.modseq)
        elif number in kept:
            out.append(line._replace(uids=ranges_of(sorted(kept[number]))))
    return floor, out


def _ranges(text: bytes) -> Ranges:
    out = []
    for item in text.split(b","):
        first, colon, last = item.partition(b":")
        pair = int(first), int(last) if colon else int(first)
        if not 0 < pair[0] <= pair[1] <= 0xFFFFFFFF:
            raise ValueError("no range of UIDs")
        out.append(pair)
    return tuple(out)


def ranges_of(uids: Iterable[int]) -> Ranges:
    """Ascending UIDs as ranges."""
    out: list[tuple[int, int]] = []
    first = last = -1
    for uid in uids:
        if uid != last + 1:
            if first >= 0:
                out.append((first, last))
            first = uid
        last = uid
    if first >= 0:
        out.append((first, last))
    return tuple(out)


def all_but(uids: Iterable[int], end: int) -> Ranges:
    """What is missing from ascending uids below end."""
    out = []
    last = 0
    for uid in uids:
        if uid > last + 1:
            out.append((last + 1, uid - 1))
        last = uid
    if end > last + 1:
        out.append((last + 1, end - 1))
    return tuple(out)
