"""resolver: which hosts take mail for a domain, and where they are (RFC 5321 §5, RFC 7505).

dnspython asks and keeps what it was told (LRU, for as long as the answer says).  It is imported at the first question: that
costs 140 ms.  What comes out is either a list to be tried in order, or the Outcome for every recipient of the domain:

    the name server is silent, SERVFAIL, a chain of CNAMEs too long      DNS_TROUBLE      temporary
    there is no such name, or it has neither MX nor address              NO_SUCH_DOMAIN   permanent
    MX 0 .                                                               NULL_MX          permanent
    this host is the best (or only) one                                  LOOPS_BACK       permanent

Of several MX with one preference any may come first.  Where this host is among them, it and all that are no better are left
out (RFC 5321 §5.1), so a backup MX never sends mail to itself.
"""
from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import socket
from typing import TYPE_CHECKING, Any

from pymta import outcome
from pymta.message.address import ascii_domain
from pymta.outcome import Outcome

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.name

CNAMES_MAX = 8                      # followed by us; a recursive server follows them itself
HOSTS_MAX = 20                      # MX looked at, the best ones
ADDRESSES_MAX = 6                   # of one host
NAMES_MAX = 5                       # of one address
CACHE_ANSWERS = 2000
TRY_S = 2.0                         # how long one server may think before the question is put again
RESOLV_CONF = "/etc/resolv.conf"
HOSTS = "/etc/hosts"

Hosts = list[tuple[str, list[str]]]


