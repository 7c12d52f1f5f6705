"""users: the users file, pymta-users(5)."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats import users
from pymta.formats.users import User, decode, encode

ROWS = [
    (b"alice@example.test", User("alice", "example.test", "", "", "", 1)),
    (b"  Alice@Example.TEST  ", User("alice", "example.test", "", "", "", 1)),
    (b"alice", User("alice", "", "", "", "", 1)),
    (b"alice@example.test # a comment", User("alice", "example.test", "", "", "", 1)),
    (b"bob@example.test:1005:1006:/srv/mail/bob", User("bob", "example.test", "1005", "1006", "/srv/mail/bob", 1)),
    (b"bob@example.test:vmail", User("bob", "example.test", "vmail", "", "", 1)),
    (b"bob@example.test:::/srv/a:b", User("bob", "example.test", "", "", "/srv/a:b", 1)),
    (b"alice@example.test:quota=500M", User("alice", "example.test", "", "", "", 1, "500M")),
    (b"bob@example.test:1005:1006:/srv/a:b:quota=0 # any", User("bob", "example.test", "1005", "1006", "/srv/a:b", 1, "0")),
    (b"carol:without=MOVE,STATUS=SIZE:quota=1G", User("carol", "", "", "", "", 1, "1G", "MOVE,STATUS=SIZE")),
    (b"carol:5:5:/srv/a:b:quota=1G:without=LITERAL+", User("carol", "", "5", "5", "/srv/a:b", 1, "1G", "LITERAL+")),
    (b"carol:quota=20G:pop3= 30d ", User("carol", "", "", "", "", 1, "20G", "", "30d")),
    (b"carol:::/srv/c:pop3=unseen:quota=1", User("carol", "", "", "", "/srv/c", 1, "1", "", "unseen")),
    (b"carol:::quota=20G", User("carol", "", "", "", "", 1, "20G")),
    (b"mary-ann+x@example.test\r", User("mary-ann+x", "example.test", "", "", "", 1)),
]
BAD = [b"@example.test", b"alice@", b"a b@example.test", b"../x@example.test", b"a/b@example.test", b".hidden@example.test", b"-x@example.test",
       b"alice@exa mple", b"alice@a/b", b"alice@..", b"x" * 65 + b"@example.test", b"al\x00ice@example.test", b"a:0", b"a:root", b"a:00", b"a::0",
       b"a:5:5:relative", b"a:::/srv/../etc", b"a:4294967295", b"a:-1", b"a:quota=", b"a:quota=x", b"a:quota=-5", b"a:quota=5T", b"a:quota=1:/home/a", b"a:quota=9999999999999999", b"a:without=", b"a:without=MO VE", b"a:quota=1:quota=2",
       b"a:pop3=", b"a:pop3=new", b"a:pop3=-1d", b"a:pop3=all:pop3=all", "a:pop3=٣d".encode(), b"a:x y", b"\xff\xfe", "jürgen".encode(), b"a:1 2"]


@pytest.mark.parametrize("line, user", ROWS)
def test_line(line, user):
    table = decode(line + b"\n")
    assert list(table.by_name.values()) == [user] and not table.complaints
    assert decode(line).by_name == table.by_name                # the last newline may be missing
    assert decode(encode(user)).by_name == table.by_name


@pytest.mark.parametrize("line", BAD)
def test_bad_line_is_named_and_the_others_hold(line):
    table = decode(b"# users\nalice@example.test\n" + line + b"\nbob@example.test\n")
    assert list(table.by_name) == ["alice@example.test", "bob@example.test"]
    (number, reason), = table.complaints
    assert number == 3 and reason.isprintable() and ";" in reason


def test_the_first_of_two_lines_holds():
    table = decode(b"a@x.test:5\nA@x.test:6\n")
    assert table.by_name["a@x.test"].uid == "5"
    assert [number for number, _ in table.complaints] == [2]


def test_domains_in_order():
    assert list(decode(b"a@x.test\nb@y.test\nc\nd@x.test\n").domains) == ["x.test", "y.test"]


@given(st.binary(max_size=200))
def test_total(data):
    for name, user in decode(data).by_name.items():
        assert users.is_safe_name(user.local) and "/" not in name
        assert decode(encode(user)).by_name[name] == User(user.local, user.domain, user.uid, user.gid, user.home, 1)
