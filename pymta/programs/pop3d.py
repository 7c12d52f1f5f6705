"""pymta-pop3d: show a user the Maildir by POP3.                                 pymta-pop3d(8)"""
from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable

from pymta import clock, log, serve, settings, trace
from pymta.daemon import background
from pymta.login import auth
from pymta.serve import sessions
from pymta.accounts import Mailbox
from pymta.drop import Drop, Gone, InUse, open_drop
from pymta.formats import changes
from pymta.mailbox import Doer, tidying
from pymta.message.surrogate import surrogate
from pymta.proto import pop3
from pymta.proto.mask import Pop3
from pymta.serve.wire import Session, Wire

ACCOUNT = "pymta-login"
_LOGIN_S = 120.0                                        # to say who one is
_IN_USE_S = 1.0                                         # how long a session that has the drop may take to end: two devices ask at once
_BURST_OCTETS = 1 << 18                                 # what is made ready before the peer has taken some of it
_WHOLE_OCTETS = 1 << 18                                 # a bigger message is read and sent piece by piece


class Pop3Session(Session):
    """One connection: events of the engine become reads of the drop."""

    def __init__(self, wire: Wire, in_force: settings.Settings, server: pop3.Pop3Server, passwords: auth.Passwords | None,
                 *, service: str, client: str, apart: bool = False) -> None:
        """passwords: None in a session process.  service, client: words for the log.  apart: whether sessions go on in one."""
        super().__init__(wire)
        self._passwords = passwords
        self._apart = apart
        self._service, self._client = service, client
        self._idle_max_s: float = in_force["pop3.idle_max"]
        self._folders: tuple[str, ...] = in_force["local.folders"]
        tidying.keep_expunged(in_force["local.undelete"])
        self._drop: Drop | None = None
        self._name = ""
        self._busy = False                              # a task goes on; nothing is read from the peer meanwhile
        self._gone = self._leaving = False
        self._ready_octets = 0
        self._server = server
        self._traces: str = in_force["host.run"]
        self._trace = trace.begin(self._traces, "pop3-login", (client,), Pop3, f"{service} from {client}") if passwords else None
        self._say()

    # ---- what the wire calls ------------------------------------------------------------------------------------------
    def received(self, data: bytes) -> None:
        if self._trace is not None:
            self._trace.client(data)
        self._server.feed(data)
        self._go_on()

    def secured(self) -> None:
        self._server.secured(login=True)
        self._go_on()

    def timed_out(self) -> None:
        if self._busy:                                  # the disk or the password child is slow, not the peer
            self.wire.deadline(self._idle_max_s)
            return
        log.event("close", service=self._service, client=self._client, user=f"<{self._name}>" if self._name else None, why="idle")
        self._end(b"idle for too long; closing")

    def stopping(self) -> None:
        self._leaving = True
        if not self._busy:
            self._end(b"[SYS/TEMP] the server is shutting down")

    def lost(self) -> None:
        self._gone = True
        if not self._busy:
            self._close_drop()

    # ---- the conversation ---------------------------------------------------------------------------------------------
    def _go_on(self) -> None:
        """Work off what the peer said until it has nothing more to be done, or something takes time."""
        server = self._server
        while not self._busy and (event := server.next_event()) is not None:
            match event:
                case pop3.Retrieve():
                    self._retrieve(event)
                case pop3.Login(name, password):
                    self.begin(self._log_in(name, password))
                case pop3.Commit(indices):
                    self.begin(self._commit(indices))
                case pop3.StartTls():
                    self._say()
                    self.wire.start_tls()
                    return
        self._say()

    def _send(self, octets: bytes) -> None:
        if self._trace is not None:
            self._trace.server(octets)
        self.wire.send(octets)

    def _say(self) -> None:
        if self._server.ended:
            self._close_drop()                          # before the last word: the client may come again at once
        self._send(self._server.take())
        self._ready_octets = 0
        if self._server.ended:
            self.wire.close(linger=True)                # commands may stand behind the one that ended it
        else:
            self.wire.deadline(self._idle_max_s if self._name else min(_LOGIN_S, self._idle_max_s))

    def _end(self, text: bytes) -> None:
        self._server.bye(text)
        self._say()

    def begin(self, coroutine) -> None:
        """Let something take its time; the peer waits, and then the conversation goes on."""
        self._busy = True
        self.wire.pause()
        self.wire.worker.task(self._run(coroutine))

    async def _run(self, coroutine) -> None:
        try:
            await coroutine
        except BaseException as error:
            if isinstance(error, Exception):
                log.bug(f"session {self._service} {self._client} {self._name}", error)
            self._busy = False
            self.wire.abort()
            self._close_drop()
            return
        self._busy = False
        if self._gone:
            self._close_drop()
        elif self._relayed:
            self.wire.resume()
        elif self._leaving:
            self._end(b"[SYS/TEMP] the server is shutting down")
        else:
            self.wire.resume()
            self._go_on()

    def _close_drop(self) -> None:
        if self._gone and self._trace is not None:
            self._trace.close()
        drop, self._drop = self._drop, None
        if drop is not None:
            drop.close()

    # ---- events -------------------------------------------------------------------------------------------------------
    async def _log_in(self, name: str, password: str) -> None:
        assert self._passwords is not None
        try:
            if self._apart:
                await self._log_in_apart(name, password)
                return
            login = await self._passwords.check(name, password, peer=self._client, service="pop3")
        except auth.Trouble:
            self._server.refused(b"SYS/TEMP", b"cannot check passwords now; try again later")
            return
        if login is None:
            self._server.refused(b"AUTH", b"wrong name or password")
        elif login.mailbox.uid != os.geteuid():
            log.event("trouble", user=f"<{login.name}>", what="cannot open the mailbox",
                      why=f"it belongs to uid {login.mailbox.uid}; this daemon is uid {os.geteuid()}", remedy="start the daemon as root")
            self._server.refused(b"SYS/PERM", b"the mailbox belongs to another account; tell the administrator")
        else:
            await self.open(login.mailbox)

    async def _log_in_apart(self, name: str, password: str) -> None:
        """Where the password is right, the session goes on in a process of the mailbox's uid, and here octets are passed on."""
        assert self._passwords is not None
        facts: sessions.Facts = {"listener": self.wire.listener, "peer": list(self.wire.peer), "tls": self.wire.tls_version,
                                 "utf8": self._server.utf8}
        found = await self._passwords.open_session(name, password, peer=self._client, service="pop3", facts=facts)
        if found is None:
            self._server.refused(b"AUTH", b"wrong name or password")
            return
        if self._gone:
            found[1].close()
            return
        self._say()
        if self._trace is not None:
            self._trace.close()                         # the session has its own
        self._relayed = True
        sessions.Relay(self.wire, found[1], first=self._server.rest(), goodbye=b"-ERR [SYS/TEMP] the server is shutting down\r\n")

    _relayed = False

    async def open(self, mailbox: Mailbox, tls: str | None = None) -> None:
        """Answer a login that was right with the drop, or with why it cannot be had."""
        who = f"<{mailbox.address}>"
        if self._trace is None:
            self._trace = trace.begin(self._traces, "pop3", (mailbox.address, self._client), Pop3,
                                      f"{self._service} session of {who} from {self._client}")
            if self._trace is not None:
                self._trace.client(self._server.rest())         # said behind the login
        try:
            self._drop = await self._open_drop(mailbox)
        except InUse:
            self._server.refused(b"IN-USE", b"another POP3 session has this mailbox; try again when it has ended")
        except OSError as error:                        # TimeoutError is one too
            log.event("trouble", user=who, what=f"cannot open {mailbox.maildir}", why=error.strerror or str(error))
            self._server.refused(b"SYS/TEMP", b"cannot open the mailbox now; try again later")
        else:
            self._name = mailbox.address
            self._drop.by = Doer(changes.who(self._service, self._client))
            log.event("login", service=self._service, user=who, client=self._client, tls=tls or self.wire.tls_version)
            self._server.logged_in(self._drop.sizes, self._drop.uids)

    async def _open_drop(self, mailbox: Mailbox) -> Drop:
        """Raises InUse where somebody has had it all the while, and what open_drop raises."""
        end = clock.tick() + _IN_USE_S
        while True:
            try:
                return await asyncio.to_thread(open_drop, mailbox.maildir, self._folders, mailbox.pop3)
            except InUse:
                if self._gone or clock.tick() > end:
                    raise
            await asyncio.sleep(0.03)

    def _retrieve(self, event: pop3.Retrieve) -> None:
        assert self._drop is not None
        try:
            fd = self._drop.open_file(event.index)
        except Gone:
            self._server.gone()
            return
        except OSError as error:
            log.event("trouble", user=f"<{self._name}>", what="cannot read a message", why=error.strerror or str(error))
            self._server.unreadable()
            return
        octets = b""
        try:
            octets = os.read(fd, _WHOLE_OCTETS + 1)
        except OSError as error:
            os.close(fd)
            log.event("trouble", user=f"<{self._name}>", what="cannot read a message", why=error.strerror or str(error))
            self._server.unreadable()
            return
        whole = len(octets) <= _WHOLE_OCTETS
        if not event.utf8:
            octets = surrogate(octets)
        if not whole:
            self.begin(self._stream(fd, octets, event.lines))
            return
        os.close(fd)
        self._server.message(octets)
        self._ready_octets += len(octets)
        if self._ready_octets > _BURST_OCTETS:
            self.begin(self._breathe())

    async def _breathe(self) -> None:
        """Send what is ready, and let the peer take most of it and other sessions have their turn."""
        self._say()
        await self.wire.drain()
        await asyncio.sleep(0)

    async def _stream(self, fd: int, octets: bytes, lines: int | None) -> None:
        """A big message, piece by piece; octets: the first piece."""
        form = pop3.WireForm(lines)
        self._server.begin_message()
        try:
            while octets and not form.done and not self._gone:
                self._send(self._server.take() + form.feed(octets))
                await self.wire.drain()
                await asyncio.sleep(0)
                octets = os.read(fd, _WHOLE_OCTETS)
        except OSError as error:                        # half a message is out: only the end of the connection tells the client
            log.event("trouble", user=f"<{self._name}>", what="cannot read a message", why=error.strerror or str(error))
            self.wire.abort()
            return
        finally:
            os.close(fd)
        self._send(form.end())
        self._server.end_message()

    async def _commit(self, indices: tuple[int, ...]) -> None:
        drop, self._drop = self._drop, None
        assert drop is not None
        left = 0
        try:
            if indices:
                left = await asyncio.to_thread(drop.remove, indices)
                if left < len(indices):
                    log.event("expunge", user=f"<{self._name}>", service="pop3", count=len(indices) - left)
        except OSError as error:
            log.event("trouble", user=f"<{self._name}>", what="cannot remove messages", why=error.strerror or str(error))
            left = len(indices)
        finally:
            await asyncio.to_thread(drop.close)
        self._server.committed(removed=left == 0)


