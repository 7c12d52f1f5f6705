"""Mailboxes of a Maildir: what every session is told, what is on disk, and what another process makes of it."""
import asyncio
import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pymta import clock, durable, mailbox
from pymta.formats import uidlist
from pymta.mailbox import Changes, Gone, MailboxExists, MailStore, NameRefused, NoSuchMailbox
from pymta.mailbox import folder as folder_module
from pymta.mailbox import actions, opened, tidying
from pymta.mailbox import store as store_module

DATA = b"From: a@b.example\nSubject: x\n\nhello\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """What is synced is asked of durable.tap; the disk need not do it."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


@pytest.fixture
def store(tmp_path):
    mailbox.make(str(tmp_path / "Maildir"), ())
    yield MailStore(str(tmp_path / "Maildir"))
    opened.forget_all()


@pytest.fixture
def inbox(store):
    folder = store.open("INBOX")
    yield folder
    store.close(folder)


@pytest.fixture
def heard(inbox):
    found = []
    inbox.add_listener(found.append)
    return found


def deliver(inbox, name, data=DATA, sub="new"):
    path = os.path.join(inbox.directory, sub.encode(), os.fsencode(name))
    with open(path, "wb") as file:
        file.write(data)


def listed(inbox):
    return decode(inbox).uids


def decode(inbox):
    with open(os.path.join(inbox.directory, b"dovecot-uidlist"), "rb") as file:
        return uidlist.decode(file.read())


def uids(found):
    return [message.uid for message in found]


def fresh(folder):
    """The folder as another process sees it."""
    other = folder_module.Folder(folder.root, folder.name)
    other.open()
    view = [(message.uid, message.flags, other.read(message.uid)) for message in other.messages], other.uidvalidity, other.uidnext
    other.close()
    other.forget()
    return view


def view(folder):
    return [(message.uid, message.flags, folder.read(message.uid)) for message in folder.messages], folder.uidvalidity, folder.uidnext


# ---- what others do -----------------------------------------------------------------------------------------------------
def test_deliveries_get_uids_in_the_order_of_their_times(inbox, heard):
    for name in ("1000000000.M9P1.h", "999999999.M1P1.h", "1000000000.M10P1.h"):
        deliver(inbox, name)
    changes = inbox.sync()
    assert [message.base for message in changes.arrived] == [b"999999999.M1P1.h", b"1000000000.M9P1.h", b"1000000000.M10P1.h"]
    assert uids(inbox.messages) == [1, 2, 3] and inbox.uidnext == 4
    assert listed(inbox) == {b"999999999.M1P1.h": 1, b"1000000000.M9P1.h": 2, b"1000000000.M10P1.h": 3}
    assert heard == [changes]
    assert all(message.new for message in inbox.messages)
    assert not inbox.sync()


def test_flags_and_removals_of_others(inbox, heard):
    inbox.append_all([(DATA, ["\\Seen"], None)] * 3)
    heard.clear()
    cur = os.path.join(inbox.directory, b"cur")
    first, second, _ = (message.name for message in inbox.messages)
    os.rename(os.path.join(cur, first), os.path.join(cur, first + b"T"))
    os.unlink(os.path.join(cur, second))
    changes = inbox.sync()
    assert (changes.expunged, uids(changes.flags), changes.arrived, changes.by) == ([2], [1], [], None)
    assert inbox.get(1).flags == {"\\Seen", "\\Deleted"} and inbox.get(2) is None
    assert heard == [changes]


def test_what_comes_back_gets_a_new_uid(inbox, tmp_path):
    inbox.append_all([(DATA, ["\\Seen"], None)] * 2)
    path = inbox.path(1)
    os.rename(path, tmp_path / "aside")
    assert inbox.sync().expunged == [1]
    os.rename(tmp_path / "aside", path)
    assert uids(inbox.sync().arrived) == [3]
    assert list(listed(inbox).values()) == [2, 3]
    assert fresh(inbox) == view(inbox)


def test_two_processes_give_each_message_one_uid(store, inbox):
    other = folder_module.Folder(inbox.root, "INBOX")
    other.open()
    told = []
    other.add_listener(told.append)
    for number in range(20):
        deliver(inbox, f"{number}.M1P1.h")
        (inbox if number % 3 else other).sync()
    other.append(DATA)
    inbox.append(DATA)
    inbox.sync(), other.sync()
    assert view(inbox) == view(other)
    arrived = [message.uid for changes in told for message in changes.arrived]
    assert arrived == sorted(arrived) and len(arrived) == 22
    inbox.expunge([3, 21])
    other.set_flags([5], "add", ["odd"])
    inbox.sync(), other.sync()
    assert view(inbox) == view(other)
    other.close()


def test_a_message_that_another_process_numbered_after_we_looked(inbox, monkeypatch):
    """A is delivered after our look; somebody else numbers A and B; reading the uidlist we must look again, or A would come late."""
    deliver(inbox, "2.B.h")
    look = inbox.scanner.look

    def late():
        found = look()
        monkeypatch.setattr(inbox.scanner, "look", look)
        deliver(inbox, "1.A.h")
        other = folder_module.Folder(inbox.root, "INBOX")
        other.open()
        other.close()
        return found

    monkeypatch.setattr(inbox.scanner, "look", late)
    assert [(message.uid, message.base) for message in inbox.sync().arrived] == [(1, b"1.A.h"), (2, b"2.B.h")]


