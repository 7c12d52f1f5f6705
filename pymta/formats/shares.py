"""shares: whose mailboxes others may see (pymta-shares), so that LIST need not look at everybody's.  pymta-maildir(5)

    file = ("1" / "making") LF *(owner SP identifier LF)    ; identifier: as in dovecot-acl, "anyone" or "user=" address

    1
    ann@example.test user=ben@example.test

"making" stands there until everybody has been looked at.  Lies in local.virtual_home.  Written by pymta-imapd, holding pymta-shares.lock
(a dot lock), and pymta-shares.making.lock while everybody is looked at; replaced whole, readers need no lock: a line comes with each right that is given, before it is given, and none is taken
away; what is true says the dovecot-acl of each mailbox.  If lost, or removed, it is made anew from these: do so after editing one by hand.
"""
from __future__ import annotations

NAME = "pymta-shares"
_WHOLE, _MAKING = b"1\n", b"making\n"
Shares = dict[str, list[str]]                           # identifier -> owners


def decode(data: bytes) -> tuple[bool, Shares]:
    """(whether everybody is in it, who shares); a line that cannot be read is left out."""
    out: Shares = {}
    for line in data.split(b"\n")[1:-1]:
        owner, _, identifier = line.decode("utf-8", "surrogateescape").partition(" ")
        if owner and identifier:
            add(out, owner, identifier)
    return data.startswith(_WHOLE), out


def encode(shares: Shares, *, whole: bool) -> bytes:
    lines = [f"{owner} {identifier}\n" for identifier, owners in shares.items() for owner in owners]
    return (_WHOLE if whole else _MAKING) + "".join(lines).encode("utf-8", "surrogateescape")


def add(shares: Shares, owner: str, identifier: str) -> None:
    owners = shares.setdefault(identifier, [])
    if owner not in owners:
        owners.append(owner)
