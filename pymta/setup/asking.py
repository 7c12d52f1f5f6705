"""asking: what the admin wants, from options and, on a terminal, from questions with the answers that hold now as defaults."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from pymta import settings as all_settings
from pymta.accounts import Accounts
from pymta.formats import aliases, users
from pymta.formats.live import quiet
from pymta.message import address as addresses
from pymta.settings import Settings

_T = TypeVar("_T")


class Wrong(ValueError):
    """An answer that will not do; the text says why and what would."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """host: the host's name; domains: those of local.domains; system_users: whether users of this system get mail there; user: the first
    mail user, as pymta-passwd takes it, "" for none; admin: who reads root's mail, "" to leave it; addresses: of this host, given by the admin."""

    host: str
    domains: tuple[str, ...]
    system_users: bool
    user: str = ""
    admin: str = ""
    addresses: tuple[str, ...] = ()


def host(value: str) -> str:
    """A host name as others see it.  Raises Wrong."""
    name = _domain(value)
    if "." not in name:
        raise Wrong(f"{value}: other hosts want a name with a domain; write mail.example.org")
    return name


def domains(value: str) -> tuple[str, ...]:
    """Raises Wrong."""
    return tuple(dict.fromkeys(_domain(word) for word in all_settings.words(value)))


def _domain(value: str) -> str:
    try:
        (name,) = all_settings.domains(value) if value.isprintable() else ("",)
    except ValueError as error:
        raise Wrong(f"{value}: not a domain; write example.org") from error
    if not addresses.is_domain(name.encode("utf-8", "surrogateescape")) or name.rpartition(".")[2].isdigit():
        raise Wrong(f"{value}: not a domain; write example.org")
    return name


def user(value: str) -> str:
    """A user as a line of the users file begins.  Raises Wrong."""
    found = users.decode(value.encode("utf-8", "surrogateescape"))
    for _, why in found.complaints:
        raise Wrong(why)
    if ":" in value or len(found.by_name) > 1:
        raise Wrong(f"{value}: not a user; write ann@example.org")
    return next(iter(found.by_name), "")


def admin(value: str) -> str:
    """Raises Wrong."""
    try:
        aliases.parse_targets(value)
    except ValueError as error:
        raise Wrong(f"{value}: {error}") from None
    return value.strip()


def yes(value: str) -> bool:
    """Raises Wrong."""
    word = value.strip().lower()
    if word in ("y", "yes", "n", "no"):
        return word[0] == "y"
    raise Wrong("write yes or no")


def held(in_force: Settings) -> Wanted:
    """What the configuration says now, or what is most likely meant where it says nothing."""
    others = in_force["local.virtual_domains"] or Accounts(in_force, quiet).table().domains
    domains = in_force["local.domains"] or (() if others else likely_domains(in_force.host))
    return Wanted(in_force.host, tuple(domains), in_force["local.system_users"], "", in_force["local.admin"])


def likely_domains(host: str) -> tuple[str, ...]:
    """mail.example.org -> example.org; example.org -> example.org."""
    parent = host.partition(".")[2]
    return (parent if "." in parent else host,) if "." in host else ()


def ask(now: Wanted, given: frozenset[str], question: Callable[[str, str], str], say: Callable[[str], None]) -> Wanted:
    """Ask for what was not given by an option.  question(text, default) -> the line that was typed, the default for an empty one."""
    def until_right(text: str, default: str, read: Callable[[str], _T]) -> _T:
        while True:
            try:
                return read(question(text, default))
            except ValueError as error:
                say(f"  {error}")
    wanted = now
    if "host" not in given:
        wanted = replace(wanted, host=until_right("The name of this host, as others know it", now.host, host))
        if "domains" not in given and now.domains == likely_domains(now.host):
            wanted = replace(wanted, domains=likely_domains(wanted.host))
    if "domains" not in given:
        wanted = replace(wanted, domains=until_right("Domains whose mail stays on this host", " ".join(wanted.domains), domains))
    if "system_users" not in given:
        wanted = replace(wanted, system_users=until_right("Shall the users of this system get mail there", "yes" if now.system_users else "no", yes))
    if "user" not in given:
        wanted = replace(wanted, user=until_right("The first mail user (ann@example.org; - for none)", now.user or "-", lambda word: "" if word == "-" else user(word)))
    if "admin" not in given:
        default = now.admin or wanted.user or "-"
        wanted = replace(wanted, admin=until_right("Who reads the mail for root and postmaster (- for nobody yet)", default, lambda word: "" if word == "-" else admin(word)))
    return wanted
