"""mask: what may be written down of a conversation: octets in, lines without secrets out.          pymta-imapd(8), pymta-pop3d(8)

    mask = Imap(literals=False)                         # or Pop3
    for line in mask.client(octets): ...                # however the octets are cut, the lines are the same
    for line in mask.server(octets): ...

Passwords, and what is said within AUTHENTICATE, are never shown; nor is a line that is no command: it may be a password said in the
wrong place.  Messages are shown only with literals=True.  Where something is left out, the line says how much.
"""
from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from pymta.proto.imap.grammar import VERBS
from pymta.proto.pop3 import COMMANDS

LINE_MAX_OCTETS = 8192                                  # of one line that are shown

_LITERAL = re.compile(rb"~?\{(\d{1,19})(\+?)\}$").search
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]").sub
_SHOWN = frozenset(VERBS) - {b"LOGIN", b"AUTHENTICATE"}
_MESSAGES = frozenset((b"APPEND", b"REPLACE"))          # commands whose literals are messages


def _left_out(octets: int) -> bytes:
    return b"(%d octets)" % octets


def _clean(line: bytes) -> bytes:
    shown = line[:LINE_MAX_OCTETS].rstrip(b"\r\n")
    out = _CONTROL(lambda found: b"\\x%02x" % found[0][0], shown)
    return out if len(line) <= LINE_MAX_OCTETS + 2 else out + b" " + _left_out(len(line) - LINE_MAX_OCTETS)


class _Stream:
    """Octets as lines and literals."""

    def __init__(self) -> None:
        self.literal = 0                                # octets of a literal that are still to come
        self.waits = False                              # for a go-ahead before the first of them
        self._rest = self._part = b""

    def cut(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """(whether it is a line, octets); of a literal as it comes, of a line once it is whole or too long to keep."""
        data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data):
            if self.literal:
                piece = data[at:at + self.literal]
                self.literal -= len(piece)
                self.waits = False
                at += len(piece)
                yield False, piece
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._keep(data[at:])
                return
            line, at = data[at:end + 1], end + 1
            yield True, line

    def _keep(self, rest: bytes) -> None:
        self._rest = rest if len(rest) <= 1 << 21 else rest[:LINE_MAX_OCTETS]      # a line nobody will ever take

    def lines(self, piece: bytes) -> Iterator[bytes]:
        """Lines of a literal that is shown, from its pieces."""
        *whole, self._part = (self._part + piece).split(b"\n")
        yield from map(_clean, whole)
        if self._part and not self.literal or len(self._part) > LINE_MAX_OCTETS:
            yield _clean(self._part)
            self._part = b""

    def begins(self, line: bytes) -> None:
        """A literal, if the line announces one."""
        found = _LITERAL(line.rstrip(b"\r\n")[-24:])
        if found:
            self.literal, self.waits = int(found[1]), not found[2]


class Imap:
    def __init__(self, *, literals: bool) -> None:
        self._literals = literals
        self._client, self._server = _Stream(), _Stream()
        self._verb = b""                                # of the command whose lines come; b"" between commands
        self._secret = False                            # within AUTHENTICATE
        self._skipped = 0

    def client(self, data: bytes) -> Iterator[bytes]:
        for is_line, piece in self._client.cut(data):
            if not is_line:
                if self._verb in _SHOWN and (self._literals or self._verb not in _MESSAGES):
                    yield from self._client.lines(piece)
                else:
                    self._skipped += len(piece)
                    if not self._client.literal:
                        yield _left_out(self._skipped)
                        self._skipped = 0
                continue
            yield self._line(piece)
            if not self._secret:
                self._client.begins(piece)
            if not self._client.literal and not self._secret:
                self._verb = b""

    def _line(self, line: bytes) -> bytes:
        if self._secret:
            return _left_out(len(line))
        if self._verb:                                  # more of a command, behind a literal
            return _clean(line) if self._verb in _SHOWN else _left_out(len(line))
        tag, verb, argument = (*line.split(None, 2), b"", b"", b"")[:3]
        if not verb and tag.upper() in (b"", b"DONE"):
            return _clean(line)
        self._verb = verb = verb.upper()
        if verb == b"UID":
            self._verb = argument.partition(b" ")[0].upper()
        if self._verb in _SHOWN:
            return _clean(line)
        if verb == b"AUTHENTICATE" and argument:
            self._secret = True
            mechanism, *initial = argument.split(None, 1)
            return b" ".join([_clean(tag)[:40], verb, _clean(mechanism)[:40], *([_left_out(len(initial[0]))] if initial else [])])
        if verb == b"LOGIN":
            return b" ".join([_clean(tag)[:40], verb, _left_out(len(argument))])
        self._verb = b"?"
        return _left_out(len(line))

    def server(self, data: bytes) -> Iterator[bytes]:
        for is_line, piece in self._server.cut(data):
            if is_line:
                if piece[:1] not in b"*+" and not self._server.literal:
                    self._answered()
                self._server.begins(piece)
                yield _clean(piece) + (b" " + _left_out(self._server.literal) if self._server.literal and not self._literals else b"")
            elif self._literals:
                yield from self._server.lines(piece)

    def _answered(self) -> None:
        """A command has its tagged reply: its secrets are over, and a literal that waited for a go-ahead will not come."""
        self._secret = False
        if self._client.literal and self._client.waits:
            self._client.literal = 0
        if not self._client.literal:
            self._verb = b""


_ARGUMENT_OR_LIST = frozenset((b"LIST", b"UIDL", b"LANG", b"AUTH"))


class Pop3:
    def __init__(self, *, literals: bool) -> None:
        self._literals = literals
        self._client, self._server = _Stream(), _Stream()
        # commands without an answer: b"" for one line, else what many are.  First comes the greeting, or the answer to the login
        self._asked: deque[bytes] = deque((b"",), maxlen=10_000)
        self._secret = False
        self._body = b""                                # whose lines come
        self._skipped = 0

    def client(self, data: bytes) -> Iterator[bytes]:
        for _, line in self._client.cut(data):
            words = line.split(None, 2)
            verb = words[0].upper() if words else b""
            if self._secret:
                yield _left_out(len(line))
                continue
            many = verb in (b"RETR", b"TOP", b"CAPA") or verb in _ARGUMENT_OR_LIST and len(words) == 1
            self._asked.append(verb if many else b"")
            if verb == b"AUTH" and len(words) > 1:
                self._secret = True
                yield b"AUTH " + _clean(words[1])[:40] + (b" " + _left_out(len(words[2])) if len(words) > 2 else b"")
            elif verb in COMMANDS and verb not in (b"PASS", b"APOP"):
                yield _clean(line)
            else:
                yield (verb + b" " if verb in (b"PASS", b"APOP") else b"") + _left_out(len(line))

    def server(self, data: bytes) -> Iterator[bytes]:
        for _, line in self._server.cut(data):
            if self._body:
                ends = line in (b".\r\n", b".\n")
                if self._body in (b"RETR", b"TOP") and not self._literals and not ends:
                    self._skipped += len(line)
                    continue
                if self._skipped:
                    yield _left_out(self._skipped)
                    self._skipped = 0
                if ends:
                    self._body = b""
            elif line[:1] in b"+-" and line[:2] != b"+ ":
                self._secret = False
                asked = self._asked.popleft() if self._asked else b""
                self._body = asked if line[:1] == b"+" else b""
            yield _clean(line)
