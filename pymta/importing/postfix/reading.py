"""reading: one configuration of Postfix, what has been asked of it, and the import that is made."""
from __future__ import annotations

import re

from pymta.importing.postfix import grammar, maps, tables
from pymta.importing.postfix.grammar import Values
from pymta.importing.postfix.maps import Table
from pymta.importing.report import Import
from pymta.importing.source import Source, text

SERVICES = {"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465", "lmtp": "24"}


class Reading:
    """values: main.cf; services: master.cf; done: settings that need no more words; local, virtual: domains of this host;
    origin: the domain of bare names; alias_table, box_table: virtual_alias_maps and virtual_mailbox_maps."""

    def __init__(self, source: Source, directory: str, host: str, output: bytes | None) -> None:
        self.source, self.directory, self.out = source, directory, Import()
        path = f"{directory}/main.cf"
        given, bad = grammar.main_cf(text(output if output is not None else source.read(path)), path if output is None else "postconf -n")
        for number, line in bad:
            self.out.unsupported(f"{path}:{number}", line, "no setting; Postfix ignores it or refuses to start")
        defaults = {**tables.DEFAULTS, "myhostname": host, "config_directory": directory}
        self.values = Values(given, defaults)
        name = self.values.get("myhostname")
        defaults["mydomain"] = name.partition(".")[2] or "localdomain"
        self.services = grammar.master_cf(text(source.read(f"{directory}/master.cf")), f"{directory}/master.cf")
        self.done: set[str] = set()
        self.local: list[str] = []                          # mydestination, without localhost
        self.virtual: list[str] = []
        self.origin = ""                                    # myorigin
        self.alias_table, self.box_table = Table(), Table()

    def given(self, *names: str) -> bool:
        """Whether one of them is set; they are then no more for the rest."""
        self.done.update(names)
        return any(name in self.values.given for name in names)

    def what(self, name: str) -> str:
        parameter = self.values.given.get(name)
        return f"{name} = {parameter.value}" if parameter else f"{name} (default)"

    def at(self, name: str) -> tuple[str, str]:
        return self.values.where(name), self.what(name)

    def table(self, name: str, *, aliases: bool = False) -> Table:
        """The tables that a setting names; those that cannot be read are told."""
        self.done.add(name)
        where = self.values.where(name)
        table = maps.read(self.source, self.values.list(name), self.directory, where, aliases=aliases)
        for which, why in table.problems:
            if where != "default" or "cannot" in why:
                self.out.unsupported(where, f"{name}: {which}", f"{why}; let it print what it holds, and put that into our files")
        return table

    def names_in(self, name: str) -> list[str]:
        """The domains of a list, which may name files and tables."""
        found: dict[str, None] = {}
        where = self.values.where(name)
        self.done.add(name)
        for item in self.values.list(name):
            if item.startswith("/"):
                for line in text(self.source.read(item)).split("\n"):
                    found.update(dict.fromkeys(grammar.items(line.partition("#")[0].lower())))
            elif ":" in item and not item.startswith("["):
                table = maps.read(self.source, [item], self.directory, where)
                found.update(dict.fromkeys(key for key in table.entries if "@" not in key))
                for which, why in table.problems:
                    if where != "default":
                        self.out.unsupported(where, f"{name}: {which}", f"{why}; list its domains by hand")
            elif item.startswith("!"):
                self.out.unsupported(where, f"{name}: {item}", "an exception from what follows; list what is meant by hand")
            elif not item.startswith("["):                  # [1.2.3.4]: literals of this host are ours anyway
                found[item.lower().rstrip(".")] = None
        return [domain for domain in found if _is_domain(domain)]


def _is_domain(text: str) -> bool:
    return bool(re.fullmatch(r"[^\s@:/!\[\]{}]+", text)) and not text.startswith(".")
