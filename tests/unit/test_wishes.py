"""wishes: what a sender wants to hear, and what goes on the wire of it; whatever a drop of a local program says."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats.queuefile import LOCAL, REMOTE, Envelope, Recipient
from pymta.proto import smtp_params
from pymta.queue import wishes


def one(notify: bytes = b"", orcpt: bytes = b"", original: bytes = b"", address: bytes = b"bob@b.example") -> Recipient:
    notes: tuple[tuple[bytes, bytes], ...] = ((b"Original-Recipient", b"rfc822;" + original),) if original else ()
    notes += ((wishes.NOTIFY, notify),) if notify else ()
    return Recipient(LOCAL, address, notes + (((wishes.ORCPT, orcpt),) if orcpt else ()))


@pytest.mark.parametrize("note, passed_on, wanted", [
    (b"", b"", "FAILURE DELAY"), (b"NEVER", b"NEVER", ""), (b"SUCCESS", b"SUCCESS", "SUCCESS"), (b"success,failure", b"SUCCESS,FAILURE", "SUCCESS FAILURE"),
    (b"DELAY", b"DELAY", "DELAY"), (b"NEVER,SUCCESS", b"NEVER", ""), (b"nonsense", b"", "FAILURE DELAY"),
    (b"FAILURE X\r\nDATA", b"", "FAILURE DELAY"), (b"DELAY,FAILURE,SUCCESS", b"SUCCESS,FAILURE,DELAY", "SUCCESS FAILURE DELAY")])
def test_notify(note, passed_on, wanted):
    recipient = one(note)
    assert wishes.notify(recipient) == passed_on
    assert {what for what in ("SUCCESS", "FAILURE", "DELAY") if wishes.wants(recipient, what)} == set(wanted.split())


@pytest.mark.parametrize("recipient, wire", [
    (one(), b""), (one(orcpt=b"rfc822;ann+x@a.example"), b"rfc822;ann+2Bx@a.example"), (one(original=b"team@b.example"), b"rfc822;team@b.example"),
    (one(orcpt=b"x400;a b=c", original=b"team@b.example"), b"x400;a+20b+3Dc"), (one(original=b"bob@b.example"), b""),
    (one(orcpt="utf-8;jörg=@b.example".encode()), b"utf-8;j\\x{F6}rg\\x{3D}@b.example"), (one(original="jörg@b".encode()), b"utf-8;j\\x{F6}rg@b"),
    (one(orcpt=b"no type"), b""), (one(orcpt=b"a b;c"), b""), (one(orcpt=b"rfc822;" + b"x" * 500), b"")])
def test_orcpt(recipient, wire):
    assert wishes.orcpt(recipient) == wire


@given(st.binary(min_size=1, max_size=80))
def test_nothing_breaks_a_command(note):
    for words in (wishes.notify(one(note)), wishes.orcpt(one(orcpt=note)), wishes.orcpt(one(original=note)), wishes.orcpt(one(orcpt=b"utf-8;" + note))):
        assert words.isascii() and not any(c <= 32 or c == 127 for c in words)
    assert wishes.is_xtext(wishes.xtext(note))


@pytest.mark.parametrize("given", [b"rfc822;ann+2Bx@a.example", b"x400;a+20b+3Dc", b"utf-8;j\\x{F6}rg@b.example"])
def test_what_the_door_takes_leaves_as_it_came(given):
    notes = smtp_params.rcpt({b"ORCPT": given}, utf8=True)
    assert isinstance(notes, tuple)
    assert wishes.orcpt(Recipient(REMOTE, b"x@y", notes)) == given


def test_an_alias_with_several_targets_is_one_to_the_sender():
    team = [one(b"SUCCESS", original=b"team@b.example", address=address) for address in (b"a@b.example", b"c@d.example")]
    others = [one(b"SUCCESS"), one(b"FAILURE", original=b"team2@b.example"), one(b"SUCCESS", original=b"single@b.example")]
    envelope = Envelope(b"ann@a.example", [others[0], team[0], *others[1:], team[1]], "x")
    assert wishes.expanded(envelope) == {1: (1, 4), 4: (1, 4)}
    parted = wishes.parted(envelope, [0, 4])
    assert [wishes.notify(recipient) for recipient in parted] == [b"SUCCESS", b"NEVER"]
    assert parted[1].original == b"team@b.example"
