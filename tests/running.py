"""A running pymta-sandbox, for tests: where it listens, how to send and to read, how to hurt it."""
from __future__ import annotations

import glob
import imaplib
import json
import os
import poplib
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "bin", "pymta-sandbox")
START_S, STOP_S = 90.0, 10.0


def new_directory() -> str:
    """A directory that another uid can reach: as root the sandbox runs as nobody, and pytest's own folders are closed to it."""
    path = tempfile.mkdtemp(prefix="pymta-test-")
    if os.geteuid() == 0:
        os.chmod(path, 0o755)
    return path


def arguments(options: dict[str, object]) -> list[str]:
    """{"relay_from": ["127.0.0.0/8"], "port_base": 2525} -> ["--relay-from", "127.0.0.0/8", "--port-base", "2525"]"""
    out = []
    for name, values in options.items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            out += [f"--{name.replace('_', '-')}", str(value)]
    return out


class Sandbox:
    """One run of pymta-sandbox on directory.  ends: endpoints.json as it is now."""

    def __init__(self, directory: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr, env=environment)

    def wait_ready(self) -> None:
        assert self.process.stdout
        line = self.process.stdout.readline().decode()
        if line != f"ready {self.directory}/endpoints.json\n":
            status = self.process.wait(STOP_S + 5)
            words = self.said()
            if status == 77 and "cannot read" in words and "(Python)" in words:
                pytest.skip(f"no Python that another uid may read: {words}")
            raise AssertionError(f"not ready: {line!r}, exit {status}\n{words}")

    def said(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "replace")

    @property
    def ends(self) -> dict:
        with open(os.path.join(self.directory, "endpoints.json"), encoding="utf-8") as file:
            return json.load(file)

    def user(self, name: str) -> dict:
        return next(user for user in self.ends["users"] if user["name"] == name)

    def log(self) -> str:
        with open(self.ends["log"] if self.process.poll() is None else os.path.join(self.directory, "log"), encoding="utf-8") as file:
            return file.read()

    # ---- clients ------------------------------------------------------------------------------------------------------
    def tls(self) -> ssl.SSLContext:
        """A context that trusts this sandbox only, and checks names."""
        return ssl.create_default_context(cafile=self.ends["ca_file"])

    def smtp(self, listener: str = "smtp") -> smtplib.SMTP:
        ends = self.ends
        if listener == "submissions":
            return smtplib.SMTP_SSL(ends["host"], ends[listener], timeout=30, context=self.tls())
        if listener == "lmtp":
            return smtplib.LMTP(ends["host"], ends[listener], timeout=30)
        return smtplib.SMTP(ends["host"], ends[listener], timeout=30)

    def imap(self, name: str = "alice", listener: str = "imap") -> imaplib.IMAP4:
        ends, user = self.ends, self.user(name)
        if listener == "imaps":
            client: imaplib.IMAP4 = imaplib.IMAP4_SSL(ends["host"], ends[listener], ssl_context=self.tls(), timeout=30)
        else:
            client = imaplib.IMAP4(ends["host"], ends[listener], timeout=30)
        client.login(user["address"], user["password"])
        return client

    def pop3(self, name: str = "alice", listener: str = "pop3") -> poplib.POP3:
        ends, user = self.ends, self.user(name)
        if listener == "pop3s":
            client: poplib.POP3 = poplib.POP3_SSL(ends["host"], ends[listener], context=self.tls(), timeout=30)
        else:
            client = poplib.POP3(ends["host"], ends[listener], timeout=30)
        client.user(user["address"])
        client.pass_(user["password"])
        return client

    def send(self, recipient: str, text: str = "Subject: test\n\nhello\n", sender: str = "stranger@client.test") -> None:
        """By SMTP to the MX port."""
        with self.smtp() as client:
            client.sendmail(sender, [recipient], text.replace("\n", "\r\n"))

    def sendmail(self, *words: str, message: str = "Subject: test\n\nhello\n") -> subprocess.CompletedProcess:
        """By the stub that local programs call, without any environment."""
        return subprocess.run([self.ends["sendmail"], *words], input=message.encode(), env={}, capture_output=True, timeout=30)

    def inbox(self, name: str = "alice", folder: str = "") -> list[str]:
        """Paths of the messages in a mailbox of a user."""
        box = os.path.join(self.user(name)["maildir"], folder)
        return sorted(path for part in ("new", "cur") for path in glob.glob(os.path.join(box, part, "*")))

    def wait_mail(self, count: int = 1, name: str = "alice", folder: str = "", seconds: float = 30) -> list[str]:
        """Wait until a mailbox holds at least count messages; their paths."""
        wait_until(lambda: len(self.inbox(name, folder)) >= count, seconds, lambda: f"{self.inbox(name, folder)}\n{self.log()[-4000:]}")
        return self.inbox(name, folder)

    # ---- the end ------------------------------------------------------------------------------------------------------
    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_S + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            if self.process.stdout:
                self.process.stdout.close()


class Sandboxes:
    """Every sandbox of a test or module, stopped and removed together."""

    def __init__(self) -> None:
        self.running: list[Sandbox] = []
        self.directories: list[str] = []

    def __enter__(self) -> "Sandboxes":
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.running:
            if one.process.poll() is None:
                one.stop()
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)

    def new_directory(self) -> str:
        self.directories.append(new_directory())
        return self.directories[-1]

    def start(self, directory: str | None = None, *, wait: bool = True, environment: dict[str, str] | None = None,
              program: str = PROGRAM, **options: object) -> Sandbox:
        """Start one; with wait=False it may not be ready yet."""
        directory = directory or self.new_directory()
        one = Sandbox(directory, [sys.executable, program, directory, *arguments(options)], environment)
        self.running.append(one)
        if wait:
            one.wait_ready()
        return one


def wait_until(true, seconds: float = 30, explain=lambda: "") -> None:
    """Wait until true() holds; AssertionError with explain() if it never does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, explain()
        time.sleep(0.02)
