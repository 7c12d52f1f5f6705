"""preview: what is said of a message in a few words, and what a hostile one costs."""
from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import mime, preview
from tests.oddmail import ODD

HTML = b"Content-Type: text/html; charset=utf-8\n\n"


def of(data: bytes) -> str:
    data = mime.wire(data)
    return preview.of(data, mime.scan(data))


def parts(*bodies: bytes) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=q\n\n" + b"".join(b"--q\n" + body + b"\n" for body in bodies) + b"--q--\n"


@pytest.mark.parametrize(("data", "said"), [
    (b"\none\n\n two\tthree \n", "one two three"), (b"\n> theirs\nmine\n>> theirs\n", "mine"), (b"\n> a\n> > b\n", ">a b"), (b"\n>\n> \n", ""),
    (b"", ""), (b"Subject: x\n", ""), (b"Content-Type: image/png\n\nx", ""), (b"\n" + b"word " * 100, ("word " * 40).rstrip()), (b"\n" + b"x" * 300, "x" * 200),
    (b"Content-Type: text/plain; charset=utf-8\n\n" + "日".encode() * 5000, "日" * 200), (b"\nraw \xfc\n", "raw ü"),
    (b"Content-Type: text/plain; charset=iso-8859-1\n\n\xfc", "ü"), (b"Content-Type: text/plain; charset=bogus\n\nx", "x"),
    (b"Content-Type: text/plain; charset=punycode\n\nabc-", "abc-"), (b"Content-Transfer-Encoding: base64\n\naGVsbG8=", "hello"),
    (b"Content-Transfer-Encoding: x-y\n\nhello", ""), (b"\na\0b\x07c\x7f", "a\x80b c".replace("\x80", " ")),
    (HTML + b"<p>a</p><p>b<b>c</b></p>d<br>e&nbsp;&amp;&lt;&#65;&#x42;", "a bc d e &<AB"), (HTML + b"a<script>if (x<y) {}</SCRIPT>b<!-- <p> -->c", "a bc"),
    (HTML + b"<title>t</title><style>s</style>x", "x"), (HTML + b"<blockquote>q<blockquote>r</blockquote></blockquote>mine", "mine"),
    (HTML + b"<blockquote>q</blockquote>", ">q"), (HTML + b"a<b title='x > y'>c", "ac"), (HTML + b"1 < 2 <3 & x", "1 < 2 <3 & x"),
    (HTML + b"<p title=it's>a</p>b", "a b"), (HTML + b"x<a href", "x"), (HTML + b"x<!-- y", "x"), (HTML + b"x<style>y", "x"), (HTML + b"<!DOCTYPE html>x</", "x"),
    (HTML + "a\u200b\u200c&zwnj;&shy;b\ufeff".encode(), "ab"), (HTML + b"<p>" + b"\n" * 9000 + b"<p>late", "late"),
    (parts(b"\n  \n", b"Content-Type: text/calendar\n\nBEGIN", b"Content-Disposition: attachment\n\natt", b"Content-Type: text/html\n\n<b>x"), "x"),
    (parts(b"Content-Type: message/rfc822\n\nSubject: in\n\ninside"), "inside"),
    (b"Content-Type: multipart/alternative; boundary=q\n\n--q\n\nplain\n--q\nContent-Type: text/html\n\nhtml\n--q--", "plain"),
])
def test_what_is_said(data: bytes, said: str) -> None:
    assert of(data) == said


@given(st.lists(st.sampled_from(["<", ">", "</", "<!--", "-->", "<a ", "<p>", '"', "'", "&", "&lt", "<script>", "</script", "<blockquote>", "x", " ", "\n", "é", "\0"]),
                max_size=60).map("".join))
def test_any_html_says_something_short(text: str) -> None:
    said = of(HTML + text.encode())
    assert len(said) <= preview.CHARACTERS_MAX and said == " ".join(said.split())


@pytest.mark.parametrize("data", ODD)
def test_odd_messages(data: bytes) -> None:
    assert len(of(data)) <= preview.CHARACTERS_MAX


def steps(act) -> int:
    """Lines of Python run by act: what it costs, without a clock."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        count += 1
        return trace
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize("unit", [b"<", b"<a '>'", b"<!--", b"<p>", b"</style>", b"<blockquote>", b"&", b"&#", b"<style>", b'<a "', b"<b></b>", b">\n"])
@pytest.mark.parametrize("end", [b"", b'<a "x'])
def test_a_hostile_part_costs_no_more_than_its_share(unit: bytes, end: bytes) -> None:
    """Twice as much costs at most twice, and more than OCTETS_MAX costs nothing."""
    def cost(octets: int) -> int:
        data = HTML + unit * (octets // len(unit)) + end
        root = mime.scan(data)
        return steps(lambda: preview.of(data, root))
    small, big, huge = cost(1 << 14), cost(1 << 15), cost(preview.OCTETS_MAX)
    assert big <= 3 * small + 2000 and huge <= 30 * small + 2000
    assert cost(4 * preview.OCTETS_MAX) <= huge + 2000


def test_thousands_of_empty_parts_are_not_all_looked_at() -> None:
    data = parts(*[b"Content-Type: text/html\n\n<p>"] * 5000)
    root = mime.scan(mime.wire(data))
    assert steps(lambda: preview.of(data, root)) < 20_000
