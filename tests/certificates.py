"""Certificates on disk as certbot and others leave them, and what a server shows to a client that asks for a name."""
from __future__ import annotations

import os
import socket
import ssl

import trustme

Authority = trustme.CA


def put(folder: str, issued: trustme.LeafCert, chain: str = "cert.pem", key: str = "key.pem") -> None:
    """The pair in folder, as plain files."""
    os.makedirs(folder, exist_ok=True)
    for name, data in ((key, issued.private_key_pem.bytes()), (chain, b"".join(pem.bytes() for pem in issued.cert_chain_pems))):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)


def certbot(top: str, name: str, issued: trustme.LeafCert, number: int = 1) -> None:
    """The number-th certificate of a lineage: files in archive/, links in live/ that are turned over one after the other."""
    archive, live = os.path.join(top, "archive", name), os.path.join(top, "live", name)
    os.makedirs(archive, 0o700, exist_ok=True)
    os.makedirs(live, 0o700, exist_ok=True)
    put(archive, issued, f"fullchain{number}.pem", f"privkey{number}.pem")
    with open(os.path.join(archive, f"cert{number}.pem"), "wb") as file:
        file.write(issued.cert_chain_pems[0].bytes())
    with open(os.path.join(top, "live", "README"), "w") as readme:
        readme.write("This directory contains your keys and certificates.\n")
    for kind in ("cert", "fullchain", "privkey"):
        link = os.path.join(live, f"{kind}.pem")
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(f"../../archive/{name}/{kind}{number}.pem", link)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def shown(port: int, name: str | None, before: tuple[bytes, ...] = ()) -> bytes:
    """The certificate (DER) that the server at port shows for name.  before: lines said first, in clear, each answered."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        if before:
            sock.recv(1000)
        for line in before:
            sock.sendall(line)
            sock.recv(1000)
        with context.wrap_socket(sock, server_hostname=name) as secure:
            return secure.getpeercert(True) or b""
