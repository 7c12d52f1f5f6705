"""serve: the I/O half of every network daemon.

A parent that reads no byte from the network binds the sockets (or inherits them: LISTEN_FDS, LISTEN_FDNAMES), forks the
helper children and the workers, hands each worker a socket to each helper, starts again what dies, and passes the end on.
A worker accepts from the shared sockets and gives every connection to a Session of the program as a Wire:

    bytes from the peer ─▶ Session.received(data)        Session ─▶ wire.send(data) ─▶ bytes to the peer

A worker that dies ends its sessions only; a helper that dies is started again and its workers get new sockets to it.  SIGHUP: see parent.py.
"""
from __future__ import annotations

import resource
from collections.abc import Callable

from pymta import log
from pymta.tls import files as tls_files
from pymta.serve.listening import bind, give, inherited
from pymta.serve.parent import Parent, missing_account
from pymta.serve.service import Clients, Service
from pymta.settings import Settings
from pymta.serve.wire import Session, Wire
from pymta.serve.worker import Gate, Worker

__all__ = ["Clients", "Gate", "Service", "Session", "Wire", "Worker", "run"]

_FILES_MAX = 65536


def run(make: Callable[[Settings], Service], settings: Settings) -> int:
    """Be the parent until told to stop.  make: the service by a configuration, now and when that is read again.
    Returns the exit status (0; 71 where a socket cannot be opened; 67 without account)."""
    service = make(settings)
    log.start(service.name)
    for complaint in settings.complaints:
        log.event("config", why=complaint)
    try:
        listening = [(name, sock) for name, sock in inherited() if name in service.listeners]
        ours = not listening
        if ours:
            listening = [(name, sock) for name, addresses in service.listeners.items() for sock in bind(addresses)]
    except OSError as error:
        log.event("trouble", what=str(error.strerror or error), remedy="stop what holds the port, or change the setting in pymta.conf")
        return 71
    for _, sock in listening:
        sock.setblocking(False)
    _allow_many_files()
    if missing := missing_account(service):
        log.event("trouble", what=f"no account {missing}", remedy="make the accounts, see pymta(7)")
        return 67
    tls_files.make_first(settings)
    return Parent(make, service, settings, listening, give(listening, service.account) if ours else []).run()


def _allow_many_files() -> None:
    """As many open files as the administrator lets us have: a shell gives 1024, fewer than one worker may have sessions."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
