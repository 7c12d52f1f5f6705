"""ENVELOPE and BODYSTRUCTURE for a client that takes no UTF-8."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import mime, structure
from pymta.proto.imap.asciiform import ascii_form
from tests.oddmail import ODD


def literal(text: str | bytes) -> bytes:
    octets = text.encode() if isinstance(text, str) else text
    return b"{%d}\r\n%b" % (len(octets), octets)


ROWS = [
    (literal("grüße"), b'"=?utf-8?B?Z3LDvMOfZQ==?="'),
    (b'("x" ' + literal("ü") + b" NIL)", b'("x" "=?utf-8?B?w7w=?=" NIL)'),
    (b"((NIL NIL " + literal("jü") + b' "a.example"))', b'((NIL NIL "invalid" "internationalized-address.invalid"))'),
    (b'((NIL NIL "ju" ' + literal("ä.example") + b"))", b'((NIL NIL "ju" "xn--4ca.example"))'),
    (b"((" + literal("Jü") + b' NIL "ju" "a.example")(NIL NIL "b" ' + literal("ä.example") + b"))",
     b'(("=?utf-8?B?SsO8?=" NIL "ju" "a.example")(NIL NIL "b" "xn--4ca.example"))'),
    # of parameters, the fourth is no host
    (b'("TEXT" "PLAIN" ("CHARSET" "utf-8" "NAME" ' + literal("ä.txt") + b') NIL NIL "8BIT" 5 1)',
     b'("TEXT" "PLAIN" ("CHARSET" "utf-8" "NAME" "=?utf-8?B?w6QudHh0?=") NIL NIL "8BIT" 5 1)'),
    # not UTF-8: an old sender's mistake
    (literal(b"gr\xfc\xdfe"), literal(b"gr\xfc\xdfe")),
    (b'("\\"quoted) {3}" ' + literal("ü") + b")", b'("\\"quoted) {3}" "=?utf-8?B?w7w=?=")'),
]


@pytest.mark.parametrize(("described", "wanted"), ROWS)
def test_rows(described, wanted):
    assert ascii_form(described) == wanted


@pytest.mark.parametrize("described", [b"", b"NIL", b'("a" (NIL) {3}\r\nab))'])
def test_what_is_ascii_is_the_same_object(described):
    assert ascii_form(described) is described


@pytest.mark.parametrize("message", ODD)
def test_odd_mail(message):
    """What can be read as UTF-8 becomes ASCII."""
    part = mime.scan(mime.wire(message))
    for described in (structure.envelope(part), structure.body(part, extended=True)):
        found = ascii_form(described)
        assert found.isascii() or "\N{REPLACEMENT CHARACTER}" in described.decode("utf-8", "replace")


@given(st.binary(max_size=200) | st.text(alphabet='(){}"\\ ü5\r\n', max_size=60).map(str.encode))
def test_total(described):
    ascii_form(described)
