"""conf: the syntax of pymta.conf(5)."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats.conf import parse


@pytest.mark.parametrize("text, rows", [
    ("", []),
    ("a.b = c", [(1, "a.b", "c")]),
    ("a.b=c\n", [(1, "a.b", "c")]),
    ("  a.b\t=  c d  \r\n", [(1, "a.b", "c d")]),
    ("# x\n\na.b = c # why\n#d = e\n", [(3, "a.b", "c")]),
    ("a.b = c#d\n", [(1, "a.b", "c#d")]),
    ("a.b = c\t# d\n", [(1, "a.b", "c")]),
    ("a.b =\n", [(1, "a.b", "")]),
    ("a.b = # nothing\n", [(1, "a.b", "")]),
    ("a.b = c = d", [(1, "a.b", "c = d")]),
    ("\ufeffa.b = c\n", [(1, "a.b", "c")]),
    ("a = 1\na = 2\n", [(1, "a", "1"), (2, "a", "2")]),
])
def test_rows(text, rows):
    assert parse(text) == (rows, [])


@pytest.mark.parametrize("line", ["no equals", "= value", "two words = x"])
def test_complaints(line):
    rows, ((number, reason),) = parse(f"a = b\n{line}\nc = d\n")
    assert [row[1] for row in rows] == ["a", "c"] and number == 2 and "write name = value" in reason


@given(st.text(max_size=200))
def test_total(text):
    rows, complaints = parse(text)
    assert all(name and name.strip() == name and "=" not in name for _, name, _ in rows)
    assert len(rows) + len(complaints) <= text.count("\n") + 1


@given(st.dictionaries(st.from_regex(r"[a-z]+\.[a-z_]+", fullmatch=True), st.from_regex(r"([a-z0-9:,/.-]+ ?)*[a-z0-9]|", fullmatch=True)))
def test_what_is_written_is_read(values):
    rows, complaints = parse("".join(f"{name} = {value}\n" for name, value in values.items()))
    assert {name: value for _, name, value in rows} == values and not complaints
