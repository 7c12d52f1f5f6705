"""surrogate: internationalised headers for clients that take ASCII only."""
import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import header
from pymta.message.surrogate import NO_ADDRESS, surrogate


@pytest.mark.parametrize("field, shown", [
    ("Subject: plain", "Subject: plain"),
    ("Subject: grüße", "Subject: =?utf-8?B?Z3LDvMOfZQ==?="),
    ("Subject: grü\n ße", "Subject: =?utf-8?B?Z3LDvCDDn2U=?="),
    ("From: Jörg <j@x.example>", "From: =?utf-8?B?SsO2cmc=?= <j@x.example>"),
    ("From: jörg@x.example", f"From: =?utf-8?B?asO2cmdAeC5leGFtcGxl?= <{NO_ADDRESS.decode()}>"),
    ("From: Ann <ann@bücher.example>", "From: Ann <ann@xn--bcher-kva.example>"),
    ('To: "B, C" <b@x.example>, Ö <o@x.example>', 'To: "B, C" <b@x.example>,\n =?utf-8?B?w5Y=?= <o@x.example>'),
    ("To: Gäste: a@x.example, b@x.example;", "To: =?utf-8?B?R8Okc3Rl?=: a@x.example,\n b@x.example;"),
    ("Received: from ö", None),
    ("X-Any: ö", None),
    ("Content-Type: text/plain; charset=utf-8; name=\"ö.txt\"", "Content-Type: text/plain;\n charset=\"utf-8\";\n name*=utf-8''%C3%B6.txt"),
    ("Content-Disposition: attachment; filename=ö", "Content-Disposition: attachment;\n filename*=utf-8''%C3%B6"),
])
def test_a_field(field, shown):
    rest = "MIME-Version: 1.0\n\nbödy\n".encode()
    assert surrogate(f"{field}\n".encode() + rest) == (f"{shown}\n".encode() if shown else b"") + rest


@pytest.mark.parametrize("message", [b"Subject: x\n\n\xc3\xb6\n", b"Subject: \xf6\n\nx\n", b"", b"\xc3\xb6\n", b"\n\xc3\xb6"])
def test_what_needs_no_surrogate_is_left_alone(message):
    assert surrogate(message) is message


def test_a_strangers_parser_reads_it():
    message = "From: 阿Q <ö@x.example>\nTo: Ö <o@x.example>\nSubject: ein längerer Betreff über viele Dinge, von denen keines wichtig ist\n\nx\n".encode()
    shown = email.message_from_bytes(surrogate(message), policy=email.policy.default)
    assert shown["subject"] == "ein längerer Betreff über viele Dinge, von denen keines wichtig ist"
    assert (shown["from"].addresses[0].display_name, shown["from"].addresses[0].addr_spec) == ("阿Q", NO_ADDRESS.decode())
    assert shown["to"].addresses[0].display_name == "Ö"


FIELD = st.builds(lambda name, text: name + ": " + text, st.sampled_from(["Subject", "From", "To", "Content-Type", "X", "Received"]),
                  st.text(st.sampled_from('aö"\\,;:<>@()=\n \t\r%*\0'), max_size=40))


@given(st.lists(FIELD, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_whatever_it_holds_the_header_is_ascii_and_ends_where_it_did(fields, newline):
    message = (newline.join(fields) + newline * 2 + "bödy\n").encode()
    shown = surrogate(message)
    stop, before = header.end(shown), header.end(message)
    assert shown[:stop].isascii() and shown[stop:] == message[before:]
