"""dovecot-acl and what it grants; pymta-shares."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats import acl, shares
from pymta.formats.acl import Entry
from pymta.mailbox import rights

BEN = "ben@example.test"


@pytest.mark.parametrize(("line", "entry"), [
    (b"anyone lr", Entry("anyone", False, "lr")),
    (b"anonymous l", Entry("anyone", False, "l")),
    (b"user=ben@example.test rl", Entry(f"user={BEN}", False, "lr")),
    (b"-user=ben@example.test a", Entry(f"user={BEN}", True, "a")),
    (b'"user=a b" lr', Entry("user=a b", False, "lr")),
    (b'"-user=a \\"b" lr', Entry('user=a "b', True, "lr")),
    (b"owner :lookup read write-seen expunge", Entry("owner", False, "lrse")),
    (b"group=staff lr", Entry("group=staff", False, "lr")),
    (b"user=x", Entry("user=x", False, "")),
])
def test_lines(line: bytes, entry: Entry) -> None:
    assert acl.decode(b"# a comment\n\n" + line + b"\n") == [entry]
    assert acl.decode(acl.encode(entry) + b"\n") == [entry]


@pytest.mark.parametrize("line", [b"anyone lrQ", b"somebody lr", b"user= lr", b'"user=x lr', b"anyone :fly", b"ben lr"])
def test_a_line_that_cannot_be_read_is_said(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 2"):
        acl.decode(b"anyone lr\n" + line + b"\n")


def test_an_entry_takes_the_place_of_the_one_before() -> None:
    data = b"# by hand\nanyone lr\nuser=x l\n"
    assert acl.with_entry(data, Entry("user=x", False, "lr")) == b"# by hand\nanyone lr\nuser=x lr\n"
    assert acl.with_entry(data, Entry("user=x", False, "")) == b"# by hand\nanyone lr\nuser=x\n"
    assert acl.without(data, "anyone", False) == b"# by hand\nuser=x l\n"
    assert acl.with_entry(data, Entry("anyone", True, "r")) == data + b"-anyone r\n"


@given(st.binary(max_size=200))
def test_any_bytes_are_entries_or_an_error(data: bytes) -> None:
    try:
        entries = acl.decode(data)
    except ValueError:
        return
    assert acl.decode(b"".join(acl.encode(entry) + b"\n" for entry in entries)) == entries


@pytest.mark.parametrize(("text", "may"), [
    (b"", ""),
    (b"anyone lr", "lr"),
    (b"anyone lrw\nuser=ben@example.test l", "l"),            # the more particular one
    (b"authenticated lrs\nanyone l", "lrs"),
    (b"user=ben@example.test lrw\n-anyone w", "lr"),
    (b"-user=ben@example.test r\nanyone lr", "l"),
    (b"anyone l\nanyone r", "lr"),
    (b"anyone lrw\n-anyone w\n-user=ben@example.test r", "lw"),      # of the negative ones, too
    (b"owner lrswipkxtea\ngroup=staff lr\nuser=ann@example.test lr", ""),
])
def test_what_somebody_may(text: bytes, may: str) -> None:
    assert rights.of(acl.decode(text), BEN) == frozenset(may)


def test_shares() -> None:
    found: shares.Shares = {"anyone": ["ann@a.example", "b@a.example"], "user=b@a.example": ["ann@a.example"]}
    for whole in (True, False):
        assert shares.decode(shares.encode(found, whole=whole)) == (whole, found)
    assert shares.decode(b"1\nann@a.example anyone\nnonsense\nb@a.example any") == (True, {"anyone": ["ann@a.example"]})
    assert shares.decode(b"") == (False, {})
