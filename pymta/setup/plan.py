"""plan: what has to change in ETC for what is wanted: each file, the lines that go and come, and the octets it will have."""
from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field

from pymta import check, durable, etcfiles, settings
from pymta.accounts import Accounts, Trouble
from pymta.formats import passwords, users
from pymta.formats.live import quiet
from pymta.resolver import is_own
from pymta.settings import Settings
from pymta.setup import edit
from pymta.setup.asking import Wanted, Wrong

_FILES = ("aliases", "users", "passwords", "transports", "senders", "relay_recipients")


@dataclass(frozen=True, slots=True)
class Change:
    """path: the file; lines: what goes ("- ...") and what comes ("+ ..."); data: what it will hold, None where it is no file of ETC's."""

    path: str
    lines: tuple[str, ...]
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """changes: in the order in which they are made; future: the settings after them; user: full address or name of the first user, "" for none;
    has_password: whether that user has one; remarks: what pymta-config check will say of the result."""

    changes: tuple[Change, ...]
    future: Settings
    user: str = ""
    has_password: bool = False
    remarks: tuple[str, ...] = field(default=())


def settings_for(wanted: Wanted, in_force: Settings) -> dict[str, str]:
    """name -> text, of the settings that were asked about and do not hold yet.  Raises Wrong."""
    for domain in wanted.domains:
        if domain in in_force["local.virtual_domains"]:
            raise Wrong(f"{domain} stands in local.virtual_domains already, where its users need lines of their own; take it out there first")
    out = {}
    if wanted.host != in_force.host or in_force.sources["host.name"] == "the system":
        out["host.name"] = wanted.host
    if wanted.domains != in_force["local.domains"]:
        out["local.domains"] = ", ".join(wanted.domains)
    if wanted.system_users != in_force["local.system_users"]:
        out["local.system_users"] = "yes" if wanted.system_users else "no"
    if wanted.admin != in_force["local.admin"]:
        out["local.admin"] = wanted.admin
    far = [address for address in wanted.addresses if not is_own(address)]
    if any(address not in in_force["host.addresses"] for address in far):
        out["host.addresses"] = " ".join(dict.fromkeys((*in_force["host.addresses"], *far)))
    return out


def make(wanted: Wanted, in_force: Settings) -> Plan:
    """Raises Wrong, OSError."""
    etc = in_force.etc
    path = os.path.join(etc, "pymta.conf")
    before = etcfiles.read(path).decode("utf-8", "surrogateescape")
    try:
        after = edit.changed(before, settings_for(wanted, in_force))
    except ValueError as error:
        raise Wrong(str(error)) from None
    changes = [Change(path, tuple(difference(before, after)), after.encode("utf-8", "surrogateescape"))] if after != before else []
    with tempfile.TemporaryDirectory(prefix="pymta-setup-") as trial:
        durable.create(os.path.join(trial, "pymta.conf"), after.encode("utf-8", "surrogateescape"), sync=False)
        for name in _FILES:
            if data := etcfiles.read(os.path.join(etc, name)):
                durable.create(os.path.join(trial, name), data, sync=False)
        future = settings.read(trial)
        user, row = _user(wanted.user, future, trial)
        if row:
            there = etcfiles.read(os.path.join(trial, "users"))
            there += (b"" if there[-1:] in (b"", b"\n") else b"\n") + row
            changes.append(Change(os.path.join(etc, "users"), (f"+ {user}",), there))
            durable.replace(os.path.join(trial, "users"), there, 0o600)
        has_password = bool(user) and _has_password(user, future)
        remarks = [str(one).replace(trial, etc) for one in check.everything(future)]
    future = Settings(etc, {row.name: future[row.name] for row in settings.SETTINGS}, future.sources, future.complaints, future.texts)
    return Plan(tuple(changes), future, user, has_password, tuple(remarks))


def _user(name: str, future: Settings, etc: str) -> tuple[str, bytes]:
    """(full address, the line that has to be added to users).  Raises Wrong."""
    if not name:
        return "", b""
    accounts = Accounts(future, quiet)
    try:
        mailbox = accounts.login(name)
    except Trouble:
        return (name if "@" in name else f"{name}@{accounts.default_domain}"), b""
    if mailbox:
        return mailbox.address, b""
    address = name if "@" in name else f"{name}@{accounts.default_domain}"
    found = users.decode(address.encode("utf-8", "surrogateescape"))
    if found.complaints:
        raise Wrong(found.complaints[0][1])
    return address, users.encode(found.by_name[address])


def _has_password(user: str, future: Settings) -> bool:
    entries, _ = passwords.decode(etcfiles.read(os.path.join(future.etc, "passwords")))
    accounts = Accounts(future, quiet)
    names = [user]
    try:
        bare = user.partition("@")[0]
        if accounts.login(bare) == accounts.login(user):
            names.append(bare)
    except Trouble:
        pass
    return any(name in entries for name in names)


def difference(before: str, after: str) -> list[str]:
    """The lines that go and come, in order, of two texts in which few lines differ."""
    import difflib
    return [f"{line[0]} {line[2:]}" for line in difflib.ndiff(before.split("\n"), after.split("\n")) if line[:2] in ("- ", "+ ") and line[2:].strip()]
