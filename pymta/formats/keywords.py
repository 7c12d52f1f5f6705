"""keywords: what the letters a to z in file names mean in one folder (dovecot-keywords).      pymta-maildir(5)

    file = *(index SP keyword LF)                       ; index 0-25: the letters a-z

    0 $Label1
    1 work

Writers: pymta and Dovecot, holding dovecot-uidlist.lock; replaced whole.  Readers need no lock.
A keyword that once has a letter keeps it: files carry it.  The 27th and later have none; see key K in pymta-uidlist(5).
If lost: letters in names stay, but nobody knows what they meant.
"""
from __future__ import annotations

import os

from pymta import durable
from pymta.formats.maildir import KEYWORDS_MAX

NAME = b"dovecot-keywords"


def decode(data: bytes) -> list[str | None]:
    """Keyword of each letter from a on; None where there is none.  Lines that cannot be read count for nothing."""
    found: dict[int, str] = {}
    for line in data.split(b"\n"):
        index, space, keyword = line.rstrip(b"\r").partition(b" ")
        if space and index.isdigit() and len(index) < 4 and int(index) < KEYWORDS_MAX and keyword and b" " not in keyword:
            found.setdefault(int(index), keyword.decode("utf-8", "surrogateescape"))
    return [found.get(index) for index in range(max(found, default=-1) + 1)]


def encode(keywords: list[str | None]) -> bytes:
    return b"".join(b"%d %s\n" % (index, keyword.encode("utf-8", "surrogateescape"))
                    for index, keyword in enumerate(keywords) if keyword)


class KeywordsFile:
    """The file of one directory.  refresh() is a stat where nothing changed; add() wants the folder's lock held and a refresh."""

    def __init__(self, directory: bytes) -> None:
        self.path = os.path.join(directory, NAME)
        self.keywords: list[str | None] = []
        self._stamp: tuple[int, int, int] | None = None

    def refresh(self) -> bool:
        """Whether the file says something else now."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            changed, self.keywords, self._stamp = bool(self.keywords), [], None
            return changed
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return False
        with open(self.path, "rb") as file:
            keywords = decode(file.read())
        changed, self.keywords, self._stamp = keywords != self.keywords, keywords, stamp
        return changed

    def add(self, keywords: list[str]) -> list[str]:
        """Give letters to new keywords; durable on return.  Returns those for which none is left."""
        now = list(self.keywords)
        overflow = []
        for keyword in keywords:
            if None in now:
                now[now.index(None)] = keyword
            elif len(now) < KEYWORDS_MAX:
                now.append(keyword)
            else:
                overflow.append(keyword)
        if now != self.keywords:
            durable.replace(self.path, encode(now), 0o600)
            self._stamp = None
            self.refresh()
        return overflow
