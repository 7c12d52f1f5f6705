"""listening: the sockets of a daemon: made here, or inherited from systemd.  Unix sockets have a path in place of host and port."""
from __future__ import annotations

import errno
import os
import socket

from pymta import durable, log, privs

_BACKLOG = 1024


def bind(addresses: tuple[tuple[str, int], ...]) -> list[socket.socket]:
    """Listening sockets for addresses.  `::` takes IPv4 too.  OSError names the address."""
    out = []
    for host, port in addresses:
        if host.startswith("/"):
            out.append(_bind_path(host))
            continue
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            if host == "::" and not socket.has_ipv6:
                family, host = socket.AF_INET, "0.0.0.0"
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
            sock.bind((host, port))
            sock.listen(_BACKLOG)
        except OSError as error:
            if host == "::" and error.errno in (97, 99):        # no IPv6 in this kernel or container
                out += bind((("0.0.0.0", port),))
                continue
            raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from None
        out.append(sock)
    return out


def _bind_path(path: str) -> socket.socket:
    """A listening Unix socket, for its owner and group.  What a crash left of another one is taken away."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(path)
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        except ConnectionRefusedError:
            durable.unlink_if_there(path)
        except FileNotFoundError:
            pass
        mask = os.umask(0o117)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {path}: {error.strerror or error}") from None
    return sock


def give(listening: list[tuple[str, socket.socket]], account: str) -> list[str]:
    """The paths of Unix sockets that were made here, each given to account."""
    paths = [sock.getsockname() for _, sock in listening if sock.family == socket.AF_UNIX]
    if paths and account and privs.is_root():
        import pwd
        entry = pwd.getpwnam(account)
        for path in paths:
            try:
                os.chown(path, entry.pw_uid, entry.pw_gid)
            except PermissionError:                     # root by name only, as our units make it
                log.event("trouble", what=f"cannot give {path} to {account}", remedy="let a socket unit open it, with SocketGroup=")
    return paths


def inherited() -> list[tuple[str, socket.socket]]:
    """Sockets that systemd opened for us: [(name, socket)], each wrapped exactly once."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    out = []
    for number in range(int(os.environ.get("LISTEN_FDS", "0"))):
        sock = socket.socket(fileno=3 + number)
        sock.set_inheritable(False)
        out.append((names[number] if number < len(names) else "", sock))
    return out
