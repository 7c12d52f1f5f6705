"""daemons: whether each of them runs: as systemd says, by their pid files, or by their locks."""
from __future__ import annotations

import os
from collections.abc import Iterator

from pymta.doctor import systemd
from pymta.doctor.finding import NOTE, Case, Finding, unseen
from pymta.daemon.pidfile import PidFile, is_program

SUBJECT = "daemons"
NAMES = ("pymta-smtpd", "pymta-qrun", "pymta-local", "pymta-remote", "pymta-imapd", "pymta-pop3d")
_LOCKED = ("pymta-qrun", "pymta-local", "pymta-remote")   # one of each; the others may run as often as they like


def look(case: Case) -> Iterator[Finding]:
    if case.systemd:
        yield from systemd.daemons(SUBJECT, ("pymta-begin", *NAMES))
    for name in NAMES:
        yield from _pid_file(case, name)
    if not case.systemd:
        for name in _LOCKED:
            yield from _lock(case, name)


def _pid_file(case: Case, name: str) -> Iterator[Finding]:
    file = PidFile(case.settings["host.run"], name)
    try:
        if file.is_locked() and not file.holder():
            yield Finding(SUBJECT, file.path, f"{name} was started with --daemon and has ended without being asked", f"pymta-ctl start {name.removeprefix('pymta-')}; "
                          "the log says why it ended")
    except OSError as error:
        yield unseen(SUBJECT, file.path, error)


def _lock(case: Case, name: str) -> Iterator[Finding]:
    """The number in the lock file, and whether that process is this program.  Taking the lock would keep a daemon from starting."""
    path = os.path.join(case.spool, "state", name.removeprefix("pymta-"), "lock")
    start = "pymta-ctl start, or your service manager, starts it"
    try:
        with open(path, "rb") as file:
            text = file.read(64).strip()
    except (FileNotFoundError, NotADirectoryError):
        yield Finding(SUBJECT, name, "it does not run, and never has", start)
        return
    except OSError as error:
        yield unseen(SUBJECT, path, error)
        return
    if not text.isdigit() or not is_program(int(text), name):
        there = text.isdigit() and os.path.isdir(f"/proc/{int(text)}") and not os.access(f"/proc/{int(text)}/cmdline", os.R_OK)
        if there:
            yield Finding(SUBJECT, name, f"what pid {int(text)} is may not be seen by this user", "run pymta-doctor as root", NOTE)
        else:
            yield Finding(SUBJECT, name, "it does not run", start)


