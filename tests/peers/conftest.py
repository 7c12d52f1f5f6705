"""A sandbox and a peer beside it, in namespaces where nobody else is.

make test-peers PYMTA_PEERS=DIR runs these tests by unshare, as root: what they send can reach nothing but loopback, and their ports are theirs.
DIR/postfix and DIR/exim are Debian root directories with postfix and exim4-daemon-light (debootstrap, then chroot DIR/NAME apt-get install).
"""
from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.peers.hosts import BOOKS, OURS, PEERS, PORT, PORTS, Peer
from tests.running import Sandbox, Sandboxes

WHERE = os.environ.get("PYMTA_PEERS", "")
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def missing() -> str | None:
    if os.geteuid() != 0:
        return "needs root, for chroot and mounts"
    if not WHERE:
        return "PYMTA_PEERS names no directory with Debian roots postfix and exim"
    if [name for _, name in socket.if_nameindex() if not name.startswith(("lo", "ifb"))]:
        return "there are other interfaces than lo, and mail might leave this host; run make test-peers"
    return None


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if "/peers/" in str(item.path):
            item.add_marker(pytest.mark.peers)


@pytest.fixture(scope="session")
def namespace() -> None:
    if reason := missing():
        pytest.skip(reason)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


@pytest.fixture(scope="session")
def ours(namespace) -> Iterator[Sandbox]:
    with Sandboxes() as sandboxes:
        one = sandboxes.start(domain=["example.test", "clear.test"], user=["alice:pw", "carol@clear.test:pw"], port_base=OURS,
                              transport=[f"{domain}=127.0.0.1:{port}" for domain, port in (PORTS | {BOOKS.encode("idna").decode(): PORT}).items()],
                              relay_from="127.0.0.0/8",
                              set=["queue.retry=0s,2s", "smtp.recipients_max=1000"])
        with open(os.path.join(one.ends["etc"], "aliases"), "w", encoding="utf-8") as file:
            file.write("jörg: alice\n")
        yield one


@pytest.fixture(scope="session", params=PEERS)
def peer(request, ours: Sandbox) -> Iterator[Peer]:
    root = os.path.join(WHERE, request.param)
    if not os.path.isdir(os.path.join(root, "etc")):
        pytest.skip(f"no {root}: no Debian root with {request.param}")
    with PEERS[request.param](root, ours.ends["ca_file"]) as started:
        print(f"\n{started.version()}")
        yield started
