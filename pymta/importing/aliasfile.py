"""aliasfile: a file of aliases in sendmail's syntax, as others read it, taken apart; also what stands in a .forward.

Postfix, Exim and sendmail allow more on the right than we do; what of it cannot be used here is found out by Import.alias.
"""
from __future__ import annotations

from collections.abc import Iterator


def entries(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """(line number, name, targets) of each entry; quotes around a whole name are gone, targets stand as they were.  A line without a colon
    is (number, line, [])."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and lines:
            lines[-1] = (lines[-1][0], lines[-1][1] + " " + line.strip())
        else:
            lines.append((number, line.strip()))
    for number, line in lines:
        name, *rest = split(line, ":", 1)
        yield number, unquoted(name.strip()), targets(rest[0]) if rest else []


def targets(text: str) -> list[str]:
    """What stands behind the colon, parted at commas."""
    return [item for part in split(text, ",") if (item := part.strip())]


def forward(text: str) -> list[tuple[int, str]]:
    """(line number, target) of a .forward or a list."""
    return [(number, target) for number, line in enumerate(text.split("\n"), 1) if not line.lstrip().startswith("#") for target in targets(line)]


def split(text: str, separator: str, times: int = -1) -> list[str]:
    """text parted at each separator that stands outside quotes; times: how often at most."""
    out, begin, quoted, at = [], 0, False, 0
    while at < len(text) and times:
        if quoted and text[at] == "\\":
            at += 1
        elif text[at] == '"':
            quoted = not quoted
        elif text[at] == separator and not quoted:
            out.append(text[begin:at])
            begin = at + 1
            times -= 1
        at += 1
    return [*out, text[begin:]]


def unquoted(name: str) -> str:
    """A name that stands in quotes as a whole, without them."""
    inner = name[1:-1]
    return inner if len(name) > 2 and name[0] == name[-1] == '"' and not set(' "\\@,:;<>()[]') & set(inner) else name
