"""i;unicode-casemap: RFC 5051."""
from __future__ import annotations

import random
import unicodedata

import pytest

from pymta.message import casemap
from pymta.message.casemap import _ODD, collate, collate_utf8


def slowly(text: str) -> str:
    """The rule as it stands, character by character; NUL is none."""
    titled = [title if len(title := one.title()) == 1 else one for one in text if one != "\0"]
    return unicodedata.normalize("NFKD", "".join(titled))


@pytest.mark.parametrize("text, found", [
    ("hello", "HELLO"), ("a\0b", "AB"), ("Grüße", "GRU\u0308ßE"), ("ﬁx", "fiX"), ("ǆ", "Dz\u030c"), ("½", "1\u20442"), ("ⅷ", "VIII"),
    ("한", "\u1112\u1161\u11ab"), ("ς", "Σ"), ("ა", "ა"), ("", ""), ("µ", "Μ"), ("ŉ", "\u02bcn"), ("e\u0301", "E\u0301"), ("é", "E\u0301")])
def test_of_some_texts(text, found):
    assert collate(text) == found == slowly(text)


def test_every_character_is_as_the_rule_says():
    assert [hex(number) for number in range(1, 0x110000) if collate(chr(number)) != slowly(chr(number))] == []


def test_characters_together_too():
    dice = random.Random(1)
    odd = sorted(_ODD)
    for _ in range(500):
        text = "".join(dice.choice([chr(dice.randrange(1, 0x80)), chr(dice.randrange(0x80, 0x600)), dice.choice(odd), "ß"]) for _ in range(30))
        assert collate(text) == slowly(text)
        assert collate_utf8(text.encode()).decode() == slowly(text)


@pytest.mark.parametrize("octets", [1, 5, 1000])
def test_in_utf8_and_in_slices_it_is_the_same(octets, monkeypatch):
    monkeypatch.setattr(casemap, "_SLICE_OCTETS", octets)
    dice = random.Random(2)
    for _ in range(200):
        text = "".join(dice.choice("ab \n\0éßǆ日\u0301\u0323\u0308ﬁ") for _ in range(40))
        assert collate_utf8(text.encode()) == collate(text).encode()


def test_what_is_remembered_is_bounded():
    for number in range(3 * casemap._Known.RUNS_MAX):
        collate_utf8(f"a{chr(0x4e00 + number)}b{chr(0x4e00 + number) * 50}".encode())
    assert len(casemap._known) <= casemap._Known.RUNS_MAX
    assert max(map(len, casemap._known)) <= casemap._Known.OCTETS_MAX
