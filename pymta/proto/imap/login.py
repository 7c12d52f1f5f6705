"""login: an IMAP connection until its user is known.                                          RFC 3501 §6.1, §6.2

    engine = LoginEngine(host, limits, ...)             # has greeted
    engine.feed(chunk)
    match engine.work():
        case Credentials():  ... engine.refuse() / engine.trouble(), or hand over engine.tag and engine.rest() to a Session
        case StartTls():     secure the connection, then engine.secured()
        case Close():        close it
        case None:           wait for more
    send(engine.take())

While the program decides, what the client says next waits.
"""
from __future__ import annotations

from dataclasses import dataclass

from pymta.proto import sasl
from pymta.proto.imap import capability, grammar
from pymta.proto.imap.framing import CONTINUE, Limits, Overlong, Reader, Refused
from pymta.proto.imap.grammar import BadCommand, Command
from pymta.proto.sasl import Credentials

LIMITS = Limits(command_octets=sasl.LINE_MAX_OCTETS + 4096)


COMMANDS_MAX = 200                                      # said by somebody who does not log in


class StartTls:
    """The go-ahead was said: the next octets are TLS."""


class Close:
    """The conversation is over."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Credentials with how they were given, for the log."""

    credentials: Credentials
    mechanism: str


Event = Asked | StartTls | Close