class Resolver:
    """host_name: ours; server: (IP address, port) or None for those of resolv.conf; timeout_s: for one look-up in all;
    port: where mail is sent to; own_ports: where this host listens: with another port nothing can loop back to us; own_addresses: ours
        though the system does not have them."""

    def __init__(self, host_name: str, *, server: tuple[str, int] | None = None, timeout_s: float = 10.0, port: int = 25,
                 own_ports: frozenset[int] = frozenset((25,)), own_addresses: tuple[str, ...] = (), shuffle: random.Random | None = None) -> None:
        if server:
            ipaddress.ip_address(server[0])             # ValueError here, not at the first mail
        self._host_name = host_name.lower().rstrip(".")
        self._server = server
        self._timeout_s = timeout_s
        self._may_loop = port in own_ports
        self._own_addresses = frozenset(own_addresses)
        self._random = shuffle or random.Random()
        self._dns: dns.asyncresolver.Resolver | None = None
        self._cache: Any = None
        self._version: tuple[int, int] | None = None

    async def hosts(self, domain: str) -> Hosts | Outcome:
        """[(host, [IP address, ...]), ...] in the order to try, or why there are none.  domain: without brackets."""
        try:
            name = self._name(domain)
            offers = await self._mx(name)
            if not offers:                              # RFC 5321 §5.1: the domain is its own host
                offers = [(0, name)]
            if len(offers) == 1 and offers[0][1].to_text() == ".":
                return outcome.NULL_MX.because(f"{domain} accepts no mail")
            return await self._usable(domain, offers)
        except _Trouble as error:
            return outcome.DNS_TROUBLE.because(f"looking up {domain}: {error}")
        except _NoSuchName as error:
            return outcome.NO_SUCH_DOMAIN.because(f"{domain}: {error}")

    async def addresses(self, host: str) -> list[str] | Outcome:
        """The IP addresses of a host that an admin named (or of an IP address): no MX, no word about loops.  /etc/hosts comes
        first.  Whatever goes wrong is temporary: no mail is returned to its sender for an admin's typing error.

        Not getaddrinfo: it waits in a thread, for as long as it likes, and the program could not end."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        found = in_hosts(_read(HOSTS), host)
        if found:
            return found[:ADDRESSES_MAX]
        if host == "localhost":                         # RFC 6761 §6.3
            return ["127.0.0.1", "::1"]
        try:
            return await self._addresses(self._name(host), search="." not in host)
        except (_Trouble, _NoSuchName) as error:
            return outcome.DNS_TROUBLE.because(f"looking up {host}: {error}")

    async def name_of(self, address: str) -> str | Outcome:
        """The name that the DNS has for an IP address and that leads back to it (RFC 8499 §8, "forward-confirmed"), or why there is
        none: NO_PTR for good, DNS_TROUBLE for now.  Takes no longer than one look-up may."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._name_of(address)
        except (_Trouble, TimeoutError) as error:
            return outcome.DNS_TROUBLE.because(f"looking up {address}: {str(error) or 'no answer in time'}")
        except _NoSuchName:
            return outcome.NO_PTR.because(f"{address} has no name in the DNS that leads back to it")

    async def records(self, name: str, kind: str) -> list[str] | Outcome:
        """The records of one kind as a zone file writes them, [] if there are none; DNS_TROUBLE where that cannot be told."""
        try:
            return [record.to_text() for record in await self._ask(self._name(name), kind)]
        except _NoSuchName:
            return []
        except _Trouble as error:
            return outcome.DNS_TROUBLE.because(f"looking up {kind} of {name}: {error}")

    async def _name_of(self, address: str) -> str:
        import dns.reversename
        names = [record.target for record in await self._ask(dns.reversename.from_address(address), "PTR")][:NAMES_MAX]
        kind = "AAAA" if ":" in address else "A"
        answers = await asyncio.gather(*(self._ask(name, kind) for name in names), return_exceptions=True)
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, list) and any(ipaddress.ip_address(record.address) == ipaddress.ip_address(address) for record in answer):
                return name.to_text(omit_final_dot=True).lower()
        for failed in answers:
            if isinstance(failed, BaseException):
                raise failed
        raise _NoSuchName("no name that leads back")

    # ---- MX -----------------------------------------------------------------------------------------------------------
    async def _mx(self, name: dns.name.Name) -> list[tuple[int, dns.name.Name]]:
        """[(preference, host)] by preference, equal ones shuffled; [] if the domain has none."""
        offers = [(record.preference, record.exchange) for record in await self._ask(name, "MX")]
        self._random.shuffle(offers)
        offers.sort(key=lambda offer: offer[0])
        if len(offers) > 1:                             # RFC 7505 §3: "." beside others means nothing
            offers = [offer for offer in offers if offer[1].to_text() != "."] or offers[:1]
        return offers[:HOSTS_MAX]

    async def _usable(self, domain: str, offers: list[tuple[int, dns.name.Name]]) -> Hosts | Outcome:
        answers = await asyncio.gather(*(self._addresses(host) for _, host in offers), return_exceptions=True)
        hosts: list[tuple[int, str, list[str]]] = []
        trouble: list[str] = []
        own: int | None = None                          # the preference of this host
        for (preference, host), answer in zip(offers, answers):
            name = host.to_text(omit_final_dot=True).lower()
            if isinstance(answer, _Trouble):
                trouble.append(f"looking up {name}: {answer}")
            elif isinstance(answer, BaseException) and not isinstance(answer, _NoSuchName):
                raise answer
            addresses = answer if isinstance(answer, list) else []
            if self._may_loop and (name == self._host_name or any(address in self._own_addresses or is_own(address) for address in addresses)):
                own = preference if own is None else min(own, preference)
            hosts.append((preference, name, addresses))
        better = [(name, addresses) for preference, name, addresses in hosts if addresses and (own is None or preference < own)]
        if better:
            return better
        if trouble:
            return outcome.DNS_TROUBLE.because("; ".join(trouble))
        if own is not None:
            return outcome.LOOPS_BACK.because(f"mail for {domain} loops back to this host; if it is meant to stay here, name the "
                                              "domain in local.domains")
        return outcome.NO_SUCH_DOMAIN.because(f"none of the mail hosts of {domain} has an address")

    # ---- questions ----------------------------------------------------------------------------------------------------
    async def _addresses(self, name: dns.name.Name, *, search: bool = False) -> list[str]:
        """IPv4 first: fewer hosts are strict about it.  Raises _NoSuchName, _Trouble; no address at all is _NoSuchName."""
        answers = await asyncio.gather(self._ask(name, "A", search), self._ask(name, "AAAA", search), return_exceptions=True)
        found: list[str] = []
        for answer in answers:
            if not isinstance(answer, BaseException):
                found += [record.address for record in answer if _reachable(record.address)]
        if found:
            return found[:ADDRESSES_MAX]
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        raise _NoSuchName("no MX and no address")

    async def _ask(self, name: dns.name.Name, kind: str, search: bool = False) -> list[Any]:
        """The records of one kind; [] if the name has none.  search: try the domains resolv.conf says behind the name.  Raises _NoSuchName, _Trouble."""
        import dns.exception
        import dns.message
        import dns.name
        import dns.resolver
        try:
            for _ in range(CNAMES_MAX):
                asked = name.relativize(dns.name.root) if search else name
                answer = await self._resolver().resolve(asked, kind, search=search, raise_on_no_answer=False, lifetime=self._timeout_s)
                if answer.rrset is not None:
                    return list(answer.rrset)
                if answer.canonical_name == answer.qname:
                    return []
                name, search = answer.canonical_name, False     # a server that does not follow
            raise _Trouble("a chain of CNAMEs that does not end")
        except dns.resolver.NXDOMAIN:
            raise _NoSuchName("no such domain") from None
        except dns.resolver.LifetimeTimeout:
            raise _Trouble(f"no answer from the name server within {self._timeout_s:g} s") from None
        except dns.resolver.NoNameservers as error:
            raise _Trouble(_refusals(error)) from None
        except dns.message.ChainTooLong:
            raise _Trouble("a chain of CNAMEs that does not end") from None
        except (dns.exception.DNSException, OSError) as error:
            raise _Trouble(outcome.clean(str(error) or type(error).__name__, 200)) from None

    def _name(self, domain: str) -> dns.name.Name:
        import dns.exception
        import dns.name
        try:
            return dns.name.from_text(ascii_domain(domain).rstrip(".") + ".")
        except (dns.exception.DNSException, UnicodeError):
            raise _NoSuchName("not a domain name") from None

    def _resolver(self) -> dns.asyncresolver.Resolver:
        """The one in use; made anew when resolv.conf has changed, as it does when a machine moves between networks."""
        version = None
        if not self._server:
            try:
                stat = os.stat(RESOLV_CONF)
                version = (stat.st_mtime_ns, stat.st_ino)
            except OSError:
                pass
        if self._dns is None or version != self._version:
            self._dns = self._make()
            self._version = version
        return self._dns

    def _make(self) -> dns.asyncresolver.Resolver:
        import dns.asyncresolver
        import dns.resolver
        if self._cache is None:
            self._cache = dns.resolver.LRUCache(CACHE_ANSWERS)
        made = dns.asyncresolver.Resolver(configure=not self._server)
        if self._server:
            made.nameservers = [self._server[0]]
            made.port = self._server[1]
        made.cache = self._cache
        made.timeout = min(TRY_S, self._timeout_s)
        return made


