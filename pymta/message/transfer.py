"""transfer: the octets that a body part means, its Content-Transfer-Encoding undone, in pieces.             RFC 2045 §6

    encoding(part)                          its name in lower case; b"" where the part has none
    octets = b"".join(pieces(data, part.body, part.end, encoding(part)))

Total over what is encoded: base64 is read as far as it can be, and a "=" that begins nothing stays.  Memory is that of a piece.
"""
from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

from pymta.message import mime

PLAIN = frozenset((b"", b"7bit", b"8bit", b"binary"))
PIECE_OCTETS = 1 << 16

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+").sub
_AT_LINE_END = re.compile(rb"(?<![ \t])[ \t]+(?=\r?\n)").sub
_AT_END = re.compile(rb"(?<![ \t])[ \t]+\Z").sub        # the line end before a delimiter belongs to that


class UnknownEncoding(ValueError):
    """A Content-Transfer-Encoding that RFC 2045 does not have.  IMAP: NO [UNKNOWN-CTE]."""


def encoding(part: mime.Part) -> bytes:
    """Of a leaf.  Whatever a multipart or a message claims, RFC 2045 §6.4 lets nothing be encoded there: b"" too."""
    if part.is_multipart or part.is_message:
        return b""
    return mime.first_word(part.fields.get(b"content-transfer-encoding", b""))


def pieces(data: bytes, begin: int, end: int, name: bytes) -> Iterator[bytes]:
    """What data[begin:end] means.  Raises UnknownEncoding (at once)."""
    if name in PLAIN:
        return iter((data[begin:end],))
    if name == b"base64":
        return _base64(data, begin, end)
    if name == b"quoted-printable":
        return _quoted_printable(data, begin, end)
    raise UnknownEncoding(name)


def _base64(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    kept = b""
    for at in range(begin, end, PIECE_OCTETS):
        clean, padding, _ = (kept + _NOT_BASE64(b"", data[at:min(at + PIECE_OCTETS, end)])).partition(b"=")
        if padding:                                     # the end, whatever follows
            kept = clean
            break
        whole = len(clean) & ~3
        kept = clean[whole:]
        yield binascii.a2b_base64(clean[:whole])
    if len(kept) % 4 == 1:                              # six bits are no octet
        kept = kept[:-1]
    yield binascii.a2b_base64(kept + b"=" * (-len(kept) % 4))


def _quoted_printable(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    """Cut at line ends, so that nothing is torn; a line that is longer than a piece is cut before a "="."""
    while begin < end:
        cut = end
        if end - begin > PIECE_OCTETS:
            cut = data.rfind(b"\n", begin, begin + PIECE_OCTETS) + 1 or _cut(data, begin + PIECE_OCTETS)
        piece = _AT_LINE_END(b"", data[begin:cut])
        yield binascii.a2b_qp(piece if cut < end else _AT_END(b"", piece))
        begin = cut


def _cut(data: bytes, near: int) -> int:
    """Not within "=XX"."""
    mark = data.rfind(b"=", near - 2, near)
    return near if mark < 0 else mark


# ---- the other way ------------------------------------------------------------------------------------------------------
_FIELD = re.compile(rb"^content-transfer-encoding[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*\n?", re.MULTILINE | re.IGNORECASE).search
_LINE_OCTETS = 57                                       # 76 characters of base64


def without_binary(data: bytes) -> bytes:
    """A message (CR LF) in which what was `binary` is base64, so that it can be kept in lines and every client can read it.

    Raises UnknownEncoding where a NUL stands outside of a part that says binary.  RFC 3516 §4.4"""
    out: list[bytes] = []
    at = 0
    for part in _in_order(mime.scan(data)):
        if mime.first_word(part.fields.get(b"content-transfer-encoding", b"")) != b"binary":
            continue
        found = _FIELD(data, part.start, part.body)
        if found is None:
            continue
        holds_parts = part.is_multipart or part.is_message
        out += [data[at:found.start()], b"Content-Transfer-Encoding: %b\r\n" % (b"8bit" if holds_parts else b"base64")]
        at = found.end()
        if not holds_parts:
            out += [data[at:part.body], *_as_base64(data, part.body, part.end)]
            at = part.end
    out.append(data[at:])
    told = b"".join(out)
    if b"\0" in told:
        raise UnknownEncoding("a NUL in a part that is not binary")
    return told


def _as_base64(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    for at in range(begin, end, _LINE_OCTETS):
        last = at + _LINE_OCTETS >= end
        yield binascii.b2a_base64(data[at:min(at + _LINE_OCTETS, end)], newline=False)
        if not last or end == len(data):
            yield b"\r\n"


def _in_order(root: mime.Part) -> Iterator[mime.Part]:
    left = [root]
    while left:
        part = left.pop()
        yield part
        left += reversed(part.parts)
