"""smtp_reply: the replies of an SMTP or LMTP server, as a client reads them (RFC 5321 §4.2).

    reply  = *( code "-" [text] CRLF ) code [ SP text ] CRLF
    code   = %x32-35 2DIGIT
    text   = [class "." 1*3DIGIT "." 1*3DIGIT SP] *octet                 ; RFC 2034 §4

Whatever a peer sends is bounded here, and comes out as an Outcome whose text is one printable line: nothing of it can reach a
log, a header or a queue file in another shape.  A lone LF ends a line too; a last line's code holds for all.
"""
from __future__ import annotations

from functools import lru_cache

from pymta import outcome
from pymta.outcome import Outcome

LINE_MAX_OCTETS = 2048                                  # RFC 5321 §4.5.3.1.5 says 512; some peers say more
REPLY_MAX_LINES = 200
TEXT_MAX_OCTETS = 8192                                  # of one reply; the rest is read and dropped


class PeerError(Exception):
    """The other side broke the protocol.  The text goes on after "the other host"."""


class Replies:
    """Bytes in, replies out: feed(data), then next() until it gives None."""

    __slots__ = ("_at", "_buffer", "_count", "_lines", "_octets")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._lines: list[bytes] = []
        self._count = 0
        self._octets = 0

    @property
    def pending(self) -> bool:
        """Whether something was received that next() has not given yet."""
        return self._at < len(self._buffer) or bool(self._lines)

    def feed(self, data: bytes) -> None:
        self._buffer = self._buffer[self._at:] + data if self._at < len(self._buffer) else data
        self._at = 0

    def next(self) -> tuple[Outcome, tuple[bytes, ...]] | None:
        """(what was said, its lines without code and CR LF), or None until more comes.  Raises PeerError."""
        while True:
            end = self._buffer.find(b"\n", self._at)
            if end < 0:
                if len(self._buffer) - self._at > LINE_MAX_OCTETS:
                    raise PeerError("sends a reply line that is too long")
                return None
            line = self._buffer[self._at:end].removesuffix(b"\r")
            self._at = end + 1
            if self._take(line):
                lines = tuple(self._lines)
                self._lines, self._count, self._octets = [], 0, 0
                return read_reply(line[:3], lines), lines

    def _take(self, line: bytes) -> bool:
        """Add a line; whether it is the reply's last."""
        code, mark = line[:3], line[3:4]
        if len(line) > LINE_MAX_OCTETS:
            raise PeerError("sends a reply line that is too long")
        if not (code.isdigit() and len(code) == 3 and b"2" <= code[:1] <= b"5" and mark in (b" ", b"-", b"")):
            raise PeerError(f"says {outcome.clean(line[:80].decode('latin-1'))!r}, which is no reply")
        self._count += 1
        if self._count > REPLY_MAX_LINES:
            raise PeerError("sends a reply of too many lines")
        if self._octets < TEXT_MAX_OCTETS:
            self._lines.append(line[4:])
            self._octets += len(line)
        return mark != b"-"


@lru_cache(256)                                         # a peer says the same few things all day
def read_reply(code: bytes, lines: tuple[bytes, ...]) -> Outcome:
    """The outcome of a reply: code and enhanced status (RFC 2034 §4; class.0.0 where there is none), text: the reply as
    one printable line, code first, the codes of further lines left out."""
    first = lines[0] if lines else b""
    status, texts = _status(code, first), [first]
    given = status is not None
    for line in lines[1:]:
        texts.append(line.removeprefix(status) if status is not None else line)
    text = outcome.clean(b" ".join((code, *texts)).decode("utf-8", "replace"))
    kind = code[:1].decode("ascii")
    exit = {"2": 0, "3": 0, "4": 75}.get(kind, 69)
    return Outcome(int(code), status.decode("ascii") if given and status else f"{kind}.0.0", exit, text)


def _status(code: bytes, text: bytes) -> bytes | None:
    """RFC 3463 §2:  class "." 1*3DIGIT "." 1*3DIGIT, of the same class as the code."""
    word = text.split(b" ", 1)[0]
    parts = word.split(b".")
    if len(parts) == 3 and parts[0] == code[:1] and all(part.isdigit() and len(part) <= 3 for part in parts):
        return word
    return None
