"""ESEARCH over many mailboxes: one at a time is open, and others have their turn in between."""
from __future__ import annotations

from pymta.programs.imapd_session import explain
from pymta.proto.imap import session
from pymta.proto.imap.wants import Job, More, Setting
from tests.imapengine import LIMITS, NOW, Conversation
from tests.mailboxes import Folder, Store


def filled(mailboxes: int, messages: int) -> Store:
    store = Store()
    for number in range(mailboxes):
        folder = store.folders[f"box{number:02}"] = Folder(f"box{number:02}")
        for _ in range(messages):
            folder.append(b"Subject: x\n\nneedle\n")
    return store


def test_one_is_open_at_a_time_and_others_have_their_turn() -> None:
    store = filled(10, 50)
    engine = session.Session(store, Setting(LIMITS, explain, lambda: NOW, lambda: None), tag=b"L")
    engine.take()
    engine.feed(b"a ESEARCH IN (subtree (box00 box01 box02 box03 box04)) RETURN (COUNT) BODY needle\r\n")
    turns = 0
    while (want := engine.work()) is not None:
        assert sum(folder.open for folder in store.folders.values()) <= 1
        if isinstance(want, Job):
            engine.done(want.run())
        turns += isinstance(want, Job | More)
    assert turns >= 5 * 2                               # between the pieces of each
    said = engine.take()
    assert said.count(b"* ESEARCH (TAG \"a\" MAILBOX ") == said.count(b"COUNT 50") == 5 and said.endswith(b"a OK Done\r\n")
    assert not any(folder.open or folder.listeners for folder in store.folders.values())


def test_who_hangs_up_in_the_middle_leaves_nothing_open() -> None:
    store = filled(3, 50)
    engine = session.Session(store, Setting(LIMITS, explain, lambda: NOW, lambda: None), tag=b"L")
    engine.feed(b"a ESEARCH IN (personal) BODY needle\r\n")
    while not any(folder.open for folder in store.folders.values()):
        want = engine.work()
        assert isinstance(want, Job)
        engine.done(want.run())
    for _ in range(2):                                  # a search has begun, and is at work
        want = engine.work()
        assert isinstance(want, Job)
        engine.done(want.run())
    assert sum(folder.open for folder in store.folders.values()) == 1
    engine.close()
    assert not any(folder.open or folder.listeners for folder in store.folders.values())


def test_a_mailbox_that_goes_meanwhile_or_cannot_be_opened_is_passed_over() -> None:
    store = filled(3, 1)
    opening = store.open

    def open_(name: str) -> Folder:
        if name == "box01":
            raise PermissionError(13, "no")
        return opening(name)
    store.open = open_                                                            # type: ignore[method-assign]
    lines = Conversation(store, logged_in=True).say("a ESEARCH IN (personal) ALL")
    assert [line.split('"')[3] for line in lines[:-1]] == ["box00", "box02"] and lines[-1] == "a OK Done"
