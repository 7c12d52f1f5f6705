"""service: what a network daemon is: its listeners, its sessions, its helpers."""
from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymta.settings import Settings

if TYPE_CHECKING:
    from pymta.serve.wire import Session, Wire
    from pymta.serve.worker import Gate, Worker

AS_ROOT = "root"                                        # the account of a helper that keeps its rights (sessions.py alone)


@dataclass(frozen=True)
class Service:
    """What a daemon is.

    listeners: name -> addresses; tls_listeners: names that speak TLS from the first byte.  open: called once in each worker,
    returns the factory of sessions.  account: whom workers become.  helpers: name -> (account, function); the function runs in
    a child of its own as fn(settings, clients), clients being a Clients that yields a connected socket for every worker.
    full: what a connection over sessions_max is told.  gate: called once in each worker: who else may not come in.  A listener's host
    that begins with / is the path of a Unix socket.  behind: whether a peer is a load balancer that says first whose connection it is.
    """

    name: str
    listeners: Mapping[str, tuple[tuple[str, int], ...]]
    open: Callable[["Worker"], Callable[["Wire"], "Session"]]
    tls_listeners: frozenset[str] = frozenset()
    workers: int = 1
    sessions_max: int = 2000
    account: str = ""
    helpers: Mapping[str, tuple[str, Callable[[Settings, "Clients"], None]]] = field(default_factory=dict)
    full: bytes = b""
    gate: Callable[["Worker"], "Gate | None"] | None = None
    behind: Callable[[str], bool] | None = None


class Clients:
    """In a helper child: iterate to get a connected socket for each worker, as they come; ends with the parent."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control

    def fileno(self) -> int:
        return self.control.fileno()

    def next(self) -> socket.socket | None:
        """The next worker's socket (waits for it); None when the parent is gone."""
        message, descriptors, _, _ = socket.recv_fds(self.control, 64, 1)
        return socket.socket(fileno=descriptors[0]) if message and descriptors else None
