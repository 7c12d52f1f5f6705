"""imapd_session: an IMAP session whose user is known, on a wire: in a worker, or in the process of its mailbox.

The engine (proto/imap/session) says what it needs; what may wait for the disk runs in a few threads, long answers wait for the
client, and every session gives way to the others between the pieces of its work.
"""
from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

from pymta import clock, imap_without, log, mailbox, serve, trace
from pymta.serve import sessions
from pymta.accounts import Mailbox
from pymta.formats import changes
from pymta.mailbox import tidying
from pymta.mailbox.annotating import VALUE_MAX_OCTETS
from pymta.mailbox.sharing import Sharing
from pymta.mailbox.spaces import Spaces
from pymta.proto.imap import session as imap
from pymta.proto.imap.framing import Limits
from pymta.proto.mask import Imap
from pymta.serve.wire import Session, Wire

_THREADS = 8
_COMMAND_OCTETS = 1 << 20
_SKIP_OCTETS = 1 << 30                                  # of a message that is too big and was sent without asking
_BACKLOG_OCTETS = 1 << 17                               # what a client has not taken before we stop making more for it
_AHEAD_OCTETS = 1 << 18                                 # what a client may say ahead while a command runs
_SHARING = frozenset((b"ACL", b"RIGHTS=TEXK", b"LIST-MYRIGHTS"))
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def explain(error: BaseException) -> bytes | None:
    """What the client is told of an error of the store; None if it is a bug.  RFC 5530"""
    match error:
        case mailbox.NoSuchMailbox():
            return b"[NONEXISTENT] No such mailbox"
        case mailbox.NoRight():
            return b"[NOPERM] You may not do that here"
        case mailbox.NameRefused():
            return b"[CANNOT] " + str(error).encode("ascii", "replace")
        case mailbox.NoSuchUse():
            return b"[USEATTR] No mailbox here can be that"
        case mailbox.TooMany():
            return b"[METADATA TOOMANY] There are too many entries"
        case mailbox.TooBig():
            return b"[METADATA MAXSIZE %d] A value is too long" % VALUE_MAX_OCTETS
        case mailbox.OverQuota():
            return b"[OVERQUOTA] There is no room for it in your mailboxes"
        case mailbox.MailboxExists():
            return b"[ALREADYEXISTS] The mailbox exists"
        case mailbox.Gone():
            return b"[EXPUNGEISSUED] The message is no longer there"
        case TimeoutError():
            return b"[INUSE] Another program holds the mailbox, please try again"
        case OSError():
            log.event("trouble", what="cannot work on a mailbox", why=str(error))
            if error.errno in _NO_ROOM:
                return b"[OVERQUOTA] There is no room left"
            return b"[UNAVAILABLE] The mailbox cannot be reached just now"
    return None


class Shared:
    """What the sessions of one process share."""

    def __init__(self, worker: serve.Worker) -> None:
        self.worker = worker
        self.folders: tuple[str, ...] = worker.settings["local.folders"]
        self.idle_s: float = worker.settings["imap.idle_max"]
        self.notify_mailboxes: int = worker.settings["imap.notify_mailboxes"]
        self.pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self.limits = Limits(command_octets=_COMMAND_OCTETS, append_octets=worker.settings["queue.size_max"], skip_octets=_SKIP_OCTETS)
        self.switches = imap_without.Switches(worker.settings["imap.without"], worker.settings["imap.client_without"])
        self._users: dict[str, list[MailSession]] = {}
        self.sessions_max: int = worker.settings["imap.sessions_per_user"]
        tidying.keep_expunged(worker.settings["local.undelete"])
        self.sharing = Sharing(worker.settings)
        mailbox.attach(worker.loop)

    def admit(self, session: MailSession) -> bool:
        """Count a session in.  Where the user has too many, the oldest that idles makes room; False if none does."""
        theirs = self._users.setdefault(session.user, [])
        if len(theirs) >= self.sessions_max:
            oldest = next((one for one in theirs if one.is_idle), None)
            if oldest is None:
                return False
            oldest.end(b"[LIMIT] You have %d sessions, the most there may be (imap.sessions_per_user); the oldest that idles ends"
                       % len(theirs))
            self.leave(oldest)
            theirs = self._users.setdefault(session.user, [])
        theirs.append(session)
        return True

    def leave(self, session: MailSession) -> None:
        theirs = self._users.get(session.user, [])
        if session in theirs:
            theirs.remove(session)
        if not theirs:
            self._users.pop(session.user, None)


