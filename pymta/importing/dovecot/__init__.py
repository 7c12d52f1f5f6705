"""dovecot: dovecot.conf, its users and where their mail lies, in our words.  Versions 2.0 to 2.4.          pymta-import(8)"""
from __future__ import annotations

from pymta.importing.dovecot import grammar
from pymta.importing.dovecot.boxes import location, namespaces, quotas
from pymta.importing.dovecot.people import users
from pymta.importing.dovecot.reading import Reading
from pymta.importing.dovecot.rest import limits, others, plugins, rest
from pymta.importing.dovecot.serving import listeners, mechanisms, passwords_in_clear, protocols, tls
from pymta.importing.report import Import
from pymta.importing.source import Source

PLACES: tuple[str, ...] = ("/etc/dovecot", "/usr/local/etc/dovecot")


def is_there(source: Source, directory: str) -> bool:
    return source.has(f"{directory}/dovecot.conf")


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """output: what `doveconf -n` printed, instead of dovecot.conf and what it includes."""
    found = grammar.read(source, f"{directory}/dovecot.conf" if output is None else "doveconf -n", output)
    return run(Reading(source, found))


def run(it: Reading) -> Import:
    for step in (protocols, listeners, tls, passwords_in_clear, mechanisms, quotas, location, users,
                 namespaces, plugins, limits, others, rest):
        step(it)
    for path, why in it.source.unreadable.items():
        it.out.unsupported(path, path, f"cannot be read: {why}; run this as root")
    return it.out
