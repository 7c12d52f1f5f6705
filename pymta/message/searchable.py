"""searchable: what SEARCH looks through in a message: decoded, collated (message/casemap), in UTF-8.            RFC 9051 §6.4.4

    header(octets)           the message's own header, a line for each field
    below(data, root)        (the headers of its parts and of messages in it, the texts of its text parts)

BODY looks through the texts, TEXT through all three, HEADER through the first.  Lines end with LF.  A header is unfolded: a line
end and the blanks behind it are one blank, as in ENVELOPE.  What lies before, between and behind the parts of a multipart, and parts that are no text, say nothing.
Time and memory are linear in the message, whatever it holds: no more than PARTS_MAX parts are looked into.
"""
from __future__ import annotations

import re

from pymta.message import decode, mime
from pymta.message.casemap import collate, collate_utf8

PARTS_MAX = decode.PARTS_MAX
_FOLDS = re.compile(rb"\n[ \t]+").sub


def needle(text: str) -> bytes:
    """What to look for, made equal in the same way."""
    return _octets(text.replace("\r\n", "\n"))


def _octets(text: str) -> bytes:
    return collate(text).encode("utf-8", "replace")


def header(octets: bytes) -> bytes:
    if b"\r\n" in octets:
        octets = octets.replace(b"\r\n", b"\n")
    octets = _FOLDS(b" ", octets)
    if octets.isascii() and b"=?" not in octets:
        return octets.replace(b"\0", b"").upper()
    return b"\n".join([_line(line) for line in octets.split(b"\n")])


def _line(line: bytes) -> bytes:
    if line.isascii() and b"=?" not in line:
        return line.replace(b"\0", b"").upper()
    return _octets(decode.header(line).replace("\n", " "))          # nobody can add a field from within a word


def below(data: bytes, root: mime.Part) -> tuple[bytes, bytes]:
    headers: list[bytes] = []
    texts: list[bytes] = []
    stack, left = [root], PARTS_MAX
    while stack and left:
        part = stack.pop()
        left -= 1
        if part is not root:
            headers.append(header(data[part.start:part.body]))
        if part.parts:
            stack += reversed(part.parts)
        elif part.type in (b"text", b"message"):
            texts.append(_text(decode.body(data, part)))
    return b"\n".join(headers), b"\n".join(texts)


def _text(octets: bytes) -> bytes:
    return collate_utf8(octets.replace(b"\r\n", b"\n") if b"\r\n" in octets else octets)
