"""Long commands say how far they are (RFC 9585), give others a turn, and end with the client."""
from __future__ import annotations

import re

import pytest

from pymta.programs.imapd_session import explain
from pymta.proto.imap import progress, session
from pymta.proto.imap.wants import Job, Setting
from tests.imapengine import LIMITS
from tests.mailboxes import Folder, Store


class Clock:
    """Each look at it takes a while."""

    def __init__(self, step_s: float) -> None:
        self.now_s = 1e9
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class Slow:
    """A search of many steps."""

    def __init__(self, folder: Folder, messages: list, key: tuple) -> None:
        self.found = {message.uid: 100 for message in messages}
        self.gone: set[int] = set()
        self.done = 0
        folder.searches.append(self)                                         # type: ignore[attr-defined]
        self.closed = False

    def step(self) -> tuple[int, int] | None:
        self.done += 1
        return (self.done, 50) if self.done < 50 else None

    def close(self) -> None:
        self.closed = True


def engine_with(clock: Clock) -> tuple[session.Session, Folder]:
    store = Store()
    folder = store.folders["INBOX"]
    for _ in range(3):
        folder.append(b"Subject: x\n\nneedle\n")
    folder.searches = []                                                     # type: ignore[attr-defined]
    folder.searching = lambda messages, key: Slow(folder, messages, key)     # type: ignore[method-assign, assignment, return-value]
    engine = session.Session(store, Setting(LIMITS, explain, clock, lambda: None), tag=b"L")
    say(engine, b"s SELECT INBOX\r\n")
    return engine, folder


def say(engine: session.Session, line: bytes) -> bytes:
    engine.feed(line)
    while (want := engine.work()) is not None:
        if isinstance(want, Job):
            engine.done(want.run())
    return engine.take()


@pytest.mark.parametrize("command", [b"SEARCH TEXT a", b"UID SEARCH OR TEXT a NOT BODY b", b"SORT (SUBJECT) UTF-8 TEXT a", b"THREAD REFS UTF-8 BODY a",
                                     b"ESEARCH IN (personal) TEXT a"])
def test_a_long_command_says_how_far_it_is(command):
    engine, _ = engine_with(Clock(1.0))
    said = say(engine, b"t1 " + command + b"\r\n")
    numbers = [int(number) for number in re.findall(rb'\* OK \[INPROGRESS \("t1" (\d+) 1000\)\] ', said)]
    assert len(numbers) >= 4 and numbers == sorted(numbers) and numbers[-1] < 1000
    assert said.endswith(b"t1 OK Done\r\n")


def test_a_short_one_says_nothing():
    engine, _ = engine_with(Clock(progress.EVERY_S / 1000))
    assert b"INPROGRESS" not in say(engine, b"t SEARCH TEXT a\r\n")


def test_without_the_capability_there_is_no_code():
    engine, _ = engine_with(Clock(1.0))
    engine.off = frozenset((b"INPROGRESS",))
    said = say(engine, b"t1 SEARCH TEXT a\r\n")
    assert b"* OK Still at it\r\n" in said and b"INPROGRESS" not in said


def test_a_client_that_has_closed_its_half_is_asked_whether_it_is_there():
    engine, _ = engine_with(Clock(progress.EVERY_IF_GONE_S))
    engine.client_ended = True
    assert say(engine, b"t SEARCH TEXT a\r\n").count(b"INPROGRESS") >= 20


def test_a_search_gives_others_a_turn_and_ends_when_the_client_is_gone():
    engine, folder = engine_with(Clock(1.0))
    engine.feed(b"t SEARCH TEXT a\r\n")
    for _ in range(10):
        want = engine.work()
        assert isinstance(want, Job)
        engine.done(want.run())
    (search,) = folder.searches                                              # type: ignore[attr-defined]
    assert 5 < search.done < 20 and not search.closed
    engine.close()
    assert search.closed and search.done < 20
