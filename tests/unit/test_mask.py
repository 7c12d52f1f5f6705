"""What of a conversation is written down: everything but secrets, and messages only where they are asked for."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.proto.mask import Imap, Pop3

SECRETS = [                                             # what the client says; nothing of it may show but what stands in brackets
    b"a LOGIN alice s3cret\r\n", b'a LOGIN "alice" "s3cret"\r\n', b"a login {5+}\r\nalice {6+}\r\ns3cret\r\n", b"LOGIN alice s3cret\r\n",
    b"alice s3cret\r\n", b"s3cret\r\n", b"a AUTHENTICATE PLAIN AHMzY3JldA==\r\n", b"a AUTHENTICATE PLAIN\r\nAHMzY3JldA==\r\n",
    b"a LOGINX alice s3cret\r\n", b"a AUTHENTICATE\r\ns3cret\r\n", b"a APPEND INBOX {6+}\r\ns3cret\r\n", b"a APPEND x (\\Seen) ~{6+}\r\ns3cret {6+}\r\ns3cret\r\n",
    b"a AUTHENTICATE LOGIN\r\ns3cret\r\ns3cret\r\n", b"a UID LOGIN alice s3cret\r\n", b"a UID LOGIN alice {6+}\r\ns3cret\r\n",
]


def lines(mask, data: bytes, bite: int = 0, side: str = "client") -> list[bytes]:
    pieces = [data[at:at + bite] for at in range(0, len(data), bite)] if bite else [data]
    return [line for piece in pieces for line in getattr(mask, side)(piece)]


@pytest.mark.parametrize("said", SECRETS)
@pytest.mark.parametrize("bite", [0, 1, 3])
def test_no_secret_of_imap_shows(said, bite):
    shown = b"\n".join(lines(Imap(literals=False), said, bite))
    assert b"s3cret" not in shown and b"AHMz" not in shown and b"octets)" in shown


@pytest.mark.parametrize("bite", [0, 1, 3])
def test_imap_is_shown_as_it_was_said(bite):
    mask = Imap(literals=False)
    assert lines(mask, b"* OK hi\r\n", bite, "server") == [b"* OK hi"]
    assert lines(mask, b"a LOGIN alice s3cret\r\n", bite) == [b"a LOGIN (14 octets)"]
    assert lines(mask, b"a OK [CAPABILITY IMAP4rev1] in\r\n", bite, "server") == [b"a OK [CAPABILITY IMAP4rev1] in"]
    assert lines(mask, b"b SELECT {5+}\r\nINBOX\r\nc UID FETCH 1:* (FLAGS)\r\n", bite) == [b"b SELECT {5+}", b"INBOX", b"", b"c UID FETCH 1:* (FLAGS)"]
    assert lines(mask, b"* 1 FETCH (UID 1 BODY[] {9}\r\nSubject:  FLAGS ())\r\nc OK x\r\n", bite, "server") == [
        b"* 1 FETCH (UID 1 BODY[] {9} (9 octets)", b" FLAGS ())", b"c OK x"]


def test_a_message_shows_only_where_it_is_asked_for():
    reply, said = b"* 1 FETCH (BODY[] {16}\r\nSubject: x\r\n\r\nhi FLAGS ())\r\n", b"a APPEND INBOX {4+}\r\nx: y\r\nb NOOP\r\n"
    assert lines(Imap(literals=False), reply, side="server") == [b"* 1 FETCH (BODY[] {16} (16 octets)", b" FLAGS ())"]
    assert lines(Imap(literals=True), reply, side="server") == [b"* 1 FETCH (BODY[] {16}", b"Subject: x", b"", b"hi", b" FLAGS ())"]
    assert lines(Imap(literals=False), said) == [b"a APPEND INBOX {4+}", b"(4 octets)", b"", b"b NOOP"]
    assert b"x: y" in lines(Imap(literals=True), said)
    assert b"s3cret" not in b"".join(lines(Imap(literals=True), b"a LOGIN x {6+}\r\ns3cret\r\n"))


def test_a_literal_that_was_refused_is_not_waited_for():
    mask = Imap(literals=False)
    assert lines(mask, b"a APPEND INBOX {99999}\r\n") == [b"a APPEND INBOX {99999}"]
    lines(mask, b"a NO [TOOBIG] no\r\n", side="server")
    assert lines(mask, b"b NOOP\r\n") == [b"b NOOP"]


def test_an_exchange_ends_with_its_reply():
    mask = Imap(literals=False)
    assert lines(mask, b"a AUTHENTICATE LOGIN\r\n") == [b"a AUTHENTICATE LOGIN"]
    lines(mask, b"+ VXNlcm5hbWU6\r\n", side="server")
    assert lines(mask, b"YWxpY2U=\r\n") == [b"(10 octets)"]
    lines(mask, b"a NO wrong\r\n", side="server")
    assert lines(mask, b"b NOOP\r\nc IDLE\r\nDONE\r\n") == [b"b NOOP", b"c IDLE", b"DONE"]


def test_control_bytes_and_long_lines():
    assert lines(Imap(literals=False), b"a NOOP \x1b[2J\r\n") == [b"a NOOP \\x1b[2J"]
    line, = lines(Imap(literals=False), b"a SEARCH " + b"1," * 10_000 + b"1\r\n")
    assert 8192 <= len(line) < 8300 and line.endswith(b"octets)")


POP3_SECRETS = [b"PASS s3cret\r\n", b"pass s3cret with blanks\r\n", b"s3cret\r\n", b"AUTH PLAIN s3cret\r\n", b"AUTH PLAIN\r\ns3cret\r\n", b"APOP alice s3cret\r\n"]


@pytest.mark.parametrize("said", POP3_SECRETS)
@pytest.mark.parametrize("bite", [0, 1])
def test_no_secret_of_pop3_shows(said, bite):
    shown = b"\n".join(lines(Pop3(literals=True), said, bite))
    assert b"s3cret" not in shown and b"octets)" in shown


def test_pop3_bodies_are_left_out_also_when_commands_come_together():
    mask = Pop3(literals=False)
    lines(mask, b"+OK ready\r\n", side="server")
    assert lines(mask, b"USER alice\r\nPASS x\r\nLIST\r\nRETR 1\r\nRETR 9\r\nTOP 1 0\r\nUIDL 1\r\nQUIT\r\n")[3:6] == [b"RETR 1", b"RETR 9", b"TOP 1 0"]
    said = b"+OK\r\n+OK in\r\n+OK\r\n1 20\r\n.\r\n+OK 20\r\nSubject: x\r\n\r\n..\r\n.\r\n-ERR none\r\n+OK\r\nSubject: x\r\n\r\n.\r\n+OK 1 abc\r\n+OK bye\r\n"
    assert lines(mask, said, 1, "server") == [
        b"+OK", b"+OK in", b"+OK", b"1 20", b".", b"+OK 20", b"(18 octets)", b".", b"-ERR none", b"+OK", b"(14 octets)", b".", b"+OK 1 abc", b"+OK bye"]


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=60) | st.sampled_from(SECRETS + POP3_SECRETS + [b"+ \r\n", b"a OK\r\n", b"* {9}\r\n"]))))
def test_total(said):
    for mask in (Imap(literals=False), Pop3(literals=False), Imap(literals=True), Pop3(literals=True)):
        for by_client, octets in said:
            for line in mask.client(octets) if by_client else mask.server(octets):
                assert b"\n" not in line
