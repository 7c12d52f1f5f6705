"""--daemon and pymta-ctl: the whole system without a service manager, started, looked at, reloaded, killed, stopped."""
from __future__ import annotations

import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import sys

import pytest

from pymta import layout
from tests.running import ROOT, new_directory, wait_until

DAEMONS = ("qrun", "local", "remote", "smtpd", "imapd", "pop3d")
LISTENERS = {"smtp.listen": 0, "smtp.submission": 0, "smtp.submissions": 0, "imap.listen": 0, "imap.listen_tls": 0, "pop3.listen": 0,
             "pop3.listen_tls": 0}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Host:
    def __init__(self) -> None:
        self.top = new_directory()
        self.etc = os.path.join(self.top, "etc")
        os.makedirs(self.etc)
        layout.make_spool(os.path.join(self.top, "spool"), single_uid=True)
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS))))
        self.conf = {"host.name": "mx.example.test", "host.spool": f"{self.top}/spool", "host.run": f"{self.top}/run", "local.domains": "example.test",
                     "local.system_users": "no", "local.virtual_home": f"{self.top}/mail", "local.virtual_uid": str(self.uid), "queue.free_min": "0",
                     "tls.certificates": "", "tls.self_signed": "no", **{name: f"127.0.0.1:{port}" for name, port in self.ports.items()}}
        self.write()
        with open(os.path.join(self.etc, "users"), "w") as file:
            file.write("ann@example.test\n")
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", self.top], check=True)

    uid = 65534 if os.geteuid() == 0 else os.geteuid()

    def write(self) -> None:
        with open(os.path.join(self.etc, "pymta.conf"), "w") as file:
            file.write("".join(f"{name} = {value}\n" for name, value in self.conf.items()))

    def ctl(self, *words: str, name: str = "ctl") -> subprocess.CompletedProcess[str]:
        drop = {"user": self.uid, "group": self.uid, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.run([sys.executable, os.path.join(ROOT, "bin", f"pymta-{name}"), *(["--etc", self.etc] if name == "ctl" else []), *words],
                              capture_output=True, text=True, timeout=120, cwd="/", **drop)

    def pids(self) -> dict[str, int]:
        return {row["name"].removeprefix("pymta-"): row["pid"] for row in json.loads(self.ctl("status", "--json").stdout)}

    def mailbox(self) -> list[str]:
        new = f"{self.top}/mail/example.test/ann/Maildir/new"
        return os.listdir(new) if os.path.isdir(new) else []


@pytest.fixture
def host():
    for attempt in range(3):
        made = Host()
        try:
            assert made.ctl("status").returncode == 3
            done = made.ctl("start")
            if done.returncode and attempt < 2:
                continue                                # somebody else has taken one of the ports that were free
            assert done.returncode == 0 and done.stdout.count("started, pid") == len(DAEMONS), done.stdout + done.stderr
            yield made
            break
        finally:
            stopped = made.ctl("stop")
            shutil.rmtree(made.top, ignore_errors=True)
            assert stopped.returncode == 0, stopped.stderr


def test_everything_starts_and_mail_is_delivered(host):
    with smtplib.SMTP("127.0.0.1", host.ports["smtp.listen"], timeout=20) as smtp:
        smtp.sendmail("a@b.test", ["ann@example.test"], "Subject: one\r\n\r\ntext\r\n")
    wait_until(lambda: len(host.mailbox()) == 1, 20)
    assert host.ctl("status").returncode == 0


def test_each_is_in_the_background_alone(host):
    for name, pid in host.pids().items():
        with open(f"/proc/{pid}/stat") as file:
            parent, _, session = file.read().rpartition(")")[2].split()[1:4]
        assert parent == "1" or parent != str(os.getpid())
        assert session != str(os.getsid(0)) and os.readlink(f"/proc/{pid}/fd/1") == "/dev/null"
    again = host.ctl("--etc", host.etc, "--daemon", name="smtpd")
    assert again.returncode == 69 and "runs already" in again.stderr
    assert "runs already" in host.ctl("start", "smtpd").stdout


def test_a_reload_keeps_the_process(host):
    before = host.pids()
    host.conf["local.domains"] = "example.test, other.test"
    host.write()
    assert host.ctl("reload").returncode == 0

    def taken() -> bool:
        with smtplib.SMTP("127.0.0.1", host.ports["smtp.listen"], timeout=20) as smtp:
            smtp.ehlo()
            smtp.mail("a@b.test")
            return smtp.rcpt("postmaster@other.test")[0] == 250
    wait_until(taken, 20)
    assert host.pids() == before
    host.conf["queue.lifetime"] = "soon"
    host.write()
    done = host.ctl("reload")
    assert done.returncode == 69 and "queue.lifetime = soon" in done.stderr and "nothing was reloaded" in done.stderr
    del host.conf["queue.lifetime"]
    host.write()


def test_a_stale_pid_file_is_taken_over(host):
    pid = host.pids()["remote"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: host.pids()["remote"] is None, 10)
    with open(f"{host.top}/run/pymta-remote.pid") as file:
        assert file.read().strip() == str(pid)          # it could not remove it
    assert host.ctl("start", "pymta-remote").returncode == 0
    os.kill(host.pids()["remote"], signal.SIGKILL)
    wait_until(lambda: host.pids()["remote"] is None, 10)
    with open(f"{host.top}/run/pymta-remote.pid", "w") as file:
        file.write(f"{os.getpid()}\n")                  # a number that is somebody else's by now
    assert host.pids()["remote"] is None and host.ctl("start").stdout.count("started, pid") == 1


def test_what_cannot_start_says_so(host):
    host.ctl("stop", "pop3d")
    with socket.create_server(("127.0.0.1", host.ports["pop3.listen"])):
        done = host.ctl("start", "pop3d")
        assert done.returncode == 69 and "the log" in done.stderr
    assert host.ctl("start", "nothing").returncode == 2
    assert host.ctl("start", "pop3d").returncode == 0


def test_stopped_they_leave_nothing(host):
    done = host.ctl("stop")
    assert done.returncode == 0 and done.stdout.count("stopped") == len(DAEMONS)
    assert [name for name in os.listdir(f"{host.top}/run") if name.endswith(".pid")] == []
    assert host.ctl("status").stdout.count("does not run") == len(DAEMONS)
