"""smtp_data: the text of a message, from wire octets to lines.                    RFC 5321 §4.5.2, RFC 3030

    DATA   data = text "." CRLF
           text = *(["."] line CRLF)                    ; a line that begins with a dot has one more in front
    BDAT   text = *(line CRLF) [line]                   ; cut anywhere into chunks of announced lengths; no dots

Only CRLF "." CRLF ends what follows DATA; the CRLF of the DATA command counts for a dot in the first line.  Out come lines
ended by LF.  Work is done on whole pieces, never line by line, so that a message of 4 KiB costs about 10 us however its lines are.

A bare CR or LF makes the text spoiled: the one host takes it for a line end and the other does not, and so a stranger's text
becomes a second message (CVE-2023-51764, -51765, -51766).  The end is looked for all the same, so that nothing of the text
is ever read as a command.
"""
from __future__ import annotations

END = b"\r\n.\r\n"
_PIECES_MAX = 256                                       # a peer that drips octets must not cost an object for each


class Text:
    """The text of one message, as far as it has come.

    size_octets: as SMTP counts it, with CRLF and without the doubled dots (RFC 1870 §3).  bare, nul, big: what is wrong with it;
    once anything is, nothing is kept, so memory is bounded whatever comes.
    """

    __slots__ = ("size_octets", "bare", "nul", "big", "_size_max", "_tail", "_pieces", "_held_octets", "_begun")

    def __init__(self, size_max_octets: int) -> None:
        self.size_octets = 0
        self.bare = self.nul = self.big = False
        self._size_max = size_max_octets
        self._tail = b""
        self._pieces: list[bytes] = []
        self._held_octets = 0
        self._begun = True

    @property
    def spoiled(self) -> bool:
        return self.bare or self.nul or self.big

    @property
    def held_octets(self) -> int:
        """How much waits for take()."""
        return self._held_octets

    def take(self) -> bytes:
        """The lines since the last call; empty if spoiled."""
        text = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held_octets = 0
        return text

    def _add(self, wire: bytes, keep: int, stuffed: bool) -> None:
        """Take all of wire but its last keep octets, which never part a CR from its LF."""
        if keep:
            wire, self._tail = wire[:-keep], wire[-keep:]
        else:
            self._tail = b""
        if not wire:
            return
        lines = wire.split(b"\r\n")                     # split and join: cheaper than replace
        text = b"\n".join(lines)
        if b"\r" in text or text.count(b"\n") != len(lines) - 1:
            self.bare = True
        if b"\0" in text:
            self.nul = True
        octets = len(wire)
        if stuffed:
            plain = text.replace(b"\n.", b"\n")
            octets -= len(text) - len(plain)
            text = plain
        self.size_octets += octets
        if not self._begun:
            self._begun = True
            text = text[1:]
        if self.size_octets > self._size_max:
            self.big = True
        if self.bare or self.nul or self.big:
            self._pieces.clear()
            self._held_octets = 0
        elif text:
            self._pieces.append(text)
            self._held_octets += len(text)
            if len(self._pieces) > _PIECES_MAX:
                self._pieces = [b"".join(self._pieces)]


class Data(Text):
    """What follows DATA: feed(chunk) gives None until the end has been seen, then what follows it."""

    __slots__ = ()

    def __init__(self, size_max_octets: int) -> None:
        super().__init__(size_max_octets)
        self.size_octets = -2                           # the CRLF of the command is no part of the text
        self._tail = b"\r\n"
        self._begun = False

    def feed(self, chunk: bytes) -> bytes | None:
        text = self._tail + chunk
        dot = text.find(b"\r\n.")
        if dot < 0:                                     # neither an end nor a doubled dot
            self._add(text, 2 if text.endswith(b"\r\n") else 1 if text.endswith(b"\r") else 0, stuffed=False)
            return None
        end = dot if text.startswith(END, dot) else text.find(END, dot)
        if end >= 0:
            self._add(text[:end + 2], 0, stuffed=dot < end)
            return text[end + 5:]
        # what could become the end with the next chunk is looked at again then
        self._add(text, 4 if text.endswith(b"\r\n.\r") else 3 if text.endswith(b"\r\n.") else
                  2 if text.endswith(b"\r\n") else 1 if text.endswith(b"\r") else 0, stuffed=True)
        return None


class Chunks(Text):
    """What came by BDAT: announce(octets) each chunk, feed its pieces, end() after the last."""

    __slots__ = ("_last",)

    def __init__(self, size_max_octets: int) -> None:
        super().__init__(size_max_octets)
        self._last = b"\n"

    def announce(self, octets: int) -> None:
        """A chunk that would be too much is known before it has come."""
        if self.size_octets + len(self._tail) + octets > self._size_max:
            self.big = True
            self._pieces.clear()
            self._held_octets = 0

    def feed(self, piece: bytes) -> None:
        if piece:
            self._last = piece[-1:]
            self._add(self._tail + piece, 1 if self._last == b"\r" else 0, stuffed=False)

    def end(self) -> None:
        """A CR that waits for its LF waits in vain; a last line without an end gets one, for what is stored are lines."""
        if self._tail:
            self._tail = b""
            self.bare = True
            self._pieces.clear()
            self._held_octets = 0
        elif self._last != b"\n" and not self.spoiled:
            self._pieces.append(b"\n")
            self._held_octets += 1
