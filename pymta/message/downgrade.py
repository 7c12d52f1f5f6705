"""downgrade: the same message for a host that takes only 7-bit lines.                                RFC 6152 §3, RFC 2045 §6

    seven_bit(message) -> message      each part with octets above 127 goes as quoted-printable (text) or base64 (anything else)

Only the bodies of such parts and the fields that speak of their encoding change; multiparts and messages around them say 7bit then.
A text without a Content-Type gets one: UTF-8 if it is, else unknown-8bit (RFC 1428).  Header fields are left alone: RFC 6152 is not
about them.  Octets above 127 before, between and behind parts, where nobody reads, become question marks.

Signed (OpenPGP, S/MIME) parts cannot be changed: Signed.  Parts that say they are encoded and are not, or that must not be encoded:
Impossible.  Pure; lines end with LF.
"""
from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp

from pymta.message import mime
from pymta.message.mime import Part

BASE64_LINE_OCTETS = 57             # before encoding: 76 after it
_IDENTITY = (b"7bit", b"8bit", b"binary", b"")
_WHOLE = re.compile(rb"\s*(multipart\s*/|message\s*/\s*(rfc822|partial|external-body))", re.IGNORECASE).match     # never encoded: RFC 2046 §5
_ENCODING_FIELD = re.compile(rb"^content-transfer-encoding[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE)
_HIGH_AS_MARK = bytes(range(128)) + b"?" * 128


class Signed(ValueError):
    """A part that a signature covers would have to change."""


class Impossible(ValueError):
    """There is no 7-bit form; the text says why."""


def seven_bit(message: bytes) -> bytes:
    """The message with 7-bit bodies.  Raises Signed, Impossible."""
    root = mime.scan(message)
    edits: list[tuple[int, int, bytes]] = []
    _walk(message, root, edits)
    if edits and not re.search(rb"^mime-version[ \t]*:", message[:root.body], re.IGNORECASE | re.MULTILINE):
        _add_field(edits, root, b"MIME-Version: 1.0\n")
    out, at = [], 0
    for start, stop, text in sorted(edits, key=lambda edit: edit[:2]):
        out += [message[at:start], text]
        at = stop
    return b"".join([*out, message[at:]])


def _walk(data: bytes, part: Part, edits: list[tuple[int, int, bytes]]) -> None:
    """Gather what to put in the place of what, for this part and those in it; edits never overlap."""
    if data[part.body:part.end].isascii():
        return
    encoding = mime.first_word(part.fields.get(b"content-transfer-encoding", b"")).lower()
    if encoding not in _IDENTITY:
        raise Impossible(f"a part says it is {encoding.decode('ascii', 'replace')[:40]} and holds octets above 127")
    if part.is_multipart and part.subtype == b"signed":
        raise Signed("a signed part holds octets above 127")
    if part.parts:
        _relabel(data, part, edits, b"7bit" if encoding in (b"8bit", b"binary") else b"")
        at = part.body
        for inner in part.parts:
            _mask(data, at, inner.start, edits)
            _walk(data, inner, edits)
            at = inner.end
        _mask(data, at, part.end, edits)
    elif _WHOLE(part.fields.get(b"content-type", b"")):
        raise Impossible("a multipart that cannot be taken apart, or part of a message, holds octets above 127")
    else:
        _encode(data, part, edits)


def _mask(data: bytes, start: int, stop: int, edits: list[tuple[int, int, bytes]]) -> None:
    """What stands before, between and behind parts."""
    if stop > start and not data[start:stop].isascii():
        if any(not line.isascii() for line in data[start:stop].split(b"\n") if line.startswith(b"--")):
            raise Impossible("a boundary holds octets above 127")
        edits.append((start, stop, data[start:stop].translate(_HIGH_AS_MARK)))


def _encode(data: bytes, part: Part, edits: list[tuple[int, int, bytes]]) -> None:
    body = data[part.body:part.end]
    if part.type == b"text" or part.type == b"message":
        _relabel(data, part, edits, b"quoted-printable")
        text = b2a_qp(body, istext=True)
    else:
        _relabel(data, part, edits, b"base64")
        whole = body.replace(b"\n", b"\r\n")            # what it is on the wire
        text = b"".join(b2a_base64(whole[at:at + BASE64_LINE_OCTETS]) for at in range(0, len(whole), BASE64_LINE_OCTETS))
        if not body.endswith(b"\n"):                    # the line end before a boundary belongs to the boundary
            text = text[:-1]
    edits.append((part.body, part.end, text))
    if b"content-type" not in part.fields:
        _add_field(edits, part, b"Content-Type: text/plain; charset=%s\n" % (b"utf-8" if _is_utf8(body) else b"unknown-8bit"))


def _relabel(data: bytes, part: Part, edits: list[tuple[int, int, bytes]], encoding: bytes) -> None:
    """Say this Content-Transfer-Encoding; b"": leave it as it is."""
    if not encoding:
        return
    edits += [(part.start + found.start(), part.start + found.end(), b"") for found in _ENCODING_FIELD.finditer(data[part.start:part.body])]
    _add_field(edits, part, b"Content-Transfer-Encoding: %s\n" % encoding)


def _add_field(edits: list[tuple[int, int, bytes]], part: Part, field: bytes) -> None:
    """A new field at the end of the part's header, before the empty line."""
    edits.append((part.body - 1, part.body - 1, field))


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
