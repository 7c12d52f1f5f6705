"""STORE, EXPUNGE and MOVE that fail in the middle: what is done by then is told, and no message stays that is not there."""
from __future__ import annotations

import errno
import os

import pytest

from pymta import durable, mailbox
from pymta.mailbox import opened
from pymta.mailbox.folder import Folder
from tests.imapengine import Conversation

MESSAGES = 4


@pytest.fixture(params=[True, False], ids=["inotify", "no inotify"])
def store(request, tmp_path, monkeypatch):
    if not request.param:
        real = Folder.__init__
        monkeypatch.setattr(Folder, "__init__", lambda self, root, name, watched=True: real(self, root, name, watched=False))
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    store.create("Work")
    inbox = store.open("INBOX")
    inbox.append_all([(b"Subject: %d\n\nx\n" % number, ["\\Deleted"], None) for number in range(MESSAGES)])
    store.close(inbox)
    yield store
    durable.tap = None
    opened.forget_all()


class Refusing:
    """Of a kind of call, about a path with this in it, those from number on are refused; no more than times."""

    def __init__(self, kind: str, number: int, below: bytes = b"", times: int = 1000) -> None:
        self.kind, self.left, self.below, self.times = kind, number, below, times

    def __call__(self, kind: str, *arguments: object) -> None:
        if kind == self.kind and any(self.below in os.fsencode(str(one)) for one in arguments) and "lock" not in str(arguments[0]):
            self.left -= 1
            if -self.times <= self.left < 0:
                raise OSError(errno.EIO, "refused", arguments[0])


def session(store: mailbox.MailStore) -> Conversation:
    one = Conversation(store, logged_in=True)           # type: ignore[arg-type]
    one.say("a SELECT INBOX")
    return one


def uids_on_disk(store: mailbox.MailStore, name: str) -> list[int]:
    fresh = Folder(store.root, name)
    fresh.open()
    found = [message.uid for message in fresh.messages]
    fresh.close()
    return found


@pytest.mark.parametrize("command", ["EXPUNGE", "UID EXPUNGE 1:*", "CLOSE", "MOVE 1:* Work"])
@pytest.mark.parametrize(("kind", "number"), [("rename", 0), ("rename", 2), ("sync_dir", 0)])
def test_what_went_before_the_error_is_gone_for_everybody(store: mailbox.MailStore, command: str, kind: str, number: int) -> None:
    doer, other = session(store), session(store)
    durable.tap = Refusing(kind, number)
    said = doer.say(f"b {command}")
    durable.tap = None
    assert said[-1].startswith("b NO [UNAVAILABLE]")
    left = MESSAGES - (number if kind == "rename" else MESSAGES)
    for one in (doer, other):
        if command != "CLOSE" or one is other:
            lines = (said if one is doer else []) + one.say("c NOOP")
            assert sum(line.endswith("EXPUNGE") for line in lines) == MESSAGES - left, lines
            assert sum("FETCH" in line for line in one.say("d FETCH 1:* BODY.PEEK[]")) == left
    assert other.say("e SEARCH ALL")[0].split()[2:] == [str(n + 1) for n in range(left)]
    there = uids_on_disk(store, "INBOX")
    assert len(there) == left
    if command.startswith("MOVE"):
        assert len(uids_on_disk(store, "Work")) == MESSAGES - left
    doer.say("f SELECT INBOX")
    assert doer.say("g FETCH 1:* (UID)")[:-1] == [f"* {n + 1} FETCH (UID {uid})" for n, uid in enumerate(there)]
    for one in (doer, other):
        one.session.close()                             # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "left"), [("rename", b"0"), ("sync_dir", b"new")])
def test_one_of_the_two_messages_of_a_replace_stays(store: mailbox.MailStore, kind: str, left: bytes) -> None:
    doer = session(store)
    durable.tap = Refusing(kind, 0, b"limbo", times=1)
    said = doer.say("b REPLACE 1 INBOX {14+}\nSubject: new\n")
    durable.tap = None
    assert said[-1].startswith("b NO [UNAVAILABLE]")
    doer.say("c SELECT INBOX")
    subjects = [line for line in doer.say("d FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]") if line.startswith("Subject")]
    assert len(subjects) == MESSAGES and (b"Subject: " + left).decode() in subjects
    doer.session.close()                                # type: ignore[union-attr]


@pytest.mark.parametrize("command", ["STORE 1:* +FLAGS (\\Flagged)", "UID STORE 1:* +FLAGS.SILENT (\\Flagged)", "STORE 1:* FLAGS (\\Flagged)"])
def test_flags_that_were_set_before_the_error_are_told(store: mailbox.MailStore, command: str) -> None:
    doer, other = session(store), session(store)
    durable.tap = Refusing("rename", 2)
    said = doer.say(f"b {command}")
    durable.tap = None
    assert said[-1].startswith("b NO [UNAVAILABLE]")
    for lines in (said, other.say("c NOOP")):
        assert [line.split()[1] for line in lines if "FETCH" in line and "\\Flagged" in line] == ["1", "2"], lines
    assert doer.say("d SEARCH FLAGGED")[0] == "* SEARCH 1 2"
    for one in (doer, other):
        one.session.close()                             # type: ignore[union-attr]


def test_keywords_that_could_not_be_written_are_not_told(store: mailbox.MailStore) -> None:
    """Those that have no letter stand in the uidlist."""
    doer, other = session(store), session(store)
    for number in range(28):
        doer.say(f"b STORE 1 +FLAGS (word{number})")
    other.say("c NOOP")
    durable.tap = Refusing("rename", 0, b"uidlist")
    said = doer.say("d STORE 2:3 +FLAGS (onemore)")
    durable.tap = None
    assert said[-1].startswith("d NO [UNAVAILABLE]")
    assert not any("onemore" in line for line in [*said, *other.say("e NOOP"), *doer.say("f FETCH 1:* FLAGS")])
    assert doer.say("g STORE 2:3 +FLAGS (onemore)")[-1].startswith("g OK")
    assert sum("onemore" in line and "FETCH" in line for line in other.say("h NOOP")) == 2
    for one in (doer, other):
        one.session.close()                             # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "number", "below"), [("append", 0, b"uidlist"), ("sync_file", 0, b"uidlist"), ("sync_dir", 0, b""), ("rename", 2, b".Work/")])
def test_what_was_moved_is_found_where_it_is_now(store: mailbox.MailStore, kind: str, number: int, below: bytes) -> None:
    """Also by a session that has that mailbox open; under UIDs that stay."""
    doer, there = session(store), session(store)
    there.say("b SELECT Work")
    durable.tap = Refusing(kind, number, below)
    assert doer.say("b MOVE 1:* Work")[-1].startswith("b NO [UNAVAILABLE]")
    durable.tap = None
    moved = number if kind == "rename" else MESSAGES
    there.say("c NOOP")
    there.say("d NOOP")
    assert sum("FETCH" in line for line in there.say("e UID FETCH 1:* BODY.PEEK[]")) == moved
    uids = [int(line.split()[4].rstrip(")")) for line in there.say("f FETCH 1:* (UID)") if "FETCH" in line]
    assert uids == uids_on_disk(store, "Work") and len(uids) == moved
    assert len(uids_on_disk(store, "INBOX")) == MESSAGES - moved
    for one in (doer, there):
        one.session.close()                             # type: ignore[union-attr]
