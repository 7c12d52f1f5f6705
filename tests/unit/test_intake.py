"""publish: what is synced before what, how often, and who shares it."""
from __future__ import annotations

import os

import pytest

from pymta import durable
from pymta.formats.queuefile import LOCAL, SHARDS, Envelope, Ids, Recipient
from pymta.queue import intake

IDS = Ids()


@pytest.fixture
def directory(tmp_path):
    for shard in SHARDS:
        (tmp_path / "tmp" / shard).mkdir(parents=True)
    (tmp_path / "new").mkdir()
    return str(tmp_path)


@pytest.fixture
def calls(monkeypatch):
    """(word, path's last name) of each change."""
    out = []
    monkeypatch.setattr(durable, "tap", lambda word, path, *rest: out.append((word, os.path.basename(path))))
    return out


def drafts(directory: str, count: int) -> list[intake.Draft]:
    out = []
    for number in range(count):
        out.append(intake.Draft(directory, Envelope(b"", [Recipient(LOCAL, b"ann@example.test")], IDS.new(1000.0 + number))))
        out[-1].write(b"Subject: x\n\nhello\n")
        out[-1].finish()
    return out


def test_who_gets_ready_meanwhile_shares_the_sync_of_the_directory(directory, calls):
    first, late = drafts(directory, 2), drafts(directory, 3)
    names = [draft.name for draft in first + late]
    calls.clear()
    assert intake.publish(directory, first, syncfs=False, more=lambda: late) == [None] * 5
    assert [draft.name for draft in first] == names                           # the caller's list says whose results these are
    assert calls == [("sync_file", name) for name in names] + [("sync_dir", name[6]) for name in dict((name[6], name) for name in names).values()] + [
        ("rename", name) for name in names]
    assert sorted(os.listdir(f"{directory}/new")) == sorted(names)


def test_one_syncfs_serves_many(directory, calls):
    batch = drafts(directory, intake.SYNCFS_FROM)
    calls.clear()
    assert not any(intake.publish(directory, batch, syncfs=True, more=lambda: pytest.fail("they are not synced")))
    assert [word for word, _ in calls] == ["sync_fs", *["rename"] * len(batch)]


def test_a_failed_sync_takes_nobody_else_along(directory, monkeypatch):
    first, late = drafts(directory, 2), drafts(directory, 1)
    bad = late[0].path

    def tap(word, path, *rest):
        if word == "sync_file" and path == bad:
            raise OSError(5, "bad disk")

    monkeypatch.setattr(durable, "tap", tap)
    results = intake.publish(directory, first, syncfs=False, more=lambda: late)
    assert [error and error.errno for error in results] == [None, None, 5]
    assert sorted(os.listdir(f"{directory}/new")) == sorted(draft.name for draft in first[:2])
    assert not os.path.exists(bad)


def test_nobody_is_taken_when_the_directory_cannot_be_synced(directory, monkeypatch):
    batch = drafts(directory, 2)

    def tap(word, path, *rest):
        if word == "sync_dir":
            raise OSError(5, "bad disk")

    monkeypatch.setattr(durable, "tap", tap)
    assert all(intake.publish(directory, batch, syncfs=False))
    assert os.listdir(f"{directory}/new") == []


def test_a_start_after_a_crash_takes_what_is_whole_and_removes_what_is_torn(directory):
    whole, torn, new = drafts(directory, 3)
    for draft in (whole, torn, new):
        draft.close()
    os.truncate(torn.path, 30)
    for draft in (whole, torn):
        os.utime(draft.path, (1000, 1000))
    assert intake.tidy(directory, 2000.0) == (1, 1)
    assert os.listdir(f"{directory}/new") == [whole.name] and os.path.exists(new.path) and not os.path.exists(torn.path)


def test_what_a_worker_did_not_ask_for_goes_with_it(directory):
    mine, = drafts(directory, 1)
    other = intake.Draft(directory, Envelope(b"", [Recipient(LOCAL, b"ann@example.test")], IDS.new(2000.0)[:11] + "zzzz"))
    other.write(b"Subject: x\n\nhello\n")
    other.finish()
    assert intake.forget(directory, "zzzz") == 1
    assert os.path.exists(mine.path) and not os.path.exists(other.path)
