"""One daemon alone on a tree of its own, so that a test sees what it leaves in its intake: no runner takes it away."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

from pymta import layout
from pymta.formats import queuefile
from pymta.sandbox import certificate
from tests.running import ROOT, new_directory

NOBODY = 65534
# What a service manager does: the sockets stand from 3 on, and LISTEN_PID names the daemon itself
_LAUNCH = ("import os, sys\nfds = [int(n) for n in sys.argv[1].split(',') if n]\nhigh = [os.dup2(n, 100 + i) for i, n in enumerate(fds)]\n"
           "for i, n in enumerate(high): os.dup2(n, 3 + i)\nos.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), "
           "LISTEN_FDNAMES=sys.argv[2])\nos.execv(sys.executable, [sys.executable, *sys.argv[3:]])\n")


class Alone:
    """program: of bin/; listeners: names of its sockets; given: settings; files: name in etc -> text; with_tls: whether there is a certificate;
    spool: another one's."""

    def __init__(self, program: str, listeners: tuple[str, ...], given: dict[str, str] | None = None, files: dict[str, str] | None = None,
                 *, with_tls: bool = False, environment: dict[str, str] | None = None, spool: str = "") -> None:
        self.directory = new_directory()
        self.etc, self.spool = os.path.join(self.directory, "etc"), spool or os.path.join(self.directory, "spool")
        os.mkdir(self.etc)
        if not spool:
            layout.make_spool(self.spool, single_uid=True)
        lines = {"host.name": "mx.example.test", "host.spool": self.spool, "host.run": self.directory,
                 "local.domains": "example.test",
                 "local.system_users": "no", "queue.free_min": "0", "tls.certificates": "", "tls.self_signed": "no", **(given or {})}
        for name, text in {"pymta.conf": "".join(f"{key} = {value}\n" for key, value in lines.items()), **(files or {})}.items():
            with open(os.path.join(self.etc, name), "w", encoding="utf-8") as file:
                file.write(text)
        if with_tls:
            os.mkdir(os.path.join(self.etc, "tls"))
            certificate.ensure(os.path.join(self.etc, "tls"), ["localhost", "127.0.0.1"])
        sockets = {name: socket.create_server(("127.0.0.1", 0), backlog=1024) for name in listeners}
        self.port = {name: sock.getsockname()[1] for name, sock in sockets.items()}
        self.log_path = os.path.join(self.directory, "log")
        drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if drop:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", self.directory], check=True)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, ",".join(str(sock.fileno()) for sock in sockets.values()), ":".join(sockets),
                 os.path.join(ROOT, "bin", program), "--etc", self.etc],
                pass_fds=[sock.fileno() for sock in sockets.values()], stdin=subprocess.DEVNULL, stderr=log,
                env={**os.environ, **(environment or {})}, start_new_session=True, **drop)
        for sock in sockets.values():
            sock.close()
        end = time.monotonic() + 30
        while not any(line.startswith(f"{program}: start ") for line in self.log()):
            assert self.process.poll() is None and time.monotonic() < end, "\n".join(self.log())
            time.sleep(0.01)

    def __enter__(self) -> "Alone":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise

    def log(self, word: str = "") -> list[str]:
        """The lines of the log, or those of one event."""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return [line for line in file.read().splitlines() if not word or f": {word} " in line]

    def children(self) -> list[int]:
        """The pids of its processes."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]

    def names(self, place: str) -> list[str]:
        """The files in a place of the spool, also in its subdirectories."""
        return sorted(name for _, _, names in os.walk(os.path.join(self.spool, place)) for name in names)

    def queued(self, intake: str) -> list[tuple[queuefile.Envelope, bytes]]:
        """(envelope, message) of everything in an intake's new/, in the order of arrival."""
        out = []
        for name in self.names(f"{intake}/new"):
            with open(os.path.join(self.spool, intake, "new", name), "rb") as file:
                assert queuefile.is_whole(file.fileno())
                data = file.read()
            envelope = queuefile.decode(data)
            out.append((envelope, data[envelope.head_octets:]))
        return out

    def empty(self, intake: str) -> None:
        for top, _, names in os.walk(os.path.join(self.spool, intake)):
            for name in names:
                os.unlink(os.path.join(top, name))