@pytest.mark.parametrize("name", ["1.h:2,S", "1.h:2,Sa", "1.h:2,SPQz", "1.h:1,x", "x", "1.\udcff\udce9:2,F", "no time at all", "1.h,S=99,W=3"])
def test_foreign_names(store, inbox, name):
    deliver(inbox, name, sub="cur")
    inbox.sync()
    (message,) = inbox.messages
    assert inbox.read(message.uid) == DATA
    assert ("\\Seen" in message.flags) == (":2,S" in name)
    inbox.set_flags([1], "replace", ["\\Flagged"])
    assert message.flags == {"\\Flagged"}
    assert ("P" in os.fsdecode(message.name)) == ("P" in name)      # letters we do not know stay
    assert fresh(inbox) == view(inbox)


def test_sizes_are_counted_once_and_written_down(store, inbox):
    deliver(inbox, "1.h", b"a\nb\r\nc\n")
    deliver(inbox, "2.h,S=8", b"a\r\nb\r\n\r\n")
    deliver(inbox, "3.h,S=8,W=10", b"12345\n7\n")
    inbox.sync()
    assert [(message.size, message.vsize) for message in inbox.messages] == [(7, 9), (8, 8), (8, 10)]
    assert len(mailbox.crlf(inbox.read(1))) == 9
    store.close(inbox)
    inbox.users += 1
    assert decode(inbox).keys == {1: b"W9", 2: b"W8"}
    other = folder_module.Folder(inbox.root, "INBOX")
    other.open()
    assert [message.known_vsize for message in other.messages] == [9, 8, 10]
    other.close()


def test_a_line_end_on_the_border_of_two_pieces_is_counted_once(tmp_path):
    from pymta.mailbox.message import count_vsize
    path = tmp_path / "m"
    path.write_bytes(b"x" * ((1 << 20) - 1) + b"\r\n" + b"\n")
    with open(path, "rb") as file:
        assert count_vsize(file.fileno()) == (1 << 20) + 3


# ---- what we do ---------------------------------------------------------------------------------------------------------
def test_append(inbox, heard):
    assert inbox.append(DATA, ["\\Seen", "\\Recent", "$Junk"], 1e9, by="me") == 1
    assert inbox.append(DATA) == 2
    one, two = inbox.messages
    assert (one.flags, one.internaldate, one.new, one.size, one.vsize) == ({"\\Seen", "$Junk"}, 1e9, False, len(DATA), len(DATA) + 4)
    assert (two.flags, two.new) == (frozenset(), True)                  # in new/: \Recent to whoever selects first
    assert [changes.by for changes in heard] == ["me", None]
    assert os.listdir(os.path.join(inbox.directory, b"tmp")) == []
    assert fresh(inbox) == view(inbox)


def test_append_is_durable_before_the_uid_is_told(inbox, monkeypatch):
    done = []
    monkeypatch.setattr(durable, "tap", lambda word, path, *rest: done.append((word, os.path.basename(os.fsdecode(path)).split(".")[0])))
    inbox.append(DATA, ["\\Seen"])
    order = [step for step in done if step[0].startswith("sync") or step[0] in ("rename", "append")]
    assert [word for word, _ in order] == ["sync_file", "rename", "append", "sync_file", "sync_dir"]
    assert [where for _, where in order[3:]] == ["dovecot-uidlist", "cur"]


@pytest.mark.parametrize("word", ["create", "write", "sync_file", "rename", "sync_dir", "append"])
def test_append_that_fails_leaves_nothing(inbox, monkeypatch, word):
    inbox.append(DATA)

    def fail(step, path, *rest):
        if step == word and b".lock" not in os.fsencode(path):
            raise OSError(28, "no space left", path)

    monkeypatch.setattr(durable, "tap", fail)
    with pytest.raises(OSError):
        inbox.append_all([(DATA, ["\\Seen"], None), (DATA, [], None)])
    monkeypatch.setattr(durable, "tap", None)
    assert [os.listdir(os.path.join(inbox.directory, sub)) for sub in (b"tmp", b"cur")] == [[], []]
    inbox.sync()
    assert uids(inbox.messages) == [1]
    assert inbox.append(DATA) > 1 and fresh(inbox) == view(inbox)


def test_a_full_disk_costs_limbo_first(inbox, monkeypatch):
    inbox.append_all([(DATA, ["\\Seen"], None)] * 2)
    inbox.expunge([1])
    limbo = os.path.join(inbox.directory, b"pymta-limbo")

    def fail(step, path, *rest):                        # no block is left, but inodes are
        if step == "write" and rest[1] and os.listdir(limbo):
            raise OSError(28, "no space left", path)

    monkeypatch.setattr(durable, "tap", fail)
    assert inbox.append(DATA) == 3 and os.listdir(limbo) == []
    assert inbox.expunge([2]) == [2]
    assert inbox.set_flags([3], "add", ["\\Flagged"])    # limbo is not empty: nothing can be written, and flags can be set
    with pytest.raises(OSError):
        monkeypatch.setattr(durable, "tap", lambda step, *rest: fail(step, *rest) if step != "unlink" else fail("write", b"", 0, b"x"))
        inbox.append(DATA)


