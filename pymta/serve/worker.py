"""worker: one process of a network daemon that accepts connections and runs their sessions (parent.py is where it comes from)."""
from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pymta import clock, log
from pymta.tls import certificates as tls
from pymta.proto import proxy
from pymta.settings import Settings
from pymta.serve.wire import Session, Wire, plain

if TYPE_CHECKING:
    from pymta.serve.service import Service

STOP_S = 5.0                # how long sessions may take to say goodbye
TLS = b"tls"                # among the names of what the parent hands down
RETIRE = b"retire"          # what it says: accept nothing more, and end with the last session
ASKS_ALIVE = b"alive?"      # what it asks, and the answer
ALIVE = b"!"
_ACCEPTS_A_TURN = 16
_TELL_EVERY_S = 10.0
_PROXY_S = 10.0             # a balancer has its header ready


class Gate(Protocol):
    """Asked before a connection becomes a session, also before TLS.  What it refuses costs no more than the refusal."""

    def enter(self, address: str, listener: str) -> bytes | None:
        """None lets it in; else what the client is told."""

    def leave(self, address: str, listener: str) -> None:
        """One that was let in has gone."""


class Worker:
    """One worker process.  settings, service; loop: its event loop; wires: its connections."""

    def __init__(self, service: Service, settings: Settings, number: int, control: socket.socket) -> None:
        self.service = service
        self.settings = settings
        self.number = number
        self.loop: asyncio.AbstractEventLoop = None     # type: ignore[assignment]   # set by _work
        self.wires: set[Wire] = set()
        self.certificates = tls.Certificates(settings, lambda: tls.question(control), speaks=number == 0)
        self._control = control
        self._helpers: dict[str, socket.socket] = {}
        self._when_new: dict[str, Callable[[socket.socket], None]] = {}
        self._factory: Callable[[Wire], Session]
        self._gate: Gate | None = None
        self._turned_away, self._told_full = 0, -_TELL_EVERY_S
        self._asked_to_stop = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopping = self._retired = False
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[object]] = set()

    def helper(self, name: str, when_new: Callable[[socket.socket], None] | None = None) -> socket.socket:
        """The socket to a helper child.  when_new is called with another one if the helper had to be started again."""
        if when_new is not None:
            self._when_new[name] = when_new
        return self._helpers[name]

    def task(self, coroutine) -> "asyncio.Task[object]":
        """Run a coroutine in this worker; its surprise is logged as a bug."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.bug("task", error)

    def tls_context(self) -> "ssl.SSLContext | None":
        """The context of this host's certificate; it gives way to another's as the client names it.  None if there is no certificate."""
        return self.certificates.context()

    # ---- inside -------------------------------------------------------------------------------------------------------
    def receive_helpers(self) -> None:
        """Read what the parent hands down: names, and a descriptor for each: sockets to helpers, or certificates."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, 256, 16)
        except (BlockingIOError, InterruptedError):
            return
        if not message:
            os._exit(0)                                 # the parent is gone
        words = message.split()
        if ASKS_ALIVE in words:
            self._control.send(ALIVE)
        if RETIRE in words:
            self.retire()
        for word, descriptor in zip([word for word in words if word not in (ASKS_ALIVE, RETIRE)], descriptors):
            if word == TLS:
                self.certificates.take(descriptor)
                continue
            name = word.decode("ascii")
            sock = socket.socket(fileno=descriptor)
            old = self._helpers.get(name)
            self._helpers[name] = sock
            if old is not None:
                old.close()
            if name in self._when_new:
                self._when_new[name](sock)

    def accept(self, listening: socket.socket, name: str) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:                    # EMFILE and its like: let the backlog hold them a moment
                log.event("trouble", what=f"cannot accept on {name}", why=error.strerror or str(error))
                self.loop.remove_reader(listening.fileno())
                self.loop.call_later(0.5, lambda: self._stopping or self._retired or self.loop.add_reader(listening.fileno(), self.accept, listening, name))
                return
            self.adopt(sock, peer, name)

    def adopt(self, sock: socket.socket, peer: object, name: str) -> None:
        """Give a connected socket to a new session."""
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = (plain(peer[0]), peer[1]) if isinstance(peer, tuple) else ("local", 0)
        if len(self.wires) >= self.service.sessions_max:
            self._tell_full(name, address[0])
            _turn_away(sock, self.service.full)
            return
        behind = self.service.behind
        if behind is not None and behind(address[0]):
            wire = Wire(self, sock, address, name)
            self.wires.add(wire)
            wire.session = _Behind(wire)
            wire._listen()
            return
        gate = self._gate
        if gate is not None and (refusal := gate.enter(address[0], name)) is not None:
            _turn_away(sock, refusal)
            return
        wire = Wire(self, sock, address, name)
        wire.gate = gate
        self.wires.add(wire)
        if name in self.service.tls_listeners:
            wire.start_tls()
            if wire._gone:
                return
            wire.session = _Unsecured(wire, self._factory)
        else:
            wire._turn(_open, wire, self._factory)
        wire._listen()

    def admit(self, wire: Wire, rest: bytes) -> None:
        """Go on with a connection that a balancer has handed on; rest: what came behind its header."""
        gate = self._gate
        if gate is not None:
            refusal = gate.enter(wire.peer[0], wire.listener)
            if refusal is not None:
                wire.send(refusal)
                wire.close(linger=True)
                return
            wire.gate = gate
        if wire.listener in self.service.tls_listeners:
            wire.start_tls()
            if not wire._gone:
                wire.session = _Unsecured(wire, self._factory)
                self.loop.call_soon(wire._heard_tls, rest)
        else:
            _open(wire, self._factory)
            if rest and not wire._gone:
                wire.session.received(rest)

    def _tell_full(self, name: str, address: str) -> None:
        """One line for all that are turned away within some seconds; more: how many since the last one."""
        self._turned_away += 1
        if clock.tick() - self._told_full >= _TELL_EVERY_S:
            log.event("refuse", service=name, client=address, why="too many sessions", more=self._turned_away - 1 or None)
            self._told_full, self._turned_away = clock.tick(), 0

    def one_less(self) -> None:
        if self._retired and not self.wires:
            self.stop()
        if self._stopping and not self.wires:
            self._stopped.set()

    def retire(self) -> None:
        """Leave new connections to others, and stop with the last session."""
        self._retired = True
        for sock in self._listening:
            self.loop.remove_reader(sock.fileno())
            sock.close()
        self._listening.clear()
        if not self.wires:
            self.stop()

    def stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._asked_to_stop.set()
        for wire in list(self.wires):
            wire._turn(wire.session.stopping)
        if not self.wires:
            self._stopped.set()

    async def run(self, listening: list[tuple[str, socket.socket]]) -> None:
        self.loop = asyncio.get_running_loop()
        self._factory = self.service.open(self)
        self._gate = self.service.gate(self) if self.service.gate else None
        self._listening = [sock for _, sock in listening]
        for name, sock in listening:
            self.loop.add_reader(sock.fileno(), self.accept, sock, name)
        for sig in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(sig, self.stop)
        self.loop.add_reader(self._control.fileno(), self.receive_helpers)
        self._control.send(b"ready")
        await self._asked_to_stop.wait()
        for sock in self._listening:
            self.loop.remove_reader(sock.fileno())
            sock.close()
        try:
            await asyncio.wait_for(self._stopped.wait(), STOP_S)
        except TimeoutError:
            for wire in list(self.wires):
                wire.abort()


