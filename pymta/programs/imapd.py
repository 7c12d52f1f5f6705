"""pymta-imapd: show users their mail by IMAP.                                                 pymta-imapd(8)

A worker holds the sockets and TLS and speaks until it is known who is there (proto/imap/login).  Then the engine of the
session takes over the same wire (proto/imap/session); what may wait for the disk runs in a few threads.
"""
from __future__ import annotations

import argparse
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pymta import auth, clock, log, mailbox, serve
from pymta import settings as pymta_settings
from pymta.proto.imap import session as imap
from pymta.proto.imap.framing import Limits
from pymta.proto.imap.login import Asked, Close, LoginEngine, StartTls

LOGIN_S = 120.0                                         # to say who one is
_THREADS = 8
_BACKLOG_OCTETS = 1 << 17                               # what a client has not taken before we stop reading more for it
_SAID_OCTETS = 1 << 18                                  # what a client may say ahead while a command runs
_ENOSPC = (errno.ENOSPC, errno.EDQUOT)


def explain(error: BaseException) -> bytes | None:
    """What the client is told of an error of the store; None if it is a bug.  RFC 5530"""
    match error:
        case mailbox.NoSuchMailbox():
            return b"[NONEXISTENT] No such mailbox"
        case mailbox.NameRefused():
            return b"[CANNOT] " + str(error).encode("ascii", "replace")
        case mailbox.MailboxExists():
            return b"[ALREADYEXISTS] The mailbox exists"
        case mailbox.Gone():
            return b"[EXPUNGEISSUED] The message is no longer there"
        case TimeoutError():
            return b"[INUSE] Another program holds the mailbox, please try again"
        case OSError():
            log.event("trouble", what="mailbox", why=str(error))
            if error.errno in _ENOSPC:
                return b"[OVERQUOTA] There is no room left"
            return b"[UNAVAILABLE] The mailbox cannot be reached just now"
    return None


class Imap:
    """What the sessions of one worker share."""

    def __init__(self, worker: serve.Worker) -> None:
        self.worker = worker
        self.settings = worker.settings
        self.passwords = auth.Passwords(worker)
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self.users: dict[str, list["Connection"]] = {}
        self.limits = Limits(command_octets=1 << 20, append_octets=self.settings["queue.size_max"], skip_octets=1 << 30)
        self.idle_s = self.settings["imap.idle_max"]
        mailbox.attach(worker.loop)

    def may_say_plain(self, peer: str) -> bool:
        import ipaddress
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return True                                 # a socket of this host
        return any(address in network for network in self.settings["login.plain_from"])

    def admit(self, user: str, connection: "Connection") -> bool:
        """Count a session in.  Where the user has too many, the oldest that idles makes room; False if none does."""
        theirs = self.users.setdefault(user, [])
        if len(theirs) >= self.settings["imap.sessions_per_user"]:
            for old in theirs:
                if old.session is not None and old.session.is_idle:
                    old.end(b"[LIMIT] Too many sessions of this user (imap.sessions_per_user); the oldest idle one is closed")
                    break
            else:
                return False
        theirs.append(connection)
        return True

    def leave(self, user: str, connection: "Connection") -> None:
        theirs = self.users.get(user, [])
        if connection in theirs:
            theirs.remove(connection)
        if not theirs:
            self.users.pop(user, None)


