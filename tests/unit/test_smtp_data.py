"""The text after DATA: one end, no other; whole chunks and single octets mean the same.          RFC 5321 §4.5.2"""
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.proto.smtp_data import Chunks, Data


def run(wire: bytes, cuts: list[int] = [], size_max_octets: int = 1 << 20) -> tuple[bytes, bytes | None, Data]:
    """(lines, what follows the end or None, the Data) for wire cut at these places."""
    data = Data(size_max_octets)
    rest: bytes | None = None
    places = [0, *sorted(cuts), len(wire)]
    for start, stop in zip(places, places[1:]):
        if rest is None:
            rest = data.feed(wire[start:stop])
        else:
            rest += wire[start:stop]
    return data.take(), rest, data


ROWS = [
    (b".\r\n", b"", b"", 0),
    (b"a\r\n.\r\n", b"a\n", b"", 3),
    (b"a\r\n.\r\nQUIT\r\n", b"a\n", b"QUIT\r\n", 3),
    (b"..\r\n.\r\n", b".\n", b"", 3),
    (b"..a\r\n..b\r\n...\r\n.\r\n", b".a\n.b\n..\n", b"", 12),
    (b".a\r\n.\r\n", b"a\n", b"", 3),                    # not doubled: the dot goes all the same
    (b"\r\n\r\n.\r\n", b"\n\n", b"", 4),
    (b"a\r\n.\r\n.\r\n", b"a\n", b".\r\n", 3),
    (b"a\r\n.b\r\n.\r\nc\r\n.\r\n", b"a\nb\n", b"c\r\n.\r\n", 6),
    ("é\r\n.\r\n".encode(), "é\n".encode(), b"", 4),
]


@pytest.mark.parametrize("wire, lines, rest, octets", ROWS)
def test_meaning(wire: bytes, lines: bytes, rest: bytes, octets: int) -> None:
    for cuts in ([], list(range(1, len(wire)))):
        text, after, data = run(wire, cuts)
        assert (text, after, data.size_octets, data.spoiled) == (lines, rest, octets, False)


# research: the public scanner's list of ends that are none
FALSE_ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\0.\r\n",
              b"\r\n.\n", b"\r\n.\r", b"\n\n.\r\n", b"\r\n.\r\n"[:4] + b"\r\n"]


@pytest.mark.parametrize("end", FALSE_ENDS)
def test_only_one_end(end: bytes) -> None:
    wire = b"Subject: a\r\n\r\nb" + end + b"MAIL FROM:<evil@x.example>\r\n"
    for cuts in ([], list(range(1, len(wire)))):
        text, after, data = run(wire, cuts)
        assert after is None
        after = data.feed(b"\r\n.\r\n")
        assert after == b"" and data.spoiled and data.take() == b""


def test_too_big_keeps_nothing() -> None:
    data = Data(1000)
    for _ in range(1000):
        assert data.feed(b"x" * 98 + b"\r\n") is None
        assert data.held_octets <= 1000
    assert data.feed(b".\r\nrest") == b"rest"
    assert data.big and data.take() == b"" and data.size_octets == 100_000


def test_size_is_counted_exactly() -> None:
    wire = b"..23456\r\n.\r\n"                           # 8 octets without the doubled dot
    assert not run(wire, size_max_octets=8)[2].big
    assert run(wire, size_max_octets=7)[2].big


FRAGMENTS = st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\0", b"a", b"..", b"\r\n.\r\n", b"\r\n.", b"long line", b"\xff"]), max_size=30)


def oracle(wire: bytes) -> tuple[bytes | None, bytes | None, bool]:
    """The same, told line by line: (lines or None, what follows, spoiled by bare CR or LF or NUL)."""
    whole = b"\r\n" + wire
    end = whole.find(b"\r\n.\r\n")
    if end < 0:
        return None, None, False
    text = whole[2:end + 2] if end else b""
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\0", text):
        return b"", whole[end + 5:], True
    lines = text.split(b"\r\n")[:-1]
    return b"".join((line[1:] if line[:1] == b"." else line) + b"\n" for line in lines), whole[end + 5:], False


@given(st.builds(b"".join, FRAGMENTS), st.data())
def test_against_the_slow_way(wire: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=8))
    lines, rest, spoiled = oracle(wire)
    text, after, found = run(wire, cuts)
    assert after == rest
    if rest is not None:
        assert (text, found.spoiled) == (lines, spoiled)
        text, after, whole = run(wire)
        assert (found.bare, found.nul) == (whole.bare, whole.nul)
        assert spoiled or found.size_octets == whole.size_octets


# ---- BDAT -----------------------------------------------------------------------------------------------------------------
def run_chunks(wire: bytes, cuts: list[int] = [], *, size_max_octets: int = 1 << 20) -> tuple[bytes, Chunks]:
    chunks = Chunks(size_max_octets)
    places = [0, *sorted(cuts), len(wire)]
    for start, stop in zip(places, places[1:]):
        chunks.announce(stop - start)
        chunks.feed(wire[start:stop])
    chunks.end()
    return chunks.take(), chunks


@given(st.builds(b"".join, FRAGMENTS), st.data())
def test_chunks_against_the_slow_way(wire: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=8))
    text, found = run_chunks(wire, cuts)
    spoiled = bool(re.search(rb"\r(?!\n)|(?<!\r)\n|\0", wire))
    lines = wire.replace(b"\r\n", b"\n")
    assert found.spoiled == spoiled and text == (b"" if spoiled else lines + b"\n" * (lines[-1:] not in (b"", b"\n")))
    assert spoiled or found.size_octets == len(wire)
    assert (found.bare, found.nul) == (run_chunks(wire)[1].bare, run_chunks(wire)[1].nul)


def test_the_size_of_chunks_is_counted_exactly() -> None:
    assert not run_chunks(b"12345678", [3], size_max_octets=8)[1].big
    assert run_chunks(b"12345678", [3], size_max_octets=7)[1].big
    chunks = Chunks(10)
    chunks.announce(11)
    assert chunks.big and chunks.held_octets == 0
