"""rates: what several workers count together."""
from __future__ import annotations

import os

import pytest

from pymta.policy import rates
from pymta.policy.rates import CONNECTS, ERRORS, MESSAGES, Counts, Table


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_workers_count_together(clock: Clock) -> None:
    table = Table(3)
    views = [Counts(table, number, clock) for number in range(3)]
    key = views[0].key("192.0.2.7")
    for view in views:
        view.enter(key)
        view.add(key, MESSAGES, 2)
    assert all(view.open(key) == 3 and view.level(key, CONNECTS) == 3 and view.level(key, MESSAGES) == 6 for view in views)
    views[1].leave(key)
    assert views[2].open(key) == 2
    assert views[0].open(views[0].key("192.0.2.8")) == 0


def test_buckets_leak_at_the_rate_of_their_limit(clock: Clock) -> None:
    counts = Counts(Table(1), 0, clock)
    key = counts.key("a")
    counts.add(key, MESSAGES, 60)
    clock.now += 60
    assert counts.level(key, MESSAGES) == pytest.approx(60 / 2.718281828)
    for _ in range(600):                                # one a second: the level stays where the limit of 60 a minute is
        clock.now += 1
        counts.add(key, MESSAGES)
    assert counts.level(key, MESSAGES) == pytest.approx(60, abs=1)
    assert counts.level(key, ERRORS) == 0


def test_a_worker_that_died_has_no_connections(clock: Clock) -> None:
    table = Table(2)
    Counts(table, 0, clock).enter(Counts(table, 1, clock).key("a"))
    again = Counts(table, 0, clock)
    assert again.open(again.key("a")) == 0


def test_leaving_twice_does_no_harm(clock: Clock) -> None:
    counts = Counts(Table(1), 0, clock)
    key = counts.key("a")
    counts.enter(key)
    counts.leave(key)
    counts.leave(key)
    assert counts.open(key) == 0
    counts.leave(counts.key("never seen"))


def test_a_flood_of_addresses_takes_no_more_memory_and_forgets_nobody_who_is_connected(clock: Clock) -> None:
    table = Table(1)
    counts = Counts(table, 0, clock)
    here = [counts.key(f"here {number}") for number in range(200)]
    for key in here:
        counts.enter(key)
    for number in range(20_000):
        counts.add(counts.key(f"flood {number}"), ERRORS)
    assert sum(counts.open(key) for key in here) == 200
    assert len(table.memory) == table.part_octets < 300_000


def test_parts_are_shared_with_children(clock: Clock) -> None:
    table = Table(2)
    ours = Counts(table, 0, clock)
    key = ours.key("a")
    pid = os.fork()
    if pid == 0:
        try:
            Counts(table, 1, clock).enter(key)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert ours.open(key) == 1


@pytest.mark.parametrize("address, network", [("192.0.2.7", "192.0.2.0/24"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("local", "local")])
def test_networks(address: str, network: str) -> None:
    assert rates.network(address, 24, 64) == network