class Connection(serve.Session):
    """One client."""

    def __init__(self, wire: serve.Wire, shared: Imap) -> None:
        super().__init__(wire)
        self.shared = shared
        self.user = ""
        self.session: imap.Session | None = None
        self._working = self._lost = self._poked = False
        self.login = LoginEngine(shared.settings.host, secure=wire.tls, can_tls=shared.worker.tls_context() is not None,
                                 plain=shared.may_say_plain(wire.peer[0]))
        wire.send(self.login.take())
        wire.deadline(LOGIN_S)

    # ---- what the wire says -------------------------------------------------------------------------------------------
    def received(self, data: bytes) -> None:
        if self.session is None:
            self.login.feed(data)
            if not self._working:
                self._work_login()
            return
        self.wire.deadline(self.shared.idle_s)
        self.session.feed(data)
        if not self._working:
            self._work()
        elif self.session.pending > _SAID_OCTETS:
            self.wire.pause()

    def secured(self) -> None:
        self.login.secured()

    def timed_out(self) -> None:
        self.end(b"You said nothing for too long")

    def stopping(self) -> None:
        self.end(b"The server is going down, please come back")

    def end(self, why: bytes) -> None:
        """Say BYE and close."""
        self.wire.send(b"* BYE %b\r\n" % why)
        self.wire.close()

    def lost(self) -> None:
        self._lost = True
        self.shared.leave(self.user, self)
        if self.session is not None and not self._working:
            self.session.close()

    # ---- before the login ---------------------------------------------------------------------------------------------
    def _work_login(self) -> None:
        event = self.login.work()
        self.wire.send(self.login.take())
        match event:
            case Asked():
                self._working = True
                self.shared.worker.task(self._check(event))
            case StartTls():
                self.wire.start_tls()
            case Close():
                self.wire.close()

    async def _check(self, asked: Asked) -> None:
        """Ask the password child, then go on either way."""
        who = asked.credentials
        try:
            found = await self.shared.passwords.check(who.name, who.password, peer=self.wire.peer[0], service="imap")
            if self._lost:
                return
            if found is None:
                self.login.refuse()
            elif not self.shared.admit(found.name, self):
                self.login.trouble(b"[LIMIT] You have %d sessions, the most there may be (imap.sessions_per_user)"
                                   % len(self.shared.users[found.name]))
            else:
                self.user = found.name
                await self._begin(found, asked.mechanism)
                return
        except auth.Trouble:
            self.login.trouble()
        self._working = False
        self._work_login()

    async def _begin(self, found: auth.Login, mechanism: str) -> None:
        try:
            store = await self.shared.worker.loop.run_in_executor(
                self.shared.pool, open_store, found.mailbox.maildir, self.shared.settings["local.folders"])
        except OSError as error:
            log.event("trouble", what=f"cannot open the Maildir of <{found.name}>", why=str(error))
            self.shared.leave(self.user, self)
            self._working = False
            self.login.trouble(b"[UNAVAILABLE] Your mailbox cannot be opened just now, please try again later")
            self._work_login()
            return
        if self._lost:
            return
        log.event("login", service=self.wire.listener, user=f"<{found.name}>", client=self.wire.peer[0], method=mechanism,
                  tls=self.wire.tls_version)
        setting = imap.Setting(self.shared.limits, explain, clock.now, self._wake)
        self.session = imap.Session(store, setting, tag=self.login.tag, said=self.login.rest())
        self._working = False
        self.wire.deadline(self.shared.idle_s)
        self._work()

    # ---- after it -----------------------------------------------------------------------------------------------------
    def _work(self) -> None:
        """Let the session go on as far as it can now."""
        session, wire = self.session, self.wire
        assert session is not None
        self._working = True
        want = session.work()
        wire.send(session.take())
        if want is None:
            self._working = False
            wire.resume()
        elif isinstance(want, imap.Job):
            self.shared.worker.task(self._run(want))
        elif isinstance(want, imap.Close):
            self._working = False
            wire.close()
        elif wire.backlog_octets > _BACKLOG_OCTETS:
            self.shared.worker.task(self._wait_for_client())
        else:
            self.shared.worker.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        session = self.session
        assert session is not None
        if self._lost:
            self._working = False
            session.close()
            return
        try:
            self._work()
        except Exception as error:
            log.bug(f"session of <{self.user}>", error)
            self._working = False
            self.wire.abort()

    async def _run(self, job: imap.Job) -> None:
        assert self.session is not None
        try:
            result = await self.shared.worker.loop.run_in_executor(self.shared.pool, job.run)
        except Exception as error:
            self.session.failed(error)
        else:
            self.session.done(result)
        self._go_on()

    async def _wait_for_client(self) -> None:
        await self.wire.drain()
        if not self._lost:
            self.wire.deadline(self.shared.idle_s)
        self._go_on()

    def _wake(self) -> None:
        """The mailbox has changed; called in any thread."""
        if self.session is not None and self.session.is_idle and not self._poked:
            self._poked = True
            self.shared.worker.loop.call_soon_threadsafe(self._poke)

    def _poke(self) -> None:
        self._poked = False
        if self.session is not None and not self._lost and not self._working:
            self.session.poke()
            self._go_on()


def open_store(maildir: str, folders: tuple[str, ...]) -> mailbox.MailStore:
    """The user's mailboxes, made if this is the first time."""
    if not os.path.isdir(os.path.join(maildir, "cur")):
        mailbox.make(maildir, folders)
    return mailbox.MailStore(maildir)


def service(settings: pymta_settings.Settings) -> serve.Service:
    listeners = {"imap": settings["imap.listen"], "imaps": settings["imap.listen_tls"]}

    def open_worker(worker: serve.Worker) -> Any:
        shared = Imap(worker)
        return lambda wire: Connection(wire, shared)
    return serve.Service(
        name="pymta-imapd", listeners=listeners, open=open_worker, tls_listeners=frozenset(("imaps",)),
        sessions_max=settings["imap.sessions_max"], account="pymta-login", helpers={"auth": (auth.ACCOUNT, auth.helper_main)},
        full=b"* BYE [LIMIT] Too many connections, please try again later\r\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pymta-imapd", description="show users their mail by IMAP")
    parser.add_argument("--etc", default=pymta_settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies")
    options = parser.parse_args(argv)
    settings = pymta_settings.read(options.etc)
    return serve.run(service(settings), settings)