def test_uids_that_another_process_has_not_made_durable_yet(inbox, monkeypatch):
    """Whoever holds the lock may be between its write and its sync; before we tell, we sync ourselves."""
    inbox.append(DATA)
    deliver(inbox, "9999999999.x")
    with open(os.path.join(inbox.directory, b"dovecot-uidlist"), "ab") as file:
        file.write(b"2 :9999999999.x\n")
    done = []
    monkeypatch.setattr(durable, "tap", lambda step, path, *rest: done.append((step, os.path.basename(path))))
    open(os.path.join(inbox.directory, b"dovecot-uidlist.lock"), "w").close()
    assert uids(inbox.sync().arrived) == [2]
    assert done == [("sync_file", b"dovecot-uidlist")]
    os.unlink(os.path.join(inbox.directory, b"dovecot-uidlist.lock"))


def test_flags(inbox, heard):
    inbox.append_all([(DATA, ["\\Seen", "Work"], None)] * 3)
    heard.clear()
    assert uids(inbox.set_flags([3, 1, 99], "add", ["\\flagged", "WORK", "\\Recent", "new"], by=7)) == [1, 3]
    assert inbox.get(1).flags == {"\\Seen", "Work", "\\Flagged", "new"} and inbox.get(2).flags == {"\\Seen", "Work"}
    assert uids(heard[0].flags) == [1, 3] and heard[0].by == 7
    assert inbox.set_flags([1], "add", ["\\Seen"]) == [] and len(heard) == 1
    inbox.set_flags([1], "remove", ["work", "nobody", "\\Seen"])
    assert inbox.get(1).flags == {"\\Flagged", "new"}
    inbox.set_flags([1], "replace", ["\\Deleted", "\\Answered", "\\Draft"])
    assert inbox.get(1).flags == {"\\Deleted", "\\Answered", "\\Draft"} and inbox.get(1).name.endswith(b":2,DRT")
    assert inbox.keywords == ["Work", "new"]                            # "nobody" was only removed, so it does not exist
    assert fresh(inbox) == view(inbox)


def test_keywords_beyond_the_alphabet(inbox):
    inbox.append(DATA, [f"k{number}" for number in range(24)])
    inbox.append(DATA, ["last", "penultimate", "Over", "k1"])
    inbox.append(DATA)
    inbox.set_flags([3], "add", ["over", "two"])
    assert inbox.get(2).flags == {"last", "penultimate", "Over", "k1"}
    assert {flag.lower() for flag in inbox.get(3).flags} == {"over", "two"}
    assert fresh(inbox)[0][1][1] == inbox.get(2).flags
    inbox.set_flags([2, 3], "remove", ["OVER"])
    assert inbox.get(2).flags == {"last", "penultimate", "k1"} and inbox.get(3).flags == {"two"}
    inbox.set_flags([3], "replace", ["\\Seen"])
    assert inbox.get(3).flags == {"\\Seen"} and decode(inbox).keys == {}


def test_keywords_that_others_define(inbox, heard):
    deliver(inbox, "1.h:2,a", sub="cur")
    inbox.sync()
    assert inbox.get(1).flags == frozenset()
    with open(os.path.join(inbox.directory, b"dovecot-keywords"), "w") as file:
        file.write("0 $Label1\n")
    assert uids(inbox.sync().flags) == [1] and inbox.get(1).flags == {"$Label1"}


def test_set_flags_while_somebody_renames(inbox):
    inbox.append_all([(DATA, ["\\Seen"], None)] * 10)
    path = inbox.path(4)
    os.rename(path, path + b"T")
    rename, calls = os.rename, []

    def race(old, new):                                 # and once more, between our look and our rename
        if old.endswith(inbox.get(7).name) and not calls:
            calls.append(rename(old, old + b"T"))
        rename(old, new)

    durable.os.rename, before = race, os.rename
    try:
        inbox.set_flags(range(1, 11), "add", ["\\Flagged"])
    finally:
        durable.os.rename = before
    assert calls and all("\\Flagged" in message.flags for message in inbox.messages)
    assert {uid for uid in range(1, 11) if "\\Deleted" in inbox.get(uid).flags} == {4, 7}
    assert fresh(inbox) == view(inbox)


def test_recent_is_for_one(store, inbox):
    inbox.append_all([(DATA, [], None)] * 3)
    deliver(inbox, "9999999999.x.y")
    inbox.sync()
    assert store.status("INBOX").recent == 4
    other = folder_module.Folder(inbox.root, "INBOX")
    other.open()
    assert inbox.claim_recent() == [1, 2, 3, 4] and inbox.claim_recent() == []
    assert other.claim_recent() == []                   # ENOENT: another session won
    assert os.listdir(os.path.join(inbox.directory, b"new")) == []
    other.close()
    assert fresh(inbox) == view(inbox)


def test_recent_where_new_cannot_be_moved(inbox, monkeypatch):
    inbox.append(DATA)

    def fail(step, path, *rest):
        if step == "rename":
            raise OSError(28, "no space left")

    monkeypatch.setattr(durable, "tap", fail)
    assert inbox.claim_recent() == []
    assert inbox.read(1) == DATA and inbox.get(1).new


