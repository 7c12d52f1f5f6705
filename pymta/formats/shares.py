"""shares: whose mailboxes others may see (pymta-shares), so that LIST need not look at everybody's.  pymta-maildir(5)

    file = "1" LF *(owner SP identifier LF)             ; identifier: as in dovecot-acl, "anyone" or "user=" address

    1
    ann@example.test user=ben@example.test

Lies in local.virtual_home.  Written by pymta-imapd: a line is added with each right that is given, and none is taken away; what is true
says the dovecot-acl of each mailbox.  If lost, or removed, it is made anew from these: do so after editing one by hand.
"""
from __future__ import annotations

NAME = "pymta-shares"
HEAD = b"1\n"


def decode(data: bytes) -> dict[str, list[str]] | None:
    """identifier -> owners; None for what is not such a file.  A torn line is left out."""
    if not data.startswith(HEAD):
        return None
    out: dict[str, list[str]] = {}
    for line in data[len(HEAD):].split(b"\n")[:-1]:
        owner, _, identifier = line.decode("utf-8", "surrogateescape").partition(" ")
        if owner and identifier and owner not in out.setdefault(identifier, []):
            out[identifier].append(owner)
    return out


def line(owner: str, identifier: str) -> bytes:
    return f"{owner} {identifier}\n".encode("utf-8", "surrogateescape")
