"""edit: change settings in the text of a pymta.conf and nothing else in it.                     pymta.conf(5)

    changed(text, {"host.name": "mail.example.org"}) -> text

The line that holds (the last one of that name) gets the new value and keeps its comment; a setting that no line makes goes below the line
where its default stands in a comment, as in pymta.conf.example, else to the end.  A value that holds already changes nothing.
"""
from __future__ import annotations

import re
from collections.abc import Mapping

from pymta.formats import conf

_HEAD = "# Settings of pymta: see pymta.conf(5); `pymta-config check` after a change.\n\n"


def changed(text: str, values: Mapping[str, str]) -> str:
    """Raises ValueError for a value that a line cannot hold."""
    for name, value in values.items():
        _refuse(name, value)
        text = _with(text, name, value)
    return text


def _refuse(name: str, value: str) -> None:
    rows, bad = conf.parse(f"{name} = {value}")
    if bad or rows != [(1, name, value)]:
        raise ValueError(f"{name} = {value}: this cannot stand in a line; leave out line ends and # after a blank")


def _with(text: str, name: str, value: str) -> str:
    rows = [(number, held) for number, key, held in conf.parse(text)[0] if key == name]
    lines = text.split("\n")
    if rows:
        number, held = rows[-1]
        if held != value:
            lines[number - 1] = _replaced(lines[number - 1], value)
        return "\n".join(lines)
    line = f"{name} = {value}".rstrip()
    below = next((at for at, each in enumerate(lines) if re.match(rf"#\s*{re.escape(name)}\s*=", each)), None)
    if below is not None:
        lines.insert(below + 1, line)
        return "\n".join(lines)
    if not text.strip():
        return f"{_HEAD}{line}\n"
    return text + ("" if text.endswith("\n") else "\n") + line + "\n"


def _replaced(line: str, value: str) -> str:
    """The line with another value, its comment and what stands around the = as they were."""
    bare = conf.without_comment(line)
    comment = line[len(bare):]
    key, equals, old = bare.partition("=")
    before = old[:len(old) - len(old.lstrip())]
    after = old[len(old.rstrip()):] if old.strip() else ""
    return f"{key}{equals}{before or ' '}{value}{after}{comment}"