def test_expunge_and_limbo(inbox, heard):
    inbox.append_all([(DATA + b"%d\n" % n, ["\\Seen"], None) for n in range(5)])
    message = inbox.get(2)
    assert inbox.expunge([4, 2, 77], by="me") == [2, 4] and inbox.expunge([2]) == []
    assert (heard[-1].expunged, heard[-1].by) == ([2, 4], "me")
    assert message.expunged and inbox.read(2).endswith(b"1\n") and message.size == len(DATA) + 2
    assert uids(inbox.messages) == [1, 3, 5] and inbox.uidnext == 6
    other = folder_module.Folder(inbox.root, "INBOX")
    other.open()
    told = []
    other.add_listener(told.append)
    inbox.expunge([1])
    other.sync()
    assert told[0].expunged == [1] and other.read(1).endswith(b"0\n")   # whoever expunged it
    other.close()
    with pytest.raises(Gone):
        inbox.read(77)
    os.unlink(inbox.path(4))
    with pytest.raises(Gone):
        inbox.read(4)


def test_what_dovecot_unlinks_is_gone(inbox):
    inbox.append(DATA)
    os.unlink(inbox.path(1))
    with pytest.raises(Gone):
        inbox.read(1)
    assert inbox.messages == []


def test_uidnext_is_kept_when_the_last_messages_go(inbox):
    inbox.append_all([(DATA, [], None)] * 300)
    inbox.expunge(range(1, 301))
    assert listed(inbox) == {} and decode(inbox).next == 301            # rewritten: a quarter of the lines was dead
    assert fresh(inbox)[2] == 301
    assert inbox.append(DATA) == 301


def test_expunged_mail_is_kept_as_long_as_is_asked_for(inbox, monkeypatch):
    monkeypatch.setattr(tidying, "LIMBO_KEEP_S", 0.0)   # so that it is as it was, afterwards
    inbox.append_all([(DATA, [], None)] * 3)
    inbox.expunge([1, 2, 3])
    real = clock.now
    for keep_s, later_s, left in ((86400, 80000, 3), (0, 3500, 3), (0, 3700, 0), (float("inf"), 1e9, 0)):
        tidying.keep_expunged(keep_s)
        inbox.tidied_at = 0.0
        monkeypatch.setattr(clock, "now", lambda later_s=later_s: real() + later_s)
        tidying.tidy(inbox)
        assert len(os.listdir(os.path.join(inbox.directory, b"pymta-limbo"))) == left


def test_limbo_is_swept_after_a_while(inbox, monkeypatch):
    inbox.append_all([(DATA, [], None)] * 2)
    inbox.expunge([1, 2])
    tidying.tidy(inbox)
    assert len(os.listdir(os.path.join(inbox.directory, b"pymta-limbo"))) == 2
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 2 * 3600)
    tidying.tidy(inbox)
    assert os.listdir(os.path.join(inbox.directory, b"pymta-limbo")) == []


def test_copy(store, inbox, heard):
    store.create("Töne.x")
    target = store.open("Töne.x")
    target.append(DATA, ["own"])
    inbox.append_all([(DATA + b"%d\n" % n, ["\\Seen", f"k{n}"], 1e9 + n) for n in range(3)] + [(DATA, [], None)])
    assert inbox.copy([4, 3, 1, 99], target, by="me") == [(1, 2), (3, 3), (4, 4)]
    assert [(m.flags, m.internaldate) for m in target.messages[1:3]] == [({"\\Seen", "k0"}, 1e9), ({"\\Seen", "k2"}, 1e9 + 2)]
    assert target.read(3) == inbox.read(3) and target.get(4).new
    assert os.stat(target.path(3)).st_ino == os.stat(inbox.path(3)).st_ino      # a link
    assert target.get(3).vsize == inbox.get(3).vsize
    assert inbox.copy([2], inbox) == [(2, 5)]
    inbox.expunge([3])
    assert target.read(3).endswith(b"2\n")
    assert fresh(target) == view(target)
    store.close(target)


def test_copy_is_all_or_nothing(store, inbox, monkeypatch):
    store.create("T")
    target = store.open("T")
    inbox.append_all([(DATA, ["\\Seen"], None)] * 5)
    count = []

    def fail(step, old, *rest):
        if step == "link" and b".lock" not in os.fsencode(old):
            count.append(1)
            if len(count) == 4:
                raise OSError(122, "over quota")

    monkeypatch.setattr(durable, "tap", fail)
    with pytest.raises(OSError):
        inbox.copy(range(1, 6), target)
    monkeypatch.setattr(durable, "tap", None)
    target.sync()
    assert target.messages == [] and os.listdir(os.path.join(target.directory, b"cur")) == []
    store.close(target)


@pytest.mark.parametrize("number", [18, 31])            # EXDEV, EMLINK
def test_copy_where_links_are_impossible(store, inbox, monkeypatch, number):
    store.create("T")
    target = store.open("T")
    inbox.append(DATA, ["\\Seen"], 1e9)

    def fail(step, old, *rest):
        if step == "link" and b".lock" not in os.fsencode(old):
            raise OSError(number, "no")

    monkeypatch.setattr(durable, "tap", fail)
    assert inbox.copy([1], target) == [(1, 1)]
    assert target.read(1) == DATA and target.get(1).internaldate == 1e9
    assert os.stat(target.path(1)).st_nlink == 1
    store.close(target)


