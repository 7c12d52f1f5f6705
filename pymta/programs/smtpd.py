"""pymta-smtpd: accept mail from the network into the queue.                                pymta-smtpd(8)

    bytes ─▶ proto.smtp_server ─▶ events ─▶ Session ─▶ policy, routing ─▶ outcomes ─▶ replies
                                               └──────▶ queue.intake: 250 only when it says that the message is on disk

What one session does not finish is forgotten: a draft in in/smtpd/tmp/ belongs to nobody until it stands in new/.
"""
from __future__ import annotations

import argparse
import asyncio
import errno
import os
import socket
from functools import lru_cache
from ipaddress import ip_address

from pymta import auth, clock, layout, log, outcome, policy, rates, serve, settings
from pymta.formats.queuefile import Envelope, Recipient
from pymta.gate import Gate
from pymta.message import header, received
from pymta.outcome import Outcome
from pymta.proto import sasl
from pymta.proto import smtp_events as smtp
from pymta.proto.smtp_server import TEXT_END, SmtpServer
from pymta.queue import committer, intake
from pymta.resolver import Resolver
from pymta.routing import Router

NAME = "pymta-smtpd"
INTAKE = "in/smtpd"
EX_NOUSER, EX_OSERR = 67, 71
_TLS_AWAY = Outcome(454, "4.7.0", 75, "TLS is not available now")
_TROUBLE_EVERY_S = 10.0
_HEADER_MAX_OCTETS = 256 << 10                          # of a message whose header is completed
_CROWD = 200                                            # with more sessions than this in a worker, long texts wait on disk, not in memory


class Office:
    """What the sessions of one worker share."""

    def __init__(self, worker: serve.Worker, gate: Gate) -> None:
        self.worker = worker
        self.gate = gate
        self.rules = policy.Rules.of(worker.settings)
        self.resolver = None if self.rules.require_ptr == "no" else _resolver(worker.settings)
        self.settings = given = worker.settings
        self.host = given.host.encode("ascii", "replace")
        self.limits = smtp.Limits(size_octets=given["queue.size_max"], recipients=given["smtp.recipients_max"],
                                  errors=given["smtp.errors_max"])
        self.timeout_s: float = given["smtp.timeout"]
        self.session_max_s: float = given["smtp.session_max"]
        self.hops_max: int = given["queue.hops_max"]
        self.recipients_max: int = given["queue.recipients_max"]
        self.router = Router(given)
        os.umask(0o002)                                 # queue files are 0664, see layout.py: they need no chmod then
        self.intake = committer.Committer(worker, INTAKE, "commit", syncfs=intake.has_own_filesystem(".", given["queue.own_filesystem"]))
        self.disk = policy.Disk(INTAKE, given["queue.free_min"])
        self.passwords = auth.Passwords(worker)
        self.trusts = lru_cache(10_000)(self._trusts)
        self._troubled = -_TROUBLE_EVERY_S

    def _trusts(self, address: str) -> bool:
        """Whether address is in smtp.relay_from."""
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self.settings["smtp.relay_from"])

    def trouble(self, error: OSError) -> Outcome:
        """What a client hears when the disk refused: always that it should try again."""
        if clock.tick() - self._troubled >= _TROUBLE_EVERY_S:
            self._troubled = clock.tick()
            log.event("trouble", what=f"cannot write in {INTAKE}", why=error.strerror or str(error),
                      remedy="the clients were told to try again; make room or mend the disk")
        return outcome.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else outcome.LOCAL_ERROR


def _resolver(given: settings.Settings) -> Resolver:
    import dns.asyncresolver                            # now: the first session would make all others wait for it
    import dns.reversename                              # noqa: F401
    return Resolver(given.host, server=given["dns.server"], timeout_s=given["dns.timeout"])


def _header_ends(top: bytes) -> bool:
    return top[:1] == b"\n" or b"\n\n" in top


class Mail:
    """One transaction.  given: the recipients as the client named them; final: theirs after routing, each once, in order."""

    __slots__ = ("sender", "given", "final", "top", "draft", "failed", "crowded")

    def __init__(self, sender: bytes) -> None:
        self.sender = sender
        self.given: list[bytes] = []
        self.final: dict[tuple[bytes, bytes], Recipient] = {}
        self.top = b""                                  # the text so far, while a header to be completed has not come whole
        self.draft: intake.Draft | None = None
        self.crowded = False                            # too many recipients were refused and logged
        self.failed: Outcome | None = None              # why the text that still comes is not wanted


