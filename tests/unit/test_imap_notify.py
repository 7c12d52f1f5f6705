"""NOTIFY: what a change of the tree means, how watches are shared, and mod-sequences in what is told."""
from __future__ import annotations

import os
import re

import pytest

from pymta import mailbox, watch
from pymta.mailbox import monitor, opened
from pymta.mailbox.monitor import Tree
from pymta.proto.imap.notify import affected, renamed
from tests.imapengine import Conversation
from tests.mailboxes import Folder, Store


@pytest.mark.parametrize(("before", "now", "told"), [
    ({"a": 1}, {"a": 1}, []),
    ({}, {"a": 1}, [("a", "")]),
    ({"a": 1}, {}, [("a", "")]),
    ({"a": 1}, {"a": 2}, [("a", "")]),                                      # another one
    ({}, {"a.b.c": 1}, [("a.b.c", ""), ("a.b", "")]),                       # the parent too, though it does not exist
    ({"a": 1, "a.b": 2}, {"a": 1}, [("a.b", ""), ("a", "")]),
    ({"a": 1}, {"b": 1}, [("b", "a")]),
    ({"a": 1, "a.x": 2, "a.x.y": 3}, {"b": 1, "b.x": 2, "b.x.y": 3}, [("b", "a")]),
    ({"a": 1, "a.x": 2}, {"b": 1, "c": 2}, [("c", "a.x"), ("b", ""), ("a", "")]),      # a.x is not b.x
    ({"a": 1, "a.x": 2}, {"b": 1, "a.x": 2}, [("b", ""), ("a", "")]),
    ({"a": 1, "b": 2}, {"a": 2, "b": 1}, [("a", ""), ("b", "")]),           # swapped
    ({"a": 1, "b": 2}, {"b": 1, "c": 2}, [("c", "b"), ("b", ""), ("a", "")]),
    ({"a.x": 2}, {"b.x": 2}, [("b.x", "a.x")]),                             # a parent that is no mailbox
])
def test_what_changed_in_a_tree(before: dict[str, object], now: dict[str, object], told: list[tuple[str, str | None]]) -> None:
    first, second = Tree(before, frozenset()), Tree(now, frozenset())
    assert sorted(affected(first, second, renamed(first, second))) == sorted(told)


def test_a_subscription_that_changed_with_and_without_the_name() -> None:
    before, now = Tree({"a": 1, "b": 2}, frozenset(("a", "c"))), Tree({"a": 1, "d": 3}, frozenset(("b", "d")))
    assert sorted(affected(before, now, renamed(before, now)), key=str) == [("a", None), ("b", ""), ("c", None), ("d", "")]


def test_numbers_are_looked_up_once_for_all_who_watch(tmp_path, monkeypatch) -> None:
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    stirred: list[int] = []
    watching = [store.watch("INBOX", lambda number=number: stirred.append(number)) for number in range(3)]
    looked: list[str] = []
    status = mailbox.MailStore.status
    monkeypatch.setattr(mailbox.MailStore, "status", lambda self, name, **options: looked.append(name) or status(self, name, **options))
    assert {one.status()[0].messages for one in watching} == {0} and looked == ["INBOX"]
    (tmp_path / "Maildir" / "new" / "1700000000.M1P1.host").write_bytes(b"Subject: x\n\nx\n")
    watch.shared().drain()
    assert sorted(set(stirred)) == [0, 1, 2]
    assert {one.status()[0].messages for one in watching} == {1} and looked == ["INBOX"] * 2
    for one in watching:
        one.stop()
    assert monitor.watched() == 0
    opened.forget_all()


def test_without_a_word_from_inotify_a_look_now_and_then_finds_it(tmp_path, monkeypatch) -> None:
    def refuse(self: object, *_: object) -> int:
        raise OSError(28, "no watches left")
    monkeypatch.setattr(watch.Watcher, "add", refuse)
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    stirred: list[str] = []
    watching = [store.watch("INBOX", lambda: stirred.append("mail")), store.watch_tree(lambda: stirred.append("tree"))]
    monitor.look_again()
    assert stirred == []                                # nothing has happened, and nothing is read
    (tmp_path / "Maildir" / "new" / "1700000000.M1P1.host").write_bytes(b"Subject: x\n\nx\n")
    monitor.look_again()
    assert stirred == ["mail"] and watching[0].status()[0].messages == 1
    stirred.clear()
    (tmp_path / "Maildir" / ".Work" / "cur").mkdir(parents=True)
    monitor.look_again()
    assert "tree" in stirred
    for one in watching:
        one.stop()
    opened.forget_all()


