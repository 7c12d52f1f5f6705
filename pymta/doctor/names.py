"""names: what is published in the DNS of this host and its domains, against what should be (zone.py).

Only the name server that pymta-remote would ask is asked; nothing else leaves this host.
"""
from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator

from pymta import zone
from pymta.accounts import Accounts
from pymta.doctor import spf
from pymta.doctor.finding import FAULT, NOTE, WARNING, Case, Finding
from pymta.doctor.listeners import LISTENERS
from pymta.formats.live import quiet
from pymta.outcome import Outcome
from pymta.resolver import Resolver, is_own
from pymta.settings import Settings

SUBJECT = "dns"
_DOMAINS_MAX = 50
_AT_ONCE = 20


class Dns:
    """Questions, each asked once; what could not be told is kept in trouble."""

    def __init__(self, settings: Settings) -> None:
        self._resolver = Resolver(settings.host, server=settings["dns.server"], timeout_s=settings["dns.timeout"])
        self._said: dict[tuple[str, str], asyncio.Task[list[str] | Outcome]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.trouble: dict[str, None] = {}
        self.answers = 0

    async def ask(self, name: str, kind: str) -> list[str] | Outcome:
        key = name.rstrip(".").lower(), kind
        if key not in self._said:
            self._said[key] = asyncio.create_task(self._ask(*key))
        return await self._said[key]

    async def _ask(self, name: str, kind: str) -> list[str] | Outcome:
        async with self._gate:
            found = await self._resolver.records(name, kind)
        if isinstance(found, Outcome):
            self.trouble[found.text] = None
        else:
            self.answers += 1
        return found

    async def known(self, name: str, kind: str) -> list[str] | None:
        """The records; None where it cannot be told (which trouble then says)."""
        found = await self.ask(name, kind)
        return None if isinstance(found, Outcome) else found

    async def addresses(self, name: str) -> list[str] | None:
        four, six = await asyncio.gather(self.known(name, "A"), self.known(name, "AAAA"))
        return None if four is None and six is None else [*(four or []), *(six or [])]


def domains_of(settings: Settings) -> list[str]:
    """Those of our domains that stand in the DNS: at least the host's own name."""
    try:
        named = Accounts(settings, quiet).table().domains
    except OSError:
        named = {}
    found = [domain for domain in dict.fromkeys((*settings["local.domains"], *settings["local.virtual_domains"], *named))
             if "." in domain and domain != "localhost"]
    return found or [settings.host]


def server_trouble(settings: Settings) -> tuple[str, str, str] | None:
    """What is wrong with dns.server: (what, why, remedy)."""
    server = settings["dns.server"]
    try:
        ipaddress.ip_address(server[0] if server else "::")
    except ValueError:
        return "dns.server", f"{server[0]} is no IP address, and nobody could be asked for it", "write the address of the name server"
    return None


def look(case: Case) -> Iterator[Finding]:
    yield from asyncio.run(_look(case))


async def _look(case: Case) -> list[Finding]:
    settings = case.settings
    if "." not in settings.host:
        return [Finding(SUBJECT, settings.host, "it has no domain, so nobody can find it", "set host.name", WARNING)]
    if trouble := server_trouble(settings):
        return [Finding(SUBJECT, *trouble)]
    domains = domains_of(settings)
    dns = Dns(settings)
    published = await dns.addresses(settings.host)
    mine = [address for address in published or [] if _is_ours(settings, address)]
    parts = await asyncio.gather(_host(case, dns, published, mine), *(_domain(case, dns, domain, mine) for domain in domains[:_DOMAINS_MAX]),
                                 *(_relayed(case, dns, domain) for domain in settings["local.relay_domains"][:_DOMAINS_MAX]))
    if dns.trouble and not dns.answers:
        return [Finding(SUBJECT, "the name server", f"it answers nothing: {next(iter(dns.trouble))}", "mend /etc/resolv.conf or dns.server; "
                        "mail for other hosts waits meanwhile")]
    out = [one for part in parts for one in part]
    if len(domains) > _DOMAINS_MAX:
        out.append(Finding(SUBJECT, f"{len(domains)} domains", f"only the first {_DOMAINS_MAX} were looked at", "", NOTE))
    out += [Finding(SUBJECT, "the name server", text, "ask again later", WARNING) for text in dns.trouble]
    return out


def _is_ours(settings: Settings, address: str) -> bool:
    return address in settings["host.addresses"] or is_own(address) and not ipaddress.ip_address(address).is_loopback


def _publish(record: zone.Record) -> str:
    return f"publish: {record.name}. IN {record.kind} {record.data}"


# ---- the host ---------------------------------------------------------------------------------------------------------
async def _host(case: Case, dns: Dns, published: list[str] | None, mine: list[str]) -> list[Finding]:
    settings, host, out = case.settings, case.settings.host, []
    if published == []:
        out.append(Finding(SUBJECT, host, "the DNS has no address for it, so no mail comes from other hosts", f"publish: {host}. IN A and the address of this host"))
    for address in published or []:
        if address not in mine:
            out.append(Finding(SUBJECT, host, f"the DNS says {address}, which is no address of this host",
                               f"change the record; or, if something leads {address} here (NAT), set host.addresses = {address}", WARNING))
    for address in mine:
        out += await _pointer(settings, dns, address)
    if await dns.known(host, "CNAME"):
        out.append(Finding(SUBJECT, host, "it is an alias (CNAME), which an MX must not lead to (RFC 5321 §5.1)", "publish A and AAAA in its place", WARNING))
    if mine and not settings["remote.smarthost"]:
        for address in mine:
            result, record = await spf.check(address, host, dns.ask)
            if result in ("fail", "softfail", "permerror"):
                out.append(_not_let(host, address, result, record))
            elif result == "none":
                out.append(Finding(SUBJECT, host, "it has no SPF record, by which others know its EHLO and its bounces (RFC 7208 §2.3)",
                                   _publish(zone.Record(host, "TXT", zone.quoted("v=spf1 a -all"), "")), NOTE))
                break
    return out


async def _pointer(settings: Settings, dns: Dns, address: str) -> list[Finding]:
    name = zone.reverse(address)
    found = await dns.known(name, "PTR")
    if found is None or settings["remote.smarthost"]:
        return []
    names = [each.rstrip(".").lower() for each in found]
    if not names:
        return [Finding(SUBJECT, address, "the DNS has no name for it (PTR), so many hosts refuse our mail",
                        f"let whoever gave you the address publish: {name}. IN PTR {settings.host}.", WARNING)]
    if settings.host in names:
        return []
    back = [each for each in names if address in (await dns.addresses(each) or [])]
    if back:
        return [Finding(SUBJECT, address, f"its name (PTR) is {back[0]}, while this host calls itself {settings.host}", f"let it be {settings.host}", NOTE)]
    return [Finding(SUBJECT, address, f"its name (PTR) is {names[0]}, which does not lead back to it, so many hosts refuse our mail",
                    f"let whoever gave you the address publish: {name}. IN PTR {settings.host}.", WARNING)]


# ---- a domain ---------------------------------------------------------------------------------------------------------
async def _domain(case: Case, dns: Dns, domain: str, mine: list[str]) -> list[Finding]:
    mx, letters, reports, services = await asyncio.gather(_mx(case, dns, domain), _spf(case, dns, domain, mine), _dmarc(dns, domain), _srv(case, dns, domain))
    return mx + letters + reports + services


async def _mx(case: Case, dns: Dns, domain: str) -> list[Finding]:
    settings = case.settings
    found = await dns.known(domain, "MX")
    if found is None:
        return []
    remedy = _publish(zone.Record(domain, "MX", f"10 {settings.host}.", ""))
    targets = [row.split()[-1].rstrip(".").lower() for row in sorted(found, key=_preference)]
    if targets == [""]:
        return [Finding(SUBJECT, domain, "its MX says that it takes no mail (RFC 7505)", remedy)]
    if not targets:
        addresses = await dns.addresses(domain)
        if addresses is None or domain == settings.host and addresses:
            return []
        if any(_is_ours(settings, address) for address in addresses):
            return [Finding(SUBJECT, domain, "it has no MX; mail comes here by its address alone", remedy, WARNING)]
        return [Finding(SUBJECT, domain, "it has no MX" + (f", and its address, {addresses[0]}, is another host's" if addresses else "")
                        + ", so no mail for it comes here", remedy)]
    out, here = [], False
    for target in targets:
        addresses = await dns.addresses(target)
        if addresses == []:
            out.append(Finding(SUBJECT, domain, f"its MX {target} has no address", "take the MX away, or publish the address", WARNING))
        if target == settings.host or any(_is_ours(settings, address) for address in addresses or []):
            here = True
        if await dns.known(target, "CNAME"):
            out.append(Finding(SUBJECT, domain, f"its MX {target} is an alias (CNAME), which some hosts do not follow (RFC 5321 §5.1)",
                               "let the MX name the host itself", WARNING))
    if not here:
        out.append(Finding(SUBJECT, domain, f"its MX is {', '.join(targets)}, so its mail goes there and not here", remedy))
    return out


def _preference(row: str) -> int:
    first = row.partition(" ")[0]
    return int(first) if first.isdecimal() else 0


async def _relayed(case: Case, dns: Dns, domain: str) -> list[Finding]:
    """A domain whose mail we take for another host."""
    found = await dns.known(domain, "MX")
    if found is None or any(row.split()[-1].rstrip(".").lower() == case.settings.host for row in found):
        return []
    return [Finding(SUBJECT, domain, f"it stands in local.relay_domains, but {case.settings.host} is no MX of it", "publish one with a higher number than its own host, "
                    "or take the domain out", WARNING)]


async def _spf(case: Case, dns: Dns, domain: str, mine: list[str]) -> list[Finding]:
    if domain == case.settings.host:
        return []                                       # told with the host
    records = await spf.records_of(domain, dns.ask)
    if isinstance(records, Outcome):
        return []
    if not records:
        return [Finding(SUBJECT, domain, "it has no SPF record, so anybody may send in its name, and big hosts distrust our mail",
                        _publish(zone.Record(domain, "TXT", zone.quoted("v=spf1 mx -all"), "")), WARNING)]
    if case.settings["remote.smarthost"]:
        return [Finding(SUBJECT, domain, "mail leaves by remote.smarthost, whose addresses its SPF record must let", f"look: {records[0]}", NOTE)]
    out = []
    for address in mine:
        result, record = await spf.check(address, domain, dns.ask)
        if result == "unknown":
            out.append(Finding(SUBJECT, domain, f"whether its SPF record lets {address} cannot be told before a mail is sent", f"look: {record}", NOTE))
        elif result in ("fail", "softfail", "neutral", "permerror"):
            out.append(_not_let(domain, address, result, record))
            if result == "permerror":
                break
    return out


def _not_let(domain: str, address: str, result: str, record: str) -> Finding:
    if result == "permerror":
        return Finding(SUBJECT, domain, f"nobody can use its SPF record: there are two, it is wrong, or it needs too many look-ups: {record}",
                       "let there be one that is right (RFC 7208)")
    said = {"fail": "forbids", "softfail": "disapproves of", "neutral": "says nothing of"}[result]
    return Finding(SUBJECT, domain, f"its SPF record {said} mail from {address}: {record}", f"add ip{ipaddress.ip_address(address).version}:{address} or mx to it",
                   FAULT if result == "fail" else WARNING)


async def _dmarc(dns: Dns, domain: str) -> list[Finding]:
    name = f"_dmarc.{domain}"
    found = await dns.known(name, "TXT")
    if found is None:
        return []
    texts = [text for text in map(spf.joined, found) if text.replace(" ", "").lower().startswith("v=dmarc1")]
    remedy = _publish(zone.Record(name, "TXT", zone.quoted(f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}"), ""))
    if not texts:
        parent = domain.partition(".")[2]
        if "." in parent and (above := await dns.known(f"_dmarc.{parent}", "TXT")) and any("dmarc1" in text.lower() for text in above):
            return []                                   # RFC 7489 §6.6.3: that of the organisation holds
        return [Finding(SUBJECT, domain, "it has no DMARC record, which big hosts ask for", remedy, WARNING)]
    if len(texts) > 1:
        return [Finding(SUBJECT, domain, "it has several DMARC records, so none of them counts (RFC 7489 §6.6.3)", "leave one", WARNING)]
    tags = dict(part.strip().partition("=")[::2] for part in texts[0].split(";"))
    if tags.get("p", "").strip().lower() not in ("none", "quarantine", "reject"):
        return [Finding(SUBJECT, domain, f"its DMARC record has no policy (p=): {texts[0]}", remedy, WARNING)]
    return []


async def _srv(case: Case, dns: Dns, domain: str) -> list[Finding]:
    """RFC 6186: mail programs that set themselves up."""
    ports = zone.ports({name: case.settings[row[0]] for name, row in LISTENERS.items()})
    wanted = [record for record in zone.wanted(case.settings.host, [], [domain], ports) if record.kind == "SRV"]
    answers = await asyncio.gather(*(dns.known(record.name, "SRV") for record in wanted))
    out, missing = [], []
    for record, found in zip(wanted, answers):
        if found == []:
            missing.append(record)
        elif found and record.data.split()[2:] not in [row.lower().split()[2:] for row in found]:
            out.append(Finding(SUBJECT, domain, f"{record.name} leads mail programs to {_where(found[0])}, not to {_where(record.data)}", _publish(record), WARNING))
    if missing:
        out.append(Finding(SUBJECT, domain, f"mail programs cannot find their servers by themselves: there is no {', '.join(row.name.partition('.')[0] for row in missing)}",
                           "pymta-setup --records prints the SRV records", NOTE))
    return out


def _where(data: str) -> str:
    words = data.split()
    return f"{words[3].rstrip('.')}:{words[2]}" if len(words) == 4 and words[3] != "." else "nowhere"
