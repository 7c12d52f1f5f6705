"""postfix: main.cf, its tables and master.cf in our words.                                   pymta-import(8)"""
from __future__ import annotations

from pymta.importing.postfix.names import names, networks
from pymta.importing.postfix.outward import relay, transports, way_out
from pymta.importing.postfix.people import forwards, local_aliases, mailbox_format, mailbox_users, virtual_aliases, virtual_domains
from pymta.importing.postfix.policy import copied, interfaces, logins, restrictions, sizes, tls
from pymta.importing.postfix.reading import Reading
from pymta.importing.postfix.services import master, rest
from pymta.importing.report import Import
from pymta.importing.source import Source

PLACES: tuple[str, ...] = ("/etc/postfix",)


def read(source: Source, directory: str = PLACES[0], *, host: str = "localhost", output: bytes | None = None) -> Import:
    """host: the name of this host, where main.cf does not say; output: what `postconf -n` printed, instead of main.cf."""
    return run(Reading(source, directory, host, output))


def is_there(source: Source, directory: str) -> bool:
    return source.has(f"{directory}/main.cf")


def run(it: Reading) -> Import:
    for step in (names, networks, virtual_domains, local_aliases, virtual_aliases, mailbox_users, mailbox_format,
                 forwards, relay, way_out, transports, sizes, tls, logins, interfaces, restrictions,
                 copied, master, rest):
        step(it)
    return it.out
