"""The Received field, hop counts, and what goes from the top of a message.               RFC 5321 §4.4"""
from __future__ import annotations

import email
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import received

NOW = 1785585600.0


def test_a_field() -> None:
    field = received.field(received.client(b"client.example", "192.0.2.7"), b"mx.example.test", b"ESMTPS", "0pbb5k2q9a1bcd7", b"bob@example.test",
                           NOW, b"TLSv1.3 TLS_AES_256_GCM_SHA384")
    text = field.decode("ascii")
    assert text.startswith("Received: from client.example ([192.0.2.7])\n\tby mx.example.test with ESMTPS id 0pbb5k2q9a1bcd7\n"
                           "\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\n\tfor <bob@example.test>; ")
    assert email.utils.parsedate_to_datetime(text.partition("; ")[2]).timestamp() == NOW
    assert max(map(len, text.split("\n"))) < 100


def test_several_recipients_are_not_told_of_each_other() -> None:
    assert b"for " not in received.field(b"x", b"mx", b"SMTP", "1", b"", NOW)


@pytest.mark.parametrize("facts, word", [((0, 0, 0, 0), b"SMTP"), ((0, 1, 0, 0), b"ESMTP"), ((0, 1, 1, 0), b"ESMTPS"), ((0, 1, 0, 1), b"ESMTPA"),
                                         ((0, 1, 1, 1), b"ESMTPSA"), ((1, 1, 0, 0), b"LMTP"), ((1, 1, 1, 1), b"LMTPSA")])
def test_protocol(facts: tuple[int, ...], word: bytes) -> None:
    """RFC 3848"""
    lmtp, extended, tls, login = map(bool, facts)
    assert received.protocol(lmtp=lmtp, extended=extended, tls=tls, login=login) == word


@pytest.mark.parametrize("helo, address, out", [
    (b"a.example", "2001:db8::1", b"a.example ([IPv6:2001:db8::1])"), (b"[192.0.2.1]", "192.0.2.1", b"[192.0.2.1] ([192.0.2.1])"),
    (b"", "192.0.2.1", b"unknown ([192.0.2.1])"), (b"x) by evil (y; z", "local", b"x??by?evil??y??z ([local])")])
def test_client(helo: bytes, address: str, out: bytes) -> None:
    assert received.client(helo, address) == out


@given(st.binary(max_size=300))
def test_no_name_breaks_the_field(helo: bytes) -> None:
    field = received.field(received.client(helo, "192.0.2.1"), b"mx", b"ESMTP", "1", b"", NOW)
    message = email.message_from_bytes(field + b"\nbody")
    assert message.keys() == ["Received"] and message.get_payload() == "body"


@pytest.mark.parametrize("top, cleaned, hops", [
    (b"A: b\n\nbody\n", b"A: b\n\nbody\n", 0),
    (b"Received: a\nRECEIVED: b\nX: received: no\nReceived-SPF: pass\n\nReceived: in the body\n",
     b"Received: a\nRECEIVED: b\nX: received: no\nReceived-SPF: pass\n\nReceived: in the body\n", 2),
    (b"Return-Path: <a@b>\nA: b\nreturn-path: <c>\n d\nE: f\n\nReturn-Path: body\n", b"A: b\nE: f\n\nReturn-Path: body\n", 0),
    (b"\nbody\n", b"\nbody\n", 0), (b"", b"\n", 0), (b"no header\n", b"\nno header\n", 0), (b" x\n\ny\n", b"\n x\n\ny\n", 0),
    (b"X-Return-Path: kept\n\n", b"X-Return-Path: kept\n\n", 0), (b"Return-Path: <a>\n\nbody\n", b"\nbody\n", 0)])
def test_cleaned(top: bytes, cleaned: bytes, hops: int) -> None:
    assert received.cleaned(top) == (cleaned, hops)


@pytest.mark.parametrize("top, out", [
    (b"From ann@a.example Sat Aug  1 12:00:00 2026\nA: b\n\nx\n", b"X-Mailbox-Line: From ann@a.example Sat Aug  1 12:00:00 2026\nA: b\n\nx\n"),
    (b"From a\nReturn-Path: <a>\nA: b\n\n", b"X-Mailbox-Line: From a\nA: b\n\n"), (b">From a\n>>From b\nA: b\n\nFrom c\n", b"X-Mailbox-Line: >From a\nX-Mailbox-Line: >>From b\nA: b\n\nFrom c\n"),
    (b"From : ann@a.example\n\nx\n", b"From : ann@a.example\n\nx\n"), (b"From: a@b\n\nx\n", b"From: a@b\n\nx\n"),
    (b"From nowhere", b"\nFrom nowhere"), (b"> quoted\nA: b\n", b"\n> quoted\nA: b\n")])
def test_a_line_of_an_mbox_becomes_a_field(top: bytes, out: bytes) -> None:
    assert received.cleaned(top) == (out, 0)


@given(st.lists(st.sampled_from((b"Received: a\n", b"received:b\n", b"Return-Path: <a@b>\n", b"RETURN-path : <c>\n d\n", b"A: b\n", b" folded\n",
                                 b"X: " + b"y" * 200 + b"\n")), max_size=30), st.booleans(), st.lists(st.integers(1, 100), min_size=1))
def test_a_long_header_is_counted_however_it_is_cut(lines: list[bytes], has_body: bool, cuts: list[int]) -> None:
    body = b"\nReceived: in the body\nReturn-Path: in the body\n" * has_body
    top = b"S: t\n" + b"".join(lines)
    message, out = top + body, b""
    long = received.LongHeader()
    while message and not long.over:
        cut = cuts.pop(0) if cuts else 50
        out, message = out + long.feed(message[:cut]), message[cut:]
    if not long.over:
        out += long.end()
    assert out + message == top.replace(b"\nRe", b"\nX-Re").replace(b"\nX-Received", b"\nReceived") \
        .replace(b"\nRETURN-path :", b"\nX-Return-Path:") + body
    assert long.hops == top.lower().count(b"\nreceived:")
