"""background: a daemon without a service manager (--daemon): detached, the only one of its name, its log in syslog.

What this takes is imported when it is wanted: a daemon that a service manager runs should not carry it.
"""
from __future__ import annotations

import argparse
import os
import sys

from pymta import log
from pymta.settings import Settings

EX_UNAVAILABLE, EX_CANTCREAT = 69, 73


def option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--daemon", action="store_true", help="go to the background, and log to syslog; see pymta-ctl(8)")


def detach(name: str, in_force: Settings) -> None:
    """Go on in the background.  Raises SystemExit: 69 if such a daemon runs, 73 if its pid file cannot be made."""
    import daemon
    from lockfile import AlreadyLocked

    from pymta.daemon.pidfile import PidFile
    pidfile = PidFile(in_force["host.run"], name)
    holder = pidfile.holder()
    if holder == os.getpid():                           # a reload began this program anew
        log.to_syslog()
        return
    if holder:
        sys.stderr.write(f"{name}: runs already, with pid {holder} ({pidfile.path}); pymta-ctl stop {name} ends it\n")
        raise SystemExit(EX_UNAVAILABLE)
    try:
        os.makedirs(os.path.dirname(pidfile.path), 0o755, exist_ok=True)
        pidfile.acquire()                               # now, while somebody hears what goes wrong
        pidfile.release()
    except (AlreadyLocked, OSError) as error:
        sys.stderr.write(f"{name}: cannot make {pidfile.path}: {error}\n")
        raise SystemExit(EX_CANTCREAT) from None
    daemon.DaemonContext(pidfile=pidfile, umask=0o022, signal_map={}, detach_process=True).open()
    log.to_syslog()
