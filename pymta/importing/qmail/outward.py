"""qmail.outward: rcpthosts, smtproutes, tcp.smtp, and every control file that nobody has asked for."""
from __future__ import annotations

import ipaddress
import itertools
import re

from pymta.importing.qmail.reading import COPIED, Reading
from pymta.importing.source import text

TCPRULES = ("/etc/tcp.smtp", "/etc/tcprules.d/tcp.smtp", "/etc/tcprules/tcp.smtp", "/home/vpopmail/etc/tcp.smtp", "/etc/qmail/tcp.smtp")
RUNS = ("/service", "/etc/service", "/var/qmail/supervise")
TOLD = {
    "concurrencylocal": ("different", "deliveries at a time to mailboxes; ours are grouped, and have no such limit"),
    "bouncefrom": ("different", "returns come from MAILER-DAEMON at host.name"), "bouncehost": ("different", "returns come from MAILER-DAEMON at host.name"),
    "doublebounceto": ("different", "what cannot be returned goes to postmaster: an alias for postmaster or root, or local.admin"),
    "doublebouncehost": ("different", "what cannot be returned goes to postmaster: an alias for postmaster or root, or local.admin"),
    "helohost": ("different", "EHLO says host.name"), "idhost": ("different", "Message-ID fields end in host.name"), "localiphost": ("same", "mail for [address] of this host is ours"),
    "smtpgreeting": ("different", "the greeting names host.name"), "envnoathost": ("different", "a bare name is one of this host"),
    "defaulthost": ("different", "a bare name is one of this host, in the first of local.domains"), "defaultdomain": ("different", "user@host gets no domain added; write it out"),
    "plusdomain": ("different", "user@host+ gets no domain added; write it out"),
    "percenthack": ("unsupported", "user%host@domain was sent on to host; there is no percent hack here"),
    "qmqpservers": ("unsupported", "handed mail over by QMQP; set remote.smarthost"), "badmailfrom": ("unsupported", "refused senders; nothing here does"),
    "badmailto": ("unsupported", "refused recipients; leave them out of aliases and users"), "badhelo": ("unsupported", "refused names in HELO; smtp.helo_check looks at their form"),
    "spfbehavior": ("unsupported", "checked SPF; nothing here does"), "dh2048.pem": ("same", "nothing here has to be told"), "rsa2048.pem": ("same", "nothing here has to be told"),
    "clientcert.pem": ("unsupported", "showed a certificate to other hosts; nothing here does"), "tlsclients": ("unsupported", "let clients relay by their certificate; let them log in"),
    "simcontrol": ("unsupported", "a filter of mail; put one before this host"), "servercert.pem": ("same", ""), "blacklists": ("unsupported", "asked block lists; none are asked here"),
    "authsenders": ("unsupported", "logged in at other hosts; nothing here does"), "domainbindings": ("unsupported", "chose the address mail is sent from"), "outgoingip": ("unsupported", "chose the address mail is sent from"),
}
_READ = {"me", "locals", "rcpthosts", "morercpthosts", "virtualdomains", "smtproutes", "databytes", "defaultdelivery", "morercpthosts.cdb", *COPIED}
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def relay(it: Reading) -> None:
    out = it.out
    rows = [*it.lines("rcpthosts"), *it.lines("morercpthosts")]
    if not rows and not it.source.has(f"{it.directory}/control/rcpthosts"):
        out.different(f"{it.directory}/control/rcpthosts", "no rcpthosts", "mail for every domain was taken from everybody; here only for domains of ours")
        return
    known = {domain.lower() for _, domain in rows}
    domains = [domain for domain in dict.fromkeys(line.lower() for _, line in rows) if not domain.startswith(".") and domain not in it.local + it.virtual + ["localhost"]
               and domain != it.me.lower()]
    for where, line in rows:
        if line.startswith("."):
            out.unsupported(where, f"rcpthosts: {line}", "every domain below it; list those that get mail in local.relay_domains")
    if domains:
        where = next(where for where, line in rows if line.lower() in domains)
        out.set(where, f"rcpthosts: {', '.join(domains)}", "local.relay_domains", ", ".join(domains))
        for domain in domains:
            out.relay_recipient(where, f"@{domain}")
        out.different(where, f"rcpthosts: {', '.join(domains)}", "everybody in them is taken (relay_recipients: @domain), as before; list the addresses where you can")
    if hidden := [domain for domain in it.local + it.virtual if domain not in known and not any(f".{domain}".endswith(one) for one in known if one.startswith("."))]:
        out.different(f"{it.directory}/control/rcpthosts", ", ".join(hidden), "mail for them was taken from this host only; here from everywhere")
    if it.source.has(f"{it.directory}/control/morercpthosts.cdb") and not it.lines("morercpthosts"):
        out.unsupported(f"{it.directory}/control/morercpthosts.cdb", "morercpthosts.cdb", "there is no text beside it; list its domains in local.relay_domains")


