"""server: one POP3 session: what the program calls, and lines.  What the commands do stands in commands."""
from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pymta.proto import sasl
from pymta.proto.pop3 import commands
from pymta.proto.pop3.events import Event, Refused
from pymta.proto.pop3.order import AUTHORIZATION, COMMANDS, ORDER, SASL, TRANSACTION, why_not
from pymta.proto.pop3.wireform import WireForm

LINE_MAX_OCTETS = 1024          # RFC 2449 §4 asks for 255; passwords may be longer
ERRORS_MAX = 20
FAILURES_MAX = 4
_SKIP = bytes(bytearray(b"rest of a long line"))        # compared by identity


class Pop3Server:
    """One session.  tls: whether it is encrypted; stls: whether STLS can be had; login: whether passwords may be given now."""

    def __init__(self, *, tls: bool, stls: bool, login: bool, mechanisms: Sequence[bytes] = sasl.MECHANISMS,
                 errors_max: int = ERRORS_MAX, failures_max: int = FAILURES_MAX, line_max_octets: int = LINE_MAX_OCTETS) -> None:
        self.state = AUTHORIZATION
        self.ended = False
        # what commands look at and change
        self.tls, self.stls, self.login = tls, stls, login
        self.mechanisms = mechanisms
        self.utf8 = False                               # RFC 6856 §2.1
        self.name = ""
        self.exchange: sasl.Exchange | None = None
        self.sizes: Sequence[int] = ()
        self.uids: Sequence[bytes] = ()
        self.deleted: set[int] = set()
        self.octets = 0                                 # of what is not deleted
        self.wanted: tuple[int, int | None] = 0, None   # what the last Retrieve asked for
        # lines
        self._errors_left, self._failures_left = errors_max, failures_max
        self._line_max_octets = line_max_octets
        self._out: list[bytes] = [b"+OK POP3 server ready\r\n"]
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._skipping = False                          # within a line that was too long already
        self._waiting = False                           # an event is out

    @classmethod
    def handed_over(cls, *, utf8: bool) -> Pop3Server:
        """A session whose Login has been asked elsewhere: nothing has been said here, and logged_in or refused comes next."""
        server = cls(tls=True, stls=False, login=True, failures_max=1)
        server._out.clear()
        server._waiting = True
        server.utf8 = utf8
        return server

    # ---- what the program calls ---------------------------------------------------------------------------------------
    def feed(self, data: bytes) -> None:
        """Bytes from the client.  Lines may end in a bare LF: people type POP3 by hand."""
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        self._lines.extend(lines)
        if len(self._rest) > sasl.LINE_MAX_OCTETS:
            self._lines.append(self._rest)              # it is answered now; what remains of it is thrown away
            self._rest = b""
            self._lines.append(_SKIP)

    def next_event(self) -> Event | None:
        """The next thing the program has to do, or None until more is fed (or the last event answered)."""
        while self._lines and not self._waiting and not self.ended:
            line = self._lines.popleft()
            if line is _SKIP:
                self._skipping = True
                continue
            if self._skipping:
                self._skipping = False
                continue
            event = self._take_line(line[:-1] if line.endswith(b"\r") else line)
            if event is not None:
                self._waiting = True
                return event
        return None

    def take(self) -> bytes:
        """What is to be sent."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def rest(self) -> bytes:
        """What the client said that has not been looked at: for the one who goes on with the session."""
        lines = [line for line in self._lines if line is not _SKIP]
        return b"".join(line + b"\n" for line in lines) + self._rest

    @property
    def waiting(self) -> bool:
        """Whether an event is unanswered."""
        return self._waiting

    @property
    def busy(self) -> bool:
        """Whether commands lie here that have not been looked at."""
        return bool(self._lines)

    def logged_in(self, sizes: Sequence[int], uids: Sequence[bytes]) -> None:
        """The answer to Login: the drop, sizes in octets with CRLF line ends, unique ids of 1-70 graphic characters."""
        self.sizes, self.uids = sizes, uids
        self.octets = sum(sizes)
        self.state = TRANSACTION
        self._waiting = False
        self.ok(b"%d messages (%d octets)" % (len(sizes), self.octets))

    def refused(self, code: bytes, text: bytes) -> None:
        """The other answer to Login.  code: a response code such as b"AUTH", b"IN-USE", b"SYS/TEMP" (RFC 2449 §8, RFC 3206)."""
        self.state = AUTHORIZATION
        self._waiting = False
        self._failures_left -= 1
        self.err(b"[%s] %s" % (code, text))
        if self._failures_left <= 0:
            self.ended = True

    def secured(self, *, login: bool) -> None:
        """The handshake is done: all that was said before is forgotten (RFC 2595 §4)."""
        self.tls, self.stls, self.login = True, False, login
        self.state, self.name, self.utf8 = AUTHORIZATION, "", False
        self.forget_lines()
        self._waiting = self._skipping = False

    def message(self, octets: bytes) -> None:
        """The whole answer to Retrieve; octets as stored (or their surrogate), lines ended by LF or CR LF."""
        form = WireForm(self.wanted[1])
        self.begin_message()
        self._out.append(form.feed(octets))
        self._out.append(form.end())
        self.end_message()

    def begin_message(self) -> None:
        """The first line of the answer to Retrieve.  What WireForm makes of the message goes after it, then end_message."""
        index, lines = self.wanted
        self.ok(b"%d octets" % self.sizes[index] if lines is None else b"")

    def end_message(self) -> None:
        self._waiting = False

    def gone(self) -> None:
        """The answer to Retrieve where somebody else has removed the message meanwhile."""
        self._waiting = False
        self.err(b"message %d is gone: another session removed it" % (self.wanted[0] + 1))

    def unreadable(self) -> None:
        """The answer to Retrieve where the disk refuses."""
        self._waiting = False
        self.err(b"[SYS/TEMP] message %d cannot be read now" % (self.wanted[0] + 1))

    def committed(self, *, removed: bool) -> None:
        """The answer to Commit.  removed: all of them, durably.  Otherwise nobody knows which (RFC 1939 §6)."""
        self._waiting = False
        self.ended = True
        if removed:
            self.ok(b"bye")
        else:
            self.err(b"[SYS/TEMP] some deleted messages were not removed; they will be seen again")

    def bye(self, text: bytes) -> None:
        """End the session from our side; nothing is removed (RFC 1939 §3)."""
        if not self.ended:
            self.err(text)
            self.ended = True

    # ---- what commands call -------------------------------------------------------------------------------------------
    def ok(self, text: bytes = b"") -> None:
        self._out.append(b"+OK %s\r\n" % text if text else b"+OK\r\n")

    def ok_lines(self, text: bytes, lines: Sequence[bytes]) -> None:
        """An answer of many lines, none of which begins with a dot."""
        self._out.append(b"\r\n".join([b"+OK " + text if text else b"+OK", *lines, b".", b""]))

    def challenge(self, base64: bytes) -> None:
        self._out.append(b"+ %s\r\n" % base64)

    def err(self, text: bytes) -> None:
        self._out.append(b"-ERR %s\r\n" % text)

    def error(self, text: bytes) -> None:
        """-ERR for what the client did wrong; after too many the session ends."""
        self.err(text)
        self._errors_left -= 1
        if self._errors_left <= 0:
            self.bye(b"too many errors; closing")

    @property
    def more_came(self) -> bool:
        """Whether something stands behind the command that is being worked on."""
        return bool(self._lines or self._rest)

    def forget_lines(self) -> None:
        self._lines.clear()
        self._rest = b""

    # ---- lines --------------------------------------------------------------------------------------------------------
    def _take_line(self, line: bytes) -> Event | None:
        try:
            if self.state == SASL:
                return commands.sasl_step(self, line)
            command, space, argument = line.partition(b" ")
            command = command.upper()
            if len(line) > (sasl.LINE_MAX_OCTETS if command == b"AUTH" else self._line_max_octets):
                raise Refused(b"line too long")
            if command not in COMMANDS:
                raise Refused(b"unknown command")
            after = ORDER.get((self.state, command))
            if after is None:
                raise Refused(why_not(self.state, command))
            event = commands.DO[command](self, argument)
        except Refused as refused:
            self.error(refused.text)
            return None
        if command != b"AUTH":
            self.state = after
        return event
