"""Mail that is to be sent later (FUTURERELEASE): it waits in later/, and its life begins when it is released."""
from __future__ import annotations

import json
import os

import pytest

from pymta import clock
from pymta.formats import queuefile
from pymta.formats.queuefile import LOCAL, REMOTE, Envelope, Recipient
from pymta.programs import mailq
from pymta.queue import intake
from tests.queuebox import Box

NOW = 1_800_000_000.0


@pytest.fixture
def box(tmp_path, monkeypatch) -> Box:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.chdir(tmp_path)
    return Box(str(tmp_path))


def at(monkeypatch, now: float) -> None:
    monkeypatch.setattr(clock, "now", lambda: now)


def submit(kinds: tuple[bytes, ...], release: str | None, *, held: bool = False) -> str:
    """What pymta-smtpd leaves in its intake; the id."""
    recipients = [Recipient(kind, b"alice@example.test" if kind == LOCAL else b"ann@elsewhere.test") for kind in kinds]
    envelope = Envelope(b"bob@example.test", recipients, queuefile.Ids().new(clock.now()), {"release": release} if release else None)
    draft = intake.Draft("in/smtpd", envelope, held=held)
    draft.write(b"Subject: later\n\nbody\n")
    draft.finish()
    assert intake.publish("in/smtpd", [draft], syncfs=False) == [None]
    return envelope.id


def where(id: str) -> list[str]:
    return sorted(os.path.join(top, name).removeprefix("./") for top, _, names in os.walk(".") for name in names if name.startswith(id))


@pytest.mark.parametrize("kinds, kind, then", [((LOCAL,), "local", "todo/local"), ((REMOTE,), "remote", "todo/remote"), ((LOCAL, REMOTE), "mixed", "todo/local")])
def test_it_waits(box: Box, monkeypatch, kinds, kind: str, then: str) -> None:
    id = submit(kinds, str(int(NOW) + 7200))
    assert where(id) == [f"in/smtpd/new/{id}.later.{kind}"]
    runner = box.runner()
    runner.start()
    assert where(id) == [f"later/20270115T100000/{id}.{kind}"]
    assert runner.next_due() == NOW + 7200
    at(monkeypatch, NOW + 7199)
    runner.due(clock.now())
    assert where(id) == [f"later/20270115T100000/{id}.{kind}"]
    at(monkeypatch, NOW + 7201)
    runner.due(clock.now())
    runner.look()
    assert where(id) == [f"{then}/{id}.local" if kind == "mixed" else f"{then}/{id}.{kind}"]
    if kind == "mixed":
        runner.due(clock.now())
        assert len(os.listdir("todo/remote")) == 1 and os.listdir("in/qrun/new") == []


def test_its_life_begins_then(box: Box, monkeypatch) -> None:
    """A mail that waited for longer than queue.lifetime is tried as long as any other."""
    id = submit((REMOTE,), str(int(NOW) + 20 * 86400))
    runner = box.runner()
    runner.start()
    at(monkeypatch, NOW + 20 * 86400 + 60)
    runner.due(clock.now())
    from pymta.formats import report
    for attempt in (1, 2, 3):
        report.write(".", "remote", [report.Entry(f"{id}.remote", attempt, 0, "deferred", "4.4.1", "elsewhere.test", "no answer")], sync=False)
        runner.read_reports("remote", os.listdir("report/remote/new"))
        [path] = where(id)
        assert path.startswith("later/")
        os.rename(path, f"todo/remote/{id}.remote")


def test_a_time_that_has_passed_is_now(box: Box, monkeypatch) -> None:
    id = submit((LOCAL,), str(int(NOW) + 60))
    at(monkeypatch, NOW + 1000)
    runner = box.runner()
    runner.start()
    runner.due(clock.now())
    assert where(id) == [f"todo/local/{id}.local"]


def test_held_by_the_admin_first(box: Box, monkeypatch) -> None:
    """What is held for the admin waits for its time after he released it."""
    id = submit((LOCAL,), str(int(NOW) + 7200), held=True)
    runner = box.runner()
    runner.start()
    [path] = where(id)
    assert path.startswith("hold/")
    os.rename(path, f"in/qrun/new/{os.path.basename(path)}")
    runner.look()
    assert where(id) == [f"later/20270115T100000/{id}.local"]


@pytest.mark.parametrize("fact", ["x", "-1", "", "99999999999999", "٣"])
def test_a_fact_that_is_none(fact: str) -> None:
    assert queuefile.release(Envelope(b"", [], "x", {"release": fact})) == 0.0


def test_mailq_shows_and_cancels_it(box: Box, capsys) -> None:
    id = submit((LOCAL,), str(int(NOW) + 7200))
    box.runner().start()
    assert mailq.main(["--etc", box.etc]) == 0
    shown = capsys.readouterr().out
    assert id in shown and "not before " in shown and "later" in shown
    assert mailq.main(["--etc", box.etc, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["release"] == NOW + 7200 and row["next_try"] == NOW + 7200 and row["state"] == "later"
    assert mailq.main(["--etc", box.etc, "delete", "--yes", id]) == 0
    assert where(id) == []


def test_retry_releases_it_at_once(box: Box) -> None:
    id = submit((LOCAL,), str(int(NOW) + 7200))
    runner = box.runner()
    runner.start()
    assert mailq.main(["--etc", box.etc, "retry", id]) == 0
    runner.look()
    assert where(id) == [f"todo/local/{id}.local"]
