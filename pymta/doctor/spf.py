"""spf: whether a domain's SPF record lets an address send its mail (RFC 7208 §4), for records without macros.

    result, record = await check(address, domain, ask)

ask(name, kind) -> list of records as text, or an Outcome where the DNS does not tell.  result: pass, fail, softfail, neutral, none (no
record), permerror (a record nobody can use), temperror, or unknown (macros and exists:, which need the message).
"""
from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

from pymta.outcome import Outcome

Ask = Callable[[str, str], Awaitable[list[str] | Outcome]]
_RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_LOOKUPS_MAX = 10                                       # RFC 7208 §4.6.4
_MX_MAX = 10


class _Broken(Exception):
    """The evaluation ends here; the text is the result."""


async def check(address: str, domain: str, ask: Ask) -> tuple[str, str]:
    """(result, the record or "")."""
    records = await records_of(domain, ask)
    if isinstance(records, Outcome):
        return "temperror", ""
    if not records:
        return "none", ""
    if len(records) > 1:
        return "permerror", records[0]                  # RFC 7208 §4.5
    try:
        return await _Check(ipaddress.ip_address(address), ask).record(records[0], domain) or "neutral", records[0]
    except _Broken as broken:
        return str(broken), records[0]


async def records_of(domain: str, ask: Ask) -> list[str] | Outcome:
    """The SPF records among the TXT records of a domain."""
    found = await ask(domain, "TXT")
    if isinstance(found, Outcome):
        return found
    return [text for text in map(joined, found) if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def joined(data: str) -> str:
    """The character-strings of a TXT record, put together (RFC 7208 §3.3)."""
    out, quoted, escaped = [], False, False
    for char in data:
        if escaped:
            out.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif quoted or char != " ":
            out.append(char)
    return "".join(out)


class _Check:
    def __init__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, ask: Ask) -> None:
        self.address = address
        self._ask = ask
        self._lookups = 0

    async def record(self, record: str, domain: str) -> str:
        """The result of one record, "" where nothing in it matches.  Raises _Broken."""
        redirect = ""
        for term in record.split()[1:]:
            name, equals, value = term.partition("=")
            if equals and not set(name) & set(":/"):
                if name.lower() == "redirect":
                    redirect = value
                continue
            result = _RESULTS.get(term[0], "pass")
            if await self._matches(term.lstrip("+-~?") if term[0] in _RESULTS else term, domain):
                return result
        if redirect:
            return await self._other(redirect)
        return ""

    async def _matches(self, term: str, domain: str) -> bool:
        head, slash, prefixes = term.partition("/") if not term.lower().startswith(("ip4:", "ip6:")) else (term, "", "")
        name, _, value = head.partition(":")
        name, target = name.lower(), value or domain
        if "%" in term or name == "exists" or name == "ptr":
            raise _Broken("unknown")
        if name == "all":
            return True
        if name in ("ip4", "ip6"):
            return self._within(value)
        if name == "include":
            return await self._other(target) == "pass"
        if name == "a":
            return await self._has(target, prefixes if slash else "")
        if name == "mx":
            hosts = await self._records(target, "MX")
            for row in hosts[:_MX_MAX]:
                if await self._has(row.split()[-1].rstrip("."), prefixes if slash else "", counts=False):
                    return True
            return False
        raise _Broken("permerror")

    async def _other(self, domain: str) -> str:
        """The result of the record of another domain."""
        self._count()
        records = await records_of(domain, self._ask)
        if isinstance(records, Outcome):
            raise _Broken("temperror")
        if len(records) != 1:
            raise _Broken("permerror")
        return await self.record(records[0], domain)

    async def _has(self, host: str, prefixes: str, *, counts: bool = True) -> bool:
        """Whether our address is one of a host's, or in a network with one: a/24, a//64, a/24//64."""
        four, _, six = prefixes.partition("//") if not prefixes.startswith("/") else ("", "", prefixes[1:])
        prefix = (four or "32") if self.address.version == 4 else (six or "128")
        rows = await self._records(host, "A" if self.address.version == 4 else "AAAA", counts)
        return any(self._within(f"{row}/{prefix}") for row in rows)

    async def _records(self, name: str, kind: str, counts: bool = True) -> list[str]:
        if counts:
            self._count()
        found = await self._ask(name, kind)
        if isinstance(found, Outcome):
            raise _Broken("temperror")
        return found

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > _LOOKUPS_MAX:
            raise _Broken("permerror")

    def _within(self, network: str) -> bool:
        try:
            return self.address in ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise _Broken("permerror") from None
