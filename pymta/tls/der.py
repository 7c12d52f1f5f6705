"""der: what a certificate says of itself: its names, its end, whether it signed itself.              RFC 5280 §4.1, X.690

    names(der) -> {"mail.example.org", "*.example.org"}         ends(der) -> seconds since 1970

Python's ssl module shows only a peer's certificate, and the library that shows ours costs each worker 10 MiB.  Reads
certificates of our own, from files of the admin: what cannot be read raises ValueError.
"""
from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass

_SEQUENCE, _OCTETS, _OID, _UTC_TIME = 0x30, 0x04, 0x06, 0x17
_VERSION, _EXTENSIONS, _DNS_NAME = 0xA0, 0xA3, 0x82
_ALTERNATIVE_NAME, _COMMON_NAME = b"\x55\x1d\x11", b"\x55\x04\x03"


@dataclass(frozen=True, slots=True)
class Facts:
    """names: DNS names, lower case, `*.` in front of a wildcard; ends: seconds since 1970; self_signed: nobody else vouches for it."""

    names: frozenset[str]
    ends: float
    self_signed: bool


def read(der: bytes) -> Facts:
    """What the certificate says.  Raises ValueError."""
    try:
        [(_, certificate)] = _items(der)
        fields = list(_items(next(_items(certificate))[1]))
        if fields[0][0] == _VERSION:
            del fields[0]
        _, _, (_, issuer), (_, validity), (_, subject), _, *rest = fields           # serial, algorithm, ..., key
        return Facts(frozenset(_names(rest, subject)), _time(*list(_items(validity))[1]), issuer == subject)
    except (StopIteration, IndexError) as error:
        raise ValueError("not a certificate") from error


def _names(rest: list[tuple[int, bytes]], subject: bytes) -> Iterator[str]:
    """The alternative names; the common name only where there are none (RFC 6125 §6.4.4)."""
    found = False
    for tag, extensions in rest:
        if tag != _EXTENSIONS:
            continue
        for _, extension in _items(next(_items(extensions))[1]):
            (_, oid), *_, (kind, value) = _items(extension)
            if oid == _ALTERNATIVE_NAME and kind == _OCTETS:
                for one, name in _items(next(_items(value))[1]):
                    if one == _DNS_NAME:
                        found = True
                        yield name.decode("ascii", "replace").lower()
    for _, relative in _items(subject) if not found else ():
        for _, attribute in _items(relative):
            (_, oid), (_, value) = _items(attribute)
            if oid == _COMMON_NAME and b"." in value:
                yield value.decode("utf-8", "replace").lower()


def _time(tag: int, value: bytes) -> float:
    """UTCTime or GeneralizedTime, always in Z (RFC 5280 §4.1.2.5)."""
    digits = value.decode("ascii").rstrip("Z")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return float(calendar.timegm((int(digits[:4]), *(int(digits[at:at + 2]) for at in range(4, 14, 2)))))


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, content) of each item side by side in data.  Raises ValueError, IndexError."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            count = length & 0x7F
            if not 0 < count <= 4:
                raise ValueError("not DER")
            length, at = int.from_bytes(data[at:at + count], "big"), at + count
        if at + length > len(data):
            raise ValueError("cut off")
        yield tag, data[at:at + length]
        at += length
