"""smtp_client: the client's half of SMTP (RFC 5321) and LMTP (RFC 2033), without I/O.

    client = SmtpClient(b"mail.example.org")
    for event in client.feed(chunk): ...        # however the replies are cut, the events are the same
    sock.sendall(client.take())

    events     when                                                  what the program does
    ---------  ----------------------------------------------------  -------------------------------------------------
    StartTls   the peer said go ahead                                 shakes hands, then calls secured()
    Ready      a transaction may begin (first time, or next one)      begin(transaction), or quit()
    SendBody   the peer waits for the message                         body(chunk) ..., end_of_body()
    Result     the fate of one recipient of the transaction is known  writes it down
    Closed     nothing more can be said on this connection            closes it

Every recipient of a transaction gets exactly one Result, before the Ready or Closed that ends the transaction; the one
exception is Closed.unsent: the connection had grown stale and no word of the transaction was answered, so it may be
begun again elsewhere as if nothing had happened.

Replies are bounded (octets per line, lines per reply) and cleaned before anybody sees them.  The order of commands is a
script; where the peer has PIPELINING (RFC 2920) the script goes out at once, else line by line as the replies come.
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Callable

from pymta import outcome
from pymta.outcome import Outcome
from pymta.proto.smtp_reply import PeerError, Replies
from pymta.proto.stuffing import Stuffing

TOO_BIG_FOR_PEER = Outcome(552, "5.3.4", 65, "message too big for the other host")
NEEDS_SMTPUTF8 = Outcome(553, "5.6.7", 65, "the other host takes no addresses outside ASCII")
HEADER_NEEDS_SMTPUTF8 = Outcome(554, "5.6.7", 65, "the other host takes no header outside ASCII, and this message has one")

_ONE_LINE = frozenset(range(32)) | {127}
_NO_WORD = _ONE_LINE | {32}


@dataclass(frozen=True, slots=True)
class Transaction:
    """sender, recipients: addresses without <>, bytes; wire_octets: the message's size with CR LF, before dot stuffing;
    eight_bit: whether it holds bytes above 127; utf8: whether its header does, as RFC 6532 lets it.

    What RFC 3461 adds, said to a peer that has DSN: ret, envid: RET= and ENVID= (xtext), b"" without; wishes: for each recipient NOTIFY=
    and ORCPT=, either b"" without; empty if no recipient has any."""

    sender: bytes
    recipients: tuple[bytes, ...]
    wire_octets: int
    eight_bit: bool
    utf8: bool = False
    ret: bytes = b""
    envid: bytes = b""
    wishes: tuple[tuple[bytes, bytes], ...] = ()


# ---- events -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StartTls:
    pass


@dataclass(frozen=True, slots=True)
class Ready:
    pass


@dataclass(frozen=True, slots=True)
class SendBody:
    pass


@dataclass(frozen=True, slots=True)
class Result:
    """recipient: its place in Transaction.recipients; said: whether the outcome's text is the peer's own reply."""

    recipient: int
    outcome: Outcome
    said: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """outcome: why; said: whether its text is the peer's; unsent: the running transaction may be begun again elsewhere."""

    outcome: Outcome
    said: bool
    unsent: bool = False


Event = StartTls | Ready | SendBody | Result | Closed
Handler = Callable[[int, Outcome, list[Event]], None]

READY = Ready()
SEND_BODY = SendBody()
START_TLS = StartTls()


