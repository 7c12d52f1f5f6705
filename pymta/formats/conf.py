"""conf: the syntax of pymta.conf.                                                         pymta.conf(5)

    file    = *(line LF)
    line    = [key *WSP "=" *WSP value] [*WSP "#" comment]     ; a "#" counts as a comment at the start or after a blank
    key     = word *("." word)

Written by the admin, read by every program at its start.  What the keys mean is settings.py's business: this module
imports nothing, because pymta-inject reads the file too and has no time for more.
"""
from __future__ import annotations


def parse(text: str) -> tuple[list[tuple[int, str, str]], list[tuple[int, str]]]:
    """([(line number, key, value)], [(line number, complaint)]) of a configuration's text."""
    rows: list[tuple[int, str, str]] = []
    complaints: list[tuple[int, str]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = without_comment(line).strip()
        if not line:
            continue
        key, equals, value = line.partition("=")
        key = key.strip()
        if not equals or not key or " " in key:
            complaints.append((number, f"not a setting: {line!r}; write name = value"))
        else:
            rows.append((number, key, value.strip()))
    return rows, complaints


def without_comment(line: str) -> str:
    """line up to a "#" at its start or after a blank."""
    if line.startswith("#"):
        return ""
    at = min((i for i in (line.find(" #"), line.find("\t#")) if i >= 0), default=-1)
    return line if at < 0 else line[:at]
