"""mime, structure, addresslist, decode: offsets against the standard library, and any bytes at all."""
from __future__ import annotations

import email
import email.utils
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import addresslist, decode, mime, searchable, structure
from pymta.message.mime import Part

LINES = st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12), max_size=4).map("\n".join)


# ---- well-formed messages: the standard library sees the same parts -----------------------------------------------------
@st.composite
def parts(draw: st.DrawFn, depth: int = 3, number: str = "q") -> bytes:
    """One part, header and all, without the line end that belongs to the next delimiter."""
    kind = draw(st.sampled_from(["text", "text", "binary", "multipart", "message"] if depth else ["text", "binary"]))
    if kind == "text":
        head = draw(st.sampled_from(["", "Content-Type: text/html; charset=utf-8\n", "Subject: a\n b\nX: y\n"]))
        return f"{head}\n{draw(LINES)}".encode()
    if kind == "binary":
        return b"Content-Type: application/x; name=\"a;b\"\nContent-Transfer-Encoding: base64\n\nAAAA\n"
    if kind == "message":
        inner = draw(parts(depth=depth - 1, number=number + "m"))
        return b"Content-Type: message/rfc822\n\n" + b"Subject: inner\n" + inner
    inside = [draw(parts(depth=depth - 1, number=f"{number}{index}")) for index in range(draw(st.integers(1, 3)))]
    boundary = number.encode()
    body = draw(st.sampled_from([b"", b"preamble\n"])) + b"".join(b"--%b\n%b\n" % (boundary, one) for one in inside) + b"--%b--" % boundary
    head = draw(st.sampled_from([b"Content-Type: multipart/mixed; boundary=%b\n", b'content-type: MULTIPART/Related;\n\tBoundary="%b"\n']))
    return head % boundary + b"\n" + body + draw(st.sampled_from([b"", b"\n", b"\nepilogue\n"]))


def same(data: bytes, part: Part, other: email.message.Message) -> None:
    assert f"{part.type.decode()}/{part.subtype.decode()}" == other.get_content_type()
    payload = other.get_payload()
    if isinstance(payload, list):
        assert len(part.parts) == len(payload)
        for mine, theirs in zip(part.parts, payload):
            same(data, mine, theirs)
    else:
        assert data[part.body:part.end] == payload.encode("utf-8", "surrogateescape")
    if part.type in (b"text", b"message"):
        assert part.lines == data.count(b"\n", part.body, part.end)


@given(parts())
def test_structure_is_what_the_standard_library_sees(data: bytes) -> None:
    if data[:1] != b"\n":                               # a message of the library has a header
        same(data, mime.scan(data), email.message_from_bytes(data))


@given(parts())
def test_line_ends_change_nothing_but_sizes(data: bytes) -> None:
    crlf = mime.wire(data)
    assert len(crlf) == len(data) + data.count(b"\n")

    def compare(one: Part, other: Part) -> None:
        assert (one.type, one.subtype, one.lines, len(one.parts)) == (other.type, other.subtype, other.lines, len(other.parts))
        assert mime.wire(data[one.body:one.end]) == crlf[other.body:other.end]
        assert mime.wire(data[one.start:one.body]) == crlf[other.start:other.body]
        for pair in zip(one.parts, other.parts):
            compare(*pair)
    compare(mime.scan(data), mime.scan(crlf))


# ---- any bytes ----------------------------------------------------------------------------------------------------------
HOSTILE = st.lists(st.sampled_from([
    b"Content-Type: multipart/mixed; boundary=q\n", b"Content-Type: multipart/digest; boundary=\"q\"\n", b"Content-Type: message/rfc822\n",
    b"Content-Type: ", b"text/plain; charset=", b"\"", b"(", b")", b"\\", b";", b"=", b"a*0*=x", b"\n", b"\r\n", b"\r", b"\0", b"--q", b"--q\n",
    b"\n--q--\n", b" \n", b"From: ", b"To: ", b"<", b">", b"@", b",", b":", b"[", b"a", b"\xff", b"Content-Disposition: ", b"Content-Language: ",
    b"Subject:", b"=?utf-8?b?", b"?=", b"Content-Transfer-Encoding: base64\n"]), max_size=40).map(b"".join)


