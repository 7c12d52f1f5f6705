"""hostname: the name of this host, as other hosts know it, where the admin has not set host.name.

The same answer for every program, pymta-inject included, which cannot afford to import socket.
"""
from __future__ import annotations

import os

FOUND = "/run/pymta/host.name"                          # pymta-begin has asked the name service and wrote down what it said


def find() -> str:
    """The host's fully qualified name if one can be found (/etc/hosts, what pymta-begin found, the name service), else its bare name."""
    name = os.uname().nodename
    if "." in name:
        return name
    return in_hosts(_read("/etc/hosts"), name) or _read(FOUND).strip() or _asked(name) or name


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return ""


def in_hosts(text: str, name: str) -> str:
    """The first dotted name that stands beside name in the text of an /etc/hosts; empty if none does."""
    for line in text.split("\n"):
        names = line.partition("#")[0].split()[1:]
        if name in names:
            for other in names:
                if "." in other and not other.startswith("localhost."):
                    return other
    return ""


def _asked(name: str) -> str:
    import _socket

    # the C part of socket alone: the rest costs 10 ms
    try:
        first, others, _ = _socket.gethostbyaddr(name)
    except OSError:
        return ""
    return next((other for other in (first, *others) if "." in other and not other.startswith("localhost.")), "")