class Session(serve.Session):
    """One connection."""

    def __init__(self, wire: serve.Wire, office: Office) -> None:
        super().__init__(wire)
        self.office = office
        self.client = client = policy.Client(wire.peer[0], wire.listener, tls=wire.tls)
        client.trusted = wire.listener == "smtp" and office.trusts(wire.peer[0])
        self.engine = SmtpServer(office.host, office.limits, lmtp=wire.listener == "lmtp", tls=wire.tls,
                                      starttls=not wire.tls and office.worker.tls_context() is not None,
                                      mechanisms=sasl.MECHANISMS if client.submits else ())
        self.mail = Mail(b"")
        self._from = b""                                # of the Received field; made at the first message
        self._until = clock.tick() + office.session_max_s
        self._stopping = False
        self._greeted = False
        self._wait: asyncio.TimerHandle | None = None   # for the greeting, or the answer to an error
        self._slow_s = 0.0                              # how long the answers to what was said wait
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
        if self.mail.draft is not None and not self.engine.waiting:
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
                case smtp.Recipient():
                    engine.answer(self._recipient(event.path.address))
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
                    self.client.helo, self._from = event.name, b""
                    refusal = policy.hello(self.office.rules, self.client, event.name, self.office.settings.host)
                    engine.answer(self._refuse(refusal) if refusal else outcome.OK)
                case smtp.Content():
                    self._write(event.text, more=True)
                case smtp.Refused():
                    self._refused(event)
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
        self._resumed()

    def _resumed(self) -> None:
        """A command that took time has its answer: say it, and work on what has come meanwhile."""
        if self._stopping:
            self._end(outcome.SHUTTING_DOWN, "")
        else:
            self.wire.deadline(max(1.0, min(self.office.timeout_s, self._until - clock.tick())))
            self._go_on(b"")
            if not self.engine.waiting:
                self.wire.resume()

    async def _sender_late(self, event: smtp.Sender, ptr: asyncio.Task) -> None:
        await asyncio.wait((ptr,))
        self.engine.answer(self._sender(event))
        self._resumed()

    def _sender(self, event: smtp.Sender) -> Outcome:
        result = policy.sender(self.client)
        if not self.client.exempt and self.client.listener == "smtp":
            result = policy.reverse(self.office.rules, self.client) or self.office.gate.messages(self.client.address) or result
        if result.delivered:
            result = self.office.disk.room(event.size_octets) or result
        self.mail = Mail(event.path.address)
        return result if result.delivered else self._refuse(result)

    def _recipient(self, address: bytes) -> Outcome:
        mail = self.mail
        answer = policy.recipient(self.client, address, mail.sender, self.office.router)
        if isinstance(answer, Outcome):
            return self._refuse(answer, address)
        if mail.given and len(mail.final) + len(answer) > self.office.recipients_max:
            return self._refuse(outcome.TOO_MANY_RECIPIENTS, address)
        mail.given.append(address)
        for one in answer:
            mail.final.setdefault((one.kind, one.address), one)
        return outcome.RECIPIENT_OK

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
                mail.failed = self._open(mail, mail.top)
                mail.top = b""
            else:
                mail.draft.write(text)
            if more and mail.draft is not None and len(self.office.worker.wires) > _CROWD:
                mail.draft.spill()
        except OSError as error:
            mail.failed = self.office.trouble(error)

    def _open(self, mail: Mail, top: bytes) -> Outcome | None:
        """Begin the draft with our Received and the top of the text; an Outcome if the message is not wanted."""
        office, client = self.office, self.client
        top, hops = received.cleaned(top)
        failed = policy.hops(hops, office.hops_max)
        if failed is not None:
            return failed
        now = clock.now()
        envelope = Envelope(mail.sender, list(mail.final.values()), office.intake.ids.new(now))
        if client.submits:
            top = self._complete(top, mail.sender, now, envelope.id)
        mail.draft = office.intake.draft(envelope)
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
        if not self._from:
            self._from = received.client(client.helo, client.address)
        with_ = received.protocol(lmtp=self.engine.lmtp, extended=self.engine.extended, tls=client.tls, login=bool(client.login))
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
                      ptr=None if client.ptr is None else client.ptr if isinstance(client.ptr, str) else "none")
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


def service(given: settings.Settings) -> serve.Service:
    """What serve needs to know."""
    listeners = {"smtp": given["smtp.listen"], "submission": given["smtp.submission"], "submissions": given["smtp.submissions"],
                 "lmtp": given["smtp.lmtp"]}

    rules = policy.Rules.of(given)
    table = rates.Table(given["smtp.workers"]) if rules.count else None     # the workers share its memory
    gates: dict[int, Gate] = {}

    def gate(worker: serve.Worker) -> Gate:
        counts = rates.Counts(table, worker.number, clock.tick) if table else None
        gates[worker.number] = Gate(rules, counts, (*given["smtp.trusted"], *given["smtp.relay_from"]))
        return gates[worker.number]

    def open_worker(worker: serve.Worker):
        office = Office(worker, gate(worker))
        return lambda wire: Session(wire, office)

    started = clock.now()

    def commit(given: settings.Settings, clients: serve.Clients) -> None:
        removed = committer.tidy(INTAKE, started)
        if removed:
            log.event("tidy", where=f"{INTAKE}/tmp", files=removed)
        committer.helper_main(given, clients, INTAKE)

    return serve.Service(NAME, listeners, open_worker, tls_listeners=frozenset(("submissions",)), workers=given["smtp.workers"],
                         sessions_max=given["smtp.sessions_max"], account=NAME, helpers={"auth": (auth.ACCOUNT, auth.helper_main), "commit": (NAME, commit)},
                         full=outcome.TOO_MANY_CONNECTIONS.smtp(), gate=lambda worker: gates[worker.number])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=NAME, description="Accept mail from the network into the queue.")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="directory of pymta.conf (default: %(default)s)")
    given = settings.read(parser.parse_args(argv).etc)
    log.start(NAME)
    try:
        layout.ready(given["host.spool"])
        os.chdir(given["host.spool"])
    except KeyError as error:
        log.event("trouble", what=str(error.args[0]))
        return EX_NOUSER
    except OSError as error:
        log.event("trouble", what=f"cannot use the spool {given['host.spool']}", file=error.filename, why=error.strerror or str(error),
                  remedy="make the places, see pymta(7)")
        return EX_OSERR
    return serve.run(service(given), given)
