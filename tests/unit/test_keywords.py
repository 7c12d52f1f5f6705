"""dovecot-keywords: letters a to z of one folder."""
import os

from hypothesis import given
from hypothesis import strategies as st

from pymta.formats.keywords import KeywordsFile, decode, encode


def test_a_file_of_dovecot():
    assert decode(b"0 $Label1\n1 foo\n3 bar\n") == ["$Label1", "foo", None, "bar"]
    assert encode(["$Label1", "foo", None, "bar"]) == b"0 $Label1\n1 foo\n3 bar\n"


def test_damage_counts_for_nothing():
    assert decode(b"x\n0 a\r\n26 z\n-1 q\n1\n1 \n1 b c\n0 again\n2 \xff\n") == ["a", None, "\udcff"]


@given(st.lists(st.one_of(st.none(), st.text("ab$", min_size=1, max_size=4)), max_size=26))
def test_round_trip(keywords):
    while keywords and keywords[-1] is None:
        keywords.pop()
    assert decode(encode(keywords)) == keywords


@given(st.binary(max_size=100))
def test_garbage(data):
    assert len(decode(data)) <= 26


def test_letters_are_given_once_and_run_out(tmp_path):
    file = KeywordsFile(os.fsencode(tmp_path))
    assert not file.refresh()
    assert file.add(["one", "two"]) == []
    other = KeywordsFile(os.fsencode(tmp_path))
    assert other.refresh() and other.keywords == ["one", "two"]
    assert other.add([f"k{n}" for n in range(26)]) == ["k24", "k25"]
    assert file.refresh() and len(file.keywords) == 26
    assert not file.refresh()