def _turn_away(sock: socket.socket, refusal: bytes) -> None:
    try:
        sock.send(refusal)
    except OSError:
        pass
    sock.close()


class _Unsecured(Session):
    """Waits for the handshake on a port that speaks TLS from the first byte, then lets the real session begin."""

    def __init__(self, wire: Wire, factory: Callable[[Wire], Session]) -> None:
        super().__init__(wire)
        self._factory = factory

    def secured(self) -> None:
        _open(self.wire, self._factory)


class _Behind(Session):
    """Waits for what a load balancer says of its client; then all is as if that had come itself."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self._heard = b""
        wire.deadline(_PROXY_S)

    def received(self, data: bytes) -> None:
        self._heard += data
        try:
            header = proxy.parse(self._heard)
        except proxy.BadHeader as error:
            self._refuse(str(error))
            return
        if header is not None:
            self.wire.peer = header.peer or self.wire.peer
            self.wire.worker.admit(self.wire, self._heard[header.octets:])

    def timed_out(self) -> None:
        self._refuse("no PROXY header")

    def _refuse(self, why: str) -> None:
        log.event("refuse", service=self.wire.listener, peer=self.wire.peer[0], why=why,
                  remedy="let the balancer send one, or take it out of smtp.proxy_from")
        self.wire.abort()


def _open(wire: Wire, factory: Callable[[Wire], Session]) -> None:
    wire.session = factory(wire)
