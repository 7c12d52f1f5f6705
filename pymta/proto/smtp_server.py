"""smtp_server: the server's side of SMTP and LMTP, bytes in, events out.                 RFC 5321, RFC 2033

    session = SmtpServer(b"mx.example.test", Limits())
    session.greet()
    for event in session.feed(chunk):                   # however the bytes are cut, the events are the same
        match event:
            case Recipient(path=path): session.answer(policy.recipient(path))
            case EndOfData(): ...                       # no answer yet: what was pipelined waits until there is one
    socket.sendall(session.take())

Hello, Sender, Recipient, StartTls, Login, XClient and EndOfData want one answer() each.  When it comes later than the event,
feed(b"") goes on with what has been received meanwhile.  Content, Forgotten, Refused and Close only tell.

The peer can only cause replies.  A command line ends at CRLF alone; one with a CR or LF elsewhere ends the session, because who
sent it sees other lines than we do.  Memory is bounded by Limits.  A host may send its text right behind DATA: it is
taken as text once DATA was accepted, as commands otherwise.  What follows BDAT is as long as it says, and is never read as
commands: a refused chunk is swallowed (RFC 3030 §2).
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from pymta import outcome
from pymta.message.address import BadAddress, Path, parse_path
from pymta.outcome import Outcome
from pymta.proto import sasl, smtp_params, xclient
from pymta.proto.smtp_data import Chunks, Data, Text
from pymta.proto.smtp_events import (
    Close,
    Content,
    EndOfData,
    Event,
    Forgotten,
    Hello,
    Limits,
    Login,
    Recipient,
    Refused,
    Sender,
    StartTls,
    XClient,
)


# ---- the order of commands --------------------------------------------------------------------------------------------
START, READY, MAIL, RCPT, TEXT, CLOSED = "start", "ready", "mail", "rcpt", "text", "closed"
CHUNKS, CHUNK = "chunks", "chunk"                       # between two chunks of BDAT; within one
TEXT_END = b"end of text"                               # where a command is named; a blank, so that no command is called that

# In which state a command may be given, and the state after it was answered with success.  RFC 5321 §4.1.4
ORDER: dict[bytes, dict[str, str]] = {
    b"EHLO":     {START: READY, READY: READY, MAIL: READY, RCPT: READY, CHUNKS: READY},
    b"HELO":     {START: READY, READY: READY, MAIL: READY, RCPT: READY, CHUNKS: READY},
    b"LHLO":     {START: READY, READY: READY, MAIL: READY, RCPT: READY, CHUNKS: READY},
    b"MAIL":     {READY: MAIL},
    b"RCPT":     {MAIL: RCPT, RCPT: RCPT},
    b"DATA":     {RCPT: TEXT},
    b"BDAT":     {RCPT: CHUNKS, CHUNKS: CHUNKS},        # and never DATA after it (RFC 3030 §2)
    b"RSET":     {START: START, READY: READY, MAIL: READY, RCPT: READY, CHUNKS: READY},
    b"STARTTLS": {READY: START},                        # RFC 3207 §4.2: all is forgotten
    b"AUTH":     {READY: READY},                        # RFC 4954 §4: not during a transaction, and once
    b"XCLIENT":  {START: START, READY: START},          # likewise
    b"NOOP":     {START: START, READY: READY, MAIL: MAIL, RCPT: RCPT, CHUNKS: CHUNKS},
    b"VRFY":     {START: START, READY: READY, MAIL: MAIL, RCPT: RCPT, CHUNKS: CHUNKS},
    b"EXPN":     {START: START, READY: READY, MAIL: MAIL, RCPT: RCPT, CHUNKS: CHUNKS},
    b"HELP":     {START: START, READY: READY, MAIL: MAIL, RCPT: RCPT, CHUNKS: CHUNKS},
    b"QUIT":     {START: CLOSED, READY: CLOSED, MAIL: CLOSED, RCPT: CLOSED, CHUNKS: CLOSED},
}

# What begins a request of HTTP, and so shows that a web page makes its reader's browser talk to us
_HTTP = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"HOST:"))

_CHUNK = re.compile(rb" *([0-9]{1,20})( +LAST)?", re.IGNORECASE)       # RFC 3030 §2: chunk-size [SP end-marker]
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_parse_path = lru_cache(1024)(parse_path)               # the same few thousand addresses make up most of a host's mail
_MAIL_AND_HOLD = smtp_params.MAIL | smtp_params.HOLD

_OK = outcome.OK.smtp()
_START_TEXT = b"354 end with CRLF.CRLF\r\n"
_CANNOT_VERIFY = b"252 2.0.0 cannot verify; send the mail and it will be tried\r\n"
_HELP = b"214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT; see RFC 5321\r\n"
_LOGGED_IN = Outcome(235, "2.7.0", 0, "logged in")
_BYE = b"221 2.0.0 bye\r\n"
_GO_AHEAD = Outcome(220, "2.0.0", 0, "ready to start TLS")
_BARE_NEWLINE = Outcome(500, "5.5.2", 64, "bare CR or LF in a command; lines end in CR LF; closing")
_NUL = outcome.BARE_NEWLINE.because("NUL in message")
_NO_FROM = Outcome(501, "5.5.4", 64, "write MAIL FROM:<address>")
_NO_TO = Outcome(501, "5.5.4", 64, "write RCPT TO:<address>")
_NO_NAME = Outcome(501, "5.5.4", 64, "give the name of your host")
_NO_ARGUMENT = Outcome(501, "5.5.4", 64, "takes no argument")
_STARTTLS_CROWDED = Outcome(503, "5.5.1", 64, "nothing may follow STARTTLS before its answer; closing")
_CHUNK_BAD = Outcome(501, "5.5.4", 64, "write BDAT size [LAST]; closing")
_NO_XCLIENT = Outcome(550, "5.7.1", 77, "not from here")
_ENOUGH = Outcome(421, "4.7.0", 75, "enough messages for one session; connect again")
_NO_HELLO = Outcome(503, "5.5.1", 64, "say EHLO first")
_LOGGED_IN_ALREADY = Outcome(503, "5.5.1", 64, "already logged in")
_SASL_BAD = Outcome(501, "5.5.2", 64, "cannot read the response")
_SASL_CANCELLED = Outcome(501, "5.7.0", 64, "authentication cancelled")
_SASL_UNKNOWN = Outcome(504, "5.5.4", 64, "mechanism not supported")
_HTTP_SPOKEN = Outcome(500, "5.5.1", 64, "this is not a web server; closing")
_PROXY_SPOKEN = Outcome(500, "5.5.1", 64, "no PROXY header is taken from here; closing")


class SmtpServer:
    """One session.

    host: our name, as the greeting gives it.  lmtp: speak RFC 2033.  starttls: whether to offer it.  mechanisms: of AUTH, offered only
    under TLS; empty where nobody logs in.  tls: whether TLS is up from the first byte.  xclient: whether the peer may speak for
    others.  future_release, to be set by who answers a Hello: the keyword's parameters (RFC 4865 §4), empty where it is not offered.
    """

    __slots__ = ("host", "limits", "lmtp", "tls", "logged_in", "state", "accepted", "_starttls", "_mechanisms", "_buffer", "_at",
                 "_out", "_wanted", "_next", "_errors", "_data", "_exchange", "_mechanism", "_closing", "extended",
                 "utf8", "xclient", "future_release", "_mails", "_chunk_left", "_chunk_last", "_chunk_refused", "_chunk_from",
                 "_auth_refused")

    def __init__(self, host: bytes, limits: Limits, *, lmtp: bool = False, starttls: bool = False,
                 mechanisms: tuple[bytes, ...] = (), tls: bool = False, xclient: bool = False) -> None:
        self.host = host
        self.limits = limits
        self.lmtp = lmtp
        self.tls = tls
        self.logged_in = False
        self.state = START
        self.accepted = 0                               # recipients of this transaction
        self._starttls = starttls
        self._mechanisms = mechanisms
        self._buffer = b""
        self._at = 0
        self._out: list[bytes] = []
        self._wanted: bytes | None = None               # the command that waits for its answer
        self._next = START                              # the state after its success
        self._errors = 0
        self._data: Text | None = None
        self._exchange: sasl.Exchange | None = None
        self._mechanism = b""
        self._auth_refused = False
        self._closing: str | None = None
        self.extended = False                           # whether the peer said EHLO or LHLO: the E of ESMTP
        self.utf8 = False                               # whether MAIL said SMTPUTF8
        self.xclient = xclient
        self.future_release = b""
        self._mails = 0
        self._chunk_left = 0                            # octets of a chunk that are still to come
        self._chunk_last = False
        self._chunk_refused: Outcome | None = None      # what is said when a chunk that nobody wants has passed
        self._chunk_from = START                        # the state before it

    # ---- for the program ----------------------------------------------------------------------------------------------
    @property
    def waiting(self) -> bool:
        """Whether an event has not been answered yet."""
        return self._wanted is not None

    @property
    def unread(self) -> bool:
        """Whether the peer has said more than the command that is being worked on."""
        return self._at < len(self._buffer)

    def greet(self) -> None:
        self._out.append(b"220 %s %s\r\n" % (self.host, b"LMTP" if self.lmtp else b"ESMTP"))

    def take(self) -> bytes:
        """What is to be sent."""
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return data

    def feed(self, data: bytes) -> Iterator[Event]:
        """What data means, with all that came before it."""
        self._buffer = self._buffer[self._at:] + data if self._at < len(self._buffer) else data
        self._at = 0
        while self._wanted is None and self.state is not CLOSED:
            event: Event | None
            if self._closing is not None:
                self.state = CLOSED
                event = Close(self._closing)
            elif self.state is TEXT:
                if self._at == len(self._buffer):
                    break
                event = self._text()
            elif self.state is CHUNK:
                if self._chunk_left and self._at == len(self._buffer):
                    break
                event = self._chunk()
            else:
                line = self._line()
                if line is None:
                    break
                if isinstance(line, Refused):
                    event = line
                else:
                    event = self._command(line) if self._exchange is None else self._response(line)
            if event is not None:
                yield event
        self._buffer = b"" if self.state is CLOSED else self._buffer[self._at:]
        self._at = 0

    def answer(self, result: Outcome) -> None:
        """The program's answer to the last event that wants one.  LMTP tells it to each recipient (RFC 2033 §4.2)."""
        verb, self._wanted = self._wanted, None
        if verb == TEXT_END:
            if self.lmtp:
                self._out += [result.smtp()] * (self.accepted - 1)
            self._forget()
            self.state = self._next = READY
            if result.delivered:
                self._errors = 0
        if not result.delivered:
            self._refuse(verb or b"", result)
            return
        if verb == b"RCPT":
            self.accepted += 1
        elif verb == b"STARTTLS":
            result = _GO_AHEAD
        elif verb == b"AUTH":
            self.logged_in = True
            result = _LOGGED_IN
        elif verb in _HELLOS:
            self._forget()
            self.extended = verb != b"HELO"
            self.state = READY
            self._out.append(self._extensions() if self.extended else b"250 %s\r\n" % self.host)
            return
        elif verb == b"XCLIENT":                        # as if it had just connected
            self._forget()
            self.state, self.extended = START, False
            self.greet()
            return
        self._out.append(result.smtp())
        self.state = self._next

    def secured(self) -> None:
        """The handshake is done: begin again (RFC 3207 §4.2)."""
        self.tls = True
        self.state = START
        self.extended = self.logged_in = False          # a front end may have named a login in clear
        self._buffer = b""
        self._at = 0
        self._forget()

    def end(self, result: Outcome) -> None:
        """Say result (a 421) and take nothing more, whatever the state is.  No Close follows."""
        self._out.append(result.smtp())
        self.state = CLOSED
        self._wanted = None
        self._buffer = b""
        self._forget()

    # ---- what all commands share --------------------------------------------------------------------------------------
    def _line(self) -> bytes | Refused | None:
        """The next line without its CRLF, or its refusal; None while it has not come whole."""
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\n", at)
        octets = (end if end >= 0 else len(buffer)) - at
        if octets >= self.limits.line_octets_max:
            return self._refuse_and_close(outcome.LINE_TOO_LONG, "line too long")
        if end < 0:
            return None
        self._at = end + 1
        if octets == 0 or buffer.find(b"\r", at, end) != end - 1:
            return self._refuse_and_close(_BARE_NEWLINE, "bare CR or LF in a command")
        if octets >= self.limits.line_octets and self._exchange is None and buffer[at:at + 5].upper() != b"AUTH ":
            return self._refuse(b"", outcome.LINE_TOO_LONG)
        return buffer[at:end - 1]

    def _command(self, line: bytes) -> Event | None:
        verb, _, rest = line.rstrip(b" ").partition(b" ")
        verb, rest = verb.upper(), rest.lstrip(b" ")    # two blanks are a slip that many make and others forgive
        places = ORDER.get(verb)
        if places is None or (verb == b"LHLO") != self.lmtp and verb in _HELLOS:
            if verb in _HTTP or verb[:5] == b"HOST:":
                return self._refuse_and_close(_HTTP_SPOKEN, "speaks HTTP")
            if verb == b"PROXY":
                return self._refuse_and_close(_PROXY_SPOKEN, "sends a PROXY header and is not in smtp.proxy_from")
            # who does not wait for AUTH's answer sends name and password as lines: they must not get into a log
            return self._refuse(b"" if self._auth_refused else verb, outcome.UNKNOWN_COMMAND)
        following = places.get(self.state)
        if following is None:
            result = _NO_HELLO if self.state is START else outcome.BAD_SEQUENCE
            return self._bdat(verb, rest, result) if verb == b"BDAT" else self._refuse(verb, result)
        self._next = following
        return _COMMANDS[verb](self, verb, rest)

    def _ask(self, verb: bytes, event: Event) -> Event:
        """Give event to the program and wait for its answer."""
        self._wanted = verb
        return event

    def _done(self, reply: bytes) -> Event | None:
        """The command is answered here."""
        self._out.append(reply)
        self.state = self._next
        return None

    def _refuse(self, verb: bytes, result: Outcome) -> Refused:
        self._out.append(result.smtp())
        if verb == b"AUTH":
            self._auth_refused = True
        if result.permanent:
            self._errors += 1
            if self._errors >= self.limits.errors and self._closing is None:
                self._out.append(outcome.TOO_MANY_ERRORS.smtp())
                self._closing = "too many errors"
        return Refused(verb, result)

    def _refuse_and_close(self, result: Outcome, why: str) -> Refused:
        self._closing = why
        return self._refuse(b"", result)

    def _forget(self) -> None:
        """The transaction is over."""
        self.accepted = 0
        self.utf8 = False
        self._data = None
        self._exchange = None

    # ---- the commands: (verb, what follows it) -> event ---------------------------------------------------------------
    def _hello(self, verb: bytes, rest: bytes) -> Event | None:
        name = rest.strip()
        if not name or len(name) > 255 or not name.isascii() or _CONTROL.search(name):
            return self._refuse(verb, _NO_NAME)
        return self._ask(verb, Hello(verb, name))

    def _mail(self, verb: bytes, rest: bytes) -> Event | None:
        """"MAIL FROM:" Reverse-path [SP Mail-parameters]"""
        if rest[:5].upper() != b"FROM:":
            return self._refuse(verb, _NO_FROM)
        self._mails += 1
        if self._mails > self.limits.mails > 0:
            return self._refuse_and_close(_ENOUGH, "enough messages for one session")
        path = _path(rest[5:])
        if isinstance(path, str):
            return self._refuse(verb, outcome.BAD_SENDER.because(path))
        if not path.domain and path.local:              # only RCPT may name a postmaster of nowhere
            return self._refuse(verb, outcome.BAD_SENDER)
        utf8_path = not rest.isascii() and not path.address.isascii()
        if not path.rest and not utf8_path:
            return self._ask(verb, Sender(path))
        parameters = smtp_params.parse(path.rest, _MAIL_AND_HOLD if self.future_release else smtp_params.MAIL)
        if isinstance(parameters, Outcome):
            return self._refuse(verb, parameters)
        wishes = smtp_params.mail(parameters, utf8_path=utf8_path)
        if isinstance(wishes, Outcome):
            return self._refuse(verb, wishes)
        if wishes.size_octets > self.limits.size_octets:
            return self._refuse(verb, outcome.TOO_BIG)
        self.utf8 = "utf8" in wishes.facts
        return self._ask(verb, Sender(path, wishes.size_octets, parameters, wishes))

    def _rcpt(self, verb: bytes, rest: bytes) -> Event | None:
        """"RCPT TO:" Forward-path [SP Rcpt-parameters]"""
        if rest[:3].upper() != b"TO:":
            return self._refuse(verb, _NO_TO)
        path = _path(rest[3:])
        if isinstance(path, str):
            return self._refuse(verb, outcome.BAD_RECIPIENT.because(path))
        if not path.local:
            return self._refuse(verb, outcome.BAD_RECIPIENT)
        if not self.utf8 and not rest.isascii() and not path.address.isascii():
            return self._refuse(verb, smtp_params.NOT_UTF8)
        if self.accepted >= self.limits.recipients:
            return self._refuse(verb, outcome.TOO_MANY_RECIPIENTS)
        if not path.rest:
            return self._ask(verb, Recipient(path))
        parameters = smtp_params.parse(path.rest, smtp_params.RCPT)
        if isinstance(parameters, Outcome):
            return self._refuse(verb, parameters)
        notes = smtp_params.rcpt(parameters, utf8=self.utf8)
        if isinstance(notes, Outcome):
            return self._refuse(verb, notes)
        return self._ask(verb, Recipient(path, parameters, notes))

    def _start_text(self, verb: bytes, rest: bytes) -> Event | None:
        if rest:
            return self._refuse(verb, _NO_ARGUMENT)
        self._data = Data(self.limits.size_octets)
        return self._done(_START_TEXT)

    def _rset(self, verb: bytes, rest: bytes) -> Event | None:
        if rest:
            return self._refuse(verb, _NO_ARGUMENT)
        begun = self._data is not None
        self._forget()
        self._done(_OK)
        return Forgotten() if begun else None

    def _noop(self, verb: bytes, rest: bytes) -> Event | None:
        return self._done(_OK)

    def _vrfy(self, verb: bytes, rest: bytes) -> Event | None:
        if not rest:
            return self._refuse(verb, outcome.BAD_ARGUMENT)
        return self._done(_CANNOT_VERIFY)         # RFC 5321 §7.3: who lives here is told to nobody

    def _expn(self, verb: bytes, rest: bytes) -> Event | None:
        return self._refuse(verb, outcome.NOT_IMPLEMENTED)

    def _help(self, verb: bytes, rest: bytes) -> Event | None:
        return self._done(_HELP)

    def _quit(self, verb: bytes, rest: bytes) -> Event | None:
        self._done(_BYE)
        return Close()

    def _xclient(self, verb: bytes, rest: bytes) -> Event | None:
        if not self.xclient:
            return self._refuse(verb, _NO_XCLIENT)
        try:
            return self._ask(verb, XClient(xclient.parse(rest)))
        except ValueError as error:
            return self._refuse(verb, outcome.BAD_ARGUMENT.because(str(error)))

    def _start_tls(self, verb: bytes, rest: bytes) -> Event | None:
        """RFC 3207 §4.  What stands behind the command was sent by somebody in the middle, or by a client that speaks too soon."""
        if not self._starttls or self.tls:
            return self._refuse(verb, outcome.BAD_SEQUENCE if self.tls else outcome.NOT_IMPLEMENTED)
        if rest:
            return self._refuse(verb, _NO_ARGUMENT)
        if self._at < len(self._buffer):
            return self._refuse_and_close(_STARTTLS_CROWDED, "data behind STARTTLS")
        return self._ask(verb, StartTls())

    def _auth(self, verb: bytes, rest: bytes) -> Event | None:
        """"AUTH" SP mechanism [SP initial-response]           RFC 4954 §4"""
        if not self._mechanisms:
            return self._refuse(verb, outcome.NOT_IMPLEMENTED)
        if not self.tls:
            return self._refuse(verb, outcome.TLS_REQUIRED)
        if self.logged_in:
            return self._refuse(verb, _LOGGED_IN_ALREADY)
        mechanism, blank, initial = rest.strip(b" ").partition(b" ")
        self._mechanism = mechanism.upper()
        if self._mechanism not in self._mechanisms:
            return self._refuse(verb, _SASL_UNKNOWN)
        self._exchange = sasl.begin(mechanism)
        return self._exchanged(self._exchange.start, initial if blank else None)

    def _response(self, line: bytes) -> Event | None:
        """A line of the client while AUTH goes on."""
        assert self._exchange is not None
        return self._exchanged(self._exchange.answer, line)

    def _exchanged(self, step: Callable[..., bytes | sasl.Credentials], line: bytes | None) -> Event | None:
        try:
            result = step(line)
        except sasl.Failed as error:
            self._exchange = None
            if isinstance(error, sasl.Cancelled):
                return self._refuse(b"AUTH", _SASL_CANCELLED)
            return self._refuse(b"AUTH", outcome.AUTH_FAILED if isinstance(error, sasl.NotAllowed) else _SASL_BAD)
        if isinstance(result, bytes):
            self._out.append(b"334 %s\r\n" % result)
            return None
        self._exchange = None
        return self._ask(b"AUTH", Login(self._mechanism, result))

    # ---- the text -----------------------------------------------------------------------------------------------------
    def _text(self) -> Event | None:
        data = self._data
        assert isinstance(data, Data)
        rest = data.feed(self._buffer[self._at:] if self._at else self._buffer)
        self._at = 0
        self._buffer = rest or b""
        if rest is None:
            return Content(data.take()) if data.held_octets >= self.limits.gather_octets else None
        if data.spoiled:
            return self._spoiled(data)
        return self._ask(TEXT_END, EndOfData(data.take(), data.size_octets))

    def _bdat(self, verb: bytes, rest: bytes, refused: Outcome | None = None) -> Event | None:
        """"BDAT" SP chunk-size [SP "LAST"]                    RFC 3030 §2

        Its octets are on their way whatever we think of it.  refused: they are to be swallowed, and this is said then."""
        match = _CHUNK.fullmatch(rest)
        if match is None:                               # where the next command begins nobody knows
            return self._refuse_and_close(_CHUNK_BAD, "a BDAT without a size")
        self._chunk_left, self._chunk_last, self._chunk_refused, self._chunk_from = int(match[1]), bool(match[2]), refused, self.state
        if refused is None:
            if self._data is None:
                self._data = Chunks(self.limits.size_octets)
            assert isinstance(self._data, Chunks)
            self._data.announce(self._chunk_left)
        self.state = CHUNK
        return None

    def _chunk(self) -> Event | None:
        """What has come of a chunk."""
        piece = self._buffer[self._at:self._at + self._chunk_left]
        self._at += len(piece)
        self._chunk_left -= len(piece)
        if self._chunk_refused is not None:
            if self._chunk_left:
                return None
            self.state = self._chunk_from
            return self._refuse(b"BDAT", self._chunk_refused)
        data = self._data
        assert isinstance(data, Chunks)
        data.feed(piece)
        if not self._chunk_left:
            if self._chunk_last:
                data.end()
            if data.spoiled:
                return self._spoiled(data, each=self._chunk_last)
            if self._chunk_last:
                return self._ask(TEXT_END, EndOfData(data.take(), data.size_octets))
            self._done(_OK)
        return Content(data.take()) if data.held_octets >= self.limits.gather_octets else None

    def _spoiled(self, data: Text, *, each: bool = True) -> Refused:
        """Nothing of the text is taken.  After a bare CR or LF or a NUL behind DATA nobody knows where the peer thinks that it ended: close.
        each: whether LMTP has a reply for each recipient (RFC 2033 §4.2), as it has not for a chunk that is not the last."""
        result = outcome.BARE_NEWLINE if data.bare else outcome.TOO_BIG if data.big else _NUL
        if (data.bare or data.nul) and self.state is TEXT:
            self._closing = "bare CR or LF, or a NUL, in a message"
        if self.lmtp and each:
            self._out += [result.smtp()] * (self.accepted - 1)
        self._forget()
        self.state = READY
        return self._refuse(TEXT_END, result)

    def _extensions(self) -> bytes:
        said = _extensions(self.host, self.limits, self._starttls and not self.tls, self.xclient,
                           self._mechanisms if self.tls and not self.logged_in else ())
        if self.future_release:
            first, _, others = said.partition(b"\r\n")
            return b"%s\r\n250-FUTURERELEASE %s\r\n%s" % (first, self.future_release, others)
        return said


