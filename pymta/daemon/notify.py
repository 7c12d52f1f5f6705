"""notify: tell the service manager how we are (sd_notify(3)), and that we still are (WatchdogSec=).

The message goes to the datagram socket that NOTIFY_SOCKET names; without one nobody wants to know.
"""
from __future__ import annotations

import os
import socket

from pymta import clock

_told_at = 0.0
_watch_s: float | None = None


def notify(message: str) -> None:
    """Send e.g. "READY=1", "STOPPING=1", "STATUS=text".  Never fails."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            pass


def watch_s() -> float | None:
    """How often to call alive(), in seconds: half of what the service manager waits; None if it does not watch us."""
    global _watch_s
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
        try:
            _watch_s = int(os.environ["WATCHDOG_USEC"]) / 2e6
        except (KeyError, ValueError):
            _watch_s = None
    return _watch_s


def alive() -> bool:
    """We do what we are here for: call it between two pieces of work, as often as you like.  Whether it was time to say so.  Does nothing
    before watch_s() has found that somebody watches."""
    global _told_at
    if _watch_s is None or clock.tick() - _told_at < _watch_s * 0.9:
        return False
    _told_at = clock.tick()
    notify("WATCHDOG=1")
    return True
