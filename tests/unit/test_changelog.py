"""Mod-sequences: who was told HIGHESTMODSEQ has been told every change up to it, and it never falls."""
from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import mailbox
from pymta.formats import changes
from pymta.formats.changes import GONE, Line
from pymta.mailbox import changelog
from pymta.mailbox.folder import Folder


def text(number: int) -> bytes:
    return b"Subject: %d\n\nx\n" % number


@pytest.fixture
def store(tmp_path):
    return mailbox.MailStore(str(tmp_path / "Maildir"))


@pytest.fixture
def folder(store):
    folder = store.open("INBOX")
    folder.append_all([(text(number), (), None) for number in range(10)])
    yield folder
    store.close(folder)


@pytest.fixture
def other(folder):
    """The same folder as another process has it."""
    other = Folder(folder.root, "INBOX")
    other.open()
    yield other
    other.close()
    other.forget()


def again(folder: Folder) -> Folder:
    """The folder as a process finds it that starts now."""
    fresh = Folder(folder.root, "INBOX", watched=False)
    fresh.open()
    return fresh


def uids(messages) -> list[int]:
    return [message.uid for message in messages]


def log_of(folder: Folder) -> str:
    return os.fsdecode(folder.changelog.path)


@pytest.mark.parametrize("line", [Line(5, 7, b"FS", ((1, 1), (3, 9))), Line(5, 7, b"", ((1, 4294967295),)), Line(5, 7, GONE, ((2, 2),)),
                                  Line(9, 0, b"a b%\n%20", ((2, 2),))])
def test_lines_there_and_back(line):
    assert changes.decode(changes.encode(line)) == [line]


@pytest.mark.parametrize("data", [b"1 2 =S\n", b"x 2 =S 1\n", b"1 2 ?S 1\n", b"1 2 =S 0\n", b"1 2 =S 5:4\n", b"1 2 =S 1:99999999999\n", b"\n"])
def test_a_bad_line_is_refused(data):
    with pytest.raises(ValueError):
        changes.decode(data)


def test_ranges():
    assert changes.ranges_of([1, 2, 3, 7]) == ((1, 3), (7, 7))
    assert changes.all_but([2, 3, 7], 10) == ((1, 1), (4, 6), (8, 9))
    assert changes.all_but([], 1) == ()


def test_each_change_has_a_number(folder):
    first = folder.highestmodseq
    assert first > 1_000_000_000 and uids(folder.changed_since(first - 1)) == list(range(1, 11))
    assert folder.changed_since(first) == [] and folder.vanished_since(first) == ()
    folder.set_flags([2, 3], "add", ["\\Seen"])
    second = folder.highestmodseq
    assert second > first and uids(folder.changed_since(first)) == [2, 3]
    assert folder.modseq_of(folder.get(2)) == folder.modseq_of(folder.get(3)) == second
    folder.expunge([3, 4, 9])
    third = folder.highestmodseq
    assert third > second and folder.vanished_since(second) == ((3, 4), (9, 9)) and folder.vanished_since(third) == ()
    folder.append(text(11))
    assert folder.highestmodseq > third and uids(folder.changed_since(third)) == [11]
    assert folder.vanished_since(1) == ((3, 4), (9, 9))          # before all that is known: whatever is not there


def test_claiming_new_mail_changes_no_flag(folder):
    first = folder.highestmodseq
    folder.claim_recent()
    fresh = again(folder)
    assert folder.highestmodseq == fresh.highestmodseq == first
    fresh.close()


def test_what_happened_while_nobody_looked(folder):
    first = folder.highestmodseq
    folder.set_flags([1], "add", ["\\Seen"])
    seen = folder.highestmodseq
    paths = {uid: os.fsdecode(folder.path(uid)) for uid in (5, 6)}
    root = os.fsdecode(folder.directory)
    os.rename(paths[5], f"{root}/cur/{os.path.basename(paths[5]).partition(':')[0]}:2,F")
    os.unlink(paths[6])
    with open(f"{root}/new/9999999999.x", "wb") as file:
        file.write(text(20))
    fresh = again(folder)
    assert fresh.highestmodseq > seen
    assert uids(fresh.changed_since(first)) == [1, 5, 11] and uids(fresh.changed_since(seen)) == [5, 11]
    assert fresh.vanished_since(seen) == ((6, 6),)
    fresh.close()


def test_two_processes_give_the_same_numbers(folder, other):
    dice = random.Random(2)
    told = [folder.highestmodseq, other.highestmodseq]
    for number in range(60):
        for one in (folder, other) if dice.random() < 0.5 else (other, folder):
            some = [message.uid for message in one.messages if dice.random() < 0.2]
            match dice.randrange(4):
                case 0:
                    one.append(text(100 + number))
                case 1 if len(one.messages) > 5:
                    one.expunge(some[:2])
                case _:
                    one.set_flags(some, dice.choice(["add", "remove"]), [dice.choice(["\\Seen", "\\Flagged"])])
        folder.sync()
        other.sync()
        folder.sync()
        now = [folder.highestmodseq, other.highestmodseq]
        assert now[0] == now[1] >= max(told)
        told = now
        assert {m.uid: folder.modseq_of(m) for m in folder.messages} == {m.uid: other.modseq_of(m) for m in other.messages}
    assert folder.vanished_since(folder.changelog.floor) == other.vanished_since(other.changelog.floor)
    fresh = again(folder)
    assert fresh.highestmodseq == told[0]
    assert {m.uid: folder.modseq_of(m) for m in folder.messages} == {m.uid: fresh.modseq_of(m) for m in fresh.messages}
    fresh.close()