def test_move(store, inbox, heard):
    store.create("T")
    target = store.open("T")
    inbox.append_all([(DATA + b"%d\n" % n, ["\\Seen", "kw"], 1e9 + n) for n in range(5)])
    assert inbox.move([5, 2], target, by="me") == [(2, 1), (5, 2)]
    assert uids(inbox.messages) == [1, 3, 4] and (heard[-1].expunged, heard[-1].by) == ([2, 5], "me")
    assert inbox.read(5) == target.read(2) and inbox.read(5).endswith(b"4\n")   # a session that has not heard of it
    assert target.get(2).flags == {"\\Seen", "kw"} and target.get(2).internaldate == 1e9 + 4
    assert target.move([2], inbox) == [(2, 6)]                                  # back: a new UID, not the old one
    assert inbox.move([1], inbox) == [(1, 7)] and uids(inbox.messages) == [3, 4, 6, 7]
    assert fresh(target) == view(target) and fresh(inbox) == view(inbox)
    store.close(target)


def test_thousands_at_once(store, inbox, monkeypatch):
    monkeypatch.setattr("pymta.mailbox.acting.BULK", 50)
    store.create("T")
    target = store.open("T")
    for number in range(200):
        deliver(inbox, f"{number}.h")
    inbox.sync()
    assert len(inbox.claim_recent()) == 200
    assert len(inbox.set_flags(range(1, 201), "add", ["\\Flagged"])) == 200
    deliver(inbox, "999.h")
    assert len(inbox.move(range(1, 101), target)) == 100
    assert len(inbox.expunge(range(150, 201))) == 51
    inbox.sync()
    assert len(inbox.messages) == 50 and inbox.messages[-1].uid == 201
    assert fresh(target) == view(target) and fresh(inbox) == view(inbox)
    store.close(target)


# ---- damage ---------------------------------------------------------------------------------------------------------------
def reopened(store, inbox, change):
    """The INBOX after somebody has changed its uidlist while nobody had it open."""
    path = os.path.join(inbox.directory, b"dovecot-uidlist")
    with open(path, "rb") as file:
        data = change(file.read())
    if data is None:
        os.unlink(path)
    else:
        with open(path, "wb") as file:
            file.write(data)
    return fresh(inbox)


def test_a_lost_uidlist_means_a_new_uidvalidity(store, inbox):
    inbox.append_all([(DATA, [], None)] * 3)
    for change in (lambda data: None, lambda data: b"", lambda data: b"\0" * len(data)):
        before = decode(inbox).uidvalidity
        messages, uidvalidity, uidnext = reopened(store, inbox, change)
        assert len(messages) == 3 and uidvalidity > before and uidnext == 4


def test_a_damaged_line_costs_that_line(store, inbox):
    inbox.append_all([(DATA + b"%d\n" % n, ["\\Seen"], None) for n in range(4)])
    messages, uidvalidity, uidnext = reopened(store, inbox, lambda data: data.replace(b"\n2 :", b"\n\x00 :"))
    assert uidvalidity == inbox.uidvalidity and uidnext == 6
    assert [(uid, data[-2:]) for uid, _, data in messages] == [(1, b"0\n"), (3, b"2\n"), (4, b"3\n"), (5, b"1\n")]
    assert not decode(inbox).complaints


def test_another_uidvalidity_makes_sessions_let_go(store, inbox):
    inbox.append(DATA)
    other = folder_module.Folder(inbox.root, "INBOX")
    path = os.path.join(inbox.directory, b"dovecot-uidlist")
    os.unlink(path)
    other.open()
    other.close()
    assert not inbox.vanished
    inbox.sync()
    assert inbox.vanished
    again = store.open("INBOX")
    assert again is not inbox and again.uidvalidity == other.uidvalidity != inbox.uidvalidity
    store.close(again)


def test_courier_is_adopted(store, tmp_path):
    mailbox.make(str(tmp_path / "C"), ())
    for name in ("1.a:2,S", "2.b:2,"):
        (tmp_path / "C" / "cur" / name).write_bytes(DATA)
    (tmp_path / "C" / "courierimapuiddb").write_text("1 4711 9\n3 1.a\n7 2.b\n")
    courier = MailStore(str(tmp_path / "C"))
    folder = courier.open("INBOX")
    assert (folder.uidvalidity, uids(folder.messages), folder.uidnext) == (4711, [3, 7], 9)
    courier.close(folder)


def test_a_maildir_that_lacks_folders_is_healed(tmp_path):
    (tmp_path / "M" / ".A").mkdir(parents=True)
    (tmp_path / "M" / ".A" / "maildirfolder").touch()
    found = MailStore(str(tmp_path / "M"))
    for name in ("INBOX", "A"):
        folder = found.open(name)
        os.rmdir(os.path.join(folder.directory, b"tmp"))
        assert folder.append(DATA) == 1
        found.close(folder)


def test_caches_and_limbo_may_be_removed_at_any_time(store, inbox):
    inbox.append_all([(DATA, [], None)] * 3)
    inbox.expunge([2])
    before = fresh(inbox)
    for where, _, files in os.walk(inbox.directory):
        for name in files:
            if name.startswith(b"pymta") or os.path.basename(where).startswith(b"pymta"):
                os.unlink(os.path.join(where, name))
    assert fresh(inbox) == before == view(inbox)


