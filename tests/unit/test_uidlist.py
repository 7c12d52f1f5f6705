"""dovecot-uidlist: decode and encode are inverse; damage costs the damaged line, never a wrong mail under an old UID."""
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.formats import uidlist
from pymta.formats.uidlist import Damaged, Uidlist, UidlistFile, decode, encode

GUID = b"51f45402de68046b364e000083ecc375"
PLAIN = b"3 V1795451104 N4 G" + GUID + b"\n1 :1795451102.M44310P20022.mail,S=8,W=10\n3 :1795451190.M1P7.mail\n"


def test_a_file_of_dovecot():
    found = decode(PLAIN)
    assert (found.uidvalidity, found.next, found.guid) == (1795451104, 4, GUID)
    assert found.uids == {b"1795451102.M44310P20022.mail,S=8,W=10": 1, b"1795451190.M1P7.mail": 3}
    assert encode(found) == PLAIN


def test_unknown_keys_are_kept():
    data = b"3 V7 N9 G" + GUID + b" M1000 Xhello\n1 S12 W14 Pabc Zsome:thing :a\n2 :b\n"
    found = decode(data)
    assert found.more == [b"M1000", b"Xhello"]
    assert found.keys == {1: b"S12 W14 Pabc Zsome:thing"}
    assert uidlist.key_of(found.keys[1], b"W") == b"14"
    assert uidlist.with_key(found.keys[1], b"W", None) == b"S12 Pabc Zsome:thing"
    assert encode(found) == data


def test_next_uid_is_above_everything():
    assert decode(b"3 V7 N1 G" + GUID + b"\n5 :a\n").next == 6
    assert decode(b"3 V7 N9 G" + GUID + b"\n5 :a\n").next == 9


def test_version_1_and_courier():
    found = decode(b"1 1234 7\n2 a\n6 b:2,S\n")
    assert (found.uidvalidity, found.next, found.uids) == (1234, 7, {b"a": 2, b"b": 6})
    assert encode(found).startswith(b"3 V1234 N7\n2 :a\n6 :b\n")


DAMAGE = [  # body, what is left, next UID, lines complained of
    (b"1 :a\ngarbage\n3 :c\n", {b"a": 1, b"c": 3}, 4, [3]),
    (b"1 :a:2,S\n2 :b\r\n", {b"a": 1, b"b": 2}, 3, []),                  # what old versions wrote is no damage
    (b"1 :a\n2 b\n4 :d\n", {b"a": 1, b"d": 4}, 5, [3]),
    (b"1 :a\n7\n", {b"a": 1}, 8, [3]),                                  # a number that was given away
    (b"1 :a\n3 :c\n2 :b\n", {b"a": 1, b"b": 2, b"c": 3}, 4, [4]),       # out of order, but contradicts nobody
    (b"1 :a\n1 :b\n2 :c\n", {b"c": 2}, 3, [3]),                         # one UID, two files: neither
    (b"1 :a\n2 :a\n3 :c\n", {b"c": 3}, 4, [3]),                         # one file, two UIDs
    (b"1 :a\n1 :a\n", {b"a": 1}, 2, [3]),
    (b"0 :z\n1 :a\n", {b"a": 1}, 2, [2]),
    (b"1 :a\n99999999999 :b\n", {b"a": 1}, 2, [3]),
    (b"1 :a\n4294967290 x\n", {b"a": 1}, 2, [3]),                       # too far off to be believed
    (b"1 :../x/a\n2 :\n3 lower :c\n4 :d\n", {b"d": 4}, 5, [2, 3, 4]),
    (b"1 :a\n2 :b", {b"a": 1}, 3, [3]),                                 # torn
    (b"\0\0\0\0\n1 :a\n", {b"a": 1}, 2, [2]),
]


@pytest.mark.parametrize("body, uids, next_uid, lines", DAMAGE)
def test_damage(body, uids, next_uid, lines):
    found = decode(b"3 V7 N1\n" + body)
    assert found.uids == uids
    assert list(found.uids.values()) == sorted(found.uids.values())
    assert found.next == next_uid
    assert [number for number, _ in found.complaints] == lines


@pytest.mark.parametrize("header", [b"", b"3", b"3 N1\n", b"3 V0 N1\n", b"2 V1 N1\n", b"3 V1 N0\n", b"3 V99999999999 N1\n", b"\0" * 50 + b"\n"])
def test_a_header_that_cannot_be_read(header):
    with pytest.raises(Damaged):
        decode(header)


bases = st.lists(st.text("abc019.,=PM", min_size=1, max_size=12).map(str.encode), unique=True, max_size=12)
keys = st.lists(st.tuples(st.sampled_from("GKOPSWZ"), st.text("a1:\\é", max_size=4)), max_size=3).map(
    lambda pairs: b" ".join((letter + value).encode() for letter, value in pairs))