def test_a_change_that_was_not_seen_yet_holds_the_number_down(folder, other, monkeypatch):
    first = folder.highestmodseq
    assert other.highestmodseq == first
    monkeypatch.setattr(other.scanner, "look", set)
    folder.set_flags([4], "add", ["\\Seen"])
    assert folder.highestmodseq > first and other.highestmodseq == first
    monkeypatch.undo()
    other.sync()
    assert other.highestmodseq == folder.highestmodseq


@pytest.mark.parametrize("damage", ["removed", "torn", "cut", "strange", "other boot", "other uidlist"])
def test_a_log_that_is_lost_begins_above_all_that_was_told(folder, damage, monkeypatch):
    first = folder.highestmodseq
    for _ in range(3):
        folder.set_flags([1], "add", ["\\Seen"])
        folder.set_flags([1], "remove", ["\\Seen"])
    folder.expunge([2])
    told = folder.highestmodseq
    match damage:
        case "removed":
            os.unlink(log_of(folder))
        case "torn":
            os.truncate(log_of(folder), os.path.getsize(log_of(folder)) - 1)
        case "cut":
            os.truncate(log_of(folder), 10)
        case "strange":
            with open(log_of(folder), "ab") as file:
                file.write(bytes(30) + b"\n")
        case "other boot":
            monkeypatch.setattr(changelog, "boot_id", lambda: b"another")
        case "other uidlist":
            with open(log_of(folder), "ab") as file:
                file.write(b"9999999999999 1 =S 1\n")
    fresh = again(folder)
    assert fresh.highestmodseq > told
    assert uids(fresh.changed_since(told)) == uids(fresh.messages) and fresh.vanished_since(first) == ((2, 2),)
    fresh.close()
    if damage != "other boot":
        folder.set_flags([3], "add", ["\\Flagged"])
        assert folder.highestmodseq >= told
        assert 3 in uids(folder.changed_since(told))


def test_numbers_stay_below_the_ceiling_on_disk(folder, monkeypatch):
    monkeypatch.setattr(changelog, "STRIDE", 20)
    monkeypatch.setattr(changelog, "_SPARE", 5)
    folder.highestmodseq
    for number in range(60):
        folder.set_flags([1], "remove" if number % 2 else "add", ["\\Seen"])
        with open(folder.uidlist.path, "rb") as file:
            ceiling = max(int(word[1:]) for word in file.readline().split() if word[:1] == b"M")
        assert folder.highestmodseq <= ceiling
    assert folder.highestmodseq >= folder.changelog.floor + 60


def test_a_folder_that_cannot_be_written_has_no_numbers(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "no space")
    monkeypatch.setattr("pymta.durable.replace", refuse)
    assert folder.highestmodseq == 0
    monkeypatch.undo()
    assert folder.highestmodseq > 0


def test_a_disk_that_fills_up_loses_no_change(folder, monkeypatch):
    first = folder.highestmodseq

    def refuse(*_, **__):
        raise OSError(28, "no space")
    monkeypatch.setattr("pymta.durable.append", refuse)
    folder.set_flags([5], "add", ["\\Seen"])
    monkeypatch.undo()
    assert folder.highestmodseq > first and uids(folder.changed_since(first)) == [5]


# ---- who did it -------------------------------------------------------------------------------------------------------
class By:
    who = changes.who("imaps", "192.0.2.7", "A mail, 1.0")


def lines_of(folder) -> list[Line]:
    with open(log_of(folder), "rb") as file:
        return changes.decode(file.read().partition(b"\n")[2])


def test_a_line_says_who_and_one_without_is_read_too():
    line = Line(5, 7, GONE, ((2, 2),), By.who)
    assert changes.encode(line) == b"5 7 - 2 imaps,192.0.2.7,A%20mail;%201.0\n" and changes.decode(changes.encode(line)) == [line]
    assert changes.who_text(line) == "imaps,192.0.2.7,A mail; 1.0"
    assert changes.decode(b"5 7 =S 1:4\n5 7 - 2\n") == [Line(5, 7, b"S", ((1, 4),)), Line(5, 7, GONE, ((2, 2),))]
    assert b" " not in changes.who("\0\n\x7fé " * 99) and len(changes.who("é" * 999)) <= 600
    with pytest.raises(ValueError):
        changes.decode(b"5 7 - 2 who else\n")


