"""pymta-sandbox: run the whole mail system under one directory, as any user, on free loopback ports.    pymta-sandbox(1)

The tree is made or mended, the sockets are opened, then this process turns into supervise, which is small and stays.
"""
from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import sys
import time

from pymta import clock, durable, privs, settings
from pymta.serve import listening
from pymta.sandbox import identity, tree
from pymta.sandbox.options import LISTENERS, Options, parse

EX_UNAVAILABLE, EX_OSERR, EX_NOPERM = 69, 71, 77
SERVED_BY = {"pymta-smtpd": ("smtp", "submission", "submissions", "lmtp"), "pymta-qrun": (), "pymta-local": (), "pymta-remote": (),
             "pymta-imapd": ("imap", "imaps"), "pymta-pop3d": ("pop3", "pop3s")}
TLS = ("submissions", "imaps", "pop3s")
_HOST = "127.0.0.1"
_GONE_S = 3.0                                           # killed processes are gone by then
_LOCK_FROM = 100


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    signal.signal(signal.SIGINT, signal.SIG_DFL)        # nothing is running yet that would have to be stopped
    try:
        identity.settle(options.directory)
        _lock(options.directory)
        durable.unlink_if_there(os.path.join(options.directory, "endpoints.json"))
        sockets = _listen(options)
        tree.build(options, {name: " ".join(_written(sock) for sock in socks) for name, socks in sockets.items()
                             if LISTENERS[name] not in options.settings})
        plan = _plan(options, sockets)
    except identity.Unreadable as error:
        return _complain(str(error), EX_NOPERM)
    except BlockingIOError:
        return _complain(f"{options.directory} is in use by another pymta-sandbox; stop that one, or choose another DIR", EX_UNAVAILABLE)
    except OSError as error:
        return _complain(f"{error.filename or options.directory}: {error.strerror or error}", EX_OSERR)
    privs.adopt_orphans()
    handle = os.memfd_create("plan", 0)
    os.write(handle, json.dumps(plan).encode())
    os.lseek(handle, 0, os.SEEK_SET)
    for sock in (sock for socks in sockets.values() for sock in socks):
        sock.set_inheritable(True)
    os.chdir("/")
    os.execv(sys.executable, [sys.executable, "-IS", _supervise_path(), str(handle), options.directory])


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"pymta-sandbox: {text}\n")
    return status


def _lock(directory: str) -> None:
    """Hold DIR for as long as this process or any daemon it starts lives: they inherit the descriptor, so a start right after a
    SIGKILL waits until the last of them has gone.  Raises BlockingIOError where DIR stays held."""
    durable.mkdir(os.path.join(directory, "run"), 0o755)
    number = os.open(os.path.join(directory, "run", "sandbox.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    end = clock.tick() + _GONE_S
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if clock.tick() > end:
                raise
        time.sleep(0.05)
    fcntl.fcntl(number, fcntl.F_DUPFD, _LOCK_FROM)      # above those that LISTEN_FDS takes
    os.close(number)


# ---- sockets ----------------------------------------------------------------------------------------------------------
def _listen(options: Options) -> dict[str, list[socket.socket]]:
    """Listening sockets for each listener: those of --set, or one on a port that is free.

    They stay open here and are handed to the daemons as systemd would: nobody can take a port meanwhile, and a client that
    comes while a daemon is started again waits a moment instead of being refused.
    """
    out = {}
    for index, (name, setting) in enumerate(LISTENERS.items()):
        if setting in options.settings:
            addresses = settings.BY_NAME[setting].kind(options.settings[setting])
        else:
            addresses = ((_HOST, options.port_base + index if options.port_base else 0),)
        out[name] = [_bound(address) for address in addresses]
    return out


def _bound(address: tuple[str, int]) -> socket.socket:
    """A path stands as (path, 0)."""
    if address[0].startswith("/"):
        return listening.bind((address,))[0]
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}; choose another port", f"{address[0]} port {address[1]}") from None
    return sock


def _written(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return sock.getsockname()
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ---- the plan ---------------------------------------------------------------------------------------------------------
def _plan(options: Options, sockets: dict[str, list[socket.socket]]) -> dict:
    etc = os.path.join(options.directory, "etc")
    daemons = []
    for name, listeners in SERVED_BY.items():
        descriptors = [[listener, sock.fileno()] for listener in listeners for sock in sockets[listener]]
        daemons.append([name, [sys.executable, _program(name), "--etc", etc], descriptors])
    watch = os.path.join(os.path.dirname(_supervise_path()), "watch.py")
    return {"directory": options.directory, "path": _import_path(), "tls": TLS, "daemons": daemons,
            "endpoints": _endpoints(options, sockets),
            "watch": [sys.executable, "-IS", watch, options.directory] if options.watch else None}


def _endpoints(options: Options, sockets: dict[str, list[socket.socket]]) -> dict:
    top = options.directory
    ports = {name: _end(socks[0]) if socks else None for name, socks in sockets.items()}
    people = [{"name": user.login, "address": user.address, "password": user.password, "maildir": tree.maildir(top, options, user)}
              for user in options.users]
    return {"domain": options.domain, "host": _HOST, **ports, "managesieve": None, "http": None,
            "ca_file": os.path.join(top, "etc", "tls", "ca.pem"), "sendmail": os.path.join(top, "bin", "sendmail"),
            "etc": os.path.join(top, "etc", "pymta"), "spool": tree.spool(options), "log": os.path.join(top, "log"),
            "pids": {}, "users": people}


def _end(sock: socket.socket) -> int | str:
    """The port, or the path of a Unix socket."""
    where = sock.getsockname()
    return where if sock.family == socket.AF_UNIX else where[1]


def _program(name: str) -> str:
    """The path of a daemon: in the checkout's bin, or where an installed pymta-sandbox has its neighbours.
    Raises FileNotFoundError."""
    here = os.path.dirname(os.path.realpath(sys.argv[0]))
    for folder in (os.path.join(tree.program_dir(), "bin"), here, os.path.join(os.path.dirname(here), "sbin")):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(errno.ENOENT, "a program is missing; install pymta again", os.path.join(here, name))


def _import_path() -> str:
    """Where the daemons find pymta: here; then what the caller's PYTHONPATH says."""
    return os.pathsep.join([tree.program_dir(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])


def _supervise_path() -> str:
    return os.path.join(tree.program_dir(), "pymta", "sandbox", "supervise.py")