def test_twins_are_parted_when_they_have_been_quiet(inbox, monkeypatch):
    deliver(inbox, "1.h", b"one\n")
    deliver(inbox, "1.h:2,S", b"another\n", "cur")      # a copy from a backup, say
    deliver(inbox, "2.h", b"two\n")
    os.link(os.path.join(inbox.directory, b"new/2.h"), os.path.join(inbox.directory, b"cur/2.h:2,S"))
    inbox.sync()
    assert sorted(inbox.read(uid) for uid in uids(inbox.messages)) == [b"another\n", b"two\n"]
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 60)
    tidying.tidy(inbox)
    assert sorted(inbox.read(uid) for uid in uids(inbox.messages)) == [b"another\n", b"one\n", b"two\n"]
    assert os.listdir(os.path.join(inbox.directory, b"new")) != [b"2.h"] and not inbox.scanner.twins


# ---- mailboxes --------------------------------------------------------------------------------------------------------------
def test_make_is_idempotent(tmp_path):
    path = str(tmp_path / "M")
    mailbox.make(path)
    before = sorted(str(p) for p in (tmp_path / "M").rglob("*"))
    mailbox.make(path)
    assert sorted(str(p) for p in (tmp_path / "M").rglob("*")) == before
    found = MailStore(path)
    assert found.list() == ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
    assert found.subscriptions() == ["Drafts", "Sent", "Junk", "Trash", "Archive"]
    assert found.special_use("Sent") == "\\Sent" and found.special_use("INBOX") is None and found.special_use("Other") is None
    assert os.stat(path).st_mode & 0o777 == 0o700 and os.stat(path + "/.Sent/cur").st_mode & 0o777 == 0o700


def test_create_delete(store):
    store.create("A.B")
    store.create("Entwürfe")
    assert store.list() == ["INBOX", "A.B", "Entwürfe"]
    assert store.exists("inbox") and store.exists("A.B") and not store.exists("A")
    for name in ("A.B", "INBOX", "iNbOx"):
        with pytest.raises(MailboxExists):
            store.create(name)
    for name in ("", ".x", "a/b", "../x", "x..y", "a\0b"):
        with pytest.raises((NameRefused, NoSuchMailbox)):
            store.create(name)
        assert not store.exists(name)
        with pytest.raises((NameRefused, NoSuchMailbox)):
            store.open(name)
    folder = store.open("A.B")
    folder.append(DATA)
    store.delete("A.B")
    assert folder.vanished and store.list() == ["INBOX", "Entwürfe"] and not folder.sync()
    for name in ("A.B", "nobody"):
        with pytest.raises(NoSuchMailbox):
            store.delete(name)
    with pytest.raises(NameRefused):
        store.delete("inbox")
    store.create("A.B")
    again = store.open("A.B")
    assert again.uidvalidity > folder.uidvalidity and again.messages == []
    store.close(again)
    store.close(folder)
    assert not [name for name in os.listdir(store.root) if name.startswith(b"..")]


def test_rename(store, inbox):
    for name in ("A", "A.B", "A.B.C", "AX"):
        store.create(name)
    folder = store.open("A.B")
    folder.append(DATA, ["\\Seen"])
    before = view(folder), folder.guid
    store.rename("A", "Z.A")
    assert store.list() == ["INBOX", "AX", "Z.A", "Z.A.B", "Z.A.B.C"]
    assert folder.vanished
    moved = store.open("Z.A.B")
    assert (view(moved), moved.guid) == before          # UIDVALIDITY and all
    store.close(moved)
    for old, new, error in (("none", "x", NoSuchMailbox), ("AX", "Z.A", MailboxExists), ("Z.A", "Z.A.B.x", NameRefused), ("AX", "a/b", NameRefused)):
        with pytest.raises(error):
            store.rename(old, new)
    inbox.append_all([(DATA, ["\\Seen"], None)] * 3)
    store.rename("INBOX", "Old")
    assert inbox.messages == [] and store.status("Old").messages == 3 and store.exists("INBOX")
    store.close(folder)


def test_a_folder_deleted_by_somebody_else(store):
    store.create("A")
    folder = store.open("A")
    os.rename(folder.directory, os.path.join(store.root, b"..DOVECOT-TRASHED"))
    for act in (lambda: folder.append(DATA), lambda: folder.set_flags([1], "add", ["\\Seen"]), lambda: folder.copy([1], folder)):
        with pytest.raises((NoSuchMailbox, FileNotFoundError)):
            act()
    assert not folder.sync() and folder.vanished and store.list() == ["INBOX"]
    with pytest.raises(NoSuchMailbox):
        folder.expunge([1])
    with pytest.raises(NoSuchMailbox):
        store.open("A")
    store.close(folder)


def test_what_a_crash_leaves_of_a_mailbox_goes_after_a_while(store, monkeypatch):
    os.makedirs(os.path.join(store.root, b"..pymta-gone.1.2", b"cur"))
    open(os.path.join(store.root, b"..pymta-gone.1.2", b"cur", b"1.h"), "w").close()
    assert store.list() == ["INBOX"] and os.path.exists(os.path.join(store.root, b"..pymta-gone.1.2"))
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 2 * 3600)
    assert store.list() == ["INBOX"] and not os.path.exists(os.path.join(store.root, b"..pymta-gone.1.2"))


