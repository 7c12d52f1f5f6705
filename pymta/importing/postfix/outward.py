"""postfix.outward: where mail for elsewhere goes: relay_domains, relayhost, transport_maps."""
from __future__ import annotations

import re

from pymta.importing.postfix.reading import SERVICES, Reading


def relay(it: Reading) -> None:
    values, out = it.values, it.out
    domains = [domain for domain in it.names_in("relay_domains") if domain not in it.local + it.virtual]
    if not domains:
        it.given("relay_recipient_maps", "relay_transport")
        return
    out.set(*it.at("relay_domains"), "local.relay_domains", ", ".join(domains))
    if "relay_domains" in values.get("parent_domain_matches_subdomains"):
        out.different(*it.at("relay_domains"), "domains below them were taken too; list those that get mail in local.relay_domains")
    table = it.table("relay_recipient_maps")
    if not it.given("relay_recipient_maps") or not values.list("relay_recipient_maps"):
        for domain in domains:
            out.relay_recipient(values.where("relay_domains"), f"@{domain}")
        out.different(*it.at("relay_domains"), "everybody in them is taken (relay_recipients: @domain), as before; list the addresses where you can")
        return
    for entry in table.entries.values():
        if entry.key.rpartition("@")[2].lower() not in domains:
            out.different(entry.where, entry.key, "not in a domain of relay_domains, and so never used")
        else:
            out.relay_recipient(entry.where, entry.key)
    out.same(*it.at("relay_recipient_maps"), f"relay_recipients: {len(out.relay_recipients)} addresses")
    for domain in domains:
        if not any(name.endswith(f"@{domain}") for name in out.relay_recipients):
            out.different(*it.at("relay_recipient_maps"), f"nobody in {domain} is known: all its mail is refused; add addresses to relay_recipients")
    if (transport := values.get("relay_transport")).partition(":")[0] not in ("relay", "smtp"):
        out.unsupported(*it.at("relay_transport"), f"mail for these domains went by {transport}; write transports")
    it.given("relay_transport")


def way_out(it: Reading) -> None:
    values, out = it.values, it.out
    relay = values.get("relayhost")
    if it.given("relayhost") and relay:
        host, port, mx = _next_hop(relay)
        out.set(*it.at("relayhost"), "remote.smarthost", f"{host}:{port}",
                f"the host itself is asked; Postfix asked the MX of {host}" if mx and not _is_literal(host) else "")
    it.given("smtp_sasl_auth_enable", "smtp_sasl_security_options", "smtp_sasl_tls_security_options", "smtp_sasl_mechanism_filter")
    if values.get("smtp_sasl_auth_enable") == "yes":
        table = it.table("smtp_sasl_password_maps")
        out.unsupported(*it.at("smtp_sasl_auth_enable"), f"logged in at {len(table.entries)} other hosts before sending; nothing here does; let the smarthost "
                        "take mail from this host's address")
    it.given("smtp_sasl_password_maps")
    if it.given("smtp_tls_wrappermode") and values.get("smtp_tls_wrappermode") == "yes":
        out.unsupported(*it.at("smtp_tls_wrappermode"), "spoke TLS from the first byte to the smarthost; use its port 587 or 25 with STARTTLS")
    if it.given("smtp_tls_security_level"):
        level = values.get("smtp_tls_security_level")
        if level in ("may", "none", ""):
            out.set(*it.at("smtp_tls_security_level"), "remote.tls", "may" if level == "may" else "never")
        else:
            out.unsupported(*it.at("smtp_tls_security_level"), "refused to send without TLS (or a checked name); here TLS is used wherever it is offered, no more")
    if it.given("default_transport") and values.get("default_transport").partition(":")[0] != "smtp":
        out.unsupported(*it.at("default_transport"), "mail for other hosts went another way than SMTP; '*' in transports knows smtp and lmtp")


def transports(it: Reading) -> None:
    out = it.out
    if not it.given("transport_maps"):
        return
    table = it.table("transport_maps")
    ours = set(it.local + it.virtual + ["localhost"])
    for entry in table.entries.values():
        pattern, what = entry.key.lower(), f"{entry.key} {entry.value}"
        name, _, hop = entry.value.partition(":")
        if "@" in pattern:
            out.unsupported(entry.where, what, "a way for one address; here the domain decides; write an alias to an address in a domain of its own")
        elif pattern in ours:
            if name in ("local", "virtual") or not name and not hop:
                out.same(entry.where, what, "the domain is ours")
            else:
                out.unsupported(entry.where, what, f"{pattern} is ours, so its mail stays here; take it out of local.domains or local.virtual_domains, "
                                "add it to local.relay_domains and relay_recipients, and write it into transports")
        elif name in ("smtp", "relay", ""):
            if not hop:
                out.transport(entry.where, what, pattern, "mx")
                continue
            host, port, mx = _next_hop(hop)
            note = f"{host} itself is asked; Postfix asked its MX" if mx and not _is_literal(host) else ""
            out.transport(entry.where, what, pattern, f"{host}:{port}", note)
        elif name == "lmtp" and not hop.startswith("unix:"):
            host, port, _ = _next_hop(hop.removeprefix("inet:"), "24")
            out.transport(entry.where, what, pattern, f"lmtp:{host}:{port}")
        elif name == "lmtp":
            out.unsupported(entry.where, what, "LMTP to a Unix socket; let that program listen on 127.0.0.1:24 and write lmtp:127.0.0.1:24")
        elif name in ("error", "retry", "discard"):
            out.unsupported(entry.where, what, "refused, kept or dropped the mail; nothing here does")
        else:
            out.unsupported(entry.where, what, f"{_transport(it, name)}; ours knows smtp and lmtp")
    if table.static is not None:
        out.unsupported(*it.at("transport_maps"), "one way for everything; write '*' in transports, or remote.smarthost")


def _transport(it: Reading, name: str) -> str:
    for service in it.services:
        if service.name == name:
            return f"went to the program {service.command} {' '.join(service.words)} ({service.where})"
    return f"went by {name}, which master.cf does not have"


def _is_literal(host: str) -> bool:
    return bool(re.fullmatch(r"\[?[0-9.]+\]?|\[[0-9a-fA-F:]+\]", host))


def _next_hop(text: str, default: str = "25") -> tuple[str, str, bool]:
    """(host, port, whether the MX of host is meant) of [host]:port, host:port, host; an IPv6 address keeps its brackets."""
    match = re.fullmatch(r"\[([^\]]*)\](?::(\S+))?", text.strip())
    if match:
        host, port, mx = match[1].removeprefix("ipv6:").removeprefix("IPv6:"), match[2] or default, False
    else:
        host, _, port = text.strip().partition(":")
        port, mx = port or default, True
    return f"[{host}]" if ":" in host else host, SERVICES.get(port, port), mx
