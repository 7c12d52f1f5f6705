"""framing, grammar, utf7, listing: what clients say, cut and read; any bytes at all."""
from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.proto.imap import fetchitem, listing, utf7
from pymta.proto.imap.appendargs import NewMessage, Url
from pymta.proto.imap.framing import CONTINUE, Limits, Overlong, Reader, Refused
from pymta.proto.imap.grammar import STAR, VERBS, BadCommand, parse
from pymta.proto.imap.response import date_time, flag_list, uid_set

LIMITS = Limits(command_octets=200, append_octets=1000, skip_octets=2000)


# ---- framing --------------------------------------------------------------------------------------------------------------
def units(data: bytes, bite: int, limits: Limits = LIMITS) -> list:
    reader, out = Reader(limits), []
    for at in range(0, len(data), bite):
        reader.feed(data[at:at + bite])
        while (unit := reader.next()) is not None:
            out.append(bytes(unit) if isinstance(unit, bytearray) else unit)
    return out


@pytest.mark.parametrize(("said", "heard"), [
    (b"a NOOP\r\nb NOOP\n", [b"a NOOP\r\n", b"b NOOP\n"]),
    (b"\r\n\n\r\na NOOP\r\n\r\n", [b"a NOOP\r\n"]),
    (b"a LOGIN {1}\r\nx {2+}\r\n\r\n\r\nb NOOP\r\n", [CONTINUE, b"a LOGIN {1}\r\nx {2+}\r\n\r\n\r\n", b"b NOOP\r\n"]),
    (b"a LOGIN {1}\r\n{1}\r\nx\r\n", [CONTINUE, b"a LOGIN {1}\r\n{1}\r\n", b"x\r\n"]),
    (b"a X {0+}\r\n\r\n", [b"a X {0+}\r\n\r\n"]),
    (b'a X "{3}"\r\n', [b'a X "{3}"\r\n']),
    (b"a LOGIN {500}\r\nb NOOP\r\n", [Refused(b"a", b"LOGIN"), b"b NOOP\r\n"]),
    (b"a LOGIN {500+}\r\n" + b"\r\n" * 250 + b" {3+}\r\nabc\r\nb NOOP\r\n", [Refused(b"a", b"LOGIN"), b"b NOOP\r\n"]),
    (b"a APPEND x {900+}\r\n" + b"y" * 900 + b"\r\n", [b"a APPEND x {900+}\r\n" + b"y" * 900 + b"\r\n"]),
    (b"a append x {1001}\r\nb NOOP\r\n", [Refused(b"a", b"APPEND"), b"b NOOP\r\n"]),
    (b"a append x {600+}\r\n" + b"y" * 600 + b" {600}\r\nb NOOP\r\n", [Refused(b"a", b"APPEND"), b"b NOOP\r\n"]),
    (b"a uid fetch {999}\r\n", [Refused(b"a", b"FETCH")]),
])
def test_units(said: bytes, heard: list) -> None:
    for bite in (1, 2, 3, 7, len(said)):
        assert units(said, bite) == heard


@pytest.mark.parametrize("said", [b"x" * 300, b"a {100+}\r\n" + b"x" * 100 + b"y" * 150, b"a LOGIN {3000+}\r\n", b"a {99999999999999999999+}\r\n",
                                  b"a X " + b"{1+}\r\nx " * 30])
def test_too_much_ends_the_session(said: bytes) -> None:
    for bite in (1, len(said)):
        with pytest.raises(Overlong):
            assert units(said, bite) is None


SAID = st.lists(st.sampled_from([b"a NOOP", b"\r\n", b"\n", b" ", b"{3}", b"{3+}", b"{0+}", b"{150+}", b"{999+}", b"APPEND", b"b append x ", b"xyz", b"}", b"{",
                                 b"\r", b"\0", b"x" * 90]), max_size=25).map(b"".join)


@given(SAID, st.integers(1, 9))
def test_however_it_is_cut_the_units_are_the_same(said: bytes, bite: int) -> None:
    def outcome(size: int) -> tuple[list, bool]:
        reader, out = Reader(LIMITS), []
        try:
            for at in range(0, len(said), size):
                reader.feed(said[at:at + size])
                while (unit := reader.next()) is not None:
                    out.append(bytes(unit) if isinstance(unit, bytearray) else unit)
        except Overlong:
            return out, True
        return out, False
    assert outcome(bite) == outcome(max(1, len(said)))