def test_only_so_many_closed_folders_are_kept(store, monkeypatch):
    monkeypatch.setattr(opened, "_KEPT_FOLDERS", 2)
    for name in "abcd":
        store.create(name)
    assert [folder.name for folder in opened.folders.values()] == ["c", "d"]
    store.close(store.open("c"))
    store.close(store.open("a"))
    assert [folder.name for folder in opened.folders.values()] == ["c", "a"]
    monkeypatch.setattr(opened, "_KEPT_MESSAGES", 0)
    folder = store.open("c")
    folder.append(DATA)
    store.close(folder)
    assert [folder.name for folder in opened.folders.values()] == []


def test_closing_a_folder_that_has_vanished_with_sizes_to_write_down(store):
    store.create("A")
    folder = store.open("A")
    deliver(folder, "1.h")
    folder.sync()
    assert folder.messages[0].vsize
    os.rename(folder.directory, os.path.join(store.root, b"..DOVECOT-TRASHED"))
    store.close(folder)
    assert folder.users == 0 and not folder.scanner.watched


def test_subscriptions(store):
    store.subscribe("Not.There")
    store.subscribe("inbox")
    store.subscribe("Not.There")
    assert store.subscriptions() == ["Not.There", "INBOX"]
    store.unsubscribe("Not.There")
    store.unsubscribe("never")
    assert store.subscriptions() == ["INBOX"]
    assert open(os.path.join(store.root, b"subscriptions"), "rb").read() == b"V\t2\n\nINBOX\n"


def test_folders_with_odd_names(store):
    for name in (b".A&B", "Ünterordner".join(("", "")).encode(), b".\xff\xfe", b".sieve-dir", b"..trash"):
        os.makedirs(os.path.join(store.root, b".odd" + name if not name.startswith(b".") else name), exist_ok=True)
    for name in (b".A&B", b".\xff\xfe"):
        os.makedirs(os.path.join(store.root, name, b"cur"))
    assert len(store.list()) == 3                       # without cur/, new/ or maildirfolder it is no mailbox
    for name in store.list():
        folder = store.open(name)
        assert folder.append(DATA) == 1
        store.close(folder)


def test_status(store, inbox):
    inbox.append_all([(DATA, ["\\Seen"], None), (DATA, ["\\Deleted"], None), (DATA, [], None)])
    found = store.status("INBOX", size=True)
    assert (found.messages, found.recent, found.unseen, found.deleted, found.uidnext) == (3, 1, 2, 1, 4)
    assert found.size == 3 * (len(DATA) + 4) and found.uidvalidity == inbox.uidvalidity and found.guid == inbox.guid
    assert store.status("inbox").size is None
    for sub in ("new", "cur"):
        os.utime(os.path.join(inbox.directory, sub.encode()), (1, 1))
    os.utime(os.path.join(inbox.directory, b"dovecot-uidlist"), (1, 1))
    assert store.status("INBOX").messages == 3 and inbox.directory in opened.statuses
    deliver(inbox, "5.x")
    assert store.status("INBOX").messages == 4
    with pytest.raises(NoSuchMailbox):
        store.status("nobody")


def test_sessions_share_a_folder_and_the_last_one_closes_it(store):
    one, two = store.open("INBOX"), MailStore(store.maildir).open("inbox")
    assert one is two and one.users == 2
    store.close(one)
    assert one.scanner.watched
    store.close(two)
    assert not one.scanner.watched and store.open("INBOX") is one
    store.close(one)


# ---- several at once ----------------------------------------------------------------------------------------------------------
def test_attach_tells_of_deliveries_unasked(store, inbox):
    async def run():
        told: asyncio.Queue[Changes] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        inbox.add_listener(lambda changes: loop.call_soon_threadsafe(told.put_nowait, changes))
        mailbox.attach(loop)
        deliver(inbox, "1.h")
        assert uids((await asyncio.wait_for(told.get(), 20)).arrived) == [1]
        deliver(inbox, "2.h")
        assert uids((await asyncio.wait_for(told.get(), 20)).arrived) == [2]
        loop.remove_reader(mailbox.opened.watch.shared().fileno())

    asyncio.run(run())


