"""check: what is wrong in the configuration, before mail finds out.                     pymta-config(8)

Each function looks at one file, or at settings that do harm together, and yields Findings: where, the reason, the remedy.  A fault
means that something the admin wrote is not done, or that mail goes wrong; a warning, that it may be meant.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pymta import clock, imap_without, outcome
from pymta.tls import check as tls_check, files as tls_files
from pymta.accounts import Accounts, Trouble
from pymta.formats import aliases as formats_aliases
from pymta.formats import passwords, relay_recipients, senders, transports, users
from pymta.formats.live import quiet
from pymta.routing import HOLD, Router
from pymta.settings import Settings

# an address nobody has, to ask a catch-all with; no character in it parts an extension
_NOBODY = "pymtaconfigcheck"


@dataclass(frozen=True, slots=True)
class Finding:
    """where: file:line, a file or a setting; text: reason; remedy."""

    where: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {'warning: ' if self.warning else ''}{self.text}"


def everything(settings: Settings) -> list[Finding]:
    """All that can be found wrong in ETC, each once."""
    found: dict[Finding, None] = {}
    for complaint in settings.complaints:
        where, _, text = complaint.partition(": ")
        found[Finding(where, text)] = None
    for look in (_rights, _combinations, _networks, _listeners, _tls, _capabilities, _users, _passwords, _transports, _senders, _relay, _aliases, _nobodys_mail):
        try:
            found.update(dict.fromkeys(look(settings)))
        except OSError as error:
            # only the password children may read the passwords: to say so is no fault of the configuration
            warning = isinstance(error, PermissionError) and look is _passwords
            found[Finding(error.filename or settings.etc, f"cannot be read: {error.strerror}; run this as root", warning)] = None
    return list(found)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _at(settings: Settings, name: str) -> str:
    """Where a setting was made."""
    source = settings.sources[name]
    return source if ":" in source else name


def _rights(settings: Settings) -> Iterator[Finding]:
    for name in ("", "pymta.conf", "aliases", "users", "passwords", "senders", "transports"):
        path = os.path.join(settings.etc, name).rstrip("/")
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            if not name:
                yield Finding(path, "there is no such directory, so the defaults hold; make it, or name another with --etc", True)
            continue
        if stat.st_mode & 0o002:
            yield Finding(path, "everybody may write it, and so read all mail; chmod o-w")
        if name == "passwords" and stat.st_mode & 0o004 and stat.st_size:
            yield Finding(path, "everybody may read it; chmod 640 and chgrp pymta-auth")


# ---- settings that do harm together -----------------------------------------------------------------------------------
def _combinations(settings: Settings) -> Iterator[Finding]:
    value: Callable[[str], Any] = settings.__getitem__

    def warn(name: str, text: str) -> Finding:
        return Finding(_at(settings, name), f"{name}: {text}", True)

    if "." not in settings.host:
        yield warn("host.name", f"{settings.host} has no domain, so other hosts distrust it; set host.name = mail.example.net")
    for domain in sorted(set(value("local.domains")) & set(value("local.virtual_domains"))):
        yield Finding(_at(settings, "local.virtual_domains"), f"{domain} stands in local.domains too; take it out of one of them")
    if value("local.system_users") and value("local.first_uid") < 100:
        yield warn("local.first_uid", "accounts of daemons get mailboxes; write 1000")
    if value("queue.lifetime") < 4 * 86400 and settings.sources["queue.lifetime"] != "default":
        yield warn("queue.lifetime", "shorter than the 4-5 days RFC 5321 §4.5.4.1 asks for; write 5d")
    if value("queue.bounce_lifetime") > value("queue.lifetime"):
        yield warn("queue.bounce_lifetime", "bounces are tried longer than other mail; make it shorter than queue.lifetime")
    if value("queue.warn_after") >= value("queue.lifetime"):
        yield warn("queue.warn_after", "not before queue.lifetime, so nobody is ever warned; make it shorter, or 0s")
    if not value("queue.retry"):
        yield Finding(_at(settings, "queue.retry"), "queue.retry: empty; write 0s, 5m, 15m, 30m, 60m")
    elif value("queue.retry_max") < value("queue.retry")[-1]:
        yield warn("queue.retry_max", "shorter than the last wait of queue.retry; make it longer")
    if value("smtp.recipients_max") < 100:
        yield warn("smtp.recipients_max", "RFC 5321 §4.5.3.1.8 asks for at least 100; write 100 or more")
    if value("queue.size_max") < 65536:
        yield warn("queue.size_max", "RFC 5321 §4.5.3.1.7 asks for at least 64K; write 64K or more")


def _networks(settings: Settings) -> Iterator[Finding]:
    for network in settings["smtp.relay_from"]:
        if network.prefixlen == 0 or network.is_global and network.prefixlen < (16 if network.version == 4 else 32):
            yield Finding(_at(settings, "smtp.relay_from"),
                          f"smtp.relay_from: {network} makes this host an open relay; name the networks of your own hosts")
    for name, what in (("smtp.xclient_from", "lets strangers send as anybody"), ("smtp.proxy_from", "lets strangers name any address as theirs")):
        for network in settings[name]:
            if network.prefixlen == 0 or network.is_global and network.prefixlen < (24 if network.version == 4 else 48):
                yield Finding(_at(settings, name), f"{name}: {network} {what}; name the addresses of your own front ends")
    for network in settings["login.plain_from"]:
        if network.prefixlen == 0 or network.is_global:
            yield Finding(_at(settings, "login.plain_from"),
                          f"login.plain_from: {network} lets passwords cross the network in the clear; name loopback only", True)


def _listeners(settings: Settings) -> Iterator[Finding]:
    names = ("smtp.listen", "smtp.submission", "smtp.submissions", "smtp.lmtp", "imap.listen", "imap.listen_tls",
             "pop3.listen", "pop3.listen_tls")
    taken: dict[tuple[str, int], str] = {}
    for name in names:
        for pair in settings[name]:
            if pair in taken:
                yield Finding(_at(settings, name), f"{name}: {_shown(pair)} is {taken[pair]}'s already; choose another")
            taken.setdefault(pair, name)
    smarthost = settings["remote.smarthost"]
    itself = smarthost and smarthost[0].lower() in (settings.host, "localhost", "127.0.0.1", "::1")
    if itself and any(port == smarthost[1] for _, port in settings["smtp.listen"]):
        yield Finding(_at(settings, "remote.smarthost"), "remote.smarthost: is this host itself, so mail goes round; name another")


def _shown(pair: tuple[str, int]) -> str:
    if pair[0].startswith("/"):
        return pair[0]
    return f"[{pair[0]}]:{pair[1]}" if ":" in pair[0] else f"{pair[0]}:{pair[1]}"


def _tls(settings: Settings) -> Iterator[Finding]:
    certificate, key = settings["tls.certificate"], settings["tls.key"]
    missing = [(name, path) for name, path in (("tls.certificate", certificate), ("tls.key", key)) if path and not _may_be_there(path)]
    for name, path in missing:
        yield Finding(_at(settings, name), f"{name}: there is no {path}; name a PEM file")
    apart = key and not certificate or certificate and not key and b"PRIVATE KEY" not in _read(certificate)
    if apart:
        yield Finding(_at(settings, "tls.certificate"), "tls.certificate and tls.key belong together; set both or neither")
    submission = settings["smtp.submission"] or settings["smtp.submissions"]
    if submission and not settings["tls.self_signed"] and not tls_files.Files(settings).pairs():
        yield Finding("tls.certificate", "there is no certificate, so nobody can log in to send mail; set tls.certificate and tls.key",
                      True)
    if not missing and not apart:
        yield from (Finding(*one) for one in tls_check.findings(settings, clock.now()))


def _may_be_there(path: str) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return True                                         # others may not look
    except OSError:
        return False
    return True


def _capabilities(settings: Settings) -> Iterator[Finding]:
    for text in imap_without.strangers(name.upper() for name in settings["imap.without"]):
        yield Finding(_at(settings, "imap.without"), f"imap.without: {text}")
    rules, complaints = imap_without.rules(settings["imap.client_without"])
    for text in complaints + [text for _, names in rules for text in imap_without.strangers(names)]:
        yield Finding(_at(settings, "imap.client_without"), f"imap.client_without: {text}")


# ---- the files --------------------------------------------------------------------------------------------------------
def _users(settings: Settings) -> Iterator[Finding]:
    path = os.path.join(settings.etc, "users")
    table = users.decode(_read(path))
    for number, text in table.complaints:
        yield Finding(f"{path}:{number}", text)
    accounts = Accounts(settings, quiet)
    for user in table.by_name.values():
        for text in imap_without.strangers(imap_without.names(user.without)):
            yield Finding(f"{path}:{user.number}", f"{user.name}: {text}")
        try:
            accounts.exact(user.local, user.domain or accounts.local_domains[0])
        except Trouble as trouble:
            where, _, text = str(trouble).rpartition(": ") if str(trouble).startswith(path) else ("", "", "")
            yield Finding(where or "local.virtual_uid", text or str(trouble))


def _passwords(settings: Settings) -> Iterator[Finding]:
    path = os.path.join(settings.etc, "passwords")
    entries, complaints = passwords.decode(_read(path))
    for number, text in complaints:
        yield Finding(f"{path}:{number}", text)
    accounts = Accounts(settings, quiet)
    for entry in entries.values():
        try:
            known = accounts.login(entry.name)
        except Trouble:
            continue                                        # told with the users
        if known is None:
            yield Finding(f"{path}:{entry.line}", f"{entry.name} is no user, so nobody can log in by it; add a line to users", True)


def _transports(settings: Settings) -> Iterator[Finding]:
    path = os.path.join(settings.etc, "transports")
    table = transports.decode(_read(path))
    for number, text in table.complaints:
        yield Finding(f"{path}:{number}", text)
    ours = set(Accounts(settings, quiet).domains())
    for pattern, (number, _) in table.by_pattern.items():
        if pattern in ours:
            yield Finding(f"{path}:{number}", f"{pattern} is a domain of ours, so this is never used; take it out here or there", True)


def _senders(settings: Settings) -> Iterator[Finding]:
    path = os.path.join(settings.etc, "senders")
    table = senders.decode(_read(path))
    for number, text in table.complaints:
        yield Finding(f"{path}:{number}", text)
    accounts = Accounts(settings, quiet)
    for login in table.by_login:
        try:
            known = accounts.login(login)
        except Trouble:
            continue                                        # told with the users
        if known is None:
            yield Finding(path, f"{login} is no user; name the address of a mailbox", True)


def _relay(settings: Settings) -> Iterator[Finding]:
    path = os.path.join(settings.etc, "relay_recipients")
    table = relay_recipients.decode(_read(path))
    for number, text in table.complaints:
        yield Finding(f"{path}:{number}", text)
    relayed, ours = settings["local.relay_domains"], set(Accounts(settings, quiet).domains())
    for domain in relayed:
        if domain in ours:
            yield Finding(_at(settings, "local.relay_domains"), f"{domain} is a domain of ours too, so its mail stays here; take it out of one")
        elif not any(name.endswith(f"@{domain}") for name in table.by_name):
            yield Finding(_at(settings, "local.relay_domains"), f"{domain} has no recipient in relay_recipients, so all its mail is refused; "
                          f"add its addresses there, or @{domain} for everybody")
    for name, number in table.by_name.items():
        if name.rpartition("@")[2] not in relayed:
            yield Finding(f"{path}:{number}", f"{name}: its domain does not stand in local.relay_domains, so this is never used; add it there", True)
        elif not name.rpartition("@")[0]:
            yield Finding(f"{path}:{number}", f"{name}: mail for people who are not there is taken and must be returned to senders that may be forged; "
                          "list the addresses", True)


def _aliases(settings: Settings) -> Iterator[Finding]:
    path = os.path.join(settings.etc, "aliases")
    table = formats_aliases.decode(_read(path))
    for number, text in table.complaints:
        yield Finding(f"{path}:{number}", text)
    router = Router(settings, tell=quiet)
    known = {f"{path}:{number}" for number, _ in table.complaints}
    for alias in table.by_name.values():
        where = f"{path}:{alias.number}"
        local, at, domain = alias.name.rpartition("@")
        if at and not router.accounts.is_local_domain(domain) and not (local and domain in router.relayed):
            yield Finding(where, f"{alias.name}: {domain} is not a domain of ours"
                          + (", so nothing reaches it" if not local else ", so of its addresses this alone is taken")
                          + "; add it to local.virtual_domains", True)
            if not local:
                continue
        if alias.reason:
            continue
        for target in alias.targets:
            if target.kind == formats_aliases.INCLUDE:
                yield from _list(router, where, target.value)
        asked = alias.name if local or not at else f"{_NOBODY}{alias.name}"
        told = router.explain(asked.encode("utf-8", "surrogateescape"))
        yield from (Finding(place, text) for place, text in told.faults if place not in known)
        if told.answer == outcome.NO_SUCH_USER and not told.faults:
            yield Finding(where, f"{alias.name}: reaches nobody, so mail for it is refused; name a user or an address")


def _list(router: Router, where: str, path: str) -> Iterator[Finding]:
    try:
        router.read_list(path)
    except Trouble as trouble:
        yield Finding(where, f":include:{trouble}; mend it, for mail waits until then")
        return
    with open(path, "rb") as file:
        for number, text in formats_aliases.decode_list(file.read())[1]:
            yield Finding(f"{path}:{number}", text)


def _nobodys_mail(settings: Settings) -> Iterator[Finding]:
    """Where root's mail goes, and whether virtual users have an owner."""
    try:
        admin = formats_aliases.parse_targets(settings["local.admin"])
    except ValueError as error:
        yield Finding(_at(settings, "local.admin"), f"local.admin: {error}")
        return
    router = Router(settings, tell=quiet)
    told = router.explain(b"root")
    if isinstance(told.answer, list) and any(name == HOLD for one in told.answer for name, _ in one.notes):
        if admin:
            yield Finding(_at(settings, "local.admin"), f"local.admin: {settings['local.admin']} reaches nobody, so root's mail waits in hold/; "
                          "name a user or an address")
        else:
            yield Finding(_at(settings, "local.admin"), "nobody is named to read mail for root and postmaster, so it waits in hold/; "
                          "set local.admin or an alias for root", True)
    if settings["local.virtual_uid"]:
        try:
            router.accounts.virtual_owner()
        except Trouble as trouble:
            yield Finding(_at(settings, "local.virtual_uid"), str(trouble))