def test_who_comes_later_watches_what_has_the_name_now(tmp_path) -> None:
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    store.create("Work")
    stirred: list[str] = []
    first = store.watch("Work", lambda: stirred.append("first"))
    os.rename(tmp_path / "Maildir" / ".Work", tmp_path / "Maildir" / ".Play")
    store.create("Work")
    second = store.watch("Work", lambda: stirred.append("second"))
    (tmp_path / "Maildir" / ".Work" / "new" / "1700000000.M1P1.host").write_bytes(b"Subject: x\n\nx\n")
    watch.shared().drain()
    assert set(stirred) == {"second"}
    first.stop()
    second.stop()
    assert monitor.watched() == 0
    opened.forget_all()


def test_a_mailbox_that_is_not_there_cannot_be_watched(tmp_path) -> None:
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    with pytest.raises(mailbox.NoSuchMailbox):
        store.watch("nowhere", lambda: None)
    assert monitor.watched() == 0


def test_the_tree_keeps_what_a_rename_does_not_change(tmp_path) -> None:
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    stirred: list[bool] = []
    watching = store.watch_tree(lambda: stirred.append(True))
    store.create("Work")
    before = store.tree()
    os.rename(tmp_path / "Maildir" / ".Work", tmp_path / "Maildir" / ".Play")
    watch.shared().drain()
    assert stirred and renamed(before, store.tree()) == {"Play": "Work"}
    stirred.clear()
    (tmp_path / "Maildir" / "new" / "1700000000.M1P1.host").write_bytes(b"Subject: x\n\nx\n")
    mailbox.MailStore.close(store, store.open("INBOX"))
    watch.shared().drain()
    assert not stirred                                  # mail in INBOX is no news about names
    store.subscribe("Play")
    watch.shared().drain()
    assert stirred
    watching.stop()
    opened.forget_all()


def test_mod_sequences_once_the_client_has_asked_for_them() -> None:
    store = Store()
    box = store.folders["Work"] = Folder("Work")
    talk = Conversation(store, logged_in=True)
    lines = talk.say("a NOTIFY SET STATUS (mailboxes Work (MessageNew MessageExpunge FlagChange))")
    assert re.fullmatch(r'\* STATUS "Work" \(MESSAGES 0 UIDNEXT 1 UIDVALIDITY \d+ UNSEEN 0 HIGHESTMODSEQ \d+\)', lines[0])
    box.append(b"Subject: x\n\nx\n")
    assert re.fullmatch(r'\* STATUS "Work" \(MESSAGES 1 UIDNEXT 2 UIDVALIDITY \d+ UNSEEN 1\)', "\n".join(talk.heard()))
    box.set_flags([1], "add", ["\\Flagged"])
    assert talk.heard() == []                           # no number tells it: RFC 5465 §5.1
    talk.say("b ENABLE CONDSTORE")
    box.set_flags([1], "add", ["\\Answered"])
    assert re.fullmatch(r'\* STATUS "Work" \(MESSAGES 1 .* UNSEEN 1 HIGHESTMODSEQ \d+\)', "\n".join(talk.heard()))
    talk.say("c NOTIFY SET (mailboxes Work (MessageNew MessageExpunge))")
    box.set_flags([1], "add", ["\\Seen"])
    assert talk.heard() == []                           # not asked for
    box.append(b"Subject: x\n\nx\n")
    assert re.fullmatch(r'\* STATUS "Work" \(MESSAGES 2 UIDNEXT 3 HIGHESTMODSEQ \d+\)', "\n".join(talk.heard()))
    assert talk.session is not None
    talk.session.close()
    assert not box.watchers and not store.tree_told
