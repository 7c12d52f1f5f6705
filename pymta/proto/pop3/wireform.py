"""wireform: a stored message as it goes over the wire, and its size there."""
from __future__ import annotations


class WireForm:
    """A stored message as it goes over the wire: CR LF, a dot before each leading dot, a lone dot at the end (RFC 1939 §3).

    Fed in pieces however cut.  lines: only the header, the empty line and so many lines of the body (TOP); then done
    becomes True as soon as nothing more is needed.
    """

    def __init__(self, lines: int | None = None) -> None:
        self.done = False
        self._body_lines = lines
        self._in_header = lines is not None
        self._held = b""                                # a CR at the end of a piece: perhaps of a CR LF
        self._at_start = True

    def feed(self, data: bytes) -> bytes:
        """The wire form of the next piece of the message."""
        if self._held:
            data, self._held = self._held + data, b""
        if data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if self._body_lines is not None and data:
            data = self._cut(data)
        return self._stuff(data)

    def end(self) -> bytes:
        """What ends the message."""
        held = b"" if self.done else self._stuff(self._held)
        return held + (b".\r\n" if self._at_start else b"\r\n.\r\n")

    def _stuff(self, data: bytes) -> bytes:
        if not data:
            return b""
        first_dot = self._at_start and data[0] == 0x2E
        self._at_start = data.endswith(b"\n")
        data = data.replace(b"\n", b"\r\n")
        if b"\n." in data:
            data = data.replace(b"\n.", b"\n..")
        return b"." + data if first_dot else data

    def _cut(self, data: bytes) -> bytes:
        """data up to the last line that TOP shows."""
        assert self._body_lines is not None
        if self.done:
            return b""
        at = 0
        if self._in_header:
            if self._at_start and data[0] == 0x0A:
                at = 1
            else:
                end = data.find(b"\n\n")
                if end < 0:
                    return data
                at = end + 2
            self._in_header = False
        rest = data[at:].split(b"\n", self._body_lines)
        if len(rest) > self._body_lines:
            self.done = True
            return data[:len(data) - len(rest[-1])]
        self._body_lines -= len(rest) - 1
        return data


def wire_octets(data: bytes) -> int:
    """The size LIST and STAT give: octets with CR LF line ends, the last line ended, no stuffing (RFC 1939 §11)."""
    size = len(data) + data.count(b"\n") - data.count(b"\r\n")
    return size if not data or data.endswith(b"\n") else size + 2
