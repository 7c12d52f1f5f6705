"""senders: the addresses a login may send from besides its own.                                    pymta-senders(5)

    file    = *(line / comment / blank)
    line    = login ":" what *("," what) LF
    what    = address                 ; this one
            / "@" domain              ; every address of the domain
            / "*"                     ; any address at all
    comment = "#" anything

    ann: sales@shop.test, @lists.example.org
    scanner@example.test: *

A login is a full address, or a bare name in the first domain.  Names are compared without regard to case.  Lines for one login add up.

Written by the admin, at any time; read by pymta-smtpd at each use.  A bad line is named with its number, the reason and the
remedy, and the other lines hold.  If lost: logins send from their own addresses only.
"""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Senders:
    """by_login: login as it is written, lower case -> addresses, "@domain" or "*", lower case; complaints: [(line number, reason; remedy)]."""

    by_login: dict[str, frozenset[str]] = field(default_factory=dict)
    complaints: list[tuple[int, str]] = field(default_factory=list)

    def allows(self, logins: tuple[str, ...], address: str) -> bool:
        """Whether somebody who has these names may send from address (lower case)."""
        domain = "@" + address.rpartition("@")[2]
        return any({address, domain, "*"} & self.by_login[login] for login in logins if login in self.by_login)


def decode(data: bytes) -> Senders:
    """The table in a file's bytes.  Never raises."""
    out = Senders()
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        login, colon, rest = (part.strip().lower() for part in line.partition(":"))
        items = [item.strip() for item in rest.split(",") if item.strip()]
        if not colon or not login or " " in login:
            out.complaints.append((number, "no login and colon at its beginning; write login: address, @domain"))
        elif bad := next((item for item in items if not _is_good(item)), None):
            out.complaints.append((number, f"{login}: {bad}: neither an address, nor @domain, nor *; write user@domain"))
        elif not items:
            out.complaints.append((number, f"{login}: nothing behind the colon; write an address or @domain"))
        else:
            out.by_login[login] = out.by_login.get(login, frozenset()) | frozenset(items)
    return out


def _is_good(item: str) -> bool:
    local, at, domain = item.rpartition("@")
    return item == "*" or bool(at and domain) and not set(" \t@<>") & set(local + domain)