def _open(worker: serve.Worker, apart: bool) -> Callable[[Wire], Session]:
    """What a worker makes of each connection."""
    passwords = auth.Passwords(worker)
    in_force = worker.settings

    def session(wire: Wire) -> Session:
        client = wire.peer[0]
        server = pop3.Pop3Server(tls=wire.tls, stls=not wire.tls and worker.tls_context() is not None,
                                 login=wire.tls or auth.plain_allowed(client, in_force["login.plain_from"]))
        return Pop3Session(wire, in_force, server, passwords, service=wire.listener, client=client, apart=apart)
    return session


def _open_apart(process: sessions.Process, mailbox: Mailbox) -> Callable[[Wire, sessions.Facts], Session]:
    """What the process of a mailbox makes of each session it is given."""
    def session(wire: Wire, facts: sessions.Facts) -> Session:
        server = pop3.Pop3Server.handed_over(utf8=bool(facts["utf8"]))
        session = Pop3Session(wire, process.settings, server, None, service=wire.listener, client=wire.peer[0])
        session.begin(session.open(process.mailbox, facts["tls"] or "none"))
        return session
    return session


def service(in_force: settings.Settings) -> serve.Service:
    workers = in_force["pop3.workers"]
    apart = sessions.apart()
    return serve.Service(
        name="pymta-pop3d",
        listeners={"pop3": in_force["pop3.listen"], "pop3s": in_force["pop3.listen_tls"]},
        tls_listeners=frozenset(("pop3s",)),
        open=lambda worker: _open(worker, apart),
        workers=workers,
        sessions_max=max(1, in_force["pop3.sessions_max"] // workers),
        account=ACCOUNT,
        helpers=sessions.helpers(lambda: service(in_force), _open_apart),
        full=b"-ERR [SYS/TEMP] too many sessions; try again later\r\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pymta-pop3d", description="Show a user the Maildir by POP3.")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies (default: %(default)s)")
    background.option(parser)
    options = parser.parse_args(argv)
    in_force = settings.read(os.path.abspath(options.etc))
    if options.daemon:
        background.detach("pymta-pop3d", in_force)
    return serve.run(service, in_force)
