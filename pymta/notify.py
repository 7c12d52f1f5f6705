"""notify: tell the service manager how we are (sd_notify(3)).

The message goes to the datagram socket that NOTIFY_SOCKET names; without one nobody wants to know.
"""
from __future__ import annotations

import os
import socket


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