@given(st.one_of(HOSTILE, st.binary(max_size=200)))
def test_anything_has_a_structure(data: bytes) -> None:
    data = mime.wire(data)
    root = mime.scan(data)

    def look(part: Part, start: int, end: int) -> None:
        assert start <= part.start <= part.body <= part.end <= end
        at = part.body
        for inner in part.parts:
            look(inner, at, part.end)
            at = inner.end
    look(root, 0, len(data))
    assert (root.start, root.end) == (0, len(data))
    for answer in (structure.envelope(root), structure.body(root, extended=True), structure.body(root, extended=False)):
        assert read_imap(answer, 0)[1] == len(answer)
    searchable.below(data, root)
    for what in (b"", b"HEADER", b"TEXT", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT"):
        assert mime.section(data, root, (), what, frozenset((b"from",))) is not None
    mime.section(data, root, (1, 1), b"MIME")


def read_imap(data: bytes, at: int) -> tuple[object, int]:
    """One value of IMAP's grammar: a list, a string, NIL or a number; and the offset behind it."""
    if data[at:at + 1] == b"(":
        at += 1
        out = []
        while data[at:at + 1] != b")":
            if out and data[at:at + 1] == b" ":
                at += 1
            value, at = read_imap(data, at)
            out.append(value)
        return out, at + 1
    if found := re.compile(rb'"((?:[^"\\\r\n\0\x80-\xff]|\\["\\])*)"').match(data, at):
        return re.sub(rb"\\(.)", rb"\1", found[1]), found.end()
    if found := re.compile(rb"(~?)\{(\d+)\}\r\n").match(data, at):
        end = found.end() + int(found[2])
        assert end <= len(data) and (found[1] or b"\0" not in data[found.end():end])
        return data[found.end():end], end
    found = re.compile(rb"NIL|\d+").match(data, at)
    assert found, data[at:]
    return found[0], found.end()


def test_bombs_are_bounded_by_counts() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(500))
    part, depth = mime.scan(deep), 0
    while part.parts:
        part, depth = part.parts[0], depth + 1
    assert depth == mime.DEPTH_MAX and (part.type, part.subtype) == (b"application", b"octet-stream")
    nested = mime.scan(b"Content-Type: message/rfc822\n\n" * 500)
    assert len(structure.body(nested, extended=True)) < 20_000

    wide = mime.scan(b"Content-Type: multipart/mixed; boundary=q\n\n" + b"--q\n\nx\n" * 50_000)
    assert len(wide.parts) == mime.PARTS_MAX and wide.parts[-1].end == wide.end

    flood = b"; ".join(b"a*%d*=x" % number for number in range(50_000))
    assert mime.parameters(b"text/plain; " + flood) == ((b"a*", b"x" * mime.PARAMETERS_MAX),)
    for flood in (b"; ".join(b"a%d*0=x" % number for number in range(50_000)), b"; a*1=x" * 50_000, b"; a*0=x" * 50_000, b"; a*99=x" * 50_000):
        assert len(mime.parameters(b"text/plain; " + flood)) <= mime.PARAMETERS_MAX
    for value in (b"(" * 500_000, b"(\\" * 300_000, b'"' * 300_001, b";" * 500_000, b"a" * 500_000, b"<" * 300_000, b"@" * 300_000):
        mime.parameters(b"text/plain;" + value)
        assert len(addresslist.parse(value)) <= addresslist.ADDRESSES_MAX
        decode.header(b"=?" * 10_000 + value)
    assert len(addresslist.parse(b"a@b," * 50_000)) == addresslist.ADDRESSES_MAX
    line = mime.scan(b"Content-Type: multipart/mixed; boundary=q\n\n" + b"--q" * 300_000)
    assert line.parts == []


def test_a_part_never_reaches_beyond_its_multipart() -> None:
    data = b"Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/mixed; boundary=in\n\n--in\n\none\n--out\n\ntwo\n--out--\n"
    root = mime.scan(data)
    assert [data[part.body:part.end] for part in (root.parts[0].parts[0], root.parts[1])] == [b"one", b"two"]
    same_name = b"Content-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: multipart/mixed; boundary=q\n\n--q\n\none\n--q--\n"
    assert len(mime.scan(same_name).parts) == 2


@pytest.mark.parametrize(("text", "types"), [
    (b"Content-Type: multipart/mixed; boundary=q\n\n--q--\n", []),
    (b"Content-Type: multipart/mixed; boundary=q\n\n--q\n--q--\n", [b"text"]),
    (b"Content-Type: multipart/mixed; boundary=q\n\n--qq\n\nx\n--q \t\n\ny\n--q-- \n--q\n\nz\n", [b"text"]),
    (b"Content-Type: multipart/digest; boundary=q\n\n--q\n\nFrom: a\n\nx\n--q\nContent-Type: text/plain\n\ny\n--q--\n", [b"message", b"text"]),
    (b"Content-Type: multipart/mixed\n\n--\n\nx\n----\n", []),
    (b"\n--q\n", []),
    (b"", []),
])
def test_delimiters(text: bytes, types: list[bytes]) -> None:
    for data in (text, mime.wire(text)):
        assert [part.type for part in mime.scan(data).parts] == types


