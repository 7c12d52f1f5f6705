"""The clock jumps forwards by days, or back: nothing is returned that has not been tried often enough, nothing waits for days, nothing is lost."""
import os

import pytest

from pymta import clock
from pymta.formats import queuefile
from pymta.queue import schedule
from tests.queuebox import Box

DAY = 86400
LATER = (0, "deferred", "4.2.0", "451 greylisted")
NO_ANSWER = (0, "deferred", "4.4.1", "connection refused")


class Clock:
    def __init__(self, monkeypatch):
        self.time = clock.now()
        monkeypatch.setattr(clock, "now", lambda: self.time)


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Box(str(tmp_path), "queue.warn_after = 0s\n")


@pytest.fixture
def time(monkeypatch):
    return Clock(monkeypatch)


def started(box):
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    return runner, local


def fail(box, runner, answer, **more):
    """Everything that stands in todo/remote is tried, and put off; how many."""
    names = os.listdir("todo/remote")
    for name in names:
        box.report_remote(name, answer, **more)
    runner.look()
    return len(names)


@pytest.mark.parametrize("answer, down", [(LATER, False), (NO_ANSWER, True)], ids=["put off", "parked"])
def test_a_jump_forwards_returns_nothing_at_once(box, time, answer, down):
    """Twenty messages have failed once; ten days later by the clock each has its tries of queue.retry before it is returned."""
    for _ in range(20):
        box.accept(b"bob@example.test", [b"x@remote.test"])
    runner, local = started(box)
    assert fail(box, runner, answer, down=down) == 20
    time.time += 10 * DAY
    begin = time.time
    for _ in range(200):
        due = runner.next_due()
        if due is None:
            break
        assert due < time.time + 7200, "what is late is tried again within the usual waits"
        time.time = max(time.time, due)
        runner.due(time.time)
        tried = fail(box, runner, answer, down=down)
        assert tried <= 1 or not down, "a dead destination is probed with one message"
        local.look()
        assert not box.mail("bob") or time.time - begin > 3600, "returned after too few tries"
    assert len(box.mail("bob")) == 20 and all(b"5.4.7" in data for data in box.mail("bob"))
    assert box.queue() == []


def test_a_destination_that_answers_again_after_a_jump_gets_everything(box, time):
    ids = [box.accept(b"bob@example.test", [b"x@remote.test"]) for _ in range(5)]
    runner, _ = started(box)
    fail(box, runner, NO_ANSWER, down=True)
    time.time += 10 * DAY
    runner.due(time.time)
    name, = os.listdir("todo/remote")
    box.report_remote(name, (0, "delivered", "2.0.0", "250 ok"))
    runner.look()
    assert sorted(os.listdir("todo/remote")) == sorted(f"{id}.remote" for id in ids if f"{id}.remote" != name) and box.mail("bob") == []


@pytest.mark.parametrize("restart", [False, True])
def test_what_was_put_off_before_the_clock_was_set_back_does_not_wait_for_days(box, time, restart):
    """The clock was ten days ahead for a while.  (The directory's own time is the clock's at that time.)"""
    id = box.accept(b"bob@example.test", [b"x@remote.test"])
    runner, _ = started(box)
    time.time += 10 * DAY
    fail(box, runner, LATER)
    bucket, = os.listdir("later")
    os.utime(f"later/{bucket}", (time.time, time.time))
    assert runner.next_due() > time.time
    time.time -= 10 * DAY - 60
    if restart:
        runner, _ = started(box)
    assert runner.next_due() <= time.time
    runner.due(time.time)
    assert os.listdir("todo/remote") == [f"{id}.remote"] and os.listdir("later") == []


def test_a_parked_destination_is_probed_soon_after_the_clock_was_set_back(box, time):
    box.accept(b"bob@example.test", [b"x@remote.test"])
    runner, _ = started(box)
    time.time += 10 * DAY
    fail(box, runner, NO_ANSWER, down=True)
    time.time -= 10 * DAY
    assert runner.next_due() <= time.time
    runner.due(time.time)
    assert len(os.listdir("todo/remote")) == 1 and box.mail("bob") == []


def test_an_admin_may_put_mail_off_as_far_as_he_likes(box, time):
    id = box.accept(b"bob@example.test", [b"x@remote.test"])
    runner, _ = started(box)
    bucket = schedule.bucket(time.time + 30 * DAY, 60)
    os.mkdir(f"later/{bucket}")
    os.rename(f"todo/remote/{id}.remote", f"later/{bucket}/{id}.remote")
    runner.look()
    assert runner.next_due() > time.time + 29 * DAY
    runner.due(time.time)
    assert os.listdir("later") == [bucket]


def test_mail_accepted_under_any_clock_is_delivered(box, time):
    runner, local = started(box)
    for jump in (0, 400 * DAY, -800 * DAY, 20_000 * DAY, -19_000 * DAY):
        time.time += jump
        id = box.accept(b"ann@client.example", [b"alice@example.test"])
        assert abs(queuefile.birth(id) - time.time) < 2
        box.accept(b"ann@client.example", [b"alice@example.test", b"bob@example.test"])
        runner.look()
        local.look()
    assert len(box.mail("alice")) == 10 and len(box.mail("bob")) == 5 and box.queue() == []


def test_ids_never_repeat_when_the_clock_goes_back():
    ids = queuefile.Ids()
    seen = [ids.new(now) for now in (2e9, 1e9, 1.5e9, 2e9, 2e9)]
    assert len(set(seen)) == 5