def test_a_bare_line_is_taken_between_commands() -> None:
    reader = Reader(LIMITS, b"a IDLE\r\nDO")
    assert reader.next() == b"a IDLE\r\n" and reader.line() is None
    reader.feed(b"NE\r\nb NOOP\r\n")
    assert reader.line() == b"DONE" and reader.next() == b"b NOOP\r\n" and reader.rest() == b""


# ---- grammar --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("said", "args"), [
    (b'LOGIN a "b \\" \\\\"', (b"a", b'b " \\')),
    (b"LOGIN {3}\r\na\r\n {0+}\r\n", (b"a\r\n", b"")),
    (b"AUTHENTICATE PLAIN", (b"PLAIN", None)),
    (b"AUTHENTICATE PLAIN =", (b"PLAIN", b"=")),
    (b"SELECT ()", None),
    (b"SELECT inbox", ("INBOX", False, None)),
    (b"SELECT inBox.a", ("INBOX.a", False, None)),
    (b"SELECT inboxa", ("inboxa", False, None)),
    (b"SELECT x (CONDSTORE)", ("x", True, None)),
    (b"SELECT x (QRESYNC (7 9))", ("x", True, (7, 9, None, None))),
    (b"SELECT x (CONDSTORE QRESYNC (7 9 1:3 (1,2 3,4)))", ("x", True, (7, 9, ((1, 3),), (((1, 1), (2, 2)), ((3, 3), (4, 4)))))),
    (b"SELECT x (QRESYNC (7 9 (1:2 3,4)))", ("x", True, (7, 9, None, (((1, 2),), ((3, 3), (4, 4)))))),
    (b"SELECT x (QRESYNC (7 9 (1:2 3)))", None),
    (b"SELECT x (QRESYNC (7 9 (1,1 3,4)))", None),
    (b"SELECT x (QRESYNC (7 9 (1,2 3,*)))", None),
    (b"SELECT x (QRESYNC (7 9 ($ 3)))", None),
    (b"SELECT x (QRESYNC (7 9 (1 2) (1 2)))", None),
    (b"SELECT x (QRESYNC (7 9 (1 2) 1:3))", None),
    (b"SELECT x (QRESYNC (7))", None),
    (b"SELECT x (QRESYNC (7 9223372036854775808))", None),
    (b"SELECT x (QRESYNC (7 9 1:3 2))", None),
    (b"SELECT x (FROBNICATE)", None),
    (b"CREATE x (CONDSTORE)", None),
    (b"FETCH 1 FLAGS (CHANGEDSINCE 12)", (((1, 1),), (fetchitem.SIMPLE[b"FLAGS"], fetchitem.SIMPLE[b"MODSEQ"]), 12, False, None)),
    (b"FETCH 1 (MODSEQ UID) (changedsince 12 vanished)",
     (((1, 1),), (fetchitem.SIMPLE[b"MODSEQ"], fetchitem.SIMPLE[b"UID"]), 12, True, None)),
    (b"FETCH 1 FLAGS (CHANGEDSINCE)", None),
    (b"FETCH 1 FLAGS (SINCE 12)", None),
    (b"FETCH 1 FLAGS (CHANGEDSINCE 12", None),
    (b"STORE 1 (UNCHANGEDSINCE 12) FLAGS ()", (((1, 1),), "replace", False, (), 12)),
    (b"STORE 1 (CHANGEDSINCE 12) FLAGS ()", None),
    (b"STATUS x (HIGHESTMODSEQ)", ("x", (b"HIGHESTMODSEQ",))),
    (b"SEARCH MODSEQ 620", (None, True, ("MODSEQ", 620))),
    (b"SEARCH MODSEQ \"/flags/\\\\draft\" all 620", (None, True, ("MODSEQ", 620))),
    (b"SEARCH MODSEQ \"/flags/\\\\draft\" some 620", None),
    (b'STATUS "a b" (messages UidNext)', ("a b", (b"MESSAGES", b"UIDNEXT"))),
    (b"STATUS a ()", None),
    (b"FETCH 1:*,5 UID", (((1, STAR), (5, 5)), (fetchitem.SIMPLE[b"UID"],), None, False, None)),
    (b"FETCH 4294967296 UID", None),
    (b"FETCH 1,,2 UID", None),
    (b"FETCH 1:2:3 UID", None),
    (b"FETCH a UID", None),
    (b"FETCH 1 ()", None),
    (b"FETCH 1 (FLAGS UID )", (((1, 1),), (fetchitem.SIMPLE[b"FLAGS"], fetchitem.SIMPLE[b"UID"]), None, False, None)),
    (b"FETCH 1 BODY[", None),
    (b"FETCH 1 BODY[1.TEXT]<0.0>", None),
    (b"FETCH 1 RFC822[1]", None),
    (b"FETCH 1 BODY[HEADER.FIELDS ()]", None),
    (b"STORE 1 +flags.silent (\\seen \\Recent Foo)", (((1, 1),), "add", True, ("\\Seen", "Foo"), None)),
    (b"STORE 1 FLAGS ()", (((1, 1),), "replace", False, (), None)),
    (b"STORE 1 -FLAGS \\Draft x", (((1, 1),), "remove", False, ("\\Draft", "x"), None)),
    (b"STORE 1 +FLAGS (\\Foo)", None),
    (b"STORE 1 FLAG (x)", None),
    (b"STORE 1 +FLAGS (" + b"x" * 201 + b")", None),
    (b"COPY 1 &AOQ-", (((1, 1),), "ä")),
    (b"EXPUNGE", (None,)),
    (b"EXPUNGE 1", None),
    (b"UID EXPUNGE 1", (((1, 1),),)),
    (b"UID EXPUNGE", None),
    (b'APPEND x (a \\Seen) "01-Jan-1970 00:00:10 -0001" {1+}\r\ny', ("x", (NewMessage(("a", "\\Seen"), 70.0, (b"y",)),))),
    (b"APPEND x {1+}\r\ny (\\Seen) {2+}\r\nyz", ("x", (NewMessage((), None, (b"y",)), NewMessage(("\\Seen",), None, (b"yz",))))),
    (b"APPEND x ~{1+}\r\n\0", ("x", (NewMessage((), None, (b"\0",), is_binary=True),))),
    (b"APPEND x ~y", None),
    (b'APPEND x CATENATE (URL "/a/;UID=1" text {1+}\r\ny)', ("x", (NewMessage((), None, (Url(b"/a/;UID=1"), b"y")),))),
    (b"APPEND x (\\Seen) catenate (URL /a/;UID=1) ~{1+}\r\ny", ("x", (NewMessage(("\\Seen",), None, (Url(b"/a/;UID=1"),)),
                                                                NewMessage((), None, (b"y",), is_binary=True)))),
    (b"APPEND x CATENATE ()", None),
    (b"APPEND x CATENATE (TEXT y)", None),
    (b"APPEND x CATENATE (FILE {1+}\r\ny)", None),
    (b"APPEND x CATENATE " + b"(URL a" + b" URL a" * 1000 + b")", None),
    (b"REPLACE 4 x {1+}\r\ny", (((4, 4),), "x", NewMessage((), None, (b"y",)))),
    (b"REPLACE 4:5 x {1+}\r\ny", None),
    (b"REPLACE 4,5 x {1+}\r\ny", None),
    (b"REPLACE 4 x {1+}\r\ny {1+}\r\ny", None),
    (b"APPEND x {1+}\r\ny (\\Seen)", None),
    (b"COMPRESS deflate", ()),
    (b"COMPRESS LZW", None),
    (b"APPEND x y", None),
    (b"SEARCH ON 1-feb-2020 SENTON \"29-Feb-2020\"", (None, True, ("AND", ("ON", datetime.date(2020, 2, 1)), ("SENTON", datetime.date(2020, 2, 29))))),
    (b"SEARCH ON 29-Feb-2021", None),
    (b"SEARCH OR SEEN", None),
    (b"SEARCH", None),
    (b"SEARCH ()", None),
    (b"SEARCH" + b" 1" * 2001, None),
    (b"SEARCH" + b" 1" * 2000, (None, True, ("AND", *[("SEQ", ((1, 1),))] * 2000))),
    (b"SEARCH (" + b"OR 1 1 " * 667 + b"1)", None),
    (b"SEARCH (SEEN) 1:2", (None, True, ("AND", ("AND", ("FLAG", "\\Seen", True)), ("SEQ", ((1, 2),))))),
    (b"SEARCH CHARSET utf-8 TO {2+}\r\n\xc3\xa4", (None, True, ("HEADER", b"to", "ä"))),
    (b'LIST "" (a b) RETURN (CHILDREN)', ("", ("a", "b"), frozenset(), frozenset((b"CHILDREN",)), (), ())),
    (b'LIST "" a RETURN (METADATA ("/shared/a" /private/b) STATUS (MESSAGES))',
     ("", ("a",), frozenset(), frozenset((b"METADATA", b"STATUS")), (b"MESSAGES",), ("/shared/a", "/private/b"))),
    (b"LIST (NONSENSE) a b", None),
    (b"LIST a b RETURN (NONSENSE)", None),
    (b"ID (a b)", ({b"": b""},)),
    (b"ENABLE", None),
    (b"ENABLE a b", ((b"A", b"B"),)),
])
def test_commands(said: bytes, args: tuple | None) -> None:
    if args is None:
        with pytest.raises(BadCommand) as error:
            parse(b"tag " + said + b"\r\n")
        assert error.value.tag == b"tag"
    elif said.startswith(b"ID"):
        with pytest.raises(BadCommand):                 # values are strings, never atoms
            parse(b"tag " + said + b"\r\n")
    else:
        for end in (b"\r\n", b"\n", b" \r\n"):
            command = parse(b"tag " + said + end)
            assert (command.tag, command.args) == (b"tag", args)