@pytest.mark.parametrize(("value", "pairs"), [
    (b"text/plain", ()),
    (b"text/plain; charset=utf-8", ((b"charset", b"utf-8"),)),
    (b'x/y; Name="a \\"b\\"; c"; d=e', ((b"name", b'a "b"; c'), (b"d", b"e"))),
    (b"x/y; a*0*=utf-8''x%20; a*1=y", ((b"a*", b"utf-8''x%20y"),)),
    (b'x/y; b=1; a*1="2 3"; a*0=x; c=4', ((b"b", b"1"), (b"a", b"x2 3"), (b"c", b"4"))),
    (b'x/y; a*0*=\'\'%41; a*1="b c%"', ((b"a*", b"''%41b%20c%25"),)),
    (b"x/y; a*0=x; a*2=z", ((b"a*0", b"x"), (b"a*2", b"z"))),
    (b"x/y; a*1=x; *0=y; a*01=z; a*=''%41", ((b"a*1", b"x"), (b"*0", b"y"), (b"a*01", b"z"), (b"a*", b"''%41"))),
    (b"text/plain; charset=", ((b"charset", b""),)),
    (b"x/y (a ; b=c) ; d = e (f)", ((b"d", b"e"),)),
    (b'x/y; a="open', ((b"a", b"open"),)),
    (b"x/y; =z; ; b", ()),
    (b'x/y; a="(not a comment)"', ((b"a", b"(not a comment)"),)),
])
def test_parameters(value: bytes, pairs: tuple) -> None:
    assert mime.parameters(value) == pairs


MESSAGE = mime.wire(b"""Subject: top
Content-Type: multipart/mixed; boundary=q

--q
Content-Type: text/plain

one
--q
Content-Type: message/rfc822
X-Mime: yes

Subject: inner
Content-Type: multipart/alternative; boundary=r

--r

two
--r
Content-Type: text/html

three
--r--
--q
Content-Type: message/rfc822

Subject: plain

four
--q--
""")


@pytest.mark.parametrize(("path", "what", "found"), [
    ((1,), b"", b"one"),
    ((1,), b"MIME", b"Content-Type: text/plain\n\n"),
    ((1,), b"HEADER", None),
    ((1, 1), b"", None),
    ((2,), b"MIME", b"Content-Type: message/rfc822\nX-Mime: yes\n\n"),
    ((2,), b"HEADER", b"Subject: inner\nContent-Type: multipart/alternative; boundary=r\n\n"),
    ((2, 1), b"", b"two"),
    ((2, 2), b"", b"three"),
    ((2, 2), b"MIME", b"Content-Type: text/html\n\n"),
    ((2, 3), b"", None),
    ((3,), b"TEXT", b"four"),
    ((3, 1), b"", b"four"),
    ((3, 1), b"MIME", b"Subject: plain\n\n"),
    ((3, 1, 1), b"", None),
    ((3, 2), b"", None),
    ((4,), b"", None),
    ((), b"HEADER.FIELDS", b"Subject: top\n\n"),
    ((2,), b"HEADER.FIELDS", b"Subject: inner\n\n"),
    ((2,), b"HEADER.FIELDS.NOT", b"Content-Type: multipart/alternative; boundary=r\n\n"),
    ((2, 2), b"HEADER.FIELDS.NOT", None),
])
def test_sections(path: tuple[int, ...], what: bytes, found: bytes | None) -> None:
    answer = mime.section(MESSAGE, mime.scan(MESSAGE), path, what, frozenset((b"subject",)))
    assert answer == (None if found is None else mime.wire(found))


def test_a_message_that_is_no_multipart_has_one_part() -> None:
    data = b"Subject: x\r\n\r\nbody\r\n"
    root = mime.scan(data)
    assert mime.section(data, root, (1,), b"") == b"body\r\n" == mime.section(data, root, (), b"TEXT")
    assert mime.section(data, root, (1,), b"MIME") == b"Subject: x\r\n\r\n"
    assert mime.section(data, root, (2,), b"") is None
    cut = b"Subject: x"
    assert mime.section(cut, mime.scan(cut), (), b"HEADER.FIELDS", frozenset((b"subject",))) == b"Subject: x\r\n\r\n"
    assert mime.section(cut, mime.scan(cut), (), b"HEADER.FIELDS.NOT", frozenset((b"from",))) == cut
    whole = b"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz"
    assert mime.section(whole, mime.scan(whole), (1,), b"HEADER") == b"Subject: y\r\n\r\n"
    assert mime.section(whole, mime.scan(whole), (1, 1), b"") == b"z"


