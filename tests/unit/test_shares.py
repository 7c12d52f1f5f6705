"""shares: a local user's flood holds up nobody else, and fills neither corrupt/ nor the log."""
from __future__ import annotations

import os

import pytest

from pymta import clock
from pymta.queue import drops, shares
from tests.queuebox import Box


@pytest.fixture
def box(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Box(str(tmp_path), "queue.drops_per_uid = 3\n")


@pytest.fixture
def ticks(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "tick", lambda: now[0])
    return now


def owners(monkeypatch, uid_of):
    """Let the kernel say that a file belongs to uid_of(its name)."""
    real = os.lstat

    def lstat(path):
        found = list(real(path))
        found[4] = uid_of(os.path.basename(path))
        return os.stat_result(found)

    monkeypatch.setattr(shares.os, "lstat", lstat)


def leave(*names):
    for name in names:
        open(f"in/inject/new/{name}", "w").close()


def test_all_users_take_turns_and_the_rest_waits(box, monkeypatch, ticks, capfd):
    owners(monkeypatch, lambda name: ord(name[0]))
    names = [f"a{number}" for number in range(9)] + ["b1", "b2", "c1"]
    leave(*names)
    share = shares.Shares(drops.DROPS, 3)
    assert share.take([*names, "d-has-gone"]) == ["a0", "b1", "c1", "a1", "b2", "a2"]
    assert share.take(["a3", "b3x", "c1"]) == ["c1"]
    ticks[0] += 60
    assert share.take(["a3", "a4"]) == ["a3", "a4"]
    err = capfd.readouterr().err
    assert err.count("more than 3 messages within a minute") == 1 and "uid 97 " in err and "waiting=7" in err


def test_the_runner_takes_what_waited_later(box, monkeypatch, ticks):
    """Nothing is lost: all that was handed in is taken in the end."""
    from tests.unit.test_runner import drop
    for _ in range(7):
        drop(box, [b"alice@example.test"])
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    counts = []
    for _ in range(4):
        runner.look()
        local.look()
        counts.append(len(box.mail("alice")))
        ticks[0] += 60
    assert counts == [3, 6, 7, 7] and box.queue() == []


def test_garbage_is_kept_up_to_a_number_for_each_user(box, monkeypatch, ticks, capfd):
    monkeypatch.setattr(shares, "GARBAGE_MAX", 4)
    owners(monkeypatch, lambda name: 1 if name.endswith(".why") else ord(name[0]))      # the reasons are ours
    runner = box.runner()
    for minute in range(5):
        leave(*(f"a{minute}{number}.drop" for number in range(3)), f"b{minute}.drop")
        runner.look()
        ticks[0] += 60
    kept = sorted(name for name in os.listdir("corrupt") if not name.endswith(".why"))
    assert [name[0] for name in kept] == ["a"] * 4 + ["b"] * 4 and os.listdir("in/inject/new") == []
    runner.look()
    err = capfd.readouterr().err
    assert err.count("uid 97 leaves garbage") == 4 and err.count("uid 98 leaves garbage") == 1
    os.unlink(f"corrupt/{kept[0]}")                     # the admin has seen it
    leave("a9.drop")
    ticks[0] += 60
    runner.look()
    assert os.path.exists("corrupt/a9.drop")


def test_names_that_no_drop_has_go_after_a_day(box, monkeypatch, ticks):
    leave(".hidden", ".x.drop")
    os.mkdir("in/inject/new/.empty")
    os.makedirs("in/inject/new/.full/of")
    for name in os.listdir("in/inject/new"):
        os.utime(f"in/inject/new/{name}", (4e9, 4e9))   # their owner may say what he likes
    runner = box.runner()
    runner.look()
    assert len(os.listdir("in/inject/new")) == 4
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 90_000)
    ticks[0] += 4000
    runner.look()
    assert os.listdir("in/inject/new") == [".full"]
