"""sessions: after the login, a session goes on in a process of the mailbox's uid.

    client ──▶ worker (pymta-login)   TLS, login, then Relay ═══ socket pair ═══▶ session process (the mailbox's uid)
                 │ name, password, one end of the pair                                  ▲
                 ▼                                                                      │ fork, or the end sent to the one there is
               password child (pymta-auth) ── mailbox, facts, that end ──▶ starter (root)

The starter reads nothing but what the password child says, and does nothing but fork: what runs as root is `_Starter` and
`privs.become`, the first act after the fork.  All sessions of one mailbox share one process; it ends a while after the last.
A daemon that is not root (the sandbox) has one uid for everything, and its workers keep their sessions: `helpers` knows.

A session process hears from the starter by a SOCK_SEQPACKET pair.  To end, it first shuts its end for more, then looks
whether something had come meanwhile: the starter either gets an error and forks anew, or has its session taken.
"""
from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from pymta import log, privs
from pymta.login import auth
from pymta.accounts import Mailbox
from pymta.serve import Clients, Service, Worker
from pymta.serve.service import AS_ROOT
from pymta.settings import Settings
from pymta.serve.wire import Session, Wire

_PACKET_OCTETS = 1 << 16
_LINGER_S = 10.0
_HIGH_WATER_OCTETS = 1 << 17
_CHUNK_OCTETS = 1 << 16
Facts = dict[str, Any]
# called in the session process: (process, mailbox) -> (wire, facts) -> session
Open = Callable[["Process", Mailbox], Callable[[Wire, Facts], Session]]


def apart() -> bool:
    """Whether sessions go on in processes of their own here.  To be asked before anybody gives up rights."""
    return privs.is_root()


def helpers(service: Callable[[], Service], open_session: Open) -> Mapping[str, tuple[str, Callable[[Settings, Clients], None]]]:
    """What a Service has to name as its helpers: the password child, and with it the starter where sessions are apart."""
    if not apart():
        return {"auth": (auth.ACCOUNT, auth.helper_main)}
    return {"auth": (AS_ROOT, lambda settings, clients: _starter_main(settings, clients, service(), open_session))}


# ---- the starter: all that runs as root -------------------------------------------------------------------------------
def _starter_main(settings: Settings, clients: Clients, service: Service, open_session: Open) -> None:
    """Fork the password child, which gives up its rights; then start sessions for as long as it lives."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    if os.fork() == 0:
        _child(lambda: _passwords(settings, clients, theirs, ours, parent))
    theirs.close()
    clients.control.close()
    _Starter(settings, service, open_session).run(ours)


def _passwords(settings: Settings, clients: Clients, theirs: socket.socket, ours: socket.socket, parent: int) -> None:
    privs.become_account(auth.ACCOUNT)
    privs.die_with_parent(parent)
    ours.close()
    auth.helper_main(settings, clients, theirs)


class _Starter:
    def __init__(self, settings: Settings, service: Service, open_session: Open) -> None:
        self._settings, self._service, self._open = settings, service, open_session
        self._processes: dict[str, socket.socket] = {}              # address -> control socket of its process

    def run(self, source: socket.socket) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)               # the kernel buries them
        while True:
            packet, descriptors, _, _ = socket.recv_fds(source, _PACKET_OCTETS, 4)
            if not packet:
                return                                              # the password child is gone: serve starts both again
            mailbox = Mailbox(*json.loads(packet)[0])
            if not self._send(mailbox.address, packet, descriptors):
                self._fork(mailbox, source)
                self._send(mailbox.address, packet, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)

    def _send(self, address: str, packet: bytes, descriptors: list[int]) -> bool:
        """Give a session to the mailbox's process.  False if there is none (any more)."""
        control = self._processes.get(address)
        if control is None:
            return False
        try:
            socket.send_fds(control, [packet], descriptors)
        except OSError:
            del self._processes[address]
            control.close()
            return False
        return True

    def _fork(self, mailbox: Mailbox, source: socket.socket) -> None:
        for address in [address for address, control in self._processes.items() if _is_over(control)]:
            self._processes.pop(address).close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        if os.fork() == 0:
            _child(lambda: self._become(mailbox, theirs))
        theirs.close()
        self._processes[mailbox.address] = ours

    def _become(self, mailbox: Mailbox, control: socket.socket) -> None:
        privs.become(mailbox.uid, mailbox.gid)
        kept = control.fileno()
        os.closerange(3, kept)                                      # others' sessions, sockets and controls
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asyncio.run(Process(self._service, self._settings, mailbox, control, self._open).serve())


def _is_over(control: socket.socket) -> bool:
    try:
        return control.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _child(work: Callable[[], None]) -> None:
    """The whole life of a forked child."""
    status = 70
    try:
        work()
        status = 0
    except BaseException as error:
        log.bug("session process", error)
    finally:
        os._exit(status)


