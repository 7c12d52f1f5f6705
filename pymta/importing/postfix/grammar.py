"""grammar: main.cf and master.cf taken apart, and $name in their values (postconf(5), master(5)).

    main.cf     logical line = name "=" value; a line that begins with a blank goes on; "#" begins a comment line; the last of two holds
    value       $name  ${name}  $(name)  ${name?text}  ${name:text}  ${name?{text}:{text}}  ${{left} op {right} ? {text} : {text}}  $$
    master.cf   service type private unpriv chroot wakeup maxproc command argument*
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DEPTH_MAX, VALUE_MAX_CHARS, STEPS_MAX = 20, 1 << 20, 20_000


@dataclass(frozen=True, slots=True)
class Parameter:
    """value: as written, lines joined; where: file:line."""

    name: str
    value: str
    where: str


@dataclass(frozen=True, slots=True)
class Service:
    """name, type: of master.cf; command: the program; options: name -> value of -o; where: file:line; words: the rest of the command line."""

    name: str
    type: str
    command: str
    options: dict[str, str]
    words: tuple[str, ...]
    where: str


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of the first line, text) with continuations joined."""
    number, whole = 0, ""
    for at, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and whole:
            whole += " " + line.strip()
        else:
            if whole:
                yield number, whole
            number, whole = at, line.strip()
    if whole:
        yield number, whole


def main_cf(text: str, path: str) -> tuple[dict[str, Parameter], list[tuple[int, str]]]:
    """(parameters, [(line number, line)] that are none)."""
    found: dict[str, Parameter] = {}
    bad = []
    for number, line in logical_lines(text):
        name, equals, value = line.partition("=")
        if not equals or not name.strip() or " " in name.strip():
            bad.append((number, line))
        else:
            found[name.strip()] = Parameter(name.strip(), value.strip(), f"{path}:{number}")
    return found, bad


def master_cf(text: str, path: str) -> list[Service]:
    """The services, in order."""
    out = []
    for number, line in logical_lines(text):
        words = _words(line)
        if len(words) < 8:
            continue
        options: dict[str, str] = {}
        rest = []
        arguments = iter(words[8:])
        for word in arguments:
            if word == "-o" or word.startswith("-o") and "=" in word:
                name, equals, value = (next(arguments, "") if word == "-o" else word[2:]).strip("{}").partition("=")
                options[name.strip()] = value.strip()
            else:
                rest.append(word)
        out.append(Service(words[0], words[1], words[7], options, tuple(rest), f"{path}:{number}"))
    return out


def _words(line: str) -> list[str]:
    """Words of a line; what stands in braces is one."""
    return [match[0] for match in re.finditer(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|\S+", line)]


def items(value: str) -> list[str]:
    """The items of a list, parted by commas or blanks; what stands in braces stays together."""
    out, item, depth = [], "", 0
    for char in value:
        depth += (char == "{") - (char == "}" and depth > 0)
        if char in ", \t\n" and not depth:
            out.append(item)
            item = ""
        else:
            item += char
    return [one for one in [*out, item] if one]


class Values:
    """Parameters over defaults, expanded.  asked: names that were used in another's value."""

    def __init__(self, given: dict[str, Parameter], defaults: dict[str, str]) -> None:
        self.given = given
        self.defaults = defaults
        self.asked: set[str] = set()
        self._steps = 0                                     # names that name names could take for ever

    def get(self, name: str) -> str:
        self._steps = 0
        return self.expand(self._raw(name)).strip()

    def list(self, name: str) -> list[str]:
        return items(self.get(name))

    def where(self, name: str) -> str:
        return self.given[name].where if name in self.given else "default"

    def _raw(self, name: str) -> str:
        return self.given[name].value if name in self.given else self.defaults.get(name, "")

    def expand(self, text: str, depth: int = 0) -> str:
        """text with each $name replaced; what goes too deep or grows too long stays as it is."""
        self._steps += 1
        if "$" not in text or depth > DEPTH_MAX or self._steps > STEPS_MAX:
            return text
        out, at = "", 0
        while at < len(text):
            sign = text.find("$", at)
            if sign < 0 or sign + 1 >= len(text):
                return out + text[at:]
            out += text[at:sign]
            after = text[sign + 1]
            if after == "$":
                out, at = out + "$", sign + 2
            elif after in "{(":
                end = _closing(text, sign + 1)
                out += self._braced(text[sign + 2:end], depth)
                at = end + 1
            else:
                match = re.compile(r"[A-Za-z0-9_]+").match(text, sign + 1)
                name = match[0] if match else ""
                self.asked.add(name)
                out += self.expand(self._raw(name), depth + 1) if name else "$"
                at = sign + 1 + len(name)
            if len(out) > VALUE_MAX_CHARS:
                return out[:VALUE_MAX_CHARS]
        return out

    def _braced(self, inner: str, depth: int) -> str:
        inner = inner.strip()
        if inner.startswith("{"):
            end = _closing(inner, 0)
            match = re.match(r"\s*(==|!=|<=|>=|<|>)(?:level)?\s*", inner[end + 1:])
            if not match:
                return ""
            rest = inner[end + 1 + match.end():]
            close = _closing(rest, 0)
            left, right = self.expand(inner[1:end], depth + 1).strip(), self.expand(rest[1:close], depth + 1).strip()
            true, behind = _holds(left, match[1], right), rest[close + 1:].lstrip()
        else:
            named = re.match(r"[A-Za-z0-9_]+", inner)
            name = named[0] if named else ""
            self.asked.add(name)
            behind = inner[len(name):].lstrip()
            if not behind:
                return self.expand(self._raw(name), depth + 1)
            true = bool(self.expand(self._raw(name), depth + 1))
        return self.expand(_chosen(behind, true), depth + 1)


def _chosen(text: str, true: bool) -> str:
    """The branch of "? {yes} : {no}", "? yes", ": no" that is taken."""
    mark, rest = text[:1], text[1:].lstrip()
    if not rest.startswith("{"):
        return rest if true == (mark == "?") else ""
    close = _closing(rest, 0)
    if true == (mark == "?"):
        return rest[1:close].strip()
    after = rest[close + 1:].lstrip()
    return _chosen(after, False) if mark == "?" and after.startswith(":") else ""


def _closing(text: str, begin: int) -> int:
    """Where the bracket at begin closes; the end of text if it does not."""
    depth = 0
    for at in range(begin, len(text)):
        depth += (text[at] in "{(") - (text[at] in "})")
        if depth <= 0:
            return at
    return len(text)


def _holds(left: str, operator: str, right: str) -> bool:
    def key(text: str) -> tuple[tuple[int, ...], str]:
        numbers = re.fullmatch(r"\d{1,6}(?:\.\d{1,6}){0,2}", text, re.ASCII)
        return (tuple(int(part) for part in text.split(".")), "") if numbers else ((), text)
    a, b = key(left), key(right)
    return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]
