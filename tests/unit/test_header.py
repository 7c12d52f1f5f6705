"""header: fields, address lists, and what makes a header whole.  The email package is the oracle."""
from __future__ import annotations

import email
import email.policy
import time
from email.header import decode_header, make_header
from email.utils import getaddresses, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import header

LINES = st.lists(st.sampled_from([b"To: a", b" folded", b"\tmore", b"X-Y : z", b"", b" ", b"not a field", b"From x", b":empty", b"A:", b"N\xc3: x"]),
                 max_size=8).map(lambda lines: b"".join(line + b"\n" for line in lines))


# ---- fields -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("line, name", [
    (b"Subject: x", b"subject"), (b"Subject:x", b"subject"), (b"SUBJECT : x", b"subject"), (b"X-A-1:", b"x-a-1"),
    (b": x", b""), (b"no colon", b""), (b"From ann Mon Jan  1 00:00:00 2024", b""), (b"two words: x", b""), (b"\xc3\xbc: x", b""),
    (b"", b""), (b" To: x", b"")])
def test_what_is_a_header_line(line, name):
    assert header.field_name(line) == name


@pytest.mark.parametrize("message, parts", [
    (b"A: 1\nB: 2\n\nbody\n", (b"A: 1\nB: 2\n", b"body\n")),
    (b"A: 1\n  2\n\nbody", (b"A: 1\n  2\n", b"body")),
    (b"body only\n", (b"", b"body only\n")),
    (b"\nbody\n", (b"", b"body\n")),
    (b" begins with a blank: x\n", (b"", b" begins with a blank: x\n")),
    (b"A: 1\nno field\nB: 2\n", (b"A: 1\n", b"no field\nB: 2\n")),
    (b"A: 1\n \t\nbody\n", (b"A: 1\n", b"body\n")),
    (b"A: 1", (b"A: 1\n", b"")),
    (b"", (b"", b"")),
    (b"A: 1\n\n", (b"A: 1\n", b"")),
    (b"A: 1\n\n\nbody", (b"A: 1\n", b"\nbody")),
])
def test_split(message, parts):
    assert header.split(message) == parts


@given(LINES, st.binary(max_size=30))
def test_nothing_is_lost_by_splitting(top, rest):
    message = top + rest
    fields, body = header.split(message)
    assert message.startswith(fields.removesuffix(b"\n")) and message.endswith(body)
    assert b"".join(field for _, field in header.fields(fields)) == fields
    assert header.split(fields + b"\n" + body) == (fields, body)


@given(st.binary(max_size=200))
def test_total_on_garbage(data):
    fields, _ = header.split(data)
    list(header.fields(data)), list(header.scan(data)), header.addresses(data), header.phrase(data)
    header.complete(fields, now=0, host=b"h.example", sender=b"", id="1j0ug8tcdr597dd")


def test_fields_agree_with_the_email_package():
    text = b"From: a@b\nTo: x,\n y\nSubject: one\n two\nTo: z\nX-Empty:\n\nbody\n"
    parsed = email.message_from_bytes(text)
    ours = [(name.decode(), header.value(field).decode()) for name, field in header.fields(header.split(text)[0])]
    assert ours == [(name.lower(), value.replace("\n", "")) for name, value in parsed.items()]
    assert header.get(text, b"subject") == b"one two" and header.get_all(text, b"TO") == [b"x, y", b"z"]
    assert header.get(text, b"body") is None
    assert header.remove(text, [b"To", b"X-empty"]) == b"From: a@b\nSubject: one\n two\n"


