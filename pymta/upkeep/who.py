"""who: what happened to a message, and who did it, from the log of changes of its mailbox and what limbo still holds."""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pymta.formats import changes, keywords, maildir, uidlist
from pymta.formats.changes import GONE, Line
from pymta.mailbox.message import LIMBO
from pymta.message import header
from pymta.upkeep.looked import entries, mailboxes

_HEADER_OCTETS = 1 << 16


@dataclass(frozen=True)
class Happened:
    """when: seconds since 1970; what: in words; who: "" for what was found on the disk."""

    mailbox: str
    uid: int
    when: int
    what: str
    who: str


def to_message(root: bytes, mailbox: str, uid: int) -> list[Happened]:
    """The story of one UID, from its beginning as far as it is known.  Raises KeyError (no such mailbox), OSError."""
    directory = dict(mailboxes(root))[mailbox]
    letters = keywords.decode(_read(os.path.join(directory, keywords.NAME)))
    story: list[Happened] = []
    before: frozenset[str] | None = None                # None: it has gone
    unknown = True
    seen: set[Line] = set()
    for first, line in _lines(directory):
        if line in seen or not any(low <= uid <= high for low, high in line.uids):
            continue
        seen.add(line)
        flags = None if line.info is GONE else maildir.flags_of(line.info, letters)
        if not unknown and flags == before and not (line.who and story and not story[-1].who):
            continue                                    # how it stood when the log was begun anew
        if not unknown and flags == before:
            what = story.pop().what                     # seen on the disk a moment before whoever did it wrote it down
        else:
            what = _what(before, flags, first, unknown)
        story.append(Happened(mailbox, uid, line.seconds, what, changes.who_text(line)))
        before, unknown = flags, False
    return story


def _what(before: frozenset[str] | None, after: frozenset[str] | None, at_first: bool, unknown: bool) -> str:
    if after is None:
        return "expunged, or moved to another mailbox"
    before = before or frozenset()
    if unknown:
        return ("there when the log began" if at_first else "came") + (": " + " ".join(sorted(after)) if after else "")
    return " ".join([*(f"+{flag}" for flag in sorted(after - before)), *(f"-{flag}" for flag in sorted(before - after))])


def _lines(directory: bytes) -> Iterator[tuple[bool, Line]]:
    """(whether it says how things stood when the log began, line) of the log before and the log."""
    listed = _uidlist(directory)
    for name in (changes.OLD_NAME, changes.NAME):
        head, _, rest = _read(os.path.join(directory, name)).partition(b"\n")
        words = head.split(b" ")
        if len(words) != 5 or listed is None or words[2] != b"%d" % listed.uidvalidity:
            continue                                    # of another UIDVALIDITY: its UIDs mean nothing here
        for raw in rest.split(b"\n"):
            try:
                for line in changes.decode(raw + b"\n") if raw else ():
                    yield line.modseq == int(words[4]), line
            except ValueError:
                continue                                # torn: nothing of it is synced


def find(root: bytes, message_id: str, mailbox: str | None) -> list[tuple[str, int]]:
    """(mailbox, UID) of every message with this Message-ID that is there, or was expunged and still waits in limbo."""
    wanted, found = message_id.strip().strip("<>").encode("utf-8", "surrogateescape"), []
    for name, directory in mailboxes(root):
        if mailbox is not None and name != mailbox:
            continue
        listed = _uidlist(directory)
        uids = listed.uids if listed else {}
        for place in (b"cur", b"new", LIMBO):
            for path, file, _ in entries(os.path.join(directory, place)):
                uid = uids.get(maildir.base_of(file))
                if uid and (header.get(header.split(_read(path, _HEADER_OCTETS))[0], b"message-id") or b"").strip().strip(b"<>") == wanted:
                    found.append((name, uid))
    return sorted(set(found))


def _uidlist(directory: bytes) -> uidlist.Uidlist | None:
    try:
        return uidlist.decode(_read(os.path.join(directory, uidlist.NAME)))
    except uidlist.Damaged:
        return None


def _read(path: bytes, octets: int = -1) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(octets)
    except (FileNotFoundError, IsADirectoryError):
        return b""
