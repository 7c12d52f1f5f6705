"""i;unicode-casemap: RFC 5051."""
from __future__ import annotations

import random
import unicodedata

import pytest

from pymta.message.casemap import _ODD, collate


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