class LoginEngine:
    """host: our name for the greeting.  secure: TLS is up; can_tls: STARTTLS may be said; plain: passwords may be sent without TLS.
    errors_max: refused commands and wrong passwords after which we say goodbye.  off: capabilities that nobody is offered."""

    def __init__(self, host: str, *, secure: bool, can_tls: bool, plain: bool, errors_max: int = 10,
                 off: frozenset[bytes] = frozenset()) -> None:
        self.off = off
        self.secure = secure
        self.can_tls = can_tls
        self.plain = plain
        self.errors_left = errors_max
        self.commands_left = COMMANDS_MAX
        self.tag = b"*"
        self.client_id: dict[bytes, bytes] = {}
        self._reader = Reader(LIMITS)
        self._out: list[bytes] = []
        self._exchange: sasl.Exchange | None = None
        self._mechanism = ""
        self._waiting = self._over = False
        self._say(b"* OK [CAPABILITY %b] %b IMAP ready" % (self.capabilities, host.encode("ascii", "replace")))

    @property
    def capabilities(self) -> bytes:
        out = capability.announced_early(self.off)
        if self.can_tls and not self.secure:
            out += b" STARTTLS"
        if self.may_log_in:
            return out + b" AUTH=PLAIN AUTH=LOGIN"
        return out + b" LOGINDISABLED"

    @property
    def may_log_in(self) -> bool:
        return self.secure or self.plain

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def take(self) -> bytes:
        """What is to be sent."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def rest(self) -> bytes:
        """What the client said behind its login."""
        return self._reader.rest()

    def secured(self) -> None:
        self.secure = True

    def refuse(self) -> None:
        """Name and password do not belong together."""
        self._waiting = False
        self._no(b"[AUTHENTICATIONFAILED] Wrong name or password")

    def trouble(self, text: bytes = b"[UNAVAILABLE] Logins are not possible just now, please try again later") -> None:
        self._waiting = False
        self._say(b"%b NO %b" % (self.tag, text))

    def work(self) -> Event | None:
        """Go on until the program has something to do, or more input is needed (None)."""
        try:
            while not self._waiting and not self._over:
                event = self._answer() if self._exchange else self._next()
                if event is None:
                    return None
                if isinstance(event, Asked):
                    self._waiting = True
                if not isinstance(event, bool):
                    return event
        except Overlong as error:
            self._goodbye(str(error).encode("ascii"))
        return Close() if self._over else None

    # ---- inside: True means go on --------------------------------------------------------------------------------------
    def _next(self) -> Event | bool | None:
        unit = self._reader.next()
        if unit is None:
            return None
        if unit is CONTINUE:
            self._say(b"+ OK")
            return True
        if isinstance(unit, Refused):
            self.tag = unit.tag
            return self._bad(b"[TOOBIG] A literal is too big before login")
        assert isinstance(unit, (bytes, bytearray))
        try:
            command = grammar.parse(unit)
        except BadCommand as error:
            self.tag = error.tag
            return self._bad(str(error).encode("ascii", "replace"))
        self.tag = command.tag
        return self._command(command)

    def _command(self, command: Command) -> Event | bool:
        self.commands_left -= 1
        if self.commands_left < 0:
            self._goodbye(b"Too many commands without a login")
            return True
        match command.verb:
            case b"CAPABILITY":
                self._say(b"* CAPABILITY %b\r\n%b OK Done" % (self.capabilities, self.tag))
            case b"NOOP":
                self._ok(b"Done")
            case b"ID":
                self.client_id = command.args[0]
                self._say(b'* ID ("name" "pymta")\r\n%b OK Done' % self.tag)
            case b"LOGOUT":
                self._say(b"* BYE Goodbye\r\n%b OK Done" % self.tag)
                self._over = True
                return Close()
            case b"STARTTLS":
                return self._starttls()
            case b"LOGIN" | b"AUTHENTICATE" if not self.may_log_in:
                return self._no(b"[PRIVACYREQUIRED] Say STARTTLS first: no password is taken in clear")
            case b"LOGIN":
                name, password = (octets.decode("utf-8", "surrogateescape") for octets in command.args)
                return Asked(Credentials(name, password), "LOGIN")
            case b"AUTHENTICATE":
                return self._authenticate(*command.args)
            case _:
                return self._bad(b"Log in first")
        return True

    def _starttls(self) -> Event | bool:
        if self.secure or not self.can_tls:
            return self._bad(b"TLS is active already" if self.secure else b"There is no TLS here")
        if self._reader.pending:                        # said ahead of the handshake, by whom nobody can tell
            self._goodbye(b"Nothing may follow STARTTLS in clear")
            return True
        self._ok(b"Begin TLS now")
        return StartTls()

    def _authenticate(self, mechanism: bytes, initial: bytes | None) -> Event | bool:
        self._mechanism = mechanism.decode("ascii").upper()
        try:
            self._exchange = sasl.begin(mechanism)
            return self._step(self._exchange.start(initial))
        except sasl.UnknownMechanism:
            return self._no(b"There are only PLAIN and LOGIN")
        except sasl.Failed as failed:
            return self._failed(failed)

    def _answer(self) -> Event | bool | None:
        line = self._reader.line()
        if line is None or self._exchange is None:
            return None
        try:
            return self._step(self._exchange.answer(line))
        except sasl.Failed as failed:
            return self._failed(failed)

    def _step(self, step: bytes | Credentials) -> Event | bool:
        if isinstance(step, bytes):
            self._say(b"+ " + step)
            return True
        self._exchange = None
        return Asked(step, self._mechanism)

    def _failed(self, failed: sasl.Failed) -> bool:
        self._exchange = None
        if isinstance(failed, sasl.NotAllowed):
            return self._no(b"[AUTHORIZATIONFAILED] " + str(failed).encode("ascii"))
        return self._bad(str(failed).encode("ascii"))

    def _ok(self, text: bytes) -> None:
        self._say(b"%b OK %b" % (self.tag, text))

    def _no(self, text: bytes) -> bool:
        self._say(b"%b NO %b" % (self.tag, text))
        return self._error()

    def _bad(self, text: bytes) -> bool:
        self._say(b"%b BAD %b" % (self.tag, text))
        return self._error()

    def _error(self) -> bool:
        self.errors_left -= 1
        if self.errors_left <= 0:
            self._goodbye(b"Too many errors")
        return True

    def _goodbye(self, text: bytes) -> None:
        self._say(b"* BYE " + text)
        self._over = True

    def _say(self, line: bytes) -> None:
        self._out.append(line + b"\r\n")
