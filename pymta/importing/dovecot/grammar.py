"""grammar: dovecot.conf and what it includes, taken apart; versions 2.0 to 2.4.

    file    = *(line LF)                                   ; a "\\" at the end goes on in the next line
    line    = key "=" value / section / "}" / "!include" pattern / "!include_try" pattern / "#" comment
    section = word [name] "{"
    value   = text / quoted / "<" path                     ; the last: what stands in that file
"""
from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pymta.importing.source import Source, text

DEPTH_MAX, FILES_MAX, LINES_MAX = 20, 500, 200_000


@dataclass(frozen=True, slots=True)
class Setting:
    """value: quotes gone, $name expanded; where: file:line."""

    key: str
    value: str
    where: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value}"


@dataclass(slots=True)
class Section:
    """kind and name: of `kind name {`; settings: key -> the last one; sections: in order."""

    kind: str
    name: str
    where: str
    settings: dict[str, Setting] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def get(self, key: str, default: str = "") -> str:
        found = self.settings.get(key)
        return found.value if found else default

    def of(self, kind: str) -> Iterator[Section]:
        return (section for section in self.sections if section.kind == kind)

    def into(self, kind: str, name: str, where: str) -> Section:
        """The section within; one that stands twice is one, but for passdb and userdb without a name."""
        if name or kind not in ("passdb", "userdb"):
            for section in self.sections:
                if (section.kind, section.name) == (kind, name):
                    return section
        self.sections.append(Section(kind, name, where))
        return self.sections[-1]


@dataclass(slots=True)
class Configuration:
    """top: everything; problems: [(file:line, what, why)]."""

    top: Section
    problems: list[tuple[str, str, str]] = field(default_factory=list)


def read(source: Source, path: str, data: bytes | None = None) -> Configuration:
    """The configuration that begins at path; data: its octets, where they are not in the source."""
    found = Configuration(Section("", "", path))
    reader = _Reader(source, found)
    if data is None:
        reader.file(path, found.top, 0)
    else:
        reader.lines(text(data), path, found.top, 0)
    return found


class _Reader:
    def __init__(self, source: Source, found: Configuration) -> None:
        self.source, self.found = source, found
        self.files = self.count = 0

    def file(self, path: str, into: Section, depth: int) -> bool:
        data = self.source.read(path) if depth <= DEPTH_MAX and self.files < FILES_MAX else None
        if data is None:
            return False
        self.files += 1
        self.lines(text(data), path, into, depth)
        return True

    def lines(self, whole: str, path: str, into: Section, depth: int) -> None:
        stack = [into]
        for number, line in _logical(whole):
            self.count += 1
            if self.count > LINES_MAX:
                return
            where = f"{path}:{number}"
            if line.startswith("!include"):
                word, _, pattern = line.partition(" ")
                if not self.include(pattern.strip(), path, stack[-1], depth) and word == "!include" and "*" not in pattern:
                    self.found.problems.append((where, line, "there is no such file"))
            elif line == "}":
                if len(stack) > 1:
                    stack.pop()
            elif line.endswith("{") and "=" not in line.partition(" ")[0]:
                kind, _, name = line[:-1].strip().partition(" ")
                if len(stack) <= DEPTH_MAX:
                    stack.append(stack[-1].into(kind, _unquoted(name.strip()), where))
            elif re.fullmatch(r"[A-Za-z0-9_]+[^={}]*\{[^{}]*\}", line):                 # a section in one line
                head, _, body = line[:-1].partition("{")
                kind, _, name = head.strip().partition(" ")
                self.setting(body, where, [*stack, stack[-1].into(kind, _unquoted(name.strip()), where)])
            elif line:
                self.setting(line, where, stack)

    def setting(self, line: str, where: str, stack: list[Section]) -> None:
        key, equals, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key or " " in key:
            if line.strip():
                self.found.problems.append((where, line, "neither a setting nor a section"))
            return
        if not value.startswith(("'", '"')):
            value = re.sub(r"\$([A-Za-z0-9_]+)|\$SET:([A-Za-z0-9_]+)", lambda match: self.known(match[1] or match[2], stack), value)[:1 << 16].strip()
        stack[-1].settings[key] = Setting(key, _unquoted(value), where)

    @staticmethod
    def known(name: str, stack: list[Section]) -> str:
        return next((section.settings[name].value for section in reversed(stack) if name in section.settings), "")

    def include(self, pattern: str, path: str, into: Section, depth: int) -> bool:
        if not pattern.startswith("/"):
            pattern = f"{path.rpartition('/')[0]}/{pattern}"
        directory, _, last = pattern.rpartition("/")
        if not set("*?[") & set(last):
            return self.file(pattern, into, depth + 1)
        return any([self.file(f"{directory}/{name}", into, depth + 1) for name in self.source.names(directory)
                    if fnmatch.fnmatchcase(name, last) and not name.startswith(".")])


def _logical(whole: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, line) without comments and blanks around it."""
    begun, pending = 0, ""
    for number, line in enumerate(whole.split("\n"), 1):
        line = _without_comment(line).strip()
        if line.endswith("\\"):
            begun, pending = begun or number, pending + line[:-1].rstrip() + " "
            continue
        if pending or line:
            yield begun or number, (pending + line).strip()
        begun, pending = 0, ""
    if pending:
        yield begun, pending.strip()


def _without_comment(line: str) -> str:
    if "#" not in line:
        return line
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote and line[at - 1] != "\\" else quote
        elif char in "\"'" and (at == 0 or line[at - 1] in " =\t"):
            quote = char
        elif char == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at]
    return line


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value
