"""maps: Postfix's lookup tables, read from the text beside the compiled file (DATABASE_README, postmap(1)).

    type:name       hash, btree, lmdb, cdb, sdbm, dbm, texthash: key blanks value, in the file name itself
    inline:{ { key = value }, ... }    static:value    proxy:type:name    unionmap:{ ... }    maybe_...
    regexp, pcre, cidr: counted, not read      ldap, mysql, pgsql, ...: somewhere else
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pymta.importing import aliasfile
from pymta.importing.postfix import grammar
from pymta.importing.source import Source, text

TEXT = {"hash", "btree", "lmdb", "cdb", "sdbm", "dbm", "texthash", "fail"}
PATTERNS = {"regexp": "patterns", "pcre": "patterns", "cidr": "networks"}


@dataclass(frozen=True, slots=True)
class Entry:
    """where: file:line."""

    key: str
    value: str
    where: str


@dataclass(slots=True)
class Table:
    """entries: lower case key -> Entry, the first of two.  static: the value of every key, or None.  problems: [(table, why)] of what cannot
    be read here."""

    entries: dict[str, Entry] = field(default_factory=dict)
    static: str | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)

    def get(self, key: str) -> str | None:
        entry = self.entries.get(key.lower())
        return entry.value if entry else self.static


def read(source: Source, names: list[str], directory: str, where: str, *, aliases: bool = False) -> Table:
    """The tables of a list as one.  directory: where a relative name lies; where: file:line of the setting; aliases: in the syntax of aliases(5)."""
    table = Table()
    for name in names:
        _read(source, name, directory, where, aliases, table, 0)
    return table


def _read(source: Source, name: str, directory: str, where: str, aliases: bool, table: Table, depth: int) -> None:
    kind, colon, path = name.partition(":")
    if not colon:
        kind, path = "hash", name
    if kind in ("proxy", "maybe") and depth < 5:
        _read(source, path, directory, where, aliases, table, depth + 1)
    elif kind in ("unionmap", "pipemap", "randmap"):
        if kind == "unionmap" and depth < 5:
            for inner in grammar.items(path.strip("{} ")):
                _read(source, inner, directory, where, aliases, table, depth + 1)
        else:
            table.problems.append((name, "a table made of others by rules of its own"))
    elif kind == "static":
        table.static = path if table.static is None else table.static
    elif kind == "inline":
        for key, value in _inline(path):
            table.entries.setdefault(key.lower(), Entry(key, value, where))
    elif kind in TEXT:
        path = path if path.startswith("/") else f"{directory}/{path}"
        data = source.read(path)
        if data is None:
            if kind != "fail":
                table.problems.append((name, f"{path} cannot be read: {source.unreadable[path]}" if path in source.unreadable
                                       else f"there is no {path}, only perhaps its compiled form; read it with: postmap -s {name}"))
            return
        for entry in _alias_entries(data, path) if aliases else _entries(data, path):
            table.entries.setdefault(entry.key.lower(), entry)
    elif kind in PATTERNS:
        path = path if path.startswith("/") else f"{directory}/{path}"
        count = sum(1 for _ in grammar.logical_lines(text(source.read(path))))
        table.problems.append((name, f"{count} {PATTERNS[kind]}"))
    elif kind == "unix":
        if path != "passwd.byname":
            table.problems.append((name, "a table of the system"))
    else:
        table.problems.append((name, "a database or program elsewhere" if kind.isalnum() else "not a table"))


def _entries(data: bytes, path: str) -> Iterator[Entry]:
    for number, line in grammar.logical_lines(text(data)):
        if line.startswith('"'):
            key, value = line[1:].split('"', 1) if '"' in line[1:] else (line, "")
        else:
            key, *rest = line.split(None, 1)
            value = rest[0] if rest else ""
        yield Entry(key, value.strip(), f"{path}:{number}")


def _alias_entries(data: bytes, path: str) -> Iterator[Entry]:
    for number, name, targets in aliasfile.entries(text(data)):
        yield Entry(name, ", ".join(targets), f"{path}:{number}")


def _inline(body: str) -> Iterator[tuple[str, str]]:
    body = body.strip()
    inner = body[1:-1] if body.startswith("{") and body.endswith("}") else body
    for item in grammar.items(inner) if "{" in inner else inner.split(","):
        key, equals, value = item.strip().strip("{}").partition("=")
        if equals and key.strip():
            yield key.strip(), value.strip()
