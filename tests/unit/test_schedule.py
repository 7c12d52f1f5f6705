"""schedule: the retry times an admin was promised."""
import itertools

import pytest

from pymta.queue import schedule

S = schedule.Schedule((300, 900, 1800, 3600), 3 * 3600, 5 * 86400, 86400, 4 * 3600)


def test_waits_follow_the_list_then_grow_by_half_up_to_the_cap():
    waits = [S.wait_s(n, "1ga4gc1sg00c0td") for n in range(1, 12)]
    for wait, plain in zip(waits, (300, 900, 1800, 3600, 5400, 8100, 10800, 10800, 10800, 10800, 10800), strict=True):
        assert plain * 0.9 <= wait <= plain * 1.1


def test_jitter_depends_on_the_id_only_and_spreads():
    waits = {S.wait_s(1, f"id{n}") for n in range(500)}
    assert len(waits) > 400
    assert S.wait_s(3, "x") == S.wait_s(3, "x")


def test_the_last_attempt_is_made_when_the_lifetime_ends_and_then_it_is_over():
    birth, now, attempts = 1e9, 1e9, 0
    tries = []
    for _ in itertools.count():
        attempts += 1
        tries.append(now - birth)
        if S.expired(now, birth, attempts, False):
            break
        now = S.due(now, birth, attempts, "1ga4gc1sg00c0td", False)
    assert tries[-1] == 5 * 86400
    assert 40 <= len(tries) <= 60


def test_a_bounce_lives_a_day():
    assert not S.expired(1e9 + 86399, 1e9, 9, True)
    assert S.expired(1e9 + 86400, 1e9, 9, True)
    assert not S.expired(1e9 + 86400, 1e9, 9, False)


def test_a_clock_that_jumps_does_not_return_everything_at_its_first_failure():
    assert not S.expired(1e9 + 10 * 86400, 1e9, 1, False)


@pytest.mark.parametrize("step, due, name", [(60, 0, "19700101T000000"), (60, 1, "19700101T000100"), (60, 60, "19700101T000100"),
                                             (1, 59.2, "19700101T000100")])
def test_bucket_names_are_utc_rounded_up_and_read_back(step, due, name):
    assert schedule.bucket(due, step) == name
    assert schedule.bucket_time(name) >= due


def test_a_schedule_of_seconds_has_buckets_of_seconds():
    assert S.step_s == 60
    assert schedule.Schedule((1, 2, 5), 10, 60, 60, 0).step_s == 1
