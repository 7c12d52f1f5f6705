"""contacts: to whom a login has written.  state/smtpd/LOGIN.contacts                              pymta-smtpd(8)

    file  = *line
    line  = time SP address LF        ; seconds since 1970, when this login first wrote to the address

    1795430000 bob@elsewhere.test

LOGIN is the login's address, what cannot stand in a file name as %XX.  Addresses are lower case, what is no printable ASCII as %XX.
Appended to, one write a line, without a sync: a cut may leave a torn last line, which counts for nothing.  Rewritten with
the later half when it has KEEP lines.

Written and read by the child of pymta-smtpd that counts.  If lost: everybody is a stranger once more, and who writes to many of
them in a day has mail held.
"""
from __future__ import annotations

from urllib.parse import quote, quote_from_bytes

KEEP = 20_000


def file_name(login: str) -> str:
    """The name of a login's file.  Never begins with a dot."""
    name = quote(login, safe="@+=,")
    return ("%2E" + name[1:] if name.startswith(".") else name)[:240] + ".contacts"


def key(address: bytes) -> str:
    """An address as it stands in the file."""
    return quote_from_bytes(address.lower(), safe="@+=,!#$&'*/?^`{|}~:[]\"\\<>()")


def encode(when: float, key: str) -> bytes:
    return f"{int(when)} {key}\n".encode("ascii")


def decode(data: bytes) -> dict[str, int]:
    """key -> when, in the order of the file.  Never raises: a damaged line is left out."""
    out: dict[str, int] = {}
    for line in data.decode("ascii", "replace").split("\n")[:-1]:
        when, blank, name = line.partition(" ")
        if blank and name and when.isdecimal() and len(when) < 15:
            out.setdefault(name, int(when))
    return out