@given(st.integers(1, 2**32 - 1), bases, st.data())
def test_whatever_is_written_is_read_again(uidvalidity, names, data):
    uids, all_keys, uid = {}, {}, 0
    for name in names:
        uid += data.draw(st.integers(1, 1000))
        uids[name] = uid
        if words := data.draw(keys):
            all_keys[uid] = words
    written = Uidlist(uidvalidity, uid + 5, GUID, [b"M77"], uids, all_keys)
    found = decode(encode(written))
    assert (found.uids, found.keys, found.next, found.more, found.guid) == (uids, all_keys, uid + 5, [b"M77"], GUID)
    assert not found.complaints


@given(st.binary(max_size=200))
def test_garbage_never_fails_and_never_doubles(body):
    found = decode(b"3 V7 N3\n" + body)
    assert len(set(found.uids.values())) == len(found.uids)
    assert all(0 < uid < found.next for uid in found.uids.values())
    again = decode(encode(found))
    assert again.uids == found.uids and not again.complaints


@given(st.lists(st.sampled_from([b"1 :a\n", b"2 :b\n", b"3 W5 :c\n", b"3 :b\n", b"x\n", b"9 :d:2,S\n", b"7 :e\n", b"\n"]), max_size=8))
def test_the_fast_way_and_the_slow_way_agree(lines):
    body = b"".join(lines)
    fast, slow = decode(b"3 V7 N1\n" + body), Uidlist(7)
    for number, line in enumerate(lines, 2):            # a line at a time, so that one odd line does not slow the others
        uidlist.decode_entries(line, slow, number)
    if not fast.complaints:
        assert fast.uids == slow.uids and fast.keys == slow.keys and fast.next == slow.next


# ---- on disk ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def file(tmp_path):
    (tmp_path / "dovecot-uidlist").write_bytes(PLAIN)
    found = UidlistFile(os.fsencode(tmp_path))
    yield found
    found.close()


def test_refresh_reads_only_what_is_new(file, tmp_path):
    assert file.refresh() == "other"
    assert file.refresh() == "same"
    with open(tmp_path / "dovecot-uidlist", "ab") as out:
        out.write(b"4 :new\n5 :to")
    assert file.refresh() == "grown"
    assert file.list.uids[b"new"] == 4 and file.list.next == 5
    with open(tmp_path / "dovecot-uidlist", "ab") as out:
        out.write(b"rn\n")
    assert file.refresh() == "grown"
    assert file.list.uids[b"torn"] == 5


def test_refresh_sees_another_file_and_none(file, tmp_path):
    file.refresh()
    (tmp_path / "x").write_bytes(PLAIN.replace(b"V1795451104", b"V8"))
    os.rename(tmp_path / "x", tmp_path / "dovecot-uidlist")
    assert file.refresh() == "other" and file.list.uidvalidity == 8
    os.unlink(tmp_path / "dovecot-uidlist")
    assert file.refresh() == "none" and file.list is None
    (tmp_path / "dovecot-uidlist").write_bytes(b"rubbish\n")
    assert file.refresh() == "none" and "version" in file.why_unreadable()


def test_append_goes_to_the_end(file, tmp_path):
    file.refresh()
    inode = os.stat(tmp_path / "dovecot-uidlist").st_ino
    assert file.append([b"x", b"y"], {b"y": b"Kred"}) == {b"x": 4, b"y": 5}
    assert (tmp_path / "dovecot-uidlist").read_bytes() == PLAIN + b"4 :x\n5 Kred :y\n"
    assert os.stat(tmp_path / "dovecot-uidlist").st_ino == inode
    assert file.refresh() == "same"


@pytest.mark.parametrize("data", [PLAIN + b"4 :to", PLAIN + b"rubbish\n", PLAIN.replace(b" G" + GUID, b"")])
def test_append_to_a_damaged_file_mends_it(data, file, tmp_path):
    (tmp_path / "dovecot-uidlist").write_bytes(data)
    file.refresh()
    given_uids = file.append([b"x"])
    again = decode((tmp_path / "dovecot-uidlist").read_bytes())
    assert not again.complaints and len(again.guid) == 32
    assert again.uids[b"x"] == given_uids[b"x"] > 3
    assert again.uids[b"1795451190.M1P7.mail"] == 3


def test_rewrite_keeps_mode_and_next_uid(file, tmp_path):
    os.chmod(tmp_path / "dovecot-uidlist", 0o640)
    file.refresh()
    file.list.uids.clear()
    file.rewrite()
    assert os.stat(tmp_path / "dovecot-uidlist").st_mode & 0o777 == 0o640
    assert decode((tmp_path / "dovecot-uidlist").read_bytes()).next == 4


def test_no_uid_is_left(file):
    file.refresh()
    file.list.nextuid = uidlist.UID_MAX
    with pytest.raises(OverflowError):
        file.append([b"x"])
