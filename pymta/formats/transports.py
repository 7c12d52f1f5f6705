"""transports: the destinations that are not found by MX.                                  pymta-transports(5)

    file    = *(line LF)
    line    = [pattern 1*WSP route] [*WSP "#" comment]        ; "#" at the start or after a blank
    pattern = domain                  ; this domain alone
            / "." domain              ; every domain below it, not itself
            / "*"                     ; every other domain
    route   = ["smtp:" / "lmtp:"] host [":" port]             ; without a port 25, or 24 for LMTP; no MX is asked for
            / "mx"                    ; by MX after all: an exception from a wider line or the smarthost
    host    = name / IPv4 address / "[" IPv6 address "]"

    intra.example.net   10.0.0.5:25
    .example.org        smtp:relay.example.org:587
    lists.example.net   lmtp:127.0.0.1:8024
    *                   mail.provider.example:25

A domain with letters beyond ASCII and its A-label form (xn--...) are the same, on either side.
The longest pattern wins, whatever the order; where two lines say the same, the first holds.  `*` beats remote.smarthost.
It is only asked about domains that are not ours.

Written by the admin, at any time; read by pymta-remote and pymta-qrun at each use.  A bad line is reported with its number and
left out; the others hold.  If lost: mail goes by MX or the smarthost.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pymta.formats.conf import without_comment
from pymta.formats.live import Live, Tell, tell
from pymta.message import address as addresses

LMTP_PORT = 24
KEY_MAX_OCTETS = 200


@dataclass(frozen=True, slots=True)
class Route:
    """protocol: "smtp" or "lmtp"; host: a domain to ask the MX of (mx) or a host to connect to (not mx); port."""

    protocol: str
    host: str
    port: int
    mx: bool


@dataclass(frozen=True, slots=True)
class Table:
    """by_pattern: pattern (lower case) -> (line number, Route, or None for mx); complaints: [(line number, reason; remedy)]."""

    by_pattern: dict[str, tuple[int, Route | None]]
    complaints: list[tuple[int, str]]


def decode(data: bytes) -> Table:
    """The table of a file's bytes.  Never raises."""
    table = Table({}, [])
    for number, raw in enumerate(data.split(b"\n"), 1):
        words = without_comment(raw.decode("utf-8", "backslashreplace")).split()
        if not words:
            continue
        try:
            if len(words) != 2:
                raise ValueError(f"{len(words)} words; write domain host:port")
            pattern, route = _pattern(words[0]), _route(words[1])
        except ValueError as error:
            table.complaints.append((number, str(error)))
            continue
        first = table.by_pattern.setdefault(pattern, (number, route))
        if first[0] != number:
            table.complaints.append((number, f"{pattern} stands in line {first[0]} already, which holds; remove one of them"))
    return table


def find(table: Table, domain: str) -> tuple[int, Route | None] | None:
    """The line for a domain (lower case): (number, route), or None where there is none."""
    row = table.by_pattern.get(domain)
    at = domain.find(".")
    while row is None and at >= 0:
        row = table.by_pattern.get(domain[at:])
        at = domain.find(".", at + 1)
    return row or table.by_pattern.get("*")


class Transports:
    """The file at path, live, over a smarthost (host, port) or None, over MX on port."""

    def __init__(self, path: str, smarthost: tuple[str, int] | None, port: int = 25, tell: Tell = tell) -> None:
        self.path = path
        self._tell = tell
        self._smarthost = Route("smtp", smarthost[0], smarthost[1], False) if smarthost else None
        self._port = port
        self._live: Live[Table] = Live(path, decode, self._report)

    def table(self) -> Table:
        """The file as it is now.  Raises OSError if it can never be read."""
        return self._live.get()

    def route(self, domain: str) -> Route:
        """Where mail for a domain goes."""
        domain = addresses.ascii_domain(domain.lower().rstrip("."))
        row = find(self.table(), domain)
        if row and row[1]:
            return row[1]
        if self._smarthost and not row:
            return self._smarthost
        address = addresses.literal_ip(domain.encode("utf-8", "surrogateescape"))
        if address:
            return Route("smtp", address, self._port, False)
        return Route("smtp", domain, self._port, True)

    def destination(self, domain: str) -> str:
        """The key of where mail for a domain goes: the same route gives the same key.  Printable, without blanks, a file name."""
        return key(self.route(domain))

    def _report(self, table: Table) -> None:
        for number, reason in table.complaints:
            self._tell(f"{self.path}:{number}", reason)


def key(route: Route) -> str:
    """A route's name: the domain where MX decides, else protocol:host:port."""
    if route.mx:
        name = route.host
    else:
        name = f"{route.protocol}:[{route.host}]:{route.port}" if ":" in route.host else f"{route.protocol}:{route.host}:{route.port}"
    safe = "".join(c if c in _KEY else f"%{ord(c):02x}" for c in name)
    if not safe or safe[0] in ".-":
        safe = "%" + safe
    if len(safe) > KEY_MAX_OCTETS:
        safe = safe[:KEY_MAX_OCTETS - 33] + "%" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return safe


_KEY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


def _pattern(word: str) -> str:
    pattern = addresses.ascii_domain(word.lower().rstrip("."))
    name = pattern.removeprefix(".")
    if word != "*" and not addresses.is_domain(name.encode("utf-8")) and not addresses.literal_ip(name.encode("utf-8")):
        raise ValueError(f"{word[:80]}: not a domain; write example.net, .example.net or *")
    return pattern if word != "*" else "*"


def _route(word: str) -> Route | None:
    if word.lower() == "mx":
        return None
    protocol, colon, rest = word.partition(":")
    if protocol.lower() not in ("smtp", "lmtp") or not colon:
        protocol, rest = "smtp", word
    protocol = protocol.lower()
    host, port = _host_port(rest, LMTP_PORT if protocol == "lmtp" else 25)
    return Route(protocol, host, port, False)


def _host_port(text: str, default: int) -> tuple[str, int]:
    remedy = f"{text[:80]}: not a host; write host:port, lmtp:host:port, [2001:db8::1]:25 or mx"
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or not _is_ip(host):
            raise ValueError(remedy)
    else:
        host, colon, number = text.partition(":")
        after = colon + number
        if not addresses.is_domain(host.rstrip(".").encode("utf-8")):
            raise ValueError(remedy)
    if not after:
        return host.lower().rstrip("."), default
    if not after.startswith(":") or not after[1:].isdecimal() or not after.isascii() or not 0 < int(after[1:6]) < 65536 or len(after) > 6:
        raise ValueError(remedy)
    return host.lower().rstrip("."), int(after[1:])


def _is_ip(text: str) -> bool:
    import ipaddress
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
