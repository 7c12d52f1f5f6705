"""smtpd_session: one client of pymta-smtpd, from the greeting to its goodbye.

    bytes ─▶ proto.smtp_server ─▶ events ─▶ Session ─▶ policy, routing ─▶ outcomes ─▶ replies
                                               └──────▶ queue.intake: 250 only when it says that the message is on disk

What a session does not finish is forgotten: a draft in in/smtpd/tmp/ belongs to nobody until it is committed.
"""
from __future__ import annotations

import asyncio
import socket
import time

from pymta import accounts, clock, log, outcome, serve
from pymta.login import auth
from pymta.policy import limits, rules as policy
from pymta.formats.queuefile import Envelope, Recipient
from pymta.message import header, received
from pymta.message.received import LongHeader
from pymta.outcome import Outcome
from pymta.programs.smtpd_office import Office
from pymta.proto import sasl
from pymta.proto import smtp_events as smtp
from pymta.proto.smtp_params import Wishes
from pymta.proto.smtp_server import TEXT_END, SmtpServer
from pymta.queue import intake
from pymta.resolver import Resolver

NAME = "pymta-smtpd"
_TLS_AWAY = Outcome(454, "4.7.0", 75, "TLS is not available now")
_HEADER_MAX_OCTETS = 256 << 10                          # of a message whose header is completed
_CROWD = 200                                            # with more sessions than this in a worker, long texts wait on disk, not in memory


def _header_ends(top: bytes) -> bool:
    return top[:1] == b"\n" or b"\n\n" in top


class Mail:
    """One transaction.  size_octets: as promised, or 0; given: the recipients as the client named them; final: theirs after routing, each once, in order.
    held: why the message is to wait for the admin, if it is."""

    __slots__ = ("held", "sender", "facts", "given", "final", "top", "draft", "failed", "crowded", "size_octets", "long")

    def __init__(self, sender: bytes, size_octets: int = 0) -> None:
        self.sender = sender
        self.facts: dict[str, str] | None = None        # what MAIL wished, for the queue file
        self.size_octets = size_octets
        self.held = ""
        self.given: list[bytes] = []
        self.final: dict[tuple[bytes, bytes], Recipient] = {}
        self.top = b""                                  # the text so far, while a header to be completed has not come whole
        self.draft: intake.Draft | None = None
        self.long: LongHeader | None = None    # while a header goes on that was too long for one piece
        self.crowded = False                            # too many recipients were refused and logged
        self.failed: Outcome | None = None              # why the text that still comes is not wanted


