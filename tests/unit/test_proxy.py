"""The PROXY protocol's headers, both versions."""
from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.proto import proxy
from pymta.proto.proxy import SIGNATURE, BadHeader, Header


def second(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((0x20 | command, family)) + struct.pack(">H", len(body)) + body


FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 4711, 25)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack(">HH", 4711, 25)

GOOD = [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n", ("192.0.2.7", 4711), ("192.0.2.1", 25)),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", ("2001:db8::7", 4711), ("2001:db8::1", 25)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 25\r\n", ("192.0.2.7", 0), ("::1", 25)),
    (b"PROXY UNKNOWN\r\n", None, None), (b"PROXY UNKNOWN ffff::1 what ever\r\n", None, None),
    (second(1, 0x11, FOUR), ("192.0.2.7", 4711), ("192.0.2.1", 25)), (second(1, 0x21, SIX), ("2001:db8::7", 4711), ("2001:db8::1", 25)),
    (second(1, 0x11, FOUR + b"\x03\x00\x04abcd"), ("192.0.2.7", 4711), ("192.0.2.1", 25)),
    (second(0, 0x00, b""), None, None), (second(0, 0x11, FOUR), None, None), (second(1, 0x31, b"x" * 216), None, None), (second(1, 0x00, b""), None, None),
]


@pytest.mark.parametrize("wire, peer, local", GOOD)
def test_headers(wire: bytes, peer: tuple | None, local: tuple | None) -> None:
    assert proxy.parse(wire + b"EHLO x\r\n") == Header(len(wire), peer, local)
    assert [proxy.parse(wire[:at]) for at in range(len(wire))] == [None] * len(wire)


@pytest.mark.parametrize("wire", [
    b"EHLO x\r\n", b"\x16\x03\x01", b"PROXYTCP4", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n", b"PROXY TCP4 2001:db8::7 ::1 1 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 65536\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 04711 25\r\n", b"PROXY TCP5 192.0.2.7 192.0.2.1 1 1\r\n",
    b"PROXY TCP4  192.0.2.7 192.0.2.1 1 1\r\n", b"PROXY " + b"x" * 200, b"PROXY\r\n", b"PROXY TCP4 192.0.2.7 192.0.2.1 1 1\n" + b"x" * 100,
    SIGNATURE + b"\x11\x11\x00\x0c" + FOUR, SIGNATURE + b"\x22\x11\x00\x0c" + FOUR, SIGNATURE + b"\x21\x11\xff\xff", second(1, 0x11, FOUR[:-1]),
    second(1, 0x21, FOUR), b"\r\n\r\nx",
])
def test_garbage(wire: bytes) -> None:
    with pytest.raises(BadHeader):
        proxy.parse(wire)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda end: SIGNATURE + end), st.binary(max_size=120).map(lambda end: b"PROXY " + end)))
def test_any_octets(wire: bytes) -> None:
    """Never more than a bounded beginning is waited for."""
    try:
        found = proxy.parse(wire)
    except BadHeader:
        return
    assert found is None or 0 < found.octets <= len(wire)
    if found is None:
        assert len(wire) < 107 or wire.startswith(SIGNATURE)
