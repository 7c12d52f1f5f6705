"""reading: one configuration of Dovecot, what has been asked of it, and the import that is made."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pymta.importing.dovecot import grammar
from pymta.importing.dovecot.grammar import Section
from pymta.importing.report import Import
from pymta.importing.source import Source


@dataclass(frozen=True, slots=True)
class Box:
    """Where mail lies: format, path with variables, layout and further options of mail_location."""

    format: str
    path: str
    options: dict[str, str]


class Reading:
    """top: dovecot.conf; done: settings that need no more words; seen: users that have a line; quota: that of everybody."""

    def __init__(self, source: Source, found: grammar.Configuration) -> None:
        self.source, self.out, self.top = source, Import(), found.top
        self.done: set[str] = set()
        for where, what, why in found.problems:
            self.out.unsupported(where, what, why)
        self.quota = ""
        self.seen: set[str] = set()                         # users
        self.box, self.where, self.what = Box("", "", {}), "", ""     # where mail lies, and what says so
        self.served: set[str] = set()                       # protocols
        self.converted = False                              # whether mail must be converted
        self.by_password = True                             # whether a line with a password is a user

    def at(self, key: str, section: Section | None = None) -> tuple[str, str]:
        """(where, what) of a setting."""
        self.done.add(key)
        found = (section or self.top).settings.get(key)
        return (found.where, str(found)) if found else ("default", key)


def box_of(text: str) -> Box:
    """mail_location taken apart."""
    kind, colon, rest = text.strip().partition(":")
    if not colon:
        return Box("", text, {})
    path, *options = rest.split(":")
    return Box(kind.lower(), path, dict(_options(options)))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, _, value = word.partition("=")
        yield name.upper(), value
