"""options: what was asked of pymta-sandbox.                                               pymta-sandbox(1)

argv -> Options, or SystemExit(64) after one line that names the argument, the reason and the remedy.
"""
from __future__ import annotations

import argparse
import ipaddress
import os
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pymta import settings
from pymta.login import hashes
from pymta.formats import users

EX_USAGE = 64

# listener: the setting that holds its addresses.  The order is that of --port-base.
LISTENERS = {"smtp": "smtp.listen", "submission": "smtp.submission", "submissions": "smtp.submissions", "lmtp": "smtp.lmtp",
             "imap": "imap.listen", "imaps": "imap.listen_tls", "pop3": "pop3.listen", "pop3s": "pop3.listen_tls"}
FOLDERS = ("Drafts", "Sent", "Junk", "Trash", "Archive")


@dataclass(frozen=True, slots=True)
class User:
    """local: name without domain; domain: which of the domains; password: as it is typed; login: the shortest name to log in with."""

    local: str
    domain: str
    password: str
    login: str

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"


@dataclass(frozen=True, slots=True)
class Options:
    """directory: absolute; domains: at least one; transports: (domain, [lmtp:]host:port); settings: name -> text, as given."""

    directory: str
    domains: tuple[str, ...]
    users: tuple[User, ...]
    transports: tuple[tuple[str, str], ...] = ()
    relay_from: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    port_base: int | None = None
    watch: bool = False

    @property
    def domain(self) -> str:
        return self.domains[0]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EX_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    out = _Parser("pymta-sandbox", description="Run the whole mail system under one directory, as any user, on free loopback ports.",
                  epilog="When all daemons answer, DIR/endpoints.json says where.  SIGTERM or Ctrl-C ends it.  pymta-sandbox(1)")
    out.add_argument("directory", metavar="DIR", type=_directory, help="where everything lives; made if missing, found again if not")
    out.add_argument("--domain", metavar="NAME", action="append", type=_domain, default=[],
                     help="a domain of ours (default example.test); the first is the one of bare names")
    out.add_argument("--user", metavar="NAME:PASSWORD", action="append", type=_user, default=[],
                     help="a user, NAME or NAME@DOMAIN, instead of alice and bob")
    out.add_argument("--transport", metavar="DOMAIN=HOST:PORT", action="append", type=_transport, default=[],
                     help="where mail for a domain goes; DOMAIN=lmtp:HOST:PORT speaks LMTP")
    out.add_argument("--relay-from", metavar="NETWORK", action="append", type=_network, default=[],
                     help="a network that may send to any domain")
    out.add_argument("--set", metavar="KEY=VALUE", action="append", type=_setting, default=[], help="a setting of pymta.conf(5)")
    out.add_argument("--port-base", metavar="N", type=_port_base, help="ports N, N+1, ... in the order of endpoints.json, instead of free ones")
    out.add_argument("--watch", action="store_true", help="say how to send and read mail, then show what happens")
    return out


def parse(argv: list[str] | None = None) -> Options:
    known = parser()
    given = known.parse_args(argv)
    domains = tuple(dict.fromkeys(given.domain)) or ("example.test",)
    named = given.user or [("alice", "", "secret"), ("bob", "", "secret")]
    people = {}
    for local, domain, password in named:
        domain = domain or domains[0]
        login = local if domain == domains[0] else f"{local}@{domain}"
        person = User(local, domain, password, login)
        people[person.address] = person
    return Options(given.directory, domains, tuple(people.values()), tuple(given.transport), tuple(given.relay_from),
                   dict(given.set), given.port_base, given.watch)


# ---- kinds of argument: text -> value, or ArgumentTypeError with the remedy --------------------------------------------
def _bad(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(text)


def _directory(value: str) -> str:
    path = os.path.abspath(value)
    if any(not c.isprintable() or c in " #:" for c in path):
        raise _bad(f"{path!r} cannot stand in the configuration; choose a path without blanks, # and :")
    return path


def _domain(value: str) -> str:
    name = value.lower().rstrip(".")
    labels = name.split(".")
    if not name.isascii() or len(name) > 253 or not all(0 < len(x) < 64 and x.replace("-", "").isalnum() for x in labels):
        raise _bad(f"{value!r} is not a domain; write example.test")
    return name


def _user(value: str) -> tuple[str, str, str]:
    name, colon, password = value.partition(":")
    local, at, domain = name.lower().rpartition("@") if "@" in name else (name.lower(), "", "")
    if not colon or not users.is_safe_name(local):
        raise _bad(f"{name!r} is not a user; write NAME:PASSWORD or NAME@DOMAIN:PASSWORD")
    try:
        hashes.prepare(password)
    except ValueError as error:
        raise _bad(f"{name}: {error}") from None
    return local, _domain(domain) if at else "", password


def _transport(value: str) -> tuple[str, str]:
    domain, equals, where = value.partition("=")
    address = where.removeprefix("lmtp:").removeprefix("smtp:")
    try:
        if not equals or not settings.host_port(address):
            raise ValueError
    except ValueError:
        raise _bad(f"{value!r} is not a transport; write example.net=127.0.0.1:2626 or example.net=lmtp:127.0.0.1:24") from None
    return domain if domain == "*" else "." * domain.startswith(".") + _domain(domain.removeprefix(".")), where


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise _bad(f"{value!r} is not a network; write 127.0.0.0/8 or 2001:db8::/32") from None


def _setting(value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    name, text = name.strip(), text.strip()
    if not equals:
        raise _bad(f"{value!r} is not a setting; write KEY=VALUE")
    if " #" in text or text.startswith("#") or not text.isprintable():
        raise _bad(f"{name}: {text!r} cannot stand in pymta.conf")
    try:
        check_setting(name, text)
    except ValueError as error:
        raise _bad(str(error)) from None
    return name, text


def check_setting(name: str, text: str) -> Any:
    """The value of a setting.  Raises ValueError with reason and remedy, also for a name that does not exist."""
    row = settings.BY_NAME.get(name)
    if row is None:
        raise ValueError(f"{name}: no such setting; {settings.nearest(name)}")
    try:
        return row.kind(text)
    except ValueError as error:
        raise ValueError(f"{name} = {text}: {error}") from None


def _port_base(value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) <= 65535 - len(LISTENERS):
        raise _bad(f"{value!r} is not a port; write 2525")
    return int(value)