def test_what_somebody_did_is_written_down_though_nobody_asked_for_numbers(store, folder):
    assert not os.path.exists(log_of(folder))
    folder.set_flags([1], "add", ["\\Seen"])
    assert not os.path.exists(log_of(folder)), "nobody we could name"
    folder.set_flags([2, 3], "add", ["\\Flagged"], By())
    folder.expunge([3], By())
    assert [(line.info, line.uids, line.who) for line in lines_of(folder) if line.who] == [(b"F", ((2, 3),), By.who), (GONE, ((3, 3),), By.who)]
    told = folder.highestmodseq
    assert again(folder).highestmodseq == told


def test_who_was_first_to_see_it_does_not_hide_who_did_it(folder, other):
    assert other.highestmodseq == folder.highestmodseq
    real = folder.changelog.record

    def late(what):
        if what:
            other.sync()                                # sees the new name, and writes it down as found on the disk
        real(what)
    folder.changelog.record = late
    folder.set_flags([1], "add", ["\\Seen"], By())
    mine = [line for line in lines_of(folder) if line.uids == ((1, 1),)]
    assert [line.who for line in mine] == [b"", By.who]
    other.sync()
    assert other.highestmodseq == folder.highestmodseq == mine[-1].modseq


# ---- compaction -------------------------------------------------------------------------------------------------------
def test_compaction_says_the_same_of_every_message(store, folder, monkeypatch):
    start = folder.highestmodseq
    for turn in range(30):
        folder.set_flags([1 + turn % 9], "add" if turn % 2 else "remove", ["\\Seen", "\\Flagged"][turn % 3 == 0:][:1], By())
    folder.expunge([4], By())
    middle = folder.highestmodseq
    folder.append(text(99), by=By())
    before = {message.uid: folder.modseq_of(message) for message in folder.messages}
    highest, gone, size = folder.highestmodseq, folder.vanished_since(start), os.path.getsize(log_of(folder))
    folder.changelog.compact()
    assert os.path.getsize(log_of(folder)) < size and os.path.getsize(os.path.join(os.fsdecode(folder.directory), "pymta-changes.old")) == size
    for one in (folder, again(folder)):
        assert one.highestmodseq == highest and one.vanished_since(start) == gone == ((4, 4),) and one.vanished_since(middle) == ()
        assert {message.uid: one.modseq_of(message) for message in one.messages} == before
    folder.set_flags([1], "add", ["\\Draft"])
    assert folder.highestmodseq > highest


def test_a_log_that_grows_is_compacted_and_others_go_on(folder, other, monkeypatch):
    monkeypatch.setattr(changelog, "_COMPACT_OCTETS", 2000)
    assert other.highestmodseq == folder.highestmodseq
    folder.changelog._compact_at = other.changelog._compact_at = 2000
    for turn in range(200):
        one = (folder, other)[turn % 2]
        one.set_flags([1 + turn % 7], "add" if turn % 4 < 2 else "remove", ["\\Seen"], By())
        (folder, other)[not turn % 2].sync()
    assert os.path.getsize(log_of(folder)) < 2500
    assert folder.highestmodseq == other.highestmodseq
    assert {m.uid: folder.modseq_of(m) for m in folder.messages} == {m.uid: other.modseq_of(m) for m in other.messages}


def test_expunges_of_long_ago_raise_the_floor(folder, monkeypatch):
    start = folder.highestmodseq
    folder.expunge([2], By())
    between = folder.highestmodseq
    monkeypatch.setattr(changelog, "_GONE_KEEP_S", -1.0)
    folder.changelog.compact()
    fresh = again(folder)
    assert fresh.highestmodseq == between and fresh.vanished_since(between) == ()
    assert (2, 2) in fresh.vanished_since(start) and fresh.vanished_since(start) == fresh.vanished_since(0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(1, 6)), max_size=40))
def test_what_is_compacted_ends_alike(events):
    """Whatever came in whatever order: the last word on each message stays, and numbers told are not forgotten."""
    lines, gone = [], set()
    for number, (kind, first, last) in enumerate(events, 101):
        uids = [uid for uid in range(min(first, last), max(first, last) + 1) if uid not in gone]
        if uids:
            lines.append(Line(number, number, GONE if not kind else (b"S", b"F")[kind - 1], changes.ranges_of(uids)))
            gone |= set(uids) if not kind else set()
    for since, most in ((0, 99), (0, 1), (120, 2), (999, 99)):
        floor, kept = changes.compacted(100, lines, since=since, gone_max=most)
        assert ends(kept, floor) == ends(lines, 100) or floor > 100
        assert max([floor, *(line.modseq for line in kept)]) == max([100, *(line.modseq for line in lines)]) or not kept
        assert {uid: word for uid, word in ends(kept, 0).items() if word[1] is not GONE} \
            == {uid: word for uid, word in ends(lines, 0).items() if word[1] is not GONE}
        assert all(line in lines for line in kept if line.info is GONE)
        assert not [line for line in lines if line.info is GONE and line not in kept and line.modseq > floor]


def ends(lines, floor):
    found = {}
    for line in lines:
        for first, last in line.uids:
            found.update(dict.fromkeys(range(first, last + 1), (line.modseq, line.info)))
    return found
