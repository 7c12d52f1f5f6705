"""aliases: sendmail's syntax, pymta-aliases(5)."""
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pymta.formats import aliases
from pymta.formats.aliases import ADDRESS, INCLUDE, MAILBOX, Target, decode, decode_list, parse_targets


def meaning(data):
    return {alias.name: [(target.kind, target.value) for target in alias.targets] for alias in decode(data).by_name.values()}


A = ADDRESS
ROWS = [
    (b"postmaster: root", {"postmaster": [(A, "root")]}),
    (b"a:b", {"a": [(A, "b")]}),
    (b"a : b", {"a": [(A, "b")]}),
    (b"Info: Alice, Bob@Y.Example", {"info": [(A, "Alice"), (A, "Bob@y.example")]}),
    (b"a: b,\n c,\n\td\n", {"a": [(A, "b"), (A, "c"), (A, "d")]}),
    (b"a: b\n , c\n", {"a": [(A, "b"), (A, "c")]}),
    (b"a:\n b\n", {"a": [(A, "b")]}),
    (b"a: b,\n# a comment\n\n  # another\n c\nd: e\n", {"a": [(A, "b"), (A, "c")], "d": [(A, "e")]}),
    (b"a: b # why\n", {"a": [(A, "b")]}),
    (b"a: b#c\n", {"a": [(A, "b#c")]}),
    (b'a: "b # c"@x.test\n', {"a": [(A, '"b # c"@x.test')]}),
    (b"a: \\b, \\C@x.test", {"a": [(MAILBOX, "b"), (MAILBOX, "C@x.test")]}),
    (b'a: "\\b"', {"a": [(MAILBOX, "b")]}),
    (b"a: :include:/etc/lists/a", {"a": [(INCLUDE, "/etc/lists/a")]}),
    (b'a: ":include:/etc/my lists/a"', {"a": [(INCLUDE, "/etc/my lists/a")]}),
    (b"a: :INCLUDE: /etc/lists/a", {"a": [(INCLUDE, "/etc/lists/a")]}),
    (b'"a": "b", "c@x.test"', {"a": [(A, "b"), (A, "c@x.test")]}),
    (b'"first last": b', {'"first last"': [(A, "b")]}),
    (b'"a:b": c', {'"a:b"': [(A, "c")]}),
    (b'a: "b,c"@x.test, d', {"a": [(A, '"b,c"@x.test'), (A, "d")]}),
    (b"info@Shop.test: bob", {"info@shop.test": [(A, "bob")]}),
    (b"info@shop.test.: bob@x.test.", {"info@shop.test": [(A, "bob@x.test")]}),
    (b"@Shop.test: bob", {"@shop.test": [(A, "bob")]}),
    (b'"@shop.test": bob', {"@shop.test": [(A, "bob")]}),
    (b"a: Bob Jones <bob@x.test>, <carol>", {"a": [(A, "bob@x.test"), (A, "carol")]}),
    (b"\xef\xbb\xbfa: b\r\nc: d\r\n", {"a": [(A, "b")], "c": [(A, "d")]}),
    (b"a: b,\n", {"a": [(A, "b")]}),
    (b"", {}),
    (b"\n\n# only comments\n", {}),
    ("jürgen: müller@x.test".encode(), {"jürgen": [(A, "müller@x.test")]}),
]

BAD = [                                                         # line, part of the reason
    (b"no colon here", "colon"), (b": b", "user:"), (b"a b: c", "quotes"), (b"a@: b", "domain"), (b"@: b", "domain"), (b"@a b: c", "domain"),
    (b'"a: b', "quote"), (b"a:", "nobody"), (b"a: ,,", "nobody"), (b"a: # nothing", "nobody"), (b'a: "b', "quote"), (b"a: b c", "comma"),
    (b"a: b@", "domain"), (b"a: b@c@d", "domain"), (b"a: |/bin/cat", "commands"), (b'a: "|/bin/cat -n"', "commands"),
    (b"a: /var/mail/a", "file"), (b'a: "/var/my mail"', "file"), (b"a: /dev/null", "file"), (b"a: :include:relative", "absolute"),
    (b"a: :include:", "absolute"), (b"a: :fail: gone", "colon"), (b"a: b, |c", "commands"), (b"a: b\x00c", "quotes"), (b"a: \\", "local part"),
    (b"a@b@c: d", "domain"), (b"a: b,\n c d\n", "comma"), (b"<a@x.test>: b", "quotes"),
]


