"""asciiform: ENVELOPE and BODYSTRUCTURE for a client that has not said that it takes UTF-8.          RFC 6855 §3, RFC 6858 §2

What the index holds says fields as they stand, in UTF-8 where an internationalised message has it.  Such a client gets encoded
words instead, a domain as A-labels, and where an address has no ASCII form one that nobody can answer by mistake.  What is not
UTF-8 is no internationalised message but an old sender's mistake, and goes as it always has: as a literal.
"""
from __future__ import annotations

import re
from typing import Any

from pymta.message import address, header
from pymta.message.structure import string
from pymta.message.surrogate import NO_ADDRESS

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|\{(\d+)\}\r\n|[()]|[^()"{ ]+', re.DOTALL).match
_NOBODY, _, _NOWHERE = NO_ADDRESS.partition(b"@")


def ascii_form(described: bytes) -> bytes:
    """The same object where nothing has to change."""
    if described.isascii():
        return described
    tokens = _tokens(described)
    for at in range(len(tokens)):
        if tokens[at][1] is not None:
            _mend(tokens, at)
    out = bytearray()
    reached = 0
    for text, _, begin, end in tokens:
        out += described[reached:begin] + text
        reached = end
    return bytes(out + described[reached:])


def _tokens(described: bytes) -> list[tuple[bytes, bytes | None, int, int]]:
    """(what stands there, what it says if that is UTF-8 beyond ASCII, where it begins, where it ends)"""
    out = []
    at = 0
    while at < len(described):
        found = _TOKEN(described, at)
        if found is None:
            at += 1
            continue
        end = found.end()
        said = None
        if found[1] is not None:
            end += int(found[1])
            said = _utf8(described[found.end():end])
        out.append((described[at:end], said, at, end))
        at = end
    return out


def _utf8(octets: bytes) -> bytes | None:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if octets.isascii() else octets


def _mend(tokens: list[tuple[bytes, bytes | None, int, int]], at: int) -> None:
    said = tokens[at][1]
    assert said is not None
    if _is_address(tokens, at - 3):                     # (name route mailbox host): this is the mailbox
        _put(tokens, at, string(_NOBODY))
        _put(tokens, at + 1, string(_NOWHERE))
    elif _is_address(tokens, at - 4):                   # its host
        host = _ascii_domain(said)
        if host is None:
            _put(tokens, at - 1, string(_NOBODY))
        _put(tokens, at, string(host or _NOWHERE))
    else:
        _put(tokens, at, string(header.phrase(said).replace(b"\n", b"")))


def _put(tokens: list[Any], at: int, text: bytes) -> None:
    tokens[at] = (text, None, *tokens[at][2:])


def _is_address(tokens: list[tuple[bytes, bytes | None, int, int]], at: int) -> bool:
    """Whether an address of an ENVELOPE begins here: four strings in parentheses, in a list of such.  Of a part's parameters, which
    look alike, none stands right behind another parenthesis."""
    return (at > 0 and at + 5 < len(tokens) and tokens[at][0] == b"(" and tokens[at + 5][0] == b")"
            and tokens[at - 1][0] in (b"(", b")") and tokens[at - 1][3] == tokens[at][2]
            and not any(tokens[at + number][0] in (b"(", b")") for number in range(1, 5)))


def _ascii_domain(host: bytes) -> bytes | None:
    try:
        found = address.ascii_domain(host.decode("utf-8"))
    except ValueError:
        return None
    return found.encode("ascii") if found.isascii() else None


class Describing:
    """What the index knows of messages, in ASCII."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.close = inner.close

    def some(self, messages: list[Any]) -> list[Any]:
        return [entry and entry._replace(envelope=ascii_form(entry.envelope), bodystructure=ascii_form(entry.bodystructure))
                if entry and not (entry.envelope.isascii() and entry.bodystructure.isascii()) else entry
                for entry in self._inner.some(messages)]

    def texts(self, messages: list[Any], which: str) -> list[bytes | None]:
        found: list[bytes | None] = self._inner.texts(messages, which)
        if which == "preview":                          # RFC 8970 §3.2: always UTF-8
            return found
        return [text if text is None or text.isascii() else ascii_form(text) for text in found]
