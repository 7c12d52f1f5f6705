"""Quotas in pymta-local: who has no room, who is told, and when there is room again."""
from __future__ import annotations

import os

import pytest

from pymta import clock
from pymta.queue import full
from pymta.queue.full import Full, Mark
from tests.queuebox import Box


@pytest.fixture
def box(tmp_path, monkeypatch) -> Box:
    monkeypatch.chdir(tmp_path)
    return Box(str(tmp_path), "local.quota = 20K\n")


def turn(box: Box, runner, local) -> None:
    """Everything that is there goes one step on."""
    runner.look()
    local.look()
    runner.look()


def deliver(box: Box, size: int, *to: bytes) -> None:
    box.accept(b"ann@client.example", list(to) or [b"alice@example.test"], size=size)


@pytest.mark.parametrize("to", [[b"alice@example.test"], [b"alice@example.test", b"bob@example.test"]], ids=["rename", "copy"])
def test_a_mailbox_fills_up(box: Box, to: list[bytes], capfd) -> None:
    runner, local = box.runner(), box.local()
    for _ in range(2):
        deliver(box, 8000, *to)
        turn(box, runner, local)
    assert len(box.mail("alice")) == 2 and not local.full.marks
    deliver(box, 8000, *to)
    turn(box, runner, local)
    assert len(box.mail("alice")) == 2 and box.queue()          # it waits
    assert "status=4.2.2" in capfd.readouterr().err
    mark = Full()
    assert mark and set(mark.marks) == {address.decode() for address in to}
    held = mark.marks["alice@example.test"]
    assert held.quota == 20480 and held.need > 8000 > held.room
    assert not held.fits(8000) and held.fits(1300)


def test_a_small_message_fits_where_a_big_one_did_not(box: Box) -> None:
    runner, local = box.runner(), box.local()
    deliver(box, 15_000)
    deliver(box, 15_000)
    deliver(box, 100)
    turn(box, runner, local)
    assert len(box.mail("alice")) == 2
    assert local.full.marks["alice@example.test"].fits(0)


def test_a_message_that_can_never_fit_is_returned(box: Box, capfd) -> None:
    runner, local = box.runner(), box.local()
    deliver(box, 30_000)
    turn(box, runner, local)
    assert not box.mail("alice") and "status=5.2.3" in capfd.readouterr().err


def test_room_again(box: Box) -> None:
    runner, local = box.runner(), box.local()
    deliver(box, 15_000)
    turn(box, runner, local)
    deliver(box, 15_000)
    turn(box, runner, local)
    reader = Full()
    assert reader
    new = f"{box.maildir('alice')}/new"
    from pymta import mailbox
    store = mailbox.MailStore(box.maildir("alice"))
    inbox = store.open("INBOX")
    inbox.expunge([message.uid for message in inbox.messages])
    store.close(inbox)
    assert not os.listdir(new)
    again = box.local()                                         # also after a restart
    again.look()
    assert not again.full.marks and not os.listdir(full.PLACE)
    assert not Full()


def test_a_quota_that_is_taken_away(box: Box) -> None:
    runner, local = box.runner(), box.local()
    deliver(box, 15_000)
    deliver(box, 15_000)
    turn(box, runner, local)
    assert local.full.marks
    users = open(f"{box.etc}/users", encoding="ascii").read()
    box.write("etc/users", users.replace("alice@example.test:", "alice@example.test:", 1).replace("\n", ":quota=0\n", 1))
    local.look()
    assert not local.full.marks and not os.listdir(full.PLACE)


def test_without_a_quota_nothing_is_counted(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    box = Box(str(tmp_path))
    runner, local = box.runner(), box.local()
    deliver(box, 50_000, b"alice@example.test", b"bob@example.test")
    deliver(box, 50_000)
    turn(box, runner, local)
    assert len(box.mail("alice")) == 2 and not os.path.exists(f"{box.maildir('alice')}/maildirsize")


@pytest.mark.parametrize("address", ["a@b.example", "a b@c.example", "ü@b.example", "x" * 60 + "@" + "y" * 180 + ".example", "a/b@c.example", ".a@b.example"])
def test_marks_are_read_as_they_were_written(box: Box, address: str) -> None:
    marks = full.Marks()
    marks.note(address, 5, 1000, 10)
    assert full.Marks().marks == {address: Mark(address, 5, 10, 1000)} == marks.marks
    assert all(len(os.fsencode(name)) <= 255 for name in os.listdir(full.PLACE))
    marks.note(address, 500, 1000)
    assert not os.listdir(full.PLACE) and not marks.marks


def test_readers_look_once_a_second(box: Box, monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(clock, "tick", lambda: now)
    reader, marks = Full(), full.Marks()
    assert not reader
    marks.note("a@b.example", 5, 1000, 10)
    assert not reader
    now += 1
    assert reader
    with open(f"{full.PLACE}/nonsense", "wb") as file:
        file.write(b"\xff nonsense")
    now += 1
    assert list(reader.marks) == ["a@b.example"] and reader
