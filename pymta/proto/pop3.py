"""pop3: the server's side of POP3 without I/O: bytes in, events out, bytes out.   RFC 1939, 2449, 2595, 3206, 5034

    server = Pop3Server(tls=False, stls=True, login=False)          # login: whether a password may be given as things stand
    server.feed(chunk)                                              # however the bytes are cut, the events are the same
    while (event := server.next_event()) is not None:
        match event:
            case Login(name, password): ...                         # later: server.logged_in(sizes, uids) or server.refused(...)
            case StartTls():            ...                         # send server.take(), do the handshake, then server.secured(...)
            case Retrieve(index, lines): server.message(octets)     # or begin_message, send wire form, end_message; or gone()
            case Commit(indices):        server.committed(left)     # QUIT: remove these, then say how many are left
    wire.send(server.take())
    if server.ended: wire.close()

An event has to be answered before next_event gives another; what the client sent meanwhile waits.  Message numbers on the
wire are from 1, indices from 0.  A client can cause nothing but "-ERR" and, after too many, the end.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pymta.proto import sasl

LINE_MAX_OCTETS = 1024          # RFC 2449 §4 asks for 255; passwords may be longer
ERRORS_MAX = 20
FAILURES_MAX = 4

AUTHORIZATION, NAMED, SASL, TRANSACTION, UPDATE = "AUTHORIZATION", "NAMED", "SASL", "TRANSACTION", "UPDATE"

# (state, command) -> the state after it, if it succeeds.  What is not here is refused.  NAMED: after USER; SASL: within AUTH.
ORDER: dict[tuple[str, bytes], str] = {
    # RFC 1939 §4 and §7, RFC 2449 §5, RFC 2595 §4, RFC 5034 §4
    (AUTHORIZATION, b"CAPA"): AUTHORIZATION,    (NAMED, b"CAPA"): NAMED,                (TRANSACTION, b"CAPA"): TRANSACTION,
    (AUTHORIZATION, b"STLS"): AUTHORIZATION,    (NAMED, b"STLS"): AUTHORIZATION,
    (AUTHORIZATION, b"USER"): NAMED,            (NAMED, b"USER"): NAMED,
    (AUTHORIZATION, b"AUTH"): SASL,             (NAMED, b"AUTH"): SASL,
    (NAMED, b"PASS"): AUTHORIZATION,            # TRANSACTION follows when the program has said logged_in
    (AUTHORIZATION, b"QUIT"): UPDATE,           (NAMED, b"QUIT"): UPDATE,               (TRANSACTION, b"QUIT"): UPDATE,
    # RFC 1939 §5
    (TRANSACTION, b"STAT"): TRANSACTION, (TRANSACTION, b"LIST"): TRANSACTION, (TRANSACTION, b"UIDL"): TRANSACTION,
    (TRANSACTION, b"RETR"): TRANSACTION, (TRANSACTION, b"TOP"): TRANSACTION, (TRANSACTION, b"DELE"): TRANSACTION,
    (TRANSACTION, b"NOOP"): TRANSACTION, (TRANSACTION, b"RSET"): TRANSACTION,
}
COMMANDS = frozenset(command for _, command in ORDER)


# ---- events -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Login:
    """Somebody says who they are.  Answer with logged_in or refused."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartTls:
    """The go-ahead stands in take().  Answer with secured once the handshake is done."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Message index is wanted: all of it, or with lines only its header and so many lines of its body."""

    index: int
    lines: int | None


@dataclass(frozen=True, slots=True)
class Commit:
    """QUIT after DELE: remove these messages.  Answer with committed."""

    indices: tuple[int, ...]


Event = Login | StartTls | Retrieve | Commit


class _Refused(Exception):
    """A command is answered -ERR with this text (bytes)."""

    def __init__(self, text: bytes) -> None:
        self.text = text


