"""zone: the records that should stand in the DNS for this host and its domains.

    wanted(host, addresses, domains, ports) -> [Record, ...]          text(records) -> lines for a zone file (RFC 1035 §5.1)

pymta-setup prints them, pymta-doctor compares them with what is published.  Pure: what is known of the host is handed in.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

MUST, SHOULD, MAY = "must", "should", "may"
_TTL = 3600
# RFC 6186 §3, RFC 8314 §5.1: TLS from the first byte comes first, IMAP before POP3
_SERVICES = (("_submissions._tcp", "submissions", 0), ("_submission._tcp", "submission", 10), ("_imaps._tcp", "imaps", 0), ("_pop3s._tcp", "pop3s", 10))
_USUAL = {"_submissions._tcp": 465, "_submission._tcp": 587, "_imaps._tcp": 993, "_pop3s._tcp": 995}

DKIM = ("DKIM: pymta does not sign mail yet, so there is no key to publish.  The record will be SELECTOR._domainkey.DOMAIN TXT "
        '"v=DKIM1; k=...; p=...".')


@dataclass(frozen=True, slots=True)
class Record:
    """name: without the last dot; kind: A, AAAA, MX, TXT, PTR, SRV, TLSA; data: as a zone file writes it; why: what it is for; need: MUST,
    SHOULD or MAY."""

    name: str
    kind: str
    data: str
    why: str
    need: str = SHOULD


def wanted(host: str, addresses: Iterable[str], domains: Iterable[str], ports: Mapping[str, int], key_hash: str = "") -> list[Record]:
    """addresses: those by which the world reaches the host; domains: whose mail ends here; ports: submissions, submission, imaps, pop3s:
    those that are served; key_hash: SHA-256 of the public key, hexadecimal, where a TLSA record is wanted."""
    out = []
    for address in addresses:
        version = ipaddress.ip_address(address).version
        out.append(Record(host, "A" if version == 4 else "AAAA", address, "where this host is", MUST))
        out.append(Record(reverse(address), "PTR", f"{host}.", "set by whoever gave you the address; without it many refuse our mail", MUST))
    out.append(Record(host, "TXT", quoted("v=spf1 a -all"), "SPF of the name this host says in EHLO, and of its bounces"))
    for domain in dict.fromkeys(domains):
        out.append(Record(domain, "MX", f"10 {host}.", f"mail for {domain} comes here", MUST))
        if domain != host:
            out.append(Record(domain, "TXT", quoted("v=spf1 mx -all"), f"SPF: this host alone sends mail of {domain}"))
        out.append(Record(f"_dmarc.{domain}", "TXT", quoted(f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}"),
                          "DMARC: others report what they see; p=quarantine once DKIM is there"))
        for label, service, priority in _SERVICES:
            if service in ports:
                out.append(Record(f"{label}.{domain}", "SRV", f"{priority} 1 {ports[service]} {host}.", "mail programs find this host by it (RFC 6186)", MAY))
    if key_hash:
        out.append(Record(f"_25._tcp.{host}", "TLSA", f"3 1 1 {key_hash}",
                          "only in a zone with DNSSEC; change it before the key does (certbot: --reuse-key)", MAY))
    return out


def text(records: Iterable[Record]) -> str:
    """Lines of a zone file, in the order given, with a word on each group."""
    records = list(records)
    names = max((len(record.name) for record in records), default=0) + 1
    kinds = max((len(record.kind) for record in records), default=0)
    out, before = [], ""
    for record in records:
        if record.why != before:
            out.append(f"; {record.why}" + (" (optional)" if record.need == MAY else ""))
            before = record.why
        out.append(f"{record.name + '.':{names}} {_TTL} IN {record.kind:{kinds}} {record.data}")
    return "".join(f"{line}\n" for line in [*out, f"; {DKIM}"])


def rows(records: Iterable[Record]) -> list[dict[str, str]]:
    """The same for JSON."""
    return [asdict(record) for record in records]


def ports(listeners: Mapping[str, Iterable[tuple[str, int]]]) -> dict[str, int]:
    """For each service that is served its port: the usual one where it is among them, for a packet filter may lead another there."""
    out = {}
    for label, service, _ in _SERVICES:
        found = [port for _, port in listeners.get(service, ())]
        if found:
            out[service] = _USUAL[label] if _USUAL[label] in found else found[0]
    return out


def reverse(address: str) -> str:
    """The name whose PTR an address is (RFC 1035 §3.5, RFC 3596 §2.5)."""
    return ipaddress.ip_address(address).reverse_pointer


def quoted(value: str) -> str:
    """One character-string of a TXT record."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
