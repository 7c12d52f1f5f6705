"""grammar: a monolithic configuration of Exim taken apart: macros, conditions, options, lists, and the drivers and ACLs behind "begin".

    line     = a "\\" at the end goes on; "#" begins a comment line; .include, .include_if_exists, .ifdef, .ifndef, .elifdef, .else, .endif
    macro    = name that begins with a capital "=" text                  ; replaced wherever it stands later
    list     = item *(":" item)          ; "::" is a colon in an item; "<;" at the beginning names another separator
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pymta.importing.source import Source, text

FILES_MAX, LINES_MAX, LINE_MAX_CHARS = 200, 100_000, 1 << 16


@dataclass(frozen=True, slots=True)
class Option:
    """value: as written, macros replaced; where: file:line."""

    name: str
    value: str
    where: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value}" if self.value else self.name


@dataclass(slots=True)
class Block:
    """A router, transport, authenticator (options) or an ACL (statements, each a list of options)."""

    kind: str
    name: str
    where: str
    options: dict[str, Option] = field(default_factory=dict)
    statements: list[list[Option]] = field(default_factory=list)

    def get(self, name: str) -> str:
        found = self.options.get(name)
        return found.value if found else ""


@dataclass(slots=True)
class Configuration:
    """main: options; lists: "domainlist local_domains" -> Option; blocks: in order; rules: (section, where, line) of retry and rewrite."""

    main: dict[str, Option] = field(default_factory=dict)
    lists: dict[str, Option] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    rules: list[tuple[str, str, str]] = field(default_factory=list)
    macros: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    def of(self, kind: str) -> Iterator[Block]:
        return (block for block in self.blocks if block.kind == kind)

    def get(self, name: str) -> str:
        found = self.main.get(name)
        return found.value if found else ""


_VERBS = ("accept", "deny", "require", "warn", "defer", "discard", "drop")


def read(source: Source, path: str, data: bytes | None = None) -> Configuration:
    """data: the octets of path, where they are not in the source."""
    found = Configuration()
    section, files = "", 0

    def lines(path: str, data: bytes, depth: int) -> Iterator[tuple[str, str]]:
        nonlocal files
        on = [True]
        for number, line in _logical(text(data)):
            word, _, rest = line.partition(" ")
            if word in (".ifdef", ".ifndef"):
                known = any(re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", rest) for name in found.macros)
                on.append(known == (word == ".ifdef"))
            elif word in (".else", ".elifdef", ".elifndef") and len(on) > 1:
                on[-1] = not on[-1]
            elif word == ".endif" and len(on) > 1:
                on.pop()
            elif not all(on) or word in (".else", ".endif"):
                continue
            elif word in (".include", ".include_if_exists"):
                inner = _replaced(rest.strip(), found.macros)
                content = source.read(inner) if depth < 10 and files < FILES_MAX else None
                files += 1
                if content is not None:
                    yield from lines(inner, content, depth + 1)
                elif word == ".include":
                    found.problems.append((f"{path}:{number}", line, "there is no such file"))
            else:
                yield f"{path}:{number}", line

    block: Block | None = None
    for count, (where, line) in enumerate(lines(path, source.read(path) or b"" if data is None else data, 0)):
        if count > LINES_MAX:
            break
        macro = re.match(r"([A-Z][A-Za-z0-9_]*)\s*==?\s*(.*)", line, re.S)
        if macro and not section or macro and macro[1].isupper():
            found.macros[macro[1]] = _replaced(macro[2], found.macros)
            continue
        line = _of_files(source, _replaced(line, found.macros))
        if match := re.fullmatch(r"begin\s+(\w+)", line):
            section, block = match[1], None
        elif not section:
            _main(found, line, where)
        elif section in ("retry", "rewrite"):
            found.rules.append((section, where, line))
        elif match := re.fullmatch(r"([A-Za-z0-9_-]+)\s*:\s*(.*)", line):
            block = Block(section, match[1], where)
            found.blocks.append(block)
        elif block is not None:
            _inner(block, line, where)
    return found


def _main(found: Configuration, line: str, where: str) -> None:
    named = re.match(r"(domainlist|hostlist|addresslist|localpartlist)(?:_cache)?\s+(\w+)\s*=\s*(.*)", line, re.S)
    if named:
        found.lists[f"{named[1]} {named[2]}"] = Option(f"{named[1]} {named[2]}", named[3].strip(), where)
        return
    name, equals, value = line.removeprefix("hide ").partition("=")
    name, value = name.strip(), _unquoted(value.strip())
    if not equals and name.startswith("no_"):
        name, value = name[3:], "false"
    elif not equals:
        value = "true"
    if re.fullmatch(r"\w+", name, re.ASCII):
        found.main[name] = Option(name, value, where)
    else:
        found.problems.append((where, line, "neither an option nor a list"))


def _inner(block: Block, line: str, where: str) -> None:
    name, equals, value = line.partition("=")
    name, value = name.strip(), value.strip()
    if block.kind == "acl":
        verb, _, rest = line.partition(" ")
        if verb in _VERBS:
            block.statements.append([Option(verb, "", where)])
            name, equals, value = (part.strip() for part in rest.partition("="))
        if name and block.statements:
            block.statements[-1].append(Option(name, value, where))
        return
    if not equals and name.startswith("no_"):
        name, value = name[3:], "false"
    block.options[name] = Option(name, _unquoted(value) if equals else value or "true", where)


def _logical(whole: str) -> Iterator[tuple[int, str]]:
    begun, pending = 0, ""
    for number, line in enumerate(whole.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.endswith("\\"):
            begun, pending = begun or number, (pending + stripped[:-1])[:LINE_MAX_CHARS]
            continue
        yield begun or number, (pending + stripped)[:LINE_MAX_CHARS]
        begun, pending = 0, ""
    if pending:
        yield begun, pending


def _replaced(line: str, macros: dict[str, str]) -> str:
    """line with every macro replaced, as text, the longest first."""
    if not macros or not any(char.isupper() for char in line):
        return line
    pattern = "|".join(re.escape(name) for name in sorted(macros, key=len, reverse=True))
    return re.sub(pattern, lambda match: macros[match[0]], line)[:LINE_MAX_CHARS]


def _of_files(source: Source, line: str) -> str:
    """line with ${if exists{path}{text}{text}} decided."""
    for _ in range(20):
        match = re.search(r"\$\{if exists\{(/[^{}]*)\}\s*\{([^{}]*)\}\s*(?:\{([^{}]*)\}|fail)?\s*\}", line)
        if not match:
            break
        line = line[:match.start()] + ((match[2] if source.has(match[1]) else match[3]) or "") + line[match.end():]
    return line


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def items(value: str) -> list[str]:
    """The items of a list."""
    value, separator = value.strip(), ":"
    if match := re.match(r"<\s*([^\w\s])\s*", value):
        separator, value = match[1], value[match.end():]
    out, item, depth, at = [], "", 0, 0
    while at < len(value):
        char = value[at]
        depth += (char == "{") - (char == "}" and depth > 0)
        if char == separator and not depth:
            if value[at + 1:at + 2] == separator:
                item += char
                at += 1
            else:
                out.append(item.strip())
                item = ""
        else:
            item += char
        at += 1
    return [one for one in [*out, item.strip()] if one]
