"""THREAD: the shapes of RFC 5256 §3 and §4, and what hostile ancestors may cost."""
from __future__ import annotations

import random
import re

import pytest

from pymta.message.sortkey import Keys
from pymta.proto.imap import threads


def keys(subject: str, *ids: int, reply: bool = False) -> Keys:
    return Keys(subject, reply, "", "", "", "", "", ids or (0,))


def run(how: str, *all_of: Keys, dates: list[int] | None = None) -> bytes:
    return getattr(threads, how)(range(1, len(all_of) + 1), all_of, dates or list(range(len(all_of))))


def test_references() -> None:
    assert run("references") == b""
    assert run("references", keys("a", 11), keys("a", 12, 11), keys("a", 13, 11, 12), keys("b", 14, 11)) == b"(1 (2 3)(4))"
    assert run("references", keys("a", 12, 11), keys("b", 13, 11), keys("c", 14)) == b"((1)(2))(3)"       # what they answer is not here
    assert run("references", keys("a", 12, 11), keys("c", 14)) == b"(1)(2)"
    assert run("references", keys("a", 11), keys("a", 12, reply=True), keys("b", 13)) == b"(1 2)(3)"
    assert run("references", keys("a", 11), keys("a", 12), keys("a", 13, reply=True)) == b"((1)(2)(3))"
    assert run("references", keys("", 11), keys("", 12)) == b"(1)(2)"


def test_refs_does_not_look_at_subjects_and_newest_is_last() -> None:
    assert run("refs", keys("a", 11), keys("a", 12, reply=True), keys("b", 13, 11)) == b"(2)(1 3)"


def test_ordered_subject() -> None:
    assert run("ordered_subject", keys("b"), keys("a"), keys("b"), keys("b"), keys("a")) == b"(1 (3)(4))(2 5)"


def test_loops_and_two_of_one_id() -> None:
    """RFC 5256 §3 (1.B): what others said of a message's parent goes first, then a link is made if it makes no loop.  As in Dovecot."""
    assert run("refs", keys("a", 11, 12), keys("a", 12, 11)) == b"(2 1)"
    assert run("refs", keys("a", 11), keys("b", 12, 11), keys("c", 13, 11, 12, 13)) == b"(1 2)(3)"         # names itself
    assert run("refs", keys("a", 11, 12), keys("b", 12), keys("c", 13, 14, 11)) == b"(2 1 3)"
    assert run("refs", keys("a", 11, 13, 12), keys("b", 12, 11)) == b"(2 1)"                               # 1 answers 2, which answers 1
    assert sorted(re.findall(rb"\d", run("references", keys("a", 11, 11), keys("b", 11, 11), keys("c", 11)))) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("how", ["references", "refs", "ordered_subject"])
def test_everybody_is_there_once(how: str) -> None:
    dice = random.Random(5)
    for _ in range(300):
        count = dice.randint(1, 12)
        said = run(how, *(keys(dice.choice(["", "a", "b"]), *(dice.randint(0, 9) for _ in range(dice.randint(1, 5))), reply=dice.random() < .5)
                          for _ in range(count)), dates=[dice.randint(0, 5) for _ in range(count)])
        assert sorted(map(int, re.findall(rb"\d+", said))) == list(range(1, count + 1)) and said.count(b"(") == said.count(b")")
        assert b"()" not in said and b" )" not in said


def test_long_chains_in_any_order() -> None:
    for order in (range(1, 20_001), range(20_000, 0, -1), random.Random(1).sample(range(1, 20_001), 20_000)):
        said = run("references", *(keys("", number, number - 1) for number in order))
        assert len(re.findall(rb"\d+", said)) == 20_000