def routes(it: Reading) -> None:
    out = it.out
    for where, line in it.lines("smtproutes"):
        pattern, _, rest = line.lower().partition(":")
        match = re.fullmatch(r"(\[[^\]]*\]|[^:\s]*)(?::(\d+))?", rest.split()[0] if rest.split() else "")
        if not match or len(rest.split()) > 1:
            out.unsupported(where, line, "a route with more than host and port (a login, perhaps); nothing here logs in at other hosts")
            continue
        host, port = match[1], match[2] or "25"
        if host.startswith("[") and ":" not in host:
            host = host[1:-1]
        if not pattern and host:
            out.set(where, line, "remote.smarthost", f"{host}:{port}")
        elif not pattern:
            out.same(where, line, "by MX, as without it")
        elif pattern in it.local + it.virtual:
            out.different(where, line, "a domain of ours, whose mail stays here")
        else:
            out.transport(where, line, pattern, f"{host}:{port}" if host else "mx")


def networks(it: Reading) -> None:
    out, at = it.out, ""
    found: list[_Network] = []
    for path in TCPRULES:
        for number, line in enumerate(text(it.source.read(path)).split("\n"), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            where = f"{path}:{number}"
            address, _, rest = line.partition(":")
            action, *environment = re.findall(r'[^,"=]+(?:="[^"]*"|=/[^/]*/)?', rest) or [""]
            names = dict(word.partition("=")[::2] for word in environment)
            if "RELAYCLIENT" in names:
                networks = _networks(address)
                if names["RELAYCLIENT"].strip("\"'/"):
                    out.unsupported(where, line, "changed the recipients of these clients; nothing here does")
                elif networks is None:
                    out.unsupported(where, line, "clients by name, or all of them; list their networks in smtp.relay_from")
                else:
                    found += networks
                    at = at or where
            if action.strip() == "deny":
                out.unsupported(where, line, "shut clients out; the firewall does that")
            for name in sorted(set(names) - {"RELAYCLIENT"}):
                if name == "QMAILQUEUE":
                    out.unsupported(where, line, "another program took the mail (a filter); put a filter before this host")
                elif name == "DATABYTES":
                    out.different(where, line, "a size for some clients; queue.size_max holds for all")
                else:
                    out.unsupported(where, line, f"{name}: a setting for some clients that nothing here knows")
    if found:
        four = ipaddress.collapse_addresses(one for one in found if isinstance(one, ipaddress.IPv4Network))
        six = ipaddress.collapse_addresses(one for one in found if isinstance(one, ipaddress.IPv6Network))
        out.set(at, "RELAYCLIENT", "smtp.relay_from", " ".join(map(str, [*four, *six])))
    else:
        out.same("default", "no RELAYCLIENT", "smtp.relay_from is empty: nobody relays without a login")


def services(it: Reading) -> None:
    """Programs that stand before qmail-smtpd in its run script."""
    seen = set()
    for directory in RUNS:
        for name in it.source.names(directory):
            path = f"{directory}/{name}/run"
            for number, line in enumerate(text(it.source.read(path)).split("\n"), 1):
                for word in ("rblsmtpd", "spamdyke", "greylite", "qmail-scanner", "simscan", "vmailmgr"):
                    if re.search(rf"(?:^|[\s/]){word}\b", line.partition("#")[0]) and (word, line) not in seen:
                        seen.add((word, line))
                        it.out.unsupported(f"{path}:{number}", line.strip(), f"{word} looked at clients or mail; nothing here does; put a filter before this host")


def rest(it: Reading) -> None:
    for name in it.source.names(f"{it.directory}/control"):
        rows = it.lines(name) if name not in _READ else []
        if not rows or name == "servercert.pem":
            continue
        verdict, told = TOLD.get(name, ("unsupported", "this program does not know what becomes of it"))
        shown = rows[0][1] if len(rows) == 1 and not name.endswith(".pem") else f"{len(rows)} lines"
        if name in ("envnoathost", "defaulthost", "helohost", "idhost", "bouncehost", "doublebouncehost", "localiphost") and shown.lower() == it.me.lower():
            verdict, told = "same", "host.name"
        it.out.rows_for(verdict)(rows[0][0], f"{name}: {shown}", told)


def _networks(rule: str) -> list[_Network] | None:
    """The addresses of a rule of tcprules(1): 192.0.2.1, 192.0.2., 10.0.0-9., 192.0.2.0/24; None for names and for everybody."""
    try:
        if "/" in rule or re.fullmatch(r"[0-9.]+[0-9]", rule) and rule.count(".") == 3:
            return [ipaddress.ip_network(rule, strict=False)]
    except ValueError:
        return None
    parts = rule.split(".")
    if not rule.endswith(".") or not 2 <= len(parts) <= 4 or not all(re.fullmatch(r"\d{1,3}(?:-\d{1,3})?", part, re.ASCII) for part in parts[:-1]):
        return None
    ranges = [range(int(part.partition("-")[0]), int(part.partition("-")[2] or part) + 1) for part in parts[:-1]]
    if any(not one or one[-1] > 255 for one in ranges):
        return None
    found = itertools.islice(itertools.product(*ranges), 65536)
    return [ipaddress.ip_network(f"{'.'.join(map(str, octets))}{'.0' * (4 - len(octets))}/{8 * len(octets)}") for octets in found]
