"""Parameters of MAIL and RCPT: strict, and nothing that comes out of them can end a line."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.outcome import Outcome
from pymta.proto import smtp_params
from pymta.proto.smtp_params import Wishes
from pymta.queue import wishes as queue_wishes

ALL = smtp_params.MAIL | smtp_params.HOLD


def mail(rest: bytes, *, utf8_path: bool = False) -> Wishes | Outcome:
    found = smtp_params.parse(rest, ALL)
    return found if isinstance(found, Outcome) else smtp_params.mail(found, utf8_path=utf8_path)


def rcpt(rest: bytes, *, utf8: bool = False) -> tuple | Outcome:
    found = smtp_params.parse(rest, smtp_params.RCPT)
    return found if isinstance(found, Outcome) else smtp_params.rcpt(found, utf8=utf8)


@pytest.mark.parametrize("rest, expected", [
    (b"", Wishes()), (b" SIZE=12", Wishes(12)), (b" BODY=7BIT", Wishes()), (b" body=8bitmime", Wishes(0, {"body": "8BITMIME"})),
    (b" SMTPUTF8", Wishes(0, {"utf8": "1"})), (b" RET=hdrs", Wishes(0, {"ret": "HDRS"})), (b" RET=FULL", Wishes(0, {"ret": "FULL"})),
    (b" ENVID=QQ314159+2B", Wishes(0, {"envid": "QQ314159+2B"})), (b" HOLDFOR=60", Wishes(hold_for_s=60)), (b" AUTH=<>", Wishes()),
    (b" HOLDUNTIL=1970-01-02T00:00:00Z", Wishes(hold_until=86400.0)), (b" HOLDUNTIL=1970-01-02T00:00:00.5+01:00", Wishes(hold_until=82800.0)),
    (b" ENVID=" + b"x" * 100, Wishes(0, {"envid": "x" * 100})),
])
def test_mail(rest: bytes, expected: Wishes) -> None:
    assert mail(rest) == expected


@pytest.mark.parametrize("rest, reply", [
    (b" FOO=1", 555), (b" SIZE=1 SIZE=1", 501), (b" SIZE=", 501), (b" SIZE", 501), (b" SIZE=-1", 501), (b" BODY=BINARYMIME", 501), (b" BODY", 501),
    (b" SMTPUTF8=1", 501), (b" RET", 501), (b" RET=ALL", 501), (b" ENVID", 501), (b" ENVID=" + b"x" * 101, 501), (b" ENVID=a+0A", 501),
    (b" ENVID=a+0a", 501), (b" ENVID=a+", 501), (b" ENVID=a+7F", 501), (b" ENVID=a+E4", 501), (b" ENVID=\xe4", 501), (b" ENVID=a=b", 501),
    (b" HOLDFOR=0", 501), (b" HOLDFOR=-1", 501), (b" HOLDFOR=1234567890", 501), (b" HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z", 501),
    (b" HOLDUNTIL=2030-02-31T00:00:00Z", 501), (b" HOLDUNTIL=2030-02-01", 501), (b" HOLDUNTIL=2030-01-01T00:00:00", 501),
    (b" HOLDUNTIL=2030-01-01T00:00:00+99:99", 501), (b" HOLDUNTIL=0000-01-01T00:00:00Z", 501), (b"SIZE=1", 501), (b" \x00", 501),
])
def test_mail_refused(rest: bytes, reply: int) -> None:
    result = mail(rest)
    assert isinstance(result, Outcome) and result.reply == reply


def test_a_path_beyond_ascii_needs_smtputf8() -> None:
    result = mail(b"", utf8_path=True)
    assert isinstance(result, Outcome) and (result.reply, result.status) == (553, "5.6.7")
    assert mail(b" SMTPUTF8", utf8_path=True) == Wishes(0, {"utf8": "1"})


@pytest.mark.parametrize("rest, utf8, notes", [
    (b"", False, ()), (b" NOTIFY=never", False, ((b"Pymta-Notify", b"NEVER"),)),
    (b" NOTIFY=FAILURE,delay,SUCCESS", False, ((b"Pymta-Notify", b"FAILURE,DELAY,SUCCESS"),)),
    (b" ORCPT=rfc822;al+2Bice@x.example", False, ((b"Pymta-Orcpt", b"rfc822;al+ice@x.example"),)),
    (b' ORCPT=rfc822;"a+20b"@x.example', False, ((b"Pymta-Orcpt", b'rfc822;"a b"@x.example'),)),
    (b" ORCPT=X-400;/C+3Dde/", False, ((b"Pymta-Orcpt", b"X-400;/C=de/"),)),
    (b" ORCPT=utf-8;\\x{E4}nn@x.example", False, ((b"Pymta-Orcpt", "utf-8;änn@x.example".encode()),)),
    (b" ORCPT=rfc822;+C3+A4nn@x.example", True, ((b"Pymta-Orcpt", "utf-8;änn@x.example".encode()),)),
    ("ORCPT=utf-8;änn@x.example".encode().join((b" ", b"")), True, ((b"Pymta-Orcpt", "utf-8;änn@x.example".encode()),)),
])
def test_rcpt(rest: bytes, utf8: bool, notes: tuple) -> None:
    assert rcpt(rest, utf8=utf8) == notes


@pytest.mark.parametrize("rest", [
    b" NOTIFY", b" NOTIFY=", b" NOTIFY=NEVER,DELAY", b" NOTIFY=DELAY,DELAY", b" NOTIFY=DELAY,", b" NOTIFY=ALWAYS", b" ORCPT=rfc822", b" ORCPT=rfc822;",
    b" ORCPT=;a@b", b" ORCPT=rfc822;a+0Ab", b" ORCPT=rfc822;a+00", b" ORCPT=rfc822;a+0Db", b" ORCPT=rfc822;a+C3+A4", b" ORCPT=a/b;c",
    b" ORCPT=rfc822;" + b"x" * 494, b" ORCPT=utf-8;\\x{A}", b" ORCPT=utf-8;\\x{85}", b" ORCPT=utf-8;\\x{D800}", b" ORCPT=utf-8;\\x{FFFFFF}",
    b" ORCPT=utf-8;a\\b", b" ORCPT=utf-8;\xc3\xa4", b" ORCPT=utf-8;\xe4", b" ORCPT=utf-8;\\x{2028}",
])
def test_rcpt_refused(rest: bytes) -> None:
    result = rcpt(rest)
    assert isinstance(result, Outcome) and result.reply == 501


@given(st.binary(max_size=60), st.booleans())
def test_nothing_that_comes_out_holds_a_control_byte(value: bytes, utf8: bool) -> None:
    for keyword in (b"ENVID", b"ORCPT", b"NOTIFY", b"HOLDUNTIL", b"RET", b"AUTH"):
        for coded in (value, queue_wishes.xtext(value), b"rfc822;" + queue_wishes.xtext(value), b"utf-8;" + value):
            wished = mail(b" %s=%s" % (keyword, coded))
            if isinstance(wished, Wishes):
                assert all(33 <= ord(char) < 127 for text in wished.facts.values() for char in text)
            notes = rcpt(b" %s=%s" % (keyword, coded), utf8=utf8)
            if not isinstance(notes, Outcome):
                for _, note in notes:
                    assert note.decode("utf-8").isprintable()
                    assert b"\n" not in note


@given(st.binary(min_size=1, max_size=100).filter(lambda data: all(32 <= octet < 127 for octet in data)))
def test_an_original_recipient_comes_back(address: bytes) -> None:
    notes = rcpt(b" ORCPT=rfc822;" + queue_wishes.xtext(address))
    assert notes == ((b"Pymta-Orcpt", b"rfc822;" + address),)