class _Trouble(Exception):
    """No answer to be relied on; the text says why."""


class _NoSuchName(Exception):
    """A definite no."""


def _refusals(error: Any) -> str:
    """What the servers said, from dnspython's NoNameservers: SERVFAIL, REFUSED, or an error's text."""
    said = {str(row[4] if isinstance(row[4], BaseException) else row[3]) for row in error.kwargs.get("errors", ())}
    return "the name server says " + ", ".join(sorted(said)) if said else "no name server answers"


def _reachable(address: str) -> bool:
    """Whether a host in the world could have this address: not link-local (it has no meaning without an interface), no group."""
    ip = ipaddress.ip_address(address)
    return not (ip.is_link_local or ip.is_multicast)


def in_hosts(text: str, host: str) -> list[str]:
    """The addresses beside a name in the text of an /etc/hosts (hosts(5))."""
    found = []
    for line in text.split("\n"):
        words = line.partition("#")[0].lower().split()
        if host.lower() in words[1:]:
            try:
                found.append(str(ipaddress.ip_address(words[0])))
            except ValueError:
                continue
    return list(dict.fromkeys(found))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""


def is_own(address: str) -> bool:
    """Whether mail sent to this IP address comes back to this host.  The kernel says it: to its own addresses it would speak
    from that very address.  Nothing is sent."""
    ip = ipaddress.ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback or ip.is_unspecified:
        return True
    with socket.socket(socket.AF_INET6 if ip.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(ip), 25))
            return ipaddress.ip_address(probe.getsockname()[0]) == ip
        except OSError:
            return False