class Pop3Server:
    """One session.  tls: whether it is encrypted; stls: whether STLS can be had; login: whether passwords may be given now."""

    def __init__(self, *, tls: bool, stls: bool, login: bool, mechanisms: Sequence[bytes] = (b"PLAIN",),
                 errors_max: int = ERRORS_MAX, failures_max: int = FAILURES_MAX, line_max_octets: int = LINE_MAX_OCTETS) -> None:
        self.state = AUTHORIZATION
        self.ended = False
        self._tls, self._stls, self._login = tls, stls, login
        self._mechanisms = mechanisms
        self._errors_left, self._failures_left = errors_max, failures_max
        self._line_max_octets = line_max_octets
        self._out: list[bytes] = [b"+OK POP3 server ready\r\n"]
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._skipping = False                          # within a line that was too long already
        self._waiting = False                           # an event is out
        self._name = ""
        self._exchange: sasl.Exchange | None = None
        self._sizes: Sequence[int] = ()
        self._uids: Sequence[bytes] = ()
        self._deleted: set[int] = set()
        self._octets = 0                                # of what is not deleted
        self._wanted: tuple[int, int | None] = 0, None  # what the last Retrieve asked for

    @classmethod
    def handed_over(cls) -> Pop3Server:
        """A session whose Login has been asked elsewhere: nothing has been said here, and logged_in or refused comes next."""
        server = cls(tls=True, stls=False, login=True, failures_max=1)
        server._out.clear()
        server._waiting = True
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
        self._sizes, self._uids = sizes, uids
        self._octets = sum(sizes)
        self.state = TRANSACTION
        self._waiting = False
        self._ok(b"%d messages (%d octets)" % (len(sizes), self._octets))

    def refused(self, code: bytes, text: bytes) -> None:
        """The other answer to Login.  code: a response code such as b"AUTH", b"IN-USE", b"SYS/TEMP" (RFC 2449 §8, RFC 3206)."""
        self.state = AUTHORIZATION
        self._waiting = False
        self._failures_left -= 1
        self._err(b"[%s] %s" % (code, text))
        if self._failures_left <= 0:
            self.ended = True

    def secured(self, *, login: bool) -> None:
        """The handshake is done: all that was said before is forgotten (RFC 2595 §4)."""
        self._tls, self._stls, self._login = True, False, login
        self.state, self._name = AUTHORIZATION, ""
        self._lines.clear()
        self._rest = b""
        self._waiting = self._skipping = False

    def message(self, octets: bytes) -> None:
        """The whole answer to Retrieve; octets as stored, lines ended by LF or CR LF.  The index and lines are the event's."""
        index, lines = self._wanted
        form = WireForm(lines)
        self.begin_message()
        self._out.append(form.feed(octets))
        self._out.append(form.end())
        self.end_message()

    def begin_message(self) -> None:
        """The first line of the answer to Retrieve.  What WireForm makes of the message goes after it, then end_message."""
        index, lines = self._wanted
        self._out.append(b"+OK %d octets\r\n" % self._sizes[index] if lines is None else b"+OK\r\n")

    def end_message(self) -> None:
        self._waiting = False

    def gone(self) -> None:
        """The answer to Retrieve where somebody else has removed the message meanwhile."""
        self._waiting = False
        self._err(b"message %d is gone: another session removed it" % (self._wanted[0] + 1))

    def unreadable(self) -> None:
        """The answer to Retrieve where the disk refuses."""
        self._waiting = False
        self._err(b"[SYS/TEMP] message %d cannot be read now" % (self._wanted[0] + 1))

    def committed(self, left: int) -> None:
        """The answer to Commit: left messages could not be removed."""
        self._waiting = False
        self.ended = True
        if left:
            self._err(b"[SYS/TEMP] %d messages were not removed" % left)
        else:
            self._ok(b"bye")

    def bye(self, text: bytes) -> None:
        """End the session from our side; nothing is removed (RFC 1939 §3)."""
        if not self.ended:
            self._err(text)
            self.ended = True

    # ---- lines --------------------------------------------------------------------------------------------------------
    def _take_line(self, line: bytes) -> Event | None:
        try:
            if self.state == SASL:
                return self._sasl_step(line)
            command, space, argument = line.partition(b" ")
            command = command.upper()
            if len(line) > (sasl.LINE_MAX_OCTETS if command == b"AUTH" else self._line_max_octets):
                raise _Refused(b"line too long")
            if command not in COMMANDS:
                raise _Refused(b"unknown command")
            after = ORDER.get((self.state, command))
            if after is None:
                raise _Refused(_WHY_NOT[self.state, command == b"PASS"])
            event = _DO[command](self, argument)
        except _Refused as refused:
            self._err(refused.text)
            self._error()
            return None
        if command != b"AUTH":
            self.state = after
        return event

    def _error(self) -> None:
        self._errors_left -= 1
        if self._errors_left <= 0:
            self.bye(b"too many errors; closing")

    def _ok(self, text: bytes = b"") -> None:
        self._out.append(b"+OK %s\r\n" % text if text else b"+OK\r\n")

    def _err(self, text: bytes) -> None:
        self._out.append(b"-ERR %s\r\n" % text)

    # ---- AUTHORIZATION ------------------------------------------------------------------------------------------------
    def _capa(self, argument: bytes) -> None:
        """RFC 2449 §5: what holds now; the list may differ after STLS and after the login."""
        _none(argument)
        lines = [b"+OK", b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"EXPIRE NEVER"]
        if self._stls and self.state != TRANSACTION:
            lines.append(b"STLS")
        if self._login:
            lines += [b"USER", b"SASL " + b" ".join(self._mechanisms)]
        self._out.append(b"\r\n".join([*lines, b"IMPLEMENTATION pymta", b".", b""]))

    def _stls_command(self, argument: bytes) -> Event | None:
        _none(argument)
        if self._tls:
            raise _Refused(b"TLS is on already")
        if not self._stls:
            raise _Refused(b"TLS is not available")
        if self._lines or self._rest:                   # an injection (CVE-2011-0411 in every protocol): never taken as said later
            self._lines.clear()
            self._rest = b""
            self.bye(b"nothing may follow STLS before the handshake; closing")
            return None
        self._ok(b"begin TLS")
        return StartTls()

    def _may_log_in(self) -> None:
        if not self._login:
            raise _Refused(b"TLS is needed before a password; use STLS" if self._stls else b"TLS is needed before a password")

    def _user(self, argument: bytes) -> None:
        self._may_log_in()
        if not argument.strip():
            raise _Refused(b"USER needs a name")
        self._name = argument.strip().decode("utf-8", "surrogateescape")
        self._ok()

    def _pass(self, argument: bytes) -> Event:
        """RFC 1939 §7: everything after the blank is the password, blanks included."""
        self._may_log_in()
        return Login(self._name, argument.decode("utf-8", "surrogateescape"))

    def _auth(self, argument: bytes) -> Event | None:
        mechanism, space, initial = argument.strip().partition(b" ")
        if not mechanism:                               # what old clients ask, and Thunderbird (RFC 5034 §4 leaves it open)
            self._out.append(b"\r\n".join([b"+OK", *(self._mechanisms if self._login else ()), b".", b""]))
            return None
        self._may_log_in()
        try:
            if mechanism.upper() not in self._mechanisms:
                raise sasl.UnknownMechanism("unknown mechanism")
            self._exchange = sasl.begin(mechanism)
            return self._sasl_result(self._exchange.start(initial if space else None))
        except sasl.Failed as failure:
            self._sasl_failed(failure)
            return None

    def _sasl_step(self, line: bytes) -> Event | None:
        assert self._exchange is not None
        try:
            return self._sasl_result(self._exchange.answer(line))
        except sasl.Failed as failure:
            self._sasl_failed(failure)
            return None

    def _sasl_result(self, step: bytes | sasl.Credentials) -> Event | None:
        if isinstance(step, bytes):
            self.state = SASL
            self._out.append(b"+ %s\r\n" % step)
            return None
        self.state, self._exchange = AUTHORIZATION, None
        return Login(step.name, step.password)

    def _sasl_failed(self, failure: sasl.Failed) -> None:
        self.state, self._exchange = AUTHORIZATION, None
        code = b"[AUTH] " if isinstance(failure, sasl.NotAllowed) else b""
        self._err(code + str(failure).encode("ascii"))
        self._error()

    # ---- TRANSACTION --------------------------------------------------------------------------------------------------
    def _stat(self, argument: bytes) -> None:
        _none(argument)
        self._ok(b"%d %d" % (len(self._sizes) - len(self._deleted), self._octets))

    def _list(self, argument: bytes) -> None:
        self._scan(argument, b"%d %d", self._sizes)

    def _uidl(self, argument: bytes) -> None:
        self._scan(argument, b"%d %s", self._uids)

    def _scan(self, argument: bytes, form: bytes, values: Sequence[int] | Sequence[bytes]) -> None:
        """LIST and UIDL: one line for one message, or a line for each that is not deleted."""
        if argument.strip():
            index = self._index(argument)
            self._ok(form % (index + 1, values[index]))
            return
        rows = [form % (number, value) for number, value in enumerate(values, 1) if number - 1 not in self._deleted]
        self._out.append(b"\r\n".join([b"+OK %d messages" % len(rows), *rows, b".", b""]))

    def _retr(self, argument: bytes) -> Event:
        self._wanted = self._index(argument), None
        return Retrieve(*self._wanted)

    def _top(self, argument: bytes) -> Event:
        number, _, lines = argument.strip().partition(b" ")
        self._wanted = self._index(number), _number(lines.strip())
        return Retrieve(*self._wanted)

    def _dele(self, argument: bytes) -> None:
        index = self._index(argument)
        self._deleted.add(index)
        self._octets -= self._sizes[index]
        self._ok(b"message %d deleted" % (index + 1))

    def _noop(self, argument: bytes) -> None:
        self._ok()

    def _rset(self, argument: bytes) -> None:
        _none(argument)
        self._deleted.clear()
        self._octets = sum(self._sizes)
        self._ok(b"%d messages (%d octets)" % (len(self._sizes), self._octets))

    def _quit(self, argument: bytes) -> Event | None:
        if self._deleted:
            return Commit(tuple(sorted(self._deleted)))
        self._ok(b"bye")
        self.ended = True
        return None

    def _index(self, argument: bytes) -> int:
        number = _number(argument.strip())
        if not 1 <= number <= len(self._sizes):
            raise _Refused(b"no such message; there are %d" % len(self._sizes))
        if number - 1 in self._deleted:
            raise _Refused(b"message %d is deleted" % number)
        return number - 1


