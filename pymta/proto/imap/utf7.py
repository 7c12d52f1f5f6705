"""utf7: mailbox names on the wire: modified UTF-7, or UTF-8 once that is agreed on.      RFC 3501 §5.1.3, RFC 6855 §3, RFC 9051 §5.1

encode and decode are inverse for every name that has a proper form.  A client's name that is not in it (raw UTF-8, a stray "&")
is refused rather than guessed at, but for plain 8-bit UTF-8, which some clients send and which can mean only one thing.
"""
from __future__ import annotations

import binascii
import re

_SHIFTED = re.compile(r"[^ -~]+").sub
_STRAY = re.compile("[\ud800-\udbff\udd00-\udfff]").search             # U+DC00-DCFF: octets of a folder's name that are no text
_UNSHIFT = re.compile(rb"&([A-Za-z0-9+,]*)-")


def encode(name: str) -> bytes:
    """Text as modified UTF-7."""
    if name.isascii() and name.isprintable():
        return name.replace("&", "&-").encode("ascii")
    return _SHIFTED(_shift, name.replace("&", "&-")).encode("ascii")


def _shift(found: re.Match[str]) -> str:
    octets = found[0].encode("utf-16-be", "surrogatepass")
    return "&" + binascii.b2a_base64(octets, newline=False).decode("ascii").rstrip("=").replace("/", ",") + "-"


def decode(name: bytes) -> str:
    """Modified UTF-7 (or UTF-8) as text.  Raises ValueError."""
    if not name.isascii():
        return name.decode("utf-8")
    if b"&" not in name:
        return name.decode("ascii")
    out = []
    at = 0
    while (shift := name.find(b"&", at)) >= 0:
        out.append(name[at:shift].decode("ascii"))
        found = _UNSHIFT.match(name, shift)
        if found is None:
            raise ValueError("not modified UTF-7")
        out.append(_unshift(found[1]) if found[1] else "&")
        at = found.end()
    out.append(name[at:].decode("ascii"))
    text = "".join(out)
    if encode(text) != name:                            # needlessly encoded, overlong or unfinished: two names for one mailbox
        raise ValueError("not modified UTF-7")
    return text


def _unshift(base64: bytes) -> str:
    padded = base64.replace(b",", b"/") + b"=" * (-len(base64) % 4)
    try:
        text = binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("not modified UTF-7") from None
    if _STRAY(text):
        raise ValueError("not modified UTF-7")
    return text


# The octets of a folder's name that are no text (U+DC00-DCFF) cannot be said in UTF-8: they stand in a private place meanwhile.
_ASIDE = {0xDC00 + octet: 0xF700 + octet for octet in range(0x100)}
_BACK = {aside: octet for octet, aside in _ASIDE.items()}


def encode_utf8(name: str) -> bytes:
    """Text as UTF-8."""
    return name.translate(_ASIDE).encode("utf-8", "replace")


def decode_utf8(name: bytes) -> str:
    """UTF-8 as text.  Raises ValueError."""
    return name.decode("utf-8").translate(_BACK)
