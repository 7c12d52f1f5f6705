"""One daemon of bin/ as a process of its own on free loopback ports, with users and Maildirs in a directory of its own.

    with Stage(tmp) as stage:
        stage.user("alice", "correct horse")
        stage.start("pymta-pop3d", {"pop3.listen": "pop3", "pop3.listen_tls": "pop3s"})
        socket.create_connection(("127.0.0.1", stage.ports["pop3"]))

Its processes have the uid of the tests; where that is root they become nobody, if nobody can read Python and the source.
"""
from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pymta.login import hashes
from pymta.formats import passwords

ROOT = Path(__file__).resolve().parents[1]
START_S = 30.0
NOBODY = 65534


@functools.cache
def quick_hash(password: str) -> str:
    """A hash that costs next to nothing, for tests that are not about hashes."""
    return hashes.crypt(password.encode(), b"$5$rounds=1000$saltsalt$").decode()


@functools.cache
def _nobody_can_run() -> bool:
    code = "import argon2, dns, pymta.serve"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True).returncode == 0


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has now."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class Stage:
    """etc, mail: directories; ports: listener -> port; settings: lines of pymta.conf, may be changed before start."""

    def __init__(self, *, certificate: bool = True, **values: object) -> None:
        self.uid = os.getuid()
        if self.uid == 0:
            if not _nobody_can_run():
                pytest.skip("tests run as root, and nobody cannot read this Python")
            self.uid = NOBODY
        self.root = Path(tempfile.mkdtemp(prefix="pymta-test-"))
        self.etc, self.mail, self.spool = self.root / "etc", self.root / "mail", self.root / "spool"
        for path in (self.etc, self.mail, self.spool):
            path.mkdir()
        self.ports: dict[str, int] = {}
        self.passwords: dict[str, str] = {}
        self.settings: dict[str, object] = {
            "host.name": "mail.example.test", "local.domains": "example.test", "local.system_users": "no",
            "local.virtual_uid": self.uid, "local.virtual_home": self.mail, "host.spool": self.spool, "host.run": self.root,
            "login.failures": 0, "tls.certificates": "", "tls.self_signed": "no", **{name.replace("_", ".", 1): value for name, value in values.items()}}
        self.context: ssl.SSLContext | None = None
        if certificate:
            self._make_certificate()
        self._processes: list[subprocess.Popen] = []
        self.log_path = self.root / "log"
        self.log_path.touch()

    def _make_certificate(self) -> None:
        import trustme
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        (self.etc / "tls").mkdir()
        certificate.private_key_pem.write_to_path(str(self.etc / "tls" / "key.pem"))
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(self.etc / "tls" / "cert.pem"), append=True)
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)

    def user(self, name: str, password: str, home: Path | None = None, options: str = "") -> Path:
        """Make (or change) name@example.test, with options of its line; its Maildir, which is made when it is first used."""
        address = f"{name}@example.test"
        home = home or self.mail / "example.test" / name
        old = (self.etc / "users").read_text().split("\n") if (self.etc / "users").exists() else []
        lines = [line for line in old if line and line.partition(":")[0] != address] + [f"{address}:::{home}" + (f":{options}" if options else "")]
        self._put("users", "\n".join(lines).encode() + b"\n", 0o644)
        self.passwords[address] = quick_hash(password)
        data = b""
        for each, hash in self.passwords.items():
            data = passwords.with_entry(data, each, hash)
        self._put("passwords", data, 0o600)
        return home / "Maildir"

    def _put(self, name: str, data: bytes, mode: int) -> None:
        new = self.etc / (name + ".new")
        new.write_bytes(data)
        new.chmod(mode)
        if os.getuid() == 0:
            os.chown(new, self.uid, self.uid)
        new.rename(self.etc / name)

    def fill(self, maildir: Path, messages: dict[str, bytes]) -> None:
        """A Maildir with these files: "cur/NAME" or "new/NAME" -> octets."""
        for part in ("tmp", "new", "cur"):
            (maildir / part).mkdir(parents=True, exist_ok=True)
        for name, octets in messages.items():
            (maildir / name).write_bytes(octets)
        self.give(maildir.parent)
        for above in maildir.parents[1:]:
            if os.getuid() == 0 and above.is_relative_to(self.mail):
                os.chown(above, self.uid, self.uid)

    def give(self, path: Path) -> None:
        """Let everything below path belong to the daemons' uid."""
        if os.getuid() == 0:
            for folder, _, names in os.walk(path):
                for name in (folder, *(os.path.join(folder, name) for name in names)):
                    os.chown(name, self.uid, self.uid, follow_symlinks=False)

    def start(self, program: str, listeners: dict[str, str]) -> subprocess.Popen:
        """Start bin/program with listeners (setting -> name of the port) and wait until it answers."""
        for (setting, name), port in zip(listeners.items(), free_ports(len(listeners))):
            self.ports[name] = port
            self.settings[setting] = f"127.0.0.1:{port}"
        self._put("pymta.conf", "".join(f"{name} = {value}\n" for name, value in self.settings.items()).encode(), 0o644)
        if os.getuid() == 0:
            for path in (self.root, self.etc, self.spool, self.mail):
                os.chown(path, self.uid, self.uid)
            self.give(self.etc)
        who: dict = {"user": self.uid, "group": self.uid, "extra_groups": []} if os.getuid() == 0 else {}
        with open(self.log_path, "ab") as log:
            process = subprocess.Popen([sys.executable, str(ROOT / "bin" / program), "--etc", str(self.etc)], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, cwd=self.root, start_new_session=True, **who)
        self._processes.append(process)
        self.wait(lambda: f"{program}: start" in self.log() or process.poll() is not None)
        assert process.poll() is None, f"{program} ended with {process.returncode}\n{self.log()}"
        return process

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait(self, condition, seconds: float = START_S) -> None:
        """Wait until condition() is true; the log is shown when it never is."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s in vain\n{self.log()}"
            time.sleep(0.01)

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)
