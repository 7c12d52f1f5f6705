"""exim: Debian's update-exim4.conf.conf, or a monolithic configuration, in our words.              pymta-import(8)"""
from __future__ import annotations

from pymta.importing.exim import debian, grammar
from pymta.importing.exim.names import listeners, names, networks, sizes
from pymta.importing.exim.reading import Reading
from pymta.importing.exim.rest import acls, logins, rest, rules
from pymta.importing.exim.routers import routers
from pymta.importing.report import Import
from pymta.importing.source import Source

PLACES: tuple[str, ...] = ("/etc/exim4", "/etc/exim")
_FILES = ("exim4.conf", "exim.conf", "configure")


def is_there(source: Source, directory: str) -> bool:
    return any(source.has(f"{directory}/{name}") for name in (*_FILES, debian.FILE))


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """output: what `exim -bP config` printed.  A monolithic file is used before Debian's, as Exim does."""
    path = next((f"{directory}/{name}" for name in _FILES if source.has(f"{directory}/{name}")), "")
    if output is None and not path:
        return debian.read(source, directory, host)
    found = grammar.read(source, path, None) if output is None else grammar.read(source, "exim -bP config", output)
    return run(Reading(source, found, host))


def run(it: Reading) -> Import:
    for step in (names, networks, listeners, sizes, routers, acls, logins, rules, rest):
        step(it)
    it.out.settings.setdefault("local.extension", "")
    if it.virtual:
        it.out.settings["local.virtual_domains"] = ", ".join(it.virtual)
    for path, why in it.source.unreadable.items():
        it.out.unsupported(path, path, f"cannot be read: {why}; run this as root")
    return it.out
