"""Names of messages and folders: total on any bytes, and inverse."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats import maildir

NAMES = [   # name, base, letters, S, W
    (b"1795451102.M44310P20022.vm,S=8,W=10:2,FSabc", b"1795451102.M44310P20022.vm,S=8,W=10", b"FSabc", 8, 10),
    (b"1795451102.7.host", b"1795451102.7.host", b"", None, None),                         # new/, no sizes
    (b"1795451102.7.host:2,", b"1795451102.7.host", b"", None, None),
    (b"1795451102.7.host:2,RS,keep=this", b"1795451102.7.host", b"RS", None, None),         # further info after a comma
    (b"1795451102.7.host:1,experimental", b"1795451102.7.host", b"", None, None),
    (b"1057.R7_U5,S=4294967301,W=4300000000:2,T", b"1057.R7_U5,S=4294967301,W=4300000000", b"T", 4294967301, 4300000000),
    (b"1057.host,W=10,S=8:2,S", b"1057.host,W=10,S=8", b"S", 8, 10),
    (b"1057.host,S=8x,XS=9", b"1057.host,S=8x,XS=9", b"", None, None),
    (b"caf\xe9 \xff:2,S", b"caf\xe9 \xff", b"S", None, None),                                # no UTF-8
    (b"", b"", b"", None, None),
]


@pytest.mark.parametrize("name, base, letters, size, vsize", NAMES)
def test_parts_of_a_name(name, base, letters, size, vsize):
    assert maildir.base_of(name) == base
    assert maildir.letters_of(name) == letters
    assert (maildir.size_of(base), maildir.vsize_of(base)) == (size, vsize)


@pytest.mark.parametrize("name, letters, after", [
    (b"1.h", b"S", b"1.h:2,S"),
    (b"1.h:2,RS", b"", b"1.h:2,"),
    (b"1.h:2,RS,keep=this", b"FS", b"1.h:2,FS,keep=this"),
    (b"1.h:1,old", b"F", b"1.h:2,F"),
])
def test_other_letters(name, letters, after):
    assert maildir.with_letters(name, letters) == after


@given(st.binary(max_size=60), st.text("DFPRSTabz", max_size=8))
def test_letters_come_back_and_the_base_stays(name, letters):
    wanted = maildir.sorted_letters(letters.encode())
    changed = maildir.with_letters(name, wanted)
    assert maildir.base_of(changed) == maildir.base_of(name)
    assert maildir.letters_of(changed) == wanted


def test_flags():
    keywords = ["$Junk", None, "work"]
    assert maildir.flags_of(b"DFPRSTabcz", keywords) == {
        "\\Draft", "\\Flagged", "\\Answered", "\\Seen", "\\Deleted", "$Junk", "work"}


def test_new_names_are_unique_and_say_their_sizes():
    names = {maildir.new_base(8, 10) for _ in range(1000)}
    assert len(names) == 1000
    name = names.pop()
    assert (maildir.size_of(name), maildir.vsize_of(name)) == (8, 10)
    assert not set(b"/: \n") & set(name)
    assert maildir.vsize_of(maildir.new_base(8, None)) is None


def test_order_is_that_of_time():
    names = [b"999999999.1.h", b"1000000000.M2P1.h", b"1000000000.M10P1.h", b"1000000001.h", b"strange"]
    assert sorted(reversed(names), key=maildir.order_of) == names


@pytest.mark.parametrize("data, vsize", [(b"a\nb\n", 6), (b"a\r\nb\r\n", 6), (b"a\r\nb\n", 6), (b"\r", 1), (b"\r\r\n", 3), (b"", 0)])
def test_octets_with_crlf(data, vsize):
    assert maildir.vsize_of_data(data) == vsize


FOLDERS = [     # RFC 9051 Appendix A.1
    ("Entwürfe.x y", b".Entw&APw-rfe.x y"),
    ("~peter.mail.台北.日本語", b".~peter.mail.&U,BTFw-.&ZeVnLIqe-"),
    ("R&D", b".R&-D"),
    ("a😀b", b".a&2D3eAA-b"),
    ("INBOX.x", b".INBOX.x"),
    ("inbox", b""),
]


@pytest.mark.parametrize("mailbox, directory", FOLDERS)
def test_folder_names(mailbox, directory):
    assert maildir.folder_of(mailbox) == directory
    assert maildir.mailbox_of(directory) == (mailbox if directory else None)


@pytest.mark.parametrize("directory", [b".", b"..", b"..DOVECOT-TRASHED", b"cur", b".a.", b".a..b", b".INBOX", b".inbox"])
def test_what_is_no_folder(directory):
    assert maildir.mailbox_of(directory) is None


@given(st.one_of(st.binary(max_size=40), st.text("&-AOQ,b+é~\x7f", max_size=12).map(lambda t: t.encode("utf-8"))))
def test_any_bytes_are_a_name_and_come_back(data):
    assert maildir.encode_utf7(maildir.decode_utf7(data)) == data


@given(st.text(max_size=30))
def test_any_text_comes_back(text):
    if not any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        assert maildir.decode_utf7(maildir.encode_utf7(text)) == text


@pytest.mark.parametrize("name", ["", ".a", "a.", "a..b", "a/b", "a*", "a%", "a\x00b", "a\nb", "x" * 300, "\udc26"])
def test_names_that_cannot_be_made(name):
    assert maildir.refuse(name)


@pytest.mark.parametrize("name", ["Sent", "a.b", "INBOX.Sent", "&", "Grüße", "a b"])
def test_names_that_can(name):
    assert maildir.refuse(name) is None