# ---- addresses --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text, found", [
    (b"ann@a.example", [b"ann@a.example"]),
    (b"ann", [b"ann"]),
    (b"Ann <ann@a.example>, \"Bob, the other\" <bob@b.example>", [b"ann@a.example", b"bob@b.example"]),
    (b"ann@a.example (Ann (the) \\) first), bob", [b"ann@a.example", b"bob"]),
    (b"Friends: ann@a.example, Bob <bob@b.example>;, carl@c.example", [b"ann@a.example", b"bob@b.example", b"carl@c.example"]),
    (b"undisclosed-recipients:;", []),
    (b"ann@a.example; bob@b.example", [b"ann@a.example", b"bob@b.example"]),
    (b"<@x.example,@y.example:ann@a.example>, bob", [b"ann@a.example", b"bob"]),
    (b'"ann smith"@a.example', [b'"ann smith"@a.example']),
    (b'"ann"@a.example', [b"ann@a.example"]),
    (b'"a\\"b>,c"@a.example', [b'"a\\"b>,c"@a.example']),
    (b'"a"."b"@a.example', [b"a.b@a.example"]),
    (b"ann@[192.0.2.1], bob@[IPv6:2001:db8::1]", [b"ann@[192.0.2.1]", b"bob@[IPv6:2001:db8::1]"]),
    (b"ann @ a . example", [b"ann@a.example"]),
    (b"ann@a.example,\n bob@b.example\n", [b"ann@a.example", b"bob@b.example"]),
    (b"ann@a.example.", [b"ann@a.example"]),
    (b"=?utf-8?q?J=C3=B6rg=2C?= <joerg@a.example>", [b"joerg@a.example"]),
    ("jörg@bücher.example".encode(), ["jörg@bücher.example".encode()]),
    (b"<>, ann", [b"ann"]),
    (b"", []), (b" ,, ;", []),
    (b"Ann <ann@a.example", [b"ann@a.example"]),
    (b"ann@a.example <bob@b.example>", [b"bob@b.example"]),
])
def test_addresses(text, found):
    assert header.addresses(text) == found
    assert not any(address is None for address, _, _ in header.scan(text))


@pytest.mark.parametrize("text", [
    b"Ann Smith", b"ann smith@a.example", b"ann@", b"@a.example", b"ann@a..example", b"ann@.a.example", b"ann@b@c.example", b"a\x01b@c.example",
    b".", b"a)b@c.example", b"ann@a.example bob@b.example", b'ann@"a".example', b"x" * 400 + b"@a.example", b"ann@a.example]", b'"a\rb"@c.example'])
def test_what_is_no_address_is_said_to_be_none(text):
    assert [address for address, _, _ in header.scan(text)] == [None]


ATOM = st.text("abcXYZ019-_+", min_size=1, max_size=8)
PLAIN = st.tuples(st.lists(ATOM, min_size=1, max_size=3).map(".".join), st.lists(ATOM, min_size=1, max_size=3).map(".".join)).map("@".join)
MAILBOX = st.tuples(PLAIN, st.sampled_from(["{}", "<{}>", "Ann <{}>", '"Ann, B." <{}>', "{} (Ann, (c))", "\n {}", "Ann\n <{}>"]))


@given(st.lists(MAILBOX, min_size=1, max_size=6))
def test_addresses_agree_with_the_email_package(boxes):
    text = ", ".join(form.format(address) for address, form in boxes)
    ours = [address.decode() for address in header.addresses(text.encode())]
    assert ours == [address for address, _ in boxes]
    parsed = email.message_from_bytes(b"To: " + text.encode() + b"\n\n", policy=email.policy.default)
    assert ours == [address.addr_spec for address in parsed["To"].addresses]


@given(st.binary(max_size=80))
def test_an_address_holds_nothing_that_breaks_a_line(data):
    for address, start, stop in header.scan(data):
        assert 0 <= start <= stop <= len(data)
        assert address is None or not any(c < 32 or c == 127 for c in address)


def test_a_long_list_takes_linear_time():
    many = b", ".join(b"user%d (%s" % (n, b"(" * 20) for n in range(2000))
    header.addresses(many), header.addresses(b"<" * 20000), header.addresses(b'"\\' * 20000), header.addresses(b"(" * 100000)
    assert len(header.addresses(b", ".join(b"user%d" % n for n in range(10000)))) == 10000
    assert header.qualify_field(b"To: " + b", ".join([b"u"] * 5000) + b"\n", b"h").count(b"@h") == 5000


