"""relay_recipients: who gets mail in the domains that this host takes mail for and passes on.  pymta-users(5)

    file = *([entry] [*WSP "#" comment] LF)
    entry = local "@" domain / "@" domain              ; the second: everybody in the domain
                                                       ; the domain is one of local.relay_domains
    ann@office.example
    @gateway.example            # takes all; refuses nobody at our door

Compared without regard to case, literally: an extension is part of the name.  Written by the admin at any time, read at each use.
A bad line is named with its number and left out; the others hold.  If lost: mail for those domains is refused.
"""
from __future__ import annotations

from dataclasses import dataclass

from pymta.formats.conf import without_comment
from pymta.message import address as addresses


@dataclass(frozen=True, slots=True)
class Recipients:
    """by_name: "user@domain" or "@domain", lower case -> line number; complaints: [(line number, reason; remedy)]."""

    by_name: dict[str, int]
    complaints: list[tuple[int, str]]

    def has(self, local: str, domain: str) -> bool:
        """Both lower case."""
        return f"{local}@{domain}" in self.by_name or f"@{domain}" in self.by_name


def decode(data: bytes) -> Recipients:
    """The entries of a file's bytes.  Never raises."""
    found = Recipients({}, [])
    for number, raw in enumerate(data.split(b"\n"), 1):
        entry = without_comment(raw.decode("utf-8", "surrogateescape")).strip().lower()
        if not entry:
            continue
        local, at, domain = entry.rpartition("@")
        if not at or not addresses.is_domain(domain.encode("utf-8", "surrogateescape")) or not all(c.isprintable() and c not in " @" for c in local):
            shown = "".join(c if c.isprintable() else "?" for c in entry)[:80]
            found.complaints.append((number, f"{shown}: not an address; write user@domain or @domain"))
            continue
        found.by_name.setdefault(f"{local}@{domain.removesuffix('.')}", number)
    return found