class SmtpClient:
    """One connection.  name: what to say in EHLO; tls: use STARTTLS if it is offered; secure: TLS is up already.

    Attributes to read: extensions (keyword -> parameters, bytes, upper case keyword), secure, tls_refused (the peer's
    answer to STARTTLS, if it was not 220), stage (what is being waited for, a word for texts), sent (transactions ended), replies (whole ones heard).
    """

    def __init__(self, name: bytes, *, lmtp: bool = False, tls: bool = True, secure: bool = False) -> None:
        self.name = name
        self.lmtp = lmtp
        self.tls = tls
        self.secure = secure
        self.extensions: dict[bytes, bytes] = {}
        self.tls_refused: Outcome | None = None
        self.sent = 0
        self.replies = 0
        self.closed = False
        self._out: list[bytes] = []
        self._replies = Replies()
        self._script: deque[tuple[bytes, str, Handler, int]] = deque()
        self._expected: deque[tuple[str, Handler, int]] = deque([("greeting", self._on_greeting, 0)])
        self._deaf = False                              # between STARTTLS's 220 and the end of the handshake
        self._pipelining = False
        self._dirty = False                             # a transaction was left open: RSET before the next MAIL
        self._transaction: Transaction | None = None
        self._owed: list[bool] = []                     # which recipients have no Result yet
        self._accepted: list[int] = []
        self._refused: Outcome | None = None            # the answer to MAIL, where it was no
        self._answered = False                          # the peer has said something about the running transaction
        self._stuffing: Stuffing | None = None          # there while the message is being sent

    # ---- what the program calls ---------------------------------------------------------------------------------------
    def take(self) -> bytes:
        """What is to be sent now."""
        out, self._out = b"".join(self._out), []
        return out

    def feed(self, data: bytes) -> list[Event]:
        """Bytes from the peer -> what they mean."""
        events: list[Event] = []
        if self.closed:
            return events
        self._replies.feed(data)
        try:
            while not self.closed:
                if self._deaf and self._replies.pending:        # RFC 3207 §5: whoever stands between could have put it there
                    raise PeerError("sends bytes after its go-ahead for TLS")
                reply = self._replies.next()
                if reply is None:
                    break
                self._reply(*reply, events)
        except PeerError as error:
            self._close(outcome.BAD_PEER.because(f"the other host {error}"), False, events)
        return events

    def secured(self) -> None:
        """TLS is up: what the peer said before counts no more (RFC 3207 §4.2)."""
        self._deaf = False
        self.secure = True
        self.extensions = {}
        self._pipelining = False
        self._hello()

    def begin(self, transaction: Transaction) -> list[Event]:
        """Start a transaction; only after Ready.  ValueError for an address that would break the line."""
        events: list[Event] = []
        for address in (transaction.sender, *transaction.recipients):
            if not _ONE_LINE.isdisjoint(address):
                raise ValueError(f"control byte in an address: {address!r}")
        for word in (transaction.ret, transaction.envid, *(word for pair in transaction.wishes for word in pair)):
            if not word.isascii() or not _NO_WORD.isdisjoint(word):
                raise ValueError(f"not a parameter of DSN: {word!r}")
        self._transaction = transaction
        self._owed = [True] * len(transaction.recipients)
        self._accepted = []
        self._refused = None
        self._answered = False
        limit = self.extensions.get(b"SIZE", b"")
        if limit.isdigit() and 0 < int(limit) < transaction.wire_octets:
            self._rest(TOO_BIG_FOR_PEER.because(f"message of {transaction.wire_octets} octets; the other host takes {int(limit)}"),
                       False, events)
        self._write_script(transaction, events)
        self._run(events)
        return events

    def body(self, chunk: bytes) -> None:
        """Part of the message, lines ended by LF; after SendBody."""
        if self._stuffing:
            self._out.append(self._stuffing.feed(chunk))

    def end_of_body(self) -> None:
        """The whole message has been given to body()."""
        if not self._stuffing:
            return
        self._out.append(self._stuffing.end())
        self._stuffing = None
        if self.lmtp:                                   # RFC 2033 §4.2: a reply for each accepted recipient, in order
            self._expected.extend(("the final reply", self._on_final_one, number) for number in self._accepted)
        else:
            self._expected.append(("the final reply", self._on_final, 0))

    def quit(self) -> None:
        """Say goodbye; the answer comes as Closed."""
        self._say(b"QUIT\r\n", "QUIT", self._on_quit)

    def end(self, why: Outcome) -> list[Event]:
        """The program gives the connection up (lost, timed out, stopping): what becomes of the transaction."""
        events: list[Event] = []
        if not self.closed:
            self._close(why, False, events)
        return events

    def lost(self) -> list[Event]:
        return self.end(outcome.CONNECTION_LOST.because(f"connection lost while waiting for {self.stage}"))

    @property
    def stage(self) -> str:
        if self._stuffing:
            return "the end of the message"
        return self._expected[0][0] if self._expected else "nothing"

    # ---- replies ------------------------------------------------------------------------------------------------------
    def _reply(self, answer: Outcome, lines: tuple[bytes, ...], events: list[Event]) -> None:
        self.replies += 1
        if answer.reply == 421:                         # RFC 5321 §3.8: at any time, and to any command
            self._close(answer, True, events)
        elif self._stuffing:
            self._early_reply(answer, events)
        elif not self._expected:
            raise PeerError(f"says {answer.text!r} unasked")
        else:
            stage, handler, number = self._expected.popleft()
            if answer.reply < 400 and (answer.reply >= 300) != (stage == "DATA"):
                raise PeerError(f"answers {answer.text!r} to {stage}")
            if handler == self._on_ehlo and answer.delivered:
                self._read_extensions(lines[1:])
            handler(number, answer, events)

    def _early_reply(self, answer: Outcome, events: list[Event]) -> None:
        """The peer refuses the message before it has seen the end: believe a no, never a yes."""
        if answer.delivered or answer.reply < 400:
            raise PeerError(f"says {answer.text!r} before the message has ended")
        else:
            self._close(answer, True, events)

    def _on_greeting(self, _: int, answer: Outcome, events: list[Event]) -> None:
        if not answer.delivered:
            self._close(answer, True, events)
        else:
            self._hello()

    def _hello(self) -> None:
        verb = "LHLO" if self.lmtp else "EHLO"          # RFC 2033 §4.1
        self._say(b"%s %s\r\n" % (verb.encode("ascii"), self.name), verb, self._on_ehlo)

    def _on_ehlo(self, _: int, answer: Outcome, events: list[Event]) -> None:
        if answer.delivered:
            self._greeted(events)
        elif answer.permanent and not self.lmtp and not self.secure:
            self._say(b"HELO %s\r\n" % self.name, "HELO", self._on_helo)      # RFC 5321 §3.2
        else:
            self._close(answer, True, events)

    def _on_helo(self, _: int, answer: Outcome, events: list[Event]) -> None:
        if answer.delivered:
            self._greeted(events)
        else:
            self._close(answer, True, events)

    def _read_extensions(self, lines: tuple[bytes, ...]) -> None:
        for line in lines:
            keyword, _, parameters = line.strip().partition(b" ")
            self.extensions[keyword.upper()] = parameters.strip()
        self._pipelining = b"PIPELINING" in self.extensions

    def _greeted(self, events: list[Event]) -> None:
        if self.tls and not self.secure and not self.tls_refused and b"STARTTLS" in self.extensions:
            self._say(b"STARTTLS\r\n", "STARTTLS", self._on_starttls)
        else:
            events.append(READY)

    def _on_starttls(self, _: int, answer: Outcome, events: list[Event]) -> None:
        if answer.reply == 220:
            self._deaf = True
            events.append(START_TLS)
        else:
            self.tls_refused = answer
            events.append(READY)

    # ---- one transaction ----------------------------------------------------------------------------------------------
    def _write_script(self, transaction: Transaction, events: list[Event]) -> None:
        """RSET where one is needed, MAIL, RCPT for each recipient that can be named to this peer, DATA."""
        unicode_ok = b"SMTPUTF8" in self.extensions
        if not unicode_ok and not transaction.sender.isascii():
            self._rest(NEEDS_SMTPUTF8, False, events)
        if not unicode_ok and transaction.utf8:         # RFC 6531 §3.2
            self._rest(HEADER_NEEDS_SMTPUTF8, False, events)
        for number, address in enumerate(transaction.recipients):
            if not unicode_ok and not address.isascii():
                self._result(number, NEEDS_SMTPUTF8, False, events)
        named = [number for number, owed in enumerate(self._owed) if owed]
        if not named:
            return
        add = self._script.append
        if self._dirty:
            add((b"RSET\r\n", "RSET", self._on_rset, 0))
        add((b"MAIL FROM:<%s>%s\r\n" % (transaction.sender, self._parameters(transaction)), "MAIL", self._on_mail, 0))
        for number in named:
            add((b"RCPT TO:<%s>%s\r\n" % (transaction.recipients[number], self._wishes(transaction, number)), "RCPT", self._on_recipient,
                 number))
        add((b"DATA\r\n", "DATA", self._on_data, 0))

    def _parameters(self, transaction: Transaction) -> bytes:
        words = b""
        if b"SIZE" in self.extensions:                  # RFC 1870 §6.1: an estimate without stuffed dots
            words += b" SIZE=%d" % transaction.wire_octets
        if b"8BITMIME" in self.extensions and transaction.eight_bit:
            words += b" BODY=8BITMIME"
        if b"SMTPUTF8" in self.extensions and (
                transaction.utf8 or not all(address.isascii() for address in (transaction.sender, *transaction.recipients))):
            words += b" SMTPUTF8"
        if b"DSN" in self.extensions:                   # RFC 3461 §5.2.1
            words += b" RET=" + transaction.ret if transaction.ret else b""
            words += b" ENVID=" + transaction.envid if transaction.envid else b""
        return words

    def _wishes(self, transaction: Transaction, number: int) -> bytes:
        if not transaction.wishes or b"DSN" not in self.extensions:
            return b""
        notify, orcpt = transaction.wishes[number]
        return (b" NOTIFY=" + notify if notify else b"") + (b" ORCPT=" + orcpt if orcpt else b"")

    def _run(self, events: list[Event]) -> None:
        """Say what may be said now of the script; notice when there is nothing left of the transaction."""
        while self._script and (self._pipelining or not self._expected):
            line, stage, handler, number = self._script.popleft()
            if handler == self._on_data and not self._pipelining and not self._accepted:
                break                                   # everybody was refused
            self._say(line, stage, handler, number)
        if self._transaction and not self._script and not self._expected and not self._stuffing:
            self._done(events)

    def _on_rset(self, _: int, answer: Outcome, events: list[Event]) -> None:
        if not answer.delivered:
            raise PeerError(f"answers RSET with {answer.text!r}")
        self._dirty = False
        self._run(events)

    def _on_mail(self, _: int, answer: Outcome, events: list[Event]) -> None:
        self._answered = True
        if answer.delivered:
            self._dirty = True
        else:
            self._refused = answer
            self._rest(answer, True, events)
            self._script.clear()                        # where it has all been said, the answers are still to come
        self._run(events)

    def _on_recipient(self, number: int, answer: Outcome, events: list[Event]) -> None:
        if self._refused:
            pass
        elif answer.delivered:
            self._accepted.append(number)
        else:
            self._result(number, self._too_many(answer), True, events)
        self._run(events)

    def _too_many(self, answer: Outcome) -> Outcome:
        """RFC 5321 §4.5.3.1.10: 552 for one recipient too many means 452."""
        if answer.reply == 552 and (answer.status == "5.5.3" or (answer.status == "5.0.0" and self._accepted)):
            return Outcome(452, "4.5.3", outcome.TOO_MANY_RECIPIENTS.exit, answer.text)
        return answer

    def _on_data(self, _: int, answer: Outcome, events: list[Event]) -> None:
        if answer.reply == 354:
            self._dirty = False                         # the end of the message ends the transaction, either way
            if self._accepted and not self._refused:
                self._stuffing = Stuffing()
                events.append(SEND_BODY)
            elif self.lmtp or self._refused:            # RFC 2033 §4.2 forbids it; and whose message would that be?
                raise PeerError("wants a message for nobody")
            else:                                       # RFC 2920 §3.1: end it at once
                self._say(b".\r\n", "the final reply", self._on_ignored)
            return
        self._rest(answer, True, events)
        self._run(events)

    def _on_final(self, _: int, answer: Outcome, events: list[Event]) -> None:
        self._rest(answer, True, events)
        self._run(events)

    def _on_final_one(self, number: int, answer: Outcome, events: list[Event]) -> None:
        self._answered = True
        self._result(number, answer, True, events)
        self._run(events)

    def _on_ignored(self, _: int, answer: Outcome, events: list[Event]) -> None:
        self._run(events)

    def _on_quit(self, _: int, answer: Outcome, events: list[Event]) -> None:
        self._close(answer, True, events)

    # ---- ends ---------------------------------------------------------------------------------------------------------
    def _say(self, line: bytes, stage: str, handler: Handler, number: int = 0) -> None:
        self._out.append(line)
        self._expected.append((stage, handler, number))

    def _result(self, number: int, why: Outcome, said: bool, events: list[Event]) -> None:
        if self._owed[number]:
            self._owed[number] = False
            events.append(Result(number, why, said))

    def _rest(self, why: Outcome, said: bool, events: list[Event]) -> None:
        """The same fate for every recipient that has none yet."""
        for number, owed in enumerate(self._owed):
            if owed:
                self._result(number, why, said, events)

    def _done(self, events: list[Event]) -> None:
        self._transaction = None
        self._owed = []
        self.sent += 1
        events.append(READY)

    def _close(self, why: Outcome, said: bool, events: list[Event]) -> None:
        self.closed = True
        stale = self._transaction is not None and self.sent > 0 and not self._answered
        if stale and why.temporary and not any(isinstance(event, Result) for event in events) and all(self._owed):
            events.append(Closed(why, said, unsent=True))
            return
        if why.delivered:
            why, said = outcome.BAD_PEER, False         # a goodbye is no success
        self._rest(why, said, events)
        self._transaction = None
        self._stuffing = None
        events.append(Closed(why, said))
