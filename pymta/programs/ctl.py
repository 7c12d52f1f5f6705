"""pymta-ctl: start, stop, reload and look at the daemons on a host without systemd.                pymta-ctl(8)

    pymta-ctl [--etc DIR] start | stop | restart | reload [NAME...]
    pymta-ctl [--etc DIR] status [--json] [NAME...]

NAME: smtpd, qrun, local, remote, imapd, pop3d; all of them where none is given.  Exit status: 0; 3 status: one does not run; 2 usage;
69 one did not start or did not end.
"""
from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

from pymta import settings
from pymta.daemon.pidfile import PidFile

_SYSTEMD = "/run/systemd/system"
EX_NOT_RUNNING, EX_UNAVAILABLE = 3, 69
DAEMONS = ("qrun", "local", "remote", "smtpd", "imapd", "pop3d")       # in the order in which they start: who takes mail last
_START_S = 30.0
_STOP_S = 25.0                                          # they give their sessions some seconds to say goodbye


def main(argv: list[str] | None = None) -> int:
    top = argparse.ArgumentParser(prog="pymta-ctl", description="start, stop, reload and look at the daemons on a host without systemd")
    top.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where the files are ({settings.DEFAULT_ETC})")
    commands = top.add_subparsers(required=True, metavar="start | stop | restart | reload | status")
    for word, run, text in (("start", _start, "start those that do not run"), ("stop", _stop, "end those that run"),
                            ("restart", _restart, "end and start"), ("reload", _reload, "have them read the configuration again"),
                            ("status", _status, "say which run")):
        part = commands.add_parser(word, help=text)
        if word == "status":
            part.add_argument("--json", action="store_true", help="a list of objects {name, pid, since}")
        part.add_argument("names", nargs="*", metavar="NAME", help="smtpd, qrun, local, remote, imapd or pop3d; all without one")
        part.set_defaults(run=run)
    given = top.parse_args(argv)
    names = [name.removeprefix("pymta-") for name in given.names]
    if wrong := [name for name in names if name not in DAEMONS]:
        top.error(f"{wrong[0]}: no such daemon; there are {', '.join(DAEMONS)}")
    given.etc = os.path.abspath(given.etc)
    given.names = [name for name in DAEMONS if not names or name in names]
    return given.run(given)


def _file(given: argparse.Namespace, name: str) -> PidFile:
    return PidFile(settings.read(given.etc)["host.run"], f"pymta-{name}")


# ---- start ------------------------------------------------------------------------------------------------------------
def _start(given: argparse.Namespace) -> int:
    status = 0
    for name in given.names:
        pid = _file(given, name).holder()
        if pid:
            print(f"pymta-{name}: runs already, pid {pid}")
        elif why := _launch(given, name):
            sys.stderr.write(f"pymta-{name}: {why}\n")
            status = EX_UNAVAILABLE
        else:
            print(f"pymta-{name}: started, pid {_file(given, name).holder()}")
    return status


def _launch(given: argparse.Namespace, name: str) -> str:
    """Start one and wait until it is ready.  Why it is not; empty where it is."""
    program = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), f"pymta-{name}")
    with tempfile.TemporaryDirectory(prefix="pymta-ctl-") as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        os.chmod(directory, 0o711)
        path = os.path.join(directory, "notify")
        notices.bind(path)
        os.chmod(path, 0o622)                           # it says so after it has become somebody else
        try:
            isolated = ["-I"] if sys.flags.isolated else []
            done = subprocess.run([sys.executable, *isolated, program, "--etc", given.etc, "--daemon"], env={**os.environ, "NOTIFY_SOCKET": path})
        except OSError as error:
            return f"cannot run {program}: {error.strerror}"
        if done.returncode:
            return f"exit status {done.returncode}"
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if select.select([notices], [], [], 0.2)[0] and b"READY=1" in notices.recv(4096):
                return ""
            if not _file(given, name).holder() and time.monotonic() > end - _START_S + 5:
                return "it ended at once; the log (syslog, facility mail) says why"
    return f"not ready after {_START_S:.0f} s; the log (syslog, facility mail) may say why"


# ---- stop, reload, status ---------------------------------------------------------------------------------------------
def _stop(given: argparse.Namespace) -> int:
    status = 0
    running = {name: pid for name in reversed(given.names) if (pid := _file(given, name).holder())}
    for pid in running.values():
        _send(pid, signal.SIGTERM)
    for name, pid in running.items():
        file = _file(given, name)
        end = time.monotonic() + _STOP_S
        while file.holder() == pid and time.monotonic() < end:
            time.sleep(0.05)
        if file.holder() == pid:
            sys.stderr.write(f"pymta-{name}: pid {pid} has not ended after {_STOP_S:.0f} s; look at the log, then kill -9 {pid}: nothing is lost\n")
            status = EX_UNAVAILABLE
            continue
        if file.is_locked() and not file.holder():
            file.break_lock()                           # one that gave up root could not remove it
        print(f"pymta-{name}: stopped")
    for name in given.names:
        if name not in running:
            print(f"pymta-{name}: does not run")
    return status


def _restart(given: argparse.Namespace) -> int:
    return _stop(given) or _start(given)


def _reload(given: argparse.Namespace) -> int:
    status = 0
    for complaint in settings.read(given.etc).complaints:
        sys.stderr.write(f"pymta-ctl: {complaint}\n")
        status = EX_UNAVAILABLE
    if status:
        sys.stderr.write("pymta-ctl: nothing was reloaded; mend this first\n")
        return status
    for name in given.names:
        pid = _file(given, name).holder()
        if pid:
            _send(pid, signal.SIGHUP)
        print(f"pymta-{name}: {'reloads' if pid else 'does not run'}")
    return 0


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _status(given: argparse.Namespace) -> int:
    rows: list[dict[str, object]] = []
    for name in given.names:
        file = _file(given, name)
        pid = file.holder()
        rows.append({"name": f"pymta-{name}", "pid": pid or None, "since": int(os.stat(file.path).st_mtime) if pid else None})
    if given.json:
        print(json.dumps(rows, indent=2))
    for row in rows if not given.json else []:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["since"])) if row["pid"] else ""       # type: ignore[arg-type]
        print(f"{row['name']:14}{'runs, pid ' + str(row['pid']) + ', since ' + since if row['pid'] else 'does not run'}")
    if all(row["pid"] for row in rows):
        return 0
    if os.path.isdir(_SYSTEMD):
        sys.stderr.write("pymta-ctl: systemd runs this host; of what its units run, tells: systemctl status 'pymta-*'\n")
    return EX_NOT_RUNNING
