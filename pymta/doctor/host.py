"""host: its clock and its name."""
from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator

from pymta import hostname
from pymta.doctor.finding import NOTE, WARNING, Case, Finding

SUBJECT = "host"
_TIME_ERROR = 5                                         # adjtimex(2): the clock is not synchronised
_TIMEX_OCTETS = 208


def look(case: Case) -> Iterator[Finding]:
    yield from _name(case)
    built = os.stat(__file__).st_mtime
    if case.now < built - 86400:
        yield Finding(SUBJECT, "clock", f"it says {_date(case.now)}, before this program was installed ({_date(built)})",
                      "set it, and let systemd-timesyncd or chrony keep it")
    elif not _synchronised():
        yield Finding(SUBJECT, "clock", "nothing keeps it right (adjtimex), and mail carries its dates", "run systemd-timesyncd or chrony", NOTE)


def _name(case: Case) -> Iterator[Finding]:
    settings = case.settings
    if settings.sources["host.name"] == "the system" and "." in settings.host:
        yield Finding(SUBJECT, "host.name", f"{settings.host} is what the system says of itself; certificates and the DNS must follow when that changes",
                      f"write host.name = {settings.host}", NOTE)
    for suffix in (".local", ".localdomain", ".lan", ".internal", ".home.arpa"):
        if settings.host.endswith(suffix):
            yield Finding(SUBJECT, "host.name", f"{settings.host} is a name that nobody outside knows, so other hosts distrust it",
                          "set host.name to one that stands in the DNS", WARNING)
    system = hostname.find().lower().rstrip(".")
    if system != settings.host and "." in system:
        yield Finding(SUBJECT, "host.name", f"{settings.host} is not what the system calls itself ({system})", "fine where it is meant so", NOTE)


def _synchronised() -> bool:
    """Whether something disciplines the clock; True where that cannot be told."""
    try:
        return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_OCTETS)) != _TIME_ERROR
    except (OSError, AttributeError):
        return True


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(max(0.0, seconds)))
