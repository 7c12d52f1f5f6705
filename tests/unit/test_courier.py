"""Courier's files: rows of (bytes, meaning), as Courier 5.0.13 wrote them; any bytes are read without a surprise."""
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats import courier
from pymta.formats.courier import Row, Sizelist
from pymta.formats.uidlist import Uidlist, decode

SIZELIST = b"""/3 12 777
1000000001.M1P1.host:2,S 21 7:777:0
1000000002.M1P1.host:2,S 21 8:0:0
1000000006.M1 x+\xc3\xa9.host:2, 17 0:0:1
"""


def test_three_generations_of_the_sizelist():
    third = courier.decode_sizelist(SIZELIST)
    assert third == Sizelist(12, 777, [Row(b"1000000001.M1P1.host:2,S", 21, 7, 777), Row(b"1000000002.M1P1.host:2,S", 21, 8, 0),
                                       Row(b"1000000006.M1 x+\xc3\xa9.host:2,", 17, 0, 0, 1)])
    assert courier.encode_sizelist(third) == SIZELIST
    assert [row.uidl for row in third.rows] == [b"UID7-777", b"UID8", b"1000000006.M1+20x+2B+C3+A9.host"]
    assert courier.decode_sizelist(b"/2 9 777\na:2,S 21 7:777\nnonsense\nb 3 8:0\n") \
        == Sizelist(9, 777, [Row(b"a:2,S", 21, 7, 777), Row(b"b", 3, 8, 0)])
    assert courier.decode_sizelist(b"a:2,S 21\nb 3\n") == Sizelist(1, 0, [Row(b"a:2,S", 21, 0, 0), Row(b"b", 3, 0, 0)])


def test_the_row_that_shows_a_uidl():
    for name, uidl in ((b"a:2,S", b"UID7-9"), (b"a:2,S", b"UID7"), (b"a:2,S", b"a"), (b"a b:2,", b"a+20b")):
        row = courier.row_of(name, 5, uidl, False)
        assert row is not None and row.uidl == uidl
    for uidl in (b"0000000100000309", b"UID07-9", b"UID0", b"b"):
        assert courier.row_of(b"a:2,S", 5, uidl, False) is None


LIST = b"b\n$Junk\nfoo\n\n1000000001.M1P1.host:1 2\n1000000002.M1P1.host:0\n"


def test_keywords_and_what_is_newer_than_the_list():
    files = [(b":list", LIST), (b".5984874.1000000002.M1P1.host", b"b\n"), (b".5984875.1000000002.M1P1.host", b"c\nd\n"),
             (b"1000000004.M1P1.host", b"zz\n"), (b"1000000001.M1P1.host", b"")]
    assert courier.decode_keywords(files) == {b"1000000002.M1P1.host": ["c", "d"], b"1000000004.M1P1.host": ["zz"]}
    assert courier.decode_keywords(files[:1]) == {b"1000000001.M1P1.host": ["$Junk", "foo"], b"1000000002.M1P1.host": ["b"]}
    assert courier.decode_keywords([(b":list", b"\n")]) == {}


def test_names_of_folders_and_subscriptions():
    data = "INBOX.Nüu.x\nINBOX\nINBOX.Entw&APw-rfe\nINBOX.A&B\nother\n".encode()
    assert courier.decode_subscribed(data) == ["Nüu.x", "INBOX", "Entwürfe", "A&B"]
    assert courier.encode_subscribed(["Nüu.x", "INBOX"], utf7=False) == "INBOX.Nüu.x\nINBOX\n".encode()
    assert courier.encode_subscribed(["Nüu.x", "INBOX"], utf7=True) == b"INBOX.N&APw-u.x\nINBOX\n"


def test_uids_are_version_1_of_the_uidlist():
    listed = Uidlist(795461206, 3, uids={b"1000000001.M1P1.host": 1, b"x y": 2})
    assert courier.encode_uiddb(listed) == b"1 795461206 3\n1 1000000001.M1P1.host\n2 x y\n"
    again = decode(courier.encode_uiddb(listed))
    assert (again.uidvalidity, again.next, again.uids) == (795461206, 3, listed.uids)


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=5)
BASE = st.binary(min_size=1, max_size=9).filter(lambda base: not set(base) & set(b"\n:/\0") and base[:1] != b".")


@given(st.dictionaries(BASE, st.lists(WORD, min_size=1, max_size=4, unique=True)))
def test_keywords_come_back(found):
    again = courier.decode_keywords([(b":list", courier.encode_keywords(found))])
    assert {base: set(words) for base, words in again.items()} == {base: set(words) for base, words in found.items()}


@given(st.binary())
def test_any_bytes(data):
    courier.decode_sizelist(data)
    courier.decode_subscribed(data)
    courier.decode_keywords([(b":list", data), (data, data)])


@given(BASE, st.integers(0, 1 << 40), st.integers(0, 99), st.integers(0, 99))
def test_rows_come_back(base, size, uid, uidv):
    listed = Sizelist(9, 7, [Row(base + b":2,S", size, uid, uidv)])
    assert courier.decode_sizelist(courier.encode_sizelist(listed)) == listed
