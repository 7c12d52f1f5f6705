"""daemon: start one daemon of a sandbox as systemd would, hear it say READY=1, and find all its processes."""
from __future__ import annotations

import os
import signal
import socket
import time


class Daemon:
    """One daemon: its command, its sockets (name -> listening sockets), the socket it says READY=1 on."""

    def __init__(self, name: str, command: list[str], sockets: list[tuple[str, socket.socket]]) -> None:
        self.name = name
        self.command = command
        self.sockets = sockets
        self.pid = 0
        self.ready = False
        self.starts: list[float] = []
        self.again_at = 0.0                             # when to start it again, if pid is 0
        self.address = f"@pymta-sandbox-{os.getpid()}-{os.urandom(4).hex()}-{name}"     # abstract: no path, no limit of 108
        self.notice = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notice.bind("\0" + self.address[1:])
        self.notice.setblocking(False)

    def start(self, log_path: str, environment: dict[str, str]) -> None:
        self.starts = [at for at in self.starts if time.monotonic() - at < 60] + [time.monotonic()]
        self.ready = False
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid:
            return
        try:
            self._become(log_path, environment, parent)
        except BaseException as error:
            os.write(2, f"pymta-sandbox: cannot start {self.name}: {error}\n".encode())
        finally:
            os._exit(71)

    def _become(self, log_path: str, environment: dict[str, str], parent: int) -> None:
        from pymta import privs
        os.setsid()                                     # a Ctrl-C is for the sandbox; and all its processes are found by it
        privs.die_with_parent(parent)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        written = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(written, 1)
        os.dup2(written, 2)
        self._pass_sockets(environment)
        environment["NOTIFY_SOCKET"] = self.address
        os.execve(self.command[0], self.command, environment)

    def _pass_sockets(self, environment: dict[str, str]) -> None:
        """As systemd does (sd_listen_fds(3)): descriptors from 3 on, described in the environment."""
        if not self.sockets:
            return
        import fcntl
        high = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 200) for _, sock in self.sockets]
        for number, descriptor in enumerate(high, 3):
            os.dup2(descriptor, number)
        environment["LISTEN_PID"] = str(os.getpid())
        environment["LISTEN_FDS"] = str(len(high))
        environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in self.sockets)

    def heard(self) -> None:
        """Read what it said."""
        while True:
            try:
                words = self.notice.recv(4096).split(b"\n")
            except (BlockingIOError, InterruptedError):
                return
            if b"READY=1" in words:
                self.ready = True


def processes(leaders: dict[str, int]) -> dict[str, list[int]]:
    """name -> pids of the process of that name, its descendants, and all of its session, itself first; none for pid 0."""
    parents: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent, _, session = file.read().rpartition(b")")[2].split()[:4]
            except (OSError, ValueError):
                continue                                # gone meanwhile
            if state not in (b"Z", b"X"):
                parents[int(name)] = (int(parent), int(session))
    out = {}
    for name, leader in leaders.items():
        found = {pid for pid, (_, session) in parents.items() if session == leader or pid == leader} if leader else set()
        grown = True
        while grown:
            more = {pid for pid, (parent, _) in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        out[name] = sorted(found, key=lambda pid: (pid != leader, pid))
    return out


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may have gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
