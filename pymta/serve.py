"""serve: the I/O half of every network daemon.

A parent that reads no byte from the network binds the sockets (or inherits them: LISTEN_FDS, LISTEN_FDNAMES), forks the
helper children and the workers, hands each worker a socket to each helper, starts again what dies, and passes the end on.
A worker accepts from the shared sockets and gives every connection to a Session of the program as a Wire:

    bytes from the peer ─▶ Session.received(data)        Session ─▶ wire.send(data) ─▶ bytes to the peer

A worker that dies ends its sessions only; a helper that dies is started again and its workers get new sockets to it.
"""
from __future__ import annotations

import asyncio
import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pymta import clock, durable, log, privs, tls_files
from pymta.listening import bind, give, inherited
from pymta.notify import notify
from pymta.settings import Settings
from pymta.trim import trim
from pymta.wire import Session, Wire
from pymta.worker import STOP_S, TLS, Gate, Worker

__all__ = ["Clients", "Gate", "Service", "Session", "Wire", "Worker", "run"]

_FILES_MAX = 65536
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
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
    return _Parent(service, settings, listening, give(listening, service.account) if ours else []).run()


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
                socket.send_fds(worker.control, [TLS.encode()], [bundle])
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
            names, descriptors = [*names, TLS], [*descriptors, self.files.bundle()]
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
        for sig, wait_s, pids in ((signal.SIGTERM, STOP_S + 1, workers), (signal.SIGTERM, 1.0, None), (signal.SIGKILL, 1.0, None)):
            for pid in list(self.children):
                if pids is None or pid in pids:
                    os.kill(pid, sig)
            end = clock.tick() + wait_s
            while clock.tick() < end and (pids & set(self.children) if pids is not None else self.children):
                signal.sigtimedwait({signal.SIGCHLD}, 0.2)
                self.reap(again=False)
        log.event("stop")
        return 0
