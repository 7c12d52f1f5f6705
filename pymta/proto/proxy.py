"""proxy: the header by which a load balancer says whose connection this is.       haproxy's PROXY protocol, versions 1 and 2

    version 1   "PROXY" SP ( ("TCP4" / "TCP6") SP source SP destination SP port SP port / "UNKNOWN" *OCTET ) CRLF       at most 107 octets
    version 2   CRLF CRLF NUL CRLF "QUIT" LF  %x20 / %x21  family  length  address  *TLV

Pure: bytes in, what they mean out.  It stands before everything else, a TLS handshake included.
"""
from __future__ import annotations

from dataclasses import dataclass

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_MAX_OCTETS = 107
_V2_MAX_OCTETS = 4096                                   # addresses take 216; the rest are TLVs, which nobody here reads
_TCP4, _TCP6 = 0x11, 0x21


class BadHeader(ValueError):
    """Not a PROXY header; the text says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """octets: its length; peer, local: (address, port), or None where the balancer speaks for itself or does not know."""

    octets: int
    peer: tuple[str, int] | None = None
    local: tuple[str, int] | None = None


def parse(data: bytes) -> Header | None:
    """The header at the start of data; None while it has not come whole.  Raises BadHeader."""
    if data.startswith(SIGNATURE):
        return _binary(data)
    if SIGNATURE.startswith(data[:len(SIGNATURE)]) or b"PROXY ".startswith(data[:6]) and len(data) < 6:
        return None
    if not data.startswith(b"PROXY "):
        raise BadHeader("no PROXY header")
    end = data.find(b"\r\n", 0, _V1_MAX_OCTETS)
    if end < 0:
        if len(data) >= _V1_MAX_OCTETS:
            raise BadHeader("a PROXY line that does not end")
        return None
    return _line(data[:end].split(b" "), end + 2)


def _line(words: list[bytes], octets: int) -> Header:
    if words[1] == b"UNKNOWN":
        return Header(octets)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise BadHeader("a PROXY line that cannot be read")
    six = words[1] == b"TCP6"
    return Header(octets, (_address(words[2], six), _port(words[4])), (_address(words[3], six), _port(words[5])))


def _address(text: bytes, six: bool) -> str:
    from ipaddress import IPv4Address, IPv6Address
    try:
        found = (IPv6Address if six else IPv4Address)(text.decode("ascii"))
    except ValueError:
        raise BadHeader("not an address of its family") from None
    return _plain(found)


def _plain(found) -> str:
    """As the rest of the system writes it: an IPv4 address never as IPv6."""
    return str(getattr(found, "ipv4_mapped", None) or found)


def _port(text: bytes) -> int:
    if not text.isdigit() or len(text) > 5 or int(text) > 65535 or text[:1] == b"0" and text != b"0":
        raise BadHeader("not a port")
    return int(text)


def _binary(data: bytes) -> Header | None:
    if len(data) < 16:
        return None
    version, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    if version not in (0x20, 0x21):
        raise BadHeader("a version or command of the PROXY protocol that is unknown")
    if 16 + length > _V2_MAX_OCTETS:
        raise BadHeader("a PROXY header that is too long")
    if len(data) < 16 + length:
        return None
    width = {_TCP4: 4, _TCP6: 16}.get(family)
    if version == 0x20 or width is None:                # LOCAL: a health check of the balancer; or a family that says nothing to us
        return Header(16 + length)
    if length < 2 * width + 4:
        raise BadHeader("a PROXY header that is too short for its addresses")
    from ipaddress import ip_address
    source, destination = (_plain(ip_address(data[16 + n * width:16 + (n + 1) * width])) for n in (0, 1))
    ports = data[16 + 2 * width:20 + 2 * width]
    return Header(16 + length, (source, int.from_bytes(ports[:2], "big")), (destination, int.from_bytes(ports[2:], "big")))
