"""parent: the process of a network daemon that reads no byte from the network: it forks the others, replaces what dies, reloads, ends.

The children that work by one configuration are a generation.  SIGHUP reads the configuration again.  If something in it is wrong, what is
in force stays so and the log says why.  Else a new generation takes over the listening sockets; the workers of the old one accept nothing
more, and each ends with its last session.  A second reload does not wait for them: it asks them to say goodbye.

Where the service manager wants to know that we live (WatchdogSec=), the parent tells it so, and asks each worker in turn: one that has not
answered by the next time hangs, and is killed and replaced.
"""
from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pymta import clock, durable, log, privs
from pymta.daemon import notify, reload
from pymta.tls import files as tls_files
from pymta.serve.service import AS_ROOT, Clients, Service
from pymta.settings import Settings
from pymta.daemon.trim import trim
from pymta.serve.worker import ALIVE, ASKS_ALIVE, RETIRE, STOP_S, TLS, Worker

_READY_S = 20.0
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@dataclass
class _Child:
    name: str
    pid: int
    control: socket.socket
    generation: _Generation
    started: float
    silent: bool = False                                # was asked whether it lives, and has not answered yet


@dataclass
class _Generation:
    """The children that work by one configuration."""

    service: Service
    settings: Settings
    helpers: dict[str, _Child] = field(default_factory=dict)
    workers: dict[int, _Child] = field(default_factory=dict)


def missing_account(service: Service) -> str:
    """An account that the children are to become, and that does not exist; empty where all do."""
    if not privs.is_root():
        return ""
    import pwd
    for account in sorted({service.account, *(account for account, _ in service.helpers.values())} - {""}):
        try:
            pwd.getpwnam(account)
        except KeyError:
            return account
    return ""