@pytest.mark.parametrize("data, expected", ROWS)
def test_entry(data, expected):
    assert meaning(data) == expected
    assert not decode(data).complaints
    assert meaning(data + b"\n") == expected


@pytest.mark.parametrize("line, why", BAD)
def test_bad_line_is_named_and_the_others_hold(line, why):
    table = decode(b"first: x\n" + line + b"\nlast: y\n")
    assert {"first", "last"} <= {alias.name for alias in table.by_name.values() if not alias.reason} <= {"first", "last"}
    (number, reason), = table.complaints
    assert number == 2 + line.count(b"\n ") and why in reason and reason.isprintable()


def test_a_line_that_goes_on_from_nothing():
    table = decode(b"  stray\na: b\n")
    assert list(table.by_name) == ["a"] and table.complaints[0][0] == 1


def test_the_name_of_a_bad_line_is_known():
    assert decode(b"a: |cat\n").by_name["a"].reason


def test_of_two_lines_the_later_holds_and_both_are_named():
    table = decode(b"a: b\nA: c\n")
    assert table.by_name["a"].targets == (Target(ADDRESS, "c", 2),)
    (number, reason), = table.complaints
    assert number == 1 and "line 2" in reason


def test_a_bad_line_takes_no_good_one_away():
    table = decode(b"a: b\na: |cat\n")
    assert table.by_name["a"].targets and [number for number, _ in table.complaints] == [2]


def test_each_target_knows_its_line():
    assert [target.number for target in decode(b"# c\na: b,\n c\n").by_name["a"].targets] == [2, 3]


def test_list():
    targets, complaints = decode_list(b"# members\nann\n\n bob@x.test, \\carol # c\n:include:/other\n|cat\nd e\nlast")
    assert [target.value for target in targets] == ["ann", "bob@x.test", "carol", "/other", "last"]
    assert [number for number, _ in complaints] == [6, 7]


def test_targets_of_a_setting():
    assert [target.value for target in parse_targets("ann, bob@x.test")] == ["ann", "bob@x.test"]
    assert parse_targets("") == []
    with pytest.raises(ValueError):
        parse_targets("a b")


@given(st.one_of(st.binary(max_size=200), st.text('ab@x.:,"\\#<>|/ \n\t', max_size=60).map(str.encode)))
@example(b'a: "\\')
@example(b"a: <")
@example(b"a: >")
@example(b'":"')
def test_total(data):
    table = decode(data)
    for number, reason in table.complaints:
        assert 1 <= number <= data.count(b"\n") + 1 and reason.isprintable()
    for name, alias in table.by_name.items():
        assert name == alias.name and (alias.targets or alias.reason)
        assert not any(ord(char) < 32 for target in alias.targets for char in target.value)
    decode_list(data)


def test_a_big_file_in_reasonable_work():
    table = decode(b"".join(b"user%d: real%d, other@x.test\n" % (n, n) for n in range(20_000)))
    assert len(table.by_name) == 20_000 and not table.complaints


def test_the_page_shows_entries_that_work():
    page = os.path.join(os.path.dirname(__file__), "..", "..", "man", "pymta-aliases.5")
    with open(page, encoding="utf-8") as file:
        text = file.read()
    shown = text[text.index(".Bd -literal"):text.index(".Ed")].partition("\n")[2].replace("\\e", "\\")
    table = decode(shown.encode())
    assert len(table.by_name) >= 5 and not table.complaints


def test_shown_is_safe():
    assert aliases.shown("a\x1b[0m" + "b" * 200).isprintable()