PIECES = st.lists(st.one_of(st.sampled_from([*VERBS, b"UID", b" ", b" ", b" ", b"(", b")", b'"', b"\\", b"1", b":", b"*", b",", b"{3+}\r\nabc", b"{9+}\r\nab",
                                             b"BODY[", b"]", b"<", b"HEADER.FIELDS", b"RETURN", b"NOT", b"OR", b"FLAGS", b"\\Seen", b"%", b"INBOX",
                                             b"1-Jan-2020", b"&", b"\xff", b"."]), st.binary(max_size=3)), max_size=15).map(b"".join)


@given(PIECES)
def test_any_bytes_are_a_command_or_bad(said: bytes) -> None:
    try:
        command = parse(b"a " + said + b"\r\n")
    except BadCommand as error:
        str(error).encode("ascii", "strict")
    else:
        assert command.verb in VERBS


def test_the_label_of_a_section_can_be_read_again() -> None:
    for text in (b"BODY[]", b"BODY[1.2.MIME]", b"BODY[HEADER.FIELDS (Date \"a b\")]", b"BODY[3.HEADER.FIELDS.NOT (X)]", b"BODY[TEXT]", b"BODY[4]"):
        (item,) = parse(b"a FETCH 1 " + text + b"\r\n").args[1]
        assert item.label == text and item.seen
        (peek,) = parse(b"a FETCH 1 " + text.replace(b"BODY", b"BODY.PEEK") + b"<3.4>\r\n").args[1]
        assert peek.label == text + b"<3>" and not peek.seen and peek.partial == (3, 4)