def test_a_folder_that_was_closed_lately_is_not_listed_again(store, monkeypatch):
    async def run():
        loop = asyncio.get_running_loop()
        mailbox.attach(loop)
        loop.remove_reader(mailbox.opened.watch.shared().fileno())
        monkeypatch.setattr(opened, "_WATCHED_CLOSED", 2)
        for name in "abc":
            store.create(name)
        folders = {name: opened.folders[os.fsencode(f"{store.maildir}/.{name}")] for name in "abc"}
        assert [folder.scanner.watched for folder in folders.values()] == [False, True, True]
        listings = folders["c"].scanner.listings
        deliver(folders["c"], "1.h")
        for number in range(3):
            assert store.open("c") is folders["c"] and len(folders["c"].messages) == 1 + number
            folders["c"].append(DATA)
            store.close(folders["c"])
        assert folders["c"].scanner.listings == listings
        monkeypatch.setattr(opened, "_WATCHED_EVENTS", 3)
        for number in range(5):
            deliver(folders["b"], f"{number}.h")
        with ThreadPoolExecutor(1) as looker:
            opened._heard(mailbox.opened.watch.shared(), looker)
        assert not folders["b"].scanner.watched and store.status("b").messages == 5
        now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: now + 100)
        with ThreadPoolExecutor(1) as looker:
            opened._slow_look(loop, looker)
        assert not any(folder.scanner.watched for folder in folders.values())
        assert list(opened.folders.values()) != []
        used = store.open("a")
        monkeypatch.setattr(clock, "now", lambda: now + 2 * 3600)
        with ThreadPoolExecutor(1) as looker:
            opened._slow_look(loop, looker)
        assert list(opened.folders.values()) == [used]
        store.close(used)

    asyncio.run(run())


def test_threads(store, inbox):
    store.create("T")
    target = store.open("T")
    errors = []

    def work(number):
        try:
            for turn in range(6):
                uid = inbox.append(DATA + b"%d %d\n" % (number, turn), ["\\Seen"])
                inbox.set_flags([uid], "add", [f"k{number}"])
                (pair,) = inbox.move([uid], target) if turn % 2 else inbox.copy([uid], target)
                if turn % 3 == 0:
                    target.move([pair[1]], inbox)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    inbox.sync(), target.sync()
    assert view(inbox) == fresh(inbox) and view(target) == fresh(target)
    assert len(inbox.messages) + len(target.messages) == 4 * (3 + 3 + 3)


WORKER = """
import sys, random
sys.path.insert(0, sys.argv[3])
from pymta import mailbox
seed, store = int(sys.argv[2]), mailbox.MailStore(sys.argv[1])
draw = random.Random(seed)
inbox, other = store.open("INBOX"), store.open("T")
seen, last = {}, {"INBOX": 0, "T": 0}
def check(folder, changes):
    for message in changes.arrived:
        assert message.uid > last[folder.name], "UIDs do not ascend"
        last[folder.name] = message.uid
for folder in (inbox, other):
    for message in folder.messages:
        last[folder.name] = message.uid
    folder.add_listener(lambda changes, folder=folder: check(folder, changes))
for turn in range(40):
    folder, target = draw.sample((inbox, other), 2)
    uids = [message.uid for message in folder.messages]
    some = draw.sample(uids, min(3, len(uids)))
    match draw.randrange(6):
        case 0 | 1: folder.append(b"Subject: %d.%d\\n\\n" % (seed, turn), draw.choice((["\\\\Seen"], [], ["kw%d" % seed])))
        case 2: folder.set_flags(some, draw.choice(("add", "remove")), ["\\\\Flagged", "kw%d" % seed])
        case 3: folder.move(some[:1], target)
        case 4: folder.claim_recent()
        case 5: folder.expunge(some[:1])
    for folder in (inbox, other):
        folder.sync()
        for message in folder.messages:
            key = (folder.name, message.uid)
            try:
                data = folder.read(message.uid)
            except mailbox.Gone:
                continue
            assert seen.setdefault(key, data) == data, "another mail under an old UID"
"""


def test_processes_never_see_another_mail_under_a_uid(store, tmp_path):
    store.create("T")
    root = os.path.dirname(os.path.dirname(os.path.dirname(store_module.__file__)))
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, store.maildir, str(seed), root], stderr=subprocess.PIPE)
               for seed in range(3)]
    for worker in workers:
        assert (worker.wait(120), worker.stderr.read()) == (0, b"")
        worker.stderr.close()
    for name in ("INBOX", "T"):
        folder = store.open(name)
        assert view(folder) == fresh(folder)
        store.close(folder)


# ---- replacing ----------------------------------------------------------------------------------------------------------------
def test_replace(store, inbox, heard):
    inbox.append_all([(DATA, ["\\Seen"], 1e9), (DATA, [], None)])
    heard.clear()
    assert inbox.replace(1, inbox, (DATA + b"more\n", ["\\Draft"], 1e9 + 1)) == 3
    assert [(change.expunged, [message.uid for message in change.arrived]) for change in heard] == [([], [3]), ([1], [])]
    assert [message.uid for message in inbox.messages] == [2, 3] and inbox.read(3) == DATA + b"more\n"
    store.create("Trash")
    trash = store.open("Trash")
    assert inbox.replace(3, trash, (DATA, [], None)) == 1 and [message.uid for message in inbox.messages] == [2]
    with pytest.raises(mailbox.Gone):
        inbox.replace(3, trash, (DATA, [], None))
    assert len(trash.messages) == 1
    store.close(trash)


def test_replace_that_cannot_expunge_takes_the_new_one_back(inbox, monkeypatch):
    inbox.append(DATA)
    real = actions.expunge

    def refused(folder, uids, by=None):
        if list(uids) == [1]:
            raise OSError(errno.EACCES, "no")
        return real(folder, uids, by)
    monkeypatch.setattr(actions, "expunge", refused)
    with pytest.raises(OSError):
        inbox.replace(1, inbox, (b"new\n", [], None))
    assert [message.uid for message in inbox.messages] == [1] and inbox.read(1) == DATA