@pytest.mark.parametrize("field, made", [
    (b"From: root (Cron Daemon)\n", b"From: root@h.example (Cron Daemon)\n"),
    (b'From: "Cron @ Daemon" <root>\n', b'From: "Cron @ Daemon" <root@h.example>\n'),
    (b"To: a, b@c.example,\n d\n", b"To: a@h.example, b@c.example,\n d@h.example\n"),
    (b'To: "x@y"\n', b'To: "x@y"@h.example\n'),
    (b"To: undisclosed-recipients:;\n", b"To: undisclosed-recipients:;\n"),
    (b"To: Team: a, b;\n", b"To: Team: a@h.example, b@h.example;\n"),
    (b"To: not an address\n", b"To: not an address\n"),
])
def test_addresses_without_a_domain_get_one(field, made):
    assert header.qualify_field(field, b"h.example") == made


# ---- making -----------------------------------------------------------------------------------------------------------
@given(st.integers(0, 4_000_000_000), st.integers(-48, 56).map(lambda quarter: quarter * 900))
def test_date(now, zone_s):
    text = header.date(now, zone_s).decode()
    then = parsedate_to_datetime(text)
    assert then.timestamp() == now
    assert "-0000" in text or then.utcoffset().total_seconds() == zone_s
    assert then.strftime("%a") == text[:3]


def test_date_of_this_host(monkeypatch):
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    try:
        assert header.date(1700000000) == b"Tue, 14 Nov 2023 18:43:20 -0330"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(min_size=1, max_size=60))
def test_phrase_comes_back(name):
    made = header.phrase(name.encode("utf-8", "replace"))
    shown = b" ".join(name.encode("utf-8", "replace").split()).decode()
    assert made.isascii() and all(len(line) <= 78 for line in made.split(b"\n") if b"=?" in line)
    if not shown.isascii():
        assert str(make_header(decode_header(made.decode()))) == shown
    elif shown.isprintable() and shown:
        assert getaddresses([made.decode() + " <a@b>"]) == [(shown, "a@b")]


NOW = dict(now=1700000000, host=b"h.example", id="1j0ug8tcdr597dd")


def test_what_is_missing_is_added():
    made = header.complete(b"Subject: x\n", sender=b"ann@h.example", full_name=b"Ann O. Nym", **NOW)
    parsed = email.message_from_bytes(made, policy=email.policy.default)
    assert parsed["From"] == '"Ann O. Nym" <ann@h.example>' and parsed["Message-ID"] == "<1j0ug8tcdr597dd@h.example>"
    assert parsed["Date"].datetime.timestamp() == 1700000000 and parsed["Subject"] == "x" and not parsed.defects


def test_what_is_there_stays():
    own = b"Date: Mon, 1 Jan 2024 00:00:00 +0000\nfrom: a@b.example\nMESSAGE-ID: <x@y>\n"
    assert header.complete(own, sender=b"ann@h.example", **NOW) == own


def test_bcc_and_what_is_not_the_senders_to_write_goes():
    made = header.complete(b"Bcc: secret@x\nTo: a@b\nBCC : more,\n folded\nReturn-Path: <forged>\nResent-Bcc: x\nContent-Length: 5\n",
                           sender=b"ann@h.example", **NOW)
    assert b"secret" not in made and b"folded" not in made and b"forged" not in made and b"Content-Length" not in made


def test_the_null_sender_has_a_name():
    assert b"From: Mail Delivery System <MAILER-DAEMON@h.example>\n" in header.complete(b"", sender=b"", full_name=b"Ann", **NOW)


def test_resent_fields_are_made_for_what_is_resent():
    made = header.complete(b"Resent-To: bob\nSubject: old\nFrom: x@y\n", sender=b"ann@h.example", **NOW)
    names = [name for name, _ in header.fields(made)]
    assert names == [b"resent-date", b"resent-from", b"resent-message-id", b"resent-to", b"subject", b"from"]
    assert b"Resent-To: bob@h.example\n" in made