# ---- addresses ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("value", "addresses"), [
    (b"a@b.example", [(None, None, b"a", b"b.example")]),
    (b"Ann B. <ann@b.example>", [(b"Ann B.", None, b"ann", b"b.example")]),
    (b'"B, \\"Bob\\"" <bob@b.example>, <c@d>', [(b'B, "Bob"', None, b"bob", b"b.example"), (None, None, b"c", b"d")]),
    (b"ann@b.example (Ann (the one) B)", [(b"Ann (the one) B", None, b"ann", b"b.example")]),
    (b"<@a.example,@b.example:c@d.example>", [(None, b"@a.example,@b.example", b"c", b"d.example")]),
    (b"Group: a@b, C <c@d>;, e@f", [(None, None, b"Group", None), (None, None, b"a", b"b"), (b"C", None, b"c", b"d"), (None,) * 4,
                                    (None, None, b"e", b"f")]),
    (b"undisclosed-recipients:;", [(None, None, b"undisclosed-recipients", None), (None,) * 4]),
    (b"Open: a@b", [(None, None, b"Open", None), (None, None, b"a", b"b"), (None,) * 4]),
    (b'"a b"@c.example', [(None, None, b"a b", b"c.example")]),
    (b"a@[192.0.2.1]", [(None, None, b"a", b"[192.0.2.1]")]),
    (b"nobody", [(None, None, b"nobody", addresslist.MISSING_DOMAIN)]),
    (b"Name <>", [(b"Name", None, addresslist.MISSING_MAILBOX, addresslist.MISSING_DOMAIN)]),
    (b"=?utf-8?q?J=C3=B6?= X <j@x>", [(b"=?utf-8?q?J=C3=B6?= X", None, b"j", b"x")]),
    (b"J\xc3\xb6 <j@x>", [(b"J\xc3\xb6", None, b"j", b"x")]),
    (b"a@b@c", [(None, None, b"a", b"b@c")]),
    (b"a@b c@d, e@f", [(None, None, b"a", b"b"), (None, None, b"e", b"f")]), (b"a@b <c@d> e", [(b"a@b", None, b"c", b"d")]),
    (b"a@b . c", [(None, None, b"a", b"b.c")]), (b"<a@b c>, a@b c <d@e>", [(None, None, b"a", b"b"), (b"a@b", None, b"d", b"e")]),
    (b" , ,,", []),
    (b"", []),
    (b"Ann <a@b> junk, c@d", [(b"Ann", None, b"a", b"b"), (None, None, b"c", b"d")]),
    (b"a @ b . example", [(None, None, b"a", b"b.example")]),
    (b"me@x <me@y>", [(b"me@x", None, b"me", b"y")]),
])
def test_addresses(value: bytes, addresses: list) -> None:
    assert addresslist.parse(value) == addresses


WORD = st.text("abcxyz0", min_size=1, max_size=6)


@given(st.lists(st.tuples(st.lists(WORD, max_size=3).map(" ".join), WORD, WORD), min_size=1, max_size=4), st.booleans())
def test_addresses_are_what_the_standard_library_reads(entries: list[tuple[str, str, str]], quoted: bool) -> None:
    value = ", ".join(f"{'%s' % name if not quoted or not name else chr(34) + name + chr(34)} <{local}@{domain}>" for name, local, domain in entries)
    theirs = email.utils.getaddresses([value])
    mine = [((name or b"").decode(), f"{(mailbox or b'').decode()}@{(host or b'').decode()}") for name, _, mailbox, host
            in addresslist.parse(value.encode())]
    assert mine == theirs


# ---- text -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("value", "text"), [
    (b"plain", "plain"),
    (b"=?utf-8?q?a_=C3=BC?=", "a ü"),
    (b"=?UTF-8?B?w7w=?= =?iso-8859-1?Q?=FC?= x", "üü x"),
    (b"x =?utf-8*de?q?=C3=BC?= y", "x ü y"),
    (b"=?nonsense?q?=FC?=", "ü"),
    (b"=?utf-8?b?w7w?=", "ü"),
    (b"raw \xc3\xbc", "raw ü"),
    (b"raw \xfc", "raw ü"),
    (b"=?zip?b?eJwDAAAAAAE=?=", decode.charset(decode.base64(b"eJwDAAAAAAE="), b"latin-1")),
    (b"=?utf-8?q?unfinished", "=?utf-8?q?unfinished"),
])
def test_encoded_words(value: bytes, text: str) -> None:
    assert decode.header(value) == text


def test_strings_that_are_no_plain_ascii_are_literals() -> None:
    assert structure.string(b'a"b\\c') == b'"a\\"b\\\\c"'
    assert structure.string(b"\xc3\xbc") == b"{2}\r\n\xc3\xbc"
    assert structure.string(b"a\0b\r") == b"{4}\r\na\x80b\r"
    assert structure.nstring(None) == b"NIL" and structure.string(b"") == b'""'
