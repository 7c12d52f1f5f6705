"""Base subjects, sent dates, names and ids: what SORT and THREAD compare."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message import sortkey


@pytest.mark.parametrize(("text", "base", "reply"), [
    ("a", "a", False), ("Re: a", "a", True), ("RE [2] : a", "a", True), ("fw: fwd: a (fwd) (FWD) ", "a", True), ("[list] a", "a", False),
    ("[list] Re: [x] a", "a", True), ("[fwd: re: a]", "a", True), ("[fwd: a", "a", True), ("[x]", "[x]", False), ("re:", "", True), ("", "", False),
    ("a  \t b", "a b", False), ("Regarding: a", "Regarding: a", False), ("[a][b] c", "c", False), ("[a[b] c", "[a[b] c", False),
])
def test_base_subject(text: str, base: str, reply: bool) -> None:
    if text == "[fwd: a":                               # not closed, so it is a word like any other
        base, reply = text, False
    assert sortkey.base_subject(text) == (base, reply)


@pytest.mark.parametrize(("value", "seconds"), [
    (b"Thu, 1 Jan 1970 00:00:10 +0000", 10), (b"1 Jan 70 00:00 GMT", 0), (b"Thu, 01 Jan 1970 02:00:00 +0200", 0),
    (b"Wed, 31 Dec 1969 19:00:00 EST", 0), (b"1 Jan 2049 00:00:00 -0001", 2493072060), (b"30 Feb 2020 00:00:00 +0000", None),
    (b"1 Foo 2020 00:00:00 +0000", None), (b"1 Jan 2020 24:00:00 +0000", None), (b"", None), (b"tomorrow", None),
])
def test_sent(value: bytes, seconds: int | None) -> None:
    assert sortkey.sent(value) == seconds


def test_names_and_ids() -> None:
    keys = sortkey.keys({b"from": b"=?utf-8?q?=C3=A9ve?= <Eve@e.example>, x@y", b"to": b"bob@b.example", b"message-id": b"<A@b>",
                         b"references": b"<1@x> junk <2@x>", b"in-reply-to": b"<3@x>"})
    assert (keys.from_, keys.to, keys.cc, keys.show_to) == ("EVE", "BOB", "", "BOB@B.EXAMPLE")
    assert keys.show_from == sortkey.collate("\u00c9VE") and len(set(keys.ids)) == 3
    assert sortkey.keys({b"in-reply-to": b"<2@x> <1@x>"}).ids == (0, keys.ids[2])


@given(st.dictionaries(st.sampled_from([b"subject", b"from", b"to", b"cc", b"message-id", b"references", b"in-reply-to"]), st.one_of(
    st.binary(max_size=80), st.lists(st.sampled_from([b"re:", b"[", b"]", b"fwd", b"(fwd)", b"<a@b>", b"=?utf-8?q?=ED=A0=80=00?=", b"[fwd:", b" "]),
                                     max_size=20).map(b"".join))))
def test_pack_is_the_inverse_of_unpack_for_anything(fields: dict[bytes, bytes]) -> None:
    keys = sortkey.keys(fields)
    assert sortkey.unpack(sortkey.pack(keys)) == keys
    assert sortkey.texts([0])(sortkey.pack(keys)) == keys.subject
    assert sortkey.texts([1, 2, 3, 4, 5])(sortkey.pack(keys)) == (keys.from_, keys.to, keys.cc, keys.show_from, keys.show_to)


def test_hostile_fields_are_bounded() -> None:
    keys = sortkey.keys({b"subject": b"re:[a]" * 100_000, b"references": b"<a@b>" * 100_000, b"from": b"a," * 100_000, b"to": b"[" * 100_000})
    assert len(keys.ids) == 1 + sortkey.IDS_MAX and len(sortkey.pack(keys)) < 50_000
