"""framing: cut what a client says into commands, literals and all.                             RFC 3501 §4.3, RFC 7888

    reader.feed(chunk)
    while (unit := reader.next()) is not None:
        match unit:
            case Continue():       say "+ OK"            # a synchronising literal waits for it
            case Refused(tag):     say tag + why         # it was too big; what belonged to it has been or will be passed over
            case bytes():          a whole command, its literals in their places, the line end of the last line included

However the bytes are cut, the units are the same.  Blank lines are passed over.  A line or a command over its limit raises
Overlong: whoever talks so gets a BYE.  Memory is bounded by the limits, and by nothing else that the client says.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

_LITERAL = re.compile(rb"\{(\d{1,20})(\+?)\}\r?\n\Z").search
_HEAD = re.compile(rb"\s*([^\x00-\x20(){%*\"\\\x7f-\xff+]{1,200}) +(?:[uU][iI][dD] +)?([A-Za-z]+)").match


class Overlong(Exception):
    """The client says more than it may.  The text (ASCII) says what."""


@dataclass(frozen=True, slots=True)
class Limits:
    """command_octets: a command with all its literals; append_octets: what is handed to one APPEND or REPLACE, 0 where there is none;
    skip_octets: a literal that is too big but was sent without asking is read and dropped up to this size."""

    command_octets: int = 8192
    append_octets: int = 0
    skip_octets: int = 0


class Continue:
    """The client waits to be told to send its literal."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A literal was too big.  tag: bytes; verb: upper case."""

    tag: bytes
    verb: bytes


CONTINUE = Continue()
STORES = frozenset((b"APPEND", b"REPLACE"))             # verbs whose literals are messages
Unit = bytes | bytearray | Continue | Refused


class Reader:
    """See the module.  limits may be replaced at any time between commands."""

    __slots__ = ("limits", "_buffer", "_line", "_scan", "_literals", "_skip", "_refused")

    def __init__(self, limits: Limits, data: bytes = b"") -> None:
        self.limits = limits
        self._buffer = bytearray(data)
        self._reset()

    def _reset(self) -> None:
        self._line = self._scan = self._literals = self._skip = 0
        self._refused: Refused | None = None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def pending(self) -> int:
        """Octets that are here but not yet a unit."""
        return len(self._buffer)

    def rest(self) -> bytes:
        """Take everything that has not been given out."""
        data = bytes(self._buffer)
        self._buffer.clear()
        self._reset()
        return data

    def line(self) -> bytes | None:
        """One bare line without its end (an answer to a challenge, DONE).  Only between commands."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > self.limits.command_octets:
                raise Overlong("line too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[:end + 1]
        return line[:-1] if line.endswith(b"\r") else line

    def next(self) -> Unit | None:
        """The next unit, None until more is fed.  Raises Overlong."""
        buffer = self._buffer
        while True:
            if self._skip:
                dropped = min(self._skip, len(buffer) - self._line)
                del buffer[self._line:self._line + dropped]
                self._skip -= dropped
                if self._skip:
                    return None
            if self._scan > len(buffer):                # inside a literal
                return None
            end = buffer.find(b"\n", self._scan)
            if end < 0:
                self._scan = max(self._line, len(buffer))
                if len(buffer) - self._literals > self.limits.command_octets:
                    raise Overlong("command too long")
                return None
            if end + 1 - self._literals > self.limits.command_octets:
                raise Overlong("command too long")
            if buffer[end - 1:end] == b"}" or buffer[end - 2:end] == b"}\r":
                found = _LITERAL(buffer, max(self._line, end - 26), end + 1)
                if found:
                    unit = self._literal(int(found[1]), bool(found[2]), end + 1)
                    if unit is not None:
                        return unit
                    continue
            if self._line == 0 and end < 2 and not buffer[:end].strip():
                del buffer[:end + 1]                    # a blank line
                self._scan = 0
                continue
            return self._take(end + 1)

    def _take(self, end: int) -> Unit:
        buffer, refused = self._buffer, self._refused
        if end == len(buffer) and refused is None:      # nothing behind it: hand over the buffer itself
            self._buffer = bytearray()
            unit: Unit = buffer if self._literals else bytes(buffer)
        else:
            unit = refused or bytes(buffer[:end])
            del buffer[:end]
        self._reset()
        return unit

    def _literal(self, octets: int, sent_already: bool, at: int) -> Unit | None:
        """A literal of this size is announced; it would begin at offset at.  A unit, or None to go on."""
        head = _HEAD(self._buffer)
        tag, verb = (bytes(head[1]), bytes(head[2]).upper()) if head else (b"*", b"")
        is_message = verb in STORES and bool(self.limits.append_octets)
        room = self.limits.append_octets - self._literals if is_message else self.limits.command_octets - (at - self._literals)
        if octets <= room and self._refused is None:
            if is_message:
                self._literals += octets                # a message does not count as part of the command
            self._line = self._scan = at + octets
            return None if sent_already else CONTINUE
        refused = self._refused or Refused(tag, verb)
        if not sent_already:                            # it has not been sent and now never will
            del self._buffer[:at]
            self._reset()
            return refused
        if octets > self.limits.skip_octets:
            raise Overlong("literal too big")
        self._refused = refused
        self._line = self._scan = at
        self._skip = octets
        return None
