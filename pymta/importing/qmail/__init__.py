"""qmail: control files, users/assign and .qmail files in our words.                        pymta-import(8)"""
from __future__ import annotations

from pymta.importing.qmail.names import delivery, names, settings
from pymta.importing.qmail.outward import networks, relay, rest, routes, services
from pymta.importing.qmail.people import local_names, virtual_domains
from pymta.importing.qmail.reading import Reading
from pymta.importing.report import Import
from pymta.importing.source import Source

PLACES: tuple[str, ...] = ("/var/qmail",)


def is_there(source: Source, directory: str) -> bool:
    return source.has(f"{directory}/control/me") or source.has(f"{directory}/control")


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """output: not used; qmail has no program that says its settings in a form to be read (qmail-showctl is for people)."""
    return run(Reading(source, directory, host))


def run(it: Reading) -> Import:
    for step in (names, settings, delivery, local_names, virtual_domains, relay, routes, networks, services, rest):
        step(it)
    it.out.settings["local.extension"] = "-" if it.wild else ""
    it.out.same(f"{it.directory}/users", "name-extension", "local.extension = -" if it.wild else "local.extension is empty: each extension that has a .qmail file is an alias")
    for path, why in it.source.unreadable.items():
        it.out.unsupported(path, path, f"cannot be read: {why}; run this as root")
    return it.out
