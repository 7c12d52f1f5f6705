"""outside: whether mail gets out: a connection to the mail host of a domain, on request alone, for it leaves this host.

It reads the greeting, says QUIT, and sends no mail.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterator

from pymta.doctor.finding import NOTE, WARNING, Case, Finding
from pymta.doctor.names import server_trouble
from pymta.outcome import Outcome
from pymta.resolver import Resolver

SUBJECT = "outside"
_HOSTS_MAX = 2
_LINE_MAX_OCTETS = 2048


def look(case: Case) -> Iterator[Finding]:
    if not case.outside:
        yield Finding(SUBJECT, "the way out", "was not looked at: nobody outside this host was called", "pymta-doctor --outside does", NOTE)
    else:
        yield from asyncio.run(_look(case))


async def _look(case: Case) -> list[Finding]:
    settings = case.settings
    if trouble := server_trouble(settings):
        return [Finding(SUBJECT, *trouble)]
    resolver = Resolver(settings.host, server=settings["dns.server"], timeout_s=settings["dns.timeout"], own_ports=frozenset())
    smarthost, port = settings["remote.smarthost"] or ("", settings["remote.port"])
    if smarthost:
        found = await resolver.addresses(smarthost)
        hosts = [(smarthost, found)] if not isinstance(found, Outcome) else found
    else:
        hosts = await resolver.hosts(case.outside)
    if isinstance(hosts, Outcome):
        return [Finding(SUBJECT, smarthost or case.outside, f"its mail host cannot be found: {hosts.text}", "mend the name service; see dns")]
    tried: list[str] = []
    for host, addresses in hosts[:_HOSTS_MAX]:
        for version in (":", "."):
            for address in [each for each in addresses if version in each][:1]:
                said = await _greeting(address, port, settings["remote.connect_timeout"])
                if said.startswith("220"):
                    return [Finding(SUBJECT, f"{host} [{address}]:{port}", f"it answers: {said}", "", NOTE)]
                tried.append(f"{host} [{address}]:{port}: {said}")
                if said[:3].isdigit():
                    return [Finding(SUBJECT, f"{host} [{address}]:{port}", f"it does not want to hear us: {said}", "see what it says; perhaps the address has a bad name "
                                    "(a blocklist) or no PTR", WARNING)]
    return [Finding(SUBJECT, f"port {port}", "; ".join(tried) or "its mail host has no address", "where a provider blocks that port, ask them to open it, or send by a smarthost "
                    "(remote.smarthost)")]


async def _greeting(address: str, port: int, timeout_s: float) -> str:
    """The first line it says; why there is none."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(address, port, limit=_LINE_MAX_OCTETS)
            try:
                line = await reader.readline()
                writer.write(b"QUIT\r\n")
                await writer.drain()
            finally:
                writer.close()
    except TimeoutError:
        return f"no answer within {timeout_s:.0f} s"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return line.decode("utf-8", "replace").strip() or "it closes the connection and says nothing"