_HELLOS = frozenset((b"EHLO", b"HELO", b"LHLO"))
_COMMANDS: dict[bytes, Callable[..., Event | None]] = {
    b"EHLO": SmtpServer._hello, b"HELO": SmtpServer._hello, b"LHLO": SmtpServer._hello, b"MAIL": SmtpServer._mail,
    b"RCPT": SmtpServer._rcpt, b"DATA": SmtpServer._start_text, b"BDAT": SmtpServer._bdat, b"XCLIENT": SmtpServer._xclient, b"RSET": SmtpServer._rset, b"STARTTLS": SmtpServer._start_tls,
    b"AUTH": SmtpServer._auth, b"NOOP": SmtpServer._noop, b"VRFY": SmtpServer._vrfy, b"EXPN": SmtpServer._expn,
    b"HELP": SmtpServer._help, b"QUIT": SmtpServer._quit,
}


@lru_cache(64)
def _extensions(host: bytes, limits: Limits, starttls: bool, may_xclient: bool, mechanisms: tuple[bytes, ...]) -> bytes:
    """The reply to EHLO.  Only limits that hold are announced (RFC 9422 §4)."""
    mails = b"MAILMAX=%d " % limits.mails if limits.mails else b""
    lines = [host, b"PIPELINING", b"SIZE %d" % limits.size_octets, b"8BITMIME", b"SMTPUTF8", b"CHUNKING", b"DSN",
             b"LIMITS %sRCPTMAX=%d" % (mails, limits.recipients), b"ENHANCEDSTATUSCODES"]
    if may_xclient:
        lines.append(b"XCLIENT " + b" ".join(xclient.NAMES))
    if starttls:
        lines.append(b"STARTTLS")
    if mechanisms:
        lines.append(b"AUTH " + b" ".join(mechanisms))
    return b"".join(b"250-%s\r\n" % line for line in lines[:-1]) + b"250 %s\r\n" % lines[-1]


def _path(data: bytes) -> Path | str:
    """The path at the start of data, or what is wrong with it.  Octets above 127 are let pass where they are UTF-8: the caller looks
    whether they may stand there."""
    try:
        if data.isascii():
            return _parse_path(data)
        if not smtp_params.is_text(data):
            return "neither ASCII nor UTF-8, or a control character"
        return parse_path(data, utf8=True)
    except BadAddress as error:
        return str(error)