class Parent:
    """make: the service by a configuration.  paths: of Unix sockets that go with us."""

    def __init__(self, make: Callable[[Settings], Service], service: Service, settings: Settings,
                 listening: list[tuple[str, socket.socket]], paths: list[str]) -> None:
        self.make = make
        self.now = _Generation(service, settings)
        self.retired: list[_Generation] = []
        self.paths = paths
        self.listening = listening
        self.children: dict[int, _Child] = {}
        self.files = tls_files.Files(settings)
        self.told: set[int] = set()                     # signals that have come

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for sig in _SIGNALS:
            signal.signal(sig, lambda number, _: self.told.add(number))
        trim()
        self.files.changed(now=True)
        self.begin()
        notify.notify("READY=1")
        log.event("start", pid=os.getpid(), listen=" ".join(f"{name}:{where if isinstance(where, str) else where[1]}"
                                                            for name, sock in self.listening for where in [sock.getsockname()]))
        self.wait()
        return self.stop()

    def begin(self) -> None:
        """Start the children of this generation, and wait until they work."""
        for name in self.now.service.helpers:
            self.start_helper(self.now, name)
        for number in range(max(1, self.now.service.workers)):
            self.start_worker(self.now, number)
        for worker in self.now.workers.values():
            worker.control.settimeout(_READY_S)
            try:
                worker.control.recv(16)
            except OSError:
                log.event("trouble", what="a worker does not get ready")

    def workers(self) -> Iterator[_Child]:
        for generation in (self.now, *self.retired):
            yield from generation.workers.values()

    # ---- waiting ------------------------------------------------------------------------------------------------------
    def wait(self) -> None:
        """Sleep until told to stop.  What wakes us: a child's end, a SIGHUP, what a worker says, the time to say that we live."""
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        watch_s = notify.watch_s()
        while not self.told & {signal.SIGTERM, signal.SIGINT}:
            ready = select.select([wake, *(worker.control for worker in self.workers())], [], [], watch_s)[0]
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            if wake in ready:
                wake.recv(4096)
            asked = any([self.heard(worker) for worker in list(self.workers()) if worker.control in ready])
            if signal.SIGCHLD in self.told:
                self.told.discard(signal.SIGCHLD)
                self.reap()
            if signal.SIGHUP in self.told:
                self.told.discard(signal.SIGHUP)
                self.reload()
            elif asked:
                self.look_at_certificates()
            if watch_s is not None and notify.alive():
                self.ask_workers()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def heard(self, worker: _Child) -> bool:
        """Whether a worker asks for certificates.  One that has gone is reaped when the kernel says so."""
        try:
            said = worker.control.recv(4096, socket.MSG_DONTWAIT)
        except OSError:
            return False
        if ALIVE in said:
            worker.silent = False
        return bool(said.replace(ALIVE, b""))

    def ask_workers(self) -> None:
        """Kill a worker that has not answered since it was last asked, and ask the others."""
        for worker in self.workers():
            if worker.silent:
                log.event("trouble", what=f"{worker.name} hangs", pid=worker.pid, remedy="killed, and started again; its sessions come back")
                os.kill(worker.pid, signal.SIGKILL)
                continue
            try:
                worker.control.send(ASKS_ALIVE + b" ", socket.MSG_DONTWAIT)
                worker.silent = True
            except OSError:
                pass                                    # it has died, and is replaced

    def look_at_certificates(self, *, now: bool = False) -> None:
        """Hand new ones to all workers."""
        if not self.files.changed(now=now):
            return
        bundle = self.files.bundle()
        for worker in self.workers():
            try:
                socket.send_fds(worker.control, [TLS + b" "], [bundle])
            except OSError:
                pass                                    # it has just died, and gets them with its next life
        os.close(bundle)

    # ---- another configuration ----------------------------------------------------------------------------------------
    def reload(self) -> None:
        settings = reload.reread(self.now.settings)
        if settings is None:
            self.look_at_certificates(now=True)
            return
        if settings.texts == self.now.settings.texts:
            self.look_at_certificates(now=True)
            log.event("reload", changed=0)
            return
        service = self.make(settings)
        if service.listeners != self.now.service.listeners or settings["host.spool"] != self.now.settings["host.spool"]:
            log.event("config", why="where this daemon listens, or its spool, has changed", remedy="restart it; until then the old ones hold")
        notify.notify("RELOADING=1")
        before, self.now = self.now, _Generation(service, settings)
        self.files = tls_files.Files(settings)
        self.files.changed(now=True)
        for generation in self.retired:
            for worker in generation.workers.values():
                os.kill(worker.pid, signal.SIGTERM)
        self.retired.append(before)
        self.begin()
        for worker in before.workers.values():
            try:
                worker.control.send(RETIRE + b" ")
            except OSError:
                pass
        notify.notify("READY=1")
        log.event("reload", changed=len([name for name, text in settings.texts.items() if before.settings.texts.get(name) != text]))

    # ---- children -----------------------------------------------------------------------------------------------------
    def fork(self) -> tuple[int, socket.socket]:
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

    def start_helper(self, generation: _Generation, name: str) -> None:
        pid, control = self.fork()
        if pid == 0:
            self.child(generation, lambda: self.help(generation, name, control))
        generation.helpers[name] = self.children[pid] = _Child(name, pid, control, generation, clock.tick())
        for worker in generation.workers.values():
            self.connect(worker, [name])

    def start_worker(self, generation: _Generation, number: int) -> None:
        pid, control = self.fork()
        if pid == 0:
            self.child(generation, lambda: self.work(generation, number, control))
        generation.workers[number] = self.children[pid] = _Child(f"worker{number}", pid, control, generation, clock.tick())
        self.connect(generation.workers[number], list(generation.service.helpers), new=True)

    def connect(self, worker: _Child, names: list[str], *, new: bool = False) -> None:
        """Give a worker and each named helper the two ends of a new socket pair; a new worker the certificates too."""
        ends: list[socket.socket] = []
        for name in names:
            one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                socket.send_fds(worker.generation.helpers[name].control, [b"client"], [other.fileno()])
            except OSError:
                pass                                    # it has just died: reap starts another
            other.close()
            ends.append(one)
        descriptors = [one.detach() for one in ends]
        words = [name.encode("ascii") for name in names]
        if new:
            words, descriptors = [*words, TLS], [*descriptors, self.files.bundle()]
        try:
            socket.send_fds(worker.control, [b" ".join(words) + b" "], descriptors)
        except OSError:
            pass
        for descriptor in descriptors:
            os.close(descriptor)

    def child(self, generation: _Generation, work: Callable[[], None]) -> None:
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
            log.bug(generation.service.name, error)
        finally:
            os._exit(status)

    def help(self, generation: _Generation, name: str, control: socket.socket) -> None:
        for _, sock in self.listening:
            sock.close()
        account, function = generation.service.helpers[name]
        if account != AS_ROOT:
            privs.become_account(account or generation.service.account)
        privs.die_with_parent(self.parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)    # a Ctrl-C is for the parent to pass on
        function(generation.settings, Clients(control))

    def work(self, generation: _Generation, number: int, control: socket.socket) -> None:
        if generation.service.account:
            privs.become_account(generation.service.account)
        privs.die_with_parent(self.parent)
        worker = Worker(generation.service, generation.settings, number, control)
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
            if child.generation is self.now:
                self.replace(child, os.waitstatus_to_exitcode(status))
            else:
                self.bury(child)

    def replace(self, child: _Child, status: int) -> None:
        log.event("trouble", what=f"{child.name} ended", pid=child.pid, status=status, remedy="started again")
        if clock.tick() - child.started < 1.0:
            time.sleep(0.5)                             # it dies at once: do not spin
        if child.name in self.now.helpers:
            self.start_helper(self.now, child.name)
        else:
            self.start_worker(self.now, int(child.name.removeprefix("worker")))

    def bury(self, child: _Child) -> None:
        """One of a retired generation has ended.  Its helpers go when its workers have gone."""
        generation = child.generation
        for number, worker in list(generation.workers.items()):
            if worker is child:
                del generation.workers[number]
        if not generation.workers and generation in self.retired:
            self.retired.remove(generation)
            for helper in generation.helpers.values():
                if helper.pid in self.children:
                    os.kill(helper.pid, signal.SIGTERM)

    def stop(self) -> int:
        notify.notify("STOPPING=1")
        for _, sock in self.listening:
            sock.close()
        for path in self.paths:
            try:
                durable.unlink_if_there(path)
            except OSError:
                pass                                    # the next start will
        workers = {worker.pid for worker in self.workers()}
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
