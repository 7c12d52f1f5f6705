"""reading: one configuration of Exim, what has been asked of it, and the import that is made."""
from __future__ import annotations

import re

from pymta.importing.exim import grammar
from pymta.importing.exim.grammar import Configuration, Option
from pymta.importing.report import Import
from pymta.importing.source import Source, text


class Reading:
    """local, virtual: domains of this host; transports: by name; done: options that need no more words."""

    def __init__(self, source: Source, found: Configuration, host: str) -> None:
        self.source, self.conf, self.out = source, found, Import()
        self.host = found.get("primary_hostname") or host
        self.done: set[str] = set()
        self.local: list[str] = []
        self.virtual: list[str] = []
        self.idle = False                                   # whether the router at hand has nothing to work with
        self.qualify = ""                                   # the domain of bare names
        self.pending: list[tuple[str, str, str]] = []       # aliases of local names, until all virtual domains are known
        self.local_option = Option("domainlist local_domains", "", "default")
        self.transports = {block.name: block for block in found.of("transports")}
        for where, what, why in found.problems:
            self.out.unsupported(where, what, why)

    def domains(self, option: Option, depth: int = 0) -> list[str]:
        """The domains of a list; what they cannot be told of is told."""
        out: dict[str, None] = {}
        for item in grammar.items(option.value):
            if item == "@":
                out[self.host.lower()] = None
            elif item in ("@[]", "localhost") or item.startswith("@mx"):
                if item.startswith("@mx"):
                    self.out.unsupported(option.where, f"{option.name}: {item}", "domains whose MX points here; list them")
            elif item.startswith("+") and depth < 5:
                if inner := self.conf.lists.get(f"domainlist {item[1:]}"):
                    out.update(dict.fromkeys(self.domains(inner, depth + 1)))
            elif match := re.fullmatch(r"(?:partial\d*-)?(l|n|wild|ib)search;\s*(/\S+)", item) or re.fullmatch(r"()(/\S+)", item):
                for line in text(self.source.read(match[2])).split("\n"):
                    name = re.split(r"[:\s]", line.strip(), maxsplit=1)[0].lower()
                    if _is_domain(name):
                        out[name] = None
            elif match := re.fullmatch(r"dsearch;\s*(/\S+)", item):
                out.update(dict.fromkeys(name.lower() for name in self.source.names(match[1]) if _is_domain(name)))
            elif _is_domain(item.lower()):
                out[item.lower()] = None
            else:
                self.out.unsupported(option.where, f"{option.name}: {item}", "not a plain domain; list what is meant by hand")
        return list(out)


def _is_domain(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?", name)) and not name.replace(".", "").isdigit()
