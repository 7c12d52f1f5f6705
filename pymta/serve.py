"""serve: the I/O half of every network daemon.

A parent that reads no byte from the network binds the sockets (or inherits them: LISTEN_FDS, LISTEN_FDNAMES), forks the
helper children and the workers, hands each worker a socket to each helper, starts again what dies, and passes the end on.
A worker accepts from the shared sockets and gives every connection to a Session of the program as a Wire:

    bytes from the peer ─▶ Session.received(data)        Session ─▶ wire.send(data) ─▶ bytes to the peer

A worker that dies ends its sessions only; a helper that dies is started again and its workers get new sockets to it.
"""
from __future__ import annotations

import asyncio
import errno
import os
import resource
import select
import signal
import socket
import ssl
from dataclasses import dataclass, field
from typing import Callable, Mapping, Protocol

from pymta import clock, durable, log, privs, tls, tls_files
from pymta.notify import notify
from pymta.proto import proxy
from pymta.settings import Settings
from pymta.trim import trim
from pymta.wire import Session, Wire, plain

__all__ = ["Clients", "Service", "Session", "Wire", "Worker", "run"]

_BACKLOG = 1024
_FILES_MAX = 65536
_ACCEPTS_A_TURN = 16
_TELL_EVERY_S = 10.0
_PROXY_S = 10.0                                         # a balancer has its header ready
_STOP_S = 5.0
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_TLS = "tls"                                            # among the names of what is handed down
AS_ROOT = "root"                                        # the account of a helper that keeps its rights (sessions.py alone)


@dataclass(frozen=True)
class Service:
    """What a daemon is.

    listeners: name -> addresses; tls_listeners: names that speak TLS from the first byte.  open: called once in each worker,
    returns the factory of sessions.  account: whom workers become.  helpers: name -> (account, function); the function runs in
    a child of its own as fn(settings, clients), clients being a Clients that yields a connected socket for every worker.
    full: what a connection over sessions_max is told.  gate: called once in each worker: who else may not come in.  A listener's host
    that begins with / is the path of a Unix socket.  behind: whether a peer is a load balancer that says first whose connection it is.
    """

    name: str
    listeners: Mapping[str, tuple[tuple[str, int], ...]]
    open: Callable[["Worker"], Callable[["Wire"], "Session"]]
    tls_listeners: frozenset[str] = frozenset()
    workers: int = 1
    sessions_max: int = 2000
    account: str = ""
    helpers: Mapping[str, tuple[str, Callable[[Settings, "Clients"], None]]] = field(default_factory=dict)
    full: bytes = b""
    gate: Callable[["Worker"], "Gate | None"] | None = None
    behind: Callable[[str], bool] | None = None


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
        self._stopping = False
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
        for name, descriptor in zip(message.decode("ascii").split(), descriptors):
            if name == _TLS:
                self.certificates.take(descriptor)
                continue
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
                self.loop.call_later(0.5, lambda: self._stopping or self.loop.add_reader(listening.fileno(), self.accept, listening, name))
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
        if self._stopping and not self.wires:
            self._stopped.set()

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
        for name, sock in listening:
            self.loop.add_reader(sock.fileno(), self.accept, sock, name)
        for sig in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(sig, self.stop)
        self.loop.add_reader(self._control.fileno(), self.receive_helpers)
        self._control.send(b"ready")
        await self._asked_to_stop.wait()
        for _, sock in listening:
            self.loop.remove_reader(sock.fileno())
            sock.close()
        try:
            await asyncio.wait_for(self._stopped.wait(), _STOP_S)
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


# ---- the parent -------------------------------------------------------------------------------------------------------
class Clients:
    """In a helper child: iterate to get a connected socket for each worker, as they come; ends with the parent."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control

    def fileno(self) -> int:
        return self.control.fileno()

    def next(self) -> socket.socket | None:
        """The next worker's socket (waits for it); None when the parent is gone."""
        message, descriptors, _, _ = socket.recv_fds(self.control, 64, 1)
        return socket.socket(fileno=descriptors[0]) if message and descriptors else None


@dataclass
class _Child:
    name: str
    pid: int
    control: socket.socket
    started: float


def _heard(worker: _Child) -> bool:
    """Whether a worker asks for something.  One that has gone is reaped when the kernel says so."""
    try:
        return bool(worker.control.recv(4096, socket.MSG_DONTWAIT))
    except OSError:
        return False


