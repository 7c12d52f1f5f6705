"""reload: read the configuration again when a SIGHUP asks for it.

A network daemon starts other workers (serve/parent.py).  pymta-qrun, pymta-local and pymta-remote, which have no sessions to keep, end in good
order and start over in the same process (again): the supervisor sees one process all the time, and no second code path builds anything.
"""
from __future__ import annotations

import os
import sys

from pymta import log, settings
from pymta.daemon import notify
from pymta.settings import Settings


def reread(in_force: Settings) -> Settings | None:
    """The settings as they are written now; None where something is wrong with them, and the log says what."""
    try:
        written = settings.read(in_force.etc)
    except OSError as error:
        complaints = [f"{error.filename}: {error.strerror}"]
    else:
        complaints = list(written.complaints)
    for complaint in complaints:
        log.event("config", why=complaint, remedy="mend it and reload; until then the settings stay as they were")
    return None if complaints else written


def again() -> None:
    """Begin from the beginning, in this process, with the command line it had.  Does not return."""
    log.event("reload")
    notify.notify("RELOADING=1")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
