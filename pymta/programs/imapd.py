"""pymta-imapd: show users their mail by IMAP.                                                   pymta-imapd(8)

A worker holds the sockets and TLS and speaks until it is known who is there (proto/imap/login).  Then the session goes on,
in a process of the mailbox's uid (serve/sessions.py), or on the same wire where everything has one uid (imapd_session.py).
"""
from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from pymta import imap_without, log, serve, settings, trace
from pymta.daemon import background
from pymta.login import auth
from pymta.serve import sessions
from pymta.accounts import Mailbox
from pymta.programs.imapd_session import MailSession, Shared
from pymta.proto.imap.login import Asked, Close, LoginEngine, StartTls
from pymta.proto.mask import Imap
from pymta.serve.wire import Session, Wire

ACCOUNT = "pymta-login"
LOGIN_S = 120.0                                         # to say who one is
_STOPPING = b"* BYE The server is going down, please come back\r\n"
_FULL = b"* BYE [LIMIT] Too many connections, please try again later\r\n"


class LoginSession(Session):
    """One client until its user is known.  shared: where sessions go on in this process, None where they are apart."""

    def __init__(self, wire: Wire, in_force: settings.Settings, passwords: auth.Passwords, shared: Shared | None,
                 off: frozenset[bytes]) -> None:
        super().__init__(wire)
        self._passwords = passwords
        self._shared = shared
        self._asking = self._gone = False
        self._engine = LoginEngine(in_force.host, secure=wire.tls, can_tls=wire.worker.tls_context() is not None,
                                   plain=auth.plain_allowed(wire.peer[0], in_force["login.plain_from"]),
                                   off=off)
        self._trace = trace.begin(in_force["host.run"], "imap-login", (wire.peer[0],), Imap, f"{wire.listener} from {wire.peer[0]}")
        self._say(self._engine.take())
        wire.deadline(LOGIN_S)

    def received(self, data: bytes) -> None:
        if self._trace is not None:
            self._trace.client(data)
        self._engine.feed(data)
        if not self._asking:
            self._work()

    def secured(self) -> None:
        self._engine.secured()
        self.wire.deadline(LOGIN_S)

    def timed_out(self) -> None:
        self._say(b"* BYE You took too long to log in\r\n")
        self.wire.close()

    def stopping(self) -> None:
        self._say(_STOPPING)
        self.wire.close()

    def lost(self) -> None:
        self._gone = True
        self._end_trace()

    def _say(self, said: bytes) -> None:
        if self._trace is not None:
            self._trace.server(said)
        self.wire.send(said)

    def _end_trace(self) -> None:
        if self._trace is not None:
            self._trace.close()

    def _work(self) -> None:
        event = self._engine.work()
        self._say(self._engine.take())
        match event:
            case Asked():
                self._asking = True
                self.wire.pause()
                self.wire.worker.task(self._log_in(event))
            case StartTls():
                self.wire.start_tls()
            case Close():
                self.wire.close(linger=True)

    async def _log_in(self, asked: Asked) -> None:
        """Ask the password child, then hand the wire on or let the client try again."""
        try:
            if await (self._here(asked) if self._shared else self._apart(asked)):
                self._end_trace()                       # the session has its own
                return
            self._engine.refuse()
        except auth.Trouble:
            self._engine.trouble()
        if not self._gone:
            self._asking = False
            self._work()
            self.wire.resume()

    async def _here(self, asked: Asked) -> bool:
        """The session goes on in this process.  False where the password is wrong."""
        who = asked.credentials
        found = await self._passwords.check(who.name, who.password, peer=self.wire.peer[0], service="imap")
        if found is None:
            return False
        if found.mailbox.uid != os.geteuid():
            log.event("trouble", user=f"<{found.name}>", what="cannot open the mailbox",
                      why=f"it belongs to uid {found.mailbox.uid}; this daemon is uid {os.geteuid()}", remedy="start the daemon as root")
            raise auth.Trouble("another uid")
        assert self._shared is not None
        if not self._gone:
            session = MailSession(self.wire, self._shared, found.mailbox, self._facts(asked))
            session.begin(self._engine.rest())
            self.wire.resume()
        return True

    async def _apart(self, asked: Asked) -> bool:
        """The session goes on in a process of the mailbox's uid; here octets are passed on.  False where the password is wrong."""
        who = asked.credentials
        found = await self._passwords.open_session(who.name, who.password, peer=self.wire.peer[0], service="imap", facts=self._facts(asked))
        if found is None:
            return False
        if self._gone:
            found[1].close()
        else:
            sessions.Relay(self.wire, found[1], first=self._engine.rest(), goodbye=_STOPPING)
            self.wire.resume()
        return True

    def _facts(self, asked: Asked) -> sessions.Facts:
        """What the session has to know of the connection."""
        return {"listener": self.wire.listener, "peer": list(self.wire.peer), "tls": self.wire.tls_version,
                "tag": self._engine.tag.decode("ascii"), "method": asked.mechanism,
                "client": self._engine.client_id.get(b"name", b"").decode("utf-8", "replace")[:imap_without.CLIENT_MAX_CHARS]}


def _open(worker: serve.Worker, apart: bool) -> Callable[[Wire], Session]:
    """What a worker makes of each connection."""
    passwords = auth.Passwords(worker)
    shared = None if apart else Shared(worker)
    off = imap_without.Switches(worker.settings["imap.without"], "").off()
    return lambda wire: LoginSession(wire, worker.settings, passwords, shared, off)


def _open_apart(process: sessions.Process, mailbox: Mailbox) -> Callable[[Wire, sessions.Facts], Session]:
    """What the process of a mailbox makes of each session it is given.  Its mailbox is as users said at the last login."""
    shared = Shared(process)

    def session(wire: Wire, facts: sessions.Facts) -> Session:
        session = MailSession(wire, shared, process.mailbox, facts)
        session.begin()
        return session
    return session


def service(in_force: settings.Settings) -> serve.Service:
    workers = in_force["imap.workers"]
    apart = sessions.apart()
    return serve.Service(
        name="pymta-imapd",
        listeners={"imap": in_force["imap.listen"], "imaps": in_force["imap.listen_tls"]},
        tls_listeners=frozenset(("imaps",)),
        open=lambda worker: _open(worker, apart),
        workers=workers,
        sessions_max=max(1, in_force["imap.sessions_max"] // workers),
        account=ACCOUNT,
        helpers=sessions.helpers(lambda: service(in_force), _open_apart),
        full=_FULL)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pymta-imapd", description="Show users their mail by IMAP.")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies (default: %(default)s)")
    background.option(parser)
    options = parser.parse_args(argv)
    in_force = settings.read(os.path.abspath(options.etc))
    if options.daemon:
        background.detach("pymta-imapd", in_force)
    return serve.run(service, in_force)