def bind(addresses: tuple[tuple[str, int], ...]) -> list[socket.socket]:
    """Listening sockets for addresses.  `::` takes IPv4 too.  OSError names the address."""
    out = []
    for host, port in addresses:
        if host.startswith("/"):
            out.append(_bind_path(host))
            continue
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            if host == "::" and not socket.has_ipv6:
                family, host = socket.AF_INET, "0.0.0.0"
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
            sock.bind((host, port))
            sock.listen(_BACKLOG)
        except OSError as error:
            if host == "::" and error.errno in (97, 99):        # no IPv6 in this kernel or container
                out += bind((("0.0.0.0", port),))
                continue
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None
        out.append(sock)
    return out


def _bind_path(path: str) -> socket.socket:
    """A listening Unix socket, for its owner and group.  What a crash left of another one is taken away."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(path)
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        except ConnectionRefusedError:
            durable.unlink_if_there(path)
        except FileNotFoundError:
            pass
        mask = os.umask(0o117)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror or error}") from None
    return sock


def _give(listening: list[tuple[str, socket.socket]], account: str) -> list[str]:
    """The paths of Unix sockets that were made here, each given to account."""
    paths = [sock.getsockname() for _, sock in listening if sock.family == socket.AF_UNIX]
    if paths and account and privs.is_root():
        import pwd
        entry = pwd.getpwnam(account)
        for path in paths:
            try:
                os.chown(path, entry.pw_uid, entry.pw_gid)
            except PermissionError:                     # root by name only, as our units make it
                log.event("trouble", what=f"cannot give {path} to {account}", remedy="let a socket unit open it, with SocketGroup=")
    return paths


def inherited() -> list[tuple[str, socket.socket]]:
    """Sockets that systemd opened for us: [(name, socket)], each wrapped exactly once."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    out = []
    for number in range(int(os.environ.get("LISTEN_FDS", "0"))):
        sock = socket.socket(fileno=3 + number)
        sock.set_inheritable(False)
        out.append((names[number] if number < len(names) else "", sock))
    return out


