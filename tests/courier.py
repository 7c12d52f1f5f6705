"""Courier's imapd and courierpop3d, and Dovecot's imap and pop3, as pymta-maildir runs them: a directory with a stub for each program.

They are looked for in PYMTA_COURIER_ROOT and PYMTA_DOVECOT_ROOT (Debian roots made by debootstrap) and else on this host.  A program of
another root runs with that root's own loader and libraries, which wants no chroot and so no rights.
"""
from __future__ import annotations

import functools
import os
import pwd
import socket
import threading

import pytest

from tests.dovecot import NOBODY

COURIER_ROOT = os.environ.get("PYMTA_COURIER_ROOT", "")
DOVECOT_ROOT = os.environ.get("PYMTA_DOVECOT_ROOT", "")
COURIER = {"imapd": "/usr/bin/imapd", "courierpop3d": "/usr/lib/courier/courier/courierpop3d"}
DOVECOT = {"imap": "/usr/lib/dovecot/imap", "pop3": "/usr/lib/dovecot/pop3"}
_LIBRARIES = ("/usr/lib/dovecot", "/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib", "/lib", "/usr/lib/courier-authlib")


def _missing(root: str, programs: dict[str, str], package: str, variable: str) -> str | None:
    for path in programs.values():
        if not os.path.exists(root + path):
            return f"no {root + path}; install {package}, or point {variable} at a Debian root that has it"
    return None


needs_courier = pytest.mark.skipif(bool(why := _missing(COURIER_ROOT, COURIER, "courier-imap and courier-pop", "PYMTA_COURIER_ROOT")), reason=why or "")
needs_dovecots = pytest.mark.skipif(bool(why := _missing(DOVECOT_ROOT, DOVECOT, "dovecot-imapd and dovecot-pop3d", "PYMTA_DOVECOT_ROOT")),
                                    reason=why or "")


def stubs(directory: str, root: str, programs: dict[str, str]) -> str:
    """Make directory with a stub for each program; its path."""
    os.makedirs(directory, exist_ok=True)
    libraries = ":".join(root + path for path in _LIBRARIES)
    for name, path in programs.items():
        run = f"{root}/lib64/ld-linux-x86-64.so.2 --library-path {libraries} {root + path}" if root else path
        with open(os.path.join(directory, name), "w", encoding="ascii") as file:
            # the tests are nobody by their effective uid only, which neither a shell nor these servers think much of
            file.write(f'#!/bin/sh\nexport GAM_CLIENT_ID={_no_gamin()}\n[ "$(id -u)" != 0 ] || exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {run} "$@"\nexec {run} "$@"\n')
        os.chmod(file.name, 0o755)
    return directory


@functools.cache
def _no_gamin() -> str:
    """Courier's imapd asks gamin what changes, and where that does not run asks again for three seconds: here somebody answers, and hangs up."""
    socket_id = f"pymta{os.getpid()}"
    user = pwd.getpwuid(NOBODY if os.getuid() == 0 else os.getuid()).pw_name
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0/tmp/fam-{user}-{socket_id}".encode().ljust(108, b"\0"))
    listener.listen(64)

    def answer() -> None:
        while True:
            listener.accept()[0].close()
    threading.Thread(target=answer, daemon=True).start()
    return socket_id


def courier_programs(directory: str) -> str:
    return stubs(directory, COURIER_ROOT, COURIER)


def dovecot_programs(directory: str) -> str:
    return stubs(directory, DOVECOT_ROOT, DOVECOT)