class MailSession(Session):
    """One client.  facts: listener, peer, tls, tag, method and client of the login (LoginSession.facts)."""

    def __init__(self, wire: Wire, shared: Shared, box: Mailbox, facts: sessions.Facts) -> None:
        super().__init__(wire)
        self.user = box.address
        self._shared = shared
        self._box = box
        self._facts = facts
        self._engine: imap.Session | None = None
        self._trace: trace.Trace | None = None
        self._said = b""                                # before there is an engine
        self._working = True                            # the engine is at work, or will be; what comes meanwhile waits
        self._waits_for_disk = self._gone = self._leaving = self._poked = False
        wire.session = self

    @property
    def is_idle(self) -> bool:
        """Whether the client only listens: between IDLE and DONE, or between commands after NOTIFY."""
        return self._engine is not None and self._engine.listens and (self._engine.is_idle or not self._working)

    def begin(self, said: bytes = b"") -> None:
        """Open the mailboxes and answer the login.  said: what the client said behind it."""
        self._said = said
        self.wire.deadline(self._shared.idle_s)
        self.wire.worker.task(self._begin())

    # ---- what the wire calls ------------------------------------------------------------------------------------------
    def received(self, data: bytes) -> None:
        self.wire.deadline(self._shared.idle_s)
        if self._engine is None:
            self._said += data
            ahead = len(self._said)
        else:
            self._engine.feed(data)
            ahead = self._engine.pending
        if not self._working:
            self._work()
            if not self._working and self._engine is not None and self._engine.pending:
                self.wire.acknowledge()
        elif ahead > _AHEAD_OCTETS:
            self.wire.pause()

    def ended(self) -> bool:
        if self._engine is not None:
            self._engine.client_ended = True
        return self._working

    def timed_out(self) -> None:
        if self._waits_for_disk:                        # not the client's fault
            self.wire.deadline(self._shared.idle_s)
        else:
            log.event("close", service=self._facts["listener"], client=self.wire.peer[0], user=f"<{self.user}>", why="idle")
            self.end(b"You said nothing for too long")

    def stopping(self) -> None:
        self._leaving = True
        if not self._working:
            self._say_bye()

    def lost(self) -> None:
        self._gone = True
        self._shared.leave(self)
        if not self._working:
            self._close()

    def end(self, why: bytes) -> None:
        """Say BYE and close."""
        if self._engine is None:
            self.wire.send(b"* BYE %b\r\n" % why)
        else:
            self._engine.goodbye(why)
            self.wire.send(self._engine.take())
        self.wire.close(linger=not self._leaving)

    def _say_bye(self) -> None:
        self.end(b"The server is going down, please come back")

    def _close(self) -> None:
        """Give back what the engine holds."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        if self._trace is not None:
            self._trace.close()

    # ---- work ---------------------------------------------------------------------------------------------------------
    async def _begin(self) -> None:
        loop, wire, tag = self.wire.worker.loop, self.wire, self._facts["tag"].encode("ascii")
        if self._gone:
            return
        if not self._shared.admit(self):
            wire.send(b"%b NO [LIMIT] You have %d sessions, the most there may be (imap.sessions_per_user), and none of them idles\r\n"
                      % (tag, self._shared.sessions_max))
            wire.close()
            return
        try:
            store = await loop.run_in_executor(self._shared.pool, open_store, self._box, self._shared)
        except OSError as error:
            log.event("trouble", user=f"<{self.user}>", what=f"cannot open {self._box.maildir}", why=error.strerror or str(error))
            wire.send(b"%b NO [UNAVAILABLE] Your mailbox cannot be opened just now, please try again later\r\n" % tag)
            wire.close()
            return
        log.event("login", service=self._facts["listener"], user=f"<{self.user}>", client=wire.peer[0], method=self._facts["method"],
                  tls=self._facts["tls"])
        self._trace = trace.begin(wire.worker.settings["host.run"], "imap", (self.user, wire.peer[0]), Imap,
                                  f"{self._facts['listener']} session of <{self.user}> from {wire.peer[0]}, {self._facts['tls'] or 'no TLS'}")
        setting = imap.Setting(self._shared.limits, explain, clock.now, self._wake, self._expunged, self._trace, self._without,
                               self._shared.notify_mailboxes, self._who)
        client_id = {b"name": self._facts["client"].encode()} if self._facts["client"] else {}
        self._engine = imap.Session(store, setting, tag=tag, said=self._said, client_id=client_id)
        self._said = b""
        self._go_on()

    def _work(self) -> None:
        """Let the engine go on as far as it can now."""
        engine, wire = self._engine, self.wire
        assert engine is not None
        self._working = True
        want = engine.work()
        wire.send(engine.take())
        if want is None:
            self._working = False
            wire.resume()
            if self._leaving:
                self._say_bye()
        elif isinstance(want, imap.Job):
            wire.worker.task(self._run(want))
        elif isinstance(want, imap.Close):
            self._working = False
            self._shared.leave(self)
            wire.close(linger=True)                     # who sends a command without end is sending still
        elif wire.backlog_octets > _BACKLOG_OCTETS:
            wire.worker.task(self._wait_for_client())
        else:
            wire.worker.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Work again after a pause.  A surprise ends this session only."""
        if self._gone:
            self._working = False
            self._close()
            return
        if self._leaving and self._engine is not None and self._engine.only_looks:
            self._working = False                       # nothing is half done, and it might take long
            self._say_bye()
            return
        try:
            self._work()
        except Exception as error:
            log.bug(f"session {self._facts['listener']} {self.wire.peer[0]} <{self.user}>", error)
            self._working = False
            self.wire.abort()

    async def _run(self, job: imap.Job) -> None:
        engine = self._engine
        assert engine is not None
        self._waits_for_disk = True
        try:
            engine.done(await self.wire.worker.loop.run_in_executor(self._shared.pool, job.run))
        except Exception as error:
            engine.failed(error)
        self._waits_for_disk = False
        self._go_on()

    async def _wait_for_client(self) -> None:
        await self.wire.drain()
        if not self._gone:
            self.wire.deadline(self._shared.idle_s)
        self._go_on()

    # ---- pushes -------------------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        """The mailbox has changed; called in any thread."""
        if self._engine is not None and self._engine.listens and not self._poked:
            self._poked = True
            self.wire.worker.loop.call_soon_threadsafe(self._poke)

    def _without(self, client: bytes) -> frozenset[bytes]:
        off = self._shared.switches.off(self._box.without, client.decode("utf-8", "replace"))
        return off if self._shared.sharing.users or self._shared.sharing.shared else off | _SHARING

    def _who(self, client: bytes) -> bytes:
        """What is written down of who did something to a message."""
        return changes.who(self._facts["listener"], self.wire.peer[0], client.decode("utf-8", "replace"))

    def _expunged(self, name: str, count: int) -> None:
        log.event("expunge", service="imap", user=f"<{self.user}>", mailbox=name, count=count, client=self.wire.peer[0])

    def _poke(self) -> None:
        self._poked = False
        if self._engine is None or self._working or self._gone:
            return                                      # the engine tells once it has done what it is at
        if self.wire.backlog_octets > _BACKLOG_OCTETS:
            self._working = True                        # it does not take what it is told: until then more is only noted
            self.wire.worker.task(self._poke_later())
            return
        self._engine.poke()
        self._go_on()

    async def _poke_later(self) -> None:
        await self.wire.drain()
        if self._engine is not None and not self._gone:
            self._engine.poke()
        self._go_on()


def open_store(box: Mailbox, shared: Shared) -> Spaces:
    """The user's mailboxes, made if this is the first time, and what others share."""
    if not os.path.isdir(os.path.join(box.maildir, "cur")):
        mailbox.make(box.maildir, shared.folders)
    return Spaces(box.maildir, box.quota, box.address, shared.sharing)
