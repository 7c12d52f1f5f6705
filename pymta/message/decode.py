"""decode: what a message says, as text: encoded words, transfer encodings and character sets.       RFC 2045, RFC 2047, RFC 2231

For searching, sorting and showing; never for what is sent to a client as the message.  Total: what cannot be decoded is
left as it stands or read as Latin-1, so that a search still finds the ASCII in it.
"""
from __future__ import annotations

import binascii
import codecs
import re
from functools import lru_cache

from pymta.message import mime
from pymta.message.mime import Part

_WORD = re.compile(rb"=\?([!-)+->@-~]+?)(?:\*[!->@-~]*)?\?([bBqQ])\?((?:(?!=\?(?!=))[ -~])*?)\?=")     # no word goes on over the next: linear
_BETWEEN = re.compile(rb"(\?=)[ \t\r\n]+(?==\?)").sub
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+").sub
_NO_CHARSETS = frozenset(("punycode", "idna", "unicode_escape", "unicode-escape", "raw_unicode_escape", "raw-unicode-escape", "undefined", "mbcs", "oem"))
_ASCII_TOO = frozenset((b"us-ascii", b"utf-8", b"UTF-8", b"iso-8859-1", b"ISO-8859-1", b"iso-8859-15"))       # most text is ASCII in one of them
PARTS_MAX = 1000


@lru_cache(256)
def codec(name: bytes) -> str | None:
    """Python's name of a character set; None for one that is not known, or that mail does not have."""
    try:
        found = codecs.lookup(name.decode("ascii").strip() or "us-ascii")
    except (LookupError, ValueError):
        return None
    # not one of Python's own: "zip" gives octets, and "punycode" takes time that grows with the square of the text
    return found.name if found._is_text_encoding and found.name not in _NO_CHARSETS else None


def charset(octets: bytes, name: bytes) -> str:
    """Text in a character set; an unknown one, or what does not fit, is UTF-8 if it can be, else Latin-1."""
    if name in _ASCII_TOO and octets.isascii():
        return octets.decode("ascii")
    try:
        if known := codec(name):
            return octets.decode(known)
    except ValueError:                                  # UnicodeDecodeError is one
        pass
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def base64(octets: bytes) -> bytes:
    """As much of base64 as can be read."""
    clean = _NOT_BASE64(b"", octets.partition(b"=")[0]) if b"=" in octets[:-4] else _NOT_BASE64(b"", octets)
    if len(clean) % 4 == 1:
        clean = clean[:-1]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def header(value: bytes) -> str:
    """An unfolded field value with its encoded words decoded.  RFC 2047"""
    if b"=?" not in value:
        return charset(value, b"us-ascii")
    value = _BETWEEN(rb"\1", value)
    out = []
    at = 0
    for found in _WORD.finditer(value):
        out.append(charset(value[at:found.start()], b"us-ascii"))
        name, kind, text = found.groups()
        octets = base64(text) if kind in b"bB" else binascii.a2b_qp(text, header=True)
        out.append(charset(octets, name))
        at = found.end()
    out.append(charset(value[at:], b"us-ascii"))
    return "".join(out)


def body(data: bytes, part: Part) -> bytes:
    """The decoded text of one text part, in UTF-8."""
    octets = data[part.body:part.end]
    encoding = mime.first_word(part.fields.get(b"content-transfer-encoding", b""))
    if encoding == b"base64":
        octets = base64(octets)
    elif encoding == b"quoted-printable":
        octets = binascii.a2b_qp(octets)
    name = mime.parameter(part.parameters, b"charset")
    if codec(name) in (None, "ascii", "utf-8"):
        try:
            octets.decode("utf-8")
        except UnicodeDecodeError:
            return octets.decode("latin-1").encode()
        return octets
    return charset(octets, name).encode("utf-8", "replace")
