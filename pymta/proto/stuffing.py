"""stuffing: a stored message on its way to the wire (RFC 5321 §4.5.2)."""
from __future__ import annotations


class Stuffing:
    """A message with LF line ends -> what goes over the wire: CR LF ends, dots doubled (RFC 5321 §4.5.2), the last line
    ended, then the lone dot.  A CR of the message before LF is part of the line end, any other becomes a blank: a bare CR
    or LF on the wire is how messages are smuggled past the next host."""

    __slots__ = ("_line_start", "_held")

    def __init__(self) -> None:
        self._line_start = True
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        if self._held or b"\r" in chunk:
            chunk = self._without_cr(chunk)
        if not chunk:
            return b""
        out = chunk.replace(b"\n", b"\r\n")
        if b"\n." in chunk:
            out = out.replace(b"\n.", b"\n..")
        if self._line_start and chunk[:1] == b".":
            out = b"." + out
        self._line_start = chunk[-1:] == b"\n"
        return out

    def _without_cr(self, chunk: bytes) -> bytes:
        chunk = self._held + chunk
        self._held = b"\r" if chunk[-1:] == b"\r" else b""
        if self._held:
            chunk = chunk[:-1]
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b" ")

    def end(self) -> bytes:
        if self._held:                                  # the CR was the whole end of the last line
            self._held = b""
            return b"\r\n.\r\n"
        return b".\r\n" if self._line_start else b"\r\n.\r\n"
