"""xclient: what a front end says of the client it speaks for.                             Postfix's XCLIENT_README

    XCLIENT 1*( SP name "=" value )        name: NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT, any case
    value = xtext / "[UNAVAILABLE]" / "[TEMPUNAVAIL]"

    XCLIENT ADDR=192.0.2.7 NAME=mx.client.example HELO=mx.client.example PROTO=ESMTP
    XCLIENT ADDR=IPV6:2001:db8::7 NAME=[UNAVAILABLE] LOGIN=alice@example.test

Pure.  Nothing that comes out holds a control character.
"""
from __future__ import annotations

import re

from pymta.proto.smtp_params import from_xtext, is_text

NAMES = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"LOGIN", b"DESTADDR", b"DESTPORT")
_UNKNOWN = (b"[UNAVAILABLE]", b"[TEMPUNAVAIL]")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


def parse(rest: bytes) -> dict[bytes, str]:
    """The attributes as name in upper case -> text, empty for what is unknown.  Raises ValueError; its text is for the peer."""
    found: dict[bytes, str] = {}
    for word in rest.split():
        name, _, coded = word.partition(b"=")
        name = name.upper()
        if name not in NAMES or name in found:
            raise ValueError("an attribute that is unknown, or given twice")
        value = b"" if coded.upper() in _UNKNOWN else from_xtext(coded)
        if value is None or not coded or not is_text(value):
            raise ValueError("a value is no xtext, empty, or not printable")
        found[name] = _KINDS[name](value.decode("utf-8")) if value else ""
    if not found:
        raise ValueError("no attribute")
    return found


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("not a host's name")
    return text


def address(text: str) -> str:
    """An IP address as it is written.  Raises ValueError."""
    from ipaddress import ip_address
    try:
        found = ip_address(text[5:] if text[:5].upper() == "IPV6:" else text)
    except ValueError:
        raise ValueError("not an IP address") from None
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _port(text: str) -> str:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) < 65536:
        raise ValueError("not a port")
    return text


def _protocol(text: str) -> str:
    if text.upper() not in ("SMTP", "ESMTP"):
        raise ValueError("PROTO is SMTP or ESMTP")
    return text.upper()


def _login(text: str) -> str:
    if len(text) > 255:
        raise ValueError("a login that is too long")
    return text


_KINDS = {b"NAME": _host, b"ADDR": address, b"PORT": _port, b"PROTO": _protocol, b"HELO": _host, b"LOGIN": _login, b"DESTADDR": address,
          b"DESTPORT": _port}
