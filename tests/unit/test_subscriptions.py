"""subscriptions: both versions read, Dovecot's newer one written."""
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats.subscriptions import decode, encode

DOVECOT = b"V\t2\n\nSent\nEntw&APw-rfe\tx y\nINBOX\n"


def test_a_file_of_dovecot():
    assert decode(DOVECOT) == ["Sent", "Entwürfe.x y", "INBOX"]
    assert encode(["Sent", "Entwürfe.x y", "INBOX"]) == DOVECOT


def test_version_1():
    assert decode(b"Sent\nA.B\r\ninbox\n\nSent\n") == ["Sent", "A.B", "INBOX"]
    assert decode(b"") == []


names = st.lists(st.text(min_size=1, max_size=8).filter(
    lambda name: not any(0xD800 <= ord(c) <= 0xDFFF for c in name) and name[0] != "." and name[-1] != "." and ".." not in name
    and name.upper() != "INBOX"), unique=True, max_size=6)


@given(names)
def test_round_trip(mailboxes):
    assert decode(encode(mailboxes)) == mailboxes


@given(st.binary(max_size=100))
def test_garbage(data):
    found = decode(data)
    assert len(set(found)) == len(found)
    decode(b"V\t2\n" + data)
