"""telling: what pymta-setup says at the end: the certificate, the records to publish, whose the ports are, and what is next."""
from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pymta import zone
from pymta.tls import check as tls_check, files as tls_files
from pymta.doctor import listeners, names
from pymta.settings import DEFAULT_ETC, Settings

OURS, FREE, TAKEN, UNKNOWN = "ours", "free", "taken", "unknown"
# by which of its addresses this host speaks to the world; nothing is sent (RFC 5737, RFC 3849: nobody has these)
_FAR = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))


@dataclass(frozen=True, slots=True)
class Port:
    """listener: imaps, say; address: as it is configured; state: OURS, FREE, TAKEN or UNKNOWN; by: whose it is."""

    listener: str
    address: str
    state: str
    by: str = ""


# ---- the certificate --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Tls:
    """found: the certificate for the host name, if there is one; make: where a self-signed one is to be made, "" for nowhere."""

    found: tls_check.Certificate | None
    make: str
    others: int = 0


def certificate(settings: Settings, self_signed: bool) -> Tls:
    """What there is, and what is to be made: one where there is none at all, as the daemons would; with self_signed also where none is for
    the host name, unless another's would have to go."""
    found = tls_check.look(settings)
    ours = next((one for one in found if one.unseen or one.serves(settings.host) and not one.wrong), None)
    folder = tls_files.Files(settings).etc
    own = next((one for one in found if os.path.dirname(one.path) == folder), None)
    may = own is None or own.facts is not None and own.facts.self_signed
    wanted = not found and settings["tls.self_signed"] or self_signed and (ours is None or ours.facts is not None and ours.facts.self_signed and not ours.serves(settings.host))
    return Tls(ours, folder if wanted and may and not ours else "", len(found))


def certificate_lines(settings: Settings, tls: Tls, now: float) -> list[str]:
    """What there is to say of it, and how a better one is found."""
    one, where = tls.found, settings["tls.certificates"]
    how = (f"one by certbot is found in {where} by itself, and each new one too: certbot certonly --standalone -d {settings.host}" if where
           else f"put cert.pem and key.pem of an authority into {tls_files.Files(settings).etc}; they are used from the next connection on")
    if one is None:
        return [f"there is none for {settings.host}", how]
    if one.unseen:
        return [f"{one.path} {one.unseen}"]
    said = f"{one.path} is for {settings.host} and ends in {one.days(now):.0f} days"
    return [f"{said}; it is self-signed, so mail programs warn their users", how] if one.facts and one.facts.self_signed else [said]


# ---- the DNS ----------------------------------------------------------------------------------------------------------
def addresses(settings: Settings, given: Iterable[str]) -> list[str]:
    """By which the world reaches this host, as far as that can be told: those the admin gave, else those it speaks from."""
    known = list(dict.fromkeys((*given, *settings["host.addresses"])))
    return known or [address for far, family in _FAR if (address := _source(far, family)) and ipaddress.ip_address(address).is_global]


def _source(far: str, family: int) -> str:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 25))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def records(settings: Settings, known: Iterable[str], tls: Tls | None = None) -> list[zone.Record]:
    """tls: whose key a TLSA record is to name, None for no such record."""
    ports = zone.ports({name: settings[row[0]] for name, row in listeners.LISTENERS.items()})
    key_hash = ""
    if tls is not None and tls.found is not None and tls.found.pem:
        from pymta.tls import make as tls_make
        key_hash = tls_make.key_hash(tls.found.pem)
    return zone.wanted(settings.host, known, names.domains_of(settings), ports, key_hash)


# ---- ports ------------------------------------------------------------------------------------------------------------
def ports(settings: Settings) -> list[Port]:
    """Whose each configured address is now."""
    rows = [(name, host, port) for name, (setting, *_) in listeners.LISTENERS.items() for host, port in settings[setting]]
    with ThreadPoolExecutor(len(rows) or 1) as pool:
        return list(pool.map(lambda row: _port(settings, *row), rows))


def _port(settings: Settings, name: str, host: str, port: int) -> Port:
    shown = listeners.shown(host, port)
    answer = listeners.ask(settings, name, host, port)
    if answer.ours:
        return Port(name, shown, OURS)
    if answer.errno:
        free = answer.why in ("Connection refused", "No such file or directory")
        return Port(name, shown, FREE if free else UNKNOWN, "" if free else answer.why)
    by = listeners.owner_of(port) if port else ""
    return Port(name, shown, TAKEN, by or answer.greeting[:80].decode("utf-8", "replace").strip() or answer.why)


# ---- what is next -----------------------------------------------------------------------------------------------------
def next_steps(settings: Settings, tls: Tls, found: list[Port], user: str, *, systemd: bool, changed: bool) -> list[str]:
    def own(program: str) -> str:
        return program if settings.etc == DEFAULT_ETC else f"{program} --etc {settings.etc}"

    out = []
    for port in found:
        if port.state == TAKEN:
            out.append(f"stop what listens on {port.address} ({port.by}): pymta wants it for {port.listener}")
    runs = any(port.state == OURS for port in found)
    if not runs:
        out.append("start it: systemctl enable --now pymta.target" if systemd else f"start it: {own('pymta-ctl')} start")
    elif changed:
        out.append("put it in force: systemctl reload pymta-smtpd pymta-qrun pymta-local pymta-remote pymta-imapd pymta-pop3d" if systemd
                   else f"put it in force: {own('pymta-ctl')} reload")
    out.append(f"publish the records ({own('pymta-setup')} --records prints them); PTR is set by whoever gave you the address")
    if tls.found is None or tls.found.facts is not None and tls.found.facts.self_signed:
        out.append(f"get a certificate that others trust: certbot certonly --standalone -d {settings.host}")
    open_ports = sorted({int(port.address.rpartition(":")[2]) for port in found if not port.address.startswith(("/", "127.", "[::1]"))})
    if open_ports:
        out.append(f"let the firewall pass TCP {', '.join(map(str, open_ports))} in and 25 out")
    if not settings["local.admin"]:
        out.append(f"name who reads root's mail: {own('pymta-setup')} --admin; until then it waits in hold/")
    if user:
        imaps, submissions = (_port_of(settings, name) for name in ("imap.listen_tls", "smtp.submissions"))
        out.append(f"mail programs: user {user}, IMAP {settings.host} port {imaps} and SMTP port {submissions}, both with TLS")
    out.append(f"look it all over: {own('pymta-doctor')}, and with --outside at the way out")
    return out


def _port_of(settings: Settings, name: str) -> str:
    return str(settings[name][0][1]) if settings[name] else "(none)"