# ---- names ----------------------------------------------------------------------------------------------------------------
NAMES = st.text(st.one_of(st.sampled_from("&-a.%*\" ü日😀\udcff"), st.characters(exclude_categories=("Cs",))), max_size=12)


@given(NAMES)
def test_names_come_back(name: str) -> None:
    wire = utf7.encode(name)
    assert utf7.decode(wire) == name
    assert re.fullmatch(rb"[ -~]*", wire)


@pytest.mark.parametrize("wire", [b"&", b"a&b", b"&AGE-", b"&A-", b"&AOQ", b"&2AA-", b"&AOQ-&AOQ-", b"\xff", b"&&-"])
def test_names_that_are_not_modified_utf7(wire: bytes) -> None:
    with pytest.raises(ValueError):
        utf7.decode(wire)


@given(st.text("ab.%*I", max_size=6), st.text("ab.I", max_size=6))
def test_patterns(pattern: str, name: str) -> None:
    regex = "".join({"*": ".*", "%": "[^.]*"}.get(char, re.escape(char)) for char in pattern)
    assert listing.matches(pattern, name) == bool(re.fullmatch(regex, name))


def test_inbox_matches_in_any_case_and_stars_are_not_exponential() -> None:
    assert listing.matches("inb%", "INBOX") and listing.matches("InBoX", "INBOX") and not listing.matches("inb%", "INBUX")
    assert not listing.matches("*a" * 100 + "b", "a" * 250)
    assert listing.matches("*%" * 30000, "a.b") and not listing.matches("%%" * 30000, "a.b")      # in no time: hours when each of a row counts


# ---- replies --------------------------------------------------------------------------------------------------------------
def test_replies() -> None:
    assert uid_set([]) == b"" and uid_set([3]) == b"3" and uid_set([1, 2, 3, 5, 9, 8]) == b"1:3,5,9,8"
    assert date_time(0) == b'" 1-Jan-1970 00:00:00 +0000"' and date_time(951_782_400.9) == b'"29-Feb-2000 00:00:00 +0000"'
    assert flag_list(frozenset(("b", "\\Seen", "A", "\\Answered"))) == b"\\Answered \\Seen A b"
    assert flag_list(frozenset(("a b", "c)", "\xfc", "\\X", "d"))) == b"d"