# ---- the session process ----------------------------------------------------------------------------------------------
class Process(Worker):
    """The process of one mailbox, as its owner: takes sessions from the starter and ends _LINGER_S after the last."""

    def __init__(self, service: Service, settings: Settings, mailbox: Mailbox, control: socket.socket, open_session: Open) -> None:
        super().__init__(dataclasses.replace(service, tls_listeners=frozenset(), helpers={}), settings, 0, control)
        self.mailbox = mailbox
        self._open_session = open_session
        self._ended = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None
        self._facts: Facts = {}

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        make = self._open_session(self, self.mailbox)
        self._factory = lambda wire: make(wire, self._facts)
        self._control.setblocking(False)
        self.loop.add_reader(self._control.fileno(), self._take)
        for sig in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(sig, self._stop_all)
        await self._ended.wait()
        while self._tasks:                                          # a QUIT that removes messages is not cut off
            await asyncio.wait(self._tasks)

    def _take(self) -> bool:
        """Take a session.  False if none waits."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._control, _PACKET_OCTETS, 4)
        except BlockingIOError:
            return False
        except OSError:
            packet, descriptors = b"", []
        if not packet or not descriptors:                           # the starter is gone: our sessions may end in peace
            self.loop.remove_reader(self._control.fileno())
            self._control.close()
            self.one_less()
            return False
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        mailbox, self._facts = json.loads(packet)
        self.mailbox = Mailbox(*mailbox)                            # as users says now
        peer = self._facts.get("peer", ["local", 0])
        self.adopt(socket.socket(fileno=descriptors[0]), (str(peer[0]), int(peer[1])), str(self._facts.get("listener", "")))
        return True

    def one_less(self) -> None:
        if self.wires:
            return
        if self._stopping or self._control.fileno() < 0:
            self._ended.set()
        elif self._idle is None:
            self._idle = self.loop.call_later(_LINGER_S, self._leave)

    def _stop_all(self) -> None:
        self.stop()
        self.one_less()

    def _leave(self) -> None:
        """Nobody came: let the starter know that nobody may, then look whether somebody did."""
        self._idle = None
        self._control.shutdown(socket.SHUT_RD)
        while self._control.fileno() >= 0 and self._take():
            pass
        if self._control.fileno() >= 0:
            self.loop.remove_reader(self._control.fileno())
            self._control.close()
        self.one_less()


# ---- the worker's end -------------------------------------------------------------------------------------------------
class Relay(Session):
    """The session of a worker after the login: passes octets on, both ways.

    first: what the client said behind its login; goodbye: what it is told when the daemon stops.
    """

    def __init__(self, wire: Wire, sock: socket.socket, *, first: bytes = b"", goodbye: bytes = b"") -> None:
        super().__init__(wire)
        self._sock = sock
        self._fd = sock.fileno()
        self._goodbye = goodbye
        self._loop = wire.worker.loop
        self._out = bytearray()
        self._at_line_start = True
        self._over = False
        sock.setblocking(False)
        wire.session = self
        wire.deadline(_FOREVER_S)                                   # the session process knows who is idle
        self._loop.add_reader(self._fd, self._heard)
        if first:
            self.received(first)

    def received(self, data: bytes) -> None:
        if self._over:
            return
        idle = not self._out
        self._out += data
        if idle:
            self._pass_on()
        self.wire.acknowledge()                                     # nobody here knows whether an answer is near
        if len(self._out) > _HIGH_WATER_OCTETS:
            self.wire.pause()

    def ended(self) -> bool:
        if self._over:
            return False
        if not self._out:                               # else when all is passed on
            self._sock.shutdown(socket.SHUT_WR)
        return True

    def timed_out(self) -> None:
        self.wire.deadline(_FOREVER_S)

    def stopping(self) -> None:
        if self._at_line_start and not self.wire.backlog_octets:
            self.wire.send(self._goodbye)
        self.wire.close()

    def lost(self) -> None:
        self._end()

    def _pass_on(self) -> None:
        """Give the session process what the client said."""
        if self._over:
            return
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:                                 # it listens no more; its last words are still to be heard
            sent = len(self._out)
        del self._out[:sent]
        if self._out:
            self._loop.add_writer(self._fd, self._pass_on)
        else:
            self._loop.remove_writer(self._fd)
            self.wire.resume()

    def _heard(self) -> None:
        """Tell the client what the session process says, as fast as it takes it."""
        try:
            data = self._sock.recv(_CHUNK_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._finish()
            return
        self._at_line_start = data.endswith(b"\n")
        self.wire.send(data)
        if self.wire.backlog_octets > _HIGH_WATER_OCTETS:
            self._loop.remove_reader(self._fd)
            self.wire.worker.task(self._wait_for_client())

    async def _wait_for_client(self) -> None:
        await self.wire.drain()
        if not self._over:
            self._loop.add_reader(self._fd, self._heard)

    def _finish(self) -> None:
        """The session process has said its last word."""
        self._end()
        self.wire.close(linger=True)

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._sock.close()


_FOREVER_S = 7 * 86400.0
