"""supervise: start the daemons of a sandbox, keep them running, say where they are, stop them.

A program of its own (pymta-sandbox turns into it when the tree is ready) so that it is small while everything runs: no asyncio,
no TLS, no argparse.  It sleeps until something happens: a signal, a daemon's word on its NOTIFY_SOCKET, the end of a process.

argv: the number of a descriptor that holds the plan, a JSON object (see Plan).
"""
from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import socket

from pymta import durable, log
from pymta.sandbox.daemon import Daemon, kill, processes

READY_S = 60.0                                          # a busy machine may take long; two cores take about 3 s
STOP_S = 8.0                                            # then SIGKILL; all is gone within 10 s
LOOK_S = 60.0                                           # a slow look for processes nobody told us about
_SOON_S = (0.1, 0.3, 0.6, 1.0, 3.0, 10.0)               # looks after one another when something has ended or begun
_AGAIN_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)               # before a daemon is started for the nth time within a minute


class Trouble(Exception):
    """The sandbox cannot run; the text says why and what to do."""


class Supervisor:
    """The plan in action.  plan: {"directory", "endpoints": all of endpoints.json but pids, "daemons": [[name, command,
    [[listener, descriptor], ...]], ...], "tls": listeners that speak TLS at once, "watch": a command or null}."""

    def __init__(self, plan: dict) -> None:
        self.directory = plan["directory"]
        self.endpoints = plan["endpoints"]
        self.tls = set(plan["tls"])
        self.watch_command: list[str] | None = plan["watch"]
        self.log_path = self.endpoints["log"]
        self.endpoints_path = os.path.join(self.directory, "endpoints.json")
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "JOURNAL_", "PYTHON"))}
        self.environment["PYTHONPATH"] = plan["path"]
        self.daemons = []
        for name, command, descriptors in plan["daemons"]:
            sockets = [(listener, socket.socket(fileno=number)) for listener, number in descriptors]
            for _, sock in sockets:
                sock.set_inheritable(False)
            self.daemons.append(Daemon(name, command, sockets))
        self.stopping = False
        self.children: dict[int, str] = {}              # other children: pid -> probe, watch
        self.pids: dict[str, list[int]] = {}
        self.watched: dict[int, int] = {}               # pid -> pidfd
        self.published = False
        self.look_at = 0.0                              # when to look for processes next
        self.looks = 0                                  # how many of _SOON_S have been taken
        self.poll = select.poll()
        self.wake, wake = socket.socketpair()
        for sock in (self.wake, wake):
            sock.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _stop(self, number: int, frame: object) -> None:
        self.stopping = True

    # ---- running ------------------------------------------------------------------------------------------------------
    def run(self) -> int:
        """Until told to stop.  Returns the exit status."""
        status = 0
        self.poll.register(self.wake, select.POLLIN)
        for daemon in self.daemons:
            self.poll.register(daemon.notice, select.POLLIN)
        try:
            for daemon in self.daemons:
                daemon.start(self.log_path, dict(self.environment))
            self.begin()
            while not self.stopping:
                self.turn()
        except Trouble as error:
            sys.stderr.write(f"pymta-sandbox: {error}\n")
            status = 75
        finally:
            self.stop()
        return status

    def begin(self) -> None:
        """Wait for every daemon, try every port, then say so."""
        end = time.monotonic() + READY_S
        while not self.stopping and not all(daemon.ready for daemon in self.daemons):
            self.turn(end)
            late = [daemon.name for daemon in self.daemons if not daemon.ready]
            if late and time.monotonic() > end:
                raise Trouble(f"{', '.join(late)}: not ready after {READY_S:.0f} s; see {self.log_path}")
        if self.stopping:
            return
        probe = os.fork()
        if probe == 0:
            self.probe()
        self.children[probe] = "probe"
        while probe in self.children and not self.stopping:
            self.turn(end + READY_S)
        if self.stopping:
            return
        self.look()
        self.publish()
        self.published = True
        try:
            print("ready", self.endpoints_path, flush=True)
        except OSError:
            pass                                        # nobody listens any more; the file says it too
        if self.watch_command:
            self.start_watch()
        self.catch_up_log()

    def catch_up_log(self) -> None:
        """From now on, what we have to say goes where the daemons' words go."""
        written = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.dup2(written, 2)
        os.close(written)

    def turn(self, end: float | None = None) -> None:
        """Wait for the next thing and deal with it; at most until end (monotonic seconds)."""
        now = time.monotonic()
        times = [self.look_at, *(daemon.again_at for daemon in self.daemons if not daemon.pid)]
        times += [end] if end is not None else []
        for descriptor, _ in self.poll.poll(max(0.0, min(times) - now) * 1000 + 1):
            self.deal(descriptor)
        if self.stopping:
            return
        self.reap()
        self.start_again()
        self.look_if_due()

    def deal(self, descriptor: int) -> None:
        if descriptor == self.wake.fileno():
            try:
                while self.wake.recv(4096):
                    pass
            except BlockingIOError:
                return
        for daemon in self.daemons:
            if descriptor == daemon.notice.fileno():
                daemon.heard()
                self.look_soon()
        for pid, number in list(self.watched.items()):
            if descriptor == number:
                self.forget(pid)
                self.look_soon()                        # its parent may need a moment to replace it

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            what = self.children.pop(pid, None)
            if what == "probe" and code:
                raise Trouble(f"not everything answers; see {self.log_path}")
            for daemon in self.daemons:
                if daemon.pid == pid:
                    self.ended(daemon, code)

    def ended(self, daemon: Daemon, code: int) -> None:
        """A daemon has died: what is left of it goes too, and it is started again as systemd would."""
        self.kill_session(daemon.pid)
        daemon.pid = 0
        if self.stopping:
            return
        if not self.published:
            raise Trouble(f"{daemon.name} ended with status {code} instead of getting ready; see {self.log_path}\n{self.last_words()}")
        wait_s = _AGAIN_S[min(len(daemon.starts), len(_AGAIN_S)) - 1]
        daemon.again_at = time.monotonic() + wait_s
        log.event("trouble", what=f"{daemon.name} ended", status=code, remedy="started again", wait_s=wait_s)

    def last_words(self) -> str:
        with open(self.log_path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 3000))
            return b"\n".join(file.read().split(b"\n")[-12:]).decode("utf-8", "replace").rstrip()

    def start_again(self) -> None:
        now = time.monotonic()
        for daemon in self.daemons:
            if not daemon.pid and daemon.again_at <= now:
                daemon.start(self.log_path, dict(self.environment))
                self.look_soon()

    # ---- who is running -----------------------------------------------------------------------------------------------
    def look_soon(self) -> None:
        """Something is on the move: look in a moment, and a few times more."""
        self.looks = 0
        self.look_at = min(self.look_at, time.monotonic() + _SOON_S[0])

    def look_if_due(self) -> None:
        if time.monotonic() < self.look_at:
            return
        before = self.pids
        self.look()
        if self.published and self.pids != before:
            self.publish()

    def look(self) -> None:
        """Find all processes of each daemon, and ask to be told when one of them ends."""
        self.looks += 1
        self.look_at = time.monotonic() + (_SOON_S[self.looks] if self.looks < len(_SOON_S) else LOOK_S)
        self.pids = processes({daemon.name: daemon.pid for daemon in self.daemons})
        living = {pid for pids in self.pids.values() for pid in pids}
        for pid in set(self.watched) - living:
            self.forget(pid)
        for pid in living - set(self.watched):
            try:
                number = os.pidfd_open(pid)
            except OSError:
                continue                                # gone already, or a kernel before 5.3: the slow look will tell
            self.watched[pid] = number
            self.poll.register(number, select.POLLIN)

    def forget(self, pid: int) -> None:
        number = self.watched.pop(pid)
        self.poll.unregister(number)
        os.close(number)

    def publish(self) -> None:
        text = json.dumps({**self.endpoints, "pids": self.pids}, indent=1) + "\n"
        durable.replace(self.endpoints_path, text.encode(), 0o644)

    def kill_session(self, leader: int) -> None:
        """Kill what a dead daemon has left behind, and see it gone."""
        end = time.monotonic() + 2.0
        while (rest := processes({"": leader})[""]) and time.monotonic() < end:
            for pid in rest:
                kill(pid, signal.SIGKILL)
                try:
                    os.waitpid(pid, os.WNOHANG)         # ours now: orphans are adopted
                except ChildProcessError:
                    pass
            time.sleep(0.01)

    # ---- trying the ports ---------------------------------------------------------------------------------------------
    def probe(self) -> None:
        """In a child: hear a greeting on every port."""
        status = 1
        try:
            for daemon in self.daemons:
                for name, sock in daemon.sockets:
                    where = sock.getsockname()
                    try:
                        greeting = _greeting(where, name in self.tls)
                    except OSError as error:
                        greeting = str(error).encode()
                    if not greeting.startswith((b"220", b"* OK", b"+OK")):
                        raise Trouble(f"{daemon.name} does not answer on {name} ({where}): {greeting.decode('ascii', 'replace')}")
            status = 0
        except BaseException as error:
            sys.stderr.write(f"pymta-sandbox: {error}\n")
        finally:
            os._exit(status)

    def start_watch(self) -> None:
        assert self.watch_command
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                from pymta import privs
                privs.die_with_parent(parent)
                signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C: we end it
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.execve(self.watch_command[0], self.watch_command, self.environment)
            finally:
                os._exit(71)
        self.children[pid] = "watch"

    # ---- the end ------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """Stop everything within 10 s; nothing is left of it."""
        self.stopping = True
        durable.unlink_if_there(self.endpoints_path)
        leaders = [daemon.pid for daemon in self.daemons if daemon.pid]
        for pid in [*leaders, *self.children]:
            kill(pid, signal.SIGTERM)
        end = time.monotonic() + STOP_S
        while time.monotonic() < end and any(daemon.pid for daemon in self.daemons):
            self.poll.poll(max(0.0, end - time.monotonic()) * 1000 if not self.watched else 200)
            for descriptor, _ in self.poll.poll(0):
                self.deal(descriptor)
            self.reap()
        for pid in [*leaders, *self.children]:
            self.kill_session(pid)
        while self._kill_children():
            time.sleep(0.01)

    def _kill_children(self) -> bool:
        """Kill every process that is still ours; whether there was one."""
        rest = processes({"": os.getpid()})[""]
        for pid in rest:
            if pid != os.getpid():
                kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return False
        return True


def _greeting(where: tuple | str, tls: bool) -> bytes:
    """What is said at (host, port) or the path of a Unix socket."""
    with socket.socket(socket.AF_UNIX) if isinstance(where, str) else socket.socket(
            socket.AF_INET6 if ":" in where[0] else socket.AF_INET) as sock:
        sock.settimeout(20)
        sock.connect(where)
        if tls:
            import ssl
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE    # whether it answers is the question
            with context.wrap_socket(sock) as wrapped:
                return wrapped.recv(512)
        return sock.recv(512)


def main(argv: list[str] | None = None) -> int:
    number = int((argv if argv is not None else sys.argv[1:])[0])
    with open(number, encoding="utf-8") as file:
        plan = json.load(file)
    log.start("pymta-sandbox")
    sys.excepthook = sys.__excepthook__
    return Supervisor(plan).run()


if __name__ == "__main__":
    sys.exit(main())