def _allow_many_files() -> None:
    """As many open files as the administrator lets us have: a shell gives 1024, fewer than one worker may have sessions."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(service: Service, settings: Settings) -> int:
    """Be the parent until told to stop.  Returns the exit status (0; 71 where a socket cannot be opened; 67 without account)."""
    log.start(service.name)
    for complaint in settings.complaints:
        log.event("config", why=complaint)
    try:
        listening = [(name, sock) for name, sock in inherited() if name in service.listeners]
        ours = not listening
        if ours:
            listening = [(name, sock) for name, addresses in service.listeners.items() for sock in bind(addresses)]
    except OSError as error:
        log.event("trouble", what=str(error.strerror or error), remedy="stop what holds the port, or change the setting in pymta.conf")
        return 71
    for _, sock in listening:
        sock.setblocking(False)
    _allow_many_files()
    if privs.is_root():
        import pwd
        for account in {service.account, *(account for account, _ in service.helpers.values())} - {""}:
            try:
                pwd.getpwnam(account)
            except KeyError:
                log.event("trouble", what=f"no account {account}", remedy="make the accounts, see pymta(7)")
                return 67
    tls_files.make_first(settings)
    return _Parent(service, settings, listening, _give(listening, service.account) if ours else []).run()


class _Parent:
    def __init__(self, service: Service, settings: Settings, listening: list[tuple[str, socket.socket]], paths: list[str]) -> None:
        self.service = service
        self.paths = paths                              # of the Unix sockets that go with us
        self.settings = settings
        self.listening = listening
        self.children: dict[int, _Child] = {}
        self.helpers: dict[str, _Child] = {}
        self.workers: dict[int, _Child] = {}
        self.files = tls_files.Files(settings)
        self.told: set[int] = set()                     # signals that have come

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for sig in _SIGNALS:
            signal.signal(sig, lambda number, _: self.told.add(number))
        trim()
        self.files.changed(now=True)
        for name in self.service.helpers:
            self.start_helper(name)
        for number in range(max(1, self.service.workers)):
            self.start_worker(number)
        for child in self.workers.values():
            child.control.settimeout(20)
            try:
                child.control.recv(16)
            except OSError:
                log.event("trouble", what="a worker does not get ready")
        notify("READY=1")
        log.event("start", pid=os.getpid(), listen=" ".join(f"{name}:{where if isinstance(where, str) else where[1]}"
                                                            for name, sock in self.listening for where in [sock.getsockname()]))
        self.wait()
        return self.stop()

    def wait(self) -> None:
        """Sleep until told to stop.  What wakes us: a child's end, a SIGHUP, a worker that asks for new certificates."""
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        while not self.told & {signal.SIGTERM, signal.SIGINT}:
            ready = select.select([wake, *(worker.control for worker in self.workers.values())], [], [])[0]
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            asked = signal.SIGHUP in self.told
            if wake in ready:
                wake.recv(4096)
            asked |= any([_heard(worker) for worker in self.workers.values() if worker.control in ready])
            if signal.SIGCHLD in self.told:
                self.told.discard(signal.SIGCHLD)
                self.reap()
            if asked:
                self.look_at_certificates()
            self.told.discard(signal.SIGHUP)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def look_at_certificates(self) -> None:
        """Hand new ones to all workers."""
        if not self.files.changed(now=signal.SIGHUP in self.told):
            return
        bundle = self.files.bundle()
        for worker in self.workers.values():
            try:
                socket.send_fds(worker.control, [_TLS.encode()], [bundle])
            except OSError:
                pass                                    # it has just died, and gets them with its next life
        os.close(bundle)

    def fork(self, name: str) -> tuple[int, socket.socket]:
        """(0, the child's end) in the child, (pid, our end) in the parent."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        parent = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            return pid, ours
        for child in self.children.values():
            child.control.close()
        ours.close()
        self.parent = parent
        return 0, theirs

    def start_helper(self, name: str) -> None:
        pid, control = self.fork(name)
        if pid == 0:
            self.child(lambda: self.help(name, control))
        self.helpers[name] = self.children[pid] = _Child(name, pid, control, clock.tick())
        for worker in self.workers.values():
            self.connect(worker, [name])

    def start_worker(self, number: int) -> None:
        pid, control = self.fork(f"worker{number}")
        if pid == 0:
            self.child(lambda: self.work(number, control))
        self.workers[number] = self.children[pid] = _Child(f"worker{number}", pid, control, clock.tick())
        self.connect(self.workers[number], list(self.service.helpers), new=True)

    def connect(self, worker: _Child, names: list[str], *, new: bool = False) -> None:
        """Give a worker and each named helper the two ends of a new socket pair; a new worker the certificates too."""
        ends: list[socket.socket] = []
        for name in names:
            one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                socket.send_fds(self.helpers[name].control, [b"client"], [other.fileno()])
            except OSError:
                pass                                    # it has just died: reap starts another
            other.close()
            ends.append(one)
        descriptors = [one.detach() for one in ends]
        if new:
            names, descriptors = [*names, _TLS], [*descriptors, self.files.bundle()]
        try:
            socket.send_fds(worker.control, [" ".join(names).encode("ascii")], descriptors)
        except OSError:
            pass
        for descriptor in descriptors:
            os.close(descriptor)

    def child(self, work: Callable[[], None]) -> None:
        """The rest of a child's life."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(sig, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, set())
            work()
            status = 0
        except KeyboardInterrupt:
            status = 0
        except BaseException as error:
            log.bug(self.service.name, error)
        finally:
            os._exit(status)

    def help(self, name: str, control: socket.socket) -> None:
        for _, sock in self.listening:
            sock.close()
        account, function = self.service.helpers[name]
        if account != AS_ROOT:
            privs.become_account(account or self.service.account)
        privs.die_with_parent(self.parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)    # a Ctrl-C is for the parent to pass on
        function(self.settings, Clients(control))

    def work(self, number: int, control: socket.socket) -> None:
        if self.service.account:
            privs.become_account(self.service.account)
        privs.die_with_parent(self.parent)
        worker = Worker(self.service, self.settings, number, control)
        worker.receive_helpers()
        control.setblocking(False)
        asyncio.run(worker.run(self.listening))

    def reap(self, *, again: bool = True) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self.children.pop(pid, None)
            if child is None or not again:
                continue
            child.control.close()
            log.event("trouble", what=f"{child.name} ended", pid=pid, status=os.waitstatus_to_exitcode(status), remedy="started again")
            if clock.tick() - child.started < 1.0:
                import time
                time.sleep(0.5)                         # it dies at once: do not spin
            if child.name in self.helpers:
                self.start_helper(child.name)
            else:
                self.start_worker(int(child.name[6:]))

    def stop(self) -> int:
        notify("STOPPING=1")
        for _, sock in self.listening:
            sock.close()
        for path in self.paths:
            try:
                durable.unlink_if_there(path)
            except OSError:
                pass                                    # the next start will
        workers = {child.pid for child in self.workers.values()}
        for sig, wait_s, pids in ((signal.SIGTERM, _STOP_S + 1, workers), (signal.SIGTERM, 1.0, None), (signal.SIGKILL, 1.0, None)):
            for pid in list(self.children):
                if pids is None or pid in pids:
                    os.kill(pid, sig)
            end = clock.tick() + wait_s
            while clock.tick() < end and (pids & set(self.children) if pids is not None else self.children):
                signal.sigtimedwait({signal.SIGCHLD}, 0.2)
                self.reap(again=False)
        log.event("stop")
        return 0