def _none(argument: bytes) -> None:
    if argument.strip():
        raise _Refused(b"no argument expected")


def _number(digits: bytes) -> int:
    """RFC 1939 §3: decimal digits; bounded, so that no client can make us count for long."""
    if not digits.isdigit() or len(digits) > 10:
        raise _Refused(b"a number is missing" if not digits else b"not a number")
    return int(digits)


_SKIP = bytes(bytearray(b"rest of a long line"))        # compared by identity
_WHY_NOT = {
    (AUTHORIZATION, True): b"USER comes first", (AUTHORIZATION, False): b"log in first",
    (NAMED, True): b"USER comes first", (NAMED, False): b"log in first",
    (TRANSACTION, True): b"you are logged in already", (TRANSACTION, False): b"you are logged in already",
}
_DO: dict[bytes, Callable[[Pop3Server, bytes], Event | None]] = {
    b"CAPA": Pop3Server._capa, b"STLS": Pop3Server._stls_command, b"USER": Pop3Server._user, b"PASS": Pop3Server._pass,
    b"AUTH": Pop3Server._auth, b"STAT": Pop3Server._stat, b"LIST": Pop3Server._list, b"UIDL": Pop3Server._uidl,
    b"RETR": Pop3Server._retr, b"TOP": Pop3Server._top, b"DELE": Pop3Server._dele, b"NOOP": Pop3Server._noop,
    b"RSET": Pop3Server._rset, b"QUIT": Pop3Server._quit,
}


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