class Session(serve.Session):
    """One connection."""

    def __init__(self, wire: serve.Wire, office: Office) -> None:
        super().__init__(wire)
        self.office = office
        self.client = client = policy.Client(wire.peer[0], wire.listener, tls=wire.tls)
        client.trusted = wire.listener == "smtp" and office.trusts(wire.peer[0])
        bounds = office.limits if len(office.worker.wires) <= _CROWD else office.crowded
        self.engine = SmtpServer(office.host, bounds, lmtp=wire.listener == "lmtp", tls=wire.tls,
                                      starttls=not wire.tls and office.worker.tls_context() is not None,
                                      mechanisms=sasl.MECHANISMS if client.submits else (),
                                      xclient=office.speaks_for_others(wire.peer[0]))
        self.mail = Mail(b"")
        self._from = b""                                # of the Received field; made at the first message
        self._until = clock.tick() + office.session_max_s
        self._stopping = False
        self._greeted = False
        self._wait: asyncio.TimerHandle | None = None   # for the greeting, or the answer to an error
        self._slow_s = 0.0                              # how long the answers to what was said wait
        self._protocol = ""                             # and the protocol he speaks with it, if it said so
        self._helo = b""                                # the name that a front end gave in its client's stead
        self._ptr: asyncio.Task | None = None
        client.exempt = wire.listener == "lmtp" or office.gate.exempt(wire.peer[0])
        wire.deadline(office.timeout_s)
        if client.exempt or wire.listener != "smtp":
            self._greet()
        else:
            self._meet()

    # ---- the greeting -------------------------------------------------------------------------------------------------
    def _meet(self) -> None:
        """A stranger: see whether he waits for the greeting, and ask the DNS for his name."""
        office, rules = self.office, self.office.rules
        if rules.early_talk != "no" and _speaks(self.wire.sock):
            self._too_early()
            return
        if office.resolver is not None:
            self._ptr = office.worker.task(self._look_up(office.resolver))
        if rules.greet_delay and not office.gate.known(self.client.address):
            if rules.early_talk == "no":
                self.wire.pause()
            self._wait = office.worker.loop.call_later(rules.greet_delay, self.wire._turn, self._greet)
        else:
            self._greet()

    def _greet(self) -> None:
        self._greeted, self._wait = True, None
        self.engine.greet()
        self.wire.send(self.engine.take())
        self.wire.resume()

    def _too_early(self) -> None:
        self._log_refusal(outcome.EARLY_TALKER)
        self._end(outcome.EARLY_TALKER, "speaks before its turn")

    async def _look_up(self, resolver: Resolver) -> None:
        self.client.ptr = await resolver.name_of(self.client.address)

    # ---- from the wire ------------------------------------------------------------------------------------------------
    def received(self, data: bytes) -> None:
        if not self._greeted:
            self._too_early()
            return
        self.wire.deadline(min(self.office.timeout_s, self._until - clock.tick()))
        if self.engine.waiting:
            self.wire.pause()                           # it has said enough while we are busy with what it said before
        self._go_on(data)

    def ended(self) -> bool:
        return self.engine.waiting                      # it has not heard our 250 yet, and would send the message again

    def secured(self) -> None:
        self.engine.secured()
        client = self.client
        client.tls, client.helo, client.login, self._from = True, b"", "", b""
        self.wire.deadline(self.office.timeout_s)

    def timed_out(self) -> None:
        if self.engine.waiting:                         # we are the slow ones
            self.wire.deadline(self.office.timeout_s)
        else:
            self._end(outcome.TIMEOUT, "too long" if clock.tick() >= self._until else "silent")

    def stopping(self) -> None:
        self._stopping = True
        if not self.engine.waiting:
            self._end(outcome.SHUTTING_DOWN, "")

    def lost(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
        if not self.engine.waiting:
            self._drop()

    def _drop(self) -> None:
        """What has come of a text is not wanted any more."""
        if self.mail.draft is not None:
            self.mail.draft.discard()
            self.mail.draft = None

    def _end(self, result: Outcome, why: str) -> None:
        self.engine.end(result)
        self.wire.send(self.engine.take())
        self._close(why)

    def _close(self, why: str) -> None:
        if why:
            log.event("close", service=self.wire.listener, client=self.client.address, why=why)
        self.lost()
        self.wire.close(linger=bool(why))

    # ---- events -------------------------------------------------------------------------------------------------------
    def _go_on(self, data: bytes) -> None:
        """Work on what the peer said, up to a command whose answer takes time."""
        engine = self.engine
        for event in engine.feed(data):
            match event:
                case smtp.Recipient() if self.client.login and self.office.counts is not None:
                    self.office.worker.task(self._recipient_counted(event, self.office.counts))
                case smtp.Recipient():
                    engine.answer(self._recipient(event.path.address, event.notes))
                case smtp.EndOfData():
                    self._end_of_data(event)
                case smtp.Sender():
                    if self._ptr is None or self._ptr.done() or self.office.rules.require_ptr != "yes":
                        engine.answer(self._sender(event))
                    else:
                        self.office.worker.task(self._sender_late(event, self._ptr))
                case smtp.Hello():
                    if engine.unread and self.office.rules.early_talk == "strict" and not self.client.exempt:
                        self._too_early()
                        return
                    engine.answer(self._hello(event.name))
                case smtp.Content():
                    self._write(event.text, more=True)
                case smtp.Refused():
                    self._refused(event)
                case smtp.Forgotten():
                    self._drop()
                case smtp.XClient():
                    engine.answer(self._speaks_for(event.attributes))
                case smtp.Login():
                    self.office.worker.task(self._login(event))
                case smtp.StartTls():
                    self._start_tls()
                case smtp.Close():
                    self.wire.send(engine.take())
                    self._close(event.why)
            if self._slow_s:
                self._sit()
                return
        if (said := engine.take()):
            self.wire.send(said)

    def _sit(self) -> None:
        """Make the peer wait for the answer to its error.  It is not heard meanwhile; what it has said already stays where it is."""
        self.wire.pause()
        self.wire.deadline(self._slow_s + self.office.timeout_s)
        self._wait = self.office.worker.loop.call_later(self._slow_s, self.wire._turn, self._stand)
        self._slow_s = 0.0

    def _stand(self) -> None:
        self._wait = None
        self.wire.send(self.engine.take())              # its own wait is over, whatever the next command costs
        self._resumed()

    def _resumed(self) -> None:
        """A command that took time has its answer: say it, and work on what has come meanwhile."""
        if self._stopping:
            self._end(outcome.SHUTTING_DOWN, "")
        elif self._slow_s:
            self._sit()
        else:
            self.wire.deadline(max(1.0, min(self.office.timeout_s, self._until - clock.tick())))
            self._go_on(b"")
            if not self.engine.waiting and self._wait is None:
                self.wire.resume()

    async def _sender_late(self, event: smtp.Sender, ptr: asyncio.Task) -> None:
        await asyncio.wait((ptr,))
        self.engine.answer(self._sender(event))
        self._resumed()

    def _sender(self, event: smtp.Sender) -> Outcome:
        result = policy.sender(self.client)
        if not self.client.exempt and self.client.listener == "smtp":
            result = policy.reverse(self.office.rules, self.client) or self.office.gate.messages(self.client.address) or result
        if result.delivered and self.client.login and self.office.owners is not None:
            result = self.office.owners.sender(self.client.login, event.path.address) or result
        if result.delivered:
            result = self.office.disk.room(event.size_octets) or result
        self.mail = Mail(event.path.address, event.size_octets)
        if event.wishes is not None:
            self.mail.facts = event.wishes.facts
            if event.wishes.hold_for_s is not None or event.wishes.hold_until is not None:
                result = self._hold(event.wishes, self.mail.facts) or result
        return result if result.delivered else self._refuse(result)

    def _hello(self, name: bytes) -> Outcome:
        """A name that is refused changes nothing: a transaction that was begun goes on (RFC 5321 §4.1.4)."""
        client, before = self.client, self.client.helo
        client.helo = self._helo or name
        refusal = policy.hello(self.office.rules, client, name, self.office.settings.host)
        if refusal is not None:
            self._refuse(refusal)
            client.helo = before
            return refusal
        self._drop()
        self._from = b""
        self.engine.future_release = self._release_offer()
        return outcome.OK

    def _release_offer(self) -> bytes:
        """RFC 4865 §4: the longest interval and the last date; empty where it is not offered."""
        longest_s = int(min(self.office.release_max_s, 999_999_999))
        if not longest_s or not self.client.submits or not (self.client.tls or self.client.vouched):
            return b""
        last = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock.now() + longest_s))
        return f"{longest_s} {last}".encode("ascii")

    def _hold(self, wishes: Wishes, facts: dict[str, str]) -> Outcome | None:
        """Note when the message may go; an Outcome where that is too far away.  A time that has passed is now."""
        now = clock.now()
        until = now + wishes.hold_for_s if wishes.hold_for_s is not None else wishes.hold_until or 0.0
        if until > now + self.office.release_max_s:
            return outcome.BAD_ARGUMENT.because(f"that is further away than {int(self.office.release_max_s)} seconds")
        if until > now:
            facts["release"] = str(int(until) + 1)
        return None

    def _speaks_for(self, attributes: dict[bytes, str]) -> Outcome:
        """A front end in smtp.xclient_from says who its client is.  An address or login that it leaves out stays as it was."""
        old, office = self.client, self.office
        login = old.login
        if (name := attributes.get(b"LOGIN")) is not None:
            try:
                mailbox = office.router.accounts.login(name) if name else None
            except (accounts.Trouble, OSError):
                return self._refuse(outcome.AUTH_TROUBLE)
            if name and mailbox is None:
                return self._refuse(outcome.BAD_ARGUMENT.because("LOGIN names no user of this host"))
            login = mailbox.address if mailbox else ""
        address = attributes.get(b"ADDR", old.address) or "unknown"
        self.client = client = policy.Client(address, old.listener, tls=old.tls, login=login, vouched=bool(login),
                                             exempt=old.listener == "lmtp" or office.gate.exempt(address))
        client.trusted = old.listener == "smtp" and office.trusts(address)
        self.engine.logged_in = bool(login)
        self._helo, self._from = attributes.get(b"HELO", "").encode("ascii"), b""
        self._protocol = attributes.get(b"PROTO", "")
        self._ptr = None
        if office.resolver is not None and not client.exempt and client.listener == "smtp" and address != "unknown":
            self._ptr = office.worker.task(self._look_up(office.resolver))
        log.event("connect", service=self.wire.listener, client=address, by=self.wire.peer[0], name=attributes.get(b"NAME") or None,
                  helo=self._helo or None, login=login or None)
        return outcome.OK

    def _recipient(self, address: bytes, notes: tuple[tuple[bytes, bytes], ...] = ()) -> Outcome:
        mail = self.mail
        answer = policy.recipient(self.client, address, mail.sender, self.office.router)
        if isinstance(answer, Outcome):
            return self._refuse(answer, address)
        office = self.office
        if office.full or mail.size_octets and office.router.accounts.quotas:
            refusal = policy.room(answer, mail.size_octets, office.full.marks, office.router.accounts)
            if refusal is not None:
                return self._refuse(refusal, address)
        if mail.given and len(mail.final) + len(answer) > self.office.recipients_max:
            return self._refuse(outcome.TOO_MANY_RECIPIENTS, address)
        mail.given.append(address)
        for one in answer:
            if notes:
                one.notes += notes
            mail.final.setdefault((one.kind, one.address), one)
        return outcome.RECIPIENT_OK

    async def _recipient_counted(self, event: smtp.Recipient, counts: limits.Limits) -> None:
        """The same for a user, whose recipients are counted."""
        address = event.path.address
        try:
            verdict = await counts.ask(self.client.login, address)
        except OSError as error:
            result = self._refuse(outcome.LOCAL_ERROR.because(f"{error.strerror}; try again"), address)
        else:
            if verdict.fate == limits.OVER:
                result = self._refuse(outcome.TOO_MUCH_MAIL.because(verdict.why), address)
            else:
                result = self._recipient(address, event.notes)
                if result.delivered:
                    self.mail.held = self.mail.held or verdict.why
            if verdict.alarm:
                self.office.worker.task(self.office.alarm(self.client.login, verdict.alarm))
        self.engine.answer(result)
        self._resumed()

    def _start_tls(self) -> None:
        if self.office.worker.tls_context() is None:
            self.engine.answer(_TLS_AWAY)
            return
        self.engine.answer(outcome.OK)
        self.wire.send(self.engine.take())
        self.wire.start_tls()

    async def _login(self, event: smtp.Login) -> None:
        credentials = event.credentials
        try:
            login = await self.office.passwords.check(credentials.name, credentials.password, peer=self.client.address,
                                                      service=self.wire.listener)
        except auth.Trouble:
            result = outcome.AUTH_TROUBLE
        except Exception as error:                      # an answer must come, or the session would wait for ever
            log.bug("login", error)
            result = outcome.AUTH_TROUBLE
        else:
            result = outcome.OK if login else outcome.AUTH_FAILED
            self.client.login = login.name if login else ""
            if login:
                log.event("login", service=self.wire.listener, user=f"<{login.name}>", client=self.client.address, tls=self.wire.tls_version)
        self.engine.answer(result)
        self._resumed()

    # ---- the message --------------------------------------------------------------------------------------------------
    def _write(self, text: bytes, *, more: bool = False) -> None:
        """Take a piece of the text, which may not be the last; what goes wrong is kept for the end."""
        mail = self.mail
        if mail.failed is not None:
            return
        try:
            if mail.draft is None:
                mail.top += text
                if more and self.client.submits and not _header_ends(mail.top):
                    if len(mail.top) > _HEADER_MAX_OCTETS:
                        mail.failed = outcome.TOO_BIG.because("the header is too big")
                    return
                mail.failed = self._open(mail, mail.top, more)
                mail.top = b""
            elif mail.long is None:
                mail.draft.write(text)
            else:
                self._write_header(mail, mail.long, text, more)
            if more and mail.draft is not None and len(self.office.worker.wires) > _CROWD:
                mail.draft.spill()
        except OSError as error:
            mail.failed = self.office.trouble(error)

    def _write_header(self, mail: Mail, long: LongHeader, text: bytes, more: bool) -> None:
        """Another piece of a header that did not end with the first."""
        text = long.feed(text)
        if not more and not long.over:
            text += long.end()
        if long.over:
            mail.long = None
        assert mail.draft is not None
        mail.draft.write(text)
        mail.failed = policy.hops(long.hops, self.office.hops_max)

    def _open(self, mail: Mail, top: bytes, more: bool) -> Outcome | None:
        """Begin the draft with our Received and the top of the text; an Outcome if the message is not wanted."""
        office, client = self.office, self.client
        if not more or _header_ends(top) or _header_ends(top := received.begun(top)):
            top, hops = received.cleaned(top)
        else:
            mail.long = LongHeader()
            top = mail.long.feed(top)
            hops = mail.long.hops
        failed = policy.hops(hops, office.hops_max)
        if failed is not None:
            return failed
        now = clock.now()
        envelope = Envelope(mail.sender, list(mail.final.values()), office.intake.ids.new(now), mail.facts)
        if client.submits:
            if client.login and office.owners is not None and (failed := office.owners.author(client.login, top[:header.end(top)])):
                return failed
            top = self._complete(top, mail.sender or client.login.encode(), now, envelope.id)
        if mail.held:
            envelope.facts["hold"] = "contacts"
        mail.draft = office.intake.draft(envelope, held=bool(mail.held))
        mail.draft.write(self._received(mail, envelope.id, now) + top)
        return None

    def _complete(self, top: bytes, sender: bytes, now: float, id: str) -> bytes:
        """A user's message with the header it must have, and without Bcc (RFC 6409 §8)."""
        stop = header.end(top)
        body = top[stop:]
        fields = header.complete(top[:stop], now=now, host=self.office.host, sender=sender, id=id)
        return fields + (body if body[:1] == b"\n" else b"\n" + body)

    def _received(self, mail: Mail, id: str, now: float) -> bytes:
        client = self.client
        if not self._from and not (client.submits and self.office.hide_client):
            self._from = received.client(client.helo, client.address)
        with_ = received.protocol(lmtp=self.engine.lmtp, extended=self.engine.extended and self._protocol != "SMTP", tls=client.tls,
                                  login=bool(client.login), utf8=self.engine.utf8)
        return received.field(self._from, self.office.host, with_, id, mail.given[0] if len(mail.given) == 1 else b"", now,
                              f"{self.wire.tls_version} {self.wire.cipher}".encode("ascii", "replace") if client.tls else b"")

    def _end_of_data(self, event: smtp.EndOfData) -> None:
        mail = self.mail
        self._write(event.text)
        if mail.failed is None:
            assert mail.draft is not None
            try:
                future = self.office.intake.submit(mail.draft)
            except OSError as error:
                mail.failed = self.office.trouble(error)
            else:
                future.add_done_callback(lambda done: self.wire._turn(self._committed, done, mail, event.size_octets))
                return
        if mail.draft is not None:
            mail.draft.discard()
        self.engine.answer(self._refuse(mail.failed))
        self.mail = Mail(b"")

    def _committed(self, done: asyncio.Future[None], mail: Mail, size_octets: int) -> None:
        """The message is ours, or it is not: the one moment at which 250 may be said."""
        error = done.exception()
        if isinstance(error, OSError):
            result = self._refuse(self.office.trouble(error))
        elif error is not None:
            raise error
        else:
            assert mail.draft is not None
            id, client = mail.draft.envelope.id, self.client
            result = Outcome(250, "2.0.0", 0, f"queued as {id}")
            log.event("accept", id=id, size=size_octets, nrcpt=len(mail.final), from_=b"<%s>" % mail.sender, client=client.address,
                      helo=client.helo, tls=self.wire.tls_version, login=client.login or None,
                      hold=mail.held or None, ptr=None if client.ptr is None else client.ptr if isinstance(client.ptr, str) else "none")
            if not client.exempt and client.listener == "smtp":
                self.office.gate.accepted(client.address)
        self.mail = Mail(b"")
        self.engine.answer(result)
        self._resumed()

    # ---- refusals -----------------------------------------------------------------------------------------------------
    def _refused(self, event: smtp.Refused) -> None:
        """The engine refused something; if it was a text, it is void."""
        if event.verb == TEXT_END:
            self.lost()
            self._refuse(event.outcome)
            self.mail = Mail(b"")
        elif event.outcome is not outcome.TOO_MANY_RECIPIENTS or not self.mail.crowded:
            self.mail.crowded = event.outcome is outcome.TOO_MANY_RECIPIENTS       # one line tells it for all the rest
            self._log_refusal(event.outcome, command=event.verb[:20])

    def _refuse(self, result: Outcome, recipient: bytes | None = None) -> Outcome:
        self._log_refusal(result, from_=b"<%s>" % self.mail.sender, rcpt=None if recipient is None else b"<%s>" % recipient)
        return result

    def _log_refusal(self, result: Outcome, **facts: object) -> None:
        log.event("refuse", service=self.wire.listener, client=self.client.address, helo=self.client.helo, **facts,
                  status=result.status, why=result.text)
        if result.permanent and not self.client.exempt and not self.client.login and result is not outcome.EARLY_TALKER:
            self._slow_s = self.office.gate.error(self.client.address)


def _speaks(sock: socket.socket) -> bool:
    """Whether something has come already."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
