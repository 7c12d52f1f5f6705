"""transfer: encodings undone in pieces, against the standard library; binary made base64 on the way in."""
from __future__ import annotations

import base64
import quopri
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import mime, transfer


def meaning(data: bytes, name: bytes) -> bytes:
    return b"".join(transfer.pieces(data, 0, len(data), name))


@given(st.binary(max_size=500), st.integers(1, 90), st.integers(1, 40))
def test_base64_in_any_pieces(data: bytes, column: int, piece: int) -> None:
    text = base64.b64encode(data)
    text = b"\r\n".join(text[at:at + column] for at in range(0, len(text), column))
    assert _with_pieces(piece, lambda: meaning(text, b"base64")) == data


@given(st.binary(max_size=500).filter(lambda data: b"\r" not in data), st.integers(4, 40))
def test_quoted_printable_in_any_pieces(data: bytes, piece: int) -> None:
    text = quopri.encodestring(data)
    assert _with_pieces(piece, lambda: meaning(text, b"quoted-printable")) == data


@given(st.binary(max_size=300), st.sampled_from([b"base64", b"quoted-printable", b"8bit"]), st.integers(4, 40))
def test_any_octets_mean_something(data: bytes, name: bytes, piece: int) -> None:
    assert len(_with_pieces(piece, lambda: meaning(data, name))) <= len(data)


def _with_pieces(octets: int, act):
    before, transfer.PIECE_OCTETS = transfer.PIECE_OCTETS, octets
    try:
        return act()
    finally:
        transfer.PIECE_OCTETS = before


@pytest.mark.parametrize(("data", "name", "meant"), [
    (b"aGVs bG8@=x=aGVs", b"base64", b"hello"), (b"aGVsbG", b"base64", b"hell"), (b"aGVsb", b"base64", b"hel"), (b"", b"base64", b""),
    (b"a=ZZ=4=", b"quoted-printable", b"a=ZZ=4"), (b"a=  \r\nb \t\r\nc  ", b"quoted-printable", b"ab\r\nc"), (b"=3d=3D", b"quoted-printable", b"=="),
    (b"\0\xff", b"", b"\0\xff"), (b"\0\xff", b"binary", b"\0\xff"),
])
def test_meanings(data: bytes, name: bytes, meant: bytes) -> None:
    assert meaning(data, name) == meant


def test_what_is_not_known_is_refused_at_once() -> None:
    with pytest.raises(transfer.UnknownEncoding):
        transfer.pieces(b"", 0, 0, b"x-uuencode")


@pytest.mark.parametrize(("name", "line"), [(b"base64", b"QUFB" * 19 + b"\r\n"), (b"quoted-printable", b"=41" * 25 + b"=\r\n"), (b"base64", b"\r\n" * 39),
                                            (b"quoted-printable", b" " * 78)])
def test_a_big_part_costs_a_piece(name: bytes, line: bytes) -> None:
    data = line * 100_000
    tracemalloc.start()
    octets = sum(len(piece) for piece in transfer.pieces(data, 0, len(data), name))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert octets <= len(data) and most < 10 * transfer.PIECE_OCTETS


BINARY = b"Content-Transfer-Encoding: binary\r\n"


@given(st.binary(max_size=300).filter(lambda data: b"--q" not in data))
def test_binary_comes_back_octet_by_octet(octets: bytes) -> None:
    data = (b"Subject: x\r\n" + BINARY + b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\n" + BINARY + b"Content-Type: a/b\r\n\r\n" + octets
            + b"\r\n--q\r\n\r\ntext\r\n--q\r\nContent-Type: message/rfc822\r\n" + BINARY + b"\r\n" + BINARY + b"\r\n" + octets + b"\r\n--q--\r\n")
    told = mime.wire(transfer.without_binary(data).replace(b"\r\n", b"\n"))
    root = mime.scan(told)
    assert b"\0" not in told and b"binary" not in told.lower().replace(octets.lower(), b"") or not octets
    for path in ((1,), (3, 1)):
        part = mime.find(root, path)
        assert part is not None and transfer.encoding(part) == b"base64"
        assert b"".join(transfer.pieces(told, part.body, part.end, b"base64")) == octets
    assert mime.section(told, root, (2,), b"") == b"text" and root.fields[b"content-transfer-encoding"] == b"8bit"


@pytest.mark.parametrize("data", [b"A: b\r\n\r\n\0", b"A: \0\r\n" + BINARY + b"\r\nx"])
def test_a_nul_outside_of_binary_is_refused(data: bytes) -> None:
    with pytest.raises(transfer.UnknownEncoding):
        transfer.without_binary(data)
