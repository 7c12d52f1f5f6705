"""maildirsize: what a mailbox holds."""
from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import clock, mailbox
from pymta.formats import maildirsize
from pymta.formats.maildirsize import Held, decode, encode


@pytest.mark.parametrize("data, held", [
    (b"1000S\n", (0, 0)), (b"1000S\n10 1\n", (10, 1)), (b"1000S,20C\n         10            1\n-4 -1\n", (6, 0)), (b"1000S\n12345 12   \n", (12345, 12)),
])
def test_what_others_write(data: bytes, held: tuple[int, int]) -> None:
    assert (decode(data).octets, decode(data).count) == held


@pytest.mark.parametrize("data", [b"", b"1000S", b"\n", b"1000\n1 1\n", b"1000S\n1 1", b"1000S\n1\n", b"1000S\nx y\n", b"1000S\n\n", b"1000S\n1 1 1\n"])
def test_what_is_no_such_file(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


@given(st.integers(-10**17, 10**17), st.integers(-10**17, 10**17))
def test_round_trip(octets: int, count: int) -> None:
    held = Held(octets, count, b"5000S")
    assert decode(encode(held)) == held


@given(st.binary(max_size=100))
def test_total(data: bytes) -> None:
    try:
        decode(data)
    except ValueError:
        pass


@pytest.fixture
def box(tmp_path) -> str:
    path = str(tmp_path / "Maildir")
    mailbox.make(path)
    return path


def put(box: str, name: str, octets: int) -> str:
    path = os.path.join(box, name)
    with open(path, "wb") as file:
        file.write(b"x" * octets)
    return path


def test_it_is_counted_when_it_is_missing_and_kept_from_then_on(box: str) -> None:
    put(box, "new/1.M1P1.h,S=100,W=101", 100)
    put(box, "cur/2.M1P1.h:2,S", 50)
    put(box, ".Trash/cur/3.M1P1.h,S=7:2,", 7)
    put(box, "tmp/4.M1P1.h", 1000)
    assert maildirsize.room(box, 1000) == 843
    assert decode(open(f"{box}/maildirsize", "rb").read()) == Held(157, 3, b"1000S")
    put(box, "new/5.M1P1.h", 500)                       # nobody said so
    assert maildirsize.room(box, 1000) == 843
    maildirsize.add(box, 43, 1)
    assert maildirsize.room(box, 1000) == 800


def test_it_is_counted_anew_for_another_quota_when_damaged_and_when_long(box: str) -> None:
    put(box, "new/1.M1P1.h", 100)
    assert maildirsize.room(box, 1000) == 900
    assert maildirsize.room(box, 500) == 400
    put(box, "maildirsize", 30)
    assert maildirsize.room(box, 500) == 400
    for _ in range(1100):
        maildirsize.add(box, 50, 1)
    assert maildirsize.room(box, 500) == 400
    assert os.stat(f"{box}/maildirsize").st_size < 50


def test_who_seems_full_is_counted_again_after_a_while(box: str, monkeypatch) -> None:
    path = put(box, "new/1.M1P1.h", 100)
    assert maildirsize.room(box, 120, 50) == 20
    os.unlink(path)
    assert maildirsize.room(box, 120, 50) == 20
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 1000)
    assert maildirsize.room(box, 120, 10) == 20         # there is no doubt where there is room
    assert maildirsize.room(box, 120, 50) == 120


def test_nobody_counts_where_there_is_no_file(box: str) -> None:
    maildirsize.add(box, 10, 1)
    assert not os.path.exists(f"{box}/maildirsize")
    assert maildirsize.room(f"{box}-not-there", 100) == 100


def test_sessions_count_what_they_add_and_remove(box: str) -> None:
    maildirsize.room(box, 10_000)
    store = mailbox.MailStore(box)
    inbox, trash = store.open("INBOX"), store.open("Trash")
    uid = inbox.append(b"Subject: x\n\n" + b"y" * 88)
    assert maildirsize.room(box, 10_000) == 9_900
    inbox.copy([uid], trash)
    assert maildirsize.room(box, 10_000) == 9_800
    inbox.expunge([uid])
    assert maildirsize.room(box, 10_000) == 9_900
    put(box, "new/1.M1P1.h", 50)                        # a size that does not stand in the name
    maildirsize.add(box, 50, 1)
    inbox.sync()
    inbox.move([message.uid for message in inbox.messages], trash)
    assert maildirsize.room(box, 10_000) == 9_850
    trash.expunge([message.uid for message in trash.messages])
    assert maildirsize.room(box, 10_000) == 10_000
    trash.append(b"Subject: x\n\n" + b"y" * 88)
    store.close(inbox)
    store.close(trash)
    store.delete("Trash")
    assert maildirsize.room(box, 10_000) == 10_000
